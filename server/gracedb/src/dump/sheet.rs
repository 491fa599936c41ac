//! How a dump is laid out: offset, bytes, name, meaning.
//!
//! Invariants: lines have a bounded length but for what they mean; nothing in them moves a
//! terminal's cursor. Not here: what anything means.

use std::fmt::Write as _;
use std::io::Write;

use crate::error::Error;

use super::{Dumped, Wanted};

/// Bytes of a line.
const LINE: usize = 16;
/// Lines of one field, beyond which bytes are counted and not shown.
const LINES_MAX: usize = 4;

/// What is written to.
pub(super) struct Sheet<'a> {
    out: &'a mut dyn Write,
    wanted: Wanted,
    dumped: Dumped,
    /// What comes now is before the part that is wanted.
    silent: bool,
}

impl<'a> Sheet<'a> {
    pub(super) fn new(out: &'a mut dyn Write, wanted: Wanted) -> Self {
        Self { out, wanted, dumped: Dumped::default(), silent: false }
    }

    pub(super) fn dumped(&self) -> Dumped {
        self.dumped
    }

    /// Whether more is wanted.
    pub(super) fn goes_on(&self) -> bool {
        self.dumped.records < self.wanted.records
    }

    /// Begins something that ends before byte `end`; says whether it is wanted.
    pub(super) fn begin(&mut self, end: u64) -> bool {
        self.silent = end <= self.wanted.at || !self.goes_on();
        !self.silent
    }

    /// Counts what was begun, and its heading.
    pub(super) fn heading(&mut self, text: &str) -> Result<(), Error> {
        self.dumped.records += u64::from(!self.silent);
        self.line("")?;
        self.line(text)
    }

    pub(super) fn line(&mut self, text: &str) -> Result<(), Error> {
        if self.silent {
            return Ok(());
        }
        let mut line = String::with_capacity(text.len() + 1);
        for letter in text.chars() {
            if letter.is_control() {
                line.extend(letter.escape_default());
            } else {
                line.push(letter);
            }
        }
        line.push('\n');
        let written = self.out.write_all(line.as_bytes());
        written.map_err(|error| Error::io("write", "the output", error))
    }

    /// Something is not as it was written.
    pub(super) fn broken(&mut self, at: u64, what: &str) -> Result<(), Error> {
        self.dumped.broken += u64::from(!self.silent);
        self.line(&format!("BROKEN at {at}: {what}"))
    }

    /// Bytes that stand at `at`, with their name and meaning beside the first line of them.
    pub(super) fn field(
        &mut self,
        at: u64,
        bytes: &[u8],
        name: &str,
        meaning: &str,
    ) -> Result<(), Error> {
        if self.silent {
            return Ok(());
        }
        let mut label = format!("{name:<10}  {meaning}");
        let mut shown = 0;
        for (line, at) in bytes.chunks(LINE).take(LINES_MAX).zip((at..).step_by(LINE)) {
            let mut pairs = String::with_capacity(3 * LINE);
            for byte in line {
                // Writing to a String cannot fail.
                let _ = write!(pairs, "{byte:02x} ");
            }
            let text = format!("{at:>10}  {pairs:<48} {label}");
            self.line(text.trim_end())?;
            label.clear();
            shown += line.len();
        }
        if bytes.is_empty() {
            let text = format!("{at:>10}  {:<48} {label}", "");
            self.line(text.trim_end())?;
        }
        if shown < bytes.len() {
            self.line(&format!("            … {} more bytes", bytes.len() - shown))?;
        }
        Ok(())
    }
}

/// Takes fields off the front of bytes and shows each.
pub(super) struct Row<'a, 'b, 'c> {
    pub(super) sheet: &'a mut Sheet<'b>,
    pub(super) at: u64,
    pub(super) rest: &'c [u8],
}

impl<'c> Row<'_, '_, 'c> {
    /// Shows the next `len` bytes, fewer where there are fewer, and says which they were.
    pub(super) fn take(
        &mut self,
        len: usize,
        name: &str,
        meaning: impl FnOnce(&[u8]) -> String,
    ) -> Result<&'c [u8], Error> {
        let (taken, rest) = self.rest.split_at(len.min(self.rest.len()));
        let meaning = meaning(taken);
        self.sheet.field(self.at, taken, name, &meaning)?;
        self.at += taken.len() as u64;
        self.rest = rest;
        Ok(taken)
    }

    /// A number of up to eight bytes, little-endian.
    pub(super) fn number(
        &mut self,
        len: usize,
        name: &str,
        meaning: impl FnOnce(u64) -> String,
    ) -> Result<u64, Error> {
        let mut value = 0;
        self.take(len, name, |bytes| {
            value = number(bytes);
            meaning(value)
        })?;
        Ok(value)
    }

    /// A number of seven bits a byte; `None`, and nothing is shown: it is none.
    pub(super) fn varint(
        &mut self,
        name: &str,
        meaning: impl FnOnce(u64) -> String,
    ) -> Result<Option<u64>, Error> {
        let mut rest = self.rest;
        let Some(value) = crate::row::take_varint(&mut rest) else { return Ok(None) };
        self.take(self.rest.len() - rest.len(), name, |_| meaning(value))?;
        Ok(Some(value))
    }

    /// Zeros that are reserved.
    pub(super) fn zeros(&mut self, len: usize) -> Result<(), Error> {
        let (reserved, rest) = self.rest.split_at(len.min(self.rest.len()));
        if reserved.iter().any(|byte| *byte != 0) {
            self.sheet.field(self.at, reserved, "reserved", "NOT ZERO")?;
        } else if reserved.len() <= LINE {
            self.sheet.field(self.at, reserved, "reserved", "")?;
        } else {
            let text = format!("{:>10}  {:<48} reserved    {} zeros", self.at, "", reserved.len());
            self.sheet.line(&text)?;
        }
        self.at += reserved.len() as u64;
        self.rest = rest;
        Ok(())
    }
}

/// Up to eight bytes as a number, little-endian.
pub(super) fn number(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Milliseconds since 1970 as a date.
pub(super) fn time(ms: u64) -> String {
    /// Days of 400 years, after which the calendar begins anew.
    const ERA_DAYS: u64 = 146_097;
    let is_leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let (days, of_day) = (ms / 86_400_000, ms % 86_400_000);
    let (mut year, mut day) = (1970 + days / ERA_DAYS * 400, days % ERA_DAYS);
    loop {
        let year_days = 365 + u64::from(is_leap(year));
        if day < year_days {
            break;
        }
        (year, day) = (year + 1, day - year_days);
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for month_days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if day < month_days {
            break;
        }
        (month, day) = (month + 1, day - month_days);
    }
    let (h, m, s) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1_000 % 60);
    let (day, ms) = (day + 1, ms % 1_000);
    format!("{year:04}-{month:02}-{day:02} {h:02}:{m:02}:{s:02}.{ms:03} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_dates() {
        assert_eq!(time(0), "1970-01-01 00:00:00.000 UTC");
        assert_eq!(time(951_782_400_000), "2000-02-29 00:00:00.000 UTC");
        assert_eq!(time(1_800_000_000_123), "2027-01-15 08:00:00.123 UTC");
        assert_eq!(time(4_107_542_399_999), "2100-02-28 23:59:59.999 UTC");
        assert_eq!(time(4_107_542_400_000), "2100-03-01 00:00:00.000 UTC");
        assert!(time(u64::MAX).ends_with("UTC"));
    }
}
