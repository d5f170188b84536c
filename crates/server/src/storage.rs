//! `[store]`: where the record is kept, and opening it.

use std::path::PathBuf;

use countersign_store::{OpenError, Options, Server, Store};
use serde::Deserialize;

use crate::config::{ConfigError, Severity, private_file, read_secret};

/// Where the record is kept: a SQLite file for one node, or a schema of PostgreSQL for several.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    /// The SQLite file.
    pub path: Option<PathBuf>,
    /// The PostgreSQL server: `postgres://user@host/database`, without a password.
    pub postgres: Option<String>,
    /// Its schema.
    #[serde(default = "schema")]
    pub schema: String,
    /// The SQLite file of customers' keys; `record.keys.db` beside `record.db` if it is left out.
    pub keys: Option<PathBuf>,
    /// The PostgreSQL server of customers' keys, if it is another; the same password opens it.
    pub keys_postgres: Option<String>,
    /// The schema of customers' keys; that of the record and `_keys` if it is left out.
    pub keys_schema: Option<String>,
    /// A file with the password. `COUNTERSIGN_DATABASE_PASSWORD` in the environment comes first.
    pub password_file: Option<PathBuf>,
    /// A PEM file with the authorities that may have signed the server's certificate; without, the
    /// public ones are trusted.
    pub ca_file: Option<PathBuf>,
}

fn schema() -> String { "countersign".to_owned() }

/// Why the record cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The section names nothing, or two things.
    #[error("[store] names {0}: write path = \"…\" for a SQLite file, or postgres = \"postgres://…\" for a server, not both")]
    Which(&'static str),
    /// A file of the section cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The database.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl Storage {
    /// A SQLite file.
    pub fn file(path: PathBuf) -> Self { Self { path: Some(path), ..Self::default() } }

    /// The server, if it is one.
    ///
    /// # Errors
    /// The section names both or neither, or an address that is none.
    pub fn server(&self) -> Result<Option<Server>, StorageError> {
        let address = match (&self.path, &self.postgres) {
            (Some(_), None) => return Ok(None),
            (None, Some(address)) => address,
            (None, None) => return Err(StorageError::Which("no place for the record")),
            (Some(_), Some(_)) => return Err(StorageError::Which("two places for the record")),
        };
        let mut server = Server::new(address, &self.schema)?;
        if let Some(password) = read_secret("COUNTERSIGN_DATABASE_PASSWORD", self.password_file.as_deref())? {
            server = server.with_password(password.expose());
        }
        if let Some(file) = &self.ca_file {
            server = server.with_authorities(file)?;
        }
        Ok(Some(server))
    }

    /// Opens it, and creates or migrates it first if need be.
    ///
    /// # Errors
    /// What stands in the way, and what to do about it.
    pub async fn open(&self) -> Result<Store, StorageError> {
        Ok(match (self.server()?, &self.path) {
            (Some(server), _) => Store::postgres(&server, Options::default()).await?,
            (None, Some(path)) => Store::sqlite(path, Options::default())?,
            (None, None) => return Err(StorageError::Which("no place for the record")),
        })
    }

    /// The same for the key store, where customers' keys are: never the record's own place.
    ///
    /// # Errors
    /// See [`Storage::open`].
    pub async fn open_keys(&self) -> Result<Store, StorageError> {
        let path = self.keys_path();
        if path.is_some() && path == self.path {
            return Err(StorageError::Which("one place for the record and for customers' keys"));
        }
        let of_keys = self.of_keys();
        if self.path.is_none() && (&of_keys.postgres, &of_keys.schema) == (&self.postgres, &self.schema) {
            return Err(StorageError::Which("one place for the record and for customers' keys"));
        }
        of_keys.open().await
    }

    /// Where the key store is, as a section of its own.
    #[must_use]
    pub fn of_keys(&self) -> Self {
        Self {
            path: self.keys_path(), postgres: self.keys_postgres.clone().or_else(|| self.postgres.clone()),
            schema: self.keys_schema.clone().unwrap_or_else(|| format!("{}_keys", self.schema)), keys: None, keys_postgres: None, keys_schema: None, ..self.clone()
        }
    }

    fn keys_path(&self) -> Option<PathBuf> {
        let path = self.path.as_ref()?;
        Some(self.keys.clone().unwrap_or_else(|| path.with_extension("keys.db")))
    }

    /// Whether there is a record already, as far as can be told without opening it.
    pub fn is_there(&self) -> bool { self.path.as_ref().is_none_or(|path| path.exists()) }

    /// What is missing or unsafe.
    pub(crate) fn examine(&self, key: Option<&PathBuf>, say: &mut impl FnMut(Severity, &str, String)) {
        match self.server() {
            Err(e) => say(Severity::Missing, "store", e.to_string()),
            Ok(Some(server)) => {
                if let (Some(path), None) = (&self.password_file, std::env::var_os("COUNTERSIGN_DATABASE_PASSWORD")) {
                    private_file(path, "store.password_file", say);
                }
                if self.postgres.as_deref().and_then(|address| url::Url::parse(address).ok()).is_some_and(|url| url.password().is_some()) {
                    say(Severity::Unsafe, "store.postgres", "holds the password: keep it in a file of its own, store.password_file".into());
                }
                if self.keys.is_some() {
                    say(Severity::Note, "store.keys", "is for store.path, and is not used with a server".into());
                }
                if server.is_open_to_listeners() {
                    say(Severity::Unsafe, "store.postgres", "says sslmode=disable: sealed records, codes in use and who calls when would cross the network in clear".into());
                }
            }
            Ok(None) => {
                let dir = self.path.as_ref().and_then(|path| path.parent()).filter(|dir| !dir.as_os_str().is_empty());
                if let (Some(key), Some(dir)) = (key, dir)
                    && key.parent() == Some(dir)
                {
                    say(Severity::Unsafe, "keys.file", "lies beside the database: whoever copies the folder has both. Keep the key elsewhere".into());
                }
                if let Some(dir) = dir.filter(|dir| !dir.is_dir()) {
                    say(Severity::Missing, "store.path", format!("the folder {} does not exist", dir.display()));
                }
                let (keys_postgres, keys_schema) = (self.keys_postgres.is_some(), self.keys_schema.is_some());
                for (set, setting) in [
                    (self.password_file.is_some(), "store.password_file"), (self.ca_file.is_some(), "store.ca_file"),
                    (keys_postgres, "store.keys_postgres"), (keys_schema, "store.keys_schema"),
                ] {
                    if set {
                        say(Severity::Note, setting, "is for store.postgres, and is not used with a file".into());
                    }
                }
            }
        }
    }
}
