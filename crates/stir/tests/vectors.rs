//! The vectors: made by another implementation, all of them right.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, what is not expected may end it"
)]

use countersign_stir::vectors;

const VECTORS: &str = include_str!("vectors/passport.json");

#[test]
fn every_vector_is_judged_as_it_says() {
    let lines = vectors::check(VECTORS).unwrap();
    let wrong: Vec<String> = lines
        .iter()
        .filter(|line| !line.agrees())
        .map(ToString::to_string)
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(lines.len(), 44);
}

#[test]
fn a_vector_that_expects_something_else_is_told() {
    let changed = VECTORS.replacen("TN-Validation-Passed-A", "TN-Validation-Passed-B", 1);
    assert_eq!(
        vectors::check(&changed)
            .unwrap()
            .iter()
            .filter(|line| !line.agrees())
            .count(),
        1
    );
}

#[test]
fn what_is_no_file_of_vectors_is_refused() {
    assert!(vectors::check("{}").is_err());
    assert!(
        vectors::check(&VECTORS.replacen("-----BEGIN CERTIFICATE-----", "-----BEGIN X-----", 1))
            .is_err()
    );
}
