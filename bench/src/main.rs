//! The benchmark: a whole Countersign from outside, on this machine, with nothing but the loopback.
//! `cargo xtask bench` builds and starts it; docs/benchmarks.md says what the figures mean.

mod accounts;
mod calls;
mod checks;
mod faults;
mod fill;
mod http;
mod lag;
mod log;
mod media;
mod passports;
mod otp;
mod peer;
mod portal;
mod process;
mod race;
mod recordings;
mod report;
mod site;
mod standing;
mod stats;
mod telephony;
mod twilio;
mod voice;

use std::{cell::RefCell, fs, path::PathBuf, process::ExitCode, rc::Rc, time::Duration};

use clap::{Parser, ValueEnum};
use serde_json::{Value, json};

use crate::{
    calls::{Customers, Floor, Load},
    checks::{Target, Tokens, hammer},
    faults::Faults,
    http::Client,
    lag::Lag,
    peer::{Peer, Setting},
    race::Race,
    site::Site,
    twilio::Rest,
};

/// Measures Countersign from outside
#[derive(Parser)]
#[command(name = "countersign-bench")]
struct Cli {
    /// The `countersign` binary, built with --release
    #[arg(long)]
    server: PathBuf,
    /// Where the report goes, and what was written while measuring
    #[arg(long)]
    out: PathBuf,
    /// Where the peer is installed, once
    #[arg(long)]
    cache: PathBuf,
    /// Only these parts
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Calls at a time
    #[arg(long, default_value_t = 256)]
    calls: usize,
    /// Agents at the desk
    #[arg(long, default_value_t = 128)]
    agents: usize,
    /// Seconds that are measured, after the warm-up
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Seconds before that
    #[arg(long, default_value_t = 5)]
    warm_up: u64,
    /// Milliseconds between two looks at the list of waiting calls
    #[arg(long, default_value_t = 30)]
    refresh: u64,
    /// Customers on file
    #[arg(long, default_value_t = 20_000)]
    customers: u32,
    /// Tokens on file
    #[arg(long, default_value_t = 5_000)]
    tokens: u32,
    /// Calls that wait while memory and starts are measured
    #[arg(long, default_value_t = 10_000)]
    waiting: usize,
    /// Entries of the Merkle log that is verified
    #[arg(long, default_value_t = 10_000_000)]
    entries: u64,
    /// Open pages of customers
    #[arg(long, default_value_t = 10_000)]
    pages: u32,
    /// Guesses at one token at the same time
    #[arg(long, default_value_t = 1000)]
    guesses: usize,
    /// How often that is done
    #[arg(long, default_value_t = 10)]
    rounds: u32,
    /// Accounts of the largest record: 10000000 takes 55 GB of disk in PostgreSQL
    #[arg(long, default_value_t = 1_000_000)]
    accounts_most: u64,
    /// Accounts in the database alone, and not in a file as well
    #[arg(long, requires = "postgres")]
    accounts_in_postgresql: bool,
    /// Telephone calls in all, at our gateway and at Asterisk
    #[arg(long, default_value_t = 2_000)]
    phone_calls: usize,
    /// So many of them at a time
    #[arg(long, default_value_t = 100)]
    phones: usize,
    /// Seconds for which calls are set up, at each rate
    #[arg(long, default_value_t = 60)]
    set_ups_for: u64,
    /// Calls that begin in a second, under faults
    #[arg(long, default_value_t = 25)]
    fault_rate: u32,
    /// Seconds of most faults; nodes are killed for twice as long
    #[arg(long, default_value_t = 10)]
    fault_seconds: u64,
    /// Recordings of people, to say how well voices are told apart
    #[arg(long, env = recordings::DATA)]
    voice_data: Option<PathBuf>,
    /// Leave privacyIDEA out: nothing is downloaded
    #[arg(long)]
    no_peer: bool,
    /// Keep the record in this PostgreSQL server instead of a file
    #[arg(long)]
    postgres: Option<String>,
    /// That server was started for this run, and may be stopped in the middle of it
    #[arg(long, requires = "postgres")]
    postgres_is_ours: bool,
    /// Keep the store and the logs
    #[arg(long)]
    keep: bool,
}

/// A part of the benchmark.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Whole calls
    Calls,
    /// One-time codes by themselves
    Checks,
    /// The same at privacyIDEA
    Peer,
    /// Starts with an empty store
    Start,
    /// Memory and starts with many calls waiting
    Waiting,
    /// Open pages of customers, polls of programs, passkeys
    Portal,
    /// A large Merkle log: verified offline, and proofs from it
    Log,
    /// A thousand guesses at one token at once, here and at privacyIDEA
    Race,
    /// Commands and look-ups as accounts grow
    Accounts,
    /// Telephone calls with sound, here and at Asterisk; and signatures of numbers
    Telephony,
    /// Voices compared, on one core; and how well they are told apart, where there are recordings of people
    Voice,
    /// Nodes, connections, database and provider that fail under calls
    Faults,
}

/// What went wrong, in words for whoever started it.
type Fail = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(telephony::GATEWAY) {
        return telephony::gateway();
    }
    let cli = Cli::parse();
    // One thread: the generator leaves the rest of the machine to the server.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return fail(&e.into()),
    };
    match tokio::task::LocalSet::new().block_on(&runtime, run(&cli)) {
        Ok(sound) => if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE },
        Err(e) => fail(&e),
    }
}

fn fail(e: &Fail) -> ExitCode {
    eprintln!("error: {e}");
    ExitCode::FAILURE
}

impl Cli {
    fn wants(&self, part: Part) -> bool { self.only.is_empty() || self.only.contains(&part) }
    fn length(&self) -> Duration { Duration::from_secs(self.seconds) }
    fn warm_up(&self) -> Duration { Duration::from_secs(self.warm_up) }
}

/// Everything in turn, never two things at once.
async fn run(cli: &Cli) -> Result<bool, Fail> {
    let dir = cli.out.join("work");
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    let dir = dir.canonicalize()?;
    let rest = Rest::serve().await?;
    say("setting up: key, configuration");
    let site = Rc::new(Site::prepare(&cli.server.canonicalize()?, &dir, rest.address, cli.postgres.as_deref())?);
    let mut out = serde_json::Map::new();
    out.insert("machine".into(), report::machine());
    if cli.wants(Part::Start) {
        say("starts with an empty store");
        out.insert("empty_start".into(), standing::empty_starts(&site, &rest).await?);
    }
    let customers = Rc::new(RefCell::new(Customers::new(cli.customers)));
    if cli.wants(Part::Calls) || cli.wants(Part::Checks) || cli.wants(Part::Portal) || cli.wants(Part::Waiting) {
        say(&format!("importing {} customers and {} tokens", cli.customers, cli.tokens));
        let began = std::time::Instant::now();
        site.import(cli.customers, cli.tokens)?;
        out.insert("import".into(), json!({ "customers": cli.customers + cli.tokens, "seconds": began.elapsed().as_secs_f64() }));
    }
    if cli.wants(Part::Calls) {
        out.insert("calls".into(), whole_calls(cli, &site, &rest, &customers).await?);
    }
    if cli.wants(Part::Checks) {
        out.insert("checks".into(), Value::Array(own_checks(cli, &site).await?));
    }
    if cli.wants(Part::Portal) {
        out.insert("portal".into(), customers_side(cli, &site).await?);
    }
    if cli.wants(Part::Waiting) {
        say(&format!("{} calls in the queue; then starts that take them up", cli.waiting));
        out.insert("waiting".into(), standing::waiting(&site, &rest, &customers, cli.waiting).await?);
    }
    if cli.wants(Part::Log) {
        say(&format!("a log of {} entries", cli.entries));
        let measured = log::measure(&cli.server, &dir, cli.entries)?;
        say(&measured.to_string());
        out.insert("log".into(), measured);
    }
    if cli.wants(Part::Race) {
        out.insert("race".into(), Value::Array(races(cli, &site, &rest, &dir).await?));
    }
    if cli.wants(Part::Voice) {
        say("voices, on one core");
        out.insert("voice".into(), voice::measure(cli.length())?);
        out.insert("recordings".into(), told_apart(cli, &site, &dir));
    }
    if cli.wants(Part::Accounts) {
        let stores = [(!cli.accounts_in_postgresql).then_some(None), cli.postgres.as_deref().map(Some)];
        let mut seen = Vec::new();
        for postgres in stores.into_iter().flatten() {
            seen.push(accounts::measure(&site.server, &dir, &rest, postgres, cli.accounts_most, cli.length() / 4).await?);
        }
        out.insert("accounts".into(), Value::Array(seen));
    }
    if cli.wants(Part::Telephony) {
        say(&format!("{} telephone calls, {} at a time, at our gateway and at Asterisk", cli.phone_calls, cli.phones));
        out.insert("telephony".into(), telephony::measure(&dir, &cli.cache, cli.phone_calls, cli.phones).await?);
        say(&format!("{} calls that stay, then calls set up for {} s at each rate", media::LASTING.map(|n| n.to_string()).join(", "), cli.set_ups_for));
        out.insert("media".into(), media::measure(&dir, Duration::from_secs(cli.set_ups_for)).await?);
        say("signatures of numbers");
        out.insert("passports".into(), passports::measure(cli.length() / 2)?);
    }
    if cli.wants(Part::Peer) && !cli.no_peer {
        let peers = [Setting::Default, Setting::Light];
        let mut heard = Vec::new();
        for setting in peers {
            // Not being able to measure a peer must not pass for having measured it.
            heard.push(peer_checks(cli, &dir, setting).await.unwrap_or_else(|e| json!({ "setting": setting.name(), "not_measured": e.to_string() })));
        }
        out.insert("peer".into(), Value::Array(heard));
    }
    // The last: callers of a part that broke off would still ring while others are measured.
    if cli.wants(Part::Faults) {
        out.insert("faults".into(), under_faults(cli, &site, &dir).await?);
    }
    let sound = report::write(&cli.out, &Value::Object(out))?;
    if !cli.keep {
        site.forget().await?;
        fs::remove_dir_all(&dir)?;
    }
    Ok(sound)
}

fn say(text: &str) { eprintln!("bench: {text}"); }

async fn whole_calls(cli: &Cli, site: &Rc<Site>, rest: &Rc<Rest>, customers: &Rc<RefCell<Customers>>) -> Result<Value, Fail> {
    say(&format!("adding {} agents and signing them in", cli.agents));
    let agents = site.add_agents(cli.agents)?;
    let mut server = site.start(&site.config)?;
    server.ready().await?;
    let mut cookies = Vec::new();
    let mut line = Client::new(site.address);
    for agent in &agents {
        cookies.push(site.sign_in(&mut line, agent).await?);
    }
    say(&format!("whole calls, {} at a time, for {} s", cli.calls, cli.warm_up + cli.seconds));
    let before = report::on_record(site).await?;
    let floor = Floor::new(site.clone(), rest.clone(), customers.clone());
    let load = Load { calls: cli.calls, warm_up: cli.warm_up(), length: cli.length(), refresh: Duration::from_millis(cli.refresh) };
    let lag = Lag::watch(site).await?;
    let mut measured = floor.load(&server, load, &cookies).await?;
    let lag = lag.json();
    server.stop()?;
    let after = report::on_record(site).await?;
    if let Some(measured) = measured.as_object_mut() {
        measured.insert("log".into(), lag);
        measured.insert("record".into(), json!({ "answered": floor.durable(), "commands": after.commands - before.commands, "events": after.events - before.events }));
    }
    Ok(measured)
}

async fn own_checks(cli: &Cli, site: &Site) -> Result<Vec<Value>, Fail> {
    let mut server = site.start(&site.config)?;
    server.ready().await?;
    let tokens = Tokens::new(cli.tokens);
    let mut out = Vec::new();
    for at_a_time in [16, 64] {
        say(&format!("checks, {at_a_time} at a time"));
        let target = Rc::new(Target::countersign(site));
        out.push(hammer(target, site.address, tokens.clone(), at_a_time, cli.warm_up() / 2, cli.length(), &[server.pid()]).await?);
    }
    server.stop()?;
    Ok(out)
}

/// Open pages, polls and passkeys, on one server.
async fn customers_side(cli: &Cli, site: &Rc<Site>) -> Result<Value, Fail> {
    let mut server = site.start(&site.config)?;
    server.ready().await?;
    let pages = cli.pages.min(cli.customers);
    say(&format!("signing {pages} customers in, and opening a page for each"));
    let cookies = portal::sessions(site, pages).await?;
    let streams = portal::streams(site, &server, &cookies).await?;
    say("polls of a program");
    let polls = portal::polls(site, &server, 2_000.min(pages), 32, cli.warm_up() / 2, cli.length()).await?;
    say("passkeys");
    let cookies = portal::sessions(site, 64.min(pages)).await?;
    let passkeys = portal::passkeys(site, &server, &cookies, cli.warm_up() / 2, cli.length()).await?;
    server.stop()?;
    let assertions = portal::assertions(Duration::from_secs(3))?;
    Ok(json!({ "streams": streams, "polls": polls, "passkeys": passkeys, "assertions": assertions }))
}

/// The race of guesses against both, one after the other.
async fn races(cli: &Cli, site: &Site, rest: &Rest, dir: &std::path::Path) -> Result<Vec<Value>, Fail> {
    let race = Race { guesses: cli.guesses, rounds: cli.rounds };
    say(&format!("{} guesses at once, {} times", cli.guesses, cli.rounds));
    let own = Site::prepare(&site.server, &dir.join("race"), rest.address, cli.postgres.as_deref())?;
    let mut seen = vec![race.countersign(&own, rest.address).await?];
    own.forget().await?;
    if !cli.no_peer {
        say("the same at privacyIDEA");
        let peer = async {
            fs::create_dir_all(&cli.cache)?;
            race.peer(&peer::install(&cli.cache.canonicalize()?)?, &dir.join("race-peer")).await
        };
        seen.push(peer.await.unwrap_or_else(|e: Fail| json!({ "who": "privacyIDEA", "not_measured": e.to_string() })));
    }
    Ok(seen)
}

/// How well voices are told apart, where there are recordings of people.
fn told_apart(cli: &Cli, site: &Site, dir: &std::path::Path) -> Value {
    let Some(data) = &cli.voice_data else {
        return json!({ "not_measured": format!("{} names no recordings", recordings::DATA) });
    };
    say("recordings of people: how well their voices are told apart");
    // Recordings that cannot be measured must not pass for none.
    recordings::measure(&site.server, dir, data).unwrap_or_else(|e| json!({ "failed": e.to_string() }))
}

/// Several nodes, and what happens to them.
async fn under_faults(cli: &Cli, site: &Site, dir: &std::path::Path) -> Result<Value, Fail> {
    let Some(postgres) = &cli.postgres else {
        let why = "several nodes share a PostgreSQL server: cargo xtask bench --postgresql";
        return if cli.only.is_empty() { Ok(json!({ "not_measured": why })) } else { Err(why.into()) };
    };
    let faults = Faults { rate: cli.fault_rate, length: Duration::from_secs(cli.fault_seconds.max(1)), postgres, ours: cli.postgres_is_ours };
    // What broke under a fault is what this is about: the other parts are reported all the same.
    Ok(faults.measure(&site.server, dir).await.unwrap_or_else(|e| json!({ "failed": e.to_string() })))
}

async fn peer_checks(cli: &Cli, dir: &std::path::Path, setting: Setting) -> Result<Value, Fail> {
    say(&format!("privacyIDEA ({}): installing and setting up", setting.name()));
    fs::create_dir_all(&cli.cache)?;
    let venv = peer::install(&cli.cache.canonicalize()?)?;
    let name = if setting == Setting::Default { "peer" } else { "peer-light" };
    let peer = Peer::start(&venv, &dir.join(name), setting, 64).await?;
    let tokens = Tokens::new(64);
    let mut out = Vec::new();
    for at_a_time in [16, 64] {
        say(&format!("privacyIDEA: checks, {at_a_time} at a time"));
        // As long as ours: a slow one has few checks in that time, and all of them are counted.
        out.push(hammer(Rc::new(Target::PrivacyIdea), peer.address, tokens.clone(), at_a_time, cli.warm_up() / 2, cli.length(), &peer.pids()).await?);
    }
    Ok(json!({ "setting": setting.name(), "packages": peer::PACKAGES, "workers": peer::WORKERS, "checks": out }))
}
