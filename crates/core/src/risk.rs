//! Risk, in its simple form: a sum of named contributions, each with its evidence. Signals raise
//! or lower scrutiny; none of them ever proves anything.

use serde::{Deserialize, Serialize};

use crate::{account::Brief, action::Verb, call::Call, claim::Via, time::{Span, Timestamp}};

/// The network's word on the calling number (STIR/SHAKEN, ATIS-1000074).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verstat {
    /// Nothing was signed, or nobody said.
    #[default]
    None,
    /// Signed with full attestation: the carrier knows the customer and their right to the number.
    PassedA,
    /// Signed with partial attestation.
    PassedB,
    /// Signed by a gateway.
    PassedC,
    /// A signature that does not hold.
    Failed,
}

/// One named part of the score.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contribution {
    /// Its name.
    pub name: String,
    /// Its points.
    pub points: u8,
}

/// Where the score leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Band {
    /// Nothing special.
    Low,
    /// To a specialist.
    Elevated,
    /// To nobody: a polite end.
    High,
}

/// From this score on a specialist takes the call.
pub const SPECIALIST: u8 = 50;
/// From this score on nobody does.
pub const END: u8 = 90;

/// The band of a score.
pub fn band(score: u8) -> Band {
    match score {
        END.. => Band::High,
        SPECIALIST.. => Band::Elevated,
        _ => Band::Low,
    }
}

/// How long a change of contact data counts as recent.
const RECENT: Span = Span::days(14);

/// Scores a call: the sum, at most 100, and what it is made of.
pub fn score(call: &Call, brief: Option<&Brief>, now: Timestamp) -> (u8, Vec<Contribution>) {
    let wrong = u8::try_from(call.failures.min(4)).unwrap_or(4);
    // On this call already at once, and also where it only looks so: the score must not tell the two
    // apart. (A web password is not changed here, only asked for.)
    let here = call.performed.iter().any(|(action, _)| action.verb == Verb::Change && action.object != "password");
    let recently = here || brief.and_then(|b| b.changed).is_some_and(|at| now - at < RECENT);
    let fits_nobody = call.claims.iter().filter(|c| c.accounts.is_empty() && c.via != Via::Network).count().min(3);
    let fits_nobody = u8::try_from(fits_nobody).unwrap_or(3);
    // What was set aside is one misunderstanding, however many claims it took to settle it.
    let contradictions = if call.number_set_aside { call.contradictions.saturating_sub(1) } else { call.contradictions };
    let all = [
        ("number_on_deny_list", if call.denied { 100 } else { 0 }),
        ("attestation_failed", if call.verstat == Verstat::Failed { 55 } else { 0 }),
        ("number_withheld", if call.number.is_none() && call.origin.is_caller() { 10 } else { 0 }),
        ("failed_challenges", wrong * 15),
        ("claims_that_fit_nobody", fits_nobody * 10),
        ("claims_contradict", u8::try_from(contradictions.min(3)).unwrap_or(3) * 25),
        ("look_alike", if call.claims.iter().any(|c| c.look_alike) { 15 } else { 0 }),
        ("contact_changed_lately", if recently { 20 } else { 0 }),
        ("customer_not_on_the_phone", if call.disowned { 90 } else { 0 }),
        ("account_frozen", if brief.is_some_and(|b| b.frozen) || call.frozen { 60 } else { 0 }),
    ];
    let parts: Vec<Contribution> = all.into_iter().filter(|(_, points)| *points > 0)
        .map(|(name, points)| Contribution { name: name.into(), points }).collect();
    let sum = parts.iter().fold(0u8, |sum, part| sum.saturating_add(part.points)).min(100);
    (sum, parts)
}
