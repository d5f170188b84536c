//! Changes valid samples, by chance that follows from a seed.

/// SplitMix64: small, and good enough to choose places.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The same seed draws the same.
    #[must_use]
    pub fn new(seed: u64) -> Self { Self(seed) }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`; 0 if that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.draw() % end).unwrap_or(0)
    }

    /// One of these.
    pub fn of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> { all.get(self.below(all.len())) }
}

/// Numbers on edges, as text.
const EDGES: &[&str] = &["0", "-1", "1", "127", "128", "255", "256", "65535", "65536", "2147483647", "2147483648", "4294967296", "18446744073709551615", "18446744073709551616", "99999999999999999999999", "1e999", "NaN"];
/// Bytes that many grammars treat in their own way.
const ODD: &[&[u8]] = &[b"\0", b"\r\n", b"\n", b"\r", b"\"", b"'", b"\\", b"%", b"%00", b"%zz", b"<", b">", b"&", b"=", b";", b",", b":", b"/", b"@", b"..", b"{", b"}", b"[", b"]", b"(", b"\t", b" ", b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xe2\x80\xae", b"\xf0\x9f\x93\x9e", b"\xef\xbb\xbf", b"\xcc\x81"];
/// No input grows beyond this, in bytes.
const LONGEST: usize = 64 * 1024;

/// One of the samples, changed in one to six places. Now and then it is left whole, so that properties
/// of valid input are tried as well.
#[must_use]
pub fn changed(chance: &mut Chance, seeds: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
    let mut bytes = chance.of(seeds).cloned().unwrap_or_default();
    if chance.below(64) == 0 {
        return bytes;
    }
    for _ in 0..=chance.below(6) {
        change(chance, &mut bytes, seeds, words);
    }
    bytes.truncate(LONGEST);
    bytes
}

fn change(chance: &mut Chance, bytes: &mut Vec<u8>, seeds: &[Vec<u8>], words: &[&str]) {
    let (from, to) = token(chance, bytes);
    match chance.below(13) {
        0 => one(chance, bytes, |byte, drawn| byte ^ (1 << (drawn % 8))),
        1 => one(chance, bytes, |_, drawn| drawn),
        2 => {
            let at = chance.below(bytes.len() + 1);
            let drawn = chance.draw().to_le_bytes();
            bytes.splice(at..at, drawn.into_iter().take(1 + at % 3));
        }
        3 => {
            let (from, to) = range(chance, bytes.len());
            bytes.drain(from..to);
        }
        4 => {
            let (from, to) = range(chance, bytes.len());
            let again = bytes.get(from..to).unwrap_or_default().to_vec();
            bytes.splice(to..to, again);
        }
        5 => {
            let (odd, at) = (chance.of(ODD).copied().unwrap_or_default(), chance.below(bytes.len() + 1));
            bytes.splice(at..at, odd.iter().copied());
        }
        6 => {
            let word = chance.of(words).copied().unwrap_or_default();
            let at = chance.below(bytes.len() + 1);
            bytes.splice(at..at, word.bytes());
        }
        7 => {
            let word = chance.of(words).copied().unwrap_or_default();
            bytes.splice(from..to, word.bytes());
        }
        8 => {
            let edge = chance.of(EDGES).copied().unwrap_or_default();
            bytes.splice(from..to, edge.bytes());
        }
        9 => {
            // The end of another sample behind the beginning of this one.
            let other = chance.of(seeds).cloned().unwrap_or_default();
            let at = chance.below(bytes.len() + 1);
            bytes.truncate(at);
            bytes.extend(other.get(chance.below(other.len() + 1)..).unwrap_or_default());
        }
        10 => {
            // The same line or word very often.
            let again = bytes.get(from..to).unwrap_or_default().to_vec();
            let times = 1 << chance.below(10);
            let many: Vec<u8> = again.iter().copied().cycle().take(again.len().saturating_mul(times).min(LONGEST / 2)).collect();
            bytes.splice(to..to, many);
        }
        11 => drop(bytes.drain(from..to)),
        _ => bytes.truncate(chance.below(bytes.len() + 1)),
    }
}

fn one(chance: &mut Chance, bytes: &mut [u8], make: impl Fn(u8, u8) -> u8) {
    let (at, [drawn, ..]) = (chance.below(bytes.len()), chance.draw().to_le_bytes());
    if let Some(byte) = bytes.get_mut(at) {
        *byte = make(*byte, drawn);
    }
}

fn range(chance: &mut Chance, length: usize) -> (usize, usize) {
    let from = chance.below(length + 1);
    let most = (length - from).min(32);
    (from, from + chance.below(most + 1))
}

/// A word: letters and digits around a place.
fn token(chance: &mut Chance, bytes: &[u8]) -> (usize, usize) {
    let at = chance.below(bytes.len() + 1);
    let (before, after) = bytes.split_at_checked(at).unwrap_or((bytes, &[]));
    let inside = |b: &&u8| b.is_ascii_alphanumeric() || matches!(**b, b'-' | b'_' | b'.');
    (at - before.iter().rev().take_while(inside).count(), at + after.iter().take_while(inside).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_and_another_makes_others() {
        let seeds = vec![b"INVITE sip:a@example.com SIP/2.0\r\n".to_vec(), b"v=0\r\n".to_vec()];
        let made = |seed| {
            let mut chance = Chance::new(seed);
            (0..500).map(|_| changed(&mut chance, &seeds, &["word"])).collect::<Vec<_>>()
        };
        assert_eq!(made(7), made(7));
        assert_ne!(made(7), made(8));
        let different: std::collections::HashSet<_> = made(7).into_iter().collect();
        assert!(different.len() > 400, "{}", different.len());
        assert!(different.iter().all(|bytes| bytes.len() <= LONGEST));
    }

    #[test]
    fn nothing_is_changed_into_something_without_samples() {
        let mut chance = Chance::new(1);
        for _ in 0..2_000 {
            let _ = changed(&mut chance, &[], &[]);
        }
    }
}
