//! What holds whatever comes in.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "in a test, what is not expected may end it"
)]

mod common;

use std::sync::LazyLock;

use common::der::{Certificate, List};
use common::{DEST, Key, NOW, ORIG, ORIGID, World, X5U, n, pem};
use countersign_stir::{
    Address, Attest, Call, Diversion, Known, ListIssuers, Number, Original, Policy, ReplayCache,
    Roots, Seen, Settings, Signer, Step, TnAuthList, Unfetched, Verdict, Verifier, Verstat,
    is_special, vectors,
};
use proptest::prelude::*;

/// One world for all, with a list, since keys take time to make.
static WORLD: LazyLock<(World, Key)> = LazyLock::new(|| {
    (
        World::new().with(
            &Certificate::authority().listed(),
            &Certificate::provider().listed(),
        ),
        Key::new(),
    )
});

fn settings() -> Settings {
    let (world, lists) = &*WORLD;
    let issuer = Certificate {
        subject: "Test STI-PA",
        usage: Some(0x02),
        ..Certificate::root()
    }
    .issue(lists, &world.root);
    let list_issuers = ListIssuers::read(&pem("CERTIFICATE", &issuer)).unwrap();
    Settings {
        list_issuers,
        ..world.settings()
    }
}

/// Goes through a verification in which every certificate and list is as given.
fn go(call: &Call<'_>, certificate: &[u8], list: &[u8]) -> Verdict {
    let verifier = Verifier::new(settings());
    let mut step = verifier.begin(call, NOW);
    for _ in 0..9 {
        match step {
            Step::Done(verdict) => return verdict,
            Step::Fetch(pending) => {
                let address = Address::read(pending.want().address.as_str());
                assert_eq!(
                    address.as_ref(),
                    Ok(&pending.want().address),
                    "only what may be fetched is asked for"
                );
                let answer = match pending.want().what {
                    countersign_stir::What::Certificate => certificate,
                    countersign_stir::What::List => list,
                };
                step = verifier.resume(pending, Ok(answer), NOW);
            }
        }
    }
    panic!("there is no end to it");
}

fn call<'a>(identity: &'a [&'a str]) -> Call<'a> {
    Call {
        identity,
        orig: ORIG,
        dest: DEST,
        known: None,
    }
}

/// Bytes with some changed, cut out or put in.
fn mutate(bytes: &[u8], changes: &[(prop::sample::Index, u8, u8)]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (at, how, byte) in changes {
        if bytes.is_empty() {
            break;
        }
        let at = at.index(bytes.len());
        match how % 4 {
            0 => bytes[at] = *byte,
            1 => bytes[at] ^= 1 << (byte % 8),
            2 => bytes.insert(at, *byte),
            _ => drop(bytes.remove(at)),
        }
    }
    bytes
}

fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8, u8)>> {
    prop::collection::vec(any::<(prop::sample::Index, u8, u8)>(), 1..6)
}

fn number() -> impl Strategy<Value = Number> {
    "[0-9#*]{0,8}[0-9][0-9]{0,6}".prop_map(|text| n(&text))
}

fn attest() -> impl Strategy<Value = Attest> {
    prop::sample::select(vec![Attest::A, Attest::B, Attest::C])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn no_header_makes_it_panic_or_pass(headers in prop::collection::vec(any::<String>(), 0..4), orig in any::<String>(), dest in any::<String>()) {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let known = Known { iat: NOW, attest: Attest::A, origid: ORIGID.into() };
        let call = Call { identity: &headers, orig: &orig, dest: &dest, known: Some(&known) };
        prop_assert!(go(&call, &[], &[]).attest().is_none());
    }

    #[test]
    fn no_parts_in_the_shape_of_a_token_make_it_panic_or_pass(a in any::<Vec<u8>>(), b in any::<Vec<u8>>(), c in any::<Vec<u8>>(), ppt in "shaken|div|rcd") {
        use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
        let [a, b, c] = [a, b, c].map(|part| URL_SAFE_NO_PAD.encode(part));
        let header = format!("{a}.{b}.{c};info=<{X5U}>;ppt={ppt}");
        prop_assert!(go(&call(&[&header]), &[], &[]).attest().is_none());
    }

    #[test]
    fn a_header_that_was_changed_makes_no_panic(changes in changes()) {
        let identity = WORLD.0.identity();
        let changed = String::from_utf8_lossy(&mutate(identity.as_bytes(), &changes)).into_owned();
        go(&call(&[&changed]), &WORLD.0.found[X5U], &List::new().issue(&WORLD.1));
    }

    #[test]
    fn one_flipped_bit_in_a_token_makes_it_fail(at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let identity = WORLD.0.identity();
        let end = identity.find(';').unwrap();
        let mut bytes = identity.clone().into_bytes();
        bytes[at.index(end)] ^= 1 << bit;
        let changed = String::from_utf8_lossy(&bytes).into_owned();
        let list = List::new().issue(&WORLD.1);
        prop_assert!(go(&call(&[&changed]), &WORLD.0.found[X5U], &list).attest().is_none());
        prop_assert!(go(&call(&[&identity]), &WORLD.0.found[X5U], &list).attest().is_some());
    }

    #[test]
    fn no_bytes_in_place_of_a_certificate_make_it_panic_or_pass(bytes in any::<Vec<u8>>(), changes in changes(), kind in 0..3u8) {
        let identity = WORLD.0.identity();
        let chain = &WORLD.0.found[X5U];
        let list = List::new().issue(&WORLD.1);
        let bytes = match kind {
            0 => bytes,
            1 => [&b"-----BEGIN CERTIFICATE-----\n"[..], &bytes, b"\n-----END CERTIFICATE-----\n"].concat(),
            _ => mutate(&Certificate { issuer: "Test Root", ..Certificate::provider() }.issue(&WORLD.0.provider, &WORLD.0.root), &changes),
        };
        if kind < 2 {
            prop_assert!(go(&call(&[&identity]), &bytes, &list).attest().is_none());
        } else {
            go(&call(&[&identity]), &bytes, &list);
        }
        go(&call(&[&identity]), &mutate(chain, &changes), &list);
    }

    #[test]
    fn no_bytes_in_place_of_a_list_make_it_panic_or_pass(bytes in any::<Vec<u8>>(), changes in changes()) {
        let identity = WORLD.0.identity();
        let chain = &WORLD.0.found[X5U];
        let list = List { entries: vec![(3, Some("Test Authority")), (9, None)], ..List::new() }.issue(&WORLD.1);
        prop_assert!(go(&call(&[&identity]), chain, &bytes).attest().is_none());
        prop_assert!(go(&call(&[&identity]), chain, &mutate(&list, &changes)).attest().is_none());
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in any::<String>(), bytes in any::<Vec<u8>>()) {
        let _ = (Number::read(&text), Number::canonical(&text), Address::read(&text), Policy::read(&text), TnAuthList::read(&bytes));
        let _ = (Roots::read(&text).is_ok(), ListIssuers::read(&text).is_ok(), vectors::check(&text).is_ok());
        let _ = Signer::read(&text, Address::read(X5U).unwrap());
        let _ = Address::read(&format!("https://{text}/"));
    }

    #[test]
    fn what_is_read_as_an_address_names_no_special_one(a in any::<u32>(), b in any::<u128>()) {
        let four = std::net::Ipv4Addr::from(a);
        let address = format!("https://{four}/x");
        prop_assert_eq!(Address::read(&address).is_ok(), !is_special(four.into()));
        let six = std::net::Ipv6Addr::from(b);
        let address = format!("https://[{six}]/x");
        prop_assert_eq!(Address::read(&address).is_ok(), !is_special(six.into()));
        // The same as one number, which some resolvers take for it.
        for other in [format!("{a}"), format!("{a:#x}"), format!("0{a:o}"), format!("{:#x}.{}", a >> 24, a & 0xff_ffff)] {
            let address = format!("https://{other}/x");
            prop_assert!(Address::read(&address).is_err());
        }
    }

    #[test]
    fn numbers_that_were_read_are_canonical(text in "\\+?[0-9 ().-]{1,20}") {
        if let Ok(number) = Number::read(&text) {
            prop_assert_eq!(Number::canonical(number.digits()), Ok(number.clone()));
            prop_assert_eq!(Number::read(number.digits()), Ok(number));
        }
    }

    #[test]
    fn what_is_signed_verifies_for_its_call_and_no_other(attest in attest(), orig in number(), dest in prop::collection::vec(number(), 1..4), other in number(), id in any::<u128>()) {
        let hex = format!("{id:032x}");
        let origid = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
        let identity = WORLD.0.signer().original(&Original { attest, orig: &orig, dest: &dest, iat: NOW, origid: &origid }).unwrap();
        let list = List::new().issue(&WORLD.1);
        let judge = |from: &Number, to: &Number| {
            let call = Call { identity: &[&identity], orig: from.digits(), dest: to.digits(), known: None };
            go(&call, &WORLD.0.found[X5U], &list)
        };
        for to in &dest {
            let verdict = judge(&orig, to);
            prop_assert_eq!(verdict.verstat, Verstat::Passed(attest));
            prop_assert_eq!(verdict.origid.as_deref(), Some(origid.as_str()));
        }
        prop_assert_eq!(judge(&orig, &other).attest().is_some(), dest.contains(&other));
        prop_assert_eq!(judge(&other, &dest[0]).attest().is_some(), orig == other);
    }

    #[test]
    fn diversions_that_are_signed_link_in_any_order(order in Just([0usize, 1, 2, 3]).prop_shuffle(), left_out in 0..4usize) {
        let (signer, numbers) = (WORLD.0.signer(), ["1", "2", "3", "4"].map(n));
        let mut headers = vec![signer.original(&Original { attest: Attest::A, orig: &n(ORIG), dest: &numbers[..1], iat: NOW, origid: ORIGID }).unwrap()];
        for pair in numbers.windows(2) {
            headers.push(signer.diversion(&Diversion { orig: &n(ORIG), from: &pair[0], to: &pair[1..], iat: NOW }).unwrap());
        }
        let list = List::new().issue(&WORLD.1);
        let judge = |headers: &[&str]| go(&Call { identity: headers, orig: ORIG, dest: "4", known: None }, &WORLD.0.found[X5U], &list);
        let shuffled: Vec<&str> = order.iter().map(|at| headers[*at].as_str()).collect();
        let verdict = judge(&shuffled);
        prop_assert!(verdict.attest().is_some() && verdict.diverted);
        let without: Vec<&str> = order.iter().filter(|at| **at != left_out).map(|at| headers[*at].as_str()).collect();
        prop_assert!(judge(&without).attest().is_none());
    }

    /// Against a plain list that never forgets: nothing that is fresh passes twice, and only a full cache
    /// refuses what is new.
    #[test]
    fn a_replay_is_seen(calls in prop::collection::vec((0..6u8, 0..3u64), 1..40), most in 1..8usize) {
        let cache = ReplayCache::new(most);
        let mut now = NOW;
        let mut seen = Vec::new();
        for (id, later) in calls {
            now += later * 20;
            let iat = now - now % 30;
            let key = key(id, iat);
            let fresh = seen.iter().filter(|(_, until): &&([u8; 32], u64)| *until >= now).count();
            let expected = if seen.iter().any(|(bytes, _)| bytes == key.bytes()) { Seen::Again } else if fresh >= most { Seen::Full } else { Seen::New };
            prop_assert_eq!(cache.see(key, now), expected);
            if expected == Seen::New {
                seen.push((*key.bytes(), key.until()));
            }
        }
    }
}

/// The key of a call, as a verdict gives it.
fn key(id: u8, iat: u64) -> countersign_stir::ReplayKey {
    let (world, _) = &*WORLD;
    let dest = [n(DEST)];
    let origid = format!("00000000-0000-0000-0000-0000000000{id:02x}");
    let identity = world
        .signer()
        .original(&Original {
            attest: Attest::A,
            orig: &n(ORIG),
            dest: &dest,
            iat,
            origid: &origid,
        })
        .unwrap();
    let verifier = Verifier::new(Settings {
        revocation: countersign_stir::Revocation::Ignored,
        replays: None,
        ..world.settings()
    });
    let mut step = verifier.begin(&call(&[&identity]), iat);
    loop {
        match step {
            Step::Done(verdict) => return verdict.replay[0],
            Step::Fetch(pending) => {
                step = verifier.resume(
                    pending,
                    world
                        .found
                        .get(X5U)
                        .map(Vec::as_slice)
                        .ok_or(Unfetched::Host),
                    iat,
                )
            }
        }
    }
}
