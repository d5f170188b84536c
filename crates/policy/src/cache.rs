//! Decisions already made. A decision is a pure function of its question, so this changes nothing
//! but the time it takes.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{PoisonError, RwLock},
};

/// Facts are few and discrete: a busy floor asks some hundred different questions a day.
const CAPACITY: usize = 4096;

pub(crate) struct Cache<K, V>(RwLock<HashMap<K, V>>);

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    pub(crate) fn new() -> Self { Self(RwLock::new(HashMap::new())) }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        // Nothing here is ever half-written, so a poisoned lock holds nothing wrong.
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    pub(crate) fn put(&self, key: K, value: V) {
        let mut map = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // Starting over costs some milliseconds once; keeping an order would cost every look-up.
        if map.len() >= CAPACITY {
            map.clear();
        }
        map.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_grows_past_its_capacity() {
        let cache = Cache::new();
        for i in 0..3 * CAPACITY {
            cache.put(i, i);
            assert_eq!(cache.get(&i), Some(i));
        }
        assert!(cache.0.read().unwrap().len() <= CAPACITY);
    }
}
