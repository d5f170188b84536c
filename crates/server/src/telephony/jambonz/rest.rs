//! jambonz's REST API: moves live calls and makes new ones.

use async_trait::async_trait;
use countersign_core::{
    secret::{E164, Secret},
    time::Span,
};
use reqwest::{Client, Method, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Sid;
use crate::outbox::{
    http::{Failure, client, endpoint, exchange, is_name},
    provider::{Channel, Outgoing, Provider, SOON, Sent, SetupError, reason},
};

/// Where the hosted service's API is.
pub const API_URL: &str = "https://api.jambonz.cloud";
/// Longest time for one request.
const TIMEOUT: Span = Span::seconds(10);
/// Seconds that a telephone rings: shorter than most mailboxes take to answer.
const RINGS: u8 = 25;

/// The API, for one account.
pub struct Rest {
    client: Client,
    calls: Url,
    key: Secret,
    from: E164,
    /// The addresses that are asked about a call of ours: when it is answered, and how it went.
    ours: Ours,
}

/// Makes the two addresses for a call.
type Ours = Box<dyn Fn(&str) -> Option<(String, String)> + Send + Sync>;

/// Why jambonz did not do it. A constant, for logs.
pub type Why = &'static str;

impl Rest {
    /// Checks the settings; connects to nothing.
    ///
    /// # Errors
    /// An account or address that is none, or no key.
    pub fn new(
        api_url: &str, account_sid: &str, key: Secret, from: E164, ours: impl Fn(&str) -> Option<(String, String)> + Send + Sync + 'static,
    ) -> Result<Self, SetupError> {
        let account = Sid::parse(account_sid).ok_or_else(|| SetupError::setting("jambonz.account_sid", "must be the account's id as the portal shows it: 8-4-4-4-12 hexadecimal digits"))?;
        if key.is_empty() {
            return Err(SetupError::setting("jambonz.api_key_file", "holds no key: make one in the portal, under the account's API keys"));
        }
        let base = endpoint("jambonz.api_url", api_url.trim_end_matches('/'))?;
        let client = client(&base, TIMEOUT)?;
        let calls = base.join(&format!("/v1/Accounts/{}/Calls", account.as_str()))
            .map_err(|_| SetupError::setting("jambonz.api_url", "cannot be the start of an address: write https://api.example.com"))?;
        Ok(Self { client, calls, key, from, ours: Box::new(ours) })
    }

    /// Sends a live call to new instructions: jambonz asks this absolute address for verbs. Harmless when
    /// repeated.
    ///
    /// # Errors
    /// Why not.
    pub async fn redirect(&self, sid: &Sid, url: &str) -> Result<(), Why> {
        let mut to = self.calls.clone();
        to.path_segments_mut().map_err(|()| reason::MALFORMED)?.push(sid.as_str());
        match self.request(Method::PUT, to, &json!({ "call_hook": hook(url) })).await {
            Outcome::Done(_) => Ok(()),
            Outcome::Refused(why) | Outcome::NotNow(why) | Outcome::Unknown(why) => Err(why),
        }
    }

    /// Rings an agent; once answered, jambonz asks the first address for verbs. Never repeat it when it is
    /// not known whether it rings.
    ///
    /// # Errors
    /// Why not.
    pub async fn dial_agent(&self, to: &E164, url: &str, status: &str) -> Result<(), Why> {
        match self.dial(to, url, status).await {
            Outcome::Done(_) => Ok(()),
            Outcome::Refused(why) | Outcome::NotNow(why) | Outcome::Unknown(why) => Err(why),
        }
    }

    async fn dial(&self, to: &E164, url: &str, status: &str) -> Outcome {
        let call = json!({
            "from": self.from.expose(), "to": { "type": "phone", "number": to.expose() }, "call_hook": hook(url), "call_status_hook": hook(status), "timeout": RINGS,
        });
        self.request(Method::POST, self.calls.clone(), &call).await
    }

    async fn request(&self, method: Method, url: Url, body: &Value) -> Outcome {
        match exchange(self.client.request(method, url).bearer_auth(self.key.expose()).json(body)).await {
            Ok(answer) => match answer.status.as_u16() {
                200..=299 => Outcome::Done(answer.json::<Made>().and_then(|made| made.sid).filter(|sid| is_name(sid))),
                429 => Outcome::NotNow(reason::BUSY),
                408 => Outcome::Unknown(reason::NO_ANSWER),
                300..=399 => Outcome::Refused(reason::REDIRECTED),
                401 | 403 => Outcome::Refused(reason::CREDENTIALS),
                404 => Outcome::Refused(reason::NOT_FOUND),
                400..=499 => Outcome::Refused(reason::REFUSED),
                _ => Outcome::Unknown(reason::PROVIDER_FAILED),
            },
            Err(Failure::NotSent) => Outcome::NotNow(reason::NO_CONNECTION),
            Err(Failure::NoAnswer) => Outcome::Unknown(reason::NO_ANSWER),
        }
    }
}

enum Outcome {
    Done(Option<String>),
    Refused(Why),
    NotNow(Why),
    Unknown(Why),
}

#[derive(Deserialize)]
struct Made {
    sid: Option<String>,
}

fn hook(url: &str) -> Value { json!({ "url": url, "method": "POST" }) }

/// Rings customers. Texts and read-out codes go another way.
#[async_trait]
impl Provider for Rest {
    fn name(&self) -> &'static str { super::NAME }
    fn channels(&self) -> &[Channel] { &[Channel::Ring] }

    async fn send(&self, m: &Outgoing) -> Sent {
        if m.channel != Channel::Ring {
            return Sent::Rejected { reason: reason::WRONG_CHANNEL };
        }
        if m.interrupted {
            return Sent::Unknown { reason: reason::INTERRUPTED };
        }
        let Ok(to) = E164::parse(m.to.expose()) else { return Sent::Rejected { reason: reason::INVALID_NUMBER } };
        let Some((answered, status)) = (self.ours)(m.text.expose()) else { return Sent::Rejected { reason: reason::MALFORMED } };
        match self.dial(&to, &answered, &status).await {
            Outcome::Done(reference) => Sent::Accepted { reference },
            Outcome::Refused(reason) => Sent::Rejected { reason },
            Outcome::NotNow(reason) => Sent::Retry { after: SOON, reason },
            Outcome::Unknown(reason) => Sent::Unknown { reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use countersign_core::{id::MessageId, prompt::Lang};

    use super::*;
    use crate::outbox::http::testing::{Reply, Server, body, header, nobody, reply};

    const ACCOUNT: &str = "0a1b2c3d-0000-4000-8000-00000000000a";
    const LEG: &str = "0a1b2c3d-0000-4000-8000-00000000000c";

    fn rest(address: &str) -> Rest {
        let ours = |call: &str| call.starts_with("call_").then(|| (format!("https://cs.example/answered?call={call}"), format!("https://cs.example/status?call={call}")));
        Rest::new(&format!("http://{address}"), ACCOUNT, Secret::new("a-key"), E164::parse("+12025550100").unwrap(), ours).unwrap()
    }

    fn ring(channel: Channel) -> Outgoing {
        Outgoing { id: MessageId([1; 16]), channel, to: "+12025550142".into(), subject: None, text: "call_0".into(), lang: Lang::En, interrupted: false }
    }

    #[tokio::test]
    async fn a_call_is_moved() {
        let server = Server::start(vec![reply("202 Accepted", "")]);
        rest(&server.address).redirect(&Sid::parse(LEG).unwrap(), "https://cs.example/now?n=1").await.unwrap();
        let request = server.only();
        assert!(request.starts_with(&format!("PUT /v1/Accounts/{ACCOUNT}/Calls/{LEG} HTTP/1.1\r\n")), "{request}");
        assert_eq!(header(&request, "authorization"), Some("Bearer a-key"));
        let sent: Value = serde_json::from_str(body(&request)).unwrap();
        assert_eq!(sent, json!({ "call_hook": { "url": "https://cs.example/now?n=1", "method": "POST" } }));
    }

    #[tokio::test]
    async fn a_customer_is_rung_once() {
        let server = Server::start(vec![reply("201 Created", &format!(r#"{{"sid":"{LEG}"}}"#))]);
        assert_eq!(rest(&server.address).send(&ring(Channel::Ring)).await, Sent::Accepted { reference: Some(LEG.into()) });
        let sent: Value = serde_json::from_str(body(&server.only())).unwrap();
        assert_eq!(sent, json!({
            "from": "+12025550100", "to": { "type": "phone", "number": "+12025550142" }, "timeout": 25,
            "call_hook": { "url": "https://cs.example/answered?call=call_0", "method": "POST" },
            "call_status_hook": { "url": "https://cs.example/status?call=call_0", "method": "POST" },
        }));
        for (answer, want) in [
            (reply("500 Oops", ""), Sent::Unknown { reason: reason::PROVIDER_FAILED }), (Reply::Cut, Sent::Unknown { reason: reason::NO_ANSWER }),
            (reply("401 No", ""), Sent::Rejected { reason: reason::CREDENTIALS }), (reply("302 There", ""), Sent::Rejected { reason: reason::REDIRECTED }),
            (reply("429 Slow", ""), Sent::Retry { after: SOON, reason: reason::BUSY }),
        ] {
            let server = Server::start(vec![answer]);
            assert_eq!(rest(&server.address).send(&ring(Channel::Ring)).await, want);
        }
        assert_eq!(rest(&nobody()).send(&ring(Channel::Ring)).await, Sent::Retry { after: SOON, reason: reason::NO_CONNECTION });
        assert_eq!(rest(&nobody()).send(&Outgoing { interrupted: true, ..ring(Channel::Ring) }).await, Sent::Unknown { reason: reason::INTERRUPTED });
        assert_eq!(rest(&nobody()).send(&ring(Channel::Sms)).await, Sent::Rejected { reason: reason::WRONG_CHANNEL });
    }

    #[test]
    fn settings_are_checked() {
        let new = |url: &str, account: &str, key: &str| Rest::new(url, account, Secret::new(key), E164::parse("+12025550100").unwrap(), |_| None).map(|_| ());
        assert!(new("https://api.example.com", ACCOUNT, "k").is_ok());
        for (url, account, key) in [("http://api.example.com", ACCOUNT, "k"), ("https://api.example.com", "../x", "k"), ("https://api.example.com", ACCOUNT, "")] {
            assert!(new(url, account, key).is_err(), "{url} {account}");
        }
    }
}
