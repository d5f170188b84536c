//! `[stir]`: which signatures of calling numbers count, and which of ours are signed.

use std::{path::{Path, PathBuf}, time::Duration};

use countersign_core::{secret::E164, time::Span};
use countersign_stir::{Address, Attest, ListIssuers, Number, Original, Revocation, Roots, Settings, Signer, Unusable};
use serde::Deserialize;

use super::{Stir, fetch::{Fetcher, Limits}};
use crate::{
    config::{ConfigError, Severity, private_file},
    outbox::provider::SetupError,
};

/// `[stir]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StirSettings {
    /// A file with the roots of the STI-PA, PEM. Without it nothing is checked.
    pub roots: Option<PathBuf>,
    /// A file with the certificates of whoever signs revocation lists, PEM.
    pub list_issuers: Option<PathBuf>,
    /// When revocation lists are asked for.
    #[serde(default)]
    pub revocation: Lists,
    /// Hosts that certificates may be fetched from; left out: any public one. Empty: none.
    pub hosts: Option<Vec<String>>,
    /// How long a caller may ring for it, in milliseconds.
    #[serde(default = "patience")]
    pub patience: Span,
    /// Fetches a minute.
    #[serde(default = "per_minute")]
    pub fetches_per_minute: u32,
    /// Our own numbers, where the request that comes in names an extension instead.
    #[serde(default)]
    pub numbers: Vec<E164>,
    /// Signing calls that we make.
    pub sign: Option<SignAt>,
}

fn patience() -> Span { Span::seconds(2) }
fn per_minute() -> u32 { 120 }

/// When revocation lists are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lists {
    /// Where a certificate names one.
    #[default]
    Named,
    /// A certificate that names none is refused.
    Required,
    /// Never: for trials.
    Ignored,
}

/// Signing calls that we make.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignAt {
    /// A file with the key: P-256, PKCS#8, PEM.
    pub key_file: PathBuf,
    /// The address under which others find its certificate.
    pub x5u: String,
    /// The numbers that are ours. A call from another one is not signed.
    pub numbers: Vec<E164>,
}

/// Why signatures cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum StirError {
    /// A file that cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file that is not fit for use.
    #[error("stir.{setting}, {path}: {why}")]
    Unusable {
        /// Which setting.
        setting: &'static str,
        /// Which file.
        path: String,
        /// Why.
        why: Unusable,
    },
    /// An address that nobody would fetch.
    #[error("stir.sign.x5u: {0}")]
    Address(#[from] countersign_stir::AddressRefused),
    /// TLS.
    #[error(transparent)]
    Setup(#[from] SetupError),
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.display().to_string(), source })
}

fn fit<T>(setting: &'static str, path: &Path, found: Result<T, Unusable>) -> Result<T, StirError> {
    found.map_err(|why| StirError::Unusable { setting, path: path.display().to_string(), why })
}

impl StirSettings {
    /// Whoever checks calls, if there are roots.
    ///
    /// # Errors
    /// See [`StirError`].
    pub fn checker(&self) -> Result<Option<Stir>, StirError> {
        let Some(path) = &self.roots else { return Ok(None) };
        let mut settings = Settings::new(fit("roots", path, Roots::read(&read(path)?))?);
        if let Some(path) = &self.list_issuers {
            settings.list_issuers = fit("list_issuers", path, ListIssuers::read(&read(path)?))?;
        }
        settings.revocation = match self.revocation {
            Lists::Named => Revocation::Named,
            Lists::Required => Revocation::Required,
            Lists::Ignored => Revocation::Ignored,
        };
        let limits = Limits { hosts: self.hosts.clone(), per_minute: self.fetches_per_minute, ..Limits::default() };
        Ok(Some(Stir::new(settings, Fetcher::new(limits)?, self.wait())))
    }

    /// Between a tenth of a second and five.
    fn wait(&self) -> Duration { Duration::from_millis(u64::try_from(self.patience.0).unwrap_or(0).clamp(100, 5000)) }

    /// Whoever signs calls that we make.
    ///
    /// # Errors
    /// See [`StirError`].
    pub fn signs(&self, origid: String) -> Result<Option<Signs>, StirError> {
        let Some(at) = &self.sign else { return Ok(None) };
        let key = zeroize::Zeroizing::new(read(&at.key_file)?);
        let signer = fit("sign.key_file", &at.key_file, Signer::read(&key, Address::read(&at.x5u)?))?;
        Ok(Some(Signs { signer, numbers: at.numbers.clone(), origid }))
    }

    /// What is missing or unsafe.
    pub(crate) fn examine(&self, say: &mut impl FnMut(Severity, &str, String)) {
        if self.roots.is_none() && self.sign.is_none() {
            say(Severity::Missing, "stir.roots", "no roots: nothing is checked. Name a file with those of your STI-PA".into());
        }
        if self.roots.is_some() {
            if let Err(e) = self.checker() {
                say(Severity::Missing, "stir", e.to_string());
            }
            match self.revocation {
                Lists::Ignored => say(Severity::Unsafe, "stir.revocation", "a certificate that was taken from its owner still passes: only for trials".into()),
                Lists::Named | Lists::Required if self.list_issuers.is_none() => {
                    say(Severity::Missing, "stir.list_issuers", "nobody may sign revocation lists, so that certificates which name one never pass: name the STI-PA's certificate".into());
                }
                Lists::Named | Lists::Required => {}
            }
            if self.hosts.as_ref().is_some_and(Vec::is_empty) {
                say(Severity::Missing, "stir.hosts", "is empty: nothing may be fetched, and no signature can be checked".into());
            }
        }
        if self.patience > Span::seconds(5) {
            say(Severity::Unsafe, "stir.patience", "above 5 seconds; 5 are used: callers ring meanwhile".into());
        }
        if let Some(at) = &self.sign {
            private_file(&at.key_file, "stir.sign.key_file", say);
            if let Err(e) = self.signs("00000000-0000-4000-8000-000000000000".into()) {
                say(Severity::Missing, "stir.sign", e.to_string());
            }
            if at.numbers.is_empty() {
                say(Severity::Missing, "stir.sign.numbers", "no number is ours, and nothing is signed".into());
            }
        }
    }
}

/// Signs calls that we make, from numbers that are ours.
pub struct Signs {
    signer: Signer,
    numbers: Vec<E164>,
    origid: String,
}

impl Signs {
    /// With this key, for these numbers; the origin is a UUID.
    pub fn new(signer: Signer, numbers: Vec<E164>, origid: String) -> Self { Self { signer, numbers, origid } }

    /// The Identity header of a call. `None`: the number is not ours, and nobody vouches for it.
    pub fn identity(&self, from: &E164, to: &E164, now: countersign_core::time::Timestamp) -> Option<String> {
        if !self.numbers.contains(from) {
            return None;
        }
        let (orig, dest) = (Number::read(from.expose()).ok()?, [Number::read(to.expose()).ok()?]);
        let call = Original { attest: Attest::A, orig: &orig, dest: &dest, iat: u64::try_from(now.unix()).ok()?, origid: &self.origid };
        match self.signer.original(&call) {
            Ok(header) => Some(header),
            Err(e) => {
                tracing::error!(error = %e, "a call of ours goes out unsigned");
                None
            }
        }
    }
}

/// A UUID (version 4 by its shape) out of bytes that only we know: the same at every start.
pub fn origid(bytes: [u8; 16]) -> String {
    let [a, b, c, d, e, f, g, h, i, rest @ ..] = bytes;
    let text = hex::encode([a, b, c, d, e, f, g & 0x0f | 0x40, h, i & 0x3f | 0x80]);
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    // Two digits of the fourth group are those of the ninth byte; the tenth ends it.
    let rest = hex::encode(rest);
    let (tenth, node) = rest.split_at_checked(2).unwrap_or_default();
    format!("{}-{}-{}-{}{tenth}-{node}", part(0, 8), part(8, 12), part(12, 16), part(16, 18))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_uuid() {
        assert_eq!(origid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(origid(std::array::from_fn(|n| u8::try_from(n).unwrap())), "00010203-0405-4607-8809-0a0b0c0d0e0f");
    }

    #[test]
    fn what_is_missing_is_said() {
        let said = |text: &str| {
            let mut out = Vec::new();
            toml::from_str::<StirSettings>(text).unwrap().examine(&mut |_, setting: &str, _| out.push(setting.to_owned()));
            out
        };
        assert_eq!(said(""), ["stir.roots"]);
        assert_eq!(said("roots = \"/nowhere\"\nhosts = []\nrevocation = \"ignored\"\npatience = 9000"), ["stir", "stir.revocation", "stir.hosts", "stir.patience"]);
        assert_eq!(said("[sign]\nkey_file = \"/nowhere\"\nx5u = \"https://certs.example.org/a\"\nnumbers = []"), ["stir.sign.key_file", "stir.sign", "stir.sign.numbers"]);
        assert!(toml::from_str::<StirSettings>("loopback = true").is_err(), "a door of tests");
    }

    #[test]
    fn patience_has_bounds() {
        let wait = |ms: i64| toml::from_str::<StirSettings>(&format!("patience = {ms}")).unwrap().wait().as_millis();
        assert_eq!((wait(-5), wait(0), wait(2000), wait(60_000)), (100, 100, 2000, 5000));
    }
}
