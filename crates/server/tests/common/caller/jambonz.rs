//! jambonz: does what verbs say, one after the other, and asks their hooks.

use async_trait::async_trait;
use countersign_core::{claim::IndexKey, id::CallId};
use serde_json::{Value, json};

use super::{Caller, Dials, Heard, Then};
use crate::common::{APP_NUMBER, World, lines::{ATTESTATION, jambonz_event, of_jambonz}, pages::{Page, send}};

/// One call.
pub struct Jambonz {
    pub world: World,
    pub sid: String,
    id: CallId,
    from: Option<&'static str>,
    /// The verbs that are left, the one that goes on first.
    pub verbs: Vec<Value>,
    heard: Heard,
}

fn index(world: &World) -> &IndexKey { &world.app.runner.vault.index }

impl Jambonz {
    fn new(world: &World, from: Option<&'static str>) -> Self {
        let number = world.call_sid();
        let sid = format!("0a1b2c3d-0000-4000-8000-{}", &number[number.len() - 12..]);
        let id = CallId(index(world).blind("jambonz", &sid).0);
        Self { world: world.clone(), sid, id, from, verbs: Vec::new(), heard: Heard::default() }
    }

    pub async fn dial(world: &World, dials: Dials) -> Self {
        let mut new = Self::new(world, dials.from);
        let identity = format!("<sip:caller@example.com>;verstat=TN-Validation-{}", if dials.failed { "Failed" } else { "Passed-A" });
        let mut event = new.event(json!({ "call_status": "ringing", "sip": { "headers": { ATTESTATION: identity, "X-Other": "1" } } }));
        if dials.token {
            event["to"] = json!(APP_NUMBER);
        }
        let page = new.post("/jambonz/call", &event).await;
        new.told(&page).await;
        new
    }

    pub async fn answer(world: &World, id: CallId) -> Self {
        let mut new = Self { id, ..Self::new(world, None) };
        let (answered, _) = countersign_server::telephony::jambonz::Hooks::new(world.house().url.into(), world.app.runner.vault.clone()).ours(&id.to_string()).unwrap();
        let page = new.post(answered.strip_prefix(world.house().url).unwrap(), &new.event(json!({ "direction": "outbound" }))).await;
        new.told(&page).await;
        new
    }

    pub fn event(&self, more: Value) -> Value {
        let mut event = jambonz_event(&self.sid, &more);
        event["from"] = json!(self.from.unwrap_or("anonymous"));
        event
    }

    pub async fn post(&self, path: &str, event: &Value) -> Page { send(&self.world.router, of_jambonz(&self.world.house(), self.world.now(), path, event)).await }

    /// Verbs came: the words until somebody keys or waits are heard.
    async fn told(&mut self, page: &Page) {
        let verbs: Vec<Value> = serde_json::from_str(&page.ok().body).unwrap();
        assert!(!verbs.is_empty(), "jambonz ends a call that has nothing to do");
        (self.verbs, self.heard) = (verbs, Heard::default());
        let (mut at, mut heard) = (0, Heard::default());
        for (n, verb) in self.verbs.iter().enumerate() {
            let said = |say: &Value| (say["synthesizer"]["language"].as_str().unwrap()[..2].to_owned(), say["text"].as_str().unwrap().to_owned());
            match verb["verb"].as_str().unwrap() {
                "say" => heard.said.push(said(verb)),
                "gather" => {
                    heard.said.extend(verb.get("say").map(said));
                    let hook = verb["actionHook"].as_str().unwrap();
                    if !hook.contains("&more=1") {
                        at = n;
                        heard.then = match verb["play"]["url"].as_str() {
                            Some(url) => Then::Hold(url.rsplit('/').next().unwrap().trim_end_matches(".wav").to_owned()),
                            None if hook.contains("&hold=1") => Then::Hold("silence".into()),
                            None if verb["input"] == json!(["digits", "speech"]) => Then::Words(verb["recognizer"]["language"].as_str().unwrap()[..2].into()),
                            None => Then::Keys(verb["numDigits"].as_u64().unwrap()),
                        };
                    }
                }
                "conference" => (at, heard.then) = (n, Then::Agent),
                "hangup" => (at, heard.then) = (n, Then::HangUp),
                other => panic!("{other}"),
            }
        }
        // Words before the last ones end by an empty answer of their hooks.
        for verb in self.verbs[..at].iter().filter(|verb| verb["verb"] == "gather") {
            let path = self.path(verb["actionHook"].as_str().unwrap());
            assert_eq!(self.post(&path, &self.event(json!({ "reason": "timeout" }))).await.ok().body, "[]");
        }
        self.heard = heard;
        self.verbs.drain(..at);
    }

    fn path(&self, hook: &str) -> String { hook.strip_prefix(self.world.house().url).unwrap().to_owned() }

    /// Where the verb that goes on asks.
    pub fn hook(&self) -> String { self.path(self.verbs[0]["actionHook"].as_str().unwrap_or_else(|| panic!("no hook: {:?}", self.verbs))) }
}

#[async_trait]
impl Caller for Jambonz {
    fn id(&self) -> CallId { self.id }
    fn heard(&self) -> &Heard { &self.heard }
    async fn keys(&mut self, keys: &str) {
        let page = self.post(&self.hook(), &self.event(json!({ "reason": "dtmfDetected", "digits": keys }))).await;
        self.told(&page).await;
    }
    async fn silence(&mut self) {
        let page = self.post(&self.hook(), &self.event(json!({ "reason": "timeout" }))).await;
        self.told(&page).await;
    }
    async fn understood(&mut self, text: &str, confidence: Option<f64>) {
        let speech = json!({ "language_code": "en-US", "channel_tag": 1, "is_final": true, "alternatives": [{ "transcript": text, "confidence": confidence }], "vendor": { "name": "a vendor" } });
        let page = self.post(&self.hook(), &self.event(json!({ "reason": "speechDetected", "speech": speech }))).await;
        self.told(&page).await;
    }
    /// jambonz was told to ask another hook, or what goes on is over: it asks.
    async fn listen(&mut self) {
        let now = self.hook().replace("/step?", "/now?").replace("&hold=1", "");
        let page = self.post(&now, &self.event(json!({}))).await;
        self.told(&page).await;
    }
    async fn hang_up(&mut self) {
        // The status address of the application; a call of ours has one of its own.
        let own = countersign_server::telephony::jambonz::Hooks::new(self.world.house().url.into(), self.world.app.runner.vault.clone()).ours(&self.id.to_string()).unwrap().1;
        let ours = self.verbs.iter().any(|verb| verb["actionHook"].as_str().is_some_and(|hook| hook.contains("&call=")));
        let path = if ours { self.path(&own) } else { "/jambonz/status".to_owned() };
        self.post(&path, &self.event(json!({ "call_status": "completed" }))).await.is(204);
    }
}
