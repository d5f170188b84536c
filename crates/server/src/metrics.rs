//! What is counted. Labels are kinds and names of ours, never a number, a name or an account.

use std::sync::{
    OnceLock,
    atomic::{AtomicI64, AtomicU64},
};

use countersign_core::{
    call::{Call, Deny, Event, Recorded},
    factor::FactorKind,
};
use countersign_sip::Figures;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// A factor.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByFactor {
    /// Its name.
    pub factor: String,
}

/// A name of ours.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByName {
    /// Which.
    pub name: String,
}

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    /// Calls that came in.
    pub calls: Counter,
    /// Calls that ended, by how.
    pub ended: Family<ByName, Counter>,
    /// Challenges, by factor.
    pub asked: Family<ByFactor, Counter>,
    /// Proofs, by factor.
    pub proved: Family<ByFactor, Counter>,
    /// Wrong entries, by factor.
    pub wrong: Family<ByFactor, Counter>,
    /// Seconds from the start of a call to its first proof.
    pub time_to_prove: Histogram,
    /// Actions that policy did not permit, by deciding policy.
    pub refused: Family<ByName, Counter>,
    /// Steps that a limit refused, by limit.
    pub limited: Family<ByName, Counter>,
    /// Messages, by how they fared.
    pub messages: Family<ByName, Counter>,
    /// Requests that were turned away, by why.
    pub turned_away: Family<ByName, Counter>,
    /// How the SIP gateway is.
    gateway: OnceLock<Box<dyn Fn() -> Figures + Send + Sync>>,
    sip: Family<ByName, Gauge<i64, AtomicI64>>,
    /// Checked signatures of calling numbers, by what they were worth.
    pub signatures: Family<ByName, Counter>,
    /// Calls in memory.
    pub live: Gauge<i64, AtomicI64>,
    /// Commits waiting for the writer.
    pub queued: Gauge<i64, AtomicI64>,
    /// Entries of the Merkle log.
    pub log_entries: Gauge<i64, AtomicI64>,
    /// Events on record that are in no checkpoint yet.
    pub log_behind: Gauge<i64, AtomicI64>,
    /// 1: the log is damaged, or somebody has seen more of it, and nothing is signed any more.
    pub log_stopped: Gauge<i64, AtomicI64>,
    /// Entries whose tiles were computed anew in the round that goes on or was the last.
    pub log_surveyed: Gauge<i64, AtomicI64>,
    /// Seconds that the oldest of them has waited.
    pub log_waiting: Gauge<f64, AtomicU64>,
    /// How far this machine's clock is ahead of the database's, which is gone by.
    pub clock_off: Gauge<f64, AtomicU64>,
    /// Witnesses that have signed the last checkpoint.
    pub log_witnesses: Gauge<i64, AtomicI64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds = [5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 240.0, 480.0];
        let mut this = Self {
            registry: Registry::with_prefix("countersign"),
            calls: Counter::<u64, AtomicU64>::default(),
            ended: Family::default(),
            asked: Family::default(),
            proved: Family::default(),
            wrong: Family::default(),
            time_to_prove: Histogram::new(seconds),
            refused: Family::default(),
            limited: Family::default(),
            messages: Family::default(),
            turned_away: Family::default(),
            gateway: OnceLock::new(),
            sip: Family::default(),
            signatures: Family::default(),
            live: Gauge::default(),
            queued: Gauge::default(),
            log_entries: Gauge::default(),
            log_behind: Gauge::default(),
            log_stopped: Gauge::default(),
            log_surveyed: Gauge::default(),
            log_waiting: Gauge::default(),
            clock_off: Gauge::default(),
            log_witnesses: Gauge::default(),
        };
        let r = &mut this.registry;
        r.register("calls", "Calls that came in", this.calls.clone());
        r.register("calls_ended", "Calls that ended, by how", this.ended.clone());
        r.register("challenges", "Challenges, by factor", this.asked.clone());
        r.register("proofs", "Challenges that succeeded, by factor", this.proved.clone());
        r.register("wrong_entries", "Wrong entries, by factor", this.wrong.clone());
        r.register("time_to_prove_seconds", "Seconds from the start of a call to its first proof", this.time_to_prove.clone());
        r.register("refusals", "Actions that were not permitted, by deciding policy", this.refused.clone());
        r.register("limited", "Steps that a limit refused, by limit", this.limited.clone());
        r.register("messages", "Messages to customers, by how they fared", this.messages.clone());
        r.register("turned_away", "Requests that were turned away, by why", this.turned_away.clone());
        r.register("signatures", "Signatures of calling numbers that were checked, by what they were worth", this.signatures.clone());
        r.register("sip", "The SIP gateway: calls and free places now; since the start, calls without a place, requests and packets turned away, packets of audio lost, keys, agents connected", this.sip.clone());
        r.register("live_calls", "Calls in memory", this.live.clone());
        r.register("commit_queue", "Commits waiting for the writer", this.queued.clone());
        r.register("log_entries", "Entries of the Merkle log", this.log_entries.clone());
        r.register("log_stopped", "Whether the Merkle log is damaged, or somebody has seen more of it, so that nothing is signed any more: 0 or 1", this.log_stopped.clone());
        r.register("log_surveyed", "Entries of the Merkle log whose tiles were computed anew in the round that goes on or was the last", this.log_surveyed.clone());
        r.register("log_behind", "Events on record that are in no checkpoint yet", this.log_behind.clone());
        r.register("clock_off_seconds", "How far this machine's clock is ahead of the shared database's, which is gone by", this.clock_off.clone());
        r.register("log_waiting_seconds", "How long the oldest of them has waited", this.log_waiting.clone());
        r.register("log_witnesses", "Witnesses that have signed the last checkpoint", this.log_witnesses.clone());
        this
    }
}

impl Metrics {
    /// Counts what a step did.
    pub fn took(&self, before: &Call, after: &Call, events: &[Recorded]) {
        for recorded in events {
            match &recorded.event {
                Event::Started { .. } => drop(self.calls.inc()),
                Event::Challenged { challenge } => drop(self.asked.get_or_create(&factor(challenge.kind)).inc()),
                Event::Proved { kind, .. } => {
                    self.proved.get_or_create(&factor(*kind)).inc();
                    if before.proofs.is_empty() {
                        let seconds = (recorded.at - after.started).ceil_seconds();
                        self.time_to_prove.observe(f64::from(i32::try_from(seconds).unwrap_or(i32::MAX)));
                    }
                }
                Event::ChallengeFailed { .. } => {
                    if let Some(challenge) = before.challenge.as_ref() {
                        self.wrong.get_or_create(&factor(challenge.kind)).inc();
                    }
                }
                Event::ServiceCodeFailed => drop(self.wrong.get_or_create(&factor(FactorKind::ServiceCode)).inc()),
                Event::Decided { decision, .. } if !decision.permits() => {
                    for policy in &decision.policies {
                        self.refused.get_or_create(&name(policy)).inc();
                    }
                    if decision.policies.is_empty() {
                        self.refused.get_or_create(&name("nothing_permits")).inc();
                    }
                }
                Event::Ended { ending } => drop(self.ended.get_or_create(&name(&format!("{ending:?}").to_lowercase())).inc()),
                _ => {}
            }
        }
    }

    /// Counts a step that a limit refused.
    pub fn denied(&self, deny: Deny) {
        let text = format!("{deny:?}").to_lowercase();
        self.limited.get_or_create(&name(text.split('(').next().unwrap_or("other"))).inc();
    }

    /// Counts a message.
    pub fn message(&self, how: &str) { self.messages.get_or_create(&name(how)).inc(); }

    /// Counts a signature that was checked.
    pub fn signed(&self, worth: &str) { self.signatures.get_or_create(&name(worth)).inc(); }

    /// Counts a request that was turned away.
    pub fn turn_away(&self, why: &str) { self.turned_away.get_or_create(&name(why)).inc(); }

    /// Looks at the SIP gateway whenever somebody asks.
    pub fn gateway(&self, look: impl Fn() -> Figures + Send + Sync + 'static) { let _ = self.gateway.set(Box::new(look)); }

    fn look_at_gateway(&self) {
        let Some(look) = self.gateway.get() else { return };
        let Figures { calls, free, dialogs, over_rate, strangers, malformed, connections, over_connections, refused, lost, keys, joined } = look();
        let now = [("calls", calls), ("free", free), ("dialogs", dialogs), ("connections", connections)].map(|(of, n)| (of, u64::try_from(n).unwrap_or(u64::MAX)));
        let since = [
            ("over_rate", over_rate), ("strangers", strangers), ("malformed", malformed), ("over_connections", over_connections), ("refused", refused), ("packets_lost", lost), ("keys", keys), ("agents_joined", joined),
        ];
        for (of, n) in now.into_iter().chain(since) {
            self.sip.get_or_create(&name(of)).set(i64::try_from(n).unwrap_or(i64::MAX));
        }
    }

    /// The Prometheus text format.
    pub fn render(&self) -> String {
        self.look_at_gateway();
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut out, &self.registry);
        out
    }
}

fn factor(kind: FactorKind) -> ByFactor { ByFactor { factor: kind.name().into() } }

fn name(name: &str) -> ByName { ByName { name: name.into() } }
