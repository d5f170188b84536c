//! Sign-in through the company's own OpenID provider: code flow with PKCE, state and nonce. What a
//! sign-in needs to be finished is kept here, sealed, and belongs to the browser that began it; it
//! is used up before the provider is asked for anything.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
    routing::get,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use countersign_core::{
    account::{Authenticator, Material, Profile},
    claim::ClaimKind,
    factor::FactorKind,
    id::{AccountId, AuthenticatorId},
    secret::Secret,
    time::{Span, Timestamp},
};
use countersign_store::{Commit, Guard, IndexWrite};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    commit,
    session::{How, open_session},
};
use crate::{
    App,
    amend::{Extra, Notify},
    oidc::{OpenId, ProviderError, code},
    record::AccountEvent,
    runner::{RunError, Runner},
    vault::Vault,
    web::{WebError, sealed_cookie},
};

/// What begun sign-ins are sealed as.
const BEGUN: &str = "oidc";
/// The index of linked accounts by the provider's name for them.
pub const LINKED: &str = "provider";
/// The cookie of a browser that began a sign-in.
const COOKIE: &str = "cs_signing_in";
/// How long a sign-in may take.
const LIFE: Span = Span::minutes(10);

/// Sign-in through the company's provider.
pub struct SignIn {
    /// The provider.
    pub openid: Arc<OpenId>,
    /// What the button says.
    pub name: String,
    /// The claim that holds the account number.
    pub claim: String,
    /// What is asked for.
    pub scopes: String,
    /// How sure the provider has to be, in its own words.
    pub acr_values: Option<String>,
}

/// The routes.
pub fn routes() -> Router<App> {
    Router::new().route("/me/sign-in/provider", get(start)).route("/me/sign-in/callback", get(callback).head(|| async { StatusCode::OK }))
}

/// A sign-in on its way. The browser that began it keeps it, sealed to the hash of its state: anybody
/// may begin one, so nothing is written down before one ends.
#[derive(Serialize, Deserialize)]
struct Begun {
    nonce: Secret,
    /// The code verifier (RFC 7636 §4.1): 64 characters.
    verifier: Secret,
    until: Timestamp,
}

fn redirect_uri(app: &App) -> String { format!("{}/me/sign-in/callback", app.public_url) }

/// The cookie comes back with the provider's redirect, which is another site's navigation: so it is
/// `Lax`, goes to these two routes only, and opens nothing by itself.
fn signing_in(value: &Secret, age: i64, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{COOKIE}={}; Path=/me/sign-in; HttpOnly; SameSite=Lax; Max-Age={age}{secure}", value.expose())
}

fn failed(e: &ProviderError) -> WebError {
    tracing::warn!(error = %e, "a sign-in through the provider failed");
    WebError::Bad(match e {
        ProviderError::Unreachable | ProviderError::NoAnswer | ProviderError::Unusable(_) | ProviderError::Refused("temporarily_unavailable" | "server_error") => {
            "The sign-in service does not answer as it should. Nothing was done. Try again in a few minutes.".into()
        }
        ProviderError::Refused("access_denied") => "The sign-in was cancelled. Nothing was done.".into(),
        ProviderError::Refused(_) | ProviderError::Token(_) => "The sign-in did not work, and you are not signed in. Try again from the start.".into(),
    })
}

fn over() -> WebError { WebError::Bad("This sign-in was finished, was begun in another browser, or took too long. Try again from the start.".into()) }

async fn start(State(app): State<App>) -> Result<Response, WebError> {
    let sign_in = app.sign_in.as_ref().ok_or(WebError::NotFound)?;
    let metadata = sign_in.openid.metadata().await.map_err(|e| failed(&e))?;
    let runner = &app.runner;
    let state = runner.vault.token()?;
    let begun = Begun { nonce: runner.vault.token()?, verifier: runner.vault.token()?, until: runner.now() + LIFE };
    let kept = Secret::new(BASE64_URL_SAFE_NO_PAD.encode(runner.vault.seal(BEGUN, &Vault::token_id(&state), &begun)?));
    let mut to = url::Url::parse(&metadata.authorization_endpoint).map_err(|_| WebError::Broken("the provider's address".into()))?;
    to.query_pairs_mut()
        .append_pair("response_type", "code").append_pair("client_id", sign_in.openid.client_id()).append_pair("redirect_uri", &redirect_uri(&app))
        .append_pair("scope", &sign_in.scopes).append_pair("state", state.expose()).append_pair("nonce", begun.nonce.expose())
        .append_pair("code_challenge", &BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(begun.verifier.expose().as_bytes()))).append_pair("code_challenge_method", "S256");
    if let Some(acr) = &sign_in.acr_values {
        to.query_pairs_mut().append_pair("acr_values", acr);
    }
    Ok(([(header::SET_COOKIE, signing_in(&kept, LIFE.0 / 1000, app.secure()))], Redirect::to(to.as_str())).into_response())
}

async fn callback(State(app): State<App>, headers: HeaderMap, Query(query): Query<HashMap<String, String>>) -> Result<Response, WebError> {
    let sign_in = app.sign_in.clone().ok_or(WebError::NotFound)?;
    let begun = take(&app, &headers, query.get("state")).await?;
    // RFC 9207: an answer that another provider gave is not for this one's token endpoint.
    let metadata = sign_in.openid.metadata().await.map_err(|e| failed(&e))?;
    match query.get("iss") {
        Some(iss) if iss != sign_in.openid.issuer() => return Err(failed(&ProviderError::Token("of another issuer"))),
        None if metadata.authorization_response_iss_parameter_supported => return Err(failed(&ProviderError::Token("of no issuer"))),
        _ => {}
    }
    if let Some(error) = query.get("error") {
        return Err(failed(&ProviderError::Refused(code(error))));
    }
    let grant = query.get("code").ok_or_else(|| failed(&ProviderError::Unusable("no code came")))?;
    let form = [("grant_type", "authorization_code"), ("code", grant), ("redirect_uri", &redirect_uri(&app)), ("code_verifier", begun.verifier.expose())];
    let token = sign_in.openid.token(&form).await.map_err(|e| failed(&e))?;
    let identity = sign_in.openid.identity(&token, Some(&begun.nonce)).await.map_err(|e| failed(&e))?;
    if let Some(wanted) = &sign_in.acr_values
        && !wanted.split(' ').any(|w| identity.acr.as_deref() == Some(w))
    {
        return Err(failed(&ProviderError::Token("not as sure as it was asked to be")));
    }
    let Some(account) = account(&app.runner, sign_in.openid.issuer(), &identity.subject, identity.claim(&sign_in.claim)).await? else {
        return Err(WebError::Bad("You are signed in there, but no account here belongs to that sign-in. Call us.".into()));
    };
    // From now on it is this sign-in and no other, whatever number another one brings.
    link(&app.runner, account, sign_in.openid.issuer(), &identity.subject, app.upstream.is_some()).await?;
    let opened = open_session(&app, account, How::Provider, identity.two_factors(), &headers).await?;
    let gone = signing_in(&Secret::default(), 0, app.secure());
    // As with a hand-over: a redirect would still be the other site's navigation.
    let mut response = Html(r#"<!doctype html><html lang="en"><meta charset="utf-8"><title>Signed in</title><meta http-equiv="refresh" content="0;url=/me"><p><a href="/me">Go on</a></p></html>"#).into_response();
    for set in [opened, gone] {
        response.headers_mut().append(header::SET_COOKIE, set.parse().map_err(|_| WebError::Broken("a cookie".into()))?);
    }
    Ok(response)
}

/// The sign-in that this browser began, used up: whatever becomes of it, it cannot be finished twice.
async fn take(app: &App, headers: &HeaderMap, state: Option<&String>) -> Result<Begun, WebError> {
    let (state, kept) = (Secret::new(state.cloned().unwrap_or_default()), sealed_cookie(headers, COOKIE).ok_or_else(over)?);
    let (runner, id, now) = (&app.runner, Vault::token_id(&state), app.runner.now());
    let sealed = BASE64_URL_SAFE_NO_PAD.decode(kept.expose()).map_err(|_| over())?;
    let begun: Begun = runner.vault.unseal(BEGUN, &id, &sealed).map_err(|_| over())?;
    if begun.until <= now {
        return Err(over());
    }
    let guards = vec![Guard::Once { key: format!("oidc/{}", hex::encode(&id)), expires: Some(begun.until.0) }];
    commit(runner, Commit { now: now.0, guards, ..Commit::default() }).await
        .map_err(|e| if matches!(e, WebError::Busy) { e } else { over() })?;
    Ok(begun)
}

fn key(runner: &Runner, issuer: &str, subject: &Secret) -> [u8; 16] { runner.vault.index.blind("provider", &format!("{issuer}\0{}", subject.expose())).0 }

/// This provider's name for a customer, if one is linked.
pub fn subject<'a>(profile: &'a Profile, issuer: &str) -> Option<(AuthenticatorId, &'a Secret)> {
    profile.authenticators.iter().find_map(|a| match &a.material {
        Material::Provider { issuer: of, subject, .. } if of == issuer => Some((a.id, subject)),
        _ => None,
    })
}

/// Whose sign-in this is: by the link, or else by the account number.
async fn account(runner: &Runner, issuer: &str, name: &Secret, number: Option<Secret>) -> Result<Option<AccountId>, WebError> {
    for id in runner.store.find(LINKED, key(runner, issuer, name), 8).await?.into_iter().map(AccountId) {
        // The index is a hint, the profile is what counts.
        let loaded = runner.directory.load(id).await?;
        if loaded.is_some_and(|l| subject(&l.profile, issuer).is_some_and(|(_, s)| s.ct_eq(name))) {
            return Ok(Some(id));
        }
    }
    let Some(number) = number else { return Ok(None) };
    let (found, _) = runner.directory.find(ClaimKind::AccountNumber, number.expose(), runner.now()).await?;
    let [one] = found.as_slice() else { return Ok(None) };
    let loaded = runner.directory.load(one.id).await?.ok_or(WebError::NotFound)?;
    // An account that belongs to another sign-in is not taken over by a number.
    Ok(subject(&loaded.profile, issuer).is_none().then_some(one.id))
}

async fn link(runner: &Runner, account: AccountId, issuer: &str, name: &Secret, asks: bool) -> Result<(), RunError> {
    let id = AuthenticatorId(runner.vault.id()?);
    let index = vec![IndexWrite::Add { space: LINKED, key: key(runner, issuer, name), id: account.0 }];
    runner.amend(account, Notify::Nobody, Extra { index, ..Extra::default() }, |profile, now| {
        let known = profile.authenticators.iter_mut().find_map(|a| match &mut a.material {
            Material::Provider { issuer: of, asks, .. } if of == issuer => Some(asks),
            _ => None,
        });
        match known {
            Some(known) if *known == asks => return Ok(Vec::new()),
            Some(known) => *known = asks,
            None => {
                let material = Material::Provider { issuer: issuer.into(), subject: name.clone(), asks };
                profile.authenticators.push(Authenticator { id, kind: FactorKind::Provider, material, added: now, usable_from: Timestamp(0) });
            }
        }
        Ok(vec![AccountEvent::ProviderLinked])
    }).await
}
