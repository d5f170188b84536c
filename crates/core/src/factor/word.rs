//! Memorised secrets: PIN and verbal password. Hashed with argon2id, a salt each, and the pepper.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::{FactorKind, Pepper};
use crate::{claim, secret::Secret};

/// argon2id cost: the OWASP minimum of 19 MiB and two passes, about 20 ms on one core.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
/// Blocks of 1 KiB that are reserved; those that are not needed are never touched. glibc gives memory
/// of more than 32 MiB back to the system when it is freed. Less than that it keeps, in pieces that the next
/// hash does not fit into: after sixty sign-ins these were 220 MiB.
const RESERVED: usize = 33 * 1024;

/// A salted, peppered argon2id hash. A decoy matches nothing and costs the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WordHash {
    salt: String,
    hash: String,
}

impl WordHash {
    /// Hashes a word that passed [`WordRule::check`]; `salt` is fresh for each.
    pub fn make(word: &Secret, salt: [u8; 16], pepper: &Pepper) -> Self {
        Self { salt: hex::encode(salt), hash: hex::encode(derive(word, &salt, pepper).unwrap_or([0; 32])) }
    }
    /// A hash that nothing matches, for authenticators without a duress word.
    pub fn decoy() -> Self { Self { salt: "00".repeat(16), hash: String::new() } }
    /// Whether `word` is the one. Costs one argon2 run whatever the answer.
    pub fn matches(&self, word: &Secret, pepper: &Pepper) -> bool {
        let salt = hex::decode(&self.salt).unwrap_or_else(|_| vec![0; 16]);
        let Some(derived) = derive(word, &salt, pepper) else { return false };
        let stored = hex::decode(&self.hash).unwrap_or_default();
        stored.ct_eq(&derived).into()
    }
}

fn derive(word: &Secret, salt: &[u8], pepper: &Pepper) -> Option<[u8; 32]> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, Some(32)).ok()?;
    let mut memory: Vec<Block> = Vec::new();
    memory.try_reserve_exact(RESERVED).ok()?;
    memory.resize(params.block_count(), Block::new());
    let argon = Argon2::new_with_secret(pepper.bytes(), Algorithm::Argon2id, Version::V0x13, params).ok()?;
    let mut out = [0; 32];
    argon.hash_password_into_with_memory(word.expose().as_bytes(), salt, &mut out, &mut memory).ok()?;
    Some(out)
}

/// What a memorised secret must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WordRule {
    /// 4 to 12 digits; a PIN counts only as long as attempts are few.
    Pin,
    /// 8 to 64 characters as one second factor (NIST SP 800-63B-4 §3.1.1.2).
    Verbal,
}

/// Why a memorised secret is refused, in words for the person who chose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WordTooWeak {
    /// Too short or too long, or not digits.
    #[error("a PIN has 4 to 12 digits")]
    PinShape,
    /// Too short or too long.
    #[error("a verbal password has 8 to 64 characters")]
    VerbalShape,
    /// On the list of those that everybody tries.
    #[error("this is one of the first that a stranger would try: choose another")]
    Common,
}

impl WordRule {
    /// The rule for a kind of factor.
    pub fn of(kind: FactorKind) -> Self {
        if kind == FactorKind::VerbalPassword { Self::Verbal } else { Self::Pin }
    }
    /// One spelling for all the ways in which the same words may be typed by an agent.
    pub fn normalise(self, word: &Secret) -> Secret {
        match self {
            Self::Pin => Secret::new(word.expose().trim()),
            Self::Verbal => {
                let words: Vec<String> = word.expose().split_whitespace().map(|w| claim::normalise(claim::ClaimKind::Name, w).unwrap_or_default()).collect();
                Secret::new(words.join(" "))
            }
        }
    }
    /// Whether a new secret may be set.
    pub fn check(self, word: &Secret) -> Result<Secret, WordTooWeak> {
        let word = self.normalise(word);
        let text = word.expose();
        let len = text.chars().count();
        match self {
            Self::Pin if !(4..=12).contains(&len) || !text.bytes().all(|b| b.is_ascii_digit()) => Err(WordTooWeak::PinShape),
            Self::Verbal if !(8..=64).contains(&len) => Err(WordTooWeak::VerbalShape),
            Self::Pin if is_common_pin(text) => Err(WordTooWeak::Common),
            Self::Verbal if ["password", "passwort", "contrasena", "verbal password", "open sesame", "opensesame"].contains(&text) => Err(WordTooWeak::Common),
            _ => Ok(word),
        }
    }
}

/// One digit repeated, a run up or down, or a year: together more than a quarter of all chosen PINs.
fn is_common_pin(text: &str) -> bool {
    let digits: Vec<i16> = text.bytes().map(|b| i16::from(b) - i16::from(b'0')).collect();
    let steps: Vec<i16> = digits.iter().zip(digits.iter().skip(1)).map(|(a, b)| b - a).collect();
    let even = |step: i16| steps.iter().all(|s| *s == step);
    even(0) || even(1) || even(-1) || (text.len() == 4 && (text.starts_with("19") || text.starts_with("20")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_match_however_they_are_typed() {
        let pepper = Pepper::new([1; 32]);
        let rule = WordRule::Verbal;
        let hash = WordHash::make(&rule.check(&"Purple Rhinoceros".into()).unwrap(), [7; 16], &pepper);
        assert!(hash.matches(&rule.normalise(&" purple   RHINOCEROS ".into()), &pepper));
        assert!(!hash.matches(&rule.normalise(&"purple rhino".into()), &pepper));
        assert!(!hash.matches(&rule.normalise(&"purple rhinoceros".into()), &Pepper::new([2; 32])), "the pepper counts");
        assert!(!WordHash::decoy().matches(&"".into(), &pepper));
    }

    #[test]
    fn weak_words_are_refused_with_the_reason() {
        for (rule, word, why) in [
            (WordRule::Pin, "123", WordTooWeak::PinShape),
            (WordRule::Pin, "12a4", WordTooWeak::PinShape),
            (WordRule::Pin, "1234", WordTooWeak::Common),
            (WordRule::Pin, "777777", WordTooWeak::Common),
            (WordRule::Pin, "1984", WordTooWeak::Common),
            (WordRule::Verbal, "rhino", WordTooWeak::VerbalShape),
            (WordRule::Verbal, "Password", WordTooWeak::Common),
        ] {
            assert_eq!(rule.check(&word.into()).unwrap_err(), why, "{word}");
        }
        assert!(WordRule::Pin.check(&"4071".into()).is_ok());
    }
}
