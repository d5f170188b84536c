//! Documents and the index.

use countersign_store::{CommitError, DocWrite, Expect, IndexWrite, Redaction, Store};

use crate::support::*;

pub async fn documents_have_versions(store: Store) {
    let put = async |expected, body| {
        let committed = store.commit(at(NOW).put("x", expected, body)).await;
        committed.map(|committed| committed.versions)
    };
    assert_eq!(
        put(Expect::Version(1), "no").await,
        Err(CommitError::Conflict)
    );
    assert_eq!(
        put(Expect::Version(0), "no").await,
        Err(CommitError::Conflict)
    );
    assert_eq!(put(Expect::New, "one").await, Ok(vec![1]));
    assert_eq!(put(Expect::New, "no").await, Err(CommitError::Conflict));
    assert_eq!(put(Expect::Version(1), "two").await, Ok(vec![2]));
    assert_eq!(
        put(Expect::Version(1), "no").await,
        Err(CommitError::Conflict)
    );
    assert_eq!(put(Expect::Any, "three").await, Ok(vec![3]));

    let doc = store.doc("account", b"x").await.unwrap().unwrap();
    assert_eq!(
        (doc.version, &*doc.body, doc.due),
        (3, b"three".as_slice(), None)
    );
    assert_eq!(store.doc("account", b"y").await.unwrap(), None);
    assert_eq!(store.doc("other", b"x").await.unwrap(), None);

    store
        .commit(at(NOW).delete("x").delete("never there"))
        .await
        .unwrap();
    assert_eq!(store.doc("account", b"x").await.unwrap(), None);
    assert_eq!(
        put(Expect::Version(3), "no").await,
        Err(CommitError::Conflict)
    );
    assert_eq!(put(Expect::New, "again").await, Ok(vec![1]));
}

pub async fn documents_of_one_commit_see_each_other(store: Store) {
    let commit = at(NOW)
        .put("x", Expect::New, "one")
        .put("x", Expect::Version(1), "two")
        .delete("x")
        .put("x", Expect::New, "three");
    assert_eq!(store.commit(commit).await.unwrap().versions, [1, 2, 0, 1]);
    let commit = at(NOW).delete("x").put("x", Expect::Version(1), "no");
    assert_eq!(store.commit(commit).await, Err(CommitError::Conflict));
    assert_eq!(
        store.doc("account", b"x").await.unwrap().unwrap().body,
        b"three"
    );
}

pub async fn documents_are_paged_by_id(store: Store) {
    // Ids are bytes: the shorter of two comes first, 0x00 is not an end, 0xff is the last.
    let ids: [&[u8]; 6] = [b"", b"a", b"a\0", b"a\x01", b"b", b"\xff\xff"];
    let mut commit = at(NOW);
    for id in ids.iter().rev() {
        let (id, body) = (id.to_vec(), Vec::new());
        commit.docs.push(DocWrite::Put {
            kind: "account",
            id,
            expected: Expect::New,
            body,
            due: None,
        });
    }
    store.commit(commit).await.unwrap();

    let mut seen: Vec<Vec<u8>> = Vec::new();
    loop {
        let page = store
            .docs("account", seen.last().cloned(), 2)
            .await
            .unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 2);
        seen.extend(page.into_iter().map(|(id, _)| id));
    }
    assert_eq!(seen, ids);
    assert!(store.docs("other", None, 10).await.unwrap().is_empty());
    assert!(store.docs("account", None, 0).await.unwrap().is_empty());
}

pub async fn due_documents_come_earliest_first(store: Store) {
    let commit = at(NOW)
        .put_due("late", 30)
        .put_due("b", 20)
        .put_due("a", 20)
        .put_due("early", -10)
        .put("never", Expect::New, "");
    store.commit(commit).await.unwrap();
    let due = async |before, limit| {
        let page = store.docs_due("account", before, limit).await.unwrap();
        page.into_iter()
            .map(|(id, _)| String::from_utf8(id).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(due(20, 10).await, ["early", "a", "b"]);
    assert_eq!(due(19, 10).await, ["early"]);
    assert_eq!(due(i64::MAX, 3).await, ["early", "a", "b"]);
    store
        .commit(
            at(NOW)
                .put("early", Expect::Any, "")
                .put_due("late", 0)
                .delete("a"),
        )
        .await
        .unwrap();
    assert_eq!(due(i64::MAX, 10).await, ["late", "b"]);
}

pub async fn the_index_finds_what_was_added(store: Store) {
    let commit = at(NOW)
        .add(1, 30)
        .add(1, 10)
        .add(1, 10)
        .add(2, 10)
        .add(2, 20);
    store.commit(commit).await.unwrap();
    assert_eq!(
        store.find("phone", id(1), 10).await.unwrap(),
        [id(10), id(30)]
    );
    assert_eq!(store.find("phone", id(1), 1).await.unwrap(), [id(10)]);
    assert!(store.find("email", id(1), 10).await.unwrap().is_empty());

    let any = async |keys: &[u8], limit| {
        let keys: Vec<_> = keys.iter().map(|key| id(*key)).collect();
        store.find_any("phone", &keys, limit).await.unwrap()
    };
    assert_eq!(any(&[2, 1, 3, 1], 10).await, [id(10), id(20), id(30)]);
    assert_eq!(any(&[2, 1], 2).await, [id(10), id(20)]);
    assert!(any(&[], 10).await.is_empty());
    assert!(any(&[1], 0).await.is_empty());

    store
        .commit(at(NOW).remove(1, 10).remove(1, 99).add(3, 1).remove(3, 1))
        .await
        .unwrap();
    assert_eq!(any(&[1, 2, 3], 10).await, [id(10), id(20), id(30)]);
    assert_eq!(store.find("phone", id(1), 10).await.unwrap(), [id(30)]);
}

pub async fn what_is_cleared_is_found_under_nothing(store: Store) {
    let mail = |id| IndexWrite::Add {
        space: "email",
        key: self::id(7),
        id,
    };
    let mut commit = at(NOW).add(1, 10).add(2, 10).add(2, 20);
    commit.index.push(mail(id(10)));
    commit.index.push(mail(id(20)));
    store.commit(commit).await.unwrap();
    let all = async || {
        let phones = store.find_any("phone", &[id(1), id(2), id(3)], 10).await.unwrap();
        (phones, store.find("email", id(7), 10).await.unwrap())
    };
    // What the same commit added before goes as well; what it adds later stays.
    let mut commit = at(NOW).add(3, 10);
    commit.index.push(IndexWrite::Clear { id: id(10) });
    store.commit(commit).await.unwrap();
    assert_eq!(all().await, (vec![id(20)], vec![id(20)]));
    let mut commit = at(NOW).add(1, 20);
    commit.index.push(IndexWrite::Clear { id: id(20) });
    store.commit(commit.add(3, 20)).await.unwrap();
    assert_eq!(all().await, (vec![id(20)], vec![]));
}

pub async fn a_document_that_was_read_is_still_the_same(store: Store) {
    let still = |version| {
        let mut commit = at(NOW).append(stream(1), 0, &["a"]);
        let id = b"x".to_vec();
        commit.docs.push(DocWrite::Still {
            kind: "account",
            id,
            version,
        });
        commit
    };
    assert_eq!(store.commit(still(1)).await, Err(CommitError::Conflict));
    store
        .commit(at(NOW).put("x", Expect::New, "1"))
        .await
        .unwrap();
    for wrong in [0, 2] {
        let refused = store.commit(still(wrong)).await;
        assert_eq!(refused, Err(CommitError::Conflict));
    }
    assert!(store.events(stream(1)).await.unwrap().is_empty());
    let committed = store.commit(still(1)).await.unwrap();
    assert_eq!(committed.versions, [1]);
    let doc = store.doc("account", b"x").await.unwrap().unwrap();
    assert_eq!((doc.version, doc.body.as_slice()), (1, b"1".as_slice()));
    // In one commit: what stands before it counts.
    let changed = at(NOW).put("x", Expect::Any, "2");
    let mut changed = changed.append(stream(2), 0, &["b"]);
    changed.docs.push(DocWrite::Still {
        kind: "account",
        id: b"x".to_vec(),
        version: 1,
    });
    assert_eq!(store.commit(changed).await, Err(CommitError::Conflict));
}

pub async fn a_stream_is_read_from_where_one_was(store: Store) {
    let commit = at(NOW).append(stream(1), 0, &["a", "b", "c"]);
    store
        .commit(commit.append(stream(2), 0, &["d"]))
        .await
        .unwrap();
    for after in 0..5 {
        let events = store.events_after(stream(1), after).await.unwrap();
        let n: Vec<u64> = events.iter().map(|event| event.n).collect();
        assert_eq!(n, (after + 1..=3).collect::<Vec<_>>());
    }
}

pub async fn an_event_is_redacted_in_its_place(store: Store) {
    let commit = at(NOW).append(stream(1), 0, &["a", "b", "c"]).append(stream(2), 0, &["d"]);
    store.commit(commit).await.unwrap();
    let redact = |of, n, body: &str| Redaction { stream: of, n, body: body.to_owned() };
    let mut commit = at(NOW + 9).command("once");
    // The last two are not there: nothing comes of them.
    commit.redactions = vec![redact(stream(1), 2, "gone"), redact(stream(2), 1, "gone too"), redact(stream(1), 4, "x"), redact(stream(3), 1, "x")];
    store.commit(commit.clone()).await.unwrap();
    let bodies = async |of| {
        let events = store.events(of).await.unwrap();
        events.into_iter().map(|event| (event.n, event.at, event.body)).collect::<Vec<_>>()
    };
    let was = |n, body: &str| (n, NOW, body.to_owned());
    assert_eq!(bodies(stream(1)).await, [was(1, "a"), was(2, "gone"), was(3, "c")]);
    assert_eq!(bodies(stream(2)).await, [was(1, "gone too")]);
    assert_eq!(bodies(stream(3)).await, []);
    let log: Vec<(u64, String)> = store.log(0, 10).await.unwrap().into_iter().map(|row| (row.seq, row.body)).collect();
    assert_eq!(log, [(1, "a".into()), (2, "gone".into()), (3, "c".into()), (4, "gone too".into())]);
    // A commit that is refused has taken nothing away.
    let mut refused = at(NOW).append(stream(1), 0, &["no"]);
    refused.redactions = vec![redact(stream(1), 1, "gone")];
    assert_eq!(store.commit(refused).await, Err(CommitError::Conflict));
    assert!(matches!(store.commit(commit).await, Err(CommitError::Duplicate(_))));
    assert_eq!(bodies(stream(1)).await.first(), Some(&was(1, "a")));
    // The stream goes on where it was.
    store.commit(at(NOW).append(stream(1), 3, &["e"])).await.unwrap();
}
