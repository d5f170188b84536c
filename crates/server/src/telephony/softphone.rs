//! The microphone of the demo's handset: WebRTC from the page, a line of the demo's own SIP gateway
//! behind it. The gateway plays, collects and bridges, as for every telephone; here packets change
//! their dress, and nothing else.
//!
//! Only the demo has one, on this machine only. ICE is lite: we answer checks that know our password,
//! send none, and look at no address that an offer names.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use countersign_core::{id::CallId, secret::E164};
use countersign_sip::{
    caller::{CallError, Line, Phone, PhoneSettings},
    rtp::Packet,
    sdp::Agreed,
};
use str0m::{
    Candidate, Event, IceConnectionState, Input, Output, Rtc, RtcError,
    change::SdpOffer,
    format::{Codec, FormatParams},
    media::{Direction, Frequency, MediaTime, Mid},
    net::{Protocol, Receive},
};
use tokio::{net::UdpSocket, sync::{Semaphore, mpsc, oneshot}, time::sleep_until};

use super::{handset::{Microphone, NoMicrophone, Offered}, sip::Sip};

/// Calls with a microphone at one time.
const CALLS: usize = 8;
/// The longest offer, in bytes. A browser's has about 2,000.
const LONGEST: usize = 16 * 1024;
/// A microphone that does not dial, or does not connect, within this is let go.
const PATIENCE: Duration = Duration::from_secs(15);
/// A page that is closed says nothing any more; a muted microphone still sends.
const QUIET: Duration = Duration::from_secs(5);
/// Datagrams that are looked at in a second: of the page, which sends 50 and a few checks, and of all
/// others together.
const MOST: (u32, u32) = (400, 100);
/// The longest datagram, in bytes.
const DATAGRAM: usize = 1_500;
/// The payload type that we propose for events; a browser's own takes its place.
const EVENTS: u8 = 126;

/// A user part that is no number.
const WITHHELD: &str = "anonymous";

/// Says which call the gateway made of a `Call-ID`.
type Names = Box<dyn Fn(&str) -> Option<CallId> + Send + Sync>;

/// The demo's softphone. Cheap to clone.
#[derive(Clone)]
pub struct Softphone(Arc<Shared>);

struct Shared {
    ip: IpAddr,
    /// Whom every call goes to.
    to: String,
    phone: Phone,
    name: Names,
    slots: Arc<Semaphore>,
    offered: Mutex<HashMap<String, oneshot::Sender<Dial>>>,
    patience: Duration,
    quiet: Duration,
}

/// A page dials.
struct Dial {
    number: String,
    answered: oneshot::Sender<Option<String>>,
}

impl Softphone {
    /// With the gateway at this address, which has to be on this machine.
    ///
    /// # Errors
    /// No port, or no thread.
    pub async fn start(gateway: SocketAddr, sip: Arc<Sip>) -> Result<Self, CallError> {
        Self::with(gateway, Box::new(move |call_id| sip.call_of(call_id)), PATIENCE, QUIET).await
    }

    async fn with(gateway: SocketAddr, name: Names, patience: Duration, quiet: Duration) -> Result<Self, CallError> {
        let ip = gateway.ip();
        let phone = Phone::start(PhoneSettings { answers: 486, keep: false, ..PhoneSettings::new(ip, WITHHELD) }).await?;
        let to = format!("sip:microphone@{gateway}");
        Ok(Self(Arc::new(Shared { ip, to, phone, name, slots: Arc::new(Semaphore::new(CALLS)), offered: Mutex::default(), patience, quiet })))
    }
}

impl Shared {
    fn offered(&self) -> std::sync::MutexGuard<'_, HashMap<String, oneshot::Sender<Dial>>> { self.offered.lock().unwrap_or_else(PoisonError::into_inner) }
}

/// Answers offers, and lets pages dial.
#[async_trait]
impl Microphone for Softphone {
    async fn offer(&self, sdp: &str) -> Result<Offered, NoMicrophone> {
        let shared = self.0.clone();
        let slot = shared.slots.clone().try_acquire_owned().map_err(|_| NoMicrophone::Busy)?;
        let offer = readable(sdp)?;
        let web = UdpSocket::bind((shared.ip, 0)).await.map_err(|_| NoMicrophone::Busy)?;
        let here = web.local_addr().map_err(|_| NoMicrophone::Busy)?;
        // A key is made for each: that takes a while.
        let taken = tokio::task::spawn_blocking(move || take(&offer, here)).await;
        let (rtc, mid, answer) = taken.map_err(|_| NoMicrophone::Offer("it is not understood"))??;
        let (rtp, carried) = wire(shared.ip).map_err(|_| NoMicrophone::Busy)?;
        let mut random = [0; 20];
        getrandom::fill(&mut random).map_err(|_| NoMicrophone::Busy)?;
        let [name @ .., a, b, c, d] = random;
        let name = hex::encode(name);
        let (sender, dial) = oneshot::channel();
        shared.offered().insert(name.clone(), sender);
        let now = Instant::now();
        let talk = Talk {
            rtc, mid, web, here, rtp, line: None, ssrc: u32::from_be_bytes([a, b, c, d]), time: Running::default(), page: None, budget: MOST, since: now, heard: now, up: false,
        };
        let microphone = name.clone();
        tokio::spawn(async move {
            talk.run(&shared, dial, carried).await;
            shared.offered().remove(&microphone);
            drop(slot);
        });
        Ok(Offered { microphone: name, sdp: answer })
    }

    async fn dial(&self, microphone: &str, number: Option<&E164>) -> Result<CallId, NoMicrophone> {
        let there = self.0.offered().remove(microphone).ok_or(NoMicrophone::Gone)?;
        let (sender, answered) = oneshot::channel();
        let number = number.map_or(WITHHELD, E164::expose).to_owned();
        there.send(Dial { number, answered: sender }).map_err(|_| NoMicrophone::Gone)?;
        let call_id = answered.await.ok().flatten().ok_or(NoMicrophone::Line)?;
        (self.0.name)(&call_id).ok_or(NoMicrophone::Line)
    }
}

/// A socket for the gateway's packets: ours, and the same for the telephone that agrees on it.
fn wire(ip: IpAddr) -> std::io::Result<(UdpSocket, std::net::UdpSocket)> {
    let carried = std::net::UdpSocket::bind((ip, 0))?;
    carried.set_nonblocking(true)?;
    Ok((UdpSocket::from_std(carried.try_clone()?)?, carried))
}

/// An offer without what we do not look at: addresses are learned from those who know our password, and
/// from nowhere else.
///
/// # Errors
/// It is too long, or holds something beside one stream of audio.
fn readable(sdp: &str) -> Result<String, NoMicrophone> {
    if sdp.len() > LONGEST {
        return Err(NoMicrophone::Offer("it is too long"));
    }
    let media: Vec<&str> = sdp.lines().filter(|line| line.starts_with("m=")).collect();
    if !matches!(media.as_slice(), [one] if one.starts_with("m=audio ")) {
        return Err(NoMicrophone::Offer("one stream of audio is wanted, and nothing else"));
    }
    let kept = sdp.lines().map(str::trim_end).filter(|line| !line.starts_with("a=candidate") && !line.starts_with("a=end-of-candidates") && !line.is_empty());
    Ok(kept.flat_map(|line| [line, "\r\n"]).collect())
}

/// Whether an offer would be taken. A door for `crates/fuzz`.
#[doc(hidden)]
#[must_use]
pub fn understands(sdp: &str) -> bool {
    readable(sdp).and_then(|offer| take(&offer, SocketAddr::from(([127, 0, 0, 1], 9)))).is_ok()
}

/// A session of this offer, with our answer.
fn take(offer: &str, here: SocketAddr) -> Result<(Rtc, Mid, String), NoMicrophone> {
    let not = NoMicrophone::Offer;
    // The library below has its own opinion of what cannot be; a stranger's text decides nothing here.
    let taken = catch_unwind(AssertUnwindSafe(|| {
        let offer = SdpOffer::from_sdp_string(offer).map_err(|_| not("it is no session description"))?;
        let mut rtc = session(here).ok_or(not("there is no address for it"))?;
        let answer = rtc.sdp_api().accept_offer(offer).map_err(|_| not("it is not understood"))?;
        Ok((rtc, answer.to_sdp_string()))
    }));
    let (mut rtc, answer) = taken.map_err(|_| not("it is not understood"))??;
    let mid = answer.lines().find_map(|line| line.strip_prefix("a=mid:")).map(Mid::from).ok_or(not("it has no stream"))?;
    if rtc.media(mid).is_none_or(|media| media.direction() != Direction::SendRecv) {
        return Err(not("it does not both send and receive"));
    }
    let speaks = rtc.writer(mid).is_some_and(|writer| writer.payload_params().any(|p| p.spec().codec == Codec::PCMU));
    if speaks { Ok((rtc, mid, answer)) } else { Err(not("it speaks no PCMU")) }
}

/// PCMU and events, by ICE lite, with the fingerprint of the offer checked.
fn session(here: SocketAddr) -> Option<Rtc> {
    let mut config = Rtc::builder().set_ice_lite(true).set_fingerprint_verification(true).clear_codecs().enable_pcmu(true, false).set_reordering_size_audio(2);
    config.codec_config().add_config(EVENTS.into(), None, Codec::Tele, Frequency::EIGHT_KHZ, None, FormatParams::default());
    let mut rtc = config.build(Instant::now());
    rtc.add_local_candidate(Candidate::host(here, "udp").ok()?)?;
    Some(rtc)
}

/// A time of 32 bits that runs on beyond them.
#[derive(Default)]
struct Running(Option<u64>);

impl Running {
    #[expect(clippy::cast_possible_wrap, clippy::cast_possible_truncation, reason = "distances within 32 bits wrap around, as RTP has them")]
    fn on(&mut self, timestamp: u32) -> u64 {
        // Not from zero, so that it can go back.
        let before = self.0.unwrap_or(u64::from(timestamp) | 1 << 40);
        let now = before.saturating_add_signed(i64::from(timestamp.wrapping_sub(before as u32) as i32));
        self.0 = Some(now);
        now
    }
}

/// One page that talks.
struct Talk {
    rtc: Rtc,
    mid: Mid,
    /// The page's side.
    web: UdpSocket,
    here: SocketAddr,
    /// The gateway's side.
    rtp: UdpSocket,
    line: Option<(Line, Agreed)>,
    ssrc: u32,
    time: Running,
    /// Where the page was last heard.
    page: Option<SocketAddr>,
    /// Datagrams that may still come in the second that began at `since`: see [`MOST`].
    budget: (u32, u32),
    since: Instant,
    /// When the page was last heard.
    heard: Instant,
    /// It is connected.
    up: bool,
}

/// What comes next.
enum Next {
    Page(std::io::Result<(usize, SocketAddr)>),
    Gateway(std::io::Result<(usize, SocketAddr)>),
    Dial(Option<Dial>),
    Answered(Option<(Line, Agreed)>),
    HungUp,
    Time,
}

impl Talk {
    /// Until either side is gone. The line hangs up when it is dropped.
    async fn run(mut self, shared: &Arc<Shared>, dial: oneshot::Receiver<Dial>, carried: std::net::UdpSocket) {
        let began = Instant::now();
        let mut dial = Some(dial);
        let mut carried = Some(carried);
        let (sender, mut answers) = mpsc::channel::<Option<(Line, Agreed)>>(1);
        let (mut page, mut gateway) = ([0; DATAGRAM], [0; DATAGRAM]);
        while let Ok(due) = self.drain().await {
            let patient = began + shared.patience;
            let alive = match (self.up, dial.is_some()) {
                (false, _) => patient,
                (true, true) => patient.min(self.heard + shared.quiet),
                (true, false) => self.heard + shared.quiet,
            };
            if Instant::now() >= alive {
                break;
            }
            let dialled = async {
                match &mut dial {
                    Some(dial) => dial.await.ok(),
                    None => std::future::pending().await,
                }
            };
            let hung_up = async {
                match &self.line {
                    Some((line, _)) if line.ends(Duration::from_secs(3600)).await => {}
                    _ => std::future::pending().await,
                }
            };
            let next = tokio::select! {
                biased;
                () = hung_up => Next::HungUp,
                answered = answers.recv() => Next::Answered(answered.flatten()),
                dialled = dialled => Next::Dial(dialled),
                got = self.rtp.recv_from(&mut gateway) => Next::Gateway(got),
                got = self.web.recv_from(&mut page) => Next::Page(got),
                () = sleep_until(due.min(alive).into()) => Next::Time,
            };
            let went = match next {
                Next::HungUp | Next::Answered(None) | Next::Dial(None) => break,
                Next::Answered(answered) => {
                    self.line = answered;
                    Ok(())
                }
                Next::Dial(Some(Dial { number, answered })) => {
                    dial = None;
                    let Some(socket) = carried.take() else { break };
                    let (shared, sender) = (shared.clone(), sender.clone());
                    tokio::spawn(async move {
                        let line = shared.phone.connect(&number, &shared.to, &socket).await.ok().and_then(|line| line.agreed().map(|agreed| (line, agreed)));
                        let _ = answered.send(line.as_ref().map(|(line, _)| line.call_id()));
                        // Whoever has gone meanwhile drops it, and it hangs up.
                        let _ = sender.send(line).await;
                    });
                    Ok(())
                }
                Next::Gateway(Ok((length, from))) => self.play(gateway.get(..length).unwrap_or_default(), from),
                Next::Page(Ok((length, from))) => self.hear(page.get(..length).unwrap_or_default(), from),
                Next::Time => self.rtc.handle_input(Input::Timeout(Instant::now())),
                // Somebody refused a packet of ours.
                Next::Gateway(Err(_)) | Next::Page(Err(_)) => Ok(()),
            };
            if went.is_err() {
                break;
            }
        }
        let _ = self.rtc.close();
        let _ = self.drain().await;
    }

    /// Sends what is to be sent, takes what came, and says when to look again.
    async fn drain(&mut self) -> Result<Instant, Over> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(due) => return if self.rtc.is_alive() { Ok(due) } else { Err(Over) },
                // A packet that cannot be sent is a packet lost.
                Output::Transmit(packet) => drop(self.web.send_to(&packet.contents, packet.destination).await),
                Output::Event(event) => self.event(event)?,
            }
        }
    }

    fn event(&mut self, event: Event) -> Result<(), Over> {
        match event {
            Event::Connected => {
                self.up = true;
                self.heard = Instant::now();
            }
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) | Event::Closed => return Err(Over),
            Event::MediaData(data) if data.mid == self.mid => {
                let Some((_, agreed)) = &self.line else { return Ok(()) };
                let payload_type = if data.params.spec().codec.is_tele() { agreed.events } else { Some(agreed.payload_type) };
                let Some(payload_type) = payload_type else { return Ok(()) };
                let (sequence, timestamp) = (low(**data.seq_range.start()), low(data.time.numer()));
                let mut packet = Vec::new();
                Packet { payload_type, marker: data.audio_start_of_talk_spurt, sequence: (sequence & 0xffff) as u16, timestamp, ssrc: self.ssrc, payload: &data.data }.write(&mut packet);
                let _ = self.rtp.try_send_to(&packet, agreed.remote);
            }
            _ => {}
        }
        Ok(())
    }

    /// A datagram from the page, or from anybody.
    fn hear(&mut self, datagram: &[u8], from: SocketAddr) -> Result<(), RtcError> {
        let now = Instant::now();
        if now.duration_since(self.since) >= Duration::from_secs(1) {
            (self.since, self.budget) = (now, MOST);
        }
        // What is above is not even looked at, and strangers take nothing of the page's share.
        let budget = if self.page == Some(from) { &mut self.budget.0 } else { &mut self.budget.1 };
        let Some(left) = budget.checked_sub(1) else { return Ok(()) };
        *budget = left;
        let Ok(contents) = datagram.try_into() else { return Ok(()) };
        let input = Input::Receive(now, Receive { proto: Protocol::Udp, source: from, destination: self.here, contents });
        if !self.rtc.accepts(&input) {
            return Ok(());
        }
        (self.heard, self.page) = (now, Some(from));
        self.rtc.handle_input(input)
    }

    /// A packet of the gateway, for the page.
    fn play(&mut self, datagram: &[u8], from: SocketAddr) -> Result<(), RtcError> {
        let Some((_, agreed)) = &self.line else { return Ok(()) };
        let Some(packet) = Packet::parse(datagram).filter(|packet| from == agreed.remote && packet.payload_type == agreed.payload_type) else { return Ok(()) };
        let time = MediaTime::new(self.time.on(packet.timestamp), Frequency::EIGHT_KHZ);
        let Some(writer) = self.rtc.writer(self.mid) else { return Ok(()) };
        let Some(number) = writer.payload_params().find(|p| p.spec().codec == Codec::PCMU).map(|p| p.pt()) else { return Ok(()) };
        writer.write(number, Instant::now(), time, packet.payload)
    }
}

/// The page is gone, or what it sent cannot be.
struct Over;

impl From<RtcError> for Over {
    fn from(_: RtcError) -> Self { Self }
}

/// The low half.
fn low(wide: u64) -> u32 { (wide & 0xffff_ffff) as u32 }

#[cfg(test)]
mod tests;
