//! Rules about the repository itself: documents that name real paths, files that stay small, a tree
//! that the tests leave clean.

use std::{fs, path::Path, process::Command};

use crate::{
    Failure, report,
    shell::{output, root},
};

/// Largest file.
const MOST_BYTES: u64 = 1024 * 1024;
/// Longest source file.
const MOST_LINES: usize = 700;
/// What counts as source, and as the name of a file in a document.
const SOURCES: [&str; 12] = ["rs", "py", "js", "css", "html", "cedar", "cedarschema", "ftl", "sql", "sh", "toml", "svg"];
const DOCUMENTS: [&str; 5] = ["md", "txt", "snap", "yml", "json"];
/// The map of the repository.
const MAP: &str = "ARCHITECTURE.md";

/// All rules about files. Every breach is told.
pub fn check(note: &mut String) -> Result<(), Failure> {
    let files = files()?;
    let mut findings = Vec::new();
    for file in &files {
        findings.extend(size(file)?);
    }
    findings.extend(map()?);
    for finding in &findings {
        report::finding(finding);
    }
    *note = format!("{} files", files.len());
    if findings.is_empty() { Ok(()) } else { Err(format!("{} broken rules about files", findings.len()).into()) }
}

/// Every file that is or would be in the repository.
fn files() -> Result<Vec<String>, Failure> {
    let list = output(git().args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]))?;
    let mut files: Vec<String> = list.split('\0').filter(|name| !name.is_empty() && root().join(name).is_file()).map(str::to_owned).collect();
    files.sort_unstable();
    files.dedup();
    Ok(files)
}

fn git() -> Command {
    let mut git = Command::new("git");
    // In a container the clone often belongs to somebody else, which git refuses by itself.
    git.current_dir(root()).arg("-c").arg(format!("safe.directory={}", root().display()));
    git
}

fn extension(name: &str) -> &str { Path::new(name).extension().and_then(|e| e.to_str()).unwrap_or_default() }

fn size(name: &str) -> Result<Option<String>, Failure> {
    let path = root().join(name);
    let bytes = fs::metadata(&path).map_err(|e| format!("cannot read {name}: {e}"))?.len();
    if bytes > MOST_BYTES {
        return Ok(Some(format!("{name} has {bytes} bytes: at most {MOST_BYTES}")));
    }
    // What others wrote is taken as it is.
    if !SOURCES.contains(&extension(name)) || name.split('/').any(|part| part == "vendor") {
        return Ok(None);
    }
    let lines = fs::read(&path).map_err(|e| format!("cannot read {name}: {e}"))?.iter().filter(|b| **b == b'\n').count();
    Ok((lines > MOST_LINES).then(|| format!("{name} has {lines} lines: at most {MOST_LINES}, so split it where it has two subjects")))
}

/// Whether every path that the map names exists.
fn map() -> Result<Vec<String>, Failure> {
    let text = match fs::read_to_string(root().join(MAP)) {
        Ok(text) => text,
        Err(e) => return Ok(vec![format!("{MAP}: {e}")]),
    };
    let top: Vec<String> = fs::read_dir(root())?.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    let mut findings = Vec::new();
    for (line, path) in named(&text) {
        if is_path(path, &top) && !root().join(path.trim_end_matches('/')).exists() {
            findings.push(format!("{MAP}:{line}: `{path}` does not exist"));
        }
    }
    Ok(findings)
}

/// Everything between single backticks, with its line. Blocks between fences are drawings.
fn named(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    }).flat_map(|(n, line)| line.split('`').skip(1).step_by(2).map(move |span| (n, span)))
}

/// Whether this is the name of a file or folder here: it starts with something at the top of the
/// repository, or ends like a file of ours. Routes, types and media types do not.
fn is_path(span: &str, top: &[String]) -> bool {
    let shape = !span.is_empty() && span.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b)) && !span.starts_with('/');
    let Some((first, _)) = span.split_once('/') else {
        // Without a slash only documents and what exists are meant: `countersign.toml` is the reader's own.
        return shape && extension(span) == "md";
    };
    let ends = SOURCES.contains(&extension(span)) || DOCUMENTS.contains(&extension(span));
    shape && (ends || span.ends_with('/') || top.iter().any(|t| t == first))
}

/// Whether the tests left the tree as it was: generated files are reviewed, so they are committed.
pub fn clean() -> Result<(), Failure> {
    let status = output(git().args(["status", "--porcelain"]))?;
    if status.is_empty() {
        return Ok(());
    }
    for line in status.lines().take(20) {
        report::finding(line);
    }
    Err(format!("{} files differ from what is committed", status.lines().count()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_is_read_between_backticks() {
        let text = "see `crates/core/` and `GET /desk`\n```\n`no/such.rs`\n```\nthen `docs/a.md`, `b`";
        assert_eq!(named(text).collect::<Vec<_>>(), [(1, "crates/core/"), (1, "GET /desk"), (5, "docs/a.md"), (5, "b")]);
    }

    #[test]
    fn paths_are_told_from_everything_else() {
        let top = ["crates".to_owned(), "policies".to_owned()];
        for path in ["crates/core", "policies/", "telephony/handset.rs", "README.md", "docs/import.md", "nowhere/"] {
            assert!(is_path(path, &top), "{path}");
        }
        for other in ["/desk/events", "text/xml", "countersign.toml", "core::call::step", "cargo xtask test", "change:phone", "HMAC-SHA1", "", "a/b"] {
            assert!(!is_path(other, &top), "{other}");
        }
    }
}
