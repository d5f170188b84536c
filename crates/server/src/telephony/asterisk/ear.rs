//! Listens to callers by external media: Asterisk copies what a caller says (a snoop channel with `spy=in`)
//! into a bridge of its own with a channel that sends it to us by RTP (`UnicastRTP`). What the caller hears,
//! and what an agent says, is not in it.
//!
//! All of it is for one take, has a name that is never used twice, and is taken down whatever comes: an
//! answer, a key, another thing to do, the end of the call, an error. What a life of ours has left behind is
//! taken down when the next one is connected.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use countersign_core::voice::{Codec, Sound};
use countersign_sip::{Capture, g711::Law, rtp::Packet};
use reqwest::Method;
use tokio::{
    net::UdpSocket,
    sync::{oneshot, watch},
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use super::{config::SoundAt, rest::Rest};
use crate::telephony::switch::{Lines, SwitchError, line::Heard};

/// What the names of our channels and bridges begin with: the ear at the caller, the channel that sends,
/// and the bridge between the two.
const EAR: &str = "countersign-ear.";
const SENDS: &str = "countersign-sends.";
const HEARS: &str = "countersign-hears.";
/// How long Asterisk may take to set it up.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often it is looked at whether an answer is over.
const TICK: Duration = Duration::from_millis(20);
/// Most packets of one take, four minutes of them, and what is beside them: words that go on longer are over
/// before that.
const PACKETS: u32 = 12_000;
/// The longest datagram that is looked at, in bytes.
const DATAGRAM: usize = 1_500;

/// What is asked of an ear: to listen from now on, under this number, for so long at most.
type Asked = Option<(u64, Duration)>;

/// Those of one life of ours.
pub(super) struct Ears {
    rest: Arc<Rest>,
    lines: Arc<Lines>,
    app: String,
    life: String,
    at: SoundAt,
    count: AtomicU64,
    open: Mutex<HashMap<String, Ear>>,
    /// Channels that have been asked for, and are not there yet.
    awaited: Mutex<HashMap<String, oneshot::Sender<()>>>,
}

/// One, by its caller's channel. Dropped, it is deaf.
struct Ear {
    name: String,
    asked: watch::Sender<Asked>,
}

/// How listening ended.
enum End {
    Heard(u64, Sound),
    /// Nobody wants to know any more.
    Deaf,
    Failed(String),
}

/// The name of what a channel of ours is part of, if it is part of an ear.
pub(super) fn name(channel: &str) -> Option<&str> { channel.strip_prefix(EAR).or_else(|| channel.strip_prefix(SENDS)) }

/// Takes all of it down that is there.
pub(super) async fn take_down(rest: &Rest, name: &str) {
    // The bridge first: nothing passes from here on.
    for (what, prefix) in [("bridges", HEARS), ("channels", SENDS), ("channels", EAR)] {
        match rest.delete(&[what, &format!("{prefix}{name}")]).await {
            Ok(()) | Err(SwitchError::Gone) => {}
            Err(e) => tracing::warn!(error = %e, "what a caller was listened to with could not be taken down; it goes with the call, or when Asterisk is connected anew"),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> { mutex.lock().unwrap_or_else(PoisonError::into_inner) }

impl Ears {
    pub fn new(rest: Arc<Rest>, lines: Arc<Lines>, app: String, life: String, at: SoundAt) -> Self {
        Self { rest, lines, app, life, at, count: AtomicU64::new(0), open: Mutex::default(), awaited: Mutex::default() }
    }

    /// Gets ready to listen to a caller, aside. One that was open for them is deaf from now on.
    pub fn open(self: &Arc<Self>, channel: &str) {
        let name = format!("{}-{}.{channel}", self.life, self.count.fetch_add(1, Ordering::Relaxed));
        let (asked, asks) = watch::channel(None);
        lock(&self.open).insert(channel.to_owned(), Ear { name: name.clone(), asked });
        let (this, channel) = (self.clone(), channel.to_owned());
        tokio::spawn(async move { this.attend(&channel, &name, asks).await });
    }

    /// Listens from now on. False: nobody is ready to.
    pub fn listen(&self, channel: &str, answer: u64, longest: Duration) -> bool {
        lock(&self.open).get(channel).is_some_and(|ear| ear.asked.send(Some((answer, longest))).is_ok())
    }

    /// Listens no more.
    pub fn close(&self, channel: &str) { lock(&self.open).remove(channel); }

    /// Whether an ear with this name is open.
    pub fn has(&self, name: &str) -> bool { lock(&self.open).values().any(|ear| ear.name == name) }

    /// A channel is there.
    pub fn started(&self, channel: &str) {
        if let Some(there) = lock(&self.awaited).remove(channel) {
            let _ = there.send(());
        }
    }

    async fn attend(&self, channel: &str, name: &str, mut asks: watch::Receiver<Asked>) {
        let end = self.hear(channel, name, &mut asks).await;
        match end {
            End::Heard(answer, sound) => self.lines.heard(channel, Heard::Said(answer, Some(sound))),
            End::Deaf => {}
            End::Failed(why) => {
                tracing::warn!(reason = why, "a caller could not be listened to; the call goes on without it");
                take_down(&self.rest, name).await;
                // Told when somebody wants to know: the words before it go on.
                if let Ok(Some((answer, _))) = asks.wait_for(Option::is_some).await.map(|asked| *asked) {
                    self.lines.heard(channel, Heard::Said(answer, None));
                }
                return;
            }
        }
        take_down(&self.rest, name).await;
    }

    async fn hear(&self, channel: &str, name: &str, asks: &mut watch::Receiver<Asked>) -> End {
        let socket = match self.socket().await {
            Ok(socket) => socket,
            Err(e) => return End::Failed(format!("there is no port for sound: {e}")),
        };
        // To its end, also when nobody wants to know any more: a request that is given up half-way may have
        // been carried out after what takes it down.
        let ready = self.set_up(channel, name, &socket).await;
        let (ear, sends) = (format!("{EAR}{name}"), format!("{SENDS}{name}"));
        lock(&self.awaited).retain(|channel, _| *channel != ear && *channel != sends);
        if let Err(e) = ready {
            return End::Failed(format!("Asterisk does not send sound: {e}. Are res_stasis_snoop and chan_rtp loaded?"));
        }
        listen(&socket, asks).await
    }

    async fn socket(&self) -> io::Result<UdpSocket> {
        let Some(ports) = self.at.ports.clone() else { return UdpSocket::bind((self.at.address, 0)).await };
        let mut last = io::ErrorKind::AddrInUse.into();
        for port in ports {
            match UdpSocket::bind((self.at.address, port)).await {
                Ok(socket) => return Ok(socket),
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    fn awaits(&self, channel: &str) -> oneshot::Receiver<()> {
        let (there, comes) = oneshot::channel();
        lock(&self.awaited).insert(channel.to_owned(), there);
        comes
    }

    /// Has Asterisk send what the caller says to this socket, which takes nothing from anybody else.
    async fn set_up(&self, channel: &str, name: &str, socket: &UdpSocket) -> Result<(), SwitchError> {
        let failed = |why: &str| SwitchError::Failed(why.into());
        let here = socket.local_addr().map_err(|_| failed("no address"))?.to_string();
        let (ear, sends, bridge) = (format!("{EAR}{name}"), format!("{SENDS}{name}"), format!("{HEARS}{name}"));
        let there = [self.awaits(&ear), self.awaits(&sends)];
        self.rest.post(&["channels", channel, "snoop", &ear], &[("spy", "in"), ("whisper", "none"), ("app", &self.app)]).await?;
        let query = [
            ("channelId", sends.as_str()), ("app", &self.app), ("external_host", &here), ("encapsulation", "rtp"), ("transport", "udp"), ("connection_type", "client"),
            ("format", "ulaw"), ("direction", "both"),
        ];
        self.rest.post(&["channels", "externalMedia"], &query).await?;
        for channel in there {
            timeout(PATIENCE, channel).await.map_err(|_| failed("its channels do not come"))?.map_err(|_| failed("nobody waits"))?;
        }
        let from = SocketAddr::new(
            self.variable(&sends, "UNICASTRTP_LOCAL_ADDRESS").await?.parse().map_err(|_| failed("no address to take sound from"))?,
            self.variable(&sends, "UNICASTRTP_LOCAL_PORT").await?.parse().map_err(|_| failed("no port to take sound from"))?,
        );
        if from.ip().is_unspecified() {
            return Err(failed("no address to take sound from"));
        }
        socket.connect(from).await.map_err(|_| failed("its address cannot be reached"))?;
        // What others had sent before that is none.
        let mut rest = [0; DATAGRAM];
        for _ in 0..PACKETS {
            if socket.try_recv(&mut rest).is_err() {
                break;
            }
        }
        self.rest.post(&["bridges", &bridge], &[("type", "mixing")]).await?;
        self.rest.post(&["bridges", &bridge, "addChannel"], &[("channel", &format!("{ear},{sends}"))]).await
    }

    async fn variable(&self, channel: &str, name: &str) -> Result<String, SwitchError> {
        let body = self.rest.ask(Method::GET, &["channels", channel, "variable"], &[("variable", name)]).await?;
        let value = serde_json::from_slice::<serde_json::Value>(&body).ok().and_then(|v| v.get("value").and_then(|v| v.as_str()).map(str::to_owned));
        value.ok_or_else(|| SwitchError::Failed("no such variable".into()))
    }
}

/// Takes packets until an answer is over.
async fn listen(socket: &UdpSocket, asks: &mut watch::Receiver<Asked>) -> End {
    let began = Instant::now();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut capture: Option<(u64, Capture)> = None;
    let (mut packets, mut sound) = (0, false);
    let mut buffer = [0; DATAGRAM];
    loop {
        let now = |at: Instant| u64::try_from(at.duration_since(began).as_millis()).unwrap_or(u64::MAX);
        let received = tokio::select! {
            changed = asks.changed() => {
                if changed.is_err() {
                    return End::Deaf;
                }
                0
            }
            received = socket.recv(&mut buffer) => {
                packets += 1;
                if packets > PACKETS {
                    return End::Failed("too many packets of sound came".into());
                }
                received.unwrap_or(0)
            }
            _ = tick.tick() => 0,
        };
        let now = now(Instant::now());
        if capture.is_none() && let Some((answer, longest)) = *asks.borrow_and_update() {
            capture = Some((answer, Capture::new(now, longest)));
        }
        let Some((answer, taken)) = &mut capture else { continue };
        if let Some(packet) = buffer.get(..received).and_then(Packet::parse).filter(|packet| packet.payload_type == Law::Mu.payload_type()) {
            sound = true;
            taken.hear(now, &packet, Law::Mu);
        }
        if taken.is_over(now) {
            let answer = *answer;
            return match capture {
                Some((_, taken)) if sound => End::Heard(answer, Sound::new(std::mem::take(&mut *taken.into_samples()), Some(Codec::Pcmu))),
                _ => End::Failed("no sound came: does asterisk.sound_address name us as Asterisk reaches us?".into()),
            };
        }
    }
}
