//! Facts, callers and people for the tests.

use std::path::PathBuf;

use countersign_core::{
    action::{Action, Actor, Decision, Facts, Policy, Request, Role},
    id::AgentId,
};
use countersign_policy::Engine;
pub use countersign_policy::case::ordinary as caller;

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

pub fn decide(engine: &Engine, actor: Actor, action: &str, facts: &Facts) -> Decision {
    let action: Action = action.parse().expect(action);
    engine.decide(&Request { actor, action: &action, facts })
}

