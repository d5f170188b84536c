//! The call machine through its public face, moved by the same loop as the server's runner:
//! load, step, answer what is asked, judge the guards, commit; refused steps are tried again.
#![allow(
    clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing,
    reason = "the helpers of this test crate are outside of #[test] functions, where clippy.toml does not reach"
)]

mod desk;
mod digits;
mod identification;
mod limits;
mod properties;
mod proving;
mod routing;
mod shell;
mod spoken;
mod stages;
mod tapes;
mod toy;
mod voice;
mod world;
