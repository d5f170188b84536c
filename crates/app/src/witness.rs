//! `countersign witness`: a small witness for somebody else's Merkle log.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc};

use countersign_server::{clock::system_clock, config::read_secret, ledger::witness::{Watcher, watcher}};
use countersign_tlog::{Signer, Verifier, note::Kind};

use crate::{Failure, term};

/// `witness`.
#[derive(clap::Args)]
pub struct Args {
    /// Address and port to listen on; put TLS in front
    #[arg(long, default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// The name of this witness, such as witness.example.com
    #[arg(long)]
    name: String,
    /// A file with the secret key: 64 hexadecimal digits; made by `countersign key new FILE`
    #[arg(long)]
    key_file: PathBuf,
    /// The file that remembers the last head of each log: never restore an older one
    #[arg(long)]
    state: PathBuf,
    /// A public key of a log to watch, as its /log/keys shows it; several logs, or several keys of one
    #[arg(long = "log", value_name = "NAME+HASH+KEY", required = true)]
    logs: Vec<Verifier>,
}

/// Serves until it is stopped.
pub async fn run(args: Args) -> Result<ExitCode, Failure> {
    let text = read_secret("COUNTERSIGN_WITNESS_KEY", Some(&args.key_file))?.ok_or("no key: name a file with --key-file")?;
    let mut seed = zeroize::Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.expose(), seed.as_mut()).map_err(|_| format!("{} does not hold 64 hexadecimal digits: make a key with `countersign key new FILE`", args.key_file.display()))?;
    let signer = Signer::new(&args.name, Kind::Cosignature, &seed)?;
    let key = signer.verifier();
    let watching = Watcher::new(signer, args.logs, args.state, system_clock)?;
    let listener = tokio::net::TcpListener::bind(args.listen).await.map_err(|e| format!("cannot listen on {}: {e}", args.listen))?;
    term::good(&format!("Witness at http://{}/add-checkpoint. Its key, for [[log.witnesses]]:\n{key}", listener.local_addr()?));
    axum::serve(listener, watcher(Arc::new(watching))).with_graceful_shutdown(crate::start::stop()).await?;
    Ok(ExitCode::SUCCESS)
}
