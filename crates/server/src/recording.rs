//! Recorders pause while a secret is keyed.
//!
//! We record nothing ourselves. Where somebody else records whole calls, the tones of a PIN would be in
//! the recording: so the recorder is told before the caller is asked, and again afterwards. Nobody is
//! asked for a secret before the recorder has said that it pauses, unless the operator wants otherwise.
//!
//! ```text
//! POST <url>
//! Countersign-Signature: t=<unix seconds>,v1=<hex of HMAC-SHA256(secret, "<t>." + body)>
//! {"call":"call_…","adapter":"sip","reference":"…","n":1780308000000,"what":"pause"}
//! ```
//! `n` rises within a call: whoever gets an order that is older than the last one drops it. Any 2xx
//! says that it is done.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use countersign_core::{
    id::CallId,
    prompt::Directive,
    secret::Secret,
    time::{Span, Timestamp},
};
use reqwest::{Client, Url, header};
use serde::{Deserialize, Serialize};

use crate::{
    config::{ConfigError, Severity, private_file, read_secret},
    outbox::{
        http::{SIGNATURE, client, endpoint, exchange, signature},
        provider::SetupError,
    },
};

/// Fewest characters of the signing secret.
const SECRET_LENGTH: usize = 16;

/// `[recording]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordingSettings {
    /// Where orders are posted: https, or http on this machine.
    pub pause_url: String,
    /// A file with the secret that signs them. `COUNTERSIGN_RECORDING_SECRET` comes first.
    pub secret_file: Option<PathBuf>,
    /// What happens when the recorder does not say that it pauses.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// How long it is waited for, in milliseconds. The caller hears nothing meanwhile.
    #[serde(default = "patience")]
    pub patience: Span,
}

fn patience() -> Span { Span::seconds(2) }

/// What happens when the recorder does not say that it pauses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Nobody is asked for the secret: as if nothing had been keyed.
    #[default]
    Refuse,
    /// The secret is asked for, and may be in a recording.
    GoOn,
}

/// Why the recorder cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// A file that cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A setting that cannot be used.
    #[error(transparent)]
    Setup(#[from] SetupError),
}

impl RecordingSettings {
    /// Whoever tells the recorder.
    ///
    /// # Errors
    /// See [`RecordingError`].
    pub fn recorder(&self) -> Result<Recorder, RecordingError> {
        let secret = read_secret("COUNTERSIGN_RECORDING_SECRET", self.secret_file.as_deref())?.unwrap_or_default();
        let hook = Hook::new(&self.pause_url, secret, self.patience)?;
        Ok(Recorder::new(Arc::new(hook), self.on_failure))
    }

    /// What is missing or unsafe.
    pub(crate) fn examine(&self, say: &mut impl FnMut(Severity, &str, String)) {
        if let Err(e) = endpoint("recording.pause_url", &self.pause_url) {
            say(Severity::Missing, "recording.pause_url", e.to_string());
        }
        match (&self.secret_file, std::env::var_os("COUNTERSIGN_RECORDING_SECRET")) {
            (None, None) => say(Severity::Missing, "recording.secret_file", "no secret: the recorder cannot know who orders. Name a file, or set COUNTERSIGN_RECORDING_SECRET".into()),
            (Some(path), None) => private_file(path, "recording.secret_file", say),
            _ => {}
        }
        if self.on_failure == OnFailure::GoOn {
            say(Severity::Unsafe, "recording.on_failure", "asks for secrets while a recorder may be running: PINs and codes can be in recordings".into());
        }
        if !(Span(100)..=Span::seconds(5)).contains(&self.patience) {
            say(Severity::Unsafe, "recording.patience", "is not between 100 and 5000 milliseconds; the nearer of the two is used".into());
        }
    }
}

/// Whom to tell, and about which call.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// Our name for it.
    pub call: CallId,
    /// Through which adapter it goes.
    pub adapter: &'static str,
    /// The telephone system's name for it: a Call-ID, a call SID.
    pub reference: &'a str,
}

/// Tells a recorder.
#[async_trait]
pub trait Tells: Send + Sync {
    /// Whether it did what it was told. `n` rises within a call.
    async fn tell(&self, about: About<'_>, pause: bool, n: i64, now: Timestamp) -> bool;
}

/// By an address of the operator's own.
pub struct Hook {
    client: Client,
    url: Url,
    secret: Secret,
}

impl Hook {
    /// Checks the settings; connects to nothing.
    ///
    /// # Errors
    /// An address that is none, or a secret that is too short.
    pub fn new(url: &str, secret: Secret, patience: Span) -> Result<Self, SetupError> {
        if secret.expose().len() < SECRET_LENGTH {
            return Err(SetupError::setting("recording.secret_file", "must hold at least 16 characters: openssl rand -hex 32"));
        }
        let url = endpoint("recording.pause_url", url)?;
        let client = client(&url, Span(patience.0.clamp(100, 5000)))?;
        Ok(Self { client, url, secret })
    }
}

#[derive(Serialize)]
struct Order<'a> {
    call: CallId,
    adapter: &'a str,
    reference: &'a str,
    n: i64,
    what: &'a str,
}

#[async_trait]
impl Tells for Hook {
    async fn tell(&self, about: About<'_>, pause: bool, n: i64, now: Timestamp) -> bool {
        let About { call, adapter, reference } = about;
        let order = Order { call, adapter, reference, n, what: if pause { "pause" } else { "resume" } };
        let Ok(body) = serde_json::to_vec(&order) else { return false };
        let Some(signature) = signature(&self.secret, now, &body) else { return false };
        let request = self.client.post(self.url.clone()).header(header::CONTENT_TYPE, "application/json").header(SIGNATURE, signature).body(body);
        exchange(request).await.is_ok_and(|answer| answer.status.is_success())
    }
}

/// Keeps recorders from secrets.
pub struct Recorder {
    tells: Arc<dyn Tells>,
    on_failure: OnFailure,
    calls: Mutex<HashMap<CallId, Arc<tokio::sync::Mutex<State>>>>,
}

/// What the recorder of a call was told. Behind a lock of its own, so that orders keep their order.
#[derive(Default)]
struct State {
    /// It was told to pause, or may have heard it.
    paused: bool,
    /// It said that it does.
    sure: bool,
    n: i64,
    /// The number of what the telephone was told last.
    told: u64,
}

impl Recorder {
    /// Over whoever tells it.
    pub fn new(tells: Arc<dyn Tells>, on_failure: OnFailure) -> Self { Self { tells, on_failure, calls: Mutex::default() } }

    fn calls(&self) -> MutexGuard<'_, HashMap<CallId, Arc<tokio::sync::Mutex<State>>>> { self.calls.lock().unwrap_or_else(PoisonError::into_inner) }

    /// Before a telephone is told these, under this number. `false`: no secret may be asked for now.
    pub async fn before(&self, about: About<'_>, number: u64, directives: &[Directive], now: Timestamp) -> bool {
        let secret = directives.iter().any(|directive| matches!(directive, Directive::Gather { secret: true, .. } | Directive::Listen { .. }));
        let state = {
            let mut calls = self.calls();
            match calls.get(&about.call) {
                Some(state) => state.clone(),
                None if secret => calls.entry(about.call).or_default().clone(),
                None => return true,
            }
        };
        if directives.contains(&Directive::HangUp) {
            self.over(about.call);
        }
        let mut state = state.lock().await;
        // What comes late is dropped by its number, and must not wake a recorder for what came before it.
        if number < state.told {
            return true;
        }
        state.told = number;
        if secret == state.sure && secret == state.paused {
            return true;
        }
        // Also after a restart it is higher than all before.
        state.n = now.0.max(state.n + 1);
        let done = self.tells.tell(about, secret, state.n, now).await;
        if secret {
            // It may have heard it and not been able to say so: it is told to go on in any case.
            (state.paused, state.sure) = (true, done);
        } else if done {
            (state.paused, state.sure) = (false, false);
        }
        if done {
            return true;
        }
        tracing::error!(call = %about.call, order = if secret { "pause" } else { "resume" }, "the recorder did not say that it did what it was told");
        !secret || self.on_failure == OnFailure::GoOn
    }

    /// The call is over.
    pub fn over(&self, call: CallId) { self.calls().remove(&call); }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A recorder that writes orders down and obeys as long as it is told.
    struct Noted(Mutex<Vec<(bool, i64)>>, std::sync::atomic::AtomicBool);

    #[async_trait]
    impl Tells for Noted {
        async fn tell(&self, _: About<'_>, pause: bool, n: i64, _: Timestamp) -> bool {
            self.0.lock().unwrap().push((pause, n));
            self.1.load(std::sync::atomic::Ordering::SeqCst)
        }
    }

    fn noted(obeys: bool) -> Arc<Noted> { Arc::new(Noted(Mutex::default(), obeys.into())) }

    const CALL: About<'_> = About { call: CallId([1; 16]), adapter: "test", reference: "r" };
    const SECRET: [Directive; 1] = [Directive::Gather { max: 6, timeout: 10, secret: true }];
    const OPEN: [Directive; 1] = [Directive::Gather { max: 1, timeout: 10, secret: false }];
    const NOW: Timestamp = Timestamp(1_000);

    #[tokio::test]
    async fn it_pauses_once_and_goes_on_once_in_this_order() {
        let noted = noted(true);
        let recorder = Recorder::new(noted.clone(), OnFailure::Refuse);
        for (number, directives) in [(1, &OPEN), (2, &SECRET), (3, &SECRET), (4, &OPEN), (4, &OPEN), (5, &SECRET), (4, &OPEN)] {
            assert!(recorder.before(CALL, number, directives, NOW).await);
        }
        assert_eq!(*noted.0.lock().unwrap(), [(true, 1_000), (false, 1_001), (true, 1_002)]);
        assert!(recorder.before(CALL, 6, &[Directive::HangUp], NOW).await);
        assert!(recorder.calls().is_empty(), "a call that is over is remembered");
    }

    /// What is said to a recogniser is a secret as well: a verbal password.
    #[tokio::test]
    async fn it_hears_no_verbal_password() {
        let noted = noted(true);
        let recorder = Recorder::new(noted.clone(), OnFailure::Refuse);
        let listen = [Directive::Listen { timeout: 8, lang: countersign_core::prompt::Lang::En }];
        for (number, directives) in [(1, &SECRET[..]), (2, &listen), (3, &OPEN)] {
            assert!(recorder.before(CALL, number, directives, NOW).await);
        }
        assert_eq!(noted.0.lock().unwrap().iter().map(|(pause, _)| *pause).collect::<Vec<_>>(), [true, false]);
    }

    #[tokio::test]
    async fn a_recorder_that_does_not_obey_hears_no_secret() {
        let noted = noted(false);
        let recorder = Recorder::new(noted.clone(), OnFailure::Refuse);
        assert!(!recorder.before(CALL, 1, &SECRET, NOW).await);
        // Asked again, it is told again; and it is told to go on, because it may have heard us.
        assert!(!recorder.before(CALL, 1, &SECRET, NOW).await);
        assert!(recorder.before(CALL, 1, &OPEN, NOW).await);
        noted.1.store(true, std::sync::atomic::Ordering::SeqCst);
        assert!(recorder.before(CALL, 1, &OPEN, NOW).await && recorder.before(CALL, 1, &OPEN, NOW).await);
        assert_eq!(noted.0.lock().unwrap().iter().map(|(pause, _)| *pause).collect::<Vec<_>>(), [true, true, false, false]);
        let lax = Recorder::new(noted.clone(), OnFailure::GoOn);
        noted.1.store(false, std::sync::atomic::Ordering::SeqCst);
        assert!(lax.before(CALL, 1, &SECRET, NOW).await);
    }
}
