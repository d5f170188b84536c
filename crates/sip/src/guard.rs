//! What stands before the stack: who may speak to us, how often, and whether a request is one.
//!
//! The stack takes much on trust: any version, bodies that are cut short, extensions that it does not
//! know; and its queues have no limit. So every packet is counted by address before it is parsed, and
//! every request is looked at before a transaction is made of it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use rsipstack::sip::prelude::{HasHeaders as _, HeadersExt as _};
use rsipstack::sip::{Header, Method, Request, Response, SipMessage, StatusCode, Version};
use rsipstack::transaction::endpoint::TransportEventInspector;
use rsipstack::transport::transport_layer::TransportWhitelist;
use rsipstack::transport::{SipConnection, TransportEvent};

use crate::settings::{Network, Rate};
use crate::streams::Streams;

/// Addresses that are counted at once. When more speak, the quietest are forgotten.
const ADDRESSES: usize = 10_000;
/// Bytes of a body, and headers, beyond which a request is too large (RFC 3261 §21.5.7).
const BODY: usize = 16 * 1024;
const HEADERS: usize = 100;
/// Bytes of a `Call-ID`, which becomes a key of tables.
const CALL_ID: usize = 256;

/// How much was turned away, since the start.
#[derive(Debug, Default)]
pub struct Turned {
    /// Packets over the rate of their address.
    pub rate: AtomicU64,
    /// Requests, and connections by TCP, from addresses that are on no list.
    pub stranger: AtomicU64,
    /// Requests that are none: 400, 411, 420, 505, 513.
    pub malformed: AtomicU64,
    /// Connections by TCP for which there was no room.
    pub connections: AtomicU64,
}

/// Stands before the stack.
pub struct Guard {
    peers: Vec<Network>,
    packets: Buckets,
    calls: Buckets,
    pub(crate) turned: Arc<Turned>,
    pub(crate) streams: Streams,
    /// The tag of what is answered without a transaction (RFC 3261 §8.2.7).
    tag: String,
}

impl Guard {
    /// With these lists, these rates, and the connections of so many calls. An empty list lets everybody in.
    #[must_use]
    pub fn new(peers: Vec<Network>, packets: Rate, calls: Rate, most: usize, turned: Arc<Turned>) -> Self {
        let (packets, calls) = (Buckets::new(packets), Buckets::new(calls));
        Self { peers, packets, calls, turned, streams: Streams::new(most), tag: crate::random::hex::<8>() }
    }

    /// Whether the list has this address; `None` where there is no list.
    pub(crate) fn listed(&self, ip: IpAddr) -> Option<bool> {
        (!self.peers.is_empty()).then(|| self.peers.iter().any(|network| network.contains(ip)))
    }

    fn knows(&self, ip: IpAddr) -> bool {
        self.listed(ip).unwrap_or(true)
    }

    /// Whether one more packet of this address is taken now.
    pub(crate) fn packet(&self, ip: IpAddr, now: Instant) -> bool {
        let allowed = self.packets.take(ip, now);
        if !allowed {
            self.turned.rate.fetch_add(1, Ordering::Relaxed);
        }
        allowed
    }

    /// Judges a request: whether it goes on to the stack, is dropped, or is answered at once.
    pub fn judge(&self, request: &Request, ip: IpAddr, reliable: bool) -> Judged {
        let in_dialog = request.to_header().ok().and_then(|to| to.tag().ok().flatten()).is_some();
        // What belongs to a dialog has to name its tags, which nobody can guess: agents' telephones
        // need not be on the list.
        if !in_dialog && !self.knows(ip) {
            self.turned.stranger.fetch_add(1, Ordering::Relaxed);
            return Judged::Drop;
        }
        if !in_dialog && request.method == Method::Invite && !self.calls.take(ip, Instant::now()) {
            self.turned.rate.fetch_add(1, Ordering::Relaxed);
            return Judged::Drop;
        }
        let Err((code, extra)) = check(request, reliable) else { return Judged::Pass };
        self.turned.malformed.fetch_add(1, Ordering::Relaxed);
        // An ACK is never answered (RFC 3261 §17).
        if request.method == Method::Ack { Judged::Drop } else { Judged::Answer(self.answer(request, code, extra)) }
    }

    fn answer(&self, request: &Request, code: u16, extra: Option<Header>) -> Response {
        let copied = |header: &&Header| matches!(header, Header::Via(_) | Header::CallId(_) | Header::From(_) | Header::To(_) | Header::CSeq(_));
        let mut headers: Vec<Header> = request.headers().iter().filter(copied).cloned().collect();
        for header in &mut headers {
            if let Header::To(to) = header
                && matches!(to.tag(), Ok(None))
            {
                *to = format!("{};tag={}", to.value(), self.tag).into();
            }
        }
        headers.extend(extra);
        headers.push(Header::ContentLength(0u32.into()));
        Response { status_code: StatusCode::from(code), wire_reason: None, version: Version::V2, headers: headers.into(), body: Vec::new() }
    }
}

/// What becomes of a request.
pub enum Judged {
    /// It goes on to the stack.
    Pass,
    /// Nobody hears of it.
    Drop,
    /// It is answered at once.
    Answer(Response),
}

/// Whether a request is one (RFC 3261 §7.3.1, §8.1.1, §8.2.2.3, §18.3); if not, the code and a header.
fn check(request: &Request, reliable: bool) -> Result<(), (u16, Option<Header>)> {
    let bad = || (400, None);
    if request.version != Version::V2 {
        return Err((505, None));
    }
    let mut lengths = request.headers().iter().filter_map(|header| match header {
        Header::ContentLength(length) => Some(length.value().trim().parse::<usize>()),
        _ => None,
    });
    match (lengths.next(), lengths.next()) {
        (Some(Ok(length)), None) if length == request.body.len() => {}
        // On a datagram the length may be left out, and the stack then takes the body for empty.
        (None, None) if !reliable && request.body.is_empty() => {
            if request.headers().iter().any(|header| matches!(header, Header::ContentType(_))) {
                return Err((411, None));
            }
        }
        _ => return Err(bad()),
    }
    if request.body.len() > BODY || request.headers().len() > HEADERS {
        return Err((513, None));
    }
    // With two of them each reader may take another: what a proxy has judged is not what we would act on.
    let once: [fn(&Header) -> bool; 5] = [
        |header| matches!(header, Header::From(_)), |header| matches!(header, Header::To(_)), |header| matches!(header, Header::CallId(_)),
        |header| matches!(header, Header::CSeq(_)), |header| matches!(header, Header::MaxForwards(_)),
    ];
    if once.iter().any(|is| request.headers().iter().filter(|header| is(header)).count() > 1) {
        return Err(bad());
    }
    let call_id = request.call_id_header().map_err(|_| bad())?;
    let from = request.from_header().map_err(|_| bad())?;
    request.to_header().and_then(|to| to.tag()).map_err(|_| bad())?;
    let cseq = request.cseq_header().map_err(|_| bad())?;
    // Words without blanks (RFC 3261 §25.1, `callid`).
    if call_id.value().is_empty()
        || !call_id.value().bytes().all(|byte| byte.is_ascii_graphic())
        || call_id.value().len() > CALL_ID
        || !matches!(from.tag(), Ok(Some(_)))
        || cseq.seq().is_err()
        || cseq.method().ok() != Some(request.method)
    {
        return Err(bad());
    }
    if matches!(request.method, Method::Ack | Method::Cancel) {
        return Ok(());
    }
    // We know no extension that anybody could require.
    let required: Vec<&str> = request
        .headers()
        .iter()
        .filter(|header| matches!(header, Header::Require(_)))
        .flat_map(|header| header.value().split(',').map(str::trim))
        .filter(|tag| !tag.is_empty())
        .collect();
    if required.is_empty() { Ok(()) } else { Err((420, Some(Header::Unsupported(required.join(", ").into())))) }
}

/// The guard as the stack calls it: before a packet is parsed, and before a request is acted on.
#[derive(Clone)]
pub struct Post(pub Arc<Guard>);

#[async_trait]
impl TransportWhitelist for Post {
    async fn allow(&self, ip: IpAddr) -> bool {
        self.0.packet(ip, Instant::now())
    }
}

#[async_trait]
impl TransportEventInspector for Post {
    async fn handle(&self, event: TransportEvent) -> Option<TransportEvent> {
        let (request, connection, from): (_, &SipConnection, _) = match &event {
            TransportEvent::Incoming(SipMessage::Request(request), connection, from) => (request, connection, from),
            _ => return Some(event),
        };
        let source = from.get_socketaddr().ok()?;
        let ip = source.ip();
        // Datagrams were counted before they were parsed; of a stream only its beginning was.
        if connection.is_reliable() && !self.allow(ip).await {
            return None;
        }
        match self.0.judge(request, ip, connection.is_reliable()) {
            Judged::Pass => {
                if connection.is_reliable() {
                    self.0.streams.passed(source);
                }
                Some(event)
            }
            Judged::Drop => None,
            Judged::Answer(response) => {
                let _ = connection.send(response.into(), Some(from)).await;
                None
            }
        }
    }
}

/// A bucket of tokens for each address.
struct Buckets {
    rate: Rate,
    of: Mutex<HashMap<IpAddr, (f64, Instant)>>,
}

impl Buckets {
    fn new(rate: Rate) -> Self {
        Self { rate, of: Mutex::default() }
    }

    fn take(&self, ip: IpAddr, now: Instant) -> bool {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        let full = f64::from(self.rate.burst);
        let refilled = |(left, at): (f64, Instant)| (left + now.saturating_duration_since(at).as_secs_f64() * f64::from(self.rate.per_second)).min(full);
        if of.len() >= ADDRESSES && !of.contains_key(&ip) {
            // Who has a full bucket is as good as never seen; a flood of addresses empties the table.
            of.retain(|_, bucket| refilled(*bucket) < full);
            if of.len() >= ADDRESSES {
                of.clear();
            }
        }
        let bucket = of.entry(ip).or_insert((full, now));
        let left = refilled(*bucket);
        let taken = left >= 1.0;
        *bucket = (if taken { left - 1.0 } else { left }, now);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn request(head: &str, body: &str) -> Request {
        let text = format!(
            "{head}\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa\r\nFrom: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>\r\nCall-ID: x\r\n\
             CSeq: 1 INVITE\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Request::try_from(text.as_str()).unwrap()
    }

    fn verdict(request: &Request) -> u16 {
        check(request, false).map_or_else(|(code, _)| code, |()| 0)
    }

    fn plain() -> Request {
        request("INVITE sip:b@example.com SIP/2.0", "hello")
    }

    #[test]
    fn a_plain_request_passes() {
        assert_eq!(verdict(&plain()), 0);
    }

    #[test]
    fn other_versions_lengths_and_sizes_do_not() {
        assert_eq!(verdict(&request("INVITE sip:b@example.com SIP/7.0", "")), 505);
        let mut short = plain();
        short.body.truncate(3);
        assert_eq!(verdict(&short), 400);
        let mut large = request("INVITE sip:b@example.com SIP/2.0", &"x".repeat(BODY + 1));
        assert_eq!(verdict(&large), 513);
        large.body.clear();
        large.headers.retain(|header| !matches!(header, Header::ContentLength(_)));
        assert_eq!(verdict(&large), 0);
        large.headers.push(Header::ContentType("application/sdp".into()));
        assert_eq!(verdict(&large), 411);
    }

    #[test]
    fn what_is_required_is_named_as_unsupported() {
        let mut wanting = plain();
        wanting.headers.push(Header::Require("100rel, timer".into()));
        let (code, extra) = check(&wanting, false).unwrap_err();
        assert_eq!((code, extra), (420, Some(Header::Unsupported("100rel, timer".into()))));
        wanting.method = Method::Cancel;
        wanting.headers.retain(|header| !matches!(header, Header::CSeq(_)));
        wanting.headers.push(Header::CSeq("1 CANCEL".into()));
        assert_eq!(verdict(&wanting), 0);
    }

    #[test]
    fn another_method_in_cseq_is_refused() {
        let mut other = plain();
        other.method = Method::Options;
        assert_eq!(verdict(&other), 400);
    }

    #[test]
    fn what_may_stand_once_is_refused_when_it_stands_twice_in_whatever_form() {
        let with = |line: &str| {
            let text = format!(
                "INVITE sip:b@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa\r\nMax-Forwards: 70\r\nFrom: <sip:a@example.com>;tag=1\r\n\
                 To: <sip:b@example.com>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n{line}Content-Length: 0\r\n\r\n"
            );
            verdict(&Request::try_from(text.as_str()).unwrap())
        };
        assert_eq!(with(""), 0);
        for line in [
            "From: <sip:evil@example.com>;tag=1", "f: <sip:evil@example.com>;tag=1", "FROM: <sip:a@example.com>;tag=1", "To: <sip:c@example.com>",
            "t: <sip:c@example.com>", "Call-ID: y", "i: y", "CSeq: 1 INVITE", "cseq: 2 INVITE", "Max-Forwards: 70",
        ] {
            assert_eq!(with(&format!("{line}\r\n")), 400, "{line}");
        }
        assert_eq!(with("Via: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKb\r\n"), 0, "one for each proxy");
    }

    #[test]
    fn a_call_is_named_by_words_without_blanks() {
        let named = |name: &str| {
            let mut request = plain();
            request.headers.retain(|header| !matches!(header, Header::CallId(_)));
            request.headers.push(Header::CallId(name.into()));
            verdict(&request)
        };
        assert_eq!((named("f81d4fae-7dec@192.0.2.7"), named("{x}:1")), (0, 0));
        for name in ["", " ", "a b", "\t", "\n ", "a\r\nVia: x", "ä"] {
            assert_eq!(named(name), 400, "{name:?}");
        }
    }

    #[test]
    fn strangers_are_not_answered_unless_they_name_a_dialog() {
        let few = Rate { per_second: 1, burst: 1 };
        let guard = Guard::new(vec!["192.0.2.0/24".parse().unwrap()], few, few, 1, Arc::default());
        let (known, stranger) = ("192.0.2.7".parse().unwrap(), "198.51.100.1".parse().unwrap());
        assert!(matches!(guard.judge(&plain(), known, false), Judged::Pass));
        assert!(matches!(guard.judge(&plain(), stranger, false), Judged::Drop));
        let mut in_dialog = plain();
        in_dialog.headers.retain(|header| !matches!(header, Header::To(_)));
        in_dialog.headers.push(Header::To("<sip:b@example.com>;tag=2".into()));
        assert!(matches!(guard.judge(&in_dialog, stranger, false), Judged::Pass));
        // The second call within a second is one too many.
        assert!(matches!(guard.judge(&plain(), known, false), Judged::Drop));
    }

    #[test]
    fn a_bucket_fills_up_again() {
        let buckets = Buckets::new(Rate { per_second: 2, burst: 2 });
        let (ip, now) = ("192.0.2.7".parse().unwrap(), Instant::now());
        assert!(buckets.take(ip, now) && buckets.take(ip, now) && !buckets.take(ip, now));
        assert!(buckets.take(ip, now + Duration::from_millis(600)));
        assert!(!buckets.take(ip, now + Duration::from_millis(700)));
    }
}
