//! `countersign key`: master keys and data keys.

use std::{path::{Path, PathBuf}, process::ExitCode};

use clap::Subcommand;
use countersign_core::time::Span;
use countersign_server::{config::Config, keyring::{self, KeyInfo, LEAD, Master}, reseal, serve::system_clock, token::TokenKey, vault::Vault};
use countersign_store::Store;

use crate::{
    Failure, term,
    term::{BAD, DIM, GOOD, STRONG},
};

/// How long a new data key must have been in use before older ones may be destroyed: messages on their
/// way and calls that go on are sealed with them.
const AGE: Span = Span::days(1);

/// `key`.
#[derive(Subcommand)]
pub enum KeyCommand {
    /// Write a fresh master key to a file that only you may read
    New {
        /// The new file
        file: PathBuf,
    },
    /// Make a master key on the token of keys.pkcs11: it can be used there and read by nobody
    NewOnToken {
        /// The configuration file
        #[arg(long, default_value = "countersign.toml")]
        config: PathBuf,
    },
    /// Say which keys the record has, and what is sealed with each
    Status {
        /// The configuration file
        #[arg(long, default_value = "countersign.toml")]
        config: PathBuf,
    },
    /// Let another master key open the record as well; then change keys.file on each node and start it again
    RotateMaster {
        /// The file with the other key, made by `countersign key new`
        #[arg(long, required_unless_present = "to_token", conflicts_with = "to_token")]
        to: Option<PathBuf>,
        /// The other key is the one on the token of keys.pkcs11
        #[arg(long)]
        to_token: bool,
        /// The configuration file
        #[arg(long, default_value = "countersign.toml")]
        config: PathBuf,
    },
    /// Let only the configuration's master key open the record from now on
    RetireMasters {
        /// The configuration file
        #[arg(long, default_value = "countersign.toml")]
        config: PathBuf,
    },
    /// Make a new data key; running servers seal everything anew with it, a little at a time
    RotateData {
        /// The configuration file
        #[arg(long, default_value = "countersign.toml")]
        config: PathBuf,
    },
    /// Destroy data keys that seal nothing any more
    DropOld {
        /// The configuration file
        #[arg(long, default_value = "countersign.toml")]
        config: PathBuf,
    },
}

/// The master key of a configuration.
pub fn master(config: &Config) -> Result<Master, Failure> {
    let text = std::env::var("COUNTERSIGN_KEY").ok();
    match (&text, &config.keys.file, &config.keys.pkcs11) {
        (None, None, Some(token)) => Ok(token.master()?),
        _ => Ok(Vault::master(config.keys.file.as_deref(), text.as_deref())?),
    }
}

fn on_token(config: &Config) -> Result<&TokenKey, Failure> {
    config.keys.pkcs11.as_ref().ok_or_else(|| "the configuration names no token: write [keys.pkcs11] with module and token".into())
}

async fn opened(config: &Path) -> Result<(Master, Store), Failure> {
    let config = Config::read(config)?;
    Ok((master(&config)?, config.store.open().await?))
}

/// Runs one of them.
pub async fn run(command: KeyCommand) -> Result<ExitCode, Failure> {
    match command {
        KeyCommand::New { file } => {
            Vault::create_key(&file)?;
            term::good(&format!("A master key is in {}. Keep a copy apart from the database: without it nothing can be read.", file.display()));
            Ok(ExitCode::SUCCESS)
        }
        KeyCommand::Status { config } => status(&config).await,
        KeyCommand::NewOnToken { config } => {
            let config = Config::read(&config)?;
            let token = on_token(&config)?;
            token.create()?;
            term::good(&format!("The token {} holds the key {}. Keep a second token or its maker's backup: without it nothing can be read.", token.token, token.key));
            Ok(ExitCode::SUCCESS)
        }
        KeyCommand::RotateMaster { to: None, config, .. } => {
            let (old, store) = opened(&config).await?;
            let config = Config::read(&config)?;
            let token = on_token(&config)?;
            keyring::add_master(&old, &token.master()?, &store, system_clock()).await?;
            store.close().await;
            term::good(&format!(
                "The key {} on the token {} opens the record as well. Take keys.file away on each node and start them again, one by one; then: countersign key retire-masters",
                token.key, token.token
            ));
            Ok(ExitCode::SUCCESS)
        }
        KeyCommand::RotateMaster { to: Some(to), config, .. } => {
            let (old, store) = opened(&config).await?;
            let new = Vault::master(Some(&to), None)?;
            keyring::add_master(&old, &new, &store, system_clock()).await?;
            store.close().await;
            term::good(&format!(
                "{} opens the record as well. Name it in keys.file on each node and start them again, one by one; then: countersign key retire-masters", to.display()
            ));
            Ok(ExitCode::SUCCESS)
        }
        KeyCommand::RetireMasters { config } => {
            let (only, store) = opened(&config).await?;
            let n = keyring::retire_masters(&only, &store, system_clock()).await?;
            store.close().await;
            term::good(&format!("Only the master key {} opens the record now; {n} others do not any more. A backup of before still opens with them.", only.name()));
            Ok(ExitCode::SUCCESS)
        }
        KeyCommand::RotateData { config } => {
            let (master, store) = opened(&config).await?;
            let id = keyring::add_data_key(&master, &store, system_clock()).await?;
            store.close().await;
            term::good(&format!("Data key {id} seals from {} seconds on, when every node knows it; then a running server seals everything anew. See: countersign key status", LEAD.0 / 1000));
            Ok(ExitCode::SUCCESS)
        }
        KeyCommand::DropOld { config } => drop_old(&config).await,
    }
}

async fn status(config: &Path) -> Result<ExitCode, Failure> {
    let (master, store) = opened(config).await?;
    let now = system_clock();
    let (keys, masters) = keyring::status(&master, &store, now).await?;
    let bar = term::spinner("records looked at");
    let counts = reseal::sealed_by(&store, |n| bar.set_position(n)).await?;
    bar.finish_and_clear();
    store.close().await;
    let missing = counts.keys().copied().find(|id| !keys.iter().any(|key| key.id == *id));
    for name in masters {
        let here = if name == master.name() { "the one of this configuration" } else { "another: retire it once no node uses it" };
        anstream::println!("{STRONG}master {name}{STRONG:#}  {DIM}{here}{DIM:#}");
    }
    for KeyInfo { id, from, current } in keys {
        let count = counts.get(&id).copied().unwrap_or(0);
        let state = if current { format!("{GOOD}seals{GOOD:#}") } else if from > now { format!("seals from {from}") } else { "old".to_owned() };
        anstream::println!("data key {id:>3}  {count:>10} records  {state}");
    }
    if let Some(id) = missing {
        anstream::println!("{BAD}data key {id} is missing{BAD:#}, and records are sealed with it: this keyring is older than the record. Restore the latest backup");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

async fn drop_old(config: &Path) -> Result<ExitCode, Failure> {
    let (master, store) = opened(config).await?;
    let now = system_clock();
    let (keys, _) = keyring::status(&master, &store, now).await?;
    let current = keys.iter().find(|key| key.current).ok_or("no data key seals yet")?;
    if current.from + AGE > now {
        return Err(format!("data key {} seals since {} only: messages and calls of before may still need the old ones. Wait a day", current.id, current.from).into());
    }
    let counts = reseal::sealed_by(&store, |_| {}).await?;
    if let Some((id, n)) = counts.iter().find(|(id, _)| **id < current.id) {
        return Err(format!("{n} records are still sealed with data key {id}: let a server run until `countersign key status` shows none").into());
    }
    let n = keyring::drop_old_keys(&master, &store, now).await?;
    store.close().await;
    term::good(&format!("{n} old data keys are destroyed. A backup of before opens only with the keyring that is in it."));
    Ok(ExitCode::SUCCESS)
}
