//! A schema of its own for every test, in one server for all of them; and what PostgreSQL promises
//! besides.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use countersign_store::{OpenError, Options, Outcome, Server, Store};
use tokio_postgres::{Client, NoTls};

use crate::support::*;

fn address() -> Option<String> {
    std::env::var("COUNTERSIGN_TEST_POSTGRES").ok()
}

/// Whether these tests have to be left out. In CI they must not be.
pub fn is_missing() -> bool {
    let missing = address().is_none();
    if missing {
        let advice = "COUNTERSIGN_TEST_POSTGRES names no server: `cargo xtask test` starts one";
        assert!(std::env::var_os("CI").is_none(), "{advice}");
        eprintln!("left out: {advice}");
    }
    missing
}

/// A schema that nobody else has.
pub fn server() -> Server {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // Also in a server that was used before.
    let random = RandomState::new().hash_one(std::process::id());
    let schema = format!("t{random:x}_{number}");
    Server::new(&address().unwrap(), &schema).unwrap()
}

pub async fn store() -> Store {
    open(&server()).await
}

pub async fn open(server: &Server) -> Store {
    let options = Options {
        readers: 2,
        durable: false,
        ..Options::default()
    };
    Store::postgres(server, options).await.unwrap()
}

/// A connection of an operator, or of somebody who tampers.
pub async fn by_hand(server: &Server) -> Client {
    let (client, connection) = tokio_postgres::connect(&address().unwrap(), NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let path = format!("SET search_path = {}", server.schema());
    client.batch_execute(&path).await.unwrap();
    client
}

/// Why it is not opened.
pub async fn refusal(server: &Server) -> String {
    match Store::postgres(server, Options::default()).await {
        Ok(_) => panic!("it was opened"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_record_that_is_not_whole_or_not_ours_is_refused_with_advice() {
    if is_missing() {
        return;
    }
    let server = server();
    let hand = by_hand(&server).await;
    let run = async |sql: &str| hand.batch_execute(sql).await.unwrap();
    run(&format!("CREATE SCHEMA {}; CREATE TABLE x()", server.schema())).await;
    assert!(refusal(&server).await.contains("another program"));
    run("DROP TABLE x").await;
    let store = open(&server).await;
    store
        .commit(at(NOW).append(stream(1), 0, &["a", "b"]))
        .await
        .unwrap();
    store.verify().await.unwrap();
    store.close().await;

    run("UPDATE meta SET value = 99 WHERE name IN ('schema', 'compatible')").await;
    assert!(refusal(&server).await.contains("start the newer release again"));
    // A newer release that only added something: this one can go on beside it.
    run("UPDATE meta SET value = 1 WHERE name = 'compatible'").await;
    open(&server).await.close().await;
    run("UPDATE meta SET value = 1 WHERE name = 'schema'").await;

    run("INSERT INTO meta VALUES ('filling', 1)").await;
    assert!(refusal(&server).await.contains("countersign migrate"));
    run("UPDATE meta SET name = 'moved' WHERE name = 'filling'").await;
    assert!(refusal(&server).await.contains("moved to another database"));
    run("DELETE FROM meta WHERE name = 'moved'").await;

    run("DELETE FROM event WHERE seq = 2").await;
    assert!(refusal(&server).await.contains("restore a backup"));
    run("UPDATE meta SET value = 1 WHERE name = 'head'").await;
    open(&server).await.close().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_or_not_for_us_says_what_to_do() {
    if is_missing() {
        return;
    }
    // Nobody listens on this port: it was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = port.local_addr().unwrap();
    drop(port);
    let nobody = Server::new(&format!("postgres://u@{free}/c"), "c").unwrap();
    assert!(refusal(&nobody).await.contains("refused"));
    let mut other: url::Url = address().unwrap().parse().unwrap();
    other.set_path("no_such_database");
    let missing = Server::new(other.as_str(), "c").unwrap();
    assert!(refusal(&missing).await.contains("createdb"));
    assert!(matches!(
        Server::new("postgres://u@127.0.0.1", "c"),
        Err(OpenError::Server { .. })
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_take_turns_and_the_log_has_no_gap() {
    if is_missing() {
        return;
    }
    let server = server();
    let nodes = [open(&server).await, open(&server).await, open(&server).await];
    let mut work = tokio::task::JoinSet::new();
    for number in 0..240_u8 {
        let node = nodes[usize::from(number) % 3].clone();
        work.spawn(async move {
            node.commit(at(NOW).append(stream(number), 0, &["a", "b"]))
                .await
        });
    }
    while let Some(committed) = work.join_next().await {
        committed.unwrap().unwrap();
    }
    let log = nodes[0].log(0, 1000).await.unwrap();
    let numbers: Vec<u64> = log.iter().map(|row| row.seq).collect();
    assert_eq!(numbers, (1..=480).collect::<Vec<_>>());
    nodes[1].verify().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_job_takes_none_of_its_neighbours_with_it() {
    if is_missing() {
        return;
    }
    let store = store().await;
    let mut work = tokio::task::JoinSet::new();
    for number in 0..60_u8 {
        let store = store.clone();
        // PostgreSQL keeps no NUL in text: neither in what is written nor in what is looked for.
        let (body, key) = match number % 20 {
            7 => ("a\0", "k"),
            13 => ("a", "k\0"),
            _ => ("a", "k"),
        };
        work.spawn(async move {
            let guard = attempt(&format!("{key}{number}"), None, 5, Outcome::Fail);
            let commit = at(NOW).guard(guard).append(stream(number), 0, &[body]);
            (number, store.commit(commit).await)
        });
    }
    while let Some(done) = work.join_next().await {
        let (number, committed) = done.unwrap();
        let fits = ![7, 13].contains(&(number % 20));
        assert_eq!(committed.is_ok(), fits, "{number}: {committed:?}");
    }
    assert_eq!(store.log(0, 100).await.unwrap().len(), 54);
    store.verify().await.unwrap();
}

/// A node that always has more to do asks for the lock in the moment in which it gives it back: who
/// has waited meanwhile is next all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_node_does_not_overtake_who_waits() {
    const BUSY: u8 = 64;
    if is_missing() {
        return;
    }
    let server = server();
    let (busy, other) = (open(&server).await, open(&server).await);
    let carried = Arc::new(AtomicU32::new(0));
    let done = Arc::new(AtomicBool::new(false));
    let mut work = tokio::task::JoinSet::new();
    for number in 0..BUSY {
        let (busy, carried, done) = (busy.clone(), carried.clone(), done.clone());
        work.spawn(async move {
            for length in 0.. {
                if done.load(Ordering::Relaxed) {
                    return;
                }
                busy.commit(at(NOW).append(stream(number), length, &["a"])).await.unwrap();
                carried.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let mut first = Vec::new();
    for number in 0..20 {
        let before = carried.load(Ordering::Relaxed);
        other.commit(at(NOW).append(stream(BUSY + number), 0, &["b"])).await.unwrap();
        first.push(carried.load(Ordering::Relaxed) - before);
    }
    // The group that is under way, the one that waits already, and what comes while this task is woken
    // up. One of them may have to wait for the machine; not all.
    first.sort_unstable();
    assert!(first[10] < 6 * u32::from(BUSY), "so many commits came first: {first:?}");
    done.store(true, Ordering::Relaxed);
    while let Some(ended) = work.join_next().await {
        ended.unwrap();
    }
}
