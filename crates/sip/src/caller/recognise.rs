//! Knows recordings when it hears them: bit by bit, as they come over a line that loses nothing. So a
//! terminal shows what a telephone says, and a test knows what was said.
//!
//! A switch on the way may decode and encode anew what it plays. That changes no byte but one: mu-law has
//! two of them for zero (ITU-T G.711, table 2a and 2b), and comes back with the positive one.

use std::{collections::HashMap, sync::Arc};

use crate::clip::{Clip, RATE};
use crate::g711::Law;

/// Bytes by which a recording is first suspected.
const HOOK: usize = 64;
/// Where a recording begins in earnest: above this, of 32,767. Silence is no sign of anything.
const LOUD: u16 = 1_000;
/// A recording that no other begins like is known after a quarter of a second.
const SURE: usize = RATE / 4;

/// The byte by which a sample is compared: both zeros are one.
fn as_compared(law: Law, byte: u8) -> u8 { if law.decode(byte) == 0 { law.silence() } else { byte } }

/// Hears.
pub struct Recogniser<T> {
    known: Vec<(T, Arc<Clip>)>,
    /// By their first loud bytes: which, and how far in that is.
    hooks: HashMap<Vec<u8>, Vec<(usize, usize)>>,
    law: Law,
    /// The last bytes, in which a hook may be under way.
    last: Vec<u8>,
    suspects: Vec<Suspect>,
    /// What was recognised, while it goes on: within it, nothing else begins.
    playing: Option<Suspect>,
}

/// A recording that may be heard just now.
#[derive(Clone, Copy)]
struct Suspect {
    which: usize,
    /// How many of its bytes were heard.
    heard: usize,
}

impl<T: Clone> Recogniser<T> {
    /// Knows these, as they sound in this law.
    pub fn new(known: impl IntoIterator<Item = (T, Arc<Clip>)>, law: Law) -> Self {
        let known: Vec<_> = known.into_iter().collect();
        let mut hooks: HashMap<Vec<u8>, Vec<(usize, usize)>> = HashMap::new();
        for (which, (_, clip)) in known.iter().enumerate() {
            let bytes = clip.bytes(law);
            let Some(at) = bytes.iter().position(|byte| law.decode(*byte).unsigned_abs() > LOUD) else { continue };
            if let Some(hook) = bytes.get(at..at + HOOK) {
                hooks.entry(hook.iter().map(|byte| as_compared(law, *byte)).collect()).or_default().push((which, at));
            }
        }
        Self { known, hooks, law, last: Vec::new(), suspects: Vec::new(), playing: None }
    }

    /// What was recognised by the end of these bytes, in order. What is broken off early, or has a gap
    /// in it, is not recognised; of two that sound alike, the first.
    pub fn hear(&mut self, bytes: &[u8]) -> Vec<T> {
        let mut out = Vec::new();
        for byte in bytes {
            self.byte(*byte, &mut out);
        }
        out
    }

    fn byte(&mut self, byte: u8, out: &mut Vec<T>) {
        let byte = as_compared(self.law, byte);
        if self.last.len() == HOOK {
            self.last.remove(0);
        }
        self.last.push(byte);
        let (known, law) = (&self.known, self.law);
        let all = |which: usize| known.get(which).map_or(&[][..], |(_, clip)| clip.bytes(law));
        self.suspects.retain_mut(|suspect| match all(suspect.which).get(suspect.heard) {
            Some(wanted) => {
                suspect.heard += 1;
                as_compared(law, *wanted) == byte
            }
            // Heard to its end: it waits until none that is longer goes on.
            None => true,
        });
        // Over, or broken off: by a key of the caller, say.
        self.playing = self.playing.take().filter(|now| all(now.which).get(now.heard).is_some_and(|wanted| as_compared(law, *wanted) == byte)).map(|now| Suspect { heard: now.heard + 1, ..now });
        let loud = self.last.first().is_some_and(|first| law.decode(*first).unsigned_abs() > LOUD);
        if self.playing.is_none() && loud && let Some(found) = self.hooks.get(&self.last) {
            self.suspects.extend(found.iter().map(|(which, at)| Suspect { which: *which, heard: at + HOOK }));
        }
        // Known as soon as it is the only one left, or when it is over and none that is longer goes on.
        let done = |suspect: &Suspect| suspect.heard >= all(suspect.which).len();
        let alone = matches!(self.suspects.as_slice(), [one] if one.heard >= SURE.min(all(one.which).len()));
        let over = !self.suspects.is_empty() && self.suspects.iter().all(done);
        let longest = self.suspects.iter().rev().max_by_key(|suspect| suspect.heard).copied();
        if (alone || over) && let Some(found) = longest {
            self.playing = (found.heard < all(found.which).len()).then_some(found);
            out.extend(known.get(found.which).map(|(name, _)| name.clone()));
            self.suspects.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn tone(hertz: f64, milliseconds: u64) -> Arc<Clip> {
        Clip::tone(hertz, 0.3, Duration::from_millis(milliseconds), Duration::ZERO)
    }

    /// Two tones in a row: begins as `tone(first, …)` does, without the end of it.
    fn row(first: f64, second: f64) -> Arc<Clip> {
        let bytes: Vec<u8> = tone(first, 600).bytes(Law::Mu).iter().take(4_000).chain(tone(second, 500).bytes(Law::Mu)).copied().collect();
        Clip::from_bytes(Law::Mu, &bytes).unwrap()
    }

    #[test]
    fn recordings_are_told_apart_in_the_order_in_which_they_come() {
        let short = Clip::from_bytes(Law::Mu, &tone(400.0, 600).bytes(Law::Mu)[..3_000]).unwrap();
        let clips = [("one", tone(400.0, 600)), ("two", tone(700.0, 300)), ("like one, then not", row(400.0, 900.0)), ("like one, and shorter", short)];
        for law in Law::ALL {
            let mut line = vec![law.silence(); 777];
            for which in [1, 0, 3, 0, 2, 1] {
                line.extend(clips[which].1.bytes(law));
                line.extend(vec![law.silence(); 333]);
            }
            let mut heard = Recogniser::new(clips.clone(), law);
            let said: Vec<_> = line.chunks(160).flat_map(|packet| heard.hear(packet)).collect();
            assert_eq!(said, ["two", "one", "like one, and shorter", "one", "like one, then not", "two"], "{law:?}");
        }
    }

    #[test]
    fn what_follows_one_that_was_broken_off_is_heard() {
        let clips = [("one", tone(400.0, 900)), ("two", tone(700.0, 300))];
        let line: Vec<u8> = clips[0].1.bytes(Law::Mu).iter().take(3_200).chain(clips[1].1.bytes(Law::Mu)).chain(clips[0].1.bytes(Law::Mu)).copied().collect();
        assert_eq!(Recogniser::new(clips.clone(), Law::Mu).hear(&line), ["one", "two", "one"]);
    }

    #[test]
    fn what_is_not_known_or_is_torn_is_not_recognised() {
        let mut heard = Recogniser::new([("one", tone(400.0, 500))], Law::Mu);
        assert!(heard.hear(tone(410.0, 500).bytes(Law::Mu)).is_empty());
        let clip = tone(400.0, 500);
        let torn: Vec<u8> = clip.bytes(Law::Mu).iter().enumerate().filter(|(n, _)| !(800..953).contains(n)).map(|(_, byte)| *byte).collect();
        assert!(heard.hear(&torn).is_empty());
        assert_eq!(heard.hear(clip.bytes(Law::Mu)), ["one"]);
    }

    #[test]
    fn a_switch_that_encodes_anew_changes_nothing() {
        let bytes: Vec<u8> = tone(400.0, 500).bytes(Law::Mu).iter().map(|byte| if *byte == 0xff { 0x7f } else { *byte }).collect();
        let clip = Clip::from_bytes(Law::Mu, &bytes).unwrap();
        let anew: Vec<u8> = bytes.iter().map(|byte| Law::Mu.encode(Law::Mu.decode(*byte))).collect();
        assert_ne!(anew, bytes, "there are zeros of both kinds");
        assert_eq!(Recogniser::new([("one", clip.clone())], Law::Mu).hear(&anew), ["one"]);
        assert_eq!(Recogniser::new([("one", clip)], Law::Mu).hear(&bytes), ["one"]);
    }
}
