//! Drills of one's own: what is read, what is wrong in a file, how they end.
#![allow(
    clippy::unwrap_used, clippy::panic, clippy::indexing_slicing,
    reason = "the helpers of this test crate are outside of #[test] functions, where clippy.toml does not reach"
)]

use countersign_drill::{Part, Report, Setting, Verdict, own, run};

const FILE: &str = r#"
# Somebody has Ana's telephone in hand.
[[drill]]
name = "found_phone"
story = "Somebody found Ana's telephone, unlocked, and knows her account number."
attacks = "ana"
line = "own"
knows = ["account_number", "texts"]
steps = [
  "call",
  "key 2",
  "key *",
  "type code",
  "expect level >= authenticated",
  "agent",
  "claim account_number",
  "compare email = somebody@example.net",
  "look address",
  "expect refused",
  "ask change:phone",
  "expect refused",
  "prove voice_code for change:phone",
  "type code",
  "perform change:phone = +12025550150",
  "expect level <= authenticated",
]
must_not = ["change:phone", "level:strong", "shows:address"]

[[drill]]
name = "knows_the_pin"
story = "Somebody knows Ana's PIN as well, and has her session in the portal."
attacks = "ana"
line = "own"
knows = ["details", "pin", "portal"]
steps = ["call", "key 2", "key pin", "agent", "prove approval for change:phone", "approve", "perform change:phone = +12025550150", "expect permitted", "look address"]
must_not = ["change:phone", "level:strong", "shows:address"]
"#;

async fn played(text: &str) -> Report {
    let drills = own::read("my.toml", text).unwrap_or_else(|e| panic!("{e}"));
    let parts: Vec<Part<'_>> = drills.iter().map(Part::Own).collect();
    run(&Setting::shipped(), &parts, 5, |_| {}).await
}

#[tokio::test]
async fn they_are_judged_by_what_was_got() {
    let report = played(FILE).await;
    let [stopped, through] = report.drills.as_slice() else { panic!("{report:#?}") };
    assert!(matches!(stopped.verdict, Verdict::Stopped { .. }), "{:?}\n{:#?}", stopped.verdict, stopped.steps);
    assert!(stopped.verdict.place().contains("view_when_strong"), "{}", stopped.verdict.place());
    let Verdict::GotThrough { got } = &through.verdict else { panic!("{:?}\n{:#?}", through.verdict, through.steps) };
    for loot in ["the call reached strong", "change:phone was carried out", "Ana’s address is on the screen"] {
        assert!(got.iter().any(|g| g == loot), "{loot}: {got:?}");
    }
    assert_eq!(report.exit_code(), 1);
}

/// An attack that did not come as far as its author meant shows nothing, and says so.
#[tokio::test]
async fn an_attack_that_was_not_played_is_no_success() {
    let text = FILE.replace("\"key *\",", "");
    let report = played(&text).await;
    assert!(matches!(&report.drills[0].verdict, Verdict::Broken { why } if why.contains("line 14: the call is at identified")), "{:?}", report.drills[0].verdict);
    let one = played(&FILE[..FILE.rfind("[[drill]]").unwrap()].replace("\"key *\",", "")).await;
    assert_eq!(one.exit_code(), 2);
}

#[tokio::test]
async fn an_expectation_that_fails_is_told_with_its_line() {
    let report = played(&FILE[..FILE.rfind("[[drill]]").unwrap()].replace("expect level <= authenticated", "expect level <= identified")).await;
    assert!(report.drills[0].verdict.place().starts_with("line 25: the call is at authenticated"), "{:?}", report.drills[0].verdict);
}

/// Every mistake has its line, and says what to write.
#[test]
fn mistakes_have_lines_and_say_what_to_do() {
    let drill = |part: &str, with: &str| {
        let whole = FILE[..FILE.rfind("[[drill]]").unwrap()].trim_start();
        assert!(whole.contains(part), "{part}");
        whole.replacen(part, with, 1)
    };
    for (text, line, says) in [
        (drill("\"found_phone\"", "\"Found phone\""), 3, "lower-case letters, digits and underscores"),
        (drill("\"found_phone\"", "\"duress\""), 3, "the name of a shipped drill"),
        (drill("\"ana\"", "\"bob\""), 5, "write ana, liam, chidi"),
        (drill("line = \"own\"", "line = \"mine\""), 6, "write own"),
        (drill("attacks = \"ana\"", "attacks = \"dina\""), 6, "dina has no telephone"),
        (drill("\"texts\"]", "\"texts\", \"ssn\"]"), 7, "nothing that can be known"),
        (drill("\"account_number\", ", ""), 15, "does not have \"account_number\": add it to knows"),
        (drill("\"key *\"", "\"key pin\""), 11, "does not have \"pin\""),
        (drill("\"key *\"", "\"key abc\""), 11, "cannot be keyed"),
        (drill("\"type code\"", "\"type the code\""), 12, "is no step: begin with call, hang up"),
        (drill("\"agent\"", "\"agent Robin\""), 14, "stands alone"),
        (drill("\"look address\"", "\"look shoes\""), 17, "is no field: write one of"),
        (drill("\"ask change:phone\"", "\"ask view:phone\""), 19, "write an action such as change:phone"),
        (drill("\"look address\"", "\"wait a while\""), 17, "is no time"),
        (drill("prove voice_code", "prove ssn"), 21, "is no factor: write one of passkey"),
        (drill("perform change:phone = +12025550150", "perform change:phone"), 23, "needs a value"),
        (drill("\"expect level >= authenticated\"", "\"expect refused\""), 13, "nothing was asked for yet"),
        (drill("level >= authenticated", "level >= sure"), 13, "is no level"),
        (drill("\"level:strong\"", "\"level:anonymous\""), 26, "every call is anonymous"),
        (drill("\"shows:address\"", "\"shows:shoes\""), 26, "is no field"),
        (drill("\"shows:address\"", "\"eats:cake\""), 26, "nothing that must not happen"),
        (drill("[\"change:phone\", \"level:strong\", \"shows:address\"]", "[]"), 3, "must_not is empty"),
        (drill("  \"call\",\n", ""), 9, "begin the steps with \"call\""),
        (drill("story =", "tale ="), 4, "unknown field `tale`"),
        (drill("story = \"", "story = "), 4, ""),
        ("# nothing\n".to_owned(), 1, "begin one with [[drill]]"),
    ] {
        let mistakes = own::read("my.toml", &text).unwrap_err();
        let first = &mistakes.all[0];
        assert!(first.line == line && first.text.contains(says), "{line} {says}: {mistakes}");
        assert!(mistakes.to_string().starts_with(&format!("my.toml:{line}: ")), "{mistakes}");
    }
    // All of them at once, in order.
    let both = drill("\"key *\"", "\"key pin\"").replacen("\"look address\"", "\"look shoes\"", 1);
    let lines: Vec<usize> = own::read("my.toml", &both).unwrap_err().all.iter().map(|m| m.line).collect();
    assert_eq!(lines, [11, 17]);
    let twice = format!("{}\n{}", drill("x", "x"), drill("x", "x"));
    assert!(own::read("my.toml", &twice).unwrap_err().to_string().contains("two drills named found_phone"));
}

/// The example in the documentation is a drill that can be read and played.
#[tokio::test]
async fn the_example_of_the_documentation_is_stopped() {
    let doc = include_str!("../../../docs/drills.md");
    let text = doc.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let report = played(text).await;
    assert_eq!(report.drills.len(), 1);
    assert!(matches!(report.drills[0].verdict, Verdict::Stopped { .. }), "{:?}\n{:#?}", report.drills[0].verdict, report.drills[0].steps);
}
