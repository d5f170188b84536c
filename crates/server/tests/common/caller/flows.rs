//! What both kinds of flows do.

use super::{Heard, Then};

/// The languages and texts in SSML as we write it.
pub fn spoken(ssml: &str, base: &str) -> Vec<(String, String)> {
    let body = ssml.strip_prefix("<speak>").unwrap().strip_suffix("</speak>").unwrap();
    let mut out = Vec::new();
    let mut rest = body;
    let plain = |text: &str| {
        assert!(!text.contains('<'), "{text}");
        crate::common::pages::unescape(text.trim())
    };
    while let Some((before, tail)) = rest.split_once("<lang xml:lang=\"") {
        let (lang, tail) = tail.split_once("\">").unwrap();
        let (inner, tail) = tail.split_once("</lang>").unwrap();
        out.push((base.to_owned(), plain(before)));
        out.push((lang[..2].to_owned(), plain(inner)));
        rest = tail;
    }
    out.push((base.to_owned(), plain(rest)));
    out.retain(|(_, text)| !text.is_empty());
    out
}

/// Words that came alone are heard before what follows.
pub fn before(said: Vec<(String, String)>, then: Then) -> Heard { Heard { said, then } }
