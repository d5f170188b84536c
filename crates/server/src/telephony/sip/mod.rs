//! SIP: telephones and trunks call us directly. The gateway answers, plays and collects
//! ([`countersign_sip`]); what it does with a call comes from the machine, as for every adapter.

pub mod config;
pub mod out;
pub mod voice;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use countersign_core::{
    call::{Call, Input, Stage},
    id::{AgentId, CallId},
    prompt::{Directive, Lang, Music, Prompt},
    risk::Verstat,
    secret::{E164, Secret},
    voice::{Codec, Sound},
};
use countersign_sip::{AgentEvent, AgentLeg, Answer, Bridge, CallKey, Clip, Ended, Flow, Gather, Gateway, GatewayError, Handle, Heard, Incoming, Settings, Step, Steps, g711::Law};
use tokio::sync::broadcast::error::RecvError;

use self::{
    out::{Made, Out},
    voice::Voice,
};
use super::{events::Waiting, incoming, unrecorded};
use crate::{
    App,
    hub::{Notice, Telephone},
    i18n::Texts,
    music,
    recording::About,
    runner::{Line, Reply, RunError},
    stir::Signed,
};

/// The adapter's name in the record.
pub const NAME: &str = "sip";

/// What the adapter needs beside the application, which is made after it.
pub struct Sip {
    texts: Arc<Texts>,
    voice: Voice,
    /// The telephones of agents, by sign-in name: SIP URIs.
    agent_phones: HashMap<String, String>,
    /// Names of agents, for their telephones.
    name_of: Box<dyn Fn(AgentId) -> String + Send + Sync>,
    /// Whether the peers' word on the calling number counts (RFC 3325: only within a trusted network).
    trust_asserted: bool,
    /// What national numbers begin with, such as `+1`.
    national: Option<String>,
    /// Our own numbers, where a request names an extension.
    own: Vec<E164>,
    /// Calls that we make.
    out: Option<Out>,
    app: OnceLock<App>,
    handle: OnceLock<Handle>,
    calls: Mutex<Calls>,
    /// What moved calls are to hear.
    words: Waiting,
}

#[derive(Default)]
struct Calls {
    by_key: HashMap<CallKey, Ours>,
    by_id: HashMap<CallId, CallKey>,
    /// Those that we made.
    made: HashMap<CallKey, Made>,
}

/// A call that this node has on the line.
#[derive(Clone)]
struct Ours {
    id: CallId,
    /// How many events it had when its telephone was last told what to do: names the next command.
    n: u64,
    /// What it was told.
    told: Vec<Directive>,
    /// The network's name for it.
    reference: String,
}

impl Sip {
    /// An adapter.
    pub fn new(
        texts: Arc<Texts>, voice: Voice, agent_phones: HashMap<String, String>, trust_asserted: bool, national: Option<String>,
        name_of: impl Fn(AgentId) -> String + Send + Sync + 'static,
    ) -> Self {
        Self {
            texts, voice, agent_phones, name_of: Box::new(name_of), trust_asserted, national, own: Vec::new(), out: None, app: OnceLock::new(),
            handle: OnceLock::new(), calls: Mutex::default(), words: Waiting::default(),
        }
    }

    /// With calls that we make.
    #[must_use]
    pub fn calling(mut self, out: Option<Out>) -> Self {
        self.out = out;
        self
    }

    /// With our own numbers: what `To` says counts where the request names an extension.
    #[must_use]
    pub fn reached_at(mut self, own: Vec<E164>) -> Self {
        self.own = own;
        self
    }

    /// Begins to take calls for this application.
    ///
    /// # Errors
    /// See [`GatewayError`].
    pub async fn start(self: &Arc<Self>, app: App, settings: Settings) -> Result<Gateway, GatewayError> {
        let (notices, metrics) = (app.runner.hub.listen(), app.runner.metrics.clone());
        let _ = self.app.set(app);
        let gateway = Gateway::start(settings, self.clone()).await?;
        let handle = gateway.handle();
        let _ = self.handle.set(handle.clone());
        metrics.gateway(move || handle.figures());
        tokio::spawn(follow(self.clone(), notices));
        let sip = self.clone();
        tokio::spawn(async move { sip.voice.warm().await });
        Ok(gateway)
    }

    fn calls(&self) -> std::sync::MutexGuard<'_, Calls> { self.calls.lock().unwrap_or_else(PoisonError::into_inner) }

    /// The call that the network knows by this name, if it is on the line here.
    pub fn call_of(&self, call_id: &str) -> Option<CallId> { self.calls().by_key.values().find(|ours| ours.reference == call_id).map(|ours| ours.id) }

    fn known(&self, key: &CallKey) -> Option<Ours> { self.calls().by_key.get(key).cloned() }

    /// The calling number: what the network asserts, if that counts, or what the caller says.
    fn number(&self, call: &Incoming) -> Option<E164> {
        let withheld = call.privacy.as_deref().is_some_and(|privacy| privacy.split(';').any(|part| matches!(part.trim(), "id" | "user" | "header")));
        // A network may tell us all the same who it is: who does not want to be known is not known.
        if withheld {
            return None;
        }
        if !self.trust_asserted || call.asserted.is_empty() {
            return self.e164(&call.from);
        }
        // The caller's own word is not asked where the network has spoken, whatever it said. Where it
        // names two, one may be what the caller put there himself: only one number is a number.
        let mut asserted = call.asserted.iter().map(|text| self.e164(text));
        let first = asserted.next().flatten()?;
        asserted.all(|other| other.as_ref() == Some(&first)).then_some(first)
    }

    fn e164(&self, text: &str) -> Option<E164> {
        if text.starts_with('+') {
            // Separators that are for the eye are no part of a number (RFC 3966 §5.1.1).
            return E164::parse(&text.replace(['-', '.', '(', ')'], "")).ok();
        }
        let national = self.national.as_deref().filter(|_| text.len() >= 7 && text.bytes().all(|b| b.is_ascii_digit()))?;
        E164::parse(&format!("{national}{}", text.trim_start_matches('0'))).ok()
    }

    /// The number that was called. A request that names an extension does not say it; what `To` says may
    /// be anything, and counts only among our own numbers.
    fn called(&self, call: &Incoming) -> String {
        let of = |text: &str| self.e164(text);
        match of(&call.target) {
            Some(number) => number.expose().to_owned(),
            None => of(&call.to).filter(|number| self.own.contains(number)).map_or_else(|| call.target.clone(), |number| number.expose().to_owned()),
        }
    }

    /// The network's word on the number.
    async fn signed(&self, app: &App, call: &Incoming, number: Option<&E164>) -> Verstat {
        let (Some(stir), Some(number)) = (&app.stir, number) else { return Verstat::None };
        if call.identity.is_empty() {
            return Verstat::None;
        }
        let signed = Signed {
            of: format!("sip/{}", call.key.as_str()), identity: call.identity.clone(), orig: number.expose().to_owned(), dest: self.called(call),
        };
        stir.check(&app.runner, signed).await
    }

    fn enter(&self, key: &CallKey, ours: Ours) {
        let mut calls = self.calls();
        calls.by_id.insert(ours.id, key.clone());
        calls.by_key.insert(key.clone(), ours);
    }

    /// What a reply means for the gateway.
    async fn steps(&self, call: &Call, reply: &Reply) -> Steps {
        let mut list = Vec::new();
        for directive in &reply.directives {
            match directive {
                Directive::Say { prompt, lang } => list.push(Step::Play(self.said(*lang, prompt).await)),
                Directive::Gather { max, timeout, secret } => list.push(Step::Gather(Gather {
                    max: *max, timeout: Duration::from_secs(u64::from(*timeout)), hash_ends: *max > 1, secret: *secret,
                })),
                // Nobody listens here; a key leads on.
                Directive::Listen { timeout, lang: _ } => list.push(Step::Gather(Gather {
                    max: 1, timeout: Duration::from_secs(u64::from(*timeout)), hash_ends: false, secret: true,
                })),
                Directive::Record { seconds } => {
                    list.push(Step::Play(vec![voice::tone()]));
                    list.push(Step::Listen(Duration::from_secs(u64::from(*seconds))));
                }
                Directive::Hold { music } => {
                    // Whoever waits hears first that they do. A key chooses other music.
                    list.push(Step::Wait(clip(*music)));
                }
                Directive::Bridge => list.push(self.bridge(call)),
                Directive::HangUp => list.push(Step::HangUp),
            }
        }
        Steps::numbered(reply.n, list)
    }

    async fn said(&self, lang: Lang, prompt: &Prompt) -> Vec<Arc<Clip>> {
        let mut clips = Vec::new();
        for said in self.texts.said(lang, prompt) {
            clips.extend(self.voice.say(&said).await);
            clips.push(voice::rest());
        }
        clips
    }

    /// The agent's telephone, or silence until there is one: the desk works without.
    fn bridge(&self, call: &Call) -> Step {
        let phone = call.agent.and_then(|(agent, _)| self.agent_phones.get(&(self.name_of)(agent)));
        match phone {
            Some(uri) => Step::Bridge(Bridge {
                to: AgentLeg::Uri(uri.clone()), show: "anonymous".into(), meanwhile: Some(clip(Music::Calm)), ring: None, pass_keys: false,
            }),
            None => Step::Hold(Clip::silence(Duration::from_secs(1))),
        }
    }

    /// One input of a call that this node has on the line.
    async fn moved(&self, key: &CallKey, make: impl Fn() -> Input + Send) -> Option<Steps> {
        let (app, ours) = (self.app.get()?, self.known(key)?);
        let command = format!("sip/{}/{}", key.as_str(), ours.n);
        let reply = match app.runner.run(ours.id, command, make).await {
            Ok(reply) => reply,
            Err(RunError::Rejected(_)) => self.present(ours.id).await?,
            Err(e) => {
                tracing::error!(call = %ours.id, error = %e, "an entry by telephone could not be taken; the caller is asked again");
                self.present(ours.id).await?
            }
        };
        // A key that means nothing to whoever waits: the music goes on where it is.
        if reply.n <= ours.n && !reply.directives.iter().any(|d| matches!(d, Directive::Gather { .. } | Directive::Listen { .. } | Directive::Record { .. } | Directive::HangUp)) {
            return None;
        }
        let mut steps = self.told(key, ours.id, &reply).await?;
        if reply.n <= ours.n {
            // Nothing was put on record, and the caller is asked the same again: a set that was told before.
            steps.number = None;
        }
        Some(steps)
    }

    async fn told(&self, key: &CallKey, id: CallId, reply: &Reply) -> Option<Steps> {
        let app = self.app.get()?;
        let ours = self.known(key)?;
        let about = About { call: id, adapter: NAME, reference: &ours.reference };
        let reply = &unrecorded(app, about, reply.clone(), |n| format!("sip/{}/recorded/{n}", key.as_str())).await;
        // One that is late is dropped by its number, and has told nothing.
        if let Some(ours) = self.calls().by_key.get_mut(key).filter(|ours| reply.n >= ours.n) {
            ours.n = reply.n;
            ours.told.clone_from(&reply.directives);
            self.shown(id, reply);
        }
        let call = app.runner.call(id).await.ok().flatten()?.call;
        Some(self.steps(&call, reply).await)
    }

    /// In the demo a page may show what the caller hears.
    fn shown(&self, id: CallId, reply: &Reply) {
        if let Some(handsets) = self.app.get().and_then(|app| app.handsets.as_ref()) {
            handsets.mirror(id, reply);
        }
    }

    /// What a call's telephone should do now.
    async fn present(&self, id: CallId) -> Option<Reply> {
        let app = self.app.get()?;
        let live = app.runner.call(id).await.ok().flatten()?;
        Some(Reply { n: live.call.n, directives: app.runner.directives(&live.call).await.ok()? })
    }

    /// Tells the telephone of a call what to do, if it is on the line here. A set that was told before,
    /// or a later one, is not told again.
    async fn refresh(&self, id: CallId) {
        let Some(key) = self.calls().by_id.get(&id).cloned() else { return self.call_off(id).await };
        // Asked aside: whoever moved the call tells its words first, and then lets go of it.
        let Some(now) = self.present(id).await else { return };
        let reply = self.words.still(id, now);
        let Some(ours) = self.known(&key) else { return };
        // Something was put on record, and the caller is to do what they are doing: nobody begins a prompt
        // anew for that, and takes keys for it that are meant for the next. What was said once before it,
        // such as the greeting, is not part of what they are to do.
        if reply.n > ours.n
            && !ours.told.ends_with(&reply.directives)
            && let Some(steps) = self.told(&key, id, &reply).await
            && let Some(handle) = self.handle.get()
        {
            handle.push(&key, steps);
            self.words.said(id, &reply);
        }
    }
}

/// Calls are moved by desks on any node; a notice of it comes here.
async fn follow(sip: Arc<Sip>, mut notices: tokio::sync::broadcast::Receiver<Notice>) {
    loop {
        let ids = match notices.recv().await {
            Ok(Notice::Call(id)) => vec![id],
            Ok(_) => continue,
            Err(RecvError::Lagged(_)) => sip.calls().by_id.keys().copied().collect(),
            Err(RecvError::Closed) => return,
        };
        for id in ids {
            // Words take a while: nobody waits behind another's. A set that comes late is dropped by its number.
            let sip = sip.clone();
            tokio::spawn(async move { sip.refresh(id).await });
        }
    }
}

#[async_trait]
impl Telephone for Sip {
    /// Keeps the words that go with a move, and says nothing yet: whoever moved the call holds it until
    /// this returns, and words take a while to be spoken. The notice of every commit, on every node,
    /// brings the telephone up to date.
    async fn push(&self, call: &Call, _line: &Line, reply: Reply) {
        if self.calls().by_id.contains_key(&call.id) {
            self.words.keep(call, reply);
        }
    }
}

#[async_trait]
impl Flow for Sip {
    async fn incoming(&self, call: &Incoming) -> Answer {
        const TEMPORARILY_UNAVAILABLE: u16 = 480;
        let Some(app) = self.app.get() else { return Answer::Reject(TEMPORARILY_UNAVAILABLE) };
        let number = self.number(call);
        // Named by what only we know: a caller chooses the Call-ID.
        let id = CallId(app.runner.vault.index.blind(NAME, call.key.as_str()).0);
        let begun = async {
            let verstat = self.signed(app, call, number.as_ref()).await;
            let dialled = app.app_number.as_ref().is_some_and(|number| number.expose() == self.called(call));
            let first = incoming(app, NAME, number.as_ref(), verstat, dialled).await?;
            let line = Line { reference: call.key.as_str().to_owned(), number: number.clone() };
            app.runner.begin(id, format!("sip/{}/in", call.key.as_str()), line, || first.input()).await
        };
        match begun.await {
            Ok(reply) => {
                self.enter(&call.key, Ours { id, n: reply.n, told: reply.directives.clone(), reference: call.call_id.clone() });
                match self.told(&call.key, id, &reply).await {
                    Some(steps) => Answer::Accept(steps),
                    None => {
                        // It had begun: nobody hears of a call that is rejected, so its end is told here.
                        self.hung_up(&call.key, Ended::Lost).await;
                        Answer::Reject(TEMPORARILY_UNAVAILABLE)
                    }
                }
            }
            Err(e) => {
                tracing::error!(error = %e, "a call by SIP could not begin");
                Answer::Reject(TEMPORARILY_UNAVAILABLE)
            }
        }
    }

    async fn digits(&self, call: &CallKey, keys: &str) -> Option<Steps> {
        let keys = Secret::new(keys);
        self.moved(call, || Input::Keys(keys.clone())).await
    }

    async fn heard(&self, call: &CallKey, said: Heard) -> Option<Steps> {
        let codec = said.law().map(|law| match law {
            Law::Mu => Codec::Pcmu,
            Law::A => Codec::Pcma,
        });
        let sound = Sound::new(said.into_samples(), codec);
        self.moved(call, || Input::Recorded(sound.clone())).await
    }

    async fn no_keys(&self, call: &CallKey) -> Option<Steps> { self.moved(call, || Input::NoKeys).await }

    async fn picked_up(&self, call: &CallKey) -> Option<Steps> { self.answered_out(call).await }

    async fn hung_up(&self, call: &CallKey, how: Ended) {
        let ours = {
            let mut calls = self.calls();
            calls.made.remove(call);
            let ours = calls.by_key.remove(call);
            if let Some(ours) = &ours {
                calls.by_id.remove(&ours.id);
            }
            ours
        };
        let (Some(ours), Some(app)) = (ours, self.app.get()) else { return };
        self.words.forget(ours.id);
        if let Some(recorder) = &app.recorder {
            recorder.over(ours.id);
        }
        // A gateway that stops has not heard the caller hang up; but nobody is on that line any more.
        tracing::debug!(call = %ours.id, how = ?how, "a call by SIP is over");
        match app.runner.run(ours.id, format!("sip/{}/over", call.as_str()), || Input::HungUp).await {
            Ok(reply) => self.shown(ours.id, &reply),
            Err(RunError::Rejected(_) | RunError::NoCall) => {}
            Err(e) => tracing::error!(call = %ours.id, error = %e, "the end of a call could not be put on record; it ends by silence"),
        }
    }

    /// An agent's telephone that nobody answers leaves the caller waiting for the desk, with music.
    async fn agent(&self, call: &CallKey, what: AgentEvent) -> Option<Steps> {
        let ours = self.known(call)?;
        let live = self.app.get()?.runner.call(ours.id).await.ok().flatten()?;
        (what != AgentEvent::Connected && live.call.stage == Stage::Talking).then(|| Steps::new([Step::Hold(clip(Music::Calm))]))
    }
}

/// Music, in both laws, made once.
fn clip(music: Music) -> Arc<Clip> {
    static CLIPS: OnceLock<Mutex<HashMap<&'static str, Arc<Clip>>>> = OnceLock::new();
    let mut clips = CLIPS.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let made = || match music::samples(music) {
        Some(samples) => Clip::from_samples(samples).unwrap_or_else(|_| Clip::silence(Duration::from_secs(1))),
        None => Clip::silence(Duration::from_secs(1)),
    };
    clips.entry(music.name()).or_insert_with(made).clone()
}
