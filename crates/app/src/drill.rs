//! `drill`: plays attacks against a configuration and says which stopped where.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use countersign_drill::{Part, Report, Setting, Verdict, attacks, html, own, run};
use countersign_policy::Sources;
use countersign_server::{
    clock::system_clock,
    config::Config,
    drills::{Ended, SavedDrill, SavedRun, save},
};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    Failure, start,
    term::{self, BAD, DIM, GOOD, STRONG, WARN},
};

/// What can be said to `drill`.
#[derive(clap::Args)]
pub struct Args {
    /// The configuration file; what is shipped if left out
    #[arg(long)]
    config: Option<PathBuf>,
    /// Play the drills of this file instead of the shipped ones: see docs/drills.md
    #[arg(long)]
    file: Option<PathBuf>,
    /// Play only this one; may be given again
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Say which drills there are, and play none
    #[arg(long)]
    list: bool,
    /// Play a run again that had this seed
    #[arg(long)]
    seed: Option<u64>,
    /// Write everything that happened to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page to read and to hand on, as HTML
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Keep the verdicts in the record, for the lead's page /admin/drills
    #[arg(long, requires = "config")]
    save: bool,
}

/// Ends with 0 if nothing got through, 1 if something did, 2 if it could not be played.
pub async fn drill(args: Args) -> ExitCode {
    match play(&args).await {
        Ok(code) => code,
        Err(e) => {
            term::fail(e.as_ref());
            ExitCode::from(2)
        }
    }
}

async fn play(args: &Args) -> Result<ExitCode, Failure> {
    let mine = match &args.file {
        Some(file) => {
            let name = file.display().to_string();
            let text = std::fs::read_to_string(file).map_err(|e| format!("cannot read {name}: {e}"))?;
            own::read(&name, &text)?
        }
        None => Vec::new(),
    };
    let mut parts: Vec<Part<'_>> = if args.file.is_some() { mine.iter().map(Part::Own).collect() } else { attacks::all().map(Part::Shipped).collect() };
    if let Some(unknown) = args.only.iter().find(|name| !parts.iter().any(|part| part.name() == *name)) {
        return Err(format!("there is no drill called {unknown}: `countersign drill --list` names them").into());
    }
    if !args.only.is_empty() {
        parts.retain(|part| args.only.iter().any(|name| name == part.name()));
    }
    if args.list {
        list(&parts);
        return Ok(ExitCode::SUCCESS);
    }
    let config = args.config.as_deref().map(Config::read).transpose()?;
    let setting = match &config {
        Some(config) => Setting::of(config, active(config).await?)?,
        None => Setting::shipped(),
    };
    let report = watched(&setting, &parts, args.seed.map_or_else(seed, Ok)?).await;
    tell(&report);
    let now = system_clock();
    if let Some(file) = &args.json {
        write(file, &serde_json::to_string_pretty(&report)?)?;
    }
    if let Some(file) = &args.report {
        let when = now.to_string();
        write(file, &html::page(&report, &format!("{} {} UTC", when.get(..10).unwrap_or_default(), when.get(11..16).unwrap_or_default()))?)?;
    }
    if let (true, Some(config)) = (args.save, &config) {
        let runner = start::open(config).await?;
        save(&runner.store, &kept(&report, now)).await?;
        runner.store.close().await;
        term::good("Kept for /admin/drills.");
    }
    Ok(ExitCode::from(report.exit_code()))
}

/// The policy set that the lead activated, if there is a record in which somebody did.
async fn active(config: &Config) -> Result<Option<Sources>, Failure> {
    if !config.store.is_there() {
        return Ok(None);
    }
    let runner = start::open(config).await?;
    runner.refresh_policies().await?;
    let active = runner.policies.active();
    runner.store.close().await;
    Ok(active.since.is_some().then(|| Sources { schema: active.schema.clone(), files: active.files.clone() }))
}

/// A seed that is short enough to be typed again.
fn seed() -> Result<u64, Failure> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(|e| format!("the operating system gives no randomness: {e}"))?;
    Ok(u64::from(u32::from_be_bytes(bytes)))
}

fn write(file: &Path, text: &str) -> Result<(), Failure> { std::fs::write(file, text).map_err(|e| format!("cannot write {}: {e}", file.display()).into()) }

fn list(parts: &[Part<'_>]) {
    let width = parts.iter().map(|p| p.name().len()).max().unwrap_or(0);
    for part in parts {
        let story = match part {
            Part::Shipped(drill) => drill.story,
            Part::Own(drill) => &drill.story,
        };
        anstream::println!("{STRONG}{:width$}{STRONG:#}  {story}", part.name());
    }
}

/// Plays them, and shows on a terminal which one is being played.
async fn watched(setting: &Setting, parts: &[Part<'_>], seed: u64) -> Report {
    let bar = ProgressBar::new(u64::try_from(parts.len()).unwrap_or(u64::MAX));
    if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos} of {len}  {msg}") {
        bar.set_style(style);
    }
    let mut begun = 0;
    let report = run(setting, parts, seed, |name| {
        bar.set_position(begun);
        bar.set_message(name.to_owned());
        begun += 1;
    }).await;
    bar.finish_and_clear();
    report
}

fn tell(report: &Report) {
    let width = report.drills.iter().map(|d| d.name.len()).max().unwrap_or(0);
    for drill in &report.drills {
        let style = match drill.verdict {
            Verdict::Stopped { .. } => GOOD,
            Verdict::GotThrough { .. } => BAD,
            Verdict::NotApplicable { .. } => DIM,
            Verdict::Broken { .. } => WARN,
        };
        anstream::println!("{STRONG}{:width$}{STRONG:#}  {style}{:14}{style:#}  {}", drill.name, drill.verdict.name(), drill.verdict.place());
    }
    anstream::println!("\n{}", report.summary());
    if let (1 | 2, Some(drill)) = (report.exit_code(), report.drills.iter().find(|d| matches!(d.verdict, Verdict::GotThrough { .. } | Verdict::Broken { .. }))) {
        anstream::println!("{DIM}Step by step:{DIM:#} countersign drill --only {} --seed {} --report drill.html, with the same --config and --file", drill.name, report.seed);
    }
}

/// As much of a report as the lead's page shows.
fn kept(report: &Report, at: countersign_core::time::Timestamp) -> SavedRun {
    let drills = report.drills.iter().map(|drill| SavedDrill {
        name: drill.name.clone(), story: drill.story.clone(), place: drill.verdict.place(),
        ended: match drill.verdict {
            Verdict::Stopped { .. } => Ended::Stopped,
            Verdict::GotThrough { .. } => Ended::GotThrough,
            Verdict::NotApplicable { .. } => Ended::NotApplicable,
            Verdict::Broken { .. } => Ended::Broken,
        },
    });
    SavedRun { at, program: report.program.clone(), policy: report.policy.clone(), seed: report.seed, drills: drills.collect() }
}
