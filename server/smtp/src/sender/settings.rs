//! What a sender must know and how much it puts up with: each limit with unit, reason and default.
//!
//! Not here: where the values come from (`server::config`), how many connections a destination gets
//! (`grace_queue`).

use std::time::Duration;

use crate::login::Secret;

/// Longest line of a reply with its line end, in bytes. RFC 5321 4.5.3.1.5 has 512; real servers
/// put long links into their refusals.
pub const REPLY_LINE_BYTES_MAX: usize = 2_048;
/// Lines of one reply. The longest EHLO reply we know of has 20.
pub const REPLY_LINES_MAX: usize = 128;
/// One whole reply, in bytes.
pub const REPLY_BYTES_MAX: usize = 32 * 1_024;
/// Input kept while replies are read, in bytes: the longest line fits, and what a server answers to
/// a whole group of pipelined commands mostly does.
pub const INPUT_BYTES_MAX: usize = 16 * 1_024;
/// How much of a reply's text is kept for outcomes, in bytes: two of the longest lines of RFC 5321.
pub const REPLY_TEXT_BYTES_MAX: usize = 1_000;
/// How much of a line goes into a note or a reason, in bytes.
pub const LINE_SHOWN_BYTES_MAX: usize = 200;
/// Largest piece of a body that [`body`](crate::sender::Sender::body) should be given, in bytes:
/// few wake-ups per megabyte, little memory per connection. What is sent for it is at most twice
/// that, and 1.
pub const BODY_PIECE_BYTES_MAX: usize = 64 * 1_024;
/// Commands sent ahead of their replies (RFC 2920): MAIL, 100 RCPT and DATA in one group. The
/// replies to this many fit every system's socket buffer, so that two programs that both write
/// before they read cannot lock each other up.
pub const PIPELINED_COMMANDS_MAX: usize = 102;
/// Chunks sent ahead of their replies (RFC 3030 4.2), which bounds what a refused message wastes.
pub const PIPELINED_CHUNKS_MAX: usize = 4;

const _: () = assert!(512 <= REPLY_LINE_BYTES_MAX);
const _: () = assert!(REPLY_LINE_BYTES_MAX < INPUT_BYTES_MAX);
const _: () = assert!(REPLY_LINE_BYTES_MAX < REPLY_BYTES_MAX);
const _: () = assert!(PIPELINED_COMMANDS_MAX * 160 <= INPUT_BYTES_MAX);

/// Whether a connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsPolicy {
    /// Never, even where it is offered: the second connection after a handshake that failed.
    Never,
    /// Where it is offered (RFC 7435). If the handshake fails, the driver may connect once more
    /// with [`Never`](Self::Never).
    Opportunistic,
    /// Always: a host that does not offer it gets no mail (MTA-STS, DANE, a setting).
    Required,
}

/// Who we are to a smart host (RFC 4954).
#[derive(Debug, Clone)]
pub struct Login {
    /// The login.
    pub name: String,
    /// The password.
    pub password: Secret,
}

/// Everything a sender must know before the first byte.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our name in EHLO: a domain or an address literal (RFC 5321 4.1.1.1).
    pub hostname: String,
    /// Whether the connection is encrypted.
    pub tls: TlsPolicy,
    /// How to log in, at a smart host.
    pub login: Option<Login>,
    /// Whether the password may cross an unencrypted connection. Only ever for loopback.
    pub login_without_tls: bool,
    /// Our name, where the peer may be this very server: one that calls itself so gets no mail, for
    /// it would come back to us (RFC 5321 6.3).
    pub own_name: Option<String>,
    /// Go as far as RCPT and send no message: who is accepted there comes back as
    /// [`NotAttempted`](crate::sender::outcome::Outcome::NotAttempted).
    pub envelope_only: bool,
    /// BDAT wherever it is offered, instead of only for binary messages. Off: DATA is what every
    /// server has been tested with.
    pub chunking_preferred: bool,
    /// Recipients of one transaction. Every server must take 100 (RFC 5321 4.5.3.1.8), so that this
    /// many never meet a refusal for their number alone.
    pub recipients_max: usize,
    /// Transactions of one session; for more, another connection is opened. Many servers end a
    /// session after 100.
    pub transactions_max: u32,
    /// How long until the greeting (RFC 5321 4.5.3.2.1: 5 minutes).
    pub greeting_timeout: Duration,
    /// How long until the reply to EHLO, HELO and STARTTLS. RFC 5321 gives none; as for MAIL.
    pub hello_timeout: Duration,
    /// How long the TLS handshake may take. It is a few round trips.
    pub tls_timeout: Duration,
    /// How long until a reply to AUTH: the other side may ask a directory.
    pub login_timeout: Duration,
    /// How long until the reply to MAIL (RFC 5321 4.5.3.2.2: 5 minutes).
    pub mail_timeout: Duration,
    /// How long until the reply to RCPT (RFC 5321 4.5.3.2.3: 5 minutes).
    pub rcpt_timeout: Duration,
    /// How long until the reply to DATA (RFC 5321 4.5.3.2.4: 2 minutes).
    pub data_timeout: Duration,
    /// How long until a piece of the body is taken (RFC 5321 4.5.3.2.5: 3 minutes).
    pub block_timeout: Duration,
    /// How long until the reply to the final dot (RFC 5321 4.5.3.2.6: 10 minutes). Who hangs up
    /// earlier delivers twice.
    pub end_timeout: Duration,
    /// How long until the reply to RSET. There is nothing to look up.
    pub reset_timeout: Duration,
    /// How long until the reply to QUIT. Nothing depends on it.
    pub quit_timeout: Duration,
    /// How long a reply may take from its first byte to its last: a peer that sends a byte a second
    /// must not keep every timeout from passing.
    pub reply_time_max: Duration,
    /// How long one transaction may take from MAIL to its last reply: 50 MiB at 15 kB/s, doubled.
    pub transaction_time_max: Duration,
    /// How long a session waits for another job before it says QUIT. Servers hang up after five
    /// minutes and more (RFC 5321 4.5.3.2.7).
    pub idle_timeout: Duration,
}

impl Settings {
    /// The defaults for a host found in the DNS.
    pub fn new(hostname: impl Into<String>, tls: TlsPolicy) -> Self {
        Self {
            hostname: hostname.into(),
            tls,
            login: None,
            login_without_tls: false,
            own_name: None,
            envelope_only: false,
            chunking_preferred: false,
            recipients_max: 100,
            transactions_max: 100,
            greeting_timeout: Duration::from_secs(5 * 60),
            hello_timeout: Duration::from_secs(5 * 60),
            tls_timeout: Duration::from_secs(60),
            login_timeout: Duration::from_secs(2 * 60),
            mail_timeout: Duration::from_secs(5 * 60),
            rcpt_timeout: Duration::from_secs(5 * 60),
            data_timeout: Duration::from_secs(2 * 60),
            block_timeout: Duration::from_secs(3 * 60),
            end_timeout: Duration::from_secs(10 * 60),
            reset_timeout: Duration::from_secs(60),
            quit_timeout: Duration::from_secs(30),
            reply_time_max: Duration::from_secs(60),
            transaction_time_max: Duration::from_secs(2 * 60 * 60),
            idle_timeout: Duration::from_secs(30),
        }
    }
}
