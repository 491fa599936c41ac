//! Logging in: the ways to do it, and the exchange of lines that each of them is.
//!
//! ```text
//!   PLAIN (RFC 4616)         one line                                  ─▶ Credentials
//!   LOGIN (an old draft)     login, password                           ─▶ Credentials
//!   SCRAM-SHA-256, -PLUS     first message ─▶ keys wanted, proof, ""   ─▶ Proof
//!   EXTERNAL (RFC 4422 A)    one line: who the client wants to be     ─▶ its certificate is asked
//!   OAUTHBEARER (RFC 7628)   one line, and one more if it is refused   ─▶ Token
//! ```
//! Invariants: a password is wiped when it is dropped and never printed; an exchange ends in
//! something for the driver to answer or in a reply, after at most three lines.
//! Not here: whether a password is right (`server::directory`), the messages of SCRAM (`scram`) and
//! OAUTHBEARER (`bearer`), which ways are offered (`receiver`).

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::bearer::{self, Token};
use crate::reply::{Reply, fixed};
use crate::scram::{Challenge, Channel, ClientFirst, Nonce, StoredKeys, Verdict};

/// RFC 4954 4 wants padding; some clients leave it out, and nothing is unclear without it.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// "Username:" in base64.
const ASK_LOGIN: &str = "VXNlcm5hbWU6";
/// "Password:" in base64.
const ASK_PASSWORD: &str = "UGFzc3dvcmQ6";

/// How somebody logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// SASL PLAIN.
    Plain,
    /// SASL LOGIN.
    Login,
    /// SCRAM-SHA-256 (RFC 7677).
    ScramSha256,
    /// The same, tied to the TLS connection.
    ScramSha256Plus,
    /// OAUTHBEARER (RFC 7628).
    OauthBearer,
    /// EXTERNAL (RFC 4422 A): by the certificate that was shown in the TLS handshake.
    External,
}

impl Mechanism {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name.to_ascii_uppercase().as_str() {
            "PLAIN" => Some(Self::Plain),
            "LOGIN" => Some(Self::Login),
            "SCRAM-SHA-256" => Some(Self::ScramSha256),
            "SCRAM-SHA-256-PLUS" => Some(Self::ScramSha256Plus),
            "OAUTHBEARER" => Some(Self::OauthBearer),
            "EXTERNAL" => Some(Self::External),
            _ => None,
        }
    }

    /// The registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::OauthBearer => "OAUTHBEARER",
            Self::External => "EXTERNAL",
        }
    }
}

/// A text that is never printed, and wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Keeps `text` secret from here on.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text, for the one who must compare it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What somebody claims to be and to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// How they came.
    pub mechanism: Mechanism,
    /// The login, as it was sent.
    pub login: String,
    /// The password.
    pub password: Secret,
}

/// Whose keys SCRAM wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysWanted {
    /// With or without channel binding.
    pub mechanism: Mechanism,
    /// The login, as it was sent.
    pub login: String,
}

/// How a login by SCRAM came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// With or without channel binding.
    pub mechanism: Mechanism,
    /// The login, as it was sent.
    pub login: String,
    /// The place, in what the driver gave, of the keys whose password the peer proved to know.
    /// `None`: it proved nothing.
    pub right: Option<usize>,
}

/// What we wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Exchange {
    /// The one response of PLAIN.
    Plain,
    /// The login of LOGIN.
    Login,
    /// The password of LOGIN.
    Password { login: String },
    /// The first message of SCRAM.
    ScramFirst { mechanism: Mechanism, channel: Box<Channel> },
    /// The proof of SCRAM.
    ScramProof { mechanism: Mechanism, challenge: Box<Challenge> },
    /// The empty response to our signature. RFC 4954 4: SMTP sends it before its 235.
    ScramEnd { mechanism: Mechanism, login: String, place: usize },
    /// The one response of OAUTHBEARER.
    Bearer,
    /// The one response of EXTERNAL.
    External,
    /// The response to our error, whatever it is (RFC 7628 3.2.3).
    BearerRefused,
}

/// Where a line led.
#[derive(Debug)]
pub(crate) enum Step {
    /// Ask for the next line with this challenge.
    Ask(Cow<'static, str>, Exchange),
    /// All is said.
    Done(Credentials),
    /// The driver must find keys; then [`challenge`].
    FindKeys(Mechanism, ClientFirst),
    /// A proof was given and checked.
    Proven(Proof),
    /// A token was shown.
    Shown(Token),
    /// Who the owner of the certificate wants to be; empty: whoever it names.
    Certified(String),
    /// A login ended here that the driver has said no to before.
    Failed,
    /// It ended here.
    Refused(Reply),
}

/// Begins an exchange, with the initial response if there was one (RFC 4954 4).
pub(crate) fn begin(mechanism: Mechanism, initial: Option<&str>, channel: Channel) -> Step {
    let exchange = match mechanism {
        Mechanism::Plain => Exchange::Plain,
        Mechanism::Login => Exchange::Login,
        Mechanism::ScramSha256 | Mechanism::ScramSha256Plus => {
            Exchange::ScramFirst { mechanism, channel: Box::new(channel) }
        }
        Mechanism::OauthBearer => Exchange::Bearer,
        Mechanism::External => Exchange::External,
    };
    match (initial, mechanism) {
        // RFC 4954 4: "=" is an initial response of no bytes.
        (Some("="), _) => exchange.answer(b""),
        (Some(initial), _) => exchange.answer(initial.as_bytes()),
        (None, Mechanism::Login) => Step::Ask(ASK_LOGIN.into(), exchange),
        (None, _) => Step::Ask("".into(), exchange),
    }
}

/// Goes on with SCRAM once the driver found keys.
pub(crate) fn challenge(
    mechanism: Mechanism,
    first: ClientFirst,
    keys: StoredKeys,
    nonce: &Nonce,
) -> Step {
    let challenge = Box::new(Challenge::new(first, keys, nonce));
    let text = BASE64.encode(challenge.message());
    Step::Ask(text.into(), Exchange::ScramProof { mechanism, challenge })
}

/// Tells the client of OAUTHBEARER that its token was refused.
pub(crate) fn refuse_token() -> Step {
    Step::Ask(BASE64.encode(bearer::REFUSED).into(), Exchange::BearerRefused)
}

impl Exchange {
    /// Goes on with one line from the peer, without its line end.
    pub(crate) fn answer(self, line: &[u8]) -> Step {
        if matches!(self, Self::BearerRefused) {
            return Step::Failed;
        }
        if line == b"*" {
            return Step::Refused(fixed::AUTH_CANCELED);
        }
        let Ok(decoded) = BASE64.decode(line).map(Zeroizing::new) else {
            return Step::Refused(fixed::AUTH_BAD_BASE64);
        };
        let Ok(text) = std::str::from_utf8(&decoded) else {
            return Step::Refused(fixed::BAD_LOGIN);
        };
        self.message(text).unwrap_or_else(Step::Refused)
    }

    /// Goes on with what a line said.
    fn message(self, text: &str) -> Result<Step, Reply> {
        Ok(match self {
            Self::Plain => plain(text),
            Self::Login if text.is_empty() => return Err(fixed::BAD_LOGIN),
            Self::Login => {
                Step::Ask(ASK_PASSWORD.into(), Self::Password { login: text.to_owned() })
            }
            Self::Password { login } => {
                let password = Secret::new(text.to_owned());
                Step::Done(Credentials { mechanism: Mechanism::Login, login, password })
            }
            Self::ScramFirst { mechanism, channel } => {
                let plus = mechanism == Mechanism::ScramSha256Plus;
                Step::FindKeys(mechanism, ClientFirst::parse(text, plus, &channel)?)
            }
            Self::ScramProof { mechanism, challenge } => match challenge.finish(text)? {
                Verdict::Right { login, place, message } => {
                    let message = BASE64.encode(message);
                    Step::Ask(message.into(), Self::ScramEnd { mechanism, login, place })
                }
                Verdict::Wrong { login } => Step::Proven(Proof { mechanism, login, right: None }),
            },
            Self::ScramEnd { mechanism, login, place } if text.is_empty() => {
                Step::Proven(Proof { mechanism, login, right: Some(place) })
            }
            Self::ScramEnd { .. } => return Err(fixed::AUTH_BAD_MESSAGE),
            Self::Bearer => Step::Shown(bearer::parse(text).ok_or(fixed::AUTH_BAD_MESSAGE)?),
            Self::External => Step::Certified(text.to_owned()),
            Self::BearerRefused => Step::Failed,
        })
    }
}

/// `message = [authzid] NUL authcid NUL passwd` (RFC 4616 2).
fn plain(message: &str) -> Step {
    let mut parts = message.split('\0');
    let (Some(on_behalf_of), Some(login), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Step::Refused(fixed::AUTH_BAD_BASE64);
    };
    // Nobody acts for somebody else here.
    if login.is_empty() || !(on_behalf_of.is_empty() || on_behalf_of.eq_ignore_ascii_case(login)) {
        return Step::Refused(fixed::BAD_LOGIN);
    }
    Step::Done(Credentials {
        mechanism: Mechanism::Plain,
        login: login.to_owned(),
        password: Secret::new(password.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_do_not_print_the_password() {
        let Step::Done(credentials) = plain("\0anna\0secret") else { panic!("refused") };
        assert!(!format!("{credentials:?}").contains("secret"));
        assert_eq!(credentials.password.expose(), "secret");
    }

    #[test]
    fn plain_messages() {
        for message in ["", "anna", "\0anna", "\0anna\0pw\0", "other\0anna\0pw", "\0\0pw"] {
            assert!(matches!(plain(message), Step::Refused(_)), "{message:?}");
        }
        assert!(matches!(plain("Anna\0anna\0pw"), Step::Done(_)));
    }
}
