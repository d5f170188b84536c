//! How fast voices are compared: in this process, on one core, without a server.

use std::time::{Duration, Instant};

use countersign_voice::{Audio, Engine, Progress, Requirements, Speech};
use serde_json::{Value, json};

use crate::{Fail, process};

/// Verifications that are timed for each second of the bench.
const A_SECOND: u64 = 10;

/// Times verifications of three seconds of sound, from samples to the answer, with a template that is ready.
pub fn measure(length: Duration) -> Result<Value, Fail> {
    let own = std::process::id();
    let before = process::memory(own);
    let began = Instant::now();
    let engine = Engine::built_in()?;
    let start = began.elapsed();
    let mut enrolment = engine.enrol(Speech::Free);
    let mut template = None;
    for seed in 1..4 {
        let take = engine.take(&babble(seed)?, &Requirements::verification())?.map_err(|problem| format!("made-up speech is not taken for speech: {problem:?}"))?;
        if let Progress::Complete(complete) = enrolment.offer(take).map_err(|feedback| format!("made-up takes do not fit together: {feedback:?}"))? {
            template = Some(*complete);
        }
    }
    let template = template.ok_or("three takes make no template")?;
    let bytes = template.to_bytes().len();
    let reference = engine.prepare(template)?;
    let audio = babble(4)?;
    let mut times = Vec::new();
    let (all, cpu) = (Instant::now(), process::cpu(own));
    for _ in 0..length.as_secs().max(1) * A_SECOND {
        let began = Instant::now();
        let (answer, _) = engine.verify(&reference, &audio, None, None)?;
        // Without a comparison there was nothing to time.
        answer.score.ok_or("the answer was not compared")?;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    let (all, cpu) = (all.elapsed().as_secs_f64(), process::cpu(own) - cpu);
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times.get((part * (times.len() - 1) as f64).round() as usize).copied();
    let count = times.len() as f64;
    Ok(json!({
        "verifications": times.len(), "seconds_of_sound": 3, "p50_ms": at(0.5), "p99_ms": at(0.99), "per_second": count / all,
        // Whatever else runs on the machine, this is what one costs.
        "cpu_ms": cpu * 1000.0 / count, "per_second_of_cpu": count / cpu.max(0.001),
        "start_ms": start.as_secs_f64() * 1000.0, "template_bytes": bytes, "rss_mib": process::memory(own).rss, "more_rss_mib": process::memory(own).rss - before.rss,
    }))
}

/// Three seconds that pass for speech: a gliding buzz through moving resonances, in syllables.
fn babble(seed: u32) -> Result<Audio, Fail> {
    let (turn, shift) = (std::f64::consts::TAU, f64::from(seed));
    let mut state = seed;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state) / f64::from(u32::MAX) - 0.5
    };
    let (mut phase, mut first, mut second) = (0.0f64, [0.0f64; 2], [0.0f64; 2]);
    let samples: Vec<f64> = (0..24_000).map(|n| {
        let t = f64::from(n) / 8000.0 * (1.0 + 0.05 * shift) + 0.1 * shift;
        phase += (115.0 + 25.0 * (turn * 0.9 * t).sin()) / 8000.0;
        let pulse = if phase.fract() < 115.0 / 8000.0 { 1.0 } else { 0.0 };
        let syllable = (0.5 - 0.55 * (turn * 3.3 * t).cos()).clamp(0.0, 1.0);
        let low = resonance(pulse + 0.02 * noise(), 450.0 + 250.0 * (turn * 1.3 * t).sin(), &mut first);
        let high = resonance(low, 1600.0 + 600.0 * (turn * (1.7 + 0.2 * shift) * t).cos(), &mut second);
        0.02 * syllable * high + 0.002 * noise()
    }).collect();
    let loudest = samples.iter().fold(1e-6f64, |loudest, sample| loudest.max(sample.abs()));
    Ok(Audio::from_samples(samples.iter().map(|sample| (0.6 * sample / loudest) as f32).collect())?)
}

/// A resonance of two poles, 100 Hz wide.
fn resonance(input: f64, hertz: f64, memory: &mut [f64; 2]) -> f64 {
    let radius = (-std::f64::consts::PI * 100.0 / 8000.0).exp();
    let [before, before_that] = *memory;
    let output = input + 2.0 * radius * (std::f64::consts::TAU * hertz / 8000.0).cos() * before - radius * radius * before_that;
    *memory = [output, before];
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_timed_is_compared() {
        let measured = measure(Duration::from_secs(1)).unwrap();
        assert_eq!(measured["verifications"], 10);
        assert!(measured["p50_ms"].as_f64().unwrap() > 0.0 && measured["p99_ms"].as_f64() >= measured["p50_ms"].as_f64());
    }
}
