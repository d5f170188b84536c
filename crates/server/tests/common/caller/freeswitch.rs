//! FreeSWITCH, by its script: it does as it is told, and its clips end at once. What it would play from an
//! address it fetches, and hears.

use std::{collections::HashSet, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::Router;
use countersign_core::{claim::IndexKey, id::CallId};
use countersign_server::{
    outbox::provider::{Provider, Sent},
    telephony::{freeswitch::NAME, switch::out::Rings},
};
use countersign_sip::caller::Recogniser;
use tokio::{task::AbortHandle, time::timeout};

use super::{Caller, Dials, Then, ear::{ByEar, End}, events};
use crate::common::{
    APP_NUMBER, World,
    freeswitch::{Commands, MEDIA, PASSWORD, PATIENCE, Peer, SHOWN, answered, data, listening, rings},
    pages::sound,
    recordings::{self, Sound},
};

const SETTINGS: &str = r#"peers = ["127.0.0.1"]
verstat_variable = "sip_verstat_detailed"
[agent_phones]
Robin = "user/Robin"
Sam = "user/Sam"
Kim = "user/Kim"
[music]
calm = "local_stream://calm"
lively = "local_stream://lively"
classical = "local_stream://classical"
"#;

/// Where the dialplan connects to.
pub struct Rig {
    address: SocketAddr,
    listening: AbortHandle,
    rings: Arc<Rings>,
    commands: tokio::sync::Mutex<Commands>,
}

impl Drop for Rig {
    fn drop(&mut self) { self.listening.abort(); }
}

impl Rig {
    pub async fn open(world: &World) -> Self {
        let (address, lines, listening) = listening(world, recordings::voice(&world.app.texts), SETTINGS).await;
        let commands = Commands::open().await;
        let rings = rings(world, lines, address, commands.address, PASSWORD);
        Self { address, listening, rings, commands: commands.into() }
    }
}

fn index(world: &World) -> &IndexKey { &world.app.runner.vault.index }

pub async fn dial(world: &World, dials: Dials) -> Box<dyn Caller> {
    let rig = world.rigs.freeswitch(world).await;
    let number = world.call_sid();
    let uuid = format!("7f4de4bc-17d7-11dd-b7a0-{}", &number[number.len() - 12..]);
    let signed = format!("variable_sip_verstat_detailed: TN-Validation-{}\n", if dials.failed { "Failed" } else { "Passed-A" });
    let shown = if dials.from.is_some() { SHOWN } else { "Caller-Privacy-Hide-Number: true\n" };
    let to = if dials.token { APP_NUMBER } else { "+12025550100" };
    let data = data(&uuid, dials.from.unwrap_or("anonymous"), to, &format!("{shown}{signed}"));
    let leg = Leg::open(world, rig.address, &uuid, data).await;
    ByEar::begin(world, CallId(index(world).blind(NAME, &uuid).0), leg).await
}

/// The message that asks for the call goes to its carrier, FreeSWITCH rings, and its channel comes to us
/// when somebody answers.
pub async fn answer(world: &World, id: CallId) -> Box<dyn Caller> {
    let rig = world.rigs.freeswitch(world).await;
    let order = world.ground.post.order(id);
    let before = events(world, id).await;
    assert!(matches!(rig.rings.send(&order).await, Sent::Accepted { .. }));
    let mut commands = rig.commands.lock().await;
    let rung = loop {
        let command = timeout(PATIENCE, commands.told.recv()).await.expect("nobody is rung").unwrap();
        if command.starts_with("bgapi originate") {
            break command;
        }
    };
    let uuid = rung.split_once("origination_uuid=").unwrap().1.split(',').next().unwrap().to_owned();
    assert!(rung.contains(&format!("}}sofia/gateway/trunk/{} '&socket({} async full)'", order.to.expose(), rig.address)), "{rung}");
    commands.became.send(format!("+OK {uuid}\n")).unwrap();
    let leg = Leg::open(world, rig.address, &uuid, answered(&uuid, order.to.expose())).await;
    ByEar::after(before, world, id, leg).await
}

/// A channel, and that of the agent who talks with it.
struct Leg {
    router: Router,
    ear: Recogniser<Sound>,
    peer: Peer,
    uuid: String,
    heard: Vec<Sound>,
    now: Then,
    /// Whose events are told.
    filters: HashSet<String>,
    agent: Option<String>,
}

impl Leg {
    /// A channel that comes to us, until we have answered it.
    async fn open(world: &World, address: SocketAddr, uuid: &str, data: String) -> Self {
        let peer = Peer::quick(address, uuid, data).await;
        let (router, ear) = (world.router.clone(), recordings::ear(&world.app.texts));
        let mut new = Self { router, ear, peer, uuid: uuid.to_owned(), heard: Vec::new(), now: Then::Nothing, filters: HashSet::new(), agent: None };
        while !new.now_answered().await {}
        new
    }

    /// Does the next command; whether it was the one that answers the call.
    async fn now_answered(&mut self) -> bool {
        let command = timeout(PATIENCE, self.peer.said.recv()).await.expect("the call is not answered").expect("the connection is closed");
        self.obey(&command).await;
        command.contains("execute-app-name: answer")
    }

    async fn obey(&mut self, command: &str) {
        let field = |name: &str| command.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let words: Vec<&str> = command.split(' ').collect();
        match (words.as_slice(), field("execute-app-name"), field("execute-app-arg")) {
            (_, Some("answer" | "set"), _) | (["connect"] | ["event", ..] | ["api", "uuid_record", ..], ..) => {}
            (_, Some("playback"), Some("silence_stream://-1")) => self.now = Then::Hold("silence".into()),
            (_, Some("playback"), Some(address)) => {
                self.now = Then::Nothing;
                let wav = sound(&self.router, address.strip_prefix(MEDIA).unwrap_or_else(|| panic!("{address} is none of ours"))).await;
                self.heard.extend(recordings::heard(&mut self.ear, &wav));
            }
            (_, Some("endless_playback"), Some(stream)) => self.now = Then::Hold(stream.strip_prefix("local_stream://").unwrap().to_owned()),
            (["filter", "Unique-ID" | "Job-UUID", whose], ..) => drop(self.filters.insert((*whose).to_owned())),
            (["api", "uuid_break", whose, "all"], ..) if *whose == self.uuid => self.now = Then::Nothing,
            (["bgapi", "originate", ..], ..) => {
                let (_, rest) = command.split_once("origination_uuid=").unwrap();
                let agent = rest.split(',').next().unwrap().to_owned();
                assert!(command.contains("}user/") && command.contains("&park()") && self.filters.contains(&agent), "{command}");
                self.peer.event("CHANNEL_ANSWER", &agent, "").await;
                self.agent = Some(agent);
            }
            (["api", "uuid_bridge", whose, agent], ..) if *whose == self.uuid && self.agent.as_deref() == Some(agent) => self.now = Then::Agent,
            (["api", "uuid_park", agent], ..) if self.agent.as_deref() == Some(agent) => self.now = Then::Nothing,
            (["api", "uuid_kill", agent, "NORMAL_CLEARING"], ..) if self.agent.as_deref() == Some(agent) => {
                self.now = Then::Nothing;
                self.agent = None;
            }
            _ if field("call-command") == Some("hangup") => {
                self.now = Then::HangUp;
                self.end().await;
            }
            _ => panic!("FreeSWITCH would not know what this means now: {command:?}"),
        }
    }

    async fn end(&self) { self.peer.event("CHANNEL_HANGUP", &self.uuid, "Hangup-Cause: NORMAL_CLEARING\n").await; }
}

#[async_trait]
impl End for Leg {
    fn ear(&mut self) -> &mut Vec<Sound> { &mut self.heard }

    fn goes_on(&self, then: &Then) -> bool {
        match then {
            Then::Keys(_) => self.now == Then::Nothing,
            then => self.now == *then,
        }
    }

    async fn next(&mut self) {
        if let Ok(Some(command)) = timeout(Duration::from_millis(50), self.peer.said.recv()).await {
            self.obey(&command).await;
        }
    }

    async fn press(&mut self, keys: &str) { self.peer.key(keys).await; }
    async fn hang_up(&mut self) { self.end().await; }
}
