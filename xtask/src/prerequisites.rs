//! What the tests need beside Rust. On Debian and its relatives it is installed if that is allowed;
//! elsewhere the person is told.

use std::{path::PathBuf, process::Command};

use crate::{
    Failure, report,
    shell::{self, output, succeeds, which},
};

/// Something that must be there, and the Debian packages that bring it.
struct Need {
    what: &'static str,
    packages: &'static [&'static str],
    there: fn() -> bool,
}

const BASE: &[Need] = &[
    Need { what: "a C compiler", packages: &["gcc", "libc6-dev"], there: || which("cc").is_some() },
    Need { what: "git", packages: &["git"], there: || which("git").is_some() },
    Need { what: "PostgreSQL 14 or newer", packages: &["postgresql"], there: || crate::postgres::programs().is_some() },
    // Proofs about policies; in CI their tests fail without it.
    Need { what: "the solver cvc5", packages: &["cvc5"], there: || std::env::var_os("CVC5").is_some_and(|v| !v.is_empty()) || which("cvc5").is_some() },
    Need { what: "SoftHSM, and OpenSC's tool", packages: &["softhsm2", "opensc"], there: || which("softhsm2-util").is_some() && which("pkcs11-tool").is_some() },
    // Telephones that we did not write.
    Need { what: "sipp and baresip", packages: &["sip-tester", "baresip"], there: || which("sipp").is_some() && which("baresip").is_some() },
    // Others who verify and sign calls; in CI the tests of crates/stir fail without them. Kamailio is a
    // proxy for those of crates/sip as well.
    Need {
        what: "Kamailio with its module secsipid", packages: &["kamailio", "kamailio-secsipid-modules"],
        there: || (which("kamailio").is_some() || std::path::Path::new("/usr/sbin/kamailio").is_file()) && kamailio_has("secsipid.so"),
    },
    Need {
        what: "secsipidx, and Python's cryptography and PyJWT", packages: &["secsipidx", "python3-cryptography", "python3-jwt"],
        there: || which("secsipidx").is_some() && succeeds(Command::new("/usr/bin/python3").args(["-c", "import cryptography, jwt"])),
    },
];

const BROWSER: &[Need] = &[
    Need { what: "Chromium", packages: &["chromium"], there: || chromium().is_some() },
    Need { what: "Python 3.10 or later with venv and pip", packages: &["python3", "python3-venv", "python3-pip"], there: python_is_whole },
    Need { what: "Node.js 20 or later with npm", packages: &["nodejs", "npm"], there: node_is_whole },
    Need {
        what: "Patroni, etcd and HAProxy", packages: &["patroni", "python3-etcd", "etcd-server", "haproxy"],
        there: || which("patroni").is_some() && which("etcd").is_some() && (which("haproxy").is_some() || std::path::Path::new("/usr/sbin/haproxy").is_file()),
    },
    // A node whose clock is wrong.
    Need { what: "libfaketime", packages: &["libfaketime"], there: has_faketime },
    // A real Asterisk is made with it, once, and kept in the cache.
    Need { what: "debootstrap", packages: &["debootstrap"], there: || which("debootstrap").is_some() || std::path::Path::new("/usr/sbin/debootstrap").is_file() },
    Need { what: "a font for letters", packages: &["fonts-dejavu-core"], there: || has_font("DejaVu Sans") },
    Need { what: "a font for pictograms", packages: &["fonts-noto-color-emoji"], there: || has_font("Noto Color Emoji") },
];

/// Chromium, wherever it is called what.
pub fn chromium() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("COUNTERSIGN_CHROMIUM").filter(|v| !v.is_empty()) {
        return Some(named.into());
    }
    ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"].into_iter().find_map(which)
}

/// The Python to make environments with.
pub fn python() -> PathBuf { std::env::var_os("PYTHON").map_or_else(|| "python3".into(), PathBuf::from) }

fn python_is_whole() -> bool {
    // Debian's python3 has a venv module that fails without python3-venv: ensurepip is what it lacks.
    succeeds(Command::new(python()).args(["-c", "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))"]))
}

/// The npm to install packages with.
pub fn npm() -> PathBuf { std::env::var_os("NPM").map_or_else(|| "npm".into(), PathBuf::from) }

fn node_is_whole() -> bool {
    succeeds(Command::new("node").args(["-e", "process.exit(Number(process.versions.node.split('.')[0]) < 20 ? 1 : 0)"]))
        && succeeds(Command::new(npm()).arg("--version"))
}

/// Where Debian puts it, for any machine.
fn has_faketime() -> bool {
    let below = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    below.into_iter().any(|folder: PathBuf| folder.join("faketime/libfaketimeMT.so.1").is_file())
}

/// Whether Kamailio has a module, wherever the system keeps them.
fn kamailio_has(module: &str) -> bool {
    let below = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    below.chain(["/usr/lib".into(), "/usr/lib64".into()]).any(|folder: PathBuf| folder.join("kamailio/modules").join(module).is_file())
}

fn has_font(family: &str) -> bool {
    // Without fontconfig nothing can be asked, and nothing is drawn.
    output(Command::new("fc-list").args([":", "family"])).is_ok_and(|fonts| fonts.contains(family))
}

/// Sees to it that everything is there. `browser`: also what the outside-in tests need.
pub fn ensure(browser: bool, install: bool, note: &mut String) -> Result<(), Failure> {
    let needs = || BASE.iter().chain(BROWSER.iter().filter(move |_| browser));
    let missing = || needs().filter(|n| !(n.there)()).collect::<Vec<_>>();
    let before = missing();
    if before.is_empty() {
        *note = "all there".into();
        return Ok(());
    }
    for need in &before {
        report::note(&format!("missing: {} (Debian: {})", need.what, need.packages.join(" ")));
    }
    let packages: Vec<&str> = before.iter().flat_map(|n| n.packages.iter().copied()).collect();
    let by_hand = format!("install what is missing by hand; on Debian: apt-get install {}", packages.join(" "));
    if !install {
        return Err(by_hand.into());
    }
    let Some(prefix) = apt() else { return Err(format!("this needs apt-get, and root or sudo without a password: {by_hand}").into()) };
    report::note(&format!("installing {}", packages.join(" ")));
    apt_get(prefix, &["update", "--quiet"])?;
    let flags = ["install", "--quiet", "--yes", "--no-install-recommends", "--option", "Dpkg::Use-Pty=0"];
    apt_get(prefix, &[&flags[..], &packages].concat())?;
    let after = missing();
    if after.is_empty() {
        *note = format!("installed {}", packages.join(" "));
        return Ok(());
    }
    let names: Vec<&str> = after.iter().map(|n| n.what).collect();
    Err(format!("still missing after the installation: {}", names.join(", ")).into())
}

/// What to write before `apt-get`, if it may be used at all.
fn apt() -> Option<&'static [&'static str]> {
    which("apt-get")?;
    let root = output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if root {
        Some(&[])
    } else if succeeds(Command::new("sudo").args(["-n", "true"])) {
        Some(&["sudo", "-n"])
    } else {
        None
    }
}

fn apt_get(prefix: &[&str], args: &[&str]) -> Result<(), Failure> {
    // `env` carries the variable through sudo.
    let words: Vec<&str> = [prefix, &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"], args].concat();
    let Some((program, rest)) = words.split_first() else { return Ok(()) };
    shell::run(Command::new(program).args(rest))
}
