//! The record, for people and for programs.

use std::{io::Write as _, path::{Path, PathBuf}, process::ExitCode, sync::Arc};

use countersign_core::{id::CallId, story::{self, Reader}};
use countersign_server::{agents::Agents, config::Config, desk::named_by, runner::Runner, ledger::{self, export, receipt::{self, Receipt}, verify::{self, Report}}};
use countersign_tlog::{Verifier, proof::Trust};

use crate::{
    Failure, start,
    term::{self, BAD, DIM, GOOD, STRONG},
};

/// Puts the names of agents into sentences, in place of their ids. Who is no longer at the desk, or is at
/// one that several companies share, keeps the id.
pub async fn names(runner: &Arc<Runner>) -> Result<impl Fn(String) -> String + use<>, Failure> {
    let agents = Agents::new(runner.clone());
    agents.refresh().await?;
    Ok(move |text: String| named_by(&text, |agent| agents.name(agent)))
}

/// `audit show`: one call as a story.
pub async fn show(config: &Path, id: CallId) -> Result<ExitCode, Failure> {
    let runner = Arc::new(start::open(&Config::read(config)?).await?);
    let events = runner.events(id).await?;
    let Some(first) = events.first() else { return Err(format!("there is no call {id} on record").into()) };
    let named = names(&runner).await?;
    anstream::println!("{STRONG}{id}{STRONG:#}, {}\n", first.at);
    for recorded in &events {
        let since = recorded.at - first.at;
        let sentence = named(story::sentence(&recorded.event, Reader::Lead));
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

/// `audit verify`.
#[derive(clap::Args)]
pub struct Verify {
    /// An exported log; the configuration's database if left out
    #[arg(long)]
    dir: Option<PathBuf>,
    #[command(flatten)]
    trust: Keys,
    /// The configuration file
    #[arg(long, default_value = "countersign.toml")]
    config: PathBuf,
}

/// `audit check-receipt`.
#[derive(clap::Args)]
pub struct CheckReceipt {
    /// The receipt
    file: PathBuf,
    #[command(flatten)]
    trust: Keys,
}

/// Whose word counts.
#[derive(clap::Args)]
struct Keys {
    /// A public key of the log, as /log/keys shows it, from somebody you trust; several after a rotation
    #[arg(long = "key", value_name = "NAME+HASH+KEY")]
    keys: Vec<Verifier>,
    /// A public key of a witness
    #[arg(long = "witness", value_name = "NAME+HASH+KEY")]
    witnesses: Vec<Verifier>,
    /// How many witnesses must have seen the head; all that are named if left out
    #[arg(long)]
    quorum: Option<usize>,
}

impl Keys {
    fn trust(&self) -> Result<Trust, Failure> {
        let Self { keys, witnesses, quorum } = self;
        let Some(first) = keys.first() else {
            return Err("name the key of the log with --key: from somebody you trust, not from the file that you check".into());
        };
        if keys.iter().any(|key| key.name() != first.name()) {
            return Err("the keys are those of several logs: name keys of one".into());
        }
        let quorum = quorum.unwrap_or(witnesses.len());
        if quorum > witnesses.len() {
            return Err(format!("{quorum} witnesses are wanted, and {} named", witnesses.len()).into());
        }
        Ok(Trust { origin: first.name().to_owned(), keys: keys.clone(), witnesses: witnesses.clone(), quorum })
    }
}

/// `audit verify`: the database or an export.
pub async fn verify(args: Verify) -> Result<ExitCode, Failure> {
    let report = match &args.dir {
        Some(dir) => {
            let trust = args.trust.trust()?;
            let bar = term::spinner("entries verified");
            let report = verify::directory(dir, &trust, |done| bar.set_position(done))?;
            bar.finish_and_clear();
            report
        }
        None => {
            let config = Config::read(&args.config)?;
            let runner = start::open(&config).await?;
            runner.store.verify().await?;
            let bar = term::spinner("events verified");
            let report = verify::database(&runner, &config.log_origin(), |done| bar.set_position(done)).await?;
            bar.finish_and_clear();
            runner.store.close().await;
            report
        }
    };
    Ok(say(&report))
}

fn say(report: &Report) -> ExitCode {
    let Report { entries, same, redacted, unsalted, pending, faults } = report;
    for (count, what) in [
        (entries, "entries of the log, their tree computed anew"), (same, "events are what was logged"), (redacted, "events were redacted by a rule of retention"),
        (unsalted, "events of somebody who was erased: the log holds that there was one, not what"), (pending, "events are not in the log yet"),
    ] {
        if *count > 0 || what.starts_with("entries") {
            anstream::println!("{count:>12}  {DIM}{what}{DIM:#}");
        }
    }
    if report.holds() {
        anstream::println!("{GOOD}Verified{GOOD:#}: nothing that was logged was altered.");
        return ExitCode::SUCCESS;
    }
    for fault in faults {
        anstream::println!("{BAD}Altered{BAD:#}: {fault}");
    }
    ExitCode::FAILURE
}

/// `audit export-log`.
pub async fn export_log(config: &Path, dir: &Path) -> Result<ExitCode, Failure> {
    let runner = start::open(&Config::read(config)?).await?;
    let bar = term::bar("events written");
    let n = export::export(&runner, dir, |done, of| {
        bar.set_length(of);
        bar.set_position(done);
    })
    .await?;
    bar.finish_and_clear();
    runner.store.close().await;
    term::good(&format!(
        "{n} entries are in {}. It holds every event: keep it as you keep the database. Verify it anywhere: countersign audit verify --dir {} --key KEY",
        dir.display(), dir.display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// `audit receipt`.
pub async fn receipt(config: &Path, call: CallId, for_customer: bool) -> Result<ExitCode, Failure> {
    let runner = start::open(&Config::read(config)?).await?;
    let receipt = receipt::of(&runner, call).await?.ok_or_else(|| format!("there is no call {call} on record"))?;
    let receipt = if for_customer { receipt.for_customer() } else { receipt };
    runner.store.close().await;
    println!("{}", serde_json::to_string_pretty(&receipt)?);
    Ok(ExitCode::SUCCESS)
}

/// `audit check-receipt`.
pub fn check_receipt(args: &CheckReceipt) -> Result<ExitCode, Failure> {
    let trust = args.trust.trust()?;
    let text = std::fs::read_to_string(&args.file).map_err(|e| format!("{}: {e}", args.file.display()))?;
    let receipt = Receipt::parse(&text)?;
    match receipt.check(&trust) {
        Ok(story) => {
            anstream::println!("{STRONG}{}{STRONG:#}, in the log {}\n", receipt.call, trust.origin);
            for (recorded, sentence) in &story {
                anstream::println!("{DIM}{:>4}  {}{DIM:#}  {sentence}", recorded.n, recorded.at);
            }
            let seen = match trust.quorum {
                0 => String::new(),
                1 => ", seen by 1 witness".to_owned(),
                n => format!(", seen by {n} witnesses"),
            };
            anstream::println!("\n{GOOD}Verified{GOOD:#}: all {} events are in the log as they stand here{seen}.", story.len());
            Ok(ExitCode::SUCCESS)
        }
        Err(e) => {
            anstream::println!("{BAD}NOT verified{BAD:#}: {e}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// `audit rotate-key`.
pub async fn rotate_key(config: &Path) -> Result<ExitCode, Failure> {
    let config = Config::read(config)?;
    let runner = start::open(&config).await?;
    let key = ledger::rotate(&runner, &config.log_origin()).await?;
    runner.store.close().await;
    term::good(&format!("The next checkpoint is signed by the old key and this one, later ones by this one alone. Give it to witnesses and to whoever keeps receipts:\n{key}"));
    Ok(ExitCode::SUCCESS)
}
