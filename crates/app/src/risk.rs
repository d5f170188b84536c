//! Risk, for whoever tunes it: calls scored again under other rules, and one call explained.

use std::{collections::BTreeMap, path::Path, process::ExitCode};

use countersign_core::{
    call::{Call, Ending, Event, Queue, Recorded},
    id::CallId,
    risk::{Contribution, OnFile, Route, Rules, Scored},
    time::{Span, Timestamp},
};
use countersign_server::{clock::system_clock, config::Config, record, risk_config::RiskSettings, runner::Runner};
use countersign_store::{LogRow, Stream};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    Failure, start,
    term::{BAD, DIM, GOOD, STRONG, WARN},
};

/// Events read at a time.
const PAGE: usize = 1000;
/// From so many events on a bar shows how far it is.
const LONG: u64 = 20_000;

/// Where a call went, or would have gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Went {
    /// The caller left before anybody was to take it.
    Nowhere,
    /// By its score.
    By(Route),
}

impl Went {
    fn words(self) -> String { match self { Self::Nowhere => "left before".into(), Self::By(route) => route.name().replace('_', " ") } }
}

/// A call under the rules it was scored by, and under others.
struct Replayed {
    id: CallId,
    started: Timestamp,
    before: (Went, u8, Vec<Contribution>),
    after: (Went, Scored),
}

/// `risk replay`.
pub async fn replay(config: &Path, points: Option<&Path>, days: Option<u16>) -> Result<ExitCode, Failure> {
    let config = Config::read(config)?;
    let settings = match points {
        Some(path) => RiskSettings::read(path)?,
        None => config.risk.clone(),
    };
    let rules = settings.rules(config.rings());
    let runner = start::open(&config).await?;
    let since = days.map_or(Timestamp(0), |days| system_clock() - Span::days(days.into()));
    let calls = calls(&runner, since).await?;
    runner.store.close().await;
    let replayed: Vec<Replayed> = calls.iter().filter_map(|(id, events)| again(*id, events, &rules)).collect();
    table(&replayed);
    changes(&replayed);
    Ok(ExitCode::SUCCESS)
}

/// Every call that came in since then, with its events.
async fn calls(runner: &Runner, since: Timestamp) -> Result<BTreeMap<CallId, Vec<Recorded>>, Failure> {
    let mut calls: BTreeMap<CallId, Vec<Recorded>> = BTreeMap::new();
    let (mut after, mut bar) = (0, None::<ProgressBar>);
    loop {
        let page = runner.store.log(after, PAGE).await?;
        let Some(last) = page.last().map(|row| row.seq) else { break };
        after = last;
        // Nobody knows how many there are before the end: the bar counts.
        if after >= LONG {
            bar.get_or_insert_with(|| ProgressBar::new_spinner().with_style(style())).set_position(after);
        }
        for row in page.iter().filter(|row| row.stream_kind == record::CALL) {
            take(&mut calls, row, since)?;
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    Ok(calls)
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {human_pos} events read, {per_sec}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn take(calls: &mut BTreeMap<CallId, Vec<Recorded>>, row: &LogRow, since: Timestamp) -> Result<(), Failure> {
    let recorded = Event::decode(&row.body).map_err(|e| format!("event {} cannot be read: {e}", row.seq))?;
    let id = CallId(row.stream_id);
    if matches!(recorded.event, Event::Started { .. }) && recorded.at >= since {
        calls.insert(id, vec![recorded]);
    } else if let Some(events) = calls.get_mut(&id) {
        events.push(recorded);
    }
    Ok(())
}

/// Follows a call to where it was routed, under both rules. `None`: nobody rang us.
fn again(id: CallId, events: &[Recorded], rules: &Rules) -> Option<Replayed> {
    let mut call = Call::new(id);
    let (mut file, mut went) = (OnFile::default(), Went::Nowhere);
    let mut after = (Went::Nowhere, rules.score(&call, file));
    let mut routed = false;
    for recorded in events {
        if routed {
            break;
        }
        call.apply(recorded);
        if let Event::RiskScored { parts, .. } = &recorded.event {
            file = OnFile::recorded(parts);
        }
        let scored = rules.score(&call, file);
        let ends = scored.route == Route::End && !matches!(after.0, Went::By(_));
        match &recorded.event {
            Event::Queued { queue, .. } => {
                went = Went::By(match queue { Queue::Agents => Route::Agent, Queue::Specialists => Route::Specialist });
                routed = true;
            }
            Event::Ended { ending } => {
                went = match ending {
                    Ending::Risk => Went::By(Route::End),
                    Ending::CalledBack => Went::By(Route::CallBack),
                    Ending::SelfService => Went::By(Route::SelfService),
                    _ => Went::Nowhere,
                };
                routed = true;
            }
            _ => {}
        }
        let by = routed && went != Went::Nowhere;
        after = match after.0 {
            // Too risky at some time before: it would have ended there.
            Went::By(Route::End) => after,
            _ if ends || by => (Went::By(scored.route), scored),
            _ => (Went::Nowhere, scored),
        };
    }
    let caller = call.origin.is_caller() && call.n > 0;
    caller.then(|| Replayed { id, started: call.started, before: (went, call.risk, call.risk_parts.clone()), after })
}

fn table(calls: &[Replayed]) {
    let all = [Went::Nowhere, Went::By(Route::Agent), Went::By(Route::Specialist), Went::By(Route::CallBack), Went::By(Route::SelfService), Went::By(Route::End)];
    anstream::println!("{STRONG}{:<14}{:>8}{:>8}{:>9}{STRONG:#}", "route", "before", "after", "change");
    for went in all {
        let count = |of: &dyn Fn(&Replayed) -> Went| i64::try_from(calls.iter().filter(|c| of(c) == went).count()).unwrap_or(i64::MAX);
        let (before, after) = (count(&|c| c.before.0), count(&|c| c.after.0));
        let style = if before == after { DIM } else { STRONG };
        let change = if before == after { "=".to_owned() } else { format!("{:+}", after - before) };
        anstream::println!("{:<14}{before:>8}{after:>8}{style}{change:>9}{style:#}", went.words());
    }
    anstream::println!("{DIM}{:<14}{:>8}{:>8}{DIM:#}", "calls", calls.len(), calls.len());
}

fn changes(calls: &[Replayed]) {
    let changed: Vec<&Replayed> = calls.iter().filter(|c| c.before.0 != c.after.0).collect();
    if changed.is_empty() {
        anstream::println!("\n{GOOD}✓{GOOD:#} No call would have gone another way.");
        return;
    }
    anstream::println!("\n{} of {} calls would have gone another way:", changed.len(), calls.len());
    for call in changed {
        let (before, after) = (&call.before, &call.after);
        let style = if after.0 > before.0 { WARN } else { GOOD };
        anstream::println!("{}  {DIM}{}{DIM:#}  {style}{} {} → {} {}{style:#}", call.id, call.started, before.0.words(), before.1, after.0.words(), after.1.score);
        for line in difference(&before.2, &after.1.parts) {
            anstream::println!("    {line}");
        }
    }
}

/// The parts that weigh otherwise, and if none does, those there are: then the thresholds made it.
fn difference(before: &[Contribution], after: &[Contribution]) -> Vec<String> {
    let points = |parts: &[Contribution], name: &str| parts.iter().find(|p| p.name == name).map(|p| p.points);
    let mut names: Vec<&str> = before.iter().chain(after).map(|p| p.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let write = |n: Option<u8>| n.map_or_else(|| "–".to_owned(), |n| format!("+{n}"));
    let other: Vec<&str> = names.iter().copied().filter(|name| points(before, name) != points(after, name)).collect();
    if other.is_empty() {
        let parts: Vec<String> = after.iter().map(|p| format!("{} +{}", p.name, p.points)).collect();
        return vec![format!("by the thresholds alone: {}", parts.join(", "))];
    }
    let width = other.iter().map(|n| n.len()).max().unwrap_or(0);
    let evidence = |name: &str| after.iter().chain(before).find(|p| p.name == name).map(|p| p.evidence.clone()).unwrap_or_default();
    other.into_iter().map(|name| format!("{name:<width$}  {:>4} → {:<4}  {}", write(points(before, name)), write(points(after, name)), evidence(name))).collect()
}

/// `risk list`: the signals, what they weigh here, and where scores lead.
pub fn list(config: &Path) -> Result<ExitCode, Failure> {
    let config = Config::read(config)?;
    let rules = config.risk.rules(config.rings());
    let width = countersign_core::risk::Part::ALL.iter().map(|p| p.name().len()).max().unwrap_or(0);
    anstream::println!("{STRONG}{:<width$}  points  at most{STRONG:#}", "signal");
    for part in countersign_core::risk::Part::ALL {
        let (points, usual) = (rules.points.get(part), part.usual_points());
        let most = u32::from(points) * part.most();
        let changed = if points == usual { String::new() } else { format!("  {WARN}usually {usual}{WARN:#}") };
        let bounded = if part.is_bounded() { format!("  {DIM}to a specialist at most{DIM:#}") } else { String::new() };
        anstream::println!("{:<width$}  {points:>6}  {:>7}{changed}{bounded}", part.name(), most.min(100));
    }
    anstream::println!();
    for (route, from) in rules.routes.each() {
        anstream::println!("{:<width$}  from {from}", route.name());
    }
    Ok(ExitCode::SUCCESS)
}

/// `risk explain`: how the score of one call came about, step by step.
pub async fn explain(config: &Path, id: CallId) -> Result<ExitCode, Failure> {
    let runner = std::sync::Arc::new(start::open(&Config::read(config)?).await?);
    let stored = runner.store.events(Stream { kind: record::CALL, id: id.0 }).await?;
    let Some(first) = stored.first().map(|e| e.at) else { return Err(format!("there is no call {id} on record").into()) };
    let named = crate::audit::names(&runner).await?;
    for event in &stored {
        let recorded = Event::decode(&event.body)?;
        let after = f64::from(i32::try_from((event.at - first) / 100).unwrap_or(i32::MAX)) / 10.0;
        match &recorded.event {
            Event::RiskScored { score, parts, route, shadow } => {
                let style = match route { Some(Route::End) => BAD, Some(Route::Agent) | None => DIM, _ => WARN };
                let shadow = if *shadow { ", shadow: nothing follows" } else { "" };
                let route = route.map(|r| r.name().replace('_', " ")).unwrap_or_default();
                anstream::println!("{DIM}{after:>8.1}s{DIM:#}  {STRONG}{score:>3}{STRONG:#}  {style}{route}{style:#}{shadow}");
                let width = parts.iter().map(|p| p.name.len()).max().unwrap_or(0);
                for p in parts {
                    anstream::println!("           {:<width$}  {:>4}  {}", p.name, format!("+{}", p.points), p.evidence);
                }
            }
            Event::Queued { .. } | Event::Ended { .. } | Event::Marked { .. } => {
                let text = named(countersign_core::story::sentence(&recorded.event, countersign_core::story::Reader::Lead));
                anstream::println!("{DIM}{after:>8.1}s{DIM:#}       {text}");
            }
            _ => {}
        }
    }
    runner.store.close().await;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use countersign_core::{
        call::{EVENT_VERSION, Origin},
        risk::{Mode, Points, Routes, Verstat},
        secret::Blind,
    };

    use super::*;

    fn call(events: Vec<Event>) -> Vec<Recorded> {
        (1..).zip(events).map(|(n, event)| Recorded { v: EVENT_VERSION, n, at: Timestamp(i64::try_from(n).unwrap_or(0) * 1000), event }).collect()
    }

    fn started(verstat: Verstat) -> Event {
        Event::Started { adapter: "test".into(), number: Some(Blind([1; 16])), verstat, denied: false, origin: Origin::Caller }
    }

    fn scored(score: u8, name: &str) -> Event {
        let parts = vec![Contribution { name: name.into(), points: score, evidence: "seen".into() }];
        Event::RiskScored { score, parts, route: Some(Routes::default().of(score)), shadow: false }
    }

    fn rules(points: &[(&str, i64)], end: Option<u8>) -> Rules {
        Rules {
            mode: Mode::Act, points: Points::with(points.iter().map(|(n, p)| ((*n).to_owned(), *p))).unwrap(),
            routes: Routes::new(Some(50), None, None, end).unwrap(),
        }
    }

    #[test]
    fn the_rules_of_then_change_nothing() {
        let events = call(vec![started(Verstat::Failed), scored(55, "attestation_failed"), Event::Queued { queue: Queue::Specialists, because: vec![] }]);
        let same = again(CallId([1; 16]), &events, &Rules::default()).unwrap();
        assert_eq!((same.before.0, same.after.0, same.after.1.score), (Went::By(Route::Specialist), Went::By(Route::Specialist), 55));
    }

    #[test]
    fn other_points_lead_elsewhere_and_say_which() {
        let events = call(vec![started(Verstat::Failed), scored(55, "attestation_failed"), Event::Queued { queue: Queue::Specialists, because: vec![] }]);
        let calmer = again(CallId([1; 16]), &events, &rules(&[("attestation_failed", 30)], Some(90))).unwrap();
        assert_eq!((calmer.after.0, calmer.after.1.score), (Went::By(Route::Agent), 30));
        assert_eq!(difference(&calmer.before.2, &calmer.after.1.parts).len(), 1);
        assert!(difference(&calmer.before.2, &calmer.after.1.parts)[0].contains("+55 → +30"));
        let stricter = again(CallId([1; 16]), &events, &rules(&[], Some(55))).unwrap();
        assert_eq!(stricter.after.0, Went::By(Route::End));
        assert!(difference(&stricter.before.2, &stricter.after.1.parts)[0].starts_with("by the thresholds alone"));
    }

    /// What was on file then is taken from what was scored then.
    #[test]
    fn a_freeze_of_then_counts_again() {
        let events = call(vec![started(Verstat::PassedA), scored(60, "account_frozen"), Event::Queued { queue: Queue::Specialists, because: vec![] }]);
        let again = again(CallId([1; 16]), &events, &Rules::default()).unwrap();
        assert_eq!((again.after.1.score, again.after.0), (60, Went::By(Route::Specialist)));
    }

    #[test]
    fn whoever_left_before_is_not_counted_as_routed_and_our_own_calls_not_at_all() {
        let events = call(vec![started(Verstat::Failed), scored(55, "attestation_failed"), Event::Ended { ending: Ending::Caller }]);
        let left = again(CallId([1; 16]), &events, &Rules::default()).unwrap();
        assert_eq!((left.before.0, left.after.0), (Went::Nowhere, Went::Nowhere));
        let ours = Event::Started { adapter: "test".into(), number: None, verstat: Verstat::None, denied: false, origin: Origin::Client("till".into()) };
        assert!(again(CallId([1; 16]), &call(vec![ours]), &Rules::default()).is_none());
    }
}
