//! What a server of a destination must show before it gets a message: the one place that decides.
//!
//! ```text
//!   the message   REQUIRETLS (RFC 8689)            stands above all
//!                 TLS-Required: No (RFC 8689 5)    whatever the destination asks for
//!   the route     a smart host must prove itself   and is asked for nothing else
//!   destination   DANE (RFC 7672)                  stands above MTA-STS (RFC 8461 2)
//!                 MTA-STS that is enforced (RFC 8461)
//!                 transport.required               where the admin wants it
//!                 else                             encrypted where that works (RFC 7435)
//! ```
//! Invariants: pure; where something is required and not known to be had, the answer is no.
//! Not here: how the facts are found (`transport`), how a certificate is checked.

use std::fmt;

/// What the message asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wish {
    /// It may only travel encrypted, to servers that are surely those meant, and that promise the
    /// same (REQUIRETLS, RFC 8689).
    pub require_tls: bool,
    /// That it arrives matters more than who reads it: policies are passed over
    /// (`TLS-Required: No`, RFC 8689 5).
    pub waives: bool,
}

/// What the DNS says of a server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dane {
    /// Nothing that is signed.
    Absent,
    /// Records that nobody can follow.
    Unusable,
    /// Records to follow.
    Usable,
    /// Nobody could say, or somebody lied.
    Unknown,
}

/// What the destination's policy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sts {
    /// There is none.
    None,
    /// There may be one, and nobody could say.
    Unknown,
    /// One that asks to be told of failures.
    Testing,
    /// One that is to be followed.
    Enforce,
}

/// All that is known of a server before it is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// What the message asks for.
    pub wish: Wish,
    /// What the DNS says of the server's certificate.
    pub dane: Dane,
    /// What the destination's policy says.
    pub sts: Sts,
    /// Whether that policy names the server.
    pub is_named: bool,
    /// Whether it is sure that the server is one of the destination's: its name is signed, or an
    /// admin gave it.
    pub is_sure: bool,
    /// Whether an admin wants the destination to be reached by verified TLS alone.
    pub is_listed: bool,
    /// Whether a route asks the server, a smart host, to prove who it is.
    pub is_routed: bool,
}

/// What the server must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// Nothing: any certificate will do, or none.
    Nothing,
    /// That the connection is encrypted, with any certificate.
    Encryption,
    /// A certificate that is good by this.
    Certificate(Basis),
}

/// Who says what a good certificate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// The DNS (RFC 7672).
    Dane,
    /// The destination's policy (RFC 8461).
    MtaSts,
    /// The message (RFC 8689); by the authorities that are trusted.
    RequireTls,
    /// The setting `transport.required`; likewise.
    Listed,
    /// The route to a smart host; likewise.
    Route,
}

/// Why a server gets no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// What the DNS says of its certificate is not known.
    DaneUnknown,
    /// The destination's policy does not name it.
    NotNamed,
    /// The message may only go to a server that is surely the destination's.
    NotSure,
    /// Whether it is would stand in a policy that could not be had.
    PolicyUnknown,
}

impl Unfit {
    /// Enhanced status code (RFC 3463, RFC 8689 4.2.1).
    #[must_use]
    pub fn status(self) -> (u16, u16, u16) {
        match self {
            Self::NotSure => (5, 7, 10),
            Self::DaneUnknown | Self::NotNamed | Self::PolicyUnknown => (4, 7, 5),
        }
    }

    /// Whether it stands in the way of every message to that destination.
    #[must_use]
    pub fn is_of_destination(self) -> bool {
        matches!(self, Self::DaneUnknown | Self::NotNamed)
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DaneUnknown => "what the DNS says of its certificate cannot be had (DANE)",
            Self::NotNamed => "the domain's policy does not name it (MTA-STS, enforce)",
            Self::NotSure => {
                "the message must stay encrypted (REQUIRETLS), and neither DNSSEC nor MTA-STS says \
                 that this server is the domain's"
            }
            Self::PolicyUnknown => {
                "the message must stay encrypted (REQUIRETLS), and the domain's policy (MTA-STS) \
                 cannot be had"
            }
        })
    }
}

/// Decides.
///
/// # Errors
/// The server gets no message; says why.
pub fn decide(facts: &Facts) -> Result<Demand, Unfit> {
    let Facts { wish, dane, sts, is_named, is_sure, is_listed, is_routed } = *facts;
    if is_routed {
        // A password may go there: no message passes over what its admin asks for.
        let basis = if wish.require_tls { Basis::RequireTls } else { Basis::Route };
        return Ok(Demand::Certificate(basis));
    }
    if wish.waives && !wish.require_tls {
        return Ok(Demand::Nothing);
    }
    match dane {
        Dane::Usable => return Ok(Demand::Certificate(Basis::Dane)),
        Dane::Unknown => return Err(Unfit::DaneUnknown),
        Dane::Absent | Dane::Unusable => {}
    }
    if sts == Sts::Enforce && !is_named {
        return Err(Unfit::NotNamed);
    }
    if wish.require_tls {
        let is_named = is_named && matches!(sts, Sts::Testing | Sts::Enforce);
        return match sts {
            _ if is_sure || is_named => Ok(Demand::Certificate(Basis::RequireTls)),
            Sts::Unknown => Err(Unfit::PolicyUnknown),
            _ => Err(Unfit::NotSure),
        };
    }
    Ok(match (sts, is_listed, dane) {
        (Sts::Enforce, _, _) => Demand::Certificate(Basis::MtaSts),
        (_, true, _) => Demand::Certificate(Basis::Listed),
        // RFC 7672 2.2: records that cannot be followed still say that TLS is there.
        (_, _, Dane::Unusable) => Demand::Encryption,
        _ => Demand::Nothing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Facts = Facts {
        wish: Wish { require_tls: false, waives: false },
        dane: Dane::Absent,
        sts: Sts::None,
        is_named: false,
        is_sure: false,
        is_listed: false,
        is_routed: false,
    };
    const REQUIRES: Wish = Wish { require_tls: true, waives: false };
    const WAIVES: Wish = Wish { require_tls: false, waives: true };
    const BOTH: Wish = Wish { require_tls: true, waives: true };

    #[test]
    #[rustfmt::skip]
    fn every_rule_stands_where_it_should() {
        use Basis::{Listed, MtaSts, RequireTls, Route};
        use Dane::{Absent, Unknown, Unusable, Usable};
        use Demand::{Certificate, Encryption, Nothing};
        use Sts::{Enforce, Testing};
        let named = Facts { is_named: true, ..PLAIN };
        let sure = Facts { is_sure: true, ..PLAIN };
        let listed = Facts { is_listed: true, ..PLAIN };
        let routed = Facts { is_sure: true, is_routed: true, ..PLAIN };
        let dane = Ok(Certificate(Basis::Dane));
        let rows: &[(Facts, Result<Demand, Unfit>)] = &[
            (PLAIN, Ok(Nothing)),
            (Facts { dane: Unusable, ..PLAIN }, Ok(Encryption)),
            (Facts { dane: Usable, ..PLAIN }, dane),
            (Facts { dane: Unknown, ..PLAIN }, Err(Unfit::DaneUnknown)),
            // MTA-STS
            (Facts { sts: Testing, ..PLAIN }, Ok(Nothing)),
            (Facts { sts: Testing, ..named }, Ok(Nothing)),
            (Facts { sts: Sts::Unknown, ..PLAIN }, Ok(Nothing)),
            (Facts { sts: Enforce, ..named }, Ok(Certificate(MtaSts))),
            (Facts { sts: Enforce, ..PLAIN }, Err(Unfit::NotNamed)),
            // DANE above MTA-STS, whichever way they differ
            (Facts { sts: Enforce, dane: Usable, ..named }, dane),
            (Facts { sts: Enforce, dane: Usable, ..PLAIN }, dane),
            (Facts { sts: Enforce, dane: Unknown, ..named }, Err(Unfit::DaneUnknown)),
            (Facts { sts: Enforce, dane: Unusable, ..named }, Ok(Certificate(MtaSts))),
            // the admin
            (listed, Ok(Certificate(Listed))),
            (Facts { dane: Usable, ..listed }, dane),
            (Facts { dane: Unusable, ..listed }, Ok(Certificate(Listed))),
            (Facts { sts: Testing, ..listed }, Ok(Certificate(Listed))),
            (Facts { sts: Enforce, is_named: true, ..listed }, Ok(Certificate(MtaSts))),
            // REQUIRETLS
            (Facts { wish: REQUIRES, ..PLAIN }, Err(Unfit::NotSure)),
            (Facts { wish: REQUIRES, ..listed }, Err(Unfit::NotSure)),
            (Facts { wish: REQUIRES, ..sure }, Ok(Certificate(RequireTls))),
            (Facts { wish: REQUIRES, dane: Usable, ..sure }, dane),
            (Facts { wish: REQUIRES, dane: Unknown, ..sure }, Err(Unfit::DaneUnknown)),
            (Facts { wish: REQUIRES, dane: Unusable, ..sure }, Ok(Certificate(RequireTls))),
            (Facts { wish: REQUIRES, sts: Testing, ..named }, Ok(Certificate(RequireTls))),
            (Facts { wish: REQUIRES, sts: Testing, ..PLAIN }, Err(Unfit::NotSure)),
            (Facts { wish: REQUIRES, sts: Enforce, ..named }, Ok(Certificate(RequireTls))),
            (Facts { wish: REQUIRES, sts: Enforce, ..sure }, Err(Unfit::NotNamed)),
            (Facts { wish: REQUIRES, sts: Sts::Unknown, ..PLAIN }, Err(Unfit::PolicyUnknown)),
            // TLS-Required: No
            (Facts { wish: WAIVES, ..PLAIN }, Ok(Nothing)),
            (Facts { wish: WAIVES, dane: Usable, ..PLAIN }, Ok(Nothing)),
            (Facts { wish: WAIVES, dane: Unknown, ..PLAIN }, Ok(Nothing)),
            (Facts { wish: WAIVES, sts: Enforce, ..PLAIN }, Ok(Nothing)),
            (Facts { wish: WAIVES, ..listed }, Ok(Nothing)),
            // a route's smart host, which answers to nobody else
            (routed, Ok(Certificate(Route))),
            (Facts { is_listed: true, ..routed }, Ok(Certificate(Route))),
            (Facts { dane: Usable, ..routed }, Ok(Certificate(Route))),
            (Facts { wish: WAIVES, ..routed }, Ok(Certificate(Route))),
            (Facts { wish: REQUIRES, ..routed }, Ok(Certificate(RequireTls))),
            // RFC 8689 5: the field says nothing beside REQUIRETLS
            (Facts { wish: BOTH, ..PLAIN }, Err(Unfit::NotSure)),
            (Facts { wish: BOTH, dane: Absent, ..sure }, Ok(Certificate(RequireTls))),
        ];
        for (facts, wanted) in rows {
            assert_eq!(decide(facts), *wanted, "{facts:?}");
        }
    }
}
