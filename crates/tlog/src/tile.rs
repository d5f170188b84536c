//! How a log is laid out (C2SP `tlog-tiles`): tiles of 256 hashes, and bundles of 256 entries.

use crate::tree::{Hash, Nodes};
use crate::{Malformed, decimal};

/// Hashes in a full tile, and entries in a full bundle.
pub const WIDTH: u64 = 256;
/// Levels of the tree within one level of tiles.
pub const HEIGHT: u8 = 8;
/// The highest level of tiles: 256^8 entries are more than there can be.
const TOP: u8 = 7;

/// A tile of hashes, or a bundle of entries, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    /// `None`: entries. 0: the hashes of leaves; each level above holds the roots of full tiles.
    pub level: Option<u8>,
    /// Which one of its level.
    pub index: u64,
    /// How many hashes or entries it has: 1 to 256.
    pub width: u16,
}

impl Tile {
    /// The tile in which the node at this level and index stands, and where in it.
    fn with(level: u8, index: u64) -> (u8, u64, u8) {
        (level / HEIGHT, index, level % HEIGHT)
    }

    /// All tiles of a log of this size, the bundles of entries included, lowest level first.
    pub fn all(size: u64) -> impl Iterator<Item = Self> {
        let bundles = Self::of(None, size);
        bundles.chain((0..=TOP).flat_map(move |level| Self::of(Some(level), count(level, size))))
    }

    /// The tiles of a level that holds this many hashes or entries.
    fn of(level: Option<u8>, count: u64) -> impl Iterator<Item = Self> {
        (0..count.div_ceil(WIDTH)).map(move |index| Self {
            level,
            index,
            width: u16::try_from((count - index * WIDTH).min(WIDTH)).unwrap_or(256),
        })
    }

    /// Where it is found below the log's address.
    #[must_use]
    pub fn path(&self) -> String {
        let level = self.level.map_or("entries".to_owned(), |level| level.to_string());
        let mut number = format!("{:03}", self.index % 1000);
        let mut rest = self.index / 1000;
        while rest > 0 {
            number = format!("x{:03}/{number}", rest % 1000);
            rest /= 1000;
        }
        let partial = if u64::from(self.width) < WIDTH {
            format!(".p/{}", self.width)
        } else {
            String::new()
        };
        format!("tile/{level}/{number}{partial}")
    }

    /// The tile that is meant by a path. `None`: it is none, or not written as it has to be.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let level = match level {
            "entries" => None,
            number => Some(u8::try_from(decimal(number)?).ok().filter(|level| *level <= TOP)?),
        };
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => {
                let width = decimal(width).filter(|width| (1..WIDTH).contains(width))?;
                (number, u16::try_from(width).ok()?)
            }
            None => (rest, 256),
        };
        let mut index: u64 = 0;
        for part in number.split('/') {
            let digits = part.strip_prefix('x').unwrap_or(part);
            if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
        }
        let tile = Self {
            level,
            index,
            width,
        };
        // One way to write each: 000/001 is not 001.
        (tile.path() == path).then_some(tile)
    }
}

/// How many hashes a level of tiles holds in a log of this size.
#[must_use]
pub fn count(level: u8, size: u64) -> u64 {
    let shift = u32::from(level) * u32::from(HEIGHT);
    if shift < 64 { size >> shift } else { 0 }
}

/// Nodes of a tree of which somebody keeps tiles: those between two levels of tiles are computed.
pub struct Tiles<F> {
    /// The hashes of the tile at this level and index, as many as there are.
    pub read: F,
}

impl<F: Fn(u8, u64) -> Option<Vec<Hash>>> Nodes for Tiles<F> {
    fn node(&self, level: u8, index: u64) -> Option<Hash> {
        let (tile_level, index, above) = Tile::with(level, index);
        let first = index << above;
        let tile = (self.read)(tile_level, first / WIDTH)?;
        let from = usize::try_from(first % WIDTH).ok()?;
        let hashes = tile.get(from..from + (1 << above))?;
        let mut hashes = hashes.to_vec();
        while hashes.len() > 1 {
            let pairs = hashes.chunks_exact(2).filter_map(|pair| match pair {
                [left, right] => Some(crate::tree::parent(left, right)),
                _ => None,
            });
            hashes = pairs.collect();
        }
        hashes.first().copied()
    }
}

/// The hashes of a tile from its bytes.
///
/// # Errors
/// It is cut off in the middle of a hash.
pub fn hashes(bytes: &[u8]) -> Result<Vec<Hash>, Malformed> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() {
        return Err(Malformed::Bundle("a hash is cut off"));
    }
    Ok(hashes.to_vec())
}

/// Entries in a bundle: each with its length before it, in two bytes, big-endian.
#[must_use]
pub fn bundle<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        // Entries of ours have some dozens of bytes; the format ends at 65535.
        let length = u16::try_from(entry.len()).unwrap_or(u16::MAX);
        bytes.extend(length.to_be_bytes());
        bytes.extend(entry.iter().take(length.into()));
    }
    bytes
}

/// The entries of a bundle.
///
/// # Errors
/// It is cut off.
pub fn entries(bundle: &[u8]) -> Result<Vec<&[u8]>, Malformed> {
    let cut = Malformed::Bundle("an entry is cut off");
    let mut entries = Vec::new();
    let mut rest = bundle;
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<2>().ok_or(cut.clone())?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, after) = after.split_at_checked(length).ok_or(cut.clone())?;
        entries.push(entry);
        rest = after;
    }
    Ok(entries)
}
