//! The audio of all calls: one thread, which wakes every 5 ms.
//!
//! A session is the audio of one call: the caller's leg and perhaps an agent's. Its sockets do not
//! block and are not watched by anybody: the thread reads them when it is their turn, every 20 ms, or
//! every 5 ms while two people talk. That costs fewer wake-ups than a task for each socket, keeps the
//! distance of packets even when the other threads are busy, and bounds what a flood of packets to one
//! call can cost.

mod capture;
mod leg;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub use self::capture::Capture;
use self::leg::Leg;
use crate::clip::{Clip, FRAME};
use crate::dtmf::{Detector, Event};
use crate::flow::Heard;
use crate::g711::Law;
use crate::gateway::Counts;
use crate::rtp::Packet;
use crate::sdp::Agreed;
use crate::settings::RtpSource;

/// The thread wakes every so many milliseconds, and a session sends every fourth time.
const STEP: u64 = 5;
const PHASES: u64 = 4;
/// Packets that are read from one socket at a time. What is beyond waits, and overflows, in the kernel.
const READ: usize = 8;
/// The longest datagram that is looked at, in bytes.
const DATAGRAM: usize = 1500;
/// After a secret entry nothing of the caller passes for so many milliseconds, so that the tail of the
/// last tone does not.
const TAIL: u64 = 300;

/// No answer is listened to for longer, in milliseconds, whoever asks for it.
const LONGEST_ANSWER: u64 = 30_000;

/// What a session has to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The caller pressed a key.
    Key(char),
    /// What was to be played under this number has been.
    Played(u64),
    /// What the caller was to say under this number is over.
    Heard(u64),
    /// Nothing came from the caller for as long as was said.
    Quiet,
}

/// Takes what a session tells. Called from the thread of the audio: must not block.
pub type Tell = Box<dyn Fn(Told) + Send>;

/// The thread and its sessions.
pub struct Engine {
    inbox: Arc<Mutex<Vec<Arc<Session>>>>,
    stop: Arc<AtomicBool>,
    began: Instant,
    count: AtomicU32,
    counts: Arc<Counts>,
}

impl Engine {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread for us.
    pub fn start(counts: Arc<Counts>) -> io::Result<Self> {
        let engine = Self { inbox: Arc::default(), stop: Arc::default(), began: Instant::now(), count: AtomicU32::new(0), counts };
        let (inbox, stop, began) = (engine.inbox.clone(), engine.stop.clone(), engine.began);
        thread::Builder::new().name("audio".into()).spawn(move || run(&inbox, &stop, began))?;
        Ok(engine)
    }

    /// A session for a caller, on this socket.
    ///
    /// # Errors
    /// The socket cannot be set up.
    pub fn add(&self, socket: UdpSocket, source: RtpSource, quiet: Duration, soft_tone: Arc<Clip>, tell: Tell) -> io::Result<Arc<Session>> {
        let phase = u64::from(self.count.fetch_add(1, Ordering::Relaxed)) % PHASES;
        let caller = Leg::new(socket, source, self.counts.clone())?;
        let inner = Inner {
            caller,
            agent: None,
            program: Program::Silence,
            soft_tone: (soft_tone, 0),
            detector: Detector::default(),
            capture: None,
            captured: None,
            talk: None,
            heard: self.now(),
            quiet: u64::try_from(quiet.as_millis()).unwrap_or(u64::MAX),
            tell,
        };
        let session = Arc::new(Session { counts: self.counts.clone(), phase, talking: AtomicBool::new(false), closed: AtomicBool::new(false), began: self.began, inner: Mutex::new(inner) });
        lock(&self.inbox).push(session.clone());
        Ok(session)
    }

    fn now(&self) -> u64 {
        millis(self.began)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn millis(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(inbox: &Mutex<Vec<Arc<Session>>>, stop: &AtomicBool, began: Instant) {
    let (mut sessions, mut step) = (Vec::new(), 0u64);
    let (mut read, mut write) = ([0; DATAGRAM], Vec::with_capacity(DATAGRAM));
    while !stop.load(Ordering::Relaxed) {
        sessions.append(&mut lock(inbox));
        let now = millis(began);
        sessions.retain(|session: &Arc<Session>| {
            let due = session.phase == step % PHASES;
            if due || session.talking.load(Ordering::Relaxed) {
                session.tick(now, due, &mut read, &mut write);
            }
            !session.closed.load(Ordering::Relaxed)
        });
        step += 1;
        let wanted = Duration::from_millis(step * STEP);
        match wanted.checked_sub(began.elapsed()) {
            Some(left) => thread::sleep(left),
            // The machine slept, or we were kept from the processor: what was missed is left out.
            None if began.elapsed() > wanted + Duration::from_millis(200) => step = millis(began) / STEP,
            None => {}
        }
    }
}

/// Ports for audio.
#[derive(Debug)]
pub struct Ports {
    ip: IpAddr,
    range: Option<RangeInclusive<u16>>,
    next: AtomicU32,
}

impl Ports {
    /// At this address; the even ones of `range`, or any.
    #[must_use]
    pub fn new(ip: IpAddr, range: Option<RangeInclusive<u16>>) -> Self {
        Self { ip, range, next: AtomicU32::new(u32::from_be_bytes(crate::random::bytes())) }
    }

    /// A socket on a free port.
    ///
    /// # Errors
    /// None is free.
    pub fn bind(&self) -> io::Result<UdpSocket> {
        let Some(range) = &self.range else { return UdpSocket::bind((self.ip, 0)) };
        let first = range.start().saturating_add(range.start() & 1);
        let count = (u32::from(range.end().saturating_sub(first)) / 2) + 1;
        for _ in 0..count {
            let step = self.next.fetch_add(1, Ordering::Relaxed) % count;
            let port = u16::try_from(u32::from(first) + step * 2).unwrap_or(first);
            match UdpSocket::bind((self.ip, port)) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                bound => return bound,
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }
}

/// The audio of one call.
pub struct Session {
    counts: Arc<Counts>,
    phase: u64,
    talking: AtomicBool,
    closed: AtomicBool,
    began: Instant,
    inner: Mutex<Inner>,
}

impl Session {
    /// The caller's leg was agreed on, or on something else.
    pub fn agree(&self, agreed: Agreed) {
        let mut inner = lock(&self.inner);
        inner.heard = millis(self.began);
        inner.caller.agree(agreed);
    }

    /// Plays these to the caller, then tells [`Told::Played`] with `number`.
    pub fn play(&self, clips: &[Arc<Clip>], number: u64) {
        lock(&self.inner).program = Program::Once { clips: clips.iter().cloned().collect(), at: 0, number };
    }

    /// Plays this to the caller over and over.
    pub fn repeat(&self, clip: Arc<Clip>) {
        lock(&self.inner).program = Program::Again { clip, at: 0 };
    }

    /// Plays nothing.
    pub fn hush(&self) {
        lock(&self.inner).program = Program::Silence;
    }

    /// Listens to the caller, then tells [`Told::Heard`] with `number`.
    pub fn listen(&self, longest: Duration, number: u64) {
        let mut inner = lock(&self.inner);
        let now = millis(self.began);
        (inner.capture, inner.captured) = (Some((Capture::new(now, longest), number)), None);
    }

    /// What was heard.
    pub fn heard(&self) -> Option<Heard> {
        lock(&self.inner).captured.take()
    }

    /// Listens no more, and forgets what was heard.
    pub fn forget(&self) {
        let mut inner = lock(&self.inner);
        (inner.capture, inner.captured) = (None, None);
    }

    /// An agent's leg is there. Caller and agent do not hear each other yet.
    ///
    /// # Errors
    /// The socket cannot be set up.
    pub fn join(&self, socket: UdpSocket, source: RtpSource, agreed: Agreed) -> io::Result<()> {
        let mut leg = Leg::new(socket, source, self.counts.clone())?;
        leg.agree(agreed);
        lock(&self.inner).agent = Some(leg);
        Ok(())
    }

    /// The agent's leg was agreed on anew.
    pub fn agree_agent(&self, agreed: Agreed) {
        if let Some(leg) = &mut lock(&self.inner).agent {
            leg.agree(agreed);
        }
    }

    /// Both talk. With `keys` the agent gets those of the caller.
    pub fn talk(&self, keys: bool) {
        lock(&self.inner).talk(millis(self.began), keys);
        self.talking.store(true, Ordering::Relaxed);
    }

    /// Neither hears the other: when this returns, nothing more of the caller goes to the agent.
    pub fn part(&self) {
        lock(&self.inner).talk = None;
        self.talking.store(false, Ordering::Relaxed);
    }

    /// The agent's leg is gone.
    pub fn leave(&self) {
        self.part();
        lock(&self.inner).agent = None;
    }

    /// Whether the caller has put us on hold.
    #[must_use]
    pub fn held(&self) -> bool {
        lock(&self.inner).caller.agreed.is_some_and(|agreed| !agreed.send)
    }

    /// The law of the caller's leg.
    #[must_use]
    pub fn law(&self) -> Option<Law> {
        lock(&self.inner).caller.agreed.map(|agreed| agreed.law)
    }

    /// The call is over.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    fn tick(&self, now: u64, due: bool, read: &mut [u8], write: &mut Vec<u8>) {
        if !self.closed.load(Ordering::Relaxed) {
            lock(&self.inner).tick(now, due, read, write);
        }
    }
}

struct Inner {
    caller: Leg,
    agent: Option<Leg>,
    /// What the caller hears, unless both talk.
    program: Program,
    /// What the agent hears, unless both talk.
    soft_tone: (Arc<Clip>, usize),
    detector: Detector,
    /// What the caller says, while somebody listens, under its number.
    capture: Option<(Capture, u64)>,
    /// What they said.
    captured: Option<Heard>,
    talk: Option<Talk>,
    /// When the caller was last heard.
    heard: u64,
    quiet: u64,
    tell: Tell,
}

/// Both talk.
#[derive(Clone, Copy)]
struct Talk {
    /// The agent gets the caller's keys.
    keys: bool,
    /// Until then nothing of the caller passes.
    blank_until: u64,
}

enum Program {
    Silence,
    Once { clips: VecDeque<Arc<Clip>>, at: usize, number: u64 },
    Again { clip: Arc<Clip>, at: usize },
}

impl Inner {
    fn talk(&mut self, now: u64, keys: bool) {
        self.program = Program::Silence;
        self.talk = Some(Talk { keys, blank_until: now + TAIL });
    }

    fn tick(&mut self, now: u64, due: bool, read: &mut [u8], write: &mut Vec<u8>) {
        for _ in 0..READ {
            let Some(packet) = self.caller.receive(read) else { break };
            self.heard = now;
            self.hear_caller(now, &packet, write);
        }
        for _ in 0..READ {
            let Some(packet) = self.agent.as_mut().and_then(|leg| leg.receive(read)) else { break };
            self.hear_agent(now, &packet, write);
        }
        if self.capture.as_ref().is_some_and(|(capture, _)| capture.is_over(now))
            && let Some((capture, number)) = self.capture.take()
        {
            self.captured = Some(Heard { law: capture.law(), samples: capture.into_samples() });
            (self.tell)(Told::Heard(number));
        }
        if due {
            self.send(now, write);
        }
        let held = self.caller.agreed.is_none_or(|agreed| !agreed.send || !agreed.receive);
        if held {
            self.heard = now;
        } else if self.quiet > 0 && now.saturating_sub(self.heard) > self.quiet {
            self.heard = now;
            (self.tell)(Told::Quiet);
        }
    }

    fn hear_caller(&mut self, now: u64, packet: &Packet<'_>, write: &mut Vec<u8>) {
        let Some(agreed) = self.caller.agreed else { return };
        let is_event = Some(packet.payload_type) == agreed.events;
        if is_event
            && let Some(event) = Event::parse(packet.payload)
            && let Some(key) = self.detector.hear(now, packet.timestamp, event)
        {
            (self.tell)(Told::Key(key));
        }
        let sounding = self.detector.sounding(now);
        if let Some((capture, _)) = self.capture.as_mut().filter(|_| packet.payload_type == agreed.payload_type) {
            capture.hear(now, packet, agreed.law);
        }
        let (Some(talk), Some(agent)) = (&mut self.talk, &mut self.agent) else { return };
        // A key that was pressed during an entry and is still down belongs to the entry.
        let blank = now < talk.blank_until;
        if blank && sounding {
            talk.blank_until = talk.blank_until.max(now + 100);
        }
        if is_event {
            if talk.keys && !blank {
                agent.pass_event(now, packet, write);
            } else {
                agent.stream.leave_out();
            }
        } else if packet.payload_type == agreed.payload_type {
            let mute = blank || (sounding && !talk.keys);
            agent.pass(now, packet, agreed, mute, write);
        }
    }

    fn hear_agent(&mut self, now: u64, packet: &Packet<'_>, write: &mut Vec<u8>) {
        let Some(agreed) = self.agent.as_ref().and_then(|leg| leg.agreed) else { return };
        if self.talk.is_some() && packet.payload_type == agreed.payload_type {
            self.caller.pass(now, packet, agreed, false, write);
        }
    }

    /// The frames of our own: for the caller the program, for the agent the soft tone.
    fn send(&mut self, now: u64, write: &mut Vec<u8>) {
        if self.talk.is_some() {
            return;
        }
        if let Some(agent) = &mut self.agent {
            let (clip, at) = &mut self.soft_tone;
            agent.frame(now, Some((clip, *at)), write);
            *at = if *at + FRAME < clip.bytes(Law::Mu).len() { *at + FRAME } else { 0 };
        }
        // On hold nothing is sent, and what is played waits.
        if self.caller.agreed.is_none_or(|agreed| !agreed.send) {
            return;
        }
        let length = |clip: &Clip| clip.bytes(Law::Mu).len();
        match &mut self.program {
            Program::Silence => self.caller.frame(now, None, write),
            Program::Again { clip, at } => {
                self.caller.frame(now, Some((clip, *at)), write);
                *at = if *at + FRAME < length(clip) { *at + FRAME } else { 0 };
            }
            Program::Once { clips, at, number } => {
                while clips.front().is_some_and(|clip| *at >= length(clip)) {
                    clips.pop_front();
                    *at = 0;
                }
                self.caller.frame(now, clips.front().map(|clip| (clip, *at)), write);
                *at += FRAME;
                if clips.is_empty() {
                    let number = *number;
                    self.program = Program::Silence;
                    (self.tell)(Told::Played(number));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::dtmf::press;

    /// What the caller says, and no clip holds.
    const LOUD: u8 = 0x02;
    const EVENTS: u8 = 101;

    /// A session without the thread, and both telephones.
    struct Rig {
        inner: Inner,
        caller: UdpSocket,
        caller_at: SocketAddr,
        agent: UdpSocket,
        now: u64,
        sequence: u16,
    }

    fn socket() -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    }

    fn leg(to: &UdpSocket, law: Law) -> (Leg, SocketAddr) {
        let ours = socket();
        let at = ours.local_addr().unwrap();
        let mut leg = Leg::new(ours, RtpSource::Exact, Arc::default()).unwrap();
        let remote = to.local_addr().unwrap();
        leg.agree(Agreed { remote, law, payload_type: law.payload_type(), events: Some(EVENTS), send: true, receive: true });
        (leg, at)
    }

    impl Rig {
        fn new() -> Self {
            let (caller, agent) = (socket(), socket());
            let ((caller_leg, caller_at), (agent_leg, _)) = (leg(&caller, Law::Mu), leg(&agent, Law::Mu));
            let inner = Inner {
                caller: caller_leg,
                agent: Some(agent_leg),
                program: Program::Silence,
                soft_tone: (Clip::tone(425.0, 0.02, Duration::from_millis(100), Duration::ZERO), 0),
                detector: Detector::default(),
                capture: None,
                captured: None,
                talk: None,
                heard: 0,
                quiet: 0,
                tell: Box::new(|_| {}),
            };
            Self { inner, caller, caller_at, agent, now: 1000, sequence: 0 }
        }

        fn says(&mut self, payload_type: u8, timestamp: u32, payload: &[u8]) {
            self.sequence = self.sequence.wrapping_add(1);
            let mut bytes = Vec::new();
            Packet { payload_type, marker: false, sequence: self.sequence, timestamp, ssrc: 1, payload }.write(&mut bytes);
            self.caller.send_to(&bytes, self.caller_at).unwrap();
        }

        /// The next 20 ms: how many events and how much of the caller's sound the agent gets.
        fn tick(&mut self) -> (usize, usize) {
            self.now += 20;
            let (mut read, mut write) = ([0; DATAGRAM], Vec::new());
            self.inner.tick(self.now, true, &mut read, &mut write);
            let (mut events, mut sound) = (0, 0);
            while let Ok(length) = self.agent.recv(&mut read) {
                let packet = Packet::parse(&read[..length]).unwrap();
                events += usize::from(packet.payload_type == EVENTS);
                sound += usize::from(packet.payload.contains(&LOUD));
            }
            (events, sound)
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Act {
        Speak,
        Press(u8),
        Part,
        Talk(bool),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![5 => Just(Act::Speak), 3 => (0..16u8).prop_map(Act::Press), 1 => Just(Act::Part), 1 => any::<bool>().prop_map(Act::Talk)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn an_agent_gets_nothing_of_an_entry_whatever_comes_when(acts in proptest::collection::vec(act(), 1..30)) {
            let mut rig = Rig::new();
            let (mut since, mut keys) = (None, false);
            // The packets of presses that are under way.
            let mut pressing: VecDeque<(u32, Event)> = VecDeque::new();
            for act in acts {
                match act {
                    Act::Speak => {}
                    Act::Press(code) => {
                        let time = rig.now as u32 * 8;
                        pressing.extend(press(code, 200).into_iter().map(|event| (time, event)));
                    }
                    Act::Part => {
                        rig.inner.talk = None;
                        since = None;
                    }
                    Act::Talk(pass) => {
                        rig.inner.talk(rig.now, pass);
                        (since, keys) = (Some(rig.now), pass);
                    }
                }
                for _ in 0..6 {
                    rig.says(0, rig.now as u32 * 8, &[LOUD; FRAME]);
                    if let Some((time, event)) = pressing.pop_front() {
                        rig.says(EVENTS, time, &event.bytes());
                    }
                    // The packet of sound before the first of a press passes: nobody knows of the press yet.
                    let sounding = rig.inner.detector.sounding(rig.now + 20);
                    let (events, sound) = rig.tick();
                    match since {
                        None => prop_assert_eq!((events, sound), (0, 0), "something of an entry"),
                        Some(since) if rig.now < since + TAIL => prop_assert_eq!((events, sound), (0, 0), "the tail of an entry"),
                        Some(_) if !keys => {
                            prop_assert_eq!(events, 0, "a key that should not pass");
                            prop_assert!(!sounding || sound == 0, "the sound of a key");
                        }
                        Some(_) => {}
                    }
                }
            }
        }
    }

    #[test]
    fn a_key_that_is_held_from_an_entry_on_does_not_pass_when_they_talk_on() {
        let mut rig = Rig::new();
        let mut heard = (0, 0);
        for (step, event) in press(5, 2000).into_iter().enumerate() {
            if step == 3 {
                rig.inner.talk(rig.now, true);
            }
            rig.says(0, rig.now as u32 * 8, &[LOUD; FRAME]);
            rig.says(EVENTS, 8, &event.bytes());
            let (events, sound) = rig.tick();
            heard = (heard.0 + events, heard.1 + sound);
        }
        assert_eq!(heard, (0, 0));
        // Once it is let go, the caller is heard again.
        for _ in 0..10 {
            rig.says(0, rig.now as u32 * 8, &[LOUD; FRAME]);
            heard.1 += rig.tick().1;
        }
        assert!(heard.1 > 0);
    }

    #[test]
    fn ports_of_a_range_are_even_and_run_out() {
        let ports = Ports::new("127.0.0.1".parse().unwrap(), Some(42_001..=42_006));
        let taken: Vec<UdpSocket> = std::iter::from_fn(|| ports.bind().ok()).take(10).collect();
        assert!(!taken.is_empty() && taken.len() <= 3);
        assert!(taken.iter().all(|socket| socket.local_addr().unwrap().port().is_multiple_of(2)));
    }
}
