//! What the lint says, and where.

use countersign_core::action::Policy;
use countersign_policy::{Engine, Finding, Severity, Sources, lint, render};

use crate::support::policies;

const HEAD: &str = "// A pack of our own.\n";

/// The findings about one policy added to the shipped ones.
fn findings(policy: &str) -> Vec<Finding> {
    let mut sources = Sources::shipped();
    sources.files.push(("own.cedar".into(), format!("{HEAD}{policy}")));
    lint::check(&sources.schema, &sources.files)
}

/// The only error about a policy: its place is where `mark` stands in the text.
fn error_at(policy: &str, mark: &str) -> Finding {
    let all = findings(policy);
    let errors: Vec<&Finding> = all.iter().filter(|f| f.severity == Severity::Error).collect();
    let [error] = errors.as_slice() else { panic!("one error expected for\n{policy}\n{all:#?}") };
    let text = format!("{HEAD}{policy}");
    let at = text.find(mark).expect(mark);
    let line = text[..at].matches('\n').count() + 1;
    let column = at - text[..at].rfind('\n').map_or(0, |n| n + 1) + 1;
    assert_eq!((error.file.as_str(), error.line, error.column), ("own.cedar", line, column), "{}\n{policy}", error.message);
    (*error).clone()
}

#[test]
fn the_shipped_policies_are_clean() {
    let sources = Sources::shipped();
    let findings = lint::check(&sources.schema, &sources.files);
    assert!(findings.is_empty(), "{}", render(&findings, &sources.files));
    let loaded = Engine::from_dir(&policies()).unwrap();
    assert_eq!(loaded.version(), Engine::shipped().version());
}

/// No spelling makes a proof of what many people know.
#[test]
fn ssn_asked() {
    let words = [
        "ssn", "SSN", "last4_ssn", "social_security", "Social Security Number", "date_of_birth", "dob", "name", "email", "number",
        "account_number", "postal_code", "mothers_maiden_name", "address", "order_number", "device_serial",
    ];
    let conditions = [
        "context.proofs.contains(WORD)",
        "context.proofs.containsAny([\"totp\",\n    WORD])",
        "context.proofs.containsAll([WORD, \"pin\"])",
        "context[\"proofs\"].contains(WORD)",
        "[\"pin\", WORD].containsAny(context.proofs)",
        "[WORD].containsAll(context.proofs)",
        "context.proofs == [WORD]",
        "(if context.opened then context.proofs else [\"pin\"]).contains(WORD)",
        "\"pin\" == \"totp\" || { p: context.proofs }.p.contains(WORD)",
        "context.classes.contains(WORD)",
    ];
    // All of them in one file: each has to be found at its own place.
    let (mut text, mut places) = (String::from("// Ours.\n"), Vec::new());
    for (i, condition) in conditions.iter().enumerate() {
        for (j, word) in words.iter().enumerate() {
            let action = ["reach:authenticated", "reach:strong", "change:password", "view:orders"][j % 4];
            text.push_str(&format!("@id(\"own_{i}_{j}\") permit(principal, action == Countersign::Action::\"{action}\", resource)\nwhen {{ "));
            let (before, after) = condition.split_once("WORD").unwrap();
            text.push_str(before);
            let line = text.matches('\n').count() + 1;
            let column = text.chars().rev().take_while(|c| *c != '\n').count() + 1;
            places.push((format!("own_{i}_{j}"), line, column, word.chars().count() + 2));
            text.push_str(&format!("\"{word}\"{after} }};\n"));
        }
    }
    let mut sources = Sources::shipped();
    sources.files.push(("own.cedar".into(), text));
    let findings = lint::check(&sources.schema, &sources.files);
    assert_eq!(findings.len(), places.len(), "{}", render(&findings, &sources.files));
    for (finding, (id, line, column, width)) in findings.iter().zip(places) {
        assert_eq!((finding.policy_id.as_deref(), finding.line, finding.column, finding.width), (Some(id.as_str()), line, column, width));
        assert_eq!((finding.file.as_str(), finding.severity), ("own.cedar", Severity::Error));
        assert!(finding.message.contains("is treated as a proof"), "{}", finding.message);
        assert!(finding.help.as_ref().unwrap().contains("identification is not authentication"));
    }
}

#[test]
fn ssn_asked_when_loading() {
    let mut sources = Sources::shipped();
    let policy = "@id(\"own\") permit(principal, action == Countersign::Action::\"change:password\", resource) when { context.proofs.contains(\"ssn\") };";
    sources.files.push(("own.cedar".into(), policy.into()));
    let error = Engine::load(sources.schema, sources.files).unwrap_err();
    assert_eq!(error.findings().len(), 1);
    assert!(error.to_string().contains("own.cedar:1:121"), "{error}");
}

#[test]
fn claims_decide_nothing_that_needs_proof() {
    for action in ["action == Countersign::Action::\"reach:strong\"", "action in Countersign::Action::\"reach\"", "action in Countersign::Action::\"change\"",
        "action in [Countersign::Action::\"do:cancel_order\", Countersign::Action::\"view:orders\"]", "action"] {
        let permit = format!("@id(\"own\") permit(principal, {action}, resource)\nwhen {{ context.level >= 2 && context.claims.contains(\"date_of_birth\") }};");
        let error = error_at(&permit, "claims");
        assert!(error.message.contains("claims only say which account is meant"), "{}", error.message);
    }
    let quiz = "@id(\"own\") forbid(principal, action in Countersign::Action::\"change\", resource)\nunless { context.claims.containsAll([\"date_of_birth\"]) };";
    error_at(quiz, "claims");
    // To decide what is compared or mentioned they are what they are for.
    let recognise = "@id(\"own\") permit(principal, action == Countersign::Action::\"speak:upcoming\", resource) when { context.claims.contains(\"number\") };";
    assert_eq!(findings(recognise), []);
}

#[test]
fn what_is_given_for_nothing_is_found_without_a_telltale_word() {
    for (scope, condition) in [
        ("action in Countersign::Action::\"reach\"", "context.level >= 1"),
        ("action == Countersign::Action::\"change:password\"", "context.level >= 1 && context.opened"),
        ("action == Countersign::Action::\"change:password\"", "true"),
        ("action in Countersign::Action::\"do\"", "context.delegate && context.delegate_covers"),
        ("action == Countersign::Action::\"view:address\"", "context.opened"),
        ("action == Countersign::Action::\"mask:account_number\"", "context.level > 0"),
        ("action == Countersign::Action::\"speak:name\"", "context.with_reason"),
        ("action == Countersign::Action::\"change:phone\"", "principal is Countersign::Agent && principal.role == \"lead\" && context.with_reason"),
        ("action == Countersign::Action::\"view:email\"", "principal is Countersign::Agent && principal.role == \"specialist\" && context.with_reason"),
        ("action", "context.risk < 10 && context.opened"),
    ] {
        let policy = format!("@id(\"own\")\npermit (principal, {scope}, resource)\nwhen {{ {condition} }};");
        let error = error_at(&policy, "permit (");
        assert!(error.message.contains("to a caller who proved nothing: identification is not authentication"), "{}", error.message);
    }
    let lead = "@id(\"own\") permit(principal is Countersign::Agent, action == Countersign::Action::\"view:phone\", resource)
        when { principal.role == \"lead\" && context.with_reason && context.opened && context.level >= 1 };";
    assert_eq!(findings(lead), [], "a lead's exception, on record, is policy's to make");
}

#[test]
fn strong_takes_two_classes() {
    let policy = "@id(\"own\") permit(principal, action == Countersign::Action::\"reach:strong\", resource) when { context.proofs.contains(\"totp\") };";
    assert!(error_at(policy, "permit(").message.contains("factors of one class"));
    let fine = "@id(\"own\") permit(principal, action == Countersign::Action::\"reach:strong\", resource) when { context.proofs.containsAll([\"totp\", \"pin\"]) };";
    assert_eq!(findings(fine), []);
}

#[test]
fn slips_are_told_with_their_place() {
    let view = "permit(principal, action == Countersign::Action::\"view:orders\", resource)";
    let typo = error_at(&format!("@id(\"own\") {view} when {{ context.proofs.contains(\"topt\") }};"), "\"topt\"");
    assert!(typo.message.contains("no factor"), "{}", typo.message);
    let nameless = error_at(&format!("{view} when {{ context.level >= 3 }};"), "permit");
    assert!(nameless.message.contains("no @id"));
    let twice = error_at(&format!("@id(\"online_only\") {view} when {{ context.level >= 3 }};"), "\"online_only\"");
    assert!(twice.message.contains("two policies"));
    assert!(twice.help.unwrap().contains("base/guards.cedar:"));
    let way = error_at("@id(\"own\") @wayout(\"somewhere\")\nforbid(principal, action in Countersign::Action::\"do\", resource) when { context.risk > 5 };", "\"somewhere\"");
    assert!(way.message.contains("no way out"));
    let reserved = error_at(&format!("@id(\"error\") {view} when {{ context.level >= 3 }};"), "\"error\"");
    assert!(reserved.message.contains("the engine itself"));
    let attribute = error_at(&format!("@id(\"own\") {view} when {{ context.levle >= 3 }};"), "context.levle");
    assert!(attribute.message.contains("levle"), "{}", attribute.message);
    let ssn = error_at(&format!("@id(\"own\") {view} when {{ context.ssn_verified }};"), "context.ssn_verified");
    assert!(ssn.help.as_ref().unwrap().contains("SSN is in every breach"), "{ssn:?}");
    let action = error_at("@id(\"own\") forbid(principal, action == Countersign::Action::\"view:ordres\", resource);", "Countersign::Action");
    assert!(action.message.contains("view:ordres"), "{}", action.message);
    let template = error_at("@id(\"own\") forbid(principal == ?principal, action, resource);", "forbid");
    assert!(template.message.contains("template"));
    let all = findings("@id(\"own\") permit(principal, action, resource) when { context.level => 1 };");
    assert_eq!((all[0].line, all[0].severity), (2, Severity::Error), "{all:?}");
    let both = findings("@id(\"own\") @wayuot(\"online\") @wayout(\"online\") permit(principal, action == Countersign::Action::\"view:orders\", resource) when { context.level >= 2 };");
    assert!(both.iter().all(|f| f.severity == Severity::Warning) && both.len() == 2, "{both:#?}");
}

#[test]
fn a_schema_that_asks_for_other_facts_is_refused() {
    let shipped = Sources::shipped();
    for (from, to, what) in [
        ("    risk: Long,", "    risk: Long,\n    ssn_matches: Bool,", "ssn_matches"),
        ("\"do:cancel_order\"", "\"pay:bill\"", "nobody can ask for"),
        ("entity Agent { role: String };", "entity Agent { role: String, ssn: String };", "ssn"),
        ("\"reach:authenticated\", ", "", "reach:authenticated"),
        ("entity Account;", "entity Account", ""),
    ] {
        let schema = shipped.schema.replacen(from, to, 1);
        assert_ne!(schema, shipped.schema);
        let findings = lint::check(&schema, &[]);
        assert_eq!(findings.len(), 1, "{findings:#?}");
        assert!(findings[0].file == "countersign.cedarschema" && findings[0].message.contains(what), "{findings:#?}");
    }
}

#[test]
fn an_action_of_ones_own_is_one_line_of_schema() {
    let mut sources = Sources::shipped();
    sources.schema = sources.schema.replacen("\"do:cancel_order\"", "\"do:cancel_order\", \"do:pay_bill\"", 1);
    let policy = "@id(\"bills\") permit(principal, action == Countersign::Action::\"do:pay_bill\", resource) when { context.level >= 2 };";
    sources.files.push(("own.cedar".into(), policy.into()));
    let engine = Engine::load(sources.schema, sources.files).unwrap();
    assert!(engine.actions().any(|a| a.to_string() == "do:pay_bill"));
}

#[test]
fn findings_look_like_a_compiler_s() {
    let mut sources = Sources::shipped();
    let own = "// Ours.\n@id(\"quick_check\")\npermit (principal, action == Countersign::Action::\"reach:authenticated\", resource)\nwhen { context.proofs.contains(\"ssn\") };\n\n@id(\"helpful\")\npermit (principal, action == Countersign::Action::\"change:password\", resource)\nwhen { context.opened };\n";
    sources.files.push(("own.cedar".into(), own.into()));
    let findings = lint::check(&sources.schema, &sources.files);
    insta::assert_snapshot!(render(&findings, &sources.files), @r#"
    error: `ssn` is treated as a proof, and it is none: an SSN is in every breach and on every form (NIST SP 800-63A-4 does not take it as evidence); it says which account is meant, not that the caller is its holder
     --> own.cedar:4:32
      |
    4 | when { context.proofs.contains("ssn") };
      |                                ^^^^^
      = policy: quick_check
      = help: identification is not authentication: a proof is one of passkey, provider, totp, hotp, service_code, app_call, callback, approval, sms_code, voice_code, verbal_password, pin, backup_code. What only identifies is in context.claims, and no policy may take it for a proof

    error: permits `change:password` (agent) to a caller who proved nothing: identification is not authentication
     --> own.cedar:7:1
      |
    7 | permit (principal, action == Countersign::Action::"change:password", resource)
      | ^^^^^^
      = policy: helpful
      = help: asked as a caller who knows every number, name and date of the customer; require `context.level >= 2`, or 3 for what cannot be taken back

    2 errors, 0 warnings
    "#);
}

/// Cedar goes into what nests with a call of its own: what is too deep for a stack is refused before, and what is
/// not is read and validated, on a stack as small as those of threads.
#[test]
fn what_nests_too_deep_is_told_and_ends_nothing() {
    type Made = fn(usize) -> String;
    let (brackets, steps) = ("brackets nest more than 40", "more than 400 steps");
    // The largest that is read: `when` is two steps, and its bracket is one.
    let kinds: [(&str, usize, Made); 12] = [
        (brackets, 39, |n| format!("when {{ {}true{} }}", "(".repeat(n), ")".repeat(n))),
        (brackets, 39, |n| format!("when {{ {}context.opened{} }}", "(true && ".repeat(n), ")".repeat(n))),
        (brackets, 39, |n| format!("when {{ {}1{} == 1 }}", "{a:".repeat(n), "}".repeat(n))),
        (brackets, 39, |n| format!("when {{ {}1{} == 1 }}", "[".repeat(n), "]".repeat(n))),
        (brackets, 39, |n| format!("when {{ {}1{} }}", "context.proofs.contains(".repeat(n), ")".repeat(n))),
        (steps, 199, |n| format!("when {{ {}true }}", "true && ".repeat(n))),
        (steps, 398, |n| format!("when {{ {}1 == 1 }}", "1 + ".repeat(n))),
        (steps, 398, |n| format!("when {{ context{} == 1 }}", ".a".repeat(n))),
        (steps, 398, |n| format!("when {{ context{} == 1 }}", "[\"a\"]".repeat(n))),
        (steps, 398, |n| format!("when {{ {}true }}", "if true then true else ".repeat(n))),
        (steps, 200, |n| " when { true }".repeat(n)),
        // A closing bracket of another kind closes nothing.
        (brackets, 39, |n| format!("when {{ {}1{} }}", "f(],".repeat(n), ")".repeat(n))),
    ];
    for (why, read, made) in kinds {
        let policy = |n| format!("@id(\"deep\")\npermit(principal, action, resource) {};", made(n));
        let told = |n| findings(&policy(n)).iter().any(|f| f.severity == Severity::Error && f.line == 3 && f.message.contains(why));
        assert_eq!((told(read), told(read + 1), told(20_000)), (false, true, true), "{}", policy(3));
    }
    // After a comment that ends with a carriage return, Cedar reads on.
    let hidden = format!("permit(principal, action, resource) when {{ // x\r {}true{}\n }};", "(".repeat(20_000), ")".repeat(20_000));
    assert!(findings(&hidden).iter().any(|f| f.message.contains(brackets)));
    // One that is not closed is none of the next policy's.
    let unclosed = "permit(principal, action, resource) when { (true };\n".repeat(50);
    assert!(!findings(&unclosed).iter().any(|f| f.message.contains(brackets)));
}

#[test]
fn a_schema_that_goes_too_deep_is_told() {
    let shipped = Sources::shipped().schema;
    let told = |more: String, why: &str| {
        let end = shipped.rfind('}').unwrap();
        let schema = format!("{}{more}{}", &shipped[..end], &shipped[end..]);
        lint::check(&schema, &[]).iter().any(|f| f.severity == Severity::Error && f.message.contains(why))
    };
    let links = |n: usize| (1..=n).map(|n| format!("entity A{n} in A{};\n", n - 1)).collect::<String>();
    for (n, too_many) in [(200, false), (20_000, true)] {
        assert_eq!(told(format!("entity A0;\n{}", links(n)), "declarations"), too_many);
    }
    let doubled = |n: usize| (1..=n).map(|n| format!("type T{n} = {{ a: T{}, b: T{} }};\n", n - 1, n - 1)).collect::<String>();
    for (n, too_many) in [(8, false), (100, true)] {
        assert_eq!(told(format!("type T0 = {{ a: Long }};\n{}", doubled(n)), "types of its own"), too_many);
    }
    for (n, too_deep) in [(30, false), (20_000, true)] {
        assert_eq!(told(format!("type Deep = {}Long{};", "Set<".repeat(n), ">".repeat(n)), "brackets nest"), too_deep);
    }
}

/// A carriage return ends a comment, for Cedar: what stands after it is a policy, and is not lost.
#[test]
fn no_policy_is_lost_behind_a_comment() {
    let text = "@id(\"one\")\npermit(principal, action == Countersign::Action::\"view:name\", resource) when { context.level >= 3 };\n// a note\r@id(\"two\") forbid(principal, action == Countersign::Action::\"view:name\", resource) when { context.risk >= 7 };\n";
    let mut sources = Sources::shipped();
    sources.files.push(("own.cedar".into(), text.into()));
    let engine = Engine::load(sources.schema, sources.files).unwrap();
    let ids: Vec<_> = engine.policy_ids().map(|id| id.to_string()).collect();
    assert!(["one", "two"].iter().all(|id| ids.iter().any(|known| known == id)), "{ids:?}");
}
