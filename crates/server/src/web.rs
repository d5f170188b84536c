//! What every page shares: cookies, the same-origin rule, security headers, errors in plain words.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{Html, IntoResponse, Response},
};
use countersign_core::secret::Secret;
use countersign_store::ReadError;

use crate::{
    App,
    directory::DirectoryError,
    pages,
    runner::RunError,
    vault::VaultError,
};

/// An error on its way to a person or a program.
#[derive(Debug)]
pub enum WebError {
    /// Nothing here, or nothing you may know of.
    NotFound,
    /// Sign in first.
    SignIn(&'static str),
    /// What was sent cannot be used.
    Bad(String),
    /// The request did not come from our own pages.
    CrossSite,
    /// Too busy.
    Busy,
    /// Something of ours is broken; the text is for the log.
    Broken(String),
}

impl From<RunError> for WebError {
    fn from(e: RunError) -> Self {
        match e {
            RunError::NoCall => Self::NotFound,
            RunError::Rejected(why) => Self::Bad(why.to_string()),
            RunError::Change(why) => Self::Bad(why.to_string()),
            RunError::Busy => Self::Busy,
            RunError::Spent => Self::Bad("This was used before. Open the page again.".into()),
            other => Self::Broken(other.to_string()),
        }
    }
}
impl From<ReadError> for WebError {
    fn from(e: ReadError) -> Self { RunError::from(e).into() }
}
impl From<DirectoryError> for WebError {
    fn from(e: DirectoryError) -> Self { RunError::from(e).into() }
}
impl From<VaultError> for WebError {
    fn from(e: VaultError) -> Self { Self::Broken(e.to_string()) }
}
impl From<askama::Error> for WebError {
    fn from(e: askama::Error) -> Self { Self::Broken(e.to_string()) }
}
impl From<serde_json::Error> for WebError {
    fn from(e: serde_json::Error) -> Self { Self::Broken(e.to_string()) }
}

impl IntoResponse for WebError {
    fn into_response(self) -> Response {
        let (status, title, help) = match self {
            Self::SignIn(to) => return (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response(),
            Self::NotFound => (StatusCode::NOT_FOUND, "Nothing here", "The address is wrong, or what was here is over or not for you.".to_owned()),
            Self::Bad(text) => (StatusCode::UNPROCESSABLE_ENTITY, "That cannot be used", text),
            Self::CrossSite => (StatusCode::FORBIDDEN, "Not from our own page", "This request came from another website and was not carried out. Open the page here and try again.".to_owned()),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "Too busy", "Nothing was done. Try again in a moment.".to_owned()),
            Self::Broken(text) => {
                tracing::error!(error = text, "a request failed");
                (StatusCode::INTERNAL_SERVER_ERROR, "Something of ours is broken", "Nothing was shown or changed that should not be. The operator finds the reason in the log.".to_owned())
            }
        };
        let mut response = (status, title).into_response();
        response.extensions_mut().insert(Trouble { status, title, help });
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// What went wrong, for [`error_pages`]: an error itself does not know whose page it stands on.
#[derive(Clone)]
struct Trouble {
    status: StatusCode,
    title: &'static str,
    help: String,
}

/// What a request is turned away with before any handler sees it.
fn turned_away(status: StatusCode) -> Option<Trouble> {
    let (title, help) = match status {
        StatusCode::BAD_REQUEST => ("That cannot be used", "The address or the form is not as this page writes it. Open the page again and try once more."),
        StatusCode::METHOD_NOT_ALLOWED => ("Nothing here", "This address only takes what a form sends to it. Open the page with the form."),
        StatusCode::PAYLOAD_TOO_LARGE => ("That is too much", "More was sent than any form here needs, and nothing was done. Make it shorter and try again."),
        StatusCode::UNSUPPORTED_MEDIA_TYPE | StatusCode::UNPROCESSABLE_ENTITY => ("That cannot be used", "What was sent is not what the form of this page sends. Open the page again and try once more."),
        _ => return None,
    };
    Some(Trouble { status, title, help: help.to_owned() })
}

/// Whoever opens a page in a browser reads a page, also when the request never got to a handler.
/// Programs, and scripts of ours, keep the plain answer.
pub async fn plain_errors(request: Request, next: Next) -> Response {
    let browses = request.headers().get(header::ACCEPT).and_then(|v| v.to_str().ok()).is_some_and(|accept| accept.contains("text/html"));
    let mut response = next.run(request).await;
    let plain = response.headers().get(header::CONTENT_TYPE).is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if browses && plain && response.extensions().get::<Trouble>().is_none()
        && let Some(trouble) = turned_away(response.status())
    {
        response.extensions_mut().insert(trouble);
    }
    response
}

/// Where somebody can go on from an address that did not work, and what the button says.
fn onward(path: &str, demo: bool) -> Option<(&'static str, &'static str)> {
    match path.split('/').nth(1).unwrap_or_default() {
        "me" | "undo" | "not-me" => Some(("/me", "To your account")),
        "desk" | "admin" => Some(("/desk", "To the desk")),
        _ if demo => Some(("/", "To the start")),
        _ => None,
    }
}

/// Errors as pages of the company that was asked, with a way on where there is one.
pub async fn error_pages(State(app): State<App>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    let Some(Trouble { status, title, help }) = response.extensions_mut().remove::<Trouble>() else { return response };
    let shell = pages::Shell { company: app.company(), user: None, demo: app.demo };
    let Ok(body) = pages::error(&shell, status.as_u16(), title, &help, onward(&path, app.demo)) else { return response };
    let mut page = (status, Html(body)).into_response();
    for name in [header::RETRY_AFTER, header::ALLOW] {
        if let Some(value) = response.headers_mut().remove(&name) {
            page.headers_mut().insert(name, value);
        }
    }
    page
}

/// One cookie of a request that is a token of ours.
pub fn cookie(headers: &HeaderMap, name: &str) -> Option<Secret> { cookie_of(headers, name, |length| length == 64) }

/// One cookie of a request that holds something sealed.
pub fn sealed_cookie(headers: &HeaderMap, name: &str) -> Option<Secret> { cookie_of(headers, name, |length| (64..=2048).contains(&length)) }

fn cookie_of(headers: &HeaderMap, name: &str, fits: impl Fn(usize) -> bool) -> Option<Secret> {
    headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(';')).find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name && fits(value.len())).then(|| Secret::new(value))
    })
}

/// A session cookie: not readable by scripts, not sent from other sites, gone with `age` 0.
pub fn set_cookie(name: &str, value: &Secret, age_seconds: i64, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{name}={}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age_seconds}{secure}", value.expose())
}

/// Refuses writes that do not come from our own pages (CSRF): browsers say where a request comes
/// from, and a page of another site cannot lie about it.
pub async fn same_origin(request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) || is_same_origin(request.headers()) {
        next.run(request).await
    } else {
        WebError::CrossSite.into_response()
    }
}

fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok());
    if let Some(site) = text(HeaderName::from_static("sec-fetch-site")) {
        return site == "same-origin";
    }
    match (text(header::ORIGIN), text(header::HOST)) {
        (Some(origin), Some(host)) => origin.split_once("://").is_some_and(|(_, from)| from == host),
        _ => false,
    }
}

/// What no page may use. The handset alone listens.
const PERMISSIONS: &str = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()";
const HANDSET_PERMISSIONS: &str = "camera=(), display-capture=(), geolocation=(), microphone=(self), payment=(), usb=()";
/// A year (RFC 6797 §6.1.1), for this host alone: what else the company runs beside it is not ours to decide.
const HTTPS_ONLY: &str = "max-age=31536000";

/// Headers that make a browser keep to what the pages need.
pub async fn security_headers(State(app): State<App>, request: Request, next: Next) -> Response {
    let (asset, clip) = (request.uri().path().starts_with("/assets/"), request.uri().path().starts_with("/clips/"));
    let handset = app.demo && request.uri().path() == "/handset";
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    // What a switch fetches says itself how long it may be kept.
    let kept = asset || clip && headers.contains_key(header::CACHE_CONTROL);
    let mut set = |name: HeaderName, value| headers.insert(name, HeaderValue::from_static(value));
    set(header::CONTENT_SECURITY_POLICY, "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'none'");
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::X_FRAME_OPTIONS, "DENY");
    // Not `no-referrer`: browsers then send `Origin: null` with our own forms as well.
    set(header::REFERRER_POLICY, "same-origin");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(HeaderName::from_static("permissions-policy"), if handset { HANDSET_PERMISSIONS } else { PERMISSIONS });
    if app.secure() {
        set(header::STRICT_TRANSPORT_SECURITY, HTTPS_ONLY);
    }
    if !kept {
        set(header::CACHE_CONTROL, "no-store");
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pages_may_write() {
        let with = |pairs: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, HeaderValue::from_str(value).unwrap());
            }
            is_same_origin(&headers)
        };
        assert!(with(&[("sec-fetch-site", "same-origin")]));
        assert!(with(&[("origin", "https://calls.example.com"), ("host", "calls.example.com")]));
        for bad in [
            &[("sec-fetch-site", "cross-site"), ("origin", "https://a.example"), ("host", "a.example")][..],
            &[("sec-fetch-site", "same-site")],
            &[("origin", "https://evil.example"), ("host", "calls.example.com")],
            &[("origin", "null"), ("host", "null")],
            &[("host", "calls.example.com")],
            &[],
        ] {
            assert!(!with(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_way_on_leads_where_that_person_may_go() {
        assert_eq!(onward("/undo/abc", false), Some(("/me", "To your account")));
        assert_eq!(onward("/not-me/abc", true), Some(("/me", "To your account")));
        assert_eq!(onward("/me/security/nothing", false), Some(("/me", "To your account")));
        assert_eq!(onward("/desk/call/1", false), Some(("/desk", "To the desk")));
        assert_eq!(onward("/admin/calls/1", false), Some(("/desk", "To the desk")));
        assert_eq!(onward("/menu", true), Some(("/", "To the start")));
        for nowhere in ["/", "/menu", "/desktop", "/v1/calls", ""] {
            assert_eq!(onward(nowhere, false), None, "{nowhere}: nothing is at / without the demo");
        }
    }

    #[test]
    fn cookies_of_the_wrong_shape_are_no_cookies() {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_str(&format!("a=1; cs_desk={}; b=2", "f".repeat(64))).unwrap());
        assert!(cookie(&headers, "cs_desk").is_some());
        assert!(cookie(&headers, "a").is_none());
    }
}
