//! One answer explained in words, for a person who wants to know why.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Instant,
};

use clap::{Args, Subcommand};
use countersign_voice::{
    Audio, Calibration, Engine, Feedback, Manifest, Plugin, Progress, Quality, Requirements, Template,
    onnx::Limits,
    phrase::{SAME_RECORDING, distance},
    plugin::{Kind as Purpose, self_test_signal},
    score::{PhraseCheck, Speech, Verdict, Verification},
};

use super::{Kind, bad, calls, note, table, warn};
use crate::{Failure, term::{STRONG, good}};

/// What can be said to `voice score`.
#[derive(Args)]
pub struct Score {
    /// Three takes of one person and then the answer; or just two recordings
    #[arg(required = true, num_args = 2..=4, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What is said
    #[arg(long, value_enum, default_value_t = Kind::SamePhrase)]
    speech: Kind,
    /// The calibration to judge by; without one there is no verdict
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// A speaker network of your own instead of ours, by its manifest; the network lies beside it with .onnx
    #[arg(long, value_name = "MANIFEST")]
    speaker: Option<PathBuf>,
    /// A model for synthetic speech, by its manifest; it is judged by the threshold of the calibration
    #[arg(long, value_name = "MANIFEST", requires = "calibration")]
    synthetic: Option<PathBuf>,
}

/// Networks of somebody else's.
#[derive(Subcommand)]
pub enum Models {
    /// Load a network by its manifest, as the engine would, and say what is wrong with it
    Check {
        /// The manifest, in TOML
        manifest: PathBuf,
        /// The network; the manifest's name with .onnx if left out
        #[arg(long, value_name = "FILE")]
        model: Option<PathBuf>,
    },
}

/// The longest manifest is far below this.
pub const MOST_MANIFEST: u64 = 1 << 20;

fn sound(file: &Path) -> Result<Audio, Failure> { calls::load(file).map_err(|why| format!("{}: {why}", calls::plain(&file.to_string_lossy())).into()) }

/// How good a recording is.
pub fn quality(file: &Path) -> Result<ExitCode, Failure> {
    let audio = sound(file)?;
    let quality = Engine::built_in()?.quality(&audio);
    let Quality { seconds, speech, level, snr, clipped, .. } = quality;
    table(&["", "measured", "for an answer", "for enrolment"], &[
        row("length, s", format!("{seconds:.1}"), "", ""),
        row("speech in it, s", format!("{speech:.1}"), "0.7", "1.0"),
        row("above the noise, dB", format!("{snr:.0}"), "10", "14"),
        row("loud parts, dB below full scale", format!("{:.0}", -level), "", ""),
        row("overdriven, %", format!("{:.1}", clipped * 100.0), "1 at most", "0.5 at most"),
    ]);
    anstream::println!();
    match (quality.problem(&Requirements::verification()), quality.problem(&Requirements::enrolment())) {
        (None, None) => good("Good enough for an answer and for enrolment."),
        (None, Some(problem)) => good(&format!("Good enough for an answer, not for enrolment: {}.", calls::problem(&problem))),
        (Some(problem), _) => {
            bad(&format!("Not good enough: {}.", calls::problem(&problem)));
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn row(name: &str, measured: String, answer: &str, enrolment: &str) -> Vec<String> { vec![name.into(), measured, answer.into(), enrolment.into()] }

/// How alike recordings are, and what comes of it.
pub fn score(args: &Score) -> Result<ExitCode, Failure> {
    let calibration = args.calibration.as_deref().map(read).transpose()?;
    let model = args.synthetic.as_deref().map(super::spoof::model).transpose()?;
    if let (Some(model), Some(calibration)) = (&model, &calibration)
        && calibration.synthetic_from(model.sha256()).is_none()
    {
        return Err("this calibration has no threshold for this model: `countersign voice calibrate --synthetic` finds one".into());
    }
    let engine = super::engine(args.speaker.as_deref())?;
    match args.files.as_slice() {
        [first, second] if calibration.is_none() => two(&engine, first, second, args.speaker.is_none()),
        [_, _] => Err("a calibration is for three takes and an answer: give four files".into()),
        [takes @ .., answer] if takes.len() == 3 => verify(&engine, args.speech.into(), takes, answer, calibration.as_ref(), model.as_ref()),
        _ => Err("give two recordings, or three takes and the answer".into()),
    }
}

fn read(file: &Path) -> Result<Calibration, Failure> {
    let name = file.display();
    let meta = std::fs::metadata(file).map_err(|e| format!("cannot read {name}: {e}"))?;
    if meta.len() > Calibration::MOST_BYTES as u64 {
        return Err(format!("{name} is too long for a calibration: `countersign voice calibrate` writes one").into());
    }
    let text = std::fs::read_to_string(file).map_err(|e| format!("cannot read {name}: {e}"))?;
    Calibration::from_json(&text).map_err(|e| format!("{name}: {e}").into())
}

fn two(engine: &Engine, first: &Path, second: &Path, ours: bool) -> Result<ExitCode, Failure> {
    let mut takes = Vec::new();
    for file in [first, second] {
        let audio = sound(file)?;
        let take = engine.take(&audio, &Requirements::verification())?;
        takes.push(take.map_err(|problem| format!("{}: {}", calls::plain(&file.to_string_lossy()), calls::problem(&problem)))?);
    }
    let [one, other] = takes.as_slice() else { return Err("two recordings are compared".into()) };
    let (alike, apart) = (one.embedding().cosine(other.embedding()), distance(one.cepstra(), other.cepstra()));
    anstream::println!("The voices are alike by {STRONG}{alike:.2}{STRONG:#}, on a scale from -1 to 1.{}", if ours { " Two takes of one person are mostly above 0.5, of two people below." } else { " What that means with your network, `countersign voice evaluate` says." });
    if apart < SAME_RECORDING {
        warn(&format!("This is one recording twice: they are {apart:.1} apart, and nobody says a phrase twice as alike as {SAME_RECORDING}."));
    } else if apart.is_finite() {
        anstream::println!("The words are {STRONG}{apart:.1}{STRONG:#} apart. Takes of the same words are mostly 3 to 4.5 apart, of others 4.1 to 5: near 4.3 nobody can tell.");
    } else {
        anstream::println!("They are too different in length for the same words.");
    }
    note("\nThis is no verdict. A template takes three takes, and a verdict a calibration from calls of your own.");
    Ok(ExitCode::SUCCESS)
}

fn verify(engine: &Engine, speech: Speech, takes: &[PathBuf], answer: &Path, calibration: Option<&Calibration>, model: Option<&Arc<Plugin>>) -> Result<ExitCode, Failure> {
    if calibration.is_some_and(|calibration| !calibration.is_for(speech, engine.network())) {
        return Err("this calibration is for another kind of speech or another network: choose --speech, name the network with --speaker, or calibrate anew".into());
    }
    let template = template(engine, speech, takes)?;
    let (answered, _) = engine.verify(&engine.prepare(template)?, &sound(answer)?, calibration, model)?;
    let weights = calibration.and_then(|calibration| calibration.weights).unwrap_or(*engine.weights(speech));
    let synthetic = calibration.zip(model).and_then(|(calibration, model)| calibration.synthetic_from(model.sha256()));
    explain(&answered, weights.mixture > 0.0, synthetic);
    Ok(ExitCode::SUCCESS)
}

fn template(engine: &Engine, speech: Speech, takes: &[PathBuf]) -> Result<Template, Failure> {
    let mut enrolment = engine.enrol(speech);
    for file in takes {
        let name = calls::plain(&file.to_string_lossy());
        let take = engine.take(&sound(file)?, &Requirements::enrolment())?;
        let take = take.map_err(|problem| format!("{name}: {}", calls::problem(&problem)))?;
        match enrolment.offer(take) {
            Ok(Progress::Complete(template)) => return Ok(*template),
            Ok(Progress::More(_)) => {}
            Err(feedback) => return Err(format!("{name}: {}", misfit(&feedback)).into()),
        }
    }
    Err("three takes make a template".into())
}

fn misfit(feedback: &Feedback) -> String {
    match feedback {
        Feedback::Sound(problem) => calls::problem(problem),
        Feedback::PhrasesDiffer(apart) => format!("other words than in the takes before, {apart:.1} apart; for free speech say --speech free"),
        Feedback::SameRecording(_) => "the same recording as a take before: a person says it three times".into(),
        Feedback::VoicesDiffer(alike) => format!("another voice than in the takes before, or a very different line: alike by {alike:.2} only"),
    }
}

fn explain(answer: &Verification, mixture_counts: bool, synthetic: Option<f32>) {
    let verdict = match &answer.verdict {
        Verdict::Alike => "The voice is alike. That is a signal, not a proof.".into(),
        Verdict::Unlike => "The voice is not alike enough.".into(),
        Verdict::OtherPhrase => "The words are others than at enrolment.".into(),
        Verdict::KnownRecording => "This is a recording of one of the takes, not somebody who speaks.".into(),
        Verdict::Synthetic => "A network takes this for synthetic speech.".into(),
        Verdict::Unusable(problem) => format!("Nothing can be said: {}.", calls::problem(problem)),
        Verdict::NotCalibrated => "No verdict: nobody measured what this score means here. `countersign voice calibrate` does.".into(),
    };
    anstream::println!("{STRONG}{verdict}{STRONG:#}\n");
    let mut rows = Vec::new();
    let mut add = |name: &str, value: String, what: String| rows.push(vec![name.to_owned(), value, what]);
    if let Some(score) = answer.score {
        let threshold = answer.threshold.map_or("no threshold without a calibration".into(), |threshold| format!("alike from {threshold:.1} on"));
        add("score", format!("{score:.1}"), threshold);
    }
    if let Some(parts) = &answer.parts {
        add("  network", format!("{:.2}", parts.embedding), "-1 to 1".into());
        let counts = if mixture_counts { "above 0: likelier this voice than anybody's" } else { "does not count here" };
        add("  mixture", format!("{:.2}", parts.mixture), counts.into());
        let counts = match answer.phrase {
            PhraseCheck::Same(_) => "the right words",
            PhraseCheck::Other(_) => "other words",
            PhraseCheck::NotChecked => "words were not judged",
        };
        add("  words apart, on average", format!("{:.1}", parts.distances.mean), counts.into());
        add("  words apart, at least", format!("{:.1}", parts.distances.least), format!("one recording below {SAME_RECORDING}"));
    }
    if let Some(ratio) = answer.log_likelihood_ratio {
        let of = if ratio >= 0.0 { "times likelier this person" } else { "times likelier another" };
        add("likelihood", super::calibrate::about(ratio.abs().exp()), of.into());
    }
    if let (Some(spoof), Some(from)) = (answer.spoof, synthetic) {
        add("synthetic", format!("{spoof:.3}"), format!("synthetic from {from:.3} on"));
    }
    add("speech", format!("{:.1} s", answer.quality.speech), format!("{:.0} dB above the noise", answer.quality.snr));
    let width = rows.iter().filter_map(|row| row.get(2)).map(|text| text.chars().count()).max().unwrap_or(0);
    for row in &mut rows {
        if let Some(text) = row.get_mut(2) {
            *text = format!("{text:width$}");
        }
    }
    table(&["", "measured", ""], &rows);
}

/// Loads a network of somebody else's and lets it prove that it answers as its manifest says.
pub fn check(manifest: &Path, model: Option<&Path>) -> Result<ExitCode, Failure> {
    let limits = Limits::default();
    let text = String::from_utf8(file(manifest, MOST_MANIFEST)?).map_err(|_| format!("{} is not text: the manifest is TOML, the network goes with --model", manifest.display()))?;
    let beside = manifest.with_extension("onnx");
    let model = model.unwrap_or(&beside);
    if model == manifest {
        return Err("give the manifest, not the network: docs/voice.md says what is in one".into());
    }
    let bytes = file(model, limits.file_bytes)?;
    let begun = Instant::now();
    let plugin = match Plugin::load(&text, &bytes, &limits) {
        Ok(plugin) => plugin,
        Err(e) => {
            bad(&format!("{} is not used: {}", model.display(), calls::plain(&e.to_string())));
            return Ok(ExitCode::FAILURE);
        }
    };
    let loaded = begun.elapsed();
    let Manifest { kind, name, licence, size, sample_rate, .. } = plugin.manifest();
    let begun = Instant::now();
    let signal = self_test_signal();
    let (purpose, answers) = match kind {
        Purpose::Embedding => ("a voice as numbers", plugin.embedding(&signal).map(|numbers| numbers.len())),
        Purpose::Spoof => ("synthetic speech and replay", plugin.spoof(&signal).map(|_| *size)),
        Purpose::Vad => ("where there is speech", plugin.speech(&signal).map(|numbers| numbers.len())),
    };
    let answers = answers.map_err(|e| format!("it was loaded, but does not run: {e}"))?;
    let once = begun.elapsed();
    good(&format!("{} would be used: it answers to the signal of the self-test as its manifest says.", calls::plain(name)));
    anstream::println!("  for      {purpose}, {answers} numbers for three seconds at {sample_rate} Hz");
    anstream::println!("  licence  {}, which nobody checked", calls::plain(licence));
    anstream::println!("  SHA-256  {}", hex::encode(plugin.sha256()));
    anstream::println!("  time     {} ms to load and test, {} ms for three seconds", loaded.as_millis(), once.as_millis());
    if *kind == Purpose::Embedding {
        note("With another network for voices, all templates and calibrations start anew.");
    }
    Ok(ExitCode::SUCCESS)
}

fn file(path: &Path, most: u64) -> Result<Vec<u8>, Failure> { calls::bounded(path, most).map_err(|why| format!("{}: {why}", path.display()).into()) }
