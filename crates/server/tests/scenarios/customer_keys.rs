//! A key for each customer: what is erased opens nowhere any more, in no copy of the record.

use std::sync::Arc;

use countersign_core::{id::AccountId, time::Span};
use countersign_server::{
    customers::{self, Customers, ERASED, FRESH, KEY, Standing},
    effects::LINK,
    keyring::{self, LEAD, Master},
    ledger::verify,
    privacy::{HOLD, PrivacyError},
    reseal::{self, sealed_by},
    runner::Runner,
    vault::Vault,
};
use countersign_store::{Append, Commit, DocWrite, Expect, NewEvent, Store, Stream};

use crate::common::{MASTER, Setup, START, World, has_word, people::*, portal::Portal, record::{ORIGIN, called, logged}};

const TINA_NUMBER: &str = "10004716";
/// What only Tina has: Dina lives next door.
const TINAS: [&str; 6] = ["Tina", TINA_LINE, TINA_NUMBER, "1995-02-14", "06804", "tina.bell@example.com"];

fn setup() -> Setup { Setup { keyring: true, ..Setup::default() } }

fn master() -> Master { Master::new(MASTER) }

/// Tina on the line, a new number with its undo link, a note by the agent, and a hold: everything that is
/// sealed about a customer and kept.
async fn a_life(world: &World) { Box::pin(lived(world)).await }

async fn lived(world: &World) {
    let mut robin = world.robin().await;
    let mut call = world.call(TINA_LINE).await;
    call.presses(&["1", "7318", "1"]).await;
    robin.take(&mut call).await;
    robin.act("switch", &[("reason", "Tina Bell of Mill Road says so")]).await.says("Started again from nothing.");
    call.hang_up().await;
    let portal = Portal::confirmed(world, TINA_NUMBER).await;
    // What weakens is told, with a link.
    portal.post("/me/security/preferences", &[("form", "preferences"), ("phone_lock", "on")]).await.is(303);
    portal.post("/me/security/preferences", &[("form", "preferences")]).await.is(303);
    world.app.runner.set_hold(TINA, Some("the case of Tina Bell".into())).await.unwrap();
    world.app.runner.set_hold(TINA, None).await.unwrap();
    world.deliver().await;
}

async fn docs(store: &Store, kind: &'static str) -> Vec<(Vec<u8>, Vec<u8>)> {
    store.docs(kind, None, 10_000).await.unwrap().into_iter().map(|(id, doc)| (id, doc.body)).collect()
}

/// Everything that the keys of an installation open, key store included, in one text.
async fn opened(runner: &Runner, record: &Store) -> String {
    let mut out = String::new();
    for kind in reseal::KINDS {
        for (id, body) in docs(record, kind).await {
            if let Ok(Some(value)) = runner.unseal_about::<serde_json::Value>(kind, &id, &body).await {
                out += &format!("{kind} {value}\n");
            }
        }
    }
    out
}

/// A copy of a record by what a store gives out: for backends that copy themselves by their own tools.
async fn copied(from: &Store, to: &Store) {
    for row in from.log(0, 100_000).await.unwrap() {
        let kind: &'static str = String::leak(row.stream_kind.clone());
        let append = Append { stream: Stream { kind, id: row.stream_id }, expected: row.n - 1, events: vec![NewEvent { at: row.at, body: row.body }] };
        to.commit(Commit { appends: vec![append], ..Commit::default() }).await.unwrap();
    }
    for kind in reseal::KINDS.into_iter().chain(["keyring", "customer-keys", ERASED, "ended", "log-tile", "log-entries", "log-head"]) {
        for (id, doc) in from.docs(kind, None, 10_000).await.unwrap() {
            let docs = vec![DocWrite::Put { kind, id, expected: Expect::New, body: doc.body, due: doc.due }];
            to.commit(Commit { docs, ..Commit::default() }).await.unwrap();
        }
    }
}

async fn put(store: &Store, kind: &'static str, id: &[u8], body: Vec<u8>) {
    let docs = vec![DocWrite::Put { kind, id: id.to_vec(), expected: Expect::Any, body, due: None }];
    store.commit(Commit { docs, ..Commit::default() }).await.unwrap();
}

/// The same installation over another copy of its record.
async fn over(world: &World, record: Store) -> World {
    *world.ground.store.lock().unwrap() = record;
    world.sibling().await
}

fn says(text: &str, private: &[&str]) -> Vec<String> { private.iter().filter(|value| has_word(text, value)).map(|value| (*value).to_owned()).collect() }

#[tokio::test]
async fn a_backup_of_before_an_erasing_opens_for_everybody_else() {
    let world = World::with(Setup { file: true, ..setup() }).await;
    a_life(&world).await;
    called(&world, ANA_LINE).await;
    logged(&world).await;
    let runner = world.app.runner.clone();
    let backup = world.file().with_file_name("backup.db");
    runner.store.backup(&backup).await.unwrap();
    // As long as she is a customer everything opens: her name, what was noted and her address are in it.
    let copy = Store::sqlite(&backup, Default::default()).unwrap();
    let before = opened(&runner, &copy).await;
    assert!(before.contains("Tina Bell of Mill Road says so") && says(&before, &TINAS).len() == TINAS.len(), "{before}");
    copy.close().await;

    runner.erase(TINA).await.unwrap();
    let copy = Store::sqlite(&backup, Default::default()).unwrap();
    let restored = over(&world, copy.clone()).await;
    let (node, keys) = (restored.app.runner.clone(), restored.app.runner.customers.clone());
    // Her rows are all there, sealed, and nothing of hers opens with all the keys that are left.
    let tina = Some(TINA);
    for kind in ["account", "note"] {
        assert!(docs(&copy, kind).await.iter().any(|(_, body)| Vault::owner_of(body) == tina), "{kind}");
    }
    let after = opened(&node, &copy).await;
    assert_eq!(says(&after, &TINAS), Vec::<String>::new(), "{after}");
    // Everybody else's data do.
    assert!(["Ana Torres", "Liam Okafor", "Chidi Okafor"].iter().all(|name| after.contains(name)), "{after}");
    // Nobody finds her before anybody has looked after it, nor afterwards.
    assert!(matches!(node.customer(TINA_NUMBER).await, Err(PrivacyError::NoCustomer)));
    restored.call(TINA_LINE).await.hears("For English, press 1.");
    assert!(node.held(TINA).await.unwrap().is_none());
    assert_eq!(node.reconcile().await.unwrap(), 1);
    assert_eq!(node.reconcile().await.unwrap(), 0);
    assert!(!docs(&copy, "account").await.iter().any(|(id, _)| *id == TINA.0));
    assert!(!docs(&copy, "note").await.iter().any(|(_, body)| Vault::owner_of(body) == tina));
    let by_number = node.vault.index.exact(countersign_core::claim::ClaimKind::Number, TINA_LINE).unwrap();
    assert!(copy.find("number", by_number.0, 9).await.unwrap().is_empty(), "no hash leads to her");
    // The others' calls go on, and the log holds.
    let call = called(&restored, ANA_LINE).await;
    assert!(restored.tells(call, "Proved").await);
    logged(&restored).await;
    let report = verify::database(&node, ORIGIN, |_| {}).await.unwrap();
    assert!(report.holds() && report.unsalted > 0, "{report:?}");
    assert!(matches!(keys.standing(TINA, node.now()).await.unwrap(), Standing::Erased));
    copy.close().await;
}

/// The same on every backend, by what a store gives out.
#[tokio::test]
async fn a_copy_of_the_record_opens_for_everybody_else_wherever_it_is_kept() {
    let in_postgresql = match crate::common::postgresql() {
        Some(_) => Some(World::with(Setup { postgresql: true, ..setup() }).await),
        None => None,
    };
    for world in [Some(World::with(setup()).await), in_postgresql].into_iter().flatten() {
        a_life(&world).await;
        let (runner, copy) = (world.app.runner.clone(), Store::memory());
        logged(&world).await;
        copied(&runner.store, &copy).await;
        assert!(says(&opened(&runner, &copy).await, &TINAS).len() == TINAS.len());
        runner.erase(TINA).await.unwrap();
        logged(&world).await;
        assert!(verify::database(&runner, ORIGIN, |_| {}).await.unwrap().holds());
        let restored = over(&world, copy.clone()).await;
        let text = opened(&restored.app.runner, &copy).await;
        assert_eq!(says(&text, &TINAS), Vec::<String>::new(), "{text}");
        assert!(text.contains("Ana Torres"));
        assert!(verify::database(&restored.app.runner, ORIGIN, |_| {}).await.unwrap().holds());
        assert_eq!(restored.app.runner.reconcile().await.unwrap(), 1);
        assert!(restored.app.runner.directory.load(ANA).await.unwrap().is_some());
    }
}

/// Keys change places, rows change places: nothing opens where it does not belong.
#[tokio::test]
async fn what_is_carried_to_another_customer_does_not_open() {
    let world = World::with(setup()).await;
    let runner = world.app.runner.clone();
    let (store, keys) = (&runner.store, &runner.customers.keys);
    let key_of = async |id: AccountId| keys.doc(KEY, &id.0).await.unwrap().unwrap().body;
    let (ana, liam) = (key_of(ANA).await, key_of(LIAM).await);
    // Liam's key in Ana's place.
    put(keys, KEY, &ANA.0, liam.clone()).await;
    let node = world.sibling().await;
    assert!(node.app.runner.directory.load(ANA).await.is_err());
    assert!(node.app.runner.directory.load(LIAM).await.unwrap().is_some());
    put(keys, KEY, &ANA.0, ana).await;
    // Ana's profile in Liam's place, and under her own name with Liam's account in its header.
    let profile = store.doc("account", &ANA.0).await.unwrap().unwrap().body;
    let theirs = store.doc("account", &LIAM.0).await.unwrap().unwrap().body;
    put(store, "account", &LIAM.0, profile.clone()).await;
    assert!(world.sibling().await.app.runner.directory.load(LIAM).await.is_err());
    put(store, "account", &LIAM.0, theirs).await;
    let mut renamed = profile.clone();
    renamed[1..17].copy_from_slice(&LIAM.0);
    put(store, "account", &ANA.0, renamed).await;
    assert!(world.sibling().await.app.runner.directory.load(ANA).await.is_err());
    put(store, "account", &ANA.0, profile).await;
    // One kind, one place, every byte.
    let Standing::Kept(key) = runner.customers.standing(ANA, START).await.unwrap() else { panic!() };
    let Standing::Kept(other) = runner.customers.standing(LIAM, START).await.unwrap() else { panic!() };
    let sealed = runner.vault.seal_for(&key, "note", b"1", &"x").unwrap();
    let opens = |key, kind, id, sealed: &[u8]| runner.vault.unseal_for::<String>(key, kind, id, sealed).is_ok();
    assert!(opens(&key, "note", b"1", &sealed));
    assert!(!opens(&other, "note", b"1", &sealed) && !opens(&key, "note", b"2", &sealed) && !opens(&key, "link", b"1", &sealed));
    assert!(runner.vault.unseal::<String>("note", b"1", &sealed).is_err());
    for i in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[i] ^= 1;
        assert!(!opens(&key, "note", b"1", &changed) && !opens(&key, "note", b"1", &sealed[..i]), "byte {i}");
    }
    assert!(!format!("{key:?}").contains(&hex::encode(&sealed[..8])) && format!("{key:?}").ends_with("…)"));
}

/// Somebody kept a row of the key store and puts it back, with her profile: she does not come back.
#[tokio::test]
async fn a_key_that_was_put_back_brings_nobody_back() {
    let world = World::with(setup()).await;
    called(&world, ANA_LINE).await;
    let runner = world.app.runner.clone();
    let (store, keys) = (&runner.store, &runner.customers.keys);
    let (profile, key) = (store.doc("account", &ANA.0).await.unwrap().unwrap().body, keys.doc(KEY, &ANA.0).await.unwrap().unwrap().body);
    runner.erase(ANA).await.unwrap();
    put(keys, KEY, &ANA.0, key.clone()).await;
    put(store, "account", &ANA.0, profile.clone()).await;
    let node = world.sibling().await;
    assert!(node.app.runner.directory.load(ANA).await.unwrap().is_none(), "the account's own events say that she was erased");
    assert_eq!(node.app.runner.reconcile().await.unwrap(), 2, "the key, and the profile");
    assert!(store.doc("account", &ANA.0).await.unwrap().is_none());
    assert!(node.app.runner.customers.is_destroyed(ANA).await.unwrap());
    // An older copy of the whole key store: the record knows better.
    let docs = vec![DocWrite::Delete { kind: ERASED, id: ANA.0.to_vec() }];
    keys.commit(Commit { docs, ..Commit::default() }).await.unwrap();
    put(keys, KEY, &ANA.0, key).await;
    assert_eq!(world.sibling().await.app.runner.reconcile().await.unwrap(), 1);
    assert!(matches!(node.app.runner.customers.standing(ANA, node.now() + FRESH).await.unwrap(), Standing::Erased));
    // Nobody gets on the list of the erased without the keys: what would happen then is done by nobody.
    put(keys, ERASED, &LIAM.0, vec![1; 60]).await;
    assert_eq!(node.app.runner.reconcile().await.unwrap(), 0);
    assert!(node.app.runner.directory.load(LIAM).await.unwrap().is_some());
}

/// A node that has her key in memory when another node erases her: it can bring nothing back, hears of it
/// at once as a rule, and after a minute in any case.
#[tokio::test]
async fn a_key_in_memory_resurrects_nobody() {
    let one = World::with(setup()).await;
    let two = one.sibling().await;
    let node = two.app.runner.clone();
    let loaded = node.directory.load(ANA).await.unwrap().unwrap();
    one.app.runner.erase(ANA).await.unwrap();
    // It has heard nothing yet. What it writes of her is not taken, and it makes no second key.
    assert!(node.directory.load(ANA).await.unwrap().is_some());
    let writes = node.directory.update(&loaded, &loaded.profile).unwrap();
    assert!(node.store.commit(Commit { docs: writes.docs, index: writes.index, ..Commit::default() }).await.is_err());
    let Standing::Kept(key) = node.customers.standing(ANA, node.now()).await.unwrap() else { panic!("it has read it a moment ago") };
    let late = node.seal_about("note", &[1; 16], ANA, &"late").await.unwrap().unwrap();
    assert!(node.vault.unseal_for::<String>(&key, "note", &[1; 16], &late).is_ok());
    assert!(node.customers.keep(&[ANA], node.now()).await.is_err());
    assert!(node.unseal_about::<String>("note", &[1; 16], &late).await.unwrap().is_none(), "as nobody has the key any more");
    assert!(matches!(node.customers.standing(ANA, node.now()).await.unwrap(), Standing::Erased));
    assert!(node.seal_about("note", &[1; 16], ANA, &"x").await.unwrap().is_none());
    // The clear copy of her profile goes with the minute, or with the first word.
    one.pass(FRESH);
    assert!(node.directory.load(ANA).await.unwrap().is_none());
    let four = one.sibling().await;
    assert!(four.app.runner.directory.load(LIAM).await.unwrap().is_some());
    one.app.runner.erase(LIAM).await.unwrap();
    let heard = countersign_store::Heard::Note { kind: "account".into(), id: LIAM.0 };
    four.app.runner.heard(&heard, &four.app.agents).await.unwrap();
    assert!(four.app.runner.directory.load(LIAM).await.unwrap().is_none());
}

/// She is erased at the moment at which her call begins, which nobody has seen: it goes on, about nobody.
#[tokio::test]
async fn a_call_whose_customer_is_erased_under_it_ends_well() {
    let world = World::with(setup()).await;
    let other = world.sibling().await;
    let runner = world.app.runner.clone();
    let mut robin = world.robin().await;
    let mut call = world.call(ANA_LINE).await;
    call.press("1").await;
    // What the commit of an erasing does that did not see the call.
    let loaded = runner.directory.load(ANA).await.unwrap().unwrap();
    let writes = runner.directory.remove(&loaded);
    runner.store.commit(Commit { docs: writes.docs, index: writes.index, ..Commit::default() }).await.unwrap();
    runner.customers.destroy(ANA, world.now()).await.unwrap();
    // On the node that still has her profile in memory, and on one that never had.
    call.presses(&["4071", "1"]).await;
    call = call.at(&other);
    call.presses(&["2", "2"]).await;
    call = call.at(&world);
    assert!(!world.tells(call.id, "Proved").await, "there is nothing any more that could prove");
    robin.take(&mut call).await;
    robin.page().await.ok().hides(&ANA_PRIVATE);
    robin.request("change:address").await;
    robin.act("switch", &[("reason", "somebody was erased meanwhile")]).await;
    call.hang_up().await;
    assert!(world.tells(call.id, "ended").await || world.tells(call.id, "hung up").await, "{:?}", world.story(call.id).await);
    // Both at once, in whatever order: she is on the line, or she is erased.
    let raced = World::with(setup()).await;
    let (erased, mut call) = tokio::join!(raced.app.runner.erase(ANA), raced.call(ANA_LINE));
    assert!(matches!(erased, Ok(_) | Err(PrivacyError::Live(_))), "{erased:?}");
    call.presses(&["1", "4071", "1"]).await;
    call.hang_up().await;
}

#[tokio::test]
async fn a_key_is_destroyed_once_and_not_under_a_hold() {
    let world = World::with(Setup { file: true, ..setup() }).await;
    let runner = world.app.runner.clone();
    runner.set_hold(ANA, Some("case 17".into())).await.unwrap();
    assert!(matches!(runner.erase(ANA).await, Err(PrivacyError::Held(_))));
    assert!(!runner.customers.is_destroyed(ANA).await.unwrap());
    let hold = runner.store.doc(HOLD, &ANA.0).await.unwrap().unwrap();
    assert_eq!(Vault::owner_of(&hold.body), Some(ANA));
    runner.set_hold(ANA, None).await.unwrap();
    runner.erase(ANA).await.unwrap();
    assert!(matches!(runner.erase(ANA).await, Err(PrivacyError::NoCustomer)));
    runner.customers.destroy(ANA, world.now()).await.unwrap();
    assert_eq!((runner.reconcile().await.unwrap(), runner.finish_erasures().await.unwrap()), (0, 0));
    // A crash between the record and the key store: the next start finishes it.
    assert!(runner.directory.load(LIAM).await.unwrap().is_some(), "its key is in memory");
    runner.customers.keys.close().await;
    assert!(runner.erase(LIAM).await.is_err());
    let world = world.restart().await;
    let runner = world.app.runner.clone();
    assert!(runner.directory.load(LIAM).await.unwrap().is_none() && !runner.customers.is_destroyed(LIAM).await.unwrap());
    assert_eq!(runner.finish_erasures().await.unwrap(), 1);
    assert!(runner.customers.is_destroyed(LIAM).await.unwrap());
    assert_eq!(runner.finish_erasures().await.unwrap(), 0);
}

/// A record from before: everything opens while the keys come, and then everything about a customer is
/// sealed with that customer's.
#[tokio::test]
async fn a_record_of_before_is_sealed_anew_while_calls_go_on() {
    let first = World::with(Setup { people: false, ..setup() }).await;
    let store = first.app.runner.store.clone();
    // Nodes of an older release are there.
    let body = store.doc("customer-keys", b"1").await.unwrap().unwrap().body;
    let mut stands: serde_json::Value = serde_json::from_slice(&body).unwrap();
    stands["from"] = serde_json::Value::Null;
    put(&store, "customer-keys", b"1", stands.to_string().into_bytes()).await;
    let world = first.sibling().await;
    for profile in everybody(START) {
        world.add(&profile).await;
    }
    a_life(&world).await;
    let runner = world.app.runner.clone();
    runner.set_hold(LIAM, Some("case 17".into())).await.unwrap();
    let owned = async |kind| docs(&store, kind).await.iter().map(|(_, body)| Vault::owner_of(body)).collect::<Vec<_>>();
    for kind in ["account", "note", HOLD] {
        let owned = owned(kind).await;
        assert!(!owned.is_empty() && owned.iter().all(Option::is_none), "{kind}: an older node opens everything");
    }
    let all = async || while runner.reseal().await.unwrap() {};
    all().await;
    assert!(owned("account").await.iter().all(Option::is_none), "not before everybody can");

    assert!(runner.customers.begin(&store, world.now()).await.unwrap());
    assert!(!runner.customers.begin(&store, world.now()).await.unwrap());
    runner.customers.refresh(&store, world.now()).await.unwrap();
    assert!(!runner.customers.in_force(world.now()), "not before every node knows");
    world.pass(LEAD);
    assert!(runner.customers.in_force(world.now()));
    // In the middle of a call.
    let mut call = world.call(ANA_LINE).await;
    call.press("1").await;
    all().await;
    call.presses(&["4071", "1"]).await;
    assert!(world.tells(call.id, "Proved").await);
    call.hang_up().await;
    for kind in ["account", "note", HOLD, LINK] {
        assert!(owned(kind).await.iter().all(Option::is_some), "{kind}");
    }
    assert_eq!(owned("note").await, [Some(TINA)]);
    assert!(opened(&runner, &store).await.contains("Tina Bell of Mill Road says so"));
    assert_eq!(runner.held(LIAM).await.unwrap().unwrap().reason, "case 17");
    // From now on it is as if it had always been so.
    runner.erase(TINA).await.unwrap();
    assert!(runner.customers.is_destroyed(TINA).await.unwrap());
}

/// Keys of keys change: customers' keys are wrapped anew, and what they have sealed is not touched.
#[tokio::test]
async fn changing_keys_wraps_customers_keys_anew_and_nothing_else() {
    let world = World::with(setup()).await;
    let runner = world.app.runner.clone();
    runner.erase(TINA).await.unwrap();
    let (store, keys) = (&runner.store, &runner.customers.keys);
    let (profiles, wrapped) = (docs(store, "account").await, docs(keys, KEY).await);
    assert!(!runner.customers.rewrap(world.now()).await.unwrap());
    for place in [store, keys] {
        keyring::add_data_key(&master(), place, world.now()).await.unwrap();
    }
    world.pass(LEAD);
    runner.vault.refresh(store, world.now()).await.unwrap();
    runner.customers.refresh(store, world.now()).await.unwrap();
    while runner.customers.rewrap(world.now()).await.unwrap() {}
    while runner.reseal().await.unwrap() {}
    assert_eq!(docs(store, "account").await, profiles);
    assert!(docs(keys, KEY).await.iter().zip(&wrapped).all(|(now, was)| now.0 == was.0 && (now.0 == TINA.0 || now.1 != was.1)));
    let (counts, kept, erased) = customers::wrapped_by(keys).await.unwrap();
    assert_eq!((counts.into_keys().collect::<Vec<_>>(), kept, erased), (vec![2], everybody(START).len() as u64 - 1, 1));
    assert!(sealed_by(store, |_| {}).await.unwrap().keys().all(|key| *key == 2));
    for place in [store, keys] {
        keyring::drop_old_keys(&master(), place, world.now()).await.unwrap();
    }
    let new = Master::new([5; 32]);
    for place in [store, keys] {
        assert!(!keyring::opens(&new, place).await.unwrap());
        keyring::add_master(&master(), &new, place, world.now()).await.unwrap();
        keyring::retire_masters(&new, place, world.now()).await.unwrap();
    }
    assert_eq!(docs(store, "account").await, profiles);
    // A node that starts with the new key opens everything, and nothing of hers.
    let vault = Arc::new(Vault::of(&new, store, world.now()).await.unwrap());
    let customers = Customers::open(&new, store, keys, world.now()).await.unwrap();
    let body = store.doc("account", &ANA.0).await.unwrap().unwrap().body;
    let Standing::Kept(key) = customers.standing(ANA, world.now()).await.unwrap() else { panic!() };
    assert!(vault.unseal_for::<serde_json::Value>(&key, "account", &ANA.0, &body).is_ok());
    assert!(matches!(customers.standing(TINA, world.now()).await.unwrap(), Standing::Erased));
    let refused = Customers::open(&master(), store, keys, world.now()).await.unwrap_err().to_string();
    assert!(refused.contains(&new.name()), "{refused}");
}

/// A key store that was forgotten, or is another's, is told apart before anything is written.
#[tokio::test]
async fn another_key_store_is_refused() {
    let (world, other) = (World::with(setup()).await, World::with(setup()).await);
    let (store, empty) = (&world.app.runner.store, Store::memory());
    let refused = Customers::open(&master(), store, &empty, START).await.unwrap_err().to_string();
    assert!(refused.contains("latest copy of the key store"), "{refused}");
    assert!(!keyring::is_there(&empty).await.unwrap(), "nothing was made");
    let refused = Customers::open(&master(), store, &other.app.runner.customers.keys, START).await.unwrap_err().to_string();
    assert!(refused.contains("another record"), "{refused}");
    // One that is older than a customer says so, and takes nobody else for them.
    let keys = &world.app.runner.customers.keys;
    keys.commit(Commit { docs: vec![DocWrite::Delete { kind: KEY, id: ANA.0.to_vec() }], ..Commit::default() }).await.unwrap();
    let node = world.sibling().await;
    let refused = node.app.runner.directory.load(ANA).await.unwrap_err().to_string();
    assert!(refused.contains("docs/operations.md"), "{refused}");
    assert!(node.app.runner.directory.load(LIAM).await.unwrap().is_some());
    world.pass(Span::minutes(2));
    assert!(world.app.runner.directory.load(ANA).await.is_err());
}
