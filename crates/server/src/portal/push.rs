//! Devices that the customer lets us wake, and what makes the portal an app on them: the worker that
//! shows a notification, and the manifest.

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use countersign_core::{account::PushSubscription, secret::Secret};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::who;
use crate::{App, Assets, web::WebError};

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/me/push/key", get(key))
        .route("/me/push/subscribe", post(subscribe))
        .route("/me/push/unsubscribe", post(unsubscribe))
        .route("/sw.js", get(worker))
        .route("/portal.webmanifest", get(manifest))
}

/// What a browser needs to know.
#[derive(Serialize)]
struct Key {
    /// What to subscribe under.
    key: String,
    /// SHA-256 of the addresses that are on file, in base64url: the browser finds its own.
    devices: Vec<String>,
}

/// As `PushSubscription.toJSON()` writes it.
#[derive(Deserialize)]
struct Subscription {
    endpoint: Secret,
    keys: Keys,
}

#[derive(Deserialize)]
struct Keys {
    p256dh: Secret,
    auth: Secret,
}

#[derive(Deserialize)]
struct Endpoint {
    endpoint: Secret,
}

/// What a script of ours is told when it did not work.
fn refused(message: &str) -> Response { (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "message": message }))).into_response() }

const UNREADABLE: &str = "This browser sent something that cannot be read as a subscription.";
const NOT_TAKEN: &str = "This browser’s push service is not one that we send to.";

async fn key(State(app): State<App>, headers: HeaderMap) -> Result<Json<Key>, WebError> {
    let account = who(&app, &headers).await?;
    let loaded = app.runner.directory.load(account).await?.ok_or(WebError::NotFound)?;
    let devices = loaded.profile.push.iter().map(|s| BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(s.endpoint.expose().as_bytes()))).collect();
    Ok(Json(Key { key: app.push.public_key().await?, devices }))
}

async fn subscribe(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Response, WebError> {
    let account = who(&app, &headers).await?;
    let Ok(Subscription { endpoint, keys }) = serde_json::from_slice(&body) else { return Ok(refused(UNREADABLE)) };
    let subscription = PushSubscription { endpoint, p256dh: keys.p256dh, auth: keys.auth, added: app.runner.now() };
    if !app.push.takes(&subscription) {
        return Ok(refused(NOT_TAKEN));
    }
    app.push.add(account, subscription).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Whatever the address, the answer is the same: nobody learns who else has it.
async fn unsubscribe(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Response, WebError> {
    let account = who(&app, &headers).await?;
    let Ok(Endpoint { endpoint }) = serde_json::from_slice(&body) else { return Ok(refused(UNREADABLE)) };
    app.push.remove(account, &endpoint).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn worker() -> Result<Response, WebError> {
    let file = Assets::get("sw.js").ok_or(WebError::NotFound)?;
    let headers = [(header::CONTENT_TYPE, "text/javascript; charset=utf-8"), (header::HeaderName::from_static("service-worker-allowed"), "/")];
    Ok((headers, file.data).into_response())
}

async fn manifest(State(app): State<App>) -> Result<Response, WebError> {
    let icon = |size: &str, file: &str, kind: &str| json!({ "src": format!("/assets/{file}"), "sizes": size, "type": kind, "purpose": "any" });
    let manifest = json!({
        "id": "/me", "name": app.company(), "short_name": app.company(), "start_url": "/me", "scope": "/", "display": "standalone",
        "background_color": "#ffffff", "theme_color": "#0b5d57", "lang": "en",
        "icons": [icon("any", "favicon.svg", "image/svg+xml"), icon("192x192", "icon-192.png", "image/png"), icon("512x512", "icon-512.png", "image/png")],
    });
    let body = serde_json::to_vec(&manifest)?;
    Ok(([(header::CONTENT_TYPE, "application/manifest+json")], body).into_response())
}
