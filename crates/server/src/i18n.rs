//! Every word that a customer hears or reads, out of `locales/<lang>/{voice,text,mail}.ftl`.
//!
//! The texts are embedded and checked by [`Texts::load`]: a message that one language lacks stops
//! the server at its start, not a call in its middle. What is said depends on prompts and actions
//! alone; no value of an account can get into a text, because no type here carries one.

mod gsm;
mod said;
#[cfg(test)]
mod tests;
mod words;

use std::{collections::BTreeSet, fmt, path::Path};

use countersign_core::{
    action::{Action, Verb},
    factor::Pepper,
    message::Body,
    prompt::{Lang, Prompt},
    secret::Secret,
    time::Timestamp,
};
use fluent_bundle::{FluentArgs, FluentResource, concurrent::FluentBundle};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use unic_langid::LanguageIdentifier;

pub use gsm::segments;
pub use said::{Line, Part, Said, Sentence, key};

type Bundle = FluentBundle<FluentResource>;

/// Where on the portal a change is undone: `{link_base}/undo/{token}`.
pub const UNDO_PATH: &str = "/undo/";
/// Where on the portal the customer says "this wasn't me": `{link_base}/not-me/{token}`.
pub const REPORT_PATH: &str = "/not-me/";

/// What a path segment may hold unescaped (RFC 3986, unreserved).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Who speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Company {
    /// The name that customers know. Up to 20 characters of GSM-7 keep a texted code in one segment.
    pub name: String,
    /// The telephone number that customers call to report fraud; up to 16 characters, as above.
    pub fraud_line: String,
    /// Address of the portal, such as `https://my.example.com`; links in messages begin with it.
    pub link_base: String,
}

/// Why texts could not be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// A setting cannot be used.
    #[error("company.{field}: {rule}")]
    Company {
        /// Which.
        field: &'static str,
        /// What it must be like.
        rule: &'static str,
    },
    /// A file of `locales/` is not well-formed.
    #[error("locales/{lang}/{file}.ftl: {why}")]
    Broken {
        /// Language code.
        lang: &'static str,
        /// Name of the file.
        file: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A file of the company's own words cannot be read.
    #[error("company.words: cannot read {path}: {why}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        why: String,
    },
    /// A file of the company's own words cannot be used.
    #[error("company.words: {path}: {why}")]
    Words {
        /// Which.
        path: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// Two languages differ in their messages.
    #[error("locales/{lang}: message `{id}` is missing here, but not in another language")]
    Missing {
        /// Language code.
        lang: &'static str,
        /// The message.
        id: String,
    },
}

/// An e-mail, plain text.
#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    /// One line.
    pub subject: String,
    /// Paragraphs.
    pub text: String,
}

/// Masked: the text may hold a link that works.
impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "Mail({:?}, …)", self.subject) }
}

/// All texts in all languages.
pub struct Texts {
    company: Company,
    codes: Option<Pepper>,
    /// Where a company has words of its own: ours.
    ours: Option<Box<Texts>>,
    en: Bundle,
    es: Bundle,
    de: Bundle,
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "Texts({:?})", self.company) }
}

/// The embedded files of a language, with their names.
fn files(lang: Lang) -> [(&'static str, &'static str); 3] {
    match lang {
        Lang::En => [
            ("voice", include_str!("../../../locales/en/voice.ftl")),
            ("text", include_str!("../../../locales/en/text.ftl")),
            ("mail", include_str!("../../../locales/en/mail.ftl")),
        ],
        Lang::Es => [
            ("voice", include_str!("../../../locales/es/voice.ftl")),
            ("text", include_str!("../../../locales/es/text.ftl")),
            ("mail", include_str!("../../../locales/es/mail.ftl")),
        ],
        Lang::De => [
            ("voice", include_str!("../../../locales/de/voice.ftl")),
            ("text", include_str!("../../../locales/de/text.ftl")),
            ("mail", include_str!("../../../locales/de/mail.ftl")),
        ],
    }
}

/// The messages of a file: in Fluent an identifier at the beginning of a line opens one.
fn ids(source: &str) -> impl Iterator<Item = &str> {
    source
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_alphabetic() || c == '-'))
        .filter_map(|line| line.split_once('=').map(|(id, _)| id.trim()))
}

fn all_ids(lang: Lang) -> BTreeSet<&'static str> { files(lang).into_iter().flat_map(|(_, source)| ids(source)).collect() }

fn bundle(lang: Lang) -> Result<Bundle, TextError> {
    let broken = |file, why: String| TextError::Broken { lang: lang.code(), file, why };
    let locale: LanguageIdentifier = lang.code().parse().map_err(|why| broken("*", format!("{why:?}")))?;
    let mut bundle = Bundle::new_concurrent(vec![locale]);
    // Marks around arguments are for screens with mixed writing directions; a synthesiser may
    // trip over them, and GSM-7 has none.
    bundle.set_use_isolating(false);
    for (file, source) in files(lang) {
        let resource = FluentResource::try_new(source.to_owned()).map_err(|(_, why)| broken(file, format!("{why:?}")))?;
        bundle.add_resource(resource).map_err(|why| broken(file, format!("{why:?}")))?;
    }
    Ok(bundle)
}

impl Company {
    fn check(mut self) -> Result<Self, TextError> {
        let refuse = |field, rule| Err(TextError::Company { field, rule });
        let plain = |text: &str| !text.trim().is_empty() && !text.chars().any(char::is_control);
        if !plain(&self.name) {
            return refuse("name", "write the name that customers know, on one line");
        }
        if !plain(&self.fraud_line) || !self.fraud_line.contains(|c: char| c.is_ascii_digit()) {
            return refuse("fraud_line", "write the telephone number for reporting fraud, as customers dial it");
        }
        let host = self.link_base.strip_prefix("https://").or_else(|| self.link_base.strip_prefix("http://"));
        // ASCII only: an address must come through the GSM alphabet unchanged.
        if !host.is_some_and(|host| host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '['))
            || !self.link_base.chars().all(|c| c.is_ascii_graphic() && !"\"<>\\^`{|}?#".contains(c))
        {
            return refuse("link_base", "write the portal's address, beginning with https://, in ASCII, without ? or #");
        }
        self.link_base.truncate(self.link_base.trim_end_matches('/').len());
        Ok(self)
    }
}

/// The message of a prompt: its name in `locales`, and for telephone systems that play recordings.
pub fn prompt_id(prompt: &Prompt) -> &'static str {
    match prompt {
        Prompt::Welcome => "welcome",
        Prompt::ChooseLanguage => "choose-language",
        Prompt::Recognised { upcoming: None } => "recognised",
        Prompt::Recognised { upcoming: Some(_) } => "recognised-upcoming",
        Prompt::Menu => "menu",
        Prompt::EnterServiceCode => "enter-service-code",
        Prompt::EnterAccountNumber => "enter-account-number",
        Prompt::EnterPostalCode => "enter-postal-code",
        Prompt::Noted => "noted",
        Prompt::EnterSmsCode => "enter-sms-code",
        Prompt::EnterVoiceCode => "enter-voice-code",
        Prompt::EnterTotp => "enter-totp",
        Prompt::EnterHotp => "enter-hotp",
        Prompt::EnterPin => "enter-pin",
        Prompt::SayVerbalPassword => "say-verbal-password",
        Prompt::EnterBackupCode => "enter-backup-code",
        Prompt::OneMoment => "one-moment",
        Prompt::ApproveInPortal { .. } => "approve-in-portal",
        Prompt::ApproveWithPasskey => "approve-with-passkey",
        Prompt::ApproveAtProvider { .. } => "approve-at-provider",
        Prompt::TypeInPortal { .. } => "type-in-portal",
        Prompt::ApproveHelp => "approve-help",
        Prompt::CallBack => "call-back",
        Prompt::WeCall => "we-call",
        Prompt::ProofHelp => "proof-help",
        Prompt::TryAgain => "try-again",
        Prompt::NoMoreTries => "no-more-tries",
        Prompt::Verified => "verified",
        Prompt::StepUp { .. } => "step-up",
        Prompt::VoiceConsent => "voice-consent",
        Prompt::VoiceSay => "voice-say",
        Prompt::VoiceSayAgain => "voice-say-again",
        Prompt::VoiceOnceMore => "voice-once-more",
        Prompt::VoiceNoSpeech => "voice-no-speech",
        Prompt::VoiceTooShort => "voice-too-short",
        Prompt::VoiceTooNoisy => "voice-too-noisy",
        Prompt::VoiceTooLoud => "voice-too-loud",
        Prompt::VoiceNotTheSame => "voice-not-the-same",
        Prompt::VoiceThanks => "voice-thanks",
        Prompt::VoiceDigitsToo => "voice-digits-too",
        Prompt::VoiceDigits { .. } => "voice-digits",
        Prompt::VoiceNotApart => "voice-not-apart",
        Prompt::VoiceKept => "voice-kept",
        Prompt::VoiceAsYouLike => "voice-as-you-like",
        Prompt::VoiceNotNow => "voice-not-now",
        Prompt::BackToAgent => "back-to-agent",
        Prompt::ChooseMusic => "choose-music",
        Prompt::Waiting => "waiting",
        Prompt::WaitingSpecialist => "waiting-specialist",
        Prompt::Connecting => "connecting",
        Prompt::NotUnderstood => "not-understood",
        Prompt::NothingHeard => "nothing-heard",
        Prompt::Goodbye => "goodbye",
        Prompt::CannotHelp => "cannot-help",
        Prompt::NobodyFree => "nobody-free",
        Prompt::WeRingBack => "we-ring-back",
        Prompt::RingingBack => "ringing-back",
        Prompt::OnlineOnly => "online-only",
    }
}

/// What the portal says around the receipt of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiptText {
    /// The link to it.
    Link,
    /// What one is.
    About,
    /// The call goes on, or its end is not in the log yet.
    NotYet,
    /// Too many were asked for.
    Enough,
    /// The account is frozen.
    Frozen,
}

impl ReceiptText {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Link, Self::About, Self::NotYet, Self::Enough, Self::Frozen];

    fn id(self) -> &'static str {
        match self {
            Self::Link => "receipt-link",
            Self::About => "receipt-about",
            Self::NotYet => "receipt-not-yet",
            Self::Enough => "receipt-enough",
            Self::Frozen => "receipt-frozen",
        }
    }
}

/// A phrase for an action in one of three roles.
#[derive(Clone, Copy)]
enum Role {
    /// What the caller wants: "change the phone number on your account".
    Wanted,
    /// Why a code was texted, in few letters: "change your phone".
    Purpose,
    /// What was done: "The phone number on your account was changed".
    Done,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Wanted => "action",
            Self::Purpose => "for",
            Self::Done => "done",
        }
    }
}

impl Texts {
    /// Reads and compares the embedded texts.
    pub fn load(company: Company) -> Result<Self, TextError> {
        let company = company.check()?;
        let everywhere: BTreeSet<_> = Lang::ALL.into_iter().flat_map(all_ids).collect();
        for lang in Lang::ALL {
            if let Some(id) = everywhere.difference(&all_ids(lang)).next() {
                return Err(TextError::Missing { lang: lang.code(), id: (*id).to_owned() });
            }
        }
        Ok(Self { company, codes: None, ours: None, en: bundle(Lang::En)?, es: bundle(Lang::Es)?, de: bundle(Lang::De)? })
    }

    /// The same, with words of the company's own in place of some of ours: files `LANG/voice.ftl`,
    /// `LANG/text.ftl` and `LANG/mail.ftl` below `folder`, each with the messages that shall be others.
    ///
    /// # Errors
    /// A folder without such a file, a file that is not well-formed, a message that there is none of,
    /// or one that leaves out or makes up a value, such as the code of a texted code.
    pub fn with_words(company: Company, folder: Option<&Path>) -> Result<Self, TextError> {
        let mut texts = Self::load(company.clone())?;
        let Some(folder) = folder else { return Ok(texts) };
        texts.ours = Some(Box::new(Self::load(company)?));
        let mut found = false;
        for lang in Lang::ALL {
            for (file, ours) in files(lang) {
                let path = folder.join(lang.code()).join(format!("{file}.ftl"));
                let name = path.display().to_string();
                let source = match std::fs::read_to_string(&path) {
                    Ok(source) => source,
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                    Err(e) => return Err(TextError::Read { path: name, why: e.to_string() }),
                };
                found = true;
                let broken = |why: String| TextError::Words { path: name.clone(), why };
                words::check(&source, ours).map_err(broken)?;
                let resource = FluentResource::try_new(source).map_err(|(_, why)| broken(format!("{why:?}")))?;
                texts.bundle_mut(lang).add_resource_overriding(resource);
            }
        }
        if !found {
            return Err(TextError::Words { path: folder.display().to_string(), why: "has none of en/voice.ftl, en/text.ftl, en/mail.ftl, or the same in es and de".into() });
        }
        Ok(texts)
    }

    fn bundle_mut(&mut self, lang: Lang) -> &mut Bundle {
        match lang {
            Lang::En => &mut self.en,
            Lang::Es => &mut self.es,
            Lang::De => &mut self.de,
        }
    }

    /// The same, able to say codes that are derived from this pepper.
    pub fn with_codes(self, pepper: Pepper) -> Self {
        let ours = self.ours.map(|ours| Box::new(ours.with_codes(pepper.clone())));
        Self { codes: Some(pepper), ours, ..self }
    }

    /// What is said, as one text. [`Prompt::ChooseLanguage`] is all languages in a row.
    pub fn prompt(&self, lang: Lang, prompt: &Prompt) -> String {
        self.spoken(lang, prompt).into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(" ")
    }

    /// What is said, each part with the language of the voice that should say it.
    pub fn spoken(&self, lang: Lang, prompt: &Prompt) -> Vec<(Lang, String)> {
        self.said(lang, prompt).into_iter().map(|said| (said.lang, said.text)).collect()
    }

    /// What the caller wants, to follow "to …": "change the phone number on your account". An
    /// action without a wording of its own gets one for its kind, never its name.
    pub fn action(&self, lang: Lang, action: &Action) -> String { self.phrase(lang, Role::Wanted, action) }

    /// What was done, without a full stop: "The phone number on your account was changed".
    pub fn was_done(&self, lang: Lang, action: &Action) -> String { self.phrase(lang, Role::Done, action) }

    /// The text message, in GSM-7 if its letters allow.
    pub fn sms(&self, lang: Lang, body: &Body) -> String {
        let mut args = self.args();
        let text = match body {
            Body::Code { code, action, .. } => {
                args.set("code", code.expose());
                match action {
                    Some(action) => {
                        args.set("purpose", self.phrase(lang, Role::Purpose, action));
                        self.text(lang, "sms-code", &args)
                    }
                    None => self.text(lang, "sms-code-start", &args),
                }
            }
            Body::Changed { action, undo } => {
                args.set("done", self.phrase(lang, Role::Done, action));
                match undo {
                    Some(token) => {
                        args.set("link", self.undo_link(token));
                        self.text(lang, "sms-changed", &args)
                    }
                    None => self.text(lang, "sms-changed-final", &args),
                }
            }
            Body::Summary { actions, report } => {
                let done = self.done(lang, actions);
                args.set("link", self.report_link(report));
                args.set("done", done.join(". "));
                args.set("count", done.len());
                let full = gsm::fold(&self.text(lang, "sms-summary", &args));
                if done.len() == 1 || segments(&full) <= 2 { full } else { self.text(lang, "sms-summary-many", &args) }
            }
            Body::Online { action } => {
                args.set("action", self.action(lang, action));
                args.set("link", self.company.link_base.as_str());
                self.text(lang, "sms-online", &args)
            }
            Body::ChangedOnline { action, report } => {
                args.set("done", self.phrase(lang, Role::Done, action));
                args.set("link", self.report_link(report));
                self.text(lang, "sms-changed-online", &args)
            }
            // It has no words.
            Body::Ring { .. } => String::new(),
        };
        gsm::fold(&text)
    }

    /// The e-mail. It never holds a code, whatever it is asked for: e-mail is no out-of-band
    /// factor (NIST SP 800-63B-4 §3.1.3), so for a code it only tells that one was sent.
    pub fn mail(&self, lang: Lang, body: &Body) -> Mail {
        let mut args = self.args();
        let (subject, text) = match body {
            Body::Code { action, .. } => {
                args.set("action", self.wanted(lang, action.as_ref()));
                ("mail-code-subject", "mail-code-text")
            }
            Body::Changed { action, undo } => {
                args.set("done", self.phrase(lang, Role::Done, action));
                match undo {
                    Some(token) => {
                        args.set("link", self.undo_link(token));
                        ("mail-changed-subject", "mail-changed-text")
                    }
                    None => ("mail-changed-subject", "mail-changed-final-text"),
                }
            }
            Body::Summary { actions, report } => {
                let list: Vec<_> = self.done(lang, actions).into_iter().map(|done| format!("- {done}")).collect();
                args.set("list", list.join("\n"));
                args.set("link", self.report_link(report));
                ("mail-summary-subject", "mail-summary-text")
            }
            Body::Online { action } => {
                args.set("action", self.action(lang, action));
                args.set("link", self.company.link_base.as_str());
                ("mail-online-subject", "mail-online-text")
            }
            Body::ChangedOnline { action, report } => {
                args.set("done", self.phrase(lang, Role::Done, action));
                args.set("link", self.report_link(report));
                ("mail-changed-online-subject", "mail-changed-online-text")
            }
            Body::Ring { .. } => return Mail { subject: String::new(), text: String::new() },
        };
        Mail { subject: self.text(lang, subject, &args), text: self.text(lang, text, &args) }
    }

    /// What a customer reads first in the file of everything that is kept about them.
    pub fn about_download(&self, lang: Lang) -> String { self.text(lang, "download-about", &self.args()) }

    /// What the portal says around the receipt of a call.
    pub fn receipt(&self, lang: Lang, text: ReceiptText) -> String { self.text(lang, text.id(), &self.args()) }

    /// What is said when we ring the number on file, as one text.
    pub fn voice_code(&self, lang: Lang, body: &Body) -> String { self.rung(lang, body).map(|said| said.text).unwrap_or_default() }

    /// Weekday, day and month in UTC: "Thursday, June 4".
    pub fn day(&self, lang: Lang, at: Timestamp) -> String { self.made_day(lang, at).text }

    /// Where a change is undone.
    pub fn undo_link(&self, token: &Secret) -> String { self.link(UNDO_PATH, token) }

    /// Where the customer says "this wasn't me".
    pub fn report_link(&self, token: &Secret) -> String { self.link(REPORT_PATH, token) }

    /// Who speaks.
    pub fn company(&self) -> &Company { &self.company }

    fn link(&self, path: &str, token: &Secret) -> String {
        format!("{}{path}{}", self.company.link_base, utf8_percent_encode(token.expose(), SEGMENT))
    }

    fn wanted(&self, lang: Lang, action: Option<&Action>) -> String {
        action.map_or_else(|| self.text(lang, "action-start", &self.args()), |action| self.action(lang, action))
    }

    /// What was done, each thing once, in the order in which it was first done.
    fn done(&self, lang: Lang, actions: &[Action]) -> Vec<String> {
        let mut done: Vec<String> = Vec::new();
        for action in actions {
            let phrase = self.phrase(lang, Role::Done, action);
            if !done.contains(&phrase) {
                done.push(phrase);
            }
        }
        if done.is_empty() {
            done.push(self.text(lang, "done-nothing", &self.args()));
        }
        done
    }

    /// `action-change-phone` for `change:phone`; without such a message that of the verb.
    fn phrase(&self, lang: Lang, role: Role, action: &Action) -> String {
        let own = format!("{}-{}", role.name(), action.to_string().replace(':', "-"));
        let kind = match action.verb {
            Verb::View | Verb::Speak | Verb::Mask | Verb::Match => "view",
            Verb::Change => "change",
            Verb::Do => "do",
            Verb::Use | Verb::Reach => "other",
        };
        let known = !action.object.is_empty() && self.bundle(lang).has_message(&own);
        self.text(lang, &if known { own } else { format!("{}-{kind}", role.name()) }, &self.args())
    }

    fn bundle(&self, lang: Lang) -> &Bundle {
        match lang {
            Lang::En => &self.en,
            Lang::Es => &self.es,
            Lang::De => &self.de,
        }
    }

    fn args(&self) -> FluentArgs<'_> {
        let mut args = FluentArgs::new();
        args.set("company", self.company.name.as_str());
        args.set("fraud", self.company.fraud_line.as_str());
        args
    }

    /// A message in words. [`Texts::load`] and the tests see to it that it exists and has its
    /// arguments; if one were missing all the same, nothing is better than its name.
    fn text(&self, lang: Lang, id: &str, args: &FluentArgs<'_>) -> String {
        let bundle = self.bundle(lang);
        let pattern = bundle.get_message(id).and_then(|message| message.value());
        let mut errors = Vec::new();
        let text = pattern.map_or_else(String::new, |pattern| bundle.format_pattern(pattern, Some(args), &mut errors).into_owned());
        if cfg!(test) {
            assert!(pattern.is_some() && errors.is_empty(), "{id}: {errors:?}");
        }
        text
    }
}
