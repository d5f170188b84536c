//! Codes that travel between the call and a device where the customer is signed in, what such a
//! device attests, and the words by which both sides of a call know each other.
//!
//! A code that we give out is not kept anywhere: it is derived from the pepper and the random id of
//! its challenge, whenever somebody has to say or show it. So no event, reply or database holds one.

use hmac::Mac;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{FactorKind, Owner, Pepper, Spend, Verdict};
use crate::{
    action::Action,
    id::{AccountId, AuthenticatorId, CallId, ChallengeId},
    random::Random,
    secret::Secret,
};

/// What a code is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alphabet {
    /// Six digits, for a challenge to a known account: only its own portal is asked for it
    /// (NIST SP 800-63B-4 §3.1.3: at least 6).
    Known,
    /// Eight digits, to be spoken while nobody knows whose call it is: any signed-in customer may
    /// type it, so all live ones are guessed at together.
    Spoken,
    /// Eight letters, to be read off a screen (RFC 8628 §6.1: no vowels, 34.5 bits).
    Letters,
}

/// RFC 8628 §6.1.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

#[expect(clippy::len_without_is_empty, reason = "no alphabet writes an empty code")]
impl Alphabet {
    /// How many characters a code has.
    pub fn len(self) -> usize {
        match self { Self::Known => 6, Self::Spoken | Self::Letters => 8 }
    }

    /// What somebody typed, as it is compared: capitals, without spaces and dashes. `None`: no code
    /// of any alphabet looks like that.
    pub fn normalise(typed: &str) -> Option<Secret> {
        let plain: String = typed.chars().filter(|c| !c.is_whitespace() && !"-–.".contains(*c)).flat_map(char::to_uppercase).collect();
        let shape = (6..=8).contains(&plain.len()) && plain.bytes().all(|b| b.is_ascii_digit() || LETTERS.contains(&b));
        shape.then(|| Secret::new(plain))
    }
}

impl Pepper {
    fn stream(&self, purpose: &[u8], id: &[u8; 16]) -> Random {
        let mut mac = crate::random::hmac_sha256(self.bytes());
        mac.update(purpose);
        mac.update(b"\0");
        mac.update(id);
        Random::new(mac.finalize().into_bytes().into())
    }

    /// The code of a challenge or link, the same whenever it is asked for.
    pub fn travel_code(&self, id: ChallengeId, alphabet: Alphabet) -> Secret {
        match alphabet {
            Alphabet::Known => self.stream(b"travel/known", &id.0).digits(alphabet.len()),
            Alphabet::Spoken => self.stream(b"travel/spoken", &id.0).digits(alphabet.len()),
            Alphabet::Letters => {
                let mut random = self.stream(b"travel/letters", &id.0);
                let mut out = String::new();
                while out.len() < alphabet.len() {
                    // 240 is the largest multiple of twenty in a byte: rejecting the rest removes the bias.
                    let picked = random.block().into_iter().filter(|b| *b < 240).filter_map(|b| LETTERS.get(usize::from(b % 20)));
                    out.extend(picked.take(alphabet.len() - out.len()).map(|b| char::from(*b)));
                }
                Secret::new(out)
            }
        }
    }

    /// The key to press when a call that was asked for in the portal is answered: 1 to 9.
    pub fn callback_key(&self, call: CallId) -> u8 {
        let digits = self.stream(b"callback", &call.0).digits(32);
        digits.expose().bytes().map(|b| b - b'0').find(|d| *d > 0).unwrap_or(1)
    }

    /// The words by which both sides of a call know each other.
    pub fn watchwords(&self, call: CallId, account: AccountId) -> Watchwords {
        let mut id = call.0;
        id.iter_mut().zip(account.0).for_each(|(a, b)| *a ^= b.rotate_left(3));
        let block = self.stream(b"watchwords", &id).block();
        let word = |i: usize| crate::watchwords::WORDS.get(usize::from(block.get(i).copied().unwrap_or(0))).copied().unwrap_or("harbour");
        Watchwords { customer: word(0), company: word(1) }
    }
}

/// Two words that only the portal and the agent's screen show: each side says its own. Whoever
/// cannot say theirs is not in that call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Watchwords {
    /// What the customer says.
    pub customer: &'static str,
    /// What the company's agent says.
    pub company: &'static str,
}

/// Checks a code that was given on the call and typed in the portal of `owner`.
pub fn check_travel_code(owner: Owner, id: ChallengeId, alphabet: Alphabet, typed: &Secret, pepper: &Pepper) -> Verdict {
    let right = pepper.travel_code(id, alphabet);
    let same = Alphabet::normalise(typed.expose()).is_some_and(|typed| bool::from(typed.expose().as_bytes().ct_eq(right.expose().as_bytes())));
    if same { owner.proven(FactorKind::Approval, false, Some(Spend::Once(format!("code/{id}")))) } else { Verdict::Wrong }
}

/// Checks the key that was pressed when a call asked for in the portal was answered.
pub fn check_callback(account: AccountId, contact: AuthenticatorId, call: CallId, pressed: &str, pepper: &Pepper) -> Verdict {
    let owner = Owner { account, authenticator: contact };
    if pressed == pepper.callback_key(call).to_string() {
        owner.proven(FactorKind::Callback, false, Some(Spend::Once(format!("callback/{call}"))))
    } else {
        Verdict::Wrong
    }
}

/// What exactly is approved: whoever signs, signs the hash of this. Another call, challenge,
/// account or purpose is another transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// On which call.
    pub call: CallId,
    /// In answer to which challenge.
    pub challenge: ChallengeId,
    /// Whose approval is asked for.
    pub account: AccountId,
    /// What for; `None`: to prove who is calling.
    pub action: Option<Action>,
}

impl Transaction {
    /// What is signed.
    pub fn text(&self) -> String {
        let action = self.action.as_ref().map_or_else(|| "identify".to_owned(), ToString::to_string);
        format!("countersign approval v1\n{}\n{}\n{}\n{action}", self.call, self.challenge, self.account)
    }
    /// SHA-256 of it.
    pub fn hash(&self) -> [u8; 32] { Sha256::digest(self.text().as_bytes()).into() }
}

/// What a verifier outside of this crate found about a signed answer. It can only be turned into a
/// [`super::Proof`] here, and only for the very transaction, account and kind that were asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Attested {
    /// What was signed.
    pub transaction: [u8; 32],
    /// Whose key signed it, as found on file.
    pub account: AccountId,
    /// Which authenticator.
    pub authenticator: AuthenticatorId,
    /// What kind.
    pub kind: FactorKind,
    /// The authenticator's own count of signatures; 0: it keeps none (WebAuthn §6.1.1).
    pub counter: u32,
}

/// Takes a signed answer for what it was asked for, and for nothing else.
pub fn check_attested(asked: &Transaction, attested: Option<Attested>) -> Verdict {
    match attested {
        Some(a) if a.transaction == asked.hash() && a.account == asked.account && matches!(a.kind, FactorKind::Passkey | FactorKind::Provider) => {
            let owner = Owner { account: a.account, authenticator: a.authenticator };
            // A count that does not grow is a copy of the key (WebAuthn §6.1.1).
            let once = if a.counter > 0 { Spend::Step(u64::from(a.counter)) } else { Spend::Once(format!("code/{}", asked.challenge)) };
            owner.proven(a.kind, false, Some(once))
        }
        _ => Verdict::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Transaction {
        Transaction { call: CallId([1; 16]), challenge: ChallengeId([2; 16]), account: AccountId([3; 16]), action: "change:phone".parse().ok() }
    }

    fn attested() -> Attested {
        Attested { transaction: asked().hash(), account: AccountId([3; 16]), authenticator: AuthenticatorId([4; 16]), kind: FactorKind::Passkey, counter: 0 }
    }

    #[test]
    fn a_signature_counts_for_what_was_asked_and_nothing_else() {
        assert!(matches!(check_attested(&asked(), Some(attested())), Verdict::Proven { .. }));
        assert_eq!(check_attested(&asked(), None), Verdict::Wrong);
        assert_eq!(check_attested(&asked(), Some(Attested { account: AccountId([9; 16]), ..attested() })), Verdict::Wrong);
        assert_eq!(check_attested(&asked(), Some(Attested { kind: FactorKind::Pin, ..attested() })), Verdict::Wrong);
        for other in [
            Transaction { action: "change:email".parse().ok(), ..asked() },
            Transaction { action: None, ..asked() },
            Transaction { call: CallId([9; 16]), ..asked() },
            Transaction { challenge: ChallengeId([9; 16]), ..asked() },
        ] {
            assert_eq!(check_attested(&other, Some(attested())), Verdict::Wrong);
        }
    }

    #[test]
    fn a_count_must_grow_where_there_is_one() {
        let once = |counter| match check_attested(&asked(), Some(Attested { counter, ..attested() })) {
            Verdict::Proven { once, .. } => once,
            Verdict::Wrong => None,
        };
        assert_eq!(once(7), Some(Spend::Step(7)));
        assert!(matches!(once(0), Some(Spend::Once(_))));
    }

    #[test]
    fn a_code_is_of_its_challenge_and_alphabet() {
        let pepper = Pepper::new([5; 32]);
        let owner = Owner::portal(AccountId([1; 16]));
        for alphabet in [Alphabet::Known, Alphabet::Spoken, Alphabet::Letters] {
            let code = pepper.travel_code(ChallengeId([1; 16]), alphabet);
            assert_eq!(code.expose().len(), alphabet.len());
            assert!(code.expose().bytes().all(|b| if alphabet == Alphabet::Letters { LETTERS.contains(&b) } else { b.is_ascii_digit() }));
            assert!(matches!(check_travel_code(owner, ChallengeId([1; 16]), alphabet, &code, &pepper), Verdict::Proven { .. }));
            assert_eq!(check_travel_code(owner, ChallengeId([2; 16]), alphabet, &code, &pepper), Verdict::Wrong);
            assert_eq!(check_travel_code(owner, ChallengeId([1; 16]), alphabet, &code, &Pepper::new([6; 32])), Verdict::Wrong);
        }
        assert_eq!(check_travel_code(owner, ChallengeId([1; 16]), Alphabet::Known, &"".into(), &pepper), Verdict::Wrong);
    }

    #[test]
    fn codes_are_typed_as_people_type() {
        let typed = |text: &str| Alphabet::normalise(text).map(|s| s.expose().to_owned());
        assert_eq!(typed(" wdjb-mjht "), Some("WDJBMJHT".to_owned()));
        assert_eq!(typed("123 456"), Some("123456".to_owned()));
        for bad in ["", "12345", "ABCDEFGH", "123456789", "12 45 ５６", "<script>"] {
            assert_eq!(typed(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_key_to_press_is_never_zero_and_is_spread() {
        let pepper = Pepper::new([5; 32]);
        let mut seen = [0u32; 10];
        for n in 0..=255u8 {
            seen[usize::from(pepper.callback_key(CallId([n; 16])))] += 1;
        }
        assert!(seen[0] == 0 && seen[1..].iter().all(|n| *n > 10), "{seen:?}");
    }

    #[test]
    fn watchwords_differ_by_call_and_account() {
        let pepper = Pepper::new([5; 32]);
        let words = |call, account| pepper.watchwords(CallId([call; 16]), AccountId([account; 16]));
        assert_eq!(words(1, 1), words(1, 1));
        assert_ne!(words(1, 1), words(1, 2));
        assert_ne!(words(1, 1), words(2, 1));
    }
}
