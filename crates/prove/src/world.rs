//! What the solver may assume of a request: the facts that the engine gives, and no others.

use std::str::FromStr;

use cedar_policy::{EntityUid, Policy, PolicyId, PolicySet, RequestEnv};
use countersign_core::{
    action::{Action, DelegateFacts, Facts, Level, Role},
    claim::ClaimKind,
    factor::{Class, FactorKind},
    voice::Likeness,
};
use countersign_policy::{Engine, Who, case::Question};
use serde_json::Value;

use crate::solver::ProveError;

/// A forbid of everything that is no state of the world: levels off the scale, factors that there are
/// none of, levels without a proof (the engine does not believe them), classes that no proof gave.
pub(crate) fn world() -> Result<Policy, ProveError> {
    let list = |names: &mut dyn Iterator<Item = &'static str>| format!("[{}]", names.map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(", "));
    let of = |class: Class| list(&mut FactorKind::ALL.into_iter().filter(|k| k.class() == class).map(FactorKind::name));
    let text = format!(
        r#"@id("world") forbid(principal, action, resource) unless {{
            context.level >= 0 && context.level <= 3 && context.risk >= 0 && context.risk <= 100 &&
            {kinds}.containsAll(context.proofs) && {claims}.containsAll(context.claims) &&
            ["knowledge", "possession"].containsAll(context.classes) &&
            context.classes.contains("knowledge") == context.proofs.containsAny({knowledge}) &&
            context.classes.contains("possession") == context.proofs.containsAny({possession}) &&
            (context.level <= 1 || !context.proofs.isEmpty()) &&
            {likenesses}.contains(context.voice) &&
            (context.delegate || (!context.delegate_covers && context.delegate_kind == "")) &&
            (!(principal is Countersign::Agent) || {roles}.contains(principal.role))
        }};"#,
        kinds = list(&mut FactorKind::ALL.into_iter().map(FactorKind::name)), claims = list(&mut ClaimKind::ALL.into_iter().map(ClaimKind::name)),
        knowledge = of(Class::Knowledge), possession = of(Class::Possession), likenesses = list(&mut Likeness::ALL.into_iter().map(Likeness::name)), roles = list(&mut Role::ALL.into_iter().map(Role::name)),
    );
    policy(&text, "world")
}

/// A forbid of everything that this one does not ask.
pub(crate) fn only(who: Who) -> Result<Policy, ProveError> {
    let condition = match who {
        Who::SelfService => "principal is Countersign::SelfService".to_owned(),
        Who::Desk(role) => format!("principal is Countersign::Agent && principal.role == \"{}\"", role.name()),
    };
    policy(&format!("forbid(principal, action, resource) unless {{ {condition} }};"), "only")
}

/// Permits everything.
pub(crate) fn everything() -> Result<Policy, ProveError> { policy("permit(principal, action, resource);", "everything") }

fn policy(text: &str, id: &str) -> Result<Policy, ProveError> {
    let policy = Policy::from_str(text).map_err(|e| ProveError::Texts(format!("{id}: {e}")))?;
    Ok(policy.new_id(PolicyId::new(format!("({id})"))))
}

/// A set of these, by their ids.
pub(crate) fn set(policies: impl IntoIterator<Item = Policy>) -> Result<PolicySet, ProveError> {
    PolicySet::from_policies(policies).map_err(|e| ProveError::Texts(e.to_string()))
}

/// The action of a request, if it is one that can be asked.
pub(crate) fn action_of(uid: &EntityUid) -> Option<Action> { uid.id().unescaped().parse().ok() }

/// Who can be the principal of such a request.
pub(crate) fn people(env: &RequestEnv) -> Vec<Who> {
    if env.principal().basename() == "SelfService" { vec![Who::SelfService] } else { Role::ALL.into_iter().map(Who::Desk).collect() }
}

/// What the solver found, in our words. `None`: it is not readable, or not of this world.
pub(crate) fn question(request: &cedar_policy::Request, entities: &cedar_policy::Entities) -> Option<Question> {
    let action = action_of(request.action()?)?;
    let principal = request.principal()?;
    let who = if principal.type_name().basename() == "SelfService" {
        Who::SelfService
    } else {
        let role = entities.get(principal)?.attr("role")?.ok()?;
        Who::Desk(match role {
            cedar_policy::EvalResult::String(role) => Role::parse(&role)?,
            _ => return None,
        })
    };
    let context = request.context()?.to_json_value().ok()?;
    let flag = |name: &str| context.get(name).and_then(Value::as_bool);
    let number = |name: &str| context.get(name).and_then(Value::as_i64);
    let names = |name: &str| context.get(name).and_then(Value::as_array).map(|list| list.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect::<Vec<_>>());
    let level = number("level")?;
    let proofs = names("proofs")?;
    let claims = names("claims")?;
    let kind = context.get("delegate_kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    let facts = Facts {
        level: Level::ALL.into_iter().find(|l| l.rank() == level)?,
        opened: flag("opened")?,
        claims: ClaimKind::ALL.into_iter().filter(|k| claims.iter().any(|c| c == k.name())).collect(),
        proofs: FactorKind::ALL.into_iter().filter(|k| proofs.iter().any(|p| p == k.name())).collect(),
        risk: number("risk")?,
        frozen: flag("frozen")?,
        phone_lock: flag("phone_lock")?,
        duress: flag("duress")?,
        delegate: flag("delegate")?.then_some(DelegateFacts { kind, covers: flag("delegate_covers")? }),
        stronger_set_up: flag("stronger_set_up")?,
        with_reason: flag("with_reason")?,
        voice: Likeness::parse(context.get("voice").and_then(Value::as_str)?)?,
    };
    Some(Question { who, action, facts })
}

/// Whether a set permits a question, as it is written.
pub(crate) fn permits(engine: &Engine, set: &PolicySet, question: &Question) -> bool {
    let Some((request, entities)) = question.request(engine) else { return false };
    cedar_policy::Authorizer::new().is_authorized(&request, set, &entities).decision() == cedar_policy::Decision::Allow
}
