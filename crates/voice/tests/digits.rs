//! Digits that are asked for anew each time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers outside of #[test] functions"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{Dice, again, data, dtmf, hiss, resent, said, spread, voice};
use countersign_voice::digits::{FURTHER, OTHERS, TAKES};
use countersign_voice::frontend::{CEPSTRA, Cepstra, Frames, Frontend};
use countersign_voice::quality::{Sound, measure};
use countersign_voice::{Audio, Digits, DigitsTake, DigitsVerdict, Engine, Problem};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

/// Two rows that together hold every digit.
const ROWS: [[u8; 5]; 2] = [[3, 1, 7, 5, 2], [8, 0, 4, 6, 9]];

/// What somebody said, whether for enrolment, and the sound.
type Said = (String, bool, Audio);

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

/// Both rows, so many times.
fn learnt(engine: &Engine, takes: usize) -> Digits {
    let mut digits = Digits::default();
    for seed in 1..=takes as u64 {
        for row in ROWS {
            let take = engine.learn_digits(&mut digits, &row, &said(&row, seed));
            assert_eq!(take, DigitsTake::Learnt);
        }
    }
    digits
}

#[test]
fn rows_are_learnt_one_after_the_other_and_an_answer_is_checked() {
    let engine = Engine::built_in().unwrap();
    let asked = [5, 9, 2, 1, 0];
    let answer = said(&asked, 20);
    let mut digits = Digits::default();
    for seed in 1..=TAKES as u64 {
        for row in ROWS {
            assert!(!digits.is_complete());
            let check = engine.check_digits(&digits, &asked, &answer, 7);
            assert_eq!(
                (check.verdict, check.nearer),
                (DigitsVerdict::NotLearnt, None)
            );
            // As between two steps of a call: sealed, and opened again.
            digits = Digits::from_bytes(&digits.to_bytes()).unwrap();
            let take = engine.learn_digits(&mut digits, &row, &said(&row, seed));
            assert_eq!(take, DigitsTake::Learnt);
        }
    }
    assert!(digits.is_complete());
    for seed in 0..5 {
        let check = engine.check_digits(&digits, &asked, &answer, seed);
        assert_eq!(
            (check.verdict, check.nearer, check.of),
            (DigitsVerdict::AsAsked, Some(0), OTHERS)
        );
        assert!(check.quality.speech > 1.0);
        let replayed = said(&[7, 3, 8, 6, 4], 21);
        let check = engine.check_digits(&digits, &asked, &replayed, seed);
        assert_eq!(check.verdict, DigitsVerdict::Others);
        assert!(check.nearer.unwrap() > 0);
    }
    // Nearest, but far from how this person says them.
    let noise = 0.2 * spread(answer.samples());
    let mut dice = Dice(3);
    let noisy = answer.samples().iter().map(|it| it + noise * dice.noise());
    let noisy = Audio::from_samples(noisy.collect()).unwrap();
    let check = engine.check_digits(&digits, &asked, &noisy, 7);
    assert_eq!(
        (check.verdict, check.nearer),
        (DigitsVerdict::Others, Some(0))
    );
    let far = digits.distance(&asked, &engine.frontend().cepstra(&noisy));
    assert!(far.unwrap() > FURTHER * digits.own_scale().unwrap());
    for none in [&[][..], &[1, 2, 3, 4, 10]] {
        let check = engine.check_digits(&digits, none, &answer, 7);
        assert_eq!(check.verdict, DigitsVerdict::NotLearnt);
    }
    // More than are asked for change nothing.
    let before = digits.clone();
    let take = engine.learn_digits(&mut digits, &ROWS[0], &said(&ROWS[0], 9));
    assert!(take == DigitsTake::Learnt && digits == before);
}

#[test]
fn what_cannot_be_used_teaches_nothing_and_is_no_answer() {
    let engine = Engine::built_in().unwrap();
    let row = ROWS[0];
    let sound = |samples: Vec<f32>| Audio::from_samples(samples).unwrap();
    let unusable = [
        (sound(vec![0.0; 24_000]), Some(Sound::Silence)),
        (hiss(3.0, 0.05, 1), Some(Sound::Noise)),
        (dtmf(0.2), Some(Sound::Tones)),
        (sound(said(&row, 5).samples()[400..480].to_vec()), None),
        (
            sound(said(&row, 5).samples().iter().map(|it| it * 40.0).collect()),
            None,
        ),
    ];
    let whole = learnt(&engine, 3);
    for (sound, is) in &unusable {
        for mut digits in [Digits::default(), learnt(&engine, 1)] {
            let before = digits.clone();
            let DigitsTake::Unusable(problem) = engine.learn_digits(&mut digits, &row, sound)
            else {
                panic!("{is:?} was learnt");
            };
            assert!(is.is_none_or(|is| problem == Problem::NoSpeech(is)));
            assert!(digits == before);
        }
        let check = engine.check_digits(&whole, &row, sound, 7);
        assert!(
            matches!(check.verdict, DigitsVerdict::Unusable(_)) && check.nearer.is_none(),
            "{is:?}"
        );
    }
    // Words that run into one another, fewer words, and what are no digits.
    let mut digits = learnt(&engine, 1);
    let before = digits.clone();
    let four = said(&[3, 1, 7, 5], 6);
    for (row, sound) in [
        (&row[..], again(&voice("rms-0"), 3)),
        (&row, four),
        (&[], said(&row, 6)),
        (&[3, 1, 7, 5, 10], said(&row, 6)),
    ] {
        let take = engine.learn_digits(&mut digits, row, &sound);
        assert_eq!(take, DigitsTake::NotApart, "{row:?}");
    }
    // What is there already, sent again; said anew it is another take.
    for seed in 1..=5 {
        let take = engine.learn_digits(&mut digits, &row, &resent(&said(&row, 1), seed));
        assert_eq!(take, DigitsTake::SameRecording);
    }
    // Other digits than those that were asked for, once all ten are known.
    let take = engine.learn_digits(&mut digits, &row, &said(&[7, 5, 2, 3, 1], 6));
    assert_eq!(take, DigitsTake::Others);
    assert!(digits == before);
    let take = engine.learn_digits(&mut digits, &row, &said(&row, 6));
    assert!(take == DigitsTake::Learnt && digits != before);
}

#[test]
fn damaged_digits_are_refused_and_intact_ones_score_the_same() {
    let engine = Engine::built_in().unwrap();
    for takes in 0..=3 {
        let digits = learnt(&engine, takes);
        let bytes = digits.to_bytes();
        assert!(bytes.len() < 120_000, "{}", bytes.len());
        let read = Digits::from_bytes(&bytes).unwrap();
        assert!(read == digits);
        let answer = engine.frontend().cepstra(&said(&[1, 2, 3], 4));
        assert_eq!(
            read.distance(&[1, 2, 3], &answer),
            digits.distance(&[1, 2, 3], &answer)
        );
        assert_eq!(
            format!("{read:?}"),
            format!("Digits({takes} takes)"),
            "nothing of a voice in a log"
        );
        for cut in (0..bytes.len()).step_by(499) {
            assert!(Digits::from_bytes(&bytes[..cut]).is_err());
            let mut flipped = bytes.clone();
            flipped[cut] ^= 1 << (cut % 8);
            assert!(Digits::from_bytes(&flipped).is_err());
        }
    }
    assert!(Digits::from_bytes(&vec![0; Digits::MOST_BYTES + 1]).is_err());
}

/// With a sum that fits: what is written in it is not believed either.
#[test]
fn digits_with_impossible_numbers_are_refused() {
    let with_sum = |mut bytes: Vec<u8>| {
        let sum = Sha256::digest(&bytes);
        bytes.extend(sum);
        bytes
    };
    let body = |counts: [u8; 10], frames: &[u16]| {
        let mut bytes = b"CSVD\x01".to_vec();
        bytes.extend(counts);
        for frames in frames {
            bytes.extend(frames.to_le_bytes());
            bytes.resize(bytes.len() + 2 * CEPSTRA * usize::from(*frames), 1);
        }
        bytes
    };
    let one = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert!(Digits::from_bytes(&with_sum(body(one, &[200]))).is_ok());
    assert_eq!(
        Digits::from_bytes(&with_sum(body([0; 10], &[]))),
        Ok(Digits::default())
    );
    let mut cut = body(one, &[]);
    cut.extend([255, 255, 1, 2]);
    for bad in [
        body(one, &[0]),
        body(one, &[201]),
        body(one, &[]),
        body(one, &[5, 5]),
        body([4, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[5; 4]),
        body([255; 10], &[5]),
        cut,
        [b"CSVT", &body(one, &[5])[4..]].concat(),
        [b"CSVD\x02", &body(one, &[5])[5..]].concat(),
        b"CSVD\x01\0\0".to_vec(),
        Vec::new(),
    ] {
        let refused = Digits::from_bytes(&with_sum(bad)).unwrap_err();
        assert!(
            refused
                .to_string()
                .starts_with("not the digits of a voice: ")
        );
    }
}

fn a_word() -> impl Strategy<Value = Cepstra> {
    let value = prop_oneof![9 => -6.0f32..6.0, 1 => any::<f32>()];
    let frame = proptest::array::uniform32(value);
    proptest::collection::vec(frame, 1..12).prop_map(|frames| {
        let wide = |frame: [f32; 32]| std::array::from_fn(|at| frame[at % 32]);
        Frames(frames.into_iter().map(wide).collect())
    })
}

proptest! {
    #[test]
    fn digits_are_read_as_they_were_written(words in proptest::collection::vec((0u8..10, a_word()), 0..40)) {
        let mut digits = Digits::default();
        for (digit, word) in &words {
            prop_assert!(digits.learn(&[*digit], std::slice::from_ref(word)));
        }
        let bytes = digits.to_bytes();
        prop_assert!(bytes.len() <= Digits::MOST_BYTES);
        let read = Digits::from_bytes(&bytes).unwrap();
        prop_assert!(read == digits && read.to_bytes() == bytes);
        prop_assert_eq!(read.is_complete(), (0..10).all(|digit| words.iter().filter(|word| word.0 == digit).count() >= TAKES));
    }

    /// With a sum that fits, so that the reader behind it is reached.
    #[test]
    fn reading_digits_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..3000), counts in proptest::option::of(proptest::array::uniform10(0u8..5))) {
        if let Some(counts) = counts {
            bytes.splice(0..0, [&b"CSVD\x01"[..], &counts].concat());
        }
        let sum = Sha256::digest(&bytes);
        bytes.extend(sum);
        if let Ok(read) = Digits::from_bytes(&bytes) {
            prop_assert_eq!(read.to_bytes(), bytes);
        }
    }
}

/// An answer, compared.
struct Trial {
    kind: &'static str,
    name: String,
    nearest: bool,
    /// How far it is, on the person's own scale.
    scale: f32,
}

/// On people, where there are recordings of them. Two phrases are enrolled, three times or twice. Asked for is
/// the third as it was said, or the digits of a phrase in an order drawn at random, from its words. Said by
/// the person, by others, and words of the person that were said when other digits were asked for.
#[test]
#[ignore = "needs recordings of people: COUNTERSIGN_VOICE_DATA, as `cargo xtask test` runs it"]
fn people_say_digits_that_are_asked_for() {
    const ASKED: &str = "59210";
    let directory = data();
    let frontend = Frontend::new();
    let mut reader =
        csv::Reader::from_path(directory.join("data_fsdd_cc-by-sa-4.0_manifest.csv")).unwrap();
    let mut people: BTreeMap<(String, String), Vec<Said>> = BTreeMap::new();
    for row in reader.records().map(Result::unwrap) {
        let audio = Audio::from_mulaw(&std::fs::read(directory.join(&row[0])).unwrap()).unwrap();
        // As the engine does: without what surrounds the speech.
        let span = measure(&frontend, &audio).span;
        let spoken = Audio::from_samples(audio.samples()[span].to_vec()).unwrap();
        let of = (row[1].to_owned(), row[2].to_owned());
        people
            .entry(of)
            .or_default()
            .push((row[3].to_owned(), &row[4] == "enrol", spoken));
    }
    for (condition, takes) in [("A", 3), ("A", 2), ("B", 3), ("B", 2)] {
        let (mut third, mut drawn) = (Vec::new(), Vec::new());
        let here = |of: &&(String, String)| of.0 == condition;
        for of in people.keys().filter(here) {
            let mut digits = Digits::default();
            for other in ["31752", "80469"] {
                let rows = people[of].iter();
                let rows = rows.filter(|(phrase, enrol, _)| *enrol && phrase == other);
                for (_, _, audio) in rows.take(takes) {
                    if let Some(words) = frontend.words(audio, 5) {
                        digits.learn(&numbers(other), &words);
                    }
                }
            }
            let Some(own) = digits.own_scale() else {
                println!("{condition}, {takes} takes: {} cannot be cut apart", of.1);
                continue;
            };
            let mut dice = Dice(3);
            let mut trial = |kind, asked: &[u8], answer: &Cepstra| Trial {
                kind,
                name: of.1.clone(),
                nearest: digits.nearer(asked, answer, OTHERS, dice.between(0.0, 1e6) as u64)
                    == Some(0),
                scale: digits.distance(asked, answer).unwrap() / own,
            };
            let mut order = Dice(4);
            for other in people.keys().filter(here) {
                for (phrase, _, audio) in people[other].iter().filter(|said| !said.1) {
                    let (mine, right) = (other == of, phrase == ASKED);
                    let answer = frontend.cepstra(audio);
                    match (mine, right) {
                        (true, true) => third.push(trial("right", &numbers(ASKED), &answer)),
                        (true, false) => third.push(trial("replayed", &numbers(ASKED), &answer)),
                        (false, true) => third.push(trial("other", &numbers(ASKED), &answer)),
                        (false, false) => {}
                    }
                    let Some(words) = frontend.words(audio, 5) else {
                        continue;
                    };
                    for _ in 0..5 {
                        let mut mixed: Vec<_> = numbers(phrase).into_iter().zip(&words).collect();
                        mixed.sort_by_cached_key(|_| order.between(0.0, 1e6) as u64);
                        let asked: Vec<u8> = mixed.iter().map(|(digit, _)| *digit).collect();
                        let frames = mixed.iter().flat_map(|(_, word)| &word.0);
                        let answer = Frames(frames.copied().collect());
                        let kind = if mine { "right" } else { "other" };
                        drawn.push(trial(kind, &asked, &answer));
                        if mine {
                            let asked: Vec<u8> =
                                (0..5).map(|_| order.between(0.0, 9.99) as u8).collect();
                            drawn.push(trial("replayed", &asked, &answer));
                        }
                    }
                }
            }
        }
        report(&format!("{condition}, {takes} takes, third phrase"), &third);
        report(&format!("{condition}, {takes} takes, any order"), &drawn);
    }
}

/// The "t" of "eight" comes after a pause longer than those between words.
#[test]
fn the_release_of_a_stop_is_no_word() {
    let frontend = Frontend::new();
    let whole = said(&ROWS[1], 3);
    let words = frontend.words(&whole, 5).unwrap();
    let mut samples = whole.samples()[..2600].to_vec();
    let mut dice = Dice(8);
    samples.extend((0..1600).map(|_| 0.0008 * dice.noise()));
    samples.extend(&whole.samples()[600..800]);
    samples.extend(&whole.samples()[2600..]);
    let cut = frontend.words(&Audio::from_samples(samples).unwrap(), 5);
    let lengths = |words: Vec<Cepstra>| words.iter().map(Cepstra::len).collect::<Vec<_>>();
    let (cut, words) = (lengths(cut.expect("five words")), lengths(words));
    assert!(cut[0] > words[0], "{cut:?} {words:?}");
    let mut rest = cut.iter().zip(&words).skip(1);
    assert!(rest.all(|(a, b)| a.abs_diff(*b) < 3), "{cut:?} {words:?}");
}

fn numbers(phrase: &str) -> Vec<u8> {
    phrase.bytes().map(|byte| byte - b'0').collect()
}

/// How many are nearest, and how many of them are as near as so many times the person's own takes.
fn report(what: &str, trials: &[Trial]) {
    let names: BTreeSet<&str> = trials.iter().map(|trial| trial.name.as_str()).collect();
    for kind in ["right", "replayed", "other"] {
        for name in names.iter().copied().chain(["all"]) {
            let of = |trial: &&Trial| trial.kind == kind && (name == "all" || trial.name == name);
            let (all, nearest) = (trials.iter().filter(of).count(), |most: f32| {
                let near = |trial: &&Trial| trial.nearest && trial.scale <= most;
                trials.iter().filter(of).filter(near).count()
            });
            print!("{what}, {kind}, {name}: {} of {all} nearest", nearest(9.0));
            for most in [1.05, 1.1, 1.15, 1.2, 1.25, 1.3] {
                print!(", {} within {most}", nearest(most));
            }
            println!();
        }
    }
}
