//! `cargo xtask bench`.

use std::process::ExitCode;

use clap::Args;

use crate::{Failure, report};

/// What to measure.
#[derive(Args)]
pub struct BenchArgs {}

/// Measures.
pub fn run(_: BenchArgs) -> Result<ExitCode, Failure> {
    report::note("the benchmarks are being written");
    Ok(ExitCode::FAILURE)
}
