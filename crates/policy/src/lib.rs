//! What may happen on a call, written in Cedar: load, lint, decide, explain.
//!
//! [`Engine`] is the [`Policy`](countersign_core::action::Policy) that the server runs.
//! [`lint::check`] tells whoever writes policies what is wrong with them, by file, line and column;
//! [`Engine::load`] refuses what the lint calls an error.
//!
//! Two things hold whatever the policies say:
//! 1. Without a proof nobody is more than identified: no `reach:` action is permitted, and a
//!    higher level in the facts is not believed.
//! 2. What cannot be decided is refused: an unknown action, a policy that fails to evaluate.

mod cache;
pub mod case;
mod compile;
mod engine;
mod eval;
mod facts;
mod finding;
pub mod invariant;
pub mod lint;
mod matrix;
mod packs;
mod scan;
mod sources;
mod tree;

pub use self::{
    engine::{ERROR, Engine, NO_PROOF},
    eval::Who,
    finding::{Finding, Severity, render},
    invariant::Invariant,
    matrix::matrix,
    packs::{About, Clause, Pack, table_faults},
    sources::{PolicyErrors, SCHEMA_FILE, Sources},
};
