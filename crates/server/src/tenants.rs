//! Several companies in one process: each is a whole installation with a record, keys, policies,
//! numbers, words and an address of its own, and one desk may take the calls of all of them.
//!
//! Nothing is shared but the process and, at the desk, the people who sit there. A request goes to the
//! company whose host it names, before anything of it is read; from there on no code knows that there
//! are others. Only the desk does ([`crate::desk`]): it looks at a call through the floor of its company.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use tower::ServiceExt;

use crate::{
    App,
    config::{Config, ConfigError},
    router,
};

/// A company whose calls another's desk takes.
#[derive(Clone)]
pub struct Tenant {
    /// Its name in the configuration of the desk.
    pub name: String,
    /// The company.
    pub app: App,
}

/// Why several companies cannot be behind one address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FrontError {
    /// An address that names no host.
    #[error("listen.public_url {0:?} names no host: write https://calls.example.com")]
    NoHost(String),
    /// Two with one host.
    #[error("two companies are reached at {0}: give each a host of its own, so that no page, cookie or webhook of one can meet the other's")]
    SameHost(String),
}

/// Why the companies of a configuration cannot be served together.
#[derive(Debug, thiserror::Error)]
pub enum TenantsError {
    /// A name that is none.
    #[error("[[tenants]] name {0:?}: write 1 to 40 letters, digits or dashes, each name once")]
    Name(String),
    /// A file that cannot be read.
    #[error("[[tenants]] {name}: {source}")]
    Config {
        /// Which company.
        name: String,
        /// Why.
        source: ConfigError,
    },
    /// A tenant with tenants.
    #[error("[[tenants]] {0} has tenants of its own: one desk takes the calls of all companies, so name them all in its configuration")]
    Nested(String),
    /// One variable for all.
    #[error("{0} is set: one variable cannot hold the secrets of several companies. Take it away, and name a file in each configuration")]
    Environment(String),
    /// Two Merkle logs with one name.
    #[error("two companies' logs are both called {0}: set log.origin, or give each a host of its own")]
    SameLog(String),
    /// Two that cannot be told apart.
    #[error(transparent)]
    Front(#[from] FrontError),
}

/// Reads the configurations of the companies whose calls this one's desk takes, and sees that they
/// can be served together.
///
/// # Errors
/// See [`TenantsError`].
pub fn read(desk: &Config) -> Result<Vec<(String, PathBuf, Config)>, TenantsError> {
    if desk.tenants.is_empty() {
        return Ok(Vec::new());
    }
    let secret = |name: &str| name.starts_with("COUNTERSIGN_") && ["KEY", "TOKEN", "SECRET", "PASSWORD", "PIN", "USERS"].iter().any(|end| name.ends_with(end));
    if let Some(name) = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).find(|name| secret(name)) {
        return Err(TenantsError::Environment(name));
    }
    let mut hosts = HashMap::from([(host_of(&desk.listen.public_url)?, ())]);
    let mut logs = HashMap::from([(desk.log_origin(), ())]);
    let mut out: Vec<(String, PathBuf, Config)> = Vec::new();
    for tenant in &desk.tenants {
        let name = tenant.name.clone();
        let fits = (1..=40).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !fits || out.iter().any(|(other, ..)| other.eq_ignore_ascii_case(&name)) {
            return Err(TenantsError::Name(name));
        }
        let config = Config::read(&tenant.config).map_err(|source| TenantsError::Config { name: name.clone(), source })?;
        if !config.tenants.is_empty() {
            return Err(TenantsError::Nested(name));
        }
        let host = host_of(&config.listen.public_url)?;
        if hosts.insert(host.clone(), ()).is_some() {
            return Err(FrontError::SameHost(host).into());
        }
        let origin = config.log_origin();
        if logs.insert(origin.clone(), ()).is_some() {
            return Err(TenantsError::SameLog(origin));
        }
        out.push((name, tenant.config.clone(), config));
    }
    Ok(out)
}

struct Front {
    doors: HashMap<String, Router>,
    apps: Vec<App>,
}

/// All routes of all companies; each request goes to the one whose host it names.
///
/// # Errors
/// Two companies with one host, or one without.
pub fn front(apps: Vec<App>) -> Result<Router, FrontError> {
    let mut doors = HashMap::new();
    for app in &apps {
        let host = host_of(&app.public_url)?;
        if doors.insert(host.clone(), router(app.clone())).is_some() {
            return Err(FrontError::SameHost(host));
        }
    }
    Ok(Router::new().fallback(enter).with_state(Arc::new(Front { doors, apps })))
}

async fn enter(State(front): State<Arc<Front>>, request: Request) -> Response {
    match named(&request).and_then(|host| front.doors.get(&host)) {
        Some(door) => {
            let Ok(response) = door.clone().oneshot(request).await;
            response
        }
        // Whoever watches this process knows its port and nothing of companies.
        None if request.uri().path() == "/healthz" => "ok\n".into_response(),
        None if request.uri().path() == "/readyz" => ready(&front.apps).await,
        None => (StatusCode::MISDIRECTED_REQUEST, "nobody answers under this host: the proxy in front must hand the Host header on as it came\n").into_response(),
    }
}

/// Ready: every company's store answers.
async fn ready(apps: &[App]) -> Response {
    for app in apps {
        if let Err(e) = app.runner.answers().await {
            tracing::error!(company = app.company(), error = %e, "not ready");
            return (StatusCode::SERVICE_UNAVAILABLE, "not ready: a store does not answer\n").into_response();
        }
    }
    "ready\n".into_response()
}

/// The host of an address as it stands in requests: with a port, if it is not the scheme's own.
fn host_of(url: &str) -> Result<String, FrontError> {
    let none = || FrontError::NoHost(url.into());
    let url = url::Url::parse(url).map_err(|_| none())?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(none)?;
    Ok(match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}

/// The host that a request names, as [`host_of`] writes it. `None`: none, two, or two that differ.
fn named(request: &Request) -> Option<String> {
    let mut headers = request.headers().get_all(header::HOST).iter();
    let (first, second) = (headers.next(), headers.next());
    // HTTP/2 has it in the request line, and may repeat it.
    let line = request.uri().authority().map(|authority| authority.as_str());
    let header = match first {
        Some(value) => Some(value.to_str().ok()?),
        None => None,
    };
    let host = match (line, header) {
        _ if second.is_some() => return None,
        (Some(line), Some(header)) if !line.eq_ignore_ascii_case(header) => return None,
        (line, header) => line.or(header)?,
    };
    let host = host.to_ascii_lowercase();
    // The ports that nobody writes: browsers leave them out, some webhooks do not.
    Some(host.strip_suffix(":443").or_else(|| host.strip_suffix(":80")).map_or(host.clone(), str::to_owned))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn hosts_are_compared_as_they_stand_in_requests() {
        for (url, host) in [
            ("https://Calls.Example.com", "calls.example.com"), ("https://calls.example.com:443", "calls.example.com"),
            ("http://127.0.0.1:8080", "127.0.0.1:8080"), ("https://calls.example.com:8443/x", "calls.example.com:8443"),
        ] {
            assert_eq!(host_of(url).as_deref(), Ok(host));
        }
        assert!(host_of("calls.example.com").is_err());
        assert!(host_of("file:///etc/hosts").is_err());
    }

    #[test]
    fn a_request_names_one_host_or_none() {
        let named = |uri: &str, hosts: &[&str]| {
            let mut request = Request::builder().uri(uri);
            for host in hosts {
                request = request.header(header::HOST, *host);
            }
            named(&request.body(Body::empty()).unwrap())
        };
        assert_eq!(named("/", &["Calls.example.com"]).as_deref(), Some("calls.example.com"));
        assert_eq!(named("/", &["calls.example.com:443"]).as_deref(), Some("calls.example.com"));
        assert_eq!(named("https://calls.example.com/", &["calls.example.com"]).as_deref(), Some("calls.example.com"));
        assert_eq!(named("https://calls.example.com/", &[]).as_deref(), Some("calls.example.com"));
        assert_eq!(named("/", &["a.example", "b.example"]), None);
        assert_eq!(named("https://a.example/", &["b.example"]), None);
        assert_eq!(named("/", &[]), None);
    }
}
