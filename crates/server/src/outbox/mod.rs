//! Messages on their way out: taken from the store, sent once, and their fate told to the call.

pub mod http;
pub mod provider;
pub mod smtp;
pub mod twilio;

use std::sync::Arc;

use async_trait::async_trait;
use countersign_core::{
    account::ContactKind,
    call::Input,
    factor::FactorKind,
    id::{CallId, ChallengeId, MessageId},
    message::{Body, Delivery, Message},
    secret::Secret,
    time::Span,
};
use countersign_store::{OutboxItem, Settle};

use self::provider::{Channel, Outgoing, Provider, Sent, reason};
use crate::{
    i18n::Texts,
    runner::{RunError, Runner},
};

/// How long a sender may take before another may look at the message.
const LEASE: Span = Span::minutes(2);
/// After so many attempts a message is given up.
const MAX_ATTEMPTS: u32 = 6;

/// Carries what is no message to a contact on file: a wake-up for a device, a question to another
/// server. The same rule as for providers: one command, at most one effect that cannot be taken back.
#[async_trait]
pub trait Courier: Send + Sync {
    /// The topic it carries.
    fn topic(&self) -> &'static str;
    /// Tries once.
    async fn carry(&self, item: &OutboxItem) -> Carried;
}

/// How an errand ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried {
    /// Done.
    Done,
    /// Not yet: again after this time.
    Again(Span),
    /// It will not come about.
    Never,
}

/// Sends what waits.
pub struct Outbox {
    runner: Arc<Runner>,
    texts: Arc<Texts>,
    providers: Vec<Arc<dyn Provider>>,
    couriers: Vec<Arc<dyn Courier>>,
}

impl Outbox {
    /// An outbox over its providers; the first that serves a channel gets its messages.
    pub fn new(runner: Arc<Runner>, texts: Arc<Texts>, providers: Vec<Arc<dyn Provider>>) -> Self {
        Self { runner, texts, providers, couriers: Vec::new() }
    }

    /// With somebody for errands of another kind.
    pub fn with(mut self, courier: Arc<dyn Courier>) -> Self {
        self.couriers.push(courier);
        self
    }

    /// Sends everything that is due. Returns how many messages were taken.
    pub async fn flush(&self) -> Result<usize, RunError> {
        let now = self.runner.now();
        let items = self.runner.store.outbox_take(now.0, (now + LEASE).0, 50).await?;
        let n = items.len();
        // Side by side: one slow provider must not hold the codes of all callers.
        let sends = items.into_iter().map(|item| self.one(item));
        for result in futures_util::future::join_all(sends).await {
            if let Err(e) = result {
                tracing::warn!(error = %e, "a message could not be settled; it will be looked at again");
            }
        }
        Ok(n)
    }

    async fn one(&self, item: OutboxItem) -> Result<(), RunError> {
        if item.topic != "message" {
            return self.errand(&item).await;
        }
        let id = MessageId(item.id);
        let message: Message = match self.runner.vault.unseal("outbox", &item.id, &item.body) {
            Ok(message) => message,
            Err(e) => {
                tracing::error!(outbox = %id, error = %e, "a message in the outbox does not open");
                return self.settled(&item, Settle::Dead, Delivery::Failed).await;
            }
        };
        if let Body::Code { challenge, .. } = &message.body
            && !self.awaited(CallId(item.owner), *challenge).await?
        {
            // Its challenge is over: a late code only confuses.
            return self.settled(&item, Settle::Dead, Delivery::Failed).await;
        }
        let Some((outgoing, provider)) = self.prepare(&message, &item).await? else {
            tracing::warn!(outbox = %id, "nobody can deliver this message: is a provider configured for its channel?");
            return self.settled(&item, Settle::Dead, Delivery::Failed).await;
        };
        let sent = provider.send(&outgoing).await;
        match sent {
            Sent::Accepted { .. } => self.settled(&item, Settle::Done, Delivery::Sent).await,
            Sent::Rejected { reason } => {
                tracing::warn!(outbox = %id, provider = provider.name(), reason, "a message was refused");
                self.settled(&item, Settle::Dead, Delivery::Failed).await
            }
            Sent::Unknown { reason } => {
                tracing::warn!(outbox = %id, provider = provider.name(), reason, "nobody knows whether a message went; it is not sent again");
                self.settled(&item, Settle::Dead, Delivery::Unknown).await
            }
            Sent::Retry { reason, .. } if item.attempts >= MAX_ATTEMPTS => {
                tracing::warn!(outbox = %id, provider = provider.name(), reason, "a message is given up");
                // Only a provider that drops repeats may retry after silence: it may have gone.
                let silent = [reason::NO_ANSWER, reason::PROVIDER_FAILED].contains(&reason);
                self.settled(&item, Settle::Dead, if silent { Delivery::Unknown } else { Delivery::Failed }).await
            }
            Sent::Retry { after, reason } => {
                tracing::info!(outbox = %id, provider = provider.name(), reason, attempt = item.attempts, "a message will be tried again");
                self.runner.metrics.message("retry");
                // Doubling, within what the provider asked for and half an hour.
                let wait = Span(after.0.max(1000).saturating_mul(1 << item.attempts.min(8)).min(Span::minutes(30).0));
                let at = self.runner.now() + wait;
                self.runner.store.outbox_settle(item.id, Settle::Retry(at.0)).await?;
                Ok(())
            }
        }
    }

    async fn errand(&self, item: &OutboxItem) -> Result<(), RunError> {
        let courier = self.couriers.iter().find(|c| c.topic() == item.topic);
        let carried = match courier {
            Some(courier) => courier.carry(item).await,
            // Without a courier nobody was promised anything: the portal shows requests by itself.
            None => Carried::Never,
        };
        let settle = match carried {
            Carried::Done => Settle::Done,
            Carried::Never => Settle::Dead,
            Carried::Again(after) => Settle::Retry((self.runner.now() + after).0),
        };
        self.runner.store.outbox_settle(item.id, settle).await?;
        Ok(())
    }

    /// Whether the call still waits for this code.
    async fn awaited(&self, call: CallId, challenge: ChallengeId) -> Result<bool, RunError> {
        let now = self.runner.now();
        let live = self.runner.call(call).await?;
        Ok(live.and_then(|l| l.call.challenge).is_some_and(|c| c.id == challenge && c.expires > now))
    }

    /// Looks the destination up on file and finds the words. `None`: nobody can deliver it.
    async fn prepare(&self, message: &Message, item: &OutboxItem) -> Result<Option<(Outgoing, &Arc<dyn Provider>)>, RunError> {
        let Some(loaded) = self.runner.directory.load(message.to.account).await? else { return Ok(None) };
        let Some(contact) = loaded.profile.contacts.iter().find(|c| c.id == message.to.contact) else { return Ok(None) };
        // A notice may go to a contact that was replaced; a code or a ring may not, however short a while ago.
        if contact.retired.is_some() && matches!(message.body, Body::Code { .. } | Body::Ring { .. }) {
            return Ok(None);
        }
        // Whoever asked for no texts gets none, not even one that was under way.
        let kind = if contact.no_texts { ContactKind::Landline } else { contact.kind };
        let channel = match (&message.body, kind) {
            (Body::Code { kind: FactorKind::SmsCode, .. }, ContactKind::Mobile) => Channel::Sms,
            (Body::Code { kind: FactorKind::VoiceCode, .. }, ContactKind::Mobile | ContactKind::Landline) => Channel::Voice,
            // A code never goes by e-mail (NIST SP 800-63B-4 §3.1.3).
            (Body::Code { .. }, _) => return Ok(None),
            (Body::Ring { .. }, ContactKind::Mobile | ContactKind::Landline) => Channel::Ring,
            (Body::Ring { .. }, ContactKind::Email) => return Ok(None),
            (_, ContactKind::Email) => Channel::Email,
            (_, ContactKind::Mobile) => Channel::Sms,
            // The only contact of its customer: the words are read out, without links.
            (_, ContactKind::Landline) => Channel::Voice,
        };
        let Some(provider) = self.providers.iter().find(|p| p.channels().contains(&channel)) else { return Ok(None) };
        let (subject, text) = match channel {
            // What a telephony provider needs is the call's name: it asks us what to say when somebody answers.
            Channel::Ring => (None, item_call(item)),
            Channel::Sms => (None, self.texts.sms(message.lang, &message.body)),
            Channel::Voice => (None, self.texts.voice_code(message.lang, &message.body)),
            Channel::Email => {
                let mail = self.texts.mail(message.lang, &message.body);
                (Some(mail.subject), mail.text)
            }
        };
        let outgoing = Outgoing {
            id: message.id, channel, to: contact.value.clone(), subject, text: Secret::new(text), lang: message.lang, interrupted: item.interrupted,
        };
        Ok(Some((outgoing, provider)))
    }

    async fn settled(&self, item: &OutboxItem, settle: Settle, delivery: Delivery) -> Result<(), RunError> {
        self.runner.metrics.message(match delivery {
            Delivery::Sent => "sent",
            Delivery::Delivered => "delivered",
            Delivery::Failed => "failed",
            Delivery::Unknown => "unknown",
        });
        self.runner.store.outbox_settle(item.id, settle).await?;
        delivered(&self.runner, CallId(item.owner), MessageId(item.id), delivery).await
    }
}

fn item_call(item: &OutboxItem) -> String { CallId(item.owner).to_string() }

/// Tells a call how one of its messages fared.
pub async fn delivered(runner: &Runner, call: CallId, message: MessageId, delivery: Delivery) -> Result<(), RunError> {
    let command = format!("delivery/{message}/{delivery:?}");
    match runner.run(call, command, || Input::Delivered { message, delivery }).await {
        // Notices outside of calls have no call to tell.
        Ok(_) | Err(RunError::NoCall | RunError::Rejected(_)) => Ok(()),
        Err(e) => Err(e),
    }
}
