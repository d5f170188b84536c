//! How far the Merkle log is behind the record while calls go on: its checkpoint beside the record itself, so
//! that it is seen between two turns of the sequencer, and not only after each as in the server's own figures.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::{Fail, http::Client, site::Site, stats::Spread};

/// How many events there are, and when one of them was recorded.
const LOOK: &str = "SELECT (SELECT value FROM meta WHERE name = 'head'), (SELECT at FROM event WHERE seq = $1)";

/// Looks five times a second, until it is asked for what it saw.
pub struct Lag {
    over: Rc<Cell<bool>>,
    seen: Rc<RefCell<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// How long the oldest event that is in no checkpoint has waited, in microseconds.
    waiting: Vec<u32>,
    /// Events that are in no checkpoint, at most.
    behind: i64,
    /// How many events there were at the first look and at the last.
    first: Option<(Instant, i64)>,
    last: Option<(Instant, i64)>,
}

/// The record, beside the server that writes it.
enum Record {
    File(Connection),
    Server(tokio_postgres::Client),
}

impl Record {
    async fn of(site: &Site) -> Result<Self, Fail> {
        Ok(match &site.postgres {
            Some(database) => Self::Server(database.connect().await?),
            None => Self::File(Connection::open_with_flags(site.store(), OpenFlags::SQLITE_OPEN_READ_ONLY)?),
        })
    }

    /// The number of the last event, and the milliseconds of this one.
    async fn look(&self, seq: i64) -> Result<(i64, Option<i64>), Fail> {
        let (head, at): (Option<i64>, Option<i64>) = match self {
            Self::File(conn) => conn.query_row(LOOK, [seq], |row| Ok((row.get(0)?, row.get(1)?)))?,
            Self::Server(client) => {
                let row = client.query_one(LOOK, &[&seq]).await?;
                (row.get(0), row.get(1))
            }
        };
        Ok((head.unwrap_or(0), at))
    }
}

impl Lag {
    /// The server has to be ready.
    pub async fn watch(site: &Site) -> Result<Self, Fail> {
        let lag = Self { over: Rc::default(), seen: Rc::default() };
        let (over, seen) = (lag.over.clone(), lag.seen.clone());
        let (record, mut line) = (Record::of(site).await?, Client::new(site.address));
        tokio::task::spawn_local(async move {
            while !over.get() {
                // A look that fails under load is left out, and does not count as no lag.
                if let Ok(found) = look(&mut line, &record).await {
                    seen.borrow_mut().add(found);
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        Ok(lag)
    }

    pub fn json(&self) -> Value {
        self.over.set(true);
        let seen = self.seen.borrow();
        let per_second = seen.first.zip(seen.last).map(|((began, first), (ended, last))| (last - first) as f64 / (ended - began).as_secs_f64().max(0.001));
        json!({ "looks": seen.waiting.len(), "waiting": Spread::of(seen.waiting.clone()).json(), "most_behind": seen.behind, "events_per_second": per_second })
    }
}

impl Seen {
    fn add(&mut self, (events, logged, waited): (i64, i64, Duration)) {
        let now = (Instant::now(), events);
        self.first.get_or_insert(now);
        self.last = Some(now);
        self.behind = self.behind.max(events - logged);
        self.waiting.push(u32::try_from(waited.as_micros()).unwrap_or(u32::MAX));
    }
}

/// Events on record, those of them in the checkpoint, and how long the oldest of the others has waited.
async fn look(line: &mut Client, record: &Record) -> Result<(i64, i64, Duration), Fail> {
    // The checkpoint first: what is added between the two looks counts as waiting, and never as negative.
    let answer = line.get("/log/checkpoint", &[]).await?;
    let logged: i64 = match answer.status {
        200 => answer.body.lines().nth(1).ok_or("a checkpoint without a size")?.parse()?,
        // Nothing was sequenced yet.
        404 => 0,
        status => return Err(format!("the checkpoint was answered with {status}").into()),
    };
    let (events, oldest) = record.look(logged + 1).await?;
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let waited = oldest.map_or(0, |at| u64::try_from(now - at).unwrap_or(0));
    Ok((events, logged, Duration::from_millis(waited)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_wait_and_the_largest_lag_stay() {
        let mut seen = Seen::default();
        for (events, logged, waited) in [(100, 100, 0), (900, 200, 700), (950, 940, 50)] {
            seen.add((events, logged, Duration::from_millis(waited)));
        }
        let told = Lag { over: Rc::default(), seen: Rc::new(RefCell::new(seen)) }.json();
        assert_eq!((told["most_behind"].as_i64(), told["waiting"]["max_ms"].as_f64(), told["looks"].as_u64()), (Some(700), Some(700.0), Some(3)));
        assert!(told["events_per_second"].as_f64().unwrap() > 0.0);
    }
}
