//! Who is told that something changed: desks by SSE, and the telephone of a call.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use countersign_core::{call::Call, id::{AccountId, CallId}};
use tokio::sync::{broadcast, watch};

use crate::runner::{Line, Reply};

/// Something changed. Carries ids only: whoever is told asks for what they may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A call moved.
    Call(CallId),
    /// The lead has something to look at.
    Alert,
    /// Other policies decide from now on.
    Policy,
}

/// An adapter that can tell a live call's telephone something it did not ask for.
#[async_trait]
pub trait Telephone: Send + Sync {
    /// Makes the telephone do this now, whatever it was doing.
    async fn push(&self, call: &Call, line: &Line, reply: Reply);

    /// What a telephone fetches that plays files from us, by the last part of its address. `None`: there
    /// is no such sound.
    async fn clip(&self, _name: &str) -> Option<Sound> { None }
}

/// A WAV file.
pub struct Sound {
    /// The file.
    pub wav: Vec<u8>,
    /// It is the same for everybody, and may be kept.
    pub keep: bool,
}

/// The notice board of one node.
pub struct Hub {
    notices: broadcast::Sender<Notice>,
    telephones: Mutex<HashMap<String, Arc<dyn Telephone>>>,
    /// Open portal pages. Thousands of them: each is woken for its own account and for nothing else.
    portals: Mutex<HashMap<AccountId, watch::Sender<u64>>>,
}

impl Default for Hub {
    fn default() -> Self { Self { notices: broadcast::channel(1024).0, telephones: Mutex::default(), portals: Mutex::default() } }
}

impl Hub {
    /// Listens. A listener that falls far behind skips notices; it then asks for everything.
    pub fn listen(&self) -> broadcast::Receiver<Notice> { self.notices.subscribe() }

    /// Tells everybody.
    pub fn tell(&self, notice: Notice) {
        // Nobody listening is fine.
        let _ = self.notices.send(notice);
    }

    /// Listens for what happens to one account.
    pub fn listen_for(&self, account: AccountId) -> watch::Receiver<u64> {
        let mut portals = self.portals.lock().unwrap_or_else(PoisonError::into_inner);
        portals.entry(account).or_insert_with(|| watch::channel(0).0).subscribe()
    }

    /// Wakes the open portal pages of an account.
    pub fn tell_account(&self, account: AccountId) {
        let mut portals = self.portals.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = portals.get(&account).is_some_and(|sender| {
            sender.send_modify(|n| *n = n.wrapping_add(1));
            sender.is_closed()
        });
        if gone {
            portals.remove(&account);
        }
    }

    /// Wakes all open portal pages: nobody knows whose account it was.
    pub fn tell_accounts(&self) {
        let accounts: Vec<AccountId> = self.portals.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
        for account in accounts {
            self.tell_account(account);
        }
    }

    /// A page was closed, and listens no more: forget its account if it was the last.
    pub fn left(&self, account: AccountId) {
        let mut portals = self.portals.lock().unwrap_or_else(PoisonError::into_inner);
        if portals.get(&account).is_some_and(watch::Sender::is_closed) {
            portals.remove(&account);
        }
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
