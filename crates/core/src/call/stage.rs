//! Where a call is, who began it, and how it ended.

use serde::{Deserialize, Serialize};

use crate::{
    action::{Action, Role},
    id::{AgentId, CallId, ContactId},
};

/// What the caller is being asked, or where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Not greeted yet.
    #[default]
    Ringing,
    /// Asked for a language.
    Language,
    /// The number is known: asked whether it is about the upcoming thing.
    Recognised,
    /// Nothing is known: asked for a code, an account number, or an agent.
    Menu,
    /// Asked for an account number.
    KeyingAccountNumber,
    /// Asked for a postal code.
    KeyingPostalCode,
    /// Asked for the code shown in the portal.
    KeyingServiceCode,
    /// The telephone keys a token by itself.
    KeyingToken,
    /// Asked for what the open challenge wants.
    Proving,
    /// Waits until the customer answers elsewhere.
    Approving,
    /// Was given a code, and waits until somebody types it in the portal.
    Linking,
    /// We ring the customer.
    Dialing,
    /// Our call was answered: asked for the key that the portal shows.
    Confirming,
    /// No telephone of ours: a program of the company waits for the answer.
    Remote,
    /// Asked whether their voice may be taken.
    VoiceConsent,
    /// Asked to say the phrase, for the enrolment.
    VoiceTaking,
    /// Asked to say the phrase, for a comparison.
    VoiceSaying,
    /// Asked to say digits, to be learnt or compared.
    VoiceDigits,
    /// Asked for the hold music.
    Music,
    /// Waiting in a queue.
    Waiting,
    /// With an agent.
    Talking,
    /// Over.
    Ended,
}

/// Where calls wait for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Queue {
    /// For every agent.
    Agents,
    /// For specialists and leads.
    Specialists,
}

impl Queue {
    /// Whether somebody in this role takes calls from it.
    pub fn serves(self, role: Role) -> bool {
        match self {
            Self::Agents => role != Role::Admin,
            Self::Specialists => matches!(role, Role::Specialist | Role::Lead),
        }
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The caller hung up.
    Caller,
    /// The agent ended it.
    Agent,
    /// Too risky for anybody to take.
    Risk,
    /// Nobody was free in time.
    NobodyFree,
    /// The caller keyed nothing for too long.
    Silence,
    /// Our call was not answered, or not by the customer.
    NotReached,
    /// The customer said no, or nothing, to the program that asked.
    Unanswered,
    /// The program that asked has its answer.
    Collected,
    /// Too risky to go on with: the customer is rung back at a number on file.
    CalledBack,
    /// Too risky for a person: the caller was told the way online.
    SelfService,
}

/// Who began a call.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The caller rang us.
    #[default]
    Caller,
    /// A program of the company, by its name; the caller is on its line, not on ours.
    Client(String),
    /// The customer asked in the portal to be rung at this contact point.
    CallBack(ContactId),
    /// An agent rings the customer.
    Desk {
        /// Who.
        agent: AgentId,
        /// As what.
        role: Role,
        /// At which contact point.
        contact: ContactId,
        /// What about.
        matter: Option<Action>,
    },
    /// We ring back, because a call in the customer's name was too risky to go on with.
    RingBack {
        /// At which contact point.
        contact: ContactId,
        /// Which call that was.
        of: CallId,
    },
}

impl Origin {
    /// Whether the caller rang us.
    pub fn is_caller(&self) -> bool { *self == Self::Caller }
    /// Whether we rang them.
    pub fn is_ours(&self) -> bool { matches!(self, Self::CallBack(_) | Self::Desk { .. } | Self::RingBack { .. }) }
    /// Where we rang them.
    pub fn contact(&self) -> Option<ContactId> {
        match self {
            Self::CallBack(contact) | Self::Desk { contact, .. } | Self::RingBack { contact, .. } => Some(*contact),
            Self::Caller | Self::Client(_) => None,
        }
    }
}
