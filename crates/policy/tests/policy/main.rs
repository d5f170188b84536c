//! The shipped policies, asked from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

mod cases;
mod lint;
mod matrix;
mod packs;
mod plans;
mod properties;
mod study;
mod support;
