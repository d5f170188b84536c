//! What agents do that their peers do not: look-ups without a call, details typed, comparisons that
//! miss, accounts opened and dropped, exceptions with a reason. Counted per agent and day from the
//! log of events, by following it: whoever reads a page reads what was counted since last time.
//!
//! For the lead alone. A count is a question to ask, not a verdict.

use std::collections::{BTreeMap, BTreeSet};

use countersign_core::{
    action::{Field, Verb},
    call::{Alert, Event, Recorded},
    claim::Via,
    id::{AgentId, CallId},
    time::{Span, Timestamp},
};
use countersign_store::{Commit, CommitError, DocWrite, Expect, LogRow};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::{
    effects::StoredAlert,
    hub::Notice,
    record,
    runner::{RunError, Runner, newest_first},
    voice_months::Months,
};

/// The kind under which the counts are kept between starts.
const KIND: &str = "watch";
/// Days that are kept.
const KEEP_DAYS: i64 = 14;
/// Events read at a time.
const PAGE: usize = 2000;
/// Events after which the counts are written down.
const SAVE: u64 = 500;
/// So many times the middle of the others is unusual.
const TIMES: u32 = 4;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Habit {
    /// Customers looked up by number without a call.
    LookUps,
    /// Details typed as said by callers.
    Claims,
    /// Comparisons without a match.
    Misses,
    /// Accounts opened and dropped.
    Switches,
    /// Exceptions with a written reason.
    Exceptions,
}

impl Habit {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::LookUps, Self::Claims, Self::Misses, Self::Switches, Self::Exceptions];

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::LookUps => "look-ups without a call",
            Self::Claims => "details typed",
            Self::Misses => "comparisons that missed",
            Self::Switches => "accounts opened and dropped",
            Self::Exceptions => "exceptions with a reason",
        }
    }
}

/// From how many a day on something can be unusual at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentLimits {
    /// Customers looked up by number without a call.
    pub look_ups: u32,
    /// Details typed as said by callers.
    pub claims: u32,
    /// Comparisons without a match.
    pub misses: u32,
    /// Accounts opened and dropped.
    pub switches: u32,
    /// Exceptions with a written reason.
    pub exceptions: u32,
}

impl Default for AgentLimits {
    fn default() -> Self { Self { look_ups: 10, claims: 120, misses: 20, switches: 4, exceptions: 6 } }
}

impl AgentLimits {
    fn of(&self, habit: Habit) -> u32 {
        match habit {
            Habit::LookUps => self.look_ups,
            Habit::Claims => self.claims,
            Habit::Misses => self.misses,
            Habit::Switches => self.switches,
            Habit::Exceptions => self.exceptions,
        }
    }
}

/// What one agent did on one day.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Calls taken.
    pub calls: u32,
    /// The rest.
    pub counts: BTreeMap<Habit, u32>,
}

impl Tally {
    /// How often.
    pub fn of(&self, habit: Habit) -> u32 { self.counts.get(&habit).copied().unwrap_or(0) }
}

/// One row for the lead.
#[derive(Debug, Clone)]
pub struct Row {
    /// Who.
    pub agent: AgentId,
    /// What they did.
    pub tally: Tally,
    /// What is unusual about it, with the evidence.
    pub unusual: Vec<(Habit, String)>,
}

/// Follows the log.
#[derive(Default)]
pub struct Watch {
    book: Mutex<Option<Book>>,
    limits: std::sync::OnceLock<AgentLimits>,
}

/// Days since the epoch, UTC.
type Day = i64;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Book {
    /// The last event that is counted.
    after: u64,
    #[serde(skip)]
    saved: u64,
    days: BTreeMap<Day, BTreeMap<AgentId, Tally>>,
    /// Who has which call that goes on.
    holders: BTreeMap<CallId, AgentId>,
    /// Calls whose last event was policy's answer to a look at a field: the look that follows at once
    /// is an exception.
    excepted: BTreeMap<CallId, Field>,
    alerted: BTreeSet<(Day, AgentId, Habit)>,
    /// How voices fared: followed along with the rest.
    voices: Months,
}

impl Watch {
    /// From how many a day on something can be unusual. Said once, at the start.
    pub fn limit(&self, limits: AgentLimits) { self.limits.get_or_init(|| limits); }

    /// Counts what happened since last time, and tells the lead of what is unusual.
    pub async fn catch_up(&self, runner: &Runner) -> Result<(), RunError> {
        let mut guard = self.book.lock().await;
        let mut book = match guard.take() {
            Some(book) => book,
            None => read(runner).await?,
        };
        let result = self.follow(runner, &mut book).await;
        // What was counted is counted, whatever went wrong then.
        *guard = Some(book);
        result
    }

    async fn follow(&self, runner: &Runner, book: &mut Book) -> Result<(), RunError> {
        let limits = *self.limits.get_or_init(AgentLimits::default);
        loop {
            let page = runner.store.log(book.after, PAGE).await?;
            let Some(last) = page.last().map(|row| row.seq) else { break };
            for row in &page {
                if let Some((at, agent, habit)) = book.take(row)
                    && let Some(day) = book.crosses(at, agent, habit, &limits)
                {
                    alert(runner, day, at, agent, habit).await?;
                    book.alerted.insert((day, agent, habit));
                }
                book.after = row.seq;
            }
            book.after = last;
        }
        if book.after >= book.saved + SAVE {
            book.forget(runner.now());
            let body = runner.vault.seal(KIND, KIND.as_bytes(), book)?;
            let docs = vec![DocWrite::Put { kind: KIND, id: KIND.as_bytes().to_vec(), expected: Expect::Any, body, due: None }];
            match runner.store.commit(Commit { now: runner.now().0, docs, ..Commit::default() }).await {
                Ok(_) => book.saved = book.after,
                // Next time: it can be counted again.
                Err(e) => tracing::warn!(error = %e, "the counts of agents could not be written down"),
            }
        }
        Ok(())
    }

    /// How voices fared, month by month.
    pub async fn voices(&self, runner: &Runner) -> Result<Months, RunError> {
        self.catch_up(runner).await?;
        Ok(self.book.lock().await.as_ref().map(|book| book.voices.clone()).unwrap_or_default())
    }

    /// What everybody at the desk did on the day of this moment, most calls first.
    pub async fn day(&self, runner: &Runner, at: Timestamp) -> Result<Vec<Row>, RunError> {
        self.catch_up(runner).await?;
        let limits = *self.limits.get_or_init(AgentLimits::default);
        let guard = self.book.lock().await;
        let Some(tallies) = guard.as_ref().and_then(|book| book.days.get(&day(at))) else { return Ok(Vec::new()) };
        let mut rows: Vec<Row> = tallies.iter().map(|(agent, tally)| {
            let unusual = Habit::ALL.into_iter().filter_map(|habit| Some((habit, unusual(tallies, *agent, habit, &limits)?))).collect();
            Row { agent: *agent, tally: tally.clone(), unusual }
        }).collect();
        rows.sort_by_key(|row| (row.unusual.is_empty(), std::cmp::Reverse(row.tally.calls)));
        Ok(rows)
    }
}

fn day(at: Timestamp) -> Day { at.0.div_euclid(Span::days(1).0) }

async fn read(runner: &Runner) -> Result<Book, RunError> {
    let Some(doc) = runner.store.doc(KIND, KIND.as_bytes()).await? else { return Ok(Book::default()) };
    // A shape of before is no loss: the log has everything.
    let mut book: Book = runner.vault.unseal(KIND, KIND.as_bytes(), &doc.body).unwrap_or_default();
    book.saved = book.after;
    Ok(book)
}

/// Why a count is unusual; `None`: it is not. The others are those who were at the desk that day.
fn unusual(tallies: &BTreeMap<AgentId, Tally>, agent: AgentId, habit: Habit, limits: &AgentLimits) -> Option<String> {
    let n = tallies.get(&agent)?.of(habit);
    let mut others: Vec<u32> = tallies.iter().filter(|(other, _)| **other != agent).map(|(_, tally)| tally.of(habit)).collect();
    others.sort_unstable();
    let middle = others.get(others.len() / 2).copied().unwrap_or(0);
    let least = limits.of(habit).max(middle.saturating_mul(TIMES));
    (n >= least.max(1)).then(|| {
        let beside = if others.is_empty() { "nobody else at the desk to compare with".to_owned() } else { format!("the middle of {} others is {middle}", others.len()) };
        format!("{n} {}; {beside}", habit.words())
    })
}

async fn alert(runner: &Runner, day: Day, at: Timestamp, agent: AgentId, habit: Habit) -> Result<(), RunError> {
    let stored = StoredAlert { alert: Alert::Unusual, call: None, account: None, agent: Some(agent), at };
    // The same from every node and after every start: it is told once.
    let name = runner.vault.index.blind("unusual", &format!("{day}/{agent}/{}", habit.words())).0;
    let docs = vec![DocWrite::Put { kind: "alert", id: newest_first(at, name), expected: Expect::New, body: serde_json::to_vec(&stored)?, due: None }];
    match runner.store.commit(Commit { now: runner.now().0, docs, ..Commit::default() }).await {
        Ok(_) => {
            runner.hub.tell(Notice::Alert);
            Ok(())
        }
        Err(CommitError::Conflict) => Ok(()),
        Err(CommitError::Busy | CommitError::Closed) => Err(RunError::Busy),
        Err(e) => Err(RunError::Store(e.to_string())),
    }
}

impl Book {
    /// Takes one event in; says what was counted for whom.
    fn take(&mut self, row: &LogRow) -> Option<(Timestamp, AgentId, Habit)> {
        match row.stream_kind.as_str() {
            record::CALL => {
                let recorded = Event::decode(&row.body).ok()?;
                self.call(CallId(row.stream_id), &recorded)
            }
            record::AGENT => {
                let body: serde_json::Value = serde_json::from_str(&row.body).ok()?;
                (body.get("type")?.as_str()? == "looked_up").then(|| self.add(Timestamp(row.at), AgentId(row.stream_id), Habit::LookUps))
            }
            _ => None,
        }
    }

    fn call(&mut self, id: CallId, recorded: &Recorded) -> Option<(Timestamp, AgentId, Habit)> {
        let at = recorded.at;
        self.voices.take(at, &recorded.event);
        let excepted = self.excepted.remove(&id);
        match &recorded.event {
            Event::Accepted { agent, .. } => {
                self.holders.insert(id, *agent);
                self.tally(at, *agent).calls += 1;
            }
            Event::HandedOver { .. } | Event::Ended { .. } => drop(self.holders.remove(&id)),
            Event::Claimed { claim } | Event::Contradicted { claim } if claim.via == Via::Agent => {
                let agent = self.holders.get(&id).copied()?;
                return Some(self.add(at, agent, Habit::Claims));
            }
            Event::Compared { agent, matched: false, .. } => return Some(self.add(at, *agent, Habit::Misses)),
            Event::Switched { agent, .. } => return Some(self.add(at, *agent, Habit::Switches)),
            Event::Performed { agent, note: Some(_), .. } => return Some(self.add(at, *agent, Habit::Exceptions)),
            Event::Decided { agent: Some(_), action, decision, .. } if action.verb == Verb::View && decision.permits() => {
                self.excepted.extend(Field::parse(&action.object).map(|field| (id, field)));
            }
            Event::Revealed { agent, field, .. } if excepted == Some(*field) => return Some(self.add(at, *agent, Habit::Exceptions)),
            _ => {}
        }
        None
    }

    fn tally(&mut self, at: Timestamp, agent: AgentId) -> &mut Tally { self.days.entry(day(at)).or_default().entry(agent).or_default() }

    fn add(&mut self, at: Timestamp, agent: AgentId, habit: Habit) -> (Timestamp, AgentId, Habit) {
        *self.tally(at, agent).counts.entry(habit).or_default() += 1;
        (at, agent, habit)
    }

    /// The day on which this count has just become unusual for the first time.
    fn crosses(&self, at: Timestamp, agent: AgentId, habit: Habit, limits: &AgentLimits) -> Option<Day> {
        let day = day(at);
        let tallies = self.days.get(&day).filter(|_| !self.alerted.contains(&(day, agent, habit)))?;
        unusual(tallies, agent, habit, limits).map(|_| day)
    }

    fn forget(&mut self, now: Timestamp) {
        let first = day(now) - KEEP_DAYS;
        self.days.retain(|day, _| *day >= first);
        self.alerted.retain(|(day, ..)| *day >= first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desk(counts: &[u32]) -> BTreeMap<AgentId, Tally> {
        (0..).zip(counts).map(|(i, n)| (AgentId([i; 16]), Tally { calls: 5, counts: BTreeMap::from([(Habit::Misses, *n)]) })).collect()
    }

    #[test]
    fn what_everybody_does_is_not_unusual() {
        let limits = AgentLimits::default();
        let says = |counts: &[u32]| unusual(&desk(counts), AgentId([0; 16]), Habit::Misses, &limits);
        assert_eq!(says(&[19, 0, 1, 2]), None, "below what can be unusual at all");
        assert_eq!(says(&[20, 0, 1, 2]).as_deref(), Some("20 comparisons that missed; the middle of 3 others is 1"));
        assert_eq!(says(&[40, 30, 25, 28]), None, "a bad day of the whole desk");
        assert_eq!(says(&[112, 30, 25, 28]).as_deref(), Some("112 comparisons that missed; the middle of 3 others is 28"));
        assert_eq!(says(&[20]).as_deref(), Some("20 comparisons that missed; nobody else at the desk to compare with"));
    }
}
