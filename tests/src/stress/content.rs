//! The messages sessions make: each has a number, from which all its bytes follow.

use std::fmt::Write as _;

/// Lines of the longest message; some are larger than what the database keeps within a row.
const LINES_MAX: u64 = 90;

/// The message with a number.
pub(super) fn message(number: u64) -> String {
    let mut text = format!("Subject: number {number}\r\nMessage-ID: <{number}@grace.test>\r\n\r\n");
    for line in 0..number * 7 % LINES_MAX {
        let bits = number ^ line << 32;
        write!(text, "line {line} of number {number} {bits:016x}\r\n").expect("a String takes any");
    }
    text
}

/// The number of a message, if every byte is as it should be.
pub(super) fn number(body: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(body).ok()?;
    let number = text.strip_prefix("Subject: number ")?.split("\r\n").next()?.parse().ok()?;
    (message(number) == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_known_by_all_its_bytes() {
        for told in 0..200 {
            let text = message(told);
            assert_eq!(number(text.as_bytes()), Some(told));
            assert_eq!(number(&text.as_bytes()[..text.len() - 1]), None);
        }
    }
}
