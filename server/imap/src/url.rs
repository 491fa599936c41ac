//! IMAP URLs (RFC 5092), as CATENATE and URLAUTH use them.
//!
//! ```text
//!   imap://ann@host/Lists%2Frust;UIDVALIDITY=7/;UID=20/;SECTION=1.MIME/;PARTIAL=0.100
//!          └user┘ └host┘ └mailbox┘                                      [;EXPIRE=…][;URLAUTH=…]
//! ```
//! Invariants: pure and total; an [`ImapUrl`] names one message; percent-encoding is gone from its
//! parts, but for what URLAUTH signs, which stands as it was written.
//! Not here: finding the message, and whether a token is right (the driver).

use grace_mail::date::{days_from_civil, month_days};
use grace_mail::section::Section;

use crate::name::{MailboxName, SEPARATOR};

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
    /// Who else may read it (RFC 4467), if it says so.
    pub access: Option<Box<Access>>,
}

/// Who may read what a URL names, besides its owner (RFC 4467 9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// What is signed: the URL up to and with who may read it.
    pub rump: String,
    /// Who.
    pub reader: Reader,
    /// Until when, in seconds since 1970 UTC; `None`: for ever.
    pub expires_s: Option<i64>,
    /// The mechanism in capitals and what it signed with; `None`: it is to be signed yet.
    pub token: Option<(String, String)>,
}

/// Who may read (RFC 4467 9: `access`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reader {
    /// `submit+`: a server that sends mail for this user.
    Submit(String),
    /// `user+`: this user.
    User(String),
    /// `authuser`: whoever is logged in.
    Anybody,
    /// `anonymous`: everybody.
    Everybody,
}

/// Longest token, in bytes. RFC 4467 9 wants 32 hexadecimal digits at least.
const TOKEN_BYTES_MAX: usize = 1_024;

/// `user@host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The account, if it is named.
    pub user: Option<String>,
    /// The host, and the port if it is named.
    pub host: String,
}

impl ImapUrl {
    /// The account it says it is of (RFC 4467 7: `iuserauth` is mandatory there).
    pub fn owner(&self) -> Option<&str> {
        self.server.as_ref()?.user.as_deref()
    }

    /// Reads a URL that may be relative to the account, or to the selected mailbox (RFC 4469 3).
    pub fn parse_relative(text: &str, selected: Option<&MailboxName>) -> Option<Self> {
        let first = text.split('/').next().unwrap_or_default();
        if first.is_empty() || first.contains(':') {
            return Self::parse(text);
        }
        // RFC 3986 5.2.3: it stands in the place of the last segment.
        let above = selected.and_then(|name| name.as_str().rsplit_once(SEPARATOR));
        let above = above.map(|(above, _)| above.replace('%', "%25").replace(';', "%3B") + "/");
        let url = Self::parse(&format!("/{}{text}", above.unwrap_or_default()))?;
        Some(Self { text: text.to_owned(), ..url })
    }

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
        let (rest, access) = match find(rest, ";URLAUTH=") {
            Some(at) => {
                let (expires_s, part) = match find(rest, ";EXPIRE=") {
                    Some(expire) => (Some(rest.get(expire + ";EXPIRE=".len()..at)?), expire),
                    None => (None, at),
                };
                let access = rest.get(at + ";URLAUTH=".len()..)?;
                (rest.get(..part)?, Some(Box::new(Access::parse(text, access, expires_s)?)))
            }
            None => (rest, None),
        };
        let mut parts = rest.strip_suffix('/').unwrap_or(rest).split("/;");
        let uid = positive(parts.next()?)?;
        let mut url = Self {
            text: text.to_owned(),
            server,
            mailbox,
            uid_validity,
            uid,
            section: Section::MESSAGE,
            partial: None,
            access,
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

impl Access {
    /// What follows `;URLAUTH=`: `submit+fred:internal:91354a…`.
    fn parse(url: &str, text: &str, expires: Option<&str>) -> Option<Self> {
        let (reader, token) = match text.split_once(':') {
            Some((reader, token)) => (reader, Some(token)),
            None => (text, None),
        };
        let rump = url.get(..url.len() - token.map_or(0, |token| token.len() + 1))?.to_owned();
        let token = match token {
            None => None,
            Some(token) => {
                let (mechanism, token) = token.split_once(':')?;
                let is_token = token.len() <= TOKEN_BYTES_MAX
                    && token.bytes().all(|byte| byte.is_ascii_hexdigit());
                let parts = (mechanism.to_ascii_uppercase(), token.to_ascii_lowercase());
                Some(is_token.then_some(parts)?)
            }
        };
        let expires_s = match expires {
            Some(date) => Some(seconds_of(date)?),
            None => None,
        };
        Some(Self { rump, reader: Reader::parse(reader)?, expires_s, token })
    }

    /// Whether it is over.
    pub fn is_over(&self, now_s: i64) -> bool {
        self.expires_s.is_some_and(|expires_s| expires_s <= now_s)
    }
}

impl Reader {
    fn parse(text: &str) -> Option<Self> {
        let user = |rest: &str| decoded(rest).filter(|user| !user.is_empty());
        match text.split_once('+') {
            Some((kind, rest)) if kind.eq_ignore_ascii_case("submit") => {
                user(rest).map(Self::Submit)
            }
            Some((kind, rest)) if kind.eq_ignore_ascii_case("user") => user(rest).map(Self::User),
            None if text.eq_ignore_ascii_case("authuser") => Some(Self::Anybody),
            None if text.eq_ignore_ascii_case("anonymous") => Some(Self::Everybody),
            _ => None,
        }
    }
}

/// `2009-02-13T23:31:30Z`, `2009-02-14T00:31:30.5+01:00` (RFC 3339 5.6) as seconds since 1970 UTC.
fn seconds_of(text: &str) -> Option<i64> {
    let number = |at: usize, digits: usize| -> Option<i64> {
        let part = text.get(at..at + digits)?;
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?
    };
    let is = |at: usize, wanted: &str| {
        text.get(at..at + 1).is_some_and(|one| wanted.contains(&one.to_ascii_uppercase()))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    let marks = is(4, "-") && is(7, "-") && is(10, "T") && is(13, ":") && is(16, ":");
    let (month, day) = (u8::try_from(month).ok()?, u8::try_from(day).ok()?);
    let fits = (1..=12).contains(&month)
        && (1..=month_days(u16::try_from(year).ok()?, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    let rest = text.get(19..)?;
    let digits = |rest: &str| rest.bytes().take_while(u8::is_ascii_digit).count();
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => fraction.get(digits(fraction)..)?,
        None => rest,
    };
    let zone_min = match zone {
        "Z" | "z" => 0,
        _ => {
            let at = text.len() - zone.len();
            let sign = if zone.starts_with('+') { 1 } else { -1 };
            let known = zone.len() == 6 && is(at, "+-") && is(at + 3, ":");
            known.then_some(sign * (number(at + 1, 2)? * 60 + number(at + 4, 2)?))?
        }
    };
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    (marks && fits).then_some(seconds - zone_min * 60)
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
    fn access_of_the_rfc() {
        let url = "imap://joe@example.com/INBOX/;uid=20/;section=1.2;urlauth=submit+fred";
        let token = "91354a473744909de610943775f92038";
        let parsed = ImapUrl::parse(&format!("{url}:internal:{token}")).expect("RFC 4467 7");
        let access = parsed.access.expect("it says who");
        assert_eq!((access.rump.as_str(), access.expires_s), (url, None));
        assert_eq!(access.reader, Reader::Submit("fred".into()));
        assert_eq!(access.token, Some(("INTERNAL".into(), token.into())));
        assert_eq!(parsed.section, Section::parse(b"1.2").expect("a section"));
        let url = "imap://joe@example.com/INBOX/;UID=20;EXPIRE=2009-02-13T23:31:30Z;\
                   URLAUTH=user+a%40b";
        let access = ImapUrl::parse(url).expect("a URL").access.expect("it says who");
        assert_eq!(access.reader, Reader::User("a@b".into()));
        assert_eq!((access.expires_s, access.token.clone()), (Some(1_234_567_890), None));
        assert!(access.is_over(1_234_567_890) && !access.is_over(1_234_567_889));
        for (text, reader) in [("authuser", Reader::Anybody), ("ANONYMOUS", Reader::Everybody)] {
            let url = ImapUrl::parse(&format!("/INBOX/;UID=1;URLAUTH={text}")).expect("a URL");
            assert_eq!(url.access.expect("it says who").reader, reader);
        }
        for text in ["frob", "user+", "submit", "user+a:internal", "user+a:internal:x", "", "+a"] {
            assert_eq!(ImapUrl::parse(&format!("/INBOX/;UID=1;URLAUTH={text}")), None, "{text}");
        }
    }

    #[test]
    fn dates() {
        let check =
            |text: &str, seconds: Option<i64>| assert_eq!(seconds_of(text), seconds, "{text}");
        check("2009-02-13T23:31:30Z", Some(1_234_567_890));
        check("2009-02-14t00:31:30.25+01:00", Some(1_234_567_890));
        check("2009-02-13T18:31:30-05:00", Some(1_234_567_890));
        check("2009-02-29T00:00:00Z", None);
        check("2009-13-01T00:00:00Z", None);
        check("2009-02-13T24:00:00Z", None);
        check("2009-02-13 23:31:30Z", None);
        check("2009-02-13T23:31:30", None);
        check("2009-02-13T23:31:30+1:00", None);
        check("2009-02-13T23:31:é", None);
        check("", None);
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
