//! Very many accounts, put into the tables as rows: the importer would take hours for ten million. They
//! have the shape and the number of rows of real ones, and nobody can open them.
//!
//! Keys are even over their range and written in ascending order, so that the largest take minutes and
//! not hours. Rows of the index lead to accounts in another order than their own, as hashes do.

use rusqlite::{Connection, OpenFlags, params};

use crate::{Fail, site::{Database, Site}};

/// A sealed profile of the bench's customers has about as many bytes.
const BODY: usize = 848;
/// Rows of the index that an account of the bench's has: for what it is found by, and what sounds like it.
const INDEX: [(&str, u64); 6] = [("account_number", 1), ("name", 1), ("near", 15), ("number", 1), ("order_number", 1), ("postal_code", 1)];
/// Relatively prime to the numbers of rows: consecutive rows lead to accounts far from each other.
const STRIDE: u64 = 7_368_787;

/// Sixteen bytes that follow from a row's number and its table: ascending, and random after the first four.
fn key(salt: u64, n: u64, rows: u64) -> [u8; 16] {
    let place = u32::try_from((u128::from(n) << 32) / u128::from(rows.max(1))).unwrap_or(u32::MAX);
    let random = mixed(mixed(salt) ^ n);
    let mut key = [0; 16];
    let bytes = place.to_be_bytes().into_iter().chain(random.to_be_bytes()).chain(mixed(random).to_be_bytes());
    key.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    key
}

/// The output function of SplitMix64.
pub fn mixed(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 31
}

/// Looks like what is sealed.
fn body(n: u64) -> Vec<u8> { (0..BODY as u64 / 8).flat_map(|part| mixed(n << 8 | part).to_be_bytes()).collect() }

/// Fills the record of a site, which nobody has open, with this many accounts more.
pub async fn fill(site: &Site, count: u64) -> Result<(), Fail> {
    match &site.postgres {
        Some(database) => in_postgres(database, count).await,
        None => in_file(site, count),
    }
}

fn in_file(site: &Site, count: u64) -> Result<(), Fail> {
    let mut conn = Connection::open_with_flags(site.store(), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // One transaction, and no log of it beside the file: whoever loses it fills anew.
    conn.execute_batch("PRAGMA journal_mode = DELETE; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536")?;
    let work = conn.transaction()?;
    {
        let mut doc = work.prepare("INSERT INTO doc (kind, id, version, body) VALUES ('account', ?1, 1, ?2)")?;
        for n in 0..count {
            doc.execute(params![key(0, n, count), body(n)])?;
        }
        let mut lookup = work.prepare("INSERT INTO lookup (space, key, id) VALUES (?1, ?2, ?3)")?;
        for ((space, each), salt) in INDEX.into_iter().zip(1..) {
            let rows = count * each;
            for n in 0..rows {
                lookup.execute(params![space, key(salt, n, rows), key(0, n.wrapping_mul(STRIDE) % count, count)])?;
            }
        }
    }
    work.commit()?;
    conn.execute_batch("PRAGMA journal_mode = WAL")?;
    Ok(())
}

/// Keys of the same kind, made by the database.
async fn in_postgres(database: &Database, count: u64) -> Result<(), Fail> {
    let client = database.connect().await?;
    client.batch_execute(
        "CREATE FUNCTION pg_temp.bench_key(salt bigint, n bigint, rows bigint) RETURNS bytea LANGUAGE sql IMMUTABLE AS \
         $$ SELECT substring(int8send((n << 32) / rows) FROM 5) || int8send(hashint8extended(n, salt)) || substring(int8send(hashint8extended(n, salt + 100)) FROM 5) $$",
    ).await?;
    client.batch_execute(&format!(
        "INSERT INTO doc (kind, id, version, body) \
         SELECT 'account', pg_temp.bench_key(0, n, {count}), 1, decode(repeat(md5(n::text), {}), 'hex') FROM generate_series(0, {count} - 1::bigint) AS n", BODY / 16,
    )).await?;
    for ((space, each), salt) in INDEX.into_iter().zip(1u64..) {
        client.batch_execute(&format!(
            "INSERT INTO lookup (space, key, id) \
             SELECT '{space}', pg_temp.bench_key({salt}, n, {0}), pg_temp.bench_key(0, (n * {STRIDE}) % {count}, {count}) FROM generate_series(0, {0} - 1::bigint) AS n", count * each,
        )).await?;
    }
    // What autovacuum would have done by the time that so many have come.
    for table in ["doc", "lookup"] {
        client.batch_execute(&format!("VACUUM ANALYZE {table}")).await?;
    }
    client.batch_execute("CHECKPOINT").await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_ascend_and_rows_lead_to_every_account() {
        let keys: Vec<_> = (0..1000).map(|n| key(1, n, 1000)).collect();
        assert!(keys.is_sorted_by(|a, b| a < b));
        assert!(keys[0][0] == 0 && keys[999][0] == 255);
        for count in [500, 9_500, 999_500, 9_999_500] {
            let first: std::collections::HashSet<u64> = (0..1000.min(count)).map(|n| n * STRIDE % count).collect();
            assert_eq!(first.len() as u64, 1000.min(count));
        }
        assert_eq!(body(7).len(), BODY);
    }
}
