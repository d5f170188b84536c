//! What a caller says, put together from packets: bounded in time and in memory, whatever comes.

use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::g711::Law;
use crate::rtp::Packet;

/// Samples in a millisecond.
const PER_MILLISECOND: usize = 8;
/// A packet with this mean level or more is somebody speaking: 36 decibels below full scale.
const LOUD: u64 = 500;
/// So many milliseconds of speech are an answer, …
const ANSWER: u64 = 400;
/// … and so many without any are its end.
const PAUSE: u64 = 1200;

/// An answer that is being listened to, wherever its sound comes from. Times are milliseconds of any clock
/// that only goes forward. Wiped when it is dropped.
pub struct Capture {
    began: u64,
    longest: u64,
    /// Whose stream it is, and at which time of it the answer begins.
    first: Option<(u32, u32)>,
    samples: Zeroizing<Vec<i16>>,
    law: Option<Law>,
    most: usize,
    /// Milliseconds of speech, and when it was last heard.
    spoken: u64,
    last: u64,
}

impl fmt::Debug for Capture {
    /// What somebody sounds like belongs into no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Capture({} samples)", self.samples.len())
    }
}

impl Capture {
    /// Listens from now on, for so long at most; no longer than half a minute.
    #[must_use]
    pub fn new(now: u64, longest: Duration) -> Self {
        let longest = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX).min(super::LONGEST_ANSWER);
        let most = usize::try_from(longest).unwrap_or(0) * PER_MILLISECOND;
        Self { began: now, longest, first: None, samples: Zeroizing::new(Vec::with_capacity(most)), law: None, most, spoken: 0, last: now }
    }

    /// One packet of sound. What is lost on the way stays silence; what is of another stream, or from
    /// before the answer, is left out.
    pub fn hear(&mut self, now: u64, packet: &Packet<'_>, law: Law) {
        let (ssrc, first) = *self.first.get_or_insert((packet.ssrc, packet.timestamp));
        let at = packet.timestamp.wrapping_sub(first) as i32;
        let Some(at) = usize::try_from(at).ok().filter(|at| packet.ssrc == ssrc && *at < self.most) else { return };
        let end = (at + packet.payload.len()).min(self.most);
        if self.samples.len() < end {
            self.samples.resize(end, 0);
        }
        self.law = Some(law);
        let mut level = 0;
        for (to, byte) in self.samples.iter_mut().take(end).skip(at).zip(packet.payload) {
            *to = law.decode(*byte);
            level += u64::from(to.unsigned_abs());
        }
        let length = packet.payload.len().max(1) as u64;
        if level / length >= LOUD {
            self.spoken += length / PER_MILLISECOND as u64;
            self.last = now;
        }
    }

    /// Whether the answer is over: its time is, or somebody spoke and is silent again.
    #[must_use]
    pub fn is_over(&self, now: u64) -> bool {
        now.saturating_sub(self.began) >= self.longest || (self.spoken >= ANSWER && now.saturating_sub(self.last) >= PAUSE)
    }

    /// In which law the last of it came. `None`: nothing came.
    #[must_use]
    pub fn law(&self) -> Option<Law> {
        self.law
    }

    /// What was said: 16 bits linear, 8,000 samples a second. Perhaps nothing.
    #[must_use]
    pub fn into_samples(self) -> Zeroizing<Vec<i16>> {
        self.samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPEECH: [u8; 160] = [0x02; 160];

    fn packet(timestamp: u32, payload: &[u8]) -> Packet<'_> {
        Packet { payload_type: 0, marker: false, sequence: 0, timestamp, ssrc: 7, payload }
    }

    #[test]
    fn what_is_lost_is_silence_and_what_is_late_finds_its_place() {
        let mut capture = Capture::new(0, Duration::from_secs(2));
        for timestamp in [u32::MAX - 79, 80, 560, 400] {
            capture.hear(0, &packet(timestamp, &SPEECH), Law::Mu);
        }
        let samples = capture.into_samples();
        let loud: Vec<bool> = samples.chunks(160).map(|chunk| chunk.iter().all(|s| s.unsigned_abs() > 1000)).collect();
        assert_eq!(loud, [true, true, false, true, true]);
    }

    #[test]
    fn another_stream_and_what_came_before_are_left_out() {
        let mut capture = Capture::new(0, Duration::from_secs(2));
        capture.hear(0, &packet(1000, &[0xff; 160]), Law::Mu);
        capture.hear(0, &Packet { ssrc: 8, ..packet(1160, &SPEECH) }, Law::Mu);
        capture.hear(0, &packet(840, &SPEECH), Law::Mu);
        assert!(capture.into_samples().iter().all(|s| *s == 0));
    }

    #[test]
    fn an_answer_ends_with_a_pause_and_silence_with_the_time() {
        let mut capture = Capture::new(0, Duration::from_secs(8));
        for step in 0..50u32 {
            capture.hear(u64::from(step) * 20, &packet(step * 160, &SPEECH), Law::Mu);
            assert!(!capture.is_over(u64::from(step) * 20));
        }
        assert!(!capture.is_over(2000) && capture.is_over(2300));
        let silent = Capture::new(0, Duration::from_secs(8));
        assert!(!silent.is_over(7999) && silent.is_over(8000));
    }

    proptest! {
        /// Half an hour of sound, or whatever else: never more than was asked for.
        #[test]
        fn it_is_bounded_whatever_comes(packets in proptest::collection::vec((any::<u32>(), any::<u32>(), 0usize..1400), 1..60), seconds in 0u64..100_000) {
            let mut capture = Capture::new(0, Duration::from_secs(seconds));
            let most = capture.most;
            prop_assert!(most <= 30 * 8000);
            for (now, (timestamp, ssrc, length)) in packets.into_iter().enumerate() {
                capture.hear(now as u64, &Packet { ssrc: ssrc % 2, ..packet(timestamp, &[0x02; 1400][..length]) }, Law::A);
            }
            let samples = capture.into_samples();
            prop_assert!(samples.len() <= most && samples.capacity() <= most.max(1));
        }
    }
}
