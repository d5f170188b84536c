//! Programs that we did not write, which may not be there.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// The output of a program that may not be there.
pub fn run(program: &str, arguments: &[&str]) -> Option<Output> {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .ok()
}

/// Says that a test is skipped, or fails where it must not be.
pub fn missing(what: &str) {
    assert!(
        std::env::var_os("CI").is_none(),
        "{what} is missing: in CI it has to be there"
    );
    println!("skipped: {what} is missing");
}

/// One letter of each part of a token exchanged.
pub fn changed(identity: &str) -> Vec<String> {
    let token = identity.split(';').next().unwrap();
    let mut start = 0;
    let mut out = Vec::new();
    for part in token.split('.') {
        let at = start + part.len() / 2;
        let other = if &identity[at..=at] == "A" { "B" } else { "A" };
        out.push(format!("{}{other}{}", &identity[..at], &identity[at + 1..]));
        start += part.len() + 1;
    }
    out
}

/// A directory that goes when the test ends.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("countersign-stir-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn put(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
