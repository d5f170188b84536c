//! Commits, duplicates, streams and the log.

use countersign_store::{
    Attempts, CommitError, Committed, Expect, Outcome, ReadError, Store, WriteError,
};

use crate::support::*;

pub async fn a_commit_says_where_it_is(store: Store) {
    let first = at(NOW)
        .append(stream(1), 0, &["a", "b"])
        .put("x", Expect::Any, "")
        .delete("y");
    let first = store.commit(first).await.unwrap();
    assert_eq!(
        first,
        Committed {
            last_seq: 2,
            versions: vec![1, 0]
        }
    );
    let second = store
        .commit(at(NOW).put("x", Expect::Any, ""))
        .await
        .unwrap();
    assert_eq!(
        second,
        Committed {
            last_seq: 2,
            versions: vec![2]
        }
    );
    store.check().await.unwrap();
    store.verify().await.unwrap();
    assert_eq!(store.queued(), 0);
}

pub async fn a_duplicate_gets_the_first_reply(store: Store) {
    let first = at(NOW)
        .command("c")
        .reply("first")
        .append(stream(1), 0, &["a"]);
    store.commit(first.clone()).await.unwrap();
    let again = store.commit(first.reply("second")).await;
    assert_eq!(again, Err(CommitError::Duplicate(b"first".to_vec())));
    assert_eq!(store.reply("c").await, Ok(Some(b"first".to_vec())));
    assert_eq!(store.reply("never").await, Ok(None));
    assert_eq!(store.events(stream(1)).await.unwrap().len(), 1);
}

pub async fn a_duplicate_wins_over_everything(store: Store) {
    store
        .commit(at(NOW).command("c").reply("r").guard(once("o", None)))
        .await
        .unwrap();
    let again = at(NOW)
        .command("c")
        .guard(once("o", None))
        .append(stream(1), 9, &["a"]);
    assert_eq!(
        store.commit(again).await,
        Err(CommitError::Duplicate(b"r".to_vec()))
    );
}

pub async fn a_commit_without_a_command_is_never_a_duplicate(store: Store) {
    store
        .commit(at(NOW).append(stream(1), 0, &["a"]))
        .await
        .unwrap();
    store
        .commit(at(NOW).append(stream(1), 1, &["a"]))
        .await
        .unwrap();
    assert_eq!(store.events(stream(1)).await.unwrap().len(), 2);
}

pub async fn appends_must_fit(store: Store) {
    store
        .commit(at(NOW).append(stream(1), 0, &["a", "b"]))
        .await
        .unwrap();
    for expected in [0, 1, 3, u64::MAX] {
        let commit = at(NOW).append(stream(1), expected, &["c"]);
        assert_eq!(
            store.commit(commit).await,
            Err(CommitError::Conflict),
            "{expected}"
        );
    }
    // Without events it asserts only.
    assert_eq!(
        store.commit(at(NOW).append(stream(1), 1, &[])).await,
        Err(CommitError::Conflict)
    );
    store
        .commit(at(NOW).append(stream(1), 2, &[]))
        .await
        .unwrap();
    assert_eq!(store.events(stream(1)).await.unwrap().len(), 2);
    assert!(store.events(stream(2)).await.unwrap().is_empty());
    assert_eq!(store.count(stream(1)).await, Ok(2));
    assert_eq!(store.count(stream(2)).await, Ok(0));
}

pub async fn appends_to_one_stream_see_each_other(store: Store) {
    let commit = at(NOW)
        .append(stream(1), 0, &["a"])
        .append(stream(1), 1, &["b"]);
    store.commit(commit).await.unwrap();
    let commit = at(NOW)
        .append(stream(1), 2, &["c"])
        .append(stream(1), 2, &["d"]);
    assert_eq!(store.commit(commit).await, Err(CommitError::Conflict));
    let events = store.events(stream(1)).await.unwrap();
    let bodies: Vec<_> = events
        .iter()
        .map(|event| (event.seq, event.n, &*event.body))
        .collect();
    assert_eq!(bodies, [(1, 1, "a"), (2, 2, "b")]);
}

pub async fn the_log_is_in_order_and_without_gaps(store: Store) {
    let both = at(5)
        .append(stream(2), 0, &["b1"])
        .append(stream(1), 0, &["a1", "a2"]);
    store.commit(both).await.unwrap();
    store
        .commit(at(6).append(stream(1), 9, &["no"]))
        .await
        .unwrap_err();
    store
        .commit(at(4).append(stream(2), 1, &["b2"]))
        .await
        .unwrap();

    let log = store.log(0, 100).await.unwrap();
    let rows: Vec<_> = log
        .iter()
        .map(|row| {
            (
                row.seq,
                row.stream_kind.as_str(),
                row.stream_id,
                row.n,
                row.at,
                &*row.body,
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            (1, "call", id(2), 1, 5, "b1"),
            (2, "call", id(1), 1, 5, "a1"),
            (3, "call", id(1), 2, 5, "a2"),
            (4, "call", id(2), 2, 4, "b2"),
        ]
    );
    let seqs = async |after, limit| {
        let page = store.log(after, limit).await.unwrap();
        page.iter().map(|row| row.seq).collect::<Vec<_>>()
    };
    assert_eq!(seqs(0, 2).await, [1, 2]);
    assert_eq!(seqs(2, 2).await, [3, 4]);
    assert_eq!(seqs(3, usize::MAX).await, [4]);
    assert_eq!(seqs(4, 2).await, []);
    assert_eq!(seqs(u64::MAX, 2).await, []);
    assert_eq!(seqs(0, 0).await, []);
}

pub async fn a_refused_commit_leaves_nothing_behind(store: Store) {
    let before = at(NOW)
        .guard(once("used", None))
        .put("old", Expect::New, "old")
        .add(9, 9)
        .send(9, i64::MAX);
    store.commit(before).await.unwrap();

    let full = || {
        at(NOW)
            .command("c")
            .guard(attempt("k", None, 5, Outcome::Fail))
            .guard(step("s", 5))
            .guard(once("o", None))
            .append(stream(1), 0, &["a"])
            .put("new", Expect::New, "new")
            .put("old", Expect::Version(1), "overwritten")
            .delete("gone")
            .add(1, 1)
            .remove(9, 9)
            .send(1, 0)
    };
    let refused = [
        (full().guard(once("used", None)), CommitError::Denied(3)),
        (full().append(stream(2), 1, &["b"]), CommitError::Conflict),
        (full().put("old", Expect::New, "no"), CommitError::Conflict),
        (full().send(9, 0), CommitError::Conflict),
        (full().send(1, 0), CommitError::Conflict),
    ];
    for (commit, error) in refused {
        assert_eq!(store.commit(commit).await, Err(error));
        assert_eq!(store.attempts("k").await.unwrap(), Attempts::default());
        assert!(store.log(0, 10).await.unwrap().is_empty());
        assert_eq!(store.doc("account", b"new").await.unwrap(), None);
        assert_eq!(
            store.doc("account", b"old").await.unwrap().unwrap().body,
            b"old"
        );
        assert!(store.find("phone", id(1), 10).await.unwrap().is_empty());
        assert_eq!(store.find("phone", id(9), 10).await.unwrap(), [id(9)]);
        assert_eq!(store.outbox_record(id(1)).await.unwrap(), None);
        assert!(
            store
                .outbox_take(NOW, NOW + 1, 10)
                .await
                .unwrap()
                .is_empty()
        );
    }
    assert_eq!(store.reply("c").await, Ok(None));
    assert_eq!(store.step("s").await, Ok(None));
    assert_eq!(store.count(stream(1)).await, Ok(0));
    // Nor was the once-key remembered.
    assert_eq!(store.commit(full()).await.unwrap().last_seq, 1);
}

pub async fn a_closed_store_says_so(store: Store) {
    let other = store.clone();
    store.commit(at(NOW)).await.unwrap();
    store.close().await;
    store.close().await;
    assert_eq!(other.commit(at(NOW)).await, Err(CommitError::Closed));
    assert_eq!(other.sweep(NOW).await, Err(WriteError::Closed));
    assert_eq!(other.log(0, 1).await, Err(ReadError::Closed));
    assert_eq!(other.check().await, Err(ReadError::Closed));
    assert_eq!(other.verify().await, Err(ReadError::Closed));
}

pub async fn content_is_hidden_from_debug_output(store: Store) {
    let commit = at(NOW)
        .command("c")
        .reply("4711")
        .append(stream(1), 0, &["4711"])
        .put("x", Expect::New, "4711")
        .send(1, NOW);
    let hidden = format!("{commit:?}");
    assert!(
        !hidden.contains("4711") && !hidden.contains("52, 55"),
        "{hidden}"
    );
    store.commit(commit.clone()).await.unwrap();
    let hidden = format!(
        "{:?} {:?} {:?} {:?} {:?} {:?}",
        store.commit(commit).await,
        store.log(0, 9).await,
        store.events(stream(1)).await,
        store.docs("account", None, 9).await,
        store.outbox_record(id(1)).await,
        store.outbox_take(NOW, NOW, 9).await,
    );
    assert!(
        !hidden.contains("4711") && !hidden.contains("52, 55"),
        "{hidden}"
    );
    assert!(
        !hidden.contains("code 1") && !hidden.contains("99, 111"),
        "{hidden}"
    );
    assert!(hidden.contains("<4 bytes>"), "{hidden}");
}
