//! Digest for calls that come in (RFC 3261 §22, RFC 7616, RFC 8760), with nonces that are used once.
//!
//! A nonce carries the time and a keyed hash of it, so that challenges cost no memory, however many
//! are asked for. Only an answer that was right is remembered: its nonce with the count it had. The
//! same count again, or a nonce that is too old, gets a new challenge with `stale=true`.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::sync::Mutex;

use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::{Digest as _, Md5};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::random;

/// How long a nonce may be answered, in seconds.
const LIFE: u64 = 60;
/// Answered nonces that are remembered before the old ones are swept out.
const SWEEP: usize = 4096;

/// The hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Old and broken for other ends, and the only one that most telephones and trunks know.
    Md5,
    /// RFC 8760.
    Sha256,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }

    fn hash(self, text: &str) -> String {
        match self {
            Self::Md5 => hex(&Md5::digest(text)),
            Self::Sha256 => hex(&Sha256::digest(text)),
        }
    }
}

/// Who may call, and by which words.
#[derive(Clone)]
pub struct Digest {
    /// The realm that callers are told.
    pub realm: String,
    /// Names and passwords.
    pub users: BTreeMap<String, String>,
    /// The hash.
    pub algorithm: Algorithm,
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Digest").field("realm", &self.realm).field("users", &self.users.len()).finish_non_exhaustive()
    }
}

/// What came of an `Authorization`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is right.
    Passed {
        /// Whose it is.
        user: String,
    },
    /// None, or a wrong one, or one that is too old (`stale`): this is the `WWW-Authenticate` of a 401.
    Challenge {
        /// The header's value.
        header: String,
        /// The password was right and only the nonce was not.
        stale: bool,
    },
}

/// Checks answers.
pub struct Verifier {
    digest: Digest,
    key: [u8; 32],
    /// Takes the place of the password of a user that there is not.
    nobody: String,
    /// The nonces that were answered well: when, and the highest count.
    answered: Mutex<HashMap<String, (u64, u32)>>,
}

impl Verifier {
    /// With a fresh key: challenges do not outlive the process.
    #[must_use]
    pub fn new(digest: Digest) -> Self {
        Self { digest, key: random::bytes(), nobody: random::hex::<16>(), answered: Mutex::default() }
    }

    /// Judges the value of an `Authorization` header at `now`, in seconds, from this address.
    pub fn check(&self, now: u64, source: IpAddr, method: &str, authorization: Option<&str>) -> Verdict {
        let answer = authorization.and_then(parameters);
        let answer = answer.filter(|answer| self.is_right(method, answer));
        let right = answer.is_some();
        if let Some(mut answer) = answer
            && self.is_fresh(now, source, &answer)
        {
            return Verdict::Passed { user: answer.remove("username").unwrap_or_default() };
        }
        Verdict::Challenge { header: self.challenge(now, source, right), stale: right }
    }

    fn challenge(&self, now: u64, source: IpAddr, stale: bool) -> String {
        let Digest { realm, algorithm, .. } = &self.digest;
        let (nonce, algorithm) = (self.nonce(now, source, &random::hex::<8>()), algorithm.name());
        let stale = if stale { ", stale=true" } else { "" };
        format!(r#"Digest realm="{}", nonce="{nonce}", algorithm={algorithm}, qop="auth"{stale}"#, realm.replace(['"', '\\', '\r', '\n'], ""))
    }

    fn nonce(&self, now: u64, source: IpAddr, salt: &str) -> String {
        let begin = format!("{now:x}-{salt}");
        let tag = Hmac::<Sha256>::new_from_slice(&self.key).map(|mut mac| {
            mac.update(format!("{begin}-{source}").as_bytes());
            hex(&mac.finalize().into_bytes())
        });
        format!("{begin}-{}", tag.unwrap_or_else(|_| random::hex::<32>()))
    }

    /// The response fits the password. For a name that is not there as much is computed.
    fn is_right(&self, method: &str, answer: &HashMap<String, String>) -> bool {
        let Digest { realm, users, algorithm } = &self.digest;
        let given = |name: &str| answer.get(name).map_or("", String::as_str);
        let user = given("username");
        let known = users.get(user);
        let password = known.unwrap_or(&self.nobody);
        let named = given("algorithm");
        let fits = given("realm") == realm
            && given("qop") == "auth"
            && !given("cnonce").is_empty()
            && (named.eq_ignore_ascii_case(algorithm.name()) || named.is_empty() && *algorithm == Algorithm::Md5);
        let hash = |text: String| algorithm.hash(&text);
        let (nonce, nc, cnonce, uri) = (given("nonce"), given("nc"), given("cnonce"), given("uri"));
        let who = hash(format!("{user}:{realm}:{password}"));
        let what = hash(format!("{method}:{uri}"));
        let wanted = hash(format!("{who}:{nonce}:{nc}:{cnonce}:auth:{what}"));
        let same: bool = wanted.as_bytes().ct_eq(given("response").to_ascii_lowercase().as_bytes()).into();
        same && fits && known.is_some()
    }

    /// The nonce is ours, for this address, young enough, and its count goes up. It is used up by this.
    fn is_fresh(&self, now: u64, source: IpAddr, answer: &HashMap<String, String>) -> bool {
        let parts = || {
            let nonce = answer.get("nonce")?;
            let mut parts = nonce.split('-');
            let (time, salt) = (u64::from_str_radix(parts.next()?, 16).ok()?, parts.next()?);
            let count = answer.get("nc").filter(|nc| nc.len() == 8)?;
            Some((nonce, time, self.nonce(time, source, salt), u32::from_str_radix(count, 16).ok()?))
        };
        let Some((nonce, time, wanted, count)) = parts() else { return false };
        let ours: bool = wanted.as_bytes().ct_eq(nonce.as_bytes()).into();
        if !ours || now.saturating_sub(time) > LIFE || count == 0 {
            return false;
        }
        let mut answered = self.answered.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if answered.len() >= SWEEP {
            answered.retain(|_, (time, _)| now.saturating_sub(*time) <= LIFE);
        }
        let last = answered.entry(nonce.clone()).or_insert((time, 0));
        let fresh = count > last.1;
        last.1 = last.1.max(count);
        fresh
    }
}

/// `Digest a="b", c=d` in pieces; names in lower case. `None` for another scheme, or a name that comes
/// twice.
fn parameters(value: &str) -> Option<HashMap<String, String>> {
    let (scheme, mut rest) = value.trim().split_once(char::is_whitespace)?;
    if !scheme.eq_ignore_ascii_case("digest") {
        return None;
    }
    let mut found = HashMap::new();
    while !rest.trim().is_empty() {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (value, more) = if let Some(quoted) = after.strip_prefix('"') {
            let (mut value, mut chars) = (String::new(), quoted.char_indices());
            loop {
                match chars.next()? {
                    (_, '\\') => value.push(chars.next()?.1),
                    (at, '"') => break (value, quoted.get(at + 1..)?),
                    (_, other) => value.push(other),
                }
            }
        } else {
            let end = after.find(',').unwrap_or(after.len());
            let (value, more) = after.split_at_checked(end)?;
            (value.trim().to_owned(), more)
        };
        if found.insert(name.trim().to_ascii_lowercase(), value).is_some() || found.len() > 32 {
            return None;
        }
        rest = match more.trim_start().strip_prefix(',') {
            Some(next) => next,
            None if more.trim().is_empty() => "",
            None => return None,
        };
    }
    Some(found)
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn passed() -> Verdict {
        Verdict::Passed { user: "desk".into() }
    }

    fn verifier(algorithm: Algorithm) -> Verifier {
        let users = [("desk".to_owned(), "open sesame".to_owned())].into();
        Verifier::new(Digest { realm: "example.com".into(), users, algorithm })
    }

    fn nonce(verdict: Verdict) -> (String, bool) {
        let Verdict::Challenge { header, stale } = verdict else { panic!("a challenge is wanted") };
        (parameters(&header).unwrap()["nonce"].clone(), stale)
    }

    fn answer(algorithm: Algorithm, nonce: &str, nc: &str, user: &str, password: &str) -> String {
        let who = algorithm.hash(&format!("{user}:example.com:{password}"));
        let what = algorithm.hash("INVITE:sip:1@example.com");
        let response = algorithm.hash(&format!("{who}:{nonce}:{nc}:xyz:auth:{what}"));
        let name = algorithm.name();
        format!(r#"Digest username="{user}", realm="example.com", nonce="{nonce}", uri="sip:1@example.com", response="{response}", algorithm={name}, cnonce="xyz", nc={nc}, qop=auth"#)
    }

    #[test]
    fn the_example_of_the_standard_is_computed_as_there() {
        // RFC 7616 §3.9.1.
        for (algorithm, response) in [
            (Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
            (Algorithm::Sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let users = [("Mufasa".to_owned(), "Circle of Life".to_owned())].into();
            let verifier = Verifier::new(Digest { realm: "http-auth@example.org".into(), users, algorithm });
            let given = format!(r#"Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", algorithm={}, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001, cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth, response="{response}""#, algorithm.name());
            assert!(verifier.is_right("GET", &parameters(&given).unwrap()));
            // The nonce is not ours.
            assert!(matches!(verifier.check(0, HERE, "GET", Some(&given)), Verdict::Challenge { stale: true, .. }));
        }
    }

    #[test]
    fn a_right_answer_passes_once() {
        for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
            let verifier = verifier(algorithm);
            let (nonce, stale) = nonce(verifier.check(100, HERE, "INVITE", None));
            assert!(!stale);
            let given = answer(algorithm, &nonce, "00000001", "desk", "open sesame");
            assert_eq!(verifier.check(101, HERE, "INVITE", Some(&given)), passed());
            assert!(matches!(verifier.check(101, HERE, "INVITE", Some(&given)), Verdict::Challenge { stale: true, .. }));
            let next = answer(algorithm, &nonce, "00000002", "desk", "open sesame");
            assert_eq!(verifier.check(101, HERE, "INVITE", Some(&next)), passed());
        }
    }

    #[test]
    fn old_nonces_and_those_of_others_are_stale() {
        let verifier = verifier(Algorithm::Md5);
        let (nonce, _) = nonce(verifier.check(100, HERE, "INVITE", None));
        let given = answer(Algorithm::Md5, &nonce, "00000001", "desk", "open sesame");
        let elsewhere = "192.0.2.1".parse().unwrap();
        assert!(matches!(verifier.check(100, elsewhere, "INVITE", Some(&given)), Verdict::Challenge { stale: true, .. }));
        assert!(matches!(verifier.check(100 + LIFE + 1, HERE, "INVITE", Some(&given)), Verdict::Challenge { stale: true, .. }));
        assert_eq!(verifier.check(100 + LIFE, HERE, "INVITE", Some(&given)), passed());
    }

    #[test]
    fn a_wrong_word_or_name_is_not_told_apart() {
        let verifier = verifier(Algorithm::Md5);
        let (nonce, _) = nonce(verifier.check(100, HERE, "INVITE", None));
        for (user, password) in [("desk", "wrong"), ("nobody", "open sesame"), ("nobody", &verifier.nobody.clone())] {
            let given = answer(Algorithm::Md5, &nonce, "00000001", user, password);
            assert!(matches!(verifier.check(100, HERE, "INVITE", Some(&given)), Verdict::Challenge { stale: false, .. }));
        }
        // A wrong one uses nothing up, and another method is another answer.
        let given = answer(Algorithm::Md5, &nonce, "00000001", "desk", "open sesame");
        assert!(matches!(verifier.check(100, HERE, "BYE", Some(&given)), Verdict::Challenge { stale: false, .. }));
        assert_eq!(verifier.check(100, HERE, "INVITE", Some(&given)), passed());
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(value in "(Digest )?([a-z]{1,4}=\"?[^,]{0,6}\"?,?){0,5}.{0,10}") {
            let checked = verifier(Algorithm::Md5).check(0, HERE, "INVITE", Some(&value));
            prop_assert_ne!(checked, passed());
        }
    }
}
