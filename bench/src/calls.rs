//! Whole calls: the caller's side as Twilio would carry it, and the agent's side as the desk's page does.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet, VecDeque},
    rc::Rc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tokio::{
    sync::{Notify, mpsc::UnboundedReceiver, oneshot},
    task::{JoinHandle, spawn_local},
    time::{sleep, timeout},
};

use crate::{
    Fail,
    http::Client,
    otp,
    process::{self, Memory},
    site::{Customer, Server, Site},
    stats::{Recorder, Spread},
    twilio::{Rest, webhook},
};

/// How long one side waits for the other before the call counts as failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// Every so many calls something is carried out, and the customer gets a text afterwards.
const REFUNDS: u64 = 10;

/// How much is asked of the server.
#[derive(Clone, Copy)]
pub struct Load {
    /// Calls at a time.
    pub calls: usize,
    pub warm_up: Duration,
    pub length: Duration,
    /// How often somebody looks at the list of waiting calls.
    pub refresh: Duration,
}

/// Customers in turn. A time step counts once for each, so each can prove twice in half a minute.
pub struct Customers {
    last: Vec<u64>,
    next: usize,
}

impl Customers {
    pub fn new(count: u32) -> Self { Self { last: vec![0; count as usize], next: 0 } }

    /// A customer who can prove now, with their code.
    fn take(&mut self) -> Option<(Customer, String)> {
        let present = otp::step();
        for _ in 0..self.last.len() {
            let n = self.next;
            self.next = (n + 1) % self.last.len();
            let last = self.last.get_mut(n)?;
            let step = present.max(*last + 1);
            if step <= present + 1 {
                *last = step;
                let customer = Customer(u32::try_from(n).ok()?);
                return Some((customer, otp::code(&customer.totp(), step)));
            }
        }
        None
    }
}

/// Both sides, on one thread.
pub struct Floor {
    site: Rc<Site>,
    rest: Rc<Rest>,
    customers: Rc<RefCell<Customers>>,
    recorder: Recorder,
    /// Tells the calls of this run from those of others.
    run: u128,
    started: Cell<u64>,
    taken: Cell<u64>,
    stopped: Cell<bool>,
    waiting: RefCell<VecDeque<String>>,
    somebody_waits: Notify,
    /// Agents who have a call and listen for who it is.
    greetings: RefCell<HashMap<String, oneshot::Sender<Customer>>>,
}

/// One telephone on the line.
struct Caller<'a> {
    line: &'a mut Client,
    sid: String,
    number: String,
    moves: UnboundedReceiver<String>,
}

impl Floor {
    pub fn new(site: Rc<Site>, rest: Rc<Rest>, customers: Rc<RefCell<Customers>>) -> Rc<Self> {
        let run = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
        Rc::new(Self {
            site, rest, customers, recorder: Recorder::new(), run, started: Cell::default(), taken: Cell::default(), stopped: Cell::default(),
            waiting: RefCell::default(), somebody_waits: Notify::new(), greetings: RefCell::default(),
        })
    }

    /// Callers and agents for a while; what it came to.
    pub async fn load(self: &Rc<Self>, server: &Server, load: Load, cookies: &[String]) -> Result<Value, Fail> {
        let callers: Vec<_> = (0..load.calls).map(|_| spawn_local(self.clone().caller())).collect();
        let others = self.desk(cookies, load.refresh)?;
        sleep(load.warm_up).await;
        self.recorder.open(load.length);
        let (began, server_cpu, own_cpu) = (Instant::now(), process::cpu(server.pid()), process::cpu(std::process::id()));
        sleep(load.length).await;
        let seconds = began.elapsed().as_secs_f64();
        let (server_cpu, own_cpu) = (process::cpu(server.pid()) - server_cpu, process::cpu(std::process::id()) - own_cpu);
        let memory = process::memory(server.pid());
        self.stopped.set(true);
        for caller in callers {
            caller.await?;
        }
        others.iter().for_each(JoinHandle::abort);
        Ok(self.report(load.calls, cookies.len(), seconds, (server_cpu, own_cpu), memory))
    }

    /// A number of calls, few at a time; some before them are not measured.
    pub async fn some(self: &Rc<Self>, server: &Server, (warm_up, count): (usize, usize), load: Load, cookies: &[String]) -> Result<Value, Fail> {
        let others = self.desk(cookies, load.refresh)?;
        self.take_turns(warm_up, load.calls).await?;
        // For ever: it ends with the last call.
        self.recorder.open(Duration::from_secs(86_400));
        let (began, server_cpu, own_cpu) = (Instant::now(), process::cpu(server.pid()), process::cpu(std::process::id()));
        self.take_turns(count, load.calls).await?;
        let seconds = began.elapsed().as_secs_f64();
        let (server_cpu, own_cpu) = (process::cpu(server.pid()) - server_cpu, process::cpu(std::process::id()) - own_cpu);
        let memory = process::memory(server.pid());
        others.iter().for_each(JoinHandle::abort);
        Ok(self.report(load.calls, cookies.len(), seconds, (server_cpu, own_cpu), memory))
    }

    /// Agents, and somebody who looks at the list.
    fn desk(self: &Rc<Self>, cookies: &[String], refresh: Duration) -> Result<Vec<JoinHandle<()>>, Fail> {
        let mut others: Vec<JoinHandle<()>> = cookies.iter().map(|cookie| spawn_local(self.clone().agent(cookie.clone()))).collect();
        let looks = cookies.first().cloned().ok_or("nobody is at the desk: one agent at least")?;
        others.push(spawn_local(self.clone().watch(looks, refresh)));
        Ok(others)
    }

    async fn take_turns(self: &Rc<Self>, count: usize, at_a_time: usize) -> Result<(), Fail> {
        let left = Rc::new(Cell::new(count));
        let callers: Vec<_> = (0..at_a_time).map(|_| {
            let (this, left) = (self.clone(), left.clone());
            spawn_local(async move {
                let mut line = Client::new(this.site.address);
                while left.get() > 0 {
                    left.set(left.get() - 1);
                    this.one(&mut line).await;
                }
            })
        }).collect();
        for caller in callers {
            caller.await?;
        }
        Ok(())
    }

    fn report(&self, at_a_time: usize, agents: usize, seconds: f64, (server_cpu, own_cpu): (f64, f64), memory: Memory) -> Value {
        let kinds = self.recorder.kinds();
        let durable = self.recorder.all_durable();
        let calls = kinds.get("whole call").copied().unwrap_or_default();
        let requests: usize = kinds.iter().filter(|(kind, _)| **kind != "whole call").map(|(_, s)| s.count).sum();
        json!({
            "calls_at_a_time": at_a_time, "agents": agents, "seconds": seconds,
            "calls_per_second": per(calls, seconds), "requests_per_second": requests as f64 / seconds,
            "durable_commands_per_second": per(durable, seconds), "durable": durable.json(),
            "by_request": kinds.iter().map(|(kind, s)| ((*kind).to_owned(), s.json())).collect::<serde_json::Map<_, _>>(),
            "errors": self.recorder.errors(), "texts": self.rest.texts.get(),
            "server_cores": server_cpu / seconds, "generator_cores": own_cpu / seconds,
            "server_microseconds_per_command": server_cpu * 1e6 / durable.count.max(1) as f64,
            "server_rss_mib": memory.rss, "server_anon_mib": memory.anon, "server_pss_mib": memory.pss,
        })
    }

    /// Durable commands from first to last: as many must be on record.
    pub fn durable(&self) -> u64 { self.recorder.durable.get() }

    /// Brings this many calls into the queue and leaves them there.
    pub async fn fill(self: &Rc<Self>, count: usize, at_a_time: usize) -> Result<(), Fail> {
        let left = Rc::new(Cell::new(count));
        let callers: Vec<_> = (0..at_a_time).map(|_| {
            let (this, left) = (self.clone(), left.clone());
            spawn_local(async move {
                let mut line = Client::new(this.site.address);
                while left.get() > 0 {
                    left.set(left.get() - 1);
                    let (customer, code) = this.customer().await;
                    let mut caller = this.dial(&mut line, customer);
                    if let Err(e) = this.to_the_queue(&mut caller, &code).await {
                        this.recorder.failed(format!("filling the queue: {e}"));
                        left.set(left.get() + 1);
                    }
                    let sid = caller.sid;
                    this.rest.over(&sid);
                    if this.recorder.errors().values().sum::<u64>() > 100 {
                        return;
                    }
                }
            })
        }).collect();
        for caller in callers {
            caller.await?;
        }
        match self.recorder.errors() {
            errors if errors.is_empty() => Ok(()),
            errors => Err(format!("not all calls came into the queue: {errors:?}").into()),
        }
    }

    async fn customer(&self) -> (Customer, String) {
        loop {
            let taken = self.customers.borrow_mut().take();
            if let Some(taken) = taken {
                return taken;
            }
            self.recorder.failed("no customer could prove just now: import more of them");
            sleep(Duration::from_millis(500)).await;
        }
    }

    fn dial<'a>(&self, line: &'a mut Client, customer: Customer) -> Caller<'a> {
        let n = self.started.get();
        self.started.set(n + 1);
        let sid = format!("CA{:016x}{n:016x}", self.run);
        let moves = self.rest.moves(&sid);
        Caller { line, sid, number: customer.number(), moves }
    }

    /// One telephone after the other, until it is enough.
    async fn caller(self: Rc<Self>) {
        let mut line = Client::new(self.site.address);
        while !self.stopped.get() {
            self.one(&mut line).await;
        }
    }

    async fn one(&self, line: &mut Client) {
        let (customer, code) = self.customer().await;
        let mut caller = self.dial(line, customer);
        let sid = caller.sid.clone();
        if let Err(e) = self.recorder.time("whole call", false, self.call(&mut caller, customer, &code)).await {
            self.recorder.failed(format!("caller: {e}"));
        }
        self.rest.over(&sid);
    }

    async fn call(&self, caller: &mut Caller<'_>, customer: Customer, code: &str) -> Result<(), Fail> {
        self.to_the_queue(caller, code).await?;
        let connected = self.moved(caller, "connected").await?;
        // The name of the conference begins with the call's own: `call_` and 32 digits.
        let call = between(&connected, "waitUrl=\"\">", "<").and_then(|name| name.get(..37)).ok_or("the caller was not put through")?;
        if let Some(agent) = self.greetings.borrow_mut().remove(call) {
            // An agent who gave up listens no more.
            let _ = agent.send(customer);
        }
        let over = self.moved(caller, "goodbye").await?;
        if !over.contains("<Hangup/>") {
            return Err("the call was not ended".into());
        }
        self.hook(caller, ("status", false), "/twilio/status", "completed", None).await.map(drop)
    }

    /// From the first ring to the queue.
    async fn to_the_queue(&self, caller: &mut Caller<'_>, code: &str) -> Result<(), Fail> {
        let greeting = self.hook(caller, ("voice", true), "/twilio/voice", "ringing", None).await?;
        let path = step_of(&greeting).ok_or("the greeting asks for nothing")?;
        let proved = self.hook(caller, ("code", true), &path, "in-progress", Some(code)).await?;
        let path = step_of(&proved).ok_or("the code led nowhere")?;
        let waiting = self.hook(caller, ("music", true), &path, "in-progress", Some("1")).await?;
        if waiting.contains("/twilio/resume") { Ok(()) } else { Err("the caller was not put into the queue".into()) }
    }

    /// Waits until the call is moved, and asks where to.
    async fn moved(&self, caller: &mut Caller<'_>, kind: &'static str) -> Result<String, Fail> {
        let path = timeout(PATIENCE, caller.moves.recv()).await.map_err(|_| format!("was never {kind}"))?;
        let path = path.ok_or("nobody moves calls any more")?;
        self.hook(caller, (kind, false), &path, "in-progress", None).await
    }

    /// One webhook.
    async fn hook(&self, caller: &mut Caller<'_>, (kind, durable): (&'static str, bool), path: &str, status: &str, digits: Option<&str>) -> Result<String, Fail> {
        let (body, signature) = webhook(self.site.signing(), path, &caller.sid, &caller.number, status, digits);
        self.recorder.time(kind, durable, async {
            let answer = caller.line.form(path, &[("x-twilio-signature", &signature)], &body).await?;
            if answer.ok() { Ok(answer.body.to_owned()) } else { Err(format!("{kind} was answered with {}: {}", answer.status, answer.body).into()) }
        }).await
    }

    /// Looks at the list of waiting calls, as everybody at the desk does, and shares them out.
    async fn watch(self: Rc<Self>, cookie: String, refresh: Duration) {
        let mut line = Client::new(self.site.address);
        let mut seen: HashSet<String> = HashSet::new();
        loop {
            let listed: Result<(), Fail> = self.recorder.time("list", false, async {
                let answer = line.get("/desk/list", &[("cookie", &cookie)]).await?;
                if !answer.ok() {
                    return Err(format!("the list was answered with {}", answer.status).into());
                }
                for id in answer.body.split("action=\"/desk/call/").skip(1).filter_map(|rest| rest.split_once("/accept").map(|(id, _)| id)) {
                    if id.len() < 60 && seen.insert(id.to_owned()) {
                        self.waiting.borrow_mut().push_back(id.to_owned());
                        self.somebody_waits.notify_one();
                    }
                }
                Ok(())
            }).await;
            if let Err(e) = listed {
                self.recorder.failed(format!("desk: {e}"));
            }
            sleep(refresh).await;
        }
    }

    /// One call after the other.
    async fn agent(self: Rc<Self>, cookie: String) {
        let mut line = Client::new(self.site.address);
        loop {
            let next = self.waiting.borrow_mut().pop_front();
            match next {
                None => self.somebody_waits.notified().await,
                Some(id) => {
                    if let Err(e) = self.serve(&mut line, &cookie, &id).await {
                        self.recorder.failed(format!("agent: {e}"));
                    }
                    self.greetings.borrow_mut().remove(&id);
                }
            }
        }
    }

    /// What an agent does with a call: takes it, compares two things, looks at two, asks policy.
    async fn serve(&self, line: &mut Client, cookie: &str, id: &str) -> Result<(), Fail> {
        let n = self.taken.get();
        self.taken.set(n + 1);
        let (tell, told) = oneshot::channel();
        self.greetings.borrow_mut().insert(id.to_owned(), tell);
        let mut desk = Desk { floor: self, line, cookie, id, n: 0 };
        desk.act("accept", "accept", "", "data-level=\"authenticated\"").await?;
        let customer = timeout(PATIENCE, told).await.map_err(|_| "nobody was on the line")??;
        desk.act("compare", "heard", &format!("what=postal_code&value={}", customer.postal_code()), "Match.").await?;
        desk.act("compare", "heard", &format!("what=order_number&value={}", customer.order()), "Match.").await?;
        desk.act("reveal", "reveal", "field=name", &customer.name()).await?;
        desk.act("reveal", "reveal", "field=orders", &customer.order()).await?;
        desk.act("request", "request", "action=do%3Arequest_refund", "Permitted now.").await?;
        if n.is_multiple_of(REFUNDS) {
            desk.act("perform", "perform", "action=do%3Arequest_refund", "Done.").await?;
        }
        desk.act("end", "end", "", "").await
    }
}

/// One agent with one call.
struct Desk<'a> {
    floor: &'a Floor,
    line: &'a mut Client,
    cookie: &'a str,
    id: &'a str,
    n: u32,
}

impl Desk<'_> {
    /// One command as the page sends it: the answer is the whole panel, and shows what came of it.
    async fn act(&mut self, kind: &'static str, verb: &str, form: &str, shows: &str) -> Result<(), Fail> {
        self.n += 1;
        let (path, body) = (format!("/desk/call/{}/{verb}", self.id), format!("command={}-{}&{form}", self.id, self.n));
        self.floor.recorder.time(kind, true, async {
            let headers = [("cookie", self.cookie), ("sec-fetch-site", "same-origin"), ("hx-request", "true")];
            let answer = self.line.form(&path, &headers, body.trim_end_matches('&')).await?;
            match answer.ok() {
                true if answer.body.contains(shows) => Ok(()),
                true => Err(format!("{verb} did not show {shows:?}").into()),
                false => Err(format!("{verb} was answered with {}", answer.status).into()),
            }
        }).await
    }
}

fn per(spread: Spread, seconds: f64) -> f64 { spread.count as f64 / seconds }

/// Where the keys that are asked for go.
pub fn step_of(twiml: &str) -> Option<String> {
    let query = between(twiml, "/twilio/step?", "\"")?;
    Some(format!("/twilio/step?{}", query.replace("&amp;", "&")))
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> { text.split_once(before)?.1.split_once(after).map(|(found, _)| found) }
