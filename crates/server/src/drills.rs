//! The last report of `countersign drill` that was kept: when, of which policies, and how each
//! attack ended. Drills are played elsewhere, against fictional people, so nothing of it is personal
//! and it is kept in clear.

use axum::{Router, extract::State, http::HeaderMap, response::Html, routing::get};
use countersign_core::time::Timestamp;
use countersign_store::{Commit, DocWrite, Expect, Store};
use serde::{Deserialize, Serialize};

use crate::{
    App, admin,
    pages,
    runner::RunError,
    web::WebError,
};

/// The document's kind and name: there is one, the last.
const KIND: &str = "drill-report";
const LAST: &[u8] = b"last";

/// A run of drills, as much of it as the page shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedRun {
    /// When it was played.
    pub at: Timestamp,
    /// The version of the program that played it.
    pub program: String,
    /// The policy set that was drilled.
    pub policy: String,
    /// A run with the same seed is the same run.
    pub seed: u64,
    /// Each drill.
    pub drills: Vec<SavedDrill>,
}

/// How one drill ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedDrill {
    /// Its name.
    pub name: String,
    /// What the attacker was up to.
    pub story: String,
    /// How it ended.
    pub ended: Ended,
    /// Where it stopped, or what got through.
    pub place: String,
}

/// How a drill can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The attacker got nothing.
    Stopped,
    /// The attacker got something.
    GotThrough,
    /// The configuration has no such door.
    NotApplicable,
    /// It could not be played to its end.
    Broken,
}

/// Keeps a run in the place of the one before.
pub async fn save(store: &Store, run: &SavedRun) -> Result<(), RunError> {
    let doc = DocWrite::Put { kind: KIND, id: LAST.to_vec(), expected: Expect::Any, body: serde_json::to_vec(run)?, due: None };
    let commit = Commit { now: run.at.0, docs: vec![doc], ..Commit::default() };
    store.commit(commit).await.map(|_| ()).map_err(|e| RunError::Store(e.to_string()))
}

/// The run that was kept last.
pub async fn last(store: &Store) -> Result<Option<SavedRun>, RunError> {
    let doc = store.doc(KIND, LAST).await?;
    Ok(doc.map(|doc| serde_json::from_slice(&doc.body)).transpose()?)
}

/// The page.
pub fn routes() -> Router<App> { Router::new().route("/admin/drills", get(page)) }

async fn page(State(app): State<App>, headers: HeaderMap) -> Result<Html<String>, WebError> {
    let who = admin::who(&app, &headers).await?;
    let run = last(&app.runner.store).await?;
    Ok(Html(pages::drills(&admin::shell(&app, &who), app.runner.policy().version(), run.as_ref())?))
}
