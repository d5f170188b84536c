//! Words on a terminal: colours that respect NO_COLOR and pipes (anstream), errors in one shape.

use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};

/// Green.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Yellow.
pub const WARN: Style = AnsiColor::Yellow.on_default();
/// Red.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Faint.
pub const DIM: Style = Style::new().dimmed();
/// Strong.
pub const STRONG: Style = Style::new().bold();

/// Says that something worked.
pub fn good(text: &str) { anstream::println!("{GOOD}✓{GOOD:#} {text}"); }

/// Says why something did not, with every cause.
pub fn fail(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    anstream::eprintln!("{BAD}error:{BAD:#} {error}");
    let mut cause = error.source();
    let mut said = error.to_string();
    while let Some(e) = cause {
        let text = e.to_string();
        // Many errors repeat their cause in their own text.
        if !said.contains(&text) {
            anstream::eprintln!("  {DIM}because{DIM:#} {text}");
        }
        said = text;
        cause = e.source();
    }
    ExitCode::FAILURE
}

/// A bar for work whose end is known. Shown on a terminal only.
pub fn bar(what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(&format!("{{bar:32}} {{pos}}/{{len}} {what} {{msg}}"));
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A count for work whose end is not known. Shown on a terminal only.
pub fn spinner(what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(&format!("{{spinner}} {{pos}} {what}, {{per_sec}}"));
    ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}
