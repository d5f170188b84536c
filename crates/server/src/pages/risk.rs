//! The lead's pages about risk as the templates see them.

use askama::Template;
use countersign_core::{
    action::Role,
    id::{AccountId, CallId},
    time::Timestamp,
};

use countersign_voice::drift::{Level, Moved};

use super::{Shell, words};
use crate::voice_months::Month;

/// How voices fared in one month.
#[derive(Debug, Clone)]
pub struct VoiceRow {
    /// Such as `2026-11`.
    pub name: String,
    /// The counts.
    pub month: Month,
    /// How far the genuine have moved from how they scored in the calibration; `None`: none was compared
    /// with the one in force.
    pub drift: Option<Moved>,
}

/// By what drift is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference {
    /// The calibration in force says how the genuine scored.
    There,
    /// It does not: it was made by an older program.
    NotThere,
    /// There is no calibration.
    NotCalibrated,
}

impl VoiceRow {
    /// The share that said something.
    pub fn compared(&self) -> String { share(self.month.compared, self.month.asked) }
    /// The share of those that said "alike".
    pub fn alike(&self) -> String { share(self.month.alike, self.month.compared) }
    /// The mean score of the genuine.
    pub fn mean(&self) -> String {
        let one = |n: i64| format!("{}{}.{:02}", if n < 0 { "−" } else { "" }, n.abs() / 1000, n.abs() % 1000 / 10);
        self.month.genuine().map_or_else(|| "–".to_owned(), |(mean, spread)| format!("{} ± {}", one(mean), one(spread)))
    }
    /// How many of the digits that the genuine said were recognised.
    pub fn digits(&self) -> String { share(self.month.digits_right, self.month.digits) }
    /// The population stability index.
    pub fn index(&self) -> String { self.drift.map_or_else(|| "–".to_owned(), |drift| format!("{:.2}", drift.stability_index)) }
    /// What to make of it, in a word.
    pub fn word(&self) -> &'static str {
        match self.drift.map(|drift| drift.level()) {
            Some(Level::Stable) => "steady",
            Some(Level::Moving) => "moving",
            Some(Level::Moved) => "calibrate anew",
            Some(Level::TooFew) => "too few to say",
            None => "",
        }
    }
    /// It has to be done something about.
    pub fn has_moved(&self) -> bool { self.drift.is_some_and(|drift| drift.level() == Level::Moved) }
}

fn share(part: u32, whole: u32) -> String { Month::percent(part, whole).map_or_else(|| "–".to_owned(), |p| format!("{p} %")) }

/// What one person at the desk did today.
#[derive(Debug, Clone)]
pub struct AgentRow {
    /// Their name.
    pub name: String,
    /// Calls taken.
    pub calls: u32,
    /// In the order of [`RiskPage::habits`].
    pub counts: Vec<u32>,
    /// What is unusual about it, with the evidence.
    pub unusual: Vec<String>,
}

/// A line that nobody answers.
#[derive(Debug, Clone)]
pub struct Denied {
    /// Its keyed hash.
    pub line: String,
    /// Who listed it.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Because of which call.
    pub call: Option<CallId>,
}

/// The whole page.
#[derive(Debug, Clone)]
pub struct RiskPage {
    /// Now.
    pub now: Timestamp,
    /// What is counted.
    pub habits: Vec<&'static str>,
    /// Unusual ones first.
    pub agents: Vec<AgentRow>,
    /// The lead's deny list, latest first.
    pub denied: Vec<Denied>,
    /// How many numbers the configuration lists.
    pub configured: usize,
    /// How voices fared, latest month first.
    pub voices: Vec<VoiceRow>,
    /// Voices are listened to.
    pub listens: bool,
    /// By what drift is told.
    pub reference: Reference,
    /// Nothing follows from scores.
    pub shadow: bool,
    /// Words, name, points in force, usual points.
    pub points: Vec<(String, &'static str, u8, u8)>,
    /// Route and from which score on.
    pub routes: Vec<(String, u8)>,
}

impl RiskPage {
    /// Whether digits were ever asked for: no column for what is not switched on.
    pub fn digits(&self) -> bool { self.voices.iter().any(|row| row.month.digits > 0) }
}

#[derive(Template)]
#[template(path = "admin_risk.html")]
struct Page<'a> {
    shell: &'a Shell<'a>,
    view: &'a RiskPage,
}

/// The lead's page about risk.
pub fn page(shell: &Shell<'_>, view: &RiskPage) -> Result<String, askama::Error> { Page { shell, view }.render() }

/// An account that a call touched.
#[derive(Debug, Clone)]
pub struct Touched {
    /// Which.
    pub id: AccountId,
    /// It is frozen already.
    pub frozen: bool,
}

/// A call that shares something with another.
#[derive(Debug, Clone)]
pub struct RelatedCall {
    /// Which.
    pub id: CallId,
    /// When it came in.
    pub at: Timestamp,
    /// What they share.
    pub why: String,
    /// It is marked as fraud.
    pub fraud: bool,
}

/// Fraud, as the record page shows it to the lead.
#[derive(Debug, Clone)]
pub struct CallRisk {
    /// Which call.
    pub id: CallId,
    /// It is marked as fraud.
    pub fraud: bool,
    /// Whether its line is on the lead's deny list; `None`: it showed no number.
    pub line_listed: Option<bool>,
    /// The number it showed is on a customer's file.
    pub on_file: bool,
    /// Accounts that it touched.
    pub accounts: Vec<Touched>,
    /// Calls that share its line, account or agent, latest first.
    pub related: Vec<RelatedCall>,
}

impl CallRisk {
    /// How many related calls are marked.
    pub(super) fn marked(&self) -> usize { self.related.iter().filter(|r| r.fraud).count() }
}
