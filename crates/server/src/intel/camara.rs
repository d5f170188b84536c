//! CAMARA, the operators' own interfaces, with a bearer token of two legs: SIM Swap
//! (`POST /sim-swap/v0/check`), Call Forwarding Signal (`/unconditional-call-forwardings`) and Number
//! Recycling (`/check`). Only the first is asked unless the others are named.

use async_trait::async_trait;
use countersign_core::{
    secret::{E164, Secret},
    time::{Span, Timestamp},
};
use reqwest::{Client, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{IntelError, Known, NumberIntelligence, Sim, date};
use crate::outbox::{
    http::{client, endpoint, exchange},
    provider::SetupError,
};

/// Where SIM changes are asked about, below the operator's address.
pub const SIM_SWAP: &str = "/sim-swap/v0/check";
/// Most hours that may be asked about (SIM Swap, `maxAge`).
pub const MOST_HOURS: i64 = 2400;

/// Settings of [`Camara`].
#[derive(Debug, Clone)]
pub struct CamaraConfig {
    /// The operator's address.
    pub base_url: String,
    /// The access token.
    pub token: Secret,
    /// Path of SIM Swap, [`SIM_SWAP`] unless the operator says otherwise.
    pub sim_swap: String,
    /// Path of the unconditional call forwarding signal, such as
    /// `/call-forwarding-signal/v0.3/unconditional-call-forwardings`; `None`: not asked.
    pub call_forwarding: Option<String>,
    /// Path of Number Recycling, such as `/number-recycling/v0/check`; `None`: not asked.
    pub number_recycling: Option<String>,
    /// How far back a SIM change is asked about.
    pub sim_lately: Span,
    /// How far back a number may have been given to somebody else.
    pub verified: Span,
    /// Longest time for all questions together.
    pub timeout: Span,
}

/// An operator.
pub struct Camara {
    client: Client,
    sim_swap: Url,
    call_forwarding: Option<Url>,
    number_recycling: Option<Url>,
    config: CamaraConfig,
}

impl Camara {
    /// Checks the settings; connects to nothing.
    pub fn new(config: CamaraConfig) -> Result<Self, SetupError> {
        let base = endpoint("number_intelligence.base_url", config.base_url.trim_end_matches('/'))?;
        if config.token.is_empty() {
            return Err(SetupError::setting("number_intelligence.token_file", "holds no access token"));
        }
        let below = |setting, path: &str| {
            let url = Url::parse(&format!("{}{path}", base.as_str().trim_end_matches('/'))).ok();
            let same = |u: &Url| u.host() == base.host() && u.port() == base.port() && u.scheme() == base.scheme();
            url.filter(|u| path.starts_with('/') && same(u)).ok_or_else(|| SetupError::setting(setting, "must be a path that begins with a slash"))
        };
        Ok(Self {
            client: client(&base, config.timeout)?,
            sim_swap: below("number_intelligence.sim_swap", &config.sim_swap)?,
            call_forwarding: config.call_forwarding.as_deref().map(|p| below("number_intelligence.call_forwarding", p)).transpose()?,
            number_recycling: config.number_recycling.as_deref().map(|p| below("number_intelligence.number_recycling", p)).transpose()?,
            config,
        })
    }

    /// `Ok(None)`: the operator does not know this number (404, or 422 as the interfaces say it).
    async fn post<T: for<'de> Deserialize<'de>>(&self, url: &Url, body: &Value) -> Result<Option<T>, IntelError> {
        let request = self.client.post(url.clone()).bearer_auth(self.config.token.expose()).json(body);
        let answer = exchange(request).await.map_err(|_| IntelError::NoAnswer)?;
        match answer.status.as_u16() {
            200 => answer.json().map(Some).ok_or(IntelError::Nonsense),
            404 | 422 => Ok(None),
            status => Err(IntelError::Refused(status)),
        }
    }
}

#[derive(Deserialize)]
struct Swapped {
    swapped: bool,
}

#[derive(Deserialize)]
struct Forwarding {
    active: bool,
}

#[derive(Deserialize)]
struct Recycled {
    #[serde(rename = "phoneNumChanged", alias = "phoneNumberRecycled")]
    changed: bool,
}

#[async_trait]
impl NumberIntelligence for Camara {
    fn name(&self) -> &'static str { "camara" }

    async fn ask(&self, number: &E164, now: Timestamp) -> Result<Known, IntelError> {
        let phone = number.expose();
        let hours = (self.config.sim_lately.0 / Span::hours(1).0).clamp(1, MOST_HOURS);
        let swap_body = json!({ "phoneNumber": phone, "maxAge": hours });
        let phone_body = json!({ "phoneNumber": phone });
        let recycled_body = json!({ "phoneNumber": phone, "specifiedDate": date::before(now, self.config.verified, "-") });
        // Side by side: together they take no longer than one.
        let swap = self.post::<Swapped>(&self.sim_swap, &swap_body);
        let forwarding = async {
            match &self.call_forwarding {
                Some(url) => self.post::<Forwarding>(url, &phone_body).await,
                None => Ok(None),
            }
        };
        let recycled = async {
            match &self.number_recycling {
                Some(url) => self.post::<Recycled>(url, &recycled_body).await,
                None => Ok(None),
            }
        };
        let (swap, forwarding, recycled) = tokio::join!(swap, forwarding, recycled);
        let (swap, forwarding, recycled) = (swap?, forwarding?, recycled?);
        Ok(Known {
            line: None,
            sim: if swap.is_some_and(|s| s.swapped) { Sim::Since(now - Span::hours(hours)) } else { Sim::Quiet },
            reassigned: recycled.is_some_and(|r| r.changed),
            forwarded: forwarding.is_some_and(|f| f.active),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::http::testing::{Reply, Server, body, header, reply};

    const NOW: Timestamp = Timestamp(1_780_308_000_000);

    fn config(address: &str) -> CamaraConfig {
        CamaraConfig {
            base_url: format!("http://{address}/operator"), token: "access".into(), sim_swap: SIM_SWAP.into(), call_forwarding: None, number_recycling: None,
            sim_lately: Span::hours(72), verified: Span::days(90), timeout: Span::seconds(10),
        }
    }

    async fn asked(r: Reply) -> Result<Known, IntelError> {
        let server = Server::start(vec![r]);
        Camara::new(config(&server.address)).unwrap().ask(&E164::parse("+12025550142").unwrap(), NOW).await
    }

    #[tokio::test]
    async fn a_sim_change_is_asked_about_as_documented() {
        let server = Server::start(vec![reply("200 OK", r#"{"swapped":true}"#)]);
        let known = Camara::new(config(&server.address)).unwrap().ask(&E164::parse("+12025550142").unwrap(), NOW).await.unwrap();
        assert_eq!(known.sim, Sim::Since(NOW - Span::hours(72)));
        let request = server.only();
        assert!(request.starts_with("POST /operator/sim-swap/v0/check HTTP/1.1\r\n"), "{request}");
        assert_eq!(header(&request, "authorization"), Some("Bearer access"));
        assert_eq!(serde_json::from_str::<Value>(body(&request)).unwrap(), json!({"phoneNumber": "+12025550142", "maxAge": 72}));
    }

    #[tokio::test]
    async fn forwarding_and_recycling_are_asked_where_they_are_named() {
        let (forwarding, recycling) = (Server::start(vec![reply("200 OK", r#"{"active":true}"#)]), Server::start(vec![reply("200 OK", r#"{"phoneNumChanged":true}"#)]));
        let swap = Server::start(vec![reply("200 OK", r#"{"swapped":false}"#)]);
        let mut camara = Camara::new(CamaraConfig {
            call_forwarding: Some("/call-forwarding-signal/v0.3/unconditional-call-forwardings".into()), number_recycling: Some("/number-recycling/v0/check".into()), ..config(&swap.address)
        }).unwrap();
        // Each at a server of its own, because the three are asked at once.
        camara.call_forwarding = Url::parse(&format!("http://{}/unconditional-call-forwardings", forwarding.address)).ok();
        camara.number_recycling = Url::parse(&format!("http://{}/check", recycling.address)).ok();
        let known = camara.ask(&E164::parse("+12025550142").unwrap(), NOW).await.unwrap();
        assert_eq!(known, Known { line: None, sim: Sim::Quiet, reassigned: true, forwarded: true });
        assert_eq!(serde_json::from_str::<Value>(body(&recycling.only())).unwrap()["specifiedDate"], "2026-03-03");
    }

    #[tokio::test]
    async fn a_number_of_another_operator_is_not_known_and_nonsense_is_a_failure() {
        assert_eq!(asked(reply("404 Not Found", "{}")).await, Ok(Known::default()));
        assert_eq!(asked(reply("422 No", "{}")).await, Ok(Known::default()));
        for bad in ["", "true", r#"{"swapped":"yes"}"#, "{}"] {
            assert_eq!(asked(reply("200 OK", bad)).await, Err(IntelError::Nonsense), "{bad}");
        }
        assert_eq!(asked(reply("401 No", "{}")).await, Err(IntelError::Refused(401)));
        assert_eq!(asked(Reply::Raw("HTTP/1.1 307 Away\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n".into())).await, Err(IntelError::Refused(307)));
    }

    #[test]
    fn no_path_leads_away_from_the_operator() {
        for path in ["https://evil.example.com/", "//evil.example.com/check", "@evil.example.com/check", "check", ""] {
            let leads = Camara::new(CamaraConfig { sim_swap: path.into(), ..config("127.0.0.1:9") });
            // Two slashes after a path stay below it.
            assert!(leads.is_err() || leads.is_ok_and(|c| c.sim_swap.host_str() == Some("127.0.0.1")), "{path}");
        }
        assert!(Camara::new(CamaraConfig { base_url: "http://operator.example.com".into(), ..config("127.0.0.1:9") }).is_err());
    }
}
