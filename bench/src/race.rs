//! The race of guesses: very many guesses at one token's code at the same moment, all but one of them
//! wrong. What counts is how many were looked at, and whether the right one was accepted after the limit.

use std::{cell::RefCell, collections::HashSet, net::SocketAddr, path::Path, rc::Rc, time::Instant};

use serde_json::{Value, json};
use tokio::task::spawn_local;

use crate::{
    Fail,
    checks::Target,
    http::{Answer, Client},
    otp,
    peer::{Peer, Setting},
    site::{Server, Site, token_key},
};

/// Wrong codes in a row that are looked at, by default: `throttle` of `[calls]`.
const OURS: usize = 5;
/// The same of privacyIDEA: its failcounter's maximum.
const THEIRS: usize = 10;
/// Countersign's nodes, if they can share a record.
const NODES: usize = 3;
/// No guess is right for one of these counters: a window of counters is looked through.
const COUNTERS: u64 = 1000;

/// How large a race is.
#[derive(Clone, Copy)]
pub struct Race {
    /// Guesses at the same time.
    pub guesses: usize,
    /// Races, each at a token of its own.
    pub rounds: u32,
}

/// What was answered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    Accepted,
    Wrong,
    /// Not looked at: too many wrong ones before.
    Shut,
    /// One of the two: Countersign does not tell whoever guesses.
    Refused,
    /// Later, please: nothing was decided.
    Busy,
    Broken,
}

fn said(target: &Target, answer: &Answer<'_>) -> Said {
    match target {
        _ if target.accepted(answer) => Said::Accepted,
        _ if answer.status == 503 => Said::Busy,
        _ if !answer.ok() => Said::Broken,
        Target::Countersign { .. } => Said::Refused,
        Target::PrivacyIdea if answer.body.contains("Failcounter exceeded") => Said::Shut,
        Target::PrivacyIdea if answer.body.contains("wrong otp") => Said::Wrong,
        Target::PrivacyIdea => Said::Broken,
    }
}

/// Whether the right code comes soon after the limit in the race at this token.
fn soon(token: u32) -> bool { token.is_multiple_of(2) }

/// One guess; the right code is one of them.
struct Guess {
    code: String,
    right: bool,
}

impl Race {
    /// The same guesses in every run. Wrong codes are in no order; the right one is in the middle half, and in
    /// every second race soon after the limit: there it is found whether the limit closes in time.
    fn guesses(self, token: u32, limit: usize) -> Vec<Guess> {
        let key = token_key(token);
        let mut used: HashSet<String> = (0..COUNTERS).map(|counter| otp::code(&key, counter)).collect();
        let mut seeded = (0u64..).map(|n| otp::code(&otp::hmac_sha1(b"race", &[&token.to_be_bytes()]), n));
        let mut guesses: Vec<Guess> = seeded.by_ref().filter(|code| used.insert(code.clone())).take(self.guesses.saturating_sub(1)).map(|code| Guess { code, right: false }).collect();
        let somewhere = seeded.next().and_then(|code| code.parse::<usize>().ok()).unwrap_or(0) % (self.guesses / 2).max(1);
        let place = if soon(token) { limit + limit / 2 } else { self.guesses / 4 + somewhere };
        guesses.insert(place.min(guesses.len()), Guess { code: otp::code(&key, 0), right: true });
        guesses
    }

    /// All guesses at one token, in as many connections as there are guesses.
    async fn round(self, target: &Rc<Target>, addresses: &[SocketAddr], token: u32, limit: usize) -> Result<Value, Fail> {
        let mut lines = Vec::new();
        for (guess, address) in self.guesses(token, limit).into_iter().zip(addresses.iter().cycle()) {
            let mut line = Client::new(*address);
            line.open().await?;
            lines.push((line, guess));
        }
        let heard: Rc<RefCell<Vec<(Said, bool)>>> = Rc::default();
        let began = Instant::now();
        let all: Vec<_> = lines.into_iter().map(|(mut line, guess)| {
            let (target, heard) = (target.clone(), heard.clone());
            spawn_local(async move {
                let said = target.ask(&mut line, token, &guess.code).await.map_or(Said::Broken, |answer| said(&target, &answer));
                heard.borrow_mut().push((said, guess.right));
            })
        }).collect();
        for one in all {
            one.await?;
        }
        let seconds = began.elapsed().as_secs_f64();
        let heard = heard.borrow();
        let count = |what: Said| heard.iter().filter(|(said, _)| *said == what).count();
        // In the order in which the answers came. Countersign's record knows better, and comes in its place.
        let looks: Vec<bool> = heard.iter().filter(|(said, _)| matches!(said, Said::Wrong | Said::Accepted)).map(|(said, _)| *said == Said::Accepted).collect();
        let mut told = json!({
            "right_one": if soon(token) { "soon after the limit" } else { "in the middle" }, "seconds": seconds, "accepted": count(Said::Accepted), "wrong": count(Said::Wrong), "shut": count(Said::Shut), "refused": count(Said::Refused),
            "busy": count(Said::Busy), "broken": count(Said::Broken),
        });
        tell(&mut told, &looks, limit);
        Ok(told)
    }

    /// A right code at the first token, so that it is seen that one is taken; then a race at each of the others.
    async fn all(self, target: Target, addresses: &[SocketAddr], limit: usize) -> Result<Vec<Value>, Fail> {
        let target = Rc::new(target);
        let first = addresses.first().ok_or("nobody is there to be asked")?;
        target.check(&mut Client::new(*first), 0, &otp::code(&token_key(0), 0)).await?;
        let mut rounds = Vec::new();
        for token in 1..=self.rounds {
            rounds.push(self.round(&target, addresses, token, limit).await?);
        }
        Ok(rounds)
    }

    /// Against Countersign: several nodes on one record, if it is in PostgreSQL.
    pub async fn countersign(self, site: &Site, twilio: SocketAddr) -> Result<Value, Fail> {
        site.import(0, self.rounds + 1)?;
        let count = if site.postgres.is_some() { NODES } else { 1 };
        let mut nodes: Vec<(Site, Server)> = Vec::new();
        for n in 0..count {
            let node = if n == 0 { site.clone() } else { site.node(n, twilio)? };
            let mut server = node.start(&node.config)?;
            server.ready().await?;
            nodes.push((node, server));
        }
        let addresses: Vec<SocketAddr> = nodes.iter().map(|(node, _)| node.address).collect();
        let mut rounds = self.all(Target::countersign(site), &addresses, OURS).await?;
        for (_, server) in nodes {
            server.stop()?;
        }
        let looked = looked(&site.exported()?)?;
        if looked.len() != rounds.len() + 1 {
            return Err(format!("{} tokens were guessed at, and {} are on record", rounds.len() + 1, looked.len()).into());
        }
        // Each token has a stream of its own, and they were guessed at one after the other.
        for (round, looks) in rounds.iter_mut().zip(looked.iter().skip(1)) {
            tell(round, looks, OURS);
        }
        let place = if count == 1 { "one node on SQLite: several need PostgreSQL".to_owned() } else { format!("{count} nodes on one PostgreSQL schema") };
        Ok(json!({ "who": "Countersign", "how": place, "guesses": self.guesses, "limit": OURS, "rounds": rounds }))
    }

    /// Against privacyIDEA, as installed.
    pub async fn peer(self, venv: &Path, dir: &Path) -> Result<Value, Fail> {
        let peer = Peer::start(venv, dir, Setting::Default, self.rounds + 1).await?;
        let rounds = self.all(Target::PrivacyIdea, &[peer.address], THEIRS).await?;
        Ok(json!({ "who": "privacyIDEA", "how": format!("{} workers, SQLite, as installed", crate::peer::WORKERS), "guesses": self.guesses, "limit": THEIRS, "rounds": rounds }))
    }
}

/// What was looked at, by the record: for each token in its turn, whether each code was right.
fn looked(exported: &str) -> Result<Vec<Vec<bool>>, Fail> {
    let mut streams: Vec<(String, Vec<bool>)> = Vec::new();
    for line in exported.lines() {
        let row: Value = serde_json::from_str(line)?;
        if row.pointer("/event/type").and_then(Value::as_str) != Some("checked") {
            continue;
        }
        let stream = row.get("stream").and_then(Value::as_str).ok_or("an event of no stream")?;
        let accepted = row.pointer("/event/accepted").and_then(Value::as_bool).ok_or("a check without an answer")?;
        match streams.iter_mut().find(|(name, _)| name == stream) {
            Some((_, looks)) => looks.push(accepted),
            None => streams.push((stream.to_owned(), vec![accepted])),
        }
    }
    Ok(streams.into_iter().map(|(_, looks)| looks).collect())
}

/// What was looked at in one race, and what of it should not have been.
fn tell(round: &mut Value, looks: &[bool], limit: usize) {
    let over = after(looks, limit);
    let accepted = over.iter().filter(|right| **right).count();
    if let Some(round) = round.as_object_mut() {
        round.insert("evaluated".into(), json!(looks.len()));
        round.insert("after_the_limit".into(), json!(over.len()));
        round.insert("accepted_after_the_limit".into(), json!(accepted));
    }
}

/// Those that were looked at although there were as many wrong ones in a row before as are allowed.
fn after(looks: &[bool], limit: usize) -> Vec<bool> {
    let mut wrong = 0;
    let mut over = Vec::new();
    for right in looks {
        if wrong >= limit {
            over.push(*right);
        }
        wrong = if *right { 0 } else { wrong + 1 };
    }
    over
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_guess_is_right_and_in_its_place() {
        let race = Race { guesses: 1000, rounds: 1 };
        for token in 1..20 {
            let guesses = race.guesses(token, 10);
            let right: Vec<usize> = guesses.iter().enumerate().filter(|(_, g)| g.right).map(|(n, _)| n).collect();
            assert_eq!((guesses.len(), right.len()), (1000, 1));
            assert!(if soon(token) { right[0] == 15 } else { (250..750).contains(&right[0]) }, "{right:?}");
            assert_eq!(guesses.iter().map(|g| &g.code).collect::<HashSet<_>>().len(), 1000);
        }
    }

    #[test]
    fn what_comes_after_the_limit_is_counted() {
        assert!(after(&[false; 5], 5).is_empty());
        assert_eq!(after(&[false; 7], 5), [false; 2]);
        assert!(after(&[false, false, false, false, true, false, false, false, false, false], 5).is_empty());
        assert_eq!(after(&[false, false, false, false, false, true, false], 5), [true]);
    }

    #[test]
    fn looks_are_read_by_stream() {
        let line = |stream: &str, accepted: bool| format!("{{\"event\":{{\"accepted\":{accepted},\"type\":\"checked\"}},\"seq\":1,\"stream\":\"{stream}\"}}\n");
        let text = [line("check/aa", true), "{\"event\":{\"type\":\"imported\"},\"seq\":1,\"stream\":\"account/aa\"}\n".into(), line("check/bb", false), line("check/aa", false)].concat();
        assert_eq!(looked(&text).unwrap(), [vec![true, false], vec![false]]);
    }
}
