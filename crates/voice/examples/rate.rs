//! How fast it is, on one core: `cargo run --release -p countersign-voice --example rate`.
//!
//! A verification is everything from bytes of the telephone to the answer, for about three seconds
//! of sound made up here, with a template that is ready.

use std::time::{Duration, Instant};

use countersign_voice::engine::Engine;
use countersign_voice::quality::{Requirements, measure};
use countersign_voice::score::Speech;
use countersign_voice::{Audio, Progress};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let start = Instant::now();
    let engine = Engine::built_in()?;
    println!("start: {:.0} ms", milliseconds(start.elapsed()));
    let asked = Requirements::verification();
    let mut enrolment = engine.enrol(Speech::Free);
    let mut template = None;
    for seed in 1..4 {
        let take = engine
            .take(&babble(seed, seed as f32)?, &asked)?
            .map_err(|problem| format!("{problem:?}"))?;
        if let Progress::Complete(complete) = enrolment
            .offer(take)
            .map_err(|feedback| format!("{feedback:?}"))?
        {
            template = Some(*complete);
        }
    }
    let template = template.ok_or("no template")?;
    println!("template: {} bytes", template.to_bytes().len());
    let reference = engine.prepare(template.clone())?;
    let audio = babble(4, 4.0)?;
    let take = engine
        .take(&audio, &asked)?
        .map_err(|problem| format!("{problem:?}"))?;
    let frontend = engine.frontend();
    let parts: [(&str, &dyn Fn() -> bool); 7] = [
        ("quality", &|| measure(frontend, &audio).speech > 0.0),
        ("log-mel", &|| !frontend.log_mel(&audio).is_empty()),
        ("cepstra", &|| !frontend.cepstra(&audio).is_empty()),
        ("quality, features, network", &|| {
            engine.take(&audio, &asked).is_ok()
        }),
        ("mixture and distances", &|| {
            engine.compare(&reference, &take).is_some()
        }),
        ("making a template ready", &|| {
            engine.prepare(template.clone()).is_ok()
        }),
        ("a whole verification", &|| {
            engine.verify(&reference, &audio, None, None).is_ok()
        }),
    ];
    for (name, part) in parts {
        let (median, rate) = timed(part);
        println!("{name:<30}{:>8.2} ms{rate:>10.0}/s", milliseconds(median));
    }
    if let Some(memory) = resident() {
        println!("resident: {memory} MB");
    }
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Median time of one, and how many in a second on this core.
fn timed(part: &dyn Fn() -> bool) -> (Duration, f64) {
    let mut times: Vec<Duration> = (0..100)
        .map(|_| {
            let start = Instant::now();
            assert!(part(), "it worked before");
            start.elapsed()
        })
        .collect();
    times.sort();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    (
        median,
        times.len() as f64 / times.iter().sum::<Duration>().as_secs_f64(),
    )
}

/// Memory in use, in megabytes, where the system says so.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace()
        .nth(1)?
        .parse::<u64>()
        .ok()
        .map(|kilobytes| kilobytes / 1024)
}

/// Three seconds that pass for speech: a gliding buzz through moving resonances, in syllables.
fn babble(seed: u32, shift: f32) -> Result<Audio, Failure> {
    let mut state = seed;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state) / f64::from(u32::MAX) - 0.5
    };
    let turn = std::f64::consts::TAU;
    let (mut phase, mut first, mut second) = (0.0f64, [0.0f64; 2], [0.0f64; 2]);
    let samples = (0..24_000).map(|n| {
        let t = f64::from(n) / 8000.0 * (1.0 + 0.05 * f64::from(shift)) + 0.1 * f64::from(shift);
        phase += (115.0 + 25.0 * (turn * 0.9 * t).sin()) / 8000.0;
        let pulse = if phase.fract() < 115.0 / 8000.0 {
            1.0
        } else {
            0.0
        } + 0.02 * noise();
        let syllable = (0.5 - 0.55 * (turn * 3.3 * t).cos()).clamp(0.0, 1.0);
        let low = resonance(pulse, 450.0 + 250.0 * (turn * 1.3 * t).sin(), &mut first);
        let high = resonance(
            low,
            1600.0 + 600.0 * (turn * (1.7 + 0.2 * f64::from(shift)) * t).cos(),
            &mut second,
        );
        (0.02 * syllable * high + 0.002 * noise()) as f32
    });
    let samples: Vec<f32> = samples.collect();
    let loudest = samples
        .iter()
        .fold(1e-6f32, |loudest, sample| loudest.max(sample.abs()));
    Ok(Audio::from_samples(
        samples
            .iter()
            .map(|sample| 0.6 * sample / loudest)
            .collect(),
    )?)
}

/// A resonance of two poles, 100 Hz wide.
fn resonance(input: f64, hertz: f64, memory: &mut [f64; 2]) -> f64 {
    let radius = (-std::f64::consts::PI * 100.0 / 8000.0).exp();
    let [before, before_that] = *memory;
    let turn = (std::f64::consts::TAU * hertz / 8000.0).cos();
    let output = input + 2.0 * radius * turn * before - radius * radius * before_that;
    *memory = [output, before];
    output
}
