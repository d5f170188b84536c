//! One-time codes, written here once more: a generator that shared code with the server would share its mistakes.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// HMAC-SHA-1. A key may have any length.
pub fn hmac_sha1(key: &[u8], parts: &[&[u8]]) -> [u8; 20] {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).unwrap_or_else(|_| Hmac::<Sha1>::new(&Default::default()));
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// The six digits for `counter` (RFC 4226 §5.3).
pub fn code(key: &[u8], counter: u64) -> String {
    let hash = hmac_sha1(key, &[&counter.to_be_bytes()]);
    let offset = usize::from(hash.last().map_or(0, |b| b & 0x0f));
    let four = hash.iter().skip(offset).take(4).fold(0u32, |sum, b| sum << 8 | u32::from(*b));
    format!("{:06}", (four & 0x7fff_ffff) % 1_000_000)
}

/// The present time step of 30 seconds.
pub fn step() -> u64 { std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs() / 30) }

/// RFC 4648 base 32, as `countersign agent add` prints a key.
pub fn from_base32(text: &str) -> Vec<u8> {
    let (mut out, mut bits, mut held) = (Vec::new(), 0u32, 0u32);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'2'..=b'7' => byte - b'2' + 26,
            _ => continue,
        };
        held = held << 5 | u32::from(value);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            out.extend(u8::try_from(held >> bits & 0xff));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4226 appendix D.
    #[test]
    fn codes_are_those_of_the_standard() {
        for (counter, expect) in (0..).zip(["755224", "287082", "359152", "969429", "338314"]) {
            assert_eq!(code(b"12345678901234567890", counter), expect);
        }
    }

    /// RFC 4648 §10.
    #[test]
    fn base32_is_read_back() {
        assert_eq!(from_base32("MZXW6YTBOI"), b"foobar");
    }
}
