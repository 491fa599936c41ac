//! Opening the database as the configuration says, with its key.
//!
//! ```text
//!   key file there ─▶ read
//!                     no database: refused, for the drive it is on may not be there
//!   not there      ─▶ no database, or one in the clear: made, and what is written from now on is
//!                     encrypted
//!                     an encrypted database: refused, for a new key would not open it, unless
//!                     another one beside it does
//!   does not open  ─▶ another one beside it does: a change of keys was cut short, and is ended
//! ```
//! Invariants: a key is made only where there is nothing that another key opens, and a database
//! only where there is no key to another one.
//! Not here: the settings (`config`), the tables ([`super`]), changing the key ([`super::key`]).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gracedb::db::Db;
use gracedb::disk::JournalIo;
use gracedb::error::Error;
use gracedb::options::Options;
use gracedb::seal::Key;

use super::forwards::copies_max;
use super::{SCHEMA, earlier, key};
use crate::config::Config;
use crate::config::limits::{Limits, Store};

/// The database's folder, below the data folder.
pub const FOLDER: &str = "store";

/// Journal segments are whole blocks of the disk.
const DISK_BLOCK_BYTES: u64 = 4_096;

/// Most bytes of the rows of one transaction. A delivery is one, however many get it.
const TRANSACTION_BYTES_MAX: usize = 48 << 20;

/// So much of a transaction the pieces of a body may take that is delivered to many.
const PIECES_BYTES_MAX: u64 = 40 << 20;

/// What one piece of a body takes in a transaction for each mailbox it is put into: its place in
/// the row, and the note that the row points there.
const PIECE_ROW_BYTES: u64 = 64;

/// Bodies are kept in pieces between these sizes. The smaller one holds nine letters of ten whole;
/// a larger one costs as much memory for each large message on its way in or out.
const PIECE_BYTES: std::ops::RangeInclusive<u64> = 128 << 10..=16 << 20;

/// Bytes of bodies that may be on their way to the disk; three times as much memory is taken while
/// one large message comes in. Sixty letters at once fit.
const QUEUE_BYTES: usize = 1 << 20;

/// Journal bytes that may have to be read again after a crash, for each byte of rows in memory: of
/// what is written most is mail.
const JOURNAL_PER_ROWS: u64 = 8;

/// Opens the database below the data folder, or creates it.
///
/// # Errors
/// Why it cannot be opened, and what to do.
pub fn open(config: &Config) -> Result<Db, String> {
    let folder = config.data.join(FOLDER);
    let mut options = options(&folder, &config.store, &config.limits);
    let Some(file) = config.store.key_file(&config.data) else {
        return open_with(options).map_err(|e| match e {
            Error::KeyNeeded { .. } => format!("{e}, but store.key says \"none\""),
            e => e.to_string(),
        });
    };
    let explain = |e: Error| format!("{e} (store.key: {})", file.display());
    options.key = Some(match Key::read_file(&file) {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return begin(&file, &folder, options);
        }
        read => read.map_err(explain)?,
    });
    if !has_files(&folder)? {
        return Err(missing(&file, &folder));
    }
    let opened = match open_with(options.clone()) {
        Err(Error::WrongKey { file: wrong }) => {
            end_change(&file, &options).unwrap_or(Err(Error::WrongKey { file: wrong }))
        }
        opened => opened,
    };
    opened.map_err(|e| match e {
        Error::KeyNeeded { .. } | Error::WrongKey { .. } => explain(e),
        e => e.to_string(),
    })
}

/// Opens the database with the tables of today, coming from those of earlier programs.
pub(super) fn open_with(options: Options) -> Result<Db, Error> {
    Db::open_with(options, SCHEMA, &earlier::migrations())
}

/// Why a daemon with a key and without what it opens does not begin anew: every letter would be
/// refused for good while the true database is only out of sight.
fn missing(file: &Path, folder: &Path) -> String {
    format!(
        "there is a key, {}, but no database in {}: is the drive it is on mounted? Mount it, or \
         restore a backup into that folder; to begin with an empty database, move the key file \
         away first",
        file.display(),
        folder.display()
    )
}

/// Opens with another key file beside this one, and puts that in its place; `None`: none opens it.
fn end_change(file: &Path, options: &Options) -> Option<Result<Db, Error>> {
    key::others(file).into_iter().find_map(|other| {
        let key = Some(Key::read_file(&other).ok()?);
        let opened = match open_with(Options { key, ..options.clone() }) {
            Err(Error::WrongKey { .. }) => return None,
            opened => opened,
        };
        if opened.is_ok() {
            tracing::warn!(target: "grace", event = "KeyFoundBeside", key = %other.display());
            put_in_place(&other, file);
        }
        Some(opened)
    })
}

/// Puts the key that opened the database into its place; where it is, it is found as well.
fn put_in_place(found: &Path, file: &Path) {
    if let Err(e) = key::settle(found, file) {
        let found = found.display();
        tracing::warn!(target: "grace", event = "KeyNotPlaced", key = %found, error = %e);
    }
}

/// Makes a key and opens with it, unless the database is encrypted with another one. The key waits
/// beside its place until there is a database: a start that was cut short can be done again.
fn begin(file: &Path, folder: &Path, mut options: Options) -> Result<Db, String> {
    if has_files(folder)? {
        match open_with(options.clone()) {
            Ok(in_the_clear) => in_the_clear.close(),
            Err(Error::KeyNeeded { .. }) => {
                let other = end_change(file, &options);
                return other.map(|opened| opened.map_err(|e| e.to_string())).unwrap_or_else(
                    || {
                        Err(format!(
                            "the database is encrypted, and its key {} is not there; put the file \
                         back, or say with store.key where it is",
                            file.display()
                        ))
                    },
                );
            }
            Err(e) => return Err(e.to_string()),
        }
    }
    options.key = Some(key::make(file).map_err(|e| e.to_string())?);
    let db = open_with(options).map_err(|e| e.to_string())?;
    put_in_place(&key::waiting(file), file);
    Ok(db)
}

/// Endings of the database's files.
const ENDINGS: [&str; 4] = ["gm", "gi", "gj", "gk"];

/// Whether files of a database are in a folder.
///
/// # Errors
/// Nobody can say, for the folder cannot be read.
pub(super) fn has_files(folder: &Path) -> Result<bool, String> {
    let failed = |e: io::Error| format!("{} cannot be read: {e}", folder.display());
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let name = PathBuf::from(entry.map_err(failed)?.file_name());
        let ending = name.extension().unwrap_or_default();
        if ENDINGS.iter().any(|known| ending == *known) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How the database in a folder is opened by these settings, its key aside.
pub(super) fn options(folder: &Path, store: &Store, limits: &Limits) -> Options {
    let bytes = |setting: u64| usize::try_from(setting).unwrap_or(usize::MAX);
    let copies_max = copies_max(limits.recipients_max);
    let piece_bytes = bytes(piece_bytes(limits.message_bytes_max, copies_max));
    let defaults = Options::new(folder);
    Options {
        segment_bytes: store.segment_bytes.next_multiple_of(DISK_BLOCK_BYTES),
        journal_io: match store.journal_io.as_str() {
            "buffered" => JournalIo::Buffered,
            _ => JournalIo::Direct,
        },
        chunk_bytes: piece_bytes,
        queue_bytes_max: QUEUE_BYTES.max(2 * piece_bytes),
        transaction_bytes_max: TRANSACTION_BYTES_MAX,
        mem_bytes: bytes(store.rows_bytes),
        unflushed_bytes: defaults.unflushed_bytes.max(JOURNAL_PER_ROWS * store.rows_bytes),
        cache_bytes: bytes(store.cache_bytes),
        background_bytes_s: store.background_bytes_s,
        retention_s: store.restore_hours * 3_600,
        ..defaults
    }
}

/// Pieces so large that the largest message, delivered to the most people, is one transaction.
fn piece_bytes(message_bytes_max: u64, copies_max: u64) -> u64 {
    let pieces_max = (PIECES_BYTES_MAX / PIECE_ROW_BYTES / copies_max.max(1)).max(1);
    let wanted = message_bytes_max.div_ceil(pieces_max).next_multiple_of(DISK_BLOCK_BYTES);
    wanted.clamp(*PIECE_BYTES.start(), *PIECE_BYTES.end())
}

#[cfg(test)]
mod tests {
    use gracedb::view::View as _;

    use super::super::accounts::Domain;
    use super::*;

    fn config(data: &Path, key: &str) -> Config {
        let text = format!("hostname = \"mail.example.org\"\n[store]\nkey = {key:?}\n");
        fs::write(data.join("c.toml"), text).unwrap();
        Config::load(Some(&data.join("c.toml")), Some(data)).unwrap()
    }

    fn put(db: &Db, name: &str) {
        let domain = Domain { name: name.to_owned(), created_us: 1 };
        db.write(|tx| tx.put(&domain)).unwrap().wait().unwrap();
    }

    fn has(db: &Db, name: &str) -> bool {
        db.snapshot().contains::<Domain>(name).unwrap()
    }

    /// Whether a name stands in the clear in any file of the database.
    fn shows(data: &Path, name: &str) -> bool {
        let files = fs::read_dir(data.join(FOLDER)).unwrap();
        files.into_iter().any(|file| {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            bytes.windows(name.len()).any(|window| window == name.as_bytes())
        })
    }

    #[test]
    fn a_new_database_is_encrypted_and_opens_with_its_key_only() {
        let data = tempfile::tempdir().unwrap();
        let data = data.path();
        let db = open(&config(data, "store.key")).unwrap();
        put(&db, "secret.example.org");
        db.close();
        assert!(!shows(data, "secret.example.org"));
        assert!(has(&open(&config(data, "store.key")).unwrap(), "secret.example.org"));

        fs::rename(data.join("store.key"), data.join("elsewhere")).unwrap();
        let missing = open(&config(data, "store.key")).err().unwrap();
        assert!(missing.contains("is encrypted, and its key"), "{missing}");
        assert!(!data.join("store.key").exists(), "no key that opens nothing");
        let none = open(&config(data, "none")).err().unwrap();
        assert!(none.contains("but store.key says \"none\""), "{none}");
        Key::create_file(&data.join("another")).unwrap();
        let wrong = open(&config(data, "another")).err().unwrap();
        assert!(wrong.contains("does not open this database"), "{wrong}");
        fs::write(data.join("text"), "not a key").unwrap();
        let text = open(&config(data, "text")).err().unwrap();
        assert!(text.contains("64 hexadecimal digits"), "{text}");
        assert!(has(&open(&config(data, "elsewhere")).unwrap(), "secret.example.org"));
    }

    #[test]
    fn a_key_is_replaced_and_a_replacement_that_was_cut_short_is_ended() {
        let data = tempfile::tempdir().unwrap();
        let data = data.path();
        let key_file = data.join("store.key");
        let with_default = || open(&config(data, "store.key"));
        let db = with_default().unwrap();
        put(&db, "secret.example.org");
        let first = fs::read_to_string(&key_file).unwrap();
        let replaced = key::replace(&db, &key_file, &mut |_| true).unwrap();
        db.close();
        assert_eq!(fs::read_to_string(&replaced.earlier).unwrap(), first);
        let second = fs::read_to_string(&key_file).unwrap();
        assert_ne!(first, second);
        assert!(!key::waiting(&key_file).exists());
        assert!(has(&with_default().unwrap(), "secret.example.org"));

        // The power went before the new key was in its place.
        fs::rename(&key_file, key::waiting(&key_file)).unwrap();
        fs::write(&key_file, &first).unwrap();
        assert!(has(&with_default().unwrap(), "secret.example.org"));
        assert_eq!(fs::read_to_string(&key_file).unwrap(), second);

        // And before the database took it: the new one is nothing, and is put aside.
        fs::write(key::waiting(&key_file), &first).unwrap();
        let db = with_default().unwrap();
        key::replace(&db, &key_file, &mut |_| true).unwrap();
        db.close();
        assert!(has(&with_default().unwrap(), "secret.example.org"));
        fs::write(key::waiting(&key_file), &first).unwrap();
        fs::write(&key_file, &second).unwrap();
        let neither = with_default().err().unwrap();
        assert!(neither.contains("does not open this database"), "{neither}");
    }

    #[test]
    fn a_change_of_keys_that_is_stopped_leaves_a_database_that_opens() {
        let data = tempfile::tempdir().unwrap();
        let data = data.path();
        let db = open(&config(data, "store.key")).unwrap();
        put(&db, "secret.example.org");
        let stopped = key::replace(&db, &data.join("store.key"), &mut |_| false);
        assert!(matches!(stopped, Err(Error::Stopped)), "{stopped:?}");
        db.close();
        assert!(has(&open(&config(data, "store.key")).unwrap(), "secret.example.org"));
    }

    #[test]
    fn a_retry_keeps_the_key_that_an_earlier_one_could_not_place() {
        let data = tempfile::tempdir().unwrap();
        let data = data.path();
        let (key_file, elsewhere) = (data.join("store.key"), data.join("elsewhere"));
        let db = open(&config(data, "store.key")).unwrap();
        put(&db, "secret.example.org");
        // What cannot be copied cannot be replaced.
        fs::rename(&key_file, &elsewhere).unwrap();
        let unplaced = key::replace(&db, &key_file, &mut |_| true).unwrap_err();
        assert!(unplaced.to_string().contains("copy the earlier key"), "{unplaced}");
        fs::rename(&elsewhere, &key_file).unwrap();
        db.close();
        let waits = key::waits(&key_file).unwrap();
        assert!(waits.contains("store.key.new: keep it"), "{waits}");
        let only_key = fs::read_to_string(key::waiting(&key_file)).unwrap();

        let again = key::replace(&db, &key_file, &mut |_| true);
        assert!(again.is_err(), "a closed database takes no key");
        assert!(has(&open(&config(data, "store.key")).unwrap(), "secret.example.org"));
        assert_eq!(fs::read_to_string(&key_file).unwrap(), only_key);
    }

    #[test]
    fn a_first_start_that_was_cut_short_is_done_again() {
        let data = tempfile::tempdir().unwrap();
        let data = data.path();
        let key_file = data.join("store.key");
        // Before there was a database.
        Key::create_file(&key::waiting(&key_file)).unwrap();
        let db = open(&config(data, "store.key")).unwrap();
        put(&db, "secret.example.org");
        db.close();
        assert!(key_file.exists() && !key::waiting(&key_file).exists());
        // And before its key was in its place.
        fs::rename(&key_file, key::waiting(&key_file)).unwrap();
        assert!(has(&open(&config(data, "store.key")).unwrap(), "secret.example.org"));
        assert!(key_file.exists());
    }

    #[test]
    fn a_key_without_its_database_is_no_new_beginning() {
        let data = tempfile::tempdir().unwrap();
        let data = data.path();
        let db = open(&config(data, "store.key")).unwrap();
        put(&db, "secret.example.org");
        db.close();
        let (mounted, unmounted) = (data.join(FOLDER), data.join("unmounted"));
        fs::rename(&mounted, &unmounted).unwrap();
        for is_mount_point in [false, true] {
            if is_mount_point {
                fs::create_dir(&mounted).unwrap();
            }
            let refused = open(&config(data, "store.key")).err().unwrap();
            assert!(refused.contains("but no database in"), "{refused}");
            assert_eq!(mounted.exists(), is_mount_point);
        }
        fs::remove_dir(&mounted).unwrap();
        fs::rename(&unmounted, &mounted).unwrap();
        assert!(has(&open(&config(data, "store.key")).unwrap(), "secret.example.org"));
    }

    #[cfg(unix)]
    #[test]
    fn a_key_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let data = tempfile::tempdir().unwrap();
        open(&config(data.path(), "store.key")).unwrap().close();
        let mode = fs::metadata(data.path().join("store.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_database_in_the_clear_stays_readable_and_is_encrypted_from_then_on() {
        let data = tempfile::tempdir().unwrap();
        let data = data.path();
        let db = open(&config(data, "none")).unwrap();
        put(&db, "first.example.org");
        db.close();
        assert!(shows(data, "first.example.org"));
        let db = open(&config(data, "store.key")).unwrap();
        assert!(has(&db, "first.example.org"));
        put(&db, "second.example.org");
        db.close();
        assert!(!shows(data, "second.example.org"));
        assert!(has(&open(&config(data, "store.key")).unwrap(), "second.example.org"));
    }

    #[test]
    fn pieces_grow_with_what_one_transaction_must_hold() {
        assert_eq!(piece_bytes(52_428_800, 1_000), 128 << 10);
        let large = piece_bytes(1 << 30, 1_000);
        let pieces = (1_u64 << 30).div_ceil(large);
        assert!(pieces * 1_000 * PIECE_ROW_BYTES <= PIECES_BYTES_MAX, "{large}");
        assert_eq!(piece_bytes(1 << 34, 10_000), 16 << 20);
    }
}
