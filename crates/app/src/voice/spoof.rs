//! From when on a model for synthetic speech is believed, as part of `voice calibrate`.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use countersign_voice::{
    Calibration, Engine, Plugin, Requirements,
    plugin::Kind as Purpose,
    spoof::{Ceiling, Heard, Measured, Threshold, learn},
};

use super::{Percent, calls::{self, Call, LeftOut, SPOOF, plain}, compare::on_all_cores, grouped, plugin, table, warn};
use crate::{Failure, term};

/// Fewer makers of synthetic speech than this are warned of.
const FEW_MAKERS: usize = 3;

/// What a model said of every recording that is good enough.
pub struct Listened {
    genuine: Vec<Heard>,
    spoofed: Vec<Heard>,
}

/// The model, by its manifest.
pub fn model(manifest: &Path) -> Result<Arc<Plugin>, Failure> { plugin(manifest, Purpose::Spoof, "a model for synthetic speech says kind = \"spoof\"") }

/// Says that such recordings are there, where no model listens to them.
pub fn not_listened_to(spoofed: &[Call]) -> Option<LeftOut> {
    let first = spoofed.first()?;
    let why = format!("{} recordings in which nobody speaks: only `voice calibrate --synthetic MANIFEST` listens to them", grouped(spoofed.len()));
    Some(LeftOut::new(first.file.to_string_lossy(), why))
}

/// Has the model listen to people and to what is synthetic, by the same rule as on a call: whole answers that are good enough.
pub fn listen(engine: &Engine, model: &Arc<Plugin>, root: &Path, people: &[(PathBuf, u32)], spoofed: &[Call], left_out: &mut Vec<LeftOut>) -> Result<Listened, Failure> {
    let names: Vec<&str> = spoofed.iter().map(|call| call.speaker.as_str()).collect::<BTreeSet<_>>().into_iter().collect();
    let maker = |call: &Call| names.binary_search(&call.speaker.as_str()).ok().and_then(|at| u32::try_from(at).ok()).unwrap_or_default();
    let of_makers: Vec<(PathBuf, u32)> = spoofed.iter().map(|call| (call.file.clone(), maker(call))).collect();
    let mut both = Vec::new();
    for files in [people, of_makers.as_slice()] {
        let bar = term::bar("synthetic speech");
        bar.set_length(files.len() as u64);
        let scores = on_all_cores(files, &bar, |(file, of)| {
            let audio = calls::load_below(root, file)?;
            if let Some(problem) = engine.quality(&audio).problem(&Requirements::verification()) {
                return Err(calls::problem(&problem));
            }
            model.spoof(&audio).map(|score| Heard { score, of: *of }).map_err(|e| plain(&e.to_string()))
        });
        let mut heard = Vec::new();
        for ((file, _), score) in files.iter().zip(scores) {
            match score {
                Ok(score) => heard.push(score),
                Err(why) => left_out.push(LeftOut::new(file.to_string_lossy(), why)),
            }
        }
        both.push(heard);
    }
    let spoofed = both.pop().unwrap_or_default();
    Ok(Listened { genuine: both.pop().unwrap_or_default(), spoofed })
}

/// What it would take to show a ceiling: of so many people's recordings none wrong says "below it" with 95%.
pub fn missing(listened: &Listened, ceiling: f64) -> Option<String> {
    let (found, needed) = (listened.genuine.len(), (3.0 / ceiling - 1e-9).ceil() as usize);
    if found >= needed {
        return None;
    }
    let mut line = format!("{} calls of people for {}% false alarms of the model for synthetic speech; {} are needed: record {} more.", grouped(found), Percent(ceiling), grouped(needed), grouped(needed - found));
    let least = 3.0 / found.max(1) as f64;
    if least < 0.2 {
        line.push_str(&format!(" With these, --false-alarms {}% can be shown.", Percent((least * 1000.0).ceil() / 1000.0)));
    }
    Some(line)
}

/// The threshold.
pub fn learnt(listened: &Listened, model: &Plugin, false_alarms: f64, seed: u64) -> Result<Threshold, Failure> {
    let ceiling = Ceiling { false_alarms, model: *model.sha256(), seed, repetitions: 1000 };
    Ok(learn(&listened.genuine, &listened.spoofed, &ceiling)?)
}

/// Says what was found, and what was not.
pub fn tell(calibration: &Calibration) {
    let (Some(from), Some(measured)) = (calibration.spoof_threshold, &calibration.spoof) else { return };
    let Measured { threshold_range: [low, high], false_alarms, caught, genuine, people, spoofed, makers, target_false_alarms, .. } = measured;
    let made = if *spoofed == 0 { "none that is synthetic or replayed".into() } else { format!("{} that are synthetic or replayed, by {makers}", grouped(*spoofed as usize)) };
    anstream::println!("Synthetic speech: {} calls of {people} people, {made}.\n", grouped(*genuine as usize));
    let mut rows = vec![
        vec!["synthetic from".into(), format!("{from:.3}"), format!("{low:.3} to {high:.3}")],
        vec!["false alarms, %".into(), Percent(false_alarms.value).to_string(), format!("{} to {}", Percent(false_alarms.low), Percent(false_alarms.high))],
    ];
    if let Some(caught) = caught {
        rows.push(vec!["found, %".into(), Percent(caught.value).to_string(), format!("{} to {}", Percent(caught.low), Percent(caught.high))]);
    }
    table(&["", "measured", "95 of 100 times"], &rows);
    anstream::println!();
    match caught {
        None => warn(&format!(
            "No recording is labelled `{SPOOF}`. The threshold is the one that at most {}% of people's calls reach, and nobody knows whether anything synthetic does.",
            Percent(*target_false_alarms)
        )),
        Some(caught) => {
            if (*makers as usize) < FEW_MAKERS {
                warn(&format!("Synthetic speech by {makers} only: of other synthesisers and loudspeakers nothing is known. {FEW_MAKERS} or more are better."));
            }
            if caught.low < 0.5 {
                warn(&format!("It may be that fewer than half of these are found ({}%): do not rely on the model.", Percent(caught.low)));
            }
        }
    }
    if false_alarms.high > 1.5 * target_false_alarms {
        warn(&format!("Count with {}% false alarms, not with {}%: that is compatible with these calls.", Percent(false_alarms.high), Percent(*target_false_alarms)));
    }
}
