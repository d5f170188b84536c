//! `voice`: how well voices are told apart here, and from when on two are taken for one. Needs no server
//! and no configuration.

mod calibrate;
mod calls;
mod compare;
mod evaluate;
mod explain;
mod spoof;

use std::{collections::BTreeSet, fmt, path::{Path, PathBuf}, process::ExitCode, sync::Arc};

use clap::{Args, Subcommand, ValueEnum};
use countersign_voice::{
    Engine, Plugin,
    calibrate::Evaluation,
    embed::Embedder,
    onnx::Limits,
    plugin::Kind as Purpose,
    score::{Fusion, Interval, Speech},
};

use self::{calls::Folder, compare::Compared};
use crate::{
    Failure,
    term::{BAD, DIM, STRONG, WARN},
};

/// What is done with voices.
#[derive(Subcommand)]
pub enum VoiceCommand {
    /// Say how well voices are told apart on labelled calls of your own
    Evaluate(evaluate::Evaluate),
    /// Find the threshold for your calls, and write it to a file
    Calibrate(calibrate::Calibrate),
    /// Compare recordings and explain the answer: three takes and an answer, or just two recordings
    Score(explain::Score),
    /// Say whether a recording is good enough to compare
    Quality {
        /// The recording: .wav, or .ul or .al without a header
        file: PathBuf,
    },
    /// Networks of somebody else's
    #[command(subcommand)]
    Models(explain::Models),
}

/// Runs one of them.
pub fn run(command: VoiceCommand) -> Result<ExitCode, Failure> {
    match command {
        VoiceCommand::Evaluate(args) => evaluate::run(&args),
        VoiceCommand::Calibrate(args) => calibrate::run(&args),
        VoiceCommand::Score(args) => explain::score(&args),
        VoiceCommand::Quality { file } => explain::quality(&file),
        VoiceCommand::Models(explain::Models::Check { manifest, model }) => explain::check(&manifest, model.as_deref()),
    }
}

/// Where labelled calls are, and how they are compared.
#[derive(Args)]
struct Input {
    /// The folder: a folder for each person with their calls, or with a folder for each phrase; or a list, calls.csv. See docs/voice.md
    dir: PathBuf,
    /// The list of the calls instead of DIR/calls.csv
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// Compare each template with at most so many calls of other people
    #[arg(long, default_value_t = 200, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    impostors: u32,
    /// People are drawn again with this seed: the same seed, the same intervals
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A speaker network of your own instead of ours, by its manifest; the network lies beside it with .onnx
    #[arg(long, value_name = "MANIFEST")]
    speaker: Option<PathBuf>,
    /// Learn how much the network, the mixture and the words weigh from calls of other people, in a folder like DIR
    #[arg(long, value_name = "DIR")]
    weights_from: Option<PathBuf>,
}

/// What is said, as somebody types it.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// The same phrase every time
    SamePhrase,
    /// Whatever
    Free,
}

impl From<Kind> for Speech {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::SamePhrase => Self::SamePhrase,
            Kind::Free => Self::Free,
        }
    }
}

/// As it stands in lists and files.
fn name(speech: Speech) -> &'static str {
    match speech {
        Speech::SamePhrase => "same-phrase",
        Speech::Free => "free",
    }
}

fn words(speech: Speech) -> &'static str {
    match speech {
        Speech::SamePhrase => "same phrase",
        Speech::Free => "free speech",
    }
}

/// What came of a folder.
struct Everything {
    engine: Engine,
    groups: Vec<Compared>,
    left_out: Vec<calls::LeftOut>,
    root: PathBuf,
    spoofed: Vec<calls::Call>,
}

/// Reads and compares everything, and says what had to be left out.
fn compared(input: &Input) -> Result<Everything, Failure> {
    let Folder { calls, spoofed, root, mut left_out } = Folder::read(&input.dir, input.list.as_deref())?;
    if calls.is_empty() {
        return Err(format!("there are no calls of people in {}: in what is labelled `{}` nobody speaks", root.display(), calls::SPOOF).into());
    }
    let mut engine = engine(input.speaker.as_deref())?;
    if let Some(others) = &input.weights_from {
        learn(&mut engine, others, input.impostors as usize, &calls, &mut left_out)?;
    }
    let groups = compare::all(&engine, &root, calls, input.impostors as usize, &mut left_out)?;
    Ok(Everything { engine, groups, left_out, root, spoofed })
}

/// The engine, with a network of one's own if one is named.
fn engine(speaker: Option<&Path>) -> Result<Engine, Failure> {
    let Some(manifest) = speaker else { return Ok(Engine::built_in()?) };
    Ok(Engine::with_network(Embedder::plugin(plugin(manifest, Purpose::Embedding, "a speaker network says kind = \"embedding\"")?)?)?)
}

/// A network for this purpose by its manifest; it lies beside it. `says` is how a right manifest reads.
fn plugin(manifest: &Path, purpose: Purpose, says: &str) -> Result<Arc<Plugin>, Failure> {
    let limits = Limits::default();
    let read = |path: &Path, most| calls::bounded(path, most).map_err(|why| format!("{}: {why}", path.display()));
    let text = String::from_utf8(read(manifest, explain::MOST_MANIFEST)?).map_err(|_| format!("{} is not text: name the manifest, the network lies beside it", manifest.display()))?;
    let file = read(&manifest.with_extension("onnx"), limits.file_bytes)?;
    let plugin = Plugin::load(&text, &file, &limits).map_err(|e| format!("{}: {}", manifest.display(), calls::plain(&e.to_string())))?;
    if plugin.manifest().kind == purpose { Ok(plugin) } else { Err(format!("{}: this is a network for something else: {says}", manifest.display()).into()) }
}

/// Learns the weights of each kind of speech that is measured, from other people: from the same ones they
/// would look better than they are.
fn learn(engine: &mut Engine, others: &Path, impostors: usize, measured: &[calls::Call], left_out: &mut Vec<calls::LeftOut>) -> Result<(), Failure> {
    let Folder { calls, root, left_out: of_others, .. } = Folder::read(others, None)?;
    left_out.extend(of_others);
    let people: BTreeSet<&str> = measured.iter().map(|call| call.speaker.as_str()).collect();
    if let Some(both) = calls.iter().find(|call| people.contains(call.speaker.as_str())) {
        return Err(format!("{} is in both folders: weights are learnt from other people than those who are measured", calls::plain(&both.speaker)).into());
    }
    let kinds: Vec<Speech> = [Speech::SamePhrase, Speech::Free].into_iter().filter(|speech| measured.iter().any(|call| call.speech == *speech)).collect();
    let groups = compare::all(engine, &root, calls, impostors, left_out)?;
    for speech in kinds {
        let group = groups.iter().find(|group| group.speech == speech).ok_or_else(|| format!("{} has no calls of {}: nothing can be learnt from them", others.display(), words(speech)))?;
        let genuine: Vec<bool> = group.trials.iter().map(|trial| trial.genuine).collect();
        let found = Fusion::learnt(speech, &group.parts, &genuine).filter(|_| genuine.contains(&true) && genuine.contains(&false));
        let found = found.ok_or_else(|| format!("the calls in {} give no weights of which a higher score would be more alike: they are of too few people, or the network says nothing about them", others.display()))?;
        engine.weigh(speech, found);
    }
    Ok(())
}

/// Names what was left out, on standard error: what is measured is measured without it.
fn name_left_out(left_out: &[calls::LeftOut]) {
    const MOST: usize = 50;
    for calls::LeftOut { file, why } in left_out.iter().take(MOST) {
        anstream::eprintln!("{WARN}left out{WARN:#} {file}: {why}");
    }
    if let Some(more) = left_out.len().checked_sub(MOST).filter(|more| *more > 0) {
        anstream::eprintln!("{WARN}left out{WARN:#} {more} more: --json of `voice evaluate` names them all");
    }
}

/// A share in percent, with as many digits as it is worth: one below ten, none from there on.
struct Percent(f64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.0 * 100.0;
        if (0.0..0.095).contains(&percent) && percent > 0.0 {
            write!(f, "{percent:.2}")
        } else if percent < 9.95 {
            write!(f, "{percent:.1}")
        } else {
            write!(f, "{percent:.0}")
        }
    }
}

/// `1.7 (0.0–3.9)`.
fn with_range(Interval { value, low, high }: &Interval) -> String { format!("{} ({}–{})", Percent(*value), Percent(*low), Percent(*high)) }

/// The same, or how many trials are missing for it.
fn or_too_few(interval: Option<&Interval>, evaluation: &Evaluation, needed: usize) -> String {
    interval.map_or_else(|| format!("{} of {} needed", grouped(evaluation.impostor_trials), grouped(needed)), with_range)
}

/// `12,345`.
fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// Rows below a head, every column as wide as its widest cell; all but the first to the right.
fn table(head: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|cell| cell.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut out = String::new();
        for (column, (cell, width)) in cells.zip(&widths).enumerate() {
            if column == 0 { out.push_str(&format!("{cell:width$}")) } else { out.push_str(&format!("  {cell:>width$}")) }
        }
        out
    };
    anstream::println!("{STRONG}{}{STRONG:#}", line(&mut head.iter().copied()));
    for row in rows {
        anstream::println!("{}", line(&mut row.iter().map(String::as_str)));
    }
}

/// Something to keep in mind about what was measured.
fn warn(text: &str) { anstream::println!("{WARN}!{WARN:#} {text}"); }

/// Something that is not as it should be.
fn bad(text: &str) { anstream::println!("{BAD}✗{BAD:#} {text}"); }

fn note(text: &str) { anstream::println!("{DIM}{text}{DIM:#}"); }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_have_the_digits_that_they_are_worth() {
        for (share, text) in [(0.0, "0.0"), (0.0004, "0.04"), (0.001, "0.1"), (0.0166, "1.7"), (0.0996, "10"), (0.31, "31"), (1.0, "100")] {
            assert_eq!(Percent(share).to_string(), text);
        }
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
