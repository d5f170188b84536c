//! The packages of the outside-in tests that speak OpenID: installed once for each state of
//! package-lock.json, outside of the repository.

use std::{fs, path::PathBuf, process::Command};

use crate::{
    Failure, prerequisites, python, report,
    shell::{self, cache, root},
};

const FOLDER: &str = "tests/node";
const FILES: [&str; 2] = ["package.json", "package-lock.json"];
/// Written last, so that an interrupted installation is not taken for a whole one.
const COMPLETE: &str = "complete";

/// The folder in which `node_modules` is.
pub fn packages(note: &mut String) -> Result<PathBuf, Failure> {
    let from = root().join(FOLDER);
    let mut text = Vec::new();
    for file in FILES {
        text.extend(fs::read(from.join(file)).map_err(|e| format!("cannot read {FOLDER}/{file}: {e}"))?);
    }
    let name = format!("node-{:016x}", python::fingerprint(&text));
    let folder = cache()?.join(&name);
    *note = name;
    if folder.join(COMPLETE).is_file() && folder.join("node_modules/openid-client").is_dir() {
        return Ok(folder);
    }
    report::note(&format!("making {} (once for each state of {FOLDER}/package-lock.json)", folder.display()));
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|e| format!("cannot remove the unfinished {}: {e}", folder.display()))?;
    }
    fs::create_dir_all(&folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    for file in FILES {
        fs::copy(from.join(file), folder.join(file)).map_err(|e| format!("cannot copy {FOLDER}/{file}: {e}"))?;
    }
    // No package runs anything while it is installed.
    let mut npm = Command::new(prerequisites::npm());
    npm.current_dir(&folder).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]);
    shell::run(&mut npm)?;
    fs::write(folder.join(COMPLETE), b"").map_err(|e| format!("cannot write into {}: {e}", folder.display()))?;
    Ok(folder)
}
