//! Texts, read-out codes and moves of live calls through Twilio's REST API (2010-04-01).
//!
//! Messages and calls have no idempotency key there. So what may have reached Twilio is
//! [`Sent::Unknown`] and never sent again; only what certainly did not leave, and 429, may be.
//!
//! Twilio keeps texts and the TwiML of calls in its logs: codes are short-lived and single-use for
//! that reason too. Deleting or redacting them there is a setting of the account.

use async_trait::async_trait;
use countersign_core::{
    id::MessageId,
    secret::{E164, Secret},
    time::Span,
};
use reqwest::{Client, Url};
use serde::Deserialize;

use super::{
    http::{Answer, Failure, client, endpoint, exchange, is_name},
    provider::{Channel, Outgoing, Provider, SOON, Sent, SetupError, reason},
};
use crate::telephony::twilio::{form::CallSid, twiml};

/// Where Twilio's API is.
pub const BASE_URL: &str = "https://api.twilio.com";
/// Longest time for one request.
pub const TIMEOUT: Span = Span::seconds(10);
/// The query parameter of the status callback that names the message.
pub const MESSAGE_PARAMETER: &str = "message";

/// The query parameter that names a call of ours.
pub const CALL_PARAMETER: &str = "call";
/// The last part of the address that is asked when a call of ours is answered.
pub const ANSWERED: &str = "answered";

/// Most characters of a text message (Twilio's error 21617).
const MAX_TEXT: usize = 1600;
/// Most characters of the `Twiml` parameter.
const MAX_TWIML: usize = 4000;
/// Seconds that a telephone rings: shorter than most mailboxes take to answer.
const RINGS: &str = "25";

/// Settings of [`Twilio`].
#[derive(Debug, Clone)]
pub struct TwilioConfig {
    /// `AC` and 32 hexadecimal digits.
    pub account_sid: String,
    /// The account's auth token.
    pub auth_token: Secret,
    /// The number that texts and calls come from.
    pub from: E164,
    /// [`BASE_URL`], or a server on this machine in tests.
    pub base_url: String,
    /// Where Twilio reports how a message fared, absolute; the message's id is added to its query.
    pub status_url: Option<String>,
    /// Longest time for one request; [`TIMEOUT`] unless in tests.
    pub timeout: Span,
}

/// Twilio, as a carrier of messages and as the way to move live calls.
pub struct Twilio {
    client: Client,
    account: Url,
    account_sid: String,
    auth_token: Secret,
    from: E164,
    status_url: Option<Url>,
}

/// Why a live call could not be moved, or an agent not be rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LiveError {
    /// The call is over, or never was.
    #[error("the call is over")]
    Gone,
    /// Twilio did not get it, or wants us to slow down: it may be tried again after this time.
    #[error("Twilio could not be reached or is busy ({reason}): try again")]
    NotNow {
        /// How long to wait, in milliseconds.
        after: Span,
        /// Why, out of [`reason`].
        reason: &'static str,
    },
    /// Twilio refuses. Trying again would not help.
    #[error("Twilio refused ({reason})")]
    Refused {
        /// Why, out of [`reason`].
        reason: &'static str,
    },
    /// It may have happened or not. A move may be repeated, it does no harm; a ring may not.
    #[error("Twilio did not say what became of it ({reason})")]
    Unknown {
        /// Why, out of [`reason`].
        reason: &'static str,
    },
}

/// What an account's name has to be.
pub const ACCOUNT_FORM: &str = "must be AC and 32 hexadecimal digits: copy it from Twilio's console";

/// Whether this is the name of an account.
pub fn is_account(sid: &str) -> bool { sid.strip_prefix("AC").is_some_and(|digits| digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit())) }

impl Twilio {
    /// Checks the settings; connects to nothing.
    pub fn new(config: TwilioConfig) -> Result<Self, SetupError> {
        if !is_account(&config.account_sid) {
            return Err(SetupError::setting("twilio.account_sid", ACCOUNT_FORM));
        }
        if config.auth_token.is_empty() {
            return Err(SetupError::setting("twilio.auth_token_file", "holds no auth token: copy it from Twilio's console"));
        }
        let base = endpoint("twilio.base_url", config.base_url.trim_end_matches('/'))?;
        let status_url = config.status_url.as_deref().map(|url| endpoint("listen.public_url", url)).transpose()?;
        let client = client(&base, config.timeout)?;
        let account = base.join(&format!("/2010-04-01/Accounts/{}/", config.account_sid))
            .map_err(|_| SetupError::setting("twilio.base_url", "cannot be the start of an address: leave it out"))?;
        Ok(Self { client, account, account_sid: config.account_sid, auth_token: config.auth_token, from: config.from, status_url })
    }

    /// Sends a live call to new instructions: Twilio asks this absolute URL for TwiML. Harmless when
    /// repeated.
    pub async fn redirect(&self, call_sid: &str, url: &str) -> Result<(), LiveError> {
        self.live(&call_path(call_sid)?, &[("Url", url), ("Method", "POST")]).await.map(|_| ())
    }

    /// Ends a call. Harmless when repeated; a call that is already over is a success.
    pub async fn hang_up(&self, call_sid: &str) -> Result<(), LiveError> {
        match self.live(&call_path(call_sid)?, &[("Status", "completed")]).await {
            Ok(_) | Err(LiveError::Gone) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Rings an agent; once answered, Twilio asks this absolute URL for TwiML. Never repeat it after
    /// [`LiveError::Unknown`]: the telephone may be ringing.
    pub async fn dial_agent(&self, to: &E164, twiml_url: &str) -> Result<CallSid, LiveError> {
        let form = [("To", to.expose()), ("From", self.from.expose()), ("Url", twiml_url), ("Method", "POST"), ("Timeout", RINGS)];
        let sid = self.live("Calls.json", &form).await?;
        CallSid::parse(&sid).map_err(|_| LiveError::Unknown { reason: reason::BROKEN_ANSWER })
    }

    async fn live(&self, path: &str, form: &[(&str, &str)]) -> Result<String, LiveError> {
        match self.post(path, form).await {
            Outcome::Done { sid } => Ok(sid),
            Outcome::Refused { code: Some(GONE), .. } | Outcome::Refused { status: 404, .. } => Err(LiveError::Gone),
            Outcome::Refused { code, status } => Err(LiveError::Refused { reason: refusal(code, status) }),
            Outcome::NotNow { after, reason } => Err(LiveError::NotNow { after, reason }),
            Outcome::Unknown { reason } => Err(LiveError::Unknown { reason }),
        }
    }

    /// The account's name.
    pub fn account(&self) -> &str { &self.account_sid }

    /// One POST below the account; `path` holds nothing but our own literals and checked names.
    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Outcome {
        let Ok(url) = self.account.join(path) else { return Outcome::Refused { code: None, status: 400 } };
        let request = self.client.post(url).basic_auth(&self.account_sid, Some(self.auth_token.expose())).form(form);
        match exchange(request).await {
            Ok(answer) => judge(&answer),
            Err(Failure::NotSent) => Outcome::NotNow { after: SOON, reason: reason::NO_CONNECTION },
            Err(Failure::NoAnswer) => Outcome::Unknown { reason: reason::NO_ANSWER },
        }
    }

    /// Where Twilio asks what to say once a call of ours is answered: beside the status address.
    fn answer_url(&self, call: &str) -> Option<String> {
        let mut url = self.status_url.as_ref()?.join(ANSWERED).ok()?;
        url.query_pairs_mut().append_pair(CALL_PARAMETER, call);
        Some(url.into())
    }

    fn callback(&self, id: MessageId) -> Option<String> {
        let mut url = self.status_url.clone()?;
        url.query_pairs_mut().append_pair(MESSAGE_PARAMETER, &id.to_string());
        Some(url.into())
    }
}

/// Checked again here, because it becomes part of a path.
fn call_path(call_sid: &str) -> Result<String, LiveError> {
    let sid = CallSid::parse(call_sid).map_err(|_| LiveError::Refused { reason: reason::MALFORMED })?;
    Ok(format!("Calls/{sid}.json"))
}

#[async_trait]
impl Provider for Twilio {
    fn name(&self) -> &'static str { "twilio" }
    fn channels(&self) -> &[Channel] { &[Channel::Sms, Channel::Voice, Channel::Ring] }

    async fn send(&self, m: &Outgoing) -> Sent {
        let rejected = |reason| Sent::Rejected { reason };
        if !self.channels().contains(&m.channel) {
            return rejected(reason::WRONG_CHANNEL);
        }
        if m.interrupted {
            return Sent::Unknown { reason: reason::INTERRUPTED };
        }
        let Ok(to) = E164::parse(m.to.expose()) else { return rejected(reason::INVALID_NUMBER) };
        let (path, words, key, most) = match m.channel {
            Channel::Voice => ("Calls.json", twiml::read_code(m.lang, &m.text), "Twiml", MAX_TWIML),
            Channel::Ring => match self.answer_url(m.text.expose()) {
                Some(url) => ("Calls.json", Secret::new(url), "Url", MAX_TWIML),
                None => return rejected(reason::BAD_SENDER),
            },
            Channel::Sms | Channel::Email => ("Messages.json", m.text.clone(), "Body", MAX_TEXT),
        };
        if words.expose().chars().count() > most {
            return rejected(reason::TOO_LONG);
        }
        let callback = self.callback(m.id);
        let mut form = vec![("To", to.expose()), ("From", self.from.expose()), (key, words.expose())];
        if m.channel != Channel::Sms {
            form.push(("Timeout", RINGS));
        }
        if let Some(url) = &callback {
            form.push(("StatusCallback", url));
        }
        match self.post(path, &form).await {
            Outcome::Done { sid } => Sent::Accepted { reference: Some(sid) },
            Outcome::Refused { code, status } => rejected(refusal(code, status)),
            Outcome::NotNow { after, reason } => Sent::Retry { after, reason },
            Outcome::Unknown { reason } => Sent::Unknown { reason },
        }
    }
}

/// Twilio's "call is not in progress: cannot redirect".
const GONE: u32 = 21220;

enum Outcome {
    Done { sid: String },
    Refused { code: Option<u32>, status: u16 },
    NotNow { after: Span, reason: &'static str },
    Unknown { reason: &'static str },
}

/// What Twilio answers: a message or call, or an error with a code. Its texts quote numbers and are
/// not read.
#[derive(Deserialize)]
struct Resource {
    sid: Option<String>,
    status: Option<serde_json::Value>,
    error_code: Option<u32>,
    code: Option<u32>,
}

fn judge(answer: &Answer) -> Outcome {
    let status = answer.status.as_u16();
    let resource = answer.json::<Resource>();
    match status {
        200..=299 => match resource {
            // Taken and given up at once: nothing went.
            Some(Resource { status: Some(s), error_code: Some(code), .. }) if s == "failed" || s == "undelivered" => {
                Outcome::Refused { code: Some(code), status }
            }
            Some(Resource { sid: Some(sid), .. }) if is_name(&sid) => Outcome::Done { sid },
            _ => Outcome::Unknown { reason: reason::BROKEN_ANSWER },
        },
        429 => Outcome::NotNow { after: answer.retry_after.unwrap_or(SOON), reason: reason::BUSY },
        // Something on the way lost patience, perhaps after Twilio had it all.
        408 => Outcome::Unknown { reason: reason::NO_ANSWER },
        300..=499 => Outcome::Refused { code: resource.and_then(|r| r.code), status },
        _ => Outcome::Unknown { reason: reason::PROVIDER_FAILED },
    }
}

fn refusal(code: Option<u32>, status: u16) -> &'static str {
    let by_status = match status {
        300..=399 => reason::REDIRECTED,
        401 | 403 => reason::CREDENTIALS,
        404 | 405 | 410 => reason::NOT_FOUND,
        _ => reason::REFUSED,
    };
    match code.map(code_reason) {
        None | Some(reason::REFUSED) => by_status,
        Some(known) => known,
    }
}

/// What Twilio's error codes mean to us, in answers and in the `ErrorCode` of status callbacks.
pub fn code_reason(code: u32) -> &'static str {
    match code {
        21610 => reason::OPTED_OUT,
        21211 | 21217 | 21219 | 21401 | 21421 | 30005 => reason::INVALID_NUMBER,
        21614 | 21635 | 30006 => reason::NOT_MOBILE,
        21214 | 21612 | 30003 => reason::UNREACHABLE,
        30004 | 30007 => reason::FILTERED,
        21215 | 21408 => reason::COUNTRY_OFF,
        21210 | 21212 | 21603 | 21606 | 21659 | 21660 | 30024 | 30034 => reason::BAD_SENDER,
        21605 | 21617 => reason::TOO_LONG,
        20003 | 20008 => reason::CREDENTIALS,
        20005 | 30002 => reason::ACCOUNT,
        30000..=30999 => reason::UNDELIVERED,
        _ => reason::REFUSED,
    }
}

#[cfg(test)]
mod tests {
    use countersign_core::prompt::Lang;

    use super::{super::http::testing::{Reply, Server, body, header, nobody, reply}, *};
    use crate::telephony::twilio::form;

    const ACCOUNT: &str = "ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const SID: &str = "CA0123456789abcdef0123456789abcdef";
    const TAKEN: &str = r#"{"sid":"SM0123456789abcdef0123456789abcdef","status":"queued","error_code":null}"#;

    fn config(base_url: String, timeout: Span) -> TwilioConfig {
        TwilioConfig {
            account_sid: ACCOUNT.into(), auth_token: Secret::new("t0ken"), from: E164::parse("+18005551212").unwrap(), base_url,
            status_url: Some("https://cs.example/twilio/status?v=1".into()), timeout,
        }
    }

    fn twilio(address: &str) -> Twilio { Twilio::new(config(format!("http://{address}/"), Span::seconds(10))).unwrap() }

    fn message(channel: Channel) -> Outgoing {
        Outgoing {
            id: MessageId([0xab; 16]), channel, to: Secret::new("+12025550142"), subject: None,
            text: Secret::new("Code 482913 & more"), lang: Lang::Es, interrupted: false,
        }
    }

    async fn answered(r: Reply) -> Sent {
        let server = Server::start(vec![r]);
        twilio(&server.address).send(&message(Channel::Sms)).await
    }

    fn fields(request: &str) -> Vec<(String, String)> { form::parse(body(request).as_bytes()).unwrap() }

    fn owned(list: &[(&str, &str)]) -> Vec<(String, String)> { list.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect() }

    fn sid() -> CallSid { CallSid::parse(SID).unwrap() }

    #[tokio::test]
    async fn a_text_is_posted_with_its_status_callback() {
        let server = Server::start(vec![reply("201 Created", TAKEN)]);
        let sent = twilio(&server.address).send(&message(Channel::Sms)).await;
        assert_eq!(sent, Sent::Accepted { reference: Some("SM0123456789abcdef0123456789abcdef".into()) });
        let request = server.only();
        assert!(request.starts_with(&format!("POST /2010-04-01/Accounts/{ACCOUNT}/Messages.json HTTP/1.1\r\n")), "{request}");
        // base64 of the account SID, a colon and the token.
        assert_eq!(header(&request, "authorization"), Some("Basic QUNhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYTp0MGtlbg=="));
        assert_eq!(fields(&request), owned(&[
            ("To", "+12025550142"), ("From", "+18005551212"), ("Body", "Code 482913 & more"),
            ("StatusCallback", "https://cs.example/twilio/status?v=1&message=msg_abababababababababababababababab"),
        ]));
    }

    #[tokio::test]
    async fn a_code_is_read_out_by_a_call() {
        let server = Server::start(vec![reply("201 Created", &format!(r#"{{"sid":"{SID}","status":"queued"}}"#))]);
        let sent = twilio(&server.address).send(&message(Channel::Voice)).await;
        assert_eq!(sent, Sent::Accepted { reference: Some(SID.into()) });
        let request = server.only();
        assert!(request.contains("/Calls.json HTTP/1.1"), "{request}");
        let fields = fields(&request);
        let get = |name: &str| fields.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        assert!(get("Twiml").unwrap().contains(r#"<Say language="es-ES">Code 4, 8, 2, 9, 1, 3 &amp; more</Say>"#));
        assert!(get("StatusCallback").unwrap().ends_with("message=msg_abababababababababababababababab"));
        assert_eq!(get("Body"), None);
    }

    #[tokio::test]
    async fn refusals_have_their_reasons() {
        let error = |code: u32| reply("400 Bad Request", &format!(r#"{{"code":{code},"message":"The number +12025550142 …","status":400}}"#));
        for (code, reason) in [
            (21610, reason::OPTED_OUT), (21211, reason::INVALID_NUMBER), (21614, reason::NOT_MOBILE), (30003, reason::UNREACHABLE),
            (30006, reason::NOT_MOBILE), (30007, reason::FILTERED), (30999, reason::UNDELIVERED), (21408, reason::COUNTRY_OFF), (12345, reason::REFUSED),
        ] {
            assert_eq!(answered(error(code)).await, Sent::Rejected { reason }, "{code}");
        }
        for (status, reason) in [("401 No", reason::CREDENTIALS), ("403 No", reason::CREDENTIALS), ("404 No", reason::NOT_FOUND), ("400 No", reason::REFUSED)] {
            assert_eq!(answered(reply(status, "<html>")).await, Sent::Rejected { reason }, "{status}");
        }
        let failed = r#"{"sid":"SM1","status":"failed","error_code":21610}"#;
        assert_eq!(answered(reply("201 Created", failed)).await, Sent::Rejected { reason: reason::OPTED_OUT });
    }

    #[tokio::test]
    async fn slow_down_is_tried_again() {
        assert_eq!(answered(reply("429 Slow", r#"{"code":20429}"#)).await, Sent::Retry { after: SOON, reason: reason::BUSY });
        let slow = Reply::Raw("HTTP/1.1 429 Slow\r\nRetry-After: 9\r\nContent-Length: 0\r\n\r\n".into());
        assert_eq!(answered(slow).await, Sent::Retry { after: Span::seconds(9), reason: reason::BUSY });
    }

    #[tokio::test]
    async fn what_may_have_arrived_is_unknown() {
        let cut = Reply::Raw("HTTP/1.1 201 Created\r\nContent-Length: 500\r\n\r\n{\"sid\":\"SM".into());
        for (r, reason) in [
            (Reply::Cut, reason::NO_ANSWER), (Reply::Raw("nonsense\r\n\r\n".into()), reason::NO_ANSWER),
            (reply("500 Oops", ""), reason::PROVIDER_FAILED), (reply("503 Oops", TAKEN), reason::PROVIDER_FAILED),
            (reply("408 Late", ""), reason::NO_ANSWER), (cut, reason::BROKEN_ANSWER), (reply("201 Created", "{}"), reason::BROKEN_ANSWER),
            (reply("201 Created", "<html>"), reason::BROKEN_ANSWER), (reply("200 OK", r#"{"sid":"a b"}"#), reason::BROKEN_ANSWER),
        ] {
            assert_eq!(answered(r).await, Sent::Unknown { reason });
        }
        let server = Server::start(vec![Reply::Silent]);
        let short = Twilio::new(config(format!("http://{}", server.address), Span(1500))).unwrap();
        assert_eq!(short.send(&message(Channel::Sms)).await, Sent::Unknown { reason: reason::NO_ANSWER });
        assert_eq!(server.count(), 1);
    }

    #[tokio::test]
    async fn no_connection_is_no_message() {
        let none = Sent::Retry { after: SOON, reason: reason::NO_CONNECTION };
        assert_eq!(twilio(&nobody()).send(&message(Channel::Sms)).await, none);
        let server = Server::start(vec![Reply::Garbage]);
        let tls = Twilio::new(config(format!("https://{}", server.address), Span::seconds(10))).unwrap();
        assert_eq!(tls.send(&message(Channel::Sms)).await, none);
    }

    #[tokio::test]
    async fn nothing_is_sent_after_an_interruption_or_to_a_bad_number() {
        let server = Server::start(vec![]);
        let twilio = twilio(&server.address);
        for channel in [Channel::Sms, Channel::Voice] {
            let again = Outgoing { interrupted: true, ..message(channel) };
            assert_eq!(twilio.send(&again).await, Sent::Unknown { reason: reason::INTERRUPTED });
        }
        let odd = Outgoing { to: Secret::new("2025550142"), ..message(Channel::Sms) };
        assert_eq!(twilio.send(&odd).await, Sent::Rejected { reason: reason::INVALID_NUMBER });
        assert_eq!(twilio.send(&message(Channel::Email)).await, Sent::Rejected { reason: reason::WRONG_CHANNEL });
        for channel in [Channel::Sms, Channel::Voice] {
            let long = Outgoing { text: Secret::new("x".repeat(MAX_TWIML)), ..message(channel) };
            assert_eq!(twilio.send(&long).await, Sent::Rejected { reason: reason::TOO_LONG });
        }
        assert_eq!(server.count(), 0);
    }

    #[tokio::test]
    async fn redirects_are_not_followed() {
        let other = Server::start(vec![reply("201 Created", TAKEN)]);
        let to = Reply::Raw(format!("HTTP/1.1 307 Elsewhere\r\nLocation: http://{}/\r\nContent-Length: 0\r\n\r\n", other.address));
        assert_eq!(answered(to).await, Sent::Rejected { reason: reason::REDIRECTED });
        assert_eq!(other.count(), 0);
    }

    #[tokio::test]
    async fn live_calls_are_moved_and_ended() {
        let ok = || reply("200 OK", &format!(r#"{{"sid":"{SID}","status":"in-progress"}}"#));
        let server = Server::start(vec![ok(), ok(), ok()]);
        let twilio = twilio(&server.address);
        twilio.redirect(SID, "https://cs.example/t/move?step=3&x=1").await.unwrap();
        twilio.hang_up(SID).await.unwrap();
        assert_eq!(twilio.dial_agent(&E164::parse("+12025550199").unwrap(), "https://cs.example/t/agent").await, Ok(sid()));
        let requests = server.requests.lock().unwrap();
        for request in &requests[..2] {
            assert!(request.starts_with(&format!("POST /2010-04-01/Accounts/{ACCOUNT}/Calls/{SID}.json HTTP/1.1\r\n")), "{request}");
        }
        assert_eq!(fields(&requests[0]), owned(&[("Url", "https://cs.example/t/move?step=3&x=1"), ("Method", "POST")]));
        assert_eq!(fields(&requests[1]), owned(&[("Status", "completed")]));
        assert_eq!(fields(&requests[2]), owned(&[
            ("To", "+12025550199"), ("From", "+18005551212"), ("Url", "https://cs.example/t/agent"), ("Method", "POST"), ("Timeout", "25"),
        ]));
    }

    #[tokio::test]
    async fn a_call_that_is_over_is_gone() {
        let over = || reply("400 Bad Request", r#"{"code":21220,"message":"Call is not in-progress. Cannot redirect.","status":400}"#);
        let lost = || reply("404 Not Found", r#"{"code":20404,"status":404}"#);
        let server = Server::start(vec![over(), lost(), over(), lost()]);
        let twilio = twilio(&server.address);
        assert_eq!(twilio.redirect(SID, "https://cs.example/").await, Err(LiveError::Gone));
        assert_eq!(twilio.redirect(SID, "https://cs.example/").await, Err(LiveError::Gone));
        assert_eq!(twilio.hang_up(SID).await, Ok(()));
        assert_eq!(twilio.hang_up(SID).await, Ok(()));
    }

    #[tokio::test]
    async fn live_failures_say_whether_to_try_again() {
        let server = Server::start(vec![reply("401 No", ""), reply("500 Oops", ""), reply("429 Slow", ""), Reply::Cut]);
        let agent = E164::parse("+12025550199").unwrap();
        let online = twilio(&server.address);
        let ring = || online.dial_agent(&agent, "https://cs.example/");
        assert_eq!(ring().await, Err(LiveError::Refused { reason: reason::CREDENTIALS }));
        assert_eq!(ring().await, Err(LiveError::Unknown { reason: reason::PROVIDER_FAILED }));
        assert_eq!(ring().await, Err(LiveError::NotNow { after: SOON, reason: reason::BUSY }));
        assert_eq!(ring().await, Err(LiveError::Unknown { reason: reason::NO_ANSWER }));
        let offline = twilio(&nobody());
        assert_eq!(offline.hang_up(SID).await, Err(LiveError::NotNow { after: SOON, reason: reason::NO_CONNECTION }));
        for odd in ["", "CA0/../../Messages", "SM0123456789abcdef0123456789abcdef"] {
            assert_eq!(offline.redirect(odd, "https://cs.example/").await, Err(LiveError::Refused { reason: reason::MALFORMED }));
        }
    }

    #[test]
    fn unsafe_settings_are_refused_without_showing_them() {
        let make = |change: &dyn Fn(&mut TwilioConfig)| {
            let mut config = config(BASE_URL.into(), TIMEOUT);
            change(&mut config);
            Twilio::new(config).err()
        };
        assert_eq!(make(&|_| ()), None);
        for change in [
            &|c: &mut TwilioConfig| c.account_sid = "AC123/../".into(), &|c: &mut TwilioConfig| c.account_sid = "SKaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".into(),
            &|c: &mut TwilioConfig| c.auth_token = Secret::default(), &|c: &mut TwilioConfig| c.base_url = "http://api.twilio.com".into(),
            &|c: &mut TwilioConfig| c.status_url = Some("http://cs.example/".into()),
        ] as [&dyn Fn(&mut TwilioConfig); 5] {
            assert!(matches!(make(change), Some(SetupError::Setting { .. })));
        }
        let shown = format!("{:?}", config(BASE_URL.into(), TIMEOUT));
        assert!(!shown.contains("t0ken") && !shown.contains("8005551212"), "{shown}");
    }
}
