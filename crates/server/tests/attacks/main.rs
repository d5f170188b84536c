//! What an attacker, a broken network or a broken provider would do.
#![allow(
    clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing,
    reason = "the helpers of this test crate are outside of #[test] functions, where clippy.toml does not reach"
)]

#[path = "../common/mod.rs"]
mod common;
/// The certification authority that the verifier is tested with.
#[path = "../../../stir/tests/common/mod.rs"]
mod signing;

mod access;
mod api;
mod connections;
mod cross_site;
mod desks;
mod faults;
mod guessing;
mod leaks;
mod lines;
mod links;
mod markup;
mod openid;
mod passkeys;
mod portal;
mod push;
mod risk;
mod sessions;
mod spoken;
mod step_up;
mod stir;
mod streams;
mod survey;
mod tenants;
mod webhooks;
