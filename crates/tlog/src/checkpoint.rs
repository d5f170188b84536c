//! Checkpoints (C2SP `tlog-checkpoint`): how large a log is, and what it comes to.

use crate::tree::Hash;
use crate::{Malformed, base64, decimal, hash};

/// The head of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log: a name that no other has, such as a host with a path.
    pub origin: String,
    /// How many entries it has.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
}

impl Checkpoint {
    /// The text to sign.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { origin, size, root } = self;
        format!("{origin}\n{size}\n{}\n", base64(root))
    }

    /// Reads the text of a note. Extension lines are allowed and mean nothing here.
    ///
    /// # Errors
    /// It is no checkpoint.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let bad = Malformed::Checkpoint;
        if !text.ends_with('\n') {
            return Err(bad("the last line is cut off"));
        }
        let mut lines = text.lines();
        let origin = lines.next().filter(|origin| !origin.is_empty());
        let size = lines.next().and_then(decimal);
        let root = lines.next().and_then(hash);
        if lines.any(str::is_empty) {
            return Err(bad("a line is empty"));
        }
        Ok(Self {
            origin: origin.ok_or(bad("the origin is missing"))?.to_owned(),
            size: size.ok_or(bad("the size is no number"))?,
            root: root.ok_or(bad("the root is no hash"))?,
        })
    }
}
