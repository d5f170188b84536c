//! Offer and answer (RFC 3264, RFC 4566) for one stream of telephone audio with events.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use crate::g711::Law;

/// The payload type that we offer for events, and 0 to 15 are those we know (RFC 4733 §7.1.1).
pub(crate) const EVENTS: u8 = 101;
/// More media than this in a description are not looked at.
const MOST_MEDIA: usize = 16;

/// Why a description is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// Not a description: 400 (RFC 3261 §21.4.1).
    #[error("not a session description: {0}")]
    Malformed(&'static str),
    /// Nothing in it that we speak: 488 (RFC 3261 §21.4.26).
    #[error("no audio in PCMU or PCMA over RTP/AVP")]
    NothingInCommon,
}

/// What the other side says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Where it wants its audio.
    pub remote: SocketAddr,
    /// The laws that it speaks with their payload types, the preferred one first. Not empty.
    pub laws: Vec<(u8, Law)>,
    /// The payload type of its events (RFC 4733).
    pub events: Option<u8>,
    /// It sends.
    pub sends: bool,
    /// It wants to receive.
    pub receives: bool,
    /// For every medium: how our answer refuses it, or `None` for the audio that is taken.
    media: Vec<Option<String>>,
}

/// What both sides have agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// Where our audio goes, and whence theirs is taken.
    pub remote: SocketAddr,
    /// The law.
    pub law: Law,
    /// Its payload type.
    pub payload_type: u8,
    /// The payload type of events.
    pub events: Option<u8>,
    /// We send.
    pub send: bool,
    /// We listen.
    pub receive: bool,
}

/// One `m=` section while it is read.
struct Medium<'a> {
    kind: &'a str,
    port: u16,
    profile: &'a str,
    formats: Vec<&'a str>,
    address: Option<IpAddr>,
    maps: Vec<(u8, &'a str)>,
    direction: Option<(bool, bool)>,
}

impl Description {
    /// Reads a body of `application/sdp`.
    ///
    /// # Errors
    /// It is no description, or has no audio that we speak.
    pub fn parse(body: &[u8]) -> Result<Self, SdpError> {
        let text = std::str::from_utf8(body).map_err(|_| SdpError::Malformed("not UTF-8"))?;
        let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
        if lines.next() != Some("v=0") {
            return Err(SdpError::Malformed("v=0 is wanted first"));
        }
        let (mut address, mut direction) = (None, None);
        let mut media: Vec<Medium<'_>> = Vec::new();
        for line in lines {
            let (name, value) = line.split_once('=').ok_or(SdpError::Malformed("a line without ="))?;
            if name == "m" {
                if media.len() == MOST_MEDIA {
                    return Err(SdpError::Malformed("too many media"));
                }
                media.push(Medium::parse(value)?);
                continue;
            }
            match (name, media.last_mut()) {
                ("c", Some(medium)) => medium.address = Some(connection(value)?),
                ("c", None) => address = Some(connection(value)?),
                ("a", Some(medium)) => medium.attribute(value),
                ("a", None) => direction = towards(value).or(direction),
                _ => {}
            }
        }
        let at = media.iter().position(Medium::is_audio).ok_or(SdpError::NothingInCommon)?;
        let audio = media.get(at).ok_or(SdpError::NothingInCommon)?;
        let laws = audio.laws();
        if laws.is_empty() {
            return Err(SdpError::NothingInCommon);
        }
        let address = audio.address.or(address).ok_or(SdpError::Malformed("no address"))?;
        if address.is_multicast() {
            return Err(SdpError::Malformed("an address of many"));
        }
        // An address of zeros was the sign of hold before directions were (RFC 3264 §8.4).
        let (sends, receives) = match audio.direction.or(direction).unwrap_or((true, true)) {
            _ if address.is_unspecified() => (false, false),
            said => said,
        };
        Ok(Self {
            remote: SocketAddr::new(address, audio.port),
            laws,
            events: audio.events(),
            sends,
            receives,
            media: media.iter().enumerate().map(|(n, medium)| (n != at).then(|| medium.refused())).collect(),
        })
    }

    /// What we agree to: the law that the other side prefers, or `wanted` if it speaks that too.
    #[must_use]
    pub fn agree(&self, wanted: Option<Law>) -> Agreed {
        let fits = self.laws.iter().find(|(_, law)| Some(*law) == wanted).or(self.laws.first());
        let (payload_type, law) = fits.copied().unwrap_or((Law::Mu.payload_type(), Law::Mu));
        Agreed {
            remote: self.remote,
            law,
            payload_type,
            events: self.events,
            send: self.receives,
            receive: self.sends,
        }
    }
}

impl<'a> Medium<'a> {
    fn parse(value: &'a str) -> Result<Self, SdpError> {
        let malformed = SdpError::Malformed("a medium that cannot be read");
        let mut words = value.split_ascii_whitespace();
        let (Some(kind), Some(port), Some(profile)) = (words.next(), words.next(), words.next()) else {
            return Err(malformed);
        };
        let port = port.split('/').next().unwrap_or_default().parse().map_err(|_| malformed)?;
        let formats: Vec<_> = words.collect();
        if formats.is_empty() {
            return Err(malformed);
        }
        Ok(Self { kind, port, profile, formats, address: None, maps: Vec::new(), direction: None })
    }

    fn attribute(&mut self, value: &'a str) {
        if let Some(map) = value.strip_prefix("rtpmap:") {
            if let Some((number, name)) = map.split_once(' ')
                && let Ok(number) = number.parse()
                && self.maps.len() < 128
            {
                self.maps.push((number, name.trim()));
            }
        } else {
            self.direction = towards(value).or(self.direction);
        }
    }

    fn is_audio(&self) -> bool {
        self.kind == "audio" && self.port != 0 && self.profile == "RTP/AVP"
    }

    /// The formats, in their order, with the names they are mapped to.
    fn named(&self) -> impl Iterator<Item = (u8, Option<&'a str>)> {
        let numbers = self.formats.iter().filter_map(|format| format.parse().ok()).filter(|n: &u8| *n < 128);
        numbers.map(|number| (number, self.maps.iter().find(|(n, _)| *n == number).map(|(_, name)| *name)))
    }

    fn laws(&self) -> Vec<(u8, Law)> {
        let law = |(number, name): (u8, Option<&str>)| {
            let fits = |law: &Law| match name {
                // A static number needs no map (RFC 3551 §6).
                None => law.payload_type() == number,
                Some(name) => is_named(name, law.name()),
            };
            Law::ALL.into_iter().find(fits).map(|law| (number, law))
        };
        self.named().filter_map(law).collect()
    }

    fn events(&self) -> Option<u8> {
        self.named().find(|(_, name)| name.is_some_and(|name| is_named(name, "telephone-event"))).map(|(n, _)| n)
    }

    /// The line that refuses it (RFC 3264 §6).
    fn refused(&self) -> String {
        let format = self.formats.first().copied().unwrap_or("0");
        format!("m={} 0 {} {format}\r\n", self.kind, self.profile)
    }
}

/// `PCMU/8000` and `PCMU/8000/1` are PCMU; names know no case.
fn is_named(map: &str, name: &str) -> bool {
    let mut parts = map.split('/');
    let (is, rate, channels) = (parts.next(), parts.next(), parts.next());
    is.is_some_and(|is| is.eq_ignore_ascii_case(name)) && rate == Some("8000") && channels.is_none_or(|n| n == "1")
}

/// An attribute that is a direction: whether it sends, and receives.
fn towards(attribute: &str) -> Option<(bool, bool)> {
    match attribute.trim() {
        "sendrecv" => Some((true, true)),
        "sendonly" => Some((true, false)),
        "recvonly" => Some((false, true)),
        "inactive" => Some((false, false)),
        _ => None,
    }
}

/// `IN IP4 192.0.2.1`. Names are not looked up: who may make us ask a name server is not for a caller.
fn connection(value: &str) -> Result<IpAddr, SdpError> {
    let mut words = value.split_ascii_whitespace();
    let (net, kind, address) = (words.next(), words.next(), words.next());
    let address = address.unwrap_or_default().split('/').next().unwrap_or_default();
    match (net, kind, address.parse()) {
        (Some("IN"), Some("IP4"), Ok(address @ IpAddr::V4(_))) | (Some("IN"), Some("IP6"), Ok(address @ IpAddr::V6(_))) => Ok(address),
        _ => Err(SdpError::Malformed("an address that cannot be read")),
    }
}

/// What we say of ourselves: one for each leg of a call.
#[derive(Clone, Debug)]
pub struct Local {
    /// Where we want the audio.
    pub address: SocketAddr,
    session: u32,
    version: u32,
    last: String,
}

impl Local {
    /// At this address, which others can reach.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address, session: u32::from_be_bytes(crate::random::bytes()), version: 0, last: String::new() }
    }

    /// An offer of both laws, `first` before the other, and events.
    #[must_use]
    pub fn offer(&mut self, first: Law) -> String {
        let other = if first == Law::Mu { Law::A } else { Law::Mu };
        let laws = [first, other].map(|law| (law.payload_type(), law));
        let mut body = String::new();
        self.audio(&mut body, &laws, Some(EVENTS), "sendrecv");
        self.with_head(body)
    }

    /// The answer to `offer` (RFC 3264 §6): as many media, one of them taken.
    #[must_use]
    pub fn answer(&mut self, offer: &Description, agreed: &Agreed) -> String {
        let direction = match (agreed.send, agreed.receive) {
            (true, true) => "sendrecv",
            (true, false) => "sendonly",
            (false, true) => "recvonly",
            (false, false) => "inactive",
        };
        let mut body = String::new();
        for medium in &offer.media {
            match medium {
                Some(refused) => body.push_str(refused),
                None => self.audio(&mut body, &[(agreed.payload_type, agreed.law)], agreed.events, direction),
            }
        }
        self.with_head(body)
    }

    fn audio(&self, out: &mut String, laws: &[(u8, Law)], events: Option<u8>, direction: &str) {
        let _ = write!(out, "m=audio {} RTP/AVP", self.address.port());
        for (number, _) in laws {
            let _ = write!(out, " {number}");
        }
        if let Some(number) = events {
            let _ = write!(out, " {number}");
        }
        out.push_str("\r\n");
        for (number, law) in laws {
            let _ = write!(out, "a=rtpmap:{number} {}/8000\r\n", law.name());
        }
        if let Some(number) = events {
            let _ = write!(out, "a=rtpmap:{number} telephone-event/8000\r\na=fmtp:{number} 0-15\r\n");
        }
        let _ = write!(out, "a=ptime:20\r\na={direction}\r\n");
    }

    /// The version goes up when something has changed (RFC 3264 §8).
    fn with_head(&mut self, body: String) -> String {
        if body != self.last {
            self.version = self.version.wrapping_add(1);
            self.last.clone_from(&body);
        }
        let kind = if self.address.is_ipv4() { "IP4" } else { "IP6" };
        let (ip, session, version) = (self.address.ip(), self.session, self.version);
        format!("v=0\r\no=- {session} {version} IN {kind} {ip}\r\ns=-\r\nc=IN {kind} {ip}\r\nt=0 0\r\n{body}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";

    fn parse(rest: &str) -> Result<Description, SdpError> {
        Description::parse(format!("{HEAD}{rest}").as_bytes())
    }

    fn local() -> Local {
        Local::new("192.0.2.9:4000".parse().unwrap())
    }

    #[test]
    fn the_other_side_chooses_the_law_and_the_number_of_events() {
        let offer = parse("m=audio 6000 RTP/AVP 18 8 0 96\r\na=rtpmap:96 telephone-event/8000\r\n").unwrap();
        let agreed = offer.agree(None);
        assert_eq!((agreed.law, agreed.payload_type, agreed.events), (Law::A, 8, Some(96)));
        assert_eq!(agreed.remote, "192.0.2.1:6000".parse().unwrap());
        let answer = local().answer(&offer, &agreed);
        assert!(answer.contains("m=audio 4000 RTP/AVP 8 96\r\n") && answer.contains("a=fmtp:96 0-15\r\n"), "{answer}");
        assert_eq!(offer.agree(Some(Law::Mu)).law, Law::Mu);
    }

    #[test]
    fn a_law_under_another_number_is_that_law() {
        let offer = parse("m=audio 6000 RTP/AVP 97\r\na=rtpmap:97 pcmu/8000/1\r\n").unwrap();
        assert_eq!(offer.laws, [(97, Law::Mu)]);
        // And a number that was given to something else is not what it usually is.
        assert_eq!(parse("m=audio 6000 RTP/AVP 0\r\na=rtpmap:0 L16/8000\r\n"), Err(SdpError::NothingInCommon));
    }

    #[test]
    fn hold_is_answered_with_its_counterpart() {
        for (said, answered) in [("sendonly", "recvonly"), ("inactive", "inactive"), ("recvonly", "sendonly"), ("sendrecv", "sendrecv")] {
            let offer = parse(&format!("m=audio 6000 RTP/AVP 0\r\na={said}\r\n")).unwrap();
            let answer = local().answer(&offer, &offer.agree(None));
            assert!(answer.contains(&format!("a={answered}\r\n")), "{said}: {answer}");
        }
        let old = parse("m=audio 6000 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n").unwrap();
        assert!(!old.sends && !old.receives);
    }

    #[test]
    fn other_media_are_refused_in_their_places() {
        let offer = parse("m=video 7000 RTP/AVP 31\r\nm=audio 6000 RTP/AVP 0\r\nm=audio 6002 RTP/AVP 0\r\n").unwrap();
        let answer = local().answer(&offer, &offer.agree(None));
        let media: Vec<_> = answer.lines().filter(|line| line.starts_with("m=")).collect();
        assert_eq!(media, ["m=video 0 RTP/AVP 31", "m=audio 4000 RTP/AVP 0", "m=audio 0 RTP/AVP 0"]);
    }

    #[test]
    fn what_we_do_not_speak_is_refused_and_what_is_broken_too() {
        for nothing in ["m=audio 6000 RTP/AVP 18\r\n", "m=audio 0 RTP/AVP 0\r\n", "m=audio 6000 RTP/SAVP 0\r\n", "m=video 6000 RTP/AVP 0\r\n", ""] {
            assert_eq!(parse(nothing), Err(SdpError::NothingInCommon), "{nothing}");
        }
        for broken in ["m=audio\r\n", "m=audio x RTP/AVP 0\r\n", "m=audio 70000 RTP/AVP 0\r\n", "m=audio 1 RTP/AVP\r\n", "nonsense\r\n",
                       "m=audio 1 RTP/AVP 0\r\nc=IN IP4 host.example.com\r\n", "m=audio 1 RTP/AVP 0\r\nc=IN IP4 224.2.1.1\r\n"] {
            assert!(matches!(parse(broken), Err(SdpError::Malformed(_))), "{broken}");
        }
        assert!(matches!(Description::parse(b"hello"), Err(SdpError::Malformed(_))));
        assert!(matches!(Description::parse(b"v=0\r\nm=audio 1 RTP/AVP 0\r\n"), Err(SdpError::Malformed(_))));
    }

    #[test]
    fn our_offer_is_one_that_we_understand() {
        let text = Local::new("[2001:db8::1]:4000".parse().unwrap()).offer(Law::A);
        let read = Description::parse(text.as_bytes()).unwrap();
        assert_eq!(read.laws, [(8, Law::A), (0, Law::Mu)]);
        assert_eq!((read.events, read.remote), (Some(101), "[2001:db8::1]:4000".parse().unwrap()));
    }

    #[test]
    fn the_version_goes_up_with_a_change_and_only_then() {
        let mut local = local();
        let version = |text: &str| text.split_whitespace().nth(3).unwrap().to_owned();
        let first = version(&local.offer(Law::Mu).replace("v=0\r\no=-", "v=0 o=- "));
        let again = version(&local.offer(Law::Mu).replace("v=0\r\no=-", "v=0 o=- "));
        let other = version(&local.offer(Law::A).replace("v=0\r\no=-", "v=0 o=- "));
        assert_eq!(first, again);
        assert_ne!(first, other);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Description::parse(&bytes);
        }

        #[test]
        fn nor_do_lines_that_look_like_it(lines in proptest::collection::vec("(v=0|m=(audio|video) [0-9/]{0,6} RTP/AVP( [0-9]{1,3}){0,4}|c=IN IP[46] [0-9.:/]{0,12}|a=(rtpmap|fmtp):[0-9]{0,3} ?(PCMU|PCMA|telephone-event)?(/8000)?|a=(sendonly|inactive)|[a-z]=.{0,9})", 0..12)) {
            let body = format!("{HEAD}{}", lines.join("\r\n"));
            if let Ok(offer) = Description::parse(body.as_bytes()) {
                prop_assert!(!offer.laws.is_empty());
                let answer = local().answer(&offer, &offer.agree(None));
                prop_assert_eq!(answer.matches("m=").count() >= offer.media.len(), true);
                prop_assert_eq!(Description::parse(answer.as_bytes()).map(|d| d.laws.len()), Ok(1));
            }
        }
    }
}
