//! Taking recordings into a set: everything is looked at first, and the list is written last.

use std::{
    collections::BTreeSet,
    io::Write as _,
    path::{Path, PathBuf},
};

use countersign_core::prompt::Lang;
use countersign_sip::clip::RATE;

use super::{MANIFEST, Manifest, Origin, PromptError, Row, Set, hash, wave::{Wave, written}};
use crate::i18n::Line;

/// A file, and which recording it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Where it is.
    pub path: PathBuf,
    /// In which language.
    pub lang: Lang,
    /// Its name.
    pub id: String,
}

/// A recording that is ready to be written.
pub struct Prepared {
    /// What the list will say of it.
    pub row: Row,
    /// Whether two channels were made one.
    pub mixed: bool,
    file: Vec<u8>,
}

/// The recordings among these files and folders: `LANG/ID.wav`, or `LANG-ID.wav`. In an exported set the
/// names end with a part of the hash, which is passed over.
///
/// # Errors
/// A folder cannot be read, or a file is called otherwise.
pub fn find(paths: &[PathBuf]) -> Result<Vec<Given>, PromptError> {
    let mut out = Vec::new();
    for path in paths {
        if path.is_dir() {
            let fail = |source| PromptError::File { path: path.display().to_string(), source };
            let inside = std::fs::read_dir(path).map_err(fail)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<BTreeSet<_>, _>>().map_err(fail)?;
            let wanted: Vec<_> = inside.into_iter().filter(|path| path.is_dir() || path.extension().is_some_and(|e| e.eq_ignore_ascii_case("wav"))).collect();
            out.extend(find(&wanted)?);
        } else {
            out.push(given(path)?);
        }
    }
    Ok(out)
}

fn given(path: &Path) -> Result<Given, PromptError> {
    let shown = path.display().to_string();
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let above = path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).and_then(Lang::parse);
    let before = stem.split_once(['-', '_']).and_then(|(code, rest)| Some((Lang::parse(code)?, rest)));
    let (lang, id) = match (before, above) {
        (Some((lang, id)), _) => (lang, id),
        (None, Some(lang)) => (lang, stem),
        (None, None) => return Err(PromptError::Name { path: shown, why: "its name has to tell the language: en/welcome.wav, or en-welcome.wav".into() }),
    };
    let id = match id.rsplit_once('.') {
        Some((id, end)) if end.len() == 8 && end.bytes().all(|b| b.is_ascii_hexdigit()) => id,
        _ => id,
    };
    Ok(Given { path: path.to_owned(), lang, id: id.to_owned() })
}

/// Reads a recording and makes it fit for a telephone line.
///
/// # Errors
/// Nothing has this name, or the file cannot be taken.
pub fn prepare(given: &Given, script: &[Line], origin: &str, mu_law: bool) -> Result<Prepared, PromptError> {
    let path = given.path.display().to_string();
    let line = script.iter().find(|line| line.lang == given.lang && line.id == given.id)
        .ok_or_else(|| PromptError::Name { path: path.clone(), why: format!("nothing that is said in {} is called {:?}: see `countersign prompts list`", given.lang.code(), given.id) })?;
    let bytes = std::fs::read(&given.path).map_err(|source| PromptError::File { path: path.clone(), source })?;
    let wave = Wave::read(&bytes).map_err(|why| PromptError::Wave { path: path.clone(), why })?;
    let samples = wave.prepared().map_err(|why| PromptError::Wave { path, why })?;
    let file = written(&samples, mu_law);
    let row = Row {
        id: line.id.clone(), lang: line.lang, text: line.text.clone(), sha256: hash(&file),
        milliseconds: u64::try_from(samples.len() * 1_000 / RATE).unwrap_or_default(), origin: origin.to_owned(),
    };
    Ok(Prepared { row, mixed: wave.mixed, file })
}

/// Puts recordings into the set in this folder, in place of those with their names. Until the list is
/// replaced, which happens at once, the set is what it was; a file that the new list does not name any
/// more goes after that.
///
/// # Errors
/// Something cannot be read or written: then the set is what it was.
pub fn commit(folder: &Path, prepared: &[Prepared], name: &str, origin: Origin) -> Result<(), PromptError> {
    let fail = |path: &Path| { let path = path.display().to_string(); move |source| PromptError::File { path, source } };
    let old = if folder.join(MANIFEST).exists() { Set::list(folder)?.list } else { Manifest { format: super::FORMAT, ..Manifest::default() } };
    let mut new = old.clone();
    for one in prepared {
        new.recordings.retain(|row| (row.lang, &row.id) != (one.row.lang, &one.row.id));
        new.recordings.push(one.row.clone());
        let path = folder.join(one.row.file());
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(fail(parent))?;
        replace(&path, &one.file).map_err(fail(&path))?;
    }
    new.origins.insert(name.to_owned(), origin);
    new.origins.retain(|name, _| new.recordings.iter().any(|row| row.origin == *name));
    let path = folder.join(MANIFEST);
    replace(&path, new.write().as_bytes()).map_err(fail(&path))?;
    let named: BTreeSet<_> = new.recordings.iter().map(Row::file).collect();
    for gone in old.recordings.iter().map(Row::file).filter(|file| !named.contains(file)) {
        // It is spoken of no more: one that stays does no harm.
        let _ = std::fs::remove_file(folder.join(gone));
    }
    Ok(())
}

/// A whole file or the old one, whatever happens.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let write = || {
        let mut file = std::fs::File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    };
    write().inspect_err(|_| {
        let _ = std::fs::remove_file(&beside);
    })
}
