//! What is said on the terminal: headings, notes, and the table at the end. Colours go away for
//! pipes and for NO_COLOR (anstream sees to it).

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use anstyle::{AnsiColor, Style};

use crate::Failure;

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const WARN: Style = AnsiColor::Yellow.on_default();
const DIM: Style = Style::new().dimmed();
const STRONG: Style = Style::new().bold();

/// Says why nothing goes on.
pub fn error(text: &str) { anstream::eprintln!("{BAD}error:{BAD:#} {text}"); }

/// Says something worth knowing.
pub fn note(text: &str) { anstream::println!("{DIM}  {text}{DIM:#}"); }

/// Says what is not as it should be, one line for each finding.
pub fn finding(text: &str) { anstream::println!("  {BAD}✗{BAD:#} {text}"); }

/// Where children are to be told that a person with colours reads.
pub fn colours() -> bool {
    !matches!(anstream::AutoStream::choice(&std::io::stdout()), anstream::ColorChoice::Never)
}

/// The steps of a run, and what became of them.
#[derive(Default)]
pub struct Steps {
    done: Vec<Step>,
}

struct Step {
    name: &'static str,
    outcome: Outcome,
    took: Duration,
    note: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    NotRun,
    LeftOut,
}

impl Steps {
    /// Carries a step out under a heading. Its note is for the table. `None`: it failed, and said so.
    pub fn step<T>(&mut self, name: &'static str, why: &str, work: impl FnOnce(&mut String) -> Result<T, Failure>) -> Option<T> {
        anstream::println!("\n{STRONG}▸ {name}{STRONG:#} {DIM}{why}{DIM:#}");
        // The children write to the same terminal: what was said before them comes before them.
        let _ = std::io::stdout().flush();
        let (started, mut note) = (Instant::now(), String::new());
        let result = work(&mut note);
        let took = started.elapsed();
        let (outcome, value) = match result {
            Ok(value) => (Outcome::Passed, Some(value)),
            Err(e) => {
                error(&e.to_string());
                if note.is_empty() {
                    note = e.to_string().lines().next().unwrap_or_default().to_owned();
                }
                (Outcome::Failed, None)
            }
        };
        self.done.push(Step { name, outcome, took, note });
        value
    }

    /// A step that cannot be carried out because of another: no pass.
    pub fn not_run(&mut self, name: &'static str, because: &str) {
        self.done.push(Step { name, outcome: Outcome::NotRun, took: Duration::ZERO, note: because.into() });
    }

    /// A step that needs something that nobody has to have: no failure, and said at the end.
    pub fn left_out(&mut self, name: &'static str, because: &str) {
        self.done.push(Step { name, outcome: Outcome::LeftOut, took: Duration::ZERO, note: because.into() });
    }

    /// The table. True if everything passed that was not left out.
    pub fn summary(&self, started: Instant) -> bool {
        let width = self.done.iter().map(|s| s.name.chars().count()).max().unwrap_or(0);
        anstream::println!("\n{STRONG}Summary{STRONG:#}");
        for step in &self.done {
            let (style, word) = match step.outcome {
                Outcome::Passed => (GOOD, "passed  "),
                Outcome::Failed => (BAD, "FAILED  "),
                Outcome::NotRun => (WARN, "not run "),
                Outcome::LeftOut => (WARN, "left out"),
            };
            anstream::println!("  {:<width$}  {style}{word}{style:#}  {:>8}  {DIM}{}{DIM:#}", step.name, length(step.took), step.note);
        }
        let failed = self.done.iter().filter(|s| matches!(s.outcome, Outcome::Failed | Outcome::NotRun)).count();
        let left_out: Vec<String> = self.done.iter().filter(|s| s.outcome == Outcome::LeftOut).map(|s| format!("; {WARN}{}: {}{WARN:#}", s.name, s.note)).collect();
        if failed == 0 {
            anstream::println!("\n{GOOD}✓{GOOD:#} everything passed in {}{}", length(started.elapsed()), left_out.concat());
        } else {
            anstream::println!("\n{BAD}✗ {failed} of {} did not pass{BAD:#}, after {}", self.done.len(), length(started.elapsed()));
        }
        failed == 0
    }
}

fn length(took: Duration) -> String {
    let seconds = took.as_secs_f32();
    if seconds < 60.0 { format!("{seconds:.1} s") } else { format!("{} min {:02} s", took.as_secs() / 60, took.as_secs() % 60) }
}
