//! Brings a server up, keeps its clockwork going, and takes it down without losing a call.

use std::{future::Future, sync::{Arc, atomic::{AtomicBool, Ordering}}, time::Duration};

use countersign_core::time::Span;
use countersign_sip::Gateway;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

use crate::{
    App, calls,
    clock::{self, SharedClock},
    connections::{self, Limits},
    ledger::Log,
    open_files,
    outbox::Outbox,
    retention::Retention,
    router,
    runner::Runner,
    seen,
    tenants::{FrontError, front},
};

/// How often calls are woken, messages sent and old things forgotten.
const TICK: Duration = Duration::from_millis(500);
const FLUSH: Duration = Duration::from_millis(150);
const POLL: Duration = Duration::from_secs(1);
/// Pages of a hundred that are sealed anew each time.
const RESEAL: usize = 5;
const SWEEP: Duration = Duration::from_secs(60);

/// One company that is served: its pages, what it sends, and its log.
pub struct Company {
    /// The pages and what is behind them.
    pub app: App,
    /// Messages on their way out.
    pub outbox: Outbox,
    /// The Merkle log.
    pub log: Option<Log>,
    /// What is kept for how long.
    pub retention: Retention,
    /// Where telephones call directly.
    pub gateway: Option<Gateway>,
    /// The time of a database that others write to as well.
    pub clock: Option<Arc<SharedClock>>,
}

/// Why serving ended other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Two companies that cannot be told apart.
    #[error(transparent)]
    Front(#[from] FrontError),
}

/// Serves until `stop` is done; then no new connection is taken, what is under way is finished,
/// and the stores are closed. Calls need nothing more: all of them are on record.
///
/// # Errors
/// See [`ServeError`].
pub async fn serve(companies: Vec<Company>, listener: TcpListener, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), ServeError> {
    let (off, on) = watch::channel(false);
    let apps: Vec<App> = companies.iter().map(|company| company.app.clone()).collect();
    let stores: Vec<_> = apps.iter().flat_map(|app| [app.runner.store.clone(), app.runner.customers.keys.clone()]).collect();
    // One company answers under whatever name it is reached.
    let routes = match apps.as_slice() {
        [app] => router(app.clone()),
        _ => front(apps)?,
    };
    let mut work = JoinSet::new();
    let mut gateways = Vec::new();
    for mut company in companies {
        gateways.extend(company.gateway.take());
        keep_going(company, &mut work, &on);
    }
    let files = open_files::limit();
    if let Some(advice) = open_files::advice(files) {
        tracing::warn!("{advice}");
    }
    let server = connections::serve(listener, routes, Limits::fitting(files.unwrap_or(u64::MAX)), on);
    let quiet = async move {
        stop.await;
        off.send_replace(true);
    };
    // Open event streams never end by themselves: after a short grace they are cut.
    tokio::join!(
        async {
            tokio::select! {
                () = server => {}
                () = async { let _ = work.join_next().await; tokio::time::sleep(Duration::from_secs(3)).await } => {}
            }
        },
        quiet
    );
    // Whoever is on the line hears that it ends, and it is on record.
    for gateway in gateways {
        gateway.stop().await;
    }
    while work.join_next().await.is_some() {}
    for store in stores {
        store.close().await;
    }
    Ok(())
}

/// The clockwork of one company.
fn keep_going(company: Company, work: &mut JoinSet<()>, on: &watch::Receiver<bool>) {
    let Company { app, outbox, log, retention, gateway: _, clock } = company;
    let agrees = {
        let clock = clock.clone();
        move || clock.as_ref().is_none_or(|clock| clock.agrees())
    };
    if let Some(clock) = clock {
        let runner = app.runner.clone();
        work.spawn(every(clock::EVERY, on.clone(), move || {
            let (clock, runner) = (clock.clone(), runner.clone());
            async move {
                if let Some(ahead) = clock.look(&runner.store).await.map_err(|e| e.to_string())? {
                    #[expect(clippy::cast_precision_loss, reason = "milliseconds by which a clock is wrong are far below 2^52")]
                    runner.metrics.clock_off.set(ahead.0 as f64 / 1000.0);
                }
                Ok(())
            }
        }));
    }
    let runner = app.runner.clone();
    work.spawn(every(TICK, on.clone(), move || {
        let runner = runner.clone();
        async move {
            // One node wakes calls, for all of them; commands make sure that two do no harm.
            if runner.leads("timers").await.map_err(|e| e.to_string())? {
                runner.tick().await.map_err(|e| e.to_string())?;
            }
            Ok(())
        }
    }));
    let (followed, mut over) = (app.clone(), on.clone());
    work.spawn(async move {
        tokio::select! {
            () = calls::follow(followed) => {}
            _ = over.wait_for(|off| *off) => {}
        }
    });
    let outbox = Arc::new(outbox);
    work.spawn(every(FLUSH, on.clone(), move || {
        let outbox = outbox.clone();
        async move { outbox.flush().await.map(|_| ()).map_err(|e| e.to_string()) }
    }));
    let runner = app.runner.clone();
    work.spawn(every(POLL, on.clone(), move || {
        let runner = runner.clone();
        // Commits assert it anyway; this is for what is only shown.
        async move { runner.refresh_policies().await.map(|_| ()).map_err(|e| e.to_string()) }
    }));
    let runner = app.runner.clone();
    work.spawn(every(POLL, on.clone(), move || {
        let runner = runner.clone();
        async move { keys(&runner).await }
    }));
    let runner = app.runner.clone();
    work.spawn(every(SWEEP, on.clone(), move || {
        let runner = runner.clone();
        async move {
            if runner.leads("sweep").await.map_err(|e| e.to_string())? {
                sweep(&runner).await?;
            }
            Ok(())
        }
    }));
    let (runner, may) = (app.runner.clone(), agrees.clone());
    work.spawn(every(SWEEP, on.clone(), move || {
        let (runner, may) = (runner.clone(), may());
        async move {
            if may && runner.leads("voices").await.map_err(|e| e.to_string())? {
                runner.expire_voices().await.map_err(|e| e.to_string())?;
            }
            Ok(())
        }
    }));
    let (runner, looked) = (app.runner.clone(), Arc::new(AtomicBool::new(false)));
    work.spawn(every(SWEEP, on.clone(), move || {
        let (runner, looked) = (runner.clone(), looked.clone());
        async move { erasures(&runner, &looked).await }
    }));
    if retention != Retention::default() {
        let (runner, rules) = (app.runner.clone(), Arc::new(retention));
        work.spawn(every(SWEEP, on.clone(), move || {
            let (runner, rules, may) = (runner.clone(), rules.clone(), agrees.clone());
            async move {
                if !may() {
                    return Err("the database's clock and this machine's are more than an hour apart: nothing is taken away by rules of retention until they agree".into());
                }
                // A record that has never been cleared has much to do: in small bites all the same.
                while may() && runner.leads("retention").await.map_err(|e| e.to_string())? && runner.retain(&rules).await.map_err(|e| e.to_string())? > 0 {
                    tokio::task::yield_now().await;
                }
                Ok(())
            }
        }));
    }
    let runner = app.runner.clone();
    work.spawn(every(SWEEP, on.clone(), move || {
        let runner = runner.clone();
        async move { runner.watch.catch_up(&runner).await.map_err(|e| e.to_string()) }
    }));
    if let Some(log) = log {
        work.spawn(every(POLL, on.clone(), {
            let (log, runner) = (Arc::new(log), app.runner.clone());
            move || {
                let (log, runner) = (log.clone(), runner.clone());
                async move { log.follow(&runner).await.map_err(|e| e.to_string()) }
            }
        }));
    }
    if let Some(upstream) = app.upstream.clone() {
        work.spawn(every(POLL, on.clone(), move || {
            let upstream = upstream.clone();
            async move { upstream.poll().await.map(|_| ()).map_err(|e| e.to_string()) }
        }));
    }
}

async fn every<F, Fut>(period: Duration, mut off: watch::Receiver<bool>, job: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<(), String>>,
{
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            _ = off.wait_for(|off| *off) => return,
        }
        if let Err(e) = job().await {
            tracing::error!(error = e, "a background job failed; it will be tried again");
        }
    }
}

/// Erasings that a crash has cut short; and once after the start, those that an older copy has forgotten.
async fn erasures(runner: &Runner, looked: &AtomicBool) -> Result<(), String> {
    if !runner.leads("erasures").await.map_err(|e| e.to_string())? {
        return Ok(());
    }
    runner.finish_erasures().await.map_err(|e| e.to_string())?;
    if !looked.load(Ordering::Relaxed) {
        let n = runner.reconcile().await.map_err(|e| e.to_string())?;
        looked.store(true, Ordering::Relaxed);
        if n > 0 {
            tracing::warn!(customers = n, "the record or the key store is an older copy: customers who were erased since had come back, and are erased again. Erase by hand whom you erased after the copy of both was made");
        }
    }
    Ok(())
}

/// Looks at the keyring, and seals a little anew if there is a new key.
async fn keys(runner: &Runner) -> Result<(), String> {
    runner.vault.refresh(&runner.store, runner.now()).await.map_err(|e| e.to_string())?;
    runner.customers.refresh(&runner.store, runner.now()).await.map_err(|e| e.to_string())?;
    if runner.leads("reseal").await.map_err(|e| e.to_string())? {
        for _ in 0..RESEAL {
            if !runner.customers.rewrap(runner.now()).await.map_err(|e| e.to_string())? {
                break;
            }
        }
        for _ in 0..RESEAL {
            if !runner.reseal().await.map_err(|e| e.to_string())? {
                break;
            }
        }
    }
    Ok(())
}

/// Forgets what has outlived its use: spent codes, old commands, links and sessions that are over.
async fn sweep(runner: &Runner) -> Result<(), String> {
    let now = runner.now();
    // In small bites, so that no caller waits behind them; what is left waits for the next minute.
    for _ in 0..200 {
        if runner.store.sweep(now.0).await.map_err(|e| e.to_string())?.total() == 0 {
            break;
        }
    }
    for kind in seen::KINDS.into_iter().chain([crate::intel::CACHE, crate::voice::TAKES, "service", "service-shown", "link", "link-code", "session", "portal-session", "webauthn", "totp-pending", crate::oauth::request::KIND]) {
        for _ in 0..20 {
            let due = runner.store.docs_due(kind, (now - Span::minutes(1)).0, 500).await.map_err(|e| e.to_string())?;
            if due.is_empty() {
                break;
            }
            let docs = due.into_iter().map(|(id, _)| countersign_store::DocWrite::Delete { kind, id }).collect();
            let commit = countersign_store::Commit { now: now.0, docs, ..Default::default() };
            runner.store.commit(commit).await.map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}
