//! Recordings of every prompt that are a moment long, so that a test knows by ear what is said and need
//! not listen for minutes: noise, another for each piece of each language. They are made once, read as a
//! company's own are, and known when they are heard, as `countersign call` knows them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use countersign_core::{
    prompt::{Directive, Lang, Music},
    secret::Secret,
};
use countersign_server::{
    i18n::{Part, Texts, key},
    music,
    prompts::{MANIFEST, Manifest, Origin, Row, Set, wave},
    telephony::sip::voice::Voice,
};
use countersign_sip::{Clip, caller::Recogniser, g711::Law};
use sha2::{Digest, Sha256};

/// Samples of one: 60 ms.
const LENGTH: usize = 480;

/// What can be told apart on a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sound {
    /// A piece of a sentence, by the words that it is found by, and as they are written.
    Piece { lang: Lang, key: String, written: String },
    /// Music, by its name.
    Music(&'static str),
    /// Whoever sits at the agent's telephone.
    Agent,
}

struct Made {
    folder: PathBuf,
    known: Vec<(Sound, Arc<Clip>)>,
}

/// Noise that is always the same for the same name, and loud from its first sample on.
fn noise(name: &str) -> Vec<i16> {
    let seed = Sha256::digest(name);
    let mut state = u64::from_be_bytes(*seed.first_chunk().unwrap()) | 1;
    (0..LENGTH).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let level = 2_000 + i16::try_from(state % 14_000).unwrap();
        if state & (1 << 40) == 0 { level } else { -level }
    }).collect()
}

/// A set for this script, below the folder of this build. It is there from an earlier run, or is put there
/// whole: another process may be at it.
fn folder(texts: &Texts) -> PathBuf {
    let script = texts.script();
    let named: String = script.iter().map(|line| format!("{}/{}/{}\n", line.lang.code(), line.id, line.text)).collect();
    let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let wanted = base.join(format!("recordings-{LENGTH}-{}", hex::encode(&Sha256::digest(named)[..6])));
    if wanted.join(MANIFEST).exists() {
        return wanted;
    }
    let making = base.join(format!("recordings-being-made-{}", std::process::id()));
    let mut list = Manifest { format: 1, ..Manifest::default() };
    list.origins = BTreeMap::from([("noise".to_owned(), Origin { made_by: "a test".into(), licence: "Apache-2.0".into() })]);
    for line in script {
        let file = wave::written(&noise(&format!("{}/{}", line.lang.code(), key(&line.text))), true);
        let row = Row { id: line.id, lang: line.lang, text: line.text, sha256: hex::encode(Sha256::digest(&file)), milliseconds: 60, origin: "noise".into() };
        let path = making.join(row.file());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
        list.recordings.push(row);
    }
    fs::write(making.join(MANIFEST), list.write()).unwrap();
    if fs::rename(&making, &wanted).is_err() {
        // Somebody was faster.
        fs::remove_dir_all(&making).unwrap();
    }
    wanted
}

fn made(texts: &Texts) -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = folder(texts);
        let pieces = Set::read(&folder).unwrap().all().unwrap().into_iter().map(|(row, clip)| {
            // A day is said in words, and written as a number.
            let written = row.id.strip_prefix("date.").unwrap_or(&row.text).trim_matches(['…', ' ']).to_owned();
            (Sound::Piece { lang: row.lang, key: key(&row.text), written }, clip)
        });
        let tunes = Music::ALL.into_iter().filter_map(|tune| Some((Sound::Music(tune.name()), Clip::from_samples(music::samples(tune)?).unwrap())));
        let known = pieces.chain(tunes).chain([(Sound::Agent, agent())]).collect();
        Made { folder, known }
    })
}

/// These recordings, as an adapter speaks with them.
pub fn voice(texts: &Texts) -> Voice { Voice::new(Some(Set::read(&made(texts).folder).unwrap()), Vec::new()) }

/// What an agent says, over and over.
pub fn agent() -> Arc<Clip> { Clip::from_samples(noise("an agent").into_iter().chain(std::iter::repeat_n(0, LENGTH * 2))).unwrap() }

/// An ear that knows them.
pub fn ear(texts: &Texts) -> Recogniser<Sound> { Recogniser::new(made(texts).known.iter().cloned(), Law::Mu) }

/// What is in a WAV file, as an ear on a telephone line hears it.
pub fn heard(ear: &mut Recogniser<Sound>, wav: &[u8]) -> Vec<Sound> { ear.hear(Clip::from_wav(wav).unwrap().bytes(Law::Mu)) }

/// The pieces that these directives say, in their order.
pub fn pieces(texts: &Texts, directives: &[Directive]) -> Vec<(Lang, Secret)> {
    let said = directives.iter().filter_map(|directive| if let Directive::Say { prompt, lang } = directive { Some(texts.said(*lang, prompt)) } else { None }).flatten();
    said.flat_map(|said| {
        let parts = said.sentences.into_iter().flat_map(|sentence| sentence.parts);
        parts.flat_map(|part| match part {
            Part::Words(words) => vec![key(&words)],
            Part::Spelled(groups) => groups.into_iter().flatten().map(|letter| key(&letter)).collect(),
            Part::Rest => Vec::new(),
        }).map(|words| (said.lang, Secret::new(words))).collect::<Vec<_>>()
    }).collect()
}

/// What was heard as text, a run of each language.
pub fn text(heard: &[Sound]) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::new();
    for sound in heard {
        let Sound::Piece { lang, written, .. } = sound else { continue };
        match out.last_mut() {
            Some((last, text)) if last == lang.code() => {
                text.push(' ');
                text.push_str(written);
            }
            _ => out.push((lang.code().to_owned(), written.clone())),
        }
    }
    out
}

/// Words without what is not to be heard: punctuation.
pub fn plain(text: &str) -> String {
    let bare: String = text.chars().map(|c| if ".,;:?!…".contains(c) { ' ' } else { c }).collect();
    bare.split_whitespace().collect::<Vec<_>>().join(" ")
}
