//! Threads that serve a queue, from the first to the last of them.

use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use tokio::sync::watch;

use crate::error::Fault;
use crate::queue::Queue;

/// Dropping it waits for the threads, which serve what is queued first.
pub(super) struct Crew<T> {
    pub(super) queue: Arc<Queue<T>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Closed when the last thread has ended.
    gone: watch::Receiver<()>,
}

/// For a thread to say that it can serve.
pub(super) struct Ready(Sender<Result<(), Fault>>);

impl Ready {
    pub(super) fn tell(&self) {
        // Nobody listens any more when another thread has failed: the queue is shut then.
        let _ = self.0.send(Ok(()));
    }
}

impl<T: Send + 'static> Crew<T> {
    /// Starts `count` threads that run `body` and waits until each has said that it is ready.
    pub(super) fn start(
        name: &str,
        count: usize,
        capacity: usize,
        body: impl Fn(&Queue<T>, &Ready) -> Result<(), Fault> + Send + Sync + 'static,
    ) -> Result<Self, Fault> {
        let (present, gone) = watch::channel(());
        let (tell, told) = mpsc::channel();
        let crew = Self {
            queue: Arc::new(Queue::new(capacity)),
            threads: Mutex::default(),
            gone,
        };
        let present = Arc::new(present);
        let body = Arc::new(body);
        for _ in 0..count {
            let gate = Gate {
                queue: Arc::clone(&crew.queue),
                _present: Arc::clone(&present),
            };
            let (body, ready) = (Arc::clone(&body), Ready(tell.clone()));
            let thread = Builder::new().name(name.to_owned()).spawn(move || {
                if let Err(fault) = body(&gate.queue, &ready) {
                    let _ = ready.0.send(Err(fault));
                }
                drop(gate);
            });
            let thread = thread.map_err(|error| Fault(format!("no thread for it: {error}")))?;
            crew.threads
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(thread);
        }
        drop(tell);
        for _ in 0..count {
            told.recv()
                .map_err(|_| Fault(format!("{name} has died at once")))??;
        }
        Ok(crew)
    }

    /// Takes nothing more in; returns when the last thread has ended.
    pub(super) async fn close(&self) {
        self.queue.shut();
        let mut gone = self.gone.clone();
        while gone.changed().await.is_ok() {}
    }
}

impl<T> Drop for Crew<T> {
    fn drop(&mut self) {
        self.queue.shut();
        let threads = std::mem::take(
            self.threads
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner),
        );
        for thread in threads {
            // A thread that panicked has said so on stderr, and its gate has shut the queue.
            let _ = thread.join();
        }
    }
}

/// Held by a thread while it lives. However it ends, even by a panic: nobody waits for an answer from
/// it, and nobody hands it anything more.
struct Gate<T> {
    queue: Arc<Queue<T>>,
    _present: Arc<watch::Sender<()>>,
}

impl<T> Drop for Gate<T> {
    fn drop(&mut self) {
        self.queue.abandon();
    }
}
