//! One command line, read (RFC 5321 4.1.1 and the extensions we offer).
//!
//! Invariants: whatever is not a command comes back as the exact reply to it; nothing here depends
//! on what was said before, only on the line.
//! Not here: whether a command is allowed now (`receiver`), finding the line's end (`receiver`),
//! the words behind the paths of MAIL and RCPT (`parameters`).

use grace_mail::address::{AddressError, Charset};

use crate::login::{Mechanism, Secret};
use crate::parameters::{self, MailParameters, Offered, RcptParameters, is_digits};
use crate::path::{self, Recipient, ReversePath};
use crate::reply::{Reply, fixed};

/// Longest name we take after EHLO, in bytes: that of a domain (RFC 5321 4.5.3.1.2).
pub const HELLO_NAME_BYTES_MAX: usize = 255;

/// What a peer wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// EHLO or HELO.
    Hello(Hello),
    /// MAIL FROM.
    Mail {
        /// Who bounces go to.
        sender: ReversePath,
        /// What was said about the message.
        parameters: MailParameters,
    },
    /// RCPT TO.
    Rcpt {
        /// Who the message is for.
        recipient: Recipient,
        /// What was said about this recipient.
        parameters: RcptParameters,
    },
    /// DATA.
    Data,
    /// BDAT (RFC 3030).
    Bdat {
        /// Bytes that follow the command line.
        size_bytes: u64,
        /// Whether the message ends with them.
        last: bool,
    },
    /// RSET.
    Reset,
    /// NOOP.
    Noop,
    /// QUIT.
    Quit,
    /// VRFY.
    Verify,
    /// EXPN.
    Expand,
    /// HELP.
    Help,
    /// STARTTLS (RFC 3207).
    StartTls,
    /// AUTH (RFC 4954).
    Auth {
        /// How. `None`: a way we have never heard of.
        mechanism: Option<Mechanism>,
        /// The initial response as it was sent, in base64.
        initial: Option<Secret>,
    },
}

/// How a peer introduced itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// EHLO, not HELO.
    pub extended: bool,
    /// The name it gave. A claim, not a fact.
    pub claim: String,
}

/// Reads one line without its line end. `charset` is what RCPT may hold in this transaction,
/// `offered` which parameters are taken.
pub fn parse(line: &[u8], charset: Charset, offered: Offered) -> Result<Command, Reply> {
    let text = std::str::from_utf8(line).map_err(|_| fixed::BAD_CHARACTERS)?;
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return Err(fixed::BAD_CHARACTERS);
    }
    let text = text.trim_end();
    if text.is_empty() {
        return Err(fixed::EMPTY);
    }
    let (verb, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    let rest = rest.trim_start();
    let alone =
        |command: Command| if rest.is_empty() { Ok(command) } else { Err(fixed::NO_ARGUMENT) };
    match verb.to_ascii_uppercase().as_str() {
        "EHLO" => hello(rest, true),
        "HELO" => hello(rest, false),
        "MAIL" => mail(rest, offered),
        "RCPT" => rcpt(rest, charset, offered),
        "DATA" => alone(Command::Data),
        "BDAT" => bdat(rest),
        "RSET" => alone(Command::Reset),
        // RFC 5321 4.1.1.9: NOOP may have a string, to be ignored.
        "NOOP" => Ok(Command::Noop),
        "QUIT" => alone(Command::Quit),
        "VRFY" => Ok(Command::Verify),
        "EXPN" => Ok(Command::Expand),
        "HELP" => Ok(Command::Help),
        // RFC 3207 4: STARTTLS with an argument is answered with 501.
        "STARTTLS" => alone(Command::StartTls),
        "AUTH" => auth(rest),
        _ => Err(fixed::UNKNOWN),
    }
}

fn hello(name: &str, extended: bool) -> Result<Command, Reply> {
    // RFC 6531 3.7.1: before we said SMTPUTF8 the name is ASCII. What it says is never relied on.
    if name.is_empty() || name.len() > HELLO_NAME_BYTES_MAX || !name.is_ascii() {
        return Err(fixed::HELLO_NAME);
    }
    Ok(Command::Hello(Hello { extended, claim: name.to_owned() }))
}

fn mail(rest: &str, offered: Offered) -> Result<Command, Reply> {
    let argument = after_keyword(rest, "FROM:").ok_or(fixed::MAIL_SYNTAX)?;
    let (path, parameters) = path::split(argument).ok_or(fixed::MAIL_SYNTAX)?;
    let parameters = parameters::mail(parameters, offered)?;
    let charset = if parameters.utf8 { Charset::Utf8 } else { Charset::Ascii };
    match path::reverse(path, charset) {
        Ok(sender) => Ok(Command::Mail { sender, parameters }),
        Err(AddressError::NotAscii) => Err(fixed::NEEDS_UTF8),
        Err(error) => Err(Reply::new(501, (5, 1, 7), &format!("bad sender: {error}"))),
    }
}

fn rcpt(rest: &str, charset: Charset, offered: Offered) -> Result<Command, Reply> {
    let argument = after_keyword(rest, "TO:").ok_or(fixed::RCPT_SYNTAX)?;
    let (path, parameters) = path::split(argument).ok_or(fixed::RCPT_SYNTAX)?;
    let parameters = parameters::rcpt(parameters, offered, charset)?;
    match path::forward(path, charset) {
        Ok(recipient) => Ok(Command::Rcpt { recipient, parameters }),
        Err(AddressError::NotAscii) => Err(fixed::NEEDS_UTF8),
        Err(error) => Err(Reply::new(501, (5, 1, 3), &format!("bad recipient: {error}"))),
    }
}

fn bdat(rest: &str) -> Result<Command, Reply> {
    let (size, flag) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
    let last = match flag.trim() {
        "" => false,
        flag if flag.eq_ignore_ascii_case("LAST") => true,
        _ => return Err(fixed::BDAT_SYNTAX),
    };
    if size.is_empty() || !is_digits(size) {
        return Err(fixed::BDAT_SYNTAX);
    }
    let size_bytes = size.parse().map_err(|_| fixed::BDAT_SYNTAX)?;
    Ok(Command::Bdat { size_bytes, last })
}

fn auth(rest: &str) -> Result<Command, Reply> {
    let mut words = rest.split_whitespace();
    let (Some(name), initial, None) = (words.next(), words.next(), words.next()) else {
        return Err(fixed::AUTH_SYNTAX);
    };
    let initial = initial.map(|text| Secret::new(text.to_owned()));
    Ok(Command::Auth { mechanism: Mechanism::parse(name), initial })
}

/// What follows `keyword`, whatever its case.
fn after_keyword<'a>(text: &'a str, keyword: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(keyword.len())?;
    head.eq_ignore_ascii_case(keyword).then_some(rest)
}

/// The first word of a line in upper case, if it looks like one: for decisions that must be taken
/// even when the rest of the line is wrong.
pub(crate) fn verb(line: &[u8]) -> String {
    let word = line.split(|b| b.is_ascii_whitespace()).next().unwrap_or_default();
    String::from_utf8_lossy(word).to_ascii_uppercase()
}

/// Whether a line begins as no command ever does: a TLS hello, a printer's escape, any binary
/// protocol. Its first byte decides, for such peers may never send a line end.
pub(crate) fn is_binary(start: &[u8]) -> bool {
    start.first().is_some_and(|b| !matches!(b, b'\r' | b'\n' | b'\t' | b' '..=b'~'))
}

/// Whether a line is HTTP, or RTSP or SIP, which look the same. A browser can be made to post SMTP
/// commands after such a line, so the session must end with it.
pub(crate) fn is_http(line: &[u8]) -> bool {
    const METHODS: [&str; 9] =
        ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "CONNECT", "PATCH", "TRACE"];
    METHODS.contains(&verb(line).as_str())
}
