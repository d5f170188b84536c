//! Conditions that the store checks in the transaction of a step.

use crate::{factor::FactorKind, id::AuthenticatorId, time::Span};

/// A condition that the store checks in the transaction of the step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// What is checked.
    pub check: Check,
    /// What the machine is told in [`Cx::refused`] when it fails.
    pub deny: Deny,
}

/// What a guard checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// Fewer than `max` failures under `key` within `window`; then counts this one.
    Attempt {
        /// What is counted.
        key: String,
        /// How long failures count; `None`: until a success.
        window: Option<Span>,
        /// How many are allowed.
        max: u32,
        /// Whether this one failed.
        outcome: Attempt,
    },
    /// The authenticator's counter or time step is greater than ever before.
    Step {
        /// Which authenticator.
        authenticator: AuthenticatorId,
        /// The counter or time step.
        value: u64,
    },
    /// Never seen before.
    Once {
        /// What.
        key: String,
        /// It is remembered for ever, not for a day.
        forever: bool,
    },
}

/// How an attempt went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// Counts.
    Failed,
    /// Ends the row of failures.
    Succeeded,
    /// Neither: only allowed while the limit is not reached.
    Neutral,
}

/// Which limit refused the step. The same input is then given again with this in [`Cx::refused`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deny {
    /// Too many wrong entries for the open challenge's authenticator.
    Challenge,
    /// Too many wrong entries lately to ask for this factor at all.
    Locked(FactorKind),
    /// The code was right and has been used before.
    Spent,
    /// Too many messages with codes lately.
    Send(FactorKind),
    /// Too many wrong service codes.
    ServiceCode,
    /// Too many comparisons.
    Compare,
    /// Too many claims by keypad from this line.
    Claims,
    /// Too many links lately.
    Online,
    /// Too many calls to this customer lately.
    CallOut,
}
