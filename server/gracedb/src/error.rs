//! Everything that can go wrong, said so that a person knows what to do.
//!
//! Invariants: an error names the file and the offset where there is one; it is cheap to clone,
//! because one failed sync is told to every waiting commit.
//! Not here: what an SMTP client hears about it (`server`).

use std::fmt;
use std::io;
use std::sync::Arc;

/// What went wrong.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused something.
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file it was done to.
        file: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// Another process, or another handle in this one, has the database open.
    Locked {
        /// The database's folder.
        dir: String,
    },
    /// The disk is full. Nothing of the failed transactions was kept; later ones may succeed.
    NoSpace {
        /// The file that could not grow.
        file: String,
        /// Bytes that were asked for; 0: not known.
        bytes: u64,
    },
    /// An earlier write or sync failed: what the disk holds of the newest commits is unknown.
    Poisoned {
        /// The failure.
        reason: Arc<Error>,
    },
    /// Bytes on the disk are not what was written.
    Corrupt {
        /// The file.
        file: String,
        /// Where in it, in bytes from its start.
        offset: u64,
        /// What was found there.
        what: String,
    },
    /// The file is written in a format, or with a feature, that this program does not know.
    Unknown {
        /// The file.
        file: String,
        /// Where in it, in bytes from its start.
        offset: u64,
        /// What was found there.
        what: String,
    },
    /// The moment is not one that the database can be brought back to.
    NotRestorable {
        /// The moment.
        moment: crate::copy::Moment,
        /// The first transaction that it can be brought back to.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// A copy would be written over something else.
    NotEmpty {
        /// The folder.
        dir: String,
    },
    /// The program's tables are not those of the database.
    Schema {
        /// Each difference, in words.
        differences: Vec<String>,
    },
    /// `insert` found a row with the same key.
    KeyExists {
        /// The table.
        table: &'static str,
    },
    /// A unique index already has this key, in another row.
    NotUnique {
        /// The table.
        table: &'static str,
        /// The index.
        index: &'static str,
    },
    /// A row or key is larger than its limit.
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The most it may be.
        bytes_max: usize,
    },
    /// A row could not be turned into bytes, or back.
    Row {
        /// The table.
        table: &'static str,
        /// Why.
        reason: String,
    },
    /// The bytes of a large value are not there any more: the disk ran full while they were on
    /// their way, or the row they were read from was changed, deleted or moved since. Write them
    /// again, or read the row in the transaction that puts it elsewhere.
    LargeLost,
    /// The database is encrypted, and the key given is none, or another kind of key.
    KeyNeeded {
        /// What is needed.
        what: &'static str,
    },
    /// The key given does not open this database.
    WrongKey {
        /// The file that holds the wrapped keys.
        file: String,
    },
    /// A key file does not hold a key.
    KeyFile {
        /// The file.
        file: String,
    },
    /// The meta file is missing, so nobody knows which of the other files count.
    MetaMissing {
        /// The database's folder.
        dir: String,
    },
    /// Something that cannot be has happened. The database is as it was.
    Internal {
        /// What.
        what: &'static str,
    },
    /// A setting cannot work.
    Settings {
        /// Which, and why.
        what: &'static str,
    },
    /// Whoever watched the work said that it should not go on.
    Stopped,
    /// The database is closed.
    Closed,
}

impl Error {
    /// Whether the same call may succeed later without anybody doing more than making room.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::NoSpace { .. } | Self::LargeLost)
    }

    /// What a failed change of a file is: a full disk, which heals, or anything else.
    pub(crate) fn writing(doing: &'static str, file: &str, source: io::Error) -> Self {
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return Self::NoSpace { file: file.to_owned(), bytes: 0 };
        }
        Self::io(doing, file, source)
    }

    pub(crate) fn io(doing: &'static str, file: &str, source: io::Error) -> Self {
        Self::Io { doing, file: file.to_owned(), source: Arc::new(source) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing, file, source } => write!(f, "{file}: {doing} failed: {source}"),
            Self::Locked { dir } => {
                write!(f, "{dir}: the database is open in another process; stop that one first")
            }
            Self::NoSpace { file, bytes: 0 } => {
                write!(f, "{file}: the disk is full; make room, no restart is needed")
            }
            Self::NoSpace { file, bytes } => write!(
                f,
                "{file}: the disk is full, no room for {bytes} more bytes; make room, no restart is needed"
            ),
            Self::Poisoned { reason } => write!(
                f,
                "the database stopped writing after a failure ({reason}); check the disk, then reopen it"
            ),
            Self::Corrupt { file, offset, what } => {
                write!(
                    f,
                    "{file}: corrupt at byte {offset}: {what}; restore a backup, or salvage the rest with `gracectl db repair`"
                )
            }
            Self::Unknown { file, offset, what } => write!(
                f,
                "{file}: at byte {offset}: {what}; written by a newer program, open it with that one"
            ),
            Self::Schema { differences } => write!(
                f,
                "the database has other tables than this program: {}",
                differences.join("; ")
            ),
            Self::KeyExists { table } => write!(f, "{table}: a row with this key exists"),
            Self::NotUnique { table, index } => {
                write!(f, "{table}: another row has this key in the unique index {index}")
            }
            Self::TooLarge { what, bytes, bytes_max } => {
                write!(f, "{what} has {bytes} bytes, more than {bytes_max}")
            }
            Self::Row { table, reason } => write!(f, "{table}: {reason}"),
            Self::LargeLost => {
                write!(
                    f,
                    "the large value is not there any more; write it again, or read its row again"
                )
            }
            Self::KeyNeeded { what } => {
                write!(f, "the database is encrypted and is opened by {what}")
            }
            Self::WrongKey { file } => {
                write!(f, "{file}: the key does not open this database; nothing was changed")
            }
            Self::KeyFile { file } => {
                write!(f, "{file}: not a key; a key file holds 64 hexadecimal digits")
            }
            Self::MetaMissing { dir } => write!(
                f,
                "{dir}: there is no meta file (*.gm); restore a backup, or salvage what is there with `gracectl db repair`"
            ),
            Self::NotRestorable { moment, first, last } => write!(
                f,
                "{moment} is not among those the database can be brought back to; these are transactions {first} to {last}"
            ),
            Self::NotEmpty { dir } => write!(
                f,
                "{dir}: there is another database in that folder, and it is not written over; name an empty folder"
            ),
            Self::Internal { what } => write!(f, "an internal error, please report it: {what}"),
            Self::Settings { what } => write!(f, "database settings: {what}"),
            Self::Stopped => write!(f, "stopped"),
            Self::Closed => write!(f, "the database is closed"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source.as_ref()),
            Self::Poisoned { reason } => Some(reason.as_ref()),
            _ => None,
        }
    }
}
