//! Whether a PASSporT was seen before: within the minute in which it is fresh, it could be sent again
//! with another call (RFC 8224 §12.1).

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};

use crate::Number;
use crate::claims::FRESH;

/// A PASSporT by its `origid`, `iat`, `orig` and `dest`, hashed: no number can be read from it, though
/// one who guesses all four can test the guess.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplayKey {
    /// First, so that keys are ordered by when they may be forgotten.
    until: u64,
    hash: [u8; 32],
}

impl ReplayKey {
    pub(crate) fn new(origid: &str, iat: u64, orig: &Number, dest: &[Number]) -> Self {
        let mut text = format!("{}\n{iat}\n{}", origid.to_ascii_lowercase(), orig.digits());
        for number in dest {
            text.push('\n');
            text.push_str(number.digits());
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        Self {
            until: iat.saturating_add(FRESH),
            hash,
        }
    }

    /// 32 bytes under which to keep it.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.hash
    }

    /// Until then, in seconds since the epoch and inclusive, the PASSporT is fresh. Later the key may be
    /// forgotten.
    #[must_use]
    pub fn until(&self) -> u64 {
        self.until
    }
}

impl fmt::Debug for ReplayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayKey")
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

/// What a [`ReplayCache`] says about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It was not there, and is now.
    New,
    /// It was there.
    Again,
    /// There is no room to remember it. Nothing is thrown out to make room: who could fill the cache
    /// could then replay.
    Full,
}

/// The keys of the last two minutes, in memory, for one process. Several nodes keep them in a place
/// they share instead: see [`crate::Verdict::replay`].
pub struct ReplayCache {
    most: usize,
    keys: Mutex<BTreeSet<ReplayKey>>,
}

impl ReplayCache {
    /// Room for so many keys. Each takes about 60 bytes and is kept for at most two minutes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            most,
            keys: Mutex::default(),
        }
    }

    /// Asks and remembers in one step. `now` in seconds since the epoch.
    pub fn see(&self, key: ReplayKey, now: u64) -> Seen {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        while keys.first().is_some_and(|first| first.until < now) {
            keys.pop_first();
        }
        if keys.contains(&key) {
            Seen::Again
        } else if keys.len() >= self.most {
            Seen::Full
        } else {
            keys.insert(key);
            Seen::New
        }
    }
}

impl fmt::Debug for ReplayCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayCache")
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(origid: &str, iat: u64, orig: &str, dest: &[&str]) -> ReplayKey {
        let n = |text: &&str| Number::canonical(text).unwrap();
        ReplayKey::new(
            origid,
            iat,
            &n(&orig),
            &dest.iter().map(n).collect::<Vec<_>>(),
        )
    }

    #[test]
    fn a_key_is_new_once() {
        let cache = ReplayCache::new(10);
        assert_eq!(cache.see(key("x", 100, "1", &["2"]), 100), Seen::New);
        assert_eq!(cache.see(key("x", 100, "1", &["2"]), 160), Seen::Again);
        assert_eq!(cache.see(key("X", 100, "1", &["2"]), 160), Seen::Again);
        for other in [
            key("y", 100, "1", &["2"]),
            key("x", 101, "1", &["2"]),
            key("x", 100, "12", &["2"]),
            key("x", 100, "1", &["2", "3"]),
            key("x", 100, "1", &["23"]),
        ] {
            assert_eq!(cache.see(other, 100), Seen::New);
        }
    }

    #[test]
    fn a_full_cache_says_so_and_forgets_what_is_stale() {
        let cache = ReplayCache::new(2);
        assert_eq!(cache.see(key("a", 100, "1", &["2"]), 100), Seen::New);
        assert_eq!(cache.see(key("b", 110, "1", &["2"]), 110), Seen::New);
        assert_eq!(cache.see(key("c", 120, "1", &["2"]), 160), Seen::Full);
        assert_eq!(cache.see(key("a", 100, "1", &["2"]), 160), Seen::Again);
        assert_eq!(cache.see(key("c", 120, "1", &["2"]), 161), Seen::New);
        assert_eq!(cache.see(key("b", 110, "1", &["2"]), 161), Seen::Again);
    }
}
