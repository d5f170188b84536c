//! The ear and the mouth of a small telephone.

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::clip::{Clip, FRAME, RATE};
use crate::dtmf::{self, Detector, Event};
use crate::g711::Law;
use crate::rtp::{Packet, Stream};
use crate::sdp::Agreed;

/// The sound that is kept to be listened to: the last 400 ms.
const TAIL: usize = RATE * 2 / 5;
/// The sound that waits to be taken, at most: half a minute.
const FRESH: usize = RATE * 30;
/// Distances of packets that are kept, at most.
const GAPS: usize = 100_000;
const TICK: Duration = Duration::from_millis(20);
/// The tone after which Countersign listens, in hertz. It lasts 200 ms.
pub const TONE: f64 = 880.0;

/// What a line has heard so far.
#[derive(Clone, Debug, Default)]
pub struct Ear {
    /// Packets of audio.
    pub packets: u64,
    /// Packets that others have sent and that did not come.
    pub lost: u64,
    /// Keys that came as events (RFC 4733).
    pub keys: String,
    /// Packets of events.
    pub events: u64,
    /// Bytes of audio that are not silence, since the start.
    pub sound: u64,
    /// Milliseconds between packets of audio, one after the other.
    pub gaps: Vec<u16>,
    /// The law of the last packet.
    pub law: Option<Law>,
    /// How often [`TONE`] has begun, where sound is kept. It is short, so it is looked for in every packet:
    /// whoever looks now and then would miss it.
    pub tones: u64,
    /// The packet with which the last of them was heard.
    tone_at: u64,
    toning: bool,
    tail: VecDeque<i16>,
    /// What nobody has taken yet: see [`Ear::take`].
    fresh: Vec<u8>,
}

impl Ear {
    /// The bytes of audio, in the law of the last packet, that came since this was asked for last. What
    /// was lost is missing; the oldest goes when nobody takes it for half a minute.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.fresh)
    }

    /// Whether a tone of `hertz` is most of what was heard in the last 200 ms (Goertzel's way).
    #[must_use]
    pub fn hears(&self, hertz: f64) -> bool {
        let samples: Vec<f64> = self.recent().map(f64::from).collect();
        let energy: f64 = samples.iter().map(|sample| sample * sample).sum();
        if samples.len() < RATE / 10 || energy / (samples.len() as f64) < 10_000.0 {
            return false;
        }
        let turn = 2.0 * (hertz / RATE as f64 * std::f64::consts::TAU).cos();
        let (one, two) = samples.iter().fold((0.0, 0.0), |(one, two), sample| (sample + turn * one - two, one));
        let power = one * one + two * two - turn * one * two;
        power / (energy * samples.len() as f64 / 2.0) > 0.7
    }

    /// Whether [`TONE`] was recognised within the last 50 packets of sound, a second.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.tones > 0 && self.packets - self.tone_at < 50
    }

    fn look_for_tone(&mut self) {
        let toning = self.hears(TONE);
        if toning && !self.toning {
            self.tones += 1;
            self.tone_at = self.packets;
        }
        self.toning = toning;
    }

    /// Whether the last 200 ms were silent, and there were such.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.tail.len() >= RATE / 5 && self.recent().all(|sample| sample.unsigned_abs() <= 16)
    }

    /// The 99th of a hundred distances between packets, in milliseconds.
    #[must_use]
    pub fn gap_p99(&self) -> u16 {
        let mut gaps = self.gaps.clone();
        gaps.sort_unstable();
        gaps.get(gaps.len() * 99 / 100).or(gaps.last()).copied().unwrap_or(0)
    }

    fn recent(&self) -> impl Iterator<Item = i16> + '_ {
        self.tail.iter().skip(self.tail.len().saturating_sub(RATE / 5)).copied()
    }
}

/// One line's audio.
pub(super) struct Audio {
    inner: Mutex<Inner>,
    closed: AtomicBool,
    /// Goes up with every tick: whoever waits looks again.
    pub ticks: watch::Sender<u64>,
}

struct Inner {
    socket: UdpSocket,
    agreed: Option<Agreed>,
    stream: Stream,
    detector: Detector,
    ear: Ear,
    keep: bool,
    queue: VecDeque<Out>,
    /// The time of the first packet of the event that is sent.
    event_time: Option<u32>,
    voice: Option<(Arc<Clip>, usize)>,
    last: Option<(u16, Instant)>,
    bad: Option<Bad>,
}

/// A line that loses a packet in fifty and delivers one in ten behind the next, always the same ones.
struct Bad {
    state: u64,
    held: Option<Vec<u8>>,
}

impl Bad {
    /// What arrives when this is sent.
    fn pass(&mut self, packet: &[u8]) -> Vec<Vec<u8>> {
        // Xorshift: any sequence will do that comes again with the same seed.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let late = self.held.take();
        if self.state.is_multiple_of(50) {
            return late.into_iter().collect();
        }
        if late.is_none() && self.state.is_multiple_of(10) {
            self.held = Some(packet.to_vec());
            return Vec::new();
        }
        [Some(packet.to_vec()), late].into_iter().flatten().collect()
    }
}

enum Out {
    Event(Event),
    Pause,
}

impl Audio {
    pub fn new(socket: UdpSocket, keep: bool, bad: Option<u64>) -> std::io::Result<Arc<Self>> {
        socket.set_nonblocking(true)?;
        let inner = Inner {
            socket, agreed: None, stream: Stream::new(), detector: Detector::default(), ear: Ear::default(), keep, queue: VecDeque::new(),
            event_time: None, voice: None, last: None, bad: bad.map(|seed| Bad { state: seed | 1, held: None }),
        };
        Ok(Arc::new(Self { inner: Mutex::new(inner), closed: AtomicBool::new(false), ticks: watch::Sender::new(0) }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn agree(&self, agreed: Agreed) {
        self.lock().agreed = Some(agreed);
    }

    pub fn agreed(&self) -> Option<Agreed> {
        self.lock().agreed
    }

    pub fn address(&self) -> Option<SocketAddr> {
        self.lock().socket.local_addr().ok()
    }

    pub fn look<T>(&self, look: impl FnOnce(&Ear) -> T) -> T {
        look(&self.lock().ear)
    }

    /// See [`Ear::take`].
    pub fn take(&self) -> Vec<u8> {
        self.lock().ear.take()
    }

    pub fn forget(&self) {
        self.lock().ear = Ear::default();
    }

    /// Presses a key for so many milliseconds, then lets go for 100. `false` when the other side takes
    /// no events, or there is no such key.
    pub fn press(&self, key: char, length: u16) -> bool {
        let mut inner = self.lock();
        let Some(code) = dtmf::code(key) else { return false };
        if inner.agreed.and_then(|agreed| agreed.events).is_none() {
            return false;
        }
        inner.queue.extend(dtmf::press(code, length).into_iter().map(Out::Event));
        inner.queue.extend((0..5).map(|_| Out::Pause));
        true
    }

    pub fn is_pressing(&self) -> bool {
        !self.lock().queue.is_empty()
    }

    pub fn speak(&self, clip: Option<Arc<Clip>>) {
        self.lock().voice = clip.map(|clip| (clip, 0));
    }

    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    fn tick(&self, buffer: &mut Vec<u8>) {
        let mut inner = self.lock();
        inner.listen();
        inner.send(buffer);
        drop(inner);
        self.ticks.send_modify(|ticks| *ticks += 1);
    }
}

impl Inner {
    fn listen(&mut self) {
        let Some(agreed) = self.agreed else { return };
        let mut bytes = [0; 1500];
        while let Ok((length, from)) = self.socket.recv_from(&mut bytes) {
            let Some(packet) = bytes.get(..length).and_then(Packet::parse).filter(|_| from == agreed.remote) else { continue };
            let now = Instant::now();
            if let Some((last, at)) = self.last {
                let ahead = packet.sequence.wrapping_sub(last);
                if (2..1000).contains(&ahead) {
                    self.ear.lost += u64::from(ahead) - 1;
                }
                if self.ear.gaps.len() < GAPS {
                    self.ear.gaps.push(u16::try_from((now - at).as_millis()).unwrap_or(u16::MAX));
                }
            }
            self.last = Some((packet.sequence, now));
            if Some(packet.payload_type) == agreed.events {
                self.ear.events += 1;
                let now = self.ear.packets * 20 + self.ear.events * 20;
                if let Some(key) = Event::parse(packet.payload).and_then(|event| self.detector.hear(now, packet.timestamp, event)) {
                    self.ear.keys.push(key);
                }
            } else if packet.payload_type == agreed.payload_type {
                self.ear.packets += 1;
                self.ear.law = Some(agreed.law);
                if self.keep {
                    if self.ear.fresh.len() + packet.payload.len() > FRESH {
                        self.ear.fresh.clear();
                    }
                    self.ear.fresh.extend_from_slice(packet.payload);
                    for byte in packet.payload {
                        let sample = agreed.law.decode(*byte);
                        self.ear.sound += u64::from(sample.unsigned_abs() > 16);
                        self.ear.tail.push_back(sample);
                    }
                    while self.ear.tail.len() > TAIL {
                        self.ear.tail.pop_front();
                    }
                    self.ear.look_for_tone();
                }
            }
        }
    }

    fn send(&mut self, buffer: &mut Vec<u8>) {
        let Some(agreed) = self.agreed.filter(|agreed| agreed.send) else { return };
        let out = self.queue.pop_front();
        let event = if let Some(Out::Event(event)) = out { Some(event) } else { None };
        // Sound goes on beside the events if there is any, as with telephones that send the tone too.
        if event.is_none() || self.voice.is_some() {
            let mut payload = [agreed.law.silence(); FRAME];
            if let Some((clip, at)) = &mut self.voice {
                let bytes = clip.bytes(agreed.law);
                payload.iter_mut().zip(bytes.iter().skip(*at)).for_each(|(to, from)| *to = *from);
                *at = if *at + FRAME < bytes.len() { *at + FRAME } else { 0 };
            }
            self.put(buffer, &agreed, agreed.payload_type, &payload, None, true);
        }
        match (event, agreed.events) {
            (Some(event), Some(number)) => {
                let first = self.event_time;
                let sent = self.put(buffer, &agreed, number, &event.bytes(), first, self.voice.is_none());
                self.event_time = Some(first.unwrap_or(sent));
            }
            _ => self.event_time = None,
        }
    }

    /// Sends a packet; `at` is the time that it bears, `time` whether time goes on with it.
    fn put(&mut self, buffer: &mut Vec<u8>, agreed: &Agreed, payload_type: u8, payload: &[u8], at: Option<u32>, time: bool) -> u32 {
        let (sequence, timestamp, marker) = self.stream.own(0, if time { FRAME as u32 } else { 0 });
        let timestamp = at.unwrap_or(timestamp);
        Packet { payload_type, marker, sequence, timestamp, ssrc: self.stream.ssrc(), payload }.write(buffer);
        match &mut self.bad {
            Some(bad) => bad.pass(buffer).iter().for_each(|packet| drop(self.socket.send_to(packet, agreed.remote))),
            None => drop(self.socket.send_to(buffer, agreed.remote)),
        }
        timestamp
    }
}

/// The thread of all lines of a telephone. It ends with the last who holds `lines`.
pub(super) fn run(lines: &Arc<Mutex<Vec<Arc<Audio>>>>) -> std::io::Result<()> {
    let lines = Arc::downgrade(lines);
    thread::Builder::new().name("telephone".into()).spawn(move || {
        let (mut next, mut buffer) = (Instant::now(), Vec::new());
        while let Some(lines) = lines.upgrade() {
            let current = {
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                lines.retain(|line| !line.closed.load(Ordering::Relaxed));
                lines.clone()
            };
            drop(lines);
            for line in current {
                line.tick(&mut buffer);
            }
            next += TICK;
            match next.checked_duration_since(Instant::now()) {
                Some(left) => thread::sleep(left),
                None => next = Instant::now(),
            }
        }
    })?;
    Ok(())
}
