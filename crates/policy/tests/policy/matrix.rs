//! Every action at every level for everybody, as a table to be reviewed.

use std::fmt::Write;

use countersign_core::action::{Level, Outcome, WayOut};
use countersign_policy::Engine;

use crate::support::{EVERYBODY, caller, decide, policies};

fn cell(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Permit => "yes",
        Outcome::StepUp { to: Level::Anonymous } => "?",
        Outcome::StepUp { to: Level::Identified } => "> identified",
        Outcome::StepUp { to: Level::Authenticated } => "> authenticated",
        Outcome::StepUp { to: Level::Strong } => "> strong",
        Outcome::Refuse { way_out: WayOut::None } => "-",
        Outcome::Refuse { way_out: WayOut::Online } => "online",
        Outcome::Refuse { way_out: WayOut::Specialist } => "hand over",
        Outcome::Refuse { way_out: WayOut::Held } => "held",
    }
}

#[test]
fn matrix() {
    let engine = Engine::shipped();
    let mut table = String::from("yes: permitted   > level: step up first   hand over: another role may   online: signed in only   -: refused\n\n");
    let head = |table: &mut String, cells: &[&str]| {
        let line = cells.iter().zip([22, 15, 16, 16, 16, 16, 16]).map(|(cell, width)| format!("{cell:width$}")).collect::<String>();
        writeln!(table, "{}", line.trim_end()).unwrap();
    };
    let names = EVERYBODY.map(|(name, _)| name);
    head(&mut table, &[&["action", "level"], &names[..]].concat());
    let mut verb = None;
    for action in engine.actions() {
        if verb.replace(action.verb) != Some(action.verb) {
            table.push('\n');
        }
        let text = action.to_string();
        for level in Level::ALL {
            let cells: Vec<&str> = EVERYBODY.iter().map(|(_, actor)| cell(&decide(&engine, *actor, &text, &caller(level)).outcome)).collect();
            let first = if level == Level::Anonymous { text.as_str() } else { "" };
            head(&mut table, &[&[first, level.name()], &cells[..]].concat());
        }
    }
    insta::with_settings!({
        snapshot_path => policies().join("cases"),
        prepend_module_to_snapshot => false,
        omit_expression => true,
        description => "What the shipped policies answer to an ordinary caller. Review it like code.",
    }, { insta::assert_snapshot!("matrix", table) });
}
