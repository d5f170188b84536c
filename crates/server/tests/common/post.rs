//! Every customer's letter box, in place of the carriers.

use std::{
    collections::VecDeque,
    sync::Mutex,
};

use async_trait::async_trait;
use countersign_core::{id::{CallId, MessageId}, prompt::Lang, secret::Secret};
use countersign_server::outbox::provider::{Channel, Outgoing, Provider, Sent, reason};

/// A message that somebody got.
#[derive(Debug, Clone)]
pub struct Letter {
    pub id: MessageId,
    pub channel: Channel,
    pub to: String,
    pub subject: String,
    pub text: String,
    pub lang: Lang,
    pub interrupted: bool,
}

impl Letter {
    /// The code in it: six digits, written together or one by one.
    #[track_caller]
    pub fn code(&self) -> String {
        let runs = self.text.split(|c: char| !(c.is_ascii_digit() || c == ',' || c == ' '));
        let digits = |run: &str| run.chars().filter(char::is_ascii_digit).collect::<String>();
        runs.map(digits).find(|d| d.len() == 6).unwrap_or_else(|| panic!("no code in {:?}", self.text))
    }

    /// The path of the link in it.
    #[track_caller]
    pub fn link(&self) -> String {
        let (_, rest) = self.text.split_once("https://").unwrap_or_else(|| panic!("no link in {:?}", self.text));
        rest[rest.find('/').unwrap()..].split_whitespace().next().unwrap().to_owned()
    }

    #[track_caller]
    pub fn reads(&self, words: &str) -> &Self {
        assert!(self.text.contains(words), "no {words:?} in {:?}", self.text);
        self
    }

    #[track_caller]
    pub fn went_to(&self, channel: Channel, to: &str) -> &Self {
        assert_eq!((self.channel, self.to.as_str()), (channel, to), "{}", self.text);
        self
    }
}

/// Takes every message, unless it was told how the next attempts end.
#[derive(Default)]
pub struct Post {
    got: Mutex<Vec<Letter>>,
    tried: Mutex<Vec<Letter>>,
    fates: Mutex<VecDeque<Sent>>,
}

impl Post {
    /// What arrived, in order.
    pub fn all(&self) -> Vec<Letter> { self.got.lock().unwrap().clone() }
    /// Every attempt, whatever came of it.
    pub fn attempts(&self) -> Vec<Letter> { self.tried.lock().unwrap().clone() }
    /// The message that asks for this call, as its carrier gets it.
    pub fn order(&self, call: CallId) -> Outgoing {
        let letter = self.all().into_iter().find(|letter| letter.text == call.to_string()).expect("nobody asked for this call");
        Outgoing { id: letter.id, channel: letter.channel, to: Secret::new(letter.to), subject: None, text: Secret::new(letter.text), lang: letter.lang, interrupted: false }
    }
    /// How the next attempt ends.
    pub fn next(&self, fate: Sent) { self.fates.lock().unwrap().push_back(fate); }
}

#[async_trait]
impl Provider for Post {
    fn name(&self) -> &'static str { "post" }
    fn channels(&self) -> &[Channel] { &[Channel::Sms, Channel::Voice, Channel::Email, Channel::Ring] }
    async fn send(&self, m: &Outgoing) -> Sent {
        let letter = Letter {
            id: m.id, channel: m.channel, to: m.to.expose().into(), subject: m.subject.clone().unwrap_or_default(), text: m.text.expose().into(),
            lang: m.lang, interrupted: m.interrupted,
        };
        self.tried.lock().unwrap().push(letter.clone());
        let fate = self.fates.lock().unwrap().pop_front();
        match fate {
            // As the real carriers do that cannot drop repeats.
            None if m.interrupted => Sent::Unknown { reason: reason::INTERRUPTED },
            None => {
                self.got.lock().unwrap().push(letter);
                Sent::Accepted { reference: None }
            }
            Some(Sent::Accepted { reference }) => {
                self.got.lock().unwrap().push(letter);
                Sent::Accepted { reference }
            }
            Some(other) => other,
        }
    }
}
