//! `voice calibrate`: from when on two voices are taken for one, on calls of one's own.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use countersign_server::clock::system_clock;
use countersign_voice::{
    Calibration,
    calibrate::{FEWEST_GENUINE, Goal, calibrate, phrase_threshold},
    score::Speech,
};

use super::{Everything, Input, Kind, Percent, bad, calls::plain, compare::Compared, compared, grouped, name, name_left_out, spoof, table, warn, with_range, words};
use crate::{Failure, survey::write_whole, term::good};

/// Fewer people than this are warned of.
const FEW_PEOPLE: usize = 30;

/// What can be said to `voice calibrate`.
#[derive(Args)]
pub struct Calibrate {
    #[command(flatten)]
    input: Input,
    /// False accepts to aim at, such as 1% or 0.01
    #[arg(long, value_name = "SHARE", value_parser = share)]
    false_accepts: f64,
    /// For what it holds, in words: which line, which prompt
    #[arg(long, value_name = "TEXT")]
    condition: String,
    /// Which kind of speech, if the folder has both
    #[arg(long)]
    speech: Option<Kind>,
    /// Of the right words by the right person, turn away this share for their words
    #[arg(long, default_value = "2%", value_name = "SHARE", value_parser = share)]
    wrong_words: f64,
    /// A model for synthetic speech, by its manifest: find from when on it is believed, too; the model lies beside it with .onnx
    #[arg(long, value_name = "MANIFEST")]
    synthetic: Option<PathBuf>,
    /// Of people who speak, take at most this share for synthetic
    #[arg(long, default_value = "2%", value_name = "SHARE", value_parser = share, requires = "synthetic")]
    false_alarms: f64,
    /// The file to write; another calibration in it is replaced
    #[arg(long, default_value = "voice-calibration.json", value_name = "FILE")]
    out: PathBuf,
}

fn share(text: &str) -> Result<f64, String> {
    let (number, scale) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    let share = number.trim().parse::<f64>().map(|number| number / scale);
    share.ok().filter(|share| *share > 0.0 && *share < 0.5).ok_or_else(|| "write a share above 0% and below 50%, such as 1% or 0.01".into())
}

/// Reads, compares, and writes the file, or says what is missing.
pub fn run(args: &Calibrate) -> Result<ExitCode, Failure> {
    // Before a long work, and again before anything is replaced.
    replaceable(&args.out)?;
    let model = args.synthetic.as_deref().map(spoof::model).transpose()?;
    let Everything { engine, mut groups, mut left_out, root, spoofed } = compared(&args.input)?;
    if let Some(kind) = args.speech {
        groups.retain(|group| group.speech == Speech::from(kind));
    }
    let group = match groups.as_slice() {
        [one] => one,
        [] => return Err("there are no calls of that kind of speech".into()),
        _ => return Err("there are calls of both kinds of speech, and each has a calibration of its own: say --speech same-phrase or --speech free".into()),
    };
    let listened = match &model {
        Some(model) => Some(spoof::listen(&engine, model, &root, &group.files, &spoofed, &mut left_out)?),
        None => {
            left_out.extend(spoof::not_listened_to(&spoofed));
            None
        }
    };
    name_left_out(&left_out);
    let mut missing = missing(group, args.false_accepts);
    missing.extend(listened.as_ref().and_then(|listened| spoof::missing(listened, args.false_alarms)));
    if !missing.is_empty() {
        bad("Too few calls to show what was asked for; nothing was written.");
        for line in missing {
            anstream::println!("  {line}");
        }
        return Ok(ExitCode::FAILURE);
    }
    let today = system_clock().to_string();
    let calls = u32::try_from(group.calls).unwrap_or(u32::MAX);
    let mut goal = Goal::new(args.false_accepts, &plain(&args.condition), group.speech, today.get(..10).unwrap_or_default(), calls);
    goal.network = *engine.network();
    goal.weights = *engine.weights(group.speech);
    goal.seed = args.input.seed;
    if group.speech == Speech::SamePhrase {
        // A hundredth of a distance is more than is known of it.
        goal.phrase_threshold = phrase_threshold(&group.right, args.wrong_words as f32).map(|most| (most * 100.0).ceil() / 100.0);
    }
    let mut calibration = calibrate(&group.trials, &goal)?;
    tell(&calibration, group);
    if let (Some(listened), Some(model)) = (&listened, &model) {
        calibration = calibration.with_spoof(spoof::learnt(listened, model, args.false_alarms, args.input.seed)?).checked()?;
        spoof::tell(&calibration);
    }
    if args.input.speaker.is_some() && args.input.weights_from.is_none() && group.speech == Speech::SamePhrase {
        warn("The score is your network alone: nobody measured how much the mixture and the words say beside it. --weights-from learns that from calls of other people.");
    }
    replaceable(&args.out)?;
    write_whole(&args.out, &calibration.to_json())?;
    good(&format!("The calibration is in {}. It holds for {} with this network, and nothing else.", args.out.display(), words(group.speech)));
    Ok(ExitCode::SUCCESS)
}

/// A file that is something else is not overwritten because of a slip.
fn replaceable(file: &Path) -> Result<(), Failure> {
    if !file.exists() {
        return Ok(());
    }
    let long = std::fs::metadata(file).is_ok_and(|meta| meta.len() > Calibration::MOST_BYTES as u64);
    let text = if long { String::new() } else { std::fs::read_to_string(file).unwrap_or_default() };
    // Also of another version, which this program does not read.
    let looks_like_one = serde_json::from_str::<serde_json::Value>(&text).is_ok_and(|value| value.get("target_false_accepts").is_some() && value.get("threshold").is_some());
    if looks_like_one { Ok(()) } else { Err(format!("{} holds something else than a calibration: name another file with --out", file.display()).into()) }
}

/// What it would take to show a target: comparisons of pairs of people that resemble nobody else's, three
/// times its inverse (so that none of them wrong would say "below the target" with 95%), and enough genuine ones.
fn missing(group: &Compared, target: f64) -> Vec<String> {
    let mut missing = Vec::new();
    let needed = (3.0 / target - 1e-9).ceil() as usize;
    if group.pairs < needed {
        let people = people_for(needed);
        let more = people.saturating_sub(group.people).max(1);
        let who = if group.speech == Speech::SamePhrase { "people who say the same phrase" } else { "people" };
        let mut line = format!(
            "{} {who} make {} pairs that were compared; {} are needed: record {more} more, {people} in all, at least four calls of each.",
            group.people, grouped(group.pairs), grouped(needed)
        );
        // Of what there is: the rarest that can be shown.
        let least = 3.0 / group.pairs.max(1) as f64;
        if least < 0.2 {
            line.push_str(&format!(" With these, {}% can be shown.", Percent((least * 1000.0).ceil() / 1000.0)));
        }
        missing.push(line);
    }
    let genuine = group.trials.iter().filter(|trial| trial.genuine).count();
    let impostors = group.trials.len() - genuine;
    // Fewer comparisons than pairs cannot be, but a limit may have been set low.
    if impostors < needed && group.pairs >= needed {
        missing.push(format!("{} comparisons of impostors; {} are needed: give a larger --impostors.", grouped(impostors), grouped(needed)));
    }
    if genuine < FEWEST_GENUINE {
        missing.push(format!("{genuine} comparisons of a person with themselves; {FEWEST_GENUINE} are needed: record {} more calls of people who have a template.", FEWEST_GENUINE - genuine));
    }
    missing
}

/// How many people make so many pairs.
fn people_for(pairs: usize) -> usize { (2..).find(|people| people * (people - 1) / 2 >= pairs).unwrap_or(usize::MAX) }

fn tell(calibration: &Calibration, group: &Compared) {
    let Calibration { threshold, threshold_range: [low, high], false_accepts, false_refusals, .. } = calibration;
    anstream::println!("{} people, {} calls, {} pairs of people, {}.\n", group.people, grouped(group.calls), grouped(group.pairs), name(group.speech));
    let mut rows = vec![
        vec!["threshold".into(), format!("{threshold:.1}"), format!("{low:.1} to {high:.1}")],
        vec!["false accepts, %".into(), Percent(false_accepts.value).to_string(), format!("{} to {}", Percent(false_accepts.low), Percent(false_accepts.high))],
        vec!["false refusals, %".into(), Percent(false_refusals.value).to_string(), format!("{} to {}", Percent(false_refusals.low), Percent(false_refusals.high))],
    ];
    if let Some(most) = calibration.phrase_threshold {
        rows.push(vec!["words are right up to".into(), format!("{most:.2}"), String::new()]);
    }
    table(&["", "measured", "95 of 100 times"], &rows);
    let even = -calibration.intercept / calibration.slope;
    let at = calibration.log_likelihood_ratio(*threshold);
    let times = if at >= 0.0 { format!("{} times likelier the same person than another", about(at.exp())) } else { format!("{} times likelier another person", about((-at).exp())) };
    anstream::println!("\nA score of {even:.1} says nothing either way. One at the threshold is {times}.\n");
    for warning in warnings(calibration, group) {
        warn(&warning);
    }
}

/// One digit: more is not known.
pub fn about(times: f32) -> String {
    if times < 10.0 {
        return format!("about {times:.0}");
    }
    let scale = 10f32.powf(times.log10().floor());
    if times.is_finite() && times < 1e6 { format!("about {}", (times / scale).round() * scale) } else { "more than a million".into() }
}

fn warnings(calibration: &Calibration, group: &Compared) -> Vec<String> {
    let mut warnings = Vec::new();
    if group.people < FEW_PEOPLE {
        warnings.push(format!("{} people are few: with others everything may look different. {FEW_PEOPLE} or more are better.", group.people));
    }
    let known: BTreeSet<&str> = group.languages.iter().flatten().map(String::as_str).collect();
    match (known.len(), known.first()) {
        (0, _) => warnings.push("Nothing says which languages are spoken: a calibration holds for those that are in it. A column `language` in the list says so.".into()),
        (1, Some(one)) => warnings.push(format!("All that is known is in {}: for callers in another language nothing was measured.", plain(one))),
        _ => {}
    }
    if calibration.false_accepts.high > 1.5 * calibration.target_false_accepts {
        warnings.push(format!("Count with {}% false accepts, not with {}%: that is compatible with these calls.", Percent(calibration.false_accepts.high), Percent(calibration.target_false_accepts)));
    }
    if calibration.false_refusals.value > 0.2 {
        warnings.push(format!("Of the right people {} are refused: this threshold helps few of them. Try more takes of the same phrase, or a larger target.", with_range(&calibration.false_refusals).replacen(' ', "% ", 1)));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_as_people_write_them() {
        assert_eq!(share("1%"), Ok(0.01));
        assert_eq!(share("0.5 %"), Ok(0.005));
        assert_eq!(share("0.02"), Ok(0.02));
        for bad in ["", "%", "0", "50%", "-1%", "nan", "inf", "1", "one"] {
            assert!(share(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn so_many_people_make_so_many_pairs() {
        assert_eq!((people_for(1), people_for(300), people_for(301), people_for(3000)), (2, 25, 26, 78));
    }

    #[test]
    fn likelihoods_have_one_digit() {
        assert_eq!((about(3.4), about(47.0), about(1234.0), about(f32::INFINITY)), ("about 3".into(), "about 50".into(), "about 1000".into(), "more than a million".into()));
    }
}
