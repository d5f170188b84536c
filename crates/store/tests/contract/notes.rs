//! Who hears that something changed.

use countersign_store::{CommitError, Heard, Note, Store};

use crate::support::*;

fn note(number: u8) -> Note {
    Note {
        kind: "call",
        id: id(number),
    }
}

fn heard(number: u8) -> Heard {
    Heard::Note {
        kind: "call".to_owned(),
        id: id(number),
    }
}

pub async fn other_nodes_hear_what_changed(store: Store) {
    let other = store.node();
    let (mut here, mut there) = (store.follow(), other.follow());
    until_followed(&store, &other, &mut here, &mut there).await;
    let mut commit = at(NOW).append(stream(1), 0, &["a"]);
    commit.notes = vec![note(1), note(2)];
    store.commit(commit).await.unwrap();
    assert_eq!(there.next().await, heard(1));
    assert_eq!(there.next().await, heard(2));
    // Whoever did it is not told: the next thing it hears is what the other did.
    let mut commit = at(NOW);
    commit.notes = vec![note(3)];
    other.commit(commit).await.unwrap();
    assert_eq!(here.next().await, heard(3));
}

pub async fn a_refused_commit_tells_nobody(store: Store) {
    let other = store.node();
    let (mut here, mut there) = (store.follow(), other.follow());
    until_followed(&store, &other, &mut here, &mut there).await;
    let mut refused = at(NOW).append(stream(1), 7, &["a"]);
    refused.notes = vec![note(1)];
    assert_eq!(store.commit(refused).await, Err(CommitError::Conflict));
    let mut commit = at(NOW).append(stream(1), 0, &["a"]);
    commit.notes = vec![note(2)];
    store.commit(commit).await.unwrap();
    assert_eq!(there.next().await, heard(2));
}

/// A backend across a network begins to listen some time after it was opened: until then there is
/// nothing to hear, and afterwards nothing is missed.
async fn until_followed(
    store: &Store,
    other: &Store,
    here: &mut countersign_store::Following,
    there: &mut countersign_store::Following,
) {
    for (from, to) in [(store, there), (other, here)] {
        // One that is heard late is not taken for the next, and nothing of them is left.
        for number in 100..=250 {
            assert!(number < 250, "nobody hears anything");
            let mut commit = at(NOW);
            commit.notes = vec![note(number)];
            from.commit(commit).await.unwrap();
            let last = async { while to.next().await != heard(number) {} };
            if tokio::time::timeout(std::time::Duration::from_millis(200), last).await.is_ok() {
                break;
            }
        }
    }
}
