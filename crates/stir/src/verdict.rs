//! What is said about a call in the end.

use std::fmt;

use crate::{Display, Number, ReplayKey};

/// How sure the provider is that signs (RFC 8588 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attest {
    /// Full: the customer is known, and may use the number.
    A,
    /// Partial: the customer is known.
    B,
    /// Gateway: only where the call entered is known.
    C,
}

impl Attest {
    pub(crate) fn read(text: &str) -> Option<Self> {
        match text {
            "A" => Some(Self::A),
            "B" => Some(Self::B),
            "C" => Some(Self::C),
            _ => None,
        }
    }

    /// The letter.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
        }
    }
}

/// The parameter `verstat` (3GPP TS 24.229), with the attestation where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verstat {
    /// All that is signed holds.
    Passed(Attest),
    /// Something is signed, and it does not hold.
    Failed,
    /// Nothing is signed that is read here.
    None,
}

impl Verstat {
    /// As it is written in SIP.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed(Attest::A) => "TN-Validation-Passed-A",
            Self::Passed(Attest::B) => "TN-Validation-Passed-B",
            Self::Passed(Attest::C) => "TN-Validation-Passed-C",
            Self::Failed => "TN-Validation-Failed",
            Self::None => "No-TN-Validation",
        }
    }
}

/// Why a verdict is not "passed".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No Identity header, or only kinds that are not read here.
    Unsigned,
    /// Header, token or claims are not what they should be.
    Malformed,
    /// Signed more than 60 s ago, or more than 60 s from now.
    Stale,
    /// The certificate's address, or that of a revocation list, may not be fetched.
    Address,
    /// A certificate or a revocation list could not be had.
    Fetch,
    /// The certificate is not one that may sign, or leads to no configured root.
    Certificate,
    /// A revocation list names the certificate.
    Revoked,
    /// What a revocation list says cannot be relied on: a wrong signature, out of date.
    Revocation,
    /// The certificate is not for this number.
    Scope,
    /// The signature is not over this token with this key.
    Signature,
    /// The call comes from another number than the one signed.
    OrigMismatch,
    /// The call goes to another number than the one signed, and no diversion says why.
    DestMismatch,
    /// The diversions do not lead from the number signed to the number called.
    Diversion,
    /// The same was seen before, or so much is remembered that this cannot be excluded.
    Replay,
}

impl Reason {
    /// A word for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unsigned => "unsigned",
            Self::Malformed => "malformed",
            Self::Stale => "stale",
            Self::Address => "address",
            Self::Fetch => "fetch",
            Self::Certificate => "certificate",
            Self::Revoked => "revoked",
            Self::Revocation => "revocation",
            Self::Scope => "scope",
            Self::Signature => "signature",
            Self::OrigMismatch => "orig_mismatch",
            Self::DestMismatch => "dest_mismatch",
            Self::Diversion => "diversion",
            Self::Replay => "replay",
        }
    }

    /// The response code for whoever wants to refuse the call (RFC 8224 §6.2.2): 403 Stale Date, 428 Use
    /// Identity Header, 436 Bad Identity Info, 437 Unsupported Credential, 438 Invalid Identity Header.
    #[must_use]
    pub fn sip(self) -> u16 {
        match self {
            Self::Unsigned => 428,
            Self::Stale => 403,
            Self::Address | Self::Fetch => 436,
            Self::Certificate | Self::Revoked | Self::Revocation | Self::Scope => 437,
            Self::Malformed
            | Self::Signature
            | Self::OrigMismatch
            | Self::DestMismatch
            | Self::Diversion
            | Self::Replay => 438,
        }
    }
}

/// A reason with a sentence for the operator's log. It holds nothing of what was sent, and is not for
/// callers: they never learn which part was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub reason: Reason,
    /// What was wrong.
    pub why: &'static str,
}

impl Refusal {
    pub(crate) fn new(reason: Reason, why: &'static str) -> Self {
        Self { reason, why }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.as_str(), self.why)
    }
}

/// What is said about a call.
///
/// Everything but `verstat` and `refusal` is there only if the call passed: a claim that was not proved
/// is not handed on.
#[derive(Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The result, as SIP names it.
    pub verstat: Verstat,
    /// Why it did not pass.
    pub refusal: Option<Refusal>,
    /// The signed number that the call comes from.
    pub orig: Option<Number>,
    /// What the signing provider calls the origin: a UUID, for tracing (RFC 8588 §5).
    pub origid: Option<String>,
    /// The call was diverted, and the diversion is signed (RFC 8946).
    pub diverted: bool,
    /// What the caller wants displayed (RFC 9795). Untrusted: whoever signed it was not asked whether it
    /// is true.
    pub display: Option<Display>,
    /// Under these keys the call is to be remembered by whoever keeps replays elsewhere: see
    /// [`Verdict::replayed`].
    pub replay: Vec<ReplayKey>,
}

impl Verdict {
    pub(crate) fn refused(refusal: Refusal) -> Self {
        let verstat = match refusal.reason {
            Reason::Unsigned => Verstat::None,
            _ => Verstat::Failed,
        };
        Self {
            verstat,
            refusal: Some(refusal),
            orig: None,
            origid: None,
            diverted: false,
            display: None,
            replay: Vec::new(),
        }
    }

    /// The verdict about a call of which one of the keys in `replay` was kept already.
    #[must_use]
    pub fn replayed() -> Self {
        Self::refused(Refusal::new(Reason::Replay, "the same was seen before"))
    }

    /// The verdict about a call of which nobody can say whether a key in `replay` was kept already.
    #[must_use]
    pub fn unknown() -> Self {
        Self::refused(Refusal::new(
            Reason::Fetch,
            "whether it was seen before could not be found out",
        ))
    }

    /// The attestation of a call that passed.
    #[must_use]
    pub fn attest(&self) -> Option<Attest> {
        match self.verstat {
            Verstat::Passed(attest) => Some(attest),
            _ => None,
        }
    }

    /// Why it did not pass.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.refusal.map(|refusal| refusal.reason)
    }

    /// The response code for whoever wants to refuse a call that did not pass: see [`Reason::sip`].
    #[must_use]
    pub fn sip(&self) -> Option<u16> {
        self.reason().map(Reason::sip)
    }
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither numbers nor what is displayed nor the origin, which names a customer to its provider.
        f.debug_struct("Verdict")
            .field("verstat", &self.verstat.as_str())
            .field("refusal", &self.refusal)
            .field("diverted", &self.diverted)
            .finish_non_exhaustive()
    }
}
