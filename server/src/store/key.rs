//! The key file of the database, and putting another one in its place.
//!
//! ```text
//!   key            key.new     the database opens with
//!   the old one                the old one
//!   the old one    the new     either: nobody knows what the crash left
//!   the new one                the new one; the old one is key.until-DATE, for earlier backups
//! ```
//! Invariant: whenever the power goes, the key that opens the database is in one of the two files,
//! durable, and the next start finds it.
//! Not here: where the file is (`config`), making the first one ([`super::open`]).

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use gracedb::db::Db;
use gracedb::error::Error;
use gracedb::progress::Watcher;
use gracedb::seal::Key;

use grace_mail::date::Date;

use super::seed::now_s;

/// A key file that was put in the place of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// Where the earlier key is kept now.
    pub earlier: PathBuf,
}

/// Where a new key waits until the database opens with it.
pub(super) fn waiting(file: &Path) -> PathBuf {
    beside(file, ".new")
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(ending);
    PathBuf::from(name)
}

/// Encrypts everything anew, with a new data key, and makes a new key file that opens it from then
/// on. If the work ends early the new file counts all the same once the database takes it.
///
/// # Errors
/// What failed. The files are in order then, too.
pub fn replace(db: &Db, file: &Path, watcher: Watcher<'_>) -> Result<Replaced, Error> {
    let new = waiting(file);
    match fs::remove_file(&new) {
        // Left by a crash before the database took it, or it would have been found at the start.
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(failed("remove", &new, e)),
    }
    let key = Key::create_file(&new)?;
    let mut placed = None;
    let changed = db.change_key(Some(&key), &mut |progress| {
        // The first word comes when the database has taken the key.
        placed.get_or_insert_with(|| place(file));
        watcher(progress)
    });
    match placed {
        Some(placed) => changed.and(placed),
        None => changed.and_then(|()| place(file)),
    }
}

/// Puts the waiting key into its place, keeping the earlier one.
pub(super) fn place(file: &Path) -> Result<Replaced, Error> {
    let earlier = until_now(file);
    fs::copy(file, &earlier).map_err(|e| failed("copy the earlier key", &earlier, e))?;
    let copy = File::open(&earlier).and_then(|copy| copy.sync_all());
    copy.map_err(|e| failed("sync the earlier key", &earlier, e))?;
    fs::rename(waiting(file), file).map_err(|e| failed("replace the key", file, e))?;
    #[cfg(unix)]
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|e| failed("sync the folder", folder, e))?;
    }
    Ok(Replaced { earlier })
}

/// A name that says until when the key was the key, and that is free.
fn until_now(file: &Path) -> PathBuf {
    let day = Date::from_timestamp(now_s()).map(|date| {
        let Date { year, month, day, hour, minute, second, .. } = date;
        format!(".until-{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}")
    });
    let name = beside(file, day.as_deref().unwrap_or(".until-now"));
    let mut names = (2..).map(|number: u32| beside(&name, &format!("-{number}")));
    if name.exists() { names.find(|name| !name.exists()).unwrap_or(name) } else { name }
}

fn failed(doing: &'static str, file: &Path, error: io::Error) -> Error {
    Error::Io { doing, file: file.display().to_string(), source: std::sync::Arc::new(error) }
}
