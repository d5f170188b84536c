//! Opening a schema: whose it is, whether it is whole, and how it is brought up to date.

use tokio_postgres::{Client, GenericClient};

use super::link::{connect, describe};
use super::server::Server;
use crate::error::OpenError;
use crate::sql::{
    COMPATIBLE, FILLING, HEAD, LOG_END, LOG_EXTENT, META_GET, META_PUT, MOVED, POSTGRES, RELEASE,
    Release, SCHEMA, unfit,
};

/// Names the lock under which a schema is made and migrated: "Csgn".
const LOCK: i32 = 0x4373_676e;

/// Creates or migrates the schema, and looks whether it can be served.
pub(super) async fn prepare(server: &Server, filling: bool) -> Result<(), OpenError> {
    prepare_for(&RELEASE, server, filling).await
}

/// The same for any release.
pub(super) async fn prepare_for(release: &Release, server: &Server, filling: bool) -> Result<(), OpenError> {
    let failed = |reason: String| OpenError::Server {
        server: server.name(),
        reason: advise(&reason),
    };
    let (mut client, driver) = connect(server, true, |_| {}).await.map_err(failed)?;
    let prepared = look_and_migrate(release, &mut client, server, filling).await;
    driver.abort();
    prepared
}

/// What to do about the usual reasons.
fn advise(reason: &str) -> String {
    let advice = [
        ("28P01", "the password is wrong: see store.password_file"),
        ("28000", "the server lets this user or this connection not in: see its pg_hba.conf"),
        ("3D000", "create the database first: createdb"),
        ("42501", "the user may not do this: GRANT CREATE ON DATABASE to it"),
        ("25006", "this is a standby: name all hosts, with target_session_attrs=read-write"),
        ("53300", "the server has no connection left: raise its max_connections"),
        ("57P03", "the server is starting: wait for it"),
    ];
    match advice.iter().find(|(code, _)| reason.contains(code)) {
        Some((_, advice)) => format!("{reason}: {advice}"),
        None => reason.to_owned(),
    }
}

async fn look_and_migrate(
    release: &Release,
    client: &mut Client,
    server: &Server,
    filling: bool,
) -> Result<(), OpenError> {
    let place = server.name();
    let failed = |error: tokio_postgres::Error| OpenError::Server {
        server: server.name(),
        reason: advise(&describe(&error)),
    };
    let not_fit = |reason: String| OpenError::Unfit {
        place: place.clone(),
        reason,
    };
    let facts = client
        .query_one(
            "SELECT pg_is_in_recovery(), current_setting('server_encoding'), \
             current_setting('server_version_num')::int",
            &[],
        )
        .await
        .map_err(failed)?;
    if facts.get::<_, bool>(0) {
        return Err(not_fit(
            "this server is a standby, which cannot be written: name all hosts, \
             with target_session_attrs=read-write"
                .to_owned(),
        ));
    }
    let encoding: String = facts.get(1);
    if encoding != "UTF8" {
        return Err(not_fit(format!(
            "the database keeps text as {encoding}: create it with ENCODING 'UTF8' TEMPLATE template0"
        )));
    }
    let version: i32 = facts.get(2);
    if version < 140_000 {
        return Err(not_fit(format!(
            "PostgreSQL {} is too old: 14 or newer is needed",
            version / 10_000
        )));
    }

    let change = client.transaction().await.map_err(failed)?;
    // One node after the other: several may be starting.
    change
        .execute(
            "SELECT pg_advisory_xact_lock($1, hashtext($2))",
            &[&LOCK, &server.schema()],
        )
        .await
        .map_err(failed)?;
    let script = format!("CREATE SCHEMA IF NOT EXISTS \"{}\"", server.schema());
    // Asked first: IF NOT EXISTS wants the right to create even where there is nothing to create.
    let there = change
        .query_opt(
            "SELECT 1 FROM pg_namespace WHERE nspname = $1",
            &[&server.schema()],
        )
        .await
        .map_err(failed)?;
    if there.is_none() {
        change.batch_execute(&script).await.map_err(failed)?;
    }
    let known = release.known();
    let tables = change
        .query_one(
            "SELECT COUNT(*), COUNT(*) FILTER (WHERE tablename = 'meta') \
             FROM pg_tables WHERE schemaname = $1",
            &[&server.schema()],
        )
        .await
        .map_err(failed)?;
    let found = match (tables.get::<_, i64>(0), tables.get::<_, i64>(1)) {
        (0, _) => 0,
        (_, 0) => {
            return Err(not_fit(
                "the schema holds tables of another program: give Countersign one of its own"
                    .to_owned(),
            ));
        }
        _ => meta(&change, SCHEMA).await.map_err(failed)?.unwrap_or(0),
    };
    if found > known {
        let compatible = meta(&change, COMPATIBLE).await.map_err(failed)?;
        if compatible.unwrap_or(found) > known {
            return Err(not_fit(format!(
                "it has schema {found}, and this release knows schemas up to {known}: \
                 start the newer release again, or restore the backup made before the upgrade"
            )));
        }
    }
    if found > 0 {
        fitness(&change, filling).await.map_err(failed)?.map_or(Ok(()), |why| Err(not_fit(why)))?;
    }
    let done = usize::try_from(found).unwrap_or(usize::MAX);
    for script in release.migrations.iter().skip(done) {
        change
            .batch_execute(&POSTGRES.script(script))
            .await
            .map_err(failed)?;
    }
    if found < known {
        let put = POSTGRES.statement(META_PUT);
        if found == 0 {
            change.execute(&put, &[&HEAD, &0i64]).await.map_err(failed)?;
            if filling {
                change.execute(&put, &[&FILLING, &1i64]).await.map_err(failed)?;
            }
        }
        for (name, value) in [(SCHEMA, known), (COMPATIBLE, release.oldest)] {
            change.execute(&put, &[&name, &value]).await.map_err(failed)?;
        }
    }
    change.commit().await.map_err(failed)
}

async fn meta(client: &impl GenericClient, name: &str) -> Result<Option<i64>, tokio_postgres::Error> {
    let row = client
        .query_opt(&POSTGRES.statement(META_GET), &[&name])
        .await?;
    Ok(row.map(|row| row.get(0)))
}

/// Why a record is not to be served, if it is not.
async fn fitness(
    client: &impl GenericClient,
    filling: bool,
) -> Result<Option<String>, tokio_postgres::Error> {
    let is_filling = meta(client, FILLING).await?.is_some();
    if filling {
        return Ok((!is_filling).then(|| {
            "there is a record in it already, and a move overwrites nothing: name an empty schema"
                .to_owned()
        }));
    }
    let moved = meta(client, MOVED).await?.is_some();
    let end = client.query_one(&POSTGRES.statement(LOG_END), &[&HEAD]).await?;
    Ok(unfit(is_filling, moved, end.get(0), end.get(1)))
}

/// Whether the log has all its events.
pub(super) async fn verify(server: &Server) -> Result<Option<String>, String> {
    let (client, driver) = connect(server, true, |_| {}).await?;
    let checked = async {
        // It reads the whole log, which takes its time.
        client
            .batch_execute(
                "SET statement_timeout = 0; SET enable_seqscan = on; \
                 BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            )
            .await?;
        let extent = client.query_one(LOG_EXTENT, &[]).await?;
        let head = meta(&client, HEAD).await?.unwrap_or(0);
        client.batch_execute("COMMIT").await?;
        Ok::<_, tokio_postgres::Error>((extent.get::<_, i64>(0), extent.get::<_, i64>(1), head))
    };
    let checked = checked.await.map_err(|error| describe(&error));
    driver.abort();
    let (count, last, head) = checked?;
    Ok((count != last || last != head).then(|| crate::sql::gap(count, last, head)))
}
