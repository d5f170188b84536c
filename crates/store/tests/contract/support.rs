//! Short words for what the tests commit.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use countersign_store::{
    Append, Commit, DocWrite, Expect, Guard, Id, IndexWrite, NewEvent, Options, OutboxRow, Outcome,
    Store, Stream,
};

pub const NOW: i64 = 1_000_000;

pub fn id(number: u8) -> Id {
    [number; 16]
}

pub fn stream(number: u8) -> Stream {
    Stream {
        kind: "call",
        id: id(number),
    }
}

pub fn at(now: i64) -> Commit {
    Commit {
        now,
        ..Commit::default()
    }
}

/// A commit, part by part.
pub trait With: Sized {
    fn command(self, id: &str) -> Self;
    fn reply(self, reply: &str) -> Self;
    fn guard(self, guard: Guard) -> Self;
    fn append(self, stream: Stream, expected: u64, bodies: &[&str]) -> Self;
    fn put(self, id: &str, expected: Expect, body: &str) -> Self;
    fn put_due(self, id: &str, due: i64) -> Self;
    fn delete(self, id: &str) -> Self;
    fn add(self, key: u8, id: u8) -> Self;
    fn remove(self, key: u8, id: u8) -> Self;
    fn send(self, id: u8, due: i64) -> Self;
}

impl With for Commit {
    fn command(mut self, id: &str) -> Self {
        self.command = Some(id.into());
        self
    }

    fn reply(mut self, reply: &str) -> Self {
        self.reply = reply.into();
        self
    }

    fn guard(mut self, guard: Guard) -> Self {
        self.guards.push(guard);
        self
    }

    fn append(mut self, stream: Stream, expected: u64, bodies: &[&str]) -> Self {
        let event = |body: &&str| NewEvent {
            at: self.now,
            body: (*body).to_owned(),
        };
        let events = bodies.iter().map(event).collect();
        self.appends.push(Append {
            stream,
            expected,
            events,
        });
        self
    }

    fn put(mut self, id: &str, expected: Expect, body: &str) -> Self {
        let (id, body) = (id.into(), body.into());
        self.docs.push(DocWrite::Put {
            kind: "account",
            id,
            expected,
            body,
            due: None,
        });
        self
    }

    fn put_due(mut self, id: &str, due: i64) -> Self {
        let (id, body, expected) = (id.into(), Vec::new(), Expect::Any);
        self.docs.push(DocWrite::Put {
            kind: "account",
            id,
            expected,
            body,
            due: Some(due),
        });
        self
    }

    fn delete(mut self, id: &str) -> Self {
        self.docs.push(DocWrite::Delete {
            kind: "account",
            id: id.into(),
        });
        self
    }

    fn add(mut self, key: u8, found: u8) -> Self {
        self.index.push(IndexWrite::Add {
            space: "phone",
            key: id(key),
            id: id(found),
        });
        self
    }

    fn remove(mut self, key: u8, found: u8) -> Self {
        self.index.push(IndexWrite::Remove {
            space: "phone",
            key: id(key),
            id: id(found),
        });
        self
    }

    fn send(mut self, row: u8, due: i64) -> Self {
        let body = format!("code {row}").into_bytes();
        self.outbox.push(OutboxRow {
            id: id(row),
            topic: "sms",
            owner: id(200),
            body,
            due,
        });
        self
    }
}

pub fn attempt(key: &str, window: Option<i64>, max: u32, outcome: Outcome) -> Guard {
    Guard::Attempt {
        key: key.into(),
        window,
        max,
        outcome,
    }
}

pub fn step(key: &str, value: u64) -> Guard {
    Guard::Step {
        key: key.into(),
        value,
    }
}

pub fn once(key: &str, expires: Option<i64>) -> Guard {
    Guard::Once {
        key: key.into(),
        expires,
    }
}

/// A directory that goes with the test.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new() -> Self {
        Self::within(Path::new(env!("CARGO_TARGET_TMPDIR")))
    }

    /// In memory if the system has such a directory: for what is not about durability.
    pub fn fast() -> Self {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() {
            Self::within(memory)
        } else {
            Self::new()
        }
    }

    fn within(parent: &Path) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("countersign-store-{}-{number}", std::process::id());
        let path = parent.join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn store(&self) -> Store {
        Store::sqlite(self.file("store.db"), Options::default()).unwrap()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
