//! HTTP/1.1 as cheap as it gets: the generator shares the cores with what it measures.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Largest answer that is read: a long queue page is below a megabyte.
const MAX_ANSWER: usize = 8 << 20;

/// What came back. Borrowed from the connection's buffer until the next request.
pub struct Answer<'a> {
    pub status: u16,
    head: &'a str,
    pub body: &'a str,
}

impl<'a> Answer<'a> {
    pub fn header(&self, name: &str) -> Option<&'a str> { header(self.head, name) }
    pub fn ok(&self) -> bool { (200..300).contains(&self.status) }
}

/// One connection that is kept open, and opened again when the other side closes it.
pub struct Client {
    to: SocketAddr,
    stream: Option<TcpStream>,
    out: Vec<u8>,
    buffer: Vec<u8>,
}

impl Client {
    pub fn new(to: SocketAddr) -> Self { Self { to, stream: None, out: Vec::new(), buffer: Vec::new() } }

    /// Connects before there is anything to ask, so that a request does not wait for it.
    pub async fn open(&mut self) -> io::Result<()> {
        let stream = TcpStream::connect(self.to).await?;
        stream.set_nodelay(true)?;
        self.stream = Some(stream);
        Ok(())
    }

    pub async fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> io::Result<Answer<'_>> { self.send("GET", path, headers, None).await }

    pub async fn form(&mut self, path: &str, headers: &[(&str, &str)], body: &str) -> io::Result<Answer<'_>> {
        self.send("POST", path, headers, Some(("application/x-www-form-urlencoded", body))).await
    }

    pub async fn json(&mut self, path: &str, headers: &[(&str, &str)], body: &str) -> io::Result<Answer<'_>> {
        self.send("POST", path, headers, Some(("application/json", body))).await
    }

    async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<(&str, &str)>) -> io::Result<Answer<'_>> {
        self.out.clear();
        let text = &mut self.out;
        for part in [method, " ", path, " HTTP/1.1\r\nhost: localhost\r\n"] {
            text.extend_from_slice(part.as_bytes());
        }
        for (name, value) in headers {
            for part in [name, ": ", value, "\r\n"] {
                text.extend_from_slice(part.as_bytes());
            }
        }
        if let Some((kind, body)) = body {
            text.extend_from_slice(format!("content-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes());
        } else {
            text.extend_from_slice(b"\r\n");
        }
        if self.stream.is_none() {
            self.open().await?;
        }
        let mut stream = self.stream.take().ok_or(io::ErrorKind::NotConnected)?;
        stream.write_all(&self.out).await?;
        let (head, length) = read(&mut stream, &mut self.buffer).await?;
        let all = std::str::from_utf8(self.buffer.get(..head + length).unwrap_or_default()).map_err(io::Error::other)?;
        let (head, body) = all.split_at(head);
        let status = head.get(9..12).and_then(|s| s.parse().ok()).ok_or_else(|| io::Error::other("no status line"))?;
        if !header(head, "connection").is_some_and(|v| v.eq_ignore_ascii_case("close")) {
            self.stream = Some(stream);
        }
        Ok(Answer { status, head, body })
    }
}

/// Reads one message: the length of its head with the empty line, and of its body.
pub async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<(usize, usize)> {
    buffer.clear();
    let mut known: Option<(usize, usize)> = None;
    loop {
        if known.is_none() {
            known = head_end(buffer).map(|end| {
                let head = std::str::from_utf8(buffer.get(..end).unwrap_or_default()).unwrap_or_default();
                (end, header(head, "content-length").and_then(|n| n.parse().ok()).unwrap_or(0))
            });
        }
        if let Some((head, length)) = known {
            if head + length > MAX_ANSWER {
                return Err(io::Error::other("an answer of more than 8 MiB"));
            }
            if buffer.len() >= head + length {
                return Ok((head, length));
            }
            buffer.reserve(head + length - buffer.len());
        } else {
            buffer.reserve(4096);
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn head_end(buffer: &[u8]) -> Option<usize> { buffer.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4) }

/// A header of a head, by name in any case.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n").filter_map(|line| line.split_once(':')).find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim())
}
