//! The two charts of the study as SVG: what was asked for, and the verdicts.
//!
//! Text is text, every bar has its name and number beside it, and a title and a description say the
//! same in words: nothing is told by colour alone (WCAG 2.2, 1.1.1 and 1.4.1). A style inside serves
//! dark screens; where a page's policy for content keeps it out, the light colours of the attributes
//! are left.

use std::fmt::Write as _;

use crate::{
    grade::Verdict,
    tally::Tally,
    words::Choice,
};

/// Width of a chart in pixels; its height follows from what it shows.
pub const WIDTH: usize = 432;
const LEFT: usize = 12;
const BAR_X: usize = 180;
const BAR_MOST: usize = 122;
const ROW: usize = 26;
/// Characters that fit into a line.
const LONGEST: usize = 46;

/// Colours on light and on dark paper; each is at least 4.5:1 there.
struct Paint {
    class: &'static str,
    light: &'static str,
    dark: &'static str,
}

const PAPER: Paint = Paint { class: "p", light: "#ffffff", dark: "#1b1f22" };
const INK: Paint = Paint { class: "i", light: "#1a201c", dark: "#e7eae7" };
const FAINT: Paint = Paint { class: "f", light: "#5d675f", dark: "#98a29b" };
const LINE: Paint = Paint { class: "l", light: "#d8dcd4", dark: "#2d3338" };
const CLAIM: Paint = Paint { class: "c", light: "#47514a", dark: "#b9c1bb" };
const PROOF: Paint = Paint { class: "a", light: "#0b5d57", dark: "#74d2c6" };
const GOOD: Paint = Paint { class: "g", light: "#14602f", dark: "#86d8a2" };
const OKAY: Paint = Paint { class: "o", light: "#17508a", dark: "#95c5f8" };
const BAD: Paint = Paint { class: "b", light: "#7a4a00", dark: "#f2c377" };
const OH_NO: Paint = Paint { class: "n", light: "#a11b15", dark: "#ff9f96" };
const PAINTS: [Paint; 10] = [PAPER, INK, FAINT, LINE, CLAIM, PROOF, GOOD, OKAY, BAD, OH_NO];

fn paint(verdict: Verdict) -> Paint {
    match verdict {
        Verdict::Good => GOOD,
        Verdict::Okay => OKAY,
        Verdict::Bad => BAD,
        Verdict::OhNo => OH_NO,
    }
}

/// What was asked for on these calls: what identifies, and what proves. `of` names the calls, such as
/// "field notes".
pub fn methods(tally: &Tally, of: &str) -> String {
    let mut page = Page::new("What callers were asked for", of, &methods_in_words(tally));
    let most = tally.identifiers.iter().map(|(_, n)| *n).chain(tally.factors.iter().map(|(_, n)| *n)).max().unwrap_or(0);
    page.group("Identification: says which account is meant");
    page.bars(tally.identifiers.iter().map(|(w, n)| (w.words(), *n, CLAIM)), most, None);
    page.group("Authentication: proves that it is the customer");
    page.bars(tally.factors.iter().map(|(w, n)| (w.words(), *n, PROOF)), most, None);
    page.end(&format!("{}; one may count in several rows.", calls(tally.notes)))
}

/// The verdicts of these calls.
pub fn verdicts(tally: &Tally, of: &str) -> String {
    let mut page = Page::new("Verdicts by the rubric", of, &verdicts_in_words(tally));
    let most = tally.verdicts.iter().map(|(_, n)| *n).max().unwrap_or(0);
    page.space(6);
    page.bars(Verdict::all().iter().map(|v| (v.words(), tally.of_verdict(*v), paint(*v))), most, Some(tally.graded()));
    page.end(&format!("{}, {} not graded.", calls(tally.notes), grouped(tally.ungraded)))
}

/// The first chart in words.
pub fn methods_in_words(tally: &Tally) -> String {
    format!("{}. Identification: {}. Authentication: {}.", calls(tally.notes), spell(&tally.identifiers), spell(&tally.factors))
}

/// The second chart in words.
pub fn verdicts_in_words(tally: &Tally) -> String { format!("{}. {}; not graded {}.", calls(tally.notes), spell(&tally.verdicts), grouped(tally.ungraded)) }

fn spell<T: Choice>(counts: &[(T, usize)]) -> String {
    if counts.is_empty() {
        return "nothing".into();
    }
    counts.iter().map(|(word, n)| format!("{} {}", word.words(), grouped(*n))).collect::<Vec<_>>().join(", ")
}

fn calls(n: usize) -> String { if n == 1 { "1 call".into() } else { format!("{} calls", grouped(n)) } }

/// `12,345`.
fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// Text between tags or in an attribute. What XML 1.0 §2.2 has no place for is left out.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

struct Page {
    body: String,
    y: usize,
    title: String,
    about: String,
}

impl Page {
    fn new(title: &str, of: &str, about: &str) -> Self {
        let mut page = Self { body: String::new(), y: 30, title: format!("{title}: {of}"), about: about.to_owned() };
        page.text(LEFT, INK, "font-size=\"16\" font-weight=\"600\"", title);
        page.y += 20;
        // The whole of it is in the title.
        let short: String = if of.chars().count() > LONGEST { of.chars().take(LONGEST - 1).chain(['…']).collect() } else { of.to_owned() };
        page.text(LEFT, FAINT, "font-size=\"13\"", &short);
        page
    }

    fn text(&mut self, x: usize, paint: Paint, more: &str, words: &str) {
        let (y, Paint { class, light, .. }) = (self.y, paint);
        // Writing to a string cannot fail.
        let _ = writeln!(self.body, "<text x=\"{x}\" y=\"{y}\" class=\"{class}\" fill=\"{light}\" {more}>{}</text>", escape(words));
    }

    fn space(&mut self, by: usize) { self.y += by; }

    fn group(&mut self, words: &str) {
        self.y += 34;
        self.text(LEFT, INK, "font-size=\"14\" font-weight=\"600\"", words);
        self.y += 2;
    }

    /// Bars one below the other, each with its name and number; `whole`: with its share of that.
    fn bars<'a>(&mut self, bars: impl Iterator<Item = (&'a str, usize, Paint)>, most: usize, whole: Option<usize>) {
        let mut any = false;
        for (name, n, Paint { class, light, .. }) in bars {
            any = true;
            self.y += ROW;
            // What was counted once can be seen, beside a thousand too.
            let length = if n == 0 { 0 } else { (n * BAR_MOST / most.max(1)).max(3) };
            let (top, Paint { class: line, light: pale, .. }) = (self.y - 13, LINE);
            self.text(LEFT, INK, "font-size=\"14\"", name);
            let _ = writeln!(self.body, "<rect x=\"{BAR_X}\" y=\"{top}\" width=\"1\" height=\"18\" class=\"{line}\" fill=\"{pale}\"/>");
            if length > 0 {
                let _ = writeln!(self.body, "<rect x=\"{BAR_X}\" y=\"{top}\" width=\"{length}\" height=\"18\" rx=\"2\" class=\"{class}\" fill=\"{light}\"/>");
            }
            let share = whole.filter(|whole| *whole > 0).map(|whole| format!(" ({} %)", (n * 100 + whole / 2) / whole)).unwrap_or_default();
            self.text(BAR_X + length + 8, INK, "font-size=\"14\"", &format!("{}{share}", grouped(n)));
        }
        if !any {
            self.y += ROW;
            self.text(LEFT, FAINT, "font-size=\"14\"", "nothing yet");
        }
    }

    fn end(mut self, foot: &str) -> String {
        self.y += 34;
        self.text(LEFT, FAINT, "font-size=\"13\"", foot);
        let (height, title, about, body) = (self.y + 16, escape(&self.title), escape(&self.about), self.body);
        let dark = PAINTS.iter().map(|p| format!(".{}{{fill:{}}}", p.class, p.dark)).collect::<String>();
        let Paint { class, light, .. } = PAPER;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\" aria-labelledby=\"t d\" font-family=\"system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif\">\n\
             <title id=\"t\">{title}</title>\n<desc id=\"d\">{about}</desc>\n\
             <style>@media (prefers-color-scheme: dark){{{dark}}}</style>\n\
             <rect width=\"{WIDTH}\" height=\"{height}\" class=\"{class}\" fill=\"{light}\"/>\n{body}</svg>\n"
        )
    }
}
