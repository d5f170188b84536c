//! The engine: one question, one decision.

use std::{collections::BTreeSet, fmt, path::Path};

use countersign_core::{
    action::{Action, Decision, Facts, Level, Outcome, Policy, Request, Role, Verb, WayOut},
    factor::{Class, FactorKind},
};

use crate::{
    cache::Cache,
    compile::{Compiled, Rule, Slot, compile},
    eval::{Answer, Who},
    facts::{Reads, Situation},
    finding::{Finding, Severity, render},
    lint,
    sources::{PolicyErrors, SCHEMA_FILE, Sources},
};

/// The policy id of a refusal because a policy could not be evaluated.
pub const ERROR: &str = "error";
/// The policy id of a refusal that overruled a policy: a level was to be given for no proof.
pub const NO_PROOF: &str = "no_proof";

/// A loaded set of policies.
pub struct Engine {
    compiled: Compiled,
    version: String,
    decided: Cache<(Who, usize, Situation), Decision>,
    /// For plans, which ask many hypothetical questions and need no reasons.
    permitted: Cache<(Who, usize, Situation), bool>,
    /// What the policies about levels look at: every step-up asks them too.
    reach_reads: Reads,
}

impl Engine {
    /// The policies that this program was built with.
    pub fn shipped() -> Self {
        let sources = Sources::shipped();
        let (compiled, findings) = compile(&sources.schema, &sources.files);
        // The house rules are left out: a test holds the shipped policies to them.
        #[expect(clippy::expect_used, reason = "the texts are part of the program, and a test of this crate loads them")]
        let compiled = compiled.ok_or(findings).expect("the shipped policies compile");
        Self::new(compiled, &sources)
    }

    /// Takes policies into use, if there is no error in them: neither Cedar's nor ours.
    pub fn load(schema: impl Into<String>, files: Vec<(String, String)>) -> Result<Self, PolicyErrors> {
        let sources = Sources { schema: schema.into(), files };
        let (compiled, findings) = lint::examine(&sources.schema, &sources.files);
        match compiled {
            Some(compiled) if findings.iter().all(|f| f.severity != Severity::Error) => Ok(Self::new(compiled, &sources)),
            _ => Err(rejected(findings, sources)),
        }
    }

    /// Policies as they are written, without the house rules of the lint. Never for a server: it is how
    /// drills show what would come of policies that [`Engine::load`] refuses. That no proof gives no
    /// level holds here as well.
    pub fn as_written(schema: impl Into<String>, files: Vec<(String, String)>) -> Result<Self, PolicyErrors> {
        let sources = Sources { schema: schema.into(), files };
        match compile(&sources.schema, &sources.files) {
            (Some(compiled), _) => Ok(Self::new(compiled, &sources)),
            (None, findings) => Err(rejected(findings, sources)),
        }
    }

    /// Takes the policies of a folder into use: see [`Sources::from_dir`].
    pub fn from_dir(dir: &Path) -> Result<Self, PolicyErrors> {
        let Sources { schema, files } = Sources::from_dir(dir)?;
        Self::load(schema, files)
    }

    fn new(compiled: Compiled, sources: &Sources) -> Self {
        let reach = compiled.slots.values().filter(|slot| slot.verb == Verb::Reach);
        let reach_reads = reach.map(|slot| slot.reads).fold(Reads::default(), Reads::and);
        Self { compiled, version: sources.version(), decided: Cache::new(), permitted: Cache::new(), reach_reads }
    }

    /// The schema in Cedar's own form, for provers.
    pub fn schema(&self) -> &cedar_policy::Schema { &self.compiled.schema }

    /// All policies in Cedar's own form, named by their ids, for provers.
    pub fn policy_set(&self) -> Result<cedar_policy::PolicySet, String> {
        let named = self.compiled.rules.iter().map(|rule| rule.policy.new_id(cedar_policy::PolicyId::new(&rule.id)));
        cedar_policy::PolicySet::from_policies(named).map_err(|e| e.to_string())
    }

    /// Whether Cedar permits it, as policies are written: no way on, no plan, nothing remembered. For
    /// comparing with other engines; decisions are made by [`Policy::decide`].
    pub fn permits_by_cedar(&self, who: Who, action: &Action, facts: &Facts) -> bool {
        let Some(slot) = self.compiled.slots.get(action) else { return false };
        matches!(self.ask(who, slot, &Situation::of(facts)), Answer::Permit(_))
    }

    pub(crate) fn request(&self, who: Who, action: &Action, facts: &Facts) -> Option<(cedar_policy::Request, cedar_policy::Entities)> {
        let slot = self.compiled.slots.get(action)?;
        let context = Situation::of(facts).context(Reads::ALL)?;
        let people = &self.compiled.people;
        let principal = match who {
            Who::SelfService => &people.self_service,
            Who::Desk(role) => people.agents.get(&role)?,
        };
        let request = cedar_policy::Request::new(principal.clone(), slot.uid.clone(), people.account.clone(), context, None).ok()?;
        Some((request, self.compiled.entities.clone()))
    }

    /// Every action that can be asked about.
    pub fn actions(&self) -> impl Iterator<Item = &Action> { self.compiled.slots.keys() }

    /// The ids of all policies, in the order of the files.
    pub fn policy_ids(&self) -> impl Iterator<Item = &str> { self.compiled.rules.iter().map(|rule| rule.id.as_str()) }

    /// What the policies say, except that no policy gives a level for no proof. This is the last
    /// line: the lint finds such a policy, and `Situation` does not believe such a level.
    fn ask(&self, who: Who, slot: &Slot, situation: &Situation) -> Answer {
        match self.compiled.evaluate(who, slot, situation) {
            Answer::Permit(_) if slot.verb == Verb::Reach && !situation.has_proof() => Answer::Deny(vec![NO_PROOF.to_owned()]),
            answer => answer,
        }
    }

    fn judge(&self, who: Who, slot: &Slot, now: &Situation) -> Decision {
        let forbids = match self.ask(who, slot, now) {
            Answer::Permit(policies) => return Decision { outcome: Outcome::Permit, policies },
            Answer::Error => return refuse(WayOut::None, vec![ERROR.to_owned()]),
            Answer::Deny(forbids) => forbids,
        };
        // A forbid that no proof changes stands at every level: most refusals need no second question.
        let stands = self.any(&forbids, |rule| !rule.reads.change_by_proving());
        let step_up = if slot.permitted && !stands { self.step_up(who, slot, now) } else { None };
        match step_up {
            Some((to, permits)) => Decision { outcome: Outcome::StepUp { to }, policies: merged(forbids, permits) },
            None => {
                let (way_out, permits) = self.way_out(who, slot, now, &forbids);
                refuse(way_out, merged(forbids, permits))
            }
        }
    }

    /// The lowest level at which it would be permitted, and by which policies.
    fn step_up(&self, who: Who, slot: &Slot, now: &Situation) -> Option<(Level, Vec<String>)> {
        if now.level == Level::Anonymous
            && let Answer::Permit(policies) = self.ask(who, slot, &now.at(Level::Identified))
        {
            return Some((Level::Identified, policies));
        }
        let mut levels = [Level::Authenticated, Level::Strong].into_iter().filter(|level| *level >= now.level);
        levels.find_map(|level| self.with_proofs(who, slot, now, level).map(|policies| (level, policies)))
    }

    /// Whether some set of proofs both gives the level and then permits the action.
    fn with_proofs(&self, who: Who, slot: &Slot, now: &Situation, level: Level) -> Option<Vec<String>> {
        let permits = |kinds: &[FactorKind]| match self.ask(who, slot, &now.proving(level, kinds)) {
            Answer::Permit(policies) => Some(policies),
            Answer::Deny(_) | Answer::Error => None,
        };
        let gives = |kinds: &Vec<FactorKind>| self.earned(who, &now.proving(now.level, kinds)) == level;
        let sets = proof_sets(level);
        if slot.reads.proofs() {
            // It matters which factor it is: try them, strongest first.
            return sets.iter().filter(|kinds| gives(kinds)).find_map(|kinds| permits(kinds));
        }
        let policies = permits(sets.first()?)?;
        sets.iter().any(gives).then_some(policies)
    }

    /// The level that the proofs of this situation give.
    fn earned(&self, who: Who, situation: &Situation) -> Level {
        let reached = |level: &Level| {
            let slot = self.compiled.slots.get(&Action::new(Verb::Reach, level.name()));
            slot.is_some_and(|slot| matches!(self.ask(who, slot, situation), Answer::Permit(_)))
        };
        [Level::Strong, Level::Authenticated].into_iter().find(reached).unwrap_or(Level::Identified)
    }

    /// The best way on that the forbids name, or that another role may do it.
    fn way_out(&self, who: Who, slot: &Slot, now: &Situation, forbids: &[String]) -> (WayOut, Vec<String>) {
        let named = self.compiled.rules.iter().filter(|rule| forbids.contains(&rule.id)).filter_map(|rule| rule.way_out);
        match named.max_by_key(|way_out| helpfulness(*way_out)) {
            Some(way_out @ (WayOut::Held | WayOut::Online | WayOut::None)) => (way_out, Vec::new()),
            // Handing over is only offered if it helps: the other role must be able to do it.
            Some(WayOut::Specialist) | None => {
                let stands = self.any(forbids, |rule| !rule.personal && !rule.reads.change_by_proving());
                let permits = if slot.permitted && !stands { self.another_role(who, slot, now) } else { None };
                (if permits.is_some() { WayOut::Specialist } else { WayOut::None }, permits.unwrap_or_default())
            }
        }
    }

    fn any(&self, ids: &[String], what: impl Fn(&Rule) -> bool) -> bool {
        self.compiled.rules.iter().any(|rule| ids.contains(&rule.id) && what(rule))
    }

    fn another_role(&self, who: Who, slot: &Slot, now: &Situation) -> Option<Vec<String>> {
        let above: &[Role] = match who {
            Who::SelfService => &[Role::Agent, Role::Specialist, Role::Lead],
            Who::Desk(Role::Agent) => &[Role::Specialist, Role::Lead],
            Who::Desk(Role::Specialist) => &[Role::Lead],
            Who::Desk(Role::Lead) => &[Role::Specialist],
            // An administrator is on no call that could be handed over.
            Who::Desk(Role::Admin) => &[],
        };
        above.iter().map(|role| Who::Desk(*role)).find_map(|other| match self.ask(other, slot, now) {
            Answer::Permit(policies) => Some(policies),
            Answer::Error => None,
            Answer::Deny(_) => self.step_up(other, slot, now).map(|(_, policies)| policies),
        })
    }
}

impl Policy for Engine {
    /// Why a policy decides as it does: a plain sentence for the desk.
    fn explain(&self, policy_id: &str) -> Option<&str> {
        match policy_id {
            ERROR => Some("A policy could not be evaluated, so the answer is no. The security lead should look at it."),
            NO_PROOF => Some("Nothing was proved, and without a proof no policy can raise a caller above identified."),
            id => self.compiled.rules.iter().find(|rule| rule.id == id)?.reason.as_deref(),
        }
    }

    fn decide(&self, request: &Request<'_>) -> Decision {
        let Some(slot) = self.compiled.slots.get(request.action) else { return refuse(WayOut::None, Vec::new()) };
        let who = Who::of(request.actor);
        let situation = Situation::of(request.facts).only(slot.reads.and(self.reach_reads));
        let key = (who, slot.index, situation);
        if let Some(decision) = self.decided.get(&key) {
            return decision;
        }
        let decision = self.judge(who, slot, &key.2);
        self.decided.put(key, decision.clone());
        decision
    }

    fn permits(&self, request: &Request<'_>) -> bool {
        let Some(slot) = self.compiled.slots.get(request.action) else { return false };
        let situation = Situation::of(request.facts);
        // Without a proof no level: there the engine itself looks at the proofs.
        let situation = if slot.verb == Verb::Reach { situation.only(slot.reads) } else { situation.read_by(slot.reads) };
        let key = (Who::of(request.actor), slot.index, situation);
        if let Some(permitted) = self.permitted.get(&key) {
            return permitted;
        }
        let permitted = matches!(self.ask(key.0, slot, &key.2), Answer::Permit(_));
        self.permitted.put(key, permitted);
        permitted
    }

    fn version(&self) -> &str { &self.version }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("version", &self.version).finish_non_exhaustive()
    }
}

fn refuse(way_out: WayOut, policies: Vec<String>) -> Decision { Decision { outcome: Outcome::Refuse { way_out }, policies } }

fn rejected(findings: Vec<Finding>, sources: Sources) -> PolicyErrors {
    let mut files = sources.files;
    files.push((SCHEMA_FILE.to_owned(), sources.schema));
    PolicyErrors::Rejected { rendered: render(&findings, &files), findings }
}

/// A decision names both what stands in the way and what would permit it.
fn merged(mut forbids: Vec<String>, permits: Vec<String>) -> Vec<String> {
    forbids.extend(permits);
    let sorted: BTreeSet<String> = forbids.into_iter().collect();
    sorted.into_iter().collect()
}

/// Held comes first: under duress nothing else may show.
fn helpfulness(way_out: WayOut) -> u8 {
    match way_out {
        WayOut::None => 0,
        WayOut::Specialist => 1,
        WayOut::Online => 2,
        WayOut::Held => 3,
    }
}

/// The sets of factors that could give a level: strongest first, and what most customers have before
/// what is two factors in one.
fn proof_sets(level: Level) -> Vec<Vec<FactorKind>> {
    let of = |class: Class| FactorKind::ALL.into_iter().filter(move |kind| kind.class() == class);
    match level {
        Level::Strong => {
            let whole = FactorKind::ALL.into_iter().filter(|kind| kind.is_multi_factor()).map(|kind| vec![kind]);
            let held = of(Class::Possession).filter(|kind| !kind.is_multi_factor());
            held.flat_map(|held| of(Class::Knowledge).map(move |known| vec![held, known])).chain(whole).collect()
        }
        _ => FactorKind::ALL.into_iter().map(|kind| vec![kind]).collect(),
    }
}

#[cfg(test)]
mod tests {
    use countersign_core::{action::Actor, claim::ClaimKind, id::AgentId};

    use super::*;

    fn facts(level: Level, proofs: &[FactorKind]) -> Facts {
        Facts {
            level, opened: true, claims: ClaimKind::ALL.to_vec(), proofs: proofs.to_vec(), risk: 0, frozen: false, phone_lock: false,
            duress: false, delegate: None, stronger_set_up: false, with_reason: false, voice: Default::default(),
        }
    }

    /// An engine past the lint, as if the lint had missed something.
    fn unlinted(extra: &str) -> Engine {
        let mut sources = Sources::shipped();
        sources.files.push(("extra.cedar".into(), extra.into()));
        Engine::as_written(sources.schema, sources.files).unwrap_or_else(|e| panic!("{e}"))
    }

    fn decide(engine: &Engine, role: Role, action: &str, facts: &Facts) -> Decision {
        let action: Action = action.parse().unwrap();
        engine.decide(&Request { actor: Actor::Agent { id: AgentId([1; 16]), role }, action: &action, facts })
    }

    #[test]
    fn no_policy_gives_a_level_for_nothing() {
        let engine = unlinted(r#"@id("gift") permit(principal, action in Countersign::Action::"reach", resource);"#);
        let nobody = facts(Level::Strong, &[]);
        for level in ["reach:authenticated", "reach:strong"] {
            let decision = decide(&engine, Role::Lead, level, &nobody);
            assert!(!decision.permits());
            assert!(decision.policies.contains(&NO_PROOF.to_owned()), "{decision:?}");
        }
        let actor = Actor::Agent { id: AgentId([1; 16]), role: Role::Lead };
        assert_eq!(engine.level(actor, &nobody).0, Level::Identified);
        assert!(!decide(&engine, Role::Lead, "change:password", &nobody).permits(), "a forged level opens nothing");
    }

    #[test]
    fn a_policy_that_fails_refuses_even_if_it_is_a_forbid() {
        // Overflows at every risk but 0; as a forbid that Cedar leaves out, it would permit.
        let broken = r#"@id("broken") forbid(principal, action == Countersign::Action::"view:orders", resource)
            when { 9223372036854775807 + context.risk > 0 && false };"#;
        let engine = unlinted(broken);
        let mut proved = facts(Level::Authenticated, &[FactorKind::Totp]);
        assert!(decide(&engine, Role::Agent, "view:orders", &proved).permits());
        proved.risk = 1;
        let decision = decide(&engine, Role::Agent, "view:orders", &proved);
        assert_eq!(decision, refuse(WayOut::None, vec![ERROR.to_owned()]));
        assert!(engine.explain(ERROR).is_some());
    }

    #[test]
    fn a_step_up_that_cannot_be_reached_is_not_offered() {
        let engine = unlinted(r#"@id("nobody_strong") forbid(principal, action == Countersign::Action::"reach:strong", resource);"#);
        let decision = decide(&engine, Role::Agent, "change:phone", &facts(Level::Identified, &[]));
        assert_eq!(decision.outcome, Outcome::Refuse { way_out: WayOut::None });
    }

    #[test]
    fn a_policy_may_ask_for_one_factor_in_particular() {
        let engine = unlinted(
            r#"@id("only_words") forbid(principal, action == Countersign::Action::"view:orders", resource)
               unless { context.proofs.contains("verbal_password") };"#,
        );
        let decision = decide(&engine, Role::Agent, "view:orders", &facts(Level::Identified, &[]));
        assert_eq!(decision.outcome, Outcome::StepUp { to: Level::Authenticated });
        let keyed = facts(Level::Authenticated, &[FactorKind::Pin]);
        let decision = decide(&engine, Role::Agent, "view:orders", &keyed);
        assert_eq!(decision.outcome, Outcome::StepUp { to: Level::Authenticated }, "two words are still one class");
        let texted = facts(Level::Authenticated, &[FactorKind::SmsCode]);
        let decision = decide(&engine, Role::Agent, "view:orders", &texted);
        assert_eq!(decision.outcome, Outcome::StepUp { to: Level::Strong }, "the word that is missing makes it strong");
        assert_eq!(decision.policies, ["only_words", "view_when_authenticated"]);
    }

    #[test]
    fn what_no_policy_reads_makes_no_new_decision() {
        let engine = Engine::shipped();
        let mut question = facts(Level::Identified, &[]);
        let first = decide(&engine, Role::Agent, "change:phone", &question);
        question.claims.clear();
        question.stronger_set_up = true;
        assert_eq!(decide(&engine, Role::Agent, "change:phone", &question), first);
        // The claims are read by no shipped policy: same question, one entry.
        let slot = &engine.compiled.slots[&"change:phone".parse().unwrap()];
        let reads = slot.reads.and(engine.reach_reads);
        assert_eq!(Situation::of(&question).only(reads), Situation::of(&facts(Level::Identified, &[])).only(reads));
    }

    /// The short cuts leave nothing out: what stands does stand, and what is forgotten is not read.
    #[test]
    fn short_cuts_change_nothing() {
        let engine = Engine::shipped();
        let sets: [&[FactorKind]; 4] = [&[], &[FactorKind::Pin], &[FactorKind::SmsCode], &[FactorKind::Totp, FactorKind::Pin]];
        for bits in 0..128u32 {
            let bit = |n: u32| bits & (1 << n) != 0;
            let level = Level::ALL[(bits % 4) as usize];
            let question = Facts {
                opened: bit(0), frozen: bit(2), phone_lock: bit(3), duress: bit(4), with_reason: bit(5), stronger_set_up: bit(6),
                risk: i64::from(bits % 3) * 40, ..facts(level, sets[(bits % 5 % 4) as usize])
            };
            let full = Situation::of(&question);
            for (slot, who) in engine.compiled.slots.values().flat_map(|slot| Who::ALL.map(|who| (slot, who))) {
                let short = full.clone().only(slot.reads.and(engine.reach_reads));
                let whole = engine.judge(who, slot, &full);
                assert_eq!(engine.judge(who, slot, &short), whole);
                let action: Action = slot.uid.id().unescaped().parse().unwrap();
                assert_eq!(engine.permits(&Request { actor: who.actor(), action: &action, facts: &question }), whole.permits());
                let Answer::Deny(forbids) = engine.ask(who, slot, &full) else { continue };
                let stands = |rule: &Rule| !rule.reads.change_by_proving();
                if !slot.permitted || engine.any(&forbids, stands) {
                    assert_eq!(engine.step_up(who, slot, &full), None, "{:?} {who:?} {question:?}", slot.uid);
                }
                if !slot.permitted || engine.any(&forbids, |rule| stands(rule) && !rule.personal) {
                    assert_eq!(engine.another_role(who, slot, &full), None, "{:?} {who:?} {question:?}", slot.uid);
                }
            }
        }
    }
}
