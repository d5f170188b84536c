//! What a contributor runs: `cargo xtask test`, `cargo xtask bench`, `cargo xtask fuzz`.

mod bench;
mod cargo;
mod fuzz;
mod node;
mod postgres;
mod prerequisites;
mod python;
mod report;
mod repository;
mod shell;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tests and measures Countersign.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything that must hold before a change is merged
    Test(test::TestArgs),
    /// Measure
    Bench(bench::BenchArgs),
    /// Throw broken input at every parser that strangers reach
    Fuzz(fuzz::FuzzArgs),
}

/// What went wrong, in words for whoever typed the command.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Test(args) => test::run(&args),
        Command::Bench(args) => bench::run(args),
        Command::Fuzz(args) => fuzz::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(e) => {
            report::error(&e.to_string());
            ExitCode::FAILURE
        }
    }
}
