//! The stage: a whole server in this process, with a configuration's policies and limits, and with
//! nothing real in it. A record in memory, keys of its own, fictional people, a clock that the
//! drill moves, a letter box in the place of every provider. No socket is opened.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use axum::{Router, http::HeaderMap};
use countersign_core::{
    account::Profile,
    action::{Action, Actor, Decision, Policy, Request, Role},
    call::{Call, Recorded},
    factor::Otp,
    id::{AgentId, CallId},
    secret::{E164, Secret},
    time::{Span, Timestamp},
};
use countersign_server::{
    App, Parts,
    agents::Agents,
    config::ApiClient,
    customers::Customers,
    hub::Hub,
    i18n::Texts,
    metrics::Metrics,
    oauth::OAuth,
    outbox::{
        Outbox,
        provider::{Channel, Outgoing, Provider, Sent},
        twilio as rest,
    },
    policies::Policies,
    portal::{How, open_session},
    push::{Push, address::Rules},
    router,
    runner::Runner,
    telephony::twilio,
    vault::Vault,
};
use countersign_store::{Commit, Store};
use sha2::{Digest, Sha256};

use crate::{
    Halt,
    people::{Who, cast, totp},
    setting::{Door, Setting},
    wire::Ask,
};

/// Monday, 1 June 2026, 10:00 UTC: when every drill begins.
pub const START: Timestamp = Timestamp(1_780_308_000_000);
/// Where the stage is, for signatures and links.
pub const URL: &str = "https://drill.example.com";
/// The same without the scheme.
pub const HOST: &str = "drill.example.com";
/// On the stage's own deny list.
pub const DENIED: &str = "+12025550198";
/// Signs the stage's webhooks.
pub const TOKEN: &str = "the token that signs webhooks on the stage";
/// The number that is called.
pub const CENTER: &str = "+12025550100";
/// What a program on the stage shows.
pub const PROGRAM_SECRET: &str = "the long random secret of a program on the stage";
const API_KEY: &str = "a key of the company's own program on the stage";

/// What all drills of a run share: keys and hashed secrets are dear to make.
pub struct Props {
    master: [u8; 32],
    cast: Vec<Profile>,
}

impl Props {
    /// Keys and people for a run. The same seed makes the same ones.
    pub fn new(seed: u64) -> Self {
        let master = Sha256::digest([b"drill master\0".as_slice(), &seed.to_be_bytes()].concat()).into();
        let cast = cast(&Vault::new(&master).pepper, START);
        Self { master, cast }
    }
}

/// One server, and everybody around it.
#[derive(Clone)]
pub struct Stage(Arc<Inner>);

struct Inner {
    app: App,
    router: Router,
    outbox: Outbox,
    post: Arc<Post>,
    clock: Arc<AtomicI64>,
    numbers: AtomicU64,
    agents: Mutex<HashMap<String, (AgentId, Otp)>>,
    setting: Setting,
}

/// A message that somebody got.
#[derive(Debug, Clone)]
pub struct Letter {
    /// How it came.
    pub channel: Channel,
    /// To which number or address.
    pub to: String,
    /// Its words.
    pub text: String,
}

impl Letter {
    /// The code in it: a run of digits, written together or one by one, as long as the configured codes.
    pub fn code(&self, digits: usize) -> Option<String> {
        let runs = self.text.split(|c: char| !(c.is_ascii_digit() || c == ',' || c == ' '));
        runs.map(|run| run.chars().filter(char::is_ascii_digit).collect::<String>()).find(|run| run.len() == digits)
    }
}

/// Everybody's letter box.
#[derive(Default)]
struct Post(Mutex<Vec<Letter>>);

impl Post {
    fn letters(&self) -> MutexGuard<'_, Vec<Letter>> { self.0.lock().unwrap_or_else(PoisonError::into_inner) }
}

#[async_trait]
impl Provider for Post {
    fn name(&self) -> &'static str { "drill" }
    fn channels(&self) -> &[Channel] { &[Channel::Sms, Channel::Voice, Channel::Email, Channel::Ring] }
    async fn send(&self, m: &Outgoing) -> Sent {
        self.letters().push(Letter { channel: m.channel, to: m.to.expose().into(), text: m.text.expose().into() });
        Sent::Accepted { reference: None }
    }
}

fn password(name: &str) -> Secret { Secret::new(format!("the long password of {name}")) }

impl Stage {
    /// Builds it. `lot` names the drill: its randomness follows from the run's seed and this name.
    pub async fn build(setting: &Setting, props: &Props, lot: [u8; 32]) -> Result<Self, Halt> {
        let drawn = AtomicU64::new(0);
        let entropy = move || -> [u8; 32] { Sha256::digest([lot.as_slice(), &drawn.fetch_add(1, Ordering::SeqCst).to_be_bytes()].concat()).into() };
        let vault = Arc::new(Vault::with_entropy(&props.master, entropy));
        let clock = Arc::new(AtomicI64::new(START.0));
        let now = clock.clone();
        let customers = Arc::new(Customers::over(Store::memory(), Vault::new(&props.master)));
        let runner = Arc::new(Runner::new(
            Store::memory(), (vault, customers), Policies::new(setting.policy.clone()), setting.params.clone(), Arc::new(Hub::default()), Arc::new(Metrics::default()),
            move || Timestamp(now.load(Ordering::SeqCst)),
        ));
        let agents = Arc::new(Agents::new(runner.clone()));
        let texts = Texts::load(setting.company.clone()).map_err(|e| Halt::broken("the texts", e))?;
        let texts = Arc::new(texts.with_codes(runner.vault.pepper.clone()));
        let voice = if setting.telephone { Some(telephone(&agents)?) } else { None };
        if let Some(voice) = &voice {
            runner.hub.register(twilio::NAME, voice.clone());
        }
        let oauth = OAuth::new(URL, &setting.programs).map_err(|e| Halt::broken("the programs", e))?;
        // Subscriptions are taken as everywhere; nothing carries a wake-up away.
        let push = Arc::new(Push::new(runner.clone(), Rules::default(), URL).map_err(|e| Halt::broken("push", e))?);
        let api = ApiClient { name: "site".into(), key_sha256: hex::encode(Sha256::digest(API_KEY)) };
        let deny = setting.deny.iter().cloned().chain(E164::parse(DENIED)).collect();
        let post: Arc<Post> = Arc::default();
        let app = App(Arc::new(Parts {
            tenants: Vec::new(),
            runner: runner.clone(), agents, texts: texts.clone(), public_url: URL.into(), deny_numbers: deny, api: if setting.api { vec![api] } else { Vec::new() },
            oauth, push, sign_in: None, upstream: None, stir: None, recorder: None, rings: voice.as_ref().map(|_| twilio::NAME), twilio: voice, lines: Default::default(), app_number: None, demo: false,
            demo_people: Vec::new(), handsets: None,
        }));
        let outbox = Outbox::new(runner, texts, vec![post.clone()]);
        let inner = Inner {
            router: router(app.clone()), app, outbox, post, clock, numbers: AtomicU64::new(0), agents: Mutex::default(), setting: setting.clone(),
        };
        let stage = Self(Arc::new(inner));
        for profile in &props.cast {
            let runner = stage.runner();
            let writes = runner.directory.insert(profile).await.map_err(|e| Halt::broken("a customer", e))?;
            let commit = Commit { now: stage.now().0, docs: writes.docs, index: writes.index, ..Commit::default() };
            runner.store.commit(commit).await.map_err(|e| Halt::broken("a customer", e))?;
        }
        Ok(stage)
    }

    /// The server itself.
    pub fn app(&self) -> &App { &self.0.app }
    /// All routes.
    pub fn router(&self) -> &Router { &self.0.router }
    /// The runner, to read what came of it.
    pub fn runner(&self) -> &Runner { &self.0.app.runner }
    /// What is drilled.
    pub fn setting(&self) -> &Setting { &self.0.setting }
    /// Whose ids stand for which names.
    pub fn named(&self, text: String) -> String {
        let mut text = countersign_server::desk::named(&self.0.app, &text);
        for who in Who::ALL {
            text = text.replace(&who.account().to_string(), &format!("{}’s account", who.first()));
        }
        text
    }

    // ── Time ─────────────────────────────────────────────────────────────────────────────────

    /// Now, on the stage.
    pub fn now(&self) -> Timestamp { self.runner().now() }

    /// Time passes, and the clockwork runs.
    pub async fn wait(&self, span: Span) -> Result<(), Halt> {
        self.0.clock.fetch_add(span.0, Ordering::SeqCst);
        self.runner().tick().await.map_err(|e| Halt::broken("the clockwork", e))?;
        Ok(())
    }

    // ── What came of it ──────────────────────────────────────────────────────────────────────

    /// What is on file now.
    pub async fn profile(&self, who: Who) -> Result<Profile, Halt> {
        let directory = &self.runner().directory;
        directory.forget(who.account());
        let loaded = directory.load(who.account()).await.map_err(|e| Halt::broken("a customer", e))?;
        loaded.map(|l| l.profile.clone()).ok_or_else(|| Halt::broken("a customer", "not on file"))
    }

    /// A call as it is now; `None`: it never was.
    pub async fn call(&self, id: CallId) -> Result<Option<Call>, Halt> {
        Ok(self.runner().call(id).await.map_err(|e| Halt::broken("a call", e))?.map(|live| live.call))
    }

    /// What happened on a call.
    pub async fn events(&self, id: CallId) -> Result<Vec<Recorded>, Halt> { self.runner().events(id).await.map_err(|e| Halt::broken("a record", e)) }

    /// What policy says now of an action on a call, for somebody with this role.
    pub async fn decide(&self, call: &Call, role: Role, action: &Action) -> Result<Decision, Halt> {
        let now = self.now();
        let brief = self.runner().directory.brief(call.subject, now).await.map_err(|e| Halt::broken("a customer", e))?;
        let policy: &dyn Policy = self.setting().policy.as_ref();
        let actor = Actor::Agent { id: AgentId([0; 16]), role };
        let facts = call.facts_for(policy, actor, brief.as_ref(), action);
        Ok(policy.decide(&Request { actor, action, facts: &facts }))
    }

    /// Sends what waits, and returns what was sent.
    pub async fn deliver(&self) -> Result<Vec<Letter>, Halt> {
        let before = self.0.post.letters().len();
        self.0.outbox.flush().await.map_err(|e| Halt::broken("the outbox", e))?;
        Ok(self.0.post.letters().split_off(before))
    }

    // ── Who takes part ───────────────────────────────────────────────────────────────────────

    /// A name for the next call that none had before.
    pub fn call_sid(&self) -> String { format!("CA{:032x}", self.0.numbers.fetch_add(1, Ordering::SeqCst) + 1) }

    /// Somebody at the desk, signed in with password and code through the sign-in page: the cookie.
    pub async fn sign_in(&self, name: &str, role: Role) -> Result<(AgentId, String), Halt> {
        let known = self.agents().get(name).cloned();
        let (id, otp) = match known {
            // Nobody signs in twice with one code.
            Some(known) => {
                self.wait(Span::minutes(1)).await?;
                known
            }
            None => {
                let agents = &self.0.app.agents;
                let otp = agents.add(name, role, &password(name)).await.map_err(|e| Halt::broken("an agent", e))?;
                let id = agents.names().into_iter().find(|(_, known)| known == name).map(|(id, _)| id);
                let added = (id.ok_or_else(|| Halt::broken("an agent", "not there"))?, otp);
                self.agents().insert(name.into(), added.clone());
                added
            }
        };
        let (password, code) = (password(name), totp(&otp, self.now()));
        let page = Ask::post("/desk/sign-in", &[("name", name), ("password", password.expose()), ("code", &code)]).send(self.router()).await?;
        if page.status == 303 { Ok((id, page.cookie())) } else { Err(Halt::broken("the desk's sign-in", page.text())) }
    }

    fn agents(&self) -> MutexGuard<'_, HashMap<String, (AgentId, Otp)>> { self.0.agents.lock().unwrap_or_else(PoisonError::into_inner) }

    /// A customer comes from the company's signed-in site, or from its provider: the cookie.
    pub async fn enter_portal(&self, who: Who) -> Result<String, Halt> {
        if !self.setting().api {
            if !self.setting().sign_in {
                return Err(Halt::NotApplicable(Door::Portal.missing().into()));
            }
            // The provider itself is not on the stage; what it would have come to is.
            let set = open_session(&self.0.app, who.account(), How::Provider, false, &HeaderMap::new()).await;
            let set = set.map_err(|e| Halt::broken("the portal's sign-in", format!("{e:?}")))?;
            return Ok(set.split(';').next().unwrap_or_default().to_owned());
        }
        let body = serde_json::json!({ "account_number": who.number() });
        let page = Ask::json("/api/v1/portal-sessions", &body).with("authorization", &format!("Bearer {API_KEY}")).send(self.router()).await?;
        let link = page.value().get("url").and_then(|u| u.as_str()).and_then(|u| u.strip_prefix(URL)).map(str::to_owned);
        let link = link.ok_or_else(|| Halt::broken("the portal's sign-in", page.text()))?;
        Ok(Ask::get(&link).send(self.router()).await?.cookie())
    }
}

fn telephone(agents: &Arc<Agents>) -> Result<Arc<twilio::Twilio>, Halt> {
    let from = E164::parse(CENTER).map_err(|e| Halt::broken("a number", e))?;
    let rest = rest::Twilio::new(rest::TwilioConfig {
        account_sid: format!("AC{}", "0".repeat(32)), auth_token: TOKEN.into(), from,
        // Port 0 cannot be connected to: what a call is to do next waits until the telephone asks.
        base_url: "http://127.0.0.1:0".into(), status_url: None, timeout: Span::seconds(1),
    }).map_err(|e| Halt::broken("the telephone", e))?;
    let names = agents.clone();
    Ok(Arc::new(twilio::Twilio::new(TOKEN.into(), Arc::new(rest), URL.into(), HashMap::new(), move |id| names.name(id))))
}
