//! The words between a gateway and whoever embeds it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::clip::Clip;
use crate::g711::Law;
use zeroize::Zeroizing;

/// Names a call for as long as it lasts. Random; tells nothing about it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallKey(pub(crate) Arc<str>);

impl CallKey {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        Self(crate::random::hex::<16>().into())
    }

    /// The name: 32 hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A call that has come in and is not answered yet.
#[derive(Clone)]
pub struct Incoming {
    /// Its name.
    pub key: CallKey,
    /// The user part of `From`: what the caller says of himself. Empty when withheld.
    pub from: String,
    /// The user parts of `P-Asserted-Identity` (RFC 3325): what the network says. To be believed only
    /// from a network that is trusted. Empty for one that names nobody: withheld, or no user part.
    pub asserted: Vec<String>,
    /// The user part of `To`: the number that was called.
    pub to: String,
    /// The user part of the request line, which a redirection may have changed.
    pub target: String,
    /// The values of `Identity` (RFC 8224), as they came.
    pub identity: Vec<String>,
    /// The value of `Privacy` (RFC 3323), if there is one.
    pub privacy: Option<String>,
    /// The `Call-ID`, by which the network knows it.
    pub call_id: String,
    /// Whence the request came.
    pub source: SocketAddr,
    /// Over what.
    pub transport: Transport,
    /// The name whose password was given, where digest is set.
    pub user: Option<String>,
}

impl fmt::Debug for Incoming {
    /// Without numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("key", &self.key)
            .field("source", &self.source)
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}

/// Over what a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A stream.
    Tcp,
}

/// What to do with a call that has come in.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Take it, and begin with these.
    Accept(Steps),
    /// Refuse it with this code: 300 to 699, any other counts as 603 (RFC 3261 §21).
    Reject(u16),
}

/// What is done one after the other. A new set takes the place of the one that goes on.
#[derive(Clone, Debug, Default)]
pub struct Steps {
    /// Its number, if the embedder counts: a set whose number is not above that of the last one is
    /// dropped, so that a set may be pushed twice, or late, without harm.
    pub number: Option<u64>,
    /// The steps. When the last one is done the call stays as it is. None: what goes on goes on.
    pub list: Vec<Step>,
}

impl Steps {
    /// Without a number: always taken.
    #[must_use]
    pub fn new(list: impl Into<Vec<Step>>) -> Self {
        Self { number: None, list: list.into() }
    }

    /// With a number.
    #[must_use]
    pub fn numbered(number: u64, list: impl Into<Vec<Step>>) -> Self {
        Self { number: Some(number), list: list.into() }
    }
}

/// One thing to do.
#[derive(Clone)]
pub enum Step {
    /// Play these, one after the other.
    Play(Vec<Arc<Clip>>),
    /// Collect keys. A key that comes while the `Play`s right before it go on ends them, and counts.
    Gather(Gather),
    /// Listen to what the caller says, for so long at most, half a minute at the longest; it ends before
    /// that when they spoke and are silent again. An agent who is connected stays and hears none of it. A
    /// key ends it as well: then that is what is told, and nothing of what was said.
    Listen(Duration),
    /// Play this over and over until something else happens. An agent who was connected is let go.
    Hold(Arc<Clip>),
    /// The same, and every key that the caller presses meanwhile is told by itself: [`Flow::digits`].
    Wait(Arc<Clip>),
    /// Connect with an agent. While the steps are `Play` and `Gather`, an agent who is connected stays,
    /// hears the soft tone, and neither the caller nor the keys; a `Bridge` to the same target goes on
    /// with him.
    Bridge(Bridge),
    /// Have the caller's side call somebody else, at a SIP URI (REFER, RFC 3515).
    Refer(String),
    /// End the call.
    HangUp,
}

impl fmt::Debug for Step {
    /// Without numbers: a URI may be one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Play(clips) => f.debug_tuple("Play").field(clips).finish(),
            Self::Gather(gather) => gather.fmt(f),
            Self::Listen(longest) => f.debug_tuple("Listen").field(longest).finish(),
            Self::Hold(clip) => f.debug_tuple("Hold").field(clip).finish(),
            Self::Wait(clip) => f.debug_tuple("Wait").field(clip).finish(),
            Self::Bridge(bridge) => bridge.fmt(f),
            Self::Refer(_) => f.write_str("Refer"),
            Self::HangUp => f.write_str("HangUp"),
        }
    }
}

/// What a caller said: 8000 samples a second, 16 bits linear. Overwritten in memory when it is dropped.
#[derive(Default)]
pub struct Heard {
    pub(crate) samples: Zeroizing<Vec<i16>>,
    pub(crate) law: Option<Law>,
}

impl Heard {
    /// The samples, for whoever listens.
    #[must_use]
    pub fn into_samples(mut self) -> Vec<i16> {
        std::mem::take(&mut *self.samples)
    }

    /// In which law it came. `None`: nothing came.
    #[must_use]
    pub fn law(&self) -> Option<Law> {
        self.law
    }
}

impl fmt::Debug for Heard {
    /// Without a sound.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Heard({} samples)", self.samples.len())
    }
}

/// What keys are collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gather {
    /// Done with so many keys. At least one.
    pub max: u8,
    /// Given up after so long without a key, counted from the end of what was played.
    pub timeout: Duration,
    /// `#` ends the entry, and is not part of it. A `#` before any key is passed over.
    pub hash_ends: bool,
    /// The keys are a secret. Nothing of any entry reaches an agent, and what was keyed is overwritten
    /// in memory once it was handed over; the mark is for embedders that record or show what goes on.
    pub secret: bool,
}

/// How to connect with an agent.
#[derive(Clone)]
pub struct Bridge {
    /// Whom: a SIP URI, or what [`Flow::locate`] makes one of.
    pub to: AgentLeg,
    /// What the agent's telephone shows as the caller: a user part of letters, digits and `+*#-_.`.
    /// Anything else: `anonymous`.
    pub show: String,
    /// What the caller hears until the agent answers, over and over.
    pub meanwhile: Option<Arc<Clip>>,
    /// How long it may ring. `None`: as set.
    pub ring: Option<Duration>,
    /// Whether the agent gets the keys that the caller presses while they talk. If not, the sound of
    /// them is blanked too.
    pub pass_keys: bool,
}

impl fmt::Debug for Bridge {
    /// Without numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge").field("ring", &self.ring).field("pass_keys", &self.pass_keys).finish_non_exhaustive()
    }
}

/// Whom to connect with.
#[derive(Clone, PartialEq, Eq)]
pub enum AgentLeg {
    /// A SIP URI.
    Uri(String),
    /// A name that the embedder turns into a SIP URI when it is dialled.
    Agent(String),
}

/// How a call, or an agent's leg of it, came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The caller hung up.
    Caller,
    /// We did: a step said so.
    Us,
    /// The caller gave up before we had answered.
    Cancelled,
    /// The other side was silent for too long, on either way, or never acknowledged.
    Lost,
    /// It was as long as a call may be.
    TooLong,
    /// A transfer succeeded.
    Transferred,
    /// The gateway stops.
    Stopping,
}

/// What the caller's side reports of a transfer (RFC 3515 §2.4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// The other telephone rings, or so: a code of 100 to 199.
    Going(u16),
    /// It was answered. The call is ended by us.
    Done,
    /// It failed with this code; 0 when nobody told within a minute. The call goes on.
    Failed(u16),
}

/// What was made of an agent's leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentEvent {
    /// He is connected.
    Connected,
    /// He hung up. The call goes on.
    Left,
    /// He could not be reached, with this code; 408 when nobody answered in time.
    Failed(u16),
}

/// What the embedder decides. Called from the task of the call, one at a time; the call goes on
/// meanwhile, and may be over when an answer comes.
#[async_trait]
pub trait Flow: Send + Sync + 'static {
    /// A call has come in. The caller hears ringing until this answers.
    async fn incoming(&self, call: &Incoming) -> Answer;

    /// A `Gather` is done: at least one key, `#` not among them if it ends an entry; or a key was pressed
    /// in a `Wait`. `None`: the call stays as it is, and steps are pushed later.
    async fn digits(&self, call: &CallKey, keys: &str) -> Option<Steps>;

    /// A `Gather` was given up. What was keyed until then is not handed over. `None`: the steps that
    /// follow the `Gather` are done.
    async fn no_keys(&self, call: &CallKey) -> Option<Steps>;

    /// A `Listen` is over: this is what the caller said, perhaps nothing. `None`: the call stays as it is,
    /// and steps are pushed later.
    async fn heard(&self, _call: &CallKey, _said: Heard) -> Option<Steps> {
        None
    }

    /// The call is over. Told once, after everything else; not for a call that was rejected.
    async fn hung_up(&self, call: &CallKey, how: Ended);

    /// Somebody answered a call of ours. `None`: they hear nothing until steps are pushed.
    async fn picked_up(&self, _call: &CallKey) -> Option<Steps> {
        None
    }

    /// The steps are done and none of them goes on. By itself this is nothing to do.
    async fn finished(&self, _call: &CallKey) -> Option<Steps> {
        None
    }

    /// Something came of an agent's leg. By itself: nothing when he is connected, otherwise the call
    /// stays silent until something is pushed.
    async fn agent(&self, _call: &CallKey, _what: AgentEvent) -> Option<Steps> {
        None
    }

    /// Something came of a `Refer`.
    async fn transferred(&self, _call: &CallKey, _what: Transfer) -> Option<Steps> {
        None
    }

    /// The SIP URI of an agent, for [`AgentLeg::Agent`]. `None`: he cannot be reached, which is 404.
    async fn locate(&self, _call: &CallKey, _agent: &str) -> Option<String> {
        None
    }
}
