//! Every page as a function from data to HTML. Nothing here reads a store, a clock or a session.
//!
//! Desk pages are made of [`AgentView`] and [`QueueItem`] and nothing else of a customer. Templates
//! escape everything; there is no `safe` filter in them. They carry no inline script, style or
//! handler, so that the pages live under `Content-Security-Policy: default-src 'self'`.

use std::collections::BTreeMap;

use askama::Template;
use countersign_core::{
    action::{Level, Role},
    id::{AgentId, CallId},
    risk::Band,
    time::Timestamp,
    view::{AgentView, QueueItem},
};

mod desk;
mod script;
mod security;
#[cfg(test)]
mod tests;
mod words;

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

/// The desk: queue on the left, the call in the middle.
pub fn desk(
    shell: &Shell<'_>, now: Timestamp, items: &[QueueItem], names: &BTreeMap<AgentId, String>, current: Option<&AgentView>,
    flash: Option<&Flash>, story: &[StoryLine],
) -> Result<String, askama::Error> {
    desk::Page {
        shell,
        now,
        list: desk::List::new(now, items, names, current.map(|view| view.call)),
        panel: current.map(|view| desk::Panel::new(now, view, flash, story)),
        flash,
    }
    .render()
}

/// The queue alone: `#queue`.
pub fn desk_list(now: Timestamp, items: &[QueueItem], names: &BTreeMap<AgentId, String>) -> Result<String, askama::Error> {
    desk::ListOnly { list: desk::List::new(now, items, names, None) }.render()
}

/// The call alone: `#call`.
pub fn desk_panel(now: Timestamp, view: &AgentView, flash: Option<&Flash>, story: &[StoryLine]) -> Result<String, askama::Error> {
    desk::PanelOnly { panel: desk::Panel::new(now, view, flash, story) }.render()
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
    pub factors: Vec<String>,
    /// Kind, value, and until when a new one cools off.
    pub contacts: Vec<(String, String, Option<Timestamp>)>,
    /// Calls, latest first.
    pub calls: Vec<CallSummary>,
    /// What the customer was told lately, latest first.
    pub notices: Vec<StoryLine>,
}

#[derive(Template)]
#[template(path = "portal.html")]
struct Portal<'a> {
    shell: &'a Shell<'a>,
    view: &'a PortalView,
    code: &'a ServiceCodeView,
}

/// The customer's own page.
pub fn portal(shell: &Shell<'_>, view: &PortalView) -> Result<String, askama::Error> { Portal { shell, view, code: &view.code }.render() }

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
    /// The assurance it reached.
    pub level: Level,
    /// Its risk.
    pub band: Band,
    /// How it ended, in words.
    pub ending: Option<String>,
}

/// How often a factor was asked for and proved.
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
    pub alerts: Vec<(Timestamp, String, Option<CallId>)>,
    /// Calls, latest first.
    pub calls: Vec<AdminCall>,
    /// Name, role, signed in, id.
    pub agents: Vec<(String, Role, bool, AgentId)>,
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
}

/// The record of one call.
pub fn story(shell: &Shell<'_>, call: &str, started: Timestamp, lines: &[StoryLine]) -> Result<String, askama::Error> {
    Story { shell, call, started, lines }.render()
}

#[derive(Template)]
#[template(path = "policy.html")]
struct Policy<'a> {
    shell: &'a Shell<'a>,
    version: &'a str,
    files: &'a [(String, String)],
    matrix: &'a str,
}

/// The policies in force: files by name and text, and what they come to as a table in text.
pub fn policy(shell: &Shell<'_>, version: &str, files: &[(String, String)], matrix: &str) -> Result<String, askama::Error> {
    Policy { shell, version, files, matrix }.render()
}

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
}

/// Something went wrong: what, and what to do now.
pub fn error(shell: &Shell<'_>, status: u16, title: &str, help: &str) -> Result<String, askama::Error> {
    ErrorPage { shell, status, title, help }.render()
}
