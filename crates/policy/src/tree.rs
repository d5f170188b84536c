//! A policy's conditions as Cedar understood them.

use std::sync::Arc;

use cedar_policy::{
    Policy, PrincipalConstraint,
    pst::{Clause, Expr, Policy as Tree, Var},
};

use crate::facts::Reads;

/// The conditions of a policy, in the order of the text. `None` if Cedar cannot tell.
pub(crate) fn conditions(policy: &Policy) -> Option<Vec<Arc<Expr>>> {
    let Tree::Static(policy) = policy.to_pst().ok()? else { return None };
    let expr = |clause: &Clause| match clause {
        Clause::When(expr) | Clause::Unless(expr) => expr.clone(),
    };
    Some(policy.body().clauses().iter().map(expr).collect())
}

/// Which attributes of `context` a policy looks at: too many rather than too few.
pub(crate) fn policy_reads(policy: &Policy) -> Reads {
    let Some(conditions) = conditions(policy) else { return Reads::ALL };
    conditions.iter().map(|expr| reads(expr)).fold(Reads::default(), Reads::and)
}

/// Whether a policy treats people differently.
pub(crate) fn looks_at_people(policy: &Policy) -> bool {
    policy.principal_constraint() != PrincipalConstraint::Any || conditions(policy).is_none_or(|all| all.iter().any(|expr| has_variable(expr, &Var::Principal)))
}

fn has_variable(expr: &Expr, variable: &Var) -> bool {
    matches!(expr, Expr::Var(var) if var == variable) || children(expr).is_none_or(|all| all.into_iter().any(|e| has_variable(e, variable)))
}

fn reads(expr: &Expr) -> Reads {
    match expr {
        Expr::GetAttr { expr: of, attr } if is_context(of) => Reads::attribute(attr),
        Expr::HasAttr { expr: of, attrs } if is_context(of) => Reads::attribute(attrs.first()),
        // The whole context is handed somewhere.
        Expr::Var(Var::Context) => Reads::ALL,
        other => match children(other) {
            Some(children) => children.into_iter().map(reads).fold(Reads::default(), Reads::and),
            None => Reads::ALL,
        },
    }
}

/// Whether `context.<attr>` occurs anywhere below.
pub(crate) fn mentions(expr: &Expr, attr: &str) -> bool {
    is_attribute(expr, attr) || children(expr).is_some_and(|all| all.into_iter().any(|e| mentions(e, attr)))
}

/// Whether this is `context.<attr>`.
pub(crate) fn is_attribute(expr: &Expr, attr: &str) -> bool {
    matches!(expr, Expr::GetAttr { expr: of, attr: name } if is_context(of) && name.as_str() == attr)
}

fn is_context(expr: &Expr) -> bool { matches!(expr, Expr::Var(Var::Context)) }

/// The direct parts of an expression, in the order of the text. `None` for a kind of expression
/// that this program does not know.
pub(crate) fn children(expr: &Expr) -> Option<Vec<&Expr>> {
    Some(match expr {
        Expr::Literal(_) | Expr::Var(_) | Expr::Slot(_) => Vec::new(),
        Expr::UnaryOp { expr, .. } | Expr::GetAttr { expr, .. } | Expr::HasAttr { expr, .. } | Expr::Like { expr, .. } => vec![expr],
        Expr::BinaryOp { left, right, .. } => vec![left, right],
        Expr::Is { expr, in_expr, .. } => std::iter::once(expr).chain(in_expr).map(Arc::as_ref).collect(),
        Expr::IfThenElse { cond, then_expr, else_expr } => vec![cond, then_expr, else_expr],
        Expr::Set(parts) => parts.iter().map(Arc::as_ref).collect(),
        Expr::Record(parts) => parts.values().map(Arc::as_ref).collect(),
        _ => return None,
    })
}
