//! Signing for calls that go out: `shaken` (RFC 8588) and `div` (RFC 8946). Time and origin are
//! arguments; only the signature itself has chance in it.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;

use crate::claims::{is_uuid, write_header, write_payload};
use crate::identity::Kind;
use crate::{Address, Attest, Number, Unusable};

/// A key that signs calls, with the address of its certificate. The key is not shown.
pub struct Signer {
    key: EcdsaKeyPair,
    x5u: Address,
    random: SystemRandom,
}

/// A call that begins here.
#[derive(Clone, Copy, Debug)]
pub struct Original<'a> {
    /// How sure we are of the caller.
    pub attest: Attest,
    /// The calling number.
    pub orig: &'a Number,
    /// The numbers called: one or more.
    pub dest: &'a [Number],
    /// When, in seconds since the epoch.
    pub iat: u64,
    /// A UUID of our own choice for where the call comes from (RFC 8588 §5).
    pub origid: &'a str,
}

/// A call that goes on to another number.
#[derive(Clone, Copy, Debug)]
pub struct Diversion<'a> {
    /// The calling number, as the call came in.
    pub orig: &'a Number,
    /// The number that it was for.
    pub from: &'a Number,
    /// The numbers that it is for now: one or more.
    pub to: &'a [Number],
    /// When, in seconds since the epoch.
    pub iat: u64,
}

/// A call cannot be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// No number is called.
    #[error("a call has to be for at least one number")]
    Nobody,
    /// The origin is no UUID.
    #[error("origid has to be a UUID")]
    Origid,
    /// The library could not sign.
    #[error("signing failed")]
    Failed,
}

impl Signer {
    /// From a P-256 key in PKCS#8 PEM, and the address under which others find its certificate.
    ///
    /// # Errors
    /// [`Unusable::Key`]: there is no such key in the text.
    pub fn read(pem: &str, x5u: Address) -> Result<Self, Unusable> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| Unusable::Key)?;
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_pkcs8_der())
                .map_err(|_| Unusable::Key)?;
        Ok(Self {
            key,
            x5u,
            random: SystemRandom::new(),
        })
    }

    /// The value of an Identity header for a call that begins here.
    ///
    /// # Errors
    /// [`Unsigned`].
    pub fn original(&self, call: &Original<'_>) -> Result<String, Unsigned> {
        if call.dest.is_empty() {
            return Err(Unsigned::Nobody);
        }
        if !is_uuid(call.origid) {
            return Err(Unsigned::Origid);
        }
        self.sign(
            Kind::Shaken,
            &write_payload(
                Some((call.attest, call.origid)),
                None,
                call.dest,
                call.iat,
                call.orig,
            ),
        )
    }

    /// The value of an Identity header for a call that goes on, to be added to those it came with.
    ///
    /// # Errors
    /// [`Unsigned`].
    pub fn diversion(&self, call: &Diversion<'_>) -> Result<String, Unsigned> {
        if call.to.is_empty() {
            return Err(Unsigned::Nobody);
        }
        self.sign(
            Kind::Div,
            &write_payload(None, Some(call.from), call.to, call.iat, call.orig),
        )
    }

    fn sign(&self, kind: Kind, payload: &str) -> Result<String, Unsigned> {
        let header = write_header(Some(kind.name()), self.x5u.as_str());
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(payload)
        );
        let signature = self
            .key
            .sign(&self.random, signed.as_bytes())
            .map_err(|_| Unsigned::Failed)?;
        let signature = URL_SAFE_NO_PAD.encode(signature.as_ref());
        Ok(format!(
            "{signed}.{signature};info=<{}>;alg=ES256;ppt={}",
            self.x5u,
            kind.name()
        ))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("x5u", &self.x5u.as_str())
            .finish_non_exhaustive()
    }
}
