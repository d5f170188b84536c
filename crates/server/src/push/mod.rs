//! Wakes a customer's devices when an approval is asked for: Web Push (RFC 8030) with encryption for
//! the browser alone ([`message`]), signed with our own key ([`vapid`]), to known push services only
//! ([`address`]). A wake-up says that something waits in the portal and nothing else: no code, no
//! name, no number. Whoever wakes up signs in and looks.

pub mod address;
pub mod message;
pub mod vapid;

use std::sync::Arc;

use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use countersign_core::{
    account::PushSubscription,
    id::{AccountId, CallId, ChallengeId},
    secret::Secret,
    time::Span,
};
use countersign_store::OutboxItem;
use futures_util::future::join_all;
use reqwest::{Client, header, redirect};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use self::{
    address::{PublicOnly, Rules, Way},
    message::{Receiver, Unsealable},
    vapid::Vapid,
};
use crate::{
    amend::{Extra, Notify},
    effects::{Asked, WAKE},
    outbox::{
        Carried, Courier,
        http::{Answer, Failure, exchange, millis},
        provider::{SOON, SetupError},
    },
    record::AccountEvent,
    runner::{RunError, Runner},
};

/// Most browsers that are woken for one account.
pub const MOST: usize = 5;
/// Longest time for one attempt at one push service.
const TIMEOUT: Span = Span::seconds(10);
/// Least time between attempts: most troubles of push services pass within seconds.
const LONGEST_WAIT: Span = Span::seconds(60);

/// Wakes devices.
pub struct Push {
    runner: Arc<Runner>,
    rules: Rules,
    subject: Option<String>,
    public: Client,
    named: Client,
    key: OnceCell<Vapid>,
}

/// What travels. As long for everybody, so that its length says nothing.
#[derive(Serialize)]
struct Wake {
    v: u8,
    what: &'static str,
    request: ChallengeId,
}

/// How one device fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Woken {
    Yes,
    /// Its subscription is over (RFC 8030 §7.3).
    Gone,
    Later(Span),
    No,
}

impl Push {
    /// Connects to nothing. `contact` is where a push service may reach the operator (RFC 8292
    /// §2.1): our own address, if it is one.
    pub fn new(runner: Arc<Runner>, rules: Rules, contact: &str) -> Result<Self, SetupError> {
        let client = |loopback: bool| {
            Client::builder().redirect(redirect::Policy::none()).retry(reqwest::retry::never()).referer(false).http1_only().pool_max_idle_per_host(0)
                .connect_timeout(millis(TIMEOUT) / 2).timeout(millis(TIMEOUT)).https_only(!loopback)
                .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")))
        };
        let public = client(false).dns_resolver(PublicOnly::shared()).build().map_err(|_| SetupError::Tls)?;
        let named = if rules.loopback { client(true).no_proxy() } else { client(false) };
        let named = named.build().map_err(|_| SetupError::Tls)?;
        let subject = contact.starts_with("https://").then(|| contact.to_owned());
        Ok(Self { runner, rules, subject, public, named, key: OnceCell::new() })
    }

    async fn key(&self) -> Result<&Vapid, RunError> { self.key.get_or_try_init(|| Vapid::load(&self.runner)).await }

    /// The key that browsers subscribe under.
    pub async fn public_key(&self) -> Result<String, RunError> { Ok(self.key().await?.public()) }

    /// Whether messages may go there, and the browser's keys are such.
    pub fn takes(&self, subscription: &PushSubscription) -> bool {
        let sealed = Receiver::of(subscription).and_then(|r| match r.seal(b"", &[1; 32], &[0; 16]) {
            Err(Unsealable::Draw) | Ok(_) => Ok(()),
            Err(e) => Err(e),
        });
        sealed.is_ok() && self.rules.judge(subscription.endpoint.expose()).is_some()
    }

    /// Adds a browser, or renews its keys. The oldest one makes room: a lost telephone must not keep
    /// a new one out.
    pub async fn add(&self, account: AccountId, new: PushSubscription) -> Result<(), RunError> {
        self.runner.amend(account, Notify::Nobody, Extra::default(), |profile, _| {
            let same = |a: &PushSubscription| a.endpoint.ct_eq(&new.endpoint);
            let known = profile.push.iter().any(|a| same(a) && a.p256dh.ct_eq(&new.p256dh) && a.auth.ct_eq(&new.auth));
            if known {
                return Ok(Vec::new());
            }
            profile.push.retain(|a| !same(a));
            profile.push.push(new.clone());
            let over = profile.push.len().saturating_sub(MOST);
            profile.push.drain(..over);
            Ok(vec![AccountEvent::PushAdded])
        }).await
    }

    /// Takes a browser away, if this account has it.
    pub async fn remove(&self, account: AccountId, endpoint: &Secret) -> Result<(), RunError> {
        self.runner.amend(account, Notify::Nobody, Extra::default(), |profile, _| {
            let before = profile.push.len();
            profile.push.retain(|a| !a.endpoint.ct_eq(endpoint));
            Ok((profile.push.len() < before).then_some(AccountEvent::PushRemoved).into_iter().collect())
        }).await
    }

    /// What is left of the life of a request that is still open.
    async fn left(&self, call: CallId, challenge: ChallengeId) -> Result<Option<Span>, RunError> {
        let open = self.runner.call(call).await?.and_then(|live| live.call.challenge).filter(|c| c.id == challenge);
        Ok(open.map(|c| c.expires - self.runner.now()).filter(|left| left.0 >= 1000))
    }

    async fn wake(&self, item: &OutboxItem) -> Result<Carried, RunError> {
        let asked: Asked = self.runner.vault.unseal("outbox", &item.id, &item.body)?;
        // Answered, over or given up: nobody is woken for nothing.
        let Some(left) = self.left(CallId(item.owner), asked.challenge).await? else { return Ok(Carried::Never) };
        let Some(loaded) = self.runner.directory.load(asked.account).await? else { return Ok(Carried::Never) };
        let all = &loaded.profile.push;
        let woken = join_all(all.iter().map(|one| self.one(one, asked.challenge, left))).await;
        let mut out = Carried::Never;
        for (subscription, woken) in all.iter().zip(woken) {
            let woken = woken?;
            self.runner.metrics.message(match woken { Woken::Yes => "woken", Woken::Gone => "push_gone", Woken::Later(_) => "push_later", Woken::No => "push_refused" });
            match (woken, out) {
                // One device that wakes is enough; a second message to it would ring again.
                (Woken::Yes, _) => out = Carried::Done,
                (Woken::Later(wait), Carried::Never) => out = Carried::Again(wait),
                (Woken::Gone, _) => self.remove(asked.account, &subscription.endpoint).await?,
                _ => {}
            }
        }
        Ok(out)
    }

    async fn one(&self, to: &PushSubscription, challenge: ChallengeId, left: Span) -> Result<Woken, RunError> {
        // Judged again: the list may have become shorter since.
        let Some((url, way)) = self.rules.judge(to.endpoint.expose()) else { return Ok(Woken::No) };
        let text = serde_json::to_vec(&Wake { v: 1, what: "approval", request: challenge })?;
        let Ok(receiver) = Receiver::of(to) else { return Ok(Woken::No) };
        let Ok(body) = receiver.seal(&text, &self.runner.vault.seed()?, &self.runner.vault.id()?) else { return Ok(Woken::No) };
        let audience = url.origin().ascii_serialization();
        let Some(authorization) = self.key().await?.authorization(&audience, self.subject.as_deref(), self.runner.now()) else { return Ok(Woken::No) };
        let client = match way { Way::Public => &self.public, Way::Named => &self.named };
        let request = client.post(url)
            .header(header::AUTHORIZATION, authorization)
            .header(header::CONTENT_ENCODING, "aes128gcm")
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header("TTL", (left.0 / 1000).to_string())
            .header("Urgency", "high")
            .header("Topic", topic(challenge))
            .body(body);
        Ok(match exchange(request).await {
            Ok(answer) => judge(&answer),
            Err(Failure::NotSent | Failure::NoAnswer) => Woken::Later(SOON),
        })
    }
}

/// A later message about the same request replaces an earlier one that was not fetched (RFC 8030
/// §5.4): 32 characters of base64url.
fn topic(challenge: ChallengeId) -> String {
    let hash = Sha256::digest([b"wake".as_slice(), &challenge.0].concat());
    BASE64_URL_SAFE_NO_PAD.encode(hash).chars().take(32).collect()
}

fn judge(answer: &Answer) -> Woken {
    let later = Woken::Later(answer.retry_after.unwrap_or(SOON).min(LONGEST_WAIT));
    match answer.status.as_u16() {
        200..=299 => Woken::Yes,
        404 | 410 => Woken::Gone,
        408 | 425 | 429 | 500..=599 => later,
        status => {
            tracing::warn!(status, "a push service refused a message");
            Woken::No
        }
    }
}

#[async_trait]
impl Courier for Push {
    fn topic(&self) -> &'static str { WAKE }

    async fn carry(&self, item: &OutboxItem) -> Carried {
        match self.wake(item).await {
            Ok(carried) => carried,
            Err(RunError::Busy) => Carried::Again(Span::seconds(1)),
            Err(e) => {
                tracing::error!(error = %e, "a device could not be woken");
                Carried::Never
            }
        }
    }
}

/// Lets a shared one be a courier beside its routes.
pub struct Shared(pub Arc<Push>);

#[async_trait]
impl Courier for Shared {
    fn topic(&self) -> &'static str { self.0.topic() }
    async fn carry(&self, item: &OutboxItem) -> Carried { self.0.carry(item).await }
}
