//! What only the statements themselves show.

use super::link::connect;
use super::{Options, Server};
use crate::Store;
use crate::sql::{self, POSTGRES};

/// No statement reads a whole table: what is slow with a million rows shows here with none, because
/// the session leaves the planner no other way.
#[tokio::test]
async fn every_statement_has_its_index() {
    let Ok(address) = std::env::var("COUNTERSIGN_TEST_POSTGRES") else {
        return;
    };
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
