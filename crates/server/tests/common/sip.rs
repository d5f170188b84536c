//! The SIP adapter of a world, for telephones on this machine.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use countersign_core::{id::CallId, secret::E164};
use countersign_server::{
    hub::Notice,
    telephony::sip::{NAME, Sip, out::Out, voice::Voice},
};
use countersign_sip::{
    Gateway, Settings,
    caller::{Phone, PhoneSettings},
};
use tokio::{sync::broadcast::Receiver, time::timeout};

use super::World;

pub const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// The number of the contact center.
pub const CENTER: &str = "+12025550100";
/// Nothing takes longer than this, even on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(20);

/// The adapter of this world, and its gateway.
pub async fn adapter(world: &World, voice: Voice, out: Option<Out>, phones: HashMap<String, String>, change: impl FnOnce(&mut Settings)) -> (Arc<Sip>, Gateway) {
    let names = world.app.agents.clone();
    let sip = Sip::new(world.app.texts.clone(), voice, phones, true, Some("+1".into()), move |id| names.name(id));
    let sip = Arc::new(sip.reached_at(vec![E164::parse(CENTER).unwrap()]).calling(out));
    world.app.runner.hub.register(NAME, sip.clone());
    let mut settings = Settings { peers: vec!["127.0.0.0/8".parse().unwrap()], ..Settings::new((HERE, 0).into()) };
    change(&mut settings);
    let gateway = sip.start(world.app.clone(), settings).await.unwrap();
    (sip, gateway)
}

pub struct Gate {
    pub world: World,
    pub sip: Arc<Sip>,
    pub gateway: Gateway,
    notices: Receiver<Notice>,
    seen: HashSet<CallId>,
}

impl Gate {
    pub async fn open(world: &World) -> Self { Self::with(world, None, |_| {}).await }

    /// With calls out, agents' telephones, and settings that are changed.
    pub async fn with(world: &World, out: Option<Out>, change: impl FnOnce(&mut Settings)) -> Self { Self::staffed(world, out, HashMap::new(), change).await }

    pub async fn staffed(world: &World, out: Option<Out>, phones: HashMap<String, String>, change: impl FnOnce(&mut Settings)) -> Self {
        let notices = world.app.runner.hub.listen();
        let (sip, gateway) = adapter(world, Voice::new(None, Vec::new()), out, phones, change).await;
        Self { world: world.clone(), sip, gateway, notices, seen: HashSet::new() }
    }

    pub fn uri(&self) -> String { format!("sip:{CENTER}@{}", self.gateway.address()) }

    /// The next call that nobody has spoken of.
    pub async fn began(&mut self) -> CallId {
        loop {
            if let Notice::Call(id) = timeout(LIMIT, self.notices.recv()).await.expect("no call began").unwrap()
                && self.seen.insert(id)
            {
                return id;
            }
        }
    }

    /// Waits until the record of a call tells this.
    pub async fn tells(&mut self, id: CallId, sentence: &str) {
        while !self.world.tells(id, sentence).await {
            if timeout(LIMIT, self.notices.recv()).await.is_err() {
                panic!("{sentence:?} is not in {:#?}", self.world.story(id).await);
            }
        }
    }
}

/// A telephone with this number.
pub async fn phone(number: &str) -> Phone { Phone::start(PhoneSettings::new(HERE, number)).await.unwrap() }
