//! What calls cost while they only wait: memory, and the time to take them up after a start.

use std::{cell::RefCell, fs, rc::Rc, time::Duration};

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    Fail,
    calls::{Customers, Floor},
    process::{self, Memory},
    site::{Server, Site},
    stats::median,
    twilio::Rest,
};

/// Starts of which the middle one counts.
const STARTS: usize = 5;

fn told(memory: Memory) -> Value { json!({ "rss_mib": memory.rss, "anon_mib": memory.anon, "pss_mib": memory.pss, "peak_rss_mib": memory.peak }) }

/// Starts with an empty store.
pub async fn empty_starts(site: &Site, rest: &Rest) -> Result<Value, Fail> {
    let mut times = Vec::new();
    for n in 0..STARTS {
        let (config, store) = (site.dir.join(format!("empty-{n}.toml")), site.dir.join(format!("store/empty-{n}.db")));
        site.configure(&config, &store, rest.address)?;
        let mut server = site.start(&config)?;
        times.push(server.ready().await?);
        server.stop()?;
    }
    Ok(json!({ "ready_ms": median(times.clone()), "each_ms": times }))
}

/// Memory with nobody on the line and with many waiting; then starts that take all of them up again.
pub async fn waiting(site: &Rc<Site>, rest: &Rc<Rest>, customers: &Rc<RefCell<Customers>>, calls: usize) -> Result<Value, Fail> {
    let mut server = site.start(&site.config)?;
    server.ready().await?;
    sleep(Duration::from_secs(1)).await;
    let nobody = process::memory(server.pid());
    let floor = Floor::new(site.clone(), rest.clone(), customers.clone());
    floor.fill(calls, 64).await?;
    sleep(Duration::from_secs(2)).await;
    let waiting = process::memory(server.pid());
    let live = live_calls(site).await?;
    server.stop()?;
    let (mut times, mut resumed) = (Vec::new(), Memory::default());
    for _ in 0..STARTS {
        let mut server: Server = site.start(&site.config)?;
        times.push(server.ready().await?);
        if live_calls(site).await? != live {
            return Err(format!("{live} calls were waiting, and after a start there are others").into());
        }
        resumed = process::memory(server.pid());
        server.stop()?;
    }
    let size = fs::metadata(site.store())?.len();
    Ok(json!({
        "calls": live, "nobody": told(nobody), "waiting": told(waiting), "after_a_start": told(resumed),
        "kib_per_call": (waiting.anon - nobody.anon) * 1024.0 / live.max(1) as f64,
        "ready_ms": median(times.clone()), "each_ms": times, "store_mib": size as f64 / f64::from(1 << 20),
    }))
}

/// How many calls the server says it has.
async fn live_calls(site: &Site) -> Result<usize, Fail> {
    let mut line = crate::http::Client::new(site.address);
    let answer = line.get("/metrics", &[]).await?;
    let count = answer.body.lines().find_map(|l| l.strip_prefix("countersign_live_calls ")?.trim().parse().ok());
    Ok(count.ok_or("the server does not say how many calls it has")?)
}
