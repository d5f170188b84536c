//! Whole calls over loopback: our own small telephone against the gateway, with a scripted flow.

mod bridge;
mod door;
mod keys;
mod script;
mod session;
mod wire;
