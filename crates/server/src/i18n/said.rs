//! What is said on the telephone, and what it is made of: sentences of fixed words and of values, so
//! that recordings can say them one after the other.
//!
//! The texts in `locales/` are the truth. A message is rendered twice, once with its values and once
//! with marks in their place, and split at the marks: nothing here knows Fluent's syntax, and a
//! company's own words are taken apart in the same way.

use std::{collections::BTreeSet, fmt};

use countersign_core::{
    factor::Alphabet,
    id::ChallengeId,
    message::Body,
    prompt::{Lang, Prompt},
    secret::Secret,
    time::Timestamp,
    voice::Row,
};
use fluent_bundle::{FluentArgs, FluentValue};

use super::{Role, Texts, files, ids, prompt_id};

/// The first mark for a value: the private use area of Unicode, which no text has.
const MARKS: u32 = 0xE000;
/// The letters on the keys of a telephone, from 2 on (ITU-T E.161).
const KEYS: [&str; 8] = ["ABC", "DEF", "GHI", "JKL", "MNO", "PQRS", "TUV", "WXYZ"];

/// One message, in one language.
pub struct Said {
    /// The language of the voice.
    pub lang: Lang,
    /// All of it, as it is written: for a screen, or a voice that reads.
    pub text: String,
    /// The same, taken apart.
    pub sentences: Vec<Sentence>,
    /// Where a company has words of its own: the same thing in ours, of which there are recordings.
    pub ours: Option<Box<Said>>,
}

/// One sentence.
pub struct Sentence {
    /// As it is written.
    pub text: String,
    /// What it is made of. Nothing: it cannot be taken apart.
    pub parts: Vec<Part>,
    /// What to say instead where nothing can say the company's name, which this has in it.
    pub unnamed: Option<String>,
    /// It holds a code, which is nobody's but the caller's.
    pub secret: bool,
}

/// A piece of a sentence.
#[derive(Clone, PartialEq, Eq)]
pub enum Part {
    /// Words, as they are written; `…` where the sentence goes on before or after.
    Words(String),
    /// Digits and the word for plus, one by one; a rest between groups.
    Spelled(Vec<Vec<String>>),
    /// As between two sentences.
    Rest,
}

/// Masked: it may hold a code.
impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "Said({:?}, {} sentences)", self.lang, self.sentences.len()) }
}

/// Masked: it may be a code.
impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Words(words) => write!(f, "Words({words:?})"),
            Self::Spelled(_) => f.write_str("Spelled"),
            Self::Rest => f.write_str("Rest"),
        }
    }
}

/// Something to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its name: that of the message, and which part of it.
    pub id: String,
    /// In which language.
    pub lang: Lang,
    /// What it says; `…` where a sentence goes on.
    pub text: String,
    /// It says the company's name.
    pub named: bool,
}

/// By what a recording is found: its words, without the punctuation around them. Texts that differ in
/// anything else need a recording of their own.
pub fn key(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().map(|word| word.trim_matches('…')).filter(|word| !word.is_empty()).collect();
    words.join(" ").trim_matches(['.', ',', ';', ':', ' ']).to_owned()
}

/// What is put into a message.
#[derive(Clone)]
enum Value {
    /// The company's name: fixed words, for one company.
    Name(String),
    /// A key to be pressed.
    Key(u8),
    /// A code, digit by digit.
    Code(Secret),
    /// Digits to be said after us, with a rest after each.
    Digits(Row),
    /// A telephone number, and the word for plus.
    Number(String, String),
    /// Phrases, each a sentence of its own if there are several.
    Phrases(Vec<String>),
    /// The day of the month, and how it sounds.
    Date(i64, String),
    /// Words that were taken apart already.
    Made(String, Vec<Part>),
}

impl Value {
    fn shown(&self) -> FluentValue<'static> {
        match self {
            Self::Name(name) => name.clone().into(),
            Self::Key(key) => FluentValue::from(*key),
            Self::Code(code) => spelled(code).into(),
            Self::Digits(row) => row.digits().map(|digit| digit.to_string()).join(", ").into(),
            Self::Number(number, plus) => dictated(number, plus).into(),
            Self::Phrases(phrases) => phrases.join(". ").into(),
            Self::Date(day, _) => FluentValue::from(*day),
            Self::Made(text, _) => text.clone().into(),
        }
    }

    fn written(&self) -> String {
        match self.shown() {
            FluentValue::String(text) => text.into_owned(),
            FluentValue::Number(number) => number.as_string().into_owned(),
            _ => String::new(),
        }
    }

    fn parts(&self) -> Vec<Part> {
        let letters = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        match self {
            Self::Name(name) => vec![Part::Words(name.clone())],
            Self::Key(key) => vec![Part::Spelled(vec![vec![key.to_string()]])],
            Self::Code(code) => vec![Part::Spelled(groups(&letters(&code.expose().split_whitespace().collect::<String>())))],
            Self::Digits(row) => vec![Part::Spelled(row.digits().iter().map(|digit| vec![digit.to_string()]).collect())],
            Self::Number(number, plus) => {
                let groups = number.split(|c: char| !c.is_alphanumeric() && c != '+').filter(|group| !group.is_empty());
                // Letters are said as what is to be pressed for them.
                let said = groups.map(|group| group.chars().map(|c| if c == '+' { plus.clone() } else { String::from(pressed(c)) }).collect());
                vec![Part::Spelled(said.collect())]
            }
            Self::Phrases(phrases) => {
                let mut parts: Vec<_> = phrases.iter().flat_map(|phrase| [Part::Rest, Part::Words(phrase.clone())]).collect();
                if !parts.is_empty() {
                    parts.remove(0);
                }
                parts
            }
            Self::Date(_, words) => vec![Part::Words(words.clone())],
            Self::Made(_, parts) => parts.clone(),
        }
    }
}

/// The key that bears this letter.
fn pressed(c: char) -> char {
    let letter = c.to_ascii_uppercase();
    ('2'..).zip(KEYS).find(|(_, letters)| letters.contains(letter)).map_or(c, |(key, _)| key)
}

/// Six digits as three and three, eight as four and four: what a person can keep in mind.
fn groups(letters: &[String]) -> Vec<Vec<String>> {
    let size = if letters.len() > 4 && letters.len().is_multiple_of(3) { 3 } else { 4 };
    letters.chunks(size).map(<[String]>::to_vec).collect()
}

/// `4, 0, 7, 1`: a synthesiser reads each alone.
pub(super) fn spelled(code: &Secret) -> String {
    code.expose().chars().filter(|c| !c.is_whitespace()).map(String::from).collect::<Vec<_>>().join(", ")
}

/// A telephone number for the ear: `+1 800 555 0199` becomes `plus 1, 8 0 0, 5 5 5, 0 1 9 9`.
pub(super) fn dictated(number: &str, plus: &str) -> String {
    let groups = number.split(|c: char| !c.is_alphanumeric() && c != '+').filter(|group| !group.is_empty());
    let said = groups.map(|group| {
        let mut out = String::new();
        let mut word = false;
        for c in group.chars() {
            // Letters of a vanity number stay together.
            if !(out.is_empty() || word && c.is_alphabetic()) {
                out.push(' ');
            }
            word = c.is_alphabetic();
            if c == '+' { out.push_str(plus) } else { out.push(c) }
        }
        out
    });
    said.collect::<Vec<_>>().join(", ")
}

/// A sentence that is being put together.
#[derive(Default)]
struct Draft {
    text: String,
    words: String,
    parts: Vec<Part>,
    named: bool,
    secret: bool,
}

impl Draft {
    /// The words so far are a part; `more` if the sentence goes on.
    fn close(&mut self, more: bool) {
        let words = std::mem::take(&mut self.words);
        let words = words.trim().trim_start_matches(['.', ',', ';', ':', '?', '!']).trim_start();
        if words.contains(char::is_alphanumeric) {
            let (before, after) = (if self.parts.is_empty() { "" } else { "… " }, if more { " …" } else { "" });
            self.parts.push(Part::Words(format!("{before}{words}{after}")));
        }
    }

    fn put(&mut self, value: &Value) {
        let text = value.written();
        self.text.push_str(&text);
        self.secret |= matches!(value, Value::Code(_));
        if matches!(value, Value::Name(_)) {
            self.named = true;
            self.words.push_str(&text);
        } else {
            self.close(true);
            self.parts.extend(value.parts());
        }
    }

    fn done(mut self, unnamed: &str) -> Option<Sentence> {
        self.close(false);
        let text = self.text.trim().to_owned();
        (!text.is_empty()).then(|| Sentence { text, parts: self.parts, unnamed: self.named.then(|| unnamed.to_owned()), secret: self.secret })
    }
}

impl Texts {
    /// What is said, each message with the language of the voice that should say it.
    /// [`Prompt::ChooseLanguage`] is all languages in a row.
    pub fn said(&self, lang: Lang, prompt: &Prompt) -> Vec<Said> {
        let id = prompt_id(prompt);
        let value = match prompt {
            Prompt::ChooseLanguage => {
                return (1_u8..).zip(Lang::ALL).map(|(key, lang)| {
                    let ours = self.ours.as_ref().map(|ours| ours.compose(lang, id, &[("key", Value::Key(key))]));
                    Said { ours: ours.map(Box::new), ..self.compose(lang, id, &[("key", Value::Key(key))]) }
                }).collect();
            }
            Prompt::Recognised { upcoming: Some(at) } => {
                let day = self.made_day(lang, *at);
                Some(("day", Value::Made(day.text, day.sentences.into_iter().flat_map(|s| s.parts).collect())))
            }
            Prompt::StepUp { action } => Some(("action", Value::Phrases(vec![self.action(lang, action)]))),
            Prompt::ApproveInPortal { code } | Prompt::ApproveAtProvider { code } => Some(("code", self.travelling(*code, Alphabet::Known))),
            Prompt::VoiceDigits { row } => Some(("digits", Value::Digits(*row))),
            Prompt::TypeInPortal { code } => Some(("code", self.travelling(*code, Alphabet::Spoken))),
            _ => None,
        };
        let ours = self.ours.as_ref().and_then(|ours| ours.said(lang, prompt).pop());
        vec![Said { ours: ours.map(Box::new), ..self.compose(lang, id, value.as_slice()) }]
    }

    /// What is said when we ring the number on file: the code, digit by digit and twice. Other
    /// messages are told without their links, which nobody can follow by ear. Nothing for what has no
    /// words.
    pub fn rung(&self, lang: Lang, body: &Body) -> Option<Said> {
        let (id, values) = match body {
            Body::Code { code, action, .. } => {
                ("call-code", vec![("code", Value::Code(code.clone())), ("action", Value::Phrases(vec![self.wanted(lang, action.as_ref())]))])
            }
            Body::Changed { action, .. } => ("call-notice", vec![("done", Value::Phrases(vec![self.phrase(lang, Role::Done, action)]))]),
            Body::Summary { actions, .. } => ("call-notice", vec![("done", Value::Phrases(self.done(lang, actions)))]),
            Body::Online { action } => ("call-online", vec![("action", Value::Phrases(vec![self.action(lang, action)]))]),
            Body::ChangedOnline { action, .. } => ("call-changed-online", vec![("done", Value::Phrases(vec![self.phrase(lang, Role::Done, action)]))]),
            Body::Ring { .. } => return None,
        };
        let ours = self.ours.as_ref().and_then(|ours| ours.rung(lang, body));
        Some(Said { ours: ours.map(Box::new), ..self.compose(lang, id, &values) })
    }

    /// A code that travels to the portal, as it is read out. Derived at the last moment: no stored
    /// answer holds it.
    fn travelling(&self, code: ChallengeId, alphabet: Alphabet) -> Value {
        Value::Code(self.codes.as_ref().map(|pepper| pepper.travel_code(code, alphabet)).unwrap_or_default())
    }

    /// Weekday, day and month in UTC: "Thursday, June 4".
    pub(super) fn made_day(&self, lang: Lang, at: Timestamp) -> Said {
        // The first of January 1970 was a Thursday; Monday is 1.
        let weekday = (at.unix().div_euclid(86_400) + 3).rem_euclid(7) + 1;
        let text = at.to_string();
        let mut date = text.split('T').next().unwrap_or("").rsplit('-').map(|part| part.parse::<i64>().unwrap_or(0));
        let (day, month) = (date.next().unwrap_or(0), date.next().unwrap_or(0));
        let named = |id, n| Value::Phrases(vec![self.numbered(lang, id, n)]);
        let values = [("weekday", named("weekday", weekday)), ("month", named("month", month)), ("date", Value::Date(day, self.numbered(lang, "date", day)))];
        self.compose(lang, "day", &values)
    }

    /// The name of a month, or of another thing that is counted.
    fn numbered(&self, lang: Lang, id: &str, n: i64) -> String {
        let mut args = FluentArgs::new();
        args.set("n", n);
        self.text(lang, id, &args)
    }

    /// A message with these values, whole and taken apart.
    fn compose(&self, lang: Lang, id: &str, values: &[(&str, Value)]) -> Said {
        let plus = self.text(lang, "plus", &FluentArgs::new());
        let mut values = values.to_vec();
        values.push(("company", Value::Name(self.company.name.clone())));
        values.push(("fraud", Value::Number(self.company.fraud_line.clone(), plus)));
        let (mut args, mut marked) = (FluentArgs::new(), FluentArgs::new());
        let mut known: Vec<(char, &Value)> = Vec::new();
        for (code, (name, value)) in (MARKS..).zip(&values) {
            let mark = char::from_u32(code).unwrap_or_default();
            args.set(*name, value.shown());
            marked.set(*name, String::from(mark));
            known.push((mark, value));
        }
        let (text, template) = (self.text(lang, id, &args), self.text(lang, id, &marked));
        let at = |c: char| known.iter().find(|(mark, _)| *mark == c).map(|(_, value)| *value);
        let filled: String = template.chars().map(|c| at(c).map_or_else(|| String::from(c), Value::written)).collect();
        if filled != text {
            // Words that change with their values: they cannot be taken apart.
            let secret = values.iter().any(|(_, value)| matches!(value, Value::Code(_)));
            return Said { lang, sentences: vec![Sentence { text: text.clone(), parts: Vec::new(), unnamed: None, secret }], text, ours: None };
        }
        let unnamed = self.text(lang, match id { "welcome" => "welcome-unnamed", "goodbye" => "goodbye-unnamed", _ => "hello-unnamed" }, &FluentArgs::new());
        let (mut sentences, mut draft) = (Vec::new(), Draft::default());
        let mut rest = template.chars().peekable();
        while let Some(c) = rest.next() {
            match at(c) {
                Some(value) => draft.put(value),
                None => {
                    draft.text.push(c);
                    draft.words.push(c);
                }
            }
            if ".?!".contains(c) && rest.peek().is_none_or(|next| next.is_whitespace()) {
                sentences.extend(std::mem::take(&mut draft).done(&unnamed));
            }
        }
        sentences.extend(draft.done(&unnamed));
        Said { lang, text, sentences, ours: None }
    }

    /// Everything that has to be recorded so that a caller hears nothing else: the fixed parts of every
    /// message, phrases for actions, days and digits, in the words of this company.
    pub fn script(&self) -> Vec<Line> {
        let mut out = Vec::new();
        for lang in Lang::ALL {
            let mut script = Script { lang, seen: BTreeSet::new(), lines: &mut out };
            let [(_, voice), (_, text), _] = files(lang);
            for id in ids(voice) {
                match id {
                    "weekday" | "month" | "date" => {
                        let last = match id { "weekday" => 7, "month" => 12, _ => 31 };
                        (1..=last).for_each(|n| script.add(format!("{id}.{n}"), self.numbered(lang, id, n), false));
                    }
                    _ if id.starts_with("action-") => script.add(id.to_owned(), format!("… {}", self.text(lang, id, &FluentArgs::new())), false),
                    _ => script.message(id, &self.bare(lang, id)),
                }
            }
            for id in ids(text).filter(|id| id.starts_with("done-")) {
                script.add(id.to_owned(), format!("{}.", self.text(lang, id, &FluentArgs::new())), false);
            }
            ('0'..='9').for_each(|c| script.add(format!("digit.{c}"), String::from(c), false));
        }
        out
    }

    /// A message of this name with values that are made up, to be listened to.
    pub fn sample(&self, lang: Lang, id: &str) -> Option<Said> {
        let [(_, voice), ..] = files(lang);
        ids(voice).find(|known| *known == id && !["weekday", "month", "date", "day"].contains(known))?;
        let day = self.made_day(lang, Timestamp(951_782_400_000));
        let values = [
            ("key", Value::Key(1)),
            ("code", Value::Code(Secret::new("407192"))),
            ("digits", Value::Made("4, 0, 7, 1, 9".into(), vec![Part::Spelled("40719".chars().map(|digit| vec![digit.to_string()]).collect())])),
            ("day", Value::Made(day.text, day.sentences.into_iter().flat_map(|s| s.parts).collect())),
            ("action", Value::Phrases(vec![self.text(lang, "action-change-phone", &FluentArgs::new())])),
            ("done", Value::Phrases(vec![self.text(lang, "done-change-phone", &FluentArgs::new())])),
        ];
        let ours = self.ours.as_ref().and_then(|ours| ours.sample(lang, id));
        Some(Said { ours: ours.map(Box::new), ..self.compose(lang, id, &values) })
    }

    /// A message with nothing in its places.
    fn bare(&self, lang: Lang, id: &str) -> Said {
        let names = ["key", "code", "digits", "day", "action", "done", "weekday", "month", "date"];
        self.compose(lang, id, &names.map(|name| (name, Value::Made(String::new(), Vec::new()))))
    }
}

struct Script<'a> {
    lang: Lang,
    seen: BTreeSet<String>,
    lines: &'a mut Vec<Line>,
}

impl Script<'_> {
    fn add(&mut self, id: String, text: String, named: bool) {
        if self.seen.insert(key(&text)) {
            self.lines.push(Line { id, lang: self.lang, text, named });
        }
    }

    /// What one message says besides values is counted, and what another says as well is not said again.
    fn message(&mut self, id: &str, said: &Said) {
        let words: Vec<_> = said.sentences.iter().flat_map(|sentence| {
            sentence.parts.iter().filter_map(|part| if let Part::Words(words) = part { Some((words.clone(), sentence.unnamed.is_some())) } else { None })
        }).collect();
        let alone = words.len() == 1;
        for (n, (text, named)) in (1..).zip(words) {
            self.add(if alone { id.to_owned() } else { format!("{id}.{n}") }, text, named);
        }
    }
}
