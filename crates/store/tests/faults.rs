//! What must hold when something breaks between a node and its database: nothing that was acknowledged
//! is missing, nothing happens twice, limits are exact, and what every node has seen is what one store
//! without faults could have shown.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test, what is not expected may end it"
)]

#[path = "faults/history.rs"]
mod history;
#[path = "faults/postgresql.rs"]
mod postgresql;
#[path = "faults/proxy.rs"]
mod proxy;
