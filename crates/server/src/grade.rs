//! Our own grade: the rubric of the field study applied to calls of this installation that ended, and
//! how each factor fared on them.

mod digest;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use countersign_core::{factor::FactorKind, id::CallId, time::Span};
use countersign_survey::{Note, Tally, chart, grade};

pub use self::digest::{Attempt, Digest};
use crate::{
    App,
    admin::{shell, who},
    pages::{self, CallGrade, FactorLine, FactorStat, GradeView, Tallied},
    runner::{RunError, Runner},
    web::WebError,
};

/// How many calls that ended are looked at, the latest first.
pub const CALLS: usize = 1000;
/// How many of them are listed.
const LISTED: usize = 50;
/// What the charts say these calls are.
const OURS: &str = "our own calls";

/// The routes of this page.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/admin/grade", get(page))
        .route("/admin/grade/methods.svg", get(methods))
        .route("/admin/grade/verdicts.svg", get(verdicts))
}

/// Digests of calls that ended. A call that ended is read once: nothing of what is graded comes later.
#[derive(Default)]
pub struct Digests(tokio::sync::Mutex<HashMap<CallId, Arc<Digest>>>);

/// How one factor fared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fared {
    /// Which.
    pub kind: FactorKind,
    /// How often it was asked for.
    pub asked: usize,
    /// How often it was proved.
    pub proved: usize,
    /// Half of the proofs took no longer than this from the question.
    pub median: Option<Span>,
    /// How often it led to nothing and another one was asked for.
    pub fell_back: usize,
    /// How often it was refused to somebody who then proved to be the customer.
    pub refused_falsely: usize,
}

/// The latest calls that ended, newest first.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Each with its digest.
    pub calls: Vec<(CallId, Arc<Digest>)>,
}

impl Report {
    /// Reads what is new since it was last asked for; at first up to [`CALLS`] calls.
    pub async fn read(runner: &Runner) -> Result<Self, RunError> {
        let ended = runner.store.docs("ended", None, CALLS).await?;
        let ids = ended.iter().filter_map(|(id, _)| id.get(8..).and_then(|b| <[u8; 16]>::try_from(b).ok()).map(CallId));
        // One at a time: whoever comes second finds what the first has read.
        let mut known = runner.digests.0.lock().await;
        let mut calls = Vec::new();
        for id in ids {
            let digest = match known.get(&id) {
                Some(digest) => digest.clone(),
                None => Arc::new(Digest::of(id, &runner.events(id).await?)),
            };
            calls.push((id, digest));
        }
        // What has become too old to be looked at is forgotten here as well.
        *known = calls.iter().cloned().collect();
        Ok(Self { calls })
    }

    fn notes(&self) -> impl Iterator<Item = &Note> { self.calls.iter().filter_map(|(_, digest)| digest.note.as_ref()) }

    /// What the calls come to.
    pub fn tally(&self) -> Tally { Tally::of(self.notes()) }

    /// How the factors fared, strongest first.
    pub fn factors(&self) -> Vec<Fared> {
        let all: Vec<(&Digest, &Attempt)> = self.calls.iter().flat_map(|(_, digest)| digest.attempts.iter().map(move |a| (&**digest, a))).collect();
        FactorKind::ALL.into_iter().map(|kind| {
            let of: Vec<&(&Digest, &Attempt)> = all.iter().filter(|(_, a)| a.kind == kind).collect();
            let mut spans: Vec<Span> = of.iter().filter_map(|(_, a)| a.proved.map(|at| at - a.asked)).collect();
            spans.sort_unstable();
            Fared {
                kind, asked: of.len(), proved: spans.len(), median: spans.get(spans.len().saturating_sub(1) / 2).copied(),
                fell_back: of.iter().filter(|(d, a)| d.fell_back(a)).count(), refused_falsely: of.iter().filter(|(d, a)| d.refused_falsely(a)).count(),
            }
        }).collect()
    }

    /// The short form for the first page.
    pub fn stats(&self) -> Vec<FactorStat> {
        let n = |n| u64::try_from(n).unwrap_or(u64::MAX);
        self.factors().into_iter().map(|f| FactorStat { name: f.kind.words().to_owned(), asked: n(f.asked), proved: n(f.proved) }).collect()
    }
}

async fn page(State(app): State<App>, headers: HeaderMap) -> Result<Html<String>, WebError> {
    let who = who(&app, &headers).await?;
    let report = Report::read(&app.runner).await?;
    let tally = report.tally();
    let calls = report.calls.iter().filter_map(|(id, digest)| {
        let graded = grade(digest.note.as_ref()?);
        Some(CallGrade { id: *id, started: digest.started, verdict: graded.verdict, reasons: graded.deciding().map(|r| r.text.clone()).collect() })
    });
    let factors = report.factors().into_iter().filter(|f| f.asked > 0).map(|f| FactorLine {
        kind: f.kind, asked: f.asked, proved: f.proved, median: f.median.map(Span::ceil_seconds), fell_back: f.fell_back, refused_falsely: f.refused_falsely,
    });
    let view = GradeView { most: CALLS, tallied: Tallied::new(&tally, OURS, "/admin/grade"), calls: calls.take(LISTED).collect(), factors: factors.collect() };
    Ok(Html(pages::grade(&shell(&app, &who), &view)?))
}

async fn methods(State(app): State<App>, headers: HeaderMap) -> Result<Response, WebError> {
    who(&app, &headers).await?;
    Ok(svg(chart::methods(&Report::read(&app.runner).await?.tally(), OURS)))
}

async fn verdicts(State(app): State<App>, headers: HeaderMap) -> Result<Response, WebError> {
    who(&app, &headers).await?;
    Ok(svg(chart::verdicts(&Report::read(&app.runner).await?.tally(), OURS)))
}

/// A chart as a picture of its own: a page has no place for its style.
pub(crate) fn svg(chart: String) -> Response { ([(header::CONTENT_TYPE, "image/svg+xml")], chart).into_response() }
