//! Setting up an authenticator app (RFC 6238): the key is shown once, and counts after one right code.

use axum::{
    Form, Router,
    extract::State,
    http::{HeaderMap, header},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use countersign_core::{
    account::{Authenticator, Material},
    factor::{Algorithm, FactorKind, Otp, matching_counter},
    id::{AccountId, AuthenticatorId},
    secret::Secret,
    time::{Span, Timestamp},
};
use countersign_store::{Commit, DocWrite, Expect, Guard, Outcome};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use qrcode::{EcLevel, QrCode, render::svg};
use serde::{Deserialize, Serialize};

use super::{
    change,
    commit,
    security::replace,
    session::{Signed, signed},
    sign_in::shell,
    step_up::{added, counts_from, fresh},
};
use crate::{App, amend::{Extra, Notify}, pages, runner::step_key, web::WebError};

/// The kind under which a key is kept that is not confirmed, one per session.
const PENDING: &str = "totp-pending";
const LIFE: Span = Span::minutes(10);
/// Wrong codes for one key.
const TRIES: u32 = 5;
/// 160 bits: RFC 4226 §4 R6.
const KEY: usize = 20;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/me/security/totp", get(page))
        .route("/me/security/totp.svg", get(picture))
        .route("/me/security/totp/new", post(new))
        .route("/me/security/totp/confirm", post(confirm))
}

#[derive(Serialize, Deserialize)]
struct Pending {
    account: AccountId,
    authenticator: AuthenticatorId,
    key: Secret,
    until: Timestamp,
}

impl Pending {
    fn otp(&self) -> Otp { Otp { key: self.key.clone(), digits: 6, algorithm: Algorithm::Sha1, step: Some(30) } }

    /// The key as people type it into an app.
    fn text(&self) -> Secret { base32(&hex::decode(self.key.expose()).unwrap_or_default()) }

    /// What the picture says, in the form that every app reads.
    fn uri(&self, company: &str, name: &str) -> Secret {
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let (company, name) = (encode(company), encode(name));
        Secret::new(format!("otpauth://totp/{company}:{name}?secret={}&issuer={company}&algorithm=SHA1&digits=6&period=30", self.text().expose()))
    }
}

/// RFC 4648 §6, without padding: 20 bytes need none.
fn base32(bytes: &[u8]) -> Secret {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut out = String::new();
    for chunk in bytes.chunks(5) {
        let bits = chunk.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte)) << (8 * (5 - chunk.len()));
        let letters = (chunk.len() * 8).div_ceil(5);
        out.extend((0..letters).filter_map(|i| LETTERS.get(usize::try_from(bits >> (35 - 5 * i) & 31).ok()?)).map(|b| char::from(*b)));
    }
    Secret::new(out)
}

async fn new(State(app): State<App>, headers: HeaderMap) -> Result<Redirect, WebError> {
    let me = signed(&app, &headers).await?;
    fresh(&app, &me).await?;
    let (runner, now) = (&app.runner, app.runner.now());
    let key: Vec<u8> = runner.vault.seed()?.into_iter().take(KEY).collect();
    let pending = Pending { account: me.account, authenticator: AuthenticatorId(runner.vault.id()?), key: Secret::new(hex::encode(key)), until: now + LIFE };
    let body = runner.seal_about(PENDING, me.binding(), me.account, &pending).await?.ok_or(WebError::NotFound)?;
    let docs = vec![DocWrite::Put { kind: PENDING, id: me.binding().to_vec(), expected: Expect::Any, body, due: Some(pending.until.0) }];
    commit(runner, Commit { now: now.0, docs, ..Commit::default() }).await?;
    Ok(Redirect::to("/me/security/totp"))
}

async fn pending(app: &App, me: &Signed) -> Result<Pending, WebError> {
    let again = || WebError::SignIn("/me/security?say=again");
    let doc = app.runner.store.doc(PENDING, me.binding()).await?.ok_or_else(again)?;
    let pending: Pending = app.runner.unseal_about(PENDING, me.binding(), &doc.body).await?.ok_or_else(again)?;
    if pending.account == me.account && app.runner.now() < pending.until { Ok(pending) } else { Err(again()) }
}

async fn page(State(app): State<App>, headers: HeaderMap) -> Result<Html<String>, WebError> {
    let me = signed(&app, &headers).await?;
    // Opened without a key that waits, by a bookmark for instance: nothing failed, there is only nothing here.
    let pending = pending(&app, &me).await.map_err(|e| if matches!(e, WebError::SignIn(_)) { WebError::SignIn("/me/security") } else { e })?;
    show(&app, &pending, None)
}

fn show(app: &App, pending: &Pending, error: Option<&str>) -> Result<Html<String>, WebError> {
    let text = pending.text();
    let groups: Vec<&str> = text.expose().as_bytes().chunks(4).filter_map(|c| std::str::from_utf8(c).ok()).collect();
    Ok(Html(pages::portal_totp(&shell(app), &groups.join(" "), error)?))
}

/// The picture to be scanned. A resource of its own: pages carry nothing that is not escaped.
async fn picture(State(app): State<App>, headers: HeaderMap) -> Result<Response, WebError> {
    let me = signed(&app, &headers).await?;
    let pending = pending(&app, &me).await?;
    let loaded = app.runner.directory.load(me.account).await?.ok_or(WebError::NotFound)?;
    let uri = pending.uri(app.company(), loaded.profile.name.expose());
    let code = QrCode::with_error_correction_level(uri.expose().as_bytes(), EcLevel::M).map_err(|e| WebError::Broken(e.to_string()))?;
    let picture = code.render::<svg::Color<'_>>().min_dimensions(240, 240).build();
    Ok(([(header::CONTENT_TYPE, "image/svg+xml")], picture).into_response())
}

#[derive(Deserialize)]
struct Code {
    #[serde(default)]
    code: Secret,
}

async fn confirm(State(app): State<App>, headers: HeaderMap, Form(Code { code: typed }): Form<Code>) -> Result<Response, WebError> {
    let me = signed(&app, &headers).await?;
    let loaded = fresh(&app, &me).await?;
    let pending = pending(&app, &me).await?;
    let typed = Secret::new(typed.expose().chars().filter(|c| !c.is_whitespace()).collect::<String>());
    let (runner, now) = (&app.runner, app.runner.now());
    let attempt = |outcome| Guard::Attempt { key: format!("totp-pending/{}", pending.authenticator), window: Some(LIFE.0), max: TRIES, outcome };
    let Some(step) = matching_counter(&pending.otp(), None, &typed, now) else {
        commit(runner, Commit { now: now.0, guards: vec![attempt(Outcome::Fail)], ..Commit::default() }).await
            .map_err(|e| if matches!(e, WebError::Bad(_)) { WebError::Bad("Too many wrong codes. Begin again.".into()) } else { e })?;
        return Ok(show(&app, &pending, Some("This is not the code that the app shows now. Is the clock of the device right?"))?.into_response());
    };
    // The code that was typed here is spent: nobody who saw it can key it on the phone.
    let spent = Guard::Step { key: step_key(pending.authenticator), value: step };
    let extra = Extra {
        guards: vec![attempt(Outcome::Success), spent],
        docs: vec![DocWrite::Delete { kind: PENDING, id: me.binding().to_vec() }],
        ..Extra::default()
    };
    change(&app, me.account, Notify::Everybody, extra, |profile, now| {
        let usable_from = counts_from(&app, &me, profile, now);
        let new = Authenticator { id: pending.authenticator, kind: FactorKind::Totp, material: Material::Otp(pending.otp()), added: now, usable_from };
        Ok(replace(profile, FactorKind::Totp, new))
    }).await?;
    Ok(Redirect::to(added(&app, &me, &loaded.profile)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648 §10.
    #[test]
    fn base32_vectors() {
        for (bytes, text) in [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foob", "MZXW6YQ"), ("fooba", "MZXW6YTB"), ("foobar", "MZXW6YTBOI")] {
            assert_eq!(base32(bytes.as_bytes()).expose(), text);
        }
    }
}
