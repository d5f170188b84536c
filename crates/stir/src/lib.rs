//! STIR/SHAKEN: whose number a call comes from, signed by the provider where it began.
//!
//! Pure: no network, no clock, no runtime. [`Verifier::begin`] reads what a SIP message carries and
//! says either a [`Verdict`] or which address has to be fetched; [`Verifier::resume`] goes on with the
//! bytes or with the news that there are none. Which addresses may be fetched at all is decided here
//! ([`Address`], [`is_special`]), so that whoever fetches has nothing to decide.
//!
//! The order is that of ATIS-1000074: header, token, claims, freshness, certificate, revocation,
//! numbers of the certificate, signature, numbers of the call, replay. The standards are RFC 8224
//! (Identity), RFC 8225 (PASSporT), RFC 8226 (certificates), RFC 8588 (`shaken`), RFC 8946 (`div`),
//! RFC 9060 (delegate certificates) and RFC 9795 (`rcd`).
//!
//! A verdict is a claim of the network about a number. It is identification and a signal of risk; it
//! is no factor, and nothing here makes one of it.

mod address;
mod cache;
mod chain;
mod claims;
mod der;
mod diversion;
mod identity;
mod json;
mod number;
mod passport;
mod rcd;
mod replay;
mod revocation;
mod sign;
mod tnauth;
pub mod vectors;
mod verdict;
mod verify;

pub use address::{Address, AddressRefused, is_special};
pub use chain::{Policy, Roots};
pub use number::{NotANumber, Number};
pub use rcd::{Display, Untrusted};
pub use replay::{ReplayCache, ReplayKey, Seen};
pub use revocation::{ListIssuers, Revocation};
pub use sign::{Diversion, Original, Signer, Unsigned};
pub use tnauth::{TnAuthList, TnEntry};
pub use verdict::{Attest, Reason, Refusal, Verdict, Verstat};
pub use verify::{Answer, Call, Known, MOST_HEADERS, Pending, Settings, Step, Unfetched, Verifier, Want, What};

/// What was configured is not fit for use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// No certificate is in the text.
    #[error("there is no certificate in the text: PEM with at least one is wanted")]
    Empty,
    /// A text is not PEM.
    #[error("the text is not PEM")]
    Pem,
    /// A certificate cannot be read or used.
    #[error("a certificate cannot be used: {0}")]
    Certificate(&'static str),
    /// A key cannot be read or used.
    #[error("the key cannot be used: a P-256 key in PKCS#8 PEM is wanted")]
    Key,
    /// An object identifier cannot be read.
    #[error("not an object identifier: digits and dots are wanted, as in 2.16.840.1.114569.1.1.1")]
    Policy,
}
