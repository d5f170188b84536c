//! What the outbox asks of anything that carries a message to a customer.
//!
//! The rule: **one command, at most one message.** A code that comes twice confuses, a notice that
//! comes twice alarms, and neither can be called back. So [`Sent::Retry`] may be answered only when
//! the message certainly did not go, or when the provider itself drops repeats by the message's id.

use std::{fmt, net::IpAddr, sync::Arc};

use async_trait::async_trait;
use countersign_core::{id::MessageId, prompt::Lang, secret::Secret, time::{Span, Timestamp}};

/// A way to a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// A text message.
    Sms,
    /// A call that reads the text out.
    Voice,
    /// An e-mail.
    Email,
    /// A call that goes on with us once it is answered; the text names it.
    Ring,
}

impl Channel {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self { Self::Sms => "sms", Self::Voice => "voice", Self::Email => "email", Self::Ring => "ring" }
    }
}
impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(self.name()) }
}

/// One message, its destination looked up and its words written.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Which message; the same at every attempt.
    pub id: MessageId,
    /// How it goes.
    pub channel: Channel,
    /// A number in E.164 form, or an e-mail address. Only ever a contact on file.
    pub to: Secret,
    /// Subject of an e-mail; never personal.
    pub subject: Option<String>,
    /// The words; they may hold a code.
    pub text: Secret,
    /// Their language.
    pub lang: Lang,
    /// An earlier attempt was begun, and nobody knows how it ended.
    pub interrupted: bool,
}

/// How an attempt ended. Reasons are constants of [`reason`]: they go into events and logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// The provider has it.
    Accepted {
        /// The provider's name for it, not personal.
        reference: Option<String>,
    },
    /// It did not go and will not: trying again would not help.
    Rejected {
        /// Why.
        reason: &'static str,
    },
    /// It may be tried again, at the earliest after this time.
    Retry {
        /// How long to wait, in milliseconds.
        after: Span,
        /// Why.
        reason: &'static str,
    },
    /// It may have gone or not. Never tried again.
    Unknown {
        /// Why.
        reason: &'static str,
    },
}

/// A carrier of messages.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Its name in events, metrics and settings.
    fn name(&self) -> &'static str;
    /// What it carries.
    fn channels(&self) -> &[Channel];
    /// Tries once. Never panics; every failure is a [`Sent`]. If the future is dropped half-way, the
    /// outcome is unknown, and a later attempt must say `interrupted`.
    async fn send(&self, message: &Outgoing) -> Sent;
}

/// A clock handed in, as everywhere in this house.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Why a provider cannot be set up. Names the setting and what to write there, never a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// A setting cannot be used.
    #[error("{setting}: {rule}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// What it must be like.
        rule: &'static str,
    },
    /// The TLS library found no usable root certificates or the like.
    #[error("TLS cannot be set up: install the system's CA certificates")]
    Tls,
}

impl SetupError {
    pub(crate) fn setting(setting: &'static str, rule: &'static str) -> Self { Self::Setting { setting, rule } }
}

/// Least time before another attempt after a failure that usually passes soon.
pub const SOON: Span = Span::seconds(5);

/// The fixed list of reasons.
pub mod reason {
    /// The customer opted out of messages from this sender (us-tcpa): offer another factor.
    pub const OPTED_OUT: &str = "opted_out";
    /// Not a number that can be texted or called.
    pub const INVALID_NUMBER: &str = "invalid_number";
    /// Not an address that mail can go to.
    pub const INVALID_ADDRESS: &str = "invalid_address";
    /// A landline: it cannot be texted.
    pub const NOT_MOBILE: &str = "not_mobile";
    /// The handset or mailbox cannot be reached.
    pub const UNREACHABLE: &str = "unreachable";
    /// A carrier or mail server filters the message.
    pub const FILTERED: &str = "filtered";
    /// The account may not send to this country.
    pub const COUNTRY_OFF: &str = "country_not_enabled";
    /// The sending number or address is not ours or not registered.
    pub const BAD_SENDER: &str = "sender_not_usable";
    /// The message is too long for the channel.
    pub const TOO_LONG: &str = "too_long";
    /// The provider did not accept our credentials.
    pub const CREDENTIALS: &str = "credentials_refused";
    /// The provider's account is suspended or out of funds.
    pub const ACCOUNT: &str = "provider_account";
    /// The provider does not know the address we post to.
    pub const NOT_FOUND: &str = "endpoint_not_found";
    /// The provider sent us elsewhere; we do not follow.
    pub const REDIRECTED: &str = "redirected";
    /// The provider refused for a reason not in this list.
    pub const REFUSED: &str = "refused";
    /// The carrier gave up for a reason it does not tell.
    pub const UNDELIVERED: &str = "undelivered";
    /// This provider does not carry this channel.
    pub const WRONG_CHANNEL: &str = "wrong_channel";
    /// The message could not be written in the channel's form.
    pub const MALFORMED: &str = "malformed";
    /// No connection: name, route, port or TLS.
    pub const NO_CONNECTION: &str = "no_connection";
    /// The mail server offers no TLS.
    pub const NO_TLS: &str = "no_tls";
    /// The provider wants us to slow down.
    pub const BUSY: &str = "provider_busy";
    /// The provider has trouble of its own.
    pub const PROVIDER_FAILED: &str = "provider_failed";
    /// The request went out, and no answer came.
    pub const NO_ANSWER: &str = "no_answer";
    /// The answer could not be read.
    pub const BROKEN_ANSWER: &str = "broken_answer";
    /// An earlier attempt may have gone.
    pub const INTERRUPTED: &str = "interrupted";
}

/// Whether this host is this machine: the only place where anything may go unencrypted.
pub(crate) fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outgoing_message_shows_neither_words_nor_destination() {
        let m = Outgoing {
            id: MessageId([1; 16]), channel: Channel::Sms, to: Secret::new("+12025550142"), subject: None,
            text: Secret::new("code 482913"), lang: Lang::En, interrupted: false,
        };
        let shown = format!("{m:?}");
        assert!(!shown.contains("2025550142") && !shown.contains("482913"), "{shown}");
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for yes in ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1", "[::1]"] {
            assert!(is_loopback(yes), "{yes}");
        }
        for no in ["", "localhost.evil.com", "127.0.0.1.evil.com", "10.0.0.1", "0.0.0.0", "::", "128.0.0.1", "local"] {
            assert!(!is_loopback(no), "{no}");
        }
    }
}
