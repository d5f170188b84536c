//! What a caller says, from Twilio's media streams (`<Connect><Stream>`): messages in JSON, mu-law in
//! base64. Pure: the texts of a WebSocket go in, samples and keys come out. Whoever opens the WebSocket has
//! to check Twilio's signature first ([`super::listen`]); nothing in the messages proves where they come from.
//!
//! A voice is personal, so that no error repeats anything. When an answer is over is decided as for
//! telephones that call us by SIP ([`Capture`]); the clock is the sound itself.

use std::{fmt, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign_sip::{Capture, g711::Law, rtp::Packet};
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::form::CallSid;

/// Longest message in bytes. Twilio's have 20 ms of sound in some 400; a second would have 11 KiB.
pub const MAX_MESSAGE: usize = 16 * 1024;
/// Longest that a stream may last, whatever goes on in it: an answer of eight seconds, and keys that are
/// none which begin it anew.
pub const LIFE: Duration = Duration::from_secs(40);
/// Most messages of a stream: twice as many as Twilio sends in that time, so that empty ones cannot go on
/// for ever.
const MESSAGES: usize = 4_000;
/// Samples in a millisecond.
const PER_MILLISECOND: u64 = 8;
/// The mark behind the tone.
const TONE: &str = "tone";
/// So many milliseconds after the tone was sent it has been heard, whether or not Twilio says so.
const TONE_LIFE: u64 = 2_000;

/// Why a stream is not listened to any more. Close it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// More than [`MAX_MESSAGE`] bytes.
    #[error("a message of the media stream is larger than 16 KiB")]
    TooLarge,
    /// Not JSON of Twilio's form.
    #[error("a message of the media stream is not of Twilio's form")]
    Malformed,
    /// Sound of another kind than is asked for.
    #[error("the media stream has another format than mu-law at 8000 Hz with one channel")]
    Format,
    /// In another order than Twilio sends.
    #[error("the messages of the media stream are out of order")]
    Order,
    /// Of another stream or call.
    #[error("a message belongs to another media stream")]
    Other,
    /// More messages than a stream has.
    #[error("the media stream has too many messages")]
    TooMany,
}

/// What to do after a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Read on.
    More,
    /// The stream is there: send the tone.
    Begun,
    /// The caller pressed a key instead of speaking.
    Key(char),
    /// The answer is over.
    Heard,
    /// The stream has ended before the answer was over: there is none.
    Ended,
}

/// Listens to what one caller says.
pub struct Listener {
    call: CallSid,
    longest: Duration,
    messages: usize,
    stream: Option<String>,
    chunk: u64,
    /// Milliseconds of sound that have come.
    now: u64,
    phase: Phase,
}

enum Phase {
    /// The stream is not there yet.
    Waiting,
    /// The tone is on its way, since so many milliseconds.
    Tone(u64),
    Listening(Capture),
    Over,
}

/// What somebody sounds like belongs into no log.
impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "Listener({} ms)", self.now) }
}

#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Message {
    Connected,
    Start {
        start: Start,
    },
    Media {
        #[serde(rename = "streamSid")]
        stream: String,
        media: Media,
    },
    Dtmf {
        #[serde(rename = "streamSid")]
        stream: String,
        dtmf: Dtmf,
    },
    Mark {
        #[serde(rename = "streamSid")]
        stream: String,
        mark: Mark,
    },
    Stop {
        #[serde(rename = "streamSid")]
        stream: String,
    },
    /// What Twilio may add.
    #[serde(other)]
    Else,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Start {
    stream_sid: String,
    call_sid: String,
    media_format: Format,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Format {
    encoding: String,
    sample_rate: u32,
    channels: u8,
}

#[derive(Deserialize)]
struct Media {
    track: String,
    chunk: String,
    payload: Zeroizing<String>,
}

#[derive(Deserialize)]
struct Dtmf {
    digit: Zeroizing<String>,
}

#[derive(Deserialize)]
struct Mark {
    name: String,
}

impl Listener {
    /// To the caller of this call, for so long at most once the tone was heard.
    pub fn new(call: CallSid, longest: Duration) -> Self {
        Self { call, longest, messages: MESSAGES, stream: None, chunk: 0, now: 0, phase: Phase::Waiting }
    }

    /// Takes the text of one frame.
    ///
    /// # Errors
    /// [`StreamError`]: nothing that comes now is listened to.
    pub fn take(&mut self, text: &str) -> Result<Next, StreamError> {
        let next = self.read(text);
        if matches!(next, Err(_) | Ok(Next::Ended)) {
            self.phase = Phase::Over;
        }
        next
    }

    /// What is sent when the stream is there: a tone, and a mark that comes back once it was played. What the
    /// caller says from then on is their answer; what they said before is forgotten.
    pub fn tone(&mut self, sound: &[u8]) -> [String; 2] {
        let stream = self.stream.as_deref().unwrap_or_default();
        let messages = [
            json!({ "event": "media", "streamSid": stream, "media": { "payload": STANDARD.encode(sound) } }).to_string(),
            json!({ "event": "mark", "streamSid": stream, "mark": { "name": TONE } }).to_string(),
        ];
        self.phase = Phase::Tone(self.now);
        messages
    }

    /// What was said, 16 bits linear at 8000 Hz, once it is over. Nothing after that.
    pub fn into_samples(self) -> Zeroizing<Vec<i16>> {
        match self.phase {
            Phase::Listening(capture) => capture.into_samples(),
            Phase::Waiting | Phase::Tone(_) | Phase::Over => Zeroizing::default(),
        }
    }

    fn read(&mut self, text: &str) -> Result<Next, StreamError> {
        if matches!(self.phase, Phase::Over) {
            return Err(StreamError::Order);
        }
        if text.len() > MAX_MESSAGE {
            return Err(StreamError::TooLarge);
        }
        self.messages = self.messages.checked_sub(1).ok_or(StreamError::TooMany)?;
        match serde_json::from_str(text).map_err(|_| StreamError::Malformed)? {
            Message::Connected if self.stream.is_none() => Ok(Next::More),
            Message::Start { start } if self.stream.is_none() => self.start(start),
            Message::Media { stream, media } => {
                self.ours(&stream)?;
                self.media(&media)
            }
            Message::Dtmf { stream, dtmf } => {
                self.ours(&stream)?;
                let mut keys = dtmf.digit.chars().filter(|key| key.is_ascii_digit() || "*#".contains(*key));
                Ok(keys.next().map_or(Next::More, Next::Key))
            }
            Message::Mark { stream, mark } => {
                self.ours(&stream)?;
                if mark.name == TONE && matches!(self.phase, Phase::Tone(_)) {
                    self.phase = Phase::Listening(Capture::new(self.now, self.longest));
                }
                Ok(Next::More)
            }
            Message::Stop { stream } => {
                self.ours(&stream)?;
                Ok(Next::Ended)
            }
            Message::Else => Ok(Next::More),
            Message::Connected | Message::Start { .. } => Err(StreamError::Order),
        }
    }

    fn start(&mut self, start: Start) -> Result<Next, StreamError> {
        if start.call_sid != self.call.as_str() {
            return Err(StreamError::Other);
        }
        let Format { encoding, sample_rate, channels } = start.media_format;
        if (encoding.as_str(), sample_rate, channels) != ("audio/x-mulaw", 8000, 1) {
            return Err(StreamError::Format);
        }
        self.stream = Some(start.stream_sid);
        Ok(Next::Begun)
    }

    fn ours(&self, stream: &str) -> Result<(), StreamError> {
        match &self.stream {
            None => Err(StreamError::Order),
            Some(ours) if ours == stream => Ok(()),
            Some(_) => Err(StreamError::Other),
        }
    }

    fn media(&mut self, media: &Media) -> Result<Next, StreamError> {
        // What the caller hears is not what they say.
        if media.track != "inbound" {
            return Ok(Next::More);
        }
        let chunk = media.chunk.parse::<u64>().map_err(|_| StreamError::Malformed)?;
        // Twilio sends in order over one connection; twice or back is somebody else.
        if chunk <= self.chunk {
            return Err(StreamError::Order);
        }
        self.chunk = chunk;
        let bytes = Zeroizing::new(STANDARD.decode(media.payload.as_bytes()).map_err(|_| StreamError::Malformed)?);
        let before = self.now;
        self.now += bytes.len() as u64 / PER_MILLISECOND;
        match &mut self.phase {
            Phase::Tone(since) if before.saturating_sub(*since) >= TONE_LIFE => self.phase = Phase::Listening(Capture::new(before, self.longest)),
            Phase::Waiting | Phase::Tone(_) | Phase::Over | Phase::Listening(_) => {}
        }
        let Phase::Listening(capture) = &mut self.phase else { return Ok(Next::More) };
        // Once more around after 49 days; a stream lasts less than a minute.
        let timestamp = u32::try_from(before * PER_MILLISECOND).unwrap_or(u32::MAX);
        capture.hear(self.now, &Packet { payload_type: Law::Mu.payload_type(), marker: false, sequence: 0, timestamp, ssrc: 0, payload: &bytes }, Law::Mu);
        Ok(if capture.is_over(self.now) { Next::Heard } else { Next::More })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SID: &str = "CA0123456789abcdef0123456789abcdef";
    const SILENCE: [u8; 160] = [0xff; 160];
    const SPEECH: [u8; 160] = [0x02; 160];

    fn listener() -> Listener { Listener::new(CallSid::parse(SID).unwrap(), Duration::from_secs(8)) }

    fn start(call: &str, encoding: &str, rate: u32) -> String {
        format!(
            r#"{{"event":"start","sequenceNumber":"1","start":{{"accountSid":"AC1","streamSid":"MZ1","callSid":"{call}","tracks":["inbound"],"mediaFormat":{{"encoding":"{encoding}","sampleRate":{rate},"channels":1}},"customParameters":{{}}}},"streamSid":"MZ1"}}"#
        )
    }

    fn media(stream: &str, track: &str, chunk: u64, bytes: &[u8]) -> String {
        format!(r#"{{"event":"media","sequenceNumber":"2","media":{{"track":"{track}","chunk":"{chunk}","timestamp":"5","payload":"{}"}},"streamSid":"{stream}"}}"#, STANDARD.encode(bytes))
    }

    fn key(key: &str) -> String { format!(r#"{{"event":"dtmf","streamSid":"MZ1","sequenceNumber":"5","dtmf":{{"track":"inbound_track","digit":"{key}"}}}}"#) }
    fn mark(name: &str) -> String { format!(r#"{{"event":"mark","sequenceNumber":"4","streamSid":"MZ1","mark":{{"name":"{name}"}}}}"#) }

    fn begun() -> Listener {
        let mut listener = listener();
        assert_eq!(listener.take(r#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#), Ok(Next::More));
        assert_eq!(listener.take(&start(SID, "audio/x-mulaw", 8000)), Ok(Next::Begun));
        listener
    }

    /// Frames of 20 ms, until something else is to be done.
    fn frames(listener: &mut Listener, chunk: &mut u64, count: usize, bytes: &[u8]) -> Next {
        for _ in 0..count {
            *chunk += 1;
            match listener.take(&media("MZ1", "inbound", *chunk, bytes)).unwrap() {
                Next::More => {}
                other => return other,
            }
        }
        Next::More
    }

    #[test]
    fn what_is_said_after_the_tone_is_the_answer_and_a_pause_ends_it() {
        let (mut listener, mut chunk) = (begun(), 0);
        assert_eq!(frames(&mut listener, &mut chunk, 5, &SPEECH), Next::More, "before the tone");
        let [tone, behind] = listener.tone(&[0x7f; 320]);
        assert!(tone.contains(r#""streamSid":"MZ1""#) && tone.contains(&STANDARD.encode([0x7f; 320])) && behind.contains(r#""name":"tone""#), "{tone} {behind}");
        assert_eq!(frames(&mut listener, &mut chunk, 5, &SPEECH), Next::More, "while it is played");
        assert_eq!(listener.take(&mark("other")), Ok(Next::More));
        assert_eq!(listener.take(&mark("tone")), Ok(Next::More));
        assert_eq!(frames(&mut listener, &mut chunk, 10, &SILENCE), Next::More);
        assert_eq!(frames(&mut listener, &mut chunk, 25, &SPEECH), Next::More);
        assert_eq!(listener.take(&media("MZ1", "outbound", 1, &[0; 160])), Ok(Next::More), "what the caller hears is not what they say");
        assert_eq!(frames(&mut listener, &mut chunk, 59, &SILENCE), Next::More);
        assert_eq!(frames(&mut listener, &mut chunk, 1, &SILENCE), Next::Heard, "1.2 s of silence");
        assert_eq!(format!("{listener:?}"), "Listener(2100 ms)");
        let samples = listener.into_samples();
        assert_eq!(samples.len(), (10 + 25 + 60) * 160);
        let loud = |part: &[i16]| part.iter().all(|s| s.unsigned_abs() > 1000);
        assert!(samples[..1600].iter().all(|s| *s == 0) && loud(&samples[1600..5600]) && !loud(&samples[5600..]));
    }

    #[test]
    fn silence_ends_with_its_time_and_a_tone_that_nobody_confirms_too() {
        let (mut listener, mut chunk) = (begun(), 0);
        listener.tone(&[0; 160]);
        assert_eq!(frames(&mut listener, &mut chunk, 100 + 399, &SILENCE), Next::More, "two seconds for the tone, and eight");
        assert_eq!(frames(&mut listener, &mut chunk, 1, &SILENCE), Next::Heard);
        assert_eq!(listener.into_samples().len(), 64_000);
    }

    #[test]
    fn a_key_is_told_and_what_was_said_before_it_is_forgotten() {
        let (mut listener, mut chunk) = (begun(), 0);
        listener.tone(&[0; 160]);
        listener.take(&mark("tone")).unwrap();
        frames(&mut listener, &mut chunk, 10, &SPEECH);
        assert_eq!(listener.take(&key("5")), Ok(Next::Key('5')));
        assert_eq!(listener.take(&key("A")), Ok(Next::More), "no telephone that people have");
        assert_eq!(listener.take(&key("")), Ok(Next::More));
        listener.tone(&[0; 160]);
        listener.take(&mark("tone")).unwrap();
        assert_eq!(frames(&mut listener, &mut chunk, 400, &SILENCE), Next::Heard);
        assert!(listener.into_samples().iter().all(|s| *s == 0));
    }

    #[test]
    fn what_is_not_this_stream_is_refused() {
        for (text, why) in [
            (start("CA99999999999999999999999999999999", "audio/x-mulaw", 8000), StreamError::Other),
            (start(SID, "audio/l16", 8000), StreamError::Format),
            (start(SID, "audio/x-mulaw", 16_000), StreamError::Format),
            (media("MZ1", "inbound", 1, &[0]), StreamError::Order),
            (key("1"), StreamError::Order),
            (mark("tone"), StreamError::Order),
            (r#"{"event":"stop","streamSid":"MZ1"}"#.into(), StreamError::Order),
            ("{".into(), StreamError::Malformed),
            (r#"{"event":"media"}"#.into(), StreamError::Malformed),
            (format!("\"{}\"", "x".repeat(MAX_MESSAGE)), StreamError::TooLarge),
        ] {
            let mut listener = listener();
            assert_eq!(listener.take(&text), Err(why), "{text:.80}");
            assert_eq!(listener.take(&start(SID, "audio/x-mulaw", 8000)), Err(StreamError::Order), "over is over");
        }
        for (text, why) in [
            (start(SID, "audio/x-mulaw", 8000), StreamError::Order),
            (media("MZ2", "inbound", 1, &[0]), StreamError::Other),
            (key("1").replace("MZ1", "MZ2"), StreamError::Other),
            (mark("tone").replace("MZ1", "MZ2"), StreamError::Other),
            (r#"{"event":"stop","streamSid":"MZ2"}"#.into(), StreamError::Other),
            (media("MZ1", "inbound", 1, &[0]).replace("\"AA==\"", "\"!!\""), StreamError::Malformed),
            (media("MZ1", "inbound", 1, &[0]).replace("\"1\"", "\"-1\""), StreamError::Malformed),
        ] {
            assert_eq!(begun().take(&text), Err(why), "{text}");
        }
        // The same chunk twice, or an earlier one.
        for chunk in [3, 2] {
            let mut listener = begun();
            listener.take(&media("MZ1", "inbound", 3, &[0])).unwrap();
            assert_eq!(listener.take(&media("MZ1", "inbound", chunk, &[0])), Err(StreamError::Order));
        }
    }

    #[test]
    fn messages_without_sound_do_not_go_on_for_ever() {
        let mut listener = begun();
        let last = (0..MESSAGES as u64).map(|n| listener.take(&media("MZ1", "outbound", n, &[0]))).find(Result::is_err);
        assert_eq!(last, Some(Err(StreamError::TooMany)));
        assert!(listener.into_samples().is_empty());
        let mut ended = begun();
        assert_eq!(ended.take(r#"{"event":"stop","streamSid":"MZ1","stop":{"callSid":"x"}}"#), Ok(Next::Ended));
        assert!(ended.take(&media("MZ1", "inbound", 1, &[0])).is_err());
        assert!(ended.into_samples().is_empty(), "what was cut short is no answer");
    }

    /// Pieces of real messages, and anything: seeded, so that it is the same every time.
    #[test]
    fn no_messages_break_it() {
        let pieces = [
            start(SID, "audio/x-mulaw", 8000), media("MZ1", "inbound", 1, &[7; 160]), media("MZ1", "inbound", u64::MAX, &[7; 9]), media("MZ1", "inbound", 7, &[2; 8000]), key("*"), mark("tone"),
            r#"{"event":"connected"}"#.into(), r#"{"event":"stop","streamSid":"MZ1"}"#.into(), "[[[[[[[[".repeat(200), "{\"event\":{\"a\":".repeat(100), "\u{0}\u{202e}".into(),
        ];
        let mut state = 7u64;
        let mut next = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        for _ in 0..3000 {
            let mut listener = if next(2) == 0 { begun() } else { listener() };
            for _ in 0..next(8) {
                if next(4) == 0 {
                    listener.tone(&[0; 160]);
                }
                let mut text = pieces[next(pieces.len())].clone().into_bytes();
                for _ in 0..next(4) {
                    let (at, byte) = (next(text.len()), next(128) as u8);
                    text[at] = byte;
                }
                text.truncate(if next(5) == 0 { next(text.len()) } else { text.len() });
                let _ = listener.take(&String::from_utf8_lossy(&text));
            }
            assert!(listener.into_samples().len() <= 64_000);
        }
    }
}
