//! Attacks with recordings of people, which are not part of the project.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers outside of #[test] functions"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use common::{data, loudspeaker};
use countersign_voice::phrase::SAME_RECORDING;
use countersign_voice::{Audio, Engine, Progress, Reference, Requirements, Speech, Take};

/// Thirty people who say sentences, as recorded: their templates, and a threshold that nine of ten of their
/// answers pass.
struct People {
    engine: Engine,
    directory: PathBuf,
    /// Path, condition, speaker and role of each recording.
    rows: Vec<csv::StringRecord>,
    templates: BTreeMap<String, Reference>,
    genuine: usize,
    threshold: f32,
}

fn rows(directory: &Path, name: &str) -> Vec<csv::StringRecord> {
    let mut reader = csv::Reader::from_path(directory.join(name)).unwrap();
    reader.records().map(Result::unwrap).collect()
}

impl People {
    fn new() -> Self {
        let (engine, directory) = (Engine::built_in().unwrap(), data());
        let rows = rows(&directory, "data_so762_cc-by-4.0_manifest.csv");
        let mut people = Self {
            engine,
            directory,
            rows,
            templates: BTreeMap::new(),
            genuine: 0,
            threshold: 0.0,
        };
        let names: BTreeSet<&str> = people.rows.iter().map(|row| &row[2]).collect();
        let (mut templates, mut scores) = (BTreeMap::new(), Vec::new());
        for name in names {
            let mut enrolment = people.engine.enrol(Speech::Free);
            let template = people
                .takes("A", name, "enrol")
                .into_iter()
                .find_map(|take| match enrolment.offer(take) {
                    Ok(Progress::Complete(template)) => Some(template),
                    _ => None,
                });
            let Some(template) = template else { continue };
            let reference = people.engine.prepare(*template).unwrap();
            let tests = people.takes("A", name, "test");
            scores.extend(tests.iter().map(|take| people.score(&reference, take).0));
            templates.insert(name.to_owned(), reference);
        }
        scores.sort_by(f32::total_cmp);
        people.genuine = scores.len();
        people.threshold = scores[scores.len() / 10];
        people.templates = templates;
        people
    }

    fn audio(&self, path: &str) -> Audio {
        Audio::from_mulaw(&std::fs::read(self.directory.join(path)).unwrap()).unwrap()
    }

    /// Those that are good enough.
    fn take(&self, audio: &Audio) -> Option<Take> {
        self.engine
            .take(audio, &Requirements::verification())
            .unwrap()
            .ok()
    }

    fn recordings(&self, condition: &str, name: &str, role: &str) -> Vec<Audio> {
        let these = self.rows.iter();
        let these = these.filter(|row| &row[1] == condition && &row[2] == name && &row[3] == role);
        these.map(|row| self.audio(&row[0])).collect()
    }

    fn takes(&self, condition: &str, name: &str, role: &str) -> Vec<Take> {
        let recordings = self.recordings(condition, name, role);
        recordings.iter().filter_map(|audio| self.take(audio)).collect()
    }

    /// The score, and whether it is a recording that is stored.
    fn score(&self, reference: &Reference, take: &Take) -> (f32, bool) {
        let scores = self.engine.compare(reference, take).unwrap();
        let known = scores.distances.least < SAME_RECORDING;
        (self.engine.score(Speech::Free, &scores), known)
    }

    /// Plays these to templates: how many were compared, how many are alike, how many are known.
    fn play<'a>(&self, to: impl IntoIterator<Item = &'a Reference>, takes: &[Take]) -> [usize; 3] {
        let mut seen = [0usize; 3];
        for reference in to {
            for take in takes {
                let (score, known) = self.score(reference, take);
                let of = [true, score >= self.threshold, known];
                seen.iter_mut().zip(of).for_each(|(count, is)| *count += usize::from(is));
            }
        }
        seen
    }
}

#[test]
#[ignore = "needs recordings of people: COUNTERSIGN_VOICE_DATA, as `cargo xtask test` runs it"]
fn synthesised_speech_is_unlike_thirty_people() {
    let people = People::new();
    let spoofs = rows(&people.directory, "data_spoof_generated_manifest.csv");
    let spoofs = spoofs.iter().filter(|row| row[1].starts_with("tts"));
    let spoofs: Vec<Take> = spoofs.filter_map(|row| people.take(&people.audio(&row[0]))).collect();
    let [compared, passed, _] = people.play(people.templates.values(), &spoofs);
    println!("{passed} of {compared} synthesised pass where 90% of {} genuine do", people.genuine);
    assert!(compared > 1000 && passed * 50 < compared);
}

/// What a loudspeaker at the telephone does to recordings of people: docs/voice.md has the numbers.
#[test]
#[ignore = "needs recordings of people: COUNTERSIGN_VOICE_DATA, as `cargo xtask test` runs it"]
fn a_loudspeaker_with_the_voices_of_people_is_told_only_sometimes() {
    let people = People::new();
    // Recordings that were played: whose, nobody says, but none of those of these people.
    let files = rows(&people.directory, "data_spoof_generated_manifest.csv");
    let files = files.iter().filter(|row| row[1].starts_with("replay"));
    let played: Vec<Take> = files.filter_map(|row| people.take(&people.audio(&row[0]))).collect();
    let [compared, alike, known] = people.play(people.templates.values(), &played);
    println!("replayed, whoever it is: {alike} of {compared} alike, {known} known");
    assert!(compared > 200 && known == 0 && alike * 10 < compared);
    // The people themselves, by two ways: our own loudspeaker, and the room and handset of condition B.
    let (mut stored, mut another) = ([[0usize; 3]; 2], [[0usize; 3]; 2]);
    for (seed, (name, reference)) in people.templates.iter().enumerate() {
        for (role, seen) in [("enrol", &mut stored), ("test", &mut another)] {
            let recordings = people.recordings("A", name, role);
            let played = recordings.iter().map(|audio| loudspeaker(audio, seed as u64));
            let played: Vec<Take> = played.filter_map(|audio| people.take(&audio)).collect();
            let by = [played, people.takes("B", name, role)];
            for (seen, takes) in seen.iter_mut().zip(&by) {
                let now = people.play([reference], takes);
                seen.iter_mut().zip(now).for_each(|(count, more)| *count += more);
            }
        }
    }
    for (way, ([all, alike, known], [others, others_alike, others_known])) in ["our loudspeaker", "condition B"].iter().zip(stored.into_iter().zip(another)) {
        println!("{way}: of {all} stored takes {alike} alike, {known} known; of {others} other recordings {others_alike} alike, {others_known} known");
        // If most of them are caught one day, the document is to say so.
        assert!(all > 60 && known * 4 < all * 3, "{way}: {known} of {all}");
        assert!(others > 60 && others_known == 0, "{way}: {others_known} of {others}");
    }
}
