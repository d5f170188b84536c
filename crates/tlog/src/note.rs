//! Signed notes (C2SP `signed-note`): a text, and who has signed it. Ed25519 (RFC 8032).

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::tree::sha256;
use crate::{Malformed, base64};

/// How many signatures a note may carry before it is not looked at: a limit against floods.
const MOST: usize = 100;
/// The longest note that is looked at, in bytes.
const LONGEST: usize = 64 * 1024;

/// What a key signs, which is part of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A note as it stands: type 0x01.
    Note,
    /// A checkpoint, with the time when it was seen: `cosignature/v1`, type 0x04.
    Cosignature,
}

impl Kind {
    fn number(self) -> u8 {
        match self {
            Self::Note => 1,
            Self::Cosignature => 4,
        }
    }
}

/// A name that a key may have: not empty, no space, no `+`.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c == '+' || c.is_control())
}

/// The first four bytes of the hash of a key with its name and type.
fn key_id(name: &str, kind: Kind, public: &[u8; 32]) -> [u8; 4] {
    let hash = sha256(&[name.as_bytes(), b"\n", &[kind.number()], public].concat());
    let [a, b, c, d, ..] = hash;
    [a, b, c, d]
}

/// A key that signs. Its seed is not shown.
pub struct Signer {
    name: String,
    kind: Kind,
    pair: Ed25519KeyPair,
    public: [u8; 32],
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signer").field(&self.name).finish()
    }
}

impl Signer {
    /// From a name and 32 random bytes.
    ///
    /// # Errors
    /// The name is empty or holds spaces or `+`.
    pub fn new(name: &str, kind: Kind, seed: &[u8; 32]) -> Result<Self, Malformed> {
        if !is_name(name) {
            return Err(Malformed::Key("a name without spaces and + is wanted"));
        }
        let pair = Ed25519KeyPair::from_seed_unchecked(seed)
            .map_err(|_| Malformed::Key("the seed makes no key"))?;
        let public = pair.public_key().as_ref();
        let public = public.try_into().map_err(|_| Malformed::Key("the seed makes no key"))?;
        Ok(Self {
            name: name.to_owned(),
            kind,
            pair,
            public,
        })
    }

    /// Whoever checks what this key signs.
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        Verifier {
            name: self.name.clone(),
            kind: self.kind,
            public: self.public,
        }
    }

    /// The line that stands under a note.
    fn line(&self, signature: &[u8]) -> String {
        let id = key_id(&self.name, self.kind, &self.public);
        let named = base64(&[&id, signature].concat());
        format!("— {} {named}\n", self.name)
    }

    /// The signature line for a text. For [`Kind::Note`].
    #[must_use]
    pub fn sign(&self, text: &str) -> String {
        self.line(self.pair.sign(text.as_bytes()).as_ref())
    }

    /// The signature line for a checkpoint seen at this time, in seconds since the epoch. For
    /// [`Kind::Cosignature`].
    #[must_use]
    pub fn cosign(&self, text: &str, seconds: u64) -> String {
        let signature = self.pair.sign(cosigned(text, seconds).as_bytes());
        self.line(&[&seconds.to_be_bytes(), signature.as_ref()].concat())
    }
}

/// What a cosignature is over (C2SP `tlog-cosignature`).
fn cosigned(text: &str, seconds: u64) -> String {
    format!("cosignature/v1\ntime {seconds}\n{text}")
}

/// A key that checks signatures, as it is written in configurations: `NAME+HASH+KEY`.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    kind: Kind,
    public: [u8; 32],
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, kind, public } = self;
        write!(f, "{name}+")?;
        for byte in key_id(name, *kind, public) {
            write!(f, "{byte:02x}")?;
        }
        let key = [&[kind.number()], public.as_slice()].concat();
        write!(f, "+{}", base64(&key))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Verifier {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let parts = || {
            let (name, rest) = text.split_once('+')?;
            let (id, key) = rest.split_once('+')?;
            Some((name, id, STANDARD.decode(key).ok()?))
        };
        let (name, id, key) = parts().ok_or(Malformed::Key("three parts are wanted"))?;
        let (kind, public) = match key.split_first() {
            Some((1, public)) => (Kind::Note, public),
            Some((4, public)) => (Kind::Cosignature, public),
            _ => return Err(Malformed::Key("of a kind that is not known here")),
        };
        let public = public.try_into().map_err(|_| Malformed::Key("32 bytes are wanted"))?;
        if !is_name(name) {
            return Err(Malformed::Key("a name without spaces is wanted"));
        }
        let verifier = Self {
            name: name.to_owned(),
            kind,
            public,
        };
        let named: String = key_id(name, kind, &verifier.public)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        if named != id {
            return Err(Malformed::Key("its hash is that of another key"));
        }
        Ok(verifier)
    }
}

impl Verifier {
    /// Whose key it is.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it signs.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    fn checks(&self, text: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.public)
            .verify(text, signature)
            .is_ok()
    }
}

/// A text with its signatures, not checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Signature {
    name: String,
    id: [u8; 4],
    bytes: Vec<u8>,
}

impl Note {
    /// Reads a note.
    ///
    /// # Errors
    /// It is none, or larger than any note of ours.
    pub fn parse(note: &str) -> Result<Self, Malformed> {
        if note.len() > LONGEST {
            return Err(Malformed::Note("it is too long"));
        }
        if note.chars().any(|c| c.is_control() && c != '\n') {
            return Err(Malformed::Note("it holds control characters"));
        }
        let (text, signatures) = note
            .rsplit_once("\n\n")
            .ok_or(Malformed::Note("there is no empty line before signatures"))?;
        if signatures.is_empty() || !signatures.ends_with('\n') {
            return Err(Malformed::Note("the signatures are cut off"));
        }
        let signatures: Vec<Signature> = signatures
            .lines()
            .map(|line| signature(line).ok_or(Malformed::Note("a line is no signature")))
            .collect::<Result<_, _>>()?;
        if signatures.len() > MOST {
            return Err(Malformed::Note("it has too many signatures"));
        }
        Ok(Self {
            text: format!("{text}\n"),
            signatures,
        })
    }

    /// What is signed, with the newline at its end.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The note as it is written.
    #[must_use]
    pub fn written(&self) -> String {
        let mut written = format!("{}\n", self.text);
        for Signature { name, id, bytes } in &self.signatures {
            let signature = base64(&[id.as_slice(), bytes].concat());
            written.push_str(&format!("— {name} {signature}\n"));
        }
        written
    }

    /// Whether this key has signed it. For a cosignature: when, in seconds since the epoch.
    #[must_use]
    pub fn signed_by(&self, verifier: &Verifier) -> Option<Option<u64>> {
        let id = key_id(&verifier.name, verifier.kind, &verifier.public);
        let mut of_key = self.signatures.iter();
        of_key.find_map(|signature| {
            if signature.name != verifier.name || signature.id != id {
                return None;
            }
            match verifier.kind {
                Kind::Note => verifier
                    .checks(self.text.as_bytes(), &signature.bytes)
                    .then_some(None),
                Kind::Cosignature => {
                    let (time, bytes) = signature.bytes.split_first_chunk::<8>()?;
                    let seconds = u64::from_be_bytes(*time);
                    let text = cosigned(&self.text, seconds);
                    verifier.checks(text.as_bytes(), bytes).then_some(Some(seconds))
                }
            }
        })
    }

    /// Adds signature lines, such as those that a witness has answered with, unless they are there.
    /// All of them or none.
    ///
    /// # Errors
    /// A line is no signature, or they are so many or so long that nobody would read the note again.
    pub fn add(&mut self, lines: &str) -> Result<(), Malformed> {
        let mut with = self.clone();
        for line in lines.lines() {
            let signature = signature(line).ok_or(Malformed::Note("a line is no signature"))?;
            if !with.signatures.contains(&signature) {
                with.signatures.push(signature);
            }
            if with.signatures.len() > MOST {
                return Err(Malformed::Note("it has too many signatures"));
            }
        }
        if with.written().len() > LONGEST {
            return Err(Malformed::Note("it is too long"));
        }
        *self = with;
        Ok(())
    }

    /// A note with one signature.
    #[must_use]
    pub fn signed(text: &str, signer: &Signer) -> Self {
        let mut note = Self {
            text: text.to_owned(),
            signatures: Vec::new(),
        };
        // A line of our own is one.
        note.signatures.extend(signer.sign(text).lines().filter_map(signature));
        note
    }
}

fn signature(line: &str) -> Option<Signature> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let (name, signature) = line.strip_prefix("— ")?.split_once(' ')?;
    let bytes = STANDARD.decode(signature).ok()?;
    let (id, bytes) = bytes.split_first_chunk::<4>()?;
    is_name(name).then(|| Signature {
        name: name.to_owned(),
        id: *id,
        bytes: bytes.to_vec(),
    })
}
