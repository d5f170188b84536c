//! Checks that the record and the log say the same: here in the database, or offline in an export.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
};

use countersign_tlog::{
    Checkpoint, Frontier, Hash, Note,
    proof::Trust,
    tile::{self, Tile},
    tree,
};
use serde::{Deserialize, Serialize};

use super::{ENTRIES, Entry, LedgerError, Salt, entry::{Salts, is_redacted}, head};
use crate::{record, runner::Runner};

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Entries whose place in the tree was computed anew.
    pub entries: u64,
    /// Events that are what was committed to.
    pub same: u64,
    /// Events that were redacted: the log holds that there was one, and no longer what.
    pub redacted: u64,
    /// Events whose salt was destroyed: nobody can tell any more whether they are what they were.
    pub unsalted: u64,
    /// Events on record that are not in the log yet.
    pub pending: u64,
    /// What does not hold, the first of each kind.
    pub faults: Vec<String>,
}

impl Report {
    /// Nothing was altered.
    #[must_use]
    pub fn holds(&self) -> bool { self.faults.is_empty() }
}

/// An event as it is exported: with its salt, so that its leaf can be computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// Its place in the log of events, from 1.
    pub seq: u64,
    /// The kind of its stream.
    pub kind: String,
    /// The id of its stream, in hexadecimal.
    pub stream: String,
    /// Its place in the stream, from 1.
    pub n: u64,
    /// When, in milliseconds since the epoch.
    pub at: i64,
    /// What happened, byte for byte.
    pub body: String,
    /// The salt of this event, in hexadecimal; missing: destroyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<String>,
}

impl Exported {
    pub(super) fn new(entry: Entry<'_>, salt: Option<&Salt>) -> Self {
        Self {
            seq: entry.seq, kind: entry.kind.to_owned(), stream: hex::encode(entry.id), n: entry.n, at: entry.at, body: entry.body.to_owned(),
            salt: salt.and_then(|salt| salt.of(entry.seq)).map(hex::encode),
        }
    }

    /// The leaf that this event makes. `None`: without a salt nobody can tell.
    #[must_use]
    pub fn leaf(&self) -> Option<Vec<u8>> {
        let mut salt = [0; 32];
        hex::decode_to_slice(self.salt.as_ref()?, &mut salt).ok()?;
        let mut id = [0; 16];
        hex::decode_to_slice(&self.stream, &mut id).ok()?;
        Some(Entry { seq: self.seq, kind: &self.kind, id: &id, n: self.n, at: self.at, body: &self.body }.leaf(&salt))
    }

    /// What it is called where it does not hold.
    fn name(&self) -> String { format!("event {} ({} of {}/{})", self.seq, self.n, self.kind, self.stream) }
}

/// Compares events with what the log holds, and computes the tree.
struct Check {
    report: Report,
    frontier: Frontier,
    altered: u64,
    /// How many events were redacted by what the record says of it.
    accounted: u64,
}

impl Check {
    fn new() -> Self { Self { report: Report::default(), frontier: Frontier::default(), altered: 0, accounted: 0 } }

    /// An event that says what a rule of retention did.
    fn account(&mut self, kind: &str, body: &str) {
        #[derive(Deserialize)]
        struct Applied {
            events: u64,
        }
        if kind == record::RETENTION && let Ok(Applied { events }) = serde_json::from_str(body) {
            self.accounted = self.accounted.saturating_add(events);
        }
    }

    fn event(&mut self, event: &Exported, logged: &[u8]) {
        self.account(&event.kind, &event.body);
        let report = &mut self.report;
        if is_redacted(&event.body) {
            report.redacted += 1;
        } else {
            match event.leaf() {
                None => report.unsalted += 1,
                Some(leaf) if leaf == logged => report.same += 1,
                Some(_) => {
                    self.altered += 1;
                    if self.altered == 1 {
                        report.faults.push(format!("{} is not what was logged: it was altered, or another was put in its place", event.name()));
                    }
                }
            }
        }
    }

    fn leaf(&mut self, entry: &[u8], made: impl FnMut(u8, u64, Hash)) {
        self.report.entries += 1;
        self.frontier.add(tree::leaf(entry), made);
    }

    fn end(mut self, checkpoint: &Checkpoint) -> Report {
        if self.altered > 1 {
            self.report.faults.push(format!("{} events in all are not what was logged", self.altered));
        }
        if self.report.redacted > self.accounted {
            self.report.faults.push(format!(
                "{} events are redacted, and the record says of {} that a rule of retention did it: somebody took the others away", self.report.redacted, self.accounted
            ));
        }
        if (self.frontier.size(), self.frontier.root()) != (checkpoint.size, checkpoint.root) {
            self.report.faults.push(format!(
                "the checkpoint is signed over {} entries with another root than these {}: entries were altered, or left out", checkpoint.size, self.frontier.size()
            ));
        }
        self.report
    }
}

/// The record in the database against its own log. `progress` is told how many events are done.
pub async fn database(runner: &Runner, origin: &str, mut progress: impl FnMut(u64)) -> Result<Report, LedgerError> {
    let head = head(&runner.store).await?;
    let mut check = Check::new();
    let Some(note) = head.note else {
        check.report.pending = runner.store.head().await?;
        return Ok(check.report);
    };
    let trust = Trust { origin: origin.to_owned(), keys: super::public_keys(runner).await?, witnesses: Vec::new(), quorum: 0 };
    let checkpoint = match trust.checkpoint(&note) {
        Ok(checkpoint) => checkpoint,
        Err(e) => {
            check.report.faults.push(format!("the head of the log does not count: {e}"));
            return Ok(check.report);
        }
    };
    let mut bundle: (u64, Vec<u8>) = (u64::MAX, Vec::new());
    let mut salts = Salts::default();
    let mut after = 0;
    while after < head.size {
        let rows = runner.store.log(after, 1000).await?;
        if rows.is_empty() {
            check.report.faults.push(format!("the record ends with event {after}, and the log has {} entries", head.size));
            break;
        }
        for row in rows.iter().take_while(|row| row.seq <= head.size) {
            let index = after / tile::WIDTH;
            if bundle.0 != index {
                let doc = runner.store.doc(ENTRIES, &index.to_be_bytes()).await?;
                bundle = (index, doc.map(|doc| doc.body).unwrap_or_default());
            }
            let entries = tile::entries(&bundle.1)?;
            let Some(logged) = usize::try_from(after % tile::WIDTH).ok().and_then(|place| entries.get(place)) else {
                check.report.faults.push(format!("entry {after} is missing from the log"));
                return Ok(check.end(&checkpoint));
            };
            check.event(&Exported::new(Entry::from(row), salts.of(runner, row).await?), logged);
            check.leaf(logged, |_, _, _| {});
            after += 1;
        }
        progress(after);
    }
    check.report.pending = runner.store.head().await?.saturating_sub(head.size);
    // What a rule did in this moment, and is not in the log yet.
    for row in runner.store.log(head.size, 10_000).await? {
        check.account(&row.stream_kind, &row.body);
    }
    Ok(check.end(&checkpoint))
}

/// Why an export cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A file of it cannot be read.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its head does not count.
    #[error("the head of this log does not count: {0}")]
    Head(String),
}

fn read(path: PathBuf) -> Result<Vec<u8>, ExportError> { std::fs::read(&path).map_err(|source| ExportError::File { path, source }) }

/// Checks a whole exported log without the server, its keys or its database: tiles, entries and events
/// are read once, in order, and forgotten. What counts is what `trust` names, not what lies beside the
/// export.
pub fn directory(dir: &Path, trust: &Trust, mut progress: impl FnMut(u64)) -> Result<Report, ExportError> {
    let note = String::from_utf8_lossy(&read(dir.join("checkpoint"))?).into_owned();
    let note = Note::parse(&note).map_err(|e| ExportError::Head(e.to_string()))?;
    let checkpoint = trust.checkpoint(&note).map_err(|e| ExportError::Head(e.to_string()))?;
    let events = dir.join("events.jsonl");
    let mut events = match File::open(&events) {
        Ok(file) => Some(BufReader::with_capacity(1 << 20, file)),
        // The log alone, as it is served to everybody.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(source) => return Err(ExportError::File { path: events, source }),
    };
    let mut check = Check::new();
    let mut levels = Levels { dir, size: checkpoint.size, open: Vec::new(), fault: None };
    let mut line = String::new();
    let mut bundle = Vec::new();
    for tile in Tile::all(checkpoint.size).take_while(|tile| tile.level.is_none()) {
        let path = dir.join(tile.path());
        bundle.clear();
        let opened = File::open(&path).and_then(|mut file| file.read_to_end(&mut bundle));
        if let Err(source) = opened {
            return Err(ExportError::File { path, source });
        }
        let entries = match tile::entries(&bundle) {
            Ok(entries) if entries.len() == usize::from(tile.width) => entries,
            Ok(entries) => {
                check.report.faults.push(format!("{} has {} entries, and should have {}", path.display(), entries.len(), tile.width));
                entries
            }
            Err(e) => {
                check.report.faults.push(format!("{}: {e}", path.display()));
                return Ok(check.end(&checkpoint));
            }
        };
        for entry in entries {
            let seq = check.frontier.size() + 1;
            check.leaf(entry, |level, index, hash| levels.compare(level, index, hash));
            let Some(file) = &mut events else { continue };
            line.clear();
            file.read_line(&mut line).map_err(|source| ExportError::File { path: dir.join("events.jsonl"), source })?;
            match serde_json::from_str::<Exported>(&line) {
                Ok(event) if event.seq == seq => check.event(&event, entry),
                Ok(event) => {
                    check.report.faults.push(format!("events.jsonl has event {} where event {seq} belongs: it was left out or moved", event.seq));
                    events = None;
                }
                Err(_) => {
                    check.report.faults.push(format!("events.jsonl ends, or is damaged, at event {seq}"));
                    events = None;
                }
            }
        }
        progress(check.report.entries);
    }
    check.report.faults.extend(levels.fault.take());
    Ok(check.end(&checkpoint))
}

/// The tiles of hashes, one of each level open, compared as their nodes come about.
struct Levels<'a> {
    dir: &'a Path,
    size: u64,
    open: Vec<Option<(u64, Vec<u8>)>>,
    fault: Option<String>,
}

impl Levels<'_> {
    fn compare(&mut self, level: u8, index: u64, hash: Hash) {
        if !level.is_multiple_of(tile::HEIGHT) || self.fault.is_some() {
            return;
        }
        let (level, place) = (level / tile::HEIGHT, index % tile::WIDTH);
        let slot = usize::from(level);
        if self.open.len() <= slot {
            self.open.resize(slot + 1, None);
        }
        let number = index / tile::WIDTH;
        let count = tile::count(level, self.size) - number * tile::WIDTH;
        let tile = Tile { level: Some(level), index: number, width: u16::try_from(count.min(tile::WIDTH)).unwrap_or(256) };
        let Some(open) = self.open.get_mut(slot) else { return };
        if open.as_ref().is_none_or(|(of, _)| *of != number) {
            match std::fs::read(self.dir.join(tile.path())) {
                Ok(bytes) if bytes.len() == usize::from(tile.width) * 32 => *open = Some((number, bytes)),
                Ok(bytes) => self.fault = Some(format!("{} has {} bytes, and should have {}: it was cut off or is another's", tile.path(), bytes.len(), usize::from(tile.width) * 32)),
                Err(e) => self.fault = Some(format!("{}: {e}", tile.path())),
            }
        }
        let from = usize::try_from(place).unwrap_or(0) * 32;
        let same = open.as_ref().and_then(|(_, bytes)| bytes.get(from..from + 32)).is_some_and(|found| found == hash);
        if self.fault.is_none() && !same {
            self.fault = Some(format!("{} differs at hash {place} from what the entries come to", tile.path()));
        }
    }
}
