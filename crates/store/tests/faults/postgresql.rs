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
    let fired: usize = proxies.iter().map(|proxy| proxy.fired.load(Ordering::SeqCst)).sum();
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
    while proxies[0].fired.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let began = Instant::now();
    insist(std::slice::from_ref(&plain), 0, commit("next")).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    // Whoever asked is told that nobody knows, and asks again.
    assert!(matches!(lost.await.unwrap(), Err(CommitError::Unknown(_))));
    insist(&stores, 0, commit("lost")).await.unwrap();
}

/// What is queued while a group is carried out is asked for right behind its commit, so that the database
/// waits for no second round trip. A command that comes alone has nothing to be behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_a_group_is_one_round_trip() {
    const ROUNDS: usize = 20;
    let Some(Nodes { stores, proxies, .. }) = nodes().await else {
        return;
    };
    let begun = || [&proxies[0].begun.all, &proxies[0].begun.ahead].map(|count| count.load(Ordering::SeqCst));
    let commit = |command: String| Commit {
        now: NOW,
        command: Some(command),
        ..Commit::default()
    };
    let before = begun();
    for n in 0..ROUNDS {
        stores[0].commit(commit(format!("alone {n}"))).await.unwrap();
    }
    let alone = begun();
    assert_eq!([alone[0] - before[0], alone[1] - before[1]], [ROUNDS, 0]);
    let mut work = JoinSet::new();
    for task in 0..64 {
        let store = stores[0].clone();
        let commits: Vec<Commit> = (0..ROUNDS).map(|n| commit(format!("{task}/{n}"))).collect();
        work.spawn(async move {
            for commit in commits {
                store.commit(commit).await.unwrap();
            }
        });
    }
    while let Some(done) = work.join_next().await {
        done.unwrap();
    }
    let after = begun();
    let (groups, ahead) = (after[0] - alone[0], after[1] - alone[1]);
    assert!(groups < 64 * ROUNDS && ahead * 2 > groups, "{groups} groups, {ahead} of them asked for ahead");
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
