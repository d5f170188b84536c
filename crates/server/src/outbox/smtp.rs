//! Notices by e-mail, over SMTP (RFC 5321).
//!
//! The conversation is led step by step instead of by the library's one-shot transport, because
//! the step decides: until the content goes out nothing was sent and another try is safe; after
//! that only the server's own refusal is. SMTP has no idempotency key: the Message-ID is made from
//! the message's id, so that a person or a mailbox can recognise a duplicate, but servers need not.

use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use countersign_core::{secret::Secret, time::Span};
use lettre::{
    Address, Message,
    message::{Mailbox, header::{ContentType, HeaderName, HeaderValue}},
    transport::smtp::{
        Error,
        authentication::{Credentials, Mechanism},
        client::{AsyncSmtpConnection, TlsParameters},
        commands::{Data, Mail, Rcpt},
        extension::{ClientId, Extension, MailBodyParameter, MailParameter},
        response::Severity,
    },
};
use tokio::time::{Instant, timeout, timeout_at};
use zeroize::Zeroizing;

use super::{
    http::millis,
    provider::{Channel, Clock, Outgoing, Provider, SOON, Sent, SetupError, is_loopback, reason},
};

/// Longest time for one message; a mail server may take its time over the content.
pub const TIMEOUT: Span = Span::seconds(60);

/// Longest time for the goodbye, whose answer changes nothing.
const GOODBYE: Duration = Duration::from_secs(1);

/// How the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// From the first byte (RFC 8314). The best choice where the server has it.
    Implicit,
    /// By STARTTLS, required: without it nothing is sent. Somebody in the middle cannot read the
    /// message, but may slip in answers before the encryption begins (RFC 8314 gives the reasons
    /// against it): prefer `Implicit`.
    StartTls,
    /// Not at all: only to this machine.
    None,
}

impl Tls {
    /// What a server at this host and port is expected to want: nothing on this machine, implicit
    /// TLS on 465, STARTTLS elsewhere.
    pub fn for_server(host: &str, port: u16) -> Self {
        match port {
            _ if is_loopback(host) => Self::None,
            465 => Self::Implicit,
            _ => Self::StartTls,
        }
    }
}

/// Settings of [`Smtp`].
#[derive(Debug, Clone)]
pub struct SmtpConfig {
    /// The mail server's name; its certificate must be for it.
    pub host: String,
    /// Its port: 465, 587, or 25 on this machine.
    pub port: u16,
    /// How the connection is protected.
    pub tls: Tls,
    /// The sender: `notices@example.com`.
    pub from: String,
    /// User name and password, if the server wants them.
    pub login: Option<(String, Secret)>,
    /// Longest time for one message; [`TIMEOUT`] unless in tests.
    pub timeout: Span,
}

/// A mail server.
pub struct Smtp {
    host: String,
    port: u16,
    tls: Option<(Tls, TlsParameters)>,
    from: Address,
    login: Option<(String, Secret)>,
    timeout: Duration,
    now: Clock,
}

impl Smtp {
    /// Checks the settings; connects to nothing.
    pub fn new(config: SmtpConfig, now: Clock) -> Result<Self, SetupError> {
        let from: Address = config.from.parse()
            .map_err(|_| SetupError::setting("mail.from", "is not an e-mail address: write notices@example.com, without a name"))?;
        let tls = match config.tls {
            Tls::None if is_loopback(&config.host) => None,
            Tls::None => return Err(SetupError::setting("mail.host", "must be reached with TLS: only this machine may go without")),
            tls => Some((tls, TlsParameters::new(config.host.clone()).map_err(|_| SetupError::Tls)?)),
        };
        Ok(Self { host: config.host, port: config.port, tls, from, login: config.login, timeout: millis(config.timeout), now })
    }

    /// Connects, encrypts and signs in. Nothing about the message is told.
    async fn open(&self) -> Result<AsyncSmtpConnection, Sent> {
        let hello = ClientId::Domain(self.from.domain().to_owned());
        let implicit = self.tls.as_ref().filter(|(tls, _)| *tls == Tls::Implicit).map(|(_, p)| p.clone());
        let mut connection = AsyncSmtpConnection::connect_tokio1((self.host.as_str(), self.port), Some(self.timeout / 2), &hello, implicit, None)
            .await.map_err(|e| before(&e, reason::REFUSED))?;
        if let Some((Tls::StartTls, parameters)) = &self.tls {
            if !connection.can_starttls() {
                connection.abort().await;
                return Err(Sent::Retry { after: SOON, reason: reason::NO_TLS });
            }
            connection.starttls(parameters.clone(), &hello).await.map_err(|e| before(&e, reason::REFUSED))?;
        }
        if let Some((user, password)) = &self.login {
            let credentials = Credentials::new(user.clone(), password.expose().to_owned());
            connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await.map_err(|e| before(&e, reason::CREDENTIALS))?;
        }
        Ok(connection)
    }

    /// Announces the message up to DATA. Its content is not yet told.
    async fn announce(&self, connection: &mut AsyncSmtpConnection, to: &Address, content: &[u8]) -> Result<(), Sent> {
        let mut options = Vec::new();
        let ascii = |a: &Address| a.user().is_ascii() && a.domain().is_ascii();
        if !(ascii(to) && ascii(&self.from)) {
            if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
                return Err(Sent::Rejected { reason: reason::INVALID_ADDRESS });
            }
            options.push(MailParameter::SmtpUtfEight);
        }
        if !content.is_ascii() {
            if !connection.server_info().supports_feature(Extension::EightBitMime) {
                return Err(Sent::Rejected { reason: reason::MALFORMED });
            }
            options.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        connection.command(Mail::new(Some(self.from.clone()), options)).await.map_err(|e| before(&e, reason::BAD_SENDER))?;
        connection.command(Rcpt::new(to.clone(), Vec::new())).await.map_err(|e| before(&e, refused_recipient(&e)))?;
        let go = connection.command(Data).await.map_err(|e| before(&e, reason::FILTERED))?;
        // The library takes any 2xx or 3xx for a yes; content may only follow this one.
        if go.has_code(354) { Ok(()) } else { Err(Sent::Retry { after: SOON, reason: reason::PROVIDER_FAILED }) }
    }

    fn message_id(&self, m: &Outgoing) -> String { format!("<{}@{}>", m.id, self.from.domain()) }

    fn compose(&self, m: &Outgoing, to: &Address) -> Option<Zeroizing<Vec<u8>>> {
        let at = UNIX_EPOCH.checked_add(Duration::from_millis(u64::try_from((self.now)().0).ok()?))?;
        let mut message = Message::builder()
            .from(Mailbox::new(None, self.from.clone()))
            .to(Mailbox::new(None, to.clone()))
            .date(at)
            .message_id(Some(self.message_id(m)))
            // RFC 3834: no out-of-office notes in return.
            .raw_header(raw("Auto-Submitted", "auto-generated"))
            .raw_header(raw("Content-Language", m.lang.code()))
            .header(ContentType::TEXT_PLAIN);
        if let Some(subject) = &m.subject {
            message = message.subject(subject.as_str());
        }
        let message = message.body(m.text.expose().to_owned()).ok()?;
        Some(Zeroizing::new(message.formatted()))
    }
}

#[async_trait]
impl Provider for Smtp {
    fn name(&self) -> &'static str { "smtp" }
    fn channels(&self) -> &[Channel] { &[Channel::Email] }

    async fn send(&self, m: &Outgoing) -> Sent {
        if m.channel != Channel::Email {
            return Sent::Rejected { reason: reason::WRONG_CHANNEL };
        }
        if m.interrupted {
            return Sent::Unknown { reason: reason::INTERRUPTED };
        }
        let Ok(to) = m.to.expose().parse::<Address>() else { return Sent::Rejected { reason: reason::INVALID_ADDRESS } };
        let Some(content) = self.compose(m, &to) else { return Sent::Rejected { reason: reason::MALFORMED } };

        // Half of the time for the preparations, so that the content always has the other half.
        let ready = Instant::now() + self.timeout / 2;
        let mut connection = match timeout_at(ready, self.open()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(sent)) => return sent,
            Err(_) => return Sent::Retry { after: SOON, reason: reason::NO_CONNECTION },
        };
        match timeout_at(ready, self.announce(&mut connection, &to, &content)).await {
            Ok(Ok(())) => {}
            Ok(Err(sent)) => {
                goodbye(&mut connection).await;
                return sent;
            }
            Err(_) => return Sent::Retry { after: SOON, reason: reason::NO_ANSWER },
        }
        let sent = match timeout(self.timeout / 2, connection.message(&content)).await {
            Ok(Ok(answer)) if answer.code().severity == Severity::PositiveCompletion => Sent::Accepted { reference: Some(self.message_id(m)) },
            Ok(Ok(_)) => return Sent::Unknown { reason: reason::BROKEN_ANSWER },
            Ok(Err(e)) if e.is_transient() => Sent::Retry { after: SOON, reason: reason::BUSY },
            Ok(Err(e)) if e.is_permanent() => Sent::Rejected { reason: reason::FILTERED },
            Ok(Err(e)) if e.is_response() => return Sent::Unknown { reason: reason::BROKEN_ANSWER },
            Ok(Err(_)) | Err(_) => return Sent::Unknown { reason: reason::NO_ANSWER },
        };
        goodbye(&mut connection).await;
        sent
    }
}

/// What a failure before the content means: the server's lasting "no" is final, anything else may be
/// tried again. The library's error is dropped: it quotes addresses.
fn before(e: &Error, refused: &'static str) -> Sent {
    // A client error: the server lacks what we need, a way to sign in.
    if e.is_permanent() || e.is_client() {
        Sent::Rejected { reason: refused }
    } else if e.is_transient() {
        Sent::Retry { after: SOON, reason: reason::BUSY }
    } else {
        Sent::Retry { after: SOON, reason: reason::NO_CONNECTION }
    }
}

/// RFC 5321 §4.2.3.
fn refused_recipient(e: &Error) -> &'static str {
    match e.status().map(u16::from) {
        Some(501 | 553) => reason::INVALID_ADDRESS,
        Some(550..=552) => reason::UNREACHABLE,
        Some(530 | 535) => reason::CREDENTIALS,
        Some(554) => reason::FILTERED,
        _ => reason::REFUSED,
    }
}

async fn goodbye(connection: &mut AsyncSmtpConnection) {
    // Whether it answers or not, the fate of the message is known.
    let _ = timeout(GOODBYE, connection.abort()).await;
}

fn raw(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Read, Write},
        net::{TcpListener, TcpStream},
        sync::{Arc, mpsc},
    };

    use countersign_core::{id::MessageId, prompt::Lang, time::Timestamp};

    use super::{super::http::testing::nobody, *};

    const HELLO: &[&str] = &["220 mx ready", "250 mx"];
    const ID: &str = "<msg_abababababababababababababababab@cs.example>";

    /// Says the first line, then answers each command with the next; an empty line means: close, `…`:
    /// say nothing more. Tells all that it heard.
    fn server(replies: Vec<&'static str>) -> (u16, mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, heard) = mpsc::channel();
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let _ = tell.send(converse(stream, replies));
        });
        (port, heard)
    }

    fn converse(stream: TcpStream, replies: Vec<&'static str>) -> String {
        let mut out = stream.try_clone().unwrap();
        let mut lines = BufReader::new(stream);
        let mut heard = String::new();
        for reply in replies {
            match reply {
                "" => return heard,
                "…" => {
                    let mut rest = Vec::new();
                    let _ = lines.read_to_end(&mut rest);
                    return heard;
                }
                _ => out.write_all(format!("{reply}\r\n").as_bytes()).unwrap(),
            }
            let content = reply.starts_with("354");
            loop {
                let mut line = String::new();
                if lines.read_line(&mut line).unwrap_or(0) == 0 {
                    return heard;
                }
                heard.push_str(&line);
                if !content || line == ".\r\n" {
                    break;
                }
            }
        }
        heard
    }

    fn smtp(port: u16, change: impl Fn(&mut SmtpConfig)) -> Smtp {
        let mut config = SmtpConfig {
            host: "127.0.0.1".into(), port, tls: Tls::None, from: "notices@cs.example".into(), login: None, timeout: Span::seconds(10),
        };
        change(&mut config);
        Smtp::new(config, Arc::new(|| Timestamp(1_700_000_000_000))).unwrap()
    }

    fn message() -> Outgoing {
        Outgoing {
            id: MessageId([0xab; 16]), channel: Channel::Email, to: Secret::new("ann@customer.example"), subject: Some("Änderung".into()),
            text: Secret::new("Something changed.\n.\nQUIT\nUndo: https://cs.example/undo/x"), lang: Lang::De, interrupted: false,
        }
    }

    async fn after(tail: &[&'static str]) -> (Sent, String) {
        let (port, heard) = server([HELLO, tail].concat());
        let sent = smtp(port, |_| ()).send(&message()).await;
        (sent, heard.recv().unwrap())
    }

    #[tokio::test]
    async fn a_notice_is_handed_over_once() {
        let (sent, heard) = after(&["250 ok", "250 ok", "354 go", "250 queued as 7", "221 bye"]).await;
        assert_eq!(sent, Sent::Accepted { reference: Some(ID.into()) });
        assert!(heard.starts_with("EHLO cs.example\r\nMAIL FROM:<notices@cs.example>\r\nRCPT TO:<ann@customer.example>\r\nDATA\r\n"), "{heard}");
        for line in [
            &format!("Message-ID: {ID}"), "From: notices@cs.example", "To: ann@customer.example", "Subject: =?utf-8?b?w4RuZGVydW5n?=",
            "Date: Tue, 14 Nov 2023 22:13:20 +0000", "Auto-Submitted: auto-generated", "Content-Language: de",
        ] {
            assert!(heard.lines().any(|l| l == line), "{line} in {heard}");
        }
        // A line with a dot alone stays inside the message (RFC 5321 §4.5.2).
        assert!(heard.contains("changed.\r\n..\r\nQUIT\r\nUndo: https://cs.example/undo/x\r\n.\r\nQUIT\r\n"), "{heard}");
    }

    #[tokio::test]
    async fn nothing_but_a_refusal_after_the_content_is_known() {
        let data = ["250 ok", "250 ok", "354 go"];
        for (end, sent) in [
            ("", Sent::Unknown { reason: reason::BROKEN_ANSWER }),
            ("nonsense", Sent::Unknown { reason: reason::BROKEN_ANSWER }),
            ("334 what", Sent::Unknown { reason: reason::BROKEN_ANSWER }),
            ("451 later", Sent::Retry { after: SOON, reason: reason::BUSY }),
            ("554 spam", Sent::Rejected { reason: reason::FILTERED }),
        ] {
            assert_eq!(after(&[&data[..], &[end, "221 bye"]].concat()).await.0, sent, "{end}");
        }
        let (port, _heard) = server([HELLO, &data, &["…"]].concat());
        let sent = smtp(port, |c| c.timeout = Span(2000)).send(&message()).await;
        assert_eq!(sent, Sent::Unknown { reason: reason::NO_ANSWER });
    }

    #[tokio::test]
    async fn before_the_content_another_try_is_safe() {
        let busy = Sent::Retry { after: SOON, reason: reason::BUSY };
        let none = Sent::Retry { after: SOON, reason: reason::NO_CONNECTION };
        for (tail, sent) in [
            (&["421 busy", "221 bye"][..], &busy), (&["250 ok", "450 greylisted", "221 bye"], &busy), (&["250 ok", "250 ok", "451 later", "221 bye"], &busy),
            (&[""], &none), (&["250 ok", ""], &none), (&["250 ok", "250 ok", ""], &none),
        ] {
            let (got, heard) = after(tail).await;
            assert_eq!(got, *sent, "{tail:?}");
            assert!(!heard.contains("Message-ID"), "{heard}");
        }
        assert_eq!(after(&["250 ok", "250 ok", "250 what", "221 bye"]).await.0, Sent::Retry { after: SOON, reason: reason::PROVIDER_FAILED });
        for replies in [vec!["421 busy"], vec!["…"], vec![HELLO[0], HELLO[1], "250 ok", "…"], vec![""]] {
            let (port, _heard) = server(replies.clone());
            let sent = smtp(port, |c| c.timeout = Span(600)).send(&message()).await;
            assert!(matches!(sent, Sent::Retry { .. }), "{replies:?} {sent:?}");
        }
        let port = nobody().rsplit(':').next().unwrap().parse().unwrap();
        assert_eq!(smtp(port, |_| ()).send(&message()).await, none);
    }

    #[tokio::test]
    async fn refusals_have_their_reasons() {
        for (tail, reason) in [
            (&["550 not ours", "221 bye"][..], reason::BAD_SENDER), (&["250 ok", "550 no such user ann@customer.example", "221 bye"], reason::UNREACHABLE),
            (&["250 ok", "553 bad", "221 bye"], reason::INVALID_ADDRESS), (&["250 ok", "554 blocked", "221 bye"], reason::FILTERED),
            (&["250 ok", "250 ok", "554 no", "221 bye"], reason::FILTERED),
        ] {
            assert_eq!(after(tail).await.0, Sent::Rejected { reason }, "{tail:?}");
        }
    }

    #[tokio::test]
    async fn signing_in_comes_first() {
        let login = |c: &mut SmtpConfig| c.login = Some(("user".into(), Secret::new("pass")));
        let (port, heard) = server(vec!["220 mx", "250-mx\r\n250 AUTH PLAIN", "235 in", "250 ok", "250 ok", "354 go", "250 ok", "221 bye"]);
        assert!(matches!(smtp(port, login).send(&message()).await, Sent::Accepted { .. }));
        // NUL user NUL password in base64.
        assert!(heard.recv().unwrap().contains("AUTH PLAIN AHVzZXIAcGFzcw==\r\nMAIL FROM"));
        let (port, _heard) = server(vec!["220 mx", "250-mx\r\n250 AUTH PLAIN", "535 no", "221 bye"]);
        assert_eq!(smtp(port, login).send(&message()).await, Sent::Rejected { reason: reason::CREDENTIALS });
        let (port, _heard) = server(vec!["220 mx", "250 mx", "221 bye"]);
        assert_eq!(smtp(port, login).send(&message()).await, Sent::Rejected { reason: reason::CREDENTIALS });
    }

    #[tokio::test]
    async fn without_tls_nothing_is_told() {
        let (port, heard) = server(vec!["220 mx", "250 mx", "221 bye"]);
        let sent = smtp(port, |c| c.tls = Tls::StartTls).send(&message()).await;
        assert_eq!(sent, Sent::Retry { after: SOON, reason: reason::NO_TLS });
        assert_eq!(heard.recv().unwrap(), "EHLO cs.example\r\nQUIT\r\n");
        let (port, heard) = server(vec!["220 mx", "250-mx\r\n250 STARTTLS", "220 go", "nonsense"]);
        let sent = smtp(port, |c| c.tls = Tls::StartTls).send(&message()).await;
        assert_eq!(sent, Sent::Retry { after: SOON, reason: reason::NO_CONNECTION });
        assert!(!heard.recv().unwrap().contains("MAIL"));
        let (port, _heard) = server(vec!["220 mx"]);
        let sent = smtp(port, |c| c.tls = Tls::Implicit).send(&message()).await;
        assert_eq!(sent, Sent::Retry { after: SOON, reason: reason::NO_CONNECTION });
    }

    #[tokio::test]
    async fn nothing_is_sent_after_an_interruption_or_to_a_bad_address() {
        let smtp = smtp(1, |_| ());
        let again = Outgoing { interrupted: true, ..message() };
        assert_eq!(smtp.send(&again).await, Sent::Unknown { reason: reason::INTERRUPTED });
        for to in ["", "ann", "ann@x.example\r\nRCPT TO:<eve@x.example>", "ann@x.example, eve@x.example", "Ann <ann@x.example>"] {
            let odd = Outgoing { to: Secret::new(to), ..message() };
            assert_eq!(smtp.send(&odd).await, Sent::Rejected { reason: reason::INVALID_ADDRESS }, "{to}");
        }
        let text = Outgoing { channel: Channel::Sms, ..message() };
        assert_eq!(smtp.send(&text).await, Sent::Rejected { reason: reason::WRONG_CHANNEL });
    }

    #[tokio::test]
    async fn a_hostile_subject_stays_one_header() {
        let (port, heard) = server([HELLO, &["250 ok", "250 ok", "354 go", "250 ok", "221 bye"]].concat());
        let odd = Outgoing { subject: Some("a\r\nBcc: eve@x.example\r\n\r\nbody".into()), ..message() };
        assert!(matches!(smtp(port, |_| ()).send(&odd).await, Sent::Accepted { .. }));
        let heard = heard.recv().unwrap();
        assert!(!heard.lines().any(|l| l.starts_with("Bcc") || l == "body"), "{heard}");
    }

    #[test]
    fn unsafe_settings_are_refused() {
        let make = |change: &dyn Fn(&mut SmtpConfig)| {
            let mut config = SmtpConfig {
                host: "mx.example".into(), port: 587, tls: Tls::StartTls, from: "n@cs.example".into(), login: Some(("u".into(), Secret::new("pa55"))), timeout: TIMEOUT,
            };
            change(&mut config);
            assert!(!format!("{config:?}").contains("pa55"));
            Smtp::new(config, Arc::new(|| Timestamp(0))).err()
        };
        assert_eq!(make(&|_| ()), None);
        assert!(matches!(make(&|c| c.tls = Tls::None), Some(SetupError::Setting { setting: "mail.host", .. })));
        assert!(matches!(make(&|c| c.from = "Notices <n@cs.example>".into()), Some(SetupError::Setting { setting: "mail.from", .. })));
        for (host, port, tls) in [("localhost", 25, Tls::None), ("127.0.0.1", 465, Tls::None), ("mx.example", 465, Tls::Implicit), ("mx.example", 25, Tls::StartTls)] {
            assert_eq!(Tls::for_server(host, port), tls, "{host} {port}");
        }
    }
}
