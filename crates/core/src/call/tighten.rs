//! Rule sets may ask for stricter limits than a configuration: of two, the stricter holds.

use super::Params;
use crate::time::Span;

/// Which way is stricter.
enum Stricter {
    Fewer,
    More,
}

impl Params {
    /// Names that can be tightened, with what is strict about them; times are in milliseconds.
    pub const TIGHTENED: [&'static str; 17] = [
        "code_digits", "challenge_life", "tries", "throttle", "throttle_window", "lifetime_failures", "sends", "approvals", "call_backs",
        "typed_codes", "level_life", "longest_silence", "compare_misses", "keyed_claims", "service_failures", "cooling_off", "undo",
    ];

    /// Takes a limit over if it is stricter than the present one. `false`: the present one is as
    /// strict. `None`: there is no such limit, or it cannot have this value.
    pub fn tighten(&mut self, name: &str, value: i64) -> Option<bool> {
        use Stricter::{Fewer, More};
        let number = u32::try_from(value).ok().filter(|n| *n > 0)?;
        let small = u8::try_from(number).ok();
        Some(match name {
            "code_digits" => set(&mut self.code_digits, small?, &More),
            "tries" => set(&mut self.tries, small?, &Fewer),
            "throttle" => set(&mut self.throttle, number, &Fewer),
            "lifetime_failures" => set(&mut self.lifetime_failures, number, &Fewer),
            "sends" => set(&mut self.sends, number, &Fewer),
            "approvals" => set(&mut self.approvals, number, &Fewer),
            "call_backs" => set(&mut self.call_backs, number, &Fewer),
            "typed_codes" => set(&mut self.typed_codes, number, &Fewer),
            "compare_misses" => set(&mut self.compare_misses, number, &Fewer),
            "keyed_claims" => set(&mut self.keyed_claims, number, &Fewer),
            "service_failures" => set(&mut self.service_failures, number, &Fewer),
            "challenge_life" => set(&mut self.challenge_life, Span(value), &Fewer),
            "level_life" => set(&mut self.level_life, Span(value), &Fewer),
            "longest_silence" => set(&mut self.longest_silence, Span(value), &Fewer),
            // Failures count for longer.
            "throttle_window" => set(&mut self.throttle_window, Span(value), &More),
            "cooling_off" => set(&mut self.cooling_off, Span(value), &More),
            "undo" => set(&mut self.undo, Span(value), &More),
            _ => return None,
        })
    }
}

fn set<T: Ord>(present: &mut T, wanted: T, stricter: &Stricter) -> bool {
    let takes = match stricter {
        Stricter::Fewer => wanted < *present,
        Stricter::More => wanted > *present,
    };
    if takes {
        *present = wanted;
    }
    takes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stricter_wins_whatever_the_order() {
        for name in Params::TIGHTENED {
            let (mut a, mut b) = (Params::default(), Params::default());
            for value in [1, 7, 250] {
                assert!(a.tighten(name, value).is_some(), "{name}");
            }
            for value in [250, 1, 7] {
                assert!(b.tighten(name, value).is_some(), "{name}");
            }
            assert_eq!(format!("{a:?}"), format!("{b:?}"), "{name}");
            assert_eq!(a.tighten(name, 7), Some(false), "{name}: nothing gets laxer");
            assert_eq!(a.tighten(name, 0), None, "{name}: zero is no limit");
            assert_eq!(a.tighten(name, -5), None);
        }
        assert_eq!(Params::default().tighten("luck", 1), None);
        let mut params = Params::default();
        assert_eq!((params.tighten("cooling_off", Span::days(30).0), params.cooling_off), (Some(true), Span::days(30)));
    }
}
