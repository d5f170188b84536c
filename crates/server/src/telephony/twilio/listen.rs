//! Listens to a caller over a media stream that Twilio opens to us (`<Connect><Stream>`), for one take and
//! no longer.
//!
//! The address of a stream names the call and the take, and is signed by us; Twilio's signature covers it.
//! Whichever node gets the stream hands the answer in, under the name of the take: so does the webhook that
//! Twilio sends when the stream is over, whichever node gets that one ([`super::heard`]). The first of the
//! two counts, and both have the same answer. So nothing has to be told from node to node, and a stream that
//! never came is an answer as well: nobody was heard.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use countersign_core::{
    call::{Call, Event, Input, Recorded},
    id::CallId,
    prompt::Directive,
    secret::Secret,
    time::{Span, Timestamp},
    voice::{Codec, Sound},
};
use countersign_sip::g711::Law;
use countersign_store::{Commit, CommitError, Guard};
use futures_util::{SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use subtle::ConstantTimeEq;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::broadcast::error::RecvError,
    time::{Instant, timeout, timeout_at},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode}},
};

use super::{
    NAME, Twilio,
    form::CallSid,
    signature,
    stream::{LIFE, Listener, MAX_MESSAGE, Next, StreamError},
};
use crate::{
    App,
    hub::Notice,
    runner::{RunError, Runner},
    telephony::{events::Refused, sip::voice::tone, websocket},
};

/// Where Twilio opens streams, before the token.
pub const PATH: &str = "/twilio/stream";
/// How long after a take was asked for its stream may come: the words before it are said meanwhile.
const TOKEN_LIFE: Span = Span::minutes(2);
/// How long a used token is remembered: far longer than it lives.
const REMEMBER: Span = Span::hours(1);
/// How long Twilio may take to say which stream it is.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the other side may take to close.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a call is listened to for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Take {
    /// Its name: the number of the event that asked for it.
    pub number: u64,
    /// When that was.
    since: Timestamp,
    /// At most so long.
    longest: Duration,
}

/// Which take a call is at now, if it is at one.
///
/// # Errors
/// See [`RunError`].
pub(super) async fn taking(runner: &Runner, id: CallId) -> Result<Option<Take>, RunError> { Ok(taken(id, &runner.events(id).await?)) }

fn taken(id: CallId, events: &[Recorded]) -> Option<Take> {
    let call = Call::fold(id, events);
    if call.adapter != NAME || !call.stage.is_listening() {
        return None;
    }
    let asked = events.iter().rev().find(|r| matches!(r.event, Event::VoiceConsented { .. } | Event::VoiceTake { .. } | Event::VoiceAsked { .. } | Event::DigitsAsked { .. } | Event::DigitsTake { .. }))?;
    let seconds = call.directives(None, Default::default()).iter().find_map(|d| if let Directive::Record { seconds } = d { Some(*seconds) } else { None })?;
    Some(Take { number: asked.n, since: asked.at, longest: Duration::from_secs(u64::from(seconds)) })
}

/// The name under which what came of a take is put on record, whoever brings it.
pub(super) fn command(reference: &str, take: u64) -> String { format!("twilio/{reference}/take/{take}") }

fn mac(runner: &Runner, id: CallId, take: u64) -> String { hex::encode(runner.vault.index.blind("twilio-stream", &format!("{id}/{take}")).0) }

impl Twilio {
    /// The same address with the scheme of WebSockets.
    fn socket_url(&self) -> String {
        match self.public_url.split_once("://") {
            Some(("http", rest)) => format!("ws://{rest}"),
            Some((_, rest)) => format!("wss://{rest}"),
            None => self.public_url.clone(),
        }
    }

    /// Where the stream of this take goes. Without a query: Twilio takes none there.
    pub(super) fn stream_url(&self, runner: &Runner, id: CallId, take: Take) -> String {
        format!("{}{PATH}/{}-{}-{}", self.socket_url(), hex::encode(id.0), take.number, mac(runner, id, take.number))
    }
}

/// The call and the number of the take that an address names, if we signed it.
fn named(runner: &Runner, token: &str) -> Option<(CallId, u64)> {
    let (text, given) = token.rsplit_once('-')?;
    let (id, take) = text.split_once('-')?;
    let id = CallId(hex::decode(id).ok()?.try_into().ok()?);
    let number: u64 = take.parse().ok()?;
    // One way of writing it, so that a number with a plus or zeros before it is none.
    let right = hex::encode(id.0) == text.split_once('-')?.0 && number.to_string() == take;
    (right && bool::from(mac(runner, id, number).as_bytes().ct_eq(given.as_bytes()))).then_some((id, number))
}

/// Twilio opens a stream.
pub(super) async fn stream(State(app): State<App>, Path(token): Path<String>, request: Request) -> Result<Response, Refused> {
    let twilio = signed(&app, request.uri(), request.headers())?;
    let refused = |status: StatusCode, why: &'static str| {
        app.runner.metrics.turn_away("stream");
        Refused(status, why.into())
    };
    if !twilio.streams {
        return Err(refused(StatusCode::NOT_FOUND, "nobody is listened to here: twilio.streams is off"));
    }
    let answer = websocket::key(request.headers()).map(websocket::accept).ok_or_else(|| refused(StatusCode::BAD_REQUEST, "this address is for a WebSocket"))?;
    let upgrade = hyper::upgrade::on(request);
    let (id, number) = named(&app.runner, &token).ok_or_else(|| refused(StatusCode::NOT_FOUND, "this is no address of ours"))?;
    let stale = || refused(StatusCode::GONE, "nobody is listened to for this any more");
    let take = taking(&app.runner, id).await?.filter(|take| take.number == number).ok_or_else(stale)?;
    if app.runner.now() - take.since > TOKEN_LIFE {
        return Err(stale());
    }
    let live = app.runner.call(id).await?.ok_or_else(stale)?;
    let sid = CallSid::parse(&live.line.reference).map_err(|_| stale())?;
    // Once, on whichever node: on record before a word is listened to.
    match app.runner.store.commit(once(app.runner.now(), id, number)).await {
        Ok(_) => {}
        Err(CommitError::Denied(_)) => return Err(refused(StatusCode::CONFLICT, "there is a stream for this already")),
        Err(CommitError::Busy | CommitError::Closed) => return Err(RunError::Busy.into()),
        Err(e) => return Err(RunError::Store(e.to_string()).into()),
    }
    let session = Session { app: app.clone(), id, take, sid };
    tokio::spawn(async move {
        match timeout(PATIENCE, upgrade).await {
            Ok(Ok(upgraded)) => session.run(TokioIo::new(upgraded)).await,
            Ok(Err(_)) | Err(_) => tracing::warn!(call = %id, "a media stream did not come about; the call goes on without it"),
        }
    });
    let headers = [(header::CONNECTION, "Upgrade"), (header::UPGRADE, "websocket"), (header::SEC_WEBSOCKET_ACCEPT, answer.as_str())];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response())
}

fn once(now: Timestamp, id: CallId, take: u64) -> Commit {
    let guard = Guard::Once { key: format!("twilio-stream/{id}/{take}"), expires: Some((now + REMEMBER).0) };
    Commit { now: now.0, guards: vec![guard], ..Commit::default() }
}

/// Twilio signs the address of a stream with the scheme of WebSockets, and nothing besides: the request
/// has no form.
fn signed<'a>(app: &'a App, uri: &Uri, headers: &HeaderMap) -> Result<&'a Twilio, Refused> {
    let twilio = app.twilio.as_deref().ok_or_else(|| Refused(StatusCode::NOT_FOUND, "Twilio is not configured here".into()))?;
    let given = headers.get("x-twilio-signature").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let url = format!("{}{}", twilio.socket_url(), uri.path_and_query().map_or("/", |p| p.as_str()));
    if signature::verify(&twilio.token, &url, &[], given) {
        Ok(twilio)
    } else {
        Err(Refused::stranger(app, "the signature does not fit: is listen.public_url exactly what Twilio calls, and the auth token the account's own?"))
    }
}

/// One stream.
struct Session {
    app: App,
    id: CallId,
    take: Take,
    sid: CallSid,
}

/// How a stream ended.
enum Over {
    /// The caller said something, or nothing until the end of their time.
    Heard(Sound),
    /// The call is elsewhere, or hung up: nobody wants to know any more.
    Moved,
    /// Twilio, or somebody on the way, does not speak as Twilio does.
    Broken(StreamError),
    /// Too slow, or cut.
    Lost,
}

impl Session {
    async fn run<S: AsyncRead + AsyncWrite + Unpin>(self, stream: S) {
        let limits = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(limits)).await;
        match timeout(LIFE, self.listen(&mut socket)).await.unwrap_or(Over::Lost) {
            Over::Heard(sound) => self.told(|| Input::Recorded(sound.clone())).await,
            Over::Moved => {}
            Over::Broken(why) => {
                self.app.runner.metrics.turn_away("stream");
                tracing::warn!(call = %self.id, error = %why, "a media stream was closed; the call goes on without it");
            }
            Over::Lost => tracing::warn!(call = %self.id, "a media stream broke off; the call goes on without it"),
        }
        // Only now: Twilio goes on with the call when it is closed. What still comes is not looked at, and is
        // taken all the same, so that our farewell is not lost behind it. With a status, as there are programs
        // that take one without for an error (RFC 6455 §7.4.1).
        let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        let farewell = async {
            let _ = socket.close(Some(normal)).await;
            while let Some(Ok(_)) = socket.next().await {}
        };
        let _ = timeout(FAREWELL, farewell).await;
    }

    async fn listen<S: AsyncRead + AsyncWrite + Unpin>(&self, socket: &mut WebSocketStream<S>) -> Over {
        let mut notices = self.app.runner.hub.listen();
        let mut listener = Listener::new(self.sid.clone(), self.take.longest);
        let mut begun = false;
        let patience = Instant::now() + PATIENCE;
        loop {
            let message = tokio::select! {
                notice = notices.recv() => {
                    let ours = match notice {
                        Ok(Notice::Call(id)) => id == self.id,
                        Ok(_) => false,
                        Err(RecvError::Lagged(_)) => true,
                        Err(RecvError::Closed) => return Over::Lost,
                    };
                    if ours && !self.goes_on().await {
                        return Over::Moved;
                    }
                    continue;
                }
                message = async { if begun { Ok(socket.next().await) } else { timeout_at(patience, socket.next()).await } } => message,
            };
            let text = match message {
                Ok(Some(Ok(Message::Text(text)))) => text,
                Ok(Some(Ok(Message::Binary(_)))) => return Over::Broken(StreamError::Malformed),
                Ok(Some(Ok(Message::Close(_)))) => return Over::Moved,
                Ok(Some(Ok(_))) => continue,
                Ok(Some(Err(_)) | None) | Err(_) => return Over::Lost,
            };
            match listener.take(text.as_str()) {
                Ok(Next::More) => {}
                Ok(Next::Begun) => {
                    begun = true;
                    if !self.sound(socket, &mut listener).await {
                        return Over::Lost;
                    }
                }
                Ok(Next::Key(key)) => {
                    self.told(|| Input::Keys(Secret::new(key.to_string()))).await;
                    if !self.goes_on().await {
                        return Over::Moved;
                    }
                    // It led nowhere: the answer begins anew.
                    if !self.sound(socket, &mut listener).await {
                        return Over::Lost;
                    }
                }
                Ok(Next::Heard) => return if self.goes_on().await { Over::Heard(Sound::new(std::mem::take(&mut *listener.into_samples()), Some(Codec::Pcmu))) } else { Over::Moved },
                Ok(Next::Ended) => return Over::Moved,
                Err(why) => return Over::Broken(why),
            }
        }
    }

    async fn sound<S: AsyncRead + AsyncWrite + Unpin>(&self, socket: &mut WebSocketStream<S>, listener: &mut Listener) -> bool {
        for text in listener.tone(tone().bytes(Law::Mu)) {
            if socket.send(Message::text(text)).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Whether the call is still at this take.
    async fn goes_on(&self) -> bool { matches!(taking(&self.app.runner, self.id).await, Ok(Some(take)) if take.number == self.take.number) }

    /// Puts it on record, if it is anything. The caller hears of it when Twilio asks.
    async fn told(&self, make: impl Fn() -> Input + Send) {
        match self.app.runner.run(self.id, command(self.sid.as_str(), self.take.number), make).await {
            Ok(_) | Err(RunError::Rejected(_) | RunError::NoCall) => {}
            Err(e) => tracing::error!(call = %self.id, error = %e, "what a caller said could not be taken; the call goes on without it"),
        }
    }
}
