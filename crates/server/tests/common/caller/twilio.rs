//! Twilio, by [`Phone`].

use async_trait::async_trait;
use countersign_core::id::CallId;

use super::{Caller, Dials, Heard, Then};
use crate::common::{World, phone::Phone};

struct Twilio {
    phone: Phone,
    heard: Heard,
}

pub async fn dial(world: &World, dials: Dials) -> Box<dyn Caller> {
    let phone = match dials {
        Dials { token: true, from, .. } => {
            // The token follows by itself; here the scenario keys it.
            Phone::dial_app(world, from).await
        }
        Dials { from, failed, .. } => Phone::dial(world, from, if failed { "TN-Validation-Failed" } else { "TN-Validation-Passed-A" }).await,
    };
    Box::new(Twilio::new(phone))
}

pub async fn answer(world: &World, id: CallId) -> Box<dyn Caller> { Box::new(Twilio::new(Phone::answer(world, id).await)) }

impl Twilio {
    fn new(phone: Phone) -> Self {
        let mut new = Self { phone, heard: Heard::default() };
        new.note();
        new
    }

    fn note(&mut self) {
        let said = self.phone.said().into_iter().map(|(lang, text)| (lang.split('-').next().unwrap().to_owned(), text)).collect();
        let does = self.phone.does();
        let then = match does.as_str() {
            does if does.starts_with("[up to ") => Then::Keys(does.split(' ').nth(2).unwrap().parse().unwrap()),
            "[silence]" => Then::Hold("silence".into()),
            "[in the agent's conference]" => Then::Agent,
            "[hangs up]" => Then::HangUp,
            does if does.starts_with("[plays ") => Then::Hold(does.trim_start_matches("[plays /assets/music/").trim_end_matches(".wav]").to_owned()),
            _ => Then::Nothing,
        };
        self.heard = Heard { said, then };
    }
}

#[async_trait]
impl Caller for Twilio {
    fn id(&self) -> CallId { self.phone.id }
    fn heard(&self) -> &Heard { &self.heard }
    async fn keys(&mut self, keys: &str) {
        self.phone.press(keys).await;
        self.note();
    }
    async fn silence(&mut self) {
        self.phone.silent().await;
        self.note();
    }
    async fn listen(&mut self) {
        self.phone.listen().await;
        self.note();
    }
    async fn hang_up(&mut self) { self.phone.hang_up().await; }
    async fn say(&mut self, samples: Vec<i16>) {
        self.phone.speaks(&samples).await;
        self.note();
    }
}
