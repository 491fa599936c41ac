//! What mail programs are told of a message's structure, compared with what Python's email package
//! reads in it: ENVELOPE, BODYSTRUCTURE, the bytes of every part.
//!
//! Where the two differ, `corpus/python-differs.txt` says why, and that list is exact.
//! Our own samples always run; the foreign ones where their folder is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use grace_tests::house::House;
use grace_tests::{corpus, figure, log, program, script};
use serde_json::{Value, json};

/// The differences that are argued: file, part and field, each with a tab before the next.
fn argued() -> BTreeSet<String> {
    let file = program::tests_folder().join("corpus/python-differs.txt");
    let text = fs::read_to_string(file).expect("the list is there");
    let (mut argued, mut file) = (BTreeSet::new(), "");
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix('\t').and_then(|line| line.split_once('\t')) {
            None => file = line,
            Some((part, fields)) => {
                argued.extend(fields.split(", ").map(|field| format!("{file}\t{part}\t{field}")));
            }
        }
    }
    argued
}

fn compare(name: &str, top: &Path, files: &[PathBuf], is_own: bool) {
    let house = House::start();
    let ann = house.account("ann");
    let paths: Vec<_> = files.iter().map(|file| file.to_string_lossy()).collect();
    let top = format!("{}/", top.to_string_lossy());
    let arguments = script::about(&house, &[&ann]);
    let arguments = script::with(arguments, &json!({ "files": paths, "top": top }));
    // A list of a thousand paths is too long for a command line.
    let list = house.folder().join("files.json");
    fs::write(&list, arguments.to_string()).expect("the folder is writable");
    let result = script::run("mime", &json!({ "file": list.to_string_lossy() }));
    let found = result.get("differences").and_then(Value::as_array).into_iter().flatten();
    let found: BTreeSet<String> = found.filter_map(Value::as_str).map(str::to_owned).collect();
    let mut argued = argued();
    argued.retain(|line| line.split('\t').next().is_some_and(|it| it.contains('/')) != is_own);
    let new: Vec<_> = found.difference(&argued).collect();
    let gone: Vec<_> = argued.difference(&found).collect();
    assert!(new.is_empty() && gone.is_empty(), "{name}: new {new:#?}, gone {gone:#?}");
    let compared = log::number(&result, "compared");
    figure(&format!(
        "{name}: structures of {compared} messages as Python reads them, but for {} that are argued",
        found.len()
    ));
}

#[test]
fn our_own_samples_are_read_alike() {
    let folder = program::tests_folder().join("corpus");
    compare("tests/corpus", &folder, &corpus::own(), true);
}

#[test]
fn foreign_mail_is_read_alike() {
    if let Some(folder) = corpus::shared("mime", "foreign_mail_is_read_alike") {
        compare("corpora/mime", &folder, &corpus::files(&folder), false);
    }
}
