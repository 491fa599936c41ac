//! What a peer of the admin protocol may do.
//!
//! Invariant: a role may do everything the roles below it may. Not here: which request needs which
//! role ([`crate::message::RequestBody::rule`]), who gets which (`crate::transport`, the daemon).

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a peer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// Look at everything that is not a secret.
    Viewer,
    /// Keep the mail flowing: accounts and passwords, later queue and quarantine.
    Operator,
    /// Everything, also what cannot be undone.
    Owner,
}

impl Role {
    /// Every role, weakest first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Owner];

    /// The number in the hello.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Viewer => 1,
            Self::Operator => 2,
            Self::Owner => 3,
        }
    }

    /// The role with this number in the hello.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Viewer),
            2 => Some(Self::Operator),
            3 => Some(Self::Owner),
            _ => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Owner => "owner",
        })
    }
}
