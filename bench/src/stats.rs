//! What was measured: how long each request took, and how many there were.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    future::Future,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// Times of one kind of request, in microseconds.
#[derive(Default)]
struct Times {
    micros: Vec<u32>,
    durable: bool,
}

/// Gathers within a window; what happens before and after it is not counted.
pub struct Recorder {
    window: std::cell::Cell<Option<(Instant, Instant)>>,
    kinds: RefCell<BTreeMap<&'static str, Times>>,
    errors: RefCell<BTreeMap<String, u64>>,
    /// Durable commands from beginning to end, also outside the window: what must be on record.
    pub durable: std::cell::Cell<u64>,
}

impl Recorder {
    pub fn new() -> Self {
        Self { window: Default::default(), kinds: RefCell::default(), errors: RefCell::default(), durable: Default::default() }
    }

    /// Counts from now on for this long.
    pub fn open(&self, length: Duration) { self.window.set(Some((Instant::now(), Instant::now() + length))); }

    fn inside(&self, began: Instant, ended: Instant) -> bool { self.window.get().is_some_and(|(from, to)| began >= from && ended < to) }

    /// Times one request. `durable`: the server had to write it before it could answer.
    pub async fn time<T, E>(&self, kind: &'static str, durable: bool, request: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let began = Instant::now();
        let answer = request.await?;
        let ended = Instant::now();
        if durable {
            self.durable.set(self.durable.get() + 1);
        }
        if self.inside(began, ended) {
            let mut kinds = self.kinds.borrow_mut();
            let times = kinds.entry(kind).or_default();
            times.durable = durable;
            times.micros.push(u32::try_from((ended - began).as_micros()).unwrap_or(u32::MAX));
        }
        Ok(answer)
    }

    /// Something went wrong, at any time.
    pub fn failed(&self, what: impl Into<String>) { *self.errors.borrow_mut().entry(what.into()).or_default() += 1; }

    pub fn errors(&self) -> BTreeMap<String, u64> { self.errors.borrow().clone() }

    pub fn kinds(&self) -> BTreeMap<&'static str, Spread> {
        self.kinds.borrow().iter().map(|(kind, times)| (*kind, Spread::of(times.micros.clone()))).collect()
    }

    /// One kind of request by itself.
    pub fn kind(&self, kind: &str) -> Spread { self.kinds.borrow().get(kind).map(|times| Spread::of(times.micros.clone())).unwrap_or_default() }

    /// All durable requests together.
    pub fn all_durable(&self) -> Spread {
        Spread::of(self.kinds.borrow().values().filter(|t| t.durable).flat_map(|t| t.micros.iter().copied()).collect())
    }
}

/// How times are spread, in milliseconds.
#[derive(Clone, Copy, Default)]
pub struct Spread {
    pub count: usize,
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

impl Spread {
    pub fn of(mut micros: Vec<u32>) -> Self {
        micros.sort_unstable();
        let at = |share: f64| {
            // Nearest rank: the smallest time that this share of the requests did not exceed.
            let rank = (share * micros.len() as f64).ceil().max(1.0) as usize;
            micros.get(rank - 1).map_or(0.0, |m| f64::from(*m) / 1000.0)
        };
        Self { count: micros.len(), p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }

    pub fn json(&self) -> Value { json!({ "count": self.count, "p50_ms": self.p50, "p99_ms": self.p99, "max_ms": self.max }) }
}

/// The middle of some figures.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_nearest() {
        let spread = Spread::of((1..=100).map(|n| n * 1000).collect());
        assert_eq!((spread.p50, spread.p99, spread.max), (50.0, 99.0, 100.0));
        assert_eq!(Spread::of(vec![7000]).p99, 7.0);
        assert_eq!(Spread::of(Vec::new()).max, 0.0);
    }
}
