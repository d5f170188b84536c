//! A bounded queue between many async callers and a few threads.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Bounded, so that a slow disk shows as "try again later" and not as growing memory; closable, so
/// that a thread ends after the last job and not in the middle of the queue.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    ready: Condvar,
    capacity: usize,
}

struct State<T> {
    items: VecDeque<T>,
    open: bool,
}

/// Why an item was not taken in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    Closed,
}

impl<T> Queue<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        let state = State {
            items: VecDeque::new(),
            open: true,
        };
        Self {
            state: Mutex::new(state),
            ready: Condvar::new(),
            capacity: capacity.max(1),
        }
    }

    /// Never waits.
    pub(crate) fn push(&self, item: T) -> Result<(), Refused> {
        {
            let mut state = self.state();
            if !state.open {
                return Err(Refused::Closed);
            }
            if state.items.len() >= self.capacity {
                return Err(Refused::Full);
            }
            state.items.push_back(item);
        }
        self.ready.notify_one();
        Ok(())
    }

    /// Waits for an item, then moves up to `max` of them to `into`. False: closed and empty.
    pub(crate) fn take(&self, max: usize, into: &mut Vec<T>) -> bool {
        let mut state = self
            .ready
            .wait_while(self.state(), |state| state.items.is_empty() && state.open)
            .unwrap_or_else(PoisonError::into_inner);
        let count = state.items.len().min(max);
        into.extend(state.items.drain(..count));
        count > 0
    }

    pub(crate) fn len(&self) -> usize {
        self.state().items.len()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state().open
    }

    /// Takes nothing more in; what is queued will still be taken out.
    pub(crate) fn shut(&self) {
        self.state().open = false;
        self.ready.notify_all();
    }

    /// Shuts and drops what nobody will take out any more.
    pub(crate) fn abandon(&self) {
        self.shut();
        let rest = std::mem::take(&mut self.state().items);
        drop(rest);
    }

    // No code of ours runs under this lock, so a poisoned one holds a whole state.
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_bounded_in_order_and_drains_after_shutting() {
        let queue = Queue::new(3);
        for n in 0..3 {
            assert_eq!(queue.push(n), Ok(()));
        }
        assert_eq!(queue.push(3), Err(Refused::Full));
        assert_eq!(queue.len(), 3);

        let mut out = Vec::new();
        assert!(queue.take(2, &mut out));
        assert_eq!(out, [0, 1]);

        queue.shut();
        assert_eq!(queue.push(4), Err(Refused::Closed));
        assert!(queue.take(2, &mut out));
        assert_eq!(out, [0, 1, 2]);
        assert!(!queue.take(2, &mut out));
    }

    #[test]
    fn shutting_wakes_whoever_waits() {
        let queue = Queue::<u8>::new(1);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| queue.take(1, &mut Vec::new()));
            queue.shut();
            assert!(!waiter.join().unwrap());
        });
    }
}
