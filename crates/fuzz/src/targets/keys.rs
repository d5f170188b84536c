//! Keys and what they sign: key sets and tokens of programs and of the company's provider, subscriptions
//! of browsers, passkeys.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use countersign_core::secret::Secret;
use countersign_drill::{people::Who, stage::{HOST, START, Stage, URL}};
use countersign_server::{fuzz, passkeys::Passkeys, push::{address::{Rules, is_public}, message::Receiver}};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{Target, holds, house::{Server, posted, with_server}};

const SAMPLES: &str = include_str!("../../samples/tokens.json");

const JWT: &[&str] = &["{\"keys\":[", "\"kty\":\"oct\"", "\"kty\":\"RSA\"", "\"crv\":\"P-384\"", "\"alg\":\"none\"", "\"alg\":\"HS256\"", "\"kid\":\"one\"", "\"use\":\"enc\"", "\"d\":\"AA\"", "\"k\":\"AA\"", "eyJhbGciOiJub25lIn0.", ".", "\n", "\"crit\":[]"];

fn samples() -> Option<(String, String, String)> {
    let file: Value = serde_json::from_str(SAMPLES).ok()?;
    let text = |name: &str| file.get(name)?.as_str().map(str::to_owned);
    Some((file.get("keys")?.to_string(), text("assertion")?, text("id_token")?))
}

/// The first lines, and the rest in the last; those that are not there are empty.
fn lines<const N: usize>(input: &[u8]) -> [String; N] {
    let text = String::from_utf8_lossy(input).into_owned();
    let mut parts = text.splitn(N, '\n').map(str::to_owned);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

pub(super) fn targets() -> Vec<Target> {
    let Some((keys, assertion, id_token)) = samples() else {
        return vec![Target::of("client-keys", "keys of programs", &[], 1, &[""], |_| Err("the samples cannot be read".into()))];
    };
    let discovery = r#"{"issuer":"https://id.example.com","authorization_endpoint":"https://id.example.com/authorize","token_endpoint":"https://id.example.com/token","jwks_uri":"https://id.example.com/jwks"}"#;
    let (known, right) = (keys.clone(), assertion.clone());
    let programs = [format!("{keys}\n{assertion}")];
    let programs: Vec<&str> = programs.iter().map(String::as_str).collect();
    let client = Target::of("client-keys", "key sets of programs, and what they sign: what was changed is signed by nobody", JWT, 400, &programs, move |input| {
        let [keys, token] = lines(input);
        let signed = fuzz::signed(&keys, &token);
        holds(signed.is_none() || token == right, "a token passes that nobody signed")?;
        holds(signed.is_some() || keys != known || token != right, "a token that is signed does not pass")
    });
    let (known, right) = (keys.clone(), id_token.clone());
    let provider = [format!("{discovery}\n{keys}\n{id_token}")];
    let provider: Vec<&str> = provider.iter().map(String::as_str).collect();
    let provider = Target::of("provider-token", "a provider's discovery, keys and ID tokens: what was changed is nobody's", JWT, 100, &provider, move |input| {
        let [said, keys, token] = lines(input);
        let who = fuzz::identity(&said, &keys, &token, START);
        holds(who.as_deref().is_none_or(|subject| token == right && subject == "customer-1"), "a token passes that nobody signed")?;
        holds(who.is_some() || said != discovery || keys != known || token != right, "a token that is signed does not pass")
    });
    vec![client, provider, subscription(), portal(), passkey()]
}

const BROWSER: &str = "https://updates.push.services.mozilla.com/wpush/v2/gAAAAAB\nBCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4\nBTBZMqHH6r4Tts7J_aSIgg";
const PLACES: &[&str] = &["https://fcm.googleapis.com/fcm/send/x", "http://", "https://127.0.0.1/", "https://[::1]/", "https://push.example.com/", "@", "\\", "#", ":8080", "\n", "BAAA", "=", "%2e", ".."];

fn subscription() -> Target {
    Target::of("push-subscription", "what a browser subscribes with: only push services are called, and what is sealed is of one record", PLACES, 500, &[BROWSER], |input| {
        let [address, point, auth] = lines(input);
        if let Some((url, _)) = Rules::default().judge(&address) {
            holds(url.scheme() == "https" && url.port().is_none() && url.username().is_empty(), "an address that no push service has")?;
            let host = url.host_str().unwrap_or_default();
            holds(host.parse::<std::net::IpAddr>().is_err() && host.contains('.'), "a number for a push service")?;
        }
        let _ = address.parse().is_ok_and(is_public);
        let sealed = Receiver::parse(&Secret::new(point), &Secret::new(auth)).and_then(|receiver| receiver.seal(b"somebody calls", &[7; 32], &[9; 16]));
        // Salt, size of a record, the key with its length, the text with its mark and tag (RFC 8188).
        holds(sealed.is_ok() || input != BROWSER.as_bytes(), "a browser's keys are not taken")?;
        holds(sealed.is_err() || sealed.is_ok_and(|body| body.len() == 16 + 4 + 1 + 65 + 14 + 1 + 16), "a message of another size")
    })
}

/// The first letter says where to.
const PORTAL: &[&str] = &[
    "s{\"endpoint\":\"https://updates.push.services.mozilla.com/wpush/v2/gAAAAAB\",\"expirationTime\":null,\"keys\":{\"p256dh\":\"BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4\",\"auth\":\"BTBZMqHH6r4Tts7J_aSIgg\"}}",
    "u{\"endpoint\":\"https://updates.push.services.mozilla.com/wpush/v2/gAAAAAB\"}",
    "p{\"ceremony\":\"0123456789abcdef\",\"credential\":{\"id\":\"AA\",\"rawId\":\"AA\",\"type\":\"public-key\",\"response\":{\"clientDataJSON\":\"e30\",\"attestationObject\":\"oA\"}},\"name\":\"Phone\"}",
    "c{\"ceremony\":\"0123456789abcdef\",\"credential\":{\"id\":\"AA\",\"rawId\":\"AA\",\"type\":\"public-key\",\"response\":{\"clientDataJSON\":\"e30\",\"authenticatorData\":\"AA\",\"signature\":\"AA\"}}}",
    "l12345678", "m+12025550142",
];

fn portal() -> Target {
    let mut signed_in: Option<(u32, String)> = None;
    with_server("portal", "what a page of the portal sends, signed in: nothing becomes an authenticator", &["\"endpoint\":", "https://127.0.0.1/", "null", "{}", "[]", "\\u0000", "\"keys\":", "\"ceremony\":", "=", "&", "code=", "%00"], 100, PORTAL, move |server, input| {
        let (stage, which, _) = server.there()?;
        if signed_in.as_ref().is_none_or(|(known, _)| *known != which) {
            let cookie = server.runtime.block_on(stage.enter_portal(Who::Ana)).map_err(|e| e.to_string())?;
            signed_in = Some((which, cookie));
        }
        let cookie = signed_in.as_ref().map(|(_, cookie)| cookie.clone()).unwrap_or_default();
        let (path, kind) = match input.first() {
            Some(b's') => ("/me/push/subscribe", "application/json"),
            Some(b'u') => ("/me/push/unsubscribe", "application/json"),
            Some(b'p') => ("/me/security/passkey/finish", "application/json"),
            Some(b'c') => ("/me/security/confirm/finish", "application/json"),
            Some(b'l') => ("/me/code", "application/x-www-form-urlencoded"),
            _ => ("/me/call-me", "application/x-www-form-urlencoded"),
        };
        let before = profile(server, &stage)?;
        let headers = [("content-type", kind), ("cookie", cookie.as_str()), ("sec-fetch-site", "same-origin")];
        let request = posted(path, &headers, input.get(1..).unwrap_or_default()).ok_or("an address that is none")?;
        let (page, _) = server.ask(&stage, stage.router(), request)?;
        holds(page.status < 500, &format!("{path} answered with {}", page.status))?;
        holds(page.status != 303 || !page.header("location").contains("sign-in"), "the portal did not let us in")?;
        let after = profile(server, &stage)?;
        holds(after.authenticators.len() == before.authenticators.len() && after.contacts.len() == before.contacts.len(), "something proves that did not before")?;
        let called = |s: &countersign_core::account::PushSubscription| Rules::default().judge(s.endpoint.expose()).is_some() && Receiver::of(s).is_ok();
        holds(after.push.len() <= countersign_server::push::MOST && after.push.iter().all(called), "a device that cannot be woken, or too many")
    })
}

fn profile(server: &Server, stage: &Stage) -> Result<countersign_core::account::Profile, String> { server.runtime.block_on(stage.profile(Who::Ana)).map_err(|e| e.to_string()) }

/// The client's data, with `@` for the challenge. What the authenticator says comes on the next line.
const MADE: &str = "{\"type\":\"webauthn.create\",\"challenge\":\"@\",\"origin\":\"https://drill.example.com\",\"crossOrigin\":false}";
/// A point of the curve, as in RFC 8291.
const POINT: &str = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";

/// What an authenticator says of a new key, without attestation: CBOR by hand (WebAuthn §6.5.4).
fn attestation() -> Vec<u8> {
    let point = BASE64.decode(POINT).unwrap_or_default();
    let (x, y) = point.get(1..).unwrap_or_default().split_at_checked(32).unwrap_or_default();
    let mut data = Sha256::digest(HOST).to_vec();
    // Present, verified, with a credential; a count of zero; no model; a name of 16 bytes.
    data.push(0x45);
    data.extend([0; 4]);
    data.extend([0; 16]);
    data.extend([0, 16]);
    data.extend([0xc1; 16]);
    data.extend([0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20]);
    data.extend(x);
    data.extend([0x22, 0x58, 0x20]);
    data.extend(y);
    let mut out = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58".to_vec();
    out.push(u8::try_from(data.len()).unwrap_or_default());
    out.extend(data);
    out
}

/// A passkey is made with whatever the page sends. Without attestation nobody has signed the key itself,
/// so what has to hold is what the ceremony is about: this site, this challenge, a holder who was verified.
fn passkey() -> Target {
    let sample = [MADE.as_bytes(), b"\n", &attestation()].concat();
    let right = sample.clone();
    let target = with_server("passkey", "a new passkey: only of this ceremony, at this site, with its holder verified", &["webauthn.get", "\"crossOrigin\":true", "\"topOrigin\":", "@", "https://", "drill.example.com", "\"tokenBinding\":", "\u{0}", "fmt", "packed", "android-safetynet", "tpm"], 60, &[], move |server, input| {
        let (stage, _, _) = server.there()?;
        let at = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
        let (client, object) = input.split_at_checked(at).unwrap_or_default();
        let object = object.get(1..).unwrap_or_default();
        let (runner, session) = (stage.runner(), b"a session".as_slice());
        let profile = profile(server, &stage)?;
        let passkeys = Passkeys::of(stage.app()).ok_or("there are no passkeys here")?;
        let begun = server.runtime.block_on(passkeys.start_registration(runner, &profile, session)).map_err(|e| format!("{e:?}"))?;
        let challenge = begun.options.get("challenge").and_then(Value::as_str).unwrap_or_default().to_owned();
        let client = String::from_utf8_lossy(client).replace('@', &challenge);
        let id = BASE64.encode([0xc1; 16]);
        let answer = json!({ "id": id, "rawId": id, "type": "public-key", "extensions": {}, "response": { "clientDataJSON": BASE64.encode(&client), "attestationObject": BASE64.encode(object) } });
        let made = server.runtime.block_on(passkeys.finish_registration(runner, &profile, session, &begun.token, answer)).is_ok();
        holds(made || input != right, "a passkey is not taken")?;
        let said: Value = serde_json::from_str(&client).unwrap_or_default();
        let says = |name: &str, value: &str| said.get(name).and_then(Value::as_str) == Some(value);
        let ours = says("type", "webauthn.create") && says("challenge", &challenge) && said.get("origin").and_then(Value::as_str).is_some_and(|origin| origin.trim_end_matches('/') == URL);
        holds(!made || ours, "a passkey of another ceremony or site")?;
        let party = Sha256::digest(HOST);
        let verified = object.windows(33).any(|window| window.starts_with(&party) && window.last().is_some_and(|flags| flags & 0x05 == 0x05));
        holds(!made || verified, "a passkey of another relying party, or with nobody verified")
    });
    Target { seeds: vec![sample], ..target }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_are_taken_so_that_what_lies_behind_is_reached() {
        for target in targets().iter_mut() {
            for sample in target.seeds.clone() {
                (target.check)(&sample).unwrap_or_else(|why| panic!("{}: {why}", target.name));
            }
        }
        let (keys, assertion, _) = samples().unwrap();
        assert!(fuzz::signed(&keys, &assertion).is_some());
    }
}
