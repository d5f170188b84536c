//! Who is told that something changed: desks by SSE, and the telephone of a call.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use countersign_core::{call::Call, id::CallId};
use tokio::sync::broadcast;

use crate::runner::{Line, Reply};

/// Something changed. Carries ids only: whoever is told asks for what they may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A call moved.
    Call(CallId),
    /// The lead has something to look at.
    Alert,
}

/// An adapter that can tell a live call's telephone something it did not ask for.
#[async_trait]
pub trait Telephone: Send + Sync {
    /// Makes the telephone do this now, whatever it was doing.
    async fn push(&self, call: &Call, line: &Line, reply: Reply);
}

/// The notice board of one node.
pub struct Hub {
    notices: broadcast::Sender<Notice>,
    telephones: Mutex<HashMap<String, Arc<dyn Telephone>>>,
}

impl Default for Hub {
    fn default() -> Self { Self { notices: broadcast::channel(1024).0, telephones: Mutex::default() } }
}

impl Hub {
    /// Listens. A listener that falls far behind skips notices; it then asks for everything.
    pub fn listen(&self) -> broadcast::Receiver<Notice> { self.notices.subscribe() }

    /// Tells everybody.
    pub fn tell(&self, notice: Notice) {
        // Nobody listening is fine.
        let _ = self.notices.send(notice);
    }

    /// Registers the telephone behind an adapter's name.
    pub fn register(&self, adapter: &str, telephone: Arc<dyn Telephone>) {
        self.telephones.lock().unwrap_or_else(PoisonError::into_inner).insert(adapter.to_owned(), telephone);
    }

    /// The telephone behind an adapter's name.
    pub fn telephone(&self, adapter: &str) -> Option<Arc<dyn Telephone>> {
        self.telephones.lock().unwrap_or_else(PoisonError::into_inner).get(adapter).cloned()
    }
}
