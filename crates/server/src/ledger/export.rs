//! The whole log as files: what is served, and the events with their salts.

use std::{
    fs,
    io::{BufWriter, Write as _},
    path::Path,
};

use countersign_tlog::tile::Tile;

use super::{Entry, LedgerError, entry::Salts, head, public_keys, served, verify::Exported};
use crate::runner::{RunError, Runner};

fn failed(path: &Path, source: std::io::Error) -> LedgerError { LedgerError::File { path: path.to_owned(), source } }

/// Writes everything into a new folder; returns how many entries.
///
/// # Errors
/// The folder is there already, cannot be written, or the record does not answer.
pub async fn export(runner: &Runner, dir: &Path, mut progress: impl FnMut(u64, u64)) -> Result<u64, LedgerError> {
    let head = head(&runner.store).await?;
    let Some(note) = head.note else { return Err(LedgerError::NotYet) };
    fs::create_dir(dir).map_err(|e| failed(dir, e))?;
    let write = |path: &str, bytes: &[u8]| {
        let path = dir.join(path);
        let parent = path.parent().map_or(Ok(()), fs::create_dir_all);
        parent.and_then(|()| fs::write(&path, bytes)).map_err(|e| failed(&path, e))
    };
    for tile in Tile::all(head.size) {
        let bytes = served(&runner.store, tile).await?.ok_or_else(|| LedgerError::Damaged(format!("{} is missing", tile.path())))?;
        write(&tile.path(), &bytes)?;
    }
    let keys: String = public_keys(runner).await?.iter().map(|key| format!("{key}\n")).collect();
    write("keys", keys.as_bytes())?;
    let path = dir.join("events.jsonl");
    let mut events = BufWriter::new(fs::File::create(&path).map_err(|e| failed(&path, e))?);
    let mut salts = Salts::default();
    let mut after = 0;
    while after < head.size {
        let rows = runner.store.log(after, 1000).await?;
        let Some(last) = rows.last() else { break };
        after = last.seq;
        for row in rows.iter().take_while(|row| row.seq <= head.size) {
            let line = serde_json::to_string(&Exported::new(Entry::from(row), salts.of(runner, row).await?)).map_err(RunError::from)?;
            writeln!(events, "{line}").map_err(|e| failed(&path, e))?;
        }
        progress(after.min(head.size), head.size);
    }
    events.flush().map_err(|e| failed(&path, e))?;
    // Last: whoever finds a checkpoint finds all that it is over.
    write("checkpoint", note.written().as_bytes())?;
    Ok(head.size)
}
