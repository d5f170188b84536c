//! An OpenID provider for programs that have the caller on a line of their own: a contact-center
//! product, a bot, a till. They ask, the customer answers in the signed-in portal, and they get
//! tokens that say how sure we are.
//!
//! Two grants, and no other: the backchannel grant (OpenID CIBA Core 1.0, poll and ping) for a
//! customer whom the program can name, and the device grant (RFC 8628) for one it cannot. Every
//! request is a call of its own (`Origin::Client`), so that the limits, events and history of calls
//! hold for it. What is kept beside the call is in [`request`].
//!
//! docs/openid.md is for those who use it.

pub mod clients;
mod ciba;
mod device;
mod keys;
pub mod ping;
pub mod request;
mod token;

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use countersign_core::secret::Secret;
use countersign_store::{CommitError, ReadError};
use serde_json::{Value, json};

pub use self::request::{RequestView, asked};
use self::{
    clients::{Client, ClientError, ClientSettings},
    keys::Keys,
};
use crate::{App, runner::{RunError, Runner}, vault::{Vault, VaultError}};

/// The grant of OpenID CIBA Core 1.0 §10.1.
pub const CIBA_GRANT: &str = "urn:openid:params:grant-type:ciba";
/// The grant of RFC 8628 §3.4.
pub const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// What every value of `acr` begins with; the rest is the name of a level.
pub const ACR: &str = "urn:countersign:acr:";

/// The provider: its name, its clients and its key.
pub struct OAuth {
    issuer: String,
    clients: Vec<Client>,
    keys: Keys,
}

impl OAuth {
    /// A provider under its public address. `None`: nobody is configured who could ask.
    pub fn new(public_url: &str, clients: &[ClientSettings]) -> Result<Option<Arc<Self>>, ClientError> {
        if clients.is_empty() {
            return Ok(None);
        }
        let clients = clients::load(clients)?;
        Ok(Some(Arc::new(Self { issuer: public_url.into(), clients, keys: Keys::default() })))
    }

    /// Who carries the notices of ping mode.
    pub fn courier(&self, runner: Arc<Runner>) -> Result<ping::Pings, ClientError> { ping::Pings::new(runner, &self.clients) }

    /// What customers know a program by.
    pub fn client_name(&self, id: &str) -> Option<&str> { self.clients.iter().find(|c| c.settings.id == id).map(|c| c.settings.name.as_str()) }

    fn url(&self, path: &str) -> String { format!("{}{path}", self.issuer) }
}

const AUTHORIZE: &str = "/oauth/bc-authorize";
const DEVICE: &str = "/oauth/device_authorization";
const TOKEN: &str = "/oauth/token";

/// The routes for programs. They are called without cookies, from anywhere: the program signs in
/// with every request.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/oauth/jwks", get(jwks))
        .route("/oauth/bc-authorize", post(authorize))
        .route("/oauth/device_authorization", post(device_authorization))
        .route("/oauth/token", post(redeem))
}

/// An error as OAuth writes it (RFC 6749 §5.2).
#[derive(Debug)]
pub struct OAuthError {
    status: StatusCode,
    error: &'static str,
    description: &'static str,
}

impl OAuthError {
    fn new(error: &'static str, description: &'static str) -> Self {
        let status = match error {
            "invalid_client" => StatusCode::UNAUTHORIZED,
            _ => StatusCode::BAD_REQUEST,
        };
        Self { status, error, description }
    }
    fn invalid(description: &'static str) -> Self { Self::new("invalid_request", description) }
    /// As the backchannel endpoint says it (CIBA §13).
    fn denied(description: &'static str) -> Self { Self { status: StatusCode::FORBIDDEN, error: "access_denied", description } }
    fn not_here() -> Self { Self { status: StatusCode::NOT_FOUND, error: "invalid_request", description: "no OpenID clients are configured here" } }
    fn busy() -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, error: "temporarily_unavailable", description: "too busy: try again in a moment" }
    }
    fn broken(why: &str) -> Self {
        tracing::error!(error = why, "a request of an OpenID client failed");
        let description = "something of ours is broken: the operator finds the reason in the log";
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, error: "server_error", description }
    }
}
impl From<RunError> for OAuthError {
    fn from(e: RunError) -> Self {
        match e {
            RunError::Busy => Self::busy(),
            other => Self::broken(&other.to_string()),
        }
    }
}
impl From<VaultError> for OAuthError {
    fn from(e: VaultError) -> Self { Self::broken(&e.to_string()) }
}
impl From<ReadError> for OAuthError {
    fn from(e: ReadError) -> Self { RunError::from(e).into() }
}
impl From<crate::directory::DirectoryError> for OAuthError {
    fn from(e: crate::directory::DirectoryError) -> Self { RunError::from(e).into() }
}
impl From<serde_json::Error> for OAuthError {
    fn from(e: serde_json::Error) -> Self { Self::broken(&e.to_string()) }
}
impl From<CommitError> for OAuthError {
    fn from(e: CommitError) -> Self {
        match e {
            CommitError::Busy | CommitError::Closed => Self::busy(),
            other => Self::broken(&other.to_string()),
        }
    }
}
impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.error, "error_description": self.description });
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::UNAUTHORIZED => drop(headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"countersign\""))),
            StatusCode::SERVICE_UNAVAILABLE => drop(headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"))),
            _ => {}
        }
        response
    }
}

/// What a program sent. Each parameter once (RFC 6749 §3.2); one without a value was not sent.
struct Form(BTreeMap<String, Secret>);

impl Form {
    fn parse(headers: &HeaderMap, body: &Bytes) -> Result<Self, OAuthError> {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).and_then(|v| v.split(';').next()).unwrap_or("");
        if !kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(OAuthError::invalid("send the parameters as application/x-www-form-urlencoded in the body"));
        }
        let mut out = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(body) {
            if !value.is_empty() && out.insert(name.into_owned(), Secret::new(value)).is_some() {
                return Err(OAuthError::invalid("a parameter is there twice"));
            }
        }
        Ok(Self(out))
    }

    fn get(&self, name: &str) -> Option<&str> { self.0.get(name).map(Secret::expose) }

    fn secret(&self, name: &str) -> Option<&Secret> { self.0.get(name) }

    /// Whether a list of words, as OAuth writes them, holds this one.
    fn lists(&self, name: &str, word: &str) -> bool { self.get(name).is_some_and(|text| text.split(' ').any(|w| w == word)) }
}

fn provider(app: &App) -> Result<&OAuth, OAuthError> { app.oauth.as_deref().ok_or_else(OAuthError::not_here) }

/// A fresh name for a request: 256 bits, in the alphabet that CIBA §7.3 asks for.
fn handle(vault: &Vault) -> Result<Secret, VaultError> { Ok(Secret::new(URL_SAFE_NO_PAD.encode(vault.seed()?))) }

async fn discovery(State(app): State<App>) -> Result<Response, OAuthError> {
    let oauth = provider(&app)?;
    let levels = ["anonymous", "identified", "authenticated", "strong"].map(|level| format!("{ACR}{level}"));
    let body = json!({
        "issuer": oauth.issuer,
        "token_endpoint": oauth.url(TOKEN),
        "jwks_uri": oauth.url("/oauth/jwks"),
        "backchannel_authentication_endpoint": oauth.url(AUTHORIZE),
        "backchannel_token_delivery_modes_supported": ["poll", "ping"],
        "backchannel_user_code_parameter_supported": true,
        "device_authorization_endpoint": oauth.url(DEVICE),
        "grant_types_supported": [CIBA_GRANT, DEVICE_GRANT],
        "scopes_supported": ["openid"],
        "subject_types_supported": ["public"],
        "acr_values_supported": levels,
        "claims_supported": ["iss", "sub", "aud", "iat", "exp", "auth_time", "acr", "amr", "at_hash"],
        "claims_parameter_supported": false,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
        "id_token_signing_alg_values_supported": ["ES256"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt", "client_secret_basic", "client_secret_post"],
        "token_endpoint_auth_signing_alg_values_supported": clients::ALGORITHMS.map(|a| format!("{a:?}")),
    });
    Ok(Json(body).into_response())
}

async fn jwks(State(app): State<App>) -> Result<Response, OAuthError> {
    let key = provider(&app)?.keys.signing(&app.runner).await?;
    Ok(Json(json!({ "keys": [key.public] })).into_response())
}

async fn authorize(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Json<Value>, OAuthError> {
    let oauth = provider(&app)?;
    let (client, form) = clients::authenticate(&app.runner, oauth, &headers, &body).await?;
    ciba::authorize(&app.runner, oauth, client, &form).await.map(Json)
}

async fn device_authorization(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Json<Value>, OAuthError> {
    let oauth = provider(&app)?;
    let (client, form) = clients::authenticate(&app.runner, oauth, &headers, &body).await?;
    device::authorize(&app.runner, oauth, client, &form).await.map(Json)
}

async fn redeem(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Json<Value>, OAuthError> {
    let oauth = provider(&app)?;
    let (client, form) = clients::authenticate(&app.runner, oauth, &headers, &body).await?;
    token::redeem(&app.runner, oauth, client, &form).await.map(Json)
}
