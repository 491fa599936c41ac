//! The bytes of a row: a list of the large values it points to, then its fields.
//!
//! ```text
//!   larges: varint: twice their number, plus one if the last of them holds the fields
//!           │ each: parts varint │ each: segment, offset, length varints, crc32c u32 LE
//!   fields: bincode 2, standard configuration (varint, little-endian), or nothing if they stand
//!           apart
//! ```
//! In the fields a [`Large`] is only its number in the list. So the engine can count, check and
//! move large values without knowing a table. Invariants: a row that decodes used every byte.
//! Not here: keys (`key`), reading the large bytes (`large`).

use std::cell::RefCell;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::engine::{Reader, Writer};
use crate::error::Error;
use crate::format::PAYLOAD_BYTES_MAX;
use crate::large::{self, Large, Part};

/// Most bytes of a row. Larger things are large values; a limit keeps a corrupt length harmless.
pub const ROW_BYTES_MAX: usize = 1 << 20;
/// Most large values a row points to.
const LARGES_MAX: u64 = 1 << 16;

/// The large values of the row that this thread is turning into or out of bytes.
///
/// Serde has no way to hand a context to a field, so it waits here. Set only within
/// [`encode`] and [`decode`], which do not nest.
enum Context {
    Idle,
    Writing(Vec<Large>),
    Reading(Vec<Large>),
}

thread_local! {
    static CONTEXT: RefCell<Context> = const { RefCell::new(Context::Idle) };
}

impl Serialize for Large {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = CONTEXT.with_borrow_mut(|context| match context {
            Context::Writing(larges) => {
                larges.push(self.clone());
                u32::try_from(larges.len() - 1).ok()
            }
            Context::Idle | Context::Reading(_) => None,
        });
        match number {
            Some(number) => serializer.serialize_u32(number),
            None => Err(serde::ser::Error::custom("a large value can be kept only in a row")),
        }
    }
}

impl<'de> Deserialize<'de> for Large {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(deserializer)?;
        CONTEXT
            .with_borrow(|context| match context {
                Context::Reading(larges) => larges.get(usize::try_from(number).ok()?).cloned(),
                Context::Idle | Context::Writing(_) => None,
            })
            .ok_or_else(|| serde::de::Error::custom("no such large value in the row"))
    }
}

const fn configuration() -> bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<ROW_BYTES_MAX>,
> {
    bincode::config::standard().with_limit::<ROW_BYTES_MAX>()
}

fn reset() -> Context {
    CONTEXT.with_borrow_mut(|context| std::mem::replace(context, Context::Idle))
}

/// A row on its way into a store.
pub(crate) struct Encoded {
    pub(crate) fields: Vec<u8>,
    pub(crate) larges: Vec<Large>,
}

impl Encoded {
    /// The bytes of the row. Fields that are too long for it go to the writer by themselves.
    pub(crate) fn into_value(
        mut self,
        writer: &mut dyn Writer,
    ) -> Result<(Vec<u8>, Vec<Large>), Error> {
        let apart = self.fields.len() > writer.inline_bytes_max();
        if apart {
            let bytes = self.fields.len() as u64;
            let (part, fresh) = writer.put_part(std::mem::take(&mut self.fields))?;
            let (parts, fresh) = ([part].into(), Some(fresh.into()));
            self.larges.push(Large { bytes, parts, fresh });
        }
        let mut value = Vec::with_capacity(self.fields.len() + 32 * self.larges.len() + 1);
        put_larges(&self.larges, apart, &mut value);
        value.extend_from_slice(&self.fields);
        if value.len() > ROW_BYTES_MAX {
            let (what, bytes, bytes_max) = ("a row", value.len(), ROW_BYTES_MAX);
            return Err(Error::TooLarge { what, bytes, bytes_max });
        }
        Ok((value, self.larges))
    }
}

/// The fields of a row, and the large values in it.
pub(crate) fn encode<T: Serialize>(table: &'static str, row: &T) -> Result<Encoded, Error> {
    CONTEXT.with_borrow_mut(|context| *context = Context::Writing(Vec::new()));
    let fields = bincode::serde::encode_to_vec(row, configuration());
    let Context::Writing(larges) = reset() else {
        return Err(Error::Row { table, reason: "a row was written while writing a row".into() });
    };
    let fields = fields.map_err(|error| Error::Row { table, reason: error.to_string() })?;
    if fields.len() > ROW_BYTES_MAX {
        let (what, bytes, bytes_max) = ("a row", fields.len(), ROW_BYTES_MAX);
        return Err(Error::TooLarge { what, bytes, bytes_max });
    }
    Ok(Encoded { fields, larges })
}

/// The row of some bytes. Fields that stand apart are read with `reader`.
pub(crate) fn decode<T: DeserializeOwned>(
    table: &'static str,
    bytes: &[u8],
    reader: &dyn Reader,
) -> Result<T, Error> {
    let failed = |reason: String| Error::Row { table, reason };
    let mut rest = bytes;
    let (mut larges, apart) = take_list(&mut rest).ok_or_else(|| failed("not a row".to_owned()))?;
    let fields;
    if apart {
        let large = larges.pop().ok_or_else(|| failed("fields that stand nowhere".to_owned()))?;
        fields = large::read_all(reader, &large, ROW_BYTES_MAX)?;
        rest = &fields;
    }
    // Without a context a field that is a large value is an error, as it is with an empty one.
    let has_context = !larges.is_empty();
    if has_context {
        CONTEXT.with_borrow_mut(|context| *context = Context::Reading(larges));
    }
    let row = bincode::serde::decode_from_slice(rest, configuration());
    if has_context {
        reset();
    }
    match row {
        Ok((row, used)) if used == rest.len() => Ok(row),
        Ok((_, used)) => Err(failed(format!("{} bytes too many", rest.len() - used))),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// The bytes of a row that is nothing but a large value: for who uses a store without tables.
#[must_use]
pub fn large_only(large: &Large) -> Vec<u8> {
    let mut value = Vec::with_capacity(24);
    put_larges(std::slice::from_ref(large), false, &mut value);
    value
}

/// The large values that a row's bytes list. `None`: these are not the bytes of a row.
#[must_use]
pub fn larges_of(value: &[u8]) -> Option<Vec<Large>> {
    take_larges(&mut &*value)
}

/// The large values of a row, those that hold its fields included. `None`: not a row.
pub(crate) fn take_larges(bytes: &mut &[u8]) -> Option<Vec<Large>> {
    take_list(bytes).map(|(larges, _)| larges)
}

fn take_list(bytes: &mut &[u8]) -> Option<(Vec<Large>, bool)> {
    // Most rows point to nothing.
    if let [0, rest @ ..] = bytes {
        *bytes = rest;
        return Some((Vec::new(), false));
    }
    let code = take_varint(bytes)?;
    let count = Some(code / 2).filter(|count| *count <= LARGES_MAX)?;
    let larges: Option<Vec<Large>> = (0..count).map(|_| take_large(bytes)).collect();
    Some((larges?, code % 2 == 1))
}

fn put_larges(larges: &[Large], apart: bool, out: &mut Vec<u8>) {
    put_varint(2 * larges.len() as u64 + u64::from(apart), out);
    for large in larges {
        put_varint(large.parts.len() as u64, out);
        for part in large.parts.iter() {
            put_varint(part.segment, out);
            put_varint(part.offset, out);
            put_varint(u64::from(part.len), out);
            out.extend_from_slice(&part.crc.to_le_bytes());
        }
    }
}

fn take_large(bytes: &mut &[u8]) -> Option<Large> {
    // A part takes at least 7 bytes, which bounds what a wrong count can make us allocate.
    let count = usize::try_from(take_varint(bytes)?).ok().filter(|n| *n <= bytes.len() / 7)?;
    let mut parts = Vec::with_capacity(count);
    for _ in 0..count {
        let (segment, offset) = (take_varint(bytes)?, take_varint(bytes)?);
        // Whoever reads the part makes room for it first.
        let len = take_varint(bytes)?;
        let len = u32::try_from(len).ok().filter(|_| len <= PAYLOAD_BYTES_MAX as u64)?;
        let (crc, rest) = bytes.split_first_chunk::<4>()?;
        *bytes = rest;
        parts.push(Part { segment, offset, len, crc: u32::from_le_bytes(*crc) });
    }
    Some(Large::kept(parts))
}

/// The row with another part in place of `from`, and its large values; `None`: it has no such part.
pub(crate) fn replace_part(value: &[u8], from: &Part, to: &Part) -> Option<(Vec<u8>, Vec<Large>)> {
    let mut rest = value;
    let (larges, apart) = take_list(&mut rest)?;
    if !larges.iter().any(|large| large.parts.contains(from)) {
        return None;
    }
    let moved = |part: &Part| if part == from { *to } else { *part };
    let larges: Vec<Large> =
        larges.iter().map(|large| Large::kept(large.parts.iter().map(moved).collect())).collect();
    let mut bytes = Vec::with_capacity(value.len() + 8);
    put_larges(&larges, apart, &mut bytes);
    bytes.extend_from_slice(rest);
    Some((bytes, larges))
}

/// The bytes of a counter: a row without large values, whose field is the value.
pub(crate) fn encode_count(count: i64) -> [u8; 9] {
    let mut bytes = [0; 9];
    if let Some(to) = bytes.last_chunk_mut() {
        *to = count.to_le_bytes();
    }
    bytes
}

pub(crate) fn decode_count(table: &'static str, bytes: &[u8]) -> Result<i64, Error> {
    match bytes {
        [0, count @ ..] => count.try_into().map(i64::from_le_bytes).ok(),
        _ => None,
    }
    .ok_or_else(|| Error::Row { table, reason: "not a counter".to_owned() })
}

/// Seven bits a byte, lowest first, the top bit says that more follow.
#[expect(clippy::cast_possible_truncation, reason = "the low seven bits are what is wanted")]
pub(crate) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7F);
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryEngine;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Letter {
        uid: u32,
        subject: String,
        body: Large,
        parts: Vec<Large>,
    }

    fn large(seed: u32) -> Large {
        let offset = 4096 + u64::from(seed % 9) * 8;
        Large::kept(vec![Part { segment: 1, offset, len: 300, crc: seed }])
    }

    fn letter() -> Letter {
        let (body, parts) = (large(0x0102_0304), vec![large(1)]);
        Letter { uid: 300, subject: "hi".into(), body, parts }
    }

    fn bytes(row: &Letter) -> Vec<u8> {
        let encoded = encode("letter", row).unwrap();
        let mut value = Vec::new();
        put_larges(&encoded.larges, false, &mut value);
        value.extend_from_slice(&encoded.fields);
        value
    }

    fn read(bytes: &[u8]) -> Result<Letter, Error> {
        let engine = MemoryEngine::new();
        decode("letter", bytes, crate::engine::Engine::snapshot(&engine).as_ref())
    }

    #[test]
    fn row_bytes_are_frozen() {
        let bytes = bytes(&letter());
        #[rustfmt::skip]
        assert_eq!(bytes, [
            4,                                               // two large values
            1, 1, 0x80 | 0x20, 0x20, 0xAC, 2, 4, 3, 2, 1,    // the body
            1, 1, 0x88, 0x20, 0xAC, 2, 1, 0, 0, 0,           // the part
            251, 44, 1, 2, b'h', b'i', 0, 1, 1,              // bincode: 300, "hi", #0, [#1]
        ]);
        assert_eq!(read(&bytes).unwrap(), letter());
    }

    #[test]
    fn every_cut_or_longer_row_is_refused() {
        let mut bytes = bytes(&letter());
        for len in 0..bytes.len() {
            assert!(read(&bytes[..len]).is_err(), "{len}");
        }
        bytes.push(0);
        assert!(read(&bytes).is_err());
    }

    #[test]
    fn a_part_moves_and_the_fields_stay() {
        let row = letter();
        let to = Part { segment: 7, offset: 8192, len: 300, crc: 0x0102_0304 };
        let (moved, larges) = replace_part(&bytes(&row), &row.body.parts[0], &to).unwrap();
        assert_eq!(larges[0].parts[..], [to]);
        let body = Large::kept(vec![to]);
        assert_eq!(read(&moved).unwrap(), Letter { body, ..row });
        assert!(replace_part(&moved, &large(3).parts[0], &to).is_none());
    }

    #[test]
    fn a_large_value_lives_only_in_rows() {
        assert!(bincode::serde::encode_to_vec(large(1), bincode::config::standard()).is_err());
    }

    #[test]
    fn varints() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(value, &mut bytes);
            assert_eq!(take_varint(&mut bytes.as_slice()), Some(value));
        }
        assert_eq!(take_varint(&mut [0xFF; 10].as_slice()), None);
    }
}
