//! Twilio's end of a media stream: a WebSocket to a server on loopback, with the messages that Twilio sends.

use std::net::SocketAddr;

use axum::Router;
use base64::{Engine, engine::general_purpose::STANDARD};
use countersign_server::telephony::twilio::signature::sign;
use countersign_sip::g711::Law;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Duration, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use super::House;

/// The key of RFC 6455 §1.3, and what is answered to it.
const KEY: (&str, &str) = ("dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// Nothing here takes so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A stream that is open.
pub struct Stream {
    socket: WebSocketStream<TcpStream>,
    name: String,
    chunk: u64,
}

/// The address of a stream as Twilio signs it.
pub fn url(house: &House, path: &str) -> String { format!("{}{path}", house.url.replace("https://", "wss://")) }

/// A server on loopback, for as long as the test goes on.
pub async fn serve(router: &Router) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = router.clone().into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    address
}

impl Stream {
    /// Opens it as Twilio does. An error is the status of the answer.
    pub async fn open(at: SocketAddr, house: &House, path: &str) -> Result<Self, u16> {
        let signature = sign(&house.token.into(), &url(house, path), &[]);
        Self::open_with(at, path, &[("X-Twilio-Signature", signature.as_str()), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", KEY.0), ("Upgrade", "websocket"), ("Connection", "Upgrade")]).await
    }

    /// The same with these headers.
    pub async fn open_with(at: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Result<Self, u16> {
        let mut socket = TcpStream::connect(at).await.unwrap();
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        socket.write_all(format!("GET {path} HTTP/1.1\r\nHost: calls.example.com\r\n{headers}\r\n").as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, socket.read_u8()).await.unwrap().unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        if status != 101 {
            return Err(status);
        }
        assert!(head.contains(KEY.1), "{head}");
        Ok(Self { socket: WebSocketStream::from_raw_socket(socket, Role::Client, None).await, name: format!("MZ{}", "1".repeat(32)), chunk: 0 })
    }

    pub async fn sends(&mut self, message: &Value) { self.raw(Message::text(message.to_string())).await; }

    /// Whether it could be sent: who was told enough closes.
    pub async fn raw(&mut self, message: Message) -> bool { timeout(PATIENCE, self.socket.send(message)).await.unwrap().is_ok() }

    /// Says which call it is.
    pub async fn begins(&mut self, call_sid: &str) {
        self.sends(&json!({ "event": "connected", "protocol": "Call", "version": "1.0.0" })).await;
        self.sends(&json!({
            "event": "start", "sequenceNumber": "1", "streamSid": self.name,
            "start": {
                "accountSid": format!("AC{}", "0".repeat(32)), "streamSid": self.name, "callSid": call_sid, "tracks": ["inbound"], "customParameters": {},
                "mediaFormat": { "encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1 },
            },
        })).await;
    }

    /// The tone is played, and that it was is told.
    pub async fn hears_the_tone(&mut self) {
        let media = self.reads().await.expect("a tone");
        let sound = STANDARD.decode(media["media"]["payload"].as_str().unwrap()).unwrap();
        assert_eq!((media["event"].as_str(), media["streamSid"].as_str(), sound.len()), (Some("media"), Some(self.name.as_str()), 2_400));
        assert!(sound.iter().any(|byte| Law::Mu.decode(*byte).unsigned_abs() > 1_000), "a tone that can be heard");
        let mark = self.reads().await.expect("a mark");
        assert_eq!(mark["event"].as_str(), Some("mark"));
        self.sends(&json!({ "event": "mark", "sequenceNumber": "4", "streamSid": self.name, "mark": mark["mark"] })).await;
    }

    /// Sound of the caller, in pieces of 20 ms. What comes too late for the other side is lost.
    pub async fn sound(&mut self, samples: &[i16]) {
        for frame in samples.chunks(160) {
            let bytes: Vec<u8> = frame.iter().map(|sample| Law::Mu.encode(*sample)).collect();
            if !self.frame(&bytes).await {
                return;
            }
        }
    }

    /// One message of sound.
    pub async fn frame(&mut self, bytes: &[u8]) -> bool {
        self.chunk += 1;
        let media = json!({
            "event": "media", "sequenceNumber": (self.chunk + 4).to_string(), "streamSid": self.name,
            "media": { "track": "inbound", "chunk": self.chunk.to_string(), "timestamp": ((self.chunk - 1) * 20).to_string(), "payload": STANDARD.encode(bytes) },
        });
        self.raw(Message::text(media.to_string())).await
    }

    pub async fn key(&mut self, key: char) {
        self.sends(&json!({ "event": "dtmf", "streamSid": self.name, "sequenceNumber": "5", "dtmf": { "track": "inbound_track", "digit": key.to_string() } })).await;
    }

    /// Twilio ends it: the caller hung up, or was moved.
    pub async fn stops(&mut self, call_sid: &str) {
        self.sends(&json!({ "event": "stop", "sequenceNumber": "9", "streamSid": self.name, "stop": { "accountSid": "AC", "callSid": call_sid } })).await;
    }

    /// What is sent to us. `None`: it is closed.
    pub async fn reads(&mut self) -> Option<Value> {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("neither said anything nor closed") {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(text.as_str()).unwrap()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Waits until it is closed. Nothing more is said before that.
    pub async fn is_closed(&mut self) { assert_eq!(self.reads().await, None); }
}
