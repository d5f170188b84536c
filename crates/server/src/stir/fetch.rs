//! Fetches certificates and revocation lists from where a stranger's header says.
//!
//! Which addresses may be fetched at all is decided by [`countersign_stir::Address`]: https, port 443 or
//! 8443, a public host, a path, nothing else. Here: whatever a name resolves to has to be public, and
//! what was looked at is what is connected to; no redirects, no proxy, a limit on size and time; one
//! fetch for an address at a time, few at once, so many a minute; and what failed is not tried again
//! for a minute.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use countersign_core::time::{Span, Timestamp};
use countersign_stir::{Address, Unfetched, Want, What, is_special};
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use reqwest::{
    Client, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};
use tokio::sync::Semaphore;

use crate::{outbox::provider::SetupError, push::address::covers};

/// Fetches at one time.
const AT_ONCE: usize = 16;
/// What failed is not tried again for so long.
const AFTER_FAILURE: Span = Span::seconds(60);
/// Failures and known hosts that are remembered.
const REMEMBERED: usize = 1024;
/// Most bytes (ATIS-1000074 leaves it to us): certificates with those above them, lists of all authorities.
const CERTIFICATE: usize = 64 * 1024;
const LIST: usize = 4 * 1024 * 1024;

/// How much is fetched, and from where.
#[derive(Debug, Clone)]
pub struct Limits {
    /// From which hosts: `certs.example.org` or `*.example.org`. `None`: any public one.
    pub hosts: Option<Vec<String>>,
    /// Longest time for one fetch.
    pub timeout: Duration,
    /// Fetches a minute, from hosts that gave a good certificate before and from others each.
    pub per_minute: u32,
}

impl Default for Limits {
    fn default() -> Self { Self { hosts: None, timeout: Duration::from_secs(3), per_minute: 120 } }
}

type Found = Result<Arc<[u8]>, Unfetched>;
type Running = Shared<BoxFuture<'static, Found>>;
/// An address, and whether a list is expected there: what may be long differs.
type Key = (String, bool);

/// Fetches.
pub struct Fetcher {
    client: Client,
    limits: Limits,
    slots: Semaphore,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: HashMap<Key, Running>,
    failed: HashMap<Key, (Timestamp, Unfetched)>,
    /// Hosts from which a certificate came that held.
    good: HashSet<String>,
    known: Bucket,
    strange: Bucket,
}

/// So many a minute.
#[derive(Default)]
struct Bucket {
    began: Timestamp,
    taken: u32,
}

impl Bucket {
    fn take(&mut self, now: Timestamp, most: u32) -> bool {
        if now - self.began >= Span::minutes(1) || now < self.began {
            *self = Self { began: now, taken: 0 };
        }
        self.taken = self.taken.saturating_add(1);
        self.taken <= most
    }
}

/// Only for tests: names that lead to this machine, and the certificate of a server there.
pub struct Instead {
    /// Names, and where their server is.
    pub names: HashMap<String, SocketAddr>,
    /// A certificate that is trusted beside those of the web, DER.
    pub root: Vec<u8>,
}

impl Fetcher {
    /// Connects to nothing.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(limits: Limits) -> Result<Self, SetupError> { Self::with(limits, HashMap::new(), None) }

    /// With a world of a test's own. No setting leads here.
    ///
    /// # Errors
    /// TLS cannot be set up, or the certificate is none.
    pub fn in_a_test(limits: Limits, instead: Instead) -> Result<Self, SetupError> {
        let root = reqwest::Certificate::from_der(&instead.root).map_err(|_| SetupError::Tls)?;
        Self::with(limits, instead.names, Some(root))
    }

    fn with(limits: Limits, names: HashMap<String, SocketAddr>, root: Option<reqwest::Certificate>) -> Result<Self, SetupError> {
        let mut builder = Client::builder()
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .http1_only()
            .https_only(true)
            // A proxy would resolve the name itself, and connect to what nobody here looked at.
            .no_proxy()
            .pool_max_idle_per_host(0)
            .connect_timeout(limits.timeout)
            .timeout(limits.timeout)
            .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(Outside { names }));
        if let Some(root) = root {
            builder = builder.tls_certs_only([root]);
        }
        let client = builder.build().map_err(|_| SetupError::Tls)?;
        Ok(Self { client, limits, slots: Semaphore::new(AT_ONCE), state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> { self.state.lock().unwrap_or_else(PoisonError::into_inner) }

    /// What these hosts gave was good: strangers who name others do not keep us from asking them again.
    pub(super) fn know(&self, hosts: &[String]) {
        let mut state = self.state();
        for host in hosts {
            if state.good.len() < REMEMBERED {
                state.good.insert(host.clone());
            }
        }
    }

    /// What is at an address.
    ///
    /// # Errors
    /// [`Unfetched`].
    pub async fn fetch(self: &Arc<Self>, want: &Want, now: Timestamp) -> Found {
        let key = (want.address.as_str().to_owned(), want.what == What::List);
        let running = {
            let mut state = self.state();
            if let Some(running) = state.running.get(&key) {
                running.clone()
            } else {
                self.may(&mut state, &key, &want.address, now)?;
                let (this, want, named) = (self.clone(), want.clone(), key.clone());
                let fetching = async move {
                    let found = this.get(&want).await;
                    this.settle(named, &found, now);
                    found
                };
                // Whoever wants it may be gone before it is there: it comes to its end by itself.
                let fetching = tokio::spawn(fetching);
                let running = async move { fetching.await.unwrap_or(Err(Unfetched::Connection)) }.boxed().shared();
                state.running.insert(key, running.clone());
                running
            }
        };
        running.await
    }

    /// Whether an address is asked at all.
    fn may(&self, state: &mut State, key: &Key, address: &Address, now: Timestamp) -> Result<(), Unfetched> {
        if self.limits.hosts.as_ref().is_some_and(|hosts| !hosts.iter().any(|entry| covers(entry, address.host()))) {
            return Err(Unfetched::Host);
        }
        if let Some((until, why)) = state.failed.get(key).filter(|(until, _)| now < *until) {
            tracing::debug!(until = until.0, "what failed lately is not fetched again");
            return Err(*why);
        }
        let known = state.good.contains(address.host());
        let bucket = if known { &mut state.known } else { &mut state.strange };
        // As if nobody answered: it is not held against the address.
        if bucket.take(now, self.limits.per_minute) { Ok(()) } else { Err(Unfetched::Connection) }
    }

    fn settle(&self, key: Key, found: &Found, now: Timestamp) {
        let mut state = self.state();
        state.running.remove(&key);
        state.failed.retain(|_, (until, _)| now < *until);
        if let Err(why) = found
            && state.failed.len() < REMEMBERED
        {
            state.failed.insert(key, (now + AFTER_FAILURE, *why));
        }
    }

    async fn get(&self, want: &Want) -> Found {
        let url = Url::parse(want.address.as_str()).map_err(|_| Unfetched::Host)?;
        // What another reader of addresses makes of it has to be what was judged.
        if url.host_str() != Some(want.address.host()) || url.port_or_known_default() != Some(want.address.port()) {
            return Err(Unfetched::Host);
        }
        let most = match want.what {
            What::Certificate => CERTIFICATE,
            What::List => LIST,
        };
        let _slot = self.slots.acquire().await.map_err(|_| Unfetched::Connection)?;
        let mut answer = self.client.get(url).send().await.map_err(|_| Unfetched::Connection)?;
        if answer.status().as_u16() != 200 {
            return Err(Unfetched::Status);
        }
        let mut found = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|_| Unfetched::Connection)? {
            if found.len() + part.len() > most {
                return Err(Unfetched::TooLong);
            }
            found.extend_from_slice(&part);
        }
        Ok(found.into())
    }
}

/// A resolver that knows no special address. What it answers is what is connected to, so that a name
/// cannot mean another machine a moment later.
struct Outside {
    names: HashMap<String, SocketAddr>,
}

impl Resolve for Outside {
    fn resolve(&self, name: Name) -> Resolving {
        let known = self.names.get(name.as_str()).copied();
        Box::pin(async move {
            if let Some(known) = known {
                return Ok(Box::new(std::iter::once(known)) as Addrs);
            }
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            // One special address among public ones is one too many: which is taken is not ours to say.
            if found.iter().any(|at| is_special(at.ip())) {
                return Err("the name in a call's signature leads to an address that is not public".into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want(address: &str) -> Want { Want { address: Address::read(address).unwrap(), what: What::Certificate } }

    fn fetcher(limits: Limits) -> Arc<Fetcher> { Arc::new(Fetcher::new(limits).unwrap()) }

    #[tokio::test]
    async fn a_name_for_something_inside_is_not_resolved() {
        let outside = Outside { names: HashMap::new() };
        assert!(outside.resolve("localhost".parse().unwrap()).await.is_err());
    }

    #[tokio::test]
    async fn only_listed_hosts_are_asked() {
        let fetcher = fetcher(Limits { hosts: Some(vec!["certs.example.org".into(), "*.example.net".into()]), per_minute: 0, ..Limits::default() });
        for no in ["https://other.example.org/a", "https://example.net/a", "https://certs.example.org.evil.com/a"] {
            assert_eq!(fetcher.fetch(&want(no), Timestamp(0)).await, Err(Unfetched::Host), "{no}");
        }
        // These would be, and there is no more room this minute.
        for yes in ["https://certs.example.org/a", "https://a.example.net:8443/a"] {
            assert_eq!(fetcher.fetch(&want(yes), Timestamp(0)).await, Err(Unfetched::Connection), "{yes}");
        }
    }

    #[test]
    fn a_minute_has_room_for_so_many_and_known_hosts_for_as_many_again() {
        let fetcher = fetcher(Limits { per_minute: 3, ..Limits::default() });
        fetcher.know(&["good.example.org".into()]);
        let asked = |host: &str, n: u32, now: i64| {
            let want = want(&format!("https://{host}/{n}"));
            let key = (want.address.as_str().to_owned(), false);
            fetcher.may(&mut fetcher.state(), &key, &want.address, Timestamp(now)).is_ok()
        };
        let strange = (0..1000).filter(|n| asked("evil.example.com", *n, 60_000)).count();
        let good = (0..1000).filter(|n| asked("good.example.org", *n, 60_001)).count();
        assert_eq!((strange, good), (3, 3));
        assert!(asked("evil.example.com", 0, 120_000));
    }

    #[test]
    fn what_failed_waits_a_minute_and_is_bounded() {
        let fetcher = fetcher(Limits { per_minute: u32::MAX, ..Limits::default() });
        let (want, now) = (want("https://certs.example.org/a"), Timestamp(1_000_000));
        let key = (want.address.as_str().to_owned(), false);
        let may = |now| fetcher.may(&mut fetcher.state(), &key, &want.address, now);
        fetcher.settle(key.clone(), &Err(Unfetched::TooLong), now);
        assert_eq!(may(now + Span::seconds(59)), Err(Unfetched::TooLong));
        assert_eq!(may(now + Span::seconds(60)), Ok(()));
        for n in 0..5000 {
            fetcher.settle((format!("https://certs.example.org/{n}"), false), &Err(Unfetched::Status), now);
        }
        assert_eq!(fetcher.state().failed.len(), REMEMBERED);
        fetcher.settle(key, &Ok(Arc::new([])), now + Span::minutes(2));
        assert!(fetcher.state().failed.is_empty());
        fetcher.know(&(0..5000).map(|n| format!("{n}.example.org")).collect::<Vec<_>>());
        assert_eq!(fetcher.state().good.len(), REMEMBERED);
    }
}
