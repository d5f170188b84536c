//! Requests and what comes back.

use std::net::SocketAddr;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tower::ServiceExt;

/// What came back.
#[derive(Debug, Clone)]
pub struct Page {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

pub const FORM: &str = "application/x-www-form-urlencoded";

/// Sends one request through the whole router.
pub async fn send(router: &Router, mut request: Request<Body>) -> Page {
    if request.extensions().get::<ConnectInfo<SocketAddr>>().is_none() {
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 7], 50_000))));
    }
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, 4 << 20).await.unwrap();
    Page { status: parts.status, headers: parts.headers, body: String::from_utf8_lossy(&bytes).into_owned() }
}

/// A form as a browser writes it.
pub fn form<K: AsRef<str>, V: AsRef<str>>(fields: &[(K, V)]) -> String {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    fields.iter().map(|(k, v)| format!("{}={}", encode(k.as_ref()), encode(v.as_ref()))).collect::<Vec<_>>().join("&")
}

pub async fn get(router: &Router, path: &str, cookie: Option<&str>) -> Page {
    let mut request = Request::get(path).header(header::HOST, "calls.example.com");
    if let Some(cookie) = cookie {
        request = request.header(header::COOKIE, cookie);
    }
    send(router, request.body(Body::empty()).unwrap()).await
}

/// What a telephone system fetches that plays files from us: a WAV file.
pub async fn sound(router: &Router, path: &str) -> Vec<u8> {
    let mut request = Request::get(path).header(header::HOST, "calls.example.com").body(Body::empty()).unwrap();
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 50_000))));
    let response = router.clone().oneshot(request).await.unwrap();
    assert_eq!((response.status(), response.headers()[header::CONTENT_TYPE].to_str().unwrap()), (StatusCode::OK, "audio/wav"), "{path}");
    to_bytes(response.into_body(), 4 << 20).await.unwrap().to_vec()
}

/// A form sent by one of our own pages.
pub async fn post<K: AsRef<str>, V: AsRef<str>>(router: &Router, path: &str, cookie: Option<&str>, fields: &[(K, V)]) -> Page {
    send(router, own(Method::POST, path, cookie, FORM, form(fields))).await
}

/// A request of a program with its key.
pub async fn api(router: &Router, path: &str, key: &str, json: &serde_json::Value) -> Page {
    let request = Request::post(path).header(header::CONTENT_TYPE, "application/json").header(header::AUTHORIZATION, format!("Bearer {key}"));
    send(router, request.body(Body::from(json.to_string())).unwrap()).await
}

/// A request as a browser sends it for one of our own pages.
pub fn own(method: Method, path: &str, cookie: Option<&str>, kind: &str, body: impl Into<Body>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path)
        .header(header::HOST, "calls.example.com").header("sec-fetch-site", "same-origin").header(header::CONTENT_TYPE, kind);
    if let Some(cookie) = cookie {
        request = request.header(header::COOKIE, cookie);
    }
    request.body(body.into()).unwrap()
}

impl Page {
    pub fn header(&self, name: &str) -> &str { self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("") }

    /// The cookie that was set: `name=value`.
    pub fn cookie(&self) -> String { self.header("set-cookie").split(';').next().unwrap_or("").to_owned() }

    /// What the desk says about the last command.
    pub fn flash(&self) -> String {
        let Some((_, rest)) = self.body.split_once("data-flash>") else { return String::new() };
        let Some((_, rest)) = rest.split_once("<span>") else { return String::new() };
        unescape(rest.split("</span>").next().unwrap_or(""))
    }

    #[track_caller]
    pub fn ok(&self) -> &Self {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        self
    }

    #[track_caller]
    pub fn is(&self, status: u16) -> &Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self
    }

    #[track_caller]
    pub fn shows(&self, text: &str) -> &Self {
        assert!(unescape(&self.body).contains(text), "no {text:?} in\n{}", self.body);
        self
    }

    #[track_caller]
    pub fn hides(&self, private: &[&str]) -> &Self {
        super::hides(&unescape(&self.body), private);
        self
    }

    #[track_caller]
    pub fn lacks(&self, text: &str) -> &Self {
        assert!(!unescape(&self.body).contains(text), "{text:?} must not be in\n{}", self.body);
        self
    }

    #[track_caller]
    pub fn says(&self, flash: &str) -> &Self {
        assert!(self.flash().contains(flash), "the desk says {:?}, not {flash:?}\n{}", self.flash(), self.body);
        self
    }
}

pub fn unescape(text: &str) -> String {
    let mut text = text.to_owned();
    for (from, to) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#34;", "\""), ("&apos;", "'"), ("&#39;", "'"), ("&#38;", "&"), ("&#60;", "<"), ("&#62;", ">"), ("&amp;", "&")] {
        text = text.replace(from, to);
    }
    text
}
