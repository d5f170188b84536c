//! Whole calls: what passes, what is displayed, what is kept, and what is said about the rest.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "in a test, what is not expected may end it"
)]

mod common;

use common::der::{Certificate, one, range};
use common::{DAY, DEST, NOW, ORIG, ORIGID, World, X5U, header, n, payload, pem, sign};
use countersign_stir::{
    Attest, Call, Diversion, Known, Original, Reason, Settings, Verdict, Verifier, Verstat,
};

fn reason(verdict: &Verdict) -> Reason {
    assert_ne!(verdict.attest().is_some(), verdict.reason().is_some());
    verdict.reason().unwrap()
}

#[test]
fn a_signed_call_passes_and_says_by_whom() {
    let world = World::new();
    let (verdict, fetched) = world.ask(&world.verifier(), &[&world.identity()], NOW);
    assert_eq!(verdict.verstat, Verstat::Passed(Attest::A));
    assert_eq!(
        (verdict.reason(), verdict.sip(), verdict.diverted),
        (None, None, false)
    );
    assert_eq!(verdict.orig, Some(n(ORIG)));
    assert_eq!(verdict.origid.as_deref(), Some(ORIGID));
    assert_eq!(fetched, [X5U]);
}

#[test]
fn a_certificate_alone_in_der_right_below_the_root_passes() {
    let mut world = World::new();
    let certificate = Certificate {
        issuer: "Test Root",
        ..Certificate::provider()
    };
    let der = certificate.issue(&world.provider, &world.root);
    world.found.insert(X5U.into(), der);
    assert_eq!(
        world.judge(&[&world.identity()]).verstat,
        Verstat::Passed(Attest::A)
    );
}

#[test]
fn a_checked_certificate_is_kept_for_its_time_and_judged_at_each_use() {
    let world = World::new();
    let verifier = Verifier::new(Settings {
        keep_seconds: 100,
        replays: None,
        ..world.settings()
    });
    let ask = |now: u64| {
        let dest = [n(DEST)];
        let call = Original {
            attest: Attest::B,
            orig: &n(ORIG),
            dest: &dest,
            iat: now,
            origid: ORIGID,
        };
        let (verdict, fetched) =
            world.ask(&verifier, &[&world.signer().original(&call).unwrap()], now);
        (verdict, fetched.len())
    };
    assert_eq!(ask(NOW).1, 1);
    assert_eq!(ask(NOW + 100).1, 0);
    assert_eq!(ask(NOW + 101).1, 1);
    // The clock was set back, to before the certificate.
    let (verdict, fetched) = ask(NOW - 11 * DAY);
    assert_eq!((reason(&verdict), fetched), (Reason::Certificate, 0));
    // Nothing is kept beyond the certificate's own end.
    let last = NOW + 10 * DAY;
    assert_eq!((ask(last).0.attest(), ask(last).1), (Some(Attest::B), 0));
    let (verdict, fetched) = ask(last + 1);
    assert_eq!((reason(&verdict), fetched), (Reason::Certificate, 1));
}

#[test]
fn without_room_for_certificates_calls_still_pass() {
    let world = World::new();
    let verifier = Verifier::new(Settings {
        certificates: 0,
        ..world.settings()
    });
    assert!(
        world
            .ask(&verifier, &[&world.identity()], NOW)
            .0
            .attest()
            .is_some()
    );
}

#[test]
fn of_two_attestations_the_weaker_counts_and_both_have_to_hold() {
    let world = World::new();
    let weaker = world.raw(
        "shaken",
        &header("shaken"),
        &payload().replace(r#""A""#, r#""C""#),
    );
    assert_eq!(
        world.judge(&[&world.identity(), &weaker]).attest(),
        Some(Attest::C)
    );
    assert_eq!(
        world.judge(&[&weaker, &world.identity()]).attest(),
        Some(Attest::C)
    );
    let stale = world.raw(
        "shaken",
        &header("shaken"),
        &payload().replace(&NOW.to_string(), &(NOW - 61).to_string()),
    );
    assert_eq!(
        reason(&world.judge(&[&world.identity(), &stale])),
        Reason::Stale
    );
    assert_eq!(
        reason(&world.judge(&[&world.identity(), "junk"])),
        Reason::Malformed
    );
}

#[test]
fn kinds_that_are_not_ours_change_nothing() {
    let world = World::new();
    let other = "?.?.?;info=<x>;ppt=rph";
    assert!(
        world
            .judge(&[other, &world.identity(), other])
            .attest()
            .is_some()
    );
    let verdict = world.judge(&[other]);
    assert_eq!((verdict.verstat, verdict.sip()), (Verstat::None, Some(428)));
    assert_eq!(world.judge(&[]).verstat, Verstat::None);
}

#[test]
fn freshness_is_a_minute_both_ways_and_inclusive() {
    let world = World::new();
    let identity = world.identity();
    for (now, fresh) in [
        (NOW + 60, true),
        (NOW - 60, true),
        (NOW + 61, false),
        (NOW - 61, false),
    ] {
        let (verdict, fetched) = world.ask(&world.verifier(), &[&identity], now);
        assert_eq!(verdict.attest().is_some(), fresh, "{now}");
        if !fresh {
            assert_eq!(
                (reason(&verdict), verdict.sip(), fetched.len()),
                (Reason::Stale, Some(403), 0)
            );
        }
    }
}

#[test]
fn the_same_token_passes_once() {
    let world = World::new();
    let (verifier, identity) = (world.verifier(), world.identity());
    assert!(world.ask(&verifier, &[&identity], NOW).0.attest().is_some());
    assert_eq!(
        reason(&world.ask(&verifier, &[&identity], NOW + 60).0),
        Reason::Replay
    );
    // Signed anew it is still the same call.
    assert_eq!(
        reason(&world.ask(&verifier, &[&world.identity()], NOW).0),
        Reason::Replay
    );
    // One that did not pass is not remembered.
    let verifier = world.verifier();
    let call = Call {
        identity: &[&identity],
        orig: "12025550199",
        dest: DEST,
        known: None,
    };
    assert_eq!(
        reason(&world.ask_about(&verifier, &call, NOW).0),
        Reason::OrigMismatch
    );
    assert!(world.ask(&verifier, &[&identity], NOW).0.attest().is_some());
}

#[test]
fn without_room_to_remember_nothing_passes() {
    let world = World::new();
    let verifier = Verifier::new(Settings {
        replays: Some(0),
        ..world.settings()
    });
    assert_eq!(
        reason(&world.ask(&verifier, &[&world.identity()], NOW).0),
        Reason::Replay
    );
}

#[test]
fn one_who_remembers_elsewhere_gets_the_key() {
    let world = World::new();
    let verifier = Verifier::new(Settings {
        replays: None,
        ..world.settings()
    });
    let ask = || world.ask(&verifier, &[&world.identity()], NOW).0;
    let (first, second) = (ask(), ask());
    assert_eq!((first.replay.len(), first.replay[0].until()), (1, NOW + 60));
    assert_eq!(first.replay, second.replay);
    assert_eq!(reason(&Verdict::replayed()), Reason::Replay);
}

#[test]
fn a_call_that_was_diverted_twice_passes() {
    let mut world = World::new();
    let signer = world.signer();
    let divert = |from: &str, to: &str| {
        let to = [n(to)];
        signer
            .diversion(&Diversion {
                orig: &n(ORIG),
                from: &n(from),
                to: &to,
                iat: NOW,
            })
            .unwrap()
    };
    let headers = [
        divert("12025550102", "12025550103"),
        world.identity(),
        divert(DEST, "12025550102"),
    ];
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let call = Call {
        identity: &headers,
        orig: ORIG,
        dest: "sip:+12025550103@example.com",
        known: None,
    };
    let (verdict, fetched) = world.ask_about(&world.verifier(), &call, NOW);
    assert_eq!(
        (verdict.attest(), verdict.diverted, fetched.len()),
        (Some(Attest::A), true, 1)
    );
    // Without the one between, without the first, and without what was diverted.
    for (kept, why) in [
        ([0, 1], Reason::Diversion),
        ([1, 2], Reason::DestMismatch),
        ([0, 2], Reason::Malformed),
    ] {
        let call = Call {
            identity: &kept.map(|at| headers[at]),
            ..call
        };
        assert_eq!(
            reason(&world.ask_about(&world.verifier(), &call, NOW).0),
            why,
            "{kept:?}"
        );
    }
    // Each diversion has to be fresh and signed too.
    world.found.clear();
    assert_eq!(
        reason(&world.ask_about(&world.verifier(), &call, NOW).0),
        Reason::Fetch
    );
}

#[test]
fn whoever_diverts_signs_for_the_number_diverted_from() {
    for (numbers, passes) in [
        (range(DEST, 2), true),
        (one(DEST), true),
        (one(ORIG), false),
    ] {
        let mut world = World::new();
        let key = common::Key::new();
        let certificate = Certificate {
            numbers: Some(numbers),
            ..Certificate::provider()
        };
        let x5u = "https://certs.example.org/delegate.pem";
        let chain = [
            certificate.issue(&key, &world.authority),
            Certificate::authority().issue(&world.authority, &world.root),
        ];
        world.found.insert(
            x5u.into(),
            chain
                .map(|der| pem("CERTIFICATE", &der))
                .concat()
                .into_bytes(),
        );
        let token = sign(
            &key,
            &header("div").replace(X5U, x5u),
            &format!(
                r#"{{"dest":{{"tn":["12025550102"]}},"div":{{"tn":"{DEST}","hi":"1"}},"iat":{NOW},"orig":{{"tn":"{ORIG}"}}}}"#
            ),
        );
        let diversion = format!("{token};info=<{x5u}>;alg=ES256;ppt=div");
        let call = Call {
            identity: &[&world.identity(), &diversion],
            orig: ORIG,
            dest: "12025550102",
            known: None,
        };
        let (verdict, fetched) = world.ask_about(&world.verifier(), &call, NOW);
        assert_eq!((verdict.attest().is_some(), fetched.len()), (passes, 2));
        if !passes {
            assert_eq!(reason(&verdict), Reason::Scope);
        }
    }
}

#[test]
fn a_delegate_signs_for_its_own_numbers_only() {
    for (above, numbers, passes) in [
        (None, range("12025550100", 2), true),
        (None, range("12025550101", 9), false),
        (None, one("12025550100"), true),
        (None, one("12025550109"), false),
        // What is delegated lies within what its issuer has.
        (
            Some(range("12025550100", 100)),
            range("12025550100", 2),
            true,
        ),
        (Some(one("12025550109")), range("12025550100", 2), false),
    ] {
        let authority = Certificate {
            numbers: above,
            ..Certificate::authority()
        };
        let world = World::new().with(
            &authority,
            &Certificate {
                numbers: Some(numbers),
                ..Certificate::provider()
            },
        );
        let verdict = world.judge(&[&world.identity()]);
        assert_eq!(verdict.attest().is_some(), passes);
        if !passes {
            assert_eq!(
                (reason(&verdict), verdict.sip()),
                (Reason::Scope, Some(437))
            );
        }
    }
}

fn rcd(world: &World, name: &str, orig: &str) -> String {
    let claims = format!(
        r#"{{"dest":{{"tn":["{DEST}"]}},"iat":{NOW},"orig":{{"tn":"{orig}"}},"crn":"Delivery","rcd":{{"nam":"{name}"}}}}"#
    );
    world.raw("rcd", &header("rcd"), &claims)
}

#[test]
fn what_a_caller_wants_displayed_is_handed_on_if_it_is_signed() {
    let world = World::new();
    let display = world
        .judge(&[&world.identity(), &rcd(&world, "Example Parcels", ORIG)])
        .display
        .unwrap();
    assert_eq!(display.name.untrusted(), "Example Parcels");
    assert_eq!(display.reason.unwrap().untrusted(), "Delivery");
    // Within the token that attests.
    let claims = payload().replacen('{', r#"{"rcd":{"nam":"Example Bank"},"#, 1);
    let display = world
        .judge(&[&world.raw("shaken", &header("shaken"), &claims)])
        .display
        .unwrap();
    assert_eq!(display.name.untrusted(), "Example Bank");
}

#[test]
fn a_display_that_does_not_hold_is_left_out_and_the_call_passes() {
    let world = World::new();
    let good = rcd(&world, "Example Parcels", ORIG);
    let wrong = [
        good.replacen('.', ".e30", 1),
        good.replacen(";info", "A;info", 1),
        good.replace(X5U, "https://127.0.0.1/sp.pem"),
        good.replace(X5U, "https://certs.example.org/absent.pem"),
        rcd(&world, "Example Parcels", "12025550199"),
        format!(
            "{};info=<{X5U}>;alg=ES256;ppt=rcd",
            sign(&common::Key::new(), &header("rcd"), &payload())
        ),
    ];
    for header in wrong {
        let verdict = world.judge(&[&header, &world.identity()]);
        assert!(
            verdict.attest().is_some() && verdict.display.is_none(),
            "{header}"
        );
    }
    // Alone it attests to nothing, and nothing is fetched for it.
    let (verdict, fetched) = world.ask(&world.verifier(), &[&good], NOW);
    assert_eq!((verdict.verstat, fetched.len()), (Verstat::None, 0));
}

#[test]
fn the_compact_form_is_rebuilt_from_what_the_network_says() {
    let world = World::new();
    let full = world.identity();
    let (token, parameters) = full.split_once(';').unwrap();
    let compact = format!("..{};{parameters}", token.rsplit('.').next().unwrap());
    let known = Known {
        iat: NOW,
        attest: Attest::A,
        origid: ORIGID.into(),
    };
    let ask = |known: Option<&Known>, dest: &str| {
        let call = Call {
            identity: &[&compact],
            orig: "+1 202 555 0100",
            dest,
            known,
        };
        world.ask_about(&world.verifier(), &call, NOW).0
    };
    assert_eq!(ask(Some(&known), DEST).attest(), Some(Attest::A));
    assert_eq!(reason(&ask(None, DEST)), Reason::Malformed);
    assert_eq!(reason(&ask(Some(&known), "12025550102")), Reason::Signature);
    assert_eq!(
        reason(&ask(
            Some(&Known {
                attest: Attest::B,
                ..known.clone()
            }),
            DEST
        )),
        Reason::Signature
    );
    assert_eq!(
        reason(&ask(
            Some(&Known {
                origid: "\"".into(),
                ..known.clone()
            }),
            DEST
        )),
        Reason::Malformed
    );
    assert_eq!(
        reason(&ask(
            Some(&Known {
                iat: NOW - 61,
                ..known
            }),
            DEST
        )),
        Reason::Stale
    );
}

#[test]
fn nothing_that_is_logged_shows_a_number() {
    let world = World::new();
    let identity = world.identity();
    let call = Call {
        identity: &[&identity],
        orig: ORIG,
        dest: DEST,
        known: None,
    };
    let verdict = world.ask_about(&world.verifier(), &call, NOW).0;
    let dest = [n(DEST)];
    let original = Original {
        attest: Attest::A,
        orig: &n(ORIG),
        dest: &dest,
        iat: NOW,
        origid: ORIGID,
    };
    let step = world.verifier().begin(&call, NOW);
    let shown = format!(
        "{verdict:?}{call:?}{original:?}{step:?}{:?}{:?}{:?}",
        world.verifier(),
        world.signer(),
        verdict.replay
    );
    assert!(!shown.contains("5550"), "{shown}");
}
