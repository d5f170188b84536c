//! Puts the parts together, for the demo and for real.

use std::{net::SocketAddr, path::{Path, PathBuf}, process::ExitCode, sync::Arc};

use countersign_core::{call::Params, time::Span};
use countersign_server::{
    App, Parts,
    agents::Agents,
    clock::{SharedClock, system_clock},
    config::{Config, read_secret, scope},
    customers::Customers,
    demo,
    hub::Hub,
    keyring::Master,
    intel::{Intel, Known, OnFailure, Sim, Use, file::Listed},
    i18n::{Company, Texts},
    ledger::{Log, Sequencer, witness::Witnesses},
    metrics::Metrics,
    oauth::OAuth,
    oidc::{OpenId, Registration},
    portal::oidc::SignIn,
    push::{self, Push, address::Rules},
    outbox::{
        Outbox,
        http::{Http, HttpConfig},
        provider::{Channel, Clock, Provider},
        smtp::{self, Smtp, SmtpConfig},
        twilio::{self, TwilioConfig},
    },
    retention::Retention,
    ring_back::RingBack,
    runner::Runner,
    stir,
    serve::{Company as Served, serve as run_server},
    telephony::{handset, sip::{self, Sip, out::Rings, voice::Voice}, twilio::{self as twilio_voice, Twilio}, websocket},
    tenants::{self, Tenant},
    upstream::{Errands, Questions, Upstream},
    vault::Vault,
    voice::Voices,
};
use countersign_sip::{Gateway, Settings};
use countersign_store::{Options, Store};
use futures_util::future::try_join_all;
use tokio::net::TcpListener;

use crate::{
    Failure, key, lines, policy,
    switches::Switches,
    term::{BAD, DIM, GOOD, STRONG, WARN},
};

fn log() {
    use tracing_subscriber::{EnvFilter, Layer as _, filter::filter_fn, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};
    let filter = EnvFilter::try_from_env("COUNTERSIGN_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // Whatever is asked for: the SIP stack writes whole messages, with numbers and keys, and the library of
    // WebSockets whole frames, with keys and sound.
    let safe = filter_fn(|meta| countersign_sip::is_safe_to_log(meta.target(), meta.level()) && websocket::is_safe_to_log(meta.target(), meta.level()));
    let lines = fmt::layer().json().with_writer(std::io::stderr).with_filter(safe);
    // A second call (in tests) changes nothing.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
}

/// Opens the record of a configuration for a command.
pub async fn open(config: &Config) -> Result<Runner, Failure> { Ok(open_with(config, &key::master(config)?).await?.0) }

/// The same, with the clock of a database that others write to as well.
async fn open_with(config: &Config, master: &Master) -> Result<(Runner, Option<Arc<SharedClock>>), Failure> {
    let store = config.store.open().await?;
    let shared = SharedClock::of(&store).await?;
    let clock = {
        let shared = shared.clone();
        move || shared.as_ref().map_or_else(system_clock, |clock| clock.now())
    };
    let vault = Arc::new(Vault::of(master, &store, clock()).await?);
    let place = |e| format!("the key store, where customers' keys are: {e}");
    if !config.store.of_keys().is_there() {
        Customers::may_be_new(&store).await.map_err(place)?;
    }
    let keys = config.store.open_keys().await?;
    let customers = Customers::open(master, &store, &keys, clock()).await.map_err(place)?;
    let metrics = Arc::new(Metrics::default());
    Ok((Runner::new(store, (vault, Arc::new(customers)), policy::configured(Some(config))?, policy::limits(config)?, Arc::new(Hub::default()), metrics, clock), shared))
}

/// Closes the record and the key store.
pub async fn close(runner: &Runner) {
    runner.store.close().await;
    runner.customers.keys.close().await;
}

/// `serve`.
pub async fn serve(path: &Path) -> Result<ExitCode, Failure> {
    log();
    outlive_quotas();
    let config = Config::read(path)?;
    let others = tenants::read(&config)?;
    warn(&config, "");
    let master = key::master(&config)?;
    let (runner, clock) = open_with(&config, &master).await?;
    let runner = Arc::new(runner);
    let agents = Arc::new(Agents::new(runner.clone()));
    let (mut masters, mut opened) = (vec![(String::new(), master)], Vec::new());
    for (name, path, config) in others {
        let of = |e: Failure| of_tenant(&name, &path, &e);
        warn(&config, &name);
        let master = key::master(&config).map_err(of)?;
        // Two records under one key, or one record under two names: neither is what was meant.
        if let Some((other, _)) = masters.iter().find(|(_, known)| known.is(&master)) {
            let other = if other.is_empty() { "the desk's own" } else { other };
            return Err(of(format!("has the same master key as {other}: make one for each with `countersign key new`").into()).into());
        }
        let (runner, clock) = open_with(&config, &master).await.map_err(of)?;
        masters.push((name.clone(), master));
        opened.push((name, path, config, Arc::new(runner), clock));
    }
    drop(masters);
    // All records are looked at, at once, before any company takes a call: one that is refused leaves none half served.
    let looks = opened.iter().map(|(name, path, config, runner, _)| async move { whole(config, runner).await.map_err(|e| Failure::from(of_tenant(name, path, &e))) });
    let (own_log, logs) = tokio::try_join!(whole(&config, &runner), try_join_all(looks))?;
    let mut companies = Vec::new();
    for ((name, path, config, runner, clock), log) in opened.into_iter().zip(logs) {
        let own = Arc::new(Agents::new(runner.clone()).beside(agents.clone(), &name));
        let served = company(&config, runner, own, Vec::new(), (log, clock)).await.map_err(|e| of_tenant(&name, &path, &e))?;
        companies.push((name, served));
    }
    let known = companies.iter().map(|(name, company)| Tenant { name: name.clone(), app: company.app.clone() }).collect();
    let mut all = vec![company(&config, runner, agents, known, (own_log, clock)).await?];
    all.extend(companies.into_iter().map(|(_, company)| company));
    let listener = listen(config.listen.address).await?;
    let own = all.first().map(|company| company.app.runner.clone());
    let (calls, policy) = own.map_or_else(Default::default, |own| (own.live_count(), own.policy().version().to_owned()));
    tracing::info!(address = %listener.local_addr()?, companies = all.len(), calls, policy, "serving");
    run_server(all, listener, stop()).await?;
    tracing::info!("stopped; every call is on record and goes on at the next start");
    Ok(ExitCode::SUCCESS)
}

fn warn(config: &Config, tenant: &str) {
    for f in config.examine().into_iter().filter(|f| f.severity == countersign_server::config::Severity::Missing) {
        tracing::warn!(tenant, setting = f.setting, "{}", f.text);
    }
}

/// Megabytes of a record from which on reading it takes longer than somebody at a terminal expects.
const LARGE: u64 = 256;

fn of_tenant(name: &str, path: &Path, e: &Failure) -> String { format!("[[tenants]] {name} ({}): {e}", path.display()) }

/// Whether what is kept of a company may be served: no page of a file is damaged, the log is what was signed, and
/// nobody has seen more of it.
async fn whole(config: &Config, runner: &Runner) -> Result<Log, Failure> {
    // A file has no server that watches over its pages: nothing is served out of a damaged one.
    let size = config.store.path.as_ref().and_then(|path| path.metadata().ok()).map_or(0, |file| file.len() >> 20);
    if size >= LARGE && !runner.store.is_shared() {
        tracing::info!(megabytes = size, "reading the whole record for damaged pages before it is served");
    }
    for store in [&runner.store, &runner.customers.keys] {
        if !store.is_shared() {
            store.verify().await.map_err(|e| format!("{e}. Nothing is served from it: move the file away, and put the latest backup in its place"))?;
        }
    }
    let log = Log::new(Sequencer::new(config.log_origin()), Witnesses::new(config.log_witnesses()?)?, config.log.memory.clone());
    log.check(runner).await.map_err(|e| format!("{e}. Nothing is served from it"))?;
    Ok(log)
}

/// One company of a configuration, with its calls taken up again.
async fn company(
    config: &Config, runner: Arc<Runner>, agents: Arc<Agents>, tenants: Vec<Tenant>, (log, clock): (Log, Option<Arc<SharedClock>>),
) -> Result<Served, Failure> {
    agents.refresh().await?;
    let name = Company { name: config.company.name.clone(), fraud_line: config.company.fraud_line.clone(), link_base: config.listen.public_url.clone() };
    let texts = Arc::new(Texts::with_words(name, config.company.words.as_deref())?.with_codes(runner.vault.pepper.clone()));
    let (mut providers, twilio) = providers(config, &agents, runner.clock())?;
    if let Some(twilio) = &twilio {
        runner.hub.register(twilio_voice::NAME, twilio.clone());
    }
    let sip = match &config.sip {
        Some(at) => {
            let (names, phones) = (agents.clone(), at.agent_phones.clone().into_iter().collect());
            let own = config.stir.as_ref().map(|at| at.numbers.clone()).unwrap_or_default();
            let origid = stir::config::origid(runner.vault.index.blind("stir", "origin").0);
            let signs = config.stir.as_ref().map(|at| at.signs(origid)).transpose().map_err(|e| format!("[stir] {e}"))?.flatten();
            let sip = Sip::new(texts.clone(), at.voice().map_err(|e| format!("[sip] prompts: {e}"))?, phones, at.trust_asserted, at.national.clone(), move |id| names.name(id));
            let sip = Arc::new(sip.reached_at(own).calling(at.out.as_ref().map(|out| sip::config::calls_out(out, signs))));
            runner.hub.register(sip::NAME, sip.clone());
            if at.out.is_some() {
                // Before Twilio: whoever sets it up wants calls to go this way.
                providers.insert(0, Arc::new(Rings(sip.clone())));
            }
            Some((sip, at.settings()?))
        }
        None => None,
    };
    let switches = Switches::new(config, &texts, &agents, &runner.hub)?;
    let made = lines::make(config, &runner, &texts, &agents)?;
    let rings = match made.rings {
        _ if config.sip.as_ref().is_some_and(|at| at.out.is_some()) => Some(sip::NAME),
        _ if twilio.is_some() => Some(twilio_voice::NAME),
        Some((name, provider)) => {
            providers.push(provider);
            Some(name)
        }
        None => None,
    };
    // Before Twilio, as SIP is.
    let rings = match switches.rings() {
        Some((name, provider)) if rings != Some(sip::NAME) => {
            providers.insert(0, provider);
            Some(name)
        }
        _ => rings,
    };
    let push = Arc::new(Push::new(runner.clone(), config.push.rules(), &config.listen.public_url)?);
    if let Some(at) = &config.voice {
        runner.listens(Arc::new(Voices::load(at)?));
    }
    let (sign_in, upstream) = openid(config, &runner)?;
    let oauth = OAuth::new(&config.listen.public_url, &config.oauth_clients)?;
    let intel = intel(config, &runner)?;
    runner.watch.limit(config.risk.agents);
    let stir = config.stir.as_ref().map(|at| at.checker()).transpose().map_err(|e| format!("[stir] {e}"))?.flatten().map(Arc::new);
    let recorder = config.recording.as_ref().map(|at| at.recorder()).transpose().map_err(|e| format!("[recording] {e}"))?.map(Arc::new);
    let app = App(Arc::new(Parts {
        runner: runner.clone(), agents, tenants, texts: texts.clone(), public_url: config.listen.public_url.clone(),
        deny_numbers: config.deny_numbers.clone(), api: config.api.clone(), oauth: oauth.clone(), push: push.clone(), sign_in, upstream: upstream.clone(),
        stir, recorder, rings,
        app_number: config.app_number().cloned(), twilio, lines: made.lines, demo: false, demo_people: Vec::new(),
        handsets: None,
    }));
    runner.refresh_policies().await?;
    let resumed = runner.resume().await?;
    tracing::info!(company = app.company(), calls = resumed, policy = runner.policy().version(), "taken up");
    let mut outbox = Outbox::new(runner.clone(), texts, providers).with(Arc::new(push::Shared(push))).with(Arc::new(Errands::new(runner.clone(), upstream)))
        .with(Arc::new(RingBack::new(runner.clone(), rings)));
    if let Some(intel) = intel {
        outbox = outbox.with(Arc::new(intel));
    }
    if let Some(oauth) = oauth {
        outbox = outbox.with(Arc::new(oauth.courier(runner)?));
    }
    let gateway = match sip {
        Some((sip, settings)) => {
            let gateway = sip.start(app.clone(), settings).await.map_err(|e| format!("[sip] {e}"))?;
            tracing::info!(address = %gateway.address(), "telephones may call");
            Some(gateway)
        }
        None => None,
    };
    switches.start(&app).await?;
    Ok(Served { app, outbox, log: Some(log), retention: config.retention.clone(), gateway, clock })
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|e| format!("cannot listen on {address}: {e}. Is another program using the port? Choose one with --port or listen.address").into())
}

type Portal = (Option<Arc<SignIn>>, Option<Arc<Upstream>>);

/// The company's OpenID provider, for sign-in and for questions during calls.
fn openid(config: &Config, runner: &Arc<Runner>) -> Result<Portal, Failure> {
    let clock: Clock = runner.clock();
    let connect = |section: &str, issuer: &str, client_id: &str, secret: Option<countersign_core::secret::Secret>| {
        let client_secret = secret.ok_or_else(|| format!("{section}.client_secret_file is missing: name it, or set COUNTERSIGN_{}_SECRET", section.to_uppercase()))?;
        let registration = Registration { issuer: issuer.into(), client_id: client_id.into(), client_secret };
        OpenId::new(registration, clock.clone()).map(Arc::new).map_err(|e| format!("[{section}] {e}"))
    };
    let sign_in = match &config.sign_in {
        Some(at) => {
            let secret = read_secret("COUNTERSIGN_SIGN_IN_SECRET", at.client_secret_file.as_deref())?;
            let openid = connect("sign_in", &at.issuer, &at.client_id, secret)?;
            Some(Arc::new(SignIn { openid, name: at.name.clone(), claim: at.claim.clone(), scopes: scope(&at.scopes), acr_values: at.acr_values.clone() }))
        }
        None => None,
    };
    let upstream = match &config.provider {
        Some(at) => {
            let secret = read_secret("COUNTERSIGN_PROVIDER_SECRET", at.client_secret_file.as_deref())?;
            let openid = connect("provider", &at.issuer, &at.client_id, secret)?;
            let questions = Questions { hint: at.login_hint, scope: scope(&at.scopes), acr_values: at.acr_values.clone() };
            let upstream = Arc::new(Upstream::new(runner.clone(), openid, questions));
            runner.attests(countersign_core::factor::FactorKind::Provider, upstream.clone());
            Some(upstream)
        }
        None => None,
    };
    Ok((sign_in, upstream))
}

/// Whoever knows numbers.
fn intel(config: &Config, runner: &Arc<Runner>) -> Result<Option<Intel>, Failure> {
    let Some(settings) = &config.number_intelligence else { return Ok(None) };
    let provider = settings.provider(config.twilio.as_ref()).map_err(|e| format!("[number_intelligence] {e}"))?;
    Ok(provider.map(|provider| Intel::new(runner.clone(), provider, settings.usage())))
}

/// The demo's: one number that nobody has, whose SIM changed six hours ago.
fn demo_intel(runner: &Arc<Runner>) -> Intel {
    let swapped = Known { sim: Sim::At(system_clock() - Span::hours(6)), ..Known::default() };
    let rows = countersign_core::secret::E164::parse(demo::SWAPPED_SIM).map(|number| (number, swapped));
    let settings = Use { on_failure: OnFailure::Ignore, cache: Span(0), sim_lately: Span::hours(72) };
    Intel::new(runner.clone(), Arc::new(Listed::of(rows)), settings)
}

type Wired = (Vec<Arc<dyn Provider>>, Option<Arc<Twilio>>);

fn providers(config: &Config, agents: &Arc<Agents>, clock: Clock) -> Result<Wired, Failure> {
    let mut out: Vec<Arc<dyn Provider>> = Vec::new();
    if let Some(messages) = &config.messages {
        let secret = read_secret("COUNTERSIGN_MESSAGES_SECRET", Some(&messages.secret_file))?.unwrap_or_default();
        let channels = vec![Channel::Sms, Channel::Voice];
        out.push(Arc::new(Http::new(HttpConfig { url: messages.url.clone(), secret, channels, timeout: Span::seconds(10) }, clock.clone())?));
    }
    if let Some(mail) = &config.mail {
        let login = match &mail.user {
            Some(user) => {
                let password = read_secret("COUNTERSIGN_MAIL_PASSWORD", mail.password_file.as_deref())?;
                Some((user.clone(), password.ok_or("mail.password_file is missing: name it, or set COUNTERSIGN_MAIL_PASSWORD")?))
            }
            None => None,
        };
        let tls = smtp::Tls::for_server(&mail.host, mail.port);
        let smtp = SmtpConfig { host: mail.host.clone(), port: mail.port, tls, from: mail.from.clone(), login, timeout: smtp::TIMEOUT };
        out.push(Arc::new(Smtp::new(smtp, clock)?));
    }
    let mut voice = None;
    if let Some(t) = &config.twilio {
        let token = read_secret("COUNTERSIGN_TWILIO_TOKEN", t.auth_token_file.as_deref())?;
        let token = token.ok_or("twilio.auth_token_file is missing: name it, or set COUNTERSIGN_TWILIO_TOKEN")?;
        let rest = Arc::new(twilio::Twilio::new(TwilioConfig {
            account_sid: t.account_sid.clone(), auth_token: token.clone(), from: t.from.clone(),
            base_url: t.base_url.clone().unwrap_or_else(|| twilio::BASE_URL.into()),
            status_url: Some(format!("{}/twilio/message", config.listen.public_url)), timeout: twilio::TIMEOUT,
        })?);
        out.push(rest.clone());
        let names = agents.clone();
        let phones = t.agent_phones.clone().into_iter().collect();
        voice = Some(Arc::new(Twilio::new(token, rest, config.listen.public_url.clone(), phones, move |id| names.name(id)).streaming(t.streams)));
    }
    Ok((out, voice))
}

/// `demo`: everything on this machine, with a record that is gone afterwards unless a file is named for it.
pub async fn demo(port: u16, store: Option<PathBuf>) -> Result<ExitCode, Failure> {
    if std::env::var_os("COUNTERSIGN_LOG").is_some() {
        log();
    }
    let kept = store.as_ref().map(|file| file.display().to_string());
    let scratch = Scratch::new(store)?;
    let mut master = [0; 32];
    getrandom::fill(&mut master).map_err(|e| format!("the operating system gives no randomness: {e}"))?;
    let vault = Arc::new(Vault::new(&master));
    let store = Store::sqlite(&scratch.file, Options::default())?;
    let metrics = Arc::new(Metrics::default());
    // Cooling off for a week would hide half of the story in five minutes of play.
    let params = Params { cooling_off: Span::minutes(2), ..Params::default() };
    let customers = Arc::new(Customers::over(Store::memory(), Vault::new(&master)));
    let runner = Arc::new(Runner::new(store, (vault, customers), policy::configured(None)?, params, Arc::new(Hub::default()), metrics, system_clock));
    let agents = Arc::new(Agents::new(runner.clone()));
    let people = demo::seed(&runner, &agents).await.map_err(|e| format!("the demo's record is not empty, or cannot be written: {e}"))?;
    let listener = listen(SocketAddr::from(([127, 0, 0, 1], port))).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let company = demo::company(&url);
    let texts = Arc::new(Texts::load(company)?.with_codes(runner.vault.pepper.clone()));
    let handsets = Arc::new(handset::Handsets::new(texts.clone()));
    runner.hub.register(handset::NAME, handsets.clone());
    let names = agents.clone();
    let sip = Arc::new(Sip::new(texts.clone(), Voice::new(None, Vec::new()), Default::default(), false, Some("+1".into()), move |id| names.name(id)));
    runner.hub.register(sip::NAME, sip.clone());
    // Nothing real is on this machine that a fictional customer could reach.
    let push = Arc::new(Push::new(runner.clone(), Rules { loopback: true, ..Rules::default() }, &url)?);
    let app = App(Arc::new(Parts {
        runner: runner.clone(), agents, tenants: Vec::new(), texts: texts.clone(), public_url: url.clone(), deny_numbers: Vec::new(), api: Vec::new(), oauth: None,
        push: push.clone(), sign_in: None, upstream: None, stir: None, recorder: None, twilio: None, lines: Default::default(), rings: Some(handset::NAME), app_number: None, demo: true, demo_people: people,
        handsets: Some(handsets.clone()),
    }));
    let gateway = telephone(&sip, &app).await?;
    let telephone = format!("sip:{}", gateway.address());
    #[cfg(feature = "softphone")]
    handsets.talk_by(Arc::new(countersign_server::telephony::softphone::Softphone::start(gateway.address(), sip.clone()).await?));
    let inbox = handset::Inbox { handsets, now: Arc::new(system_clock) };
    let outbox = Outbox::new(runner.clone(), texts, vec![Arc::new(inbox)]).with(Arc::new(push::Shared(push)))
        .with(Arc::new(demo_intel(&runner))).with(Arc::new(RingBack::new(runner, Some(handset::NAME))));
    anstream::println!("{GOOD}Countersign demo{GOOD:#} — fictional people, on this machine only (127.0.0.1). One click signs in.\n");
    for (what, path, why) in [
        ("Start here", "/", "a walk-through of five minutes"),
        ("Handset", "/handset", "be the caller: dial, keys, texts"),
        ("Desk", "/desk", "be the agent or the specialist"),
        ("Portal", "/me", "be the customer, signed in"),
        ("Admin", "/admin", "be the lead: alerts, record, policies"),
    ] {
        anstream::println!("  {STRONG}{what:<11}{STRONG:#} {url}{path:<10} {DIM}{why}{DIM:#}");
    }
    anstream::println!("  {STRONG}{:<11}{STRONG:#} {telephone:<32} {DIM}call it with any SIP phone, as +12025550142 for Ana{DIM:#}", "Telephone");
    let afterwards = match kept {
        // The key is made anew for each demo and written nowhere.
        Some(file) => format!("the record stays in {file}, without the key to what is sealed in it"),
        None => "the record is gone afterwards".into(),
    };
    anstream::println!("\n{WARN}Not for real use{WARN:#}: no passwords, and {afterwards}. Ctrl-C stops it.");
    let log = Log::new(Sequencer::new("localhost/log".into()), Witnesses::new(Vec::new())?, None);
    run_server(vec![Served { app, outbox, log: Some(log), retention: Retention::default(), gateway: Some(gateway), clock: None }], listener, stop()).await?;
    drop(scratch);
    Ok(ExitCode::SUCCESS)
}

/// The demo's telephone line, on this machine only: the usual port, or any.
async fn telephone(sip: &Arc<Sip>, app: &App) -> Result<Gateway, Failure> {
    let at = |port| {
        let mut settings = Settings::new(SocketAddr::from(([127, 0, 0, 1], port)));
        settings.peers = "127.0.0.0/8".parse().into_iter().collect();
        settings
    };
    match sip.start(app.clone(), at(5060)).await {
        Ok(gateway) => Ok(gateway),
        Err(_) => Ok(sip.start(app.clone(), at(0)).await?),
    }
}

/// The demo's record: a temporary folder that goes with it, or a file of the person's choice.
struct Scratch {
    file: PathBuf,
    folder: Option<PathBuf>,
}

impl Scratch {
    fn new(file: Option<PathBuf>) -> Result<Self, Failure> {
        if let Some(file) = file {
            return Ok(Self { file, folder: None });
        }
        let folder = std::env::temp_dir().join(format!("countersign-demo-{}", std::process::id()));
        // Never into a folder that somebody else prepared.
        std::fs::create_dir(&folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
        Ok(Self { file: folder.join("demo.db"), folder: Some(folder) })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder
            && let Err(e) = std::fs::remove_dir_all(folder)
        {
            anstream::eprintln!("{BAD}cannot remove {}:{BAD:#} {e}", folder.display());
        }
    }
}

/// A limit on the size of files (RLIMIT_FSIZE) sends a signal that ends a program which does not know it.
/// Once somebody listens, the write fails instead, the commit is refused, and the record is whole.
fn outlive_quotas() {
    /// SIGXFSZ, on Linux and its relatives.
    #[cfg(unix)]
    const TOO_LARGE: i32 = 25;
    #[cfg(unix)]
    if let Ok(mut signal) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(TOO_LARGE)) {
        tokio::spawn(async move {
            while signal.recv().await.is_some() {
                tracing::error!("a file of the record may not grow any more: look at the limits of this process");
            }
        });
    }
}

/// Done when the person or the system asks to stop.
pub async fn stop() {
    let terminate = async {
        #[cfg(unix)]
        if let Ok(mut signal) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            signal.recv().await;
            return;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminate => {}
    }
}
