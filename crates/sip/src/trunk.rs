//! Registration at a trunk or a PBX (RFC 3261 §10).

use std::time::Duration;

use rsipstack::dialog::authenticate::Credential;
use rsipstack::dialog::registration::Registration;
use rsipstack::sip::typed::Contact;
use rsipstack::sip::{Auth, StatusCodeKind, Uri};
use rsipstack::transaction::endpoint::Endpoint;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::gateway::GatewayError;
use crate::settings::Trunk;

/// The longest wait after a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the trunk knows us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// No trunk is set, or it was not asked yet.
    Not,
    /// It does, for so long.
    For(Duration),
    /// It said no, with this code; 408 when it said nothing. It is asked again.
    Refused(u16),
}

impl Trunk {
    /// What answers its challenges.
    pub(crate) fn credential(&self) -> Credential {
        Credential { username: self.user.clone(), password: self.password.clone(), ..Credential::default() }
    }

    /// Whether a telephone is reached through it. Another host that asks for a password is shown no digest
    /// of this one: it could try words against it.
    pub(crate) fn is_at(&self, uri: &Uri) -> bool {
        Uri::try_from(self.registrar.as_str()).is_ok_and(|ours| ours.host_with_port.host.to_string().eq_ignore_ascii_case(&uri.host_with_port.host.to_string()))
    }
}

/// A registration that goes on.
pub(crate) struct Registering {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Registering {
    /// Takes the registration back, so that no more calls come; gives up after two seconds.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let _ = tokio::time::timeout(Duration::from_secs(2), self.task).await;
    }
}

/// Registers, and again before it runs out, until it is stopped or dropped.
pub(crate) fn begin(endpoint: &Endpoint, contact: &Uri, trunk: Trunk, tell: watch::Sender<Registered>) -> Result<Registering, GatewayError> {
    let server = Uri::try_from(trunk.registrar.as_str()).map_err(|_| GatewayError::Uri("registrar"))?;
    let mut registration = Registration::new(endpoint.inner.clone(), Some(trunk.credential()));
    let mut uri = contact.clone();
    uri.auth = Some(Auth { user: trunk.user, password: None });
    uri.params.extend(server.params.iter().filter(|param| matches!(param, rsipstack::sip::Param::Transport(_))).cloned());
    registration.contact = Some(Contact { display_name: None, uri, params: Vec::new() });
    let asked = u32::try_from(trunk.expires.as_secs()).unwrap_or(3600).max(60);
    let (stop, mut stopped) = watch::channel(false);
    let task = tokio::spawn(async move {
        let mut failures = 0u32;
        // Without its other end the gateway was dropped.
        while stopped.has_changed().is_ok() && !*stopped.borrow() {
            let answer = registration.register(server.clone(), Some(asked)).await;
            let what = match &answer {
                Ok(response) if response.status_code.kind() == StatusCodeKind::Successful => {
                    Registered::For(Duration::from_secs(registration.expires().max(1).into()))
                }
                Ok(response) => Registered::Refused(u16::from(response.status_code.clone())),
                Err(_) => Registered::Refused(408),
            };
            let wait = match what {
                Registered::For(granted) => {
                    failures = 0;
                    granted * 3 / 4
                }
                _ => {
                    failures = failures.saturating_add(1);
                    Duration::from_secs(1 << failures.min(6)).min(PATIENCE)
                }
            };
            if let Registered::Refused(code) = what {
                tracing::warn!(code, "the trunk does not register us");
            }
            tell.send_replace(what);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = stopped.changed() => {}
            }
        }
        if *stopped.borrow() && matches!(*tell.borrow(), Registered::For(_)) {
            let _ = registration.register(server, Some(0)).await;
        }
    });
    Ok(Registering { stop, task })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_hosts_are_shown_no_digest_of_its_password() {
        let trunk = Trunk { registrar: "sip:pbx.example.com:5070;transport=tcp".into(), user: "countersign".into(), password: "sesame".into(), expires: Duration::from_secs(60) };
        let at = |uri: &str| trunk.is_at(&Uri::try_from(uri).unwrap());
        assert!(at("sip:robin@pbx.example.com") && at("sip:robin@PBX.example.com:5080"));
        assert!(!at("sip:robin@192.0.2.20") && !at("sip:robin@pbx.example.com.evil.example") && !at("sip:pbx.example.com@evil.example"));
    }
}
