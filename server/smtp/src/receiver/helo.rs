//! What a peer says of itself in EHLO and HELO, and what no honest one says.
//!
//! ```text
//!   claim                           at EHLO                  at RCPT, unless logged in
//!   a name or address of its own    taken                    taken
//!   our name or address             taken                    550 5.7.1
//!   what no host can be called      501, if that is set      550 5.7.1, if that is set
//! ```
//! Most refusals wait for RCPT: then the log knows whose mail it was, and a person who logs in was
//! not turned away for what the mail program says.
//! Invariant: a claim is never believed, only refused.
//! Not here: whether the name is in the DNS, and points back (`server::inbound`).

use std::net::IpAddr;

use grace_mail::address::{Charset, Host};

use crate::command::Hello;
use crate::receiver::Receiver;
use crate::reply::{Reply, fixed};
use crate::settings::ImpossibleName;

/// What a claim looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// As it should.
    Plausible,
    /// It is us.
    Own,
    /// It is neither a name nor an address literal (RFC 5321 4.1.1.1).
    Impossible,
}

impl Receiver {
    /// Whether EHLO or HELO is refused for its name.
    pub(super) fn check_hello(&self, hello: &Hello) -> Result<(), Reply> {
        let refuses = self.settings.helo_checks.impossible == ImpossibleName::RefuseHello;
        if refuses && self.claim(&hello.claim) == Claim::Impossible {
            return Err(fixed::IMPOSSIBLE_NAME);
        }
        Ok(())
    }

    /// Whether a recipient is refused for the name the peer gave.
    pub(super) fn check_claim(&self) -> Result<(), Reply> {
        let Some(hello) = &self.session.hello else { return Ok(()) };
        if self.session.login.is_some() {
            return Ok(());
        }
        let checks = &self.settings.helo_checks;
        match self.claim(&hello.claim) {
            Claim::Own if checks.refuse_own => Err(fixed::OUR_NAME),
            Claim::Impossible if checks.impossible == ImpossibleName::RefuseRecipients => {
                Err(fixed::NAME_YOURSELF)
            }
            Claim::Plausible | Claim::Own | Claim::Impossible => Ok(()),
        }
    }

    fn claim(&self, claim: &str) -> Claim {
        // A dot at the end is how the DNS writes a whole name; some say it here.
        let claim = claim.strip_suffix('.').unwrap_or(claim);
        let is_own = |ip: IpAddr| {
            let ip = ip.to_canonical();
            self.settings.helo_checks.own_addresses.iter().any(|own| own.to_canonical() == ip)
        };
        let bare = claim.parse::<IpAddr>();
        match Host::parse(claim, Charset::Ascii) {
            Ok(Host::Literal(ip)) if is_own(ip) => Claim::Own,
            Ok(Host::Domain(name))
                if name.as_str().eq_ignore_ascii_case(&self.settings.hostname) =>
            {
                Claim::Own
            }
            // Bots leave the brackets out.
            _ if bare.is_ok_and(is_own) => Claim::Own,
            Ok(_) => Claim::Plausible,
            Err(_) => Claim::Impossible,
        }
    }
}
