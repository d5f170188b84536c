//! The reviewed tables in `policies/cases`: see the README there.

use std::{collections::BTreeSet, fs};

use countersign_core::{
    action::{Action, DelegateFacts, Facts, Level},
    factor::FactorKind,
};
use countersign_policy::Engine;

use crate::support::{EVERYBODY, all_claims, caller, decide, outcome_text, policies};

/// Asks every line of a table and gives the table as it should be.
fn answered(engine: &Engine, table: &str, asked: &mut Asked) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for line in table.lines() {
        let cells: Vec<String> = line.split('|').map(|cell| cell.trim().to_owned()).collect();
        rows.push(match cells.as_slice() {
            [action, who, level, facts, _, _] if action != "action" => {
                let answers: Vec<_> = answers(engine, action, who, level, facts, asked).into_iter().collect();
                let (outcome, policies) = match answers.as_slice() {
                    [one] => one.clone(),
                    several => (format!("SEVERAL: {several:?}"), String::new()),
                };
                vec![action.clone(), who.clone(), level.clone(), facts.clone(), outcome, policies]
            }
            _ => cells,
        });
    }
    aligned(&rows)
}

/// What was asked, and which policies had a say.
#[derive(Default)]
struct Asked {
    actions: BTreeSet<String>,
    deciding: BTreeSet<String>,
}

/// The different answers for everybody and everything that a line names: one, if the line is right.
fn answers(engine: &Engine, action: &str, who: &str, level: &str, facts: &str, asked: &mut Asked) -> BTreeSet<(String, String)> {
    let facts = facts_of(level, facts);
    let mut out = BTreeSet::new();
    for action in actions_of(engine, action) {
        for (_, actor) in EVERYBODY.iter().filter(|(name, _)| people_of(who).contains(name)) {
            let decision = decide(engine, *actor, &action.to_string(), &facts);
            asked.actions.insert(action.to_string());
            asked.deciding.extend(decision.policies.iter().cloned());
            out.insert((outcome_text(&decision.outcome), decision.policies.join(" ")));
        }
    }
    assert!(!out.is_empty(), "nobody and nothing is asked by `{action} | {who}`");
    out
}

fn actions_of(engine: &Engine, pattern: &str) -> Vec<Action> {
    let fits = |action: &&Action| match pattern.strip_suffix('*') {
        Some(verb) => action.to_string().starts_with(verb),
        None => action.to_string() == pattern,
    };
    engine.actions().filter(fits).cloned().collect()
}

fn people_of(who: &str) -> Vec<&str> {
    match who {
        "desk" => vec!["agent", "specialist", "lead"],
        "all" => vec!["self-service", "agent", "specialist", "lead"],
        one => vec![one],
    }
}

fn facts_of(level: &str, words: &str) -> Facts {
    let level = Level::ALL.into_iter().find(|l| l.name() == level).unwrap_or_else(|| panic!("no level `{level}`"));
    let mut facts = caller(level);
    let delegate = |covers| Some(DelegateFacts { kind: "guardian".into(), covers });
    for word in words.split_whitespace() {
        match word.split_once('=').unwrap_or((word, "")) {
            ("closed", _) => facts.opened = false,
            ("claims", "all") => facts.claims = all_claims(),
            ("proofs", kinds) => facts.proofs = kinds.split('+').filter(|k| !k.is_empty()).map(|k| FactorKind::parse(k).expect(k)).collect(),
            ("risk", score) => facts.risk = score.parse().expect(score),
            ("frozen", _) => facts.frozen = true,
            ("phone-lock", _) => facts.phone_lock = true,
            ("duress", _) => facts.duress = true,
            ("delegate", _) => facts.delegate = delegate(false),
            ("delegate-covered", _) => facts.delegate = delegate(true),
            ("stronger-set-up", _) => facts.stronger_set_up = true,
            ("with-reason", _) => facts.with_reason = true,
            _ => panic!("no fact `{word}`"),
        }
    }
    facts
}

/// Columns under each other; lines that are no rows stay as they are.
fn aligned(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().filter(|r| r.len() == 6).map(|r| r[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let line = match row.len() {
            6 => row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect::<Vec<_>>().join(" | "),
            _ => row.join(" | "),
        };
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[test]
fn reviewed_cases() {
    let engine = Engine::shipped();
    let mut asked = Asked::default();
    let mut wrong = String::new();
    let mut names: Vec<_> = fs::read_dir(policies().join("cases")).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|e| e == "txt"));
    names.sort();
    assert!(names.len() >= 5, "tables are missing: {names:?}");
    for path in names {
        let table = fs::read_to_string(&path).unwrap();
        let right = answered(&engine, &table, &mut asked);
        if table != right {
            // For whoever changes a policy on purpose: rewrites the answers, to be reviewed.
            if std::env::var_os("COUNTERSIGN_REWRITE_CASES").is_some() {
                fs::write(&path, &right).unwrap();
            }
            wrong.push_str(&format!("{}\n{}", path.display(), difference(&table, &right)));
        }
    }
    assert!(wrong.is_empty(), "the policies answer differently (- table, + policies):\n{wrong}");

    let actions: BTreeSet<String> = engine.actions().map(ToString::to_string).collect();
    let unasked: Vec<_> = actions.difference(&asked.actions).collect();
    assert!(unasked.is_empty(), "no line asks for {unasked:?}");
    let policies: BTreeSet<String> = engine.policy_ids().map(str::to_owned).collect();
    let silent: Vec<_> = policies.difference(&asked.deciding).collect();
    assert!(silent.is_empty(), "no line is decided by {silent:?}");
}

/// The lines whose answers differ; or that only the columns are not under each other.
fn difference(before: &str, after: &str) -> String {
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>().join(" | ");
    let pairs = before.lines().zip(after.lines()).filter(|(a, b)| cells(a) != cells(b));
    let lines: String = pairs.map(|(a, b)| format!("- {}\n+ {}\n", cells(a), cells(b))).collect();
    if lines.is_empty() { "(only the columns are not aligned)\n".to_owned() } else { lines }
}
