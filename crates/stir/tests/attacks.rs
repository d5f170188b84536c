//! What somebody would send who wants a call to pass that should not, or the server to do what it
//! should not.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "in a test, what is not expected may end it"
)]

mod common;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use common::der::{Certificate, SHAKEN, extension, oid, provider_code, sequence, tlv};
use common::{DAY, DEST, Key, NOW, ORIG, World, X5U, header, payload, pem, sign};
use countersign_stir::{Call, Policy, Reason, Settings, Verdict, Verifier, Verstat};

/// The reason, after a look at what has to hold of every call that fails.
fn failed(verdict: &Verdict) -> Reason {
    assert_eq!(verdict.verstat, Verstat::Failed, "{verdict:?}");
    assert!(
        verdict.orig.is_none()
            && verdict.origid.is_none()
            && verdict.display.is_none()
            && !verdict.diverted
    );
    assert!(verdict.attest().is_none() && verdict.replay.is_empty() && verdict.sip().is_some());
    verdict.reason().unwrap()
}

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

/// The reason for which the provider's certificate is refused, and what was fetched.
fn judge_chain(authority: &Certificate, provider: &Certificate) -> Reason {
    let world = World::new().with(authority, provider);
    failed(&world.judge(&[&world.identity()]))
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
        failed(&world.judge(&vec![identity.as_str(); 13])),
        Reason::Malformed
    );
    assert!(world.judge(&vec![identity.as_str(); 12]).attest().is_some());
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
fn a_certificate_that_is_out_of_its_time_is_refused_wherever_it_stands() {
    let (authority, provider) = (Certificate::authority(), Certificate::provider());
    let past = |certificate: &Certificate| Certificate {
        until: NOW - 1,
        ..certificate.clone()
    };
    let future = |certificate: &Certificate| Certificate {
        from: NOW + 1,
        ..certificate.clone()
    };
    for (authority, provider) in [
        (past(&authority), provider.clone()),
        (authority.clone(), past(&provider)),
        (future(&authority), provider.clone()),
        (authority.clone(), future(&provider)),
    ] {
        assert_eq!(judge_chain(&authority, &provider), Reason::Certificate);
    }
    // The root too, though it is configured.
    for root in [past(&Certificate::root()), future(&Certificate::root())] {
        let mut world = World::new();
        world.root_pem = pem("CERTIFICATE", &root.issue(&world.root, &world.root));
        assert_eq!(
            failed(&world.judge(&[&world.identity()])),
            Reason::Certificate
        );
    }
}

#[test]
fn a_certificate_for_something_else_is_refused() {
    let (authority, provider) = (Certificate::authority(), Certificate::provider());
    let limits = |kind: &str| {
        vec![extension(
            kind,
            false,
            &sequence(&[tlv(0xa0, &sequence(&[tlv(0x16, b"x")]))]),
        )]
    };
    for (what, wrong) in [
        (
            "no usage",
            Certificate {
                usage: None,
                ..provider.clone()
            },
        ),
        (
            "usage for certificates",
            Certificate {
                usage: Some(0x04),
                ..provider.clone()
            },
        ),
        (
            "usage for both",
            Certificate {
                usage: Some(0x84),
                ..provider.clone()
            },
        ),
        (
            "usage for encryption",
            Certificate {
                usage: Some(0x20),
                ..provider.clone()
            },
        ),
        (
            "an authority",
            Certificate {
                authority: Some(0),
                ..provider.clone()
            },
        ),
        (
            "no policy",
            Certificate {
                policy: None,
                ..provider.clone()
            },
        ),
        (
            "another policy",
            Certificate {
                policy: Some("2.16.840.1.114569.1.2.1"),
                ..provider.clone()
            },
        ),
        (
            "a policy that begins alike",
            Certificate {
                policy: Some("2.16.840.1.114569.1.11"),
                ..provider.clone()
            },
        ),
        (
            "any policy",
            Certificate {
                policy: Some("2.5.29.32.0"),
                ..provider.clone()
            },
        ),
        (
            "no numbers",
            Certificate {
                numbers: None,
                ..provider.clone()
            },
        ),
        (
            "an empty list of numbers",
            Certificate {
                numbers: Some(sequence(&[])),
                ..provider.clone()
            },
        ),
        (
            "a list of numbers that is none",
            Certificate {
                numbers: Some(vec![5, 0]),
                ..provider.clone()
            },
        ),
        (
            "two lists of numbers",
            Certificate {
                more: vec![extension("1.3.6.1.5.5.7.1.26", false, &provider_code("1"))],
                ..provider.clone()
            },
        ),
        (
            "two policies",
            Certificate {
                more: vec![extension(
                    "2.5.29.32",
                    false,
                    &sequence(&[sequence(&[oid(SHAKEN)])]),
                )],
                ..provider.clone()
            },
        ),
        (
            "limits on claims",
            Certificate {
                more: limits("1.3.6.1.5.5.7.1.27"),
                ..provider.clone()
            },
        ),
        (
            "more limits on claims",
            Certificate {
                more: limits("1.3.6.1.5.5.7.1.33"),
                ..provider.clone()
            },
        ),
        (
            "a critical extension nobody knows",
            Certificate {
                more: vec![extension("1.2.3.4", true, &[5, 0])],
                ..provider.clone()
            },
        ),
        (
            "a use for servers",
            Certificate {
                more: vec![extension(
                    "2.5.29.37",
                    false,
                    &sequence(&[oid("1.3.6.1.5.5.7.3.1")]),
                )],
                ..provider.clone()
            },
        ),
        (
            "another issuer",
            Certificate {
                issuer: "Other Authority",
                ..provider.clone()
            },
        ),
    ] {
        assert_eq!(
            judge_chain(&authority, &wrong),
            Reason::Certificate,
            "{what}"
        );
    }
    for (what, wrong) in [
        (
            "no authority",
            Certificate {
                authority: None,
                ..authority.clone()
            },
        ),
        (
            "no usage",
            Certificate {
                usage: None,
                ..authority.clone()
            },
        ),
        (
            "usage for calls",
            Certificate {
                usage: Some(0x80),
                ..authority.clone()
            },
        ),
        (
            "usage for lists",
            Certificate {
                usage: Some(0x02),
                ..authority.clone()
            },
        ),
        (
            "no policy",
            Certificate {
                policy: None,
                ..authority.clone()
            },
        ),
        (
            "another policy",
            Certificate {
                policy: Some("1.2.3.4"),
                ..authority.clone()
            },
        ),
    ] {
        assert_eq!(
            judge_chain(&wrong, &provider),
            Reason::Certificate,
            "{what}"
        );
    }
}

#[test]
fn policies_are_configured() {
    let (authority, provider) = (Certificate::authority(), Certificate::provider());
    let passes = |policies: Vec<Policy>,
                  authority: Option<&'static str>,
                  provider_policy: Option<&'static str>| {
        let world = World::new().with(
            &Certificate {
                policy: authority,
                ..Certificate::authority()
            },
            &Certificate {
                policy: provider_policy,
                ..provider.clone()
            },
        );
        let verifier = Verifier::new(Settings {
            policies,
            ..world.settings()
        });
        world
            .ask(&verifier, &[&world.identity()], NOW)
            .0
            .attest()
            .is_some()
    };
    assert!(passes(
        vec![Policy::shaken()],
        Some("2.5.29.32.0"),
        Some("2.16.840.1.114569.1.1.3")
    ));
    assert!(passes(
        vec![Policy::read(SHAKEN).unwrap()],
        authority.policy,
        provider.policy
    ));
    assert!(!passes(
        vec![Policy::read(SHAKEN).unwrap()],
        authority.policy,
        Some("2.16.840.1.114569.1.1.3")
    ));
    assert!(passes(vec![], None, None));
    for text in ["", "1", "1..2", "a.b", "1.2.", "1.-2"] {
        assert!(Policy::read(text).is_err(), "{text}");
    }
}

#[test]
fn a_key_on_another_curve_is_refused() {
    let random = aws_lc_rs::rand::SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, pkcs8.as_ref()).unwrap();
    let info = |curve: &str, point: &[u8]| {
        sequence(&[
            sequence(&[oid("1.2.840.10045.2.1"), oid(curve)]),
            tlv(3, &[&[0], point].concat()),
        ])
    };
    let p384 = info("1.3.132.0.34", pair.public_key().as_ref());
    let named_wrong = info("1.2.840.10045.3.1.7", pair.public_key().as_ref());
    let off_curve = info("1.2.840.10045.3.1.7", &[&[4], &[7; 64][..]].concat());
    for info in [p384, named_wrong, off_curve] {
        assert_eq!(
            judge_chain(
                &Certificate::authority(),
                &Certificate {
                    info: Some(info),
                    ..Certificate::provider()
                }
            ),
            Reason::Certificate
        );
    }
}

#[test]
fn certificates_that_do_not_lead_to_a_root_are_refused() {
    let world = World::new();
    let text = |der: &[u8]| pem("CERTIFICATE", der);
    let provider = text(&Certificate::provider().issue(&world.provider, &world.authority));
    let authority = text(&Certificate::authority().issue(&world.authority, &world.root));
    // Two authorities that issue each other, and none above them.
    let (a, b) = (Key::new(), Key::new());
    let ring = [
        text(
            &Certificate {
                issuer: "A",
                ..Certificate::provider()
            }
            .issue(&world.provider, &a),
        ),
        text(
            &Certificate {
                subject: "A",
                issuer: "B",
                ..Certificate::authority()
            }
            .issue(&a, &b),
        ),
        text(
            &Certificate {
                subject: "B",
                issuer: "A",
                ..Certificate::authority()
            }
            .issue(&b, &a),
        ),
        text(
            &Certificate {
                subject: "A",
                issuer: "A",
                ..Certificate::authority()
            }
            .issue(&a, &a),
        ),
    ];
    // A provider's certificate that issues another; more below an authority than it may have.
    let leaf = Key::new();
    let under_leaf = text(
        &Certificate {
            issuer: "SHAKEN 709J",
            ..Certificate::provider()
        }
        .issue(&world.provider, &leaf),
    );
    let as_authority = text(&Certificate::provider().issue(&leaf, &world.authority));
    let short = text(
        &Certificate {
            authority: Some(0),
            ..Certificate::authority()
        }
        .issue(&world.authority, &world.root),
    );
    let below = text(
        &Certificate {
            subject: "Below",
            issuer: "Test Authority",
            ..Certificate::authority()
        }
        .issue(&a, &world.authority),
    );
    let under_below = text(
        &Certificate {
            issuer: "Below",
            ..Certificate::provider()
        }
        .issue(&world.provider, &a),
    );
    // A root of one's own with the name of the right one.
    let rogue = text(&Certificate::root().issue(&b, &b));
    let rogue_authority = text(&Certificate::authority().issue(&world.authority, &b));
    let long: String = std::iter::once(provider.clone())
        .chain(std::iter::repeat_n(authority.clone(), 8))
        .collect();
    for (what, bytes) in [
        ("nothing", String::new()),
        ("text", "hello".to_owned()),
        ("no certificate", pem("CERTIFICATE", b"AAAA")),
        ("a key", world.provider.pem()),
        (
            "no base64",
            "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n".to_owned(),
        ),
        ("no authority", provider.clone()),
        ("the authority first", authority.clone() + &provider),
        ("a ring", ring.concat()),
        (
            "a provider that issues",
            [under_leaf, as_authority, authority.clone()].concat(),
        ),
        (
            "too many below",
            [under_below.clone(), below.clone(), short].concat(),
        ),
        (
            "a rogue root",
            [provider.clone(), rogue_authority, rogue].concat(),
        ),
        ("too many", long),
        ("too long", "x".repeat(64 * 1024) + &provider + &authority),
    ] {
        let mut world = World {
            found: Default::default(),
            root_pem: world.root_pem.clone(),
            root: Key::new(),
            authority: Key::new(),
            provider: Key::new(),
        };
        world.found.insert(X5U.into(), bytes.into_bytes());
        let verdict = world.judge(&[&world.identity()]);
        assert_eq!(
            (failed(&verdict), verdict.sip()),
            (Reason::Certificate, Some(437)),
            "{what}"
        );
    }
    // What would pass, so that the above fails for the reason it should.
    let mut world = world;
    world.found.insert(
        X5U.into(),
        [under_below, below, authority].concat().into_bytes(),
    );
    assert!(world.judge(&[&world.identity()]).attest().is_some());
}

#[test]
fn the_certificates_of_the_vectors_that_no_vector_uses_are_refused_too() {
    let file: serde_json::Value =
        serde_json::from_str(include_str!("vectors/passport.json")).unwrap();
    let roots = countersign_stir::Roots::read(file["root_pem"].as_str().unwrap()).unwrap();
    for name in [
        "p384",
        "leaf-as-ca",
        "sp-no-intermediate",
        "rogue",
        "expired",
    ] {
        let mut world = World::new();
        let bytes = file["certificates"][format!("https://certs.example.org/{name}.pem")]
            .as_str()
            .unwrap();
        world.found.insert(X5U.into(), bytes.into());
        let verifier = Verifier::new(Settings::new(roots.clone()));
        assert_eq!(
            failed(&world.ask(&verifier, &[&world.identity()], NOW).0),
            Reason::Certificate,
            "{name}"
        );
    }
}

#[test]
fn a_certificate_that_cannot_be_had_is_no_reason_to_pass() {
    let mut world = World::new();
    world.found.clear();
    let verdict = world.judge(&[&world.identity()]);
    assert_eq!(
        (failed(&verdict), verdict.sip()),
        (Reason::Fetch, Some(436))
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
