//! Words of a company's own: which messages a file may replace, and with which values.

use std::collections::{BTreeMap, BTreeSet};

/// What a message is made of besides words.
#[derive(Default)]
struct Uses {
    /// Values that are put in: `{ $code }`.
    values: BTreeSet<String>,
    /// Other messages and functions: `{ digits }`.
    others: BTreeSet<String>,
}

/// What each message uses.
///
/// Read from the text and not from a parsed tree: `$name` is a value wherever Fluent allows one, and in
/// plain text nobody writes it.
fn uses(source: &str) -> BTreeMap<String, Uses> {
    let name = |text: &str| text.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect::<String>();
    let mut out: BTreeMap<String, Uses> = BTreeMap::new();
    let mut message = String::new();
    for line in source.lines().filter(|line| !line.starts_with('#')) {
        if line.starts_with(|c: char| c.is_ascii_alphabetic() || c == '-')
            && let Some((id, _)) = line.split_once('=')
        {
            message = id.trim().to_owned();
        }
        let used = out.entry(message.clone()).or_default();
        used.values.extend(line.split('$').skip(1).map(name));
        used.others.extend(line.split('{').skip(1).map(|part| name(part.trim_start())).filter(|name| !name.is_empty()));
    }
    out.remove("");
    out
}

/// Whether a file may stand in for parts of ours: its messages exist, use the values that ours use,
/// and point at nothing that ours do not point at.
///
/// # Errors
/// What is wrong with it, and what to do.
pub(super) fn check(theirs: &str, ours: &str) -> Result<(), String> {
    let ours = uses(ours);
    let listed = |set: &BTreeSet<String>| if set.is_empty() { "no value".to_owned() } else { set.iter().map(|v| format!("${v}")).collect::<Vec<_>>().join(", ") };
    for (id, used) in uses(theirs) {
        let wanted = ours.get(&id).ok_or_else(|| format!("there is no message {id}: it would never be said"))?;
        if used.values != wanted.values {
            return Err(format!("the message {id} uses {}, and has to use {}", listed(&used.values), listed(&wanted.values)));
        }
        if let Some(other) = used.others.difference(&wanted.others).next() {
            return Err(format!("the message {id} uses {{ {other} }}, which ours does not: write the words out"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "# $nothing\nhello = Hello, this is { $company }.\ncode =\n    { $n ->\n        [one] { $code }, once\n       *[other] { $code }, { $n } times\n    }\nbye = Bye.\n";

    #[test]
    fn words_may_change_and_values_may_not() {
        assert_eq!(check("hello = Good day from { $company }!", OURS), Ok(()));
        assert_eq!(check("code = { $n } times: { $code }", OURS), Ok(()));
        assert_eq!(check("", OURS), Ok(()));
        assert!(check("hello = Good day!", OURS).unwrap_err().contains("has to use $company"));
        assert!(check("bye = Bye, { $code }.", OURS).unwrap_err().contains("has to use no value"));
        assert!(check("code = { $code }", OURS).unwrap_err().contains("$code, $n"));
        assert!(check("bye = { hello }", OURS).unwrap_err().contains("{ hello }"));
        assert!(check("bye = { \"Bye\" }", OURS).is_ok());
        assert!(check("helo = Hello { $company }", OURS).unwrap_err().contains("no message helo"));
    }
}
