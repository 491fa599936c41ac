//! What fuzzers feed bytes to: the framer and the grammar of IMAP, its machine, and what it says of
//! a message.
//!
//! ```text
//!   seeds(target) ─▶ inputs to begin with ─▶ a fuzzer ─▶ run(target, input) ─▶ panics, or does not
//! ```
//! Each target says what must hold beyond not to panic. Seeds are the conversations of
//! `server/imap/tests`, and the letters of `tests/corpus`.
//! Not here: what the answers should be (tests of `grace-imap`).

mod answers;
mod grammar;
mod letters;
mod session;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};

/// What reads the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The framer, and the grammar of commands.
    Grammar,
    /// The machine, with a store that now and then refuses.
    Session,
    /// ENVELOPE, BODYSTRUCTURE and the sections of a message.
    Structure,
    /// Texts looked for in a message.
    Search,
}

/// Every target.
pub const TARGETS: [Target; 4] =
    [Target::Grammar, Target::Session, Target::Structure, Target::Search];

/// Most bytes of an input that are looked at.
const INPUT_BYTES_MAX: usize = 64 << 10;

/// Feeds an input to a target.
///
/// # Panics
/// When something does not hold.
pub fn run(target: Target, input: &[u8]) {
    let input = input.get(..INPUT_BYTES_MAX).unwrap_or(input);
    match target {
        Target::Grammar => grammar::commands(input),
        Target::Session => session::sessions(input),
        Target::Structure => letters::structure(input),
        Target::Search => letters::search(input),
    }
}

/// Inputs to begin with.
#[must_use]
pub fn seeds(target: Target) -> Vec<Vec<u8>> {
    match target {
        Target::Grammar => conversations(),
        Target::Session => {
            let with_choice = |text: Vec<u8>| [&[0x01][..], &text].concat();
            conversations().into_iter().map(with_choice).collect()
        }
        Target::Structure => corpus(),
        Target::Search => {
            let with_text = |text: Vec<u8>| [&b"the\xFF"[..], &text].concat();
            corpus().into_iter().map(with_text).collect()
        }
    }
}

/// The files below a folder of the repository.
fn files(folder: &str) -> Vec<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").join(folder);
    let entries = fs::read_dir(top).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|file| file.is_file());
    files.sort();
    files
}

/// What clients say in the conversations, one input a dialogue.
fn conversations() -> Vec<Vec<u8>> {
    let mut inputs = Vec::new();
    for file in files("server/imap/tests/conversations") {
        let text = fs::read_to_string(file).unwrap_or_default().replace("\\\n", "");
        for dialogue in text.split("\n== ").skip(1) {
            let said = dialogue.lines().filter_map(|line| line.strip_prefix("C: "));
            let lines: Vec<String> = said.map(|line| format!("{line}\r\n")).collect();
            inputs.push(lines.concat().into_bytes());
        }
    }
    inputs
}

fn corpus() -> Vec<Vec<u8>> {
    files("tests/corpus").into_iter().filter_map(|file| fs::read(file).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seeds hold what must hold, and so do their halves and their doubles.
    #[test]
    fn seeds_are_sound() {
        for target in TARGETS {
            let seeds = seeds(target);
            assert!(seeds.len() >= 30, "{target:?} has {} seeds", seeds.len());
            for seed in seeds {
                let step = 1 + seed.len() / 20;
                for end in (0..=seed.len()).step_by(step) {
                    run(target, &seed[..end]);
                    run(target, &[&seed[..end], &seed[end / 2..]].concat());
                }
            }
        }
    }
}
