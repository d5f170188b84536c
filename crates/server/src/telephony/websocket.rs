//! WebSockets: the handshake is a request like every other, over the same TLS, and the frames are read by
//! a library.

use axum::http::{HeaderMap, header};
use base64::{Engine, engine::general_purpose::STANDARD};
use sha1::{Digest, Sha1};
use tracing::Level;

/// What both sides add to the key (RFC 6455 §1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What is answered to this key (RFC 6455 §4.2.2).
pub(crate) fn accept(key: &str) -> String { STANDARD.encode(Sha1::digest(format!("{key}{GUID}"))) }

/// The key of a request that opens a WebSocket (RFC 6455 §4.2.1). `None`: it is another request.
pub(crate) fn key(headers: &HeaderMap) -> Option<&str> {
    let has = |name: header::HeaderName, word: &str| {
        headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).any(|v| v.trim().eq_ignore_ascii_case(word))
    };
    let opens = has(header::CONNECTION, "upgrade") && has(header::UPGRADE, "websocket") && has(header::SEC_WEBSOCKET_VERSION, "13");
    let key = headers.get(header::SEC_WEBSOCKET_KEY).and_then(|v| v.to_str().ok())?;
    (opens && STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16)).then_some(key)
}

/// Whether an event of this target and level may be written: below warnings the library that reads frames
/// writes them, with keys and with what somebody says.
#[must_use]
pub fn is_safe_to_log(target: &str, level: &Level) -> bool {
    let library = ["tungstenite", "tokio_tungstenite"].iter().any(|name| target.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::")));
    !library || *level <= Level::WARN
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455 §1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    #[test]
    fn the_standards_example_holds() { assert_eq!(accept(KEY), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="); }

    #[test]
    fn what_opens_no_websocket_has_no_key() {
        let with = |pairs: [(&'static str, &str); 4]| {
            let headers: HeaderMap = pairs.into_iter().map(|(name, value)| (name.parse::<header::HeaderName>().unwrap(), value.parse().unwrap())).collect();
            key(&headers).map(str::to_owned)
        };
        let good = [("connection", "keep-alive, Upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13"), ("sec-websocket-key", KEY)];
        assert_eq!(with(good).as_deref(), Some(KEY));
        for (n, value) in [(0, "close"), (1, "h2c"), (2, "8"), (3, ""), (3, "AAAA"), (3, "not base64"), (2, ""), (0, "")] {
            let mut bad = good;
            bad[n].1 = value;
            assert_eq!(with(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn frames_are_not_written() {
        assert!(!is_safe_to_log("tungstenite::protocol", &Level::TRACE) && !is_safe_to_log("tokio_tungstenite", &Level::DEBUG));
        assert!(is_safe_to_log("tungstenite::protocol", &Level::WARN) && is_safe_to_log("tungstenites", &Level::TRACE) && is_safe_to_log("countersign_server", &Level::TRACE));
    }
}
