//! `cargo xtask fuzz`: broken input for every parser that strangers reach.

use std::process::{Command, ExitCode};

use clap::Args;

use crate::{Failure, cargo, shell};

/// How long, and what.
#[derive(Args)]
pub struct FuzzArgs {
    /// For how long, each target
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Only this target; a name that there is not lists them
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Draws the same inputs again; otherwise chosen by the clock
    #[arg(long)]
    seed: Option<u64>,
    /// Optimised: several times as many inputs, after a long build
    #[arg(long)]
    release: bool,
}

/// Builds as the tests do, so that nothing is built twice, and runs.
pub fn run(args: &FuzzArgs) -> Result<ExitCode, Failure> {
    let mut flags = vec!["--workspace", "--bin", "countersign-fuzz"];
    flags.extend(args.release.then_some("--release"));
    let mut command = Command::new(cargo::binary("countersign-fuzz", &flags)?);
    command.current_dir(shell::root()).arg("--seconds").arg(args.seconds.to_string());
    for (name, value) in [("--target", args.target.clone()), ("--seed", args.seed.map(|seed| seed.to_string()))] {
        command.args(value.iter().flat_map(|value| [name, value.as_str()]));
    }
    Ok(if command.status()?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
