//! Webhooks and programs: what comes over HTTP from outside of our own pages. Behind it stands a whole
//! server in this process, with nothing real in it.

use std::{collections::BTreeSet, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign_core::secret::Secret;
use countersign_drill::{
    stage::{PROGRAM_SECRET, TOKEN, URL},
    wire::{FORM, form},
};
use countersign_server::telephony::twilio::{form as twilio, signature, stream::{Listener, Next}};

use crate::{Target, holds, house::with_server};

const VOICE: &str = "CallSid=CA00000000000000000000000000000001&AccountSid=AC00000000000000000000000000000000&From=%2B12025550142&To=%2B12025550100&CallStatus=in-progress&Direction=inbound&StirVerstat=TN-Validation-Passed-A";
const KEYED: &str = "CallSid=CA00000000000000000000000000000001&AccountSid=AC00000000000000000000000000000000&From=anonymous&To=%2B12025550100&CallStatus=in-progress&Digits=4071&StirVerstat=TN-Validation-Failed-B";
const OVER: &str = "CallSid=CA00000000000000000000000000000001&AccountSid=AC00000000000000000000000000000000&From=%2B12025550142&To=%2B12025550100&CallStatus=completed";
const TEXTED: &str = "MessageSid=SM00000000000000000000000000000001&MessageStatus=delivered&AccountSid=AC00000000000000000000000000000000&From=%2B12025550142&To=%2B12025550100&Body=STOP";
const STREAM: &[&str] = &["\"event\":", "\"media\"", "\"start\"", "\"stop\"", "\"mark\"", "\"dtmf\"", "\"chunk\":\"1\"", "18446744073709551616", "\"track\":\"inbound\"", "\"payload\":\"fn5+fg==\"", "MZ1", "\n", "null", "[[[["];
const STREAMED: &str = r#"{"event":"connected","protocol":"Call","version":"1.0.0"}
{"event":"start","start":{"streamSid":"MZ1","callSid":"CA00000000000000000000000000000001","mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}},"streamSid":"MZ1"}
{"event":"mark","streamSid":"MZ1","mark":{"name":"tone"}}
{"event":"media","streamSid":"MZ1","media":{"track":"inbound","chunk":"1","timestamp":"5","payload":"AgICAgICAgICAgIC"}}
{"event":"dtmf","streamSid":"MZ1","dtmf":{"track":"inbound_track","digit":"5"}}
{"event":"media","streamSid":"MZ1","media":{"track":"inbound","chunk":"2","timestamp":"25","payload":"AgICAgICAgICAgIC"}}
{"event":"stop","streamSid":"MZ1"}"#;
const FIELDS: &[&str] = &["CallSid=", "&Digits=", "&From=%2B12025550142", "&CallStatus=", "&CallStatus=busy", "&StirVerstat=", "%00", "%FF", "%2B", "+", "&", "=", "CA", "**##", "&&"];
const PATHS: &[&str] = &["/twilio/voice", "/twilio/step?n=1", "/twilio/resume?n=0", "/twilio/status", "/twilio/answered", "/twilio/message", "/twilio/inbound"];

/// Panics of a handler end the request as an error of the router's caller; this is one of ours.
fn answered((status, _): (u16, u64)) -> Result<(), String> { holds(status < 500, &format!("answered with {status}")) }

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target::of("twilio-form", "Twilio's forms: read, written and read again they are the same", FIELDS, 1_500, &[VOICE, KEYED, OVER, TEXTED], |input| {
            let Ok(fields) = twilio::parse(input) else { return Ok(()) };
            let event = twilio::VoiceEvent::from_fields(&fields);
            // Written by us it may be longer than Twilio's, and than anything that is read.
            let ours = form(&fields);
            if ours.len() > twilio::MAX_BODY {
                return Ok(());
            }
            let again = twilio::parse(ours.as_bytes()).map_err(|e| format!("our own form is not read: {e}"))?;
            holds(again == fields, "written and read again it is another")?;
            let Ok(event) = event else { return Ok(()) };
            holds(event.digits.is_none_or(|keys| keys.expose().bytes().all(|b| b.is_ascii_digit() || b"*#ABCD".contains(&b))), "keys that no telephone has")
        }),
        Target::of("twilio-stream", "messages of Twilio's media streams, one a line: bounded, and sound only of the call that is meant", STREAM, 400, &[STREAMED], |input| {
            let Ok(call) = twilio::CallSid::parse("CA00000000000000000000000000000001") else { return Err("no name for a call".into()) };
            let (mut listener, mut begun) = (Listener::new(call, Duration::from_secs(8)), false);
            for line in input.split(|byte| *byte == b'\n') {
                match listener.take(&String::from_utf8_lossy(line)) {
                    Ok(Next::Begun) => {
                        begun = true;
                        listener.tone(&[0x7f; 160]);
                    }
                    Ok(Next::Key(key)) => holds(key.is_ascii_digit() || key == '*' || key == '#', "a key that no telephone has")?,
                    Ok(Next::More | Next::Heard) => {}
                    Ok(Next::Ended) | Err(_) => break,
                }
            }
            let samples = listener.into_samples();
            holds(samples.len() <= 64_000, "more sound than was asked for")?;
            holds(begun || samples.is_empty(), "sound of a stream that has not begun")
        }),
        signed(),
        with_server("twilio-webhook", "Twilio's webhooks, signed", FIELDS, 120, &[VOICE, KEYED, OVER, TEXTED], |server, input| {
            let path = PATHS.get(input.len() % PATHS.len()).copied().unwrap_or("/twilio/voice");
            let fields = twilio::parse(input).unwrap_or_default();
            let name = signature::sign(&Secret::new(TOKEN), &format!("{URL}{path}"), &fields);
            answered(server.post(path, &[("content-type", FORM), ("x-twilio-signature", &name)], input)?)
        }),
        with_server("twilio-forged", "the same unsigned: refused, and leaves no trace", FIELDS, 120, &[VOICE, KEYED, OVER, TEXTED], |server, input| {
            let path = PATHS.get(input.len() % PATHS.len()).copied().unwrap_or("/twilio/voice");
            let name = STANDARD.encode([u8::try_from(input.len() % 256).unwrap_or(0); 20]);
            let (status, rows) = server.post(path, &[("content-type", FORM), ("x-twilio-signature", &name)], input)?;
            holds((400..500).contains(&status) && rows == 0, &format!("answered with {status}, and {rows} rows in the log"))
        }),
        with_server("oauth", "programs that ask by OpenID: backchannel, device, token", OAUTH, 100, ASKED, |server, input| {
            let (path, body) = asked(input);
            let basic = format!("Basic {}", STANDARD.encode(format!("till:{PROGRAM_SECRET}")));
            answered(server.post(path, &[("content-type", FORM), ("authorization", &basic)], body)?)
        }),
        with_server("oauth-forged", "the same with what is no key: refused, and leaves no trace", OAUTH, 100, ASKED, |server, input| {
            let (path, body) = asked(input);
            let basic = format!("Basic {}", STANDARD.encode(input.get(..input.len().min(90)).unwrap_or_default()));
            let headers: &[(&str, &str)] = if input.len() % 2 == 0 { &[("content-type", FORM)] } else { &[("content-type", FORM), ("authorization", &basic)] };
            let (status, rows) = server.post(path, headers, body)?;
            holds((400..500).contains(&status) && rows == 0, &format!("answered with {status}, and {rows} rows in the log"))
        }),
        with_server("api", "programs of the company, in JSON", &["\"account\"", "null", "[]", "{}", "\\u0000", "\\ud800", "1e400", "true", ":", ","], 100,
            &["{\"account_number\":\"10004711\",\"authenticators\":[]}", "{\"account_number\":\"10004711\",\"code\":\"123456\"}"], |server, input| {
            let path = if input.len() % 2 == 0 { "/api/v1/portal-sessions" } else { "/api/v1/authenticators/check" };
            let (status, rows) = server.post(path, &[("content-type", "application/json"), ("authorization", "Bearer none")], input)?;
            holds((400..500).contains(&status) && rows == 0, &format!("answered with {status}, and {rows} rows in the log"))
        }),
    ]
}

const OAUTH: &[&str] = &["scope=openid", "&login_hint=", "&binding_message=", "&acr_values=strong", "&requested_expiry=", "&client_id=till", "&client_assertion=eyJhbGciOiJub25lIn0.e30.", "&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer", "&grant_type=", "&auth_req_id=", "%00", "&"];
/// The first line is the path.
const ASKED: &[&str] = &[
    "a\nscope=openid&login_hint=10004711&binding_message=Till%204&requested_expiry=120",
    "a\nscope=openid&login_hint_token=eyJhbGciOiJFUzI1NiJ9.e30.AAAA&user_code=123456",
    "d\nscope=openid&client_id=till",
    "t\ngrant_type=urn%3Aopenid%3Aparams%3Agrant-type%3Aciba&auth_req_id=0123456789abcdef",
    "t\ngrant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=0123456789abcdef&client_id=till",
];

fn asked(input: &[u8]) -> (&'static str, &[u8]) {
    let path = match input.first() {
        Some(b'd') => "/oauth/device_authorization",
        Some(b't') => "/oauth/token",
        _ => "/oauth/bc-authorize",
    };
    (path, input.get(2..).unwrap_or_default())
}

/// A line of signature, a line of address, and a form.
fn signed() -> Target {
    let token = Secret::new(TOKEN);
    let sample = |path: &str, body: &str| {
        let url = format!("{URL}{path}");
        let name = signature::sign(&token, &url, &twilio::parse(body.as_bytes()).unwrap_or_default());
        format!("{name}\n{url}\n{body}")
    };
    let samples = [sample("/twilio/voice", VOICE), sample("/twilio/step?n=3", KEYED), sample("/twilio/status", OVER)];
    type Signed = (String, String, BTreeSet<(String, String)>);
    let read = |text: &[u8]| -> Option<Signed> {
        let mut parts = text.splitn(3, |byte| *byte == b'\n');
        let mut line = || Some(String::from_utf8_lossy(parts.next()?).into_owned());
        let (name, url) = (line()?, line()?);
        Some((name, url, twilio::parse(parts.next()?).ok()?.into_iter().collect()))
    };
    let known: Vec<_> = samples.iter().filter_map(|sample| read(sample.as_bytes())).collect();
    let seeds: Vec<&str> = samples.iter().map(String::as_str).collect();
    Target::of("twilio-signature", "Twilio's signature: what was changed does not verify", FIELDS, 1_500, &seeds, move |input| {
        let Some((name, url, fields)) = read(input) else { return Ok(()) };
        let list: Vec<_> = fields.iter().cloned().collect();
        let verified = signature::verify(&token, &url, &list, &name);
        let same = known.iter().any(|(n, u, f)| *n == name && *u == url && *f == fields);
        // With and without the port, or with an empty one, are the same address to Twilio.
        let bare = url.replace(":443/", "/").replace(".com:/", ".com/");
        let port = known.iter().any(|(n, u, f)| *n == name && *f == fields && bare == *u);
        holds(!same || verified, "a signature that is right does not verify")?;
        holds(!verified || same || port, "something verifies that nobody signed")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::house::Server;

    #[test]
    fn the_samples_are_taken_so_that_what_lies_behind_is_reached() {
        let mut server = Server::new().unwrap();
        let signed = |body: &str| signature::sign(&Secret::new(TOKEN), &format!("{URL}/twilio/voice"), &twilio::parse(body.as_bytes()).unwrap());
        let (status, rows) = server.post("/twilio/voice", &[("content-type", FORM), ("x-twilio-signature", &signed(VOICE))], VOICE.as_bytes()).unwrap();
        assert!(status == 200 && rows > 0, "{status} {rows}");
        let basic = format!("Basic {}", STANDARD.encode(format!("till:{PROGRAM_SECRET}")));
        let (path, body) = asked(ASKED[0].as_bytes());
        let (status, rows) = server.post(path, &[("content-type", FORM), ("authorization", &basic)], body).unwrap();
        // Nobody of the drills can be asked in the portal, which is found out behind all that is read.
        assert!(status == 403 && rows > 0, "{status} {rows}");
    }
}
