//! What is missing or unsafe in a configuration.

use std::{path::Path, process::ExitCode};

use countersign_server::{
    config::{Config, Severity},
    i18n::{Company, TextError, Texts},
    open_files, tenants,
};

use crate::{
    Failure, policy,
    term::{BAD, DIM, STRONG, WARN, good},
};

/// `doctor`: one line for each finding; fails if something is missing. A desk for several companies
/// is examined with all of them.
pub fn run(path: &Path) -> Result<ExitCode, Failure> {
    let config = Config::read(path)?;
    let mut missing = examine(path, &config);
    for (_, path, config) in tenants::read(&config)? {
        anstream::println!();
        missing += examine(&path, &config);
    }
    Ok(if missing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How many things are missing.
fn examine(path: &Path, config: &Config) -> usize {
    let mut findings = config.examine();
    if let Err(e) = policy::configured(Some(config)).and_then(|_| policy::limits(config)) {
        let setting = if config.policy.dir.is_some() { "policy.dir" } else { "policy.packs" };
        findings.insert(0, countersign_server::config::Finding { severity: Severity::Missing, setting: setting.into(), text: e.to_string() });
    }
    let name = Company { name: config.company.name.clone(), fraud_line: config.company.fraud_line.clone(), link_base: config.listen.public_url.clone() };
    if let Err(e @ (TextError::Words { .. } | TextError::Read { .. })) = Texts::with_words(name, config.company.words.as_deref()) {
        findings.insert(0, countersign_server::config::Finding { severity: Severity::Missing, setting: "company.words".into(), text: e.to_string() });
    }
    if let Some(text) = open_files::advice(open_files::limit()) {
        findings.push(countersign_server::config::Finding { severity: Severity::Note, setting: "open files".into(), text: format!("{text}, if the service is started as this command is") });
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
    missing
}
