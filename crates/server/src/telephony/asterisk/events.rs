//! What Asterisk tells, as far as it matters to us.

use countersign_core::risk::Verstat;
use serde::Deserialize;

/// The longest name of a channel that is taken. Asterisk's own are far shorter.
const LONGEST_NAME: usize = 150;

/// An event of the application.
#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
pub enum Event {
    /// A channel is ours.
    StasisStart {
        /// Which.
        channel: Channel,
        /// What the dialplan wrote after the application's name.
        #[serde(default)]
        args: Vec<String>,
    },
    /// A channel is ours no more.
    StasisEnd {
        /// Which.
        channel: Channel,
    },
    /// A channel is no more.
    ChannelDestroyed {
        /// Which.
        channel: Channel,
    },
    /// A key.
    ChannelDtmfReceived {
        /// Of whom.
        channel: Channel,
        /// Which.
        digit: String,
    },
    /// A clip has ended.
    PlaybackFinished {
        /// Which.
        playback: Playback,
    },
    /// Another has taken the application's place.
    ApplicationReplaced {},
    /// Anything else.
    #[serde(other)]
    Other,
}

/// A channel.
#[derive(Debug, Deserialize)]
pub struct Channel {
    /// Its name.
    pub id: String,
    /// Who calls.
    #[serde(default)]
    pub caller: Caller,
    /// Where in the dialplan it is.
    #[serde(default)]
    pub dialplan: Dialplan,
}

/// Where in the dialplan a channel is.
#[derive(Debug, Default, Deserialize)]
pub struct Dialplan {
    /// The extension: the number that was called, as the dialplan has it.
    #[serde(default)]
    pub exten: String,
}

/// Who calls: a claim.
#[derive(Default, Deserialize)]
pub struct Caller {
    /// The number, as it was signalled.
    #[serde(default)]
    pub number: String,
}

impl std::fmt::Debug for Caller {
    /// Without the number.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("Caller(…)") }
}

/// A clip that was played.
#[derive(Debug, Deserialize)]
pub struct Playback {
    /// Its name, which we gave.
    pub id: String,
    /// How it ended.
    #[serde(default)]
    pub state: String,
}

/// Whether a name can be put into an address. Asterisk's are numbers with dots, perhaps after the name of
/// the system and a dash.
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST_NAME && text != "." && text != ".." && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-;".contains(&b))
}

/// What the dialplan says of the signature of the call: the verdict first, and then the attestation, which
/// the caller may have written. `Stasis(countersign,${STIR_SHAKEN(0,verify_result)},${STIR_SHAKEN(0,attestation)})`.
/// Anything of another shape is no signature.
pub fn verstat(args: &[String]) -> Verstat {
    let [verdict, attestation] = args else { return Verstat::None };
    match (verdict.trim().to_ascii_lowercase().as_str(), attestation.trim()) {
        ("" | "verification not present", _) => Verstat::None,
        ("verification passed", "A") => Verstat::PassedA,
        ("verification passed", "B") => Verstat::PassedB,
        ("verification passed", "C") => Verstat::PassedC,
        // Signed, and it says nothing.
        ("verification passed", _) => Verstat::None,
        _ => Verstat::Failed,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn args(list: &[&str]) -> Verstat { verstat(&list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()) }

    #[test]
    fn only_a_verified_signature_counts() {
        assert_eq!(args(&["Verification passed", "A"]), Verstat::PassedA);
        assert_eq!(args(&["Verification passed", "C"]), Verstat::PassedC);
        assert_eq!(args(&["Signature failed", "A"]), Verstat::Failed);
        assert_eq!(args(&["Verification mismatch", "A"]), Verstat::Failed);
        for none in [&["Verification not present", ""][..], &["", ""], &["", "A"], &[], &["A"], &["Verification passed"], &["Verification passed", "a"]] {
            assert_eq!(args(none), Verstat::None, "{none:?}");
        }
    }

    /// The attestation is the caller's text until it is verified, and a comma in it makes one more argument.
    #[test]
    fn a_caller_who_writes_commas_gains_nothing() {
        assert_eq!(args(&["Signature failed", "A", "Verification passed"]), Verstat::None);
        assert_eq!(args(&["Signature failed", "Verification passed", "A"]), Verstat::None);
        assert_eq!(args(&["A", "Verification passed"]), Verstat::Failed);
    }

    #[test]
    fn events_as_they_come() {
        let start = r#"{"type":"StasisStart","timestamp":"2026-06-01T10:00:00.000+0000","args":["Verification passed","A"],"channel":{"id":"1780308000.12","name":"PJSIP/trunk-0000000c","state":"Ring","caller":{"name":"","number":"+12025550142"},"connected":{"name":"","number":""},"accountcode":"","dialplan":{"context":"in","exten":"100","priority":1,"app_name":"Stasis","app_data":"countersign"},"creationtime":"2026-06-01T10:00:00.000+0000","language":"en"},"asterisk_id":"02:42:0a","application":"countersign"}"#;
        let Event::StasisStart { channel, args } = serde_json::from_str(start).unwrap() else { panic!() };
        assert_eq!((channel.id.as_str(), channel.caller.number.as_str(), verstat(&args)), ("1780308000.12", "+12025550142", Verstat::PassedA));
        assert_eq!(channel.dialplan.exten, "100");
        assert!(!format!("{channel:?}").contains("2025550142"));
        assert!(matches!(serde_json::from_str(r#"{"type":"ChannelVarset","variable":"x","value":"y"}"#).unwrap(), Event::Other));
        assert!(matches!(serde_json::from_str(r#"{"type":"ApplicationReplaced","application":"countersign"}"#).unwrap(), Event::ApplicationReplaced {}));
        for bad in ["", "{}", "[]", r#"{"type":"StasisStart"}"#, r#"{"type":"ChannelDtmfReceived","channel":{"id":"1"}}"#] {
            assert!(serde_json::from_str::<Event>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_stays_within_its_part_of_an_address() {
        for good in ["1780308000.12", "pbx1-1780308000.12", "countersign.agent.0123456789abcdef", "Local-1;2"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a?b", "a%2fb", "a b", "ä", &"a".repeat(LONGEST_NAME + 1)] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_brings_the_reader_down(text in ".*", parts in prop::collection::vec(".*", 0..4)) {
            let _ = serde_json::from_str::<Event>(&text);
            let _ = verstat(&parts);
            let _ = is_name(&text);
        }
    }
}
