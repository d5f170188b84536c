//! Proofs with the real solver. Without one they are skipped, except where its absence is a failure:
//! in CI, or with `COUNTERSIGN_REQUIRE_SOLVER=1`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "helpers outside of #[test] functions")]

use std::sync::Arc;

use countersign_policy::{Engine, Invariant, Pack, Sources, invariant};
use countersign_prove::{Direction, Settings, Verdict, diff, prove, stays_within};

fn solver() -> Option<Settings> {
    let settings = Settings::default();
    if std::process::Command::new(&settings.program).arg("--version").output().is_ok() {
        return Some(settings);
    }
    let needed = ["CI", "COUNTERSIGN_REQUIRE_SOLVER"].iter().any(|name| std::env::var(name).is_ok_and(|v| v == "1" || v == "true"));
    assert!(!needed, "the solver cvc5 is not installed");
    eprintln!("skipped: cvc5 is not installed");
    None
}

fn quiet() -> Arc<dyn Fn(usize, usize) + Send + Sync> { Arc::new(|_, _| ()) }

fn engine(sources: &Sources) -> Arc<Engine> { Arc::new(Engine::load(sources.schema.clone(), sources.files.clone()).unwrap_or_else(|e| panic!("{e}"))) }

fn with(extra: &str) -> Sources {
    let mut sources = Sources::shipped();
    sources.files.push(("extra.cedar".into(), extra.into()));
    sources
}

/// Loaded past our lint, as if it had missed something.
fn base_invariants() -> Vec<Invariant> { invariant::read(&Sources::shipped().schema, &Sources::shipped_invariants()).unwrap_or_else(|e| panic!("{e}")) }

/// What is built in holds for every caller state, agent and account.
#[tokio::test(flavor = "multi_thread")]
async fn the_base_keeps_its_promises() {
    let Some(settings) = solver() else { return };
    let invariants = base_invariants();
    let count = invariants.len();
    let report = prove(engine(&Sources::shipped()), invariants, &settings, quiet()).await.unwrap();
    assert!(report.holds(), "{:#?}", report.checked.iter().filter(|c| c.verdict != Verdict::Proved).collect::<Vec<_>>());
    assert!(report.checked.len() == count && count >= 15 && report.checked.iter().all(|c| c.questions > 0));
}

/// Each pack alone, and all of them together, keep their own promises and the base's, and permit
/// nothing that the base refuses.
#[tokio::test(flavor = "multi_thread")]
async fn packs_keep_their_promises_and_never_weaken_the_base() {
    let Some(settings) = solver() else { return };
    let packs = Pack::shipped();
    let base = engine(&Sources::shipped());
    for some in packs.iter().map(std::slice::from_ref).chain([packs.as_slice()]) {
        let sources = Sources::shipped().with_packs(some).unwrap_or_else(|e| panic!("{e}"));
        let strict = engine(&sources);
        let mut invariants = base_invariants();
        for pack in some {
            invariants.extend(invariant::read(&sources.schema, &[(pack.name.clone(), pack.invariants.clone())]).unwrap());
        }
        let report = prove(strict.clone(), invariants, &settings, quiet()).await.unwrap();
        assert!(report.holds(), "{:?}: {:#?}", some[0].name, report.checked.iter().filter(|c| c.verdict != Verdict::Proved).collect::<Vec<_>>());
        assert_eq!(stays_within(&strict, &base, &settings).await.unwrap(), Verdict::Proved, "{}", some[0].name);
    }
}

/// A hole in the policies is found, told as plainly as it can be, and can be asked again.
#[tokio::test(flavor = "multi_thread")]
async fn a_hole_is_shown_by_an_example() {
    let Some(settings) = solver() else { return };
    let holed = with(r#"@id("helpful") permit(principal is Countersign::Agent, action == Countersign::Action::"change:password", resource)
        when { context.level >= 2 && context.risk < 40 && context.claims.contains("date_of_birth") };"#);
    // The lint would not let it be loaded: what it is about is the proof.
    let Ok(engine) = Engine::as_written(holed.schema, holed.files) else { panic!("compiles") };
    let engine = Arc::new(engine);
    let report = prove(engine.clone(), base_invariants(), &settings, quiet()).await.unwrap();
    let broken: Vec<_> = report.checked.iter().filter(|c| c.verdict != Verdict::Proved).collect();
    let names: Vec<&str> = broken.iter().map(|c| c.id.as_str()).collect();
    assert_eq!(names, ["contact_and_factors_only_at_strong", "password_by_phone_number"]);
    let Verdict::Broken { examples } = &broken[0].verdict else { panic!("{:?}", broken[0]) };
    assert_eq!(examples.len(), 1, "{examples:#?}");
    assert!(examples[0].sentence.starts_with("`change:password` is permitted to"), "{}", examples[0].sentence);
    assert!(examples[0].sentence.contains("for a caller at level authenticated who proved sms_code, while date of birth fit the account"), "{}", examples[0].sentence);
    let (asked, misses) = countersign_policy::case::replay(&engine, &examples[0].line);
    assert_eq!((asked, misses.len()), (1, 0), "{}", examples[0].line);
    assert!(!report.holds());
}

/// What a change does, both ways.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_told_by_what_it_permits_and_refuses() {
    let Some(settings) = solver() else { return };
    let old = engine(&Sources::shipped());
    assert_eq!(diff(old.clone(), old.clone(), &settings, quiet()).await.unwrap(), []);
    let mut sources = with(r#"@id("addresses_by_leads") permit(principal is Countersign::Agent, action == Countersign::Action::"speak:name", resource)
        when { principal.role == "lead" && context.level >= 2 && context.risk < 20 };"#);
    let changes = sources.files.iter_mut().find(|(name, _)| name == "base/changes.cedar").unwrap();
    changes.1 = changes.1.replace("when { context.level >= 3 && context.opened };", "when { context.level >= 3 && context.opened && context.risk < 30 };");
    let found = diff(old, engine(&sources), &settings, quiet()).await.unwrap();
    let permits: Vec<_> = found.iter().filter(|d| d.direction == Direction::Permits).collect();
    assert_eq!(permits.len(), 1, "{found:#?}");
    assert_eq!((permits[0].action.to_string().as_str(), permits[0].who.name()), ("speak:name", "lead"));
    assert!(permits[0].example.as_ref().unwrap().sentence.contains("the account is not open"), "{permits:#?}");
    let refuses: Vec<_> = found.iter().filter(|d| d.direction == Direction::Refuses).collect();
    assert!(refuses.iter().all(|d| d.action.to_string().starts_with("change:")), "{refuses:#?}");
    let phone = refuses.iter().find(|d| d.action.to_string() == "change:phone" && d.who.name() == "lead").unwrap();
    assert!(phone.example.as_ref().unwrap().sentence.ends_with("the risk is 30"), "the lowest score that does it: {phone:#?}");
}

/// A program that behaves like this instead of a solver.
#[cfg(unix)]
fn impostor(name: &str, script: &str) -> Settings {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::temp_dir().join(format!("countersign-solver-{name}-{}", std::process::id()));
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    Settings { program: path, patience: std::time::Duration::from_millis(300), workers: 2 }
}

/// Missing, dead, silent, lying or babbling: nothing is proved, and it is said why.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_solver_that_cannot_be_trusted_proves_nothing() {
    let answers = |to: &str| format!("while read -r line; do case \"$line\" in *check-sat*) echo {to};; *get-model*) echo '('; echo ')';; esac; done");
    let cases = [
        ("always-unsat", answers("unsat"), "it proved what is false"),
        ("always-sat", answers("sat"), "it refuted what is true"),
        ("always-unknown", answers("unknown"), "the solver gave up"),
        ("babbling", answers("'the answer is 42'"), "something that is no answer"),
        ("dead", "exit 0".to_owned(), "it does not show what is plainly true"),
        ("silent", "while read -r line; do :; done".to_owned(), "did not answer within"),
    ];
    for (name, script, said) in cases {
        // Of the others it counts what they say, however long a shell takes for it.
        let patience = std::time::Duration::from_millis(if name == "silent" { 300 } else { 20_000 });
        let settings = Settings { patience, ..impostor(name, &script) };
        let error = prove(engine(&Sources::shipped()), base_invariants(), &settings, quiet()).await.unwrap_err().to_string();
        assert!(error.contains(said) && error.ends_with("Nothing was proved"), "{name}: {error}");
        std::fs::remove_file(&settings.program).unwrap();
    }
    let missing = Settings { program: "/nowhere/cvc5".into(), ..Settings::default() };
    let error = prove(engine(&Sources::shipped()), base_invariants(), &missing, quiet()).await.unwrap_err().to_string();
    assert!(error.contains("Install cvc5") && error.contains("/nowhere/cvc5") && error.ends_with("Nothing was proved"), "{error}");
}

/// One that is right at first and gives up later: what it answered stands, the rest is unknown.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn what_the_solver_did_not_answer_is_unknown() {
    let Some(real) = solver() else { return };
    // The first process, which is tried, is real; those that follow die at once.
    let count = std::env::temp_dir().join(format!("countersign-solver-count-{}", std::process::id()));
    let _ = std::fs::remove_file(&count);
    let script = format!(
        "n=$(cat {c} 2>/dev/null || echo 0); echo $((n+1)) > {c}; if [ \"$n\" -lt 1 ]; then exec {p} \"$@\"; fi; exit 0",
        c = count.display(), p = real.program.display(),
    );
    let settings = Settings { workers: 1, patience: std::time::Duration::from_secs(10), ..impostor("tiring", &script) };
    let invariants: Vec<Invariant> = base_invariants().into_iter().filter(|i| i.id == "no_level_without_a_proof" || i.id == "named_teams").collect();
    let report = prove(engine(&Sources::shipped()), invariants, &settings, quiet()).await.unwrap();
    assert!(!report.holds() && report.checked.iter().all(|c| matches!(c.verdict, Verdict::Unknown { .. })), "{report:#?}");
    for file in [&settings.program, &count] {
        std::fs::remove_file(file).unwrap();
    }
}

/// No promise at all is nothing proved.
#[test]
fn an_empty_report_holds_nothing() {
    let report = countersign_prove::Report { version: "x".into(), checked: Vec::new(), took: std::time::Duration::ZERO };
    assert!(!report.holds());
}

/// Another judge of the same promises: random callers, asked of the policies as they are written. What
/// the solver calls proved is broken by none of them, and each promise is about some of them.
#[test]
fn random_callers_break_no_promise() {
    use countersign_core::{action::{DelegateFacts, Facts, Level, Role}, claim::ClaimKind, factor::FactorKind};
    use countersign_policy::{Who, case::{Question, ordinary}};
    let packs = Pack::shipped();
    let sources = Sources::shipped().with_packs(&packs).unwrap();
    let strict = engine(&sources);
    let mut invariants = base_invariants();
    for pack in &packs {
        invariants.extend(invariant::read(&sources.schema, &[(pack.name.clone(), pack.invariants.clone())]).unwrap());
    }
    let promised: Vec<cedar_policy::PolicySet> = invariants.iter().map(|i| cedar_policy::PolicySet::from_policies([i.policy.clone()]).unwrap()).collect();
    let mut about = vec![0; invariants.len()];
    let actions: Vec<_> = strict.actions().cloned().collect();
    let mut seed = 7u64;
    let mut roll = |n: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % n
    };
    for _ in 0..4000 {
        let level = Level::ALL[roll(4)];
        let mut proofs: Vec<FactorKind> = FactorKind::ALL.into_iter().filter(|_| roll(5) == 0).collect();
        if level >= Level::Authenticated && proofs.is_empty() {
            proofs = ordinary(level).proofs;
        }
        let kind = ["guardian", "assistant", "power_of_attorney"][roll(3)];
        let facts = Facts {
            proofs, claims: ClaimKind::ALL.into_iter().filter(|_| roll(2) == 0).collect(), opened: roll(4) != 0, risk: i64::try_from(roll(101)).unwrap(),
            frozen: roll(6) == 0, phone_lock: roll(6) == 0, duress: roll(6) == 0, delegate: (roll(4) == 0).then(|| DelegateFacts { kind: kind.into(), covers: roll(2) == 0 }),
            stronger_set_up: roll(3) == 0, with_reason: roll(3) == 0, voice: countersign_core::voice::Likeness::ALL[roll(3)], ..ordinary(level)
        };
        let question = Question { who: [Who::SelfService, Who::Desk(Role::Agent), Who::Desk(Role::Specialist), Who::Desk(Role::Lead), Who::Desk(Role::Admin)][roll(5)], action: actions[roll(actions.len())].clone(), facts };
        let (request, entities) = question.request(&strict).unwrap();
        for (at, set) in promised.iter().enumerate() {
            let answer = cedar_policy::Authorizer::new().is_authorized(&request, set, &entities);
            if answer.diagnostics().reason().next().is_some() {
                about[at] += 1;
                assert!(!strict.permits_by_cedar(question.who, &question.action, &question.facts), "{}: {} to {}", invariants[at].id, question.action, question.sentence());
            }
        }
    }
    let idle: Vec<&str> = invariants.iter().zip(&about).filter(|(_, n)| **n == 0).map(|(i, _)| i.id.as_str()).collect();
    // No factor is called voice, so nobody can have proved with it.
    assert_eq!(idle, ["nist_no_voice_comparison"], "{about:?}");
}
