//! Telephone systems over web requests, beside Twilio, as the configuration has them.

use std::sync::Arc;

use countersign_core::{secret::Secret, time::Span};
use countersign_server::{
    agents::Agents,
    config::{Config, read_secret},
    i18n::Texts,
    outbox::{
        http::{Http as Posts, HttpConfig},
        provider::{Channel, Clock, Provider},
    },
    runner::Runner,
    telephony::{
        Lines,
        connect::{self, Connect},
        genesys::{self, Genesys},
        http::{self, Http},
        jambonz::{self, Hooks, Jambonz, rest::{API_URL, Rest}},
    },
};

use crate::Failure;

/// What they are made of.
pub struct Made {
    /// The adapters.
    pub lines: Lines,
    /// The one that can ring customers, by its name, and what does it. Twilio comes before it.
    pub rings: Option<(&'static str, Arc<dyn Provider>)>,
}

fn secret(variable: &str, file: Option<&std::path::Path>, setting: &str) -> Result<Secret, Failure> {
    Ok(read_secret(variable, file)?.ok_or_else(|| format!("{setting} is missing: name it, or set {variable}"))?)
}

/// Makes them, and makes them known to the runner.
pub fn make(config: &Config, runner: &Arc<Runner>, texts: &Arc<Texts>, agents: &Arc<Agents>) -> Result<Made, Failure> {
    let clock: Clock = runner.clock();
    let names = || {
        let agents = agents.clone();
        move |id| agents.name(id)
    };
    let public_url = &config.listen.public_url;
    let mut lines = Lines::default();
    let mut rings: Option<(&'static str, Arc<dyn Provider>)> = None;
    if let Some(at) = &config.http {
        let secret = secret(http::SECRET, at.secret_file.as_deref(), "http.secret_file")?;
        let adapter = Arc::new(Http::new(at, secret.clone(), texts.clone(), public_url.clone(), clock.clone(), names())?);
        runner.hub.register(http::NAME, adapter.clone());
        lines.http = Some(adapter);
        if let Some(url) = &at.push_url {
            let posts = Posts::new(HttpConfig { url: url.clone(), secret, channels: vec![Channel::Ring], timeout: Span::seconds(10) }, clock)?;
            rings = Some((http::NAME, Arc::new(posts)));
        }
    }
    if let Some(at) = &config.jambonz {
        let key = secret(jambonz::KEY, at.api_key_file.as_deref(), "jambonz.api_key_file")?;
        let webhooks = secret(jambonz::SECRET, at.webhook_secret_file.as_deref(), "jambonz.webhook_secret_file")?;
        let hooks = Hooks::new(public_url.clone(), runner.vault.clone());
        let ours = hooks.clone();
        let rest = Arc::new(Rest::new(at.api_url.as_deref().unwrap_or(API_URL), &at.account_sid, key, at.from.clone(), move |call| ours.ours(call))?);
        let adapter = Arc::new(Jambonz::new(at, webhooks, rest.clone(), hooks, names())?);
        runner.hub.register(jambonz::NAME, adapter.clone());
        lines.jambonz = Some(adapter);
        rings = Some((jambonz::NAME, rest));
    }
    if let Some(at) = &config.connect {
        let secret = secret(connect::SECRET, at.secret_file.as_deref(), "connect.secret_file")?;
        let adapter = Arc::new(Connect::new(at, secret, connect::LIMIT, names())?);
        runner.hub.register(connect::NAME, adapter.clone());
        lines.connect = Some(adapter);
    }
    if let Some(at) = &config.genesys {
        let token = secret(genesys::TOKEN, at.token_file.as_deref(), "genesys.token_file")?;
        let adapter = Arc::new(Genesys::new(at, token, names())?);
        runner.hub.register(genesys::NAME, adapter.clone());
        lines.genesys = Some(adapter);
    }
    Ok(Made { lines, rings })
}
