//! `[asterisk]`: where its REST interface is, and who may speak to it.

use std::{collections::BTreeMap, net::IpAddr, ops::RangeInclusive, path::PathBuf};

use countersign_core::{prompt::Music, secret::{E164, Secret}};
use reqwest::Url;
use serde::Deserialize;

use crate::{
    config::{ConfigError, Severity, private_file, read_secret},
    outbox::provider::is_loopback,
    telephony::switch::out::{self, OutAt},
};

/// The password in the environment.
pub const PASSWORD: &str = "COUNTERSIGN_ASTERISK_PASSWORD";

/// `[asterisk]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AsteriskSettings {
    /// Its HTTP server, such as `http://127.0.0.1:8088` or `https://pbx.example.com:8089`, with the prefix
    /// of `http.conf` if there is one.
    pub url: String,
    /// Our name in `ari.conf`.
    pub user: String,
    /// A file with our password. `COUNTERSIGN_ASTERISK_PASSWORD` in the environment comes first.
    pub password_file: Option<PathBuf>,
    /// The name of the Stasis application.
    #[serde(default = "app")]
    pub app: String,
    /// Where Asterisk fetches what is said, if not at the public address.
    pub media_url: Option<String>,
    /// Speaks to another machine in clear: for a network of its own alone.
    #[serde(default)]
    pub allow_clear: bool,
    /// What national numbers begin with, such as `+1`. Without, a number has to begin with `+`.
    pub national: Option<String>,
    /// A number of its own that only the portal dials: calls to it begin with a token.
    pub app_number: Option<E164>,
    /// Calls at one time.
    #[serde(default = "calls")]
    pub calls: usize,
    /// A folder with recordings of your own, as in `[sip]`.
    pub prompts: Option<PathBuf>,
    /// The program that speaks what nobody recorded, with its arguments, as in `[sip]`.
    #[serde(default)]
    pub speech: Vec<String>,
    /// The telephones of agents, by sign-in name, as Asterisk dials them: `PJSIP/robin`.
    #[serde(default)]
    pub agent_phones: BTreeMap<String, String>,
    /// Classes of music on hold, by our names for music: `calm`, `lively`, `classical`.
    #[serde(default)]
    pub music: BTreeMap<String, String>,
    /// Our address as Asterisk sends sound to it, where `[voice]` asks for a caller to be listened to. Without
    /// one nobody is.
    pub sound_address: Option<IpAddr>,
    /// The first and the last port for that.
    pub sound_ports: Option<(u16, u16)>,
    /// The name of a live recording of each call that is muted while a secret is keyed: `{channel}` stands
    /// for the caller's channel.
    pub recording: Option<String>,
    /// Calls that we make.
    pub out: Option<OutAt>,
}

fn app() -> String { "countersign".into() }
fn calls() -> usize { 200 }

/// Where sound comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoundAt {
    /// Our address.
    pub address: IpAddr,
    /// Our ports; any without.
    pub ports: Option<RangeInclusive<u16>>,
}

/// Why Asterisk cannot be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum AsteriskConfigError {
    /// What is no address.
    #[error("asterisk.{0} is no address: write http://127.0.0.1:8088, or https for another machine")]
    Address(&'static str),
    /// In clear over a network.
    #[error("asterisk.{0} is http to another machine: passwords, prompts and keys would cross the network in clear. Use https, or set asterisk.allow_clear in a network of your own")]
    Clear(&'static str),
    /// What would not be one word in an address.
    #[error("asterisk.{0} is letters, digits, dots, dashes and underscores")]
    Name(&'static str),
    /// No password.
    #[error("asterisk.password_file is missing: name it, or set {PASSWORD}")]
    NoPassword,
    /// Ports of which there is none.
    #[error("asterisk.sound_ports is no range: write [24500, 24599], the first and the last")]
    Ports,
    /// Sound in clear over a network.
    #[error("asterisk.sound_address is not on this machine: what callers say would cross the network in clear. Set asterisk.allow_clear in a network of your own")]
    ClearSound,
    /// Everywhere is no address to send to.
    #[error("asterisk.sound_address has to be one address of this machine: Asterisk sends sound to it")]
    Everywhere,
    /// A file that cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The operating system gives no TLS.
    #[error("TLS cannot be set up")]
    Tls,
}

impl AsteriskSettings {
    /// The address of its REST interface.
    ///
    /// # Errors
    /// It is none, or in clear over a network.
    pub fn address(&self) -> Result<Url, AsteriskConfigError> { self.checked("url", &self.url) }

    fn checked(&self, setting: &'static str, text: &str) -> Result<Url, AsteriskConfigError> {
        let url = Url::parse(text).map_err(|_| AsteriskConfigError::Address(setting))?;
        let host = url.host_str().ok_or(AsteriskConfigError::Address(setting))?;
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(AsteriskConfigError::Address(setting));
        }
        match url.scheme() {
            "https" => Ok(url),
            "http" if self.allow_clear || is_loopback(host) => Ok(url),
            "http" => Err(AsteriskConfigError::Clear(setting)),
            _ => Err(AsteriskConfigError::Address(setting)),
        }
    }

    /// Where Asterisk fetches what is said.
    ///
    /// # Errors
    /// It is no address, or in clear over a network.
    pub fn media(&self, public_url: &str) -> Result<String, AsteriskConfigError> {
        let text = self.media_url.as_deref().unwrap_or(public_url);
        self.checked("media_url", text).map(|_| text.trim_end_matches('/').to_owned())
    }

    /// Our password there.
    ///
    /// # Errors
    /// There is none.
    pub fn password(&self) -> Result<Secret, AsteriskConfigError> {
        read_secret(PASSWORD, self.password_file.as_deref())?.filter(|p| !p.is_empty()).ok_or(AsteriskConfigError::NoPassword)
    }

    /// What goes into addresses is one word each.
    ///
    /// # Errors
    /// Something is not.
    pub fn names(&self) -> Result<(), AsteriskConfigError> {
        let word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !word(&self.app) {
            return Err(AsteriskConfigError::Name("app"));
        }
        if self.user.contains(':') || self.user.is_empty() {
            return Err(AsteriskConfigError::Name("user"));
        }
        if self.recording.as_deref().is_some_and(|name| !word(&name.replace("{channel}", "c"))) {
            return Err(AsteriskConfigError::Name("recording"));
        }
        Ok(())
    }

    /// Where sound comes in, if callers are to be listened to.
    ///
    /// # Errors
    /// It cannot be meant, or is in clear over a network.
    pub fn sound(&self) -> Result<Option<SoundAt>, AsteriskConfigError> {
        let Some(address) = self.sound_address else { return Ok(None) };
        if address.is_unspecified() || address.is_multicast() {
            return Err(AsteriskConfigError::Everywhere);
        }
        if !address.is_loopback() && !self.allow_clear {
            return Err(AsteriskConfigError::ClearSound);
        }
        let ports = match self.sound_ports {
            Some((first, last)) if first == 0 || first > last => return Err(AsteriskConfigError::Ports),
            ports => ports.map(|(first, last)| first..=last),
        };
        Ok(Some(SoundAt { address, ports }))
    }

    /// The class of this music.
    pub fn class(&self, music: Music) -> &str { self.music.get(music.name()).map_or("default", String::as_str) }

    /// What is missing or unsafe.
    pub(crate) fn examine(&self, public_url: &str, say: &mut impl FnMut(Severity, &str, String)) {
        let faults = [self.address().map(drop), self.media(public_url).map(drop), self.names(), self.sound().map(drop)];
        for fault in faults.into_iter().filter_map(Result::err) {
            say(Severity::Missing, "asterisk", fault.to_string());
        }
        match (&self.password_file, std::env::var_os(PASSWORD)) {
            (None, None) => say(Severity::Missing, "asterisk.password_file", format!("no password: name a file, or set {PASSWORD}")),
            (Some(path), None) => private_file(path, "asterisk.password_file", say),
            _ => {}
        }
        if let Some(out) = &self.out {
            out::examine("asterisk.out", &out.to, out.at_once, out.ring, say);
        }
        if self.allow_clear {
            say(Severity::Unsafe, "asterisk.allow_clear", "lets the password and what callers key cross a network in clear: use https".into());
        }
        for name in self.music.keys().filter(|name| !Music::ALL.iter().any(|music| music.name() == *name)) {
            say(Severity::Missing, "asterisk.music", format!("{name:?} is none of ours: calm, lively, classical"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(more: &str) -> AsteriskSettings { toml::from_str(&format!("user = \"u\"\n{more}")).unwrap() }

    #[test]
    fn nothing_goes_in_clear_over_a_network_by_accident() {
        for (url, good) in [
            ("http://127.0.0.1:8088", true), ("http://localhost:8088", true), ("http://[::1]:8088", true), ("https://pbx.example.com:8089/prefix", true),
            ("http://pbx.example.com:8088", false), ("http://127.0.0.1.example.com:8088", false), ("http://192.0.2.7", false), ("ws://127.0.0.1", false),
            ("https://u:p@pbx.example.com", false), ("https://pbx.example.com/?api_key=a:b", false), ("pbx", false),
        ] {
            assert_eq!(settings(&format!("url = {url:?}")).address().is_ok(), good, "{url}");
        }
        assert!(settings("url = \"http://192.0.2.7:8088\"\nallow_clear = true").address().is_ok());
        let here = settings("url = \"http://127.0.0.1:8088\"");
        assert!(here.media("http://calls.example.com").is_err(), "prompts with codes would go in clear");
        assert_eq!(here.media("https://calls.example.com").unwrap(), "https://calls.example.com");
    }

    #[test]
    fn sound_comes_to_one_address_and_not_in_clear_over_a_network() {
        for (more, good) in [
            ("", true), ("sound_address = \"127.0.0.1\"", true), ("sound_address = \"::1\"\nsound_ports = [24500, 24599]", true), ("sound_address = \"192.0.2.7\"", false),
            ("sound_address = \"192.0.2.7\"\nallow_clear = true", true), ("sound_address = \"0.0.0.0\"\nallow_clear = true", false), ("sound_address = \"239.0.0.1\"\nallow_clear = true", false),
            ("sound_address = \"127.0.0.1\"\nsound_ports = [2, 1]", false), ("sound_address = \"127.0.0.1\"\nsound_ports = [0, 1]", false),
        ] {
            assert_eq!(settings(&format!("url = \"http://127.0.0.1\"\n{more}")).sound().is_ok(), good, "{more}");
        }
        assert_eq!(settings("url = \"http://127.0.0.1\"").sound().unwrap(), None, "nobody is listened to without");
    }

    #[test]
    fn names_do_not_leave_their_place() {
        for (more, good) in [("", true), ("app = \"a&b\"", false), ("app = \"a/../b\"", false), ("recording = \"call-{channel}\"", true), ("recording = \"{channel}/../x\"", false)] {
            assert_eq!(settings(&format!("url = \"http://127.0.0.1\"\n{more}")).names().is_ok(), good, "{more}");
        }
    }
}
