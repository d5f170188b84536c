//! The gateway: the SIP endpoint, who gets in, and the calls that there are.

use std::collections::HashMap;
use std::future::poll_fn;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use rsipstack::EndpointBuilder;
use rsipstack::dialog::dialog::Dialog;
use rsipstack::dialog::dialog_layer::DialogLayer;
use rsipstack::platform::CancellationToken;
use rsipstack::sip::prelude::{HasHeaders as _, HeadersExt as _};
use rsipstack::sip::{Auth, Header, HostWithPort, Method, Param, StatusCode, Uri};
use rsipstack::transaction::TransactionReceiver;
use rsipstack::transaction::endpoint::{Endpoint, EndpointOption};
use rsipstack::transaction::transaction::Transaction;
use rsipstack::transport::tcp_listener::TcpListenerConnection;
use rsipstack::transport::udp::UdpConnection;
use rsipstack::transport::{SipConnection, TransportLayer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::AbortHandle;

use crate::call::{Call, Mail};
use crate::digest::{Verdict, Verifier};
use crate::flow::{CallKey, Flow, Incoming, Steps, Transport};
use crate::guard::{Guard, Post, Turned};
use crate::headers::{content_type, incoming, is_sdp};
use crate::media::{Engine, Ports, Told};
use crate::sdp::{Description, Local};
use crate::settings::Settings;
use crate::streams::Door;
use crate::talk::refusal;
use crate::trunk::{self, Registered, Registering};

/// What others may send us.
const METHODS: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, NOTIFY";
/// How long a request within a dialog waits for the ACK of the INVITE.
const ACK_DUE: Duration = Duration::from_secs(2);
/// How long the last words may take when a gateway stops.
const FAREWELL: Duration = Duration::from_secs(5);

/// The header that says what others may send us (RFC 3261 §20.5).
pub(crate) fn allow() -> Header {
    Header::Allow(METHODS.into())
}

/// Why there is no gateway.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// Everybody could call.
    #[error("neither peers nor digest are set: anybody could call. Set one of them")]
    Open,
    /// An address cannot be had.
    #[error("{what} at {address}: {error}")]
    Bind {
        /// What was to be there.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// What the system says.
        error: String,
    },
    /// A SIP URI that is none.
    #[error("not a SIP URI: the setting {0}")]
    Uri(&'static str),
    /// No thread for the audio.
    #[error("no thread for the audio: {0}")]
    Audio(#[from] std::io::Error),
}

/// What all calls share.
pub(crate) struct Shared {
    pub settings: Settings,
    pub flow: Arc<dyn Flow>,
    pub dialogs: Arc<DialogLayer>,
    pub calls: Calls,
    pub ports: Ports,
    pub contact: Uri,
    pub engine: Engine,
    pub slots: Arc<Semaphore>,
    pub counts: Arc<Counts>,
    verifier: Option<Verifier>,
    guard: Arc<Guard>,
}

impl Shared {
    fn figures(&self) -> Figures {
        let Self { calls, slots, dialogs, guard, counts, .. } = self;
        let Guard { turned, streams, .. } = &**guard;
        Figures {
            calls: calls.with(|calls| calls.len()),
            free: slots.available_permits(),
            dialogs: dialogs.len(),
            over_rate: turned.rate.load(Relaxed),
            strangers: turned.stranger.load(Relaxed),
            malformed: turned.malformed.load(Relaxed),
            connections: streams.len(),
            over_connections: turned.connections.load(Relaxed),
            refused: counts.refused.load(Relaxed),
            lost: counts.lost.load(Relaxed),
            keys: counts.keys.load(Relaxed),
            joined: counts.joined.load(Relaxed),
        }
    }

    /// Where others reach this socket.
    pub fn audio_at(&self, socket: &UdpSocket) -> Option<SocketAddr> {
        let port = socket.local_addr().ok()?.port();
        let ip = self.contact.host_with_port.host.to_string();
        Some(SocketAddr::new(ip.trim_matches(['[', ']']).parse().ok()?, port))
    }
}

/// What is counted from the start on.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub refused: AtomicU64,
    pub lost: AtomicU64,
    pub keys: AtomicU64,
    pub joined: AtomicU64,
}

/// The calls that there are.
#[derive(Default)]
pub(crate) struct Calls(Mutex<HashMap<CallKey, mpsc::UnboundedSender<Mail>>>);

impl Calls {
    pub fn with<T>(&self, act: impl FnOnce(&mut HashMap<CallKey, mpsc::UnboundedSender<Mail>>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn stop(&self) {
        self.with(|calls| calls.values().for_each(|mail| drop(mail.send(Mail::Stop))));
    }

    pub fn remove(&self, key: &CallKey) {
        self.with(|calls| {
            calls.remove(key);
            if calls.is_empty() {
                calls.shrink_to(64);
            }
        });
    }
}

/// What a gateway has to show: for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Calls that there are.
    pub calls: usize,
    /// Calls that could still come.
    pub free: usize,
    /// Dialogs that the stack holds: one for each call and one for each agent.
    pub dialogs: usize,
    /// Packets and new calls over the rate of their address.
    pub over_rate: u64,
    /// Requests from addresses that are on no list.
    pub strangers: u64,
    /// Requests that were none.
    pub malformed: u64,
    /// Connections by TCP that others opened and that there are.
    pub connections: usize,
    /// Connections by TCP for which there was no room.
    pub over_connections: u64,
    /// Calls for which there was no room, either way.
    pub refused: u64,
    /// Packets of audio that were lost on the way to us, or came late.
    pub lost: u64,
    /// Keys that callers pressed.
    pub keys: u64,
    /// Agents who were connected with a caller.
    pub joined: u64,
}

/// A running gateway. When it is dropped it stops without a farewell; see [`Gateway::stop`].
pub struct Gateway {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    address: SocketAddr,
    registered: watch::Receiver<Registered>,
    trunk: Option<Registering>,
    accepting: AbortHandle,
}

impl Gateway {
    /// Starts.
    ///
    /// The stack writes whole messages, with numbers and keys, to its log at the level of
    /// information: see [`crate::LOG_TARGET`] before you call this.
    ///
    /// # Errors
    /// Everybody could call, or an address cannot be had, or a URI is none.
    pub async fn start(settings: Settings, flow: Arc<dyn Flow>) -> Result<Self, GatewayError> {
        if settings.peers.is_empty() && settings.digest.is_none() {
            return Err(GatewayError::Open);
        }
        let guard = Arc::new(Guard::new(settings.peers.clone(), settings.packets, settings.new_calls, settings.calls, Arc::<Turned>::default()));
        let (endpoint, address, tcp) = open(&settings, Post(guard.clone())).await?;
        let host = settings.advertise.unwrap_or(address.ip());
        let contact = Uri { auth: Some(Auth { user: "countersign".into(), password: None }), ..Uri::from(HostWithPort::from(SocketAddr::new(host, address.port()))) };
        let incoming = endpoint.incoming_transactions().map_err(|_| bind("the endpoint", address, "taken"))?;
        let counts = Arc::<Counts>::default();
        let shared = Arc::new(Shared {
            ports: Ports::new(settings.listen.ip(), settings.rtp_ports.clone()),
            dialogs: Arc::new(DialogLayer::new(endpoint.inner.clone())),
            slots: Arc::new(Semaphore::new(settings.calls)),
            verifier: settings.digest.clone().map(Verifier::new),
            engine: Engine::start(counts.clone())?,
            counts,
            calls: Calls::default(),
            settings,
            flow,
            contact,
            guard: guard.clone(),
        });
        let inner = endpoint.inner.clone();
        let mut serving = Box::pin(async move { inner.serve().await });
        // The stack opens the listeners that it knows when it is begun, and not again. That of TCP is
        // ours, and it learns of it afterwards: for the addresses that it writes into headers.
        let begun = poll_fn(|cx| Poll::Ready(serving.as_mut().poll(cx))).await;
        if begun.is_ready() {
            return Err(bind("the endpoint", address, "over"));
        }
        tokio::spawn(serving);
        if let Some((listener, outside, over)) = tcp {
            let listening = TcpListenerConnection::new(address, Some(outside)).await.map_err(|error| bind("TCP", address, error))?;
            let here = listening.get_addr().clone();
            endpoint.inner.transport_layer.add_transport(SipConnection::TcpListener(listening));
            let door = Door { guard, endpoint: endpoint.inner.clone(), here, patience: shared.settings.t1 * 64, over };
            let of = Arc::downgrade(&shared);
            tokio::spawn(door.serve(listener, move || of.upgrade().is_some_and(|shared| shared.calls.with(|calls| !calls.is_empty()))));
        }
        let accepting = tokio::spawn(accept(shared.clone(), incoming)).abort_handle();
        let (sender, registered) = watch::channel(Registered::Not);
        let trunk = shared.settings.trunk.clone();
        let trunk = trunk.map(|trunk| trunk::begin(&endpoint, &shared.contact, trunk, sender)).transpose()?;
        Ok(Self { shared, endpoint, address, registered, trunk, accepting })
    }

    /// Where requests are taken.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A handle with which calls are moved.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle(self.shared.clone())
    }

    /// Whether the trunk knows us, as it changes.
    #[must_use]
    pub fn registered(&self) -> watch::Receiver<Registered> {
        self.registered.clone()
    }

    /// For metrics.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.shared.figures()
    }

    /// Takes the registration back, takes no more calls, ends those that there are, and waits up to
    /// seven seconds for all that.
    pub async fn stop(mut self) {
        if let Some(trunk) = self.trunk.take() {
            trunk.stop().await;
        }
        self.shared.slots.close();
        self.shared.calls.stop();
        let gone = async {
            while !self.shared.dialogs.is_empty() || self.shared.calls.with(|calls| !calls.is_empty()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = tokio::time::timeout(FAREWELL, gone).await;
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.accepting.abort();
        self.shared.calls.stop();
        self.endpoint.shutdown();
    }
}

/// Moves calls from outside. Cheap to clone.
#[derive(Clone)]
pub struct Handle(pub(crate) Arc<Shared>);

impl Handle {
    /// For metrics.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.0.figures()
    }

    /// These take the place of what goes on in this call. `false` when there is no such call any more.
    pub fn push(&self, call: &CallKey, steps: Steps) -> bool {
        self.0.calls.with(|calls| calls.get(call).is_some_and(|mail| mail.send(Mail::Push(steps)).is_ok()))
    }
}

fn bind(what: &'static str, address: SocketAddr, error: impl ToString) -> GatewayError {
    GatewayError::Bind { what, address, error: error.to_string() }
}

/// A listener, the address that others are told, and what ends its connections.
type Tcp = (TcpListener, SocketAddr, CancellationToken);

/// Opens the endpoint, guarded, and says where it is.
async fn open(settings: &Settings, post: Post) -> Result<(Endpoint, SocketAddr, Option<Tcp>), GatewayError> {
    let mut tries = 0;
    loop {
        let token = CancellationToken::new();
        let layer = TransportLayer::new(token.clone());
        layer.set_whitelist(post.clone());
        let external = |port: u16| settings.advertise.map(|ip| SocketAddr::new(ip, port));
        let outside = (settings.listen.port() != 0).then(|| external(settings.listen.port())).flatten();
        let udp = UdpConnection::create_connection(settings.listen, outside, Some(token.child_token())).await;
        let udp = udp.map_err(|error| bind("UDP", settings.listen, error))?;
        let address = udp.get_addr().get_socketaddr().map_err(|error| bind("UDP", settings.listen, error))?;
        let here = SocketAddr::new(settings.listen.ip(), address.port());
        layer.add_transport(udp.into());
        let mut tcp = None;
        if settings.tcp {
            // With a free port for UDP the same may be taken for TCP.
            match TcpListener::bind(here).await {
                Err(_) if settings.listen.port() == 0 && tries < 20 => {
                    tries += 1;
                    token.cancel();
                    continue;
                }
                Err(error) => return Err(bind("TCP", here, error)),
                Ok(listener) => tcp = Some((listener, external(here.port()).unwrap_or(address), token.child_token())),
            }
        }
        let option = EndpointOption { t1: settings.t1, t1x64: settings.t1 * 64, ..EndpointOption::default() };
        let endpoint = EndpointBuilder::new()
            .with_transport_layer(layer)
            .with_cancel_token(token)
            .with_user_agent("countersign")
            .with_option(option)
            .with_transport_inspector(Box::new(post))
            .build();
        return Ok((endpoint, address, tcp));
    }
}

/// Takes what the stack has made transactions of.
async fn accept(shared: Arc<Shared>, mut incoming: TransactionReceiver) {
    while let Some(mut transaction) = incoming.recv().await {
        let shared = shared.clone();
        let in_dialog = transaction.original.to_header().ok().and_then(|to| to.tag().ok().flatten()).is_some();
        if in_dialog {
            match shared.dialogs.match_dialog(&transaction) {
                Some(dialog) => drop(tokio::spawn(within(dialog, transaction))),
                None if transaction.original.method == Method::Ack => {}
                None => drop(tokio::spawn(async move { transaction.reply(StatusCode::from(481)).await })),
            }
            continue;
        }
        tokio::spawn(async move {
            let (code, headers) = match transaction.original.method {
                Method::Invite => match invited(&shared, &mut transaction).await {
                    Ok(()) => return,
                    Err(refused) => refused,
                },
                Method::Options => (200, vec![allow(), Header::Accept("application/sdp".into())]),
                Method::Ack | Method::Cancel => return,
                Method::Bye | Method::Info | Method::Update | Method::Notify => (481, vec![]),
                _ => (405, vec![allow()]),
            };
            let _ = transaction.reply_with(StatusCode::from(code), headers, None).await;
        });
    }
}

/// A request within a dialog. It may come right behind the ACK, or overtake it, and the stack would
/// not answer it then: it waits for the ACK.
async fn within(mut dialog: Dialog, mut transaction: Transaction) {
    if !matches!(transaction.original.method, Method::Ack | Method::Bye | Method::Cancel) {
        let acknowledged = async {
            while dialog.state().waiting_ack() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(ACK_DUE, acknowledged).await.is_err() {
            let again = vec![Header::RetryAfter("1".into())];
            let _ = transaction.reply_with(StatusCode::from(500), again, None).await;
            return;
        }
    }
    let _ = dialog.handle(&mut transaction).await;
}

/// A code and headers that refuse.
type Refused = (u16, Vec<Header>);

/// A new call. Comes back when it was acknowledged, or refused.
async fn invited(shared: &Arc<Shared>, transaction: &mut Transaction) -> Result<(), Refused> {
    let request = &transaction.original;
    let connection = transaction.connection.as_ref().ok_or((500, vec![]))?;
    let source = connection.get_remote_addr().and_then(|from| from.get_socketaddr().ok()).ok_or((500, vec![]))?;
    let user = authenticate(shared, request, source)?;
    let busy = || {
        shared.counts.refused.fetch_add(1, Relaxed);
        let seconds = shared.settings.retry_after.as_secs().max(1);
        (503, vec![Header::RetryAfter(seconds.to_string().into())])
    };
    let slot = shared.slots.clone().try_acquire_owned().map_err(|_| busy())?;
    let offer = match request.body.is_empty() {
        true => None,
        false if !is_sdp(content_type(request)) => return Err((415, vec![Header::Accept("application/sdp".into())])),
        false => Some(Description::parse(&request.body).map_err(|error| (refusal(error), vec![]))?),
    };
    let socket = shared.ports.bind().map_err(|_| busy())?;
    let local = Local::new(shared.audio_at(&socket).ok_or((500, vec![]))?);
    let transport = if connection.is_reliable() { Transport::Tcp } else { Transport::Udp };
    let incoming = Incoming { user, ..incoming(request, source, transport) };
    let mut contact = shared.contact.clone();
    if transport == Transport::Tcp {
        shared.guard.streams.called(source);
        contact.params.push(Param::Transport(rsipstack::sip::Transport::Tcp));
    }
    let (sender, states) = shared.dialogs.new_dialog_state_channel();
    let dialog = shared.dialogs.get_or_create_server_invite(transaction, sender, None, Some(contact));
    let mut dialog = dialog.map_err(|_| (400, vec![]))?;
    let (mail, inbox) = mpsc::unbounded_channel();
    let told = mail.clone();
    let tell = Box::new(move |what: Told| drop(told.send(Mail::Told(what))));
    let Settings { rtp_source, quiet, soft_tone, .. } = &shared.settings;
    let Ok(session) = shared.engine.add(socket, *rtp_source, *quiet, soft_tone.clone(), tell) else {
        shared.dialogs.remove_dialog(&dialog.id());
        return Err(busy());
    };
    let _ = dialog.ringing(None, None);
    shared.calls.with(|calls| calls.insert(incoming.key.clone(), mail.clone()));
    let call = Call::new(shared.clone(), incoming, dialog.clone(), states, session, local, offer, mail, inbox);
    tokio::spawn(call.run(slot));
    let _ = dialog.handle(transaction).await;
    Ok(())
}

/// Digest, when it is set (RFC 3261 §22.2): the name that passed.
fn authenticate(shared: &Shared, request: &rsipstack::sip::Request, source: SocketAddr) -> Result<Option<String>, Refused> {
    let Some(verifier) = &shared.verifier else { return Ok(None) };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let given = request.headers().iter().find(|header| matches!(header, Header::Authorization(_))).map(Header::value);
    match verifier.check(now, source.ip(), "INVITE", given) {
        Verdict::Passed { user } => Ok(Some(user)),
        Verdict::Challenge { header, .. } => Err((401, vec![Header::WwwAuthenticate(header.into())])),
    }
}
