//! What the signed-in customer does about the telephone: answers requests for approval, types codes
//! that they were given on a call, asks to be rung, calls with a token, and sees whether a call that
//! says it is from us is.

use std::{collections::HashMap, convert::Infallible, time::Duration};

use axum::{
    Form, Json, Router,
    body::Bytes,
    extract::{Path, Query, State},
    http::HeaderMap,
    response::{Html, IntoResponse, Redirect, Response, Sse, sse::{Event as SseEvent, KeepAlive}},
    routing::{get, post},
};
use countersign_core::{
    account::{ContactKind, Profile},
    call::{Approval, Call, Closed, Event, Input, Origin, Rejected, Stage},
    factor::{Alphabet, FactorKind, ServiceCode, Transaction},
    id::{AccountId, CallId, ChallengeId, ContactId},
    random::Random,
    risk::Verstat,
    secret::Secret,
    time::Span,
};
use countersign_store::{Commit, CommitError, DocWrite, Expect, Guard, Outcome};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    session::{signed, who},
    sign_in::{Finish, Start, read},
};
use crate::{
    App,
    effects::{LINK_CODE, OpenLink},
    passkeys::{begin_approval, presented},
    pages::{self, ApprovalView, CallBackView, CodeConfirmView, LiveCallView, LiveView, Shell},
    runner::{APPROVALS, Line, Live, RunError},
    web::WebError,
};

/// Digits of the token in a number that the portal dials.
const TOKEN_DIGITS: usize = 10;
/// How long such a number can be dialled.
const TOKEN_LIFE: Span = Span::minutes(3);
/// Such numbers per account and hour.
const TOKENS: u32 = 20;

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/me/phone", get(phone))
        .route("/me/live", get(live_page))
        .route("/me/events", get(events))
        .route("/me/approvals/{challenge}/type", post(type_code))
        .route("/me/approvals/{challenge}/passkey/start", post(sign_start))
        .route("/me/approvals/{challenge}/passkey/finish", post(sign_finish))
        .route("/me/approvals/{challenge}/decline", post(decline))
        .route("/me/approvals/{challenge}/not-me", post(not_me))
        .route("/me/code", get(code_page).post(code_look))
        .route("/me/code/confirm", post(code_confirm))
        .route("/me/call-me", post(call_me))
        .route("/me/dial", post(dial))
}

type Fields = HashMap<String, String>;

/// Where a notification leads: everything about the telephone is on the first page.
async fn phone(State(app): State<App>, headers: HeaderMap) -> Result<Redirect, WebError> {
    who(&app, &headers).await?;
    Ok(Redirect::to("/me"))
}

fn shell(app: &App) -> Shell<'_> { Shell { company: app.company(), user: None, demo: app.demo } }

// ── What goes on now ─────────────────────────────────────────────────────────────────────────────

/// Everything that goes on about this account now.
pub async fn live(app: &App, account: AccountId, profile: &Profile) -> Result<LiveView, WebError> {
    let runner = &app.runner;
    let now = runner.now();
    let mut view = LiveView { now, ..LiveView::default() };
    view.passkeys = profile.authenticators.iter().any(|a| a.kind == FactorKind::Passkey);
    for id in runner.store.find(APPROVALS, account.0, 20).await? {
        if let Some(live) = runner.call(CallId(id)).await? {
            view.approvals.extend(approval_view(app, account, profile, &live).await?);
        }
    }
    for id in runner.store.find("calls", account.0, 1000).await? {
        let Some(live) = runner.in_memory(CallId(id)).await? else { continue };
        let call = &live.call;
        if call.stage == Stage::Ended || (call.subject != Some(account) && call.principal != Some(account)) {
            continue;
        }
        if let (Origin::CallBack(contact), Stage::Dialing | Stage::Confirming) = (&call.origin, call.stage) {
            view.call_back = Some(CallBackView { key: runner.vault.pepper.callback_key(call.id), tail: tail(profile, *contact), answered: call.stage == Stage::Confirming });
        }
        view.calls.push(call_view(app, account, profile, &live));
    }
    view.calls.sort_by_key(|c| std::cmp::Reverse(c.started));
    if app.rings.is_some() && profile.frozen.is_none() {
        let usable = |c: &&countersign_core::account::Contact| c.kind != ContactKind::Email && c.usable_from <= now;
        view.numbers = profile.present_contacts().filter(usable).map(|c| (c.id, tail(profile, c.id))).collect();
    }
    view.dials = app.app_number.is_some() || app.demo;
    Ok(view)
}

/// The last two digits of a contact point: its owner knows it by them.
fn tail(profile: &Profile, contact: ContactId) -> String {
    let value = profile.contacts.iter().find(|c| c.id == contact).map(|c| c.value.expose().to_owned()).unwrap_or_default();
    value.get(value.len().saturating_sub(2)..).unwrap_or_default().to_owned()
}

/// Where a call comes from, as far as the customer may know: a stranger's number is not theirs to read.
fn from(app: &App, profile: &Profile, live: &Live) -> (String, bool) {
    match (&live.call.origin, &live.line.number) {
        (Origin::Client(name), _) => (format!("on a line of {}", app.client_name(name)), false),
        (Origin::CallBack(_) | Origin::Desk { .. } | Origin::RingBack { .. }, _) => ("on a call that we made to you".to_owned(), true),
        (Origin::Caller, None) => ("from a withheld number".to_owned(), false),
        (Origin::Caller, Some(number)) => {
            let known = profile.present_contacts().any(|c| c.value.expose() == number.expose());
            // Anybody can show any number: without the network's word it says nothing.
            let sure = live.call.verstat == Verstat::PassedA;
            let whose = match (known, sure) {
                (true, true) => "on your file",
                (true, false) => "on your file (which anybody can show)",
                (false, _) => "that is not on your file",
            };
            (format!("from a number ending in {} {whose}", number.tail()), known && sure)
        }
    }
}

async fn approval_view(app: &App, account: AccountId, profile: &Profile, live: &Live) -> Result<Option<ApprovalView>, WebError> {
    let call = &live.call;
    let Some(challenge) = call.challenge.as_ref().filter(|c| c.kind.is_portal() && call.principal == Some(account) && c.expires > app.runner.now()) else { return Ok(None) };
    let lang = Default::default();
    let what = challenge.action.as_ref().map_or_else(|| "prove that it is you".to_owned(), |action| app.texts.action(lang, action));
    let (from, known) = from(app, profile, live);
    Ok(Some(ApprovalView {
        challenge: challenge.id, from, known, what, expires: challenge.expires, left: challenge.left, started: call.started,
        typed: challenge.kind == FactorKind::Approval,
        agent: challenge.agent.map(|agent| app.agents.name(agent)),
        said: app.asked(call.id).await?,
    }))
}

fn call_view(app: &App, account: AccountId, profile: &Profile, live: &Live) -> LiveCallView {
    let call = &live.call;
    let matter = match &call.origin {
        Origin::Desk { matter, .. } => matter.clone(),
        _ => call.decisions.last().map(|(action, _)| action.clone()),
    };
    let for_you = call.principal.is_some_and(|p| p != account);
    let talks = call.agent.is_some() || call.stage == Stage::Waiting;
    let words = (talks && !for_you).then(|| app.runner.vault.pepper.watchwords(call.id, account));
    LiveCallView {
        ours: call.origin.is_ours(), from: from(app, profile, live).0, started: call.started, proved: !call.proofs.is_empty() && call.principal == Some(account),
        agent: call.agent.map(|(agent, _)| app.agents.name(agent)), matter: matter.map(|m| app.texts.action(Default::default(), &m)),
        for_you, words,
    }
}

async fn live_page(State(app): State<App>, headers: HeaderMap) -> Result<Html<String>, WebError> {
    let account = who(&app, &headers).await?;
    let loaded = app.runner.directory.load(account).await?.ok_or(WebError::NotFound)?;
    Ok(Html(pages::portal_live(&live(&app, account, &loaded.profile).await?)?))
}

/// Tells an open page that something happened to its account, and nothing else.
async fn events(State(app): State<App>, headers: HeaderMap) -> Result<Response, WebError> {
    let account = who(&app, &headers).await?;
    let mut heard = app.runner.hub.listen_for(account);
    // The page was made a moment ago; what came in between is told at once.
    heard.mark_changed();
    let open = Open { heard, _left: Left { app, account } };
    let stream = stream::unfold(open, |mut open| async move {
        open.heard.changed().await.ok()?;
        let n = *open.heard.borrow_and_update();
        Some((Ok::<_, Infallible>(SseEvent::default().event("account").data(n.to_string())), open))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(25))).into_response())
}

/// An open page. Fields are dropped in this order: it has stopped listening when it says so.
struct Open {
    heard: watch::Receiver<u64>,
    _left: Left,
}

/// When the last page of an account is closed, nothing of it stays.
struct Left {
    app: App,
    account: AccountId,
}

impl Drop for Left {
    fn drop(&mut self) { self.app.runner.hub.left(self.account); }
}

// ── Approvals ────────────────────────────────────────────────────────────────────────────────────

/// The call that asks this account for this approval.
async fn asking(app: &App, account: AccountId, challenge: ChallengeId) -> Result<Option<Call>, WebError> {
    for id in app.runner.store.find(APPROVALS, account.0, 20).await? {
        if let Some(live) = app.runner.call(CallId(id)).await?
            && live.call.challenge.as_ref().is_some_and(|c| c.id == challenge)
        {
            return Ok(Some(live.call));
        }
    }
    Ok(None)
}

/// What a request asks of this account, for a signature over it. `None`: it is over, or not theirs.
pub async fn transaction(app: &App, account: AccountId, challenge: ChallengeId) -> Result<Option<Transaction>, WebError> {
    let Some(call) = asking(app, account, challenge).await? else { return Ok(None) };
    let open = call.challenge.filter(|c| c.kind.is_portal() && c.expires > app.runner.now() && call.principal == Some(account));
    Ok(open.map(|c| Transaction { call: call.id, challenge, account, action: c.action }))
}

/// Gives an answer to the call that asks for it, and says in a word what came of it.
pub async fn answer(app: &App, account: AccountId, challenge: ChallengeId, reply: Approval) -> Result<&'static str, WebError> {
    let Some(before) = asking(app, account, challenge).await? else { return Ok("over") };
    let command = format!("approval/{challenge}/{}", hex::encode(app.runner.vault.id()?));
    let make = || Input::Approval { account, challenge, reply: reply.clone() };
    match app.runner.run_then(before.id, command, make, Call::clone).await {
        Ok((_, after)) => Ok(outcome(&after, challenge, &app.runner.events(before.id).await?)),
        Err(RunError::Rejected(Rejected::NoRequest | Rejected::Ended) | RunError::NoCall) => Ok("over"),
        Err(RunError::Rejected(Rejected::NoFactor)) => Ok("passkey"),
        Err(e) => Err(e.into()),
    }
}

fn outcome(after: &Call, challenge: ChallengeId, events: &[countersign_core::call::Recorded]) -> &'static str {
    if after.challenge.as_ref().is_some_and(|c| c.id == challenge) {
        return "wrong";
    }
    let proved = events.iter().any(|r| matches!(&r.event, Event::Proved { challenge: Some(c), .. } if *c == challenge));
    let closed = events.iter().rev().find_map(|r| match &r.event {
        Event::ChallengeClosed { challenge: c, why } if *c == challenge => Some(*why),
        _ => None,
    });
    match closed {
        _ if proved => "approved",
        Some(Closed::Declined) => "declined",
        Some(Closed::Disowned) => "not-me",
        Some(Closed::Exhausted | Closed::Throttled) => "no-more",
        _ => "over",
    }
}

async fn replied(app: &App, headers: &HeaderMap, challenge: ChallengeId, reply: Approval) -> Result<Redirect, WebError> {
    let account = who(app, headers).await?;
    let done = answer(app, account, challenge, reply).await?;
    Ok(Redirect::to(&format!("/me?done={done}")))
}

async fn type_code(State(app): State<App>, headers: HeaderMap, Path(challenge): Path<ChallengeId>, Form(form): Form<Fields>) -> Result<Redirect, WebError> {
    let code = Secret::new(form.get("code").map(String::as_str).unwrap_or_default());
    // What cannot be a code is a slip of the finger, and costs no try.
    if Alphabet::normalise(code.expose()).is_none() {
        who(&app, &headers).await?;
        return Ok(Redirect::to("/me?done=no-code"));
    }
    replied(&app, &headers, challenge, Approval::Typed(code)).await
}

/// Begins a signature over exactly what this request asks for.
async fn sign_start(State(app): State<App>, headers: HeaderMap, Path(challenge): Path<ChallengeId>, body: Bytes) -> Result<Json<Value>, WebError> {
    let signed = signed(&app, &headers).await?;
    let Start {} = read(&body)?;
    let over = || WebError::Bad("That request is over. Ask for a new one on your call.".into());
    let asked = transaction(&app, signed.account, challenge).await?.ok_or_else(over)?;
    let (ceremony, options) = begin_approval(&app, &asked, signed.binding()).await?;
    Ok(Json(json!({ "ceremony": ceremony.expose(), "options": options })))
}

async fn sign_finish(State(app): State<App>, headers: HeaderMap, Path(challenge): Path<ChallengeId>, body: Bytes) -> Result<Json<Value>, WebError> {
    let signed = signed(&app, &headers).await?;
    let Finish { ceremony, credential } = read(&body)?;
    let reply = Approval::Signed(presented(signed.binding(), ceremony.expose(), &credential));
    let done = answer(&app, signed.account, challenge, reply).await?;
    Ok(Json(json!({ "to": format!("/me?done={}", if done == "wrong" { "not-signed" } else { done }) })))
}

async fn decline(State(app): State<App>, headers: HeaderMap, Path(challenge): Path<ChallengeId>) -> Result<Redirect, WebError> {
    replied(&app, &headers, challenge, Approval::Declined).await
}

async fn not_me(State(app): State<App>, headers: HeaderMap, Path(challenge): Path<ChallengeId>) -> Result<Redirect, WebError> {
    let answer = replied(&app, &headers, challenge, Approval::NotMe).await?;
    app.runner.hub.tell(crate::hub::Notice::Alert);
    Ok(answer)
}

// ── Codes that were given out on a call of nobody in particular ──────────────────────────────────

/// Where somebody types a code. `user_code` (RFC 8628 §3.3.1) is only filled in, never acted on.
async fn code_page(State(app): State<App>, headers: HeaderMap, Query(query): Query<Fields>) -> Result<Html<String>, WebError> {
    who(&app, &headers).await?;
    let typed = query.get("user_code").map(|c| c.chars().take(16).collect::<String>()).unwrap_or_default();
    Ok(Html(pages::portal_code_page(&shell(&app), &typed, None)?))
}

/// Looks the call of a code up and shows whose it is, before anything happens: who is sent a code by
/// somebody else must be able to see that it is not their call.
async fn code_look(State(app): State<App>, headers: HeaderMap, Form(form): Form<Fields>) -> Result<Response, WebError> {
    let account = who(&app, &headers).await?;
    let code = Secret::new(form.get("code").map(String::as_str).unwrap_or_default());
    match found(&app, account, &code).await? {
        Some(live) => {
            let loaded = app.runner.directory.load(account).await?.ok_or(WebError::NotFound)?;
            let (from, known) = from(&app, &loaded.profile, &live);
            let client = match &live.call.origin { Origin::Client(name) => Some(app.client_name(name)), _ => None };
            let view = CodeConfirmView { code, from, known, started: live.call.started, client, now: app.runner.now() };
            Ok(Html(pages::portal_code_confirm(&shell(&app), &view)?).into_response())
        }
        None => {
            let wrong = "That is no code of a call that is going on. Check it, or ask for a new one.";
            Ok((axum::http::StatusCode::UNPROCESSABLE_ENTITY, Html(pages::portal_code_page(&shell(&app), "", Some(wrong))?)).into_response())
        }
    }
}

/// The live call with this code. Each look counts, in the transaction that judges it: a wrong one
/// against the account and against all together, and when a limit is reached right and wrong look alike.
async fn found(app: &App, account: AccountId, code: &Secret) -> Result<Option<Live>, WebError> {
    let runner = &app.runner;
    let (now, params) = (runner.now(), &runner.params);
    let typed = Alphabet::normalise(code.expose());
    let open = match &typed {
        Some(code) => {
            let slot = runner.vault.link_slot(code);
            match runner.store.doc(LINK_CODE, &slot).await? {
                Some(doc) => Some(runner.vault.unseal::<OpenLink>(LINK_CODE, &slot, &doc.body)?).filter(|open| open.expires > now),
                None => None,
            }
        }
        None => return Ok(None),
    };
    let outcome = if open.is_some() { Outcome::Check } else { Outcome::Fail };
    let attempt = |key: String, window: Span, max| Guard::Attempt { key, window: Some(window.0), max, outcome };
    let mut guards = vec![attempt(format!("typed/{account}"), params.throttle_window, params.typed_codes)];
    // Digits are few. Letters are not, and a ceiling for all would only be a way to shut everybody out.
    if typed.as_ref().is_some_and(|code| code.expose().bytes().all(|b| b.is_ascii_digit())) {
        guards.push(attempt("typed/everywhere".into(), Span::hours(1), params.typed_everywhere));
    }
    match runner.store.commit(Commit { now: now.0, guards, ..Commit::default() }).await {
        Ok(_) => {}
        Err(CommitError::Denied(_)) => return Err(WebError::Bad("Too many codes were tried lately. Wait a quarter of an hour, or prove it is you another way.".into())),
        Err(CommitError::Busy | CommitError::Closed) => return Err(WebError::Busy),
        Err(e) => return Err(WebError::Broken(e.to_string())),
    }
    Ok(match open {
        Some(open) => runner.call(open.call).await?.filter(|live| live.call.link.is_some()),
        None => None,
    })
}

async fn code_confirm(State(app): State<App>, headers: HeaderMap, Form(form): Form<Fields>) -> Result<Redirect, WebError> {
    let account = who(&app, &headers).await?;
    let code = Secret::new(form.get("code").map(String::as_str).unwrap_or_default());
    let Some(live) = found(&app, account, &code).await? else { return Ok(Redirect::to("/me?done=over")) };
    let runner = &app.runner;
    if form.get("answer").is_none_or(|a| a != "yes") {
        return Ok(Redirect::to("/me?done=left"));
    }
    let brief = runner.directory.brief(Some(account), runner.now()).await?.ok_or(WebError::NotFound)?;
    let command = format!("linked/{account}/{}", hex::encode(runner.vault.id()?));
    match runner.run(live.call.id, command, || Input::Linked { account: brief.clone(), code: code.clone() }).await {
        Ok(_) => Ok(Redirect::to("/me?done=approved")),
        Err(RunError::Rejected(_) | RunError::NoCall) => Ok(Redirect::to("/me?done=over")),
        Err(e) => Err(e.into()),
    }
}

// ── Calls between the portal and the telephone ───────────────────────────────────────────────────

/// Rings the customer at a number on file (`walmart_call_me`).
async fn call_me(State(app): State<App>, headers: HeaderMap, Form(form): Form<Fields>) -> Result<Redirect, WebError> {
    let account = who(&app, &headers).await?;
    let adapter = app.rings.ok_or(WebError::NotFound)?;
    // A name of something on file, never a number: what is not this account's is not found.
    let contact: ContactId = form.get("contact").and_then(|c| c.parse().ok()).ok_or(WebError::NotFound)?;
    let runner = &app.runner;
    let brief = runner.directory.brief(Some(account), runner.now()).await?.ok_or(WebError::NotFound)?;
    if brief.frozen {
        return Err(WebError::Bad("Your account is frozen: nothing happens by phone until a specialist has cleared it up with you.".into()));
    }
    let id = CallId(runner.vault.id()?);
    let make = || Input::CallOut { adapter: adapter.into(), account: brief.clone(), contact, agent: None, matter: None };
    match runner.begin(id, format!("call-me/{id}"), Line::default(), make).await {
        Ok(_) => Ok(Redirect::to("/me?done=rings")),
        Err(RunError::Rejected(Rejected::NoTriesLeft)) => Err(WebError::Bad("You asked to be rung several times in the last hour. Please call us, or wait.".into())),
        Err(RunError::Rejected(_)) => Err(WebError::Bad("We cannot ring that number: it is new, or not on file any more.".into())),
        Err(e) => Err(e.into()),
    }
}

/// Makes a number that carries its caller's proof (`silent_authentication`), and shows it as a link
/// that the telephone of this device dials.
async fn dial(State(app): State<App>, headers: HeaderMap) -> Result<Html<String>, WebError> {
    let account = who(&app, &headers).await?;
    let token = dial_token(&app, account).await?;
    let to = match (&app.app_number, app.demo) {
        // The hash ends the entry; each comma is two seconds in which the call is answered.
        (Some(number), _) => format!("tel:{},,{}%23", number.expose(), token.expose()),
        (None, true) => {
            let person = app.demo_people.iter().find(|p| p.account == account).map(|p| p.id).unwrap_or_default();
            format!("/handset?person={person}&token={}", token.expose())
        }
        (None, false) => return Err(WebError::NotFound),
    };
    Ok(Html(pages::portal_dial(&shell(&app), &to, TOKEN_LIFE.0 / 1000)?))
}

async fn dial_token(app: &App, account: AccountId) -> Result<Secret, WebError> {
    let runner = &app.runner;
    let now = runner.now();
    let mut random = Random::new(runner.vault.seed()?);
    for _ in 0..8 {
        let token = random.digits(TOKEN_DIGITS);
        let slot = runner.vault.service_slot(&token).0;
        let expires = now + TOKEN_LIFE;
        let body = runner.vault.seal("service", &slot, &ServiceCode { account, expires, dialled: true })?;
        let docs = vec![DocWrite::Put { kind: "service", id: slot.to_vec(), expected: Expect::New, body, due: Some(expires.0) }];
        let guards = vec![Guard::Attempt { key: format!("dial/{account}"), window: Some(Span::hours(1).0), max: TOKENS, outcome: Outcome::Fail }];
        match runner.store.commit(Commit { now: now.0, docs, guards, ..Commit::default() }).await {
            Ok(_) => return Ok(token),
            // Another account has this very one.
            Err(CommitError::Conflict) => {}
            Err(CommitError::Denied(_)) => return Err(WebError::Bad("Too many calls were begun from here in the last hour. Please wait, or call us as usual.".into())),
            Err(CommitError::Busy | CommitError::Closed) => return Err(WebError::Busy),
            Err(e) => return Err(WebError::Broken(e.to_string())),
        }
    }
    Err(WebError::Busy)
}

/// What came of something, in words for the customer. Only what is listed here can be said.
pub fn done(word: &str) -> Option<(bool, &'static str)> {
    Some(match word {
        "approved" => (true, "Approved. You can go on with your call."),
        "declined" => (true, "Declined. Nothing was approved."),
        "not-me" => (true, "Thank you for telling us. Nothing on that call counts any more, and our security team knows. If you are worried, freeze your account below."),
        "wrong" => (false, "That is not the code you were given. Nothing was approved. Try again."),
        "not-signed" => (false, "That signature does not hold. Nothing was approved. Try again."),
        "no-code" => (false, "A code has six or eight characters. Nothing was tried."),
        "no-more" => (false, "Not approved: too many wrong codes. Ask for a new request on your call."),
        "passkey" => (false, "This request wants your passkey, not a code."),
        "over" => (false, "That request is over. Ask for a new one on your call."),
        "left" => (true, "Nothing was approved. If somebody sent you that code or told you to type it, they wanted to be taken for you."),
        "rings" => (true, "Your telephone rings in a moment. Press the key that is shown here."),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_an_address_is_repeated() {
        assert!(done("approved").is_some());
        for other in ["", "<b>", "APPROVED", "approved ", "https://example.com"] {
            assert_eq!(done(other), None);
        }
    }
}
