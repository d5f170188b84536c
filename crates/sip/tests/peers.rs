//! Against programs that we did not write: sipp (`sip-tester`), baresip, and Kamailio in between.
//!
//! Where one is missing its tests are skipped, and say so; in CI they fail.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, what is not expected may end it")]

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use countersign_sip::caller::{Phone, PhoneSettings};
use countersign_sip::{AgentLeg, Answer, Bridge, CallKey, Clip, Ended, Flow, Gather, Gateway, Incoming, Outgoing, Rung, Settings, Step, Steps};
use tokio::sync::mpsc;

const LIMIT: Duration = Duration::from_secs(20);

/// A port for a program, below those that the system gives to whoever does not ask for one.
fn free(ip: IpAddr) -> u16 {
    let seed = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), ip);
    (0..10_000).map(|n| 10_000 + ((seed % 14_000 + n * 7919) % 14_000) as u16).find(|port| UdpSocket::bind((ip, *port)).is_ok()).expect("a port")
}

/// Asks for keys, plays, and hangs up.
struct Asks(mpsc::UnboundedSender<String>);

#[async_trait]
impl Flow for Asks {
    async fn incoming(&self, _call: &Incoming) -> Answer {
        let gather = Gather { max: 8, timeout: Duration::from_secs(20), hash_ends: true, secret: true };
        let prompt = Clip::tone(500.0, 0.2, Duration::from_secs(30), Duration::ZERO);
        Answer::Accept(Steps::new([Step::Play(vec![prompt]), Step::Gather(gather)]))
    }
    async fn digits(&self, _call: &CallKey, keys: &str) -> Option<Steps> {
        let _ = self.0.send(keys.to_owned());
        match keys.split_once('*') {
            // `*` and a port: connect with the agent there.
            Some((_, port)) => {
                let agent = AgentLeg::Uri(format!("sip:agent@{}:{port}", here()?));
                let bridge = Bridge { to: agent, show: "+12025550123".into(), meanwhile: None, ring: None, pass_keys: true };
                Some(Steps::new([Step::Bridge(bridge)]))
            }
            None => Some(Steps::new([Step::HangUp])),
        }
    }
    async fn no_keys(&self, _call: &CallKey) -> Option<Steps> {
        let _ = self.0.send("none".to_owned());
        Some(Steps::new([Step::HangUp]))
    }
    async fn picked_up(&self, _call: &CallKey) -> Option<Steps> {
        let _ = self.0.send("picked up".to_owned());
        Some(Steps::new([Step::HangUp]))
    }
    async fn hung_up(&self, _call: &CallKey, how: Ended) {
        let _ = self.0.send(format!("{how:?}"));
    }
}

async fn gateway() -> (Gateway, mpsc::UnboundedReceiver<String>) {
    gateway_at(Ipv4Addr::LOCALHOST.into()).await
}

async fn gateway_at(ip: IpAddr) -> (Gateway, mpsc::UnboundedReceiver<String>) {
    let (sender, told) = mpsc::unbounded_channel();
    let settings = Settings { peers: vec![ip.to_string().parse().unwrap()], ..Settings::new((ip, 0).into()) };
    (Gateway::start(settings, Arc::new(Asks(sender))).await.unwrap(), told)
}

/// Where the program is; if it is nowhere, the test is over.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).chain(["/usr/sbin".into()]).map(|folder| folder.join(name)).find(|file| file.is_file());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{name} is missing, and this is CI");
        println!("skipped: {name} is not installed");
    }
    found
}

/// A folder of its own for a test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("peers-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

const SDP: &str = "v=0\no=user1 53655765 2353687637 IN IP[local_ip_type] [local_ip]\ns=-\nc=IN IP[media_ip_type] [media_ip]\nt=0 0\n\
                   m=audio [media_port] RTP/AVP 8 101\na=rtpmap:8 PCMA/8000\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\n";

/// A request of a scenario. Within the dialog it goes to the `Contact` of the answer.
fn send(method: &str, number: u32, headers: &str, body: &str, retransmit: bool) -> String {
    let (uri, to) = match method {
        "INVITE" if number == 1 => ("sip:[service]@[remote_ip]:[remote_port]", "<sip:[service]@[remote_ip]:[remote_port]>"),
        _ => ("[next_url]", "<sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]"),
    };
    let retrans = if retransmit { " retrans=\"500\"" } else { "" };
    format!(
        "<send{retrans}><![CDATA[\n{method} {uri} SIP/2.0\nVia: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n\
         From: <sip:+12025550123@[local_ip]:[local_port]>;tag=[pid]S[call_number]\nTo: {to}\nCall-ID: [call_id]\nCSeq: {number} {method}\n\
         Contact: <sip:sipp@[local_ip]:[local_port]>\nMax-Forwards: 70\n{headers}Content-Length: [len]\n\n{body}]]></send>\n"
    )
}

fn scenario(middle: &str) -> String {
    let sdp = "Content-Type: application/sdp\n";
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\n<scenario name=\"caller\">\n{}\
         <recv response=\"100\" optional=\"true\"/><recv response=\"180\" optional=\"true\"/>\n\
         <recv response=\"200\" rrs=\"true\"/>\n{}{middle}\
         <recv request=\"BYE\" timeout=\"20000\"/>\n\
         <send><![CDATA[\nSIP/2.0 200 OK\n[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]\nContent-Length: 0\n\n]]></send>\n\
         </scenario>\n",
        send("INVITE", 1, sdp, SDP, true),
        send("ACK", 1, "", "", false),
    )
}

async fn sipp(name: &str, middle: &str, gateway: &Gateway, more: &[&str]) -> Option<Output> {
    sipp_at(name, &scenario(middle), &gateway.address().to_string(), more).await
}

async fn sipp_at(name: &str, scenario: &str, address: &str, more: &[&str]) -> Option<Output> {
    let sipp = program("sipp")?;
    let folder = folder(name);
    std::fs::write(folder.join("caller.xml"), scenario).unwrap();
    let mut command = Command::new(sipp);
    command.current_dir(&folder).args(["-sf", "caller.xml", "-i", "127.0.0.1", "-m", "1", "-s", "+12025550100", "-timeout", "40s", "-nostdin"]);
    command.args(more).arg(address).env("TERM", "dumb");
    let output = tokio::time::timeout(LIMIT, tokio::task::spawn_blocking(move || command.output())).await;
    Some(output.expect("sipp does not end").unwrap().unwrap())
}

async fn next(told: &mut mpsc::UnboundedReceiver<String>) -> String {
    tokio::time::timeout(LIMIT, told.recv()).await.expect("nothing was told").unwrap()
}

fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}

/// Answers a call, and waits for its end.
fn answers() -> String {
    let copied = "[last_Via:]\n[last_From:]\n[last_To:];tag=[pid]S[call_number]\n[last_Call-ID:]\n[last_CSeq:]\nContact: <sip:sipp@[local_ip]:[local_port]>\n";
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\n<scenario name=\"callee\">\n<recv request=\"INVITE\"/>\n\
         <send><![CDATA[\nSIP/2.0 180 Ringing\n{copied}Content-Length: 0\n\n]]></send>\n\
         <send retrans=\"500\"><![CDATA[\nSIP/2.0 200 OK\n{copied}Content-Type: application/sdp\nContent-Length: [len]\n\n{SDP}]]></send>\n\
         <recv request=\"ACK\"/>\n<recv request=\"BYE\"/>\n\
         <send><![CDATA[\nSIP/2.0 200 OK\n[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]\nContent-Length: 0\n\n]]></send>\n</scenario>\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sipp_is_rung_and_answers() {
    let Some(sipp) = program("sipp") else { return };
    let (gateway, mut told) = gateway().await;
    let folder = folder("rung");
    std::fs::write(folder.join("callee.xml"), answers()).unwrap();
    let port = free(Ipv4Addr::LOCALHOST.into());
    let mut command = Command::new(sipp);
    command.current_dir(&folder).args(["-sf", "callee.xml", "-i", "127.0.0.1", "-m", "1", "-timeout", "40s", "-nostdin", "-p", &port.to_string()]).env("TERM", "dumb");
    let ends = tokio::task::spawn_blocking(move || command.output());
    // If it is not there yet, the next INVITE of the same call finds it.
    let call = Outgoing {
        to: format!("sip:+12025550142@127.0.0.1:{port}"), from: "sip:+12025550100@127.0.0.1".into(), call_id: "a-call-of-ours".into(), identity: None, ring: LIMIT,
    };
    let rung = gateway.handle().ring(CallKey::random(), &call).unwrap();
    assert_eq!(tokio::time::timeout(LIMIT, rung).await.unwrap().unwrap(), Rung::Answered);
    assert_eq!(next(&mut told).await, "picked up");
    assert_eq!(next(&mut told).await, "Us");
    succeeded(&tokio::time::timeout(LIMIT, ends).await.expect("sipp does not end").unwrap().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sipp_keys_by_info_in_both_ways() {
    let info = |number, kind: &str, body: &str| {
        let asked = send("INFO", number, &format!("Content-Type: {kind}\n"), body, true);
        format!("{asked}<recv response=\"200\"/>\n")
    };
    let middle = [
        info(2, "application/dtmf-relay", "Signal=1\nDuration=160\n"),
        info(3, "application/dtmf-relay", "Signal=2\nDuration=160\n"),
        info(4, "application/dtmf", "2"),
        info(5, "application/dtmf", "#"),
    ];
    for transport in ["u1", "t1"] {
        let (gateway, mut told) = gateway().await;
        let Some(output) = sipp(&format!("info-{transport}"), &middle.concat(), &gateway, &["-t", transport]).await else { return };
        succeeded(&output);
        assert_eq!(next(&mut told).await, "122");
        assert_eq!(next(&mut told).await, "Us");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sipp_keys_by_events_holds_and_updates() {
    let (gateway, mut told) = gateway().await;
    let sdp = "Content-Type: application/sdp\n";
    let hold = format!("{SDP}a=sendonly\n");
    // Recordings that come with it: every press of a key is the same packets with the same numbers.
    let key = |key: u8| format!("<nop><action><exec play_pcap_audio=\"/usr/share/sip-tester/dtmf_2833_{key}.pcap\"/></action></nop>\n<pause milliseconds=\"600\"/>\n");
    let middle = [
        send("OPTIONS", 2, "", "", true) + "<recv response=\"200\"/>\n",
        send("INVITE", 3, sdp, &hold, true) + "<recv response=\"100\" optional=\"true\"/><recv response=\"200\"/>\n" + &send("ACK", 3, "", "", false),
        send("UPDATE", 4, sdp, SDP, true) + "<recv response=\"200\"/>\n",
        send("INFO", 5, "Content-Type: text/plain\n", "hello", true) + "<recv response=\"415\"/>\n",
        // The key that ends the entry is followed by our BYE, not by a rest.
        [4, 7, 1, 1, 0, 0, 9, 9].map(key).concat().trim_end().trim_end_matches("<pause milliseconds=\"600\"/>").to_owned(),
    ];
    let Some(output) = sipp("events", &middle.concat(), &gateway, &[]).await else { return };
    succeeded(&output);
    assert_eq!(next(&mut told).await, "47110099");
    assert_eq!(next(&mut told).await, "Us");
}

/// An address of this machine that is not loopback, which baresip refuses. Nothing is sent for it.
fn here() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("198.51.100.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback())
}

/// Twenty seconds of a tone.
fn wav(hertz: f64) -> Vec<u8> {
    let wave = (0..160_000).map(|n| ((f64::from(n) / 8000.0 * hertz * std::f64::consts::TAU).sin() * 8000.0) as i16);
    let samples: Vec<u8> = wave.flat_map(i16::to_le_bytes).collect();
    let length = (samples.len() as u32).to_le_bytes();
    let head = b"RIFF\xff\xff\xff\x7fWAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data";
    [&head[..], &length, &samples].concat()
}

/// A running baresip, which answers every call and plays a tone of 440 Hz.
struct Baresip {
    child: Child,
    port: u16,
    console: u16,
    log: PathBuf,
}

impl Drop for Baresip {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Baresip {
    fn start(name: &str, codec: &str) -> Option<Self> {
        let program = program("baresip")?;
        let Some(ip) = here() else {
            assert!(std::env::var_os("CI").is_none(), "baresip needs an address that is not loopback, and this is CI");
            println!("skipped: baresip needs an address that is not loopback");
            return None;
        };
        let (port, console, folder) = (free(ip), free(ip), folder(name));
        let modules = ["/usr/lib/baresip/modules", "/usr/local/lib/baresip/modules"].into_iter().find(|path| Path::new(path).is_dir()).expect("baresip without its modules");
        let config = format!(
            "sip_listen {ip}:{port}\naudio_source aufile,{tone}\naudio_player aufile,{out}\naudio_alert aufile,{out}\nausrc_srate 8000\nauplay_srate 8000\n\
             module_path {modules}\nmodule g711.so\nmodule aufile.so\nmodule cons.so\nmodule_tmp account.so\nmodule_app menu.so\n\
             module_app contact.so\ncons_listen 127.0.0.1:{console}\n",
            out = folder.join("heard.wav").display(),
            tone = folder.join("tone.wav").display(),
        );
        std::fs::write(folder.join("tone.wav"), wav(440.0)).unwrap();
        std::fs::write(folder.join("config"), config).unwrap();
        std::fs::write(folder.join("accounts"), format!("<sip:agent@{ip}>;regint=0;answermode=auto;audio_codecs={codec}\n")).unwrap();
        std::fs::write(folder.join("contacts"), "").unwrap();
        let mut command = Command::new(program);
        command.arg("-f").arg(&folder).args(["-t", "60"]).stdin(Stdio::null());
        let log = std::fs::File::create(folder.join("log")).unwrap();
        command.stderr(log.try_clone().unwrap()).stdout(log);
        let baresip = Self { child: command.spawn().unwrap(), port, console, log: folder.join("log") };
        // Its console is the last that is there.
        let until = std::time::Instant::now() + LIMIT;
        while !baresip.has_said("baresip is ready") {
            assert!(std::time::Instant::now() < until, "baresip does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(baresip)
    }

    fn has_said(&self, wanted: &str) -> bool {
        std::fs::read(&self.log).is_ok_and(|log| String::from_utf8_lossy(&log).contains(wanted))
    }

    /// Waits until it has said this.
    async fn says(&self, wanted: &str) {
        let said = async {
            while !self.has_said(wanted) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(LIMIT, said).await.expect("baresip does not say it");
    }

    /// Types this at its console.
    fn types(&self, text: &str) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(text.as_bytes(), ("127.0.0.1", self.console)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn baresip_is_an_agent_in_the_other_law() {
    let Some(baresip) = Baresip::start("agent", "PCMA") else { return };
    let (gateway, mut told) = gateway_at(here().unwrap()).await;
    let phone = Phone::start(PhoneSettings::new(here().unwrap(), "+12025550123")).await.unwrap();
    let line = phone.call(&format!("sip:+12025550100@{}", gateway.address())).await.unwrap();
    assert!(line.until(LIMIT, |ear| ear.hears(500.0)).await);
    assert!(line.press(&format!("*{}#", baresip.port)).await);
    assert_eq!(next(&mut told).await, format!("*{}", baresip.port));
    assert!(line.until(LIMIT, |ear| ear.hears(440.0)).await, "the agent is not heard");
    drop(baresip);
    line.hang_up().await;
    assert_eq!(next(&mut told).await, "Caller");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn baresip_calls_and_keys() {
    let Some(baresip) = Baresip::start("caller", "PCMU") else { return };
    let (gateway, mut told) = gateway_at(here().unwrap()).await;
    baresip.types(&format!("/dial sip:+12025550100@{}\n", gateway.address()));
    baresip.says("Call established").await;
    for key in ["4", "7", "1", "1", "#"] {
        // At the pace of a hand.
        baresip.types(key);
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    assert_eq!(next(&mut told).await, "4711");
    assert_eq!(next(&mut told).await, "Us");
}

/// A Kamailio that passes calls on to a gateway and stays in their way (RFC 3261 §16.6, Record-Route).
struct Kamailio {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        // It ends its processes itself.
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

impl Kamailio {
    fn start(name: &str, gateway: &Gateway) -> Option<Self> {
        let program = program("kamailio")?;
        let modules = std::fs::read_dir("/usr/lib").ok()?.filter_map(|entry| Some(entry.ok()?.path().join("kamailio/modules"))).find(|path| path.is_dir()).expect("Kamailio without its modules");
        let port = free(Ipv4Addr::LOCALHOST.into());
        let folder = folder(name);
        let config = format!(
            "debug=0\nlog_stderror=yes\nchildren=2\ndisable_tcp=yes\nlisten=udp:127.0.0.1:{port}\nmpath=\"{modules}\"\n\
             loadmodule \"tm.so\"\nloadmodule \"sl.so\"\nloadmodule \"rr.so\"\nloadmodule \"pv.so\"\nloadmodule \"xlog.so\"\nloadmodule \"siputils.so\"\nloadmodule \"textops.so\"\n\
             request_route {{\n xlog(\"L_ALERT\", \"passed $rm from $si:$sp\\n\");\n if (has_totag()) {{\n  if (loose_route()) {{ t_relay(); }}\n  exit;\n }}\n\
             if (is_method(\"CANCEL\")) {{ t_relay(); exit; }}\n record_route();\n $du = \"sip:{gateway}\";\n t_relay();\n}}\n\
             event_route[core:worker-one-init] {{\n xlog(\"L_ALERT\", \"it is up\\n\");\n}}\n",
            modules = modules.display(),
            gateway = gateway.address(),
        );
        std::fs::write(folder.join("kamailio.cfg"), config).unwrap();
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let mut command = Command::new(program);
        command.args(["-DD", "-E", "-m", "16", "-M", "4", "-f"]).arg(folder.join("kamailio.cfg")).arg("-Y").arg(&folder).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let kamailio = Self { child: command.spawn().unwrap(), port, log: folder.join("log") };
        let until = std::time::Instant::now() + LIMIT;
        while !kamailio.said().contains("it is up") {
            assert!(std::time::Instant::now() < until, "Kamailio does not start: {}", kamailio.said());
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(kamailio)
    }

    fn said(&self) -> String {
        std::fs::read(&self.log).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sipp_calls_through_a_proxy_that_stays_in_the_way() {
    let (gateway, mut told) = gateway().await;
    let Some(kamailio) = Kamailio::start("proxy", &gateway) else { return };
    let info = |number, body: &str| send("INFO", number, "Content-Type: application/dtmf-relay\n", body, true) + "<recv response=\"200\"/>\n";
    let middle = [info(2, "Signal=4\nDuration=160\n"), info(3, "Signal=7\nDuration=160\n"), info(4, "Signal=#\nDuration=160\n")].concat();
    // Within the dialog every request goes the way that the first one went.
    let routed = |part: &str| if part.contains("[next_url]") { part.replace("Max-Forwards", "[routes]\nMax-Forwards") } else { part.to_owned() };
    let scenario = scenario(&middle).split("<send").map(routed).collect::<Vec<_>>().join("<send");
    let Some(output) = sipp_at("proxied", &scenario, &format!("127.0.0.1:{}", kamailio.port), &[]).await else { return };
    assert!(output.status.success(), "{}\n{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr), kamailio.said());
    assert_eq!(next(&mut told).await, "47");
    assert_eq!(next(&mut told).await, "Us");
    let said = kamailio.said();
    // Our BYE as well.
    let ours = format!("passed BYE from {}", gateway.address());
    for wanted in ["passed INVITE from", "passed ACK from", "passed INFO from", &ours] {
        assert!(said.contains(wanted), "{wanted:?} is not in\n{said}");
    }
}
