//! What is wrong with policies, before they decide anything.
//!
//! Beside Cedar's own parser and strict validator there are house rules, and all of them are one
//! rule: *identification is not authentication*. They are checked twice: by reading the policies
//! (`treats`), which tells the very word that is wrong, and by asking them as a caller who knows
//! everything about the customer and proved nothing (`behaves`), which no spelling escapes.

mod behaves;
pub(crate) mod public;
mod treats;

use crate::{
    compile::{Compiled, compile},
    finding::{Finding, Severity},
};

/// Everything that is wrong with these policies, in the order of the files. `files` are names and
/// texts. No finding of severity [`Error`](crate::Severity::Error): they can be loaded.
pub fn check(schema: &str, files: &[(String, String)]) -> Vec<Finding> { examine(schema, files).1 }

/// The same, with what was compiled on the way.
pub(crate) fn examine(schema: &str, files: &[(String, String)]) -> (Option<Compiled>, Vec<Finding>) {
    let (compiled, mut findings) = compile(schema, files);
    if let Some(compiled) = &compiled {
        findings.extend(treats::check(compiled, files));
        // What the first check explained by its very word needs no second explanation.
        let told: Vec<String> = findings.iter().filter(|f| f.severity == Severity::Error).filter_map(|f| f.policy_id.clone()).collect();
        findings.extend(behaves::check(compiled, files).into_iter().filter(|f| f.policy_id.as_ref().is_none_or(|id| !told.contains(id))));
    }
    let place = |file: &str| files.iter().position(|(name, _)| name == file);
    findings.sort_by_key(|f| (place(&f.file), f.line, f.column));
    (compiled, findings)
}
