//! Every action at every level for everybody, as a table to be reviewed.

use countersign_policy::{Engine, matrix};

use crate::support::policies;

#[test]
fn the_matrix_of_the_base() {
    let table = matrix(&Engine::shipped());
    insta::with_settings!({
        snapshot_path => policies().join("cases"),
        prepend_module_to_snapshot => false,
        omit_expression => true,
        description => "What the shipped policies answer to an ordinary caller. Review it like code.",
    }, { insta::assert_snapshot!("matrix", table) });
}
