//! IMAP URLs (RFC 5092), as CATENATE and URLAUTH use them.
//!
//! ```text
//!   imap://ann@host/Lists%2Frust;UIDVALIDITY=7/;UID=20/;SECTION=1.MIME/;PARTIAL=0.100
//!          └user┘ └host┘ └mailbox┘                                      [;EXPIRE=…][;URLAUTH=…]
//! ```
//! Invariants: pure and total; an [`ImapUrl`] names one message; percent-encoding is gone from its
//! parts.
//! Not here: finding the message, and who may read it (the driver).

use grace_mail::section::Section;

use crate::name::MailboxName;

/// Longest URL that is read, in bytes: a mailbox name of the longest kind fits, percent-encoded.
const URL_BYTES_MAX: usize = 8 * 1024;

/// A message, or a part of one, that a URL names.
#[derive(Debug, Clone, PartialEq)]
pub struct ImapUrl {
    /// The URL as it was written.
    pub text: String,
    /// The account and host it names; `None` in a URL that begins with `/`.
    pub server: Option<Server>,
    /// The mailbox.
    pub mailbox: MailboxName,
    /// The UIDVALIDITY it must have.
    pub uid_validity: Option<u32>,
    /// The message.
    pub uid: u32,
    /// The part of it.
    pub section: Section,
    /// Offset and length within the part; no length: up to the end.
    pub partial: Option<(u64, Option<u64>)>,
}

/// `user@host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The account, if it is named.
    pub user: Option<String>,
    /// The host, and the port if it is named.
    pub host: String,
}

impl ImapUrl {
    /// Reads a URL; `None`: it names no message, or in no way that RFC 5092 knows.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > URL_BYTES_MAX {
            return None;
        }
        let (server, path) = match text.get(..7) {
            Some(scheme) if scheme.eq_ignore_ascii_case("imap://") => {
                let (server, path) = text.get(7..)?.split_once('/')?;
                (Some(Server::parse(server)?), path)
            }
            _ => (None, text.strip_prefix('/')?),
        };
        // RFC 5092 11: enc-mailbox holds `/` as it is; `/;UID=` ends it.
        let at = find(path, "/;UID=")?;
        let (mailbox, rest) = (path.get(..at)?, path.get(at + "/;UID=".len()..)?);
        let (mailbox, uid_validity) = match find(mailbox, ";UIDVALIDITY=") {
            Some(at) => {
                let number = mailbox.get(at + ";UIDVALIDITY=".len()..)?;
                (mailbox.get(..at)?, Some(positive(number)?))
            }
            None => (mailbox, None),
        };
        let mailbox = MailboxName::parse(&decoded(mailbox)?).ok()?;
        let mut parts = rest.split("/;");
        let uid = positive(parts.next()?)?;
        let mut url = Self {
            text: text.to_owned(),
            server,
            mailbox,
            uid_validity,
            uid,
            section: Section::MESSAGE,
            partial: None,
        };
        for part in parts {
            let (name, value) = part.split_once('=')?;
            match name.to_ascii_uppercase().as_str() {
                "SECTION" => url.section = Section::parse(decoded(value)?.as_bytes()).ok()?,
                "PARTIAL" => url.partial = Some(range(value)?),
                _ => return None,
            }
        }
        Some(url)
    }
}

impl Server {
    /// `user;AUTH=mechanism@host:port`.
    fn parse(text: &str) -> Option<Self> {
        let (user, host) = match text.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, text),
        };
        let user = match user.map(|user| user.split(';').next().unwrap_or_default()) {
            Some("") | None => None,
            Some(user) => Some(decoded(user)?),
        };
        (!host.is_empty()).then(|| Self { user, host: host.to_ascii_lowercase() })
    }
}

/// Where `word` stands in `text`, in any case.
fn find(text: &str, word: &str) -> Option<usize> {
    text.to_ascii_uppercase().find(word)
}

/// Text without its percent-encoding; `None`: it is none, or no UTF-8.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'%' => {
                let digits = after.get(..2).filter(|two| two.iter().all(u8::is_ascii_hexdigit))?;
                let digits = std::str::from_utf8(digits).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                rest = after.get(2..)?;
            }
            byte => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).ok()
}

fn positive(text: &str) -> Option<u32> {
    let all_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| *number > 0 && all_digits)
}

/// `0.1024`, or `512`: from there to the end.
fn range(text: &str) -> Option<(u64, Option<u64>)> {
    match text.split_once('.') {
        Some((start, length)) => Some((start.parse().ok()?, Some(length.parse().ok()?))),
        None => Some((text.parse().ok()?, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_the_rfcs() {
        let url = ImapUrl::parse("/Drafts;UIDVALIDITY=385759045/;UID=20/;section=HEADER");
        let url = url.expect("RFC 4469 6");
        assert_eq!(
            (url.mailbox.as_str(), url.uid_validity, url.uid),
            ("Drafts", Some(385_759_045), 20)
        );
        assert_eq!(url.section, Section::parse(b"HEADER").expect("a section"));
        let url = ImapUrl::parse("imap://joe;AUTH=*@Example.COM/INB%4fX/;uid=20/;section=1.2");
        let url = url.expect("a message");
        let server = Server { user: Some("joe".into()), host: "example.com".into() };
        assert_eq!((url.server, url.mailbox.as_str()), (Some(server), "INBOX"));
        let url = ImapUrl::parse("/gray%20council/sub/;UID=20/;PARTIAL=5.10").expect("a message");
        assert_eq!((url.mailbox.as_str(), url.partial), ("gray council/sub", Some((5, Some(10)))));
    }

    #[test]
    fn others_are_refused() {
        for text in [
            "",
            "/",
            "/INBOX",
            "INBOX/;UID=1",
            "/INBOX/;UID=0",
            "/INBOX/;UID=+1",
            "/INBOX/;UID=1/;SECTION=FROB",
            "/INBOX/;UID=1/;FROB=1",
            "/INBOX;UIDVALIDITY=x/;UID=1",
            "/IN%4/;UID=1",
            "/IN%FF/;UID=1",
            "/é/%;UID=é",
            "http://host/INBOX/;UID=1",
            "imap://host",
            "imap:///INBOX/;UID=1",
        ] {
            assert_eq!(ImapUrl::parse(text), None, "{text}");
        }
    }
}
