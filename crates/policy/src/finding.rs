//! What is wrong with a policy, and how it is shown in a terminal.

use std::{fmt::Write, ops::Range};

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The policies are not taken into use.
    Error,
    /// Worth a look.
    Warning,
}

/// One thing that is wrong with the policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// In which file.
    pub file: String,
    /// In which line, from 1.
    pub line: usize,
    /// At which character of the line, from 1.
    pub column: usize,
    /// How many characters of that line are meant, at least 1.
    pub width: usize,
    /// How bad it is.
    pub severity: Severity,
    /// In which policy, if it is in one that has an id.
    pub policy_id: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Finding {
    /// An error at these bytes of a file.
    pub(crate) fn error(file: &str, text: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = text.get(line_start..).unwrap_or("").lines().next().unwrap_or("");
        let column = before.get(line_start..).unwrap_or("").chars().count() + 1;
        let rest = line.chars().count().saturating_sub(column - 1);
        Self {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column,
            width: text.get(span).map_or(1, |t| t.chars().count()).clamp(1, rest.max(1)),
            severity: Severity::Error,
            policy_id: None,
            message: message.into(),
            help: None,
        }
    }
    pub(crate) fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
    pub(crate) fn policy(mut self, id: &str) -> Self {
        self.policy_id = Some(id.to_owned());
        self
    }
}

/// Findings the way compilers show them, with the line in question. No colours. `files` are names
/// and texts; a finding in a file that is not among them is shown without its line.
pub fn render(findings: &[Finding], files: &[(String, String)]) -> String {
    let mut out = String::new();
    for finding in findings {
        one(&mut out, finding, files);
    }
    let count = |severity| findings.iter().filter(|f| f.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    if errors + warnings > 0 {
        let s = |n| if n == 1 { "" } else { "s" };
        line(&mut out, format_args!("{errors} error{}, {warnings} warning{}", s(errors), s(warnings)));
    }
    out
}

fn one(out: &mut String, finding: &Finding, files: &[(String, String)]) {
    let severity = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let number = finding.line.to_string();
    let margin = " ".repeat(number.len());
    let text = files.iter().find(|(name, _)| *name == finding.file).and_then(|(_, text)| text.lines().nth(finding.line.saturating_sub(1)));
    line(out, format_args!("{severity}: {}", finding.message));
    line(out, format_args!("{margin}--> {}:{}:{}", finding.file, finding.line, finding.column));
    if let Some(text) = text {
        // A tab is one character of the line and has to be one of the caret's line too.
        let text = text.replace('\t', " ");
        let indent = " ".repeat(finding.column.saturating_sub(1));
        line(out, format_args!("{margin} |"));
        line(out, format_args!("{number} | {text}"));
        line(out, format_args!("{margin} | {indent}{}", "^".repeat(finding.width)));
    }
    if let Some(id) = &finding.policy_id {
        line(out, format_args!("{margin} = policy: {id}"));
    }
    if let Some(help) = &finding.help {
        line(out, format_args!("{margin} = help: {help}"));
    }
    out.push('\n');
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = writeln!(out, "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let text = "a\nüü \"ssn\" x\n";
        let at = text.find("\"ssn\"").unwrap();
        let finding = Finding::error("f", text, at..at + 5, "m");
        assert_eq!((finding.line, finding.column, finding.width), (2, 4, 5));
    }

    #[test]
    fn what_runs_over_the_line_is_cut() {
        let finding = Finding::error("f", "ab\ncd", 1..5, "m");
        assert_eq!((finding.line, finding.column, finding.width), (1, 2, 1));
        let past = Finding::error("f", "ab", 9..12, "m");
        assert_eq!((past.line, past.width), (1, 1));
    }
}
