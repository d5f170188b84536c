//! What is missing or unsafe, in a configuration and in policies.

use std::{path::Path, process::ExitCode};

use countersign_policy::{Engine, Sources, lint, render};
use countersign_server::config::{Config, Severity};

use crate::{
    Failure,
    term::{BAD, DIM, GOOD, STRONG, WARN, good},
};

/// `doctor`: one line for each finding; fails if something is missing.
pub fn run(path: &Path) -> Result<ExitCode, Failure> {
    let config = Config::read(path)?;
    let mut findings = config.examine();
    if let Some(dir) = &config.policy.dir
        && let Err(e) = Engine::from_dir(dir)
    {
        findings.insert(0, countersign_server::config::Finding { severity: Severity::Missing, setting: "policy.dir".into(), text: e.to_string() });
    }
    let width = findings.iter().map(|f| f.setting.len()).max().unwrap_or(0);
    for f in &findings {
        let (style, word) = match f.severity {
            Severity::Missing => (BAD, "missing"),
            Severity::Unsafe => (WARN, "unsafe "),
            Severity::Note => (DIM, "note   "),
        };
        anstream::println!("{style}{word}{style:#}  {STRONG}{:width$}{STRONG:#}  {}", f.setting, f.text);
    }
    let count = |s| findings.iter().filter(|f| f.severity == s).count();
    let (missing, bad) = (count(Severity::Missing), count(Severity::Unsafe));
    if missing == 0 && bad == 0 {
        good(&format!("{}: nothing is missing or unsafe.", path.display()));
    } else {
        anstream::println!("\n{missing} missing, {bad} unsafe in {}.", path.display());
    }
    Ok(if missing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `policy check`: findings like a compiler's; fails if a policy may not be used.
pub fn policy(path: Option<&Path>) -> Result<ExitCode, Failure> {
    let shipped = Sources::shipped();
    let sources = match path {
        None => shipped,
        Some(dir) if dir.is_dir() => Sources::from_dir(dir)?,
        // A file alone is checked together with the shipped base: rules are about the whole set.
        Some(file) => {
            let name = file.display().to_string();
            let text = std::fs::read_to_string(file).map_err(|e| format!("cannot read {name}: {e}"))?;
            let mut files: Vec<_> = shipped.files.into_iter().filter(|(_, known)| *known != text).collect();
            files.push((name, text));
            Sources { schema: shipped.schema, files }
        }
    };
    let findings = lint::check(&sources.schema, &sources.files);
    let errors = findings.iter().filter(|f| f.severity == countersign_policy::Severity::Error).count();
    if !findings.is_empty() {
        let mut files = sources.files.clone();
        files.push((countersign_policy::SCHEMA_FILE.into(), sources.schema.clone()));
        anstream::print!("{}", render(&findings, &files));
    }
    if errors == 0 {
        anstream::println!("{GOOD}✓{GOOD:#} {} files, policy set {}: nothing to complain of.", sources.files.len(), sources.version());
        Ok(ExitCode::SUCCESS)
    } else {
        anstream::println!("\n{BAD}{errors} error{}{BAD:#}: this policy set is not used.", if errors == 1 { "" } else { "s" });
        Ok(ExitCode::FAILURE)
    }
}
