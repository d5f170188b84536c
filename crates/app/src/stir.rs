//! `countersign stir`: signed calls, tried from a terminal.

use std::{path::PathBuf, process::ExitCode};

use clap::Subcommand;
use countersign_stir::vectors::{self, Line};

use crate::{
    Failure,
    term::{BAD, DIM, GOOD, good},
};

/// `stir`.
#[derive(Subcommand)]
pub enum StirCommand {
    /// Verify the signed calls of a file of test vectors, and compare what comes of each with what should
    Check {
        /// The file: roots, certificates and tokens in JSON
        #[arg(long)]
        vectors: PathBuf,
    },
}

/// Runs one of them.
pub fn run(command: &StirCommand) -> Result<ExitCode, Failure> {
    let StirCommand::Check { vectors: path } = command;
    let text = std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let lines = vectors::check(&text)?;
    // An empty file would agree with everything.
    if lines.is_empty() {
        return Err(format!("{} holds no vectors", path.display()).into());
    }
    let width = lines.iter().map(|line| line.name.chars().count()).max().unwrap_or(0);
    for Line { name, expected, got } in &lines {
        if expected == got {
            anstream::println!("{GOOD}ok   {GOOD:#}  {name:width$}  {got}");
        } else {
            anstream::println!("{BAD}WRONG{BAD:#}  {name:width$}  {got}  {DIM}should be{DIM:#} {expected}");
        }
    }
    let wrong = lines.iter().filter(|line| !line.agrees()).count();
    if wrong == 0 {
        good(&format!("All {} vectors come out as they should.", lines.len()));
        return Ok(ExitCode::SUCCESS);
    }
    anstream::println!("\n{BAD}{wrong} of {} do not come out as they should.{BAD:#}", lines.len());
    Ok(ExitCode::FAILURE)
}
