//! The same call at our gateway and at Asterisk: answered, a prompt, six keys while it goes on, hung up.
//! One generator calls both, one after the other; what each costs is what the kernel counts for its
//! process. The gateway is a process of its own without a record: what the machine decides costs is in the
//! whole calls.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use countersign_sip::{
    Answer, CallKey, Clip, Ended, Flow, Gather, Gateway, Incoming, Rate, Settings, Step, Steps,
    caller::{Phone, PhoneSettings},
};
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::{Fail, process::{cpu, memory, start, stop}};

/// The first argument of the process that is the gateway.
pub const GATEWAY: &str = "gateway";
/// Who calls.
pub const CALLER: &str = "+12025550199";
/// Who is called for keys to be asked for.
const KEYED: &str = "100";
/// Who is called for music, for as long as one likes.
pub const MUSIC: &str = "200";
/// What the gateway says before its address.
const AT: &str = "listening at ";
/// What every caller keys.
const KEYS: &str = "471100";
/// The prompt is longer than anybody listens.
const PROMPT: u32 = 30;
/// What a call to Asterisk needs, and no more.
const MODULES: &[&str] = &[
    "app_read", "bridge_simple", "chan_pjsip", "codec_ulaw", "format_pcm", "func_channel", "pbx_config", "res_pjproject", "res_pjsip", "res_pjsip_caller_id",
    "res_pjsip_endpoint_identifier_ip", "res_pjsip_pubsub", "res_pjsip_sdp_rtp", "res_pjsip_session", "res_rtp_asterisk", "res_sorcery_config",
    "res_sorcery_memory", "res_sorcery_astdb", "res_timing_timerfd",
];

/// By who is called.
struct Asks { prompt: Arc<Clip>, music: Arc<Clip> }

#[async_trait]
impl Flow for Asks {
    async fn incoming(&self, call: &Incoming) -> Answer {
        if call.to == MUSIC {
            return Answer::Accept(Steps::new([Step::Hold(self.music.clone())]));
        }
        let gather = Gather { max: 6, timeout: Duration::from_secs(10), hash_ends: true, secret: true };
        Answer::Accept(Steps::new([Step::Play(vec![self.prompt.clone()]), Step::Gather(gather)]))
    }
    async fn digits(&self, _call: &CallKey, _keys: &str) -> Option<Steps> { Some(Steps::new([Step::HangUp])) }
    async fn no_keys(&self, _call: &CallKey) -> Option<Steps> { Some(Steps::new([Step::HangUp])) }
    async fn hung_up(&self, _call: &CallKey, _how: Ended) {}
}

/// The process that is the gateway, until it is ended.
pub fn gateway() -> ExitCode {
    let serve = async {
        let prompt = Clip::tone(440.0, 0.2, Duration::from_secs(u64::from(PROMPT)), Duration::ZERO);
        let mut settings = Settings::new((Ipv4Addr::LOCALHOST, 0).into());
        settings.peers = "127.0.0.0/8".parse().into_iter().collect();
        settings.calls = 5_000;
        // All callers have one address here.
        let many = Rate { per_second: 1_000_000, burst: 1_000_000 };
        (settings.packets, settings.new_calls) = (many, many);
        let music = Clip::tone(440.0, 0.1, Duration::from_secs(5), Duration::from_secs(1));
        let gateway = Gateway::start(settings, Arc::new(Asks { prompt, music })).await?;
        println!("{AT}{}", gateway.address());
        std::future::pending::<Result<(), Fail>>().await
    };
    match tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Fail::from).and_then(|runtime| runtime.block_on(serve)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => crate::fail(&e),
    }
}

/// Who is called.
pub struct Subject {
    name: String,
    process: Child,
    address: SocketAddr,
    /// Gone with it.
    folder: Option<PathBuf>,
}

impl Subject {
    /// The process that is measured.
    pub fn pid(&self) -> u32 { self.process.id() }
    /// Where `who` is called.
    pub fn uri(&self, who: &str) -> String { format!("sip:{who}@{}", self.address) }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = stop(&mut self.process);
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// Our gateway, as a process of its own.
pub async fn ours(dir: &Path) -> Result<Subject, Fail> {
    let log = dir.join("gateway.log");
    // It is started several times, each time at another address.
    if log.exists() {
        fs::remove_file(&log)?;
    }
    let process = start(Command::new(std::env::current_exe()?).arg(GATEWAY), &log)?;
    let said = || fs::read_to_string(&log).ok()?.lines().find_map(|line| line.strip_prefix(AT)?.parse().ok());
    let mut subject = Subject { name: "our gateway".into(), process, address: (Ipv4Addr::LOCALHOST, 0).into(), folder: None };
    subject.address = within("the gateway's address", said).await?;
    Ok(subject)
}

/// Asterisk, in the folder that the outside-in tests have made.
async fn asterisk(cache: &Path) -> Result<Subject, Fail> {
    let root = fs::read_dir(cache)?.filter_map(|entry| Some(entry.ok()?.path())).find(|path| path.join("usr/sbin/asterisk").is_file());
    let root = root.ok_or("there is no Asterisk in the cache: `cargo xtask test --only browser --filter asterisk` as root makes it")?;
    let name = format!("bench-{}", std::process::id());
    let (folder, inside) = (root.join("srv").join(&name), format!("/srv/{name}"));
    fs::create_dir_all(&folder)?;
    for part in ["run", "log", "spool", "lib", "db", "keys", "cache"] {
        fs::create_dir_all(folder.join(part))?;
    }
    let modules = fs::read_dir(root.join("usr/lib"))?.filter_map(|entry| Some(entry.ok()?.file_name())).find(|arch| root.join("usr/lib").join(arch).join("asterisk/modules").is_dir());
    let modules = format!("/usr/lib/{}/asterisk/modules", modules.ok_or("Asterisk has no modules")?.display());
    let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let files = [
        ("asterisk.conf", format!(
            "[directories]\nastetcdir => {inside}\nastmoddir => {modules}\nastvarlibdir => {inside}/lib\nastdbdir => {inside}/db\nastkeydir => {inside}/keys\nastdatadir => /usr/share/asterisk\n\
             astagidir => {inside}/lib\nastspooldir => {inside}/spool\nastrundir => {inside}/run\nastlogdir => {inside}/log\nastcachedir => {inside}/cache\n[options]\ndocumentation_language = en_US\n"
        )),
        ("modules.conf", format!("[modules]\nautoload=no\n{}", MODULES.iter().map(|module| format!("load={module}.so\n")).collect::<String>())),
        ("logger.conf", "[general]\n[logfiles]\nmessages => error\n".into()),
        ("rtp.conf", "[general]\nrtpstart=25000\nrtpend=29999\n".into()),
        ("cdr.conf", "[general]\nenable=no\n".into()),
        ("pjsip.conf", format!(
            "[loop]\ntype=transport\nprotocol=udp\nbind=127.0.0.1:{port}\n[caller]\ntype=endpoint\ncontext=calls\ntransport=loop\ndisallow=all\nallow=ulaw\ndirect_media=no\n\
             [caller]\ntype=identify\nendpoint=caller\nmatch=127.0.0.1\n"
        )),
        ("extensions.conf", format!("[calls]\nexten => 100,1,Answer()\n same => n,Read(KEYS,{inside}/prompt,6,,1,10)\n same => n,Hangup()\n")),
    ];
    for (file, text) in files {
        fs::write(folder.join(file), text)?;
    }
    // The same law as it goes over the line: nothing has to be translated.
    let prompt = Clip::tone(440.0, 0.2, Duration::from_secs(u64::from(PROMPT)), Duration::ZERO);
    fs::write(folder.join("prompt.ulaw"), prompt.bytes(countersign_sip::g711::Law::Mu))?;
    let mut command = Command::new("chroot");
    command.arg(&root).args(["/usr/sbin/asterisk", "-f", "-C", &format!("{inside}/asterisk.conf")]);
    let process = start(&mut command, &folder.join("out"))?;
    let subject = Subject { name: "Asterisk".into(), process, address: (Ipv4Addr::LOCALHOST, port).into(), folder: Some(folder) };
    let phone = Phone::start(PhoneSettings::new(Ipv4Addr::LOCALHOST.into(), "100")).await?;
    let patience = Instant::now() + Duration::from_secs(30);
    while !one_call(&phone, &subject).await {
        if Instant::now() > patience {
            return Err("Asterisk does not take a call".into());
        }
    }
    Ok(subject)
}

async fn within<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T, Fail> {
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if Instant::now() > patience {
            return Err(format!("not within 20 s: {what}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// One call as it should be. False: it was not.
async fn one_call(phone: &Phone, subject: &Subject) -> bool {
    let Ok(line) = phone.call(&subject.uri(KEYED)).await else { return false };
    // Half a second of the prompt.
    line.until(Duration::from_secs(10), |ear| ear.packets > 25).await && line.press(KEYS).await && line.ends(Duration::from_secs(20)).await
}

/// Both, one after the other: `calls` in all, `at_a_time` of them.
pub async fn measure(dir: &Path, cache: &Path, calls: usize, at_a_time: usize) -> Result<Value, Fail> {
    let mut out = vec![load(&ours(dir).await?, calls, at_a_time).await?];
    out.push(match asterisk(cache).await {
        Ok(subject) => load(&subject, calls, at_a_time).await?,
        // Not being able to measure it must not pass for having measured it.
        Err(e) => json!({ "who": "Asterisk", "not_measured": e.to_string() }),
    });
    Ok(Value::Array(out))
}

async fn load(subject: &Subject, calls: usize, at_a_time: usize) -> Result<Value, Fail> {
    let mut settings = PhoneSettings::new(Ipv4Addr::LOCALHOST.into(), "100");
    settings.keep = false;
    let phone = Phone::start(settings).await?;
    let pid = subject.pid();
    // What is made for the first call alone is nobody's cost.
    if !one_call(&phone, subject).await {
        return Err(format!("{} takes no call", subject.name).into());
    }
    let (idle, before, began) = (memory(pid).rss, cpu(pid), Instant::now());
    let mut good = 0;
    let mut most = idle;
    let mut done = futures_util::stream::iter(0..calls).map(|_| one_call(&phone, subject)).buffer_unordered(at_a_time);
    while let Some(well) = done.next().await {
        good += usize::from(well);
        most = most.max(memory(pid).rss);
    }
    let (seconds, used) = (began.elapsed().as_secs_f64(), cpu(pid) - before);
    Ok(json!({
        "who": subject.name, "calls": calls, "good": good, "at_a_time": at_a_time, "seconds": seconds, "cpu_ms_per_call": used * 1000.0 / calls.max(1) as f64,
        "cores": used / seconds, "idle_mib": idle, "most_mib": most, "kib_per_call": (most - idle) * 1024.0 / at_a_time.max(1) as f64,
    }))
}
