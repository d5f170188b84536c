//! Switches that are told by commands what to do with a call, and tell what happens on it: Asterisk and
//! FreeSWITCH. What is the same for all of them is here; an adapter knows how its switch is spoken to
//! ([`Switch`]), and tells what it hears ([`Lines`]).

pub mod clips;
pub mod line;
pub mod out;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use countersign_core::{
    call::{Call, Input, Stage},
    id::{AgentId, CallId},
    prompt::Directive,
    risk::Verstat,
    secret::E164,
};
use tokio::{
    sync::{broadcast::error::RecvError, mpsc},
    time::{Instant, sleep_until},
};

use self::{
    clips::Clips,
    line::{Heard, Line, Order, Question, Step},
};
use super::{incoming, unrecorded};
use crate::{
    App,
    hub::{Notice, Sound, Telephone},
    recording::About,
    runner::{Line as Kept, Reply, RunError},
};

/// Keys of one caller that wait to be taken. Whoever keys faster is not heard.
const KEYS_AHEAD: usize = 64;

/// Why an order was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SwitchError {
    /// There is no such channel any more: that it is over is told by itself.
    #[error("the channel is gone")]
    Gone,
    /// Something else. A constant, or a number: no value of a call.
    #[error("{0}")]
    Failed(String),
}

/// A switch.
#[async_trait]
pub trait Switch: Send + Sync {
    /// Answers a call.
    async fn answer(&self, channel: &str) -> Result<(), SwitchError>;
    /// Does one thing. It is told when a clip has ended and when an agent's telephone was answered or not.
    async fn order(&self, channel: &str, order: &Order) -> Result<(), SwitchError>;
    /// Whether callers can be listened to.
    fn listens(&self) -> bool { false }
    /// Gives a call back that we cannot take: the switch does with it what it does without us.
    async fn decline(&self, channel: &str) -> Result<(), SwitchError>;
    /// Nothing more is asked of a channel.
    fn forget(&self, channel: &str);
}

/// A call that a switch has given us.
pub struct Arrival {
    /// The switch's name for it.
    pub channel: String,
    /// The calling number. `None` if it was withheld or is none.
    pub number: Option<E164>,
    /// The number that was called, if it is one.
    pub to: Option<E164>,
    /// What the network says of it.
    pub verstat: Verstat,
    /// We made it: which call it is.
    pub ours: Option<CallId>,
    /// The agent's telephone that is connected already: we were away, and the switch was not.
    pub agent: bool,
    /// How it is spoken to.
    pub switch: Arc<dyn Switch>,
}

enum Mail {
    Heard(Heard),
    /// What the call is to do, from elsewhere.
    Do(Reply),
    /// Anew what it is doing: what the switch told meanwhile was not heard.
    Again,
    /// Nobody can tell the channel anything more; whether it is over is not known.
    Left,
    Gone,
}

struct Handle {
    id: CallId,
    mail: mpsc::UnboundedSender<Mail>,
    keys: Arc<AtomicUsize>,
    turn: u64,
}

/// What an adapter is made of.
pub struct Setup {
    /// Its name in the record.
    pub name: &'static str,
    /// What is said.
    pub clips: Clips,
    /// The telephones of agents, by sign-in name, as the switch dials them.
    pub agent_phones: HashMap<String, String>,
    /// What national numbers begin with, such as `+1`.
    pub national: Option<String>,
    /// Calls at one time.
    pub most: usize,
    /// Names of agents, for their telephones.
    pub name_of: Box<dyn Fn(AgentId) -> String + Send + Sync>,
}

/// The calls of an adapter that are on the line here.
pub struct Lines {
    setup: Setup,
    app: OnceLock<App>,
    calls: Mutex<HashMap<String, Handle>>,
    /// Arrivals that there have been.
    turns: AtomicU64,
}

impl Lines {
    /// No call is on the line.
    pub fn new(setup: Setup) -> Self { Self { setup, app: OnceLock::new(), calls: Mutex::default(), turns: AtomicU64::new(0) } }

    /// Begins to follow the calls of this application.
    pub fn start(self: &Arc<Self>, app: App) {
        let notices = app.runner.hub.listen();
        if self.app.set(app).is_ok() {
            tokio::spawn(follow(self.clone(), notices));
        }
    }

    /// The application, once it is there.
    pub fn app(&self) -> Option<&App> { self.app.get() }

    fn calls(&self) -> std::sync::MutexGuard<'_, HashMap<String, Handle>> { self.calls.lock().unwrap_or_else(PoisonError::into_inner) }

    /// The channels that are on the line here.
    pub fn channels(&self) -> Vec<String> { self.calls().keys().cloned().collect() }

    /// A number as a switch writes it.
    pub fn number(&self, text: &str) -> Option<E164> {
        if text.starts_with('+') {
            return E164::parse(text).ok();
        }
        let national = self.setup.national.as_deref().filter(|_| text.len() >= 7 && text.bytes().all(|b| b.is_ascii_digit()))?;
        E164::parse(&format!("{national}{}", text.trim_start_matches('0'))).ok()
    }

    /// A call is there: a new one, or one that we had before we were away. One that is on the line here is
    /// spoken to from now on as this says. What it returns is for `left`.
    pub fn arrived(self: &Arc<Self>, arrival: Arrival) -> u64 {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        let Some(app) = self.app.get().cloned() else { return turn };
        // Named by what only we know: a switch may take its caller's name for a call.
        let id = arrival.ours.unwrap_or_else(|| CallId(app.runner.vault.index.blind(self.setup.name, &arrival.channel).0));
        let (mail, inbox) = mpsc::unbounded_channel();
        let keys = Arc::new(AtomicUsize::new(0));
        let full = {
            let mut calls = self.calls();
            let before = calls.remove(&arrival.channel);
            let full = calls.len() >= self.setup.most && before.is_none();
            if let Some(before) = before {
                let _ = before.mail.send(Mail::Left);
            }
            if !full {
                calls.insert(arrival.channel.clone(), Handle { id, mail, keys: keys.clone(), turn });
            }
            full
        };
        let lines = self.clone();
        tokio::spawn(async move {
            if full {
                tracing::warn!(adapter = lines.setup.name, "a call was given back: there are as many as may be");
                let _ = arrival.switch.decline(&arrival.channel).await;
                return;
            }
            let channel = arrival.channel.clone();
            Serving { lines: lines.clone(), app, id, channel: arrival.channel.clone(), switch: arrival.switch.clone(), keys, n: 0, told: Vec::new() }.run(arrival, inbox).await;
            let mut calls = lines.calls();
            // Not one that has arrived anew meanwhile.
            if calls.get(&channel).is_some_and(|handle| handle.turn == turn) {
                calls.remove(&channel);
            }
        });
        turn
    }

    /// Something happened on a channel.
    pub fn heard(&self, channel: &str, heard: Heard) {
        let calls = self.calls();
        let Some(handle) = calls.get(channel) else { return };
        if matches!(heard, Heard::Key(_)) && handle.keys.fetch_add(1, Ordering::Relaxed) >= KEYS_AHEAD {
            handle.keys.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let _ = handle.mail.send(Mail::Heard(heard));
    }

    /// A channel is gone: the caller hung up, or was hung up.
    pub fn gone(&self, channel: &str) {
        if let Some(handle) = self.calls().get(channel) {
            let _ = handle.mail.send(Mail::Gone);
        }
    }

    /// A channel may have told things that nobody heard: what it is doing begins anew.
    pub fn again(&self, channel: &str) {
        if let Some(handle) = self.calls().get(channel) {
            let _ = handle.mail.send(Mail::Again);
        }
    }

    /// The connection to a channel was lost, and the channel perhaps not: the call is taken up when it
    /// arrives again, and ends by its time if it does not.
    pub fn left(&self, channel: &str, turn: u64) {
        let mut calls = self.calls();
        // Not one that has arrived anew meanwhile.
        if calls.get(channel).is_some_and(|handle| handle.turn == turn)
            && let Some(handle) = calls.remove(channel)
        {
            let _ = handle.mail.send(Mail::Left);
        }
    }

    /// A call of this adapter whose channel ended while nobody listened.
    pub async fn lost(&self, id: CallId, channel: &str) {
        if let Some(app) = self.app.get() {
            over(app, self.setup.name, id, channel).await;
        }
    }

    /// Whether a channel is on the line here.
    pub fn has(&self, channel: &str) -> bool { self.calls().contains_key(channel) }

    /// What a call is to do now, if it is on the line here.
    async fn refresh(&self, id: CallId) {
        let Some(app) = self.app.get() else { return };
        let known = || self.calls().values().find(|handle| handle.id == id).map(|handle| handle.mail.clone());
        if known().is_none() {
            return;
        }
        // Asked aside: whoever moved the call tells its words first, and then lets go of it.
        if let (Some(reply), Some(mail)) = (present(app, id).await, known()) {
            let _ = mail.send(Mail::Do(reply));
        }
    }
}

/// What a call's telephone should do now.
async fn present(app: &App, id: CallId) -> Option<Reply> {
    let live = app.runner.call(id).await.ok().flatten()?;
    Some(Reply { n: live.call.n, directives: app.runner.directives(&live.call).await.ok()? })
}

async fn over(app: &App, name: &str, id: CallId, channel: &str) {
    if let Some(recorder) = &app.recorder {
        recorder.over(id);
    }
    match app.runner.run(id, format!("{name}/{channel}/over"), || Input::HungUp).await {
        Ok(_) | Err(RunError::Rejected(_) | RunError::NoCall) => {}
        Err(e) => tracing::error!(call = %id, error = %e, "the end of a call could not be put on record; it ends by silence"),
    }
}

/// Calls are moved by desks on any node; a notice of it comes here.
async fn follow(lines: Arc<Lines>, mut notices: tokio::sync::broadcast::Receiver<Notice>) {
    loop {
        let ids = match notices.recv().await {
            Ok(Notice::Call(id)) => vec![id],
            Ok(_) => continue,
            Err(RecvError::Lagged(_)) => lines.calls().values().map(|handle| handle.id).collect(),
            Err(RecvError::Closed) => return,
        };
        for id in ids {
            let lines = lines.clone();
            tokio::spawn(async move { lines.refresh(id).await });
        }
    }
}

#[async_trait]
impl Telephone for Lines {
    /// The words that go with a move; the notice that follows brings nodes up to date that have the line.
    async fn push(&self, call: &Call, _line: &Kept, reply: Reply) {
        if let Some(handle) = self.calls().values().find(|handle| handle.id == call.id) {
            let _ = handle.mail.send(Mail::Do(reply));
        }
    }

    async fn clip(&self, name: &str) -> Option<Sound> {
        let app = self.app.get()?;
        self.setup.clips.sound(&app.runner.vault.index, app.runner.now(), name).await
    }
}

/// One call on the line.
struct Serving {
    lines: Arc<Lines>,
    app: App,
    id: CallId,
    channel: String,
    switch: Arc<dyn Switch>,
    keys: Arc<AtomicUsize>,
    /// How many events it had when its telephone was last told what to do: names the next command.
    n: u64,
    /// What it was told.
    told: Vec<Directive>,
}

impl Serving {
    async fn run(mut self, arrival: Arrival, mut inbox: mpsc::UnboundedReceiver<Mail>) {
        let mut connected = arrival.agent;
        let Some((reply, resumed)) = self.begun(arrival).await else {
            let _ = self.switch.decline(&self.channel).await;
            return;
        };
        if let Err(e) = self.switch.answer(&self.channel).await {
            tracing::warn!(call = %self.id, error = %e, "a call could not be answered");
            // Its end may have been told before anybody listened.
            if e == SwitchError::Gone {
                return over(&self.app, self.lines.setup.name, self.id, &self.channel).await;
            }
        }
        let mut line = Line::default();
        if resumed {
            // Whatever it was doing; it is told anew.
            let _ = self.switch.order(&self.channel, &Order::Quiet).await;
            if self.switch.order(&self.channel, &Order::Part).await.is_err() {
                // The agent would hear what he must not: he goes.
                let _ = self.switch.order(&self.channel, &Order::Drop).await;
                connected = false;
            }
            line = Line::resumed(if connected { self.phone().await } else { None });
        }
        self.set(&mut line, reply).await;
        loop {
            let due = line.deadline();
            let mail = tokio::select! {
                biased;
                mail = inbox.recv() => mail,
                () = async { match due { Some(at) => sleep_until(at).await, None => std::future::pending().await } } => Some(Mail::Heard(Heard::Time)),
            };
            match mail {
                Some(Mail::Heard(heard)) => {
                    if matches!(heard, Heard::Key(_)) {
                        self.keys.fetch_sub(1, Ordering::Relaxed);
                    }
                    self.hear(&mut line, heard).await;
                }
                // Something was put on record, and the caller is to do what they are doing: nobody begins a
                // prompt anew for that, and takes keys for it that are meant for the next. What was said once
                // before it, such as the greeting, is not part of what they are to do.
                Some(Mail::Do(reply)) if reply.n > self.n && !self.told.ends_with(&reply.directives) => self.set(&mut line, reply).await,
                Some(Mail::Do(_)) => {}
                Some(Mail::Again) => {
                    if let Some(reply) = present(&self.app, self.id).await {
                        self.set(&mut line, reply).await;
                    }
                }
                Some(Mail::Left) => return,
                Some(Mail::Gone) | None => break,
            }
        }
        let _ = self.switch.order(&self.channel, &Order::Deaf).await;
        // An agent who is on the line is on it alone now.
        let _ = self.switch.order(&self.channel, &Order::Drop).await;
        self.switch.forget(&self.channel);
        over(&self.app, self.lines.setup.name, self.id, &self.channel).await;
    }

    /// The first answer, or where the call was before we were away.
    async fn begun(&self, arrival: Arrival) -> Option<(Reply, bool)> {
        let (app, name) = (&self.app, self.lines.setup.name);
        match app.runner.call(self.id).await {
            // Whoever names a call of ours names one that we make by this switch.
            Ok(Some(live)) if arrival.ours.is_some() && (!live.call.origin.is_ours() || live.call.adapter != name) => return None,
            Ok(Some(live)) if live.call.stage == Stage::Dialing => {
                let line = Kept { reference: self.channel.clone(), number: arrival.number.clone() };
                let answered = app.runner.answer_out(self.id, format!("{name}/{}/answered", self.channel), line).await;
                // Too late, most of the time: nobody waits for it any more.
                let answered = answered.inspect_err(|e| tracing::warn!(call = %self.id, error = %e, "a customer answered a call that cannot go on"));
                return Some((answered.unwrap_or(Reply { n: 0, directives: vec![Directive::HangUp] }), false));
            }
            Ok(None) if arrival.ours.is_some() => return Some((Reply { n: 0, directives: vec![Directive::HangUp] }, false)),
            Ok(Some(live)) if live.call.stage != Stage::Ended => return present(app, self.id).await.map(|reply| (reply, true)),
            Ok(None) => {}
            // It is over for us, and its channel is not.
            Ok(Some(_)) => return Some((Reply { n: 0, directives: vec![Directive::HangUp] }, false)),
            Err(e) => {
                tracing::error!(error = %e, adapter = name, "a call could not be looked up");
                return None;
            }
        }
        let begun = async {
            let dialled = arrival.to.is_some() && arrival.to == app.app_number;
            let first = incoming(app, name, arrival.number.as_ref(), arrival.verstat, dialled).await?;
            let line = Kept { reference: self.channel.clone(), number: arrival.number.clone() };
            app.runner.begin(self.id, format!("{name}/{}/in", self.channel), line, || first.input()).await
        };
        begun.await.inspect_err(|e| tracing::error!(error = %e, adapter = name, "a call could not begin")).ok().map(|reply| (reply, false))
    }

    async fn hear(&mut self, line: &mut Line, heard: Heard) {
        let (orders, question) = line.hear(Instant::now(), heard);
        self.carry_out(line, orders).await;
        let Some(question) = question else { return };
        let command = format!("{}/{}/{}", self.lines.setup.name, self.channel, self.n);
        let make = || match &question {
            Question::Keys(keys) => Input::Keys(keys.clone()),
            Question::NoKeys => Input::NoKeys,
            Question::Said(sound) => Input::Recorded(sound.clone()),
        };
        // Keys that were on their way when somebody asked for something else are no answer to that.
        let run = async {
            if !self.app.runner.still_asks(self.id, self.n).await? {
                return Ok(None);
            }
            self.app.runner.run(self.id, command, make).await.map(Some)
        };
        let reply = match run.await {
            Ok(Some(reply)) => Some(reply),
            Ok(None) | Err(RunError::Rejected(_)) => present(&self.app, self.id).await,
            Err(e) => {
                tracing::error!(call = %self.id, error = %e, "an entry by telephone could not be taken; the caller is asked again");
                present(&self.app, self.id).await
            }
        };
        if let Some(reply) = reply {
            self.set(line, reply).await;
        }
    }

    async fn set(&mut self, line: &mut Line, reply: Reply) {
        let name = self.lines.setup.name;
        let about = About { call: self.id, adapter: name, reference: &self.channel };
        let reply = unrecorded(&self.app, about, reply, |n| format!("{name}/{}/recorded/{n}", self.channel)).await;
        self.n = self.n.max(reply.n);
        let steps = self.steps(&reply.directives).await;
        self.told = reply.directives;
        let orders = line.begin(Instant::now(), steps);
        self.carry_out(line, orders).await;
    }

    /// The telephone of the agent who has the call.
    async fn phone(&self) -> Option<String> {
        let call = self.app.runner.call(self.id).await.ok().flatten()?.call;
        let (agent, _) = call.agent?;
        self.lines.setup.agent_phones.get(&(self.lines.setup.name_of)(agent)).cloned()
    }

    async fn steps(&self, directives: &[Directive]) -> Vec<Step> {
        let (index, now) = (&self.app.runner.vault.index, self.app.runner.now());
        let mut out = Vec::new();
        for directive in directives {
            let step = match directive {
                Directive::Say { prompt, lang } => Step::Say(self.lines.setup.clips.link(index, now, *lang, prompt)),
                Directive::Gather { max, timeout, secret } => Step::Gather { max: *max, timeout: Duration::from_secs(u64::from(*timeout)), secret: *secret },
                // Nobody listens here; a key leads on, and nothing that was asked to be said is heard.
                Directive::Listen { timeout, lang: _ } => Step::Gather { max: 1, timeout: Duration::from_secs(u64::from(*timeout)), secret: true },
                Directive::Record { seconds } if self.switch.listens() => {
                    out.push(Step::Say(self.lines.setup.clips.tone(index)));
                    Step::Listen(Duration::from_secs(u64::from(*seconds)))
                }
                Directive::Record { .. } => Step::Gather { max: 1, timeout: Duration::from_secs(1), secret: true },
                Directive::Hold { music } => Step::Hold(*music),
                Directive::Bridge => Step::Bridge(self.phone().await),
                Directive::HangUp => Step::HangUp,
            };
            out.push(step);
        }
        out
    }

    /// Carries orders out. What fails is told to the line as what it amounts to.
    async fn carry_out(&self, line: &mut Line, orders: Vec<Order>) {
        let mut waiting: std::collections::VecDeque<Order> = orders.into();
        while let Some(order) = waiting.pop_front() {
            let Err(e) = self.switch.order(&self.channel, &order).await else { continue };
            let amounts_to = match (&order, &e) {
                // What is played or rings no more need not be stopped.
                (_, SwitchError::Gone) | (Order::Stop(_) | Order::Quiet | Order::Drop | Order::Music(_) | Order::Ear | Order::Deaf, _) => None,
                (Order::Play(clip, _), _) => Some(Heard::Played(*clip)),
                // That leads on, so that it has to come as everything that is heard.
                (Order::Listen(answer, _), _) => {
                    self.lines.heard(&self.channel, Heard::Said(*answer, None));
                    None
                }
                // The agent would hear what he must not: he goes.
                (Order::Dial(_) | Order::Join | Order::Part, _) => Some(Heard::AgentGone),
                (Order::Mask | Order::Unmask | Order::HangUp, _) => None,
            };
            tracing::warn!(call = %self.id, order = name(&order), error = %e, "the switch did not do it");
            if let Some(heard) = amounts_to {
                let (more, _) = line.hear(Instant::now(), heard);
                more.into_iter().rev().for_each(|order| waiting.push_front(order));
            }
        }
    }
}

/// Without addresses, which may be numbers.
fn name(order: &Order) -> &'static str {
    match order {
        Order::Play(..) => "play",
        Order::Stop(_) => "stop",
        Order::Music(_) => "music",
        Order::Quiet => "quiet",
        Order::Dial(_) => "dial",
        Order::Ear => "get ready to listen",
        Order::Listen(..) => "listen",
        Order::Deaf => "listen no more",
        Order::Join => "join",
        Order::Part => "part",
        Order::Drop => "drop",
        Order::Mask => "mask",
        Order::Unmask => "unmask",
        Order::HangUp => "hang up",
    }
}
