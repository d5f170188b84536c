//! Where things stand in a policy file. Cedar's public syntax tree has no positions, so the few that
//! a finding needs are looked up in the text; what a policy means always comes from Cedar.

use std::ops::Range;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An identifier, number or keyword.
    Word,
    /// A string, without its quotes and as it is written.
    Text,
    /// Any other character.
    Mark(char),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    /// Bytes in the text, with the quotes.
    pub(crate) span: Range<usize>,
}

/// The text of one policy.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    tokens: Vec<Token>,
    /// Index of `permit` or `forbid`; what is before it are annotations.
    head: usize,
}

impl Chunk {
    /// Where the policy begins, to be pointed at as a whole.
    pub(crate) fn head(&self) -> Range<usize> { self.tokens.get(self.head).map_or(0..0, |t| t.span.clone()) }

    /// The value of an annotation.
    pub(crate) fn annotation(&self, text: &str, name: &str) -> Option<Range<usize>> {
        let before = self.tokens.get(..self.head)?;
        let at = before.windows(2).position(|pair| match pair {
            [at, key] => at.kind == Kind::Mark('@') && text.get(key.span.clone()) == Some(name),
            _ => false,
        })?;
        let (key, rest) = before.get(at + 1..)?.split_first()?;
        match rest {
            [_, value, ..] if value.kind == Kind::Text => Some(value.span.clone()),
            _ => Some(key.span.clone()),
        }
    }

    /// The `nth` string in the policy's body with this content; entity names are no strings.
    pub(crate) fn string(&self, text: &str, content: &str, nth: usize) -> Option<Range<usize>> {
        let body = self.tokens.get(self.head..)?;
        let strings = body.windows(2).filter_map(|pair| match pair {
            [before, token] if token.kind == Kind::Text && before.kind != Kind::Mark(':') => Some(token.span.clone()),
            _ => None,
        });
        strings.filter(|span| text.get(span.start + 1..span.end.saturating_sub(1)) == Some(content)).nth(nth)
    }

    /// The `nth` use of a word in the policy's body, also as a quoted attribute.
    pub(crate) fn word(&self, text: &str, word: &str, nth: usize) -> Option<Range<usize>> {
        let body = self.tokens.get(self.head..)?;
        body.iter().map(|token| token.span.clone()).filter(|span| text.get(span.clone()).is_some_and(|t| t.trim_matches('"') == word)).nth(nth)
    }
}

/// The policies of a file, in order.
pub(crate) fn chunks(text: &str) -> Vec<Chunk> {
    let tokens = tokens(text);
    tokens
        .split(|token| token.kind == Kind::Mark(';'))
        .filter(|chunk| !chunk.is_empty())
        .map(|chunk| {
            // An annotation may be called `permit` as well: the head is the first one outside.
            let is_head = |at: usize| {
                let word = chunk.get(at).and_then(|t| text.get(t.span.clone()));
                let annotated = at.checked_sub(1).and_then(|i| chunk.get(i)).is_some_and(|t| t.kind == Kind::Mark('@'));
                matches!(word, Some("permit" | "forbid")) && !annotated
            };
            Chunk { head: (0..chunk.len()).find(|at| is_head(*at)).unwrap_or(0), tokens: chunk.to_vec() }
        })
        .collect()
}

/// Brackets within brackets that are read. Cedar goes into each with a call of its own, and a stack that is
/// full ends the process.
const DEEPEST: usize = 40;
/// Steps of one policy that are read, for the same reason: each may be the one within another.
const STEPS: usize = 400;
/// Declarations of a schema that are read: each may be a member of the one before.
const DECLARATIONS: usize = 300;
/// Types of its own that a schema may have: where each uses the one before twice, the last is as large as two to
/// their power.
const TYPES: usize = 12;

/// What a text is written in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grammar {
    Policies,
    Schema,
}

/// Where a text goes deeper than it is read, and what is wrong there.
pub(crate) fn too_deep(text: &str, grammar: Grammar) -> Option<(Range<usize>, String)> {
    let of_policies = grammar == Grammar::Policies;
    let (mut open, mut steps, mut types) = (Vec::new(), 0_usize, 0_usize);
    tokens(text).into_iter().find_map(|token| {
        match (&token.kind, text.get(token.span.clone())) {
            // In a schema it stands within a namespace.
            (Kind::Mark(';'), _) if of_policies => {
                open.clear();
                steps = 0;
            }
            (Kind::Mark(';'), _) => steps += 1,
            // Of a set, or of a field by its name.
            (Kind::Mark('['), _) => {
                open.push(']');
                steps += usize::from(of_policies);
            }
            (Kind::Mark('('), _) => open.push(')'),
            (Kind::Mark('{'), _) => open.push('}'),
            (Kind::Mark('<'), _) if !of_policies => open.push('>'),
            // What closes nothing is thrown away, by Cedar as well.
            (Kind::Mark(close), _) if open.last() == Some(close) => drop(open.pop()),
            (Kind::Mark('.' | '+' | '-' | '*' | '!' | '&' | '|'), _) if of_policies => steps += 1,
            (Kind::Word, Some("if")) if of_policies => steps += 1,
            // Clauses are joined as by `&&`, whose marks are two.
            (Kind::Word, Some("when" | "unless")) if of_policies => steps += 2,
            (Kind::Word, Some("type")) if !of_policies => types += 1,
            _ => {}
        }
        let why = if open.len() > DEEPEST {
            format!("brackets nest more than {DEEPEST} deep here")
        } else if of_policies && steps > STEPS {
            format!("one policy of more than {STEPS} steps: `.field`, `[`, `!`, `+`, `-`, `*`, `if` are one each, `&&`, `||`, `when` and `unless` two")
        } else if !of_policies && steps > DECLARATIONS {
            format!("more than {DECLARATIONS} declarations")
        } else if types > TYPES {
            format!("more than {TYPES} types of its own")
        } else {
            return None;
        };
        Some((token.span, why))
    })
}

fn tokens(text: &str) -> Vec<Token> {
    let mut out = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((start, c)) = chars.next() {
        let (kind, end) = match c {
            c if c.is_whitespace() => continue,
            '/' if chars.peek().is_some_and(|(_, next)| *next == '/') => {
                // A line ends with either, for Cedar.
                while chars.next_if(|(_, c)| !matches!(c, '\n' | '\r')).is_some() {}
                continue;
            }
            '"' => {
                let mut end = text.len();
                while let Some((at, c)) = chars.next() {
                    if c == '\\' {
                        chars.next();
                    } else if c == '"' {
                        end = at + 1;
                        break;
                    }
                }
                (Kind::Text, end)
            }
            c if c.is_alphanumeric() || c == '_' => {
                let mut end = start + c.len_utf8();
                while let Some((at, c)) = chars.next_if(|(_, c)| c.is_alphanumeric() || *c == '_') {
                    end = at + c.len_utf8();
                }
                (Kind::Word, end)
            }
            c => (Kind::Mark(c), start + c.len_utf8()),
        };
        out.push(Token { kind, span: start..end });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = r#"
// permit ( in a comment; ) with "quotes"
@id("a;b") @permit("x")
permit (principal, action == A::"ssn", resource)
when { context.proofs.contains("ssn") && "ssn" == "\"" };
@id("b") forbid (principal, action, resource);
"#;

    #[test]
    fn semicolons_in_strings_and_comments_end_nothing() {
        let chunks = chunks(TWO);
        assert_eq!(chunks.len(), 2);
        assert_eq!(&TWO[chunks[0].annotation(TWO, "id").unwrap()], r#""a;b""#);
        assert_eq!(&TWO[chunks[0].head()], "permit");
        assert_eq!(&TWO[chunks[1].head()], "forbid");
        assert_eq!(chunks[1].annotation(TWO, "wayout"), None);
    }

    #[test]
    fn an_entity_is_not_a_string() {
        let chunks = chunks(TWO);
        let first = chunks[0].string(TWO, "ssn", 0).unwrap();
        let second = chunks[0].string(TWO, "ssn", 1).unwrap();
        assert!(TWO[..first.start].ends_with("contains("));
        assert!(TWO[..second.start].ends_with("&& "));
        assert_eq!(chunks[0].string(TWO, "ssn", 2), None);
    }

    #[test]
    fn unfinished_text_ends_at_the_end() {
        assert_eq!(tokens("\"abc").len(), 1);
        assert_eq!(tokens("a /").len(), 2);
        assert!(chunks("").is_empty());
    }
}
