//! What came of a run: verdicts, and every step that led to them.

use std::collections::BTreeMap;

use serde::Serialize;

/// Who did what a step tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The attacker, or whoever they play with.
    Attack,
    /// The system, mostly in the words of its own record.
    System,
    /// The attacker has something.
    Loot,
}

/// One step of a drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Who.
    pub side: Side,
    /// What, in one sentence.
    pub text: String,
}

/// How a drill ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    /// The attacker got nothing that the drill forbids.
    Stopped {
        /// The events, policies and limits that stood in the way.
        by: Vec<String>,
    },
    /// The attacker got something.
    GotThrough {
        /// What.
        got: Vec<String>,
    },
    /// The configuration has no such door.
    NotApplicable {
        /// Which one is missing.
        why: String,
    },
    /// It could not be played to its end: nothing is known.
    Broken {
        /// Where it broke.
        why: String,
    },
}

impl Verdict {
    /// In one or two words.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stopped { .. } => "stopped",
            Self::GotThrough { .. } => "got through",
            Self::NotApplicable { .. } => "not applicable",
            Self::Broken { .. } => "could not run",
        }
    }

    /// Where it stopped, or what got through: one line.
    pub fn place(&self) -> String {
        match self {
            Self::Stopped { by } => by.first().cloned().unwrap_or_default(),
            Self::GotThrough { got } => got.join("; "),
            Self::NotApplicable { why } | Self::Broken { why } => why.clone(),
        }
    }

    /// Everything that stood in the way.
    pub fn by(&self) -> &[String] {
        match self {
            Self::Stopped { by } => by,
            _ => &[],
        }
    }
}

/// One drill, played.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Its name.
    pub name: String,
    /// What the attacker is up to.
    pub story: String,
    /// What ought to stop them.
    pub expects: String,
    /// How it ended.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// What happened.
    pub steps: Vec<Step>,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Of the program.
    pub program: String,
    /// The policy set that was drilled.
    pub policy: String,
    /// A run with the same seed is the same run.
    pub seed: u64,
    /// The drills, in the order in which they were played.
    pub drills: Vec<Outcome>,
}

impl Report {
    /// How many ended how.
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for drill in &self.drills {
            *counts.entry(drill.verdict.name()).or_default() += 1;
        }
        counts
    }

    fn any(&self, of: impl Fn(&Verdict) -> bool) -> bool { self.drills.iter().any(|d| of(&d.verdict)) }

    /// The exit code: 0 nothing got through, 1 something did, 2 something could not be played and
    /// so nobody knows.
    pub fn exit_code(&self) -> u8 {
        if self.any(|v| matches!(v, Verdict::GotThrough { .. })) {
            1
        } else if self.any(|v| matches!(v, Verdict::Broken { .. })) {
            2
        } else {
            0
        }
    }

    /// One line that says it all.
    pub fn summary(&self) -> String {
        let counts = self.counts();
        let n = |name| counts.get(name).copied().unwrap_or(0);
        let mut parts = vec![format!("{} stopped", n("stopped"))];
        for name in ["got through", "not applicable", "could not run"] {
            if n(name) > 0 || name == "got through" {
                parts.push(format!("{} {name}", n(name)));
            }
        }
        let drills = if self.drills.len() == 1 { "drill" } else { "drills" };
        format!("{} {drills}: {}. Policy set {}, seed {}.", self.drills.len(), parts.join(", "), self.policy, self.seed)
    }
}
