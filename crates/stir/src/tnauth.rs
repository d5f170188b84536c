//! TNAuthList, the extension that says for which numbers a certificate may sign (RFC 8226 §9):
//! 1.3.6.1.5.5.7.1.26.

use crate::Number;
use crate::der::{IA5_STRING, INTEGER, Reader, SEQUENCE, context, only, unsigned};

/// The extension's object identifier.
pub(crate) const OID: &str = "1.3.6.1.5.5.7.1.26";
/// The most entries that are looked at.
const MOST: usize = 2000;

/// For whom or what a certificate speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TnEntry {
    /// A service provider, by its code: all numbers that provider may sign for.
    Provider(String),
    /// So many numbers from this one on; all have as many digits as it.
    Range {
        /// The first.
        start: Number,
        /// How many there are, the first included: 2 or more.
        count: u64,
    },
    /// One number.
    One(Number),
}

/// The entries of a certificate: one or more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TnAuthList(Vec<TnEntry>);

impl TnAuthList {
    /// From the DER of the extension's value. `None`: it is not one, is empty, or has more than 2000
    /// entries.
    #[must_use]
    pub fn read(der: &[u8]) -> Option<Self> {
        let mut entries = Vec::new();
        let mut reader = Reader::new(only(der, SEQUENCE)?);
        while !reader.is_empty() && entries.len() < MOST {
            entries.push(entry(reader.next()?)?);
        }
        (reader.is_empty() && !entries.is_empty()).then_some(Self(entries))
    }

    /// The entries.
    #[must_use]
    pub fn entries(&self) -> &[TnEntry] {
        &self.0
    }

    /// Whether the certificate may sign for this number. As soon as numbers are listed, it has to be
    /// one of them (RFC 9060 §4), also beside a provider's code: the narrower reading. With codes alone
    /// every number is within it, since whose a number is stands in no certificate.
    #[must_use]
    pub fn covers(&self, number: &Number) -> bool {
        let mut listed = false;
        for entry in &self.0 {
            let found = match entry {
                TnEntry::Provider(_) => continue,
                TnEntry::One(one) => one == number,
                TnEntry::Range { start, count } => in_range(number, start, *count),
            };
            if found {
                return true;
            }
            listed = true;
        }
        !listed
    }
}

fn entry((tag, content): (u8, &[u8])) -> Option<TnEntry> {
    if tag == context(0) {
        let code = std::str::from_utf8(only(content, IA5_STRING)?).ok()?;
        let plain = !code.is_empty()
            && code.len() <= 32
            && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
        plain.then(|| TnEntry::Provider(code.to_owned()))
    } else if tag == context(1) {
        let mut range = Reader::new(only(content, SEQUENCE)?);
        let start = number(range.expect(IA5_STRING)?)?;
        let count = unsigned(range.expect(INTEGER)?)?;
        let fits = count >= 2
            && range.is_empty()
            && start.digits().bytes().all(|byte| byte.is_ascii_digit());
        fits.then_some(TnEntry::Range { start, count })
    } else if tag == context(2) {
        number(only(content, IA5_STRING)?).map(TnEntry::One)
    } else {
        None
    }
}

/// TelephoneNumber of RFC 8226: 1 to 15 of digits, `#` and `*`.
fn number(bytes: &[u8]) -> Option<Number> {
    let text = std::str::from_utf8(bytes).ok()?;
    (text.len() <= 15)
        .then(|| Number::canonical(text).ok())
        .flatten()
}

fn in_range(number: &Number, start: &Number, count: u64) -> bool {
    let (number, start) = (number.digits(), start.digits());
    // Fifteen digits fit; a `#` or `*` does not parse and is in no range.
    match (number.parse::<u64>(), start.parse::<u64>()) {
        (Ok(n), Ok(s)) if number.len() == start.len() => {
            n.checked_sub(s).is_some_and(|distance| distance < count)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n(text: &str) -> Number {
        Number::canonical(text).unwrap()
    }

    #[test]
    fn the_code_of_a_provider_is_read() {
        // From the field: SPC "1".
        let list = TnAuthList::read(&[0x30, 0x05, 0xa0, 0x03, 0x16, 0x01, 0x31]).unwrap();
        assert_eq!(list.entries(), [TnEntry::Provider("1".into())]);
        assert!(list.covers(&n("12025550100")));
    }

    #[test]
    fn a_range_covers_what_lies_in_it() {
        let der = [
            b"\x30\x14\xa1\x12\x30\x10\x16\x0b",
            &b"12025550100"[..],
            b"\x02\x01\x0a",
        ]
        .concat();
        let list = TnAuthList::read(&der).unwrap();
        for (number, inside) in [
            ("12025550100", true),
            ("12025550109", true),
            ("12025550110", false),
            ("12025550099", false),
            ("2025550100", false),
            ("012025550100", false),
            ("1202555010*", false),
        ] {
            assert_eq!(list.covers(&n(number)), inside, "{number}");
        }
    }

    #[test]
    fn numbers_beside_a_code_narrow_it() {
        let der = [
            b"\x30\x14\xa0\x03\x16\x011\xa2\x0d\x16\x0b",
            &b"12025550100"[..],
        ]
        .concat();
        let list = TnAuthList::read(&der).unwrap();
        assert!(list.covers(&n("12025550100")));
        assert!(!list.covers(&n("12025550101")));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for der in [
            &b""[..],
            b"\x30\x00",
            b"\x30\x02\xa0\x00",
            b"\x30\x05\xa3\x03\x16\x011",
            b"\x30\x05\xa0\x03\x0c\x011",
            b"\x30\x05\xa2\x03\x16\x01x",
            // A range of one, a range that starts with a star, and one with something behind it.
            b"\x30\x0a\xa1\x08\x30\x06\x16\x011\x02\x01\x01",
            b"\x30\x0a\xa1\x08\x30\x06\x16\x01*\x02\x01\x05",
            b"\x30\x0d\xa1\x0b\x30\x09\x16\x011\x02\x01\x05\x02\x01\x05",
            b"\x30\x05\xa0\x03\x16\x011\x00",
        ] {
            assert_eq!(TnAuthList::read(der), None, "{der:02x?}");
        }
    }
}
