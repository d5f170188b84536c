//! Every page as a function from data to HTML. Nothing here reads a store, a clock or a session.
//!
//! Desk pages are made of [`AgentView`] and [`QueueItem`] and nothing else of a customer. Templates
//! escape everything; there is no `safe` filter in them. They carry no inline script, style or
//! handler, so that the pages live under `Content-Security-Policy: default-src 'self'`.

use askama::Template;
use countersign_core::{
    action::{Action, Level, Role},
    factor::{FactorKind, Watchwords},
    id::{AccountId, AgentId, CallId, ChallengeId, ContactId},
    risk::Band,
    secret::Secret,
    time::Timestamp,
    view::{AgentView, QueueItem},
};

use crate::policies::Staged;

mod desk;
mod drills;
pub mod risk;
mod script;
mod security;
mod survey;
#[cfg(test)]
mod tests;
mod words;

pub use self::drills::drills;
pub use self::survey::{CallGrade, FactorLine, GradeView, NoteForm, NoteLine, Pick, SurveyView, Tallied, When, grade, survey};
pub use self::security::{PasskeyLine, RemoveView, SecurityView, SignInView, portal_codes, portal_remove, portal_security, portal_sign_in, portal_totp};

/// What is around every page.
#[derive(Debug, Clone, Copy)]
pub struct Shell<'a> {
    /// Whose pages these are.
    pub company: &'a str,
    /// Who is signed in at the desk, and as what.
    pub user: Option<(&'a str, Role)>,
    /// The demo runs: a banner says so.
    pub demo: bool,
}

/// How the last command went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlashKind {
    /// It worked, or it matches.
    Good,
    /// It did not, or it does not match.
    Bad,
    /// Neither.
    Info,
}

impl FlashKind {
    fn class(self) -> &'static str {
        match self { Self::Good => "good", Self::Bad => "bad", Self::Info => "info" }
    }
}

/// One message about the last command.
#[derive(Debug, Clone)]
pub struct Flash {
    /// How it went.
    pub kind: FlashKind,
    /// In words.
    pub text: String,
}

/// One line of the record.
#[derive(Debug, Clone)]
pub struct StoryLine {
    /// When.
    pub at: Timestamp,
    /// What happened.
    pub text: String,
}

/// One call on a list of the desk.
#[derive(Debug, Clone)]
pub struct Queued {
    /// As this agent may see it.
    pub item: QueueItem,
    /// Who has it.
    pub who: Option<String>,
    /// Whose call it is, at a desk that takes the calls of several companies.
    pub company: Option<String>,
}

/// One call in the middle of the desk.
#[derive(Debug, Clone)]
pub struct Seen {
    /// As this agent may see it.
    pub view: AgentView,
    /// Its record, as far as this agent may read it.
    pub story: Vec<StoryLine>,
    /// For whom it is answered, at a desk that takes the calls of several companies.
    pub company: Option<String>,
    /// What was carried out on a call that is over, also before its account was given up.
    pub done: Vec<Action>,
}

/// The desk: queue on the left, the call in the middle. `rings`: companies whose customers can be
/// rung, by their name in the configuration, and what they are called.
pub fn desk(shell: &Shell<'_>, now: Timestamp, items: &[Queued], current: Option<&Seen>, rings: &[(String, String)]) -> Result<String, askama::Error> {
    desk::Page {
        shell,
        now,
        list: desk::List::new(now, items, current.map(|seen| seen.view.call)),
        panel: current.map(|seen| desk::Panel::new(now, seen, None)),
        rings,
    }
    .render()
}

/// The queue alone: `#queue`.
pub fn desk_list(now: Timestamp, items: &[Queued]) -> Result<String, askama::Error> {
    desk::ListOnly { list: desk::List::new(now, items, None) }.render()
}

/// The call alone: `#call`.
pub fn desk_panel(now: Timestamp, seen: &Seen, flash: Option<&Flash>) -> Result<String, askama::Error> {
    desk::PanelOnly { panel: desk::Panel::new(now, seen, flash) }.render()
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn<'a> {
    shell: &'a Shell<'a>,
    error: Option<&'a str>,
}

/// The desk's sign-in.
pub fn sign_in(shell: &Shell<'_>, error: Option<&str>) -> Result<String, askama::Error> { SignIn { shell, error }.render() }

/// The rotating code.
#[derive(Debug, Clone)]
pub struct ServiceCodeView {
    /// As it is shown: `1234 5678`.
    pub code: String,
    /// From when on it is worth nothing.
    pub expires: Timestamp,
    /// How long a code lives.
    pub life_seconds: i64,
    /// Now.
    pub now: Timestamp,
}

impl ServiceCodeView {
    fn left(&self) -> i64 { (self.expires - self.now).ceil_seconds().min(self.life_seconds) }
}

/// One call in the customer's history.
#[derive(Debug, Clone)]
pub struct CallSummary {
    /// Which.
    pub id: CallId,
    /// When it came in.
    pub started: Timestamp,
    /// What happened, as the customer may read it.
    pub lines: Vec<StoryLine>,
    /// There is a receipt of it for them.
    pub receipt: bool,
}

/// What is said around receipts, in the customer's language: the page is in English.
#[derive(Debug, Clone)]
pub struct ReceiptWords {
    /// ISO 639-1 code.
    pub lang: &'static str,
    /// The link.
    pub link: String,
    /// What one is.
    pub about: String,
}

/// The customer's own page.
#[derive(Debug, Clone)]
pub struct PortalView {
    /// The customer's name.
    pub name: String,
    /// The account is frozen.
    pub frozen: bool,
    /// The code to key on the phone.
    pub code: ServiceCodeView,
    /// Ways to prove that are set up, in words.
    pub factors: Vec<FactorKind>,
    /// Kind, value, and until when a new one cools off.
    pub contacts: Vec<(String, String, Option<Timestamp>)>,
    /// Calls, latest first.
    pub calls: Vec<CallSummary>,
    /// What the customer was told lately, latest first.
    pub notices: Vec<StoryLine>,
    /// What goes on now.
    pub live: LiveView,
    /// What came of the last thing the customer did: whether it is good, and in words.
    pub done: Option<(bool, &'static str)>,
    /// Words around receipts.
    pub receipts: ReceiptWords,
}

impl PortalView {
    fn has_receipts(&self) -> bool { self.calls.iter().any(|call| call.receipt) }
}

/// A request for approval.
#[derive(Debug, Clone)]
pub struct ApprovalView {
    /// Which.
    pub challenge: ChallengeId,
    /// Where the call comes from.
    pub from: String,
    /// That is a number on the customer's file.
    pub known: bool,
    /// What for, to follow "to …".
    pub what: String,
    /// Until when.
    pub expires: Timestamp,
    /// Entries left.
    pub left: u8,
    /// When the call came in.
    pub started: Timestamp,
    /// A typed code is enough; otherwise only a passkey.
    pub typed: bool,
    /// Who asks.
    pub agent: Option<String>,
    /// What the program that asks wants the customer to read.
    pub said: Option<String>,
}

/// A call about the account that goes on now.
#[derive(Debug, Clone)]
pub struct LiveCallView {
    /// We rang the customer.
    pub ours: bool,
    /// Where it comes from.
    pub from: String,
    /// When it began.
    pub started: Timestamp,
    /// The caller proved to be the customer.
    pub proved: bool,
    /// Who of us is on it.
    pub agent: Option<String>,
    /// What about.
    pub matter: Option<String>,
    /// Somebody else is on the phone, whom this customer allowed to speak for them.
    pub for_you: bool,
    /// The words by which both know each other, for whoever is on the phone themselves.
    pub words: Option<Watchwords>,
}

/// A call that the customer asked for.
#[derive(Debug, Clone)]
pub struct CallBackView {
    /// The key to press.
    pub key: u8,
    /// The last two digits of the number that rings.
    pub tail: String,
    /// It was answered.
    pub answered: bool,
}

/// What goes on about an account now.
#[derive(Debug, Clone, Default)]
pub struct LiveView {
    /// Now.
    pub now: Timestamp,
    /// Requests for approval.
    pub approvals: Vec<ApprovalView>,
    /// Calls.
    pub calls: Vec<LiveCallView>,
    /// A call that the customer asked for, and that is not on yet.
    pub call_back: Option<CallBackView>,
    /// Numbers that can be rung: which, and their last digits.
    pub numbers: Vec<(ContactId, String)>,
    /// The portal can dial.
    pub dials: bool,
    /// The customer has a passkey.
    pub passkeys: bool,
}

impl LiveView {
    /// Changes when the customer has to look again; not with the time that passes.
    fn mark(&self) -> String {
        let asked: Vec<String> = self.approvals.iter().map(|a| format!("{}/{}", a.challenge, a.left)).collect();
        let calls = self.calls.iter().map(|c| format!("{}{}{:?}{:?}", c.started.0, u8::from(c.proved), c.agent, c.matter)).collect::<Vec<_>>();
        let back = self.call_back.as_ref().map(|c| (c.key, c.answered));
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        (asked, calls, back).hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }
}

#[derive(Template)]
#[template(path = "portal/live.html")]
struct PortalLive<'a> {
    live: &'a LiveView,
}

/// What goes on now: `#live`.
pub fn portal_live(live: &LiveView) -> Result<String, askama::Error> { PortalLive { live }.render() }

#[derive(Template)]
#[template(path = "portal/code_page.html")]
struct CodePage<'a> {
    shell: &'a Shell<'a>,
    typed: &'a str,
    error: Option<&'a str>,
}

/// Where a code that was given on a call is typed.
pub fn portal_code_page(shell: &Shell<'_>, typed: &str, error: Option<&str>) -> Result<String, askama::Error> { CodePage { shell, typed, error }.render() }

/// Whose call a typed code belongs to.
#[derive(Debug, Clone)]
pub struct CodeConfirmView {
    /// As it was typed.
    pub code: Secret,
    /// Where the call comes from.
    pub from: String,
    /// That is a number on the customer's file.
    pub known: bool,
    /// When it began.
    pub started: Timestamp,
    /// The program that asks, if it is no telephone call of ours.
    pub client: Option<String>,
    /// Now.
    pub now: Timestamp,
}

#[derive(Template)]
#[template(path = "portal/code_confirm.html")]
struct CodeConfirm<'a> {
    shell: &'a Shell<'a>,
    view: &'a CodeConfirmView,
}

/// Asks whether a call is the customer's own.
pub fn portal_code_confirm(shell: &Shell<'_>, view: &CodeConfirmView) -> Result<String, askama::Error> { CodeConfirm { shell, view }.render() }

#[derive(Template)]
#[template(path = "portal/dial.html")]
struct Dial<'a> {
    shell: &'a Shell<'a>,
    to: &'a str,
    life_seconds: i64,
}

/// A link that the telephone of this device dials.
pub fn portal_dial(shell: &Shell<'_>, to: &str, life_seconds: i64) -> Result<String, askama::Error> { Dial { shell, to, life_seconds }.render() }

#[derive(Template)]
#[template(path = "portal.html")]
struct Portal<'a> {
    shell: &'a Shell<'a>,
    view: &'a PortalView,
    code: &'a ServiceCodeView,
    live: &'a LiveView,
}

/// The customer's own page.
pub fn portal(shell: &Shell<'_>, view: &PortalView) -> Result<String, askama::Error> { Portal { shell, view, code: &view.code, live: &view.live }.render() }

#[derive(Template)]
#[template(path = "portal/receipt.html")]
struct NoReceipt<'a> {
    shell: &'a Shell<'a>,
    lang: &'a str,
    title: &'a str,
    text: &'a str,
}

/// Why there is no receipt of a call now, in this language.
pub fn portal_receipt(shell: &Shell<'_>, lang: &str, title: &str, text: &str) -> Result<String, askama::Error> { NoReceipt { shell, lang, title, text }.render() }

#[derive(Template)]
#[template(path = "portal_code_only.html")]
struct PortalCode<'a> {
    code: &'a ServiceCodeView,
}

/// The rotating code alone: `#code`.
pub fn portal_code(code: &ServiceCodeView) -> Result<String, askama::Error> { PortalCode { code }.render() }

/// The page behind a link in a message. Opening it does nothing; its button does.
#[derive(Debug, Clone)]
pub struct LinkView {
    /// What the page is about.
    pub title: String,
    /// What the button would do.
    pub what: String,
    /// The button; none when there is nothing to press.
    pub button: Option<String>,
    /// What was done.
    pub done: Option<String>,
}

#[derive(Template)]
#[template(path = "link.html")]
struct Link<'a> {
    shell: &'a Shell<'a>,
    view: &'a LinkView,
}

/// The page behind a link in a message.
pub fn link(shell: &Shell<'_>, view: &LinkView) -> Result<String, askama::Error> { Link { shell, view }.render() }

/// One call in the lead's table.
#[derive(Debug, Clone)]
pub struct AdminCall {
    /// Which.
    pub id: CallId,
    /// When it came in.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Its assurance now, or at its end.
    pub level: Level,
    /// The highest that it reached.
    pub highest: Level,
    /// How much was carried out on it.
    pub done: usize,
    /// Its risk.
    pub band: Band,
    /// How it ended, in words.
    pub ending: Option<String>,
}

/// How often a factor was asked for and proved on the latest calls that ended.
#[derive(Debug, Clone)]
pub struct FactorStat {
    /// Its name in words.
    pub name: String,
    /// Challenges.
    pub asked: u64,
    /// Proofs.
    pub proved: u64,
}

impl FactorStat {
    fn percent(&self) -> u64 { self.proved.saturating_mul(100).checked_div(self.asked).unwrap_or(0).min(100) }
}

/// What lead and administrator see.
#[derive(Debug, Clone)]
pub struct AdminView {
    /// Now.
    pub now: Timestamp,
    /// Of the program.
    pub version: String,
    /// Of the policy set.
    pub policy_version: String,
    /// Calls on the line.
    pub live: usize,
    /// Of those, waiting.
    pub waiting: usize,
    /// More tiles: label and value.
    pub counters: Vec<(String, String)>,
    /// Alerts, latest first: when, what, on which call.
    pub alerts: Vec<(Timestamp, String, Option<CallId>, Option<AccountId>)>,
    /// Calls, latest first.
    pub calls: Vec<AdminCall>,
    /// Name, role, signed in, id.
    pub agents: Vec<(String, Role, bool, AgentId)>,
    /// People of a shared desk who take calls here: name and role.
    pub shared: Vec<(String, Role)>,
    /// Factors.
    pub factors: Vec<FactorStat>,
}

#[derive(Template)]
#[template(path = "admin.html")]
struct Admin<'a> {
    shell: &'a Shell<'a>,
    view: &'a AdminView,
}

/// What lead and administrator see.
pub fn admin(shell: &Shell<'_>, view: &AdminView) -> Result<String, askama::Error> { Admin { shell, view }.render() }

#[derive(Template)]
#[template(path = "story.html")]
struct Story<'a> {
    shell: &'a Shell<'a>,
    call: &'a str,
    started: Timestamp,
    lines: &'a [StoryLine],
    risk: Option<&'a risk::CallRisk>,
}

/// A part of the risk score, in words.
pub fn risk_part(name: &str) -> String { words::risk_part(name) }

/// The record of one call; for the lead with what it means for others.
pub fn story(
    shell: &Shell<'_>, call: &str, started: Timestamp, lines: &[StoryLine], risk: Option<&risk::CallRisk>,
) -> Result<String, askama::Error> {
    Story { shell, call, started, lines, risk }.render()
}

#[derive(Template)]
#[template(path = "policy.html")]
struct Policy<'a> {
    shell: &'a Shell<'a>,
    view: &'a PolicyView<'a>,
}

/// The policies, and those that could be.
#[derive(Debug)]
pub struct PolicyView<'a> {
    /// The version in force.
    pub version: &'a str,
    /// Since when and by whom, if it was activated here.
    pub since: Option<(Timestamp, String)>,
    /// Files by name and text.
    pub files: &'a [(String, String)],
    /// What they come to, as a table in text.
    pub matrix: &'a str,
    /// The sets that were staged, newest first.
    pub sets: &'a [Staged],
    /// Whoever looks may activate them.
    pub lead: bool,
    /// What happened, latest first, in sentences.
    pub story: Vec<StoryLine>,
    /// What the last request led to.
    pub flash: Option<Flash>,
}

/// The policies in force, and those that could be.
pub fn policy(shell: &Shell<'_>, view: &PolicyView<'_>) -> Result<String, askama::Error> { Policy { shell, view }.render() }

/// Somebody who can call in the demo.
#[derive(Debug, Clone)]
pub struct DemoPerson {
    /// For forms and the handset.
    pub id: String,
    /// Their name.
    pub name: String,
    /// Their telephone, E.164.
    pub number: String,
    /// ISO 639-1 code or name of their language.
    pub language: String,
    /// What the player has to know: PIN, codes. Line breaks are kept.
    pub note: String,
}

/// The cast of the demo.
#[derive(Debug, Clone, Default)]
pub struct DemoView {
    /// Customers.
    pub people: Vec<DemoPerson>,
    /// Desk: id, name, role.
    pub agents: Vec<(String, String, Role)>,
    /// The handset can be talked to.
    pub microphone: bool,
}

impl DemoView {
    fn first_person(&self) -> &str { self.people.first().map_or("somebody", |p| p.name.as_str()) }
    fn first_agent(&self) -> &str { self.agents.iter().find(|a| a.2 == Role::Agent).map_or("an agent", |a| a.1.as_str()) }
}

#[derive(Template)]
#[template(path = "landing.html")]
struct Landing<'a> {
    shell: &'a Shell<'a>,
    view: &'a DemoView,
}

/// The demo's front door.
pub fn landing(shell: &Shell<'_>, view: &DemoView) -> Result<String, askama::Error> { Landing { shell, view }.render() }

#[derive(Template)]
#[template(path = "handset.html")]
struct Handset<'a> {
    shell: &'a Shell<'a>,
    view: &'a DemoView,
}

/// A telephone in the browser.
pub fn handset(shell: &Shell<'_>, view: &DemoView) -> Result<String, askama::Error> { Handset { shell, view }.render() }

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    shell: &'a Shell<'a>,
    status: u16,
    title: &'a str,
    help: &'a str,
    onward: Option<(&'a str, &'a str)>,
}

/// Something went wrong: what, and what to do now. `onward`: the address of a page where this reader
/// can go on, and the words for it.
pub fn error(shell: &Shell<'_>, status: u16, title: &str, help: &str, onward: Option<(&str, &str)>) -> Result<String, askama::Error> {
    ErrorPage { shell, status, title, help, onward }.render()
}
