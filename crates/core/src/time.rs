//! Time as data. The core never reads a clock.

use std::{fmt, ops::{Add, Sub}};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// A length of time in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(pub i64);

impl Span {
    /// `n` seconds.
    pub const fn seconds(n: i64) -> Self { Self(n * 1000) }
    /// `n` minutes.
    pub const fn minutes(n: i64) -> Self { Self::seconds(n * 60) }
    /// `n` hours.
    pub const fn hours(n: i64) -> Self { Self::minutes(n * 60) }
    /// `n` days of 24 hours.
    pub const fn days(n: i64) -> Self { Self::hours(n * 24) }
    /// Whole seconds, rounded up, never negative: what a person may be shown as "remaining".
    pub fn ceil_seconds(self) -> i64 { (self.0.max(0) + 999) / 1000 }
}

impl Timestamp {
    /// Whole seconds since the epoch.
    pub fn unix(self) -> i64 { self.0.div_euclid(1000) }
    /// Years, months, days, hours, minutes and seconds in UTC (proleptic Gregorian calendar).
    fn civil(self) -> (i64, i64, i64, i64, i64, i64) {
        let (days, secs) = (self.unix().div_euclid(86_400), self.unix().rem_euclid(86_400));
        // Days since 0000-03-01, so that the leap day is the last of its year.
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let doe = z.rem_euclid(146_097);
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
        let year = yoe + era * 400 + i64::from(month <= 2);
        (year, month, day, secs / 3600, secs / 60 % 60, secs % 60)
    }
}

/// RFC 3339 in UTC with whole seconds.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (y, mo, d, h, mi, s) = self.civil();
        let two = |n: i64| u8::try_from(n.rem_euclid(100)).map_or([b'0'; 2], |n| [b'0' + n / 10, b'0' + n % 10]);
        let ([c0, c1], [y0, y1], [mo0, mo1], [d0, d1]) = (two(y / 100), two(y), two(mo), two(d));
        let ([h0, h1], [mi0, mi1], [s0, s1]) = (two(h), two(mi), two(s));
        let text = [c0, c1, y0, y1, b'-', mo0, mo1, b'-', d0, d1, b'T', h0, h1, b':', mi0, mi1, b':', s0, s1, b'Z'];
        match std::str::from_utf8(&text) {
            // A page shows dozens of these; six numbers formatted one by one cost ten times as much.
            Ok(text) if (0..=9999).contains(&y) => f.write_str(text),
            _ => write!(f, "{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}Z"),
        }
    }
}

impl Add<Span> for Timestamp {
    type Output = Self;
    fn add(self, by: Span) -> Self { Self(self.0.saturating_add(by.0)) }
}
impl Sub<Span> for Timestamp {
    type Output = Self;
    fn sub(self, by: Span) -> Self { Self(self.0.saturating_sub(by.0)) }
}
impl Sub for Timestamp {
    type Output = Span;
    fn sub(self, other: Self) -> Span { Span(self.0.saturating_sub(other.0)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants_are_written_as_rfc3339() {
        for (secs, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_111_111_109, "2005-03-18T01:58:29Z"),
            (2_000_000_000, "2033-05-18T03:33:20Z"),
        ] {
            assert_eq!(Timestamp(secs * 1000).to_string(), text);
        }
    }
}
