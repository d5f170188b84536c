//! Packets of RTP (RFC 3550), and the numbers of one outgoing stream.

use crate::random;

/// Bytes of the fixed head (RFC 3550 §5.1).
pub const HEAD: usize = 12;

/// A packet as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What the payload is, 0 to 127.
    pub payload_type: u8,
    /// The marker bit: the first packet after silence, or of an event.
    pub marker: bool,
    /// Sequence number.
    pub sequence: u16,
    /// In samples.
    pub timestamp: u32,
    /// Which stream.
    pub ssrc: u32,
    /// What is in it, without padding.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads one datagram. `None` for what is no RTP of version 2, or is cut short (RFC 3550 §5.1,
    /// §5.3.1), or is RTCP on the same port (RFC 5761 §4).
    #[must_use]
    pub fn parse(datagram: &'a [u8]) -> Option<Self> {
        let (head, mut rest) = datagram.split_first_chunk::<HEAD>()?;
        let [flags, kind, s1, s2, t1, t2, t3, t4, r1, r2, r3, r4] = *head;
        if flags >> 6 != 2 || (192..=223).contains(&kind) {
            return None;
        }
        rest = rest.get(usize::from(flags & 0x0f) * 4..)?;
        if flags & 0x10 != 0 {
            let ([_, _, high, low], after) = rest.split_first_chunk::<4>()?;
            rest = after.get(usize::from(u16::from_be_bytes([*high, *low])) * 4..)?;
        }
        if flags & 0x20 != 0 {
            let padding = usize::from(*rest.last()?);
            rest = rest.get(..rest.len().checked_sub(padding)?).filter(|_| padding > 0)?;
        }
        Some(Self {
            payload_type: kind & 0x7f,
            marker: kind & 0x80 != 0,
            sequence: u16::from_be_bytes([s1, s2]),
            timestamp: u32::from_be_bytes([t1, t2, t3, t4]),
            ssrc: u32::from_be_bytes([r1, r2, r3, r4]),
            payload: rest,
        })
    }

    /// Writes it into `buffer`, which is emptied first.
    pub fn write(&self, buffer: &mut Vec<u8>) {
        buffer.clear();
        buffer.extend([0x80, (u8::from(self.marker) << 7) | (self.payload_type & 0x7f)]);
        buffer.extend(self.sequence.to_be_bytes());
        buffer.extend(self.timestamp.to_be_bytes());
        buffer.extend(self.ssrc.to_be_bytes());
        buffer.extend(self.payload);
    }
}

/// The numbers of a stream that we send: one source, whatever it is fed with.
///
/// It is fed with frames of our own, which follow one after the other, or with packets of the other
/// leg of a bridge. These keep their order and their gaps, moved to our numbers, so that a receiver
/// sees what was lost and what came late (RFC 3550 §2.3 calls this a mixer's new source).
#[derive(Debug)]
pub struct Stream {
    ssrc: u32,
    /// The highest number and time sent.
    sequence: u16,
    timestamp: u32,
    /// When that was, in milliseconds of the session.
    sent: u64,
    /// What is added to the numbers of the packets that are passed on.
    passing: Option<Passing>,
}

#[derive(Clone, Copy, Debug)]
struct Passing {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
}

/// Beyond this many packets ahead or behind, a stream counts as another one.
const LEAP: i16 = 500;
/// Beyond this many samples too: an hour.
const FAR: i32 = 3600 * 8000;

impl Stream {
    /// Begins at random numbers (RFC 3550 §5.1).
    #[must_use]
    pub fn new() -> Self {
        let [a, b, c, d, e, f, g, h, i, j] = random::bytes();
        Self {
            ssrc: u32::from_be_bytes([a, b, c, d]),
            timestamp: u32::from_be_bytes([e, f, g, h]),
            sequence: u16::from_be_bytes([i, j]),
            sent: 0,
            passing: None,
        }
    }

    /// The numbers of the next packet of our own at `now`, milliseconds of the session, which carries
    /// `samples`. After a gap the time goes on by as much, and the marker is set (RFC 3551 §4.1).
    pub fn own(&mut self, now: u64, samples: u32) -> (u16, u32, bool) {
        let gap = self.passing.take().is_some() || now.saturating_sub(self.sent) > 200;
        let ahead = if gap { self.elapsed(now).max(samples) } else { samples };
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(ahead);
        self.sent = now;
        (self.sequence, self.timestamp, gap)
    }

    /// The numbers of a packet of the other leg, passed on at `now`. `None` for a packet that is older
    /// than what was sent before the passing began.
    pub fn pass(&mut self, now: u64, packet: &Packet<'_>) -> (u16, u32, bool) {
        let kept = self.passing.filter(|base| {
            let sequence = packet.sequence.wrapping_add(base.sequence).wrapping_sub(self.sequence) as i16;
            let timestamp = packet.timestamp.wrapping_add(base.timestamp).wrapping_sub(self.timestamp) as i32;
            base.ssrc == packet.ssrc && sequence.abs() < LEAP && timestamp.abs() < FAR
        });
        let base = kept.unwrap_or_else(|| Passing {
            ssrc: packet.ssrc,
            sequence: self.sequence.wrapping_add(1).wrapping_sub(packet.sequence),
            timestamp: self.timestamp.wrapping_add(self.elapsed(now).max(160)).wrapping_sub(packet.timestamp),
        });
        self.passing = Some(base);
        let sequence = packet.sequence.wrapping_add(base.sequence);
        let timestamp = packet.timestamp.wrapping_add(base.timestamp);
        if sequence.wrapping_sub(self.sequence) as i16 > 0 {
            self.sequence = sequence;
            self.sent = now;
        }
        if timestamp.wrapping_sub(self.timestamp) as i32 > 0 {
            self.timestamp = timestamp;
        }
        (sequence, timestamp, packet.marker || kept.is_none())
    }

    /// A packet of the other leg is left out: the numbers close up, so that it is no loss.
    pub fn leave_out(&mut self) {
        if let Some(base) = &mut self.passing {
            base.sequence = base.sequence.wrapping_sub(1);
        }
    }

    /// The name of the stream.
    #[must_use]
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Samples since the last packet.
    fn elapsed(&self, now: u64) -> u32 {
        u32::try_from(now.saturating_sub(self.sent).saturating_mul(8)).unwrap_or(u32::MAX).min(FAR.unsigned_abs())
    }
}

impl Default for Stream {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(sequence: u16, timestamp: u32) -> Packet<'static> {
        Packet { payload_type: 0, marker: false, sequence, timestamp, ssrc: 7, payload: b"x" }
    }

    #[test]
    fn extension_csrc_and_padding_are_taken_off() {
        let mut datagram = vec![0x80 | 0x20 | 0x10 | 1, 0x80 | 101, 0, 9, 0, 0, 0, 8, 0, 0, 0, 7];
        datagram.extend([1, 1, 1, 1]); // one CSRC
        datagram.extend([0, 0, 0, 1, 2, 2, 2, 2]); // an extension of one word
        datagram.extend([b'h', b'i', 0, 2]); // two bytes of padding
        let read = Packet::parse(&datagram).unwrap();
        assert_eq!((read.payload_type, read.marker, read.sequence, read.timestamp), (101, true, 9, 8));
        assert_eq!(read.payload, b"hi");
    }

    #[test]
    fn rtcp_and_other_versions_are_not_rtp() {
        let mut datagram = [0u8; 20];
        datagram[0] = 0x80;
        datagram[1] = 200;
        assert!(Packet::parse(&datagram).is_none());
        datagram[..2].copy_from_slice(&[0x40, 0]);
        assert!(Packet::parse(&datagram).is_none());
    }

    #[test]
    fn a_passed_stream_keeps_its_gaps_and_its_order() {
        let mut stream = Stream::new();
        let (first, time, marker) = stream.own(0, 160);
        assert!(!marker);
        let (a, t, marker) = stream.pass(20, &packet(65_534, 1000));
        assert_eq!((a, t, marker), (first.wrapping_add(1), time.wrapping_add(160), true));
        // Two are lost, one comes late.
        assert_eq!(stream.pass(80, &packet(1, 1480)).0, a.wrapping_add(3));
        assert_eq!(stream.pass(80, &packet(0, 1320)).0, a.wrapping_add(2));
        // Our own go on after the highest.
        let (own, _, marker) = stream.own(100, 160);
        assert_eq!((own, marker), (a.wrapping_add(4), true));
    }

    #[test]
    fn another_source_is_joined_without_a_leap() {
        let mut stream = Stream::new();
        let (a, t, _) = stream.pass(0, &packet(10, 10));
        let other = Packet { ssrc: 8, ..packet(40_000, 4_000_000_000) };
        assert_eq!(stream.pass(20, &other), (a.wrapping_add(1), t.wrapping_add(160), true));
    }

    proptest! {
        #[test]
        fn no_datagram_makes_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..80), version in any::<bool>()) {
            if version && let Some(first) = bytes.first_mut() { *first = 0x80 | (*first & 0x3f); }
            if let Some(read) = Packet::parse(&bytes) {
                prop_assert!(read.payload.len() + HEAD <= bytes.len());
            }
        }

        #[test]
        fn what_is_written_is_read(payload_type in 0..64u8, marker: bool, sequence: u16, timestamp: u32, ssrc: u32,
                                   payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            let packet = Packet { payload_type, marker, sequence, timestamp, ssrc, payload: &payload };
            let mut buffer = Vec::new();
            packet.write(&mut buffer);
            prop_assert_eq!(Packet::parse(&buffer), Some(packet));
        }

        #[test]
        fn our_own_numbers_go_up_by_one_whatever_was_passed(passed in proptest::collection::vec((any::<u16>(), any::<u32>(), any::<u32>()), 0..20)) {
            let mut stream = Stream::new();
            let mut now = 0;
            for (sequence, timestamp, ssrc) in passed {
                now += 20;
                stream.pass(now, &Packet { ssrc, ..packet(sequence, timestamp) });
            }
            let (first, early, _) = stream.own(now + 20, 160);
            let (second, late, _) = stream.own(now + 40, 160);
            prop_assert_eq!(second, first.wrapping_add(1));
            prop_assert_eq!(late, early.wrapping_add(160));
        }
    }
}
