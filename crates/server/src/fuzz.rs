//! Doors for broken input, where what reads it is not for others: see `crates/fuzz`.

use std::sync::Arc;

use countersign_core::time::Timestamp;

use crate::oidc::{OpenId, Registration};

/// What a program of ours has signed with one of these keys (RFC 7517), as its claims.
#[must_use]
pub fn signed(keys: &str, token: &str) -> Option<serde_json::Value> { crate::oauth::clients::signed_by(keys, token) }

/// The subject of an ID token, with this for the provider's discovery document and its keys. The issuer
/// is `https://id.example.com`, and we are `countersign` there.
#[must_use]
pub fn identity(discovery: &str, keys: &str, token: &str, now: Timestamp) -> Option<String> {
    let registration = Registration { issuer: "https://id.example.com".into(), client_id: "countersign".into(), client_secret: "a long secret that nobody else has".into() };
    let provider = OpenId::new(registration, Arc::new(move || now)).ok()?;
    provider.answered(discovery, keys, &token.into()).map(|who| who.subject.expose().to_owned())
}
