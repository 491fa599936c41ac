//! What a server adds to, counts in and takes out of the header of a message it takes in.
//!
//! ```text
//!   submission (RFC 6409 8)   Date, Message-ID, Sender, where they are missing: lines for the top
//!   everywhere                Received, counted: a message in circles has many (RFC 5321 6.3)
//!   everywhere                Authentication-Results in our own name: somebody forged them
//! ```
//! Invariants: nothing that stands in the message is changed, only added to or left out; time is
//! linear in the header, and what is counted stops at its limit.
//! Not here: who may write From whom, and mail that is only relayed, which gets no repairs.

use std::ops::Range;

use crate::address::{Charset, Mailbox};
use crate::date::Date;
use crate::header::{self, Field};
use crate::mailbox_list::{self, Address};

/// Most Received fields that are counted. Any limit for hops is far below (RFC 5321 6.3: 100).
pub const HOPS_COUNTED_MAX: usize = 1_000;
/// How much of a header is searched for them, in bytes. Each server puts its own on top.
pub const HOPS_BYTES_MAX: usize = 1_024 * 1_024;

/// When a Sender field is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SenderRule {
    /// Where RFC 5322 3.6.2 wants one: From names several people.
    IfSeveral,
    /// Also where From is not who logged in (RFC 6409 8.1).
    IfAnother,
}

/// What is known about a submission.
#[derive(Debug, Clone, Copy)]
pub struct Submission<'a> {
    /// Now.
    pub date: Date,
    /// The left side of a Message-ID that no other message has: letters, digits, dots and dashes.
    pub unique: &'a str,
    /// The right side of it.
    pub hostname: &'a str,
    /// The addresses of who logged in, the one to be named first. Empty where nobody did.
    pub own: &'a [Mailbox],
    /// When a Sender field is added.
    pub sender: SenderRule,
}

/// The lines to put on top of a submitted message, each with its CRLF; empty if it lacks nothing.
#[must_use]
pub fn repairs(block: &[u8], submission: &Submission<'_>) -> String {
    let mut lines = String::new();
    let mut seen = Seen::default();
    for field in header::fields(block) {
        seen.take(&field);
    }
    if !seen.date {
        lines.push_str(&format!("Date: {}\r\n", submission.date.to_rfc5322()));
    }
    if !seen.message_id {
        let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        let unique: String = submission.unique.chars().filter(is_plain).collect();
        lines.push_str(&format!("Message-ID: <{unique}@{}>\r\n", submission.hostname));
    }
    if let Some(own) = submission.own.first()
        && !seen.sender
        && seen.needs_sender(submission)
    {
        lines.push_str(&format!("Sender: <{own}>\r\n"));
    }
    lines
}

#[derive(Default)]
struct Seen {
    date: bool,
    message_id: bool,
    sender: bool,
    from: Vec<Address>,
}

impl Seen {
    fn take(&mut self, field: &Field<'_>) {
        match field.name.to_ascii_lowercase().as_slice() {
            b"date" => self.date = true,
            b"message-id" => self.message_id = true,
            b"sender" => self.sender = true,
            b"from" if self.from.is_empty() => {
                self.from = mailbox_list::parse(&header::unfold(field.value));
            }
            _ => {}
        }
    }

    fn needs_sender(&self, submission: &Submission<'_>) -> bool {
        let mut people = self.from.iter().filter_map(|address| match address {
            Address::Mailbox { local, host, .. } => Some((local, host)),
            Address::GroupStart { .. } | Address::GroupEnd => None,
        });
        let (first, second) = (people.next(), people.next());
        match (first, second, submission.sender) {
            (Some(_), Some(_), _) => true,
            (Some((local, host)), None, SenderRule::IfAnother) => {
                !submission.own.iter().any(|own| is_same(own, local, host))
            }
            _ => false,
        }
    }
}

/// Whether a header's address is this one. Nobody gets two accounts by capital letters alone.
fn is_same(own: &Mailbox, local: &[u8], host: &[u8]) -> bool {
    let host = std::str::from_utf8(host).ok();
    let host = host.and_then(|host| crate::address::Host::parse(host, Charset::Utf8).ok());
    host.as_ref() == Some(own.host()) && own.local().as_str().as_bytes().eq_ignore_ascii_case(local)
}

/// How many servers a message has passed: its Received fields (RFC 5321 6.3), up to
/// [`HOPS_COUNTED_MAX`].
#[must_use]
pub fn hops(block: &[u8]) -> usize {
    let block = block.get(..HOPS_BYTES_MAX).unwrap_or(block);
    let received = header::fields(block).filter(|field| field.is(b"received"));
    received.take(HOPS_COUNTED_MAX).count()
}

/// The Authentication-Results fields that say they are from us, as byte ranges of the header block
/// to leave out; also those that do not say clearly whom they are from. `own` are our names
/// (RFC 8601 5: whoever could add such a field could vouch for himself).
#[must_use]
pub fn forged_results(block: &[u8], own: &[&str]) -> Vec<Range<usize>> {
    let results = header::fields(block).filter(|field| field.is(b"authentication-results"));
    let is_forged = |field: &Field<'_>| match authserv_id(&header::unfold(field.value)) {
        Some(id) => own.iter().any(|own| is_same_name(&id, own)),
        None => true,
    };
    results.filter(is_forged).map(|field| field.range()).collect()
}

/// authserv-id of RFC 8601 2.2: a token or a quoted string after white space and comments.
fn authserv_id(value: &[u8]) -> Option<String> {
    let mut at = skip_comments(value, 0);
    let id = if value.get(at) == Some(&b'"') {
        header::quoted_string(value, &mut at)
    } else {
        let is_end = |byte: &u8| byte.is_ascii_whitespace() || b";(\"".contains(byte);
        let rest = value.get(at..)?;
        rest.get(..rest.iter().position(is_end).unwrap_or(rest.len()))?.to_vec()
    };
    String::from_utf8(id).ok().filter(|id| !id.trim().is_empty())
}

/// Where the first byte stands that is neither white space nor in a comment (RFC 5322 3.2.2).
fn skip_comments(value: &[u8], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0_usize);
    while let Some(&byte) = value.get(at) {
        match byte {
            b'(' => depth += 1,
            b')' if depth > 0 => depth -= 1,
            b'\\' if depth > 0 => at += 1,
            byte if byte.is_ascii_whitespace() || depth > 0 => {}
            _ => break,
        }
        at += 1;
    }
    at
}

/// Whether two names are one: in any case, with a dot at the end or without, in letters or in
/// their ASCII form. A reader of the field may be as generous.
fn is_same_name(name: &str, other: &str) -> bool {
    let plain = |name: &str| {
        let name = name.trim().trim_end_matches('.');
        match crate::address::Domain::parse(name, Charset::Utf8) {
            Ok(domain) => domain.as_str().to_owned(),
            Err(_) => name.to_lowercase(),
        }
    };
    plain(name) == plain(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sender: SenderRule, block: &str, expected: &str) {
        let own = ["anna@grace.test", "sales@grace.test"].map(|own| own.parse().unwrap());
        let submission = Submission {
            date: Date::from_timestamp(0).unwrap(),
            unique: "7f3a.1\r\n>",
            hostname: "mx.grace.test",
            own: &own,
            sender,
        };
        let lines = repairs(block.as_bytes(), &submission);
        assert_eq!(lines.replace("\r\n", "|"), expected, "{block:?}");
    }

    const WHOLE: &str = "Date: x\r\nMessage-ID: <a@b>\r\n";

    #[test]
    fn date_and_message_id_are_added_where_they_are_missing() {
        let date = "Date: Thu, 1 Jan 1970 00:00:00 +0000|";
        let id = "Message-ID: <7f3a.1@mx.grace.test>|";
        check(SenderRule::IfSeveral, "", &format!("{date}{id}"));
        check(SenderRule::IfSeveral, "Message-Id:<x>\r\n", date);
        check(SenderRule::IfSeveral, "DATE: yesterday\n\nMessage-ID: <in@the.body>\n", id);
        check(SenderRule::IfSeveral, WHOLE, "");
    }

    #[test]
    fn sender_is_added_where_the_rule_says() {
        use SenderRule::{IfAnother, IfSeveral};
        let sender = "Sender: <anna@grace.test>|";
        #[rustfmt::skip]
        let rows: &[(SenderRule, &str, &str)] = &[
            (IfSeveral, "From: Anna <anna@grace.test>, bob@x.example", sender),
            (IfSeveral, "From: Team: anna@grace.test, bob@x.example;", sender),
            (IfSeveral, "From: bob@x.example", ""),
            (IfAnother, "From: bob@x.example", sender),
            (IfAnother, "From: a\u{e4}\u{0}@x", sender),
            (IfAnother, "From: \"A\" <Anna@GRACE.test>", ""),
            (IfAnother, "From: sales@grace.test", ""),
            (IfAnother, "From: bob@x.example\r\nSender: eve@x.example", ""),
            (IfAnother, "From: anna@grace.test, bob@x.example\r\nSender: anna@grace.test", ""),
            (IfAnother, "To: bob@x.example", ""),
            (IfAnother, "From:", ""),
        ];
        for (rule, from, expected) in rows {
            check(*rule, &format!("{WHOLE}{from}\r\n\r\n"), expected);
        }
    }

    #[test]
    fn nobody_is_named_who_did_not_log_in() {
        let submission = Submission {
            date: Date::from_timestamp(0).unwrap(),
            unique: "1",
            hostname: "mx.grace.test",
            own: &[],
            sender: SenderRule::IfAnother,
        };
        let block = format!("{WHOLE}From: a@b, c@d\r\n");
        assert_eq!(repairs(block.as_bytes(), &submission), "");
    }

    #[test]
    fn hops_are_counted_to_a_limit() {
        let received = "Received: from a\r\n\tby b\r\n";
        let block = format!(
            "{}received : x\nX-Received: no\n\nReceived: in the body\n",
            received.repeat(3)
        );
        assert_eq!(hops(block.as_bytes()), 4);
        assert_eq!(hops(received.repeat(5_000).as_bytes()), HOPS_COUNTED_MAX);
        let mut deep = "X: y\r\n".repeat(1_000_000);
        deep.push_str(received);
        assert_eq!(hops(deep.as_bytes()), 0);
        assert_eq!(hops(b""), 0);
    }

    /// Takes the forged fields out of `Authentication-Results: {value}`.
    #[track_caller]
    fn is_forged(value: &str, expected: bool) {
        let block = format!("A: 1\r\nAuthentication-Results: {value}\r\nB: 2\r\n\r\n");
        let ranges = forged_results(block.as_bytes(), &["mx.grace.test", "m\u{fc}ller.example"]);
        let mut kept = block.clone();
        for range in ranges.into_iter().rev() {
            kept.replace_range(range, "");
        }
        let expected = if expected { "A: 1\r\nB: 2\r\n\r\n" } else { &block };
        assert_eq!(kept, expected, "{value:?}");
    }

    #[test]
    fn results_in_our_name_are_found_however_they_are_written() {
        for value in [
            "mx.grace.test; spf=pass",
            "MX.Grace.Test;dkim=pass",
            "mx.grace.test.; none",
            "mx.grace.test 1; none",
            "mx.grace.test(hello); none",
            "(a \\) (nested) comment)\r\n\tmx.grace.test\r\n\t; none",
            "\"mx.grace.test\"; none",
            "\"mx\\.grace.test\"; none",
            "mx.grace.test",
            "xn--mller-kva.example; none",
            "M\u{dc}LLER.example; none",
            "",
            "; spf=pass",
            "(only a comment",
            "\"\"; none",
        ] {
            is_forged(value, true);
        }
        for value in ["mx.other.example; spf=pass", "grace.test; none", "x (mx.grace.test); none"] {
            is_forged(value, false);
        }
    }

    #[test]
    fn all_of_them_are_found_and_only_in_the_header() {
        let field = "authentication-results : mx.grace.test; none\n";
        let block = format!("{}ARC-{field}X: y\n\n{field}", field.repeat(3));
        let ranges = forged_results(block.as_bytes(), &["mx.grace.test"]);
        assert_eq!(ranges, [0, 1, 2].map(|n| n * field.len()..(n + 1) * field.len()));
    }
}
