//! A caller, seen from the telephone, whatever stands between: each adapter is driven as its vendor
//! drives it, by what its answers say.

mod connect;
mod genesys;
mod handset;
mod http;
mod jambonz;
mod twilio;

use async_trait::async_trait;
use countersign_core::id::CallId;

use super::{Setup, World};

use connect::Connect;
pub use genesys::Genesys;
pub use http::Http;
pub use jambonz::Jambonz;

/// What the caller hears, and what happens after the words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// The words with their languages: ISO 639-1.
    pub said: Vec<(String, String)>,
    /// What happens then.
    pub then: Then,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Then {
    /// Up to so many keys are taken.
    Keys(u64),
    /// The caller waits with this music.
    Hold(String),
    /// The caller talks with an agent.
    Agent,
    /// The call ends.
    HangUp,
    #[default]
    Nothing,
}

impl Heard {
    pub fn words(&self) -> String { self.said.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(" ") }
}

/// One call, at the caller's end.
#[async_trait]
pub trait Caller: Send {
    fn id(&self) -> CallId;
    fn heard(&self) -> &Heard;
    /// Keys, ended by a hash if need be.
    async fn keys(&mut self, keys: &str);
    /// Nothing is keyed until the telephone gives up.
    async fn silence(&mut self);
    /// The desk or the clock moved the call: the telephone hears of it, in whichever way it does.
    async fn listen(&mut self);
    async fn hang_up(&mut self);
    /// Says something when they are asked to, where somebody can listen.
    async fn says(&mut self, _samples: &[i16]) { panic!("nobody can listen here") }
    /// How often the agent had to send the caller back to us by hand.
    fn sent_back(&self) -> usize { 0 }
}

impl dyn Caller {
    pub fn words(&self) -> String { self.heard().words() }

    #[track_caller]
    pub fn hears(&self, words: &str) { assert!(self.words().contains(words), "the caller hears {:?}, not {words:?}", self.words()); }

    #[track_caller]
    pub fn then(&self, then: Then) { assert_eq!(self.heard().then, then, "after {:?}", self.words()); }

    pub async fn all(&mut self, keys: &[&str]) {
        for keys in keys {
            self.keys(keys).await;
        }
    }

    /// The code that was read out last.
    #[track_caller]
    pub fn spoken_code(&self) -> String {
        let words = self.words();
        let (_, rest) = words.split_once("Type this code there: ").unwrap_or_else(|| panic!("no code in {words:?}"));
        rest.split('.').next().unwrap().chars().filter(char::is_ascii_digit).collect()
    }
}

/// An adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Handset,
    Twilio,
    Http,
    Jambonz,
    Connect,
    Genesys,
}

/// What a call comes with.
#[derive(Debug, Clone, Copy)]
pub struct Dials {
    pub from: Option<&'static str>,
    /// The number that only the portal dials, with this token.
    pub token: bool,
    /// The network's signature does not hold.
    pub failed: bool,
}

pub const fn from(number: &'static str) -> Dials { Dials { from: Some(number), token: false, failed: false } }

impl Kind {
    pub const ALL: [Self; 6] = [Self::Handset, Self::Twilio, Self::Http, Self::Jambonz, Self::Connect, Self::Genesys];

    pub fn name(self) -> &'static str {
        match self {
            Self::Handset => "handset",
            Self::Twilio => "Twilio",
            Self::Http => "HTTP",
            Self::Jambonz => "jambonz",
            Self::Connect => "Connect",
            Self::Genesys => "Genesys",
        }
    }

    /// Its name in the record.
    pub fn adapter(self) -> &'static str {
        match self {
            Self::Handset => "handset",
            Self::Twilio => "twilio",
            Self::Http => "http",
            Self::Jambonz => "jambonz",
            Self::Connect => "connect",
            Self::Genesys => "genesys",
        }
    }

    /// A server that rings through it, if it can.
    pub fn setup(self) -> Setup { Setup { demo: self == Self::Handset, rings: self.rings().then(|| self.adapter()), ..Setup::default() } }

    /// Whether it can ring customers.
    pub fn rings(self) -> bool { !matches!(self, Self::Connect | Self::Genesys) }

    /// Whether callers can be listened to over it.
    pub fn hears(self) -> bool { self == Self::Twilio }

    /// Whether it passes on what the network says of the calling number.
    pub fn attests(self) -> bool { matches!(self, Self::Twilio | Self::Http | Self::Jambonz) }

    pub async fn dial(self, world: &World, dials: Dials) -> Box<dyn Caller> {
        match self {
            Self::Handset => handset::Handset::dial(world, dials).await,
            Self::Twilio => twilio::dial(world, dials).await,
            Self::Http => Box::new(Http::dial(world, dials).await),
            Self::Jambonz => Box::new(Jambonz::dial(world, dials).await),
            Self::Connect => Box::new(Connect::dial(world, dials).await),
            Self::Genesys => Box::new(Genesys::dial(world, dials).await),
        }
    }

    /// Answers a call of ours.
    pub async fn answer(self, world: &World, id: CallId) -> Box<dyn Caller> {
        match self {
            Self::Handset => handset::Handset::answer(world, id).await,
            Self::Twilio => twilio::answer(world, id).await,
            Self::Http => Box::new(Http::answer(world, id).await),
            Self::Jambonz => Box::new(Jambonz::answer(world, id).await),
            Self::Connect | Self::Genesys => panic!("{} rings nobody", self.name()),
        }
    }
}
