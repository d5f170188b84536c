//! Witnesses (C2SP `tlog-witness`): others who keep the last head they saw of this log, and sign only
//! what continues it. The client asks them; the server is a small witness for somebody else's log.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use countersign_core::time::{Span, Timestamp};
use countersign_store::{Commit, CommitError};
use countersign_tlog::{
    Signer, Verifier,
    cosign::{Refusal, Request, Witnessed, cosignature, witness},
    tree,
};
use serde::{Deserialize, Serialize};

use super::{HEAD, LedgerError, ONE, Read, head, put};
use crate::runner::{RunError, Runner};

/// How long a witness may take.
const PATIENCE: Span = Span::seconds(5);
/// The longest request and answer, in bytes.
const LONGEST: usize = 64 * 1024;

/// A witness of this log.
#[derive(Debug, Clone)]
pub struct Witness {
    /// Its key.
    pub key: Verifier,
    /// Its address; `/add-checkpoint` is below it.
    pub url: String,
}

/// Asks the witnesses.
pub struct Witnesses {
    witnesses: Vec<Witness>,
    client: reqwest::Client,
    /// What each has seen, as far as we know.
    seen: Mutex<std::collections::HashMap<String, u64>>,
}

impl Witnesses {
    /// Over these witnesses. They are named by the configuration alone.
    pub fn new(witnesses: Vec<Witness>) -> Result<Self, reqwest::Error> {
        let timeout = std::time::Duration::from_millis(PATIENCE.0.unsigned_abs());
        let client = reqwest::Client::builder().timeout(timeout).redirect(reqwest::redirect::Policy::none()).no_proxy().build()?;
        Ok(Self { witnesses, client, seen: Mutex::default() })
    }

    /// Shows the head to every witness that has not signed it, and keeps what they answer with the head.
    /// Returns how many have signed it now.
    ///
    /// # Errors
    /// A witness has seen more than there is: nothing must be signed any more.
    pub async fn show(&self, runner: &Runner) -> Result<usize, LedgerError> {
        let latest = head(&runner.store).await?;
        let Some(mut note) = latest.note else { return Ok(0) };
        let mut fresh = false;
        for witness in &self.witnesses {
            if note.signed_by(&witness.key).is_some() {
                continue;
            }
            match self.ask(runner, witness, &note, latest.size).await {
                Ok(lines) => {
                    let before = note.clone();
                    if note.add(&lines).is_err() || note.signed_by(&witness.key).is_none() {
                        tracing::warn!(witness = witness.key.name(), "a witness answered with something that its key has not signed");
                        note = before;
                    } else {
                        fresh = true;
                    }
                }
                Err(Asked::Behind(seen)) => return Err(LedgerError::Behind { who: witness.key.name().to_owned(), seen, here: latest.size }),
                // It is asked again with the next head.
                Err(Asked::Failed(why)) => tracing::warn!(witness = witness.key.name(), why, "a witness did not sign"),
            }
        }
        let signed = self.witnesses.iter().filter(|witness| note.signed_by(&witness.key).is_some()).count();
        if fresh {
            let docs = vec![put(HEAD, ONE.to_vec(), latest.expected, note.written().into_bytes())];
            match runner.store.commit(Commit { now: runner.now().0, docs, ..Commit::default() }).await {
                // A newer head is out: that one is shown next.
                Ok(_) | Err(CommitError::Conflict) => {}
                Err(CommitError::Busy | CommitError::Closed) => return Err(RunError::Busy.into()),
                Err(e) => return Err(RunError::Store(e.to_string()).into()),
            }
        }
        Ok(signed)
    }

    /// Whether one of them has seen more than there is, whatever they have signed of it. Who does not answer
    /// within the time has not.
    pub async fn seen_more(&self, runner: &Runner, patience: std::time::Duration) -> Result<(), LedgerError> {
        let latest = head(&runner.store).await?;
        let Some(note) = &latest.note else { return Ok(()) };
        let asked = self.witnesses.iter().map(|witness| async {
            match tokio::time::timeout(patience, self.ask(runner, witness, note, latest.size)).await {
                Ok(Err(Asked::Behind(seen))) => Err(LedgerError::Behind { who: witness.key.name().to_owned(), seen, here: latest.size }),
                Ok(Ok(_) | Err(Asked::Failed(_))) | Err(_) => Ok(()),
            }
        });
        futures_util::future::join_all(asked).await.into_iter().collect()
    }

    async fn ask(&self, runner: &Runner, witness: &Witness, note: &countersign_tlog::Note, size: u64) -> Result<String, Asked> {
        let name = witness.key.to_string();
        let mut old = self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(&name).copied().unwrap_or(0);
        // Once with what we think it has seen, once with what it says.
        for _ in 0..2 {
            if old > size {
                return Err(Asked::Behind(old));
            }
            // Every node on the way between the two edges.
            let edge = [old.saturating_sub(1), old];
            let read = Read::around(&runner.store, &edge, size).await.map_err(|e| Asked::Failed(e.to_string()))?;
            let proof = tree::consistency(&read.nodes(), old, size).ok_or_else(|| Asked::Failed("a tile is missing".into()))?;
            let body = Request { old, proof, checkpoint: note.clone() }.written();
            let url = format!("{}/add-checkpoint", witness.url.trim_end_matches('/'));
            let answer = self.client.post(&url).header(header::CONTENT_TYPE, "text/plain").body(body).send().await;
            let answer = answer.map_err(|e| Asked::Failed(e.without_url().to_string()))?;
            let status = answer.status();
            let text = answer.text().await.map_err(|e| Asked::Failed(e.without_url().to_string()))?;
            if text.len() > LONGEST {
                return Err(Asked::Failed("its answer is too long".into()));
            }
            if status == StatusCode::OK {
                self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(name, size);
                return Ok(text);
            }
            match (status, text.trim().parse::<u64>()) {
                (StatusCode::CONFLICT, Ok(seen)) if seen != old => {
                    self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), seen);
                    old = seen;
                }
                (StatusCode::CONFLICT, Ok(seen)) if seen == size => return Err(Asked::Behind(seen)),
                _ => return Err(Asked::Failed(format!("it answered {status}"))),
            }
        }
        Err(Asked::Failed("it names another size each time".into()))
    }
}

enum Asked {
    Behind(u64),
    Failed(String),
}

// ── A small witness ──────────────────────────────────────────────────────────────────────────

/// What a witness keeps, in a file that is replaced as a whole.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    /// By origin: size and root.
    logs: std::collections::BTreeMap<String, (u64, String)>,
}

/// A witness for logs of others.
pub struct Watcher {
    signer: Signer,
    logs: Mutex<Vec<Witnessed>>,
    file: PathBuf,
    clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

/// Why a witness cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum WatcherError {
    /// What it keeps cannot be read or written.
    #[error("{path}: {why}")]
    State {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

impl Watcher {
    /// With a key, the logs it watches (each with keys that may sign for it) and the file it keeps.
    ///
    /// # Errors
    /// The file is there and cannot be read: a witness that has forgotten would sign another history.
    pub fn new(signer: Signer, keys: Vec<Verifier>, file: PathBuf, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Result<Self, WatcherError> {
        let bad = |why: String| WatcherError::State { path: file.clone(), why };
        let kept: Kept = match std::fs::read_to_string(&file) {
            Ok(text) => serde_json::from_str(&text).map_err(|e| bad(format!("it is damaged ({e}): restore it, or name a new file and tell the logs")))?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Kept::default(),
            Err(e) => return Err(bad(e.to_string())),
        };
        let mut logs: Vec<Witnessed> = Vec::new();
        for key in keys {
            match logs.iter_mut().find(|log| log.origin == key.name()) {
                Some(log) => log.keys.push(key),
                None => {
                    let latest = match kept.logs.get(key.name()) {
                        Some((size, root)) => {
                            let mut hash = [0; 32];
                            hex::decode_to_slice(root, &mut hash).map_err(|e| bad(e.to_string()))?;
                            (*size, hash)
                        }
                        None => (0, tree::empty()),
                    };
                    logs.push(Witnessed { origin: key.name().to_owned(), keys: vec![key], latest });
                }
            }
        }
        Ok(Self { signer, logs: Mutex::new(logs), file, clock: Box::new(clock) })
    }

    /// Decides, keeps, and only then signs.
    pub fn add(&self, body: &str) -> Result<String, Refusal> {
        let request = Request::parse(body)?;
        // One after the other: what is decided is what is kept.
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let checkpoint = witness(&logs, &request)?;
        let mut next = logs.clone();
        for log in next.iter_mut().filter(|log| log.origin == checkpoint.origin) {
            log.latest = (checkpoint.size, checkpoint.root);
        }
        if let Err(e) = keep(&self.file, &next) {
            tracing::error!(error = %e, "what was seen cannot be kept: nothing is signed");
            return Err(Refusal::Unknown);
        }
        *logs = next;
        let seconds = u64::try_from((self.clock)().0 / 1000).unwrap_or(0);
        Ok(cosignature(&self.signer, &request.checkpoint, seconds))
    }
}

/// On disk before this returns, whole or as it was.
fn keep(file: &Path, logs: &[Witnessed]) -> std::io::Result<()> {
    let kept = Kept { logs: logs.iter().map(|log| (log.origin.clone(), (log.latest.0, hex::encode(log.latest.1)))).collect() };
    replaced(file, &serde_json::to_vec_pretty(&kept)?)
}

/// Whole or as it was, also after a power cut.
pub(super) fn replaced(file: &Path, text: &[u8]) -> std::io::Result<()> {
    let partial = file.with_extension("partial");
    let mut to = std::fs::File::create(&partial)?;
    to.write_all(text)?;
    to.sync_all()?;
    std::fs::rename(&partial, file)?;
    if let Some(dir) = file.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        std::fs::File::open(dir)?.sync_all()?;
    }
    Ok(())
}

/// Of a server of its own, not of the one that calls are handled by.
const ADD_CHECKPOINT: &str = "/add-checkpoint";

/// `POST /add-checkpoint`.
pub fn watcher(watcher: Arc<Watcher>) -> Router {
    Router::new().route(ADD_CHECKPOINT, post(add)).layer(DefaultBodyLimit::max(LONGEST)).with_state(watcher)
}

async fn add(State(watcher): State<Arc<Watcher>>, body: String) -> Response {
    let answer = tokio::task::spawn_blocking(move || watcher.add(&body)).await;
    match answer {
        Ok(Ok(line)) => line.into_response(),
        Ok(Err(refusal)) => {
            let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
            match refusal {
                Refusal::Conflict(size) => (status, [(header::CONTENT_TYPE, "text/x.tlog.size")], format!("{size}\n")).into_response(),
                other => (status, format!("{other}\n")).into_response(),
            }
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
