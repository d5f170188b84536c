//! Values that must not leak: they have a masked `Debug`, no `Display`, and are wiped on drop.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A code, PIN, password or anything a caller typed: readable only through [`Secret::expose`].
#[derive(Clone, Default)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self { Self(Zeroizing::new(text.into())) }
    /// The clear text. Every caller of this is a place to review.
    pub fn expose(&self) -> &str { &self.0 }
    /// Whether nothing was given.
    pub fn is_empty(&self) -> bool { self.0.is_empty() }
    /// Equality without a timing difference among texts of one length.
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str("Secret(…)") }
}
impl From<&str> for Secret {
    fn from(text: &str) -> Self { Self::new(text) }
}
/// Secrets are serialised only into sealed records; nothing that reaches a screen or an event holds one.
impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.serialize_str(self.expose()) }
}
impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d).map(Self::new)
    }
}

/// A keyed hash of a personal value (HMAC-SHA-256 under the index key, truncated to 128 bits):
/// equal values are found, but the value cannot be recovered or guessed without the key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Blind(pub [u8; 16]);

impl fmt::Debug for Blind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "Blind({})", hex::encode(self.0)) }
}
impl Serialize for Blind {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.serialize_str(&hex::encode(self.0)) }
}
impl<'de> Deserialize<'de> for Blind {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        let mut bytes = [0; 16];
        hex::decode_to_slice(text.as_bytes(), &mut bytes).map_err(serde::de::Error::custom)?;
        Ok(Self(bytes))
    }
}

/// A telephone number in E.164 form: `+`, then 7 to 15 digits, the first not zero.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct E164(String);

/// Why a text is not an E.164 number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a telephone number in E.164 form: write + and the country code, then the number, digits only (+12025550123)")]
pub struct BadNumber;

impl E164 {
    /// Parses strictly; human spellings (spaces, brackets, trunk zeros) are refused, never guessed.
    pub fn parse(text: &str) -> Result<Self, BadNumber> {
        let digits = text.strip_prefix('+').ok_or(BadNumber)?;
        let shape = (7..=15).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && !digits.starts_with('0');
        if shape { Ok(Self(text.to_owned())) } else { Err(BadNumber) }
    }
    /// The number as it goes on the wire.
    pub fn expose(&self) -> &str { &self.0 }
    /// The last two digits: enough for its owner to recognise, useless to anybody else.
    pub fn tail(&self) -> &str { self.0.get(self.0.len().saturating_sub(2)..).unwrap_or("") }
}
impl fmt::Debug for E164 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "E164(…{})", self.tail()) }
}
impl Serialize for E164 {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.serialize_str(&self.0) }
}
impl<'de> Deserialize<'de> for E164 {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_the_value() {
        let shown = format!("{:?} {:?}", Secret::new("4071"), E164::parse("+12025550142").unwrap());
        assert_eq!(shown, "Secret(…) E164(…42)");
    }

    #[test]
    fn numbers_are_strict() {
        for bad in ["12025550142", "+0123456789", "+1 202 555 0142", "+1202555014212345", "+", "+1202555o142", "+１２０２５５５０１４２"] {
            assert_eq!(E164::parse(bad), Err(BadNumber), "{bad}");
        }
    }
}
