//! Whether the number that a call comes from is signed (STIR/SHAKEN): drives the verifier of
//! [`countersign_stir`], which asks for certificates, and remembers what was seen.
//!
//! What comes of it is a signal of risk. It is no factor: a signed number is still only a number.

pub mod config;
pub mod fetch;

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use countersign_core::risk::Verstat;
use countersign_stir::{Attest, Call, Reason, Settings, Step, Verdict, Verifier, Verstat as Word};
use countersign_store::{Commit, CommitError, Guard};
use serde::Deserialize;
use tokio::sync::Semaphore;

use self::fetch::Fetcher;
use crate::runner::Runner;

/// Calls whose certificates are being fetched at one time. One more is not checked.
const AT_ONCE: usize = 64;
/// Longest time for all fetches of one call, also when nobody waits for it any more: the next call
/// finds the certificate then.
const LONGEST: Duration = Duration::from_secs(10);
/// The longest token that a webhook may bring.
const LONGEST_TOKEN: usize = 8 * 1024;

/// Checks calls.
pub struct Stir {
    verifier: Verifier,
    fetcher: Arc<Fetcher>,
    /// How long a caller may ring for it.
    patience: Duration,
    slots: Arc<Semaphore>,
}

/// What a call says about itself.
pub struct Signed {
    /// Our name for this call: the same token may come again with it, and with no other.
    pub of: String,
    /// The values of the Identity headers.
    pub identity: Vec<String>,
    /// The number that we take the call to come from.
    pub orig: String,
    /// The number that was called.
    pub dest: String,
}

impl Stir {
    /// With what is trusted, whoever fetches, and how long a caller may ring for it.
    pub fn new(settings: Settings, fetcher: Fetcher, patience: Duration) -> Self {
        // Kept in the store, which all nodes share, and bound to the call: a repeated webhook is no replay.
        let verifier = Verifier::new(Settings { replays: None, ..settings });
        Self { verifier, fetcher: Arc::new(fetcher), patience, slots: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// What the signature of a call is worth. Never later than the caller may ring for it: what is not
    /// known by then could not be checked.
    pub async fn check(self: &Arc<Self>, runner: &Arc<Runner>, call: Signed) -> Verstat {
        let verstat = self.judged(runner, call).await.map_or(Verstat::Unchecked, |verdict| grade(&verdict));
        runner.metrics.signed(name(verstat));
        verstat
    }

    /// The same as a verdict. `None`: not in time.
    async fn judged(self: &Arc<Self>, runner: &Arc<Runner>, call: Signed) -> Option<Verdict> {
        let identity: Vec<&str> = call.identity.iter().map(String::as_str).collect();
        let about = Call { identity: &identity, orig: &call.orig, dest: &call.dest, known: None };
        let begun = self.verifier.begin(&about, seconds(runner));
        let slot = match begun {
            // What is known already takes no room from those that have to fetch.
            Step::Done(_) => None,
            Step::Fetch(_) => Some(self.slots.clone().try_acquire_owned().ok()?),
        };
        let (this, runner) = (self.clone(), runner.clone());
        let work = tokio::spawn(async move {
            let _slot = slot;
            tokio::time::timeout(LONGEST, this.finish(&runner, begun, &call.of)).await.ok()
        });
        tokio::time::timeout(self.patience, work).await.ok()?.ok()?
    }

    async fn finish(&self, runner: &Runner, mut step: Step, of: &str) -> Verdict {
        let mut asked = Vec::new();
        loop {
            match step {
                Step::Done(verdict) => {
                    if let Some(refusal) = verdict.refusal.filter(|refusal| refusal.reason != Reason::Unsigned) {
                        // No number and no address: what is said is a constant.
                        tracing::info!(reason = refusal.reason.as_str(), why = refusal.why, "a signed number does not count");
                        return verdict;
                    }
                    self.fetcher.know(&asked);
                    return remember(runner, verdict, of).await;
                }
                Step::Fetch(pending) => {
                    let want = pending.want().clone();
                    let found = self.fetcher.fetch(&want, runner.now()).await;
                    asked.push(want.address.host().to_owned());
                    step = self.verifier.resume(pending, found.as_deref().map_err(|why| *why), seconds(runner));
                }
            }
        }
    }

    /// What a call is worth that came with its Identity headers and, perhaps, a word of whoever passes them on:
    /// the lower of the two. What could not be checked leaves theirs.
    pub async fn beside(self: &Arc<Self>, runner: &Arc<Runner>, theirs: Verstat, call: Signed) -> Verstat {
        match self.check(runner, call).await {
            Verstat::Unchecked | Verstat::None => theirs,
            ours if theirs == Verstat::None || worth(ours) < worth(theirs) => ours,
            _ => theirs,
        }
    }

    /// What a token is worth that a webhook brought beside the vendor's own word: it can only lower it.
    pub async fn lower(self: &Arc<Self>, runner: &Arc<Runner>, theirs: Verstat, token: &str, of: String, orig: &str, dest: &str) -> Verstat {
        let Some(header) = header(token) else { return theirs };
        let verdict = self.judged(runner, Signed { of, identity: vec![header], orig: orig.to_owned(), dest: dest.to_owned() }).await;
        let ours = match &verdict {
            // The diversions do not come with it: it may have been for a number that was forwarded to us.
            Some(verdict) if matches!(verdict.reason(), Some(Reason::DestMismatch | Reason::Unsigned)) => Verstat::Unchecked,
            Some(verdict) => grade(verdict),
            None => Verstat::Unchecked,
        };
        runner.metrics.signed(name(ours));
        match ours {
            Verstat::Unchecked | Verstat::None => theirs,
            ours => if worth(ours) < worth(theirs) { ours } else { theirs },
        }
    }
}

/// A call that passed may pass once: the same token with another call was copied. All nodes know.
async fn remember(runner: &Runner, verdict: Verdict, of: &str) -> Verdict {
    if verdict.replay.is_empty() {
        return verdict;
    }
    let once = verdict.replay.iter().map(|key| {
        let expires = i64::try_from(key.until()).unwrap_or(i64::MAX).saturating_add(1).saturating_mul(1000);
        Guard::Once { key: format!("passport/{}", hex::encode(key.bytes())), expires: Some(expires) }
    });
    let commit = Commit { now: runner.now().0, command: Some(format!("stir/{of}")), guards: once.collect(), ..Commit::default() };
    match runner.store.commit(commit).await {
        Ok(_) | Err(CommitError::Duplicate(_)) => verdict,
        Err(CommitError::Denied(_)) => Verdict::replayed(),
        Err(e) => {
            tracing::warn!(error = %e, "whether a signed call was seen before is not known; it counts as not checked");
            Verdict::unknown()
        }
    }
}

/// In our scale. As with what a vendor tells us: by way of a forwarding party it counts one grade
/// lower, and C counts as nothing.
fn grade(verdict: &Verdict) -> Verstat {
    match (verdict.verstat, verdict.diverted) {
        (Word::Passed(Attest::A), false) => Verstat::PassedA,
        (Word::Passed(Attest::A), true) | (Word::Passed(Attest::B), false) => Verstat::PassedB,
        (Word::Passed(Attest::B), true) | (Word::Passed(Attest::C), false) => Verstat::PassedC,
        (Word::Passed(Attest::C), true) | (Word::None, _) => Verstat::None,
        // That we could not look says nothing against the caller, and nothing for them.
        (Word::Failed, _) if verdict.reason() == Some(Reason::Fetch) => Verstat::Unchecked,
        (Word::Failed, _) => Verstat::Failed,
    }
}

fn worth(verstat: Verstat) -> u8 {
    match verstat {
        Verstat::Failed => 0,
        Verstat::None | Verstat::Unchecked => 1,
        Verstat::PassedC => 2,
        Verstat::PassedB => 3,
        Verstat::PassedA => 4,
    }
}

fn name(verstat: Verstat) -> &'static str {
    match verstat {
        Verstat::None => "unsigned",
        Verstat::PassedA => "a",
        Verstat::PassedB => "b",
        Verstat::PassedC => "c",
        Verstat::Failed => "failed",
        Verstat::Unchecked => "unchecked",
    }
}

fn seconds(runner: &Runner) -> u64 { u64::try_from(runner.now().unix()).unwrap_or(0) }

/// A token as an Identity header carries it: what stands beside it there stands in its own head too
/// (RFC 8224 §4). `None`: it is no token that could be checked.
fn header(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Head {
        ppt: String,
        x5u: String,
    }
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && !b"<>;\"".contains(&b));
    let token = Some(token.trim()).filter(|token| token.len() <= LONGEST_TOKEN && plain(token))?;
    let head: Head = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(token.split('.').next()?).ok()?).ok()?;
    (plain(&head.ppt) && plain(&head.x5u)).then(|| format!("{token};info=<{}>;alg=ES256;ppt={}", head.x5u, head.ppt))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_token_says_beside_itself_cannot_break_out() {
        let token = |head: &str| format!("{}.e30.c2ln", BASE64_URL_SAFE_NO_PAD.encode(head));
        let good = token(r#"{"alg":"ES256","ppt":"shaken","typ":"passport","x5u":"https://certs.example.org/a.pem"}"#);
        assert_eq!(header(&good).unwrap(), format!("{good};info=<https://certs.example.org/a.pem>;alg=ES256;ppt=shaken"));
        for head in [r#"{"ppt":"shaken","x5u":"https://a/>;ppt=div"}"#, r#"{"ppt":"shaken;x","x5u":"https://a/"}"#, r#"{"ppt":"shaken"}"#, "[]", ""] {
            assert!(header(&token(head)).is_none(), "{head}");
        }
        assert!(header("").is_none() && header("!.!.!").is_none() && header(&"a".repeat(LONGEST_TOKEN + 1)).is_none());
    }

    #[test]
    fn only_a_pass_is_worth_more_than_nothing() {
        for verstat in [Verstat::None, Verstat::Unchecked, Verstat::Failed] {
            assert!(worth(verstat) <= worth(Verstat::None));
        }
        assert!(worth(Verstat::PassedA) > worth(Verstat::PassedB) && worth(Verstat::PassedB) > worth(Verstat::PassedC));
    }
}
