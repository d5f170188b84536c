//! What somebody would send who wants a call to pass that should not, or the server to do what it
//! should not.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "in a test, what is not expected may end it"
)]

mod common;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use common::der::{sequence, tlv};
use common::{DAY, DEST, Key, NOW, ORIG, World, X5U, failed, header, payload, sign};
use countersign_stir::{Call, Reason};

fn judge_raw(header: &str, payload: &str) -> Reason {
    let world = World::new();
    let (verdict, fetched) = world.ask(
        &world.verifier(),
        &[&world.raw("shaken", header, payload)],
        NOW,
    );
    assert!(fetched.is_empty(), "what is malformed is not worth a fetch");
    failed(&verdict)
}

#[test]
fn the_helpers_make_a_call_that_passes() {
    let world = World::new();
    assert!(
        world
            .judge(&[&world.raw("shaken", &header("shaken"), &payload())])
            .attest()
            .is_some()
    );
}

#[test]
fn no_algorithm_but_es256_is_believed() {
    let world = World::new();
    for alg in [
        "none", "None", "NONE", "HS256", "ES384", "RS256", "EdDSA", "es256", "",
    ] {
        assert_eq!(
            judge_raw(&header("shaken").replace("ES256", alg), &payload()),
            Reason::Malformed,
            "{alg}"
        );
    }
    // Without a signature, with and without saying so.
    let token = world.token(&header("shaken"), &payload());
    let unsigned = token.rsplit_once('.').unwrap().0;
    let judge = |token: &str| {
        failed(&world.judge(&[&format!("{token};info=<{X5U}>;alg=ES256;ppt=shaken")]))
    };
    assert_eq!(judge(&format!("{unsigned}.")), Reason::Signature);
    let none = format!(
        "{}.{}.",
        URL_SAFE_NO_PAD.encode(header("shaken").replace("ES256", "none")),
        URL_SAFE_NO_PAD.encode(payload())
    );
    assert_eq!(judge(&none), Reason::Malformed);
    // HMAC with the public key, which everybody has.
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header("shaken").replace("ES256", "HS256")),
        URL_SAFE_NO_PAD.encode(payload())
    );
    let mac = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, &world.provider.info()),
        signed.as_bytes(),
    );
    assert_eq!(
        judge(&format!(
            "{signed}.{}",
            URL_SAFE_NO_PAD.encode(mac.as_ref())
        )),
        Reason::Malformed
    );
    // The parameter of the header alone.
    assert_eq!(
        failed(&world.judge(&[&world.identity().replace("alg=ES256", "alg=none")])),
        Reason::Malformed
    );
}

#[test]
fn the_token_and_the_header_say_the_same() {
    let world = World::new();
    let elsewhere = world
        .identity()
        .replace(X5U, "https://certs.example.org/other.pem");
    assert_eq!(failed(&world.judge(&[&elsewhere])), Reason::Malformed);
    let (token, _) = world
        .identity()
        .split_once(';')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    assert_eq!(
        failed(&world.judge(&[&format!("{token};info=<{X5U}>;alg=ES256;ppt=div")])),
        Reason::Malformed
    );
    for (part, instead) in [
        (r#""typ":"passport""#, r#""typ":"JWT""#),
        (r#","typ":"passport""#, ""),
        (r#","x5u":"#, r#","crit":["x"],"x5u":"#),
        (r#""x5u":"#, r#""x5c":"#),
        (r#""shaken""#, r#"["shaken"]"#),
    ] {
        let header = header("shaken").replace(part, instead);
        assert_eq!(
            judge_raw(&header, &payload()),
            Reason::Malformed,
            "{header}"
        );
    }
}

#[test]
fn json_with_two_readings_is_refused_though_it_is_signed() {
    for header in [
        header("shaken").replace(r#""alg":"ES256""#, r#""alg":"none","alg":"ES256""#),
        header("shaken").replace(r#""alg":"ES256""#, r#""alg":"ES256","al\u0067":"ES256""#),
        format!("{} ", header("shaken")) + "{}",
        "[]".to_owned(),
        String::new(),
    ] {
        assert_eq!(
            judge_raw(&header, &payload()),
            Reason::Malformed,
            "{header}"
        );
    }
    for (part, instead) in [
        (r#""attest":"A""#, r#""attest":"C","attest":"A""#),
        (r#""iat""#, r#""iat":0,"iat""#),
        (
            r#"{"tn":"12025550100"}"#,
            r#"{"tn":"12025550199","tn":"12025550100"}"#,
        ),
        (r#""iat""#, r#""x":{"deep":[{"a":1,"a":1}]},"iat""#),
    ] {
        let payload = payload().replacen(part, instead, 1);
        assert_eq!(
            judge_raw(&header("shaken"), &payload),
            Reason::Malformed,
            "{payload}"
        );
    }
}

#[test]
fn what_is_too_deep_too_long_or_too_much_is_refused() {
    let deep = payload().replacen(
        '{',
        &format!(r#"{{"x":{}{},"#, "[".repeat(1000), "]".repeat(1000)),
        1,
    );
    assert_eq!(judge_raw(&header("shaken"), &deep), Reason::Malformed);
    let long = payload().replacen('{', &format!(r#"{{"x":"{}","#, "x".repeat(16_000)), 1);
    assert_eq!(judge_raw(&header("shaken"), &long), Reason::Malformed);
    let world = World::new();
    let identity = world.identity();
    assert_eq!(
        failed(&world.judge(&[identity.as_str(); 13])),
        Reason::Malformed
    );
    assert!(world.judge(&[identity.as_str(); 12]).attest().is_some());
    assert_eq!(failed(&world.judge(&["\0", &identity])), Reason::Malformed);
}

#[test]
fn a_token_in_another_encoding_is_refused() {
    let world = World::new();
    let identity = world.identity();
    let (token, parameters) = identity.split_once(';').unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
    let with = |token: String| failed(&world.judge(&[&format!("{token};{parameters}")]));
    // Padded, with the other alphabet's bits left over, in DER, longer and shorter.
    assert_eq!(with(format!("{token}==")), Reason::Malformed);
    let last = if parts[2].ends_with('A') { 'B' } else { 'A' };
    with(format!(
        "{}.{}.{}{last}",
        parts[0],
        parts[1],
        &parts[2][..parts[2].len() - 1]
    ));
    for bytes in [
        &signature[..63],
        &[&signature[..], &[0]].concat(),
        &sequence(&[tlv(2, &signature[..32]), tlv(2, &signature[32..])]),
        &[0; 64],
        &[0xff; 64],
        &[],
    ] {
        assert_eq!(
            with(format!(
                "{}.{}.{}",
                parts[0],
                parts[1],
                URL_SAFE_NO_PAD.encode(bytes)
            )),
            Reason::Signature
        );
    }
    // R and S exchanged; another's key; another payload under the signature.
    let exchanged = [&signature[32..], &signature[..32]].concat();
    assert_eq!(
        with(format!(
            "{}.{}.{}",
            parts[0],
            parts[1],
            URL_SAFE_NO_PAD.encode(exchanged)
        )),
        Reason::Signature
    );
    assert_eq!(
        with(sign(&Key::new(), &header("shaken"), &payload())),
        Reason::Signature
    );
    let other = URL_SAFE_NO_PAD.encode(payload().replace(ORIG, "12025550199"));
    assert_eq!(
        with(format!("{}.{other}.{}", parts[0], parts[2])),
        Reason::Signature
    );
}

#[test]
fn what_must_not_be_fetched_is_never_asked_for() {
    for address in [
        "http://certs.example.org/sp.pem",
        "https://certs.example.org:8080/sp.pem",
        "https://a@certs.example.org/sp.pem",
        "https://certs.example.org/sp.pem?x",
        "https://certs.example.org/sp.pem#x",
        "file:///etc/passwd",
        "gopher://certs.example.org/",
        "https://localhost/sp.pem",
        "https://x.localhost/sp.pem",
        "https://metadata.internal/latest",
        "https://127.0.0.1/sp.pem",
        "https://127.1/sp.pem",
        "https://2130706433/sp.pem",
        "https://0x7f000001/sp.pem",
        "https://017700000001/sp.pem",
        "https://0177.0.0.1/sp.pem",
        "https://0x7f.1/sp.pem",
        "https://10.0.0.1/sp.pem",
        "https://172.16.3.4/sp.pem",
        "https://192.168.0.1:8443/sp.pem",
        "https://169.254.169.254/latest/meta-data/",
        "https://100.100.100.200/x",
        "https://0.0.0.0/x",
        "https://[::1]/x",
        "https://[::ffff:10.0.0.1]/x",
        "https://[::ffff:a00:1]/x",
        "https://[::10.0.0.1]/x",
        "https://[64:ff9b::a00:1]/x",
        "https://[2002:a00:1::1]/x",
        "https://[fd00:ec2::254]/x",
        "https://[fe80::1]/x",
        "https://intranet/x",
        "https://certs.example.org\\@10.0.0.1/x",
        "https://certs.example.org/../x",
    ] {
        let world = World::new();
        let written = serde_json::to_string(address).unwrap();
        let header = header("shaken").replace(&format!("\"{X5U}\""), &written);
        let identity = format!(
            "{};info=<{address}>;alg=ES256;ppt=shaken",
            world.token(&header, &payload())
        );
        let (verdict, fetched) = world.ask(&world.verifier(), &[&identity], NOW);
        assert!(fetched.is_empty(), "{address}");
        assert_eq!(
            (failed(&verdict), verdict.sip()),
            (Reason::Address, Some(436)),
            "{address}"
        );
    }
}

#[test]
fn a_call_causes_a_bounded_number_of_fetches() {
    let mut world = World::new();
    let chain = world.found[X5U].clone();
    let mut headers = Vec::new();
    for number in 0..12 {
        let x5u = format!("https://certs.example.org/{number}.pem");
        headers.push(format!(
            "{};info=<{x5u}>;alg=ES256;ppt=shaken",
            world.token(&header("shaken").replace(X5U, &x5u), &payload())
        ));
        world.found.insert(x5u, chain.clone());
    }
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let (verdict, fetched) = world.ask(&world.verifier(), &headers, NOW);
    assert_eq!((failed(&verdict), fetched.len()), (Reason::Fetch, 8));
    assert!(
        world
            .ask(&world.verifier(), &headers[..8], NOW)
            .0
            .attest()
            .is_some()
    );
}

#[test]
fn a_token_for_another_call_is_refused() {
    let world = World::new();
    let identity = world.identity();
    for (orig, dest, why) in [
        ("12025550199", DEST, Reason::OrigMismatch),
        ("anonymous", DEST, Reason::OrigMismatch),
        ("", DEST, Reason::OrigMismatch),
        ("2025550100", DEST, Reason::OrigMismatch),
        (ORIG, "12025550199", Reason::DestMismatch),
        (ORIG, "sip:alice@example.com", Reason::DestMismatch),
        (ORIG, "", Reason::DestMismatch),
        (DEST, ORIG, Reason::OrigMismatch),
    ] {
        let call = Call {
            identity: &[&identity],
            orig,
            dest,
            known: None,
        };
        assert_eq!(
            failed(&world.ask_about(&world.verifier(), &call, NOW).0),
            why,
            "{orig} {dest}"
        );
    }
    // Signed in the future, so that it could be used later.
    let later = payload().replace(&NOW.to_string(), &(NOW + DAY).to_string());
    assert_eq!(
        failed(&world.judge(&[&world.raw("shaken", &header("shaken"), &later)])),
        Reason::Stale
    );
}
