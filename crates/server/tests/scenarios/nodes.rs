//! Several nodes over one record: in memory, where nobody tells anybody anything by itself, and in
//! PostgreSQL.

use countersign_core::{action::Role, time::Span};
use countersign_store::Heard;

use crate::common::{World, people::*};

macro_rules! mount {
    ($($test:ident,)*) => {
        mod memory {
            $(#[tokio::test]
            async fn $test() { super::$test(crate::common::World::new().await).await; })*
        }
        mod postgresql {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                if let Some(world) = crate::common::World::in_postgresql().await {
                    super::$test(world).await;
                }
            })*
        }
    };
}

mount! {
    a_call_goes_on_at_any_node,
    the_desk_of_another_node_sees_the_call,
    what_was_missed_is_looked_at_again,
    a_pin_that_was_removed_elsewhere_proves_nothing,
    chores_are_taken_over,
    a_clock_that_jumps_lets_nobody_in,
}

/// What the other node was told so far.
async fn catch_up(node: &World, following: &mut countersign_store::Following, notes: usize) {
    for _ in 0..notes {
        let heard = following.next().await;
        node.app.runner.heard(&heard, &node.app.agents).await.unwrap();
    }
}

/// Every webhook of one call reaches another node, and nobody has told any of them anything.
async fn a_call_goes_on_at_any_node(one: World) {
    let (two, three) = (one.sibling().await, one.sibling().await);
    let mut call = one.call(ANA_LINE).await;
    let nodes = [&two, &three, &one];
    for (keys, node) in ["1", "4071", "1"].into_iter().zip(nodes.iter().cycle()) {
        call = call.at(node);
        call.press(keys).await;
    }
    // A repeated webhook gets its answer anywhere.
    let said = call.words();
    let again = call.at(&two).again().await;
    assert!(again.body.contains("Enqueue") || again.body.contains("Conference") || !said.is_empty());
    for node in [&one, &two, &three] {
        assert!(node.tells(call_id(&two).await, "Proved").await);
    }
}

async fn call_id(world: &World) -> countersign_core::id::CallId {
    let rows = world.app.runner.store.log(0, 1000).await.unwrap();
    countersign_core::id::CallId(rows.iter().find(|row| row.stream_kind == "call").unwrap().stream_id)
}

/// The desk of one node shows what another does: a call that began there, moved there and ended there.
async fn the_desk_of_another_node_sees_the_call(one: World) {
    let two = one.sibling().await;
    let mut following = two.app.runner.store.follow();
    let mut call = one.call(ANA_LINE).await;
    catch_up(&two, &mut following, 1).await;
    assert_eq!(two.app.runner.live().await.len(), 1);
    call.presses(&["1", "4071", "1"]).await;
    // Nobody has told it of the rest: its list is what it knows, a call that somebody opens is what is true.
    assert!(two.app.runner.live().await[0].n < one.app.runner.live().await[0].n);
    let mut robin = two.robin().await;
    robin.take(&mut call).await;
    assert!(two.tells(call.id, "Proved").await);
    let n = |node: &World| {
        let (runner, id) = (node.app.runner.clone(), call.id);
        async move { runner.call(id).await.unwrap().unwrap().call.n }
    };
    assert_eq!(n(&one).await, n(&two).await);
    call.hang_up().await;
    two.app.runner.heard(&Heard::Note { kind: "over".into(), id: call.id.0 }, &two.app.agents).await.unwrap();
    assert!(two.app.runner.live().await.is_empty());
}

/// Notes were lost: everything is looked at again.
async fn what_was_missed_is_looked_at_again(one: World) {
    let two = one.sibling().await;
    let mut kept = one.call(ANA_LINE).await;
    two.app.runner.heard(&Heard::Missed, &two.app.agents).await.unwrap();
    assert_eq!(two.app.runner.live().await.len(), 1);
    let _other = one.call(LIAM_LINE).await;
    kept.hang_up().await;
    one.agent("sam", Role::Agent).await;
    two.app.runner.heard(&Heard::Missed, &two.app.agents).await.unwrap();
    let live = two.app.runner.live().await;
    assert_eq!(live.len(), 1);
    assert_ne!(live[0].id, kept.id);
    assert!(two.app.agents.names().values().any(|name| name == "sam"));
}

/// What one node changes in a profile counts on the other at once, told or not.
async fn a_pin_that_was_removed_elsewhere_proves_nothing(one: World) {
    let two = one.sibling().await;
    let mut call = two.call(ANA_LINE).await;
    call.press("1").await;
    let ana = call_id(&two).await;
    let account = two.app.runner.call(ana).await.unwrap().unwrap().call.subject.unwrap();
    assert!(two.app.runner.directory.load(account).await.unwrap().is_some(), "it is in memory there");
    one.edit(account, |profile| profile.authenticators.retain(|a| a.kind != countersign_core::factor::FactorKind::Pin)).await;
    call.press("4071").await;
    assert!(!two.tells(call.id, "Proved").await);
}

/// One node wakes calls; another takes over when it has fallen silent, and a clock that was wrong
/// blocks nobody for longer than a lease.
async fn chores_are_taken_over(one: World) {
    let two = one.sibling().await;
    assert!(one.app.runner.leads("timers").await.unwrap());
    assert!(!two.app.runner.leads("timers").await.unwrap());
    assert!(two.app.runner.leads("sweep").await.unwrap(), "chores are leased one by one");
    one.pass(Span::seconds(4));
    assert!(one.app.runner.leads("timers").await.unwrap());
    one.pass(Span::seconds(5));
    assert!(!two.app.runner.leads("timers").await.unwrap(), "it was renewed");
    one.pass(Span::seconds(2));
    assert!(two.app.runner.leads("timers").await.unwrap());
    assert!(!one.app.runner.leads("timers").await.unwrap());
    // The clock jumps a day ahead and back.
    one.pass(Span::days(1));
    assert!(one.app.runner.leads("timers").await.unwrap());
    one.pass(Span(-Span::days(1).0));
    assert!(two.app.runner.leads("timers").await.unwrap());
}

/// A clock is set back or ahead in mid call, on a node or on all: no code counts twice, no limit begins
/// anew before its time, calls go on, and the log verifies.
async fn a_clock_that_jumps_lets_nobody_in(one: World) {
    let two = one.sibling().await;
    let back = |span: Span| one.pass(Span(-span.0));
    // Liam's app proves once; the hour comes again, and its codes do not.
    let at = one.now();
    let mut first = one.call(LIAM_LINE).await;
    first.presses(&["2", &liam_code(at), "1"]).await;
    assert!(one.tells(first.id, "Proved").await, "{:?}", one.story(first.id).await);
    back(Span::minutes(5));
    for code in [liam_code(at), liam_code(one.now()), liam_code(one.now() + Span::seconds(30))] {
        let mut again = two.call(LIAM_LINE).await.at(&two);
        again.presses(&["2", &code]).await;
        assert!(!two.tells(again.id, "Proved").await, "a time that was before");
        again.hang_up().await;
    }
    // Ana's PIN is closed for this line, and stays so whichever way the clock goes, until its time is over.
    let mut wrong = one.call(ANA_LINE).await;
    wrong.press("2").await;
    for _ in 0..3 {
        wrong.press("0000").await;
    }
    wrong.hang_up().await;
    back(Span::hours(3));
    let before = one.log().await.matches("\"type\":\"challenge_failed\"").count();
    for _ in 0..4 {
        let mut more = two.call(ANA_LINE).await.at(&two);
        more.press("2").await;
        if more.twiml.contains("PIN") {
            more.press("0000").await;
        }
        more.hang_up().await;
    }
    // Five in fifteen minutes, three of them from before.
    let failed = one.log().await.matches("\"type\":\"challenge_failed\"").count() - before;
    assert!(failed <= 2, "{failed} more entries were judged");
    // A day ahead and back, with somebody on the line: what was waited for is over, and stays over.
    let mut waits = one.call(TINA_LINE).await;
    waits.press("2").await;
    one.wait(Span::days(1)).await;
    back(Span::days(1));
    let mut next = one.call(TINA_LINE).await;
    next.presses(&["2", "7318", "1"]).await;
    assert!(one.tells(next.id, "Proved").await);
    use crate::common::record::{ORIGIN, logged};
    logged(&one).await;
    assert!(countersign_server::ledger::verify::database(&two.app.runner, ORIGIN, |_| {}).await.unwrap().holds());
}
