//! The report: the same run twice is the same, and its page is a page.
#![allow(
    clippy::unwrap_used, clippy::panic, clippy::indexing_slicing,
    reason = "the helpers of this test crate are outside of #[test] functions, where clippy.toml does not reach"
)]

use countersign_drill::{Outcome, Part, Report, Setting, Side, Step, Verdict, attacks, html, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_seed_is_the_same_run() {
    let names = ["relayed_code", "spoofed_number", "thousand_guesses", "backup_code_reuse"];
    let parts = || names.iter().map(|n| Part::Shipped(attacks::named(n).unwrap())).collect::<Vec<_>>();
    let first = run(&Setting::shipped(), &parts(), 42, |_| {}).await;
    assert_eq!(first, run(&Setting::shipped(), &parts(), 42, |_| {}).await);
    // What is drawn is drawn anew with another seed, and no drill hangs on those before it.
    let other = run(&Setting::shipped(), &parts(), 43, |_| {}).await;
    assert_ne!(first.drills[0].steps, other.drills[0].steps);
    let mut turned = parts();
    turned.reverse();
    let turned = run(&Setting::shipped(), &turned, 42, |_| {}).await;
    assert_eq!(turned.drills[3], first.drills[0]);
}

fn report() -> Report {
    let nasty = "<script>alert(\"1\")</script> & 'co'";
    let outcome = |name: &str, verdict| Outcome {
        name: name.into(), story: nasty.into(), expects: nasty.into(), verdict,
        steps: [Side::Attack, Side::System, Side::Loot].map(|side| Step { side, text: nasty.into() }).into(),
    };
    Report {
        program: "0.1.0".into(), policy: "abc".into(), seed: 1,
        drills: vec![
            outcome("one", Verdict::Stopped { by: vec![nasty.into(), "policy x".into()] }), outcome("two", Verdict::GotThrough { got: vec![nasty.into()] }),
            outcome("three", Verdict::NotApplicable { why: nasty.into() }), outcome("four", Verdict::Broken { why: nasty.into() }),
        ],
    }
}

/// Every tag that is opened is closed, in order.
fn well_formed(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    let body = page.split_once("</style>").unwrap().1;
    for tag in body.split('<').skip(1).map(|t| t.split('>').next().unwrap()).filter(|t| !t.starts_with('!')) {
        let name = tag.trim_start_matches('/').split([' ', '\n']).next().unwrap();
        match tag.strip_prefix('/') {
            // Its opening tags stand before the style.
            Some("head" | "html") => assert!(open.is_empty(), "{open:?}"),
            Some(_) => assert_eq!(open.pop(), Some(name), "{tag}"),
            None if ["meta", "br", "link"].contains(&name) => {}
            None => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn the_page_is_well_formed_and_escapes() {
    let page = html::page(&report(), "2026-06-01 <10:00>").unwrap();
    well_formed(&page);
    for forbidden in ["<script", "javascript:", "onclick", "src=", "http://", "https://", "url("] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert!(page.contains("&#60;script&#62;") || page.contains("&lt;script&gt;"), "{page}");
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("width=device-width") && page.contains("default-src 'none'"));
    for words in ["stopped", "got through", "not applicable", "could not run", "policy x", "4 drills: 1 stopped, 1 got through, 1 not applicable, 1 could not run"] {
        assert!(page.contains(words), "{words}");
    }
    // What needs a look is open.
    assert_eq!(page.matches("<details open>").count(), 2);
    assert!(!page.contains("2026-06-01 <10"));
}

#[test]
fn the_exit_code_says_what_is_known() {
    let mut report = report();
    assert_eq!(report.exit_code(), 1);
    report.drills.remove(1);
    assert_eq!(report.exit_code(), 2, "what could not run is not known");
    report.drills.remove(2);
    assert_eq!(report.exit_code(), 0);
}

#[test]
fn the_machine_readable_report_has_a_verdict_each() {
    let json = serde_json::to_value(report()).unwrap();
    assert_eq!(json["seed"], 1);
    assert_eq!(json["drills"][0]["verdict"], "stopped");
    assert_eq!(json["drills"][0]["by"][1], "policy x");
    assert_eq!(json["drills"][1]["verdict"], "got_through");
    assert_eq!(json["drills"][0]["steps"][2]["side"], "loot");
}
