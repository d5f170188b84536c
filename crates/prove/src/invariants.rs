//! Whether promises hold.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use cedar_policy::{PolicySet, RequestEnv};
use countersign_policy::{Engine, Invariant, case::Question};
use serde::{Deserialize, Serialize};

use crate::{
    plain::plainest,
    solver::{Answer, AsyncWork, ProveError, Prover, Settings, compile, side_by_side, trusted},
    world,
};

/// A request that breaks a promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// In words.
    pub sentence: String,
    /// As a line of the reviewed tables, with the answer that the policies give now: it can be asked
    /// again with `countersign policy test`.
    pub line: String,
    /// The policies that permit it.
    pub policies: Vec<String>,
}

impl Example {
    pub(crate) fn of(engine: &Engine, question: &Question) -> Self {
        let decision = question.ask(engine);
        Self { sentence: format!("`{}` is permitted to {}", question.action, question.sentence()), line: question.line(&decision), policies: decision.policies }
    }
}

/// What came of a promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It holds for every caller, agent and account.
    Proved,
    /// It does not.
    Broken {
        /// How. Empty only where the solver found something that could not be read.
        examples: Vec<Example>,
    },
    /// Nothing is known.
    Unknown {
        /// Why.
        why: String,
    },
}

/// One promise and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Its name.
    pub id: String,
    /// What it promises.
    pub says: String,
    /// In which file, and in which line.
    pub place: (String, usize),
    /// Questions to the solver.
    pub questions: usize,
    /// What came of it.
    pub verdict: Verdict,
}

/// What came of all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The policy set.
    pub version: String,
    /// Promise by promise.
    pub checked: Vec<Checked>,
    /// How long it took.
    pub took: Duration,
}

impl Report {
    /// Whether every promise is proved. No promise at all is nothing proved.
    pub fn holds(&self) -> bool { !self.checked.is_empty() && self.checked.iter().all(|c| c.verdict == Verdict::Proved) }
}

struct Job {
    env: RequestEnv,
    invariants: Vec<usize>,
}

#[derive(Clone)]
struct Work {
    engine: Arc<Engine>,
    invariants: Arc<Vec<Invariant>>,
}

type Found = Vec<(usize, Answer)>;

impl Work {
    async fn check(&self, prover: &mut Prover, job: &Job) -> Result<Found, ProveError> {
        let policies = self.engine.policy_set().map_err(ProveError::Texts)?;
        let mut left: Vec<_> = policies.policies().cloned().collect();
        left.push(world::world()?);
        let left = compile(&world::set(left)?, &job.env, &self.engine)?;
        let mut found = Vec::new();
        for at in &job.invariants {
            let Some(invariant) = self.invariants.get(*at) else { continue };
            let right = compile(&promised(invariant)?, &job.env, &self.engine)?;
            found.push((*at, prover.implies(&left, &right).await));
        }
        Ok(found)
    }
}

impl<'a> AsyncWork<'a, Job, Found> for Work {
    fn work(&'a self, prover: &'a mut Prover, job: &'a Job) -> Pin<Box<dyn Future<Output = Result<Found, ProveError>> + Send + 'a>> {
        Box::pin(self.check(prover, job))
    }
}

/// Everything, except what the invariant forbids.
fn promised(invariant: &Invariant) -> Result<PolicySet, ProveError> { world::set([world::everything()?, invariant.policy.clone()]) }

/// Proves invariants of a policy set, or shows how they are broken. `progress` is told how many of
/// how many kinds of requests are done.
///
/// # Errors
/// If the solver is missing or not to be trusted: then nothing at all is known.
pub async fn prove(
    engine: Arc<Engine>, invariants: Vec<Invariant>, settings: &Settings, progress: Arc<dyn Fn(usize, usize) + Send + Sync>,
) -> Result<Report, ProveError> {
    let begun = Instant::now();
    trusted(settings, &engine).await?;
    let invariants = Arc::new(invariants);
    let about = |env: &RequestEnv| -> Vec<usize> {
        let Some(action) = world::action_of(env.action()) else { return Vec::new() };
        invariants.iter().enumerate().filter(|(_, i)| i.covers.contains(&action)).map(|(at, _)| at).collect()
    };
    let jobs = engine.schema().request_envs().map(|env| Job { invariants: about(&env), env }).filter(|job| !job.invariants.is_empty()).collect();
    let work = Work { engine: engine.clone(), invariants: invariants.clone() };
    let answers = side_by_side(settings, jobs, progress, work).await?;
    let mut by_invariant: BTreeMap<usize, Vec<Answer>> = BTreeMap::new();
    for (at, answer) in answers.into_iter().flatten() {
        by_invariant.entry(at).or_default().push(answer);
    }
    let set = engine.policy_set().map_err(ProveError::Texts)?;
    let mut checked = Vec::new();
    for (at, invariant) in invariants.iter().enumerate() {
        let answers = by_invariant.remove(&at).unwrap_or_default();
        let questions = answers.len();
        let promise = promised(invariant)?;
        let broken = |question: &Question| world::permits(&engine, &set, question) && !world::permits(&engine, &promise, question);
        checked.push(Checked {
            id: invariant.id.clone(), says: invariant.says.clone(), place: invariant.place.clone(), questions,
            verdict: verdict(&engine, answers, broken),
        });
    }
    Ok(Report { version: countersign_core::action::Policy::version(engine.as_ref()).to_owned(), checked, took: begun.elapsed() })
}

fn verdict(engine: &Engine, answers: Vec<Answer>, broken: impl Fn(&Question) -> bool) -> Verdict {
    if answers.is_empty() {
        return Verdict::Unknown { why: "no request can be asked that it is about".into() };
    }
    let (mut examples, mut fails, mut unknown) = (Vec::new(), false, None);
    for answer in answers {
        match answer {
            Answer::Holds => {}
            Answer::Unknown(why) => unknown = unknown.or(Some(why)),
            Answer::Fails(found) => {
                fails = true;
                // Asked again as it is written: what the solver read wrongly is no example.
                if let Some(question) = found.filter(|q| broken(q)) {
                    let plain = Example::of(engine, &plainest(*question, &broken));
                    if !examples.contains(&plain) {
                        examples.push(plain);
                    }
                }
            }
        }
    }
    match unknown {
        _ if fails => Verdict::Broken { examples },
        Some(why) => Verdict::Unknown { why },
        None => Verdict::Proved,
    }
}

/// Whether a set permits nothing that another refuses: that packs never weaken what they lie over.
/// `None`: nothing is known, the reason is in the report's text.
///
/// # Errors
/// As [`prove`].
pub async fn stays_within(strict: &Arc<Engine>, base: &Arc<Engine>, settings: &Settings) -> Result<Verdict, ProveError> {
    let differences = crate::diff(base.clone(), strict.clone(), settings, Arc::new(|_, _| ())).await?;
    let unknown = differences.iter().find_map(|d| d.unknown.clone());
    let examples: Vec<Example> = differences.into_iter().filter(|d| d.direction == crate::Direction::Permits).filter_map(|d| d.example).collect();
    Ok(match unknown {
        _ if !examples.is_empty() => Verdict::Broken { examples },
        Some(why) => Verdict::Unknown { why },
        None => Verdict::Proved,
    })
}
