//! Cargo: linting, building, and running the tests of the workspace.

use std::{path::{Path, PathBuf}, process::Command};

use crate::{
    Failure, report,
    shell::{self, in_ci, which},
};

/// Cargo itself, in the workspace. In CI the lock file is law.
pub fn cargo(subcommand: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(shell::root()).args(subcommand);
    if in_ci() {
        command.arg("--locked");
    }
    if report::colours() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    command
}

/// Builds one package with these flags (`--release`, …), and says where its binary is.
pub fn build(package: &str, flags: &[&str]) -> Result<PathBuf, Failure> { binary(package, &[&["--package", package], flags].concat()) }

/// Builds what these flags select, and says where the binary is.
pub fn binary(package: &str, flags: &[&str]) -> Result<PathBuf, Failure> {
    let mut command = cargo(&["build", "--message-format", "json-render-diagnostics"]);
    command.args(flags).stderr(std::process::Stdio::inherit());
    let out = command.stdin(std::process::Stdio::null()).output()?;
    if !out.status.success() {
        return Err(format!("{} does not build", package).into());
    }
    let messages = String::from_utf8_lossy(&out.stdout);
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let binary = artifacts.filter_map(|m| m.get("executable")?.as_str().map(PathBuf::from)).next_back();
    binary.ok_or_else(|| format!("cargo built {package} and named no binary").into())
}

/// Clippy over everything, warnings are errors.
pub fn clippy() -> Result<(), Failure> {
    if !shell::succeeds(Command::new("cargo").args(["clippy", "--version"])) {
        return Err("clippy is not installed: rustup component add clippy".into());
    }
    shell::run(cargo(&["clippy", "--workspace", "--all-targets"]).args(["--", "-D", "warnings"]))
}

/// The same for the program without its optional parts, which nothing else here builds. The tests of the
/// fuzz crate need them, so that it is left out; the libraries are those of the other builds.
pub fn clippy_bare() -> Result<(), Failure> {
    shell::run(cargo(&["clippy", "--workspace", "--exclude", "countersign-fuzz", "--no-default-features"]).args(["--", "-D", "warnings"]))
}

/// Where tests find a PostgreSQL server.
pub const POSTGRES: &str = "COUNTERSIGN_TEST_POSTGRES";

/// Runs the tests of the workspace, with nextest where it is installed, and says how many there were.
pub fn test(filter: Option<&str>, postgres: Option<&str>) -> Result<String, Failure> {
    let cargo = |subcommand: &[&str]| {
        let mut command = cargo(subcommand);
        command.envs(postgres.map(|address| (POSTGRES, address)));
        command
    };
    if which("cargo-nextest").is_none() {
        return counted(cargo(&["test", "--workspace", "--no-fail-fast"]).args(filter));
    }
    // Nextest does not know doc tests.
    let tests = counted(cargo(&["nextest", "run", "--workspace", "--no-fail-fast", "--no-tests", "pass"]).args(filter))?;
    let docs = counted(cargo(&["test", "--workspace", "--doc", "--no-fail-fast"]).args(filter))?;
    Ok(format!("{tests}; doc tests: {docs}"))
}

/// The test that plays every scenario over telephones with sound, and what it is called.
pub const ON_THE_LINE: &str = "every_scenario_on_the_line";

/// Runs it by itself: sound goes on in its own time, and a machine that is busy with a thousand other tests
/// tells of the machine.
pub fn on_the_line(postgres: Option<&str>) -> Result<String, Failure> {
    let mut command = cargo(&["test", "--workspace", "--test", "scenarios"]);
    command.envs(postgres.map(|address| (POSTGRES, address))).args(["--", "--ignored", ON_THE_LINE]);
    let came = counted(&mut command)?;
    // A name that nothing has is no failure to cargo.
    if came.starts_with("1 passed") { Ok(came) } else { Err(format!("{ON_THE_LINE} was not run: {came}").into()) }
}

/// What names recordings of people, which are no part of the project.
pub const RECORDINGS: &str = "COUNTERSIGN_VOICE_DATA";

/// Runs the tests on recordings, which everybody else's run counts as ignored.
pub fn on_recordings(folder: &Path, filter: Option<&str>) -> Result<String, Failure> {
    // Tests run in the folder of their crate.
    let folder = folder.canonicalize().map_err(|e| format!("{RECORDINGS} is {}: {e}", folder.display()))?;
    let tests = ["digits", "people", "plugins", "reference", "voice"].into_iter().flat_map(|name| ["--test", name]);
    let mut command = cargo(&["test", "--workspace", "--no-fail-fast"]);
    command.args(tests).env(RECORDINGS, folder).args(["--", "--ignored"]).args(filter);
    let came = counted(&mut command)?;
    // Names that nothing has are no failure to cargo.
    if filter.is_none() && came.starts_with("0 passed") { Err("no test on recordings was run".into()) } else { Ok(came) }
}

fn counted(command: &mut Command) -> Result<String, Failure> {
    let heard = shell::listen(command, |line| line.starts_with("test result:") || line.starts_with("Summary ["))?;
    let result = closing(&heard.lines);
    if heard.code == Some(0) { Ok(result) } else { Err(format!("{} failed: {result}", shell::written(command)).into()) }
}

/// The closing lines of a test runner in one: `412 passed, 0 failed, 1 ignored`.
fn closing(lines: &[String]) -> String {
    if lines.is_empty() {
        return "no test was run".into();
    }
    if let Some(summary) = lines.iter().rev().find(|l| l.starts_with("Summary [")) {
        return summary.split_once("] ").map_or(summary.as_str(), |(_, rest)| rest).trim().to_owned();
    }
    let count = |word: &str| -> u64 {
        let numbers = lines.iter().filter_map(|line| line.split([';', '.']).find_map(|part| part.trim().strip_suffix(word)?.trim().parse::<u64>().ok()));
        numbers.sum()
    };
    format!("{} passed, {} failed, {} ignored", count("passed"), count("failed"), count("ignored"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_become_one() {
        let lines = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let libtest = lines(&[
            "test result: ok. 31 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s",
            "test result: FAILED. 9 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s",
        ]);
        assert_eq!(closing(&libtest), "40 passed, 2 failed, 1 ignored");
        assert_eq!(closing(&lines(&["Summary [   3.21s] 412 tests run: 412 passed, 2 skipped"])), "412 tests run: 412 passed, 2 skipped");
    }
}
