//! Calls that the gateway makes.

use std::time::Duration;

use countersign_sip::caller::{Phone, PhoneSettings};
use countersign_sip::{CallKey, Ended, NotRung, Outgoing, Rung, Settings, Step, Steps};

use crate::script::{HERE, LIMIT, Stage, Told, gather, settings, tone};

fn to(uri: &str) -> Outgoing {
    Outgoing { to: uri.to_owned(), from: "sip:+12025550100@127.0.0.1".into(), call_id: CallKey::random().as_str().to_owned(), identity: None, ring: LIMIT }
}

async fn far(answers: u16) -> Phone {
    Phone::start(PhoneSettings { answers, ..PhoneSettings::new(HERE, "+12025550142") }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_answers_hears_keys_and_hangs_up() {
    let far = far(200).await;
    let mut stage = Stage::playing(vec![], vec![vec![Step::Play(vec![tone(880.0, 200)]), gather(2)], vec![Step::Hold(tone(600.0, 1000))]]).await;
    let rung = stage.gateway.handle().ring(CallKey::random(), &to(&far.uri())).unwrap();
    let line = far.taken().await.unwrap();
    assert_eq!(rung.await, Ok(Rung::Answered));
    stage.expect(Told::PickedUp).await;
    assert!(line.until(LIMIT, |ear| ear.tones == 1).await);
    assert!(line.press("12").await);
    stage.expect(Told::Digits("12".into())).await;
    assert!(line.until(LIMIT, |ear| ear.hears(600.0)).await);
    assert_eq!(stage.gateway.figures().keys, 2);
    line.hang_up().await;
    stage.expect(Told::HungUp(Ended::Caller)).await;
    stage.is_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_told_of_calls_that_nobody_took() {
    for (answers, ring, wanted) in [(486, LIMIT, Rung::Refused(486)), (180, Duration::from_millis(200), Rung::Unanswered)] {
        let (far, mut stage) = (far(answers).await, Stage::playing(vec![], vec![]).await);
        let rung = stage.gateway.handle().ring(CallKey::random(), &Outgoing { ring, ..to(&far.uri()) }).unwrap();
        assert_eq!(rung.await, Ok(wanted));
        stage.is_empty().await;
        assert!(tokio::time::timeout(Duration::from_millis(50), stage.next()).await.is_err(), "the flow was told");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_rings_is_called_off() {
    let (far, stage) = (far(180).await, Stage::playing(vec![], vec![]).await);
    let key = CallKey::random();
    let rung = stage.gateway.handle().ring(key.clone(), &to(&far.uri())).unwrap();
    assert!(stage.gateway.handle().push(&key, Steps::new([Step::HangUp])));
    assert_eq!(rung.await, Ok(Rung::Unanswered));
    stage.is_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_called_does_not_go_out() {
    let far = far(180).await;
    let stage = Stage::with(Settings { calls: 1, ..settings() }, countersign_sip::Answer::Reject(603), vec![], false).await;
    let handle = stage.gateway.handle();
    for uri in ["", "+12025550142", "sips:a@127.0.0.1", "sip:a@127.0.0.1\r\nX: y", "sip:a@127.0.0.1>", "tel:+12025550142"] {
        assert_eq!(handle.ring(CallKey::random(), &to(uri)).err(), Some(NotRung::Uri), "{uri}");
    }
    let _first = handle.ring(CallKey::random(), &to(&far.uri())).unwrap();
    assert_eq!(handle.ring(CallKey::random(), &to(&far.uri())).err(), Some(NotRung::Busy));
    assert_eq!(stage.gateway.figures().refused, 1);
}
