//! How many PASSporTs one core verifies in a second when the certificate is known, beside the bare
//! ES256 verification of the same message by the same library.

use std::time::{Duration, Instant};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use countersign_stir::{Call, Roots, Settings, Step, Unfetched, Verdict, Verifier};
use serde_json::{Value, json};
use x509_parser::pem::parse_x509_pem;

use crate::Fail;

/// So many in a row before the other has its turn: both then see the same machine.
const BATCH: u32 = 500;

/// Times both in turns, for `length` together.
pub fn measure(length: Duration) -> Result<Value, Fail> {
    let file: Value = serde_json::from_str(include_str!("../../crates/stir/tests/vectors/passport.json"))?;
    let text = |pointer: &str| file.pointer(pointer).and_then(Value::as_str).ok_or_else(|| format!("the vectors have no {pointer}"));
    let (identity, orig, dest) = (text("/vectors/0/identity/0")?, text("/vectors/0/orig")?, text("/vectors/0/dest")?);
    let now = file.pointer("/vectors/0/now").and_then(Value::as_u64).ok_or("the vector has no time")?;
    let certificate = text("/certificates/https:~1~1certs.example.org~1sp.pem")?;
    // The same call over and over: what was seen is therefore kept elsewhere.
    let roots = Roots::read(text("/root_pem")?).map_err(|e| format!("the root of the vectors: {e}"))?;
    let verifier = Verifier::new(Settings { replays: None, ..Settings::new(roots) });
    let call = Call { identity: &[identity], orig, dest, known: None };
    let verify = |found: Option<&str>| -> Verdict {
        let mut step = verifier.begin(&call, now);
        loop {
            match step {
                Step::Done(verdict) => return verdict,
                Step::Fetch(pending) => step = verifier.resume(pending, found.map(str::as_bytes).ok_or(Unfetched::Host), now),
            }
        }
    };
    verify(Some(certificate)).attest().ok_or("the vector's PASSporT does not verify")?;

    let (_, pem) = parse_x509_pem(certificate.as_bytes())?;
    let parsed = pem.parse_x509()?;
    let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &parsed.tbs_certificate.subject_pki.subject_public_key.data).map_err(|_| "the key of the vectors is none")?;
    let (message, signature) = identity.split(';').next().and_then(|token| token.rsplit_once('.')).ok_or("the vector's PASSporT has no signature")?;
    let signature = URL_SAFE_NO_PAD.decode(signature)?;

    let (mut whole, mut bare, mut count) = (Duration::ZERO, Duration::ZERO, 0.0);
    while whole + bare < length {
        let start = Instant::now();
        for _ in 0..BATCH {
            verify(None).attest().ok_or("a PASSporT does not verify any more")?;
        }
        whole += start.elapsed();
        let start = Instant::now();
        for _ in 0..BATCH {
            key.verify_sig(message.as_bytes(), &signature).map_err(|_| "a signature does not verify any more")?;
        }
        bare += start.elapsed();
        count += f64::from(BATCH);
    }
    Ok(json!({ "per_second": count / whole.as_secs_f64(), "es256_per_second": count / bare.as_secs_f64(), "share": bare.as_secs_f64() / whole.as_secs_f64() }))
}
