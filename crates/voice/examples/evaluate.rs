//! How well voices are told apart, on recordings of your own:
//!
//! ```console
//! cargo run --release -p countersign-voice --example evaluate -- DIRECTORY [--fit] [--svg FILE]
//! ```
//!
//! The directory has one or more `*_manifest.csv` with the columns `path`, `condition`, `speaker`,
//! `role` (`enrol` or `test`) and, where everybody says given phrases, `phrase`. A path is relative to
//! the directory and names G.711 mu-law without a header.
//!
//! Prints false accepts and refusals of each part and of all together, with 95% intervals. "crossed"
//! are weights found on one half of the speakers and measured on the other half, so that no speaker is
//! measured with weights that know them. `--fit` prints weights found on all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use countersign_voice::calibrate::{Evaluation, Trial, evaluate, logistic};
use countersign_voice::det;
use countersign_voice::engine::Engine;
use countersign_voice::enrol::{Take, Template};
use countersign_voice::quality::Requirements;
use countersign_voice::score::{Interval, Scores, Speech};
use countersign_voice::{Audio, Progress};

type Failure = Box<dyn std::error::Error>;

const REPETITIONS: u32 = 300;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("which directory?")?;
    let rest: Vec<String> = arguments.collect();
    let fit = rest.iter().any(|argument| argument == "--fit");
    let svg = rest
        .iter()
        .skip_while(|argument| *argument != "--svg")
        .nth(1);
    let engine = Engine::built_in()?;
    let mut names: Vec<_> = std::fs::read_dir(&directory)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .collect();
    names.sort();
    let mut curves = Vec::new();
    println!(
        "{:<52}{:>22}{:>22}{:>22}",
        "", "EER %", "FRR % at FAR 1%", "FRR % at FAR 0.1%"
    );
    for manifest in names
        .iter()
        .filter(|name| name.to_string_lossy().ends_with("_manifest.csv"))
    {
        for (condition, rows) in read(Path::new(&directory), manifest)? {
            let name = manifest
                .file_name()
                .map(|name| name.to_string_lossy().replace("_manifest.csv", ""));
            let name = format!("{} {condition}", name.unwrap_or_default());
            let compared = compare(&engine, &rows)?;
            report(&engine, &name, &compared, &mut curves);
            if fit {
                let fitted = fitted(&compared, &|_| true);
                println!(
                    "{name}: weights {:.3?}, offset {:.3}",
                    fitted.weights, fitted.offset
                );
            }
        }
    }
    if let Some(path) = svg {
        let curves: Vec<(&str, &[(f64, f64)])> = curves
            .iter()
            .map(|(name, curve): &(String, Vec<_>)| (name.as_str(), curve.as_slice()))
            .collect();
        std::fs::write(
            path,
            det::svg(
                &curves,
                "Voices told apart",
                "The table in words is what was printed.",
            ),
        )?;
    }
    Ok(())
}

/// One recording.
struct Row {
    speaker: String,
    phrase: String,
    enrol: bool,
    audio: Audio,
}

/// One comparison.
struct Compared {
    scores: Scores,
    speech: Speech,
    same_speaker: bool,
    same_phrase: bool,
    /// Whose template, and who spoke; by number.
    model: u32,
    spoke: u32,
}

fn read(directory: &Path, manifest: &Path) -> Result<BTreeMap<String, Vec<Row>>, Failure> {
    let mut conditions: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    let mut reader = csv::Reader::from_path(manifest)?;
    for row in reader.deserialize() {
        let row: BTreeMap<String, String> = row?;
        let (Some(path), Some(condition), Some(speaker), Some(role)) = (
            row.get("path"),
            row.get("condition"),
            row.get("speaker"),
            row.get("role"),
        ) else {
            // A list of something else.
            continue;
        };
        let audio = Audio::from_mulaw(&std::fs::read(directory.join(path))?)?;
        conditions.entry(condition.clone()).or_default().push(Row {
            speaker: speaker.clone(),
            phrase: row.get("phrase").cloned().unwrap_or_default(),
            enrol: role == "enrol",
            audio,
        });
    }
    Ok(conditions)
}

/// Every template against every test recording.
fn compare(engine: &Engine, rows: &[Row]) -> Result<Vec<Compared>, Failure> {
    let speakers: BTreeSet<&str> = rows.iter().map(|row| row.speaker.as_str()).collect();
    let number = |name: &str| {
        speakers
            .iter()
            .position(|other| *other == name)
            .unwrap_or_default() as u32
    };
    let asked = Requirements::verification();
    let mut enrolled: BTreeMap<(&str, &str), Vec<Take>> = BTreeMap::new();
    let mut tests = Vec::new();
    let mut unusable = 0;
    for row in rows {
        match engine.take(&row.audio, &asked)? {
            Ok(take) if row.enrol => enrolled
                .entry((&row.speaker, &row.phrase))
                .or_default()
                .push(take),
            Ok(take) => tests.push((row, take)),
            Err(_) => unusable += 1,
        }
    }
    if unusable > 0 {
        println!("not good enough to compare: {unusable} of {}", rows.len());
    }
    let mut compared = Vec::new();
    for ((speaker, phrase), takes) in enrolled {
        let speech = if phrase.is_empty() {
            Speech::Free
        } else {
            Speech::SamePhrase
        };
        let Some(template) = template(engine, speech, takes) else {
            println!("no template of {speaker} {phrase}: its takes do not fit together");
            continue;
        };
        let reference = engine.prepare(template)?;
        for (row, take) in &tests {
            if let Some(scores) = engine.compare(&reference, take) {
                let same_phrase = row.phrase == phrase;
                let (model, spoke) = (number(speaker), number(&row.speaker));
                compared.push(Compared {
                    scores,
                    speech,
                    same_speaker: model == spoke,
                    same_phrase,
                    model,
                    spoke,
                });
            }
        }
    }
    Ok(compared)
}

fn template(engine: &Engine, speech: Speech, takes: Vec<Take>) -> Option<Template> {
    let mut enrolment = engine.enrol(speech);
    takes
        .into_iter()
        .find_map(|take| match enrolment.offer(take) {
            Ok(Progress::Complete(template)) => Some(*template),
            Ok(Progress::More(_)) => None,
            Err(feedback) => {
                println!("{feedback:?}");
                None
            }
        })
}

fn report(
    engine: &Engine,
    name: &str,
    compared: &[Compared],
    curves: &mut Vec<(String, Vec<(f64, f64)>)>,
) {
    let of_voice: Vec<&Compared> = compared.iter().filter(|one| one.same_phrase).collect();
    let trials = |score: &dyn Fn(&Scores) -> f32| -> Vec<Trial> {
        let trial = |one: &&Compared| Trial {
            score: score(&one.scores),
            genuine: one.same_speaker,
            speaker: one.model,
        };
        of_voice.iter().map(trial).collect()
    };
    let speech = of_voice.first().map_or(Speech::Free, |one| one.speech);
    print(name, "network", &trials(&|scores| scores.embedding));
    print(name, "mixture", &trials(&|scores| scores.mixture));
    if speech == Speech::SamePhrase {
        print(
            name,
            "distance",
            &trials(&|scores| -scores.distances.mean.min(10.0)),
        );
    }
    if let Some(evaluation) = print(
        name,
        "all, as built in",
        &trials(&|scores| engine.score(speech, scores)),
    ) {
        curves.push((name.to_owned(), evaluation.curve));
    }
    print(name, "all, crossed", &crossed(&of_voice));
    if speech == Speech::SamePhrase {
        let of_phrase = compared
            .iter()
            .filter(|one| one.same_speaker)
            .map(|one| Trial {
                score: -one.scores.distances.mean.min(10.0),
                genuine: one.same_phrase,
                speaker: one.model,
            });
        print(
            name,
            "phrase: right against wrong",
            &of_phrase.collect::<Vec<_>>(),
        );
    }
    let distances = |same_phrase: bool| -> Vec<f32> {
        let these = compared
            .iter()
            .filter(|one| one.same_speaker && one.same_phrase == same_phrase);
        let mut all: Vec<f32> = these.map(|one| one.scores.distances.mean).collect();
        all.sort_by(f32::total_cmp);
        [0, 5, 50, 95, 100]
            .iter()
            .filter_map(|part| all.get((all.len().max(1) - 1) * part / 100).copied())
            .collect()
    };
    println!(
        "  distances at 0, 5, 50, 95, 100%: right phrase {:.2?}, wrong {:.2?}",
        distances(true),
        distances(false)
    );
    let least = compared
        .iter()
        .map(|one| one.scores.distances.least)
        .fold(f32::INFINITY, f32::min);
    println!("  least distance of any fresh recording to a stored one: {least:.2}");
}

fn print(name: &str, what: &str, trials: &[Trial]) -> Option<Evaluation> {
    let evaluation = evaluate(trials, 1, REPETITIONS)?;
    let percent = |interval: &Interval| {
        format!(
            "{:.2} ({:.1}-{:.1})",
            interval.value * 100.0,
            interval.low * 100.0,
            interval.high * 100.0
        )
    };
    let or_none = |interval: &Option<Interval>| {
        interval
            .as_ref()
            .map_or("too few trials".to_owned(), percent)
    };
    println!(
        "{:<52}{:>22}{:>22}{:>22}",
        format!(
            "{name}: {what} ({}+{})",
            evaluation.genuine_trials, evaluation.impostor_trials
        ),
        percent(&evaluation.equal_error),
        or_none(&evaluation.refusals_at_1_percent),
        or_none(&evaluation.refusals_at_1_permille)
    );
    Some(evaluation)
}

fn features(scores: &Scores) -> Vec<f64> {
    [
        scores.embedding,
        scores.mixture,
        scores.distances.mean.min(10.0),
    ]
    .map(f64::from)
    .to_vec()
}

/// Weights found on the comparisons among some of the speakers.
fn fitted(
    compared: &[impl std::borrow::Borrow<Compared>],
    among: &dyn Fn(u32) -> bool,
) -> countersign_voice::calibrate::Logistic {
    let these = compared.iter().map(std::borrow::Borrow::borrow);
    let these = these.filter(|one| one.same_phrase && among(one.model) && among(one.spoke));
    let (rows, labels): (Vec<_>, Vec<_>) = these
        .map(|one| (features(&one.scores), one.same_speaker))
        .unzip();
    logistic(&rows, &labels)
}

/// Comparisons within each half of the speakers, with weights from the other half. With four speakers
/// all three ways to halve them are taken, so that every pair of speakers is compared once.
fn crossed(compared: &[&Compared]) -> Vec<Trial> {
    let speakers = compared
        .iter()
        .map(|one| one.model.max(one.spoke) + 1)
        .max()
        .unwrap_or_default();
    let ways: Vec<Vec<u32>> = match speakers {
        4 => vec![vec![0, 1], vec![0, 2], vec![0, 3]],
        _ => vec![(0..speakers).filter(|speaker| speaker % 2 == 0).collect()],
    };
    let mut trials = Vec::new();
    for half in ways {
        for measured in [true, false] {
            let here = |speaker: u32| half.contains(&speaker) == measured;
            let weights = fitted(compared, &|speaker| !here(speaker));
            for one in compared
                .iter()
                .filter(|one| here(one.model) && here(one.spoke))
            {
                let sum: f64 = features(&one.scores)
                    .iter()
                    .zip(&weights.weights)
                    .map(|(value, weight)| value * weight)
                    .sum();
                trials.push(Trial {
                    score: (sum + weights.offset) as f32,
                    genuine: one.same_speaker,
                    speaker: one.model,
                });
            }
        }
    }
    trials
}
