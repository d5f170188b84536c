//! Calls that we make: an INVITE to a trunk or a telephone. Once it is answered they are calls like those
//! that come in.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rsipstack::dialog::invitation::InviteOption;
use rsipstack::sip::Header;
use tokio::sync::{mpsc, oneshot};

use crate::bridge::{Reached, sip_uri};
use crate::call::{Call, Mail};
use crate::flow::{CallKey, Incoming, Transport};
use crate::g711::Law;
use crate::gateway::{Handle, allow};
use crate::media::Told;
use crate::sdp::Local;
use crate::settings::Trunk;

/// A call to make.
#[derive(Clone)]
pub struct Outgoing {
    /// Whom: a SIP URI.
    pub to: String,
    /// What is shown as the caller: a SIP URI.
    pub from: String,
    /// The `Call-ID`, by which the network knows it: letters and digits that were not used before.
    pub call_id: String,
    /// The value of `Identity` (RFC 8224), if it is signed.
    pub identity: Option<String>,
    /// How long it may ring.
    pub ring: Duration,
}

impl fmt::Debug for Outgoing {
    /// Without numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("ring", &self.ring).field("signed", &self.identity.is_some()).finish_non_exhaustive()
    }
}

/// What came of a call that we made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// Somebody answered: [`crate::Flow::picked_up`] is asked, and [`crate::Flow::hung_up`] told in the end.
    Answered,
    /// The other side refused with this code: 486 busy, 603 declined.
    Refused(u16),
    /// It rang for as long as it may, or we gave it up, or the gateway stops.
    Unanswered,
    /// No answer at all: it may have rung.
    Silent,
}

/// A call that was certainly not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRung {
    /// There are as many calls as there may be, or the gateway stops.
    #[error("there is no room for another call")]
    Busy,
    /// No SIP URI.
    #[error("not a SIP URI")]
    Uri,
    /// Nothing could be sent.
    #[error("nothing could be sent")]
    NotSent,
}

/// What is told of a call while it rings.
pub(crate) struct Ringing {
    pub picked_up: bool,
    told: Option<oneshot::Sender<Rung>>,
}

impl Ringing {
    /// Told once: what comes later is no news.
    pub fn tell(&mut self, rung: Rung) {
        if let Some(told) = self.told.take() {
            let _ = told.send(rung);
        }
    }
}

impl Handle {
    /// Makes a call under this name. Early media is not listened to. What comes of it is told once; the
    /// other end of the channel is gone only if the gateway is.
    ///
    /// # Errors
    /// It was certainly not made: see [`NotRung`].
    pub fn ring(&self, key: CallKey, call: &Outgoing) -> Result<oneshot::Receiver<Rung>, NotRung> {
        let shared = &self.0;
        let (callee, caller) = (sip_uri(&call.to).ok_or(NotRung::Uri)?, sip_uri(&call.from).ok_or(NotRung::Uri)?);
        let plain = |text: &String| !text.chars().any(char::is_control);
        let busy = || {
            shared.counts.refused.fetch_add(1, Relaxed);
            NotRung::Busy
        };
        let slot = shared.slots.clone().try_acquire_owned().map_err(|_| busy())?;
        let socket = shared.ports.bind().map_err(|_| busy())?;
        let mut local = Local::new(shared.audio_at(&socket).ok_or(NotRung::NotSent)?);
        let offer = local.offer(Law::Mu);
        let (mail, inbox) = mpsc::unbounded_channel();
        let told = mail.clone();
        let tell = Box::new(move |what: Told| drop(told.send(Mail::Told(what))));
        let settings = &shared.settings;
        let session = shared.engine.add(socket, settings.rtp_source, settings.quiet, settings.soft_tone.clone(), tell).map_err(|_| busy())?;
        let signed = call.identity.clone().filter(plain).map(|value| Header::Identity(value.into()));
        let option = InviteOption {
            caller,
            callee,
            contact: shared.contact.clone(),
            content_type: Some("application/sdp".to_owned()),
            offer: Some(offer.into_bytes()),
            credential: settings.trunk.as_ref().map(Trunk::credential),
            call_id: Some(call.call_id.clone()),
            headers: Some([allow()].into_iter().chain(signed).collect()),
            ..InviteOption::default()
        };
        let (sender, states) = shared.dialogs.new_dialog_state_channel();
        let Ok((dialog, answered)) = shared.dialogs.do_invite_async(option, sender) else {
            session.close();
            return Err(NotRung::NotSent);
        };
        shared.calls.with(|calls| calls.insert(key.clone(), mail.clone()));
        // What a call is named by; nobody asks of it whence it came.
        let about = Incoming {
            key, from: String::new(), asserted: Vec::new(), to: String::new(), target: String::new(), identity: Vec::new(), privacy: None, call_id: String::new(),
            source: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), transport: Transport::Udp, user: None,
        };
        let (told, rung) = oneshot::channel();
        let made = Call::new(shared.clone(), about, dialog, states, session, local, None, mail.clone(), inbox);
        tokio::spawn(made.ring(slot, Ringing { picked_up: false, told: Some(told) }, call.ring));
        tokio::spawn(async move {
            let response = answered.await.ok().and_then(Result::ok).and_then(|(_, response)| response);
            let _ = mail.send(Mail::Rung(Reached(response)));
        });
        Ok(rung)
    }
}
