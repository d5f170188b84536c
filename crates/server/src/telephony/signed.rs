//! Signatures with a time: `t=<unix seconds>,v1=<hex of HMAC-SHA256(secret, "<t>." + body)>`.
//!
//! jambonz signs so, and so do we where a scheme is ours to choose. A signature is good for five
//! minutes; what is repeated within them is known by its call and step, and changes nothing.

use axum::http::HeaderMap;
use countersign_core::{secret::Secret, time::Timestamp};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

/// Our own header.
pub const HEADER: &str = "countersign-signature";
/// How old a signature may be, in seconds.
pub const WINDOW: i64 = 300;
/// How far the sender's clock may be ahead of ours, in seconds.
pub const AHEAD: i64 = 30;
/// Fewest characters of a secret.
pub const SECRET_LENGTH: usize = 16;
/// Most signatures in one header: a sender changes its secret by signing with both.
const MOST: usize = 4;

/// Why a request is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// No signature, two headers, or something else in its place.
    #[error("the request has no signature that can be read: t=<unix seconds>,v1=<64 hexadecimal digits>, in one header")]
    Malformed,
    /// Another secret, or another body.
    #[error("the signature does not fit: is the secret the same on both sides, and is the body passed on byte for byte?")]
    Wrong,
    /// Made too long ago.
    #[error("the signature is older than five minutes: look at both clocks, and sign each request when it is sent")]
    Stale,
    /// Made later than now.
    #[error("the signature is from the future: look at both clocks")]
    Future,
}

/// Checks the signature in a header of a request.
///
/// # Errors
/// See [`Unsigned`]. An empty secret signs nothing.
pub fn check(secret: &Secret, name: &str, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<(), Unsigned> {
    let mut all = headers.get_all(name).iter();
    match (all.next().and_then(|value| value.to_str().ok()), all.next()) {
        (Some(header), None) => verify(secret, header, body, now),
        _ => Err(Unsigned::Malformed),
    }
}

/// The same for the header's value.
///
/// # Errors
/// See [`Unsigned`].
pub fn verify(secret: &Secret, header: &str, body: &[u8], now: Timestamp) -> Result<(), Unsigned> {
    let (mut time, mut given) = (None, Vec::new());
    for part in header.split(',') {
        match part.split_once('=') {
            Some(("t", t)) if time.is_none() && (1..=12).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit()) => time = Some(t),
            Some(("v1", signature)) if given.len() < MOST => given.push(hex::decode(signature).map_err(|_| Unsigned::Malformed)?),
            // A scheme that may come one day; twice the time is none.
            Some((scheme, _)) if !matches!(scheme, "t" | "v1") => {}
            _ => return Err(Unsigned::Malformed),
        }
    }
    let text = time.filter(|_| !given.is_empty()).ok_or(Unsigned::Malformed)?;
    let at: i64 = text.parse().map_err(|_| Unsigned::Malformed)?;
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else { return Err(Unsigned::Wrong) };
    mac.update(text.as_bytes());
    mac.update(b".");
    mac.update(body);
    let right = mac.finalize().into_bytes();
    let fits = given.iter().fold(Choice::from(0), |found, signature| found | right.as_slice().ct_eq(signature));
    if secret.is_empty() || !bool::from(fits) {
        return Err(Unsigned::Wrong);
    }
    let age = now.unix() - at;
    match age {
        _ if age > WINDOW => Err(Unsigned::Stale),
        _ if age < -AHEAD => Err(Unsigned::Future),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::http::signature;

    const NOW: Timestamp = Timestamp(1_780_308_000_000);
    const BODY: &[u8] = br#"{"a":1}"#;

    fn secret() -> Secret { Secret::new("a secret of these tests") }

    fn at(seconds: i64) -> String { signature(&secret(), Timestamp(NOW.0 + seconds * 1000), BODY).unwrap() }

    #[test]
    fn a_known_signature_holds() {
        // From Python: hmac.new(b"secret", b'1780308000.{"a":1}', "sha256").
        let header = "t=1780308000,v1=97452baab61cb61c5671b49b9fab193d480e777226f1a2cdda1f9b6aa4f14b6d";
        assert_eq!(verify(&Secret::new("secret"), header, BODY, NOW), Ok(()));
    }

    #[test]
    fn a_signature_has_its_time() {
        for fine in [0, -1, -WINDOW, AHEAD] {
            assert_eq!(verify(&secret(), &at(fine), BODY, NOW), Ok(()), "{fine}");
        }
        assert_eq!(verify(&secret(), &at(-WINDOW - 1), BODY, NOW), Err(Unsigned::Stale));
        assert_eq!(verify(&secret(), &at(AHEAD + 1), BODY, NOW), Err(Unsigned::Future));
        // The time is signed: nobody makes an old one young.
        let (_, v1) = at(-WINDOW - 1).split_once(',').map(|(t, v)| (t.to_owned(), v.to_owned())).unwrap();
        assert_eq!(verify(&secret(), &format!("t={},{v1}", NOW.unix()), BODY, NOW), Err(Unsigned::Wrong));
    }

    #[test]
    fn anything_changed_is_refused() {
        let right = at(0);
        assert_eq!(verify(&secret(), &right, br#"{"a":2}"#, NOW), Err(Unsigned::Wrong));
        assert_eq!(verify(&Secret::new("another"), &right, BODY, NOW), Err(Unsigned::Wrong));
        let short = &right[..right.len() - 2];
        assert_eq!(verify(&secret(), short, BODY, NOW), Err(Unsigned::Wrong));
        let empty = signature(&Secret::default(), NOW, BODY).unwrap();
        assert_eq!(verify(&Secret::default(), &empty, BODY, NOW), Err(Unsigned::Wrong));
        let v1 = right.split_once(',').unwrap().1;
        let t = NOW.unix();
        for bad in [
            String::new(), "x".into(), format!("t={t}"), v1.into(), format!("t={t},t={t},{v1}"), format!("t=+{t},{v1}"), format!("t= {t},{v1}"),
            format!("t={t},v1=zz,{v1}"), format!("t={t},{v1}g"), format!("t={t};{v1}"), format!("t=,{v1}"), format!("t=-1,{v1}"),
            format!("t=99999999999999999999,{v1}"), format!("t={t},{v1},{v1},{v1},{v1},{v1}"),
        ] {
            assert_eq!(verify(&secret(), &bad, BODY, NOW), Err(Unsigned::Malformed), "{bad}");
        }
    }

    #[test]
    fn a_sender_may_change_its_secret() {
        let other = signature(&Secret::new("the next secret"), NOW, BODY).unwrap();
        let both = format!("{},{},v2=whatever", at(0), other.split_once(',').unwrap().1);
        assert_eq!(verify(&secret(), &both, BODY, NOW), Ok(()));
        assert_eq!(verify(&Secret::new("the next secret"), &both, BODY, NOW), Ok(()));
    }

    #[test]
    fn two_headers_are_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(check(&secret(), HEADER, &headers, BODY, NOW), Err(Unsigned::Malformed));
        headers.append(HEADER, at(0).parse().unwrap());
        assert_eq!(check(&secret(), HEADER, &headers, BODY, NOW), Ok(()));
        headers.append(HEADER, at(0).parse().unwrap());
        assert_eq!(check(&secret(), HEADER, &headers, BODY, NOW), Err(Unsigned::Malformed));
    }
}
