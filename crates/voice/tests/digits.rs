//! Digits that are asked for anew each time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers outside of #[test] functions"
)]

mod common;

use std::collections::BTreeMap;

use common::{Dice, data, voice};
use countersign_voice::Audio;
use countersign_voice::digits::Digits;
use countersign_voice::frontend::Frontend;

/// What somebody said, whether for enrolment, and the sound.
type Said = (String, bool, Audio);

/// Ten words that are none, with pauses between them: pieces of a synthesised voice.
fn said(digits: &[u8], seed: u64) -> Audio {
    let mut dice = Dice(seed);
    let sounds = [voice("rms-0"), voice("rms-1")];
    let mut out = Vec::new();
    for digit in digits {
        let sound = &sounds[usize::from(*digit) % 2];
        let begin = 3000 + usize::from(*digit) / 2 * 3000 + dice.between(0.0, 80.0) as usize;
        let length = (2600.0 * dice.between(0.92, 1.08)) as usize;
        let by = 2600.0 / length as f32;
        out.extend((0..length).map(|n| {
            let edge = (n.min(length - n) as f32 / 200.0).min(1.0);
            edge * sound[begin + (n as f32 * by) as usize]
        }));
        out.extend(std::iter::repeat_n(
            0.0,
            dice.between(900.0, 1300.0) as usize,
        ));
    }
    for sample in &mut out {
        *sample += 0.0008 * dice.noise();
    }
    Audio::from_samples(out).unwrap()
}

#[test]
fn what_was_asked_for_is_nearest_and_another_recording_is_not() {
    let frontend = Frontend::new();
    let mut digits = Digits::default();
    let (first, second) = ([3, 1, 7, 5, 2], [8, 0, 4, 6, 9]);
    assert_eq!(
        digits.distance(&first, &frontend.cepstra(&said(&first, 1))),
        None
    );
    for seed in 1..=3 {
        for all in [first, second] {
            let words = frontend.words(&said(&all, seed), 5).expect("five words");
            assert!(digits.learn(&all, &words));
        }
    }
    assert_eq!(digits.takes(), 3);
    assert!(
        !digits.learn(&[1, 2], &[])
            && !digits.learn(&[10], &frontend.words(&said(&[1], 9), 1).unwrap())
    );
    let asked = [5, 9, 2, 1, 0];
    let answer = frontend.cepstra(&said(&asked, 20));
    assert_eq!(digits.nearer(&asked, &answer, 20, 7), Some(0));
    let replayed = frontend.cepstra(&said(&[7, 3, 8, 6, 4], 21));
    assert!(digits.nearer(&asked, &replayed, 20, 7).unwrap() > 0);
    assert_eq!(digits.nearer(&[11, 0], &answer, 5, 7), None);
    assert_eq!(format!("{digits:?}"), "Digits(3 takes)");
}

/// On people, if somebody has their recordings: two phrases are enrolled, the third is asked for.
#[test]
fn people_say_digits_that_are_asked_for() {
    const OTHERS: usize = 39;
    let Some(directory) = data() else { return };
    let frontend = Frontend::new();
    let mut reader =
        csv::Reader::from_path(directory.join("data_fsdd_cc-by-sa-4.0_manifest.csv")).unwrap();
    let mut people: BTreeMap<(String, String), Vec<Said>> = BTreeMap::new();
    for row in reader.records().map(Result::unwrap) {
        let audio = Audio::from_mulaw(&std::fs::read(directory.join(&row[0])).unwrap()).unwrap();
        let of = (row[1].to_owned(), row[2].to_owned());
        people
            .entry(of)
            .or_default()
            .push((row[3].to_owned(), &row[4] == "enrol", audio));
    }
    let numbers = |phrase: &str| phrase.bytes().map(|byte| byte - b'0').collect::<Vec<u8>>();
    for condition in ["A", "B"] {
        let (mut tried, mut first, mut replays, mut passed, mut cut) = (0, 0, 0, 0, (0, 0));
        for ((of, _), calls) in &people {
            if of != condition {
                continue;
            }
            let mut digits = Digits::default();
            for (phrase, enrol, audio) in calls {
                if *enrol && phrase != "59210" {
                    cut.1 += 1;
                    if let Some(words) = frontend.words(audio, 5) {
                        cut.0 += usize::from(digits.learn(&numbers(phrase), &words));
                    }
                }
            }
            let asked = numbers("59210");
            for (phrase, _, audio) in calls.iter().filter(|(_, enrol, _)| !enrol) {
                let Some(nearer) = digits.nearer(&asked, &frontend.cepstra(audio), OTHERS, 3)
                else {
                    continue;
                };
                if phrase == "59210" {
                    (tried, first) = (tried + 1, first + usize::from(nearer == 0));
                } else {
                    (replays, passed) = (replays + 1, passed + usize::from(nearer == 0));
                }
            }
        }
        println!(
            "{condition}: {} of {} enrolments cut, {first} of {tried} nearest of {}, {passed} of {replays} replays",
            cut.0,
            cut.1,
            OTHERS + 1
        );
    }
}
