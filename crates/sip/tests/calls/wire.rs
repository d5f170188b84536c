//! A peer that writes its requests by hand, for what a decent telephone does not do.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;

use crate::script::LIMIT;

pub struct Wire {
    socket: UdpSocket,
    to: SocketAddr,
    call_id: String,
}

/// A response as it came.
#[derive(Clone, Debug)]
pub struct Reply(pub String);

impl Reply {
    pub fn code(&self) -> u16 {
        self.0.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.split_once(": ").filter(|(is, _)| is.eq_ignore_ascii_case(name)).map(|(_, value)| value))
    }

    pub fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    fn to(&self) -> &str {
        self.header("To").unwrap()
    }
}

impl Wire {
    pub async fn new(to: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let call_id = format!("wire-{}", socket.local_addr().unwrap().port());
        Self { socket, to, call_id }
    }

    pub fn port(&self) -> u16 {
        self.socket.local_addr().unwrap().port()
    }

    /// A request by this method and number, with these headers and body; `to` as a response had it.
    pub fn request(&self, method: &str, number: u32, to: Option<&Reply>, headers: &str, body: &str) -> String {
        let (port, gateway, call_id) = (self.port(), self.to, &self.call_id);
        let to = to.map_or("<sip:+12025550100@example.com>", |reply| reply.to());
        let branch = format!("z9hG4bK-{call_id}-{method}-{number}");
        format!(
            "{method} sip:+12025550100@{gateway} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch={branch}\r\nMax-Forwards: 70\r\n\
             From: <sip:+12025550177@example.com>;tag=w\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {number} {method}\r\n\
             Contact: <sip:w@127.0.0.1:{port}>\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    pub fn invite(&self, number: u32, headers: &str, body: &str) -> String {
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        self.request("INVITE", number, None, &format!("{headers}{kind}"), body)
    }

    pub async fn send(&self, text: &str) {
        self.send_bytes(text.as_bytes()).await;
    }

    pub async fn send_bytes(&self, bytes: &[u8]) {
        self.socket.send_to(bytes, self.to).await.unwrap();
    }

    /// The next message, whatever it is.
    pub async fn read(&self) -> Option<Reply> {
        self.read_within(LIMIT).await
    }

    pub async fn read_within(&self, limit: Duration) -> Option<Reply> {
        let mut buffer = vec![0; 8192];
        let length = tokio::time::timeout(limit, self.socket.recv(&mut buffer)).await.ok()?.unwrap();
        Some(Reply(String::from_utf8_lossy(&buffer[..length]).into_owned()))
    }

    /// The next final response.
    pub async fn last(&self) -> Reply {
        loop {
            let reply = self.read().await.expect("no answer");
            if reply.code() >= 200 {
                return reply;
            }
        }
    }

    pub async fn ask(&self, text: &str) -> Reply {
        self.send(text).await;
        self.last().await
    }
}

/// A description that the gateway takes.
pub fn sdp(port: u16) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 101\r\n\
         a=rtpmap:101 telephone-event/8000\r\n"
    )
}
