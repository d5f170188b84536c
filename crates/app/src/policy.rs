//! `countersign policy`: check, prove, compare, show, replay and stage policy sets.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::{Args, Subcommand};
use countersign_core::{action::Policy, call::Params};
use countersign_policy::{Engine, Invariant, Pack, PolicyErrors, SCHEMA_FILE, Severity, Sources, case, invariant, lint, matrix, render};
use countersign_prove::{Checked, Difference, Direction, Report, Settings, Verdict, diff, prove, stays_within};
use countersign_server::{config::Config, policies::{Loader, Policies, Staged}};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    Failure, start,
    term::{BAD, DIM, GOOD, STRONG, WARN, good},
};

/// Which policies are meant.
#[derive(Args, Clone)]
pub struct Which {
    /// A folder with the schema and policies; the shipped ones if left out
    path: Option<PathBuf>,
    /// A pack that lies over them, by name or folder; may be repeated
    #[arg(long = "pack")]
    packs: Vec<String>,
}

#[derive(Subcommand)]
pub enum PolicyCommand {
    /// Lint a policy file, or a folder of them, and report line and column
    Check {
        #[command(flatten)]
        which: Which,
    },
    /// Prove for every caller, agent and account that the promises of the policies hold (needs cvc5)
    Prove {
        #[command(flatten)]
        which: Which,
        /// Promises of your own: a file of forbids, see docs/policies.md
        #[arg(long)]
        invariants: Vec<PathBuf>,
        /// Write the counterexamples to this file, to be asked again with `policy test`
        #[arg(long)]
        cases: Option<PathBuf>,
    },
    /// Say what a change newly permits and refuses, with examples (needs cvc5)
    Diff {
        /// The folder of the old policies, or `shipped`
        old: String,
        /// The folder of the new ones, or `shipped`
        new: String,
        /// A pack over the old ones
        #[arg(long = "old-pack")]
        old_packs: Vec<String>,
        /// A pack over the new ones
        #[arg(long = "new-pack")]
        new_packs: Vec<String>,
    },
    /// Show who may do what at which level
    Matrix {
        #[command(flatten)]
        which: Which,
    },
    /// Ask every line of tables of cases, and show where the policies answer otherwise
    Test {
        /// Tables, such as those in policies/cases
        #[arg(required = true)]
        tables: Vec<PathBuf>,
        /// The folder of the policies; the shipped ones if left out
        #[arg(long)]
        policies: Option<PathBuf>,
        /// A pack that lies over them
        #[arg(long = "pack")]
        packs: Vec<String>,
    },
    /// List the shipped packs, or show one clause by clause
    Packs {
        /// Its name, or a folder of your own
        name: Option<String>,
    },
    /// Lint and prove a policy set and keep it, so that the lead can activate it on /admin/policy
    Stage {
        #[command(flatten)]
        which: Which,
        /// What it changes and why, for whoever activates it
        #[arg(long)]
        note: String,
        /// The configuration file
        #[arg(long, default_value = "countersign.toml")]
        config: PathBuf,
    },
}

/// Carries a command out.
pub async fn run(command: PolicyCommand) -> Result<ExitCode, Failure> {
    match command {
        PolicyCommand::Check { which } => check(&which),
        PolicyCommand::Prove { which, invariants, cases } => prove_them(&which, &invariants, cases.as_deref()).await,
        PolicyCommand::Diff { old, new, old_packs, new_packs } => {
            let path = |name: String| (name != "shipped").then(|| PathBuf::from(name));
            differ(&Which { path: path(old), packs: old_packs }, &Which { path: path(new), packs: new_packs }).await
        }
        PolicyCommand::Matrix { which } => {
            anstream::print!("{}", matrix(&which.engine()?));
            Ok(ExitCode::SUCCESS)
        }
        PolicyCommand::Test { tables, policies, packs } => test(&Which { path: policies, packs }.engine()?, &tables),
        PolicyCommand::Packs { name } => packs(name.as_deref()),
        PolicyCommand::Stage { which, note, config } => stage(which, &note, &config).await,
    }
}

impl Which {
    fn packs(&self) -> Result<Vec<Pack>, PolicyErrors> { self.packs.iter().map(|name| Pack::named(name)).collect() }

    fn bare(&self) -> Result<Sources, PolicyErrors> { self.path.as_deref().map_or_else(|| Ok(Sources::shipped()), Sources::from_dir) }

    fn sources(&self) -> Result<Sources, PolicyErrors> { Ok(Sources::under(self.path.as_deref(), &self.packs)?.0) }

    fn engine(&self) -> Result<Engine, PolicyErrors> {
        let sources = self.sources()?;
        Engine::load(sources.schema, sources.files)
    }

    /// What is promised: by the base (or by the folder, if it has promises of its own), and by the packs.
    fn promises(&self, schema: &str, more: &[PathBuf]) -> Result<Vec<Invariant>, Failure> {
        let own = self.path.as_deref().map(Sources::invariants_from_dir).transpose()?.unwrap_or_default();
        let mut files = if own.is_empty() { Sources::shipped_invariants() } else { own };
        files.extend(self.packs()?.into_iter().map(|pack| (format!("packs/{}/invariants.cedar", pack.name), pack.invariants)));
        for path in more {
            let text = std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
            files.push((path.display().to_string(), text));
        }
        Ok(invariant::read(schema, &files)?)
    }
}

/// The policies of a configuration: its folder or the shipped ones, under its packs.
pub fn of(config: &Config) -> Which { Which { path: config.policy.dir.clone(), packs: config.policy.packs.clone() } }

/// What decides in an installation until something else is activated, and how others are loaded.
pub fn configured(config: Option<&Config>) -> Result<Policies, Failure> {
    let which = config.map_or(Which { path: None, packs: Vec::new() }, of);
    let sources = which.sources()?;
    let engine = Arc::new(Engine::load(sources.schema.clone(), sources.files.clone())?);
    let table = matrix(&engine);
    let loader: Loader = Box::new(|schema, files| match Engine::load(schema, files) {
        Ok(engine) => Ok(Arc::new(engine)),
        Err(e) => Err(e.to_string()),
    });
    Ok(Policies::from(engine).with(sources.schema, sources.files, table, loader))
}

/// The limits of a configuration, tightened by its packs.
pub fn limits(config: &Config) -> Result<Params, Failure> {
    let mut params = config.params();
    for pack in of(config).packs()? {
        pack.tighten(&mut params)?;
    }
    Ok(params)
}

fn check(which: &Which) -> Result<ExitCode, Failure> {
    let sources = match &which.path {
        // A file alone is checked together with the shipped base: rules are about the whole set.
        Some(file) if !file.is_dir() => {
            let shipped = Sources::shipped();
            let name = file.display().to_string();
            let text = std::fs::read_to_string(file).map_err(|e| format!("cannot read {name}: {e}"))?;
            let mut files: Vec<_> = shipped.files.into_iter().filter(|(_, known)| *known != text).collect();
            files.push((name, text));
            Sources { schema: shipped.schema, files }.with_packs(&which.packs()?)?
        }
        _ => which.sources()?,
    };
    let findings = lint::check(&sources.schema, &sources.files);
    let errors = findings.iter().filter(|f| f.severity == Severity::Error).count();
    if !findings.is_empty() {
        let mut files = sources.files.clone();
        files.push((SCHEMA_FILE.into(), sources.schema.clone()));
        anstream::print!("{}", render(&findings, &files));
    }
    if errors == 0 {
        anstream::println!("{GOOD}✓{GOOD:#} {} files, policy set {}: nothing to complain of.", sources.files.len(), sources.version());
        Ok(ExitCode::SUCCESS)
    } else {
        anstream::println!("\n{BAD}{errors} error{}{BAD:#}: this policy set is not used.", if errors == 1 { "" } else { "s" });
        Ok(ExitCode::FAILURE)
    }
}

fn progress() -> (ProgressBar, Arc<dyn Fn(usize, usize) + Send + Sync>) {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} kinds of requests") {
        bar.set_style(style);
    }
    let shown = bar.clone();
    (bar, Arc::new(move |done, total| {
        shown.set_length(u64::try_from(total).unwrap_or(0));
        shown.set_position(u64::try_from(done).unwrap_or(0));
    }))
}

async fn report(which: &Which, more: &[PathBuf]) -> Result<(Arc<Engine>, Report, Option<Verdict>), Failure> {
    let engine = Arc::new(which.engine()?);
    let promises = which.promises(&which.sources()?.schema, more)?;
    let settings = Settings::default();
    let (bar, told) = progress();
    let report = prove(engine.clone(), promises, &settings, told).await;
    bar.finish_and_clear();
    let within = if which.packs.is_empty() {
        None
    } else {
        let base = which.bare()?;
        Some(stays_within(&engine, &Arc::new(Engine::load(base.schema, base.files)?), &settings).await?)
    };
    Ok((engine, report?, within))
}

async fn prove_them(which: &Which, more: &[PathBuf], cases: Option<&Path>) -> Result<ExitCode, Failure> {
    let (_, report, within) = report(which, more).await?;
    let width = report.checked.iter().map(|c| c.id.chars().count()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for Checked { id, says, verdict, .. } in &report.checked {
        show(id, says, verdict, width, &mut lines);
    }
    if let Some(verdict) = &within {
        show("packs_only_take_away", "The packs permit nothing that the policies below them refuse.", verdict, width, &mut lines);
    }
    let proved = report.checked.iter().filter(|c| c.verdict == Verdict::Proved).count();
    let questions: usize = report.checked.iter().map(|c| c.questions).sum();
    let holds = report.holds() && within.is_none_or(|v| v == Verdict::Proved);
    let style = if holds { GOOD } else { BAD };
    anstream::println!(
        "\n{style}{proved} of {} proved{style:#} for policy set {}, {questions} questions to the solver in {:.1} s.", report.checked.len(), report.version, report.took.as_secs_f64()
    );
    if let (Some(path), false) = (cases, lines.is_empty()) {
        let head = "# Counterexamples: what these policies permit and should not.\naction | who | caller | facts | outcome | policies\n";
        std::fs::write(path, format!("{head}{}\n", lines.join("\n"))).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
        anstream::println!("{} counterexample{} in {}: ask them again with `countersign policy test`.", lines.len(), if lines.len() == 1 { "" } else { "s" }, path.display());
    }
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(id: &str, says: &str, verdict: &Verdict, width: usize, lines: &mut Vec<String>) {
    match verdict {
        Verdict::Proved => anstream::println!("{GOOD}✓ proved {GOOD:#} {STRONG}{id:width$}{STRONG:#}  {says}"),
        Verdict::Unknown { why } => anstream::println!("{WARN}? unknown{WARN:#} {STRONG}{id:width$}{STRONG:#}  {says}\n            {WARN}{why}{WARN:#}"),
        Verdict::Broken { examples } => {
            anstream::println!("{BAD}✗ broken {BAD:#} {STRONG}{id:width$}{STRONG:#}  {says}");
            for example in examples {
                anstream::println!("            {BAD}{}{BAD:#}\n            {DIM}by {}{DIM:#}", example.sentence, example.policies.join(", "));
                lines.push(example.line.clone());
            }
            if examples.is_empty() {
                anstream::println!("            {BAD}the solver found a request that breaks it, and it cannot be shown in words{BAD:#}");
            }
        }
    }
}

async fn differ(old: &Which, new: &Which) -> Result<ExitCode, Failure> {
    let (old, new) = (Arc::new(old.engine()?), Arc::new(new.engine()?));
    let names = |engine: &Engine| engine.actions().map(ToString::to_string).collect::<Vec<_>>();
    let (before, after) = (names(&old), names(&new));
    for gone in before.iter().filter(|a| !after.contains(a)) {
        anstream::println!("{WARN}gone{WARN:#}  `{gone}` is not in the new schema");
    }
    for fresh in after.iter().filter(|a| !before.contains(a)) {
        anstream::println!("{WARN}new{WARN:#}   `{fresh}` is not in the old schema");
    }
    let (bar, told) = progress();
    let found = diff(old.clone(), new.clone(), &Settings::default(), told).await;
    bar.finish_and_clear();
    let found = found?;
    for (direction, title, style) in [(Direction::Permits, "newly permitted", BAD), (Direction::Refuses, "newly refused", GOOD)] {
        let some: Vec<&Difference> = found.iter().filter(|d| d.direction == direction).collect();
        anstream::println!("{style}{}{style:#} {title}", some.len());
        for d in some {
            anstream::println!("  {STRONG}{:22}{STRONG:#} {:13} {}", d.action.to_string(), d.who.name(), said(d));
        }
    }
    anstream::println!("\n{} → {}", old.version(), new.version());
    Ok(if found.iter().any(|d| d.unknown.is_some()) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn said(d: &Difference) -> String {
    match (&d.example, &d.unknown) {
        (_, Some(why)) => format!("unknown: {why}"),
        (Some(example), None) => example.sentence.split_once(" is permitted to ").map_or_else(|| example.sentence.clone(), |(_, rest)| rest.to_owned()),
        (None, None) => "the solver found a difference that cannot be shown in words".into(),
    }
}

fn test(engine: &Engine, tables: &[PathBuf]) -> Result<ExitCode, Failure> {
    let (mut asked, mut wrong) = (0, 0);
    for path in tables {
        let text = std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        let (lines, misses) = case::replay(engine, &text);
        asked += lines;
        wrong += misses.len();
        for miss in misses {
            anstream::println!("{BAD}✗{BAD:#} {}:{}\n  {}", path.display(), miss.line, miss.text);
            if !miss.right.is_empty() {
                anstream::println!("  {DIM}they answer:{DIM:#} {}", miss.right);
            }
        }
    }
    if asked == 0 {
        return Err("no line of these files is a case: action | who | caller | facts | outcome | policies".into());
    }
    if wrong == 0 {
        good(&format!("{asked} cases, all answered as they stand, by policy set {}.", engine.version()));
        Ok(ExitCode::SUCCESS)
    } else {
        anstream::println!("\n{BAD}{wrong} of {asked} cases{BAD:#} are answered otherwise by policy set {}.", engine.version());
        Ok(ExitCode::FAILURE)
    }
}

fn packs(name: Option<&str>) -> Result<ExitCode, Failure> {
    let Some(name) = name else {
        for pack in Pack::shipped() {
            let gaps = pack.about.clauses.iter().filter(|c| c.gap.is_some()).count();
            let gaps = if gaps == 0 { String::new() } else { format!(", {gaps} with a gap") };
            anstream::println!("{STRONG}{:16}{STRONG:#} {:72} {DIM}{} clauses{gaps}{DIM:#}", pack.name, pack.about.title, pack.about.clauses.len());
        }
        return Ok(ExitCode::SUCCESS);
    };
    let pack = Pack::named(name)?;
    anstream::println!("{STRONG}{}{STRONG:#}\n{}\n", pack.about.title, pack.about.summary.trim());
    for (name, value) in &pack.about.parameters {
        anstream::println!("  {name} = {value}");
    }
    for clause in &pack.about.clauses {
        anstream::println!("\n{STRONG}{}{STRONG:#}\n  {}", clause.clause, clause.demands);
        for rule in &clause.rules {
            anstream::println!("  {GOOD}rule{GOOD:#}  {rule}");
        }
        for test in &clause.tests {
            anstream::println!("  {DIM}test  {test}{DIM:#}");
        }
        if let Some(gap) = &clause.gap {
            anstream::println!("  {WARN}gap{WARN:#}   {gap}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn stage(mut which: Which, note: &str, path: &Path) -> Result<ExitCode, Failure> {
    let config = Config::read(path)?;
    let configured = of(&config);
    which.path = which.path.or(configured.path);
    // What the configuration binds itself to holds for what is staged as well.
    which.packs.extend(configured.packs.into_iter().filter(|p| !which.packs.contains(p)).collect::<Vec<_>>());
    let (engine, report, within) = report(&which, &[]).await?;
    let runner = start::open(&config).await?;
    runner.refresh_policies().await?;
    let active = runner.policies.active();
    let mut promises: Vec<(String, String, String)> = report.checked.iter().map(|c| (c.id.clone(), c.says.clone(), verdict_words(&c.verdict))).collect();
    if let Some(verdict) = &within {
        promises.push(("packs_only_take_away".into(), "The packs permit nothing that the policies below them refuse.".into(), verdict_words(verdict)));
    }
    // What is wrong first: the lead reads it before anything else.
    promises.sort_by_key(|(_, _, verdict)| verdict == "proved");
    let sources = which.sources()?;
    let before = Engine::load(active.schema.clone(), active.files.clone())?;
    let changes = diff(Arc::new(before), engine.clone(), &Settings::default(), Arc::new(|_, _| ())).await?;
    let words = |d: &Difference| match d.direction {
        Direction::Permits => format!("newly permits {} to {}", d.action, said(d)),
        Direction::Refuses => format!("newly refuses {} to {}", d.action, said(d)),
    };
    let set = Staged {
        version: engine.version().to_owned(), schema: sources.schema, files: sources.files, matrix: matrix(&engine), at: runner.now(), note: note.to_owned(),
        holds: report.holds() && within.is_none_or(|v| v == Verdict::Proved), promises, changes: changes.iter().map(words).collect(),
    };
    runner.stage(&set).await?;
    runner.store.close().await;
    for change in &set.changes {
        anstream::println!("  {change}");
    }
    if set.holds {
        good(&format!("Policy set {} is staged and its promises are proved. The lead activates it on /admin/policy.", set.version));
        Ok(ExitCode::SUCCESS)
    } else {
        anstream::println!("{WARN}Policy set {} is staged, and not all of its promises are proved{WARN:#}: run `countersign policy prove` to see which. The lead can activate it with a written reason only.", set.version);
        Ok(ExitCode::FAILURE)
    }
}

fn verdict_words(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Proved => "proved".into(),
        Verdict::Unknown { why } => format!("unknown: {why}"),
        Verdict::Broken { examples } => format!("broken: {}", examples.first().map_or("by a request that cannot be shown in words", |e| e.sentence.as_str())),
    }
}
