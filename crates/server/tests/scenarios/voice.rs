//! `vanguard_voice`: the caller says an enrolled phrase and the voice is compared. Whatever comes of it,
//! it proves nothing. The voices are three synthesisers' (crates/voice/tests/data).

use std::{sync::{Arc, OnceLock}, time::Duration};

use countersign_core::{
    action::Level,
    call::{Event, Input, Params, Stage},
    id::CallId,
    prompt::{Directive, Prompt},
    risk::Verstat,
    secret::E164,
    time::Span,
    voice::{Codec, Comparison, Fault, Outcome, Settings, Sound, Stopped},
};
use countersign_server::{
    outbox::provider::Channel,
    runner::{Line, Reply, RunError},
    telephony::{self, sip::{self, Sip}},
    vault::Vault,
    voice::{TAKES, TEMPLATE, VoiceSettings, Voices},
};
use countersign_sip::caller::{Phone as Telephone, PhoneSettings};
use countersign_voice::{Audio, Engine};

use crate::{
    common::{Setup, World, desk::Desk, people::*, portal::Portal},
    voices::{again, calibration, dtmf, hiss, resent, voice},
};

/// Measured once for all tests.
pub fn calibrated() -> Arc<Voices> {
    static VOICES: OnceLock<Arc<Voices>> = OnceLock::new();
    VOICES.get_or_init(|| Arc::new(Voices::new(None, Some(calibration(&Engine::built_in().unwrap())), None).unwrap())).clone()
}

pub fn settings(adapters: &[&str]) -> Settings { Settings { text: "2026-05".into(), life: Span::days(730), tries: 6, adapters: adapters.iter().map(|a| (*a).to_owned()).collect(), digits: false } }

pub async fn world_with(voices: Option<Arc<Voices>>, setup: Setup) -> World {
    let world = World::with(Setup { params: Params { voice: Some(settings(&[sip::NAME])), ..Params::default() }, ..setup }).await;
    if let Some(voices) = voices {
        world.app.runner.listens(voices);
    }
    world
}
pub async fn world() -> World { world_with(Some(calibrated()), Setup::default()).await }

pub fn sound(audio: &Audio) -> Sound { Sound::new(audio.samples().iter().map(|s| (s * 32_767.0) as i16).collect(), Some(Codec::Pcma)) }
pub fn ana(seed: u64) -> Audio { again(&voice("rms-0"), seed) }

/// Somebody on a line that can be heard.
pub struct Caller {
    pub world: World,
    pub id: CallId,
    n: u64,
}

impl Caller {
    pub async fn dial(world: &World, line: &str) -> Self {
        let number = E164::parse(line).unwrap();
        let first = telephony::incoming(&world.app, sip::NAME, Some(&number), Verstat::PassedA, false).await.unwrap();
        let id = CallId(world.app.runner.vault.id().unwrap());
        world.app.runner.begin(id, format!("test/{id}"), Line { reference: id.to_string(), number: Some(number) }, || first.input()).await.unwrap();
        Self { world: world.clone(), id, n: 0 }
    }

    pub async fn does(&mut self, make: impl Fn() -> Input + Send) -> Result<Vec<Prompt>, RunError> {
        self.n += 1;
        let Reply { directives, .. } = self.world.app.runner.run(self.id, format!("test/{}/{}", self.id, self.n), make).await?;
        Ok(directives.into_iter().filter_map(|d| match d { Directive::Say { prompt, .. } => Some(prompt), _ => None }).collect())
    }
    pub async fn press(&mut self, keys: &str) -> Vec<Prompt> { self.does(|| Input::Keys(keys.into())).await.unwrap() }
    pub async fn says(&mut self, audio: &Audio) -> Vec<Prompt> {
        let said = sound(audio);
        self.does(|| Input::Recorded(said.clone())).await.unwrap()
    }

    pub async fn events(&self) -> Vec<Event> { self.world.events(self.id).await }
    pub async fn compared(&self) -> Comparison {
        let compared = |e: Event| if let Event::VoiceCompared { comparison, .. } = e { Some(comparison) } else { None };
        self.events().await.into_iter().rev().find_map(compared).expect("a comparison")
    }
    pub async fn stopped(&self) -> Option<Stopped> {
        self.events().await.into_iter().rev().find_map(|e| if let Event::VoiceStopped { why } = e { Some(why) } else { None })
    }
    pub async fn level(&self) -> Level { self.world.app.runner.call(self.id).await.unwrap().unwrap().call.level }
    pub async fn stage(&self) -> Stage { self.world.app.runner.call(self.id).await.unwrap().unwrap().call.stage }

    /// From the greeting into the queue, with this PIN.
    pub async fn waits(&mut self, pin: &str) {
        for _ in 0..6 {
            match self.stage().await {
                Stage::Waiting => return,
                Stage::Proving => self.press(pin).await,
                Stage::Music => self.press("2").await,
                _ => self.press("1").await,
            };
        }
        panic!("never waits: {:?}", self.stage().await)
    }

    /// Ana's call, with her PIN, at this desk.
    pub async fn at(world: &World, desk: &mut Desk) -> Self {
        let mut caller = Self::dial(world, ANA_LINE).await;
        caller.waits("4071").await;
        desk.call = caller.id;
        desk.act("accept", &[]).await.ok();
        assert_eq!((caller.stage().await, caller.level().await), (Stage::Talking, Level::Authenticated));
        caller
    }

    /// The same, strong.
    pub async fn strong(world: &World, desk: &mut Desk) -> Self {
        let mut caller = Self::at(world, desk).await;
        desk.prove("sms_code", "change:phone").await.ok();
        let code = world.letter().await.code();
        caller.press(&code).await;
        assert_eq!(caller.level().await, Level::Strong);
        caller
    }

    /// Sofia's, who has keyed this PIN and is strong, after her consent: at whatever desk she comes to.
    pub async fn sofia_consents(world: &World, pin: &str) -> (Desk, Self) {
        let mut desk = world.robin().await;
        let mut caller = Self::dial(world, SOFIA_LINE).await;
        caller.waits(pin).await;
        desk.call = caller.id;
        desk.act("accept", &[]).await;
        if caller.stage().await != Stage::Talking {
            desk = world.sam().await;
            desk.call = caller.id;
            desk.act("accept", &[]).await.ok();
        }
        desk.prove("sms_code", "change:phone").await.ok();
        let code = world.deliver().await.iter().find(|l| l.channel == Channel::Sms).unwrap().code();
        caller.press(&code).await;
        desk.act("voice-enrol", &[]).await.ok();
        caller.press("1").await;
        (desk, caller)
    }

    /// Ana's, strong, with a voice on file from then on.
    pub async fn enrolled(world: &World, desk: &mut Desk) -> Self {
        let mut caller = Self::strong(world, desk).await;
        desk.act("voice-enrol", &[]).await.ok();
        caller.press("1").await;
        for seed in 1..=3 {
            caller.says(&ana(seed)).await;
        }
        assert!(caller.events().await.iter().any(|e| matches!(e, Event::VoiceEnrolled { .. })), "{:?}", caller.world.story(caller.id).await);
        world.deliver().await;
        caller
    }
}

/// Ana has a voice on file from then on.
pub async fn with_a_voice(world: &World, desk: &mut Desk) {
    Caller::enrolled(world, desk).await;
    desk.end().await.ok();
    world.deliver().await;
}

pub async fn kept(world: &World, kind: &'static str) -> usize { world.app.runner.store.docs(kind, None, 100).await.unwrap().len() }

#[tokio::test]
async fn vanguard_voice() {
    let world = world().await;
    let mut robin = world.robin().await;
    let mut ana_calls = Caller::strong(&world, &mut robin).await;

    // Consent is read out, and given with a key of her own telephone.
    robin.act("voice-enrol", &[]).await.shows("being asked whether the voice may be kept");
    let live = world.app.runner.call(ana_calls.id).await.unwrap().unwrap();
    let directives = world.app.runner.directives(&live.call).await.unwrap();
    let said: Vec<String> = directives.iter().filter_map(|d| match d { Directive::Say { prompt, lang } => Some(world.app.texts.prompt(*lang, prompt)), _ => None }).collect();
    assert!(said[0].contains("If you do not, press 2. Then everything goes on as before."), "{said:?}");
    assert_eq!(ana_calls.press("1").await, [Prompt::VoiceSay]);
    robin.panel().await.shows("You hear nothing; stay on the line");
    // Too short, and too noisy, are told; three good takes are it. They lie sealed from one to the next.
    let short = Audio::from_samples(ana(9).samples()[6_000..9_000].to_vec()).unwrap();
    assert!(matches!(ana_calls.says(&short).await[0], Prompt::VoiceTooShort | Prompt::VoiceNoSpeech));
    assert_eq!(ana_calls.says(&ana(1)).await, [Prompt::VoiceOnceMore, Prompt::VoiceSay]);
    assert_eq!((kept(&world, TAKES).await, kept(&world, TEMPLATE).await), (1, 0));
    assert_eq!(ana_calls.says(&ana(2)).await[0], Prompt::VoiceOnceMore);
    assert_eq!(ana_calls.says(&ana(3)).await, [Prompt::VoiceKept, Prompt::BackToAgent]);
    assert_eq!((kept(&world, TAKES).await, kept(&world, TEMPLATE).await), (0, 1), "takes go with the enrolment");
    let on_file = world.profile(ANA).await.voice.unwrap();
    assert_eq!((on_file.text.as_str(), on_file.until - on_file.since), ("2026-05", Span::days(730)));
    // She is told at the contact on file, with a way to take it back.
    let letters = world.deliver().await;
    assert!(!letters.is_empty());
    letters[0].reads("Your voice is on file now for calls").reads("Undo it");
    robin.end().await;
    assert!(world.tells(ana_calls.id, "The caller consented to that (version 2026-05, en), with a key.").await);

    // Another day.
    world.deliver().await;
    let mut ana_calls = Caller::at(&world, &mut robin).await;
    robin.panel().await.shows("Compare the voice").hides(&["Voice: <b>"]);
    robin.act("voice-compare", &[]).await.ok();
    assert_eq!(ana_calls.says(&ana(50)).await, [Prompt::BackToAgent], "the caller does not hear what came of it");
    let Comparison { outcome, score, threshold, likelihood, phrase, recording, quality, learnt, .. } = ana_calls.compared().await;
    assert_eq!((outcome, phrase, recording), (Outcome::Alike, Some(true), Some(false)));
    assert!(score.unwrap() >= threshold.unwrap() && likelihood.unwrap() > 0 && quality.speech > 1_000);
    // It learns from her, who proved with her PIN who she is.
    assert!(learnt, "well above the threshold");
    // The desk reads a word, and no number; and nothing opens.
    let numbers = [score, threshold, likelihood].map(|n| format!("{}.{:03}", n.unwrap() / 1000, n.unwrap() % 1000));
    let panel = robin.panel().await;
    panel.shows("Voice: <b>alike</b>").hides(&[&numbers[0], &numbers[1], &numbers[2]]);
    assert_eq!((panel.level(), ana_calls.level().await), ("authenticated", Level::Authenticated));
    robin.change_phone("+12025550150").await.says("Not permitted now");
    let proofs = ana_calls.events().await.iter().filter(|e| matches!(e, Event::Proved { .. })).count();
    assert_eq!(proofs, 1, "the PIN, and nothing else");
    // The lead sees how voices fare, by month.
    world.kim().await.get("/admin/risk").await.shows("Voices by month").shows("<th scope=\"row\">2026-06</th>").shows("100 %");
}

#[tokio::test]
async fn what_a_forger_plays_is_told_and_raises_scrutiny() {
    let world = world().await;
    let mut robin = world.robin().await;
    Caller::enrolled(&world, &mut robin).await;
    robin.end().await;
    world.deliver().await;
    let of = |name: &str, seed| again(&voice(name), seed);
    let tries: [(&str, Audio, &[Outcome], &str, u8); 8] = [
        ("a take of the enrolment, sent once more", resent(&ana(2), 7), &[Outcome::KnownRecording], "not alike", 60),
        ("another voice with the right words", of("kal-0", 51), &[Outcome::Unlike, Outcome::OtherWords], "not alike", 10),
        ("her voice with other words", of("rms-1", 52), &[Outcome::OtherWords], "not alike", 10),
        ("nothing at all", Audio::from_pcm16(&[0; 24_000]).unwrap(), &[Outcome::NoSpeech], "could not be compared", 0),
        ("no sound that ever came", Audio::default(), &[Outcome::NoSpeech], "could not be compared", 0),
        ("keys", dtmf(0.1), &[Outcome::NoSpeech], "could not be compared", 0),
        ("hiss", hiss(3.0, 0.05, 1), &[Outcome::NoSpeech], "could not be compared", 0),
        ("a moment of speech", Audio::from_samples(ana(53).samples()[8_000..10_400].to_vec()).unwrap(), &[Outcome::TooShort, Outcome::NoSpeech], "could not be compared", 0),
    ];
    for (what, audio, outcomes, word, least) in tries {
        world.pass(Span::minutes(20));
        let mut robin = world.robin().await;
        let mut call = Caller::at(&world, &mut robin).await;
        robin.act("voice-compare", &[]).await.ok();
        call.says(&audio).await;
        let comparison = call.compared().await;
        assert!(outcomes.contains(&comparison.outcome) && !comparison.learnt, "{what}: {comparison:?}");
        robin.panel().await.shows(&format!("Voice: <b>{word}</b>"));
        let live = world.app.runner.call(call.id).await.unwrap().unwrap().call;
        assert!(live.risk >= least && live.level == Level::Authenticated, "{what}: {}", live.risk);
        robin.end().await;
    }
    // Half an hour of sound is refused before anybody listens; the adapter would not have let it come so far.
    let mut robin = world.robin().await;
    let mut call = Caller::at(&world, &mut robin).await;
    robin.act("voice-compare", &[]).await.ok();
    let endless = Sound::new(vec![1_000; 30 * 60 * 8_000], None);
    let began = std::time::Instant::now();
    call.does(|| Input::Recorded(endless.clone())).await.unwrap();
    assert_eq!(call.compared().await.outcome, Outcome::Failed);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn nobody_enrols_another_and_nobody_enrols_by_the_way() {
    let world = world().await;
    let mut robin = world.robin().await;
    // Recognised by her number, and no more.
    let mut call = Caller::dial(&world, ANA_LINE).await;
    for keys in ["0", "2"] {
        call.press(keys).await;
    }
    robin.call = call.id;
    robin.act("accept", &[]).await.ok();
    robin.act("voice-enrol", &[]).await.says("two kinds of proofs before their voice may be kept");
    robin.act("voice-compare", &[]).await.says("no account is open on this call");
    // Nothing is listened to that nobody asked for: no passive scoring.
    assert!(matches!(call.does(|| Input::Recorded(sound(&ana(1)))).await, Err(RunError::Rejected(_))));
    robin.end().await;
    // One proof is not enough.
    let call = Caller::at(&world, &mut robin).await;
    robin.panel().await.hides(&["voice-enrol"]);
    robin.act("voice-enrol", &[]).await.says("two kinds of proofs before their voice may be kept");
    drop(call);
    robin.end().await;
    // Strong, and the agent speaks for her: there is no way to consent or to be heard from a desk.
    let mut call = Caller::strong(&world, &mut robin).await;
    for form in [[("action", "change:voice"), ("value", "yes")], [("action", "change:voice"), ("reason", "I am the caller, believe me")]] {
        robin.act("perform", &form).await.says("cannot be done here");
    }
    robin.act("voice-enrol", &[]).await.ok();
    assert!(matches!(call.does(|| Input::Recorded(sound(&ana(1)))).await, Err(RunError::Rejected(_))), "before consent");
    // No.
    assert_eq!(call.press("2").await, [Prompt::VoiceAsYouLike, Prompt::BackToAgent]);
    assert_eq!(call.stopped().await, Some(Stopped::Declined));
    assert!(world.profile(ANA).await.voice.is_none() && call.level().await == Level::Strong);
    // Yes, and then the first take once more: a recording makes no template.
    robin.act("voice-enrol", &[]).await.ok();
    call.press("1").await;
    call.says(&ana(1)).await;
    let said = call.says(&resent(&ana(1), 3)).await;
    assert_eq!(said[0], Prompt::VoiceNotTheSame, "the same recording is no second take");
    let faults: Vec<Fault> = call.events().await.into_iter().filter_map(|e| if let Event::VoiceTake { fault, .. } = e { fault } else { None }).collect();
    assert_eq!(faults, [Fault::SameRecording]);
    // What the sound was like is on record, and what it came in.
    let heard: Vec<_> = call.events().await.into_iter().filter_map(|e| if let Event::VoiceTake { quality, .. } = e { Some(quality) } else { None }).collect();
    assert!(!heard.is_empty() && heard.iter().all(|q| q.codec == Some(Codec::Pcma) && q.speech > 0 && q.clipped < 50), "{heard:?}");
    // The call ends in the middle of it: nothing is left.
    robin.end().await;
    assert_eq!((kept(&world, TAKES).await, kept(&world, TEMPLATE).await), (0, 0));
}

#[tokio::test]
async fn without_a_calibration_nothing_is_a_pass() {
    let world = world_with(Some(Arc::new(Voices::new(None, None, None).unwrap())), Setup::default()).await;
    let mut robin = world.robin().await;
    Caller::enrolled(&world, &mut robin).await;
    robin.end().await;
    world.deliver().await;
    let mut call = Caller::at(&world, &mut robin).await;
    robin.act("voice-compare", &[]).await.ok();
    call.says(&ana(50)).await;
    let comparison = call.compared().await;
    assert_eq!((comparison.outcome, comparison.threshold, comparison.learnt), (Outcome::NotCalibrated, None, false));
    robin.panel().await.shows("Voice: <b>could not be compared</b>");
}

#[tokio::test]
async fn where_voices_are_not_set_up_nothing_of_it_is_there() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let _call = Caller::strong(&world, &mut robin).await;
    robin.panel().await.hides(&["voice-enrol", "voice-compare"]);
    robin.act("voice-enrol", &[]).await.says("it is not set up, or this line cannot be heard");
    // A line through Twilio cannot be heard, whatever is set up.
    let world = self::world().await;
    let mut robin = world.robin().await;
    let mut phone = world.call(ANA_LINE).await;
    phone.press("1").await.press("4071").await;
    phone.press("2").await;
    robin.take(&mut phone).await.hides(&["voice-enrol", "voice-compare"]);
    robin.act("voice-compare", &[]).await.says("it is not set up, or this line cannot be heard");
}

#[tokio::test]
async fn a_voice_goes_with_its_time_with_consent_and_with_the_customer() {
    let world = world().await;
    let mut robin = world.robin().await;
    let gone = async |why: &str| {
        assert_eq!((kept(&world, TEMPLATE).await, world.profile(ANA).await.voice), (0, None), "{why}");
    };
    let enrol = async |robin: &mut Desk| {
        Caller::enrolled(&world, robin).await;
        robin.end().await;
        world.deliver().await;
        assert_eq!(kept(&world, TEMPLATE).await, 1);
        world.pass(Span::hours(2));
    };
    // Signed in.
    enrol(&mut robin).await;
    let portal = Portal::enter(&world, "10004711").await;
    portal.get("/me/security").await.shows("Take my voice off your file");
    portal.post("/me/security/voice", &[]).await.is(303);
    gone("withdrawn in the portal").await;
    portal.get("/me/security").await.hides(&["Take my voice off your file"]);
    // At the desk, without another proof.
    enrol(&mut robin).await;
    let call = Caller::at(&world, &mut robin).await;
    robin.act("voice-remove", &[]).await.says("The voice is off the file");
    gone("withdrawn at the desk").await;
    robin.act("voice-compare", &[]).await.says("cannot be compared on this call");
    assert!(call.events().await.iter().any(|e| matches!(e, Event::VoiceRemoved { account, .. } if *account == ANA)));
    robin.end().await;
    // By the link in the notice.
    let mut caller = Caller::strong(&world, &mut robin).await;
    robin.act("voice-enrol", &[]).await.ok();
    caller.press("1").await;
    for seed in 1..=3 {
        caller.says(&ana(seed)).await;
    }
    let letters = world.deliver().await;
    let link = letters.iter().find(|l| l.channel == Channel::Email).unwrap_or(&letters[0]).link();
    crate::common::pages::post::<&str, &str>(&world.router, &link, None, &[]).await.ok();
    gone("undone").await;
    robin.end().await;
    world.deliver().await;
    world.pass(Span::hours(2));
    // With its time: not compared a moment longer, and taken away by the chore.
    enrol(&mut robin).await;
    world.pass(Span::days(731));
    let mut robin = world.robin().await;
    Caller::at(&world, &mut robin).await;
    robin.act("voice-compare", &[]).await.says("cannot be compared on this call");
    robin.end().await;
    assert_eq!(world.app.runner.expire_voices().await.unwrap(), 1);
    gone("expired").await;
    assert!(world.log().await.contains(r#""type":"voice_removed""#) && world.log().await.contains(r#""why":"expired""#));
    // Not under a legal hold.
    enrol(&mut robin).await;
    world.app.runner.set_hold(ANA, Some("a court asked for it".into())).await.unwrap();
    world.pass(Span::days(731));
    assert_eq!((world.app.runner.expire_voices().await.unwrap(), kept(&world, TEMPLATE).await), (0, 1));
    world.app.runner.set_hold(ANA, None).await.unwrap();
    // The export says that there is one, and has nothing of it; with the customer it goes.
    let export = world.app.runner.export_customer(ANA).await.unwrap().to_string();
    assert!(export.contains(r#""consent_text":"2026-05""#) && export.contains("The voice is on file until"), "{export}");
    assert!(export.len() < 40_000, "no template");
    world.app.runner.erase(ANA).await.unwrap();
    assert_eq!(kept(&world, TEMPLATE).await, 0);
}

/// "This wasn't me" shortly after: the voice may be the thief's.
#[tokio::test]
async fn a_reported_call_takes_the_voice_with_it() {
    let world = world().await;
    let mut robin = world.robin().await;
    Caller::enrolled(&world, &mut robin).await;
    robin.end().await;
    let letters = world.deliver().await;
    let link = letters[0].link();
    crate::common::pages::post::<&str, &str>(&world.router, &link, None, &[]).await.ok();
    let profile = world.profile(ANA).await;
    assert!(profile.frozen.is_some() && profile.voice.is_none() && kept(&world, TEMPLATE).await == 0);
}

/// A duress PIN: it looks as ever, and nothing comes on file.
#[tokio::test]
async fn under_duress_no_voice_comes_on_file() {
    let world = world().await;
    let (robin, mut caller) = Caller::sofia_consents(&world, "5099").await;
    let mut last = Vec::new();
    for seed in 1..=3 {
        last = caller.says(&ana(seed)).await;
    }
    assert_eq!(last, [Prompt::VoiceKept, Prompt::BackToAgent], "whoever forces her hears nothing of it");
    assert!(caller.events().await.iter().any(|e| matches!(e, Event::VoiceEnrolled { held: true, .. })));
    // The screen offers what it would offer otherwise, and nothing comes of it.
    robin.panel().await.shows("Take the voice off the file").shows("Compare the voice");
    robin.act("voice-compare", &[]).await.ok();
    caller.says(&ana(4)).await;
    assert_eq!(caller.stopped().await, Some(Stopped::NotPermitted));
    robin.act("voice-remove", &[]).await.says("The voice is off the file");
    assert!(world.profile(SOFIA).await.voice.is_none() && kept(&world, TEMPLATE).await == 0);
}

/// Takes travel from node to node, sealed; nothing of them is in the record.
#[tokio::test]
async fn another_node_goes_on_with_an_enrolment() {
    let world = world_with(Some(calibrated()), Setup { file: true, ..Setup::default() }).await;
    let mut robin = world.robin().await;
    let mut caller = Caller::strong(&world, &mut robin).await;
    robin.act("voice-enrol", &[]).await.ok();
    caller.press("1").await;
    caller.says(&ana(1)).await;
    let other = world.sibling().await;
    other.app.runner.listens(calibrated());
    caller.world = other.clone();
    caller.says(&ana(2)).await;
    assert_eq!(caller.says(&ana(3)).await[0], Prompt::VoiceKept);
    assert_eq!(kept(&other, TEMPLATE).await, 1);
    let template = other.app.runner.store.doc(TEMPLATE, &ANA.0).await.unwrap().unwrap();
    assert!(!template.body.windows(4).any(|w| w == b"CSVT"), "sealed");
    assert_eq!(Vault::owner_of(&template.body), Some(ANA), "with her own key");
    // In another's place it opens nothing.
    let moved = other.app.runner.unseal_about::<serde_json::Value>(TEMPLATE, &LIAM.0, &template.body).await;
    assert!(moved.is_err());
}

/// The same over SIP and RTP, with a telephone that speaks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_telephone_is_heard() {
    let world = world().await;
    let mut robin = world.robin().await;
    Caller::enrolled(&world, &mut robin).await;
    robin.end().await;
    let names = world.app.agents.clone();
    let adapter = Arc::new(Sip::new(world.app.texts.clone(), sip::voice::Voice::new(None, Vec::new()), Default::default(), false, Some("+1".into()), move |id| names.name(id)));
    world.app.runner.hub.register(sip::NAME, adapter.clone());
    let here = std::net::IpAddr::from([127, 0, 0, 1]);
    let gateway = countersign_sip::Settings { peers: vec!["127.0.0.0/8".parse().unwrap()], ..countersign_sip::Settings::new((here, 0).into()) };
    let gateway = adapter.start(world.app.clone(), gateway).await.unwrap();
    let telephone = Telephone::start(PhoneSettings::new(here, ANA_LINE)).await.unwrap();
    let line = telephone.call(&format!("sip:+12025550100@{}", gateway.address())).await.unwrap();
    let until = async |stage: Stage| {
        let live = async {
            loop {
                if let Some(live) = world.app.runner.live().await.into_iter().find(|live| live.stage == stage) {
                    return live.id;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), live).await.unwrap_or_else(|_| panic!("never {stage:?}"))
    };
    until(Stage::Recognised).await;
    for (keys, stage) in [("1", Stage::Proving), ("4071#", Stage::Music), ("2", Stage::Waiting)] {
        assert!(line.press(keys).await);
        robin.call = until(stage).await;
    }
    robin.act("accept", &[]).await.ok();
    robin.act("voice-compare", &[]).await.ok();
    until(Stage::VoiceSaying).await;
    // The phrase once, after the tone, and then silence.
    assert!(line.until(Duration::from_secs(10), countersign_sip::caller::Ear::is_asked).await, "no tone");
    let phrase = ana(50);
    let samples = phrase.samples().iter().map(|s| (s * 32_767.0) as i16).chain(std::iter::repeat_n(0, 30 * 8_000));
    line.speak(Some(countersign_sip::Clip::from_samples(samples.collect::<Vec<i16>>()).unwrap()));
    until(Stage::Talking).await;
    let events = world.events(robin.call).await;
    let outcome = events.iter().find_map(|e| if let Event::VoiceCompared { comparison, .. } = e { Some(comparison.outcome) } else { None });
    assert_eq!(outcome, Some(Outcome::Alike), "{:?}", world.story(robin.call).await);
    line.hang_up().await;
    gateway.stop().await;
}

#[test]
fn a_calibration_that_cannot_be_used_is_told() {
    let folder = std::env::temp_dir().join(format!("countersign-voice-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("calibration.json");
    let settings = VoiceSettings { calibration: Some(path.clone()), speaker: None, synthetic: None, consent_text: "2026-05".into(), expires_days: 730, tries: 6, digits: false };
    let told = || Voices::load(&settings).err().unwrap().to_string();
    assert!(told().contains("voice.calibration") && told().contains("cannot be read"));
    std::fs::write(&path, "threshold = 1").unwrap();
    assert!(told().contains("cannot be read as a calibration") && told().contains("countersign voice calibrate"), "{}", told());
    let mut other = calibration(&Engine::built_in().unwrap());
    std::fs::write(&path, other.to_json()).unwrap();
    assert!(Voices::load(&settings).is_ok());
    other.network = "00".repeat(32);
    std::fs::write(&path, other.to_json()).unwrap();
    assert!(told().contains("another speaker network"), "{}", told());
    let network = VoiceSettings { calibration: None, synthetic: Some(folder.join("model.toml")), ..settings.clone() };
    assert!(Voices::load(&network).err().unwrap().to_string().contains("voice.synthetic"));
    std::fs::remove_dir_all(&folder).unwrap();
}
