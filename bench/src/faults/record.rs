//! What the record holds, as the program exports it, beside what callers were told.

use std::collections::HashMap;

use serde_json::Value;

use super::callers::Told;
use crate::Fail;

/// What happens once on a call of the bench, whatever comes twice.
const ONCE: [&str; 5] = ["started", "proved", "music_chosen", "queued", "ended"];

/// One call on record.
#[derive(Default)]
struct Call {
    /// Its last event's number.
    events: u64,
    /// How often each kind of event is there.
    kinds: HashMap<String, u64>,
    account: Option<String>,
}

impl Call {
    fn count(&self, kind: &str) -> u64 { self.kinds.get(kind).copied().unwrap_or_default() }
}

/// Everything on record.
pub struct Record {
    /// Events in all.
    pub events: u64,
    /// Numbers that are not the next after the one before, in the log or in a call.
    broken: u64,
    /// The calls of each customer, in the order in which they began.
    calls: HashMap<u32, Vec<Call>>,
}

/// What is not as it was told.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Judged {
    /// Events that somebody was told of, by an answer that came after them.
    pub missing: u64,
    /// Events beyond the one that a command leads to, and calls that nobody made.
    pub twice: u64,
    /// Codes that proved more than once.
    pub codes_twice: u64,
    /// Numbers of events that are missing or there twice.
    pub broken: u64,
}

impl Judged {
    /// What came to it since then.
    pub fn since(self, before: Self) -> Self {
        Self {
            missing: self.missing.saturating_sub(before.missing), twice: self.twice.saturating_sub(before.twice),
            codes_twice: self.codes_twice.saturating_sub(before.codes_twice), broken: self.broken.saturating_sub(before.broken),
        }
    }
}

impl Record {
    /// Reads an export. Customers are known by their place in the file that they were imported from.
    pub fn read(exported: &str) -> Result<Self, Fail> {
        let mut this = Self { events: 0, broken: 0, calls: HashMap::new() };
        let (mut accounts, mut order, mut calls): (HashMap<String, u32>, Vec<String>, HashMap<String, Call>) = Default::default();
        for line in exported.lines() {
            let row: Value = serde_json::from_str(line)?;
            let number = |path: &str| row.pointer(path).and_then(Value::as_u64);
            let kind = row.pointer("/event/type").and_then(Value::as_str).ok_or("an event of no kind")?;
            let (of, id) = row.get("stream").and_then(Value::as_str).and_then(|stream| stream.split_once('/')).ok_or("an event of no stream")?;
            this.events += 1;
            this.broken += u64::from(number("/seq") != Some(this.events));
            match of {
                "account" if kind == "imported" => {
                    let place = u32::try_from(accounts.len())?;
                    accounts.insert(format!("acct_{id}"), place);
                }
                "call" => {
                    let call = calls.entry(id.to_owned()).or_insert_with(|| {
                        order.push(id.to_owned());
                        Call::default()
                    });
                    this.broken += u64::from(number("/event/n") != Some(call.events + 1));
                    call.events = number("/event/n").unwrap_or(call.events);
                    *call.kinds.entry(kind.to_owned()).or_default() += 1;
                    if kind == "identified" {
                        call.account = row.pointer("/event/account").and_then(Value::as_str).map(str::to_owned);
                    }
                }
                _ => {}
            }
        }
        for call in order.iter().filter_map(|id| calls.remove(id)) {
            let customer = call.account.as_ref().and_then(|account| accounts.get(account)).ok_or("a call on record is nobody's")?;
            this.calls.entry(*customer).or_default().push(call);
        }
        Ok(this)
    }

    /// Compares with what was told on all calls of these customers. `with_app`: customers below this number
    /// have an app, whose code was one and the same on all of their calls.
    pub fn judge(&self, told: &[Told], with_app: u32) -> Judged {
        let mut judged = Judged { broken: self.broken, ..Judged::default() };
        let mut by_customer: HashMap<u32, Vec<&Told>> = HashMap::new();
        for one in told {
            by_customer.entry(one.customer).or_default().push(one);
        }
        for (customer, told) in by_customer {
            let calls = self.calls.get(&customer).map(Vec::as_slice).unwrap_or_default();
            for (place, one) in told.iter().enumerate() {
                let call = calls.get(place);
                judged.missing += one.events.saturating_sub(call.map_or(0, |call| call.events));
                judged.missing += u64::from(one.over && call.is_none_or(|call| call.count("ended") == 0));
            }
            judged.twice += calls.len().saturating_sub(told.len()) as u64;
            judged.twice += calls.iter().flat_map(|call| ONCE.map(|kind| call.count(kind).saturating_sub(1))).sum::<u64>();
            if customer < with_app {
                judged.codes_twice += calls.iter().map(|call| call.count("proved")).sum::<u64>().saturating_sub(1);
            }
        }
        judged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An export of these events of these streams.
    fn exported(rows: &[(&str, &str)]) -> String {
        let mut counts: HashMap<&str, u64> = HashMap::new();
        let mut out = String::new();
        for (seq, (stream, kind)) in (1..).zip(rows) {
            let n = counts.entry(*stream).or_default();
            *n += 1;
            out.push_str(&format!("{{\"event\":{{\"account\":\"acct_a1\",\"n\":{n},\"type\":\"{kind}\"}},\"seq\":{seq},\"stream\":\"{stream}\"}}\n"));
        }
        out
    }

    fn told(events: u64, over: bool) -> Told { Told { customer: 1, events, over } }

    #[test]
    fn what_was_told_is_compared_call_by_call() {
        let mut rows = vec![("account/a0", "imported"), ("account/a1", "imported")];
        rows.extend(["started", "identified", "proved", "queued", "ended"].map(|kind| ("call/c0", kind)));
        rows.extend(["started", "identified"].map(|kind| ("call/c1", kind)));
        let record = Record::read(&exported(&rows)).unwrap();
        assert_eq!((record.events, record.broken), (9, 0));
        assert_eq!(record.judge(&[told(4, true), told(2, false)], 9), Judged::default());
        // The second has one event less than was told, and no end.
        assert_eq!(record.judge(&[told(4, true), told(3, true)], 9), Judged { missing: 2, ..Judged::default() });
        // Somebody else's call is told apart by its customer alone: one that nobody made is too many.
        assert_eq!(record.judge(&[told(4, true)], 9), Judged { twice: 1, ..Judged::default() });
        rows.extend(["proved", "queued", "queued"].map(|kind| ("call/c1", kind)));
        let record = Record::read(&exported(&rows)).unwrap();
        assert_eq!(record.judge(&[told(4, true), told(2, false)], 9), Judged { twice: 1, codes_twice: 1, ..Judged::default() });
        assert_eq!(record.judge(&[told(4, true), told(2, false)], 0).codes_twice, 0);
    }

    #[test]
    fn numbers_that_are_missing_or_there_twice_are_seen() {
        let whole = exported(&[("account/a1", "imported"), ("call/c0", "started"), ("call/c0", "identified")]);
        assert_eq!(Record::read(&whole).unwrap().broken, 0);
        assert_eq!(Record::read(&whole.replace("\"n\":2", "\"n\":3")).unwrap().broken, 1);
        assert_eq!(Record::read(&whole.replace("\"seq\":3", "\"seq\":2")).unwrap().broken, 1);
    }
}
