//! How well voices are told apart, on recordings of people that are no part of the project: measured by the
//! program itself, as anybody would (`countersign voice evaluate`). And what synthesised and replayed speech
//! comes to, which that command does not ask.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use countersign_voice::{
    Audio, Engine, Progress, Reference, Requirements, Speech, Take,
    phrase::SAME_RECORDING,
};
use serde_json::{Value, json};

use crate::{Fail, site::run};

/// What names the folder of the recordings.
pub const DATA: &str = "COUNTERSIGN_VOICE_DATA";
/// Four people who say digits.
const DIGITS: &str = "data_fsdd_cc-by-sa-4.0";
/// Thirty people who say sentences. Condition B are the same recordings by way of another handset, a room and
/// noise.
const SENTENCES: &str = "data_so762_cc-by-4.0";
/// Synthesised speech, and recordings that a loudspeaker played, in a simulation: none of those above.
const SPOOFS: &str = "data_spoof_generated";
/// What is measured: the recordings, their condition, the kind of speech, and the equal error that is aimed at,
/// in percent.
const SETS: [(&str, &str, &str, &str, f64); 4] = [
    ("digits A", DIGITS, "A", "same-phrase", 0.6), ("digits B", DIGITS, "B", "same-phrase", 4.2),
    ("sentences A", SENTENCES, "A", "free", 4.8), ("sentences B", SENTENCES, "B", "free", 6.4),
];
/// The threshold that is asked about: so many of ten of the genuine pass it.
const PASS_OF_TEN: usize = 9;

/// All of it. `dir`: for lists of what is measured.
pub fn measure(server: &Path, dir: &Path, data: &Path) -> Result<Value, Fail> {
    let data = data.canonicalize().map_err(|e| format!("{DATA} is {}: {e}", data.display()))?;
    let mut sets = Vec::new();
    for (name, folder, condition, kind, aim) in SETS {
        crate::say(&format!("recordings: {name}"));
        let mut measured = told_apart(server, dir, &data, (folder, condition, kind))?;
        if let Some(measured) = measured.as_object_mut() {
            measured.extend([("name".to_owned(), json!(name)), ("aim_percent".to_owned(), json!(aim))]);
        }
        sets.push(measured);
    }
    crate::say("recordings: synthesised and replayed speech");
    Ok(json!({ "sets": sets, "attacks": attacks(&data)? }))
}

/// The rows of a list, by their columns. No field of these has a comma in it.
fn rows(data: &Path, folder: &str) -> Result<Vec<BTreeMap<String, String>>, Fail> {
    let file = data.join(format!("{folder}_manifest.csv"));
    let text = fs::read_to_string(&file).map_err(|e| format!("{DATA}: {}: {e}", file.display()))?;
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned));
    let columns: Vec<String> = lines.next().ok_or_else(|| format!("{} is empty", file.display()))?.collect();
    Ok(lines.map(|fields| columns.iter().cloned().zip(fields).collect()).collect())
}

fn field<'a>(row: &'a BTreeMap<String, String>, name: &str) -> &'a str { row.get(name).map(String::as_str).unwrap_or_default() }

/// What the program says of one condition of one set.
fn told_apart(server: &Path, dir: &Path, data: &Path, (folder, condition, kind): (&str, &str, &str)) -> Result<Value, Fail> {
    let mut list = "speaker,phrase,kind,file,role\n".to_owned();
    for row in rows(data, folder)?.iter().filter(|row| field(row, "condition") == condition) {
        list.push_str(&format!("{},{},{kind},{},{}\n", field(row, "speaker"), field(row, "phrase"), field(row, "path"), field(row, "role")));
    }
    let file = dir.join(format!("{folder}-{condition}.csv"));
    fs::write(&file, list)?;
    let said = run(Command::new(server).args(["voice", "evaluate"]).arg(data).arg("--list").arg(&file).arg("--json"))?;
    let said: Value = serde_json::from_str(&said)?;
    let one = said.pointer("/kinds/0").ok_or_else(|| format!("nothing was compared of {folder}, {condition}"))?;
    let voices = one.get("voices").filter(|voices| !voices.is_null()).ok_or_else(|| format!("too little was compared of {folder}, {condition}"))?;
    let left_out = said.get("left_out").and_then(Value::as_array).map_or(0, Vec::len);
    Ok(json!({ "people": one.get("people"), "calls": one.get("calls"), "left_out": left_out, "voices": voices, "words": one.get("words") }))
}

/// What somebody played, beside templates.
#[derive(Default)]
struct Played {
    compared: usize,
    /// Above the threshold.
    alike: usize,
    /// Of these and others, known as a recording that is stored: that is refused.
    known: usize,
    /// Recordings that are not good enough to be compared.
    unusable: usize,
}

impl Played {
    fn json(&self, what: &str) -> Value {
        json!({ "what": what, "compared": self.compared, "alike": self.alike, "known": self.known, "unusable": self.unusable })
    }
}

/// Against people who say sentences, as recorded: what passes a threshold that nine of ten of the genuine pass.
fn attacks(data: &Path) -> Result<Value, Fail> {
    let engine = Engine::built_in()?;
    let (people, spoofs) = (rows(data, SENTENCES)?, rows(data, SPOOFS)?);
    let take = |row: &BTreeMap<String, String>| -> Result<Option<Take>, Fail> {
        let file = data.join(field(row, "path"));
        let audio = Audio::from_mulaw(&fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))?)?;
        Ok(engine.take(&audio, &Requirements::verification())?.ok())
    };
    let mut templates: BTreeMap<&str, Reference> = BTreeMap::new();
    let mut enrolments = BTreeMap::new();
    for row in people.iter().filter(|row| field(row, "condition") == "A" && field(row, "role") == "enrol") {
        let Some(take) = take(row)? else { continue };
        let enrolment = enrolments.entry(field(row, "speaker")).or_insert_with(|| engine.enrol(Speech::Free));
        if let Ok(Progress::Complete(template)) = enrolment.offer(take) {
            templates.insert(field(row, "speaker"), engine.prepare(*template)?);
        }
    }
    let compare = |template: &Reference, take: &Take| engine.compare(template, take).map(|scores| (engine.score(Speech::Free, &scores), scores.distances.least < SAME_RECORDING));
    let mut genuine = Vec::new();
    for row in people.iter().filter(|row| field(row, "condition") == "A" && field(row, "role") == "test") {
        if let (Some(template), Some(take)) = (templates.get(field(row, "speaker")), take(row)?) {
            genuine.extend(compare(template, &take).map(|(score, _)| score));
        }
    }
    genuine.sort_by(f32::total_cmp);
    let threshold = genuine.get(genuine.len() * (10 - PASS_OF_TEN) / 10).copied().ok_or("nobody could be compared with themselves")?;
    let play = |row: &BTreeMap<String, String>, to: &[&Reference], seen: &mut Played| -> Result<(), Fail> {
        let Some(take) = take(row)? else {
            seen.unusable += 1;
            return Ok(());
        };
        for (score, known) in to.iter().filter_map(|template| compare(template, &take)) {
            seen.compared += 1;
            seen.alike += usize::from(score >= threshold);
            seen.known += usize::from(known);
        }
        Ok(())
    };
    let everybody: Vec<&Reference> = templates.values().collect();
    let mut makers: BTreeMap<&str, Played> = BTreeMap::new();
    for row in &spoofs {
        play(row, &everybody, makers.entry(field(row, "kind")).or_default())?;
    }
    // What is stored and what is not, of the person of the template, as a bad line and a room leave it.
    let (mut stored, mut another) = (Played::default(), Played::default());
    for row in people.iter().filter(|row| field(row, "condition") == "B") {
        let Some(template) = templates.get(field(row, "speaker")) else { continue };
        play(row, &[template], if field(row, "role") == "enrol" { &mut stored } else { &mut another })?;
    }
    let mut played: Vec<Value> = makers.iter().map(|(maker, seen)| seen.json(maker)).collect();
    played.push(stored.json("the stored takes themselves, by way of another handset, a room and noise"));
    played.push(another.json("other recordings of the same person, by the same way"));
    Ok(json!({ "people": templates.len(), "genuine": genuine.len(), "pass_of_ten": PASS_OF_TEN, "threshold": threshold, "played": played }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_by_their_columns_and_a_wrong_folder_is_named() {
        let dir = std::env::temp_dir().join(format!("countersign-bench-recordings-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("x_manifest.csv"), "path,kind,samples\na/00.ul,replay_sim(so762),32000\n").unwrap();
        let read = rows(&dir, "x").unwrap();
        assert_eq!((read.len(), field(&read[0], "kind"), field(&read[0], "speaker")), (1, "replay_sim(so762)", ""));
        let said = rows(&dir, "y").unwrap_err().to_string();
        assert!(said.starts_with(DATA) && said.contains("y_manifest.csv"), "{said}");
        fs::remove_dir_all(&dir).unwrap();
        assert!(measure(&dir, &dir, &dir).unwrap_err().to_string().contains(DATA));
    }
}
