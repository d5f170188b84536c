//! `countersign drill` as somebody types it: what it says, what it writes, how it ends.
#![allow(
    clippy::unwrap_used, clippy::panic, clippy::indexing_slicing,
    reason = "the helpers of this test crate are outside of #[test] functions, where clippy.toml does not reach"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A folder for one test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("countersign-drill-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn file(&self, name: &str, text: &str) -> String {
        fs::write(self.0.join(name), text).unwrap();
        self.0.join(name).display().to_string()
    }

    /// A configuration with this at its end.
    fn config(&self, more: &str) -> String {
        let at = |name: &str| self.0.join(name).display().to_string();
        let text = format!(
            "[company]\nname = \"Hearth & Home\"\nfraud_line = \"+1 202 555 0100\"\n[listen]\naddress = \"127.0.0.1:8443\"\npublic_url = \"https://calls.example.com\"\n\
             [store]\npath = {:?}\n[keys]\nfile = {:?}\n[twilio]\naccount_sid = \"AC00000000000000000000000000000000\"\nfrom = \"+12025550100\"\n\
             [[api]]\nname = \"site\"\nkey_sha256 = \"{}\"\n{more}\n",
            at("record.db"), at("countersign.key"), "0".repeat(64),
        );
        self.file("countersign.toml", &text)
    }
}

impl Drop for Folder {
    fn drop(&mut self) { let _ = fs::remove_dir_all(&self.0); }
}

/// The exit code, standard output and standard error.
fn command(args: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_countersign")).args(args).env_remove("COUNTERSIGN_KEY").output().unwrap();
    (out.status.code().unwrap(), String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap())
}

/// The shipped policies in a folder, with one text in the place of another.
fn policies(folder: &Folder, file: &str, from: &str, to: &str) -> String {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    let dir = folder.0.join("policies");
    fs::create_dir_all(dir.join("base")).unwrap();
    fs::copy(shipped.join("countersign.cedarschema"), dir.join("countersign.cedarschema")).unwrap();
    for entry in fs::read_dir(shipped.join("base")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.join("base").join(entry.file_name())).unwrap();
    }
    let text = fs::read_to_string(dir.join(file)).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(dir.join(file), text.replacen(from, to, 1)).unwrap();
    format!("[policy]\ndir = {:?}", dir.display().to_string())
}

#[test]
fn drills_are_listed_with_their_stories() {
    let (code, out, _) = command(&["drill", "--list"]);
    assert_eq!((code, out.lines().count()), (0, 24), "{out}");
    assert!(out.contains("portal_thief              A thief with Jonas"), "{out}");
    assert!(!out.contains('\x1b'), "no colours into a pipe");
}

#[test]
fn a_configuration_that_holds_ends_with_0_and_leaves_its_reports() {
    let folder = Folder::new("holds");
    let config = folder.config("");
    let (json, page) = (folder.0.join("a.json"), folder.0.join("a.html"));
    let (json, page) = (json.display().to_string(), page.display().to_string());
    let args = ["drill", "--config", &config, "--only", "spoofed_number", "--only", "portal_thief", "--seed", "9", "--json", &json, "--report", &page];
    let (code, out, err) = command(&args);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("spoofed_number  stopped         policy view_when_authenticated") && out.contains("2 drills: 2 stopped, 0 got through.") && out.contains("seed 9"), "{out}");
    let written: serde_json::Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!((written["drills"][1]["verdict"].as_str(), written["seed"].as_u64()), (Some("stopped"), Some(9)));
    assert!(fs::read_to_string(&page).unwrap().starts_with("<!doctype html>"));
    assert!(!folder.0.join("record.db").exists(), "the record is not touched");
}

#[test]
fn a_limit_that_is_none_ends_with_1() {
    let folder = Folder::new("limit");
    let config = folder.config("[calls]\napprovals = 1000\n");
    let (code, out, err) = command(&["drill", "--config", &config, "--only", "push_bombing", "--seed", "1"]);
    assert_eq!(code, 1, "{out}{err}");
    assert!(out.contains("push_bombing  got through     12 requests in a row from one line") && out.contains("--only push_bombing --seed 1 --report"), "{out}");
}

/// The lint lets it pass: somebody may want it. The drill says what it costs.
#[test]
fn a_policy_that_gives_too_much_ends_with_1() {
    let folder = Folder::new("policy");
    let weak = policies(&folder, "base/disclosure.cedar", "when { context.level >= 3 && context.opened };", "when { context.level >= 2 && context.opened };");
    let config = folder.config(&weak);
    let (code, out, err) = command(&["drill", "--config", &config, "--only", "sim_swapped_phone"]);
    assert_eq!(code, 1, "{out}{err}");
    assert!(out.contains("Ana’s address is on the screen"), "{out}");
}

#[test]
fn what_cannot_be_played_ends_with_2_and_says_why() {
    let folder = Folder::new("cannot");
    let refused = policies(&folder, "base/changes.cedar", "when { context.level >= 3 && context.opened };", "when { context.level >= 1 };");
    let config = folder.config(&refused);
    let own = folder.file("my.toml", "[[drill]]\nname = \"x\"\nstory = \"y\"\nattacks = \"ana\"\nline = \"own\"\nsteps = [\"call\", \"dance\"]\nmust_not = [\"level:strong\"]\n");
    for (args, says) in [
        (vec!["drill", "--config", &config], "identification is not authentication"),
        (vec!["drill", "--config", "nowhere.toml"], "nowhere.toml"),
        (vec!["drill", "--only", "dance"], "`countersign drill --list` names them"),
        (vec!["drill", "--file", &own], "my.toml:6: \"dance\" is no step"),
        (vec!["drill", "--file", "nowhere.toml"], "cannot read nowhere.toml"),
    ] {
        let (code, out, err) = command(&args);
        assert_eq!(code, 2, "{args:?}: {out}{err}");
        assert!(err.contains(says), "{args:?}: {err}");
    }
    // Saving needs a record to save to.
    assert_eq!(command(&["drill", "--save"]).0, 2);
}

#[test]
fn a_door_that_is_missing_is_no_failure() {
    let folder = Folder::new("door");
    let config = folder.config("").clone();
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.split("[[api]]").next().unwrap()).unwrap();
    let (code, out, _) = command(&["drill", "--config", &config, "--only", "portal_thief"]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("portal_thief  not applicable  no portal: the configuration has no [[api]]"), "{out}");
}

#[test]
fn what_is_saved_is_kept_in_the_record() {
    let folder = Folder::new("saved");
    let config = folder.config("");
    assert_eq!(command(&["key", "new", &folder.0.join("countersign.key").display().to_string()]).0, 0);
    let (code, out, err) = command(&["drill", "--config", &config, "--only", "online_only", "--save"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("Kept for /admin/drills."), "{out}");
    let record = fs::read(folder.0.join("record.db")).unwrap();
    assert!(record.windows(11).any(|w| w == b"online_only") || fs::read(folder.0.join("record.db-wal")).is_ok_and(|w| w.windows(11).any(|w| w == b"online_only")));
}
