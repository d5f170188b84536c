//! Curves of false accepts against false refusals, both on the scale of the normal distribution, as is
//! customary: as an image, and in characters for a terminal.

use std::fmt::Write as _;

/// A curve with its name: false accepts and false refusals at every threshold, each 0 to 1.
pub type Curve<'a> = (&'a str, &'a [(f64, f64)]);

/// Ends of both scales. Rarer errors than these are not measured with as many people as anybody has.
const RAREST: f64 = 0.0005;
const MOST: f64 = 0.6;
const TICKS: [f64; 9] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4];

/// Colours on light and on dark paper, each at least 4.5:1 there, and strokes that differ, so that no
/// curve is told by its colour alone.
const PENS: [(&str, &str, &str); 6] = [
    ("#17508a", "#95c5f8", "none"),
    ("#a11b15", "#ff9f96", "7 3"),
    ("#14602f", "#86d8a2", "2 3"),
    ("#7a4a00", "#f2c377", "9 3 2 3"),
    ("#0b5d57", "#74d2c6", "4 2"),
    ("#47514a", "#b9c1bb", "1 2"),
];
/// What stands for each curve in characters.
const MARKS: [char; 6] = ['o', 'x', '+', '*', '#', '@'];
/// Longest name that is drawn.
const LONGEST: usize = 28;

/// As an image, readable on light and dark paper, with a title and the same in words (`about`) for whom
/// it is read to.
#[must_use]
pub fn svg(curves: &[Curve<'_>], title: &str, about: &str) -> String {
    let (across, down) = (
        |rate: f64| 60.0 + 400.0 * place(rate),
        |rate: f64| 440.0 - 400.0 * place(rate),
    );
    let dark: String = PENS
        .iter()
        .enumerate()
        .map(|(number, (_, dark, _))| {
            format!(".c{number}{{stroke:{dark}}}.t{number}{{fill:{dark}}}")
        })
        .collect();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 680 490\" role=\"img\" aria-labelledby=\"t d\" font-family=\"system-ui, sans-serif\" font-size=\"12\">\n\
         <title id=\"t\">{}</title>\n<desc id=\"d\">{}</desc>\n\
         <style>@media (prefers-color-scheme: dark){{.p{{fill:#1b1f22}}.i{{fill:#e7eae7}}.l{{stroke:#2d3338}}.e{{stroke:#98a29b}}{dark}}}</style>\n\
         <rect width=\"680\" height=\"490\" class=\"p\" fill=\"#ffffff\"/>\n\
         <text x=\"60\" y=\"24\" class=\"i\" fill=\"#1a201c\" font-size=\"15\" font-weight=\"600\">{}</text>\n",
        escaped(title),
        escaped(about),
        escaped(&shortened(title, 70)),
    );
    // Writing to a string cannot fail.
    for tick in TICKS {
        let (x, y, percent) = (across(tick), down(tick), percent(tick));
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.1} 40V440M60 {y:.1}H460\" class=\"l\" stroke=\"#d8dcd4\"/>\
             <text x=\"{x:.1}\" y=\"456\" text-anchor=\"middle\" class=\"i\" fill=\"#1a201c\">{percent}</text>\
             <text x=\"54\" y=\"{:.1}\" text-anchor=\"end\" class=\"i\" fill=\"#1a201c\">{percent}</text>",
            y + 4.0
        );
    }
    // Where both errors are equally many.
    svg.push_str(
        "<path d=\"M60 440L460 40\" class=\"e\" stroke=\"#5d675f\" stroke-dasharray=\"1 5\"/>\n\
         <text x=\"260\" y=\"478\" text-anchor=\"middle\" class=\"i\" fill=\"#1a201c\">false accepts, %</text>\n\
         <text x=\"16\" y=\"240\" text-anchor=\"middle\" transform=\"rotate(-90 16 240)\" class=\"i\" fill=\"#1a201c\">false refusals, %</text>\n",
    );
    let pens = PENS.iter().enumerate().cycle();
    for (row, ((name, curve), (number, (light, _, dashes)))) in curves.iter().zip(pens).enumerate()
    {
        let points: Vec<String> = curve
            .iter()
            .map(|(accepts, refusals)| format!("{:.1},{:.1}", across(*accepts), down(*refusals)))
            .collect();
        let y = 56 + 22 * row;
        let _ = writeln!(
            svg,
            "<polyline class=\"c{number}\" fill=\"none\" stroke=\"{light}\" stroke-width=\"1.8\" stroke-dasharray=\"{dashes}\" points=\"{}\"/>\
             <path d=\"M472 {y}h24\" class=\"c{number}\" stroke=\"{light}\" stroke-width=\"1.8\" stroke-dasharray=\"{dashes}\"/>\
             <text x=\"502\" y=\"{}\" class=\"t{number}\" fill=\"{light}\">{}</text>",
            points.join(" "),
            y + 4,
            escaped(&shortened(name, LONGEST))
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// In characters, 72 wide and 23 high, with a line for each curve that says its mark.
#[must_use]
pub fn text(curves: &[Curve<'_>]) -> String {
    const WIDE: usize = 61;
    const HIGH: usize = 19;
    let column = |rate: f64| (place(rate) * (WIDE - 1) as f64).round() as usize;
    let row = |rate: f64| HIGH - 1 - (place(rate) * (HIGH - 1) as f64).round() as usize;
    let mut grid = vec![vec![' '; WIDE]; HIGH];
    let mut put = |x: usize, y: usize, mark: char| {
        if let Some(cell) = grid.get_mut(y).and_then(|line| line.get_mut(x)) {
            *cell = mark;
        }
    };
    for step in 0..WIDE {
        put(step, (WIDE - 1 - step) * (HIGH - 1) / (WIDE - 1), '·');
    }
    for ((_, curve), mark) in curves.iter().zip(MARKS.iter().cycle()) {
        for pair in curve.windows(2) {
            let &[(accepts, refusals), (next_accepts, next_refusals)] = pair else {
                continue;
            };
            // A step of a curve goes down, then right.
            let (from, to) = (row(refusals), row(next_refusals));
            for y in from.min(to)..=from.max(to) {
                put(column(accepts), y, *mark);
            }
            let (from, to) = (column(next_accepts), column(accepts));
            for x in from..=to {
                put(x, row(next_refusals), *mark);
            }
        }
    }
    let mut out = String::new();
    let labelled = [0.001, 0.01, 0.05, 0.1, 0.2, 0.4];
    for (y, line) in grid.iter().enumerate() {
        let label = labelled.iter().find(|tick| row(**tick) == y);
        let label = label.map_or(String::new(), |tick| percent(*tick));
        let line: String = line.iter().collect();
        let _ = writeln!(out, "{label:>5} │{}", line.trim_end());
    }
    let _ = writeln!(out, "      └{}", "─".repeat(WIDE));
    let mut axis = vec![' '; WIDE + 7];
    for tick in labelled {
        let (label, at) = (percent(tick), column(tick) + 7);
        for (offset, digit) in label.chars().enumerate() {
            if let Some(cell) = axis.get_mut((at + offset).saturating_sub(label.len() / 2)) {
                *cell = digit;
            }
        }
    }
    let axis: String = axis.into_iter().collect();
    let _ = writeln!(out, "{}", axis.trim_end());
    out.push_str("       false accepts, % across; false refusals, % up\n");
    for ((name, _), mark) in curves.iter().zip(MARKS.iter().cycle()) {
        let _ = writeln!(out, "     {mark} {}", shortened(name, 60));
    }
    out
}

/// Where a rate is between the ends of the scale, 0 to 1.
fn place(rate: f64) -> f64 {
    let (low, high) = (probit(RAREST), probit(MOST));
    (probit(rate.clamp(RAREST, MOST)) - low) / (high - low)
}

fn percent(rate: f64) -> String {
    // Ticks are round numbers, of which arithmetic leaves more digits than there are.
    format!("{}", (rate * 1000.0).round() / 10.0)
}

/// The inverse of the normal distribution, by bisection: exact enough to draw, and nothing to look up.
fn probit(rate: f64) -> f64 {
    let (mut low, mut high) = (-8.0, 8.0);
    for _ in 0..50 {
        let middle = 0.5 * (low + high);
        if normal(middle) < rate {
            low = middle
        } else {
            high = middle
        }
    }
    low
}

/// Cumulative normal distribution by its series around 0, good to 1e-9 for |x| < 6.
fn normal(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..120 {
        term *= x * x / (2.0 * f64::from(n) + 1.0);
        sum += term;
    }
    (0.5 + sum * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()).clamp(0.0, 1.0)
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// Text between tags. What XML has no place for is left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_that_of_the_normal_distribution() {
        for (rate, deviations) in [
            (0.5, 0.0),
            (0.158_655_254, -1.0),
            (0.022_750_132, -2.0),
            (0.001_349_898, -3.0),
        ] {
            assert!((probit(rate) - deviations).abs() < 1e-6, "{rate}");
        }
    }

    #[test]
    fn names_cannot_break_the_image_and_nothing_in_it_is_not_a_number() {
        let curve = [(1.0, 0.0), (0.3, 0.01), (0.0, 0.5), (0.0, 1.0)];
        let image = svg(&[("a < b & \u{1b}[31mc", &curve)], "T & t", "<words>");
        let document = roxmltree::Document::parse(&image).unwrap();
        let texts: Vec<&str> = document
            .descendants()
            .filter_map(|node| node.text())
            .collect();
        assert!(
            texts.contains(&"a < b &  [31mc")
                && texts.contains(&"<words>")
                && texts.contains(&"T & t"),
            "{texts:?}"
        );
        assert!(!image.contains("NaN") && !image.contains("inf"));
        assert!(image.contains("prefers-color-scheme: dark") && image.contains("role=\"img\""));
    }

    #[test]
    fn the_picture_has_the_curve_where_it_belongs() {
        // At the middle of the drawing false accepts and refusals are equal.
        let picture = text(&[("one", &[(0.6, 0.0), (0.02, 0.02), (0.0, 0.6)])]);
        let lines: Vec<&str> = picture.lines().collect();
        assert!(
            lines.iter().all(|line| line.chars().count() <= 72),
            "{picture}"
        );
        assert_eq!(lines.len(), 23, "{picture}");
        assert!(lines[0].starts_with("      │o"), "{picture}");
        assert!(
            lines.iter().any(|line| line.starts_with("    1 │")),
            "{picture}"
        );
        assert!(lines[22].ends_with("o one"), "{picture}");
        // Nothing to draw is drawn as nothing.
        assert!(
            !text(&[("none", &[])])
                .lines()
                .take(19)
                .any(|line| line.contains('o'))
        );
    }
}
