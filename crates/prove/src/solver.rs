//! The solver, and everything that can be wrong with it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use cedar_policy::RequestEnv;
use cedar_policy_symcc::{
    CedarSymCompiler, CompiledPolicySet,
    err::{Error, SolverError},
    solver::LocalSolver,
};
use countersign_policy::Engine;
use tokio::process::Command;

use crate::world;

/// How proofs are made.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The solver's program: cvc5.
    pub program: PathBuf,
    /// How long one question may take before the answer is that nothing is known.
    pub patience: Duration,
    /// How many solvers work side by side.
    pub workers: usize,
}

impl Default for Settings {
    /// `CVC5`, or else `cvc5` on the path; ten seconds a question; as many solvers as there are cores.
    fn default() -> Self {
        Self {
            program: std::env::var_os("CVC5").filter(|v| !v.is_empty()).map_or_else(|| "cvc5".into(), PathBuf::from),
            patience: Duration::from_secs(10),
            workers: std::thread::available_parallelism().map_or(2, usize::from),
        }
    }
}

/// Why no proof can be made at all.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// It cannot be started.
    #[error("cannot start the solver `{}`: {error}. Install cvc5 (Debian: apt-get install cvc5), or set CVC5 to its path. Nothing was proved", program.display())]
    Missing {
        /// Its program.
        program: PathBuf,
        /// Why.
        error: String,
    },
    /// It was asked things whose answers are known, and got one wrong.
    #[error("the solver `{}` is not to be trusted: {fault}. Nothing was proved", program.display())]
    Untrusted {
        /// Its program.
        program: PathBuf,
        /// What it got wrong.
        fault: String,
    },
    /// Policies that cannot be put together.
    #[error("{0}")]
    Texts(String),
}

/// The answer to one question to the solver.
pub(crate) enum Answer {
    /// Nothing that the first permits is refused by the second.
    Holds,
    /// Something is: the request, if it can be read.
    Fails(Option<Box<countersign_policy::case::Question>>),
    /// Nothing is known, and why.
    Unknown(String),
}

/// One solver. It is started again after it died or was silent for too long.
pub(crate) struct Prover {
    settings: Settings,
    compiler: Option<CedarSymCompiler<LocalSolver>>,
}

impl Prover {
    pub(crate) fn start(settings: &Settings) -> Result<Self, ProveError> {
        let mut prover = Self { settings: settings.clone(), compiler: None };
        prover.compiler = Some(prover.spawn().map_err(|error| ProveError::Missing { program: settings.program.clone(), error })?);
        Ok(prover)
    }

    fn spawn(&self) -> Result<CedarSymCompiler<LocalSolver>, String> {
        let limit = format!("--tlimit-per={}", self.settings.patience.as_millis());
        let solver = LocalSolver::from_command(Command::new(&self.settings.program).args(["--lang", "smt", &limit]).kill_on_drop(true)).map_err(plainly)?;
        CedarSymCompiler::new(solver).map_err(|e| e.to_string())
    }

    /// Whether everything that the first set permits is permitted by the second.
    pub(crate) async fn implies(&mut self, first: &CompiledPolicySet, second: &CompiledPolicySet) -> Answer {
        let mut compiler = match self.compiler.take().map_or_else(|| self.spawn(), Ok) {
            Ok(compiler) => compiler,
            Err(e) => return Answer::Unknown(format!("the solver cannot be started again: {e}")),
        };
        // The solver keeps its own limit; this is for one that does not.
        let patience = self.settings.patience * 2;
        let asked = tokio::time::timeout(patience, async {
            match compiler.check_implies_opt(first, second).await {
                Ok(true) => Ok(Answer::Holds),
                Ok(false) => match compiler.check_implies_with_counterexample_opt(first, second).await {
                    Ok(Some(found)) => Ok(Answer::Fails(world::question(&found.request, &found.entities).map(Box::new))),
                    // It said yes and no to one question.
                    Ok(None) => Ok(Answer::Unknown("the solver contradicted itself".into())),
                    Err(Error::DecodeModel(_) | Error::ConcretizeError(_) | Error::ModelInvalid { .. }) => Ok(Answer::Fails(None)),
                    Err(e) => Err(e),
                },
                Err(e) => Err(e),
            }
        }).await;
        let (answer, alive) = match asked {
            Ok(Ok(answer)) => (answer, true),
            Ok(Err(Error::SolverUnknown)) => (Answer::Unknown(format!("the solver gave up within {} s", self.settings.patience.as_secs())), true),
            Ok(Err(Error::SolverError(e))) => (Answer::Unknown(plainly(e)), false),
            Ok(Err(e)) => (Answer::Unknown(e.to_string()), false),
            Err(_) => (Answer::Unknown(format!("the solver did not answer within {} s", patience.as_secs())), false),
        };
        // One that failed is ended with its process, and another is started for the next question.
        self.compiler = alive.then_some(compiler);
        answer
    }
}

fn plainly(e: SolverError) -> String {
    match e {
        SolverError::Io(e) => e.to_string(),
        SolverError::UnrecognizedSolverOutput(said) if said.trim().is_empty() => "the solver ended without an answer".into(),
        SolverError::UnrecognizedSolverOutput(said) => format!("the solver said something that is no answer: {:.60}", said.trim()),
        other => other.to_string(),
    }
}

/// Asks things whose answers are known: one that holds and one that does not.
pub(crate) async fn trusted(settings: &Settings, engine: &Engine) -> Result<(), ProveError> {
    let untrusted = |fault: &str| ProveError::Untrusted { program: settings.program.clone(), fault: fault.to_owned() };
    let mut prover = Prover::start(settings)?;
    let env = engine.schema().request_envs().find(|env| world::action_of(env.action()).is_some_and(|a| a.to_string() == "reach:strong"));
    let env = env.ok_or_else(|| ProveError::Texts("the schema has no action reach:strong".into()))?;
    let parse = |text: &str| text.parse::<cedar_policy::PolicySet>().map_err(|e| ProveError::Texts(e.to_string()));
    let wide = compile(&parse("permit(principal, action, resource) when { context.risk >= 10 };")?, &env, engine)?;
    let narrow = compile(&parse("permit(principal, action, resource) when { context.risk >= 20 && context.proofs.contains(\"pin\") };")?, &env, engine)?;
    match prover.implies(&narrow, &wide).await {
        Answer::Holds => {}
        Answer::Fails(_) => return Err(untrusted("it refuted what is true")),
        Answer::Unknown(why) => return Err(untrusted(&format!("it does not show what is plainly true ({why})"))),
    }
    match prover.implies(&wide, &narrow).await {
        Answer::Fails(_) => Ok(()),
        Answer::Holds => Err(untrusted("it proved what is false")),
        Answer::Unknown(why) => Err(untrusted(&format!("it does not refute what is plainly false ({why})"))),
    }
}

pub(crate) fn compile(set: &cedar_policy::PolicySet, env: &RequestEnv, engine: &Engine) -> Result<CompiledPolicySet, ProveError> {
    CompiledPolicySet::compile(set, env, engine.schema()).map_err(|e| ProveError::Texts(format!("{}: {e}", env.action())))
}

/// Works a list off with several solvers. The results stand in the order of the list.
pub(crate) async fn side_by_side<J, R, F>(settings: &Settings, jobs: Vec<J>, progress: Arc<dyn Fn(usize, usize) + Send + Sync>, work: F) -> Result<Vec<R>, ProveError>
where
    J: Send + Sync + 'static,
    R: Send + 'static,
    F: for<'a> AsyncWork<'a, J, R> + Clone + Send + Sync + 'static,
{
    let (total, jobs) = (jobs.len(), Arc::new(jobs));
    let (next, done) = (Arc::new(std::sync::atomic::AtomicUsize::new(0)), Arc::new(std::sync::atomic::AtomicUsize::new(0)));
    let mut set = tokio::task::JoinSet::new();
    for _ in 0..settings.workers.clamp(1, total.max(1)) {
        let mut prover = Prover::start(settings)?;
        let (jobs, next, done, progress, work) = (jobs.clone(), next.clone(), done.clone(), progress.clone(), work.clone());
        set.spawn(async move {
            let mut out = Vec::new();
            loop {
                let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let Some(job) = jobs.get(at) else { return Ok::<_, ProveError>(out) };
                out.push((at, work.work(&mut prover, job).await?));
                progress(done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1, total);
            }
        });
    }
    let mut results = Vec::with_capacity(total);
    while let Some(part) = set.join_next().await {
        results.extend(part.map_err(|e| ProveError::Texts(format!("a proof was broken off: {e}")))??);
    }
    results.sort_by_key(|(at, _)| *at);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

/// What one solver does with one job.
pub(crate) trait AsyncWork<'a, J, R> {
    fn work(&'a self, prover: &'a mut Prover, job: &'a J) -> std::pin::Pin<Box<dyn Future<Output = Result<R, ProveError>> + Send + 'a>>;
}
