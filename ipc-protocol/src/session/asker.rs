//! The client's side: the hello, then asking and hearing, which know nothing of each other.
//!
//! Invariants: request ids grow by one; no request is written that the version both speak does not
//! know; after an error the hearer says nothing more. Not here: waiting ([`crate::client`]).

use std::fmt;

use crate::codec::{self, CodecError};
use crate::frame::{self, Decoder, FROM_SERVER_BYTES_MAX, FrameError, TO_SERVER_BYTES_MAX};
use crate::hello::{ClientHello, HelloError, Refusal, ServerHello, Verdict};
use crate::message::{Request, RequestBody, ServerMessage};
use crate::role::Role;
use crate::version::Version;

/// Waits for the server's hello. Its own has to be sent first.
#[derive(Debug)]
pub struct Greeting {
    own: ClientHello,
    held: Vec<u8>,
}

/// What both agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The version both speak.
    pub version: Version,
    /// What this client may do; can be less than it asked for.
    pub role: Role,
    /// What both can do beside what the version says.
    pub features: Vec<String>,
    /// The server's name and version, such as `graced 0.1.0`.
    pub software: String,
}

/// The hellos are exchanged: the two halves of the client's side.
#[derive(Debug)]
pub struct Established {
    /// What both agreed on.
    pub welcome: Welcome,
    /// Writes requests.
    pub asker: Asker,
    /// Reads what the server says.
    pub hearer: Hearer,
}

impl Greeting {
    /// A client with this name and version that asks for this role.
    #[must_use]
    pub fn new(software: &str, role: Role) -> Self {
        Self { own: ClientHello::new(software, role), held: Vec::new() }
    }

    /// The hello, to be sent first of all.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.own.to_bytes()
    }

    /// Takes bytes from the server; `Some` when its hello is whole.
    ///
    /// # Errors
    /// The other side is no Grace server, or does not want to talk.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Option<Established>, GreetingError> {
        self.held.extend_from_slice(bytes);
        let Some((hello, length)) = ServerHello::take(&self.held).map_err(GreetingError::Hello)?
        else {
            return Ok(None);
        };
        let (version, role) = match hello.verdict {
            Verdict::Welcome { version, role } => (version, role),
            Verdict::Refused { refusal, text } => {
                return Err(GreetingError::Refused { refusal, text, software: hello.software });
            }
        };
        // A claim until checked: the server must have chosen from what was offered.
        let version = Version::from_number(version)
            .filter(|version| (self.own.oldest..=self.own.newest).contains(&version.number()))
            .ok_or(GreetingError::ForeignVersion { version })?;
        let mut features = hello.features;
        features.retain(|feature| self.own.features.contains(feature));
        let mut decoder = Decoder::new(FROM_SERVER_BYTES_MAX);
        decoder.push(self.held.get(length..).unwrap_or_default());
        let welcome = Welcome { version, role, features, software: hello.software };
        let asker = Asker { version, id_next: 1 };
        Ok(Some(Established { welcome, asker, hearer: Hearer { decoder } }))
    }
}

/// Writes requests.
#[derive(Debug)]
pub struct Asker {
    version: Version,
    id_next: u32,
}

impl Asker {
    /// The request's id and the bytes to send.
    ///
    /// # Errors
    /// The server is too old for the request, or the request too long.
    pub fn ask(&mut self, body: RequestBody) -> Result<(u32, Vec<u8>), AskError> {
        let rule = body.rule();
        if rule.since > self.version {
            return Err(AskError::ServerTooOld {
                request: rule.name,
                since: rule.since,
                speaks: self.version,
            });
        }
        let id = self.id_next;
        let body = codec::encode(&Request { id, body }).map_err(AskError::Codec)?;
        let mut bytes = Vec::with_capacity(body.len() + frame::LENGTH_BYTES);
        frame::write(&body, TO_SERVER_BYTES_MAX, &mut bytes).map_err(AskError::Frame)?;
        // Four thousand million requests are years of one connection; a subscription that old
        // may then meet its own id and is refused by the server.
        self.id_next = self.id_next.checked_add(1).unwrap_or(1);
        Ok((id, bytes))
    }
}

/// Reads what the server says.
#[derive(Debug)]
pub struct Hearer {
    decoder: Decoder,
}

impl Hearer {
    /// Takes bytes from the server. To be called when [`Hearer::next`] said `None`.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.decoder.push(bytes);
    }

    /// The next whole message, if there is one.
    ///
    /// # Errors
    /// The stream is damaged, or the message is none of this version.
    #[expect(clippy::should_implement_trait, reason = "an iterator would end at the first None")]
    pub fn next(&mut self) -> Result<Option<ServerMessage>, HearError> {
        let Some(body) = self.decoder.next().map_err(HearError::Frame)? else {
            return Ok(None);
        };
        codec::decode(body).map(Some).map_err(HearError::Codec)
    }

    /// Would the end of the stream cut a message here?
    #[must_use]
    pub fn is_inside_frame(&self) -> bool {
        self.decoder.is_inside_frame()
    }
}

/// The two could not begin to talk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GreetingError {
    /// The other side sent no hello of ours.
    Hello(HelloError),
    /// The server does not want to talk.
    Refused {
        /// For programs.
        refusal: Refusal,
        /// For people.
        text: String,
        /// The server's name and version.
        software: String,
    },
    /// The server chose a version that was not offered.
    ForeignVersion {
        /// The number it chose.
        version: u16,
    },
}

impl fmt::Display for GreetingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hello(error) => error.fmt(f),
            Self::Refused { text, software, .. } => {
                write!(f, "the server ({software}) refused: {text}")
            }
            Self::ForeignVersion { version } => {
                write!(f, "the server chose version {version}, which was not offered")
            }
        }
    }
}

impl std::error::Error for GreetingError {}

/// A request could not be written.
#[derive(Debug)]
pub enum AskError {
    /// The server does not know it.
    ServerTooOld {
        /// Name of the request.
        request: &'static str,
        /// The version that brought it.
        since: Version,
        /// The version both speak.
        speaks: Version,
    },
    /// It cannot be encoded.
    Codec(CodecError),
    /// It is too long.
    Frame(FrameError),
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServerTooOld { request, since, speaks } => write!(
                f,
                "the server speaks version {} and does not know {request} of version {}; update it",
                speaks.number(),
                since.number(),
            ),
            Self::Codec(error) => error.fmt(f),
            Self::Frame(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AskError {}

/// What the server said cannot be read.
#[derive(Debug)]
pub enum HearError {
    /// The stream of frames is damaged.
    Frame(FrameError),
    /// A frame holds no message.
    Codec(CodecError),
}

impl fmt::Display for HearError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(error) => error.fmt(f),
            Self::Codec(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for HearError {}
