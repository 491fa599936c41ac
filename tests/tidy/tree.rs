//! The files of the repository: what git tracks or would track, or all there is without git.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use grace_tests::{corpus, program};

/// Folders that are never part of the source, for a tree without git.
const NOT_SOURCE: &[&str] = &[".git", "target", "grace-data", "__pycache__"];

/// One file, with its path from the top, `/` between parts.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) bytes: Vec<u8>,
}

impl File {
    /// Its text; what is not UTF-8 is replaced.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub(crate) fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }
}

/// Every file.
pub(crate) fn files() -> Vec<File> {
    let top = program::repository();
    let mut files: Vec<File> = paths(&top)
        .into_iter()
        .filter_map(|path| fs::read(top.join(&path)).ok().map(|bytes| File { path, bytes }))
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(files.len() > 20, "the source tree is not where it should be: {}", top.display());
    files
}

/// Every file with this extension.
pub(crate) fn with_extension(extension: &str) -> Vec<File> {
    files().into_iter().filter(|file| file.has_extension(extension)).collect()
}

fn paths(top: &Path) -> Vec<String> {
    let git = Command::new("git")
        .arg("-C")
        .arg(top)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output();
    match git {
        Ok(output) if output.status.success() => {
            let list = String::from_utf8_lossy(&output.stdout).into_owned();
            list.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect()
        }
        _ => walk(top),
    }
}

fn walk(top: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(top).expect("the source can be read") {
        let path = entry.expect("the source can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if NOT_SOURCE.contains(&name.as_str()) {
            continue;
        }
        let below = if path.is_dir() { corpus::files(&path) } else { vec![path] };
        paths.extend(below.iter().map(|path| from_top(top, path)));
    }
    paths
}

fn from_top(top: &Path, path: &Path) -> String {
    let path: PathBuf = path.strip_prefix(top).unwrap_or(path).components().collect();
    path.to_string_lossy().replace('\\', "/")
}

/// Fails with every place that breaks a rule.
pub(crate) fn nothing_breaks(rule: &str, places: &[String]) {
    assert!(places.is_empty(), "{rule}; broken {} times:\n  {}", places.len(), places.join("\n  "));
}

/// The top level is the owner's list and dotfiles, nothing else.
#[test]
fn top_level_is_the_list() {
    const TOP: &[&str] = &[
        "Cargo.lock",
        "Cargo.toml",
        "README.md",
        "assets",
        "console",
        "docs",
        "ipc-protocol",
        "server",
        "shaders",
        "tests",
    ];
    let mut found: Vec<String> = files()
        .iter()
        .filter_map(|file| file.path.split('/').next().map(str::to_owned))
        .filter(|name| !name.starts_with('.'))
        .collect();
    found.dedup();
    assert_eq!(found, TOP, "the top level of the repository");
}
