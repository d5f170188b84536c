//! The customer's side: the rotating service code, the history of calls, "this wasn't me", and
//! the links that notices carry.

pub mod oidc;
pub mod phone;
pub mod push;
mod receipt;
mod security;
mod session;
mod sign_in;
mod step_up;
mod totp;

use std::collections::HashMap;

use axum::{
    Form, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use countersign_core::{
    account::{ContactKind, Profile, SUSPECT},
    call::{Alert, Event, Input, Recorded, Stage},
    factor::ServiceCode,
    id::{AccountId, CallId},
    random::Random,
    secret::Secret,
    story,
    time::{Span, Timestamp},
};
use countersign_store::{Commit, CommitError, DocWrite, Expect, Guard};
use serde::{Deserialize, Serialize};

use crate::{
    App,
    amend::{Extra, Notify},
    desk::named,
    directory::apply_undo,
    effects::{LINK, Link, alert_doc, link_doc},
    hub::Notice,
    i18n::ReceiptText,
    privacy,
    pages::{self, CallSummary, LinkView, PortalView, ReceiptWords, ServiceCodeView, Shell, StoryLine},
    record::{self, AccountEvent},
    runner::{RunError, Runner},
    vault::Vault,
    voice_undo::Suspect,
    web::{WebError, cookie, set_cookie},
};

pub use self::{
    session::{How, Session, Signed, open_session, signed, who},
};

/// A change whose errors are shown on a page; see [`Runner::amend`].
async fn change(
    app: &App, account: AccountId, notify: Notify, extra: Extra,
    edit: impl Fn(&mut Profile, Timestamp) -> Result<Vec<AccountEvent>, WebError> + Send + Sync,
) -> Result<(), WebError> {
    app.runner.amend(account, notify, extra, edit).await
}

/// The session cookie of the portal.
pub const COOKIE: &str = "cs_me";
/// How long a hand-over link from the company's own site opens the portal.
const ENTRY_LIFE: Span = Span::minutes(2);
/// Digits of a service code; docs/security-limits.md computes what a guesser gets.
const CODE_DIGITS: usize = 8;
/// How long a service code is shown, and for how much longer it is still taken.
const SHOWN: Span = Span::seconds(60);
const GRACE: Span = Span::seconds(60);

/// The routes of the portal.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/me", get(home))
        .merge(phone::routes())
        .route("/me/service-code", get(code))
        // Who asks by HEAD wants to know whether something is there, and does not spend the link.
        .route("/me/enter", get(enter).head(|| async { StatusCode::OK }))
        .route("/me/freeze", post(freeze))
        .route("/me/sign-out", post(sign_out))
        .route("/undo/{token}", get(link_page).post(link_do))
        .route("/not-me/{token}", get(link_page).post(link_do))
        .merge(receipt::routes())
        .merge(sign_in::routes())
        .merge(security::routes())
        .merge(totp::routes())
        .merge(push::routes())
        .merge(oidc::routes())
}

/// The code that the portal shows now: the same in every window of the account.
#[derive(Serialize, Deserialize)]
struct Shown {
    code: Secret,
    from: Timestamp,
}

pub(crate) async fn commit(runner: &Runner, commit: Commit) -> Result<(), WebError> {
    match runner.store.commit(commit).await {
        Ok(_) => Ok(()),
        Err(CommitError::Busy | CommitError::Closed) => Err(WebError::Busy),
        Err(CommitError::Denied(_)) => Err(WebError::Bad("This was used before.".into())),
        Err(CommitError::Conflict) => Err(WebError::Bad("Somebody was faster. Open the page again.".into())),
        Err(e) => Err(WebError::Broken(e.to_string())),
    }
}

/// Makes a link that opens the portal once, for the company's own signed-in site.
pub async fn entry_link(runner: &Runner, account: AccountId, two_factors: bool) -> Result<(Secret, Timestamp), WebError> {
    let token = runner.vault.token()?;
    let until = runner.now() + ENTRY_LIFE;
    let doc = link_doc(runner, &token, &Link::Portal { account, until, two_factors }, Some(until.0)).await?.ok_or(WebError::NotFound)?;
    commit(runner, Commit { now: runner.now().0, docs: vec![doc], ..Commit::default() }).await?;
    Ok((token, until))
}

async fn enter(State(app): State<App>, headers: HeaderMap, Query(query): Query<HashMap<String, String>>) -> Result<Response, WebError> {
    let token = Secret::new(query.get("token").cloned().unwrap_or_default());
    let id = Vault::token_id(&token);
    let spent = || WebError::Bad("This link was used or is too old. Go back to the company's website and try again.".into());
    let doc = app.runner.store.doc(LINK, &id).await?.ok_or_else(spent)?;
    let Some(Link::Portal { account, until, two_factors }) = app.runner.unseal_about(LINK, &id, &doc.body).await? else { return Err(spent()) };
    let now = app.runner.now();
    if until <= now {
        return Err(spent());
    }
    let guards = vec![Guard::Once { key: format!("entry/{}", hex::encode(&id)), expires: Some(until.0) }];
    commit(&app.runner, Commit { now: now.0, guards, docs: vec![DocWrite::Delete { kind: LINK, id }], ..Commit::default() }).await
        .map_err(|e| if matches!(e, WebError::Busy) { e } else { spent() })?;
    let set = open_session(&app, account, How::Link, two_factors, &headers).await?;
    // A redirect would still be the other site's navigation, on which a strict cookie is not sent;
    // a page that moves on by itself is ours.
    let onward = Html(r#"<!doctype html><html lang="en"><meta charset="utf-8"><title>Signed in</title><meta http-equiv="refresh" content="0;url=/me"><p><a href="/me">Go on</a></p></html>"#);
    Ok(([(header::SET_COOKIE, set)], onward).into_response())
}

async fn home(State(app): State<App>, headers: HeaderMap, Query(query): Query<HashMap<String, String>>) -> Result<Html<String>, WebError> {
    let account = who(&app, &headers).await?;
    let loaded = app.runner.directory.load(account).await?.ok_or(WebError::NotFound)?;
    let (profile, now) = (&loaded.profile, app.runner.now());
    let factors = profile.authenticators.iter().map(|a| a.kind).collect();
    let contacts = profile.present_contacts().map(|c| {
        let kind = match c.kind { ContactKind::Mobile => "mobile", ContactKind::Landline => "landline", ContactKind::Email => "e-mail" };
        (kind.to_owned(), c.value.expose().to_owned(), (c.usable_from > now).then_some(c.usable_from))
    }).collect();
    let mut calls = Vec::new();
    for id in app.runner.store.find("calls", account.0, 1000).await?.into_iter().map(CallId) {
        let events = app.runner.events(id).await?;
        let lines = own_lines(&app, account, id, &events);
        if let (Some(first), false) = (events.first(), lines.is_empty()) {
            let receipt = profile.frozen.is_none() && receipt::is_offered(account, id, &events);
            calls.push(CallSummary { id, started: first.at, lines, receipt });
        }
    }
    calls.sort_by_key(|c| std::cmp::Reverse(c.started));
    calls.truncate(20);
    let lang = profile.language.unwrap_or_default();
    let receipts = ReceiptWords { lang: lang.code(), link: app.texts.receipt(lang, ReceiptText::Link), about: app.texts.receipt(lang, ReceiptText::About) };
    let view = PortalView {
        receipts, name: profile.name.expose().to_owned(), frozen: profile.frozen.is_some(), code: service_code(&app.runner, account).await?, factors, contacts, calls,
        notices: notices(&app, account).await?, live: phone::live(&app, account, profile).await?,
        done: query.get("done").and_then(|word| phone::done(word)),
    };
    let shell = Shell { company: app.company(), user: None, demo: app.demo };
    Ok(Html(pages::portal(&shell, &view)?))
}

/// What the customer reads of a call: see [`privacy::own`].
fn own_lines(app: &App, account: AccountId, id: CallId, events: &[Recorded]) -> Vec<StoryLine> {
    privacy::own(account, id, events, |recorded, speaks| {
        let text = match &recorded.event {
            Event::Proved { .. } if !speaks => Some("The caller proved who they are.".into()),
            Event::Performed { agent, action, .. } => Some(format!("{}, by {agent}.", app.texts.was_done(Default::default(), action))),
            event => story::for_customer(event),
        };
        text.map(|text| StoryLine { at: recorded.at, text: named(app, &text) })
    })
}

/// What happened to the account outside of calls, latest first.
async fn notices(app: &App, account: AccountId) -> Result<Vec<StoryLine>, WebError> {
    let events = app.runner.store.events(countersign_store::Stream { kind: record::ACCOUNT, id: account.0 }).await?;
    let mut lines = Vec::new();
    for event in events.iter().rev() {
        if lines.len() == 20 {
            break;
        }
        let text = match serde_json::from_str::<AccountEvent>(&event.body)? {
            AccountEvent::Imported | AccountEvent::Unlocked | AccountEvent::Held | AccountEvent::Released | AccountEvent::Exported | AccountEvent::Erased | AccountEvent::Checked { .. } | AccountEvent::SignedIn { .. } => continue,
            AccountEvent::Changed { action, .. } => {
                let action = action.parse().map_err(|_| WebError::Broken("an event names no action".into()))?;
                format!("{}, by phone.", app.texts.was_done(Default::default(), &action))
            }
            AccountEvent::AuthenticatorAdded { kind } => format!("Set up here: {}.", security::kind_words(&kind)),
            AccountEvent::AuthenticatorRemoved { kind } => format!("Removed here: {}.", security::kind_words(&kind)),
            AccountEvent::ConfirmFailed { kind } => format!("Somebody signed in here tried to confirm a change with {}, and it was wrong.", security::kind_words(&kind)),
            AccountEvent::PreferenceChanged { what } => security::preference_words(&what).into(),
            AccountEvent::Undone { .. } => "A change was undone.".into(),
            AccountEvent::Frozen { .. } => "The account was frozen.".into(),
            AccountEvent::ProviderLinked => "Your sign-in was linked: on a call, we can ask you there.".into(),
            AccountEvent::PushAdded => "A device was set up to wake when we ask for your approval.".into(),
            AccountEvent::PushRemoved => "A device is not woken any more.".into(),
            AccountEvent::Downloaded => "Everything that we keep about you was downloaded here.".into(),
            AccountEvent::VoiceRemoved { why } => match why.as_str() {
                "expired" => "Your voice was taken off the file: its time was over.".into(),
                "suspect" => "A voice that may not have been yours was taken off the file.".into(),
                _ => "You had your voice taken off the file.".into(),
            },
            AccountEvent::VoiceEnded => "Your voice on file is not compared any more: it may not have been yours.".into(),
            AccountEvent::VoiceUnlearnt { .. } => "Your voice on file is again as it was before a call that may not have been yours.".into(),
            AccountEvent::ContactsForgotten => "A number or address that you replaced long ago was taken off the file.".into(),
            AccountEvent::FieldsForgotten { fields } => {
                format!("Taken off the file, as it was kept for long enough: {}.", fields.iter().map(|field| field_words(field)).collect::<Vec<_>>().join(", "))
            }
        };
        lines.push(StoryLine { at: Timestamp(event.at), text });
    }
    Ok(lines)
}

/// What a rule of retention takes from a profile, for the customer.
fn field_words(field: &str) -> &'static str {
    match field {
        "access" => "what made calls easier",
        "address" => "your address",
        "date_of_birth" => "your date of birth",
        "delegations" => "somebody who could speak for you once",
        "devices" => "devices that were woken",
        "orders" => "old orders",
        "postal_code" => "your postal code",
        _ => "a detail",
    }
}

async fn code(State(app): State<App>, headers: HeaderMap) -> Result<Html<String>, WebError> {
    let account = who(&app, &headers).await?;
    whole_page_instead(&headers)?;
    Ok(Html(pages::portal_code(&service_code(&app.runner, account).await?)?))
}

/// A part of the portal's page that a person opens by its address: the whole page is what they want.
fn whole_page_instead(headers: &HeaderMap) -> Result<(), WebError> {
    if headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate") { Err(WebError::SignIn("/me")) } else { Ok(()) }
}

/// The account's present service code; a new one when the old one was shown long enough or was
/// used. No two accounts have the same code at one time: the slot must be free.
pub async fn service_code(runner: &Runner, account: AccountId) -> Result<ServiceCodeView, WebError> {
    let now = runner.now();
    let view = |shown: &Shown| ServiceCodeView {
        code: grouped(shown.code.expose()), expires: shown.from + SHOWN, life_seconds: SHOWN.0 / 1000, now,
    };
    let before = runner.store.doc("service-shown", &account.0).await?;
    if let Some(doc) = &before {
        let shown: Shown = runner.vault.unseal("service-shown", &account.0, &doc.body)?;
        if now < shown.from + SHOWN {
            return Ok(view(&shown));
        }
    }
    let mut random = Random::new(runner.vault.seed()?);
    for _ in 0..8 {
        let shown = Shown { code: random.digits(CODE_DIGITS), from: now };
        let slot = runner.vault.service_slot(&shown.code).0;
        let expires = now + SHOWN + GRACE;
        let body = runner.vault.seal("service", &slot, &ServiceCode { account, expires, dialled: false })?;
        let show = runner.vault.seal("service-shown", &account.0, &shown)?;
        let expected = before.as_ref().map_or(Expect::New, |d| Expect::Version(d.version));
        let docs = vec![
            DocWrite::Put { kind: "service", id: slot.to_vec(), expected: Expect::New, body, due: Some(expires.0) },
            DocWrite::Put { kind: "service-shown", id: account.0.to_vec(), expected, body: show, due: Some(expires.0) },
        ];
        match runner.store.commit(Commit { now: now.0, docs, ..Commit::default() }).await {
            Ok(_) => return Ok(view(&shown)),
            // Another window was faster, or the slot is taken: look again.
            Err(CommitError::Conflict) => {
                if let Some(doc) = runner.store.doc("service-shown", &account.0).await?
                    && let Ok(other) = runner.vault.unseal::<Shown>("service-shown", &account.0, &doc.body)
                    && now < other.from + SHOWN
                {
                    return Ok(view(&other));
                }
            }
            Err(CommitError::Busy) => return Err(WebError::Busy),
            Err(e) => return Err(WebError::Broken(e.to_string())),
        }
    }
    Err(WebError::Busy)
}

/// `12345678` as `1234 5678`: people key what they can hold in mind.
fn grouped(code: &str) -> String {
    let (head, tail) = code.split_at_checked(code.len() / 2).unwrap_or((code, ""));
    format!("{head} {tail}")
}

async fn freeze(State(app): State<App>, headers: HeaderMap, Form(form): Form<HashMap<String, String>>) -> Result<Redirect, WebError> {
    let account = who(&app, &headers).await?;
    let call: Option<CallId> = form.get("call").and_then(|id| id.parse().ok());
    // Only a call about this very account may be named.
    let known = app.runner.store.find("calls", account.0, 1000).await?;
    freeze_account(&app, account, call.filter(|id| known.contains(&id.0)), Extra::default()).await?;
    Ok(Redirect::to("/me"))
}

async fn sign_out(State(app): State<App>, headers: HeaderMap) -> Result<Response, WebError> {
    if let Some(token) = cookie(&headers, COOKIE) {
        session::end_session(&app.runner, &token).await?;
    }
    let set = set_cookie(COOKIE, &Secret::default(), 0, app.secure());
    Ok(([(header::SET_COOKIE, set)], Redirect::to(if app.demo { "/" } else { "/me/sign-in" })).into_response())
}

/// Freezes an account, tells the lead, and raises the risk of every call about it
/// (`security_follow_up`).
async fn freeze_account(app: &App, account: AccountId, call: Option<CallId>, mut extra: Extra) -> Result<(), WebError> {
    extra.docs.push(alert_doc(&app.runner, Alert::Reported, call, Some(account))?);
    freeze_quietly(app, account, call, extra).await?;
    app.runner.hub.tell(Notice::Alert);
    Ok(())
}

/// Freezes an account and raises the risk of every call about it, without telling the lead: who did it
/// knows.
pub(crate) async fn freeze_quietly(app: &App, account: AccountId, call: Option<CallId>, extra: Extra) -> Result<(), WebError> {
    let runner = &app.runner;
    // A voice that came shortly before may be the thief's, and so may what it has learnt.
    let suspect = Suspect { call, since: Some(runner.now() - SUSPECT) };
    change(app, account, Notify::Nobody, Extra { suspect: Some(suspect), ..extra }, |profile, now| {
        profile.frozen = profile.frozen.or(Some(now));
        Ok(vec![AccountEvent::Frozen { call }])
    }).await?;
    for live in runner.live().await.iter().filter(|c| (c.subject == Some(account) || c.principal == Some(account)) && c.stage != Stage::Ended) {
        let command = format!("frozen/{}/{}", live.id, runner.now().0);
        match runner.run(live.id, command, || Input::AccountFrozen).await {
            Ok(_) | Err(RunError::Rejected(_) | RunError::NoCall) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

const LINK_DEAD: &str = "This link was used, or its time is over. Call us if something is wrong.";

async fn read_link(app: &App, token: &str) -> Result<(Vec<u8>, Link), WebError> {
    let id = Vault::token_id(&Secret::new(token));
    let doc = app.runner.store.doc(LINK, &id).await?.ok_or_else(|| WebError::Bad(LINK_DEAD.into()))?;
    let link: Link = app.runner.unseal_about(LINK, &id, &doc.body).await?.ok_or_else(|| WebError::Bad(LINK_DEAD.into()))?;
    match &link {
        Link::Undo { until, .. } if *until <= app.runner.now() => Err(WebError::Bad(LINK_DEAD.into())),
        Link::Portal { .. } => Err(WebError::Bad(LINK_DEAD.into())),
        _ => Ok((id, link)),
    }
}

/// Shows what a link would do: mail scanners open links, so opening alone does nothing.
async fn link_page(State(app): State<App>, Path(token): Path<String>) -> Result<Html<String>, WebError> {
    let (_, link) = read_link(&app, &token).await?;
    let lang = Default::default();
    let view = match link {
        Link::Undo { action, .. } => LinkView {
            title: "Undo a change".into(),
            what: format!("{}, by phone. If it was not you, undo it here.", app.texts.was_done(lang, &action)),
            button: Some("Undo the change".into()), done: None,
        },
        Link::Report { call: None, .. } => LinkView {
            title: "This wasn’t me".into(),
            what: "Somebody who was signed in changed how your account is protected. If it was not you, we sign everybody out and freeze your account until you have spoken to us.".into(),
            button: Some("It wasn’t me: freeze my account".into()), done: None,
        },
        _ => LinkView {
            title: "This wasn’t me".into(),
            what: "If the call was not yours, we freeze your account for everything by phone until you have spoken to us.".into(),
            button: Some("It wasn’t me: freeze my account".into()), done: None,
        },
    };
    let shell = Shell { company: app.company(), user: None, demo: app.demo };
    Ok(Html(pages::link(&shell, &view)?))
}

async fn link_do(State(app): State<App>, Path(token): Path<String>, Form(_): Form<HashMap<String, String>>) -> Result<Html<String>, WebError> {
    let (id, link) = read_link(&app, &token).await?;
    let gone = DocWrite::Delete { kind: LINK, id: id.clone() };
    let done = match link {
        Link::Undo { account, change: change_id, undo, .. } => {
            let once = Guard::Once { key: format!("undo/{change_id}"), expires: None };
            // It was somebody else who called: nor does their voice stay.
            let call = app.runner.call_of_change(account, change_id).await?;
            let suspect = call.map(|call| Suspect { call: Some(call), since: None });
            let extra = Extra { guards: vec![once], docs: vec![gone], suspect, ..Extra::default() };
            change(&app, account, Notify::Nobody, extra, |profile, now| {
                apply_undo(profile, &undo, now);
                Ok(vec![AccountEvent::Undone { change: change_id }])
            }).await?;
            "It is as it was before. If you did not ask for the change, call us: somebody else did."
        }
        Link::Report { account, call } => {
            // Pressed ten times at once, it happens once.
            let once = Guard::Once { key: format!("report/{}", hex::encode(&id)), expires: None };
            freeze_account(&app, account, call, Extra { guards: vec![once], docs: vec![gone], ..Extra::default() }).await?;
            if call.is_none() {
                session::end_sessions(&app.runner, account).await?;
            }
            "Your account is frozen for everything by phone. Call us to end the freeze: we will ask for proof that it is you."
        }
        Link::Portal { .. } => return Err(WebError::Bad(LINK_DEAD.into())),
    };
    let view = LinkView { title: "Done".into(), what: String::new(), button: None, done: Some(done.into()) };
    let shell = Shell { company: app.company(), user: None, demo: app.demo };
    Ok(Html(pages::link(&shell, &view)?))
}
