//! What is kept for how long, by rules of the configuration: whole calls, single kinds of events, notes,
//! alerts, contacts that were replaced, single fields of profiles.
//!
//! An event that is over its time is *redacted*: its place in the log, its time and its kind stay, and
//! what it said goes. The Merkle log still verifies, and each redaction is an event itself, so that
//! `countersign audit verify` tells a rule's work from somebody's who took events away by hand. Nothing of
//! a customer under a legal hold is touched; once released, the rules catch up.

mod fields;

use std::collections::BTreeMap;

use countersign_core::{
    call::{Event, Recorded},
    id::{AccountId, CallId},
    time::{Span, Timestamp},
};
use countersign_store::{Commit, CommitError, DocWrite, Expect, IndexWrite, Redaction, Stream};
use serde::{Deserialize, Serialize};

use crate::{
    ledger, privacy,
    record::{self, RetentionEvent},
    runner::{RunError, Runner, newest_first},
};

/// The kind under which is kept how far each rule has come.
pub const PROGRESS: &str = "retention";
/// Calls, or profiles, that are looked at in one go: nobody waits behind it for long.
const AT_ONCE: usize = 200;
/// Nothing younger is ever taken away: calls, links and the Merkle log are certainly done with it.
const LEAST: u32 = 1;
/// Events that stay as long as their call.
const ENDS: [&str; 3] = ["started", "ended", "redacted"];

/// `[retention]`: days. What is left out is kept for ever.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Everything about a call, this long after its end.
    pub calls: Option<u32>,
    /// Single kinds of events of calls, such as `signalled = 90`.
    #[serde(default)]
    pub events: BTreeMap<String, u32>,
    /// Written reasons and notes of calls.
    pub notes: Option<u32>,
    /// Alerts on the lead's page.
    pub alerts: Option<u32>,
    /// Numbers and addresses that were replaced; they get notices for 90 days.
    pub replaced_contacts: Option<u32>,
    /// Single fields of profiles, such as `orders = 400`: each counts from a moment of its own.
    #[serde(default)]
    pub fields: BTreeMap<String, u32>,
}

/// One rule.
enum Rule<'a> {
    Calls,
    Notes,
    Event(&'a str),
}

/// Where a rule is in the list of calls that ended, newest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Progress {
    /// All that ended before this is done.
    done: i64,
    /// What is under way: up to when, and the last that was looked at.
    under_way: Option<(i64, String)>,
}

impl Retention {
    /// What cannot be meant, in words.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut out = Vec::new();
        for (name, days) in self.all() {
            if days < LEAST {
                out.push(format!("{name} = {days}: write at least {LEAST}; leave a setting out to keep it for ever"));
            }
        }
        for name in self.events.keys() {
            // What a name may be is what the record can hold.
            let unknown = serde_json::from_value::<Event>(serde_json::json!({ "type": name })).err().is_some_and(|e| e.to_string().contains("unknown variant"));
            if unknown {
                out.push(format!("events.{name}: there is no such event; docs/events.md lists them"));
            } else if ENDS.contains(&name.as_str()) {
                out.push(format!("events.{name}: begins or ends a call; use calls to take away whole calls"));
            }
        }
        if self.replaced_contacts.is_some_and(|days| Span::days(i64::from(days)) < countersign_core::account::NOTICE_PERIOD) {
            out.push("replaced_contacts: below 90 days: whoever was there before would not hear of later changes".into());
        }
        out.extend(self.fields.iter().filter_map(|(name, days)| fields::fault(name, *days, self.calls)));
        out
    }

    fn all(&self) -> impl Iterator<Item = (String, u32)> + '_ {
        let single = [("calls", self.calls), ("notes", self.notes), ("alerts", self.alerts), ("replaced_contacts", self.replaced_contacts)];
        let single = single.into_iter().filter_map(|(name, days)| Some((name.to_owned(), days?)));
        let events = self.events.iter().map(|(name, days)| (format!("events.{name}"), *days));
        single.chain(events).chain(self.fields.iter().map(|(name, days)| (format!("fields.{name}"), *days)))
    }
}

impl Runner {
    /// Takes away a little of what is over its time. Returns how many calls, alerts and profiles were
    /// changed; nothing left to do is 0.
    pub async fn retain(&self, rules: &Retention) -> Result<usize, RunError> {
        let mut n = 0;
        // A setting that cannot be meant takes nothing away.
        let meant = |days: &u32| *days >= LEAST;
        let calls = rules.calls.filter(meant).map(|days| (Rule::Calls, days)).into_iter();
        let notes = rules.notes.filter(meant).map(|days| (Rule::Notes, days));
        let events = rules.events.iter().filter(|(name, days)| meant(days) && !ENDS.contains(&name.as_str())).map(|(name, days)| (Rule::Event(name), *days));
        for (rule, days) in calls.chain(notes).chain(events) {
            n += self.walk(&rule, self.now() - Span::days(i64::from(days))).await?;
        }
        if let Some(days) = rules.alerts.filter(meant) {
            n += self.old_alerts(self.now() - Span::days(i64::from(days))).await?;
        }
        let contacts = rules.replaced_contacts.map(|days| Span::days(i64::from(days))).filter(|age| *age >= countersign_core::account::NOTICE_PERIOD);
        let fields = fields::rules(&rules.fields, rules.calls);
        if contacts.is_some() || !fields.is_empty() {
            n += self.old_profiles(contacts, &fields).await?;
        }
        Ok(n)
    }

    /// One rule over the calls that ended before `cutoff` and are not done yet.
    async fn walk(&self, rule: &Rule<'_>, cutoff: Timestamp) -> Result<usize, RunError> {
        let name = rule.name();
        let mut progress: Progress = match self.store.doc(PROGRESS, name.as_bytes()).await? {
            Some(doc) => serde_json::from_slice(&doc.body)?,
            None => Progress::default(),
        };
        let (upto, mut after) = match &progress.under_way {
            Some((upto, last)) => (*upto, hex::decode(last).map_err(|e| RunError::Store(e.to_string()))?),
            // Days are counted: nobody minds an hour, and not every minute has to be put on record.
            None if cutoff.0 < progress.done.saturating_add(Span::hours(1).0) => return Ok(0),
            None => (cutoff.0, newest_first(cutoff, [0; 16])),
        };
        let (mut n, mut looked, mut over) = (0, 0, false);
        let page = self.store.docs("ended", Some(after.clone()), AT_ONCE).await?;
        for (id, _) in &page {
            let Some((at, call)) = ended(id) else { continue };
            if at.0 < progress.done {
                over = true;
                break;
            }
            n += usize::from(self.take_away(rule, call, id).await?);
            looked += 1;
            after.clone_from(id);
        }
        if over || looked < AT_ONCE {
            progress = Progress { done: upto, under_way: None };
        } else {
            progress.under_way = Some((upto, hex::encode(&after)));
        }
        let doc = DocWrite::Put { kind: PROGRESS, id: name.into_bytes(), expected: Expect::Any, body: serde_json::to_vec(&progress)?, due: None };
        self.retained(Commit { now: self.now().0, docs: vec![doc], ..Commit::default() }).await?;
        Ok(n)
    }

    /// What a rule takes away of one call. Whether there was anything.
    async fn take_away(&self, rule: &Rule<'_>, call: CallId, listed: &[u8]) -> Result<bool, RunError> {
        let events = self.events(call).await?;
        let accounts = accounts(&events);
        for account in &accounts {
            if self.held(*account).await?.is_some() {
                return Ok(false);
            }
        }
        let stream = Stream { kind: record::CALL, id: call.0 };
        let mut commit = Commit { now: self.now().0, ..Commit::default() };
        for recorded in &events {
            let was = kind_of(&recorded.event)?;
            let applies = match rule {
                Rule::Calls => true,
                Rule::Notes => false,
                Rule::Event(name) => was == *name,
            };
            if applies && !matches!(recorded.event, Event::Redacted { .. }) {
                let body = Event::encode(&Recorded { event: Event::Redacted { was }, ..recorded.clone() })?;
                commit.redactions.push(Redaction { stream, n: recorded.n, body });
            }
        }
        if matches!(rule, Rule::Calls | Rule::Notes) {
            for note in privacy::notes_in(&events) {
                if self.store.doc("note", &note.0).await?.is_some() {
                    commit.docs.push(DocWrite::Delete { kind: "note", id: note.0.to_vec() });
                }
            }
        }
        let redacted = u64::try_from(commit.redactions.len()).unwrap_or(u64::MAX);
        if redacted == 0 && commit.docs.is_empty() {
            return Ok(false);
        }
        if matches!(rule, Rule::Calls) {
            commit.docs.push(DocWrite::Delete { kind: "ended", id: listed.to_vec() });
            commit.docs.push(ledger::forget_salt(&self.vault, record::CALL, &call.0, self.store.head().await?)?);
            commit.index.extend(accounts.iter().map(|account| IndexWrite::Remove { space: "calls", key: account.0, id: call.0 }));
        }
        let applied = RetentionEvent::Applied { rule: rule.name(), call, events: redacted };
        let record = Stream { kind: record::RETENTION, id: [0; 16] };
        commit.appends.push(record::append(record.kind, record.id, self.store.count(record).await?, self.now(), &applied)?);
        self.retained(commit).await
    }

    async fn old_alerts(&self, cutoff: Timestamp) -> Result<usize, RunError> {
        let old = self.store.docs("alert", Some(newest_first(cutoff, [0; 16])), AT_ONCE).await?;
        let docs: Vec<DocWrite> = old.into_iter().map(|(id, _)| DocWrite::Delete { kind: "alert", id }).collect();
        let n = docs.len();
        if n > 0 {
            self.retained(Commit { now: self.now().0, docs, ..Commit::default() }).await?;
        }
        Ok(n)
    }

    /// Whether it was written. If somebody else was faster, it is looked at again the next time.
    async fn retained(&self, commit: Commit) -> Result<bool, RunError> {
        match self.store.commit(commit).await {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict) => Ok(false),
            Err(CommitError::Busy | CommitError::Closed) => Err(RunError::Busy),
            Err(e) => Err(RunError::Store(e.to_string())),
        }
    }
}

impl Rule<'_> {
    fn name(&self) -> String {
        match self {
            Self::Calls => "calls".into(),
            Self::Notes => "notes".into(),
            Self::Event(name) => format!("events.{name}"),
        }
    }
}

/// When a call of the list ended, and which it is.
fn ended(id: &[u8]) -> Option<(Timestamp, CallId)> {
    let (inverted, call) = id.split_at_checked(8)?;
    let at = u64::MAX - u64::from_be_bytes(inverted.try_into().ok()?);
    Some((Timestamp(i64::try_from(at).ok()?), CallId(call.try_into().ok()?)))
}

/// The name of an event's kind, as it is stored.
fn kind_of(event: &Event) -> Result<String, RunError> {
    let value = serde_json::to_value(event)?;
    Ok(value.get("type").and_then(|kind| kind.as_str()).unwrap_or_default().to_owned())
}

/// All accounts that the events name.
fn accounts(events: &[Recorded]) -> Vec<AccountId> {
    let mut out: Vec<AccountId> = events.iter().filter_map(|recorded| Event::encode(recorded).ok()).flat_map(|text| {
        let ids = text.split("\"acct_").skip(1).filter_map(|rest| format!("acct_{}", rest.get(..32)?).parse().ok());
        ids.collect::<Vec<AccountId>>()
    }).collect();
    out.sort_unstable();
    out.dedup();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_be_meant_are_told() {
        let faults = |text: &str| toml::from_str::<Retention>(text).unwrap().faults().join("\n");
        assert_eq!(faults("calls = 2190\nnotes = 365\nalerts = 730\nreplaced_contacts = 400\n[events]\nsignalled = 90\nrisk_scored = 90"), "");
        assert!(faults("calls = 0").contains("at least 1"));
        assert!(faults("[events]\nsignaled = 90").contains("no such event"));
        assert!(faults("[events]\nstarted = 90").contains("whole calls"));
        assert!(faults("replaced_contacts = 30").contains("90 days"));
        assert_eq!(faults("calls = 400\n[fields]\naddress = 400\ndate_of_birth = 200\npostal_code = 400\naccess = 30\norders = 1000\ndevices = 180\ndelegations = 30"), "");
        assert!(faults("[fields]\norders = 0").contains("fields.orders = 0: write at least 1"));
        assert!(faults("[fields]\nshoe_size = 90").contains("fields.shoe_size: there is no such field; those that time can take away are access, address,"));
        assert!(faults("[fields]\nemail = 90").contains("is in use"));
        assert!(faults("calls = 30\n[fields]\naddress = 90").contains("longer than calls = 30"));
        assert!(toml::from_str::<Retention>("call = 3").is_err());
    }

    #[test]
    fn the_list_of_ended_calls_says_when() {
        let (at, call) = (Timestamp(1_780_308_000_000), CallId([7; 16]));
        assert_eq!(ended(&newest_first(at, call.0)), Some((at, call)));
        assert_eq!(ended(b"short"), None);
    }
}
