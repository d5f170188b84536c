//! As much DER as extensions need (X.690 §8, §10): tag, length, content, nothing indefinite, no length
//! written longer than it must be.

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OID: u8 = 0x06;
pub(crate) const IA5_STRING: u8 = 0x16;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// A constructed tag of the context.
pub(crate) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// What is left to read.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The next element: its tag and its content.
    pub(crate) fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        // Tags above 30 take more bytes; none is used here.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = bytes
                    .iter()
                    .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
                let shortest = length >= 0x80 && bytes.first() != Some(&0);
                shortest.then_some((length, rest))?
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The content of the next element, which has this tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        match self.next()? {
            (found, content) if found == tag => Some(content),
            _ => None,
        }
    }
}

/// The content of the one element that the bytes are.
pub(crate) fn only(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let mut reader = Reader::new(bytes);
    let content = reader.expect(tag)?;
    reader.is_empty().then_some(content)
}

/// A positive integer in the fewest bytes.
pub(crate) fn unsigned(content: &[u8]) -> Option<u64> {
    let plain = match content {
        [] => false,
        [first] => *first < 0x80,
        [0, second, ..] => *second >= 0x80,
        [first, ..] => *first < 0x80,
    };
    if !plain || content.len() > 9 {
        return None;
    }
    content.iter().try_fold(0u64, |sum, byte| {
        sum.checked_mul(256)?.checked_add(u64::from(*byte))
    })
}

/// A distinguished name (RFC 5280 §4.1.2.4) as a text by which two can be compared: case and runs of
/// spaces make no difference, nor does the kind of string (RFC 5280 §7.1, in short).
pub(crate) fn name(bytes: &[u8]) -> Option<String> {
    use std::fmt::Write as _;
    let mut text = String::new();
    let mut sets = Reader::new(only(bytes, SEQUENCE)?);
    while !sets.is_empty() {
        let mut parts = Vec::new();
        let mut set = Reader::new(sets.expect(SET)?);
        while !set.is_empty() {
            let mut part = Reader::new(set.expect(SEQUENCE)?);
            let kind = part.expect(OID)?;
            let (_, value) = part.next()?;
            let words = String::from_utf8_lossy(value).to_lowercase();
            let words: Vec<&str> = words.split_whitespace().collect();
            parts.push(format!("{kind:02x?}={}", words.join(" ")));
        }
        parts.sort();
        let _ = write!(text, "/{}", parts.join("+"));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_one_form() {
        assert_eq!(only(&[4, 1, 7], 4), Some(&[7][..]));
        let long = [&[4, 0x81, 0x80][..], &[0; 128]].concat();
        assert_eq!(only(&long, 4).map(<[u8]>::len), Some(128));
        for wrong in [
            &[][..],
            &[4],
            &[4, 1],
            &[4, 0x80, 0, 0],
            &[4, 0x81, 1, 7],
            &[4, 0x82, 0, 0x80],
            &[4, 0x84, 0, 0, 0, 1, 7],
            &[0x1f, 1, 7],
            &[4, 1, 7, 7],
            &[5, 1, 7],
        ] {
            assert_eq!(only(wrong, 4), None, "{wrong:?}");
        }
    }

    #[test]
    fn integers_are_positive_and_short() {
        assert_eq!(unsigned(&[0]), Some(0));
        assert_eq!(unsigned(&[0, 0x80]), Some(128));
        assert_eq!(
            unsigned(&[0, 255, 255, 255, 255, 255, 255, 255, 255]),
            Some(u64::MAX)
        );
        for wrong in [
            &[][..],
            &[0x80],
            &[0, 1],
            &[1, 0, 0, 0, 0, 0, 0, 0, 0],
            &[255, 1],
        ] {
            assert_eq!(unsigned(wrong), None, "{wrong:?}");
        }
    }
}
