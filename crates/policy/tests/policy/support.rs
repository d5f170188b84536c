//! Facts, callers and people for the tests.

use std::path::PathBuf;

use countersign_core::{
    action::{Action, Actor, Decision, Facts, Level, Outcome, Policy, Request, Role, WayOut},
    claim::ClaimKind,
    factor::FactorKind,
    id::AgentId,
};
use countersign_policy::Engine;

pub fn policies() -> PathBuf { PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../policies") }

/// Everybody who can act, with the name used in tables.
pub const EVERYBODY: [(&str, Actor); 5] = [
    ("self-service", Actor::SelfService),
    ("agent", agent(Role::Agent)),
    ("specialist", agent(Role::Specialist)),
    ("lead", agent(Role::Lead)),
    ("admin", agent(Role::Admin)),
];

pub const fn agent(role: Role) -> Actor { Actor::Agent { id: AgentId([7; 16]), role } }

/// An ordinary caller whose account is open, with proofs that fit the level.
pub fn caller(level: Level) -> Facts {
    let proofs = match level {
        Level::Anonymous | Level::Identified => vec![],
        Level::Authenticated => vec![FactorKind::SmsCode],
        Level::Strong => vec![FactorKind::Totp, FactorKind::Pin],
    };
    Facts {
        level, opened: true, claims: vec![], proofs, risk: 0, frozen: false, phone_lock: false, duress: false, delegate: None,
        stronger_set_up: false, with_reason: false,
    }
}

pub fn all_claims() -> Vec<ClaimKind> { ClaimKind::ALL.to_vec() }

pub fn decide(engine: &Engine, actor: Actor, action: &str, facts: &Facts) -> Decision {
    let action: Action = action.parse().expect(action);
    engine.decide(&Request { actor, action: &action, facts })
}

pub fn outcome_text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Permit => "permit".into(),
        Outcome::StepUp { to } => format!("step up to {to}"),
        Outcome::Refuse { way_out: WayOut::None } => "refuse".into(),
        Outcome::Refuse { way_out: WayOut::Online } => "refuse, online".into(),
        Outcome::Refuse { way_out: WayOut::Specialist } => "refuse, specialist".into(),
        Outcome::Refuse { way_out: WayOut::Held } => "refuse, held".into(),
    }
}
