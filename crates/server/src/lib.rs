//! The server around the pure machine: telephony adapters, the runner, the outbox, and the pages.

pub mod admin;
pub mod admin_risk;
pub mod agents;
pub mod amend;
pub mod api;
pub mod calls;
pub mod clock;
pub mod config;
pub mod connections;
pub mod customers;
pub mod demo;
pub mod deny;
pub mod desk;
pub mod directory;
pub mod drills;
pub mod effects;
pub mod entry;
#[doc(hidden)]
pub mod fuzz;
pub mod grade;
pub mod hub;
pub mod i18n;
pub mod intel;
pub mod keyring;
pub mod ledger;
pub mod metrics;
pub mod music;
pub mod oauth;
pub mod oidc;
pub mod open_files;
pub mod outbox;
pub mod pages;
pub mod passkeys;
pub mod policies;
pub mod portal;
pub mod privacy;
pub mod prompts;
pub mod push;
pub mod record;
pub mod recording;
pub mod reseal;
pub mod retention;
pub mod ring_back;
pub mod risk_config;
pub mod runner;
pub mod seen;
mod sentences;
pub mod serve;
pub mod stir;
pub mod storage;
pub mod survey;
pub mod telephony;
pub mod tenants;
pub mod token;
pub mod upstream;
pub mod vault;
pub mod voice;
mod voice_digits;
pub mod voice_months;
pub mod voice_undo;
pub mod watch;
pub mod web;

use std::{ops::Deref, sync::Arc};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Path, State},
    http::{StatusCode, header},
    middleware::{from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use countersign_core::{prompt::Music, secret::E164};

use crate::{
    agents::Agents,
    config::ApiClient,
    demo::Person,
    i18n::Texts,
    portal::oidc::SignIn,
    push::Push,
    runner::Runner,
    telephony::{Lines, handset::Handsets, twilio::Twilio},
    tenants::Tenant,
    upstream::Upstream,
    web::WebError,
};

/// Everything the pages and webhooks share.
#[derive(Clone)]
pub struct App(pub Arc<Parts>);

/// The parts of a running server.
pub struct Parts {
    /// Moves calls.
    pub runner: Arc<Runner>,
    /// People at the desk.
    pub agents: Arc<Agents>,
    /// Other companies whose calls this desk takes.
    pub tenants: Vec<Tenant>,
    /// The words.
    pub texts: Arc<Texts>,
    /// Where the world reaches us.
    pub public_url: String,
    /// Numbers that nobody answers.
    pub deny_numbers: Vec<E164>,
    /// Programs that may ask.
    pub api: Vec<ApiClient>,
    /// The OpenID provider, if somebody is configured who may ask.
    pub oauth: Option<Arc<oauth::OAuth>>,
    /// Wakes customers' devices.
    pub push: Arc<Push>,
    /// Sign-in through the company's provider, if configured.
    pub sign_in: Option<Arc<SignIn>>,
    /// Asking at the company's provider during a call, if configured.
    pub upstream: Option<Arc<Upstream>>,
    /// Twilio, if configured.
    pub twilio: Option<Arc<Twilio>>,
    /// Checks signatures of calling numbers, if there are roots.
    pub stir: Option<Arc<stir::Stir>>,
    /// Keeps recorders from secrets, if somebody records.
    pub recorder: Option<Arc<recording::Recorder>>,
    /// Other telephone systems that are configured.
    pub lines: Lines,
    /// The adapter that can ring customers, if there is one.
    pub rings: Option<&'static str>,
    /// The number that only the portal dials: calls to it begin with a token.
    pub app_number: Option<E164>,
    /// The demo runs.
    pub demo: bool,
    /// Its people.
    pub demo_people: Vec<Person>,
    /// Its telephones.
    pub handsets: Option<Arc<Handsets>>,
}

impl Deref for App {
    type Target = Parts;
    fn deref(&self) -> &Parts { &self.0 }
}

impl App {
    /// Whose pages these are.
    pub fn company(&self) -> &str { &self.texts.company().name }
    /// What a program that asks for an approval wants the customer to read.
    pub async fn asked(&self, call: countersign_core::id::CallId) -> Result<Option<String>, WebError> {
        Ok(oauth::asked(&self.runner, call).await?.and_then(|asked| asked.binding_message))
    }
    /// What customers know a program by.
    pub fn client_name(&self, id: &str) -> String { self.oauth.as_ref().and_then(|o| o.client_name(id)).unwrap_or(id).to_owned() }
    /// Whether cookies may only travel over TLS.
    pub fn secure(&self) -> bool { self.public_url.starts_with("https://") }
}

/// Largest body of any request: forms and webhooks are small.
const MAX_BODY: usize = 32 * 1024;

/// All routes.
pub fn router(app: App) -> Router {
    passkeys::install(&app);
    let staff = desk::routes().merge(admin::routes()).merge(admin_risk::routes()).merge(drills::routes()).merge(grade::routes()).merge(survey::routes());
    let mut pages = staff.merge(portal::routes());
    if app.demo {
        pages = pages.merge(demo::routes()).merge(telephony::handset::routes());
    }
    let pages = pages.layer(from_fn(web::same_origin)).layer(from_fn(web::plain_errors));
    Router::new()
        .merge(pages)
        .merge(api::routes())
        .merge(oauth::routes())
        .merge(ledger::routes())
        .merge(telephony::twilio::routes())
        .merge(app.lines.routes())
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/assets/{*path}", get(asset))
        .route("/clips/{adapter}/{name}", get(clip))
        .fallback(|| async { WebError::NotFound })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn_with_state(app.clone(), web::error_pages))
        .layer(from_fn_with_state(app.clone(), web::security_headers))
        .with_state(app)
}

/// Ready: the store and the key store answer, and their writers live.
async fn ready(State(app): State<App>) -> Response {
    match app.runner.answers().await {
        Ok(()) => "ready\n".into_response(),
        Err(e) => {
            tracing::error!(error = %e, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "not ready: the store does not answer\n").into_response()
        }
    }
}

async fn metrics(State(app): State<App>) -> Response {
    let m = &app.runner.metrics;
    m.live.set(i64::try_from(app.runner.live_count()).unwrap_or(i64::MAX));
    m.queued.set(i64::try_from(app.runner.store.queued()).unwrap_or(i64::MAX));
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], m.render()).into_response()
}

/// What a switch says to a caller: it fetches that under an address that an adapter has signed.
async fn clip(State(app): State<App>, Path((adapter, name)): Path<(String, String)>) -> Result<Response, WebError> {
    let telephone = app.runner.hub.telephone(&adapter).ok_or(WebError::NotFound)?;
    let sound = telephone.clip(&name).await.ok_or(WebError::NotFound)?;
    let keep = if sound.keep { "private, max-age=3600" } else { "no-store" };
    Ok(([(header::CONTENT_TYPE, "audio/wav"), (header::CACHE_CONTROL, keep)], sound.wav).into_response())
}

#[derive(rust_embed::RustEmbed)]
#[folder = "assets"]
struct Assets;

async fn asset(Path(path): Path<String>) -> Result<Response, WebError> {
    if let Some(name) = path.strip_prefix("music/").and_then(|p| p.strip_suffix(".wav")) {
        let music = Music::ALL.into_iter().find(|m| m.name() == name).and_then(music::wav).ok_or(WebError::NotFound)?;
        return Ok(([(header::CONTENT_TYPE, "audio/wav"), (header::CACHE_CONTROL, "public, max-age=86400")], music).into_response());
    }
    let file = Assets::get(&path).ok_or(WebError::NotFound)?;
    let kind = match path.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("webmanifest") => "application/manifest+json",
        _ => "text/plain; charset=utf-8",
    };
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "public, max-age=300")];
    Ok((headers, file.data).into_response())
}
