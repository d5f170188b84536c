//! Signed numbers: what somebody could make of a server that fetches what a stranger's header names, and
//! of signatures that are somebody else's.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use countersign_core::{call::Event, id::CallId, risk::Verstat, time::Span};
use countersign_server::stir::{Signed, Stir, fetch::{Fetcher, Instead, Limits}};
use countersign_stir::{Address, Attest, Original, Settings, Signer};
use rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::{CertificateDer, PrivatePkcs8KeyDer}};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::signing::{Certificate, DAY, Key, NOW, ORIGID, World as Ca, der, n};
use crate::common::{
    Setup, World,
    lines::{ATTESTATION, jambonz_event, of_http, of_jambonz},
    pages::send,
    people::{ANA_LINE, LIAM_LINE},
    phone::Phone,
    sip::{self, CENTER, Gate},
};

const HOST: &str = "certs.example.org";
const GOOD: &str = "https://certs.example.org/sp.pem";

/// What is at a path.
#[derive(Clone)]
enum Page {
    Body(Vec<u8>),
    Redirect(&'static str),
    /// As much as anybody reads.
    Endless,
    /// A byte, and nothing more.
    Slow,
}

/// A server for certificates, on this machine, with what was asked of it.
#[derive(Clone)]
struct Server {
    pages: Arc<Mutex<HashMap<String, Page>>>,
    asked: Arc<Mutex<Vec<String>>>,
    sent: Arc<Mutex<usize>>,
    at: std::net::SocketAddr,
    root: Vec<u8>,
}

impl Server {
    async fn start() -> Self {
        let (root_key, key) = (Key::new(), Key::new());
        // Judged by the machine's own clock, unlike everything else here.
        let (from, until) = (NOW - 1000 * DAY, NOW + 20 * 365 * DAY);
        let root = Certificate { from, until, ..Certificate::root() }.issue(&root_key, &root_key);
        let names = der::sequence(&[HOST, "evil.example.com"].map(|name| der::tlv(0x82, name.as_bytes())));
        let leaf = Certificate { subject: HOST, issuer: "Test Root", from, until, policy: None, numbers: None, more: vec![der::extension("2.5.29.17", false, &names)], ..Certificate::provider() };
        let chain = vec![CertificateDer::from(leaf.issue(&key, &root_key))];
        let private = PrivatePkcs8KeyDer::from(key.pkcs8().to_vec());
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider())).with_safe_default_protocol_versions().unwrap()
            .with_no_client_auth().with_single_cert(chain, private.into()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { pages: Arc::default(), asked: Arc::default(), sent: Arc::default(), at: listener.local_addr().unwrap(), root };
        let (here, tls) = (server.clone(), TlsAcceptor::from(Arc::new(config)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (here, tls) = (here.clone(), tls.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = tls.accept(stream).await {
                        here.serve(stream).await;
                    }
                });
            }
        });
        server
    }

    async fn serve(self, mut stream: tokio_rustls::server::TlsStream<tokio::net::TcpStream>) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let path = String::from_utf8_lossy(&head).split(' ').nth(1).unwrap_or_default().to_owned();
        self.asked.lock().unwrap().push(path.clone());
        let page = self.pages.lock().unwrap().get(&path).cloned();
        let _ = match page {
            Some(Page::Body(body)) => {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                stream.write_all(&[head.into_bytes(), body].concat()).await
            }
            Some(Page::Redirect(to)) => stream.write_all(format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await,
            Some(Page::Slow) => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n-").await;
                let _ = stream.flush().await;
                std::future::pending().await
            }
            Some(Page::Endless) => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await;
                while stream.write_all(&[b'-'; 4096]).await.is_ok() {
                    *self.sent.lock().unwrap() += 4096;
                }
                return;
            }
            None => stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await,
        };
        let _ = stream.shutdown().await;
    }

    fn puts(&self, path: &str, page: Page) { self.pages.lock().unwrap().insert(path.to_owned(), page); }
    fn asked(&self) -> usize { self.asked.lock().unwrap().len() }
}

/// An authority, the server with its certificates, and whoever checks.
struct Scene {
    ca: Ca,
    server: Server,
    stir: Arc<Stir>,
}

impl Scene {
    async fn new() -> Self { Self::with(Limits::default(), Duration::from_secs(10)).await }

    async fn with(limits: Limits, patience: Duration) -> Self {
        let (ca, server) = (Ca::new(), Server::start().await);
        server.puts("/sp.pem", Page::Body(ca.found.values().next().unwrap().clone()));
        let names = [HOST, "evil.example.com"].map(|name| (name.to_owned(), server.at)).into();
        let fetcher = Fetcher::in_a_test(limits, Instead { names, root: server.root.clone() }).unwrap();
        let stir = Arc::new(Stir::new(Settings::new(ca.roots()), fetcher, patience));
        Self { ca, server, stir }
    }

    async fn world(&self) -> World { World::with(Setup { stir: Some(self.stir.clone()), ..Setup::default() }).await }

    /// An Identity header for a call from Ana to us, now.
    fn header(&self, world: &World, attest: Attest, x5u: &str) -> String { self.about(world, attest, x5u, ANA_LINE, 0) }

    fn about(&self, world: &World, attest: Attest, x5u: &str, orig: &str, age: i64) -> String {
        let signer = Signer::read(&self.ca.provider.pem(), Address::read(x5u).unwrap()).unwrap();
        let (orig, dest) = (n(&orig[1..]), [n(&CENTER[1..])]);
        let iat = u64::try_from(world.now().unix() - age).unwrap();
        signer.original(&Original { attest, orig: &orig, dest: &dest, iat, origid: ORIGID }).unwrap()
    }

    async fn check(&self, world: &World, of: &str, identity: Vec<String>) -> Verstat {
        self.stir.check(&world.app.runner, Signed { of: of.into(), identity, orig: ANA_LINE.into(), dest: CENTER.into() }).await
    }
}

#[tokio::test]
async fn a_signed_number_counts_by_its_grade_and_its_certificate_is_fetched_once() {
    let scene = Scene::new().await;
    let world = scene.world().await;
    for (attest, verstat) in [(Attest::A, Verstat::PassedA), (Attest::B, Verstat::PassedB), (Attest::C, Verstat::PassedC)] {
        world.pass(Span::seconds(1));
        assert_eq!(scene.check(&world, attest.as_str(), vec![scene.header(&world, attest, GOOD)]).await, verstat);
    }
    assert_eq!(scene.check(&world, "none", vec![]).await, Verstat::None);
    assert_eq!(*scene.server.asked.lock().unwrap(), ["/sp.pem"]);
    let metrics = world.metrics().await;
    assert!(metrics.contains(r#"countersign_signatures_total{name="a"} 1"#) && metrics.contains(r#"{name="unsigned"} 1"#), "{metrics}");
}

#[tokio::test]
async fn a_copied_token_passes_with_no_other_call_on_any_node() {
    let scene = Scene::new().await;
    let world = scene.world().await;
    let header = || vec![scene.header(&world, Attest::A, GOOD)];
    let copied = header();
    assert_eq!(scene.check(&world, "first", copied.clone()).await, Verstat::PassedA);
    // The same call says it again: a webhook that is repeated.
    assert_eq!(scene.check(&world, "first", copied.clone()).await, Verstat::PassedA);
    assert_eq!(scene.check(&world, "second", copied.clone()).await, Verstat::Failed);
    // Signed once more in the same second, it is the same call to the standard.
    assert_eq!(scene.check(&world, "third", header()).await, Verstat::Failed);
    assert_eq!(scene.check(&world.sibling().await, "elsewhere", copied.clone()).await, Verstat::Failed);
    world.pass(Span::seconds(61));
    assert_eq!(scene.check(&world, "late", copied).await, Verstat::Failed);
}

#[tokio::test]
async fn what_is_about_another_call_does_not_count() {
    let scene = Scene::new().await;
    let world = scene.world().await;
    for (what, header) in [
        ("stale", scene.about(&world, Attest::A, GOOD, ANA_LINE, 61)),
        ("of the future", scene.about(&world, Attest::A, GOOD, ANA_LINE, -61)),
        ("another's", scene.about(&world, Attest::A, GOOD, LIAM_LINE, 0)),
        ("junk", "a.b.c;info=<https://certs.example.org/sp.pem>;alg=ES256;ppt=shaken".into()),
    ] {
        assert_eq!(scene.check(&world, what, vec![header]).await, Verstat::Failed, "{what}");
    }
    let elsewhere = Signed { of: "dest".into(), identity: vec![scene.header(&world, Attest::A, GOOD)], orig: ANA_LINE.into(), dest: "+12025550101".into() };
    assert_eq!(scene.stir.check(&world.app.runner, elsewhere).await, Verstat::Failed);
    // One good header does not make up for others, and a hundred are not looked at.
    let good = scene.header(&world, Attest::A, GOOD);
    assert_eq!(scene.check(&world, "both", vec![good.clone(), scene.about(&world, Attest::A, GOOD, LIAM_LINE, 0)]).await, Verstat::Failed);
    assert_eq!(scene.check(&world, "many", vec![good; 100]).await, Verstat::Failed);
}

#[tokio::test]
async fn nothing_inside_is_ever_asked() {
    let scene = Scene::new().await;
    let world = scene.world().await;
    let port = scene.server.at.port();
    for x5u in [
        "https://127.0.0.1/sp.pem", "https://169.254.169.254/latest/meta-data", "https://[::1]/sp.pem", "https://[::ffff:127.0.0.1]/sp.pem", "https://10.0.0.1/x", "https://2130706433/x",
        "https://localhost/sp.pem", "https://metadata.google.internal/x", "https://db.corp/x", "http://certs.example.org/sp.pem", "file:///etc/passwd", "https://user@certs.example.org/sp.pem",
        "https://certs.example.org/sp.pem?x=1", "https://certs.example.org:80/sp.pem", &format!("https://certs.example.org:{port}/sp.pem"), "https://certs.example.org\\@127.0.0.1/x", "",
    ] {
        let head = format!(r#"{{"alg":"ES256","ppt":"shaken","typ":"passport","x5u":"{}"}}"#, x5u.replace('\\', "\\\\"));
        let payload = format!(r#"{{"attest":"A","dest":{{"tn":["{}"]}},"iat":{},"orig":{{"tn":"{}"}},"origid":"{ORIGID}"}}"#, &CENTER[1..], world.now().unix(), &ANA_LINE[1..]);
        let header = format!("{};info=<{x5u}>;alg=ES256;ppt=shaken", scene.ca.token(&head, &payload));
        assert_eq!(scene.check(&world, x5u, vec![header]).await, Verstat::Failed, "{x5u}");
    }
    assert_eq!(scene.server.asked(), 0);
}

#[tokio::test]
async fn a_server_that_plays_games_is_left_alone() {
    let scene = Scene::with(Limits { timeout: Duration::from_secs(3), ..Limits::default() }, Duration::from_secs(10)).await;
    let world = scene.world().await;
    scene.server.puts("/away", Page::Redirect(GOOD));
    scene.server.puts("/inside", Page::Redirect("https://127.0.0.1/"));
    scene.server.puts("/endless", Page::Endless);
    scene.server.puts("/huge", Page::Body(vec![b'-'; 65 * 1024]));
    scene.server.puts("/slow", Page::Slow);
    for path in ["away", "inside", "endless", "huge", "slow", "not-there"] {
        let header = scene.header(&world, Attest::A, &format!("https://{HOST}/{path}"));
        assert_eq!(scene.check(&world, path, vec![header.clone()]).await, Verstat::Unchecked, "{path}");
        // Once more, within the minute: it is not asked again.
        assert_eq!(scene.check(&world, path, vec![header]).await, Verstat::Unchecked, "{path}");
    }
    assert_eq!(*scene.server.asked.lock().unwrap(), ["/away", "/inside", "/endless", "/huge", "/slow", "/not-there"]);
    assert!(*scene.server.sent.lock().unwrap() < 64 << 20, "what is endless was read on and on");
    // A chain of hundreds of certificates is read to its limit, and is no chain.
    let chain = scene.ca.found.values().next().unwrap().repeat(60);
    scene.server.puts("/chain", Page::Body(chain[..chain.len().min(64 * 1024)].to_vec()));
    let began = Instant::now();
    assert_ne!(scene.check(&world, "chain", vec![scene.header(&world, Attest::A, &format!("https://{HOST}/chain"))]).await, Verstat::PassedA);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn nobody_waits_longer_than_said_and_a_slow_certificate_is_asked_for_once() {
    let scene = Scene::with(Limits { timeout: Duration::from_secs(5), ..Limits::default() }, Duration::from_millis(200)).await;
    let world = scene.world().await;
    scene.server.puts("/slow", Page::Slow);
    let header = scene.header(&world, Attest::A, &format!("https://{HOST}/slow"));
    let began = Instant::now();
    const NAMES: [&str; 6] = ["1", "2", "3", "4", "5", "6"];
    let calls = (0..6).map(|n| scene.check(&world, NAMES[n], vec![header.clone()]));
    let found = futures_util::future::join_all(calls).await;
    assert!(found.iter().all(|verstat| *verstat == Verstat::Unchecked), "{found:?}");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    let asked = async {
        while scene.server.asked() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), asked).await.unwrap();
    assert_eq!(scene.server.asked(), 1);
}

#[tokio::test]
async fn a_thousand_addresses_are_not_a_thousand_requests_and_keep_nobody_out() {
    let scene = Scene::with(Limits { per_minute: 20, ..Limits::default() }, Duration::from_secs(10)).await;
    let world = scene.world().await;
    assert_eq!(scene.check(&world, "good", vec![scene.header(&world, Attest::A, GOOD)]).await, Verstat::PassedA);
    for n in 0..1000 {
        let header = scene.header(&world, Attest::A, &format!("https://evil.example.com/{n}"));
        assert_eq!(scene.check(&world, "evil", vec![header]).await, Verstat::Unchecked);
    }
    assert!(scene.server.asked() <= 21, "{}", scene.server.asked());
    // Whoever was good before is asked all the same.
    world.pass(Span::seconds(1));
    scene.server.puts("/next.pem", Page::Body(scene.ca.found.values().next().unwrap().clone()));
    let header = scene.header(&world, Attest::A, &format!("https://{HOST}/next.pem"));
    assert_eq!(scene.check(&world, "next", vec![header]).await, Verstat::PassedA);
}

/// The grade on record of the call that comes next.
async fn recorded(gate: &mut Gate) -> Verstat {
    let id = gate.began().await;
    match &gate.world.events(id).await[0] {
        Event::Started { verstat, .. } => *verstat,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_by_sip_has_its_signature_on_record() {
    let scene = Scene::with(Limits { timeout: Duration::from_secs(5), ..Limits::default() }, Duration::from_secs(3)).await;
    let world = scene.world().await;
    let mut gate = Gate::open(&world).await;
    let ana = sip::phone(ANA_LINE).await;
    let identity = |headers: Vec<String>| headers.into_iter().map(|value| ("Identity".to_owned(), value)).collect::<Vec<_>>();
    let good = scene.header(&world, Attest::A, GOOD);
    let call = ana.dial(&gate.uri(), identity(vec![good.clone()])).unwrap().answered().await.unwrap();
    assert_eq!(recorded(&mut gate).await, Verstat::PassedA);
    call.hang_up().await;
    // The same header with a call of one's own, from the same number.
    let thief = sip::phone(ANA_LINE).await;
    let call = thief.dial(&gate.uri(), identity(vec![good])).unwrap().answered().await.unwrap();
    assert_eq!(recorded(&mut gate).await, Verstat::Failed);
    call.hang_up().await;
    // With an extension in the request, `To` counts among our own numbers: here there is none in it.
    world.pass(Span::seconds(1));
    let extension = gate.uri().replace(CENTER, "100");
    let call = ana.dial(&extension, identity(vec![scene.header(&world, Attest::A, GOOD)])).unwrap().answered().await.unwrap();
    assert_eq!(recorded(&mut gate).await, Verstat::Failed);
    call.hang_up().await;
    // A good one in front of fifteen others does not hide them.
    world.pass(Span::seconds(1));
    let mut many = vec![scene.header(&world, Attest::A, GOOD)];
    many.resize(16, "a.b.c;info=<https://certs.example.org/sp.pem>;ppt=rph".into());
    let call = ana.dial(&gate.uri(), identity(many)).unwrap().answered().await.unwrap();
    assert_eq!(recorded(&mut gate).await, Verstat::Failed);
    call.hang_up().await;
    // A certificate that does not come: the caller is answered all the same.
    scene.server.puts("/slow", Page::Slow);
    let call = ana.dial(&gate.uri(), identity(vec![scene.header(&world, Attest::A, &format!("https://{HOST}/slow"))])).unwrap().answered().await.unwrap();
    assert_eq!(recorded(&mut gate).await, Verstat::Unchecked);
    call.hang_up().await;
    // Nobody signs for a number that is not shown.
    let withheld = sip::phone("anonymous").await;
    let call = withheld.dial(&gate.uri(), identity(vec![scene.header(&world, Attest::A, GOOD)])).unwrap().answered().await.unwrap();
    assert_eq!(recorded(&mut gate).await, Verstat::None);
    call.hang_up().await;
    gate.gateway.stop().await;
}

#[tokio::test]
async fn a_token_beside_a_vendors_word_only_lowers_it() {
    let scene = Scene::new().await;
    let world = scene.world().await;
    let token = |header: String| header.split(';').next().unwrap().to_owned();
    let a = "TN-Validation-Passed-A";
    for (what, theirs, sent, verstat) in [
        ("none", a, String::new(), Verstat::PassedA),
        ("junk", a, "x.y.z".into(), Verstat::PassedA),
        ("theirs none", "No-TN-Validation", token(scene.header(&world, Attest::A, GOOD)), Verstat::None),
        ("another's", a, token(scene.about(&world, Attest::A, GOOD, LIAM_LINE, 0)), Verstat::Failed),
        ("stale", a, token(scene.about(&world, Attest::A, GOOD, ANA_LINE, 90)), Verstat::Failed),
    ] {
        let mut phone = Phone::new(&world, Some(ANA_LINE), theirs);
        phone.begins(&[("StirPassportToken", &sent)]).await;
        let Event::Started { verstat: found, .. } = &world.events(phone.id).await[0] else { panic!() };
        assert_eq!(*found, verstat, "{what}");
    }
    world.pass(Span::seconds(2));
    let lower = token(scene.header(&world, Attest::C, GOOD));
    let mut phone = Phone::new(&world, Some(ANA_LINE), a);
    phone.begins(&[("StirPassportToken", &lower)]).await;
    let Event::Started { verstat: found, .. } = &world.events(phone.id).await[0] else { panic!() };
    assert_eq!(*found, Verstat::PassedC);
}

/// A telephone system that passes the headers on need not be believed: they are checked here. Beside its own word the
/// lower of the two counts.
#[tokio::test]
async fn signatures_that_a_webhook_passes_on_are_checked_here() {
    let scene = Scene::new().await;
    let world = scene.world().await;
    let found = async |id: CallId| {
        let Event::Started { verstat, .. } = &world.events(id).await[0] else { panic!() };
        *verstat
    };
    let index = &world.app.runner.vault.index;
    for (n, (what, attestation, identity, verstat)) in [
        ("signed", Value::Null, vec![(Attest::A, GOOD, ANA_LINE)], Verstat::PassedA),
        ("weaker than their word", json!("A"), vec![(Attest::C, GOOD, ANA_LINE)], Verstat::PassedC),
        ("their word is weaker", json!("C"), vec![(Attest::A, GOOD, ANA_LINE)], Verstat::PassedC),
        ("another's", Value::Null, vec![(Attest::A, GOOD, LIAM_LINE)], Verstat::Failed),
        ("another's beside their word", json!("A"), vec![(Attest::A, GOOD, LIAM_LINE)], Verstat::Failed),
        ("not to be had", json!("B"), vec![(Attest::A, "https://certs.example.org/none.pem", ANA_LINE)], Verstat::PassedB),
        ("not to be had, and no word", Value::Null, vec![(Attest::A, "https://certs.example.org/none.pem", ANA_LINE)], Verstat::None),
        ("none", Value::Null, vec![], Verstat::None),
    ].into_iter().enumerate() {
        world.pass(Span::seconds(1));
        let identity: Vec<String> = identity.into_iter().map(|(attest, x5u, orig)| scene.about(&world, attest, x5u, orig, 0)).collect();
        let call = format!("gw-{n}");
        let event = json!({ "event": "started", "call": call, "from": ANA_LINE, "to": CENTER, "attestation": attestation, "identity": identity });
        send(&world.router, of_http(&world.house(), world.now(), &event)).await.ok();
        assert_eq!(found(CallId(index.blind("http", &call).0)).await, verstat, "{what}");
    }
    let page = send(&world.router, of_http(&world.house(), world.now(), &json!({ "event": "started", "call": "many", "from": ANA_LINE, "to": CENTER, "identity": vec!["x"; 13] }))).await;
    page.is(400);
    // jambonz passes on the headers of the INVITE.
    for (n, (headers, verstat)) in [
        (json!({ "Identity": scene.header(&world, Attest::B, GOOD) }), Verstat::PassedB),
        // Two that hold, of which the weaker counts, in one text.
        (json!({ "y": format!("{}, {}", scene.about(&world, Attest::A, GOOD, ANA_LINE, 1), scene.about(&world, Attest::C, GOOD, ANA_LINE, 2)) }), Verstat::PassedC),
        (json!({ "identity": [scene.about(&world, Attest::A, GOOD, LIAM_LINE, 0)], ATTESTATION: "<sip:x@example.com>;verstat=TN-Validation-Passed-A" }), Verstat::Failed),
        (json!({ ATTESTATION: "<sip:x@example.com>;verstat=TN-Validation-Passed-A" }), Verstat::PassedA),
    ].into_iter().enumerate() {
        let sid = format!("0a1b2c3d-0000-4000-8000-{n:012}");
        let event = jambonz_event(&sid, &json!({ "call_status": "ringing", "sip": { "headers": headers } }));
        send(&world.router, of_jambonz(&world.house(), world.now(), "/jambonz/call", &event)).await.ok();
        assert_eq!(found(CallId(index.blind("jambonz", &sid).0)).await, verstat, "{event}");
    }
}
