//! A way to the database that ends connections when it is told to: before the next commit has come there, or
//! after it, before its answer is back.

use std::{cell::Cell, net::{Ipv4Addr, SocketAddr}, rc::Rc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::{OwnedReadHalf, OwnedWriteHalf}},
    task::spawn_local,
};

use crate::Fail;

/// In a request it is the statement that commits, in an answer the word that it was done.
const COMMIT: &[u8] = b"COMMIT\0";

/// When a connection is cut.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The database never hears of the commit.
    Before,
    /// The database has committed, and nobody is told.
    After,
}

/// The way of one node.
pub struct Cutting {
    pub address: SocketAddr,
    next: Cell<Option<When>>,
    before: Cell<u64>,
    after: Cell<u64>,
}

impl Cutting {
    /// Listens, on this thread.
    pub async fn to(database: SocketAddr) -> Result<Rc<Self>, Fail> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let this = Rc::new(Self { address: listener.local_addr()?, next: Cell::default(), before: Cell::default(), after: Cell::default() });
        let way = this.clone();
        spawn_local(async move {
            while let Ok((near, _)) = listener.accept().await {
                let way = way.clone();
                spawn_local(async move {
                    if let Ok(far) = TcpStream::connect(database).await {
                        way.carry(near, far).await;
                    }
                });
            }
        });
        Ok(this)
    }

    /// Cuts the connection that commits next; then everything passes again. `None`: nothing is cut.
    pub fn next(&self, when: Option<When>) { self.next.set(when); }

    /// How many were cut, before and after a commit.
    pub fn cuts(&self) -> (u64, u64) { (self.before.get(), self.after.get()) }

    /// Until one side has ended, or is cut off: then both have.
    async fn carry(&self, near: TcpStream, far: TcpStream) {
        if near.set_nodelay(true).and(far.set_nodelay(true)).is_err() {
            return;
        }
        let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
        tokio::select! {
            () = self.pass_on(When::Before, from_near, to_far) => {}
            () = self.pass_on(When::After, from_far, to_near) => {}
        }
    }

    async fn pass_on(&self, when: When, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            let said = bytes.get(..count).unwrap_or_default();
            if self.next.get() == Some(when) && said.windows(COMMIT.len()).any(|part| part == COMMIT) {
                let cuts = if when == When::Before { &self.before } else { &self.after };
                cuts.set(cuts.get() + 1);
                self.next.set(None);
                return;
            }
            if to.write_all(said).await.is_err() {
                return;
            }
        }
    }
}

/// The same address of a database by way of another place, and the place that it named.
pub fn detour(address: &str, by: SocketAddr) -> Option<(String, String)> {
    let (scheme, rest) = address.split_once("://")?;
    let (authority, path) = rest.split_once('/')?;
    let (user, place) = authority.rsplit_once('@').map_or(("", authority), |(user, place)| (user, place));
    let at = if user.is_empty() { "" } else { "@" };
    // Several hosts have no one place.
    let (host, port) = place.rsplit_once(':').unwrap_or((place, "5432"));
    if host.is_empty() || host.contains([',', ':', '%']) {
        return None;
    }
    Some((format!("{scheme}://{user}{at}{by}/{path}"), format!("{host}:{port}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_elsewhere() {
        let by = ([127, 0, 0, 1], 7000).into();
        let told = |address: &str| detour(address, by);
        assert_eq!(told("postgres://me@127.0.0.1:5433/db?x=y"), Some(("postgres://me@127.0.0.1:7000/db?x=y".into(), "127.0.0.1:5433".into())));
        assert_eq!(told("postgres://localhost/db"), Some(("postgres://127.0.0.1:7000/db".into(), "localhost:5432".into())));
        assert_eq!(told("postgres://me@a,b/db"), None);
        assert_eq!(told("host=a user=b"), None);
    }
}
