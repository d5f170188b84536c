//! One leg's socket, and what goes through it.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, atomic::Ordering::Relaxed};

use super::READ;
use crate::clip::{Clip, FRAME};
use crate::gateway::Counts;
use crate::rtp::{HEAD, Packet, Stream};
use crate::sdp::Agreed;
use crate::settings::RtpSource;

/// More than this between two packets is no loss but a stream that begins anew: two seconds.
const JUMP: u16 = 100;

/// One side: a socket, what was agreed on, and the stream that we send.
pub(super) struct Leg {
    socket: UdpSocket,
    source: RtpSource,
    pub agreed: Option<Agreed>,
    latched: Option<SocketAddr>,
    pub stream: Stream,
    /// The source and the number of the packet that was the furthest.
    last: Option<(u32, u16)>,
    counts: Arc<Counts>,
}

impl Leg {
    pub fn new(socket: UdpSocket, source: RtpSource, counts: Arc<Counts>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket, source, agreed: None, latched: None, stream: Stream::new(), last: None, counts })
    }

    /// Counts what is missing between this packet and the one that was the furthest.
    fn follow(&mut self, source: u32, number: u16) {
        let step = match self.last {
            Some((known, last)) if known == source => number.wrapping_sub(last),
            _ => 1,
        };
        match step {
            // Late, or twice.
            0 | 0x8000.. => return,
            2..=JUMP => drop(self.counts.lost.fetch_add(u64::from(step - 1), Relaxed)),
            // The next, or numbers that begin anew.
            _ => {}
        }
        self.last = Some((source, number));
    }

    pub fn agree(&mut self, agreed: Agreed) {
        if self.agreed.is_some_and(|before| before.remote != agreed.remote) {
            self.latched = None;
        }
        self.agreed = Some(agreed);
    }

    /// The next packet that waits and is from where it should be.
    pub fn receive<'a>(&mut self, buffer: &'a mut [u8]) -> Option<Packet<'a>> {
        let agreed = self.agreed?;
        for _ in 0..READ {
            let (length, from) = match self.socket.recv_from(buffer) {
                Ok(received) => received,
                // Somebody refused a packet of ours: the next one may be there.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(_) => return None,
            };
            let fits = match (self.source, self.latched) {
                (RtpSource::Exact, _) => from == agreed.remote,
                (RtpSource::Address, _) => from.ip() == agreed.remote.ip(),
                (RtpSource::Latch, Some(latched)) => from == latched,
                (RtpSource::Latch, None) => buffer.get(..length).and_then(Packet::parse).is_some_and(|packet| {
                    packet.payload_type == agreed.payload_type || Some(packet.payload_type) == agreed.events
                }),
            };
            if fits && agreed.receive {
                if self.source == RtpSource::Latch {
                    self.latched = Some(from);
                }
                // Checked before it is kept, as the borrow of the buffer ends the search.
                if let Some((source, number)) = buffer.get(..length).and_then(Packet::parse).map(|packet| (packet.ssrc, packet.sequence)) {
                    self.follow(source, number);
                    return buffer.get(..length).and_then(Packet::parse);
                }
            }
        }
        None
    }

    /// A frame of our own: of a clip, or silence.
    pub fn frame(&mut self, now: u64, from: Option<(&Arc<Clip>, usize)>, write: &mut Vec<u8>) {
        let Some(agreed) = self.agreed.filter(|agreed| agreed.send) else { return };
        let bytes = from.and_then(|(clip, at)| clip.bytes(agreed.law).get(at..)).unwrap_or_default();
        let mut payload = [agreed.law.silence(); FRAME];
        payload.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        let (sequence, timestamp, marker) = self.stream.own(now, FRAME as u32);
        let ssrc = self.stream.ssrc();
        Packet { payload_type: agreed.payload_type, marker, sequence, timestamp, ssrc, payload: &payload }.write(write);
        self.put(&agreed, write);
    }

    /// Audio of the other leg, in our law; with `mute` as silence of the same length.
    pub fn pass(&mut self, now: u64, packet: &Packet<'_>, theirs: Agreed, mute: bool, write: &mut Vec<u8>) {
        let Some(agreed) = self.agreed.filter(|agreed| agreed.send) else { return };
        let (sequence, timestamp, marker) = self.stream.pass(now, packet);
        let ssrc = self.stream.ssrc();
        Packet { payload_type: agreed.payload_type, marker, sequence, timestamp, ssrc, payload: packet.payload }.write(write);
        if let Some(payload) = write.get_mut(HEAD..) {
            if mute {
                payload.fill(agreed.law.silence());
            } else {
                theirs.law.transcode(agreed.law, payload);
            }
        }
        self.put(&agreed, write);
    }

    /// An event of the other leg, if this one takes events.
    pub fn pass_event(&mut self, now: u64, packet: &Packet<'_>, write: &mut Vec<u8>) {
        let Some((agreed, events)) = self.agreed.and_then(|agreed| Some((agreed, agreed.events.filter(|_| agreed.send)?))) else {
            self.stream.leave_out();
            return;
        };
        let (sequence, timestamp, marker) = self.stream.pass(now, packet);
        let ssrc = self.stream.ssrc();
        Packet { payload_type: events, marker, sequence, timestamp, ssrc, payload: packet.payload }.write(write);
        self.put(&agreed, write);
    }

    fn put(&self, agreed: &Agreed, write: &[u8]) {
        let to = self.latched.unwrap_or(agreed.remote);
        // A packet that cannot be sent is a packet lost.
        let _ = self.socket.send_to(write, to);
    }
}
