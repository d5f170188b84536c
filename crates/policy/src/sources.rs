//! Where policy texts come from, and what can be wrong with them.

use std::{fs, io, path::{Path, PathBuf}};

use sha2::{Digest, Sha256};

use crate::finding::Finding;

/// The schema's file name, beside the policies and in findings.
pub const SCHEMA_FILE: &str = "countersign.cedarschema";

/// The folder of the base policies. Policies beside the schema are the company's own.
const BASE: &str = "base";
/// The folder of what must hold.
const INVARIANTS: &str = "invariants";

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../../policies/", $name)))),*]
    };
}

/// A schema and the policies written against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// The schema in Cedar's own syntax.
    pub schema: String,
    /// File names and texts.
    pub files: Vec<(String, String)>,
}

impl Sources {
    /// What this program was built with.
    pub fn shipped() -> Self {
        let files = shipped!(
            "base/changes.cedar", "base/delegates.cedar", "base/disclosure.cedar",
            "base/factors.cedar", "base/guards.cedar", "base/levels.cedar",
        );
        Self {
            schema: include_str!("../../../policies/countersign.cedarschema").to_owned(),
            files: files.map(|(name, text)| (name.to_owned(), text.to_owned())).into(),
        }
    }

    /// What this program promises of its base policies: names and texts of invariants.
    pub fn shipped_invariants() -> Vec<(String, String)> {
        shipped!("invariants/base.cedar").map(|(name, text)| (name.to_owned(), text.to_owned())).into()
    }

    /// The invariants of a folder: those in `invariants/`.
    pub fn invariants_from_dir(dir: &Path) -> Result<Vec<(String, String)>, PolicyErrors> {
        let folder = dir.join(INVARIANTS);
        let read = |name: String| {
            let path = folder.join(&name);
            let text = fs::read_to_string(&path).map_err(|error| PolicyErrors::Read { path, error })?;
            Ok((format!("{INVARIANTS}/{name}"), text))
        };
        policy_names(&folder)?.into_iter().map(read).collect()
    }

    /// Reads the schema, the policies in `base/` and those beside the schema. Other folders are
    /// left alone: a pack is in force once somebody copied it there, not because it lies about.
    pub fn from_dir(dir: &Path) -> Result<Self, PolicyErrors> {
        let read = |path: &Path| fs::read_to_string(path).map_err(|error| PolicyErrors::Read { path: path.to_owned(), error });
        let mut files = Vec::new();
        for (folder, prefix) in [(dir.join(BASE), "base/"), (dir.to_owned(), "")] {
            for name in policy_names(&folder)? {
                files.push((format!("{prefix}{name}"), read(&folder.join(&name))?));
            }
        }
        Ok(Self { schema: read(&dir.join(SCHEMA_FILE))?, files })
    }

    /// What a policy set is called in records: the beginning of a hash of its names and texts.
    pub fn version(&self) -> String {
        let mut hash = Sha256::new();
        let mut part = |text: &str| {
            // The length first, so that moving text from one file to the next is another version.
            hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(text.as_bytes());
        };
        part(&self.schema);
        let mut files: Vec<_> = self.files.iter().collect();
        files.sort();
        for (name, text) in files {
            part(name);
            part(text);
        }
        hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The `.cedar` files of a folder, sorted. A folder that is not there has none.
fn policy_names(folder: &Path) -> Result<Vec<String>, PolicyErrors> {
    let failed = |error| PolicyErrors::Read { path: folder.to_owned(), error };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        // A name that is no text would be skipped silently: that is how a forbid gets lost.
        let name = name.into_string().map_err(|_| failed(io::Error::other("a file name is not UTF-8")))?;
        if Path::new(&name).extension().is_some_and(|e| e == "cedar") && !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Why policies are not taken into use.
#[derive(Debug, thiserror::Error)]
pub enum PolicyErrors {
    /// A file or folder cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A pack that there is none of.
    #[error("there is no pack `{name}`: shipped are {known}; for one of your own give its folder, with a slash in it")]
    NoPack {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A pack's own file is of a wrong shape.
    #[error("{}: {fault}", path.display())]
    Pack {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        fault: String,
    },
    /// They can be read, and something is wrong with them.
    #[error("this cannot be used\n\n{rendered}")]
    Rejected {
        /// What is wrong, at least one of it an error.
        findings: Vec<Finding>,
        /// The same for a terminal.
        rendered: String,
    },
}

impl PolicyErrors {
    /// What is wrong with the policies; empty when they could not be read.
    pub fn findings(&self) -> &[Finding] {
        match self {
            Self::Rejected { findings, .. } => findings,
            Self::Read { .. } | Self::NoPack { .. } | Self::Pack { .. } => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped_dir() -> PathBuf { Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies") }

    #[test]
    fn what_is_built_in_is_what_lies_in_the_folder() {
        assert_eq!(Sources::from_dir(&shipped_dir()).unwrap(), Sources::shipped());
    }

    #[test]
    fn every_change_is_another_version() {
        let before = Sources::shipped();
        assert_eq!(before.version().len(), 16);
        let mut after = before.clone();
        after.files[0].1.push(' ');
        assert_ne!(before.version(), after.version());
        let mut reordered = before.clone();
        reordered.files.reverse();
        assert_eq!(before.version(), reordered.version(), "Cedar knows no order of files");
    }

    #[test]
    fn a_missing_folder_is_told_by_name() {
        let error = Sources::from_dir(Path::new("/nowhere")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/countersign.cedarschema"), "{error}");
    }
}
