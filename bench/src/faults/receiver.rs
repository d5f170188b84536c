//! The provider that texts are sent through, as well or as badly as it is told: it notes every text that it
//! took, and hands the codes to those who wait for them.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    task::{AbortHandle, spawn_local},
    time::sleep,
};

use crate::{Fail, http, site::free_address, twilio::unescape};

/// How long a slow provider takes for an answer: less than the time that it is given.
pub const SLOW: Duration = Duration::from_secs(3);

/// How the provider is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It answers at once.
    Well,
    /// Nobody listens at its address.
    Down,
    /// It answers, and passes the text on, after [`SLOW`].
    Slow,
    /// It takes the text, passes it on, and answers that it has failed.
    Broken,
}

/// The provider.
pub struct Receiver {
    pub address: SocketAddr,
    way: Cell<Way>,
    door: RefCell<Option<AbortHandle>>,
    open: RefCell<Vec<AbortHandle>>,
    /// How often each message was taken, by its name.
    taken: RefCell<HashMap<String, u64>>,
    /// Who waits for a code, by number.
    waiting: RefCell<HashMap<String, UnboundedSender<String>>>,
}

impl Receiver {
    /// Listens, on this thread.
    pub async fn serve() -> Result<Rc<Self>, Fail> {
        // An address that the system gives to nobody while this one is down.
        let this = Rc::new(Self {
            address: free_address()?, way: Cell::new(Way::Well), door: RefCell::default(), open: RefCell::default(), taken: RefCell::default(),
            waiting: RefCell::default(),
        });
        this.listen().await?;
        Ok(this)
    }

    /// From now on it is like this.
    pub async fn turn(self: &Rc<Self>, way: Way) -> Result<(), Fail> {
        let was = self.way.replace(way);
        if way == Way::Down {
            let door = self.door.borrow_mut().take();
            door.into_iter().chain(self.open.borrow_mut().drain(..)).for_each(|task| task.abort());
        } else if was == Way::Down {
            self.listen().await?;
        }
        Ok(())
    }

    async fn listen(self: &Rc<Self>) -> Result<(), Fail> {
        let listener = TcpListener::bind(self.address).await?;
        let this = self.clone();
        let door = spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let one = this.clone();
                let carried = spawn_local(async move {
                    // The server closed the connection: as good an end as any.
                    let _ = one.connection(stream).await;
                });
                let mut open = this.open.borrow_mut();
                open.retain(|task| !task.is_finished());
                open.push(carried.abort_handle());
            }
        });
        *self.door.borrow_mut() = Some(door.abort_handle());
        Ok(())
    }

    /// The codes that are texted to this number from now on.
    pub fn expects(&self, number: &str) -> UnboundedReceiver<String> {
        let (tell, told) = mpsc::unbounded_channel();
        self.waiting.borrow_mut().insert(number.to_owned(), tell);
        told
    }

    /// Texts that were taken, and how many of them were taken before.
    pub fn texts(&self) -> (u64, u64) {
        let taken = self.taken.borrow();
        let all: u64 = taken.values().sum();
        (all, all - taken.len() as u64)
    }

    async fn connection(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut buffer = Vec::new();
        stream.set_nodelay(true)?;
        loop {
            let (head, length) = http::read(&mut stream, &mut buffer).await?;
            let body = std::str::from_utf8(buffer.get(head..head + length).unwrap_or_default()).unwrap_or_default();
            *self.taken.borrow_mut().entry(name(body)).or_default() += 1;
            let way = self.way.get();
            if way == Way::Slow {
                sleep(SLOW).await;
            }
            self.pass_on(body);
            let status = if way == Way::Broken { "500 Internal Server Error" } else { "201 Created" };
            let answer = format!("{{\"sid\":\"SM{:032x}\",\"status\":\"queued\"}}", self.texts().0);
            let answer = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
            stream.write_all(answer.as_bytes()).await?;
        }
    }

    fn pass_on(&self, body: &str) {
        let (Some(to), Some(words)) = (field(body, "To"), field(body, "Body")) else { return };
        if let (Some(digits), Some(tell)) = (code(&words), self.waiting.borrow().get(&to)) {
            // A caller who gave up waits no more.
            let _ = tell.send(digits.to_owned());
        }
    }
}

/// What the server calls a message: its status callback says it. Without, the text is its own name.
fn name(body: &str) -> String { body.split_once("msg_").and_then(|(_, rest)| rest.get(..32)).unwrap_or(body).to_owned() }

fn field(body: &str, name: &str) -> Option<String> {
    let value = body.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(unescape(&value.replace('+', " ")))
}

/// The six digits of a text.
fn code(words: &str) -> Option<&str> {
    let digits = words.split_once("code ")?.1.get(..6)?;
    digits.bytes().all(|b| b.is_ascii_digit()).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_known_by_its_name_and_read() {
        let body = format!("To=%2B12025550142&From=%2B12025550100&Body=To+prove+it+is+you%2C+key+in+code+482913.+We&StatusCallback=https%3A%2F%2Fa.test%2Ftwilio%2Fmessage%3Fmessage%3Dmsg_{}", "ab".repeat(16));
        assert_eq!(name(&body), "ab".repeat(16));
        assert_eq!(field(&body, "To").as_deref(), Some("+12025550142"));
        assert_eq!(code(&field(&body, "Body").unwrap()), Some("482913"));
        assert_eq!(code("a code of conduct"), None);
    }
}
