//! Calls over the SIP adapter that do not go as they should, calls that we make, and recorders.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::{HeaderMap, StatusCode}, routing::post};
use countersign_core::{id::{CallId, MessageId}, prompt::Lang, secret::{E164, Secret}, time::Span};
use countersign_server::{
    outbox::{Outbox, http::{SIGNATURE, signature}, provider::{Channel, Outgoing, Provider, Sent, reason}},
    recording::{Hook, OnFailure, Recorder},
    stir::config::Signs,
    telephony::sip::out::{Out, Rings},
};
use countersign_sip::{
    Answer, CallKey, Ended, Flow, Incoming, Step, Steps, Transport, Trunk,
    caller::{Phone, PhoneSettings},
};
use countersign_stir::{Address, Call, Settings as Trusted, Step as Checked, Verifier};
use serde_json::Value;
use tokio::{net::UdpSocket, sync::Semaphore, time::timeout};

use super::signing::World as Ca;
use crate::common::{
    Setup, World,
    people::*,
    portal::Portal,
    sip::{CENTER, Gate, HERE, LIMIT, phone},
};

/// A call that has no sound: what the gateway would say of it.
fn incoming(from: &str) -> Incoming {
    Incoming {
        key: CallKey::random(), from: from.into(), asserted: Vec::new(), to: CENTER.into(), target: CENTER.into(), identity: Vec::new(), privacy: None,
        call_id: "a-call-id".into(), source: SocketAddr::new(HERE, 5060), transport: Transport::Udp, user: None,
    }
}

fn asks_secret(steps: &Steps) -> bool { steps.list.iter().any(|step| matches!(step, Step::Gather(gather) if gather.secret)) }

fn holds(steps: &Steps) -> bool { steps.list.iter().any(|step| matches!(step, Step::Wait(_))) }

async fn begin(gate: &Gate, call: &Incoming) -> Steps {
    match gate.sip.incoming(call).await {
        Answer::Accept(steps) => steps,
        Answer::Reject(code) => panic!("refused with {code}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_line_loses_no_key() {
    let world = World::new().await;
    let mut gate = Gate::open(&world).await;
    let ana = Phone::start(PhoneSettings { bad_line: Some(7), ..PhoneSettings::new(HERE, ANA_LINE) }).await.unwrap();
    let line = ana.call(&gate.uri()).await.unwrap();
    let id = gate.began().await;
    assert!(line.press("2").await);
    gate.tells(id, "Asked for PIN").await;
    assert!(line.press("4071#").await);
    gate.tells(id, "Proved: PIN").await;
    assert!(line.press("1").await);
    gate.tells(id, "Waits for").await;
    line.hang_up().await;
    gate.tells(id, "The caller hung up").await;
    let metrics = world.metrics().await;
    let of = |name: &str| {
        let (_, rest) = metrics.split_once(&format!("countersign_sip{{name=\"{name}\"}} ")).unwrap_or_else(|| panic!("no {name} in {metrics}"));
        rest.lines().next().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!((of("keys"), of("refused"), of("agents_joined")), (7, 0, 0));
    assert!(of("packets_lost") > 0, "nothing was lost on a bad line");
    assert!(!metrics.contains("2025550142"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_telephone_without_events_keys_by_info() {
    let world = World::new().await;
    let mut gate = Gate::open(&world).await;
    let ana = Phone::start(PhoneSettings { events: false, ..PhoneSettings::new(HERE, ANA_LINE) }).await.unwrap();
    let line = ana.call(&gate.uri()).await.unwrap();
    let id = gate.began().await;
    assert!(!line.press("2").await, "events were agreed on");
    assert_eq!(line.info("application/dtmf-relay", "Signal=2\r\nDuration=160\r\n").await, 200);
    gate.tells(id, "Asked for PIN").await;
    for key in ["4", "0", "7", "1", "#"] {
        assert_eq!(line.info("application/dtmf-relay", &format!("Signal={key}\r\nDuration=160\r\n")).await, 200);
    }
    gate.tells(id, "Proved: PIN").await;
    line.hang_up().await;
    gate.tells(id, "The caller hung up").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_come_too_early_are_not_lost() {
    let world = World::new().await;
    let mut gate = Gate::open(&world).await;
    let ana = phone(ANA_LINE).await;
    let line = ana.call(&gate.uri()).await.unwrap();
    let id = gate.began().await;
    // In one go, before anything was asked.
    assert!(line.press("24071#").await);
    gate.tells(id, "Proved: PIN").await;
    // In the middle of the next prompt the line goes dead.
    drop(line);
    gate.tells(id, "The caller hung up").await;
}

/// A telephone with no keys at all, or nobody who presses any: they hear it, and reach a person.
#[tokio::test]
async fn whoever_presses_nothing_reaches_a_person() {
    let world = World::new().await;
    let gate = Gate::open(&world).await;
    let robin = world.robin().await;
    for number in [ANA_LINE, STRANGER, "anonymous"] {
        let call = incoming(if number == "anonymous" { "" } else { number });
        let mut steps = begin(&gate, &call).await;
        let mut silences = 0;
        while !holds(&steps) {
            assert!(steps.list.iter().any(|step| matches!(step, Step::Play(_))), "nothing is to be heard");
            silences += 1;
            assert!(silences < 15, "{number} is asked on and on: {steps:?}");
            steps = gate.sip.no_keys(&call.key).await.unwrap();
        }
        assert!(robin.queue().await.body.contains("data-call="), "{number} waits for nobody");
        gate.sip.hung_up(&call.key, Ended::Caller).await;
        assert!(!robin.queue().await.body.contains("data-call="));
    }
}

/// Only what the network asserts is believed where it asserts anything, and only if it is one number.
#[tokio::test]
async fn the_callers_own_word_does_not_beat_what_the_network_asserts() {
    let world = World::new().await;
    let gate = Gate::open(&world).await;
    let taken_for = async |from: &str, asserted: &[&str]| {
        let call = Incoming { asserted: asserted.iter().map(|text| (*text).to_owned()).collect(), ..incoming(from) };
        begin(&gate, &call).await;
        let id = gate.sip.call_of("a-call-id").unwrap();
        let account = world.app.runner.call(id).await.unwrap().unwrap().call.subject.is_some();
        gate.sip.hung_up(&call.key, Ended::Caller).await;
        account
    };
    assert!(taken_for(ANA_LINE, &[]).await, "nobody asserts anything");
    assert!(taken_for(STRANGER, &[ANA_LINE]).await);
    assert!(taken_for(STRANGER, &[ANA_LINE, "+1-202-555-0142"]).await, "the same number twice");
    for asserted in [&[STRANGER][..], &[STRANGER, ANA_LINE], &[ANA_LINE, STRANGER], &[ANA_LINE, ""], &["", ANA_LINE], &[""], &["4711"], &[ANA_LINE, "4711"]] {
        assert!(!taken_for(ANA_LINE, asserted).await, "{asserted:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_whose_telephone_nobody_answers_loses_no_caller() {
    let world = World::new().await;
    let desk = Phone::start(PhoneSettings { answers: 180, ..PhoneSettings::new(HERE, "desk") }).await.unwrap();
    let phones = HashMap::from([("Robin".to_owned(), desk.uri())]);
    let mut gate = Gate::staffed(&world, None, phones, |settings| settings.ring = Duration::from_secs(4)).await;
    let mut robin = world.robin().await;
    let ana = phone(ANA_LINE).await;
    let line = ana.call(&gate.uri()).await.unwrap();
    let id = gate.began().await;
    assert!(line.press("24071#1").await);
    gate.tells(id, "Waits for").await;
    robin.call = id;
    robin.act("accept", &[]).await.ok();
    // The agent's leg comes and goes; the caller is still there, with music.
    let legs = async |wanted: usize| {
        while gate.gateway.figures().dialogs != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, legs(2)).await.expect("the agent's telephone does not ring");
    timeout(LIMIT, legs(1)).await.expect("the agent's telephone rings on and on");
    line.forget();
    assert!(line.until(LIMIT, |ear| ear.sound > 1000).await, "the caller hears nothing");
    robin.panel().await.ok().shows("Robin (agent) took the call.");
    robin.end().await.ok();
    assert!(line.ends(LIMIT).await);
    gate.tells(id, "ended the call").await;
}

// ── Calls that we make ───────────────────────────────────────────────────────────────────────────

fn out(at: impl std::fmt::Display) -> Out {
    Out { to: format!("sip:{{number}}@{at}"), from: E164::parse(CENTER).unwrap(), ring: Duration::from_secs(20), signs: None, room: Arc::new(Semaphore::new(10)) }
}

fn host(phone: &Phone) -> String { phone.uri().split_once('@').unwrap().1.to_owned() }

/// Chidi asks in the portal to be rung; the call and the key that the portal shows.
async fn asks_to_be_rung(gate: &mut Gate) -> (Portal, CallId) {
    let chidi = Portal::enter(&gate.world, "10004713").await;
    let contact = chidi.home().await.body.split("name=\"contact\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert_eq!(chidi.post("/me/call-me", &[("contact", &contact)]).await.header("location"), "/me?done=rings");
    (chidi, gate.began().await)
}

fn outbox(gate: &Gate) -> Outbox { Outbox::new(gate.world.app.runner.clone(), gate.world.app.texts.clone(), vec![Arc::new(Rings(gate.sip.clone()))]) }

async fn by_sip() -> World { World::with(Setup { by_sip: true, ..Setup::default() }).await }

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_is_rung_by_sip_and_proves_with_the_key() {
    let world = by_sip().await;
    let handset = phone(CHIDI_LINE).await;
    let mut gate = Gate::with(&world, Some(out(host(&handset))), |_| {}).await;
    let (chidi, id) = asks_to_be_rung(&mut gate).await;
    let live = chidi.get("/me/live").await;
    let key = live.body.split("Press the key </span>").nth(1).unwrap().split('<').next().unwrap().to_owned();
    outbox(&gate).flush().await.unwrap();
    let line = timeout(LIMIT, handset.taken()).await.unwrap().unwrap();
    gate.tells(id, "Somebody answered").await;
    assert!(line.press(&key).await);
    gate.tells(id, "Proved: rung back.").await;
    assert!(line.press("2").await);
    gate.tells(id, "Waits for").await;
    line.hang_up().await;
    gate.tells(id, "The caller hung up").await;
    // Nobody is rung a second time for the same call.
    world.pass(Span::minutes(5));
    outbox(&gate).flush().await.unwrap();
    assert!(timeout(Duration::from_millis(100), handset.taken()).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_busy_declines_or_does_not_answer_is_on_record_as_not_reached() {
    for answers in [486, 603, 180] {
        let world = by_sip().await;
        let handset = Phone::start(PhoneSettings { answers, ..PhoneSettings::new(HERE, CHIDI_LINE) }).await.unwrap();
        let out = Out { ring: Duration::from_millis(300), ..out(host(&handset)) };
        let room = out.room.clone();
        let mut gate = Gate::with(&world, Some(out), |_| {}).await;
        let (chidi, id) = asks_to_be_rung(&mut gate).await;
        outbox(&gate).flush().await.unwrap();
        gate.tells(id, "the customer was not reached").await;
        let legs = async {
            while gate.gateway.figures().dialogs > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LIMIT, legs).await.expect("it rings on and on");
        assert_eq!(room.available_permits(), 10, "a call that is over takes room");
        chidi.home().await.ok();
    }
}

/// The other end of a trunk that says what a test wants: takes INVITEs, and answers with a status line.
struct Trunkline(UdpSocket);

impl Trunkline {
    async fn start() -> Self { Self(UdpSocket::bind((HERE, 0)).await.unwrap()) }

    fn at(&self) -> SocketAddr { self.0.local_addr().unwrap() }

    /// The next request of this method, and whence it came.
    async fn next(&self, method: &str) -> (String, SocketAddr) {
        let mut bytes = vec![0; 65_535];
        loop {
            let (length, from) = timeout(LIMIT, self.0.recv_from(&mut bytes)).await.expect("nothing came").unwrap();
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if text.starts_with(&format!("{method} ")) {
                return (text, from);
            }
        }
    }

    async fn answer(&self, request: &str, to: SocketAddr, status: &str, more: &str) {
        let kept: String = request.lines().filter(|line| ["via:", "from:", "call-id:", "cseq:"].iter().any(|name| line.to_ascii_lowercase().starts_with(name))).map(|line| format!("{line}\r\n")).collect();
        let to_line = request.lines().find(|line| line.to_ascii_lowercase().starts_with("to:")).unwrap();
        let answer = format!("SIP/2.0 {status}\r\n{kept}{to_line};tag=far\r\n{more}Content-Length: 0\r\n\r\n");
        self.0.send_to(answer.as_bytes(), to).await.unwrap();
    }
}

fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request.lines().find_map(|line| line.split_once(':').filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_out_is_signed_and_gives_its_password_once() {
    let (world, trunk, ca) = (by_sip().await, Trunkline::start().await, Ca::new());
    let signer = countersign_stir::Signer::read(&ca.provider.pem(), Address::read("https://certs.example.org/sp.pem").unwrap()).unwrap();
    let signs = Signs::new(signer, vec![E164::parse(CENTER).unwrap()], "6513270e-269e-4d37-b2a7-4de452e6b438".into());
    let registrar = format!("sip:{}", trunk.at());
    let mut gate = Gate::with(&world, Some(Out { signs: Some(signs), ..out(trunk.at()) }), |settings| {
        settings.trunk = Some(Trunk { registrar, user: "countersign".into(), password: "a password".into(), expires: Duration::from_secs(300) });
    }).await;
    let (_, id) = asks_to_be_rung(&mut gate).await;
    outbox(&gate).flush().await.unwrap();
    let (first, from) = trunk.next("INVITE").await;
    assert!(first.starts_with(&format!("INVITE sip:{CHIDI_LINE}@{} SIP/2.0\r\n", trunk.at())), "{first}");
    assert!(header(&first, "From").unwrap().contains(CENTER) && !first.contains("a password") && header(&first, "Proxy-Authorization").is_none());
    // What others make of the signature.
    let identity = [header(&first, "Identity").unwrap()];
    let verifier = Verifier::new(Trusted::new(ca.roots()));
    let now = u64::try_from(world.now().unix()).unwrap();
    let call = Call { identity: &identity, orig: CENTER, dest: CHIDI_LINE, known: None };
    let Checked::Fetch(pending) = verifier.begin(&call, now) else { panic!("refused at once") };
    let Checked::Done(verdict) = verifier.resume(pending, Ok(ca.found.values().next().unwrap()), now) else { panic!() };
    assert_eq!(verdict.verstat.as_str(), "TN-Validation-Passed-A");
    trunk.answer(&first, from, "407 Proxy Authentication Required", "Proxy-Authenticate: Digest realm=\"trunk\", nonce=\"abc\", algorithm=MD5\r\n").await;
    let second = loop {
        let (request, _) = trunk.next("INVITE").await;
        if header(&request, "CSeq") != header(&first, "CSeq") {
            break request;
        }
    };
    let given = header(&second, "Proxy-Authorization").expect("no password was given");
    assert!(given.contains("username=\"countersign\"") && given.contains("response=\"") && header(&second, "Identity").is_some());
    trunk.answer(&second, from, "486 Busy Here", "").await;
    gate.tells(id, "the customer was not reached").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trunk_that_says_nothing_is_not_asked_twice() {
    let (world, trunk) = (by_sip().await, Trunkline::start().await);
    let mut gate = Gate::with(&world, Some(out(trunk.at())), |settings| settings.t1 = Duration::from_millis(15)).await;
    let (_, id) = asks_to_be_rung(&mut gate).await;
    outbox(&gate).flush().await.unwrap();
    let (first, _) = trunk.next("INVITE").await;
    // A number that is not ours would not be signed; and nothing is configured that signs.
    assert!(header(&first, "Identity").is_none());
    gate.tells(id, "the customer was not reached").await;
    world.pass(Span::minutes(5));
    outbox(&gate).flush().await.unwrap();
    // What still comes is the first, sent again by its own rules until it was given up.
    let mut bytes = [0; 4096];
    while let Ok(length) = trunk.0.try_recv_from(&mut bytes).map(|(length, _)| length) {
        assert_eq!(header(&String::from_utf8_lossy(&bytes[..length]), "Call-ID"), header(&first, "Call-ID"), "it is called again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_order_is_one_call_at_most() {
    let (world, trunk) = (by_sip().await, Trunkline::start().await);
    let mut gate = Gate::with(&world, Some(Out { room: Arc::new(Semaphore::new(1)), ..out(trunk.at()) }), |_| {}).await;
    let (_, id) = asks_to_be_rung(&mut gate).await;
    let order = |text: CallId, n: u8| Outgoing {
        id: MessageId([n; 16]), channel: Channel::Ring, to: Secret::new(CHIDI_LINE), subject: None, text: Secret::new(text.to_string()), lang: Lang::En, interrupted: false,
    };
    let rings = Rings(gate.sip.clone());
    // It may have rung before: nobody knows.
    assert_eq!(rings.send(&Outgoing { interrupted: true, ..order(id, 1) }).await, Sent::Unknown { reason: reason::INTERRUPTED });
    // A call that there is not.
    assert_eq!(rings.send(&order(CallId([9; 16]), 2)).await, Sent::Rejected { reason: reason::REFUSED });
    for to in ["", "chidi", "+1 202", "+12025550144@evil.example", "+12025550144>;x=y"] {
        assert_eq!(rings.send(&Outgoing { to: Secret::new(to), ..order(id, 3) }).await, Sent::Rejected { reason: reason::INVALID_NUMBER }, "{to}");
    }
    assert!(matches!(rings.send(&order(id, 4)).await, Sent::Accepted { .. }));
    trunk.next("INVITE").await;
    // There is room for one: the next certainly did not go.
    assert!(matches!(rings.send(&order(id, 5)).await, Sent::Retry { reason: reason::BUSY, .. }));
}

#[tokio::test]
async fn only_our_own_numbers_are_signed() {
    let ca = Ca::new();
    let signer = countersign_stir::Signer::read(&ca.provider.pem(), Address::read("https://certs.example.org/sp.pem").unwrap()).unwrap();
    let number = |text| E164::parse(text).unwrap();
    let signs = Signs::new(signer, vec![number(CENTER)], "6513270e-269e-4d37-b2a7-4de452e6b438".into());
    let now = crate::common::START;
    assert!(signs.identity(&number(CENTER), &number(ANA_LINE), now).is_some());
    assert_eq!(signs.identity(&number(LIAM_LINE), &number(ANA_LINE), now), None);
}

// ── Recorders ────────────────────────────────────────────────────────────────────────────────────

const HOOK_SECRET: &str = "a secret of the recorder's own";

/// A recorder that writes down what it is told, and answers with a status.
#[derive(Clone)]
struct Tape {
    url: String,
    told: Arc<Mutex<Vec<(String, Value)>>>,
    status: Arc<AtomicU16>,
}

async fn told(State(tape): State<Tape>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let order: Value = serde_json::from_slice(&body).unwrap();
    let given = headers[SIGNATURE].to_str().unwrap();
    assert_eq!(given, signature(&HOOK_SECRET.into(), crate::common::START, &body).unwrap());
    tape.told.lock().unwrap().push((order["what"].as_str().unwrap().to_owned(), order));
    StatusCode::from_u16(tape.status.load(Ordering::SeqCst)).unwrap()
}

impl Tape {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind((HERE, 0)).await.unwrap();
        let tape = Self { url: format!("http://{}/", listener.local_addr().unwrap()), told: Arc::default(), status: Arc::new(200.into()) };
        let routes = Router::new().route("/", post(told)).with_state(tape.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        tape
    }

    fn recorder(&self, on_failure: OnFailure) -> Arc<Recorder> { Arc::new(Recorder::new(Arc::new(Hook::new(&self.url, HOOK_SECRET.into(), Span::seconds(5)).unwrap()), on_failure)) }

    fn told(&self) -> Vec<String> { self.told.lock().unwrap().iter().map(|(what, _)| what.clone()).collect() }
}

async fn recorded(tape: &Tape, on_failure: OnFailure) -> World { World::with(Setup { recorder: Some(tape.recorder(on_failure)), ..Setup::default() }).await }

#[tokio::test]
async fn a_recorder_pauses_before_a_pin_is_asked_for_and_goes_on_after_it() {
    let tape = Tape::start().await;
    let world = recorded(&tape, OnFailure::Refuse).await;
    let gate = Gate::open(&world).await;
    let call = incoming(ANA_LINE);
    assert!(!asks_secret(&begin(&gate, &call).await) && tape.told().is_empty());
    let steps = gate.sip.digits(&call.key, "2").await.unwrap();
    assert!(asks_secret(&steps));
    assert_eq!(tape.told(), ["pause"]);
    // A wrong one is asked for again, within the same pause.
    assert!(asks_secret(&gate.sip.digits(&call.key, "1111").await.unwrap()));
    assert!(!asks_secret(&gate.sip.digits(&call.key, "4071").await.unwrap()));
    assert_eq!(tape.told(), ["pause", "resume"]);
    let all = format!("{:?}", tape.told.lock().unwrap());
    assert!(all.contains("a-call-id") && all.contains("call_") && !all.contains("4071") && !all.contains("2025550142"), "{all}");
    gate.sip.hung_up(&call.key, Ended::Caller).await;

    // By Twilio the same.
    let mut phone = world.call(ANA_LINE).await;
    phone.press("2").await;
    phone.press("4071").await;
    assert_eq!(tape.told(), ["pause", "resume", "pause", "resume"]);
}

#[tokio::test]
async fn no_secret_is_asked_for_while_a_recorder_may_run() {
    let tape = Tape::start().await;
    tape.status.store(500, Ordering::SeqCst);
    let world = recorded(&tape, OnFailure::Refuse).await;
    let gate = Gate::open(&world).await;
    let call = incoming(ANA_LINE);
    assert!(!asks_secret(&begin(&gate, &call).await));
    let mut steps = gate.sip.digits(&call.key, "2").await.unwrap();
    let mut silences = 0;
    while !holds(&steps) {
        assert!(!asks_secret(&steps), "a PIN is asked for");
        silences += 1;
        assert!(silences < 15, "{steps:?}");
        steps = gate.sip.no_keys(&call.key).await.unwrap();
    }
    // They wait for a person, with nothing proved.
    let robin = world.robin().await;
    robin.queue().await.ok().shows("data-call=").lacks("level-authenticated");
    assert!(tape.told().contains(&"pause".to_owned()));
    gate.sip.hung_up(&call.key, Ended::Caller).await;

    let world = recorded(&tape, OnFailure::GoOn).await;
    let gate = Gate::open(&world).await;
    let call = incoming(ANA_LINE);
    begin(&gate, &call).await;
    assert!(asks_secret(&gate.sip.digits(&call.key, "2").await.unwrap()));
}
