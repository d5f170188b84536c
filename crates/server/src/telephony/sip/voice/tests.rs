use std::{collections::BTreeSet, path::PathBuf};

use countersign_core::{id::ChallengeId, prompt::Prompt};

use super::*;
use crate::{
    demo,
    i18n::{Company, Texts},
    prompts::wave::written,
    vault::Vault,
};

const CODE: Prompt = Prompt::ApproveInPortal { code: ChallengeId([9; 16]) };

fn company(name: &str) -> Company { Company { name: name.into(), ..demo::company("http://127.0.0.1") } }

fn texts() -> Texts { Texts::load(company("Juniper & Co")).unwrap().with_codes(Vault::new(&[7; 32]).pepper.clone()) }

/// Which recordings of ours these are; a pause is nothing.
fn heard(lang: Lang, clips: &[Arc<Clip>]) -> Vec<String> {
    static OURS: OnceLock<HashMap<usize, (Lang, String)>> = OnceLock::new();
    let address = |clip: &Arc<Clip>| Arc::as_ptr(clip).addr();
    let ours = OURS.get_or_init(|| Set::shipped().all().unwrap().into_iter().map(|(row, clip)| (address(&clip), (row.lang, row.text))).collect());
    clips.iter().filter_map(|clip| ours.get(&address(clip)).filter(|(of, _)| *of == lang).map(|(_, text)| text.clone())).collect()
}

fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("countersign-voice-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// A program that notes what it is given, one text a line, and says a tone.
fn program(folder: &std::path::Path, end: &str) -> Vec<String> {
    let tone: Vec<i16> = (0..800).map(|n| if n % 20 < 10 { 4_000 } else { -4_000 }).collect();
    std::fs::write(folder.join("tone.wav"), written(&tone, false)).unwrap();
    let (log, tone) = (folder.join("log"), folder.join("tone.wav"));
    ["sh", "-c", &format!("(cat; echo) >> {}; cat {}; {end}", log.display(), tone.display())].map(str::to_owned).to_vec()
}

fn asked(folder: &std::path::Path) -> Vec<String> { std::fs::read_to_string(folder.join("log")).unwrap_or_default().lines().map(str::to_owned).collect() }

#[tokio::test]
async fn a_code_is_its_digits_in_their_order_with_pauses_and_twice() {
    let (texts, voice) = (texts(), Voice::new(None, Vec::new()));
    for lang in Lang::ALL {
        for byte in 0..20 {
            let prompt = Prompt::TypeInPortal { code: ChallengeId([byte; 16]) };
            let said = texts.said(lang, &prompt).pop().unwrap();
            // As it is written for a screen: eight digits, with commas, twice.
            let digits: Vec<_> = said.text.chars().filter(char::is_ascii_digit).map(String::from).collect();
            assert_eq!((digits.len(), &digits[..8]), (16, &digits[8..]));
            let clips = voice.say(&said).await;
            let spoken: Vec<_> = heard(lang, &clips).into_iter().filter(|text| text.chars().count() == 1).collect();
            assert_eq!(spoken, digits);
            let first = clips.iter().position(|clip| heard(lang, std::slice::from_ref(clip)).first() == Some(&digits[0])).unwrap();
            let lengths: Vec<_> = clips[first - 1..first + 16].iter().step_by(2).map(|clip| clip.duration().as_millis() as u64).collect();
            assert_eq!(lengths, [GROUP, DIGIT, DIGIT, DIGIT, GROUP, DIGIT, DIGIT, DIGIT, SENTENCE]);
        }
    }
}

#[tokio::test]
async fn without_a_program_everything_is_said_by_what_comes_with_us() {
    let (texts, voice) = (texts(), Voice::new(None, Vec::new()));
    for lang in Lang::ALL {
        let script = texts.script();
        let messages: BTreeSet<_> = script.iter().map(|line| line.id.split('.').next().unwrap()).collect();
        assert!(messages.len() > 60);
        for id in messages {
            let Some(said) = texts.sample(lang, id) else { continue };
            let clips = voice.say(&said).await;
            assert!(!heard(lang, &clips).is_empty(), "{lang:?} {id}");
            assert!(clips.iter().all(|clip| heard(lang, std::slice::from_ref(clip)).len() == 1 || clip.bytes(countersign_sip::g711::Law::Mu).iter().all(|b| *b == 0xff)));
        }
    }
    let keys = voice.say(&texts.said(Lang::En, &Prompt::ChooseLanguage)[2]).await;
    assert_eq!(heard(Lang::De, &keys), ["Für Deutsch bitte die …", "3", "… drücken."]);
    let day = Prompt::Recognised { upcoming: Some(countersign_core::time::Timestamp(951_782_400_000)) };
    let day = voice.say(&texts.said(Lang::Es, &day)[0]).await;
    assert_eq!(heard(Lang::Es, &day)[1..6], ["Si llama por la entrega prevista para el …", "martes", "veintinueve", "de …", "febrero"]);
}

#[tokio::test]
async fn a_company_that_nobody_recorded_is_greeted_without_its_name() {
    let (texts, voice) = (Texts::load(company("Northwind")).unwrap(), Voice::new(None, Vec::new()));
    let say = async |prompt: &Prompt| heard(Lang::En, &voice.say(&texts.said(Lang::En, prompt)[0]).await);
    assert_eq!(say(&Prompt::Welcome).await, ["Welcome."]);
    assert_eq!(say(&Prompt::Goodbye).await, ["Thank you for calling.", "Goodbye."]);
    assert_eq!(say(&Prompt::CallBack).await[..2], ["Hello.", "You asked us to ring you."]);
}

#[tokio::test]
async fn words_of_a_company_that_nothing_says_are_said_in_ours() {
    let words = folder("words");
    std::fs::create_dir_all(words.join("en")).unwrap();
    std::fs::write(words.join("en/voice.ftl"), "approve-in-portal = Please look at our site: { $code }. I repeat: { $code }.\nnoted = Noted with thanks.\n").unwrap();
    let texts = Texts::with_words(company("Juniper & Co"), Some(&words)).unwrap().with_codes(Vault::new(&[7; 32]).pepper.clone());
    let voice = Voice::new(None, Vec::new());
    let said = texts.said(Lang::En, &CODE).pop().unwrap();
    assert!(said.text.starts_with("Please look at our site: "));
    let spoken = heard(Lang::En, &voice.say(&said).await);
    assert_eq!(spoken[0], "We have asked you on our website, where you are signed in.");
    let digits: Vec<_> = said.text.chars().filter(char::is_ascii_digit).map(String::from).collect();
    assert_eq!(spoken.into_iter().filter(|text| text.len() == 1).collect::<Vec<_>>(), digits, "the code is the same");
    assert_eq!(heard(Lang::En, &voice.say(&texts.said(Lang::En, &Prompt::Noted)[0]).await), ["Thank you, we have made a note of that."]);
    std::fs::remove_dir_all(words).unwrap();
}

#[tokio::test]
async fn a_program_says_sentences_and_is_never_handed_a_code() {
    let (texts, at) = (texts(), folder("program"));
    let voice = Voice::new(None, program(&at, "true"));
    voice.warm().await;
    let warmed = asked(&at);
    assert_eq!(warmed, Lang::ALL.iter().flat_map(|_| (0..10).map(|n| n.to_string())).collect::<Vec<_>>());
    let said = texts.said(Lang::En, &CODE).pop().unwrap();
    let clips = voice.say(&said).await;
    assert!(heard(Lang::En, &clips).is_empty(), "all of it in the program's voice");
    voice.say(&texts.said(Lang::En, &Prompt::Welcome)[0]).await;
    let later = asked(&at).split_off(warmed.len());
    assert!(later.contains(&"Welcome to Juniper & Co.".to_owned()) && later.contains(&"Type this code there:".to_owned()), "{later:?}");
    assert!(!later.iter().any(|text| text.chars().any(|c| c.is_ascii_digit())), "{later:?}");
    std::fs::remove_dir_all(at).unwrap();
}

#[tokio::test]
async fn a_program_that_fails_leaves_the_recordings_and_is_left_alone() {
    let (texts, at) = (texts(), folder("fails"));
    for command in [vec!["/nowhere/at/all".into()], vec!["false".into()], vec!["echo".into(), "no sound".into()], program(&at, "false")] {
        let voice = Voice::new(None, command);
        voice.warm().await;
        let said = voice.say(&texts.said(Lang::De, &Prompt::Menu)[0]).await;
        assert_eq!(heard(Lang::De, &said).len(), 6);
        assert!(voice.kept().is_empty(), "a failure is not kept");
        // A code is not what it is asked for first when it works again.
        voice.say(&texts.said(Lang::De, &CODE)[0]).await;
    }
    assert_eq!(asked(&at), ["0"], "it was asked once");
    std::fs::remove_dir_all(at).unwrap();
}
