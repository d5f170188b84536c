//! What happened on a call, append-only. The state of a call is the fold of these and nothing
//! else. An event holds no personal value: claims are kinds, numbers are keyed hashes, codes are
//! peppered hashes, free text is a note elsewhere.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{stage::{Ending, Origin, Queue, Stage}, state::{Challenge, Link}};
use crate::{
    action::{Action, Decision, Field, Level, Role},
    factor::{Class, FactorKind},
    id::{AccountId, AgentId, AuthenticatorId, ChallengeId, ChangeId, DelegationId, MessageId, NoteId},
    identify::ClaimRecord,
    message::Delivery,
    prompt::{Lang, Music},
    risk::{Contribution, History, NumberFacts, Route, Verstat},
    secret::Blind,
    time::Timestamp,
    voice,
};

/// Version of the encoding, written with every event. Fields may be added with a default;
/// anything else is a new version.
pub const EVENT_VERSION: u8 = 1;

/// One event with its place and time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// Encoding version, [`EVENT_VERSION`].
    pub v: u8,
    /// Place in the call, from 1, without gaps.
    pub n: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// Why a challenge ended without a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closed {
    /// Too many wrong entries on this call.
    Exhausted,
    /// Its time ran out.
    Expired,
    /// The caller wanted another way.
    CallerLeft,
    /// The agent called it off.
    AgentLeft,
    /// The message could not be delivered.
    NotDelivered,
    /// Too many wrong entries lately, over all calls from this line or for this authenticator.
    Throttled,
    /// The call ended or changed hands.
    CallMoved,
    /// The customer said no.
    Declined,
    /// The customer said that they are not on the phone.
    Disowned,
}

/// Why assurance changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LevelCause {
    /// The account became known.
    Identification,
    /// A challenge succeeded.
    Proof,
    /// The proofs are too old.
    Expiry,
    /// The account of the call was given up.
    Switch,
    /// The customer said that they are not on the phone.
    Disowned,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Event {
    /// The call came in.
    Started {
        /// Which adapter took it.
        adapter: String,
        /// Keyed hash of the calling number, if one was signalled.
        number: Option<Blind>,
        /// What the network says of that number.
        verstat: Verstat,
        /// The number is on the deny list.
        denied: bool,
        /// Who began it.
        #[serde(default, skip_serializing_if = "Origin::is_caller")]
        origin: Origin,
    },
    /// The caller was asked for something.
    Asked {
        /// For what.
        stage: Stage,
    },
    /// Nothing was keyed.
    Silence,
    /// The language was chosen or taken from the account.
    LanguageChosen {
        /// Which.
        lang: Lang,
    },
    /// The hold music was chosen.
    MusicChosen {
        /// Which.
        music: Music,
    },
    /// The caller is calling about what was hinted at.
    IntentConfirmed,
    /// A claim was made.
    Claimed {
        /// What it is about and whom it fits.
        claim: ClaimRecord,
    },
    /// A claim points at another account than the one of this call, which stays.
    Contradicted {
        /// What the claim is about; its value is not kept.
        claim: ClaimRecord,
    },
    /// The account that is meant is known.
    Identified {
        /// Which.
        account: AccountId,
        /// Two independent claims agree.
        agreed: bool,
        /// Another account was thought to be meant before: that of the calling number, which is
        /// set aside, or that of something misheard.
        instead_of: Option<AccountId>,
    },
    /// The agent gave up the account of this call and starts again from nothing.
    Switched {
        /// Who.
        agent: AgentId,
        /// The written reason.
        note: NoteId,
    },
    /// The caller speaks for somebody else.
    SpeaksFor {
        /// Whose account is open from now on.
        subject: AccountId,
        /// By which delegation.
        delegation: DelegationId,
        /// What kind.
        kind: String,
        /// For which actions.
        actions: Vec<Action>,
    },
    /// The caller wanted to speak for somebody else and may not.
    SpeakRefused {
        /// Who asked.
        agent: AgentId,
    },
    /// A challenge began.
    Challenged {
        /// Which.
        challenge: Challenge,
    },
    /// A code was given out, for whoever types it in the portal.
    LinkOpened {
        /// Which.
        link: Link,
    },
    /// Nobody typed it.
    LinkClosed {
        /// Why.
        why: Closed,
    },
    /// The customer of this account, asked for an approval, says that they are not on the phone.
    Disowned {
        /// Who says so.
        account: AccountId,
    },
    /// Our call is on its way.
    Rang {
        /// The message that rings.
        message: MessageId,
    },
    /// Our call was answered.
    Answered,
    /// A wrong entry.
    ChallengeFailed {
        /// Which challenge.
        challenge: ChallengeId,
        /// Entries left on this challenge.
        left: u8,
    },
    /// A challenge ended without a proof.
    ChallengeClosed {
        /// Which.
        challenge: ChallengeId,
        /// Why.
        why: Closed,
    },
    /// A factor cannot be used for now: too many messages went to it, or wrong entries were made,
    /// lately.
    FactorUnavailable {
        /// Which kind.
        kind: FactorKind,
    },
    /// A wrong service code.
    ServiceCodeFailed,
    /// Service codes are not taken from this line for now.
    ServiceCodeThrottled,
    /// A challenge succeeded.
    Proved {
        /// Whose.
        account: AccountId,
        /// Which authenticator.
        authenticator: AuthenticatorId,
        /// Its kind.
        kind: FactorKind,
        /// Its class.
        class: Class,
        /// Which challenge, if there was one to answer.
        challenge: Option<ChallengeId>,
        /// The duress word was used. Shown to the lead only.
        duress: bool,
        /// Proofs from before this count no more.
        #[serde(default)]
        fresh_from: Timestamp,
    },
    /// Assurance changed.
    LevelChanged {
        /// To what.
        level: Level,
        /// Until when.
        expires: Option<Timestamp>,
        /// Why.
        cause: LevelCause,
        /// The policies that gave it.
        policies: Vec<String>,
    },
    /// How a message of this call fared.
    Delivered {
        /// Which message.
        message: MessageId,
        /// How.
        delivery: Delivery,
    },
    /// Risk was scored anew.
    RiskScored {
        /// 0 to 100.
        score: u8,
        /// What it is made of.
        parts: Vec<Contribution>,
        /// Where it leads. Older events do not say: then it is what the usual thresholds say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        route: Option<Route>,
        /// Nothing follows from it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        shadow: bool,
    },
    /// Something bearing on risk came to be known from elsewhere; it takes the place of what came from
    /// there before.
    Signalled {
        /// From our own record of other calls.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        history: Option<History>,
        /// From number intelligence.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        number: Option<NumberFacts>,
    },
    /// The caller waits.
    Queued {
        /// Where.
        queue: Queue,
        /// The names of the risk contributions that sent it there, if they did.
        because: Vec<String>,
    },
    /// An agent took the call.
    Accepted {
        /// Who.
        agent: AgentId,
        /// As what.
        role: Role,
    },
    /// The agent compared what the caller said with a field.
    Compared {
        /// Who.
        agent: AgentId,
        /// Which field.
        field: Field,
        /// The answer.
        matched: bool,
    },
    /// Too many comparisons for this account lately.
    CompareThrottled {
        /// Who.
        agent: AgentId,
    },
    /// The agent looked at a field.
    Revealed {
        /// Who.
        agent: AgentId,
        /// Which field.
        field: Field,
        /// The policies that let it be seen.
        policies: Vec<String>,
    },
    /// Policy was asked about an action.
    Decided {
        /// Who asked; `None`: the machine itself.
        agent: Option<AgentId>,
        /// About what.
        action: Action,
        /// The answer.
        decision: Decision,
        /// Assurance at that moment.
        level: Level,
        /// The policy set that answered.
        policy: String,
    },
    /// An action was carried out.
    Performed {
        /// Who.
        agent: AgentId,
        /// What.
        action: Action,
        /// Which change, if it can be undone.
        change: ChangeId,
        /// It only looks carried out: it waits for review.
        held: bool,
        /// The written reason, if policy asked for one.
        note: Option<NoteId>,
    },
    /// The customer was sent the way to do it signed in.
    SentOnline {
        /// What they wanted.
        action: Action,
    },
    /// The call was handed to another queue with everything it carries.
    HandedOver {
        /// Who.
        agent: AgentId,
        /// Where to.
        queue: Queue,
    },
    /// The account was frozen while the call was going on.
    AccountFrozen,
    /// A summary of what was done for an account went to the contact on file: at the end, or when
    /// the call moved on to another account.
    SummarySent {
        /// What it names.
        actions: Vec<Action>,
    },
    /// The text of consent is read out: may the caller's voice be taken?
    VoiceOffered {
        /// Who asked for it.
        agent: AgentId,
        /// Which text.
        text: String,
        /// How many takes may be made.
        tries: u8,
    },
    /// The caller consented, with a key of their own telephone.
    VoiceConsented {
        /// Whose voice.
        account: AccountId,
        /// To which text.
        text: String,
        /// In which language they heard it.
        lang: Lang,
    },
    /// A take for the enrolment.
    VoiceTake {
        /// Why it is not good enough; `None`: it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fault: Option<voice::Fault>,
        /// How good the sound was.
        quality: voice::Quality,
    },
    /// A template is on file.
    VoiceEnrolled {
        /// Whose.
        account: AccountId,
        /// Which change: it can be undone.
        change: ChangeId,
        /// Until when.
        until: Timestamp,
        /// It only looks so: it waits for review.
        held: bool,
    },
    /// The caller is asked to say the phrase.
    VoiceAsked {
        /// Who asked for it.
        agent: AgentId,
        /// With whose voice it is compared.
        account: AccountId,
        /// In which language the phrase is.
        lang: Lang,
    },
    /// A voice was compared. A signal, never a proof.
    VoiceCompared {
        /// With whose.
        account: AccountId,
        /// What came of it.
        comparison: voice::Comparison,
        /// The caller had proved otherwise who they are: whoever measures scores takes these as genuine.
        #[serde(default)]
        proved: bool,
        /// Digits are asked for before a good word is one.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        digits: bool,
    },
    /// The caller is asked to say digits that were drawn for this, after the phrase.
    DigitsAsked {
        /// With whose voice they have to do.
        account: AccountId,
        /// Which, and how far learning them is.
        saying: voice::Saying,
    },
    /// An answer from which digits are learnt.
    DigitsTake {
        /// Why it is not good enough; `None`: it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fault: Option<voice::Fault>,
        /// How good the sound was.
        quality: voice::Quality,
    },
    /// All ten digits are on file, beside the template.
    DigitsKept {
        /// Whose.
        account: AccountId,
        /// It only looks so.
        held: bool,
    },
    /// Digits were compared with those on file. A signal, never a proof.
    DigitsChecked {
        /// With whose.
        account: AccountId,
        /// What came of it.
        checked: voice::Checked,
        /// Others are asked for, once.
        again: bool,
        /// The caller had proved otherwise who they are: by these it is seen how often the right people are
        /// not understood.
        proved: bool,
    },
    /// Listening ended without a template or a comparison.
    VoiceStopped {
        /// Why.
        why: voice::Stopped,
    },
    /// The template was taken away, because the caller wants that.
    VoiceRemoved {
        /// Who did it.
        agent: AgentId,
        /// Whose.
        account: AccountId,
    },
    /// The lead says that this call was fraud, or takes it back. May come after the end.
    Marked {
        /// Who.
        agent: AgentId,
        /// It was.
        fraud: bool,
        /// The written reason.
        note: NoteId,
    },
    /// The call ended.
    Ended {
        /// How.
        ending: Ending,
    },
    /// What stood here was taken away by a rule of retention. Only calls that have ended hold such.
    Redacted {
        /// Which kind of event it was.
        was: String,
    },
}

impl Event {
    /// The canonical encoding: JSON with sorted keys, integers only, no white space (RFC 8785 for
    /// this subset), so that a hash over it means the same everywhere.
    pub fn encode(recorded: &Recorded) -> Result<String, serde_json::Error> {
        encode(recorded)
    }
    /// Reads one event back.
    pub fn decode(text: &str) -> Result<Recorded, serde_json::Error> { serde_json::from_str(text) }
}

/// The canonical encoding of anything that is recorded: see [`Event::encode`].
pub fn encode<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    let mut out = String::with_capacity(160);
    canonical(&serde_json::to_value(value)?, &mut out)?;
    Ok(out)
}

/// Sorts by itself: whether `serde_json` does hangs on a feature that any dependency may turn on.
fn canonical(value: &Value, out: &mut String) -> Result<(), serde_json::Error> {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            for (i, (key, value)) in sorted.into_iter().enumerate() {
                out.push(if i == 0 { '{' } else { ',' });
                out.push_str(&serde_json::to_string(key)?);
                out.push(':');
                canonical(value, out)?;
            }
            out.push_str(if map.is_empty() { "{}" } else { "}" });
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                out.push(if i == 0 { '[' } else { ',' });
                canonical(item, out)?;
            }
            out.push_str(if items.is_empty() { "[]" } else { "]" });
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => out.push_str(&value.to_string()),
    }
    Ok(())
}
