//! What MAIL and RCPT say behind the path (RFC 5321 4.1.1.11), each extension in its own words.
//!
//! ```text
//!   MAIL FROM:<a@x> SIZE=1000 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ314159 BY=120;R HOLDFOR=60
//!   RCPT TO:<b@y> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b@y
//! ```
//! Invariants: a parameter stands at most once; one that is not offered is answered as if nobody
//! had ever heard of it; whatever is wrong comes back as the exact reply to it.
//! Not here: what is offered when, and limits that depend on the time (`receiver`), the words of
//! DSN (`dsn`), the path (`path`).

use std::fmt;
use std::time::Duration;

use grace_mail::address::Charset;
use grace_mail::date::Date;

use crate::dsn::{self, Notify, OriginalRecipient, Return};
use crate::reply::{Reply, fixed};

/// Most digits of a time in seconds (RFC 2852 4: 1*9digit; RFC 4865 4: the same).
const SECONDS_DIGITS_MAX: usize = 9;
/// Longest HOLDUNTIL, in bytes: a fraction of a second may have many digits, to no end.
const HOLD_UNTIL_BYTES_MAX: usize = 40;

/// Which parameters a receiver takes, beyond those it always takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offered {
    /// RET and ENVID, NOTIFY and ORCPT (RFC 3461).
    pub dsn: bool,
    /// BODY=BINARYMIME (RFC 3030).
    pub binary_mime: bool,
    /// REQUIRETLS (RFC 8689).
    pub require_tls: bool,
    /// HOLDFOR and HOLDUNTIL (RFC 4865).
    pub future_release: bool,
    /// BY (RFC 2852).
    pub deliver_by: bool,
    /// MT-PRIORITY (RFC 6710).
    pub mt_priority: bool,
}

impl Offered {
    fn in_mail(self, name: &str) -> bool {
        match name {
            "SIZE" | "BODY" | "SMTPUTF8" | "AUTH" => true,
            "RET" | "ENVID" => self.dsn,
            "REQUIRETLS" => self.require_tls,
            "HOLDFOR" | "HOLDUNTIL" => self.future_release,
            "BY" => self.deliver_by,
            "MT-PRIORITY" => self.mt_priority,
            _ => false,
        }
    }

    fn in_rcpt(self, name: &str) -> bool {
        match name {
            "NOTIFY" | "ORCPT" => self.dsn,
            _ => false,
        }
    }
}

/// What MAIL said about the message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MailParameters {
    /// `SIZE=` (RFC 1870): what the peer estimates, in bytes.
    pub size_bytes: Option<u64>,
    /// `BODY=`.
    pub body: BodyType,
    /// `SMTPUTF8` (RFC 6531).
    pub utf8: bool,
    /// `RET=` (RFC 3461 4.3).
    pub ret: Option<Return>,
    /// `ENVID=` (RFC 3461 4.4), decoded: how the sender knows the message.
    pub envelope_id: Option<String>,
    /// `REQUIRETLS` (RFC 8689): it may go on only by TLS to somebody who promises the same.
    pub require_tls: bool,
    /// `HOLDFOR=` or `HOLDUNTIL=` (RFC 4865): when it may be sent at the earliest.
    pub hold: Option<Hold>,
    /// `BY=` (RFC 2852): when it must have arrived.
    pub deliver_by: Option<DeliverBy>,
    /// `MT-PRIORITY=` (RFC 6710): -9 to 9, without it 0.
    pub priority: Option<i8>,
}

/// What the body is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BodyType {
    /// `7BIT`, or nothing was said.
    #[default]
    SevenBit,
    /// `8BITMIME` (RFC 6152).
    EightBit,
    /// `BINARYMIME` (RFC 3030 3): no lines, any bytes.
    Binary,
}

/// How long a message is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// For so long after it was taken.
    For(Duration),
    /// Until then, in seconds since 1970.
    Until(i64),
}

impl Hold {
    /// When a message that is taken at `now_s` may be sent; both in seconds since 1970.
    #[must_use]
    pub fn release_s(self, now_s: i64) -> i64 {
        match self {
            Self::For(time) => now_s.saturating_add_unsigned(time.as_secs()),
            Self::Until(at_s) => at_s,
        }
    }
}

/// Until when a message must have arrived, and what else happens (RFC 2852 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliverBy {
    /// How much time is left, in seconds from now. With [`ByMode::Notify`] it may be over already.
    pub time_s: i32,
    /// What happens then.
    pub mode: ByMode,
    /// `T`: tell the sender also when it goes on to a server that does not know BY.
    pub trace: bool,
}

/// As it stands in a command: `120;R`, `-5;NT`.
impl fmt::Display for DeliverBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.mode == ByMode::Notify { "N" } else { "R" };
        write!(f, "{};{mode}{}", self.time_s, if self.trace { "T" } else { "" })
    }
}

/// What happens to a message that is late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByMode {
    /// `N`: its sender is told, and it is tried on.
    Notify,
    /// `R`: it goes back to its sender.
    Return,
}

/// What RCPT said about one recipient.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RcptParameters {
    /// `NOTIFY=` (RFC 3461 4.1). `None` is not the same as its default: it must not be sent on.
    pub notify: Option<Notify>,
    /// `ORCPT=` (RFC 3461 4.2).
    pub original: Option<OriginalRecipient>,
}

/// Reads the parameters of MAIL.
pub(crate) fn mail(text: &str, offered: Offered) -> Result<MailParameters, Reply> {
    let mut parameters = MailParameters::default();
    let mut seen = Vec::new();
    for word in text.split_whitespace() {
        let (name, value) = split(word);
        once(&mut seen, (&name, value), offered.in_mail(&name))?;
        parameters.set(&name, value, offered)?;
    }
    Ok(parameters)
}

/// Reads the parameters of RCPT. `charset` is that of the transaction.
pub(crate) fn rcpt(
    text: &str,
    offered: Offered,
    charset: Charset,
) -> Result<RcptParameters, Reply> {
    let mut parameters = RcptParameters::default();
    let mut seen = Vec::new();
    for word in text.split_whitespace() {
        let (name, value) = split(word);
        once(&mut seen, (&name, value), offered.in_rcpt(&name))?;
        let value = value.unwrap_or_default();
        match name.as_str() {
            "NOTIFY" => {
                parameters.notify = Some(Notify::parse(value).ok_or(fixed::BAD_NOTIFY)?);
            }
            _ => {
                // RFC 6533 3: without SMTPUTF8 such an address comes encoded.
                if charset == Charset::Ascii && !value.is_ascii() {
                    return Err(fixed::BAD_ORCPT);
                }
                let original = OriginalRecipient::parse(value);
                parameters.original = Some(original.ok_or(fixed::BAD_ORCPT)?);
            }
        }
    }
    Ok(parameters)
}

/// `name` or `name=value`; the name in upper case.
fn split(word: &str) -> (String, Option<&str>) {
    match word.split_once('=') {
        Some((name, value)) => (name.to_ascii_uppercase(), Some(value)),
        None => (word.to_ascii_uppercase(), None),
    }
}

/// Notes that a parameter was seen. `seen` is short: it holds only names that we know. The same
/// SIZE twice is taken: Python's smtplib adds it to what its caller asked for.
fn once<'a>(
    seen: &mut Vec<(String, Option<&'a str>)>,
    (name, value): (&str, Option<&'a str>),
    is_offered: bool,
) -> Result<(), Reply> {
    // RFC 5321 4.1.1.11: a parameter we did not offer is answered with 555.
    if !is_offered {
        return Err(fixed::UNKNOWN_PARAMETER);
    }
    match seen.iter().find(|(other, _)| other == name) {
        Some((_, said)) if name == "SIZE" && *said == value => {}
        Some(_) => return Err(fixed::TWICE),
        None => seen.push((name.to_owned(), value)),
    }
    Ok(())
}

impl MailParameters {
    fn set(&mut self, name: &str, value: Option<&str>, offered: Offered) -> Result<(), Reply> {
        match (name, value) {
            ("SMTPUTF8", None) => self.utf8 = true,
            ("REQUIRETLS", None) => self.require_tls = true,
            ("SMTPUTF8" | "REQUIRETLS", Some(_)) => return Err(fixed::NO_VALUE),
            (_, None) => return Err(fixed::NEEDS_VALUE),
            ("SIZE", Some(value)) => self.size_bytes = Some(size(value)?),
            ("BODY", Some(value)) => self.body = body(value, offered)?,
            ("RET", Some(value)) => {
                self.ret = Some(Return::parse(value).ok_or(fixed::BAD_RET)?);
            }
            ("ENVID", Some(value)) => {
                self.envelope_id = Some(dsn::parse_envelope_id(value).ok_or(fixed::BAD_ENVID)?);
            }
            ("HOLDFOR" | "HOLDUNTIL", Some(_)) if self.hold.is_some() => {
                return Err(fixed::ONE_HOLD);
            }
            ("HOLDFOR", Some(value)) => self.hold = Some(hold_for(value)?),
            ("HOLDUNTIL", Some(value)) => self.hold = Some(hold_until(value)?),
            ("BY", Some(value)) => self.deliver_by = Some(by(value).ok_or(fixed::BAD_BY)?),
            ("MT-PRIORITY", Some(value)) => {
                self.priority = Some(priority(value).ok_or(fixed::BAD_PRIORITY)?);
            }
            // AUTH (RFC 4954 5): who submitted it at the server before. Taken, and not believed.
            (_, Some(_)) => {}
        }
        Ok(())
    }
}

fn size(value: &str) -> Result<u64, Reply> {
    // RFC 1870 4: up to 20 digits; more than 64 bits is too large, not wrong.
    if value.is_empty() || value.len() > 20 || !is_digits(value) {
        return Err(fixed::BAD_SIZE);
    }
    Ok(value.parse().unwrap_or(u64::MAX))
}

fn body(value: &str, offered: Offered) -> Result<BodyType, Reply> {
    match value.to_ascii_uppercase().as_str() {
        "7BIT" => Ok(BodyType::SevenBit),
        "8BITMIME" => Ok(BodyType::EightBit),
        "BINARYMIME" if offered.binary_mime => Ok(BodyType::Binary),
        "BINARYMIME" => Err(fixed::UNKNOWN_PARAMETER),
        _ => Err(fixed::BAD_BODY),
    }
}

fn hold_for(value: &str) -> Result<Hold, Reply> {
    let seconds = seconds(value).ok_or(fixed::BAD_HOLD_FOR)?;
    Ok(Hold::For(Duration::from_secs(seconds.into())))
}

/// `date-time` of RFC 3339 5.6 (RFC 4865 4 with erratum 2040).
fn hold_until(value: &str) -> Result<Hold, Reply> {
    let date = value
        .split_at_checked("2026-11-23T19:00:00".len())
        .filter(|(stem, rest)| {
            value.len() <= HOLD_UNTIL_BYTES_MAX
                && fits(&stem.to_ascii_uppercase(), "0000-00-00T00:00:00")
                && is_zone(rest)
        })
        .and_then(|_| Date::parse(value.to_ascii_uppercase().as_bytes()))
        .ok_or(fixed::BAD_HOLD_UNTIL)?;
    Ok(Hold::Until(date.timestamp_s()))
}

/// `time-secfrac` and `time-offset` of RFC 3339 5.6: `Z`, `.25+01:00`.
fn is_zone(text: &str) -> bool {
    let zone = match text.strip_prefix('.') {
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if zone.len() == fraction.len() {
                return false;
            }
            zone
        }
        None => text,
    };
    zone.eq_ignore_ascii_case("Z") || fits(zone, "+00:00") || fits(zone, "-00:00")
}

/// Whether a text looks like the pattern, in which `0` is any digit.
fn fits(text: &str, pattern: &str) -> bool {
    let fit = |(byte, model): (u8, u8)| match model {
        b'0' => byte.is_ascii_digit(),
        _ => byte == model,
    };
    text.len() == pattern.len() && text.bytes().zip(pattern.bytes()).all(fit)
}

/// `by-time ";" by-mode [by-trace]` (RFC 2852 4).
fn by(value: &str) -> Option<DeliverBy> {
    let (time, mode) = value.split_once(';')?;
    let (digits, sign) = match time.strip_prefix('-') {
        Some(digits) => (digits, -1),
        None => (time.strip_prefix('+').unwrap_or(time), 1),
    };
    let time_s = sign * i32::try_from(seconds(digits)?).ok()?;
    let (mode, trace) = match mode.to_ascii_uppercase().as_str() {
        "N" => (ByMode::Notify, false),
        "NT" => (ByMode::Notify, true),
        "R" => (ByMode::Return, false),
        "RT" => (ByMode::Return, true),
        _ => return None,
    };
    // RFC 2852 4: what is to be returned when it is late cannot be late already.
    (mode == ByMode::Notify || time_s > 0).then_some(DeliverBy { time_s, mode, trace })
}

/// `priority-value = (["-"] NZDIGIT) / "0"` (RFC 6710 7).
fn priority(value: &str) -> Option<i8> {
    let digit = value.strip_prefix('-').unwrap_or(value);
    let is_one = digit.len() == 1 && is_digits(digit) && value != "-0";
    if is_one { value.parse().ok() } else { None }
}

fn seconds(digits: &str) -> Option<u32> {
    let fits = (1..=SECONDS_DIGITS_MAX).contains(&digits.len()) && is_digits(digits);
    if fits { digits.parse().ok() } else { None }
}

pub(crate) fn is_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Offered = Offered {
        dsn: true,
        binary_mime: true,
        require_tls: true,
        future_release: true,
        deliver_by: true,
        mt_priority: true,
    };

    /// What `mail` says to the parameters; those it takes as `read` shows them.
    #[track_caller]
    fn check(text: &str, read: impl Fn(&MailParameters) -> String, expected: &str) {
        let found = match mail(text, ALL) {
            Ok(parameters) => read(&parameters),
            Err(reply) => reply.to_string(),
        };
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn times_to_arrive() {
        let read = |parameters: &MailParameters| format!("{:?}", parameters.deliver_by.unwrap());
        let bad = "501 5.5.4 BY is seconds;N or seconds;R, with T behind for a trace";
        check("BY=120;R", read, "DeliverBy { time_s: 120, mode: Return, trace: false }");
        check("by=+120;rt", read, "DeliverBy { time_s: 120, mode: Return, trace: true }");
        check("BY=-5;N", read, "DeliverBy { time_s: -5, mode: Notify, trace: false }");
        check("BY=0;NT", read, "DeliverBy { time_s: 0, mode: Notify, trace: true }");
        check(
            "BY=999999999;N",
            read,
            "DeliverBy { time_s: 999999999, mode: Notify, trace: false }",
        );
        let wrong = [
            "BY=",
            "BY=5",
            "BY=5;",
            "BY=;N",
            "BY=0;R",
            "BY=-1;R",
            "BY=5;T",
            "BY=5;NR",
            "BY=--5;N",
            "BY=1000000000;N",
            "BY=5;N;T",
            "BY=+-5;N",
            "BY=5.0;N",
        ];
        for text in wrong {
            check(text, read, bad);
        }
    }

    #[test]
    fn times_to_wait() {
        let read = |parameters: &MailParameters| {
            let hold = parameters.hold.unwrap();
            assert_eq!(Hold::For(Duration::from_secs(5)).release_s(i64::MAX), i64::MAX);
            hold.release_s(1_000).to_string()
        };
        check("HOLDFOR=60", read, "1060");
        check("HOLDFOR=0", read, "1000");
        for text in ["HOLDFOR=", "HOLDFOR=-1", "HOLDFOR=1h", "HOLDFOR=1000000000"] {
            check(text, read, "501 5.5.4 HOLDFOR is a number of seconds");
        }
        check("HOLDUNTIL=1970-01-01T00:00:07Z", read, "7");
        check("holduntil=1970-01-01t01:00:07.25+01:00", read, "7");
        check("HOLDUNTIL=1969-12-31T23:30:07-00:30", read, "7");
        let wrong = [
            "",
            "1970-01-01",
            "1970-01-01T00:00:07",
            "1970-01-01T00:00Z",
            "1970-02-30T00:00:00Z",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:00:07.Z",
            "1970-01-01T00:00:07+0100",
            "1970-01-01T00:00:07EST",
            "0000-01-01T00:00:00Z",
            "1970-01-01T00:00:ä7Z",
            "1970-01-01T00:00:07.000000000000000000000000000000Z",
        ];
        for value in wrong {
            let bad = "501 5.5.4 HOLDUNTIL is a time such as 2026-11-23T19:00:00Z";
            check(&format!("HOLDUNTIL={value}"), read, bad);
        }
    }

    #[test]
    fn priorities() {
        let read = |parameters: &MailParameters| parameters.priority.unwrap().to_string();
        for value in -9..=9 {
            check(&format!("MT-PRIORITY={value}"), read, &value.to_string());
        }
        for value in ["", "10", "-10", "-", "+3", "-0", "03", "high"] {
            let bad = "501 5.5.2 MT-PRIORITY is a number from -9 to 9";
            check(&format!("MT-PRIORITY={value}"), read, bad);
        }
    }

    #[test]
    fn nothing_is_taken_that_is_not_offered() {
        let all = [
            "RET=HDRS",
            "ENVID=1",
            "BODY=BINARYMIME",
            "REQUIRETLS",
            "HOLDFOR=1",
            "HOLDUNTIL=2026-11-23T19:00:00Z",
            "BY=1;R",
            "MT-PRIORITY=1",
        ];
        for text in all {
            assert!(mail(text, ALL).is_ok(), "{text:?}");
            assert_eq!(mail(text, Offered::default()), Err(fixed::UNKNOWN_PARAMETER), "{text:?}");
            let twice = format!("{text} SIZE=5 {}", text.to_ascii_lowercase());
            assert_eq!(mail(&twice, ALL), Err(fixed::TWICE), "{twice:?}");
        }
        for text in ["NOTIFY=NEVER", "ORCPT=rfc822;a@x"] {
            let rcpt = |text: &str, offered| rcpt(text, offered, Charset::Ascii);
            assert!(rcpt(text, ALL).is_ok(), "{text:?}");
            assert_eq!(rcpt(text, Offered::default()), Err(fixed::UNKNOWN_PARAMETER), "{text:?}");
            assert_eq!(rcpt(&format!("{text} {text}"), ALL), Err(fixed::TWICE), "{text:?}");
            assert_eq!(mail(text, ALL), Err(fixed::UNKNOWN_PARAMETER), "{text:?}");
        }
    }
}
