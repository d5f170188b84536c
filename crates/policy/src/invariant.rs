//! What must hold whatever the policies say: written in Cedar, as forbids. An invariant holds if no
//! request that it forbids is permitted, for every caller, agent and account. Each says in plain
//! words what it promises.

use std::collections::BTreeSet;

use cedar_policy::{Policy, PolicyId};
use countersign_core::action::Action;

use crate::{
    compile::compile,
    finding::{Finding, Severity, render},
    sources::{PolicyErrors, SCHEMA_FILE},
};

/// One promise.
#[derive(Debug, Clone)]
pub struct Invariant {
    /// Its short name (`@id`).
    pub id: String,
    /// What it promises (`@says`), a sentence.
    pub says: String,
    /// In which file, and in which line.
    pub place: (String, usize),
    /// The forbid, named by its id.
    pub policy: Policy,
    /// The actions that its scope names.
    pub covers: BTreeSet<Action>,
}

/// Reads invariants that are written against a schema. Refused are those that the schema does not
/// know the words of, permits, and those without a name or a sentence.
pub fn read(schema: &str, files: &[(String, String)]) -> Result<Vec<Invariant>, PolicyErrors> {
    let (compiled, mut findings) = compile(schema, files);
    // The same reader as for policies; what it says of annotations is about policies.
    findings.retain(|f| f.severity == Severity::Error);
    let mut out = Vec::new();
    for rule in compiled.iter().flat_map(|c| &c.rules) {
        let Some((name, text)) = files.get(rule.file) else { continue };
        let fault = |message: &str, help: &str| Finding::error(name, text, rule.chunk.head(), message).policy(&rule.id).help(help);
        if rule.permits() {
            findings.push(fault("an invariant says what never happens, so it is a forbid", "write `forbid (…) when { … }` for what must never be permitted"));
        }
        let says = rule.policy.annotation("says").unwrap_or_default().trim();
        if says.is_empty() {
            findings.push(fault("this invariant does not say what it promises", "write @says(\"a sentence that a security lead can sign\") before it"));
        }
        if rule.covers.is_empty() {
            findings.push(fault("this invariant is about no action, so it promises nothing", "name an action of the schema, or a group that has actions"));
        }
        let line = Finding::error(name, text, rule.chunk.head(), "").line;
        out.push(Invariant {
            id: rule.id.clone(), says: says.to_owned(), place: (name.clone(), line), policy: rule.policy.new_id(PolicyId::new(&rule.id)),
            covers: rule.covers.iter().cloned().collect(),
        });
    }
    if findings.is_empty() {
        return Ok(out);
    }
    let mut all = files.to_vec();
    all.push((SCHEMA_FILE.to_owned(), schema.to_owned()));
    Err(PolicyErrors::Rejected { rendered: render(&findings, &all), findings })
}
