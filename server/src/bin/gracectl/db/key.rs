//! Key files and passphrases, as the command line gives them.
//!
//! Invariant: a passphrase is never an argument, and a terminal does not show it.
//! Not here: what they open (`gracedb::seal`), putting a file in another's place
//! (`graced::store::key`).

use std::path::{Path, PathBuf};

use clap::Args;

use gracedb::seal::Key;

use graced::store::report;

use crate::password;

/// What opens the database from now on; without any of these it is what does now.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct New {
    /// Make a new key file in the place of the one there is, which is kept beside it for earlier
    /// backups
    #[arg(long)]
    new_key: bool,
    /// With --dir: key file that opens it from now on; made if it is not there
    #[arg(long, value_name = "FILE")]
    new_key_file: Option<PathBuf>,
    /// With --dir: a passphrase opens it from now on, and graced, which asks nobody, does not
    #[arg(long)]
    new_passphrase: bool,
}

impl New {
    /// Whether the daemon is to make a new key file.
    pub(super) fn for_daemon(&self) -> bool {
        if self.new_key_file.is_some() || self.new_passphrase {
            super::wrong_usage(
                "a running graced keeps its key where it is: --new-key makes a new one there. \
                 Another file, or a passphrase, is for a database that nobody has open (--dir)\n",
            );
        }
        self.new_key
    }

    pub(super) fn is_in_place(&self) -> bool {
        self.new_key
    }

    pub(super) fn is_passphrase(&self) -> bool {
        self.new_passphrase
    }

    pub(super) fn file(&self) -> &Option<PathBuf> {
        &self.new_key_file
    }

    /// The key named or typed; `None`: neither.
    pub(super) fn read(&self) -> Result<Option<Key>, String> {
        if self.new_passphrase {
            let words = password::ask_twice("New passphrase", "The same once more")?;
            return Ok(Some(Key::from_passphrase(words)));
        }
        let Some(file) = &self.new_key_file else { return Ok(None) };
        let key = if file.exists() { Key::read_file(file) } else { Key::create_file(file) };
        key.map(Some).map_err(|e| report::error(&e))
    }
}

/// Asks for the passphrase of a database.
pub(super) fn ask(folder: &Path) -> Result<Key, String> {
    let words = password::ask(&format!("Passphrase of {}", folder.display()))?;
    Ok(Key::from_passphrase(words))
}
