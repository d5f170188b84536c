use std::time::Duration;

use countersign_sip::{AgentLeg, Bridge, Clip, Step, Steps};

use crate::script::{LIMIT, Stage, Told, gather, phone, tone};

fn listen(milliseconds: u64) -> Step {
    Step::Listen(Duration::from_millis(milliseconds))
}

/// Four fifths of a second of sound, and silence for as long as anybody listens.
fn phrase() -> std::sync::Arc<Clip> {
    Clip::tone(500.0, 0.3, Duration::from_millis(800), Duration::from_secs(30))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_caller_says_is_heard_until_they_pause() {
    let mut stage = Stage::playing(vec![Step::Play(vec![tone(880.0, 200)]), listen(8000)], vec![vec![Step::HangUp]]).await;
    let phone = phone().await;
    let line = phone.call(&stage.uri()).await.unwrap();
    stage.incoming().await;
    assert!(line.until(LIMIT, |ear| ear.tones == 1 && ear.is_silent()).await);
    line.speak(Some(phrase()));
    let Told::Heard(length, loud) = stage.next().await else { panic!("nothing was heard") };
    assert!((1500..8000).contains(&length) && (300..800).contains(&loud), "{length} ms, {loud} loud");
    assert!(line.ends(LIMIT).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_and_endless_sound_end_with_the_time() {
    for endless in [false, true] {
        let mut stage = Stage::playing(vec![listen(3000)], vec![vec![Step::HangUp]]).await;
        let phone = phone().await;
        let line = phone.call(&stage.uri()).await.unwrap();
        stage.incoming().await;
        line.speak(endless.then(|| tone(500.0, 60_000)));
        let Told::Heard(length, loud) = stage.next().await else { panic!("nothing was heard") };
        assert!(length <= 3000 && (loud > 0) == endless, "{length} ms, {loud} loud");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_told_instead_and_nothing_is_kept() {
    let mut stage = Stage::playing(vec![listen(8000)], vec![vec![listen(300)], vec![Step::HangUp]]).await;
    let phone = phone().await;
    let line = phone.call(&stage.uri()).await.unwrap();
    stage.incoming().await;
    assert!(line.press("*").await);
    stage.expect(Told::Digits("*".into())).await;
    // The next one begins anew.
    let Told::Heard(length, loud) = stage.next().await else { panic!("nothing was heard") };
    assert!(length <= 300 && loud == 0);
}

/// The agent who asked for it hears neither the phrase nor a key, and nothing of the agent is heard.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_is_deaf_and_is_not_heard() {
    let (caller, agent) = (phone().await, phone().await);
    let to = AgentLeg::Uri(agent.uri());
    let bridge = || Step::Bridge(Bridge { to: to.clone(), show: "anonymous".into(), meanwhile: None, ring: None, pass_keys: false });
    let mut stage = Stage::playing(vec![bridge()], vec![vec![gather(1)], vec![gather(1)]]).await;
    let line = caller.call(&stage.uri()).await.unwrap();
    stage.incoming().await;
    let desk = agent.taken().await.unwrap();
    stage.next().await;
    // The caller is silent, and the agent shouts.
    desk.speak(Some(tone(700.0, 60_000)));
    assert!(line.until(LIMIT, |ear| ear.hears(700.0)).await);
    assert!(stage.push(Steps::new([listen(1000)])));
    let Told::Heard(_, loud) = stage.next().await else { panic!("nothing was heard") };
    assert_eq!(loud, 0, "the agent is heard for the caller");
    // Both talk again; then the caller speaks, and the agent hears the soft tone.
    assert!(stage.push(Steps::new([bridge()])));
    line.speak(Some(tone(500.0, 60_000)));
    assert!(desk.until(LIMIT, |ear| ear.hears(500.0)).await);
    assert!(stage.push(Steps::new([listen(1500)])));
    assert!(desk.until(LIMIT, |ear| !ear.hears(500.0)).await, "the agent hears the phrase");
    let Told::Heard(_, loud) = stage.next().await else { panic!("nothing was heard") };
    assert!(loud > 500 && desk.ear(|ear| !ear.hears(500.0)), "{loud}");
}

/// Whoever looks late, or never while it sounds, still knows that it sounded: it lasts a fifth of a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tone_before_listening_is_not_missed() {
    let asked = || Step::Play(vec![tone(600.0, 300), Clip::silence(Duration::from_millis(100)), Clip::tone(880.0, 0.2, Duration::from_millis(200), Duration::from_millis(100))]);
    let mut stage = Stage::playing(vec![asked(), listen(300)], vec![vec![asked(), listen(1500)], vec![Step::HangUp]]).await;
    let phone = phone().await;
    let line = phone.call(&stage.uri()).await.unwrap();
    stage.incoming().await;
    assert!(matches!(stage.next().await, Told::Heard(..)));
    assert!(line.until(LIMIT, |ear| ear.tones >= 1).await);
    assert!(matches!(stage.next().await, Told::Heard(..)));
    assert!(line.until(LIMIT, |ear| ear.tones == 2 && !ear.is_asked()).await, "it was asked more than a second ago");
}
