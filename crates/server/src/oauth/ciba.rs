//! The backchannel request (OpenID CIBA Core 1.0 §7): a program names a customer, and the customer
//! is asked in the signed-in portal.
//!
//! The answer holds a member that the specification does not know: `approval_code`. The program
//! shows or says it to the caller, who types it in the portal. Comparing two screens or pressing
//! "approve" does not count as a proof (NIST SP 800-63B-4 §3.1.3): what counts is that something
//! travelled from the one channel to the other.

use countersign_core::{
    account::Brief,
    call::{Input, Stage},
    claim::ClaimKind,
    factor::{Alphabet, FactorKind},
    id::{AccountId, CallId},
    secret::Secret,
    time::{Span, Timestamp},
};
use countersign_store::{Commit, CommitError, Expect, Guard, Outcome};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    ACR, Form, OAuth, OAuthError,
    clients::{Client, Delivery, Grant, fresh, meant_for_us, seconds},
    device::INTERVAL,
    handle,
    request::{Ping, Request, call_of},
};
use crate::{
    entry::{Entered, Entry},
    runner::{Line, RunError, Runner},
};

/// Longest text that a program may have shown to the customer.
const LONGEST_MESSAGE: usize = 200;
/// Shortest life of a request, whatever the program asks for.
const SHORTEST: Span = Span::seconds(10);

/// Whom the program means.
struct Hint {
    kind: ClaimKind,
    found: Vec<Brief>,
}

/// `POST /oauth/bc-authorize`.
pub(super) async fn authorize(runner: &Runner, oauth: &OAuth, client: &Client, form: &Form) -> Result<Value, OAuthError> {
    client.may(Grant::Ciba)?;
    if form.get("request").is_some() {
        return Err(OAuthError::invalid("signed requests are not taken: send the parameters by themselves"));
    }
    if !form.lists("scope", "openid") {
        return Err(OAuthError::new("invalid_scope", "scope must hold openid"));
    }
    let binding_message = form.get("binding_message").map(binding_message).transpose()?;
    let ping_token = notification_token(client, form)?;
    let life = life(runner.params.challenge_life, form.get("requested_expiry"))?;
    if client.settings.require_user_code && form.get("user_code").is_none() {
        return Err(OAuthError::new("missing_user_code", "this client must send the customer's user code"));
    }
    let (auth_req_id, now) = (handle(&runner.vault)?, runner.now());
    let call = call_of(&auth_req_id);
    let Hint { kind, found } = hint(runner, oauth, client, form, now).await?;
    let one = if let [one] = found.as_slice() { Some(one) } else { None };
    // Counted before anything is told: a name that is nobody's costs one try, and after too many
    // the program is not heard at all, so that it cannot go on to find out who is a customer.
    let unknown = Guard::Attempt {
        key: format!("oauth-unknown/{}", client.settings.id), window: Some(Span::hours(1).0), max: client.settings.unknown_per_hour,
        outcome: if one.is_some() { Outcome::Check } else { Outcome::Fail },
    };
    counted(runner, client, Commit { now: now.0, guards: vec![heard(client), unknown], ..Commit::default() }).await?;
    let duress = match (one, form.secret("user_code")) {
        (Some(brief), Some(code)) => user_code(runner, client, brief.id, code).await?,
        _ => false,
    };
    let kinds: Vec<FactorKind> = one.map(|brief| brief.usable(now).map(|f| f.kind).collect()).unwrap_or_default();
    let strong = form.get("acr_values").is_some_and(|list| list.split(' ').find_map(|acr| acr.strip_prefix(ACR)) == Some("strong"));
    let signs = kinds.contains(&FactorKind::Passkey) && (strong || !kinds.contains(&FactorKind::Approval));
    let factor = if signs { FactorKind::Passkey } else { FactorKind::Approval };
    if one.is_some() {
        // Before the call: from its first event on, its decision finds the record.
        let ping = ping_token.map(|token| Ping { auth_req_id: auth_req_id.clone(), token });
        let request = Request {
            client: client.settings.id.clone(), client_name: client.settings.name.clone(), grant: Grant::Ciba, scope: "openid".into(),
            expires: now + life, interval: INTERVAL, polled: None, binding_message, ping, duress,
        };
        runner.store.commit(Commit { now: now.0, docs: vec![request.put(runner, call, Expect::New)?], ..Commit::default() }).await?;
    }
    begin(runner, client, call, kind, &found, factor, life).await?;
    let live = runner.call(call).await?.ok_or_else(OAuthError::busy)?.call;
    let Some(challenge) = live.challenge.filter(|_| live.stage != Stage::Ended) else {
        return Err(if one.is_none() {
            OAuthError::new("unknown_user_id", "no customer, or more than one, is meant by this hint")
        } else {
            OAuthError::denied("the customer cannot be asked now")
        });
    };
    let mut answer = json!({
        "auth_req_id": auth_req_id.expose(), "expires_in": (challenge.expires - now).ceil_seconds(), "interval": INTERVAL.ceil_seconds(),
    });
    if let (FactorKind::Approval, Some(members)) = (challenge.kind, answer.as_object_mut()) {
        let code = runner.vault.pepper.travel_code(challenge.id, Alphabet::Known);
        members.insert("approval_code".into(), code.expose().into());
    }
    Ok(answer)
}

/// A hint that fits nobody begins a call as well, which ends at once: so it is on record who asked.
async fn begin(runner: &Runner, client: &Client, call: CallId, kind: ClaimKind, found: &[Brief], factor: FactorKind, life: Span) -> Result<(), RunError> {
    let (name, accounts) = (client.settings.id.clone(), found.to_vec());
    let input = || Input::Backchannel { client: name.clone(), kind, accounts: accounts.clone(), factor, life: Some(life) };
    runner.begin(call, format!("oauth/{call}"), Line::default(), input).await.map(|_| ())
}

/// The guard that every request of a program passes.
pub(super) fn heard(client: &Client) -> Guard {
    let (key, max) = (format!("oauth-requests/{}", client.settings.id), client.settings.requests_per_hour);
    Guard::Attempt { key, window: Some(Span::hours(1).0), max, outcome: Outcome::Fail }
}

async fn counted(runner: &Runner, client: &Client, commit: Commit) -> Result<(), OAuthError> {
    match runner.store.commit(commit).await {
        Ok(_) => Ok(()),
        Err(CommitError::Denied(i)) => {
            let limit = if i == 0 { "requests_per_hour" } else { "unknown_per_hour" };
            tracing::warn!(client = client.settings.id, limit, "an OpenID client is not heard for a while");
            Err(OAuthError::denied("too many requests of this client lately"))
        }
        Err(e) => Err(e.into()),
    }
}

/// CIBA §7.1: shown to the customer, so nothing that could draw over the page or hide itself.
fn binding_message(text: &str) -> Result<Secret, OAuthError> {
    // Marks that turn the direction of writing around or take no room say something else than they show.
    let odd = |c: char| c.is_control() || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{fffd}' | '\u{e0000}'..='\u{e0fff}');
    if text.chars().count() > LONGEST_MESSAGE || text.trim().is_empty() || text.chars().any(odd) {
        return Err(OAuthError::new("invalid_binding_message", "binding_message must be 1 to 200 printable characters on one line"));
    }
    Ok(Secret::new(text))
}

/// CIBA §7.1: needed for ping, at least 128 bits, at most 1024 characters of a bearer token.
fn notification_token(client: &Client, form: &Form) -> Result<Option<Secret>, OAuthError> {
    if client.settings.delivery == Delivery::Poll {
        return Ok(None);
    }
    let token = form.get("client_notification_token").ok_or_else(|| OAuthError::invalid("client_notification_token is missing: ping mode needs it"))?;
    let plain = token.trim_end_matches('=');
    // token68 (RFC 9110 §11.2); 22 characters of base64 are 128 bits.
    let shape = (22..=1024).contains(&token.len()) && plain.len() >= 22 && plain.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b));
    let mut kinds: Vec<u8> = plain.bytes().collect();
    kinds.sort_unstable();
    kinds.dedup();
    if !shape || kinds.len() < 8 {
        return Err(OAuthError::invalid("client_notification_token must be a bearer token of at least 128 random bits and at most 1024 characters"));
    }
    Ok(Some(Secret::new(token)))
}

/// How long the customer is asked: never longer than a challenge lives.
fn life(longest: Span, requested: Option<&str>) -> Result<Span, OAuthError> {
    let Some(text) = requested else { return Ok(longest) };
    let seconds = text.parse::<u32>().ok().filter(|s| *s > 0).ok_or_else(|| OAuthError::invalid("requested_expiry must be a number of seconds above zero"))?;
    Ok(Span::seconds(seconds.into()).max(SHORTEST).min(longest))
}

async fn hint(runner: &Runner, oauth: &OAuth, client: &Client, form: &Form, now: Timestamp) -> Result<Hint, OAuthError> {
    match (form.get("login_hint"), form.get("login_hint_token"), form.get("id_token_hint")) {
        (Some(text), None, None) => look_up(runner, text, now).await,
        (None, Some(token), None) => {
            let bad = || OAuthError::invalid("login_hint_token must be signed by this client, for us, and name one customer");
            let claims = client.signed(token).ok_or_else(bad)?;
            if claims.get("iss").and_then(Value::as_str) != Some(client.settings.id.as_str()) || !meant_for_us(oauth, &claims) {
                return Err(bad());
            }
            if claims.get("exp").and_then(seconds).ok_or_else(bad)? <= now {
                return Err(OAuthError::new("expired_login_hint_token", "login_hint_token is over: make another"));
            }
            fresh(&claims, now).ok_or_else(bad)?;
            look_up(runner, &subject(&claims).ok_or_else(bad)?, now).await
        }
        (None, None, Some(token)) => {
            let bad = || OAuthError::invalid("id_token_hint must be an ID token that we gave to this client");
            let known: IdToken = oauth.keys.signing(runner).await?.ours("JWT", token).ok_or_else(bad)?;
            // Its time may be over: it says who is meant, and proves nothing.
            if known.iss != oauth.issuer || known.aud != client.settings.id {
                return Err(bad());
            }
            let account: AccountId = known.sub.parse().map_err(|_| bad())?;
            Ok(Hint { kind: ClaimKind::AccountNumber, found: runner.directory.brief(Some(account), now).await?.into_iter().collect() })
        }
        (None, None, None) => Err(OAuthError::invalid("say who is meant: login_hint, login_hint_token or id_token_hint")),
        _ => Err(OAuthError::invalid("say in one way who is meant: login_hint, login_hint_token or id_token_hint")),
    }
}

#[derive(Deserialize)]
struct IdToken {
    iss: String,
    aud: String,
    sub: String,
}

/// Whom a signed hint names: as `login_hint`, or as a subject identifier (RFC 9493 §3.2).
fn subject(claims: &Value) -> Option<String> {
    let text = |v: &Value, name: &str| v.get(name).and_then(Value::as_str).map(str::to_owned);
    match (text(claims, "login_hint"), claims.get("sub_id")) {
        (Some(hint), None) => Some(hint),
        (None, Some(id)) => match id.get("format").and_then(Value::as_str)? {
            "account" => {
                let uri = text(id, "uri")?;
                let (user, _) = uri.strip_prefix("acct:")?.split_once('@')?;
                Some(user.to_owned()).filter(|u| !u.contains(['+', ':']))
            }
            "phone_number" => text(id, "phone_number").filter(|n| n.starts_with('+')),
            "email" => text(id, "email").filter(|m| m.contains('@')),
            _ => None,
        },
        _ => None,
    }
}

async fn look_up(runner: &Runner, text: &str, now: Timestamp) -> Result<Hint, OAuthError> {
    let text = text.trim();
    let (kind, value) = if let Some(number) = text.strip_prefix("tel:") {
        // RFC 3966 §3: dashes, dots and brackets are for the eye.
        (ClaimKind::Number, number.chars().filter(|c| !"-.()".contains(*c)).collect())
    } else if text.starts_with('+') {
        (ClaimKind::Number, text.to_owned())
    } else if let Some(mail) = text.strip_prefix("mailto:") {
        (ClaimKind::Email, mail.to_owned())
    } else if text.contains('@') {
        (ClaimKind::Email, text.to_owned())
    } else {
        (ClaimKind::AccountNumber, text.to_owned())
    };
    let (found, _) = runner.directory.find(kind, &value, now).await?;
    Ok(Hint { kind, found })
}

/// The customer's PIN, said or keyed to the program (CIBA §7.1). Counted as any entry of it, per
/// program and over all lines, in the commit that judges it. A wrong PIN, none on file, and too many
/// wrong ones lately are one answer, after the same work. `true`: it means "I am being forced".
async fn user_code(runner: &Runner, client: &Client, account: AccountId, code: &Secret) -> Result<bool, OAuthError> {
    let params = &runner.params;
    let entry = Entry {
        account, kind: FactorKind::Pin, presented: code.clone(), place: format!("client:{}", client.settings.id),
        limit: (params.throttle, params.throttle_window), docs: Vec::new(),
    };
    match runner.enter(entry).await {
        Ok(Entered::Right) => Ok(false),
        Ok(Entered::Forced) => Ok(true),
        Ok(Entered::Wrong | Entered::Shut) => Err(OAuthError::new("invalid_user_code", "the user code is not the customer's")),
        Err(RunError::Busy) => Err(OAuthError::busy()),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_short_and_shows_what_it_says() {
        for good in ["Refund of 20 €, order 4711", "¿Sí?", &"x".repeat(200)] {
            assert!(binding_message(good).is_ok(), "{good}");
        }
        for bad in ["  ", "a\nb", "a\tb", "\u{202e}evil", "a\u{200b}b", &"x".repeat(201)] {
            assert_eq!(binding_message(bad).map(|_| ()).map_err(|e| e.error), Err("invalid_binding_message"), "{bad:?}");
        }
    }

    #[test]
    fn a_request_lives_as_long_as_asked_but_never_longer_than_a_challenge() {
        let longest = Span::minutes(5);
        for (asked, lives) in [(None, longest), (Some("60"), Span::minutes(1)), (Some("4000000000"), longest), (Some("1"), SHORTEST)] {
            assert_eq!(life(longest, asked).unwrap(), lives);
        }
        for bad in ["0", "-1", "soon", "1.5", "99999999999"] {
            assert!(life(longest, Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_signed_hint_names_one_customer_in_one_way() {
        let read = |text: &str| subject(&serde_json::from_str(text).unwrap());
        assert_eq!(read(r#"{"login_hint":"10004711"}"#).as_deref(), Some("10004711"));
        assert_eq!(read(r#"{"sub_id":{"format":"account","uri":"acct:10004711@shop.example"}}"#).as_deref(), Some("10004711"));
        assert_eq!(read(r#"{"sub_id":{"format":"phone_number","phone_number":"+12025550142"}}"#).as_deref(), Some("+12025550142"));
        assert_eq!(read(r#"{"sub_id":{"format":"email","email":"a@example.com"}}"#).as_deref(), Some("a@example.com"));
        for bad in [r#"{}"#, r#"{"login_hint":"1","sub_id":{"format":"email","email":"a@b.c"}}"#, r#"{"sub_id":{"format":"opaque","id":"1"}}"#, r#"{"sub_id":{"format":"phone_number","phone_number":"10004711"}}"#] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
