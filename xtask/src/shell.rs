//! Running other programs: what they say goes through at once, and some lines are kept.

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use crate::Failure;

/// The top of the repository: where cargo runs this now, as two checkouts that share a build cache
/// share this binary too.
pub fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().map(Path::to_path_buf).unwrap_or(here)
}

/// The folder for what may be thrown away, outside of the repository.
pub fn cache() -> Result<PathBuf, Failure> {
    let base = match std::env::var_os("XDG_CACHE_HOME").filter(|v| !v.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(std::env::var_os("HOME").ok_or("HOME is not set: set it, or XDG_CACHE_HOME")?).join(".cache"),
    };
    Ok(base.join("countersign"))
}

/// Whether nobody is there to ask.
pub fn in_ci() -> bool { std::env::var("CI").is_ok_and(|v| v == "true" || v == "1") }

/// Where a program is, if it is there.
pub fn which(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// Runs a program for what it prints. Its complaints are not shown.
pub fn output(command: &mut Command) -> Result<String, Failure> {
    let out = command.stdin(Stdio::null()).output().map_err(|e| cannot_start(command, &e))?;
    if out.status.success() {
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    } else {
        let said = String::from_utf8_lossy(&out.stderr).trim().to_owned();
        Err(format!("{} failed ({}){}{said}", written(command), out.status, if said.is_empty() { "" } else { ": " }).into())
    }
}

/// Whether a program runs and is content.
pub fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// Runs a program whose words go straight to the terminal.
pub fn run(command: &mut Command) -> Result<(), Failure> {
    let status = command.stdin(Stdio::null()).status().map_err(|e| cannot_start(command, &e))?;
    if status.success() { Ok(()) } else { Err(format!("{} failed ({status})", written(command)).into()) }
}

/// How a program that was listened to has ended.
pub struct Heard {
    /// The lines that were to be kept.
    pub lines: Vec<String>,
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
}

/// Runs a program, passes on what it says line by line, and keeps the lines that `keep` picks.
pub fn listen(command: &mut Command, keep: fn(&str) -> bool) -> Result<Heard, Failure> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|e| cannot_start(command, &e))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let lines = thread::scope(|scope| {
        let err = scope.spawn(|| err.map_or_else(Vec::new, |e| pass_on(e, &mut anstream::stderr(), keep)));
        let mut lines = out.map_or_else(Vec::new, |o| pass_on(o, &mut anstream::stdout(), keep));
        lines.extend(err.join().unwrap_or_default());
        lines
    });
    let status = child.wait()?;
    Ok(Heard { lines, code: status.code() })
}

fn pass_on(from: impl Read, to: &mut dyn Write, keep: fn(&str) -> bool) -> Vec<String> {
    let mut kept = Vec::new();
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        // A closed terminal is no reason to stop listening: the child would block.
        let _ = to.write_all(&line).and_then(|()| to.flush());
        let text = plain(&String::from_utf8_lossy(&line));
        if keep(text.trim()) {
            kept.push(text.trim().to_owned());
        }
        line.clear();
    }
    kept
}

/// A line without its colours.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            // ESC [ … letter
            for c in chars.by_ref() {
                if c.is_ascii_alphabetic() {
                    break;
                }
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// A command as one would type it.
pub fn written(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|w| w.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

fn cannot_start(command: &Command, e: &std::io::Error) -> String { format!("cannot start {}: {e}", command.get_program().to_string_lossy()) }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_taken_off() {
        assert_eq!(plain("\u{1b}[32m3 passed\u{1b}[0m in 1s"), "3 passed in 1s");
    }

    #[test]
    fn what_is_said_is_kept_and_the_code_is_told() {
        let heard = listen(Command::new("sh").args(["-c", "echo keep one; echo two; echo keep three >&2; exit 3"]), |line| line.starts_with("keep")).unwrap();
        assert_eq!((heard.lines, heard.code), (vec!["keep one".to_owned(), "keep three".to_owned()], Some(3)));
    }
}
