//! Stands between a node and its database, and breaks what it is told to break.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
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
    fault: Arc<AtomicU8>,
    pub fired: Arc<AtomicUsize>,
    /// Transactions that were begun, and those of them whose beginning went on its way before the commit
    /// ahead of it was answered.
    pub begun: Arc<Begun>,
    open: Arc<Mutex<Vec<AbortHandle>>>,
    listener: AbortHandle,
}

#[derive(Default)]
pub struct Begun {
    pub all: AtomicUsize,
    pub ahead: AtomicUsize,
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
        let fault = Arc::new(AtomicU8::new(0));
        let fired = Arc::new(AtomicUsize::new(0));
        let open: Arc<Mutex<Vec<AbortHandle>>> = Arc::default();
        let begun = Arc::new(Begun::default());
        let (faults, fires, all, begins) = (fault.clone(), fired.clone(), open.clone(), begun.clone());
        let listening = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (fault, fired, begun) = (faults.clone(), fires.clone(), begins.clone());
                let carried = tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(server).await {
                        carry(client, server, fault, fired, begun).await;
                    }
                });
                all.lock().unwrap().push(carried.abort_handle());
            }
        });
        Self {
            address,
            fault,
            fired,
            begun,
            open,
            listener: listening.abort_handle(),
        }
    }

    pub fn next(&self, fault: Fault) {
        self.fault.store(fault as u8, Ordering::SeqCst);
    }

    /// Ends every connection.
    pub fn cut(&self) {
        for carried in self.open.lock().unwrap().drain(..) {
            carried.abort();
        }
    }
}

async fn carry(
    client: TcpStream,
    server: TcpStream,
    fault: Arc<AtomicU8>,
    fired: Arc<AtomicUsize>,
    begun: Arc<Begun>,
) {
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Once a commit was passed on whose answer is to be lost.
    let losing = Arc::new(AtomicU8::new(0));
    // Commits that were passed on and not answered yet.
    let open = Arc::new(AtomicUsize::new(0));
    tokio::select! {
        () = forward(from_client, to_server, fault, fired, losing.clone(), begun, open.clone()) => {}
        () = back(from_server, to_client, losing, open) => {}
    }
}

/// Messages of the frontend, one by one (PostgreSQL, chapter "Message Formats").
async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    fault: Arc<AtomicU8>,
    fired: Arc<AtomicUsize>,
    losing: Arc<AtomicU8>,
    begun: Arc<Begun>,
    open: Arc<AtomicUsize>,
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
        if message[head..] == *b"BEGIN\0" {
            begun.all.fetch_add(1, Ordering::SeqCst);
            begun.ahead.fetch_add(usize::from(open.load(Ordering::SeqCst) > 0), Ordering::SeqCst);
        }
        if message[head..] == *b"COMMIT\0" {
            open.fetch_add(1, Ordering::SeqCst);
            let next = fault.swap(0, Ordering::SeqCst);
            if next != 0 {
                fired.fetch_add(1, Ordering::SeqCst);
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

async fn back(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, losing: Arc<AtomicU8>, open: Arc<AtomicUsize>) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let Ok(count @ 1..) = from.read(&mut bytes).await else {
            return;
        };
        let committed = bytes[..count].windows(7).any(|window| window == b"COMMIT\0");
        if losing.load(Ordering::SeqCst) == 1 && committed {
            return;
        }
        if committed {
            open.store(0, Ordering::SeqCst);
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
