//! Risk: a sum of named contributions, each with its evidence. Signals raise scrutiny; none of them
//! ever proves anything, and none of them lowers it.
//!
//! What is seen ([`observe`]) is kept apart from what it weighs ([`Rules::weigh`]): the same call can be
//! scored again under other rules, long after it is over.

mod part;
mod routes;
mod signals;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::{
    part::{BadPoints, Part, Points},
    routes::{Band, BadRoutes, Route, Routes},
    signals::{History, LineType, NumberFacts, Signals},
};
use crate::{account::Brief, action::Verb, call::Call, claim::Via, time::{Span, Timestamp}, voice::Outcome};

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
    /// A signature that nobody could check: its certificate could not be had, or not in time.
    Unchecked,
}

/// One named part of the score.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contribution {
    /// Its name: one of [`Part`].
    pub name: String,
    /// Its points.
    pub points: u8,
    /// What was seen, in plain words without anything personal.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub evidence: String,
}

/// Whether anything follows from a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It routes, and policy sees it.
    #[default]
    Act,
    /// It is recorded. Routes and policy see 0; the deny list, which is somebody's decision and no
    /// score, goes on acting.
    Shadow,
}

/// What signals weigh and where scores lead.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// Whether anything follows.
    pub mode: Mode,
    /// Points per part.
    pub points: Points,
    /// Thresholds.
    pub routes: Routes,
}

/// A score with all that explains it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scored {
    /// 0 to 100: the sum of the parts, at most 100.
    pub score: u8,
    /// What it is made of.
    pub parts: Vec<Contribution>,
    /// Where it leads.
    pub route: Route,
}

/// What was seen of one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Which part.
    pub part: Part,
    /// How often its points count: at least 1.
    pub times: u8,
    /// In plain words.
    pub evidence: String,
}

/// What an account's file says that bears on risk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OnFile {
    /// It is frozen.
    pub frozen: bool,
    /// Contact data or factors changed within [`RECENT`].
    pub changed: bool,
}

/// How long a change of contact data counts as recent.
pub const RECENT: Span = Span::days(14);
/// What others can bring about in a customer's name, and a freeze, never lift a score above this: below
/// the 75 from which the shipped policies permit no change at all, and below every threshold beyond the
/// specialist. So nobody can lock a customer out by calling in their name, and nobody who froze their
/// account is hung up on for a slip of the finger.
pub const CEILING: u8 = 74;

impl OnFile {
    /// Out of what is known of an account.
    pub fn of(brief: Option<&Brief>, now: Timestamp) -> Self {
        Self { frozen: brief.is_some_and(|b| b.frozen), changed: brief.and_then(|b| b.changed).is_some_and(|at| now - at < RECENT) }
    }

    /// Out of a score on record: what was on file then.
    pub fn recorded(parts: &[Contribution]) -> Self {
        let has = |part: Part| parts.iter().any(|p| p.name == part.name());
        Self { frozen: has(Part::AccountFrozen), changed: has(Part::ContactChangedLately) }
    }
}

impl Rules {
    /// Weighs what was seen. Parts without points are left out.
    pub fn weigh(&self, seen: &[Seen]) -> Scored {
        let weighed = |s: &Seen| s.times.saturating_mul(self.points.get(s.part));
        let own = seen.iter().filter(|s| !s.part.is_bounded()).fold(0u8, |sum, s| sum.saturating_add(weighed(s))).min(100);
        // What is bounded is trimmed, not dropped: the desk still reads it.
        let mut left = CEILING.min(self.routes.beyond_specialist().saturating_sub(1)).saturating_sub(own);
        let mut parts = Vec::new();
        for s in seen.iter().filter(|s| self.points.get(s.part) > 0) {
            let mut points = weighed(s);
            if s.part.is_bounded() {
                points = points.min(left);
                left -= points;
            }
            parts.push(Contribution { name: s.part.name().into(), points, evidence: s.evidence.clone() });
        }
        let score = parts.iter().fold(0u8, |sum, part| sum.saturating_add(part.points)).min(100);
        Scored { score, parts, route: self.routes.of(score) }
    }

    /// Scores a call as it is.
    pub fn score(&self, call: &Call, file: OnFile) -> Scored { self.weigh(&observe(call, file)) }
}

/// Everything about a call that bears on risk, whatever it weighs. A function of the call and of what
/// is on file, and of nothing else.
pub fn observe(call: &Call, file: OnFile) -> Vec<Seen> {
    let mut out = Vec::new();
    let mut see = |part: Part, times: u32, evidence: String| {
        if times > 0 {
            out.push(Seen { part, times: u8::try_from(times.min(part.most())).unwrap_or(1), evidence });
        }
    };
    let caller = call.origin.is_caller();
    let if_so = |yes: bool| u32::from(yes);
    see(Part::NumberOnDenyList, if_so(call.denied), "this number is on the deny list".into());
    see(Part::AttestationFailed, if_so(call.verstat == Verstat::Failed), "the carrier's signature of the number does not hold".into());
    // Whoever signs so that nobody can check it gains nothing over whoever does not sign.
    let unsigned = match call.verstat {
        Verstat::None => Some("no carrier signed the number"),
        Verstat::Unchecked => Some("the signature of the number could not be checked"),
        _ => None,
    };
    see(Part::AttestationMissing, if_so(caller && call.number.is_some() && unsigned.is_some()), unsigned.unwrap_or_default().into());
    see(Part::AttestationGateway, if_so(call.verstat == Verstat::PassedC), "only a gateway signed the number".into());
    see(Part::NumberWithheld, if_so(call.number.is_none() && caller), "no number was shown".into());
    see(Part::FailedChallenges, call.failures, format!("{} on this call", many(call.failures, "wrong entry", "wrong entries")));
    let fits_nobody = call.claims.iter().filter(|c| c.accounts.is_empty() && c.via != Via::Network).count();
    let fits_nobody = u32::try_from(fits_nobody).unwrap_or(u32::MAX);
    see(Part::ClaimsThatFitNobody, fits_nobody, format!("{} no customer", many(fits_nobody, "detail fits", "details fit")));
    // What was set aside is one misunderstanding, however many claims it took to settle it.
    let contradictions = if call.number_set_aside { call.contradictions.saturating_sub(1) } else { call.contradictions };
    see(Part::ClaimsContradict, contradictions, format!("{} at somebody else", many(contradictions, "detail points", "details point")));
    see(Part::LookAlike, if_so(call.claims.iter().any(|c| c.look_alike)), "a detail is one slip away from another customer's".into());
    // On this call already at once, and also where it only looks so: the score must not tell the two
    // apart. (A web password is not changed here, only asked for; a voice reaches nobody and proves nothing.)
    let here = call.performed.iter().any(|(action, _)| action.verb == Verb::Change && !matches!(action.object.as_str(), "password" | "voice"));
    // A freeze stands for the changes that it was made against.
    let frozen = file.frozen || call.frozen;
    see(Part::ContactChangedLately, if_so(here || (file.changed && !frozen)), format!("contact data or factors changed in the last {} days", RECENT.0 / Span::days(1).0));
    see(Part::CustomerNotOnThePhone, if_so(call.disowned), "the customer, asked in the portal, says that they are not on the phone".into());
    let (last, alarm) = (call.voice.last, call.voice.alarm);
    see(Part::VoiceNotAlike, if_so(last == Some(Outcome::Unlike)), "the voice is not like the one on file".into());
    see(Part::VoiceOtherWords, if_so(last == Some(Outcome::OtherWords)), "other words were said than those on file".into());
    see(Part::VoiceRecording, if_so(alarm == Some(Outcome::KnownRecording)), "a recording of the customer's voice that is on file was played".into());
    see(Part::VoiceSynthetic, if_so(alarm == Some(Outcome::Synthetic)), "the voice sounded synthetic".into());
    see(Part::AccountFrozen, if_so(frozen), "the account is frozen".into());
    if let Some(number) = &call.signals.number {
        number.observe(&mut see);
    }
    if let Some(history) = &call.signals.history {
        history.observe(&mut see);
    }
    out
}

/// "1 wrong entry", "2 wrong entries".
fn many(n: u32, one: &str, more: &str) -> String { format!("{n} {}", if n == 1 { one } else { more }) }
