//! What must hold when many ask at once.

use std::collections::BTreeSet;

use countersign_store::{CommitError, Committed, Outcome, Store};

use crate::support::*;

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
    assert_eq!(
        count(|outcome| *outcome == Err(CommitError::Denied(0))),
        995
    );
    assert_eq!(store.attempts("pin").await.unwrap().count, 5);
}

pub async fn of_two_hundred_appends_one_fits(store: Store) {
    store
        .commit(at(NOW).append(stream(1), 0, &["first"]))
        .await
        .unwrap();
    let outcomes = together((0..200).map(|number: u32| {
        let store = store.clone();
        let commit = at(NOW).append(stream(1), 1, &[&*number.to_string()]);
        async move { store.commit(commit).await }
    }))
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let conflicts = outcomes
        .iter()
        .filter(|outcome| **outcome == Err(CommitError::Conflict));
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
