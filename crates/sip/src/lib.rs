//! x
pub mod clip;
pub mod dtmf;
pub mod g711;
pub mod rtp;
pub mod sdp;
mod random;
mod digest { pub fn hex(bytes: &[u8]) -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() } }
