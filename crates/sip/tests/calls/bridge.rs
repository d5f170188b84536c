use std::time::Duration;

use countersign_sip::caller::{Line, Phone, PhoneSettings};
use countersign_sip::g711::Law;
use countersign_sip::{AgentEvent, AgentLeg, Bridge, Clip, Ended, Step, Steps, Transfer};

use crate::script::{HERE, LIMIT, Stage, Told, gather_for, phone, tone};

async fn agent(settings: PhoneSettings) -> Phone {
    Phone::start(settings).await.unwrap()
}

fn desk() -> PhoneSettings {
    PhoneSettings::new(HERE, "desk")
}

fn bridge_to(uri: &str) -> Bridge {
    Bridge { to: AgentLeg::Uri(uri.to_owned()), show: "+12025550123".into(), meanwhile: Some(tone(400.0, 1000)), ring: None, pass_keys: false }
}

/// A caller and an agent who talk.
async fn talking(stage: &mut Stage, phone: &Phone, agent: &Phone) -> (Line, Line) {
    let caller = phone.call(&stage.uri()).await.unwrap();
    stage.incoming().await;
    let desk = tokio::time::timeout(LIMIT, agent.taken()).await.unwrap().unwrap();
    stage.expect(Told::Agent(AgentEvent::Connected)).await;
    caller.speak(Some(tone(600.0, 1000)));
    desk.speak(Some(tone(1100.0, 1000)));
    assert!(desk.until(LIMIT, |ear| ear.hears(600.0)).await, "the agent does not hear the caller");
    assert!(caller.until(LIMIT, |ear| ear.hears(1100.0)).await, "the caller does not hear the agent");
    (caller, desk)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caller_and_agent_talk_whatever_laws_they_speak() {
    for (ours, theirs) in [(Law::Mu, Law::Mu), (Law::Mu, Law::A), (Law::A, Law::Mu)] {
        let agent = agent(PhoneSettings { law: theirs, ..desk() }).await;
        let mut stage = Stage::playing(vec![Step::Bridge(bridge_to(&agent.uri()))], vec![]).await;
        let phone = Phone::start(PhoneSettings { law: ours, ..PhoneSettings::new(HERE, "+12025550123") }).await.unwrap();
        let (caller, desk) = talking(&mut stage, &phone, &agent).await;
        assert_eq!((caller.ear(|ear| ear.law), desk.ear(|ear| ear.law)), (Some(ours), Some(theirs)));
        caller.hang_up().await;
        assert!(desk.ends(LIMIT).await);
        stage.expect(Told::HungUp(Ended::Caller)).await;
        stage.is_empty().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_in_mid_call_reaches_no_agent() {
    let agent = agent(PhoneSettings { law: Law::A, ..desk() }).await;
    let uri = agent.uri();
    let talk = Step::Bridge(Bridge { pass_keys: true, ..bridge_to(&uri) });
    let mut stage = Stage::playing(vec![talk.clone()], vec![vec![talk]]).await;
    let phone = phone().await;
    let (caller, desk) = talking(&mut stage, &phone, &agent).await;
    stage.push(Steps::new([Step::Play(vec![tone(880.0, 200)]), gather_for(6, 30_000)]));
    // The caller hears the prompt, the agent a soft tone and nothing of the caller, who speaks on.
    assert!(caller.until(LIMIT, |ear| ear.tones == 1).await);
    assert!(caller.until(LIMIT, |ear| ear.is_silent()).await, "the agent is heard during the entry");
    assert!(desk.until(LIMIT, |ear| ear.hears(425.0)).await, "no soft tone");
    assert!(desk.until(LIMIT, |ear| ear.is_silent()).await);
    desk.forget();
    assert!(caller.press("12345").await);
    assert_eq!(desk.ear(|ear| (ear.events, ear.hears(600.0))), (0, false), "the agent got something");
    // The last key ends the entry and is held on: the rest of it does not pass either.
    let pressing = caller.press("6");
    let (pressed, ()) = tokio::join!(pressing, stage.expect(Told::Digits("123456".into())));
    assert!(pressed);
    assert!(desk.until(LIMIT, |ear| ear.hears(600.0)).await, "they do not talk on");
    assert!(caller.until(LIMIT, |ear| ear.hears(1100.0)).await);
    assert_eq!(desk.ear(|ear| (ear.events, ear.keys.clone())), (0, String::new()));
    // Afterwards keys pass, as this bridge says.
    assert!(caller.press("9").await);
    assert!(desk.until(LIMIT, |ear| ear.keys == "9").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_do_not_pass_are_not_heard_either() {
    let agent = agent(desk()).await;
    let mut stage = Stage::playing(vec![Step::Bridge(bridge_to(&agent.uri()))], vec![]).await;
    let phone = phone().await;
    let (caller, desk) = talking(&mut stage, &phone, &agent).await;
    // The telephone sends sound beside its events; a long press is silence for the agent.
    let (_, blanked) = tokio::join!(caller.press("1111111111"), desk.until(LIMIT, |ear| ear.is_silent()));
    assert!(blanked);
    assert_eq!(desk.ear(|ear| (ear.events, ear.keys.clone(), ear.lost)), (0, String::new(), 0));
    assert!(desk.until(LIMIT, |ear| ear.hears(600.0)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_who_hangs_up_leaves_the_caller_to_the_flow() {
    let agent = agent(desk()).await;
    let mut stage = Stage::playing(vec![Step::Bridge(Bridge { to: AgentLeg::Agent(format!("at {}", agent.uri())), ..bridge_to("") })], vec![]).await;
    let phone = phone().await;
    let (caller, desk) = talking(&mut stage, &phone, &agent).await;
    desk.hang_up().await;
    stage.expect(Told::Agent(AgentEvent::Left)).await;
    stage.push(Steps::new([Step::Hold(tone(700.0, 1000))]));
    assert!(caller.until(LIMIT, |ear| ear.hears(700.0)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn music_lets_the_agent_go() {
    let agent = agent(desk()).await;
    let mut stage = Stage::playing(vec![Step::Bridge(bridge_to(&agent.uri()))], vec![]).await;
    let phone = phone().await;
    let (caller, desk) = talking(&mut stage, &phone, &agent).await;
    stage.push(Steps::new([Step::Hold(tone(700.0, 1000))]));
    assert!(desk.ends(LIMIT).await);
    assert!(caller.until(LIMIT, |ear| ear.hears(700.0)).await);
    caller.hang_up().await;
    stage.expect(Told::HungUp(Ended::Caller)).await;
    stage.is_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_who_is_busy_silent_or_unknown_is_told_with_his_code() {
    let busy = agent(PhoneSettings { answers: 486, ..desk() }).await;
    let ringing = agent(PhoneSettings { answers: 180, ..desk() }).await;
    let away = AgentLeg::Agent("away".into());
    for (to, code) in [(AgentLeg::Uri(busy.uri()), 486), (AgentLeg::Uri(ringing.uri()), 408), (away, 404), (AgentLeg::Uri("nonsense".into()), 404)] {
        let bridge = Bridge { to, ring: Some(Duration::from_millis(500)), ..bridge_to("") };
        let mut stage = Stage::playing(vec![Step::Bridge(bridge)], vec![]).await;
        let phone = phone().await;
        let caller = phone.call(&stage.uri()).await.unwrap();
        stage.incoming().await;
        stage.expect(Told::Agent(AgentEvent::Failed(code))).await;
        caller.hang_up().await;
        stage.expect(Told::HungUp(Ended::Caller)).await;
        stage.is_empty().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_hangs_up_while_the_agent_rings_stops_the_ringing() {
    let ringing = agent(PhoneSettings { answers: 180, ..desk() }).await;
    let mut stage = Stage::playing(vec![Step::Bridge(bridge_to(&ringing.uri()))], vec![]).await;
    let phone = phone().await;
    let caller = phone.call(&stage.uri()).await.unwrap();
    stage.incoming().await;
    // What the caller hears until the agent answers.
    assert!(caller.until(LIMIT, |ear| ear.hears(400.0)).await);
    caller.hang_up().await;
    stage.expect(Told::HungUp(Ended::Caller)).await;
    stage.is_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_who_hangs_up_during_an_entry_does_not_end_it() {
    let agent = agent(desk()).await;
    let mut stage = Stage::playing(vec![Step::Bridge(bridge_to(&agent.uri()))], vec![]).await;
    let phone = phone().await;
    let (caller, desk) = talking(&mut stage, &phone, &agent).await;
    stage.push(Steps::new([gather_for(2, 30_000)]));
    assert!(desk.until(LIMIT, |ear| ear.hears(425.0)).await);
    assert!(caller.press("1").await);
    desk.hang_up().await;
    stage.expect(Told::Agent(AgentEvent::Left)).await;
    assert!(caller.press("2").await);
    stage.expect(Told::Digits("12".into())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_that_succeeds_ends_the_call_and_one_that_fails_does_not() {
    for (code, ends) in [(200, true), (486, false)] {
        // After a word, as in life: a telephone that has just sent its ACK may not know its own call yet.
        let word = Step::Play(vec![Clip::silence(Duration::from_millis(200))]);
        let mut stage = Stage::playing(vec![word, Step::Refer("sip:other@example.com".into())], vec![]).await;
        let phone = Phone::start(PhoneSettings { transfers: code, ..PhoneSettings::new(HERE, "+12025550123") }).await.unwrap();
        let caller = phone.call(&stage.uri()).await.unwrap();
        stage.incoming().await;
        assert!(caller.told(LIMIT, |said| said.refer.as_deref() == Some("<sip:other@example.com>")).await);
        let mut told = stage.next().await;
        if told == Told::Transferred(Transfer::Going(100)) {
            told = stage.next().await;
        }
        if ends {
            assert_eq!(told, Told::Transferred(Transfer::Done));
            stage.expect(Told::HungUp(Ended::Transferred)).await;
            assert!(caller.ends(LIMIT).await);
        } else {
            assert_eq!(told, Told::Transferred(Transfer::Failed(code)));
            assert!(!caller.said().ended);
        }
    }
}
