//! Files of an operator that have to do with sound: recordings that are brought in, the list of a set,
//! calibrations of voices.

use countersign_server::prompts::{Manifest, wave::{Wave, written}};
use countersign_voice::{Audio, score::Calibration};

use crate::{Target, holds};

const SET: &str = "format = 1\nrecordings = [\n  { lang = \"en\", id = \"welcome\", text = \"Welcome to Juniper & Co.\", milliseconds = 1200, origin = \"us\", sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\" },\n]\n\n[origins.\"us\"]\nmade_by = \"us\"\nlicence = \"ours\"\n";
const MEASURED: &str = r#"{"version":1,"condition":"G.711, one sentence","made_on":"2026-06-01","speech":"free","network":"00000000000000000000000000000000000000000000000000000000000000ff","target_false_accepts":0.01,"threshold":0.5,"threshold_range":[0.4,0.6],"false_accepts":{"value":0.01,"low":0.0,"high":0.02},"false_refusals":{"value":0.05,"low":0.02,"high":0.1},"genuine_trials":300,"impostor_trials":3000,"speakers":30,"calls":120,"slope":12.5,"intercept":-6.0,"phrase_threshold":null,"spoof_threshold":null}"#;

pub(super) fn targets() -> Vec<Target> {
    let tone: Vec<i16> = (0..4000_i16).map(|n| if n % 16 < 8 { 6000 } else { -6000 }).collect();
    let waves = vec![written(&tone, false), written(&tone, true)];
    let list = Target::of("prompt-list", "lists of recordings: read, written and read again they are the same, and no name leads out of the folder", &["[[recordings]]", "format = 1", "lang = \"de\"", "../", "\"\"\"", "\\u0000", "id = \"a/b\"", "origin = ", "{", "}", "sha256 = "], 400, &[SET], |input| {
        let Ok(text) = std::str::from_utf8(input) else { return Ok(()) };
        let Ok(list) = Manifest::parse(text) else { return holds(text != SET, "a list is not read") };
        for row in &list.recordings {
            let file = row.file();
            holds(file.matches('/').count() == 1 && !file.contains('\\') && !file.starts_with('/'), "a name that is a path")?;
        }
        let again = Manifest::parse(&list.write()).map_err(|e| format!("our own list is not read: {e}"))?;
        // Lists are written in order.
        let sorted = |list: &Manifest| {
            let mut rows = list.recordings.clone();
            rows.sort_by_key(|row| (row.lang.code(), row.id.clone()));
            rows
        };
        holds(sorted(&again) == sorted(&list) && again.origins == list.origins, "written and read again it is another")
    });
    let calibration = Target::of("voice-calibration", "calibrations of voices: read, written and read again they are the same, and a higher score is never less alike", &["\"speech\":\"same-phrase\"", "1e39", "-0.0", "1e-45", "null", "\"threshold\":", "\"slope\":", "\"version\":2", "0.49999", "{}"], 500, &[MEASURED], |input| {
        let text = String::from_utf8_lossy(input);
        let Ok(read) = Calibration::from_json(&text) else { return holds(text != MEASURED, "a calibration is not read") };
        let again = Calibration::from_json(&read.to_json()).map_err(|e| format!("our own is not read: {e}"))?;
        holds(again == read, "written and read again it is another")?;
        holds(read.log_likelihood_ratio(1.0) >= read.log_likelihood_ratio(-1.0), "a higher score is less alike")
    });
    let wave = Target::of("prompt-wav", "recordings that are brought in: what comes out fits a telephone line, and is read again", &["RIFF", "WAVE", "fmt ", "data", "LIST", "fact"], 60, &[], |input| {
        let _ = Audio::from_wav(input);
        let Ok(wave) = Wave::read(input) else { return Ok(()) };
        let Ok(samples) = wave.prepared() else { return Ok(()) };
        holds(samples.len() <= 121 * 8000, "longer than it may be")?;
        let again = Wave::read(&written(&samples, false)).map_err(|e| format!("our own file is not read: {e}"))?;
        holds(again.samples == samples && again.rate == 8000 && !again.mixed, "written and read again it is another")
    });
    vec![list, calibration, Target { seeds: waves, ..wave }]
}
