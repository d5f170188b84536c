//! A provider of the operator's own: one POST of JSON per message, to one address.
//!
//! ```text
//! POST <url>
//! Idempotency-Key: msg_…
//! Countersign-Signature: t=<unix seconds>,v1=<hex of HMAC-SHA256(secret, "<t>." + body)>
//! {"id":"msg_…","channel":"sms","to":"+12025550142","subject":null,"text":"…","lang":"en"}
//! ```
//! The receiver refuses signatures older than five minutes and must carry out a key once only: the
//! same key always comes with the same body, and may come again after any failure, even days later.
//! Any 2xx takes the message, and may name it: `{"reference":"…"}`. 408, 409, 425, 429 and 5xx ask
//! for another try (`Retry-After` in seconds is heeded). Any other 4xx is final, and may say why:
//! `{"reason":"opted_out"}`, out of [`SAYABLE`].

use std::time::Duration;

use async_trait::async_trait;
use countersign_core::{id::MessageId, secret::Secret, time::{Span, Timestamp}};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::{Client, RequestBuilder, StatusCode, Url, header, redirect};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::provider::{Channel, Clock, Outgoing, Provider, SOON, Sent, SetupError, is_loopback, reason};

/// Name of the header that carries the signature.
pub const SIGNATURE: &str = "Countersign-Signature";
/// Reasons that a receiver may give for a refusal; any other becomes [`reason::REFUSED`].
pub const SAYABLE: [&str; 8] = [
    reason::OPTED_OUT, reason::INVALID_NUMBER, reason::INVALID_ADDRESS, reason::NOT_MOBILE, reason::UNREACHABLE,
    reason::FILTERED, reason::COUNTRY_OFF, reason::TOO_LONG,
];

/// Fewest characters of the signing secret.
const SECRET_LENGTH: usize = 16;
/// Most bytes of an answer that are read.
const MAX_ANSWER: usize = 64 * 1024;
/// Longest that a provider may make us wait.
const LONGEST_WAIT: Span = Span::minutes(30);

/// Settings of [`Http`].
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Where messages are posted: https, or http on this machine.
    pub url: String,
    /// The secret that signs them, at least 16 characters.
    pub secret: Secret,
    /// What it carries.
    pub channels: Vec<Channel>,
    /// Longest time for one attempt.
    pub timeout: Span,
}

/// The operator's own provider.
pub struct Http {
    client: Client,
    url: Url,
    secret: Secret,
    channels: Vec<Channel>,
    now: Clock,
}

impl Http {
    /// Checks the settings; connects to nothing.
    pub fn new(config: HttpConfig, now: Clock) -> Result<Self, SetupError> {
        if config.secret.expose().len() < SECRET_LENGTH {
            return Err(SetupError::setting("messages.secret_file", "must hold at least 16 characters: openssl rand -hex 32"));
        }
        let url = endpoint("messages.url", &config.url)?;
        let client = client(&url, config.timeout)?;
        Ok(Self { client, url, secret: config.secret, channels: config.channels, now })
    }
}

#[async_trait]
impl Provider for Http {
    fn name(&self) -> &'static str { "http" }
    fn channels(&self) -> &[Channel] { &self.channels }

    async fn send(&self, m: &Outgoing) -> Sent {
        if !self.channels.contains(&m.channel) {
            return Sent::Rejected { reason: reason::WRONG_CHANNEL };
        }
        let wire = Wire {
            id: m.id, channel: m.channel.name(), to: m.to.expose(), subject: m.subject.as_deref(),
            text: m.text.expose(), lang: m.lang.code(),
        };
        let Ok(body) = serde_json::to_vec(&wire) else { return Sent::Rejected { reason: reason::MALFORMED } };
        let Some(signature) = signature(&self.secret, (self.now)(), &body) else {
            return Sent::Rejected { reason: reason::MALFORMED };
        };
        let request = self.client.post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header("Idempotency-Key", m.id.to_string())
            .header(SIGNATURE, signature)
            .body(body);
        match exchange(request).await {
            Ok(answer) => judge(&answer),
            // The key makes a repeat harmless, so even a doubtful end may be tried again.
            Err(Failure::NotSent) => Sent::Retry { after: SOON, reason: reason::NO_CONNECTION },
            Err(Failure::NoAnswer) => Sent::Retry { after: SOON, reason: reason::NO_ANSWER },
        }
    }
}

/// The value of the signature header for this body at this time. `None` only if the secret cannot
/// be a key.
pub fn signature(secret: &Secret, at: Timestamp, body: &[u8]) -> Option<String> {
    let t = at.unix();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).ok()?;
    mac.update(format!("{t}.").as_bytes());
    mac.update(body);
    Some(format!("t={t},v1={}", hex::encode(mac.finalize().into_bytes())))
}

/// The body. Only what is the same at every attempt may be in it.
#[derive(Serialize)]
struct Wire<'a> {
    id: MessageId,
    channel: &'static str,
    to: &'a str,
    subject: Option<&'a str>,
    text: &'a str,
    lang: &'static str,
}

#[derive(Deserialize)]
struct Taken {
    reference: Option<String>,
}

#[derive(Deserialize)]
struct Refused {
    reason: Option<String>,
}

fn judge(answer: &Answer) -> Sent {
    let again = |reason| Sent::Retry { after: answer.retry_after.unwrap_or(SOON), reason };
    match answer.status.as_u16() {
        200..=299 => Sent::Accepted { reference: answer.json::<Taken>().and_then(|t| t.reference).filter(|r| is_name(r)) },
        300..=399 => Sent::Rejected { reason: reason::REDIRECTED },
        408 | 409 | 425 | 429 => again(reason::BUSY),
        401 | 403 => Sent::Rejected { reason: reason::CREDENTIALS },
        404 | 405 | 410 => Sent::Rejected { reason: reason::NOT_FOUND },
        400..=499 => {
            let said = answer.json::<Refused>().and_then(|r| r.reason);
            let known = SAYABLE.into_iter().find(|r| said.as_deref() == Some(*r));
            Sent::Rejected { reason: known.unwrap_or(reason::REFUSED) }
        }
        _ => again(reason::PROVIDER_FAILED),
    }
}

/// Whether a provider's name for a message has the shape of one: it is logged.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=100).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b))
}

/// An address to post to: https, or http on this machine; no user name in it.
pub(crate) fn endpoint(setting: &'static str, text: &str) -> Result<Url, SetupError> {
    let bad = |rule| SetupError::setting(setting, rule);
    let url = Url::parse(text).map_err(|_| bad("is not an address: write https://messages.example.com/send"))?;
    let host = url.host_str().ok_or_else(|| bad("names no host: write https://messages.example.com/send"))?;
    if !(url.scheme() == "https" || url.scheme() == "http" && is_loopback(host)) {
        return Err(bad("must be https: codes and numbers would cross the network in clear"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("must not hold a user name or password: they would end up in logs"));
    }
    Ok(url)
}

/// A client that never acts twice by itself: no redirects, no repeats.
pub(crate) fn client(url: &Url, timeout: Span) -> Result<Client, SetupError> {
    let timeout = millis(timeout);
    let mut builder = Client::builder()
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .http1_only()
        // An idle connection may be closed under a request, which then has an unknown outcome. One
        // handshake per message is the cheaper of the two.
        .pool_max_idle_per_host(0)
        // Within the whole, so that a slow connect is seen as one: nothing was sent then.
        .connect_timeout(timeout / 2)
        .timeout(timeout)
        .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")));
    builder = if url.host_str().is_some_and(is_loopback) { builder.no_proxy() } else { builder.https_only(true) };
    builder.build().map_err(|_| SetupError::Tls)
}

/// How an exchange failed. The library's error is dropped: it quotes addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The request certainly did not leave.
    NotSent,
    /// The request may have been carried out.
    NoAnswer,
}

/// An answer, as far as it was read.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<Span>,
    /// `None`: cut off or too long.
    body: Option<Vec<u8>>,
}

impl Answer {
    pub(crate) fn json<'de, T: Deserialize<'de>>(&'de self) -> Option<T> {
        self.body.as_deref().and_then(|body| serde_json::from_slice(body).ok())
    }
}

/// Sends once and reads what comes back.
pub(crate) async fn exchange(request: RequestBuilder) -> Result<Answer, Failure> {
    let mut response = request.send().await.map_err(|e| {
        if e.is_connect() || e.is_builder() { Failure::NotSent } else { Failure::NoAnswer }
    })?;
    let retry_after = response.headers().get(header::RETRY_AFTER)
        .and_then(|v| v.to_str().ok()?.trim().parse::<u32>().ok())
        .map(|s| Span::seconds(i64::from(s)).clamp(Span::seconds(1), LONGEST_WAIT));
    let status = response.status();
    let mut body = Some(Vec::new());
    loop {
        match response.chunk().await {
            Ok(None) => break,
            Ok(Some(chunk)) if body.as_ref().is_some_and(|b| b.len() + chunk.len() <= MAX_ANSWER) => {
                body.iter_mut().for_each(|b| b.extend_from_slice(&chunk));
            }
            Ok(Some(_)) | Err(_) => {
                body = None;
                break;
            }
        }
    }
    Ok(Answer { status, retry_after, body })
}

pub(crate) fn millis(span: Span) -> Duration { Duration::from_millis(u64::try_from(span.0).unwrap_or(0).max(1)) }

/// A small scripted HTTP server on this machine, for the tests of this folder.
#[cfg(test)]
pub(crate) mod testing {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        sync::{Arc, Mutex},
        time::Duration,
    };

    pub enum Reply {
        /// Reads the request and answers with this, byte for byte.
        Raw(String),
        /// Reads the request and closes.
        Cut,
        /// Reads the request and never answers.
        Silent,
        /// Answers without reading.
        Garbage,
    }

    pub fn reply(status: &str, body: &str) -> Reply {
        Reply::Raw(format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()))
    }

    pub struct Server {
        pub address: String,
        pub requests: Arc<Mutex<Vec<String>>>,
    }

    impl Server {
        pub fn start(replies: Vec<Reply>) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let requests = Arc::new(Mutex::new(Vec::new()));
            let seen = Arc::clone(&requests);
            std::thread::spawn(move || {
                for reply in replies {
                    let (mut stream, _) = listener.accept().unwrap();
                    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                    if matches!(reply, Reply::Garbage) {
                        stream.write_all(b"this is not TLS\r\n\r\n").unwrap();
                        let _ = stream.read(&mut [0; 4096]);
                        continue;
                    }
                    seen.lock().unwrap().push(request(&mut stream));
                    match reply {
                        Reply::Raw(text) => stream.write_all(text.as_bytes()).unwrap(),
                        Reply::Silent => std::mem::forget(stream),
                        Reply::Cut | Reply::Garbage => {}
                    }
                }
            });
            Self { address, requests }
        }
        pub fn only(&self) -> String {
            let requests = self.requests.lock().unwrap();
            assert_eq!(requests.len(), 1);
            requests[0].clone()
        }
        pub fn count(&self) -> usize { self.requests.lock().unwrap().len() }
    }

    /// An address where nobody listens.
    pub fn nobody() -> String {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
    }

    pub fn body(request: &str) -> &str { request.split_once("\r\n\r\n").unwrap().1 }

    /// The value of a header, by its lower-case name.
    pub fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
        let head = request.split_once("\r\n\r\n").unwrap().0;
        head.lines().filter_map(|l| l.split_once(": ")).find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v)
    }

    fn request(stream: &mut impl Read) -> String {
        let mut all = Vec::new();
        let mut part = [0; 4096];
        loop {
            let text = String::from_utf8_lossy(&all).into_owned();
            if let Some((_, body)) = text.split_once("\r\n\r\n") {
                let length: usize = header(&text, "content-length").map_or(0, |v| v.parse().unwrap());
                if body.len() >= length {
                    return text;
                }
            }
            let n = stream.read(&mut part).unwrap();
            assert!(n > 0, "the client closed in mid request");
            all.extend_from_slice(&part[..n]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use countersign_core::prompt::Lang;

    use super::{testing::{Reply, Server, body, header, nobody, reply}, *};

    const SECRET: &str = "0123456789abcdef";

    fn provider(url: &str, timeout: Span) -> Http {
        let config = HttpConfig { url: url.into(), secret: Secret::new(SECRET), channels: vec![Channel::Sms, Channel::Voice], timeout };
        Http::new(config, Arc::new(|| Timestamp(1_700_000_000_999))).unwrap()
    }

    fn message() -> Outgoing {
        Outgoing {
            id: MessageId([0xab; 16]), channel: Channel::Sms, to: Secret::new("+12025550142"), subject: None,
            text: Secret::new("code \"482913\""), lang: Lang::De, interrupted: false,
        }
    }

    async fn answered(r: Reply) -> Sent {
        let server = Server::start(vec![r]);
        provider(&format!("http://{}/send", server.address), Span::seconds(10)).send(&message()).await
    }

    #[tokio::test]
    async fn a_message_is_posted_signed_and_keyed() {
        let server = Server::start(vec![reply("202 Accepted", r#"{"reference":"abc-1"}"#)]);
        let sent = provider(&format!("http://{}/send?x=1", server.address), Span::seconds(10)).send(&message()).await;
        assert_eq!(sent, Sent::Accepted { reference: Some("abc-1".into()) });
        let request = server.only();
        assert!(request.starts_with("POST /send?x=1 HTTP/1.1\r\n"), "{request}");
        let id = "msg_abababababababababababababababab";
        assert_eq!(header(&request, "idempotency-key"), Some(id));
        assert_eq!(header(&request, "content-type"), Some("application/json"));
        let sent = format!(r#"{{"id":"{id}","channel":"sms","to":"+12025550142","subject":null,"text":"code \"482913\"","lang":"de"}}"#);
        assert_eq!(body(&request), sent);
        let expected = signature(&Secret::new(SECRET), Timestamp(1_700_000_000_000), sent.as_bytes());
        assert_eq!(header(&request, "countersign-signature"), expected.as_deref());
    }

    #[test]
    fn the_signature_is_an_hmac_over_time_and_body() {
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac 0123456789abcdef
        assert_eq!(signature(&Secret::new(SECRET), Timestamp(1_700_000_000_999), b"{}").unwrap(), "t=1700000000,v1=e4f8e2ecae2295b2ddb2f0b5584c8275e226c0ebe9b3b819e70156bb67122e3e");
    }

    #[tokio::test]
    async fn answers_are_judged_by_their_status() {
        let none = Sent::Accepted { reference: None };
        assert_eq!(answered(reply("200 OK", "")).await, none);
        assert_eq!(answered(reply("200 OK", r#"{"reference":"<b> +1202"}"#)).await, none);
        for (status, text, reason) in [
            ("400 Bad Request", "", reason::REFUSED), ("422 No", r#"{"reason":"opted_out"}"#, reason::OPTED_OUT),
            ("422 No", r#"{"reason":"the number +12025550142"}"#, reason::REFUSED), ("401 No", "", reason::CREDENTIALS),
            ("404 No", "", reason::NOT_FOUND),
        ] {
            assert_eq!(answered(reply(status, text)).await, Sent::Rejected { reason }, "{status}");
        }
        for (status, reason) in [("409 Conflict", reason::BUSY), ("429 Slow", reason::BUSY), ("500 Oops", reason::PROVIDER_FAILED), ("503 Oops", reason::PROVIDER_FAILED)] {
            assert_eq!(answered(reply(status, "")).await, Sent::Retry { after: SOON, reason }, "{status}");
        }
        let slow = |s: &str| Reply::Raw(format!("HTTP/1.1 429 Slow\r\nRetry-After: {s}\r\nContent-Length: 0\r\n\r\n"));
        for (header, after) in [("77", Span::seconds(77)), ("0", Span::seconds(1)), ("999999", LONGEST_WAIT), ("soon", SOON)] {
            assert_eq!(answered(slow(header)).await, Sent::Retry { after, reason: reason::BUSY }, "{header}");
        }
    }

    #[tokio::test]
    async fn doubtful_ends_are_tried_again_under_the_same_key() {
        assert_eq!(answered(Reply::Cut).await, Sent::Retry { after: SOON, reason: reason::NO_ANSWER });
        assert_eq!(answered(Reply::Raw("nonsense\r\n\r\n".into())).await, Sent::Retry { after: SOON, reason: reason::NO_ANSWER });
        let server = Server::start(vec![Reply::Silent, reply("200 OK", "")]);
        let url = format!("http://{}/send", server.address);
        assert_eq!(provider(&url, Span(1500)).send(&message()).await, Sent::Retry { after: SOON, reason: reason::NO_ANSWER });
        let again = Outgoing { interrupted: true, ..message() };
        assert_eq!(provider(&url, Span::seconds(10)).send(&again).await, Sent::Accepted { reference: None });
        let requests = server.requests.lock().unwrap();
        assert_eq!(body(&requests[0]), body(&requests[1]));
        assert_eq!(header(&requests[0], "idempotency-key"), header(&requests[1], "idempotency-key"));
    }

    #[tokio::test]
    async fn no_connection_is_no_message() {
        let none = Sent::Retry { after: SOON, reason: reason::NO_CONNECTION };
        assert_eq!(provider(&format!("http://{}/", nobody()), Span::seconds(10)).send(&message()).await, none);
        let server = Server::start(vec![Reply::Garbage]);
        assert_eq!(provider(&format!("https://{}/", server.address), Span::seconds(10)).send(&message()).await, none);
    }

    #[tokio::test]
    async fn redirects_are_not_followed() {
        let other = Server::start(vec![reply("200 OK", "")]);
        let to = Reply::Raw(format!("HTTP/1.1 307 Elsewhere\r\nLocation: http://{}/\r\nContent-Length: 0\r\n\r\n", other.address));
        assert_eq!(answered(to).await, Sent::Rejected { reason: reason::REDIRECTED });
        assert_eq!(other.count(), 0);
    }

    #[tokio::test]
    async fn a_long_answer_is_not_kept() {
        let long = "x".repeat(MAX_ANSWER + 1);
        assert_eq!(answered(reply("200 OK", &long)).await, Sent::Accepted { reference: None });
    }

    #[tokio::test]
    async fn a_channel_it_does_not_carry_is_refused() {
        let email = Outgoing { channel: Channel::Email, ..message() };
        let sent = provider(&format!("http://{}/", nobody()), Span::seconds(1)).send(&email).await;
        assert_eq!(sent, Sent::Rejected { reason: reason::WRONG_CHANNEL });
    }

    #[test]
    fn unsafe_settings_are_refused() {
        let make = |url: &str, secret: &str| {
            let config = HttpConfig { url: url.into(), secret: Secret::new(secret), channels: vec![], timeout: Span::seconds(1) };
            Http::new(config, Arc::new(|| Timestamp(0))).err()
        };
        assert_eq!(make("https://m.example/send", SECRET), None);
        assert_eq!(make("http://[::1]:1/send", SECRET), None);
        for url in ["http://m.example/send", "http://127.0.0.1.m.example/", "ftp://127.0.0.1/", "m.example", "", "https://u:p@m.example/", "http://10.0.0.1/"] {
            assert!(matches!(make(url, SECRET), Some(SetupError::Setting { setting: "messages.url", .. })), "{url}");
        }
        let error = make("https://m.example/", "short").unwrap();
        assert!(error.to_string().contains("16 characters") && !error.to_string().contains("short"), "{error}");
    }
}
