//! Revocation lists: whose, of when, about whom.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "in a test, what is not expected may end it"
)]

mod common;

use common::der::{Certificate, List, extension, sequence, tlv};
use common::{DAY, DEST, Key, LIST, NOW, ORIG, ORIGID, World, X5U, n, pem};
use countersign_stir::{
    Attest, ListIssuers, Original, Reason, Revocation, Settings, Unusable, Verdict, Verifier,
};

/// A world whose certificates name a list, and the key of who signs it.
struct Listed {
    world: World,
    key: Key,
}

impl Listed {
    fn new() -> Self {
        let world = World::new().with(
            &Certificate::authority().listed(),
            &Certificate::provider().listed(),
        );
        let mut listed = Self {
            world,
            key: Key::new(),
        };
        listed.put(&List::new());
        listed
    }

    fn put(&mut self, list: &List) {
        self.world.found.insert(LIST.into(), list.issue(&self.key));
    }

    fn issuers(&self) -> ListIssuers {
        let certificate = Certificate {
            subject: "Test STI-PA",
            usage: Some(0x02),
            ..Certificate::root()
        };
        ListIssuers::read(&pem(
            "CERTIFICATE",
            &certificate.issue(&self.key, &self.world.root),
        ))
        .unwrap()
    }

    fn settings(&self) -> Settings {
        Settings {
            list_issuers: self.issuers(),
            ..self.world.settings()
        }
    }

    fn ask(&self) -> (Verdict, Vec<String>) {
        self.world.ask(
            &Verifier::new(self.settings()),
            &[&self.world.identity()],
            NOW,
        )
    }

    fn judge(&self, list: &List) -> Option<Reason> {
        let mut world = World {
            found: self.world.found.clone(),
            root_pem: self.world.root_pem.clone(),
            ..World::new()
        };
        world.found.insert(LIST.into(), list.issue(&self.key));
        world
            .ask(
                &Verifier::new(self.settings()),
                &[&self.world.identity()],
                NOW,
            )
            .0
            .reason()
    }
}

#[test]
fn a_list_is_fetched_once_for_the_whole_chain_and_kept() {
    let listed = Listed::new();
    let verifier = Verifier::new(Settings {
        replays: None,
        ..listed.settings()
    });
    let ask = || {
        listed
            .world
            .ask(&verifier, &[&listed.world.identity()], NOW)
    };
    assert_eq!(ask().1, [X5U, LIST]);
    let (verdict, fetched) = ask();
    assert!(verdict.attest().is_some() && fetched.is_empty());
}

#[test]
fn a_list_in_pem_is_read_too() {
    let mut listed = Listed::new();
    let text = pem("X509 CRL", &List::new().issue(&listed.key));
    listed.world.found.insert(LIST.into(), text.into_bytes());
    assert!(listed.ask().0.attest().is_some());
}

#[test]
fn a_certificate_on_the_list_is_refused_wherever_it_stands() {
    let listed = Listed::new();
    let list = |entries: &[(u8, Option<&'static str>)]| List {
        entries: entries.to_vec(),
        ..List::new()
    };
    for (entries, reason) in [
        (&[(3, Some("Test Authority"))][..], Some(Reason::Revoked)),
        (&[(2, Some("Test Root"))], Some(Reason::Revoked)),
        // The issuer stands until another is named.
        (
            &[(9, Some("Test Authority")), (3, None)],
            Some(Reason::Revoked),
        ),
        (
            &[(9, Some("Test Authority")), (3, Some("Other Authority"))],
            None,
        ),
        // Case and spaces make no other name.
        (&[(3, Some("TEST  authority "))], Some(Reason::Revoked)),
        // The same number of another issuer.
        (&[(3, Some("Test Root"))], None),
        (&[(3, None)], None),
        (&[(4, Some("Test Authority"))], None),
    ] {
        assert_eq!(listed.judge(&list(entries)), reason, "{entries:?}");
    }
}

#[test]
fn a_list_of_the_wrong_time_is_refused() {
    let listed = Listed::new();
    for list in [
        List {
            until: Some(NOW - 1),
            ..List::new()
        },
        List {
            from: NOW + 1,
            ..List::new()
        },
        List {
            until: None,
            ..List::new()
        },
    ] {
        assert_eq!(listed.judge(&list), Some(Reason::Revocation));
    }
}

#[test]
fn a_list_that_is_only_a_part_is_refused() {
    let listed = Listed::new();
    let point = |tag: u8, value: &[u8]| extension("2.5.29.28", true, &sequence(&[tlv(tag, value)]));
    for more in [
        point(0x81, &[0xff]),
        point(0x82, &[0xff]),
        point(0x83, &[1, 0x40]),
        point(0x85, &[0xff]),
        // Changes only (RFC 5280 §5.2.4), and what nobody knows.
        extension("2.5.29.27", true, &tlv(2, &[1])),
        extension("1.2.3.4", true, &[5, 0]),
    ] {
        assert_eq!(
            listed.judge(&List {
                more: vec![more.clone()],
                ..List::new()
            }),
            Some(Reason::Revocation),
            "{more:02x?}"
        );
    }
    assert_eq!(
        listed.judge(&List {
            more: vec![extension("1.2.3.4", false, &[5, 0])],
            ..List::new()
        }),
        None
    );
    assert_eq!(
        listed.judge(&List {
            more: Vec::new(),
            ..List::new()
        }),
        None
    );
}

#[test]
fn a_list_that_somebody_else_signed_is_refused() {
    let mut listed = Listed::new();
    // Another key under the right name, the right key under another name, a flipped bit, and nonsense.
    let good = List::new().issue(&listed.key);
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let mut inside = good.clone();
    let at = inside.len() / 3;
    inside[at] ^= 0x20;
    for bytes in [
        List::new().issue(&Key::new()),
        List {
            issuer: "Other",
            ..List::new()
        }
        .issue(&listed.key),
        flipped,
        inside,
        [good.clone(), vec![0]].concat(),
        good[..good.len() - 1].to_vec(),
        Vec::new(),
        b"hello".to_vec(),
        vec![0x30; 5 * 1024 * 1024],
    ] {
        listed.world.found.insert(LIST.into(), bytes);
        let verdict = listed.ask().0;
        assert_eq!(
            (verdict.reason(), verdict.sip()),
            (Some(Reason::Revocation), Some(437))
        );
    }
    // Nobody is configured who may.
    listed.put(&List::new());
    let verifier = Verifier::new(listed.world.settings());
    assert_eq!(
        listed
            .world
            .ask(&verifier, &[&listed.world.identity()], NOW)
            .0
            .reason(),
        Some(Reason::Revocation)
    );
}

#[test]
fn a_list_that_cannot_be_had_is_no_reason_to_pass() {
    let mut listed = Listed::new();
    listed.world.found.remove(LIST);
    let verdict = listed.ask().0;
    assert_eq!(
        (verdict.reason(), verdict.sip()),
        (Some(Reason::Fetch), Some(436))
    );
    let verifier = Verifier::new(Settings {
        revocation: Revocation::Ignored,
        ..listed.settings()
    });
    let (verdict, fetched) = listed
        .world
        .ask(&verifier, &[&listed.world.identity()], NOW);
    assert!(verdict.attest().is_some() && fetched == [X5U]);
}

#[test]
fn a_list_that_still_holds_is_used_while_no_newer_one_can_be_had() {
    let mut listed = Listed::new();
    let verifier = Verifier::new(Settings {
        keep_seconds: 100,
        replays: None,
        ..listed.settings()
    });
    let ask = |world: &World, now: u64| {
        let dest = [n(DEST)];
        let call = Original {
            attest: Attest::A,
            orig: &n(ORIG),
            dest: &dest,
            iat: now,
            origid: ORIGID,
        };
        let (verdict, fetched) =
            world.ask(&verifier, &[&world.signer().original(&call).unwrap()], now);
        (verdict.reason(), fetched.contains(&LIST.to_owned()))
    };
    assert_eq!(ask(&listed.world, NOW), (None, true));
    // The clock was set back, to before the list that is kept.
    assert_eq!(
        ask(&listed.world, NOW - 2 * DAY),
        (Some(Reason::Revocation), false)
    );
    listed.world.found.remove(LIST);
    assert_eq!(ask(&listed.world, NOW + 101), (None, true));
    assert_eq!(ask(&listed.world, NOW + DAY), (None, true));
    assert_eq!(
        ask(&listed.world, NOW + DAY + 1),
        (Some(Reason::Fetch), true)
    );
    // A newer one that names the certificate counts at once.
    listed.put(&List {
        until: Some(NOW + 2 * DAY),
        entries: vec![(3, Some("Test Authority"))],
        ..List::new()
    });
    assert_eq!(
        ask(&listed.world, NOW + DAY + 1),
        (Some(Reason::Revoked), true)
    );
}

#[test]
fn a_certificate_that_names_no_list_is_refused_where_one_is_required() {
    let listed = Listed::new();
    let plain = World::new();
    for (world, reason) in [(&listed.world, None), (&plain, Some(Reason::Certificate))] {
        let verifier = Verifier::new(Settings {
            revocation: Revocation::Required,
            list_issuers: listed.issuers(),
            ..world.settings()
        });
        assert_eq!(
            world.ask(&verifier, &[&world.identity()], NOW).0.reason(),
            reason
        );
    }
}

#[test]
fn a_list_at_an_address_that_must_not_be_fetched_is_not_asked_for() {
    for address in [
        "http://authenticate.example.org/list.crl",
        "https://10.0.0.1/list.crl",
        "ldap://example.org/list",
    ] {
        let world = World::new().with(
            &Certificate::authority(),
            &Certificate {
                list: Some(address),
                ..Certificate::provider()
            },
        );
        let (verdict, fetched) = world.ask(&world.verifier(), &[&world.identity()], NOW);
        assert_eq!(
            (verdict.reason(), fetched.as_slice()),
            (Some(Reason::Address), &[X5U.to_owned()][..])
        );
    }
}

#[test]
fn an_issuer_of_lists_has_a_key_for_that_and_is_used_in_its_time() {
    let listed = Listed::new();
    let root = &listed.world.root;
    let read = |certificate: Certificate| {
        ListIssuers::read(&pem("CERTIFICATE", &certificate.issue(&listed.key, root)))
    };
    assert!(matches!(
        read(Certificate {
            usage: Some(0x80),
            ..Certificate::root()
        }),
        Err(Unusable::Certificate(_))
    ));
    assert!(matches!(ListIssuers::read(""), Err(Unusable::Empty)));
    assert!(matches!(
        ListIssuers::read(&pem("CERTIFICATE", b"x")),
        Err(Unusable::Certificate(_))
    ));
    let old = read(Certificate {
        subject: "Test STI-PA",
        until: NOW - 1,
        ..Certificate::root()
    })
    .unwrap();
    let verifier = Verifier::new(Settings {
        list_issuers: old,
        ..listed.world.settings()
    });
    assert_eq!(
        listed
            .world
            .ask(&verifier, &[&listed.world.identity()], NOW)
            .0
            .reason(),
        Some(Reason::Revocation)
    );
}
