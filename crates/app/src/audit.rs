//! The record, for people and for programs.

use std::{io::Write as _, path::Path, process::ExitCode};

use countersign_core::{id::CallId, story::{self, Reader}};
use countersign_server::config::Config;

use crate::{
    Failure, start,
    term::{BAD, DIM, STRONG},
};

/// `audit show`: one call as a story.
pub async fn show(config: &Path, id: CallId) -> Result<ExitCode, Failure> {
    let runner = start::open(&Config::read(config)?).await?;
    let events = runner.events(id).await?;
    let Some(first) = events.first() else { return Err(format!("there is no call {id} on record").into()) };
    anstream::println!("{STRONG}{id}{STRONG:#}, {}\n", first.at);
    for recorded in &events {
        let since = recorded.at - first.at;
        let sentence = story::sentence(&recorded.event, Reader::Lead);
        let style = if sentence.contains("DURESS") || sentence.contains("HELD") { BAD } else { anstyle::Style::new() };
        anstream::println!("{DIM}{:>4}  {:>7.1}s{DIM:#}  {style}{sentence}{style:#}", recorded.n, std::time::Duration::from_millis(u64::try_from(since.0).unwrap_or(0)).as_secs_f32());
    }
    runner.store.close().await;
    Ok(ExitCode::SUCCESS)
}

/// `audit export`: every event of every stream in the order of the log, one JSON object a line.
pub async fn export(config: &Path) -> Result<ExitCode, Failure> {
    let runner = start::open(&Config::read(config)?).await?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut after = 0;
    loop {
        let page = runner.store.log(after, 1000).await?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        for row in &page {
            // The body is written as it is stored, byte for byte: hashes over it stay valid.
            let line = format!(r#"{{"event":{},"seq":{},"stream":"{}/{}"}}"#, row.body, row.seq, row.stream_kind, hex::encode(row.stream_id));
            if let Err(e) = writeln!(out, "{line}") {
                // A reader that has enough (`| head`) is no failure.
                if e.kind() == std::io::ErrorKind::BrokenPipe {
                    return Ok(ExitCode::SUCCESS);
                }
                return Err(e.into());
            }
        }
    }
    out.flush()?;
    runner.store.close().await;
    Ok(ExitCode::SUCCESS)
}
