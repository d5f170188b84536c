//! One call: a task that takes what the SIP side, the audio and the embedder have to say, one after
//! the other, and does the steps.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rsipstack::dialog::dialog::{DialogState, DialogStateReceiver};
use rsipstack::dialog::invite_dialog::InviteDialog;
use rsipstack::sip::{Header, StatusCode, StatusCodeKind};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use zeroize::{Zeroize as _, Zeroizing};

use crate::bridge::{Agent, Reached};
use crate::flow::{AgentEvent, Answer, Bridge, Ended, Gather, Heard, Incoming, Step, Steps, Transfer};
use crate::gateway::Shared;
use crate::media::{Session, Told};
use crate::outgoing::{Ringing, Rung};
use crate::sdp::{Description, Local};

/// Keys that are kept while the flow decides, for the next entry.
const AHEAD: usize = 32;
/// How long the flow may take with its last word before the call is told to be over.
const LAST_WORD: Duration = Duration::from_secs(10);
/// How long a call may ring, whatever the flow thinks about (RFC 3261 §16.6 has the same for proxies).
const UNANSWERED: Duration = Duration::from_secs(180);
/// How long the other side may take to tell what became of a transfer.
const TRANSFER: Duration = Duration::from_secs(60);

/// What reaches a call from elsewhere.
pub(crate) enum Mail {
    /// Steps of the embedder.
    Push(Steps),
    /// The gateway stops.
    Stop,
    /// The audio has to tell something.
    Told(Told),
    /// What the flow answered to the question of this turn.
    Decided { turn: u64, steps: Option<Steps>, go_on: bool },
    /// The flow panicked: nobody decides on this call any more.
    Broken,
    /// What the flow says of a new call.
    Answered(Answer),
    /// An agent's URI was looked up.
    Located { leg: u64, uri: Option<String> },
    /// The INVITE to an agent came to its end.
    Reached { leg: u64, reached: Reached },
    /// The answer to our REFER.
    Referred(u16),
    /// Our INVITE came to its end.
    Rung(Reached),
}

/// What the flow is asked.
enum Question {
    Digits(Zeroizing<String>),
    Heard(Heard),
    NoKeys,
    Finished,
    Agent(AgentEvent),
    Transferred(Transfer),
    PickedUp,
}

/// What is going on.
enum Now {
    /// Nothing, or something that needs no attention.
    Idle,
    Playing,
    /// The caller waits, and may press keys.
    Waiting,
    Gathering(Gather, Instant),
    /// The caller is to say something.
    Listening,
    /// An agent is dialled, or rings, until then.
    Ringing(Bridge, Instant),
    Talking,
    /// A REFER is out, until then.
    Referring(Instant),
}

/// A call.
pub(crate) struct Call {
    pub shared: Arc<Shared>,
    pub incoming: Incoming,
    pub dialog: InviteDialog,
    pub session: Arc<Session>,
    pub local: Local,
    pub mail: mpsc::UnboundedSender<Mail>,
    pub agent: Option<Agent>,
    /// Legs to agents that there have been.
    pub legs: u64,
    /// We have made it.
    pub outgoing: Option<Ringing>,
    states: DialogStateReceiver,
    inbox: mpsc::UnboundedReceiver<Mail>,
    /// The offer of the INVITE; without one the answer comes in the ACK (RFC 3261 §13.2.1).
    offer: Option<Description>,
    /// The number of the INVITE whose ACK will bring an answer.
    pub answer_due: Option<u32>,
    /// Steps that wait for the ACK.
    waiting: Option<Steps>,
    confirmed: bool,
    steps: VecDeque<Step>,
    now: Now,
    /// Goes up with every set of steps.
    turn: u64,
    number: Option<u64>,
    entry: Zeroizing<String>,
    ahead: Zeroizing<String>,
    /// What was pushed while the flow decides on keys: it may be older than what comes of them, and must
    /// not take the keys that are meant for that.
    held: Option<Steps>,
    /// How keys come in this call: by RTP (true) or by INFO. Some telephones send both.
    keys_by_rtp: Option<bool>,
    questions: VecDeque<Question>,
    asking: Option<JoinHandle<()>>,
    end_at: Instant,
}

/// Something has come.
enum Input {
    Caller(Option<DialogState>),
    Agent(Option<DialogState>),
    Mail(Option<Mail>),
    Time,
}

/// Goes on, or ends so.
pub(crate) type Flowing = Result<(), Ended>;

impl Call {
    #[allow(clippy::too_many_arguments, reason = "the parts of a call are made where it comes in")]
    pub fn new(
        shared: Arc<Shared>, incoming: Incoming, dialog: InviteDialog, states: DialogStateReceiver, session: Arc<Session>, local: Local,
        offer: Option<Description>, mail: mpsc::UnboundedSender<Mail>, inbox: mpsc::UnboundedReceiver<Mail>,
    ) -> Self {
        let end_at = Instant::now() + UNANSWERED;
        Self {
            shared, incoming, dialog, session, local, mail, agent: None, legs: 0, outgoing: None, states, inbox, offer, answer_due: None, waiting: None,
            confirmed: false, steps: VecDeque::new(), now: Now::Idle, turn: 0, number: None, entry: Zeroizing::default(),
            ahead: Zeroizing::default(), held: None, keys_by_rtp: None, questions: VecDeque::new(), asking: None, end_at,
        }
    }

    /// From the INVITE to the end. The slot is given back then.
    pub async fn run(mut self, slot: OwnedSemaphorePermit) {
        let (flow, incoming, mail) = (self.shared.flow.clone(), self.incoming.clone(), self.mail.clone());
        let deciding = tokio::spawn(async move {
            let _ = mail.send(Mail::Answered(flow.incoming(&incoming).await));
        });
        self.watch(deciding);
        self.live(slot).await;
    }

    /// A call of ours, from the INVITE to the end. `ring`: how long it may ring.
    pub async fn ring(mut self, slot: OwnedSemaphorePermit, outgoing: Ringing, ring: Duration) {
        self.end_at = Instant::now() + ring;
        self.outgoing = Some(outgoing);
        self.live(slot).await;
    }

    async fn live(mut self, slot: OwnedSemaphorePermit) {
        let how = loop {
            let input = self.next().await;
            if let Err(how) = self.take(input).await {
                break how;
            }
        };
        self.session.close();
        self.shared.calls.remove(&self.incoming.key);
        self.release_agent();
        self.hang_up_caller();
        // Nothing more is asked; what was asked is let come to its end, so that this is the last word.
        if let Some(asking) = self.asking.take() {
            let _ = timeout(LAST_WORD, asking).await;
        }
        let rejected = matches!(how, Some(Ended::Us)) && !self.accepted();
        let picked_up = self.outgoing.as_ref().is_none_or(|outgoing| outgoing.picked_up);
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.tell(if matches!(how, Some(Ended::Lost)) { Rung::Silent } else { Rung::Unanswered });
        }
        if let Some(how) = how
            && !rejected
            && picked_up
        {
            if how == Ended::Transferred {
                let _ = timeout(LAST_WORD, self.shared.flow.transferred(&self.incoming.key, Transfer::Done)).await;
            }
            self.shared.flow.hung_up(&self.incoming.key, how).await;
        }
        drop(slot);
    }

    /// Waits for a task of the flow, and for its panic.
    fn watch(&mut self, task: JoinHandle<()>) {
        let mail = self.mail.clone();
        self.asking = Some(tokio::spawn(async move {
            if task.await.is_err() {
                let _ = mail.send(Mail::Broken);
            }
        }));
    }

    fn accepted(&self) -> bool {
        self.confirmed || self.waiting.is_some()
    }

    async fn next(&mut self) -> Input {
        let Self { states, inbox, agent, .. } = self;
        let agent_state = async {
            match agent {
                Some(agent) => agent.states.recv().await,
                None => pending().await,
            }
        };
        let deadline = match &self.now {
            Now::Gathering(_, at) | Now::Ringing(_, at) | Now::Referring(at) => (*at).min(self.end_at),
            _ => self.end_at,
        };
        tokio::select! {
            biased;
            state = states.recv() => Input::Caller(state),
            state = agent_state => Input::Agent(state),
            mail = inbox.recv() => Input::Mail(mail),
            () = sleep_until(deadline) => Input::Time,
        }
    }

    async fn take(&mut self, input: Input) -> Result<(), Option<Ended>> {
        match input {
            Input::Caller(Some(state)) => self.caller_says(state).await.map_err(Some),
            Input::Caller(None) => Err(Some(Ended::Lost)),
            Input::Agent(Some(state)) => {
                self.agent_says(state).await;
                Ok(())
            }
            Input::Agent(None) => {
                self.agent_left();
                Ok(())
            }
            Input::Mail(Some(Mail::Answered(answer))) => self.answered(answer),
            Input::Mail(Some(Mail::Rung(reached))) => self.rung(reached),
            Input::Mail(Some(mail)) => self.mailed(mail).map_err(Some),
            Input::Mail(None) => Err(Some(Ended::Stopping)),
            Input::Time => self.time().map_err(Some),
        }
    }

    /// The flow has decided on the new call.
    fn answered(&mut self, answer: Answer) -> Result<(), Option<Ended>> {
        self.asking = None;
        let steps = match answer {
            Answer::Accept(steps) => steps,
            Answer::Reject(code) => {
                let code = if (300..700).contains(&code) { code } else { 603 };
                let _ = self.dialog.reject(Some(StatusCode::from(code)), None);
                return Err(None);
            }
        };
        let body = match &self.offer {
            Some(offer) => {
                let agreed = offer.agree(None);
                self.session.agree(agreed);
                self.local.answer(offer, &agreed)
            }
            None => {
                self.answer_due = Some(crate::talk::cseq(&self.dialog.initial_request()));
                self.local.offer(crate::g711::Law::Mu)
            }
        };
        let headers = vec![Header::ContentType("application/sdp".into()), crate::gateway::allow()];
        // The steps begin with the ACK: before it the caller may not hear yet.
        self.waiting = Some(self.waiting.take().unwrap_or(steps));
        self.dialog.accept(Some(headers), Some(body.into_bytes())).map_err(|_| Some(Ended::Lost))
    }

    /// What came of our INVITE.
    fn rung(&mut self, Reached(response): Reached) -> Result<(), Option<Ended>> {
        let (rung, answer) = match response {
            // Picked up and hung up before we looked.
            Some(response) if response.status_code.kind() == StatusCodeKind::Successful && self.dialog.state().is_terminated() => (Rung::Unanswered, None),
            Some(response) if response.status_code.kind() == StatusCodeKind::Successful => match Description::parse(&response.body) {
                Ok(answer) => (Rung::Answered, Some(answer)),
                // Somebody answered, and there is nothing that both speak.
                Err(error) => (Rung::Refused(crate::talk::refusal(error)), None),
            },
            Some(response) => (Rung::Refused(u16::from(response.status_code)), None),
            None => (Rung::Silent, None),
        };
        let Some(outgoing) = self.outgoing.as_mut() else { return Ok(()) };
        outgoing.tell(rung);
        let answer = answer.ok_or(None)?;
        outgoing.picked_up = true;
        self.session.agree(answer.agree(None));
        self.confirmed().map_err(Some)?;
        self.ask(Question::PickedUp);
        Ok(())
    }

    fn mailed(&mut self, mail: Mail) -> Flowing {
        match mail {
            Mail::Push(steps) => self.pushed(steps),
            Mail::Stop => Err(Ended::Stopping),
            Mail::Broken => {
                tracing::error!(call = self.incoming.key.as_str(), "the flow panicked; the call is ended");
                Err(Ended::Us)
            }
            Mail::Told(Told::Key(key)) => self.key(key, true),
            Mail::Told(Told::Played(turn)) if turn == self.turn && matches!(self.now, Now::Playing) => self.advance(),
            Mail::Told(Told::Heard(turn)) => {
                if turn == self.turn && matches!(self.now, Now::Listening) {
                    self.now = Now::Idle;
                    self.ask(Question::Heard(self.session.heard().unwrap_or_default()));
                }
                Ok(())
            }
            Mail::Told(Told::Played(_)) | Mail::Answered(_) | Mail::Rung(_) => Ok(()),
            Mail::Told(Told::Quiet) => Err(Ended::Lost),
            Mail::Decided { turn, steps, go_on } => self.decided(turn, steps, go_on),
            Mail::Located { leg, uri } => {
                self.located(leg, uri);
                Ok(())
            }
            Mail::Reached { leg, reached } => {
                self.reached(leg, reached);
                Ok(())
            }
            Mail::Referred(code) => {
                if code >= 300 && matches!(self.now, Now::Referring(_)) {
                    self.transfer(Transfer::Failed(code))?;
                }
                Ok(())
            }
        }
    }

    fn time(&mut self) -> Flowing {
        if Instant::now() >= self.end_at {
            return Err(Ended::TooLong);
        }
        match self.now {
            // Who has put us on hold does not hear what is asked.
            Now::Gathering(gather, _) if self.session.held() => {
                self.now = Now::Gathering(gather, Instant::now() + gather.timeout);
            }
            Now::Gathering(..) => {
                self.entry.zeroize();
                self.now = Now::Idle;
                self.ask(Question::NoKeys);
            }
            Now::Ringing(..) => self.not_reached(408),
            Now::Referring(_) => return self.transfer(Transfer::Failed(0)),
            Now::Idle | Now::Playing | Now::Waiting | Now::Listening | Now::Talking => {}
        }
        Ok(())
    }

    // Steps.

    /// Steps that were pushed. Those that end the call wait for nobody.
    fn pushed(&mut self, steps: Steps) -> Flowing {
        let ends = steps.list.iter().any(|step| matches!(step, Step::HangUp));
        if self.asking.is_none() || ends {
            return self.push(steps);
        }
        // The latest by number; one without is as late as it came.
        let later = match (&self.held, steps.number) {
            (Some(Steps { number: Some(held), .. }), Some(number)) => number > *held,
            _ => true,
        };
        if later {
            self.held = Some(steps);
        }
        Ok(())
    }

    fn push(&mut self, steps: Steps) -> Flowing {
        if let Some(number) = steps.number {
            if self.number.is_some_and(|last| number <= last) {
                return Ok(());
            }
            self.number = Some(number);
        }
        if !self.confirmed && self.outgoing.is_some() && steps.list.iter().any(|step| matches!(step, Step::HangUp)) {
            return Err(Ended::Us);
        }
        if !self.confirmed {
            self.waiting = Some(steps);
            return Ok(());
        }
        if steps.list.is_empty() {
            return Ok(());
        }
        self.turn += 1;
        self.steps = steps.list.into();
        self.entry.zeroize();
        let ahead = std::mem::take(&mut self.ahead);
        self.advance()?;
        for key in ahead.chars() {
            self.typed(key)?;
        }
        Ok(())
    }

    /// Goes on with the next step.
    fn advance(&mut self) -> Flowing {
        if matches!(self.now, Now::Listening) {
            self.session.forget();
        }
        self.now = Now::Idle;
        loop {
            match self.steps.pop_front() {
                None => {
                    self.session.hush();
                    self.ask(Question::Finished);
                }
                Some(Step::Play(clips)) if clips.is_empty() => continue,
                Some(Step::Play(clips)) => {
                    self.session.part();
                    self.session.play(&clips, self.turn);
                    self.now = Now::Playing;
                }
                Some(Step::Gather(gather)) => {
                    self.session.part();
                    self.session.hush();
                    self.now = Now::Gathering(gather, Instant::now() + gather.timeout);
                }
                Some(Step::Listen(longest)) => {
                    self.session.part();
                    self.session.hush();
                    self.session.listen(longest, self.turn);
                    self.now = Now::Listening;
                }
                Some(Step::Hold(clip)) => {
                    self.release_agent();
                    self.session.repeat(clip);
                }
                Some(Step::Wait(clip)) => {
                    self.release_agent();
                    self.session.repeat(clip);
                    self.now = Now::Waiting;
                }
                Some(Step::Bridge(bridge)) => self.bridge(bridge),
                Some(Step::Refer(uri)) => {
                    self.release_agent();
                    self.session.hush();
                    self.now = Now::Referring(Instant::now() + TRANSFER);
                    self.refer(uri);
                }
                Some(Step::HangUp) => return Err(Ended::Us),
            }
            return Ok(());
        }
    }

    /// A bridge begins: the agent who is there, or another one.
    fn bridge(&mut self, bridge: Bridge) {
        if let Some(agent) = self.agent.as_ref().filter(|agent| agent.to == bridge.to) {
            if agent.connected {
                self.session.talk(bridge.pass_keys);
                self.now = Now::Talking;
                return;
            }
        } else {
            self.release_agent();
            self.dial(&bridge);
        }
        match &bridge.meanwhile {
            Some(clip) => self.session.repeat(clip.clone()),
            None => self.session.hush(),
        }
        let ring = bridge.ring.unwrap_or(self.shared.settings.ring);
        self.now = Now::Ringing(bridge, Instant::now() + ring);
    }

    /// The agent has answered: both talk, if that is what is wanted now.
    pub fn connected(&mut self) {
        self.shared.counts.joined.fetch_add(1, Relaxed);
        if let Now::Ringing(bridge, _) = &self.now {
            self.session.talk(bridge.pass_keys);
            self.now = Now::Talking;
        }
        self.ask(Question::Agent(AgentEvent::Connected));
    }

    /// The agent's leg came to nothing.
    pub fn not_reached(&mut self, code: u16) {
        self.release_agent();
        self.agent_gone(AgentEvent::Failed(code));
    }

    /// The agent hung up.
    pub fn agent_left(&mut self) {
        let connected = self.agent.as_ref().is_some_and(|agent| agent.connected);
        self.release_agent();
        self.agent_gone(if connected { AgentEvent::Left } else { AgentEvent::Failed(480) });
    }

    fn agent_gone(&mut self, what: AgentEvent) {
        // An entry goes on without him.
        if matches!(self.now, Now::Ringing(..) | Now::Talking) {
            self.now = Now::Idle;
            self.session.hush();
        }
        self.ask(Question::Agent(what));
    }

    // Keys.

    /// A key, by RTP or by INFO.
    pub fn key(&mut self, key: char, by_rtp: bool) -> Flowing {
        if *self.keys_by_rtp.get_or_insert(by_rtp) != by_rtp {
            return Ok(());
        }
        self.shared.counts.keys.fetch_add(1, Relaxed);
        self.typed(key)
    }

    /// A key, whenever it was pressed: what is played before an entry ends with it.
    fn typed(&mut self, key: char) -> Flowing {
        let entry_next = || self.steps.iter().find(|step| !matches!(step, Step::Play(_)));
        if matches!(self.now, Now::Playing) && matches!(entry_next(), Some(Step::Gather(_))) {
            while !matches!(self.now, Now::Gathering(..)) {
                self.advance()?;
                if matches!(self.now, Now::Playing) {
                    self.session.hush();
                }
            }
        }
        // Whoever presses a key instead of speaking wants something else.
        let speaks_next = matches!(self.now, Now::Playing) && matches!(self.steps.iter().find(|step| !matches!(step, Step::Play(_))), Some(Step::Listen(_)));
        if speaks_next || matches!(self.now, Now::Listening) {
            self.session.forget();
            self.session.hush();
            self.now = Now::Idle;
            self.ask(Question::Digits(Zeroizing::new(key.to_string())));
            return Ok(());
        }
        self.entry_key(key);
        Ok(())
    }

    fn entry_key(&mut self, key: char) {
        if matches!(self.now, Now::Waiting) && self.asking.is_none() {
            return self.ask(Question::Digits(Zeroizing::new(key.to_string())));
        }
        let Now::Gathering(gather, until) = &mut self.now else {
            if self.asking.is_some() && self.ahead.len() < AHEAD {
                self.ahead.push(key);
            }
            return;
        };
        let ends = key == '#' && gather.hash_ends;
        if ends && self.entry.is_empty() {
            return;
        }
        if !ends {
            self.entry.push(key);
            *until = Instant::now() + gather.timeout;
        }
        if ends || self.entry.len() >= usize::from(gather.max.max(1)) {
            self.now = Now::Idle;
            let keys = std::mem::take(&mut self.entry);
            self.ask(Question::Digits(keys));
        }
    }

    // Questions.

    fn ask(&mut self, question: Question) {
        self.questions.push_back(question);
        if self.asking.is_none() {
            self.ask_next();
        }
    }

    fn ask_next(&mut self) {
        let Some(question) = self.questions.pop_front() else { return };
        let (flow, key, mail, turn) = (self.shared.flow.clone(), self.incoming.key.clone(), self.mail.clone(), self.turn);
        let go_on = matches!(question, Question::NoKeys);
        let task = tokio::spawn(async move {
            let steps = match question {
                // Overwritten when it is dropped.
                Question::Digits(keys) => flow.digits(&key, &keys).await,
                Question::Heard(said) => flow.heard(&key, said).await,
                Question::NoKeys => flow.no_keys(&key).await,
                Question::Finished => flow.finished(&key).await,
                Question::Agent(what) => flow.agent(&key, what).await,
                Question::Transferred(what) => flow.transferred(&key, what).await,
                Question::PickedUp => flow.picked_up(&key).await,
            };
            let _ = mail.send(Mail::Decided { turn, steps, go_on });
        });
        self.watch(task);
    }

    fn decided(&mut self, turn: u64, steps: Option<Steps>, go_on: bool) -> Flowing {
        self.asking = None;
        if go_on && steps.is_none() && turn == self.turn && matches!(self.now, Now::Idle) && !self.steps.is_empty() {
            self.advance()?;
        }
        if let Some(steps) = steps {
            // Without a number it counts only if nothing was pushed since the question.
            if steps.number.is_some() || turn == self.turn {
                self.push(steps)?;
            }
        }
        if let Some(held) = self.held.take() {
            self.push(held)?;
        }
        if self.asking.is_none() {
            self.ask_next();
        }
        if self.asking.is_none() {
            self.ahead.zeroize();
        }
        Ok(())
    }

    // The dialog.

    /// The ACK is there: the call is up.
    pub fn confirmed(&mut self) -> Flowing {
        if self.confirmed {
            return Ok(());
        }
        self.confirmed = true;
        self.end_at = Instant::now() + self.shared.settings.longest;
        match self.waiting.take() {
            Some(steps) => {
                if steps.number.is_some() {
                    self.number = None;
                }
                self.push(steps)
            }
            None => Ok(()),
        }
    }

    /// News of a transfer.
    pub fn transfer(&mut self, what: Transfer) -> Flowing {
        if !matches!(self.now, Now::Referring(_)) {
            return Ok(());
        }
        match what {
            Transfer::Going(_) => {}
            // Told at the end: whatever is asked before it may still be on its way.
            Transfer::Done => return Err(Ended::Transferred),
            Transfer::Failed(_) => self.now = Now::Idle,
        }
        self.ask(Question::Transferred(what));
        Ok(())
    }

    /// Whether a REFER is out.
    pub fn is_referring(&self) -> bool {
        matches!(self.now, Now::Referring(_))
    }

    /// Keys may come in another way after a new agreement.
    pub fn renegotiated(&mut self) {
        self.keys_by_rtp = None;
    }
}
