//! A record that moves from a file to a server.

use countersign_store::{CommitError, Expect, Moved, Options, Store, transfer};

use crate::postgres::{is_missing, open, refusal, server};
use crate::support::*;

async fn fill(store: &Store, from: u8, to: u8) {
    for number in from..to {
        let commit = at(NOW + i64::from(number))
            .command(&format!("c{number}"))
            .reply("reply")
            .guard(attempt(&format!("k{}", number % 7), Some(1_000), 200, Outcome::Fail))
            .guard(step(&format!("s{number}"), u64::from(number)))
            .guard(once(&format!("o{number}"), (number % 2 == 0).then_some(NOW)))
            .append(stream(number % 11), u64::from(number / 11) * 2, &["a", "ä€\u{1F600}"])
            .put(&format!("x{number}"), Expect::New, "body")
            .add(number, 1)
            .send(number, NOW);
        store.commit(commit).await.unwrap();
    }
}

use countersign_store::Outcome;

async fn same(file: &Store, moved: &Store) {
    assert_eq!(file.log(0, 10_000).await.unwrap(), moved.log(0, 10_000).await.unwrap());
    assert_eq!(file.docs("account", None, 10_000).await.unwrap(), moved.docs("account", None, 10_000).await.unwrap());
    for number in 0..7 {
        let key = format!("k{number}");
        assert_eq!(file.attempts(&key).await.unwrap(), moved.attempts(&key).await.unwrap());
    }
    assert_eq!(moved.reply("c3").await.unwrap().as_deref(), Some(b"reply".as_slice()));
    assert_eq!(file.find("phone", id(3), 9).await.unwrap(), moved.find("phone", id(3), 9).await.unwrap());
    for number in 0..40 {
        assert!(file.outbox_record(id(number)).await.unwrap() == moved.outbox_record(id(number)).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_record_moves_whole_and_is_served_once() {
    if is_missing() {
        return;
    }
    let (dir, server) = (Dir::new(), server());
    let file = dir.store();
    fill(&file, 0, 20).await;
    let path = dir.file("store.db");
    // While a server runs the log goes ahead; what is half there is not served.
    let ahead = transfer(&path, &server, false, |_, _, _| {}).await.unwrap();
    assert_eq!(ahead, Moved { rows: vec![("event", 40)], finished: false });
    assert!(refusal(&server).await.contains("countersign migrate"));
    fill(&file, 20, 40).await;
    let moved = transfer(&path, &server, true, |_, _, _| {}).await.unwrap();
    assert!(moved.finished);
    assert_eq!(moved.rows.iter().find(|(table, _)| *table == "event"), Some(&("event", 80)));
    assert_eq!(moved.rows.iter().find(|(table, _)| *table == "doc"), Some(&("doc", 40)));
    // The old server still runs: it takes nothing more. Reading does no harm.
    let late = file.commit(at(NOW).append(stream(99), 0, &["late"])).await;
    assert_eq!(late, Err(CommitError::Closed));
    let there = open(&server).await;
    same(&file, &there).await;
    there.verify().await.unwrap();
    file.close().await;
    let again = Store::sqlite(&path, Options::default()).map(drop).unwrap_err();
    assert!(again.to_string().contains("moved to another database"), "{again}");
    // It goes on where it was.
    assert_eq!(there.commit(at(NOW).command("c3")).await, Err(CommitError::Duplicate(b"reply".to_vec())));
    let committed = there.commit(at(NOW).append(stream(99), 0, &["next"])).await.unwrap();
    assert_eq!(committed.last_seq, 81);
    // Nothing is moved over a record that is served.
    let other = Dir::new();
    fill(&other.store(), 0, 2).await;
    let over = transfer(&other.file("store.db"), &server, true, |_, _, _| {}).await;
    assert!(over.unwrap_err().to_string().contains("overwrites nothing"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_died_goes_on_and_nothing_is_served_before() {
    if is_missing() {
        return;
    }
    let (dir, server) = (Dir::new(), server());
    let file = dir.store();
    fill(&file, 0, 10).await;
    file.close().await;
    let path = dir.file("store.db");
    transfer(&path, &server, false, |_, _, _| {}).await.unwrap();
    // It dies between letting the old one go and taking the new one: neither is served.
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute("INSERT INTO meta (name, value) VALUES ('moved', 1)", []).unwrap();
    drop(conn);
    assert!(Store::sqlite(&path, Options::default()).is_err());
    assert!(refusal(&server).await.contains("countersign migrate"));
    assert!(transfer(&path, &server, true, |_, _, _| {}).await.unwrap().finished);
    let there = open(&server).await;
    assert_eq!(there.log(0, 100).await.unwrap().len(), 20);
}

#[tokio::test]
async fn what_arrived_differently_is_not_served() {
    if is_missing() {
        return;
    }
    let (dir, server) = (Dir::new(), server());
    let file = dir.store();
    fill(&file, 0, 3).await;
    transfer(&dir.file("store.db"), &server, false, |_, _, _| {}).await.unwrap();
    let hand = crate::postgres::by_hand(&server).await;
    hand.batch_execute("UPDATE event SET body = 'b' WHERE seq = 2").await.unwrap();
    let differs = transfer(&dir.file("store.db"), &server, true, |_, _, _| {}).await.unwrap_err();
    assert!(differs.to_string().contains("event is not the same"), "{differs}");
    // The old one goes on.
    file.commit(at(NOW).append(stream(50), 0, &["on"])).await.unwrap();
    let nothing = transfer(&dir.file("missing.db"), &server, true, |_, _, _| {}).await.unwrap_err();
    assert!(nothing.to_string().contains("no such file"));
}
