//! Calls that stay on the line, with sound both ways: what they cost our gateway, and what the callers
//! hear of it. And calls that are set up and hung up again, at a steady rate whatever happens to them.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use countersign_sip::caller::{Line, Phone, PhoneSettings};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    Fail,
    process::{cpu, memory},
    stats::Spread,
    telephony::{self, Subject},
};

/// Calls on the line at one time.
pub const LASTING: [usize; 3] = [200, 500, 1000];
/// Calls that are being set up at one time.
const AT_ONCE: usize = 16;
/// How long they are measured, once all are there.
const TALK: Duration = Duration::from_secs(15);
/// Calls that are set up in a second.
const RATES: [u32; 2] = [100, 200];

/// The callers have a runtime of their own: one thread cannot hear a thousand of them in time.
pub async fn measure(dir: &Path, set_ups_for: Duration) -> Result<Value, Fail> {
    let dir = dir.to_owned();
    let all = move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(async {
            let (mut lasting, mut set_ups) = (Vec::new(), Vec::new());
            for calls in LASTING {
                lasting.push(last(&telephony::ours(&dir).await?, calls).await?);
            }
            for rate in RATES {
                set_ups.push(set_up(&telephony::ours(&dir).await?, rate, set_ups_for).await?);
            }
            Ok(json!({ "lasting": lasting, "set_ups": set_ups }))
        })
    };
    tokio::task::spawn_blocking(all).await?
}

async fn phone() -> Result<Arc<Phone>, Fail> {
    let settings = PhoneSettings { keep: false, ..PhoneSettings::new(std::net::Ipv4Addr::LOCALHOST.into(), telephony::CALLER) };
    Ok(Arc::new(Phone::start(settings).await?))
}

async fn last(gateway: &Subject, calls: usize) -> Result<Value, Fail> {
    let (pid, phone, to) = (gateway.pid(), phone().await?, gateway.uri(telephony::MUSIC));
    let idle = memory(pid).rss;
    let slots = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    let mut dialling = JoinSet::new();
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
        lines.push(line?.map_err(|e| format!("of {calls} calls one did not come about: {e}"))?);
    }
    // Whoever came first hears the others come: not what is measured.
    tokio::time::sleep(Duration::from_secs(2)).await;
    lines.iter().for_each(Line::forget);
    let (began, before) = (Instant::now(), cpu(pid));
    tokio::time::sleep(TALK).await;
    let (seconds, used, most) = (began.elapsed().as_secs_f64(), cpu(pid) - before, memory(pid).rss);
    let (mut packets, mut lost) = (0, 0);
    let mut gaps: Vec<u16> = Vec::new();
    for line in &lines {
        line.ear(|ear| {
            packets += ear.packets;
            lost += ear.lost;
            gaps.extend(&ear.gaps);
        });
    }
    gaps.sort_unstable();
    let at = |part: f64| gaps.get((part * gaps.len().saturating_sub(1) as f64).round() as usize).copied();
    Ok(json!({
        "calls": calls, "seconds": seconds, "cores": used / seconds, "kib_per_call": (most - idle) * 1024.0 / calls as f64, "most_mib": most,
        "packets": packets, "packets_due": calls as f64 * seconds * 50.0, "lost": lost, "gap_p50_ms": at(0.5), "gap_p99_ms": at(0.99), "gap_most_ms": at(1.0),
    }))
}

/// An open loop: a gateway that is slow gets no fewer calls.
async fn set_up(gateway: &Subject, rate: u32, length: Duration) -> Result<Value, Fail> {
    let (pid, phone, to) = (gateway.pid(), phone().await?, gateway.uri(telephony::MUSIC));
    let (idle, before, began) = (memory(pid).rss, cpu(pid), Instant::now());
    let mut beat = tokio::time::interval(Duration::from_secs(1) / rate);
    let mut calls = JoinSet::new();
    let count = u64::from(rate) * length.as_secs();
    for _ in 0..count {
        beat.tick().await;
        let (phone, to) = (phone.clone(), to.clone());
        calls.spawn(async move {
            let began = Instant::now();
            let line = phone.call(&to).await.ok()?;
            let micros = u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX);
            // Until the first sound: an answer alone is no call.
            let heard = line.until(Duration::from_secs(5), |ear| ear.packets > 0).await;
            line.hang_up().await;
            heard.then_some(micros)
        });
    }
    let dialled = began.elapsed().as_secs_f64();
    let (mut times, mut failed) = (Vec::new(), 0);
    while let Some(call) = calls.join_next().await {
        match call? {
            Some(micros) => times.push(micros),
            None => failed += 1_u64,
        }
    }
    let (seconds, used) = (began.elapsed().as_secs_f64(), cpu(pid) - before);
    Ok(json!({
        "aimed_per_second": rate, "per_second": count as f64 / dialled, "calls": count, "failed": failed, "answered": Spread::of(times).json(),
        "cores": used / seconds, "cpu_ms_per_call": used * 1000.0 / count as f64, "idle_mib": idle, "most_mib": memory(pid).rss,
    }))
}
