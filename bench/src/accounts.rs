//! What a command costs as accounts grow: the same calls over records that hold a thousand accounts, ten
//! thousand, and so on.

use std::{cell::RefCell, fs, path::Path, rc::Rc, time::{Duration, Instant}};

use rusqlite::{Connection, OpenFlags, OptionalExtension};
use serde_json::{Map, Value, json};
use tokio::task::spawn_local;

use crate::{
    Fail, calls::{Customers, Floor, Load}, checks::Target, fill::{fill, mixed}, http::Client, process,
    site::{Agent, Server, Site},
    stats::{Recorder, median},
    twilio::Rest,
};

/// Accounts that the program itself imported. In one round each of them calls once: whatever a call reads of
/// its account, the server does not have in memory yet.
const REAL: u32 = 500;
/// Of these, so many call before anything is measured.
const WARM_UP: usize = 50;
/// Calls at a time, and agents.
const AT_A_TIME: usize = 4;
/// Rounds over all sizes, of which the middle counts: what else the machine does meets all sizes alike.
const ROUNDS: usize = 3;
/// Random accounts that are looked up in the database itself.
const LOOKS: u64 = 10_000;

/// One record, and what was seen with it.
struct Size {
    accounts: u64,
    site: Rc<Site>,
    customers: Rc<RefCell<Customers>>,
    agents: Vec<Agent>,
    /// Of the agents, from the first round on: a code of theirs counts once, and rounds may be short.
    cookies: Vec<String>,
    fill_seconds: f64,
    mib: f64,
    rounds: Vec<Value>,
}

/// All sizes in one kind of database.
pub async fn measure(server: &Path, dir: &Path, rest: &Rc<Rest>, postgres: Option<&str>, most: u64, length: Duration) -> Result<Value, Fail> {
    let name = if postgres.is_some() { "PostgreSQL" } else { "SQLite" };
    let mut sizes = Vec::new();
    for accounts in (3..).map(|zeros| 10u64.pow(zeros)).take_while(|accounts| *accounts <= most) {
        crate::say(&format!("{name}: {accounts} accounts"));
        let began = Instant::now();
        let site = Site::prepare(server, &dir.join(format!("accounts-{name}-{accounts}")), rest.address, postgres)?;
        site.import(REAL, 0)?;
        let agents = site.add_agents(AT_A_TIME)?;
        fill(&site, accounts.saturating_sub(u64::from(REAL))).await?;
        let mib = size(&site).await?;
        sizes.push(Size {
            accounts, site: Rc::new(site), customers: Rc::new(RefCell::new(Customers::new(REAL))), agents, cookies: Vec::new(),
            fill_seconds: began.elapsed().as_secs_f64(), mib, rounds: Vec::new(),
        });
    }
    for round in 0..ROUNDS {
        for size in &mut sizes {
            crate::say(&format!("{name}: round {} of {ROUNDS} with {} accounts", round + 1, size.accounts));
            let measured = size.round(rest, length).await?;
            size.rounds.push(measured);
        }
    }
    let mut out = Vec::new();
    for size in sizes {
        size.site.forget().await?;
        fs::remove_dir_all(&size.site.dir)?;
        out.push(size.told());
    }
    Ok(json!({ "store": name, "rounds": ROUNDS, "calls": REAL as usize - WARM_UP, "at_a_time": AT_A_TIME, "sizes": out }))
}

impl Size {
    async fn round(&mut self, rest: &Rc<Rest>, length: Duration) -> Result<Value, Fail> {
        let site = &self.site;
        let direct = looked_up(site).await?;
        let mut server = site.start(&site.config)?;
        let ready = server.ready().await?;
        let mut line = Client::new(site.address);
        for agent in self.agents.drain(..) {
            self.cookies.push(site.sign_in(&mut line, &agent).await?);
        }
        let database = Database::of(site).await?;
        let before = database.cpu();
        let floor = Floor::new(site.clone(), rest.clone(), self.customers.clone());
        let load = Load { calls: AT_A_TIME, warm_up: Duration::ZERO, length, refresh: Duration::from_millis(30) };
        let mut calls = floor.some(&server, (WARM_UP, REAL as usize - WARM_UP), load, &self.cookies).await?;
        let used = (database.cpu() - before) * 1e6 / floor.durable().max(1) as f64;
        let strangers = strangers(site, &server, length).await?;
        server.stop()?;
        if let Some(calls) = calls.as_object_mut() {
            calls.insert("database_microseconds_per_command".into(), if database.0.is_empty() { Value::Null } else { json!(used) });
        }
        Ok(json!({ "ready_ms": ready, "calls": calls, "strangers": strangers, "direct": direct }))
    }

    /// The middle of the rounds, figure by figure.
    fn told(&self) -> Value {
        let middle = |path: &str| {
            let seen: Vec<f64> = self.rounds.iter().filter_map(|round| round.pointer(path)?.as_f64()).collect();
            (!seen.is_empty()).then(|| median(seen))
        };
        let spread = |path: &str| json!({ "p50_ms": middle(&format!("{path}/p50_ms")), "p99_ms": middle(&format!("{path}/p99_ms")) });
        let kinds = self.rounds.first().and_then(|round| round.pointer("/calls/by_request")?.as_object());
        let by_request: Map<String, Value> = kinds.into_iter().flat_map(Map::keys).map(|kind| (kind.clone(), spread(&format!("/calls/by_request/{kind}")))).collect();
        let errors: Vec<&Value> = self.rounds.iter().flat_map(|round| ["/calls/errors", "/strangers/errors"].map(|path| round.pointer(path)))
            .flatten().filter(|errors| errors.as_object().is_some_and(|e| !e.is_empty())).collect();
        json!({
            "accounts": self.accounts, "mib": self.mib, "fill_seconds": self.fill_seconds, "ready_ms": middle("/ready_ms"),
            "durable": spread("/calls/durable"), "by_request": by_request,
            "server_microseconds_per_command": middle("/calls/server_microseconds_per_command"),
            "database_microseconds_per_command": middle("/calls/database_microseconds_per_command"),
            "strangers_per_second": middle("/strangers/per_second"), "strangers": spread("/strangers/times"), "strangers_microseconds": middle("/strangers/microseconds"),
            "direct": spread("/direct"), "errors": errors, "each_round": self.rounds,
        })
    }
}

/// The processes of the database that serve the nodes, where it is one of this machine.
struct Database(Vec<u32>);

impl Database {
    async fn of(site: &Site) -> Result<Self, Fail> {
        let Some(database) = &site.postgres else { return Ok(Self(Vec::new())) };
        let client = database.connect().await?;
        let rows = client.query("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()", &[]).await?;
        rows.iter().map(|row| Ok(u32::try_from(row.get::<_, i32>(0))?)).collect::<Result<_, Fail>>().map(Self)
    }

    fn cpu(&self) -> f64 { self.0.iter().map(|pid| process::cpu(*pid)).sum() }
}

/// Look-ups through the program: account numbers that nobody has, each somewhere else in the index. Nothing is
/// written for them.
async fn strangers(site: &Rc<Site>, server: &Server, length: Duration) -> Result<Value, Fail> {
    let recorder = Rc::new(Recorder::new());
    let target = Rc::new(Target::countersign(site));
    recorder.open(length);
    let (began, before) = (Instant::now(), process::cpu(server.pid()));
    let workers: Vec<_> = (0..16u32).map(|worker| {
        let (recorder, target, address) = (recorder.clone(), target.clone(), site.address);
        spawn_local(async move {
            let mut line = Client::new(address);
            for n in (0..).map(|n| 100_000_000 + n * 16 + worker) {
                if began.elapsed() > length {
                    return;
                }
                let asked = recorder.time("look-up", false, async {
                    let answer = target.ask(&mut line, n, "000000").await?;
                    if answer.body.contains("\"accepted\":false") { Ok(()) } else { Err(Fail::from(format!("a number that nobody has was answered with {}", answer.status))) }
                }).await;
                if let Err(e) = asked {
                    recorder.failed(e.to_string());
                }
            }
        })
    }).collect();
    for worker in workers {
        worker.await?;
    }
    let (seconds, used) = (began.elapsed().as_secs_f64(), process::cpu(server.pid()) - before);
    let spread = recorder.kind("look-up");
    Ok(json!({ "per_second": spread.count as f64 / seconds, "times": spread.json(), "microseconds": used * 1e6 / spread.count.max(1) as f64, "errors": recorder.errors() }))
}

/// Random accounts in the database itself, without the program: by a row of the index to the sealed record.
async fn looked_up(site: &Site) -> Result<Value, Fail> {
    const BY_NUMBER: &str = "SELECT id FROM lookup WHERE space = 'account_number' AND key >= $1 ORDER BY key LIMIT 1";
    const RECORD: &str = "SELECT body FROM doc WHERE kind = 'account' AND id = $1";
    let recorder = Recorder::new();
    recorder.open(Duration::from_secs(86_400));
    let place = |n: u64| [mixed(n).to_be_bytes(), mixed(!n).to_be_bytes()].concat();
    if let Some(database) = &site.postgres {
        let client = database.connect().await?;
        let (by_number, record) = (client.prepare(BY_NUMBER).await?, client.prepare(RECORD).await?);
        for n in 0..LOOKS {
            recorder.time("look-up", false, async {
                if let Some(row) = client.query_opt(&by_number, &[&place(n)]).await? {
                    client.query_one(&record, &[&row.get::<_, &[u8]>(0)]).await?;
                }
                Ok::<(), Fail>(())
            }).await?;
        }
    } else {
        let conn = Connection::open_with_flags(site.store(), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let (mut by_number, mut record) = (conn.prepare(BY_NUMBER)?, conn.prepare(RECORD)?);
        for n in 0..LOOKS {
            recorder.time("look-up", false, async {
                if let Some(id) = by_number.query_row([place(n)], |row| row.get::<_, Vec<u8>>(0)).optional()? {
                    record.query_row([id], |row| row.get::<_, Vec<u8>>(0))?;
                }
                Ok::<(), Fail>(())
            }).await?;
        }
    }
    Ok(recorder.kind("look-up").json())
}

/// What accounts and their index take on the disk, in MiB.
async fn size(site: &Site) -> Result<f64, Fail> {
    let bytes = match &site.postgres {
        Some(database) => {
            let row = database.connect().await?.query_one("SELECT (pg_total_relation_size('doc') + pg_total_relation_size('lookup'))::float8", &[]).await?;
            row.get(0)
        }
        None => fs::metadata(site.store())?.len() as f64,
    };
    Ok(bytes / f64::from(1 << 20))
}
