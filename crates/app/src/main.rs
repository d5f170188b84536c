//! `countersign`: the one binary.

mod accounts;
mod audit;
mod call;
mod doctor;
mod drill;
mod key;
mod lines;
mod migrate;
mod policy;
mod privacy;
mod prompts;
mod risk;
mod start;
mod stir;
mod survey;
mod switches;
mod term;
mod voice;
mod witness;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use countersign_core::{action::Role, id::CallId};

/// Caller authentication for contact centers: who is meant, who proves it, what may happen, what may be seen.
#[derive(Parser)]
#[command(name = "countersign", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Try everything on this machine with fictional people: handset, desk, portal and admin page
    Demo {
        /// Port on this machine; 0 takes a free one
        #[arg(long, default_value_t = 8089)]
        port: u16,
        /// Keep the demo's record in this file instead of a temporary one
        #[arg(long)]
        store: Option<PathBuf>,
    },
    /// Run for real
    Serve {
        /// The configuration file
        #[arg(long, default_value = "countersign.toml")]
        config: PathBuf,
    },
    /// Say what is missing or unsafe in a configuration, line by line
    Doctor {
        /// The configuration file
        #[arg(long, default_value = "countersign.toml")]
        config: PathBuf,
    },
    /// Play attacks against a configuration, on a stage of its own, and say which stop where
    Drill(drill::Args),
    /// Make and change keys
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// What customers may ask about their data
    #[command(subcommand)]
    Privacy(privacy::PrivacyCommand),
    /// Check, prove, compare and stage policies
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Read the record
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Sign what continues somebody else's Merkle log, so that it cannot show two histories
    Witness(witness::Args),
    /// Move the record from a SQLite file into PostgreSQL, and verify it there
    Migrate(migrate::Args),
    /// Tune risk: what calls would have scored, and why one did
    #[command(subcommand)]
    Risk(RiskCommand),
    /// Bring customers in from a CSV or JSON file, all of them or none
    Import {
        /// The file: .csv or .json, see docs/import.md
        file: PathBuf,
        /// Read and check everything, write nothing
        #[arg(long)]
        dry_run: bool,
        /// The configuration file
        #[arg(long, default_value = "countersign.toml")]
        config: PathBuf,
    },
    /// People at the desk
    #[command(subcommand)]
    Agent(AgentCommand),
    /// Set back the counts of wrong entries of a customer, once you know that it is them
    Unlock {
        /// The account number
        account_number: String,
        /// The configuration file
        #[arg(long, default_value = "countersign.toml")]
        config: PathBuf,
    },
    /// Call a SIP address and type keys, to try a flow from a terminal
    Call(call::Args),
    /// What callers hear: list it, check recordings, bring in your own
    #[command(subcommand)]
    Prompts(prompts::PromptsCommand),
    /// Signed calls (STIR/SHAKEN): check test vectors
    #[command(subcommand)]
    Stir(stir::StirCommand),
    /// Take notes on calls to contact centers, grade them, draw them: needs no server and no configuration
    Survey(survey::Survey),
    /// Voices: how well they are told apart on calls of your own, and from when on two are taken for one
    #[command(subcommand)]
    Voice(voice::VoiceCommand),
    /// Write a whole and consistent copy of the record while the server runs
    Backup {
        /// The new file
        to: PathBuf,
        /// Copy the key store instead, where customers' keys are: keep that copy a few days only
        #[arg(long)]
        keys: bool,
        /// The configuration file
        #[arg(long, default_value = "countersign.toml")]
        config: PathBuf,
    },
}

#[derive(Subcommand)]
enum AuditCommand {
    /// One call as a story
    Show {
        /// Its id: call_ and 32 digits
        call: CallId,
        /// The configuration file
        #[arg(long, default_value = "countersign.toml")]
        config: PathBuf,
    },
    /// Every event as one line of JSON
    Export {
        /// The configuration file
        #[arg(long, default_value = "countersign.toml")]
        config: PathBuf,
    },
    /// Check that nothing on record was altered: the database against its Merkle log, or an exported log
    Verify(audit::Verify),
    /// Write the Merkle log with all events into a new folder, to be kept and verified elsewhere
    ExportLog {
        /// The new folder
        dir: PathBuf,
        /// The configuration file
        #[arg(long, default_value = "countersign.toml")]
        config: PathBuf,
    },
    /// Print a receipt of a call: its events with proofs, to be checked without this server
    Receipt {
        /// Its id: call_ and 32 digits
        call: CallId,
        /// Only what may go to the customer
        #[arg(long)]
        for_customer: bool,
        /// The configuration file
        #[arg(long, default_value = "countersign.toml")]
        config: PathBuf,
    },
    /// Check a receipt: needs no server and no configuration
    CheckReceipt(audit::CheckReceipt),
    /// Let a new key sign the Merkle log; the old one vouches for it once
    RotateKey {
        /// The configuration file
        #[arg(long, default_value = "countersign.toml")]
        config: PathBuf,
    },
}

#[derive(Subcommand)]
enum RiskCommand {
    /// Score the calls on record again under other points and routes, and say what would have changed
    Replay {
        /// The configuration file
        #[arg(long, default_value = "countersign.toml")]
        config: PathBuf,
        /// A file with [points] and [routes], or another configuration; the configuration's own if left out
        #[arg(long)]
        points: Option<PathBuf>,
        /// Only calls of the last so many days
        #[arg(long)]
        since: Option<u16>,
    },
    /// The signals, what they weigh here, and where scores lead
    List {
        /// The configuration file
        #[arg(long, default_value = "countersign.toml")]
        config: PathBuf,
    },
    /// How the score of one call came about
    Explain {
        /// Its id: call_ and 32 digits
        call: CallId,
        /// The configuration file
        #[arg(long, default_value = "countersign.toml")]
        config: PathBuf,
    },
}

#[derive(Subcommand)]
enum AgentCommand {
    /// Add an agent: asks for a password on standard input, prints the key for their authenticator app
    Add {
        /// The name to sign in with
        name: String,
        /// agent, specialist, lead or admin
        #[arg(long, value_parser = role)]
        role: Role,
        /// The configuration file
        #[arg(long, default_value = "countersign.toml")]
        config: PathBuf,
    },
    /// Let an agent of this desk take the calls of a company among its tenants
    Serve {
        /// The name they sign in with
        name: String,
        /// The company's name under [[tenants]]
        tenant: String,
        /// As what: agent or specialist
        #[arg(long, value_parser = role, default_value = "agent")]
        role: Role,
        /// The desk's configuration file
        #[arg(long, default_value = "countersign.toml")]
        config: PathBuf,
    },
    /// Take that away again, from their next click on
    Leave {
        /// The name they sign in with
        name: String,
        /// The company's name under [[tenants]]
        tenant: String,
        /// The desk's configuration file
        #[arg(long, default_value = "countersign.toml")]
        config: PathBuf,
    },
}

fn role(text: &str) -> Result<Role, String> { Role::parse(text).ok_or_else(|| "write agent, specialist, lead or admin".into()) }

/// An error in words for whoever typed the command.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Pages and events are many small pieces of memory: this takes a sixth less of the processor for a
/// command than the system's allocator, and no more memory (docs/benchmarks.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return term::fail(&e),
    };
    let result = runtime.block_on(run(cli.command));
    match result {
        Ok(code) => code,
        Err(e) => term::fail(e.as_ref()),
    }
}

async fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Demo { port, store } => start::demo(port, store).await,
        Command::Serve { config } => start::serve(&config).await,
        Command::Doctor { config } => doctor::run(&config),
        Command::Drill(args) => Ok(drill::drill(args).await),
        Command::Key(command) => key::run(command).await,
        Command::Privacy(command) => privacy::run(command).await,
        Command::Policy(command) => policy::run(command).await,
        Command::Audit(AuditCommand::Show { call, config }) => audit::show(&config, call).await,
        Command::Audit(AuditCommand::Export { config }) => audit::export(&config).await,
        Command::Audit(AuditCommand::Verify(args)) => audit::verify(args).await,
        Command::Audit(AuditCommand::ExportLog { dir, config }) => audit::export_log(&config, &dir).await,
        Command::Audit(AuditCommand::Receipt { call, for_customer, config }) => audit::receipt(&config, call, for_customer).await,
        Command::Audit(AuditCommand::CheckReceipt(args)) => audit::check_receipt(&args),
        Command::Audit(AuditCommand::RotateKey { config }) => audit::rotate_key(&config).await,
        Command::Witness(args) => witness::run(args).await,
        Command::Migrate(args) => migrate::run(args).await,
        Command::Risk(RiskCommand::Replay { config, points, since }) => risk::replay(&config, points.as_deref(), since).await,
        Command::Risk(RiskCommand::List { config }) => risk::list(&config),
        Command::Risk(RiskCommand::Explain { call, config }) => risk::explain(&config, call).await,
        Command::Import { file, dry_run, config } => accounts::import(&config, &file, dry_run).await,
        Command::Agent(AgentCommand::Add { name, role, config }) => accounts::add_agent(&config, &name, role).await,
        Command::Agent(AgentCommand::Serve { name, tenant, role, config }) => accounts::assign_agent(&config, &name, &tenant, Some(role)).await,
        Command::Agent(AgentCommand::Leave { name, tenant, config }) => accounts::assign_agent(&config, &name, &tenant, None).await,
        Command::Unlock { account_number, config } => accounts::unlock(&config, &account_number).await,
        Command::Call(args) => call::run(args).await,
        Command::Prompts(command) => prompts::run(command).await,
        Command::Stir(command) => stir::run(&command),
        Command::Survey(survey) => survey::run(survey),
        Command::Voice(command) => voice::run(command),
        Command::Backup { to, keys, config } => {
            let runner = start::open(&countersign_server::config::Config::read(&config)?).await?;
            let store = if keys { &runner.customers.keys } else { &runner.store };
            store.backup(&to).await?;
            start::close(&runner).await;
            term::good(&match keys {
                true => format!("A copy of the customers' keys is in {}. Whoever is erased from now on is in it still: keep it a few days, then destroy it.", to.display()),
                false => format!("A copy of the record is in {}. It opens with the customers' keys, which are not in it: countersign backup --keys FILE", to.display()),
            });
            Ok(ExitCode::SUCCESS)
        }
    }
}
