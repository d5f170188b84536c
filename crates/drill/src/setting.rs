//! What is drilled: the policies, limits and doors of a configuration, without anything real in it.

use std::sync::Arc;

use countersign_core::{action::Policy, call::Params, secret::E164};
use countersign_policy::{Engine, PolicyErrors, Sources};
use countersign_server::{
    config::Config,
    i18n::Company,
    oauth::clients::{ClientSettings, Delivery, Grant},
};
use sha2::{Digest, Sha256};

use crate::stage::{PROGRAM_SECRET, URL};

/// A way into the server that a drill needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Calls come in.
    Telephone,
    /// Customers sign in to the portal.
    Portal,
    /// Programs ask by OpenID (backchannel).
    Programs,
}

impl Door {
    /// Why a drill cannot be played without it.
    pub fn missing(self) -> &'static str {
        match self {
            Self::Telephone => "no telephone: the configuration has no [twilio]",
            Self::Portal => "no portal: the configuration has no [[api]] and no [sign_in], so nobody can sign in",
            Self::Programs => "no program may ask: the configuration has no [[oauth_clients]] with the grant \"ciba\"",
        }
    }
}

/// Everything of a configuration that decides how an attack ends.
#[derive(Clone)]
pub struct Setting {
    /// The policies in force.
    pub policy: Arc<dyn Policy>,
    /// Their texts, which the lint is asked about.
    pub sources: Sources,
    /// Lengths and limits.
    pub params: Params,
    /// Numbers that nobody answers.
    pub deny: Vec<E164>,
    /// Whose calls these are, as customers read it.
    pub company: Company,
    /// Calls come in.
    pub telephone: bool,
    /// Programs may open portal sessions (`[[api]]`).
    pub api: bool,
    /// Customers sign in at the company's provider; on the stage its answer is taken as given.
    pub sign_in: bool,
    /// Programs that may ask by OpenID, with a secret of the stage in the place of theirs.
    pub programs: Vec<ClientSettings>,
}

impl Setting {
    /// What this program is shipped with: base policies, default limits, every door open.
    pub fn shipped() -> Self {
        let till = ClientSettings {
            id: "till".into(), name: "The till".into(), secret_sha256: None, jwks_file: None, grants: vec![Grant::Ciba, Grant::Device], delivery: Delivery::Poll,
            notification_endpoint: None, require_user_code: false, unknown_per_hour: 60, requests_per_hour: 3600,
        };
        Self {
            policy: Arc::new(Engine::shipped()), sources: Sources::shipped(), params: Params::default(), deny: Vec::new(),
            company: company("Juniper & Co", "+1 202 555 0100"), telephone: true, api: true, sign_in: false, programs: vec![known(till)],
        }
    }

    /// What a configuration comes to: its policies under its packs, or the set that was activated
    /// instead, and its limits as the packs tighten them.
    pub fn of(config: &Config, active: Option<Sources>) -> Result<Self, PolicyErrors> {
        let (configured, packs) = Sources::under(config.policy.dir.as_deref(), &config.policy.packs)?;
        let sources = active.unwrap_or(configured);
        let mut params = config.params();
        for pack in &packs {
            pack.tighten(&mut params)?;
        }
        Ok(Self {
            policy: Arc::new(Engine::load(sources.schema.clone(), sources.files.clone())?), sources, params, deny: config.deny_numbers.clone(),
            company: company(&config.company.name, &config.company.fraud_line), telephone: config.twilio.is_some(), api: !config.api.is_empty(),
            sign_in: config.sign_in.is_some(), programs: config.oauth_clients.iter().cloned().map(known).collect(),
        })
    }

    /// Whether there is such a door.
    pub fn has(&self, door: Door) -> bool {
        match door {
            Door::Telephone => self.telephone,
            Door::Portal => self.api || self.sign_in,
            Door::Programs => self.asking().is_some(),
        }
    }

    /// A program that may ask for an approval.
    pub fn asking(&self) -> Option<&ClientSettings> { self.programs.iter().find(|p| p.grants.contains(&Grant::Ciba)) }
}

fn company(name: &str, fraud_line: &str) -> Company { Company { name: name.into(), fraud_line: fraud_line.into(), link_base: URL.into() } }

/// The same program with a secret that the drill knows, and nobody to be told anything.
fn known(settings: ClientSettings) -> ClientSettings {
    ClientSettings {
        secret_sha256: Some(hex::encode(Sha256::digest(PROGRAM_SECRET))), jwks_file: None, delivery: Delivery::Poll, notification_endpoint: None, ..settings
    }
}
