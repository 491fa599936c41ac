//! Why something could not be done to a mailbox, by who must act.

use std::fmt;

use gracedb::error::Error as StoreError;

/// Why not.
#[derive(Debug)]
pub enum Failure {
    /// There is no such mailbox (any more).
    NoSuchMailbox,
    /// There is no such message (any more).
    NoSuchMessage,
    /// There is a mailbox of that name already.
    Exists,
    /// Others may do that.
    NoPermission,
    /// More would be kept than may be.
    OverQuota,
    /// Nobody may do that, whoever asks; why, in words.
    NotAllowed(&'static str),
    /// A limit is reached; which, in words.
    Limit(&'static str),
    /// The disk is full: nothing was kept. It works again when the admin has made room.
    Full(StoreError),
    /// The database failed; the client may try again, the admin must look.
    Store(StoreError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchMailbox => f.write_str("there is no such mailbox"),
            Self::NoSuchMessage => f.write_str("there is no such message"),
            Self::Exists => f.write_str("there is a mailbox of that name already"),
            Self::NoPermission => f.write_str("you have no right to do that"),
            Self::OverQuota => f.write_str("more would be kept than may be"),
            Self::NotAllowed(why) | Self::Limit(why) => f.write_str(why),
            Self::Full(e) => e.fmt(f),
            Self::Store(e) => write!(f, "the database failed: {e}"),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Full(e) | Self::Store(e) => Some(e),
            _ => None,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(e: StoreError) -> Self {
        if e.is_no_space() { Self::Full(e) } else { Self::Store(e) }
    }
}
