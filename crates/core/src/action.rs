//! Fields, actions, and what policy says of them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{factor::FactorKind, id::AgentId, voice::Likeness};

/// A piece of customer data that a screen or a voice could give away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// Something near in time that says nothing about who or where: "a delivery on Thursday".
    Upcoming,
    /// First and last name.
    Name,
    /// The account number.
    AccountNumber,
    /// Orders with their state.
    Orders,
    /// Telephone numbers on file.
    Phone,
    /// E-mail addresses on file.
    Email,
    /// Postal address.
    Address,
    /// Postal code.
    PostalCode,
    /// Date of birth.
    DateOfBirth,
}

impl Field {
    /// All fields, in the order in which a desk shows them.
    pub const ALL: [Self; 9] = [
        Self::Upcoming, Self::Name, Self::AccountNumber, Self::Orders, Self::Phone,
        Self::Email, Self::Address, Self::PostalCode, Self::DateOfBirth,
    ];
    /// The name used in actions, events and forms.
    pub fn name(self) -> &'static str {
        match self {
            Self::Upcoming => "upcoming",
            Self::Name => "name",
            Self::AccountNumber => "account_number",
            Self::Orders => "orders",
            Self::Phone => "phone",
            Self::Email => "email",
            Self::Address => "address",
            Self::PostalCode => "postal_code",
            Self::DateOfBirth => "date_of_birth",
        }
    }
    /// The field with this name.
    pub fn parse(name: &str) -> Option<Self> { Self::ALL.into_iter().find(|f| f.name() == name) }
}

/// What kind of thing an action does. The first three only ever show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Show a field to the agent.
    View,
    /// Let a field be said to the caller.
    Speak,
    /// Show a field with most of it blanked.
    Mask,
    /// Compare what the caller says with a field; the answer is match or no match.
    Match,
    /// Change something about the account.
    Change,
    /// Any other business action.
    Do,
    /// Let an authenticator be used for a challenge on this call.
    Use,
    /// Reach an assurance level.
    Reach,
}

impl Verb {
    const NAMES: [(Self, &'static str); 8] = [
        (Self::View, "view"), (Self::Speak, "speak"), (Self::Mask, "mask"), (Self::Match, "match"),
        (Self::Change, "change"), (Self::Do, "do"), (Self::Use, "use"), (Self::Reach, "reach"),
    ];
    fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(verb, _)| *verb == self).map_or("", |(_, name)| name)
    }
}

/// Something the caller wants done or the agent wants to see, written `verb:object`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Action {
    /// What kind of thing it does.
    pub verb: Verb,
    /// To what: lower-case letters and underscores.
    pub object: String,
}

/// Why a text is not an action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an action: write verb:object in lower case, the verb one of view, speak, mask, match, change, do, use, reach")]
pub struct BadAction;

impl Action {
    /// An action; the object is taken as it is.
    pub fn new(verb: Verb, object: impl Into<String>) -> Self { Self { verb, object: object.into() } }
    /// `view:` this field, and so on.
    pub fn on(verb: Verb, field: Field) -> Self { Self::new(verb, field.name()) }
    /// `use:` this kind of factor.
    pub fn use_factor(kind: FactorKind) -> Self { Self::new(Verb::Use, kind.name()) }
    /// Whether doing it changes something or gives something away that cannot be taken back, so
    /// that the customer gets a summary afterwards.
    pub fn is_sensitive(&self) -> bool { matches!(self.verb, Verb::Change | Verb::Do) }
}
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{}:{}", self.verb.name(), self.object) }
}
impl FromStr for Action {
    type Err = BadAction;
    fn from_str(s: &str) -> Result<Self, BadAction> {
        let (verb, object) = s.split_once(':').ok_or(BadAction)?;
        let verb = Verb::NAMES.iter().find(|(_, name)| *name == verb).ok_or(BadAction)?.0;
        let shape = (1..=40).contains(&object.len()) && object.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit());
        if shape { Ok(Self::new(verb, object)) } else { Err(BadAction) }
    }
}
impl Serialize for Action {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.collect_str(self) }
}
impl<'de> Deserialize<'de> for Action {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        <std::borrow::Cow<'de, str>>::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// How sure we are that the caller is the account's holder. The order is the meaning.
///
/// This is our own scale (`urn:countersign:acr:*`): a telephone leg is no authenticated protected
/// channel, so no level here equals a NIST AAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nothing is known.
    #[default]
    Anonymous,
    /// The account that is meant is known. Nothing is proved.
    Identified,
    /// At least one proof that stands on its own.
    Authenticated,
    /// Proofs of two different classes, at least one of them something held.
    Strong,
}

impl Level {
    /// All levels, lowest first.
    pub const ALL: [Self; 4] = [Self::Anonymous, Self::Identified, Self::Authenticated, Self::Strong];
    /// The name used in policies, events and screens.
    pub fn name(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Identified => "identified",
            Self::Authenticated => "authenticated",
            Self::Strong => "strong",
        }
    }
    /// Rank for policies: 0 to 3.
    pub fn rank(self) -> i64 { self as i64 }
}
impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(self.name()) }
}

/// What a person at the desk is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Takes calls from the agent queue.
    Agent,
    /// Takes handed-over and risky calls, and does the most sensitive things.
    Specialist,
    /// Owns policy, overrides and alerts.
    Lead,
    /// Runs the installation; sees no customer.
    Admin,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::Agent, Self::Specialist, Self::Lead, Self::Admin];
    /// The name used in policies and events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Specialist => "specialist",
            Self::Lead => "lead",
            Self::Admin => "admin",
        }
    }
    /// The role with this name.
    pub fn parse(name: &str) -> Option<Self> { Self::ALL.into_iter().find(|r| r.name() == name) }
}

/// Who acts: a person at the desk, or the caller alone with the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// The caller, without any agent.
    SelfService,
    /// An agent.
    Agent {
        /// Who.
        id: AgentId,
        /// As what.
        role: Role,
    },
}

impl Actor {
    /// The agent's id, if it is one.
    pub fn agent(&self) -> Option<AgentId> {
        match self {
            Self::Agent { id, .. } => Some(*id),
            Self::SelfService => None,
        }
    }
}

/// The facts of a call and account that a decision may rest on. All of them are ours: nothing
/// here was said by the caller.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Facts {
    /// The caller's present assurance.
    pub level: Level,
    /// Two independent claims agree, or the caller is authenticated: the account may be opened at all.
    pub opened: bool,
    /// Kinds of claims that fit the account. Identification only.
    pub claims: Vec<ClaimName>,
    /// Kinds of factors proved and still fresh.
    pub proofs: Vec<FactorKind>,
    /// Risk score, 0 to 100.
    pub risk: i64,
    /// The account is frozen after "this wasn't me".
    pub frozen: bool,
    /// The customer locked the phone channel for changes.
    pub phone_lock: bool,
    /// A duress signal was given on this call.
    pub duress: bool,
    /// The caller speaks for somebody else. `None`: for themselves.
    pub delegate: Option<DelegateFacts>,
    /// For `use:` actions: the strongest set-up factor outranks the one in question.
    pub stronger_set_up: bool,
    /// An agent with a written reason asks for an exception.
    pub with_reason: bool,
    /// What the last comparison of the voice on this call said. It may take away, and gives nothing.
    #[serde(default)]
    pub voice: Likeness,
}

/// The name of a claim kind as policies see it.
pub type ClaimName = crate::claim::ClaimKind;

/// What a delegate may do for the account.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DelegateFacts {
    /// `guardian`, `assistant`, `power_of_attorney`.
    pub kind: String,
    /// The delegation names the action in question.
    pub covers: bool,
}

/// One question to policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Request<'a> {
    /// Who acts.
    pub actor: Actor,
    /// To do what.
    pub action: &'a Action,
    /// In which situation.
    pub facts: &'a Facts,
}

/// The way on from a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WayOut {
    /// Never by phone: the customer does it signed in, and gets the link at the contact on file.
    Online,
    /// Another role may: hand the call over.
    Specialist,
    /// Nothing on this call.
    None,
    /// Looks accepted, and waits for review. Only ever the answer under duress.
    Held,
}

/// Policy's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It may happen now.
    Permit,
    /// It may happen once the caller reaches `to`.
    StepUp {
        /// The lowest level that would do.
        to: Level,
    },
    /// It may not happen on this call.
    Refuse {
        /// The way on.
        way_out: WayOut,
    },
}

/// Policy's answer with the ids of the policies that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What may happen.
    pub outcome: Outcome,
    /// The deciding policies; empty when nothing permits and nothing forbids.
    pub policies: Vec<String>,
}

impl Decision {
    /// Whether it may happen now.
    pub fn permits(&self) -> bool { self.outcome == Outcome::Permit }
}

/// The one place that decides. A pure function of its arguments: the same policies, facts and
/// question give the same answer, so it is an argument of the machine and not an effect.
pub trait Policy: Send + Sync {
    /// Answers one question. Fails closed: an error inside is a refusal.
    fn decide(&self, request: &Request<'_>) -> Decision;
    /// Whether it may happen now: [`Policy::decide`] without its reasons and its way on.
    fn permits(&self, request: &Request<'_>) -> bool { self.decide(request).permits() }
    /// What the policy set is called in records: a hash of its text.
    fn version(&self) -> &str;

    /// Why a policy decides as it does: a plain sentence for the desk, if it has one.
    fn explain(&self, _policy_id: &str) -> Option<&str> { None }

    /// The level that these proofs give an identified caller, with the policies that gave it.
    /// Never above [`Level::Identified`] without a proof, whatever the policies say.
    fn level(&self, actor: Actor, facts: &Facts) -> (Level, Vec<String>) {
        if facts.proofs.is_empty() {
            return (Level::Identified, Vec::new());
        }
        for level in [Level::Strong, Level::Authenticated] {
            let action = Action::new(Verb::Reach, level.name());
            let decision = self.decide(&Request { actor, action: &action, facts });
            if decision.permits() {
                return (level, decision.policies);
            }
        }
        (Level::Identified, Vec::new())
    }

    /// What would it take? The smallest sets of factors, out of those the caller has, after which
    /// the action would be permitted; weakest burden first, at most one entry per first factor.
    fn plan(&self, actor: Actor, action: &Action, facts: &Facts, available: &[FactorKind]) -> Vec<Vec<FactorKind>> {
        let permits_with = |added: &[FactorKind]| {
            let mut facts = facts.clone();
            for kind in added {
                if !facts.proofs.contains(kind) {
                    facts.proofs.push(*kind);
                }
            }
            let earned = |level: &Level| !facts.proofs.is_empty() && self.permits(&Request { actor, action: &Action::new(Verb::Reach, level.name()), facts: &facts });
            facts.level = [Level::Strong, Level::Authenticated].into_iter().find(earned).unwrap_or(Level::Identified);
            facts.opened = true;
            self.permits(&Request { actor, action, facts: &facts })
        };
        let fresh: Vec<FactorKind> = available.iter().copied().filter(|k| !facts.proofs.contains(k)).collect();
        let mut plans: Vec<Vec<FactorKind>> = fresh.iter().filter(|k| permits_with(&[**k])).map(|k| vec![*k]).collect();
        if plans.is_empty() {
            for (i, a) in fresh.iter().enumerate() {
                for b in fresh.iter().skip(i + 1) {
                    if permits_with(&[*a, *b]) {
                        plans.push(vec![*a, *b]);
                    }
                }
            }
        }
        plans
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_have_one_spelling() {
        for text in ["view:orders", "change:phone", "use:sms_code", "reach:strong", "do:cancel_order"] {
            assert_eq!(text.parse::<Action>().unwrap().to_string(), text);
        }
        for bad in ["", "view", "view:", "eat:cake", "view:Orders", "view:a b", ":x"] {
            assert_eq!(bad.parse::<Action>(), Err(BadAction), "{bad}");
        }
    }

    #[test]
    fn levels_are_ordered() {
        assert!(Level::ALL.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
