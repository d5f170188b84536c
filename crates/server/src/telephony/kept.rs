//! Something about calls that is kept until their telephone asks or says that they are over. A telephone
//! that never does either must not fill the memory: what is kept is bounded in number and in time.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use countersign_core::{id::CallId, time::{Span, Timestamp}};

/// At most so many, whatever calls come and never end. Far more than calls that are moved at one time.
pub const MOST: usize = 4096;

/// How long it is remembered whose telephone was rung for a call: longer than any call lasts.
pub const RUNG: Span = Span::days(1);

/// One thing for each call, the oldest dropped first.
///
/// Nothing depends on it: what is dropped is a sentence that is not said, or a telephone that rings
/// twice. What a call is to do is always told by its state.
#[derive(Debug)]
pub struct Kept<T> {
    all: Mutex<All<T>>,
    patience: Span,
}

#[derive(Debug)]
struct All<T> {
    of: HashMap<CallId, (Place, T)>,
    /// The calls from the oldest to the newest; as many as there are in `of`.
    order: BTreeMap<Place, CallId>,
    drawn: u64,
}

/// Since when, and a number that no other has.
type Place = (Timestamp, u64);

impl<T> All<T> {
    fn remove(&mut self, id: CallId) -> Option<T> {
        let (place, value) = self.of.remove(&id)?;
        self.order.remove(&place);
        Some(value)
    }

    /// Drops what is too old at this time, and the oldest of what is too much.
    fn tidy(&mut self, oldest: Timestamp) {
        while let Some((place, id)) = self.order.first_key_value().map(|(place, id)| (*place, *id)) {
            if self.of.len() <= MOST && place.0 >= oldest {
                break;
            }
            self.remove(id);
        }
    }
}

impl<T> Kept<T> {
    /// Nothing yet; each for so long.
    pub fn new(patience: Span) -> Self { Self { all: Mutex::new(All { of: HashMap::new(), order: BTreeMap::new(), drawn: 0 }), patience } }

    fn all(&self) -> MutexGuard<'_, All<T>> { self.all.lock().unwrap_or_else(PoisonError::into_inner) }

    /// Keeps this from now on, and gives back what was there before.
    pub fn keep(&self, id: CallId, now: Timestamp, value: T) -> Option<T> {
        let mut all = self.all();
        let before = all.remove(id);
        let place = (now, all.drawn);
        all.drawn = all.drawn.wrapping_add(1);
        all.of.insert(id, (place, value));
        all.order.insert(place, id);
        all.tidy(now - self.patience);
        before
    }

    /// Takes it out, if it is still there.
    pub fn take(&self, id: CallId) -> Option<T> { self.all().remove(id) }

    /// Takes it out if it is still this.
    pub fn take_if(&self, id: CallId, this: impl FnOnce(&T) -> bool) -> Option<T> {
        let mut all = self.all();
        if all.of.get(&id).is_some_and(|(_, value)| this(value)) { all.remove(id) } else { None }
    }

    /// What is there.
    pub fn get(&self, id: CallId) -> Option<T> where T: Clone { self.all().of.get(&id).map(|(_, value)| value.clone()) }

    /// Whether it is still there.
    pub fn has(&self, id: CallId) -> bool { self.all().of.contains_key(&id) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_780_308_000_000);

    fn call(n: u32) -> CallId {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        CallId(id)
    }

    fn size<T>(kept: &Kept<T>) -> usize {
        let all = kept.all();
        assert_eq!(all.of.len(), all.order.len());
        all.of.len()
    }

    #[test]
    fn ten_thousand_calls_that_never_ask_again_do_not_fill_the_memory() {
        let kept = Kept::new(Span::minutes(10));
        for n in 0..10_000 {
            assert_eq!(kept.keep(call(n), NOW, n), None);
            assert!(size(&kept) <= MOST);
        }
        // The newest are there, the oldest are not.
        assert!(kept.has(call(9_999)) && !kept.has(call(0)));
        assert_eq!(kept.take(call(10_000 - u32::try_from(MOST).unwrap())), Some(5_904));
        assert_eq!(kept.take(call(5_903)), None);
        // A moment before they are too old, and a moment after: whoever comes next finds it out.
        kept.keep(call(20_000), NOW + Span::minutes(10), 0);
        assert_eq!(size(&kept), MOST);
        kept.keep(call(20_001), NOW + Span::minutes(10) + Span(1), 0);
        assert_eq!(size(&kept), 2);
    }

    #[test]
    fn one_call_that_is_moved_again_and_again_is_kept_once_and_its_last_word_counts() {
        let kept = Kept::new(Span::minutes(10));
        kept.keep(call(7), NOW, 7);
        for n in 0..10_000_u32 {
            assert_eq!(kept.keep(call(1), NOW + Span(i64::from(n)), n), n.checked_sub(1));
        }
        assert_eq!(size(&kept), 2);
        assert_eq!((kept.take(call(1)), kept.take(call(1)), kept.take(call(7))), (Some(9_999), None, Some(7)));
        assert_eq!(size(&kept), 0);
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_no_more_than_any_other() {
        let kept = Kept::new(Span::minutes(10));
        for n in 0..10_000 {
            kept.keep(call(n), Timestamp(NOW.0 - i64::from(n)), n);
            assert!(size(&kept) <= MOST);
        }
        kept.keep(call(0), Timestamp(i64::MIN), 0);
        kept.keep(call(1), Timestamp(i64::MAX), 0);
        assert_eq!(size(&kept), 1);
    }
}
