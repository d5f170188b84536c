//! Requests to the router, and what comes back: the one way in for every actor of a drill.

use std::net::SocketAddr;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{HeaderMap, HeaderValue, Method, Request, header},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tower::ServiceExt;

use crate::{Halt, stage::HOST};

/// Largest answer that is read.
const MOST: usize = 4 << 20;
/// As browsers and Twilio name a form.
pub const FORM: &str = "application/x-www-form-urlencoded";

/// What came back.
#[derive(Debug, Clone)]
pub struct Page {
    /// HTTP status.
    pub status: u16,
    headers: HeaderMap,
    /// The body as it came.
    pub body: String,
}

/// Sends one request through the whole router, as if it came from 192.0.2.7.
pub async fn send(router: &Router, mut request: Request<Body>) -> Result<Page, Halt> {
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 7], 50_000))));
    // The router's error type has no values.
    let response = router.clone().oneshot(request).await.map_err(|e| Halt::broken("the router", e))?;
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, MOST).await.map_err(|e| Halt::broken("an answer", e))?;
    Ok(Page { status: parts.status.as_u16(), headers: parts.headers, body: String::from_utf8_lossy(&bytes).into_owned() })
}

/// A form as a browser writes it.
pub fn form<K: AsRef<str>, V: AsRef<str>>(fields: &[(K, V)]) -> String {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    fields.iter().map(|(k, v)| format!("{}={}", encode(k.as_ref()), encode(v.as_ref()))).collect::<Vec<_>>().join("&")
}

/// What a request is made of.
pub struct Ask<'a> {
    method: Method,
    path: &'a str,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl<'a> Ask<'a> {
    /// A page is opened.
    pub fn get(path: &'a str) -> Self { Self { method: Method::GET, path, headers: vec![("host", HOST.to_owned())], body: String::new() } }

    /// A form is sent, as one of our own pages sends it.
    pub fn post<K: AsRef<str>, V: AsRef<str>>(path: &'a str, fields: &[(K, V)]) -> Self {
        let headers = vec![("host", HOST.to_owned()), ("sec-fetch-site", "same-origin".to_owned()), ("content-type", FORM.to_owned())];
        Self { method: Method::POST, path, headers, body: form(fields) }
    }

    /// JSON is sent, as a program sends it.
    pub fn json(path: &'a str, body: &serde_json::Value) -> Self {
        Self { method: Method::POST, path, headers: vec![("content-type", "application/json".to_owned())], body: body.to_string() }
    }

    /// One more header; an empty value is left out.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        if !value.is_empty() {
            self.headers.push((name, value.to_owned()));
        }
        self
    }

    /// Sends it.
    pub async fn send(self, router: &Router) -> Result<Page, Halt> {
        let mut request = Request::builder().method(self.method).uri(self.path).body(Body::from(self.body)).map_err(|e| Halt::broken("a request", e))?;
        for (name, value) in self.headers {
            let value = HeaderValue::from_str(&value).map_err(|e| Halt::broken("a header", e))?;
            request.headers_mut().append(name, value);
        }
        send(router, request).await
    }
}

impl Page {
    /// A header, empty if it is not there.
    pub fn header(&self, name: &str) -> &str { self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("") }

    /// The cookie that was set: `name=value`.
    pub fn cookie(&self) -> String { self.header(header::SET_COOKIE.as_str()).split(';').next().unwrap_or("").to_owned() }

    /// The words a reader sees, entities read.
    pub fn text(&self) -> String { unescape(&self.body) }

    /// Whether this stands in it as a word of its own: a PIN is not found in the middle of an id.
    pub fn holds(&self, needle: &str) -> bool { has_word(&self.text(), needle) }

    /// What the desk says about the last command.
    pub fn flash(&self) -> String { self.after("data-flash>").and_then(|rest| between(rest, "<span>", "</span>")).map(unescape).unwrap_or_default() }

    /// The code that the agent is to read out, if there is one.
    pub fn given(&self) -> Option<String> {
        let rest = self.after("Code to read out: </span>")?;
        Some(rest.split('<').next().unwrap_or_default().chars().filter(|c| !c.is_whitespace()).collect())
    }

    /// What stands behind the first `mark`.
    pub fn after(&self, mark: &str) -> Option<&str> { self.body.split_once(mark).map(|(_, rest)| rest) }

    /// The body as JSON; `Null` if it is none.
    pub fn value(&self) -> serde_json::Value { serde_json::from_str(&self.body).unwrap_or_default() }
}

/// The text between two marks.
pub fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(from)?;
    rest.split_once(to).map(|(inner, _)| inner)
}

/// Whether `needle` stands in `hay` as a word of its own.
pub fn has_word(hay: &str, needle: &str) -> bool {
    let bound = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    !needle.is_empty()
        && hay.match_indices(needle).any(|(at, _)| {
            let (before, rest) = hay.split_at_checked(at).unwrap_or((hay, ""));
            bound(before.chars().next_back()) && bound(rest.chars().nth(needle.chars().count()))
        })
}

/// Entities as the pages and TwiML write them.
pub fn unescape(text: &str) -> String {
    let mut text = text.to_owned();
    let pairs = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#34;", "\""), ("&apos;", "'"), ("&#39;", "'"), ("&#38;", "&"), ("&#60;", "<"), ("&#62;", ">"), ("&amp;", "&")];
    for (from, to) in pairs {
        text = text.replace(from, to);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_as_a_word_only() {
        for (hay, found) in [("PIN 4071.", true), ("4071", true), ("14071", false), ("40712", false), ("call_a4071b", false), ("say 4071, please", true)] {
            assert_eq!(has_word(hay, "4071"), found, "{hay}");
        }
        assert!(has_word("<b>12 Juniper Lane</b>", "12 Juniper Lane"));
        assert!(!has_word("anything", ""));
    }
}
