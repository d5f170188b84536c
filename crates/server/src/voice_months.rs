//! How voices fared, month by month, from the record: whether the threshold that was measured still fits.
//! Lines change, telephones change, people age; a threshold that was right in January may refuse
//! everybody in June.

use std::collections::BTreeMap;

use countersign_core::{call::Event, time::Timestamp, voice::{Likeness, Outcome}};
use countersign_voice::drift::{Counts, Moved, Reference};
use serde::{Deserialize, Serialize};

/// Months that are kept.
const KEEP: usize = 25;

/// Year and month, such as `2026-11`, UTC.
pub type Name = String;

/// One month.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Digits that such callers said, …
    #[serde(default)]
    pub digits: u32,
    /// … and those of them that were recognised as what was asked for.
    #[serde(default)]
    pub digits_right: u32,
    /// By calibration, how many of the genuine scored in each tenth of it.
    #[serde(default)]
    pub tenths: BTreeMap<String, Counts>,
}

impl Month {
    /// The mean score of the genuine, and how far they lie from it, both in thousandths.
    pub fn genuine(&self) -> Option<(i64, i64)> {
        let n = i64::from(self.genuine);
        let mean = self.sum.checked_div(n)?;
        let variance = self.squares.checked_div(n)?.saturating_sub(mean.saturating_mul(mean)).max(0);
        Some((mean, variance.isqrt()))
    }

    /// How far the genuine have moved from how they scored when the calibration of this name was made.
    /// `None`: none was compared with it.
    pub fn moved(&self, calibration: &str, reference: &Reference) -> Option<Moved> { reference.moved(self.tenths.get(calibration)?) }

    /// In percent; `None` of nothing.
    pub fn percent(part: u32, whole: u32) -> Option<u32> { (u64::from(part) * 100).checked_div(u64::from(whole)).and_then(|p| u32::try_from(p).ok()) }
}

/// All months.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Months(pub BTreeMap<Name, Month>);

impl Months {
    /// Takes one event in.
    pub fn take(&mut self, at: Timestamp, event: &Event) {
        if !matches!(event, Event::VoiceEnrolled { held: false, .. } | Event::VoiceCompared { .. } | Event::DigitsChecked { proved: true, .. }) {
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
                    if let Some(place) = &comparison.place {
                        let counts = month.tenths.entry(place.calibration.clone()).or_default();
                        if let Some(count) = counts.get_mut(usize::from(place.tenth)) {
                            *count = count.saturating_add(1);
                        }
                    }
                }
            }
            Event::DigitsChecked { checked, .. } => {
                month.digits += u32::from(matches!(checked.outcome, Outcome::Alike | Outcome::OtherDigits));
                month.digits_right += u32::from(checked.outcome == Outcome::Alike);
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
    use countersign_core::{id::AccountId, time::Span, voice::{Checked, Comparison, Place, Quality}};
    use countersign_voice::drift::Level;

    use super::*;

    const JUNE: Timestamp = Timestamp(1_780_308_000_000);

    fn compared(outcome: Outcome, score: Option<i64>, proved: bool) -> Event {
        // Tenths of a whole score, from 4 to 5.
        let tenth = score.map(|score| u8::try_from(((score - 4_000) / 100).clamp(0, 9)).unwrap());
        let place = tenth.map(|tenth| Place { calibration: "ours".into(), tenth });
        Event::VoiceCompared { account: AccountId([1; 16]), comparison: Comparison { score, place, ..Comparison::only(outcome) }, proved, digits: false }
    }

    #[test]
    fn months_are_counted_and_a_shift_is_told() {
        let mut months = Months::default();
        for n in 0..200 {
            months.take(JUNE, &compared(Outcome::Alike, Some(4_050 + 100 * (n % 10)), true));
            months.take(JUNE + Span::days(61), &compared(Outcome::Unlike, Some(3_550 + 100 * (n % 10)), true));
        }
        for n in 0..40 {
            months.take(JUNE + Span::days(31), &compared(Outcome::Alike, Some(3_550 + 100 * (n % 10)), true));
        }
        months.take(JUNE, &compared(Outcome::Unlike, Some(-9_000), false));
        months.take(JUNE, &compared(Outcome::KnownRecording, Some(9_000), true));
        months.take(JUNE, &compared(Outcome::NotCalibrated, Some(1), false));
        for (outcome, proved) in [(Outcome::Alike, true), (Outcome::OtherDigits, true), (Outcome::NoSpeech, true), (Outcome::OtherDigits, false)] {
            let checked = Checked { outcome, quality: Quality::default(), nearer: None };
            months.take(JUNE, &Event::DigitsChecked { account: AccountId([1; 16]), checked, again: false, proved });
        }
        let of = |name: &str| months.0[name].clone();
        let june = of("2026-06");
        assert_eq!((june.asked, june.compared, june.alike, june.alarms, june.genuine), (203, 202, 200, 1, 200));
        assert_eq!(june.genuine(), Some((4_500, 287)));
        assert_eq!((june.digits, june.digits_right), (2, 1), "those that were heard, of callers who are known");
        // Who had not proved anything, and what was an alarm, is not among them.
        assert_eq!(june.tenths["ours"], [20; 10]);
        let reference = Reference { edges: [4.1, 4.2, 4.3, 4.4, 4.5, 4.6, 4.7, 4.8, 4.9], counts: [30; 10] };
        let level = |name: &str| of(name).moved("ours", &reference).unwrap().level();
        assert_eq!((level("2026-06"), level("2026-07"), level("2026-08")), (Level::Stable, Level::TooFew, Level::Moved));
        assert!(june.moved("theirs", &reference).is_none(), "scores of two calibrations are not mixed");
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
