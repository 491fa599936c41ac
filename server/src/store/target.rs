//! Folders that a copy of the database may be written to.
//!
//! Invariant: a copy never lies in the folder it is a copy of, however the path is written; a
//! folder that would have to be made with others around it is not made, for it may be a drive that
//! is not there.
//! Not here: what may be in the folder already (`gracedb::copy`).

use std::path::{Component, Path, PathBuf};

/// Checks a folder as an admin program asked for it; `data` must have none of it. Says where it is.
///
/// # Errors
/// Why it cannot be, and what to do.
pub fn check(to: &Path, data: &Path) -> Result<PathBuf, String> {
    let name = to.display();
    if !to.is_absolute() {
        return Err(format!(
            "{name} is not a whole path; name the folder from the root on, such as /backup/grace, \
             for it is one of the daemon's machine"
        ));
    }
    outside(to, data)
}

/// As [`check`], of a path that may be relative to the current folder.
///
/// # Errors
/// As [`check`].
pub fn outside(to: &Path, data: &Path) -> Result<PathBuf, String> {
    let name = to.display();
    if to.components().any(|part| part == Component::ParentDir) {
        return Err(format!("{name}: write the path without \"..\""));
    }
    let place = match to.canonicalize() {
        Ok(place) if !place.is_dir() => return Err(format!("{name} is not a folder")),
        Ok(place) => place,
        Err(_) => unmade(to)?,
    };
    let data = data.canonicalize().map_err(|e| format!("{}: {e}", data.display()))?;
    if place.starts_with(&data) || data.starts_with(&place) {
        return Err(format!(
            "{name} and {} lie within each other; a copy has to be elsewhere, on another drive if \
             it is to be of use",
            data.display()
        ));
    }
    Ok(place)
}

/// Where a folder will be that is not there yet.
fn unmade(to: &Path) -> Result<PathBuf, String> {
    let name = to.display();
    let last = to.file_name().ok_or_else(|| format!("{name} is not a folder"))?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let found = parent.canonicalize().map_err(|e| {
        format!("{}: {e}; make it first, or mount the drive it is on", parent.display())
    })?;
    Ok(found.join(last))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_copy_lies_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("data/store")).unwrap();
        fs::create_dir(at("backup")).unwrap();
        fs::write(at("file"), "").unwrap();
        let refused = |to: &Path, part: &str| {
            let error = check(to, &at("data")).unwrap_err();
            assert!(error.contains(part), "{}: {error}", to.display());
        };
        refused(Path::new("backup"), "not a whole path");
        refused(&at("data"), "within each other");
        refused(&at("data/copy"), "within each other");
        refused(&at("data/store"), "within each other");
        refused(folder.path(), "within each other");
        refused(&at("none/copy"), "make it first");
        refused(&at("backup/../data/x"), "without \"..\"");
        refused(&at("file"), "is not a folder");
        let real = folder.path().canonicalize().unwrap();
        assert_eq!(check(&at("backup"), &at("data")), Ok(real.join("backup")));
        assert_eq!(check(&at("backup/new"), &at("data")), Ok(real.join("backup/new")));
        assert_eq!(check(&at("database"), &at("data")), Ok(real.join("database")));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_does_not_hide_where_it_leads() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        let link = folder.path().join("elsewhere");
        std::os::unix::fs::symlink(&data, &link).unwrap();
        assert!(check(&link, &data).unwrap_err().contains("within each other"));
        assert!(check(&link.join("copy"), &data).unwrap_err().contains("within each other"));
    }
}
