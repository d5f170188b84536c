//! A bounded map whose entries expire. Time is an argument.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What was checked once and is used until it expires.
pub(crate) struct Cache<T> {
    most: usize,
    entries: Mutex<HashMap<String, (u64, Arc<T>)>>,
}

impl<T> Cache<T> {
    /// Room for so many; with 0, nothing is kept.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            entries: Mutex::default(),
        }
    }

    /// What is kept under this name and has not expired at `now`, in seconds since the epoch.
    pub(crate) fn get(&self, name: &str, now: u64) -> Option<Arc<T>> {
        // A thread that died while holding the lock leaves the map whole: each change is one call.
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries
            .get(name)
            .filter(|(until, _)| now <= *until)
            .map(|(_, kept)| Arc::clone(kept))
    }

    /// The same, whether it has expired or not.
    pub(crate) fn get_expired(&self, name: &str) -> Option<Arc<T>> {
        self.get(name, 0)
    }

    /// Keeps this until then, inclusive. Where there is no room, what has expired goes, else what
    /// expires first.
    pub(crate) fn put(&self, name: &str, kept: Arc<T>, until: u64, now: u64) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= self.most && !entries.contains_key(name) {
            entries.retain(|_, (until, _)| now <= *until);
            if entries.len() >= self.most {
                let first = entries
                    .iter()
                    .min_by_key(|(_, (until, _))| *until)
                    .map(|(name, _)| name.clone());
                first.and_then(|name| entries.remove(&name));
            }
        }
        if entries.len() < self.most {
            entries.insert(name.to_owned(), (until, kept));
        } else if let Some(entry) = entries.get_mut(name) {
            *entry = (until, kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_there_until_it_expires() {
        let cache = Cache::new(2);
        cache.put("a", Arc::new(1), 10, 0);
        assert_eq!(cache.get("a", 10).as_deref(), Some(&1));
        assert_eq!(cache.get("a", 11), None);
        assert_eq!(cache.get_expired("a").as_deref(), Some(&1));
        assert_eq!(cache.get("b", 0), None);
    }

    #[test]
    fn there_are_never_more_than_there_is_room_for() {
        let cache = Cache::new(2);
        cache.put("a", Arc::new(1), 10, 0);
        cache.put("b", Arc::new(2), 20, 0);
        cache.put("c", Arc::new(3), 30, 0);
        assert_eq!(
            (
                cache.get("a", 0),
                cache.get("b", 0).as_deref(),
                cache.get("c", 0).as_deref()
            ),
            (None, Some(&2), Some(&3))
        );
        cache.put("b", Arc::new(4), 21, 0);
        assert_eq!(
            (cache.get("b", 0).as_deref(), cache.get("c", 0).as_deref()),
            (Some(&4), Some(&3))
        );
        cache.put("d", Arc::new(5), 40, 25);
        assert_eq!(
            (cache.get("b", 0), cache.get("c", 0).as_deref()),
            (None, Some(&3))
        );
        let none = Cache::new(0);
        none.put("a", Arc::new(1), 10, 0);
        assert_eq!(none.get("a", 0), None);
    }
}
