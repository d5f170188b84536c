//! Labelled calls in a folder: who speaks in which file. The folder may come from anybody, so links are
//! not followed, nothing outside is read, and what is wrong with a file is said and the rest goes on.

use std::{
    collections::BTreeSet,
    fs,
    io::Read as _,
    path::{Component, Path, PathBuf},
};

use countersign_voice::{
    Audio, AudioError,
    quality::{Problem, Sound},
    score::Speech,
};
use serde::Serialize;

use crate::Failure;

/// Longest file of sound in bytes: a minute at 48000 Hz has 5.8 MB.
const MOST_BYTES: u64 = 8 << 20;
/// Longest list in bytes.
const MOST_LIST: u64 = 16 << 20;
/// Most calls: of each some 50 kB are kept until all are compared.
const MOST_CALLS: usize = 20_000;
/// Longest name of a person or phrase.
const LONGEST: usize = 100;
/// The list in a folder.
const LIST: &str = "calls.csv";
/// The folder of recordings in which nobody speaks, and what a list says of one.
pub const SPOOF: &str = "spoof";
/// What a list may say of a call.
const COLUMNS: [&str; 6] = ["speaker", "phrase", "kind", "file", "role", "language"];

/// What a call is for, if the list says so.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The template is made of it.
    Enrol,
    /// It is compared with templates.
    Test,
    /// Nobody speaks: it was synthesised, or played from a recording. It is compared with nobody.
    Spoof,
}

/// One recording and who it is.
pub struct Call {
    /// Below the folder.
    pub file: PathBuf,
    /// Who speaks; of [`Role::Spoof`], what made it.
    pub speaker: String,
    /// What is said, in lower case; empty where it is free.
    pub phrase: String,
    /// Whether the words are given.
    pub speech: Speech,
    /// What it is for.
    pub role: Option<Role>,
    /// In which language, if the list says so.
    pub language: Option<String>,
}

/// Something that is not part of what was measured.
#[derive(Serialize)]
pub struct LeftOut {
    /// A file, a line of the list, or a person.
    pub file: String,
    /// Why, and what to do.
    pub why: String,
}

impl LeftOut {
    /// With a name that cannot steer a terminal.
    pub fn new(file: impl AsRef<str>, why: impl Into<String>) -> Self { Self { file: plain(file.as_ref()), why: why.into() } }
}

/// All calls of a folder.
pub struct Folder {
    /// Where it really is.
    pub root: PathBuf,
    /// In the order of their names, or of the list.
    pub calls: Vec<Call>,
    /// Those in which nobody speaks.
    pub spoofed: Vec<Call>,
    /// What is no call.
    pub left_out: Vec<LeftOut>,
}

impl Folder {
    /// Reads the list if there is one, and the names of the files otherwise.
    pub fn read(dir: &Path, list: Option<&Path>) -> Result<Self, Failure> {
        let root = fs::canonicalize(dir).map_err(|e| format!("cannot read {}: {e}", dir.display()))?;
        if !root.is_dir() {
            return Err(format!("{} is not a folder: give the folder that holds the calls", dir.display()).into());
        }
        let mut folder = Self { root, calls: Vec::new(), spoofed: Vec::new(), left_out: Vec::new() };
        let own = folder.root.join(LIST);
        match list.or_else(|| own.is_file().then_some(&own)) {
            Some(list) => folder.listed(list)?,
            None => folder.walk()?,
        }
        if folder.calls.is_empty() {
            for left_out in folder.left_out.iter().take(10) {
                anstream::eprintln!("{}: {}", left_out.file, left_out.why);
            }
            let root = folder.root.display();
            return Err(format!("there are no calls in {root}: make a folder for each person with their recordings, or a list, {LIST}; docs/voice.md shows both").into());
        }
        if folder.calls.len() > MOST_CALLS {
            return Err(format!("{} calls are more than {MOST_CALLS}: take some of each person", folder.calls.len()).into());
        }
        (folder.spoofed, folder.calls) = folder.calls.into_iter().partition(|call| call.role == Some(Role::Spoof));
        Ok(folder)
    }

    fn listed(&mut self, list: &Path) -> Result<(), Failure> {
        let name = list.display().to_string();
        let bytes = bounded(list, MOST_LIST).map_err(|why| format!("cannot read {name}: {why}"))?;
        let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(bytes.as_slice());
        let head = reader.headers().map_err(|e| format!("{name} is not a list in CSV: {e}"))?.clone();
        if let Some(unknown) = head.iter().find(|column| !COLUMNS.contains(column)) {
            return Err(format!("{name} has a column {}: known are {}", plain(unknown), COLUMNS.join(", ")).into());
        }
        let place = |column: &str| head.iter().position(|other| other == column);
        let (Some(speaker), Some(kind), Some(file)) = (place("speaker"), place("kind"), place("file")) else {
            return Err(format!("{name} needs the columns speaker, kind and file in its first line").into());
        };
        let (phrase, role, language) = (place("phrase"), place("role"), place("language"));
        let mut seen = BTreeSet::new();
        for (number, row) in reader.records().enumerate() {
            let line = format!("{name}, line {}", number + 2);
            let row = match row {
                Ok(row) if row.len() == head.len() => row,
                Ok(row) => {
                    self.left_out.push(LeftOut::new(line, format!("{} fields, the first line has {}: quote texts with commas", row.len(), head.len())));
                    continue;
                }
                Err(e) => {
                    self.left_out.push(LeftOut::new(line, format!("{e}: save the list as UTF-8")));
                    continue;
                }
            };
            let field = |place: usize| row.get(place).unwrap_or_default();
            let optional = |place: Option<usize>| place.map(field).filter(|text| !text.is_empty());
            let call = call(field(speaker), optional(phrase), field(kind), field(file), optional(role), optional(language));
            match call {
                Ok(call) if !seen.insert(call.file.clone()) => self.left_out.push(LeftOut::new(line, "this file is already in the list: a call has one speaker")),
                Ok(call) => self.calls.push(call),
                Err(why) => self.left_out.push(LeftOut::new(line, why)),
            }
        }
        Ok(())
    }

    /// `person/file` is free speech, `person/phrase/file` is a phrase. `spoof/maker/file` is nobody, and
    /// `spoof/file` too.
    fn walk(&mut self) -> Result<(), Failure> {
        let root = self.root.clone();
        for (speaker, path, is_dir) in entries(&root)? {
            if !is_dir {
                if path.is_symlink() {
                    self.left_out.push(LeftOut::new(&speaker, "is a link: put the folder itself there"));
                } else if sound(&path) {
                    self.left_out.push(LeftOut::new(&speaker, "belongs to nobody: put it into a folder with the name of the person"));
                }
                continue;
            }
            if speaker.chars().count() > LONGEST {
                self.left_out.push(LeftOut::new(&speaker, format!("a name of more than {LONGEST} characters: shorten it")));
                continue;
            }
            for (name, path, is_dir) in entries(&path)? {
                if !is_dir {
                    self.found(Path::new(&speaker).join(&name), &speaker, "");
                    continue;
                }
                for (file, _, is_dir) in entries(&path)? {
                    let below = Path::new(&speaker).join(&name).join(&file);
                    if is_dir {
                        self.left_out.push(LeftOut::new(below.to_string_lossy(), "a folder too deep: person/phrase/file is the deepest"));
                    } else {
                        self.found(below, &speaker, &name);
                    }
                }
            }
            if self.calls.len() > MOST_CALLS {
                break;
            }
        }
        Ok(())
    }

    fn found(&mut self, file: PathBuf, speaker: &str, phrase: &str) {
        if !sound(&file) {
            self.left_out.push(LeftOut::new(file.to_string_lossy(), "neither .wav nor .ul (mu-law) nor .al (A-law)"));
            return;
        }
        if speaker == SPOOF {
            let maker = if phrase.is_empty() { speaker } else { phrase };
            self.calls.push(Call { file, speaker: maker.to_owned(), phrase: String::new(), speech: Speech::Free, role: Some(Role::Spoof), language: None });
            return;
        }
        let speech = if phrase.is_empty() { Speech::Free } else { Speech::SamePhrase };
        self.calls.push(Call { file, speaker: speaker.to_owned(), phrase: phrase.to_lowercase(), speech, role: None, language: None });
    }
}

/// A row of a list.
fn call(speaker: &str, phrase: Option<&str>, kind: &str, file: &str, role: Option<&str>, language: Option<&str>) -> Result<Call, String> {
    let short = |what: &str, text: &str| if (1..=LONGEST).contains(&text.chars().count()) { Ok(()) } else { Err(format!("`{what}` has to have 1 to {LONGEST} characters")) };
    short("speaker", speaker)?;
    let speech = match kind {
        "same-phrase" => Speech::SamePhrase,
        "free" => Speech::Free,
        _ => return Err("`kind` is same-phrase or free".into()),
    };
    let role = match role {
        None => None,
        Some("enrol") => Some(Role::Enrol),
        Some("test") => Some(Role::Test),
        Some(SPOOF) => Some(Role::Spoof),
        Some(_) => return Err("`role` is enrol, test, spoof or nothing".into()),
    };
    let phrase = match (speech, phrase) {
        // What is said in them is not compared.
        _ if role == Some(Role::Spoof) => String::new(),
        (Speech::Free, _) => String::new(),
        (Speech::SamePhrase, Some(phrase)) => {
            short("phrase", phrase)?;
            phrase.to_lowercase()
        }
        (Speech::SamePhrase, None) => return Err("`phrase` says which words: any name for them will do".into()),
    };
    let file = PathBuf::from(file);
    if file.as_os_str().is_empty() || !file.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err("`file` has to be a path within the folder, without ..".into());
    }
    Ok(Call { file, speaker: speaker.to_owned(), phrase, speech, role, language: language.map(str::to_lowercase) })
}

/// Names, paths, and whether they are folders, in order; what begins with a dot is not looked at.
fn entries(dir: &Path) -> Result<Vec<(String, PathBuf, bool)>, Failure> {
    let read = |e: std::io::Error| format!("cannot read {}: {e}", plain(&dir.to_string_lossy()));
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(read)? {
        let entry = entry.map_err(read)?;
        // Of the entry itself: a link is no folder, and is named when it is to be read.
        let is_dir = entry.file_type().map_err(read)?.is_dir();
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            found.push((name, entry.path(), is_dir));
        }
    }
    found.sort();
    Ok(found)
}

fn ending(path: &Path) -> String { path.extension().map(|end| end.to_string_lossy().to_lowercase()).unwrap_or_default() }

fn sound(path: &Path) -> bool { matches!(ending(path).as_str(), "wav" | "ul" | "ulaw" | "al" | "alaw") }

/// The bytes of a plain file of at most `most`.
pub fn bounded(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let meta = fs::symlink_metadata(path).map_err(|e| e.to_string())?;
    if meta.is_symlink() {
        return Err("is a link: put the file itself there".into());
    }
    // A pipe or a device might never end.
    if !meta.is_file() {
        return Err("is not a file".into());
    }
    if meta.len() > most {
        return Err(format!("has {} MB, {} are the most", meta.len() >> 20, most >> 20));
    }
    let mut bytes = Vec::new();
    // It may have grown since.
    fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)).map_err(|e| e.to_string())?;
    if bytes.is_empty() { Err("is empty: record it again".into()) } else { Ok(bytes) }
}

/// The sound of a file below `root`, which has been made canonical.
pub fn load_below(root: &Path, file: &Path) -> Result<Audio, String> {
    let path = root.join(file);
    // A link on the way would lead elsewhere.
    let real = fs::canonicalize(&path).map_err(|e| e.to_string())?;
    if real != path {
        return Err("is a link, or in a folder that is one: put the file itself there".into());
    }
    load(&path)
}

/// The sound of a file, by the end of its name.
pub fn load(path: &Path) -> Result<Audio, String> {
    let of_minutes = |why: String| if why.contains(" MB") { format!("{why}: cut out the answer to one prompt, 60 s at most") } else { why };
    let bytes = bounded(path, MOST_BYTES).map_err(of_minutes)?;
    let audio = match ending(path).as_str() {
        "wav" => Audio::from_wav(&bytes),
        "ul" | "ulaw" => Audio::from_mulaw(&bytes),
        "al" | "alaw" => Audio::from_alaw(&bytes),
        _ => return Err("neither .wav nor .ul (mu-law) nor .al (A-law): name it by what it is".into()),
    };
    audio.map_err(|e| match e {
        AudioError::NotWav(_) => format!("{e}: export it again as WAV, 16 bit, mono"),
        e => e.to_string(),
    })
}

/// What is wrong with sound, and what to do.
pub fn problem(problem: &Problem) -> String {
    match problem {
        Problem::NoSpeech(Sound::Silence) => "silence: check what was recorded".into(),
        Problem::NoSpeech(Sound::Tones) => "keys or tones and no speech: cut them off".into(),
        Problem::NoSpeech(Sound::Steady) => "music or hum and no speech: record the caller alone".into(),
        Problem::NoSpeech(Sound::Noise) => "noise and no speech: check the format and what was recorded".into(),
        Problem::TooShort(seconds) => format!("{seconds:.1} s of speech: ask for a longer answer"),
        Problem::TooNoisy(decibels) => format!("speech is only {decibels:.0} dB above the noise: record it in a quieter place"),
        Problem::Clipped(share) => format!("overdriven, {:.1}% of it: record it at a lower level", share * 100.0),
    }
}

/// Text from somebody else's file names and lists, without what steers a terminal or turns directions.
pub fn plain(text: &str) -> String {
    let steers = |c: char| c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2028}' | '\u{2029}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}
