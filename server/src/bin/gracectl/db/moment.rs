//! Moments as people write them: `2026-11-26T14:46:54Z`, `2026-11-26 15:46 +01:00`, `90m` ago.
//!
//! Invariant: a time without a zone is UTC, as everything this program prints.
//! Not here: which moments there still are (`gracedb`).

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;

use grace_ipc::database::DbMoment;
use grace_mail::date::{days_from_civil, month_days};

/// Microseconds in a second.
const US_PER_S: u64 = 1_000_000;

/// Which moment; the newest if nothing is said.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct Wanted {
    /// As it was at this time, such as 2026-11-26T14:46:54Z; without a zone it is UTC
    #[arg(long, value_name = "TIME", value_parser = time_us)]
    at: Option<u64>,
    /// As it was so long ago, such as 90s, 15m, 2h or 3d
    #[arg(long, value_name = "TIME", value_parser = span_us)]
    ago: Option<u64>,
    /// As it was right after the transaction with this number
    #[arg(long, value_name = "NUMBER")]
    transaction: Option<u64>,
}

impl Wanted {
    pub(super) fn of(&self, now_us: u64) -> DbMoment {
        let Self { at, ago, transaction } = *self;
        let time_us = at.or(ago.map(|ago| now_us.saturating_sub(ago)));
        match (time_us, transaction) {
            (Some(time_us), _) => DbMoment::Time { time_us },
            (None, Some(number)) => DbMoment::Transaction { number },
            (None, None) => DbMoment::Newest,
        }
    }
}

/// Microseconds since 1970 UTC.
pub(super) fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// A time, or so long before now, in microseconds since 1970 UTC.
pub(crate) fn past_us(text: &str) -> Result<u64, String> {
    let ago = span_us(text).map(|ago| now_us().saturating_sub(ago));
    ago.or_else(|_| time_us(text)).map_err(|why| format!("{why}, nor one such as 15m or 3d ago"))
}

/// `15m` in microseconds.
fn span_us(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a time such as 90s, 15m, 2h or 3d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let count: u64 = text.strip_suffix(unit).and_then(|n| n.parse().ok()).ok_or_else(wrong)?;
    count.checked_mul(seconds * US_PER_S).ok_or_else(wrong)
}

/// A time after RFC 3339 5.6, seconds and zone optional, in microseconds since 1970 UTC.
fn time_us(text: &str) -> Result<u64, String> {
    parse(text).ok_or_else(|| {
        format!(
            "{text:?} is not a time such as 2026-11-26T14:46:54Z or \"2026-11-26 15:46 +01:00\""
        )
    })
}

fn parse(text: &str) -> Option<u64> {
    let (day, rest) = text.trim().split_once(['T', 't', ' '])?;
    let mut parts = day.splitn(3, '-');
    let year: u16 = number(parts.next()?, 4)?;
    let month = number(parts.next()?, 2).filter(|month| (1..=12).contains(month))?;
    let month = u8::try_from(month).ok()?;
    let of_month = u8::try_from(number(parts.next()?, 2)?).ok()?;
    if !(1..=month_days(year, month)).contains(&of_month) {
        return None;
    }
    let (clock, zone) = match rest.find(['Z', 'z', '+', '-']) {
        Some(at) => (rest.get(..at)?.trim_end(), rest.get(at..)?),
        None => (rest, "Z"),
    };
    let mut parts = clock.splitn(3, ':');
    let hour = number(parts.next()?, 2).filter(|hour| *hour < 24)?;
    let minute = number(parts.next()?, 2).filter(|minute| *minute < 60)?;
    let (second, fraction_us) = match parts.next() {
        Some(second) => seconds(second)?,
        None => (0, 0),
    };
    let days = days_from_civil(i64::from(year), month, of_month);
    let local_s = days * 86_400 + i64::from(hour) * 3_600 + i64::from(minute) * 60;
    let utc_s = local_s + i64::from(second) - zone_s(zone)?;
    Some(u64::try_from(utc_s).ok()? * US_PER_S + fraction_us)
}

/// Exactly so many digits.
fn number(text: &str, digits: usize) -> Option<u16> {
    let fits = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.parse().ok()).flatten()
}

/// `54` or `54.123`: seconds, and microseconds.
fn seconds(text: &str) -> Option<(u16, u64)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let known = fraction.get(..fraction.len().min(6))?;
    let all_digits = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let fraction_us = format!("{known:0<6}").parse().ok().filter(|_| all_digits)?;
    Some((number(whole, 2).filter(|second| *second < 60)?, fraction_us))
}

/// `Z` or `+01:00` in seconds.
fn zone_s(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, ahead) = match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(ahead), _) => (1, ahead),
        (_, Some(ahead)) => (-1, ahead),
        _ => return None,
    };
    let (hours, minutes) = ahead.split_once(':')?;
    let minutes = i64::from(number(minutes, 2).filter(|minutes| *minutes < 60)?);
    Some(sign * (i64::from(number(hours, 2)?) * 3_600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let expected = 1_790_000_000 * US_PER_S;
        for text in [
            "2026-09-21T14:13:20Z",
            "2026-09-21 14:13:20",
            "2026-09-21t14:13:20z",
            "2026-09-21T16:13:20+02:00",
            "2026-09-21 08:43:20 -05:30",
            "2026-09-21T14:13:20.000Z",
        ] {
            assert_eq!(time_us(text), Ok(expected), "{text}");
        }
        assert_eq!(time_us("2026-09-21 14:13:20.5"), Ok(expected + 500_000));
        assert_eq!(time_us("2026-09-21 14:13"), Ok(expected - 20 * US_PER_S));
        for text in [
            "",
            "now",
            "2026-09-21",
            "2026-9-21 14:13",
            "2026-02-29 14:13",
            "2026-09-21 24:00",
            "2026-09-21 14:60",
            "2026-09-21 14:13:60",
            "2026-09-21 14:13+1",
            "1969-12-31 23:59",
            "2026-09-21 14:13:20.",
            "2026-09-21 14:13:20.x",
            "2026-13-01 00:00",
        ] {
            assert!(time_us(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_are_numbers_with_a_unit() {
        assert_eq!(span_us("90s"), Ok(90 * US_PER_S));
        assert_eq!(span_us("2h"), Ok(7_200 * US_PER_S));
        assert_eq!(span_us("3d"), Ok(259_200 * US_PER_S));
        for text in ["", "h", "5", "-5m", "5 m", "5w", "99999999999999999d"] {
            assert!(span_us(text).is_err(), "{text}");
        }
    }

    #[test]
    fn one_moment_is_meant() {
        let wanted = |at, ago, transaction| Wanted { at, ago, transaction }.of(1_000);
        assert_eq!(wanted(None, None, None), DbMoment::Newest);
        assert_eq!(wanted(None, None, Some(7)), DbMoment::Transaction { number: 7 });
        assert_eq!(wanted(Some(5), None, None), DbMoment::Time { time_us: 5 });
        assert_eq!(wanted(None, Some(400), None), DbMoment::Time { time_us: 600 });
    }
}
