//! Dates as IMAP writes them: `date-time` of INTERNALDATE and `date` of SEARCH (RFC 9051 9).
//!
//! Invariants: a time is seconds since 1970-01-01 UTC; a [`Day`] is a day of the civil calendar
//! without a zone. Every day from year 1 to 9999 converts both ways.
//! Not here: the dates of header fields (`grace-mail`).

use std::fmt;

use grace_mail::date::{civil_from_days, days_from_civil, month_days};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

const DAY_S: i64 = 86_400;

/// A day: days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub i64);

impl Day {
    /// The day a time falls on, in UTC.
    pub fn of_time(time_s: i64) -> Self {
        Self(time_s.div_euclid(DAY_S))
    }

    /// A day of the calendar; `None` if there is no such day.
    pub fn of_calendar(year: u16, month: u8, day: u8) -> Option<Self> {
        let known = (1..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=month_days(year, month)).contains(&day);
        known.then(|| Self(days_from_civil(i64::from(year), month, day)))
    }

    /// Year, month and day of the calendar.
    pub fn calendar(self) -> (i64, u8, u8) {
        civil_from_days(self.0)
    }

    /// `date-text` of SEARCH: `1-Feb-1994`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let day = u8::try_from(digits(parts.next()?, 1..=2)?).ok()?;
        let month = parts.next()?;
        let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))?;
        let year = u16::try_from(digits(parts.next()?, 4..=4)?).ok()?;
        if parts.next().is_some() {
            return None;
        }
        Self::of_calendar(year, u8::try_from(month).ok()? + 1, day)
    }
}

/// INTERNALDATE: a moment and the zone it is shown in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateTime {
    /// Seconds since 1970-01-01 UTC.
    pub time_s: i64,
    /// How far local time is ahead of UTC, in minutes.
    pub zone_min: i16,
}

impl DateTime {
    /// The day in its own zone: RFC 9051 6.4.4 compares days "disregarding time and timezone".
    pub fn day(self) -> Day {
        Day::of_time(self.time_s.saturating_add(i64::from(self.zone_min) * 60))
    }
}

/// `date-time` of APPEND, without its quotes: ` 1-Feb-1994 09:30:00 +0100`.
pub fn parse_date_time(text: &str) -> Option<DateTime> {
    // RFC 9051 9: date-day-fixed is a space and a digit, or two digits.
    let text = text.strip_prefix(' ').unwrap_or(text);
    let mut parts = text.split(' ');
    let day = Day::parse(parts.next()?)?;
    let mut clock = parts.next()?.split(':');
    let hours = digits(clock.next()?, 2..=2).filter(|hours| *hours < 24)?;
    let minutes = digits(clock.next()?, 2..=2).filter(|minutes| *minutes < 60)?;
    // A leap second is legal and becomes the next second.
    let seconds = digits(clock.next()?, 2..=2).filter(|seconds| *seconds <= 60)?;
    let zone = parts.next()?;
    let sign = match zone.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let zone_hours = digits(zone.get(1..3)?, 2..=2).filter(|hours| *hours < 24)?;
    let zone_minutes = digits(zone.get(3..)?, 2..=2).filter(|minutes| *minutes < 60)?;
    if parts.next().is_some() || clock.next().is_some() {
        return None;
    }
    let local = i64::from(hours) * 3600 + i64::from(minutes) * 60 + i64::from(seconds);
    let zone_min = sign * i16::try_from(zone_hours * 60 + zone_minutes).ok()?;
    Some(DateTime { time_s: day.0 * DAY_S + local - i64::from(zone_min) * 60, zone_min })
}

fn digits(text: &str, count: std::ops::RangeInclusive<usize>) -> Option<u32> {
    let all_digits = count.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if all_digits { text.parse().ok() } else { None }
}

/// Printed as `date-time` without its quotes.
impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.day().calendar();
        let local_s = self.time_s.saturating_add(i64::from(self.zone_min) * 60);
        let second = local_s.rem_euclid(DAY_S);
        let name = MONTHS.get(usize::from(month.saturating_sub(1)));
        let name = name.unwrap_or(&"Jan");
        let (hours, minutes, seconds) = (second / 3600, second / 60 % 60, second % 60);
        let sign = if self.zone_min < 0 { '-' } else { '+' };
        let zone = self.zone_min.unsigned_abs();
        let zone = zone / 60 * 100 + zone % 60;
        write!(f, "{day:02}-{name}-{year:04} {hours:02}:{minutes:02}:{seconds:02} {sign}{zone:04}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_times() {
        let check = |text: &str, time_s: Option<i64>| {
            assert_eq!(parse_date_time(text).map(|date| date.time_s), time_s, "{text}");
        };
        check("01-Jan-1970 00:00:00 +0000", Some(0));
        check(" 1-Jan-1970 01:00:00 +0100", Some(0));
        check("17-Jul-1996 02:44:25 -0700", Some(837_596_665));
        check("29-Feb-2024 23:59:60 +0000", Some(1_709_251_200));
        check("29-Feb-2023 00:00:00 +0000", None);
        check("01-Jan-1970 24:00:00 +0000", None);
        check("01-Jan-1970 00:00:00", None);
        check("01-Jan-1970 00:00:00 0000", None);
        check("01-Foo-1970 00:00:00 +0000", None);
        check("", None);
        for text in ["17-Jul-1996 02:44:25 -0730", "31-Dec-1969 23:59:59 +0000"] {
            assert_eq!(parse_date_time(text).map(|date| date.to_string()).as_deref(), Some(text));
        }
    }

    #[test]
    fn every_day_converts_both_ways() {
        let first = Day::of_calendar(1, 1, 1).expect("a day").0;
        let last = Day::of_calendar(9999, 12, 31).expect("a day").0;
        assert_eq!(last - first + 1, 3_652_059);
        for number in (first..=last).step_by(13).chain([0, -1, 59, 60]) {
            let (year, month, day) = Day(number).calendar();
            let year = u16::try_from(year).expect("up to 9999");
            assert_eq!(Day::of_calendar(year, month, day), Some(Day(number)));
        }
        assert_eq!(Day::parse("1-Feb-1994"), Day::of_calendar(1994, 2, 1));
        assert_eq!(Day::parse("31-feb-1994"), None);
    }
}
