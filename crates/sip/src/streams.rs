//! The door for connections by TCP: who may have one, how many there are, and for how long without a call.
//!
//! The stack's own listener takes every connection, and one that says nothing is held as long as its
//! other end likes. Each is a file, and files are shared with everything else that runs here. So we
//! listen ourselves, judge by address, and hand over to the stack what has passed.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rsipstack::platform::CancellationToken;
use rsipstack::transaction::endpoint::EndpointInnerRef;
use rsipstack::transport::tcp::TcpConnection;
use rsipstack::transport::{SipAddr, SipConnection};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::guard::Guard;

/// Connections beside one for each call.
const BESIDE_CALLS: usize = 64;
/// Connections that no single address of a peer can take: the other peers have them.
const FOR_OTHERS: usize = 16;
/// Connections of one address where nobody is listed and a password lets in.
const UNLISTED: usize = 16;
/// Connections of strangers, and of one of them. An agent's telephone is one: it may end its part of a
/// call on a connection of its own (RFC 3261 §18.1.1).
const STRANGERS: usize = 16;
const STRANGER: usize = 2;
/// How long we wait when the system has no connection to give, out of files for example.
const BREATH: Duration = Duration::from_millis(500);
/// How often we look whether the stack has let go of a connection that is closed.
const LET_GO: Duration = Duration::from_millis(50);

/// Who is at the other end, as far as the address says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A peer that is listed. One request that passes keeps the connection.
    Listed,
    /// Nobody is listed. A call keeps the connection, which a password began.
    Unlisted,
    /// Not listed, while others are. Nothing keeps the connection.
    Stranger,
}

/// The connections that there are.
pub(crate) struct Streams {
    all: usize,
    open: Mutex<HashMap<SocketAddr, (Kind, Arc<Notify>)>>,
}

impl Streams {
    /// For a gateway of so many calls.
    pub fn new(calls: usize) -> Self {
        Self { all: calls.saturating_add(BESIDE_CALLS), open: Mutex::default() }
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<SocketAddr, (Kind, Arc<Notify>)>) -> T) -> T {
        act(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.with(|open| open.len())
    }

    /// Room for one more from there, and what tells it that it may stay.
    fn admit(&self, from: SocketAddr, kind: Kind) -> Option<Arc<Notify>> {
        let house = house(from.ip());
        self.with(|open| {
            let of = |wanted: fn(Kind) -> bool, anywhere: bool| {
                open.iter().filter(|(at, (kind, _))| wanted(*kind) && (anywhere || house == self::house(at.ip()))).count()
            };
            let room = match kind {
                Kind::Listed => of(|kind| kind == Kind::Listed, false) < self.all.saturating_sub(FOR_OTHERS),
                Kind::Unlisted => of(|kind| kind == Kind::Unlisted, false) < UNLISTED,
                Kind::Stranger => of(|kind| kind == Kind::Stranger, false) < STRANGER && of(|kind| kind == Kind::Stranger, true) < STRANGERS,
            };
            if !room || open.len() >= self.all {
                return None;
            }
            let keep = Arc::<Notify>::default();
            open.insert(from, (kind, keep.clone()));
            Some(keep)
        })
    }

    /// A request from there has passed.
    pub fn passed(&self, from: SocketAddr) {
        self.with(|open| open.get(&from).filter(|(kind, _)| *kind == Kind::Listed).map(|(_, keep)| keep.notify_one()));
    }

    /// A call from there was let in.
    pub fn called(&self, from: SocketAddr) {
        self.with(|open| open.get(&from).filter(|(kind, _)| *kind != Kind::Stranger).map(|(_, keep)| keep.notify_one()));
    }
}

/// What is counted as one address: who has IPv6 has the lower half of it to themselves.
fn house(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
        v4 => v4,
    }
}

/// What the door needs beside the guard.
pub(crate) struct Door {
    pub guard: Arc<Guard>,
    pub endpoint: EndpointInnerRef,
    /// Our address, as others are told.
    pub here: SipAddr,
    /// How long a connection may go on that nothing keeps: 64 × T1, as long as a transaction
    /// (RFC 3261 §17).
    pub patience: Duration,
    /// Ends all of them.
    pub over: CancellationToken,
}

impl Door {
    /// Takes connections until it is over. `calls` says whether there are any: without one, no stranger
    /// has anything to say.
    pub async fn serve(self, listener: TcpListener, calls: impl Fn() -> bool + Send + 'static) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.over.cancelled() => return,
            };
            match accepted {
                Ok((stream, from)) => self.take(stream, from, &calls),
                Err(error) => {
                    tracing::warn!(%error, "no connection could be taken by TCP: is the limit of open files reached?");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }

    /// Hands a connection over to the stack, or closes it.
    fn take(&self, stream: TcpStream, from: SocketAddr, calls: &impl Fn() -> bool) {
        let Guard { turned, streams, .. } = &*self.guard;
        if !self.guard.packet(from.ip(), Instant::now()) {
            return;
        }
        let kind = match self.guard.listed(from.ip()) {
            None => Kind::Unlisted,
            Some(true) => Kind::Listed,
            Some(false) if calls() => Kind::Stranger,
            Some(false) => {
                turned.stranger.fetch_add(1, Ordering::Relaxed);
                return;
            }
        };
        let Some(keep) = streams.admit(from, kind) else {
            turned.connections.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let place = Place { guard: self.guard.clone(), from };
        // The stack ends a connection when its other end does, and never sooner. A second handle on it
        // can end it for both; it is let go as soon as the connection may stay.
        let Ok((stream, twin)) = twin(stream) else { return };
        let token = self.over.child_token();
        let Ok(connection) = TcpConnection::from_stream(stream, self.here.clone(), Some(token.clone())) else { return };
        let held = Arc::downgrade(&connection.inner);
        self.endpoint.transport_layer.add_connection(SipConnection::Tcp(connection));
        let patience = self.patience;
        tokio::spawn(async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = keep.notified() => {}
                () = tokio::time::sleep(patience) => drop(twin.shutdown(Shutdown::Both)),
            }
            drop(twin);
            // The stack cancels it when it is closed; transactions may hold it for a while longer.
            token.cancelled().await;
            while held.strong_count() > 0 {
                tokio::time::sleep(LET_GO).await;
            }
            drop(place);
        });
    }
}

/// The same connection twice.
fn twin(stream: TcpStream) -> std::io::Result<(TcpStream, std::net::TcpStream)> {
    let stream = stream.into_std()?;
    let twin = stream.try_clone()?;
    Ok((TcpStream::from_std(stream)?, twin))
}

/// A place that is taken; dropped, it is free.
struct Place {
    guard: Arc<Guard>,
    from: SocketAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.guard.streams.with(|open| open.remove(&self.from));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_does_not_take_the_places_of_the_others() {
        let streams = Streams::new(0);
        let listed = |port: u16| streams.admit(SocketAddr::new("192.0.2.1".parse().unwrap(), port), Kind::Listed).is_some();
        assert_eq!((1..100).filter(|port| listed(*port)).count(), 48);
        let second = |port: u16| streams.admit(SocketAddr::new("192.0.2.2".parse().unwrap(), port), Kind::Listed).is_some();
        assert_eq!((1..100).filter(|port| second(*port)).count(), 16, "64 in all");
        assert_eq!(streams.len(), 64);
    }

    #[test]
    fn strangers_have_few_and_a_network_of_ipv6_is_one_of_them() {
        let streams = Streams::new(200);
        for (address, room) in [
            ("192.0.2.1:1", true), ("192.0.2.1:2", true), ("192.0.2.1:3", false), ("[2001:db8::1]:1", true), ("[2001:db8::2]:1", true), ("[2001:db8::3]:1", false),
            ("[2001:db8:0:1::3]:1", true), ("[::ffff:192.0.2.1]:9", false),
        ] {
            assert_eq!(streams.admit(at(address), Kind::Stranger).is_some(), room, "{address}");
        }
        assert_eq!((0..100).filter(|n| streams.admit(at(&format!("198.51.100.{n}:1")), Kind::Stranger).is_some()).count(), STRANGERS - 5);
        assert!(streams.admit(at("192.0.2.1:9"), Kind::Listed).is_some(), "peers have places of their own");
    }

    #[tokio::test]
    async fn a_request_keeps_a_peer_a_call_whoever_has_a_password_and_nothing_a_stranger() {
        let kept = |keep: &Arc<Notify>| {
            let (keep, mut cx) = (keep.clone(), std::task::Context::from_waker(std::task::Waker::noop()));
            std::pin::pin!(keep.notified()).poll(&mut cx).is_ready()
        };
        let streams = Streams::new(1);
        let (peer, user, stranger) = (at("192.0.2.1:1"), at("192.0.2.2:1"), at("192.0.2.3:1"));
        let of = [(peer, Kind::Listed), (user, Kind::Unlisted), (stranger, Kind::Stranger)].map(|(from, kind)| streams.admit(from, kind).unwrap());
        let _ = [peer, user, stranger].map(|from| streams.passed(from));
        assert_eq!(of.each_ref().map(kept), [true, false, false]);
        let _ = [peer, user, stranger].map(|from| streams.called(from));
        assert_eq!(of.each_ref().map(kept), [true, true, false]);
    }
}
