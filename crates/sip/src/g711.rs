//! The two laws of telephone audio (ITU-T G.711), by tables.
//!
//! Eight bits a sample, 8,000 samples a second. Between the laws a byte is looked up; a sample is
//! computed only when tables are made and when a prompt is taken in.

use std::sync::LazyLock;

/// Which law: payload types 0 and 8 of RFC 3551 §6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Law {
    /// µ-law, `PCMU`: North America and Japan.
    Mu,
    /// A-law, `PCMA`: everywhere else.
    A,
}

impl Law {
    /// Both, in the order in which we offer them.
    pub const ALL: [Self; 2] = [Self::Mu, Self::A];

    /// The static payload type (RFC 3551 §6, table 4).
    #[must_use]
    pub fn payload_type(self) -> u8 {
        match self {
            Self::Mu => 0,
            Self::A => 8,
        }
    }

    /// The name in `a=rtpmap` (RFC 3551 §4.5.14).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mu => "PCMU",
            Self::A => "PCMA",
        }
    }

    /// The byte that is nothing to hear.
    #[must_use]
    pub fn silence(self) -> u8 {
        match self {
            Self::Mu => 0xff,
            Self::A => 0xd5,
        }
    }

    /// One sample, 16 bits linear, as a byte of this law.
    #[must_use]
    pub fn encode(self, sample: i16) -> u8 {
        match self {
            Self::Mu => encode_mu(sample),
            Self::A => encode_a(sample),
        }
    }

    /// A byte of this law as a sample, 16 bits linear.
    #[must_use]
    pub fn decode(self, byte: u8) -> i16 {
        match self {
            Self::Mu => decode_mu(byte),
            Self::A => decode_a(byte),
        }
    }

    /// Bytes of this law become bytes of the other, in place.
    pub fn transcode(self, to: Self, bytes: &mut [u8]) {
        let table: &[u8; 256] = match (self, to) {
            (Self::Mu, Self::A) => &MU_TO_A,
            (Self::A, Self::Mu) => &A_TO_MU,
            (Self::Mu, Self::Mu) | (Self::A, Self::A) => return,
        };
        for byte in bytes {
            *byte = table.get(usize::from(*byte)).copied().unwrap_or(to.silence());
        }
    }
}

static MU_TO_A: LazyLock<[u8; 256]> = LazyLock::new(|| table(Law::Mu, Law::A));
static A_TO_MU: LazyLock<[u8; 256]> = LazyLock::new(|| table(Law::A, Law::Mu));

fn table(from: Law, to: Law) -> [u8; 256] {
    let mut byte = 0u8;
    std::array::from_fn(|_| {
        let there = to.encode(from.decode(byte));
        byte = byte.wrapping_add(1);
        there
    })
}

/// What µ-law adds before it takes the logarithm, and where it clips.
const BIAS: u16 = 132;
const CLIP: u16 = 32_635;

/// The chord of a magnitude: how far its highest bit stands above the eighth.
fn chord(magnitude: u16) -> u8 {
    u8::try_from(magnitude.checked_ilog2().unwrap_or(0).saturating_sub(7)).unwrap_or(0).min(7)
}

fn encode_mu(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = sample.unsigned_abs().min(CLIP) + BIAS;
    let chord = chord(magnitude);
    let step = ((magnitude >> (chord + 3)) & 0x0f) as u8;
    !(sign | (chord << 4) | step)
}

fn decode_mu(byte: u8) -> i16 {
    let byte = !byte;
    let (chord, step) = ((byte >> 4) & 7, i16::from(byte & 0x0f));
    let magnitude = (((step << 3) + 132) << chord) - 132;
    if byte & 0x80 == 0 { magnitude } else { -magnitude }
}

fn encode_a(sample: i16) -> u8 {
    // The standard counts negative values from minus one on, so that zero has one code.
    let (sign, magnitude) = if sample < 0 { (0, !sample) } else { (0x80, sample) };
    let magnitude = magnitude.unsigned_abs();
    let chord = chord(magnitude);
    let step = (magnitude >> if chord == 0 { 4 } else { chord + 3 }) & 0x0f;
    (sign | (chord << 4) | step as u8) ^ 0x55
}

fn decode_a(byte: u8) -> i16 {
    let byte = byte ^ 0x55;
    let (chord, step) = ((byte >> 4) & 7, i16::from(byte & 0x0f));
    let magnitude = if chord == 0 { (step << 4) + 8 } else { ((step << 4) + 0x108) << (chord - 1) };
    if byte & 0x80 == 0 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_and_the_middle_are_those_of_the_standard() {
        // ITU-T G.711 tables 1a to 2b, decoder outputs, at 16 bits.
        for (byte, sample) in [(0x00, -32_124), (0x80, 32_124), (0xff, 0), (0x7f, 0), (0xfe, 8), (0xf0, 120)] {
            assert_eq!(Law::Mu.decode(byte), sample, "µ {byte:#x}");
        }
        for (byte, sample) in [(0x2a, -32_256), (0xaa, 32_256), (0xd5, 8), (0x55, -8), (0xd4, 24)] {
            assert_eq!(Law::A.decode(byte), sample, "A {byte:#x}");
        }
    }

    #[test]
    fn a_byte_decoded_and_encoded_is_the_same_byte() {
        for law in Law::ALL {
            for byte in 0..=255u8 {
                // µ-law has two zeros; the positive one is written.
                let wanted = if law == Law::Mu && byte == 0x7f { 0xff } else { byte };
                assert_eq!(law.encode(law.decode(byte)), wanted, "{law:?} {byte:#x}");
            }
        }
    }

    #[test]
    fn the_other_law_is_never_far_off() {
        for byte in 0..=255u8 {
            for (from, to) in [(Law::Mu, Law::A), (Law::A, Law::Mu)] {
                let mut there = [byte];
                from.transcode(to, &mut there);
                let (was, is) = (i32::from(from.decode(byte)), i32::from(to.decode(there[0])));
                assert!((was - is).abs() <= 16 + was.abs() / 16, "{from:?} {byte:#x}: {was} {is}");
            }
        }
    }

    #[test]
    fn louder_is_never_coded_as_softer() {
        for law in Law::ALL {
            let decoded: Vec<i16> = (i16::MIN..=i16::MAX).map(|s| law.decode(law.encode(s))).collect();
            assert!(decoded.windows(2).all(|pair| pair[0] <= pair[1]), "{law:?}");
        }
    }

    #[test]
    fn silence_is_silent() {
        for law in Law::ALL {
            assert!(law.decode(law.silence()).abs() <= 8);
        }
    }
}
