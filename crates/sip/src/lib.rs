//! x
pub mod clip;
pub mod digest;
pub mod dtmf;
pub mod flow;
pub mod g711;
pub mod guard;
pub mod rtp;
pub mod sdp;
pub mod settings;
mod random;
