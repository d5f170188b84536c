//! Who may do what at which level, as a table to be reviewed.

use std::fmt::Write;

use countersign_core::action::{Level, Outcome, WayOut};

use crate::{
    Engine,
    case::{Question, ordinary},
    eval::Who,
};

const WIDTHS: [usize; 7] = [22, 15, 16, 16, 16, 16, 16];

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

/// What these policies answer to an ordinary caller: every action at every level for everybody.
pub fn matrix(engine: &Engine) -> String {
    let mut table = String::from("yes: permitted   > level: step up first   hand over: another role may   online: signed in only   -: refused\n\n");
    let names = Who::ALL.map(Who::name);
    row(&mut table, &[&["action", "level"], &names[..]].concat());
    let mut verb = None;
    for action in engine.actions() {
        if verb.replace(action.verb) != Some(action.verb) {
            table.push('\n');
        }
        let text = action.to_string();
        for level in Level::ALL {
            let ask = |who| cell(&Question { who, action: action.clone(), facts: ordinary(level) }.ask(engine).outcome);
            let first = if level == Level::Anonymous { text.as_str() } else { "" };
            row(&mut table, &[&[first, level.name()], &Who::ALL.map(ask)[..]].concat());
        }
    }
    table
}

fn row(table: &mut String, cells: &[&str]) {
    let line: String = cells.iter().zip(WIDTHS).map(|(cell, width)| format!("{cell:width$}")).collect();
    let _ = writeln!(table, "{}", line.trim_end());
}
