//! The configuration file of `serve`, and what is missing or unsafe in it.

use std::{net::SocketAddr, path::PathBuf};

use countersign_core::call::Params;
use countersign_core::secret::{E164, Secret};
use countersign_core::speech::Hearing;
use serde::Deserialize;

use crate::{
    keyring::Master,
    ledger::witness::Witness,
    oauth::clients::{self, ClientSettings},
    outbox::{http::endpoint, twilio::{ACCOUNT_FORM, is_account}},
    push::address::Rules,
    recording::RecordingSettings,
    retention::Retention,
    risk_config::{IntelSettings, RiskSettings},
    stir::config::StirSettings,
    storage::Storage,
    telephony::{
        asterisk::config::AsteriskSettings, connect::ConnectSettings, freeswitch::config::FreeSwitchSettings, genesys::GenesysSettings, http::HttpSettings,
        jambonz::JambonzSettings, sip::config::SipSettings,
    },
    voice::VoiceSettings,
    token::{self, TokenKey},
    upstream::Hint,
};

/// `countersign.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who we answer for.
    pub company: Company,
    /// Where we listen and how the world reaches us.
    pub listen: Listen,
    /// Where the record is kept.
    pub store: Storage,
    /// Where the master key is.
    pub keys: Keys,
    /// Policies of your own.
    #[serde(default)]
    pub policy: PolicyFiles,
    /// Lengths and limits of calls.
    #[serde(default)]
    pub calls: Params,
    /// What signals weigh and where scores lead.
    #[serde(default)]
    pub risk: RiskSettings,
    /// Whoever knows numbers.
    pub number_intelligence: Option<IntelSettings>,
    /// Numbers that nobody answers.
    #[serde(default)]
    pub deny_numbers: Vec<E164>,
    /// Twilio, for calls and texts.
    pub twilio: Option<Twilio>,
    /// Telephones and trunks that call us directly.
    pub sip: Option<SipSettings>,
    /// Asterisk, which gives us its calls.
    pub asterisk: Option<AsteriskSettings>,
    /// FreeSWITCH, which asks us what to do with its calls.
    pub freeswitch: Option<FreeSwitchSettings>,
    /// Signatures of calling numbers.
    pub stir: Option<StirSettings>,
    /// Whoever records calls.
    pub recording: Option<RecordingSettings>,
    /// jambonz, for calls.
    pub jambonz: Option<JambonzSettings>,
    /// Amazon Connect, for calls.
    pub connect: Option<ConnectSettings>,
    /// Genesys Cloud, for calls.
    pub genesys: Option<GenesysSettings>,
    /// Any other telephone system.
    pub http: Option<HttpSettings>,
    /// Comparing voices: off without it.
    pub voice: Option<VoiceSettings>,
    /// A provider of your own for texts and read-out codes.
    pub messages: Option<HttpMessages>,
    /// A mail server for notices.
    pub mail: Option<Mail>,
    /// Waking customers' devices.
    #[serde(default)]
    pub push: PushServices,
    /// Sign-in to the portal through the company's OpenID provider.
    pub sign_in: Option<SignInAt>,
    /// Asking at the company's OpenID provider during a call.
    pub provider: Option<AskAt>,
    /// The Merkle log over the record.
    #[serde(default)]
    pub log: LogSettings,
    /// Programs that may ask us.
    #[serde(default)]
    pub api: Vec<ApiClient>,
    /// Programs that may ask for a proof (OpenID).
    #[serde(default)]
    pub oauth_clients: Vec<ClientSettings>,
    /// What is kept for how long.
    #[serde(default)]
    pub retention: Retention,
    /// Other companies whose calls this desk takes.
    #[serde(default)]
    pub tenants: Vec<TenantAt>,
}

/// A company whose calls another's desk takes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantAt {
    /// What it is called in commands and on record: 1 to 40 letters, digits or dashes.
    pub name: String,
    /// Its own configuration: a whole one, with a record, keys and an address of its own.
    pub config: PathBuf,
}

/// Who we answer for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Company {
    /// As it is said and written to customers; at most 20 characters, so that a text stays one segment.
    pub name: String,
    /// The number that customers call to report fraud, as it is read out.
    pub fraud_line: String,
    /// A folder with words of your own: `en/voice.ftl` and the like, with what shall sound otherwise.
    pub words: Option<PathBuf>,
}

/// Where we listen and how the world reaches us.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Address and port.
    pub address: SocketAddr,
    /// The https address that customers, agents and Twilio use, without a slash at the end.
    pub public_url: String,
}

/// Where the master key is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// A file with 64 hexadecimal digits. `COUNTERSIGN_KEY` in the environment comes first.
    pub file: Option<PathBuf>,
    /// A token that holds the key, where no file is named.
    pub pkcs11: Option<TokenKey>,
}

/// Policies of your own.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyFiles {
    /// A folder with `*.cedar` files that replace the shipped base.
    pub dir: Option<PathBuf>,
    /// Packs by regulation that lie over them: names of shipped ones, or folders.
    #[serde(default)]
    pub packs: Vec<String>,
}

/// Twilio.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Twilio {
    /// Account SID.
    pub account_sid: String,
    /// A file with the auth token. `COUNTERSIGN_TWILIO_TOKEN` in the environment comes first.
    pub auth_token_file: Option<PathBuf>,
    /// The number that texts and codes come from.
    pub from: E164,
    /// A number of its own that only the portal dials: calls to it begin with a token
    /// (`silent_authentication`). Without it the portal offers no such call.
    pub app_number: Option<E164>,
    /// Verbal passwords are said to Twilio's recogniser first, and to the agent if that does not help.
    #[serde(default)]
    pub hear_verbal_passwords: bool,
    /// What the recogniser is less sure of than this, in percent, was not heard: 50 to 100.
    #[serde(default = "least_confidence")]
    pub least_confidence: u8,
    /// Callers are listened to over Twilio's media streams where `[voice]` asks for it.
    #[serde(default)]
    pub streams: bool,
    /// Only for tests: another address than Twilio's.
    pub base_url: Option<String>,
    /// The telephones of agents, by sign-in name.
    #[serde(default)]
    pub agent_phones: std::collections::BTreeMap<String, E164>,
}

pub(crate) fn least_confidence() -> u8 { 80 }

/// What is to be said about verbal passwords that are said to a recogniser of `whose`.
pub(crate) fn examine_hearing(say: &mut impl FnMut(Severity, &str, String), section: &str, whose: &str, hears: bool, least: u8) {
    if hears {
        let text = format!("what callers say is turned into words by {whose}, which may keep them: switch on what keeps them out of its logs, and look at what these hold");
        say(Severity::Note, &format!("{section}.hear_verbal_passwords"), text);
    }
    if !(50..=100).contains(&least) {
        say(Severity::Missing, &format!("{section}.least_confidence"), "has to be 50 to 100: below that a recogniser guesses".into());
    }
}

/// A provider of your own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpMessages {
    /// Where messages are posted.
    pub url: String,
    /// A file with the secret that signs them.
    pub secret_file: PathBuf,
}

/// A mail server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    /// Host name.
    pub host: String,
    /// Port; 587 unless said otherwise.
    #[serde(default = "submission")]
    pub port: u16,
    /// The sender's address.
    pub from: String,
    /// User name, if the server wants one.
    pub user: Option<String>,
    /// A file with the password.
    pub password_file: Option<PathBuf>,
}

fn submission() -> u16 { 587 }

/// Sign-in to the portal through the company's OpenID provider.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignInAt {
    /// Its address, exactly as its discovery document says.
    pub issuer: String,
    /// Our name there.
    pub client_id: String,
    /// A file with our secret there. `COUNTERSIGN_SIGN_IN_SECRET` in the environment comes first.
    pub client_secret_file: Option<PathBuf>,
    /// What the button says.
    pub name: String,
    /// The claim that holds the account number.
    #[serde(default = "subject_claim")]
    pub claim: String,
    /// What is asked for, beside `openid`.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// How sure the provider has to be, in its own words: one of these.
    pub acr_values: Option<String>,
}

fn subject_claim() -> String { "sub".into() }

/// Asking at the company's OpenID provider during a call (CIBA).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskAt {
    /// Its address, exactly as its discovery document says.
    pub issuer: String,
    /// Our name there.
    pub client_id: String,
    /// A file with our secret there. `COUNTERSIGN_PROVIDER_SECRET` in the environment comes first.
    pub client_secret_file: Option<PathBuf>,
    /// By what it is told whom to ask.
    #[serde(default)]
    pub login_hint: Hint,
    /// What is asked for, beside `openid`.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// How sure the provider has to be, in its own words: one of these.
    pub acr_values: Option<String>,
}

/// `openid` and what comes with it, as it is asked for.
pub fn scope(more: &[String]) -> String {
    let mut all = vec!["openid"];
    all.extend(more.iter().map(String::as_str).filter(|s| *s != "openid"));
    all.join(" ")
}

/// Where wake-ups for customers' devices may go, beside the push services of the browsers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushServices {
    /// Further hosts: `push.example.com` or `*.push.example.com`.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Only for tests: plain http on this machine.
    #[serde(default)]
    pub loopback: bool,
}

impl PushServices {
    /// As the sender judges by it.
    pub fn rules(&self) -> Rules { Rules { hosts: self.hosts.clone(), loopback: self.loopback } }
}

/// The Merkle log over the record.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// What it is called, if not by the host of the public address.
    pub origin: Option<String>,
    /// Others who see every checkpoint.
    #[serde(default)]
    pub witnesses: Vec<WitnessSettings>,
    /// A file in another place than the database that remembers how far the log was, so that an older
    /// backup is recognised.
    pub memory: Option<PathBuf>,
}

/// One of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessSettings {
    /// Its address, without `/add-checkpoint`.
    pub url: String,
    /// Its public key: `NAME+HASH+KEY`.
    pub key: String,
}

/// A program that may ask us.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiClient {
    /// Its name in the record.
    pub name: String,
    /// SHA-256 of its bearer key in hexadecimal: the key itself is not kept here.
    pub key_sha256: String,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Note,
    /// Works, and should not stay so.
    Unsafe,
    /// Does not work.
    Missing,
}

/// One line of `doctor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Which setting.
    pub setting: String,
    /// What is the matter and what to do.
    pub text: String,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no such configuration.
    #[error("cannot read {path}: there is no such file. Name yours with --config FILE, or begin with a copy of docs/countersign.example.toml; `countersign demo` needs none")]
    NotThere {
        /// Which file.
        path: String,
    },
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{path}: {source}")]
    Parse {
        /// Which file.
        path: String,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
}

impl Config {
    /// Lengths, limits and weights as the machine wants them.
    pub fn params(&self) -> Params { Params { risk: self.risk.rules(self.rings()), hearing: self.hearing(), voice: self.voice.as_ref().map(|voice| voice.params(self.listeners())), ..self.calls.clone() } }

    /// The adapters through which callers can be heard.
    fn listeners(&self) -> Vec<String> {
        let twilio = self.twilio.as_ref().filter(|twilio| twilio.streams).map(|_| crate::telephony::twilio::NAME);
        let asterisk = self.asterisk.as_ref().filter(|asterisk| asterisk.sound_address.is_some()).map(|_| crate::telephony::asterisk::NAME);
        [Some(crate::telephony::sip::NAME), twilio, asterisk].into_iter().flatten().map(str::to_owned).collect()
    }

    /// Where verbal passwords are said to a machine. A floor that no recogniser has is as good as none.
    fn hearing(&self) -> Vec<Hearing> {
        use crate::telephony::{http, jambonz, twilio};
        let twilio = self.twilio.as_ref().map(|at| (twilio::NAME, at.hear_verbal_passwords, at.least_confidence));
        let jambonz = self.jambonz.as_ref().map(|at| (jambonz::NAME, at.hear_verbal_passwords, at.least_confidence));
        let http = self.http.as_ref().map(|at| (http::NAME, at.hear_verbal_passwords, at.least_confidence));
        let hears = [twilio, jambonz, http].into_iter().flatten().filter(|(_, hears, _)| *hears);
        hears.map(|(adapter, _, floor)| Hearing { adapter: adapter.into(), floor: floor.clamp(50, 100) }).collect()
    }

    /// Whether there is a telephony that can ring customers.
    pub fn rings(&self) -> bool {
        self.twilio.is_some() || self.jambonz.is_some() || self.http.as_ref().is_some_and(|at| at.push_url.is_some()) || self.sip.as_ref().is_some_and(|at| at.out.is_some())
            || self.asterisk.as_ref().is_some_and(|at| at.out.is_some()) || self.freeswitch.as_ref().is_some_and(|at| at.out.is_some())
    }

    /// Whether calls can come in.
    fn answers(&self) -> bool {
        let switched = self.sip.is_some() || self.asterisk.is_some() || self.freeswitch.is_some();
        self.twilio.is_some() || switched || self.jambonz.is_some() || self.connect.is_some() || self.genesys.is_some() || self.http.is_some()
    }

    /// The number that only the portal dials, at whichever telephone system it is.
    pub fn app_number(&self) -> Option<&E164> {
        let of = [
            self.twilio.as_ref().and_then(|at| at.app_number.as_ref()), self.jambonz.as_ref().and_then(|at| at.app_number.as_ref()),
            self.connect.as_ref().and_then(|at| at.app_number.as_ref()), self.genesys.as_ref().and_then(|at| at.app_number.as_ref()),
            self.http.as_ref().and_then(|at| at.app_number.as_ref()), self.sip.as_ref().and_then(|at| at.app_number.as_ref()),
            self.asterisk.as_ref().and_then(|at| at.app_number.as_ref()), self.freeswitch.as_ref().and_then(|at| at.app_number.as_ref()),
        ];
        of.into_iter().flatten().next()
    }

    /// What the Merkle log is called: its own name, or the host of the public address.
    pub fn log_origin(&self) -> String {
        let host = || {
            let url = url::Url::parse(&self.listen.public_url).ok();
            let host = url.and_then(|url| url.host_str().map(str::to_owned));
            format!("{}/log", host.unwrap_or_else(|| "localhost".into()))
        };
        self.log.origin.clone().unwrap_or_else(host)
    }

    /// Whoever sees every checkpoint.
    ///
    /// # Errors
    /// A key that is none.
    pub fn log_witnesses(&self) -> Result<Vec<Witness>, String> {
        let witness = |w: &WitnessSettings| {
            let key = w.key.parse().map_err(|e| format!("{e}: ask whoever runs the witness at {} for its key", w.url))?;
            endpoint("url", &w.url).map_err(|e| e.to_string())?;
            Ok(Witness { key, url: w.url.clone() })
        };
        self.log.witnesses.iter().map(witness).collect()
    }

    /// Reads a file. Unknown settings are errors: a misspelt one must not pass for a default.
    pub fn read(path: &std::path::Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => ConfigError::NotThere { path: name.clone() },
            _ => ConfigError::Read { path: name.clone(), source },
        })?;
        toml::from_str(&text).map_err(|source| ConfigError::Parse { path: name, source: Box::new(source) })
    }

    /// Everything that is missing or unsafe, worst first.
    pub fn examine(&self) -> Vec<Finding> {
        let mut out = Vec::new();
        let mut say = |severity, setting: &str, text: String| out.push(Finding { severity, setting: setting.into(), text });
        let public = url::Url::parse(&self.listen.public_url);
        match &public {
            Err(e) => say(Severity::Missing, "listen.public_url", format!("is not an address ({e}): write https://calls.example.com")),
            Ok(url) if url.scheme() != "https" => say(Severity::Unsafe, "listen.public_url", "is not https: codes, sessions and webhooks would cross the network in clear".into()),
            Ok(_) if self.listen.public_url.ends_with('/') => say(Severity::Missing, "listen.public_url", "ends with a slash: take it away, or webhook signatures will not match".into()),
            Ok(_) => {}
        }
        if !self.listen.address.ip().is_loopback() {
            say(Severity::Note, "listen.address", "is open to the network in clear: keep a reverse proxy with TLS in front and a firewall around it".into());
        }
        if self.company.name.chars().count() > 20 {
            say(Severity::Unsafe, "company.name", "is longer than 20 characters: texted codes may take two segments".into());
        }
        if !self.company.fraud_line.chars().any(|c| c.is_ascii_digit()) {
            say(Severity::Missing, "company.fraud_line", "has no digit: customers must be able to call it".into());
        }
        match (&self.keys.file, std::env::var_os("COUNTERSIGN_KEY")) {
            (None, None) if self.keys.pkcs11.is_some() => {}
            (None, None) => say(Severity::Missing, "keys.file", "no master key: run `countersign key new countersign.key` and name the file here, or set COUNTERSIGN_KEY".into()),
            (Some(path), _) => private_file(path, "keys.file", &mut say),
            (None, Some(_)) => {}
        }
        // What serving would read, and by its own check; a file that cannot be read was named above.
        if let Ok(Some(text)) = read_secret("COUNTERSIGN_KEY", self.keys.file.as_deref())
            && let Err(e) = Master::parse(text.expose())
        {
            say(Severity::Missing, "keys.file", e.to_string());
        }
        if let Some(at) = &self.keys.pkcs11 {
            if self.keys.file.is_some() {
                say(Severity::Note, "keys.pkcs11", "is not used while keys.file is named".into());
            }
            match (&at.pin_file, std::env::var_os(token::PIN)) {
                (None, None) => say(Severity::Missing, "keys.pkcs11.pin_file", format!("no PIN: name a file, or set {}", token::PIN)),
                (Some(path), None) => private_file(path, "keys.pkcs11.pin_file", &mut say),
                _ => {}
            }
            if !at.module.exists() {
                say(Severity::Missing, "keys.pkcs11.module", format!("{} does not exist", at.module.display()));
            }
        }
        self.store.examine(self.keys.file.as_ref(), &mut say);
        // A desk for other companies needs no telephone of its own.
        let own_calls = self.tenants.is_empty() || self.answers();
        let texts = self.twilio.is_some() || self.messages.is_some();
        if own_calls && !texts {
            say(Severity::Missing, "twilio / messages", "nobody can send texted codes: configure [twilio] or [messages]".into());
        }
        if own_calls && !self.answers() {
            say(Severity::Missing, "twilio", "no telephony: calls cannot come in".into());
        }
        if own_calls && self.mail.is_none() {
            say(Severity::Unsafe, "mail", "no mail server: customers without a mobile number get no notice of changes".into());
        }
        if let Some(sip) = &self.sip {
            sip.examine(&mut say);
        }
        if let Some(asterisk) = &self.asterisk {
            asterisk.examine(&self.listen.public_url, &mut say);
        }
        if let Some(freeswitch) = &self.freeswitch {
            freeswitch.examine(&self.listen.public_url, &mut say);
        }
        if let Some(stir) = &self.stir {
            stir.examine(&mut say);
        }
        if let Some(recording) = &self.recording {
            recording.examine(&mut say);
        }
        if let Some(at) = &self.jambonz {
            at.examine(&mut say);
        }
        if let Some(at) = &self.connect {
            at.examine(&mut say);
        }
        if let Some(at) = &self.genesys {
            at.examine(&mut say);
        }
        if let Some(at) = &self.http {
            at.examine(&mut say);
        }
        if let Some(voice) = &self.voice {
            for (setting, text) in voice.faults() {
                say(Severity::Missing, setting, text);
            }
            if self.sip.is_none() && self.listeners().len() == 1 {
                say(Severity::Missing, "voice", "nobody can be heard: only telephones that call by [sip] can, those through Twilio with twilio.streams, and those through Asterisk with asterisk.sound_address".into());
            }
        }
        if let Some(twilio) = &self.twilio {
            match (&twilio.auth_token_file, std::env::var_os("COUNTERSIGN_TWILIO_TOKEN")) {
                (None, None) => say(Severity::Missing, "twilio.auth_token_file", "no auth token: webhooks cannot be checked. Name a file, or set COUNTERSIGN_TWILIO_TOKEN".into()),
                (Some(path), None) => private_file(path, "twilio.auth_token_file", &mut say),
                _ => {}
            }
            if !is_account(&twilio.account_sid) {
                say(Severity::Missing, "twilio.account_sid", ACCOUNT_FORM.into());
            }
            examine_hearing(&mut say, "twilio", "Twilio (its PCI mode or its redaction)", twilio.hear_verbal_passwords, twilio.least_confidence);
            match (twilio.streams, self.voice.is_some()) {
                (true, true) => say(Severity::Note, "twilio.streams", "what callers say into a take passes through Twilio's media streams: say so where you ask for their consent".into()),
                (true, false) => say(Severity::Note, "twilio.streams", "listens to nobody: only [voice] asks for it".into()),
                (false, _) => {}
            }
            if twilio.base_url.is_some() {
                say(Severity::Unsafe, "twilio.base_url", "points away from Twilio: only for tests".into());
            }
        }
        if let Some(mail) = &self.mail {
            match (&mail.user, &mail.password_file, std::env::var_os("COUNTERSIGN_MAIL_PASSWORD")) {
                (Some(_), None, None) => say(Severity::Missing, "mail.password_file", "the server wants a password for this user: name a file, or set COUNTERSIGN_MAIL_PASSWORD".into()),
                (Some(_), Some(path), None) => private_file(path, "mail.password_file", &mut say),
                _ => {}
            }
        }
        if let Some(messages) = &self.messages {
            private_file(&messages.secret_file, "messages.secret_file", &mut say);
        }
        let mut provider = |section: &str, issuer: &str, file: &Option<PathBuf>, variable: &str| {
            if let Err(e) = endpoint("issuer", issuer) {
                say(Severity::Missing, &format!("{section}.issuer"), format!("{e}; http is for a provider on this machine only"));
            }
            match (file, std::env::var_os(variable)) {
                (None, None) => say(Severity::Missing, &format!("{section}.client_secret_file"), format!("no secret: name the file with what the provider gave you, or set {variable}")),
                (Some(path), None) => private_file(path, &format!("{section}.client_secret_file"), &mut say),
                _ => {}
            }
        };
        if let Some(at) = &self.sign_in {
            provider("sign_in", &at.issuer, &at.client_secret_file, "COUNTERSIGN_SIGN_IN_SECRET");
        }
        if let Some(at) = &self.provider {
            provider("provider", &at.issuer, &at.client_secret_file, "COUNTERSIGN_PROVIDER_SECRET");
        }
        match (&self.sign_in, &self.provider) {
            (None, Some(_)) => say(Severity::Missing, "provider", "nobody can be asked there: accounts are linked when their holders sign in, so configure [sign_in] as well".into()),
            (Some(a), Some(b)) if a.issuer != b.issuer => say(Severity::Missing, "provider.issuer", "is not the one of [sign_in]: its names for customers are not those that were linked".into()),
            _ => {}
        }
        for entry in self.push.rules().unusable() {
            say(Severity::Missing, "push.hosts", format!("{entry:?} names no host: write push.example.com, or *.push.example.com for all hosts under it"));
        }
        if self.push.loopback {
            say(Severity::Unsafe, "push.loopback", "lets customers' browsers name addresses on this machine: only for tests".into());
        }
        for text in self.retention.faults() {
            say(Severity::Missing, "retention", text);
        }
        for client in &self.api {
            if client.key_sha256.len() != 64 || !client.key_sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
                say(Severity::Missing, "api.key_sha256", format!("of {} is not 64 hexadecimal digits: printf %s KEY | sha256sum", client.name));
            }
        }
        if let Err(e) = self.log_witnesses() {
            say(Severity::Missing, "log.witnesses", e);
        }
        if self.log.witnesses.is_empty() && self.log.memory.is_none() {
            say(Severity::Note, "log.witnesses", "nobody else sees the log: whoever holds the database and the key could write another history. Name a witness, or at least log.memory".into());
        }
        clients::examine(&self.oauth_clients, &mut say);
        self.risk.examine(self.rings(), &mut say);
        if let Some(intel) = &self.number_intelligence {
            intel.examine(self.twilio.as_ref(), &mut say);
        }
        limits(&self.calls, &mut say);
        out.sort_by_key(|f| std::cmp::Reverse(f.severity));
        out
    }
}

/// Limits that the standards bound.
fn limits(p: &Params, say: &mut impl FnMut(Severity, &str, String)) {
    use countersign_core::time::Span;
    let mut check = |bad: bool, setting: &str, text: &str| if bad { say(Severity::Unsafe, setting, text.into()) };
    for (setting, span) in [
        ("calls.challenge_life", p.challenge_life), ("calls.throttle_window", p.throttle_window), ("calls.level_life", p.level_life),
        ("calls.longest_wait", p.longest_wait), ("calls.longest_silence", p.longest_silence),
    ] {
        check(span <= Span(0), setting, "is zero or less: write milliseconds above zero");
    }
    check(p.code_digits < 6, "calls.code_digits", "below 6 digits (NIST SP 800-63B-4 §3.1.3); 6 are used");
    check(p.challenge_life > Span::minutes(10), "calls.challenge_life", "above 10 minutes (NIST SP 800-63B-4 §3.1.3)");
    check(p.tries > 5, "calls.tries", "above 5 (RTS 2018/389 Art. 4); 5 are used");
    check(p.lifetime_failures > 100, "calls.lifetime_failures", "above 100 (NIST SP 800-63B-4 §3.2.2); 100 are used");
    check(p.cooling_off < Span::days(1), "calls.cooling_off", "below one day: a stolen change is used before anybody reads the notice");
    check(p.level_life > Span::hours(2), "calls.level_life", "above two hours: assurance outlives the conversation");
}

pub(crate) fn private_file(path: &std::path::Path, setting: &str, say: &mut impl FnMut(Severity, &str, String)) {
    match std::fs::metadata(path) {
        Err(e) => say(Severity::Missing, setting, format!("cannot read {}: {e}", path.display())),
        #[cfg(unix)]
        Ok(meta) if std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o077 != 0 => {
            say(Severity::Unsafe, setting, format!("others may read {}: chmod 600 it", path.display()));
        }
        Ok(_) => {}
    }
}

/// Reads a secret from the environment or a file; the trailing line end does not count.
pub fn read_secret(variable: &str, file: Option<&std::path::Path>) -> Result<Option<Secret>, ConfigError> {
    if let Ok(text) = std::env::var(variable) {
        return Ok(Some(Secret::new(text.trim())));
    }
    let Some(path) = file else { return Ok(None) };
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.display().to_string(), source })?;
    Ok(Some(Secret::new(text.trim())))
}
