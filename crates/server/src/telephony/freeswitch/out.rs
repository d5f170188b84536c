//! Calls that we make through FreeSWITCH: its own event socket (inbound, with a password) is asked to ring,
//! and whoever answers is given to us as every other call (outbound).

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use countersign_core::{
    id::{CallId, MessageId},
    secret::{E164, Secret},
    time::Span,
};
use serde::Deserialize;
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

use super::{
    Lines, NAME, PATIENCE, Reader, config::{FreeSwitchConfigError, is_word},
    esl::{Message, Parser},
};
use crate::{
    config::{Severity, private_file, read_secret},
    telephony::switch::out::{Dials, NotRung, Out, at_once, ended, examine, ring, through},
};

/// The password in the environment.
pub const PASSWORD: &str = "COUNTERSIGN_FREESWITCH_PASSWORD";

/// `[freeswitch.out]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutAt {
    /// Where FreeSWITCH takes commands: `mod_event_socket`, on this machine or in a tunnel.
    pub socket: SocketAddr,
    /// A file with its password. `COUNTERSIGN_FREESWITCH_PASSWORD` in the environment comes first.
    pub password_file: Option<PathBuf>,
    /// What is dialled: `sofia/gateway/trunk/{number}`; the number comes as `+12025550142`.
    pub to: String,
    /// The number that is shown.
    pub from: E164,
    /// Where FreeSWITCH connects to once somebody answers, if not at `listen`.
    pub back: Option<SocketAddr>,
    /// Calls out at one time.
    #[serde(default = "at_once")]
    pub at_once: usize,
    /// How long it may ring, in milliseconds.
    #[serde(default = "ring")]
    pub ring: Span,
}

impl OutAt {
    /// What is missing or unsafe.
    pub(super) fn examine(&self, listen: SocketAddr, say: &mut impl FnMut(Severity, &str, String)) {
        examine("freeswitch.out", &self.to, self.at_once, self.ring, say);
        if !is_word(&self.to.replace("{number}", "1")) {
            say(Severity::Missing, "freeswitch.out.to", FreeSwitchConfigError::Text("out.to").to_string());
        }
        if self.back.unwrap_or(listen).ip().is_unspecified() {
            say(Severity::Missing, "freeswitch.out.back", "freeswitch.listen is every address: name the one that FreeSWITCH connects to".into());
        }
        if !self.socket.ip().is_loopback() {
            say(Severity::Unsafe, "freeswitch.out.socket", "the event socket knows no TLS: its password and customers' numbers cross the network in clear. Run it on FreeSWITCH's machine, or in a tunnel".into());
        }
        match (&self.password_file, std::env::var_os(PASSWORD)) {
            (None, None) => say(Severity::Missing, "freeswitch.out.password_file", format!("no password: name a file, or set {PASSWORD}")),
            (Some(path), None) => private_file(path, "freeswitch.out.password_file", say),
            _ => {}
        }
    }
}

/// Rings by FreeSWITCH.
pub struct Ringer {
    out: Out,
    socket: SocketAddr,
    back: SocketAddr,
    password: Secret,
    lines: Arc<Lines>,
}

impl Ringer {
    /// Checks the settings; connects to nothing.
    ///
    /// # Errors
    /// See [`FreeSwitchConfigError`].
    pub fn new(at: &OutAt, listen: SocketAddr, lines: Arc<Lines>) -> Result<Self, FreeSwitchConfigError> {
        if !is_word(&at.to.replace("{number}", "1")) || !at.to.contains("{number}") {
            return Err(FreeSwitchConfigError::Text("out.to"));
        }
        // A line end would begin a command.
        let password = read_secret(PASSWORD, at.password_file.as_deref())?.filter(|text| is_word(text.expose())).ok_or(FreeSwitchConfigError::NoPassword)?;
        let out = through(&at.to, &at.from, at.ring);
        Ok(Self { out, socket: at.socket, back: at.back.unwrap_or(listen), password, lines })
    }

    /// A connection that may give commands.
    async fn open(&self) -> Option<Connection> {
        let stream = TcpStream::connect(self.socket).await.ok()?;
        let (read, write) = stream.into_split();
        let mut new = Connection { reader: Reader { read, parser: Parser::default() }, write };
        new.until("auth/request").await?;
        let accepted = new.ask(&format!("auth {}\n\n", self.password.expose())).await?;
        if !accepted {
            tracing::warn!("FreeSWITCH does not take our password: compare freeswitch.out.password_file with event_socket.conf.xml");
        }
        accepted.then_some(new)
    }
}

struct Connection {
    reader: Reader,
    write: tokio::net::tcp::OwnedWriteHalf,
}

impl Connection {
    /// The next message of this kind; those before it go by.
    async fn until(&mut self, kind: &str) -> Option<Message> {
        loop {
            let message = self.reader.next().await.ok()??;
            if message.kind() == kind {
                return Some(message);
            }
        }
    }

    /// One command; whether it was taken.
    async fn ask(&mut self, command: &str) -> Option<bool> {
        self.write.write_all(command.as_bytes()).await.ok()?;
        let reply = self.until("command/reply").await?;
        Some(reply.head.raw("Reply-Text").is_some_and(|text| text.starts_with("+OK")))
    }
}

/// FreeSWITCH names channels by UUIDs: the call's own name is one.
pub(super) fn uuid_of(call: CallId) -> String {
    let hex = hex::encode(call.0);
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

/// The call of such a channel.
pub(super) fn call_of(uuid: &str) -> Option<CallId> { Some(CallId(hex::decode(uuid.replace('-', "")).ok()?.try_into().ok()?)) }

#[async_trait]
impl Dials for Ringer {
    fn leg(&self, call: CallId, _message: MessageId) -> String { uuid_of(call) }

    async fn ring(&self, call: CallId, message: MessageId, number: &E164) -> Result<(), NotRung> {
        let leg = uuid_of(call);
        let subscribed = async {
            let mut connection = self.open().await?;
            let good = connection.ask("event plain BACKGROUND_JOB\n\n").await? && connection.ask(&format!("filter Job-UUID {leg}\n\n")).await?;
            good.then_some(connection)
        };
        // Nothing has rung, in all of these.
        let Ok(Some(mut connection)) = timeout(PATIENCE, subscribed).await else { return Err(NotRung::NotSent) };
        let (to, from, seconds) = (self.out.endpoint(number), self.out.from.expose(), self.out.ring.as_secs());
        let order = format!(
            "bgapi originate {{origination_uuid={leg},{OURS}=true,originate_timeout={seconds},ignore_early_media=true,origination_caller_id_name={from},origination_caller_id_number={from}}}{to} '&socket({} async full)'\nJob-UUID: {leg}\n\n",
            self.back,
        );
        match timeout(PATIENCE, connection.ask(&order)).await {
            Ok(Some(true)) => {}
            Ok(Some(false)) => return Err(NotRung::Refused),
            // It may have heard it.
            Ok(None) | Err(_) => return Err(NotRung::Unknown),
        }
        let (lines, longest) = (self.lines.clone(), self.out.ring + PATIENCE);
        tokio::spawn(async move {
            let failed = timeout(longest, failed(&mut connection, &leg)).await;
            // That nobody tells anything more ends the call by its time.
            if let (Ok(true), Some(app)) = (failed, lines.app()) {
                ended(app, NAME, call, message, &leg).await;
            }
        });
        Ok(())
    }

    async fn call_off(&self, leg: &str) {
        let off = async {
            let mut connection = self.open().await?;
            connection.write.write_all(format!("api uuid_kill {leg} ORIGINATOR_CANCEL\n\n").as_bytes()).await.ok()?;
            connection.until("api/response").await
        };
        if !matches!(timeout(PATIENCE, off).await, Ok(Some(_))) {
            tracing::warn!("a telephone that rings for nothing could not be stopped: FreeSWITCH gives up by itself");
        }
    }
}

/// The variable that says that a channel is a call of ours.
pub(super) const OURS: &str = "countersign_ours";

/// Waits for what came of an order; whether nobody was reached.
async fn failed(connection: &mut Connection, leg: &str) -> bool {
    while let Some(message) = connection.until("text/event-plain").await {
        let Ok((event, body)) = message.event() else { return false };
        if event.raw("Event-Name") == Some("BACKGROUND_JOB") && event.get("Job-UUID").as_deref() == Some(leg) {
            return body.starts_with(b"-ERR");
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_names_its_call() {
        let call = CallId([0x7f, 0x4d, 0xe4, 0xbc, 0x17, 0xd7, 0x11, 0xdd, 0xb7, 0xa0, 0xdb, 0x4e, 0xdd, 0x06, 0x56, 0x21]);
        assert_eq!(uuid_of(call), "7f4de4bc-17d7-11dd-b7a0-db4edd065621");
        assert_eq!(call_of(&uuid_of(call)), Some(call));
        for none in ["", "7f4de4bc", "7f4de4bc-17d7-11dd-b7a0-db4edd06562x"] {
            assert_eq!(call_of(none), None, "{none}");
        }
    }
}
