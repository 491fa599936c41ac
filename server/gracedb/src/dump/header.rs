//! The header of a file, and the keys in it.
//!
//! Not here: whether the key opens them (`seal`).

use crate::crc;
use crate::error::Error;
use crate::format::{FILE_FIELDS_LEN, FILE_HEADER_LEN, FileHeader, FileKind, VERSION};
use crate::seal::WRAPPED_LEN;
use crate::words::hex;

use super::Around;
use super::sheet::{Row, Sheet};

/// Shows a header; says what it says. `None`: nobody knows how the file goes on.
pub(super) fn show(
    sheet: &mut Sheet<'_>,
    around: &Around,
    kind: FileKind,
    number: u64,
    bytes: &[u8],
) -> Result<Option<FileHeader>, Error> {
    sheet.begin(FILE_HEADER_LEN as u64);
    sheet.heading(&format!("header at 0, {FILE_HEADER_LEN} bytes"))?;
    let read = FileHeader::read(&kind.name(number), kind, number, bytes);
    let read = read.map(|(header, _)| header);
    let version = bytes.get(8..12).map_or(u64::from(VERSION), super::sheet::number);
    let (body, crc) = bytes.split_at(bytes.len().min(FILE_HEADER_LEN - 4));
    let is_whole = crc.len() == 4 && super::sheet::number(crc) == u64::from(crc::of(body));
    let mut row = Row { sheet, at: 0, rest: body };
    row.take(8, "magic", |magic| String::from_utf8_lossy(magic).into_owned())?;
    row.number(4, "format", |version| format!("version {version}"))?;
    if version != u64::from(VERSION) && is_whole {
        let what = format!("this program knows format version {VERSION} and shows no other");
        row.sheet.broken(8, &what)?;
        return Ok(None);
    }
    fields(&mut row, kind, around)?;
    let crc_at = (FILE_HEADER_LEN - 4) as u64;
    let meaning = if is_whole { "right" } else { "WRONG" };
    row.sheet.field(crc_at, crc, "crc32c", meaning)?;
    let header = match read {
        Ok(header) => header,
        Err(error) => {
            let what = match error {
                Error::Corrupt { what, .. } | Error::Unknown { what, .. } => what,
                error => error.to_string(),
            };
            row.sheet.broken(0, &what)?;
            FileHeader::guess(kind, around.files.database, number, bytes)
        }
    };
    if header.database != around.files.database {
        row.sheet.broken(16, "it belongs to another database than the rest of the folder")?;
    }
    Ok(Some(header))
}

fn fields(row: &mut Row<'_, '_, '_>, kind: FileKind, around: &Around) -> Result<(), Error> {
    row.number(4, "length", |len| format!("of this header: {len}"))?;
    row.take(16, "database", hex)?;
    row.number(8, "number", |number| number.to_string())?;
    row.number(4, "align", |align| format!("groups start at multiples of {align}"))?;
    row.number(4, "cipher", |cipher| match cipher {
        0 => "none".to_owned(),
        1 => "AES-256-GCM".to_owned(),
        other => format!("{other}, UNKNOWN"),
    })?;
    row.number(4, "data key", |key| key.to_string())?;
    row.number(4, "flags", |flags| match flags {
        0 => String::new(),
        1 => "made of another file".to_owned(),
        other => format!("{other:#x}, UNKNOWN"),
    })?;
    row.take(16, "salt", |_| String::new())?;
    debug_assert!(row.at <= FILE_FIELDS_LEN as u64);
    if matches!(kind, FileKind::Meta | FileKind::Keys)
        && row.rest.get(..4).is_some_and(|lock| lock != [0; 4])
    {
        row.number(4, "lock", |lock| match lock {
            1 => "a key file".to_owned(),
            2 => "a passphrase, Argon2id".to_owned(),
            other => format!("{other}, UNKNOWN"),
        })?;
        row.number(4, "memory", |kib| format!("{kib} KiB"))?;
        row.number(4, "passes", |passes| passes.to_string())?;
        row.number(4, "lanes", |lanes| lanes.to_string())?;
        row.take(16, "salt", |_| String::new())?;
        row.number(4, "current", |key| format!("data key {key} encrypts new files"))?;
        let keys = row.number(4, "data keys", |keys| keys.to_string())?;
        for _ in 0..keys {
            if row.rest.len() < WRAPPED_LEN {
                row.sheet.broken(row.at, "the header has no room for so many keys")?;
                break;
            }
            let known = around.files.keys().numbers();
            row.number(4, "data key", |key| {
                let is_known = known.iter().any(|known| u64::from(*known) == key);
                format!("{key}{}", if is_known { ", opened by the key given" } else { "" })
            })?;
            row.take(12, "nonce", |_| String::new())?;
            row.take(32, "wrapped", |_| "the key, encrypted".to_owned())?;
            row.take(16, "tag", |_| String::new())?;
        }
    }
    row.zeros(row.rest.len())
}
