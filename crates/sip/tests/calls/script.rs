//! A flow that does what a test says and writes down what it was told.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use countersign_sip::caller::{Phone, PhoneSettings};
use countersign_sip::{AgentEvent, Answer, CallKey, Clip, Ended, Figures, Flow, Gather, Gateway, Heard, Incoming, Settings, Step, Steps, Transfer};
use tokio::sync::mpsc;

pub const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Nothing takes longer than this, even on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    Incoming { from: String, asserted: Vec<String>, to: String, identity: Vec<String> },
    Digits(String),
    NoKeys,
    /// Milliseconds of what was said, and how many of them were loud.
    Heard(usize, usize),
    Finished,
    HungUp(Ended),
    Agent(AgentEvent),
    Transferred(Transfer),
    PickedUp,
}

pub struct Script {
    answer: Answer,
    /// What is answered to the questions, in their order.
    then: Mutex<VecDeque<Option<Steps>>>,
    told: mpsc::UnboundedSender<(CallKey, Told)>,
    /// The first answer waits for this.
    pub gate: Option<tokio::sync::Semaphore>,
    /// While somebody holds this, no entry is answered.
    pub slow: tokio::sync::Mutex<()>,
}

impl Script {
    fn tell(&self, call: &CallKey, told: Told) -> Option<Steps> {
        let asks = matches!(told, Told::Digits(_) | Told::NoKeys | Told::Heard(..) | Told::PickedUp);
        let _ = self.told.send((call.clone(), told));
        if asks { self.then.lock().unwrap().pop_front().flatten() } else { None }
    }
}

#[async_trait]
impl Flow for Script {
    async fn incoming(&self, call: &Incoming) -> Answer {
        let Incoming { from, asserted, to, identity, .. } = call.clone();
        self.tell(&call.key, Told::Incoming { from, asserted, to, identity });
        if let Some(gate) = &self.gate {
            let _ = gate.acquire().await;
        }
        self.answer.clone()
    }
    async fn digits(&self, call: &CallKey, keys: &str) -> Option<Steps> {
        let steps = self.tell(call, Told::Digits(keys.to_owned()));
        drop(self.slow.lock().await);
        steps
    }
    async fn no_keys(&self, call: &CallKey) -> Option<Steps> {
        self.tell(call, Told::NoKeys)
    }
    async fn heard(&self, call: &CallKey, said: Heard) -> Option<Steps> {
        let samples = said.into_samples();
        let loud = samples.iter().filter(|s| s.unsigned_abs() > 1000).count();
        self.tell(call, Told::Heard(samples.len() / 8, loud / 8))
    }
    async fn hung_up(&self, call: &CallKey, how: Ended) {
        self.tell(call, Told::HungUp(how));
    }
    async fn picked_up(&self, call: &CallKey) -> Option<Steps> {
        self.tell(call, Told::PickedUp)
    }
    async fn finished(&self, call: &CallKey) -> Option<Steps> {
        self.tell(call, Told::Finished)
    }
    async fn agent(&self, call: &CallKey, what: AgentEvent) -> Option<Steps> {
        self.tell(call, Told::Agent(what))
    }
    async fn transferred(&self, call: &CallKey, what: Transfer) -> Option<Steps> {
        self.tell(call, Told::Transferred(what))
    }
    async fn locate(&self, _call: &CallKey, agent: &str) -> Option<String> {
        agent.strip_prefix("at ").map(str::to_owned)
    }
}

/// A gateway with a script, and what the script was told.
pub struct Stage {
    pub gateway: Gateway,
    pub script: Arc<Script>,
    told: mpsc::UnboundedReceiver<(CallKey, Told)>,
    /// The call that was told of last.
    pub call: Option<CallKey>,
}

pub fn settings() -> Settings {
    Settings { peers: vec!["127.0.0.0/8".parse().unwrap()], ..Settings::new((HERE, 0).into()) }
}

impl Stage {
    pub async fn with(settings: Settings, answer: Answer, then: Vec<Option<Steps>>, gated: bool) -> Self {
        let (sender, told) = mpsc::unbounded_channel();
        let gate = gated.then(|| tokio::sync::Semaphore::new(0));
        let script = Arc::new(Script { answer, then: Mutex::new(then.into()), told: sender, gate, slow: tokio::sync::Mutex::default() });
        let gateway = Gateway::start(settings, script.clone()).await.unwrap();
        Self { gateway, script, told, call: None }
    }

    /// Accepts every call with the first of these; the others answer the questions.
    pub async fn playing(first: Vec<Step>, then: Vec<Vec<Step>>) -> Self {
        let then = then.into_iter().map(|list| Some(Steps::new(list))).collect();
        Self::with(settings(), Answer::Accept(Steps::new(first)), then, false).await
    }

    /// What the script is told next.
    pub async fn next(&mut self) -> Told {
        let (call, told) = tokio::time::timeout(LIMIT, self.told.recv()).await.expect("nothing was told").unwrap();
        self.call = Some(call);
        told
    }

    /// The next, and it is this.
    pub async fn expect(&mut self, wanted: Told) {
        assert_eq!(self.next().await, wanted);
    }

    /// The next, and it is a new call.
    pub async fn incoming(&mut self) -> Told {
        let told = self.next().await;
        assert!(matches!(told, Told::Incoming { .. }), "{told:?}");
        told
    }

    pub fn push(&self, steps: Steps) -> bool {
        self.gateway.handle().push(self.call.as_ref().unwrap(), steps)
    }

    pub fn uri(&self) -> String {
        format!("sip:+12025550100@{}", self.gateway.address())
    }

    /// The gateway counts so within the time.
    pub async fn counts(&self, wanted: impl Fn(&Figures) -> bool) {
        let counts = async {
            while !wanted(&self.gateway.figures()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(LIMIT, counts).await.unwrap_or_else(|_| panic!("it counts otherwise: {:?}", self.gateway.figures()));
    }

    /// No call is left, and no dialog: everything that was held was given back.
    pub async fn is_empty(&self) {
        self.counts(|figures| figures.calls == 0 && figures.dialogs == 0).await;
    }
}

pub async fn phone() -> Phone {
    Phone::start(PhoneSettings::new(HERE, "+12025550123")).await.unwrap()
}

pub fn tone(hertz: f64, millis: u64) -> Arc<Clip> {
    Clip::tone(hertz, 0.3, Duration::from_millis(millis), Duration::ZERO)
}

pub fn gather(max: u8) -> Step {
    gather_for(max, 5000)
}

pub fn gather_for(max: u8, millis: u64) -> Step {
    Step::Gather(Gather { max, timeout: Duration::from_millis(millis), hash_ends: true, secret: true })
}
