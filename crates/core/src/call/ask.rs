//! What a step asks the shell before it is complete, and what it is answered.

use crate::{
    account::Brief,
    action::Field,
    claim::{Claim, ClaimKind},
    factor::{FactorKind, Transaction, Verdict},
    id::{AccountId, AuthenticatorId, CallId},
    risk::History,
    secret::{Blind, Secret},
    time::Timestamp,
    voice,
};

/// A question that the shell answers before the step is complete and anything is committed. What
/// came out of the step until then belongs to the same commit.
#[derive(Debug)]
pub enum Ask {
    /// Which accounts does this fit?
    Find {
        /// The claim.
        claim: Claim,
        /// What for.
        purpose: Purpose,
    },
    /// Does this equal the field?
    Compare {
        /// Whose.
        account: AccountId,
        /// Which field.
        field: Field,
        /// What was said.
        value: Secret,
    },
    /// Is this the secret?
    Verify {
        /// Whose.
        account: AccountId,
        /// Which authenticator.
        authenticator: AuthenticatorId,
        /// Its kind.
        kind: FactorKind,
        /// What was keyed or said.
        presented: Secret,
    },
    /// Whose portal shows this code?
    Redeem {
        /// What was keyed.
        code: Secret,
    },
    /// What do other calls say about this line and account?
    History {
        /// Keyed hash of the calling number.
        number: Option<Blind>,
        /// The account that is meant.
        account: Option<AccountId>,
        /// When this call came in.
        started: Timestamp,
        /// It came to the number that only the portal dials.
        dialled: bool,
    },
    /// Is this a good take? The third good one becomes the template, in the same commit.
    VoiceTake {
        /// For which enrolment: a call has one at a time.
        call: CallId,
        /// Whose.
        account: AccountId,
        /// Good takes so far.
        taken: u8,
        /// It only looks kept.
        held: bool,
        /// Until when the template is kept.
        until: Timestamp,
        /// What was said.
        sound: voice::Sound,
    },
    /// Is this the voice on file?
    VoiceCompare {
        /// On which call: what the template learns there can be taken out again.
        call: CallId,
        /// Whose.
        account: AccountId,
        /// Who is speaking was proved otherwise, so that the template may learn.
        learn: bool,
        /// What was said.
        sound: voice::Sound,
    },
    /// Are these the digits? Either they are learnt, beside the template, or compared with those learnt.
    VoiceDigits {
        /// For the enrolment of which call, if they are learnt.
        call: CallId,
        /// Whose.
        account: AccountId,
        /// Which were asked for.
        row: voice::Row,
        /// They are learnt; and what is learnt is kept, unless it only looks so.
        learning: Option<voice::Learning>,
        /// Draws the rows that they are compared with.
        seed: u64,
        /// What was said.
        sound: voice::Sound,
    },
    /// Did the account's holder sign this transaction?
    Attest {
        /// What was asked for.
        transaction: Transaction,
        /// How.
        kind: FactorKind,
        /// What came back.
        presented: Secret,
    },
}

/// What a look-up is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To identify the caller.
    Identify,
    /// To find the account the caller wants to speak for.
    SpeakFor,
}

/// The answer to an [`Ask`].
#[derive(Debug)]
pub enum Answer {
    /// To [`Ask::Find`].
    Found {
        /// What the claim was about.
        kind: ClaimKind,
        /// How it reached us.
        via: crate::claim::Via,
        /// What for.
        purpose: Purpose,
        /// The accounts it fits.
        accounts: Vec<Brief>,
        /// It is one slip away from another customer's.
        look_alike: bool,
    },
    /// To [`Ask::Compare`].
    Compared {
        /// Which field.
        field: Field,
        /// Whether it fits.
        matched: bool,
    },
    /// To [`Ask::Verify`].
    Verified(Verdict),
    /// To [`Ask::Redeem`].
    Redeemed {
        /// Whether it holds.
        verdict: Verdict,
        /// Whose it is.
        account: Option<Brief>,
    },
    /// To [`Ask::VoiceTake`].
    VoiceTaken {
        /// Why it is not good enough.
        fault: Option<voice::Fault>,
        /// How good the sound was.
        quality: voice::Quality,
        /// As it was asked.
        held: bool,
    },
    /// To [`Ask::VoiceCompare`]. No proof, and nothing that a proof could be made of.
    VoiceCompared {
        /// What came of it.
        comparison: voice::Comparison,
        /// All ten digits of this voice are on file.
        digits: bool,
    },
    /// To [`Ask::VoiceDigits`] that are learnt.
    DigitsTaken {
        /// Why they are not good enough.
        fault: Option<voice::Fault>,
        /// How good the sound was.
        quality: voice::Quality,
    },
    /// To [`Ask::VoiceDigits`] that are compared. No proof either.
    DigitsChecked(voice::Checked),
    /// To [`Ask::History`].
    History {
        /// What they say.
        history: History,
        /// As it was asked.
        dialled: bool,
    },
}
