//! Against other implementations: secsipidx (Go), and Python's `cryptography` with PyJWT. What they sign
//! passes here, what is signed here passes there, and neither takes what was changed.
//!
//! Where they are missing the tests say so and are skipped, except in CI.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "in a test, what is not expected may end it"
)]

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use common::der::Certificate;
use common::programs::{Folder, changed, missing, run};
use common::{DEST, Key, NOW, ORIG, ORIGID, World, X5U, n, pem};
use countersign_stir::{
    Address, Attest, Call, Diversion, ListIssuers, Original, Reason, Roots, Settings, Signer, Step,
    Unfetched, Verdict, Verifier, is_special,
};

#[test]
fn what_secsipidx_signs_passes_here() {
    if run("secsipidx", &["-version"]).is_none() {
        return missing("secsipidx");
    }
    let folder = Folder::new("secsipidx-signs");
    let mut world = World::new();
    let key = folder.put("key.pem", world.provider.pem());
    for attest in ["A", "B", "C"] {
        let signed = run(
            "secsipidx",
            &[
                "-sign-full",
                "-orig-tn",
                ORIG,
                "-dest-tn",
                DEST,
                "-attest",
                attest,
                "-orig-id",
                ORIGID,
                "-x5u",
                X5U,
                "-k",
                &key,
            ],
        )
        .unwrap();
        let identity = String::from_utf8(signed.stdout).unwrap();
        let identity = identity.trim();
        // It takes the time from the clock, so certificates are made for that time.
        let payload = URL_SAFE_NO_PAD
            .decode(identity.split('.').nth(1).unwrap())
            .unwrap();
        let iat = serde_json::from_slice::<serde_json::Value>(&payload).unwrap()["iat"]
            .as_u64()
            .unwrap();
        let around = |certificate: Certificate| Certificate {
            from: iat - 1000,
            until: iat + 1000,
            ..certificate
        };
        world.root_pem = pem(
            "CERTIFICATE",
            &around(Certificate::root()).issue(&world.root, &world.root),
        );
        world = world.with(
            &around(Certificate::authority()),
            &around(Certificate::provider()),
        );
        let (verdict, _) = world.ask(&world.verifier(), &[identity], iat);
        assert_eq!(
            verdict.attest().map(Attest::as_str),
            Some(attest),
            "{verdict:?}"
        );
        assert_eq!(verdict.origid.as_deref(), Some(ORIGID));
        for changed in changed(identity) {
            assert!(
                world
                    .ask(&world.verifier(), &[&changed], iat)
                    .0
                    .attest()
                    .is_none()
            );
        }
    }
}

#[test]
fn what_is_signed_here_passes_secsipidx() {
    if run("secsipidx", &["-version"]).is_none() {
        return missing("secsipidx");
    }
    let folder = Folder::new("secsipidx-checks");
    let world = World::new();
    let key = folder.put("public.pem", pem("PUBLIC KEY", &world.provider.info()));
    let other = folder.put("other.pem", pem("PUBLIC KEY", &Key::new().info()));
    let check = |identity: &str, key: &str| {
        let identity = folder.put("identity", identity);
        run(
            "secsipidx",
            &[
                "-check",
                "-fidentity",
                &identity,
                "-fpubkey",
                key,
                "-expire",
                "4000000000",
            ],
        )
        .unwrap()
        .status
        .success()
    };
    let identity = world.identity();
    assert!(check(&identity, &key));
    assert!(!check(&identity, &other));
    for changed in changed(&identity) {
        assert!(!check(&changed, &key), "{changed}");
    }
}

/// A Python that has both packages.
fn python() -> Option<String> {
    let named = std::env::var("PYTHON").ok();
    let mut candidates = named
        .iter()
        .map(String::as_str)
        .chain(["python3", "/usr/bin/python3"]);
    candidates
        .find(|program| {
            run(program, &["-c", "import cryptography, jwt"])
                .is_some_and(|output| output.status.success())
        })
        .map(str::to_owned)
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle.py")
}

/// What the script prints.
fn ask_python(python: &str, arguments: &[&str]) -> serde_json::Value {
    let script = script();
    let mut all = vec![script.to_str().unwrap()];
    all.extend(arguments);
    let output = run(python, &all).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn what_python_signs_and_issues_is_judged_here_as_it_says() {
    let Some(python) = python() else {
        return missing("Python with cryptography and jwt (python3-cryptography, python3-jwt)");
    };
    let made = ask_python(&python, &["make", &NOW.to_string()]);
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let list_issuers = ListIssuers::read(&text(&made["list_issuer"])).unwrap();
    let settings = Settings {
        list_issuers,
        ..Settings::new(Roots::read(&text(&made["root"])).unwrap())
    };
    let cases = made["cases"].as_array().unwrap();
    assert!(cases.len() >= 8);
    for case in cases {
        let verifier = Verifier::new(settings.clone());
        let headers: Vec<&str> = case["identity"]
            .as_array()
            .unwrap()
            .iter()
            .map(|header| header.as_str().unwrap())
            .collect();
        let (orig, dest) = (text(&case["orig"]), text(&case["dest"]));
        let mut step = verifier.begin(
            &Call {
                identity: &headers,
                orig: &orig,
                dest: &dest,
                known: None,
            },
            NOW,
        );
        let verdict: Verdict = loop {
            match step {
                Step::Done(verdict) => break verdict,
                Step::Fetch(pending) => {
                    let found = case["found"][pending.want().address.as_str()]
                        .as_str()
                        .map(str::as_bytes);
                    step = verifier.resume(pending, found.ok_or(Unfetched::Status), NOW);
                }
            }
        };
        let got = verdict
            .reason()
            .map_or_else(|| verdict.attest().unwrap().as_str(), Reason::as_str);
        assert_eq!(case["expect"], got, "{}: {verdict:?}", case["name"]);
    }
}

#[test]
fn what_is_signed_here_passes_pyjwt() {
    let Some(python) = python() else {
        return missing("Python with cryptography and jwt (python3-cryptography, python3-jwt)");
    };
    let folder = Folder::new("pyjwt");
    let world = World::new();
    let key = folder.put("public.pem", pem("PUBLIC KEY", &world.provider.info()));
    let dest = [n(DEST)];
    let to = [n("12025550102")];
    let signer = Signer::read(&world.provider.pem(), Address::read(X5U).unwrap()).unwrap();
    let original = signer
        .original(&Original {
            attest: Attest::B,
            orig: &n(ORIG),
            dest: &dest,
            iat: NOW,
            origid: ORIGID,
        })
        .unwrap();
    let diversion = signer
        .diversion(&Diversion {
            orig: &n(ORIG),
            from: &n(DEST),
            to: &to,
            iat: NOW,
        })
        .unwrap();
    let check = |identity: &str| {
        ask_python(
            &python,
            &["check", &key, identity.split(';').next().unwrap()],
        )
    };
    let header =
        |ppt: &str| serde_json::json!({"alg": "ES256", "ppt": ppt, "typ": "passport", "x5u": X5U});
    let claims = serde_json::json!({"attest": "B", "dest": {"tn": [DEST]}, "iat": NOW, "orig": {"tn": ORIG}, "origid": ORIGID});
    assert_eq!(
        check(&original),
        serde_json::json!({"header": header("shaken"), "claims": claims})
    );
    let claims = serde_json::json!({"dest": {"tn": ["12025550102"]}, "div": {"tn": DEST}, "iat": NOW, "orig": {"tn": ORIG}});
    assert_eq!(
        check(&diversion),
        serde_json::json!({"header": header("div"), "claims": claims})
    );
    for changed in changed(&original) {
        assert_eq!(check(&changed), serde_json::Value::Null);
    }
}

/// Python's `ipaddress` reads the same registries. What it says is not global is special here; the other
/// way round, more is special here, such as all that wraps an IPv4 address.
#[test]
fn no_address_that_python_calls_special_may_be_fetched_from() {
    let Some(python) = python() else {
        return missing("Python with cryptography and jwt (python3-cryptography, python3-jwt)");
    };
    let mut addresses: Vec<String> = Vec::new();
    for prefix in 0..=0xffff_u32 {
        for rest in [0, 0x0001, 0x0200, 0x0201, 0x6301, 0x6407, 0x7101, 0xffff] {
            if rest == 0 || [192, 198, 203].contains(&(prefix >> 8)) {
                addresses.push(Ipv4Addr::from(prefix << 16 | rest).to_string());
            }
        }
        let short = u16::try_from(prefix).unwrap();
        addresses.push(Ipv6Addr::new(short, 0, 0, 0, 0, 0, 0, 1).to_string());
        addresses.push(Ipv6Addr::new(0x2001, short, 0, 0, 0, 0, 0, 1).to_string());
        addresses.push(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, short, 1).to_string());
    }
    let folder = Folder::new("special");
    let file = folder.put("addresses", addresses.join("\n"));
    let special = ask_python(&python, &["special", &file]);
    let special = special.as_array().unwrap();
    assert!(special.len() > 1000);
    for text in special {
        let address: IpAddr = text.as_str().unwrap().parse().unwrap();
        assert!(is_special(address), "{address}");
    }
}
