//! What we answer: a code, an enhanced code (RFC 2034, RFC 3463) and a line of text.
//!
//! Invariants: a reply is one line of printable ASCII and fits the 512 bytes of RFC 5321 4.5.3.1.5,
//! whatever a peer's words were put into it. The replies that the receiver gives by itself stand
//! here as one table, so that no code is spelled twice.
//! Not here: when which is given (`receiver`), refusals that need the directory (`server::inbound`).

use std::borrow::Cow;
use std::fmt;

/// Longest text of a reply, in bytes: 512 less code, enhanced code and CRLF (RFC 5321 4.5.3.1.5).
pub const REPLY_TEXT_BYTES_MAX: usize = 480;

/// One reply line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    enhanced: Option<(u8, u16, u16)>,
    text: Cow<'static, str>,
}

impl Reply {
    /// A reply whose text may hold words of a peer: what is not printable ASCII becomes `?`.
    pub fn new(code: u16, enhanced: (u8, u16, u16), text: &str) -> Self {
        Self {
            code,
            enhanced: Some(enhanced),
            text: Cow::Owned(printable(text, REPLY_TEXT_BYTES_MAX)),
        }
    }

    const fn fixed(code: u16, enhanced: (u8, u16, u16), text: &'static str) -> Self {
        Self { code, enhanced: Some(enhanced), text: Cow::Borrowed(text) }
    }

    const fn bare(code: u16, text: &'static str) -> Self {
        Self { code, enhanced: None, text: Cow::Borrowed(text) }
    }

    /// The three digits.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// Whether the peer was told no, for now (4xx) or for good (5xx).
    pub fn is_refusal(&self) -> bool {
        self.code >= 400
    }

    /// Appends the line with its CRLF.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{self}\r\n").as_bytes());
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.enhanced {
            Some((class, subject, detail)) => {
                write!(f, "{} {class}.{subject}.{detail} {}", self.code, self.text)
            }
            None => write!(f, "{} {}", self.code, self.text),
        }
    }
}

/// A peer's words as printable ASCII of at most `bytes_max` bytes.
pub(crate) fn printable(text: &str, bytes_max: usize) -> String {
    let mask = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    text.chars().take(bytes_max).map(mask).collect()
}

/// The replies the receiver gives by itself.
#[rustfmt::skip]
pub(crate) mod fixed {
    use super::Reply;

    pub(crate) const RESET: Reply             = Reply::fixed(250, (2, 0, 0), "ok");
    pub(crate) const NOOP: Reply              = Reply::fixed(250, (2, 0, 0), "ok");
    pub(crate) const SENDER_OK: Reply         = Reply::fixed(250, (2, 1, 0), "sender ok");
    pub(crate) const RECIPIENT_OK: Reply      = Reply::fixed(250, (2, 1, 5), "recipient ok");
    pub(crate) const CHUNK_OK: Reply          = Reply::fixed(250, (2, 0, 0), "chunk received");
    pub(crate) const BYE: Reply               = Reply::fixed(221, (2, 0, 0), "goodbye");
    pub(crate) const HELP: Reply              = Reply::fixed(214, (2, 0, 0), "this is Grace; see RFC 5321");
    pub(crate) const VERIFY: Reply            = Reply::fixed(252, (2, 5, 0), "cannot verify; send it and I will do my best");
    pub(crate) const GO_AHEAD: Reply          = Reply::bare(354, "send the message, end with CRLF.CRLF");
    pub(crate) const TLS_READY: Reply         = Reply::fixed(220, (2, 0, 0), "ready to start TLS");
    pub(crate) const LOGGED_IN: Reply         = Reply::fixed(235, (2, 7, 0), "you are logged in");

    pub(crate) const SHUTTING_DOWN: Reply     = Reply::fixed(421, (4, 3, 2), "shutting down, please come back soon");
    pub(crate) const IDLE: Reply              = Reply::fixed(421, (4, 4, 2), "idle too long, closing");
    pub(crate) const TOO_MANY_ERRORS: Reply   = Reply::fixed(421, (4, 7, 0), "too many errors, closing");
    pub(crate) const TOO_IDLE: Reply          = Reply::fixed(421, (4, 7, 0), "too many commands without mail, closing");
    pub(crate) const TOO_MANY_REFUSED: Reply  = Reply::fixed(421, (4, 7, 0), "too many unknown recipients, closing");
    pub(crate) const ENOUGH: Reply            = Reply::fixed(421, (4, 7, 0), "enough messages for one session, please connect again");
    pub(crate) const TOO_MANY_LOGINS: Reply   = Reply::fixed(421, (4, 7, 0), "too many failed logins, closing");
    pub(crate) const TOO_MANY_RECIPIENTS: Reply = Reply::fixed(452, (4, 5, 3), "too many recipients, send the rest in another message");

    pub(crate) const UNKNOWN: Reply           = Reply::fixed(500, (5, 5, 1), "unknown command");
    pub(crate) const EMPTY: Reply             = Reply::fixed(500, (5, 5, 2), "an empty line is no command");
    pub(crate) const BAD_CHARACTERS: Reply    = Reply::fixed(500, (5, 5, 2), "a command is a line of text without control characters");
    pub(crate) const LINE_TOO_LONG: Reply     = Reply::fixed(500, (5, 5, 2), "line too long");
    pub(crate) const LOGIN_TOO_LONG: Reply    = Reply::fixed(500, (5, 5, 6), "authentication line too long");
    pub(crate) const NOT_SMTP: Reply          = Reply::fixed(500, (5, 5, 1), "this is a mail server speaking SMTP, closing");
    pub(crate) const NO_ARGUMENT: Reply       = Reply::fixed(501, (5, 5, 4), "this command takes no argument");
    pub(crate) const HELLO_NAME: Reply        = Reply::fixed(501, (5, 5, 4), "say EHLO and your name");
    pub(crate) const MAIL_SYNTAX: Reply       = Reply::fixed(501, (5, 5, 4), "syntax: MAIL FROM:<address>");
    pub(crate) const RCPT_SYNTAX: Reply       = Reply::fixed(501, (5, 5, 4), "syntax: RCPT TO:<address>");
    pub(crate) const BAD_SIZE: Reply          = Reply::fixed(501, (5, 5, 4), "SIZE is a number of bytes");
    pub(crate) const BAD_BODY: Reply          = Reply::fixed(501, (5, 5, 4), "BODY is 7BIT or 8BITMIME");
    pub(crate) const BDAT_SYNTAX: Reply       = Reply::fixed(501, (5, 5, 4), "syntax: BDAT size [LAST], closing");
    pub(crate) const AUTH_SYNTAX: Reply       = Reply::fixed(501, (5, 5, 4), "syntax: AUTH mechanism [initial-response]");
    pub(crate) const AUTH_CANCELED: Reply     = Reply::fixed(501, (5, 7, 0), "authentication canceled");
    pub(crate) const AUTH_BAD_BASE64: Reply   = Reply::fixed(501, (5, 5, 2), "cannot decode the response");
    pub(crate) const NOT_HERE: Reply          = Reply::fixed(502, (5, 5, 1), "not offered here");
    pub(crate) const HELLO_FIRST: Reply       = Reply::fixed(503, (5, 5, 1), "say EHLO first");
    pub(crate) const MAIL_FIRST: Reply        = Reply::fixed(503, (5, 5, 1), "MAIL comes first");
    pub(crate) const ONE_AT_A_TIME: Reply     = Reply::fixed(503, (5, 5, 1), "a message is already under way");
    pub(crate) const CHUNKS_UNDER_WAY: Reply  = Reply::fixed(503, (5, 5, 1), "after BDAT only BDAT or RSET");
    pub(crate) const NO_MESSAGE: Reply        = Reply::fixed(503, (5, 5, 1), "there is no message to add this to");
    pub(crate) const ALREADY_TLS: Reply       = Reply::fixed(503, (5, 5, 1), "TLS is already active");
    pub(crate) const ALREADY_IN: Reply        = Reply::fixed(503, (5, 5, 1), "already logged in");
    pub(crate) const HASTE: Reply             = Reply::fixed(503, (5, 5, 1), "wait for the answer before you send on, closing");
    pub(crate) const AFTER_STARTTLS: Reply    = Reply::fixed(503, (5, 5, 1), "nothing may follow STARTTLS before TLS, closing");
    pub(crate) const NO_MECHANISM: Reply      = Reply::fixed(504, (5, 5, 4), "mechanisms: PLAIN LOGIN");
    pub(crate) const TLS_FIRST: Reply         = Reply::fixed(530, (5, 7, 0), "say STARTTLS first");
    pub(crate) const LOGIN_FIRST: Reply       = Reply::fixed(530, (5, 7, 0), "log in first");
    pub(crate) const BAD_LOGIN: Reply         = Reply::fixed(535, (5, 7, 8), "wrong login or password");
    pub(crate) const TLS_FOR_LOGIN: Reply     = Reply::fixed(538, (5, 7, 11), "passwords only after STARTTLS");
    pub(crate) const LONE_LINE_END: Reply     = Reply::fixed(550, (5, 6, 0), "the message has a CR or LF that is not part of CRLF");
    pub(crate) const TOO_LARGE: Reply         = Reply::fixed(552, (5, 3, 4), "the message is too large");
    pub(crate) const NEEDS_UTF8: Reply        = Reply::fixed(553, (5, 6, 7), "this address needs SMTPUTF8");
    pub(crate) const NO_RECIPIENTS: Reply     = Reply::fixed(554, (5, 5, 1), "no valid recipients");
    pub(crate) const TALKED_TOO_EARLY: Reply  = Reply::fixed(554, (5, 5, 1), "you spoke before the greeting, closing");
    pub(crate) const UNKNOWN_PARAMETER: Reply = Reply::fixed(555, (5, 5, 4), "unknown parameter");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_words_cannot_leave_the_line() {
        let reply = Reply::new(550, (5, 1, 1), "no\r\n250 ok ü\u{0}");
        assert_eq!(reply.to_string(), "550 5.1.1 no??250 ok ??");
        let mut line = Vec::new();
        Reply::new(550, (5, 999, 999), &"x".repeat(2_000)).encode(&mut line);
        assert!(line.len() <= 512, "RFC 5321 4.5.3.1.5");
    }
}
