//! A whole server in this process, with nothing real in it, and a thread of its own to serve on.

use std::sync::Arc;

use axum::{Router, body::Body, http::Request};
use countersign_core::{id::AgentId, secret::{E164, Secret}};
use countersign_drill::{
    setting::Setting,
    stage::{CENTER, HOST, Props, Stage, URL},
    wire::{Page, send},
};
use countersign_server::{
    App, Parts,
    outbox::provider::SetupError,
    router,
    telephony::{
        Lines,
        connect::{self, Connect, ConnectSettings},
        genesys::{self, Genesys, GenesysSettings},
        handset::{self, Handsets},
        http::{self, Http, HttpSettings},
        jambonz::{self, Hooks, Jambonz, JambonzSettings, rest::Rest},
    },
};
use tokio::runtime::Runtime;

use crate::Target;

/// A server is built anew after so many requests, so that its record stays small.
const FRESH: u32 = 400;
/// The account at jambonz.
pub(crate) const ACCOUNT: &str = "0a1b2c3d-0000-4000-8000-00000000000a";

/// What a company and one of its telephone systems share.
pub(crate) fn secret(adapter: &str) -> Secret { Secret::new(format!("what {adapter} shares with us and nobody else")) }

/// The server of a drill, and over the same record one with every telephone system and the demo's handset.
pub(crate) struct Server {
    pub(crate) runtime: Runtime,
    props: Props,
    there: Option<(Stage, Router)>,
    asked: u32,
}

impl Server {
    pub(crate) fn new() -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        Ok(Self { runtime, props: Props::new(1), there: None, asked: 0 })
    }

    /// The stage, which of them it is, and the router with every door.
    pub(crate) fn there(&mut self) -> Result<(Stage, u32, Router), String> {
        if self.asked.is_multiple_of(FRESH) || self.there.is_none() {
            let stage = self.runtime.block_on(Stage::build(&Setting::shipped(), &self.props, [7; 32])).map_err(|e| e.to_string())?;
            let open = open(stage.app())?;
            self.there = Some((stage, open));
        }
        let which = self.asked / FRESH;
        self.asked = self.asked.wrapping_add(1);
        self.there.clone().map(|(stage, open)| (stage, which, open)).ok_or_else(|| "there is no server".into())
    }

    /// The answer, and how many rows it left in the log.
    pub(crate) fn ask(&mut self, stage: &Stage, router: &Router, request: Request<Body>) -> Result<(Page, u64), String> {
        self.runtime.block_on(async {
            let before = stage.runner().store.head().await.map_err(|e| e.to_string())?;
            let page = send(router, request).await.map_err(|e| e.to_string())?;
            let after = stage.runner().store.head().await.map_err(|e| e.to_string())?;
            Ok((page, after - before))
        })
    }

    /// The status of the answer of the stage to a request, and how many rows it left in the log.
    pub(crate) fn post(&mut self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<(u16, u64), String> {
        let (stage, _, _) = self.there()?;
        let request = posted(path, headers, body).ok_or("an address that is none")?;
        let (page, rows) = self.ask(&stage, stage.router(), request)?;
        Ok((page.status, rows))
    }
}

/// `None`: nobody could send this.
pub(crate) fn posted(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<Request<Body>> {
    let mut request = Request::post(path).header("host", HOST);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body.to_vec())).ok()
}

/// A target behind which a server stands. It is built with the first input: whoever runs one target
/// waits for no other.
pub(crate) fn with_server(name: &'static str, what: &'static str, words: &'static [&'static str], slice: u32, seeds: &[&str], mut check: impl FnMut(&mut Server, &[u8]) -> Result<(), String> + 'static) -> Target {
    let mut server: Option<Server> = None;
    Target::of(name, what, words, slice, seeds, move |input| {
        if server.is_none() {
            server = Some(Server::new()?);
        }
        server.as_mut().map_or_else(|| Err("there is no server".into()), |server| check(server, input))
    })
}

/// Every telephone system and the handset of the demo, over the record of a stage.
fn open(app: &App) -> Result<Router, String> {
    let (runner, texts) = (app.runner.clone(), app.texts.clone());
    let handsets = Arc::new(Handsets::new(texts.clone()));
    let from = E164::parse(CENTER).map_err(|e| e.to_string())?;
    let lines = lines(app, from).map_err(|e| e.to_string())?;
    let hub = &runner.hub;
    hub.register(handset::NAME, handsets.clone());
    let app = App(Arc::new(Parts {
        tenants: Vec::new(), agents: app.agents.clone(), texts, public_url: URL.into(), deny_numbers: Vec::new(), api: Vec::new(), oauth: None, push: app.push.clone(),
        sign_in: None, upstream: None, stir: None, recorder: None, rings: None, twilio: None, lines, app_number: None, demo: true, demo_people: Vec::new(),
        handsets: Some(handsets), runner,
    }));
    Ok(router(app))
}

fn lines(app: &App, from: E164) -> Result<Lines, SetupError> {
    let (runner, texts) = (&app.runner, &app.texts);
    let nobody = |_: AgentId| String::new();
    let weak = Arc::downgrade(runner);
    let clock = Arc::new(move || weak.upgrade().map_or(countersign_drill::stage::START, |runner| runner.now()));
    let settings = HttpSettings { secret_file: None, push_url: None, app_number: None, hear_verbal_passwords: false, least_confidence: 80, agent_phones: Default::default() };
    let http = Arc::new(Http::new(&settings, secret(http::NAME), texts.clone(), URL.into(), clock, nobody)?);
    let settings = JambonzSettings {
        account_sid: ACCOUNT.into(), webhook_secret_file: None, api_key_file: None, api_url: None, from: from.clone(), app_number: None,
        attestation_header: Some("P-Asserted-Identity".into()), hear_verbal_passwords: false, least_confidence: 80, agent_phones: Default::default(),
    };
    let hooks = Hooks::new(URL.into(), runner.vault.clone());
    let ours = hooks.clone();
    // Port 0 cannot be connected to: what a call is to do next waits until the telephone asks.
    let rest = Rest::new("http://127.0.0.1:0", ACCOUNT, "a key".into(), from, move |call| ours.ours(call))?;
    let jambonz = Arc::new(Jambonz::new(&settings, secret(jambonz::NAME), Arc::new(rest), hooks, nobody)?);
    let settings = ConnectSettings { secret_file: None, instance: None, app_number: None, agents: Default::default(), music: Default::default(), voices: Default::default() };
    let connect = Arc::new(Connect::new(&settings, secret(connect::NAME), connect::LIMIT, nobody)?);
    let settings = GenesysSettings { token_file: None, app_number: None, agents: Default::default() };
    let genesys = Arc::new(Genesys::new(&settings, secret(genesys::NAME), nobody)?);
    let hub = &runner.hub;
    hub.register(http::NAME, http.clone());
    hub.register(jambonz::NAME, jambonz.clone());
    hub.register(connect::NAME, connect.clone());
    hub.register(genesys::NAME, genesys.clone());
    Ok(Lines { http: Some(http), jambonz: Some(jambonz), connect: Some(connect), genesys: Some(genesys) })
}
