//! Messages nobody here made up, and damaged ones: every tree is sound, every section has an
//! answer.
//!
//! Reads `tests/corpus` of the project, and foreign mail if it is there: the folder `mime` in
//! `$GRACE_CORPORA` or, failing that, in `shared/corpora` beside the project's root.

#![expect(clippy::indexing_slicing, reason = "a test may panic")]

mod common;

use std::path::{Path, PathBuf};

/// Seed of the damage done to messages; change it to hunt, keep it to reproduce.
const SEED: u64 = 0x6772_6163_6500_0002;

/// How often each message of our own is damaged.
const MUTATIONS: usize = 500;

/// How often each message of the shared corpus is; there are a thousand of them.
const MUTATIONS_SHARED: usize = 10;

fn project_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().find(|dir| dir.join("Cargo.lock").is_file());
    root.expect("the crate lies in the workspace").to_owned()
}

fn shared_corpus() -> Option<PathBuf> {
    let corpora = match std::env::var_os("GRACE_CORPORA") {
        Some(dir) => PathBuf::from(dir),
        None => project_root().parent()?.join("shared").join("corpora"),
    };
    Some(corpora.join("mime")).filter(|dir| dir.is_dir())
}

/// All files below `dir`, sorted by path.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in std::fs::read_dir(&dir).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() { waiting.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

fn walk(dir: &Path) -> (usize, usize) {
    let (mut messages, mut parts) = (0, 0);
    for path in files(dir) {
        let raw = std::fs::read(&path).expect("a readable file");
        let name = path.display().to_string();
        parts += common::assert_sound(&raw, &name);
        let crlf = with_crlf(&raw);
        parts += common::assert_sound(&crlf, &format!("{name} with CRLF"));
        messages += 2;
    }
    (messages, parts)
}

/// The message as it comes over SMTP.
fn with_crlf(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + raw.len() / 32);
    let mut last = 0;
    for &byte in raw {
        if byte == b'\n' && last != b'\r' {
            out.push(b'\r');
        }
        out.push(byte);
        last = byte;
    }
    out
}

#[test]
fn our_own_messages() {
    let (messages, parts) = walk(&project_root().join("tests").join("corpus"));
    println!("tests/corpus: {messages} messages, {parts} parts");
    assert!(messages > 0, "tests/corpus is empty");
}

#[test]
fn the_shared_corpus() {
    let Some(dir) = shared_corpus() else {
        println!(
            "SKIPPED: the_shared_corpus: no folder $GRACE_CORPORA/mime; only tests/corpus was read"
        );
        return;
    };
    let (messages, parts) = walk(&dir);
    println!("{}: {messages} messages, {parts} parts", dir.display());
    assert!(messages > 0, "{} is empty", dir.display());
}

/// SplitMix64: small, seeded, the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % limit.max(1) as u64).expect("smaller than a usize")
    }
}

/// Pieces that mean something to a parser.
const TOKENS: [&[u8]; 24] = [
    b"\n",
    b"\r\n",
    b"\r",
    b"\0",
    b"\xff\xfe",
    b"--",
    b"\n\n",
    b"\r\n\r\n",
    b": ",
    b"\"",
    b"(",
    b")",
    b"\\",
    b";",
    b"=?utf-8?Q?=",
    b"?=",
    b"Content-Type: ",
    b"multipart/mixed; boundary=b\n\n--b\n",
    b"message/rfc822\n\n",
    b"boundary=",
    b"=",
    b"\n--b--\n",
    b" \n\t",
    b"\nContent-Type: text/plain\n",
];

fn damage(raw: &[u8], random: &mut Random) -> Vec<u8> {
    let mut out = raw.to_vec();
    for _ in 0..=random.below(6) {
        let at = random.below(out.len() + 1);
        let end = (at + random.below(40)).min(out.len());
        match random.below(5) {
            0 => drop(out.drain(at..end)),
            1 => drop(out.splice(at..at, TOKENS[random.below(TOKENS.len())].iter().copied())),
            2 => out.truncate(at),
            3 => {
                let piece = out[at..end].to_vec();
                let to = random.below(out.len() + 1);
                drop(out.splice(to..to, piece));
            }
            _ => {
                if let Some(byte) = out.get_mut(at) {
                    *byte = u8::try_from(random.below(256)).expect("a byte");
                }
            }
        }
    }
    out
}

/// Damaged messages; a failure names file, seed and round.
#[test]
fn damaged_messages() {
    let own = files(&project_root().join("tests").join("corpus"));
    let shared = shared_corpus().map(|dir| files(&dir)).unwrap_or_default();
    if shared.is_empty() {
        println!(
            "SKIPPED: damaged_messages: no folder $GRACE_CORPORA/mime; damaging tests/corpus only"
        );
    }
    let rounds = own
        .iter()
        .map(|path| (path, MUTATIONS))
        .chain(shared.iter().map(|path| (path, MUTATIONS_SHARED)));
    for (index, (path, count)) in rounds.enumerate() {
        let raw = std::fs::read(path).expect("a readable file");
        if raw.len() > 200_000 {
            continue;
        }
        let mut random = Random(SEED ^ index as u64);
        for round in 0..count {
            let name = format!("{} seed {SEED:#x} round {round}", path.display());
            common::assert_sound(&damage(&raw, &mut random), &name);
        }
    }
}
