//! Being signed in to the portal: how somebody came in, when, and how lately they proved it again.

use axum::http::HeaderMap;
use countersign_core::{
    account::Profile,
    factor::FactorKind,
    id::AccountId,
    secret::Secret,
    time::{Span, Timestamp},
};
use countersign_store::{Commit, DocWrite, Expect};
use serde::{Deserialize, Serialize};

use super::{
    change,
    COOKIE,
    commit,
};
use crate::{
    App,
    amend::{Extra, Notify},
    record::AccountEvent,
    runner::{RunError, Runner},
    vault::Vault,
    web::{WebError, cookie, set_cookie},
};

pub(super) const SESSION: &str = "portal-session";
pub(super) const SESSION_LIFE: Span = Span::hours(1);
/// How long a confirmation lets authenticators be changed.
const CONFIRMED: Span = Span::minutes(5);
/// How long a fresh session does, where nothing can confirm.
const FRESH: Span = Span::minutes(10);
const DAY: i64 = Span::days(1).0;

/// How somebody signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// By a link from the company's own signed-in site.
    #[default]
    Link,
    /// With a passkey.
    Passkey,
    /// At the company's sign-in provider.
    Provider,
    /// With one click, in the demo.
    Demo,
}

impl How {
    /// As it stands in the record.
    pub fn name(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Passkey => "passkey",
            Self::Provider => "provider",
            Self::Demo => "demo",
        }
    }
}

/// A session, sealed under the hash of its cookie.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Session {
    /// Whose.
    pub account: AccountId,
    /// From when on it is worth nothing.
    pub expires: Timestamp,
    /// How it began.
    #[serde(default)]
    pub how: How,
    /// When it began.
    #[serde(default)]
    pub auth_time: Timestamp,
    /// When what is on file confirmed last that it is them.
    #[serde(default)]
    pub confirmed: Option<Timestamp>,
    /// With what: once there is a passkey, nothing else is enough.
    #[serde(default)]
    pub confirmed_with: Option<FactorKind>,
    /// Whoever let them in saw two factors: the company's sign-in, or a passkey that counts.
    #[serde(default)]
    pub two_factors: bool,
}

impl Session {
    /// Whether authenticators may be changed now: something that was on file before confirmed it
    /// within five minutes, or, where nothing is on file, the session is younger than ten.
    pub fn is_fresh(&self, profile: &Profile, now: Timestamp) -> bool {
        let kinds = profile.step_up(now);
        if kinds.is_empty() {
            return now - self.auth_time < FRESH;
        }
        self.confirmed_with.is_some_and(|with| kinds.contains(&with)) && self.confirmed.is_some_and(|at| now - at < CONFIRMED)
    }
}

/// Somebody who is signed in.
#[derive(Debug, Clone)]
pub struct Signed {
    /// Who.
    pub account: AccountId,
    /// Their session.
    pub session: Session,
    id: Vec<u8>,
    version: u64,
}

impl Signed {
    /// What ceremonies are bound to: names the session and opens nothing.
    pub fn binding(&self) -> &[u8] { &self.id }

    /// The write that notes that it was confirmed now.
    pub fn confirm(&self, runner: &Runner, kind: FactorKind, now: Timestamp) -> Result<DocWrite, WebError> {
        let session = Session { confirmed: Some(now), confirmed_with: Some(kind), ..self.session.clone() };
        let body = runner.vault.seal(SESSION, &self.id, &session)?;
        Ok(DocWrite::Put { kind: SESSION, id: self.id.clone(), expected: Expect::Version(self.version), body, due: Some(session.expires.0) })
    }
}

/// Who is signed in; everybody else is sent to sign in.
pub async fn signed(app: &App, headers: &HeaderMap) -> Result<Signed, WebError> {
    let away = || WebError::SignIn("/me/sign-in");
    let token = cookie(headers, COOKIE).ok_or_else(away)?;
    let id = Vault::token_id(&token);
    let doc = app.runner.store.doc(SESSION, &id).await?.ok_or_else(away)?;
    let session: Session = app.runner.vault.unseal(SESSION, &id, &doc.body)?;
    if session.expires <= app.runner.now() { Err(away()) } else { Ok(Signed { account: session.account, session, id, version: doc.version }) }
}

/// The account alone.
pub async fn who(app: &App, headers: &HeaderMap) -> Result<AccountId, WebError> { Ok(signed(app, headers).await?.account) }

/// Opens a session and returns its cookie. The token is new; a session that this browser had ends.
/// `two_factors`: whoever let them in vouches for two.
pub async fn open_session(app: &App, account: AccountId, how: How, two_factors: bool, headers: &HeaderMap) -> Result<String, WebError> {
    open_session_with(app, account, (how, two_factors), headers, Extra::default(), |_| ()).await
}

/// The same, with what else belongs to this commit and to the profile.
pub(super) async fn open_session_with(
    app: &App, account: AccountId, (how, two_factors): (How, bool), headers: &HeaderMap, mut extra: Extra, edit: impl Fn(&mut Profile) + Send + Sync,
) -> Result<String, WebError> {
    let runner = &app.runner;
    let token = runner.vault.token()?;
    let (id, now) = (Vault::token_id(&token), runner.now());
    let confirmed = (how == How::Passkey && two_factors).then_some(now);
    let session = Session { account, expires: now + SESSION_LIFE, how, auth_time: now, confirmed, confirmed_with: confirmed.map(|_| FactorKind::Passkey), two_factors };
    let body = runner.vault.seal(SESSION, &id, &session)?;
    extra.docs.push(DocWrite::Put { kind: SESSION, id, expected: Expect::New, body, due: Some(session.expires.0) });
    extra.docs.extend(cookie(headers, COOKIE).map(|old| DocWrite::Delete { kind: SESSION, id: Vault::token_id(&old) }));
    change(app, account, Notify::Nobody, extra, |profile, now| {
        edit(profile);
        // To the day: enough to know that they can be asked there, too little to follow them.
        profile.portal = Some(Timestamp(now.0 - now.0.rem_euclid(DAY)));
        Ok(vec![AccountEvent::SignedIn { how: how.name().into() }])
    }).await?;
    Ok(set_cookie(COOKIE, &token, SESSION_LIFE.0 / 1000, app.secure()))
}

/// Ends every session of an account.
pub(super) async fn end_sessions(runner: &Runner, account: AccountId) -> Result<(), WebError> {
    let mut after = None;
    loop {
        let page = runner.store.docs(SESSION, after, 1000).await?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        let theirs = page.into_iter().filter(|(id, doc)| runner.vault.unseal::<Session>(SESSION, id, &doc.body).is_ok_and(|s| s.account == account));
        let docs: Vec<DocWrite> = theirs.map(|(id, _)| DocWrite::Delete { kind: SESSION, id }).collect();
        if !docs.is_empty() {
            commit(runner, Commit { now: runner.now().0, docs, ..Commit::default() }).await?;
        }
    }
}

/// Ends the session of this cookie.
pub(super) async fn end_session(runner: &Runner, token: &Secret) -> Result<(), RunError> {
    let docs = vec![DocWrite::Delete { kind: SESSION, id: Vault::token_id(token) }];
    match runner.store.commit(Commit { now: runner.now().0, docs, ..Commit::default() }).await {
        Ok(_) => Ok(()),
        Err(countersign_store::CommitError::Busy | countersign_store::CommitError::Closed) => Err(RunError::Busy),
        Err(e) => Err(RunError::Store(e.to_string())),
    }
}
