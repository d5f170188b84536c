//! The event socket's messages: headers as lines, an empty line, and a body as long as `Content-Length`
//! says. Pure: bytes go in, messages come out. What is longer than it may be, or contradicts itself, is
//! an error, after which nothing of the connection is believed.

use percent_encoding::percent_decode_str;

/// The longest block of headers: the data of a channel are some twenty thousand characters.
pub const LONGEST_HEAD: usize = 128 * 1024;
/// The longest body.
pub const LONGEST_BODY: usize = 256 * 1024;
/// The most headers.
pub const MOST_HEADERS: usize = 2_000;

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EslError {
    /// Too long.
    #[error("a message is longer than one may be")]
    Long,
    /// A line that is no header.
    #[error("a line is no header")]
    Line,
    /// A length that is none, or two of them.
    #[error("a length is none")]
    Length,
    /// Not UTF-8.
    #[error("a header is not UTF-8")]
    Text,
}

/// Headers, in their order. Values are as they came: of events they are percent-encoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads lines of headers, to their end.
    ///
    /// # Errors
    /// A line that is none, or too many of them.
    pub fn parse(head: &[u8]) -> Result<Self, EslError> {
        let text = std::str::from_utf8(head).map_err(|_| EslError::Text)?;
        let mut out = Vec::new();
        for line in text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or(EslError::Line)?;
            if name.is_empty() || out.len() >= MOST_HEADERS {
                return Err(EslError::Line);
            }
            out.push((name.to_owned(), value.strip_prefix(' ').unwrap_or(value).to_owned()));
        }
        Ok(Self(out))
    }

    /// The one header of this name, as it came. Two are none: nobody chooses which of them counts.
    pub fn raw(&self, name: &str) -> Option<&str> {
        let mut found = self.0.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let (first, second) = (found.next(), found.next());
        first.filter(|_| second.is_none()).map(|(_, value)| value.as_str())
    }

    /// The same, decoded.
    pub fn get(&self, name: &str) -> Option<String> { percent_decode_str(self.raw(name)?).decode_utf8().ok().map(|text| text.into_owned()) }

    /// How long the body is. None: there is none.
    fn length(&self) -> Result<usize, EslError> {
        let mut found = self.0.iter().filter(|(known, _)| known.eq_ignore_ascii_case("Content-Length"));
        let Some((_, text)) = found.next() else { return Ok(0) };
        if found.next().is_some() || text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(EslError::Length);
        }
        text.parse().map_err(|_| EslError::Length)
    }
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its headers.
    pub head: Fields,
    /// Its body.
    pub body: Vec<u8>,
}

impl Message {
    /// What it is.
    pub fn kind(&self) -> &str { self.head.raw("Content-Type").unwrap_or_default() }

    /// The event in it, with its own body.
    ///
    /// # Errors
    /// See [`EslError`].
    pub fn event(&self) -> Result<(Fields, Vec<u8>), EslError> {
        let (head, rest) = split(&self.body, 0).unwrap_or((&self.body, &[]));
        let fields = Fields::parse(head)?;
        let length = fields.length()?;
        // It lies within what was read: a longer one is a lie.
        Ok((fields, rest.get(..length).ok_or(EslError::Length)?.to_vec()))
    }
}

/// Takes bytes, and gives messages.
#[derive(Default)]
pub struct Parser {
    buffer: Vec<u8>,
    /// So many bytes were looked at, and hold no end of headers: none is looked at again with every piece.
    looked: usize,
    /// Headers whose body is awaited, and how long that is.
    head: Option<(Fields, usize)>,
}

impl Parser {
    /// More bytes.
    pub fn feed(&mut self, bytes: &[u8]) { self.buffer.extend_from_slice(bytes); }

    /// The next message, if it is whole.
    ///
    /// # Errors
    /// See [`EslError`].
    pub fn message(&mut self) -> Result<Option<Message>, EslError> {
        if self.head.is_none() {
            // Empty lines between messages say nothing.
            let blank = self.buffer.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
            self.buffer.drain(..blank);
            self.looked = self.looked.saturating_sub(blank);
            // The end may have begun before.
            let Some((head, rest)) = split(&self.buffer, self.looked.saturating_sub(3)) else {
                self.looked = self.buffer.len();
                return if self.buffer.len() > LONGEST_HEAD { Err(EslError::Long) } else { Ok(None) };
            };
            if head.len() > LONGEST_HEAD {
                return Err(EslError::Long);
            }
            let fields = Fields::parse(head)?;
            let length = fields.length()?;
            if length > LONGEST_BODY {
                return Err(EslError::Long);
            }
            let used = self.buffer.len() - rest.len();
            self.head = Some((fields, length));
            self.buffer.drain(..used);
            self.looked = 0;
        }
        match self.head.take_if(|(_, length)| self.buffer.len() >= *length) {
            Some((head, length)) => Ok(Some(Message { head, body: self.buffer.drain(..length).collect() })),
            None => Ok(None),
        }
    }
}

/// Before and after the first empty line that begins at this place or later.
fn split(bytes: &[u8], from: usize) -> Option<(&[u8], &[u8])> {
    let tail = bytes.get(from..)?;
    let at = tail.windows(2).position(|pair| pair == b"\n\n").map(|at| at + from);
    let with_returns = tail.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + from);
    match (at, with_returns) {
        (Some(at), other) if other.is_none_or(|other| at < other) => Some((bytes.get(..at)?, bytes.get(at + 2..)?)),
        (_, Some(at)) => Some((bytes.get(..at)?, bytes.get(at + 4..)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(bytes: &[u8]) -> Result<Vec<Message>, EslError> {
        let mut parser = Parser::default();
        parser.feed(bytes);
        let mut out = Vec::new();
        while let Some(message) = parser.message()? {
            out.push(message);
        }
        Ok(out)
    }

    const EVENT: &[u8] = b"Content-Length: 63\nContent-Type: text/event-plain\n\nEvent-Name: DTMF\nUnique-ID: 1-2\nDTMF-Digit: %23\nDTMF-Duration:\n";

    #[test]
    fn messages_as_they_come() {
        let mut bytes = b"Content-Type: command/reply\nReply-Text: +OK\n\n".to_vec();
        bytes.extend(EVENT);
        bytes.extend(b"\n\nContent-Type: text/disconnect-notice\nContent-Length: 3\n\nbye");
        let found = all(&bytes).unwrap();
        assert_eq!(found.iter().map(Message::kind).collect::<Vec<_>>(), ["command/reply", "text/event-plain", "text/disconnect-notice"]);
        let (event, body) = found[1].event().unwrap();
        assert_eq!((event.get("dtmf-digit").as_deref(), event.raw("DTMF-Digit"), body.len()), (Some("#"), Some("%23"), 0));
        assert_eq!(found[2].body, b"bye");
    }

    #[test]
    fn lengths_that_lie_end_the_connection() {
        for bad in ["Content-Length: -1\n\n", "Content-Length: 1e3\n\n", "Content-Length: 99999999999999999999\n\n", "Content-Length:\n\n", "Content-Length: 3\nContent-Length: 4\n\nabcd", "Content-Length: +3\n\nabc"] {
            assert_eq!(all(bad.as_bytes()), Err(EslError::Length), "{bad}");
        }
        assert_eq!(all(format!("Content-Length: {}\n\n", LONGEST_BODY + 1).as_bytes()), Err(EslError::Long));
        // A body that never comes is waited for, and no longer than the connection lives.
        assert_eq!(all(b"Content-Length: 10\n\nabc"), Ok(vec![]));
        // An event that says that it is longer than what it came in.
        let nested = Message { head: Fields::default(), body: b"Event-Name: X\nContent-Length: 900\n\nshort".to_vec() };
        assert_eq!(nested.event(), Err(EslError::Length));
    }

    /// A header that comes byte by byte is looked at once, not once for each byte.
    #[test]
    fn a_long_head_in_small_pieces_takes_no_longer_than_in_one() {
        let text = format!("X: {}\r\n\r\nContent-Type: a\n\n", "x".repeat(100_000));
        let mut parser = Parser::default();
        let mut found = Vec::new();
        for byte in text.bytes() {
            parser.feed(&[byte]);
            found.extend(parser.message().unwrap());
        }
        assert_eq!((Ok(found.clone()), found.len()), (all(text.as_bytes()), 2));
    }

    #[test]
    fn floods_are_cut() {
        assert_eq!(all(&vec![b'a'; LONGEST_HEAD + 1]), Err(EslError::Long));
        assert_eq!(all(format!("{}\n", "a: b\n".repeat(MOST_HEADERS + 1)).as_bytes()), Err(EslError::Line));
        assert_eq!(all(b"no header at all\n\n"), Err(EslError::Line));
        assert_eq!(all(b": nameless\n\n"), Err(EslError::Line));
        assert_eq!(all(b"a: \xff\n\n"), Err(EslError::Text));
    }

    #[test]
    fn a_header_that_comes_twice_is_none() {
        let fields = Fields::parse(b"Unique-ID: one\nunique-id: two\nOther: 1").unwrap();
        assert_eq!((fields.get("Unique-ID"), fields.raw("other")), (None, Some("1")));
    }

    #[test]
    fn what_a_caller_wrote_into_a_variable_stays_its_value() {
        let fields = Fields::parse(b"variable_sip_h_X-Note: x%0ACaller-Caller-ID-Number: %2B12025550142\nCaller-Caller-ID-Number: 1").unwrap();
        assert_eq!(fields.get("Caller-Caller-ID-Number").as_deref(), Some("1"));
        assert!(fields.get("variable_sip_h_X-Note").unwrap().contains('\n'));
    }

    proptest! {
        #[test]
        fn no_bytes_bring_it_down(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = all(&bytes).map(|found| found.iter().for_each(|message| drop(message.event())));
        }

        /// However it is cut into pieces on its way, the same messages come of it.
        #[test]
        fn pieces_change_nothing(bodies in prop::collection::vec("[a-zäöü\n:]{0,40}", 1..6), cuts in prop::collection::vec(1usize..30, 1..60)) {
            let bytes: Vec<u8> = bodies.iter().flat_map(|body| format!("Content-Type: x\nContent-Length: {}\n\n{body}", body.len()).into_bytes()).collect();
            let whole = all(&bytes).unwrap();
            prop_assert_eq!(whole.len(), bodies.len());
            let (mut parser, mut found, mut rest) = (Parser::default(), Vec::new(), bytes.as_slice());
            for cut in cuts.iter().cycle() {
                let (piece, more) = rest.split_at((*cut).min(rest.len()));
                parser.feed(piece);
                while let Some(message) = parser.message().unwrap() {
                    found.push(message);
                }
                rest = more;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(found, whole);
        }
    }
}
