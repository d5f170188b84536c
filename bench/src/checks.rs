//! One-time codes checked by themselves, side by side with a peer: the same tokens, the same
//! counters, the same number of requests at a time.

use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::task::spawn_local;

use crate::{
    Fail,
    http::{Answer, Client},
    otp, process,
    site::{Site, token_account, token_key},
    stats::Recorder,
};

/// Who is asked.
pub enum Target {
    /// `POST /api/v1/authenticators/check`
    Countersign { bearer: String },
    /// `POST /validate/check`
    PrivacyIdea,
}

impl Target {
    pub fn countersign(site: &Site) -> Self { Self::Countersign { bearer: site.bearer() } }

    /// Presents a code; whoever asks judges the answer.
    pub async fn ask<'l>(&self, line: &'l mut Client, token: u32, code: &str) -> io::Result<Answer<'l>> {
        match self {
            Self::Countersign { bearer } => {
                let body = format!("{{\"account_number\":\"{}\",\"kind\":\"hotp\",\"code\":\"{code}\"}}", token_account(token));
                line.json("/api/v1/authenticators/check", &[("authorization", bearer)], &body).await
            }
            Self::PrivacyIdea => line.form("/validate/check", &[], &format!("serial={}&pass={code}", serial(token))).await,
        }
    }

    /// Whether an answer says that the code was right.
    pub fn accepted(&self, answer: &Answer<'_>) -> bool {
        let yes = match self {
            Self::Countersign { .. } => "\"accepted\":true",
            Self::PrivacyIdea => "\"value\": true",
        };
        answer.ok() && answer.body.contains(yes)
    }

    /// Presents a code that is right.
    pub async fn check(&self, line: &mut Client, token: u32, code: &str) -> Result<(), Fail> {
        let answer = self.ask(line, token, code).await?;
        if self.accepted(&answer) { Ok(()) } else { Err(format!("a right code was answered with {}: {}", answer.status, answer.body).into()) }
    }
}

/// How the peer names a token.
pub fn serial(token: u32) -> String { format!("BENCH{token:05}") }

/// Tokens and the next counter of each.
pub struct Tokens(RefCell<Vec<u64>>);

impl Tokens {
    pub fn new(count: u32) -> Rc<Self> { Rc::new(Self(RefCell::new(vec![0; count as usize]))) }

    fn press(&self, token: usize) -> Option<(u32, String)> {
        let mut counters = self.0.borrow_mut();
        let counter = counters.get_mut(token)?;
        let n = u32::try_from(token).ok()?;
        let code = otp::code(&token_key(n), *counter);
        *counter += 1;
        Some((n, code))
    }
}

/// Checks for a while, this many at a time; nobody else uses a worker's tokens meanwhile.
pub async fn hammer(target: Rc<Target>, address: SocketAddr, tokens: Rc<Tokens>, at_a_time: usize, warm_up: Duration, length: Duration, pids: &[u32]) -> Result<Value, Fail> {
    let (recorder, stopped) = (Rc::new(Recorder::new()), Rc::new(Cell::new(false)));
    let workers: Vec<_> = (0..at_a_time).map(|worker| {
        let (target, tokens, recorder, stopped) = (target.clone(), tokens.clone(), recorder.clone(), stopped.clone());
        spawn_local(async move {
            let (mut line, mut token) = (Client::new(address), worker);
            while !stopped.get() {
                let pressed = tokens.press(token).or_else(|| {
                    token = worker;
                    tokens.press(token)
                });
                let Some((n, code)) = pressed else { return recorder.failed("there are fewer tokens than requests at a time") };
                if let Err(e) = recorder.time("check", true, target.check(&mut line, n, &code)).await {
                    recorder.failed(e.to_string());
                }
                token += at_a_time;
            }
        })
    }).collect();
    tokio::time::sleep(warm_up).await;
    recorder.open(length);
    let cpu = || pids.iter().map(|pid| process::cpu(*pid)).sum::<f64>();
    let (began, used) = (Instant::now(), cpu());
    tokio::time::sleep(length).await;
    let (seconds, used) = (began.elapsed().as_secs_f64(), cpu() - used);
    stopped.set(true);
    for worker in workers {
        worker.await?;
    }
    let spread = recorder.all_durable();
    let rss: f64 = pids.iter().map(|pid| process::memory(*pid).rss).sum();
    Ok(json!({
        "at_a_time": at_a_time, "seconds": seconds, "checks_per_second": spread.count as f64 / seconds, "times": spread.json(),
        "cores": used / seconds, "rss_mib": rss, "errors": recorder.errors(), "checked_in_all": recorder.durable.get(),
    }))
}
