//! Genesys Cloud: an Architect flow as docs/genesys.md describes it, over the data actions that are
//! shipped. Each request is made from their templates, and each answer held against their contracts.

use std::collections::HashMap;

use async_trait::async_trait;
use axum::{body::Body, http::Request};
use countersign_core::{claim::IndexKey, id::CallId};
use serde_json::{Value, json};

use super::{Caller, Dials, Heard, Then};
use crate::common::{APP_NUMBER, World, lines::{secret, shipped}, pages::{Page, send}, schema};

/// One conversation.
pub struct Genesys {
    pub world: World,
    pub call: String,
    id: CallId,
    from: Option<&'static str>,
    to: &'static str,
    actions: HashMap<&'static str, Value>,
    pub answer: Value,
    heard: Heard,
    sent_back: usize,
}

fn index(world: &World) -> &IndexKey { &world.app.runner.vault.index }

impl Genesys {
    pub async fn dial(world: &World, dials: Dials) -> Self {
        let call = world.call_sid();
        let actions = ["start", "keys", "now", "over"].map(|name| (name, shipped(&format!("deploy/genesys/countersign-{name}.custom.json")))).into();
        let mut new = Self {
            world: world.clone(), id: CallId(index(world).blind("genesys", &call).0), call, from: dials.from, to: if dials.token { APP_NUMBER } else { "+12025550100" },
            actions, answer: Value::Null, heard: Heard::default(), sent_back: 0,
        };
        new.start().await;
        new
    }

    async fn start(&mut self) {
        let inputs = json!({ "call": self.call, "from": self.from.unwrap_or_default(), "to": self.to });
        self.run("start", inputs).await;
    }

    /// A data action, with its template filled as Genesys fills it.
    pub async fn act(&self, name: &str, inputs: &Value) -> Page {
        let action = &self.actions[name];
        schema::check(&action["contract"]["input"]["inputSchema"], inputs).unwrap();
        let request = &action["config"]["request"];
        let mut body = request["requestTemplate"].as_str().unwrap().to_owned();
        for (field, value) in inputs.as_object().unwrap() {
            let plain = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let escaped = serde_json::to_string(&plain).unwrap();
            body = body.replace(&format!("$esc.jsonString(${{input.{field}}})"), escaped.trim_matches('"')).replace(&format!("${{input.{field}}}"), &plain);
        }
        assert!(!body.contains("${"), "{body}");
        let path = request["requestUrlTemplate"].as_str().unwrap().strip_prefix("https://calls.example.com").unwrap();
        let mut made = Request::post(path);
        for (name, value) in request["headers"].as_object().unwrap() {
            made = made.header(name, value.as_str().unwrap().replace("${credentials.token}", secret(&self.world.house(), "genesys").expose()));
        }
        send(&self.world.router, made.body(Body::from(body)).unwrap()).await
    }

    async fn run(&mut self, name: &str, inputs: Value) {
        let (mut name, mut inputs, mut said) = (name.to_owned(), inputs, Vec::new());
        for _ in 0..20 {
            let page = self.act(&name, &inputs).await;
            let answer: Value = serde_json::from_str(&page.ok().body).unwrap();
            schema::check(&self.actions[name.as_str()]["contract"]["output"]["successSchema"], &answer).unwrap();
            let text = answer["text"].as_str().unwrap();
            if !text.is_empty() {
                said.push((answer["language"].as_str().unwrap().to_owned(), text.to_owned()));
            }
            let then = match answer["next"].as_str().unwrap() {
                "say" => None,
                "keys" => Some(Then::Keys(answer["max"].as_u64().unwrap())),
                "hold" => Some(Then::Hold(answer["music"].as_str().unwrap().to_owned())),
                "agent" => Some(Then::Agent),
                "hang_up" => Some(Then::HangUp),
                other => panic!("{other}"),
            };
            self.answer = answer;
            if let Some(then) = then {
                self.heard = Heard { said, then };
                return;
            }
            (name, inputs) = ("now".into(), json!({ "call": self.call }));
        }
        panic!("the flow runs in a circle");
    }
}

#[async_trait]
impl Caller for Genesys {
    fn id(&self) -> CallId { self.id }
    fn heard(&self) -> &Heard { &self.heard }
    async fn keys(&mut self, keys: &str) {
        let inputs = json!({ "call": self.call, "step": self.answer["step"], "keys": keys });
        self.run("keys", inputs).await;
    }
    async fn silence(&mut self) { self.keys("").await; }
    async fn listen(&mut self) {
        if self.heard.then == Then::Agent {
            // The agent transfers the caller to the flow.
            self.sent_back += 1;
            self.start().await;
        } else if matches!(self.heard.then, Then::Hold(_)) {
            self.run("now", json!({ "call": self.call })).await;
        } else {
            // What collects keys ends by its time, and only then asks.
            self.keys("").await;
        }
    }
    async fn hang_up(&mut self) { self.act("over", &json!({ "call": self.call })).await.ok(); }
    fn sent_back(&self) -> usize { self.sent_back }
}
