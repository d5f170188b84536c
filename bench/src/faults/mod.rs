//! Faults that must be survived: three nodes on one record, callers at a steady rate, and one fault after the
//! other. After each, the record is held against what callers were told, and the log is verified.

mod callers;
mod cutting;
mod database;
mod receiver;
mod record;

use std::{
    cell::Cell,
    net::SocketAddr,
    path::Path,
    rc::Rc,
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};
use tokio::{
    task::{JoinHandle, spawn_blocking, spawn_local},
    time::sleep,
};

use self::{
    callers::{Callers, Load},
    cutting::{Cutting, When, detour},
    receiver::{Receiver, Way},
    record::{Judged, Record},
};
use crate::{
    Fail,
    fill::mixed,
    http::Client,
    say,
    site::{Database, Server, Site},
    stats::Spread,
};

/// Nodes that share the record.
const NODES: usize = 3;
/// Of so many calls one is texted its code, while the provider is well.
const ONE_TEXTED_OF: u64 = 4;
/// How long a caller waits for a text that may have died with a node.
const WAITS: Duration = Duration::from_secs(8);
/// The same while the provider is in trouble: the first repeat is ten seconds after the first try.
const WAITS_LONG: Duration = Duration::from_secs(25);
/// How long the database is away before it is started again.
const AWAY: Duration = Duration::from_secs(1);
/// How long the log may take to hold all that is on record, the lease of a dead node included.
const SEQUENCED: Duration = Duration::from_secs(30);

/// Numbers that look random, from a seed: the same in every run.
pub struct Dice(Cell<u64>);

impl Dice {
    pub fn new(seed: u64) -> Self { Self(Cell::new(mixed(seed))) }

    /// Below `sides`.
    pub fn throw(&self, sides: u64) -> u64 {
        let next = self.0.get().wrapping_add(1);
        self.0.set(next);
        mixed(next) % sides.max(1)
    }

    fn pause(&self, milliseconds: (u64, u64)) -> Duration { Duration::from_millis(milliseconds.0 + self.throw(milliseconds.1.saturating_sub(milliseconds.0))) }
}

/// How much there is of it.
pub struct Faults<'a> {
    /// Calls that begin in a second.
    pub rate: u32,
    /// How long most faults go on.
    pub length: Duration,
    /// Where the record is kept.
    pub postgres: &'a str,
    /// That server was started for the bench, and may be stopped.
    pub ours: bool,
}

/// A node, and what it is started with now.
struct Node {
    site: Site,
    server: Option<Server>,
}

impl Node {
    /// Started, after an end without a word if it ran; with another configuration if there is one.
    async fn again(&mut self, site: &Site) -> Result<(), Fail> {
        if let Some(server) = self.server.take() {
            server.kill()?;
        }
        let mut server = site.start(&site.config)?;
        server.ready().await?;
        self.server = Some(server);
        Ok(())
    }
}

/// The run, with what all parts of it need.
struct Run<'a> {
    faults: &'a Faults<'a>,
    site: Site,
    receiver: Rc<Receiver>,
    callers: Rc<Callers>,
    nodes: Vec<Node>,
    /// Customers with an app are those below.
    with_app: u32,
    dice: Dice,
    /// What was wrong with the record when it was last looked at.
    judged: Judged,
}

/// Callers that were let go.
struct Begun {
    calling: JoinHandle<Result<(), Fail>>,
    load: Load,
    /// Texts before.
    texts: (u64, u64),
}

impl Faults<'_> {
    /// All of it, on a record of its own.
    pub async fn measure(&self, server: &Path, dir: &Path) -> Result<Value, Fail> {
        let receiver = Receiver::serve().await?;
        let site = Site::prepare(server, &dir.join("faults"), receiver.address, Some(self.postgres))?;
        // Six lengths of calls of which one of four is texted, three of calls that all are, and some to spare.
        let calls = u32::try_from(self.length.as_secs())? * self.rate;
        let (with_app, texted) = (calls * 9 / 2 + 100, calls * 9 / 2 + 100);
        site.import_texted(with_app, texted)?;
        let mut nodes = Vec::new();
        for n in 0..NODES {
            let site = if n == 0 { site.clone() } else { site.node(n, receiver.address)? };
            let mut node = Node { site: site.clone(), server: None };
            node.again(&site).await?;
            nodes.push(node);
        }
        let addresses: Vec<SocketAddr> = nodes.iter().map(|node| node.site.address).collect();
        let callers = Callers::new(site.signing(), addresses, receiver.clone(), with_app, with_app + texted);
        let mut run = Run { faults: self, site, receiver, callers, nodes, with_app, dice: Dice::new(2), judged: Judged::default() };
        let parts = run.all().await?;
        for server in run.nodes.iter_mut().filter_map(|node| node.server.take()) {
            // This thread is the provider that a node may be talking to.
            spawn_blocking(move || server.stop()).await??;
        }
        run.site.forget().await?;
        Ok(json!({ "nodes": NODES, "rate": self.rate, "parts": parts }))
    }
}

impl Run<'_> {
    async fn all(&mut self) -> Result<Vec<Value>, Fail> {
        let mut parts = vec![self.nothing().await?, self.killed().await?, self.cut().await?];
        parts.push(if self.faults.ours { self.stopped().await? } else {
            json!({ "fault": "the database stopped", "left_out": "the PostgreSQL server is somebody's: cargo xtask bench --postgresql starts one that may be stopped" })
        });
        for (way, fault) in [
            (Way::Down, "nobody at the provider of texts for a while"), (Way::Slow, "the provider of texts slow"),
            (Way::Broken, "the provider of texts answers 500 after it took the text"),
        ] {
            parts.push(self.provider(way, fault).await?);
        }
        parts.push(self.twice().await?);
        Ok(parts)
    }

    fn load(&self) -> Load { Load { rate: self.faults.rate, length: self.faults.length, one_texted_of: ONE_TEXTED_OF, waits: WAITS, twice: false } }

    fn begin(&self, fault: &str, load: Load) -> Begun {
        say(&format!("faults: {fault}"));
        Begun { texts: self.receiver.texts(), calling: spawn_local(self.callers.clone().call(load)), load }
    }

    /// What it is held against.
    async fn nothing(&mut self) -> Result<Value, Fail> {
        let fault = "none";
        let begun = self.begin(fault, self.load());
        self.end(fault, begun, json!({})).await
    }

    /// One node after the other is killed and started anew.
    async fn killed(&mut self) -> Result<Value, Fail> {
        let fault = "a node killed (SIGKILL), again and again";
        let length = self.faults.length * 2;
        let begun = self.begin(fault, Load { length, ..self.load() });
        let until = Instant::now() + length;
        let mut kills = 0;
        while Instant::now() < until {
            sleep(self.dice.pause((100, 900))).await;
            let at = usize::try_from(self.dice.throw(NODES as u64))?;
            let node = self.nodes.get_mut(at).ok_or("there are no nodes")?;
            let site = node.site.clone();
            node.again(&site).await?;
            kills += 1;
        }
        self.end(fault, begun, json!({ "times": kills })).await
    }

    /// Connections between nodes and database are cut while something is committed.
    async fn cut(&mut self) -> Result<Value, Fail> {
        let fault = "connections to the database cut, before or after a commit";
        let postgres = self.site.postgres.clone().ok_or("there is no server to be cut off from")?;
        let Some((_, place)) = detour(&postgres.address, self.site.address) else {
            return Ok(json!({ "fault": fault, "left_out": "the address of the PostgreSQL server does not name one host" }));
        };
        let database = tokio::net::lookup_host(place).await?.next().ok_or("the database's host has no address")?;
        let mut ways = Vec::new();
        for (n, node) in self.nodes.iter_mut().enumerate() {
            let way = Cutting::to(database).await?;
            let (address, _) = detour(&postgres.address, way.address).ok_or("the database's address leads nowhere else")?;
            let through = Site { config: self.site.dir.join(format!("through-{n}.toml")), postgres: Some(Database { address, schema: postgres.schema.clone() }), ..node.site.clone() };
            through.configure(&through.config, &through.store(), self.receiver.address)?;
            node.again(&through).await?;
            ways.push(way);
        }
        let begun = self.begin(fault, self.load());
        let until = Instant::now() + self.faults.length;
        while Instant::now() < until {
            sleep(self.dice.pause((20, 120))).await;
            let when = if self.dice.throw(2) == 0 { When::Before } else { When::After };
            if let Some(way) = ways.get(usize::try_from(self.dice.throw(NODES as u64))?) {
                way.next(Some(when));
            }
        }
        ways.iter().for_each(|way| way.next(None));
        let cuts = ways.iter().map(|way| way.cuts()).fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        let seen = self.end(fault, begun, json!({ "times": cuts.0 + cuts.1, "before": cuts.0, "after": cuts.1 })).await?;
        for node in &mut self.nodes {
            let site = node.site.clone();
            node.again(&site).await?;
        }
        Ok(seen)
    }

    /// The database ends in the middle of everything, and comes back.
    async fn stopped(&mut self) -> Result<Value, Fail> {
        let fault = "the database stopped (immediate) and started again";
        let server = database::Server::of(self.site.postgres.as_ref().ok_or("there is no server to be stopped")?).await?;
        let begun = self.begin(fault, self.load());
        sleep(self.faults.length * 3 / 10).await;
        let began = Instant::now();
        server.stop().await?;
        sleep(AWAY).await;
        server.start().await?;
        let away = began.elapsed().as_secs_f64();
        self.end(fault, begun, json!({ "times": 1, "away_seconds": away })).await
    }

    /// Every caller is texted, and the provider is in trouble.
    async fn provider(&mut self, way: Way, fault: &str) -> Result<Value, Fail> {
        self.receiver.turn(way).await?;
        let begun = self.begin(fault, Load { one_texted_of: 1, waits: WAITS_LONG, ..self.load() });
        // Back before the first repeats, so that those come through.
        sleep(if way == Way::Down { self.faults.length * 4 / 5 } else { self.faults.length }).await;
        self.receiver.turn(Way::Well).await?;
        self.end(fault, begun, json!({})).await
    }

    /// Two nodes are given the same webhook.
    async fn twice(&mut self) -> Result<Value, Fail> {
        let fault = "every webhook sent to two nodes at once";
        let begun = self.begin(fault, Load { twice: true, ..self.load() });
        self.end(fault, begun, json!({})).await
    }

    /// Waits for the last of the callers, and looks at what is on record.
    async fn end(&mut self, fault: &str, begun: Begun, more: Value) -> Result<Value, Fail> {
        let Begun { calling, load, texts } = begun;
        calling.await??;
        let seen = self.callers.seen();
        let site = self.site.clone();
        let record = Record::read(&spawn_blocking(move || site.exported()).await??)?;
        // Over everything that anybody was ever told: a fault may take what others had left.
        let now = record.judge(&self.callers.told(), self.with_app);
        let judged = now.since(std::mem::replace(&mut self.judged, now));
        let mut errors = seen.errors;
        if let Err(e) = self.sequenced(record.events).await {
            errors.insert(e.to_string(), 1);
        }
        let site = self.site.clone();
        let verified = match spawn_blocking(move || site.verified()).await? {
            Ok(said) => said.contains("Verified"),
            Err(e) => {
                errors.insert(e.to_string(), 1);
                false
            }
        };
        for node in &mut self.nodes {
            if let Some(how) = node.server.as_mut().map(Server::ended).transpose()?.flatten() {
                errors.insert(format!("a node ended by itself: {how}"), 1);
            }
        }
        let (all_texts, repeated) = self.receiver.texts();
        let mut out = Map::new();
        let figures = json!({
            "fault": fault, "seconds": load.length.as_secs_f64(), "calls": seen.calls, "commands": seen.times.len(),
            "commands_per_second": seen.during as f64 / load.length.as_secs_f64(), "answered": Spread::of(seen.times).json(),
            "longest_silence_ms": seen.longest.as_secs_f64() * 1000.0, "accepted": seen.accepted, "overheard": seen.overheard.0, "overheard_accepted": seen.overheard.1,
            "missing": judged.missing, "twice": judged.twice, "codes_twice": judged.codes_twice, "broken_numbers": judged.broken, "events_on_record": record.events,
            "differing_answers": seen.differing, "texts": all_texts - texts.0, "texts_repeated": repeated - texts.1, "texts_in_vain": seen.in_vain,
            "text_waits": Spread::of(seen.waits).json(), "verified": verified, "errors": errors,
        });
        for part in [figures, more] {
            out.extend(part.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
        }
        Ok(Value::Object(out))
    }

    /// Waits until the log holds this many events. Whichever node has that chore, all of them show it.
    async fn sequenced(&self, events: u64) -> Result<(), Fail> {
        let began = Instant::now();
        let mut line = Client::new(self.site.address);
        loop {
            let size = match line.get("/log/checkpoint", &[]).await {
                Ok(answer) if answer.ok() => answer.body.lines().nth(1).and_then(|size| size.parse::<u64>().ok()).unwrap_or(0),
                _ => 0,
            };
            if size >= events {
                return Ok(());
            }
            if began.elapsed() > SEQUENCED {
                return Err(format!("after {} s the log has {size} of {events} events", SEQUENCED.as_secs()).into());
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}
