//! What is said, for switches that fetch it: an address of ours that names the prompt and is signed, so
//! that nobody has us speak what they like, and every node serves what any node has named.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use countersign_core::{
    claim::IndexKey,
    prompt::{Lang, Prompt},
    secret::Blind,
    time::{Span, Timestamp},
};
use countersign_sip::g711::Law;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::{hub::Sound, i18n::Texts, telephony::sip::voice::{self, Voice}};

/// How long an address lives that says a code: a switch fetches it at once.
const LIFE: Span = Span::minutes(2);
/// The longest name that is looked at.
const LONGEST: usize = 2_000;
/// Where they are, before the adapter's name.
pub const PATH: &str = "/clips";
/// The name of the tone after which a caller is listened to.
const TONE: &str = "tone";

/// What an address names.
#[derive(Serialize, Deserialize)]
struct Named {
    p: Prompt,
    l: Lang,
    /// The words, hashed: other words are another address, because switches keep what they fetched.
    /// Not of a code, which could be found out by trying.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    w: Option<Blind>,
    /// Until when, of what says a code: it is made for one caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    u: Option<Timestamp>,
}

/// Makes addresses, and what is behind them.
pub struct Clips {
    texts: Arc<Texts>,
    voice: Voice,
    /// Ours as the switch reaches it, without a slash at the end.
    base: String,
    adapter: &'static str,
}

impl Clips {
    /// For the switches of this adapter, which reach us under `base`.
    pub fn new(texts: Arc<Texts>, voice: Voice, base: &str, adapter: &'static str) -> Self {
        Self { texts, voice, base: base.trim_end_matches('/').to_owned(), adapter }
    }

    /// The address of a prompt.
    pub fn link(&self, key: &IndexKey, now: Timestamp, lang: Lang, prompt: &Prompt) -> String {
        let secret = says_a_code(prompt);
        let words = (!secret).then(|| key.blind("clip-words", &self.texts.prompt(lang, prompt)));
        let named = Named { p: prompt.clone(), l: lang, w: words, u: secret.then(|| now + LIFE) };
        let text = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&named).unwrap_or_default());
        format!("{}{PATH}/{}/{text}-{}.wav", self.base, self.adapter, self.signature(key, &text))
    }

    /// The address of the tone after which a caller is listened to.
    pub fn tone(&self, key: &IndexKey) -> String { format!("{}{PATH}/{}/{TONE}-{}.wav", self.base, self.adapter, self.signature(key, TONE)) }

    fn signature(&self, key: &IndexKey, text: &str) -> String { hex::encode(key.blind("clip", &format!("{}/{text}", self.adapter)).0) }

    /// The sound behind the last part of an address: WAV, 8,000 samples a second, 16 bits, one channel.
    /// `None`: it is none of ours, or too old.
    pub async fn sound(&self, key: &IndexKey, now: Timestamp, name: &str) -> Option<Sound> {
        let (text, signature) = name.strip_suffix(".wav").filter(|_| name.len() <= LONGEST)?.rsplit_once('-')?;
        if !bool::from(self.signature(key, text).as_bytes().ct_eq(signature.as_bytes())) {
            return None;
        }
        if text == TONE {
            let tone = voice::tone();
            return Some(Sound { wav: wav(&tone.bytes(Law::Mu).iter().map(|byte| Law::Mu.decode(*byte)).collect::<Vec<_>>()), keep: true });
        }
        let named: Named = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        if named.u.is_some_and(|until| now > until) {
            return None;
        }
        let mut samples = Vec::new();
        for said in self.texts.said(named.l, &named.p) {
            for clip in self.voice.say(&said).await.iter().chain([&voice::rest()]) {
                samples.extend(clip.bytes(Law::Mu).iter().map(|byte| Law::Mu.decode(*byte)));
            }
        }
        Some(Sound { wav: wav(&samples), keep: named.u.is_none() })
    }
}

/// A code is made for one caller, and is kept nowhere.
fn says_a_code(prompt: &Prompt) -> bool {
    matches!(prompt, Prompt::ApproveInPortal { .. } | Prompt::ApproveAtProvider { .. } | Prompt::TypeInPortal { .. })
}

fn wav(samples: &[i16]) -> Vec<u8> {
    let length = u32::try_from(samples.len() * 2).unwrap_or(u32::MAX);
    let mut out = Vec::with_capacity(44 + samples.len() * 2);
    out.extend(b"RIFF");
    out.extend(length.saturating_add(36).to_le_bytes());
    out.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    out.extend(8_000_u32.to_le_bytes());
    out.extend(16_000_u32.to_le_bytes());
    out.extend([2, 0, 16, 0]);
    out.extend(b"data");
    out.extend(length.to_le_bytes());
    out.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    out
}

#[cfg(test)]
mod tests {
    use countersign_core::id::ChallengeId;

    use super::*;
    use crate::i18n::Company;

    fn clips(adapter: &'static str) -> Clips {
        let company = Company { name: "Juniper & Co".into(), fraud_line: "+1 202 555 0100".into(), link_base: "https://calls.example.com".into() };
        Clips::new(Arc::new(Texts::load(company).unwrap()), Voice::new(None, Vec::new()), "http://127.0.0.1:8080/", adapter)
    }

    const NOW: Timestamp = Timestamp(1_780_308_000_000);

    fn name(link: &str) -> &str { link.rsplit('/').next().unwrap() }

    #[tokio::test]
    async fn what_is_named_is_said() {
        let (clips, key) = (clips("asterisk"), IndexKey::new([7; 32]));
        let link = clips.link(&key, NOW, Lang::De, &Prompt::Menu);
        assert!(link.starts_with("http://127.0.0.1:8080/clips/asterisk/") && link.ends_with(".wav"));
        // The same for every caller and at any time: a switch fetches it once.
        assert_eq!(link, clips.link(&key, NOW + Span::days(3), Lang::De, &Prompt::Menu));
        let sound = clips.sound(&key, NOW, name(&link)).await.unwrap();
        assert!(sound.keep && countersign_sip::Clip::from_wav(&sound.wav).is_ok());
    }

    #[tokio::test]
    async fn a_tone_is_a_sound_like_others() {
        let (clips, key) = (clips("asterisk"), IndexKey::new([7; 32]));
        let sound = clips.sound(&key, NOW, name(&clips.tone(&key))).await.unwrap();
        assert!(sound.keep && countersign_sip::Clip::from_wav(&sound.wav).is_ok_and(|clip| clip.duration() == std::time::Duration::from_millis(300)));
        assert!(clips.sound(&key, NOW, &format!("tone-{}.wav", "0".repeat(32))).await.is_none());
    }

    #[tokio::test]
    async fn nobody_has_us_say_something_else() {
        let (clips, key) = (clips("asterisk"), IndexKey::new([7; 32]));
        let link = clips.link(&key, NOW, Lang::En, &Prompt::Menu);
        let good = name(&link);
        let other = clips.link(&key, NOW, Lang::En, &Prompt::Welcome);
        let (signature, text) = (good.rsplit_once('-').unwrap().1, name(&other).rsplit_once('-').unwrap().0);
        let foreign = self::clips("freeswitch").link(&key, NOW, Lang::En, &Prompt::Menu);
        let guessed = clips.link(&IndexKey::new([8; 32]), NOW, Lang::En, &Prompt::Menu);
        let long = format!("{}-{signature}", "A".repeat(LONGEST));
        for bad in [&format!("{text}-{signature}"), "", ".wav", "-.wav", &good.replace(".wav", ""), name(&foreign), name(&guessed), &long, "../../etc/passwd", &good.to_uppercase()] {
            assert!(clips.sound(&key, NOW, bad).await.is_none(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_code_is_said_for_two_minutes_and_its_address_does_not_hold_it() {
        let (clips, key) = (clips("asterisk"), IndexKey::new([7; 32]));
        let prompt = Prompt::TypeInPortal { code: ChallengeId([3; 16]) };
        let link = clips.link(&key, NOW, Lang::En, &prompt);
        let named = String::from_utf8(URL_SAFE_NO_PAD.decode(name(&link).rsplit_once('-').unwrap().0).unwrap()).unwrap();
        assert!(!named.contains("\"w\""), "its words are not hashed: {named}");
        assert!(clips.sound(&key, NOW + LIFE, name(&link)).await.is_some_and(|sound| !sound.keep));
        assert!(clips.sound(&key, NOW + LIFE + Span(1), name(&link)).await.is_none());
    }
}
