//! What a group wants, each row once.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use super::sheet::Fetched;
use crate::commit::Expect;
use crate::read::OutboxState;
use crate::rows::{Keys, Wants};

/// The rows of a group by their keys, with what the first of the group that names a row expects there.
#[derive(Default)]
pub(super) struct Wanted<'a> {
    pub(super) commands: HashSet<&'a str>,
    pub(super) attempts: HashSet<&'a str>,
    /// With the lowest value that wants to be let through.
    pub(super) steps: HashMap<&'a str, u64>,
    pub(super) once: HashSet<&'a str>,
    pub(super) lengths: HashMap<(&'a str, &'a [u8]), u64>,
    pub(super) versions: HashMap<(&'a str, &'a [u8]), Expect>,
    pub(super) outbox: HashMap<&'a [u8], Option<OutboxState>>,
}

impl<'a> Wanted<'a> {
    /// Also what is not told by keys, if somebody wants that.
    pub(super) fn of(group: &'a [Wants]) -> (Self, Option<&'a Wants>) {
        let (mut all, mut special) = (Self::default(), None);
        for wants in group {
            match wants {
                Wants::Keys(keys) => all.add(keys),
                other => special = Some(other),
            }
        }
        (all, special)
    }

    fn add(&mut self, keys: &'a Keys) {
        let Keys {
            commands,
            attempts,
            steps,
            once,
            lengths,
            versions,
            outbox,
        } = keys;
        self.commands.extend(commands.iter().map(String::as_str));
        self.attempts.extend(attempts.iter().map(String::as_str));
        for (key, value) in steps {
            let lowest = self.steps.entry(key).or_insert(*value);
            *lowest = (*lowest).min(*value);
        }
        self.once.extend(once.iter().map(String::as_str));
        for (stream, n) in lengths {
            self.lengths.entry((stream.kind, stream.id.as_slice())).or_insert(*n);
        }
        for (kind, id, expected) in versions {
            let first = self.versions.entry((*kind, id.as_slice())).or_insert(*expected);
            if *first == Expect::Any {
                *first = *expected;
            }
        }
        for (id, state) in outbox {
            self.outbox.entry(id.as_slice()).or_insert(*state);
        }
    }
}

/// No row for any of these keys.
pub(super) fn none<'k, K: 'k, O: Hash + Eq, V>(
    keys: impl IntoIterator<Item = &'k K>,
    own: impl Fn(&K) -> O,
) -> Fetched<O, V> {
    keys.into_iter().map(|key| (own(key), None)).collect()
}
