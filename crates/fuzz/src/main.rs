//! `cargo xtask fuzz`.

use std::{process::ExitCode, time::{Duration, SystemTime}};

use clap::Parser;
use countersign_fuzz::{corpus, drive::{Limit, keep, run}, targets};

/// Throws broken input at every parser that strangers reach
#[derive(Parser)]
struct Args {
    /// For how long, each target
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Only this one
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Draws the same inputs again; otherwise chosen by the clock
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(|| SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()));
    let wanted: Vec<_> = targets::all().into_iter().filter(|target| args.target.as_deref().is_none_or(|name| name == target.name)).collect();
    if wanted.is_empty() {
        let names: Vec<_> = targets::all().iter().map(|target| target.name).collect();
        eprintln!("no such target; there are: {}", names.join(", "));
        return ExitCode::FAILURE;
    }
    println!("seed {seed}, {} s for each of {} targets\n", args.seconds, wanted.len());
    println!("{:<18} {:>11} {:>10} {:>11}  what is tried", "target", "inputs", "inputs/s", "slowest");
    let mut finds = 0;
    for mut target in wanted {
        let ran = run(&mut target, seed, Limit::Time(Duration::from_secs(args.seconds)));
        #[expect(clippy::cast_precision_loss, reason = "nobody tries 2^52 inputs")]
        let rate = ran.inputs as f64 / ran.took.as_secs_f64().max(1e-9);
        println!("{:<18} {:>11} {:>10.0} {:>8.1} ms  {}", target.name, ran.inputs, rate, ran.slowest.as_secs_f64() * 1e3, target.what);
        let Some(find) = ran.find else { continue };
        // At once: the next target may bring the process down.
        let name = target.name;
        finds += 1;
        let place = match keep(&corpus(), name, &find.input) {
            Ok(file) => format!("kept as {}", file.display()),
            Err(e) => format!("and cannot be kept: {e}"),
        };
        println!("\n{name}: {}\n  {} bytes, {place}. The normal tests play it back from now on.\n", find.why, find.input.len());
    }
    if finds == 0 {
        println!("\nNothing was found.");
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
