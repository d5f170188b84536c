//! Adapters: each turns a vendor's requests into inputs of the machine, and the machine's
//! directives into what the vendor understands. See docs/adding-an-adapter.md.

pub mod handset;
pub mod sip;
#[cfg(feature = "softphone")]
pub mod softphone;
pub mod twilio;

use countersign_core::{
    account::Brief,
    call::Input,
    claim::ClaimKind,
    risk::Verstat,
    secret::E164,
};

use crate::{App, deny, runner::RunError};

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
