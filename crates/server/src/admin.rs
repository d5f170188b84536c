//! The operator's and the lead's page: health, alerts, calls, people, policies.

use axum::{
    Form, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use countersign_core::{
    action::Role,
    call::{Call, Event, Stage},
    id::{AgentId, CallId},
    story::Reader,
};
use serde::Deserialize;

use crate::{
    App, admin_risk,
    agents::Who,
    desk::{self, story_lines},
    effects::StoredAlert,
    grade::Report,
    metrics::ByName,
    pages::{self, AdminCall, AdminView, Flash, FlashKind, PolicyView, Shell, StoryLine},
    policies::{ActivateError, PolicyEvent},
    sentences,
    web::WebError,
};

/// The routes of the admin page.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/admin", get(home))
        .route("/admin/calls/{id}", get(call))
        .route("/admin/policy", get(policy))
        .route("/admin/policy/activate", post(activate))
        .route("/admin/agents/{id}/sign-out", post(sign_out))
}

/// Leads and admins; for everybody else there is nothing here.
pub(crate) async fn who(app: &App, headers: &HeaderMap) -> Result<Who, WebError> {
    let who = desk::who(app, headers).await?;
    if matches!(who.role, Role::Lead | Role::Admin) { Ok(who) } else { Err(WebError::NotFound) }
}

pub(crate) fn shell<'a>(app: &'a App, who: &'a Who) -> Shell<'a> {
    Shell { company: app.company(), user: Some((&who.name, who.role)), demo: app.demo }
}

async fn home(State(app): State<App>, headers: HeaderMap) -> Result<Html<String>, WebError> {
    let who = who(&app, &headers).await?;
    let live = app.runner.live().await;
    let mut alerts = Vec::new();
    // What happened to a customer is the lead's business, not the operator's.
    if who.role == Role::Lead {
        for (_, doc) in app.runner.store.docs("alert", None, 20).await? {
            let alert: StoredAlert = serde_json::from_slice(&doc.body)?;
            let mut kind = format!("{:?}", alert.alert).to_lowercase();
            if let Some(agent) = alert.agent {
                kind = format!("{kind}: {}", app.agents.name(agent));
            }
            alerts.push((alert.at, kind, alert.call, alert.account));
        }
    }
    let mut calls = Vec::new();
    for call in &live {
        calls.push(row(&app, call).await?);
    }
    calls.sort_by_key(|c| std::cmp::Reverse(c.started));
    for (id, _) in app.runner.store.docs("ended", None, 30).await? {
        let id = id.get(8..).and_then(|b| <[u8; 16]>::try_from(b).ok());
        if let Some(id) = id
            && let Some(found) = app.runner.call(CallId(id)).await?
        {
            calls.push(row(&app, &found.call).await?);
        }
    }
    let agents = app.agents.list().await.map_err(|e| WebError::Broken(e.to_string()))?;
    let shared = app.agents.of_shared_desk().await.map_err(|e| WebError::Broken(e.to_string()))?;
    let m = &app.runner.metrics;
    let named = |family: &prometheus_client::metrics::family::Family<ByName, prometheus_client::metrics::counter::Counter>, name: &str| {
        family.get_or_create(&ByName { name: name.into() }).get().to_string()
    };
    let view = AdminView {
        now: app.runner.now(),
        version: env!("CARGO_PKG_VERSION").into(),
        policy_version: app.runner.policy().version().into(),
        live: live.len(),
        waiting: live.iter().filter(|c| c.stage == Stage::Waiting).count(),
        counters: vec![
            ("Calls since start".into(), m.calls.get().to_string()),
            ("Texts and notices sent".into(), named(&m.messages, "sent")),
            ("Messages that failed".into(), named(&m.messages, "failed")),
            ("Ended as too risky".into(), named(&m.ended, "risk")),
            ("Webhooks with a wrong signature".into(), named(&m.turned_away, "signature")),
        ],
        alerts,
        calls,
        agents: agents.into_iter().map(|(a, signed_in)| (a.name, a.role, signed_in, a.id)).collect(),
        shared,
        factors: Report::read(&app.runner).await?.stats(),
    };
    Ok(Html(pages::admin(&shell(&app, &who), &view)?))
}

/// A call in the list. Its assurance falls again, with time or when the account is given up, and what was
/// done stays done: the record knows how high it was.
async fn row(app: &App, call: &Call) -> Result<AdminCall, WebError> {
    let events = app.runner.events(call.id).await?;
    let highest = events.iter().filter_map(|recorded| match recorded.event { Event::LevelChanged { level, .. } => Some(level), _ => None }).max();
    Ok(AdminCall {
        id: call.id, started: call.started, ended: call.ended.map(|(_, at)| at), level: call.level, highest: highest.unwrap_or_default().max(call.level),
        done: desk::carried_out(&events).len(), band: call.band(), ending: call.ended.map(|(ending, _)| format!("{ending:?}").to_lowercase()),
    })
}

async fn call(State(app): State<App>, headers: HeaderMap, Path(id): Path<CallId>) -> Result<Html<String>, WebError> {
    let who = who(&app, &headers).await?;
    let reader = if who.role == Role::Lead { Reader::Lead } else { Reader::Anyone };
    let lines = story_lines(&app, &sentences::of(&app.runner.events(id).await?, reader));
    let started = lines.first().ok_or(WebError::NotFound)?.at;
    let risk = admin_risk::of_call(&app, &who, id).await?;
    Ok(Html(pages::story(&shell(&app, &who), &id.to_string(), started, &lines, risk.as_ref())?))
}

async fn policy(State(app): State<App>, headers: HeaderMap) -> Result<Html<String>, WebError> {
    let who = who(&app, &headers).await?;
    Ok(Html(policy_page(&app, &who, None).await?))
}

async fn policy_page(app: &App, who: &Who, flash: Option<Flash>) -> Result<String, WebError> {
    let (active, sets) = (app.runner.policies.active(), app.runner.staged().await?);
    let story = app.runner.policy_events().await?.into_iter().map(|(at, event)| {
        let text = match event {
            PolicyEvent::Staged { version, holds: true } => format!("{version} was staged, its promises proved."),
            PolicyEvent::Staged { version, holds: false } => format!("{version} was staged; not all of its promises are proved."),
            PolicyEvent::Activated { version, instead_of, by, proved, reason } => {
                let reason = reason.map(|r| format!(" Reason: {r}")).unwrap_or_default();
                let unproved = if proved { "" } else { " Its promises were not proved." };
                format!("{} activated {version} instead of {instead_of}.{unproved}{reason}", app.agents.name(by))
            }
        };
        StoryLine { at, text }
    });
    let view = PolicyView {
        version: active.policy.version(), since: active.since.map(|(at, by)| (at, app.agents.name(by))), files: &active.files, matrix: &active.matrix,
        sets: &sets, lead: who.role == Role::Lead, story: story.take(50).collect(), flash,
    };
    Ok(pages::policy(&shell(app, who), &view)?)
}

#[derive(Deserialize)]
struct Activate {
    #[serde(default)]
    version: String,
    #[serde(default)]
    reason: String,
}

/// The lead lets a staged set decide. Nobody else may: whoever runs the installation stages, and
/// whoever answers for what may happen on calls activates.
async fn activate(State(app): State<App>, headers: HeaderMap, Form(form): Form<Activate>) -> Result<Response, WebError> {
    let who = who(&app, &headers).await?;
    if who.role != Role::Lead {
        return Err(WebError::NotFound);
    }
    let (kind, text) = match app.runner.activate(&form.version, who.id, &form.reason).await {
        Ok(()) => return Ok(Redirect::to("/admin/policy").into_response()),
        Err(ActivateError::Run(e)) => return Err(e.into()),
        Err(e) => (FlashKind::Bad, e.to_string()),
    };
    let page = policy_page(&app, &who, Some(Flash { kind, text })).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, Html(page)).into_response())
}

async fn sign_out(State(app): State<App>, headers: HeaderMap, Path(id): Path<AgentId>) -> Result<Redirect, WebError> {
    let who = who(&app, &headers).await?;
    app.agents.sign_out_all(id, who.id).await.map_err(|e| WebError::Broken(e.to_string()))?;
    Ok(Redirect::to("/admin"))
}
