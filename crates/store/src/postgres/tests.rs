//! What only the statements themselves show.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use super::link::connect;
use super::{Options, Server};
use super::open::prepare_for;
use crate::{Commit, Store};
use crate::sql::{self, POSTGRES, releases};

/// In CI there has to be one.
fn address() -> Option<String> {
    let address = std::env::var("COUNTERSIGN_TEST_POSTGRES").ok();
    assert!(address.is_some() || std::env::var_os("CI").is_none(), "COUNTERSIGN_TEST_POSTGRES names no server: `cargo xtask test` starts one");
    address
}

/// No statement reads a whole table: what is slow with a million rows shows here with none, because
/// the session leaves the planner no other way.
#[tokio::test]
async fn every_statement_has_its_index() {
    let Some(address) = address() else { return };
    let server = Server::new(&address, &format!("plans{}", std::process::id())).unwrap();
    let store = Store::postgres(&server, Options::default()).await.unwrap();
    store.close().await;
    let (client, driver) = connect(&server, true, |_| {}).await.unwrap();
    for statement in sql::BY_KEY {
        let text = POSTGRES.statement(statement);
        let count = (1..9).take_while(|n| text.contains(&format!("${n}"))).count();
        let nulls = vec!["NULL"; count].join(", ");
        let arguments = if count > 0 { format!("({nulls})") } else { String::new() };
        client
            .batch_execute(&format!("PREPARE looked_at AS {text}"))
            .await
            .unwrap();
        let explain = format!("EXPLAIN EXECUTE looked_at{arguments}");
        for line in client.simple_query(&explain).await.unwrap() {
            if let tokio_postgres::SimpleQueryMessage::Row(row) = line {
                let line = row.get(0).unwrap();
                assert!(!line.contains("Seq Scan"), "{text}: {line}");
            }
        }
        client.batch_execute("DEALLOCATE looked_at").await.unwrap();
    }
    driver.abort();
}

/// A release that adds leaves nodes of the one before at work; one that takes away does not; one that fails
/// half-way has done nothing.
#[tokio::test]
async fn releases_expand_first_and_contract_later() {
    let Some(address) = address() else { return };
    let server = Server::new(&address, &format!("releases{:x}", RandomState::new().hash_one(std::process::id()))).unwrap();
    let old = Store::postgres(&server, Options::default()).await.unwrap();
    let works = async |store: &Store, name: &str| {
        store.commit(Commit { command: Some(name.to_owned()), ..Commit::default() }).await.unwrap();
    };
    works(&old, "one").await;
    let error = prepare_for(&releases::BROKEN, &server, false).await.unwrap_err().to_string();
    assert!(error.contains("nowhere"), "{error}");
    prepare_for(&releases::NEXT, &server, false).await.unwrap();
    // The node that runs goes on, and another of its release may start.
    works(&old, "two").await;
    let another = Store::postgres(&server, Options::default()).await.unwrap();
    works(&another, "three").await;
    prepare_for(&releases::AFTER, &server, false).await.unwrap();
    let error = Store::postgres(&server, Options::default()).await.err().unwrap().to_string();
    assert!(error.contains("schema 3") && error.contains("start the newer release again"), "{error}");
    prepare_for(&releases::NEXT, &server, false).await.unwrap();
    for store in [old, another] {
        store.close().await;
    }
    let (client, driver) = connect(&server, true, |_| {}).await.unwrap();
    let half = client.query_opt("SELECT 1 FROM pg_tables WHERE schemaname = $1 AND tablename = 'half'", &[&server.schema()]).await.unwrap();
    assert!(half.is_none());
    driver.abort();
}
