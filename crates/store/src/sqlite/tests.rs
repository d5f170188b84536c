//! What needs a look behind the surface: batches that go wrong, writers that die.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::error::Fault;
use crate::rows::Wants;
use crate::sql::{self, releases};
use super::open::prepare_for;
use crate::{
    Append, Commit, CommitError, NewEvent, OpenError, Options, OutboxRow, ReadError, Store, Stream, WriteError,
};

const STREAM: Stream = Stream {
    kind: "call",
    id: [7; 16],
};

/// One bad job is rolled back alone, and the log has no gap.
#[tokio::test]
async fn a_bad_job_leaves_its_neighbours_alone() {
    let dir = Dir::new();
    let store = dir.store(Options::default());
    dir.trigger("ABORT");
    let (held, go) = hold(&store).await;
    let release = async {
        assert_eq!(store.queued(), 3);
        drop(go);
    };
    let (first, bad, last, ()) = tokio::join!(
        store.commit(event("first", 0)),
        store.commit(trips(event("bad", 1))),
        store.commit(event("last", 1)),
        release,
    );
    held.await.unwrap().unwrap();
    assert_eq!(first.unwrap().last_seq, 1);
    assert_eq!(bad, Err(CommitError::Unknown("tripped".into())));
    assert_eq!(last.unwrap().last_seq, 2);
    let log = store.log(0, 10).await.unwrap();
    let bodies: Vec<_> = log
        .iter()
        .map(|row| (row.seq, row.n, row.body.as_str()))
        .collect();
    assert_eq!(bodies, [(1, 1, "first"), (2, 2, "last")]);
    assert_eq!(store.commit(event("bad", 2)).await.unwrap().last_seq, 3);
    store.verify().await.unwrap();
}

/// SQLite may give up the whole transaction, as it does when the disk is full: then nobody may hear
/// that theirs is committed.
#[tokio::test]
async fn a_transaction_that_was_given_up_is_unknown_to_all() {
    let dir = Dir::new();
    let store = dir.store(Options::default());
    dir.trigger("ROLLBACK");
    let (held, go) = hold(&store).await;
    let release = async {
        assert_eq!(store.queued(), 3);
        drop(go);
    };
    let (first, bad, last, ()) = tokio::join!(
        store.commit(event("first", 0)),
        store.commit(trips(event("bad", 1))),
        store.commit(event("last", 1)),
        release,
    );
    held.await.unwrap().unwrap();
    for outcome in [first, bad, last] {
        assert!(
            matches!(outcome, Err(CommitError::Unknown(_))),
            "{outcome:?}"
        );
    }
    assert!(store.log(0, 10).await.unwrap().is_empty());
    assert_eq!(store.commit(event("first", 0)).await.unwrap().last_seq, 1);
    store.verify().await.unwrap();
}

/// What was durable before its answer was lost is found again under its command.
#[tokio::test]
async fn a_lost_answer_is_found_again() {
    let dir = Dir::new();
    let store = dir.store(Options::default());
    let (held, go) = hold(&store).await;
    {
        let lost = store.commit(event("lost", 0));
        tokio::select! {
            biased;
            _ = lost => unreachable!("the writer is held"),
            () = async {} => {}
        }
    }
    drop(go);
    held.await.unwrap().unwrap();
    let again = store.commit(event("lost", 0)).await;
    assert_eq!(again, Err(CommitError::Duplicate(b"lost".to_vec())));
}

/// Dropping the last handle commits what is queued.
#[tokio::test]
async fn dropping_the_store_drains_the_queue() {
    let dir = Dir::new();
    let store = dir.store(Options::default());
    let (held, go) = hold(&store).await;
    tokio::select! {
        biased;
        _ = store.commit(event("queued", 0)) => unreachable!("the writer is held"),
        () = async {} => {}
    }
    held.abort();
    assert!(held.await.unwrap_err().is_cancelled());
    drop(go);
    drop(store);
    assert_eq!(
        dir.store(Options::default())
            .log(0, 10)
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn a_full_queue_is_busy() {
    let dir = Dir::new();
    let store = dir.store(Options {
        queue: 1,
        ..Options::default()
    });
    let (held, go) = hold(&store).await;
    let refused = async {
        assert_eq!(store.queued(), 1);
        let refused = store.commit(event("refused", 0)).await;
        assert_eq!(store.check().await, Err(ReadError::Busy));
        drop(go);
        refused
    };
    let (queued, refused) = tokio::join!(store.commit(event("queued", 0)), refused);
    held.await.unwrap().unwrap();
    assert_eq!(queued.unwrap().last_seq, 1);
    assert_eq!(refused, Err(CommitError::Busy));
}

/// Neither those in its batch nor those behind it nor those who come later.
#[tokio::test]
async fn a_dead_writer_hangs_nobody() {
    for batch in [1, 9] {
        let dir = Dir::new();
        let store = dir.store(Options {
            batch,
            ..Options::default()
        });
        let (held, go) = hold(&store).await;
        let dies = store.write(Wants::nothing, |_| -> Result<(), Fault> { panic!("this panic belongs to a test") });
        let release = async {
            assert_eq!(store.queued(), 2);
            drop(go);
        };
        let (dies, behind, ()) = tokio::join!(dies, store.commit(event("behind", 0)), release);
        held.await.unwrap().unwrap();
        assert!(matches!(dies, Err(WriteError::Unknown(_))), "{dies:?}");
        assert!(matches!(behind, Err(CommitError::Unknown(_))), "{behind:?}");

        store.close().await;
        let after = store.commit(event("after", 0)).await;
        assert_eq!(after, Err(CommitError::Closed));
        let log = dir.store(Options::default()).log(0, 10).await.unwrap();
        assert!(log.is_empty());
    }
}

#[tokio::test]
async fn a_panic_in_a_reader_is_its_askers_alone() {
    let dir = Dir::new();
    let store = dir.store(Options {
        readers: 1,
        ..Options::default()
    });
    let asked = store.read(|_| -> Result<(), Fault> { panic!("this panic belongs to a test") });
    assert!(matches!(asked.await, Err(ReadError::Failed(_))));
    store.check().await.unwrap();
}

/// No statement reads a whole table or sorts: what is slow with a million rows shows here with none.
#[test]
fn every_statement_has_its_index() {
    let dir = Dir::new();
    drop(dir.store(Options::default()));
    let conn = rusqlite::Connection::open(dir.0.join("store.db")).unwrap();
    for statement in sql::BY_KEY {
        let explain = format!("EXPLAIN QUERY PLAN {}", sql::SQLITE.statement(statement));
        let mut explain = conn.prepare(&explain).unwrap();
        let nulls = vec![rusqlite::types::Null; explain.parameter_count()];
        let plan = explain
            .query_map(rusqlite::params_from_iter(nulls), |row| {
                row.get::<_, String>(3)
            })
            .unwrap();
        for step in plan {
            let step = step.unwrap();
            assert!(
                (!step.starts_with("SCAN") || ["SCAN CONSTANT ROW", "SCAN given"].contains(&step.as_str()))
                    && !step.contains("TEMP"),
                "{statement}: {step}"
            );
        }
    }
}

/// A release that adds leaves the one before at work; one that takes away does not; one that fails half-way
/// has done nothing.
#[tokio::test]
async fn releases_expand_first_and_contract_later() {
    let dir = Dir::new();
    let file = dir.0.join("store.db");
    let tables = || -> Vec<String> {
        let conn = rusqlite::Connection::open(&file).unwrap();
        let mut names = conn.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
        names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let works = async |n: u64| {
        let store = dir.store(Options::default());
        store.commit(event(&format!("c{n}"), n)).await.unwrap();
        store.close().await;
    };
    works(0).await;
    let error = prepare_for(&releases::BROKEN, &file).unwrap_err().to_string();
    assert!(error.contains("nowhere"), "{error}");
    assert!(!tables().contains(&"half".to_owned()));
    works(1).await;
    prepare_for(&releases::NEXT, &file).unwrap();
    assert!(tables().contains(&"more".to_owned()));
    works(2).await;
    // What is there is not made again.
    prepare_for(&releases::NEXT, &file).unwrap();
    prepare_for(&releases::AFTER, &file).unwrap();
    let error = Store::sqlite(&file, Options::default()).err().unwrap();
    assert!(matches!(error, OpenError::Newer { found: 3, known: 1, .. }), "{error}");
    // One that knows enough goes on.
    prepare_for(&releases::NEXT, &file).unwrap();
}

fn event(command: &str, expected: u64) -> Commit {
    let event = NewEvent {
        at: 1,
        body: command.into(),
    };
    Commit {
        command: Some(command.into()),
        reply: command.into(),
        appends: vec![Append {
            stream: STREAM,
            expected,
            events: vec![event],
        }],
        ..Commit::default()
    }
}

/// Makes a commit run into [`Dir::trigger`], after its event was written.
fn trips(mut commit: Commit) -> Commit {
    let row = OutboxRow {
        id: [9; 16],
        topic: "trip",
        owner: [0; 16],
        body: Vec::new(),
        due: 0,
    };
    commit.outbox.push(row);
    commit
}

/// Holds up the writer until the sender is dropped, so that what is queued meanwhile shares a batch.
async fn hold(store: &Store) -> (JoinHandle<Result<(), WriteError>>, mpsc::Sender<()>) {
    let (enter, entered) = oneshot::channel();
    let (go, gone) = mpsc::channel::<()>();
    let mut enter = Some(enter);
    let store = store.clone();
    let held = tokio::spawn(async move {
        let wait = move |_: &mut dyn crate::rows::Rows| {
            let _ = enter.take().map(|enter| enter.send(()));
            let _ = gone.recv();
            Ok(())
        };
        store.write(Wants::nothing, wait).await
    });
    entered.await.unwrap();
    (held, go)
}

/// A directory that goes with the test.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("countersign-store-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn store(&self, options: Options) -> Store {
        Store::sqlite(self.0.join("store.db"), options).unwrap()
    }

    /// What happens when a commit [`trips`].
    fn trigger(&self, what: &str) {
        let conn = rusqlite::Connection::open(self.0.join("store.db")).unwrap();
        conn.execute_batch(&format!(
            "CREATE TRIGGER trip BEFORE INSERT ON outbox WHEN NEW.topic = 'trip' \
             BEGIN SELECT RAISE({what}, 'tripped'); END"
        ))
        .unwrap();
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
