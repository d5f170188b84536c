use std::{collections::BTreeSet, fs, path::PathBuf};

use countersign_core::{
    action::Action,
    factor::FactorKind,
    id::ChallengeId,
    message::Body,
    prompt::Prompt,
    secret::Secret,
    time::Timestamp,
};
use proptest::prelude::*;

use super::*;
use crate::{
    demo,
    i18n::{Line, Part, Said, Texts},
    vault::Vault,
};

fn texts() -> Texts { Texts::load(demo::company("http://127.0.0.1")).unwrap().with_codes(Vault::new(&[7; 32]).pepper.clone()) }

/// A folder that goes when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("countersign-prompts-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) { let _ = fs::remove_dir_all(&self.0); }
}

fn own() -> Origin { Origin { made_by: "Ana \"the voice\" Ruiz".into(), licence: "ours".into() } }

/// Half a second of a tone, with silence around it.
fn speech(height: f64) -> Vec<i16> {
    let tone = (0..4_000).map(|n| ((f64::from(n) * 0.3).sin() * height) as i16);
    std::iter::repeat_n(0, 800).chain(tone).chain(std::iter::repeat_n(0, 800)).collect()
}

fn taken(folder: &Path, from: &Path, script: &[Line]) -> Result<usize, PromptError> {
    let found = find(&[from.to_owned()])?;
    let prepared = found.iter().map(|given| prepare(given, script, "own", false)).collect::<Result<Vec<_>, _>>()?;
    commit(folder, &prepared, "own", own())?;
    Ok(prepared.len())
}

#[test]
fn the_set_that_comes_with_us_says_what_is_written_and_nothing_else() {
    let script = texts().script();
    let written: BTreeSet<_> = script.iter().map(|line| (line.lang.code(), line.id.as_str(), line.text.as_str())).collect();
    let set = Set::shipped();
    let recorded: BTreeSet<_> = set.list.recordings.iter().map(|row| (row.lang.code(), row.id.as_str(), row.text.as_str())).collect();
    let anew: Vec<_> = written.difference(&recorded).collect();
    let gone: Vec<_> = recorded.difference(&written).collect();
    assert!(anew.is_empty() && gone.is_empty(), "texts have changed: make the recordings anew, as tools/prompts/README.md says\nto be recorded: {anew:#?}\nsaid no more: {gone:#?}");
    assert_eq!(check(set, &script), []);
    assert_eq!(written.len(), script.len(), "two lines share a name");
    assert!(set.list.origins.values().all(|origin| origin.licence == "Apache-2.0"));
    // A file that no list names would be shipped for nothing.
    let named: BTreeSet<_> = set.list.recordings.iter().map(Row::file).collect();
    let shipped: BTreeSet<_> = Shipped::iter().map(|name| name.into_owned()).filter(|name| name != MANIFEST).collect();
    assert_eq!(named, shipped);
}

#[test]
fn the_list_is_written_as_it_is_read() {
    let list = &Set::shipped().list;
    assert_eq!(&Manifest::parse(&list.write()).unwrap(), list);
}

/// Everything that can be asked of a caller, with values of all kinds.
fn prompts() -> impl Strategy<Value = Prompt> {
    let action = prop_oneof![Just("change:phone"), Just("do:close_account"), Just("do:zzz_thing"), Just("view:orders"), Just("use:totp")].prop_map(|text| text.parse::<Action>().unwrap());
    prop_oneof![
        Just(Prompt::Welcome), Just(Prompt::ChooseLanguage), Just(Prompt::Menu), Just(Prompt::Goodbye), Just(Prompt::WeCall), Just(Prompt::ChooseMusic),
        (-36_500..36_500_i64).prop_map(|days| Prompt::Recognised { upcoming: Some(Timestamp(days * 86_400_000)) }),
        any::<[u8; 16]>().prop_map(|code| Prompt::ApproveInPortal { code: ChallengeId(code) }),
        any::<[u8; 16]>().prop_map(|code| Prompt::ApproveAtProvider { code: ChallengeId(code) }),
        any::<[u8; 16]>().prop_map(|code| Prompt::TypeInPortal { code: ChallengeId(code) }),
        action.prop_map(|action| Prompt::StepUp { action }),
    ]
}

fn bodies() -> impl Strategy<Value = Body> {
    let action = || prop_oneof![Just("change:email"), Just("do:request_refund"), Just("do:zzz_thing")].prop_map(|text| text.parse::<Action>().unwrap());
    prop_oneof![
        ("[0-9]{4,10}", proptest::option::of(action())).prop_map(|(code, action)| Body::Code {
            code: Secret::new(code), challenge: ChallengeId([1; 16]), kind: FactorKind::VoiceCode, action,
        }),
        proptest::collection::vec(action(), 0..4).prop_map(|actions| Body::Summary { actions, report: Secret::new("f00d") }),
        action().prop_map(|action| Body::Online { action }),
        action().prop_map(|action| Body::ChangedOnline { action, report: Secret::new("f00d") }),
    ]
}

/// Nothing is lost, nothing is made up, and a recording is there for every piece.
fn whole(said: &Said) {
    let joined: Vec<_> = said.sentences.iter().map(|sentence| sentence.text.as_str()).collect();
    // Several things that were done are one value, and one sentence.
    assert_eq!(joined.join(" "), said.text);
    let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
    for sentence in &said.sentences {
        assert!(!sentence.parts.is_empty(), "{}", sentence.text);
        let mut pieces = String::new();
        for part in &sentence.parts {
            match part {
                Part::Words(words) => {
                    assert!(Set::shipped().say(said.lang, words).is_some(), "nothing says {words:?}");
                    pieces.push_str(words);
                }
                Part::Spelled(groups) => {
                    assert!(groups.iter().all(|group| (1..=4).contains(&group.len())));
                    for letter in groups.iter().flatten() {
                        assert!(Set::shipped().say(said.lang, letter).is_some(), "nothing says {letter:?}");
                        pieces.push_str(letter);
                    }
                }
                Part::Rest => {}
            }
        }
        // A date is written as a number and said as a word.
        if !sentence.parts.iter().any(|part| matches!(part, Part::Words(words) if Set::shipped().list.recordings.iter().any(|row| row.id.starts_with("date.") && row.text == *words))) {
            assert_eq!(letters(&pieces), letters(&sentence.text));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn whatever_is_said_comes_apart_into_recordings(prompt in prompts(), body in bodies(), which in 0..3_usize) {
        let (texts, lang) = (texts(), Lang::ALL[which]);
        for said in texts.said(lang, &prompt) {
            whole(&said);
        }
        whole(&texts.rung(lang, &body).unwrap());
    }

    #[test]
    fn no_list_makes_it_panic_or_leave_its_folder(text in any::<String>(), id in "[a-z./\\\\-]{0,12}") {
        let _ = Manifest::parse(&text);
        let row = Row { id, lang: Lang::En, text, sha256: "0".repeat(64), milliseconds: 1, origin: "own".into() };
        let list = Manifest { format: 1, origins: [("own".to_owned(), own())].into(), recordings: vec![row.clone()] };
        match Manifest::parse(&list.write()) {
            Ok(read) => prop_assert!(read == list && !row.id.contains(['/', '\\']) && !row.id.starts_with('.')),
            Err(why) => prop_assert!(why.contains("no name of a recording"), "{}", why),
        }
    }
}

#[test]
fn recordings_are_taken_in_and_take_the_place_of_older_ones() {
    let (set, given, script) = (Folder::new("set"), Folder::new("given"), texts().script());
    given.file("en/menu.2.wav", &wave::written(&speech(20_000.0), false));
    given.file("de-welcome.wav", &wave::written(&speech(900.0), true));
    given.file("notes.txt", b"not a recording");
    assert_eq!(taken(&set.0, &given.0, &script).unwrap(), 2);
    let read = Set::read(&set.0).unwrap();
    assert_eq!(check(&read, &script), []);
    assert!(read.say(Lang::De, "Willkommen bei Juniper & Co.").is_some() && read.say(Lang::En, "To enter that code, press 1").is_some());
    assert!(read.say(Lang::En, "To enter that code, press 2.").is_none());
    assert_eq!(read.list.origins["own"], own());
    let old = read.list.recordings.iter().find(|row| row.id == "welcome").unwrap().file();
    let newer = Folder::new("newer");
    newer.file("de/welcome.0123abcd.wav", &wave::written(&speech(9_000.0)[..3_000], false));
    assert_eq!(taken(&set.0, &newer.0, &script).unwrap(), 1);
    let read = Set::read(&set.0).unwrap();
    assert_eq!(read.list.recordings.len(), 2);
    assert!(!set.0.join(old).exists(), "nobody speaks of the old file");
}

#[test]
fn what_cannot_be_taken_changes_nothing() {
    let (set, given, script) = (Folder::new("kept"), Folder::new("wrong"), texts().script());
    let good = given.file("en/welcome.wav", &wave::written(&speech(9_000.0), false));
    taken(&set.0, &good, &script).unwrap();
    let before = fs::read_to_string(set.0.join(MANIFEST)).unwrap();
    for (name, bytes, why) in [
        ("en/welcom.wav", wave::written(&speech(9_000.0), false), "is called \"welcom\""),
        ("welcome.wav", wave::written(&speech(9_000.0), false), "has to tell the language"),
        ("en/menu.1.wav", b"RIFF".to_vec(), "no whole WAV file"),
        ("en/menu.1.wav", wave::written(&[0; 8_000], false), "nothing to hear"),
    ] {
        let folder = Folder::new("one");
        folder.file(name, &bytes);
        folder.file("en/goodbye.2.wav", &wave::written(&speech(9_000.0), false));
        let error = taken(&set.0, &folder.0, &script).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!(fs::read_to_string(set.0.join(MANIFEST)).unwrap(), before);
    }
    // A list that is broken is not written over.
    fs::write(set.0.join(MANIFEST), "format = 9\n").unwrap();
    assert!(taken(&set.0, &good, &script).unwrap_err().to_string().contains("format 9"));
    assert_eq!(fs::read_to_string(set.0.join(MANIFEST)).unwrap(), "format = 9\n");
}

#[test]
fn what_is_wrong_with_a_set_is_told() {
    let (folder, script) = (Folder::new("bad"), texts().script());
    let mut list = Manifest { format: 1, origins: [("own".to_owned(), own())].into(), recordings: Vec::new() };
    let mut put = |id: &str, text: &str, samples: &[i16]| {
        let file = wave::written(samples, false);
        let row = Row { id: id.into(), lang: Lang::En, text: text.into(), sha256: hash(&file), milliseconds: samples.len() as u64 / 8, origin: "own".into() };
        folder.file(&row.file(), &file);
        list.recordings.push(row);
    };
    let mut gap = speech(9_000.0);
    gap.extend(vec![0; 20_000]);
    gap.extend(speech(9_000.0));
    put("welcome", "Welcome to Juniper & Co.", &speech(9_000.0));
    put("goodbye.2", "Goodbye.", &speech(60_000.0));
    put("try-again.1", "That was not accepted.", &speech(80.0));
    put("verified", "Thank you, that was accepted.", &gap);
    put("noted", "Thank you, it is noted.", &speech(9_000.0));
    put("nonsense", "Never said.", &speech(9_000.0));
    put("one-moment", "One moment, please.", &speech(9_000.0));
    let changed = list.recordings.last().unwrap().file();
    folder.file(MANIFEST, list.write().as_bytes());
    folder.file(&changed, &wave::written(&speech(8_000.0), false));
    let set = Set::list(&folder.0).unwrap();
    let problems = check(&set, &script);
    let of = |id: &str| problems.iter().filter(|p| p.id == id).map(|p| p.text.as_str()).collect::<Vec<_>>().join("; ");
    assert_eq!(of("welcome"), "");
    assert!(of("goodbye.2").contains("overdriven"), "{}", of("goodbye.2"));
    assert!(of("try-again.1").contains("should be near -20"), "{}", of("try-again.1"));
    assert!(of("verified").contains("silent for 2.7 s in its middle"), "{}", of("verified"));
    assert!(of("noted").contains("record it anew"), "{}", of("noted"));
    assert!(of("nonsense").contains("never said"), "{}", of("nonsense"));
    assert!(of("one-moment").contains("SHA-256"), "{}", of("one-moment"));
    assert!(set.say(Lang::En, "Thank you, we have made a note of that.").is_none(), "a stale recording is not played");
    assert!(matches!(Set::read(&folder.0), Err(PromptError::Hash { .. })), "a server does not start with it");
}

#[test]
fn who_says_a_line_is_told() {
    let company = crate::i18n::Company { name: "Northwind".into(), ..demo::company("http://127.0.0.1") };
    let script = Texts::load(company).unwrap().script();
    let lost: Vec<_> = script.iter().zip(sources(&script, None, false)).filter(|(_, source)| *source != Source::Shipped).collect();
    assert!(lost.iter().all(|(line, source)| line.named && *source == Source::Unnamed && line.text.contains("Northwind")));
    assert!((3..=20).contains(&lost.len()), "{lost:?}");
    assert!(sources(&script, None, true).iter().all(|source| *source == Source::Program));
}
