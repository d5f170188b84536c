//! The Merkle log over real calls: sequenced, served, exported, verified offline, receipts.

use std::path::PathBuf;

use countersign_core::time::Span;
use countersign_server::ledger::{self, Log, Sequencer, export, receipt::{self, Receipt}, verify, witness::{self, Watcher, Witness, Witnesses}};
use countersign_store::{Append, Commit, DocWrite, Expect, NewEvent, Stream};
use countersign_tlog::{Checkpoint, Note, Signer, Verifier, note::Kind, proof::Trust, tile::Tile, tree};

use crate::common::{URL, World, pages, people::*, record::{ORIGIN, called, logged}};

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("countersign-ledger-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) { let _ = std::fs::remove_dir_all(&self.0); }
}

pub async fn trust(world: &World) -> Trust {
    Trust { origin: ORIGIN.into(), keys: ledger::public_keys(&world.app.runner).await.unwrap(), witnesses: Vec::new(), quorum: 0 }
}

#[tokio::test]
async fn every_event_is_a_leaf_and_the_log_says_nothing_about_it() {
    let world = World::new().await;
    called(&world, ANA_LINE).await;
    pages::get(&world.router, "/log/checkpoint", None).await.is(404);
    let sequencer = logged(&world).await;
    let n = world.app.runner.store.head().await.unwrap();
    let note = Note::parse(&pages::get(&world.router, "/log/checkpoint", None).await.ok().body.clone()).unwrap();
    let head = Checkpoint::parse(note.text()).unwrap();
    assert_eq!((head.size, head.origin.as_str()), (n, ORIGIN));
    assert!(URL.contains("calls.example.com"));
    let keys = pages::get(&world.router, "/log/keys", None).await.ok().body.clone();
    let key: Verifier = keys.trim().parse().unwrap();
    assert!(note.signed_by(&key).is_some());
    for tile in Tile::all(n) {
        pages::get(&world.router, &format!("/log/{}", tile.path()), None).await.is(200);
    }
    for nothing in ["/log/tile/0/001", "/log/tile/0/000.p/255", "/log/tile/entries/000", "/log/tile/x", "/log/tile/9/000"] {
        pages::get(&world.router, nothing, None).await.is(404);
    }
    // Nothing new, nothing signed.
    assert_eq!(sequencer.run(&world.app.runner).await.unwrap().added, 0);
    let report = verify::database(&world.app.runner, ORIGIN, |_| {}).await.unwrap();
    assert!(report.holds(), "{report:?}");
    assert_eq!((report.entries, report.same, report.pending), (n, n, 0));
    called(&world, ANA_LINE).await;
    let report = verify::database(&world.app.runner, ORIGIN, |_| {}).await.unwrap();
    assert!(report.holds() && report.pending > 0);
}

#[tokio::test]
async fn an_export_is_verified_without_the_server() {
    let world = World::new().await;
    for _ in 0..20 {
        called(&world, ANA_LINE).await;
    }
    logged(&world).await;
    let (folder, trust) = (Folder::new("export"), trust(&world).await);
    let dir = folder.0.join("log");
    let n = export::export(&world.app.runner, &dir, |_, _| {}).await.unwrap();
    assert!(n > 256, "more than one tile: {n}");
    let check = |trust: &Trust| verify::directory(&dir, trust, |_| {});
    let report = check(&trust).unwrap();
    assert!(report.holds(), "{report:?}");
    assert_eq!((report.entries, report.same), (n, n));
    // What is served to everybody verifies by itself, without the events.
    let events = dir.join("events.jsonl");
    let text = std::fs::read_to_string(&events).unwrap();
    std::fs::remove_file(&events).unwrap();
    assert_eq!(check(&trust).unwrap().entries, n);
    let fault = |what: &str| {
        let report = check(&trust).unwrap();
        assert!(report.faults.iter().any(|fault| fault.contains(what)), "{what}: {report:?}");
    };
    // An event is altered, left out, moved.
    let lines: Vec<&str> = text.lines().collect();
    let with = |lines: &[&str]| std::fs::write(&events, format!("{}\n", lines.join("\n"))).unwrap();
    let altered = lines[41].replacen("\"at\":", "\"at\":1", 1);
    let mut changed = lines.clone();
    changed[41] = &altered;
    with(&changed);
    fault("event 42 (");
    with(&[&lines[..41], &lines[42..]].concat());
    fault("has event 43 where event 42 belongs");
    changed = lines.clone();
    changed.swap(7, 8);
    with(&changed);
    fault("has event 9 where event 8 belongs");
    with(&lines[..100]);
    fault("at event 101");
    with(&lines);
    assert!(check(&trust).unwrap().holds());
    // A tile is cut off or changed; an entry is changed and its tile with it.
    let tile = dir.join("tile/0/000");
    let whole = std::fs::read(&tile).unwrap();
    std::fs::write(&tile, &whole[..whole.len() - 1]).unwrap();
    fault("cut off");
    let mut bent = whole.clone();
    bent[32 * 5] ^= 1;
    std::fs::write(&tile, &bent).unwrap();
    fault("tile/0/000 differs at hash 5");
    std::fs::write(&tile, &whole).unwrap();
    let bundle = dir.join("tile/entries/000");
    let whole = std::fs::read(&bundle).unwrap();
    std::fs::write(&bundle, &whole[..whole.len() - 1]).unwrap();
    fault("cut off");
    let mut bent = whole.clone();
    bent[2 + 35 * 3] ^= 1;
    std::fs::write(&bundle, &bent).unwrap();
    fault("event 4 (");
    fault("another root");
    std::fs::write(&bundle, &whole).unwrap();
    // Another key; another log; a head that was edited.
    let other = Signer::new(ORIGIN, Kind::Note, &[9; 32]).unwrap().verifier();
    assert!(check(&Trust { keys: vec![other], ..trust.clone() }).is_err());
    assert!(check(&Trust { origin: "other.example.com/log".into(), ..trust.clone() }).is_err());
    let head = std::fs::read_to_string(dir.join("checkpoint")).unwrap();
    std::fs::write(dir.join("checkpoint"), head.replacen(&format!("\n{n}\n"), &format!("\n{}\n", n - 1), 1)).unwrap();
    assert!(check(&trust).is_err());
}

#[tokio::test]
async fn a_receipt_holds_without_us_and_nothing_in_it_can_be_changed() {
    let world = World::new().await;
    let call = called(&world, ANA_LINE).await;
    assert!(receipt::of(&world.app.runner, call).await.is_err(), "not in the log yet");
    logged(&world).await;
    // The log goes on; the receipt is of now.
    called(&world, ANA_LINE).await;
    logged(&world).await;
    let made = receipt::of(&world.app.runner, call).await.unwrap().unwrap();
    let (text, trust) = (serde_json::to_string(&made).unwrap(), trust(&world).await);
    let read = Receipt::parse(&text).unwrap();
    let story = read.check(&trust).unwrap();
    assert_eq!(story.len(), made.events.len());
    assert!(story.iter().any(|(_, sentence)| sentence.contains("Proved: PIN.")), "{story:?}");
    for place in 0..made.events.len() {
        let refused = |change: &dyn Fn(&mut receipt::Receipted)| {
            let mut changed = made.clone();
            change(&mut changed.events[place]);
            assert!(changed.check(&trust).is_err(), "{place}");
        };
        refused(&|e| e.event.body = e.event.body.replacen('1', "2", 1));
        refused(&|e| e.event.at += 1);
        refused(&|e| e.event.n += 1);
        refused(&|e| e.event.seq += 1);
        refused(&|e| e.event.salt = None);
        refused(&|e| e.event.salt = Some("00".repeat(32)));
        refused(&|e| e.event.kind = "account".into());
        refused(&|e| e.proof = e.proof.replacen("index ", "index 1", 1));
    }
    let mut other = made.clone();
    other.call = countersign_core::id::CallId([1; 16]);
    assert!(other.check(&trust).is_err());
    let stranger = Signer::new(ORIGIN, Kind::Note, &[9; 32]).unwrap().verifier();
    assert!(made.check(&Trust { keys: vec![stranger], ..trust.clone() }).is_err());
    // The customer's part: what stands in it holds by itself.
    let theirs = made.clone().for_customer();
    assert!(theirs.events.len() < made.events.len());
    assert!(theirs.check(&trust).unwrap().iter().all(|(_, sentence)| !sentence.contains("Proved")));
    let none = receipt::of(&world.app.runner, countersign_core::id::CallId([2; 16])).await.unwrap();
    assert_eq!(none, None);
}

/// Under duress the customer's receipt looks as it always does.
#[tokio::test]
async fn a_receipt_tells_nothing_of_an_emergency_word() {
    let kinds = async |pin: &str| {
        let world = World::new().await;
        let mut call = world.call(SOFIA_LINE).await;
        call.presses(&["1", pin, "1"]).await;
        call.hang_up().await;
        assert!(world.tells(call.id, "Proved").await);
        logged(&world).await;
        let theirs = receipt::of(&world.app.runner, call.id).await.unwrap().unwrap().for_customer();
        let bodies: Vec<serde_json::Value> = theirs.events.iter().map(|e| serde_json::from_str(&e.event.body).unwrap()).collect();
        bodies.iter().map(|body| body["type"].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(kinds("5093").await, kinds("5099").await);
}

/// A customer's salts are destroyed: the log holds, and tells nothing more about them.
#[tokio::test]
async fn the_log_verifies_after_a_salt_was_destroyed() {
    let world = World::new().await;
    let call = called(&world, ANA_LINE).await;
    logged(&world).await;
    let runner = &world.app.runner;
    let docs = vec![ledger::forget_salt(&runner.vault, "call", &call.0, runner.store.head().await.unwrap()).unwrap()];
    world.app.runner.store.commit(Commit { docs, ..Commit::default() }).await.unwrap();
    let report = verify::database(&world.app.runner, ORIGIN, |_| {}).await.unwrap();
    assert!(report.holds() && report.unsalted > 0, "{report:?}");
    assert!(receipt::of(&world.app.runner, call).await.is_err());
    called(&world, ANA_LINE).await;
    logged(&world).await;
    assert!(verify::database(&world.app.runner, ORIGIN, |_| {}).await.unwrap().holds());
}

/// Two nodes sequence at once, again and again: one log comes of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sequencers_do_not_fork_the_log() {
    let world = World::new().await;
    let other = world.sibling().await;
    for _ in 0..6 {
        called(&world, ANA_LINE).await;
        called(&world, ANA_LINE).await;
        let (a, b) = (Sequencer::new(ORIGIN.into()), Sequencer::new(ORIGIN.into()));
        let (one, two) = (world.app.runner.clone(), other.app.runner.clone());
        let tasks = [tokio::spawn(async move { a.run(&one).await }), tokio::spawn(async move { b.run(&two).await })];
        for task in tasks {
            task.await.unwrap().unwrap();
        }
    }
    logged(&other).await;
    let report = verify::database(&other.app.runner, ORIGIN, |_| {}).await.unwrap();
    assert!(report.holds(), "{report:?}");
    assert_eq!(report.same, other.app.runner.store.head().await.unwrap());
}

/// The old key vouches for the new one, once; both count for what they signed.
#[tokio::test]
async fn keys_of_the_log_rotate_in_the_open() {
    let world = World::new().await;
    let first = called(&world, ANA_LINE).await;
    logged(&world).await;
    let old = ledger::public_keys(&world.app.runner).await.unwrap();
    let before = receipt::of(&world.app.runner, first).await.unwrap().unwrap();
    let new = ledger::rotate(&world.app.runner, ORIGIN).await.unwrap();
    assert_ne!(old[0], new);
    let head = async || {
        called(&world, ANA_LINE).await;
        logged(&world).await;
        let page = pages::get(&world.router, "/log/checkpoint", None).await;
        let note = Note::parse(&page.body).unwrap();
        (note.signed_by(&old[0]).is_some(), note.signed_by(&new).is_some())
    };
    assert_eq!(head().await, (true, true));
    assert_eq!(head().await, (false, true));
    let only_old = Trust { origin: ORIGIN.into(), keys: old.clone(), witnesses: Vec::new(), quorum: 0 };
    assert!(before.check(&only_old).is_ok(), "what was kept still counts");
    assert!(verify::database(&world.app.runner, ORIGIN, |_| {}).await.unwrap().holds());
}

async fn witness_server(folder: &Folder, keys: Vec<Verifier>) -> (Witness, Verifier) {
    let signer = Signer::new("witness.example.com", Kind::Cosignature, &[3; 32]).unwrap();
    let key = signer.verifier();
    let watcher = Watcher::new(signer, keys, folder.0.join("state.json"), || countersign_core::time::Timestamp(1_780_308_000_000)).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, witness::watcher(watcher.into())).await.unwrap() });
    (Witness { key: key.clone(), url }, key)
}

/// A witness signs what it sees, and a log that is put back to an older backup is not signed again.
#[tokio::test]
async fn a_witness_sees_every_head_and_an_older_backup_is_recognised() {
    let folder = Folder::new("witness");
    let world = World::in_file().await;
    called(&world, ANA_LINE).await;
    logged(&world).await;
    let runner = world.app.runner.clone();
    let backup = folder.0.join("backup.db");
    runner.store.backup(&backup).await.unwrap();
    let keys = ledger::public_keys(&runner).await.unwrap();
    let (served, key) = witness_server(&folder, keys.clone()).await;
    let witnesses = || Witnesses::new(vec![served.clone()]).unwrap();
    let memory = folder.0.join("size");
    let log = || Log::new(Sequencer::new(ORIGIN.into()), witnesses(), Some(memory.clone()));
    log().follow(&runner).await.unwrap();
    for _ in 0..3 {
        called(&world, ANA_LINE).await;
        log().follow(&runner).await.unwrap();
        let note = Note::parse(&pages::get(&world.router, "/log/checkpoint", None).await.ok().body.clone()).unwrap();
        assert_eq!(note.signed_by(&key), Some(Some(1_780_308_000)));
    }
    let trust = Trust { origin: ORIGIN.into(), keys: keys.clone(), witnesses: vec![key], quorum: 1 };
    let call = called(&world, ANA_LINE).await;
    log().follow(&runner).await.unwrap();
    receipt::of(&runner, call).await.unwrap().unwrap().check(&trust).unwrap();
    assert!(world.metrics().await.contains("countersign_log_witnesses 1"));

    // Somebody restores the backup of this morning.
    let size = runner.store.head().await.unwrap();
    drop(runner);
    world.app.runner.store.close().await;
    let path = world.file();
    for beside in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{beside}", path.display()));
    }
    std::fs::copy(&backup, &path).unwrap();
    let world = world.restart().await;
    for error in [log().check(&world.app.runner).await, log().follow(&world.app.runner).await] {
        let error = error.unwrap_err().to_string();
        assert!(error.contains(&format!("with {size} entries")) && error.contains("older backup"), "{error}");
    }
    // Without the file that remembers, the key store does, which has copies and a life of its own.
    std::fs::remove_file(&memory).unwrap();
    for error in [log().check(&world.app.runner).await, log().follow(&world.app.runner).await] {
        let error = error.unwrap_err().to_string();
        assert!(error.contains(&format!("the key store has seen this log with {size} entries")) && error.contains("[log] origin"), "{error}");
    }
    // A log of another name begins anew, and is not measured by this one.
    Log::new(Sequencer::new("calls.example.com/log/2".into()), Witnesses::new(Vec::new()).unwrap(), None).check(&world.app.runner).await.unwrap();
    // Without that as well, the witness does; and it has signed this head once.
    let forgotten = DocWrite::Delete { kind: "log-seen", id: ORIGIN.into() };
    world.app.runner.customers.keys.commit(Commit { now: world.now().0, docs: vec![forgotten], ..Commit::default() }).await.unwrap();
    let error = log().check(&world.app.runner).await.unwrap_err().to_string();
    assert!(error.contains(&format!("witness.example.com has seen this log with {size} entries")), "{error}");
    called(&world, ANA_LINE).await;
    let error = log().follow(&world.app.runner).await.unwrap_err().to_string();
    assert!(error.contains("witness.example.com has seen"), "{error}");
}

/// One node looked before another went on: that is no older backup.
#[tokio::test]
async fn a_node_that_looked_too_early_does_not_stop_the_log() {
    let folder = Folder::new("early");
    let one = World::new().await;
    called(&one, ANA_LINE).await;
    logged(&one).await;
    let keys = ledger::public_keys(&one.app.runner).await.unwrap();
    let (served, _) = witness_server(&folder, keys).await;
    let witness = served.clone();
    let log = move |at: &str| Log::new(Sequencer::new(ORIGIN.into()), Witnesses::new(vec![Witness { url: at.into(), ..witness.clone() }]).unwrap(), None);
    // Between this node's look at the head and its question, another shows the witness a longer log.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let slow = format!("http://{}", listener.local_addr().unwrap());
    let (url, other, at) = (served.url.clone(), one.clone(), log.clone());
    let app = axum::Router::new().route("/add-checkpoint", axum::routing::post(move |body: String| {
        let (url, other, longer) = (url.clone(), other.clone(), at(&url));
        async move {
            called(&other, ANA_LINE).await;
            longer.follow(&other.app.runner).await.unwrap();
            let answer = reqwest::Client::new().post(format!("{url}/add-checkpoint")).body(body).send().await.unwrap();
            (axum::http::StatusCode::from_u16(answer.status().as_u16()).unwrap(), answer.text().await.unwrap())
        }
    }));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let early = log(&slow);
    early.follow(&one.app.runner).await.unwrap();
    // It goes on.
    called(&one, ANA_LINE).await;
    log(&served.url).follow(&one.app.runner).await.unwrap();
    early.follow(&one.app.runner).await.unwrap();
}

/// A witness that is down delays nothing, one that answers nonsense adds nothing.
#[tokio::test]
async fn a_witness_that_is_down_or_lies_stops_nothing() {
    let folder = Folder::new("down");
    let world = World::new().await;
    called(&world, ANA_LINE).await;
    let (mut nobody, _) = witness_server(&folder, Vec::new()).await;
    // It knows no log: 404.
    let log = Log::new(Sequencer::new(ORIGIN.into()), Witnesses::new(vec![nobody.clone()]).unwrap(), None);
    log.follow(&world.app.runner).await.unwrap();
    nobody.url = "http://127.0.0.1:9".into();
    let log = Log::new(Sequencer::new(ORIGIN.into()), Witnesses::new(vec![nobody]).unwrap(), None);
    called(&world, ANA_LINE).await;
    log.follow(&world.app.runner).await.unwrap();
    let report = verify::database(&world.app.runner, ORIGIN, |_| {}).await.unwrap();
    assert!(report.holds() && report.pending == 0);
    assert_eq!(tree::empty().len(), 32);
}

/// A witness signs what it is shown, and sends so much along that nobody could read the head again: the
/// head stays as it was, and the log goes on.
#[tokio::test]
async fn a_witness_that_floods_stops_nothing() {
    let world = World::new().await;
    let sees = std::sync::Arc::new(Signer::new("witness.example.com", Kind::Cosignature, &[9; 32]).unwrap());
    let key = sees.verifier();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = axum::Router::new().route("/add-checkpoint", axum::routing::post(move |body: String| async move {
        let note = Note::parse(body.split_once("\n\n").unwrap().1).unwrap();
        (0..150).map(|seconds| sees.cosign(note.text(), seconds)).collect::<String>()
    }));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let log = Log::new(Sequencer::new(ORIGIN.into()), Witnesses::new(vec![Witness { url, key: key.clone() }]).unwrap(), None);
    for _ in 0..2 {
        called(&world, ANA_LINE).await;
        log.follow(&world.app.runner).await.unwrap();
        let note = Note::parse(&pages::get(&world.router, "/log/checkpoint", None).await.ok().body.clone()).unwrap();
        assert_eq!(note.signed_by(&key), None);
    }
    assert!(verify::database(&world.app.runner, ORIGIN, |_| {}).await.unwrap().holds());
}

/// What there has to be of the log and is not is damage, and not a log that is shorter: nothing is served from it.
#[tokio::test]
async fn a_tile_that_is_cut_off_is_not_served() {
    let world = World::new().await;
    called(&world, ANA_LINE).await;
    logged(&world).await;
    let runner = &world.app.runner;
    let log = || Log::new(Sequencer::new(ORIGIN.into()), Witnesses::new(Vec::new()).unwrap(), None);
    log().check(runner).await.unwrap();
    let size = runner.store.head().await.unwrap();
    let paths = [format!("/log/tile/0/000.p/{size}"), format!("/log/tile/entries/000.p/{size}")];
    for (path, kind) in paths.iter().zip(["log-tile", "log-entries"]) {
        pages::get(&world.router, path, None).await.ok();
        let id = if kind == "log-tile" { [&[0][..], &0_u64.to_be_bytes()].concat() } else { 0_u64.to_be_bytes().to_vec() };
        let doc = runner.store.doc(kind, &id).await.unwrap().unwrap();
        let cut = doc.body[..doc.body.len() - 32].to_vec();
        let docs = vec![DocWrite::Put { kind, id, expected: Expect::Any, body: cut, due: None }];
        runner.store.commit(Commit { now: world.now().0, docs, ..Commit::default() }).await.unwrap();
        pages::get(&world.router, path, None).await.is(500);
    }
    pages::get(&world.router, &format!("/log/tile/0/000.p/{}", size + 1), None).await.is(404);
    let error = log().check(runner).await.unwrap_err().to_string();
    assert!(error.contains("damaged") && error.contains("restore a backup"), "{error}");
}

/// Damage in a part of the log that nobody asks for is found by and by, and at a start; and then nothing is signed.
#[tokio::test]
async fn an_old_tile_that_was_changed_is_found() {
    let world = World::new().await;
    let runner = &world.app.runner;
    // 256 leaves fill a tile; 1,000 make three full ones and the beginning of another.
    for expected in (0..1_000).step_by(100) {
        let event = |n: u64| NewEvent { at: world.now().0, body: format!(r#"{{"type":"made_up","n":{n}}}"#) };
        let appends = vec![Append { stream: Stream { kind: "made-up", id: [7; 16] }, expected, events: (0..100).map(event).collect() }];
        runner.store.commit(Commit { now: world.now().0, appends, ..Commit::default() }).await.unwrap();
    }
    logged(&world).await;
    let log = || Log::new(Sequencer::new(ORIGIN.into()), Witnesses::new(Vec::new()).unwrap(), None);
    let size = runner.store.head().await.unwrap();
    log().check(runner).await.unwrap();
    let serving = log();
    serving.follow(runner).await.unwrap();
    assert!(world.metrics().await.contains(&format!("countersign_log_surveyed {size}")), "{}", world.metrics().await);
    let stopped = async || world.metrics().await.contains("countersign_log_stopped 1");
    let tile = |level: u8, index: u64| ("log-tile", [&[level][..], &index.to_be_bytes()].concat());
    for (kind, id) in [tile(0, 0), tile(0, 3), tile(1, 0), ("log-entries", 0_u64.to_be_bytes().to_vec()), ("log-entries", 2_u64.to_be_bytes().to_vec())] {
        let doc = runner.store.doc(kind, &id).await.unwrap().unwrap();
        let mut body = doc.body.clone();
        body[40] ^= 1;
        let write = |body: Vec<u8>| Commit { now: world.now().0, docs: vec![DocWrite::Put { kind, id: id.clone(), expected: Expect::Any, body, due: None }], ..Commit::default() };
        runner.store.commit(write(body)).await.unwrap();
        let error = log().check(runner).await.unwrap_err().to_string();
        assert!(error.contains("damaged") && error.contains("restore a backup"), "{kind}: {error}");
        // A server that runs on it signs no more once it has seen it twice, and says why; and so says the next one.
        called(&world, ANA_LINE).await;
        let running = log();
        for _ in 0..3 {
            assert!(running.follow(runner).await.unwrap_err().to_string().contains("damaged"), "{kind}");
        }
        assert!(stopped().await);
        assert!(log().follow(runner).await.unwrap_err().to_string().contains("damaged"), "{kind}");
        runner.store.commit(write(doc.body)).await.unwrap();
        // It is mended: who has seen it stays stopped, another one looks at all of it and goes on.
        assert!(running.follow(runner).await.unwrap_err().to_string().contains("damaged"), "{kind}");
        log().follow(runner).await.unwrap();
        assert!(!stopped().await);
    }
    // One that has looked through the whole log looks again after a day.
    world.pass(Span::hours(25));
    serving.follow(runner).await.unwrap();
}

/// A node that comes late, and a database that took over and knows less, take nothing away from what is remembered.
#[tokio::test]
async fn what_the_key_store_remembers_never_shrinks() {
    let world = World::new().await;
    let runner = &world.app.runner;
    let log = || Log::new(Sequencer::new(ORIGIN.into()), Witnesses::new(Vec::new()).unwrap(), None);
    called(&world, ANA_LINE).await;
    log().follow(runner).await.unwrap();
    let size = runner.store.head().await.unwrap();
    let seen = async |to: Option<u64>| {
        let id = ORIGIN.as_bytes();
        if let Some(to) = to {
            let doc = DocWrite::Put { kind: "log-seen", id: id.to_vec(), expected: Expect::Any, body: to.to_string().into_bytes(), due: None };
            runner.customers.keys.commit(Commit { now: world.now().0, docs: vec![doc], ..Commit::default() }).await.unwrap();
        }
        let doc = runner.customers.keys.doc("log-seen", id).await.unwrap().unwrap();
        String::from_utf8(doc.body).unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(seen(None).await, size);
    seen(Some(size + 5)).await;
    let late = log();
    for _ in 0..2 {
        called(&world, ANA_LINE).await;
        let error = late.follow(runner).await.unwrap_err().to_string();
        assert!(error.contains("the key store has seen"), "{error}");
    }
    assert_eq!(seen(None).await, size + 5);
    // Another one, to whom it is nothing new, and the next start: neither signs, as long as there is less.
    assert!(log().follow(runner).await.is_err() && log().check(runner).await.is_err());
    assert!(world.metrics().await.contains("countersign_log_stopped 1"));
    // What waits is seen to wait.
    world.pass(Span::seconds(40));
    late.follow(runner).await.unwrap_err();
    assert!(world.metrics().await.contains("countersign_log_waiting_seconds 4"), "{}", world.metrics().await);
}

/// Whoever can write the database, and has no key, can put other events and a tree over them in place of all of
/// these; but no head that is gone on from.
#[tokio::test]
async fn a_head_that_somebody_else_signed_is_not_gone_on_from() {
    let world = World::new().await;
    called(&world, ANA_LINE).await;
    logged(&world).await;
    let runner = &world.app.runner;
    let log = || Log::new(Sequencer::new(ORIGIN.into()), Witnesses::new(Vec::new()).unwrap(), None);
    let kept = runner.store.doc("log-head", b"1").await.unwrap().unwrap().body;
    let put = async |body: Vec<u8>| {
        let docs = vec![DocWrite::Put { kind: "log-head", id: b"1".to_vec(), expected: Expect::Any, body, due: None }];
        runner.store.commit(Commit { now: world.now().0, docs, ..Commit::default() }).await.unwrap();
    };
    // The very same tree, in the log's own name.
    let text = Note::parse(std::str::from_utf8(&kept).unwrap()).unwrap().text().to_owned();
    let forged = Note::signed(&text, &Signer::new(ORIGIN, Kind::Note, &[9; 32]).unwrap());
    put(forged.written().into_bytes()).await;
    called(&world, ANA_LINE).await;
    for error in [log().check(runner).await, log().follow(runner).await] {
        let error = error.unwrap_err().to_string();
        assert!(error.contains("damaged") && error.contains("no signature of this log's keys"), "{error}");
    }
    put(kept).await;
    log().check(runner).await.unwrap();
    log().follow(runner).await.unwrap();
    // Neither is one that was signed before the key was changed a stranger's.
    ledger::rotate(runner, ORIGIN).await.unwrap();
    log().check(runner).await.unwrap();
    called(&world, ANA_LINE).await;
    log().follow(runner).await.unwrap();
    log().check(runner).await.unwrap();
}
