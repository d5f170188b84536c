use countersign_sip::caller::{Phone, PhoneSettings};
use countersign_sip::g711::Law;
use countersign_sip::{Answer, Ended, Step, Steps};

use crate::script::{HERE, LIMIT, Stage, Told, gather, gather_for, phone, settings, tone};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prompt_is_heard_keys_arrive_and_the_call_is_ended() {
    let mut stage = Stage::playing(vec![Step::Play(vec![tone(880.0, 200)]), gather(8)], vec![vec![Step::HangUp]]).await;
    let phone = phone().await;
    let line = phone.call(&stage.uri()).await.unwrap();
    let wanted = Told::Incoming { from: "+12025550123".into(), asserted: vec![], to: "+12025550100".into(), identity: vec![] };
    assert_eq!(stage.incoming().await, wanted);
    assert!(line.until(LIMIT, |ear| ear.tones == 1 && ear.is_silent()).await);
    assert!(line.press("12*45#").await);
    stage.expect(Told::Digits("12*45".into())).await;
    stage.expect(Told::HungUp(Ended::Us)).await;
    assert!(line.ends(LIMIT).await);
    stage.is_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_key_ends_the_prompt_and_counts() {
    let mut stage = Stage::playing(vec![Step::Play(vec![tone(600.0, 60_000)]), gather(4)], vec![vec![Step::Hold(tone(900.0, 1000))]]).await;
    let phone = phone().await;
    let line = phone.call(&stage.uri()).await.unwrap();
    stage.incoming().await;
    assert!(line.until(LIMIT, |ear| ear.hears(600.0)).await);
    assert!(line.press("7").await);
    assert!(line.until(LIMIT, |ear| ear.is_silent()).await, "the prompt goes on");
    assert!(line.press("711").await);
    stage.expect(Told::Digits("7711".into())).await;
    assert!(line.until(LIMIT, |ear| ear.hears(900.0)).await, "no music");
    line.hang_up().await;
    stage.expect(Told::HungUp(Ended::Caller)).await;
    stage.is_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_at_all_is_told_after_the_time_and_the_next_step_is_done() {
    let mut stage = Stage::playing(vec![gather_for(4, 300), Step::Hold(tone(700.0, 500))], vec![]).await;
    let phone = phone().await;
    let line = phone.call(&stage.uri()).await.unwrap();
    stage.incoming().await;
    stage.expect(Told::NoKeys).await;
    assert!(line.until(LIMIT, |ear| ear.hears(700.0)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_key_of_whoever_waits_is_told_and_what_goes_on_goes_on() {
    let mut stage = Stage::playing(vec![Step::Wait(tone(500.0, 1000))], vec![vec![Step::Wait(tone(900.0, 1000))], vec![]]).await;
    let phone = phone().await;
    let line = phone.call(&stage.uri()).await.unwrap();
    stage.incoming().await;
    assert!(line.until(LIMIT, |ear| ear.hears(500.0)).await);
    assert!(line.press("2").await);
    stage.expect(Told::Digits("2".into())).await;
    assert!(line.until(LIMIT, |ear| ear.hears(900.0)).await);
    assert!(line.press("#").await);
    stage.expect(Told::Digits("#".into())).await;
    assert!(line.press("7").await);
    stage.expect(Told::Digits("7".into())).await;
    assert!(line.until(LIMIT, |ear| ear.hears(900.0)).await);
    // In a `Hold` they are nobody's.
    assert!(stage.push(Steps::new([Step::Hold(tone(600.0, 1000))])));
    assert!(line.until(LIMIT, |ear| ear.hears(600.0)).await);
    assert!(line.press("8").await);
    assert!(stage.push(Steps::new([gather(1)])));
    assert!(line.until(LIMIT, |ear| ear.is_silent()).await);
    assert!(line.press("9").await);
    stage.expect(Told::Digits("9".into())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_an_entry_is_not_handed_over() {
    let mut stage = Stage::playing(vec![gather_for(4, 500)], vec![]).await;
    let phone = phone().await;
    let line = phone.call(&stage.uri()).await.unwrap();
    stage.incoming().await;
    assert!(line.press("12").await);
    stage.expect(Told::NoKeys).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_laws_are_spoken() {
    for law in Law::ALL {
        let mut stage = Stage::playing(vec![Step::Hold(tone(500.0, 1000))], vec![]).await;
        let phone = Phone::start(PhoneSettings { law, ..PhoneSettings::new(HERE, "+12025550124") }).await.unwrap();
        let line = phone.call(&stage.uri()).await.unwrap();
        stage.incoming().await;
        assert!(line.until(LIMIT, |ear| ear.hears(500.0) && ear.law == Some(law)).await, "{law:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_by_info_count_and_other_bodies_do_not() {
    let mut stage = Stage::playing(vec![gather(3)], vec![vec![gather(8)]]).await;
    let phone = phone().await;
    let line = phone.call(&stage.uri()).await.unwrap();
    stage.incoming().await;
    assert_eq!(line.info("text/plain", "1").await, 415);
    assert_eq!(line.info("application/dtmf-relay", "nothing").await, 400);
    assert_eq!(line.info("application/dtmf-relay", "Signal=1\r\nDuration=160\r\n").await, 200);
    assert_eq!(line.info("application/dtmf", "2").await, 200);
    assert_eq!(line.info("application/dtmf-relay", "Signal=*\r\n").await, 200);
    stage.expect(Told::Digits("12*".into())).await;
    // Whoever keys by INFO does not key by RTP as well: that would be every key twice.
    assert!(line.press("5").await);
    assert_eq!(line.info("application/dtmf", "5").await, 200);
    assert_eq!(line.info("application/dtmf", "#").await, 200);
    stage.expect(Told::Digits("5".into())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_that_are_pushed_take_the_place_of_those_that_go_on() {
    let mut stage = Stage::playing(vec![Step::Hold(tone(500.0, 1000))], vec![]).await;
    let phone = phone().await;
    let line = phone.call(&stage.uri()).await.unwrap();
    stage.incoming().await;
    assert!(line.until(LIMIT, |ear| ear.hears(500.0)).await);
    assert!(stage.push(Steps::numbered(2, [Step::Play(vec![tone(880.0, 200)]), Step::Hold(tone(1000.0, 1000))])));
    assert!(line.until(LIMIT, |ear| ear.tones == 1).await);
    assert!(line.until(LIMIT, |ear| ear.hears(1000.0)).await);
    // The same again, and an older one: nothing happens.
    assert!(stage.push(Steps::numbered(2, [Step::HangUp])));
    assert!(stage.push(Steps::numbered(1, [Step::HangUp])));
    assert!(stage.push(Steps::numbered(3, [Step::Play(vec![tone(880.0, 200)])])));
    assert!(line.until(LIMIT, |ear| ear.tones == 2).await);
    stage.expect(Told::Finished).await;
    assert!(stage.push(Steps::numbered(4, [Step::HangUp])));
    stage.expect(Told::HungUp(Ended::Us)).await;
    stage.is_empty().await;
    assert!(!stage.push(Steps::new([Step::HangUp])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_come_while_the_flow_decides_begin_the_next_entry() {
    let mut stage = Stage::playing(vec![gather(2)], vec![vec![Step::Play(vec![tone(500.0, 30_000)]), gather(3)]]).await;
    let phone = phone().await;
    let line = phone.call(&stage.uri()).await.unwrap();
    stage.incoming().await;
    assert!(line.press("12345").await);
    stage.expect(Told::Digits("12".into())).await;
    stage.expect(Told::Digits("345".into())).await;
}

/// All of an entry is keyed before its prompt has begun: none of it is lost, and none out of its order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_is_keyed_ahead_of_its_prompt_is_whole() {
    let mut stage = Stage::playing(vec![gather(1)], vec![vec![Step::Play(vec![tone(500.0, 30_000)]), Step::Play(vec![tone(600.0, 30_000)]), gather(4)]]).await;
    let phone = phone().await;
    let line = phone.call(&stage.uri()).await.unwrap();
    stage.incoming().await;
    let script = stage.script.clone();
    let slow = script.slow.lock().await;
    assert!(line.press("2").await);
    stage.expect(Told::Digits("2".into())).await;
    assert!(line.press("40").await);
    drop(slow);
    assert!(line.press("71").await);
    stage.expect(Told::Digits("4071".into())).await;
}

/// What is pushed while the flow decides may be older than what it decides: it takes no keys from that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_that_is_older_than_the_decision_takes_none_of_its_keys() {
    let then = vec![Some(Steps::numbered(3, [Step::Play(vec![tone(500.0, 30_000)]), gather(4)]))];
    let mut stage = Stage::with(settings(), Answer::Accept(Steps::numbered(1, [gather(1)])), then, false).await;
    let phone = phone().await;
    let line = phone.call(&stage.uri()).await.unwrap();
    stage.incoming().await;
    let script = stage.script.clone();
    let slow = script.slow.lock().await;
    assert!(line.press("2").await);
    stage.expect(Told::Digits("2".into())).await;
    // The prompt of before, told once more for some other reason.
    assert!(stage.push(Steps::numbered(2, [gather(1)])));
    assert!(line.press("40").await);
    drop(slow);
    assert!(line.press("71").await);
    stage.expect(Told::Digits("4071".into())).await;
    // Whatever ends the call does not wait.
    let slow = script.slow.lock().await;
    assert!(stage.push(Steps::new([Step::HangUp])));
    stage.expect(Told::HungUp(Ended::Us)).await;
    drop(slow);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hanging_up_during_a_prompt_is_the_end() {
    let mut stage = Stage::playing(vec![Step::Play(vec![tone(500.0, 60_000)])], vec![]).await;
    let phone = phone().await;
    let line = phone.call(&stage.uri()).await.unwrap();
    stage.incoming().await;
    assert!(line.until(LIMIT, |ear| ear.hears(500.0)).await);
    line.hang_up().await;
    stage.expect(Told::HungUp(Ended::Caller)).await;
    stage.is_empty().await;
}
