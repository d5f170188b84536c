//! The Merkle log: how long a large one takes to verify, offline, and how fast proofs are made.

use std::{
    fs,
    io::{BufWriter, Write as _},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use countersign_tlog::{
    Checkpoint, Frontier, Hash, Note, Signer,
    note::Kind,
    tile::{self, Tile, Tiles},
    tree,
};
use serde_json::{Value, json};

use crate::{Fail, process};

const ORIGIN: &str = "bench.example.com/log";

/// An event as it is exported, of the size of those of a call, and its entry (docs/log.md).
fn event(seq: u64) -> (String, [u8; 33]) {
    let (stream, salt) = (tree::sha256(&(seq / 14).to_be_bytes()), tree::sha256(&[&seq.to_be_bytes()[..], b"salt"].concat()));
    let stream = stream.first_chunk::<16>().copied().unwrap_or_default();
    let (n, at) = (seq % 14 + 1, 1_780_308_000_000 + i64::try_from(seq).unwrap_or(0));
    let body = format!(r#"{{"n":{n},"at":{at},"event":{{"type":"challenge_failed","challenge":"chal_{}","kind":"pin","left":2}}}}"#, hex(&stream));
    let (seq_bytes, n_bytes, at_bytes) = (seq.to_be_bytes(), n.to_be_bytes(), at.to_be_bytes());
    let parts: [&[u8]; 7] = [&salt, &seq_bytes, b"call", &stream, &n_bytes, &at_bytes, body.as_bytes()];
    let committed: Vec<u8> = parts.iter().flat_map(|part| (part.len() as u64).to_be_bytes().into_iter().chain(part.iter().copied())).collect();
    let mut entry = [1; 33];
    entry.iter_mut().skip(1).zip(tree::sha256(&committed)).for_each(|(to, from)| *to = from);
    let line = json!({ "seq": seq, "kind": "call", "stream": hex(&stream), "n": n, "at": at, "body": body, "salt": hex(&salt) });
    (line.to_string(), entry)
}

fn hex(bytes: &[u8]) -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() }

/// Writes a log of this size as an export, lets the program verify it without its events and with them, and makes
/// proofs from its tiles.
pub fn measure(server: &Path, dir: &Path, entries: u64) -> Result<Value, Fail> {
    let dir = dir.join("log");
    let signer = Signer::new(ORIGIN, Kind::Note, &[7; 32])?;
    let mut frontier = Frontier::default();
    let mut levels: Vec<Vec<Vec<Hash>>> = Vec::new();
    let began = Instant::now();
    let mut bundle: Vec<[u8; 33]> = Vec::new();
    fs::create_dir_all(&dir)?;
    let (events, aside) = (dir.join("events.jsonl"), dir.join("events.aside"));
    let mut lines = BufWriter::new(fs::File::create(&aside)?);
    for n in 0..entries {
        let (line, entry) = event(n + 1);
        writeln!(lines, "{line}")?;
        frontier.add(tree::leaf(&entry), |level, index, hash| {
            if level.is_multiple_of(tile::HEIGHT) {
                let level = usize::from(level / tile::HEIGHT);
                levels.resize(levels.len().max(level + 1), Vec::new());
                if let Some(tiles) = levels.get_mut(level) {
                    if index.is_multiple_of(tile::WIDTH) {
                        tiles.push(Vec::new());
                    }
                    if let Some(last) = tiles.last_mut() {
                        last.push(hash);
                    }
                }
            }
        });
        bundle.push(entry);
        if bundle.len() == 256 || n + 1 == entries {
            let tile = Tile { level: None, index: n / tile::WIDTH, width: u16::try_from(bundle.len())? };
            write(&dir.join(tile.path()), &tile::bundle(bundle.iter().map(<[u8; 33]>::as_slice)))?;
            bundle.clear();
        }
    }
    for (level, tiles) in levels.iter().enumerate() {
        for (index, hashes) in tiles.iter().enumerate() {
            let tile = Tile { level: Some(u8::try_from(level)?), index: index as u64, width: u16::try_from(hashes.len())? };
            write(&dir.join(tile.path()), &hashes.concat())?;
        }
    }
    let checkpoint = Checkpoint { origin: ORIGIN.into(), size: entries, root: frontier.root() };
    write(&dir.join("checkpoint"), Note::signed(&checkpoint.text(), &signer).written().as_bytes())?;
    lines.flush()?;
    drop(lines);
    let made = began.elapsed().as_secs_f64();
    let (seconds, peak) = verify(server, &dir, &signer)?;
    let bytes = fs::metadata(&aside)?.len();
    fs::rename(&aside, &events)?;
    let (with_events, with_events_peak) = verify(server, &dir, &signer)?;

    let nodes = Tiles { read: |level, index| levels.get(usize::from(level))?.get(usize::try_from(index).ok()?).cloned() };
    let began = Instant::now();
    let (mut proofs, mut place) = (0u64, 1u64);
    while began.elapsed() < Duration::from_secs(3) {
        place = place.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        tree::inclusion(&nodes, place % entries, entries).ok_or("a tile is missing")?;
        proofs += 1;
    }
    let per_second = proofs as f64 / began.elapsed().as_secs_f64();
    fs::remove_dir_all(&dir)?;
    Ok(json!({
        "entries": entries, "made_seconds": made, "verify_seconds": seconds, "verify_peak_mib": peak, "proofs_per_second": per_second,
        "with_events_seconds": with_events, "with_events_peak_mib": with_events_peak, "events_bytes": bytes,
    }))
}

/// Seconds and megabytes that the program takes for an export.
fn verify(server: &Path, dir: &Path, signer: &Signer) -> Result<(f64, f64), Fail> {
    let began = Instant::now();
    let mut verifying = Command::new(server)
        .args(["audit", "verify", "--dir"]).arg(dir).args(["--key", &signer.verifier().to_string()])
        .stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let mut peak: f64 = 0.0;
    let status = loop {
        peak = peak.max(process::memory(verifying.id()).peak);
        if let Some(status) = verifying.try_wait()? {
            break status;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    if !status.success() {
        return Err("the log does not verify".into());
    }
    Ok((began.elapsed().as_secs_f64(), peak))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Fail> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    Ok(fs::write(path, bytes)?)
}
