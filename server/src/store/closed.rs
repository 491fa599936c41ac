//! The database while no daemon has it: finding its folder and its key, and opening it for work on
//! all of it.
//!
//! Invariant: it is opened by the daemon's own settings; others would forget moments that the
//! daemon keeps.
//! Not here: what is done with it (`gracectl`, `gracedb`).

use std::fs;
use std::path::{Path, PathBuf};

use gracedb::db::Db;
use gracedb::error::Error;
use gracedb::options::Options;
use gracedb::seal::Key;

use super::key;
use super::open::{self, FOLDER};
use crate::config::Config;

/// The folder of a database: the one that is named, or the one in it if it is a daemon's data
/// folder.
///
/// # Errors
/// There is none; says where was looked.
pub fn find(named: &Path) -> Result<PathBuf, String> {
    let name = named.display();
    let read = fs::read_dir(named).map_err(|e| format!("{name}: {e}"))?;
    drop(read);
    let below = named.join(FOLDER);
    for folder in [named, &below] {
        if open::has_files(folder)? {
            return Ok(folder.to_path_buf());
        }
    }
    Err(format!("there is no database in {name}, nor in {}", below.display()))
}

/// Files that may hold the key of the database in a folder, the likeliest first: where a daemon has
/// it that keeps the database there, and where the one of this configuration has it, each with the
/// others beside it.
#[must_use]
pub fn key_files(folder: &Path, config: &Config) -> Vec<PathBuf> {
    let beside = folder.parent().and_then(|data| config.store.key_file(data));
    let own = config.store.key_file(&config.data);
    let mut places: Vec<PathBuf> = beside.into_iter().chain(own).collect();
    places.dedup();
    let with_others = |file: PathBuf| {
        let others = key::others(&file);
        std::iter::once(file).chain(others)
    };
    let mut files: Vec<PathBuf> = places.into_iter().flat_map(with_others).collect();
    files.retain(|file| file.is_file());
    files
}

/// Where the key belongs that was found in one of [`key_files`].
#[must_use]
pub fn place_of(found: &Path, folder: &Path, config: &Config) -> PathBuf {
    let files = key_files(folder, config);
    let place = files.iter().find(|file| key::others(file).iter().any(|other| other == found));
    place.map_or_else(|| found.to_path_buf(), Clone::clone)
}

/// How it is opened by a configuration.
#[must_use]
pub fn options(folder: &Path, config: &Config, key: Option<Key>) -> Options {
    Options { key, ..open::options(folder, &config.store, &config.limits) }
}

/// Opens it as a daemon would.
///
/// # Errors
/// Why it cannot be opened.
pub fn open(options: Options) -> Result<Db, Error> {
    open::open_with(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_found_in_its_folder_and_in_the_one_around_it() {
        let data = tempfile::tempdir().unwrap();
        let store = data.path().join(FOLDER);
        fs::create_dir(&store).unwrap();
        let none = find(data.path()).unwrap_err();
        assert!(none.contains("there is no database in"), "{none}");
        assert!(find(&data.path().join("nothing")).is_err());
        // What cannot be looked into may hold one.
        let unreadable = tempfile::tempdir().unwrap();
        fs::write(unreadable.path().join(FOLDER), "").unwrap();
        let why = find(unreadable.path()).unwrap_err();
        assert!(why.contains("cannot be read"), "{why}");
        fs::write(store.join("0000000001.gj"), "").unwrap();
        assert_eq!(find(data.path()).as_deref(), Ok(store.as_path()));
        assert_eq!(find(&store).as_deref(), Ok(store.as_path()));
    }

    #[test]
    fn keys_are_looked_for_where_daemons_have_them() {
        let (data, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = own.path().join("c.toml");
        fs::write(&file, "hostname = \"mail.example.org\"\n").unwrap();
        let config = Config::load(Some(&file), Some(own.path())).unwrap();
        let store = data.path().join(FOLDER);
        assert_eq!(key_files(&store, &config), Vec::<PathBuf>::new());
        fs::write(own.path().join("store.key"), "").unwrap();
        assert_eq!(key_files(&store, &config), [own.path().join("store.key")]);
        fs::write(data.path().join("store.key"), "").unwrap();
        let both = [data.path().join("store.key"), own.path().join("store.key")];
        assert_eq!(key_files(&store, &config), both);
        let again = own.path().join(FOLDER);
        assert_eq!(key_files(&again, &config), [own.path().join("store.key")]);
        let names = ["store.key.new", "store.key.new-20260102-030405", "store.key.until-20260101"];
        let names = names.map(|name| own.path().join(name));
        for file in &names {
            fs::write(file, "").unwrap();
        }
        fs::write(own.path().join("store.keys"), "").unwrap();
        assert_eq!(key_files(&again, &config)[1..], names);
    }
}
