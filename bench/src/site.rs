//! A whole installation in a folder of its own: key, configuration, customers, agents; and the server.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

use crate::{Fail, http::Client, otp, process};

/// How the world would reach the server. Signatures are made over it; nothing resolves it.
pub const PUBLIC_URL: &str = "https://calls.example.test";
/// The program whose key the checks are made with.
const API_KEY: &str = "bench-key-of-a-program-that-is-nowhere-else";
/// A program that asks for approvals (OpenID CIBA).
pub const PROGRAM: &str = "bench-center";
pub const PROGRAM_SECRET: &str = "bench-secret-of-a-program-that-is-nowhere-else";
/// What signs webhooks.
const TOKEN: &str = "bench-auth-token";
pub const ACCOUNT_SID: &str = "AC00000000000000000000000000000000";
const PASSWORD: &str = "a password of the bench";
/// The first line of the file that customers are imported from.
const COLUMNS: &str = "account_number,name,address,postal_code,language,mobile,order_number,order_what,order_status,totp_key,hotp_key\n";

/// A customer of the bench: everything follows from the number.
#[derive(Clone, Copy)]
pub struct Customer(pub u32);

impl Customer {
    /// In the form of E.164 and nobody's: too long for the country that it begins with.
    pub fn number(self) -> String { format!("+1202555{:06}", self.0) }
    pub fn account(self) -> String { format!("{}", 10_000_000 + self.0) }
    pub fn postal_code(self) -> String { format!("{:05}", self.0 % 90_000 + 10_000) }
    pub fn order(self) -> String { format!("{}", 70_000_000 + self.0) }
    pub fn totp(self) -> [u8; 20] { otp::hmac_sha1(b"totp", &[self.0.to_string().as_bytes()]) }
    /// Names that differ by more than a slip of the ear.
    pub fn name(self) -> String {
        let letters: String = otp::hmac_sha1(b"name", &[self.0.to_string().as_bytes()]).iter().take(10).map(|b| char::from(b'a' + b % 26)).collect();
        let (first, last) = letters.split_at(4);
        format!("A{first} T{last}")
    }
    /// A line of the file that customers are imported from, with the key of an app or without one.
    fn line(self, totp: &str) -> String {
        format!("{},{},{} Bench Street,{},en,{},{},a lamp,on its way,{totp},\n", self.account(), self.name(), self.0, self.postal_code(), self.number(), self.order())
    }
}

/// The key of a token that only programs ask about. The peer gets the same ones.
pub fn token_key(n: u32) -> [u8; 20] { otp::hmac_sha1(b"hotp", &[n.to_string().as_bytes()]) }
pub fn token_account(n: u32) -> String { format!("{}", 50_000_000 + n) }

/// Somebody at the desk.
pub struct Agent {
    pub name: String,
    key: Vec<u8>,
}

#[derive(Clone)]
pub struct Site {
    pub server: PathBuf,
    pub dir: PathBuf,
    /// Where the record is, if not in a file.
    pub postgres: Option<Database>,
    pub config: PathBuf,
    pub address: SocketAddr,
}

/// A schema of a PostgreSQL server that nobody used before.
#[derive(Clone)]
pub struct Database {
    pub address: String,
    pub schema: String,
}

impl Database {
    /// A connection of the generator's own. It ends with the client.
    pub async fn connect(&self) -> Result<tokio_postgres::Client, Fail> {
        let (client, connection) = tokio_postgres::connect(&self.address, tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        client.batch_execute(&format!("SET search_path = {}", self.schema)).await?;
        Ok(client)
    }

    fn fresh(address: &str) -> Self {
        let random = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), std::process::id());
        Self { address: address.to_owned(), schema: format!("bench_{random:x}") }
    }
}

impl Site {
    pub fn signing(&self) -> &'static str { TOKEN }
    pub fn bearer(&self) -> String { format!("Bearer {API_KEY}") }
    pub fn store(&self) -> PathBuf { self.dir.join("store/countersign.db") }

    /// Key, token and configuration. `twilio`: where the server finds Twilio's API.
    pub fn prepare(server: &Path, dir: &Path, twilio: SocketAddr, postgres: Option<&str>) -> Result<Self, Fail> {
        fs::create_dir_all(dir.join("store"))?;
        fs::create_dir_all(dir.join("keys"))?;
        let config = dir.join("countersign.toml");
        let site = Self { server: server.to_owned(), dir: dir.to_owned(), postgres: postgres.map(Database::fresh), config, address: free_address()? };
        run(Command::new(server).args(["key", "new"]).arg(dir.join("keys/key")))?;
        write_private(&dir.join("keys/token"), TOKEN)?;
        site.configure(&site.config, &site.store(), twilio)?;
        Ok(site)
    }

    /// Another node: the same keys and the same record, at an address of its own. Choose it while the nodes
    /// before it run, so that theirs are taken.
    pub fn node(&self, n: usize, twilio: SocketAddr) -> Result<Self, Fail> {
        let site = Self { config: self.dir.join(format!("node-{n}.toml")), address: free_address()?, ..self.clone() };
        site.configure(&site.config, &site.store(), twilio)?;
        Ok(site)
    }

    /// Takes away what is not in the folder.
    pub async fn forget(&self) -> Result<(), Fail> {
        if let Some(database) = &self.postgres {
            database.connect().await?.batch_execute(&format!("DROP SCHEMA IF EXISTS {0}, {0}_keys CASCADE", database.schema)).await?;
        }
        Ok(())
    }

    /// Everything on record, one JSON object a line, as the program exports it.
    pub fn exported(&self) -> Result<String, Fail> { run(Command::new(&self.server).args(["audit", "export"]).arg("--config").arg(&self.config)) }

    /// What the program says of the record and its log, if it has nothing to find fault with.
    pub fn verified(&self) -> Result<String, Fail> { run(Command::new(&self.server).args(["audit", "verify"]).arg("--config").arg(&self.config)) }

    /// Writes a configuration. The store is the default one: every commit is on disk before its answer.
    pub fn configure(&self, file: &Path, store: &Path, twilio: SocketAddr) -> Result<(), Fail> {
        let keys = self.dir.join("keys");
        let key_hash = hex::encode(Sha256::digest(API_KEY.as_bytes()));
        let program_hash = hex::encode(Sha256::digest(PROGRAM_SECRET.as_bytes()));
        let place = match &self.postgres {
            Some(Database { address, schema }) => format!("postgres = \"{address}\"\nschema = \"{schema}\""),
            None => format!("path = \"{}\"", store.display()),
        };
        let text = format!(
            "[company]\nname = \"Bench & Co\"\nfraud_line = \"+1 202 555 0100\"\n\n\
             [listen]\naddress = \"{}\"\npublic_url = \"{PUBLIC_URL}\"\n\n\
             [store]\n{place}\n\n[keys]\nfile = \"{}\"\n\n\
             [twilio]\naccount_sid = \"{ACCOUNT_SID}\"\nauth_token_file = \"{}\"\nfrom = \"+12025550100\"\nbase_url = \"http://{twilio}\"\n\n\
             [[api]]\nname = \"bench\"\nkey_sha256 = \"{key_hash}\"\n\n\
             [[oauth_clients]]\nid = \"{PROGRAM}\"\nname = \"Bench center\"\nsecret_sha256 = \"{program_hash}\"\ngrants = [\"ciba\"]\nrequests_per_hour = 1000000\n",
            self.address, keys.join("key").display(), keys.join("token").display(),
        );
        Ok(fs::write(file, text)?)
    }

    /// Imports customers with an app, and accounts with a token.
    pub fn import(&self, customers: u32, tokens: u32) -> Result<(), Fail> {
        let mut csv = COLUMNS.to_owned();
        for c in (0..customers).map(Customer) {
            csv.push_str(&c.line(&hex::encode(c.totp())));
        }
        for n in 0..tokens {
            writeln!(csv, "{},{},{n} Token Street,10000,en,,,,,,{}", token_account(n), Customer(1_000_000 + n).name(), hex::encode(token_key(n)))?;
        }
        self.import_file(&csv)
    }

    /// Imports customers with an app, and after them some who have none and are texted codes.
    pub fn import_texted(&self, with_app: u32, texted: u32) -> Result<(), Fail> {
        let lines = (0..with_app + texted).map(Customer).map(|c| if c.0 < with_app { c.line(&hex::encode(c.totp())) } else { c.line("") });
        self.import_file(&std::iter::once(COLUMNS.to_owned()).chain(lines).collect::<String>())
    }

    fn import_file(&self, csv: &str) -> Result<(), Fail> {
        let file = self.dir.join("customers.csv");
        fs::write(&file, csv)?;
        run(Command::new(&self.server).arg("import").arg(&file).arg("--config").arg(&self.config))?;
        Ok(())
    }

    pub fn add_agents(&self, count: usize) -> Result<Vec<Agent>, Fail> {
        (0..count).map(|n| {
            let name = format!("agent-{n}");
            let mut command = Command::new(&self.server);
            command.args(["agent", "add", &name, "--role", "agent"]).arg("--config").arg(&self.config);
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                writeln!(stdin, "{PASSWORD}")?;
            }
            let out = child.wait_with_output()?;
            let said = String::from_utf8_lossy(&out.stdout).into_owned();
            let key = said.lines().map(str::trim).find(|l| l.len() == 32 && l.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()));
            let key = key.ok_or_else(|| format!("`countersign agent add` printed no key: {said}{}", String::from_utf8_lossy(&out.stderr)))?;
            Ok(Agent { name, key: otp::from_base32(key) })
        }).collect()
    }

    /// Starts the server.
    pub fn start(&self, config: &Path) -> Result<Server, Fail> {
        let began = Instant::now();
        let mut command = Command::new(&self.server);
        command.arg("serve").arg("--config").arg(config);
        let child = process::start(&mut command, &self.dir.join("server.log"))?;
        Ok(Server { child, began, address: self.address })
    }

    /// Signs an agent in, as a browser does, and returns the cookie.
    pub async fn sign_in(&self, line: &mut Client, agent: &Agent) -> Result<String, Fail> {
        let body = format!("name={}&password={}&code={}", agent.name, PASSWORD.replace(' ', "+"), otp::code(&agent.key, otp::step()));
        let answer = line.form("/desk/sign-in", &[("sec-fetch-site", "same-origin")], &body).await?;
        let cookie = answer.header("set-cookie").and_then(|v| v.split(';').next()).filter(|_| answer.status == 303);
        Ok(cookie.ok_or_else(|| format!("{} was not signed in: status {}", agent.name, answer.status))?.to_owned())
    }
}

/// A server that runs. Ended when it goes out of scope, whatever happened.
pub struct Server {
    child: Child,
    began: Instant,
    address: SocketAddr,
}

impl Server {
    pub fn pid(&self) -> u32 { self.child.id() }

    /// Waits until it says that it is ready: the milliseconds since its start.
    pub async fn ready(&mut self) -> Result<f64, Fail> {
        let mut line = Client::new(self.address);
        loop {
            if let Ok(answer) = line.get("/readyz", &[]).await
                && answer.ok()
            {
                return Ok(self.began.elapsed().as_secs_f64() * 1000.0);
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("the server ended at once ({status}): see server.log").into());
            }
            if self.began.elapsed() > Duration::from_secs(120) {
                return Err("the server was not ready within two minutes: see server.log".into());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub fn stop(mut self) -> Result<(), Fail> { Ok(process::stop(&mut self.child)?) }

    /// Ends it in the middle of whatever it does: `kill -9`.
    pub fn kill(mut self) -> Result<(), Fail> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// How it ended, if nobody asked it to.
    pub fn ended(&mut self) -> Result<Option<String>, Fail> { Ok(self.child.try_wait()?.map(|status| status.to_string())) }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Nothing is left to do about a process that cannot be ended.
            let _ = process::stop(&mut self.child);
        }
    }
}

/// An address on this machine that was free a moment ago, below those that the system gives to
/// anybody who asks for one.
pub fn free_address() -> Result<SocketAddr, Fail> {
    let first = u16::try_from(std::process::id() % 9000).unwrap_or(0) + 21_000;
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let port = (first..first + 500).find(free).ok_or("no port of 127.0.0.1 is free between 21000 and 30500")?;
    Ok((Ipv4Addr::LOCALHOST, port).into())
}

/// Runs a program to its end; what it said is told only if it failed.
pub fn run(command: &mut Command) -> Result<String, Fail> {
    let out = command.stdin(Stdio::null()).output().map_err(|e| format!("cannot start {:?}: {e}", command.get_program()))?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    let end: Vec<&str> = said.lines().rev().take(12).collect();
    Err(format!("{command:?} failed ({}):\n{}", out.status, end.into_iter().rev().collect::<Vec<_>>().join("\n")).into())
}

fn write_private(path: &Path, text: &str) -> Result<(), Fail> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    Ok(options.open(path)?.write_all(text.as_bytes())?)
}
