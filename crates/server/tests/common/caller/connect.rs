//! Amazon Connect: runs the flow that is shipped, block by block, over the forwarder's requests.

use std::collections::HashMap;

use async_trait::async_trait;
use countersign_core::{claim::IndexKey, id::CallId};
use serde_json::{Value, json};

use super::{Caller, Dials, Heard, Then};
use crate::common::{APP_NUMBER, World, lines::{connect_event, of_connect, shipped}, pages::send};

/// One contact.
pub struct Connect {
    pub world: World,
    pub contact: String,
    initial: String,
    id: CallId,
    from: Option<&'static str>,
    to: &'static str,
    blocks: HashMap<String, Value>,
    start: String,
    /// Where the flow stands: a block that takes keys, or one that ends it.
    at: String,
    /// `$.External` and `$.StoredCustomerInput`.
    pub external: HashMap<String, String>,
    stored: String,
    lang: String,
    heard: Heard,
    sent_back: usize,
}

fn index(world: &World) -> &IndexKey { &world.app.runner.vault.index }

/// The languages and texts in SSML as we write it.
fn spoken(ssml: &str, base: &str) -> Vec<(String, String)> {
    let body = ssml.strip_prefix("<speak>").unwrap().strip_suffix("</speak>").unwrap();
    let mut out = Vec::new();
    let mut rest = body;
    let plain = |text: &str| {
        assert!(!text.contains('<'), "{text}");
        crate::common::pages::unescape(text.trim())
    };
    while let Some((before, tail)) = rest.split_once("<lang xml:lang=\"") {
        let (lang, tail) = tail.split_once("\">").unwrap();
        let (inner, tail) = tail.split_once("</lang>").unwrap();
        out.push((base.to_owned(), plain(before)));
        out.push((lang[..2].to_owned(), plain(inner)));
        rest = tail;
    }
    out.push((base.to_owned(), plain(rest)));
    out.retain(|(_, text)| !text.is_empty());
    out
}

impl Connect {
    pub async fn dial(world: &World, dials: Dials) -> Self {
        let flow = shipped("deploy/connect/flow.json");
        let contact = world.call_sid();
        let blocks = flow["Actions"].as_array().unwrap().iter().map(|block| (block["Identifier"].as_str().unwrap().to_owned(), block.clone())).collect();
        let mut new = Self {
            world: world.clone(), initial: contact.clone(), id: CallId(index(world).blind("connect", &contact).0), contact, from: dials.from,
            to: if dials.token { APP_NUMBER } else { "+12025550100" }, blocks, start: flow["StartAction"].as_str().unwrap().to_owned(), at: String::new(),
            external: HashMap::new(), stored: String::new(), lang: "en".into(), heard: Heard::default(), sent_back: 0,
        };
        new.run(new.start.clone()).await;
        new
    }

    /// A parameter: a text, or the name of something.
    fn value(&self, text: &str) -> String {
        match text.strip_prefix("$.") {
            Some("StoredCustomerInput") => self.stored.clone(),
            Some(name) => self.external.get(name.strip_prefix("External.").unwrap()).cloned().unwrap_or_default(),
            None => text.to_owned(),
        }
    }

    /// One event, as the forwarder hands it on.
    pub async fn invoke(&self, parameters: &Value) -> crate::common::pages::Page {
        let event = connect_event(&self.contact, &self.initial, self.from, self.to, parameters);
        send(&self.world.router, of_connect(&self.world.house(), self.world.now(), &event)).await
    }

    /// Runs until somebody keys, waits, talks or is gone.
    async fn run(&mut self, from: String) {
        let (mut at, mut said) = (from, Vec::new());
        for _ in 0..100 {
            let block = self.blocks[&at].clone();
            let (kind, parameters) = (block["Type"].as_str().unwrap(), &block["Parameters"]);
            let mut next = block["Transitions"]["NextAction"].as_str().map(str::to_owned);
            match kind {
                "UpdateFlowLoggingBehavior" => assert_eq!(parameters["FlowLoggingBehavior"], "Disabled", "flow logs would hold keys"),
                "UpdateContactTextToSpeechVoice" => {
                    let voice = self.value(parameters["TextToSpeechVoice"].as_str().unwrap());
                    self.lang = match voice.as_str() { "Joanna" => "en", "Lucia" => "es", "Vicki" => "de", other => panic!("voice {other:?}") }.into();
                }
                "InvokeLambdaFunction" => {
                    let attributes = parameters["LambdaInvocationAttributes"].as_object().unwrap().iter();
                    let attributes: serde_json::Map<String, Value> = attributes.map(|(name, text)| (name.clone(), json!(self.value(text.as_str().unwrap())))).collect();
                    let page = self.invoke(&Value::Object(attributes)).await;
                    let answer: serde_json::Map<String, Value> = serde_json::from_str(&page.ok().body).unwrap();
                    self.external = answer.into_iter().map(|(name, value)| (name, value.as_str().expect("a flow takes strings alone").to_owned())).collect();
                }
                "Compare" => {
                    let value = self.value(parameters["ComparisonValue"].as_str().unwrap());
                    let conditions = block["Transitions"]["Conditions"].as_array().unwrap();
                    let fits = conditions.iter().find(|c| c["Condition"]["Operands"][0] == json!(value)).map(|c| c["NextAction"].as_str().unwrap().to_owned());
                    next = Some(fits.unwrap_or_else(|| block["Transitions"]["Errors"][0]["NextAction"].as_str().unwrap().to_owned()));
                }
                "GetParticipantInput" => {
                    if let Some(ssml) = parameters["SSML"].as_str().filter(|ssml| ssml.starts_with('$')) {
                        said.extend(spoken(&self.value(ssml), &self.lang));
                    }
                    let most = parameters["InputValidation"]["CustomValidation"]["MaximumLength"].as_str().unwrap().parse().unwrap();
                    let then = match at.as_str() {
                        "hold_silence" => Then::Hold("silence".into()),
                        "hold_music" => Then::Hold(self.value("$.External.prompt").rsplit('/').next().unwrap().to_owned()),
                        _ => Then::Keys(most),
                    };
                    self.at = at;
                    self.heard = Heard { said, then };
                    return;
                }
                "MessageParticipant" => {
                    if let Some(ssml) = parameters["SSML"].as_str().filter(|ssml| ssml.starts_with('$')) {
                        said.extend(spoken(&self.value(ssml), &self.lang));
                    }
                    assert_ne!(at, "sorry", "the flow gave up: {:?}", self.external);
                }
                "UpdateContactTargetQueue" => assert!(self.value(parameters["AgentId"].as_str().unwrap()).contains(":instance/")),
                "TransferContactToQueue" => {
                    self.at = at;
                    self.heard = Heard { said, then: Then::Agent };
                    return;
                }
                "DisconnectParticipant" => {
                    self.at = at;
                    self.heard = Heard { said, then: Then::HangUp };
                    return;
                }
                other => panic!("{other}"),
            }
            at = next.unwrap();
        }
        panic!("the flow runs in a circle");
    }

    async fn stores(&mut self, input: &str) {
        let block = &self.blocks[&self.at];
        assert_eq!(block["Type"], "GetParticipantInput", "nothing can be keyed at {}", self.at);
        self.stored = input.to_owned();
        let next = block["Transitions"]["NextAction"].as_str().unwrap().to_owned();
        self.run(next).await;
    }
}

#[async_trait]
impl Caller for Connect {
    fn id(&self) -> CallId { self.id }
    fn heard(&self) -> &Heard { &self.heard }
    async fn keys(&mut self, keys: &str) { self.stores(keys).await; }
    async fn silence(&mut self) { self.stores("Timeout").await; }
    async fn listen(&mut self) {
        if self.heard.then == Then::Agent {
            // The agent sends the caller back to the flow: another contact, with the first one's name in it.
            self.sent_back += 1;
            self.contact = self.world.call_sid();
            self.run(self.start.clone()).await;
        } else {
            // A block that takes keys, or holds, ends by its time, and only then asks.
            self.stores("Timeout").await;
        }
    }
    async fn hang_up(&mut self) { self.invoke(&json!({ "do": "over" })).await.ok(); }
    fn sent_back(&self) -> usize { self.sent_back }
}
