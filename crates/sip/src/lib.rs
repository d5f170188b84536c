//! A voice gateway on SIP and RTP, for a program that decides what a caller hears.
//!
//! A [`Gateway`] answers calls, plays [`clip`]s, collects keys, holds, connects with an agent's
//! telephone, transfers and hangs up. What it does with a call is decided by a [`Flow`], in [`Step`]s;
//! what goes on in a call can be replaced at any time through a [`Handle`].
//!
//! Below it lie [`rsipstack`] for transactions and dialogs, and our own [`sdp`], [`rtp`], [`dtmf`] and
//! [`g711`]. Not here, and not planned: a SIP parser, SRTP, ICE, TLS, tones within the sound. A media
//! proxy in front does these.
//!
//! ```no_run
//! use std::{sync::Arc, time::Duration};
//! use countersign_sip::{Answer, CallKey, Clip, Ended, Flow, Gather, Gateway, Incoming, Settings, Step, Steps};
//!
//! struct Ask(Arc<Clip>);
//!
//! #[async_trait::async_trait]
//! impl Flow for Ask {
//!     async fn incoming(&self, _: &Incoming) -> Answer {
//!         let gather = Gather { max: 6, timeout: Duration::from_secs(10), hash_ends: true, secret: true };
//!         Answer::Accept(Steps::new([Step::Play(vec![self.0.clone()]), Step::Gather(gather), Step::HangUp]))
//!     }
//!     async fn digits(&self, _: &CallKey, _keys: &str) -> Option<Steps> {
//!         Some(Steps::new([Step::HangUp]))
//!     }
//!     async fn no_keys(&self, _: &CallKey) -> Option<Steps> {
//!         None // what follows the Gather
//!     }
//!     async fn hung_up(&self, _: &CallKey, _: Ended) {}
//! }
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let prompt = Clip::from_wav(&std::fs::read("prompt.wav")?)?;
//! let settings = Settings { peers: vec!["192.0.2.0/24".parse()?], ..Settings::new("0.0.0.0:5060".parse()?) };
//! let gateway = Gateway::start(settings, Arc::new(Ask(prompt))).await?;
//! # gateway.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What is logged
//!
//! Nothing here logs a number or a key, and no `Debug` shows one. The stack below does: see
//! [`LOG_TARGET`].

mod bridge;
mod call;
pub mod caller;
pub mod clip;
pub mod digest;
pub mod dtmf;
pub mod flow;
#[doc(hidden)]
pub mod fuzz;
pub mod g711;
mod gateway;
mod guard;
mod headers;
mod media;
mod outgoing;
mod random;
pub mod rtp;
pub mod sdp;
mod settings;
mod streams;
mod talk;
mod trunk;

pub use bridge::is_sip_uri;
pub use clip::Clip;
pub use digest::Digest;
pub use flow::{AgentEvent, AgentLeg, Answer, Bridge, CallKey, Ended, Flow, Gather, Heard, Incoming, Step, Steps, Transfer, Transport};
pub use gateway::{Figures, Gateway, GatewayError, Handle};
pub use headers::parts as header_values;
pub use media::Capture;
pub use outgoing::{NotRung, Outgoing, Rung};
pub use settings::{Network, Rate, RtpSource, Settings, Trunk};
pub use trunk::Registered;

/// The target under which the SIP stack logs. At `info` and below it writes whole messages: numbers of
/// callers, and keys that come by INFO. In its warnings it names calls by the `Call-ID`, in which a caller
/// may write anything. Whoever embeds this has to hold it at `error`, whatever else an operator asks for; [`is_safe_to_log`] tells, and fits into a filter of `tracing`.
pub const LOG_TARGET: &str = "rsipstack";

/// Whether an event of this target and level may be written. A filter of `tracing` calls it last.
#[must_use]
pub fn is_safe_to_log(target: &str, level: &tracing::Level) -> bool {
    let of_the_stack = target.strip_prefix(LOG_TARGET).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    !of_the_stack || *level <= tracing::Level::ERROR
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    #[test]
    fn what_the_stack_says_is_written_if_it_is_an_error() {
        assert!(!super::is_safe_to_log("rsipstack::transport::udp", &Level::WARN));
        assert!(super::is_safe_to_log("rsipstack", &Level::ERROR));
        assert!(!super::is_safe_to_log("rsipstack::transport::udp", &Level::INFO));
        assert!(!super::is_safe_to_log("rsipstack", &Level::TRACE));
        assert!(super::is_safe_to_log("rsipstacks", &Level::INFO) && super::is_safe_to_log("countersign", &Level::TRACE));
    }
}
