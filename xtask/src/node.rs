//! Packages of the outside-in tests: installed once for each state of a package-lock.json, outside
//! of the repository.

use std::{fs, path::PathBuf, process::Command};

use crate::{
    Failure, prerequisites, python, report,
    shell::{self, cache, root},
};

/// What programs of the tests stand on: openid-client, jambonz's schema and client, and the checks in a page.
pub const PROGRAMS: &str = "tests/node";
/// The OpenID provider that the tests sign in at.
pub const PROVIDER: &str = "tests/provider";
const FILES: [&str; 2] = ["package.json", "package-lock.json"];
/// Written last, so that an interrupted installation is not taken for a whole one.
const COMPLETE: &str = "complete";

/// The folder in which `node_modules` is, for one of the folders above.
pub fn packages(from: &str, note: &mut String) -> Result<PathBuf, Failure> {
    let (at, from) = (from, root().join(from));
    let mut text = Vec::new();
    for file in FILES {
        text.extend(fs::read(from.join(file)).map_err(|e| format!("cannot read {at}/{file}: {e}"))?);
    }
    let name = format!("node-{:016x}", python::fingerprint(&text));
    let folder = cache()?.join(&name);
    *note = name;
    if folder.join(COMPLETE).is_file() && folder.join("node_modules").is_dir() {
        return Ok(folder);
    }
    report::note(&format!("making {} (once for each state of {at}/package-lock.json)", folder.display()));
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|e| format!("cannot remove the unfinished {}: {e}", folder.display()))?;
    }
    fs::create_dir_all(&folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    for file in FILES {
        fs::copy(from.join(file), folder.join(file)).map_err(|e| format!("cannot copy {at}/{file}: {e}"))?;
    }
    // No package runs anything while it is installed.
    let mut npm = Command::new(prerequisites::npm());
    npm.current_dir(&folder).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]);
    shell::run(&mut npm)?;
    fs::write(folder.join(COMPLETE), b"").map_err(|e| format!("cannot write into {}: {e}", folder.display()))?;
    Ok(folder)
}
