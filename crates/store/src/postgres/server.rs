//! Which database server, which schema of it, and how to talk to it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::OpenError;

/// The longest name of a schema: PostgreSQL cuts names at 63 bytes, and ours has a prefix in places.
const LONGEST: usize = 48;

/// What holds for every connection.
///
/// Every statement finds its rows by a key. Without statistics on a young table the planner may think
/// that reading all of it is as good, and keep that plan: so the ways to do that are shut. The
/// time-outs see to it that a node that was cut off in the middle of its transaction does not hold the
/// right to write for longer than seconds.
const SETTINGS: &[(&str, &str)] = &[
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_material", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("jit", "off"),
    ("default_transaction_isolation", "read\\ committed"),
    ("statement_timeout", "10s"),
    ("lock_timeout", "8s"),
    ("idle_in_transaction_session_timeout", "5s"),
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "2"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "10000"),
    ("timezone", "UTC"),
];

/// A schema of a PostgreSQL server: one installation of ours, or one company of it.
#[derive(Clone)]
pub struct Server {
    config: Config,
    schema: String,
    tls: MakeRustlsConnect,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.name()).finish()
    }
}

impl Server {
    /// A server by its address: `postgres://user@host,second/database?…`, with the parameters of
    /// `libpq`. With several hosts add `target_session_attrs=read-write`, so that the primary is found.
    ///
    /// Connections to another machine are encrypted and the server's certificate is checked, unless
    /// the address says `sslmode=disable`.
    ///
    /// # Errors
    /// An address that is none, or a name of a schema that is not lower-case letters, digits and `_`.
    pub fn new(address: &str, schema: &str) -> Result<Self, OpenError> {
        let bad = |reason: String| OpenError::Server {
            server: "in the configuration".to_owned(),
            reason,
        };
        let mut config: Config = address.parse().map_err(|error| {
            bad(format!(
                "{error}: write postgres://user@host/database, with the password in a file of its own"
            ))
        })?;
        if config.get_hosts().is_empty() {
            return Err(bad("its address names no host".to_owned()));
        }
        if config.get_dbname().is_none() {
            return Err(bad("its address names no database".to_owned()));
        }
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let begins = |c: char| c.is_ascii_lowercase() || c == '_';
        if !schema.starts_with(begins)
            || !schema.chars().all(fits)
            || schema.len() > LONGEST
            || schema.starts_with("pg_")
        {
            return Err(bad(format!(
                "{schema:?} is no name for a schema: write lower-case letters, digits and _, \
                 at most {LONGEST}, not beginning with a digit or pg_"
            )));
        }
        let local = config.get_hosts().iter().all(|host| match host {
            Host::Tcp(name) => {
                let address: Option<std::net::IpAddr> = name.parse().ok();
                name == "localhost" || address.is_some_and(|address| address.is_loopback())
            }
            #[cfg(unix)]
            Host::Unix(_) => true,
        });
        if !local && config.get_ssl_mode() == SslMode::Prefer {
            config.ssl_mode(SslMode::Require);
        }
        config.application_name("countersign");
        let roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        Ok(Self {
            config,
            schema: schema.to_owned(),
            tls: tls(roots).map_err(bad)?,
        })
    }

    /// With a password that is not in the address.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        self.config.password(password);
        self
    }

    /// Trusts the authorities of this PEM file, and no others.
    ///
    /// # Errors
    /// The file cannot be read, or holds no certificate.
    pub fn with_authorities(mut self, file: &Path) -> Result<Self, OpenError> {
        let bad = |reason: String| OpenError::Server {
            server: self.name(),
            reason: format!("{}: {reason}", file.display()),
        };
        let mut roots = RootCertStore::empty();
        let certificates =
            CertificateDer::pem_file_iter(file).map_err(|error| bad(error.to_string()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| bad(error.to_string()))?;
            roots
                .add(certificate)
                .map_err(|error| bad(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(bad(
                "there is no certificate in it: name the PEM file of whoever signed the server's"
                    .to_owned(),
            ));
        }
        let made = tls(roots).map_err(bad)?;
        self.tls = made;
        Ok(self)
    }

    /// The same server, another schema.
    ///
    /// # Errors
    /// See [`Server::new`].
    pub fn with_schema(&self, schema: &str) -> Result<Self, OpenError> {
        // Checked by the same rules; the address stays.
        Self::new("postgres://localhost/check", schema)?;
        let schema = schema.to_owned();
        Ok(Self {
            schema,
            ..self.clone()
        })
    }

    /// The schema.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// Whether everything goes over the network in clear, to another machine.
    #[must_use]
    pub fn is_open_to_listeners(&self) -> bool {
        self.config.get_ssl_mode() == SslMode::Disable
            && self.config.get_hosts().iter().any(|host| {
                matches!(host, Host::Tcp(name) if name != "localhost" && !name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback()))
            })
    }

    /// Hosts, database and schema, for people. Without user and password.
    #[must_use]
    pub fn name(&self) -> String {
        let hosts = self.config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            #[cfg(unix)]
            Host::Unix(path) => path.display().to_string(),
        });
        let hosts: Vec<String> = hosts.collect();
        let database = self.config.get_dbname().unwrap_or_default();
        format!("{}/{database} (schema {})", hosts.join(","), self.schema)
    }

    /// Where the nodes of this schema tell each other what changed.
    pub(super) fn channel(&self) -> String {
        format!("countersign_{}", self.schema)
    }

    pub(super) fn tls(&self) -> MakeRustlsConnect {
        self.tls.clone()
    }

    /// What every session begins with.
    pub(super) fn session(&self, durable: bool) -> Config {
        let mut config = self.config.clone();
        let mut options = self.config.get_options().unwrap_or_default().to_owned();
        let durable = if durable { "on" } else { "off" };
        let own = [
            ("search_path", self.schema.as_str()),
            ("synchronous_commit", durable),
        ];
        for (name, value) in SETTINGS.iter().chain(&own) {
            options.push_str(&format!(" -c {name}={value}"));
        }
        config.options(options.trim_start());
        config.connect_timeout(super::link::CONNECT);
        config.keepalives_idle(std::time::Duration::from_secs(5));
        config.tcp_user_timeout(super::link::PATIENCE);
        config
    }
}

fn tls(roots: RootCertStore) -> Result<MakeRustlsConnect, String> {
    // By name: two libraries in this tree bring providers, and a default would be ambiguous.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_machine_is_talked_to_under_tls_unless_somebody_says_otherwise() {
        let mode = |address| Server::new(address, "countersign").unwrap().config.get_ssl_mode();
        assert_eq!(mode("postgres://u@db.example.com/c"), SslMode::Require);
        assert_eq!(mode("postgres://u@127.0.0.1/c"), SslMode::Prefer);
        assert_eq!(mode("postgres://u@db.example.com/c?sslmode=disable"), SslMode::Disable);
        let open = |address| Server::new(address, "c").unwrap().is_open_to_listeners();
        assert!(open("postgres://u@db.example.com/c?sslmode=disable"));
        assert!(!open("postgres://u@db.example.com/c"));
        assert!(!open("postgres://u@localhost/c?sslmode=disable"));
    }

    #[test]
    fn a_password_is_in_no_name_and_no_error() {
        let server = Server::new("postgres://u:hunter2@127.0.0.1/c", "a").unwrap();
        assert!(!format!("{server:?} {}", server.name()).contains("hunter2"));
        let error = Server::new("postgres://u:hunter2@127.0.0.1/c?nonsense=1", "a").unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn a_schema_is_a_plain_name() {
        for bad in ["", "A", "1a", "a b", "a\"; DROP", "pg_x", "ä", &"a".repeat(49)] {
            assert!(Server::new("postgres://u@127.0.0.1/c", bad).is_err(), "{bad}");
        }
        assert!(Server::new("postgres://u@127.0.0.1/c", "juniper_2").is_ok());
    }
}
