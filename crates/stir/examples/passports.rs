//! How many PASSporTs one core verifies in a second when the certificate is known, beside the bare
//! ES256 verification of the same message by the same library.
//!
//! `cargo run --release -p countersign-stir --example passports [ROUNDS]`

#![allow(
    clippy::unwrap_used,
    reason = "a measurement of what is built in: what is not expected may end it"
)]

use std::time::{Duration, Instant};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use countersign_stir::{Call, Roots, Settings, Step, Unfetched, Verdict, Verifier};
use x509_parser::pem::parse_x509_pem;

/// So many in a row before the other has its turn: both then see the same machine.
const BATCH: u32 = 500;

fn main() {
    let rounds: u32 = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(40);
    let file: serde_json::Value =
        serde_json::from_str(include_str!("../tests/vectors/passport.json")).unwrap();
    let text = |pointer: &str| {
        file.pointer(pointer)
            .and_then(serde_json::Value::as_str)
            .unwrap()
    };
    let (identity, orig, dest) = (
        text("/vectors/0/identity/0"),
        text("/vectors/0/orig"),
        text("/vectors/0/dest"),
    );
    let now = file
        .pointer("/vectors/0/now")
        .and_then(serde_json::Value::as_u64)
        .unwrap();
    let certificate = text("/certificates/https:~1~1certs.example.org~1sp.pem");

    // The same call over and over: what was seen is therefore kept elsewhere.
    let verifier = Verifier::new(Settings {
        replays: None,
        ..Settings::new(Roots::read(text("/root_pem")).unwrap())
    });
    let call = Call {
        identity: &[identity],
        orig,
        dest,
        known: None,
    };
    let verify = |found: Option<&str>| -> Verdict {
        let mut step = verifier.begin(&call, now);
        loop {
            match step {
                Step::Done(verdict) => return verdict,
                Step::Fetch(pending) => {
                    step = verifier.resume(
                        pending,
                        found.map(str::as_bytes).ok_or(Unfetched::Host),
                        now,
                    )
                }
            }
        }
    };
    assert!(verify(Some(certificate)).attest().is_some());

    let (_, pem) = parse_x509_pem(certificate.as_bytes()).unwrap();
    let key = &pem
        .parse_x509()
        .unwrap()
        .tbs_certificate
        .subject_pki
        .subject_public_key
        .data;
    let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).unwrap();
    let (message, signature) = identity
        .split(';')
        .next()
        .unwrap()
        .rsplit_once('.')
        .unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();

    let (mut whole, mut bare) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..rounds {
        let start = Instant::now();
        for _ in 0..BATCH {
            assert!(verify(None).attest().is_some());
        }
        whole += start.elapsed();
        let start = Instant::now();
        for _ in 0..BATCH {
            assert!(key.verify_sig(message.as_bytes(), &signature).is_ok());
        }
        bare += start.elapsed();
    }
    let rate = |time: Duration| f64::from(rounds * BATCH) / time.as_secs_f64();
    println!(
        "PASSporTs verified, certificate known  {:>8.0} /s",
        rate(whole)
    );
    println!(
        "ES256 alone, same message              {:>8.0} /s",
        rate(bare)
    );
    println!(
        "share                                  {:>8.1} %",
        100.0 * rate(whole) / rate(bare)
    );
}
