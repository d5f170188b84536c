//! Keys: as events in RTP (RFC 4733) and as INFO (`application/dtmf-relay`, `application/dtmf`).

/// The keys by their event codes (RFC 4733 §3.2, table 7).
const KEYS: &str = "0123456789*#ABCD";

/// After this many milliseconds without a packet an event is over, and one like it is new. The last
/// packet of an event is sent three times, 20 to 50 ms apart, so that repeats stay below it.
const QUIET: u64 = 100;

/// The key of an event code. `None` for a hook flash and whatever else is no key.
#[must_use]
pub fn key(code: u8) -> Option<char> {
    KEYS.chars().nth(usize::from(code))
}

/// The event code of a key.
#[must_use]
pub fn code(key: char) -> Option<u8> {
    KEYS.find(key.to_ascii_uppercase()).and_then(|at| u8::try_from(at).ok())
}

/// The payload of one packet (RFC 4733 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which event.
    pub code: u8,
    /// It is over.
    pub end: bool,
    /// Power, in dBm0 below zero.
    pub volume: u8,
    /// How long it has lasted, in samples.
    pub duration: u16,
}

impl Event {
    /// Reads a payload. What follows the first four bytes is left alone: redundant events of others.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let [code, flags, high, low] = *payload.first_chunk()?;
        Some(Self {
            code,
            end: flags & 0x80 != 0,
            volume: flags & 0x3f,
            duration: u16::from_be_bytes([high, low]),
        })
    }

    /// The payload.
    #[must_use]
    pub fn bytes(self) -> [u8; 4] {
        let [high, low] = self.duration.to_be_bytes();
        [self.code, (u8::from(self.end) << 7) | (self.volume & 0x3f), high, low]
    }
}

/// Makes key presses of packets: one each, with the first packet that arrives of it.
///
/// By the standard all packets of an event carry one RTP timestamp and another event has another. Some
/// senders use the same timestamp for the next press too, some let it run on within a press. So:
///
/// - another key is another press, unless it is a straggler of the press before;
/// - the same key after 100 ms is another press when an end was seen or the timestamp is another;
///   without either it is the same press, some of whose packets were lost;
/// - the same key sooner is another press only if an end was seen, the timestamp is another, and this
///   packet is no end: an end that comes again with a timestamp that ran on is no press.
///
/// A press so long that it is cut into segments (RFC 4733 §2.5.1.3) is one press by this.
#[derive(Clone, Debug, Default)]
pub struct Detector {
    current: Option<Heard>,
    before: Option<Heard>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    code: u8,
    timestamp: u32,
    ended: bool,
    at: u64,
}

impl Detector {
    /// Takes a packet with this RTP timestamp that came at `now`, in milliseconds of any clock that
    /// only goes forward. Returns the key if this is a new press.
    pub fn hear(&mut self, now: u64, timestamp: u32, event: Event) -> Option<char> {
        let key = key(event.code)?;
        let heard = Heard { code: event.code, timestamp, ended: event.end, at: now };
        if let Some(last) = &mut self.current {
            let same_time = last.timestamp == timestamp;
            if last.code == event.code {
                let another = if now.saturating_sub(last.at) >= QUIET {
                    last.ended || !same_time
                } else {
                    last.ended && !same_time && !event.end
                };
                if !another {
                    *last = Heard { ended: last.ended || event.end, ..heard };
                    return None;
                }
            } else if let Some(straggler) = self.before
                && straggler.code == event.code
                && straggler.timestamp == timestamp
                && now.saturating_sub(straggler.at) < QUIET
            {
                return None;
            }
        }
        self.before = self.current.replace(heard);
        Some(key)
    }

    /// Whether a press goes on at `now`, or has only just ended: what the caller's telephone sends of
    /// it as sound is still under way.
    #[must_use]
    pub fn sounding(&self, now: u64) -> bool {
        self.current.is_some_and(|last| now.saturating_sub(last.at) < QUIET)
    }
}

/// The payloads of one press of `length` milliseconds in packets of 20 ms: those of the press, then the
/// end three times (RFC 4733 §2.5.1.4).
#[must_use]
pub fn press(code: u8, length: u16) -> Vec<Event> {
    let steps = (length / 20).clamp(1, 400);
    let event = |step: u16, end| Event { code, end, volume: 10, duration: step * 160 };
    let going = (1..steps).map(|step| event(step, false));
    going.chain([event(steps, true); 3]).collect()
}

/// Why an INFO brought no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InfoError {
    /// Another kind of body: 415 (RFC 3261 §21.4.13).
    #[error("an INFO with a body that is no key")]
    Kind,
    /// The body names no key: 400.
    #[error("an INFO whose body names no key")]
    Malformed,
}

/// The key in the body of an INFO.
///
/// # Errors
/// The body is of another kind, or names no key.
pub fn info(content_type: &str, body: &[u8]) -> Result<char, InfoError> {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    let text = std::str::from_utf8(body).map_err(|_| InfoError::Malformed)?;
    let signal = if kind.eq_ignore_ascii_case("application/dtmf-relay") {
        let line = text.lines().find_map(|line| {
            let (name, value) = line.split_once(['=', ':'])?;
            name.trim().eq_ignore_ascii_case("signal").then(|| value.trim())
        });
        line.ok_or(InfoError::Malformed)?
    } else if kind.eq_ignore_ascii_case("application/dtmf") {
        text.trim()
    } else {
        return Err(InfoError::Kind);
    };
    let mut chars = signal.chars();
    match (signal, chars.next(), chars.next()) {
        // Some send the event code.
        ("10", ..) => Ok('*'),
        ("11", ..) => Ok('#'),
        (_, Some(one), None) => code(one).and_then(key).ok_or(InfoError::Malformed),
        _ => Err(InfoError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// How a telephone numbers its events.
    #[derive(Clone, Copy, Debug)]
    enum Sender {
        ByTheStandard,
        /// The same timestamp for every press.
        Frozen,
        /// Another timestamp for every packet.
        Running,
    }

    /// All packets of these keys, with the time each is sent.
    fn sent(keys: &[u8], sender: Sender, length: u16, gap: u64) -> Vec<(usize, u64, u32, Event)> {
        let (mut now, mut out) = (1000u64, Vec::new());
        for (at, code) in keys.iter().enumerate() {
            let began = now as u32 * 8;
            for event in press(*code, length) {
                let timestamp = match sender {
                    Sender::ByTheStandard => began,
                    Sender::Frozen => 77,
                    Sender::Running => now as u32 * 8,
                };
                out.push((at, now, timestamp, event));
                now += 20;
            }
            now += gap;
        }
        out
    }

    fn heard(packets: &[(usize, u64, u32, Event)]) -> String {
        let mut detector = Detector::default();
        packets.iter().filter_map(|(_, now, timestamp, event)| detector.hear(*now, *timestamp, *event)).collect()
    }

    fn keys(codes: &[u8]) -> String {
        codes.iter().filter_map(|code| key(*code)).collect()
    }

    #[test]
    fn a_long_press_in_segments_is_one() {
        let mut detector = Detector::default();
        let held = |duration, end| Event { code: 5, end, volume: 10, duration };
        assert_eq!(detector.hear(0, 1000, held(160, false)), Some('5'));
        assert_eq!(detector.hear(50, 1000, held(0xffff, false)), None);
        assert_eq!(detector.hear(100, 1000 + 0xffff, held(400, false)), None);
        assert_eq!(detector.hear(150, 1000 + 0xffff, held(800, true)), None);
    }

    #[test]
    fn quick_double_presses_by_the_standard_are_two() {
        let mut detector = Detector::default();
        let event = |end| Event { code: 1, end, volume: 10, duration: 160 };
        assert_eq!(detector.hear(0, 0, event(false)), Some('1'));
        assert_eq!(detector.hear(20, 0, event(true)), None);
        assert_eq!(detector.hear(60, 480, event(false)), Some('1'));
    }

    #[test]
    fn a_straggler_of_the_key_before_is_no_press() {
        let mut detector = Detector::default();
        let event = |code, end| Event { code, end, volume: 10, duration: 160 };
        assert_eq!(detector.hear(0, 0, event(1, false)), Some('1'));
        assert_eq!(detector.hear(40, 320, event(2, false)), Some('2'));
        assert_eq!(detector.hear(45, 0, event(1, true)), None);
        assert_eq!(detector.hear(60, 320, event(2, true)), None);
    }

    #[test]
    fn a_hook_flash_is_no_key() {
        assert_eq!(Detector::default().hear(0, 0, Event { code: 16, end: false, volume: 0, duration: 0 }), None);
    }

    #[test]
    fn info_names_a_key_in_two_ways() {
        assert_eq!(info("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n"), Ok('5'));
        assert_eq!(info("Application/DTMF-Relay; charset=utf-8", b"duration=1\nsignal : #"), Ok('#'));
        assert_eq!(info("application/dtmf", b"*\r\n"), Ok('*'));
        assert_eq!(info("application/dtmf", b"11"), Ok('#'));
        assert_eq!(info("text/plain", b"5"), Err(InfoError::Kind));
        assert_eq!(info("application/dtmf-relay", b"5"), Err(InfoError::Malformed));
        assert_eq!(info("application/dtmf", b""), Err(InfoError::Malformed));
    }

    proptest! {
        #[test]
        fn every_press_is_heard_once_whatever_is_lost(
            codes in proptest::collection::vec(0..16u8, 1..8),
            length in 40..300u16, gap in 100..400u64, lost in any::<u64>(), running: bool,
        ) {
            let sender = if running { Sender::Running } else { Sender::ByTheStandard };
            let all = sent(&codes, sender, length, gap);
            // Some are lost at random, but neighbours stay within a quiet time, and some of every press arrive.
            let some: Vec<_> = all.iter().enumerate().filter(|(n, _)| n % 2 == 0 || lost >> (n % 64) & 1 == 0).map(|(_, p)| *p).collect();
            prop_assert_eq!(heard(&some), keys(&codes));
        }

        #[test]
        fn the_same_timestamp_for_all_presses_loses_none(
            codes in proptest::collection::vec(0..16u8, 1..8), length in 40..300u16, gap in 100..400u64,
        ) {
            prop_assert_eq!(heard(&sent(&codes, Sender::Frozen, length, gap)), keys(&codes));
        }

        #[test]
        fn packets_that_come_twice_change_nothing(
            codes in proptest::collection::vec(0..16u8, 1..8), length in 40..300u16, gap in 40..400u64, frozen: bool,
        ) {
            let sender = if frozen { Sender::Frozen } else { Sender::ByTheStandard };
            let once = sent(&codes, sender, length, gap);
            let twice: Vec<_> = once.iter().flat_map(|p| [*p, *p]).collect();
            prop_assert_eq!(heard(&twice), heard(&once));
        }

        #[test]
        fn the_first_packet_is_enough(code in 0..16u8, end: bool, now: u64, timestamp: u32) {
            let event = Event { code, end, volume: 0, duration: 0 };
            prop_assert_eq!(Detector::default().hear(now, timestamp, event), key(code));
        }

        #[test]
        fn no_bytes_make_it_panic(payload in proptest::collection::vec(any::<u8>(), 0..8), kind in "application/dtmf(-relay)?",
                                  body in proptest::collection::vec(any::<u8>(), 0..40), now: u64, timestamp: u32) {
            if let Some(event) = Event::parse(&payload) {
                prop_assert_eq!(&event.bytes()[..1], &payload[..1]);
                Detector::default().hear(now, timestamp, event);
            }
            let _ = info(&kind, &body);
        }
    }
}
