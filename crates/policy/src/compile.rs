//! From texts to something that can be asked: parsed, validated, and sorted by action.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
    str::FromStr,
};

use cedar_policy::{
    ActionConstraint, Context, Effect, Entities, Entity, EntityId, EntityTypeName, EntityUid, Policy, PolicyId, PolicySet,
    RestrictedExpression, Schema, ValidationMode, Validator, ffi::DetailedError,
};
use countersign_core::action::{Action, Facts, Level, Role, Verb, WayOut};

use crate::{
    engine::{ERROR, NO_PROOF},
    facts::{Reads, Situation},
    finding::Finding,
    lint::public,
    scan::{Chunk, Grammar, chunks, too_deep},
    sources::SCHEMA_FILE,
    tree,
};

/// Policies that can be asked.
pub(crate) struct Compiled {
    pub(crate) schema: Schema,
    pub(crate) entities: Entities,
    pub(crate) people: People,
    pub(crate) rules: Vec<Rule>,
    pub(crate) slots: BTreeMap<Action, Slot>,
}

/// One policy.
pub(crate) struct Rule {
    pub(crate) id: String,
    pub(crate) policy: Policy,
    pub(crate) reason: Option<String>,
    pub(crate) way_out: Option<WayOut>,
    /// The actions its scope names, by itself or by a group.
    pub(crate) covers: Vec<Action>,
    /// What its conditions look at.
    pub(crate) reads: Reads,
    /// Whether it treats people differently.
    pub(crate) personal: bool,
    /// Which of the files it is in, and where.
    pub(crate) file: usize,
    pub(crate) chunk: Chunk,
}

impl Rule {
    pub(crate) fn permits(&self) -> bool { self.policy.effect() == Effect::Permit }
}

/// What there is to know about one action. Its policies are picked out beforehand: most have
/// nothing to say about it, and asking them all would be most of the time of a decision.
pub(crate) struct Slot {
    pub(crate) index: usize,
    pub(crate) verb: Verb,
    pub(crate) uid: EntityUid,
    pub(crate) policies: PolicySet,
    pub(crate) reads: Reads,
    /// Whether anything permits it at all.
    pub(crate) permitted: bool,
}

/// The entities that a request names.
pub(crate) struct People {
    pub(crate) self_service: EntityUid,
    pub(crate) agents: HashMap<Role, EntityUid>,
    pub(crate) account: EntityUid,
}

/// Compiles. Without a single error among the findings there is a result; house rules are not
/// applied here.
pub(crate) fn compile(schema: &str, files: &[(String, String)]) -> (Option<Compiled>, Vec<Finding>) {
    let mut findings = Vec::new();
    let schema_fault = |message: String| Finding::error(SCHEMA_FILE, schema, 0..1, message);
    let parsed = match too_deep(schema, Grammar::Schema) {
        Some((at, why)) => {
            findings.push(Finding::error(SCHEMA_FILE, schema, at, why));
            None
        }
        None => match Schema::from_cedarschema_str(schema) {
            Ok((parsed, _)) => Some(parsed),
            Err(error) => {
                findings.push(told(SCHEMA_FILE, schema, &DetailedError::from(&error), None));
                None
            }
        },
    };
    let mut rules = Vec::new();
    for (index, (name, text)) in files.iter().enumerate() {
        read_file(index, name, text, &mut rules, &mut findings);
    }
    check_ids(&rules, files, &mut findings);
    let Some(parsed) = parsed else { return (None, findings) };
    validate(&parsed, &rules, files, &mut findings);
    if findings.iter().any(|f| f.severity == crate::Severity::Error) {
        return (None, findings);
    }
    match assemble(&parsed, rules) {
        Ok(compiled) => (Some(compiled), findings),
        Err(message) => {
            let help = "the engine gives every action the same facts about an Agent or SelfService and an Account: compare with the shipped schema";
            findings.push(schema_fault(message).help(help));
            (None, findings)
        }
    }
}

/// One file: its policies, or why there are none.
fn read_file(index: usize, name: &str, text: &str, rules: &mut Vec<Rule>, findings: &mut Vec<Finding>) {
    if let Some((at, why)) = too_deep(text, Grammar::Policies) {
        findings.push(Finding::error(name, text, at, why).help("write several policies: where one of them permits it is permitted, where one forbids it is not"));
        return;
    }
    let set = match PolicySet::from_str(text) {
        Ok(set) => set,
        Err(errors) => {
            findings.extend(errors.iter().map(|error| told(name, text, &DetailedError::from(error), None)));
            return;
        }
    };
    let chunks = chunks(text);
    if chunks.len() != set.policies().count() + set.templates().count() {
        // None of them is lost without a word.
        findings.push(Finding::error(name, text, 0..1, "it cannot be told where each policy of this file begins").help("put each on lines of its own"));
        return;
    }
    for (number, chunk) in chunks.into_iter().enumerate() {
        // Cedar names the policies of a text by their position in it.
        let Some(policy) = set.policy(&PolicyId::new(format!("policy{number}"))) else {
            let fault = Finding::error(name, text, chunk.head(), "a template: nothing here fills in ?principal or ?resource");
            findings.push(fault.help("name the principal and resource types instead"));
            continue;
        };
        let rule = Rule {
            id: policy.annotation("id").unwrap_or_default().to_owned(),
            reason: policy.annotation("reason").map(str::to_owned),
            way_out: policy.annotation("wayout").and_then(way_out),
            policy: policy.clone(),
            reads: tree::policy_reads(policy),
            personal: tree::looks_at_people(policy),
            covers: Vec::new(),
            file: index,
            chunk,
        };
        check_annotations(&rule, name, text, findings);
        rules.push(rule);
    }
}

fn way_out(name: &str) -> Option<WayOut> {
    match name {
        "online" => Some(WayOut::Online),
        "specialist" => Some(WayOut::Specialist),
        "none" => Some(WayOut::None),
        "held" => Some(WayOut::Held),
        _ => None,
    }
}

fn check_annotations(rule: &Rule, name: &str, text: &str, findings: &mut Vec<Finding>) {
    let at = |annotation: &str| rule.chunk.annotation(text, annotation).unwrap_or_else(|| rule.chunk.head());
    let fault = |span: Range<usize>, message: String| Finding::error(name, text, span, message);
    let id = &rule.id;
    if rule.policy.annotation("id").is_none() {
        let help = "write @id(\"a_short_name\") before it: records and screens name the policies that decided";
        findings.push(fault(rule.chunk.head(), "this policy has no @id".to_owned()).help(help));
    } else if !(1..=60).contains(&id.len()) || !id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
        findings.push(fault(at("id"), format!("`{id}` cannot be an @id")).help("use 1 to 60 lower-case letters, digits and underscores"));
    } else if [ERROR, NO_PROOF].contains(&id.as_str()) {
        findings.push(fault(at("id"), format!("the engine itself decides as `{id}`")).help("choose another @id"));
    }
    if let Some(value) = rule.policy.annotation("wayout") {
        if rule.way_out.is_none() {
            let fault = fault(at("wayout"), format!("`{value}` is no way out")).policy(id);
            findings.push(fault.help("the ways out of a refusal are online, specialist, held and none"));
        } else if rule.permits() {
            let fault = fault(at("wayout"), "a permit refuses nothing, so it has no way out".to_owned()).policy(id);
            findings.push(fault.help("put @wayout on the forbid that refuses").warning());
        }
    }
    for (key, _) in rule.policy.annotations() {
        if !["id", "wayout", "reason"].contains(&key) {
            let fault = fault(at(key), format!("nothing reads @{key}")).policy(id);
            findings.push(fault.help("known are @id, @reason and, on a forbid, @wayout").warning());
        }
    }
}

fn check_ids(rules: &[Rule], files: &[(String, String)], findings: &mut Vec<Finding>) {
    let mut seen: HashMap<&str, &Rule> = HashMap::new();
    for rule in rules.iter().filter(|r| !r.id.is_empty()) {
        let Some(first) = seen.get(rule.id.as_str()) else {
            seen.insert(&rule.id, rule);
            continue;
        };
        let (Some((name, text)), Some((other, other_text))) = (files.get(rule.file), files.get(first.file)) else { continue };
        let span = rule.chunk.annotation(text, "id").unwrap_or_else(|| rule.chunk.head());
        let there = Finding::error(other, other_text, first.chunk.head(), "");
        let fault = Finding::error(name, text, span, format!("two policies are called `{}`", rule.id)).policy(&rule.id);
        findings.push(fault.help(format!("the other one is at {other}:{}; give each its own @id", there.line)));
    }
}

/// Cedar's strict validation: every attribute exists, every comparison is between like and like.
fn validate(schema: &Schema, rules: &[Rule], files: &[(String, String)], findings: &mut Vec<Finding>) {
    let numbered = rules.iter().enumerate().map(|(i, rule)| rule.policy.new_id(PolicyId::new(i.to_string())));
    let Ok(set) = PolicySet::from_policies(numbered) else { return };
    let result = Validator::new(schema.clone()).validate(&set, ValidationMode::Strict);
    let errors = result.validation_errors().map(|e| (e.policy_id(), DetailedError::from(e), false));
    let warnings = result.validation_warnings().map(|w| (w.policy_id(), DetailedError::from(w), true));
    for (number, fault, is_warning) in errors.chain(warnings) {
        let number: Option<usize> = AsRef::<str>::as_ref(number).parse().ok();
        let Some(rule) = number.and_then(|i| rules.get(i)) else { continue };
        let Some((name, text)) = files.get(rule.file) else { continue };
        let finding = told(name, text, &fault, Some(rule));
        findings.push(if is_warning { finding.warning() } else { finding });
    }
}

/// What Cedar says, in our form.
fn told(name: &str, text: &str, fault: &DetailedError, rule: Option<&Rule>) -> Finding {
    let place = fault.source_locations.first().map(|label| label.loc.start..label.loc.end);
    let span = place.or_else(|| rule.map(|r| r.chunk.head())).unwrap_or(0..1);
    // Cedar numbers policies when they have no name, and we numbered them; the id stands below.
    let message = match fault.message.split_once("`, ") {
        Some((start, rest)) if start.starts_with("for policy `") => rest.to_owned(),
        _ => fault.message.clone(),
    };
    let pointed_at = text.get(span.clone()).unwrap_or("");
    let mut finding = Finding::error(name, text, span.clone(), message);
    if let Some(label) = fault.source_locations.first().and_then(|l| l.label.clone()) {
        finding = finding.help(label);
    }
    if let Some(help) = &fault.help {
        finding = finding.help(help.clone());
    }
    if let (Some(_), Some(attribute)) = (rule, pointed_at.rsplit(['.', '"']).find(|part| public::is_public(part))) {
        finding = finding.help(format!("there is no such fact, and there will not be: {}", public::why(attribute)));
    }
    match rule {
        Some(rule) => finding.policy(&rule.id),
        None => finding,
    }
}

/// Sorts the policies by action. The error is about the schema.
fn assemble(schema: &Schema, mut rules: Vec<Rule>) -> Result<Compiled, String> {
    let type_name = |name: &str| EntityTypeName::from_str(&format!("Countersign::{name}")).map_err(|e| e.to_string());
    let uid = |type_of: &str, id: &str| Ok::<_, String>(EntityUid::from_type_name_and_id(type_name(type_of)?, EntityId::new(id)));
    let people = People {
        self_service: uid("SelfService", "caller")?,
        agents: Role::ALL.into_iter().map(|role| Ok((role, uid("Agent", role.name())?))).collect::<Result<_, String>>()?,
        account: uid("Account", "account")?,
    };
    let mut all = vec![Entity::with_uid(people.self_service.clone()), Entity::with_uid(people.account.clone())];
    for (role, uid) in &people.agents {
        let attributes = HashMap::from([("role".to_owned(), RestrictedExpression::new_string(role.name().to_owned()))]);
        all.push(Entity::new(uid.clone(), attributes, Default::default()).map_err(|e| e.to_string())?);
    }
    let entities = Entities::from_entities(all, Some(schema)).map_err(|e| told_plainly(&DetailedError::from(&e)))?;

    let facts = Situation::of(&Facts {
        level: Level::Anonymous, opened: false, claims: vec![], proofs: vec![], risk: 0, frozen: false, phone_lock: false,
        duress: false, delegate: None, stronger_set_up: false, with_reason: false, voice: Default::default(),
    });
    let actions_type = type_name("Action")?;
    let mut slots = BTreeMap::new();
    let askable: BTreeSet<EntityUid> = schema.request_envs().map(|env| env.action().clone()).collect();
    for (index, uid) in askable.into_iter().enumerate() {
        let name = uid.id().unescaped();
        let action: Action = match name.parse() {
            Ok(action) if *uid.type_name() == actions_type => action,
            _ => return Err(format!("nobody can ask for the action {uid}: actions are called verb:object, the verb one of view, speak, mask, match, change, do, use, reach")),
        };
        fits(&facts, schema, &uid)?;
        let mut groups: BTreeSet<EntityUid> = entities.ancestors(&uid).into_iter().flatten().cloned().collect();
        groups.insert(uid.clone());
        let mut policies = PolicySet::new();
        let (mut reads, mut permitted) = (Reads::default(), false);
        for rule in &mut rules {
            let covered = match rule.policy.action_constraint() {
                ActionConstraint::Any => true,
                ActionConstraint::Eq(one) => one == uid,
                ActionConstraint::In(some) => some.iter().any(|one| groups.contains(one)),
            };
            if covered {
                policies.add(rule.policy.new_id(PolicyId::new(&rule.id))).map_err(|e| e.to_string())?;
                reads = reads.and(rule.reads);
                permitted |= rule.permits();
                rule.covers.push(action.clone());
            }
        }
        slots.insert(action.clone(), Slot { index, verb: action.verb, uid, policies, reads, permitted });
    }
    for level in [Level::Authenticated, Level::Strong] {
        if !slots.contains_key(&Action::new(Verb::Reach, level.name())) {
            return Err(format!("the schema has no action reach:{level}, so nobody could ever reach that level"));
        }
    }
    Ok(Compiled { schema: schema.clone(), entities, people, rules, slots })
}

/// Whether the facts that the engine gives are the ones that the schema declares for an action.
fn fits(facts: &Situation, schema: &Schema, uid: &EntityUid) -> Result<(), String> {
    let context = facts.context(Reads::ALL).ok_or("the facts cannot be put together")?;
    let Err(error) = context.validate(schema, uid) else { return Ok(()) };
    // Validation does not name the attribute in question; reading the same from JSON does.
    let named = context.to_json_value().ok().and_then(|json| Context::from_json_value(json, Some((schema, uid))).err());
    let fault = named.as_ref().map_or_else(|| DetailedError::from(&error), DetailedError::from);
    Err(format!("the facts declared for {uid} are not the ones that the engine gives: {}", told_plainly(&fault)))
}

fn told_plainly(fault: &DetailedError) -> String {
    match &fault.help {
        Some(help) => format!("{} ({help})", fault.message),
        None => fault.message.clone(),
    }
}
