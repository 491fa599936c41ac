//! Why a change an admin asked for was refused.

use std::fmt;

use super::failure::Failure;

/// Why a change was refused.
#[derive(Debug)]
pub enum Refusal {
    /// It exists already.
    Exists(String),
    /// It does not exist.
    Missing(String),
    /// What was given cannot be used; why, and what would do.
    Invalid(String),
    /// The database failed.
    Store(Failure),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(what) => write!(f, "{what} exists already"),
            Self::Missing(what) => write!(f, "there is no {what}"),
            Self::Invalid(why) => f.write_str(why),
            Self::Store(failure) => failure.fmt(f),
        }
    }
}

impl std::error::Error for Refusal {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(failure) => Some(failure),
            _ => None,
        }
    }
}

impl<E: Into<Failure>> From<E> for Refusal {
    fn from(e: E) -> Self {
        Self::Store(e.into())
    }
}
