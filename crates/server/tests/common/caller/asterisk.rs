//! Asterisk, by its script.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use countersign_core::{claim::IndexKey, id::CallId};
use countersign_server::{outbox::provider::{Provider, Sent}, telephony::asterisk::NAME};
use tokio::{sync::watch, time::timeout};

use super::{Caller, Dials, Then, ear::{ByEar, End}, events};
use crate::common::{APP_NUMBER, World, asterisk::Ari, recordings::Sound};

fn index(world: &World) -> &IndexKey { &world.app.runner.vault.index }

pub async fn dial(world: &World, dials: Dials) -> Box<dyn Caller> {
    let ari = world.rigs.asterisk(world).await.ari.clone();
    let number = world.call_sid();
    let channel = format!("1780308000.{}", number[2..].trim_start_matches('0'));
    let changed = ari.changed.subscribe();
    let verdict = if dials.failed { "Signature failed" } else { "Verification passed" };
    ari.call(&channel, dials.from, if dials.token { APP_NUMBER } else { "+12025550100" }, [verdict, "A"]);
    let id = CallId(index(world).blind(NAME, &channel).0);
    let mut leg = Leg { ari, changed, channel, heard: Vec::new() };
    while world.app.runner.call(id).await.unwrap().is_none() {
        leg.next().await;
    }
    ByEar::begin(world, id, leg).await
}

/// The message that asks for the call goes to its carrier, and whoever is rung answers.
pub async fn answer(world: &World, id: CallId) -> Box<dyn Caller> {
    let rig = world.rigs.asterisk(world).await;
    let before = events(world, id).await;
    assert!(matches!(rig.rings.send(&world.ground.post.order(id)).await, Sent::Accepted { .. }));
    let (ari, changed) = (rig.ari.clone(), rig.ari.changed.subscribe());
    let channel = ari.pick_up();
    ByEar::after(before, world, id, Leg { ari, changed, channel, heard: Vec::new() }).await
}

/// The caller's channel.
struct Leg {
    ari: Arc<Ari>,
    changed: watch::Receiver<u64>,
    channel: String,
    heard: Vec<Sound>,
}

#[async_trait]
impl End for Leg {
    fn ear(&mut self) -> &mut Vec<Sound> { &mut self.heard }

    fn goes_on(&self, then: &Then) -> bool {
        match (self.ari.goes_on(&self.channel), then) {
            (Then::Nothing, Then::Keys(_)) => true,
            (now, then) => now == *then,
        }
    }

    async fn next(&mut self) {
        let _ = timeout(Duration::from_millis(50), self.changed.changed()).await;
        self.heard.extend(self.ari.take(&self.channel));
    }

    async fn press(&mut self, keys: &str) { keys.chars().for_each(|key| self.ari.key(&self.channel, key)); }
    async fn hang_up(&mut self) { self.ari.hang_up(&self.channel); }
}
