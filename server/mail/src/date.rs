//! Dates as mail writes them: `Mon, 23 Nov 2026 19:00:00 +0100`.
//!
//! Reads RFC 5322 3.3, the obsolete forms of 4.3, and what clients send instead (a missing weekday,
//! zone or time, `23-Nov-2026`, asctime, ISO 8601). Invariant: a [`Date`] is a day that exists in
//! the calendar.
//! Not here: a clock; whoever wants to write the present time brings it along.

/// Names of the months, in English, as RFC 5322 3.3 has them.
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Day 0 of the Unix epoch was a Thursday.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// Longest value looked at, in bytes. Dates have about forty; comments may add to that.
const VALUE_LEN_MAX: usize = 1_000;

const DAY_S: i64 = 86_400;

/// A moment with the zone it was written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    /// 1..=9999.
    pub year: u16,
    /// 1..=12.
    pub month: u8,
    /// 1..=31.
    pub day: u8,
    /// 0..=23.
    pub hour: u8,
    /// 0..=59.
    pub minute: u8,
    /// 0..=60: there are leap seconds.
    pub second: u8,
    /// How far local time is ahead of UTC.
    pub zone_minutes: i16,
}

impl Date {
    /// Reads the value of a Date field.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Date> {
        let value = value.get(..VALUE_LEN_MAX).unwrap_or(value);
        let text = without_comments(value);
        let mut draft = Draft::default();
        for word in text.split(|c: char| c.is_ascii_whitespace() || c == ',') {
            draft.word(word);
        }
        draft.finish()
    }

    /// That moment in UTC. `None` outside of the years 1 to 9999.
    #[must_use]
    pub fn from_timestamp(seconds: i64) -> Option<Date> {
        let (year, month, day) = civil_from_days(seconds.div_euclid(DAY_S));
        let of_day = seconds.rem_euclid(DAY_S);
        Some(Date {
            year: u16::try_from(year).ok().filter(|year| (1..=9999).contains(year))?,
            month,
            day,
            hour: u8::try_from(of_day / 3600).ok()?,
            minute: u8::try_from(of_day / 60 % 60).ok()?,
            second: u8::try_from(of_day % 60).ok()?,
            zone_minutes: 0,
        })
    }

    /// Seconds since 1970-01-01 00:00 UTC.
    #[must_use]
    pub fn timestamp_s(&self) -> i64 {
        let of_day =
            i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second);
        self.days() * DAY_S + of_day - i64::from(self.zone_minutes) * 60
    }

    /// The calendar day in the sender's own zone, counted from 1970-01-01. IMAP's SENTBEFORE,
    /// SENTON and SENTSINCE compare this: RFC 9051 6.4.4, "disregarding time and timezone".
    #[must_use]
    pub fn days(&self) -> i64 {
        days_from_civil(i64::from(self.year), self.month, self.day)
    }

    /// Writes the date as RFC 5322 3.3 asks.
    #[must_use]
    pub fn to_rfc5322(&self) -> String {
        let weekday = usize::try_from(self.days().rem_euclid(7)).ok();
        let weekday = weekday.and_then(|index| WEEKDAYS.get(index)).unwrap_or(&"Thu");
        let month = MONTHS.get(usize::from(self.month).wrapping_sub(1)).unwrap_or(&"Jan");
        let sign = if self.zone_minutes < 0 { '-' } else { '+' };
        let zone = self.zone_minutes.unsigned_abs();
        let Date { year, day, hour, minute, second, .. } = self;
        format!(
            "{weekday}, {day} {month} {year:04} {hour:02}:{minute:02}:{second:02} {sign}{:02}{:02}",
            zone / 60,
            zone % 60,
        )
    }
}

/// What has been read of a date so far.
#[derive(Default)]
struct Draft {
    year: Option<u16>,
    month: Option<u8>,
    day: Option<u8>,
    time: Option<(u8, u8, u8)>,
    afternoon: Option<bool>,
    zone_minutes: Option<i16>,
}

impl Draft {
    fn word(&mut self, word: &str) {
        let Some(&first) = word.as_bytes().first() else { return };
        if word.contains(':') {
            self.time_word(word);
        } else if first.is_ascii_digit() {
            self.digits(word);
        } else if first.is_ascii_alphabetic() {
            self.name(word);
        } else if self.time.is_some() && self.zone_minutes.is_none() {
            self.zone_minutes = zone(word);
        }
    }

    /// `23`, `2026`, `23-Nov-2026`, `2026-11-23`.
    fn digits(&mut self, word: &str) {
        if let Some((head, rest)) = word.split_once(['-', '/', '.'])
            && !rest.is_empty()
        {
            let (middle, tail) = rest.split_once(['-', '/', '.']).unwrap_or((rest, ""));
            if head.len() == 4 && middle.parse::<u8>().is_ok() {
                self.year(head);
                self.month = self.month.or(middle.parse().ok());
                self.day(tail);
            } else {
                self.day(head);
                self.name(middle);
                self.year(tail);
            }
        } else if word.len() <= 2 && self.day.is_none() {
            self.day(word);
        } else {
            self.year(word);
        }
    }

    fn day(&mut self, word: &str) {
        self.day = self.day.or(word.parse().ok());
    }

    fn year(&mut self, word: &str) {
        let year = word.parse::<u16>().ok().map(|year| match (word.len(), year) {
            // RFC 5322 4.3: two digits are 2000 to 2049 or 1950 to 1999, three digits are from
            // 1900.
            (2, 0..=49) => year + 2000,
            (2 | 3, _) => year + 1900,
            _ => year,
        });
        self.year = self.year.or(year);
    }

    /// `Nov`, `November`, `Mon`, `PM`, `GMT`.
    fn name(&mut self, word: &str) {
        let head = word.get(..3).unwrap_or(word);
        let month = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(head));
        if let (Some(month), None) = (month, self.month) {
            self.month = u8::try_from(month + 1).ok();
        } else if word.eq_ignore_ascii_case("am") || word.eq_ignore_ascii_case("pm") {
            self.afternoon = Some(word.eq_ignore_ascii_case("pm"));
        } else if self.time.is_some() && self.zone_minutes.is_none() {
            self.zone_minutes = zone(word);
        }
    }

    /// `19:00`, `19:00:00`, `19:00:00.5`, each with a zone behind; `2026-11-23T19:00:00Z`.
    fn time_word(&mut self, word: &str) {
        let word = match word.split_once(['T', 't']) {
            Some((day, time))
                if day.starts_with(|c: char| c.is_ascii_digit()) && day.contains('-') =>
            {
                self.digits(day);
                time
            }
            _ => word,
        };
        let end = word.find(|c: char| !(c.is_ascii_digit() || c == ':' || c == '.'));
        let (time, behind) = word.split_at(end.unwrap_or(word.len()));
        let mut numbers = time.split(':').map(|n| n.split('.').next().unwrap_or(n).parse().ok());
        let (hour, minute) = (numbers.next().flatten(), numbers.next().flatten());
        let second = numbers.next().unwrap_or(Some(0));
        if let (None, Some(hour), Some(minute), Some(second)) = (self.time, hour, minute, second) {
            self.time = Some((hour, minute, second));
        }
        if behind.starts_with(|c: char| c.is_ascii_alphabetic()) {
            self.name(behind);
        } else if !behind.is_empty() && self.zone_minutes.is_none() {
            self.zone_minutes = zone(behind);
        }
    }

    fn finish(self) -> Option<Date> {
        let (year, month, day) = (self.year?, self.month?, self.day?);
        let (hour, minute, second) = self.time.unwrap_or((0, 0, 0));
        let hour = match (self.afternoon, hour) {
            (Some(true), 1..=11) => hour + 12,
            (Some(false), 12) => 0,
            _ => hour,
        };
        let valid = (1..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=month_days(year, month)).contains(&day)
            && hour <= 23
            && minute <= 59
            && second <= 60;
        let zone_minutes = self.zone_minutes.unwrap_or(0);
        valid.then_some(Date { year, month, day, hour, minute, second, zone_minutes })
    }
}

/// A zone in minutes; RFC 5322 4.3: a name that is not listed there says nothing, so it is UTC.
fn zone(word: &str) -> Option<i16> {
    let (sign, digits) = match word.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => {
            let hours = match word.to_ascii_uppercase().as_str() {
                "EDT" => -4,
                "EST" | "CDT" => -5,
                "CST" | "MDT" => -6,
                "MST" | "PDT" => -7,
                "PST" => -8,
                _ => 0,
            };
            return Some(hours * 60);
        }
    };
    let digits = digits.replace(':', "");
    let number: i16 = digits.parse().ok().filter(|_| (3..=4).contains(&digits.len()))?;
    let (hours, minutes) = (number / 100, number % 100);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes))
}

/// The value as text, comments taken out (RFC 5322 3.2.2), other than ASCII too.
fn without_comments(value: &[u8]) -> String {
    let mut depth = 0_usize;
    let mut text = String::with_capacity(value.len());
    for &byte in value {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            // RFC 5322 4.3: obsolete times have white space around the colons.
            b':' => {
                text.truncate(text.trim_ascii_end().len());
                text.push(':');
            }
            byte if byte.is_ascii_whitespace() && text.ends_with(':') => {}
            byte if byte.is_ascii() => text.push(char::from(byte)),
            _ => text.push(' '),
        }
    }
    text
}

/// Days of a month of the Gregorian calendar; `month` is 1 to 12.
#[must_use]
pub fn month_days(year: u16, month: u8) -> u8 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to this day of the Gregorian calendar. Years start in March here, so that
/// the leap day is the last one.
#[must_use]
pub fn days_from_civil(year: i64, month: u8, day: u8) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let from_march = (i64::from(month) + 9) % 12;
    let day_of_year = (153 * from_march + 2) / 5 + i64::from(day) - 1;
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day, days after 1970-01-01: the reverse of [`days_from_civil`].
#[must_use]
pub fn civil_from_days(days: i64) -> (i64, u8, u8) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, u8::try_from(month).unwrap_or(1), u8::try_from(day).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `value`, writes it as RFC 5322 says.
    fn check(value: &str, expected: &str) {
        let date = Date::parse(value.as_bytes()).map(|date| date.to_rfc5322());
        assert_eq!(date.as_deref().unwrap_or("none"), expected, "{value:?}");
    }

    #[test]
    fn dates_of_rfc_5322() {
        check("Fri, 21 Nov 1997 09:55:06 -0600", "Fri, 21 Nov 1997 09:55:06 -0600");
        check("21 Nov 1997 09:55 +0000", "Fri, 21 Nov 1997 09:55:00 +0000");
        check(
            "Thu,\r\n 13\r\n Feb\r\n 1969\r\n 23:32\r\n -0330 (Newfoundland Time)",
            "Thu, 13 Feb 1969 23:32:00 -0330",
        );
        check("21 Nov 97 09:55:06 GMT", "Fri, 21 Nov 1997 09:55:06 +0000");
        check("Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", "Fri, 21 Nov 1997 09:55:06 -0600");
        check("1 Jan 49 00:00 EDT", "Fri, 1 Jan 2049 00:00:00 -0400");
        check("1 Jan 100 00:00 Z", "Sat, 1 Jan 2000 00:00:00 +0000");
    }

    #[test]
    fn dates_as_clients_write_them() {
        check("Mon Nov 23 19:00:01 2026", "Mon, 23 Nov 2026 19:00:01 +0000");
        check("Mon Nov 23 19:00:01 PST 2026", "Mon, 23 Nov 2026 19:00:01 -0800");
        check("23-Nov-2026 19:00:01 +0100", "Mon, 23 Nov 2026 19:00:01 +0100");
        check("2026-11-23T19:00:01Z", "Mon, 23 Nov 2026 19:00:01 +0000");
        check("2026-11-23 19:00:01.123 +05:30", "Mon, 23 Nov 2026 19:00:01 +0530");
        check("Monday, 23 November 2026 7:00:01 PM +0000", "Mon, 23 Nov 2026 19:00:01 +0000");
        check("23 Nov 2026 19:00:01+0200", "Mon, 23 Nov 2026 19:00:01 +0200");
        check("23 Nov 2026", "Mon, 23 Nov 2026 00:00:00 +0000");
        check("Mon, 23 Nov 2026 23:59:60 +0000", "Mon, 23 Nov 2026 23:59:60 +0000");
    }

    #[test]
    fn what_is_no_date() {
        for value in [
            "",
            "yesterday",
            "31 Feb 2026 10:00",
            "0 Jan 2026",
            "1 Jan 0",
            "1 Jan 2026 24:00",
            "1 Jan 2026 10:60",
            "Nov 2026",
            "((((",
            "\u{e4}",
            "99999999999 Jan 1",
            "::",
            "-",
            "+",
        ] {
            check(value, "none");
        }
    }

    #[test]
    fn timestamps_agree_with_the_calendar() {
        let stamp = |value: &str| Date::parse(value.as_bytes()).map(|date| date.timestamp_s());
        assert_eq!(stamp("1 Jan 1970 00:00 +0000"), Some(0));
        assert_eq!(stamp("1 Jan 1970 01:00 +0100"), Some(0));
        assert_eq!(stamp("29 Feb 2000 12:00 -0130"), Some(951_831_000));
        assert_eq!(stamp("31 Dec 1969 23:59:59 GMT"), Some(-1));
        for days in -719_162..2_932_896 {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
        let date = Date::from_timestamp(951_831_000).expect("inside the years");
        assert_eq!(date.to_rfc5322(), "Tue, 29 Feb 2000 13:30:00 +0000");
    }

    #[test]
    fn the_day_is_the_senders() {
        let date = Date::parse(b"1 Jan 2026 00:30 +1300").expect("a date");
        assert_eq!(date.days(), days_from_civil(2026, 1, 1));
        assert!(date.timestamp_s() < date.days() * DAY_S);
    }
}
