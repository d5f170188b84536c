//! `countersign migrate`: from one node's file to a database for many.

use std::{path::PathBuf, process::ExitCode};

use countersign_server::{config::Config, storage::Storage};
use countersign_store::transfer;

use crate::{Failure, term};

/// `migrate`.
#[derive(clap::Args)]
pub struct Args {
    /// The SQLite file that is served now: sqlite:PATH
    #[arg(long)]
    from: String,
    /// The database: postgres://user@host/database; or leave it out, and [store] of the configuration says it
    #[arg(long)]
    to: Option<String>,
    /// Its schema
    #[arg(long, default_value = "countersign")]
    schema: String,
    /// A file with the password of the database
    #[arg(long)]
    password_file: Option<PathBuf>,
    /// Finish: the old record takes no more commits. Without, the log is brought over as far as it goes, while a server runs
    #[arg(long)]
    finish: bool,
    /// The SQLite file of customers' keys; the one beside the record if it is left out
    #[arg(long, value_name = "PATH")]
    keys_from: Option<PathBuf>,
    /// The configuration file that names the new database
    #[arg(long, default_value = "countersign.toml")]
    config: PathBuf,
}

/// Moves, verifies, and says what comes next.
pub async fn run(args: Args) -> Result<ExitCode, Failure> {
    let from = args.from.strip_prefix("sqlite:").ok_or("--from names a SQLite file: write sqlite:PATH")?;
    let storage = match &args.to {
        Some(address) => {
            let (postgres, password_file) = (Some(address.clone()), args.password_file.clone());
            Storage { postgres, password_file, schema: args.schema.clone(), ..Storage::default() }
        }
        None => Config::read(&args.config)?.store,
    };
    let server = storage.server()?.ok_or("--to names a PostgreSQL server: write postgres://user@host/database")?;
    let keys_from = args.keys_from.clone().or_else(|| Storage::file(from.into()).of_keys().path).filter(|path| path.exists());
    let bar = term::bar("rows");
    let shown = bar.clone();
    let moved = transfer(from.as_ref(), &server, args.finish, move |table, done, of| {
        shown.set_length(of);
        shown.set_position(done);
        shown.set_message(table.to_owned());
    })
    .await?;
    bar.finish_and_clear();
    if let Some(path) = &keys_from {
        let to = storage.of_keys().server()?.ok_or("--to names a PostgreSQL server: write postgres://user@host/database")?;
        transfer(path, &to, args.finish, |_, _, _| {}).await?;
        anstream::println!("{:>12}  customers' keys, in {}", "", to.name());
    }
    for (table, rows) in &moved.rows {
        anstream::println!("{rows:>12}  {table}");
    }
    if moved.finished {
        term::good(&format!(
            "The record is in {}, row for row the same, and {from} is not served any more. Name the database in [store] and start the servers.", server.name()
        ));
    } else {
        term::good(&format!("The log is in {} as far as it went. Now the same with --finish: until it has ended, no call goes on.", server.name()));
    }
    Ok(ExitCode::SUCCESS)
}
