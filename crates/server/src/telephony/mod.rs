//! Adapters: each turns a vendor's requests into inputs of the machine, and the machine's
//! directives into what the vendor understands. See docs/adding-an-adapter.md.

pub mod asterisk;
pub mod connect;
pub mod events;
pub mod flat;
pub mod freeswitch;
pub mod genesys;
pub mod handset;
pub mod http;
pub mod jambonz;
pub mod kept;
pub mod signed;
pub mod sip;
#[cfg(feature = "softphone")]
pub mod softphone;
pub mod switch;
pub mod twilio;
pub mod websocket;

use std::sync::Arc;

use axum::Router;
use countersign_core::{
    account::Brief,
    call::Input,
    claim::ClaimKind,
    prompt::Directive,
    risk::Verstat,
    secret::E164,
};

use crate::{App, deny, recording::About, runner::{Reply, RunError}};

/// The adapters over web requests that are configured, beside Twilio.
#[derive(Clone, Default)]
pub struct Lines {
    /// Any telephone system.
    pub http: Option<Arc<http::Http>>,
    /// jambonz.
    pub jambonz: Option<Arc<jambonz::Jambonz>>,
    /// Amazon Connect.
    pub connect: Option<Arc<connect::Connect>>,
    /// Genesys Cloud.
    pub genesys: Option<Arc<genesys::Genesys>>,
}

impl Lines {
    /// Their routes: what is not configured has none.
    pub fn routes(&self) -> Router<App> {
        let mut routes = Router::new();
        if self.http.is_some() {
            routes = routes.merge(http::routes());
        }
        if self.jambonz.is_some() {
            routes = routes.merge(jambonz::routes());
        }
        if self.connect.is_some() {
            routes = routes.merge(connect::routes());
        }
        if self.genesys.is_some() {
            routes = routes.merge(genesys::routes());
        }
        routes
    }
}

/// Looks the calling number up and makes the first input of a call, the same for every adapter.
pub async fn incoming(app: &App, adapter: &str, number: Option<&E164>, verstat: Verstat, dialled: bool) -> Result<Incoming, RunError> {
    let accounts = match number {
        Some(number) => app.runner.directory.find(ClaimKind::Number, number.expose(), app.runner.now()).await?.0,
        None => Vec::new(),
    };
    let listed = number.is_some_and(|n| app.deny_numbers.contains(n));
    let number = number.and_then(|n| app.runner.vault.index.exact(ClaimKind::Number, n.expose()));
    let denied = match number {
        Some(line) => listed || deny::is_listed(&app.runner, line).await?,
        None => listed,
    };
    Ok(Incoming { adapter: adapter.into(), number, verstat, denied, accounts, dialled })
}

/// Pauses the recorder, if there is one, before a telephone is told to ask for a secret, and lets it go on
/// afterwards. Where it does not obey, the secret is not asked for: the machine is told that nothing was
/// keyed, which asks again, and then goes another way. `name` makes a command of the number of a reply.
pub async fn unrecorded(app: &App, about: About<'_>, mut reply: Reply, name: impl Fn(u64) -> String) -> Reply {
    let Some(recorder) = &app.recorder else { return reply };
    while !recorder.before(about, reply.n, &reply.directives, app.runner.now()).await {
        let before = reply.n;
        match app.runner.run(about.call, name(before), || Input::NoKeys).await {
            Ok(next) if next.n > before => reply = next,
            // Nothing moves it: then it ends, rather than with a secret in a recording.
            Ok(_) | Err(_) => {
                reply.directives = vec![Directive::HangUp];
                return reply;
            }
        }
    }
    reply
}

/// A first input that can be made more than once.
pub struct Incoming {
    adapter: String,
    number: Option<countersign_core::secret::Blind>,
    verstat: Verstat,
    denied: bool,
    accounts: Vec<Brief>,
    dialled: bool,
}

impl Incoming {
    /// The input.
    pub fn input(&self) -> Input {
        let Self { adapter, number, verstat, denied, accounts, dialled } = self;
        Input::Incoming { adapter: adapter.clone(), number: *number, verstat: *verstat, denied: *denied, accounts: accounts.clone(), dialled: *dialled }
    }
}
