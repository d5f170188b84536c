//! A telephone system over generic HTTP.

use async_trait::async_trait;
use countersign_core::{claim::IndexKey, id::CallId};
use serde_json::{Value, json};

use super::{Caller, Dials, Heard, Then};
use crate::common::{APP_NUMBER, World, lines::of_http, pages::{Page, send}};

/// One call.
pub struct Http {
    pub world: World,
    pub call: String,
    id: CallId,
    pub step: u64,
    /// The last event that was sent.
    pub last: Value,
    pub answer: Value,
    heard: Heard,
}

fn index(world: &World) -> &IndexKey { &world.app.runner.vault.index }

impl Http {
    pub async fn dial(world: &World, dials: Dials) -> Self {
        let call = format!("gw-{}", world.call_sid());
        let id = CallId(index(world).blind("http", &call).0);
        let mut new = Self { world: world.clone(), call: call.clone(), id, step: 0, last: Value::Null, answer: Value::Null, heard: Heard::default() };
        let attestation = match dials {
            Dials { from: None, .. } => Value::Null,
            Dials { failed: true, .. } => json!("failed"),
            Dials { .. } => json!("A"),
        };
        new.told(json!({ "event": "started", "call": call, "from": dials.from, "to": if dials.token { APP_NUMBER } else { "+12025550100" }, "attestation": attestation })).await;
        new
    }

    pub async fn answer(world: &World, id: CallId) -> Self {
        let mut new = Self { world: world.clone(), call: id.to_string(), id, step: 0, last: Value::Null, answer: Value::Null, heard: Heard::default() };
        new.told(json!({ "event": "answered", "call": id })).await;
        new
    }

    pub async fn send(&self, event: &Value) -> Page { send(&self.world.router, of_http(&self.world.house(), self.world.now(), event)).await }

    async fn told(&mut self, event: Value) {
        let page = self.send(&event).await;
        self.last = event;
        self.note(&serde_json::from_str(&page.ok().body).unwrap());
    }

    fn note(&mut self, answer: &Value) {
        let mut heard = Heard::default();
        for one in answer["do"].as_array().unwrap() {
            match one["do"].as_str().unwrap() {
                "say" => {
                    assert!(!one["prompt"].as_str().unwrap().is_empty());
                    heard.said.push((one["lang"].as_str().unwrap().into(), one["text"].as_str().unwrap().into()));
                }
                "listen" => heard.then = Then::Words(one["lang"].as_str().unwrap().into()),
                "gather" => heard.then = Then::Keys(one["max"].as_u64().unwrap()),
                "hold" => heard.then = Then::Hold(one["music"].as_str().unwrap().into()),
                "bridge" => heard.then = Then::Agent,
                "hang_up" => heard.then = Then::HangUp,
                other => panic!("{other}"),
            }
        }
        assert_eq!(answer["call"], json!(self.call));
        if let Some(step) = answer["step"].as_u64() {
            self.step = step;
        }
        (self.answer, self.heard) = (answer.clone(), heard);
    }

    /// What we pushed.
    pub fn pushed(&mut self, moved: &Value) { self.note(moved); }
}

#[async_trait]
impl Caller for Http {
    fn id(&self) -> CallId { self.id }
    fn heard(&self) -> &Heard { &self.heard }
    async fn keys(&mut self, keys: &str) { self.told(json!({ "event": "keys", "call": self.call, "step": self.step, "keys": keys })).await; }
    async fn silence(&mut self) { self.told(json!({ "event": "no_keys", "call": self.call, "step": self.step })).await; }
    async fn understood(&mut self, text: &str, confidence: Option<f64>) {
        self.told(json!({ "event": "said", "call": self.call, "step": self.step, "text": text, "confidence": confidence })).await;
    }
    /// It asks for news. Without any, what goes on goes on.
    async fn listen(&mut self) {
        let before = self.heard.clone();
        self.told(json!({ "event": "now", "call": self.call, "step": self.step, "wait": 0 })).await;
        if self.answer["do"] == json!([]) {
            self.heard = before;
        }
    }
    async fn hang_up(&mut self) { self.send(&json!({ "event": "hung_up", "call": self.call })).await.ok(); }
}
