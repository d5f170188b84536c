//! From when on a model for synthetic speech is believed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers outside of #[test] functions"
)]

mod common;

use std::sync::Arc;

use common::{again, calibration, onnx::twice, reference, voice};
use countersign_voice::plugin::self_test_signal;
use countersign_voice::spoof::{Ceiling, Heard, Measured, learn};
use countersign_voice::{Audio, Calibration, CalibrationError, Engine, Plugin, Verdict, onnx::Limits};
use sha2::{Digest as _, Sha256};

fn ceiling(false_alarms: f64) -> Ceiling { Ceiling { false_alarms, model: [7; 32], seed: 3, repetitions: 200 } }

/// Twenty people with ten recordings each, scores from -2 to just below 0 by steps of a hundredth.
fn people() -> Vec<Heard> { (0..200).map(|n| Heard { score: n as f32 / 100.0 - 2.0, of: n % 20 }).collect() }

#[test]
fn without_synthetic_speech_it_is_a_quantile_of_people() {
    let found = learn(&people(), &[], &ceiling(0.05)).unwrap();
    // Ten of 200 may be above.
    assert_eq!(people().iter().filter(|heard| heard.score >= found.from).count(), 10, "{}", found.from);
    let Measured { false_alarms, caught, genuine, people: persons, spoofed, makers, .. } = found.measured.clone();
    assert_eq!((caught, genuine, persons, spoofed, makers), (None, 200, 20, 0, 0));
    assert!((false_alarms.value - 0.05).abs() < 1e-9 && false_alarms.low <= 0.05 && false_alarms.high > 0.05, "{false_alarms:?}");
    assert!(found.measured.threshold_range[0] <= found.from && found.from <= found.measured.threshold_range[1]);
    assert_eq!(learn(&people(), &[], &ceiling(0.05)).unwrap(), found, "the same again");
}

#[test]
fn with_synthetic_speech_it_lies_in_the_gap() {
    let spoofed: Vec<Heard> = (0..40).map(|n| Heard { score: 3.0 + n as f32 / 10.0, of: n % 2 }).collect();
    let found = learn(&people(), &spoofed, &ceiling(0.05)).unwrap();
    // Between -0.01 and 3: as much room on either side, and no false alarm.
    assert!((found.from - 1.495).abs() < 0.002, "{}", found.from);
    let caught = found.measured.caught.unwrap();
    assert_eq!((found.measured.false_alarms.value, caught.value, found.measured.makers), (0.0, 1.0, 2));
    // None wrong is not "never": three in so many could be.
    assert!((found.measured.false_alarms.high - 0.015).abs() < 1e-9 && (caught.low - 0.925).abs() < 1e-9);
}

#[test]
fn of_what_overlaps_the_ceiling_holds() {
    let spoofed: Vec<Heard> = (0..50).map(|n| Heard { score: n as f32 / 25.0 - 1.0, of: n % 5 }).collect();
    let found = learn(&people(), &spoofed, &ceiling(0.02)).unwrap();
    let alarms = people().iter().filter(|heard| heard.score >= found.from).count();
    let caught = spoofed.iter().filter(|heard| heard.score >= found.from).count();
    assert!(alarms <= 4, "{alarms}");
    assert_eq!(found.measured.caught.unwrap().value, caught as f64 / 50.0);
    assert!(caught >= 25);
}

#[test]
fn what_cannot_be_shown_is_refused() {
    assert_eq!(
        learn(&people(), &[], &ceiling(0.01)),
        Err(CalibrationError::FewPeople { found: 200, needed: 300, ceiling: "1%".into() })
    );
    assert!(learn(&people(), &[], &ceiling(0.015)).is_ok());
    for bad in [0.0, 0.5, -1.0, f64::NAN] {
        assert!(matches!(learn(&people(), &[], &ceiling(bad)), Err(CalibrationError::Field(_))), "{bad}");
    }
    let mut nonsense = people();
    nonsense[0].score = f32::NAN;
    assert!(matches!(learn(&nonsense, &[], &ceiling(0.05)), Err(CalibrationError::Field(_))));
    // A model that takes machines for people says nothing, whatever its numbers are.
    let human: Vec<Heard> = (0..40).map(|n| Heard { score: -5.0, of: n % 2 }).collect();
    assert!(matches!(learn(&people(), &human, &ceiling(0.05)), Err(CalibrationError::Field(why)) if why.contains("finds no more")));
}

/// A network that gives back twice its first eight samples, as a model for synthetic speech: the first number
/// stands for a human voice. `more` makes another file of it.
fn model(more: &[u8]) -> Arc<Plugin> {
    let mut file = twice();
    file.extend(more);
    let sum: String = Sha256::digest(&file).iter().map(|byte| format!("{byte:02x}")).collect();
    let expected: Vec<f32> = self_test_signal().samples()[..8].iter().map(|sample| sample * 2.0).collect();
    let manifest = format!(
        "kind = \"spoof\"\nname = \"test\"\nlicence = \"Apache-2.0\"\nsha256 = \"{sum}\"\nfeatures = \"samples\"\n\
         sample_rate = 8000\ninput = \"x\"\nlength = 8\noutput = \"y\"\nsize = 8\ngenuine = 0\n\
         [self_test]\nexpected = {expected:?}\ntolerance = 1e-5\n"
    );
    Plugin::load(&manifest, &file, &Limits::default()).unwrap()
}

/// With its first samples as that model reads them.
fn marked(audio: &Audio, by: f32) -> Audio {
    let mut samples = audio.samples().to_vec();
    samples[..8].copy_from_slice(&[0.0, by, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    Audio::from_samples(samples).unwrap()
}

#[test]
fn a_threshold_judges_for_its_own_model_and_for_no_other() {
    let engine = Engine::built_in().unwrap();
    let (ours, another) = (model(&[]), model(&common::onnx::proto::text(2, "another producer")));
    let people: Vec<Heard> = (0..60).map(|n| Heard { score: n as f32 / 1000.0, of: n % 6 }).collect();
    let spoofed: Vec<Heard> = (0..30).map(|n| Heard { score: 0.5, of: n % 3 }).collect();
    let goal = Ceiling { model: *ours.sha256(), ..ceiling(0.05) };
    let plain = calibration(&engine);
    let found = plain.clone().with_spoof(learn(&people, &spoofed, &goal).unwrap()).checked().unwrap();
    // It stands in the file, and comes out of it as it was.
    let found = Calibration::from_json(&found.to_json()).unwrap();
    assert_eq!((found.version, found.synthetic_from(another.sha256())), (3, None));
    let from = found.synthetic_from(ours.sha256()).unwrap();
    assert!(from > 0.06 && from < 0.5, "{from}");
    let reference = reference(&engine, "rms-0");
    let answer = again(&voice("rms-0"), 50);
    let verdict = |by: f32, calibration: &Calibration, model: &Arc<Plugin>| {
        engine.verify(&reference, &marked(&answer, by), Some(calibration), Some(model)).unwrap().0.verdict
    };
    assert_eq!(verdict(0.4, &found, &ours), Verdict::Synthetic);
    assert_eq!(verdict(0.0, &found, &ours), Verdict::Alike);
    assert_eq!(verdict(0.4, &found, &another), Verdict::Alike, "its numbers mean something else");
    assert_eq!(verdict(0.4, &plain, &ours), Verdict::Alike, "nobody measured");
    // By hand, as before: whoever writes it knows for which model.
    let by_hand = Calibration { spoof_threshold: Some(0.3), ..plain };
    assert_eq!(verdict(0.4, &Calibration::from_json(&by_hand.to_json()).unwrap(), &another), Verdict::Synthetic);
}

/// What somebody does to a file.
type Edit = fn(&mut Calibration, &mut Measured);

#[test]
fn what_was_edited_is_seen() {
    let engine = Engine::built_in().unwrap();
    let good = calibration(&engine).with_spoof(learn(&people(), &[], &ceiling(0.05)).unwrap());
    let with = |edit: Edit| {
        let mut bad = good.clone();
        let mut spoof = bad.spoof.take().unwrap();
        edit(&mut bad, &mut spoof);
        bad.spoof = Some(spoof);
        Calibration::from_json(&bad.to_json())
    };
    assert!(with(|_, _| ()).is_ok());
    let edits: [Edit; 9] = [
        |_, m| m.model = "x".into(),
        |_, m| m.target_false_alarms = 0.0,
        |_, m| m.genuine = 59,
        |_, m| m.spoofed = 3,
        |_, m| m.people = 0,
        |_, m| m.false_alarms.high = 1.5,
        |c, _| c.version = 2,
        |c, _| c.version = 4,
        |c, _| c.spoof_threshold = None,
    ];
    for (number, edit) in edits.iter().enumerate() {
        assert!(matches!(with(*edit), Err(CalibrationError::Field(_))), "{number}");
    }
}
