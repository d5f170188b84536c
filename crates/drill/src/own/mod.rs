//! placeholder
use crate::{Door, Halt, scene::Scene};
/// x
pub struct OwnDrill { /// n
pub name: String, /// s
pub story: String }
impl OwnDrill { /// e
pub fn expects(&self) -> String { String::new() } /// n
pub fn needs(&self) -> Vec<Door> { vec![] } }
/// p
pub async fn play(_: &OwnDrill, _: &mut Scene) -> Result<(), Halt> { Ok(()) }
