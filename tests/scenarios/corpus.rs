//! Mail nobody here wrote, however broken: stored through both doors and read back.
//!
//! Every file is appended as it is and must come back byte for byte, with a well-formed ENVELOPE
//! and BODYSTRUCTURE; and delivered by SMTP with its line ends made CRLF (`scripts/corpus.py` says
//! why). Our own samples always run; the foreign ones where their folder is.

use std::path::PathBuf;

use grace_tests::house::House;
use grace_tests::{corpus, figure, log, script};
use serde_json::{Value, json};

/// More messages in one session than a client would send.
const SETTINGS: &str = "[limits]\nsmtp_messages_max = 100000\nsmtp_errors_max = 1000\n";

fn store(files: &[PathBuf]) -> Value {
    let house = House::start_with(SETTINGS);
    let (reader, receiver) = (house.account("reader"), house.account("receiver"));
    let paths: Vec<_> = files.iter().map(|file| file.to_string_lossy()).collect();
    let arguments = script::about(&house, &[&reader, &receiver]);
    let arguments = script::with(arguments, &json!({ "files": paths }));
    // A list of a thousand paths is too long for a command line.
    let list = house.folder().join("files.json");
    std::fs::write(&list, arguments.to_string()).expect("the folder is writable");
    script::run("corpus", &json!({ "file": list.to_string_lossy() }))
}

fn check(name: &str, files: &[PathBuf]) {
    let result = store(files);
    for trouble in ["problems", "append_refused", "smtp_refused"] {
        assert_eq!(result.get(trouble), Some(&json!([])), "{name}: {result:#}");
    }
    let count = |field| usize::try_from(log::number(&result, field)).unwrap_or_default();
    let (appended, empty, delivered) = (count("appended"), count("empty"), count("delivered"));
    assert_eq!((appended + empty, delivered), (files.len(), files.len()), "{name}");
    figure(&format!(
        "{name}: {appended} files stored by APPEND ({empty} empty ones refused), {delivered} by SMTP, \
         read back byte for byte"
    ));
}

#[test]
fn our_own_samples() {
    check("tests/corpus", &corpus::own());
}

#[test]
fn everything_the_corpora_hold() {
    if let Some(folder) = corpus::shared("mime", "everything_the_corpora_hold") {
        check("corpora/mime", &corpus::files(&folder));
    }
}
