//! A secret that is presented outside of a call: to the portal, or by a program. Judged, counted and
//! recorded in one commit, like an entry on a call, and with it against the same count over all lines.

use countersign_core::{
    account::Profile,
    call::{Alert, Attempt, Check},
    factor::{self, FactorKind, Owner, Spend, Verdict, WordHash},
    id::{AccountId, AuthenticatorId},
    secret::Secret,
    time::{Span, Timestamp},
};
use countersign_store::{Commit, CommitError, DocWrite, Stream};
use zeroize::Zeroizing;

use crate::{
    directory::authenticator,
    effects::alert_doc,
    hub::Notice,
    record::{self, AccountEvent},
    runner::{RunError, Runner, stored_guard},
};

/// How often an entry is committed again when somebody else was faster.
const TRIES: usize = 64;

/// What was presented.
pub struct Entry {
    /// Whose authenticator it claims to fit.
    pub account: AccountId,
    /// Of which kind.
    pub kind: FactorKind,
    /// The code, PIN or password.
    pub presented: Secret,
    /// Where it was presented, as it stands in the record: each place has a count of its own.
    pub place: String,
    /// Wrong ones that this place may hear of, and in which time.
    pub limit: (u32, Span),
    /// Written with the acceptance of the real one.
    pub docs: Vec<DocWrite>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entered {
    /// Right, and spent where it counts once.
    Right,
    /// The emergency word: the lead is told. What whoever presented it sees is the place's to decide.
    Forced,
    /// Wrong, used before, or nothing on file: counted, after the same work.
    Wrong,
    /// Right or wrong, it was not looked at: too many wrong ones lately.
    Shut,
}

/// By which authenticator, as it is on file, and what came of it: outcome, what it spends, whether it is
/// the emergency word.
type Judged = (Zeroizing<Vec<u8>>, Attempt, Option<Spend>, bool);

/// The authenticator of a kind that counts now.
pub fn counting(profile: &Profile, kind: FactorKind, now: Timestamp) -> Option<AuthenticatorId> {
    profile.standing().find(|a| a.kind == kind && a.usable_from <= now).map(|a| a.id)
}

impl Runner {
    /// Judges an entry. Errors mean that nothing was decided and nothing was counted.
    pub async fn enter(&self, entry: Entry) -> Result<Entered, RunError> {
        let Entry { account, kind, presented, place, limit: (max, window), docs } = entry;
        // What came of looking at it, and by what: looked at once for each state of the authenticator,
        // however often the record moves on.
        let mut judged: Option<Judged> = None;
        for _ in 0..TRIES {
            let now = self.now();
            let Some(loaded) = self.directory.load(account).await? else { return Ok(Entered::Wrong) };
            let found = counting(&loaded.profile, kind, now);
            let id = found.unwrap_or(Owner::portal(account).authenticator);
            let by = Zeroizing::new(serde_json::to_vec(&found.and_then(|id| authenticator(&loaded.profile, id, kind)))?);
            let (outcome, once, forced) = match &judged {
                Some((known, outcome, once, forced)) if *known == by => (*outcome, once.clone(), *forced),
                _ => {
                    let verdict = match found {
                        Some(id) => self.verify(&loaded, id, kind, presented.clone(), now).await?,
                        None => self.decoy(account, kind, presented.clone()).await?,
                    };
                    let (outcome, once, forced) = match verdict {
                        Verdict::Proven { proof, once } => (Attempt::Succeeded, once, proof.duress()),
                        Verdict::Wrong => (Attempt::Failed, None, false),
                    };
                    judged = Some((by, outcome, once.clone(), forced));
                    (outcome, once, forced)
                }
            };
            let attempt = |key, window, max| Check::Attempt { key, window, max, outcome };
            let limits = [
                attempt(format!("entry/{account}/{id}/{kind}/{place}"), Some(window), max),
                attempt(format!("entry/{account}/{id}/{kind}"), None, self.params.lifetime_failures.min(100)),
            ];
            let spends = once.map(|once| match once {
                Spend::Step(value) => Check::Step { authenticator: id, value },
                Spend::Once(key) => Check::Once { key, forever: false },
                Spend::Forever(key) => Check::Once { key, forever: true },
            });
            let accepted = outcome == Attempt::Succeeded;
            let event = AccountEvent::Checked { kind: kind.name().into(), accepted, client: place.clone() };
            let n = self.store.count(Stream { kind: record::CHECK, id: id.0 }).await?;
            let mut commit = Commit {
                now: now.0, guards: limits.iter().chain(&spends).map(|check| stored_guard(check, now)).collect(),
                appends: vec![record::append(record::CHECK, id.0, n, now, &event)?], docs: vec![loaded.still()], ..Commit::default()
            };
            match (accepted, forced) {
                (true, true) => commit.docs.push(alert_doc(self, Alert::Duress, None, Some(account))?),
                (true, false) => commit.docs.extend(docs.iter().cloned()),
                (false, _) => {}
            }
            match self.store.commit(commit).await {
                Ok(_) if forced => {
                    self.hub.tell(Notice::Alert);
                    return Ok(Entered::Forced);
                }
                Ok(_) => return Ok(if accepted { Entered::Right } else { Entered::Wrong }),
                // The limits come first: a code that was used before fails on what follows them.
                Err(CommitError::Denied(guard)) => return Ok(if guard < limits.len() { Entered::Shut } else { Entered::Wrong }),
                Err(CommitError::Conflict) => self.directory.forget(account),
                Err(CommitError::Busy | CommitError::Closed) => return Err(RunError::Busy),
                Err(e) => return Err(RunError::Store(e.to_string())),
            }
        }
        Err(RunError::Busy)
    }

    /// The work that a check of this kind takes, where there is nothing to check.
    async fn decoy(&self, account: AccountId, kind: FactorKind, presented: Secret) -> Result<Verdict, RunError> {
        if !matches!(kind, FactorKind::Pin | FactorKind::VerbalPassword) {
            return Ok(Verdict::Wrong);
        }
        let vault = self.vault.clone();
        self.hash(move || factor::check_word(Owner::portal(account), kind, &WordHash::decoy(), &WordHash::decoy(), &presented, &vault.pepper)).await
    }
}
