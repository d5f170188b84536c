//! Authenticators and the only code that can turn one into a [`Proof`].
//!
//! A `Proof` has no public constructor: it comes out of the functions here that begin with `check_`
//! or of [`redeem`], and nowhere else. Claims cannot get in: no function here takes one.

mod oath;
mod travel;
mod word;

use std::fmt;

use hmac::Mac;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

pub use self::{
    oath::{Algorithm, Otp, hotp, matching_counter},
    travel::{Alphabet, Attested, Transaction, Watchwords, check_attested, check_callback, check_travel_code},
    word::{WordHash, WordRule, WordTooWeak},
};
use crate::{
    id::{AccountId, AuthenticatorId, ChallengeId},
    random::hmac_sha256,
    secret::Secret,
    time::Timestamp,
};

/// What a caller can prove with. Only secrets, things held and (later) biometrics: there is no
/// variant for anything that merely says who is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactorKind {
    /// A passkey signs what is to be done, in the signed-in portal during the call. The device asks
    /// its holder for a PIN or biometric first: two factors in one (NIST SP 800-63B-4 §3.1.7).
    Passkey,
    /// The company's own sign-in provider asks its customer during the call (OpenID CIBA).
    Provider,
    /// Time-based one-time code from an app (RFC 6238).
    Totp,
    /// Counter-based one-time code from a token (RFC 4226).
    Hotp,
    /// Rotating code shown in the signed-in portal.
    ServiceCode,
    /// One-time token in the number that the signed-in portal dialled (`silent_authentication`).
    AppCall,
    /// Rung back at the number on file, as asked in the signed-in portal, and one key pressed that
    /// only the portal showed (`walmart_call_me`).
    Callback,
    /// A code given on the call and typed in the signed-in portal (NIST SP 800-63B-4 §3.1.3.2: the
    /// call is the secondary channel; it is transferred, not compared).
    Approval,
    /// One-time code texted to a number on file. Restricted: NIST SP 800-63B-4 §3.1.3.3.
    SmsCode,
    /// One-time code read out to a number on file. Restricted, as above.
    VoiceCode,
    /// A word or phrase said to the agent.
    VerbalPassword,
    /// A short number that the caller chose.
    Pin,
    /// One code of a printed list, each good once (look-up secret, NIST SP 800-63B-4 §3.1.2).
    BackupCode,
}

/// Knowledge, possession or inherence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Something known.
    Knowledge,
    /// Something held.
    Possession,
}

impl FactorKind {
    /// All kinds, strongest first: the order in which a customer's factors are asked.
    pub const ALL: [Self; 13] = [
        Self::Passkey, Self::Provider, Self::Totp, Self::Hotp, Self::ServiceCode, Self::AppCall, Self::Callback, Self::Approval,
        Self::SmsCode, Self::VoiceCode, Self::VerbalPassword, Self::Pin, Self::BackupCode,
    ];
    /// The name used in policies, events and forms.
    pub fn name(self) -> &'static str {
        match self {
            Self::Passkey => "passkey",
            Self::Provider => "provider",
            Self::AppCall => "app_call",
            Self::Callback => "callback",
            Self::Approval => "approval",
            Self::BackupCode => "backup_code",
            Self::Totp => "totp",
            Self::Hotp => "hotp",
            Self::ServiceCode => "service_code",
            Self::SmsCode => "sms_code",
            Self::VoiceCode => "voice_code",
            Self::VerbalPassword => "verbal_password",
            Self::Pin => "pin",
        }
    }
    /// What people read: the same words on every page and in every record.
    pub fn words(self) -> &'static str {
        match self {
            Self::Passkey => "passkey",
            Self::Provider => "website sign-in",
            Self::AppCall => "call from the portal",
            Self::Callback => "rung back",
            Self::Approval => "portal approval",
            Self::BackupCode => "backup code",
            Self::Totp => "app code",
            Self::Hotp => "token code",
            Self::ServiceCode => "portal code",
            Self::SmsCode => "texted code",
            Self::VoiceCode => "code by call",
            Self::VerbalPassword => "verbal password",
            Self::Pin => "PIN",
        }
    }
    /// The kind with this name.
    pub fn parse(name: &str) -> Option<Self> { Self::ALL.into_iter().find(|k| k.name() == name) }
    /// Which class it belongs to.
    pub fn class(self) -> Class {
        match self {
            Self::Passkey | Self::Provider | Self::Totp | Self::Hotp | Self::ServiceCode | Self::AppCall | Self::Callback
            | Self::Approval | Self::SmsCode | Self::VoiceCode | Self::BackupCode => Class::Possession,
            Self::VerbalPassword | Self::Pin => Class::Knowledge,
        }
    }
    /// Whether one proof of this kind is two factors: a thing held that works only for who knows
    /// its PIN or has its holder's finger (NIST SP 800-63B-4 §3.1.7).
    pub fn is_multi_factor(self) -> bool { self == Self::Passkey }
    /// Possession factors do not stand in for each other when a customer chose one; a knowledge
    /// factor is not "weaker than the app", it is another class. Higher is stronger. The portal's
    /// typed code ranks with texted ones: being signed in once is no choice of a second factor.
    pub fn strength(self) -> u8 {
        match self {
            Self::Passkey => 5,
            Self::Provider | Self::Totp | Self::Hotp => 4,
            Self::ServiceCode | Self::AppCall | Self::Callback => 3,
            Self::Approval | Self::SmsCode | Self::VoiceCode => 2,
            Self::VerbalPassword | Self::Pin | Self::BackupCode => 1,
        }
    }
    /// Whether a fresh code is made and sent for each challenge.
    pub fn is_sent(self) -> bool { matches!(self, Self::SmsCode | Self::VoiceCode) }
    /// Whether it is entered with the keypad in answer to a challenge.
    pub fn is_keyed(self) -> bool {
        match self {
            Self::Totp | Self::Hotp | Self::ServiceCode | Self::SmsCode | Self::VoiceCode | Self::Pin | Self::BackupCode => true,
            Self::Passkey | Self::Provider | Self::AppCall | Self::Callback | Self::Approval | Self::VerbalPassword => false,
        }
    }
    /// Whether it is answered in the signed-in portal while the call waits.
    pub fn is_portal(self) -> bool { matches!(self, Self::Passkey | Self::Approval) }
    /// Whether the answer comes over another channel than the call.
    pub fn is_elsewhere(self) -> bool { self.is_portal() || self == Self::Provider }
    /// RFC 8176 authentication method reference.
    pub fn amr(self) -> &'static str {
        match self {
            Self::Passkey => "pop",
            Self::Provider | Self::AppCall | Self::Approval => "mca",
            Self::Totp | Self::Hotp | Self::ServiceCode | Self::BackupCode => "otp",
            Self::SmsCode => "sms",
            Self::VoiceCode | Self::Callback => "tel",
            Self::VerbalPassword => "pwd",
            Self::Pin => "pin",
        }
    }
}
impl fmt::Display for FactorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(self.name()) }
}

/// The key that one-time codes and memorised secrets are hashed under. Kept apart from the
/// database, as NIST SP 800-63B-4 §3.1.1.2 asks of the keyed hash.
#[derive(Clone)]
pub struct Pepper(Zeroizing<[u8; 32]>);

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str("Pepper(…)") }
}
impl Pepper {
    /// Wraps 32 secret bytes.
    pub fn new(key: [u8; 32]) -> Self { Self(Zeroizing::new(key)) }
    pub(crate) fn bytes(&self) -> &[u8] { self.0.as_ref() }
    /// The hash under which a code of this challenge is kept.
    pub fn code_hash(&self, challenge: ChallengeId, code: &Secret) -> CodeHash {
        let mut mac = hmac_sha256(self.bytes());
        mac.update(b"code\0");
        mac.update(&challenge.0);
        mac.update(code.expose().as_bytes());
        CodeHash(mac.finalize().into_bytes().into())
    }
}

/// A one-time code, hashed with the pepper and bound to its challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeHash([u8; 32]);

impl Serialize for CodeHash {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.serialize_str(&hex::encode(self.0)) }
}
impl<'de> Deserialize<'de> for CodeHash {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.as_bytes(), &mut bytes).map_err(serde::de::Error::custom)?;
        Ok(Self(bytes))
    }
}

/// A challenge that succeeded. Cannot be made outside this module, cloned, or read from storage.
#[derive(Debug, PartialEq, Eq)]
pub struct Proof {
    account: AccountId,
    authenticator: AuthenticatorId,
    kind: FactorKind,
    duress: bool,
}

impl Proof {
    /// Whose authenticator it was.
    pub fn account(&self) -> AccountId { self.account }
    /// Which authenticator it was.
    pub fn authenticator(&self) -> AuthenticatorId { self.authenticator }
    /// What kind it was.
    pub fn kind(&self) -> FactorKind { self.kind }
    /// It was the word or PIN that means "I am being forced".
    pub fn duress(&self) -> bool { self.duress }
}

/// What came of presenting a secret.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Right. `once` must be spent in the same transaction, or the proof is void.
    Proven {
        /// The proof.
        proof: Proof,
        /// What must never be accepted a second time.
        once: Option<Spend>,
    },
    /// Wrong, of a wrong shape, or not for this account: indistinguishable on purpose.
    Wrong,
}

/// A thing that counts once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spend {
    /// The authenticator's counter or time step: only a greater one may follow.
    Step(u64),
    /// This very thing; it dies by itself within a day.
    Once(String),
    /// This very thing, for ever.
    Forever(String),
}

/// Whose authenticator is being checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The account.
    pub account: AccountId,
    /// The authenticator.
    pub authenticator: AuthenticatorId,
}

impl Owner {
    /// The portal's own authenticator: one per account.
    pub fn portal(account: AccountId) -> Self { Self { account, authenticator: AuthenticatorId(account.0) } }

    fn proven(self, kind: FactorKind, duress: bool, once: Option<Spend>) -> Verdict {
        Verdict::Proven { proof: Proof { account: self.account, authenticator: self.authenticator, kind, duress }, once }
    }
}

/// Checks a one-time code that was sent for `challenge`.
pub fn check_code(owner: Owner, kind: FactorKind, challenge: ChallengeId, hash: &CodeHash, presented: &Secret, pepper: &Pepper) -> Verdict {
    let given = pepper.code_hash(challenge, presented);
    if kind.is_sent() && bool::from(given.0.ct_eq(&hash.0)) {
        owner.proven(kind, false, Some(Spend::Once(format!("code/{challenge}"))))
    } else {
        Verdict::Wrong
    }
}

/// Checks a code from an app or token. `last` is the last counter or time step that was accepted.
pub fn check_otp(owner: Owner, kind: FactorKind, otp: &Otp, last: Option<u64>, presented: &Secret, now: Timestamp) -> Verdict {
    match matching_counter(otp, last, presented, now) {
        Some(counter) => owner.proven(kind, false, Some(Spend::Step(counter))),
        None => Verdict::Wrong,
    }
}

/// Checks a PIN or verbal password, and the duress word beside it. Both hashes are always
/// computed, so that the time taken does not tell whether a duress word exists or matched.
pub fn check_word(owner: Owner, kind: FactorKind, real: &WordHash, duress: &WordHash, presented: &Secret, pepper: &Pepper) -> Verdict {
    let presented = WordRule::of(kind).normalise(presented);
    let (is_real, is_duress) = (real.matches(&presented, pepper), duress.matches(&presented, pepper));
    match (is_real, is_duress) {
        (true, _) => owner.proven(kind, false, None),
        (false, true) => owner.proven(kind, true, None),
        (false, false) => Verdict::Wrong,
    }
}

/// A rotating service code that was found among the live ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceCode {
    /// Whose portal shows it.
    pub account: AccountId,
    /// From when on it is worth nothing.
    pub expires: Timestamp,
    /// It stands in the number that the portal dialled, and nobody read it.
    #[serde(default)]
    pub dialled: bool,
}

/// Redeems a code of the portal that the caller's telephone keyed. `slot` names it, so that it
/// counts once.
pub fn redeem(code: &ServiceCode, slot: &str, now: Timestamp) -> Verdict {
    if now >= code.expires {
        return Verdict::Wrong;
    }
    let kind = if code.dialled { FactorKind::AppCall } else { FactorKind::ServiceCode };
    Owner::portal(code.account).proven(kind, false, Some(Spend::Once(format!("service/{slot}"))))
}

/// A printed list of codes, hashed with the pepper, each bound to its place in the list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupCodes(Vec<CodeHash>);

impl BackupCodes {
    /// Hashes a fresh list for this authenticator.
    pub fn make(authenticator: AuthenticatorId, codes: &[Secret], pepper: &Pepper) -> Self {
        Self(codes.iter().map(|code| pepper.code_hash(ChallengeId(authenticator.0), code)).collect())
    }
    /// How many there were.
    pub fn len(&self) -> usize { self.0.len() }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool { self.0.is_empty() }
    /// The name under which the one at `place` is spent.
    pub fn spent(authenticator: AuthenticatorId, place: usize) -> String { format!("backup/{authenticator}/{place}") }
}

/// Checks a code of a printed list. All of them are compared, whichever fits.
pub fn check_backup(owner: Owner, codes: &BackupCodes, presented: &Secret, pepper: &Pepper) -> Verdict {
    let given = pepper.code_hash(ChallengeId(owner.authenticator.0), presented);
    let mut found = None;
    for (place, code) in codes.0.iter().enumerate() {
        if bool::from(given.0.ct_eq(&code.0)) {
            found = Some(place);
        }
    }
    match found {
        Some(place) => owner.proven(FactorKind::BackupCode, false, Some(Spend::Forever(BackupCodes::spent(owner.authenticator, place)))),
        None => Verdict::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner { Owner { account: AccountId([1; 16]), authenticator: AuthenticatorId([2; 16]) } }

    #[test]
    fn a_code_is_bound_to_its_challenge() {
        let (pepper, code) = (Pepper::new([5; 32]), Secret::new("123456"));
        let (mine, other) = (ChallengeId([1; 16]), ChallengeId([2; 16]));
        let hash = pepper.code_hash(mine, &code);
        assert!(matches!(check_code(owner(), FactorKind::SmsCode, mine, &hash, &code, &pepper), Verdict::Proven { once: Some(_), .. }));
        assert_eq!(check_code(owner(), FactorKind::SmsCode, other, &hash, &code, &pepper), Verdict::Wrong);
        assert_eq!(check_code(owner(), FactorKind::SmsCode, mine, &hash, &"123457".into(), &pepper), Verdict::Wrong);
        assert_eq!(check_code(owner(), FactorKind::SmsCode, mine, &hash, &code, &Pepper::new([6; 32])), Verdict::Wrong);
    }

    #[test]
    fn a_duress_word_looks_right_and_says_so_only_inside() {
        let pepper = Pepper::new([5; 32]);
        let real = WordHash::make(&"4071".into(), [1; 16], &pepper);
        let duress = WordHash::make(&"4079".into(), [2; 16], &pepper);
        let check = |text: &str| check_word(owner(), FactorKind::Pin, &real, &duress, &text.into(), &pepper);
        assert!(matches!(check("4071"), Verdict::Proven { proof: Proof { duress: false, .. }, .. }));
        assert!(matches!(check("4079"), Verdict::Proven { proof: Proof { duress: true, .. }, .. }));
        assert_eq!(check("4070"), Verdict::Wrong);
    }

    #[test]
    fn a_service_code_dies_at_its_hour() {
        let code = ServiceCode { account: AccountId([1; 16]), expires: Timestamp(1000), dialled: false };
        assert!(matches!(redeem(&code, "x", Timestamp(999)), Verdict::Proven { .. }));
        assert_eq!(redeem(&code, "x", Timestamp(1000)), Verdict::Wrong);
    }
}
