//! The report as one page: no script, nothing from elsewhere, light and dark.

use askama::Template;

use crate::report::{Outcome, Report, Side, Verdict};

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    report: &'a Report,
    when: &'a str,
}

impl Page<'_> {
    fn class(&self, verdict: &Verdict) -> &'static str {
        match verdict {
            Verdict::Stopped { .. } => "good",
            Verdict::GotThrough { .. } => "bad",
            Verdict::NotApplicable { .. } => "plain",
            Verdict::Broken { .. } => "warn",
        }
    }
    fn side(&self, side: &Side) -> (&'static str, &'static str) {
        match side {
            Side::Attack => ("attack", "does"),
            Side::System => ("system", "sees"),
            Side::Loot => ("loot", "has"),
        }
    }
    /// Where somebody should look comes open.
    fn open(&self, drill: &Outcome) -> bool { matches!(drill.verdict, Verdict::GotThrough { .. } | Verdict::Broken { .. }) }
}

/// The whole page. `when` is how the run's time is to read.
pub fn page(report: &Report, when: &str) -> Result<String, askama::Error> { Page { report, when }.render() }
