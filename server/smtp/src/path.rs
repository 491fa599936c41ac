//! The paths of MAIL and RCPT: `<user@domain>` and what clients put around it (RFC 5321 4.1.2).
//!
//! Not here: the address itself (`grace_mail::address`), parameters (`command`).

use std::fmt;

use grace_mail::address::{AddressError, Charset, Mailbox};

/// Who a bounce goes to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// `<>`: this message is a notification, nobody wants to hear about its fate.
    Null,
    /// An address.
    Mailbox(Mailbox),
}

impl ReversePath {
    /// The address, if there is one.
    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            Self::Null => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }
}

impl fmt::Display for ReversePath {
    /// The address without angle brackets; nothing for the null path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Mailbox(mailbox) => mailbox.fmt(f),
        }
    }
}

/// Who a message is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Recipient {
    /// `<postmaster>` without a domain: must be accepted everywhere (RFC 5321 4.5.1).
    Postmaster,
    /// An address.
    Mailbox(Mailbox),
}

impl fmt::Display for Recipient {
    /// The address without angle brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postmaster => f.write_str("postmaster"),
            Self::Mailbox(mailbox) => mailbox.fmt(f),
        }
    }
}

/// Reads what stands in the brackets of MAIL.
pub(crate) fn reverse(path: &str, charset: Charset) -> Result<ReversePath, AddressError> {
    if path.is_empty() {
        return Ok(ReversePath::Null);
    }
    Mailbox::parse(without_route(path), charset).map(ReversePath::Mailbox)
}

/// Reads what stands in the brackets of RCPT.
pub(crate) fn forward(path: &str, charset: Charset) -> Result<Recipient, AddressError> {
    if path.eq_ignore_ascii_case("postmaster") {
        return Ok(Recipient::Postmaster);
    }
    Mailbox::parse(without_route(path), charset).map(Recipient::Mailbox)
}

/// Cuts `<path> parameters` in two. Outlook puts a space before the bracket, old scripts leave the
/// brackets out: both are clear enough to be taken (RFC 5321 4.1.1.2 forbids the first).
pub(crate) fn split(argument: &str) -> Option<(&str, &str)> {
    let argument = argument.trim();
    let Some(bracketed) = argument.strip_prefix('<') else {
        let (path, parameters) = argument.split_once([' ', '\t']).unwrap_or((argument, ""));
        return (!path.is_empty()).then_some((path, parameters));
    };
    let end = closing_bracket(bracketed)?;
    let (path, rest) = bracketed.split_at_checked(end)?;
    let parameters = rest.strip_prefix('>')?;
    let apart = parameters.is_empty() || parameters.starts_with([' ', '\t']);
    apart.then_some((path.trim(), parameters))
}

/// Where the path ends: a quoted local part may hold a `>` (RFC 5321 4.1.2).
fn closing_bracket(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// `@one.example,@two.example:user@three.example`: the route is to be taken and ignored
/// (RFC 5321 4.1.1.3, appendix C).
fn without_route(path: &str) -> &str {
    match path.split_once(':') {
        Some((route, address)) if route.starts_with('@') => address,
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_as_they_come() {
        let cases = [
            ("<a@x>", Some(("a@x", ""))),
            (" <a@x> SIZE=1", Some(("a@x", " SIZE=1"))),
            ("<\"a>b\"@x> B", Some(("\"a>b\"@x", " B"))),
            ("<\"a\\\">b\"@x>", Some(("\"a\\\">b\"@x", ""))),
            ("a@x SIZE=1", Some(("a@x", "SIZE=1"))),
            ("<>", Some(("", ""))),
            ("<a@x", None),
            ("<a@x>SIZE=1", None),
            ("", None),
        ];
        for (argument, expected) in cases {
            assert_eq!(split(argument), expected, "{argument:?}");
        }
    }

    #[test]
    fn routes_are_ignored() {
        let path = forward("@one.example,@two.example:a@x.example", Charset::Ascii);
        assert_eq!(path.map(|p| p.to_string()).as_deref(), Ok("a@x.example"));
    }
}
