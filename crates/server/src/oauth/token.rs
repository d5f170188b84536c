//! The token endpoint: what became of a request, and, once, the tokens.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use countersign_core::{
    action::Level,
    call::{Call, Closed, Ending, Input, Proven},
    id::CallId,
    secret::Secret,
    time::{Span, Timestamp},
};
use countersign_store::{Commit, CommitError, DocWrite, Expect, Guard};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    ACR, CIBA_GRANT, DEVICE_GRANT, Form, OAuth, OAuthError,
    clients::{Client, Grant},
    request::{self, Request, Stored, call_of},
};
use crate::runner::{RunError, Runner};

/// Life of the tokens: long enough to be used at once.
const TOKEN_LIFE: Span = Span::minutes(5);
/// A program that asks this much too early is forgiven: its clock and the network have their ways.
const FORGIVEN: Span = Span(500);
/// RFC 8628 §3.5: by how much the interval grows.
const SLOWER: Span = Span::seconds(5);

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    /// The customer has not answered.
    Pending,
    /// The customer proved who they are.
    Granted,
    /// The customer said no, or must not be taken at their word.
    Denied,
    /// Nobody answered in time, or the answer is too old by now.
    Expired,
}

/// `POST /oauth/token`.
pub(super) async fn redeem(runner: &Runner, oauth: &OAuth, client: &Client, form: &Form) -> Result<Value, OAuthError> {
    let (grant, name) = match form.get("grant_type") {
        Some(CIBA_GRANT) => (Grant::Ciba, "auth_req_id"),
        Some(DEVICE_GRANT) => (Grant::Device, "device_code"),
        Some(_) => return Err(OAuthError::new("unsupported_grant_type", "only the backchannel and the device grant are served")),
        None => return Err(OAuthError::invalid("grant_type is missing")),
    };
    client.may(grant)?;
    let code = form.secret(name).ok_or_else(|| OAuthError::invalid("the name of the request is missing: auth_req_id or device_code"))?;
    let call = call_of(code);
    for _ in 0..4 {
        let stored = request::read(runner, call).await?.filter(|s| s.request.client == client.settings.id && s.request.grant == grant);
        // Another program's request, one that was redeemed, and one that never was: one answer.
        let Stored { version, request, .. } = stored.ok_or_else(unknown)?;
        let live = runner.call(call).await?.ok_or_else(unknown)?.call;
        let now = runner.now();
        let subject = runner.directory.brief(live.subject, now).await?;
        let decision = match decide(&live, now) {
            Decision::Pending if request.expires <= now => Decision::Expired,
            decision => decision,
        };
        match decision {
            Decision::Pending => match wait(runner, call, version, request, now).await? {
                Some(error) => return Err(error),
                // Somebody asked at the same time.
                None => continue,
            },
            // Whoever is forced, or is not to be served, learns no more than that.
            Decision::Granted if request.duress || live.duress || live.frozen || subject.as_ref().is_none_or(|b| b.frozen) => {
                return Err(over(runner, call, "access_denied", "the request was not approved").await);
            }
            Decision::Granted => return give(runner, oauth, client, call, &request, &live, code, now).await,
            Decision::Denied => return Err(over(runner, call, "access_denied", "the request was not approved").await),
            Decision::Expired => return Err(over(runner, call, "expired_token", "nobody answered in time: begin anew").await),
        }
    }
    Err(OAuthError::busy())
}

fn unknown() -> OAuthError { OAuthError::new("invalid_grant", "no request of this client has this name, or it was redeemed") }

/// From the record of the call alone.
fn decide(call: &Call, now: Timestamp) -> Decision {
    let fresh = call.level >= Level::Authenticated && call.level_expires.is_some_and(|at| at > now) && !call.proofs.is_empty();
    let open = call.challenge.as_ref().map(|c| c.expires).or(call.link.as_ref().map(|l| l.expires)).is_some_and(|at| at > now);
    match (&call.ended, call.last_closed) {
        _ if call.disowned => Decision::Denied,
        (_, Some(Closed::Declined | Closed::Disowned | Closed::Exhausted | Closed::Throttled)) => Decision::Denied,
        // Whoever had the tokens finds no request any more: this one was refused.
        (Some((Ending::Collected, _)), _) => Decision::Denied,
        (None, _) if fresh => Decision::Granted,
        (None, _) if open => Decision::Pending,
        _ => Decision::Expired,
    }
}

/// Not yet. A program that does not keep to the interval waits five seconds longer from then on.
async fn wait(runner: &Runner, call: CallId, version: u64, mut request: Request, now: Timestamp) -> Result<Option<OAuthError>, OAuthError> {
    let early = request.polled.is_some_and(|at| now + FORGIVEN < at + request.interval);
    if early {
        request.interval = Span(request.interval.0.saturating_add(SLOWER.0));
    }
    request.polled = Some(now);
    let docs = vec![request.put(runner, call, Expect::Version(version))?];
    match runner.store.commit(Commit { now: now.0, docs, ..Commit::default() }).await {
        Ok(_) if early => Ok(Some(OAuthError::new("slow_down", "not yet, and too soon: wait five seconds longer between two questions"))),
        Ok(_) => Ok(Some(OAuthError::new("authorization_pending", "the customer has not answered yet"))),
        Err(CommitError::Conflict) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// The program has its answer, and the call ends if it had not. The answer stays the same for a while.
async fn over(runner: &Runner, call: CallId, error: &'static str, description: &'static str) -> OAuthError {
    match collected(runner, call).await {
        Ok(_) | Err(RunError::Rejected(_) | RunError::NoCall) => {}
        // The clock ends it as well.
        Err(e) => tracing::warn!(%call, error = %e, "a call could not be ended"),
    }
    OAuthError::new(error, description)
}

/// Tells the call that its program has an answer. `true`: it was frozen in the meantime.
async fn collected(runner: &Runner, call: CallId) -> Result<bool, RunError> {
    let (_, frozen) = runner.run_then(call, format!("oauth/collected/{call}"), || Input::Collected, |call| call.frozen).await?;
    Ok(frozen)
}

#[expect(clippy::too_many_arguments, reason = "what was asked, what came of it, and who gets it")]
async fn give(runner: &Runner, oauth: &OAuth, client: &Client, call: CallId, request: &Request, live: &Call, code: &Secret, now: Timestamp) -> Result<Value, OAuthError> {
    let key = oauth.keys.signing(runner).await?;
    let answer = tokens(runner, oauth, key, client, request, live, code, now)?;
    // Whoever is first has them; everybody after finds nothing.
    let commit = Commit {
        now: now.0, guards: vec![Guard::Once { key: format!("oauth/{call}"), expires: Some((request.expires + Span::days(1)).0) }],
        docs: vec![DocWrite::Delete { kind: request::KIND, id: call.0.to_vec() }], ..Commit::default()
    };
    match runner.store.commit(commit).await {
        Ok(_) => {}
        Err(CommitError::Denied(_) | CommitError::Conflict) => return Err(unknown()),
        Err(e) => return Err(e.into()),
    }
    match collected(runner, call).await {
        Ok(false) => Ok(answer),
        Ok(true) => Err(OAuthError::new("access_denied", "the request was not approved")),
        // It ended in between: what it proved is over.
        Err(RunError::Rejected(_) | RunError::NoCall) => Err(unknown()),
        Err(e) => {
            tracing::warn!(%call, error = %e, "a call could not be ended; the clock will");
            Ok(answer)
        }
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: String,
    aud: &'a str,
    iat: i64,
    exp: i64,
    auth_time: i64,
    acr: String,
    amr: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    #[serde(rename = "urn:openid:params:jwt:claim:auth_req_id", skip_serializing_if = "Option::is_none")]
    auth_req_id: Option<&'a str>,
}

#[expect(clippy::too_many_arguments, reason = "what was asked, what came of it, and who gets it")]
fn tokens(
    runner: &Runner, oauth: &OAuth, key: &super::keys::SigningKey, client: &Client, request: &Request, live: &Call, code: &Secret, now: Timestamp,
) -> Result<Value, OAuthError> {
    let sub = live.principal.filter(|p| live.subject == Some(*p)).ok_or_else(unknown)?;
    let id = client.settings.id.as_str();
    let claims = |aud| Claims {
        iss: &oauth.issuer, sub: sub.to_string(), aud, iat: now.unix(), exp: (now + TOKEN_LIFE).unix(),
        auth_time: live.proofs.iter().map(|p| p.at).max().unwrap_or(now).unix(), acr: format!("{ACR}{}", live.level.name()), amr: methods(&live.proofs, live.level),
        at_hash: None, client_id: None, scope: None, jti: None, auth_req_id: None,
    };
    // RFC 9068: for us, and for whatever of the company's own asks us for its key.
    let scope = Some(request.scope.as_str()).filter(|s| !s.is_empty());
    let access = Claims { client_id: Some(id), scope, jti: Some(hex::encode(runner.vault.id()?)), ..claims(&oauth.issuer) };
    let access = key.sign("at+jwt", &access)?;
    let mut answer = json!({ "access_token": access.expose(), "token_type": "Bearer", "expires_in": TOKEN_LIFE.ceil_seconds() });
    if let (Some("openid"), Some(members)) = (scope, answer.as_object_mut()) {
        members.insert("scope".into(), "openid".into());
        let identity = Claims { at_hash: Some(half_hash(&access)), auth_req_id: request.ping.as_ref().map(|_| code.expose()), ..claims(id) };
        members.insert("id_token".into(), key.sign("JWT", &identity)?.expose().into());
    }
    Ok(answer)
}

/// RFC 8176, each once; `mfa` when it was more than one factor.
fn methods(proofs: &[Proven], level: Level) -> Vec<&'static str> {
    let mut out: Vec<&'static str> = proofs.iter().map(|p| p.kind.amr()).collect();
    if level >= Level::Strong {
        out.push("mfa");
    }
    out.sort_unstable();
    out.dedup();
    out
}

/// OpenID Connect Core §3.1.3.6: the left half of the hash that belongs to ES256.
fn half_hash(token: &Secret) -> String {
    let hash = Sha256::digest(token.expose().as_bytes());
    URL_SAFE_NO_PAD.encode(hash.iter().copied().take(hash.len() / 2).collect::<Vec<u8>>())
}

#[cfg(test)]
mod tests {
    use countersign_core::{factor::FactorKind, id::AuthenticatorId};

    use super::*;

    #[test]
    fn methods_are_named_once() {
        let proven = |kind| Proven { kind, authenticator: AuthenticatorId([1; 16]), at: Timestamp(0), action: None };
        assert_eq!(methods(&[proven(FactorKind::Approval)], Level::Authenticated), ["mca"]);
        assert_eq!(methods(&[proven(FactorKind::Totp), proven(FactorKind::ServiceCode)], Level::Authenticated), ["otp"]);
        assert_eq!(methods(&[proven(FactorKind::Passkey)], Level::Strong), ["mfa", "pop"]);
    }

    /// The example of OpenID Connect Core, appendix A.3: `at_hash` of its `access_token`.
    #[test]
    fn a_token_is_bound_by_half_of_its_hash() {
        assert_eq!(half_hash(&"jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y".into()), "77QmUPtjPfzWtF2AnpK9RQ");
    }

    #[test]
    fn a_call_of_nobody_is_over() {
        assert_eq!(decide(&Call::new(CallId([1; 16])), Timestamp(0)), Decision::Expired);
    }
}
