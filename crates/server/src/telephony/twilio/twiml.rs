//! Directives as TwiML. Everything that is not written here is escaped, and the same directives
//! always give the same document, so that a repeated webhook gets the same answer.
//!
//! **Recordings.** TwiML has no switch that pauses a recording. While a secret is gathered the
//! caller is outside the conference, so the agent hears no keys; but a recording of the whole call
//! (`<Record>`, "record from answer", a trunk's recorder) would hold the tones. Whoever turns
//! recording on must pause it over the REST API around a secret gather. Twilio also writes `Digits`
//! into its own request logs unless the account's PCI mode is on: docs for operators say to turn it on.

use std::fmt::Write;

use countersign_core::{
    prompt::{Directive, Lang, Music, Prompt},
    secret::Secret,
};

/// Times a piece of music plays before the call asks again what to do. The request for more is
/// also the safety net for a move of the call that got lost.
const MUSIC_LOOPS: u8 = 4;
/// Seconds of silence before the call asks again what to do.
const SILENCE: u8 = 30;
/// From this many digits in a row on, a text-to-speech voice would read a number, not digits.
const DIGIT_RUN: usize = 3;

/// The words of a prompt, each with the language to speak it in.
pub type Texts<'a> = dyn Fn(Lang, &Prompt) -> Vec<(Lang, String)> + 'a;

/// How a caller is listened to.
#[derive(Debug, Clone, Copy)]
pub struct Stream<'a> {
    /// Where Twilio opens a WebSocket, absolute and without a query, which Twilio does not take there.
    pub url: &'a str,
    /// Where the call asks what came of it once that is closed, or could not be opened, absolute.
    pub heard_url: &'a str,
}

/// What rendering needs besides the directives.
#[derive(Clone, Copy)]
pub struct Ctx<'a> {
    /// The words of a prompt, each with the language to speak it in.
    pub texts: &'a Texts<'a>,
    /// Where keys are posted, absolute; its query has the step number that makes a repeat harmless.
    pub action_url: &'a str,
    /// Where a waiting call asks what to do next, absolute.
    pub wait_url: &'a str,
    /// How the caller is listened to, if the machine asks for it and somebody can. `None`: nobody is heard.
    pub stream: Option<Stream<'a>>,
    /// Name of the conference of this call: random, so that nobody guesses their way in.
    pub conference: &'a str,
    /// The file of a piece of music, absolute. `None`: silence.
    pub music_url: &'a dyn Fn(Music) -> Option<String>,
    /// Twilio's voice for a language, such as `Polly.Joanna-Neural`. Without one, the account's default.
    pub voices: &'a [(Lang, String)],
}

/// The TwiML of these directives.
///
/// Words before a gather or a hold are inside it, so that a key interrupts them. A gather always
/// posts, also when nothing was keyed, so nothing after it is reached. A document that ends with
/// words, or is empty, makes Twilio hang up.
pub fn render(directives: &[Directive], ctx: &Ctx<'_>) -> String {
    let mut xml = Xml::new();
    let mut words: Vec<(Lang, String)> = Vec::new();
    for directive in directives {
        match directive {
            Directive::Say { prompt, lang } => words.extend((ctx.texts)(*lang, prompt)),
            Directive::Gather { max, timeout, secret: _ } => {
                gather(&mut xml, ctx.action_url, *max, *timeout, true);
                say_all(&mut xml, &mut words, ctx.voices);
                xml.close("Gather");
            }
            Directive::Listen { timeout, lang } => {
                listen(&mut xml, ctx.action_url, *timeout, *lang);
            }
            Directive::Record { .. } => record(&mut xml, &mut words, ctx),
            Directive::Hold { music } => hold(&mut xml, *music, &mut words, ctx),
            Directive::Bridge => {
                say_all(&mut xml, &mut words, ctx.voices);
                conference(&mut xml, ctx.conference, false);
            }
            Directive::HangUp => {
                say_all(&mut xml, &mut words, ctx.voices);
                xml.empty("Hangup", &[]);
            }
        }
    }
    say_all(&mut xml, &mut words, ctx.voices);
    xml.finish()
}

/// The TwiML of the agent's leg: into the conference of the call.
///
/// `ends_call`: when the agent hangs up, the caller's leg ends too. Move the caller out first
/// (keying a secret, another agent) when the call is to go on.
pub fn conference_for_agent(name: &str, ends_call: bool) -> String {
    let mut xml = Xml::new();
    conference(&mut xml, name, ends_call);
    xml.finish()
}

/// The TwiML of a call that reads out a code. Digits in a row are read one by one. Secret, because
/// it holds the code.
pub fn read_code(lang: Lang, text: &Secret) -> Secret {
    let mut xml = Xml::new();
    // The first second after answering is lost on many handsets.
    xml.empty("Pause", &[("length", "1")]);
    say(&mut xml, lang, &spaced(text.expose()), &[]);
    xml.empty("Hangup", &[]);
    Secret::new(xml.finish())
}

/// The language tag by which Twilio knows one of our languages.
pub fn tag(lang: Lang) -> &'static str {
    match lang {
        Lang::En => "en-US",
        Lang::Es => "es-ES",
        Lang::De => "de-DE",
    }
}

fn gather(xml: &mut Xml, action: &str, max: u8, timeout: u8, on_empty: bool) {
    // Twilio refuses 0 for both.
    let (max, timeout) = (max.max(1).to_string(), timeout.max(1).to_string());
    let on_empty = if on_empty { "true" } else { "false" };
    xml.open("Gather", &[
        ("input", "dtmf"), ("numDigits", &max), ("finishOnKey", "#"), ("timeout", &timeout),
        ("actionOnEmptyResult", on_empty), ("method", "POST"), ("action", action),
    ]);
}

/// A gather that listens, and that any key ends. No `hints`: they would put the password into Twilio's
/// logs and into whoever sees this document, for every call, said or not. No filter for rude words
/// either: it would put stars into somebody's password.
fn listen(xml: &mut Xml, action: &str, timeout: u8, lang: Lang) {
    let timeout = timeout.max(1).to_string();
    xml.open("Gather", &[
        ("input", "dtmf speech"), ("language", tag(lang)), ("speechTimeout", "auto"), ("profanityFilter", "false"), ("numDigits", "1"), ("finishOnKey", ""),
        ("timeout", &timeout), ("actionOnEmptyResult", "true"), ("method", "POST"), ("action", action),
    ]);
}

/// A stream that the caller is listened to on, after a gather of one key around the words: whoever wants
/// another way says so with a key at any time. Twilio goes on with the call when we close the stream. Where
/// nobody is heard it is told at once that nothing came, and the call goes on as ever.
fn record(xml: &mut Xml, words: &mut Vec<(Lang, String)>, ctx: &Ctx<'_>) {
    gather(xml, ctx.action_url, 1, 1, ctx.stream.is_none());
    say_all(xml, words, ctx.voices);
    xml.close("Gather");
    if let Some(Stream { url, heard_url }) = ctx.stream {
        xml.open("Connect", &[]);
        xml.empty("Stream", &[("url", url)]);
        xml.close("Connect");
        xml.text("Redirect", &[("method", "POST")], heard_url);
    }
}

/// A gather of one key around the music: a key changes it; otherwise the call asks again what to do.
fn hold(xml: &mut Xml, music: Music, words: &mut Vec<(Lang, String)>, ctx: &Ctx<'_>) {
    gather(xml, ctx.action_url, 1, 1, false);
    say_all(xml, words, ctx.voices);
    match (ctx.music_url)(music).filter(|_| music != Music::Silence) {
        Some(url) => xml.text("Play", &[("loop", &MUSIC_LOOPS.to_string())], &url),
        None => xml.empty("Pause", &[("length", &SILENCE.to_string())]),
    }
    xml.close("Gather");
    xml.text("Redirect", &[("method", "POST")], ctx.wait_url);
}

fn conference(xml: &mut Xml, name: &str, ends: bool) {
    xml.open("Dial", &[]);
    // An empty waitUrl is silence. Left out, Twilio would fetch music from a public server.
    xml.text("Conference", &[
        ("startConferenceOnEnter", "true"), ("endConferenceOnExit", if ends { "true" } else { "false" }),
        ("beep", "false"), ("waitUrl", ""),
    ], name);
    xml.close("Dial");
}

fn say_all(xml: &mut Xml, words: &mut Vec<(Lang, String)>, voices: &[(Lang, String)]) {
    for (lang, text) in words.drain(..) {
        say(xml, lang, &text, voices);
    }
}

fn say(xml: &mut Xml, lang: Lang, text: &str, voices: &[(Lang, String)]) {
    if text.trim().is_empty() {
        return;
    }
    match voices.iter().find(|(l, _)| *l == lang) {
        Some((_, voice)) => xml.text("Say", &[("language", tag(lang)), ("voice", voice)], text),
        None => xml.text("Say", &[("language", tag(lang))], text),
    }
}

/// The text with runs of digits separated, so that they are read one by one.
fn spaced(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut run = String::new();
    let flush = |run: &mut String, out: &mut String| {
        let separate = run.len() >= DIGIT_RUN;
        for (i, digit) in run.drain(..).enumerate() {
            if separate && i > 0 {
                out.push_str(", ");
            }
            out.push(digit);
        }
    };
    for c in text.chars() {
        if c.is_ascii_digit() {
            run.push(c);
        } else {
            flush(&mut run, &mut out);
            out.push(c);
        }
    }
    flush(&mut run, &mut out);
    out
}

/// The only place that writes markup. Names are literals; values and texts are escaped.
struct Xml(String);

impl Xml {
    fn new() -> Self { Self("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response>".to_owned()) }
    fn open(&mut self, name: &'static str, attributes: &[(&'static str, &str)]) {
        self.start(name, attributes);
        self.0.push('>');
    }
    fn close(&mut self, name: &'static str) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "</{name}>");
    }
    fn empty(&mut self, name: &'static str, attributes: &[(&'static str, &str)]) {
        self.start(name, attributes);
        self.0.push_str("/>");
    }
    fn text(&mut self, name: &'static str, attributes: &[(&'static str, &str)], text: &str) {
        self.open(name, attributes);
        escape(text, &mut self.0);
        self.close(name);
    }
    fn finish(mut self) -> String {
        self.close("Response");
        self.0
    }
    fn start(&mut self, name: &'static str, attributes: &[(&'static str, &str)]) {
        let _ = write!(self.0, "<{name}");
        for (key, value) in attributes {
            let _ = write!(self.0, " {key}=\"");
            escape(value, &mut self.0);
            self.0.push('"');
        }
    }
}

/// Escapes for texts and attributes alike. XML 1.0 cannot carry control characters, escaped or
/// not: line breaks and tabs become spaces, the others go.
fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\t' | '\n' | '\r' => out.push(' '),
            '\u{fffe}' | '\u{ffff}' => {}
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = r#"<?xml version="1.0" encoding="UTF-8"?><Response>"#;
    const GATHER: &str = r#"method="POST" action="https://cs.example/t/keys?step=7&amp;call=x">"#;

    fn words(lang: Lang, prompt: &Prompt) -> Vec<(Lang, String)> {
        match prompt {
            Prompt::ChooseLanguage => Lang::ALL.iter().map(|l| (*l, format!("press {}", l.code()))).collect(),
            Prompt::Noted => vec![(lang, " \n".into())],
            Prompt::Goodbye => vec![(lang, "<Dial>&\"'\u{0}\u{1b}\u{7f}\u{85}\u{ffff}\n</Say>".into())],
            _ => vec![(lang, "hello".into())],
        }
    }

    fn rendered(directives: &[Directive]) -> String { rendered_with(directives, None) }

    fn rendered_with(directives: &[Directive], stream: Option<Stream<'_>>) -> String {
        let voices = [(Lang::De, "Polly.Vicki".to_owned())];
        let music = |m: Music| (m != Music::Classical).then(|| format!("https://cs.example/m/{}.wav?a=1&b=2", m.name()));
        let ctx = Ctx {
            texts: &words, action_url: "https://cs.example/t/keys?step=7&call=x", wait_url: "https://cs.example/t/wait?step=7&w=1",
            stream, conference: "conf<&>", music_url: &music, voices: &voices,
        };
        let out = render(directives, &ctx);
        assert_eq!(out, render(directives, &ctx));
        let body = out.strip_prefix(HEAD).and_then(|o| o.strip_suffix("</Response>")).expect("one Response");
        body.to_owned()
    }

    fn say(prompt: Prompt, lang: Lang) -> Directive { Directive::Say { prompt, lang } }

    #[test]
    fn a_secret_that_is_said_is_not_hinted_at() {
        let out = rendered(&[say(Prompt::SayVerbalPassword, Lang::De), Directive::Listen { timeout: 10, lang: Lang::De }]);
        assert!(out.contains(r#"<Gather input="dtmf speech" language="de-DE" speechTimeout="auto" profanityFilter="false" numDigits="1" finishOnKey="" timeout="10" actionOnEmptyResult="true""#), "{out}");
        assert!(!out.contains("hints"), "{out}");
    }

    #[test]
    fn words_before_a_gather_are_inside_it() {
        let gather = Directive::Gather { max: 12, timeout: 20, secret: true };
        assert_eq!(
            rendered(&[say(Prompt::EnterPin, Lang::En), say(Prompt::ProofHelp, Lang::De), gather]),
            format!(r##"<Gather input="dtmf" numDigits="12" finishOnKey="#" timeout="20" actionOnEmptyResult="true" {GATHER}"##)
                + r#"<Say language="en-US">hello</Say><Say language="de-DE" voice="Polly.Vicki">hello</Say></Gather>"#,
        );
    }

    #[test]
    fn a_menu_is_spoken_in_each_language() {
        let out = rendered(&[say(Prompt::ChooseLanguage, Lang::En), Directive::Gather { max: 0, timeout: 0, secret: false }]);
        assert!(out.contains(r#"numDigits="1""#) && out.contains(r#"timeout="1""#), "{out}");
        assert!(out.contains(r#"<Say language="en-US">press en</Say><Say language="es-ES">press es</Say>"#), "{out}");
    }

    #[test]
    fn a_caller_is_listened_to_on_a_stream_or_not_at_all() {
        let take = [say(Prompt::VoiceSay, Lang::Es), Directive::Record { seconds: 8 }];
        let start = |empty| format!(r##"<Gather input="dtmf" numDigits="1" finishOnKey="#" timeout="1" actionOnEmptyResult="{empty}" {GATHER}<Say language="es-ES">hello</Say></Gather>"##);
        assert_eq!(rendered(&take), start("true"), "that nothing came is told at once");
        let stream = Stream { url: "wss://cs.example/t/stream/a-1-b", heard_url: "https://cs.example/t/heard?take=1&call=x" };
        assert_eq!(
            rendered_with(&take, Some(stream)),
            start("false") + r#"<Connect><Stream url="wss://cs.example/t/stream/a-1-b"/></Connect><Redirect method="POST">https://cs.example/t/heard?take=1&amp;call=x</Redirect>"#,
        );
    }

    #[test]
    fn hold_can_be_changed_and_loops_back() {
        let redirect = r#"</Gather><Redirect method="POST">https://cs.example/t/wait?step=7&amp;w=1</Redirect>"#;
        let start = format!(r##"<Gather input="dtmf" numDigits="1" finishOnKey="#" timeout="1" actionOnEmptyResult="false" {GATHER}"##);
        assert_eq!(
            rendered(&[say(Prompt::Waiting, Lang::Es), Directive::Hold { music: Music::Calm }]),
            format!(r#"{start}<Say language="es-ES">hello</Say><Play loop="4">https://cs.example/m/calm.wav?a=1&amp;b=2</Play>{redirect}"#),
        );
        for music in [Music::Silence, Music::Classical] {
            assert_eq!(rendered(&[Directive::Hold { music }]), format!(r#"{start}<Pause length="30"/>{redirect}"#));
        }
    }

    #[test]
    fn bridge_and_hang_up() {
        assert_eq!(
            rendered(&[say(Prompt::Connecting, Lang::En), Directive::Bridge]),
            r#"<Say language="en-US">hello</Say><Dial><Conference startConferenceOnEnter="true" endConferenceOnExit="false" beep="false" waitUrl="">conf&lt;&amp;&gt;</Conference></Dial>"#,
        );
        assert_eq!(rendered(&[Directive::HangUp]), "<Hangup/>");
        assert_eq!(rendered(&[say(Prompt::Waiting, Lang::En)]), r#"<Say language="en-US">hello</Say>"#);
        assert_eq!(rendered(&[]), "");
    }

    #[test]
    fn hostile_text_stays_text() {
        let out = rendered(&[say(Prompt::Noted, Lang::En), say(Prompt::Goodbye, Lang::En), Directive::HangUp]);
        assert_eq!(out, r#"<Say language="en-US">&lt;Dial&gt;&amp;&quot;&apos; &lt;/Say&gt;</Say><Hangup/>"#);
        let agent = conference_for_agent("\"/><Dial>+1900</Dial>\u{7}", true);
        assert!(agent.contains(r#"endConferenceOnExit="true" beep="false" waitUrl="">&quot;/&gt;&lt;Dial&gt;+1900&lt;/Dial&gt;</Conference>"#), "{agent}");
        assert!(conference_for_agent("x", false).contains(r#"endConferenceOnExit="false""#));
    }

    #[test]
    fn a_code_is_read_digit_by_digit() {
        let out = read_code(Lang::De, &Secret::new("Kode 482913, noch einmal: 4, 8. Taste 12 & <b>"));
        assert_eq!(
            out.expose(),
            format!(r#"{HEAD}<Pause length="1"/><Say language="de-DE">Kode 4, 8, 2, 9, 1, 3, noch einmal: 4, 8. Taste 12 &amp; &lt;b&gt;</Say><Hangup/></Response>"#),
        );
        assert_eq!(spaced("123"), "1, 2, 3");
    }
}
