//! Telephones: SIP, SDP, RTP, keys, digest, and what a browser offers.

use std::{collections::BTreeMap, net::{IpAddr, Ipv4Addr, SocketAddr}};

use countersign_server::telephony::softphone;
use countersign_sip::{
    Clip,
    digest::{Algorithm, Digest, Verdict, Verifier},
    dtmf::{self, Detector, Event},
    fuzz::{self, Seen},
    rtp::Packet,
    sdp::{Description, Local},
};

use crate::{Target, holds};

const INVITE: &str = "INVITE sip:+12025550100@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK776asdhds;rport\r\nMax-Forwards: 70\r\n\
From: \"Ana \\\" <Torres>\" <sip:+12025550142@example.com;user=phone>;tag=1928301774\r\nTo: <sip:+12025550100@example.com>\r\nCall-ID: a84b4c76e66710@192.0.2.7\r\n\
CSeq: 314159 INVITE\r\nContact: <sip:+12025550142@192.0.2.7>\r\nP-Asserted-Identity: <sip:+12025550142@example.com>, <tel:+12025550142>\r\nPrivacy: none\r\n\
Identity: eyJhbGciOiJFUzI1NiJ9.e30.AAAA;info=<https://certs.example.org/sp.pem>;alg=ES256;ppt=shaken\r\nContent-Type: application/sdp\r\nContent-Length: 6\r\n\r\nv=0\r\n.";
const REGISTER: &str = "BYE sip:countersign@192.0.2.1 SIP/2.0\r\nv: SIP/2.0/TCP 192.0.2.7;branch=z9hG4bKa\r\nf: tel:+1-202-555-0142;tag=1\r\nt: <sips:b%40x@example.com>;tag=2\r\ni: x\r\nCSeq: 1 BYE\r\nRequire: timer, 100rel\r\nl: 0\r\n\r\n";
const NOTIFY: &str = "NOTIFY sip:countersign@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKb\r\nFrom: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>;tag=2\r\n\
Call-ID: y\r\nCSeq: 2 NOTIFY\r\nEvent: refer;id=1\r\nSubscription-State: terminated;reason=noresource\r\nContent-Type: message/sipfrag\r\nContent-Length: 16\r\n\r\nSIP/2.0 200 OK\r\n";
const WORDS: &[&str] = &[
    "INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "INFO", "NOTIFY", "SIP/2.0", "SIP/7.0", "\r\nVia: ", "\r\nFrom: ", "\r\nTo: ", "\r\nCall-ID: ", "\r\nCSeq: ", "\r\nContent-Length: ",
    "\r\nRequire: ", "\r\nIdentity: ", "\r\n\r\n", "\r\n ", ";tag=", ";branch=", "<sip:", "sips:", "tel:", "%0d%0a", "[::1]", "anonymous",
];

const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\nm=video 5000 RTP/AVP 96\r\nm=audio 49170 RTP/AVP 8 0 101 13\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000/1\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n";
const HELD: &str = "v=0\r\no=x 2 3 IN IP6 2001:db8::7\r\ns= \r\nt=0 0\r\na=sendonly\r\nm=audio 4000 RTP/AVP 0\r\nc=IN IP6 2001:db8::7/127\r\n";
const SDP: &[&str] = &["m=audio ", "m=image 0 udptl t38", "c=IN IP4 ", "c=IN IP6 ::", "0.0.0.0", "224.0.0.1", "a=rtpmap:", "a=inactive", "a=sendonly", "RTP/AVP", "RTP/SAVPF", "PCMU/8000", "telephone-event/8000", "\r\n"];

/// What Chromium offers, shortened.
const BROWSER: &str = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS stream\r\n\
m=audio 9 UDP/TLS/RTP/SAVPF 111 0 126\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=candidate:1 1 udp 2122260223 192.0.2.7 50000 typ host\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
a=ice-options:trickle\r\na=fingerprint:sha-256 D2:FA:0E:C3:22:59:5E:14:95:69:92:3D:13:B4:84:24:2C:C2:A2:C0:3E:FD:34:8E:5E:EA:6F:AF:52:CE:E6:0F\r\na=setup:actpass\r\na=mid:0\r\n\
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=sendrecv\r\na=msid:stream track\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n\
a=rtpmap:0 PCMU/8000\r\na=rtpmap:126 telephone-event/8000\r\na=ssrc:3735928559 cname:o/i14u9pJrxRKAsu\r\n";
const BROWSER_WORDS: &[&str] = &["a=simulcast:send h;l", "a=rid:h send", "a=setup:passive", "a=ice-lite", "a=mid:", "a=ssrc-group:FID 1 2", "a=rtcp-fb:0 nack", "a=bundle-only", "a=sctp-port:5000", "a=fmtp:126 0-16", "UDP/DTLS/SCTP", "\r\n"];

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target::of("sip-request", "SIP requests, up to where the stack acts on them", WORDS, 800, &[INVITE, REGISTER, NOTIFY], request),
        Target::of("sip-user", "user parts of SIP and tel URIs", WORDS, 1_500, &["\"A <b\" <sip:+12025550142;npdi@example.com>;tag=1", "Name <tel:+1-202-555-0123;phone-context=x>", "sips:%2B1@x"], |input| {
            let Some(user) = fuzz::user_part(&String::from_utf8_lossy(input)) else { return Ok(()) };
            holds(!user.is_empty() && user.len() <= 128 && !user.chars().any(char::is_control), "a user part that is none")
        }),
        Target::of("sipfrag", "the status in a NOTIFY", &["SIP/2.0", " 200", "\r\n"], 2_000, &["SIP/2.0 200 OK\r\n", "SIP/2.0 100 Trying"], |input| {
            holds(fuzz::fragment(input).is_none_or(|code| (100..700).contains(&code)), "a status that is none")
        }),
        Target::of("sdp", "session descriptions, and our answers to them", SDP, 1_500, &[OFFER, HELD], sdp),
        Target { seeds: rtp_samples(), ..Target::of("rtp", "packets of RTP", &[], 6_000, &[], rtp) },
        Target { seeds: key_samples(), ..Target::of("dtmf-events", "keys as events", &[], 4_000, &[], keys) },
        Target::of("dtmf-info", "keys as INFO", &["Signal", "Signal=", "Duration=", "10", "#", "application/dtmf"], 1_500, &["application/dtmf-relay\nSignal=5\r\nDuration=160\r\n", "application/dtmf; x=y\n11", "Application/DTMF-Relay\nduration: 1\nsignal: *"], |input| {
            let at = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
            let (kind, body) = input.split_at_checked(at).unwrap_or((input, &[]));
            let key = dtmf::info(&String::from_utf8_lossy(kind), body.get(1..).unwrap_or_default());
            holds(key.is_ok_and(|key| dtmf::code(key).is_some()) || key.is_err(), "a key that is none")
        }),
        digest(),
        Target::of("webrtc-offer", "what a browser offers to the softphone", BROWSER_WORDS, 40, &[BROWSER], |input| {
            let text = String::from_utf8_lossy(input);
            let taken = softphone::understands(&text);
            holds(!taken || text.contains("a=fingerprint:"), "an offer without a fingerprint is taken")?;
            holds(taken || input != BROWSER.as_bytes(), "Chromium's offer is not taken")
        }),
        Target { seeds: vec![wav()], ..Target::of("wav", "recordings", &["RIFF", "WAVE", "fmt ", "data", "LIST"], 2_000, &[], |input| {
            let clip = Clip::from_wav(input);
            holds(clip.is_err() || input.len() >= 12, "a recording of nothing")
        }) },
    ]
}

fn request(input: &[u8]) -> Result<(), String> {
    match fuzz::datagram(input) {
        Seen::None => Ok(()),
        Seen::Refused(None) => Ok(()),
        Seen::Refused(Some(answer)) => holds(answer.starts_with("SIP/2.0 "), "an answer that is none"),
        Seen::Passed(incoming, again) => {
            let plain = |text: &str| text.len() <= 128 && !text.chars().any(char::is_control);
            holds(plain(&incoming.from) && plain(&incoming.to) && incoming.asserted.iter().all(|user| plain(user)), "a user part that is none")?;
            holds(incoming.identity.len() <= fuzz::IDENTITIES && !incoming.call_id.is_empty(), "more than is looked at, or a call without a name")?;
            // What passed is what it was, when it is written and read again.
            match fuzz::datagram(again.as_bytes()) {
                Seen::Passed(second, _) => holds(second.from == incoming.from && second.asserted == incoming.asserted && second.call_id == incoming.call_id, "read again it says something else"),
                _ => Err("read again it does not pass".into()),
            }
        }
    }
}

fn sdp(input: &[u8]) -> Result<(), String> {
    let Ok(offer) = Description::parse(input) else { return Ok(()) };
    holds(!offer.laws.is_empty() && !offer.remote.ip().is_multicast(), "an offer of nothing, or an address of many")?;
    let agreed = offer.agree(None);
    let mut local = Local::new(SocketAddr::from(([192, 0, 2, 1], 20_000)));
    let answer = local.answer(&offer, &agreed);
    let read = Description::parse(answer.as_bytes()).map_err(|e| format!("our own answer is not read: {e}"))?;
    let back = read.agree(None);
    holds((back.law, back.payload_type, back.events) == (agreed.law, agreed.payload_type, agreed.events), "our answer says something else than we agreed on")?;
    holds(read.sends == agreed.send && read.receives == agreed.receive, "our answer has another direction")
}

fn rtp_samples() -> Vec<Vec<u8>> {
    let mut plain = Vec::new();
    Packet { payload_type: 0, marker: true, sequence: 65_535, timestamp: 160, ssrc: 7, payload: &[0xff; 20] }.write(&mut plain);
    let mut extended = vec![0x90 | 0x01 | 0x20, 101, 0, 1, 0, 0, 0, 160, 0, 0, 0, 7, 1, 2, 3, 4, 0xbe, 0xde, 0, 1, 0x10, 0x30, 0, 0];
    extended.extend([5, 0x8a, 3, 0x20, 0, 0, 0, 4]);
    vec![plain, extended]
}

fn rtp(input: &[u8]) -> Result<(), String> {
    let Some(packet) = Packet::parse(input) else { return Ok(()) };
    holds(packet.payload.len() + 12 <= input.len(), "more in it than came")?;
    let mut written = Vec::new();
    packet.write(&mut written);
    holds(Packet::parse(&written) == Some(packet), "written and read again it is another")
}

fn key_samples() -> Vec<Vec<u8>> { [5, 11].map(|code| dtmf::press(code, 100).into_iter().flat_map(Event::bytes).collect()).to_vec() }

/// Each four bytes are one packet, 20 ms after the other.
fn keys(input: &[u8]) -> Result<(), String> {
    let mut detector = Detector::default();
    let mut pressed = 0;
    let packets = input.as_chunks::<4>().0;
    for (n, bytes) in (0_u64..).zip(packets) {
        let Some(event) = Event::parse(bytes) else { return Err("four bytes are an event".into()) };
        // The reserved bit is not kept.
        let [code, flags, high, low] = *bytes;
        holds(event.bytes() == [code, flags & 0xbf, high, low], "written again it is another")?;
        let heard = detector.hear(n * 20, 0, event);
        holds(heard.is_none() || heard == dtmf::key(code), "another key than was sent")?;
        pressed += usize::from(heard.is_some());
    }
    holds(pressed <= packets.len(), "more keys than packets")
}

fn wav() -> Vec<u8> {
    let mut file = b"RIFF\x34\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\x10\0\0\0".to_vec();
    file.extend([1; 16]);
    file
}

/// Nobody passes without the password, whatever they write.
fn digest() -> Target {
    let users = BTreeMap::from([("robin".to_owned(), "a long password".to_owned())]);
    let verifier = Verifier::new(Digest { realm: "example.com".into(), users, algorithm: Algorithm::Sha256 });
    let ip = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
    let nonce = match verifier.check(1_000, ip, "INVITE", None) {
        Verdict::Challenge { header, .. } => header.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default().to_owned(),
        Verdict::Passed { .. } => String::new(),
    };
    let answer = format!(
        "Digest username=\"robin\", realm=\"example.com\", nonce=\"{nonce}\", uri=\"sip:x@example.com\", response=\"{}\", algorithm=SHA-256, cnonce=\"0a4f113b\", qop=auth, nc=00000001",
        "0".repeat(64)
    );
    let words = &["username=", "response=\"\"", "nonce=", "algorithm=MD5", "algorithm=SHA-256-sess", "qop=auth-int", "nc=00000000", "nobody", ", ", "\\\"", "Digest ", "Basic "];
    Target::of("digest", "digest answers: nobody passes without the password", words, 300, &[&answer], move |input| {
        match verifier.check(1_001, ip, "INVITE", Some(&String::from_utf8_lossy(input))) {
            Verdict::Passed { .. } => Err("passed without the password".into()),
            Verdict::Challenge { header, .. } => holds(!header.contains(['\r', '\n']), "a challenge that is two headers"),
        }
    })
}
