//! Certificates that must not sign calls: out of time, for something else, of somebody else.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "in a test, what is not expected may end it"
)]

mod common;

use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use common::der::{Certificate, SHAKEN, extension, oid, provider_code, sequence, tlv};
use common::{Key, NOW, World, X5U, failed, pem};
use countersign_stir::{Policy, Reason, Settings, Verifier};

/// The reason for which the provider's certificate is refused.
fn judge_chain(authority: &Certificate, provider: &Certificate) -> Reason {
    let world = World::new().with(authority, provider);
    failed(&world.judge(&[&world.identity()]))
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
fn a_root_that_was_renewed_with_its_key_counts_in_either_order() {
    let mut world = World::new();
    let old = Certificate {
        until: NOW - 1,
        ..Certificate::root()
    };
    let old = pem("CERTIFICATE", &old.issue(&world.root, &world.root));
    let new = world.root_pem.clone();
    for roots in [format!("{old}{new}"), format!("{new}{old}")] {
        world.root_pem = roots;
        assert!(world.judge(&[&world.identity()]).attest().is_some());
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
