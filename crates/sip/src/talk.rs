//! What is said within a dialog: new agreements, keys, news of a transfer, the end.

use std::time::Duration;

use rsipstack::dialog::dialog::{DialogState, TerminatedReason, TransactionHandle};
use rsipstack::sip::prelude::HeadersExt as _;
use rsipstack::sip::{Header, Method, Request, StatusCode};
use tokio::time::timeout;

use crate::bridge::sip_uri;
use crate::call::{Call, Flowing, Mail};
use crate::dtmf::{self, InfoError};
use crate::flow::{Ended, Transfer};
use crate::g711::Law;
use crate::gateway::allow;
use crate::headers::{content_type, is_sdp, notified};
use crate::sdp::{Agreed, Description, Local, SdpError};

/// A BYE or CANCEL that nobody answers is given up after this: a little more than 64 times T1.
pub(crate) const GOODBYE: Duration = Duration::from_secs(35);

/// The number in `CSeq`.
pub(crate) fn cseq(request: &Request) -> u32 {
    request.cseq_header().and_then(|cseq| cseq.seq()).unwrap_or_default()
}

/// The code that refuses a description.
pub(crate) fn refusal(error: SdpError) -> u16 {
    match error {
        SdpError::Malformed(_) => 400,
        SdpError::NothingInCommon => 488,
    }
}

/// What came of a request for another agreement.
pub(crate) enum Renewed {
    /// Nothing has changed.
    Same,
    /// This holds now.
    Agreed(Agreed),
    /// We have offered; the answer comes with the ACK of this number.
    Offered(u32),
}

/// Answers a re-INVITE or an UPDATE (RFC 3261 §14.2, RFC 3311 §5.2).
pub(crate) async fn renew(local: &mut Local, request: &Request, handle: &TransactionHandle) -> Renewed {
    let sdp = |body: String| (Some(vec![Header::ContentType("application/sdp".into())]), Some(body.into_bytes()));
    let (code, (headers, body), renewed) = if request.body.is_empty() && request.method == Method::Invite {
        (200, sdp(local.offer(Law::Mu)), Renewed::Offered(cseq(request)))
    } else if request.body.is_empty() {
        (200, (None, None), Renewed::Same)
    } else if !is_sdp(content_type(request)) {
        (415, (Some(vec![Header::Accept("application/sdp".into())]), None), Renewed::Same)
    } else {
        match Description::parse(&request.body) {
            Ok(offer) => {
                let agreed = offer.agree(None);
                (200, sdp(local.answer(&offer, &agreed)), Renewed::Agreed(agreed))
            }
            Err(error) => (refusal(error), (None, None), Renewed::Same),
        }
    };
    let _ = handle.respond(StatusCode::from(code), headers, body).await;
    renewed
}

/// Answers what needs nothing but an answer. `false` for what does.
pub(crate) async fn answer_plainly(state: &DialogState) -> bool {
    let (handle, code, headers) = match state {
        DialogState::Options(_, _, handle) => (handle, 200, vec![allow(), Header::Accept("application/sdp".into())]),
        // Nobody on a call may make us call others.
        DialogState::Refer(_, _, handle) => (handle, 603, vec![]),
        DialogState::Message(_, _, handle) | DialogState::Publish(_, _, handle) => (handle, 405, vec![allow()]),
        _ => return false,
    };
    let _ = handle.respond(StatusCode::from(code), Some(headers), None).await;
    true
}

impl Call {
    /// Something in the caller's dialog.
    pub async fn caller_says(&mut self, state: DialogState) -> Flowing {
        if answer_plainly(&state).await {
            return Ok(());
        }
        match state {
            DialogState::Confirmed(..) => {
                self.acknowledged()?;
                self.confirmed()
            }
            DialogState::Updated(_, request, handle) => {
                match renew(&mut self.local, &request, &handle).await {
                    Renewed::Same => {}
                    Renewed::Agreed(agreed) => {
                        self.session.agree(agreed);
                        self.renegotiated();
                    }
                    Renewed::Offered(number) => self.answer_due = Some(number),
                }
                Ok(())
            }
            DialogState::Info(_, request, handle) => self.info(&request, &handle).await,
            DialogState::Notify(_, request, handle) => {
                let news = notified(&request).filter(|_| self.is_referring());
                let code = if news.is_some() { 200 } else { 481 };
                let _ = handle.reply(StatusCode::from(code)).await;
                match news {
                    Some((200..300, _)) => self.transfer(Transfer::Done),
                    Some((code @ 300.., _)) => self.transfer(Transfer::Failed(code)),
                    Some((_, true)) => self.transfer(Transfer::Failed(0)),
                    Some((code, false)) => self.transfer(Transfer::Going(code)),
                    None => Ok(()),
                }
            }
            // Before somebody answered a call of ours, the end of the INVITE says more.
            DialogState::Terminated(..) if self.outgoing.as_ref().is_some_and(|outgoing| !outgoing.picked_up) => Ok(()),
            DialogState::Terminated(_, reason) => Err(match reason {
                TerminatedReason::UasBye if self.outgoing.is_some() => Ended::Caller,
                TerminatedReason::UacBye if self.outgoing.is_some() => Ended::Us,
                TerminatedReason::UacBye => Ended::Caller,
                TerminatedReason::UacCancel => Ended::Cancelled,
                TerminatedReason::UasBye | TerminatedReason::UasDecline => Ended::Us,
                _ => Ended::Lost,
            }),
            _ => Ok(()),
        }
    }

    /// An ACK may bring the answer to an offer of ours (RFC 3261 §13.2.2.4).
    fn acknowledged(&mut self) -> Flowing {
        let Some(number) = self.answer_due else { return Ok(()) };
        let Some(ack) = self.dialog.last_remote_ack().filter(|ack| cseq(ack) == number) else { return Ok(()) };
        self.answer_due = None;
        // Without an answer there is no call: there is nothing left but to end it.
        let answer = Description::parse(&ack.body).map_err(|_| Ended::Lost)?;
        self.session.agree(answer.agree(None));
        self.renegotiated();
        Ok(())
    }

    async fn info(&mut self, request: &Request, handle: &TransactionHandle) -> Flowing {
        // An INFO without a body asks whether we are there (RFC 2976 §2.2).
        let key = if request.body.is_empty() && content_type(request).is_empty() { Ok(None) } else { dtmf::info(content_type(request), &request.body).map(Some) };
        let code = match key {
            Ok(_) => 200,
            Err(InfoError::Kind) => 415,
            Err(InfoError::Malformed) => 400,
        };
        let accept = (code == 415).then(|| vec![Header::Accept("application/dtmf-relay, application/dtmf".into())]);
        let _ = handle.respond(StatusCode::from(code), accept, None).await;
        match key {
            Ok(Some(key)) => self.key(key, false),
            _ => Ok(()),
        }
    }

    /// Has the caller's side call somebody else (RFC 3515).
    pub fn refer(&self, uri: String) {
        let (dialog, mail) = (self.dialog.clone(), self.mail.clone());
        if sip_uri(&uri).is_none() {
            let _ = mail.send(Mail::Referred(404));
            return;
        }
        tokio::spawn(async move {
            let answer = dialog.refer(format!("<{uri}>").as_str(), None, None).await;
            let code = answer.ok().flatten().map_or(408, |response| u16::from(response.status_code));
            let _ = mail.send(Mail::Referred(code));
        });
    }

    /// Ends the caller's dialog, whatever its state, and forgets it.
    pub fn hang_up_caller(&self) {
        let (dialog, dialogs) = (self.dialog.clone(), self.shared.dialogs.clone());
        if self.outgoing.is_some() {
            tokio::spawn(async move {
                if !dialog.state().is_terminated() {
                    let _ = timeout(GOODBYE, dialog.hangup()).await;
                }
                dialogs.remove_dialog(&dialog.id());
            });
            return;
        }
        if !dialog.state().is_terminated() && !dialog.state().is_confirmed() && !dialog.state().waiting_ack() {
            // It was not answered: the embedder is gone, or the gateway stops.
            let _ = dialog.reject(Some(StatusCode::TemporarilyUnavailable), None);
        }
        tokio::spawn(async move {
            if !dialog.state().is_terminated() {
                let _ = timeout(GOODBYE, dialog.bye()).await;
            }
            dialogs.remove_dialog(&dialog.id());
        });
    }
}
