//! Stands between a node and its database, and breaks what it is told to break.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// What to do with the next commit. Then everything passes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// The database never hears of it, and the connection ends.
    LostBefore = 1,
    /// The database has committed, nobody is told, and the connection ends.
    LostAfter,
    /// The network falls silent, without anybody being told: the database still holds its lock.
    Silent,
}

/// A proxy to one server.
pub struct Proxy {
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
    open: Arc<Mutex<Vec<AbortHandle>>>,
    listener: AbortHandle,
}

/// What it is told, and what it saw.
#[derive(Default)]
pub struct Seen {
    fault: AtomicU8,
    pub fired: AtomicUsize,
    /// Transactions that were begun.
    pub begun: AtomicUsize,
    /// While true, nobody is answered from the beginning of a transaction until its commit has passed:
    /// whoever waits for an answer in between waits for ever.
    pub withholds: AtomicBool,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
        self.cut();
    }
}

impl Proxy {
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let open: Arc<Mutex<Vec<AbortHandle>>> = Arc::default();
        let seen: Arc<Seen> = Arc::default();
        let (sees, all) = (seen.clone(), open.clone());
        let listening = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let seen = sees.clone();
                let carried = tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(server).await {
                        carry(client, server, seen).await;
                    }
                });
                all.lock().unwrap().push(carried.abort_handle());
            }
        });
        Self {
            address,
            seen,
            open,
            listener: listening.abort_handle(),
        }
    }

    pub fn next(&self, fault: Fault) {
        self.seen.fault.store(fault as u8, Ordering::SeqCst);
    }

    /// Ends every connection.
    pub fn cut(&self) {
        for carried in self.open.lock().unwrap().drain(..) {
            carried.abort();
        }
    }
}

async fn carry(client: TcpStream, server: TcpStream, seen: Arc<Seen>) {
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Once a commit was passed on whose answer is to be lost.
    let losing = Arc::new(AtomicU8::new(0));
    // Whether answers may pass.
    let (gate, passes) = watch::channel(true);
    tokio::select! {
        () = forward(from_client, to_server, &seen, losing.clone(), gate) => {}
        () = back(from_server, to_client, losing, passes) => {}
    }
}

/// Messages of the frontend, one by one (PostgreSQL, chapter "Message Formats").
async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    seen: &Seen,
    losing: Arc<AtomicU8>,
    gate: watch::Sender<bool>,
) {
    let mut started = false;
    loop {
        // Before the session has started, messages have no type.
        let mut message = vec![0; if started { 5 } else { 4 }];
        if from.read_exact(&mut message).await.is_err() {
            return;
        }
        let length = &message[message.len() - 4..];
        let length = u32::from_be_bytes(length.try_into().unwrap()) as usize - 4;
        let head = message.len();
        message.resize(head + length, 0);
        if from.read_exact(&mut message[head..]).await.is_err() {
            return;
        }
        let asks_for_tls = !started && message[head..] == 80_877_103_u32.to_be_bytes();
        started |= !asks_for_tls;
        if message[head..].starts_with(b"BEGIN") {
            seen.begun.fetch_add(1, Ordering::SeqCst);
            gate.send_replace(!seen.withholds.load(Ordering::SeqCst));
        }
        if message[head..] == *b"COMMIT\0" {
            gate.send_replace(true);
            let next = seen.fault.swap(0, Ordering::SeqCst);
            if next != 0 {
                seen.fired.fetch_add(1, Ordering::SeqCst);
            }
            if next == Fault::LostBefore as u8 {
                return;
            } else if next == Fault::LostAfter as u8 {
                losing.store(1, Ordering::SeqCst);
            } else if next == Fault::Silent as u8 {
                std::future::pending::<()>().await;
            }
        }
        if to.write_all(&message).await.is_err() {
            return;
        }
    }
}

async fn back(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    losing: Arc<AtomicU8>,
    mut passes: watch::Receiver<bool>,
) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let Ok(count @ 1..) = from.read(&mut bytes).await else {
            return;
        };
        let committed = bytes[..count].windows(7).any(|window| window == b"COMMIT\0");
        if losing.load(Ordering::SeqCst) == 1 && committed {
            return;
        }
        if passes.wait_for(|passes| *passes).await.is_err() {
            return;
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
