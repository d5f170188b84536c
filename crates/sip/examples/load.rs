//! How much a call costs: N calls with audio both ways, the gateway in a process of its own.
//!
//! ```console
//! cargo run --release -p countersign-sip --example load -- 200 500 1000
//! ```
//!
//! Prints for each number: the share of one core, and memory, that the gateway took; packets lost and
//! the 99th of a hundred distances between packets as the callers saw them; calls set up in a second.
//! The callers share the machine: on a small one the distances are theirs too.

use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use countersign_sip::caller::{Line, Phone, PhoneSettings};
use countersign_sip::{Answer, CallKey, Clip, Ended, Flow, Gateway, Incoming, Rate, Settings, Step, Steps};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Calls that are being set up at one time.
const AT_ONCE: usize = 16;
const TALK: Duration = Duration::from_secs(10);

struct Music(Arc<Clip>);

#[async_trait]
impl Flow for Music {
    async fn incoming(&self, _call: &Incoming) -> Answer {
        Answer::Accept(Steps::new([Step::Hold(self.0.clone())]))
    }
    async fn digits(&self, _call: &CallKey, _keys: &str) -> Option<Steps> {
        None
    }
    async fn no_keys(&self, _call: &CallKey) -> Option<Steps> {
        None
    }
    async fn hung_up(&self, _call: &CallKey, _how: Ended) {}
}

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if words.first().is_some_and(|word| word == "serve") {
        return runtime.block_on(serve());
    }
    let numbers: Vec<usize> = words.iter().map(|word| word.parse()).collect::<Result<_, _>>()?;
    println!("| calls | set up/s | CPU of a core | CPU a set-up | RSS | RSS a call | lost | gap p99 |");
    println!("|---|---|---|---|---|---|---|---|");
    for calls in if numbers.is_empty() { vec![100, 200, 500] } else { numbers } {
        runtime.block_on(measure(calls))?;
    }
    Ok(())
}

async fn serve() -> Result<(), Failure> {
    let many = Rate { per_second: 1_000_000, burst: 1_000_000 };
    let settings = Settings { calls: 100_000, peers: vec!["127.0.0.0/8".parse()?], packets: many, new_calls: many, ..Settings::new((HERE, 0).into()) };
    let music = Clip::tone(440.0, 0.1, Duration::from_secs(5), Duration::from_secs(1));
    let gateway = Gateway::start(settings, Arc::new(Music(music))).await?;
    println!("{}", gateway.address());
    // Until the parent closes its end.
    tokio::task::spawn_blocking(|| std::io::stdin().lines().count()).await?;
    Ok(())
}

/// The gateway's process.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Served {
    /// Seconds of processor, and kilobytes of memory.
    fn cost(&self) -> Result<(f64, u64), Failure> {
        let proc = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", self.0.id()));
        let stat = proc("stat")?;
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0);
        let status = proc("status")?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
        Ok(((ticks(11) + ticks(12)) / 100.0, rss.unwrap_or(0)))
    }
}

async fn measure(calls: usize) -> Result<(), Failure> {
    let mut child = Command::new(std::env::current_exe()?).arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let out = child.stdout.take().ok_or("no output")?;
    let served = Served(child);
    let mut address = String::new();
    BufReader::new(out).read_line(&mut address)?;
    let to = format!("sip:load@{}", address.trim().parse::<SocketAddr>()?);
    let phone = Arc::new(Phone::start(PhoneSettings { keep: false, ..PhoneSettings::new(HERE, "+12025550199") }).await?);
    let (cpu_idle, rss_idle) = served.cost()?;

    let began = Instant::now();
    let slots = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    let mut dialling = tokio::task::JoinSet::new();
    for _ in 0..calls {
        let (phone, to, slot) = (phone.clone(), to.clone(), slots.clone().acquire_owned().await?);
        dialling.spawn(async move {
            let line = phone.call(&to).await;
            drop(slot);
            line
        });
    }
    let mut lines: Vec<Line> = Vec::with_capacity(calls);
    while let Some(line) = dialling.join_next().await {
        lines.push(line??);
    }
    let set_up = began.elapsed().as_secs_f64();
    let (cpu_up, _) = served.cost()?;

    tokio::time::sleep(Duration::from_secs(2)).await;
    lines.iter().for_each(Line::forget);
    let (cpu_before, _) = served.cost()?;
    tokio::time::sleep(TALK).await;
    let (cpu_after, rss) = served.cost()?;
    let (mut lost, mut gaps) = (0, Vec::new());
    for line in &lines {
        line.ear(|ear| {
            lost += ear.lost;
            gaps.extend(&ear.gaps);
        });
    }
    gaps.sort_unstable();
    let p99 = gaps.get(gaps.len() * 99 / 100).copied().unwrap_or(0);
    println!(
        "| {calls} | {:.0} | {:.1}% | {:.2} ms | {:.1} MB | {} kB | {lost} | {p99} ms |",
        calls as f64 / set_up,
        (cpu_after - cpu_before) / TALK.as_secs_f64() * 100.0,
        (cpu_up - cpu_idle) * 1000.0 / calls as f64,
        rss as f64 / 1024.0,
        rss.saturating_sub(rss_idle) / calls as u64,
    );
    Ok(())
}
