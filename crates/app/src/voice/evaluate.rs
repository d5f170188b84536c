//! `voice evaluate`: how well voices are told apart.

use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;
use countersign_voice::{
    calibrate::{Evaluation, evaluate},
    det,
    score::{Interval, Speech},
};
use serde::Serialize;

use super::{Everything, Input, Percent, calls::LeftOut, compare::Compared, compared, grouped, name, name_left_out, note, or_too_few, spoof, table, with_range, words};
use crate::{Failure, survey::write_whole, term::good};

/// What can be said to `voice evaluate`.
#[derive(Args)]
pub struct Evaluate {
    #[command(flatten)]
    input: Input,
    /// Draw false refusals against false accepts into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Print everything as JSON, and nothing else
    #[arg(long)]
    json: bool,
    /// How often people are drawn again for the intervals
    #[arg(long, default_value_t = 1000, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(100..=10_000))]
    repetitions: u32,
}

/// What comes out of one kind of speech.
struct Group<'a> {
    compared: &'a Compared,
    voices: Option<Evaluation>,
    words: Option<Evaluation>,
}

/// All of it, for other programs.
#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    network: String,
    seed: u64,
    repetitions: u32,
    kinds: Vec<KindReport>,
    left_out: &'a [LeftOut],
}

#[derive(Serialize)]
struct KindReport {
    kind: &'static str,
    people: usize,
    calls: usize,
    pairs_of_people: usize,
    voices: Option<Rates>,
    words: Option<Rates>,
}

/// Shares, 0 to 1, with the range in which 95 of 100 repetitions would have them.
#[derive(Serialize)]
struct Rates {
    genuine: usize,
    impostors: usize,
    equal_error: Interval,
    refused_at_1_percent: Option<Interval>,
    refused_at_1_permille: Option<Interval>,
}

impl From<&Evaluation> for Rates {
    fn from(evaluation: &Evaluation) -> Self {
        Self {
            genuine: evaluation.genuine_trials, impostors: evaluation.impostor_trials, equal_error: evaluation.equal_error,
            refused_at_1_percent: evaluation.refusals_at_1_percent, refused_at_1_permille: evaluation.refusals_at_1_permille,
        }
    }
}

/// Reads, compares, says, draws.
pub fn run(args: &Evaluate) -> Result<ExitCode, Failure> {
    let Everything { engine, groups: all, mut left_out, spoofed, .. } = compared(&args.input)?;
    left_out.extend(spoof::not_listened_to(&spoofed));
    let measure = |trials| evaluate(trials, args.input.seed, args.repetitions);
    let groups: Vec<Group<'_>> = all.iter().map(|compared| Group { compared, voices: measure(&compared.trials), words: measure(&compared.words) }).collect();
    if args.json {
        let kinds = groups.iter().map(|Group { compared, voices, words }| KindReport {
            kind: name(compared.speech), people: compared.people, calls: compared.calls, pairs_of_people: compared.pairs,
            voices: voices.as_ref().map(Rates::from), words: words.as_ref().map(Rates::from),
        });
        let report = Report {
            version: 1, network: hex::encode(engine.network()), seed: args.input.seed, repetitions: args.repetitions, kinds: kinds.collect(), left_out: &left_out,
        };
        // For a program: no colour has a place in it.
        writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        name_left_out(&left_out);
        tell(&groups, left_out.len());
    }
    let curves: Vec<(String, &[(f64, f64)])> = groups.iter().filter_map(|group| Some((label(group), group.voices.as_ref()?.curve.as_slice()))).collect();
    let curves: Vec<det::Curve<'_>> = curves.iter().map(|(label, curve)| (label.as_str(), *curve)).collect();
    if curves.is_empty() {
        return Err("nothing can be said about voices: it takes people with at least four calls each, three of them for the template, and calls of others with the same words".into());
    }
    if !args.json && std::io::stdout().is_terminal() {
        anstream::println!("\n{}", det::text(&curves));
    }
    if let Some(file) = &args.svg {
        write_whole(file, &det::svg(&curves, "False refusals against false accepts", &in_words(&groups)))?;
        if !args.json {
            good(&format!("The curves are in {}.", file.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn label(group: &Group<'_>) -> String { format!("{}, {} people", words(group.compared.speech), group.compared.people) }

fn tell(groups: &[Group<'_>], left_out: usize) {
    let calls: usize = groups.iter().map(|group| group.compared.calls).sum();
    let left_out = if left_out == 0 { String::new() } else { format!("; {} left out, named above", grouped(left_out)) };
    anstream::println!("{} calls were good enough{left_out}.\n", grouped(calls));
    let mut rows = Vec::new();
    for Group { compared, voices, words: right_words } in groups {
        let row = |what: String, evaluation: &Option<Evaluation>| match evaluation {
            Some(e) => vec![
                what, compared.people.to_string(), grouped(e.genuine_trials), grouped(e.impostor_trials), with_range(&e.equal_error),
                or_too_few(e.refusals_at_1_percent.as_ref(), e, 100), or_too_few(e.refusals_at_1_permille.as_ref(), e, 1000),
            ],
            None => vec![what, compared.people.to_string(), "-".into(), "-".into(), "too few".into(), "-".into(), "-".into()],
        };
        rows.push(row(words(compared.speech).into(), voices));
        if compared.speech == Speech::SamePhrase {
            rows.push(row("  wrong words, right person".into(), right_words));
        }
    }
    table(&["", "people", "genuine", "impostors", "equal error, %", "refused at 1%", "refused at 0.1%"], &rows);
    note("\n“Refused” are false refusals in % at so many false accepts. In brackets is where 95 of 100 repetitions with other people like these would be.");
    if groups.iter().any(|group| group.compared.people < 30) {
        note("With fewer than thirty people even the brackets say little.");
    }
}

/// The curves for whom they are read to.
fn in_words(groups: &[Group<'_>]) -> String {
    let one = |group: &Group<'_>| {
        let voices = group.voices.as_ref()?;
        let at_1_percent = voices.refusals_at_1_percent.map_or(String::new(), |refused| format!(", false refusals at 1% false accepts {}%", Percent(refused.value)));
        Some(format!("{}: equal error {}%{at_1_percent}.", label(group), Percent(voices.equal_error.value)))
    };
    groups.iter().filter_map(one).collect::<Vec<_>>().join(" ")
}
