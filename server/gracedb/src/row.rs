//! The bytes of a row: a list of the large values it points to, then its fields.
//!
//! ```text
//!   larges: varint | each: bytes varint, extents varint
//!                          | each: segment varint, offset varint, length varint, crc32c u32 LE
//!   fields: bincode 2, standard configuration (varint, little-endian)
//! ```
//! In the fields a [`Large`] is only its number in the list. So the engine can count, check and
//! move large values without knowing a table. Invariants: a row that decodes used every byte.
//! Not here: keys (`key`), reading the large bytes (`large`).

use std::cell::RefCell;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;
use crate::large::{Extent, Large};

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

/// The bytes of a row, and the large values in it.
pub(crate) fn encode<T: Serialize>(
    table: &'static str,
    row: &T,
) -> Result<(Vec<u8>, Vec<Large>), Error> {
    CONTEXT.with_borrow_mut(|context| *context = Context::Writing(Vec::new()));
    let fields = bincode::serde::encode_to_vec(row, configuration());
    let Context::Writing(larges) = reset() else {
        return Err(Error::Row { table, reason: "a row was written while writing a row".into() });
    };
    let fields = fields.map_err(|error| Error::Row { table, reason: error.to_string() })?;
    let mut bytes = Vec::with_capacity(fields.len() + 32 * larges.len() + 1);
    put_varint(larges.len() as u64, &mut bytes);
    for large in &larges {
        put_large(large, &mut bytes);
    }
    bytes.extend_from_slice(&fields);
    if bytes.len() > ROW_BYTES_MAX {
        return Err(Error::TooLarge {
            what: "a row",
            bytes: bytes.len(),
            bytes_max: ROW_BYTES_MAX,
        });
    }
    Ok((bytes, larges))
}

/// The row of some bytes.
pub(crate) fn decode<T: DeserializeOwned>(table: &'static str, bytes: &[u8]) -> Result<T, Error> {
    let failed = |reason: String| Error::Row { table, reason };
    let mut rest = bytes;
    let larges = take_larges(&mut rest).ok_or_else(|| failed("not a row".to_owned()))?;
    CONTEXT.with_borrow_mut(|context| *context = Context::Reading(larges));
    let row = bincode::serde::decode_from_slice(rest, configuration());
    reset();
    match row {
        Ok((row, used)) if used == rest.len() => Ok(row),
        Ok((_, used)) => Err(failed(format!("{} bytes too many", rest.len() - used))),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// The large values of a row, without its fields. `None`: not a row.
pub(crate) fn take_larges(bytes: &mut &[u8]) -> Option<Vec<Large>> {
    let count = take_varint(bytes).filter(|count| *count <= LARGES_MAX)?;
    (0..count).map(|_| take_large(bytes)).collect()
}

fn put_large(large: &Large, out: &mut Vec<u8>) {
    put_varint(large.bytes, out);
    put_varint(large.extents.len() as u64, out);
    for extent in large.extents.iter() {
        put_varint(extent.segment, out);
        put_varint(extent.offset, out);
        put_varint(u64::from(extent.len), out);
        out.extend_from_slice(&extent.crc.to_le_bytes());
    }
}

fn take_large(bytes: &mut &[u8]) -> Option<Large> {
    let total = take_varint(bytes)?;
    // An extent takes at least 7 bytes, which bounds what a wrong count can make us allocate.
    let count = usize::try_from(take_varint(bytes)?).ok().filter(|n| *n <= bytes.len() / 7)?;
    let mut extents = Vec::with_capacity(count);
    for _ in 0..count {
        let (segment, offset) = (take_varint(bytes)?, take_varint(bytes)?);
        let len = u32::try_from(take_varint(bytes)?).ok()?;
        let (crc, rest) = bytes.split_first_chunk::<4>()?;
        *bytes = rest;
        extents.push(Extent { segment, offset, len, crc: u32::from_le_bytes(*crc) });
    }
    let sum: u64 = extents.iter().map(|extent| u64::from(extent.len)).sum();
    (sum == total).then(|| Large { bytes: total, extents: Arc::from(extents), epoch: 0 })
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

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Letter {
        uid: u32,
        subject: String,
        body: Large,
        parts: Vec<Large>,
    }

    fn large(seed: u32) -> Large {
        let extent = Extent { segment: 1, offset: 4096 + u64::from(seed) * 8, len: 300, crc: seed };
        Large { bytes: 300, extents: Arc::from([extent]), epoch: 0 }
    }

    #[test]
    fn row_bytes_are_frozen() {
        let row = Letter {
            uid: 300,
            subject: "hi".into(),
            body: large(0x0102_0304),
            parts: vec![large(1)],
        };
        let (bytes, larges) = encode("letter", &row).unwrap();
        #[rustfmt::skip]
        assert_eq!(bytes, [
            2,                                             // two large values
            0xAC, 2, 1, 1, 0xA0, 0xD0, 0xC0, 0x40, 0xAC, 2, 4, 3, 2, 1, // the body
            0xAC, 2, 1, 1, 0x88, 0x20, 0xAC, 2, 1, 0, 0, 0, // the part
            251, 44, 1, 2, b'h', b'i', 0, 1, 1,            // bincode: 300, "hi", #0, [#1]
        ]);
        assert_eq!(larges.len(), 2);
        assert_eq!(decode::<Letter>("letter", &bytes).unwrap(), row);
    }

    #[test]
    fn every_cut_or_longer_row_is_refused() {
        let row = Letter { uid: 1, subject: "x".into(), body: large(2), parts: vec![] };
        let (mut bytes, _) = encode("letter", &row).unwrap();
        for len in 0..bytes.len() {
            assert!(decode::<Letter>("letter", &bytes[..len]).is_err(), "{len}");
        }
        bytes.push(0);
        assert!(decode::<Letter>("letter", &bytes).is_err());
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
