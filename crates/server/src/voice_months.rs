//! How voices fared, month by month, from the record: whether the threshold that was measured still fits.
//! Lines change, telephones change, people age; a threshold that was right in January may refuse
//! everybody in June.

use std::collections::BTreeMap;

use countersign_core::{call::Event, time::Timestamp, voice::Likeness};
use serde::{Deserialize, Serialize};

/// Months that are kept.
const KEEP: usize = 25;
/// Scores of which anything is said: as in `countersign_voice::drift`.
const FEWEST: u32 = 50;

/// Year and month, such as `2026-11`, UTC.
pub type Name = String;

/// One month.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Month {
    /// Voices that came on file.
    pub enrolled: u32,
    /// Comparisons, also those that came to nothing.
    pub asked: u32,
    /// Those that said something.
    pub compared: u32,
    /// Those that said "alike".
    pub alike: u32,
    /// Recordings and synthetic speech.
    pub alarms: u32,
    /// Scores of callers who had proved otherwise who they are, …
    pub genuine: u32,
    /// … their sum, in thousandths, …
    pub sum: i64,
    /// … and the sum of their squares, in millionths.
    pub squares: i64,
}

impl Month {
    /// The mean score of the genuine, and how far they lie from it, both in thousandths.
    pub fn genuine(&self) -> Option<(i64, i64)> {
        let n = i64::from(self.genuine);
        let mean = self.sum.checked_div(n)?;
        let variance = self.squares.checked_div(n)?.saturating_sub(mean.saturating_mul(mean)).max(0);
        Some((mean, variance.isqrt()))
    }

    /// Whether the genuine score otherwise than in `first`, by more than half of what is usual among them.
    pub fn has_moved(&self, first: &Self) -> bool {
        match (self.genuine(), first.genuine()) {
            (Some((now, _)), Some((then, usual))) if self.genuine >= FEWEST && first.genuine >= FEWEST => (now - then).abs() * 2 > usual,
            _ => false,
        }
    }

    /// In percent; `None` of nothing.
    pub fn percent(part: u32, whole: u32) -> Option<u32> { (u64::from(part) * 100).checked_div(u64::from(whole)).and_then(|p| u32::try_from(p).ok()) }
}

/// All months.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Months(pub BTreeMap<Name, Month>);

impl Months {
    /// Takes one event in.
    pub fn take(&mut self, at: Timestamp, event: &Event) {
        if !matches!(event, Event::VoiceEnrolled { held: false, .. } | Event::VoiceCompared { .. }) {
            return;
        }
        let name: Name = at.to_string().chars().take(7).collect();
        let month = self.0.entry(name).or_default();
        match event {
            Event::VoiceEnrolled { .. } => month.enrolled += 1,
            Event::VoiceCompared { comparison, proved, .. } => {
                let likeness = comparison.outcome.likeness();
                month.asked += 1;
                month.compared += u32::from(likeness != Likeness::NotCompared);
                month.alike += u32::from(likeness == Likeness::Alike);
                month.alarms += u32::from(comparison.outcome.is_alarm());
                if let (Some(score), true, false) = (comparison.score, *proved, comparison.outcome.is_alarm()) {
                    month.genuine += 1;
                    month.sum = month.sum.saturating_add(score);
                    month.squares = month.squares.saturating_add(score.saturating_mul(score));
                }
            }
            _ => {}
        }
        while self.0.len() > KEEP {
            self.0.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use countersign_core::{id::AccountId, time::Span, voice::{Comparison, Outcome}};

    use super::*;

    const JUNE: Timestamp = Timestamp(1_780_308_000_000);

    fn compared(outcome: Outcome, score: Option<i64>, proved: bool) -> Event {
        Event::VoiceCompared { account: AccountId([1; 16]), comparison: Comparison { score, ..Comparison::only(outcome) }, proved }
    }

    #[test]
    fn months_are_counted_and_a_shift_is_told() {
        let mut months = Months::default();
        for n in 0..60 {
            months.take(JUNE, &compared(Outcome::Alike, Some(4_000 + 100 * (n % 5)), true));
            months.take(JUNE + Span::days(31), &compared(Outcome::Alike, Some(4_050 + 100 * (n % 5)), true));
            months.take(JUNE + Span::days(61), &compared(Outcome::Unlike, Some(2_500 + 100 * (n % 5)), true));
        }
        months.take(JUNE, &compared(Outcome::Unlike, Some(-9_000), false));
        months.take(JUNE, &compared(Outcome::KnownRecording, Some(9_000), true));
        months.take(JUNE, &compared(Outcome::NotCalibrated, Some(1), false));
        let of = |name: &str| months.0[name];
        let june = of("2026-06");
        assert_eq!((june.asked, june.compared, june.alike, june.alarms, june.genuine), (63, 62, 60, 1, 60));
        assert_eq!(june.genuine(), Some((4_200, 141)));
        assert!(!of("2026-07").has_moved(&june) && of("2026-08").has_moved(&june));
        // Few scores say nothing.
        assert!(!of("2026-08").has_moved(&Month { genuine: 49, ..june }));
        assert_eq!((Month::percent(1, 3), Month::percent(1, 0)), (Some(33), None));
    }

    #[test]
    fn two_years_are_kept() {
        let mut months = Months::default();
        for n in 0..40 {
            months.take(JUNE + Span::days(31 * n), &compared(Outcome::Alike, None, true));
        }
        assert_eq!(months.0.len(), KEEP);
    }
}
