//! Policies that treat a claim as a proof, found by reading them.

use std::{collections::HashMap, ops::Range};

use cedar_policy::pst::{BinaryOp, Expr, Literal};
use countersign_core::{action::Verb, factor::FactorKind};

use super::public;
use crate::{
    compile::{Compiled, Rule},
    finding::Finding,
    tree,
};

const CLASSES: [&str; 2] = ["knowledge", "possession"];

pub(super) fn check(compiled: &Compiled, files: &[(String, String)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rule in &compiled.rules {
        let Some((name, text)) = files.get(rule.file) else { continue };
        let mut reader = Reader { rule, name, text, strings: HashMap::new(), claims: 0, findings: &mut findings };
        match tree::conditions(&rule.policy) {
            Some(conditions) => conditions.iter().for_each(|expr| reader.read(expr, &Compared::default())),
            None => reader.fault(None, "this policy cannot be read in full, so it cannot be checked", "write it with plain conditions"),
        }
    }
    findings
}

/// What the strings below an expression are compared with.
#[derive(Clone, Default)]
struct Compared {
    proofs: bool,
    classes: bool,
}

/// Reads one policy from its beginning to its end, counting, so that what is found in Cedar's tree
/// is found again in the text.
struct Reader<'a> {
    rule: &'a Rule,
    name: &'a str,
    text: &'a str,
    /// How often each string was met.
    strings: HashMap<String, usize>,
    /// How often `context.claims` was met.
    claims: usize,
    findings: &'a mut Vec<Finding>,
}

impl Reader<'_> {
    fn read(&mut self, expr: &Expr, compared: &Compared) {
        if let Expr::Literal(Literal::String(word)) = expr {
            self.string(word, compared);
            return;
        }
        if tree::is_attribute(expr, "claims") {
            self.claim();
            return;
        }
        let compared = match expr {
            Expr::BinaryOp { op, left, right } if is_comparison(*op) => {
                let either = |attr| tree::mentions(left, attr) || tree::mentions(right, attr);
                &Compared { proofs: compared.proofs || either("proofs"), classes: compared.classes || either("classes") }
            }
            _ => compared,
        };
        match tree::children(expr) {
            Some(children) => children.into_iter().for_each(|child| self.read(child, compared)),
            None => self.fault(None, "this policy uses something that cannot be checked", "write it with plain conditions"),
        }
    }

    fn string(&mut self, word: &str, compared: &Compared) {
        let count = self.strings.entry(word.to_owned()).or_default();
        let nth = *count;
        *count += 1;
        if !compared.proofs && !compared.classes {
            return;
        }
        let known = (compared.proofs && FactorKind::parse(word).is_some()) || (compared.classes && CLASSES.contains(&word));
        if known {
            return;
        }
        let place = self.rule.chunk.string(self.text, word, nth);
        if public::is_public(word) {
            let help = format!(
                "identification is not authentication: a proof is one of {}. What only identifies is in context.claims, and no policy may take it for a proof",
                factor_names()
            );
            self.fault(place, format!("`{word}` is treated as a proof, and it is none: {}", public::why(word)), help);
        } else if compared.proofs {
            self.fault(place, format!("`{word}` is no factor, so this comparison never holds"), format!("the factors are {}", factor_names()));
        } else {
            self.fault(place, format!("`{word}` is no class of factors, so this comparison never holds"), "the classes are knowledge and possession");
        }
    }

    /// Claims may help to decide what is compared or mentioned, but not who is authenticated or
    /// what is done. In a forbid they are as bad: "forbidden unless the date of birth was given"
    /// makes a password of the date of birth.
    fn claim(&mut self) {
        let nth = self.claims;
        self.claims += 1;
        let proving = self.rule.covers.iter().find(|a| matches!(a.verb, Verb::Reach | Verb::Use | Verb::Change | Verb::Do));
        if let Some(action) = proving {
            let place = self.rule.chunk.word(self.text, "claims", nth);
            let message = format!("claims decide about `{action}` here, but claims only say which account is meant");
            let help = "identification is not authentication: ask for context.level, or for factors in context.proofs";
            self.fault(place, message, help);
        }
    }

    fn fault(&mut self, place: Option<Range<usize>>, message: impl Into<String>, help: impl Into<String>) {
        let span = place.unwrap_or_else(|| self.rule.chunk.head());
        self.findings.push(Finding::error(self.name, self.text, span, message).policy(&self.rule.id).help(help));
    }
}

fn factor_names() -> String { FactorKind::ALL.map(FactorKind::name).join(", ") }

fn is_comparison(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::Eq | BinaryOp::NotEq | BinaryOp::Contains | BinaryOp::ContainsAll | BinaryOp::ContainsAny)
}
