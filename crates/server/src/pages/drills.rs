//! The lead's page about the last drills.

use askama::Template;
use countersign_core::action::Role;

use super::{Shell, words};
use crate::drills::{Ended, SavedRun};

#[derive(Template)]
#[template(path = "drills.html")]
struct Drills<'a> {
    shell: &'a Shell<'a>,
    policy: &'a str,
    run: Option<&'a SavedRun>,
}

impl Drills<'_> {
    fn verdict(&self, ended: &Ended) -> (&'static str, &'static str) {
        match ended {
            Ended::Stopped => ("good", "stopped"),
            Ended::GotThrough => ("bad", "got through"),
            Ended::NotApplicable => ("", "not applicable"),
            Ended::Broken => ("warn", "could not run"),
        }
    }
    fn count(&self, run: &SavedRun, ended: Ended) -> usize { run.drills.iter().filter(|d| d.ended == ended).count() }
}

/// The last run that was kept; `policy` is the set in force now.
pub fn drills(shell: &Shell<'_>, policy: &str, run: Option<&SavedRun>) -> Result<String, askama::Error> { Drills { shell, policy, run }.render() }
