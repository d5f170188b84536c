//! The outbox and the sweep.

use countersign_store::{
    CommitError, KEEP_COMMANDS, KEEP_SETTLED, OutboxState, Outcome, SWEEP_ROWS, Settle, Store,
    Swept,
};

use crate::support::*;

pub async fn the_outbox_leases_and_settles(store: Store) {
    store.commit(at(NOW).send(1, NOW + 10)).await.unwrap();
    assert!(
        store
            .outbox_take(NOW + 9, NOW + 99, 10)
            .await
            .unwrap()
            .is_empty()
    );

    let taken = store.outbox_take(NOW + 10, NOW + 20, 10).await.unwrap();
    let [item] = taken.as_slice() else {
        unreachable!("one row was due: {taken:?}")
    };
    assert_eq!(
        (item.id, item.topic.as_str(), item.owner),
        (id(1), "sms", id(200))
    );
    assert_eq!(
        (&*item.body, item.attempts, item.interrupted),
        (b"code 1".as_slice(), 1, false)
    );
    assert!(
        store
            .outbox_take(NOW + 19, NOW + 99, 10)
            .await
            .unwrap()
            .is_empty()
    );

    // Whoever says "again" has told: the next attempt is not one after an interruption.
    assert_eq!(
        store.outbox_settle(id(1), Settle::Retry(NOW + 30)).await,
        Ok(true)
    );
    assert!(
        store
            .outbox_take(NOW + 29, NOW + 99, 10)
            .await
            .unwrap()
            .is_empty()
    );
    let taken = store.outbox_take(NOW + 30, NOW + 40, 10).await.unwrap();
    let told: Vec<_> = taken
        .iter()
        .map(|item| (item.attempts, item.interrupted))
        .collect();
    assert_eq!(told, [(2, false)]);

    assert_eq!(store.outbox_settle(id(1), Settle::Done).await, Ok(true));
    let record = store.outbox_record(id(1)).await.unwrap().unwrap();
    assert_eq!((record.state, record.attempts), (OutboxState::Done, 2));
    assert_eq!((record.topic.as_str(), record.owner), ("sms", id(200)));
    assert!(record.body.is_empty());
    assert!(
        store
            .outbox_take(i64::MAX, i64::MAX, 10)
            .await
            .unwrap()
            .is_empty()
    );
}

pub async fn an_interrupted_lease_is_told(store: Store) {
    store.commit(at(NOW).send(1, NOW)).await.unwrap();
    store.outbox_take(NOW, NOW + 10, 10).await.unwrap();
    let taken = store.outbox_take(NOW + 10, NOW + 20, 10).await.unwrap();
    let told: Vec<_> = taken
        .iter()
        .map(|item| (item.attempts, item.interrupted))
        .collect();
    assert_eq!(told, [(2, true)]);
    assert_eq!(taken.first().unwrap().body, b"code 1");
    assert_eq!(store.outbox_settle(id(1), Settle::Dead).await, Ok(true));
    let record = store.outbox_record(id(1)).await.unwrap().unwrap();
    assert_eq!((record.state, record.body.len()), (OutboxState::Dead, 0));
}

pub async fn what_is_settled_stays_settled(store: Store) {
    store
        .commit(at(NOW).send(1, NOW).send(2, NOW))
        .await
        .unwrap();
    store.outbox_take(NOW, NOW + 10, 10).await.unwrap();
    assert_eq!(store.outbox_settle(id(1), Settle::Dead).await, Ok(true));
    assert_eq!(store.outbox_settle(id(2), Settle::Done).await, Ok(true));
    for row in [1, 2, 3] {
        for settle in [Settle::Retry(0), Settle::Done, Settle::Dead] {
            assert_eq!(store.outbox_settle(id(row), settle).await, Ok(false));
        }
    }
    assert_eq!(
        store.outbox_record(id(1)).await.unwrap().unwrap().state,
        OutboxState::Dead
    );
    assert_eq!(
        store.outbox_record(id(2)).await.unwrap().unwrap().state,
        OutboxState::Done
    );
    assert!(
        store
            .outbox_take(i64::MAX, i64::MAX, 10)
            .await
            .unwrap()
            .is_empty()
    );
}

pub async fn an_outbox_id_is_used_once(store: Store) {
    store.commit(at(NOW).send(1, NOW)).await.unwrap();
    assert_eq!(
        store.commit(at(NOW).send(1, NOW)).await,
        Err(CommitError::Conflict)
    );
    store.outbox_take(NOW, NOW, 10).await.unwrap();
    store.outbox_settle(id(1), Settle::Done).await.unwrap();
    assert_eq!(
        store.commit(at(NOW).send(1, NOW)).await,
        Err(CommitError::Conflict)
    );
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
    assert_eq!(
        store.sweep(NOW + 10).await.unwrap(),
        Swept { once: 1, ..nothing }
    );
    assert_eq!(
        store.sweep(NOW + 11).await.unwrap(),
        Swept {
            attempts: 1,
            ..nothing
        }
    );
    assert_eq!(store.sweep(NOW + KEEP_COMMANDS).await.unwrap(), nothing);
    assert!(matches!(
        store.commit(old.clone()).await,
        Err(CommitError::Duplicate(_))
    ));
    let swept = store.sweep(NOW + KEEP_COMMANDS + 1).await.unwrap();
    assert_eq!(
        swept,
        Swept {
            commands: 1,
            ..nothing
        }
    );
    assert_eq!(store.commit(old).await, Err(CommitError::Denied(1)));

    // The end of the lease dates a settled row; one that nobody settled is never forgotten.
    assert_eq!(store.sweep(NOW + KEEP_SETTLED + 10).await.unwrap(), nothing);
    let swept = store.sweep(NOW + KEEP_SETTLED + 11).await.unwrap();
    assert_eq!(
        swept,
        Swept {
            outbox: 2,
            ..nothing
        }
    );
    assert_eq!(store.sweep(i64::MAX).await.unwrap().total(), 0);
    assert_eq!(store.outbox_record(id(1)).await.unwrap(), None);
    assert_eq!(
        store.outbox_record(id(3)).await.unwrap().unwrap().state,
        OutboxState::Waiting
    );
    for guard in [
        step("s", 1),
        once("ever", None),
        attempt("lock", None, 1, Outcome::Check),
    ] {
        assert_eq!(
            store.commit(at(i64::MAX).guard(guard)).await,
            Err(CommitError::Denied(0))
        );
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
