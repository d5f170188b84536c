//! A file that says what is known of numbers: for tests, drills, and whoever has a list of their own.
//! TOML, one section per number:
//!
//! ```toml
//! ["+12025550190"]
//! line = "non_fixed_voip"          # mobile, landline, fixed_voip, non_fixed_voip, not_called_from, other
//! sim_changed = "2026-06-01T04:00:00Z"
//! reassigned = true
//! forwarded = true
//! ```
//! Numbers that are not in it are known to be quiet.

use std::{collections::BTreeMap, path::Path};

use async_trait::async_trait;
use countersign_core::{risk::LineType, secret::E164, time::Timestamp};
use serde::Deserialize;

use super::{IntelError, Known, NumberIntelligence, Sim, date};

/// What a file says.
#[derive(Default)]
pub struct Listed(BTreeMap<E164, Known>);

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what it should be. The library's own error quotes the line, and with it the number.
    #[error("{path}: line {line}: {message}")]
    Parse {
        /// Which.
        path: String,
        /// Where, from 1.
        line: usize,
        /// Why.
        message: String,
    },
    /// A date is none.
    #[error("{path}: sim_changed of the number ending in {tail} is no date: write 2026-06-01T04:00:00Z")]
    Date {
        /// Which.
        path: String,
        /// Of which number.
        tail: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    line: Option<LineType>,
    sim_changed: Option<String>,
    #[serde(default)]
    reassigned: bool,
    #[serde(default)]
    forwarded: bool,
}

impl Listed {
    /// Of these numbers.
    pub fn of(rows: impl IntoIterator<Item = (E164, Known)>) -> Self { Self(rows.into_iter().collect()) }

    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| FileError::Read { path: name.clone(), source })?;
        Self::parse(&text, &name)
    }

    fn parse(text: &str, name: &str) -> Result<Self, FileError> {
        let rows: BTreeMap<E164, Row> = toml::from_str(text).map_err(|e| {
            let line = e.span().and_then(|span| text.get(..span.start)).map_or(1, |before| before.matches('\n').count() + 1);
            FileError::Parse { path: name.to_owned(), line, message: e.message().to_owned() }
        })?;
        let mut out = BTreeMap::new();
        for (number, row) in rows {
            let sim = match row.sim_changed.as_deref().map(date::parse) {
                None => Sim::Quiet,
                Some(Some(at)) => Sim::At(at),
                Some(None) => return Err(FileError::Date { path: name.to_owned(), tail: number.tail().to_owned() }),
            };
            out.insert(number, Known { line: row.line, sim, reassigned: row.reassigned, forwarded: row.forwarded });
        }
        Ok(Self(out))
    }
}

#[async_trait]
impl NumberIntelligence for Listed {
    fn name(&self) -> &'static str { "file" }
    async fn ask(&self, number: &E164, _: Timestamp) -> Result<Known, IntelError> { Ok(self.0.get(number).cloned().unwrap_or_default()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_read_strictly() {
        let text = "[\"+12025550190\"]\nline = \"non_fixed_voip\"\nsim_changed = \"2026-06-01T04:00:00Z\"\nforwarded = true\n[\"+12025550191\"]\nreassigned = true\n";
        let listed = Listed::parse(text, "numbers.toml").unwrap();
        let ask = async |n: &str| listed.ask(&E164::parse(n).unwrap(), Timestamp(0)).await.unwrap();
        assert_eq!(ask("+12025550190").await, Known { line: Some(LineType::NonFixedVoip), sim: Sim::At(Timestamp(1_780_286_400_000)), reassigned: false, forwarded: true });
        assert!(ask("+12025550191").await.reassigned);
        assert_eq!(ask("+12025550192").await, Known::default());
        for bad in ["[\"2025550190\"]\n", "[\"+12025550190\"]\nline = \"satellite\"\n", "[\"+12025550190\"]\nsims = 3\n", "[\"+12025550190\"]\nsim_changed = \"lately\"\n"] {
            let error = Listed::parse(bad, "numbers.toml").err().unwrap().to_string();
            assert!(error.starts_with("numbers.toml: ") && !error.contains("2025550190\""), "{error}");
        }
    }
}
