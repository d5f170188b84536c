//! The pure heart of Countersign: no clock, no randomness, no network, no database.
//!
//! For every call it answers: which account is meant ([`identify`]), who proves to be its holder
//! ([`factor`]), how sure we are and what may happen ([`action`]), and what the agent may see
//! ([`view`]). [`call::Call::step`] is the only way in which a call moves, and a call's state is the
//! fold of its [`call::Event`]s.
//!
//! The law of the house: **identification is not authentication.** [`claim::Claim`] and
//! [`factor::Proof`] are different types, and nothing turns one into the other.

pub mod account;
pub mod action;
pub mod call;
pub mod claim;
pub mod factor;
pub mod id;
pub mod identify;
pub mod message;
pub mod prompt;
pub mod random;
pub mod risk;
pub mod secret;
pub mod speech;
pub mod story;
pub mod time;
pub mod view;
pub mod voice;
pub mod watchwords;
