//! What happened outside of calls: to accounts, and at the desk. The same rules as for call
//! events: canonical, versioned, nothing personal.

use countersign_core::{
    action::Role,
    id::{AgentId, CallId, ChangeId},
    message::{Change, PermittedChange},
    time::Timestamp,
};
use countersign_store::{Append, NewEvent, Stream};
use serde::{Deserialize, Serialize};

/// Streams of the store.
pub const CALL: &str = "call";
/// See [`CALL`].
pub const ACCOUNT: &str = "account";
/// One-time codes checked for other systems: a record per authenticator, beside the account's own.
pub const CHECK: &str = "check";
/// See [`CALL`].
pub const AGENT: &str = "agent";
/// What rules of retention did: one stream.
pub const RETENTION: &str = "retention";

/// What happened to an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum AccountEvent {
    /// It came from a file.
    Imported,
    /// A guarded change was carried out.
    Changed {
        /// Which.
        change: ChangeId,
        /// What.
        action: String,
        /// On which call.
        call: CallId,
    },
    /// A guarded change was undone by its link.
    Undone {
        /// Which.
        change: ChangeId,
    },
    /// The customer said that a call was not theirs.
    Frozen {
        /// Which call, if it was reported for one.
        call: Option<CallId>,
    },
    /// Signed in to the portal.
    SignedIn {
        /// How: `link`, `passkey`, `provider` or `demo`.
        how: String,
    },
    /// An authenticator came, signed in. One that takes the place of another is both.
    AuthenticatorAdded {
        /// Which kind.
        kind: String,
    },
    /// An authenticator went, signed in.
    AuthenticatorRemoved {
        /// Which kind.
        kind: String,
    },
    /// Somebody signed in could not confirm a change with what is on file.
    ConfirmFailed {
        /// With which kind they tried.
        kind: String,
    },
    /// A preference was set, signed in.
    PreferenceChanged {
        /// Which, and for a limit whether it is on: see docs/events.md.
        what: String,
    },
    /// The customer let us wake a device, or a device's keys were renewed.
    PushAdded,
    /// A device is not woken any more: the customer said so, or its push service.
    PushRemoved,
    /// The customer signed in through the company's provider, which can be asked on calls from now on.
    ProviderLinked,
    /// A voice was taken off the file, outside of a call.
    VoiceRemoved {
        /// `withdrawn` signed in, `expired`, or `suspect`: it came shortly before the account was frozen, or
        /// on a call that the customer disowned or the lead marked as fraud.
        why: String,
    },
    /// The last under a legal hold, also of what was only learnt: it is not compared any more, and goes
    /// when the hold does.
    VoiceEnded,
    /// What a voice's template had learnt was taken out again.
    VoiceUnlearnt {
        /// Because of which call; none: of all that came shortly before the account was frozen.
        call: Option<CallId>,
    },
    /// The counts of wrong entries were set back by a command.
    Unlocked,
    /// Nothing of this customer may be destroyed.
    Held,
    /// It may again.
    Released,
    /// Everything that is kept about the customer was given out.
    Exported,
    /// The customer fetched everything that is kept about them, signed in.
    Downloaded,
    /// Numbers or addresses that were replaced long ago were taken off the file.
    ContactsForgotten,
    /// Fields of the profile were over their time, and were taken off the file.
    FieldsForgotten {
        /// Which, by their names in the configuration.
        fields: Vec<String>,
    },
    /// Everything about the customer was destroyed. The last event of the account.
    Erased,
    /// A one-time code of an authenticator was checked for another system.
    Checked {
        /// Which kind.
        kind: String,
        /// Whether it was right.
        accepted: bool,
        /// Who asked: the name of the key.
        client: String,
    },
}

/// What rules of retention did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum RetentionEvent {
    /// A rule took something of a call away.
    Applied {
        /// Which rule: `calls`, `notes` or `events.NAME`.
        rule: String,
        /// Of which call.
        call: CallId,
        /// How many events it redacted.
        events: u64,
    },
}

/// What happened to an agent's own account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum AgentEvent {
    /// Was added.
    Added {
        /// As what.
        role: Role,
    },
    /// Signed in.
    SignedIn,
    /// Looked a customer up by account number, without a call: to ring them.
    LookedUp {
        /// Somebody has this number.
        found: bool,
    },
    /// May take calls of another company whose calls come to this desk.
    Serves {
        /// Its name in the configuration.
        tenant: String,
        /// As what.
        role: Role,
    },
    /// May not any more.
    Left {
        /// Which company's.
        tenant: String,
    },
    /// Signed out, or was signed out.
    SignedOut {
        /// By whom, if not by themselves.
        by: Option<AgentId>,
    },
}

#[derive(Serialize)]
struct Envelope<'a, E> {
    v: u8,
    n: u64,
    at: Timestamp,
    #[serde(flatten)]
    event: &'a E,
}

/// One event as the next of its stream.
pub fn append<E: Serialize>(kind: &'static str, id: [u8; 16], expected: u64, at: Timestamp, event: &E) -> Result<Append, serde_json::Error> {
    let envelope = Envelope { v: countersign_core::call::EVENT_VERSION, n: expected + 1, at, event };
    let body = countersign_core::call::encode(&envelope)?;
    Ok(Append { stream: Stream { kind, id }, expected, events: vec![NewEvent { at: at.0, body }] })
}

/// The event of a change that was carried out.
pub fn changed(change: &PermittedChange, call: CallId) -> AccountEvent {
    AccountEvent::Changed { change: change.id, action: Change::action(&change.change).to_string(), call }
}
