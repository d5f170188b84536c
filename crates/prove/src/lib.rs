//! Proofs about policies, for every caller, agent and account.
//!
//! Cedar's policies are compiled to logic (`cedar-policy-symcc`) and a solver looks for a request
//! that breaks a promise. Where it shows that there is none, the promise is *proved*; where it finds
//! one, the request is made as plain as it can be, asked again of the policies as they are written,
//! and told in a sentence. Where the solver is missing, is silent, gives up or talks nonsense, the
//! answer is that nothing is known: never "proved".
//!
//! What is proved is that Cedar permits nothing that an invariant forbids. The engine permits less
//! than Cedar (it refuses where a policy fails, and gives no level for no proof), so what is proved
//! here holds for it.

mod diff;
mod invariants;
mod plain;
mod solver;
mod world;

pub use self::{
    diff::{Difference, Direction, diff},
    invariants::{Checked, Example, Report, Verdict, prove, stays_within},
    solver::{ProveError, Settings},
};
