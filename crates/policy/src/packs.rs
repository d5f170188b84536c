//! Rule sets by regulation that lie over the base policies. A pack only takes away: its policies are
//! forbids, its limits hold where they are stricter, so that packs compose in any order and the
//! stricter always wins.

use std::{collections::BTreeMap, fs, path::Path};

use countersign_core::{
    action::{Action, Facts, Level, Role, Verb},
    call::Params,
    factor::{Class, FactorKind},
};
use serde::Deserialize;

use crate::{
    Engine, Sources,
    case::{Question, ordinary},
    eval::Who,
    finding::{Finding, render},
    sources::PolicyErrors,
};

/// The folder of packs, beside the schema.
pub(crate) const PACKS: &str = "packs";

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        [$((
            $name,
            include_str!(concat!("../../../policies/packs/", $name, "/pack.toml")),
            include_str!(concat!("../../../policies/packs/", $name, "/policies.cedar")),
            include_str!(concat!("../../../policies/packs/", $name, "/invariants.cedar")),
        )),*]
    };
}

/// A rule set.
#[derive(Debug, Clone)]
pub struct Pack {
    /// Its name, such as `us-cpni`.
    pub name: String,
    /// What it says of itself.
    pub about: About,
    /// Its policies.
    pub policies: String,
    /// What it promises.
    pub invariants: String,
}

/// `pack.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The rule in words.
    pub title: String,
    /// What it is about, in a few sentences, and whom it binds.
    pub summary: String,
    /// Limits of calls that it asks for, by the names of [`Params`]; times in milliseconds.
    #[serde(default)]
    pub parameters: BTreeMap<String, i64>,
    /// Clause by clause, what enforces it.
    pub clauses: Vec<Clause>,
}

/// One clause of the rule.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clause {
    /// Which.
    pub clause: String,
    /// What it demands, in our words.
    pub demands: String,
    /// What enforces it: `policy:ID`, `invariant:ID`, `parameter:NAME`, or `built in: …`.
    #[serde(default)]
    pub rules: Vec<String>,
    /// The tests that hold it, as `path::name`.
    #[serde(default)]
    pub tests: Vec<String>,
    /// What of it is not enforced here, if anything.
    #[serde(default)]
    pub gap: Option<String>,
}

impl Pack {
    /// Those that this program was built with, by name.
    pub fn shipped() -> Vec<Self> {
        let packs = shipped!("biometric", "eu-psd2", "nist-800-63b-4", "pci", "us-cpni", "us-ffiec", "us-hipaa", "us-tcpa");
        packs.into_iter().map(|(name, about, policies, invariants)| {
            #[expect(clippy::expect_used, reason = "the texts are part of the program, and a test of this crate reads them")]
            let about = toml::from_str(about).expect("the shipped packs can be read");
            Self { name: name.into(), about, policies: policies.into(), invariants: invariants.into() }
        }).collect()
    }

    /// A shipped pack by its name, or one of your own by its folder (anything with a slash in it).
    pub fn named(name: &str) -> Result<Self, PolicyErrors> {
        if name.contains('/') {
            return Self::from_dir(Path::new(name));
        }
        let shipped = Self::shipped();
        let known = shipped.iter().map(|p| p.name.clone()).collect::<Vec<_>>().join(", ");
        shipped.into_iter().find(|p| p.name == name).ok_or(PolicyErrors::NoPack { name: name.into(), known })
    }

    /// Reads `pack.toml`, `policies.cedar` and `invariants.cedar` of a folder.
    pub fn from_dir(dir: &Path) -> Result<Self, PolicyErrors> {
        let read = |file: &str| {
            let path = dir.join(file);
            fs::read_to_string(&path).map_err(|error| PolicyErrors::Read { path, error })
        };
        let about = toml::from_str(&read("pack.toml")?).map_err(|e| PolicyErrors::Pack { path: dir.join("pack.toml"), fault: e.to_string() })?;
        let name = dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { name, about, policies: read("policies.cedar")?, invariants: read("invariants.cedar")? })
    }

    /// Its policies' file name in a set.
    pub fn file(&self) -> String { format!("{PACKS}/{}/policies.cedar", self.name) }

    /// Tightens limits. The error names a limit that there is none of.
    pub fn tighten(&self, params: &mut Params) -> Result<Vec<String>, PolicyErrors> {
        let mut tightened = Vec::new();
        for (name, value) in &self.about.parameters {
            match params.tighten(name, *value) {
                Some(true) => tightened.push(name.clone()),
                Some(false) => {}
                None => {
                    let fault = format!("`{name} = {value}` is no limit that can be tightened: known are {}, all above zero", Params::TIGHTENED.join(", "));
                    return Err(PolicyErrors::Pack { path: Path::new(PACKS).join(&self.name).join("pack.toml"), fault });
                }
            }
        }
        Ok(tightened)
    }
}

impl Sources {
    /// The policies of a folder, or the shipped ones, under packs by name or folder.
    pub fn under(dir: Option<&Path>, packs: &[String]) -> Result<(Self, Vec<Pack>), PolicyErrors> {
        let packs = packs.iter().map(|name| Pack::named(name)).collect::<Result<Vec<_>, _>>()?;
        let bare = dir.map_or_else(|| Ok(Self::shipped()), Self::from_dir)?;
        Ok((bare.with_packs(&packs)?, packs))
    }

    /// Lays packs over these policies. Refused are packs that permit something, two of one name, and
    /// packs that contradict each other: together they leave nobody a way to be authenticated, or
    /// shut an action for everybody that none of them shuts alone.
    pub fn with_packs(mut self, packs: &[Pack]) -> Result<Self, PolicyErrors> {
        let base = self.clone();
        let mut findings = Vec::new();
        for pack in packs {
            if self.files.iter().any(|(name, _)| *name == pack.file()) {
                return Err(PolicyErrors::Pack { path: pack.file().into(), fault: "this pack is named twice: take one of them out".into() });
            }
            findings.extend(permits(pack));
            self.files.push((pack.file(), pack.policies.clone()));
        }
        if findings.is_empty() && !packs.is_empty() {
            findings.extend(contradictions(&base, packs, &self));
        }
        if findings.is_empty() { Ok(self) } else { Err(PolicyErrors::Rejected { rendered: render(&findings, &self.files), findings }) }
    }
}

/// A pack that permits something would weaken what it lies over.
fn permits(pack: &Pack) -> Vec<Finding> {
    let Ok(set) = pack.policies.parse::<cedar_policy::PolicySet>() else { return Vec::new() };
    let permits = set.policies().filter(|p| p.effect() == cedar_policy::Effect::Permit);
    permits.map(|policy| {
        let id = policy.annotation("id").unwrap_or("?").to_owned();
        let at = pack.policies.find(&format!("@id(\"{id}\")")).unwrap_or(0);
        Finding::error(&pack.file(), &pack.policies, at..at + 1, "a pack only takes away, and this permits something").policy(&id)
            .help("write what must not happen as a forbid; what may happen is for the company's own policies")
    }).collect()
}

/// Whether somebody can do it at all, by action, with whatever they prove.
fn best(engine: &Engine) -> BTreeMap<Action, bool> {
    let people = [Who::SelfService, Who::Desk(Role::Agent), Who::Desk(Role::Specialist), Who::Desk(Role::Lead)];
    let of = |class: Option<Class>| FactorKind::ALL.into_iter().filter(move |k| class.is_none_or(|c| c == k.class())).collect::<Vec<_>>();
    let mut sets = vec![of(None), of(Some(Class::Possession)), of(Some(Class::Knowledge))];
    sets.extend(FactorKind::ALL.map(|kind| vec![kind]));
    let mut out = BTreeMap::new();
    for action in engine.actions() {
        let can = people.iter().any(|who| {
            Level::ALL.into_iter().any(|level| {
                let proved = if level >= Level::Authenticated { sets.as_slice() } else { &[] };
                let sets = proved.iter().cloned().chain((level <= Level::Identified).then(Vec::new));
                // Ending a freeze is only asked for on a frozen account.
                sets.flat_map(|proofs| [false, true].map(|frozen| (proofs.clone(), frozen))).any(|(proofs, frozen)| {
                    Question { who: *who, action: action.clone(), facts: Facts { proofs, frozen, ..ordinary(level) } }.ask(engine).permits()
                })
            })
        });
        out.insert(action.clone(), can);
    }
    out
}

fn contradictions(base: &Sources, packs: &[Pack], all: &Sources) -> Vec<Finding> {
    let load = |sources: &Sources| Engine::load(sources.schema.clone(), sources.files.clone()).ok();
    // What cannot be loaded at all is told by whoever loads it.
    let (Some(before), Some(together)) = (load(base), load(all)) else { return Vec::new() };
    let (before, after) = (best(&before), best(&together));
    let lost: Vec<Action> = before.into_iter().filter(|(action, can)| *can && !after.get(action).copied().unwrap_or(false)).map(|(a, _)| a).collect();
    let alone = |pack: &Pack| {
        let mut sources = base.clone();
        sources.files.push((pack.file(), pack.policies.clone()));
        load(&sources).map(|engine| best(&engine)).unwrap_or_default()
    };
    let alone: Vec<(&Pack, BTreeMap<Action, bool>)> = packs.iter().map(|pack| (pack, alone(pack))).collect();
    let mut findings = Vec::new();
    for action in lost {
        // A pack may shut an action on purpose; but nobody shuts the way to being authenticated.
        let shutters: Vec<&str> = alone.iter().filter(|(_, can)| can.get(&action) == Some(&false)).map(|(pack, _)| pack.name.as_str()).collect();
        let Some((pack, _)) = alone.first() else { continue };
        if action.verb == Verb::Reach || shutters.is_empty() {
            let names = if shutters.is_empty() { packs.iter().map(|p| p.name.as_str()).collect::<Vec<_>>() } else { shutters };
            findings.push(Finding::error(&pack.file(), &pack.policies, 0..1, format!("with {} nobody can `{action}` any more, whatever they prove", names.join(" and ")))
                .help("these packs contradict each other, or one contradicts the base: take one out, or change your own policies"));
        }
    }
    findings
}

/// What is wrong with the promises of a pack's table: rules and tests that there are none of. For
/// tests; `exists` says whether a test is there.
pub fn table_faults(pack: &Pack, schema: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut faults = Vec::new();
    let has = |text: &str, id: &str| text.contains(&format!("@id(\"{id}\")"));
    let base: String = Sources::shipped().files.iter().map(|(_, text)| text.as_str()).collect();
    let promises: String = Sources::shipped_invariants().iter().map(|(_, text)| text.as_str()).collect();
    if let Err(e) = crate::invariant::read(schema, &[(format!("{PACKS}/{}/invariants.cedar", pack.name), pack.invariants.clone())]) {
        faults.push(e.to_string());
    }
    for clause in &pack.about.clauses {
        let at = format!("{} {}", pack.name, clause.clause);
        if clause.rules.is_empty() && clause.gap.is_none() {
            faults.push(format!("{at}: neither a rule nor a gap"));
        }
        if !clause.rules.is_empty() && clause.tests.is_empty() {
            faults.push(format!("{at}: no test holds it"));
        }
        for rule in &clause.rules {
            let known = match rule.split_once(':') {
                Some(("policy", id)) => has(&pack.policies, id) || has(&base, id),
                Some(("invariant", id)) => has(&pack.invariants, id) || has(&promises, id),
                Some(("parameter", name)) => pack.about.parameters.contains_key(name),
                Some(("built in", _)) => true,
                _ => false,
            };
            if !known {
                faults.push(format!("{at}: there is no rule `{rule}`"));
            }
        }
        faults.extend(clause.tests.iter().filter(|test| !exists(test)).map(|test| format!("{at}: there is no test `{test}`")));
    }
    for id in pack.policies.lines().filter_map(|line| line.strip_prefix("@id(\"")?.strip_suffix("\")")) {
        if !pack.about.clauses.iter().any(|c| c.rules.contains(&format!("policy:{id}"))) {
            faults.push(format!("{}: no clause is enforced by the policy `{id}`", pack.name));
        }
    }
    for name in pack.about.parameters.keys() {
        if !pack.about.clauses.iter().any(|c| c.rules.contains(&format!("parameter:{name}"))) {
            faults.push(format!("{}: no clause asks for the parameter `{name}`", pack.name));
        }
    }
    faults
}
