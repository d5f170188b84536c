//! The lead's pages about risk: what agents do that their peers do not, the deny list, the rules in
//! force; and on the record of a call, confirmed fraud and what it touches. For leads alone: agents
//! must not see it, and the operator sees no customer's matters.

use std::collections::{BTreeMap, BTreeSet};

use axum::{
    Form, Router,
    extract::{Path, State},
    http::HeaderMap,
    response::{Html, Redirect},
    routing::{get, post},
};
use countersign_core::{
    action::Role,
    call::{Event, Input, Recorded},
    claim::ClaimKind,
    id::{AccountId, AgentId, CallId},
    risk::{Mode, Part},
    secret::{Blind, E164, Secret},
};

use crate::{
    App,
    agents::Who,
    amend::Extra,
    deny, desk,
    pages::{self, Shell, risk::{CallRisk, Denied, Reference, RelatedCall, RiskPage, Touched, VoiceRow}},
    portal,
    seen,
    watch::Habit,
    web::WebError,
};

/// Related calls that are listed.
const RELATED: usize = 40;
/// Longest reason, in bytes: as long as any other note of the desk.
const REASON: usize = 500;

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/admin/risk", get(home))
        .route("/admin/deny", post(list))
        .route("/admin/deny/remove", post(unlist))
        .route("/admin/calls/{id}/fraud", post(fraud))
        .route("/admin/calls/{id}/not-fraud", post(not_fraud))
}

async fn lead(app: &App, headers: &HeaderMap) -> Result<Who, WebError> {
    let who = desk::who(app, headers).await?;
    if who.role == Role::Lead { Ok(who) } else { Err(WebError::NotFound) }
}

/// A form in which a name may come more than once.
type Fields = Vec<(String, String)>;

fn field<'a>(form: &'a Fields, name: &str) -> &'a str { form.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v.trim()) }

async fn home(State(app): State<App>, headers: HeaderMap) -> Result<Html<String>, WebError> {
    let who = lead(&app, &headers).await?;
    let runner = &app.runner;
    let rows = runner.watch.day(runner, runner.now()).await?;
    let agents = rows.into_iter().map(|row| pages::risk::AgentRow {
        name: app.agents.name(row.agent),
        calls: row.tally.calls,
        counts: Habit::ALL.map(|habit| row.tally.of(habit)).to_vec(),
        unusual: row.unusual.into_iter().map(|(_, evidence)| evidence).collect(),
    }).collect();
    let mut denied: Vec<Denied> = deny::all(runner).await?.into_iter().map(|(line, listed)| Denied {
        line: hex::encode(line.0), by: app.agents.name(listed.by), at: listed.at, call: listed.call,
    }).collect();
    denied.sort_by_key(|d| std::cmp::Reverse(d.at));
    let months = runner.watch.voices(runner).await?;
    let measured = runner.voices_measured();
    let voices = months.0.iter().rev().map(|(name, month)| {
        let drift = match &measured {
            Some((calibration, Some(reference))) => month.moved(calibration, reference),
            _ => None,
        };
        VoiceRow { name: name.clone(), month: month.clone(), drift }
    }).collect();
    let rules = &runner.params.risk;
    let page = RiskPage {
        voices, listens: runner.params.voice.is_some(),
        reference: match &measured {
            None => Reference::NotCalibrated,
            Some((_, None)) => Reference::NotThere,
            Some((_, Some(_))) => Reference::There,
        },
        now: runner.now(), habits: Habit::ALL.map(Habit::words).to_vec(), agents, denied, configured: app.deny_numbers.len(),
        shadow: rules.mode == Mode::Shadow,
        points: Part::ALL.into_iter().map(|part| (pages::risk_part(part.name()), part.name(), rules.points.get(part), part.usual_points())).collect(),
        routes: rules.routes.each().map(|(route, from)| (route.name().replace('_', " "), from)).collect(),
    };
    let shell = Shell { company: app.company(), user: Some((&who.name, who.role)), demo: app.demo };
    Ok(Html(pages::risk::page(&shell, &page)?))
}

/// A number comes onto the deny list. Only its keyed hash is kept.
async fn list(State(app): State<App>, headers: HeaderMap, Form(form): Form<Fields>) -> Result<Redirect, WebError> {
    let who = lead(&app, &headers).await?;
    let number = E164::parse(&field(&form, "number").replace([' ', '-', '(', ')'], "")).map_err(|e| WebError::Bad(e.to_string()))?;
    let line = app.runner.vault.index.exact(ClaimKind::Number, number.expose()).ok_or_else(|| WebError::Bad("this cannot be a telephone number".into()))?;
    deny::list(&app.runner, line, who.id, None).await?;
    Ok(Redirect::to("/admin/risk"))
}

/// The line is in the form and not in the address: addresses get into logs.
async fn unlist(State(app): State<App>, headers: HeaderMap, Form(form): Form<Fields>) -> Result<Redirect, WebError> {
    let who = lead(&app, &headers).await?;
    let mut line = [0; 16];
    hex::decode_to_slice(field(&form, "line"), &mut line).map_err(|_| WebError::Bad("there is no such line on the list".into()))?;
    deny::unlist(&app.runner, Blind(line), who.id).await?;
    Ok(Redirect::to("/admin/risk"))
}

/// What the record page shows about fraud: for the lead, or nothing.
pub async fn of_call(app: &App, who: &Who, id: CallId) -> Result<Option<CallRisk>, WebError> {
    if who.role != Role::Lead {
        return Ok(None);
    }
    let runner = &app.runner;
    let Some(live) = runner.call(id).await? else { return Ok(None) };
    let (call, events) = (&live.call, runner.events(id).await?);
    let (agents, accounts) = involved(&events);
    let mut related = Vec::new();
    for (other, at, why) in seen::related(runner, call, &agents, RELATED).await? {
        let fraud = runner.call(other).await?.is_some_and(|live| live.call.fraud);
        related.push(RelatedCall { id: other, at, why: why.into_iter().map(seen::Related::words).collect::<Vec<_>>().join(", "), fraud });
    }
    let mut touched = Vec::new();
    for account in accounts {
        let frozen = runner.directory.brief(Some(account), runner.now()).await?.is_some_and(|b| b.frozen);
        touched.push(Touched { id: account, frozen });
    }
    let line_listed = match call.number {
        Some(line) => Some(deny::is_listed(runner, line).await?),
        None => None,
    };
    // Anybody can show a customer's number: to list it keeps that customer out.
    let on_file = events.iter().any(|r| matches!(&r.event, Event::Claimed { claim } if claim.via == countersign_core::claim::Via::Network && !claim.accounts.is_empty()));
    Ok(Some(CallRisk { id, fraud: call.fraud, line_listed, on_file, accounts: touched, related }))
}

/// Who had the call, and whose account it was about at any time.
fn involved(events: &[Recorded]) -> (Vec<AgentId>, BTreeSet<AccountId>) {
    let (mut agents, mut accounts) = (BTreeMap::new(), BTreeSet::new());
    for recorded in events {
        match &recorded.event {
            Event::Accepted { agent, .. } => drop(agents.insert(*agent, ())),
            Event::Identified { account, .. } | Event::Proved { account, .. } => drop(accounts.insert(*account)),
            Event::SpeaksFor { subject, .. } => drop(accounts.insert(*subject)),
            _ => {}
        }
    }
    (agents.into_keys().collect(), accounts)
}

/// Marks a call as fraud; with what is ticked, its line goes onto the deny list and accounts are frozen.
async fn fraud(State(app): State<App>, headers: HeaderMap, Path(id): Path<CallId>, Form(form): Form<Fields>) -> Result<Redirect, WebError> {
    let who = lead(&app, &headers).await?;
    let runner = &app.runner;
    let call = runner.call(id).await?.ok_or(WebError::NotFound)?.call;
    let (_, accounts) = involved(&runner.events(id).await?);
    // Only what this call touched can be ticked, whatever is sent.
    let freeze: Vec<AccountId> = form.iter().filter(|(n, _)| n == "freeze").filter_map(|(_, v)| v.parse().ok()).filter(|a| accounts.contains(a)).collect();
    mark(&app, &who, id, true, field(&form, "reason")).await?;
    if let (true, Some(line)) = (field(&form, "deny") == "yes", call.number) {
        deny::list(runner, line, who.id, Some(id)).await?;
    }
    for account in freeze {
        portal::freeze_quietly(&app, account, Some(id), Extra::default()).await?;
    }
    Ok(Redirect::to(&format!("/admin/calls/{id}")))
}

/// Takes the mark back. What was listed or frozen stays: each has its own way back.
async fn not_fraud(State(app): State<App>, headers: HeaderMap, Path(id): Path<CallId>, Form(form): Form<Fields>) -> Result<Redirect, WebError> {
    let who = lead(&app, &headers).await?;
    mark(&app, &who, id, false, field(&form, "reason")).await?;
    Ok(Redirect::to(&format!("/admin/calls/{id}")))
}

async fn mark(app: &App, who: &Who, id: CallId, fraud: bool, reason: &str) -> Result<(), WebError> {
    if reason.len() > REASON {
        return Err(WebError::Bad(format!("the reason is longer than {REASON} characters")));
    }
    let reason = Secret::new(reason);
    let command = format!("mark/{}/{}", who.id, hex::encode(app.runner.vault.id()?));
    let make = || Input::Marked { agent: who.id, role: who.role, fraud, reason: reason.clone() };
    app.runner.run(id, command, make).await?;
    Ok(())
}
