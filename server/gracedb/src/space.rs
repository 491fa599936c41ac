//! How the one ordered keyspace is divided: table, then rows or index, then key.
//!
//! ```text
//!   table id u16 BE | space u8: 0 rows, 1..=200 that index, 255 the table's counter | key bytes
//!   table 0: the engine's own. 0 | 1 | segment u64 BE | offset u64 BE -> uses u32 LE, bytes u64 LE
//! ```
//! Entries of table 0 are never in the journal: they are counted up from the rows.
//! Not here: the bytes of a key (`key`) or of a value (`row`).

use std::ops::Bound;

use crate::tree::Bytes;

/// Space of a table's rows.
pub(crate) const ROWS: u8 = 0;
/// Space of a table's counter of ids.
pub(crate) const COUNTER: u8 = 255;
/// Bytes before the key.
pub(crate) const HEAD_LEN: usize = 3;

/// The bytes that start every key of a space.
pub(crate) fn head(table: u16, space: u8) -> Vec<u8> {
    let [high, low] = table.to_be_bytes();
    vec![high, low, space]
}

/// Whether a full key is that of a row.
pub(crate) fn is_row(key: &[u8]) -> bool {
    matches!(key, [high, low, ROWS, ..] if (*high, *low) != (0, 0))
}

/// Key of the uses of a large value that starts at this place.
pub(crate) fn large_key(segment: u64, offset: u64) -> Bytes {
    let mut key = vec![0, 0, 1];
    key.extend_from_slice(&segment.to_be_bytes());
    key.extend_from_slice(&offset.to_be_bytes());
    key.into()
}

/// The bounds of everything that starts with `prefix`.
pub(crate) fn prefix_bounds(prefix: Vec<u8>) -> (Bound<Bytes>, Bound<Bytes>) {
    let high = after_prefix(&prefix);
    (Bound::Included(prefix.into()), high)
}

/// The upper bound of everything that starts with `prefix`.
pub(crate) fn after_prefix(prefix: &[u8]) -> Bound<Bytes> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Bound::Excluded(end.into());
        }
    }
    Bound::Unbounded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix() {
        let end = |prefix: &[u8]| after_prefix(prefix).map(|end| end.to_vec());
        assert_eq!(end(&[1, 2]), Bound::Excluded(vec![1, 3]));
        assert_eq!(end(&[1, 255]), Bound::Excluded(vec![2]));
        assert_eq!(end(&[255]), Bound::Unbounded);
    }
}
