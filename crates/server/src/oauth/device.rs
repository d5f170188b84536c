//! The device grant (RFC 8628): the program shows a code, and whoever types it in the signed-in
//! portal is who is there.

use countersign_core::{
    call::Input,
    factor::Alphabet,
    time::Span,
};
use countersign_store::{Commit, CommitError, Expect};
use serde_json::{Value, json};

use super::{
    Form, OAuth, OAuthError, ciba::heard, clients::{Client, Grant}, handle,
    request::{Request, call_of},
};
use crate::runner::{Line, Runner};

/// How long a program waits between two questions (RFC 8628 §3.2, CIBA §7.3).
pub(super) const INTERVAL: Span = Span::seconds(5);

/// `POST /oauth/device_authorization`.
pub(super) async fn authorize(runner: &Runner, oauth: &OAuth, client: &Client, form: &Form) -> Result<Value, OAuthError> {
    client.may(Grant::Device)?;
    let device_code = handle(&runner.vault)?;
    let (call, now) = (call_of(&device_code), runner.now());
    let request = Request {
        client: client.settings.id.clone(), client_name: client.settings.name.clone(), grant: Grant::Device,
        scope: if form.lists("scope", "openid") { "openid".into() } else { String::new() },
        expires: now + runner.params.challenge_life, interval: INTERVAL, polled: None, binding_message: None, ping: None, duress: false,
    };
    let commit = Commit { now: now.0, guards: vec![heard(client)], docs: vec![request.put(runner, call, Expect::New)?], ..Commit::default() };
    match runner.store.commit(commit).await {
        Ok(_) => {}
        Err(CommitError::Denied(_)) => return Err(OAuthError::denied("too many requests of this client lately")),
        Err(e) => return Err(e.into()),
    }
    let name = client.settings.id.clone();
    runner.begin(call, format!("oauth/{call}"), Line::default(), || Input::Device { client: name.clone() }).await?;
    let link = runner.call(call).await?.and_then(|live| live.call.link).ok_or_else(OAuthError::busy)?;
    let code = runner.vault.pepper.travel_code(link.id, Alphabet::Letters);
    let (head, tail) = code.expose().split_at_checked(4).unwrap_or((code.expose(), ""));
    let user_code = format!("{head}-{tail}");
    Ok(json!({
        "device_code": device_code.expose(),
        "user_code": user_code,
        "verification_uri": oauth.url("/me/code"),
        "verification_uri_complete": oauth.url(&format!("/me/code?user_code={user_code}")),
        "expires_in": (link.expires - now).ceil_seconds(),
        "interval": INTERVAL.ceil_seconds(),
    }))
}
