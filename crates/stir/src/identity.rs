//! The Identity header of a SIP message (RFC 8224 §4): a token, and what is needed to judge it.

use crate::verdict::{Reason, Refusal};

/// The longest header that is looked at, in bytes.
const LONGEST: usize = 16 * 1024;
/// The most parameters that are looked at.
const MOST_PARAMETERS: usize = 16;

/// The kinds of PASSporT that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// RFC 8588: a provider attests to the caller's number.
    Shaken,
    /// RFC 8946: a call goes elsewhere.
    Div,
    /// RFC 9795: what a caller wants displayed.
    Rcd,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Shaken => "shaken",
            Self::Div => "div",
            Self::Rcd => "rcd",
        }
    }
}

/// A header that is of a kind we read.
pub(crate) struct Identity<'a> {
    pub(crate) kind: Kind,
    /// The three parts of the token: header, payload, signature. The first two are both empty in the
    /// compact form (RFC 8225 §7).
    pub(crate) parts: [&'a str; 3],
    /// The address between the angle brackets.
    pub(crate) info: &'a str,
    /// The parameter `alg`, where there is one.
    pub(crate) alg: Option<&'a str>,
}

/// Reads a header. `None`: it is of a kind that is not ours, which is to be ignored (RFC 8224 §6.2).
pub(crate) fn read(header: &str) -> Result<Option<Identity<'_>>, Refusal> {
    if header.len() > LONGEST {
        return Err(malformed("the header is longer than 16 KiB"));
    }
    let (token, rest) = match header.find(';') {
        Some(at) => header.split_at(at),
        None => (header, ""),
    };
    let parameters =
        parameters(rest).ok_or(malformed("the parameters of the header cannot be read"))?;
    let named = |name: &str| {
        parameters
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    };
    let info = named("info")
        .and_then(|value| value.strip_prefix('<')?.strip_suffix('>'))
        .ok_or(malformed(
            "the header has no parameter info in angle brackets",
        ))?;
    let kind = match named("ppt") {
        Some("shaken") => Kind::Shaken,
        Some("div") => Kind::Div,
        Some("rcd") => Kind::Rcd,
        // A kind that is not ours, or none: a PASSporT without extension, which attests to nothing.
        _ => return Ok(None),
    };
    let mut parts = token.trim_matches([' ', '\t']).split('.');
    let (Some(protected), Some(payload), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(malformed("the token has not three parts"));
    };
    Ok(Some(Identity {
        kind,
        parts: [protected, payload, signature],
        info,
        alg: named("alg"),
    }))
}

/// Names and values, without quotes. `None`: they cannot be read, are too many, or one stands twice.
fn parameters(mut rest: &str) -> Option<Vec<(&str, &str)>> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        if rest.is_empty() {
            return Some(found);
        }
        rest = rest.strip_prefix(';')?;
        let end = rest.find([';', '=']).unwrap_or(rest.len());
        let (name, after) = rest.split_at_checked(end)?;
        let name = name.trim_matches([' ', '\t']);
        let value = match after.strip_prefix('=') {
            // A parameter without a value (RFC 3261 §25.1, generic-param).
            None => {
                rest = after;
                ""
            }
            Some(after) => {
                let after = after.trim_start_matches([' ', '\t']);
                let (value, left) = if after.starts_with('<') {
                    after.split_at_checked(after.find('>')? + 1)?
                } else if let Some(quoted) = after.strip_prefix('"') {
                    let (value, left) = quoted.split_once('"')?;
                    (value, left)
                } else {
                    let (value, left) =
                        after.split_at_checked(after.find(';').unwrap_or(after.len()))?;
                    (value.trim_end_matches([' ', '\t']), left)
                };
                rest = left;
                value
            }
        };
        let visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        let twice = found.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        if name.is_empty()
            || !visible(name)
            || !visible(value)
            || twice
            || found.len() == MOST_PARAMETERS
        {
            return None;
        }
        found.push((name, value));
    }
}

fn malformed(why: &'static str) -> Refusal {
    Refusal {
        reason: Reason::Malformed,
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_in_the_forms_it_may_have() {
        for header in [
            "a.b.c;info=<https://x/y>;alg=ES256;ppt=shaken",
            "a.b.c;ppt=shaken;alg=ES256;info=<https://x/y>",
            "a.b.c ; INFO = <https://x/y> ;Alg=ES256\t; ppt=\"shaken\" ;other;more=1",
        ] {
            let identity = read(header).unwrap().unwrap();
            assert_eq!(
                (identity.kind, identity.parts, identity.info, identity.alg),
                (Kind::Shaken, ["a", "b", "c"], "https://x/y", Some("ES256")),
                "{header}"
            );
        }
        assert_eq!(
            read("..c;info=<https://x/y>;ppt=shaken")
                .unwrap()
                .unwrap()
                .parts,
            ["", "", "c"]
        );
    }

    #[test]
    fn other_kinds_are_ignored() {
        for header in [
            "a.b.c;info=<https://x/y>;ppt=rph",
            "a.b.c;info=<https://x/y>",
            "a.b.c;info=<https://x/y>;ppt=Shaken",
            "?;info=<x>;ppt=div-o",
        ] {
            assert!(read(header).unwrap().is_none(), "{header}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let long = format!(
            "{}.b.c;info=<https://x/y>;ppt=shaken",
            "a".repeat(16 * 1024)
        );
        let many = format!("a.b.c;info=<x>;ppt=shaken{}", ";p=1".repeat(20));
        for header in [
            "",
            "a.b",
            "a.b.c",
            "a.b.c;ppt=shaken",
            "a.b.c;info=https://x/y;ppt=shaken",
            "a.b.c;info=<https://x/y;ppt=shaken",
            "a.b;info=<x>;ppt=shaken",
            "a.b.c.d;info=<x>;ppt=shaken",
            "a.b.c;info=<x>;info=<x>;ppt=shaken",
            "a.b.c;info=<x>;ppt=shaken;PPT=div",
            "a.b.c;info=<x>;ppt=\"shaken",
            "a.b.c;info=<x>junk;ppt=shaken",
            "a.b.c;info=<x y>;ppt=shaken",
            "a.b.c;;info=<x>;ppt=shaken",
            "a.b.c;info=<x>\r\n;ppt=shaken",
            "a.b.c;info=<é>;ppt=shaken",
            long.as_str(),
            many.as_str(),
        ] {
            assert!(read(header).is_err(), "{header}");
        }
    }
}
