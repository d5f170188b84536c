//! HOTP (RFC 4226) and TOTP (RFC 6238).

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};

use crate::{secret::Secret, time::Timestamp};

/// The hash of the HMAC (RFC 6238 §1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// HMAC-SHA-1: what authenticator apps support.
    Sha1,
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-512.
    Sha512,
}

/// A shared key and how codes are made from it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Otp {
    /// The key in hexadecimal; at least 14 bytes (112 bits: NIST SP 800-63B-4 §3.1.4).
    pub key: Secret,
    /// Code length, 6 to 8.
    pub digits: u8,
    /// The hash.
    pub algorithm: Algorithm,
    /// Seconds per time step; `None` for a counter.
    pub step: Option<u32>,
}

/// How many time steps before and after the present one are accepted.
const DRIFT: u64 = 1;
/// How far a token's counter may have run ahead (RFC 4226 §7.4, the look-ahead window).
const LOOK_AHEAD: u64 = 10;

/// The code for `counter` (RFC 4226 §5.3), `None` if the key is not hexadecimal.
pub fn hotp(otp: &Otp, counter: u64) -> Option<Secret> {
    let key = zeroize::Zeroizing::new(hex::decode(otp.key.expose()).ok()?);
    let message = counter.to_be_bytes();
    let truncated = match otp.algorithm {
        Algorithm::Sha1 => truncate(&mac::<Hmac<sha1::Sha1>>(&key, &message)?),
        Algorithm::Sha256 => truncate(&mac::<Hmac<sha2::Sha256>>(&key, &message)?),
        Algorithm::Sha512 => truncate(&mac::<Hmac<sha2::Sha512>>(&key, &message)?),
    }?;
    let digits = u32::from(otp.digits.clamp(6, 8));
    Some(Secret::new(format!("{:0width$}", truncated % 10u32.pow(digits), width = digits as usize)))
}

fn mac<M: Mac + KeyInit>(key: &[u8], message: &[u8]) -> Option<Vec<u8>> {
    let mut mac = <M as KeyInit>::new_from_slice(key).ok()?;
    mac.update(message);
    Some(mac.finalize().into_bytes().to_vec())
}

/// Dynamic truncation (RFC 4226 §5.3 step 2).
fn truncate(hash: &[u8]) -> Option<u32> {
    let offset = usize::from(hash.last()? & 0x0f);
    let four: [u8; 4] = hash.get(offset..offset + 4)?.try_into().ok()?;
    Some(u32::from_be_bytes(four) & 0x7fff_ffff)
}

/// The counter or time step that `presented` belongs to, if it may be accepted now and is later
/// than `last`. Every candidate is computed whether or not an earlier one matched.
pub fn matching_counter(otp: &Otp, last: Option<u64>, presented: &Secret, now: Timestamp) -> Option<u64> {
    let next = last.map_or(0, |n| n.saturating_add(1));
    let (from, to) = match otp.step {
        Some(step) => {
            let present = u64::try_from(now.unix()).ok()? / u64::from(step.max(1));
            (present.saturating_sub(DRIFT), present.saturating_add(DRIFT))
        }
        None => (next, next.saturating_add(LOOK_AHEAD)),
    };
    let mut found = None;
    for counter in from..=to {
        let matches = hotp(otp, counter)?.ct_eq(presented);
        if matches && counter >= next && found.is_none() {
            found = Some(counter);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn otp(key: &[u8], digits: u8, algorithm: Algorithm, step: Option<u32>) -> Otp {
        Otp { key: Secret::new(hex::encode(key)), digits, algorithm, step }
    }

    /// RFC 4226 appendix D.
    #[test]
    fn rfc4226_vectors() {
        let token = otp(b"12345678901234567890", 6, Algorithm::Sha1, None);
        let expect = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"];
        for (counter, code) in (0..).zip(expect) {
            assert_eq!(hotp(&token, counter).unwrap().expose(), code);
            let last = u64::checked_sub(counter, 1);
            assert_eq!(matching_counter(&token, last, &code.into(), Timestamp(0)), Some(counter));
            assert_eq!(matching_counter(&token, Some(counter), &code.into(), Timestamp(0)), None, "never twice");
        }
    }

    /// RFC 6238 appendix B, with its erratum 2866: keys of 20, 32 and 64 bytes.
    #[test]
    fn rfc6238_vectors() {
        let table = [
            (59, "94287082", "46119246", "90693936"),
            (1_111_111_109, "07081804", "68084774", "25091201"),
            (1_111_111_111, "14050471", "67062674", "99943326"),
            (1_234_567_890, "89005924", "91819424", "93441116"),
            (2_000_000_000, "69279037", "90698825", "38618901"),
            (20_000_000_000_i64, "65353130", "77737706", "47863826"),
        ];
        let key: Vec<u8> = b"1234567890".iter().copied().cycle().take(64).collect();
        for (t, sha1, sha256, sha512) in table {
            for (algorithm, len, code) in [(Algorithm::Sha1, 20, sha1), (Algorithm::Sha256, 32, sha256), (Algorithm::Sha512, 64, sha512)] {
                let app = otp(&key[..len], 8, algorithm, Some(30));
                let step = u64::try_from(t).unwrap() / 30;
                assert_eq!(matching_counter(&app, None, &code.into(), Timestamp(t * 1000)), Some(step));
            }
        }
    }

    #[test]
    fn one_step_of_drift_and_not_two() {
        let app = otp(b"12345678901234567890", 6, Algorithm::Sha1, Some(30));
        let code = hotp(&app, 100).unwrap();
        for (step, expect) in [(98, None), (99, Some(100)), (100, Some(100)), (101, Some(100)), (102, None)] {
            assert_eq!(matching_counter(&app, None, &code, Timestamp(step * 30_000)), expect, "{step}");
        }
        assert_eq!(matching_counter(&app, None, &"".into(), Timestamp(0)), None);
    }
}
