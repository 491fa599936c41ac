//! Mail nobody here wrote: the folder beside the repository, where there is one, and our own
//! samples.
//!
//! `GRACE_CORPORA` names another folder. Invariant: a test that cannot find the corpora says loudly
//! that it skipped them. Not here: copies of foreign mail; ours are written for `tests/corpus/`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::program;

/// The corpora's folder `name`, or none and a `SKIPPED:` line about `test`.
#[must_use]
pub fn shared(name: &str, test: &str) -> Option<PathBuf> {
    let corpora = std::env::var_os("GRACE_CORPORA").map(PathBuf::from);
    let beside = || program::repository().join("../shared/corpora");
    let folder = corpora.unwrap_or_else(beside).join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    crate::skipped(&format!("{test}: no folder {}", folder.display()));
    None
}

/// Our own samples, always there.
#[must_use]
pub fn own() -> Vec<PathBuf> {
    let mut files = files(&program::tests_folder().join("corpus"));
    files.retain(|file| file.extension().is_some_and(|extension| extension == "eml"));
    files
}

/// Every file below `folder`, sorted.
///
/// # Panics
/// When a folder cannot be read.
#[must_use]
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be read") {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}
