//! Whether what several nodes have seen could have been seen of one object that does one thing after
//! the other (linearizability, Herlihy and Wing 1990), by the search of Wing and Gong with Lowe's
//! memory. Each object by itself: what holds for each holds for all.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Debug;
use std::hash::Hash;

/// An object without faults.
pub trait Model {
    type State: Clone + Eq + Hash + Debug;
    type Op: Debug;
    /// What anybody could have been told.
    type Seen: Debug;

    fn start() -> Self::State;
    /// The state after the operation if this is what it tells then; `None`: it would tell something
    /// else. `seen` is `None` where nobody was told anything: then anything will do.
    fn step(state: &Self::State, op: &Self::Op, seen: Option<&Self::Seen>) -> Option<Self::State>;
}

/// One operation, from its beginning to its end in the order in which things were observed. Without an
/// end nobody was told: it may have happened at any time after its beginning, or never.
#[derive(Debug)]
pub struct Did<M: Model> {
    pub op: M::Op,
    pub began: u64,
    pub ended: Option<(u64, M::Seen)>,
}

/// `Err`: the operations, as nobody can order them.
pub fn check<M: Model>(history: &[Did<M>]) -> Result<(), String> {
    let mut tried = HashSet::new();
    if search::<M>(history, &M::start(), &mut vec![false; history.len()], &mut tried) {
        Ok(())
    } else {
        let lines = history.iter().map(|did| {
            let (end, seen) = match &did.ended {
                Some((end, seen)) => (end.to_string(), format!("{seen:?}")),
                None => ("?".to_owned(), "nobody was told".to_owned()),
            };
            format!("  [{}..{end}] {:?}: {seen}\n", did.began, did.op)
        });
        Err(lines.collect())
    }
}

fn search<M: Model>(
    history: &[Did<M>],
    state: &M::State,
    done: &mut Vec<bool>,
    tried: &mut HashSet<(Vec<bool>, M::State)>,
) -> bool {
    let open = |done: &[bool]| -> Vec<usize> {
        (0..history.len()).filter(|place| !done[*place]).collect()
    };
    let left = open(done);
    // Those that nobody was told of need not have happened.
    if left.iter().all(|place| history[*place].ended.is_none()) {
        return true;
    }
    if !tried.insert((done.clone(), state.clone())) {
        return false;
    }
    // The next one began before any of the others had ended.
    let first_end = left
        .iter()
        .filter_map(|place| history[*place].ended.as_ref().map(|(end, _)| *end))
        .min()
        .unwrap_or(u64::MAX);
    for place in left {
        let did = &history[place];
        if did.began > first_end {
            continue;
        }
        let seen = did.ended.as_ref().map(|(_, seen)| seen);
        if let Some(next) = M::step(state, &did.op, seen) {
            done[place] = true;
            if search::<M>(history, &next, done, tried) {
                return true;
            }
            done[place] = false;
        }
    }
    false
}

/// Checks each object's history; the first that does not hold is the error.
pub fn check_each<K: Ord + Debug, M: Model>(histories: BTreeMap<K, Vec<Did<M>>>) {
    for (key, history) in histories {
        if let Err(lines) = check(&history) {
            panic!("{key:?} is not linearizable:\n{lines}");
        }
    }
}

/// A count of failures with a limit.
pub struct Counter<const MAX: u32>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    Counted,
    Denied,
}

impl<const MAX: u32> Model for Counter<MAX> {
    type State = u32;
    type Op = &'static str;
    type Seen = Judged;

    fn start() -> u32 {
        0
    }

    fn step(count: &u32, _: &&'static str, seen: Option<&Judged>) -> Option<u32> {
        let judged = if *count < MAX { Judged::Counted } else { Judged::Denied };
        let fits = seen.is_none_or(|seen| *seen == judged);
        fits.then(|| if judged == Judged::Counted { count + 1 } else { *count })
    }
}

/// A document with versions, written if it has the version that it was read with.
pub struct Register;

#[derive(Debug, Clone, Copy)]
pub enum Access {
    Read,
    /// If it has this version.
    Write(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Version(u64),
    Conflict,
}

impl Model for Register {
    type State = u64;
    type Op = Access;
    type Seen = Told;

    fn start() -> u64 {
        0
    }

    fn step(version: &u64, op: &Access, seen: Option<&Told>) -> Option<u64> {
        let (next, told) = match op {
            Access::Read => (*version, Told::Version(*version)),
            Access::Write(expected) if expected == version => (version + 1, Told::Version(version + 1)),
            Access::Write(_) => (*version, Told::Conflict),
        };
        seen.is_none_or(|seen| *seen == told).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn did<M: Model>(op: M::Op, began: u64, ended: u64, seen: M::Seen) -> Did<M> {
        Did {
            op,
            began,
            ended: Some((ended, seen)),
        }
    }

    fn guess(began: u64, ended: u64, seen: Judged) -> Did<Counter<2>> {
        did("guess", began, ended, seen)
    }

    #[test]
    fn a_limit_is_exact() {
        use Judged::{Counted, Denied};
        assert!(check(&[guess(0, 9, Counted), guess(1, 8, Denied), guess(2, 7, Counted)]).is_ok());
        assert!(check(&[guess(0, 9, Counted), guess(1, 8, Counted), guess(2, 7, Counted)]).is_err());
        // Denied before two had been counted.
        assert!(check(&[guess(0, 1, Counted), guess(2, 3, Denied), guess(4, 5, Counted)]).is_err());
        // Nobody was told of the third: it may have counted.
        let lost = || Did {
            op: "guess",
            began: 0,
            ended: None,
        };
        assert!(check(&[lost(), guess(1, 2, Counted), guess(3, 4, Denied)]).is_ok());
        assert!(check(&[lost(), guess(1, 2, Counted), guess(3, 4, Counted), guess(5, 6, Denied)]).is_ok());
        // One that began later cannot have counted before.
        let late = Did { op: "guess", began: 9, ended: None };
        assert!(check(&[guess(1, 2, Counted), guess(3, 4, Denied), late]).is_err());
    }

    #[test]
    fn what_was_written_is_read() {
        use Access::{Read, Write};
        use Told::{Conflict, Version};
        let d = did::<Register>;
        assert!(check(&[d(Write(0), 0, 5, Version(1)), d(Read, 1, 2, Version(0)), d(Read, 3, 4, Version(1))]).is_ok());
        // Two writers over the same version: a lost update.
        assert!(check(&[d(Write(0), 0, 5, Version(1)), d(Write(0), 1, 6, Version(1))]).is_err());
        assert!(check(&[d(Write(0), 0, 5, Version(1)), d(Write(0), 1, 6, Conflict)]).is_ok());
        // Read before and after in the wrong order; stale after the write was acknowledged.
        assert!(check(&[d(Write(0), 0, 9, Version(1)), d(Read, 1, 2, Version(1)), d(Read, 3, 4, Version(0))]).is_err());
        assert!(check(&[d(Write(0), 0, 1, Version(1)), d(Read, 2, 3, Version(0))]).is_err());
    }
}
