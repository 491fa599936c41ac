//! What we answer: a code, an enhanced code (RFC 2034, RFC 3463) and a line of text.
//!
//! Invariants: a reply is one line of printable ASCII and fits the 512 bytes of RFC 5321 4.5.3.1.5,
//! whatever a peer's words were put into it. The replies that the receiver gives by itself stand
//! here as one table, so that no code is spelled twice.
//! Not here: when which is given (`receiver`), refusals by the directory (`server::inbound`).

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

    /// The text behind the codes.
    pub fn text(&self) -> &str {
        &self.text
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

/// Names fixed replies, one a line.
macro_rules! replies {
    ($($name:ident = $code:literal, $enhanced:expr, $text:literal;)+) => {
        $(pub(crate) const $name: Reply = Reply::fixed($code, $enhanced, $text);)+

        /// Every one of them.
        #[cfg(test)]
        pub(crate) const ALL: &[Reply] = &[$($name),+];
    };
}

/// The replies the receiver gives by itself.
#[rustfmt::skip]
pub(crate) mod fixed {
    use super::Reply;

    /// RFC 2034 4: 354 is no success and no failure, so it has no enhanced code.
    pub(crate) const GO_AHEAD: Reply = Reply::bare(354, "send the message, end with CRLF.CRLF");

    replies! {
    RESET               = 250, (2, 0, 0), "ok";
    NOOP                = 250, (2, 0, 0), "ok";
    SENDER_OK           = 250, (2, 1, 0), "sender ok";
    RECIPIENT_OK        = 250, (2, 1, 5), "recipient ok";
    CHUNK_OK            = 250, (2, 0, 0), "chunk received";
    BYE                 = 221, (2, 0, 0), "goodbye";
    HELP                = 214, (2, 0, 0), "this is Grace; see RFC 5321";
    VERIFY              = 252, (2, 5, 0), "cannot verify; send it and I will do my best";
    TLS_READY           = 220, (2, 0, 0), "ready to start TLS";
    LOGGED_IN           = 235, (2, 7, 0), "you are logged in";

    SHUTTING_DOWN       = 421, (4, 3, 2), "shutting down, please come back soon";
    IDLE                = 421, (4, 4, 2), "idle too long, closing";
    TOO_MANY_ERRORS     = 421, (4, 7, 0), "too many errors, closing";
    TOO_IDLE            = 421, (4, 7, 0), "too many commands without mail, closing";
    TOO_MANY_REFUSED    = 421, (4, 7, 0), "too many unknown recipients, closing";
    TOO_MANY_PUT_OFF    = 421, (4, 7, 0), "too many recipients to try later, closing";
    ENOUGH              = 421, (4, 7, 0), "enough messages for one session, please connect again";
    DISCONNECTED        = 421, (4, 3, 2), "an administrator ended this session, closing";
    LOGIN_REVOKED       = 421, (4, 7, 0), "your login is not valid any more, closing";
    TOO_MANY_LOGINS     = 421, (4, 7, 0), "too many failed logins, closing";
    TOO_MANY_RECIPIENTS = 452, (4, 5, 3), "too many recipients, send the rest in another message";

    UNKNOWN             = 500, (5, 5, 1), "unknown command";
    EMPTY               = 500, (5, 5, 2), "an empty line is no command";
    BAD_CHARACTERS      = 500, (5, 5, 2), "a command is a line of text without control characters";
    LINE_TOO_LONG       = 500, (5, 5, 2), "line too long";
    LOGIN_TOO_LONG      = 500, (5, 5, 6), "authentication line too long";
    NOT_SMTP            = 500, (5, 5, 1), "this is a mail server speaking SMTP, closing";
    NO_ARGUMENT         = 501, (5, 5, 4), "this command takes no argument";
    HELLO_NAME          = 501, (5, 5, 4), "say EHLO and your name";
    IMPOSSIBLE_NAME     = 501, (5, 5, 4), "no host can have this name";
    MAIL_SYNTAX         = 501, (5, 5, 4), "syntax: MAIL FROM:<address>";
    RCPT_SYNTAX         = 501, (5, 5, 4), "syntax: RCPT TO:<address>";
    BAD_SIZE            = 501, (5, 5, 4), "SIZE is a number of bytes";
    BAD_BODY            = 501, (5, 5, 4), "BODY is 7BIT, 8BITMIME or, if offered, BINARYMIME";
    BAD_RET             = 501, (5, 5, 4), "RET is FULL or HDRS";
    BAD_ENVID           = 501, (5, 5, 4), "ENVID is xtext of at most 100 bytes";
    BAD_NOTIFY          = 501, (5, 5, 4), "NOTIFY is NEVER, or some of SUCCESS,FAILURE,DELAY";
    BAD_ORCPT           = 501, (5, 5, 4), "ORCPT is type;address in xtext, of at most 500 bytes";
    BAD_HOLD_FOR        = 501, (5, 5, 4), "HOLDFOR is a number of seconds";
    BAD_HOLD_UNTIL      = 501, (5, 5, 4), "HOLDUNTIL is a time such as 2026-11-23T19:00:00Z";
    ONE_HOLD            = 501, (5, 5, 4), "HOLDFOR or HOLDUNTIL, not both";
    HOLD_TOO_LONG       = 501, (5, 5, 4), "the time to hold it is over, or longer than EHLO said";
    BAD_BY              = 501, (5, 5, 4), "BY is seconds;N or seconds;R, with T behind for a trace";
    BY_TOO_SOON         = 501, (5, 5, 4), "BY with R wants more time, EHLO said how much";
    BAD_PRIORITY        = 501, (5, 5, 2), "MT-PRIORITY is a number from -9 to 9";
    TWICE               = 501, (5, 5, 4), "a parameter stands only once";
    NO_VALUE            = 501, (5, 5, 4), "this parameter has no value";
    NEEDS_VALUE         = 501, (5, 5, 4), "this parameter needs a value";
    BDAT_SYNTAX         = 501, (5, 5, 4), "syntax: BDAT size [LAST], closing";
    AUTH_SYNTAX         = 501, (5, 5, 4), "syntax: AUTH mechanism [initial-response]";
    AUTH_CANCELED       = 501, (5, 7, 0), "authentication canceled";
    AUTH_BAD_MESSAGE    = 501, (5, 5, 2), "cannot read the response";
    AUTH_BAD_BASE64     = 501, (5, 5, 2), "cannot decode the response";
    NOT_HERE            = 502, (5, 5, 1), "not offered here";
    HELLO_FIRST         = 503, (5, 5, 1), "say EHLO first";
    MAIL_FIRST          = 503, (5, 5, 1), "MAIL comes first";
    ONE_AT_A_TIME       = 503, (5, 5, 1), "a message is already under way";
    CHUNKS_UNDER_WAY    = 503, (5, 5, 1), "after BDAT only BDAT or RSET";
    NO_MESSAGE          = 503, (5, 5, 1), "there is no message to add this to";
    BINARY_IN_CHUNKS    = 503, (5, 5, 1), "BODY=BINARYMIME goes with BDAT, not with DATA";
    ALREADY_TLS         = 503, (5, 5, 1), "TLS is already active";
    ALREADY_IN          = 503, (5, 5, 1), "already logged in";
    HASTE               = 503, (5, 5, 1), "wait for the answer before you send on, closing";
    AFTER_STARTTLS      = 503, (5, 5, 1), "nothing may follow STARTTLS before TLS, closing";
    TLS_FIRST           = 530, (5, 7, 0), "say STARTTLS first";
    TLS_FOR_REQUIRETLS  = 530, (5, 7, 0), "REQUIRETLS only after STARTTLS";
    LOGIN_FIRST         = 530, (5, 7, 0), "log in first";
    BAD_LOGIN           = 535, (5, 7, 8), "wrong login or password";
    NO_BINDING          = 535, (5, 7, 8), "this channel binding is not supported here";
    WRONG_BINDING       = 535, (5, 7, 8), "the channel binding is not that of this connection";
    SCRAM_DOWNGRADE     = 535, (5, 7, 8), "channel binding is offered, somebody hides it from you";
    TLS_FOR_LOGIN       = 538, (5, 7, 11), "passwords only after STARTTLS";
    OUR_NAME            = 550, (5, 7, 1), "in EHLO you said that you are me, say who you are";
    NAME_YOURSELF       = 550, (5, 7, 1), "in EHLO you said a name that no host can have";
    LONE_LINE_END       = 550, (5, 6, 0), "the message has a CR or LF that is not part of CRLF";
    TOO_LARGE           = 552, (5, 3, 4), "the message is too large";
    NEEDS_UTF8          = 553, (5, 6, 7), "this address needs SMTPUTF8";
    NO_RECIPIENTS       = 554, (5, 5, 1), "no valid recipients";
    TALKED_TOO_EARLY    = 554, (5, 5, 1), "you spoke before the greeting, closing";
    UNKNOWN_PARAMETER   = 555, (5, 5, 4), "unknown parameter";
    }
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
