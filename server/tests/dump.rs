//! `gracectl db dump`, as a person runs it: beside a database that is open, and on a broken file.
//!
//! Not here: what a dump looks like (golden texts in `server/gracedb/tests/golden`).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use gracedb::db::Db;
use gracedb::options::Options;
use gracedb::schema::Schema;
use gracedb::seal::Key;

fn dump(dir: &Path, more: &[&str]) -> Output {
    let mut gracectl = Command::new(env!("CARGO_BIN_EXE_gracectl"));
    gracectl.args(["db", "dump", "--dir"]).arg(dir).args(more).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn files_are_shown_beside_an_open_database_and_broken_ones_end_with_1() {
    let dir = tempfile::tempdir().unwrap();
    let key_path = dir.path().join("key");
    let key = Key::create_file(&key_path).unwrap();
    let folder = dir.path().join("store");
    let options = Options { key: Some(key), ..Options::new(&folder) };
    let db = Db::open(options, Schema::new(&[])).unwrap();

    let with_key = ["--key-file", key_path.to_str().unwrap(), "0000000001.gm"];
    let output = dump(&folder, &with_key);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    assert!(shown.starts_with("0000000001.gm: a meta file, "), "{shown}");
    assert!(shown.contains("opened by the key given") && shown.contains("flushed"), "{shown}");

    // Without the key, and only the header.
    let output = dump(&folder, &["0000000001.gm", "--records", "1"]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(!shown.contains("opened by the key given"), "{shown}");
    assert!(shown.contains("header at 0") && !shown.contains("record at"), "{shown}");

    db.close();
    let path = folder.join("0000000001.gm");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.get_mut(4150).unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let output = dump(&folder, &["0000000001.gm", "--at", "4150"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("BROKEN at 4096"), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("broken"), "{}", text(&output.stderr));

    let output = dump(&folder, &["0000000099.gj"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("0000000099.gj: open failed"), "{output:?}");
}
