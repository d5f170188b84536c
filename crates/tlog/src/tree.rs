//! The Merkle tree of RFC 6962 §2.1, and proofs about it.
//!
//! A *node* is named by its level and index: `(0, i)` is the hash of leaf `i`, `(k, i)` the one over the
//! leaves `i·2^k` up to `(i+1)·2^k`, all of which exist. Everything else is made of those.

use aws_lc_rs::digest::{Context, SHA256, digest};

/// SHA-256.
pub type Hash = [u8; 32];

/// Nodes that exist; whoever keeps them answers. `None`: they do not have it.
pub trait Nodes {
    /// The node at this level and index.
    fn node(&self, level: u8, index: u64) -> Option<Hash>;
}

impl<F: Fn(u8, u64) -> Option<Hash>> Nodes for F {
    fn node(&self, level: u8, index: u64) -> Option<Hash> {
        self(level, index)
    }
}

fn taken(digest: &[u8]) -> Hash {
    // SHA-256 has 32 bytes.
    digest.try_into().unwrap_or([0; 32])
}

/// The hash of SHA-256 over these bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Hash {
    taken(digest(&SHA256, bytes).as_ref())
}

/// The root of a tree without leaves.
#[must_use]
pub fn empty() -> Hash {
    sha256(&[])
}

/// The hash of a leaf.
#[must_use]
pub fn leaf(entry: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[0]);
    context.update(entry);
    taken(context.finish().as_ref())
}

/// The hash of the node over two others.
#[must_use]
pub fn parent(left: &Hash, right: &Hash) -> Hash {
    let mut both = [1; 65];
    let (head, tail) = both.split_at_mut(33);
    if let Some(place) = head.get_mut(1..) {
        place.copy_from_slice(left);
    }
    tail.copy_from_slice(right);
    sha256(&both)
}

/// The largest power of two below `n`, as its exponent; `n` is at least 2.
fn split(n: u64) -> u8 {
    let below = n.saturating_sub(1).max(1);
    u8::try_from(below.ilog2()).unwrap_or(63)
}

/// The hash over the leaves `from .. to`, where `from` is a multiple of the largest power of two that
/// fits, as it is for every part of a tree.
fn over(nodes: &impl Nodes, from: u64, to: u64) -> Option<Hash> {
    let count = to.checked_sub(from).filter(|count| *count > 0)?;
    if count.is_power_of_two() {
        let level = count.ilog2();
        return nodes.node(u8::try_from(level).ok()?, from >> level);
    }
    let middle = from.checked_add(1 << split(count))?;
    Some(parent(&over(nodes, from, middle)?, &over(nodes, middle, to)?))
}

/// The root of the tree with this many leaves.
pub fn root(nodes: &impl Nodes, size: u64) -> Option<Hash> {
    if size == 0 {
        return Some(empty());
    }
    over(nodes, 0, size)
}

/// The proof that leaf `index` is in the tree of `size` leaves (RFC 6962 §2.1.1). `None`: it is not, or
/// a node is missing.
pub fn inclusion(nodes: &impl Nodes, index: u64, size: u64) -> Option<Vec<Hash>> {
    if index >= size {
        return None;
    }
    let (mut from, mut to) = (0, size);
    let mut path = Vec::new();
    while to - from > 1 {
        let middle = from + (1 << split(to - from));
        if index < middle {
            path.push(over(nodes, middle, to)?);
            to = middle;
        } else {
            path.push(over(nodes, from, middle)?);
            from = middle;
        }
    }
    path.reverse();
    Some(path)
}

/// The proof that the tree of `old` leaves is the beginning of the one of `new` (RFC 6962 §2.1.2).
/// Empty if one of them is empty or they are the same.
pub fn consistency(nodes: &impl Nodes, old: u64, new: u64) -> Option<Vec<Hash>> {
    if old > new {
        return None;
    }
    if old == 0 || old == new {
        return Some(Vec::new());
    }
    let (mut from, mut to) = (0, new);
    let mut path = Vec::new();
    let mut whole = true;
    while to != old {
        let middle = from + (1 << split(to - from));
        if old <= middle {
            path.push(over(nodes, middle, to)?);
            to = middle;
        } else {
            path.push(over(nodes, from, middle)?);
            from = middle;
            whole = false;
        }
    }
    if !whole {
        path.push(over(nodes, from, to)?);
    }
    path.reverse();
    Some(path)
}

/// The root that an inclusion proof leads to from this leaf (RFC 9162 §2.1.3.2).
fn climb(index: u64, size: u64, leaf: Hash, proof: &[Hash]) -> Option<Hash> {
    let (mut node, mut last) = (index, size.checked_sub(1)?);
    if node > last {
        return None;
    }
    let mut hash = leaf;
    for step in proof {
        if last == 0 {
            return None;
        }
        if node & 1 == 1 || node == last {
            hash = parent(step, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = parent(&hash, step);
        }
        node >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

/// Whether the proof shows that this leaf is number `index` of the tree with this size and root.
#[must_use]
pub fn includes(root: &Hash, size: u64, index: u64, leaf: Hash, proof: &[Hash]) -> bool {
    climb(index, size, leaf, proof).as_ref() == Some(root)
}

/// Whether the proof shows that the first tree is the beginning of the second (RFC 9162 §2.1.4.2).
#[must_use]
pub fn is_consistent(old: (u64, &Hash), new: (u64, &Hash), proof: &[Hash]) -> bool {
    let ((old, old_root), (new, new_root)) = (old, new);
    if old > new {
        return false;
    }
    if old == new {
        return proof.is_empty() && old_root == new_root;
    }
    if old == 0 {
        // Everything begins with nothing.
        return proof.is_empty() && *old_root == empty();
    }
    let mut steps = proof.iter();
    let first = if old.is_power_of_two() {
        Some(old_root)
    } else {
        steps.next()
    };
    let Some(first) = first else { return false };
    let (mut node, mut last) = (old - 1, new - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut to_old, mut to_new) = (*first, *first);
    for step in steps {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            to_old = parent(step, &to_old);
            to_new = parent(step, &to_new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            to_new = parent(&to_new, step);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && to_old == *old_root && to_new == *new_root
}

/// The right edge of a tree that grows: what is needed to add leaves and to know the root, and no more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// The roots of the complete trees that the leaves so far make, the largest first.
    edge: Vec<Hash>,
}

impl Frontier {
    /// The edge of the tree with this many leaves.
    pub fn of(nodes: &impl Nodes, size: u64) -> Option<Self> {
        let mut edge = Vec::new();
        let mut from = 0;
        for level in (0..64).rev().filter(|level| size >> level & 1 == 1) {
            edge.push(nodes.node(level, from >> level)?);
            from += 1 << level;
        }
        Some(Self { size, edge })
    }

    /// How many leaves there are.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf. `made` is told every node that is complete with it, the leaf first.
    pub fn add(&mut self, leaf: Hash, mut made: impl FnMut(u8, u64, Hash)) {
        let (mut index, mut level, mut hash) = (self.size, 0, leaf);
        made(level, index, hash);
        while index & 1 == 1 {
            let Some(left) = self.edge.pop() else { break };
            hash = parent(&left, &hash);
            index >>= 1;
            level += 1;
            made(level, index, hash);
        }
        self.edge.push(hash);
        self.size += 1;
    }

    /// The root of the tree so far.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut edge = self.edge.iter().rev();
        let Some(first) = edge.next() else {
            return empty();
        };
        edge.fold(*first, |right, left| parent(left, &right))
    }
}
