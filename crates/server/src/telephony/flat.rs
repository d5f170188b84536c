//! Instructions for flow designers (Amazon Connect, Genesys): one thing to do next, and flat fields
//! beside it. Such a flow is a loop: do what `next` says, send what came of it, begin again.

use countersign_core::prompt::{Directive, Lang, Music};

use crate::{i18n::Texts, runner::Reply};

/// What a flow does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Say the words, and collect keys.
    Keys {
        /// At most so many.
        max: u8,
        /// Seconds until the first.
        timeout: u8,
        /// They are a secret: no recording, no log, no agent.
        secret: bool,
    },
    /// Say the words, then ask what now.
    Say,
    /// Let the caller wait a while, then ask what now.
    Hold(Music),
    /// Connect the agent who has the call.
    Agent,
    /// End the call.
    HangUp,
}

impl Next {
    /// Its name in an answer.
    pub fn name(self) -> &'static str {
        match self {
            Self::Keys { .. } => "keys",
            Self::Say => "say",
            Self::Hold(_) => "hold",
            Self::Agent => "agent",
            Self::HangUp => "hang_up",
        }
    }
}

/// One turn of the loop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// The number that comes back with what came of it.
    pub step: u64,
    /// What to do.
    pub next: Next,
    /// What to say first, in runs of one language.
    pub words: Vec<(Lang, String)>,
}

impl Turn {
    /// What a reply means for a flow.
    ///
    /// Keys interrupt words only where keys are asked for. Any other words come alone: what follows is
    /// asked for afterwards, and may have changed by then.
    pub fn of(reply: &Reply, texts: &Texts) -> Self {
        let mut words: Vec<(Lang, String)> = Vec::new();
        let mut next = None;
        for directive in &reply.directives {
            match directive {
                Directive::Say { prompt, lang } => {
                    for (lang, text) in texts.spoken(*lang, prompt) {
                        match words.last_mut() {
                            Some((last, so_far)) if *last == lang => {
                                so_far.push(' ');
                                so_far.push_str(&text);
                            }
                            _ => words.push((lang, text)),
                        }
                    }
                }
                Directive::Gather { max, timeout, secret } => next = Some(Next::Keys { max: *max, timeout: *timeout, secret: *secret }),
                // Nobody listens here; a key leads on, and so does none.
                Directive::Listen { timeout, lang: _ } => next = Some(Next::Keys { max: 1, timeout: *timeout, secret: true }),
                Directive::Record { .. } => next = Some(Next::Keys { max: 1, timeout: 1, secret: true }),
                Directive::Hold { music } => next = Some(Next::Hold(*music)),
                Directive::Bridge => next = Some(Next::Agent),
                Directive::HangUp => next = Some(Next::HangUp),
            }
        }
        // A state without instructions is a short one: ask again.
        let next = next.unwrap_or(Next::Hold(Music::Silence));
        let next = if words.is_empty() || matches!(next, Next::Keys { .. }) { next } else { Next::Say };
        Self { step: reply.n, next, words }
    }

    /// The language to speak in.
    pub fn lang(&self) -> Lang { self.words.first().map(|(lang, _)| *lang).unwrap_or_default() }

    /// The words in one text, for a voice that speaks one language.
    pub fn text(&self) -> String { self.words.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(" ") }
}
