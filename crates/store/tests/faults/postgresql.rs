//! Three nodes, one server, a proxy before each node.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashSet};
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use countersign_store::{
    Append, Commit, CommitError, DocWrite, Expect, Guard, NewEvent, Options, OutboxRow, Outcome, Server,
    Settle, Store, Stream,
};
use tokio::task::JoinSet;

use crate::history::{Access, Counter, Did, Judged, Register, Told, check_each};
use crate::proxy::{Fault, Proxy};

const NOW: i64 = 1_000_000;

/// Seeded, so that a failure comes again.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

struct Nodes {
    stores: Vec<Store>,
    proxies: Vec<Proxy>,
    /// Past all proxies.
    plain: Store,
}

/// `None`: there is no server, which in CI is a failure.
async fn nodes() -> Option<Nodes> {
    let Ok(address) = std::env::var("COUNTERSIGN_TEST_POSTGRES") else {
        assert!(std::env::var_os("CI").is_none(), "COUNTERSIGN_TEST_POSTGRES names no server");
        return None;
    };
    let url: url::Url = address.parse().unwrap();
    let server: SocketAddr = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap()).parse().unwrap();
    let schema = format!("f{:x}", RandomState::new().hash_one(std::process::id()));
    let options = || Options {
        readers: 2,
        durable: false,
        ..Options::default()
    };
    let plain = Store::postgres(&Server::new(&address, &schema).unwrap(), options()).await.unwrap();
    let (mut stores, mut proxies) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let proxy = Proxy::to(server).await;
        let mut through = url.clone();
        through.set_port(Some(proxy.address.port())).unwrap();
        let server = Server::new(through.as_str(), &schema).unwrap();
        stores.push(Store::postgres(&server, options()).await.unwrap());
        proxies.push(proxy);
    }
    Some(Nodes {
        stores,
        proxies,
        plain,
    })
}

/// Commits as a caller must: what is busy or unknown is tried again under the same command, at another
/// node.
async fn insist(stores: &[Store], first: usize, commit: Commit) -> Result<(), CommitError> {
    for attempt in 0..200 {
        let store = &stores[(first + attempt) % stores.len()];
        match store.commit(commit.clone()).await {
            Ok(_) | Err(CommitError::Duplicate(_)) => return Ok(()),
            Err(CommitError::Busy | CommitError::Unknown(_)) => tokio::task::yield_now().await,
            Err(other) => return Err(other),
        }
    }
    panic!("it never got through");
}

/// Every command happens exactly once and nothing that was acknowledged is missing, whatever was lost
/// on the way; counts stop exactly at their limits; what each node saw of each count and each document
/// is what one store without faults could have shown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_happens_twice() {
    let Some(Nodes {
        stores,
        proxies,
        plain,
    }) = nodes().await
    else {
        return;
    };
    let (stores, proxies) = (Arc::new(stores), Arc::new(proxies));
    let breaker = {
        let proxies = proxies.clone();
        tokio::spawn(async move {
            let mut dice = Dice(7);
            loop {
                tokio::time::sleep(Duration::from_millis(3 + dice.throw(12))).await;
                let proxy = &proxies[dice.throw(3) as usize];
                match dice.throw(5) {
                    0 | 1 => proxy.next(Fault::LostBefore),
                    2 | 3 => proxy.next(Fault::LostAfter),
                    _ => proxy.cut(),
                }
            }
        })
    };
    let clock = Arc::new(AtomicU64::new(0));
    let mut guesses = JoinSet::new();
    for number in 0..240_usize {
        let (stores, clock) = (stores.clone(), clock.clone());
        guesses.spawn(async move {
            let key = number % 12;
            let id = u128::try_from(number).unwrap().to_be_bytes();
            let commit = Commit {
                now: NOW,
                command: Some(format!("guess/{number}")),
                guards: vec![Guard::Attempt {
                    key: format!("code/{key}"),
                    window: Some(1_000_000),
                    max: 7,
                    outcome: Outcome::Fail,
                }],
                appends: vec![Append {
                    stream: Stream { kind: "call", id },
                    expected: 0,
                    events: vec![NewEvent {
                        at: NOW,
                        body: number.to_string(),
                    }],
                }],
                outbox: vec![OutboxRow {
                    id,
                    topic: "sms",
                    owner: id,
                    body: Vec::new(),
                    due: NOW,
                }],
                ..Commit::default()
            };
            let began = clock.fetch_add(1, Ordering::SeqCst);
            let seen = match insist(&stores, number, commit).await {
                Ok(()) => Judged::Counted,
                Err(CommitError::Denied(0)) => Judged::Denied,
                Err(other) => panic!("{other:?}"),
            };
            let ended = Some((clock.fetch_add(1, Ordering::SeqCst), seen));
            (key, number, Did::<Counter<7>> { op: "guess", began, ended })
        });
    }
    let mut writes = JoinSet::new();
    for writer in 0..9_usize {
        let (stores, clock) = (stores.clone(), clock.clone());
        writes.spawn(async move {
            let (mut dice, mut all) = (Dice(writer as u64), Vec::new());
            for _ in 0..6 {
                let key = dice.throw(3);
                let store = &stores[dice.throw(3) as usize];
                let began = clock.fetch_add(1, Ordering::SeqCst);
                let Ok(doc) = store.doc("profile", &[key as u8]).await else { continue };
                let version = doc.map_or(0, |doc| doc.version);
                let ended = Some((clock.fetch_add(1, Ordering::SeqCst), Told::Version(version)));
                all.push((key, Did::<Register> { op: Access::Read, began, ended }));
                let expected = if version == 0 { Expect::New } else { Expect::Version(version) };
                let put = DocWrite::Put {
                    kind: "profile",
                    id: vec![key as u8],
                    expected,
                    body: Vec::new(),
                    due: None,
                };
                let began = clock.fetch_add(1, Ordering::SeqCst);
                // Without a command: what is unknown stays unknown.
                let told = store.commit(Commit { docs: vec![put], ..Commit::default() }).await;
                let seen = match told {
                    Ok(committed) => Some(Told::Version(committed.versions[0])),
                    Err(CommitError::Conflict) => Some(Told::Conflict),
                    Err(_) => None,
                };
                let ended = seen.map(|seen| (clock.fetch_add(1, Ordering::SeqCst), seen));
                all.push((key, Did { op: Access::Write(version), began, ended }));
            }
            all
        });
    }
    let mut counts: BTreeMap<usize, Vec<Did<Counter<7>>>> = BTreeMap::new();
    let mut acknowledged = HashSet::new();
    for (key, number, did) in guesses.join_all().await {
        if did.ended.as_ref().is_some_and(|(_, seen)| *seen == Judged::Counted) {
            acknowledged.insert(number.to_string());
        }
        counts.entry(key).or_default().push(did);
    }
    let mut registers: BTreeMap<u64, Vec<Did<Register>>> = BTreeMap::new();
    for (key, did) in writes.join_all().await.into_iter().flatten() {
        registers.entry(key).or_default().push(did);
    }
    breaker.abort();
    let fired: usize = proxies.iter().map(|proxy| proxy.seen.fired.load(Ordering::SeqCst)).sum();
    assert!(fired >= 5, "hardly anything was broken: {fired}");

    // Twelve codes, seven evaluations each: exactly.
    assert_eq!(acknowledged.len(), 12 * 7);
    let log = plain.log(0, 1_000).await.unwrap();
    let bodies: Vec<String> = log.iter().map(|row| row.body.clone()).collect();
    assert_eq!(bodies.len(), acknowledged.len(), "each once");
    assert_eq!(bodies.into_iter().collect::<HashSet<_>>(), acknowledged);
    let numbers: Vec<u64> = log.iter().map(|row| row.seq).collect();
    assert_eq!(numbers, (1..=84).collect::<Vec<_>>());
    plain.verify().await.unwrap();
    // One message for each, and each is taken by one of three senders.
    let (one, two) = (plain.node(), plain.node());
    let (one, two, three) = tokio::join!(
        one.outbox_take(NOW, NOW + 1_000, 40),
        two.outbox_take(NOW, NOW + 1_000, 40),
        plain.outbox_take(NOW, NOW + 1_000, 40)
    );
    let taken = [one.unwrap(), two.unwrap(), three.unwrap()].concat();
    assert_eq!(taken.len(), 84);
    for item in &taken {
        assert!(!item.interrupted && plain.outbox_settle(item.id, Settle::Done).await.unwrap());
    }
    check_each(counts);
    check_each(registers);
}

/// A node is cut off in the middle of its transaction, and the database still thinks that it is there:
/// the others wait for seconds, not for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_node_does_not_hold_the_lock() {
    let Some(Nodes { stores, proxies, plain }) = nodes().await else {
        return;
    };
    proxies[0].next(Fault::Silent);
    let stuck = stores[0].clone();
    let commit = |command: &str| Commit {
        now: NOW,
        command: Some(command.to_owned()),
        ..Commit::default()
    };
    let lost = commit("lost");
    let lost = tokio::spawn(async move { stuck.commit(lost).await });
    while proxies[0].seen.fired.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let began = Instant::now();
    insist(std::slice::from_ref(&plain), 0, commit("next")).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    // Whoever asked is told that nobody knows, and asks again.
    assert!(matches!(lost.await.unwrap(), Err(CommitError::Unknown(_))));
    insist(&stores, 0, commit("lost")).await.unwrap();
}

/// No answer passes between the beginning of a transaction and its commit, and commits go on all the same:
/// alone, under load, and with every kind of row that they can be judged by.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_is_one_round_trip() {
    const ROUNDS: u64 = 20;
    let Some(Nodes { stores, proxies, plain }) = nodes().await else {
        return;
    };
    proxies[0].seen.withholds.store(true, Ordering::SeqCst);
    let put = |expected| DocWrite::Put {
        kind: "profile",
        id: b"one".to_vec(),
        expected,
        body: Vec::new(),
        due: None,
    };
    for n in 0..ROUNDS {
        let stream = Stream { kind: "call", id: [1; 16] };
        let event = NewEvent { at: NOW, body: n.to_string() };
        let commit = Commit {
            now: NOW,
            command: Some(format!("alone {n}")),
            guards: vec![
                Guard::Attempt { key: "code".into(), window: Some(1_000), max: 100, outcome: Outcome::Fail },
                Guard::Step { key: "step".into(), value: n },
                Guard::Once { key: format!("once {n}"), expires: None },
            ],
            appends: vec![Append { stream, expected: n, events: vec![event] }],
            docs: vec![
                put(if n == 0 { Expect::New } else { Expect::Version(2 * n) }),
                put(Expect::Any),
                DocWrite::Put { kind: "call", id: vec![n as u8 % 3], expected: Expect::Any, body: Vec::new(), due: None },
                DocWrite::Still { kind: "none", id: vec![7], version: 0 },
            ],
            outbox: vec![OutboxRow { id: u128::from(n).to_be_bytes(), topic: "sms", owner: [0; 16], body: Vec::new(), due: NOW }],
            ..Commit::default()
        };
        let committed = stores[0].commit(commit).await.unwrap();
        assert_eq!((committed.last_seq, committed.versions), (n + 1, vec![2 * n + 1, 2 * n + 2, n / 3 + 1, 0]));
    }
    assert_eq!(plain.attempts("code").await.unwrap().count, ROUNDS as u32);
    assert_eq!(proxies[0].seen.begun.load(Ordering::SeqCst), ROUNDS as usize);
    let mut work = JoinSet::new();
    for task in 0..64_u8 {
        let store = stores[0].clone();
        work.spawn(async move {
            for n in 0..ROUNDS {
                let commit = Commit {
                    now: NOW,
                    command: Some(format!("{task}/{n}")),
                    appends: vec![Append {
                        stream: Stream { kind: "call", id: [task + 2; 16] },
                        expected: n,
                        events: vec![NewEvent { at: NOW, body: String::new() }],
                    }],
                    ..Commit::default()
                };
                store.commit(commit).await.unwrap();
            }
        });
    }
    while let Some(done) = work.join_next().await {
        done.unwrap();
    }
    assert!(proxies[0].seen.begun.load(Ordering::SeqCst) < 65 * ROUNDS as usize, "no group had more than one");
    assert_eq!(plain.head().await.unwrap(), 65 * ROUNDS);
    plain.verify().await.unwrap();
}

/// Whatever a node takes for true that is not: it is told, nothing has happened, and it answers as if it
/// had looked first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_presumed_wrongly_changes_nothing() {
    let Some(Nodes { stores, proxies: _proxies, plain }) = nodes().await else {
        return;
    };
    let fail = |command: &str, max| Commit {
        now: NOW,
        command: Some(command.to_owned()),
        reply: command.as_bytes().to_vec(),
        guards: vec![Guard::Attempt { key: "code".into(), window: Some(1_000), max, outcome: Outcome::Fail }],
        ..Commit::default()
    };
    // Node 0 remembers one failure, the others add to it behind its back.
    stores[0].commit(fail("a", 9)).await.unwrap();
    stores[1].commit(fail("b", 9)).await.unwrap();
    stores[2].commit(fail("c", 9)).await.unwrap();
    stores[0].commit(fail("d", 9)).await.unwrap();
    assert_eq!(plain.attempts("code").await.unwrap().count, 4);
    assert_eq!(stores[1].commit(fail("e", 4)).await, Err(CommitError::Denied(0)));
    assert_eq!(stores[2].commit(fail("a", 4)).await, Err(CommitError::Duplicate(b"a".to_vec())));
    // It forgets at the end of the window what it remembers.
    let later = Commit { now: NOW + 5_000, ..fail("f", 1) };
    stores[2].commit(later).await.unwrap();
    assert_eq!(stores[0].commit(Commit { now: NOW + 5_000, ..fail("g", 1) }).await, Err(CommitError::Denied(0)));

    let step = |value| Commit { now: NOW, guards: vec![Guard::Step { key: "step".into(), value }], ..Commit::default() };
    stores[0].commit(step(5)).await.unwrap();
    for value in [5, 4] {
        assert_eq!(stores[1].commit(step(value)).await, Err(CommitError::Denied(0)));
    }
    let once = |now| Commit { now, guards: vec![Guard::Once { key: "once".into(), expires: Some(NOW + 10) }], ..Commit::default() };
    stores[0].commit(once(NOW)).await.unwrap();
    assert_eq!(stores[1].commit(once(NOW + 10)).await, Err(CommitError::Denied(0)));
    stores[1].commit(once(NOW + 11)).await.unwrap();

    let put = |expected| Commit {
        docs: vec![DocWrite::Put { kind: "profile", id: b"x".to_vec(), expected, body: vec![1], due: None }],
        ..Commit::default()
    };
    assert_eq!(stores[0].commit(put(Expect::Version(1))).await, Err(CommitError::Conflict));
    assert_eq!(stores[0].commit(put(Expect::Any)).await.unwrap().versions, [1]);
    assert_eq!(stores[1].commit(put(Expect::Any)).await.unwrap().versions, [2]);
    assert_eq!(stores[2].commit(put(Expect::New)).await, Err(CommitError::Conflict));
    assert_eq!(stores[2].commit(put(Expect::Version(1))).await, Err(CommitError::Conflict));
    // Deleted and put again: a new one, whatever stood there.
    let mut anew = put(Expect::Any);
    anew.docs.insert(0, DocWrite::Delete { kind: "profile", id: b"x".to_vec() });
    assert_eq!(stores[0].commit(anew).await.unwrap().versions, [0, 1]);
    assert_eq!(plain.doc("profile", b"x").await.unwrap().unwrap().version, 1);

    let append = |expected| Commit {
        appends: vec![Append {
            stream: Stream { kind: "call", id: [1; 16] },
            expected,
            events: vec![NewEvent { at: NOW, body: String::new() }],
        }],
        ..Commit::default()
    };
    assert_eq!(stores[0].commit(append(1)).await, Err(CommitError::Conflict));
    assert_eq!(stores[0].commit(append(0)).await.unwrap().last_seq, 1);
    assert_eq!(stores[1].commit(append(0)).await, Err(CommitError::Conflict));
    assert_eq!(stores[1].commit(append(1)).await.unwrap().last_seq, 2);

    let send = Commit {
        outbox: vec![OutboxRow { id: [3; 16], topic: "sms", owner: [0; 16], body: Vec::new(), due: NOW }],
        ..Commit::default()
    };
    stores[0].commit(send.clone()).await.unwrap();
    assert_eq!(stores[1].commit(send).await, Err(CommitError::Conflict));
    // Settled without having been leased, then once more, and one that there is not.
    assert!(stores[1].outbox_settle([3; 16], Settle::Done).await.unwrap());
    assert!(!stores[2].outbox_settle([3; 16], Settle::Done).await.unwrap());
    assert!(!stores[2].outbox_settle([4; 16], Settle::Done).await.unwrap());
    plain.verify().await.unwrap();
}

/// The server ends every connection, as it does when it is stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_made_again() {
    let Some(Nodes { stores, proxies, .. }) = nodes().await else {
        return;
    };
    let mut following = stores[1].follow();
    for round in 0..4 {
        proxies.iter().for_each(Proxy::cut);
        for (place, store) in stores.iter().enumerate() {
            let doc = store.doc("profile", b"x").await.unwrap();
            assert_eq!(doc.map_or(0, |doc| doc.version), round * 3 + place as u64);
            let put = DocWrite::Put {
                kind: "profile",
                id: b"x".to_vec(),
                expected: Expect::Any,
                body: Vec::new(),
                due: None,
            };
            let command = Some(format!("{round}/{place}"));
            insist(&stores, place, Commit { command, docs: vec![put], ..Commit::default() }).await.unwrap();
        }
    }
    // Whoever listened is told that it may have missed something.
    assert_eq!(following.next().await, countersign_store::Heard::Missed);
}
