//! The table of the ways mail goes out that differ from the usual one.
//!
//! Invariant: routes with the same login at the same smart host have the same password.
//! Not here: which route a message takes (`route`).

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

use gracedb::table::Table;

/// A route.
#[derive(Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 23, name = "route")]
pub struct RouteRow {
    /// Whose mail it is for, as a number of [`Of`].
    #[key]
    pub of: u8,
    /// A domain as A-labels, lower case; `.domain` for all below it; `*` for everybody.
    #[key]
    pub pattern: String,
    /// Where it goes, as a number of [`To`].
    pub to: u8,
    /// The smart host's name or address; empty: there is none.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is spoken to, as a number of [`Tls`].
    pub tls: u8,
    /// Who we are there; empty: nobody in particular.
    pub login: String,
    /// The password of that login.
    pub password: String,
    /// Addresses it is sent from, as settings have them.
    pub sources: Vec<String>,
    /// When it was set, microseconds since 1970 UTC.
    pub changed_us: u64,
}

/// The password is not shown.
impl fmt::Debug for RouteRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteRow")
            .field("of", &self.of)
            .field("pattern", &self.pattern)
            .field("to", &self.to)
            .field("host", &self.host)
            .field("port", &self.port)
            .field("tls", &self.tls)
            .field("login", &self.login)
            .field("sources", &self.sources)
            .field("changed_us", &self.changed_us)
            .finish_non_exhaustive()
    }
}

/// Nor does it stay in memory.
impl Drop for RouteRow {
    fn drop(&mut self) {
        self.password.zeroize();
    }
}

/// Whose mail a route is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Of {
    /// Of those who receive it.
    Recipient = 0,
    /// Of those who send it.
    Sender = 1,
}

impl Of {
    /// What a row's number stands for.
    #[must_use]
    pub fn from_row(number: u8) -> Self {
        if number == Self::Sender as u8 { Self::Sender } else { Self::Recipient }
    }
}

/// Where mail goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum To {
    /// The route says nothing about it.
    Unsaid = 0,
    /// To the servers that the recipient's domain names.
    Direct = 1,
    /// To a smart host.
    SmartHost = 2,
}

impl To {
    /// What a row's number stands for.
    #[must_use]
    pub fn from_row(number: u8) -> Self {
        match number {
            0 => Self::Unsaid,
            1 => Self::Direct,
            _ => Self::SmartHost,
        }
    }
}

/// How a smart host is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Tls {
    /// With TLS where it is offered, whatever the certificate (RFC 7435).
    Opportunistic = 0,
    /// With STARTTLS (RFC 3207) and a certificate that fits, or not at all.
    StartTls = 1,
    /// With TLS from the first byte (RFC 8314 3.3) and a certificate that fits.
    Immediate = 2,
}

impl Tls {
    /// What a row's number stands for: what is not known is not weaker than it may be.
    #[must_use]
    pub fn from_row(number: u8) -> Self {
        match number {
            0 => Self::Opportunistic,
            2 => Self::Immediate,
            _ => Self::StartTls,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        let row = RouteRow {
            of: Of::Sender as u8,
            pattern: "example.org".to_owned(),
            to: To::SmartHost as u8,
            host: "relay.example.org".to_owned(),
            port: 587,
            tls: Tls::StartTls as u8,
            login: "anna".to_owned(),
            password: "correct horse".to_owned(),
            sources: Vec::new(),
            changed_us: 1,
        };
        let shown = format!("{row:?}");
        assert!(shown.contains("anna") && !shown.contains("correct"), "{shown}");
    }

    #[test]
    fn numbers_stand_for_what_they_stood_for() {
        for of in [Of::Recipient, Of::Sender] {
            assert_eq!(Of::from_row(of as u8), of);
        }
        for to in [To::Unsaid, To::Direct, To::SmartHost] {
            assert_eq!(To::from_row(to as u8), to);
        }
        for tls in [Tls::Opportunistic, Tls::StartTls, Tls::Immediate] {
            assert_eq!(Tls::from_row(tls as u8), tls);
        }
    }
}
