//! Whether diversions lead from the number a call was signed for to the number it goes to
//! (RFC 8946 §4.2).

use crate::Number;
use crate::claims::Claims;
use crate::verdict::{Reason, Refusal};

/// The most diversions that a call may have had.
const MOST: usize = 5;

/// Follows the diversions, which may come in any order. Each is used once, each starts where the one
/// before it ends, all are about the same caller, and no number is left twice. Returns whether there
/// was one.
pub(crate) fn follow(
    original: &Claims,
    diversions: &[&Claims],
    called: &Number,
) -> Result<bool, Refusal> {
    let broken = |why| Err(Refusal::new(Reason::Diversion, why));
    if diversions.len() > MOST {
        return broken("there are more than five diversions");
    }
    let mut left: Vec<(&Claims, &Number)> = Vec::new();
    for claims in diversions {
        let Some(from) = &claims.div else {
            return broken("a diversion says not from where");
        };
        if claims.orig != original.orig {
            return broken("a diversion is about another caller");
        }
        if left.iter().any(|(_, other)| *other == from) {
            return broken("two diversions start at the same number");
        }
        left.push((claims, from));
    }
    let mut at = original;
    while !left.is_empty() {
        let mut next = left
            .iter()
            .enumerate()
            .filter(|(_, (_, from))| at.dest.contains(from))
            .map(|(index, _)| index);
        let (Some(index), None) = (next.next(), next.next()) else {
            return broken("the diversions do not link");
        };
        at = left.swap_remove(index).0;
    }
    // Back to where the call has been: a loop.
    let returns = diversions.iter().any(|claims| {
        claims
            .div
            .as_ref()
            .is_some_and(|from| at.dest.contains(from))
    });
    if returns {
        return broken("the diversions go round in a circle");
    }
    if at.dest.contains(called) {
        Ok(!diversions.is_empty())
    } else {
        Err(Refusal::new(
            Reason::DestMismatch,
            "the call goes to another number than the one signed",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n(text: &str) -> Number {
        Number::canonical(text).unwrap()
    }

    fn claims(div: Option<&str>, dest: &[&str]) -> Claims {
        Claims {
            iat: 0,
            orig: n("100"),
            dest: dest.iter().map(|text| n(text)).collect(),
            origin: None,
            div: div.map(n),
            display: None,
        }
    }

    /// The reason, or whether it was diverted.
    fn followed(
        original: &[&str],
        diversions: &[(&str, &[&str])],
        called: &str,
    ) -> Result<bool, Reason> {
        let diversions: Vec<Claims> = diversions
            .iter()
            .map(|(from, to)| claims(Some(from), to))
            .collect();
        let diversions: Vec<&Claims> = diversions.iter().collect();
        follow(&claims(None, original), &diversions, &n(called)).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn diversions_that_link_are_followed_in_any_order() {
        assert_eq!(followed(&["1"], &[], "1"), Ok(false));
        assert_eq!(followed(&["1", "2"], &[], "2"), Ok(false));
        assert_eq!(followed(&["1"], &[("1", &["2"])], "2"), Ok(true));
        assert_eq!(
            followed(&["1"], &[("3", &["4"]), ("1", &["2"]), ("2", &["3"])], "4"),
            Ok(true)
        );
    }

    #[test]
    fn diversions_that_do_not_link_are_refused() {
        assert_eq!(followed(&["1"], &[], "2"), Err(Reason::DestMismatch));
        assert_eq!(
            followed(&["1"], &[("1", &["2"])], "3"),
            Err(Reason::DestMismatch)
        );
        assert_eq!(
            followed(&["1"], &[("1", &["2"])], "1"),
            Err(Reason::DestMismatch)
        );
        assert_eq!(
            followed(&["1"], &[("9", &["2"])], "2"),
            Err(Reason::Diversion)
        );
        assert_eq!(
            followed(&["1"], &[("1", &["2"]), ("9", &["3"])], "3"),
            Err(Reason::Diversion)
        );
    }

    #[test]
    fn loops_forks_and_long_chains_are_refused() {
        assert_eq!(
            followed(&["1"], &[("1", &["2"]), ("2", &["1"])], "1"),
            Err(Reason::Diversion)
        );
        assert_eq!(
            followed(&["1"], &[("1", &["1"])], "1"),
            Err(Reason::Diversion)
        );
        assert_eq!(
            followed(&["1"], &[("1", &["2"]), ("1", &["3"])], "3"),
            Err(Reason::Diversion)
        );
        assert_eq!(
            followed(&["1", "2"], &[("1", &["3"]), ("2", &["3"])], "3"),
            Err(Reason::Diversion)
        );
        let numbers: Vec<String> = (1..9).map(|n| n.to_string()).collect();
        let chain: Vec<(&str, [&str; 1])> = numbers
            .windows(2)
            .map(|pair| (pair[0].as_str(), [pair[1].as_str()]))
            .collect();
        let chain: Vec<(&str, &[&str])> = chain.iter().map(|(from, to)| (*from, &to[..])).collect();
        assert_eq!(followed(&["1"], &chain[..5], "6"), Ok(true));
        assert_eq!(followed(&["1"], &chain[..6], "7"), Err(Reason::Diversion));
    }

    #[test]
    fn a_diversion_of_another_call_is_refused() {
        let mut other = claims(Some("1"), &["2"]);
        other.orig = n("101");
        assert_eq!(
            follow(&claims(None, &["1"]), &[&other], &n("2"))
                .unwrap_err()
                .reason,
            Reason::Diversion
        );
    }
}
