//! Twilio, as far as a server can tell: signed webhooks, and a REST API that answers at once.

use std::{cell::{Cell, RefCell}, collections::HashMap, net::{Ipv4Addr, SocketAddr}, rc::Rc};

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::{io::AsyncWriteExt, net::{TcpListener, TcpStream}, sync::mpsc};

use crate::{Fail, http, otp, site::{ACCOUNT_SID, PUBLIC_URL}};

/// The form of a webhook and its signature: base64(HMAC-SHA1(token, URL, then every parameter's
/// name and value, sorted)).
pub fn webhook(token: &str, path: &str, sid: &str, from: &str, status: &str, digits: Option<&str>) -> (String, String) {
    // What Twilio sends with every call, in the order in which it is signed.
    let fields: [(&str, Option<&str>); 23] = [
        ("AccountSid", Some(ACCOUNT_SID)), ("ApiVersion", Some("2010-04-01")), ("CallSid", Some(sid)), ("CallStatus", Some(status)),
        ("Called", Some("+12025550100")), ("CalledCity", Some("WASHINGTON")), ("CalledCountry", Some("US")), ("CalledState", Some("DC")),
        ("Caller", Some(from)), ("CallerCity", Some("WASHINGTON")), ("CallerCountry", Some("US")), ("CallerState", Some("DC")),
        ("Digits", digits), ("Direction", Some("inbound")), ("From", Some(from)), ("FromCity", Some("WASHINGTON")),
        ("FromCountry", Some("US")), ("FromState", Some("DC")), ("StirVerstat", Some("TN-Validation-Passed-A")), ("To", Some("+12025550100")),
        ("ToCity", Some("WASHINGTON")), ("ToCountry", Some("US")), ("ToState", Some("DC")),
    ];
    let mut body = String::with_capacity(640);
    let mut signed: Vec<&[u8]> = vec![PUBLIC_URL.as_bytes(), path.as_bytes()];
    for (name, value) in fields.iter().filter_map(|(name, value)| Some((*name, (*value)?))) {
        signed.extend([name.as_bytes(), value.as_bytes()]);
        if !body.is_empty() {
            body.push('&');
        }
        body.push_str(name);
        body.push('=');
        // Nothing else here needs an escape.
        value.chars().for_each(|c| if c == '+' { body.push_str("%2B") } else { body.push(c) });
    }
    let signature = STANDARD.encode(otp::hmac_sha1(token.as_bytes(), &signed));
    (body, signature)
}

/// The REST API. Whoever waits for a call to be moved gets the path that Twilio would ask.
pub struct Rest {
    pub address: SocketAddr,
    calls: RefCell<HashMap<String, mpsc::UnboundedSender<String>>>,
    /// Messages taken.
    pub texts: Cell<u64>,
}

impl Rest {
    /// Listens, on this thread.
    pub async fn serve() -> Result<Rc<Self>, Fail> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let rest = Rc::new(Self { address: listener.local_addr()?, calls: RefCell::default(), texts: Cell::default() });
        let this = rest.clone();
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let this = this.clone();
                tokio::task::spawn_local(async move {
                    // The server closed the connection: as good an end as any.
                    let _ = this.connection(stream).await;
                });
            }
        });
        Ok(rest)
    }

    /// Where a call is sent to, whenever it is moved.
    pub fn moves(&self, sid: &str) -> mpsc::UnboundedReceiver<String> {
        let (tell, told) = mpsc::unbounded_channel();
        self.calls.borrow_mut().insert(sid.to_owned(), tell);
        told
    }

    pub fn over(&self, sid: &str) { self.calls.borrow_mut().remove(sid); }

    async fn connection(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut buffer = Vec::new();
        stream.set_nodelay(true)?;
        loop {
            let (head, length) = http::read(&mut stream, &mut buffer).await?;
            let text = std::str::from_utf8(buffer.get(..head + length).unwrap_or_default()).unwrap_or_default();
            let (head, body) = text.split_at_checked(head).unwrap_or_default();
            let answer = self.answer(head.split(' ').nth(1).unwrap_or_default(), body);
            let answer = format!("HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
            stream.write_all(answer.as_bytes()).await?;
        }
    }

    fn answer(&self, path: &str, body: &str) -> String {
        let moved = path.split_once("/Calls/").and_then(|(_, rest)| rest.strip_suffix(".json"));
        let Some(sid) = moved else {
            self.texts.set(self.texts.get() + 1);
            return format!("{{\"sid\":\"SM{:032x}\",\"status\":\"queued\"}}", self.texts.get());
        };
        let url = body.split('&').find_map(|pair| pair.strip_prefix("Url=")).map(unescape).unwrap_or_default();
        if let (Some(tell), Some(path)) = (self.calls.borrow().get(sid), url.strip_prefix(PUBLIC_URL)) {
            // A caller who gave up listens no more.
            let _ = tell.send(path.to_owned());
        }
        format!("{{\"sid\":\"{sid}\",\"status\":\"in-progress\"}}")
    }
}

/// Percent escapes undone.
pub fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let Some((code, after)) = after.split_at_checked(2) else { break };
        out.extend(u8::from_str_radix(code, 16).ok().map(char::from));
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone() { assert_eq!(unescape("https%3A%2F%2Fa.example%2Fx%3Fn%3D7"), "https://a.example/x?n=7"); }

    #[test]
    fn fields_are_in_the_order_in_which_they_are_signed() {
        let (body, signature) = webhook("12345", "/twilio/voice", "CA1", "+12025550142", "ringing", Some("1"));
        let names: Vec<&str> = body.split('&').filter_map(|p| p.split('=').next()).collect();
        assert!(names.is_sorted() && body.contains("From=%2B12025550142"), "{body}");
        assert_eq!(signature.len(), 28);
    }
}
