//! A short slice of every target, the same one each time; and what was found before.

use countersign_fuzz::{
    corpus,
    drive::{Limit, keep, kept, one, run},
    targets,
};

/// Any number: it only has to stay.
const SEED: u64 = 20_260_601;

#[test]
fn nothing_breaks_that_strangers_reach() {
    for mut target in targets::all() {
        let slice = target.slice;
        let ran = run(&mut target, SEED, Limit::Inputs(slice));
        println!("{:<18} {:>6} inputs in {:>5} ms", target.name, ran.inputs, ran.took.as_millis());
        if let Some(find) = ran.find {
            panic!("{}: {}\n{}", target.name, find.why, String::from_utf8_lossy(&find.input));
        }
    }
}

#[test]
fn what_was_found_once_stays_mended() {
    let mut targets = targets::all();
    for target in &mut targets {
        for (file, input) in kept(&corpus(), target.name).unwrap() {
            if let Err(why) = one(target, &input) {
                panic!("{}/{file}: {why}", target.name);
            }
        }
    }
    // A folder that no target plays back would be forgotten.
    for folder in std::fs::read_dir(corpus()).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
        let name = folder.file_name();
        assert!(targets.iter().any(|target| *target.name == *name), "{name:?} is the folder of no target");
    }
}

#[test]
fn a_parser_that_breaks_is_found_made_small_and_kept() {
    let mut target = targets::broken();
    let find = run(&mut target, SEED, Limit::Inputs(100_000)).find.expect("it breaks at a quotation mark");
    assert_eq!(find.input, b"\"", "made small");
    assert!(find.why.contains("panics"), "{}", find.why);
    let folder = std::env::temp_dir().join(format!("countersign-fuzz-{}", std::process::id()));
    keep(&folder, target.name, &find.input).unwrap();
    let again = kept(&folder, target.name).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(again.len(), 1);
    assert!(one(&mut target, &again[0].1).is_err());
}
