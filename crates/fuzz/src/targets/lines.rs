//! What telephone systems other than Twilio's webhooks send: events in JSON, the sockets of
//! switches; and what everybody may ask a server for.

use axum::{body::Body, http::Request};
use countersign_core::{id::CallId, risk::Verstat, time::Timestamp};
use countersign_drill::stage::{HOST, START};
use countersign_server::{
    outbox::http::signature,
    telephony::{
        asterisk::events as asterisk,
        connect, freeswitch::esl::{self, Parser}, genesys, http, jambonz,
    },
};
use serde_json::Value;

use crate::{Target, holds, house::{Server, posted, secret, with_server}};

const JSON: &[&str] = &["\"event\":", "\"call\":\"x1\"", "\"keys\":\"4071\"", "\"step\":", "null", "[]", "{}", "\\u0000", "\\ud800", "1e400", "-1", "true", ":", ",", "\"do\":\"now\"", "+12025550142", "\"wait\":"];
/// The first letter says to whom: any system, Genesys, Connect, jambonz.
const EVENTS: &[&str] = &[
    "h{\"event\":\"started\",\"call\":\"x1\",\"from\":\"+12025550142\",\"to\":\"+12025550100\",\"attestation\":\"A\"}",
    "h{\"event\":\"keys\",\"call\":\"x1\",\"step\":1,\"keys\":\"1\"}",
    "h{\"event\":\"no_keys\",\"call\":\"x1\",\"step\":2}",
    "h{\"event\":\"now\",\"call\":\"x1\"}",
    "g{\"event\":\"started\",\"call\":\"x1\",\"from\":\"tel:+12025550142\"}",
    "g{\"event\":\"keys\",\"call\":\"x1\",\"step\":1,\"keys\":\"1\"}",
    "c{\"Name\":\"ContactFlowEvent\",\"Details\":{\"ContactData\":{\"ContactId\":\"x1\",\"InitialContactId\":\"x1\",\"CustomerEndpoint\":{\"Address\":\"+12025550142\",\"Type\":\"TELEPHONE_NUMBER\"},\"SystemEndpoint\":null,\"InstanceARN\":\"arn:aws:connect:x\"},\"Parameters\":{\"do\":\"start\"}}}",
    "c{\"Name\":\"ContactFlowEvent\",\"Details\":{\"ContactData\":{\"ContactId\":\"x1\",\"InitialContactId\":\"x1\"},\"Parameters\":{\"do\":\"keys\",\"step\":\"1\",\"keys\":\"Timeout\"}}}",
    "j{\"call_sid\":\"0a1b2c3d-0000-4000-8000-0000000000c1\",\"account_sid\":\"0a1b2c3d-0000-4000-8000-00000000000a\",\"from\":\"+12025550142\",\"to\":\"+12025550100\",\"call_status\":\"in-progress\",\"sip\":{\"headers\":{\"P-Asserted-Identity\":\"<sip:x>;verstat=TN-Validation-Passed-A\"}}}",
    "j{\"call_sid\":\"0a1b2c3d-0000-4000-8000-0000000000c1\",\"account_sid\":\"0a1b2c3d-0000-4000-8000-00000000000a\",\"call_status\":\"completed\"}",
];

/// Where an event goes, under which header its signature stands, and the event.
fn event(input: &[u8]) -> (&'static str, &'static str, &'static str, &[u8]) {
    let body = input.get(1..).unwrap_or_default();
    match input.first() {
        Some(b'g') => (genesys::NAME, "/genesys/event", "authorization", body),
        Some(b'c') => (connect::NAME, "/connect/event", "countersign-signature", body),
        Some(b'j') => (jambonz::NAME, "/jambonz/call", jambonz::SIGNATURE, body),
        _ => (http::NAME, "/http/event", "countersign-signature", body),
    }
}

fn told(server: &mut Server, input: &[u8], key: &countersign_core::secret::Secret, at: Timestamp) -> Result<(u16, u64), String> {
    let (adapter, path, name, body) = event(input);
    let value = match adapter {
        genesys::NAME => format!("Bearer {}", key.expose()),
        _ => signature(key, at, body).unwrap_or_default(),
    };
    let (stage, _, open) = server.there()?;
    let request = posted(path, &[("content-type", "application/json"), (name, &value)], body).ok_or("an address that is none")?;
    let (page, rows) = server.ask(&stage, &open, request)?;
    Ok((page.status, rows))
}

pub(super) fn targets() -> Vec<Target> {
    vec![
        with_server("line-event", "events of telephone systems, signed", JSON, 120, EVENTS, |server, input| {
            let (status, rows) = told(server, input, &secret(event(input).0), START)?;
            holds(status < 500, &format!("answered with {status}"))?;
            holds(status != 400 || rows == 0, "what cannot be read leaves a row in the log")
        }),
        with_server("line-forged", "the same unsigned, or signed long ago: refused, and leaves no trace", JSON, 80, EVENTS, |server, input| {
            let (key, at) = match input.len() % 3 {
                0 => (secret("nobody"), START),
                1 => (countersign_core::secret::Secret::default(), START),
                // Genesys has a key and no time.
                _ if event(input).0 == genesys::NAME => (secret(http::NAME), START),
                _ => (secret(event(input).0), Timestamp(START.0 - 3_600_000)),
            };
            let (status, rows) = told(server, input, &key, at)?;
            holds((400..500).contains(&status) && rows == 0, &format!("answered with {status}, and {rows} rows in the log"))
        }),
        handset(),
        with_server("address", "addresses, cookies and forms of strangers: no error, no row, nothing is set", ADDRESS, 120, ADDRESSES, address),
        Target::of("ari-event", "events of Asterisk: a signature counts only if it was verified", ARI, 1_500, ARIS, |input| {
            let Ok(event) = serde_json::from_slice::<asterisk::Event>(input) else { return Ok(()) };
            let asterisk::Event::StasisStart { channel, args } = &event else { return Ok(()) };
            holds(format!("{:?}", channel.caller) == "Caller(…)", "a number is shown")?;
            let passed = matches!(asterisk::verstat(args), Verstat::PassedA | Verstat::PassedB | Verstat::PassedC);
            holds(!passed || args.first().is_some_and(|verdict| verdict.trim().eq_ignore_ascii_case("verification passed")) && args.len() == 2, "passed without a verification")?;
            holds(!asterisk::is_name(&channel.id) || !channel.id.contains(['/', '?', '#', '%', ' ']), "a name that is an address")
        }),
        Target::of("event-socket", "FreeSWITCH's event socket: the same messages however they are cut", ESL, 800, &[SOCKET], socket),
    ]
}

/// `d`: dials; `k`, `s`, `h`: keys, silence and hanging up on a call that is there; `n`: by microphone.
const DIALS: &[&str] = &[
    "d{\"number\":\"+12025550142\"}", "d{\"person\":\"ana\"}", "d{\"token\":\"12345678\"}", "d{}", "k{\"keys\":\"1\",\"command\":\"c1\"}", "k{\"keys\":\"12345678#\",\"command\":\"c2\"}",
    "s{\"command\":\"c3\"}", "h", "n{\"number\":\"+12025550142\"}",
];

fn handset() -> Target {
    let mut on: Option<(u32, String)> = None;
    with_server("handset", "what the demo's handset sends", &["\"number\":", "\"keys\":", "\"command\":", "\"token\":", "null", "\\u0000", "#*", "+1202555", "{}", "[]"], 120, DIALS, move |server, input| {
        let (stage, which, open) = server.there()?;
        let send = |server: &mut Server, path: &str, body: &[u8]| {
            let headers = [("content-type", "application/json"), ("sec-fetch-site", "same-origin")];
            let request = posted(path, &headers, body).ok_or("an address that is none")?;
            server.ask(&stage, &open, request)
        };
        if on.as_ref().is_none_or(|(known, _)| *known != which) {
            let (page, _) = send(server, "/handset/calls", b"{\"number\":\"+12025550199\"}")?;
            let call = page.value().get("call").and_then(Value::as_str).map(str::to_owned);
            on = Some((which, call.ok_or_else(|| format!("the handset cannot call: {}", page.status))?));
        }
        let call = on.as_ref().map(|(_, call)| call.clone()).unwrap_or_default();
        let path = match input.first() {
            Some(b'k') => format!("/handset/calls/{call}/keys"),
            Some(b's') => format!("/handset/calls/{call}/silence"),
            // That call is over, and the next input has another.
            Some(b'h') => {
                on = None;
                format!("/handset/calls/{call}/hang-up")
            }
            Some(b'n') => "/handset/microphone/none/dial".into(),
            _ => "/handset/calls".into(),
        };
        let body = input.get(1..).unwrap_or_default();
        let (page, rows) = send(server, &path, body)?;
        holds(page.status < 500, &format!("answered with {}", page.status))?;
        let dialled = path == "/handset/calls";
        holds(page.status < 400 || rows == 0 || dialled, "what is refused leaves a row in the log")?;
        // A stranger's keys prove nothing, whatever they are.
        let id: CallId = call.parse().map_err(|_| "a call without a name")?;
        let live = server.runtime.block_on(stage.call(id)).map_err(|e| e.to_string())?;
        holds(live.is_none_or(|call| call.proofs.is_empty()), "a stranger proved something")
    })
}

const ADDRESS: &[&str] = &["%00", "%2e%2e", "..", "//", "?", "&", "=", "%", ";", "__Host-countersign", "GET", "POST", "\n", "text/html", "countersign_portal=", "tile/0/000", "entries", "x001/000", ".p/1"];
/// A method and an address; a cookie; a form.
const ADDRESSES: &[&str] = &[
    "GET /undo/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n\n", "POST /undo/0123456789abcdef\n\nconfirm=1", "GET /not-me/0123456789abcdef\n\n", "GET /me/enter?token=0123456789abcdef\n\n",
    "GET /me\ncountersign_portal=0123456789abcdef\n", "GET /desk\n__Host-countersign_desk=0123456789abcdef\n", "POST /desk/sign-in\n\nname=Robin&password=x&code=123456", "GET /log/tile/0/x001/000.p/1\n\n",
    "GET /log/checkpoint\n\n", "GET /assets/app.css\n\n", "GET /clips/asterisk/0123.wav\n\n", "GET /sw.js\n\n", "GET /me/sign-in?say=over\n\n", "GET /.well-known/openid-configuration\n\n", "GET /oauth/jwks\n\n",
];

fn address(server: &mut Server, input: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.splitn(3, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (first, cookie, body) = (line(), line(), line());
    let Some((method, path)) = first.split_once(' ').filter(|(_, path)| path.starts_with('/') && !path.contains("/events")) else { return Ok(()) };
    let request = Request::builder().method(method).uri(path).header("host", HOST).header("sec-fetch-site", "same-origin").header("cookie", cookie);
    let request = request.header("content-type", "application/x-www-form-urlencoded").body(Body::from(body.to_owned()));
    // Nobody could send it.
    let Ok(request) = request else { return Ok(()) };
    let (stage, _, _) = server.there()?;
    let (page, rows) = server.ask(&stage, stage.router(), request)?;
    holds(page.status < 500, &format!("answered with {}", page.status))?;
    holds(rows == 0 || path.starts_with("/desk/sign-in"), "a stranger leaves a row in the log")?;
    // A cookie that is taken away is empty.
    let session = page.cookie().split_once('=').is_some_and(|(_, value)| !value.is_empty());
    holds(!session || !path.starts_with("/me/enter"), "a stranger has a session")
}

const ARI: &[&str] = &["\"type\":\"StasisStart\"", "\"args\":[]", "Verification passed", "Signature failed", "\"A\"", ",", "null", "\"channel\":", "../", "\\u0000", "StasisEnd", "ChannelDtmfReceived", "PlaybackFinished"];
const ARIS: &[&str] = &[
    r#"{"type":"StasisStart","args":["Verification passed","A"],"channel":{"id":"1780308000.12","name":"PJSIP/trunk-0000000c","caller":{"name":"","number":"+12025550142"}}}"#,
    r#"{"type":"StasisStart","args":["Signature failed","A","Verification passed"],"channel":{"id":"1780308000.12"}}"#,
    r#"{"type":"ChannelDtmfReceived","digit":"4","duration_ms":100,"channel":{"id":"1780308000.12"}}"#,
    r#"{"type":"PlaybackFinished","playback":{"id":"p1","media_uri":"sound:x","state":"done"}}"#,
];

const ESL: &[&str] = &["Content-Length: ", "Content-Type: text/event-plain", "\n\n", "\r\n\r\n", "Event-Name: DTMF", "DTMF-Digit: %23", "%0a", "%ff", ":", "0", "64"];
const SOCKET: &str = "Content-Length: 63\nContent-Type: text/event-plain\n\nEvent-Name: DTMF\nUnique-ID: 1-2\nDTMF-Digit: %23\nDTMF-Duration:\n\nContent-Type: command/reply\nReply-Text: +OK\n\nContent-Type: text/disconnect-notice\nContent-Length: 3\n\nbye";

/// The messages in these pieces, and what ended the connection.
fn messages<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<esl::Message>, Option<esl::EslError>) {
    let (mut parser, mut found) = (Parser::default(), Vec::new());
    for piece in pieces {
        parser.feed(piece);
        loop {
            match parser.message() {
                Ok(Some(message)) => found.push(message),
                Ok(None) => break,
                Err(e) => return (found, Some(e)),
            }
        }
    }
    (found, None)
}

fn socket(input: &[u8]) -> Result<(), String> {
    let whole = messages(std::iter::once(input));
    let cut = messages(input.chunks(1 + input.len() % 7));
    holds(whole == cut, "cut into pieces it says something else")?;
    for message in &whole.0 {
        holds(message.body.len() <= esl::LONGEST_BODY, "longer than a message may be")?;
        if let Ok((fields, body)) = message.event() {
            holds(body.len() <= message.body.len() && fields.get("Event-Name").is_none_or(|name| name.len() <= message.body.len()), "more in an event than came")?;
        }
    }
    holds(input != SOCKET.as_bytes() || whole.0.len() == 3, "three messages are not found")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::house::ACCOUNT;

    #[test]
    fn the_samples_are_taken_so_that_what_lies_behind_is_reached() {
        let mut server = Server::new().unwrap();
        for sample in EVENTS {
            let (status, _) = told(&mut server, sample.as_bytes(), &secret(event(sample.as_bytes()).0), START).unwrap();
            assert_eq!(status, 200, "{sample}");
        }
        assert_eq!(messages(std::iter::once(SOCKET.as_bytes())).0.len(), 3);
        assert!(EVENTS.iter().any(|sample| sample.contains(ACCOUNT)));
    }
}
