//! A small policy of our own: the machine must hold with any policy, so its tests do not lean on
//! the shipped one.

use countersign_core::{
    action::{Action, Actor, Decision, Level, Outcome, Policy, Request, Role, Verb, WayOut},
    factor::{Class, FactorKind},
};

pub struct Toy;

fn permit(id: &str) -> Decision { Decision { outcome: Outcome::Permit, policies: vec![id.into()] } }
fn step_up(to: Level, id: &str) -> Decision { Decision { outcome: Outcome::StepUp { to }, policies: vec![id.into()] } }
fn refuse(way_out: WayOut, id: &str) -> Decision { Decision { outcome: Outcome::Refuse { way_out }, policies: vec![id.into()] } }

impl Policy for Toy {
    fn version(&self) -> &str { "toy" }

    fn decide(&self, request: &Request<'_>) -> Decision {
        let (f, action) = (request.facts, request.action);
        let role = match request.actor {
            Actor::Agent { role, .. } => Some(role),
            Actor::SelfService => None,
        };
        if role == Some(Role::Admin) {
            return refuse(WayOut::None, "no_admins");
        }
        let shows = matches!(action.verb, Verb::View | Verb::Mask | Verb::Speak);
        let does = matches!(action.verb, Verb::Change | Verb::Do);
        let covered = f.delegate.as_ref().is_none_or(|d| d.covers);
        match action.verb {
            Verb::Reach => reach(action, &f.proofs),
            Verb::Use => use_factor(action, f.level, f.stronger_set_up),
            Verb::Match if role.is_some() && f.level >= Level::Identified => permit("compare"),
            Verb::Match => refuse(WayOut::None, "compare"),
            _ if f.frozen => refuse(WayOut::None, "frozen"),
            _ if action.object == "upcoming" && shows => if f.level >= Level::Identified { permit("upcoming") } else { refuse(WayOut::None, "upcoming") },
            _ if !covered => refuse(WayOut::None, "not_covered"),
            _ if action.object == "close_account" => refuse(WayOut::Online, "online_only"),
            _ if does && f.phone_lock => refuse(WayOut::Online, "phone_lock"),
            _ if does && f.duress => refuse(WayOut::Held, "duress_held"),
            _ if shows && f.duress => refuse(WayOut::None, "duress_hidden"),
            _ if does && role.is_none() => refuse(WayOut::Specialist, "people_do"),
            Verb::View if action.object == "name" && f.with_reason && role == Some(Role::Lead) && f.opened => permit("lead_with_reason"),
            Verb::View | Verb::Mask | Verb::Speak => show(action, f.level, f.opened),
            Verb::Change | Verb::Do => change(action, role, f.level, f.opened),
        }
    }
}

fn reach(action: &Action, proofs: &[FactorKind]) -> Decision {
    let has = |class| proofs.iter().any(|k| k.class() == class);
    match action.object.as_str() {
        "strong" if proofs.contains(&FactorKind::Passkey) => permit("passkey"),
        "strong" if has(Class::Knowledge) && has(Class::Possession) => permit("two_classes"),
        "authenticated" if !proofs.is_empty() => permit("one_proof"),
        _ => refuse(WayOut::None, "no_proof"),
    }
}

fn use_factor(action: &Action, level: Level, stronger_set_up: bool) -> Decision {
    // The signed-in portal, being rung back and a printed list stand beside what the customer set up.
    let beside = [FactorKind::Provider, FactorKind::Approval, FactorKind::Callback, FactorKind::AppCall, FactorKind::BackupCode];
    let held = FactorKind::parse(&action.object).is_none_or(|k| k.class() == Class::Possession && !beside.contains(&k));
    if level < Level::Identified || (held && stronger_set_up) { refuse(WayOut::None, "use") } else { permit("use") }
}

fn show(action: &Action, level: Level, opened: bool) -> Decision {
    let needs = match (action.verb, action.object.as_str()) {
        (Verb::View | Verb::Speak, "name" | "orders") => Level::Authenticated,
        (Verb::Mask, "phone" | "email") => Level::Authenticated,
        (Verb::View, "phone" | "email" | "address") => Level::Strong,
        _ => return refuse(WayOut::None, "never_shown"),
    };
    if level >= needs && opened { permit("shown") } else { step_up(needs, "shown") }
}

fn change(action: &Action, role: Option<Role>, level: Level, opened: bool) -> Decision {
    if action.object == "factors" && role == Some(Role::Agent) {
        return refuse(WayOut::Specialist, "specialists_change_factors");
    }
    let needs = if action.verb == Verb::Change { Level::Strong } else { Level::Authenticated };
    if level >= needs && opened { permit("done") } else { step_up(needs, "done") }
}
