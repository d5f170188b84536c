//! Directives as jambonz verbs. The same directives always give the same verbs.
//!
//! A `gather` speaks one text in one language, and its hook is asked also when nothing was keyed. So
//! words in several languages become a chain: each link ends by a key, or after a second by an empty
//! answer of its hook, which lets the next begin. A key interrupts any of them.

use countersign_core::prompt::{Directive, Lang, Music, Prompt};
use serde_json::{Value, json};

/// Times a piece of music plays before the call asks again what to do: the safety net for a move of
/// the call that got lost.
const MUSIC_LOOPS: u8 = 4;
/// Seconds of silence before the call asks again what to do.
const SILENCE: u8 = 30;

/// The words of a prompt, each with the language to speak it in.
type Spoken<'a> = dyn Fn(Lang, &Prompt) -> Vec<(Lang, String)> + 'a;

/// What rendering needs besides the directives.
pub struct Ctx<'a> {
    /// The words of a prompt, each with the language to speak it in.
    pub texts: &'a Spoken<'a>,
    /// Where keys of the last words are posted, or that there were none.
    pub step: &'a str,
    /// The same for words that are followed by others.
    pub more: &'a str,
    /// The same while the caller waits.
    pub hold: &'a str,
    /// Where a call asks what to do.
    pub now: &'a str,
    /// Where caller and agent talk.
    pub room: &'a str,
    /// The file of a piece of music. `None`: silence.
    pub music: &'a dyn Fn(Music) -> Option<String>,
}

/// The verbs of these directives.
pub fn render(directives: &[Directive], ctx: &Ctx<'_>) -> Value {
    let mut verbs = Vec::new();
    let mut words: Vec<(Lang, String)> = Vec::new();
    for directive in directives {
        match directive {
            Directive::Say { prompt, lang } => words.extend((ctx.texts)(*lang, prompt)),
            Directive::Gather { .. } | Directive::Listen { .. } | Directive::Record { .. } => {
                let (max, timeout) = match directive {
                    Directive::Gather { max, timeout, secret: _ } => (*max, *timeout),
                    Directive::Listen { timeout, lang: _ } => (1, *timeout),
                    // Nobody listens here; a key leads on, and so does none.
                    _ => (1, 1),
                };
                let mut parts = joined(&mut words);
                let last = parts.pop();
                verbs.extend(parts.into_iter().map(|part| gather(max, 1, ctx.more, Some(part))));
                let mut verb = gather(max, timeout, ctx.step, last);
                if let Directive::Listen { timeout: _, lang } = directive {
                    hears(&mut verb, *lang);
                }
                verbs.push(verb);
            }
            Directive::Hold { music } => {
                verbs.extend(joined(&mut words).into_iter().map(|part| gather(1, 1, ctx.more, Some(part))));
                verbs.push(hold((ctx.music)(*music), ctx.hold));
            }
            Directive::Bridge => {
                verbs.extend(joined(&mut words).into_iter().map(say));
                verbs.push(json!({
                    "verb": "conference", "name": ctx.room, "beep": false, "startConferenceOnEnter": true, "endConferenceOnExit": false, "actionHook": ctx.now,
                }));
            }
            Directive::HangUp => {
                verbs.extend(joined(&mut words).into_iter().map(say));
                verbs.push(json!({ "verb": "hangup" }));
            }
        }
    }
    verbs.extend(joined(&mut words).into_iter().map(say));
    Value::Array(verbs)
}

/// The verbs of the agent's leg.
pub fn agent(room: &str) -> Value {
    json!([{ "verb": "conference", "name": room, "beep": false, "startConferenceOnEnter": true, "endConferenceOnExit": false }])
}

fn gather(max: u8, timeout: u8, hook: &str, words: Option<(Lang, String)>) -> Value {
    let mut verb = json!({
        "verb": "gather", "input": ["digits"], "numDigits": max.max(1), "finishOnKey": "#", "timeout": timeout.max(1), "dtmfBargein": true, "actionHook": hook,
    });
    if let (Some((lang, text)), Some(fields)) = (words, verb.as_object_mut()) {
        fields.insert("say".into(), spoken(lang, &text));
    }
    verb
}

/// Makes a `gather` listen for words, once its own are spoken. Any key ends it, also `#`. No hints: they would put
/// the password into logs with every call, said or not.
fn hears(verb: &mut Value, lang: Lang) {
    let Some(fields) = verb.as_object_mut() else { return };
    fields.remove("finishOnKey");
    fields.insert("input".into(), json!(["digits", "speech"]));
    fields.insert("listenDuringPrompt".into(), json!(false));
    fields.insert("recognizer".into(), json!({ "vendor": "default", "language": tag(lang), "profanityFilter": false }));
}

fn hold(music: Option<String>, hook: &str) -> Value {
    let timeout = if music.is_some() { 1 } else { SILENCE };
    let mut verb = gather(1, timeout, hook, None);
    if let (Some(url), Some(fields)) = (music, verb.as_object_mut()) {
        fields.insert("play".into(), json!({ "url": url, "loop": MUSIC_LOOPS }));
    }
    verb
}

fn say((lang, text): (Lang, String)) -> Value {
    let mut verb = spoken(lang, &text);
    if let Some(fields) = verb.as_object_mut() {
        fields.insert("verb".into(), "say".into());
    }
    verb
}

fn spoken(lang: Lang, text: &str) -> Value { json!({ "text": text, "synthesizer": { "vendor": "default", "language": tag(lang) } }) }

/// The words without what jambonz or a voice would take for something else (markup, parameters of its
/// media server), one text for each run of one language.
fn joined(words: &mut Vec<(Lang, String)>) -> Vec<(Lang, String)> {
    let mut out: Vec<(Lang, String)> = Vec::new();
    for (lang, text) in words.drain(..) {
        let clean: String = text.chars().map(|c| if c.is_control() || matches!(c, '<' | '>' | '{' | '}' | '[' | ']') { ' ' } else { c }).collect();
        let clean = clean.split_whitespace().collect::<Vec<_>>().join(" ");
        match out.last_mut() {
            _ if clean.is_empty() => {}
            Some((last, so_far)) if *last == lang => {
                so_far.push(' ');
                so_far.push_str(&clean);
            }
            _ => out.push((lang, clean)),
        }
    }
    out
}

/// The language tag that speech vendors know.
fn tag(lang: Lang) -> &'static str {
    match lang {
        Lang::En => "en-US",
        Lang::Es => "es-ES",
        Lang::De => "de-DE",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(lang: Lang, prompt: &Prompt) -> Vec<(Lang, String)> {
        match prompt {
            Prompt::ChooseLanguage => Lang::ALL.iter().map(|l| (*l, format!("press {}", l.code()))).collect(),
            Prompt::Noted => vec![(lang, " \n".into())],
            Prompt::Goodbye => vec![(lang, "<speak>&\"'\u{0}\u{1b}{api_on_answer=park}\n</speak>".into())],
            _ => vec![(lang, "hello".into())],
        }
    }

    fn rendered(directives: &[Directive]) -> Value {
        let music = |m: Music| (m != Music::Silence).then(|| format!("https://cs.example/m/{}.wav", m.name()));
        let ctx = Ctx { texts: &words, step: "/step", more: "/more", hold: "/hold", now: "/now", room: "room", music: &music };
        let out = render(directives, &ctx);
        assert_eq!(out, render(directives, &ctx));
        out
    }

    fn said(prompt: Prompt, lang: Lang) -> Directive { Directive::Say { prompt, lang } }

    #[test]
    fn words_of_one_language_are_one_text_in_the_gather() {
        let out = rendered(&[said(Prompt::EnterPin, Lang::De), said(Prompt::ProofHelp, Lang::De), Directive::Gather { max: 12, timeout: 20, secret: true }]);
        assert_eq!(out, json!([{
            "verb": "gather", "input": ["digits"], "numDigits": 12, "finishOnKey": "#", "timeout": 20, "dtmfBargein": true, "actionHook": "/step",
            "say": { "text": "hello hello", "synthesizer": { "vendor": "default", "language": "de-DE" } },
        }]));
    }

    #[test]
    fn words_are_listened_for_and_any_key_ends_it() {
        let out = rendered(&[said(Prompt::SayVerbalPassword, Lang::Es), Directive::Listen { timeout: 8, lang: Lang::Es }]);
        assert_eq!(out, json!([{
            "verb": "gather", "input": ["digits", "speech"], "numDigits": 1, "timeout": 8, "dtmfBargein": true, "actionHook": "/step", "listenDuringPrompt": false,
            "recognizer": { "vendor": "default", "language": "es-ES", "profanityFilter": false },
            "say": { "text": "hello", "synthesizer": { "vendor": "default", "language": "es-ES" } },
        }]));
    }

    #[test]
    fn a_menu_in_three_languages_is_a_chain_that_any_key_ends() {
        let out = rendered(&[said(Prompt::ChooseLanguage, Lang::En), Directive::Gather { max: 0, timeout: 0, secret: false }]);
        let links: Vec<_> = out.as_array().unwrap().iter().map(|v| (v["say"]["synthesizer"]["language"].as_str().unwrap(), v["actionHook"].as_str().unwrap(), v["numDigits"].as_u64().unwrap())).collect();
        assert_eq!(links, [("en-US", "/more", 1), ("es-ES", "/more", 1), ("de-DE", "/step", 1)]);
    }

    #[test]
    fn hold_can_be_changed_and_asks_again() {
        let out = rendered(&[said(Prompt::Waiting, Lang::Es), Directive::Hold { music: Music::Calm }]);
        assert_eq!((&out[0]["say"]["text"], &out[0]["actionHook"], &out[1]["actionHook"]), (&json!("hello"), &json!("/more"), &json!("/hold")));
        assert_eq!(out[1]["play"], json!({ "url": "https://cs.example/m/calm.wav", "loop": 4 }));
        let silence = rendered(&[Directive::Hold { music: Music::Silence }]);
        assert_eq!((&silence[0]["timeout"], silence[0].get("play")), (&json!(30), None));
    }

    #[test]
    fn bridge_and_hang_up() {
        let out = rendered(&[said(Prompt::Connecting, Lang::En), Directive::Bridge]);
        assert_eq!((&out[0]["verb"], &out[1]["verb"], &out[1]["name"], &out[1]["endConferenceOnExit"]), (&json!("say"), &json!("conference"), &json!("room"), &json!(false)));
        assert_eq!(rendered(&[Directive::HangUp]), json!([{ "verb": "hangup" }]));
        assert_eq!(rendered(&[]), json!([]));
    }

    #[test]
    fn hostile_text_stays_text() {
        let out = rendered(&[said(Prompt::Noted, Lang::En), said(Prompt::Goodbye, Lang::En), Directive::HangUp]);
        assert_eq!(out[0]["text"], json!("speak &\"' api_on_answer=park /speak"));
        assert_eq!(out.as_array().unwrap().len(), 2);
    }
}
