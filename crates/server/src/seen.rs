//! Which line meant which account lately, which agent had which call, and when a customer usually
//! calls: what other calls say about this one. Small documents beside the record, written in the
//! commit of the step that they tell of, read in the order of time, and gone after a while. Numbers
//! and countries are keyed hashes.

use std::collections::{BTreeMap, BTreeSet};

use countersign_core::{
    action::Level,
    call::Call,
    id::{AccountId, AgentId, CallId},
    risk::History,
    secret::{Blind, E164},
    time::{Span, Timestamp},
};
use countersign_store::{Commit, DocWrite, Expect};

use crate::runner::{Line, RunError, Runner, newest_first};

/// Calls of a line: `line ‖ time ‖ call ‖ account`.
const LINE: &str = "seen-line";
/// Calls about an account: `account ‖ time ‖ call`.
const ACCOUNT: &str = "seen-account";
/// Calls that an agent had: `agent ‖ time ‖ call`.
const AGENT: &str = "seen-agent";
/// Calls on which a customer proved to be it: `account ‖ time ‖ call`. Others do not make a habit, or
/// whoever wants to look usual would only have to call often.
const HABIT: &str = "habit";
/// Lines of calls that are marked as fraud: `line ‖ call`.
const FRAUD_LINE: &str = "fraud-line";
/// Accounts of such calls: `account ‖ call`.
const FRAUD_ACCOUNT: &str = "fraud-account";
/// What is to be swept.
pub const KINDS: [&str; 6] = [LINE, ACCOUNT, AGENT, HABIT, FRAUD_LINE, FRAUD_ACCOUNT];

/// How long velocity looks back.
const LATELY: Span = Span::days(1);
/// How long calls stay related.
pub const KEEP: Span = Span::days(30);
/// How long a habit counts.
const KEEP_HABIT: Span = Span::days(180);
/// How long fraud on a line or account counts.
const KEEP_FRAUD: Span = Span::days(90);
/// Looked at, at most, so that a flood of calls makes no call slow.
const MOST: usize = 300;
/// Read at first; four times as many each time that there is more.
const PAGE: usize = 12;
/// Fewer proved calls are no habit.
const HOURS_NEED: u32 = 8;
const COUNTRIES_NEED: u32 = 5;
/// Within so many hours of the clock a call is at the usual time.
const USUAL_HOURS: i64 = 3;

/// Writes what this step adds.
pub fn write(runner: &Runner, before: &Call, after: &Call, line: &Line, commit: &mut Commit) {
    let now = runner.now();
    let put = |kind, id: Vec<u8>, body: Vec<u8>, due: Timestamp| DocWrite::Put { kind, id, expected: Expect::Any, body, due: Some(due.0) };
    let moment = newest_first(after.started, after.id.0);
    if after.origin.is_caller() && (before.subject, before.failures) != (after.subject, after.failures) {
        let account = after.subject.map_or([0; 16], |a| a.0);
        if let Some(number) = after.number {
            commit.docs.push(put(LINE, [&number.0[..], &moment, &account].concat(), after.failures.to_be_bytes().to_vec(), now + KEEP));
        }
        if after.subject.is_some() {
            let number = after.number.map_or([0; 16], |n| n.0);
            commit.docs.push(put(ACCOUNT, [&account[..], &moment].concat(), [&after.failures.to_be_bytes()[..], &number].concat(), now + KEEP));
        }
    }
    if let (true, Some(account)) = (after.origin.is_caller() && before.level < Level::Authenticated && after.level >= Level::Authenticated, after.principal) {
        let country = line.number.as_ref().map_or([0; 16], |n| country_of(runner, n).0);
        commit.docs.push(put(HABIT, [&account.0[..], &moment].concat(), country.to_vec(), now + KEEP_HABIT));
    }
    if let Some((agent, _)) = after.agent.filter(|_| before.agent != after.agent) {
        commit.docs.push(put(AGENT, [&agent.0[..], &moment].concat(), Vec::new(), now + KEEP));
    }
    if before.fraud != after.fraud {
        let keys = [(FRAUD_LINE, after.number.map(|n| n.0)), (FRAUD_ACCOUNT, after.subject.map(|a| a.0))];
        for (kind, key) in keys.into_iter().filter_map(|(kind, key)| Some((kind, key?))) {
            let id = [key, after.id.0].concat();
            commit.docs.push(if after.fraud { put(kind, id, Vec::new(), now + KEEP_FRAUD) } else { DocWrite::Delete { kind, id } });
        }
    }
}

/// What takes an account out of all this: what is kept under it, and under its lines where they meant it.
pub async fn forget(runner: &Runner, account: AccountId, lines: &[[u8; 16]]) -> Result<Vec<DocWrite>, RunError> {
    let mut gone = Vec::new();
    for kind in [ACCOUNT, HABIT, FRAUD_ACCOUNT] {
        for (rest, _) in under(runner, kind, &account.0, usize::MAX).await? {
            gone.push(DocWrite::Delete { kind, id: [&account.0[..], &rest].concat() });
        }
    }
    for line in lines {
        for (rest, _) in under(runner, LINE, line, usize::MAX).await? {
            if rest.ends_with(&account.0) {
                gone.push(DocWrite::Delete { kind: LINE, id: [&line[..], &rest].concat() });
            }
        }
    }
    Ok(gone)
}

/// What is under a key, newest first: what follows the key in the id, and the body.
async fn under(runner: &Runner, kind: &'static str, key: &[u8; 16], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>, RunError> {
    let now = runner.now().0;
    let (mut out, mut after, mut page, mut read) = (Vec::new(), key.to_vec(), PAGE.min(limit), 0);
    // What follows a key are other people's: most have little, so little is read first.
    while page > 0 {
        let found = runner.store.docs(kind, Some(after.clone()), page).await?;
        let ours = found.iter().take_while(|(id, _)| id.starts_with(key)).count();
        let more = ours == page;
        read += ours;
        if let Some((last, _)) = found.last() {
            after.clone_from(last);
        }
        let live = found.into_iter().take(ours).filter(|(_, doc)| doc.due.is_none_or(|due| due > now));
        out.extend(live.map(|(id, doc)| (id.strip_prefix(key).unwrap_or_default().to_vec(), doc.body)));
        page = if more { (page * 4).min(limit.saturating_sub(read)) } else { 0 };
    }
    Ok(out)
}

/// The time and the call in the rest of an id, and what is left.
fn moment(rest: &[u8]) -> Option<(Timestamp, CallId, &[u8])> {
    let (time, rest) = rest.split_at_checked(8)?;
    let (call, rest) = rest.split_at_checked(16)?;
    let millis = u64::MAX - u64::from_be_bytes(time.try_into().ok()?);
    Some((Timestamp(i64::try_from(millis).ok()?), CallId(call.try_into().ok()?), rest))
}

fn failures(body: &[u8]) -> (u32, &[u8]) {
    body.split_at_checked(4).map_or((0, &[]), |(n, rest)| (n.try_into().map_or(0, u32::from_be_bytes), rest))
}

fn count(n: usize) -> u32 { u32::try_from(n).unwrap_or(u32::MAX) }

/// What other calls say about a call.
pub async fn history(runner: &Runner, call: CallId, number: Option<Blind>, account: Option<AccountId>, started: Timestamp, line: &Line) -> Result<History, RunError> {
    let mut out = History::default();
    let since = started - LATELY;
    if let Some(number) = number {
        let mut accounts: BTreeSet<[u8; 16]> = account.map(|a| a.0).into_iter().collect();
        let mut failed: BTreeMap<CallId, u32> = BTreeMap::new();
        for (rest, body) in under(runner, LINE, &number.0, MOST).await? {
            let Some((_, other, rest)) = moment(&rest).filter(|(at, ..)| *at >= since) else { break };
            if let Ok(account) = <[u8; 16]>::try_from(rest)
                && account != [0; 16]
            {
                accounts.insert(account);
            }
            if other != call {
                let most = failed.entry(other).or_default();
                *most = (*most).max(failures(&body).0);
            }
        }
        out.accounts_on_line = count(accounts.len());
        out.failed_on_line = failed.values().fold(0, |sum, n| sum.saturating_add(*n));
        out.fraud_on_line = !under(runner, FRAUD_LINE, &number.0, 1).await?.is_empty();
    }
    if let Some(account) = account {
        let mut lines: BTreeSet<[u8; 16]> = number.map(|n| n.0).into_iter().collect();
        for (rest, body) in under(runner, ACCOUNT, &account.0, MOST).await? {
            let Some((_, other, _)) = moment(&rest).filter(|(at, ..)| *at >= since) else { break };
            let (failed, from) = failures(&body);
            let from = <[u8; 16]>::try_from(from).unwrap_or_default();
            // A withheld number is no line of its own.
            if from != [0; 16] {
                lines.insert(from);
            }
            if other != call && number.is_none_or(|n| n.0 != from) {
                out.failed_on_account = out.failed_on_account.saturating_add(failed);
            }
        }
        out.lines_on_account = count(lines.len());
        out.fraud_on_account = !under(runner, FRAUD_ACCOUNT, &account.0, 1).await?.is_empty();
        (out.odd_hour, out.odd_country) = odd(runner, account, started, line).await?;
    }
    Ok(out)
}

/// Out of how many proved calls none was at this time of day, and none from this country.
async fn odd(runner: &Runner, account: AccountId, started: Timestamp, line: &Line) -> Result<(u32, u32), RunError> {
    const DAY: i64 = Span::days(1).0;
    let country = line.number.as_ref().map(|n| country_of(runner, n).0);
    let (mut calls, mut usual, mut with_country, mut same) = (0, false, 0, false);
    for (rest, body) in under(runner, HABIT, &account.0, MOST).await? {
        let Some((at, _, _)) = moment(&rest) else { continue };
        calls += 1;
        let apart = (at.0 - started.0).rem_euclid(DAY);
        usual |= apart.min(DAY - apart) <= Span::hours(USUAL_HOURS).0;
        if body.iter().any(|b| *b != 0) {
            with_country += 1;
            same |= country.is_some_and(|c| c[..] == body[..]);
        }
    }
    let hour = if calls >= HOURS_NEED && !usual { calls } else { 0 };
    let odd_country = if with_country >= COUNTRIES_NEED && country.is_some() && !same { with_country } else { 0 };
    Ok((hour, odd_country))
}

fn country_of(runner: &Runner, number: &E164) -> Blind { runner.vault.index.blind("country", calling_code(number.expose())) }

/// The country calling code (ITU-T E.164, list of assigned codes): one digit for the zones 1 and 7,
/// two for these, three for the rest.
fn calling_code(number: &str) -> &str {
    const TWO: [&str; 40] = [
        "20", "27", "30", "31", "32", "33", "34", "36", "39", "40", "41", "43", "44", "45", "46", "47", "48", "49", "51", "52", "53", "54", "55", "56",
        "57", "58", "60", "61", "62", "63", "64", "65", "66", "81", "82", "84", "86", "90", "91", "98",
    ];
    const TWO_MORE: [&str; 4] = ["92", "93", "94", "95"];
    let digits = number.trim_start_matches('+');
    let two = digits.get(..2).unwrap_or(digits);
    if digits.starts_with(['1', '7']) {
        digits.get(..1).unwrap_or(digits)
    } else if TWO.contains(&two) || TWO_MORE.contains(&two) {
        two
    } else {
        digits.get(..3).unwrap_or(digits)
    }
}

/// Why a call is related to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Related {
    /// From the same line.
    Line,
    /// About the same account.
    Account,
    /// With the same agent, within a day.
    Agent,
}

impl Related {
    /// In words.
    pub fn words(self) -> &'static str {
        match self { Self::Line => "same line", Self::Account => "same account", Self::Agent => "same agent, within a day" }
    }
}

/// The calls of the last thirty days that share a line, an account, or within a day an agent with this
/// one, newest first, at most so many.
pub async fn related(runner: &Runner, call: &Call, agents: &[AgentId], most: usize) -> Result<Vec<(CallId, Timestamp, Vec<Related>)>, RunError> {
    let mut found: BTreeMap<(std::cmp::Reverse<Timestamp>, CallId), BTreeSet<Related>> = BTreeMap::new();
    let mut keys: Vec<(&'static str, [u8; 16], Related)> = Vec::new();
    keys.extend(call.number.map(|n| (LINE, n.0, Related::Line)));
    keys.extend(call.subject.map(|a| (ACCOUNT, a.0, Related::Account)));
    keys.extend(agents.iter().map(|a| (AGENT, a.0, Related::Agent)));
    for (kind, key, why) in keys {
        for (rest, _) in under(runner, kind, &key, MOST).await? {
            let Some((at, other, _)) = moment(&rest) else { continue };
            let near = (at - call.started).0.abs() <= LATELY.0;
            if other != call.id && (near || why != Related::Agent) {
                found.entry((std::cmp::Reverse(at), other)).or_default().insert(why);
            }
        }
    }
    Ok(found.into_iter().take(most).map(|((at, id), why)| (id, at.0, why.into_iter().collect())).collect())
}

#[cfg(test)]
mod tests {
    use super::calling_code;

    #[test]
    fn countries_are_told_by_their_code() {
        for (number, code) in [("+12025550142", "1"), ("+79991234567", "7"), ("+493012345", "49"), ("+442071838750", "44"), ("+35312345678", "353"), ("+97141234567", "971"), ("+2348012345678", "234")] {
            assert_eq!(calling_code(number), code);
        }
    }
}
