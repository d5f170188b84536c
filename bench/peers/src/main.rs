//! The same questions to three engines, in one run, with answers that must agree; then how long the
//! plans of a desk and the proofs of everything that is shipped take. `cargo xtask bench --only policy`.

use std::{collections::BTreeSet, fmt::Write as _, sync::Arc, time::Instant};

use casbin::{CoreApi, DefaultModel, Enforcer, MemoryAdapter, MgmtApi};
use countersign_core::{
    action::{Action, DelegateFacts, Facts, Level, Policy, Request, Role},
    factor::{Class, FactorKind},
};
use countersign_policy::{Engine, Pack, Sources, Who, case::{Question, ordinary}, invariant};
use countersign_prove::{Settings, prove};
use serde::Serialize;

type Fail = Box<dyn std::error::Error + Send + Sync>;

/// A question as the peers see it.
#[derive(Clone, Serialize, Hash)]
struct Asked {
    agent: bool,
    role: String,
    action: String,
    groups: Vec<String>,
    level: i64,
    opened: bool,
    proofs: Vec<String>,
    proved: bool,
    classes: Vec<String>,
    risk: i64,
    frozen: bool,
    phone_lock: bool,
    duress: bool,
    delegate: bool,
    delegate_covers: bool,
    delegate_kind: String,
    stronger_set_up: bool,
    with_reason: bool,
}

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
    fn one_in(&mut self, n: u64) -> bool { self.roll(n) == 0 }
}

fn groups(action: &Action) -> Vec<String> {
    let name = action.to_string();
    let (verb, object) = name.split_once(':').unwrap_or_default();
    let mut out = vec![verb.to_owned()];
    if ["change", "do"].contains(&verb) {
        out.push("sensitive".into());
    }
    if ["view", "mask", "speak"].contains(&verb) {
        out.push("disclose".into());
        if object != "upcoming" {
            out.push("identifying".into());
        }
    }
    if ["do:close_account", "do:redirect_parcel"].contains(&name.as_str()) {
        out.push("online_only".into());
    }
    out
}

fn questions(engine: &Engine, n: usize) -> Vec<Question> {
    let mut dice = Dice(7);
    let actions: Vec<Action> = engine.actions().cloned().collect();
    (0..n).map(|_| {
        let action = actions[usize::try_from(dice.roll(actions.len() as u64)).unwrap_or(0)].clone();
        let who = Who::ALL[usize::try_from(dice.roll(5)).unwrap_or(0)];
        let level = Level::ALL[usize::try_from(dice.roll(4)).unwrap_or(0)];
        let mut proofs: Vec<FactorKind> = FactorKind::ALL.into_iter().filter(|_| dice.one_in(5)).collect();
        if level >= Level::Authenticated && proofs.is_empty() {
            proofs = ordinary(level).proofs;
        }
        let kind = ["guardian", "assistant", "power_of_attorney"][usize::try_from(dice.roll(3)).unwrap_or(0)];
        let facts = Facts {
            proofs, opened: !dice.one_in(4), risk: i64::try_from(dice.roll(101)).unwrap_or(0), frozen: dice.one_in(8), phone_lock: dice.one_in(8), duress: dice.one_in(12),
            delegate: dice.one_in(6).then(|| DelegateFacts { kind: kind.into(), covers: dice.one_in(2) }), stronger_set_up: dice.one_in(3), with_reason: dice.one_in(4),
            ..ordinary(level)
        };
        Question { who, action, facts }
    }).collect()
}

fn asked(q: &Question) -> Asked {
    let f = &q.facts;
    let classes: BTreeSet<&str> = f.proofs.iter().map(|k| if k.class() == Class::Knowledge { "knowledge" } else { "possession" }).collect();
    Asked {
        agent: q.who != Who::SelfService, role: if let Who::Desk(role) = q.who { role.name().into() } else { String::new() }, action: q.action.to_string(),
        groups: groups(&q.action), level: f.level.rank(), opened: f.opened, proofs: f.proofs.iter().map(|k| k.name().into()).collect(), proved: !f.proofs.is_empty(),
        classes: classes.into_iter().map(str::to_owned).collect(), risk: f.risk, frozen: f.frozen, phone_lock: f.phone_lock, duress: f.duress,
        delegate: f.delegate.is_some(), delegate_covers: f.delegate.as_ref().is_some_and(|d| d.covers),
        delegate_kind: f.delegate.as_ref().map(|d| d.kind.clone()).unwrap_or_default(), stronger_set_up: f.stronger_set_up, with_reason: f.with_reason,
    }
}

/// Times one call after another.
struct Timed {
    name: String,
    per_second: f64,
    p50: f64,
    p99: f64,
}

fn timed<T>(name: &str, items: &[T], rounds: usize, mut one: impl FnMut(&T)) -> Timed {
    let mut took = Vec::with_capacity(items.len() * rounds);
    let whole = Instant::now();
    for _ in 0..rounds {
        for item in items {
            let begun = Instant::now();
            one(item);
            took.push(begun.elapsed().as_secs_f64() * 1e6);
        }
    }
    let whole = whole.elapsed().as_secs_f64();
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took.get(((took.len() as f64 - 1.0) * share) as usize).copied().unwrap_or_default();
    Timed { name: name.into(), per_second: took.len() as f64 / whole, p50: at(0.5), p99: at(0.99) }
}

fn casbin_rules() -> Vec<Vec<String>> {
    let lines = include_str!("../rules.casbin").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(' ')).map(|(effect, rule)| vec![rule.replace("q.", "r.q."), effect.to_owned()]).collect()
}

async fn casbin() -> Result<Enforcer, Fail> {
    let model = DefaultModel::from_str(
        "[request_definition]\nr = q\n[policy_definition]\np = rule, eft\n[policy_effect]\ne = some(where (p.eft == allow)) && !some(where (p.eft == deny))\n[matchers]\nm = eval(p.rule)\n",
    ).await?;
    let mut enforcer = Enforcer::new(model, MemoryAdapter::default()).await?;
    enforcer.add_policies(casbin_rules()).await?;
    Ok(enforcer)
}

#[tokio::main]
async fn main() -> Result<(), Fail> {
    let packs = Pack::shipped();
    let sources = Sources::shipped().with_packs(&packs)?;
    let load = || Engine::load(sources.schema.clone(), sources.files.clone());
    let engine = Arc::new(load()?);
    let few = questions(&engine, 2_000);
    let decide = |engine: &Engine, q: &Question| engine.decide(&Request { actor: q.who.actor(), action: &q.action, facts: &q.facts });

    // First that all three say the same: a peer that decides otherwise is no peer.
    let mut rego = regorus::Engine::new();
    rego.add_policy("rules.rego".into(), include_str!("../rules.rego").into())?;
    let mut regorus = move |input: &regorus::Value| {
        rego.set_input(input.clone());
        rego.eval_rule("data.countersign.allow".into())
    };
    let inputs: Vec<(Asked, regorus::Value)> = few.iter().map(|q| {
        let asked = asked(q);
        let value = regorus::Value::from_json_str(&serde_json::to_string(&asked)?)?;
        Ok((asked, value))
    }).collect::<Result<_, Fail>>()?;
    let enforcer = casbin().await?;
    let (mut permits, mut differ) = (0, Vec::new());
    for (question, (asked, value)) in few.iter().zip(&inputs) {
        let ours = decide(&engine, question).permits();
        let theirs = regorus(value)? == regorus::Value::from(true);
        let others = enforcer.enforce((asked.clone(),))?;
        permits += usize::from(ours);
        if ours != theirs || ours != others {
            differ.push(format!("{} for {}: countersign {ours}, regorus {theirs}, casbin {others}", question.action, question.sentence()));
        }
    }
    if !differ.is_empty() || permits < 50 {
        return Err(format!("the engines do not agree ({} differ, {permits} permitted):\n{}", differ.len(), differ[..differ.len().min(10)].join("\n")).into());
    }
    println!("{} questions, {permits} permitted, the same by all three.\n", few.len());

    // Not seen before: every question once, by an engine that has not answered anything.
    let many = questions(&engine, 60_000);
    let mut rows = Vec::new();
    let fresh = load()?;
    rows.push(timed("Countersign: a decision with its way on, not seen before", &many, 1, |q| drop(decide(&fresh, q))));
    rows.push(timed("Countersign: the same, seen before", &few, 100, |q| drop(decide(&engine, q))));
    rows.push(timed("Countersign: permit or not, by Cedar alone, nothing remembered", &few, 5, |q| drop(fresh.permits_by_cedar(q.who, &q.action, &q.facts))));
    rows.push(timed("regorus: permit or not, input at hand", &inputs, 2, |(_, value)| drop(regorus(value))));
    rows.push(timed("casbin: permit or not", &inputs, 1, |(asked, _)| drop(enforcer.enforce((asked.clone(),)))));

    // What a desk asks at once: what would it take?
    let available = [FactorKind::Passkey, FactorKind::Totp, FactorKind::SmsCode, FactorKind::VoiceCode, FactorKind::VerbalPassword, FactorKind::Pin];
    let actions: Vec<Action> = engine.actions().filter(|a| a.is_sensitive()).cloned().collect();
    let situations: Vec<(Action, Facts)> = (0..2_000).map(|i| (actions[i % actions.len()].clone(), Facts { risk: (i / 7 % 60) as i64, ..ordinary(Level::ALL[i % 3]) })).collect();
    let planner = load()?;
    let actor = Who::Desk(Role::Agent).actor();
    rows.push(timed("Countersign: a plan (which factors would do), not seen before", &situations, 1, |(action, facts)| drop(planner.plan(actor, action, facts, &available))));
    rows.push(timed("Countersign: the same, seen before", &situations, 5, |(action, facts)| drop(planner.plan(actor, action, facts, &available))));

    let mut table = String::from("| what | per second on one core | p50 | p99 |\n|---|---|---|---|\n");
    for row in &rows {
        writeln!(table, "| {} | {:.0} | {:.1} µs | {:.1} µs |", row.name, row.per_second, row.p50, row.p99)?;
    }
    println!("{table}");

    let mut invariants = invariant::read(&sources.schema, &Sources::shipped_invariants())?;
    for pack in &packs {
        invariants.extend(invariant::read(&sources.schema, &[(pack.name.clone(), pack.invariants.clone())])?);
    }
    let count = invariants.len();
    let report = prove(engine, invariants, &Settings::default(), Arc::new(|_, _| ())).await?;
    let questions: usize = report.checked.iter().map(|c| c.questions).sum();
    println!("Proofs: {count} promises of the base and all packs over all packs, {questions} questions to the solver, {:.1} s on {} cores, {}.",
        report.took.as_secs_f64(), Settings::default().workers, if report.holds() { "all proved" } else { "NOT all proved" });
    if report.holds() { Ok(()) } else { Err("not all promises are proved".into()) }
}
