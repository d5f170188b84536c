//! FreeSWITCH, by its event socket: for each call its dialplan connects to us (`socket … async full`),
//! and we say on that connection what is to be done. See docs/freeswitch.md, which says as well how far
//! this was tried: against recorded shapes of its messages, never against FreeSWITCH itself.

pub mod config;
pub mod esl;
pub mod out;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use countersign_core::{id::CallId, prompt::Music, risk::Verstat, secret::E164};
use countersign_sip::Network;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::{OwnedReadHalf, OwnedWriteHalf}},
    sync::oneshot,
    time::timeout,
};

use self::{
    config::{FreeSwitchConfigError, FreeSwitchSettings},
    esl::{EslError, Fields, Message, Parser},
};
use super::switch::{Arrival, Lines, Switch, SwitchError, line::{Heard, Order, RING}};

/// The adapter's name in the record.
pub const NAME: &str = "freeswitch";

/// How long an answer may take, and the first message of a connection.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections beyond the calls: those that are turned away, and those that are about to end.
const MORE: usize = 20;

/// Where FreeSWITCH connects to.
pub struct FreeSwitch {
    settings: FreeSwitchSettings,
    networks: Vec<Network>,
    lines: Arc<Lines>,
    open: AtomicUsize,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(transparent)]
    Esl(#[from] EslError),
    #[error("the connection was closed")]
    Closed,
    #[error("it did not answer")]
    Silent,
    #[error("it names no channel: is it `socket` with `async full`?")]
    Nameless,
}

impl FreeSwitch {
    /// Checks the settings; listens nowhere yet.
    ///
    /// # Errors
    /// See [`FreeSwitchConfigError`].
    pub fn new(settings: FreeSwitchSettings, lines: Arc<Lines>) -> Result<Self, FreeSwitchConfigError> {
        settings.words()?;
        Ok(Self { networks: settings.networks()?, settings, lines, open: AtomicUsize::new(0) })
    }

    /// Takes connections, for ever.
    pub async fn run(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, from)) => {
                    let this = self.clone();
                    if !self.may(from) {
                        if let Some(app) = self.lines.app() {
                            app.runner.metrics.turn_away("peer");
                        }
                        continue;
                    }
                    tokio::spawn(async move {
                        if let Err(e) = this.call(stream).await {
                            tracing::warn!(reason = %e, "a connection of FreeSWITCH ended");
                        }
                        this.open.fetch_sub(1, Ordering::Relaxed);
                    });
                }
                // Too many files: others end.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Whether this one may connect. Nothing is read of others. One that may has a place.
    fn may(&self, from: SocketAddr) -> bool {
        if !self.networks.iter().any(|network| network.contains(from.ip())) {
            return false;
        }
        let fits = self.open.fetch_add(1, Ordering::Relaxed) < self.settings.calls + MORE;
        if !fits {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
        fits
    }

    /// One connection, which is one call.
    async fn call(self: &Arc<Self>, stream: TcpStream) -> Result<(), Lost> {
        let _ = stream.set_nodelay(true);
        let (read, write) = stream.into_split();
        let mut reader = Reader { read, parser: Parser::default() };
        let socket = Arc::new(Socket {
            write: tokio::sync::Mutex::new(write), waiting: Mutex::default(), settings: self.settings.clone(), ours: Mutex::default(),
        });
        let data = async {
            socket.send("connect\n\n").await.map_err(|_| Lost::Closed)?;
            reader.next().await?.ok_or(Lost::Closed)
        };
        let data = timeout(PATIENCE, data).await.map_err(|_| Lost::Silent)??.head;
        let channel = data.get("Unique-ID").or_else(|| data.get("Channel-Unique-ID")).filter(|id| is_uuid(id)).ok_or(Lost::Nameless)?;
        // What is waited for is answered by what is read: from here on in two tasks.
        let setting = {
            let (socket, channel) = (socket.clone(), channel.clone());
            tokio::spawn(async move { socket.set_up(&channel).await })
        };
        let mut arrival = Some(Arrival {
            channel: channel.clone(), number: self.number(&data), to: self.called(&data), verstat: self.verstat(&data), ours: ours(&channel, &data), agent: false, switch: socket.clone(),
        });
        let (mut setting, mut turn) = (Some(setting), None);
        let left = |turn: Option<u64>| {
            if let Some(turn) = turn {
                self.lines.left(&channel, turn);
            }
        };
        loop {
            let message = match &mut setting {
                Some(task) => tokio::select! {
                    message = reader.next() => message,
                    done = task => {
                        setting = None;
                        if !matches!(done, Ok(Ok(()))) {
                            return Err(Lost::Silent);
                        }
                        if let Some(arrival) = arrival.take() {
                            turn = Some(self.lines.arrived(arrival));
                        }
                        continue;
                    }
                },
                None => reader.next().await,
            };
            let message = match message {
                Ok(Some(message)) => message,
                // It has not said that the caller is gone: its dialplan may come again with the call.
                Ok(None) => {
                    left(turn);
                    return Ok(());
                }
                Err(e) => {
                    left(turn);
                    return Err(e);
                }
            };
            if let Err(e) = self.take(&socket, &channel, &message) {
                left(turn);
                return Err(e.into());
            }
        }
    }

    fn take(&self, socket: &Socket, channel: &str, message: &Message) -> Result<(), EslError> {
        match message.kind() {
            "command/reply" => socket.answered(!message.head.raw("Reply-Text").unwrap_or_default().starts_with("-ERR")),
            "api/response" => socket.answered(!message.body.starts_with(b"-ERR") && !message.body.starts_with(b"-USAGE")),
            "text/disconnect-notice" if !message.head.raw("Content-Disposition").is_some_and(|how| how.eq_ignore_ascii_case("linger")) => self.lines.gone(channel),
            "text/event-plain" => {
                let (event, body) = message.event()?;
                self.event(socket, channel, &event, &body);
            }
            _ => {}
        }
        Ok(())
    }

    fn event(&self, socket: &Socket, channel: &str, event: &Fields, body: &[u8]) {
        let whose = event.get("Unique-ID").unwrap_or_default();
        let (ours, agent) = (whose == channel, socket.agent().is_some_and(|agent| agent == whose));
        match event.raw("Event-Name").unwrap_or_default() {
            "DTMF" if ours => {
                let digit = event.get("DTMF-Digit").unwrap_or_default();
                let mut keys = digit.chars().filter(|key| key.is_ascii_digit() || "*#".contains(*key));
                if let (Some(key), None) = (keys.next(), keys.next()) {
                    self.lines.heard(channel, Heard::Key(key));
                }
            }
            "CHANNEL_EXECUTE_COMPLETE" if ours => {
                let clip = event.get("Application-UUID").and_then(|id| id.strip_prefix(CLIP)?.parse().ok());
                if let Some(clip) = clip {
                    self.lines.heard(channel, Heard::Played(clip));
                }
            }
            "CHANNEL_HANGUP" | "CHANNEL_HANGUP_COMPLETE" if ours => self.lines.gone(channel),
            "CHANNEL_ANSWER" if agent => self.lines.heard(channel, Heard::AgentUp),
            "CHANNEL_HANGUP" | "CHANNEL_HANGUP_COMPLETE" if agent => self.lines.heard(channel, Heard::AgentGone),
            // A telephone that cannot be rung has no channel that would hang up.
            "BACKGROUND_JOB" if body.starts_with(b"-ERR") && event.get("Job-UUID").is_some_and(|job| socket.agent() == Some(job)) => {
                self.lines.heard(channel, Heard::AgentGone);
            }
            _ => {}
        }
    }

    /// The calling number, unless it was withheld, or nobody says that it was not.
    fn number(&self, data: &Fields) -> Option<E164> {
        let shown = data.get("Caller-Privacy-Hide-Number").is_some_and(|hidden| hidden == "false");
        self.lines.number(&data.get("Caller-Caller-ID-Number").filter(|_| shown)?)
    }

    /// The number that was called, as the dialplan has it.
    fn called(&self, data: &Fields) -> Option<E164> { self.lines.number(&data.get("Caller-Destination-Number")?) }

    fn verstat(&self, data: &Fields) -> Verstat {
        let variable = self.settings.verstat_variable.as_ref().and_then(|name| data.get(&format!("variable_{name}")));
        match variable.as_deref() {
            Some("TN-Validation-Passed-A") => Verstat::PassedA,
            Some("TN-Validation-Passed-B") => Verstat::PassedB,
            Some("TN-Validation-Passed-C") => Verstat::PassedC,
            Some(text) if text.starts_with("TN-Validation-Failed") => Verstat::Failed,
            _ => Verstat::None,
        }
    }
}

/// The call that we make on this channel: FreeSWITCH says that it rang, and that we had it ring.
fn ours(channel: &str, data: &Fields) -> Option<CallId> {
    let made = data.get("Call-Direction").is_some_and(|way| way == "outbound") && data.get(&format!("variable_{}", out::OURS)).is_some_and(|said| said == "true");
    out::call_of(channel).filter(|_| made)
}

struct Reader {
    read: OwnedReadHalf,
    parser: Parser,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Message>, Lost> {
        loop {
            if let Some(message) = self.parser.message()? {
                return Ok(Some(message));
            }
            let mut buffer = [0; 8192];
            match self.read.read(&mut buffer).await {
                Ok(0) | Err(_) => return Ok(None),
                Ok(n) => self.parser.feed(buffer.get(..n).unwrap_or_default()),
            }
        }
    }
}

/// What the names of clips begin with.
const CLIP: &str = "countersign-clip-";

/// The connection of one call.
struct Socket {
    write: tokio::sync::Mutex<OwnedWriteHalf>,
    /// Who waits for an answer: they come in the order of the commands.
    waiting: Mutex<VecDeque<oneshot::Sender<bool>>>,
    settings: FreeSwitchSettings,
    ours: Mutex<Ours>,
}

#[derive(Default)]
struct Ours {
    /// The agent's channel.
    agent: Option<String>,
    legs: u64,
}

impl Socket {
    fn waiting(&self) -> std::sync::MutexGuard<'_, VecDeque<oneshot::Sender<bool>>> { self.waiting.lock().unwrap_or_else(PoisonError::into_inner) }
    fn ours(&self) -> std::sync::MutexGuard<'_, Ours> { self.ours.lock().unwrap_or_else(PoisonError::into_inner) }
    fn agent(&self) -> Option<String> { self.ours().agent.clone() }

    async fn send(&self, text: &str) -> Result<(), SwitchError> { self.write.lock().await.write_all(text.as_bytes()).await.map_err(|_| SwitchError::Gone) }

    fn answered(&self, good: bool) {
        let waiting = self.waiting().pop_front();
        if let Some(waiting) = waiting {
            let _ = waiting.send(good);
        }
    }

    /// One command and its answer. What goes into it has no line end: see `FreeSwitchSettings::words`.
    async fn ask(&self, text: String) -> Result<(), SwitchError> {
        let (tell, told) = oneshot::channel();
        {
            let mut write = self.write.lock().await;
            self.waiting().push_back(tell);
            write.write_all(text.as_bytes()).await.map_err(|_| SwitchError::Gone)?;
        }
        match timeout(PATIENCE, told).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(SwitchError::Failed("it says -ERR".into())),
            Ok(Err(_)) => Err(SwitchError::Gone),
            Err(_) => Err(SwitchError::Failed("no answer".into())),
        }
    }

    async fn set_up(&self, channel: &str) -> Result<(), SwitchError> {
        // Of this channel alone, whatever else goes on there.
        self.ask(format!("filter Unique-ID {channel}\n\n")).await?;
        self.ask("event plain DTMF CHANNEL_EXECUTE_COMPLETE CHANNEL_ANSWER CHANNEL_HANGUP BACKGROUND_JOB\n\n".into()).await?;
        // A key ends what is played when we say so, and an agent who leaves does not take the caller along.
        self.execute("set", "playback_terminators=none", None).await?;
        self.execute("set", "hangup_after_bridge=false", None).await?;
        self.execute("set", "park_after_bridge=true", None).await
    }

    async fn execute(&self, app: &str, argument: &str, named: Option<&str>) -> Result<(), SwitchError> {
        let named = named.map(|name| format!("Event-UUID: {name}\n")).unwrap_or_default();
        self.ask(format!("sendmsg\ncall-command: execute\nexecute-app-name: {app}\nexecute-app-arg: {argument}\n{named}\n")).await
    }

    async fn api(&self, command: &str) -> Result<(), SwitchError> { self.ask(format!("api {command}\n\n")).await }

    /// The telephone is rung and waits; its channel has a name that nobody had before, which is the job's too.
    async fn dial(&self, channel: &str, to: &str) -> Result<(), SwitchError> {
        let agent = {
            let mut ours = self.ours();
            ours.legs += 1;
            let agent = leg(channel, ours.legs);
            ours.agent = Some(agent.clone());
            agent
        };
        self.ask(format!("filter Unique-ID {agent}\n\n")).await?;
        self.ask(format!("filter Job-UUID {agent}\n\n")).await?;
        let ring = RING.as_secs();
        self.ask(format!(
            "bgapi originate {{origination_uuid={agent},originate_timeout={ring},ignore_early_media=true,origination_caller_id_name=anonymous,origination_caller_id_number=anonymous,park_after_bridge=true,hangup_after_bridge=false}}{to} &park()\nJob-UUID: {agent}\n\n"
        )).await
    }
}

/// A UUID as FreeSWITCH writes it: nothing else gets into a command.
fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.bytes().enumerate().all(|(at, b)| if [8, 13, 18, 23].contains(&at) { b == b'-' } else { b.is_ascii_hexdigit() })
}

/// The name of an agent's channel: the caller's with another beginning, made of a hash, and the number of the leg.
fn leg(channel: &str, n: u64) -> String {
    use sha2::{Digest, Sha256};
    let hash = hex::encode(Sha256::digest(format!("{channel}/{n}")));
    let part = |from: usize, to: usize| hash.get(from..to).unwrap_or_default();
    format!("{}-{}-4{}-8{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}

#[async_trait]
impl Switch for Socket {
    async fn answer(&self, _channel: &str) -> Result<(), SwitchError> { self.execute("answer", "", None).await }

    /// The dialplan goes on behind `socket`.
    async fn decline(&self, _channel: &str) -> Result<(), SwitchError> { self.ask("exit\n\n".into()).await }

    async fn order(&self, channel: &str, order: &Order) -> Result<(), SwitchError> {
        match order {
            Order::Play(clip, address) => self.execute("playback", address, Some(&format!("{CLIP}{clip}"))).await,
            Order::Stop(_) | Order::Quiet => self.api(&format!("uuid_break {channel} all")).await,
            Order::Music(music) => self.execute(if *music == Music::Silence { "playback" } else { "endless_playback" }, self.settings.stream(*music), None).await,
            Order::Dial(to) => self.dial(channel, to).await,
            Order::Join => match self.agent() {
                Some(agent) => self.api(&format!("uuid_bridge {channel} {agent}")).await,
                None => Err(SwitchError::Failed("nobody to join with".into())),
            },
            // Both wait: neither hears the other, and no key passes.
            Order::Part => match self.agent() {
                Some(agent) => self.api(&format!("uuid_park {agent}")).await,
                None => Ok(()),
            },
            Order::Drop => {
                let agent = self.ours().agent.take();
                match agent {
                    Some(agent) => self.api(&format!("uuid_kill {agent} NORMAL_CLEARING")).await,
                    None => Ok(()),
                }
            }
            // Nobody listens here: see `Switch::listens`.
            Order::Listen(..) => Err(SwitchError::Failed("callers are not listened to".into())),
            Order::Ear | Order::Deaf => Ok(()),
            Order::Mask | Order::Unmask => match &self.settings.recording {
                Some(file) => {
                    let verb = if *order == Order::Mask { "mask" } else { "unmask" };
                    self.api(&format!("uuid_record {channel} {verb} {}", file.replace("{uuid}", channel))).await
                }
                None => Ok(()),
            },
            Order::HangUp => self.ask("sendmsg\ncall-command: hangup\nhangup-cause: NORMAL_CLEARING\n\n".into()).await,
        }
    }

    fn forget(&self, _channel: &str) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_uuid_names_a_channel() {
        assert!(is_uuid("7f4de4bc-17d7-11dd-b7a0-db4edd065621"));
        assert!(is_uuid(&leg("7f4de4bc-17d7-11dd-b7a0-db4edd065621", 1)));
        assert_ne!(leg("7f4de4bc-17d7-11dd-b7a0-db4edd065621", 1), leg("7f4de4bc-17d7-11dd-b7a0-db4edd065621", 2));
        for bad in ["", "7f4de4bc-17d7-11dd-b7a0-db4edd065621 all", "7f4de4bc-17d7-11dd-b7a0-db4edd06562\n", "7f4de4bc17d711ddb7a0db4edd0656210000", &"-".repeat(36)] {
            assert!(!is_uuid(bad), "{bad:?}");
        }
    }
}
