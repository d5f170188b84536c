//! Randomness as data: a step gets 32 fresh bytes from the shell and derives whatever it needs,
//! so that the same input with the same bytes gives the same step, on tape and in tests.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// A deterministic generator: HMAC-SHA-256 in counter mode over a seed from the operating system.
#[derive(Debug, Clone)]
pub struct Random {
    seed: Zeroizing<[u8; 32]>,
    counter: u64,
}

impl Random {
    /// Takes 32 bytes that nobody else has seen.
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed: Zeroizing::new(seed), counter: 0 }
    }

    /// The next 32 bytes.
    pub fn block(&mut self) -> [u8; 32] {
        let mut mac = hmac_sha256(self.seed.as_ref());
        mac.update(&self.counter.to_be_bytes());
        self.counter += 1;
        mac.finalize().into_bytes().into()
    }

    /// 128 bits for an identifier.
    pub fn id(&mut self) -> [u8; 16] {
        let block = self.block();
        let mut id = [0; 16];
        id.iter_mut().zip(block).for_each(|(to, from)| *to = from);
        id
    }

    /// A code of `len` decimal digits, every value equally likely (leading zeros included).
    pub fn digits(&mut self, len: usize) -> Secret {
        let mut out = String::with_capacity(len);
        while out.len() < len {
            for byte in self.block() {
                // 250 is the largest multiple of ten in a byte: rejecting the rest removes the bias.
                if byte < 250 && out.len() < len {
                    out.push(char::from(b'0' + byte % 10));
                }
            }
        }
        Secret::new(out)
    }

    /// The ten digits in an order, each of the orders equally likely (Fisher and Yates).
    pub fn order(&mut self) -> [u8; 10] {
        let mut order: [u8; 10] = std::array::from_fn(|n| u8::try_from(n).unwrap_or_default());
        let mut bytes = Vec::new();
        for last in (1..order.len()).rev() {
            let among = u8::try_from(last + 1).unwrap_or(1);
            // The largest multiple in a byte: rejecting the rest removes the bias.
            let most = u8::MAX - u8::MAX % among;
            let byte = loop {
                match bytes.pop() {
                    Some(byte) if byte < most => break byte,
                    Some(_) => {}
                    None => bytes.extend(self.block()),
                }
            };
            order.swap(last, usize::from(byte % among));
        }
        order
    }
}

/// HMAC-SHA-256 under `key`. HMAC accepts keys of every length (RFC 2104), so this cannot fail.
pub(crate) fn hmac_sha256(key: &[u8]) -> Hmac<Sha256> {
    // A key longer than the block is hashed by HMAC itself; the error type exists for other MACs.
    Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| Hmac::<Sha256>::new(&Default::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_evenly_spread_and_reproducible() {
        let mut counts = [0u32; 10];
        let mut random = Random::new([3; 32]);
        for _ in 0..2_000 {
            for d in random.digits(8).expose().bytes() {
                counts[usize::from(d - b'0')] += 1;
            }
        }
        // 16,000 draws: each digit 1,600 ± 5 standard deviations (38 each).
        assert!(counts.iter().all(|&n| (1_410..=1_790).contains(&n)), "{counts:?}");
        let one = Random::new([9; 32]).digits(6);
        assert_eq!(one.expose(), Random::new([9; 32]).digits(6).expose());
    }

    #[test]
    fn orders_are_evenly_spread() {
        let (mut random, mut at) = (Random::new([5; 32]), [[0u32; 10]; 10]);
        for _ in 0..16_000 {
            let order = random.order();
            let mut sorted = order;
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
            order.iter().zip(&mut at).for_each(|(digit, place)| place[usize::from(*digit)] += 1);
        }
        // Each digit at each place 1,600 times, ± 5 standard deviations.
        assert!(at.iter().flatten().all(|n| (1_410..=1_790).contains(n)), "{at:?}");
    }
}
