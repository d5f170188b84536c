use countersign_sip::{Answer, CallKey, Clip, Ended, Flow, Gather, Gateway, Incoming, Settings, Step, Steps, g711::Law};
use proptest::prelude::*;
use str0m::{change::SdpAnswer, media::{MediaKind, TelephoneEvent}};
use tokio::sync::watch;

use super::*;

/// What the flow of a gateway was told.
#[derive(Clone, Default)]
struct Told {
    call_id: String,
    from: String,
    keys: String,
    ended: Option<Ended>,
}

/// Plays a tone, takes four keys, and plays on.
struct Ask(watch::Sender<Told>);

#[async_trait]
impl Flow for Ask {
    async fn incoming(&self, call: &Incoming) -> Answer {
        self.0.send_modify(|told| (told.call_id, told.from) = (call.call_id.clone(), call.from.clone()));
        let tone = Clip::tone(440.0, 0.3, Duration::from_secs(30), Duration::ZERO);
        Answer::Accept(Steps::new([Step::Play(vec![tone]), Step::Gather(Gather { max: 4, timeout: Duration::from_secs(10), hash_ends: true, secret: true })]))
    }
    async fn digits(&self, _: &CallKey, keys: &str) -> Option<Steps> {
        self.0.send_modify(|told| told.keys.push_str(keys));
        None
    }
    async fn no_keys(&self, _: &CallKey) -> Option<Steps> { None }
    async fn hung_up(&self, _: &CallKey, how: Ended) { self.0.send_modify(|told| told.ended = Some(how)); }
}

struct World {
    gateway: Gateway,
    softphone: Softphone,
    told: watch::Receiver<Told>,
}

const CALL: CallId = CallId([7; 16]);

async fn world(quiet: Duration) -> World {
    let (sender, told) = watch::channel(Told::default());
    let settings = Settings { peers: vec!["127.0.0.0/8".parse().unwrap()], tcp: false, ..Settings::new("127.0.0.1:0".parse().unwrap()) };
    let gateway = Gateway::start(settings, Arc::new(Ask(sender))).await.unwrap();
    let known = told.clone();
    let name: Names = Box::new(move |call_id| (known.borrow().call_id == call_id).then_some(CALL));
    let softphone = Softphone::with(gateway.address(), name, Duration::from_secs(10), quiet).await.unwrap();
    World { gateway, softphone, told }
}

/// A browser, as far as it matters: the same library on the other side, with ICE in full.
struct Browser {
    rtc: Rtc,
    mid: Mid,
    socket: UdpSocket,
    connected: bool,
    /// Samples that were heard and were no silence.
    sound: usize,
    sent: u64,
}

impl Browser {
    async fn offer() -> (Self, str0m::change::SdpPendingOffer, String) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut config = Rtc::builder().clear_codecs().enable_pcmu(true, false);
        config.codec_config().add_config(101.into(), None, Codec::Tele, Frequency::EIGHT_KHZ, None, FormatParams::default());
        let mut rtc = config.build(Instant::now());
        rtc.add_local_candidate(Candidate::host(socket.local_addr().unwrap(), "udp").unwrap());
        let mut changes = rtc.sdp_api();
        let mid = changes.add_media(MediaKind::Audio, Direction::SendRecv, None, None, None);
        let (offer, pending) = changes.apply().unwrap();
        (Self { rtc, mid, socket, connected: false, sound: 0, sent: 0 }, pending, offer.to_sdp_string())
    }

    fn hears(&mut self, answer: &str, pending: str0m::change::SdpPendingOffer) {
        self.rtc.sdp_api().accept_answer(pending, SdpAnswer::from_sdp_string(answer).unwrap()).unwrap();
    }

    /// Sends silence every 20 ms and takes what comes, until it is so. `false` when it is not within `limit`.
    async fn until(&mut self, limit: Duration, mut so: impl FnMut(&Self) -> bool) -> bool {
        let end = Instant::now() + limit;
        let mut frame = Instant::now();
        let mut buffer = [0; 2_000];
        loop {
            let due = loop {
                match self.rtc.poll_output() {
                    Ok(Output::Timeout(due)) => break due,
                    Ok(Output::Transmit(packet)) => drop(self.socket.send_to(&packet.contents, packet.destination).await),
                    Ok(Output::Event(Event::Connected)) => self.connected = true,
                    Ok(Output::Event(Event::MediaData(data))) => self.sound += data.data.iter().filter(|b| Law::Mu.decode(**b).unsigned_abs() > 500).count(),
                    Ok(Output::Event(_)) => {}
                    Err(_) => return false,
                }
            };
            if so(self) {
                return true;
            }
            if Instant::now() > end {
                return false;
            }
            tokio::select! {
                got = self.socket.recv_from(&mut buffer) => {
                    let Ok((length, source)) = got else { continue };
                    let Ok(contents) = buffer[..length].try_into() else { continue };
                    let destination = self.socket.local_addr().unwrap();
                    let _ = self.rtc.handle_input(Input::Receive(Instant::now(), Receive { proto: Protocol::Udp, source, destination, contents }));
                }
                () = sleep_until(due.min(frame).into()) => {
                    if Instant::now() >= frame {
                        frame += Duration::from_millis(20);
                        self.sends(None);
                    } else {
                        let _ = self.rtc.handle_input(Input::Timeout(Instant::now()));
                    }
                }
            }
        }
    }

    /// A frame of silence, and the beginning of a key.
    fn sends(&mut self, key: Option<u8>) {
        let Some(writer) = self.rtc.writer(self.mid) else { return };
        let Some(number) = writer.payload_params().find(|p| p.spec().codec == Codec::PCMU).map(|p| p.pt()) else { return };
        let writer = match key {
            Some(event) => writer.telephone_event(TelephoneEvent { event, end: true, volume: 10, duration: Duration::from_millis(100) }),
            None => writer,
        };
        self.sent += 160;
        writer.write(number, Instant::now(), MediaTime::new(self.sent, Frequency::EIGHT_KHZ), vec![0xff; 160]).unwrap();
    }

    async fn press(&mut self, keys: &[u8]) {
        for key in keys {
            self.sends(Some(*key));
            let over = Instant::now() + Duration::from_millis(180);
            self.until(Duration::from_secs(1), |_| Instant::now() > over).await;
        }
    }
}

async fn connected(world: &World) -> (Browser, Offered) {
    let (mut browser, pending, sdp) = Browser::offer().await;
    let offered = world.softphone.offer(&sdp).await.unwrap();
    browser.hears(&offered.sdp, pending);
    assert!(browser.until(Duration::from_secs(8), |b| b.connected).await, "it connects");
    (browser, offered)
}

fn slots(world: &World) -> usize { world.softphone.0.slots.available_permits() }

async fn ended(world: &World) -> Option<Ended> {
    let mut told = world.told.clone();
    tokio::time::timeout(Duration::from_secs(8), told.wait_for(|told| told.ended.is_some())).await.ok()?.ok()?.ended
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_hears_the_prompt_keys_and_hangs_up_by_going() {
    let world = world(Duration::from_secs(5)).await;
    let (mut browser, offered) = connected(&world).await;
    let ana = E164::parse("+12025550142").unwrap();
    // Nobody dials with another's microphone, and nobody twice.
    assert_eq!(world.softphone.dial(&"0".repeat(32), Some(&ana)).await, Err(NoMicrophone::Gone));
    assert_eq!(world.softphone.dial(&offered.microphone, Some(&ana)).await, Ok(CALL));
    assert_eq!(world.softphone.dial(&offered.microphone, Some(&ana)).await, Err(NoMicrophone::Gone));
    assert_eq!(world.told.borrow().from, "+12025550142");
    assert!(browser.until(Duration::from_secs(8), |b| b.sound > 4_000).await, "the prompt is heard");
    browser.press(&[4, 0, 7, 1]).await;
    let told = world.told.clone();
    assert!(browser.until(Duration::from_secs(5), |_| told.borrow().keys == "4071").await, "each key once: {}", world.told.borrow().keys);
    // What a tab does that is closed, at its best.
    browser.rtc.close().unwrap();
    browser.until(Duration::from_millis(100), |_| false).await;
    assert_eq!(ended(&world).await, Some(Ended::Caller));
    world.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_falls_silent_has_hung_up_and_strangers_do_not_speak_for_it() {
    let world = world(Duration::from_millis(1_500)).await;
    let (mut browser, offered) = connected(&world).await;
    assert_eq!(world.softphone.dial(&offered.microphone, None).await, Ok(CALL));
    assert_eq!(world.told.borrow().from, "", "withheld");
    // A flood of what looks like checks and like sound, from elsewhere: not answered, and the page is still heard.
    let port = offered.sdp.lines().find_map(|line| line.strip_prefix("a=candidate:")).unwrap().split(' ').nth(5).unwrap().parse::<u16>().unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut check = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    check.extend([9; 12]);
    for n in 0..3_000 {
        let _ = stranger.try_send_to(if n % 2 == 0 { &check } else { &[0x80; 172] }, SocketAddr::from(([127, 0, 0, 1], port)));
    }
    // What was sent in one go is taken first: a key is one packet here, and is not sent again.
    browser.until(Duration::from_millis(500), |_| false).await;
    browser.press(&[1, 2, 3, 4]).await;
    let told = world.told.clone();
    assert!(browser.until(Duration::from_secs(5), |_| told.borrow().keys == "1234").await, "{}", world.told.borrow().keys);
    assert!(stranger.try_recv(&mut [0; 100]).is_err(), "strangers get no answer");
    // From now on only strangers send.
    let silent = tokio::spawn(async move {
        loop {
            let _ = stranger.send_to(&check, SocketAddr::from(([127, 0, 0, 1], port))).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert_eq!(ended(&world).await, Some(Ended::Caller));
    silent.abort();
    world.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_key_than_the_offers_never_connects() {
    let world = world(Duration::from_secs(5)).await;
    let (mut browser, pending, sdp) = Browser::offer().await;
    let at = sdp.find("a=fingerprint:sha-256 ").unwrap() + 22;
    let other = if sdp.as_bytes()[at] == b'0' { "1" } else { "0" };
    let forged = format!("{}{other}{}", &sdp[..at], &sdp[at + 1..]);
    let offered = world.softphone.offer(&forged).await.unwrap();
    browser.hears(&offered.sdp, pending);
    let free = world.softphone.clone();
    assert!(browser.until(Duration::from_secs(8), |_| free.0.slots.available_permits() == CALLS).await, "it is let go");
    assert_eq!(world.softphone.dial(&offered.microphone, None).await, Err(NoMicrophone::Gone));
    assert!(world.told.borrow().call_id.is_empty(), "nobody called");
    assert_eq!(browser.sound, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_no_more_than_so_many_and_what_cannot_be_used_takes_no_place() {
    let world = world(Duration::from_secs(5)).await;
    let (_browser, _, sdp) = Browser::offer().await;
    for bad in ["", "v=0", &sdp.replace("m=audio", "m=video"), &format!("{sdp}m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"),
        &sdp.replace("PCMU", "L16"), &sdp.replace("a=sendrecv", "a=recvonly"), &"a".repeat(LONGEST + 1), &sdp.replace("a=fingerprint", "a=thumb")] {
        assert!(matches!(world.softphone.offer(bad).await, Err(NoMicrophone::Offer(_))), "{bad}");
    }
    assert_eq!(slots(&world), CALLS);
    for _ in 0..CALLS {
        world.softphone.offer(&sdp).await.unwrap();
    }
    assert_eq!(world.softphone.offer(&sdp).await.err(), Some(NoMicrophone::Busy));
}

#[tokio::test]
async fn no_address_of_an_offer_is_looked_at() {
    let (browser, _, sdp) = Browser::offer().await;
    let victim = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = victim.local_addr().unwrap().port();
    let line = format!("a=candidate:1 1 UDP 2130706431 127.0.0.1 {port} typ host\r\na=candidate:2 1 udp 1 internal.example.com 9 typ host\r\n");
    let kept = readable(&format!("{sdp}{line}")).unwrap();
    assert!(!kept.contains("candidate"));
    let (mut rtc, ..) = take(&kept, "127.0.0.1:9".parse().unwrap()).unwrap();
    // An agent that is lite sends nothing by itself, until the handshake's time is over.
    let mut now = Instant::now();
    for _ in 0..200 {
        match rtc.poll_output() {
            Ok(Output::Transmit(packet)) => panic!("sent to {}", packet.destination),
            Ok(Output::Timeout(due)) => now = due.min(now + Duration::from_secs(60)).max(now),
            Ok(Output::Event(_)) => continue,
            Err(_) => break,
        }
        if rtc.handle_input(Input::Timeout(now)).is_err() {
            break;
        }
    }
    drop(browser);
}

#[test]
fn time_runs_on_when_its_32_bits_are_used_up() {
    let mut time = Running::default();
    let first = time.on(u32::MAX - 100);
    assert_eq!(time.on(60), first + 161);
    assert_eq!(time.on(u32::MAX - 100), first, "what comes late is earlier");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_offer_makes_it_panic(cuts in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..5), 0..8)) {
        let mut lines: Vec<String> = CHROMIUM.lines().map(str::to_owned).collect();
        for (at, byte, how) in cuts {
            let n = at.index(lines.len().max(1));
            let Some(line) = lines.get_mut(n) else { break };
            match how {
                0 => drop(lines.remove(n)),
                1 => { let again = line.clone(); lines.insert(n, again); }
                2 => line.truncate(usize::from(byte) % (line.len() + 1)),
                3 => line.push_str(&"9".repeat(usize::from(byte))),
                _ => *line = line.replace(char::from(b'0' + byte % 10), &char::from(byte & 0x7f).to_string()),
            }
        }
        let text = lines.join("\r\n");
        if let Ok(offer) = readable(&text) {
            let _ = take(&offer, "127.0.0.1:9".parse().unwrap());
        }
    }
}

/// What Chromium offers, shortened.
const CHROMIUM: &str = "v=0
o=- 4611731400430051336 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
a=extmap-allow-mixed
a=msid-semantic: WMS stream
m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=ice-ufrag:EsAw
a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1
a=ice-options:trickle
a=fingerprint:sha-256 D2:FA:0E:C3:22:59:5E:14:95:69:92:3D:13:B4:84:24:2C:C2:A2:C0:3E:FD:34:8E:5E:EA:6F:AF:52:CE:E6:0F
a=setup:actpass
a=mid:0
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=sendrecv
a=msid:stream track
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 transport-cc
a=fmtp:111 minptime=10;useinbandfec=1
a=rtpmap:63 red/48000/2
a=fmtp:63 111/111
a=rtpmap:9 G722/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:13 CN/8000
a=rtpmap:110 telephone-event/48000
a=rtpmap:126 telephone-event/8000
a=ssrc:3735928559 cname:o/i14u9pJrxRKAsu
a=ssrc:3735928559 msid:stream track";
