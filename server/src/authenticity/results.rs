//! The `Authentication-Results:` field (RFC 8601): ours written, forged ones of our name left out.
//!
//! Invariants: a peer's words cannot leave the place they are put in; lines are folded well below
//! the 998 bytes of RFC 5322 2.1.1; our name stands in no field but our own.

use std::fmt::Write as _;

use grace_mail::header::{self, Field};

use super::trust::without_comments;
use super::verdict::{Found, Outcome, Spf, Verdict};

/// Longest of a peer's words that is shown, in bytes: the longest domain there can be.
const WORD_BYTES_MAX: usize = 255;

/// A result of another check than those of this module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extra {
    /// Its method (RFC 8601 2.7); `x-…` where none is registered.
    pub method: &'static str,
    /// The result.
    pub found: Found,
    /// What was checked: names of properties and their values.
    pub properties: Vec<(&'static str, String)>,
}

/// The whole field with its CRLF.
#[must_use]
pub fn field(hostname: &str, verdict: &Verdict, more: &[Extra]) -> String {
    format!("Authentication-Results: {hostname}{}\r\n", results(verdict, more))
}

/// What follows our name in it, each result after its semicolon (RFC 8601 2.2).
#[must_use]
pub fn results(verdict: &Verdict, more: &[Extra]) -> String {
    let mut out = String::new();
    result(&mut out, "iprev", &verdict.iprev.found, &[("policy.iprev", &verdict.peer.to_string())]);
    for (kind, Spf { found, domain, .. }) in
        [("smtp.helo", &verdict.helo), ("smtp.mailfrom", &verdict.mail_from)]
    {
        result(&mut out, "spf", found, &[(kind, domain)]);
    }
    for dkim in &verdict.dkim {
        let properties = [
            ("header.d", dkim.domain.as_str()),
            ("header.i", &dkim.identity),
            ("header.s", &dkim.selector),
            ("header.b", &dkim.start),
        ];
        result(&mut out, "dkim", &dkim.found, &properties);
    }
    if verdict.dkim.is_empty() {
        result(&mut out, "dkim", &Found::bare(Outcome::None), &[]);
    }
    let sealer = verdict.arc.sealers.last().map_or("", String::as_str);
    result(&mut out, "arc", &verdict.arc.found, &[("header.d", sealer)]);
    let dmarc = &verdict.dmarc;
    let properties =
        [("header.from", dmarc.domain.as_str()), ("policy.dmarc", dmarc.policy.word())];
    result(&mut out, "dmarc", &dmarc.found, &properties);
    for Extra { method, found, properties } in more {
        let properties: Vec<_> = properties.iter().map(|(name, value)| (*name, &**value)).collect();
        result(&mut out, method, found, &properties);
    }
    out
}

/// One result, on a line of its own.
fn result(out: &mut String, method: &str, found: &Found, properties: &[(&str, &str)]) {
    let _ = write!(out, ";\r\n\t{method}={}", found.outcome);
    if !found.reason.is_empty() {
        let _ = write!(out, "\r\n\t  ({})", in_comment(&found.reason));
    }
    for (name, value) in properties.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = write!(out, "\r\n\t  {name}={}", as_value(value));
    }
}

/// A text that can stand in a comment (RFC 5322 3.2.2).
fn in_comment(text: &str) -> String {
    let safe =
        |c: char| if c.is_ascii_graphic() && !"()\\".contains(c) || c == ' ' { c } else { '?' };
    text.chars().take(WORD_BYTES_MAX).map(safe).collect()
}

/// A value: as it is where it is a token or an address (RFC 8601 2.2), else a quoted string.
fn as_value(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`{|}~@:/".contains(c);
    let is_plain = value.chars().all(plain);
    let value = value.chars().take(WORD_BYTES_MAX);
    if is_plain {
        return value.collect();
    }
    let safe =
        |c: char| if c.is_ascii_graphic() && !"\"\\".contains(c) || c == ' ' { c } else { '?' };
    format!("\"{}\"", value.map(safe).collect::<String>())
}

/// A header block without the fields that claim to be ours (RFC 8601 5).
#[must_use]
pub fn without_forged(block: &[u8], hostname: &str) -> Vec<u8> {
    let mut kept = Vec::with_capacity(block.len());
    let mut at = 0;
    for field in header::fields(block) {
        if is_forged(&field, hostname) {
            kept.extend_from_slice(block.get(at..field.start).unwrap_or_default());
            at = field.range().end;
        }
    }
    kept.extend_from_slice(block.get(at..).unwrap_or_default());
    kept
}

/// Whether a field speaks in our name: its first word, outside of comments, is our name.
fn is_forged(field: &Field<'_>, hostname: &str) -> bool {
    if !field.is(b"Authentication-Results") {
        return false;
    }
    // A name may stand in quotes; what quotes it is dropped here, not what it says.
    let value: Vec<u8> = field.value.iter().copied().filter(|&byte| byte != b'"').collect();
    let value = without_comments(&value);
    let is_end = |byte: &u8| byte.is_ascii_whitespace() || *byte == b';';
    let name = value.trim_ascii_start().split(is_end).next().unwrap_or_default();
    name.strip_suffix(b".").unwrap_or(name).eq_ignore_ascii_case(hostname.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(block: &str) -> String {
        let kept = without_forged(block.as_bytes(), "mx.grace.test");
        String::from_utf8(kept).expect("ASCII")
    }

    #[test]
    fn nobody_speaks_in_our_name() {
        let forged = [
            "Authentication-Results: mx.grace.test; dmarc=pass\r\n",
            "authentication-results:\r\n\tMX.Grace.Test;\r\n\tdkim=pass header.d=bank.example\r\n",
            "Authentication-Results: mx.grace.test 1; spf=pass\r\n",
            "Authentication-Results: (a \\) comment) mx.grace.test. ; none\r\n",
            "Authentication-Results : \"mx.grace.test\"; dmarc=pass\r\n",
            "Authentication-Results: mx.grace.test\r\n",
        ];
        let kept = "Authentication-Results: mx.other.test; dmarc=pass\r\nSubject: hi\r\n";
        for field in forged {
            assert_eq!(
                left(&format!("{field}{kept}{field}\r\n")),
                format!("{kept}\r\n"),
                "{field}"
            );
        }
        let others = [
            "Authentication-Results: mx.grace.test.evil.example; dmarc=pass\r\n\r\n",
            "Authentication-Results: amx.grace.test; dmarc=pass\r\n\r\n",
            "X-Authentication-Results: mx.grace.test; dmarc=pass\r\n\r\n",
            "ARC-Authentication-Results: i=1; mx.grace.test; dmarc=pass\r\n\r\n",
            "no field mx.grace.test\r\nSubject: x\r\n\r\n",
            "\r\n",
            "",
        ];
        for block in others {
            assert_eq!(left(block), block);
        }
    }

    #[test]
    fn words_of_others_stay_in_their_place() {
        assert_eq!(as_value("a@b.example"), "a@b.example");
        assert_eq!(as_value("2001:db8::1"), "2001:db8::1");
        assert_eq!(as_value("a b\"c\\d\r\n"), "\"a b?c?d??\"");
        assert_eq!(as_value("x; dmarc=pass"), "\"x; dmarc=pass\"");
        assert_eq!(in_comment("a (b) \\ c\r\nd é"), "a ?b? ? c??d ?");
        assert_eq!(as_value(&"x".repeat(1_000)).len(), WORD_BYTES_MAX);
    }
}
