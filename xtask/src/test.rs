//! `cargo xtask test`: everything that must hold before a change is merged.

use std::{path::{Path, PathBuf}, process::ExitCode, time::Instant};

use clap::{Args, ValueEnum};

use crate::{
    Failure, cargo, node,
    postgres::Postgres,
    prerequisites, python,
    report::Steps,
    repository,
    shell::in_ci,
};

/// What to run.
#[derive(Args)]
pub struct TestArgs {
    /// Only this part
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Only tests whose name holds this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Never install packages: say what is missing and fail
    #[arg(long)]
    no_install: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Tests of the crates, and of the examples in their documentation
    Rust,
    /// Outside-in: the binary, a real browser, Twilio's own library, openid-client
    Browser,
    /// Clippy, and rules about the repository
    Lint,
}

/// Runs the steps, the quick ones first. Goes on after a failure, and fails in the end.
pub fn run(args: &TestArgs) -> Result<ExitCode, Failure> {
    let started = Instant::now();
    let wants = |part| args.only.is_none_or(|only| only == part);
    let filter = args.filter.as_deref();
    let mut steps = Steps::default();
    let ready = steps.step("prerequisites", "programs that the tests need", |note| {
        prerequisites::ensure(wants(Part::Browser), !args.no_install, note)
    });
    if wants(Part::Lint) {
        steps.step("files", "the map names real paths, files stay small", repository::check);
        steps.step("clippy", "no warning is left", |_| cargo::clippy());
        steps.step("clippy, bare", "nor without the optional parts", |_| cargo::clippy_bare());
    }
    let server = if wants(Part::Rust) || wants(Part::Browser) { database(&mut steps) } else { None };
    if wants(Part::Rust) {
        steps.step("rust", "tests of the crates and of their documentation", |note| {
            *note = cargo::test(filter, server.as_ref().map(Postgres::address).as_deref())?;
            Ok(())
        });
        if filter.is_none_or(|filter| cargo::ON_THE_LINE.contains(filter)) {
            steps.step("on the line", "every scenario over telephones with sound, while nothing else runs", |note| {
                *note = cargo::on_the_line(server.as_ref().map(Postgres::address).as_deref())?;
                Ok(())
            });
        }
        recordings(&mut steps, filter);
    }
    if wants(Part::Browser) {
        browser(&mut steps, ready.is_some(), filter, server.as_ref());
    }
    if in_ci() && wants(Part::Lint) {
        steps.step("clean tree", "the tests changed nothing that is committed", |_| repository::clean());
    }
    Ok(if steps.summary(started) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The server that tests of the store use: one that is named, or one of our own.
fn database(steps: &mut Steps) -> Option<Postgres> {
    if std::env::var_os(cargo::POSTGRES).is_some() {
        return None;
    }
    if Postgres::is_missing() && !in_ci() {
        steps.not_run("postgresql", "it is not installed: its tests are left out");
        return None;
    }
    steps.step("postgresql", "a server for the tests, in a temporary folder", |note| {
        let server = Postgres::start(false)?;
        *note = server.address();
        Ok(server)
    })
}

/// The tests on recordings of people, for those who have some.
fn recordings(steps: &mut Steps, filter: Option<&str>) {
    const NAME: &str = "real recordings";
    match std::env::var_os(cargo::RECORDINGS) {
        None => steps.left_out(NAME, &format!("not tested ({} is not set)", cargo::RECORDINGS)),
        Some(folder) => {
            steps.step(NAME, "voices and networks that are no part of the project", |note| {
                *note = format!("tested: {}", cargo::on_recordings(Path::new(&folder), filter)?);
                Ok(())
            });
        }
    }
}

fn browser(steps: &mut Steps, ready: bool, filter: Option<&str>, server: Option<&Postgres>) {
    const NAME: &str = "outside in";
    if !ready {
        steps.not_run(NAME, "prerequisites are missing");
        return;
    }
    let environment: Option<PathBuf> = steps.step("python", "the environment of the outside-in tests", python::environment);
    let packages: Option<[PathBuf; 2]> = steps.step("node", "the packages of the outside-in tests", |note| {
        Ok([node::packages(node::PROGRAMS, note)?, node::packages(node::PROVIDER, note)?])
    });
    let binary = steps.step("build", "the binary that they run", |note| {
        let binary = cargo::build("countersign", &[])?;
        *note = binary.display().to_string();
        Ok(binary)
    });
    match environment.zip(packages).zip(binary) {
        Some(((environment, packages), binary)) => {
            steps.step(NAME, "the binary, a real browser, Twilio's own library, openid-client", |note| {
                *note = python::pytest(&environment, &packages, &binary, filter, server.map(Postgres::address).as_deref())?;
                Ok(())
            });
        }
        None => steps.not_run(NAME, "python, node or build failed"),
    }
}
