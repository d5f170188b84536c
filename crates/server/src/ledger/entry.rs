//! Leaves: what is committed to, and with which salt.

use std::collections::HashMap;

use aws_lc_rs::hmac;
use countersign_store::{DocWrite, Expect, LogRow};
use countersign_tlog::tree::{self, Hash};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    runner::{RunError, Runner},
    vault::{Vault, VaultError},
};

/// The kind under which salts are kept.
pub(super) const SALT: &str = "salt";
/// The first byte of every entry: how it was made.
const VERSION: u8 = 1;

/// Events of a stream that come within so many after its salt was destroyed count as of before: the
/// sequencer may just be busy with them.
const MARGIN: u64 = 10_000;

/// 32 secret bytes of a stream. Without them nobody can say of an entry which event it stands for.
#[derive(Clone, Serialize, Deserialize)]
pub struct Salt {
    secret: Zeroizing<[u8; 32]>,
    /// The secret of events up to this one was destroyed.
    #[serde(default)]
    after: u64,
}

impl std::fmt::Debug for Salt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("Salt(…)") }
}

impl Salt {
    /// A new one.
    pub(super) fn fresh(vault: &Vault) -> Result<Self, VaultError> { Ok(Self { secret: Zeroizing::new(vault.seed()?), after: 0 }) }

    /// The salt of one event. It tells nothing about that of another.
    #[must_use]
    pub(super) fn any(&self, seq: u64) -> Hash {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_ref());
        hmac::sign(&key, &seq.to_be_bytes()).as_ref().try_into().unwrap_or([0; 32])
    }

    /// The salt that an event was logged with. `None`: it was destroyed.
    #[must_use]
    pub fn of(&self, seq: u64) -> Option<Hash> { (seq > self.after).then(|| self.any(seq)) }
}

/// An event as it is committed to.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its place in the log of events: the first is 1, and leaf 0.
    pub seq: u64,
    /// The kind of its stream.
    pub kind: &'a str,
    /// The id of its stream.
    pub id: &'a [u8; 16],
    /// Its place in the stream.
    pub n: u64,
    /// When, in milliseconds since the epoch.
    pub at: i64,
    /// What happened, byte for byte as it is stored.
    pub body: &'a str,
}

impl<'a> From<&'a LogRow> for Entry<'a> {
    fn from(row: &'a LogRow) -> Self { Self { seq: row.seq, kind: &row.stream_kind, id: &row.stream_id, n: row.n, at: row.at, body: &row.body } }
}

impl Entry<'_> {
    /// What stands in the log: a version, and SHA-256 over salt and event, each part with its length
    /// before it in eight bytes, so that no two events are written the same way.
    #[must_use]
    pub fn leaf(&self, salt: &Hash) -> Vec<u8> {
        let Self { seq, kind, id, n, at, body } = self;
        let mut text = Vec::with_capacity(160 + body.len());
        for part in [&salt[..], &seq.to_be_bytes(), kind.as_bytes(), &id[..], &n.to_be_bytes(), &at.to_be_bytes(), body.as_bytes()] {
            text.extend((part.len() as u64).to_be_bytes());
            text.extend(part);
        }
        [&[VERSION], tree::sha256(&text).as_slice()].concat()
    }
}

/// Salts that were read, for whoever goes through the whole record.
#[derive(Default)]
pub(super) struct Salts(HashMap<Vec<u8>, Option<Salt>>);

impl Salts {
    /// Read at most, before it begins anew.
    const MOST: usize = 50_000;

    /// The salt of the stream of an event. `None`: it was destroyed.
    pub(super) async fn of(&mut self, runner: &Runner, row: &LogRow) -> Result<Option<&Salt>, RunError> {
        let id = salt_id(&row.stream_kind, &row.stream_id);
        if self.0.len() > Self::MOST {
            self.0.clear();
        }
        if !self.0.contains_key(&id) {
            let doc = runner.store.doc(SALT, &id).await?;
            let salt = doc.map(|doc| runner.vault.unseal(SALT, &id, &doc.body)).transpose()?;
            self.0.insert(id.clone(), salt);
        }
        Ok(self.0.get(&id).and_then(Option::as_ref))
    }
}

/// Under which id the salt of a stream is kept.
pub(super) fn salt_id(kind: &str, id: &[u8; 16]) -> Vec<u8> { [kind.as_bytes(), b"\0", id].concat() }

/// Destroys the salt of a stream, whose leaves so far stay, and nobody can tell any more what they stand
/// for. What comes later gets another. `head`: how many events the log has.
pub fn forget_salt(vault: &Vault, kind: &str, id: &[u8; 16], head: u64) -> Result<DocWrite, VaultError> {
    let (id, salt) = (salt_id(kind, id), Salt { after: head.saturating_add(MARGIN), ..Salt::fresh(vault)? });
    Ok(DocWrite::Put { kind: SALT, body: vault.seal(SALT, &id, &salt)?, id, expected: Expect::Any, due: None })
}

/// Whether this body stands in the place of one that was taken away by a rule of retention.
#[must_use]
pub fn is_redacted(body: &str) -> bool {
    let parsed: Result<serde_json::Value, _> = serde_json::from_str(body);
    parsed.is_ok_and(|value| value.get("type").and_then(|kind| kind.as_str()) == Some("redacted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_an_event_is_committed_to() {
        let secret = |byte| Salt { secret: Zeroizing::new([byte; 32]), after: 0 };
        let (salt, id) = (secret(7).any(3), [1; 16]);
        let entry = Entry { seq: 3, kind: "call", id: &id, n: 1, at: 5, body: "{}" };
        let leaf = entry.leaf(&salt);
        assert_eq!((leaf.len(), leaf[0]), (33, 1));
        let other_id = [2; 16];
        for other in [
            Entry { seq: 4, ..entry }, Entry { kind: "cal", ..entry }, Entry { kind: "calls", ..entry }, Entry { id: &other_id, ..entry }, Entry { n: 2, ..entry },
            Entry { at: -5, ..entry }, Entry { body: "{ }", ..entry },
        ] {
            assert_ne!(other.leaf(&salt), leaf, "{other:?}");
        }
        assert_ne!(entry.leaf(&secret(7).any(4)), leaf);
        assert_ne!(entry.leaf(&secret(8).any(3)), leaf);
        let forgotten = Salt { after: 3, ..secret(7) };
        assert_eq!((forgotten.of(3), forgotten.of(4)), (None, Some(secret(7).any(4))));
    }
}
