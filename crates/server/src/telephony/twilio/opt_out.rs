//! Texts that come in. One with an opt-out word ends texts to that number at once (47 CFR
//! 64.1200(a)(10)), START begins them again. Nothing else is read, nothing is answered: the one
//! confirmation that is allowed comes from Twilio or the carrier.
//!
//! The sender of a text can be forged. What a forger reaches is that a customer gets calls instead
//! of texts, or texts again that the customer did not switch off in the portal.

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, Uri, header},
    response::{IntoResponse, Response},
};
use countersign_core::{account::{ContactKind, Profile}, claim::ClaimKind, secret::E164};

use super::{Refused, checked};
use crate::{
    App,
    amend::{Extra, Notify},
    record::AccountEvent,
    runner::RunError,
};

/// What a text asks for, if it is one of the words. In English as the rule lists them, and in the
/// other languages that we speak.
fn wish(body: &str) -> Option<bool> {
    const STOP: [&str; 14] = [
        "STOP", "STOPALL", "QUIT", "END", "REVOKE", "OPTOUT", "CANCEL", "UNSUBSCRIBE", "ALTO", "PARAR", "BAJA", "STOPP", "ABMELDEN", "ENDE",
    ];
    const START: [&str; 2] = ["START", "UNSTOP"];
    let word: String = body.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_uppercase();
    match word.as_str() {
        word if STOP.contains(&word) => Some(true),
        word if START.contains(&word) => Some(false),
        _ => None,
    }
}

/// `POST /twilio/inbound`.
pub(super) async fn inbound(State(app): State<App>, uri: Uri, headers: HeaderMap, body: Bytes) -> Result<Response, Refused> {
    let (_, fields) = checked(&app, &uri, &headers, &body)?;
    let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let nothing = ([(header::CONTENT_TYPE, "text/xml")], "<Response/>").into_response();
    let (Some(stop), Some(from)) = (field("Body").and_then(wish), field("From").and_then(|from| E164::parse(from).ok())) else { return Ok(nothing) };
    let (found, _) = app.runner.directory.find(ClaimKind::Number, from.expose(), app.runner.now()).await.map_err(RunError::from)?;
    for account in found {
        app.runner.amend(account.id, Notify::Nobody, Extra::default(), |profile: &mut Profile, _| {
            let theirs = profile.contacts.iter_mut().filter(|c| c.kind == ContactKind::Mobile && c.value.expose() == from.expose() && c.no_texts != stop);
            let changed = theirs.map(|contact| contact.no_texts = stop).count();
            let what = if stop { "texts_stopped" } else { "texts_started" };
            Ok::<_, RunError>(if changed > 0 { vec![AccountEvent::PreferenceChanged { what: what.into() }] } else { Vec::new() })
        }).await?;
    }
    Ok(nothing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_and_nothing_else() {
        for stop in ["STOP", "stop", " Stop. ", "opt out", "Opt-Out!", "UNSUBSCRIBE", "baja", "Stopp"] {
            assert_eq!(wish(stop), Some(true), "{stop}");
        }
        assert_eq!((wish("Start"), wish("unstop")), (Some(false), Some(false)));
        for other in ["", "please stop by tomorrow", "yes", "123456", "don't stop"] {
            assert_eq!(wish(other), None, "{other}");
        }
    }
}
