//! Every shipped drill against the shipped policies and default limits.

use countersign_drill::{Part, Setting, Verdict, attacks, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_shipped_drill_is_stopped() {
    let parts: Vec<Part<'_>> = attacks::all().map(Part::Shipped).collect();
    let report = run(&Setting::shipped(), &parts, 7, |_| {}).await;
    for drill in &report.drills {
        assert!(matches!(drill.verdict, Verdict::Stopped { .. }), "{}: {:?}\n{:#?}", drill.name, drill.verdict, drill.steps);
        assert!(drill.steps.len() > 2, "{}: {:?}", drill.name, drill.steps);
    }
    assert_eq!(report.exit_code(), 0);
    assert!(report.summary().contains("24 stopped"), "{}", report.summary());
}
