//! Ping mode (CIBA §10.2): the program is told that there is a decision, not which. The notice is
//! written in the commit of the decision, so none is lost, and carried until the program took it.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use countersign_core::{
    call::{Call, Event, Origin, Recorded},
    secret::Secret,
    time::{Span, Timestamp},
};
use countersign_store::{Commit, OutboxItem};
use reqwest::{Url, header};
use serde::{Deserialize, Serialize};

use super::{clients::{Client, ClientError}, request};
use crate::{
    effects::errand,
    outbox::{Carried, Courier, http::{client as http_client, exchange}},
    runner::{RunError, Runner},
};

/// The topic of these errands.
pub const TOPIC: &str = "ping";
/// Longest time for one attempt.
const TIMEOUT: Span = Span::seconds(10);
/// How long after the end of its request a notice is still of use.
const LATE: Span = Span::minutes(5);

/// A notice on its way, sealed.
#[derive(Serialize, Deserialize)]
struct Notice {
    client: String,
    auth_req_id: Secret,
    token: Secret,
    until: Timestamp,
}

/// Adds the notice to the commit in which the call of a request gets its decision.
pub(crate) async fn write(runner: &Runner, call: &Call, events: &[Recorded], commit: &mut Commit) -> Result<(), RunError> {
    let decided = events.iter().any(|r| matches!(r.event, Event::Proved { .. } | Event::ChallengeClosed { .. }));
    if !decided || !matches!(call.origin, Origin::Client(_)) {
        return Ok(());
    }
    let Some(request) = request::read(runner, call.id).await?.map(|s| s.request) else { return Ok(()) };
    let Some(ping) = request.ping else { return Ok(()) };
    let notice = Notice { client: request.client, auth_req_id: ping.auth_req_id, token: ping.token, until: request.expires + LATE };
    commit.outbox.push(errand(runner, TOPIC, call.id, &notice)?);
    Ok(())
}

/// Carries them. Where to is the operator's word, never the request's.
pub struct Pings {
    runner: Arc<Runner>,
    endpoints: HashMap<String, (Url, reqwest::Client)>,
}

impl Pings {
    pub(super) fn new(runner: Arc<Runner>, clients: &[Client]) -> Result<Self, ClientError> {
        let mut endpoints = HashMap::new();
        for client in clients {
            if let Some(url) = &client.notify {
                let problem = |e: crate::outbox::provider::SetupError| ClientError { client: client.settings.id.clone(), setting: "notification_endpoint", text: e.to_string() };
                endpoints.insert(client.settings.id.clone(), (url.clone(), http_client(url, TIMEOUT).map_err(problem)?));
            }
        }
        Ok(Self { runner, endpoints })
    }
}

#[derive(Serialize)]
struct Body<'a> {
    auth_req_id: &'a str,
}

#[async_trait]
impl Courier for Pings {
    fn topic(&self) -> &'static str { TOPIC }

    async fn carry(&self, item: &OutboxItem) -> Carried {
        let Ok(notice) = self.runner.vault.unseal::<Notice>("outbox", &item.id, &item.body) else {
            tracing::error!("a notice for an OpenID client does not open");
            return Carried::Never;
        };
        let Some((url, http)) = self.endpoints.get(&notice.client) else {
            tracing::warn!(client = notice.client, "a notice is for an OpenID client that is not configured any more");
            return Carried::Never;
        };
        let request = http.post(url.clone()).bearer_auth(notice.token.expose()).header(header::ACCEPT, "application/json")
            .json(&Body { auth_req_id: notice.auth_req_id.expose() });
        // Sent twice it does no harm: the program asks for the tokens, and gets them once.
        let status = exchange(request).await.map(|answer| answer.status.as_u16());
        match status {
            Ok(200..=299) => Carried::Done,
            // Redirects are not followed (§10.2), and a refusal stays one.
            Ok(status @ (300..=407 | 410..=424 | 426..=428 | 430..=499)) => {
                tracing::warn!(client = notice.client, status, "an OpenID client does not take a notice");
                Carried::Never
            }
            _ => {
                let wait = Span::seconds(1 << item.attempts.clamp(1, 6));
                if self.runner.now() + wait > notice.until {
                    tracing::warn!(client = notice.client, "a notice for an OpenID client is given up");
                    return Carried::Never;
                }
                Carried::Again(wait)
            }
        }
    }
}
