//! What every backend promises.

use std::collections::BTreeSet;

use countersign_store::{
    Attempts, CommitError, Committed, Expect, KEEP_COMMANDS, KEEP_SETTLED, OutboxState, Outcome,
    ReadError, SWEEP_ROWS, Settle, Store, Swept, WriteError,
};

use crate::support::*;

pub async fn a_commit_says_where_it_is(store: Store) {
    let first = at(NOW).append(stream(1), 0, &["a", "b"]).put("x", Expect::Any, "").delete("y");
    let first = store.commit(first).await.unwrap();
    assert_eq!(first, Committed { last_seq: 2, versions: vec![1, 0] });
    let second = store.commit(at(NOW).put("x", Expect::Any, "")).await.unwrap();
    assert_eq!(second, Committed { last_seq: 2, versions: vec![2] });
    store.check().await.unwrap();
    store.verify().await.unwrap();
    assert_eq!(store.queued(), 0);
}

pub async fn a_duplicate_gets_the_first_reply(store: Store) {
    let first = at(NOW).command("c").reply("first").append(stream(1), 0, &["a"]);
    store.commit(first.clone()).await.unwrap();
    let again = store.commit(first.reply("second")).await;
    assert_eq!(again, Err(CommitError::Duplicate(b"first".to_vec())));
    assert_eq!(store.events(stream(1)).await.unwrap().len(), 1);
}

pub async fn a_duplicate_wins_over_everything(store: Store) {
    store.commit(at(NOW).command("c").reply("r").guard(once("o", None))).await.unwrap();
    let again = at(NOW).command("c").guard(once("o", None)).append(stream(1), 9, &["a"]);
    assert_eq!(store.commit(again).await, Err(CommitError::Duplicate(b"r".to_vec())));
}

pub async fn a_commit_without_a_command_is_never_a_duplicate(store: Store) {
    store.commit(at(NOW).append(stream(1), 0, &["a"])).await.unwrap();
    store.commit(at(NOW).append(stream(1), 1, &["a"])).await.unwrap();
    assert_eq!(store.events(stream(1)).await.unwrap().len(), 2);
}

pub async fn appends_must_fit(store: Store) {
    store.commit(at(NOW).append(stream(1), 0, &["a", "b"])).await.unwrap();
    for expected in [0, 1, 3, u64::MAX] {
        let commit = at(NOW).append(stream(1), expected, &["c"]);
        assert_eq!(store.commit(commit).await, Err(CommitError::Conflict), "{expected}");
    }
    // Without events it asserts only.
    assert_eq!(store.commit(at(NOW).append(stream(1), 1, &[])).await, Err(CommitError::Conflict));
    store.commit(at(NOW).append(stream(1), 2, &[])).await.unwrap();
    assert_eq!(store.events(stream(1)).await.unwrap().len(), 2);
    assert!(store.events(stream(2)).await.unwrap().is_empty());
}

pub async fn appends_to_one_stream_see_each_other(store: Store) {
    let commit = at(NOW).append(stream(1), 0, &["a"]).append(stream(1), 1, &["b"]);
    store.commit(commit).await.unwrap();
    let commit = at(NOW).append(stream(1), 2, &["c"]).append(stream(1), 2, &["d"]);
    assert_eq!(store.commit(commit).await, Err(CommitError::Conflict));
    let events = store.events(stream(1)).await.unwrap();
    let bodies: Vec<_> = events.iter().map(|event| (event.seq, event.n, &*event.body)).collect();
    assert_eq!(bodies, [(1, 1, "a"), (2, 2, "b")]);
}

pub async fn the_log_is_in_order_and_without_gaps(store: Store) {
    let both = at(5).append(stream(2), 0, &["b1"]).append(stream(1), 0, &["a1", "a2"]);
    store.commit(both).await.unwrap();
    store.commit(at(6).append(stream(1), 9, &["no"])).await.unwrap_err();
    store.commit(at(4).append(stream(2), 1, &["b2"])).await.unwrap();

    let log = store.log(0, 100).await.unwrap();
    let rows: Vec<_> = log
        .iter()
        .map(|row| (row.seq, row.stream_kind.as_str(), row.stream_id, row.n, row.at, &*row.body))
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

pub async fn documents_have_versions(store: Store) {
    let put = async |expected, body| {
        let committed = store.commit(at(NOW).put("x", expected, body)).await;
        committed.map(|committed| committed.versions)
    };
    assert_eq!(put(Expect::Version(1), "no").await, Err(CommitError::Conflict));
    assert_eq!(put(Expect::Version(0), "no").await, Err(CommitError::Conflict));
    assert_eq!(put(Expect::New, "one").await, Ok(vec![1]));
    assert_eq!(put(Expect::New, "no").await, Err(CommitError::Conflict));
    assert_eq!(put(Expect::Version(1), "two").await, Ok(vec![2]));
    assert_eq!(put(Expect::Version(1), "no").await, Err(CommitError::Conflict));
    assert_eq!(put(Expect::Any, "three").await, Ok(vec![3]));

    let doc = store.doc("account", b"x").await.unwrap().unwrap();
    assert_eq!((doc.version, &*doc.body, doc.due), (3, b"three".as_slice(), None));
    assert_eq!(store.doc("account", b"y").await.unwrap(), None);
    assert_eq!(store.doc("other", b"x").await.unwrap(), None);

    store.commit(at(NOW).delete("x").delete("never there")).await.unwrap();
    assert_eq!(store.doc("account", b"x").await.unwrap(), None);
    assert_eq!(put(Expect::Version(3), "no").await, Err(CommitError::Conflict));
    assert_eq!(put(Expect::New, "again").await, Ok(vec![1]));
}

pub async fn documents_of_one_commit_see_each_other(store: Store) {
    let commit = at(NOW)
        .put("x", Expect::New, "one")
        .put("x", Expect::Version(1), "two")
        .delete("x")
        .put("x", Expect::New, "three");
    assert_eq!(store.commit(commit).await.unwrap().versions, [1, 2, 0, 1]);
    let commit = at(NOW).delete("x").put("x", Expect::Version(1), "no");
    assert_eq!(store.commit(commit).await, Err(CommitError::Conflict));
    assert_eq!(store.doc("account", b"x").await.unwrap().unwrap().body, b"three");
}

pub async fn documents_are_paged_by_id(store: Store) {
    // Ids are bytes: the shorter of two comes first, 0x00 is not an end, 0xff is the last.
    let ids: [&[u8]; 6] = [b"", b"a", b"a\0", b"a\x01", b"b", b"\xff\xff"];
    let mut commit = at(NOW);
    for id in ids.iter().rev() {
        let (id, body) = (id.to_vec(), Vec::new());
        commit.docs.push(countersign_store::DocWrite::Put {
            kind: "account",
            id,
            expected: Expect::New,
            body,
            due: None,
        });
    }
    store.commit(commit).await.unwrap();

    let mut seen: Vec<Vec<u8>> = Vec::new();
    loop {
        let page = store.docs("account", seen.last().cloned(), 2).await.unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 2);
        seen.extend(page.into_iter().map(|(id, _)| id));
    }
    assert_eq!(seen, ids);
    assert!(store.docs("other", None, 10).await.unwrap().is_empty());
    assert!(store.docs("account", None, 0).await.unwrap().is_empty());
}

pub async fn due_documents_come_earliest_first(store: Store) {
    let commit = at(NOW)
        .put_due("late", 30)
        .put_due("b", 20)
        .put_due("a", 20)
        .put_due("early", -10)
        .put("never", Expect::New, "");
    store.commit(commit).await.unwrap();
    let due = async |before, limit| {
        let page = store.docs_due("account", before, limit).await.unwrap();
        page.into_iter().map(|(id, _)| String::from_utf8(id).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(due(20, 10).await, ["early", "a", "b"]);
    assert_eq!(due(19, 10).await, ["early"]);
    assert_eq!(due(i64::MAX, 3).await, ["early", "a", "b"]);
    store.commit(at(NOW).put("early", Expect::Any, "").put_due("late", 0).delete("a")).await.unwrap();
    assert_eq!(due(i64::MAX, 10).await, ["late", "b"]);
}

/// Columns hold 63 bits. What does not fit is refused, never cut.
pub async fn numbers_beyond_the_database_are_refused(store: Store) {
    store.commit(at(i64::MAX).guard(step("s", i64::MAX as u64))).await.unwrap();
    for value in [i64::MAX as u64 + 1, u64::MAX] {
        let denied = store.commit(at(NOW).guard(step("fresh", value))).await;
        assert_eq!(denied, Err(CommitError::Denied(0)));
    }
    store.commit(at(NOW).put("x", Expect::New, "")).await.unwrap();
    let conflict = store.commit(at(NOW).put("x", Expect::Version(u64::MAX), "")).await;
    assert_eq!(conflict, Err(CommitError::Conflict));
    // Windows at the end of time do not wrap round to its beginning.
    let fail = attempt("a", Some(i64::MAX), 1, Outcome::Fail);
    store.commit(at(i64::MAX - 1).guard(fail.clone())).await.unwrap();
    assert_eq!(store.commit(at(i64::MAX).guard(fail)).await, Err(CommitError::Denied(0)));
}

pub async fn failures_count_until_success(store: Store) {
    let judge = async |outcome| store.commit(at(NOW).guard(attempt("k", None, 3, outcome))).await;
    let count = async || store.attempts("k").await.unwrap().count;
    assert_eq!(store.attempts("k").await.unwrap(), Attempts::default());
    judge(Outcome::Success).await.unwrap();
    judge(Outcome::Fail).await.unwrap();
    judge(Outcome::Fail).await.unwrap();
    assert_eq!(count().await, 2);
    judge(Outcome::Success).await.unwrap();
    assert_eq!(count().await, 0);
    for _ in 0..3 {
        judge(Outcome::Fail).await.unwrap();
    }
    // Not even the right word opens it now, at no time.
    for outcome in [Outcome::Fail, Outcome::Check, Outcome::Success] {
        assert_eq!(judge(outcome).await, Err(CommitError::Denied(0)));
        let later = at(i64::MAX).guard(attempt("k", None, 3, outcome));
        assert_eq!(store.commit(later).await, Err(CommitError::Denied(0)));
    }
    assert_eq!(store.attempts("k").await.unwrap(), Attempts { count: 3, until: None });
    store.commit(at(NOW).guard(attempt("other", None, 3, Outcome::Fail))).await.unwrap();
    let never = at(NOW).guard(attempt("fresh", None, 0, Outcome::Check));
    assert_eq!(store.commit(never).await, Err(CommitError::Denied(0)));
}

pub async fn failures_are_forgotten_with_their_window(store: Store) {
    let fail = async |now| store.commit(at(now).guard(attempt("k", Some(100), 2, Outcome::Fail))).await;
    fail(NOW).await.unwrap();
    fail(NOW + 60).await.unwrap();
    let counted = Attempts { count: 2, until: Some(NOW + 100) };
    assert_eq!(store.attempts("k").await.unwrap(), counted);
    // The window runs from the first failure; a refused attempt does not prolong it.
    assert_eq!(fail(NOW + 99).await, Err(CommitError::Denied(0)));
    // Nor does a clock that was set back open it.
    assert_eq!(fail(NOW - 1_000).await, Err(CommitError::Denied(0)));
    fail(NOW + 100).await.unwrap();
    let counted = Attempts { count: 1, until: Some(NOW + 200) };
    assert_eq!(store.attempts("k").await.unwrap(), counted);
    fail(NOW + 150).await.unwrap();
    assert_eq!(fail(NOW + 199).await, Err(CommitError::Denied(0)));
    let success = attempt("k", Some(100), 2, Outcome::Success);
    store.commit(at(NOW + 200).guard(success)).await.unwrap();
    assert_eq!(store.attempts("k").await.unwrap(), Attempts::default());
}

/// A window of nothing would let everybody guess for ever.
pub async fn a_window_must_be_positive(store: Store) {
    for (key, window) in [("zero", 0), ("negative", -5)] {
        let fail = attempt(key, Some(window), 1, Outcome::Fail);
        store.commit(at(NOW).guard(fail.clone())).await.unwrap();
        let denied = store.commit(at(NOW + 10).guard(fail)).await;
        assert_eq!(denied, Err(CommitError::Denied(0)), "{key}");
    }
}

pub async fn a_check_counts_nothing(store: Store) {
    for _ in 0..5 {
        let check = at(NOW).guard(attempt("k", None, 2, Outcome::Check));
        store.commit(check).await.unwrap();
    }
    assert_eq!(store.attempts("k").await.unwrap().count, 0);
}

pub async fn guards_of_one_commit_see_each_other(store: Store) {
    let fail = || attempt("k", None, 2, Outcome::Fail);
    let thrice = at(NOW).guard(fail()).guard(fail()).guard(fail());
    assert_eq!(store.commit(thrice).await, Err(CommitError::Denied(2)));
    assert_eq!(store.attempts("k").await.unwrap().count, 0);
    store.commit(at(NOW).guard(fail()).guard(fail())).await.unwrap();
    assert_eq!(store.attempts("k").await.unwrap().count, 2);
    let twice = at(NOW).guard(once("o", None)).guard(once("o", None));
    assert_eq!(store.commit(twice).await, Err(CommitError::Denied(1)));
    let same = at(NOW).guard(step("s", 1)).guard(step("s", 1));
    assert_eq!(store.commit(same).await, Err(CommitError::Denied(1)));
    store.commit(at(NOW).guard(step("s", 1)).guard(step("s", 2))).await.unwrap();
    let reset = at(NOW)
        .guard(attempt("r", None, 1, Outcome::Fail))
        .guard(attempt("r", None, 2, Outcome::Success))
        .guard(attempt("r", None, 1, Outcome::Check));
    store.commit(reset).await.unwrap();
    assert_eq!(store.attempts("r").await.unwrap().count, 0);
}

pub async fn steps_only_grow(store: Store) {
    let take = async |value| store.commit(at(NOW).guard(step("k", value))).await.map(drop);
    assert_eq!(take(0).await, Ok(()));
    assert_eq!(take(0).await, Err(CommitError::Denied(0)));
    assert_eq!(take(7).await, Ok(()));
    assert_eq!(take(7).await, Err(CommitError::Denied(0)));
    assert_eq!(take(6).await, Err(CommitError::Denied(0)));
    assert_eq!(take(8).await, Ok(()));
    store.commit(at(NOW).guard(step("other", 1))).await.unwrap();
}

pub async fn once_is_once_until_it_expires(store: Store) {
    let take = async |now, key, expires| {
        store.commit(at(now).guard(once(key, expires))).await.map(drop)
    };
    assert_eq!(take(NOW, "short", Some(NOW + 10)).await, Ok(()));
    assert_eq!(take(NOW + 10, "short", None).await, Err(CommitError::Denied(0)));
    assert_eq!(take(NOW + 11, "short", None).await, Ok(()));
    assert_eq!(take(i64::MAX, "short", None).await, Err(CommitError::Denied(0)));
    assert_eq!(take(NOW, "long", None).await, Ok(()));
    assert_eq!(take(i64::MAX, "long", Some(0)).await, Err(CommitError::Denied(0)));
}

pub async fn the_first_guard_that_denies_is_named(store: Store) {
    store.commit(at(NOW).guard(once("used", None)).guard(step("s", 5))).await.unwrap();
    let commit = at(NOW)
        .guard(attempt("k", None, 1, Outcome::Check))
        .guard(step("s", 5))
        .guard(once("used", None))
        .append(stream(1), 7, &["no"]);
    assert_eq!(store.commit(commit).await, Err(CommitError::Denied(1)));
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
        assert_eq!(store.doc("account", b"old").await.unwrap().unwrap().body, b"old");
        assert!(store.find("phone", id(1), 10).await.unwrap().is_empty());
        assert_eq!(store.find("phone", id(9), 10).await.unwrap(), [id(9)]);
        assert_eq!(store.outbox_record(id(1)).await.unwrap(), None);
        assert!(store.outbox_take(NOW, NOW + 1, 10).await.unwrap().is_empty());
    }
    // Neither the command nor the step nor the once-key was remembered.
    assert_eq!(store.commit(full()).await.unwrap().last_seq, 1);
}

pub async fn the_index_finds_what_was_added(store: Store) {
    let commit = at(NOW).add(1, 30).add(1, 10).add(1, 10).add(2, 10).add(2, 20);
    store.commit(commit).await.unwrap();
    assert_eq!(store.find("phone", id(1), 10).await.unwrap(), [id(10), id(30)]);
    assert_eq!(store.find("phone", id(1), 1).await.unwrap(), [id(10)]);
    assert!(store.find("email", id(1), 10).await.unwrap().is_empty());

    let any = async |keys: &[u8], limit| {
        let keys: Vec<_> = keys.iter().map(|key| id(*key)).collect();
        store.find_any("phone", &keys, limit).await.unwrap()
    };
    assert_eq!(any(&[2, 1, 3, 1], 10).await, [id(10), id(20), id(30)]);
    assert_eq!(any(&[2, 1], 2).await, [id(10), id(20)]);
    assert!(any(&[], 10).await.is_empty());
    assert!(any(&[1], 0).await.is_empty());

    store.commit(at(NOW).remove(1, 10).remove(1, 99).add(3, 1).remove(3, 1)).await.unwrap();
    assert_eq!(any(&[1, 2, 3], 10).await, [id(10), id(20), id(30)]);
    assert_eq!(store.find("phone", id(1), 10).await.unwrap(), [id(30)]);
}

pub async fn the_outbox_leases_and_settles(store: Store) {
    store.commit(at(NOW).send(1, NOW + 10)).await.unwrap();
    assert!(store.outbox_take(NOW + 9, NOW + 99, 10).await.unwrap().is_empty());

    let taken = store.outbox_take(NOW + 10, NOW + 20, 10).await.unwrap();
    let [item] = taken.as_slice() else { unreachable!("one row was due: {taken:?}") };
    assert_eq!((item.id, item.topic.as_str(), item.owner), (id(1), "sms", id(200)));
    assert_eq!((&*item.body, item.attempts, item.interrupted), (b"code 1".as_slice(), 1, false));
    assert!(store.outbox_take(NOW + 19, NOW + 99, 10).await.unwrap().is_empty());

    // Whoever says "again" has told: the next attempt is not one after an interruption.
    assert_eq!(store.outbox_settle(id(1), Settle::Retry(NOW + 30)).await, Ok(true));
    assert!(store.outbox_take(NOW + 29, NOW + 99, 10).await.unwrap().is_empty());
    let taken = store.outbox_take(NOW + 30, NOW + 40, 10).await.unwrap();
    let told: Vec<_> = taken.iter().map(|item| (item.attempts, item.interrupted)).collect();
    assert_eq!(told, [(2, false)]);

    assert_eq!(store.outbox_settle(id(1), Settle::Done).await, Ok(true));
    let record = store.outbox_record(id(1)).await.unwrap().unwrap();
    assert_eq!((record.state, record.attempts), (OutboxState::Done, 2));
    assert_eq!((record.topic.as_str(), record.owner), ("sms", id(200)));
    assert!(record.body.is_empty());
    assert!(store.outbox_take(i64::MAX, i64::MAX, 10).await.unwrap().is_empty());
}

pub async fn an_interrupted_lease_is_told(store: Store) {
    store.commit(at(NOW).send(1, NOW)).await.unwrap();
    store.outbox_take(NOW, NOW + 10, 10).await.unwrap();
    let taken = store.outbox_take(NOW + 10, NOW + 20, 10).await.unwrap();
    let told: Vec<_> = taken.iter().map(|item| (item.attempts, item.interrupted)).collect();
    assert_eq!(told, [(2, true)]);
    assert_eq!(taken.first().unwrap().body, b"code 1");
    assert_eq!(store.outbox_settle(id(1), Settle::Dead).await, Ok(true));
    let record = store.outbox_record(id(1)).await.unwrap().unwrap();
    assert_eq!((record.state, record.body.len()), (OutboxState::Dead, 0));
}

pub async fn what_is_settled_stays_settled(store: Store) {
    store.commit(at(NOW).send(1, NOW).send(2, NOW)).await.unwrap();
    store.outbox_take(NOW, NOW + 10, 10).await.unwrap();
    assert_eq!(store.outbox_settle(id(1), Settle::Dead).await, Ok(true));
    assert_eq!(store.outbox_settle(id(2), Settle::Done).await, Ok(true));
    for row in [1, 2, 3] {
        for settle in [Settle::Retry(0), Settle::Done, Settle::Dead] {
            assert_eq!(store.outbox_settle(id(row), settle).await, Ok(false));
        }
    }
    assert_eq!(store.outbox_record(id(1)).await.unwrap().unwrap().state, OutboxState::Dead);
    assert_eq!(store.outbox_record(id(2)).await.unwrap().unwrap().state, OutboxState::Done);
    assert!(store.outbox_take(i64::MAX, i64::MAX, 10).await.unwrap().is_empty());
}

pub async fn an_outbox_id_is_used_once(store: Store) {
    store.commit(at(NOW).send(1, NOW)).await.unwrap();
    assert_eq!(store.commit(at(NOW).send(1, NOW)).await, Err(CommitError::Conflict));
    store.outbox_take(NOW, NOW, 10).await.unwrap();
    store.outbox_settle(id(1), Settle::Done).await.unwrap();
    assert_eq!(store.commit(at(NOW).send(1, NOW)).await, Err(CommitError::Conflict));
}

pub async fn the_outbox_is_taken_in_order(store: Store) {
    let commit = at(NOW).send(4, 30).send(3, 10).send(2, 10).send(1, 20);
    store.commit(commit).await.unwrap();
    let take = async |limit| {
        let taken = store.outbox_take(NOW, i64::MAX, limit).await.unwrap();
        taken.iter().map(|item| item.id).collect::<Vec<_>>()
    };
    assert_eq!(take(3).await, [id(2), id(3), id(1)]);
    assert_eq!(take(3).await, [id(4)]);
    assert!(take(3).await.is_empty());
}

pub async fn a_sweep_forgets_what_is_old(store: Store) {
    let old = at(NOW)
        .command("old")
        .guard(once("short", Some(NOW + 5)))
        .guard(once("ever", None))
        .guard(step("s", 1))
        .guard(attempt("window", Some(10), 1, Outcome::Fail))
        .guard(attempt("lock", None, 1, Outcome::Fail))
        .append(stream(1), 0, &["a"])
        .send(1, NOW)
        .send(2, NOW)
        .send(3, NOW);
    store.commit(old.clone()).await.unwrap();
    store.outbox_take(NOW, NOW + 10, 2).await.unwrap();
    store.outbox_settle(id(1), Settle::Done).await.unwrap();
    store.outbox_settle(id(2), Settle::Dead).await.unwrap();

    let nothing = Swept::default();
    assert_eq!(store.sweep(NOW).await.unwrap(), nothing);
    assert_eq!(store.sweep(NOW + 5).await.unwrap(), nothing);
    assert_eq!(store.sweep(NOW + 10).await.unwrap(), Swept { once: 1, ..nothing });
    assert_eq!(store.sweep(NOW + 11).await.unwrap(), Swept { attempts: 1, ..nothing });
    assert_eq!(store.sweep(NOW + KEEP_COMMANDS).await.unwrap(), nothing);
    assert!(matches!(store.commit(old.clone()).await, Err(CommitError::Duplicate(_))));
    let swept = store.sweep(NOW + KEEP_COMMANDS + 1).await.unwrap();
    assert_eq!(swept, Swept { commands: 1, ..nothing });
    assert_eq!(store.commit(old).await, Err(CommitError::Denied(1)));

    // The end of the lease dates a settled row; one that nobody settled is never forgotten.
    assert_eq!(store.sweep(NOW + KEEP_SETTLED + 10).await.unwrap(), nothing);
    let swept = store.sweep(NOW + KEEP_SETTLED + 11).await.unwrap();
    assert_eq!(swept, Swept { outbox: 2, ..nothing });
    assert_eq!(store.sweep(i64::MAX).await.unwrap().total(), 0);
    assert_eq!(store.outbox_record(id(1)).await.unwrap(), None);
    assert_eq!(store.outbox_record(id(3)).await.unwrap().unwrap().state, OutboxState::Waiting);
    for guard in [step("s", 1), once("ever", None), attempt("lock", None, 1, Outcome::Check)] {
        assert_eq!(store.commit(at(i64::MAX).guard(guard)).await, Err(CommitError::Denied(0)));
    }
    assert_eq!(store.log(0, 10).await.unwrap().len(), 1);
}

pub async fn a_sweep_is_bounded(store: Store) {
    let mut commit = at(NOW);
    for number in 0..SWEEP_ROWS + 1 {
        commit = commit.guard(once(&number.to_string(), Some(NOW)));
    }
    store.commit(commit).await.unwrap();
    assert_eq!(store.sweep(NOW + 1).await.unwrap().once, SWEEP_ROWS);
    assert_eq!(store.sweep(NOW + 1).await.unwrap().total(), 1);
    assert_eq!(store.sweep(NOW + 1).await.unwrap().total(), 0);
}

pub async fn a_thousand_guesses_get_five_evaluations(store: Store) {
    let guess = |number: u32| {
        let guess = at(NOW).command(&number.to_string());
        guess.guard(attempt("pin", Some(1_000), 5, Outcome::Fail))
    };
    let store = &store;
    let outcomes = together((0..1_000).map(|number| {
        let (store, guess) = (store.clone(), guess(number));
        async move { store.commit(guess).await }
    }))
    .await;
    let count = |wanted: fn(&Result<Committed, CommitError>) -> bool| {
        outcomes.iter().filter(|outcome| wanted(outcome)).count()
    };
    assert_eq!(count(|outcome| outcome.is_ok()), 5);
    assert_eq!(count(|outcome| *outcome == Err(CommitError::Denied(0))), 995);
    assert_eq!(store.attempts("pin").await.unwrap().count, 5);
}

pub async fn of_two_hundred_appends_one_fits(store: Store) {
    store.commit(at(NOW).append(stream(1), 0, &["first"])).await.unwrap();
    let outcomes = together((0..200).map(|number: u32| {
        let store = store.clone();
        let commit = at(NOW).append(stream(1), 1, &[&*number.to_string()]);
        async move { store.commit(commit).await }
    }))
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let conflicts = outcomes.iter().filter(|outcome| **outcome == Err(CommitError::Conflict));
    assert_eq!(conflicts.count(), 199);
    assert_eq!(store.log(0, 10).await.unwrap().len(), 2);
}

pub async fn of_many_takers_one_gets_each_row(store: Store) {
    let mut commit = at(NOW);
    for row in 0..100 {
        commit = commit.send(row, NOW);
    }
    store.commit(commit).await.unwrap();
    let taken = together((0..50).map(|_| {
        let store = store.clone();
        async move { store.outbox_take(NOW, NOW + 1, 3).await.unwrap() }
    }))
    .await;
    let ids: Vec<_> = taken.iter().flatten().map(|item| item.id).collect();
    assert_eq!(ids.len(), 100);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 100);
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
    assert!(!hidden.contains("4711") && !hidden.contains("52, 55"), "{hidden}");
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
    assert!(!hidden.contains("4711") && !hidden.contains("52, 55"), "{hidden}");
    assert!(!hidden.contains("code 1") && !hidden.contains("99, 111"), "{hidden}");
    assert!(hidden.contains("<4 bytes>"), "{hidden}");
}

/// All at the same time.
async fn together<T: Send + 'static>(
    tasks: impl Iterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let tasks: Vec<_> = tasks.map(tokio::spawn).collect();
    let mut outcomes = Vec::with_capacity(tasks.len());
    for task in tasks {
        outcomes.push(task.await.unwrap());
    }
    outcomes
}
