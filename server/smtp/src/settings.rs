//! What a receiver allows: its role and every limit, each with unit, reason and default.
//!
//! Not here: where the values come from (`server::config`), limits on connections (`server::net`).

use std::net::IpAddr;
use std::time::Duration;

/// Longest command line with its line end, in bytes. RFC 5321 4.5.3.1.4 asks for 512 and every
/// extension adds some; 2 KiB holds all of them with two long addresses.
pub const COMMAND_LINE_BYTES_MAX: usize = 2_048;
/// Longest AUTH command or answer to a challenge, in bytes (RFC 4954 4: 12288 octets of base64).
pub const AUTH_LINE_BYTES_MAX: usize = 12_288 + 2;
/// How much of a line that is too long we read away before we give the peer up, in bytes.
pub const LONG_LINE_BYTES_MAX: usize = 256 * 1_024;
/// Input kept while commands are read, in bytes: one line of the longest kind fits.
pub const COMMAND_INPUT_BYTES_MAX: usize = 16 * 1_024;
/// Input kept while a body is read, in bytes: few wake-ups per megabyte, little memory per peer.
pub const BODY_INPUT_BYTES_MAX: usize = 64 * 1_024;
/// Replies gathered for pipelined commands before they are sent, in bytes (RFC 2920 3.2).
pub const REPLIES_BYTES_MAX: usize = 4 * 1_024;

const _: () = assert!(512 <= COMMAND_LINE_BYTES_MAX);
const _: () = assert!(COMMAND_LINE_BYTES_MAX < COMMAND_INPUT_BYTES_MAX);
const _: () = assert!(AUTH_LINE_BYTES_MAX < COMMAND_INPUT_BYTES_MAX);
const _: () = assert!(COMMAND_INPUT_BYTES_MAX <= BODY_INPUT_BYTES_MAX);

/// Which door a session came in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Mail from other servers (port 25).
    Mx,
    /// Mail from our own people, TLS by STARTTLS (port 587, RFC 6409).
    Submission,
    /// Mail from our own people, TLS from the first byte (port 465, RFC 8314).
    Submissions,
}

impl Role {
    /// Whether only people who logged in may send.
    pub fn needs_login(self) -> bool {
        match self {
            Self::Mx => false,
            Self::Submission | Self::Submissions => true,
        }
    }
}

/// What happens to a message with a CR or a LF that stands alone. Where one server takes such a
/// line end for the end of a message and the next does not, a second message can be smuggled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoneLineEnds {
    /// The message is read to its real end and refused.
    Refuse,
    /// A lone LF becomes CRLF and a lone CR a space. The end of the message stays CRLF.CRLF.
    Repair,
}

/// What happens when a peer sends on where it must wait for our answer (RFC 2920 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Haste {
    /// It is noted, and the session goes on: some real clients never wait.
    Tolerate,
    /// The session ends.
    Refuse,
}

/// What is done about a name in EHLO or HELO that no host can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImpossibleName {
    /// Nothing: mail programs at home call themselves all sorts of things.
    Accept,
    /// Recipients are refused with 550, unless the peer logged in.
    RefuseRecipients,
    /// EHLO or HELO is refused with 501.
    RefuseHello,
}

/// What a name in EHLO or HELO may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeloChecks {
    /// Whether a peer that says it is us is refused its recipients, with 550, unless it logged in.
    /// Bots say that to be taken for a part of the house. Switch it off for peers that are one:
    /// loopback, and our own addresses.
    pub refuse_own: bool,
    /// Our addresses, as which nobody else may introduce itself. `hostname` needs no mention.
    pub own_addresses: Vec<IpAddr>,
    /// What no host can be called.
    pub impossible: ImpossibleName,
}

/// How refusals are slowed down. The first wait of a session is `wait_first`, each further one
/// twice as long, up to `wait_max`. Nobody who logged in waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tarpit {
    /// Refused recipients that are answered at once; `None` for all. Ten are a mailing to people
    /// who left, hundreds are somebody who tries names.
    pub recipients_free: Option<u32>,
    /// Refused commands that are answered at once; `None` for all.
    pub errors_free: Option<u32>,
    /// The first wait. Zero: none at all.
    pub wait_first: Duration,
    /// The longest wait. A sender must not take us for dead, which it may after 5 minutes
    /// (RFC 5321 4.5.3.2.3), and sends its recipients in one go.
    pub wait_max: Duration,
}

impl Tarpit {
    /// Only who tries names is slowed down.
    pub const DEFAULT: Self = Self {
        recipients_free: Some(10),
        errors_free: None,
        wait_first: Duration::from_secs(1),
        wait_max: Duration::from_secs(5),
    };
}

/// Which extensions a door offers beyond those that every receiver has. Each is a promise that the
/// driver keeps, not the machine: where there is nobody to keep it, switch it off. Without an
/// outgoing queue that is true of DSN, REQUIRETLS, FUTURERELEASE, DELIVERBY and MT-PRIORITY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extensions {
    /// DSN (RFC 3461): senders hear what became of their message as they asked.
    pub dsn: bool,
    /// BINARYMIME (RFC 3030): a body may be any bytes, and stays as it is.
    pub binary_mime: bool,
    /// REQUIRETLS (RFC 8689): the message goes on only by TLS, to somebody who promises the same.
    pub require_tls: bool,
    /// LIMITS (RFC 9422): how much one session may bring is said before it is refused.
    pub limits: bool,
    /// MT-PRIORITY (RFC 6710), on submission alone: no stranger gets in front of others.
    pub mt_priority: bool,
    /// DELIVERBY (RFC 2852), on submission alone.
    pub deliver_by: Option<DeliverByLimits>,
    /// FUTURERELEASE (RFC 4865), on submission alone. Off by default: it takes the time of day.
    pub future_release: Option<FutureReleaseLimits>,
}

/// What DELIVERBY promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliverByLimits {
    /// The least time for a message that is to be returned when it is late, in seconds. Who gives
    /// less than a first retry takes gets bounces for nothing but greylisting.
    pub return_min_s: u32,
}

/// What FUTURERELEASE promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FutureReleaseLimits {
    /// How long a message may be held. A message that waits is disk that waits.
    pub hold_max: Duration,
    /// The time of day when the session began, in seconds since 1970. The machine has no other.
    pub began_s: i64,
}

impl Extensions {
    /// Everything, but for what must be told the time of day.
    pub const DEFAULT: Self = Self {
        dsn: true,
        binary_mime: true,
        require_tls: true,
        limits: true,
        mt_priority: true,
        deliver_by: Some(DeliverByLimits { return_min_s: 5 * 60 }),
        future_release: None,
    };

    /// What needs nobody who sends messages on.
    pub const WITHOUT_QUEUE: Self = Self {
        dsn: false,
        require_tls: false,
        mt_priority: false,
        deliver_by: None,
        ..Self::DEFAULT
    };
}

/// Everything a receiver must know before the first byte.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our name in the greeting and in `Received:`.
    pub hostname: String,
    /// Which door this is.
    pub role: Role,
    /// Whether the driver can do STARTTLS here.
    pub starttls: bool,
    /// Whether passwords may cross an unencrypted connection. Only ever for loopback.
    pub login_without_tls: bool,
    /// What is offered beyond the usual.
    pub extensions: Extensions,
    /// Whether logins by SCRAM-SHA-256 are offered, and by -PLUS where TLS has a channel binding.
    /// They need a driver that keeps keys beside password hashes.
    pub scram: bool,
    /// Whether logins by OAUTHBEARER are offered, always within TLS. Off by default: there must be
    /// somebody who gives tokens out.
    pub oauth_bearer: bool,
    /// Largest message, in bytes. 50 MiB is what the big providers take.
    pub message_bytes_max: u64,
    /// What a peer may send beyond `message_bytes_max` and still hear its 552, in bytes. A client
    /// that ignores SIZE hears nothing before it has sent everything; past this we hang up.
    pub overrun_bytes_max: u64,
    /// Recipients of one message. RFC 5321 4.5.3.1.8 asks for 100 at least; ten times that is a
    /// full batch of every sender we know of. As many of a session may be put off.
    pub recipients_max: usize,
    /// Refused commands before the session ends. A misled client needs three, a scanner thousands.
    pub errors_max: u32,
    /// Refused recipients before the session ends. A mailing to people who left meets dozens, who
    /// tries names meets thousands.
    pub recipients_refused_max: u32,
    /// Messages of one session; a sender with more opens another.
    pub messages_max: u32,
    /// Commands that bring no mail closer, between two messages: NOOP, RSET, VRFY, EHLO and such.
    pub idle_commands_max: u32,
    /// Wrong passwords before the session ends: enough for a person, few for a robot.
    pub login_failures_max: u32,
    /// A LF or CR alone in DATA. Refused: nobody but smugglers and very old mailers sends it.
    pub lone_line_ends_in_data: LoneLineEnds,
    /// The same in BDAT, where the end is counted and nothing can be smuggled; Exchange Online
    /// sends mail with lone LFs only this way (Microsoft KB 2998901).
    pub lone_line_ends_in_chunks: LoneLineEnds,
    /// What a peer may call itself.
    pub helo_checks: HeloChecks,
    /// How refusals are slowed down.
    pub tarpit: Tarpit,
    /// A peer that sends on without waiting.
    pub haste: Haste,
    /// How long the peer must be silent before our greeting. Zero greets at once.
    pub greet_pause: Duration,
    /// How long a peer may take to say who it is. Scanners connect and say nothing.
    pub hello_timeout: Duration,
    /// How long a peer may take to complete a command (RFC 5321 4.5.3.2.7: 5 minutes at least).
    pub command_timeout: Duration,
    /// How long a peer may take to complete a line of a login. People do not type it.
    pub login_timeout: Duration,
    /// How long a body may stand still (RFC 5321 4.5.3.2.5 gives the other side 3 minutes).
    pub body_timeout: Duration,
    /// How long one whole body may take: 50 MiB at 15 kB/s.
    pub body_time_max: Duration,
}

impl Settings {
    /// The defaults for one door.
    pub fn new(hostname: impl Into<String>, role: Role) -> Self {
        Self {
            hostname: hostname.into(),
            role,
            starttls: role != Role::Submissions,
            login_without_tls: false,
            extensions: Extensions::DEFAULT,
            scram: true,
            oauth_bearer: false,
            message_bytes_max: 50 * 1_024 * 1_024,
            overrun_bytes_max: 50 * 1_024 * 1_024,
            recipients_max: 1_000,
            errors_max: 20,
            recipients_refused_max: 100,
            messages_max: 1_000,
            idle_commands_max: 100,
            login_failures_max: 5,
            lone_line_ends_in_data: LoneLineEnds::Refuse,
            lone_line_ends_in_chunks: LoneLineEnds::Repair,
            helo_checks: HeloChecks {
                refuse_own: true,
                own_addresses: Vec::new(),
                impossible: match role {
                    Role::Mx => ImpossibleName::RefuseRecipients,
                    Role::Submission | Role::Submissions => ImpossibleName::Accept,
                },
            },
            tarpit: Tarpit::DEFAULT,
            haste: Haste::Tolerate,
            greet_pause: Duration::ZERO,
            hello_timeout: Duration::from_secs(60),
            command_timeout: Duration::from_secs(5 * 60),
            login_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(5 * 60),
            body_time_max: Duration::from_secs(60 * 60),
        }
    }
}
