//! The desk: queue, live call, and what an agent may do with it. Handlers extract, make one call
//! and render; everything that is shown went through `countersign_core::view`.

use std::{collections::HashMap, convert::Infallible, time::Duration};

use axum::{
    Form, Router,
    extract::{ConnectInfo, Path, State},
    http::{HeaderMap, header},
    response::{Html, IntoResponse, Redirect, Response, Sse, sse::Event as SseEvent},
    routing::{get, post},
};
use countersign_core::{
    action::{Action, Field, Outcome, Role, Verb},
    call::{Call, Command, Event, Input, Queue, Recorded, Stage},
    claim::ClaimKind,
    factor::FactorKind,
    id::{AgentId, CallId},
    message::Change,
    secret::Secret,
    story::Reader,
    time::{Span, Timestamp},
    view::{Viewer, agent_view, queue_item},
};
use futures_util::{future::select_all, stream};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::{
    App,
    agents::{AgentError, Who},
    directory::check_change,
    hub::Notice,
    pages::{self, Flash, FlashKind, Queued, Seen, Shell, StoryLine},
    runner::RunError,
    web::{WebError, cookie, set_cookie},
};

/// The session cookie of the desk.
pub const COOKIE: &str = "cs_desk";

/// The routes of the desk.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/desk", get(home))
        .route("/desk/list", get(list))
        .route("/desk/events", get(events))
        .route("/desk/sign-in", get(sign_in_page).post(sign_in))
        .route("/desk/sign-out", post(sign_out))
        .route("/desk/call-out", post(call_out))
        .route("/desk/call/{id}", get(one))
        .route("/desk/call/{id}/panel", get(panel))
        .route("/desk/call/{id}/{verb}", post(act))
}

/// Who is signed in, or the way to sign in.
pub async fn who(app: &App, headers: &HeaderMap) -> Result<Who, WebError> { Ok(seat(app, headers).await?.who) }

/// Somebody at the desk, and the companies whose calls they take: ours, and those of tenants that
/// they serve. What is not among these is not there for them.
struct Seat {
    /// As what they are here.
    who: Who,
    floors: Vec<Floor>,
}

/// One company, as somebody at the desk stands in it.
struct Floor {
    /// Its name in the configuration; empty for our own.
    tenant: String,
    app: App,
    /// The same person, in the role that they have there.
    who: Who,
    /// What it is called, if there are others.
    company: Option<String>,
}

async fn seat(app: &App, headers: &HeaderMap) -> Result<Seat, WebError> {
    // The demo signs in with one click on its first page.
    let to = if app.demo { "/" } else { "/desk/sign-in" };
    let token = cookie(headers, COOKIE).ok_or(WebError::SignIn(to))?;
    let (who, serves) = app.agents.at_desk(&token).await.map_err(broken)?.ok_or(WebError::SignIn(to))?;
    let several = !app.tenants.is_empty();
    let floor = |tenant: &str, app: &App, role| Floor {
        tenant: tenant.into(), app: app.clone(), who: Who { role, ..who.clone() }, company: several.then(|| app.company().to_owned()),
    };
    let mut floors = vec![floor("", app, who.role)];
    floors.extend(app.tenants.iter().filter_map(|tenant| serves.get(&tenant.name).map(|role| floor(&tenant.name, &tenant.app, *role))));
    Ok(Seat { who, floors })
}

impl Seat {
    /// The company of a call, and the call. Calls of companies that they do not serve are not found.
    async fn call(&self, id: CallId) -> Result<(&Floor, Call), WebError> {
        // A call that goes on is in memory: a record is asked by its own company alone.
        for floor in &self.floors {
            if floor.app.runner.in_memory(id).await?.is_some()
                && let Some(live) = floor.app.runner.call(id).await?
            {
                return Ok((floor, live.call));
            }
        }
        for floor in &self.floors {
            if let Some(live) = floor.app.runner.call(id).await? {
                return Ok((floor, live.call));
            }
        }
        Err(WebError::NotFound)
    }

    /// Calls that wait first, longest wait first; then those with somebody; calls still with the
    /// machine are not shown.
    async fn items(&self) -> Vec<Queued> {
        let mut items = Vec::new();
        for floor in &self.floors {
            let here = floor.app.runner.live_map(|call| call.queue.map(|_| queue_item(call, viewer(&floor.who)))).await;
            items.extend(here.into_iter().map(|item| Queued { who: item.agent.and_then(|id| floor.app.agents.known(id)), company: floor.company.clone(), item }));
        }
        items.sort_by_key(|queued| (queued.item.stage != Stage::Waiting, queued.item.since));
        items.truncate(200);
        items
    }

    /// Companies whose customers can be rung from here.
    fn rings(&self) -> Vec<(String, String)> {
        self.floors.iter().filter(|floor| floor.app.rings.is_some()).map(|floor| (floor.tenant.clone(), floor.app.company().to_owned())).collect()
    }
}

fn broken(e: AgentError) -> WebError {
    match e {
        AgentError::Run(e) => e.into(),
        other => WebError::Bad(other.to_string()),
    }
}

fn viewer(who: &Who) -> Viewer { Viewer { agent: who.id, role: who.role } }

async fn home(State(app): State<App>, headers: HeaderMap) -> Result<Response, WebError> {
    let seat = seat(&app, &headers).await?;
    if seat.who.role == Role::Admin && seat.floors.len() == 1 {
        return Ok(Redirect::to("/admin").into_response());
    }
    let mut mine = None;
    for floor in &seat.floors {
        let held = floor.app.runner.live_map(|call| (call.agent == Some((floor.who.id, floor.who.role))).then_some(call.id)).await;
        mine = mine.or(held.first().copied());
    }
    page(&app, &seat, mine).await
}

async fn one(State(app): State<App>, headers: HeaderMap, Path(id): Path<CallId>) -> Result<Response, WebError> {
    let seat = seat(&app, &headers).await?;
    page(&app, &seat, Some(id)).await
}

async fn page(app: &App, seat: &Seat, id: Option<CallId>) -> Result<Response, WebError> {
    let seen = match id {
        Some(id) => {
            let (floor, call) = seat.call(id).await?;
            Some(floor.see(&call).await?)
        }
        None => None,
    };
    let items = seat.items().await;
    let shell = Shell { company: app.company(), user: Some((&seat.who.name, seat.who.role)), demo: app.demo };
    Ok(Html(pages::desk(&shell, app.runner.now(), &items, seen.as_ref(), &seat.rings())?).into_response())
}

async fn list(State(app): State<App>, headers: HeaderMap) -> Result<Html<String>, WebError> {
    let seat = seat(&app, &headers).await?;
    Ok(Html(pages::desk_list(app.runner.now(), &seat.items().await)?))
}

async fn panel(State(app): State<App>, headers: HeaderMap, Path(id): Path<CallId>) -> Result<Html<String>, WebError> {
    let seat = seat(&app, &headers).await?;
    let (floor, call) = seat.call(id).await?;
    Ok(Html(pages::desk_panel(app.runner.now(), &floor.see(&call).await?, None)?))
}

impl Floor {
    /// One call as this agent may see it. Somebody else's call is not found, unless a lead asks.
    async fn see(&self, call: &Call) -> Result<Seen, WebError> {
        let (app, who) = (&self.app, &self.who);
        let mine = call.agent == Some((who.id, who.role));
        let waits_for_me = call.stage == Stage::Waiting && call.queue.is_some_and(|q| q.serves(who.role));
        if !mine && !waits_for_me && who.role != Role::Lead {
            return Err(WebError::NotFound);
        }
        let now = app.runner.now();
        let principal = app.runner.directory.brief(call.principal, now).await?;
        let profile = match call.subject {
            Some(id) => app.runner.directory.load(id).await?,
            None => None,
        };
        let view = agent_view(call, principal.as_ref(), profile.as_ref().map(|l| &l.profile), viewer(who), app.runner.policy().as_ref(), &app.runner.vault.pepper, app.runner.params.voice.as_ref(), now);
        let reader = if who.role == Role::Lead { Reader::Lead } else { Reader::Anyone };
        let story = if mine || who.role == Role::Lead { story_lines(app, &app.runner.sentences(call, reader).await?) } else { Vec::new() };
        // Giving up an account forgets what was done for it; whoever looks back at the call asks the record.
        let done = if call.stage == Stage::Ended && (mine || who.role == Role::Lead) { carried_out(&app.runner.events(call.id).await?) } else { Vec::new() };
        Ok(Seen { view, story, company: self.company.clone(), done })
    }
}

/// What was carried out on a call, for whichever account.
pub(crate) fn carried_out(events: &[Recorded]) -> Vec<Action> {
    events.iter().filter_map(|recorded| match &recorded.event {
        Event::Performed { action, .. } => Some(action.clone()),
        Event::VoiceEnrolled { .. } => Some(Action::new(Verb::Change, "voice")),
        _ => None,
    }).collect()
}

/// The record of a call, with the names of agents in place of their ids.
pub fn story_lines(app: &App, sentences: &[StoryLine]) -> Vec<StoryLine> {
    sentences.iter().map(|line| StoryLine { at: line.at, text: named(app, &line.text) }).collect()
}

/// A sentence with the names of agents in place of their ids.
pub fn named(app: &App, text: &str) -> String { named_by(text, |agent| app.agents.name(agent)) }

/// A sentence with what each agent is called in place of their ids.
pub fn named_by(text: &str, name: impl Fn(AgentId) -> String) -> String {
    // Looks for ids and not for everybody's id: a desk has hundreds of people, a sentence one or two.
    let start = "agent_";
    let mut parts = text.split(start);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_at_checked(32).and_then(|(id, rest)| Some((format!("{start}{id}").parse::<AgentId>().ok()?, rest))) {
            Some((agent, rest)) => {
                out.push_str(&name(agent));
                out.push_str(rest);
            }
            None => {
                out.push_str(start);
                out.push_str(part);
            }
        }
    }
    out
}

type Fields = HashMap<String, String>;

fn field<'a>(form: &'a Fields, name: &str) -> Result<&'a str, WebError> {
    form.get(name).map(|v| v.trim()).filter(|v| !v.is_empty()).ok_or_else(|| WebError::Bad(format!("the field {} is missing or empty", name.replace('_', " "))))
}

fn secret(form: &Fields, name: &str) -> Result<Secret, WebError> {
    let text = field(form, name)?;
    if text.len() > 500 { Err(WebError::Bad(format!("the field {name} is longer than 500 characters"))) } else { Ok(Secret::new(text)) }
}

fn optional(form: &Fields, name: &str) -> Result<Option<Secret>, WebError> {
    if form.get(name).is_none_or(|v| v.trim().is_empty()) { Ok(None) } else { secret(form, name).map(Some) }
}

fn action(form: &Fields) -> Result<Action, WebError> {
    field(form, "action")?.parse().map_err(|e: countersign_core::action::BadAction| WebError::Bad(e.to_string()))
}

/// What was typed, as a command of the machine. `opened`: whether the account of the call is open.
fn command(verb: &str, form: &Fields, opened: bool) -> Result<Command, WebError> {
    Ok(match verb {
        "accept" => Command::Accept,
        "heard" => heard(field(form, "what")?, secret(form, "value")?, opened)?,
        "reveal" => {
            let field = Field::parse(field(form, "field")?).ok_or_else(|| WebError::Bad("there is no such field".into()))?;
            Command::Reveal { field, reason: optional(form, "reason")? }
        }
        "request" => Command::Request { action: action(form)? },
        "prove" => {
            let factors = field(form, "factors")?.split(',').map(|name| FactorKind::parse(name.trim())).collect::<Option<Vec<_>>>();
            let factors = factors.ok_or_else(|| WebError::Bad("there is no such factor".into()))?;
            let action = if form.get("action").is_none_or(String::is_empty) { None } else { Some(action(form)?) };
            Command::Prove { action, factors }
        }
        "link" => Command::OpenLink,
        "word" => Command::Word(secret(form, "word")?),
        "cancel" => Command::CancelChallenge,
        "voice-enrol" => Command::EnrolVoice,
        "voice-compare" => Command::CompareVoice,
        "voice-remove" => Command::RemoveVoice,
        "perform" => {
            let change = change(&action(form)?, form)?;
            check_change(&change).map_err(|e| WebError::Bad(e.to_string()))?;
            Command::Perform { change, reason: optional(form, "reason")? }
        }
        "speak-for" => Command::SpeakFor { account_number: secret(form, "account_number")? },
        "switch" => Command::Switch { reason: secret(form, "reason")? },
        "hand-over" => Command::HandOver {
            queue: match field(form, "queue")? {
                "agents" => Queue::Agents,
                "specialists" => Queue::Specialists,
                _ => return Err(WebError::Bad("there is no such queue".into())),
            },
        },
        "end" => Command::End,
        _ => return Err(WebError::NotFound),
    })
}

/// What the caller said about themselves: a claim while no account is open, a comparison with the
/// open account afterwards. The agent need not know the difference.
fn heard(what: &str, value: Secret, opened: bool) -> Result<Command, WebError> {
    let kind = ClaimKind::parse(what);
    if !opened && let Some(kind) = kind {
        return Ok(Command::Claim { kind, value });
    }
    let field = match what {
        "number" => Some(Field::Phone),
        "order_number" => Some(Field::Orders),
        other => Field::parse(other),
    };
    let field = field.ok_or_else(|| WebError::Bad("choose what the caller said".into()))?;
    Ok(Command::Compare { field, value })
}

/// The change behind a form. There is no field for where a code goes, here or anywhere.
fn change(action: &Action, form: &Fields) -> Result<Change, WebError> {
    Ok(match action.to_string().as_str() {
        "change:phone" => Change::Phone(Secret::new(field(form, "value")?.replace([' ', '-', '(', ')'], ""))),
        "change:email" => Change::Email(secret(form, "value")?),
        "change:address" => Change::Address { address: secret(form, "address")?, postal_code: secret(form, "postal_code")? },
        "change:password" => Change::Password,
        "change:factors" => {
            let kind = FactorKind::parse(field(form, "kind")?).filter(|k| matches!(k, FactorKind::Pin | FactorKind::VerbalPassword));
            let kind = kind.ok_or_else(|| WebError::Bad("choose PIN or verbal password".into()))?;
            Change::Word { kind, word: secret(form, "value")? }
        }
        "do:cancel_order" => Change::CancelOrder,
        "do:end_freeze" => Change::EndFreeze,
        _ if action.verb == countersign_core::action::Verb::Do => Change::Business(action.object.clone()),
        _ => return Err(WebError::Bad("this cannot be done here".into())),
    })
}

/// Rings a customer at a number on file. The agent names the account, never a number.
async fn call_out(State(app): State<App>, headers: HeaderMap, Form(form): Form<Fields>) -> Result<Response, WebError> {
    let seat = seat(&app, &headers).await?;
    // A desk of one company need not say which.
    let tenant = form.get("company").map_or("", String::as_str);
    let floor = seat.floors.iter().find(|floor| floor.tenant == tenant).ok_or(WebError::NotFound)?;
    let who = &floor.who;
    let adapter = floor.app.rings.ok_or_else(|| WebError::Bad(if seat.rings().is_empty() { "no telephony here can ring customers" } else { "choose the company" }.into()))?;
    let number = secret(&form, "account_number")?;
    let matter = if form.get("action").is_none_or(String::is_empty) { None } else { Some(action(&form)?) };
    let runner = &floor.app.runner;
    let now = runner.now();
    let (accounts, _) = runner.directory.find(ClaimKind::AccountNumber, number.expose(), now).await?;
    // Looking customers up by number is a claim like any other, and counts as one.
    let outcome = countersign_store::Outcome::Fail;
    let guard = countersign_store::Guard::Attempt { key: format!("claims/{}", who.id), window: Some(Span::hours(1).0), max: runner.params.agent_claims, outcome };
    match app.agents.looked_up(who, !accounts.is_empty(), guard).await {
        Ok(()) => {}
        Err(AgentError::Refused) => return Err(WebError::Bad("you looked up too many customers in the last hour".into())),
        Err(e) => return Err(broken(e)),
    }
    let [account] = accounts.as_slice() else { return Err(WebError::Bad("no customer can be rung by this account number".into())) };
    let contact = account.usable(now).find(|f| f.kind == FactorKind::VoiceCode).and_then(|f| f.contact);
    let contact = contact.ok_or_else(|| WebError::Bad("no customer can be rung by this account number".into()))?;
    let id = CallId(runner.vault.id()?);
    let make = || Input::CallOut { adapter: adapter.into(), account: account.clone(), contact, agent: Some((who.id, who.role)), matter: matter.clone() };
    runner.begin(id, format!("call-out/{id}"), crate::runner::Line::default(), make).await?;
    Ok(Redirect::to(&format!("/desk/call/{id}")).into_response())
}

async fn act(State(app): State<App>, headers: HeaderMap, Path((id, verb)): Path<(CallId, String)>, Form(form): Form<Fields>) -> Result<Response, WebError> {
    let seat = seat(&app, &headers).await?;
    let (floor, before) = seat.call(id).await?;
    let (flash, call) = match floor.perform(&before, &verb, &form).await {
        Ok(done) => done,
        // A slip of the pen or a moved call is told in place, with what was typed still there.
        Err(WebError::Bad(text)) => {
            let call = floor.app.runner.call(id).await?.ok_or(WebError::NotFound)?.call;
            (Some(Flash { kind: FlashKind::Bad, text }), call)
        }
        Err(other) => return Err(other),
    };
    if !headers.contains_key("hx-request") {
        return Ok(Redirect::to(&format!("/desk/call/{id}")).into_response());
    }
    let seen = match floor.see(&call).await {
        Ok(seen) => seen,
        // Handed over or ended: the call is no longer this agent's to see.
        Err(WebError::NotFound) => return Ok(([("hx-redirect", "/desk")], "").into_response()),
        Err(other) => return Err(other),
    };
    Ok(Html(pages::desk_panel(app.runner.now(), &seen, flash.as_ref())?).into_response())
}

impl Floor {
    async fn perform(&self, before: &Call, verb: &str, form: &Fields) -> Result<(Option<Flash>, Call), WebError> {
        let (app, who) = (&self.app, &self.who);
        let command = command(verb, form, before.opened())?;
        let unique = match form.get("command") {
            Some(id) if id.len() <= 64 && !id.is_empty() => id.clone(),
            _ => hex::encode(app.runner.vault.id()?),
        };
        let make = || Input::Desk { agent: who.id, role: who.role, command: command.clone() };
        let (_, after) = app.runner.run_then(before.id, format!("desk/{}/{unique}", who.id), make, Call::clone).await?;
        Ok((outcome(&command, before, &after), after))
    }
}

/// What came of a command, in words for the agent.
fn outcome(command: &Command, before: &Call, after: &Call) -> Option<Flash> {
    let good = |text: &str| Some(Flash { kind: FlashKind::Good, text: text.into() });
    let bad = |text: &str| Some(Flash { kind: FlashKind::Bad, text: text.into() });
    let info = |text: &str| Some(Flash { kind: FlashKind::Info, text: text.into() });
    match command {
        Command::Compare { .. } if after.compared.len() == before.compared.len() => bad("Too many comparisons for this account lately. Ask for a proof."),
        Command::Compare { .. } => if after.compared.last().is_some_and(|(_, m)| *m) { good("Match.") } else { bad("No match.") },
        Command::Claim { .. } if !before.opened() && after.opened() => good("Two things agree: the account is open. Nothing is proved yet."),
        Command::Claim { .. } if after.contradictions > before.contradictions => bad("This points at another account. Ask again, or hand over."),
        Command::Claim { .. } => info("Noted."),
        Command::Request { action } => {
            let decision = after.decisions.iter().find(|(a, _)| a == action).map(|(_, d)| d)?;
            match &decision.outcome {
                Outcome::Permit => good("Permitted now."),
                Outcome::StepUp { to } => info(&format!("Needs {to}: ask for a proof.")),
                Outcome::Refuse { .. } if after.sent_online.contains(action) => info("Only online. The way was sent to the contact on file."),
                Outcome::Refuse { .. } => bad("Refused: see the reason beside the action."),
            }
        }
        Command::Perform { .. } if after.performed.len() > before.performed.len() => good("Done. The customer is told at the contact that was on file."),
        Command::Perform { .. } => bad("Not permitted now: see what it takes beside the action."),
        Command::Word(_) if after.proofs.len() > before.proofs.len() => good("Match."),
        Command::Word(_) => bad("No match."),
        Command::SpeakFor { .. } if after.delegate.is_some() => good("The caller may speak for this account, within what is listed."),
        Command::SpeakFor { .. } => bad("No: the caller may not speak for that account."),
        Command::Prove { .. } if after.challenge.is_none() => bad("This factor cannot be used now: too many messages or wrong entries lately."),
        Command::RemoveVoice => info("The voice is off the file, and what described it is gone."),
        Command::Switch { .. } => info("Started again from nothing."),
        _ => None,
    }
}

/// What an open page hears of, and as whom.
struct Watch {
    app: App,
    token: Secret,
    looked: Timestamp,
    /// By the company's name in the configuration.
    boards: Vec<(String, Receiver<Notice>)>,
}

impl Watch {
    /// How long a stream may go on as what its reader was before they were signed out, or sent away from
    /// a company. It says little, and a session is not read for every event of every desk.
    const LOOK_AGAIN: Span = Span::seconds(5);

    /// Whether somebody still may listen. Leaves out the companies that they do not serve any more.
    async fn holds(&mut self) -> bool {
        let now = self.app.runner.now();
        if now < self.looked + Self::LOOK_AGAIN {
            return true;
        }
        self.looked = now;
        // A store that does not answer is no reason to end a page's stream: it would only ask again.
        let Ok(found) = self.app.agents.at_desk(&self.token).await else { return true };
        let Some((_, serves)) = found else { return false };
        self.boards.retain(|(tenant, _)| tenant.is_empty() || serves.contains_key(tenant));
        true
    }
}

/// Tells a desk that something changed. Carries ids only; the page asks for what it may see.
async fn events(State(app): State<App>, headers: HeaderMap) -> Result<Response, WebError> {
    let seat = seat(&app, &headers).await?;
    let boards = seat.floors.iter().map(|floor| (floor.tenant.clone(), floor.app.runner.hub.listen())).collect();
    let token = cookie(&headers, COOKIE).ok_or(WebError::SignIn("/desk/sign-in"))?;
    let watch = Watch { looked: app.runner.now(), app, token, boards };
    let notices = stream::unfold(watch, |mut watch| async move {
        // Whichever company has something first. A wait that is given up loses nothing.
        let (first, at, _) = select_all(watch.boards.iter_mut().map(|(_, board)| Box::pin(board.recv()))).await;
        let from = watch.boards.get(at).map(|(tenant, _)| tenant.clone());
        // A burst becomes one refresh of the list.
        tokio::time::sleep(Duration::from_millis(60)).await;
        if !watch.holds().await {
            return None;
        }
        let mut calls = Vec::new();
        let mut take = |notice| if let Notice::Call(id) = notice && !calls.contains(&id) { calls.push(id) };
        match first {
            Ok(notice) if watch.boards.iter().any(|(tenant, _)| Some(tenant) == from.as_ref()) => take(notice),
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return None,
        }
        for (_, board) in &mut watch.boards {
            while let Ok(notice) = board.try_recv() {
                take(notice);
            }
        }
        let mut events = vec![Ok::<_, Infallible>(SseEvent::default().event("list").data("1"))];
        events.extend(calls.into_iter().take(50).map(|id| Ok(SseEvent::default().event("call").data(id.to_string()))));
        Some((stream::iter(events), watch))
    });
    let flat = futures_util::StreamExt::flatten(notices);
    Ok(Sse::new(flat).keep_alive(axum::response::sse::KeepAlive::new().interval(Duration::from_secs(20))).into_response())
}

async fn sign_in_page(State(app): State<App>) -> Result<Html<String>, WebError> {
    let shell = Shell { company: app.company(), user: None, demo: app.demo };
    Ok(Html(pages::sign_in(&shell, None)?))
}

async fn sign_in(State(app): State<App>, ConnectInfo(peer): ConnectInfo<std::net::SocketAddr>, Form(form): Form<Fields>) -> Result<Response, WebError> {
    let (name, password, code) = (form.get("name").cloned().unwrap_or_default(), secret(&form, "password"), secret(&form, "code"));
    let refused = |text: String| -> Result<Response, WebError> {
        let shell = Shell { company: app.company(), user: None, demo: app.demo };
        Ok((axum::http::StatusCode::UNPROCESSABLE_ENTITY, Html(pages::sign_in(&shell, Some(&text))?)).into_response())
    };
    let (Ok(password), Ok(code)) = (password, code) else { return refused("Write name, password and the code from your app.".into()) };
    match app.agents.sign_in(name.trim(), &password, &code, &peer.ip().to_string()).await {
        Ok((_, token)) => {
            let set = set_cookie(COOKIE, &token, crate::agents::SESSION_LIFE.0 / 1000, app.secure());
            Ok(([(header::SET_COOKIE, set)], Redirect::to("/desk")).into_response())
        }
        Err(AgentError::Run(RunError::Busy)) => Err(WebError::Busy),
        Err(AgentError::Run(e)) => Err(e.into()),
        Err(e) => refused(e.to_string()),
    }
}

async fn sign_out(State(app): State<App>, headers: HeaderMap) -> Result<Response, WebError> {
    if let Some(token) = cookie(&headers, COOKIE) {
        app.agents.sign_out(&token).await.map_err(broken)?;
    }
    let set = set_cookie(COOKIE, &Secret::default(), 0, app.secure());
    Ok(([(header::SET_COOKIE, set)], Redirect::to("/desk/sign-in")).into_response())
}
