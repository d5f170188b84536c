//! A FreeSWITCH by script, after recorded shapes of its messages: it shows that we say what we mean to say,
//! not that FreeSWITCH takes it so.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, atomic::{AtomicBool, Ordering}},
    time::Duration,
};

use countersign_server::telephony::{
    freeswitch::{FreeSwitch, NAME, config::FreeSwitchSettings, out::Ringer},
    sip::voice::Voice,
    switch::{Lines, Setup, clips::Clips, out::Rings},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedWriteHalf},
    sync::mpsc,
    task::AbortHandle,
    time::timeout,
};

use super::World;

/// Nothing takes longer than this.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Where it fetches what is said.
pub const MEDIA: &str = "http://127.0.0.1:8080";

/// Where FreeSWITCH would connect to, with these settings besides, and what ends it.
pub async fn listening(world: &World, voice: Voice, more: &str) -> (SocketAddr, Arc<Lines>, AbortHandle) {
    let settings = format!("listen = \"127.0.0.1:0\"\nnational = \"+1\"\nrecording = \"/rec/{{uuid}}.wav\"\n{more}\n");
    let settings: FreeSwitchSettings = toml::from_str(&settings).unwrap();
    let names = world.app.agents.clone();
    let lines = Arc::new(Lines::new(Setup {
        name: NAME, clips: Clips::new(world.app.texts.clone(), voice, MEDIA, NAME),
        agent_phones: settings.agent_phones.clone().into_iter().collect(), national: settings.national.clone(), most: settings.calls,
        name_of: Box::new(move |id| names.name(id)),
    }));
    world.app.runner.hub.register(NAME, lines.clone());
    lines.start(world.app.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let listening = tokio::spawn(Arc::new(FreeSwitch::new(settings, lines.clone()).unwrap()).run(listener));
    (address, lines, listening.abort_handle())
}

/// Where FreeSWITCH itself takes commands (`mod_event_socket`), by script.
pub struct Commands {
    pub address: SocketAddr,
    /// What it was told to do, without who told it.
    pub told: mpsc::UnboundedReceiver<String>,
    /// What became of the next order to ring: `+OK` or `-ERR` and why. Until then it rings.
    pub became: mpsc::UnboundedSender<String>,
    taking: AbortHandle,
}

impl Drop for Commands {
    fn drop(&mut self) { self.taking.abort(); }
}

/// Its password.
pub const PASSWORD: &str = "ClueCon";

impl Commands {
    pub async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ((tell, told), (became, fate)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let fate = Arc::new(tokio::sync::Mutex::new(fate));
        let taking = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(commanded(stream, tell.clone(), fate.clone()));
            }
        }).abort_handle();
        Self { address, told, became, taking }
    }
}

/// One connection: a password first, and then commands.
async fn commanded(mut stream: TcpStream, tell: mpsc::UnboundedSender<String>, fate: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<String>>>) {
    stream.write_all(b"Content-Type: auth/request\n\n").await.unwrap();
    let (mut text, mut buffer, mut known) = (String::new(), [0; 4096], false);
    while let Ok(n @ 1..) = stream.read(&mut buffer).await {
        text.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
        while let Some((command, rest)) = text.split_once("\n\n") {
            let (command, rest) = (command.to_owned(), rest.to_owned());
            text = rest;
            let ours = command.strip_prefix("auth ");
            let answer = match ours {
                Some(PASSWORD) => "Reply-Text: +OK accepted",
                Some(_) => "Reply-Text: -ERR invalid",
                None if known => "Reply-Text: +OK",
                None => "Reply-Text: -ERR command not found",
            };
            known |= ours == Some(PASSWORD);
            let kind = if command.starts_with("api ") { "Content-Type: api/response\nContent-Length: 4\n\n+OK\n".to_owned() } else { format!("Content-Type: command/reply\n{answer}\n\n") };
            if stream.write_all(kind.as_bytes()).await.is_err() {
                return;
            }
            if ours.is_some() {
                continue;
            }
            let job = command.split_once("\nJob-UUID: ").map(|(_, job)| job.to_owned());
            let _ = tell.send(command);
            if let Some(job) = job {
                let Some(result) = fate.lock().await.recv().await else { return };
                let body = format!("Event-Name: BACKGROUND_JOB\nCore-UUID: 1d0cc2ea-0c7b-4d35-94c5-a4f0e1a1a0c4\nJob-UUID: {job}\nJob-Command: originate\nContent-Length: {}\n\n{result}", result.len());
                let _ = stream.write_all(format!("Content-Length: {}\nContent-Type: text/event-plain\n\n{body}", body.len()).as_bytes()).await;
            }
        }
    }
}

/// The data of a channel that we had it ring, once somebody has answered.
pub fn answered(uuid: &str, number: &str) -> String {
    data(uuid, number, number, SHOWN).replace("Call-Direction: inbound", "Call-Direction: outbound").replace("Answer-State: ringing", "Answer-State: answered")
        .replace("variable_uuid:", "variable_countersign_ours: true\nvariable_uuid:")
}

/// The data of a channel, as `connect` is answered.
pub fn data(uuid: &str, number: &str, to: &str, more: &str) -> String {
    format!(
        "Event-Name: CHANNEL_DATA\nCore-UUID: 1d0cc2ea-0c7b-4d35-94c5-a4f0e1a1a0c4\nFreeSWITCH-Hostname: pbx\nChannel-State: CS_EXECUTE\n\
         Channel-Name: sofia/external/{number}%40192.0.2.9\nUnique-ID: {uuid}\nCall-Direction: inbound\nAnswer-State: ringing\n\
         Caller-Caller-ID-Name: Ana\nCaller-Caller-ID-Number: {number}\nCaller-Destination-Number: {to}\nCaller-Privacy-Hide-Name: false\n\
         {more}variable_uuid: {uuid}\nContent-Type: command/reply\nReply-Text: %2BOK%0A\nSocket-Mode: async\nControl: full\n\n"
    )
}

/// What rings customers through it, with this password.
pub fn rings(world: &World, lines: Arc<Lines>, listening: SocketAddr, commands: SocketAddr, password: &str) -> Arc<Rings> {
    let file = std::env::temp_dir().join(format!("countersign-esl-{}-{}", std::process::id(), commands.port()));
    std::fs::write(&file, password).unwrap();
    let at = format!("socket = \"{commands}\"\npassword_file = {file:?}\nto = \"sofia/gateway/trunk/{{number}}\"\nfrom = \"+12025550100\"\n");
    let ringer = Ringer::new(&toml::from_str(&at).unwrap(), listening, lines).unwrap();
    std::fs::remove_file(file).unwrap();
    let rings = Arc::new(Rings::new(NAME, Arc::new(ringer), 10));
    rings.start(world.app.clone());
    rings
}

/// The caller shows their number.
pub const SHOWN: &str = "Caller-Privacy-Hide-Number: false\n";

/// A FreeSWITCH by script.
pub struct Peer {
    uuid: String,
    write: Arc<tokio::sync::Mutex<OwnedWriteHalf>>,
    pub said: mpsc::UnboundedReceiver<String>,
    /// The commands that were told, each by its first word of meaning.
    pub words: BTreeSet<String>,
    /// Clips end at once.
    pub quick: Arc<AtomicBool>,
}

impl Peer {
    pub async fn connect(address: SocketAddr, uuid: &str, data: String) -> Self { Self::open(address, uuid, data, false).await }

    /// One whose clips end at once, from the first on.
    pub async fn quick(address: SocketAddr, uuid: &str, data: String) -> Self { Self::open(address, uuid, data, true).await }

    async fn open(address: SocketAddr, uuid: &str, data: String, quick: bool) -> Self {
        let (mut read, write) = TcpStream::connect(address).await.unwrap().into_split();
        let (write, quick) = (Arc::new(tokio::sync::Mutex::new(write)), Arc::new(AtomicBool::new(quick)));
        let (tell, said) = mpsc::unbounded_channel();
        let (answering, quickly, whose) = (write.clone(), quick.clone(), uuid.to_owned());
        tokio::spawn(async move {
            let (mut text, mut buffer) = (String::new(), [0; 4096]);
            while let Ok(n @ 1..) = read.read(&mut buffer).await {
                text.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
                while let Some((command, rest)) = text.split_once("\n\n") {
                    let (command, rest) = (command.to_owned(), rest.to_owned());
                    text = rest;
                    let answer = match command.split([' ', '\n']).next().unwrap() {
                        "connect" => data.clone(),
                        "api" => "Content-Type: api/response\nContent-Length: 4\n\n+OK\n".into(),
                        _ => "Content-Type: command/reply\nReply-Text: +OK\n\n".into(),
                    };
                    let _ = answering.lock().await.write_all(answer.as_bytes()).await;
                    let clip = command.split_once("Event-UUID: ").map(|(_, id)| id.to_owned());
                    if let Some(clip) = clip.filter(|_| quickly.load(Ordering::SeqCst)) {
                        let _ = answering.lock().await.write_all(event("CHANNEL_EXECUTE_COMPLETE", &whose, &format!("Application-UUID: {clip}\n")).as_bytes()).await;
                    }
                    let _ = tell.send(command);
                }
            }
        });
        Self { uuid: uuid.to_owned(), write, said, words: BTreeSet::new(), quick }
    }

    /// The next command that holds this; those before it went by.
    pub async fn told(&mut self, what: &str) -> String { self.told_before(what, "nothing like this").await }

    /// The same, and this was not among those before it.
    pub async fn told_before(&mut self, what: &str, not: &str) -> String {
        let mut before = Vec::new();
        loop {
            let command = timeout(PATIENCE, self.said.recv()).await.unwrap_or_else(|_| panic!("not told {what:?}, but {before:#?}")).unwrap_or_else(|| panic!("closed before {what:?}: {before:#?}"));
            let field = |name: &str| command.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            let word = |at: usize| command.split([' ', '\n']).nth(at).unwrap_or_default().to_owned();
            self.words.insert(match word(0).as_str() {
                "sendmsg" => field("execute-app-name: ").or_else(|| field("call-command: ")).unwrap(),
                "api" => word(1),
                other => other.to_owned(),
            });
            if command.contains(what) {
                return command;
            }
            assert!(!command.contains(not), "{not:?} before {what:?}");
            before.push(command);
        }
    }

    pub async fn send(&self, text: &str) { self.write.lock().await.write_all(text.as_bytes()).await.unwrap(); }

    pub async fn event(&self, name: &str, whose: &str, more: &str) { self.send(&event(name, whose, more)).await; }

    pub async fn key(&self, keys: &str) {
        for key in keys.chars() {
            let key = if key == '#' { "%23".to_owned() } else { key.to_string() };
            self.event("DTMF", &self.uuid, &format!("DTMF-Digit: {key}\nDTMF-Duration: 2000\nDTMF-Source: RTP\n")).await;
        }
    }
}

pub fn event(name: &str, whose: &str, more: &str) -> String {
    let body = format!("Event-Name: {name}\nCore-UUID: 1d0cc2ea-0c7b-4d35-94c5-a4f0e1a1a0c4\nUnique-ID: {whose}\n{more}\n");
    format!("Content-Length: {}\nContent-Type: text/event-plain\n\n{body}", body.len())
}
