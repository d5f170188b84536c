//! Sound from Twilio's media streams (`<Connect><Stream>`, `<Start><Stream>`): messages in JSON, mu-law in
//! base64. Pure: frames of a WebSocket go in, samples come out. Whoever opens the WebSocket has to check
//! Twilio's signature first; nothing in the messages proves where they come from.
//!
//! A voice is personal, so that no error repeats anything, and keys that come along are not kept.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign_sip::g711::Law;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::form::CallSid;

/// Longest message in bytes. Twilio's have 20 ms of sound in some 400; a second would have 11 KiB.
pub const MAX_MESSAGE: usize = 16 * 1024;
/// Samples a second.
const RATE: usize = 8000;
/// Most messages for each second that is to be collected: twice as many as Twilio sends, so that empty
/// ones cannot go on for ever.
const MESSAGES_A_SECOND: usize = 100;
/// Longest that is collected, in seconds: what the voice engine looks at.
pub const MAX_SECONDS: u8 = 60;

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
    /// More messages than so much sound has.
    #[error("the media stream has too many messages")]
    TooMany,
}

/// What to do after a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Read on.
    More,
    /// All that is wanted is there.
    Full,
    /// The stream has ended.
    Ended,
}

/// Collects what one caller says, up to a length.
pub struct Collector {
    call: CallSid,
    most: usize,
    messages: usize,
    stream: Option<String>,
    chunk: u64,
    over: bool,
    samples: Zeroizing<Vec<i16>>,
}

/// What somebody sounds like belongs into no log.
impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "Collector({} samples)", self.samples.len()) }
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
    Stop {
        #[serde(rename = "streamSid")]
        stream: String,
    },
    /// Marks, keys, and what Twilio may add.
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

impl Collector {
    /// For a call, and at most so many seconds of it; no more than [`MAX_SECONDS`].
    pub fn new(call: CallSid, seconds: u8) -> Self {
        let seconds = usize::from(seconds.clamp(1, MAX_SECONDS));
        let samples = Zeroizing::new(Vec::with_capacity(seconds * RATE));
        Self { call, most: seconds * RATE, messages: seconds * MESSAGES_A_SECOND, stream: None, chunk: 0, over: false, samples }
    }

    /// Takes the text of one frame.
    ///
    /// # Errors
    /// [`StreamError`]: what was collected before is still there, and nothing more comes.
    pub fn take(&mut self, text: &str) -> Result<Next, StreamError> {
        let next = self.read(text);
        self.over |= !matches!(next, Ok(Next::More));
        next
    }

    /// What was said, 16 bits linear at 8000 Hz.
    pub fn samples(&self) -> &[i16] { &self.samples }

    fn read(&mut self, text: &str) -> Result<Next, StreamError> {
        if self.over {
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
        Ok(Next::More)
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
        let room = self.most - self.samples.len();
        self.samples.extend(bytes.iter().take(room).map(|byte| Law::Mu.decode(*byte)));
        Ok(if self.samples.len() < self.most { Next::More } else { Next::Full })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SID: &str = "CA0123456789abcdef0123456789abcdef";

    fn collector(seconds: u8) -> Collector { Collector::new(CallSid::parse(SID).unwrap(), seconds) }

    fn start(call: &str, encoding: &str, rate: u32) -> String {
        format!(
            r#"{{"event":"start","sequenceNumber":"1","start":{{"accountSid":"AC1","streamSid":"MZ1","callSid":"{call}","tracks":["inbound"],"mediaFormat":{{"encoding":"{encoding}","sampleRate":{rate},"channels":1}},"customParameters":{{}}}},"streamSid":"MZ1"}}"#
        )
    }

    fn media(stream: &str, track: &str, chunk: u64, bytes: &[u8]) -> String {
        format!(r#"{{"event":"media","sequenceNumber":"2","media":{{"track":"{track}","chunk":"{chunk}","timestamp":"5","payload":"{}"}},"streamSid":"{stream}"}}"#, STANDARD.encode(bytes))
    }

    fn started(seconds: u8) -> Collector {
        let mut collector = collector(seconds);
        assert_eq!(collector.take(r#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#), Ok(Next::More));
        assert_eq!(collector.take(&start(SID, "audio/x-mulaw", 8000)), Ok(Next::More));
        collector
    }

    #[test]
    fn sound_is_collected_until_there_is_enough() {
        let mut collector = started(1);
        assert_eq!(collector.take(&media("MZ1", "inbound", 1, &[0xff, 0x80, 0x00])), Ok(Next::More));
        assert_eq!(collector.samples(), [0, 32124, -32124]);
        assert_eq!(collector.take(&media("MZ1", "outbound", 1, &[0; 160])), Ok(Next::More));
        assert_eq!(collector.take(r#"{"event":"dtmf","streamSid":"MZ1","dtmf":{"track":"inbound_track","digit":"4"}}"#), Ok(Next::More));
        for chunk in 2..=7 {
            assert_eq!(collector.take(&media("MZ1", "inbound", chunk, &[0xff; 1200])), Ok(Next::More));
        }
        assert_eq!(collector.take(&media("MZ1", "inbound", 8, &[0xff; 1200])), Ok(Next::Full));
        assert_eq!(collector.samples().len(), 8000);
        assert_eq!(collector.take(&media("MZ1", "inbound", 9, &[0; 160])), Err(StreamError::Order), "over is over");
        assert_eq!(format!("{collector:?}"), "Collector(8000 samples)");
    }

    #[test]
    fn what_is_not_this_stream_is_refused() {
        for (text, why) in [
            (start("CA99999999999999999999999999999999", "audio/x-mulaw", 8000), StreamError::Other),
            (start(SID, "audio/l16", 8000), StreamError::Format),
            (start(SID, "audio/x-mulaw", 16_000), StreamError::Format),
            (media("MZ1", "inbound", 1, &[0]), StreamError::Order),
            (r#"{"event":"stop","streamSid":"MZ1"}"#.into(), StreamError::Order),
            ("{".into(), StreamError::Malformed),
            (r#"{"event":"media"}"#.into(), StreamError::Malformed),
            (format!("\"{}\"", "x".repeat(MAX_MESSAGE)), StreamError::TooLarge),
        ] {
            assert_eq!(collector(1).take(&text), Err(why), "{text:.80}");
        }
        for (text, why) in [
            (start(SID, "audio/x-mulaw", 8000), StreamError::Order),
            (media("MZ2", "inbound", 1, &[0]), StreamError::Other),
            (r#"{"event":"stop","streamSid":"MZ2"}"#.into(), StreamError::Other),
            (media("MZ1", "inbound", 1, &[0]).replace("\"AA==\"", "\"!!\""), StreamError::Malformed),
            (media("MZ1", "inbound", 1, &[0]).replace("\"1\"", "\"-1\""), StreamError::Malformed),
        ] {
            assert_eq!(started(1).take(&text), Err(why), "{text}");
        }
        // The same chunk twice, or an earlier one.
        for chunk in [3, 2] {
            let mut collector = started(1);
            collector.take(&media("MZ1", "inbound", 3, &[0])).unwrap();
            assert_eq!(collector.take(&media("MZ1", "inbound", chunk, &[0])), Err(StreamError::Order));
        }
    }

    #[test]
    fn messages_without_sound_do_not_go_on_for_ever() {
        let mut collector = started(1);
        let last = (0..200).map(|n| collector.take(&media("MZ1", "outbound", n, &[0]))).find(Result::is_err);
        assert_eq!(last, Some(Err(StreamError::TooMany)));
        let mut ended = started(1);
        assert_eq!(ended.take(r#"{"event":"stop","streamSid":"MZ1","stop":{"callSid":"x"}}"#), Ok(Next::Ended));
        assert!(ended.take(&media("MZ1", "inbound", 1, &[0])).is_err());
    }

    /// Pieces of real messages, and anything: seeded, so that it is the same every time.
    #[test]
    fn no_messages_break_it() {
        let pieces = [
            start(SID, "audio/x-mulaw", 8000), media("MZ1", "inbound", 1, &[7; 160]), media("MZ1", "inbound", 18_446_744_073_709_551_615, &[7; 9]),
            r#"{"event":"connected"}"#.into(), r#"{"event":"stop","streamSid":"MZ1"}"#.into(), r#"{"event":"mark"}"#.into(), "[[[[[[[[".repeat(200), "{\"event\":{\"a\":".repeat(100), "\u{0}\u{202e}".into(),
        ];
        let mut state = 7u64;
        let mut next = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        for _ in 0..3000 {
            let mut collector = if next(2) == 0 { started(1) } else { collector(1) };
            for _ in 0..next(8) {
                let mut text = pieces[next(pieces.len())].clone().into_bytes();
                for _ in 0..next(4) {
                    let (at, byte) = (next(text.len()), next(128) as u8);
                    text[at] = byte;
                }
                text.truncate(if next(5) == 0 { next(text.len()) } else { text.len() });
                let _ = collector.take(&String::from_utf8_lossy(&text));
            }
            assert!(collector.samples().len() <= 8000);
        }
    }
}
