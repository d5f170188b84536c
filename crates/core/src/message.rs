//! Messages to customers. A message can only go to a contact point **on file**: there is no type
//! here that could carry a destination from a caller or an agent (`which_number_to_text`).

use serde::{Deserialize, Serialize};

use crate::{
    action::Action,
    factor::FactorKind,
    id::{AccountId, CallId, ChallengeId, ChangeId, ContactId, MessageId},
    prompt::Lang,
    secret::Secret,
    voice,
};

/// Where a message goes: a contact point of an account, looked up when it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnFile {
    /// Whose.
    pub account: AccountId,
    /// Which.
    pub contact: ContactId,
}

/// What a message says. Sealed while it waits, wiped once it went.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "body")]
pub enum Body {
    /// A one-time code: names the company, that the customer is on the phone now, what it is
    /// for, and how to report fraud.
    Code {
        /// The code.
        code: Secret,
        /// The challenge it answers.
        challenge: ChallengeId,
        /// Texted or read out.
        kind: FactorKind,
        /// What it is for; `None`: to begin with.
        action: Option<Action>,
    },
    /// Something changed. Says that it happened and how to undo it, never what the new value is.
    Changed {
        /// What.
        action: Action,
        /// The link that undoes it.
        undo: Option<Secret>,
    },
    /// After a sensitive call: what was done, with "this wasn't me" (`security_follow_up`).
    Summary {
        /// What was done on the call.
        actions: Vec<Action>,
        /// The link that freezes the account.
        report: Secret,
    },
    /// The way to do it signed in (`ups_online_only`).
    Online {
        /// What the caller wanted.
        action: Action,
    },
    /// No words: rings the customer for this call of ours (`walmart_call_me`).
    Ring {
        /// Which call.
        call: CallId,
    },
    /// The customer changed something signed in: told at every address, because a thief may be
    /// signed in too. The actions are those of policy, such as `change:factors`.
    ChangedOnline {
        /// What.
        action: Action,
        /// The link that freezes the account.
        report: Secret,
    },
}

/// A message on its way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Message {
    /// Which one; also the provider's idempotency key.
    pub id: MessageId,
    /// To where.
    pub to: OnFile,
    /// In which language.
    pub lang: Lang,
    /// What.
    pub body: Body,
}

/// How a message fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// The provider took it.
    Sent,
    /// The handset or mailbox has it.
    Delivered,
    /// It will not arrive.
    Failed,
    /// Nobody can say whether it went; it is not sent again.
    Unknown,
}

/// A change that an agent performs for the caller. Values are secret until they are sealed.
#[derive(Debug, Clone)]
pub enum Change {
    /// A new telephone number; it starts its cooling-off time.
    Phone(Secret),
    /// A new e-mail address; it starts its cooling-off time.
    Email(Secret),
    /// A new postal address.
    Address {
        /// Street and town.
        address: Secret,
        /// Postal code.
        postal_code: Secret,
    },
    /// A link to set a new web password, sent to the contact on file.
    Password,
    /// A new PIN or verbal password.
    Word {
        /// Which of the two.
        kind: FactorKind,
        /// The new secret.
        word: Secret,
    },
    /// A factor is taken away.
    RemoveFactor(FactorKind),
    /// An order is called off.
    CancelOrder,
    /// Any other business action `do:…`: recorded and told to the customer here, carried out in
    /// the company's own system.
    Business(String),
    /// The freeze after "this wasn't me" ends.
    EndFreeze,
    /// A voice comes on file. The machine does this after consent and three good takes; nobody asks
    /// for it by this.
    Voice(voice::OnFile),
    /// The voice on file goes. By the machine as well.
    NoVoice,
}

impl Change {
    /// The action that policy is asked about.
    pub fn action(&self) -> Action {
        use crate::action::Verb;
        match self {
            Self::Phone(_) => Action::new(Verb::Change, "phone"),
            Self::Email(_) => Action::new(Verb::Change, "email"),
            Self::Address { .. } => Action::new(Verb::Change, "address"),
            Self::Password => Action::new(Verb::Change, "password"),
            Self::Word { .. } | Self::RemoveFactor(_) => Action::new(Verb::Change, "factors"),
            Self::Business(object) => Action::new(Verb::Do, object.clone()),
            Self::CancelOrder => Action::new(Verb::Do, "cancel_order"),
            Self::Voice(_) | Self::NoVoice => Action::new(Verb::Change, "voice"),
            Self::EndFreeze => Action::new(Verb::Do, "end_freeze"),
        }
    }
}

/// A change that policy permitted, for the shell to carry out in the same transaction.
#[derive(Debug, Clone)]
pub struct PermittedChange {
    /// Which one; names the undo.
    pub id: ChangeId,
    /// Whose account.
    pub account: AccountId,
    /// What.
    pub change: Change,
}
