//! What a file promises besides.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use countersign_store::{
    BackupError, CommitError, Expect, OpenError, Options, Outcome, ReadError, Settle, Store,
};
use rusqlite::Connection;

use crate::support::*;

fn open(path: &Path) -> Result<Store, OpenError> {
    Store::sqlite(path, Options::default())
}

async fn fill(store: &Store) {
    let commit = at(NOW)
        .command("c")
        .reply("reply")
        .guard(attempt("k", Some(100), 1, Outcome::Fail))
        .guard(step("s", 7))
        .guard(once("o", None))
        .append(stream(1), 0, &["a", "b"])
        .put("x", Expect::New, "doc")
        .put_due("y", 5)
        .add(1, 1)
        .send(1, NOW)
        .send(2, NOW);
    store.commit(commit).await.unwrap();
    store.outbox_take(NOW, NOW + 10, 1).await.unwrap();
}

async fn check_filled(store: &Store) {
    let again = store.commit(at(NOW).command("c")).await;
    assert_eq!(again, Err(CommitError::Duplicate(b"reply".to_vec())));
    for guard in [
        attempt("k", Some(100), 1, Outcome::Check),
        step("s", 7),
        once("o", None),
    ] {
        assert_eq!(
            store.commit(at(NOW).guard(guard)).await,
            Err(CommitError::Denied(0))
        );
    }
    let bodies: Vec<_> = store
        .events(stream(1))
        .await
        .unwrap()
        .into_iter()
        .map(|event| event.body)
        .collect();
    assert_eq!(bodies, ["a", "b"]);
    assert_eq!(
        store.doc("account", b"x").await.unwrap().unwrap().body,
        b"doc"
    );
    assert_eq!(store.docs_due("account", 5, 9).await.unwrap().len(), 1);
    assert_eq!(store.find("phone", id(1), 9).await.unwrap(), [id(1)]);
    assert!(store.outbox_record(id(1)).await.unwrap().unwrap().attempts == 1);
    assert!(store.outbox_record(id(2)).await.unwrap().unwrap().attempts == 0);
    store.verify().await.unwrap();
}

#[tokio::test]
async fn reopening_keeps_everything() {
    let dir = Dir::new();
    let store = dir.store();
    fill(&store).await;
    store.close().await;
    // Closed in order, the file stands alone.
    assert!(!dir.file("store.db-wal").exists());
    let store = dir.store();
    check_filled(&store).await;
    assert_eq!(
        store
            .commit(at(NOW).append(stream(2), 0, &["c"]))
            .await
            .unwrap()
            .last_seq,
        3
    );
}

#[tokio::test]
async fn dropping_keeps_everything() {
    let dir = Dir::new();
    for round in 0..3 {
        let store = dir.store();
        if round == 0 {
            fill(&store).await;
        }
        check_filled(&store).await;
    }
}

/// What a dead process leaves: the file and its log as they were, at any moment after the answer.
#[tokio::test]
async fn a_killed_process_loses_nothing_it_confirmed() {
    let dir = Dir::new();
    let store = dir.store();
    fill(&store).await;
    for name in ["store.db", "store.db-wal"] {
        fs::copy(dir.file(name), dir.file(&format!("killed-{name}"))).unwrap();
    }
    fs::rename(dir.file("killed-store.db"), dir.file("killed.db")).unwrap();
    fs::rename(dir.file("killed-store.db-wal"), dir.file("killed.db-wal")).unwrap();
    check_filled(&open(&dir.file("killed.db")).unwrap()).await;
}

/// Kills a process in the midst of its commits: every one that it has confirmed is there, and the
/// file is whole.
#[cfg(unix)]
#[tokio::test]
async fn a_process_killed_while_it_commits_loses_nothing_it_confirmed() {
    let dir = Dir::new();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "file::commits_until_it_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(VICTIM, dir.file("store.db"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut confirmed: Vec<String> = Vec::new();
    for line in output.lines() {
        let line = line.unwrap();
        confirmed.extend(line.strip_prefix("confirmed ").map(str::to_owned));
        if confirmed.len() == 200 {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();

    assert!(confirmed.len() >= 200);
    let store = dir.store();
    for command in confirmed {
        assert!(store.reply(&command).await.unwrap().is_some(), "{command}");
    }
    store.verify().await.unwrap();
}

const VICTIM: &str = "COUNTERSIGN_STORE_VICTIM";

#[cfg(unix)]
#[tokio::test]
#[ignore = "the process that another test starts and kills"]
async fn commits_until_it_is_killed() {
    let Ok(path) = std::env::var(VICTIM) else {
        return;
    };
    let store = open(Path::new(&path)).unwrap();
    let mut tasks = Vec::new();
    for caller in 0..8 {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            for number in 0.. {
                let command = format!("{caller}-{number}");
                let commit = at(NOW)
                    .command(&command)
                    .append(stream(caller), number, &["a"]);
                store.commit(commit).await.unwrap();
                println!("confirmed {command}");
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_backup_restores() {
    let dir = Dir::new();
    let store = dir.store();
    fill(&store).await;
    let copy = dir.file("copy.db");
    store.backup(&copy).await.unwrap();
    store
        .commit(at(NOW).append(stream(2), 0, &["after the backup"]))
        .await
        .unwrap();

    assert!(!dir.file("copy.db.partial").exists());
    assert!(!dir.file("copy.db-wal").exists());
    let restored = open(&copy).unwrap();
    check_filled(&restored).await;
    assert!(restored.events(stream(2)).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_backup_overwrites_nothing() {
    let dir = Dir::new();
    let store = dir.store();
    let taken = dir.file("taken");
    fs::write(&taken, "precious").unwrap();
    assert_eq!(
        store.backup(&taken).await,
        Err(BackupError::Exists(taken.clone()))
    );
    assert_eq!(fs::read(&taken).unwrap(), b"precious");
    let nowhere = dir.file("no/such/directory");
    assert!(matches!(
        store.backup(&nowhere).await,
        Err(BackupError::Failed(_))
    ));
    store.close().await;
    assert_eq!(
        store.backup(&dir.file("late")).await,
        Err(BackupError::Closed)
    );
    let memory = Store::memory().backup(&dir.file("memory")).await;
    assert_eq!(memory, Err(BackupError::Unsupported));
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let dir = Dir::new();
    fill(&dir.store()).await;
    let conn = Connection::open(dir.file("store.db")).unwrap();
    conn.execute("UPDATE meta SET value = 99 WHERE name = 'schema'", [])
        .unwrap();
    // It only has more than this release knows of: this one can go on.
    check_filled(&dir.store()).await;
    conn.execute("UPDATE meta SET value = 2 WHERE name = 'compatible'", [])
        .unwrap();
    let error = open(&dir.file("store.db")).map(drop).unwrap_err();
    let OpenError::Newer {
        found: 99,
        known: 1,
        ..
    } = &error
    else {
        unreachable!("{error:?}")
    };
    assert!(
        error.to_string().contains("start the newer release again"),
        "{error}"
    );
    // It was only looked at.
    conn.execute("UPDATE meta SET value = 1 WHERE name = 'schema'", [])
        .unwrap();
    drop(conn);
    check_filled(&dir.store()).await;
}

#[test]
fn what_is_not_ours_is_refused_and_left_as_it_was() {
    let dir = Dir::new();
    let refused = |name: &str| open(&dir.file(name)).map(drop).unwrap_err();
    for (name, content) in [
        ("short", "hi".to_owned()),
        ("long", "no database ".repeat(1_000)),
    ] {
        fs::write(dir.file(name), &content).unwrap();
        assert_eq!(
            refused(name),
            OpenError::NotADatabase {
                path: dir.file(name)
            }
        );
        assert_eq!(fs::read_to_string(dir.file(name)).unwrap(), content);
    }
    let conn = Connection::open(dir.file("other")).unwrap();
    conn.execute_batch("CREATE TABLE meta (name TEXT, value TEXT)")
        .unwrap();
    drop(conn);
    let before = fs::read(dir.file("other")).unwrap();
    assert_eq!(
        refused("other"),
        OpenError::Foreign {
            path: dir.file("other")
        }
    );
    assert_eq!(fs::read(dir.file("other")).unwrap(), before);
}

#[test]
fn a_place_that_cannot_be_written_is_refused_with_advice() {
    let dir = Dir::new();
    let advice = |path: &Path| match open(path).map(drop) {
        Err(OpenError::Unwritable { reason, .. }) => reason,
        other => unreachable!("{other:?}"),
    };
    assert!(advice(&dir.file("no/such/store.db")).contains("create the directory"));
    assert!(advice(&dir.file("")).contains("it is a directory"));
    fs::write(dir.file("file"), "").unwrap();
    assert!(advice(&dir.file("file/store.db")).contains("create the directory"));
    // A kernel file system refuses even the superuser, as a read-only one does.
    #[cfg(target_os = "linux")]
    assert!(advice(Path::new("/proc/store.db")).contains("the right to write"));
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_may_read() {
    use std::os::unix::fs::PermissionsExt;
    let dir = Dir::new();
    let store = dir.store();
    fill(&store).await;
    store.backup(&dir.file("copy.db")).await.unwrap();
    for name in ["store.db", "store.db-wal", "copy.db"] {
        let mode = fs::metadata(dir.file(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn damage_is_found() {
    let dir = Dir::new();
    let store = dir.store();
    fill(&store).await;
    let conn = Connection::open(dir.file("store.db")).unwrap();
    conn.execute("DELETE FROM event WHERE seq = 1", []).unwrap();
    assert!(matches!(store.verify().await, Err(ReadError::Damaged(_))));
    drop(conn);
    store.close().await;

    let mut bytes = fs::read(dir.file("store.db")).unwrap();
    for byte in bytes.iter_mut().skip(4096) {
        *byte = 0xA5;
    }
    fs::write(dir.file("store.db"), bytes).unwrap();
    // It is for an operator to ask whether the file is whole: opening need not notice.
    if let Ok(store) = open(&dir.file("store.db")) {
        assert!(matches!(store.verify().await, Err(ReadError::Damaged(_))));
    }
}

/// What was wiped leaves no trace in the file.
#[tokio::test]
async fn a_settled_body_is_gone_from_the_file() {
    let dir = Dir::new();
    let store = dir.store();
    let needle = b"the-secret-code-4711".repeat(600);
    let mut commit = at(NOW).send(1, NOW);
    commit
        .outbox
        .iter_mut()
        .for_each(|row| row.body.clone_from(&needle));
    store.commit(commit).await.unwrap();
    store.outbox_settle(id(1), Settle::Done).await.unwrap();
    store.close().await;
    let file = fs::read(dir.file("store.db")).unwrap();
    assert!(
        !file
            .windows(20)
            .any(|window| window == b"the-secret-code-4711")
    );
}

/// Another process holds the file for longer than the store's patience would be worth testing; that
/// it is let go in time is enough to see that commits wait for it and are not lost.
#[tokio::test]
async fn another_writer_is_waited_for() {
    let dir = Dir::new();
    let store = dir.store();
    let conn = Connection::open(dir.file("store.db")).unwrap();
    conn.execute_batch("BEGIN IMMEDIATE").unwrap();
    let release = async { conn.execute_batch("ROLLBACK").unwrap() };
    let (committed, ()) = tokio::join!(store.commit(at(NOW).append(stream(1), 0, &["a"])), release);
    assert_eq!(committed.unwrap().last_seq, 1);
}

#[tokio::test]
async fn options_of_nothing_are_raised_to_one() {
    let dir = Dir::new();
    let options = Options {
        queue: 0,
        batch: 0,
        readers: 0,
        durable: false,
    };
    let store = Store::sqlite(dir.file("store.db"), options).unwrap();
    fill(&store).await;
    check_filled(&store).await;
}
