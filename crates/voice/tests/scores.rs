//! Thresholds, intervals, drift, templates as bytes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers outside of #[test] functions"
)]

mod common;

use common::Dice;
use countersign_voice::calibrate::{Goal, Trial, calibrate, evaluate, logistic, phrase_threshold};
use countersign_voice::drift::{Drift, Level, monthly};
use countersign_voice::engine::Engine;
use countersign_voice::phrase::Distances;
use countersign_voice::score::{Calibration, Fusion, Scores, Speech};
use countersign_voice::{CalibrationError, Template};
use proptest::prelude::*;

/// Scores of `speakers` people, genuine ones `apart` higher on average.
fn trials(speakers: u32, genuine: u32, impostors: u32, apart: f32, seed: u64) -> Vec<Trial> {
    let mut dice = Dice(seed);
    let mut trials = Vec::new();
    for speaker in 0..speakers {
        for n in 0..genuine + impostors {
            let genuine = n < genuine;
            let score = dice.noise() + if genuine { apart } else { 0.0 };
            trials.push(Trial {
                score,
                genuine,
                speaker,
            });
        }
    }
    trials
}

fn goal(false_accepts: f64, speech: Speech) -> Goal {
    Goal::new(false_accepts, "made up", speech, "2026-01-31", 400)
}

#[test]
fn error_rates_of_two_normal_distributions_are_as_computed() {
    // Two apart: the equal error is that of one standard deviation, 15.87%.
    let evaluation = evaluate(&trials(50, 40, 200, 2.0, 1), 1, 200).unwrap();
    let equal = evaluation.equal_error;
    assert!((equal.value - 0.1587).abs() < 0.015, "{equal:?}");
    assert!(
        equal.low < equal.value && equal.value < equal.high && equal.high - equal.low < 0.06,
        "{equal:?}"
    );
    // At 1% false accepts the threshold is 2.326: refused is what lies below 0.326, 62.8%.
    let refused = evaluation.refusals_at_1_percent.unwrap();
    assert!((refused.value - 0.628).abs() < 0.04, "{refused:?}");
    assert!(evaluation.refusals_at_1_permille.unwrap().value > refused.value);
    assert_eq!(
        (evaluation.genuine_trials, evaluation.impostor_trials),
        (2000, 10_000)
    );
    let falling = evaluation
        .curve
        .windows(2)
        .all(|pair| pair[0].0 >= pair[1].0 && pair[0].1 <= pair[1].1);
    assert!(falling, "false accepts fall and false refusals rise");
}

#[test]
fn what_cannot_be_measured_is_not_claimed() {
    let few = evaluate(&trials(4, 10, 10, 2.0, 1), 1, 50).unwrap();
    assert!(few.refusals_at_1_percent.is_none() && few.refusals_at_1_permille.is_none());
    assert!(evaluate(&[], 1, 10).is_none());
    let not_a_number = [
        Trial {
            score: f32::NAN,
            genuine: true,
            speaker: 1,
        },
        Trial {
            score: 0.0,
            genuine: false,
            speaker: 1,
        },
    ];
    assert!(evaluate(&not_a_number, 1, 10).is_none());
}

#[test]
fn people_told_apart_without_error_have_none() {
    let evaluation = evaluate(&trials(10, 20, 100, 60.0, 1), 1, 50).unwrap();
    assert_eq!(evaluation.equal_error.value, 0.0);
    let refused = evaluation.refusals_at_1_percent.unwrap();
    assert_eq!((refused.value, refused.low), (0.0, 0.0));
    // None of 200 genuine trials was refused: up to 3 of 200 is compatible with that.
    assert!((refused.high - 0.015).abs() < 1e-9, "{refused:?}");
}

#[test]
fn what_is_written_down_has_no_more_digits_than_it_is_worth() {
    let calibration = calibrate(&trials(10, 30, 60, 30.0, 4), &goal(0.01, Speech::Free)).unwrap();
    let few = |value: f64, digits: i32| {
        let scaled = value * 10f64.powi(digits);
        (scaled - scaled.round()).abs() < 1e-3
    };
    assert!(
        few(f64::from(calibration.threshold), 3),
        "{}",
        calibration.threshold
    );
    // Nothing was accepted wrongly in 600: that is not nothing.
    assert!(calibration.false_accepts.value <= 0.01 && calibration.false_accepts.high >= 0.005);
    let rates = [calibration.false_accepts, calibration.false_refusals];
    assert!(
        rates
            .iter()
            .flat_map(|rate| [rate.value, rate.low, rate.high])
            .all(|rate| few(rate, 4))
    );
    assert!(calibration.to_json().lines().all(|line| line.len() < 120));
}

#[test]
fn a_calibration_holds_its_target_and_says_how_sure_it_is() {
    let trials = trials(40, 30, 60, 4.0, 2);
    let goal = goal(0.01, Speech::Free);
    let calibration = calibrate(&trials, &goal).unwrap();
    assert!(calibration.false_accepts.value <= 0.01);
    assert!(calibration.false_accepts.high > calibration.false_accepts.value);
    assert!(
        (calibration.threshold - 2.326).abs() < 0.25,
        "{}",
        calibration.threshold
    );
    let [low, high] = calibration.threshold_range;
    assert!(low <= calibration.threshold && calibration.threshold <= high && high - low < 1.0);
    // The ratio of two normal distributions four apart is 4 (score - 2).
    assert!(
        (calibration.slope - 4.0).abs() < 0.6,
        "{}",
        calibration.slope
    );
    assert!(calibration.log_likelihood_ratio(2.0).abs() < 0.7);
    assert_eq!(
        calibrate(&trials, &goal).unwrap(),
        calibration,
        "the same seed, the same answer"
    );
    let text = calibration.to_json();
    let read = Calibration::from_json(&text).unwrap();
    assert_eq!(read.to_json(), text);
    assert_eq!(
        (read.threshold, read.slope, read.intercept),
        (
            calibration.threshold,
            calibration.slope,
            calibration.intercept
        ),
        "an answer is the same before and after"
    );
}

/// Its name is the hash of what is written: a number that is read otherwise would make it another.
#[test]
fn every_rate_is_read_as_it_was_written() {
    let mut calibration = calibrate(&trials(10, 10, 20, 4.0, 3), &goal(0.02, Speech::Free)).unwrap();
    let mut bits = 1_u64;
    let random = std::iter::repeat_with(|| {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from_bits(bits)
    });
    let rates = [1e-45, 0.1 + 0.2, f64::MIN_POSITIVE, 5e-324].into_iter().chain(random.filter(|rate| (0.0..=1.0).contains(rate)).take(10_000));
    for rate in rates {
        calibration.false_accepts.value = rate;
        let read = Calibration::from_json(&calibration.to_json()).unwrap();
        assert_eq!((read.false_accepts.value.to_bits(), read.name()), (rate.to_bits(), calibration.name()), "{rate:e}");
    }
}

#[test]
fn a_target_needs_trials() {
    let trials = trials(10, 10, 20, 4.0, 3);
    let found = calibrate(&trials, &goal(0.01, Speech::Free)).unwrap_err();
    assert!(
        matches!(
            found,
            CalibrationError::TooFew {
                kind: "impostors",
                found: 200,
                needed: 300,
                ..
            }
        ),
        "{found}"
    );
    assert!(calibrate(&trials, &goal(0.02, Speech::Free)).is_ok());
    for target in [0.0, 0.5, -1.0, f64::NAN] {
        assert!(calibrate(&trials, &goal(target, Speech::Free)).is_err());
    }
    // The same phrase needs a threshold for the phrase.
    assert!(calibrate(&trials, &goal(0.02, Speech::SamePhrase)).is_err());
}

#[test]
fn a_calibration_that_was_edited_badly_is_refused() {
    let text = calibrate(&trials(40, 30, 60, 4.0, 2), &goal(0.01, Speech::Free))
        .unwrap()
        .to_json();
    for (line, by) in [
        (r#""version": 2"#, r#""version": 1"#),
        (r#""version": 2"#, r#""version": 3"#),
        (r#""mixture": 0.0"#, r#""mixture": -1.0"#),
        (r#""embedding": 13.0"#, r#""embedding": 0.0"#),
        (r#""edges": ["#, r#""edges": [99.0,"#),
        (r#""edges": ["#, r#""edges": [99.0], "was": ["#),
        (r#""impostor_trials": 2400"#, r#""impostor_trials": 10"#),
        (r#""condition": "made up""#, r#""condition": """#),
        (r#""speech": "free""#, r#""speech": "same-phrase""#),
        (
            r#""target_false_accepts": 0.01"#,
            r#""target_false_accepts": 0.0001"#,
        ),
        (r#""speakers": 40"#, r#""speakers": 40, "passed": true"#),
        (r#""speakers": 40"#, r#""speakers": 40, "speakers": 40"#),
        (r#""speakers": 40"#, r#""speakers": 1"#),
        (r#""calls": 400"#, r#""calls": 39"#),
        (r#""made_on": "2026-01-31""#, r#""made_on": "2026-13-31""#),
        (r#""made_on": "2026-01-31""#, r#""made_on": "lately""#),
        (r#""network": "9"#, r#""network": "G"#),
        (r#""slope": "#, r#""slope": -"#),
        (r#""slope": "#, r#""slope": null, "was": "#),
        (r#""threshold": "#, r#""threshold": 1e999, "was": "#),
    ] {
        let edited = text.replacen(line, by, 1);
        assert_ne!(edited, text, "{line} is in it");
        assert!(Calibration::from_json(&edited).is_err(), "{by}");
    }
    let long = format!("{text}{}", " ".repeat(Calibration::MOST_BYTES));
    assert!(Calibration::from_json(&long).is_err());
    for cut in 0..text.len() - 2 {
        assert!(Calibration::from_json(&text[..cut]).is_err(), "{cut}");
    }
}

/// Files that were written before there were weights and scores of the genuine in them.
#[test]
fn a_calibration_of_the_first_version_is_read_and_holds_for_our_network_alone() {
    let now = calibrate(&trials(40, 30, 60, 4.0, 2), &goal(0.01, Speech::Free)).unwrap();
    let first = Calibration {
        version: 1,
        weights: None,
        genuine: None,
        ..now.clone()
    };
    let text = first.to_json();
    assert!(
        !text.contains("weights") && !text.contains("genuine\""),
        "{text}"
    );
    let read = Calibration::from_json(&text).unwrap();
    assert_eq!(read, first);
    let engine = Engine::built_in().unwrap();
    assert!(
        read.is_for(Speech::Free, engine.network()) && now.is_for(Speech::Free, engine.network())
    );
    // What another network's scores were made with, it does not say.
    let network = [7; 32];
    let other = Calibration {
        network: "07".repeat(32),
        ..first
    };
    assert!(!other.is_for(Speech::Free, &network));
    let other = Calibration {
        network: "07".repeat(32),
        ..now.clone()
    };
    assert!(other.is_for(Speech::Free, &network));
    assert_ne!(now.name(), other.name());
    assert_eq!(now.name().len(), 16);
    let genuine = now.genuine.unwrap();
    assert_eq!(genuine.counts.iter().sum::<u32>(), now.genuine_trials);
    assert!(
        genuine
            .counts
            .iter()
            .all(|count| (115..=125).contains(count)),
        "{genuine:?}"
    );
}

#[test]
fn weights_are_learnt_and_refused_where_they_point_the_wrong_way() {
    let mut dice = Dice(21);
    let mut scores = Vec::new();
    let mut genuine = Vec::new();
    for n in 0..400 {
        let same = n % 2 == 0;
        let mut part = |apart: f32| dice.noise() + if same { apart } else { 0.0 };
        let (embedding, mixture, mean) = (
            0.3 + 0.1 * part(2.0),
            0.3 * part(1.0),
            4.0 - 0.3 * part(1.5),
        );
        let distances = Distances { mean, least: mean };
        scores.push(Scores {
            embedding,
            mixture,
            distances,
        });
        genuine.push(same);
    }
    let found = Fusion::learnt(Speech::SamePhrase, &scores, &genuine).unwrap();
    assert!(
        found.embedding > 10.0 && found.mixture > 1.0 && found.distance < -2.0,
        "{found:?}"
    );
    let free = Fusion::learnt(Speech::Free, &scores, &genuine).unwrap();
    assert_eq!((free.mixture, free.distance), (0.0, 0.0));
    let turned: Vec<bool> = genuine.iter().map(|same| !same).collect();
    assert_eq!(Fusion::learnt(Speech::SamePhrase, &scores, &turned), None);
    assert_eq!(Fusion::learnt(Speech::SamePhrase, &[], &[]), None);
}

/// With few scores the index is large by itself: that is not held against anybody's line.
#[test]
fn what_chance_does_is_not_taken_for_a_shift() {
    let mut dice = Dice(11);
    let mut draw = |mean: f32, count: usize| {
        (0..count)
            .map(|_| dice.noise() + mean)
            .collect::<Vec<f32>>()
    };
    let mut above = 0;
    let mut called = 0;
    for _ in 0..400 {
        let drift = Drift::of(&draw(0.0, 60), &draw(0.0, 60)).unwrap();
        above += usize::from(drift.moved.stability_index >= 0.25);
        called += usize::from(drift.level() == Level::Moved);
    }
    // By the custom alone, more than half of these months would have been called moved.
    assert!(above > 200 && called < 40, "{above} {called}");
    let shifted = Drift::of(&draw(0.0, 60), &draw(-1.5, 60)).unwrap();
    assert_eq!(shifted.level(), Level::Moved, "{shifted:?}");
}

#[test]
fn a_regression_finds_the_weights_that_made_the_labels() {
    let mut dice = Dice(5);
    let mut rows = Vec::new();
    let mut labels = Vec::new();
    for _ in 0..5000 {
        let row = vec![
            f64::from(dice.noise()),
            10.0 * f64::from(dice.noise()) + 3.0,
        ];
        let odds = 2.0 * row[0] - 0.1 * row[1] + 0.3;
        labels.push(f64::from(dice.between(0.0, 1.0)) < 1.0 / (1.0 + (-odds).exp()));
        rows.push(row);
    }
    let found = logistic(&rows, &labels);
    assert!(
        (found.weights[0] - 2.0).abs() < 0.2 && (found.weights[1] + 0.1).abs() < 0.02,
        "{found:?}"
    );
}

#[test]
fn a_phrase_threshold_turns_away_the_share_that_was_asked_for() {
    let distances: Vec<f32> = (0..=100).map(|n| n as f32 / 10.0).collect();
    assert!((phrase_threshold(&distances, 0.05).unwrap() - 9.5).abs() < 1e-4);
    assert_eq!(phrase_threshold(&[], 0.05), None);
}

#[test]
fn a_line_that_changed_is_seen() {
    let mut dice = Dice(9);
    let mut draw = |mean: f32, count: usize| {
        (0..count)
            .map(|_| dice.noise() + mean)
            .collect::<Vec<f32>>()
    };
    let reference = draw(0.0, 2000);
    let same = Drift::of(&reference, &draw(0.0, 1000)).unwrap();
    assert!(
        same.level() == Level::Stable && same.moved.stability_index < 0.05,
        "{same:?}"
    );
    assert!(same.mean.abs() < 0.1 && (same.variance - 1.0).abs() < 0.15);
    assert_eq!(
        Drift::of(&reference, &draw(0.4, 1000)).unwrap().level(),
        Level::Moving
    );
    assert_eq!(
        Drift::of(&reference, &draw(1.0, 1000)).unwrap().level(),
        Level::Moved
    );
    assert_eq!(
        Drift::of(&reference, &draw(1.0, 10)).unwrap().level(),
        Level::TooFew
    );
    assert_eq!(Drift::of(&reference, &[f32::NAN]), None);
    let scores: Vec<_> = draw(0.0, 100)
        .into_iter()
        .map(|score| ((2031, 4), score))
        .chain([((2031, 5), 0.0)])
        .collect();
    let months = monthly(&reference, &scores);
    assert_eq!(months.len(), 2);
    assert_eq!(months[&(2031, 4)].count, 100);
}

#[test]
fn a_damaged_template_is_refused_and_an_intact_one_scores_the_same() {
    let engine = Engine::built_in().unwrap();
    let (template, _) = common::template(&engine, "rms-0");
    let bytes = template.to_bytes();
    assert!(bytes.len() < 100_000, "{}", bytes.len());
    assert!(Template::from_bytes(&bytes).unwrap() == template);
    for cut in (0..bytes.len()).step_by(997) {
        assert!(Template::from_bytes(&bytes[..cut]).is_err());
        let mut flipped = bytes.clone();
        flipped[cut] ^= 1;
        assert!(Template::from_bytes(&flipped).is_err());
    }
    assert!(Template::from_bytes(&vec![0; Template::MOST_BYTES + 1]).is_err());
    let said = format!(
        "{template:?} {:?}",
        template.takes().next().unwrap().embedding()
    );
    assert_eq!(
        said, "Template(SamePhrase, 3 takes) Embedding(…)",
        "nothing of a voice in a log"
    );
}

proptest! {
    /// With a sum that fits, so that the reader behind it is reached.
    #[test]
    fn reading_a_template_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..2000), header in any::<bool>()) {
        use sha2::Digest as _;
        if header {
            let first = bytes.first().copied().unwrap_or_default();
            bytes.splice(0..0, *b"CSVT\x02\x00\x03\x01");
            bytes[4] = 1 + first % 2;
        }
        let sum = sha2::Sha256::digest(&bytes);
        bytes.extend(sum);
        let _ = Template::from_bytes(&bytes);
    }

    #[test]
    fn reading_sound_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..500), header in any::<bool>()) {
        let mut file = if header { b"RIFF\0\0\0\0WAVE".to_vec() } else { Vec::new() };
        file.extend(bytes);
        let _ = countersign_voice::Audio::from_wav(&file);
    }

    #[test]
    fn looking_at_any_sound_never_panics(samples in proptest::collection::vec(-1.0f32..1.0, 0..3000)) {
        let audio = countersign_voice::Audio::from_samples(samples).unwrap();
        let frontend = countersign_voice::frontend::Frontend::new();
        let quality = countersign_voice::quality::measure(&frontend, &audio);
        prop_assert!(quality.snr.is_finite() && quality.clipped.is_finite());
        prop_assert!(frontend.cepstra(&audio).0.iter().flatten().all(|value| value.is_finite()));
    }
}
