//! A caller who knows what goes on by what is to be heard: behind these adapters nobody is told in words.
//!
//! How many keys are taken is not to be heard either: there the machine is asked. It is asked, too, what
//! has to be heard before the caller goes on, so that no test waits for longer than that, or for less.

use std::time::Duration;

use async_trait::async_trait;
use countersign_core::{id::CallId, prompt::{Directive, Lang}, secret::Secret};
use countersign_server::hub::Notice;
use tokio::{
    sync::broadcast::{Receiver, error::TryRecvError},
    time::{Instant, timeout},
};

use super::{Caller, Heard, Then};
use crate::common::{World, recordings::{self, Sound}};

/// Nothing takes longer than this, even on a busy machine; a caller who keys nothing is asked again after
/// half a minute.
const PATIENCE: Duration = Duration::from_secs(90);

/// The caller's end of a line.
#[async_trait]
pub trait End: Send {
    /// What was heard and not taken yet.
    fn ear(&mut self) -> &mut Vec<Sound>;
    /// Whether this goes on now, as far as it can be told at this end.
    fn goes_on(&self, then: &Then) -> bool;
    /// Waits for more, and not for long.
    async fn next(&mut self);
    async fn press(&mut self, keys: &str);
    async fn hang_up(&mut self);
    /// Says this after the tone. Nothing: this line carries no voice to us.
    async fn say(&mut self, _samples: Vec<i16>) { panic!("nobody is heard on this line") }
}

pub struct ByEar<E> {
    world: World,
    id: CallId,
    end: E,
    /// What the machine wanted when the caller had heard it last.
    told: Vec<Directive>,
    heard: Heard,
}

fn then(directives: &[Directive]) -> Then {
    match directives.last() {
        Some(Directive::Gather { max, .. }) => Then::Keys(u64::from(*max)),
        Some(Directive::Hold { music }) => Then::Hold(music.name().to_owned()),
        Some(Directive::Bridge) => Then::Agent,
        Some(Directive::HangUp) => Then::HangUp,
        Some(Directive::Say { .. } | Directive::Listen { .. } | Directive::Record { .. }) | None => Then::Nothing,
    }
}

/// Whether any call has moved since this was asked for last.
fn moved(notices: &mut Receiver<Notice>) -> bool {
    let mut moved = false;
    loop {
        match notices.try_recv() {
            Ok(_) | Err(TryRecvError::Lagged(_)) => moved = true,
            Err(TryRecvError::Empty | TryRecvError::Closed) => return moved,
        }
    }
}

impl<E: End> ByEar<E> {
    /// On a line that is up: the first words are heard.
    pub async fn begin(world: &World, id: CallId, end: E) -> Box<dyn Caller>
    where
        E: 'static,
    {
        Self::after(0, world, id, end).await
    }

    /// The same on a line of a call that had so many events before somebody answered.
    pub async fn after(events: u64, world: &World, id: CallId, end: E) -> Box<dyn Caller>
    where
        E: 'static,
    {
        let mut new = Self { world: world.clone(), id, end, told: Vec::new(), heard: Heard::default() };
        new.settle(events).await;
        Box::new(new)
    }

    /// How many events there are, and what the machine wants.
    async fn now(&mut self) -> (u64, Vec<Directive>) {
        let live = self.world.app.runner.call(self.id).await.unwrap().unwrap_or_else(|| panic!("{} is not on record", self.id));
        (live.call.n, self.world.app.runner.directives(&live.call).await.unwrap())
    }

    fn has_heard(&mut self, wanted: &[(Lang, Secret)]) -> bool {
        let heard: Vec<(Lang, &str)> = self.end.ear().iter().filter_map(|sound| if let Sound::Piece { lang, key, .. } = sound { Some((*lang, key.as_str())) } else { None }).collect();
        heard.len() >= wanted.len() && heard[heard.len() - wanted.len()..].iter().zip(wanted).all(|((lang, key), wanted)| (*lang, *key) == (wanted.0, wanted.1.expose()))
    }

    /// Waits until the machine has moved on from here and the caller has heard all that it wants.
    async fn settle(&mut self, after: u64) {
        let (until, mut notices) = (Instant::now() + PATIENCE, self.world.app.runner.hub.listen());
        let (mut n, mut directives) = self.now().await;
        let mut wanted = recordings::pieces(&self.world.app.texts, &directives);
        loop {
            let then = then(&directives);
            if n > after && self.has_heard(&wanted) && self.end.goes_on(&then) {
                let said = recordings::text(&std::mem::take(self.end.ear()));
                (self.heard, self.told) = (Heard { said, then }, directives);
                return;
            }
            if Instant::now() > until {
                let heard = recordings::text(self.end.ear());
                panic!("{n} events, {after} before; the caller should hear {directives:?} and has heard {heard:?}: {:#?}", self.world.story(self.id).await);
            }
            self.end.next().await;
            if moved(&mut notices) {
                (n, directives) = self.now().await;
                wanted = recordings::pieces(&self.world.app.texts, &directives);
            }
        }
    }

    /// Presses what an entry wants, with its end. What there was before it; none if nothing comes of it:
    /// whoever waits chooses other music, and other keys mean nothing.
    async fn pressed(&mut self, keys: &str) -> Option<(u64, Vec<Directive>)> {
        let (n, directives) = self.now().await;
        let (most, means) = match then(&directives) {
            Then::Keys(most) => (usize::try_from(most).unwrap(), true),
            _ => (1, ["1", "2", "3", "4"].contains(&keys)),
        };
        let ended = if keys.len() < most { format!("{keys}#") } else { keys.to_owned() };
        self.end.press(&ended).await;
        means.then_some((n, directives))
    }
}

#[async_trait]
impl<E: End> Caller for ByEar<E> {
    fn id(&self) -> CallId { self.id }
    fn heard(&self) -> &Heard { &self.heard }
    fn by_ear(&self) -> bool { true }

    async fn keys(&mut self, keys: &str) {
        if let Some((before, _)) = self.pressed(keys).await {
            self.settle(before).await;
        }
    }

    /// Into the next prompt: what is asked then is known already, and is something else. That there are more
    /// events would not do: not all of them come from keys, and a key too early is an answer to this prompt.
    async fn hurry(&mut self, keys: &str) {
        let (until, mut notices) = (Instant::now() + PATIENCE, self.world.app.runner.hub.listen());
        let Some((_, before)) = self.pressed(keys).await else { return };
        while self.now().await.1 == before {
            assert!(Instant::now() < until, "a key leads nowhere: {:#?}", self.world.story(self.id).await);
            while !moved(&mut notices) {
                self.end.next().await;
            }
        }
        self.end.ear().clear();
    }

    async fn silence(&mut self) {
        let (before, _) = self.now().await;
        self.settle(before).await;
    }

    async fn listen(&mut self) {
        let (n, directives) = self.now().await;
        if directives != self.told {
            self.settle(n - 1).await;
        }
    }

    async fn hang_up(&mut self) {
        let mut notices = self.world.app.runner.hub.listen();
        self.end.hang_up().await;
        while self.now().await.1 != [Directive::HangUp] {
            // One that was missed is looked for all the same.
            let _ = timeout(PATIENCE, notices.recv()).await.expect("the end of the call is not on record");
        }
    }

    async fn say(&mut self, samples: Vec<i16>) {
        let (before, _) = self.now().await;
        self.end.say(samples).await;
        self.settle(before).await;
    }
}
