//! A door for tests that feed foreign bytes to everything that reads files.
//!
//! ```text
//!   seeds(target) ─▶ valid inputs ─▶ mutated, by a fuzzer or by `mutate` ─▶ run(target, input)
//! ```
//! A file whose checksums are wrong is refused early, so each input is also read with its checksums
//! made right: what lies behind them must stand malice and mistakes of a writer, too.
//! Invariants: nothing panics; memory is bounded by a small multiple of the input and of what a
//! reader keeps anyway. Compiled for tests and with the feature `fuzz` alone; nobody else may use
//! it. Not here: what is found in sound files (the tests of each reader).

use std::hint::black_box;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use crate::db::Db;
use crate::disk::Disk;
use crate::disk::sim::{SimDisk, next_random};
use crate::format::{
    ALIGN, FILE_HEADER_LEN, FileHeader, FileKind, Place, RECORD_HEADER_LEN, RECORD_MAGIC,
    header_crc, record_len,
};
use crate::index::block::Block;
use crate::index::guide::Guide;
use crate::index::run::{self, CRC_LEN, FOOTER_LEN, HEAD_LEN, SectionKind};
use crate::index::{filter, run::read_ranges};
use crate::key::Key;
use crate::large::Large;
use crate::manifest::{self, Manifest};
use crate::mem::Mem;
use crate::options::{Ahead, Options};
use crate::schema::Schema;
use crate::seal::Keyring;
use crate::table::{Counter, Table};
use crate::view::View;
use crate::{crc, repair, row, state, transact};

/// Most bytes of an input that are looked at.
const INPUT_BYTES_MAX: usize = 256 << 10;

/// What reads the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A journal segment: opening, checking and repairing a database with it.
    Journal,
    /// The same with a meta file.
    Meta,
    /// The same with an index segment.
    Index,
    /// Parts of files without what stands around them: operations, edits, rows, blocks, keys.
    Parts,
    /// Keys of tables.
    Keys,
    /// The text of a schema.
    Schema,
}

/// Every target.
pub const TARGETS: [Target; 6] =
    [Target::Journal, Target::Meta, Target::Index, Target::Parts, Target::Keys, Target::Schema];

#[derive(Debug, PartialEq, Serialize, Deserialize, Table)]
#[table(id = 1, name = "letter")]
#[index(id = 1, name = LetterByTag, fields(tag))]
#[index(id = 2, name = LetterByNumber, fields(number), unique)]
struct Letter {
    #[key]
    mailbox: u8,
    #[key]
    name: String,
    tag: Option<u8>,
    number: u64,
    body: Large,
}

#[derive(Debug, Counter)]
#[counter(id = 2, name = "tally")]
#[expect(dead_code, reason = "a counter is its key")]
struct Tally {
    #[key]
    kind: u8,
}

const SCHEMA: Schema = Schema::new(&[Letter::DEF, Tally::DEF]);

fn options(disk: &SimDisk) -> Options {
    Options {
        segment_bytes: 16 << 10,
        ahead: Ahead::Nothing,
        chunk_bytes: 512,
        inline_bytes_max: 128,
        block_bytes: 256,
        cache_bytes: 64 << 10,
        open_files_max: 8,
        run_bytes: 2 << 10,
        clock: || 1_800_000_000_000,
        identity: Some(*b"a simulated disk"),
        ..Options::with_disk(Arc::new(disk.clone()))
    }
}

/// A database that is in its journal alone, or in runs as well.
fn sound(flushed: bool) -> SimDisk {
    let disk = SimDisk::new(1);
    let made = || -> Result<(), crate::error::Error> {
        let (db, stepper) = Db::open_stepped(options(&disk), SCHEMA, &[])?;
        for number in 0..40u8 {
            let mut body = db.large_writer();
            let body = crate::pending::block_on(async {
                body.write(&vec![number; usize::from(number) * 30]).await?;
                body.finish().await
            })?;
            let pending = db.write(|tx| {
                let name = format!("{}\0{}", number % 7, "n".repeat(usize::from(number)));
                let (mailbox, tag) = (number % 3, (number % 4 != 0).then_some(number % 5));
                tx.put(&Letter { mailbox, name, tag, number: u64::from(number), body })?;
                if number % 9 == 8 {
                    tx.delete_range::<Letter>((1, "2".to_owned())..(1, "3".to_owned()))?;
                }
                tx.next_id::<Letter>()?;
                tx.add::<Tally>(&(number % 2), i64::from(number) - 9).map(drop)
            })?;
            stepper.commit();
            pending.wait()?;
            if flushed && number % 13 == 12 {
                stepper.freeze();
                stepper.flush()?;
            }
        }
        stepper.finish();
        Ok(())
    };
    let made = made();
    debug_assert!(made.is_ok(), "a sound disk takes everything");
    disk
}

/// The database that a target's file is exchanged in.
fn around(target: Target) -> &'static SimDisk {
    static UNFLUSHED: OnceLock<SimDisk> = OnceLock::new();
    static FLUSHED: OnceLock<SimDisk> = OnceLock::new();
    if target == Target::Journal {
        UNFLUSHED.get_or_init(|| sound(false))
    } else {
        FLUSHED.get_or_init(|| sound(true))
    }
}

/// The file of this kind that a target replaces.
fn file_of(kind: FileKind, disk: &SimDisk) -> Option<(String, u64)> {
    let names = disk.list().ok()?;
    let last = names.into_iter().rfind(|name| FileKind::parse(name).is_some_and(|f| f.0 == kind));
    last.and_then(|name| FileKind::parse(&name).map(|(_, number)| (name, number)))
}

fn kind_of(target: Target) -> Option<FileKind> {
    match target {
        Target::Journal => Some(FileKind::Journal),
        Target::Meta => Some(FileKind::Meta),
        Target::Index => Some(FileKind::Index),
        Target::Parts | Target::Keys | Target::Schema => None,
    }
}

/// Valid inputs to begin with.
#[must_use]
pub fn seeds(target: Target) -> Vec<Vec<u8>> {
    let disk = around(target);
    if let Some(kind) = kind_of(target) {
        return file_of(kind, disk).and_then(|(name, _)| disk.file(&name)).into_iter().collect();
    }
    match target {
        Target::Schema => vec![SCHEMA.text().into_bytes()],
        Target::Keys => {
            let mut keys = vec![Vec::new(); 3];
            for (out, key) in keys.iter_mut().zip([(1, "a\0b"), (2, ""), (3, "zz")]) {
                (key.0, key.1.to_owned(), Some(-7i64), true, [9u8; 4]).put(out);
            }
            keys
        }
        _ => {
            let mut operations = vec![0];
            state::write_put(b"\0\x01\0key", b"\0value", &mut operations);
            state::write_delete(b"\0\x01\0other", &mut operations);
            state::write_delete_range(b"\0\x01\0a", b"\0\x01\0f", &mut operations);
            let mut edits = Vec::new();
            for (when, some) in Manifest::empty(5).edits() {
                manifest::encode(when, &some, &mut edits);
            }
            let index = file_of(FileKind::Index, disk).and_then(|(name, _)| disk.file(&name));
            let blocks = index.unwrap_or_default();
            let block = |from: usize| blocks.get(from..from + 280).unwrap_or_default().to_vec();
            vec![operations, edits, block(FILE_HEADER_LEN + HEAD_LEN), block(FILE_HEADER_LEN)]
        }
    }
}

/// Reads an input in every way its target has. Panics are what is looked for.
pub fn run(target: Target, input: &[u8]) {
    let input = input.get(..INPUT_BYTES_MAX).unwrap_or(input);
    match target {
        Target::Journal | Target::Meta | Target::Index => {
            let disk = around(target);
            let Some(kind) = kind_of(target) else { return };
            let Some((name, number)) = file_of(kind, disk) else { return };
            let mended = mended(kind, number, input);
            for bytes in [input, &mended] {
                let disk = disk.fork(2);
                disk.put_file(&name, bytes);
                read_all(&disk);
            }
        }
        Target::Parts => parts(input),
        Target::Keys => keys(input),
        Target::Schema => drop(SCHEMA.check(&String::from_utf8_lossy(input))),
    }
}

/// Opens and reads everything, checks it, and repairs it.
fn read_all(disk: &SimDisk) {
    let fresh = || options(&SimDisk::new(3));
    let broken = disk.fork(4);
    drop(repair::closed(&options(&broken), fresh(), fresh(), SCHEMA, &mut |_| true));
    drop(crate::verify::closed(&options(disk), SCHEMA, &mut |_| true));
    let Ok((db, _stepper)) = Db::open_stepped(options(disk), SCHEMA, &[]) else { return };
    let snapshot = db.snapshot();
    for letter in snapshot.scan::<Letter>().flatten() {
        drop(snapshot.open_large(&letter.body).read_all(INPUT_BYTES_MAX));
    }
    black_box(snapshot.scan::<Letter>().rev().count());
    black_box(snapshot.by_index_range::<LetterByTag>(..).count());
    black_box(snapshot.by_index_range::<LetterByNumber>(..).rev().count());
    drop(snapshot.count::<Tally>(&1));
    drop(db.verify(&mut |_| true));
    drop(db.settle());
}

/// What stands in records and sections.
fn parts(input: &[u8]) {
    black_box(state::apply(&mut Mem::default(), input).is_ok());
    drop(transact::parts_of(input));
    drop(row::take_larges(&mut &*input));
    drop(row::decode_count("tally", input));
    drop(Keyring::read("keys", [7; 16], input, None));
    if let Some((when, edits)) = manifest::decode(input) {
        let mut manifest = Manifest::empty(1);
        if manifest.apply(when, &edits).is_ok() {
            manifest.forget_points(5);
            drop((manifest.forgettable(), manifest.edits(), manifest.last_run()));
        }
    }
    if let Some(block) = Block::parse(input) {
        black_box(block.find(b"\0\x01\0key"));
        for at in 0..block.len() {
            black_box((block.entry(at), block.suffix(at), block.value(at)));
        }
    }
    drop(read_ranges(input));
    black_box(filter::passes(input, filter::hash(b"key")));
    if let Some(guide) = Guide::new(input.to_vec()) {
        for block in 0..guide.blocks().min(INPUT_BYTES_MAX) {
            drop((guide.separator(block), guide.place(block)));
        }
        black_box(guide.block_of(b"\0\x01\0key"));
    }
}

/// What a key's bytes are read as is written as the same bytes.
fn keys(input: &[u8]) {
    fn one<K: Key>(input: &[u8]) {
        let mut rest = input;
        if let Some(key) = K::take(&mut rest) {
            let mut again = Vec::new();
            key.put(&mut again);
            let taken = input.get(..input.len() - rest.len());
            assert_eq!(taken, Some(again.as_slice()), "a key has two forms");
        }
    }
    one::<(u8, String, Option<i64>, bool, [u8; 4])>(input);
    one::<(Vec<u8>, Vec<u8>, u16)>(input);
    one::<(Option<String>, i8, u128)>(input);
    one::<String>(input);
}

/// The same bytes with checksums that fit them.
fn mended(kind: FileKind, number: u64, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    sign(&mut bytes, 0, FILE_HEADER_LEN, crc::of);
    let name = kind.name(number);
    let Ok((header, _)) = FileHeader::read(&name, kind, number, &bytes) else { return bytes };
    if kind == FileKind::Index {
        mend_sections(&header, &mut bytes);
    } else {
        mend_records(&header, &mut bytes);
    }
    bytes
}

/// Puts a checksum of `len - 4` bytes behind them.
fn sign(bytes: &mut [u8], at: usize, len: usize, crc: impl FnOnce(&[u8]) -> u32) {
    let piece = at.checked_add(len).and_then(|end| bytes.get_mut(at..end));
    if let Some((body, to)) = piece.and_then(|piece| piece.split_last_chunk_mut::<4>()) {
        *to = crc(body).to_le_bytes();
    }
}

fn number_at(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    usize::try_from(u32::from_le_bytes(four)).ok()
}

fn mend_records(header: &FileHeader, bytes: &mut [u8]) {
    let step = usize::try_from(ALIGN).unwrap_or(8);
    let mut at = FILE_HEADER_LEN;
    while at + RECORD_HEADER_LEN <= bytes.len() {
        let is_record = bytes.get(at..).is_some_and(|rest| rest.starts_with(&RECORD_MAGIC));
        let len = number_at(bytes, at + 8).filter(|_| is_record);
        let payload = len.and_then(|len| {
            let from = at + RECORD_HEADER_LEN;
            bytes.get(from..from.checked_add(len)?).map(|payload| (len, crc::of(payload)))
        });
        let Some((len, crc)) = payload else {
            at += step;
            continue;
        };
        if let Some(to) = bytes.get_mut(at + 12..at + 16) {
            to.copy_from_slice(&crc.to_le_bytes());
        }
        let place = Place { segment: header.number, offset: at as u64 };
        let database = header.database;
        sign(bytes, at, RECORD_HEADER_LEN, |body| header_crc(&database, place, body));
        at += usize::try_from(record_len(len)).unwrap_or(usize::MAX);
    }
}

fn mend_sections(header: &FileHeader, bytes: &mut [u8]) {
    let mut at = FILE_HEADER_LEN;
    let footer = bytes.len().saturating_sub(FOOTER_LEN);
    while at < footer {
        let head = bytes.get(at..at + HEAD_LEN).and_then(|head| head.try_into().ok());
        let Some((kind, len)) = head.and_then(SectionKind::of_head) else { break };
        let from = at + HEAD_LEN;
        sign(bytes, from, len + CRC_LEN, |body| run::section_crc(header, at as u64, kind, body));
        at += usize::try_from(run::section_room(len)).unwrap_or(usize::MAX);
    }
    sign(bytes, footer, FOOTER_LEN, |body| run::footer_crc(header, footer as u64, body));
}

/// Changes an input somewhere, as `random` decides.
pub fn mutate(input: &mut Vec<u8>, random: &mut u64) {
    const NUMBERS: [u32; 8] = [0, 1, 0x7F, 0xFF, 0xFFFF, 1 << 28, i32::MAX as u32, u32::MAX];
    let mut below =
        |below: usize| usize::try_from(next_random(random) % below.max(1) as u64).unwrap_or(0);
    for _ in 0..=below(4) {
        // Most of a file is padding, and most that is read stands where the records begin.
        let from = if below(2) == 0 { FILE_HEADER_LEN.min(input.len()) } else { 0 };
        let near = 1 << below(18);
        let at = from + below((input.len() - from).min(near));
        let len = below(24);
        let end = (at + len).min(input.len());
        match below(8) {
            0 | 1 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << below(8);
                }
            }
            2 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = u8::try_from(below(256)).unwrap_or(0);
                }
            }
            3 => {
                let number = NUMBERS.get(below(NUMBERS.len())).copied().unwrap_or(0).to_le_bytes();
                for (to, from) in input.iter_mut().skip(at).zip(number) {
                    *to = from;
                }
            }
            4 => input.truncate(at),
            5 => drop(input.splice(at.min(end)..end, [])),
            6 => {
                let piece = input.get(at..end).unwrap_or_default().to_vec();
                let to = below(input.len() + 1);
                drop(input.splice(to..to, piece));
            }
            _ => {
                for byte in input.iter_mut().skip(at).take(len) {
                    *byte = u8::try_from(below(256)).unwrap_or(0);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Mutated inputs of each target: those that make a whole file are read in many ways.
    const CASES_OF_FILES: u64 = 400;
    /// See [`CASES_OF_FILES`].
    const CASES_OF_PARTS: u64 = 6_000;
    /// Set in the process that reads the inputs.
    const CHILD: &str = "GRACE_FUZZ_CHILD";
    /// The address space that it may take more than with the valid inputs, in KiB: a row may say
    /// that a large value has a part of the largest size, and a reader takes room for two of them.
    const GROWTH_KIB_MAX: u64 = 256 << 10;

    /// The most address space this process ever had (`VmPeak` of proc(5)): what is allocated counts
    /// even if it is never touched.
    #[cfg(target_os = "linux")]
    fn peak_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    #[cfg(not(target_os = "linux"))]
    fn peak_kib() -> u64 {
        0
    }

    fn read_mutated(target: Target, seeds: &[Vec<u8>]) {
        let cases = if kind_of(target).is_some() { CASES_OF_FILES } else { CASES_OF_PARTS };
        for case in 0..cases {
            let mut random = case;
            let mut input = seeds[usize::try_from(case).unwrap() % seeds.len()].clone();
            mutate(&mut input, &mut random);
            let told = std::panic::catch_unwind(|| run(target, &input));
            assert!(told.is_ok(), "{target:?}, case {case}: it panicked on these bytes");
        }
    }

    /// In a process of its own, whose memory nobody else takes.
    #[test]
    fn mutated_files_are_read_or_refused_in_bounded_memory() {
        if std::env::var_os(CHILD).is_none() {
            let name = "fuzz::tests::mutated_files_are_read_or_refused_in_bounded_memory";
            let mut child = Command::new(std::env::current_exe().unwrap());
            let output = child.args(["--exact", name, "--nocapture"]).env(CHILD, "1").output();
            let output = output.unwrap();
            let words =
                String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && words.contains("1 passed"), "{words}");
            return;
        }
        let seeds = TARGETS.map(seeds);
        for (target, seeds) in TARGETS.into_iter().zip(&seeds) {
            assert!(!seeds.is_empty() && seeds.iter().all(|seed| !seed.is_empty()), "{target:?}");
            seeds.iter().for_each(|seed| run(target, seed));
        }
        let before = peak_kib();
        for (target, seeds) in TARGETS.into_iter().zip(&seeds) {
            read_mutated(target, seeds);
        }
        let grown = peak_kib() - before;
        assert!(grown < GROWTH_KIB_MAX, "it took {grown} KiB more than with valid files");
    }

    /// An input that a fuzzer found: a segment that was cleaned again and again, for its uses and
    /// rows did not agree.
    #[test]
    fn what_once_went_wrong_comes_to_an_end() {
        run(Target::Index, include_bytes!("../fuzz/regressions/index-cleaned-without-end"));
    }

    #[test]
    fn mended_files_get_past_their_checksums() {
        for target in [Target::Journal, Target::Meta, Target::Index] {
            let kind = kind_of(target).unwrap();
            let disk = around(target);
            let (name, number) = file_of(kind, disk).unwrap();
            let whole = disk.file(&name).unwrap();
            assert_eq!(mended(kind, number, &whole), whole, "{target:?}: a sound file is its own");
            let mut broken = whole.clone();
            // The first byte of the first payload.
            let at = FILE_HEADER_LEN
                + if kind == FileKind::Index { HEAD_LEN } else { RECORD_HEADER_LEN };
            broken[at] ^= 0x40;
            let mended = mended(kind, number, &broken);
            let changed = mended.iter().zip(&broken).filter(|(a, b)| a != b).count();
            assert!((1..=8).contains(&changed), "{target:?}: {changed} bytes");
        }
    }
}
