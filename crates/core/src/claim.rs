//! Claims: what is said or signalled about who is calling. Claims identify; they never prove.
//!
//! A value is only ever compared through keyed hashes ([`Blind`]), so neither events nor the call
//! state hold what the caller said.

use std::fmt;

use hmac::Mac;
use serde::{Deserialize, Serialize};
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};
use zeroize::Zeroizing;

use crate::{
    random::hmac_sha256,
    secret::{Blind, E164, Secret},
};

/// What a claim is about. Every one of these is known to many people and hardly ever changes:
/// see the field study. None of them is, or may become, a factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimKind {
    /// A telephone number: the calling line's, or one that is said.
    Number,
    /// The company's own account or customer number.
    AccountNumber,
    /// An e-mail address.
    Email,
    /// First and last name.
    Name,
    /// Date of birth.
    DateOfBirth,
    /// Postal code of an address on file.
    PostalCode,
    /// The number of an order.
    OrderNumber,
}

impl ClaimKind {
    /// All kinds, in the order in which a desk offers them.
    pub const ALL: [Self; 7] = [
        Self::AccountNumber, Self::OrderNumber, Self::Email, Self::Name,
        Self::DateOfBirth, Self::PostalCode, Self::Number,
    ];
    /// The name used in events, policies and forms.
    pub fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::AccountNumber => "account_number",
            Self::Email => "email",
            Self::Name => "name",
            Self::DateOfBirth => "date_of_birth",
            Self::PostalCode => "postal_code",
            Self::OrderNumber => "order_number",
        }
    }
    /// The kind with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
    /// Whether people hear and spell it, so that a neighbour's value is one slip away.
    pub fn is_misheard(self) -> bool { matches!(self, Self::Email | Self::Name) }
}
impl fmt::Display for ClaimKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(self.name()) }
}

/// How a claim reached us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// Signalled by the network (the calling line).
    Network,
    /// Keyed by the caller.
    Keypad,
    /// Typed by the agent from what the caller said.
    Agent,
    /// Named by a program of the company that asks for a proof (OpenID CIBA, a login hint).
    Client,
}

/// One claim with its clear value, on its way to be looked up. Never stored.
#[derive(Debug, Clone)]
pub struct Claim {
    /// What it is about.
    pub kind: ClaimKind,
    /// What was said.
    pub value: Secret,
    /// How it reached us.
    pub via: Via,
}

/// The key under which personal values are hashed for look-up.
#[derive(Clone)]
pub struct IndexKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for IndexKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str("IndexKey(…)") }
}

impl IndexKey {
    /// Wraps 32 secret bytes.
    pub fn new(key: [u8; 32]) -> Self { Self(Zeroizing::new(key)) }

    /// The keyed hash of `text` in the name space `space`.
    pub fn blind(&self, space: &str, text: &str) -> Blind {
        let mut mac = hmac_sha256(self.0.as_ref());
        mac.update(space.as_bytes());
        mac.update(&[0]);
        mac.update(text.as_bytes());
        let mut out = [0; 16];
        out.iter_mut().zip(mac.finalize().into_bytes()).for_each(|(to, from)| *to = from);
        Blind(out)
    }

    /// The hash under which exactly this value of `kind` is found; `None` when the value has no
    /// usable content (for example a date that is no date).
    pub fn exact(&self, kind: ClaimKind, value: &str) -> Option<Blind> {
        normalise(kind, value).map(|text| self.blind(kind.name(), &text))
    }

    /// The hashes that this value shares with its look-alikes: the same sound, or one letter
    /// added, dropped, changed or swapped with its neighbour. Empty for kinds that are not misheard.
    ///
    /// Two values are near when they share any of these: deleting one letter from each side finds
    /// every pair within one edit without comparing against the whole directory.
    pub fn near(&self, kind: ClaimKind, value: &str) -> Vec<Blind> {
        let Some(text) = normalise(kind, value).filter(|_| kind.is_misheard()) else { return Vec::new() };
        let space = format!("near:{}", kind.name());
        let mut keys = vec![self.blind(&space, &format!("s{}", sound(kind, &text))), self.blind(&space, &format!("d{text}"))];
        let chars: Vec<char> = text.chars().take(MAX_NEAR).collect();
        for skip in 0..chars.len() {
            let shorter: String = chars.iter().enumerate().filter(|(i, _)| *i != skip).map(|(_, c)| c).collect();
            keys.push(self.blind(&space, &format!("d{shorter}")));
        }
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

/// Longer values are compared by their beginning: nobody mishears the 41st letter only.
const MAX_NEAR: usize = 40;

/// One spelling for all the ways in which a value may be said or keyed.
pub fn normalise(kind: ClaimKind, value: &str) -> Option<String> {
    let text = value.trim();
    if text.len() > 254 {
        return None;
    }
    let out = match kind {
        ClaimKind::Number => E164::parse(text).ok()?.expose().to_owned(),
        ClaimKind::AccountNumber | ClaimKind::OrderNumber | ClaimKind::PostalCode => {
            text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_uppercase).collect()
        }
        ClaimKind::Email => {
            let lower: String = text.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect();
            let (local, domain) = lower.split_once('@')?;
            if local.is_empty() || !domain.contains('.') {
                return None;
            }
            lower
        }
        ClaimKind::Name => {
            let folded: String = text.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase).collect();
            let mut words: Vec<&str> = folded.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
            words.sort_unstable(); // "Torres, Ana" is Ana Torres
            words.join(" ")
        }
        ClaimKind::DateOfBirth => {
            let digits: String = text.chars().filter(char::is_ascii_digit).collect();
            let (month, day) = (digits.get(4..6)?.parse::<u8>().ok()?, digits.get(6..8)?.parse::<u8>().ok()?);
            if digits.len() != 8 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
                return None;
            }
            digits
        }
    };
    (!out.is_empty()).then_some(out)
}

/// What a value sounds like over a telephone line (300 to 3400 Hz, where consonants blur).
fn sound(kind: ClaimKind, text: &str) -> String {
    if kind == ClaimKind::Name {
        return text.split(' ').map(soundex).collect::<Vec<_>>().join(" ");
    }
    // E-mail addresses are spelled: letters whose English names rhyme are one class.
    text.chars()
        .map(|c| match c {
            'b' | 'c' | 'd' | 'e' | 'g' | 'p' | 't' | 'v' | 'z' | '3' => 'b',
            'm' | 'n' => 'm',
            'f' | 's' | 'x' => 'f',
            'a' | 'h' | 'j' | 'k' | '8' => 'a',
            'i' | 'y' | '5' | '9' => 'i',
            'q' | 'u' | 'w' | '2' => 'u',
            '.' | '-' | '_' => '.',
            other => other,
        })
        .collect()
}

/// First letter, then consonant classes without repeats; vowels dropped (Russell's Soundex, not cut short).
fn soundex(word: &str) -> String {
    let class = |c: char| match c {
        'b' | 'f' | 'p' | 'v' | 'w' => Some('1'),
        'c' | 'g' | 'j' | 'k' | 'q' | 's' | 'x' | 'z' => Some('2'),
        'd' | 't' => Some('3'),
        'l' => Some('4'),
        'm' | 'n' => Some('5'),
        'r' => Some('6'),
        _ => None,
    };
    let mut out = String::new();
    let mut last = None;
    for (i, c) in word.chars().enumerate() {
        let now = class(c);
        if i == 0 {
            out.push(now.unwrap_or('0')); // all vowels begin alike on a bad line
        } else if let Some(code) = now.filter(|_| now != last) {
            out.push(code);
        }
        last = now;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(kind: ClaimKind, a: &str, b: &str) -> bool {
        let key = IndexKey::new([1; 32]);
        let theirs = key.near(kind, b);
        key.near(kind, a).iter().any(|k| theirs.contains(k))
    }

    #[test]
    fn spellings_of_one_value_are_one_value() {
        let key = IndexKey::new([1; 32]);
        for (kind, a, b) in [
            (ClaimKind::Name, "Ana Torres", "TORRES,  Ána"),
            (ClaimKind::Email, "Ana.Torres@example.com", " ana.torres@EXAMPLE.com "),
            (ClaimKind::PostalCode, "SW1A 1AA", "sw1a1aa"),
            (ClaimKind::DateOfBirth, "1984-03-09", "19840309"),
        ] {
            assert_eq!(key.exact(kind, a), key.exact(kind, b));
        }
        assert_ne!(key.exact(ClaimKind::Name, "a"), key.exact(ClaimKind::PostalCode, "a"));
    }

    #[test]
    fn hotelx_neighbours_are_near_and_strangers_are_not() {
        assert!(near(ClaimKind::Email, "tina.bell@example.com", "dina.bell@example.com"));
        assert!(near(ClaimKind::Email, "m.ross@example.com", "n.ross@example.com"));
        assert!(near(ClaimKind::Email, "jonhsmith@example.com", "johnsmith@example.com"));
        assert!(near(ClaimKind::Name, "Jon Smith", "John Smyth"));
        assert!(!near(ClaimKind::Email, "ana.torres@example.com", "liam.okafor@example.com"));
        assert!(!near(ClaimKind::Name, "Ana Torres", "Liam Okafor"));
        assert!(IndexKey::new([1; 32]).near(ClaimKind::AccountNumber, "10000001").is_empty());
    }

    #[test]
    fn values_without_content_are_no_claims() {
        for (kind, text) in [(ClaimKind::Email, "ana"), (ClaimKind::DateOfBirth, "19841309"), (ClaimKind::Name, "--"), (ClaimKind::Number, "555")] {
            assert_eq!(normalise(kind, text), None, "{text}");
        }
    }
}
