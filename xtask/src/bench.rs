//! `cargo xtask bench`: builds the server and the generator as they would be released, and lets the
//! generator measure. docs/benchmarks.md says what the figures mean.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Instant,
};

use clap::Args;

use crate::{
    Failure,
    cargo::{build, cargo},
    postgres::Postgres,
    report, shell,
};

/// What to measure.
#[derive(Args)]
pub struct BenchArgs {
    /// A few minutes instead of forty: to see that it works, not for figures
    #[arg(long)]
    quick: bool,
    /// Leave privacyIDEA out: nothing is downloaded
    #[arg(long)]
    no_peer: bool,
    /// Measure how long a first build takes as well, into an empty folder: ten minutes more
    #[arg(long)]
    build: bool,
    /// Only these parts: accounts, calls, checks, faults, log, peer, policy, portal, race, start, telephony, voice, waiting
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Keep the record in a PostgreSQL server of its own instead of a file
    #[arg(long)]
    postgresql: bool,
    /// Further options of the generator, after --
    #[arg(last = true)]
    more: Vec<String>,
}

/// Measures.
pub fn run(mut args: BenchArgs) -> Result<ExitCode, Failure> {
    let everything = args.only.is_empty();
    if everything && !args.no_peer || args.only.iter().any(|part| part == "policy") {
        // A build of its own, so that nobody who builds Countersign builds its peers.
        shell::run(&mut cargo(&["run", "--release", "--manifest-path", "bench/peers/Cargo.toml"]))?;
        args.only.retain(|part| part != "policy");
        if !everything && args.only.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
    }
    let server = build("countersign", &["--release"])?;
    let generator = build("countersign-bench", &["--release"])?;
    // Beside what cargo builds: thrown away with it, and never in the repository.
    let out = target(&server).join("bench");
    std::fs::create_dir_all(&out)?;
    let mut command = Command::new(generator);
    command.arg("--server").arg(&server).arg("--out").arg(&out).arg("--cache").arg(shell::cache()?);
    if !args.only.is_empty() {
        command.args(["--only", &args.only.join(",")]);
    }
    if args.no_peer {
        command.arg("--no-peer");
    }
    if args.quick {
        command.args(["--seconds", "5", "--warm-up", "2", "--customers", "8000", "--tokens", "1000", "--agents", "32", "--waiting", "2000", "--pages", "1000", "--entries", "200000", "--rounds", "2", "--accounts-most", "10000", "--phone-calls", "200", "--phones", "20", "--set-ups-for", "5", "--fault-seconds", "4"]);
    }
    // Dropped at the end: it stops with the measurement.
    let postgres = if args.postgresql { Some(Postgres::start(true)?) } else { None };
    if let Some(postgres) = &postgres {
        // Ours alone: it may be stopped to see what becomes of calls.
        command.args(["--postgres", &postgres.address(), "--postgres-is-ours"]);
    }
    shell::run(command.args(&args.more))?;
    if args.build {
        first_build(&out)?;
    }
    report::note(&format!("Report: {}", out.join("report.md").display()));
    Ok(ExitCode::SUCCESS)
}

/// The folder that cargo builds into: the binary is in its `release`.
fn target(binary: &Path) -> PathBuf { binary.parent().and_then(Path::parent).unwrap_or(binary).to_path_buf() }

/// How long the server takes to build from nothing, and which crates take most of it.
fn first_build(out: &Path) -> Result<(), Failure> {
    let folder = out.join("first-build");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    let began = Instant::now();
    shell::run(cargo(&["build", "--release", "--timings", "--package", "countersign"]).env("CARGO_TARGET_DIR", &folder))?;
    let seconds = began.elapsed().as_secs_f64();
    let page = std::fs::read_to_string(folder.join("cargo-timings/cargo-timing.html"))?;
    let mut units = units(&page).ok_or("cargo's page of timings has no data of the known form")?;
    units.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let heaviest: Vec<String> = units.iter().take(12).map(|(name, seconds)| format!("{name} {seconds:.0} s")).collect();
    let text = format!("First build: {seconds:.0} s, {} units. Heaviest: {}\n", units.len(), heaviest.join(", "));
    std::fs::write(out.join("first-build.txt"), &text)?;
    report::note(text.trim());
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Names and seconds out of the data that cargo's page of timings draws.
fn units(page: &str) -> Option<Vec<(String, f64)>> {
    let data = page.split_once("const UNIT_DATA = ")?.1.split_once("];")?.0;
    let units: Vec<serde_json::Value> = serde_json::from_str(&format!("{data}]")).ok()?;
    let text = |unit: &serde_json::Value, key: &str| unit.get(key).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
    Some(units.iter().map(|u| (format!("{} {}{}", text(u, "name"), text(u, "version"), text(u, "target")), u.get("duration").and_then(serde_json::Value::as_f64).unwrap_or(0.0))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timings_are_read_from_cargos_page() {
        let page = "x\nconst UNIT_DATA = [\n  {\"i\": 0, \"name\": \"syn\", \"version\": \"2.0.1\", \"target\": \" (build)\", \"duration\": 3.5}\n];\nconst CONCURRENCY_DATA = [];";
        assert_eq!(units(page).unwrap(), [("syn 2.0.1 (build)".to_owned(), 3.5)]);
    }
}
