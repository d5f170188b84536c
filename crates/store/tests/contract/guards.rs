//! What a guard lets pass.

use countersign_store::{Attempts, CommitError, Expect, Outcome, Store};

use crate::support::*;

pub async fn failures_count_until_success(store: Store) {
    let judge = async |outcome| {
        store
            .commit(at(NOW).guard(attempt("k", None, 3, outcome)))
            .await
    };
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
    assert_eq!(
        store.attempts("k").await.unwrap(),
        Attempts {
            count: 3,
            until: None
        }
    );
    store
        .commit(at(NOW).guard(attempt("other", None, 3, Outcome::Fail)))
        .await
        .unwrap();
    let never = at(NOW).guard(attempt("fresh", None, 0, Outcome::Check));
    assert_eq!(store.commit(never).await, Err(CommitError::Denied(0)));
}

pub async fn failures_are_forgotten_with_their_window(store: Store) {
    let fail = async |now| {
        store
            .commit(at(now).guard(attempt("k", Some(100), 2, Outcome::Fail)))
            .await
    };
    fail(NOW).await.unwrap();
    fail(NOW + 60).await.unwrap();
    let counted = Attempts {
        count: 2,
        until: Some(NOW + 100),
    };
    assert_eq!(store.attempts("k").await.unwrap(), counted);
    // The window runs from the first failure; a refused attempt does not prolong it.
    assert_eq!(fail(NOW + 99).await, Err(CommitError::Denied(0)));
    // Nor does a clock that was set back open it.
    assert_eq!(fail(NOW - 1_000).await, Err(CommitError::Denied(0)));
    fail(NOW + 100).await.unwrap();
    let counted = Attempts {
        count: 1,
        until: Some(NOW + 200),
    };
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

pub async fn steps_only_grow(store: Store) {
    let take = async |value| {
        store
            .commit(at(NOW).guard(step("k", value)))
            .await
            .map(drop)
    };
    assert_eq!(take(0).await, Ok(()));
    assert_eq!(take(0).await, Err(CommitError::Denied(0)));
    assert_eq!(take(7).await, Ok(()));
    assert_eq!(take(7).await, Err(CommitError::Denied(0)));
    assert_eq!(take(6).await, Err(CommitError::Denied(0)));
    assert_eq!(take(8).await, Ok(()));
    assert_eq!(store.step("k").await, Ok(Some(8)));
    assert_eq!(store.step("never").await, Ok(None));
    store.commit(at(NOW).guard(step("other", 1))).await.unwrap();
}

pub async fn once_is_once_until_it_expires(store: Store) {
    let take = async |now, key, expires| {
        store
            .commit(at(now).guard(once(key, expires)))
            .await
            .map(drop)
    };
    assert_eq!(take(NOW, "short", Some(NOW + 10)).await, Ok(()));
    assert_eq!(
        take(NOW + 10, "short", None).await,
        Err(CommitError::Denied(0))
    );
    assert_eq!(take(NOW + 11, "short", None).await, Ok(()));
    assert_eq!(
        take(i64::MAX, "short", None).await,
        Err(CommitError::Denied(0))
    );
    assert_eq!(take(NOW, "long", None).await, Ok(()));
    assert_eq!(
        take(i64::MAX, "long", Some(0)).await,
        Err(CommitError::Denied(0))
    );
}

pub async fn guards_of_one_commit_see_each_other(store: Store) {
    let fail = || attempt("k", None, 2, Outcome::Fail);
    let thrice = at(NOW).guard(fail()).guard(fail()).guard(fail());
    assert_eq!(store.commit(thrice).await, Err(CommitError::Denied(2)));
    assert_eq!(store.attempts("k").await.unwrap().count, 0);
    store
        .commit(at(NOW).guard(fail()).guard(fail()))
        .await
        .unwrap();
    assert_eq!(store.attempts("k").await.unwrap().count, 2);
    let twice = at(NOW).guard(once("o", None)).guard(once("o", None));
    assert_eq!(store.commit(twice).await, Err(CommitError::Denied(1)));
    let same = at(NOW).guard(step("s", 1)).guard(step("s", 1));
    assert_eq!(store.commit(same).await, Err(CommitError::Denied(1)));
    store
        .commit(at(NOW).guard(step("s", 1)).guard(step("s", 2)))
        .await
        .unwrap();
    let reset = at(NOW)
        .guard(attempt("r", None, 1, Outcome::Fail))
        .guard(attempt("r", None, 2, Outcome::Success))
        .guard(attempt("r", None, 1, Outcome::Check));
    store.commit(reset).await.unwrap();
    assert_eq!(store.attempts("r").await.unwrap().count, 0);
}

pub async fn the_first_guard_that_denies_is_named(store: Store) {
    store
        .commit(at(NOW).guard(once("used", None)).guard(step("s", 5)))
        .await
        .unwrap();
    let commit = at(NOW)
        .guard(attempt("k", None, 1, Outcome::Check))
        .guard(step("s", 5))
        .guard(once("used", None))
        .append(stream(1), 7, &["no"]);
    assert_eq!(store.commit(commit).await, Err(CommitError::Denied(1)));
}

/// Columns hold 63 bits. What does not fit is refused, never cut.
pub async fn numbers_beyond_the_database_are_refused(store: Store) {
    store
        .commit(at(i64::MAX).guard(step("s", i64::MAX as u64)))
        .await
        .unwrap();
    for value in [i64::MAX as u64 + 1, u64::MAX] {
        let denied = store.commit(at(NOW).guard(step("fresh", value))).await;
        assert_eq!(denied, Err(CommitError::Denied(0)));
    }
    store
        .commit(at(NOW).put("x", Expect::New, ""))
        .await
        .unwrap();
    let conflict = store
        .commit(at(NOW).put("x", Expect::Version(u64::MAX), ""))
        .await;
    assert_eq!(conflict, Err(CommitError::Conflict));
    // Windows at the end of time do not wrap round to its beginning.
    let fail = attempt("a", Some(i64::MAX), 1, Outcome::Fail);
    store
        .commit(at(i64::MAX - 1).guard(fail.clone()))
        .await
        .unwrap();
    assert_eq!(
        store.commit(at(i64::MAX).guard(fail)).await,
        Err(CommitError::Denied(0))
    );
}
