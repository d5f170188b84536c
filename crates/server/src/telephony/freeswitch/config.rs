//! `[freeswitch]`: where FreeSWITCH reaches us, and which.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use countersign_core::{prompt::Music, secret::E164};
use countersign_sip::Network;
use serde::Deserialize;

use super::out::{OutAt, PASSWORD};
use crate::config::{ConfigError, Severity};

/// `[freeswitch]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreeSwitchSettings {
    /// Address and port that its dialplan connects to (`socket`).
    pub listen: SocketAddr,
    /// Who may connect: addresses, or networks as `192.0.2.0/24`.
    #[serde(default)]
    pub peers: Vec<String>,
    /// Where it fetches what is said, if not at the public address.
    pub media_url: Option<String>,
    /// The channel variable that says whether the call's signature was verified, such as
    /// `sip_verstat_detailed`. Without, every call counts as unsigned.
    pub verstat_variable: Option<String>,
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
    /// The telephones of agents, by sign-in name, as it dials them: `user/robin`.
    #[serde(default)]
    pub agent_phones: BTreeMap<String, String>,
    /// What it plays for our names of music: `calm`, `lively`, `classical`.
    #[serde(default)]
    pub music: BTreeMap<String, String>,
    /// The file of a recording of each call that is masked while a secret is keyed: `{uuid}` stands for
    /// the caller's channel.
    pub recording: Option<String>,
    /// Calls that we make.
    pub out: Option<OutAt>,
}

fn calls() -> usize { 200 }

/// Why FreeSWITCH cannot be listened to.
#[derive(Debug, thiserror::Error)]
pub enum FreeSwitchConfigError {
    /// What is no address.
    #[error("freeswitch.peers: {0:?} is no address and no network: write 192.0.2.10 or 192.0.2.0/24")]
    Peer(String),
    /// No password.
    #[error("freeswitch.out.password_file is missing, or holds no password of one word: name it, or set {PASSWORD}")]
    NoPassword,
    /// A file that cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What would end a command and begin another.
    #[error("freeswitch.{0} holds something that cannot stand in a command: no spaces, quotation marks, braces or line ends")]
    Text(&'static str),
}

/// One word of a command.
pub(super) fn is_word(text: &str) -> bool { !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !b"'\"`{}[]<>|\\^$".contains(&b)) }

impl FreeSwitchSettings {
    /// Who may connect.
    ///
    /// # Errors
    /// What is no address.
    pub fn networks(&self) -> Result<Vec<Network>, FreeSwitchConfigError> {
        self.peers.iter().map(|text| text.parse().map_err(|_| FreeSwitchConfigError::Peer(text.clone()))).collect()
    }

    /// What goes into commands is one word each.
    ///
    /// # Errors
    /// Something is not.
    pub fn words(&self) -> Result<(), FreeSwitchConfigError> {
        let word = is_word;
        let wrong = |good: bool, setting| if good { Ok(()) } else { Err(FreeSwitchConfigError::Text(setting)) };
        wrong(self.agent_phones.values().all(|text| word(text)), "agent_phones")?;
        wrong(self.music.values().all(|text| word(text)), "music")?;
        wrong(self.media_url.as_deref().is_none_or(word), "media_url")?;
        wrong(self.recording.as_deref().is_none_or(|text| word(&text.replace("{uuid}", "u"))), "recording")
    }

    /// What is played for this music.
    pub fn stream(&self, music: Music) -> &str {
        match music {
            Music::Silence => "silence_stream://-1",
            other => self.music.get(other.name()).map_or("local_stream://moh", String::as_str),
        }
    }

    /// What is missing or unsafe.
    pub(crate) fn examine(&self, public_url: &str, say: &mut impl FnMut(Severity, &str, String)) {
        for fault in [self.networks().map(drop), self.words()].into_iter().filter_map(Result::err) {
            say(Severity::Missing, "freeswitch", fault.to_string());
        }
        if let Some(out) = &self.out {
            out.examine(self.listen, say);
        }
        if self.peers.is_empty() {
            say(Severity::Missing, "freeswitch.peers", "nobody may connect: name the addresses of FreeSWITCH".into());
        }
        if self.peers.iter().any(|peer| peer.ends_with("/0")) {
            say(Severity::Unsafe, "freeswitch.peers", "lets the whole internet bring calls and keys: name the addresses of FreeSWITCH".into());
        }
        if !self.listen.ip().is_loopback() {
            say(Severity::Unsafe, "freeswitch.listen", "the event socket knows no TLS and no password: keys of callers cross the network in clear. Run it on FreeSWITCH's machine, or in a tunnel".into());
        }
        if self.media_url.as_deref().unwrap_or(public_url).starts_with("http://") && !self.listen.ip().is_loopback() {
            say(Severity::Unsafe, "freeswitch.media_url", "prompts with codes would cross the network in clear: use https".into());
        }
        for name in self.music.keys().filter(|name| !Music::ALL.iter().any(|music| music.name() == *name)) {
            say(Severity::Missing, "freeswitch.music", format!("{name:?} is none of ours: calm, lively, classical"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_into_commands_is_one_word() {
        for (more, good) in [
            ("", true), ("[agent_phones]\nrobin = \"user/robin@example.com\"", true), ("[agent_phones]\nrobin = \"user/robin &system(reboot)\"", false),
            ("[agent_phones]\nrobin = \"{api_hangup_hook=x}user/robin\"", false), ("[music]\ncalm = \"a\\n\\nexit\"", false),
            ("recording = \"/rec/{uuid}.wav\"", true), ("recording = \"/rec/{uuid} all\"", false), ("media_url = \"http://127.0.0.1:8080\"", true),
        ] {
            let settings: FreeSwitchSettings = toml::from_str(&format!("listen = \"127.0.0.1:8084\"\n{more}")).unwrap();
            assert_eq!(settings.words().is_ok(), good, "{more}");
        }
    }
}
