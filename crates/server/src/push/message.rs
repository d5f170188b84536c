//! Encryption of a push message for one browser: RFC 8291, on the coding of RFC 8188. Only the
//! sender's half, one record, and nothing chosen by the receiver but its keys.

use aws_lc_rs::{
    aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    agreement::{self, ECDH_P256, PrivateKey, UnparsedPublicKey},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use countersign_core::{account::PushSubscription, secret::Secret};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

/// Size of a record (RFC 8188 §2): ours has one, which is far shorter.
const RECORD: u32 = 4096;
/// Longest text: with padding delimiter and tag it is within what every push service takes (RFC 8030 §7.2).
const LONGEST: usize = 2048;
/// An uncompressed point of P-256 (RFC 8291 §3.1).
pub const POINT: usize = 65;
/// The shared secret of a browser (RFC 8291 §3.2).
const AUTH: usize = 16;

/// Why a message cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsealable {
    /// The browser's keys have the wrong shape, or are no point of the curve.
    #[error("the browser's keys are not a P-256 point and 16 bytes, in base64url")]
    Keys,
    /// The text is too long for a push service.
    #[error("the text is too long for a push message")]
    TooLong,
    /// The random bytes are no private key; it happens once in four thousand million times.
    #[error("these random bytes are no private key: draw others")]
    Draw,
}

/// What a browser gave us to write to it.
#[derive(Clone)]
pub struct Receiver {
    point: [u8; POINT],
    auth: Zeroizing<[u8; AUTH]>,
}

impl Receiver {
    /// Reads the keys of a subscription. A point that is not on the curve is refused when it is
    /// first used, by the agreement itself.
    pub fn parse(p256dh: &Secret, auth: &Secret) -> Result<Self, Unsealable> {
        let point: [u8; POINT] = decode(p256dh).and_then(|b| b.as_slice().try_into().ok()).ok_or(Unsealable::Keys)?;
        let auth: [u8; AUTH] = decode(auth).and_then(|b| b.as_slice().try_into().ok()).ok_or(Unsealable::Keys)?;
        // 4: uncompressed (SEC 1 §2.3.3).
        if point.first() != Some(&4) { Err(Unsealable::Keys) } else { Ok(Self { point, auth: Zeroizing::new(auth) }) }
    }

    /// Those of a stored subscription.
    pub fn of(subscription: &PushSubscription) -> Result<Self, Unsealable> { Self::parse(&subscription.p256dh, &subscription.auth) }

    /// Encrypts a text. `ours` becomes a key pair for this message alone, `salt` goes with it.
    pub fn seal(&self, text: &[u8], ours: &[u8; 32], salt: &[u8; 16]) -> Result<Vec<u8>, Unsealable> {
        if text.len() > LONGEST {
            return Err(Unsealable::TooLong);
        }
        let private = PrivateKey::from_private_key(&ECDH_P256, ours).map_err(|_| Unsealable::Draw)?;
        let public = private.compute_public_key().map_err(|_| Unsealable::Draw)?;
        // RFC 8291 §3.4: both public keys are mixed in, so that the message is of these two.
        let info = [b"WebPush: info\0".as_slice(), &self.point, public.as_ref()].concat();
        let input = agreement::agree(&private, UnparsedPublicKey::new(&ECDH_P256, self.point), Unsealable::Keys, |shared| {
            Ok(expand::<32>(self.auth.as_ref(), shared, &info))
        })?;
        coded(input.as_ref(), salt, public.as_ref(), text).ok_or(Unsealable::TooLong)
    }
}

fn decode(secret: &Secret) -> Option<Vec<u8>> {
    // Longer than any key: not worth decoding.
    let text = Some(secret.expose()).filter(|t| t.len() <= 128)?;
    BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
}

/// HKDF with SHA-256 for up to 32 bytes (RFC 5869).
fn expand<const N: usize>(salt: &[u8], input: &[u8], info: &[u8]) -> Zeroizing<[u8; N]> {
    let mut out = Zeroizing::new([0; N]);
    // No more than 32 bytes are ever asked for, which HKDF always gives.
    let _ = Hkdf::<Sha256>::new(Some(salt), input).expand(info, out.as_mut());
    out
}

/// The coding `aes128gcm` (RFC 8188 §2), in one record.
fn coded(input: &[u8], salt: &[u8; 16], keyid: &[u8], text: &[u8]) -> Option<Vec<u8>> {
    let key = expand::<16>(salt, input, b"Content-Encoding: aes128gcm\0");
    let nonce = expand::<12>(salt, input, b"Content-Encoding: nonce\0");
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key.as_ref()).ok()?);
    // 2: the last record (RFC 8188 §2).
    let mut record = [text, &[2]].concat();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(*nonce), Aad::empty(), &mut record).ok()?;
    Some([salt.as_slice(), &RECORD.to_be_bytes(), &[u8::try_from(keyid.len()).ok()?], keyid, &record].concat())
}

/// The receiver's half, for tests: what a browser does.
#[cfg(test)]
pub fn open(private: &[u8; 32], auth: &[u8], body: &[u8]) -> Option<Vec<u8>> {
    let (salt, rest) = body.split_at_checked(16)?;
    let (size, rest) = rest.split_at_checked(4)?;
    let (length, rest) = rest.split_first()?;
    let (theirs, record) = rest.split_at_checked(usize::from(*length))?;
    assert!(u32::from_be_bytes(size.try_into().ok()?) as usize >= record.len());
    let mine = PrivateKey::from_private_key(&ECDH_P256, private).ok()?;
    let public = mine.compute_public_key().ok()?;
    let info = [b"WebPush: info\0".as_slice(), public.as_ref(), theirs].concat();
    let input = agreement::agree(&mine, UnparsedPublicKey::new(&ECDH_P256, theirs), (), |shared| Ok(expand::<32>(auth, shared, &info))).ok()?;
    decoded(input.as_ref(), salt, record)
}

#[cfg(test)]
fn decoded(input: &[u8], salt: &[u8], record: &[u8]) -> Option<Vec<u8>> {
    let key = expand::<16>(salt, input, b"Content-Encoding: aes128gcm\0");
    let nonce = expand::<12>(salt, input, b"Content-Encoding: nonce\0");
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key.as_ref()).ok()?);
    let mut text = record.to_vec();
    let text = key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::empty(), &mut text).ok()?;
    text.strip_suffix(&[2]).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn b(text: &str) -> Vec<u8> { BASE64_URL_SAFE_NO_PAD.decode(text).unwrap() }

    const PUBLIC: &str = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
    const PRIVATE: &str = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94";
    const OURS: &str = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw";
    const SHARED: &str = "BTBZMqHH6r4Tts7J_aSIgg";

    fn receiver() -> Receiver { Receiver::parse(&PUBLIC.into(), &SHARED.into()).unwrap() }

    /// RFC 8291 §5 and Appendix A.
    #[test]
    fn the_message_of_rfc_8291() {
        let salt = b("DGv6ra1nlYgDCS1FRnbzlw").try_into().unwrap();
        let sealed = receiver().seal(b"When I grow up, I want to be a watermelon", &b(OURS).try_into().unwrap(), &salt).unwrap();
        assert_eq!(
            BASE64_URL_SAFE_NO_PAD.encode(&sealed),
            "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN",
        );
        assert_eq!(open(&b(PRIVATE).try_into().unwrap(), &b(SHARED), &sealed).unwrap(), b"When I grow up, I want to be a watermelon");
    }

    /// RFC 8188 §3.1.
    #[test]
    fn the_coding_of_rfc_8188() {
        let salt = b("I1BsxtFttlv3u_Oo94xnmw").try_into().unwrap();
        let body = coded(&b("yqdlZ-tYemfogSmv7Ws5PQ"), &salt, b"", b"I am the walrus").unwrap();
        assert_eq!(BASE64_URL_SAFE_NO_PAD.encode(body), "I1BsxtFttlv3u_Oo94xnmwAAEAAA-NAVub2qFgBEuQKRapoZu-IxkIva3MEB1PD-ly8Thjg");
    }

    #[test]
    fn nobody_else_opens_it_and_no_bit_may_change() {
        let sealed = receiver().seal(b"text", &b(OURS).try_into().unwrap(), &[7; 16]).unwrap();
        let private: [u8; 32] = b(PRIVATE).try_into().unwrap();
        assert!(open(&private, &b(SHARED), &sealed).is_some());
        assert!(open(&private, &[0; 16], &sealed).is_none());
        assert!(open(&b(OURS).try_into().unwrap(), &b(SHARED), &sealed).is_none());
        for i in (0..16).chain(21..sealed.len()) {
            let mut changed = sealed.clone();
            changed[i] ^= 1;
            assert!(open(&private, &b(SHARED), &changed).is_none(), "byte {i}");
        }
    }

    #[test]
    fn keys_that_are_none_are_refused() {
        let long = "A".repeat(5000);
        let zeros = BASE64_URL_SAFE_NO_PAD.encode([&[4_u8][..], &[0; 64]].concat());
        for (point, auth) in [
            ("", SHARED), (PUBLIC, ""), (&PUBLIC[1..], SHARED), (PUBLIC, "BTBZMqHH6r4Tts7J_aSI"), (long.as_str(), SHARED), (PUBLIC, long.as_str()),
            (PUBLIC, "ÄÖÜ"), ("not base64!", SHARED), (SHARED, PUBLIC),
        ] {
            assert_eq!(Receiver::parse(&point.into(), &auth.into()).err(), Some(Unsealable::Keys), "{point} {auth}");
        }
        // A point that is not on the curve (an invalid-curve attack on our key) has the right shape only.
        let off = Receiver::parse(&zeros.as_str().into(), &SHARED.into()).unwrap();
        assert_eq!(off.seal(b"x", &[1; 32], &[1; 16]), Err(Unsealable::Keys));
        assert_eq!(receiver().seal(&[0; 5000], &[1; 32], &[1; 16]), Err(Unsealable::TooLong));
        assert_eq!(receiver().seal(b"x", &[0; 32], &[1; 16]), Err(Unsealable::Draw));
        // Padding is an old habit of encoders.
        assert!(Receiver::parse(&PUBLIC.into(), &format!("{SHARED}==").as_str().into()).is_ok());
    }
}
