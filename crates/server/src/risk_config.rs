//! `[risk]` and `[number_intelligence]` of the configuration: read strictly, and looked at by `doctor`.

use std::{path::{Path, PathBuf}, sync::Arc};

use countersign_core::{
    risk::{Mode, Part, Points, Route, Routes, Rules},
    secret::Secret,
    time::Span,
};
use serde::Deserialize;

use crate::{
    config::{ConfigError, Severity, Twilio, read_secret},
    intel::{
        NumberIntelligence, OnFailure, Use,
        camara::{Camara, CamaraConfig, MOST_HOURS, SIM_SWAP},
        file::{FileError, Listed},
        twilio::{BASE_URL, FIELDS, Lookup, LookupConfig},
    },
    outbox::provider::SetupError,
    watch::AgentLimits,
};

/// What signals weigh and where scores lead.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RiskSettings {
    /// Whether anything follows from a score.
    pub mode: Mode,
    /// Points per signal; those left out keep their usual ones.
    pub points: Points,
    /// From which score on a call goes where.
    pub routes: Routes,
    /// From how many a day on what an agent does can be unusual.
    pub agents: AgentLimits,
}

impl RiskSettings {
    /// As the machine wants them. Where nothing can ring, nobody is told that we ring back.
    pub fn rules(&self, rings: bool) -> Rules {
        let routes = if rings { self.routes } else { self.routes.without_call_back() };
        Rules { mode: self.mode, points: self.points.clone(), routes }
    }

    /// A file with `[points]` and `[routes]` alone, for `risk replay`; or a whole configuration.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: name.clone(), source })?;
        let parse = |source| ConfigError::Parse { path: name.clone(), source: Box::new(source) };
        let table: toml::Table = toml::from_str(&text).map_err(parse)?;
        match table.get("risk") {
            Some(risk) => risk.clone().try_into().map_err(parse),
            None => toml::from_str(&text).map_err(parse),
        }
    }

    /// What is missing or not sensible.
    pub fn examine(&self, rings: bool, say: &mut impl FnMut(Severity, &str, String)) {
        if self.mode == Mode::Shadow {
            say(Severity::Note, "risk.mode", "shadow: scores are recorded, and nothing follows from them but the deny list".into());
        }
        let from = |route| self.routes.from(route);
        if from(Route::CallBack).is_some() && !rings {
            say(Severity::Missing, "risk.routes.call_back", "nothing here can ring customers: configure [twilio], [jambonz] or [http] with push_url, or take it away. Specialists take these calls".into());
        }
        match from(Route::Specialist) {
            None => say(Severity::Unsafe, "risk.routes.specialist", "never: every risky call goes to any agent".into()),
            Some(n) if n <= 15 => say(Severity::Unsafe, "risk.routes.specialist", format!("{n}: one wrong entry sends a caller to a specialist")),
            Some(n) if n > 75 => say(Severity::Note, "risk.routes.specialist", format!("{n}: the shipped policies let agents change nothing from 50 on, and nobody from 75 on")),
            Some(_) => {}
        }
        match from(Route::End) {
            None => say(Severity::Note, "risk.routes.end", "never: also numbers on the deny list reach a person".into()),
            Some(n) if n <= self.points.get(Part::AttestationFailed) => {
                say(Severity::Unsafe, "risk.routes.end", format!("{n}: a failed signature alone ends the call, and carriers fail at signing honest calls"));
            }
            Some(_) => {}
        }
        if self.points.get(Part::NumberOnDenyList) < from(Route::End).unwrap_or(0) {
            say(Severity::Unsafe, "risk.points.number_on_deny_list", "does not reach risk.routes.end: numbers on the deny list are answered".into());
        }
        for part in [Part::AccountFrozen, Part::CustomerNotOnThePhone, Part::FailedChallenges] {
            if self.points.get(part) == 0 {
                say(Severity::Unsafe, &format!("risk.points.{part}"), "0: it never counts".into());
            }
        }
    }
}

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whom {
    /// Twilio Lookup v2.
    Twilio,
    /// An operator, by CAMARA.
    Camara,
    /// A file.
    File,
    /// Nobody.
    None,
}

/// Number intelligence.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntelSettings {
    /// Who is asked.
    pub provider: Whom,
    /// What a failure means.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// Longest time for a question, in milliseconds.
    #[serde(default = "timeout")]
    pub timeout: Span,
    /// How long an answer is kept, in milliseconds; 0: not at all.
    #[serde(default = "cache")]
    pub cache: Span,
    /// How long a changed SIM counts, in hours.
    #[serde(default = "sim_lately")]
    pub sim_lately_hours: u16,
    /// How far back a number may have been given to somebody else, in days.
    #[serde(default = "verified")]
    pub verified_days: u16,
    /// Another address than Twilio's, for tests; the operator's.
    pub base_url: Option<String>,
    /// What is asked of Twilio.
    pub fields: Option<Vec<String>>,
    /// A file with the operator's access token. `COUNTERSIGN_CAMARA_TOKEN` in the environment comes first.
    pub token_file: Option<PathBuf>,
    /// Path of SIM Swap at the operator.
    pub sim_swap: Option<String>,
    /// Path of the unconditional call forwarding signal at the operator.
    pub call_forwarding: Option<String>,
    /// Path of Number Recycling at the operator.
    pub number_recycling: Option<String>,
    /// The file.
    pub path: Option<PathBuf>,
}

fn timeout() -> Span { Span(1500) }
fn cache() -> Span { Span::days(1) }
fn sim_lately() -> u16 { 72 }
fn verified() -> u16 { 90 }

/// Why nobody can be asked.
#[derive(Debug, thiserror::Error)]
pub enum IntelSetupError {
    /// A setting.
    #[error(transparent)]
    Setting(#[from] SetupError),
    /// A secret.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
}

impl IntelSettings {
    /// How answers are used.
    pub fn usage(&self) -> Use { Use { on_failure: self.on_failure, cache: self.cache, sim_lately: self.sim_lately() } }

    fn sim_lately(&self) -> Span { Span::hours(i64::from(self.sim_lately_hours)) }

    /// Whoever is to be asked; `None`: nobody. Connects to nothing.
    pub fn provider(&self, twilio: Option<&Twilio>) -> Result<Option<Arc<dyn NumberIntelligence>>, IntelSetupError> {
        let verified = Span::days(i64::from(self.verified_days));
        Ok(match self.provider {
            Whom::None => None,
            Whom::Twilio => {
                let account = twilio.ok_or(SetupError::setting("number_intelligence.provider", "twilio wants the account of [twilio]: configure it"))?;
                let token = read_secret("COUNTERSIGN_TWILIO_TOKEN", account.auth_token_file.as_deref())?.unwrap_or_default();
                let fields = self.fields.clone().unwrap_or_else(|| FIELDS.map(str::to_owned).to_vec());
                let base_url = self.base_url.clone().unwrap_or_else(|| BASE_URL.into());
                Some(Arc::new(Lookup::new(LookupConfig { account_sid: account.account_sid.clone(), auth_token: token, fields, base_url, timeout: self.timeout, verified })?))
            }
            Whom::Camara => {
                let base_url = self.base_url.clone().ok_or(SetupError::setting("number_intelligence.base_url", "is missing: write the operator's address"))?;
                let token = self.token()?;
                Some(Arc::new(Camara::new(CamaraConfig {
                    base_url, token, sim_swap: self.sim_swap.clone().unwrap_or_else(|| SIM_SWAP.into()), call_forwarding: self.call_forwarding.clone(),
                    number_recycling: self.number_recycling.clone(), sim_lately: self.sim_lately(), verified, timeout: self.timeout,
                })?))
            }
            Whom::File => {
                let path = self.path.as_ref().ok_or(SetupError::setting("number_intelligence.path", "is missing: name the file"))?;
                Some(Arc::new(Listed::read(path)?))
            }
        })
    }

    fn token(&self) -> Result<Secret, ConfigError> { Ok(read_secret("COUNTERSIGN_CAMARA_TOKEN", self.token_file.as_deref())?.unwrap_or_default()) }

    /// What is missing or not sensible.
    pub fn examine(&self, twilio: Option<&Twilio>, say: &mut impl FnMut(Severity, &str, String)) {
        if let Err(e) = self.provider(twilio) {
            say(Severity::Missing, "number_intelligence", e.to_string());
        }
        let ms = self.timeout.0;
        if !(1..=10_000).contains(&ms) {
            say(Severity::Missing, "number_intelligence.timeout", "write milliseconds from 1 to 10000".into());
        } else if ms > 3000 {
            say(Severity::Unsafe, "number_intelligence.timeout", format!("{ms}: most callers wait for an agent before an answer that slow is there, and messages of others wait with it"));
        }
        if self.sim_lately_hours == 0 || i64::from(self.sim_lately_hours) > MOST_HOURS {
            say(Severity::Missing, "number_intelligence.sim_lately_hours", format!("write 1 to {MOST_HOURS}"));
        }
        if self.cache > Span::days(7) {
            say(Severity::Unsafe, "number_intelligence.cache", "above seven days: a SIM changes faster than that".into());
        }
        if self.provider == Whom::Twilio && self.base_url.is_some() {
            say(Severity::Unsafe, "number_intelligence.base_url", "points away from Twilio: only for tests".into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RiskSettings, String> { toml::from_str(text).map_err(|e| e.to_string()) }

    fn findings(settings: &RiskSettings, rings: bool) -> Vec<(Severity, String)> {
        let mut out = Vec::new();
        settings.examine(rings, &mut |severity, setting: &str, _: String| out.push((severity, setting.to_owned())));
        out
    }

    #[test]
    fn settings_are_read_strictly() {
        let settings = read("mode = \"shadow\"\n[points]\nodd_hour = 0\n[routes]\nspecialist = 40\ncall_back = 60\nend = \"never\"\n[agents]\nmisses = 5\n").unwrap();
        let rules = settings.rules(true);
        assert_eq!((rules.mode, rules.points.get(Part::OddHour), rules.points.get(Part::LookAlike)), (Mode::Shadow, 0, 15));
        assert_eq!((rules.routes.of(100), settings.rules(false).routes.of(100)), (Route::CallBack, Route::Specialist));
        assert_eq!((settings.agents.misses, settings.agents.claims), (5, 120));
        for (bad, says) in [
            ("[points]\nodd_our = 3\n", "there is no signal \"odd_our\"; there are number_on_deny_list"), ("[points]\nodd_hour = 300\n", "points go from 0"),
            ("[routes]\nspecialist = 90\nend = 50\n", "end begins below specialist"), ("[routes]\nend = 0\n", "from 1 to 100"), ("[routes]\nagents = 3\n", "unknown field"),
            ("mode = \"off\"\n", "unknown variant"), ("[agents]\nlunch = 3\n", "unknown field"), ("sum = 3\n", "unknown field"),
        ] {
            let error = read(bad).unwrap_err();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }

    #[test]
    fn what_is_not_sensible_is_told() {
        assert_eq!(findings(&RiskSettings::default(), true), []);
        let told = |text: &str, rings: bool, severity: Severity, setting: &str| {
            let found = findings(&read(text).unwrap(), rings);
            assert!(found.contains(&(severity, setting.to_owned())), "{text}: {found:?}");
        };
        told("[routes]\ncall_back = 70\n", false, Severity::Missing, "risk.routes.call_back");
        told("[routes]\nend = 55\n", true, Severity::Unsafe, "risk.routes.end");
        told("[routes]\nspecialist = 10\n", true, Severity::Unsafe, "risk.routes.specialist");
        told("[routes]\nspecialist = \"never\"\n", true, Severity::Unsafe, "risk.routes.specialist");
        told("[points]\nnumber_on_deny_list = 40\n", true, Severity::Unsafe, "risk.points.number_on_deny_list");
        told("[points]\naccount_frozen = 0\n", true, Severity::Unsafe, "risk.points.account_frozen");
        told("mode = \"shadow\"\n", true, Severity::Note, "risk.mode");
    }

    #[test]
    fn number_intelligence_says_what_is_missing() {
        let examine = |text: &str| {
            let settings: IntelSettings = toml::from_str(text).unwrap();
            let mut out = Vec::new();
            settings.examine(None, &mut |severity, setting: &str, text: String| out.push((severity, setting.to_owned(), text)));
            out
        };
        assert!(examine("provider = \"none\"\n").is_empty());
        for (text, says) in [
            ("provider = \"twilio\"\n", "account of [twilio]"), ("provider = \"camara\"\n", "operator's address"), ("provider = \"file\"\n", "name the file"),
            ("provider = \"camara\"\nbase_url = \"http://operator.example.com\"\n", "must be https"), ("provider = \"none\"\ntimeout = 0\n", "1 to 10000"),
            ("provider = \"none\"\ntimeout = 9000\n", "wait with it"), ("provider = \"none\"\ncache = 864000000\n", "seven days"), ("provider = \"none\"\nsim_lately_hours = 0\n", "2400"),
        ] {
            let found = examine(text);
            assert!(found.iter().any(|(_, _, t)| t.contains(says)), "{text}: {found:?}");
        }
        assert!(toml::from_str::<IntelSettings>("provider = \"none\"\nurl = \"x\"\n").is_err());
    }
}
