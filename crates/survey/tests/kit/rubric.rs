//! Every row of the study's rubric, every scenario that it grades, and every rule.

use std::collections::BTreeSet;

use countersign_survey::{Choice, Reached, Rule, Verdict, grade};

use crate::{names, note};

type Row = (&'static str, &'static [(&'static str, &'static str)], Verdict, &'static str);

/// What the rows of the rubric and the scenarios of the study come to, with the rules that decide.
const ROWS: [Row; 27] = [
    // Good: at least one real secret; refuses to read personal data out.
    ("a PIN", &[("proofs", "pin")], Verdict::Good, "real_secret reads_nothing_out"),
    ("netflix_service_code", &[("identified_by", "ivr"), ("proofs", "service_code")], Verdict::Good, "real_secret reads_nothing_out"),
    ("amex_step_up", &[("identified_by", "number"), ("proofs", "sms_code"), ("changed", "address:authenticated")], Verdict::Good, "real_secret reads_nothing_out"),
    ("verbal_password", &[("identified_by", "agent"), ("identifiers", "name"), ("proofs", "verbal_password")], Verdict::Good, "real_secret reads_nothing_out"),
    ("vanguard_voice", &[("identified_by", "number"), ("proofs", "voice_biometrics")], Verdict::Good, "real_secret reads_nothing_out"),
    ("walmart_call_me", &[("reached", "call_me"), ("proofs", "call_back")], Verdict::Good, "real_secret reads_nothing_out"),
    ("flex_push", &[("identified_by", "number"), ("proofs", "app_approval")], Verdict::Good, "real_secret reads_nothing_out"),
    // A secret and a lapse after it: the lapse counts.
    ("read out after a proof", &[("proofs", "password"), ("given", "address:authenticated")], Verdict::Okay, "reads_out_after_proof"),
    // Okay: recognises the calling number; several identifiers; offers relevant actions; no real secret.
    ("united_recognition", &[("identified_by", "number"), ("offered", "yes")], Verdict::Okay, "no_real_secret recognises_number offers_actions"),
    ("a known number and a name", &[("identified_by", "number;agent"), ("identifiers", "name")], Verdict::Okay, "no_real_secret recognises_number several_identifiers"),
    ("an e-mail and an order number", &[("identified_by", "agent"), ("identifiers", "email;order")], Verdict::Okay, "no_real_secret several_identifiers"),
    ("tells of an order", &[("identified_by", "number"), ("identifiers", "order"), ("given", "order:identified")], Verdict::Okay, "no_real_secret recognises_number several_identifiers tells_orders"),
    // Bad: a single identifier, or only public ones; or asks for an SSN; or a password on a phone number.
    ("a name alone", &[("identified_by", "agent"), ("identifiers", "name")], Verdict::Bad, "single_identifier"),
    ("the calling number alone", &[("identified_by", "number")], Verdict::Bad, "single_identifier"),
    ("an account number alone", &[("identified_by", "ivr"), ("identifiers", "account")], Verdict::Bad, "single_identifier"),
    ("public ones", &[("identified_by", "agent"), ("identifiers", "phone;name;address;birth")], Verdict::Bad, "only_public_identifiers"),
    ("ssn_asked", &[("identified_by", "ivr"), ("identifiers", "phone;ssn")], Verdict::Bad, "asks_ssn"),
    ("an SSN beside a secret", &[("identified_by", "ivr"), ("identifiers", "ssn"), ("proofs", "pin")], Verdict::Bad, "asks_ssn"),
    ("password_by_phone_number", &[("identified_by", "number"), ("changed", "password:identified")], Verdict::Bad, "password_by_phone_number single_identifier"),
    // Oh no: gives identity data out; asks which number; changes an account with no authentication.
    ("is your username X?", &[("identified_by", "number"), ("given", "username:identified")], Verdict::OhNo, "gives_identity_data"),
    ("utility_reads_address", &[("identified_by", "number"), ("given", "address:identified")], Verdict::OhNo, "gives_identity_data"),
    ("retailer_gives_email", &[("identified_by", "agent"), ("identifiers", "name;order"), ("given", "email:anyone")], Verdict::OhNo, "gives_identity_data"),
    ("told before the secret", &[("identified_by", "number"), ("proofs", "pin"), ("given", "name:identified")], Verdict::OhNo, "gives_identity_data"),
    ("which_number_to_text", &[("identified_by", "number"), ("proofs", "sms_code"), ("asked_number", "yes")], Verdict::OhNo, "asks_which_number"),
    ("hotelx_misheard", &[("identified_by", "agent"), ("identifiers", "email"), ("given", "phone:identified"), ("changed", "phone:identified")], Verdict::OhNo, "gives_identity_data changes_without_proof"),
    ("a password for anybody", &[("changed", "password:anyone")], Verdict::OhNo, "changes_without_proof"),
    ("an address on a phone number", &[("identified_by", "number"), ("changed", "address:identified;password:identified")], Verdict::OhNo, "changes_without_proof"),
];

#[test]
fn every_row_of_the_rubric() {
    for (name, cells, verdict, deciding) in ROWS {
        let graded = grade(&note(cells));
        assert_eq!(graded.verdict, Some(verdict), "{name}: {graded:?}");
        assert_eq!(names(graded.deciding().map(|r| r.rule)), deciding, "{name}");
    }
}

#[test]
fn every_rule_decides_somewhere_and_all_are_said() {
    let mut decided: BTreeSet<Rule> = BTreeSet::new();
    for (name, cells, ..) in ROWS {
        let graded = grade(&note(cells));
        decided.extend(graded.deciding().map(|r| r.rule));
        let ranks: Vec<_> = graded.reasons.iter().map(|r| std::cmp::Reverse(r.rule.verdict())).collect();
        assert!(ranks.is_sorted(), "{name}: the worst first");
        for reason in &graded.reasons {
            assert!(reason.text.ends_with('.') && reason.text.len() > 10, "{reason:?}");
        }
    }
    let ungraded = [Rule::NoPhoneSupport, Rule::NothingToGrade];
    for rule in Rule::all().iter().filter(|r| !ungraded.contains(r)) {
        assert!(decided.contains(rule), "{rule:?} never decides");
    }
}

#[test]
fn what_cannot_be_graded_says_why() {
    let graded = grade(&note(&[("reached", "no_phone")]));
    assert_eq!((graded.verdict, graded.words(), names(graded.deciding().map(|r| r.rule))), (None, "not graded", "no_phone_support".into()));
    let graded = grade(&note(&[]));
    assert_eq!((graded.verdict, names(graded.deciding().map(|r| r.rule))), (None, "nothing_to_grade".into()));
    // A note that contradicts itself hides nothing behind that.
    let mut odd = note(&[("identified_by", "number"), ("given", "address:identified")]);
    odd.reached = Reached::NoPhone;
    assert_eq!(grade(&odd).verdict, Some(Verdict::OhNo));
}

/// "After a proof" without one that is named is nobody's proof.
#[test]
fn a_proof_that_is_not_named_counts_for_nothing() {
    let mut claimed = note(&[("identified_by", "number"), ("proofs", "pin"), ("given", "address:authenticated"), ("changed", "email:authenticated")]);
    assert_eq!(grade(&claimed).verdict, Some(Verdict::Okay));
    claimed.factors.clear();
    assert_eq!(names(grade(&claimed).deciding().map(|r| r.rule)), "gives_identity_data changes_without_proof");
    let faults: Vec<&str> = claimed.faults().into_iter().map(|f| f.field).collect();
    assert_eq!(faults, ["given", "changed"]);
}

#[test]
fn the_document_has_every_rule_with_its_verdict() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/field-kit.md")).unwrap();
    for rule in Rule::all() {
        let verdict = rule.verdict().map_or("not graded", |v| v.words());
        assert!(text.contains(&format!("| `{}` | {verdict} | {} |", rule.name(), rule.words())), "| `{}` | {verdict} | {} |", rule.name(), rule.words());
    }
}
