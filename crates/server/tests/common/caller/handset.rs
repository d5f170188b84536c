//! The demo's handset.

use std::time::Duration;

use async_trait::async_trait;
use axum::{body::Body, http::{Method, Request, header}};
use countersign_core::id::CallId;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{Caller, Dials, Heard, Then};
use crate::common::{World, pages::{own, send}};

pub struct Handset {
    world: World,
    id: CallId,
    heard: Heard,
    commands: usize,
}

impl Handset {
    pub async fn dial(world: &World, dials: Dials) -> Box<dyn Caller> {
        // A token that is none is not keyed by the handset itself: the scenario does it.
        let page = send(&world.router, own(Method::POST, "/handset/calls", None, "application/json", json!({ "number": dials.from.unwrap_or_default(), "token": dials.token.then_some("x") }).to_string())).await;
        let page: Value = serde_json::from_str(&page.ok().body).unwrap();
        Self::at(world, page["call"].as_str().unwrap().parse().unwrap()).await
    }

    pub async fn answer(world: &World, id: CallId) -> Box<dyn Caller> {
        send(&world.router, own(Method::POST, &format!("/handset/calls/{id}/answer"), None, "application/json", "{}")).await.ok();
        Self::at(world, id).await
    }

    async fn at(world: &World, id: CallId) -> Box<dyn Caller> {
        let mut new = Self { world: world.clone(), id, heard: Heard::default(), commands: 0 };
        new.look().await;
        Box::new(new)
    }

    /// What the page shows now: the first event of its stream.
    async fn look(&mut self) {
        let request = Request::get(format!("/handset/calls/{}/events", self.id)).header(header::HOST, "calls.example.com").body(Body::empty()).unwrap();
        let response = self.world.router.clone().oneshot(request).await.unwrap();
        let mut stream = response.into_body().into_data_stream();
        let first = tokio::time::timeout(Duration::from_secs(10), stream.next()).await.unwrap().unwrap().unwrap();
        let text = String::from_utf8(first.to_vec()).unwrap();
        let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
        let mut heard = Heard::default();
        for one in serde_json::from_str::<Vec<Value>>(data).unwrap() {
            match one["do"].as_str().unwrap() {
                "say" => heard.said.push((one["lang"].as_str().unwrap().into(), one["text"].as_str().unwrap().into())),
                "gather" => heard.then = Then::Keys(one["max"].as_u64().unwrap()),
                "hold" => heard.then = Then::Hold(one["music"].as_str().unwrap().into()),
                "bridge" => heard.then = Then::Agent,
                "hang_up" => heard.then = Then::HangUp,
                other => panic!("{other}"),
            }
        }
        self.heard = heard;
    }

    async fn post(&mut self, what: &str, fields: Value) {
        self.commands += 1;
        let mut body = fields;
        if what != "hang-up" {
            body["command"] = json!(format!("c{}", self.commands));
        }
        send(&self.world.router, own(Method::POST, &format!("/handset/calls/{}/{what}", self.id), None, "application/json", body.to_string())).await.ok();
    }
}

#[async_trait]
impl Caller for Handset {
    fn id(&self) -> CallId { self.id }
    fn heard(&self) -> &Heard { &self.heard }
    async fn keys(&mut self, keys: &str) {
        self.post("keys", json!({ "keys": keys })).await;
        self.look().await;
    }
    async fn silence(&mut self) {
        self.post("silence", json!({})).await;
        self.look().await;
    }
    async fn listen(&mut self) { self.look().await; }
    async fn hang_up(&mut self) { self.post("hang-up", json!({})).await; }
}
