//! What is read out of headers: user parts, and the status in a NOTIFY.

use rsipstack::sip::prelude::{HasHeaders as _, HeadersExt as _};
use rsipstack::sip::{Header, Request};

use crate::flow::{CallKey, Incoming, Transport};
use std::net::SocketAddr;

/// More identities than this are not looked at (RFC 8224 knows no limit). More than whoever verifies
/// takes: nobody pushes a signature that does not hold out of sight with others before it.
pub const IDENTITIES: usize = 16;

/// The characters of a header's value that are outside of quotes, and where they are: a display name
/// may hold anything (RFC 3261 §25.1, `quoted-string`).
fn outside_quotes(value: &str) -> impl Iterator<Item = (usize, char)> {
    let (mut quoted, mut escaped) = (false, false);
    value.char_indices().filter(move |(_, c)| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => return !quoted,
        }
        false
    })
}

/// The values of a header that may hold several: commas part them, outside of quotes and brackets.
#[must_use]
pub fn parts(value: &str) -> Vec<&str> {
    let (mut from, mut bracketed, mut parts) = (0, false, Vec::new());
    for (at, c) in outside_quotes(value) {
        match c {
            '<' => bracketed = true,
            '>' => bracketed = false,
            ',' if !bracketed => {
                parts.extend(value.get(from..at));
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.extend(value.get(from..));
    parts
}

/// The user part of the URI in a header like `From`: of `sip:`, `sips:` and `tel:`. Escapes are
/// undone; what then is no text is no user part.
#[must_use]
pub fn user_part(value: &str) -> Option<String> {
    let open = outside_quotes(value).find(|(_, c)| *c == '<');
    let uri = match open {
        Some((at, _)) => value.get(at + 1..)?.split('>').next()?,
        None => value.split(';').next()?,
    };
    let (scheme, rest) = uri.trim().split_once(':')?;
    let user = match scheme.to_ascii_lowercase().as_str() {
        "sip" | "sips" => rest.split_once('@')?.0,
        "tel" => rest,
        _ => return None,
    };
    // Parameters of a number, and an old password.
    let user = user.split([';', ':', '?']).next()?;
    unescape(user).filter(|user| !user.is_empty() && user.len() <= 128)
}

fn unescape(text: &str) -> Option<String> {
    let (mut out, mut bytes) = (Vec::with_capacity(text.len()), text.bytes());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok().filter(|text| !text.chars().any(char::is_control))
}

/// What networks write when a number is withheld (RFC 3323 §4.1.1.3, and habits).
fn is_withheld(user: &str) -> bool {
    ["anonymous", "unknown", "unavailable", "restricted", "private"].iter().any(|word| user.eq_ignore_ascii_case(word))
}

/// What a request says of itself, for the flow.
pub(crate) fn incoming(request: &Request, source: SocketAddr, transport: Transport) -> Incoming {
    let shown = |value: &str| user_part(value).filter(|user| !is_withheld(user));
    let values = |wanted: fn(&Header) -> bool| request.headers().iter().filter(move |header| wanted(header)).map(Header::value).take(IDENTITIES);
    // All of them: nobody pushes what the network adds at the end out of sight.
    let asserted = request.headers().iter().filter(|header| matches!(header, Header::PAssertedIdentity(_)));
    Incoming {
        key: CallKey::random(),
        from: request.from_header().ok().and_then(|from| shown(from.value())).unwrap_or_default(),
        // Two of them may stand in one line, a SIP and a TEL URI (RFC 3325 §9.1).
        asserted: asserted.flat_map(|header| parts(header.value())).map(|value| shown(value).unwrap_or_default()).collect(),
        to: request.to_header().ok().and_then(|to| user_part(to.value())).unwrap_or_default(),
        target: request.uri.user().map(str::to_owned).unwrap_or_default(),
        identity: values(|header| matches!(header, Header::Identity(_))).map(str::to_owned).collect(),
        privacy: values(|header| matches!(header, Header::Privacy(_))).next().map(str::to_owned),
        call_id: request.call_id_header().map(|id| id.value().to_owned()).unwrap_or_default(),
        source,
        transport,
        user: None,
    }
}

/// The value of the `Content-Type`, or nothing.
pub(crate) fn content_type(request: &Request) -> &str {
    request.headers().iter().find_map(|header| matches!(header, Header::ContentType(_)).then(|| header.value())).unwrap_or_default()
}

/// Whether the body is `application/sdp`.
pub(crate) fn is_sdp(content_type: &str) -> bool {
    content_type.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/sdp"))
}

/// What a NOTIFY tells of a transfer: the status, and whether it is the last (RFC 3515 §2.4.5). `None`
/// when it is about something else.
pub(crate) fn notified(request: &Request) -> Option<(u16, bool)> {
    let value = |wanted: fn(&Header) -> bool| request.headers().iter().find(|header| wanted(header)).map(Header::value);
    let event = value(|header| matches!(header, Header::Event(_)))?;
    let event = event.split(';').next().unwrap_or_default().trim();
    let state = value(|header| matches!(header, Header::SubscriptionState(_))).unwrap_or_default();
    let last = state.trim_start().get(..10).is_some_and(|state| state.eq_ignore_ascii_case("terminated"));
    event.eq_ignore_ascii_case("refer").then(|| fragment(&request.body)).flatten().map(|status| (status, last))
}

/// The status in a body of `message/sipfrag` (RFC 3420).
#[must_use]
pub fn fragment(body: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(body.get(..body.len().min(512))?).ok()?.lines().next()?;
    let (version, rest) = line.trim().split_once(' ')?;
    let code = rest.split_whitespace().next()?.parse().ok()?;
    (version.eq_ignore_ascii_case("SIP/2.0") && (100..700).contains(&code)).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_user_part_is_found_in_all_dresses() {
        for (value, user) in [
            ("<sip:+12025550123@example.com>;tag=1", "+12025550123"),
            ("sip:+12025550123@example.com;tag=1", "+12025550123"),
            ("\"A <sip:evil@example.com> B\" <sip:good@example.com>", "good"),
            ("\"a \\\" <\" <sip:good@example.com>", "good"),
            ("Name <tel:+1-202-555-0123;phone-context=x>", "+1-202-555-0123"),
            ("<sip:+12025550123;npdi@example.com;user=phone>", "+12025550123"),
            ("<sips:%2B12025550123@example.com>", "+12025550123"),
            ("<sip:a:secret@example.com>", "a"),
        ] {
            assert_eq!(user_part(value).as_deref(), Some(user), "{value}");
        }
        for none in ["<sip:example.com>", "", "<http://a@b>", "<sip:%zz@example.com>", "<sip:%0a@example.com>", "<sip:@example.com>"] {
            assert_eq!(user_part(none), None, "{none}");
        }
    }

    #[test]
    fn what_stands_in_quotes_is_no_identity_and_one_that_names_nobody_is_seen() {
        let asserted = |lines: &[&str]| {
            let lines: String = lines.iter().map(|line| format!("P-Asserted-Identity: {line}\r\n")).collect();
            let text = format!(
                "INVITE sip:b@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa\r\nFrom: <sip:a@example.com>;tag=1\r\n\
                 To: <sip:b@example.com>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n{lines}Content-Length: 0\r\n\r\n"
            );
            incoming(&Request::try_from(text.as_str()).unwrap(), "192.0.2.1:5060".parse().unwrap(), Transport::Udp).asserted
        };
        assert_eq!(asserted(&["\"x, <sip:+12025550148@y>\" <sip:+12025550199@example.com>"]), ["+12025550199"]);
        assert_eq!(asserted(&[r#""x\", <sip:+12025550148@y>, \"" <sip:+12025550199@example.com>"#]), ["+12025550199"]);
        assert_eq!(asserted(&["<sip:a,b@example.com>, <tel:+12025550142>"]), ["a,b", "+12025550142"]);
        assert_eq!(asserted(&["<sip:+12025550142@example.com>", "<tel:+12025550143>"]), ["+12025550142", "+12025550143"]);
        for nobody in ["<sip:anonymous@example.com>", "<sip:example.com>", "\"open", ""] {
            assert_eq!(asserted(&[nobody]), [""], "{nobody}");
        }
        let mut many = vec!["<sip:+12025550148@example.com>"; 60];
        many.push("<sip:+12025550199@example.com>");
        assert_eq!(asserted(&many).last().unwrap(), "+12025550199");
        assert!(asserted(&[]).is_empty());
    }

    #[test]
    fn a_fragment_names_its_status() {
        assert_eq!(fragment(b"SIP/2.0 200 OK\r\n"), Some(200));
        assert_eq!(fragment(b"SIP/2.0 180"), Some(180));
        for none in [&b"SIP/7.0 200 OK"[..], b"200", b"", b"SIP/2.0 99 x", b"SIP/2.0 x", b"\xff"] {
            assert_eq!(fragment(none), None);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_them_panic(value in ".{0,60}", body in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = user_part(&value);
            let _ = user_part(&format!("<sip:{value}"));
            assert_eq!(parts(&value).join(","), value);
            let _ = fragment(&body);
        }
    }
}
