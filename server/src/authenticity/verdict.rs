//! What is known of who sent a message: each check with its result, and what follows from them.
//!
//! Not here: how it is found out ([`super`]), the line that tells it (`results`).

use std::fmt;
use std::net::IpAddr;

use grace_smtp::reply::Reply;

/// A result in the words of RFC 8601 2.7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It is who it says.
    Pass,
    /// It is not.
    Fail,
    /// Probably not (SPF).
    SoftFail,
    /// It says nothing either way, or cannot be judged.
    Neutral,
    /// There is nothing to be judged.
    None,
    /// It is signed in a way that is not taken here (DKIM).
    Policy,
    /// Nobody could say now.
    TempError,
    /// What was published or written makes no sense.
    PermError,
}

/// A result, and in words why it is that one; empty: nothing is to be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The result.
    pub outcome: Outcome,
    /// Why.
    pub reason: String,
}

/// Whether the address and its name point to each other (RFC 8601 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Iprev {
    /// The result.
    pub found: Found,
    /// The name that the address claims.
    pub name: Option<String>,
}

/// Whether a domain lets this address send for it (RFC 7208).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spf {
    /// The result.
    pub found: Found,
    /// The domain that was asked; empty: there was none.
    pub domain: String,
    /// What the domain has to say to those it refuses. A claim.
    pub explanation: Option<String>,
}

/// One signature (RFC 6376).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dkim {
    /// The result.
    pub found: Found,
    /// The domain that signed, `d=`; empty where the signature cannot be read.
    pub domain: String,
    /// Which of its keys, `s=`.
    pub selector: String,
    /// For whom it signed, `i=`; empty: for itself.
    pub identity: String,
    /// How its `b=` begins, to tell it from others (RFC 6008 4).
    pub start: String,
}

/// The chain of those who passed the message on (RFC 8617).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arc {
    /// The result.
    pub found: Found,
    /// Who sealed, the first first; only of a chain that passes.
    pub sealers: Vec<String>,
    /// The domain of the trust list whose word is taken that the message was genuine when it came
    /// there.
    pub trusted: Option<String>,
}

/// Whether the author's domain stands behind the message (RFC 9989).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dmarc {
    /// The result.
    pub found: Found,
    /// The author's domain; empty: there is none, or more than one.
    pub domain: String,
    /// What the domain asks for when it fails.
    pub policy: Policy,
}

/// What an author's domain asks for (RFC 9989 4.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Nothing.
    None,
    /// To put such mail aside.
    Quarantine,
    /// To refuse it.
    Reject,
}

/// Everything that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Where the message came from.
    pub peer: IpAddr,
    /// Its name.
    pub iprev: Iprev,
    /// The name it gave itself.
    pub helo: Spf,
    /// The envelope's sender.
    pub mail_from: Spf,
    /// Each signature looked at, in the order of the message.
    pub dkim: Vec<Dkim>,
    /// Those who passed it on.
    pub arc: Arc,
    /// Its author.
    pub dmarc: Dmarc,
    /// What follows.
    pub consequence: Consequence,
}

/// What is done with the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consequence {
    /// It goes on as any other.
    Accept,
    /// It goes to where doubtful mail is kept.
    Quarantine,
    /// It is refused for good.
    Reject(Reply),
    /// It is to come again later.
    Later(Reply),
}

impl Outcome {
    /// The registered word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::Neutral => "neutral",
            Self::None => "none",
            Self::Policy => "policy",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Policy {
    /// The word a domain publishes.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
        }
    }
}

impl Consequence {
    /// It in one word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Accept => "accepted",
            Self::Quarantine => "quarantined",
            Self::Reject(_) => "refused",
            Self::Later(_) => "put off",
        }
    }
}

impl Found {
    /// A result without more words.
    #[must_use]
    pub fn bare(outcome: Outcome) -> Self {
        Self { outcome, reason: String::new() }
    }

    /// A result and why.
    #[must_use]
    pub fn because(outcome: Outcome, reason: impl Into<String>) -> Self {
        Self { outcome, reason: reason.into() }
    }
}

impl Verdict {
    /// The best of the signatures; none where there is none.
    #[must_use]
    pub fn best_signature(&self) -> Option<&Dkim> {
        let rank = |dkim: &&Dkim| match dkim.found.outcome {
            Outcome::Pass => 0,
            Outcome::TempError => 1,
            Outcome::Fail => 2,
            _ => 3,
        };
        self.dkim.iter().min_by_key(rank)
    }
}
