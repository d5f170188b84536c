//! One suite for all adapters: every scenario over every one of them, and the table of what came of it.
//! docs/adapters.md shows that table; what an adapter cannot is in it.
//!
//! A new adapter is a [`Kind`] with a [`Caller`](crate::common::caller::Caller), and a column.

mod contracts;
mod plays;

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf, sync::Arc};

use tokio::sync::Semaphore;

use self::plays::{Came, NAMES, measure, play};
use crate::common::caller::Kind;

/// Calls with sound at one time: each takes little of a processor, and none waits for one.
const SIDE_BY_SIDE: usize = 8;

/// What does not show on a call: how each adapter is spoken to.
fn spoken_to(kind: Kind) -> [(&'static str, &'static str); 6] {
    let rows = match kind {
        Kind::Handset => ["at once", "chosen music", "yes", "nobody's: the handset is the agent's too", "no: on this machine, in the demo alone", "exact"],
        Kind::Twilio => ["at once, over its REST API", "chosen music", "yes", "rung by us", "yes, without a time", "exact"],
        Kind::Http => ["at once, by our request or a question that we hold", "chosen music", "as the system does it", "rung by the system", "yes, for five minutes", "exact"],
        Kind::Jambonz => ["at once, over its REST API", "chosen music", "yes", "rung by us", "yes, for five minutes", "exact"],
        Kind::Connect => ["no: asks again, every 8 seconds or after a prompt", "prompts of yours", "where keys are asked for", "Connect's own", "by the forwarder, for five minutes", "two lengths for each kind of entry"],
        Kind::Sip => ["at once, on the line", "chosen music", "yes", "rung by us", "no: from the addresses on a list, or with a password", "exact"],
        Kind::Asterisk => ["at once, over its REST API", "chosen music", "yes", "rung by Asterisk", "no: we call it, with a password over TLS", "exact"],
        Kind::FreeSwitch => ["at once, on its connection", "chosen music", "yes", "rung by FreeSWITCH", "no: from the addresses on a list", "exact"],
        Kind::Genesys => ["no: asks again, as often as the flow does", "prompts of yours", "where keys are asked for", "Genesys' own", "no: a bearer key over TLS", "as the flow sets them"],
    };
    let names = ["told when the desk moves a call", "while waiting", "a key interrupts words", "agent's telephone", "requests are signed", "time to key"];
    let mut named = names.into_iter().zip(rows);
    std::array::from_fn(|_| named.next().unwrap())
}

/// Those that we speak to in requests: nothing in these plays takes time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_over_every_adapter() {
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| !kind.by_ear()).collect();
    shown("every_scenario_over_every_adapter", &suite(&kinds).await);
}

/// Those whose calls have sound, or the messages of a switch, in their own time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "takes one to two minutes of its own time, without other tests beside it: `cargo xtask test` runs it by itself"]
async fn every_scenario_on_the_line() {
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| kind.by_ear()).collect();
    shown("every_scenario_on_the_line", &suite(&kinds).await);
}

/// Plays everything, and makes the tables of what came of it.
async fn suite(kinds: &[Kind]) -> String {
    let mut tasks = Vec::new();
    for kind in kinds.iter().copied() {
        // A task for each, so that one failure does not hide the others. Calls with sound go on in their own
        // time, some side by side.
        let ahead = kind.sounds().then(|| {
            let places = Arc::new(Semaphore::new(SIDE_BY_SIDE));
            NAMES.map(|name| {
                let places = places.clone();
                tokio::spawn(async move {
                    let _place = places.acquire().await.unwrap();
                    play(name, kind).await
                })
            })
        });
        tasks.push((kind, tokio::spawn(async move {
            let mut came = Vec::new();
            match ahead {
                Some(plays) => {
                    for (name, play) in NAMES.into_iter().zip(plays) {
                        came.push((name, play.await));
                    }
                }
                None => {
                    for name in NAMES {
                        came.push((name, tokio::spawn(play(name, kind)).await));
                    }
                }
            }
            (came, tokio::spawn(measure(kind)).await)
        })));
    }
    let mut cells: BTreeMap<(&str, Kind), Came> = BTreeMap::new();
    let mut measured: BTreeMap<(&str, Kind), &str> = BTreeMap::new();
    let mut failures: Vec<String> = Vec::new();
    let mut order: Vec<&str> = Vec::new();
    for (kind, task) in tasks {
        let (came, can) = task.await.unwrap();
        for (name, came) in came {
            match came {
                Ok(came) => drop(cells.insert((name, kind), came)),
                Err(e) => failures.push(format!("{name} over {}: {e}", kind.name())),
            }
        }
        match can {
            Ok(can) => {
                for (what, how) in spoken_to(kind).into_iter().chain(can) {
                    if !order.contains(&what) {
                        order.push(what);
                    }
                    measured.insert((what, kind), how);
                }
            }
            Err(e) => failures.push(format!("what {} can: {e}", kind.name())),
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    let mut notes: Vec<&str> = Vec::new();
    let mut note = |text: &'static str| -> usize {
        let at = notes.iter().position(|known| *known == text).unwrap_or_else(|| {
            notes.push(text);
            notes.len() - 1
        });
        at + 1
    };
    let scenarios = NAMES.map(|name| {
        let cells = kinds.iter().map(|kind| match cells[&(name, *kind)] {
            Came::Yes => "yes".to_owned(),
            Came::Otherwise(how) => format!("otherwise ({})", note(how)),
            Came::Cannot(why) => format!("cannot ({})", note(why)),
        });
        (format!("`{name}`"), cells.collect())
    });
    let mut text = table("scenario", kinds, &scenarios);
    writeln!(text).unwrap();
    for (n, note) in notes.iter().enumerate() {
        writeln!(text, "{}. {note}.", n + 1).unwrap();
    }
    let can: Vec<(String, Vec<String>)> = order.iter().map(|what| ((*what).to_owned(), kinds.iter().map(|kind| measured[&(*what, *kind)].to_owned()).collect())).collect();
    write!(text, "\n{}", table("what it can", kinds, &can)).unwrap();
    print!("{text}");
    text
}

/// A table whose columns stand under each other in the source as well.
fn table(corner: &str, kinds: &[Kind], rows: &[(String, Vec<String>)]) -> String {
    let lines: Vec<Vec<String>> = std::iter::once(std::iter::once(corner.to_owned()).chain(kinds.iter().map(|kind| kind.name().to_owned())).collect())
        .chain(rows.iter().map(|(name, cells)| std::iter::once(name.clone()).chain(cells.iter().cloned()).collect())).collect();
    let widths: Vec<usize> = (0..=kinds.len()).map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap()).collect();
    let mut out = String::new();
    for (n, line) in lines.iter().enumerate() {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(out, "| {} |", cells.join(" | ")).unwrap();
        if n == 0 {
            writeln!(out, "|{}|", widths.iter().map(|width| "-".repeat(width + 2)).collect::<Vec<_>>().join("|")).unwrap();
        }
    }
    out
}

/// The page shows what was measured. `COUNTERSIGN_REWRITE_ADAPTERS=1` writes it anew, to be read.
fn shown(by: &str, measured: &str) {
    let marks = [format!("<!-- measured by {by} -->\n"), format!("<!-- end of what {by} measured -->")];
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/adapters.md");
    let page = std::fs::read_to_string(&file).unwrap();
    let (before, rest) = page.split_once(&*marks[0]).expect("the page has a place for the table");
    let (now, after) = rest.split_once(&*marks[1]).expect("the table's place has an end");
    if std::env::var_os("COUNTERSIGN_REWRITE_ADAPTERS").is_some() {
        std::fs::write(&file, format!("{before}{}\n{measured}\n{}{after}", marks[0], marks[1])).unwrap();
        return;
    }
    assert_eq!(now.trim(), measured.trim(), "docs/adapters.md shows another table: COUNTERSIGN_REWRITE_ADAPTERS=1 writes it anew, to be read");
}
