//! One question to the policies as they are written.

use cedar_policy::{Authorizer, Decision as Cedar, Request};
use countersign_core::action::{Actor, Role};

use crate::{
    compile::{Compiled, Slot},
    facts::Situation,
};

/// Who acts, as far as policy can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    /// The caller, alone with the machine.
    SelfService,
    /// Somebody at the desk.
    Desk(Role),
}

impl Who {
    /// Everybody.
    pub const ALL: [Self; 5] =
        [Self::SelfService, Self::Desk(Role::Agent), Self::Desk(Role::Specialist), Self::Desk(Role::Lead), Self::Desk(Role::Admin)];

    pub(crate) fn of(actor: Actor) -> Self {
        match actor {
            Actor::SelfService => Self::SelfService,
            Actor::Agent { role, .. } => Self::Desk(role),
        }
    }
    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::SelfService => "self-service",
            Self::Desk(role) => role.name(),
        }
    }
}

/// What the policies say, with the ids of those that decided, sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Permit(Vec<String>),
    /// The forbids; empty when only nothing permits.
    Deny(Vec<String>),
    /// A policy could not be evaluated. Cedar leaves such a policy out, and had it been a forbid,
    /// leaving it out would permit.
    Error,
}

impl Compiled {
    pub(crate) fn evaluate(&self, who: Who, slot: &Slot, situation: &Situation) -> Answer {
        let principal = match who {
            Who::SelfService => Some(&self.people.self_service),
            Who::Desk(role) => self.people.agents.get(&role),
        };
        let (Some(principal), Some(context)) = (principal, situation.context(slot.reads)) else { return Answer::Error };
        // Not validated against the schema each time: `assemble` did it once, and the types of
        // `Situation` leave no other shape.
        let Ok(request) = Request::new(principal.clone(), slot.uid.clone(), self.people.account.clone(), context, None) else {
            return Answer::Error;
        };
        let response = Authorizer::new().is_authorized(&request, &slot.policies, &self.entities);
        if response.diagnostics().errors().next().is_some() {
            return Answer::Error;
        }
        let mut ids: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
        ids.sort_unstable();
        match response.decision() {
            Cedar::Allow => Answer::Permit(ids),
            Cedar::Deny => Answer::Deny(ids),
        }
    }
}
