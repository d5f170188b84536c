//! Whole calls over loopback: our own small telephone against the gateway, with a scripted flow.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "in a test, what is not expected may end it")]

mod bridge;
mod door;
mod keys;
mod listen;
mod outgoing;
mod script;
mod session;
mod wire;
