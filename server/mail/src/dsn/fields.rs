//! The part of a notification that programs read: message/delivery-status (RFC 3464 2).
//!
//! ```text
//!   Reporting-MTA: dns; mx.grace.test          about the message
//!   Arrival-Date: …
//!
//!   Final-Recipient: rfc822; anna@example.org  about each recipient
//!   Action: failed
//!   Status: 5.1.1
//!   Diagnostic-Code: smtp; 550 5.1.1 No such user
//! ```
//! Invariants: a value stays in its field; without SMTPUTF8 all of it is ASCII.

use std::fmt::Write as _;

use super::{Recipient, Report};
use crate::date::Date;
use crate::header;

/// Longest value that is written, in bytes. A reply of several lines has some hundreds.
const VALUE_BYTES_MAX: usize = 2_048;
/// Longest run without white space that is written, in bytes: folding can only break at those.
const WORD_BYTES_MAX: usize = 900;

/// The body of the part.
pub(super) fn delivery_status(report: &Report<'_>, is_utf8: bool) -> String {
    let mut out = Fields { text: String::new(), is_utf8 };
    if let Some(id) = report.envelope_id {
        out.field("Original-Envelope-Id", id);
    }
    out.field("Reporting-MTA", &format!("dns; {}", report.hostname));
    out.date("Arrival-Date", report.arrived);
    for recipient in report.recipients {
        out.text.push_str("\r\n");
        out.recipient(recipient);
    }
    out.text
}

struct Fields {
    text: String,
    is_utf8: bool,
}

impl Fields {
    fn recipient(&mut self, recipient: &Recipient<'_>) {
        if let Some((kind, address)) = recipient.original {
            self.address("Original-Recipient", kind, address);
        }
        self.address("Final-Recipient", "rfc822", recipient.address);
        self.field("Action", &recipient.action.to_string());
        self.field("Status", &recipient.status.for_action(recipient.action).to_string());
        if let Some(remote) = recipient.remote {
            self.field("Remote-MTA", &format!("dns; {remote}"));
        }
        if let Some(reply) = recipient.reply {
            // RFC 3464 2.3.6: "smtp" is for what an SMTP server said.
            let kind = if recipient.remote.is_some() { "smtp" } else { "x-grace" };
            self.field("Diagnostic-Code", &format!("{kind}; {reply}"));
        }
        self.date("Last-Attempt-Date", recipient.last_attempt);
        self.date("Will-Retry-Until", recipient.will_retry_until);
    }

    /// RFC 3464 2.3.1, 2.3.2; RFC 6533 3 for addresses that are not ASCII.
    fn address(&mut self, name: &str, kind: &str, address: &str) {
        if address.is_ascii() {
            self.field(name, &format!("{kind}; {address}"));
        } else if self.is_utf8 {
            self.field(name, &format!("utf-8; {address}"));
        } else {
            self.field(name, &format!("utf-8; {}", embedded(address)));
        }
    }

    fn date(&mut self, name: &str, date: Option<Date>) {
        if let Some(date) = date {
            self.field(name, &date.to_rfc5322());
        }
    }

    fn field(&mut self, name: &str, value: &str) {
        let value = one_line(value, self.is_utf8);
        self.text.push_str(&header::fold(name, &value));
    }
}

/// A value that fits a field: no control characters, nothing but ASCII unless `is_utf8`, and white
/// space often enough for folding.
fn one_line(value: &str, is_utf8: bool) -> String {
    let end = value.floor_char_boundary(VALUE_BYTES_MAX);
    let mut out = String::with_capacity(end);
    let mut word = 0;
    for character in value.get(..end).unwrap_or_default().chars() {
        let shown = match character {
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => ' ',
            c if c.is_ascii() || is_utf8 => c,
            _ => '?',
        };
        word = if shown == ' ' { 0 } else { word + shown.len_utf8() };
        if word > WORD_BYTES_MAX {
            out.push(' ');
            word = shown.len_utf8();
        }
        out.push(shown);
    }
    out
}

/// utf-8-addr-xtext of RFC 6533 3: what is not plain ASCII as `\x{E4}`.
fn embedded(address: &str) -> String {
    let mut out = String::with_capacity(address.len());
    for character in address.chars() {
        match character {
            '+' | '=' | '\\' => _ = write!(out, "\\x{{{:X}}}", u32::from(character)),
            '!'..='~' => out.push(character),
            _ => _ = write!(out, "\\x{{{:X}}}", u32::from(character)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stays_in_its_field() {
        let mut fields = Fields { text: String::new(), is_utf8: false };
        fields.field("A", "x\r\nAction: delivered\r\n\r\nFinal-Recipient: y\u{85}\u{2028}\u{e4}");
        let expected = "A: x Action: delivered Final-Recipient: y ?\r\n";
        assert_eq!(fields.text, expected);
    }

    #[test]
    fn lines_are_folded_however_long_a_word_is() {
        let mut fields = Fields { text: String::new(), is_utf8: true };
        fields.field("Diagnostic-Code", &format!("smtp; {}", "\u{e4}".repeat(5_000)));
        assert!(fields.text.lines().all(|line| line.len() <= 998));
        assert!(fields.text.len() <= VALUE_BYTES_MAX + 100);
        assert_eq!(header::fields(fields.text.as_bytes()).count(), 1);
    }

    #[test]
    fn addresses_in_the_alphabet_of_their_way() {
        #[track_caller]
        fn check(is_utf8: bool, kind: &str, address: &str, expected: &str) {
            let mut fields = Fields { text: String::new(), is_utf8 };
            fields.address("A", kind, address);
            assert_eq!(fields.text, format!("A: {expected}\r\n"));
        }
        check(false, "rfc822", "a+b@x.example", "rfc822; a+b@x.example");
        check(true, "rfc822", "a+b@x.example", "rfc822; a+b@x.example");
        check(false, "utf-8", "j\\x{F6}rg@x.example", "utf-8; j\\x{F6}rg@x.example");
        check(true, "rfc822", "j\u{f6}+rg@x.example", "utf-8; j\u{f6}+rg@x.example");
        check(false, "rfc822", "j\u{f6}+\u{1f600}@x", "utf-8; j\\x{F6}\\x{2B}\\x{1F600}@x");
    }
}
