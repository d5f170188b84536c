//! A whole server without a socket: the shipped policies, a store in memory or in a file, a clock
//! that the test moves, telephones that speak Twilio's webhooks, desks that read pages, and a
//! letter box in place of every provider.
#![allow(dead_code, reason = "every test binary uses its own part of the harness")]

pub mod asterisk;
pub mod authenticator;
pub mod browser;
pub mod caller;
pub mod desk;
pub mod freeswitch;
pub mod lines;
pub mod openid;
pub mod pages;
pub mod people;
pub mod phone;
pub mod portal;
pub mod post;
pub mod record;
pub mod recordings;
pub mod routes;
pub mod schema;
pub mod sip;
pub mod stream;
pub mod street;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::Router;
use countersign_core::{
    account::Profile,
    action::Role,
    call::{Event, Params},
    factor::Otp,
    id::{AccountId, AgentId, CallId},
    secret::{E164, Secret},
    story::{Reader, sentence},
    time::{Span, Timestamp},
};
use countersign_policy::{Engine, Sources};
use countersign_server::policies::Policies;
use countersign_server::{
    App, Parts,
    agents::Agents,
    config::ApiClient,
    customers::Customers,
    hub::Hub,
    i18n::{Company, Texts},
    intel::{Intel, NumberIntelligence, Use},
    keyring::Master,
    metrics::Metrics,
    oauth::clients::ClientSettings,
    push::{self, Push, address::Rules},
    outbox::{Outbox, twilio as rest},
    ring_back::RingBack,
    router,
    runner::Runner,
    recording::Recorder,
    stir::Stir,
    telephony::{connect, handset, sip as telephony_sip, twilio},
    tenants::Tenant,
    vault::Vault,
};
use countersign_store::{Commit, Options, Server, Store};
use sha2::{Digest, Sha256};

use self::{desk::Desk, phone::Phone, post::{Letter, Post}};

/// Monday, 1 June 2026, 10:00 UTC.
pub const START: Timestamp = Timestamp(1_780_308_000_000);
pub const URL: &str = "https://calls.example.com";
pub const COMPANY: &str = "Juniper & Co";
pub const FRAUD_LINE: &str = "+1 202 555 0100";
/// The number that only the portal dials.
pub const APP_NUMBER: &str = "+12025550101";
pub const TOKEN: &str = "a-token-that-signs-webhooks";
pub const API_KEY: &str = "a-key-of-the-companys-own-program";
pub const MASTER: [u8; 32] = *b"thirty-two bytes for these tests";

/// What a world is made of when it is not the usual one.
pub struct Setup {
    pub demo: bool,
    pub file: bool,
    /// In PostgreSQL: see [`World::in_postgresql`].
    pub postgresql: bool,
    /// With a keyring, as in earnest.
    pub keyring: bool,
    /// Jobs that may wait for the writer of a file.
    pub queue: usize,
    pub params: Params,
    pub deny: Vec<&'static str>,
    pub people: bool,
    /// Whoever knows numbers, and how their answers are used.
    pub intel: Option<(Arc<dyn NumberIntelligence>, Use)>,
    /// Whoever checks signatures of numbers.
    pub stir: Option<Arc<Stir>>,
    /// Whoever keeps recorders from secrets.
    pub recorder: Option<Arc<Recorder>>,
    /// Calls go out by SIP.
    pub by_sip: bool,
    /// Programs that may ask by OpenID.
    pub openid: Vec<ClientSettings>,
    /// Which company it is.
    pub house: House,
    /// The shared desk that takes its calls, and what it is called there.
    pub beside: Option<(Arc<Agents>, &'static str)>,
    /// Whose calls its desk takes as well.
    pub tenants: Vec<Tenant>,
    /// The adapter that rings customers.
    pub rings: Option<&'static str>,
    /// How long an answer to Amazon Connect may take.
    pub connect_limit: Duration,
    /// Where a generic telephone system is told that a call moved.
    pub http_push: Option<String>,
    /// Without the telephone systems beside Twilio.
    pub twilio_alone: bool,
}

/// A company, with what only it knows.
#[derive(Clone, Copy)]
pub struct House {
    pub company: &'static str,
    pub url: &'static str,
    pub token: &'static str,
    pub api_key: &'static str,
    pub master: [u8; 32],
}

pub const JUNIPER: House = House { company: COMPANY, url: URL, token: TOKEN, api_key: API_KEY, master: MASTER };

impl Default for Setup {
    fn default() -> Self {
        Self {
            demo: false, file: false, postgresql: false, keyring: false, queue: 4096, params: Params::default(), deny: Vec::new(), people: true, intel: None,
            stir: None, recorder: None, by_sip: false, openid: openid::everybody(), house: JUNIPER, beside: None, tenants: Vec::new(),
            rings: Some(twilio::NAME), connect_limit: connect::LIMIT, http_push: None, twilio_alone: false,
        }
    }
}

/// What outlives a restart: the store, the time, the customers' letter boxes.
pub struct Ground {
    pub store: Mutex<Store>,
    /// Where customers' keys are.
    pub key_store: Mutex<Store>,
    pub clock: Arc<AtomicI64>,
    pub post: Arc<Post>,
    pub setup: Setup,
    /// Every byte of randomness is the same from now on.
    pub stuck: Arc<AtomicBool>,
    nodes: AtomicU64,
    numbers: AtomicU64,
    keys: Mutex<HashMap<String, (AgentId, Otp)>>,
    folder: Option<PathBuf>,
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// One running server on its ground.
#[derive(Clone)]
pub struct World {
    pub ground: Arc<Ground>,
    pub app: App,
    pub router: Router,
    pub outbox: Arc<Outbox>,
    /// Gateways and switches that stand before it, once somebody calls through one.
    pub rigs: Arc<caller::Rigs>,
}

async fn store(folder: Option<&PathBuf>, setup: &Setup, name: &str) -> Store {
    match folder {
        None if setup.postgresql => {
            // A schema that nobody else has, also in a server that was used before.
            let schema = format!("w{:x}_{name}", std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), std::process::id()));
            let server = Server::new(&postgresql().unwrap(), &schema).unwrap();
            Store::postgres(&server, Options { readers: 2, durable: false, ..Options::default() }).await.unwrap()
        }
        None => Store::memory(),
        Some(folder) => {
            let options = Options { queue: setup.queue, durable: false, ..Options::default() };
            Store::sqlite(folder.join(name).with_extension("db"), options).unwrap()
        }
    }
}

/// Where a PostgreSQL server is, if there is one. In CI there must be.
pub fn postgresql() -> Option<String> {
    let address = std::env::var("COUNTERSIGN_TEST_POSTGRES").ok();
    assert!(address.is_some() || std::env::var_os("CI").is_none(), "COUNTERSIGN_TEST_POSTGRES names no server: `cargo xtask test` starts one");
    address
}

/// The shipped policies until others are activated. Read once: each server has the same.
fn policies() -> Policies {
    static ENGINE: OnceLock<Arc<Engine>> = OnceLock::new();
    let (shipped, engine) = (Sources::shipped(), ENGINE.get_or_init(|| Arc::new(Engine::shipped())).clone());
    Policies::from(engine).with(shipped.schema, shipped.files, String::new(), Box::new(|schema, files| match Engine::load(schema, files) {
        Ok(engine) => Ok(Arc::new(engine)),
        Err(e) => Err(e.to_string()),
    }))
}

impl World {
    /// In memory, with everybody on file.
    pub async fn new() -> Self { Self::with(Setup::default()).await }

    /// The same in a file.
    pub async fn in_file() -> Self { Self::with(Setup { file: true, ..Setup::default() }).await }

    /// The same in PostgreSQL. `None`: there is none here, and the test is left out.
    pub async fn in_postgresql() -> Option<Self> {
        postgresql()?;
        Some(Self::with(Setup { postgresql: true, ..Setup::default() }).await)
    }

    pub async fn with(setup: Setup) -> Self {
        static FOLDERS: AtomicU64 = AtomicU64::new(0);
        let folder = setup.file.then(|| {
            let n = FOLDERS.fetch_add(1, Ordering::SeqCst);
            let folder = std::env::temp_dir().join(format!("countersign-test-{}-{n}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            folder
        });
        let ground = Arc::new(Ground {
            store: Mutex::new(store(folder.as_ref(), &setup, "record").await), key_store: Mutex::new(store(folder.as_ref(), &setup, "keys").await), clock: Arc::new(AtomicI64::new(START.0)), post: Arc::default(), setup, stuck: Arc::default(),
            nodes: AtomicU64::new(0), numbers: AtomicU64::new(0), keys: Mutex::default(), folder,
        });
        let world = Self::node(ground.clone()).await;
        if ground.setup.people {
            for profile in people::everybody(START) {
                world.add(&profile).await;
            }
        }
        world
    }

    /// Another server over the same ground: a second node, or the next life of the first.
    pub async fn sibling(&self) -> Self { Self::node(self.ground.clone()).await }

    /// Stops the server and its store, and starts both again.
    pub async fn restart(self) -> Self {
        let Self { ground, app, router, outbox, .. } = self;
        let in_file = ground.folder.is_some();
        if in_file {
            app.runner.store.close().await;
            app.runner.customers.keys.close().await;
        }
        drop((app, router, outbox));
        if in_file {
            for (place, name) in [(&ground.store, "record"), (&ground.key_store, "keys")] {
                let opened = store(ground.folder.as_ref(), &ground.setup, name).await;
                *place.lock().unwrap() = opened;
            }
        }
        let world = Self::node(ground).await;
        world.app.runner.resume().await.unwrap();
        world
    }

    async fn node(ground: Arc<Ground>) -> Self {
        let node = ground.nodes.fetch_add(1, Ordering::SeqCst);
        let (counter, stuck) = (AtomicU64::new(0), ground.stuck.clone());
        let house = ground.setup.house;
        // Two companies never have the same secrets by accident. Juniper's are those of the tapes.
        let own: &[u8] = if house.master == MASTER { &[] } else { &house.master };
        let own = own.to_vec();
        let entropy = move || -> [u8; 32] {
            let n = if stuck.load(Ordering::SeqCst) { u64::MAX } else { counter.fetch_add(1, Ordering::SeqCst) };
            Sha256::digest([b"entropy".as_slice(), &own, &node.to_be_bytes(), &n.to_be_bytes()].concat()).into()
        };
        let clock = ground.clock.clone();
        let store = ground.store.lock().unwrap().node();
        let setup = &ground.setup;
        let vault = Arc::new(match setup.keyring {
            true => Vault::of(&Master::new(house.master), &store, Timestamp(clock.load(Ordering::SeqCst))).await.unwrap(),
            false => Vault::with_entropy(&house.master, entropy),
        });
        let keys = ground.key_store.lock().unwrap().node();
        let now = Timestamp(clock.load(Ordering::SeqCst));
        let customers = Arc::new(match setup.keyring {
            true => Customers::open(&Master::new(house.master), &store, &keys, now).await.unwrap(),
            false => Customers::over(keys, Vault::new(&house.master)),
        });
        let runner = Arc::new(Runner::new(
            store, (vault, customers), policies(), setup.params.clone(), Arc::new(Hub::default()), Arc::new(Metrics::default()),
            move || Timestamp(clock.load(Ordering::SeqCst)),
        ));
        let agents = Agents::new(runner.clone());
        let agents = Arc::new(match &setup.beside {
            Some((shared, tenant)) => agents.beside(shared.clone(), tenant),
            None => agents,
        });
        agents.refresh().await.unwrap();
        let company = Company { name: house.company.into(), fraud_line: FRAUD_LINE.into(), link_base: house.url.into() };
        let texts = Arc::new(Texts::load(company).unwrap().with_codes(runner.vault.pepper.clone()));
        let rest = Arc::new(rest::Twilio::new(rest::TwilioConfig {
            account_sid: format!("AC{}", "0".repeat(32)), auth_token: house.token.into(), from: E164::parse("+12025550100").unwrap(),
            // Nobody listens there: what a call is to do next waits until the telephone asks.
            base_url: "http://127.0.0.1:9".into(), status_url: None, timeout: Span::seconds(1),
        }).unwrap());
        let names = agents.clone();
        let voice = Arc::new(twilio::Twilio::new(house.token.into(), rest, house.url.into(), HashMap::new(), move |id| names.name(id)).streaming(setup.params.voice.as_ref().is_some_and(|voice| voice.hears(twilio::NAME))));
        runner.hub.register(twilio::NAME, voice.clone());
        let handsets = setup.demo.then(|| Arc::new(handset::Handsets::new(texts.clone())));
        if let Some(handsets) = &handsets {
            runner.hub.register(handset::NAME, handsets.clone());
        }
        let rings = if setup.by_sip { Some(telephony_sip::NAME) } else { setup.rings };
        let oauth = openid::load(house.url, &setup.openid);
        let lines = if setup.twilio_alone { Default::default() } else { lines::all(setup, &runner, &texts, &agents) };
        let push = Arc::new(Push::new(runner.clone(), Rules { loopback: true, ..Rules::default() }, house.url).unwrap());
        let app = App(Arc::new(Parts {
            tenants: setup.tenants.clone(), oauth: oauth.clone(), runner: runner.clone(), agents, texts: texts.clone(), public_url: house.url.into(),
            deny_numbers: setup.deny.iter().map(|n| E164::parse(n).unwrap()).collect(),
            api: vec![ApiClient { name: "shop".into(), key_sha256: hex::encode(Sha256::digest(house.api_key)) }],
            push: push.clone(), sign_in: None, upstream: None, stir: setup.stir.clone(), recorder: setup.recorder.clone(), twilio: Some(voice), lines, rings,
            app_number: Some(E164::parse(APP_NUMBER).unwrap()), demo: setup.demo, demo_people: Vec::new(), handsets,
        }));
        let mut outbox = Outbox::new(runner.clone(), texts, vec![ground.post.clone()]).with(Arc::new(push::Shared(push)))
            .with(Arc::new(RingBack::new(runner.clone(), rings)));
        if let Some((provider, settings)) = &setup.intel {
            outbox = outbox.with(Arc::new(Intel::new(runner.clone(), provider.clone(), *settings)));
        }
        if let Some(oauth) = oauth {
            outbox = outbox.with(Arc::new(oauth.courier(runner).unwrap()));
        }
        let outbox = Arc::new(outbox);
        Self { ground, router: router(app.clone()), app, outbox, rigs: Arc::default() }
    }

    /// Which company it is.
    pub fn house(&self) -> House { self.ground.setup.house }

    // ── Time and customers ───────────────────────────────────────────────────────────────────

    pub fn now(&self) -> Timestamp { self.app.runner.now() }

    /// Time passes; nothing wakes up by itself.
    pub fn pass(&self, span: Span) { self.ground.clock.fetch_add(span.0, Ordering::SeqCst); }

    /// Time passes, and the clockwork runs.
    pub async fn wait(&self, span: Span) {
        self.pass(span);
        self.app.runner.tick().await.unwrap();
    }

    /// Puts somebody on file.
    pub async fn add(&self, profile: &Profile) {
        let writes = self.app.runner.directory.insert(profile).await.unwrap();
        let commit = Commit { now: self.now().0, docs: writes.docs, index: writes.index, ..Commit::default() };
        self.app.runner.store.commit(commit).await.unwrap();
    }

    /// What is on file now.
    pub async fn profile(&self, account: AccountId) -> Profile {
        self.app.runner.directory.forget(account);
        self.app.runner.directory.load(account).await.unwrap().unwrap().profile.clone()
    }

    /// Changes what is on file, behind everybody's back.
    pub async fn edit(&self, account: AccountId, change: impl FnOnce(&mut Profile)) {
        let directory = &self.app.runner.directory;
        directory.forget(account);
        let before = directory.load(account).await.unwrap().unwrap();
        let mut after = before.profile.clone();
        change(&mut after);
        let writes = directory.update(&before, &after).unwrap();
        let commit = Commit { now: self.now().0, docs: writes.docs, index: writes.index, ..Commit::default() };
        self.app.runner.store.commit(commit).await.unwrap();
        directory.forget(account);
    }

    // ── Who takes part ───────────────────────────────────────────────────────────────────────

    /// A name for the next call that nobody had before.
    pub fn call_sid(&self) -> String { format!("CA{:032x}", self.ground.numbers.fetch_add(1, Ordering::SeqCst) + 1) }

    /// A call from this number, signed in full by its carrier.
    pub async fn call(&self, from: &str) -> Phone { Phone::dial(self, Some(from), "TN-Validation-Passed-A").await }

    /// A call without a number.
    pub async fn withheld(&self) -> Phone { Phone::dial(self, None, "No-TN-Validation").await }

    /// Somebody at the desk, signed in with password and code. Added if need be.
    pub async fn agent(&self, name: &str, role: Role) -> Desk {
        let known = self.ground.keys.lock().unwrap().get(name).cloned();
        if known.is_none() {
            let otp = self.app.agents.add(name, role, &people::password(name)).await.unwrap();
            let id = self.app.agents.names().into_iter().find(|(_, known)| known == name).unwrap().0;
            self.ground.keys.lock().unwrap().insert(name.into(), (id, otp));
        } else {
            // Nobody signs in twice with one code.
            self.pass(Span::seconds(60));
        }
        Desk::sign_in(self, name).await
    }

    pub async fn robin(&self) -> Desk { self.agent("Robin", Role::Agent).await }
    pub async fn sam(&self) -> Desk { self.agent("Sam", Role::Specialist).await }
    pub async fn kim(&self) -> Desk { self.agent("Kim", Role::Lead).await }

    pub fn agent_id(&self, name: &str) -> AgentId { self.ground.keys.lock().unwrap()[name].0 }

    /// The code that somebody's authenticator app shows now.
    pub fn agent_code(&self, name: &str) -> Secret { people::totp(&self.ground.keys.lock().unwrap()[name].1, self.now()) }

    // ── What came of it ──────────────────────────────────────────────────────────────────────

    /// Sends what waits, and returns what was sent.
    pub async fn deliver(&self) -> Vec<Letter> {
        let before = self.ground.post.all().len();
        self.outbox.flush().await.unwrap();
        self.ground.post.all().split_off(before)
    }

    /// The one message that waits.
    pub async fn letter(&self) -> Letter {
        let mut letters = self.deliver().await;
        assert_eq!(letters.len(), 1, "one message, not {letters:#?}");
        letters.remove(0)
    }

    pub async fn events(&self, call: CallId) -> Vec<Event> {
        self.app.runner.events(call).await.unwrap().into_iter().map(|r| r.event).collect()
    }

    /// The events of a call as the lead reads them.
    pub async fn story(&self, call: CallId) -> Vec<String> {
        self.events(call).await.iter().map(|e| sentence(e, Reader::Lead)).collect()
    }

    /// Whether an event reads like this.
    pub async fn tells(&self, call: CallId, sentence: &str) -> bool { self.story(call).await.iter().any(|s| s.contains(sentence)) }

    /// Every event of every stream as it is stored, in one text.
    pub async fn log(&self) -> String {
        let rows = self.app.runner.store.log(0, 100_000).await.unwrap();
        rows.iter().map(|r| format!("{} {} {}\n", r.stream_kind, hex::encode(r.stream_id), r.body)).collect()
    }

    /// The database, for whoever looks at it from outside.
    pub fn file(&self) -> PathBuf { self.ground.folder.as_ref().unwrap().join("record.db") }

    pub async fn metrics(&self) -> String { pages::get(&self.router, "/metrics", None).await.body }
}

/// Whether `needle` stands in `hay` as a word of its own: a PIN is not found in the middle of an id.
pub fn has_word(hay: &str, needle: &str) -> bool {
    let bound = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    hay.match_indices(needle).any(|(i, _)| bound(hay[..i].chars().next_back()) && bound(hay[i + needle.len()..].chars().next()))
}

/// None of these private things stands in a text.
#[track_caller]
pub fn hides(text: &str, private: &[&str]) {
    for value in private {
        assert!(!has_word(text, value), "{value:?} must not be in\n{text}");
    }
}
