//! The Python environment of the outside-in tests: made once for each state of requirements.txt,
//! outside of the repository.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    Failure, cargo, prerequisites, report,
    shell::{self, cache, root},
};

const REQUIREMENTS: &str = "tests/browser/requirements.txt";
/// Written last, so that an interrupted installation is not taken for a whole one.
const COMPLETE: &str = "complete";

/// The folder of an environment in which everything is installed.
pub fn environment(note: &mut String) -> Result<PathBuf, Failure> {
    let requirements = root().join(REQUIREMENTS);
    let text = fs::read(&requirements).map_err(|e| format!("cannot read {REQUIREMENTS}: {e}"))?;
    let name = format!("venv-{:016x}", fingerprint(&text));
    let folder = cache()?.join(&name);
    *note = name;
    if folder.join(COMPLETE).is_file() && shell::succeeds(Command::new(python(&folder)).args(["-c", "import pytest, playwright, twilio, pyotp, http_ece, cryptography"])) {
        return Ok(folder);
    }
    report::note(&format!("making {} (once for each state of {REQUIREMENTS})", folder.display()));
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|e| format!("cannot remove the unfinished {}: {e}", folder.display()))?;
    }
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent).map_err(|e| format!("cannot make {}: {e}", parent.display()))?;
    }
    shell::run(Command::new(prerequisites::python()).args(["-m", "venv"]).arg(&folder))?;
    let mut pip = Command::new(python(&folder));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--requirement"]).arg(&requirements);
    shell::run(&mut pip)?;
    fs::write(folder.join(COMPLETE), b"").map_err(|e| format!("cannot write into {}: {e}", folder.display()))?;
    Ok(folder)
}

fn python(environment: &Path) -> PathBuf { environment.join("bin").join("python") }

/// FNV-1a: a name that changes with the text, nothing more.
pub fn fingerprint(text: &[u8]) -> u64 { text.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)) }

/// Runs the outside-in tests against this binary, and says how many there were.
pub fn pytest(environment: &Path, packages: &[PathBuf; 2], binary: &Path, filter: Option<&str>, postgres: Option<&str>) -> Result<String, Failure> {
    let [programs, provider] = packages;
    let mut command = Command::new(python(environment));
    command.current_dir(root().join("tests/browser"));
    command.args(["-m", "pytest", "--color", if report::colours() { "yes" } else { "no" }]);
    if let Some(filter) = filter {
        command.args(["-k", filter]);
    }
    command.env("COUNTERSIGN_BIN", binary).env("COUNTERSIGN_NODE_PACKAGES", programs).env("COUNTERSIGN_PROVIDER_PACKAGES", provider).env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUNBUFFERED", "1");
    command.envs(postgres.map(|address| (cargo::POSTGRES, address)));
    if let Some(chromium) = prerequisites::chromium() {
        command.env("COUNTERSIGN_CHROMIUM", chromium);
    }
    let heard = shell::listen(&mut command, |line| line.contains(" in ") && [" passed", " failed", " error", " deselected", "no tests ran"].iter().any(|w| line.contains(w)))?;
    let closing = heard.lines.last().map_or("no closing line", |l| l.trim_matches(['=', ' '])).to_owned();
    match heard.code {
        Some(0) => Ok(closing),
        // Nothing matches the filter: as with the tests in Rust, no failure.
        Some(5) if filter.is_some() => Ok("nothing matches the filter".into()),
        _ => Err(format!("pytest: {closing}").into()),
    }
}


#[cfg(test)]
mod tests {
    use super::*;

    /// The reference values of FNV-1a.
    #[test]
    fn fingerprints() {
        assert_eq!(fingerprint(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fingerprint(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
