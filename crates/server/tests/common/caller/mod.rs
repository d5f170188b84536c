//! A caller, seen from the telephone, whatever stands between: each adapter is driven as its vendor
//! drives it, by what its answers say.

mod asterisk;
mod connect;
mod ear;
mod freeswitch;
mod genesys;
mod handset;
mod http;
mod jambonz;
mod sip;
mod twilio;

use async_trait::async_trait;
use countersign_core::id::CallId;
use tokio::sync::OnceCell;

use super::{Setup, World, recordings::plain};

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
    /// A recogniser listens in this language.
    Words(String),
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
    /// How often the agent had to send the caller back to us by hand.
    fn sent_back(&self) -> usize { 0 }
    /// Keys whose answer need not be heard to its end.
    async fn hurry(&mut self, keys: &str) { self.keys(keys).await; }
    /// Says something after the tone: 8,000 samples a second.
    async fn say(&mut self, _samples: Vec<i16>) { panic!("nobody is heard on this line") }
    /// A recogniser understood words, and says how sure it is.
    async fn understood(&mut self, _text: &str, _confidence: Option<f64>) { panic!("nothing is understood on this line") }
    /// What is said is known by its sound, which has no punctuation.
    fn by_ear(&self) -> bool { false }
}

impl dyn Caller {
    pub fn words(&self) -> String { self.heard().words() }

    #[track_caller]
    pub fn hears(&self, words: &str) {
        let heard = if self.by_ear() { plain(&self.words()).contains(&plain(words)) } else { self.words().contains(words) };
        assert!(heard, "the caller hears {:?}, not {words:?}", self.words());
    }

    #[track_caller]
    pub fn then(&self, then: Then) { assert_eq!(self.heard().then, then, "after {:?}", self.words()); }

    pub async fn all(&mut self, keys: &[&str]) {
        let Some((last, before)) = keys.split_last() else { return };
        for keys in before {
            self.hurry(keys).await;
        }
        self.keys(last).await;
    }

    /// The code that was read out last.
    #[track_caller]
    pub fn spoken_code(&self) -> String {
        let words = plain(&self.words());
        let (_, rest) = words.split_once("Type this code there ").unwrap_or_else(|| panic!("no code in {words:?}"));
        rest.chars().take_while(|c| c.is_ascii_digit() || *c == ' ').filter(char::is_ascii_digit).collect()
    }
}

/// What stands before a world: made when the first call comes through it.
#[derive(Default)]
pub struct Rigs {
    sip: OnceCell<sip::Rig>,
    asterisk: OnceCell<super::asterisk::Rig>,
    freeswitch: OnceCell<freeswitch::Rig>,
}

/// How many events a call has.
async fn events(world: &World, id: CallId) -> u64 { u64::try_from(world.events(id).await.len()).unwrap() }

impl Rigs {
    async fn sip(&self, world: &World) -> &sip::Rig { self.sip.get_or_init(|| sip::Rig::open(world)).await }
    pub async fn asterisk(&self, world: &World) -> &super::asterisk::Rig { self.asterisk.get_or_init(|| super::asterisk::Rig::open(world)).await }
    async fn freeswitch(&self, world: &World) -> &freeswitch::Rig { self.freeswitch.get_or_init(|| freeswitch::Rig::open(world)).await }
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
    Sip,
    Asterisk,
    FreeSwitch,
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

/// How many adapters there are.
pub const COUNT: usize = 9;

impl Kind {
    pub const ALL: [Self; COUNT] = [Self::Handset, Self::Twilio, Self::Http, Self::Jambonz, Self::Connect, Self::Genesys, Self::Sip, Self::Asterisk, Self::FreeSwitch];

    pub fn name(self) -> &'static str {
        match self {
            Self::Handset => "handset",
            Self::Twilio => "Twilio",
            Self::Http => "HTTP",
            Self::Jambonz => "jambonz",
            Self::Connect => "Connect",
            Self::Genesys => "Genesys",
            Self::Sip => "SIP",
            Self::Asterisk => "Asterisk",
            Self::FreeSwitch => "FreeSWITCH",
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
            Self::Sip => "sip",
            Self::Asterisk => "asterisk",
            Self::FreeSwitch => "freeswitch",
        }
    }

    /// A server that rings through it, if it can.
    pub fn setup(self) -> Setup {
        let stir = (self == Self::Sip).then(sip::stir);
        Setup { demo: self == Self::Handset, rings: self.rings().then(|| self.adapter()), stir, ..Setup::default() }
    }

    /// Whether it can ring customers.
    pub fn rings(self) -> bool { !matches!(self, Self::Connect | Self::Genesys) }

    /// Whether it passes on what the network says of the calling number.
    pub fn attests(self) -> bool { !matches!(self, Self::Handset | Self::Connect | Self::Genesys) }

    /// Whether calls by it are sound on a line, which takes its time.
    pub fn sounds(self) -> bool { self == Self::Sip }

    /// Whether what is said is known by its sound alone.
    pub fn by_ear(self) -> bool { matches!(self, Self::Sip | Self::Asterisk | Self::FreeSwitch) }

    /// Whether the caller's voice reaches us.
    pub fn hears(self) -> bool { matches!(self, Self::Sip | Self::Twilio) }

    pub async fn dial(self, world: &World, dials: Dials) -> Box<dyn Caller> {
        match self {
            Self::Handset => handset::Handset::dial(world, dials).await,
            Self::Twilio => twilio::dial(world, dials).await,
            Self::Http => Box::new(Http::dial(world, dials).await),
            Self::Jambonz => Box::new(Jambonz::dial(world, dials).await),
            Self::Connect => Box::new(Connect::dial(world, dials).await),
            Self::Genesys => Box::new(Genesys::dial(world, dials).await),
            Self::Sip => sip::dial(world, dials).await,
            Self::Asterisk => asterisk::dial(world, dials).await,
            Self::FreeSwitch => freeswitch::dial(world, dials).await,
        }
    }

    /// Whoever is to be rung is rung by a telephone system that is there: one that comes back later takes
    /// what has been ordered of nobody for calls that rang while it was gone.
    pub async fn connect(self, world: &World) {
        if self == Self::Asterisk {
            world.rigs.asterisk(world).await;
        }
    }

    /// Answers a call of ours.
    pub async fn answer(self, world: &World, id: CallId) -> Box<dyn Caller> {
        match self {
            Self::Handset => handset::Handset::answer(world, id).await,
            Self::Twilio => twilio::answer(world, id).await,
            Self::Http => Box::new(Http::answer(world, id).await),
            Self::Jambonz => Box::new(Jambonz::answer(world, id).await),
            Self::Sip => sip::answer(world, id).await,
            Self::Asterisk => asterisk::answer(world, id).await,
            Self::FreeSwitch => freeswitch::answer(world, id).await,
            Self::Connect | Self::Genesys => panic!("{} rings nobody", self.name()),
        }
    }
}
