//! Sounds for tests: three synthesised voices (see `data/README.md`), made over so that no two takes
//! are alike, and sounds that are no speech.

#![allow(dead_code, reason = "each test uses some of it")]

pub mod onnx;

use std::f32::consts::TAU;
use std::path::PathBuf;

use countersign_voice::calibrate::{Goal, Trial, calibrate};
use countersign_voice::embed::{BUILT_IN, Embedder};
use countersign_voice::engine::{Engine, Reference};
use countersign_voice::frontend::Frontend;
use countersign_voice::onnx::Limits;
use countersign_voice::plugin::self_test_signal;
use countersign_voice::quality::Requirements;
use countersign_voice::score::{Calibration, Speech};
use countersign_voice::{Audio, Plugin, Progress, Template};
use sha2::{Digest as _, Sha256};

/// "rms" and "kal" of flite and "espeak"; the same words have the same number.
pub fn voice(name: &str) -> Vec<f32> {
    let bytes = match name {
        "rms-0" => &include_bytes!("../data/rms-0.ul")[..],
        "rms-1" => &include_bytes!("../data/rms-1.ul")[..],
        "kal-0" => &include_bytes!("../data/kal-0.ul")[..],
        "espeak-0" => &include_bytes!("../data/espeak-0.ul")[..],
        _ => panic!("no voice {name}"),
    };
    Audio::from_mulaw(bytes).unwrap().samples().to_vec()
}

/// Numbers that look random, from a seed.
pub struct Dice(pub u64);

impl Dice {
    /// Evenly from `low` to `high`.
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let share = ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1u64 << 24) as f32;
        low + share * (high - low)
    }

    /// About normal, variance 1.
    pub fn noise(&mut self) -> f32 {
        (0..12).map(|_| self.between(0.0, 1.0)).sum::<f32>() - 6.0
    }
}

/// The same words once more: faster or slower, here and there held, another line, some noise.
pub fn again(sound: &[f32], seed: u64) -> Audio {
    let mut dice = Dice(seed);
    let length = (sound.len() as f32 * dice.between(0.93, 1.07)) as usize;
    let (held, times, at) = (
        dice.between(150.0, 300.0),
        dice.between(1.0, 2.5),
        dice.between(0.0, 1.0),
    );
    let mut made: Vec<f32> = (0..length)
        .map(|n| {
            let share = n as f32 / length as f32;
            let edge = (share * TAU / 2.0).sin();
            let place =
                share * (sound.len() - 2) as f32 + held * edge * (TAU * (share * times + at)).sin();
            let place = place.clamp(0.0, (sound.len() - 2) as f32);
            let (before, part) = (place as usize, place.fract());
            sound[before] * (1.0 - part) + sound[before + 1] * part
        })
        .collect();
    let tilt = dice.between(-0.4, 0.4);
    for n in (1..made.len()).rev() {
        made[n] += tilt * made[n - 1];
    }
    let signal = spread(&made);
    let noise = signal * 10f32.powf(-dice.between(19.0, 24.0) / 20.0);
    for sample in &mut made {
        *sample = (*sample + noise * dice.noise()) * 0.08 / signal;
    }
    Audio::from_samples(made).unwrap()
}

/// A recording sent once more over a telephone: shifted, another level, a little noise.
pub fn resent(audio: &Audio, seed: u64) -> Audio {
    let mut dice = Dice(seed);
    let noise = spread(audio.samples()) * 0.03;
    let gain = dice.between(0.5, 1.2);
    let shift = dice.between(0.0, 160.0) as usize;
    let shifted = std::iter::repeat_n(&0.0, shift).chain(audio.samples());
    Audio::from_samples(
        shifted
            .map(|sample| gain * (sample + noise * dice.noise()))
            .collect(),
    )
    .unwrap()
}

/// A recording that a small loudspeaker plays in a room, beside a telephone: no lows and no highs, a little
/// overdriven, early reflections and what the room keeps for a quarter of a second, and its noise.
pub fn loudspeaker(audio: &Audio, seed: u64) -> Audio {
    let mut dice = Dice(seed);
    let level = spread(audio.samples());
    let drive = dice.between(1.0, 2.5);
    let mut cone: Vec<f32> = audio
        .samples()
        .iter()
        .map(|sample| (drive * sample / (3.0 * level)).tanh())
        .collect();
    // Poles at 400 to 600 Hz and at 2,200 to 3,000 Hz, 6 dB an octave, each of them twice.
    let (low, high) = (dice.between(400.0, 600.0), dice.between(2200.0, 3000.0));
    for _ in 0..2 {
        let (keep, pass) = ((-TAU * low / 8000.0).exp(), 1.0 - (-TAU * high / 8000.0).exp());
        let (mut before, mut out, mut smooth) = (0.0, 0.0, 0.0);
        for sample in &mut cone {
            out = keep * (out + *sample - before);
            before = *sample;
            smooth += pass * (out - smooth);
            *sample = smooth;
        }
    }
    let echoes: Vec<(usize, f32)> = (0..40)
        .map(|_| {
            let delay = dice.between(0.004, 0.25);
            ((delay * 8000.0) as usize, dice.noise() * 0.25 * 10f32.powf(-3.0 * delay / 0.25))
        })
        .collect();
    let mut heard: Vec<f32> = (0..cone.len() + 1000)
        .map(|n| {
            let direct = cone.get(n).copied().unwrap_or(0.0);
            let room = echoes.iter().filter_map(|(delay, gain)| Some(gain * cone.get(n.checked_sub(*delay)?)?));
            direct + room.sum::<f32>()
        })
        .collect();
    let signal = spread(&heard);
    let noise = signal * 10f32.powf(-dice.between(20.0, 28.0) / 20.0);
    for sample in &mut heard {
        *sample = (*sample + noise * dice.noise()) * 0.08 / signal;
    }
    Audio::from_samples(heard).unwrap()
}

/// Ten words that stand for digits, with pauses between them: pieces of synthesised voices.
pub fn said(digits: &[u8], seed: u64) -> Audio {
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
        out.extend(std::iter::repeat_n(0.0, dice.between(900.0, 1300.0) as usize));
    }
    for sample in &mut out {
        *sample += 0.0008 * dice.noise();
    }
    Audio::from_samples(out).unwrap()
}

/// A template of a synthesised voice, made of three takes.
pub fn template(engine: &Engine, name: &str) -> (Template, Vec<Audio>) {
    let mut enrolment = engine.enrol(Speech::SamePhrase);
    let mut used = Vec::new();
    for seed in 1.. {
        let audio = again(&voice(name), seed);
        let take = engine
            .take(&audio, &Requirements::enrolment())
            .unwrap()
            .unwrap();
        used.push(audio);
        if let Progress::Complete(template) = enrolment.offer(take).unwrap() {
            return (*template, used);
        }
    }
    unreachable!()
}

pub fn reference(engine: &Engine, name: &str) -> Reference {
    engine.prepare(template(engine, name).0).unwrap()
}

/// A network that is not ours, and its manifest: ours, with a word more in its file. It answers alike, and
/// nothing knows that.
pub fn other_network() -> (String, Vec<u8>) {
    let mut file = BUILT_IN.to_vec();
    file.extend(onnx::proto::text(2, "another producer"));
    let sum: String = Sha256::digest(&file)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let answer = Embedder::built_in()
        .unwrap()
        .embed(&Frontend::new(), &self_test_signal())
        .unwrap()
        .unwrap();
    let manifest = format!(
        "kind = \"embedding\"\nname = \"test\"\nlicence = \"Apache-2.0\"\nsha256 = \"{sum}\"\nfeatures = \"log-mel-40\"\n\
         sample_rate = 8000\ninput = \"feats\"\nlongest = 2000\noutput = \"embedding\"\nsize = 128\n\
         [self_test]\nexpected = {:?}\ntolerance = 1e-3\n",
        &answer.values()[..8]
    );
    (manifest, file)
}

/// The engine with that network.
pub fn other_engine() -> Engine {
    let (manifest, file) = other_network();
    let plugin = Plugin::load(&manifest, &file, &Limits::default()).unwrap();
    Engine::with_network(Embedder::plugin(plugin).unwrap()).unwrap()
}

/// A calibration for these synthesised voices, with a threshold between them.
pub fn calibration(engine: &Engine) -> Calibration {
    let mut trials = Vec::new();
    let mut right = Vec::new();
    for (speaker, name) in [(1, "rms-0"), (2, "kal-0")] {
        let reference = reference(engine, name);
        for (other, spoken) in [(1, "rms-0"), (2, "kal-0"), (3, "espeak-0")] {
            for seed in 100..if speaker == other { 116 } else { 108 } {
                let take = engine
                    .take(&again(&voice(spoken), seed), &Requirements::verification())
                    .unwrap()
                    .unwrap();
                let scores = engine.compare(&reference, &take).unwrap();
                let score = engine.score(Speech::SamePhrase, &scores);
                trials.push(Trial {
                    score,
                    genuine: speaker == other,
                    speaker,
                });
                if speaker == other {
                    right.push(scores.distances.mean);
                }
            }
        }
    }
    let mut goal = Goal::new(
        0.1,
        "synthesised voices, for tests only",
        Speech::SamePhrase,
        "2026-01-31",
        80,
    );
    goal.network = *engine.network();
    goal.weights = *engine.weights(Speech::SamePhrase);
    goal.phrase_threshold = Some(right.iter().copied().fold(0.0, f32::max) + 0.05);
    calibrate(&trials, &goal).unwrap()
}

pub fn spread(samples: &[f32]) -> f32 {
    (samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32).sqrt()
}

/// Keys of a telephone, each `on` seconds with as much silence after it.
pub fn dtmf(on: f32) -> Audio {
    let length = (on * 8000.0) as usize;
    let keys = [
        (697.0, 1209.0),
        (770.0, 1477.0),
        (852.0, 1336.0),
        (941.0, 1209.0),
        (697.0, 1477.0),
        (770.0, 1336.0),
    ];
    let mut samples = vec![0.0; 2000];
    for (low, high) in keys.iter().cycle().take(12) {
        samples.extend((0..length).map(|n| {
            let t = TAU * n as f32 / 8000.0;
            0.2 * ((low * t).sin() + (high * t).sin())
        }));
        samples.extend(std::iter::repeat_n(0.0, length));
    }
    Audio::from_samples(samples).unwrap()
}

/// A tune of plucked strings, `note` seconds each, one or more at a time.
pub fn music(note: f32, chord: &[f32], seed: u64) -> Audio {
    let mut dice = Dice(seed);
    let scale = [0.0, 2.0, 4.0, 5.0, 7.0, 9.0, 11.0, 12.0];
    let length = (note * 8000.0) as usize;
    let mut samples = Vec::new();
    for _ in 0..(5.0 / note) as usize {
        let step = scale[dice.between(0.0, 7.99) as usize];
        samples.extend((0..length).map(|n| {
            let t = n as f32 / 8000.0;
            let fade = (n as f32 / 80.0).min(1.0) * (-1.5 * t / note).exp();
            let strings = chord.iter().map(|above| {
                let pitch = 220.0 * 2f32.powf((step + above) / 12.0);
                (1..=8)
                    .filter(|k| pitch * (*k as f32) < 3800.0)
                    .map(|k| (TAU * pitch * k as f32 * t).sin() / k as f32)
                    .sum::<f32>()
            });
            0.1 * fade * strings.sum::<f32>()
        }));
    }
    Audio::from_samples(samples).unwrap()
}

pub fn hiss(seconds: f32, level: f32, seed: u64) -> Audio {
    let mut dice = Dice(seed);
    Audio::from_samples(
        (0..(seconds * 8000.0) as usize)
            .map(|_| level * dice.noise())
            .collect(),
    )
    .unwrap()
}

/// Recordings that are not part of the project: see `docs/voice.md`. Tests that need them are ignored unless
/// somebody asks for them, and then they need them.
pub fn data() -> PathBuf {
    const NAME: &str = "COUNTERSIGN_VOICE_DATA";
    let Some(path) = std::env::var_os(NAME).map(PathBuf::from) else {
        panic!("{NAME} names no directory of recordings");
    };
    for part in [
        "data_fsdd_cc-by-sa-4.0_manifest.csv",
        "data_so762_cc-by-4.0_manifest.csv",
        "data_spoof_generated_manifest.csv",
        "golden",
        "models",
    ] {
        assert!(
            path.join(part).exists(),
            "{NAME} is {}, and there is no {part} in it: name the directory of all recordings, from the root",
            path.display()
        );
    }
    path
}
