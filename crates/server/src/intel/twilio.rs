//! Twilio Lookup v2: `GET /v2/PhoneNumbers/{E164}?Fields=…`, HTTP Basic with account and token.

use async_trait::async_trait;
use countersign_core::{
    risk::LineType,
    secret::{E164, Secret},
    time::{Span, Timestamp},
};
use reqwest::{Client, Url};
use serde::Deserialize;
use serde_json::Value;

use super::{IntelError, Known, NumberIntelligence, Sim, date};
use crate::outbox::{
    http::{client, endpoint, exchange},
    provider::SetupError,
    twilio::{ACCOUNT_FORM, is_account},
};

/// Where it is.
pub const BASE_URL: &str = "https://lookups.twilio.com";
/// What can be asked for.
pub const FIELDS: [&str; 4] = ["line_type_intelligence", "sim_swap", "reassigned_number", "call_forwarding"];

/// Settings of [`Lookup`].
#[derive(Debug, Clone)]
pub struct LookupConfig {
    /// `AC` and 32 hexadecimal digits.
    pub account_sid: String,
    /// The account's auth token.
    pub auth_token: Secret,
    /// What is asked for, out of [`FIELDS`].
    pub fields: Vec<String>,
    /// [`BASE_URL`], or a server on this machine in tests.
    pub base_url: String,
    /// Longest time for one question.
    pub timeout: Span,
    /// How far back a number may have been given to somebody else.
    pub verified: Span,
}

/// Twilio Lookup.
pub struct Lookup {
    client: Client,
    base: Url,
    config: LookupConfig,
}

impl Lookup {
    /// Checks the settings; connects to nothing.
    pub fn new(config: LookupConfig) -> Result<Self, SetupError> {
        if !is_account(&config.account_sid) {
            return Err(SetupError::setting("number_intelligence.account_sid", ACCOUNT_FORM));
        }
        if config.auth_token.is_empty() {
            return Err(SetupError::setting("number_intelligence.auth_token_file", "holds no auth token: copy it from Twilio's console"));
        }
        if config.fields.is_empty() || config.fields.iter().any(|f| !FIELDS.contains(&f.as_str())) {
            return Err(SetupError::setting("number_intelligence.fields", "some of line_type_intelligence, sim_swap, reassigned_number, call_forwarding"));
        }
        let base = endpoint("number_intelligence.base_url", config.base_url.trim_end_matches('/'))?;
        Ok(Self { client: client(&base, config.timeout)?, base, config })
    }

    /// The number is the only part that is not ours, and [`E164`] holds a plus and digits alone.
    fn url(&self, number: &E164, now: Timestamp) -> Option<Url> {
        let mut url = self.base.join(&format!("/v2/PhoneNumbers/%2B{}", number.expose().trim_start_matches('+'))).ok()?;
        url.query_pairs_mut().append_pair("Fields", &self.config.fields.join(","));
        if self.config.fields.iter().any(|f| f == "reassigned_number") {
            url.query_pairs_mut().append_pair("LastVerifiedDate", &date::before(now, self.config.verified, ""));
        }
        Some(url)
    }
}

/// What matters of the answer. A part that was not asked for, or that Twilio has not for this number,
/// is null, or holds an error code.
#[derive(Deserialize)]
struct Answered {
    phone_number: String,
    valid: bool,
    #[serde(default)]
    line_type_intelligence: Option<Value>,
    #[serde(default)]
    sim_swap: Option<Value>,
    #[serde(default)]
    reassigned_number: Option<Value>,
    #[serde(default)]
    call_forwarding: Option<Value>,
}

#[async_trait]
impl NumberIntelligence for Lookup {
    fn name(&self) -> &'static str { "twilio" }

    async fn ask(&self, number: &E164, now: Timestamp) -> Result<Known, IntelError> {
        let url = self.url(number, now).ok_or(IntelError::Nonsense)?;
        let request = self.client.get(url).basic_auth(&self.config.account_sid, Some(self.config.auth_token.expose()));
        let answer = exchange(request).await.map_err(|_| IntelError::NoAnswer)?;
        if answer.status.as_u16() != 200 {
            return Err(IntelError::Refused(answer.status.as_u16()));
        }
        let answered: Answered = answer.json().ok_or(IntelError::Nonsense)?;
        read(&answered, number, now)
    }
}

fn read(answered: &Answered, number: &E164, now: Timestamp) -> Result<Known, IntelError> {
    if answered.phone_number != number.expose() {
        return Err(IntelError::Nonsense);
    }
    if !answered.valid {
        // A number that cannot exist rings nobody: it was made up.
        return Ok(Known { line: Some(LineType::NotCalledFrom), ..Known::default() });
    }
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let mut known = Known::default();
    if let Some(part) = given(&answered.line_type_intelligence)? {
        known.line = text(part, "type").map(|kind| line(&kind));
    }
    if let Some(part) = given(&answered.sim_swap)? {
        known.sim = sim(part.get("last_sim_swap").unwrap_or(&Value::Null), now)?;
    }
    if let Some(part) = given(&answered.reassigned_number)? {
        known.reassigned = text(part, "is_number_reassigned").is_some_and(|said| said.eq_ignore_ascii_case("yes"));
    }
    if let Some(part) = given(&answered.call_forwarding)? {
        known.forwarded = part.get("call_forwarding_enabled").and_then(Value::as_bool).unwrap_or(false);
    }
    Ok(known)
}

/// A part that has something to say. What is there and is no object makes no sense.
fn given(part: &Option<Value>) -> Result<Option<&Value>, IntelError> {
    match part {
        None | Some(Value::Null) => Ok(None),
        Some(value @ Value::Object(fields)) => Ok(fields.get("error_code").is_none_or(Value::is_null).then_some(value)),
        Some(_) => Err(IntelError::Nonsense),
    }
}

/// `last_sim_swap_date`, where the carrier tells it; otherwise whether it was within `swapped_period`,
/// an ISO 8601 duration in hours such as `PT24H`.
fn sim(swap: &Value, now: Timestamp) -> Result<Sim, IntelError> {
    if let Some(text) = swap.get("last_sim_swap_date").and_then(Value::as_str) {
        let at = date::parse(text).ok_or(IntelError::Nonsense)?;
        return Ok(Sim::At(at.min(now)));
    }
    if swap.get("swapped_in_period").and_then(Value::as_bool) != Some(true) {
        return Ok(Sim::Quiet);
    }
    let hours = swap.get("swapped_period").and_then(Value::as_str).and_then(|p| p.strip_prefix("PT")?.strip_suffix('H')?.parse::<u16>().ok());
    Ok(Sim::Since(now - Span::hours(i64::from(hours.ok_or(IntelError::Nonsense)?))))
}

fn line(kind: &str) -> LineType {
    match kind {
        "mobile" => LineType::Mobile,
        "landline" => LineType::Landline,
        "fixedVoip" => LineType::FixedVoip,
        "nonFixedVoip" => LineType::NonFixedVoip,
        "tollFree" | "premium" | "sharedCost" | "uan" | "voicemail" | "pager" => LineType::NotCalledFrom,
        _ => LineType::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::http::testing::{Reply, Server, header, nobody, reply};

    const NOW: Timestamp = Timestamp(1_780_308_000_000);

    fn lookup(address: &str, timeout: Span) -> Lookup {
        Lookup::new(LookupConfig {
            account_sid: format!("AC{}", "a".repeat(32)), auth_token: "token".into(), fields: FIELDS.map(str::to_owned).to_vec(),
            base_url: format!("http://{address}"), timeout, verified: Span::days(90),
        }).unwrap()
    }

    fn number() -> E164 { E164::parse("+12025550142").unwrap() }

    async fn asked(r: Reply) -> Result<Known, IntelError> {
        let server = Server::start(vec![r]);
        lookup(&server.address, Span::seconds(10)).ask(&number(), NOW).await
    }

    #[tokio::test]
    async fn a_number_is_asked_about_as_documented_and_the_answer_is_read() {
        let body = r#"{"phone_number":"+12025550142","valid":true,"country_code":"US","line_type_intelligence":{"type":"nonFixedVoip","carrier_name":"x","error_code":null},
            "sim_swap":{"last_sim_swap":{"last_sim_swap_date":"2026-06-01T04:00:00Z","swapped_period":"PT48H","swapped_in_period":true},"error_code":null},
            "reassigned_number":{"last_verified_date":"20260303","is_number_reassigned":"yes","error_code":null},"call_forwarding":{"call_forwarding_enabled":true,"error_code":null}}"#;
        let server = Server::start(vec![reply("200 OK", body)]);
        let known = lookup(&server.address, Span::seconds(10)).ask(&number(), NOW).await.unwrap();
        assert_eq!(known, Known { line: Some(LineType::NonFixedVoip), sim: Sim::At(NOW - Span::hours(6)), reassigned: true, forwarded: true });
        let request = server.only();
        assert!(request.starts_with("GET /v2/PhoneNumbers/%2B12025550142?Fields=line_type_intelligence%2Csim_swap%2Creassigned_number%2Ccall_forwarding&LastVerifiedDate=20260303 HTTP/1.1\r\n"), "{request}");
        assert!(header(&request, "authorization").unwrap().starts_with("Basic "));
    }

    #[tokio::test]
    async fn what_is_not_told_is_not_known() {
        let said = |parts: &str| reply("200 OK", &format!(r#"{{"phone_number":"+12025550142","valid":true{parts}}}"#));
        assert_eq!(asked(said("")).await, Ok(Known::default()));
        assert_eq!(asked(said(r#","sim_swap":{"last_sim_swap":null,"error_code":60606}"#)).await, Ok(Known::default()));
        let since = asked(said(r#","sim_swap":{"last_sim_swap":{"last_sim_swap_date":null,"swapped_period":"PT24H","swapped_in_period":true},"error_code":null}"#)).await.unwrap();
        assert_eq!(since.sim, Sim::Since(NOW - Span::hours(24)));
        assert_eq!(asked(said(r#","line_type_intelligence":{"type":"tollFree"}"#)).await.unwrap().line, Some(LineType::NotCalledFrom));
        assert_eq!(asked(said(r#","line_type_intelligence":{"type":"somethingNew"}"#)).await.unwrap().line, Some(LineType::Other));
        assert_eq!(asked(reply("200 OK", r#"{"phone_number":"+12025550142","valid":false}"#)).await.unwrap().line, Some(LineType::NotCalledFrom));
    }

    #[tokio::test]
    async fn nonsense_is_no_answer() {
        for body in [
            "", "hello", "[]", r#"{"valid":true}"#, r#"{"phone_number":"+12025550199","valid":true}"#, r#"{"phone_number":"+12025550142","valid":"yes"}"#,
            r#"{"phone_number":"+12025550142","valid":true,"sim_swap":"yes"}"#,
            r#"{"phone_number":"+12025550142","valid":true,"sim_swap":{"last_sim_swap":{"last_sim_swap_date":"lately"}}}"#,
            r#"{"phone_number":"+12025550142","valid":true,"sim_swap":{"last_sim_swap":{"swapped_in_period":true,"swapped_period":"a while"}}}"#,
        ] {
            assert_eq!(asked(reply("200 OK", body)).await, Err(IntelError::Nonsense), "{body}");
        }
        let long = format!(r#"{{"phone_number":"+12025550142","valid":true,"x":"{}"}}"#, "a".repeat(70_000));
        assert_eq!(asked(reply("200 OK", &long)).await, Err(IntelError::Nonsense), "an answer has an end");
        for status in ["401 No", "404 No", "429 Slow", "500 Oops"] {
            assert_eq!(asked(reply(status, "{}")).await, Err(IntelError::Refused(status[..3].parse().unwrap())));
        }
    }

    #[tokio::test]
    async fn a_redirect_is_refused_and_not_followed() {
        let elsewhere = Server::start(vec![reply("200 OK", r#"{"phone_number":"+12025550142","valid":true}"#)]);
        let away = Reply::Raw(format!("HTTP/1.1 302 Found\r\nLocation: http://{}/\r\nContent-Length: 0\r\n\r\n", elsewhere.address));
        assert_eq!(asked(away).await, Err(IntelError::Refused(302)));
        assert_eq!(elsewhere.count(), 0);
    }

    #[tokio::test]
    async fn silence_and_an_empty_address_end_in_time() {
        let silent = Server::start(vec![Reply::Silent]);
        assert_eq!(lookup(&silent.address, Span(200)).ask(&number(), NOW).await, Err(IntelError::NoAnswer));
        assert_eq!(lookup(&nobody(), Span::seconds(5)).ask(&number(), NOW).await, Err(IntelError::NoAnswer));
        assert_eq!(asked(Reply::Cut).await, Err(IntelError::NoAnswer));
    }

    #[test]
    fn only_safe_addresses_are_asked() {
        let with = |base_url: &str, fields: &[&str]| Lookup::new(LookupConfig {
            account_sid: format!("AC{}", "a".repeat(32)), auth_token: "token".into(), fields: fields.iter().map(|f| (*f).to_owned()).collect(),
            base_url: base_url.into(), timeout: Span::seconds(1), verified: Span::days(90),
        }).is_ok();
        assert!(with(BASE_URL, &FIELDS) && with("http://127.0.0.1:9", &["sim_swap"]));
        for bad in ["http://lookups.example.com", "ftp://127.0.0.1", "https://user:word@example.com", "lookups", "http://127.0.0.1.example.com"] {
            assert!(!with(bad, &FIELDS), "{bad}");
        }
        assert!(!with(BASE_URL, &[]) && !with(BASE_URL, &["caller_name"]));
    }
}
