//! `countersign key`: master keys and data keys.

use std::{collections::BTreeMap, path::{Path, PathBuf}, process::ExitCode};

use clap::Subcommand;
use countersign_core::time::{Span, Timestamp};
use countersign_server::{clock::{SharedClock, system_clock}, config::Config, customers, keyring::{self, KeyInfo, LEAD, Master}, reseal, token::TokenKey, vault::Vault};
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
    /// Seal with a key for each customer from now on: after an upgrade, once no node of an older release is left
    Customers {
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

async fn opened(config: &Path) -> Result<(Master, Stores), Failure> {
    let config = Config::read(config)?;
    Ok((master(&config)?, Stores { record: config.store.open().await?, keys: config.store.open_keys().await? }))
}

/// The record, and the key store beside it: each has a keyring, and both go one way.
struct Stores {
    record: Store,
    keys: Store,
}

impl Stores {
    /// Now, as all nodes have it: keys are in force from a moment on.
    async fn now(&self) -> Result<Timestamp, Failure> { Ok(SharedClock::of(&self.record).await?.map_or_else(system_clock, |clock| clock.now())) }

    async fn close(&self) {
        self.record.close().await;
        self.keys.close().await;
    }

    /// Those that have a keyring: the key store has one from the first start of this release on.
    async fn with_keyring(&self) -> Result<Vec<&Store>, Failure> {
        let mut out = vec![&self.record];
        if keyring::is_there(&self.keys).await? {
            out.push(&self.keys);
        }
        Ok(out)
    }

    /// Lets another master key open both. An older copy of the record may be beside a key store that it
    /// opens already.
    async fn let_in(&self, old: &Master, new: &Master) -> Result<(), Failure> {
        let mut let_in = 0;
        for store in self.with_keyring().await? {
            if keyring::opens(new, store).await? {
                continue;
            }
            keyring::add_master(old, new, store, self.now().await?).await?;
            let_in += 1;
        }
        if let_in == 0 {
            return Err("that key opens this record already".into());
        }
        Ok(())
    }
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
            let (old, stores) = opened(&config).await?;
            let config = Config::read(&config)?;
            let token = on_token(&config)?;
            stores.let_in(&old, &token.master()?).await?;
            stores.close().await;
            term::good(&format!(
                "The key {} on the token {} opens the record as well. Take keys.file away on each node and start them again, one by one; then: countersign key retire-masters",
                token.key, token.token
            ));
            Ok(ExitCode::SUCCESS)
        }
        KeyCommand::RotateMaster { to: Some(to), config, .. } => {
            let (old, stores) = opened(&config).await?;
            let new = Vault::master(Some(&to), None)?;
            stores.let_in(&old, &new).await?;
            stores.close().await;
            term::good(&format!(
                "{} opens the record as well. Name it in keys.file on each node and start them again, one by one; then: countersign key retire-masters", to.display()
            ));
            Ok(ExitCode::SUCCESS)
        }
        KeyCommand::RetireMasters { config } => {
            let (only, stores) = opened(&config).await?;
            let mut n = 0;
            for store in stores.with_keyring().await? {
                n = n.max(keyring::retire_masters(&only, store, stores.now().await?).await?);
            }
            stores.close().await;
            term::good(&format!("Only the master key {} opens the record now; {n} others do not any more. A backup of before still opens with them.", only.name()));
            Ok(ExitCode::SUCCESS)
        }
        KeyCommand::RotateData { config } => {
            let (master, stores) = opened(&config).await?;
            let mut ids = Vec::new();
            for store in stores.with_keyring().await? {
                ids.push(keyring::add_data_key(&master, store, stores.now().await?).await?);
            }
            stores.close().await;
            let id = ids.first().copied().unwrap_or_default();
            term::good(&format!("Data key {id} seals from {} seconds on, when every node knows it; then a running server seals everything anew, and wraps customers' keys anew. See: countersign key status", LEAD.0 / 1000));
            Ok(ExitCode::SUCCESS)
        }
        KeyCommand::Customers { config } => {
            let config = Config::read(&config)?;
            let runner = crate::start::open(&config).await?;
            let begun = runner.customers.begin(&runner.store, runner.now()).await?;
            crate::start::close(&runner).await;
            term::good(&match begun {
                true => format!("From {} seconds on everything about a customer is sealed with that customer's key; a running server seals what is there anew. See: countersign key status", LEAD.0 / 1000),
                false => "Everything about a customer is sealed with that customer's key already.".to_owned(),
            });
            Ok(ExitCode::SUCCESS)
        }
        KeyCommand::DropOld { config } => drop_old(&config).await,
    }
}

async fn status(config: &Path) -> Result<ExitCode, Failure> {
    let (master, stores) = opened(config).await?;
    let now = stores.now().await?;
    let (keys, masters) = keyring::status(&master, &stores.record, now).await?;
    let bar = term::spinner("records looked at");
    let counts = reseal::sealed_by(&stores.record, |n| bar.set_position(n)).await?;
    bar.finish_and_clear();
    for name in masters {
        let here = if name == master.name() { "the one of this configuration" } else { "another: retire it once no node uses it" };
        anstream::println!("{STRONG}master {name}{STRONG:#}  {DIM}{here}{DIM:#}");
    }
    let mut whole = told(&keys, &counts, now, "records", "record");
    if keyring::is_there(&stores.keys).await? {
        let (keys, _) = keyring::status(&master, &stores.keys, now).await?;
        let (counts, kept, erased) = customers::wrapped_by(&stores.keys).await?;
        anstream::println!("{STRONG}customers' keys{STRONG:#}  {kept:>10}  {DIM}{erased} customers were erased{DIM:#}");
        whole &= told(&keys, &counts, now, "keys", "key store");
    }
    stores.close().await;
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The data keys of a keyring, and what each has sealed. False: one is missing.
fn told(keys: &[KeyInfo], counts: &BTreeMap<u32, u64>, now: Timestamp, what: &str, place: &str) -> bool {
    for KeyInfo { id, from, current } in keys {
        let count = counts.get(id).copied().unwrap_or(0);
        let state = if *current { format!("{GOOD}seals{GOOD:#}") } else if *from > now { format!("seals from {from}") } else { "old".to_owned() };
        anstream::println!("data key {id:>3}  {count:>10} {what}  {state}");
    }
    let missing = counts.keys().copied().find(|id| !keys.iter().any(|key| key.id == *id));
    if let Some(id) = missing {
        anstream::println!("{BAD}data key {id} is missing{BAD:#}, and {what} are sealed with it: this keyring is older than the {place}. Restore the latest backup");
    }
    missing.is_none()
}

async fn drop_old(config: &Path) -> Result<ExitCode, Failure> {
    let (master, stores) = opened(config).await?;
    let now = stores.now().await?;
    let mut n = 0;
    // Everything is looked at before anything is destroyed.
    for really in [false, true] {
        for (place, store) in stores.with_keyring().await?.into_iter().enumerate() {
            if really {
                n += keyring::drop_old_keys(&master, store, now).await?;
                continue;
            }
            let (keys, _) = keyring::status(&master, store, now).await?;
            let current = keys.iter().find(|key| key.current).ok_or("no data key seals yet")?;
            if keys.iter().any(|key| key.id < current.id) && current.from + AGE > now {
                return Err(format!("data key {} seals since {} only: messages and calls of before may still need the old ones. Wait a day", current.id, current.from).into());
            }
            let counts = if place == 0 { reseal::sealed_by(store, |_| {}).await? } else { customers::wrapped_by(store).await?.0 };
            if let Some((id, n)) = counts.iter().find(|(id, _)| **id < current.id) {
                return Err(format!("{n} records are still sealed with data key {id}: let a server run until `countersign key status` shows none").into());
            }
        }
    }
    stores.close().await;
    term::good(&format!("{n} old data keys are destroyed. A backup of before opens only with the keyring that is in it."));
    Ok(ExitCode::SUCCESS)
}
