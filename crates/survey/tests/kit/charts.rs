//! Charts: well-formed, told in words, drawn within their frame, with nothing of a note that runs.

use std::collections::BTreeSet;

use countersign_survey::{Choice, Factor, Identifier, Note, Tally, Verdict, Way, chart};
use roxmltree::{Document, Node};

use crate::{day, note};

/// This many notes, of every sort.
fn many(n: usize) -> Vec<Note> {
    (0..n).map(|i| {
        let mut note = Note::new(&format!("Center {i}"), day());
        match i % 5 {
            0 => drop(note.factors.insert(Factor::all()[i % Factor::all().len()])),
            1 => note.identifiers = [Identifier::Email, Identifier::Order].into(),
            2 => note.identifiers = [Identifier::all()[i % Identifier::all().len()]].into(),
            3 => note.asked_number = true,
            _ => {}
        }
        if i % 3 == 0 {
            note.identified_by = BTreeSet::from([Way::Number]);
        }
        note
    }).collect()
}

fn attribute(node: &Node, name: &str) -> usize { node.attribute(name).unwrap_or("0").parse().unwrap() }

#[test]
fn charts_hold_together_for_no_note_one_and_a_thousand() {
    for n in [0, 1, 5, 35, 1000] {
        let tally = Tally::of(&many(n));
        assert_eq!(tally.notes, n);
        assert_eq!(tally.graded(), tally.verdicts.iter().map(|(_, n)| *n).sum::<usize>());
        for svg in [chart::methods(&tally, "field notes"), chart::verdicts(&tally, "field notes")] {
            let document = Document::parse(&svg).unwrap();
            let root = document.root_element();
            assert_eq!((root.tag_name().name(), root.attribute("role")), ("svg", Some("img")));
            let ids: Vec<&str> = root.attribute("aria-labelledby").unwrap().split(' ').collect();
            for (id, tag) in ids.iter().zip(["title", "desc"]) {
                let named = root.children().find(|c| c.attribute("id") == Some(id)).unwrap();
                assert!(named.tag_name().name() == tag && named.text().unwrap().len() > 10);
            }
            // Everything is inside of the frame, and rows do not lie on each other.
            let (width, height) = (attribute(&root, "width"), attribute(&root, "height"));
            assert_eq!(root.attribute("viewBox").unwrap(), format!("0 0 {width} {height}"));
            let mut rows: Vec<usize> = Vec::new();
            for node in root.descendants() {
                match node.tag_name().name() {
                    "rect" => {
                        assert!(attribute(&node, "x") + attribute(&node, "width") <= width && attribute(&node, "y") + attribute(&node, "height") <= height);
                    }
                    "text" => {
                        // A letter of this size is nine pixels wide at most, in wide fonts too.
                        let end = attribute(&node, "x") + node.text().unwrap().chars().count() * 9;
                        assert!(attribute(&node, "y") < height && (end <= width || node.attribute("font-weight").is_some()), "{:?} ends at {end}", node.text());
                        if node.attribute("x") == Some("12") {
                            rows.push(attribute(&node, "y"));
                        }
                    }
                    _ => {}
                }
            }
            assert!(rows.windows(2).all(|w| w[1] >= w[0] + 18), "{rows:?}");
            // Nothing is loaded from elsewhere and nothing runs.
            for bad in ["<script", "href", "url(", "@import", "foreignObject", "onload", "http:"] {
                assert!(!svg.replace("http://www.w3.org/2000/svg", "").contains(bad), "{bad} in {svg}");
            }
        }
    }
}

#[test]
fn every_bar_has_its_name_and_number_in_text() {
    let tally = Tally::of(&many(1000));
    let (methods, verdicts) = (chart::methods(&tally, "field notes"), chart::verdicts(&tally, "field notes"));
    let texts = |svg: &str| -> Vec<String> { Document::parse(svg).unwrap().descendants().filter(|n| n.has_tag_name("text")).map(|n| n.text().unwrap().to_owned()).collect() };
    let found = texts(&methods);
    for (word, n) in &tally.identifiers {
        let at = found.iter().position(|t| t == word.words()).unwrap();
        assert_eq!(found[at + 1], n.to_string());
    }
    assert!(found.contains(&"1,000 calls; one may count in several rows.".to_owned()), "{found:?}");
    let found = texts(&verdicts);
    for verdict in Verdict::all() {
        let n = tally.of_verdict(*verdict);
        assert!(found.iter().any(|t| t.starts_with(&format!("{n} ("))), "{verdict}: {n} in {found:?}");
    }
    assert!(methods.contains("<desc id=\"d\">1,000 calls. Identification: phone number "));
    // None at all, and four zeros without a share of nothing.
    let none = Tally::default();
    assert_eq!(texts(&chart::methods(&none, "x")).iter().filter(|t| *t == "nothing yet").count(), 2);
    assert_eq!(texts(&chart::verdicts(&Tally::of(&[]), "x")).iter().filter(|t| *t == "0").count(), 4);
    assert!(chart::verdicts_in_words(&Tally::of(&[])).starts_with("0 calls."));
}

#[test]
fn dark_screens_have_their_own_colours() {
    let svg = chart::verdicts(&Tally::of(&[note(&[("proofs", "pin")])]), "field notes");
    assert!(svg.contains("@media (prefers-color-scheme: dark)"));
    let classes: BTreeSet<&str> = svg.split("class=\"").skip(1).map(|p| p.split('"').next().unwrap()).collect();
    for class in classes {
        assert!(svg.contains(&format!(".{class}{{fill:#")), "{class} stays light on dark");
    }
}

/// A name that is markup is text, in the one place where a chart takes a text from outside.
#[test]
fn names_are_text() {
    for name in ["<script>alert(1)</script>", "]]><svg onload=alert(1)>", "\"/><a href='javascript:x'>", "a & b &amp; &#60;", "\u{0}\u{1b}\u{ffff}", "</style><style>*{fill:red}"] {
        let tally = Tally::of(&[Note::new(name, day())]);
        for svg in [chart::methods(&tally, name), chart::verdicts(&tally, name)] {
            let document = Document::parse(&svg).unwrap();
            let tags: BTreeSet<&str> = document.descendants().filter(Node::is_element).map(|n| n.tag_name().name()).collect();
            assert!(tags.is_subset(&["svg", "title", "desc", "style", "rect", "text"].into()), "{tags:?}");
            let shown = name.replace(['\u{0}', '\u{1b}', '\u{ffff}'], " ");
            assert!(shown.chars().count() <= 46, "a longer one is cut");
            assert!(document.descendants().any(|n| n.has_tag_name("text") && n.text() == Some(&shown)), "{svg}");
        }
    }
}
