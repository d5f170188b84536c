//! The file with the notes. What cannot be read in it is told, and stays as it is.

use std::{
    fs,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use countersign_survey::{Note, csv};

use crate::{Failure, term::BAD};

/// More is no file of notes.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// A file of notes as it was read.
pub struct Book {
    path: PathBuf,
    text: String,
    /// What it holds.
    pub read: csv::Read,
}

impl Book {
    /// Reads a file that has to be there.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        match load(path)? {
            Some(text) => Self::of(path, text),
            None => Err(format!("{} is not there: countersign survey add makes it, and --file names another", path.display()).into()),
        }
    }

    /// Reads a file, or begins a new one that is written when something is added.
    pub fn open_or_new(path: &Path) -> Result<Self, Failure> {
        let text = load(path)?.filter(|t| !t.trim().is_empty()).unwrap_or_else(csv::header);
        Self::of(path, text)
    }

    fn of(path: &Path, text: String) -> Result<Self, Failure> {
        let read = csv::read(&text).map_err(|broken| format!("{}: {broken}", path.display()))?;
        Ok(Self { path: path.to_owned(), text, read })
    }

    /// The notes that are whole, in their order.
    pub fn notes(&self) -> Vec<&Note> { self.read.notes.iter().map(|(_, note)| note).collect() }

    /// Adds notes at the end, and leaves everything else as it stands, broken lines too.
    pub fn append<'a>(&self, notes: impl IntoIterator<Item = &'a Note>) -> Result<(), Failure> {
        let mut text = self.text.clone();
        if !text.ends_with(['\n', '\r']) {
            text.push('\n');
        }
        notes.into_iter().for_each(|note| text.push_str(&csv::row(note)));
        write_whole(&self.path, &text)
    }

    /// Tells what is broken. The command fails then, though it did the rest.
    pub fn close(&self) -> Result<ExitCode, Failure> {
        for broken in self.read.broken.iter().take(50) {
            anstream::eprintln!("{BAD}{}{BAD:#} {broken}", self.path.display());
        }
        match self.read.broken.len() {
            0 => Ok(ExitCode::SUCCESS),
            1 => Err(format!("1 record of {} cannot be read: it was left as it is", self.path.display()).into()),
            n => Err(format!("{n} records of {} cannot be read: they were left as they are", self.path.display()).into()),
        }
    }
}

fn load(path: &Path) -> Result<Option<String>, Failure> {
    let cannot = |e: std::io::Error| format!("cannot read {}: {e}", path.display());
    match fs::metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(cannot(e).into()),
        Ok(meta) if meta.len() > MOST_BYTES => return Err(format!("{} is larger than 64 MiB: that is no file of notes", path.display()).into()),
        Ok(_) => {}
    }
    let bytes = fs::read(path).map_err(cannot)?;
    String::from_utf8(bytes).map(Some).map_err(|e| format!("{} is not UTF-8 at byte {}: save it as UTF-8", path.display(), e.utf8_error().valid_up_to()).into())
}

/// Writes a file whole: beside its place first, then put there in one step, so that nobody ever finds
/// half of it.
pub fn write_whole(path: &Path, text: &str) -> Result<(), Failure> {
    // A link stays a link: what it leads to is written.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = path.file_name().and_then(|n| n.to_str()).ok_or_else(|| format!("{} is no name of a file", path.display()))?;
    let beside = path.with_file_name(format!(".{name}.{}.new", std::process::id()));
    let write = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&beside)?;
        file.write_all(text.as_bytes())?;
        if let Ok(meta) = fs::metadata(&path) {
            file.set_permissions(meta.permissions())?;
        }
        file.sync_all()?;
        fs::rename(&beside, &path)
    };
    write().map_err(|e| {
        if e.kind() != ErrorKind::AlreadyExists {
            // It is ours, and of no use to anybody.
            let _ = fs::remove_file(&beside);
        }
        format!("cannot write {}: {e}", path.display()).into()
    })
}
