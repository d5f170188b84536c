//! SIP: a telephone on this machine calls the gateway, over UDP, with keys as events in RTP and prompts
//! as sound. The agents have telephones too.

use std::{collections::{HashMap, HashSet}, sync::{Arc, Mutex, OnceLock}, time::Duration};

use async_trait::async_trait;
use countersign_core::{id::CallId, secret::E164};
use countersign_server::{
    hub::Notice,
    outbox::provider::{Provider, Sent},
    stir::{Stir, fetch::{Fetcher, Limits}},
    telephony::sip::{Sip, out::{Out, Rings}},
};
use countersign_sip::{
    Clip, Gateway,
    caller::{Ear, Line, Phone, PhoneSettings, Recogniser},
};
use countersign_stir::{Attest, Original};
use tokio::{sync::Semaphore, task::AbortHandle, time::timeout};

use super::{Caller, Dials, Then, ear::{ByEar, End}, events};
use crate::{
    common::{
        APP_NUMBER, World,
        recordings::{self, Sound},
        sip::{CENTER, HERE, LIMIT, adapter, phone},
    },
    signing::{self, World as Ca},
};

/// The gateway of a world, and everybody's telephones.
pub struct Rig {
    sip: Arc<Sip>,
    gateway: Gateway,
    /// Whoever we ring: it answers.
    rung: Phone,
    /// The calls that there were.
    seen: Mutex<HashSet<CallId>>,
    agents: AbortHandle,
}

impl Drop for Rig {
    fn drop(&mut self) { self.agents.abort(); }
}

impl Rig {
    pub async fn open(world: &World) -> Self {
        let (desk, rung) = (phone("desk").await, phone("customer").await);
        let host = |phone: &Phone| phone.uri().split_once('@').unwrap().1.to_owned();
        let phones: HashMap<String, String> = ["Robin", "Sam", "Kim"].map(|name| (name.to_owned(), format!("sip:{name}@{}", host(&desk)))).into();
        let out = Out { to: format!("sip:{{number}}@{}", host(&rung)), from: E164::parse(CENTER).unwrap(), ring: LIMIT, signs: None, room: Arc::new(Semaphore::new(10)) };
        let (sip, gateway) = adapter(world, recordings::voice(&world.app.texts), Some(out), phones, |_| {}).await;
        let agents = tokio::spawn(async move {
            // Whoever sits there speaks as soon as it is answered.
            let mut talking = Vec::new();
            while let Some(line) = desk.taken().await {
                line.speak(Some(recordings::agent()));
                talking.push(line);
            }
        }).abort_handle();
        Self { sip, gateway, rung, seen: Mutex::default(), agents }
    }
}

/// Signatures are checked by our own authority.
fn authority() -> &'static (Ca, Arc<Stir>) {
    static AUTHORITY: OnceLock<(Ca, Arc<Stir>)> = OnceLock::new();
    AUTHORITY.get_or_init(|| {
        let ca = Ca::new();
        let stir = Stir::new(ca.settings(), Fetcher::new(Limits::default()).unwrap(), Duration::from_secs(2));
        (ca, Arc::new(stir))
    })
}

pub fn stir() -> Arc<Stir> { authority().1.clone() }

/// A signature that was good for another call, a while ago.
fn copied(world: &World, from: &str) -> String {
    let (orig, dest) = (signing::n(&from[1..]), [signing::n(&CENTER[1..])]);
    let iat = u64::try_from(world.now().unix()).unwrap() - 3_600;
    authority().0.signer().original(&Original { attest: Attest::A, orig: &orig, dest: &dest, iat, origid: signing::ORIGID }).unwrap()
}

pub async fn dial(world: &World, dials: Dials) -> Box<dyn Caller> {
    let rig = world.rigs.sip(world).await;
    let mut notices = world.app.runner.hub.listen();
    let phone = Phone::start(PhoneSettings::new(HERE, dials.from.unwrap_or("anonymous"))).await.unwrap();
    let headers = dials.from.filter(|_| dials.failed).map(|from| ("Identity".to_owned(), copied(world, from)));
    let to = format!("sip:{}@{}", if dials.token { APP_NUMBER } else { CENTER }, rig.gateway.address());
    let line = phone.dial(&to, headers.into_iter().collect()).unwrap().answered().await.unwrap();
    // The gateway names a call as nobody can know: it is the one that nobody has spoken of.
    let id = loop {
        if let Ok(Notice::Call(id)) = timeout(LIMIT, notices.recv()).await.expect("no call began")
            && rig.seen.lock().unwrap().insert(id)
        {
            break id;
        }
    };
    ByEar::begin(world, id, Handset::new(world, Some(phone), line)).await
}

/// The message that asks for the call goes to its carrier, which sends one INVITE.
pub async fn answer(world: &World, id: CallId) -> Box<dyn Caller> {
    let rig = world.rigs.sip(world).await;
    rig.seen.lock().unwrap().insert(id);
    let before = events(world, id).await;
    assert!(matches!(Rings(rig.sip.clone()).send(&world.ground.post.order(id)).await, Sent::Accepted { .. }));
    let line = timeout(LIMIT, rig.rung.taken()).await.expect("it does not ring").unwrap();
    ByEar::after(before, world, id, Handset::new(world, None, line)).await
}

/// A telephone and its line.
struct Handset {
    /// One that calls is nobody else's.
    _phone: Option<Phone>,
    line: Option<Line>,
    ear: Recogniser<Sound>,
    heard: Vec<Sound>,
    last: Option<Sound>,
    /// Packets until then.
    last_at: u64,
    over: bool,
}

/// Packets without a sound after which whoever waits hears silence: longer than any rest between two
/// sentences, more than a second.
const SILENT: u64 = 60;

impl Handset {
    fn new(world: &World, phone: Option<Phone>, line: Line) -> Self {
        Self { _phone: phone, line: Some(line), ear: recordings::ear(&world.app.texts), heard: Vec::new(), last: None, last_at: 0, over: false }
    }

    fn line(&self) -> &Line { self.line.as_ref().expect("this telephone has hung up") }
}

#[async_trait]
impl End for Handset {
    fn ear(&mut self) -> &mut Vec<Sound> { &mut self.heard }

    fn goes_on(&self, then: &Then) -> bool {
        match then {
            Then::Keys(_) | Then::Words(_) | Then::Nothing => matches!(self.last, Some(Sound::Piece { .. })),
            Then::Hold(music) if music == "silence" => self.line().ear(|ear| ear.is_silent() && ear.packets > self.last_at + SILENT),
            Then::Hold(music) => matches!(self.last, Some(Sound::Music(tune)) if tune == music),
            Then::Agent => self.last == Some(Sound::Agent),
            Then::HangUp => self.over,
        }
    }

    /// The next packet.
    async fn next(&mut self) {
        let line = self.line();
        let packets = line.ear(|ear| ear.packets);
        line.until(Duration::from_millis(100), |ear| ear.packets > packets).await;
        let (bytes, over) = (line.take(), line.said().ended);
        self.over = over;
        let heard = self.ear.hear(&bytes);
        if let Some(sound) = heard.last() {
            (self.last, self.last_at) = (Some(sound.clone()), packets);
        }
        self.heard.extend(heard);
    }

    async fn press(&mut self, keys: &str) { assert!(self.line().press(keys).await, "no keys are taken here"); }

    async fn hang_up(&mut self) { self.line.take().expect("this telephone has hung up").hang_up().await; }

    async fn say(&mut self, samples: Vec<i16>) {
        // After the tone, once, and then silence.
        assert!(self.line().until(LIMIT, Ear::is_asked).await, "no tone");
        self.line().speak(Some(Clip::from_samples(samples.into_iter().chain(std::iter::repeat_n(0, 240_000))).unwrap()));
    }
}
