//! Doors for `crates/fuzz`. No part of what this crate offers, and open to change.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rsipstack::sip::{Request, SipMessage};

use crate::flow::{Incoming, Transport};
use crate::guard::{Guard, Judged};
use crate::headers::{content_type, incoming, is_sdp, notified};
use crate::settings::Rate;

pub use crate::headers::{IDENTITIES, fragment, user_part};

/// What the guard makes of a datagram.
#[derive(Clone, Debug)]
pub enum Seen {
    /// Not a request: the stack takes responses by itself.
    None,
    /// Turned away, perhaps with this answer.
    Refused(Option<String>),
    /// It goes on to the stack, written out again.
    Passed(Box<Incoming>, String),
}

/// Reads a datagram as the gateway does, up to where the stack acts on it.
#[must_use]
pub fn datagram(bytes: &[u8]) -> Seen {
    let Ok(SipMessage::Request(request)) = SipMessage::try_from(bytes) else { return Seen::None };
    let rate = Rate { per_second: u32::MAX, burst: u32::MAX };
    let (guard, ip) = (Guard::new(Vec::new(), rate, rate, 1, Arc::default()), IpAddr::V4(Ipv4Addr::LOCALHOST));
    match guard.judge(&request, ip, false) {
        Judged::Drop => Seen::Refused(None),
        Judged::Answer(response) => Seen::Refused(Some(response.to_string())),
        Judged::Pass => {
            let _ = (is_sdp(content_type(&request)), notified(&request));
            Seen::Passed(Box::new(incoming(&request, SocketAddr::new(ip, 5060), Transport::Udp)), Request::to_string(&request))
        }
    }
}
