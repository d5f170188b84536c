//! For programs of the company's own: a hand-over from its signed-in site to the portal, and the
//! check of a one-time code by itself. Bearer keys; only their hashes are configured.

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use countersign_core::{
    claim::ClaimKind,
    factor::FactorKind,
    id::AccountId,
    secret::Secret,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    App,
    entry::{Entered, Entry},
    portal,
    runner::RunError,
    web::WebError,
};

/// The routes for programs.
pub fn routes() -> Router<App> {
    Router::new().route("/api/v1/portal-sessions", post(portal_session)).route("/api/v1/authenticators/check", post(check))
}

/// An error as a program reads it.
#[derive(Debug, Serialize)]
struct ApiError {
    #[serde(skip)]
    status: StatusCode,
    code: &'static str,
    message: String,
    may_retry: bool,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: &str) -> Self { Self { status, code, message: message.into(), may_retry: false } }
}
impl From<RunError> for ApiError {
    fn from(e: RunError) -> Self {
        match e {
            RunError::Busy => Self { may_retry: true, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "too busy: try again in a moment") },
            other => {
                tracing::error!(error = %other, "a request of a program failed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "broken", "something of ours is broken: the operator finds the reason in the log")
            }
        }
    }
}
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let retry = self.may_retry.then_some([(header::RETRY_AFTER, "1")]);
        (self.status, retry, Json(self)).into_response()
    }
}

/// Which program asks, by its bearer key.
fn client<'a>(app: &'a App, headers: &HeaderMap) -> Result<&'a str, ApiError> {
    let refused = || ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", "send `Authorization: Bearer KEY` with a key whose SHA-256 is configured under [[api]]");
    let key = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Bearer ")).ok_or_else(refused)?;
    let hash = hex::encode(Sha256::digest(key.as_bytes()));
    let known = app.api.iter().find(|c| bool::from(c.key_sha256.to_lowercase().as_bytes().ct_eq(hash.as_bytes())));
    known.map(|c| c.name.as_str()).ok_or_else(refused)
}

async fn account(app: &App, number: &Secret) -> Result<Option<AccountId>, ApiError> {
    let found = app.runner.directory.find(ClaimKind::AccountNumber, number.expose(), app.runner.now()).await;
    let (accounts, _) = found.map_err(RunError::from)?;
    Ok(match accounts.as_slice() {
        [one] => Some(one.id),
        _ => None,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PortalRequest {
    account_number: Secret,
    /// The customer signed in to the company's site with two factors.
    #[serde(default)]
    two_factors: bool,
}

#[derive(Serialize)]
struct PortalAnswer {
    url: String,
    expires: String,
}

/// `POST /api/v1/portal-sessions {account_number, two_factors?}` → 201 with a link that opens the
/// portal once. What the customer sets up there counts at once if the site saw two factors, or if
/// something that was on file before confirms it.
async fn portal_session(State(app): State<App>, headers: HeaderMap, body: Result<Json<PortalRequest>, axum::extract::rejection::JsonRejection>) -> Result<Response, ApiError> {
    client(&app, &headers)?;
    let Json(request) = body.map_err(|e| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body", &e.body_text()))?;
    let missing = || ApiError::new(StatusCode::NOT_FOUND, "unknown_account", "no account has this number");
    let account = account(&app, &request.account_number).await?.ok_or_else(missing)?;
    let (token, expires) = portal::entry_link(&app.runner, account, request.two_factors).await.map_err(|e| match e {
        WebError::Busy => RunError::Busy.into(),
        other => ApiError::from(RunError::Store(format!("{other:?}"))),
    })?;
    let url = format!("{}/me/enter?token={}", app.public_url, token.expose());
    Ok((StatusCode::CREATED, Json(PortalAnswer { url, expires: expires.to_string() })).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckRequest {
    account_number: Secret,
    kind: FactorKind,
    code: Secret,
}

#[derive(Serialize)]
struct CheckAnswer {
    accepted: bool,
}

/// `POST /api/v1/authenticators/check {account_number, kind, code}` → `{accepted}`. Durable: the
/// attempt is counted, the counter is spent and the authenticator's own record has it before the answer.
/// An unknown account, a missing authenticator and a wrong code are one answer.
async fn check(State(app): State<App>, headers: HeaderMap, body: Result<Json<CheckRequest>, axum::extract::rejection::JsonRejection>) -> Result<Json<CheckAnswer>, ApiError> {
    let name = client(&app, &headers)?.to_owned();
    let Json(request) = body.map_err(|e| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body", &e.body_text()))?;
    if !matches!(request.kind, FactorKind::Totp | FactorKind::Hotp) {
        return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "unsupported_kind", "only totp and hotp can be checked by themselves"));
    }
    let Some(account) = account(&app, &request.account_number).await? else { return Ok(Json(CheckAnswer { accepted: false })) };
    let runner = &app.runner;
    let entry = Entry {
        account, kind: request.kind, presented: request.code, place: format!("api:{name}"),
        limit: (runner.params.throttle, runner.params.throttle_window), docs: Vec::new(),
    };
    Ok(Json(CheckAnswer { accepted: runner.enter(entry).await? == Entered::Right }))
}
