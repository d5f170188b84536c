//! Test vectors in a file: tokens made by another implementation, and what has to be said about them.
//!
//! The file is JSON: `root_pem`, the only root; `certificates`, what is found at each address; and
//! `vectors`, each with a `name`, the `identity` headers, `orig` and `dest` as the SIP message gives
//! them, `now` in seconds since the epoch, and what to `expect`: `verstat`, and where it matters
//! `attest`, `diverted`, `sip`, `reason`, and `fetched: false` for an address that is never asked for.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;

use crate::{Call, Roots, Settings, Step, Unfetched, Unusable, Verdict, Verifier};

/// What came of one vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// What should be said: only what the vector names.
    pub expected: String,
    /// What is said about the same.
    pub got: String,
}

impl Line {
    /// Whether both are the same.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.expected == self.got
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            expected,
            got,
        } = self;
        match self.agrees() {
            true => write!(f, "ok    {name}: {got}"),
            false => write!(f, "WRONG {name}: expected {expected}; got {got}"),
        }
    }
}

/// A file of vectors cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is not in the format.
    #[error("not a file of vectors: {0}")]
    Format(#[from] serde_json::Error),
    /// Its root is none.
    #[error("the root of the vectors: {0}")]
    Root(#[from] Unusable),
}

#[derive(Deserialize)]
struct File {
    root_pem: String,
    certificates: HashMap<String, String>,
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    identity: Vec<String>,
    orig: String,
    dest: String,
    now: u64,
    expect: Expect,
}

#[derive(Deserialize)]
struct Expect {
    verstat: String,
    attest: Option<String>,
    diverted: Option<bool>,
    sip: Option<u16>,
    reason: Option<String>,
    fetched: Option<bool>,
}

/// Verifies each vector of a file, with nothing kept from one to the next. No line may be left out of
/// the judgement: the file passes if every [`Line::agrees`] and there is at least one.
///
/// # Errors
/// [`Unreadable`]: the text is no such file.
pub fn check(json: &str) -> Result<Vec<Line>, Unreadable> {
    let file: File = serde_json::from_str(json)?;
    let settings = Settings::new(Roots::read(&file.root_pem)?);
    Ok(file
        .vectors
        .iter()
        .map(|vector| line(vector, &settings, &file.certificates))
        .collect())
}

fn line(vector: &Vector, settings: &Settings, certificates: &HashMap<String, String>) -> Line {
    let verifier = Verifier::new(settings.clone());
    let identity: Vec<&str> = vector.identity.iter().map(String::as_str).collect();
    let call = Call {
        identity: &identity,
        orig: &vector.orig,
        dest: &vector.dest,
        known: None,
    };
    let mut fetched = false;
    let mut step = verifier.begin(&call, vector.now);
    let verdict = loop {
        match step {
            Step::Done(verdict) => break verdict,
            Step::Fetch(pending) => {
                fetched = true;
                let found = certificates
                    .get(pending.want().address.as_str())
                    .map(String::as_bytes);
                step = verifier.resume(pending, found.ok_or(Unfetched::Connection), vector.now);
            }
        }
    };
    let (expected, got) = compare(&vector.expect, &verdict, fetched);
    Line {
        name: vector.name.clone(),
        expected,
        got,
    }
}

fn compare(expect: &Expect, verdict: &Verdict, fetched: bool) -> (String, String) {
    let mut expected = expect.verstat.clone();
    let mut got = verdict.verstat.as_str().to_owned();
    let mut both = |name: &str, wanted: Option<String>, found: Option<String>| {
        if let Some(wanted) = wanted {
            expected += &format!(" {name}={wanted}");
            got += &format!(" {name}={}", found.unwrap_or_else(|| "-".to_owned()));
        }
    };
    both(
        "attest",
        expect.attest.clone(),
        verdict.attest().map(|attest| attest.as_str().to_owned()),
    );
    both(
        "diverted",
        expect.diverted.map(|diverted| diverted.to_string()),
        Some(verdict.diverted.to_string()),
    );
    both(
        "sip",
        expect.sip.map(|code| code.to_string()),
        verdict.sip().map(|code| code.to_string()),
    );
    both(
        "reason",
        expect.reason.clone(),
        verdict.reason().map(|reason| reason.as_str().to_owned()),
    );
    both(
        "fetched",
        expect.fetched.map(|fetched| fetched.to_string()),
        Some(fetched.to_string()),
    );
    (expected, got)
}
