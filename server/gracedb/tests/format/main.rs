//! The page `docs/gracedb-format.md`, tried out: a reader that was written by it alone, in another
//! language, reads the golden files and finds the rows that the engine finds.
//!
//! Needs Python 3; says so and passes without it. Not here: the files themselves, and that they are
//! what is written (`src/golden.rs`).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// The bytes of a golden file: lines of an offset and sixteen bytes, zeros left out.
fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in text.lines() {
        let (at, rest) = line.split_once(':').unwrap();
        bytes.resize(usize::from_str_radix(at, 16).unwrap(), 0);
        let pairs = rest.trim_start().split("  ").next().unwrap_or_default();
        let pairs = pairs.split(' ').filter(|pair| !pair.is_empty());
        bytes.extend(pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()));
    }
    bytes
}

/// Makes files of the golden files of a database.
fn unpack(name: &str, to: &Path) {
    for entry in fs::read_dir(here().join("golden").join(name)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "hex") {
            let file = path.file_stem().unwrap();
            fs::write(to.join(file), bytes(&fs::read_to_string(&path).unwrap())).unwrap();
        }
    }
}

fn read(folder: &Path) -> (bool, String, String) {
    let mut python = Command::new("python3");
    let output = python.arg("-B").arg(here().join("format/reader.py")).arg(folder).output();
    let output = output.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[expect(clippy::print_stdout, reason = "what was not done is told by the test")]
fn has_python() -> bool {
    let found = Command::new("python3").arg("--version").output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found {
        println!("SKIPPED: the reader of docs/gracedb-format.md needs python3, which is not there");
    }
    found
}

#[test]
fn a_reader_that_knows_the_page_alone_finds_every_row() {
    if !has_python() {
        return;
    }
    for name in ["plain", "backup"] {
        let folder = tempfile::tempdir().unwrap();
        unpack(name, folder.path());
        let (is_well, rows, why) = read(folder.path());
        assert!(is_well, "{name}: {why}");
        let engine = fs::read_to_string(here().join("golden").join(name).join("rows.txt")).unwrap();
        let differs = engine.lines().zip(rows.lines()).find(|(engine, reader)| engine != reader);
        assert!(engine == rows, "{name}: engine and reader differ, at first: {differs:?}");
    }
}

#[test]
fn the_reader_checks_what_it_reads() {
    if !has_python() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    unpack("plain", folder.path());
    for file in ["0000000004.gi", "0000000003.gj"] {
        let path = folder.path().join(file);
        let whole = fs::read(&path).unwrap();
        let mut broken = whole.clone();
        *broken.get_mut(4200).unwrap() ^= 1;
        fs::write(&path, broken).unwrap();
        let (_, rows, _) = read(folder.path());
        let engine = fs::read_to_string(here().join("golden/plain/rows.txt")).unwrap();
        assert!(rows != engine, "{file} is broken, and nobody sees it");
        fs::write(&path, whole).unwrap();
    }
}

/// The bytes at the start of a line of an example.
fn pairs(line: &str) -> Vec<u8> {
    let words = line.split_whitespace();
    let pairs = words.map(|word| (word.len() == 2).then(|| u8::from_str_radix(word, 16).ok()));
    pairs.map_while(Option::flatten).collect()
}

#[test]
fn the_examples_of_the_page_stand_in_the_golden_files() {
    let page = here().join("../../../docs/gracedb-format.md");
    let page = fs::read_to_string(page).unwrap();
    let (mut golden, mut is_code, mut compared) = (None, false, 0);
    for line in page.lines() {
        if line.starts_with("```") {
            is_code = !is_code;
            golden = golden.filter(|_| is_code);
        } else if !is_code {
            let mut names = line.split('`').skip(1).step_by(2);
            let file = names.find(|name| name.contains(".g"));
            let path = file.map(|file| here().join(format!("golden/{file}.hex")));
            golden = path.filter(|path| path.is_file()).or(golden);
        } else if let Some(golden) = &golden {
            let golden = bytes(&fs::read_to_string(golden).unwrap());
            // What an example begins with are its bytes; a line of blanks and words has none.
            let example = if line.starts_with("          ") { Vec::new() } else { pairs(line) };
            let mut places = golden.windows(example.len().max(1));
            let found = example.is_empty() || places.any(|place| place == example);
            assert!(found, "docs/gracedb-format.md: no golden file has these bytes: {line}");
            compared += example.len();
        }
    }
    assert!(compared > 150, "only {compared} bytes of examples found");
}
