//! What a change of policies newly permits or refuses, with examples.

use std::{future::Future, pin::Pin, sync::Arc};

use cedar_policy::{PolicySet, RequestEnv};
use countersign_core::action::Action;
use countersign_policy::{Engine, Who, case::Question};

use crate::{
    invariants::Example,
    plain::plainest,
    solver::{Answer, AsyncWork, ProveError, Prover, Settings, compile, side_by_side, trusted},
    world,
};

/// Which way a change goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// Newly permitted.
    Permits,
    /// Newly refused.
    Refuses,
}

/// One difference between two policy sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What for.
    pub action: Action,
    /// For whom.
    pub who: Who,
    /// Which way.
    pub direction: Direction,
    /// The plainest request that gets another answer, and how the set answers it that permits it.
    pub example: Option<Example>,
    /// Nothing is known about this action, and why.
    pub unknown: Option<String>,
}

#[derive(Clone)]
struct Work {
    old: Arc<Engine>,
    new: Arc<Engine>,
}

impl Work {
    async fn compare(&self, prover: &mut Prover, env: &RequestEnv) -> Result<Vec<Difference>, ProveError> {
        let Some(action) = world::action_of(env.action()) else { return Ok(Vec::new()) };
        let (old, new) = (self.old.policy_set().map_err(ProveError::Texts)?, self.new.policy_set().map_err(ProveError::Texts)?);
        let mut out = Vec::new();
        for (direction, permits, refuses, engine) in [(Direction::Permits, &new, &old, &self.new), (Direction::Refuses, &old, &new, &self.old)] {
            let right = compile(refuses, env, &self.old)?;
            // For everybody at once first: most actions do not change.
            let left = compile(&narrowed(permits, None)?, env, &self.old)?;
            match prover.implies(&left, &right).await {
                Answer::Holds => continue,
                Answer::Unknown(why) => {
                    let who = world::people(env).first().copied().unwrap_or(Who::SelfService);
                    out.push(Difference { action: action.clone(), who, direction, example: None, unknown: Some(why) });
                    continue;
                }
                Answer::Fails(_) => {}
            }
            for who in world::people(env) {
                let left = compile(&narrowed(permits, Some(who))?, env, &self.old)?;
                let differs = |q: &Question| world::permits(&self.old, permits, q) && !world::permits(&self.old, refuses, q);
                let (example, unknown) = match prover.implies(&left, &right).await {
                    Answer::Holds => continue,
                    Answer::Unknown(why) => (None, Some(why)),
                    Answer::Fails(found) => (found.filter(|q| differs(q)).map(|q| Example::of(engine, &plainest(*q, differs))), None),
                };
                out.push(Difference { action: action.clone(), who, direction, example, unknown });
            }
        }
        Ok(out)
    }
}

impl<'a> AsyncWork<'a, RequestEnv, Vec<Difference>> for Work {
    fn work(&'a self, prover: &'a mut Prover, job: &'a RequestEnv) -> Pin<Box<dyn Future<Output = Result<Vec<Difference>, ProveError>> + Send + 'a>> {
        Box::pin(self.compare(prover, job))
    }
}

fn narrowed(set: &PolicySet, who: Option<Who>) -> Result<PolicySet, ProveError> {
    let mut policies: Vec<_> = set.policies().cloned().collect();
    policies.push(world::world()?);
    if let Some(who) = who {
        policies.push(world::only(who)?);
    }
    world::set(policies)
}

/// Compares two policy sets over one schema: for every action and everybody, whether something is
/// newly permitted or refused. Actions that only one schema has are differences of the schema, and
/// compared is what both have.
///
/// # Errors
/// If the solver is missing or not to be trusted, or the schemas do not fit.
pub async fn diff(
    old: Arc<Engine>, new: Arc<Engine>, settings: &Settings, progress: Arc<dyn Fn(usize, usize) + Send + Sync>,
) -> Result<Vec<Difference>, ProveError> {
    trusted(settings, &old).await?;
    let known: Vec<String> = new.actions().map(ToString::to_string).collect();
    let both = |env: &RequestEnv| world::action_of(env.action()).is_some_and(|a| known.contains(&a.to_string()));
    let jobs: Vec<RequestEnv> = old.schema().request_envs().filter(both).collect();
    let found = side_by_side(settings, jobs, progress, Work { old, new }).await?;
    let mut all: Vec<Difference> = found.into_iter().flatten().collect();
    all.sort_by(|a, b| (a.direction, &a.action, a.who.name()).cmp(&(b.direction, &b.action, b.who.name())));
    Ok(all)
}
