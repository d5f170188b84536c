//! The customer's signed-in side: signing in, and what proves that it is them.

use askama::Template;
use countersign_core::{account::Access, action::Role, factor::FactorKind, time::Timestamp};

use super::{Flash, Shell, StoryLine, words};

/// The doors to the portal.
#[derive(Debug, Clone, Copy)]
pub struct SignInView<'a> {
    /// Passkeys can work here.
    pub passkeys: bool,
    /// Only under this address: a link without its scheme.
    pub elsewhere: Option<&'a str>,
    /// The name of the company's own sign-in provider.
    pub provider: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "portal/sign_in.html")]
struct SignIn<'a> {
    shell: &'a Shell<'a>,
    view: &'a SignInView<'a>,
}

/// The doors to the portal.
pub fn portal_sign_in(shell: &Shell<'_>, view: &SignInView<'_>) -> Result<String, askama::Error> { SignIn { shell, view }.render() }

/// One passkey.
#[derive(Debug, Clone)]
pub struct PasskeyLine {
    /// For forms.
    pub id: String,
    /// What the customer calls it.
    pub name: String,
    /// Since when.
    pub added: Timestamp,
    /// From when on it counts, if not yet.
    pub from: Option<Timestamp>,
}

/// What proves that it is this customer.
#[derive(Debug, Clone)]
pub struct SecurityView {
    /// The customer's name.
    pub name: String,
    /// The account is frozen.
    pub frozen: bool,
    /// Changes may be made now.
    pub fresh: bool,
    /// What confirms that it is them; nothing, where nothing counts yet.
    pub step_up: Vec<FactorKind>,
    /// What was set up and does not count yet, and from when on it does.
    pub waits: Vec<(FactorKind, Timestamp)>,
    /// Passkeys can work here.
    pub works: bool,
    /// Only under this address: a link without its scheme.
    pub elsewhere: Option<String>,
    /// Passkeys.
    pub passkeys: Vec<PasskeyLine>,
    /// The authenticator app.
    pub app: Option<String>,
    /// A token.
    pub token: Option<String>,
    /// A PIN.
    pub pin: Option<String>,
    /// A verbal password.
    pub verbal: Option<String>,
    /// An account at the company's own sign-in provider.
    pub provider: Option<String>,
    /// The printed list: id, how many there were, since when.
    pub codes: Option<(String, usize, Timestamp)>,
    /// The voice on file.
    pub voice: Option<countersign_core::voice::OnFile>,
    /// What may be asked for first, and whether it is.
    pub preferred: Vec<(FactorKind, bool)>,
    /// No codes by text.
    pub never_sms: bool,
    /// No changes by phone.
    pub phone_lock: bool,
    /// What makes calls easier.
    pub access: Access,
    /// What the last request led to.
    pub flash: Option<Flash>,
    /// When and how somebody signed in.
    pub sign_ins: Vec<StoryLine>,
}

impl SecurityView {
    /// Authenticators may be changed here and now.
    fn open(&self) -> bool { self.fresh && !self.frozen }
    fn by_passkey(&self) -> bool { self.step_up.contains(&FactorKind::Passkey) }
    fn waits(&self, kind: FactorKind) -> Option<Timestamp> { self.waits.iter().find(|(k, _)| *k == kind).map(|(_, from)| *from) }
}

#[derive(Template)]
#[template(path = "portal/security.html")]
struct Security<'a> {
    shell: &'a Shell<'a>,
    view: &'a SecurityView,
}

/// What proves that it is this customer.
pub fn portal_security(shell: &Shell<'_>, view: &SecurityView) -> Result<String, askama::Error> { Security { shell, view }.render() }

#[derive(Template)]
#[template(path = "portal/totp.html")]
struct Totp<'a> {
    shell: &'a Shell<'a>,
    secret: &'a str,
    error: Option<&'a str>,
}

/// Setting up an app: the picture, the key for typing, the code that confirms it.
pub fn portal_totp(shell: &Shell<'_>, secret: &str, error: Option<&str>) -> Result<String, askama::Error> { Totp { shell, secret, error }.render() }

#[derive(Template)]
#[template(path = "portal/codes.html")]
struct Codes<'a> {
    shell: &'a Shell<'a>,
    now: Timestamp,
    codes: &'a [String],
    from: Option<Timestamp>,
}

/// The printed list, this once. `from`: it does not count yet.
pub fn portal_codes(shell: &Shell<'_>, now: Timestamp, codes: &[String], from: Option<Timestamp>) -> Result<String, askama::Error> {
    Codes { shell, now, codes, from }.render()
}

/// What is to be removed, and what follows.
#[derive(Debug, Clone)]
pub struct RemoveView {
    /// For the form.
    pub id: String,
    /// What it is.
    pub what: String,
    /// What the customer calls it.
    pub name: Option<String>,
    /// Nothing else signs in here.
    pub last_sign_in: bool,
    /// Nothing else is set up at all.
    pub last: bool,
}

#[derive(Template)]
#[template(path = "portal/remove.html")]
struct Remove<'a> {
    shell: &'a Shell<'a>,
    view: &'a RemoveView,
}

/// Asks once more.
pub fn portal_remove(shell: &Shell<'_>, view: &RemoveView) -> Result<String, askama::Error> { Remove { shell, view }.render() }
