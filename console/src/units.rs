//! Numbers, sizes and times as people read them.
//!
//! Invariants: a text from here is short enough for a column and never ambiguous about its unit.
//! Not here: which numbers are shown.

use std::time::Duration;

use chrono::{DateTime, Local, Offset, TimeZone, Utc};

/// Whose clock the times are told by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zone {
    /// The person's.
    Local,
    /// Universal time: for tests and pictures that must not depend on the machine.
    Utc,
}

/// `1 204`: groups of three with a space that does not break.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push('\u{a0}');
        }
        out.push(digit);
    }
    out
}

/// `1 message`, `2 messages`.
pub(crate) fn of(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// `312 B`, `4.1 KB`, `12 MB`: decimal units, two digits that matter.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["KB", "MB", "GB", "TB", "PB"];
    if number < 1_000 {
        return format!("{number} B");
    }
    let mut tenths = number / 100;
    for unit in UNITS {
        if tenths < 100 {
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
        if tenths < 10_000 {
            return format!("{} {unit}", tenths / 10);
        }
        tenths /= 1_000;
    }
    format!("{} EB", tenths / 10)
}

/// `85 ms`, `1.2 s`, `3 min`, `2 h 11 m`, `4 d 3 h`.
pub(crate) fn span(time: Duration) -> String {
    let ms = time.as_millis();
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{seconds}.{} s", (ms % 1_000) / 100),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h {} m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// `13:04:22.118`.
pub(crate) fn clock(time_us: u64, zone: Zone) -> String {
    shown(time_us, zone, "%H:%M:%S%.3f")
}

/// `2026-09-01 13:04`.
pub(crate) fn date(time_us: u64, zone: Zone) -> String {
    shown(time_us, zone, "%Y-%m-%d %H:%M")
}

fn shown(time_us: u64, zone: Zone, format: &str) -> String {
    let utc = i64::try_from(time_us).ok().and_then(DateTime::<Utc>::from_timestamp_micros);
    let Some(utc) = utc else { return "?".to_owned() };
    let offset = match zone {
        Zone::Utc => Utc.fix(),
        Zone::Local => Local.offset_from_utc_datetime(&utc.naive_utc()).fix(),
    };
    utc.with_timezone(&offset).format(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        for (number, text) in [(0, "0"), (999, "999"), (1_204, "1 204"), (12_345_678, "12 345 678")]
        {
            assert_eq!(count(number), text.replace(' ', "\u{a0}"));
        }
        assert_eq!(of(1, "message", "messages"), "1 message");
        assert_eq!(of(0, "message", "messages"), "0 messages");
    }

    #[test]
    fn sizes() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 KB"),
            (4_190, "4.1 KB"),
            (12_600_000, "12 MB"),
            (999_999, "999 KB"),
            (3_200_000_000, "3.2 GB"),
            (u64::MAX, "18 EB"),
        ];
        for (number, text) in cases {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn spans() {
        let cases = [(0, "0 ms"), (85, "85 ms"), (1_250, "1.2 s"), (185_000, "3 min")];
        for (ms, text) in cases {
            assert_eq!(span(Duration::from_millis(ms)), text);
        }
        assert_eq!(span(Duration::from_secs(7_860)), "2 h 11 m");
        assert_eq!(span(Duration::from_secs(4 * 86_400 + 3 * 3_600)), "4 d 3 h");
    }

    #[test]
    fn clocks() {
        assert_eq!(clock(1_756_731_862_118_000, Zone::Utc), "13:04:22.118");
        assert_eq!(date(1_756_731_862_118_000, Zone::Utc), "2025-09-01 13:04");
        assert_eq!(clock(u64::MAX, Zone::Utc), "?");
    }
}
