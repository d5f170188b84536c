//! Who is told that something changed: everybody who follows the store, but not whoever did it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::commit::{Id, Note};

/// How many messages a follower may be behind before it has missed some.
const BEHIND: usize = 4096;

/// The notice board of all handles of one store.
#[derive(Clone)]
pub(crate) struct Board {
    messages: broadcast::Sender<Message>,
    /// More than one node of this process has it.
    shared: Arc<AtomicBool>,
}

#[derive(Clone)]
enum Message {
    Notes(u64, Arc<[(String, Id)]>),
    Missed,
}

/// What a follower hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// This thing changed, on another node.
    Note {
        /// What sort of thing, see [`Note::kind`].
        kind: String,
        /// Which one.
        id: Id,
    },
    /// Some notes were lost: anything may have changed.
    Missed,
}

/// Hears of what other nodes changed, see [`crate::Store::follow`].
pub struct Following {
    node: u64,
    messages: broadcast::Receiver<Message>,
    heard: Vec<Heard>,
}

impl Board {
    pub(crate) fn new() -> Self {
        Self {
            messages: broadcast::channel(BEHIND).0,
            shared: Arc::default(),
        }
    }

    pub(crate) fn share(&self) {
        self.shared.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.shared.load(Ordering::Relaxed)
    }

    pub(crate) fn follow(&self, node: u64) -> Following {
        Following {
            node,
            messages: self.messages.subscribe(),
            heard: Vec::new(),
        }
    }

    /// Tells what this node has changed.
    pub(crate) fn tell(&self, node: u64, notes: &[Note]) {
        self.pass_on(
            node,
            notes.iter().map(|note| (note.kind.to_owned(), note.id)),
        );
    }

    /// Passes on what a node, perhaps of another process, has changed.
    pub(crate) fn pass_on(&self, node: u64, notes: impl Iterator<Item = (String, Id)>) {
        if self.messages.receiver_count() > 0 {
            // Nobody listening any more is fine.
            let _ = self.messages.send(Message::Notes(node, notes.collect()));
        }
    }

    /// Notes of other processes may have been lost.
    pub(crate) fn missed(&self) {
        let _ = self.messages.send(Message::Missed);
    }
}

impl Following {
    /// The next thing that another node changed. Never ends by itself: when the store is closed,
    /// nothing changes any more.
    pub async fn next(&mut self) -> Heard {
        loop {
            if let Some(heard) = self.heard.pop() {
                return heard;
            }
            match self.messages.recv().await {
                Ok(Message::Notes(node, _)) if node == self.node => {}
                Ok(Message::Notes(_, notes)) => self.heard.extend(notes.iter().rev().map(
                    |(kind, id)| Heard::Note {
                        kind: kind.clone(),
                        id: *id,
                    },
                )),
                Ok(Message::Missed) | Err(RecvError::Lagged(_)) => return Heard::Missed,
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}
