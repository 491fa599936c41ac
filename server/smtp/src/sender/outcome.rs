//! What became of a message: for each recipient delivered, later or never, and who is at fault.
//!
//! ```text
//!                    Later (4.y.z)               Never (5.y.z)         NotAttempted
//!   the peer said    4yz, 421; 452 or 552 to     5yz                   RCPT x.5.3, when others
//!                    RCPT when nobody got in                           got in
//!   we found         timeouts, lost connections, the peer lacks what   beyond the recipients of
//!                    no TLS, no login, bad       the message needs     one transaction
//!                    replies
//! ```
//! Invariants: the class of a failure's status is what decides: 4 is `Later`, 5 is `Never`; nothing
//! is `Delivered` but by a 2yz to the end of the message.
//! Not here: when it is tried again (`grace_queue`), what the sender is told (`grace_mail`).

use std::fmt;

use crate::sender::reply::{PeerReply, Status};

/// What became of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The peer took it, and with it the duty to deliver or to tell (RFC 5321 6.1).
    Delivered {
        /// What it said.
        reply: PeerReply,
        /// Whether it took the duty to notify, too. If not, and the sender asked to hear of
        /// success, tell that the message was relayed (RFC 3461 5.2.2).
        notifies: bool,
        /// Whether it took the duty to deliver in time, if there was one (RFC 2852).
        keeps_time: bool,
    },
    /// It may yet work.
    Later(Failure),
    /// It never will.
    Never(Failure),
    /// One transaction has no room for so many. Send it in the next, as soon as there is one.
    NotAttempted,
}

/// Why a message did not get through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The enhanced code; its class says whether it may yet work.
    pub status: Status,
    /// What happened.
    pub cause: Cause,
    /// Who is to wait before they are tried again.
    pub fault: Fault,
}

/// Who said no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The peer.
    Reply(PeerReply),
    /// We, for this reason.
    Found(Reason),
}

/// What a failure is about: a scheduler leaves the host alone only when it is the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Other messages would fare the same at this host now.
    Host,
    /// This message, whoever it is for.
    Message,
    /// This recipient.
    Recipient,
}

/// What a reply answers, and what we wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The greeting.
    Greeting,
    /// EHLO or HELO.
    Hello,
    /// STARTTLS, and the handshake after it.
    StartTls,
    /// AUTH and its responses.
    Auth,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA.
    Data,
    /// The body on its way, and BDAT but for the last.
    Body,
    /// The final dot, or the last BDAT.
    End,
    /// RSET.
    Reset,
    /// QUIT.
    Quit,
    /// Nothing: no job is under way.
    Idle,
}

/// What we found by ourselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// What we waited for did not come in time.
    Timeout(Stage),
    /// A reply began and did not end in time.
    SlowReply,
    /// The whole transaction took too long.
    SlowTransaction,
    /// The connection broke while we waited for this.
    ConnectionLost(Stage),
    /// The whole message was sent, and no answer came: it may have been delivered. Sending it again
    /// may deliver it twice; not sending it may lose it (RFC 1047).
    AnswerLost,
    /// This line is no reply of SMTP: printable and cut.
    Garbage(String),
    /// A reply was longer than any is.
    ReplyTooLong,
    /// A reply that does not fit what we said.
    Unexpected(PeerReply),
    /// More replies than commands.
    OutOfStep,
    /// Encryption is required and not offered.
    NoStartTls,
    /// Encryption is required, offered and refused.
    StartTlsRefused(PeerReply),
    /// Bytes came in the clear after the reply to STARTTLS (RFC 3207 6).
    StartTlsInjection,
    /// The TLS handshake failed; in the driver's words, printable and cut.
    TlsFailed(String),
    /// We must log in, and no way to do so is offered that we know.
    NoLogin,
    /// We must log in, and the connection is not encrypted.
    LoginNeedsTls,
    /// Our login was refused. This is for us to mend, no fault of the message.
    LoginRefused(PeerReply),
    /// The message is larger than this many bytes, which is what the peer takes (RFC 1870).
    TooLarge(u64),
    /// The message has 8-bit bytes, and the peer takes none (RFC 6152).
    NoEightBit,
    /// The message is binary, and the peer takes none (RFC 3030).
    NoBinary,
    /// An address or the header needs SMTPUTF8 (RFC 6531).
    NoUtf8,
    /// The message must stay encrypted, and the peer does not promise that (RFC 8689 4.2.1).
    NoRequireTls,
    /// The message could not be read from our own disk.
    BodyFailed,
    /// The message is to come back if it is late, and the peer does not promise that (RFC 2852).
    NoDeliverBy,
    /// Less time is left than the peer needs, in seconds (RFC 2852 3).
    TooLate(u32),
    /// The peer calls itself by our own name: we talk to ourselves.
    OwnName,
}

impl Outcome {
    pub(super) fn failed(failure: Failure) -> Self {
        if failure.is_permanent() { Self::Never(failure) } else { Self::Later(failure) }
    }
}

impl Failure {
    /// What a refusal of the peer means.
    pub(super) fn replied(reply: PeerReply) -> Self {
        Self { status: reply.status(), fault: fault(&reply), cause: Cause::Reply(reply) }
    }

    pub(super) fn found(reason: Reason) -> Self {
        let (class, subject, detail, fault) = reason.meaning();
        Self { status: Status::new(class, subject, detail), fault, cause: Cause::Found(reason) }
    }

    /// The same, but to be tried again.
    pub(super) fn later(mut self) -> Self {
        self.status.class = 4;
        self
    }

    /// Whether nobody should try again.
    pub fn is_permanent(&self) -> bool {
        self.status.class == 5
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Reply(reply) => write!(f, "{reply}"),
            Cause::Found(reason) => write!(f, "{} {reason}", self.status),
        }
    }
}

/// Whose fault a refusal is. Before a recipient was named, and with 421 at any time, it is the
/// host's; afterwards only if it says that its system (x.3.z) has a trouble of its own: without an
/// enhanced code 451 is how greylisting looks.
fn fault(reply: &PeerReply) -> Fault {
    let about_system = reply.spoken.is_some_and(|status| {
        // x.3.3: this message's features; x.3.4: its size; x.3.0 says nothing.
        status.subject == 3 && matches!(status.detail, 1 | 2 | 5)
    });
    // Limits on who we are are told to MAIL as 4.7.z, before a recipient could be meant.
    let about_us = reply.stage == Stage::Mail
        && reply.class() == 4
        && reply.spoken.is_some_and(|status| matches!(status.subject, 4 | 7));
    match reply.stage {
        _ if reply.code == 421 || about_system || about_us => Fault::Host,
        Stage::Rcpt => Fault::Recipient,
        Stage::Mail | Stage::Data | Stage::Body | Stage::End => Fault::Message,
        _ => Fault::Host,
    }
}

impl Reason {
    /// Class, subject and detail of the status, and whose fault it is.
    #[rustfmt::skip]
    fn meaning(&self) -> (u8, u16, u16, Fault) {
        match self {
            Self::Timeout(_) | Self::SlowReply | Self::SlowTransaction
            | Self::ConnectionLost(_)          => (4, 4, 2, Fault::Host),
            Self::AnswerLost                   => (4, 4, 2, Fault::Host),
            Self::Garbage(_) | Self::ReplyTooLong | Self::Unexpected(_)
            | Self::OutOfStep                  => (4, 5, 0, Fault::Host),
            Self::NoStartTls                   => (4, 7, 4, Fault::Host),
            Self::StartTlsRefused(_)           => (4, 7, 4, Fault::Host),
            Self::StartTlsInjection            => (4, 7, 5, Fault::Host),
            Self::TlsFailed(_)                 => (4, 7, 5, Fault::Host),
            Self::NoLogin                      => (4, 7, 4, Fault::Host),
            Self::LoginNeedsTls                => (4, 7, 11, Fault::Host),
            Self::LoginRefused(_)              => (4, 7, 8, Fault::Host),
            Self::TooLarge(_)                  => (5, 3, 4, Fault::Message),
            Self::NoEightBit | Self::NoBinary  => (5, 6, 3, Fault::Message),
            Self::NoUtf8                       => (5, 6, 7, Fault::Message),
            Self::NoRequireTls                 => (5, 7, 30, Fault::Message),
            Self::BodyFailed                   => (4, 3, 0, Fault::Message),
            Self::NoDeliverBy | Self::TooLate(_) => (5, 4, 7, Fault::Message),
            Self::OwnName                      => (5, 4, 6, Fault::Host),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout(stage) => write!(f, "timed out waiting for {stage}"),
            Self::SlowReply => f.write_str("a reply took too long to arrive"),
            Self::SlowTransaction => f.write_str("the transaction took too long"),
            Self::ConnectionLost(stage) => write!(f, "connection lost waiting for {stage}"),
            Self::AnswerLost => {
                f.write_str("no answer to the end of the message: it may have been delivered")
            }
            Self::Garbage(line) => write!(f, "not a reply of SMTP: {line}"),
            Self::ReplyTooLong => f.write_str("a reply was too long"),
            Self::Unexpected(reply) => {
                write!(f, "unexpected in place of {}: {reply}", reply.stage)
            }
            Self::OutOfStep => f.write_str("more replies than commands"),
            Self::NoStartTls => f.write_str("TLS is required, and the host does not offer it"),
            Self::StartTlsRefused(reply) => {
                write!(f, "TLS is required, and the host refused it: {reply}")
            }
            Self::StartTlsInjection => f.write_str("bytes in the clear after STARTTLS"),
            Self::TlsFailed(why) => write!(f, "TLS handshake failed: {why}"),
            Self::NoLogin => f.write_str("the host offers no login we can do"),
            Self::LoginNeedsTls => f.write_str("no login without TLS"),
            Self::LoginRefused(reply) => write!(f, "login refused: {reply}"),
            Self::TooLarge(bytes_max) => {
                write!(f, "the host takes messages of {bytes_max} bytes at most")
            }
            Self::NoEightBit => f.write_str("the host takes no 8-bit messages"),
            Self::NoBinary => f.write_str("the host takes no binary messages"),
            Self::NoUtf8 => f.write_str("the host takes no international addresses or headers"),
            Self::NoRequireTls => f.write_str("the host does not promise to keep TLS (REQUIRETLS)"),
            Self::BodyFailed => f.write_str("the message could not be read here"),
            Self::NoDeliverBy => {
                f.write_str("the host does not promise to deliver in time (DELIVERBY)")
            }
            Self::TooLate(seconds) => write!(f, "the host needs {seconds} s, and less is left"),
            Self::OwnName => f.write_str("the host calls itself by our name: it is ourselves"),
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Greeting => "the greeting",
            Self::Hello => "the reply to EHLO",
            Self::StartTls => "TLS",
            Self::Auth => "the reply to AUTH",
            Self::Mail => "the reply to MAIL",
            Self::Rcpt => "the reply to RCPT",
            Self::Data => "the reply to DATA",
            Self::Body => "the body to be taken",
            Self::End => "the reply to the message",
            Self::Reset => "the reply to RSET",
            Self::Quit => "the reply to QUIT",
            Self::Idle => "nothing",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sender::reply::RawReply;

    #[track_caller]
    fn check(stage: Stage, line: &str, expected: &str) {
        let (code, text) = line.split_once(' ').unwrap();
        let raw = RawReply { code: code.parse().unwrap(), lines: vec![text.to_owned()] };
        let failure = Failure::replied(PeerReply::new(&raw, stage));
        assert_eq!(format!("{} {:?}", failure.status, failure.fault), expected, "{stage:?} {line}");
    }

    #[test]
    fn faults() {
        check(Stage::Greeting, "554 no SMTP service here", "5.0.0 Host");
        check(Stage::Hello, "450 who are you", "4.0.0 Host");
        check(Stage::Mail, "451 4.7.650 rate limited by reputation", "4.7.650 Host");
        check(Stage::Mail, "451 try again", "4.3.0 Message");
        check(Stage::Mail, "550 5.7.1 sender rejected", "5.7.1 Message");
        check(Stage::Rcpt, "450 4.7.1 greylisted", "4.7.1 Recipient");
        check(Stage::Rcpt, "451 greylisted", "4.3.0 Recipient");
        check(Stage::Rcpt, "452 4.3.1 insufficient system storage", "4.3.1 Host");
        check(Stage::Rcpt, "550 5.1.1 unknown", "5.1.1 Recipient");
        check(Stage::Rcpt, "421 4.7.0 too many errors", "4.7.0 Host");
        check(Stage::Data, "451 4.3.2 shutting down", "4.3.2 Host");
        check(Stage::End, "552 5.3.4 too big", "5.3.4 Message");
        check(Stage::End, "554 5.7.1 spam", "5.7.1 Message");
    }
}
