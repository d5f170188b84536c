//! `[sip]`: where telephones and trunks reach the gateway.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use countersign_core::secret::E164;
use countersign_sip::{Digest, digest::Algorithm, Network, RtpSource, Settings, Trunk, is_sip_uri};
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::{out::Out, voice::Voice};
use crate::telephony::switch::{self, out::OutAt};
use crate::{
    config::{ConfigError, Severity, private_file, read_secret},
    prompts::{PromptError, Set},
    stir::config::Signs,
};

/// `[sip]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SipSettings {
    /// Address and port of requests, on UDP and TCP.
    pub listen: SocketAddr,
    /// The address that others are told, if it is another.
    pub advertise: Option<IpAddr>,
    /// Who may call: addresses, or networks as `192.0.2.0/24`.
    #[serde(default)]
    pub peers: Vec<String>,
    /// Whether what peers assert of the calling number counts (`P-Asserted-Identity`).
    #[serde(default)]
    pub trust_asserted: bool,
    /// What national numbers begin with, such as `+1`. Without, a number has to begin with `+`.
    pub national: Option<String>,
    /// Calls at one time.
    #[serde(default = "calls")]
    pub calls: usize,
    /// The first and the last port for audio.
    pub rtp_ports: Option<(u16, u16)>,
    /// Callers behind address translation send from elsewhere than they say.
    #[serde(default)]
    pub latch: bool,
    /// A folder with recordings of your own.
    pub prompts: Option<PathBuf>,
    /// The program that speaks what nobody recorded, with its arguments.
    #[serde(default)]
    pub speech: Vec<String>,
    /// The telephones of agents, by sign-in name: SIP URIs.
    #[serde(default)]
    pub agent_phones: BTreeMap<String, String>,
    /// Names and passwords of telephones that may call.
    pub users: Option<Users>,
    /// Where we register.
    pub trunk: Option<TrunkAt>,
    /// Calls that we make.
    pub out: Option<OutAt>,
    /// A number of its own that only the portal dials: calls to it begin with a token.
    pub app_number: Option<E164>,
}

fn calls() -> usize { 200 }

/// Telephones that give a name and a password (digest).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Users {
    /// The realm that telephones are told.
    pub realm: String,
    /// A file with a line `name password` for each.
    pub file: PathBuf,
}

/// `[sip.out]` as the adapter takes it.
pub fn calls_out(at: &OutAt, signs: Option<Signs>) -> Out {
    let switch::out::Out { to, from, ring } = at.through();
    Out { to, from, ring, signs, room: Arc::new(Semaphore::new(at.at_once.min(10_000))) }
}

/// A trunk or PBX where we register.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrunkAt {
    /// `sip:example.com`.
    pub registrar: String,
    /// The user.
    pub user: String,
    /// A file with the password. `COUNTERSIGN_SIP_PASSWORD` in the environment comes first.
    pub password_file: Option<PathBuf>,
}

/// Why the gateway cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SipConfigError {
    /// What is no address.
    #[error("sip.peers: {0:?} is no address and no network: write 192.0.2.10 or 192.0.2.0/24")]
    Peer(String),
    /// A file that cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A line that is none.
    #[error("{path}, line {line}: write a name, a space and a password")]
    User {
        /// Which file.
        path: String,
        /// Which line.
        line: usize,
    },
    /// No password for the trunk.
    #[error("sip.trunk.password_file is missing: name it, or set COUNTERSIGN_SIP_PASSWORD")]
    NoPassword,
}

impl SipSettings {
    /// As the gateway takes them.
    ///
    /// # Errors
    /// See [`SipConfigError`].
    pub fn settings(&self) -> Result<Settings, SipConfigError> {
        let mut settings = Settings::new(self.listen);
        settings.advertise = self.advertise;
        settings.calls = self.calls;
        settings.peers = self.peers.iter().map(|text| text.parse::<Network>().map_err(|_| SipConfigError::Peer(text.clone()))).collect::<Result<_, _>>()?;
        settings.rtp_ports = self.rtp_ports.map(|(first, last)| first..=last);
        settings.rtp_source = if self.latch { RtpSource::Latch } else { RtpSource::Exact };
        if let Some(users) = &self.users {
            let path = users.file.display().to_string();
            let text = read_secret("COUNTERSIGN_SIP_USERS", Some(&users.file))?.unwrap_or_default();
            let mut known = BTreeMap::new();
            for (at, line) in text.expose().lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
                let (name, password) = line.trim().split_once(' ').ok_or_else(|| SipConfigError::User { path: path.clone(), line: at + 1 })?;
                known.insert(name.to_owned(), password.trim().to_owned());
            }
            // Most telephones know no other hash.
            settings.digest = Some(Digest { realm: users.realm.clone(), users: known, algorithm: Algorithm::Md5 });
        }
        if let Some(at) = &self.trunk {
            let password = read_secret("COUNTERSIGN_SIP_PASSWORD", at.password_file.as_deref())?.ok_or(SipConfigError::NoPassword)?;
            settings.trunk = Some(Trunk { registrar: at.registrar.clone(), user: at.user.clone(), password: password.expose().to_owned(), expires: Duration::from_secs(300) });
        }
        Ok(settings)
    }

    /// Whatever speaks.
    ///
    /// # Errors
    /// The folder of recordings cannot be used.
    pub fn voice(&self) -> Result<Voice, PromptError> { Voice::of(self.prompts.as_deref(), &self.speech) }

    /// What is missing or unsafe.
    pub(crate) fn examine(&self, say: &mut impl FnMut(Severity, &str, String)) {
        if self.peers.is_empty() && self.users.is_none() {
            say(Severity::Missing, "sip.peers", "nobody may call: name the addresses of your trunk or PBX, or [sip.users]".into());
        }
        if self.peers.iter().any(|peer| peer.ends_with("/0")) {
            say(Severity::Unsafe, "sip.peers", "lets the whole internet call: scanners keep every line busy. Name your trunk, or give telephones names and passwords".into());
        }
        if self.trust_asserted && self.users.is_some() {
            say(Severity::Unsafe, "sip.trust_asserted", "believes telephones what they assert of their number: only networks may be believed".into());
        }
        if self.latch {
            say(Severity::Unsafe, "sip.latch", "takes audio from whoever sends first to a port: prefer a media proxy in front".into());
        }
        if let Some(Err(e)) = self.prompts.as_deref().map(Set::read) {
            say(Severity::Missing, "sip.prompts", e.to_string());
        }
        if self.speech.is_empty() && self.prompts.is_none() {
            say(Severity::Note, "sip.prompts", "callers hear the recordings that come with us, without your name: record what `countersign prompts list --missing` says, or name a program in sip.speech".into());
        }
        if let Some(out) = &self.out {
            let sample = out.to.replace("{number}", "+12025550100");
            if !out.to.contains("{number}@") || !is_sip_uri(&sample) {
                say(Severity::Missing, "sip.out.to", "is no SIP URI with a number in it: write sip:{number}@trunk.example.com".into());
            }
            switch::out::limits("sip.out", out.at_once, out.ring, say);
        }
        if let Some(users) = &self.users {
            private_file(&users.file, "sip.users.file", say);
        }
        if let Some(path) = self.trunk.as_ref().and_then(|at| at.password_file.as_ref()) {
            private_file(path, "sip.trunk.password_file", say);
        }
    }
}
