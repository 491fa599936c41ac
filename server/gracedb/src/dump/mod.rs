//! A file of a database, byte by byte: where each byte stands, what it is, and what it means.
//!
//! ```text
//!   0000000001.gj: a journal segment, 4864 bytes
//!
//!   record at 4096: life, 48 bytes
//!         4096  47 72 52 63      magic
//!         4100  05               kind      a life begins
//! ```
//! Keys are told in words, by the schema that the database keeps itself. What is broken is shown as
//! broken, with the reason, and the rest goes on at the next whole record or section. With the key
//! encrypted bytes are shown decrypted; without it, only what stands around them.
//! Takes no lock and changes nothing, so it works beside a running daemon: what that one is writing
//! at the moment may then be shown as broken, and is whole a moment later.
//! Invariants: no bytes make it fail but those of the key; memory is one record or one section,
//! whatever lengths a broken file speaks of. Not here: whether files agree (`verify`).

mod header;
mod records;
mod sections;
mod sheet;

use std::io::{self, Write};
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::Error;
use crate::files::Files;
use crate::format::{FILE_HEADER_LEN, FileKind};
use crate::row;
use crate::salvage::Wreck;
use crate::seal::{Key, Keyring};
use crate::space;
use crate::words::Words;

use self::sheet::Sheet;

/// Which part of a file is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The first record or section is the one that this byte of the file is in.
    pub at: u64,
    /// So many records or sections at most; the file's header is one.
    pub records: u64,
}

impl Default for Wanted {
    /// Everything.
    fn default() -> Self {
        Self { at: 0, records: u64::MAX }
    }
}

/// What was shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dumped {
    /// Headers, records and sections.
    pub records: u64,
    /// Places that are broken.
    pub broken: u64,
}

/// Shows a file of the database in a folder, or a part of it. `key` opens an encrypted database.
///
/// # Errors
/// There is no such file, it cannot be read, the key is not the database's, or `out` fails. Broken
/// bytes are no error.
pub fn file(
    disk: &Arc<dyn Disk>,
    key: Option<&Key>,
    name: &str,
    wanted: Wanted,
    out: &mut dyn Write,
) -> Result<Dumped, Error> {
    let (kind, number) = FileKind::parse(name).ok_or(Error::Settings {
        what: "only files named by ten digits and .gj, .gi, .gm or .gk are shown",
    })?;
    let file = disk.open(name).map_err(|error| Error::io("open", name, error))?;
    let len = file.len().map_err(|error| Error::io("measure", name, error))?;
    let mut bytes = vec![0; FILE_HEADER_LEN];
    let read = file.read_at(0, &mut bytes).map_err(|error| Error::io("read", name, error))?;
    bytes.truncate(read);
    let around = Around::look(disk, key, &bytes)?;
    let mut sheet = Sheet::new(out, wanted);
    sheet.line(&format!("{name}: {}, {len} bytes", kind.words()))?;
    if let Some(note) = &around.note {
        sheet.line(&format!("Of the rest of the database: {note}."))?;
    }
    let known = header::show(&mut sheet, &around, kind, number, &bytes)?;
    let Some(header) = known.filter(|_| sheet.goes_on()) else { return Ok(sheet.dumped()) };
    let cipher = match around.files.cipher(&header) {
        Ok(cipher) => cipher,
        Err(_) => {
            let what = "Its contents are encrypted; with the key of the database they are shown.";
            sheet.line(what)?;
            None
        }
    };
    let shown = Shown { name, header, file, len, cipher, words: &around.words };
    match kind {
        FileKind::Journal | FileKind::Meta => records::show(&mut sheet, &shown)?,
        FileKind::Index => sections::show(&mut sheet, &shown)?,
        FileKind::Keys => {}
    }
    Ok(sheet.dumped())
}

/// The file that is shown.
struct Shown<'a> {
    name: &'a str,
    header: crate::format::FileHeader,
    file: Arc<dyn crate::disk::DiskFile>,
    len: u64,
    /// `None`: it is in the clear, or nobody has the key.
    cipher: Option<crate::seal::Cipher>,
    words: &'a Words,
}

/// What the other files of the database say.
struct Around {
    files: Arc<Files>,
    words: Words,
    /// Why they say less than they could.
    note: Option<String>,
}

impl Around {
    fn look(disk: &Arc<dyn Disk>, key: Option<&Key>, header: &[u8]) -> Result<Self, Error> {
        let mut opened = Wreck::open(disk, key, &mut |_, _, _| {});
        for _ in 0..3 {
            // A running daemon may write the next meta file just now, and remove this one.
            if !matches!(&opened, Err(Error::Io { source, .. })
                if source.kind() == io::ErrorKind::NotFound)
            {
                break;
            }
            opened = Wreck::open(disk, key, &mut |_, _, _| {});
        }
        match opened {
            Ok(Wreck { files, words, .. }) => Ok(Self { files, words, note: None }),
            Err(error @ (Error::WrongKey { .. } | Error::KeyNeeded { .. })) if key.is_some() => {
                Err(error)
            }
            Err(error) => {
                let database = header.get(16..32).and_then(|id| id.try_into().ok());
                let database = database.unwrap_or_default();
                let keys = Keyring::plain(database);
                let files = Arc::new(Files::new(Arc::clone(disk), keys, database, 8));
                Ok(Self { files, words: Words::default(), note: Some(error.to_string()) })
            }
        }
    }
}

/// What the value of a key means.
fn value_words(words: &Words, key: &[u8], value: &[u8]) -> String {
    let number = || row::take_varint(&mut &*value).filter(|_| !value.is_empty());
    if space::parse_use(key).is_some() {
        return number().map_or("no length".to_owned(), |len| format!("length {len}"));
    }
    if space::parse_live(key).is_some() {
        return number().map_or("no number".to_owned(), |len| format!("{len} bytes"));
    }
    let [high, low, space, ..] = *key else { return format!("{} bytes", value.len()) };
    let table = u16::from_be_bytes([high, low]);
    if space == space::COUNTER {
        return value.try_into().map(u64::from_le_bytes).map_or_else(
            |_| "not a number".to_owned(),
            |last| format!("the last id given: {last}"),
        );
    }
    if space::is_row(key) && words.is_counter(table) {
        let count = row::decode_count("", value);
        return count.map_or("not a counter".to_owned(), |count| format!("count {count}"));
    }
    if space::is_row(key) {
        return row_words(value);
    }
    match value {
        [] => String::new(),
        of_row if table != 0 => words.key(&[&space::head(table, space::ROWS), of_row].concat()),
        other => format!("{} bytes", other.len()),
    }
}

fn row_words(value: &[u8]) -> String {
    /// Parts that are told one by one.
    const PARTS: usize = 4;
    let mut rest = value;
    let apart = value.first().is_some_and(|code| code % 2 == 1);
    let Some(larges) = row::take_larges(&mut rest) else { return "not a row".to_owned() };
    let mut words = Vec::new();
    for (at, large) in larges.iter().enumerate() {
        let name = if apart && at + 1 == larges.len() { "its fields" } else { "large value" };
        let parts = large.parts().iter().take(PARTS).map(|part| {
            let (segment, offset) = (part.segment, part.offset);
            format!("{} bytes, crc32c {:08x}, in {segment} at {offset}", part.len, part.crc)
        });
        let mut parts: Vec<String> = parts.collect();
        if large.parts().len() > PARTS {
            parts.push(format!("… {} parts", large.parts().len()));
        }
        words.push(match parts.as_slice() {
            [] => format!("{name}: empty"),
            parts => format!("{name}: {}", parts.join("; ")),
        });
    }
    if !apart {
        words.push(format!("{} bytes of fields", rest.len()));
    }
    words.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::{SimDisk, next_random};
    use crate::golden::{self, dump_of};

    fn part(disk: &SimDisk, name: &str, wanted: Wanted) -> (Dumped, String) {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let mut text = Vec::new();
        let dumped = file(&disk, None, name, wanted, &mut text).unwrap();
        (dumped, String::from_utf8(text).unwrap())
    }

    #[test]
    fn the_record_around_a_byte_is_shown_and_no_other() {
        let disk = golden::golden_disk("plain");
        let (all, text) = part(&disk, "0000000001.gj", Wanted::default());
        let starts: Vec<u64> = text
            .lines()
            .filter_map(|line| line.strip_prefix("record at ")?.split(',').next()?.parse().ok())
            .collect();
        assert_eq!((all.records, all.broken), (starts.len() as u64 + 1, 0));
        for (at, start) in starts.iter().enumerate() {
            for within in [0, 9] {
                let wanted = Wanted { at: start + within, records: 1 };
                let (one, text) = part(&disk, "0000000001.gj", wanted);
                assert_eq!(one, Dumped { records: 1, broken: 0 }, "record {at}");
                assert!(text.contains(&format!("\nrecord at {start}, ")), "{text}");
            }
        }
        let (rest, _) = part(&disk, "0000000001.gj", Wanted { at: starts[2], records: u64::MAX });
        assert_eq!(rest.records, starts.len() as u64 - 2);
        let (footer, text) = part(&disk, "0000000001.gi", Wanted { at: 5_500, records: 1 });
        assert_eq!(footer.records, 0, "{text}");
    }

    #[test]
    fn what_is_broken_is_shown_as_that_and_the_rest_goes_on() {
        for name in ["0000000001.gj", "0000000001.gi", "0000000002.gm"] {
            let (whole, _) = part(&golden::golden_disk("plain"), name, Wanted::default());
            assert_eq!(whole.broken, 0, "{name}");
            for (offset, lost) in [(4_100, 1), (100, 0)] {
                let disk = golden::golden_disk("plain");
                assert!(disk.damage(name, offset, 0x10));
                let (dumped, text) = part(&disk, name, Wanted::default());
                assert_eq!(dumped.records, whole.records - lost, "{name} at {offset}: {text}");
                assert!(dumped.broken > 0 && text.contains("BROKEN at "), "{name}: {text}");
            }
        }
    }

    #[test]
    fn no_bytes_make_it_fail() {
        let mut random = 77;
        let files = [
            ("plain", "0000000001.gj"),
            ("plain", "0000000001.gi"),
            ("plain", "0000000002.gm"),
            ("sealed", "0000000003.gj"),
            ("sealed", "0000000001.gi"),
            ("sealed", "0000000004.gm"),
            ("sealed", "0000000004.gk"),
        ];
        for (sample, name) in files {
            let key = golden::key_of(sample);
            let golden = golden::golden_disk(sample);
            let whole = golden.file(name).unwrap();
            for case in 0..60 {
                let mut bytes = whole.clone();
                let mut below = |below: usize| {
                    usize::try_from(next_random(&mut random) % below as u64).unwrap()
                };
                for _ in 0..below(8) {
                    let (from, len) = (below(bytes.len()), below(40));
                    for byte in bytes.iter_mut().skip(from).take(len) {
                        *byte = u8::try_from(below(256)).unwrap();
                    }
                }
                if case % 3 == 0 {
                    bytes.truncate(below(bytes.len()));
                }
                let disk = golden.fork(0);
                disk.put_file(name, &bytes);
                let from = below(9_000) as u64;
                part(&disk, name, Wanted { at: from, records: u64::MAX });
                dump_of(&disk, key.as_ref(), name);
            }
        }
    }

    #[test]
    fn checksums_that_fit_do_not_make_lies_believed() {
        // Payloads and blocks of any bytes, as somebody who knows the checksums could make them.
        let mut random = 5;
        for _ in 0..300 {
            let mut byte = |below: u64| u8::try_from(next_random(&mut random) % below).unwrap();
            let len = byte(200);
            let mut bytes: Vec<u8> = (0..len).map(|_| byte(256)).collect();
            if byte(2) == 0 {
                bytes.splice(0..0, [byte(9), 0, 0, 0, byte(5), 0, 2, 0]);
            }
            let mut out = Vec::new();
            let mut sheet = Sheet::new(&mut out, Wanted::default());
            let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
            let file = disk.create("f").unwrap();
            let header = crate::format::FileHeader::guess(FileKind::Index, [0; 16], 1, &[]);
            let (len, cipher, words) = (0, None, &Words::new("table 1 t version 1\n  key k\n"));
            let shown = Shown { name: "f", header, file, len, cipher, words };
            sections::show_any(&mut sheet, &shown, &bytes).unwrap();
            records::show_any(&mut sheet, &shown, &bytes).unwrap();
            value_words(words, &bytes, &bytes);
        }
    }

    #[test]
    fn a_file_of_another_name_or_key_is_an_error() {
        let disk: Arc<dyn Disk> = Arc::new(golden::golden_disk("sealed"));
        let wrong = Key::from_bytes([7; 32]);
        let mut out = Vec::new();
        let mut show = |key, name| file(&disk, key, name, Wanted::default(), &mut out);
        assert!(matches!(show(None, "lock"), Err(Error::Settings { .. })));
        assert!(matches!(show(None, "0000000099.gj"), Err(Error::Io { .. })));
        assert!(matches!(show(Some(&wrong), "0000000003.gj"), Err(Error::WrongKey { .. })));
    }
}
