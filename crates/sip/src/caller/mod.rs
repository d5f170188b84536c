//! A small telephone: it calls, answers, presses keys, listens. For trying a flow from a terminal, and
//! for tests; not for people.

mod audio;
mod recognise;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rsipstack::EndpointBuilder;
use rsipstack::dialog::authenticate::Credential;
use rsipstack::dialog::dialog::{DialogState, DialogStateReceiver};
use rsipstack::dialog::dialog_layer::DialogLayer;
use rsipstack::dialog::invitation::{InviteAsyncResult, InviteOption};
use rsipstack::dialog::invite_dialog::InviteDialog;
use rsipstack::sip::prelude::HeadersExt as _;
use rsipstack::sip::{Auth, Header, HostWithPort, Method, StatusCode, StatusCodeKind, Uri};
use rsipstack::transaction::TransactionReceiver;
use rsipstack::transaction::endpoint::Endpoint;
use rsipstack::transport::TransportLayer;
use rsipstack::transport::udp::UdpConnection;
use tokio::sync::{mpsc, watch};

pub use audio::{Ear, TONE};
pub use recognise::Recogniser;
use audio::Audio;

use crate::clip::Clip;
use crate::g711::Law;
use crate::sdp::{Agreed, Description, Local};
use crate::talk::{GOODBYE, Renewed, renew};

/// How a telephone is set up.
#[derive(Clone)]
pub struct PhoneSettings {
    /// Where it is.
    pub ip: IpAddr,
    /// Its number: the user part of `From`.
    pub number: String,
    /// The law that it prefers.
    pub law: Law,
    /// Name and password, if it is asked.
    pub password: Option<(String, String)>,
    /// What it answers to a call that comes in: a code, 200 to take it.
    pub answers: u16,
    /// What it reports of a transfer that it is asked for.
    pub transfers: u16,
    /// Whether what is heard is kept to be listened to.
    pub keep: bool,
    /// Whether it offers keys as events in RTP (RFC 4733).
    pub events: bool,
    /// Its line is bad, by this seed: of what it sends a packet in fifty is lost, and one in ten comes
    /// behind the next.
    pub bad_line: Option<u64>,
}

impl PhoneSettings {
    /// With this number, at this address; it answers what comes.
    #[must_use]
    pub fn new(ip: IpAddr, number: &str) -> Self {
        Self { ip, number: number.to_owned(), law: Law::Mu, password: None, answers: 200, transfers: 200, keep: true, events: true, bad_line: None }
    }
}

/// Why a call did not come about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The other side refused.
    #[error("refused with {code}")]
    Refused {
        /// With this code.
        code: u16,
        /// The headers of the answer.
        headers: Vec<(String, String)>,
    },
    /// No answer at all.
    #[error("no answer")]
    Silence,
    /// Something here is broken.
    #[error("{0}")]
    Here(String),
}

/// A telephone.
pub struct Phone {
    settings: PhoneSettings,
    endpoint: Endpoint,
    dialogs: Arc<DialogLayer>,
    address: SocketAddr,
    lines: Arc<Mutex<Vec<Arc<Audio>>>>,
    incoming: tokio::sync::Mutex<mpsc::UnboundedReceiver<Line>>,
}

impl Phone {
    /// Plugs it in, at a free port.
    ///
    /// # Errors
    /// No port, or no thread.
    pub async fn start(settings: PhoneSettings) -> Result<Self, CallError> {
        let here = |error: rsipstack::Error| CallError::Here(error.to_string());
        let token = rsipstack::platform::CancellationToken::new();
        let layer = TransportLayer::new(token.clone());
        let udp = UdpConnection::create_connection(SocketAddr::new(settings.ip, 0), None, Some(token.child_token())).await.map_err(here)?;
        let address = udp.get_addr().get_socketaddr().map_err(here)?;
        layer.add_transport(udp.into());
        let endpoint = EndpointBuilder::new().with_transport_layer(layer).with_cancel_token(token).with_user_agent("countersign-caller").build();
        let dialogs = Arc::new(DialogLayer::new(endpoint.inner.clone()));
        let transactions = endpoint.incoming_transactions().map_err(here)?;
        let inner = endpoint.inner.clone();
        tokio::spawn(async move {
            let _ = inner.serve().await;
        });
        let lines = Arc::default();
        audio::run(&lines).map_err(|error| CallError::Here(error.to_string()))?;
        let (sender, incoming) = mpsc::unbounded_channel();
        let bell = Bell { settings: settings.clone(), dialogs: dialogs.clone(), lines: lines.clone(), address, sender };
        tokio::spawn(bell.run(transactions));
        Ok(Self { settings, endpoint, dialogs, address, lines, incoming: incoming.into() })
    }

    /// Where others reach it.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("sip:{}@{}", self.settings.number, self.address)
    }

    /// Calls, and waits until the other side answers.
    ///
    /// # Errors
    /// The other side refuses or is silent.
    pub async fn call(&self, to: &str) -> Result<Line, CallError> {
        self.dial(to, Vec::new())?.answered().await
    }

    /// Begins to call, with these headers besides.
    ///
    /// # Errors
    /// No port is free, or `to` is no SIP URI.
    pub fn dial(&self, to: &str, headers: Vec<(String, String)>) -> Result<Dialled, CallError> {
        let (audio, local) = line(&self.settings, &self.lines, self.address).map_err(|error| CallError::Here(error.to_string()))?;
        self.invite(&self.settings.number, to, headers, audio, local)
    }

    /// Calls as this number, with sound that whoever asks for it carries: packets of RTP come and go
    /// through `socket`, and this telephone has neither ear nor mouth on that line.
    ///
    /// # Errors
    /// The other side refuses or is silent, or `to` is no SIP URI.
    pub async fn connect(&self, number: &str, to: &str, socket: &UdpSocket) -> Result<Line, CallError> {
        let here = |error: std::io::Error| CallError::Here(error.to_string());
        let local = Local::new(socket.local_addr().map_err(here)?);
        let audio = Audio::new(socket.try_clone().map_err(here)?, false, None).map_err(here)?;
        self.invite(number, to, Vec::new(), audio, local)?.answered().await
    }

    fn invite(&self, number: &str, to: &str, headers: Vec<(String, String)>, audio: Arc<Audio>, mut local: Local) -> Result<Dialled, CallError> {
        let here = |error: &dyn std::fmt::Display| CallError::Here(error.to_string());
        let callee = Uri::try_from(to).map_err(|error| here(&error))?;
        let offer = local.offer(self.settings.law);
        let offer = if self.settings.events { offer } else { without_events(&offer) };
        let contact = Uri {
            auth: Some(Auth { user: number.to_owned(), password: None }),
            ..Uri::from(HostWithPort::from(self.address))
        };
        let option = InviteOption {
            caller: contact.clone(),
            callee,
            contact,
            content_type: Some("application/sdp".to_owned()),
            offer: Some(offer.into_bytes()),
            credential: self.settings.password.clone().map(|(username, password)| Credential { username, password, ..Credential::default() }),
            headers: Some(headers.into_iter().map(|(name, value)| rsipstack_header(&name, value)).collect()),
            ..InviteOption::default()
        };
        let (sender, states) = self.dialogs.new_dialog_state_channel();
        let (dialog, answer) = self.dialogs.do_invite_async(option, sender).map_err(|error| here(&error))?;
        Ok(Dialled { dialog, answer, states, audio, local, dialogs: self.dialogs.clone(), transfers: self.settings.transfers })
    }

    /// The next call that came in and was taken.
    pub async fn taken(&self) -> Option<Line> {
        self.incoming.lock().await.recv().await
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        self.endpoint.shutdown();
    }
}

fn rsipstack_header(name: &str, value: String) -> Header {
    match name.to_ascii_lowercase().as_str() {
        "identity" => Header::Identity(value.into()),
        "p-asserted-identity" => Header::PAssertedIdentity(value.into()),
        "require" => Header::Require(value.into()),
        _ => Header::Other(name.to_owned(), value),
    }
}

fn line(settings: &PhoneSettings, lines: &Mutex<Vec<Arc<Audio>>>, address: SocketAddr) -> std::io::Result<(Arc<Audio>, Local)> {
    let audio = Audio::new(UdpSocket::bind((settings.ip, 0))?, settings.keep, settings.bad_line)?;
    let port = audio.address().map_or(0, |here| here.port());
    lines.lock().unwrap_or_else(PoisonError::into_inner).push(audio.clone());
    Ok((audio, Local::new(SocketAddr::new(address.ip(), port))))
}

/// An offer of a telephone that knows no events.
fn without_events(offer: &str) -> String {
    let events = format!(" {}", crate::sdp::EVENTS);
    let line = |line: &str| match line.strip_prefix("m=audio") {
        Some(_) => Some(line.trim_end().trim_end_matches(&events).to_owned()),
        None => (!line.contains(&format!(":{} ", crate::sdp::EVENTS))).then(|| line.trim_end().to_owned()),
    };
    offer.lines().filter_map(line).map(|line| line + "\r\n").collect()
}

/// A call that rings.
pub struct Dialled {
    dialog: InviteDialog,
    answer: rsipstack::platform::JoinHandle<InviteAsyncResult>,
    states: DialogStateReceiver,
    audio: Arc<Audio>,
    local: Local,
    dialogs: Arc<DialogLayer>,
    transfers: u16,
}

impl Dialled {
    /// Waits until the other side rings.
    pub async fn rings(&mut self) -> bool {
        while let Some(state) = self.states.recv().await {
            match state {
                DialogState::Early(..) => return true,
                DialogState::Terminated(..) | DialogState::Confirmed(..) => return false,
                _ => {}
            }
        }
        false
    }

    /// Waits until the other side answers.
    ///
    /// # Errors
    /// It refuses or is silent, or speaks of nothing that we understand.
    pub async fn answered(self) -> Result<Line, CallError> {
        let answer = match self.answer.await {
            Ok(Ok((_, response))) => response,
            Ok(Err(error)) => return Err(CallError::Here(error.to_string())),
            Err(_) => None,
        };
        let result = match answer {
            Some(response) if response.status_code.kind() == StatusCodeKind::Successful => Description::parse(&response.body).map_err(|error| CallError::Here(error.to_string())),
            Some(response) => {
                let headers = response.headers.iter().map(|header| (header.name().to_owned(), header.value().to_owned())).collect();
                Err(CallError::Refused { code: u16::from(response.status_code), headers })
            }
            None => Err(CallError::Silence),
        };
        match result {
            Ok(description) => {
                self.audio.agree(description.agree(None));
                Ok(Line::new(self.dialog, self.states, self.audio, self.local, self.dialogs, self.transfers))
            }
            Err(error) => {
                self.audio.close();
                Err(error)
            }
        }
    }

    /// Gives up (CANCEL).
    pub async fn cancel(self) -> u16 {
        let _ = tokio::time::timeout(GOODBYE, self.dialog.cancel()).await;
        self.audio.close();
        let answer = self.answer.await.ok().and_then(Result::ok).and_then(|(_, response)| response);
        answer.map_or(0, |response| u16::from(response.status_code))
    }
}

/// Takes calls that come in.
struct Bell {
    settings: PhoneSettings,
    dialogs: Arc<DialogLayer>,
    lines: Arc<Mutex<Vec<Arc<Audio>>>>,
    address: SocketAddr,
    sender: mpsc::UnboundedSender<Line>,
}

impl Bell {
    async fn run(self, mut transactions: TransactionReceiver) {
        while let Some(mut transaction) = transactions.recv().await {
            if let Some(mut dialog) = self.dialogs.match_dialog(&transaction) {
                tokio::spawn(async move { dialog.handle(&mut transaction).await });
                continue;
            }
            let in_dialog = transaction.original.to_header().ok().and_then(|to| to.tag().ok().flatten()).is_some();
            if transaction.original.method != Method::Invite || in_dialog {
                tokio::spawn(async move { transaction.reply(StatusCode::from(481)).await });
                continue;
            }
            let (sender, states) = self.dialogs.new_dialog_state_channel();
            let Ok(mut dialog) = self.dialogs.get_or_create_server_invite(&transaction, sender, None, None) else { continue };
            let offer = Description::parse(&transaction.original.body);
            let line = offer.ok().zip(line(&self.settings, &self.lines, self.address).ok());
            let (handled, ringing) = (dialog.clone(), self.settings.answers == 180);
            tokio::spawn(async move {
                let _ = dialog.handle(&mut transaction).await;
            });
            let dialog = handled;
            match line {
                Some((offer, (audio, mut local))) if self.settings.answers == 200 => {
                    let agreed = offer.agree(Some(self.settings.law));
                    let body = local.answer(&offer, &agreed).into_bytes();
                    audio.agree(agreed);
                    let _ = dialog.accept(Some(vec![Header::ContentType("application/sdp".into())]), Some(body));
                    let line = Line::new(dialog, states, audio, local, self.dialogs.clone(), self.settings.transfers);
                    let _ = self.sender.send(line);
                }
                Some((_, (audio, _))) => {
                    audio.close();
                    let _ = if ringing { dialog.ringing(None, None) } else { dialog.reject(Some(StatusCode::from(self.settings.answers)), None) };
                }
                None => {
                    let _ = dialog.reject(Some(StatusCode::from(488)), None);
                }
            }
        }
    }
}

/// What happened on a line, besides sound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The other side has hung up.
    pub ended: bool,
    /// Whither the other side wants us transferred.
    pub refer: Option<String>,
}

/// A call that is up.
pub struct Line {
    dialog: InviteDialog,
    audio: Arc<Audio>,
    said: watch::Receiver<Said>,
    local: tokio::sync::Mutex<Local>,
    dialogs: Arc<DialogLayer>,
}

impl Line {
    fn new(dialog: InviteDialog, states: DialogStateReceiver, audio: Arc<Audio>, local: Local, dialogs: Arc<DialogLayer>, transfers: u16) -> Self {
        let (sender, said) = watch::channel(Said::default());
        tokio::spawn(listen(dialog.clone(), states, audio.clone(), local.clone(), dialogs.clone(), transfers, sender));
        Self { dialog, audio, said, local: local.into(), dialogs }
    }

    /// Presses these keys, one after the other, as events in RTP. `false` when the other side takes none.
    pub async fn press(&self, keys: &str) -> bool {
        for key in keys.chars() {
            if !self.audio.press(key, 100) {
                return false;
            }
        }
        self.wait(Duration::from_secs(60), |audio| !audio.is_pressing()).await
    }

    /// What was agreed on: where the other side wants its sound, and as what.
    #[must_use]
    pub fn agreed(&self) -> Option<Agreed> {
        self.audio.agreed()
    }

    /// The `Call-ID`, by which both sides know the call.
    #[must_use]
    pub fn call_id(&self) -> String {
        self.dialog.id().call_id
    }

    /// Sends an INFO, and returns the code of the answer.
    pub async fn info(&self, content_type: &str, body: &str) -> u16 {
        let headers = vec![Header::ContentType(content_type.into())];
        let answer = self.dialog.info(Some(headers), Some(body.as_bytes().to_vec())).await;
        answer.ok().flatten().map_or(0, |response| u16::from(response.status_code))
    }

    /// Sends a request within the dialog, and returns the code of the answer.
    pub async fn request(&self, method: &str, body: Option<String>) -> u16 {
        let headers = body.is_some().then(|| vec![Header::ContentType("application/sdp".into())]);
        let body = body.map(String::into_bytes);
        let answer = match method {
            "INVITE" => self.dialog.reinvite(headers, body).await,
            "UPDATE" => self.dialog.update(headers, body).await,
            "OPTIONS" => self.dialog.request(Method::Options, headers, body).await,
            "REFER" => self.dialog.refer("<sip:other@example.com>", None, None).await,
            _ => return 0,
        };
        let Some(response) = answer.ok().flatten() else { return 0 };
        if response.status_code.kind() == StatusCodeKind::Successful
            && let Ok(description) = Description::parse(&response.body)
        {
            self.audio.agree(description.agree(None));
        }
        u16::from(response.status_code)
    }

    /// An offer of this line, with this law first and this direction.
    pub async fn offer(&self, law: Law, direction: &str) -> String {
        self.local.lock().await.offer(law).replace("a=sendrecv", &format!("a={direction}"))
    }

    /// Says this over and over; with nothing, silence.
    pub fn speak(&self, clip: Option<Arc<Clip>>) {
        self.audio.speak(clip);
    }

    /// Looks at what was heard.
    pub fn ear<T>(&self, look: impl FnOnce(&Ear) -> T) -> T {
        self.audio.look(look)
    }

    /// What was heard since this was asked for last: see [`Ear::take`].
    #[must_use]
    pub fn take(&self) -> Vec<u8> {
        self.audio.take()
    }

    /// Forgets what was heard.
    pub fn forget(&self) {
        self.audio.forget();
    }

    /// Waits until what was heard is so; `false` when it is not within `limit`.
    pub async fn until(&self, limit: Duration, mut so: impl FnMut(&Ear) -> bool) -> bool {
        self.wait(limit, |audio| audio.look(&mut so)).await
    }

    async fn wait(&self, limit: Duration, mut so: impl FnMut(&Audio) -> bool) -> bool {
        let mut ticks = self.audio.ticks.subscribe();
        let waiting = async {
            while !so(&self.audio) {
                if ticks.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(limit, waiting).await.is_ok()
    }

    /// Waits until something else than sound is so; `false` when it is not within `limit`.
    pub async fn told(&self, limit: Duration, so: impl FnMut(&Said) -> bool) -> bool {
        let mut said = self.said.clone();
        tokio::time::timeout(limit, said.wait_for(so)).await.is_ok_and(|said| said.is_ok())
    }

    /// Waits until the other side hangs up; `false` when it does not within `limit`.
    pub async fn ends(&self, limit: Duration) -> bool {
        self.told(limit, |said| said.ended).await
    }

    /// What was said last.
    #[must_use]
    pub fn said(&self) -> Said {
        self.said.borrow().clone()
    }

    /// Hangs up.
    pub async fn hang_up(self) {
        let _ = tokio::time::timeout(GOODBYE, self.dialog.bye()).await;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.audio.close();
        let (dialog, dialogs) = (self.dialog.clone(), self.dialogs.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if !dialog.state().is_terminated() {
                    let _ = tokio::time::timeout(GOODBYE, dialog.hangup()).await;
                }
                dialogs.remove_dialog(&dialog.id());
            });
        }
    }
}

/// Answers what the other side wants within the dialog.
async fn listen(
    dialog: InviteDialog, mut states: DialogStateReceiver, audio: Arc<Audio>, mut local: Local, dialogs: Arc<DialogLayer>, transfers: u16,
    said: watch::Sender<Said>,
) {
    while let Some(state) = states.recv().await {
        match state {
            DialogState::Updated(_, request, handle) => {
                if let Renewed::Agreed(agreed) = renew(&mut local, &request, &handle).await {
                    audio.agree(agreed);
                }
            }
            DialogState::Refer(_, request, handle) => {
                let to = request.headers.iter().find(|header| matches!(header, Header::ReferTo(_))).map(|header| header.value().to_owned());
                said.send_modify(|said| said.refer = to);
                let _ = handle.reply(StatusCode::Accepted).await;
                let (dialog, code) = (dialog.clone(), transfers);
                tokio::spawn(async move {
                    let _ = dialog.notify_refer(StatusCode::Trying, "active;expires=60").await;
                    let _ = dialog.notify_refer(StatusCode::from(code), "terminated;reason=noresource").await;
                });
            }
            DialogState::Info(_, _, handle) | DialogState::Options(_, _, handle) | DialogState::Notify(_, _, handle) => {
                let _ = handle.reply(StatusCode::OK).await;
            }
            DialogState::Terminated(..) => {
                said.send_modify(|said| said.ended = true);
                dialogs.remove_dialog(&dialog.id());
                return;
            }
            _ => {}
        }
    }
}
