//! What tests of the record begin with: a call that is on it, and a log that holds it.

use countersign_core::id::CallId;
use countersign_server::ledger::Sequencer;

use super::World;

/// The origin of the log.
pub const ORIGIN: &str = "calls.example.com/log";

/// A call from this line that was proved with Ana's PIN, and is over.
pub async fn called(world: &World, line: &str) -> CallId {
    let mut call = world.call(line).await;
    call.presses(&["1", "4071", "1"]).await;
    call.hang_up().await;
    call.id
}

/// Everything until now is in the log.
pub async fn logged(world: &World) -> Sequencer {
    let sequencer = Sequencer::new(ORIGIN.into());
    while sequencer.run(&world.app.runner).await.unwrap().behind > 0 {}
    sequencer
}
