//! Which time a node goes by. One that has its record to itself goes by its machine's. Several nodes over one
//! database go by the database's: limits, codes and leases end for all of them at the same moment, whatever the
//! clock of a machine says. A clock that jumps is not followed either: between two looks at the database time goes
//! on as steadily as the processor counts it.

use std::{
    sync::{Arc, atomic::{AtomicBool, AtomicI64, Ordering}},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use countersign_core::time::{Span, Timestamp};
use countersign_store::{ReadError, Store};

/// Now, from the operating system.
pub fn system_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// How often the database's time is looked at.
pub const EVERY: Duration = Duration::from_secs(5);
/// An answer that took longer says nothing.
const SLOW: Duration = Duration::from_secs(1);
/// How often it is asked at a start until an answer says something.
const TRIES: usize = 5;
/// Differences below this, in milliseconds, are those of the way to the database.
const BLUR: i64 = 100;
/// A machine's clock that is wrong by more than this is worth a word.
const WRONG: Span = Span::seconds(2);
/// Beyond this nothing is destroyed because its time is over: one of the two is far off, and nobody can say which.
const FAR: Span = Span::hours(1);
/// Nothing was looked at yet.
const UNKNOWN: i64 = i64::MIN;

/// The time of the database that several nodes share.
pub struct SharedClock {
    began: Instant,
    /// The database's time when this clock began, in milliseconds since the epoch.
    epoch: AtomicI64,
    /// How far this machine's clock was ahead of it at the last look, in milliseconds.
    ahead: AtomicI64,
    said: AtomicBool,
}

fn millis(time: Duration) -> i64 { i64::try_from(time.as_millis()).unwrap_or(i64::MAX) }

impl SharedClock {
    fn new() -> Self { Self { began: Instant::now(), epoch: AtomicI64::new(UNKNOWN), ahead: AtomicI64::new(0), said: AtomicBool::new(false) } }

    /// The clock of this store. `None`: nobody else writes to it, and the machine's clock is the one.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn of(store: &Store) -> Result<Option<Arc<Self>>, ReadError> {
        if !store.is_shared() {
            return Ok(None);
        }
        let clock = Self::new();
        for _ in 0..TRIES {
            if clock.look(store).await?.is_some() {
                return Ok(Some(Arc::new(clock)));
            }
        }
        Err(ReadError::Busy)
    }

    /// Now, by the database.
    pub fn now(&self) -> Timestamp { Timestamp(self.epoch.load(Ordering::Relaxed).saturating_add(millis(self.began.elapsed()))) }

    /// Looks at the database's time. Returns how far this machine's clock is ahead of it; `None`: the answer came
    /// too late to say.
    ///
    /// # Errors
    /// The database does not answer: time goes on as it did.
    pub async fn look(&self, store: &Store) -> Result<Option<Span>, ReadError> {
        let before = self.began.elapsed();
        let Some(theirs) = store.time().await? else { return Ok(None) };
        let after = self.began.elapsed();
        if !self.told(before, after, theirs) {
            return Ok(None);
        }
        let ahead = system_clock() - self.now();
        self.ahead.store(ahead.0, Ordering::Relaxed);
        let wrong = ahead > WRONG || ahead < Span(-WRONG.0);
        if wrong && !self.said.swap(true, Ordering::Relaxed) {
            tracing::warn!(ahead_seconds = ahead.0 as f64 / 1000.0, "this machine's clock and the database's differ: the database's is gone by. Set both by NTP");
        }
        if !wrong {
            self.said.store(false, Ordering::Relaxed);
        }
        Ok(Some(ahead))
    }

    /// Whether two clocks agree well enough to destroy something because its time is over.
    pub fn agrees(&self) -> bool { self.ahead.load(Ordering::Relaxed).saturating_abs() <= FAR.0 }

    /// Takes in what the database said between these two moments. False: it says nothing.
    fn told(&self, before: Duration, after: Duration, theirs: i64) -> bool {
        let took = after.saturating_sub(before);
        let known = self.epoch.load(Ordering::Relaxed);
        if took > SLOW {
            return false;
        }
        let epoch = theirs.saturating_sub(millis(before + took / 2));
        if known == UNKNOWN || epoch.saturating_sub(known).saturating_abs() > BLUR.saturating_add(millis(took / 2)) {
            self.epoch.store(epoch, Ordering::Relaxed);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Duration { Duration::from_secs_f64(seconds) }

    /// The way there and back is halved; what is within its doubt changes nothing, and more is followed.
    #[test]
    fn the_database_is_followed_and_its_way_is_not() {
        let clock = SharedClock::new();
        let epoch = || clock.epoch.load(Ordering::Relaxed);
        assert!(clock.told(at(1.0), at(1.2), 1_000_001_100));
        assert_eq!(epoch(), 1_000_000_000);
        // 150 ms off, of which 100 are always forgiven and 100 are the doubt of this answer.
        assert!(clock.told(at(2.0), at(2.2), 1_000_002_250));
        assert_eq!(epoch(), 1_000_000_000);
        // The database's clock was put back by a minute: all nodes follow.
        assert!(clock.told(at(3.0), at(3.0), 999_943_000));
        assert_eq!(epoch(), 999_940_000);
        // An answer that took too long says nothing, whatever it says.
        assert!(!clock.told(at(4.0), at(5.5), 5));
        assert_eq!(epoch(), 999_940_000);
        // Times that are none do not overflow.
        for theirs in [i64::MIN, i64::MAX] {
            assert!(clock.told(at(6.0), at(6.0), theirs));
            clock.now();
        }
    }

    /// A database that is years ahead takes nobody's data with it.
    #[test]
    fn clocks_that_differ_by_hours_destroy_nothing() {
        let clock = SharedClock::new();
        for (ahead, agrees) in [(0, true), (3_600_000, true), (-3_600_001, false), (i64::MIN, false), (i64::MAX, false)] {
            clock.ahead.store(ahead, Ordering::Relaxed);
            assert_eq!(clock.agrees(), agrees, "{ahead}");
        }
    }

    #[tokio::test]
    async fn a_record_of_ones_own_goes_by_the_machine() {
        assert!(SharedClock::of(&Store::memory()).await.unwrap().is_none());
    }
}
