//! Logging in: SASL PLAIN (RFC 4616) and LOGIN (the old draft-murchison-sasl-login), and the
//! exchange of lines that leads to a login and a password.
//!
//! Invariants: a password is wiped when it is dropped and never printed; an exchange ends in
//! credentials or in a reply, after at most two lines.
//! Not here: whether the password is right (`server::directory`).

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::reply::{Reply, fixed};

/// RFC 4954 4 wants padding; some clients leave it out, and nothing is unclear without it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
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
}

impl Mechanism {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name.to_ascii_uppercase().as_str() {
            "PLAIN" => Some(Self::Plain),
            "LOGIN" => Some(Self::Login),
            _ => None,
        }
    }

    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
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

/// What we wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Exchange {
    /// The one response of PLAIN.
    Plain,
    /// The login of LOGIN.
    Login,
    /// The password of LOGIN.
    Password { login: String },
}

/// Where a line led.
#[derive(Debug)]
pub(crate) enum Step {
    /// Ask for the next line with this challenge.
    Ask(&'static str, Exchange),
    /// All is said.
    Done(Credentials),
    /// It ended here.
    Refused(Reply),
}

/// Begins an exchange, with the initial response if there was one (RFC 4954 4).
pub(crate) fn begin(mechanism: Mechanism, initial: Option<&str>) -> Step {
    let exchange = match mechanism {
        Mechanism::Plain => Exchange::Plain,
        Mechanism::Login => Exchange::Login,
    };
    match (initial, mechanism) {
        // RFC 4954 4: "=" is an initial response of no bytes.
        (Some("="), _) => exchange.answer(b""),
        (Some(initial), _) => exchange.answer(initial.as_bytes()),
        (None, Mechanism::Plain) => Step::Ask("", exchange),
        (None, Mechanism::Login) => Step::Ask(ASK_LOGIN, exchange),
    }
}

impl Exchange {
    /// Goes on with one line from the peer, without its line end.
    pub(crate) fn answer(self, line: &[u8]) -> Step {
        if line == b"*" {
            return Step::Refused(fixed::AUTH_CANCELED);
        }
        let Ok(decoded) = BASE64.decode(line) else {
            return Step::Refused(fixed::AUTH_BAD_BASE64);
        };
        let Ok(text) = String::from_utf8(decoded).map(Secret::new) else {
            return Step::Refused(fixed::BAD_LOGIN);
        };
        match self {
            Self::Plain => plain(text.expose()),
            Self::Login if text.expose().is_empty() => Step::Refused(fixed::BAD_LOGIN),
            Self::Login => {
                Step::Ask(ASK_PASSWORD, Self::Password { login: text.expose().to_owned() })
            }
            Self::Password { login } => {
                Step::Done(Credentials { mechanism: Mechanism::Login, login, password: text })
            }
        }
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
