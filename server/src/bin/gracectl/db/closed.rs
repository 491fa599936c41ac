//! A database that no daemon has open: this program does the work itself.
//!
//! ```text
//!   --dir ─▶ its folder ─▶ does anybody have it open? ─▶ what opens it ─▶ key file, or passphrase
//!                                                                    └▶ the work
//! ```
//! Invariants: stats, verify, backup, restore and repair change nothing in the folder; what does
//! runs as the user the files belong to, for the daemon could not write what another user makes.
//! Not here: the work itself (`gracedb`), the daemon's way of opening it (`graced::store::closed`).

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gracedb::copy;
use gracedb::db::Db;
use gracedb::disk::Disk;
use gracedb::disk::real::RealDisk;
use gracedb::error::Error;
use gracedb::inventory;
use gracedb::options::Options;
use gracedb::repair;
use gracedb::seal::{Key, LockedBy};
use gracedb::verify;

use grace_ipc::database::{
    DbCompacted, DbCopied, DbKeyChanged, DbMoment, DbProblem, DbSegment, DbStats, DbVerified,
};
use graced::config::Config;
use graced::store::{SCHEMA, closed, key as key_file, report, target};

use super::Access;
use super::key::{self, New};
use super::meter::Meter;
use super::show::Repaired;

/// Where the process id of whoever has the database open stands.
const LOCK: &str = "lock";

/// What opens a database, and the file it was read from.
type Found = (Option<Key>, Option<PathBuf>);

/// Finds what opens a database; also says whether something has to.
pub(super) fn find_key(
    folder: &Path,
    config: &Config,
    access: &Access,
) -> Result<(bool, Found), String> {
    let found = closed::key_files(folder, config);
    let file = access.key_file.clone().or_else(|| opening(&found, folder, config).cloned());
    let key = match (LockedBy::of(&RealDisk::new(folder)), file) {
        (Ok(LockedBy::Nothing), _) | (Err(_), None) => return Ok((false, (None, None))),
        (Ok(LockedBy::Passphrase), _) => (Some(key::ask(folder)?), None),
        (Ok(LockedBy::KeyFile), None) => (None, None),
        // What a broken meta file does not say any more is found out by trying.
        (Ok(LockedBy::KeyFile) | Err(_), Some(file)) => {
            (Some(Key::read_file(&file).map_err(|e| report::error(&e))?), Some(file))
        }
    };
    Ok((true, key))
}

/// The key file that opens the database; if none does, the first one: that is what is spoken of.
fn opening<'a>(found: &'a [PathBuf], folder: &Path, config: &Config) -> Option<&'a PathBuf> {
    let (first, others) = found.split_first()?;
    if others.is_empty() {
        return Some(first);
    }
    let opens = |file: &&PathBuf| {
        Key::read_file(file).is_ok_and(|key| {
            let looked = inventory::closed(&closed::options(folder, config, Some(key)));
            !matches!(looked, Err(Error::WrongKey { .. }))
        })
    };
    let file = found.iter().find(opens).unwrap_or(first);
    if file != first {
        note(&format!("the database opens with {}, not with {}", file.display(), first.display()));
    }
    Some(file)
}

/// Says something beside the results, which may be read by a script.
#[expect(clippy::print_stderr, reason = "what a script reads is on standard output")]
fn note(text: &str) {
    eprintln!("gracectl: {text}");
}

/// A database, and what opens it.
pub(super) struct Closed {
    folder: PathBuf,
    config: Config,
    /// Where the settings are from, in words.
    settings: String,
    key: Option<Key>,
    /// Where the key was read from.
    key_file: Option<PathBuf>,
}

impl Closed {
    /// Finds the database and its key.
    pub(super) fn find(dir: &Path, access: &Access) -> Result<Self, String> {
        let folder = closed::find(dir)?;
        let config = Config::load(access.config.as_deref(), None).map_err(|e| e.to_string())?;
        // Before a passphrase is asked for.
        match RealDisk::new(&folder).lock() {
            Ok(Some(lock)) => drop(lock),
            Ok(None) => return Err(is_open(&folder)),
            Err(e) => return Err(format!("{}: it cannot be locked: {e}", folder.display())),
        }
        let (is_encrypted, (key, key_file)) = find_key(&folder, &config, access)?;
        if is_encrypted && key.is_none() {
            return Err(format!(
                "the database in {} is encrypted, and its key file is not where graced would have \
                 it; name it with --key-file",
                folder.display()
            ));
        }
        let settings = match &access.config {
            Some(file) => file.display().to_string(),
            None if config.try_mode => "a default, for no configuration was found".to_owned(),
            None => "the system's configuration".to_owned(),
        };
        Ok(Self { folder, config, settings, key, key_file })
    }

    fn name(&self) -> String {
        self.folder.display().to_string()
    }

    fn options(&self) -> Options {
        closed::options(&self.folder, &self.config, self.key.clone())
    }

    /// An error in words, with the key that was tried.
    fn failed(&self, error: &Error) -> String {
        match (error, &self.key_file) {
            (Error::Locked { dir }, _) if *dir == self.name() => is_open(&self.folder),
            (Error::WrongKey { .. }, Some(file)) => format!(
                "{} does not open the database in {}; nothing was changed. Name its key with \
                 --key-file",
                file.display(),
                self.name()
            ),
            (Error::WrongKey { .. }, None) => {
                format!("the passphrase does not open the database in {}", self.name())
            }
            (Error::Stopped, _) => "it was interrupted".to_owned(),
            _ => {
                let text = report::error(error);
                if text.contains('/') { text } else { format!("{}: {text}", self.name()) }
            }
        }
    }

    pub(super) fn stats(&self) -> Result<(DbStats, Vec<DbSegment>), String> {
        let found = inventory::closed(&self.options()).map_err(|e| self.failed(&e))?;
        Ok((report::stats(self.name(), &found, None), report::segments(&found)))
    }

    pub(super) fn verify(&self, meter: &mut Meter) -> Result<(DbVerified, Vec<DbProblem>), String> {
        let watcher: gracedb::progress::Watcher<'_> =
            &mut |progress| meter.hear(&report::progress(progress));
        let checked = verify::closed(&self.options(), SCHEMA, watcher);
        let problem = |file: String, offset, what| {
            let verified = DbVerified { problems: 1, ..DbVerified::default() };
            Ok((verified, vec![DbProblem { file, offset, what }]))
        };
        match checked {
            Ok(found) => {
                let problems = found.problems.iter().map(report::problem).collect();
                Ok((report::verified(&found), problems))
            }
            // So bad that the check could not go on is a finding, not a failure.
            Err(Error::Corrupt { file, offset, what } | Error::Unknown { file, offset, what }) => {
                let what = format!("{what}; nothing behind it could be checked");
                problem(file, Some(offset), what)
            }
            Err(Error::MetaMissing { dir }) => {
                problem(dir, None, "there is no meta file (*.gm)".to_owned())
            }
            Err(e) => Err(self.failed(&e)),
        }
    }

    /// A folder for a copy.
    fn target(&self, to: &Path) -> Result<(String, Arc<dyn Disk>), String> {
        let folder = target::outside(to, &self.folder)?;
        Ok((folder.display().to_string(), Arc::new(RealDisk::new(folder))))
    }

    pub(super) fn backup(&self, to: &Path, meter: &mut Meter) -> Result<DbCopied, String> {
        let (folder, disk) = self.target(to)?;
        let watcher: gracedb::progress::Watcher<'_> =
            &mut |progress| meter.hear(&report::progress(progress));
        let copied = copy::backup_closed(&self.options(), &disk, watcher);
        copied.map(|copied| report::copied(folder, &copied)).map_err(|e| self.failed(&e))
    }

    pub(super) fn restore(
        &self,
        to: &Path,
        moment: DbMoment,
        meter: &mut Meter,
    ) -> Result<DbCopied, String> {
        let (folder, disk) = self.target(to)?;
        let watcher: gracedb::progress::Watcher<'_> =
            &mut |progress| meter.hear(&report::progress(progress));
        let moment = report::moment(moment);
        let copied = copy::restore_closed(&self.options(), moment, &disk, watcher);
        copied.map(|copied| report::copied(folder, &copied)).map_err(|e| self.failed(&e))
    }

    /// Opens it as the daemon would, for work that changes it.
    fn open(&self, key: Option<Key>) -> Result<Db, String> {
        self.check_user()?;
        if self.folder.join("backup").is_file() {
            return Err(format!(
                "{} is a backup, which is not changed; restore it into another folder first",
                self.name()
            ));
        }
        // What is deleted for longer than that is given back now, for good.
        note(&format!(
            "store.restore_hours is {} ({}); another configuration is named with --config",
            self.config.store.restore_hours, self.settings
        ));
        let options = closed::options(&self.folder, &self.config, key);
        closed::open(options).map_err(|e| self.failed(&e))
    }

    #[cfg(unix)]
    fn check_user(&self) -> Result<(), String> {
        use std::os::unix::fs::MetadataExt as _;
        let owner = fs::metadata(&self.folder).map_err(|e| format!("{}: {e}", self.name()))?.uid();
        let own = rustix::process::geteuid().as_raw();
        if owner == own {
            return Ok(());
        }
        Err(format!(
            "{} belongs to user {owner}, and you are user {own}: graced could not write the files \
             you make; run this as its user (sudo -u '#{owner}' gracectl …)",
            self.name()
        ))
    }

    #[cfg(not(unix))]
    fn check_user(&self) -> Result<(), String> {
        Ok(())
    }

    pub(super) fn compact(&self, meter: &mut Meter) -> Result<DbCompacted, String> {
        let db = self.open(self.key.clone())?;
        let compacted =
            report::compact(&db, &mut |progress| meter.hear(&report::progress(progress)));
        db.close();
        compacted.map_err(|e| self.failed(&e))
    }

    /// Another key; `key` is the one that was named or typed.
    pub(super) fn change_key(
        &self,
        new: &New,
        key: Option<Key>,
        meter: &mut Meter,
    ) -> Result<DbKeyChanged, String> {
        let watcher: gracedb::progress::Watcher<'_> =
            &mut |progress| meter.hear(&report::progress(progress));
        if new.is_in_place() {
            let file = self.key_file.as_ref().ok_or(
                "there is no key file to be replaced; name one with --new-key-file, or see --help",
            )?;
            let place = closed::place_of(file, &self.folder, &self.config);
            let db = self.open(self.key.clone())?;
            let replaced = if place == *file {
                key_file::replace(&db, &place, watcher)
            } else {
                // An earlier change was cut short: that one is ended first.
                key_file::settle(file, &place).and_then(|_| key_file::replace(&db, &place, watcher))
            };
            let replaced = replaced.map_err(|e| {
                let text = self.failed(&e);
                let waits = key_file::waits(&place).map(|waits| format!("{text}; {waits}"));
                waits.unwrap_or(text)
            });
            db.close();
            return Ok(DbKeyChanged {
                key_file: Some(place.display().to_string()),
                earlier_key_file: Some(replaced?.earlier.display().to_string()),
            });
        }
        let changed = if self.key.is_some() {
            let db = self.open(self.key.clone())?;
            let changed = db.change_key(key.as_ref(), watcher);
            db.close();
            changed
        } else if key.is_some() {
            // In the clear so far: opened with a key it is written anew with that.
            let db = self.open(key)?;
            let changed = db.compact(watcher).map(drop);
            db.close();
            changed
        } else {
            return Err(format!(
                "the database in {} is not encrypted; name what is to open it with --new-key-file \
                 or --new-passphrase",
                self.name()
            ));
        };
        changed.map_err(|e| self.failed(&e))?;
        let shown = |file: &Option<PathBuf>| file.as_ref().map(|file| file.display().to_string());
        let earlier = self.key_file.clone().filter(|_| new.file().is_some());
        Ok(DbKeyChanged { key_file: shown(new.file()), earlier_key_file: shown(&earlier) })
    }

    pub(super) fn repair(&self, to: &Path, meter: &mut Meter) -> Result<Repaired, String> {
        let folder = target::outside(to, &self.folder)?;
        let scratch = beside(&folder);
        let there = names(&folder);
        if scratch.exists() {
            return Err(format!(
                "{} is there, left by a repair that was cut short; remove it first",
                scratch.display()
            ));
        }
        for folder in [&folder, &scratch] {
            fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        }
        let options = |folder: &Path| closed::options(folder, &self.config, self.key.clone());
        let watcher: gracedb::progress::Watcher<'_> =
            &mut |progress| meter.hear(&report::progress(progress));
        let from = self.options();
        let repaired =
            repair::closed(&from, options(&folder), Options::new(&scratch), SCHEMA, watcher);
        // Both were made here; what cannot be removed is in nobody's way.
        drop(fs::remove_dir_all(&scratch));
        if repaired.is_err() {
            clear(&folder, there.as_ref());
        }
        let repaired = repaired.map_err(|e| match &e {
            Error::Schema { .. } => format!(
                "{}; repair it with the gracectl of the program that wrote it, or open it once \
                 with this graced, which brings the tables up to date, if it opens",
                self.failed(&e)
            ),
            e => self.failed(e),
        })?;
        Ok(Repaired {
            folder: folder.display().to_string(),
            rows: repaired.rows,
            large_bytes: repaired.large_bytes,
            losses_count: repaired.losses_count,
            losses: repaired.losses.iter().map(report::problem).collect(),
        })
    }
}

/// A folder for what is needed meanwhile, on the same drive as the result.
fn beside(folder: &Path) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(".scratch");
    PathBuf::from(name)
}

/// What is in a folder; `None`: it is not there, or cannot be read.
fn names(folder: &Path) -> Option<BTreeSet<OsString>> {
    let entries = fs::read_dir(folder).ok()?;
    entries.map(|entry| entry.map(|entry| entry.file_name()).ok()).collect()
}

/// Removes what a repair left that did not come to its end, so that the next one finds the folder
/// as this one did. Of what cannot be removed the next one tells.
fn clear(folder: &Path, there: Option<&BTreeSet<OsString>>) {
    let Some(there) = there else {
        drop(fs::remove_dir_all(folder));
        return;
    };
    for name in names(folder).into_iter().flatten().filter(|name| !there.contains(name)) {
        drop(fs::remove_file(folder.join(name)));
    }
}

/// Somebody has the database open.
fn is_open(folder: &Path) -> String {
    let process = fs::read_to_string(folder.join(LOCK)).unwrap_or_default();
    let process = match process.trim() {
        "" => String::new(),
        id => format!(" (process {id})"),
    };
    format!(
        "{}: another program has the database open{process}; if that is graced, leave --dir out \
         and the running graced does it, or stop graced first",
        folder.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(folder: &Path, key: &Key) -> Options {
        Options { key: Some(key.clone()), ..Options::new(folder) }
    }

    #[test]
    fn the_key_file_that_opens_the_database_is_found_among_several() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("store");
        let file = |name: &str| data.path().join(name);
        Key::create_file(&file("store.key")).unwrap();
        let key = Key::create_file(&file("store.key.new")).unwrap();
        Db::open(options(&folder, &key), SCHEMA).unwrap().close();
        let config = Config::load(None, Some(data.path())).unwrap();
        let access = Access { key_file: None, config: None };
        let (is_encrypted, (_, found)) = find_key(&folder, &config, &access).unwrap();
        assert!(is_encrypted);
        assert_eq!(found, Some(file("store.key.new")));
        assert_eq!(closed::place_of(&file("store.key.new"), &folder, &config), file("store.key"));
    }

    #[test]
    fn a_repair_that_fails_leaves_the_folder_as_it_was() {
        let (data, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let kept = to.path().join("notes");
        fs::write(&kept, "mine").unwrap();
        let there = names(to.path());
        Db::open(Options::new(to.path()), SCHEMA).unwrap().close();
        assert!(names(to.path()).unwrap().len() > 1);
        clear(to.path(), there.as_ref());
        assert_eq!(names(to.path()), there);
        let made = data.path().join("made");
        let there = names(&made);
        Db::open(Options::new(&made), SCHEMA).unwrap().close();
        clear(&made, there.as_ref());
        assert!(!made.exists());
    }
}
