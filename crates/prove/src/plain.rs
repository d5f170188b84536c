//! A counterexample as plain as it can be: whatever can be left out of it is left out.

use countersign_core::action::{Facts, Level};
use countersign_policy::case::{Question, ordinary};

/// Simplifies a question while `bad` stays true of it. What comes out is a question of which `bad` is
/// true, if it was in the beginning.
pub(crate) fn plainest(question: Question, bad: impl Fn(&Question) -> bool) -> Question {
    let mut best = question;
    let step = |best: &mut Question, change: &dyn Fn(&mut Facts)| {
        let mut tried = best.clone();
        change(&mut tried.facts);
        let better = tried != *best && bad(&tried);
        if better {
            *best = tried;
        }
        better
    };
    step(&mut best, &|f| f.claims.clear());
    for kind in best.facts.claims.clone() {
        step(&mut best, &|f| f.claims.retain(|k| *k != kind));
    }
    let flags: [&dyn Fn(&mut Facts); 8] = [
        &|f| f.delegate = None, &|f| f.with_reason = false, &|f| f.stronger_set_up = false, &|f| f.phone_lock = false, &|f| f.duress = false,
        &|f| f.frozen = false, &|f| f.opened = true, &|f| f.voice = Default::default(),
    ];
    for flag in flags {
        step(&mut best, flag);
    }
    if !step(&mut best, &|f| f.risk = 0) {
        // The lowest score that still does it: where there is one threshold, this finds it.
        let (mut low, mut high) = (0, best.facts.risk);
        while low + 1 < high {
            let middle = low + (high - low) / 2;
            if step(&mut best, &|f| f.risk = middle) { high = middle } else { low = middle }
        }
    }
    // The lowest level, with what ordinarily gives it; else with fewer proofs.
    for level in Level::ALL {
        if level < best.facts.level && step(&mut best, &|f| (f.level, f.proofs) = (level, ordinary(level).proofs)) {
            break;
        }
    }
    let level = best.facts.level;
    if !step(&mut best, &|f| f.proofs = ordinary(level).proofs) {
        for kind in best.facts.proofs.clone() {
            step(&mut best, &|f| f.proofs.retain(|k| *k != kind));
        }
    }
    best
}
