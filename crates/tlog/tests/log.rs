//! The whole against a naive oracle written from the RFC, the vectors of the standards, and everything
//! changed that can be.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test, what is not expected may end it")]

use std::collections::HashMap;

use countersign_tlog::{
    Checkpoint, Frontier, Hash, Malformed, Note, Proof, Signer, Verifier,
    cosign::{Refusal, Request, Witnessed, witness},
    note::Kind,
    proof::{Trust, Unproved},
    tile::{self, Tile, Tiles},
    tree,
};
use proptest::prelude::*;

/// MTH of RFC 6962 §2.1, word for word.
fn mth(leaves: &[Vec<u8>]) -> Hash {
    match leaves {
        [] => tree::sha256(b""),
        [one] => tree::sha256(&[&[0], one.as_slice()].concat()),
        more => {
            let k = (1..).map(|e| 1usize << e).take_while(|k| *k < more.len()).last().unwrap_or(1);
            tree::sha256(&[&[1], mth(&more[..k]).as_slice(), &mth(&more[k..])].concat())
        }
    }
}

/// PATH of RFC 6962 §2.1.1, word for word.
fn path(m: usize, leaves: &[Vec<u8>]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = (1..).map(|e| 1usize << e).take_while(|k| *k < leaves.len()).last().unwrap_or(1);
    if m < k {
        [path(m, &leaves[..k]), vec![mth(&leaves[k..])]].concat()
    } else {
        [path(m - k, &leaves[k..]), vec![mth(&leaves[..k])]].concat()
    }
}

/// SUBPROOF of RFC 6962 §2.1.2, word for word.
fn subproof(m: usize, leaves: &[Vec<u8>], whole: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if whole { Vec::new() } else { vec![mth(leaves)] };
    }
    let k = (1..).map(|e| 1usize << e).take_while(|k| *k < leaves.len()).last().unwrap_or(1);
    if m <= k {
        [subproof(m, &leaves[..k], whole), vec![mth(&leaves[k..])]].concat()
    } else {
        [subproof(m - k, &leaves[k..], false), vec![mth(&leaves[..k])]].concat()
    }
}

fn leaves(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|n| format!("entry {n}").into_bytes()).collect()
}

/// The tiles of these leaves, made by the frontier alone.
fn tiles(leaves: &[Vec<u8>]) -> (Frontier, HashMap<(u8, u64), Vec<Hash>>) {
    let mut frontier = Frontier::default();
    let mut tiles: HashMap<(u8, u64), Vec<Hash>> = HashMap::new();
    for leaf in leaves {
        frontier.add(tree::leaf(leaf), |level, index, hash| {
            if level % tile::HEIGHT == 0 {
                let tile = tiles.entry((level / tile::HEIGHT, index / tile::WIDTH)).or_default();
                assert_eq!(tile.len() as u64, index % tile::WIDTH);
                tile.push(hash);
            }
        });
    }
    (frontier, tiles)
}

#[test]
fn the_vectors_of_the_standards() {
    assert_eq!(hex::encode(tree::empty()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(hex::encode(tree::leaf(b"")), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    // RFC 6962's reference implementation: eight leaves and their root.
    let leaves: Vec<Vec<u8>> = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
        .iter()
        .map(|leaf| hex::decode(leaf).unwrap())
        .collect();
    assert_eq!(hex::encode(mth(&leaves)), "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
    let (frontier, _) = tiles(&leaves);
    assert_eq!(frontier.root(), mth(&leaves));
}

#[test]
fn roots_and_proofs_are_those_of_the_rfc() {
    let all = leaves(70);
    for size in 0..=all.len() {
        let (frontier, tiles) = tiles(&all[..size]);
        let nodes = Tiles { read: |level, index| tiles.get(&(level, index)).cloned() };
        let root = mth(&all[..size]);
        assert_eq!(frontier.root(), root, "{size}");
        assert_eq!(tree::root(&nodes, size as u64), Some(root));
        assert_eq!(Frontier::of(&nodes, size as u64), Some(frontier));
        for index in 0..size {
            let proof = tree::inclusion(&nodes, index as u64, size as u64).unwrap();
            assert_eq!(proof, path(index, &all[..size]), "{index} of {size}");
        }
        assert_eq!(tree::inclusion(&nodes, size as u64, size as u64), None);
        for old in 1..=size {
            let proof = tree::consistency(&nodes, old as u64, size as u64).unwrap();
            assert_eq!(proof, subproof(old, &all[..size], true), "{old} of {size}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_proof_holds_and_no_changed_one_does(size in 1usize..900, at in any::<prop::sample::Index>(), old in any::<prop::sample::Index>(), bit in 0usize..256, step in any::<prop::sample::Index>()) {
        let all = leaves(size);
        let (frontier, tiles) = tiles(&all);
        let nodes = Tiles { read: |level, index| tiles.get(&(level, index)).cloned() };
        let (root, n) = (frontier.root(), size as u64);
        let index = at.index(size);
        let leaf = tree::leaf(&all[index]);
        let proof = tree::inclusion(&nodes, index as u64, n).unwrap();
        prop_assert!(tree::includes(&root, n, index as u64, leaf, &proof));
        prop_assert!(!tree::includes(&root, n, index as u64, tree::leaf(b"other"), &proof));
        if size > 1 {
            prop_assert!(!tree::includes(&root, n, (index as u64 + 1) % n, leaf, &proof));
        }
        let flip = |hash: &Hash| { let mut hash = *hash; hash[bit / 8] ^= 1 << (bit % 8); hash };
        if !proof.is_empty() {
            let mut changed = proof.clone();
            let place = step.index(changed.len());
            changed[place] = flip(&changed[place]);
            prop_assert!(!tree::includes(&root, n, index as u64, leaf, &changed));
            prop_assert!(!tree::includes(&root, n, index as u64, leaf, &proof[1..]));
        }
        let longer = [proof.clone(), vec![root]].concat();
        prop_assert!(!tree::includes(&root, n, index as u64, leaf, &longer));

        let old = old.index(size) + 1;
        let before = mth(&all[..old]);
        let proof = tree::consistency(&nodes, old as u64, n).unwrap();
        prop_assert!(tree::is_consistent((old as u64, &before), (n, &root), &proof));
        prop_assert!(!tree::is_consistent((old as u64, &flip(&before)), (n, &root), &proof));
        prop_assert!(!tree::is_consistent((old as u64, &before), (n, &flip(&root)), &proof));
        if old < size {
            prop_assert!(!tree::is_consistent((n, &root), (old as u64, &before), &proof));
        }
        // A log that was rewritten and grew is consistent with nothing that was seen.
        let mut other = all.clone();
        other[0] = b"rewritten".to_vec();
        let (forked, forked_tiles) = self::tiles(&other);
        let nodes = Tiles { read: |level, index| forked_tiles.get(&(level, index)).cloned() };
        let proof = tree::consistency(&nodes, old as u64, n).unwrap();
        prop_assert!(!tree::is_consistent((old as u64, &before), (n, &forked.root()), &proof));
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in "\\PC{0,200}|(old|index|— |c2sp.org/tlog-proof@v1|[0-9a-zA-Z+/= \n]{0,30}){0,12}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = (Note::parse(&text), Checkpoint::parse(&text), Proof::parse(&text), Request::parse(&text), text.parse::<Verifier>(), Tile::parse(&text));
        let _ = (tile::entries(&bytes), tile::hashes(&bytes));
        let tile = format!("tile/{text}");
        prop_assert!(Tile::parse(&tile).is_none_or(|parsed| parsed.path() == tile));
    }
}

fn signer(name: &str, kind: Kind, seed: u8) -> Signer {
    Signer::new(name, kind, &[seed; 32]).unwrap()
}

fn head(log: &Signer, leaves: &[Vec<u8>]) -> Note {
    let (frontier, _) = tiles(leaves);
    let checkpoint = Checkpoint { origin: "calls.example.com/log".into(), size: leaves.len() as u64, root: frontier.root() };
    Note::signed(&checkpoint.text(), log)
}

#[test]
fn a_note_counts_for_the_key_that_signed_it_and_whole() {
    let log = signer("calls.example.com/log", Kind::Note, 1);
    let note = head(&log, &leaves(3));
    let key = log.verifier();
    assert_eq!(key.to_string().parse::<Verifier>().unwrap(), key);
    let read = Note::parse(&note.written()).unwrap();
    assert_eq!(read.signed_by(&key), Some(None));
    for other in [signer("calls.example.com/log", Kind::Note, 2), signer("other.example.com/log", Kind::Note, 1)] {
        assert_eq!(read.signed_by(&other.verifier()), None);
    }
    assert_eq!(Checkpoint::parse(read.text()).unwrap().size, 3);
    let written = note.written();
    for i in 0..written.len() {
        let mut bytes = written.clone().into_bytes();
        bytes[i] ^= 1;
        if let Some(changed) = String::from_utf8(bytes).ok().and_then(|text| Note::parse(&text).ok()) {
            assert_eq!(changed.signed_by(&key), None, "byte {i}");
        }
        if let Some(cut) = written.get(..i).and_then(|text| Note::parse(text).ok()) {
            assert_eq!(cut.signed_by(&key), None, "cut at {i}");
        }
    }
    // A key whose hash is another's is refused, and so is a kind that is not known.
    let text = key.to_string();
    assert!(matches!(text.replacen('+', "+0", 1).parse::<Verifier>(), Err(Malformed::Key(_))));
}

/// A note that a witness has added to is stored, and read again before anything else is signed: what could
/// not be read again would end the log.
#[test]
fn what_a_witness_answers_makes_no_note_unreadable() {
    let (log, sees) = (signer("calls.example.com/log", Kind::Note, 1), signer("witness.example.com", Kind::Cosignature, 9));
    let mut note = head(&log, &leaves(3));
    let honest = sees.cosign(note.text(), 7);
    let before = note.clone();
    let many: String = (0..200).map(|seconds| sees.cosign(note.text(), seconds)).collect();
    let long = format!("— {} AAAAAAAA\n", "x".repeat(70_000));
    for answer in [format!("{many}{honest}"), format!("{honest}{many}"), format!("{honest}{long}"), format!("{honest}\n"), format!("{honest}— \n")] {
        assert!(note.add(&answer).is_err());
        assert_eq!(note, before, "all or nothing");
    }
    note.add(&format!("{honest}{honest}")).unwrap();
    // Up to the limit it is read again: a hundred, with the log's own and the one at seven seconds.
    let up_to: String = many.split_inclusive('\n').take(99).collect();
    note.add(&up_to).unwrap();
    assert_eq!(Note::parse(&note.written()).unwrap(), note);
    assert!(note.add(&sees.cosign(note.text(), 1_000)).is_err());
}

#[test]
fn a_witness_signs_one_history() {
    let (log, sees) = (signer("calls.example.com/log", Kind::Note, 1), signer("witness.example.com", Kind::Cosignature, 9));
    let all = leaves(40);
    let mut known = vec![Witnessed { origin: "calls.example.com/log".into(), keys: vec![log.verifier()], latest: (0, tree::empty()) }];
    let request = |log: &Signer, old: u64, leaves: &[Vec<u8>]| {
        let (_, tiles) = tiles(leaves);
        let nodes = Tiles { read: |level, index| tiles.get(&(level, index)).cloned() };
        let proof = tree::consistency(&nodes, old, leaves.len() as u64).unwrap();
        let written = Request { old, proof, checkpoint: head(log, leaves) }.written();
        Request::parse(&written).unwrap()
    };
    let first = request(&log, 0, &all[..20]);
    let seen = witness(&known, &first).unwrap();
    known[0].latest = (seen.size, seen.root);
    let mut note = first.checkpoint.clone();
    note.add(&countersign_tlog::cosign::cosignature(&sees, &note, 1_780_308_000)).unwrap();
    let read = Note::parse(&note.written()).unwrap();
    assert_eq!(read.signed_by(&sees.verifier()), Some(Some(1_780_308_000)));
    // A cosignature is none of another time.
    let text = read.text().to_owned();
    let moved = sees.cosign(&text, 1_780_308_001);
    assert!(!read.written().contains(moved.trim()));

    let next = request(&log, 20, &all);
    assert!(witness(&known, &next).is_ok());
    // The same again is fine; an older one, or one that skips, is told where we are.
    assert!(witness(&known, &request(&log, 20, &all[..20])).is_ok());
    assert_eq!(witness(&known, &request(&log, 10, &all)), Err(Refusal::Conflict(20)));
    assert_eq!(witness(&known, &request(&log, 0, &all[..10])), Err(Refusal::Conflict(20)));
    assert_eq!(witness(&known, &Request { old: 41, ..next.clone() }), Err(Refusal::Backwards));
    // Two histories of one log.
    let mut forked = all.clone();
    forked[3] = b"rewritten".to_vec();
    assert_eq!(witness(&known, &request(&log, 20, &forked)), Err(Refusal::NotConsistent));
    assert_eq!(witness(&known, &request(&log, 20, &forked[..20])), Err(Refusal::Conflict(20)));
    // Another key under the same name; another log.
    let thief = signer("calls.example.com/log", Kind::Note, 2);
    assert_eq!(witness(&known, &request(&thief, 20, &all)), Err(Refusal::NotSigned));
    known[0].origin = "other.example.com/log".into();
    assert_eq!(witness(&known, &next), Err(Refusal::Unknown));
    assert_eq!(Refusal::NotConsistent.status(), 422);
}

#[test]
fn a_proof_is_kept_and_checked_without_the_log() {
    let (log, sees) = (signer("calls.example.com/log", Kind::Note, 1), signer("witness.example.com", Kind::Cosignature, 9));
    let all = leaves(300);
    let (_, tiles) = tiles(&all);
    let nodes = Tiles { read: |level, index| tiles.get(&(level, index)).cloned() };
    let mut checkpoint = head(&log, &all);
    checkpoint.add(&sees.cosign(checkpoint.text(), 7)).unwrap();
    let proof = Proof { index: 258, path: tree::inclusion(&nodes, 258, 300).unwrap(), checkpoint };
    let kept = Proof::parse(&proof.written()).unwrap();
    assert_eq!(kept, proof);
    let trust = Trust { origin: "calls.example.com/log".into(), keys: vec![log.verifier()], witnesses: vec![sees.verifier()], quorum: 1 };
    assert_eq!(kept.check(&all[258], &trust).unwrap().size, 300);
    assert_eq!(kept.check(&all[257], &trust), Err(Unproved::NotIncluded(258)));
    assert_eq!(Proof { index: 257, ..kept.clone() }.check(&all[258], &trust), Err(Unproved::NotIncluded(257)));
    let other = Trust { origin: "other.example.com/log".into(), ..trust.clone() };
    assert!(matches!(kept.check(&all[258], &other), Err(Unproved::OtherLog(_))));
    let nobody = Trust { keys: vec![signer("calls.example.com/log", Kind::Note, 2).verifier()], ..trust.clone() };
    assert_eq!(kept.check(&all[258], &nobody), Err(Unproved::NotSigned));
    let two = Trust { quorum: 2, ..trust.clone() };
    assert_eq!(kept.check(&all[258], &two), Err(Unproved::NotWitnessed { seen: 1, wanted: 2 }));
    // Extra data is somebody else's.
    let extra = proof.written().replacen("index", "extra YWJj\nindex", 1);
    assert_eq!(Proof::parse(&extra).unwrap(), proof);
    assert!(Proof::parse("c2sp.org/tlog-proof@v2\nindex 0\n\n").is_err());
}

#[test]
fn tiles_have_the_paths_of_the_standard() {
    let tile = |level, index, width| Tile { level, index, width };
    for (tile, path) in [
        (tile(Some(0), 0, 256), "tile/0/000"),
        (tile(Some(0), 1, 17), "tile/0/001.p/17"),
        (tile(Some(2), 1_234_067, 256), "tile/2/x001/x234/067"),
        (tile(None, 999, 1), "tile/entries/999.p/1"),
        (tile(None, 1000, 256), "tile/entries/x001/000"),
    ] {
        assert_eq!(tile.path(), path);
        assert_eq!(Tile::parse(path), Some(tile));
    }
    for bad in ["tile/0/0", "tile/0/000.p/256", "tile/0/000.p/0", "tile/0/x000/001", "tile/8/000", "tile/00/000", "tile/0/001/000", "tile/-1/000", "tile/0/000.p/017", "0/000", "tile/entries/"] {
        assert_eq!(Tile::parse(bad), None, "{bad}");
    }
    let all: Vec<String> = Tile::all(70_000).map(|tile| tile.path()).collect();
    assert_eq!(all.len(), 274 + 274 + 2 + 1);
    assert!(all.contains(&"tile/0/273.p/112".to_owned()) && all.contains(&"tile/2/000.p/1".to_owned()) && all.contains(&"tile/1/001.p/17".to_owned()));
    assert_eq!(Tile::all(0).count(), 0);
}

#[test]
fn a_bundle_that_is_cut_off_is_none() {
    let bundle = tile::bundle([b"ab".as_slice(), b"", b"c"]);
    assert_eq!(tile::entries(&bundle).unwrap(), [b"ab".as_slice(), b"", b"c"]);
    let whole = (0..bundle.len()).filter(|cut| tile::entries(&bundle[..*cut]).is_ok());
    // Only between two entries.
    assert_eq!(whole.collect::<Vec<_>>(), [0, 4, 6]);
    assert!(tile::hashes(&[0; 33]).is_err());
}
