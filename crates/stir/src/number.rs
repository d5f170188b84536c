//! Telephone numbers as PASSporTs write them (RFC 8224 §8.3).

use std::fmt;

/// The longest number that is looked at, in characters.
const LONGEST: usize = 32;

/// A telephone number in canonical form: digits, `#` and `*`, nothing else (RFC 8224 §8.3).
///
/// It is personal: [`fmt::Debug`] hides it and there is no `Display`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(String);

/// The text is no telephone number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a telephone number: digits, # and * are wanted")]
pub struct NotANumber;

impl Number {
    /// From a text that is canonical already, as in a claim.
    ///
    /// # Errors
    /// [`NotANumber`]: empty, too long, without a digit, or with anything but digits, `#` and `*`.
    pub fn canonical(text: &str) -> Result<Self, NotANumber> {
        let fits = text.len() <= LONGEST && text.bytes().any(|byte| byte.is_ascii_digit());
        let plain = text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'#' | b'*'));
        if fits && plain {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotANumber)
        }
    }

    /// From a text as a SIP message gives it: a number, or a `tel`, `sip` or `sips` address whose user
    /// is one. A leading `+` and visual separators are dropped (RFC 3966 §3, RFC 8224 §8.3). A country
    /// code is never added.
    ///
    /// # Errors
    /// [`NotANumber`]: what is left is not canonical.
    pub fn read(text: &str) -> Result<Self, NotANumber> {
        let text = text.trim();
        let user = match text.split_once(':') {
            Some((scheme, rest)) => {
                let known = ["tel", "sip", "sips"]
                    .iter()
                    .any(|one| scheme.eq_ignore_ascii_case(one));
                if !known {
                    return Err(NotANumber);
                }
                rest.split('@').next().unwrap_or_default()
            }
            None => text,
        };
        let user = user.split(';').next().unwrap_or_default();
        let user = user.strip_prefix('+').unwrap_or(user);
        let separator = |c: char| matches!(c, ' ' | '-' | '.' | '(' | ')');
        let bare: String = user.chars().filter(|c| !separator(*c)).collect();
        Self::canonical(&bare)
    }

    /// The digits, for comparing and for signing: not for logs.
    #[must_use]
    pub fn digits(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Number(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_sip_messages_become_canonical() {
        for text in [
            "12025550100",
            "+12025550100",
            "+1 (202) 555-0100",
            " 1.202.555.0100 ",
            "tel:+1-202-555-0100;phone-context=+1",
            "sip:+12025550100@example.com;user=phone",
            "SIPS:+12025550100;cpc=ordinary@example.com",
        ] {
            assert_eq!(
                Number::read(text).unwrap().digits(),
                "12025550100",
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let long = "1".repeat(33);
        for text in [
            "",
            "+",
            "anonymous",
            "sip:alice@example.com",
            "1+2",
            "##",
            "mailto:1",
            "１２",
            "1%32",
            "1\n2",
            long.as_str(),
        ] {
            assert!(Number::read(text).is_err(), "{text}");
        }
        assert!(Number::canonical("+12025550100").is_err());
        assert!(Number::canonical("1202555 0100").is_err());
        assert_eq!(Number::canonical("*67#").unwrap().digits(), "*67#");
    }

    #[test]
    fn a_number_is_not_shown() {
        let shown = format!("{:?}", Number::read("+12025550100").unwrap());
        assert!(!shown.chars().any(|c| c.is_ascii_digit()), "{shown}");
    }
}
