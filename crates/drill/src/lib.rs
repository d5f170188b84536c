//! Drills: attacks that are played against a configuration, **through the same doors as real
//! calls**, to see which stop where.
//!
//! [`Setting`] is what is drilled: the policies, limits and doors of a configuration. For every
//! drill a whole server is built in this process ([`stage::Stage`]) with nothing real in it, and an
//! attacker is let loose on its webhooks, forms and pages. What they *got* decides the verdict.

pub mod attacks;
pub mod caller;
pub mod desk;
pub mod html;
pub mod own;
pub mod people;
pub mod portal;
pub mod program;
pub mod report;
pub mod scene;
pub mod setting;
pub mod stage;
pub mod wire;

use std::{future::Future, pin::Pin};

use sha2::{Digest, Sha256};

pub use self::{
    report::{Outcome, Report, Side, Step, Verdict},
    setting::{Door, Setting},
};
use self::{own::OwnDrill, scene::Scene, stage::{Props, Stage}};

/// Why a drill ended before its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// The configuration has no such door, or its policies none such way.
    #[error("{0}")]
    NotApplicable(String),
    /// Something did not work that has to work for the attack to be one.
    #[error("{0}")]
    Broken(String),
}

impl Halt {
    /// Something of the stage did not work.
    pub fn broken(what: &str, why: impl std::fmt::Display) -> Self { Self::Broken(format!("{what}: {why}")) }
}

/// A drill being played.
pub type Playing<'a> = Pin<Box<dyn Future<Output = Result<(), Halt>> + Send + 'a>>;

/// A shipped drill.
pub struct Drill {
    /// Its name.
    pub name: &'static str,
    /// What the attacker is up to, in one or two sentences.
    pub story: &'static str,
    /// What ought to stop them.
    pub expects: &'static str,
    /// The doors without which it cannot be played.
    pub needs: &'static [Door],
    /// Plays it.
    pub play: for<'a> fn(&'a mut Scene) -> Playing<'a>,
}

/// A drill to be played: a shipped one, or one of one's own.
pub enum Part<'a> {
    /// One that this program is shipped with.
    Shipped(&'static Drill),
    /// One that somebody wrote.
    Own(&'a OwnDrill),
}

impl Part<'_> {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Shipped(drill) => drill.name,
            Self::Own(drill) => &drill.name,
        }
    }
}

/// Plays drills one after the other. `progress` is told which one begins.
pub async fn run(setting: &Setting, parts: &[Part<'_>], seed: u64, mut progress: impl FnMut(&str)) -> Report {
    let props = Props::new(seed);
    let mut drills = Vec::with_capacity(parts.len());
    for part in parts {
        progress(part.name());
        drills.push(one(setting, &props, part, seed).await);
    }
    Report { program: env!("CARGO_PKG_VERSION").into(), policy: setting.policy.version().into(), seed, drills }
}

async fn one(setting: &Setting, props: &Props, part: &Part<'_>, seed: u64) -> Outcome {
    let (name, story, expects, needs) = match part {
        Part::Shipped(d) => (d.name.to_owned(), d.story.to_owned(), d.expects.to_owned(), d.needs.to_vec()),
        Part::Own(d) => (d.name.clone(), d.story.clone(), d.expects(), d.needs()),
    };
    let outcome = |verdict, steps| Outcome { name: name.clone(), story: story.clone(), expects: expects.clone(), verdict, steps };
    if let Some(missing) = needs.iter().find(|door| !setting.has(**door)) {
        return outcome(Verdict::NotApplicable { why: missing.missing().into() }, Vec::new());
    }
    // A drill's chance hangs on the seed and its name, not on what was played before.
    let lot: [u8; 32] = Sha256::digest([b"drill\0".as_slice(), &seed.to_be_bytes(), name.as_bytes()].concat()).into();
    let mut scene = match open(setting, props, lot).await {
        Ok(scene) => scene,
        Err(e) => return outcome(Verdict::Broken { why: e.to_string() }, Vec::new()),
    };
    let played = match part {
        Part::Shipped(d) => (d.play)(&mut scene).await,
        Part::Own(d) => own::play(d, &mut scene).await,
    };
    let Scene { steps, got, mut stops, .. } = scene;
    // Where a call waits is the least of it.
    stops.sort_by_key(|stop| stop.starts_with("event queued"));
    let verdict = match played {
        // What the attacker has, they have, however the rest went.
        _ if !got.is_empty() => Verdict::GotThrough { got },
        Err(Halt::NotApplicable(why)) => Verdict::NotApplicable { why },
        Err(Halt::Broken(why)) => Verdict::Broken { why },
        Ok(()) if stops.is_empty() => Verdict::Broken { why: "nothing was got, and nothing was seen that stopped it: was the attack played at all?".into() },
        Ok(()) => Verdict::Stopped { by: stops },
    };
    outcome(verdict, steps)
}

async fn open(setting: &Setting, props: &Props, lot: [u8; 32]) -> Result<Scene, Halt> {
    Scene::open(Stage::build(setting, props, lot).await?, lot).await
}
