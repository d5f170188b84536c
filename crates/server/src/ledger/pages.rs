//! What everybody may read of the log: its head, its tiles, its keys. Nothing in them is personal, and
//! nothing in them can be tied to an event without the salt.

use axum::{
    Router,
    extract::{Path, State},
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};
use countersign_tlog::tile::Tile;

use super::{LedgerError, head, public_keys, served};
use crate::{App, web::WebError};

/// The routes of the log.
pub fn routes() -> Router<App> {
    Router::new().route("/log/checkpoint", get(checkpoint)).route("/log/keys", get(keys)).route("/log/tile/{*path}", get(tile))
}

impl From<LedgerError> for WebError {
    fn from(e: LedgerError) -> Self {
        match e {
            LedgerError::Run(e) => e.into(),
            other => Self::Broken(other.to_string()),
        }
    }
}

const TEXT: (header::HeaderName, &str) = (header::CONTENT_TYPE, "text/plain; charset=utf-8");

async fn checkpoint(State(app): State<App>) -> Result<Response, WebError> {
    let note = head(&app.runner.store).await?.note.ok_or(WebError::NotFound)?;
    Ok(([TEXT, (header::CACHE_CONTROL, "no-store")], note.written()).into_response())
}

async fn keys(State(app): State<App>) -> Result<Response, WebError> {
    let keys = public_keys(&app.runner).await?;
    let text: String = keys.iter().map(|key| format!("{key}\n")).collect();
    Ok(([TEXT, (header::CACHE_CONTROL, "no-store")], text).into_response())
}

async fn tile(State(app): State<App>, Path(path): Path<String>) -> Result<Response, WebError> {
    let tile = Tile::parse(&format!("tile/{path}")).ok_or(WebError::NotFound)?;
    let bytes = served(&app.runner.store, tile).await?.ok_or(WebError::NotFound)?;
    // What is once in a tile stays as it is.
    let cache = (header::CACHE_CONTROL, "public, max-age=31536000, immutable");
    Ok(([(header::CONTENT_TYPE, "application/octet-stream"), cache], bytes).into_response())
}
