//! The leg to an agent's telephone.

use std::net::UdpSocket;

use rsipstack::dialog::dialog::{DialogState, DialogStateReceiver};
use rsipstack::dialog::invitation::InviteOption;
use rsipstack::dialog::invite_dialog::InviteDialog;
use rsipstack::sip::{Response, StatusCode, StatusCodeKind, Uri};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::call::{Call, Mail};
use crate::flow::{AgentLeg, Bridge};
use crate::g711::Law;
use crate::sdp::{Description, Local};
use crate::settings::Trunk;
use crate::talk::{GOODBYE, Renewed, answer_plainly, cseq, refusal, renew};

/// What became of an INVITE to an agent: its last response, or nothing when none came.
pub(crate) struct Reached(pub Option<Response>);

/// An agent's leg, from the moment it is wanted.
pub(crate) struct Agent {
    /// Whom.
    pub to: AgentLeg,
    /// He has answered.
    pub connected: bool,
    /// What happens in his dialog.
    pub states: DialogStateReceiver,
    leg: u64,
    /// Not there while his URI is looked up.
    dialled: Option<Dialled>,
    show: String,
    keep_open: Option<rsipstack::dialog::dialog::DialogStateSender>,
}

struct Dialled {
    dialog: InviteDialog,
    local: Local,
    socket: Option<UdpSocket>,
    answer_due: Option<u32>,
}

/// Whether a text is a SIP URI that can be called.
#[must_use]
pub fn is_sip_uri(text: &str) -> bool {
    sip_uri(text).is_some()
}

/// A URI that can be called: `sip:` and nothing that would end a header.
pub(crate) fn sip_uri(text: &str) -> Option<Uri> {
    let plain = !text.contains(|c: char| c.is_control() || c.is_whitespace() || "<>\"".contains(c));
    let uri = Uri::try_from(text).ok()?;
    (plain && text.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("sip:"))).then_some(uri)
}

impl Call {
    /// Begins a leg.
    pub fn dial(&mut self, bridge: &Bridge) {
        self.legs += 1;
        let leg = self.legs;
        let (sender, states) = self.shared.dialogs.new_dialog_state_channel();
        let plain = !bridge.show.is_empty() && bridge.show.chars().all(|c| c.is_ascii_alphanumeric() || "+*#-_.".contains(c));
        let show = if plain { bridge.show.clone() } else { "anonymous".to_owned() };
        self.agent = Some(Agent { to: bridge.to.clone(), connected: false, states, leg, dialled: None, show, keep_open: Some(sender) });
        match &bridge.to {
            AgentLeg::Uri(uri) => {
                let _ = self.mail.send(Mail::Located { leg, uri: Some(uri.clone()) });
            }
            AgentLeg::Agent(name) => {
                let (flow, key, mail, name) = (self.shared.flow.clone(), self.incoming.key.clone(), self.mail.clone(), name.clone());
                tokio::spawn(async move {
                    let uri = flow.locate(&key, &name).await;
                    let _ = mail.send(Mail::Located { leg, uri });
                });
            }
        }
    }

    /// The agent's URI is known, or there is none.
    pub fn located(&mut self, leg: u64, uri: Option<String>) {
        if self.agent.as_ref().is_none_or(|agent| agent.leg != leg) {
            return;
        }
        let Some(callee) = uri.as_deref().and_then(sip_uri) else {
            return self.not_reached(404);
        };
        if self.invite(leg, callee).is_none() {
            self.not_reached(503);
        }
    }

    fn invite(&mut self, leg: u64, callee: Uri) -> Option<()> {
        let shared = self.shared.clone();
        let socket = shared.ports.bind().ok()?;
        let mut local = Local::new(shared.audio_at(&socket)?);
        // The caller's law first: then nothing has to be translated.
        let offer = local.offer(self.session.law().unwrap_or(Law::Mu));
        let agent = self.agent.as_mut()?;
        let mut contact = shared.contact.clone();
        contact.auth = Some(rsipstack::sip::Auth { user: agent.show.clone(), password: None });
        let credential = shared.settings.trunk.as_ref().filter(|trunk| trunk.is_at(&callee)).map(Trunk::credential);
        let option = InviteOption {
            caller: contact,
            callee,
            contact: shared.contact.clone(),
            content_type: Some("application/sdp".to_owned()),
            offer: Some(offer.into_bytes()),
            credential,
            headers: Some(vec![crate::gateway::allow()]),
            ..InviteOption::default()
        };
        let (dialog, answered) = shared.dialogs.do_invite_async(option, agent.keep_open.take()?).ok()?;
        agent.dialled = Some(Dialled { dialog, local, socket: Some(socket), answer_due: None });
        let mail: mpsc::UnboundedSender<Mail> = self.mail.clone();
        tokio::spawn(async move {
            let response = answered.await.ok().and_then(Result::ok).and_then(|(_, response)| response);
            let _ = mail.send(Mail::Reached { leg, reached: Reached(response) });
        });
        Some(())
    }

    /// The INVITE came to its end.
    pub fn reached(&mut self, leg: u64, Reached(response): Reached) {
        let Some(agent) = self.agent.as_mut().filter(|agent| agent.leg == leg) else { return };
        let Some(dialled) = agent.dialled.as_mut() else { return };
        let response = match response {
            Some(response) if response.status_code.kind() == StatusCodeKind::Successful => response,
            Some(response) => return self.not_reached(u16::from(response.status_code)),
            None => return self.not_reached(408),
        };
        agent.connected = true;
        let answer = match Description::parse(&response.body) {
            Ok(answer) => answer,
            Err(error) => return self.not_reached(refusal(error)),
        };
        let joined = dialled.socket.take().map(|socket| self.session.join(socket, self.shared.settings.rtp_source, answer.agree(None)));
        match joined {
            Some(Ok(())) => self.connected(),
            _ => self.not_reached(503),
        }
    }

    /// Something in the agent's dialog.
    pub async fn agent_says(&mut self, state: DialogState) {
        if answer_plainly(&state).await {
            return;
        }
        let Some(agent) = self.agent.as_mut() else { return };
        let Some(dialled) = agent.dialled.as_mut() else { return };
        match state {
            DialogState::Updated(_, request, handle) => match renew(&mut dialled.local, &request, &handle).await {
                Renewed::Same => {}
                Renewed::Agreed(agreed) => self.session.agree_agent(agreed),
                Renewed::Offered(number) => dialled.answer_due = Some(number),
            },
            DialogState::Confirmed(..) => {
                let ack = dialled.dialog.last_remote_ack().filter(|ack| Some(cseq(ack)) == dialled.answer_due);
                if let Some(ack) = ack {
                    dialled.answer_due = None;
                    match Description::parse(&ack.body) {
                        Ok(answer) => self.session.agree_agent(answer.agree(None)),
                        Err(_) => self.agent_left(),
                    }
                }
            }
            // What an agent keys is for nobody.
            DialogState::Info(_, _, handle) => {
                let _ = handle.reply(StatusCode::OK).await;
            }
            DialogState::Notify(_, _, handle) => {
                let _ = handle.reply(StatusCode::from(481)).await;
            }
            // Before he answered, the end of the INVITE says more.
            DialogState::Terminated(..) if agent.connected => self.agent_left(),
            _ => {}
        }
    }

    /// Lets the agent go, if there is one: BYE, or CANCEL while it rings.
    pub fn release_agent(&mut self) {
        self.session.leave();
        let Some(Dialled { dialog, .. }) = self.agent.take().and_then(|agent| agent.dialled) else { return };
        let dialogs = self.shared.dialogs.clone();
        tokio::spawn(async move {
            if !dialog.state().is_terminated() {
                let _ = timeout(GOODBYE, dialog.hangup()).await;
            }
            dialogs.remove_dialog(&dialog.id());
        });
    }
}
