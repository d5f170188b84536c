//! What is kept of a request beside its call, sealed: who asked, what the customer is shown, how
//! often the program came back.
//!
//! The call's id is the hash of the request's secret name (`auth_req_id`, `device_code`), so either
//! leads to the record, and the record leads to neither.

use countersign_core::{
    id::CallId,
    secret::Secret,
    time::{Span, Timestamp},
};
use countersign_store::{DocWrite, Expect};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::clients::Grant;
use crate::runner::{RunError, Runner};

/// The kind under which requests are kept.
pub const KIND: &str = "oauth-request";
/// For how long a request is told apart from one that never was, after its time.
const REMEMBERED: Span = Span::minutes(10);

/// A request of a program.
#[derive(Serialize, Deserialize)]
pub(super) struct Request {
    /// Which program.
    pub(super) client: String,
    /// What the customer knows it by.
    pub(super) client_name: String,
    /// By which grant it is redeemed.
    pub(super) grant: Grant,
    /// What was granted, if the customer agrees.
    pub(super) scope: String,
    /// From when on it is worth nothing.
    pub(super) expires: Timestamp,
    /// How long the program has to wait between two questions.
    pub(super) interval: Span,
    /// When it asked last.
    pub(super) polled: Option<Timestamp>,
    /// What the program and the portal both show.
    pub(super) binding_message: Option<Secret>,
    /// How the program is told of the decision, in ping mode.
    pub(super) ping: Option<Ping>,
    /// The caller gave the PIN that means "I am being forced".
    pub(super) duress: bool,
}

/// What a notice of ping mode needs.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Ping {
    /// The request's name.
    pub(super) auth_req_id: Secret,
    /// The program's own word, by which it knows us.
    pub(super) token: Secret,
}

/// A request as it is stored.
pub(super) struct Stored {
    pub(super) version: u64,
    pub(super) request: Request,
}

/// The call of a request with this secret name.
pub(super) fn call_of(name: &Secret) -> CallId {
    let hash = Sha256::new().chain_update(b"countersign request\0").chain_update(name.expose().as_bytes()).finalize();
    let mut id = [0; 16];
    id.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    CallId(id)
}

impl Request {
    /// The write that keeps it.
    pub(super) fn put(&self, runner: &Runner, call: CallId, expected: Expect) -> Result<DocWrite, RunError> {
        let body = runner.vault.seal(KIND, &call.0, self)?;
        Ok(DocWrite::Put { kind: KIND, id: call.0.to_vec(), expected, body, due: Some((self.expires + REMEMBERED).0) })
    }
}

/// The request of a call.
pub(super) async fn read(runner: &Runner, call: CallId) -> Result<Option<Stored>, RunError> {
    let Some(doc) = runner.store.doc(KIND, &call.0).await? else { return Ok(None) };
    Ok(Some(Stored { version: doc.version, request: runner.vault.unseal(KIND, &call.0, &doc.body)? }))
}

/// What the portal shows of a request before the customer answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestView {
    /// Who asks, as configured by the operator.
    pub client_name: String,
    /// What the program shows or says at its end as well (CIBA §7.1). It is the program's text:
    /// printable, at most 200 characters, to be escaped like any other. **It must be shown** beside
    /// every request that has one.
    pub binding_message: Option<String>,
}

/// Who asks by this call, and with which words: for the page on which the customer approves, types
/// a code, or declines. `None`: no program asks, or the request is over.
pub async fn asked(runner: &Runner, call: CallId) -> Result<Option<RequestView>, RunError> {
    let stored = read(runner, call).await?.filter(|s| s.request.expires > runner.now());
    Ok(stored.map(|s| RequestView {
        client_name: s.request.client_name, binding_message: s.request.binding_message.map(|text| text.expose().to_owned()),
    }))
}
