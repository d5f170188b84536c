//! Keys that change while calls go on.

use countersign_core::{factor::FactorKind, time::Span};
use countersign_server::{keyring::{self, LEAD, Master}, reseal::sealed_by, vault::{Vault, VaultError}};
use countersign_store::Store;

use crate::common::{MASTER, Setup, START, World, people::*};

fn setup() -> Setup { Setup { keyring: true, ..Setup::default() } }

fn master() -> Master { Master::new(MASTER) }

async fn all_resealed(world: &World) {
    while world.app.runner.reseal().await.unwrap() {}
}

/// A new data key comes in the middle of a call that walks between two nodes; everything is sealed anew,
/// the old key is destroyed, and nobody notices.
#[tokio::test]
async fn a_data_key_changes_in_the_middle_of_a_call() {
    let one = World::with(setup()).await;
    let two = one.sibling().await;
    let store = one.app.runner.store.clone();
    let counts = async || sealed_by(&store, |_| {}).await.unwrap();
    one.robin().await;
    let mut call = one.call(ANA_LINE).await;
    assert_eq!(counts().await.into_keys().collect::<Vec<_>>(), [1]);
    assert_eq!(keyring::add_data_key(&master(), &store, one.now()).await.unwrap(), 2);
    for node in [&one, &two] {
        node.app.runner.vault.refresh(&store, node.now()).await.unwrap();
        assert_eq!(node.app.runner.vault.current_key(), 1, "not before everybody knows it");
    }
    one.pass(LEAD);
    for node in [&one, &two] {
        node.app.runner.vault.refresh(&store, node.now()).await.unwrap();
        assert_eq!(node.app.runner.vault.current_key(), 2);
    }
    let before = counts().await;
    all_resealed(&one).await;
    call = call.at(&two);
    call.presses(&["1", "4071", "1"]).await;
    assert!(two.tells(call.id, "Proved").await);
    call = call.at(&one);
    call.hang_up().await;
    let after = counts().await;
    assert_eq!(after.keys().copied().collect::<Vec<_>>(), [2], "{before:?} {after:?}");
    assert_eq!(keyring::drop_old_keys(&master(), &store, one.now()).await.unwrap(), 2);
    for node in [&one, &two] {
        node.app.runner.vault.refresh(&store, node.now()).await.unwrap();
    }
    // Found by number, opened and proved by what was sealed anew.
    let mut next = two.call(ANA_LINE).await;
    next.presses(&["1", "4071", "1"]).await;
    assert!(two.tells(next.id, "Proved").await);
    assert!(one.profile(ANA).await.authenticators.iter().any(|a| a.kind == FactorKind::Pin));
}

/// Whatever is sealed and kept is sealed anew: a kind that is forgotten here would be lost with its key.
#[test]
fn every_kind_that_is_sealed_is_sealed_anew() {
    fn read(folder: &std::path::Path, out: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.push(std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut files = Vec::new();
    read(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let constant = |text: &str, name: &str| {
        let (_, rest) = text.split_once(&format!("const {name}: &str = \""))?;
        Some(rest.split('"').next().unwrap().to_owned())
    };
    let mut sealed = std::collections::BTreeSet::new();
    for text in &files {
        let about = text.split("runner.seal_about(").skip(1).chain(text.split("self.seal_about(").skip(1));
        for part in text.split("vault.seal(").skip(1).chain(text.split("vault().seal(").skip(1)).chain(about) {
            let first = part.split(',').next().unwrap().trim();
            let name = first.rsplit("::").next().unwrap();
            let kind = match first.strip_prefix('"') {
                Some(literal) => literal.trim_end_matches('"').to_owned(),
                // A constant of the same file, or the only one of that name.
                None => constant(text, name).or_else(|| files.iter().find_map(|other| constant(other, name))).unwrap_or_else(|| panic!("{first}")),
            };
            sealed.insert(kind);
        }
    }
    // Messages on their way and what browsers keep end within hours.
    for short in ["outbox", "oidc"] {
        sealed.remove(short);
    }
    let missing: Vec<_> = sealed.iter().filter(|kind| !countersign_server::reseal::KINDS.contains(&kind.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(sealed.len() > 15, "{sealed:?}");
}

/// A node that has not heard of a key says so, and has it a moment later.
#[tokio::test]
async fn a_node_with_an_old_keyring_opens_nothing_wrongly() {
    let store = Store::memory();
    let (one, two) = (Vault::of(&master(), &store, START).await.unwrap(), Vault::of(&master(), &store, START).await.unwrap());
    keyring::add_data_key(&master(), &store, START).await.unwrap();
    let later = START + LEAD;
    one.refresh(&store, later).await.unwrap();
    let sealed = one.seal("account", b"1", &"x").unwrap();
    assert!(matches!(two.unseal::<String>("account", b"1", &sealed), Err(VaultError::NoKey(2))));
    two.refresh(&store, later).await.unwrap();
    assert_eq!(two.unseal::<String>("account", b"1", &sealed).unwrap(), "x");
    // The number in the header is no way to another key.
    let mut other = sealed.clone();
    other[4] = 1;
    assert!(two.unseal::<String>("account", b"1", &other).is_err());
}

/// A record from before there were keyrings goes on under its own master key, and under no other.
#[tokio::test]
async fn an_old_record_is_taken_over() {
    let world = World::new().await;
    let store = world.app.runner.store.clone();
    world.robin().await;
    let wrong = Vault::of(&Master::new([9; 32]), &store, START).await.unwrap_err().to_string();
    assert!(wrong.contains("does not open this record"), "{wrong}");
    let vault = Vault::of(&master(), &store, START).await.unwrap();
    let (id, doc) = store.docs("agent", None, 1).await.unwrap().remove(0);
    assert!(vault.unseal::<serde_json::Value>("agent", &id, &doc.body).is_ok());
    let fresh = vault.reseal("agent", &id, &doc.body).unwrap().unwrap();
    assert_eq!(Vault::key_of(&fresh), Some(1));
    assert_eq!(vault.reseal("agent", &id, &fresh).unwrap(), None);
    // Look-ups and codes are those of before.
    assert_eq!(vault.service_slot(&"1".into()), world.app.runner.vault.service_slot(&"1".into()));
    assert!(Vault::of(&Master::new([9; 32]), &store, START).await.is_err());
}

/// The master key changes: for a while both open, then only the new one; no record is touched.
#[tokio::test]
async fn the_master_key_changes() {
    let store = Store::memory();
    let old = Vault::of(&master(), &store, START).await.unwrap();
    let sealed = old.seal("account", b"1", &"x").unwrap();
    let new = || Master::new([5; 32]);
    assert!(Vault::of(&new(), &store, START).await.is_err());
    keyring::add_master(&master(), &new(), &store, START).await.unwrap();
    assert!(keyring::add_master(&master(), &new(), &store, START).await.is_err(), "twice");
    for key in [master(), new()] {
        let vault = Vault::of(&key, &store, START).await.unwrap();
        assert_eq!(vault.unseal::<String>("account", b"1", &sealed).unwrap(), "x");
    }
    assert_eq!(keyring::retire_masters(&new(), &store, START).await.unwrap(), 1);
    let refused = Vault::of(&master(), &store, START).await.unwrap_err().to_string();
    assert!(refused.contains(&master().name()) && refused.contains(&new().name()), "{refused}");
    assert!(!refused.contains(&hex::encode(MASTER)));
    let vault = Vault::of(&new(), &store, START).await.unwrap();
    assert_eq!(vault.unseal::<String>("account", b"1", &sealed).unwrap(), "x");
    // Under a new root: data keys that come later are not opened by whoever kept the old one.
    keyring::add_data_key(&new(), &store, START).await.unwrap();
    assert!(old.refresh(&store, START + Span::minutes(2)).await.is_err());
}

/// A keyring that was damaged, swapped or cut is told apart from a wrong key, and opens nothing.
#[tokio::test]
async fn a_damaged_keyring_is_recognised() {
    use countersign_store::{Commit, DocWrite, Expect};
    let (store, other) = (Store::memory(), Store::memory());
    Vault::of(&master(), &store, START).await.unwrap();
    Vault::of(&master(), &other, START).await.unwrap();
    let body = store.doc("keyring", b"1").await.unwrap().unwrap().body;
    let theirs = other.doc("keyring", b"1").await.unwrap().unwrap().body;
    let put = async |body: Vec<u8>| {
        let docs = vec![DocWrite::Put { kind: "keyring", id: b"1".to_vec(), expected: Expect::Any, body, due: None }];
        store.commit(Commit { docs, ..Commit::default() }).await.unwrap();
        Vault::of(&master(), &store, START).await
    };
    let text = String::from_utf8(body.clone()).unwrap();
    let (mine, other): (serde_json::Value, serde_json::Value) = (serde_json::from_slice(&body).unwrap(), serde_json::from_slice(&theirs).unwrap());
    let mut mixed = mine.clone();
    mixed["secrets"] = other["secrets"].clone();
    for bad in [b"{}".to_vec(), text[..text.len() / 2].into(), mixed.to_string().into_bytes(), text.replacen("a", "b", 40).into_bytes()] {
        let refused = put(bad).await.unwrap_err().to_string();
        assert!(refused.contains("damaged") || refused.contains("does not open"), "{refused}");
    }
    assert!(put(body).await.is_ok());
}
