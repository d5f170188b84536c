//! Rings a customer back at a number on file, a little after a call in their name was too risky to go
//! on with. Once per call: the new call's id comes from the old one's.

use std::sync::Arc;

use async_trait::async_trait;
use countersign_core::{
    call::Input,
    id::{AccountId, CallId, ContactId},
    time::Span,
};
use countersign_store::OutboxItem;
use serde::{Deserialize, Serialize};

use crate::{
    outbox::{Carried, Courier},
    runner::{Line, RunError, Runner},
};

/// The topic of these errands.
pub const RING_BACK: &str = "ring-back";
/// The caller hears that we ring, and hangs up: before that the line is busy, if it is theirs.
pub const AFTER: Span = Span::seconds(20);

/// Whom to ring.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Wanted {
    /// Whose telephone.
    pub account: AccountId,
    /// At which contact point.
    pub contact: ContactId,
}

/// Carries them out through the adapter that can ring.
pub struct RingBack {
    runner: Arc<Runner>,
    adapter: Option<&'static str>,
}

impl RingBack {
    /// With the adapter that rings, if there is one.
    pub fn new(runner: Arc<Runner>, adapter: Option<&'static str>) -> Self { Self { runner, adapter } }

    async fn ring(&self, item: &OutboxItem) -> Result<Carried, RunError> {
        let Some(adapter) = self.adapter else { return Ok(Carried::Never) };
        let wanted: Wanted = self.runner.vault.unseal("outbox", &item.id, &item.body)?;
        let (of, contact) = (CallId(item.owner), wanted.contact);
        let Some(account) = self.runner.directory.brief(Some(wanted.account), self.runner.now()).await? else { return Ok(Carried::Never) };
        let id = call_back_of(&self.runner, of);
        let make = || Input::RingBack { adapter: adapter.into(), account: account.clone(), contact, of };
        match self.runner.begin(id, format!("ring-back/{of}"), Line::default(), make).await {
            Ok(_) => Ok(Carried::Done),
            Err(RunError::Rejected(why)) => {
                tracing::warn!(call = %of, reason = %why, "a customer who was promised a call back is not rung");
                Ok(Carried::Never)
            }
            Err(e) => Err(e),
        }
    }
}

/// The call that rings back because of this one.
pub fn call_back_of(runner: &Runner, of: CallId) -> CallId { CallId(runner.vault.index.blind(RING_BACK, &of.to_string()).0) }

#[async_trait]
impl Courier for RingBack {
    fn topic(&self) -> &'static str { RING_BACK }

    async fn carry(&self, item: &OutboxItem) -> Carried {
        match self.ring(item).await {
            Ok(carried) => carried,
            Err(RunError::Busy) => Carried::Again(Span::seconds(1)),
            Err(e) => {
                tracing::error!(error = %e, "a customer could not be rung back");
                Carried::Never
            }
        }
    }
}
