//! The reviewed tables in `policies/cases`: see the README there.

use std::{collections::BTreeSet, fs};

use countersign_policy::{Engine, case::answers};

use crate::support::policies;

/// Asks every line of a table and gives the table as it should be.
fn answered(engine: &Engine, table: &str, asked: &mut Asked) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for line in table.lines() {
        let cells: Vec<String> = line.split('|').map(|cell| cell.trim().to_owned()).collect();
        rows.push(match cells.as_slice() {
            [action, who, level, facts, _, _] if action != "action" => {
                let answers = answers(engine, action, who, level, facts).unwrap();
                asked.deciding.extend(answers.iter().flat_map(|(_, by)| by.split(' ')).map(str::to_owned));
                asked.actions.extend(engine.actions().map(ToString::to_string).filter(|a| action.strip_suffix('*').map_or(a == action, |verb| a.starts_with(verb))));
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
