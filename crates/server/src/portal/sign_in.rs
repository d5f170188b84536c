//! Signing in to the portal by itself: with a passkey, or at the company's provider.

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, header},
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use countersign_core::secret::Secret;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::session::{How, open_session_with};
use crate::{
    App,
    pages::{self, Shell, SignInView},
    passkeys::Passkeys,
    vault::Vault,
    web::{WebError, cookie, set_cookie},
};

/// The cookie of somebody who is about to sign in: a ceremony belongs to one browser.
const BEFORE: &str = "cs_me_before";
const BEFORE_SECONDS: i64 = 300;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/me/sign-in", get(page))
        .route("/me/sign-in/passkey/start", post(start))
        .route("/me/sign-in/passkey/finish", post(finish))
}

/// The name of the company's own sign-in provider, whose door is `/me/sign-in/provider`.
fn provider(app: &App) -> Option<&str> { app.sign_in.as_deref().map(|s| s.name.as_str()) }

pub(super) fn shell(app: &App) -> Shell<'_> { Shell { company: app.company(), user: None, demo: app.demo } }

pub(super) fn host(headers: &HeaderMap) -> Option<&str> { headers.get(header::HOST).and_then(|v| v.to_str().ok()) }

async fn page(State(app): State<App>, headers: HeaderMap) -> Result<Html<String>, WebError> {
    let passkeys = Passkeys::of(&app);
    let elsewhere = passkeys.as_ref().and_then(|p| p.elsewhere(host(&headers)));
    let view = SignInView { passkeys: passkeys.is_some(), elsewhere: elsewhere.as_deref(), provider: provider(&app) };
    Ok(Html(pages::portal_sign_in(&shell(&app), &view)?))
}

/// A body in JSON. By hand, so that who may ask is looked at before what is asked.
pub(super) fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, WebError> {
    serde_json::from_slice(body).map_err(|_| WebError::Bad("This page is out of date. Open it again.".into()))
}

/// Nothing is asked for, but it is asked in JSON: no form of another site can.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Start {}

/// The answer of an authenticator.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Finish {
    pub(super) ceremony: Secret,
    pub(super) credential: Value,
}

pub(super) fn no_passkeys() -> WebError { WebError::Bad("Passkeys do not work at this address.".into()) }

async fn start(State(app): State<App>, body: Bytes) -> Result<Response, WebError> {
    let Start {} = read(&body)?;
    let passkeys = Passkeys::of(&app).ok_or_else(no_passkeys)?;
    let before = app.runner.vault.token()?;
    let begun = passkeys.start_sign_in(&app.runner, &Vault::token_id(&before)).await?;
    Ok(([(header::SET_COOKIE, set_cookie(BEFORE, &before, BEFORE_SECONDS, app.secure()))], Json(begun.json())).into_response())
}

async fn finish(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Response, WebError> {
    let Finish { ceremony, credential } = read(&body)?;
    let passkeys = Passkeys::of(&app).ok_or_else(no_passkeys)?;
    let before = cookie(&headers, BEFORE).unwrap_or_default();
    let mut verified = passkeys.finish_sign_in(&app.runner, &Vault::token_id(&before), &ceremony, credential).await?;
    let extra = std::mem::take(&mut verified.spent).into();
    let set = open_session_with(&app, verified.account, (How::Passkey, verified.counts), &headers, extra, |profile| verified.remember(profile)).await?;
    let mut response = Json(json!({ "to": "/me" })).into_response();
    for cookie in [set, set_cookie(BEFORE, &Secret::default(), 0, app.secure())] {
        response.headers_mut().append(header::SET_COOKIE, cookie.parse().map_err(|_| WebError::Broken("a cookie of a wrong shape".into()))?);
    }
    Ok(response)
}
