//! Dates as providers write them (RFC 3339), and as they want them.

use countersign_core::time::{Span, Timestamp};

/// Reads `2026-06-01T10:00:00Z`, with a fraction or an offset, or a date alone. `None`: anything else.
pub fn parse(text: &str) -> Option<Timestamp> {
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let days = days(date)?;
    let seconds = match time {
        Some(time) => clock(time)?,
        None => 0,
    };
    Some(Timestamp((days * 86_400 + seconds) * 1000))
}

/// `20260601`, or with this between the parts, this long before now.
pub fn before(now: Timestamp, span: Span, separator: &str) -> String {
    let text = (now - span).to_string();
    text.split('T').next().unwrap_or_default().replace('-', separator)
}

fn number(text: &str, digits: usize, most: i64) -> Option<i64> {
    let shape = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|n: &i64| shape && *n <= most)
}

/// Days since the epoch, proleptic Gregorian calendar.
fn days(date: &str) -> Option<i64> {
    let mut parts = date.split('-');
    let (year, month, day) = (number(parts.next()?, 4, 9999)?, number(parts.next()?, 2, 12)?, number(parts.next()?, 2, 31)?);
    if parts.next().is_some() || month == 0 || day == 0 {
        return None;
    }
    // The year begins in March, so that the leap day is its last.
    let y = if month <= 2 { year - 1 } else { year };
    let shifted = (month + 9) % 12;
    let (era, of_era) = (y.div_euclid(400), y.rem_euclid(400));
    let of_year = (153 * shifted + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// Seconds of the day in UTC; an offset may lead into the next or the one before.
fn clock(time: &str) -> Option<i64> {
    let at = time.find(['Z', 'z', '+', '-']);
    let (clock, zone) = time.split_at(at.unwrap_or(time.len()));
    let clock = clock.split('.').next()?;
    let mut parts = clock.split(':');
    let (h, m, s) = (number(parts.next()?, 2, 23)?, number(parts.next()?, 2, 59)?, number(parts.next()?, 2, 60)?);
    let offset = match zone {
        "" | "Z" | "z" => 0,
        zone => {
            let (sign, zone) = zone.split_at_checked(1)?;
            let (hours, minutes) = zone.split_once(':')?;
            let seconds = number(hours, 2, 23)? * 3600 + number(minutes, 2, 59)? * 60;
            if sign == "-" { -seconds } else { seconds }
        }
    };
    Some(h * 3600 + m * 60 + s - offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_strictly() {
        for (text, seconds) in [
            ("1970-01-01", 0), ("2000-02-29T00:00:00Z", 951_782_400), ("2005-03-18T01:58:29Z", 1_111_111_109), ("2033-05-18T03:33:20.5Z", 2_000_000_000),
            ("2023-07-03T14:27:08.312+02:00", 1_688_387_228), ("1970-01-01T00:00:00-01:00", 3600),
        ] {
            assert_eq!(parse(text), Some(Timestamp(seconds * 1000)), "{text}");
        }
        for bad in ["", "yesterday", "2026-13-01", "2026-00-10", "2026-1-1", "2026-01-01T25:00:00Z", "2026-01-01T10:00Z", "2026-01-01T10:00:00+2", "2026-01-01-01", "٢٠٢٦-01-01"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_read_is_written_the_same() {
        for day in (0..60_000).step_by(37) {
            let at = Timestamp(day * 86_400_000);
            assert_eq!(parse(&at.to_string()), Some(at));
        }
        assert_eq!(before(Timestamp(951_782_400_000), Span::days(1), ""), "20000228");
    }
}
