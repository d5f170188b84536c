//! Every template against calls of the same person and of others.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use countersign_voice::{
    Engine, Feedback, Progress, Take, Template,
    calibrate::Trial,
    engine::Reference,
    phrase::{Distance, SAME_RECORDING},
    quality::Requirements,
    score::{Scores, Speech},
};
use indicatif::ProgressBar;

use super::calls::{self, Call, LeftOut, Role, plain};
use crate::{Failure, term};

/// Distances are infinite between takes of very different length; this is as far as any that differ.
const FARTHEST: Distance = 10.0;

/// Everything that was compared of one kind of speech.
pub struct Compared {
    /// Of which.
    pub speech: Speech,
    /// Right words: the same person, or another.
    pub trials: Vec<Trial>,
    /// What the score of each of them was made of.
    pub parts: Vec<Scores>,
    /// Right words against wrong ones, by the same person: `genuine` are the right ones.
    pub words: Vec<Trial>,
    /// Mean distances of right words by the right person.
    pub right: Vec<Distance>,
    /// People with a template.
    pub people: usize,
    /// Pairs of people that were compared as impostors, whoever of them had the template.
    pub pairs: usize,
    /// Calls that were good enough.
    pub calls: usize,
    /// Which those are, below the folder, and whose, as a number.
    pub files: Vec<(PathBuf, u32)>,
    /// Languages, as far as the list says; `None` is a call of which it says none.
    pub languages: BTreeSet<Option<String>>,
}

/// A call that is good enough.
struct Heard {
    call: Call,
    take: Take,
    speaker: u32,
}

/// A person's template for a phrase, or for free speech.
struct Enrolled<'a> {
    reference: Reference,
    speaker: u32,
    phrase: &'a str,
}

/// Compares the calls of each kind of speech among themselves.
pub fn all(engine: &Engine, root: &Path, calls: Vec<Call>, impostors: usize, left_out: &mut Vec<LeftOut>) -> Result<Vec<Compared>, Failure> {
    let mut groups = Vec::new();
    let mut kinds = [Vec::new(), Vec::new()];
    let [same_phrase, free] = &mut kinds;
    for call in calls {
        if call.speech == Speech::SamePhrase { same_phrase.push(call) } else { free.push(call) }
    }
    for (speech, calls) in [Speech::SamePhrase, Speech::Free].into_iter().zip(kinds) {
        if !calls.is_empty() {
            groups.push(group(engine, root, speech, calls, impostors, left_out)?);
        }
    }
    Ok(groups)
}

fn group(engine: &Engine, root: &Path, speech: Speech, calls: Vec<Call>, impostors: usize, left_out: &mut Vec<LeftOut>) -> Result<Compared, Failure> {
    let heard = listen(engine, root, calls, left_out)?;
    let mut used = vec![false; heard.len()];
    let mut enrolled = Vec::new();
    let mut by_person: BTreeMap<(u32, &str), Vec<usize>> = BTreeMap::new();
    for (at, one) in heard.iter().enumerate() {
        by_person.entry((one.speaker, &one.call.phrase)).or_default().push(at);
    }
    for ((speaker, phrase), of_person) in by_person {
        if let Some((template, takes)) = enrol(engine, speech, &heard, &of_person, left_out) {
            for at in takes {
                if let Some(used) = used.get_mut(at) {
                    *used = true;
                }
            }
            enrolled.push(Enrolled { reference: engine.prepare(template)?, speaker, phrase });
        }
    }
    // Where nobody could be enrolled with them, they are still somebody else's voice.
    let tests: Vec<&Heard> = heard.iter().zip(&used).filter(|(one, used)| !**used && one.call.role != Some(Role::Enrol)).map(|(one, _)| one).collect();
    let chosen = choose(&enrolled, &tests, impostors);
    let bar = term::bar("comparisons");
    bar.set_length(chosen.len() as u64);
    let scores = on_all_cores(&chosen, &bar, |(template, test)| engine.compare(&template.reference, &test.take));
    let mut compared = Compared {
        speech, trials: Vec::new(), parts: Vec::new(), words: Vec::new(), right: Vec::new(), pairs: 0, calls: heard.len(),
        files: heard.iter().map(|one| (one.call.file.clone(), one.speaker)).collect(),
        people: enrolled.iter().map(|one| one.speaker).collect::<BTreeSet<_>>().len(),
        languages: heard.iter().map(|one| one.call.language.clone()).collect(),
    };
    let mut pairs = BTreeSet::new();
    for ((template, test), scores) in chosen.iter().zip(scores) {
        let Some(scores) = scores else { continue };
        let genuine = template.speaker == test.speaker;
        if scores.distances.least < SAME_RECORDING {
            let whose = if genuine { "is one of their takes at enrolment once more: a copy proves nothing, take it away" } else { "is the same recording as one of another person: one of the labels is wrong" };
            left_out.push(LeftOut::new(test.call.file.to_string_lossy(), whose));
            continue;
        }
        compared.add(engine, template, test, &scores);
        if !genuine && template.phrase == test.call.phrase {
            pairs.insert((template.speaker.min(test.speaker), template.speaker.max(test.speaker)));
        }
    }
    compared.pairs = pairs.len();
    Ok(compared)
}

impl Compared {
    fn add(&mut self, engine: &Engine, template: &Enrolled<'_>, test: &Heard, scores: &Scores) {
        let (genuine, right_words, speaker) = (template.speaker == test.speaker, template.phrase == test.call.phrase, template.speaker);
        let distance = scores.distances.mean.min(FARTHEST);
        if right_words {
            self.trials.push(Trial { score: engine.score(self.speech, scores), genuine, speaker });
            self.parts.push(*scores);
        }
        if genuine && self.speech == Speech::SamePhrase {
            self.words.push(Trial { score: -distance, genuine: right_words, speaker });
            if right_words {
                self.right.push(distance);
            }
        }
    }
}

/// Reads every call and keeps those that are good enough.
fn listen(engine: &Engine, root: &Path, calls: Vec<Call>, left_out: &mut Vec<LeftOut>) -> Result<Vec<Heard>, Failure> {
    let names: BTreeSet<&str> = calls.iter().map(|call| call.speaker.as_str()).collect();
    let names: BTreeMap<String, u32> = names.into_iter().map(str::to_owned).zip(0..).collect();
    let bar = term::bar("calls");
    bar.set_length(calls.len() as u64);
    let asked = Requirements::verification();
    let takes = on_all_cores(&calls, &bar, |call| {
        let audio = calls::load_below(root, &call.file)?;
        // A network that fails is no fault of this call alone, but the next ones say so themselves.
        engine.take(&audio, &asked).map_err(|e| e.to_string())?.map_err(|problem| calls::problem(&problem))
    });
    let mut heard = Vec::with_capacity(calls.len());
    for (call, take) in calls.into_iter().zip(takes) {
        match take {
            Ok(take) => {
                let speaker = names.get(&call.speaker).copied().unwrap_or_default();
                heard.push(Heard { call, take, speaker });
            }
            Err(why) => left_out.push(LeftOut::new(call.file.to_string_lossy(), why)),
        }
    }
    Ok(heard)
}

/// The template of a person, of the calls that the list names for it or else of the first that fit
/// together, and which calls it is made of.
fn enrol(engine: &Engine, speech: Speech, heard: &[Heard], of_person: &[usize], left_out: &mut Vec<LeftOut>) -> Option<(Template, Vec<usize>)> {
    let roles = of_person.iter().any(|at| heard.get(*at).is_some_and(|one| one.call.role == Some(Role::Enrol)));
    let (mut enrolment, mut takes) = (engine.enrol(speech), Vec::new());
    let mut why = None;
    for &at in of_person {
        let Some(one) = heard.get(at).filter(|one| one.call.role != Some(Role::Test) && (!roles || one.call.role == Some(Role::Enrol))) else { continue };
        match enrolment.offer(one.take.clone()) {
            Ok(Progress::More(_)) => takes.push(at),
            Ok(Progress::Complete(template)) => {
                takes.push(at);
                return Some((*template, takes));
            }
            Err(feedback) => why = Some(feedback),
        }
    }
    let one = of_person.first().and_then(|at| heard.get(*at))?;
    let name = if speech == Speech::Free { one.call.speaker.clone() } else { format!("{}, “{}”", one.call.speaker, plain(&one.call.phrase)) };
    let because = match why {
        Some(Feedback::PhrasesDiffer(_)) => ": the words differ, check the labels",
        Some(Feedback::VoicesDiffer(_)) => ": the voices differ, check the labels",
        Some(Feedback::SameRecording(_)) => ": some are copies of one recording",
        Some(Feedback::Sound(_)) | None => "",
    };
    left_out.push(LeftOut::new(name, format!("no template: three takes that fit together are needed, {} do{because}", takes.len())));
    None
}

/// Which are compared: all of the same person, and of others so many of each template, spread evenly
/// over them.
fn choose<'a>(enrolled: &'a [Enrolled<'a>], tests: &[&'a Heard], impostors: usize) -> Vec<(&'a Enrolled<'a>, &'a Heard)> {
    let mut chosen = Vec::new();
    for (number, template) in enrolled.iter().enumerate() {
        let (own, others): (Vec<&Heard>, Vec<&Heard>) = tests.iter().partition(|test| test.speaker == template.speaker);
        // Somebody else with other words is turned away twice: that says nothing about voices.
        let others: Vec<&Heard> = others.into_iter().filter(|test| test.call.phrase == template.phrase).collect();
        let take = others.len().min(impostors);
        let places = (0..take).map(|n| (n * others.len() / take.max(1) + number) % others.len().max(1));
        chosen.extend(own.into_iter().map(|test| (template, test)));
        chosen.extend(places.collect::<BTreeSet<_>>().into_iter().filter_map(|at| others.get(at)).map(|test| (template, *test)));
    }
    chosen
}

/// Does the same to each on all cores; the answers are in the order of what was asked.
pub fn on_all_cores<T: Sync, R: Send>(items: &[T], bar: &ProgressBar, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        while let Some((at, item)) = Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, items.get(at)?))) {
            done.push((at, work(item)));
            bar.inc(1);
        }
        done
    };
    let cores = thread::available_parallelism().map_or(1, usize::from).min(items.len().max(1));
    let mut all: Vec<(usize, R)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        let join = |worker: thread::ScopedJoinHandle<'_, Vec<(usize, R)>>| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        workers.into_iter().flat_map(join).collect()
    });
    bar.finish_and_clear();
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, answer)| answer).collect()
}
