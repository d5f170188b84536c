//! The log: notes, checkpoints, proofs and receipts that others keep and send, and what witnesses answer.

use countersign_server::ledger::receipt::Receipt;
use countersign_tlog::{
    Checkpoint, Note, Proof, Signer,
    cosign::{Request, Witnessed, witness},
    note::Kind,
    proof::Trust,
    tile::{self, Tile},
    tree,
};
use serde_json::json;

use crate::{Target, holds};

const ORIGIN: &str = "calls.example.com/log";
const WORDS: &[&str] = &["calls.example.com/log", "\n", "\n\n", "— ", "+", "old 0", "index 0", "c2sp.org/tlog-proof@v1", "extra ", "AAAA", "=", "tile/", "entries", "x001/", ".p/", "256", "\u{85}", "\r\n"];

struct World {
    log: Signer,
    witness: Signer,
    /// A signed head over two entries, with a witness's word under it.
    note: Note,
    entries: [Vec<u8>; 2],
}

fn world() -> Option<World> {
    let log = Signer::new(ORIGIN, Kind::Note, &[1; 32]).ok()?;
    let watcher = Signer::new("witness.example.org", Kind::Cosignature, &[2; 32]).ok()?;
    let entries = [b"one".to_vec(), b"two".to_vec()];
    let root = tree::parent(&tree::leaf(&entries[0]), &tree::leaf(&entries[1]));
    let text = Checkpoint { origin: ORIGIN.into(), size: 2, root }.text();
    let mut note = Note::signed(&text, &log);
    note.add(&watcher.cosign(&text, 1_780_308_000)).ok()?;
    Some(World { log, witness: watcher, note, entries })
}

impl World {
    fn trust(&self) -> Trust { Trust { origin: ORIGIN.into(), keys: vec![self.log.verifier()], witnesses: vec![self.witness.verifier()], quorum: 1 } }

    fn proof(&self) -> Proof { Proof { index: 0, path: vec![tree::leaf(&self.entries[1])], checkpoint: self.note.clone() } }
}

pub(super) fn targets() -> Vec<Target> {
    let all = [world(), world(), world(), world()];
    let [Some(a), Some(b), Some(c), Some(d)] = all else {
        return vec![Target::of("log-note", "notes", &[], 1, &[""], |_| Err("no log can be made".into()))];
    };
    vec![note(a), request(b), proof(c), receipt(d), tiles()]
}

/// What was changed is not signed; what was read is written and read as the same, with what a witness adds.
fn note(world: World) -> Target {
    let sample = world.note.written();
    // A note, a line of dashes, and what a witness answers.
    let added = format!("{sample}-----\n{}", world.witness.cosign(world.note.text(), 1_780_308_060));
    Target::of("log-note", "signed notes and checkpoints: what was changed is signed by nobody", WORDS, 600, &[&sample.clone(), &added], move |input| {
        let text = String::from_utf8_lossy(input);
        let (text, answer) = text.split_once("-----\n").unwrap_or((&text, ""));
        let Ok(mut note) = Note::parse(text) else { return holds(text != sample, "our own note is not read") };
        let again = Note::parse(&note.written()).map_err(|e| format!("written, it is not read again: {e}"))?;
        holds(again == note, "written and read again it is another")?;
        let trusted = world.trust().checkpoint(&note);
        holds(trusted.is_err() || note.text() == world.note.text(), "a head passes that nobody signed")?;
        holds(trusted.is_ok() || text != sample, "our own head does not pass")?;
        if let Ok(checkpoint) = Checkpoint::parse(note.text()) {
            let again = Checkpoint::parse(&checkpoint.text()).map_err(|e| format!("written, it is not read again: {e}"))?;
            holds(again == checkpoint, "written and read again it is another")?;
        }
        // Whoever adds to a note, it has to be read again tomorrow.
        let before = note.clone();
        match note.add(answer) {
            Ok(()) => holds(Note::parse(&note.written()).as_ref() == Ok(&note), "with what a witness added it is not read again"),
            Err(_) => holds(note == before, "what is refused was added in part"),
        }
    })
}

fn request(world: World) -> Target {
    let sample = Request { old: 0, proof: Vec::new(), checkpoint: world.note.clone() }.written();
    let known = vec![Witnessed { origin: ORIGIN.into(), keys: vec![world.log.verifier()], latest: (0, tree::empty()) }];
    Target::of("log-request", "what a log asks a witness: only what it has signed", WORDS, 500, &[&sample.clone()], move |input| {
        let Ok(request) = Request::parse(&String::from_utf8_lossy(input)) else { return holds(input != sample.as_bytes(), "our own request is not read") };
        let again = Request::parse(&request.written()).map_err(|e| format!("written, it is not read again: {e}"))?;
        holds(again == request, "written and read again it is another")?;
        let decided = witness(&known, &request);
        holds(decided.as_ref().is_ok_and(|c| c.size == 2) || input != sample.as_bytes(), "our own request is refused")?;
        holds(decided.is_err() || request.checkpoint.text() == world.note.text(), "a witness signs what the log did not")
    })
}

fn proof(world: World) -> Target {
    let sample = world.proof().written();
    Target::of("log-proof", "proofs that somebody kept: of this entry and of no other", WORDS, 500, &[&sample.clone()], move |input| {
        let Ok(proof) = Proof::parse(&String::from_utf8_lossy(input)) else { return holds(input != sample.as_bytes(), "our own proof is not read") };
        let again = Proof::parse(&proof.written()).map_err(|e| format!("written, it is not read again: {e}"))?;
        holds(again == proof, "written and read again it is another")?;
        let (right, wrong) = (proof.check(&world.entries[0], &world.trust()), proof.check(b"three", &world.trust()));
        holds(wrong.is_err(), "something is proved that is not in the log")?;
        let same = proof.index == 0 && proof.path == world.proof().path && proof.checkpoint.text() == world.note.text();
        holds(right.is_err() || same, "another proof proves it as well")?;
        holds(right.is_ok() || input != sample.as_bytes(), "our own proof proves nothing")
    })
}

/// A receipt of a call that never was: its proof is of another entry, so nothing is ever proved.
fn receipt(world: World) -> Target {
    let event = json!({
        "seq": 1, "kind": "call", "stream": "00000000000000000000000000000001", "n": 1, "at": 1_780_308_000_000_i64, "salt": "00".repeat(32),
        "body": "{\"v\":1,\"at\":1780308000000,\"type\":\"ended\",\"by\":\"caller\"}",
    });
    let sample = json!({
        "format": "countersign-receipt/1", "call": "call_00000000000000000000000000000001", "log": ORIGIN, "keys": [world.log.verifier().to_string()],
        "events": [{ "event": event, "proof": world.proof().written() }],
    }).to_string();
    Target::of("receipt", "receipts: nothing is proved that the log does not hold", WORDS, 400, &[&sample.clone()], move |input| {
        let Ok(receipt) = Receipt::parse(&String::from_utf8_lossy(input)) else { return holds(input != sample.as_bytes(), "a receipt is not read") };
        holds(receipt.check(&world.trust()).is_err(), "a call that never was is proved")?;
        let told = receipt.clone().for_customer();
        holds(told.events.len() <= receipt.events.len(), "a customer is told more than there is")
    })
}

fn tiles() -> Target {
    let bundle = tile::bundle([b"one".as_slice(), b"", b"three"]);
    let target = Target::of("log-tile", "tiles by their address, and what is in them: one writing for each", WORDS, 1_500, &["tile/0/x001/234", "tile/entries/000.p/17", "tile/7/x001/x002/003.p/255"], |input| {
        let text = String::from_utf8_lossy(input);
        if let Some(tile) = Tile::parse(&text) {
            holds(tile.path() == text && (1..=256).contains(&tile.width), "another address for the same tile")?;
        }
        if let Ok(entries) = tile::entries(input) {
            holds(tile::bundle(entries) == input, "written and read again they are others")?;
        }
        if let Ok(hashes) = tile::hashes(input) {
            holds(hashes.concat() == input, "hashes that were not there")?;
        }
        Ok(())
    });
    Target { seeds: [target.seeds.clone(), vec![bundle]].concat(), ..target }
}
