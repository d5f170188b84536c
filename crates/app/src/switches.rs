//! Asterisk and FreeSWITCH, put together.

use std::sync::Arc;

use countersign_server::{
    App,
    agents::Agents,
    config::Config,
    hub::Hub,
    i18n::Texts,
    telephony::{
        asterisk::{self, Asterisk},
        freeswitch::{self, FreeSwitch, out::Ringer},
        sip::voice::Voice,
        switch::{Lines, Setup, clips::Clips, out::Rings},
    },
};
use tokio::net::TcpListener;

use crate::Failure;

/// Those of a configuration, before the application is there.
pub struct Switches {
    /// What rings customers, Asterisk before FreeSWITCH.
    rings: Option<(&'static str, Arc<Rings>)>,
    asterisk: Option<(Arc<Asterisk>, Arc<Lines>)>,
    freeswitch: Option<(Arc<FreeSwitch>, Arc<Lines>, std::net::SocketAddr)>,
}

impl Switches {
    /// Checks the settings, and registers the telephones.
    pub fn new(config: &Config, texts: &Arc<Texts>, agents: &Arc<Agents>, hub: &Hub) -> Result<Self, Failure> {
        let names = || -> Box<dyn Fn(_) -> String + Send + Sync> {
            let agents = agents.clone();
            Box::new(move |id| agents.name(id))
        };
        let mut rings = None;
        let asterisk = match &config.asterisk {
            Some(at) => {
                let media = at.media(&config.listen.public_url).map_err(|e| format!("[asterisk] {e}"))?;
                let lines = Arc::new(Lines::new(Setup {
                    name: asterisk::NAME, clips: Clips::new(texts.clone(), Voice::of(at.prompts.as_deref(), &at.speech).map_err(|e| format!("[asterisk] prompts: {e}"))?, &media, asterisk::NAME),
                    agent_phones: at.agent_phones.clone().into_iter().collect(), national: at.national.clone(), most: at.calls, name_of: names(),
                }));
                hub.register(asterisk::NAME, lines.clone());
                let switch = Arc::new(Asterisk::new(at.clone(), lines.clone()).map_err(|e| format!("[asterisk] {e}"))?);
                if let Some(out) = &at.out {
                    rings = Some((asterisk::NAME, Arc::new(Rings::new(asterisk::NAME, switch.clone(), out.at_once))));
                }
                Some((switch, lines))
            }
            None => None,
        };
        let freeswitch = match &config.freeswitch {
            Some(at) => {
                let media = at.media_url.as_ref().unwrap_or(&config.listen.public_url);
                let lines = Arc::new(Lines::new(Setup {
                    name: freeswitch::NAME, clips: Clips::new(texts.clone(), Voice::of(at.prompts.as_deref(), &at.speech).map_err(|e| format!("[freeswitch] prompts: {e}"))?, media, freeswitch::NAME),
                    agent_phones: at.agent_phones.clone().into_iter().collect(), national: at.national.clone(), most: at.calls, name_of: names(),
                }));
                hub.register(freeswitch::NAME, lines.clone());
                if let Some(out) = at.out.as_ref().filter(|_| rings.is_none()) {
                    let ringer = Ringer::new(out, at.listen, lines.clone()).map_err(|e| format!("[freeswitch] {e}"))?;
                    rings = Some((freeswitch::NAME, Arc::new(Rings::new(freeswitch::NAME, Arc::new(ringer), out.at_once))));
                }
                Some((Arc::new(FreeSwitch::new(at.clone(), lines.clone()).map_err(|e| format!("[freeswitch] {e}"))?), lines, at.listen))
            }
            None => None,
        };
        Ok(Self { rings, asterisk, freeswitch })
    }

    /// What rings customers through one of them, and which.
    pub fn rings(&self) -> Option<(&'static str, Arc<Rings>)> { self.rings.clone() }

    /// Takes calls from now on. Nothing has to be stopped: the calls are the switch's, and go on when we
    /// are there again.
    pub async fn start(self, app: &App) -> Result<(), Failure> {
        if let Some((_, rings)) = self.rings {
            rings.start(app.clone());
        }
        if let Some((asterisk, lines)) = self.asterisk {
            lines.start(app.clone());
            tokio::spawn(asterisk.run());
        }
        if let Some((freeswitch, lines, address)) = self.freeswitch {
            lines.start(app.clone());
            let listener = TcpListener::bind(address).await.map_err(|e| format!("[freeswitch] cannot listen on {address}: {e}"))?;
            tokio::spawn(freeswitch.run(listener));
        }
        Ok(())
    }
}
