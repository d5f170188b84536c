//! Files that an operator gives, and what we write ourselves.

use countersign_core::prompt::{Directive, Lang, Music, Prompt};
use countersign_policy::{Engine, Sources};
use countersign_server::{
    config::Config,
    telephony::twilio::twiml::{Ctx, Stream, render},
};
use countersign_survey::csv;

use crate::{Target, holds};

const EXAMPLE: &str = include_str!("../../../../docs/countersign.example.toml");
const NOTES: &str = include_str!("../../../../docs/field-notes.example.csv");

const SETTINGS: &[&str] = &["[[oauth_clients]]\n", "[sip]\n", "[risk]\n", "[[tenants]]\n", "[calls]\n", " = ", "true", "\"\"", "[]", "{}", "1979-05-27T07:32:00Z", "inf", "\"\"\"", "# ", "https://", "file://"];
const CEDAR: &[&str] = &["permit", "forbid", "when", "unless", "principal", "action", "resource", "context", " has ", " in ", " like ", "@id(\"x\")", "ip(\"::1\")", "&&", "!", "(", ")", "{", "}", "Action::", "//"];

/// What Twilio knows of what we write.
const ELEMENTS: &[&str] = &["Response", "Connect", "Stream", "Say", "Gather", "Play", "Pause", "Redirect", "Dial", "Conference", "Hangup"];

pub(super) fn targets() -> Vec<Target> {
    let sources = Sources::shipped();
    let texts: Vec<&str> = sources.files.iter().map(|(_, text)| text.as_str()).collect();
    let schema = sources.schema.clone();
    let policy = Target::of("policy", "Cedar policies", CEDAR, 12, &texts, move |input| {
        let text = String::from_utf8_lossy(input).into_owned();
        let loaded = Engine::load(schema.clone(), vec![("base/fuzz.cedar".into(), text)]);
        // Whatever it says, it can be told.
        let _ = loaded.map(|engine| engine.policy_ids().count()).map_err(|errors| errors.to_string());
        Ok(())
    });
    vec![
        Target::of("config", "the configuration", SETTINGS, 150, &[EXAMPLE], |input| {
            let text = String::from_utf8_lossy(input);
            match toml::from_str::<Config>(&text) {
                Ok(config) => {
                    let _ = (config.params(), config.log_origin(), config.log_witnesses().is_ok());
                    Ok(())
                }
                // The example itself is one.
                Err(e) => holds(text != EXAMPLE, &format!("the example is not read: {e}")),
            }
        }),
        policy,
        Target::of("field-notes", "field notes: read, written and read again they are the same", &["\"", ",", "\r\n", "=cmd|' /C calc'!A0", "'=", "'"], 300, &[NOTES], |input| {
            let text = String::from_utf8_lossy(input);
            let Ok(read) = csv::read(&text) else { return Ok(()) };
            let notes = read.into_notes();
            let written = csv::write(&notes);
            let again = csv::read(&written).map_err(|e| format!("our own file is not read: {e}"))?;
            holds(again.broken.is_empty() && again.into_notes() == notes, "written and read again they are others")
        }),
        Target::of("twiml", "TwiML of any words: it stays one document, of elements that we mean", &["]]>", "<!--", "<?xml", "&amp;", "</Say>", "<Hangup/>", "\u{1}", "\u{fffe}", "\u{0}", "12345"], 600,
            &["Please enter your PIN, 123456.", "https://calls.example.com/twilio/step?n=1&x=\"y\"", "</Say><Dial>+12025550199</Dial>"], twiml),
    ]
}

fn twiml(input: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(input).into_owned();
    let words = |lang: Lang, _: &Prompt| vec![(lang, text.clone()), (Lang::De, text.clone())];
    let music = |_: Music| Some(text.clone());
    let voices = [(Lang::En, text.clone())];
    let ctx = Ctx { texts: &words, action_url: &text, wait_url: &text, stream: Some(Stream { url: &text, heard_url: &text }), conference: &text, music_url: &music, voices: &voices };
    let say = || Directive::Say { prompt: Prompt::Welcome, lang: Lang::En };
    let sets = [
        vec![say(), Directive::Gather { max: 6, timeout: 5, secret: true }],
        vec![say(), Directive::Record { seconds: 8 }],
        vec![say(), Directive::Hold { music: Music::Calm }],
        vec![say(), Directive::Bridge],
        vec![say(), Directive::HangUp],
        vec![],
    ];
    for set in sets {
        let xml = render(&set, &ctx);
        let document = roxmltree::Document::parse(&xml).map_err(|e| format!("not a document: {e}"))?;
        for node in document.descendants().filter(roxmltree::Node::is_element) {
            let name = node.tag_name().name();
            holds(ELEMENTS.contains(&name), &format!("an element that nobody meant: {name}"))?;
            holds(name != "Stream" || set.contains(&Directive::Record { seconds: 8 }), "listened to without being asked")?;
            holds(name != "Dial" || set.contains(&Directive::Bridge), "somebody is dialled whom nobody named")?;
            holds(name != "Hangup" || set.contains(&Directive::HangUp), "hung up without a reason")?;
        }
    }
    Ok(())
}
