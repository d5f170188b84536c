//! Rich call data (RFC 9795): what a caller wants the called party to see.

use std::fmt;

use serde_json::{Map, Value};

/// The most characters of a text that are kept.
const MOST: usize = 128;

/// A text that a stranger wrote. It is for showing with a warning, escaped as whatever shows it wants:
/// never for deciding, never as markup. Control characters and those that turn the direction of
/// writing are gone, and what is longer than 128 characters is cut.
#[derive(Clone, PartialEq, Eq)]
pub struct Untrusted(String);

impl Untrusted {
    fn new(text: &str) -> Self {
        Self(text.chars().filter(|c| !is_hidden(*c)).take(MOST).collect())
    }

    /// The text. The name is a reminder.
    #[must_use]
    pub fn untrusted(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Untrusted(hidden)")
    }
}

/// Controls, marks and overrides of direction, zero-width characters, tags, and what separates lines.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// What a caller wants displayed. Signed, so nobody changed it on the way, and no more than that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Display {
    /// The name: `nam` (RFC 9795 §5.1.1).
    pub name: Untrusted,
    /// Why the call is made: `crn` (RFC 9795).
    pub reason: Option<Untrusted>,
}

/// From the claims of a token. Pictures and cards (`icn`, `jcd`, `jcl`) are left out: showing them
/// means fetching what a stranger names.
///
/// `Err`: the claim `rcd` is there and is not what it should be.
pub(crate) fn read(claims: &Map<String, Value>) -> Result<Option<Display>, &'static str> {
    let Some(rcd) = claims.get("rcd") else {
        return Ok(None);
    };
    let name = rcd
        .get("nam")
        .and_then(Value::as_str)
        .ok_or("the claim rcd has no name")?;
    let reason = match claims.get("crn") {
        None => None,
        Some(Value::String(text)) => Some(Untrusted::new(text)),
        Some(_) => return Err("the claim crn is no text"),
    };
    Ok(Some(Display {
        name: Untrusted::new(name),
        reason,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(text: &str) -> Map<String, Value> {
        crate::json::object(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_name_and_a_reason_are_read_without_what_cannot_be_seen() {
        let display = read(&claims(r#"{"rcd":{"nam":"Example\u202e Bank\n\u200b","icn":"https://x/y.png"},"crn":"Card\u0000 renewal"}"#)).unwrap().unwrap();
        assert_eq!(display.name.untrusted(), "Example Bank");
        assert_eq!(display.reason.unwrap().untrusted(), "Card renewal");
    }

    #[test]
    fn a_long_name_is_cut_and_none_is_shown_in_logs() {
        let display = read(&claims(&format!(
            r#"{{"rcd":{{"nam":"{}"}}}}"#,
            "é".repeat(500)
        )))
        .unwrap()
        .unwrap();
        assert_eq!(display.name.untrusted().chars().count(), MOST);
        assert!(!format!("{display:?}").contains('é'));
    }

    #[test]
    fn claims_of_the_wrong_type_are_refused() {
        for text in [
            r#"{"rcd":{}}"#,
            r#"{"rcd":"x"}"#,
            r#"{"rcd":{"nam":1}}"#,
            r#"{"rcd":{"nam":"x"},"crn":[]}"#,
        ] {
            assert!(read(&claims(text)).is_err(), "{text}");
        }
        assert!(read(&claims(r#"{"crn":"x"}"#)).unwrap().is_none());
    }
}
