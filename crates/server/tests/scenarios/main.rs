//! What the field study met, played through the whole server: telephone, desk, portal, letter box.
//! Each test has the name of its row in the study's table of scenarios.
#![allow(
    clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing,
    reason = "the helpers of this test crate are outside of #[test] functions, where clippy.toml does not reach"
)]

#[path = "../common/mod.rs"]
mod common;
/// The certification authority that the verifier is tested with.
#[path = "../../../stir/tests/common/mod.rs"]
mod signing;

mod adapters;
mod customer_keys;
mod delegates;
mod destinations;
mod drills;
mod duress;
mod external_media;
mod field_notes;
mod follow_up;
mod freeswitch;
mod identity;
mod keys;
mod languages;
mod ledger;
mod lifecycle;
mod nodes;
mod openid;
mod opt_out;
mod policies;
mod portal;
mod privacy;
mod receipts;
mod recognition;
mod refusals;
mod retention;
mod risk;
mod security;
mod service_code;
mod sip;
mod step_up;
mod streams;
mod switches;
mod tapes;
mod voice;
mod voice_digits;
mod voice_network;
mod voice_undo;
/// The sounds of the voice crate's own tests.
#[path = "../../../voice/tests/common/mod.rs"]
mod voices;
