//! Confirming, signed in, that it is the customer: before anything about their authenticators
//! changes. A web sign-in alone may be a thief's, so what was on file before confirms: a passkey
//! where there is one, otherwise a code, PIN or password. Where nothing is on file yet a young
//! session is enough, and what it sets up counts only after the notices were read.

use std::sync::Arc;

use axum::{
    Form, Json,
    body::Bytes,
    extract::State,
    http::HeaderMap,
    response::Redirect,
};
use countersign_core::{
    account::Profile,
    factor::FactorKind,
    secret::Secret,
    time::{Span, Timestamp},
};
use countersign_store::Commit;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    change, commit,
    session::{Signed, signed},
    sign_in::{Finish, Start, no_passkeys, read},
};
use crate::{
    App,
    amend::{Extra, Notify},
    directory::Loaded,
    entry::{Entered, Entry},
    passkeys::Passkeys,
    record::AccountEvent,
    web::WebError,
};

/// Wrong entries of one kind a day: docs/security-limits.md computes what a guesser gets.
const TRIES: u32 = 10;
const WINDOW: Span = Span::days(1);
/// The longest entry that is looked at.
const LONGEST: usize = 64;

/// The way back of whoever has to confirm first.
pub(super) const CONFIRM: WebError = WebError::SignIn("/me/security?say=confirm");

/// Lets authenticators be changed: not by a session that confirmed nothing, and not while the
/// account is frozen, when perhaps a thief is signed in.
pub(super) async fn fresh(app: &App, me: &Signed) -> Result<Arc<Loaded>, WebError> {
    let loaded = app.runner.directory.load(me.account).await?.ok_or(WebError::NotFound)?;
    if loaded.profile.frozen.is_some() {
        return Err(WebError::SignIn("/me/security?say=frozen"));
    }
    if me.session.is_fresh(&loaded.profile, app.runner.now()) { Ok(loaded) } else { Err(CONFIRM) }
}

/// From when on counts what is set up in this session now.
pub(super) fn counts_from(app: &App, me: &Signed, profile: &Profile, now: Timestamp) -> Timestamp {
    let vouched = me.session.two_factors || !profile.step_up(now).is_empty();
    if vouched { now } else { now + app.runner.params.cooling_off }
}

/// Where it goes on after something was set up on what was on file then.
pub(super) fn added(app: &App, me: &Signed, before: &Profile) -> &'static str {
    let now = app.runner.now();
    if counts_from(app, me, before, now) > now { "/me/security?say=later" } else { "/me/security?say=added" }
}

/// Begins to confirm with a passkey.
pub(super) async fn start(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Json<Value>, WebError> {
    let me = signed(&app, &headers).await?;
    let Start {} = read(&body)?;
    let loaded = app.runner.directory.load(me.account).await?.ok_or(WebError::NotFound)?;
    let passkeys = Passkeys::of(&app).ok_or_else(no_passkeys)?;
    if !loaded.profile.step_up(app.runner.now()).contains(&FactorKind::Passkey) {
        return Err(WebError::Bad("There is no passkey on this account that counts already.".into()));
    }
    Ok(Json(passkeys.start_step_up(&app.runner, &loaded.profile, me.binding()).await?.json()))
}

/// Ends it.
pub(super) async fn finish(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Json<Value>, WebError> {
    let me = signed(&app, &headers).await?;
    let Finish { ceremony, credential } = read(&body)?;
    let passkeys = Passkeys::of(&app).ok_or_else(no_passkeys)?;
    let verified = passkeys.finish_step_up(&app.runner, me.account, me.binding(), &ceremony, credential).await?;
    let now = app.runner.now();
    let mut docs = verified.spent.docs;
    docs.push(me.confirm(&app.runner, FactorKind::Passkey, now)?);
    commit(&app.runner, Commit { now: now.0, guards: verified.spent.guards, docs, ..Commit::default() }).await?;
    Ok(Json(json!({ "to": "/me/security?say=confirmed" })))
}

#[derive(Deserialize)]
pub(super) struct Typed {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    entry: Secret,
}

/// Confirms with something that is typed.
///
/// The emergency word is answered as if the tries were used up, and the lead is told: whoever stands
/// behind the customer learns nothing, and nothing opens.
pub(super) async fn typed(State(app): State<App>, headers: HeaderMap, Form(form): Form<Typed>) -> Result<Redirect, WebError> {
    const LATER: &str = "/me/security?say=not-now";
    const WRONG: &str = "/me/security?say=wrong";
    let me = signed(&app, &headers).await?;
    let (runner, now) = (&app.runner, app.runner.now());
    let loaded = runner.directory.load(me.account).await?.ok_or(WebError::NotFound)?;
    let kind = FactorKind::parse(&form.kind).filter(|kind| *kind != FactorKind::Passkey && loaded.profile.step_up(now).contains(kind)).ok_or(WebError::NotFound)?;
    let typed = form.entry.expose();
    if typed.trim().is_empty() || typed.len() > LONGEST {
        return Ok(Redirect::to(WRONG));
    }
    // Spaces in a code are for the eye; those of a password are the rule's business.
    let presented = if kind == FactorKind::VerbalPassword { form.entry } else { Secret::new(typed.split_whitespace().collect::<String>()) };
    let entry = Entry { account: me.account, kind, presented, place: "portal".into(), limit: (TRIES, WINDOW), docs: vec![me.confirm(runner, kind, now)?] };
    match runner.enter(entry).await? {
        Entered::Right => Ok(Redirect::to("/me/security?say=confirmed")),
        Entered::Forced | Entered::Shut => Ok(Redirect::to(LATER)),
        Entered::Wrong => {
            // Counted already; this is what the customer reads.
            let failed = |_: &mut Profile, _| Ok(vec![AccountEvent::ConfirmFailed { kind: kind.name().into() }]);
            change(&app, me.account, Notify::Nobody, Extra::default(), failed).await?;
            Ok(Redirect::to(WRONG))
        }
    }
}
