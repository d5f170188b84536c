//! How far the Merkle log is behind the record while calls go on, by the server's own figures.

use std::{cell::{Cell, RefCell}, net::SocketAddr, rc::Rc, time::{Duration, Instant}};

use serde_json::{Value, json};

use crate::{http::Client, stats::Spread};

/// Looks five times a second, until it is asked for what it saw.
pub struct Lag {
    over: Rc<Cell<bool>>,
    seen: Rc<RefCell<Seen>>,
    began: Instant,
}

#[derive(Default)]
struct Seen {
    /// How long the oldest event that is in no checkpoint has waited, in microseconds.
    waiting: Vec<u32>,
    /// Events that are in no checkpoint.
    behind: Vec<f64>,
    first: Option<f64>,
    last: f64,
}

impl Lag {
    pub fn watch(address: SocketAddr) -> Self {
        let lag = Self { over: Rc::default(), seen: Rc::default(), began: Instant::now() };
        let (over, seen) = (lag.over.clone(), lag.seen.clone());
        tokio::task::spawn_local(async move {
            let mut line = Client::new(address);
            while !over.get() {
                // A look that fails under load is left out, and does not count as no lag.
                if let Ok(answer) = line.get("/metrics", &[]).await {
                    let figure = |name: &str| answer.body.lines().find_map(|l| l.strip_prefix(name)?.trim().parse::<f64>().ok());
                    let found = (figure("countersign_log_waiting_seconds "), figure("countersign_log_behind "), figure("countersign_log_entries "));
                    if let (Some(waiting), Some(behind), Some(entries)) = found {
                        let mut seen = seen.borrow_mut();
                        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of waiting fit, and are never negative")]
                        seen.waiting.push((waiting * 1e6) as u32);
                        seen.behind.push(behind);
                        seen.first.get_or_insert(entries + behind);
                        seen.last = entries + behind;
                    }
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        lag
    }

    pub fn json(&self) -> Value {
        self.over.set(true);
        let seen = self.seen.borrow();
        let events = seen.last - seen.first.unwrap_or(seen.last);
        json!({
            "looks": seen.waiting.len(), "waiting": Spread::of(seen.waiting.clone()).json(), "most_behind": seen.behind.iter().copied().fold(0.0, f64::max),
            "events_per_second": events / self.began.elapsed().as_secs_f64(),
        })
    }
}
