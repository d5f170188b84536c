//! Random work on two backends at once: whatever one says, the other says too.

use countersign_store::{
    Append, Commit, DocWrite, Expect, Guard, IndexWrite, NewEvent, Options, OutboxRow, Outcome,
    Settle, Store, Stream,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::postgres;
use crate::support::{Dir, id};

const KINDS: [&str; 2] = ["call", "account"];

#[derive(Clone, Debug)]
enum Op {
    Commit(Commit),
    Take { now: i64, lease: i64, limit: usize },
    Settle(u8, Settle),
    Sweep(i64),
}

#[test]
fn a_file_says_the_same_as_memory() {
    compare_with_memory(64, async || {
        let dir = Dir::fast();
        let options = Options {
            durable: false,
            readers: 1,
            ..Options::default()
        };
        let store = Store::sqlite(dir.file("store.db"), options).unwrap();
        (store, Some(dir))
    });
}

#[test]
fn postgresql_says_the_same_as_memory() {
    if postgres::is_missing() {
        return;
    }
    compare_with_memory(24, async || (postgres::store().await, None));
}

fn compare_with_memory(cases: u32, open: impl AsyncFn() -> (Store, Option<Dir>)) {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    // The same cases every time.
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runner
        .run(&vec(op(), 1..40), |ops| {
            runtime.block_on(async {
                let (store, _dir) = open().await;
                compare(&store, ops).await
            })
        })
        .unwrap();
}

async fn compare(store: &Store, ops: Vec<Op>) -> Result<(), TestCaseError> {
    let memory = Store::memory();
    for op in ops {
        prop_assert_eq!(
            outcome(&memory, op.clone()).await,
            outcome(store, op.clone()).await
        );
        prop_assert_eq!(state(&memory).await, state(store).await, "after {:?}", op);
    }
    Ok(())
}

/// Content is hidden from `Debug` output, so that outcomes are compared as text only where they have
/// none.
async fn outcome(store: &Store, op: Op) -> (String, Vec<(Vec<u8>, bool, u32)>) {
    match op {
        Op::Commit(commit) => (format!("{:?}", store.commit(commit).await), Vec::new()),
        Op::Take { now, lease, limit } => {
            let items = store.outbox_take(now, lease, limit).await.unwrap();
            let seen = format!("{items:?}");
            let items = items
                .into_iter()
                .map(|item| (item.body, item.interrupted, item.attempts));
            (seen, items.collect())
        }
        Op::Settle(row, settle) => (
            format!("{:?}", store.outbox_settle(id(row), settle).await),
            Vec::new(),
        ),
        Op::Sweep(now) => (format!("{:?}", store.sweep(now).await), Vec::new()),
    }
}

/// All that can be read.
async fn state(store: &Store) -> impl PartialEq + std::fmt::Debug + use<> {
    let log = store.log(0, 1_000).await.unwrap();
    let mut streams = Vec::new();
    let mut docs = Vec::new();
    let mut due = Vec::new();
    let mut found = Vec::new();
    let mut outbox = Vec::new();
    let mut attempts = Vec::new();
    let mut steps = Vec::new();
    let mut replies = Vec::new();
    for kind in KINDS {
        docs.push(store.docs(kind, None, 1_000).await.unwrap());
        docs.push(store.docs(kind, Some(vec![1]), 2).await.unwrap());
        due.push(store.docs_due(kind, 10, 3).await.unwrap());
        for number in 0..3 {
            streams.push(
                store
                    .events(Stream {
                        kind,
                        id: id(number),
                    })
                    .await
                    .unwrap(),
            );
            found.push(store.find(kind, id(number), 2).await.unwrap());
        }
        found.push(
            store
                .find_any(kind, &[id(0), id(1), id(2)], 3)
                .await
                .unwrap(),
        );
    }
    for number in 0..4 {
        outbox.push(store.outbox_record(id(number)).await.unwrap());
        attempts.push(store.attempts(&number.to_string()).await.unwrap());
    }
    for number in 0..2 {
        steps.push(store.step(&number.to_string()).await.unwrap());
    }
    for number in 0..20 {
        replies.push(store.reply(&number.to_string()).await.unwrap());
    }
    (
        log,
        streams,
        docs,
        due,
        found,
        outbox,
        (attempts, steps, replies),
    )
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        10 => commit().prop_map(Op::Commit),
        2 => (0..30_i64, 0..10_i64, 0..4_usize)
            .prop_map(|(now, lease, limit)| Op::Take { now, lease: now + lease, limit }),
        2 => (0..4_u8, settle()).prop_map(|(row, settle)| Op::Settle(row, settle)),
        1 => prop_oneof![0..30_i64, 172_800_000..172_800_030_i64, 604_800_000..604_800_040_i64]
            .prop_map(Op::Sweep),
    ]
}

fn commit() -> impl Strategy<Value = Commit> {
    let parts = (
        0..30_i64,
        option::weighted(0.5, 0..20_u8),
        vec(guard(), 0..3),
        vec(append(), 0..2),
        vec(doc(), 0..3),
        vec(index(), 0..3),
        vec(row(), 0..2),
    );
    parts.prop_map(
        |(now, command, guards, appends, docs, index, outbox)| Commit {
            now,
            command: command.map(|command| command.to_string()),
            reply: vec![1; command.unwrap_or(0).into()],
            guards,
            appends,
            docs,
            redactions: Vec::new(),
            index,
            outbox,
            notes: Vec::new(),
        },
    )
}

fn guard() -> impl Strategy<Value = Guard> {
    let outcome = prop_oneof![
        3 => Just(Outcome::Fail),
        1 => Just(Outcome::Success),
        1 => Just(Outcome::Check)
    ];
    prop_oneof![
        (0..4_u8, option::of(0..10_i64), 1..4_u32, outcome).prop_map(
            |(key, window, max, outcome)| {
                Guard::Attempt {
                    key: key.to_string(),
                    window,
                    max,
                    outcome,
                }
            }
        ),
        (0..2_u8, prop_oneof![8 => 0..20_u64, 1 => Just(u64::MAX)]).prop_map(|(key, value)| {
            Guard::Step {
                key: key.to_string(),
                value,
            }
        }),
        (0..6_u8, option::of(0..30_i64)).prop_map(|(key, expires)| Guard::Once {
            key: key.to_string(),
            expires
        }),
    ]
}

fn append() -> impl Strategy<Value = Append> {
    let events = vec((0..30_i64, "[a-zä€]{0,4}"), 0..3);
    (kind(), 0..3_u8, 0..4_u64, events).prop_map(|(kind, number, expected, events)| Append {
        stream: Stream {
            kind,
            id: id(number),
        },
        expected,
        events: events
            .into_iter()
            .map(|(at, body)| NewEvent { at, body })
            .collect(),
    })
}

fn doc() -> impl Strategy<Value = DocWrite> {
    let expected = prop_oneof![
        Just(Expect::New),
        Just(Expect::Any),
        (0..4_u64).prop_map(Expect::Version)
    ];
    let id = || vec(0..3_u8, 0..3);
    let body = vec(any::<u8>(), 0..4);
    prop_oneof![
        4 => (kind(), id(), expected, body, option::of(0..20_i64)).prop_map(
            |(kind, id, expected, body, due)| DocWrite::Put { kind, id, expected, body, due }
        ),
        1 => (kind(), id()).prop_map(|(kind, id)| DocWrite::Delete { kind, id }),
        1 => (kind(), id(), 0..3_u64)
            .prop_map(|(kind, id, version)| DocWrite::Still { kind, id, version }),
    ]
}

fn index() -> impl Strategy<Value = IndexWrite> {
    (0..10_u8, kind(), 0..3_u8, 0..5_u8).prop_map(|(what, space, key, found)| {
        let (key, id) = (id(key), id(found));
        match what {
            0 => IndexWrite::Clear { id },
            1..6 => IndexWrite::Add { space, key, id },
            _ => IndexWrite::Remove { space, key, id },
        }
    })
}

fn row() -> impl Strategy<Value = OutboxRow> {
    (0..4_u8, 0..3_u8, vec(any::<u8>(), 0..4), 0..20_i64).prop_map(|(row, owner, body, due)| {
        OutboxRow {
            id: id(row),
            topic: "sms",
            owner: id(owner),
            body,
            due,
        }
    })
}

fn settle() -> impl Strategy<Value = Settle> {
    prop_oneof![
        Just(Settle::Done),
        Just(Settle::Dead),
        (0..30_i64).prop_map(Settle::Retry)
    ]
}

fn kind() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just(KINDS[0]), Just(KINDS[1])]
}
