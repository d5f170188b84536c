//! privacyIDEA beside it: installed once into a folder of the cache, set up anew for every run.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

use crate::{Fail, checks::serial, http::Client, process, site::{free_address, run, token_key}};

/// The release that is measured, with the server that its documentation names.
pub const PACKAGES: [&str; 2] = ["privacyidea==3.14", "gunicorn==23.0.0"];
pub const WORKERS: usize = 4;

/// How it is set up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// As it comes.
    Default,
    /// Without what Countersign does otherwise: no signature on answers and records, and the
    /// cheapest hash that it accepts for the PIN that these tokens do not have.
    Light,
}

impl Setting {
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "as installed",
            Self::Light => "light: no signatures, cheapest PIN hash",
        }
    }
}

/// Its Python packages, installed if they are not there yet.
pub fn install(cache: &Path) -> Result<PathBuf, Fail> {
    let venv = cache.join(PACKAGES.join("_").replace("==", "-"));
    let done = venv.join("installed");
    if !done.exists() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
        run(Command::new(venv.join("bin/pip")).args(["install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES))?;
        fs::write(done, "")?;
    }
    Ok(venv)
}

/// A running privacyIDEA. Ended when it goes out of scope.
pub struct Peer {
    child: Child,
    pub address: SocketAddr,
}

impl Peer {
    /// Sets one up with tokens in its own folder and starts it.
    pub async fn start(venv: &Path, dir: &Path, setting: Setting, tokens: u32) -> Result<Self, Fail> {
        fs::create_dir_all(dir)?;
        let config = dir.join("pi.cfg");
        fs::write(&config, configuration(dir, setting))?;
        let bin = |name: &str| {
            let mut command = Command::new(venv.join("bin").join(name));
            command.env("PRIVACYIDEA_CONFIGFILE", &config).current_dir(dir);
            command
        };
        for step in ["create_enckey", "create_audit_keys", "create_tables"] {
            run(bin("pi-manage").args(["setup", step]))?;
        }
        let list: String = (0..tokens).map(|n| format!("{} {}\n", serial(n), hex::encode(token_key(n)))).collect();
        fs::write(dir.join("tokens.txt"), list)?;
        fs::write(dir.join("tokens.py"), TOKENS)?;
        run(bin("python").arg("tokens.py").arg(&config))?;
        let address = free_address()?;
        let app = format!("privacyidea.app:create_app(config_name='production', config_file='{}', silent=True)", config.display());
        let mut command = bin("gunicorn");
        command.args(["--workers", &WORKERS.to_string(), "--timeout", "120", "--bind", &address.to_string(), &app]);
        let peer = Self { child: process::start(&mut command, &dir.join("gunicorn.log"))?, address };
        peer.ready().await?;
        Ok(peer)
    }

    /// Answers, from all of its workers.
    async fn ready(&self) -> Result<(), Fail> {
        let (began, mut answers) = (Instant::now(), 0);
        let mut line = Client::new(self.address);
        // Every worker loads the whole program at its first request.
        while answers < 4 * WORKERS {
            match line.form("/validate/check", &[], "serial=NOBODY&pass=000000").await {
                Ok(_) => answers += 1,
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
            if began.elapsed() > Duration::from_secs(180) {
                return Err("privacyIDEA did not answer within three minutes: see gunicorn.log".into());
            }
        }
        Ok(())
    }

    /// Gunicorn and its workers.
    pub fn pids(&self) -> Vec<u32> {
        let master = self.child.id();
        let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children")).unwrap_or_default();
        std::iter::once(master).chain(children.split_whitespace().filter_map(|p| p.parse().ok())).collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Nothing is left to do about a process that cannot be ended.
        let _ = process::stop(&mut self.child);
    }
}

fn configuration(dir: &Path, setting: Setting) -> String {
    let dir = dir.display();
    let common = format!(
        "SECRET_KEY = 'bench-only-and-no-secret'\nPI_PEPPER = 'bench-only-and-no-secret'\nPI_ENCFILE = '{dir}/enckey'\n\
         PI_AUDIT_KEY_PRIVATE = '{dir}/private.pem'\nPI_AUDIT_KEY_PUBLIC = '{dir}/public.pem'\n\
         SQLALCHEMY_DATABASE_URI = 'sqlite:///{dir}/pi.db'\nPI_LOGFILE = '{dir}/pi.log'\nPI_LOGLEVEL = 30\n\
         PI_NODE_UUID = '00000000-0000-4000-8000-000000000000'\nPI_UUID_FILE = '{dir}/uuid.txt'\n"
    );
    match setting {
        Setting::Default => common,
        Setting::Light => format!(
            "{common}PI_NO_RESPONSE_SIGN = True\nPI_AUDIT_NO_SIGN = True\n\
             PI_HASH_ALGO_PARAMS = {{'argon2__rounds': 1, 'argon2__memory_cost': 8, 'argon2__parallelism': 1}}\n"
        ),
    }
}

const TOKENS: &str = "import sys
from privacyidea.app import create_app
from privacyidea.lib.token import init_token
app = create_app(config_name='production', config_file=sys.argv[1], silent=True)
with app.app_context():
    for line in open('tokens.txt'):
        serial, key = line.split()
        init_token({'type': 'hotp', 'serial': serial, 'otpkey': key, 'otplen': 6, 'hashlib': 'sha1'})
";
