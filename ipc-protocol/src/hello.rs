//! The hello: how two programs of any two versions meet. Frozen.
//!
//! ```text
//! magic "GRACE\r\nC" or "GRACE\r\nS" | length u16 | body of that length
//! client's body: oldest u16 | newest u16 | role u8 | features | software
//! server's body: oldest u16 | newest u16 | version u16 | verdict u8 | role u8 | features |
//! software | text features: count u8, then each a text; a text: length u8, then UTF-8; integers
//! little-endian
//! ```
//! Invariants: this layout never changes; what a later program adds stands at the end of the body,
//! where an older one does not look. The line break in the magic shows a path that changes line
//! endings (a terminal in the way) before any frame is lost on it.
//! Not here: frames, which begin after the hellos ([`crate::frame`]).

use std::fmt;

use crate::role::Role;
use crate::version::{NEWEST, OLDEST, Version};

/// First bytes of everything the client says.
pub const MAGIC_CLIENT: [u8; 8] = *b"GRACE\r\nC";
/// First bytes of everything the server says.
pub const MAGIC_SERVER: [u8; 8] = *b"GRACE\r\nS";

/// Longest body of a hello, in bytes. Ours take under 300; the rest is for programs to come.
pub const BODY_BYTES_MAX: usize = 4_096;

/// What this build can do beside what its version says. New abilities that need no new message
/// get a name here.
pub const FEATURES: &[&str] = &["directory", "events", "stats"];

const HEAD_BYTES: usize = MAGIC_CLIENT.len() + 2;
const TEXT_BYTES_MAX: usize = u8::MAX as usize;
/// Most features in a hello we write.
const FEATURES_MAX: usize = 12;
// The longest hello we can write is one that everybody reads.
const _: () = assert!(8 + 1 + (FEATURES_MAX + 2) * (1 + TEXT_BYTES_MAX) <= BODY_BYTES_MAX);
const _: () = assert!(FEATURES.len() <= FEATURES_MAX);

/// The first thing a client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHello {
    /// Oldest version it speaks.
    pub oldest: u16,
    /// Newest version it speaks.
    pub newest: u16,
    /// The role it wants to work in: the least that will do is the best.
    pub role: Role,
    /// What it can do beside what its versions say.
    pub features: Vec<String>,
    /// Its name and version, for logs.
    pub software: String,
}

/// The first thing a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerHello {
    /// Oldest version it speaks.
    pub oldest: u16,
    /// Newest version it speaks.
    pub newest: u16,
    /// Shall we talk, and how?
    pub verdict: Verdict,
    /// What it can do beside what its versions say.
    pub features: Vec<String>,
    /// Its name and version.
    pub software: String,
}

/// Shall we talk?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Welcome {
        /// The version both speak from now on.
        version: u16,
        /// What the client may do: never more than it asked for.
        role: Role,
    },
    /// No; the server closes the connection.
    Refused {
        /// For programs.
        refusal: Refusal,
        /// For people.
        text: String,
    },
}

/// Why a server does not talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No version is known to both.
    Version,
    /// This user may not talk to this server.
    Forbidden,
    /// Too many admin connections are open.
    Busy,
    /// A reason that a later server gave and this program does not know.
    Other(u8),
}

impl Refusal {
    const fn number(self) -> u8 {
        match self {
            Self::Version => 1,
            Self::Forbidden => 2,
            Self::Busy => 3,
            Self::Other(number) => number,
        }
    }

    const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Version,
            2 => Self::Forbidden,
            3 => Self::Busy,
            other => Self::Other(other),
        }
    }
}

impl ClientHello {
    /// The hello of this build.
    #[must_use]
    pub fn new(software: &str, role: Role) -> Self {
        Self {
            oldest: OLDEST.number(),
            newest: NEWEST.number(),
            role,
            features: own_features(),
            software: software.to_owned(),
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend_from_slice(&self.oldest.to_le_bytes());
        body.extend_from_slice(&self.newest.to_le_bytes());
        body.push(self.role.number());
        put_features(&mut body, &self.features);
        put_text(&mut body, &self.software);
        with_head(MAGIC_CLIENT, &body)
    }

    /// The client's hello at the start of `bytes` and its length, or `None` while it is not whole.
    ///
    /// # Errors
    /// The bytes are not, and cannot become, a client's hello.
    pub fn take(bytes: &[u8]) -> Result<Option<(Self, usize)>, HelloError> {
        let Some((body, length)) = take_body(MAGIC_CLIENT, bytes)? else {
            return Ok(None);
        };
        let mut body = Reader(body);
        let (oldest, newest) = (body.number()?, body.number()?);
        let role = body.byte()?;
        let role = Role::from_number(role).ok_or(HelloError::UnknownRole { role })?;
        let hello =
            Self { oldest, newest, role, features: body.features()?, software: body.text()? };
        Ok(Some((hello, length)))
    }
}

impl ServerHello {
    /// The hello of this build with this verdict.
    #[must_use]
    pub fn new(software: &str, verdict: Verdict) -> Self {
        Self {
            oldest: OLDEST.number(),
            newest: NEWEST.number(),
            verdict,
            features: own_features(),
            software: software.to_owned(),
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let (version, verdict, role, text) = match &self.verdict {
            Verdict::Welcome { version, role } => (*version, 0, role.number(), ""),
            Verdict::Refused { refusal, text } => (0, refusal.number(), 0, text.as_str()),
        };
        let mut body = Vec::new();
        body.extend_from_slice(&self.oldest.to_le_bytes());
        body.extend_from_slice(&self.newest.to_le_bytes());
        body.extend_from_slice(&version.to_le_bytes());
        body.push(verdict);
        body.push(role);
        put_features(&mut body, &self.features);
        put_text(&mut body, &self.software);
        put_text(&mut body, text);
        with_head(MAGIC_SERVER, &body)
    }

    /// The server's hello at the start of `bytes` and its length, or `None` while it is not whole.
    ///
    /// # Errors
    /// The bytes are not, and cannot become, a server's hello.
    pub fn take(bytes: &[u8]) -> Result<Option<(Self, usize)>, HelloError> {
        let Some((body, length)) = take_body(MAGIC_SERVER, bytes)? else {
            return Ok(None);
        };
        let mut body = Reader(body);
        let (oldest, newest, version) = (body.number()?, body.number()?, body.number()?);
        let (verdict, role) = (body.byte()?, body.byte()?);
        let (features, software, text) = (body.features()?, body.text()?, body.text()?);
        let verdict = match verdict {
            0 => {
                let role = Role::from_number(role).ok_or(HelloError::UnknownRole { role })?;
                Verdict::Welcome { version, role }
            }
            number => Verdict::Refused { refusal: Refusal::from_number(number), text },
        };
        Ok(Some((Self { oldest, newest, verdict, features, software }, length)))
    }
}

/// The server's decision: the version both speak and the role granted, or why not. `allowed` is the
/// most this peer may do, `None` if it may not talk at all.
#[must_use]
pub fn judge(hello: &ClientHello, allowed: Option<Role>) -> Verdict {
    let Some(allowed) = allowed else {
        return Verdict::Refused {
            refusal: Refusal::Forbidden,
            text: "this user may not talk to the daemon; ask its owner for membership in the \
                   admin group"
                .to_owned(),
        };
    };
    let Some(version) = Version::meet(hello.oldest, hello.newest) else {
        let who = if hello.newest < OLDEST.number() { "client" } else { "server" };
        return Verdict::Refused {
            refusal: Refusal::Version,
            text: format!(
                "no common version: this server speaks {} to {}, the client {} to {}; update the \
                 {who}",
                OLDEST.number(),
                NEWEST.number(),
                hello.oldest,
                hello.newest,
            ),
        };
    };
    Verdict::Welcome { version: version.number(), role: hello.role.min(allowed) }
}

fn own_features() -> Vec<String> {
    FEATURES.iter().map(|&feature| feature.to_owned()).collect()
}

fn put_features(body: &mut Vec<u8>, features: &[String]) {
    let features = features.iter().take(FEATURES_MAX);
    body.push(u8::try_from(features.len()).unwrap_or(u8::MAX));
    features.for_each(|feature| put_text(body, feature));
}

fn put_text(body: &mut Vec<u8>, text: &str) {
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    let text = text.get(..end).unwrap_or_default();
    body.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    body.extend_from_slice(text.as_bytes());
}

fn with_head(magic: [u8; 8], body: &[u8]) -> Vec<u8> {
    let mut bytes = magic.to_vec();
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// The body of a hello and the length of the whole hello.
fn take_body(magic: [u8; 8], bytes: &[u8]) -> Result<Option<(&[u8], usize)>, HelloError> {
    let seen = bytes.len().min(magic.len());
    if bytes.get(..seen) != magic.get(..seen) {
        let start = bytes.get(..bytes.len().min(16)).unwrap_or_default();
        return Err(HelloError::Magic { start: start.escape_ascii().to_string() });
    }
    let Some((_, rest)) = bytes.split_first_chunk::<8>() else { return Ok(None) };
    let Some((length, rest)) = rest.split_first_chunk::<2>() else { return Ok(None) };
    let length = usize::from(u16::from_le_bytes(*length));
    if length > BODY_BYTES_MAX {
        return Err(HelloError::TooLong { bytes: length });
    }
    Ok(rest.get(..length).map(|body| (body, HEAD_BYTES + length)))
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], HelloError> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(HelloError::Short)?;
        self.0 = rest;
        Ok(head)
    }

    fn byte(&mut self) -> Result<u8, HelloError> {
        self.take(1)?.first().copied().ok_or(HelloError::Short)
    }

    fn number(&mut self) -> Result<u16, HelloError> {
        Ok(u16::from_le_bytes([self.byte()?, self.byte()?]))
    }

    fn text(&mut self) -> Result<String, HelloError> {
        let length = usize::from(self.byte()?);
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| HelloError::NotUtf8)?;
        Ok(text.to_owned())
    }

    fn features(&mut self) -> Result<Vec<String>, HelloError> {
        let count = self.byte()?;
        (0..count).map(|_| self.text()).collect()
    }
}

/// The bytes are no hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HelloError {
    /// They begin otherwise.
    Magic {
        /// How they begin, printable.
        start: String,
    },
    /// The length is past the limit.
    TooLong {
        /// The length it claims.
        bytes: usize,
    },
    /// The body ends inside a field.
    Short,
    /// A text is not UTF-8.
    NotUtf8,
    /// A role nobody heard of.
    UnknownRole {
        /// Its number.
        role: u8,
    },
}

impl fmt::Display for HelloError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic { start } => {
                write!(
                    f,
                    "the other side does not speak Grace's admin protocol: it began with \"{start}\""
                )
            }
            Self::TooLong { bytes } => {
                write!(f, "the hello claims {bytes} bytes, {BODY_BYTES_MAX} are allowed")
            }
            Self::Short => f.write_str("the hello ends inside a field"),
            Self::NotUtf8 => f.write_str("a text in the hello is not UTF-8"),
            Self::UnknownRole { role } => write!(f, "the hello names an unknown role, {role}"),
        }
    }
}

impl std::error::Error for HelloError {}
