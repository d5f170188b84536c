//! A PostgreSQL server for the tests: in a temporary folder, on a free port of this machine, as an
//! ordinary user, and gone with the run.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    Failure,
    shell::{self, output, succeeds, which},
};

/// A server that is stopped, and whose folder is removed, when this is dropped.
pub struct Postgres {
    folder: PathBuf,
    server: Child,
    port: u16,
}

/// Where Debian and others keep the server's programs, newest first.
pub fn programs() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("COUNTERSIGN_PG_BIN").filter(|v| !v.is_empty()) {
        return Some(named.into());
    }
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(version, bin)| *version >= 14 && bin.join("initdb").is_file())
        .collect();
    found.sort();
    found.pop().map(|(_, bin)| bin).or_else(|| which("initdb").and_then(|initdb| initdb.parent().map(Path::to_path_buf)))
}

fn is_root() -> bool { output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0") }

/// The server refuses to run as root: then it runs as the user that its package has made.
fn as_user(program: &Path) -> Command {
    let root = is_root();
    let mut command = Command::new(if root { Path::new("setpriv") } else { program });
    if root {
        command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--"]).arg(program);
    }
    command
}

impl Postgres {
    /// Whether there is none to start.
    pub fn is_missing() -> bool { programs().is_none() }

    /// Starts one. `durable`: what it keeps survives the loss of power, as it would in earnest.
    pub fn start(durable: bool) -> Result<Self, Failure> {
        let bin = programs().ok_or("PostgreSQL 14 or newer is not installed; on Debian: apt-get install postgresql")?;
        let folder = std::env::temp_dir().join(format!("countersign-postgres-{}", std::process::id()));
        std::fs::create_dir(&folder)?;
        if is_root() {
            shell::run(Command::new("chown").arg("postgres").arg(&folder))?;
        }
        let data = folder.join("data");
        output(as_user(&bin.join("initdb")).args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"]).arg(&data))?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let settings = [
            "listen_addresses=127.0.0.1".to_owned(), format!("port={port}"), format!("unix_socket_directories={}", folder.display()),
            "max_connections=200".into(), format!("shared_buffers={}", if durable { "512MB" } else { "64MB" }), "max_wal_size=4GB".into(),
        ];
        let mut command = as_user(&bin.join("postgres"));
        command.arg("-D").arg(&data);
        let careless = ["fsync=off", "synchronous_commit=off", "full_page_writes=off"].map(str::to_owned);
        for setting in settings.into_iter().chain(careless.into_iter().filter(|_| !durable)) {
            command.args(["-c", &setting]);
        }
        let log = std::fs::File::create(folder.join("log"))?;
        let server = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut this = Self { folder, server, port };
        let ready = this.ready(&bin);
        ready.map(|()| this)
    }

    fn ready(&mut self, bin: &Path) -> Result<(), Failure> {
        let port = self.port.to_string();
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(60) {
            if self.server.try_wait()?.is_some() {
                break;
            }
            if succeeds(Command::new(bin.join("psql")).args(["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-c", "CREATE DATABASE countersign"])) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let said = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        Err(format!("PostgreSQL did not start: {said}").into())
    }

    /// Where it is.
    pub fn address(&self) -> String { format!("postgres://postgres@127.0.0.1:{}/countersign", self.port) }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGINT is its fast shutdown; its children go with it.
        let stop = |process: u32| succeeds(Command::new("kill").args(["-INT", &process.to_string()]));
        stop(self.server.id());
        let _ = self.server.wait();
        // The bench stops it and starts it again: then another process is the server, and nobody's child here.
        if let Some(process) = self.again() {
            stop(process);
            let asked = Instant::now();
            while self.again() == Some(process) && asked.elapsed() < Duration::from_secs(10) {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Postgres {
    /// The server on this folder that somebody else has started, while it runs.
    fn again(&self) -> Option<u32> {
        let text = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).ok()?;
        let process: u32 = text.lines().next()?.trim().parse().ok()?;
        // The file may be left of one that is gone, and the number be another's by now.
        let command = std::fs::read(format!("/proc/{process}/cmdline")).ok()?;
        String::from_utf8_lossy(&command).contains(self.folder.to_str()?).then_some(process)
    }
}
