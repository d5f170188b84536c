//! Callers at a steady rate, whatever happens to the nodes. Each is carried as Twilio carries calls: what one
//! node does not answer is sent to the next, the same request again.

use std::{
    cell::{Cell, Ref, RefCell},
    collections::BTreeMap,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::{
    sync::mpsc::UnboundedReceiver,
    task::spawn_local,
    time::{interval, sleep, timeout},
};

use super::{Dice, receiver::Receiver};
use crate::{Fail, calls::step_of, http::Client, otp, site::Customer, twilio::webhook};

/// How long a node has for its answer before the next is asked. Twilio gives fifteen seconds.
const ANSWER: Duration = Duration::from_secs(5);
/// How long all nodes together have.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two rounds over all nodes.
const PAUSE: Duration = Duration::from_millis(50);
/// What a caller hears whose code was right, and nobody else.
const ACCEPTED: &str = "that was accepted";
/// Of so many callers with an app, one code is keyed once more, on a call after that.
const OVERHEARD: u64 = 5;

/// Who calls, and how.
#[derive(Clone, Copy)]
pub struct Load {
    /// Calls that begin in a second.
    pub rate: u32,
    /// For how long they do.
    pub length: Duration,
    /// Of so many callers one is texted a code; the others have an app.
    pub one_texted_of: u64,
    /// How long that one waits for it.
    pub waits: Duration,
    /// Every request goes to two nodes at once.
    pub twice: bool,
}

/// What a caller was told on one call: it has to be on record.
pub struct Told {
    pub customer: u32,
    /// How many events the call had, by the last answer that says it.
    pub events: u64,
    /// The end was taken.
    pub over: bool,
}

/// What was seen since somebody last looked.
#[derive(Default)]
pub struct Seen {
    /// Microseconds from a request to the answer of whichever node, of every command that was answered.
    pub times: Vec<u32>,
    /// The same from the first answer of a call to the text that it promises.
    pub waits: Vec<u32>,
    /// Commands that were answered while calls still began.
    pub during: u64,
    pub calls: u64,
    /// Callers whose code was accepted.
    pub accepted: u64,
    /// Codes that were keyed a second time, and those of them that were accepted.
    pub overheard: (u64, u64),
    /// Texts that somebody waited for in vain.
    pub in_vain: u64,
    /// Requests to two nodes that gave two answers.
    pub differing: u64,
    pub errors: BTreeMap<String, u64>,
    /// The longest time in which somebody waited and nobody was answered.
    pub longest: Duration,
    waiting: u32,
    since: Option<Instant>,
    until: Option<Instant>,
}

impl Seen {
    fn asks(&mut self) {
        if self.waiting == 0 {
            self.since = Some(Instant::now());
        }
        self.waiting += 1;
    }

    fn answered(&mut self, began: Instant, good: bool) {
        let now = Instant::now();
        self.waiting = self.waiting.saturating_sub(1);
        if good {
            self.longest = self.longest.max(self.since.map_or(Duration::ZERO, |since| now - since));
            self.since = Some(now);
            self.times.push(micros(began));
            self.during += u64::from(self.until.is_some_and(|until| now < until));
        }
    }
}

fn micros(since: Instant) -> u32 { u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX) }

/// All callers of the run. Each customer calls once, but for those whose code somebody overheard.
pub struct Callers {
    signing: &'static str,
    nodes: Vec<SocketAddr>,
    receiver: Rc<Receiver>,
    dice: Dice,
    /// Tells the calls of this run from those of others.
    run: u128,
    dialled: Cell<u64>,
    /// The next customers with an app, and the next who are texted: each with where they end.
    with_app: Cell<(u32, u32)>,
    texted: Cell<(u32, u32)>,
    seen: RefCell<Seen>,
    told: RefCell<Vec<Told>>,
}

/// Where the code of a call comes from.
enum Code {
    App,
    Texted(UnboundedReceiver<String>, Duration),
    /// Somebody else's, from their call.
    Overheard(String),
}

/// One telephone on the line.
struct Caller {
    customer: Customer,
    sid: String,
    lines: Vec<Client>,
    /// Where the same requests go at the same time, if they do.
    others: Option<Vec<Client>>,
    told: Told,
}

struct Request<'a> {
    path: &'a str,
    body: &'a str,
    signature: &'a str,
}

impl Callers {
    /// Customers below `with_app` have one, those from there to `all` are texted.
    pub fn new(signing: &'static str, nodes: Vec<SocketAddr>, receiver: Rc<Receiver>, with_app: u32, all: u32) -> Rc<Self> {
        let run = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
        Rc::new(Self {
            signing, nodes, receiver, dice: Dice::new(1), run, dialled: Cell::default(), with_app: Cell::new((0, with_app)), texted: Cell::new((with_app, all)),
            seen: RefCell::default(), told: RefCell::default(),
        })
    }

    /// What was seen since this was last asked for. Ask while nobody calls.
    pub fn seen(&self) -> Seen { self.seen.take() }

    /// What was told on all calls of the run.
    pub fn told(&self) -> Ref<'_, Vec<Told>> { self.told.borrow() }

    /// Calls begin at a steady rate, whatever becomes of those before; it ends with the last of them.
    pub async fn call(self: Rc<Self>, load: Load) -> Result<(), Fail> {
        let until = Instant::now() + load.length;
        self.seen.borrow_mut().until = Some(until);
        let mut beat = interval(Duration::from_secs(1) / load.rate.max(1));
        let mut all = Vec::new();
        for n in 0u64.. {
            beat.tick().await;
            if Instant::now() >= until {
                break;
            }
            let texted = n.is_multiple_of(load.one_texted_of);
            let customer = self.next(if texted { &self.texted } else { &self.with_app })?;
            all.push(spawn_local(self.clone().one(n, customer, texted, load)));
        }
        for one in all {
            one.await?;
        }
        Ok(())
    }

    fn next(&self, of: &Cell<(u32, u32)>) -> Result<Customer, Fail> {
        let (next, end) = of.get();
        if next >= end {
            return Err("all customers have called: there have to be more of them".into());
        }
        of.set((next + 1, end));
        Ok(Customer(next))
    }

    async fn one(self: Rc<Self>, n: u64, customer: Customer, texted: bool, load: Load) {
        // Before the call begins: the text may be faster than the answer.
        let code = if texted { Code::Texted(self.receiver.expects(&customer.number()), load.waits) } else { Code::App };
        let keyed = self.through(customer, code, load.twice).await;
        if let Some(code) = keyed.filter(|_| !texted && n.is_multiple_of(OVERHEARD)) {
            self.through(customer, Code::Overheard(code), load.twice).await;
        }
    }

    /// A call from its ring to its end: the code, if one was accepted.
    async fn through(&self, customer: Customer, code: Code, twice: bool) -> Option<String> {
        self.seen.borrow_mut().calls += 1;
        let mut caller = self.dial(customer, twice);
        let overheard = matches!(code, Code::Overheard(_));
        let keyed = match self.carry(&mut caller, code).await {
            Ok(keyed) => keyed,
            Err(e) => {
                *self.seen.borrow_mut().errors.entry(e.to_string()).or_default() += 1;
                None
            }
        };
        let mut seen = self.seen.borrow_mut();
        if overheard {
            seen.overheard.0 += 1;
            seen.overheard.1 += u64::from(keyed.is_some());
        } else {
            seen.accepted += u64::from(keyed.is_some());
        }
        self.told.borrow_mut().push(caller.told);
        keyed
    }

    async fn carry(&self, caller: &mut Caller, code: Code) -> Result<Option<String>, Fail> {
        let greeting = self.hook(caller, "/twilio/voice", "ringing", None).await?;
        let path = step_of(&greeting).ok_or("the greeting asks for nothing")?;
        let code = match code {
            Code::App => Some(otp::code(&caller.customer.totp(), otp::step())),
            Code::Overheard(code) => Some(code),
            Code::Texted(mut texts, patience) => {
                let began = Instant::now();
                let text = timeout(patience, texts.recv()).await.ok().flatten();
                let mut seen = self.seen.borrow_mut();
                if text.is_some() { seen.waits.push(micros(began)) } else { seen.in_vain += 1 }
                text
            }
        };
        let mut keyed = None;
        if let Some(code) = code {
            let said = self.hook(caller, &path, "in-progress", Some(&code)).await?;
            if said.contains(ACCEPTED) {
                let path = step_of(&said).ok_or("the code led nowhere")?;
                self.hook(caller, &path, "in-progress", Some("1")).await?;
                keyed = Some(code);
            }
        }
        self.hook(caller, "/twilio/status", "completed", None).await?;
        caller.told.over = true;
        Ok(keyed)
    }

    fn dial(&self, customer: Customer, twice: bool) -> Caller {
        let n = self.dialled.get();
        self.dialled.set(n + 1);
        let lines = || self.nodes.iter().map(|node| Client::new(*node)).collect::<Vec<_>>();
        Caller {
            customer, sid: format!("CA{:016x}{n:016x}", self.run), lines: lines(), others: twice.then(lines),
            told: Told { customer: customer.0, events: 0, over: false },
        }
    }

    /// One webhook, until a node has answered it.
    async fn hook(&self, caller: &mut Caller, path: &str, status: &str, digits: Option<&str>) -> Result<String, Fail> {
        let (body, signature) = webhook(self.signing, path, &caller.sid, &caller.customer.number(), status, digits);
        let request = Request { path, body: &body, signature: &signature };
        let first = usize::try_from(self.dice.throw(self.nodes.len() as u64))?;
        self.seen.borrow_mut().asks();
        let began = Instant::now();
        let answer = match &mut caller.others {
            None => insist(&mut caller.lines, first, &request).await,
            Some(others) => {
                let (one, other) = tokio::join!(insist(&mut caller.lines, first, &request), insist(others, first + 1, &request));
                self.seen.borrow_mut().differing += u64::from(one.is_ok() && other.is_ok() && one != other);
                one.and_then(|one| other.map(|_| one))
            }
        };
        self.seen.borrow_mut().answered(began, answer.is_ok());
        let answer = answer?;
        caller.told.events = caller.told.events.max(events(&answer));
        Ok(answer)
    }
}

/// Twilio's rule.
async fn insist(lines: &mut [Client], first: usize, request: &Request<'_>) -> Result<String, String> {
    let (began, nodes) = (Instant::now(), lines.len().max(1));
    let mut turn = 0;
    while began.elapsed() < PATIENCE {
        let line = lines.get_mut((first + turn) % nodes).ok_or("there are no nodes")?;
        let headers = [("x-twilio-signature", request.signature)];
        let asked = line.form(request.path, &headers, request.body);
        if let Ok(Ok(answer)) = timeout(ANSWER, asked).await {
            match answer.status {
                200..300 => return Ok(answer.body.to_owned()),
                500.. => {}
                // No node will say otherwise.
                status => return Err(format!("a webhook was answered with {status}: {}", answer.body)),
            }
        }
        turn += 1;
        if turn.is_multiple_of(nodes) {
            sleep(PAUSE).await;
        }
    }
    Err(format!("no node took a webhook within {} s", PATIENCE.as_secs()))
}

/// How many events a call has, by an answer: the next step is numbered by it.
fn events(answer: &str) -> u64 {
    let numbers = answer.split("?n=").skip(1).filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
    numbers.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_how_many_events_there_are() {
        assert_eq!(events("<Gather action=\"https://a.test/twilio/step?n=17\"/><Redirect>https://a.test/twilio/resume?n=17</Redirect>"), 17);
        assert_eq!(events("<Hangup/>"), 0);
    }

    #[test]
    fn a_silence_lasts_while_somebody_waits() {
        let mut seen = Seen::default();
        let began = Instant::now();
        seen.asks();
        std::thread::sleep(Duration::from_millis(20));
        seen.answered(began, true);
        assert!(seen.longest >= Duration::from_millis(20));
        let longest = seen.longest;
        // Nobody asks, nobody is kept waiting.
        std::thread::sleep(Duration::from_millis(40));
        seen.asks();
        seen.answered(Instant::now(), true);
        assert!(seen.longest < longest + Duration::from_millis(15), "{:?}", seen.longest);
    }
}
