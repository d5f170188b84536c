//! `countersign privacy`: what customers may ask, and what forbids it.

use std::{path::{Path, PathBuf}, process::ExitCode};

use clap::Subcommand;
use countersign_server::{config::Config, runner::Runner};

use crate::{Failure, start, term};

/// `privacy`.
#[derive(Subcommand)]
pub enum PrivacyCommand {
    /// Print everything that is kept about a customer, as JSON
    Export {
        /// The account number
        account_number: String,
        /// The configuration file
        #[arg(long, default_value = "countersign.toml")]
        config: PathBuf,
    },
    /// Destroy everything about a customer; the record of events and the Merkle log stay, and name nobody
    Erase {
        /// The account number
        account_number: String,
        /// Written again, so that nobody is erased by a slip of the pen
        #[arg(long, value_name = "ACCOUNT_NUMBER")]
        confirm: String,
        /// The configuration file
        #[arg(long, default_value = "countersign.toml")]
        config: PathBuf,
    },
    /// Put a customer under a legal hold: nothing of theirs is destroyed
    Hold {
        /// The account number
        account_number: String,
        /// Why, such as the number of a case
        #[arg(long)]
        reason: String,
        /// The configuration file
        #[arg(long, default_value = "countersign.toml")]
        config: PathBuf,
    },
    /// Release a legal hold
    Release {
        /// The account number
        account_number: String,
        /// The configuration file
        #[arg(long, default_value = "countersign.toml")]
        config: PathBuf,
    },
}

async fn open(config: &Path) -> Result<Runner, Failure> { start::open(&Config::read(config)?).await }

/// Runs one of them.
pub async fn run(command: PrivacyCommand) -> Result<ExitCode, Failure> {
    match command {
        PrivacyCommand::Export { account_number, config } => {
            let runner = open(&config).await?;
            let account = runner.customer(&account_number).await?;
            let told = runner.export_customer(account).await?;
            start::close(&runner).await;
            println!("{}", serde_json::to_string_pretty(&told)?);
        }
        PrivacyCommand::Erase { account_number, confirm, config } => {
            if account_number != confirm {
                return Err("--confirm names another account number: nothing was destroyed".into());
            }
            let runner = open(&config).await?;
            let account = runner.customer(&account_number).await?;
            let erased = runner.erase(account).await?;
            start::close(&runner).await;
            term::good(&format!(
                "Everything about this customer is destroyed: their key, {} documents, {} keys of look-ups, notes and salts of {} calls. Backups of the record cannot be opened for them any more; copies of the key store of before, and exports, still hold what they hold: see docs/privacy.md.",
                erased.documents, erased.keys, erased.calls
            ));
        }
        PrivacyCommand::Hold { account_number, reason, config } => {
            let runner = open(&config).await?;
            let account = runner.customer(&account_number).await?;
            runner.set_hold(account, Some(reason)).await?;
            start::close(&runner).await;
            term::good("Nothing of this customer is destroyed until the hold is released.");
        }
        PrivacyCommand::Release { account_number, config } => {
            let runner = open(&config).await?;
            let account = runner.customer(&account_number).await?;
            runner.set_hold(account, None).await?;
            start::close(&runner).await;
            term::good("The hold is released.");
        }
    }
    Ok(ExitCode::SUCCESS)
}
