//! The receipt of a call, for the customer to keep: that there was this call can be shown later, also
//! without us.
//!
//! It is the customer's part of a receipt and no more ([`Receipt::for_customer`]), of calls of which it tells
//! nothing that must not be told ([`tells_no_more`]): a session is enough for it, nothing of it is put on record
//! or told.
//! Not while the account is frozen, as with everything that is taken along: whoever is signed in may be a
//! thief, and who shows something that we have signed is believed.
//!
//! [`Receipt::for_customer`]: crate::ledger::receipt::Receipt::for_customer

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use countersign_core::{
    call::{Ending, Event, Recorded},
    id::{AccountId, CallId},
    prompt::Lang,
    time::Span,
};
use countersign_store::{Commit, CommitError, Guard, Outcome};

use super::{session::who, sign_in::shell};
use crate::{
    App,
    i18n::ReceiptText,
    ledger::{LedgerError, receipt},
    pages, privacy,
    web::WebError,
};

/// Receipts that an account asks for, and in what time: each reads a call and its way through the log.
const RECEIPTS: u32 = 60;
const WINDOW: Span = Span::hours(1);
/// When to ask again, in seconds: for what is on its way into the log, and after too many.
const SOON: &str = "60";
const LATER: &str = "3600";

pub(super) fn routes() -> Router<App> { Router::new().route("/me/calls/{id}/receipt", get(fetch)) }

/// Whether this customer may have the receipt of a call: somebody proved on it to be them, and all that
/// stands in it is theirs to read. On a call that went on with another customer, or on which somebody
/// spoke for this one, it is not.
fn is_theirs(account: AccountId, id: CallId, events: &[Recorded]) -> bool {
    let proved = events.iter().any(|r| matches!(&r.event, Event::Proved { account: whose, .. } if *whose == account));
    let own = privacy::own(account, id, events, |recorded, _| Some(recorded.n));
    proved && events.iter().filter(|r| receipt::is_for_customer(&r.event)).all(|r| own.contains(&r.n))
}

/// Whether a receipt tells nobody what they are not to know. It says of each event its place, so that whoever knows
/// how such a call goes can count what lies between: where a change only looks carried out, as under an emergency
/// word, no summary is sent, and that shows. So there is none of calls on which something was changed or ordered,
/// held or not. Nor of calls that were found risky: why is told to no customer.
fn tells_no_more(events: &[Recorded]) -> bool {
    events.iter().all(|r| match &r.event {
        Event::Performed { action, .. } => !action.is_sensitive(),
        Event::VoiceEnrolled { .. } => false,
        // What a rule of retention took away may have been any of these.
        Event::Redacted { was } => !matches!(was.as_str(), "performed" | "voice_enrolled" | "started" | "ended"),
        Event::Started { denied, .. } => !denied,
        Event::Ended { ending, .. } => !matches!(ending, Ending::Risk | Ending::CalledBack | Ending::SelfService),
        _ => true,
    })
}

fn is_over(events: &[Recorded]) -> bool { events.iter().any(|r| matches!(r.event, Event::Ended { .. })) }

/// Whether the page offers it.
pub(super) fn is_offered(account: AccountId, id: CallId, events: &[Recorded]) -> bool { is_over(events) && tells_no_more(events) && is_theirs(account, id, events) }

async fn fetch(State(app): State<App>, headers: HeaderMap, Path(call): Path<String>) -> Result<Response, WebError> {
    let account = who(&app, &headers).await?;
    let (runner, now) = (&app.runner, app.runner.now());
    let loaded = runner.directory.load(account).await?.ok_or(WebError::NotFound)?;
    let lang = loaded.profile.language.unwrap_or_default();
    if loaded.profile.frozen.is_some() {
        return instead(&app, lang, StatusCode::FORBIDDEN, ReceiptText::Frozen, None);
    }
    // Whatever is asked for counts: ids are not tried here.
    let limit = Guard::Attempt { key: format!("receipt/{account}"), window: Some(WINDOW.0), max: RECEIPTS, outcome: Outcome::Fail };
    match runner.store.commit(Commit { now: now.0, guards: vec![limit], ..Commit::default() }).await {
        Ok(_) => {}
        Err(CommitError::Denied(_)) => return instead(&app, lang, StatusCode::TOO_MANY_REQUESTS, ReceiptText::Enough, Some(LATER)),
        Err(CommitError::Busy | CommitError::Closed) => return Err(WebError::Busy),
        Err(e) => return Err(WebError::Broken(e.to_string())),
    }
    // Looked for among their own calls alone: another customer's costs the time of one that is not there.
    let own = runner.store.find("calls", account.0, privacy::CALLS).await?;
    let id = call.parse::<CallId>().ok().filter(|id| own.contains(&id.0)).ok_or(WebError::NotFound)?;
    let events = runner.events(id).await?;
    if !tells_no_more(&events) || !is_theirs(account, id, &events) {
        return Err(WebError::NotFound);
    }
    let not_yet = || instead(&app, lang, StatusCode::SERVICE_UNAVAILABLE, ReceiptText::NotYet, Some(SOON));
    if !is_over(&events) {
        return not_yet();
    }
    let made = match receipt::of(runner, id).await {
        Ok(Some(made)) => made.for_customer(),
        // Its customer was erased in this moment, or a rule of retention took it away.
        Ok(None) | Err(LedgerError::Destroyed) => return Err(WebError::NotFound),
        Err(LedgerError::NotYet) => return not_yet(),
        Err(LedgerError::Run(e)) => return Err(e.into()),
        Err(e) => return Err(WebError::Broken(e.to_string())),
    };
    let headers = [
        (header::CONTENT_TYPE, "application/json; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"receipt-{id}.json\"")),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, format!("{}\n", serde_json::to_string_pretty(&made)?)).into_response())
}

/// A page that says why there is none, in the customer's language.
fn instead(app: &App, lang: Lang, status: StatusCode, why: ReceiptText, again: Option<&'static str>) -> Result<Response, WebError> {
    let (title, text) = (app.texts.receipt(lang, ReceiptText::Link), app.texts.receipt(lang, why));
    let mut response = (status, Html(pages::portal_receipt(&shell(app), lang.code(), &title, &text)?)).into_response();
    if let Some(seconds) = again {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
    }
    Ok(response)
}
