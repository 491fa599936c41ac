//! Sizes, counts and times for people.
//!
//! Not here: programs' figures, which are JSON and exact ([`mod@crate::print`]).

use std::time::Duration;

/// `12.3 MiB`: three digits are enough to compare by.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1_024 {
        return format!("{count} B");
    }
    let (mut tenths, mut units) = (u128::from(count) * 10 / 1_024, UNITS.iter());
    let mut unit = units.next().copied().unwrap_or_default();
    for larger in units {
        if tenths < 10_240 {
            break;
        }
        (tenths, unit) = (tenths / 1_024, larger);
    }
    if tenths < 1_000 {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    } else {
        format!("{} {unit}", tenths / 10)
    }
}

/// `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 file`, `1,234 files`.
pub(crate) fn some(number: u64, one: &str, more: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { more })
}

/// `3 s`, `12 min`, `4 h 5 min`, `2 d 3 h`.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..60 => format!("{seconds} s"),
        60..3_600 if seconds < 600 && !seconds.is_multiple_of(60) => {
            format!("{} min {} s", seconds / 60, seconds % 60)
        }
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => two(seconds, 3_600, "h", 60, "min"),
        _ => two(seconds, 86_400, "d", 3_600, "h"),
    }
}

fn two(seconds: u64, large_s: u64, large: &str, small_s: u64, small: &str) -> String {
    match seconds % large_s / small_s {
        0 => format!("{} {large}", seconds / large_s),
        rest => format!("{} {large} {rest} {small}", seconds / large_s),
    }
}

/// `1.3`, and `-` of nothing.
pub(crate) fn times(whole: u64, part: u64) -> String {
    match (u128::from(whole) * 100 + u128::from(part) / 2).checked_div(u128::from(part)) {
        Some(hundredths) => format!("{}.{:02}", hundredths / 100, hundredths % 100),
        None => "-".to_owned(),
    }
}

/// `62%`, and `-` of nothing.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    match (u128::from(part) * 100).checked_div(u128::from(whole)) {
        Some(percent) => format!("{percent}%"),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1_023), "1023 B");
        assert_eq!(bytes(1_024), "1.0 KiB");
        assert_eq!(bytes(12_900_000), "12.3 MiB");
        assert_eq!(bytes(320 << 20), "320 MiB");
        assert_eq!(bytes(u64::MAX), "15.9 EiB");
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(some(1, "file", "files"), "1 file");
        assert_eq!(some(1_000, "file", "files"), "1,000 files");
        assert_eq!((times(130, 100), times(1, 0)), ("1.30".to_owned(), "-".to_owned()));
        assert_eq!((percent(1, 3), percent(1, 0)), ("33%".to_owned(), "-".to_owned()));
    }

    #[test]
    fn times_have_the_two_units_that_matter() {
        let span = |seconds| span(Duration::from_secs(seconds));
        assert_eq!(span(59), "59 s");
        assert_eq!(span(90), "1 min 30 s");
        assert_eq!(span(120), "2 min");
        assert_eq!(span(3_599), "59 min");
        assert_eq!(span(3_600), "1 h");
        assert_eq!(span(14_700), "4 h 5 min");
        assert_eq!(span(86_400 * 2 + 10_800), "2 d 3 h");
        assert_eq!(super::span(Duration::from_millis(12)), "12 ms");
    }
}
