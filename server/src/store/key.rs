//! The key file of the database, and putting another one in its place.
//!
//! ```text
//!   key            key.new     the database opens with
//!   the old one                the old one
//!   the old one    the new     either: nobody knows what the crash, or the failure, left
//!   the new one                the new one; the old one is key.until-DATE, for earlier backups
//! ```
//! A new key that waits when the next change begins is put aside as key.new-DATE.
//! Invariants: whenever the power goes, the key that opens the database is in one of these files,
//! durable, and the next start finds it; no key file is ever removed or written over.
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

/// What the name of a new key file ends with.
const NEW: &str = ".new";

/// Where a new key waits until the database opens with it.
pub(super) fn waiting(file: &Path) -> PathBuf {
    beside(file, NEW)
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(ending);
    PathBuf::from(name)
}

/// Key files beside this one that may open the database when it does not, the likeliest first: new
/// ones that wait, then others of its name, the latest first.
#[must_use]
pub fn others(file: &Path) -> Vec<PathBuf> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let Some(name) = file.file_name().and_then(|name| name.to_str()) else { return Vec::new() };
    let entries = fs::read_dir(folder.unwrap_or(Path::new("."))).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let endings = names.filter_map(|other| {
        let ending = other.strip_prefix(name)?;
        ending.starts_with('.').then(|| ending.to_owned())
    });
    let mut endings: Vec<String> = endings.collect();
    endings.sort_by_key(|ending| (ending == NEW, ending.starts_with(NEW), ending.clone()));
    let files = endings.iter().rev().map(|ending| beside(file, ending));
    files.filter(|file| file.is_file()).collect()
}

/// Makes a key that waits beside its place.
pub(super) fn make(file: &Path) -> Result<Key, Error> {
    let new = waiting(file);
    if fs::exists(&new).map_err(|e| failed("look for", &new, e))? {
        // It may be the only one that opens the database.
        let aside = dated(file, ".new-");
        fs::rename(&new, &aside).map_err(|e| failed("put aside", &new, e))?;
    }
    Key::create_file(&new)
}

/// Encrypts everything anew, with a new data key, and makes a new key file that opens it from then
/// on. If the work ends early the new file counts all the same once the database takes it.
///
/// # Errors
/// What failed. If it is not known whether the database took the new key, that stays in its file
/// beside the other one, and whoever opens the database tries both.
pub fn replace(db: &Db, file: &Path, watcher: Watcher<'_>) -> Result<Replaced, Error> {
    let key = make(file)?;
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

/// What is to be said after a change of keys that failed: where the new key waits, if it does.
#[must_use]
pub fn waits(file: &Path) -> Option<String> {
    let new = waiting(file);
    new.exists().then(|| {
        format!(
            "the new key stays in {}: keep it, for either key may be the one that opens the \
             database; both are tried",
            new.display()
        )
    })
}

/// Puts the waiting key into its place, keeping the earlier one.
fn place(file: &Path) -> Result<Replaced, Error> {
    let earlier = keep(file)?;
    put(&waiting(file), file)?;
    Ok(Replaced { earlier })
}

/// Puts a key that opens the database into its place, keeping the one that is there, if any.
///
/// # Errors
/// What failed; both keys are still there.
pub fn settle(found: &Path, file: &Path) -> Result<(), Error> {
    if fs::exists(file).map_err(|e| failed("look for", file, e))? {
        keep(file)?;
    }
    put(found, file)
}

/// Makes a durable copy of the key that goes, under a name that says until when it was the key.
fn keep(file: &Path) -> Result<PathBuf, Error> {
    let earlier = dated(file, ".until-");
    fs::copy(file, &earlier).map_err(|e| failed("copy the earlier key", &earlier, e))?;
    let copy = File::open(&earlier).and_then(|copy| copy.sync_all());
    copy.map_err(|e| failed("sync the earlier key", &earlier, e))?;
    Ok(earlier)
}

fn put(found: &Path, file: &Path) -> Result<(), Error> {
    fs::rename(found, file).map_err(|e| failed("replace the key", file, e))?;
    #[cfg(unix)]
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|e| failed("sync the folder", folder, e))?;
    }
    Ok(())
}

/// A name beside the key file that says the time, and that is free.
fn dated(file: &Path, ending: &str) -> PathBuf {
    let time = Date::from_timestamp(now_s()).map(|date| {
        let Date { year, month, day, hour, minute, second, .. } = date;
        format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}")
    });
    let time = time.unwrap_or_else(|| "now".to_owned());
    let name = beside(file, &format!("{ending}{time}"));
    let mut names = (2..).map(|number: u32| beside(&name, &format!("-{number}")));
    if name.exists() { names.find(|name| !name.exists()).unwrap_or(name) } else { name }
}

fn failed(doing: &'static str, file: &Path, error: io::Error) -> Error {
    Error::Io { doing, file: file.display().to_string(), source: std::sync::Arc::new(error) }
}
