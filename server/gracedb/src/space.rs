//! How the one ordered keyspace is divided: table, then rows or index, then key.
//!
//! ```text
//!   table id u16 BE │ space u8: 0 rows, 1..=200 that index, 255 the table's counter │ key bytes
//!   table 0: the engine's own
//!   0 │ 1 │ segment u64 BE │ offset u64 BE │ key of a row that points there -> length varint
//!   0 │ 2 │ segment u64 BE -> bytes of large values in it that rows point to, varint
//!   0 │ 3 │ table u16 BE -> how far a migration of that table is
//!   0 │ 4 -> nothing: it is a copy that the program has not settled
//! ```
//! Not here: the bytes of a key (`key`) or of a value (`row`).

/// Space of a table's rows.
pub(crate) const ROWS: u8 = 0;
/// Space of rows that a migration has made and not put in their place yet.
pub(crate) const STAGE: u8 = 201;
/// Space of a table's counter of ids.
pub(crate) const COUNTER: u8 = 255;
/// Bytes before the key.
pub(crate) const HEAD_LEN: usize = 3;
/// Most bytes of a key, its table's head included. Long enough for any address or header field;
/// the engine's own keys hold such a key and twenty bytes more.
pub(crate) const KEY_BYTES_MAX: usize = (4 << 10) + 32;

/// The engine's spaces.
const USES: u8 = 1;
const LIVE: u8 = 2;
const MIGRATIONS: u8 = 3;
const COPY: u8 = 4;
/// Bytes of a use's key before the key of the row.
const USE_LEN: usize = HEAD_LEN + 16;

/// Room for a key that is made piece by piece: most are shorter, and none is made anew for each.
const KEY_ROOM: usize = 64;

/// The bytes that start every key of a space, with room for the rest.
pub(crate) fn head(table: u16, space: u8) -> Vec<u8> {
    let [high, low] = table.to_be_bytes();
    let mut key = Vec::with_capacity(KEY_ROOM);
    key.extend_from_slice(&[high, low, space]);
    key
}

/// Whether a full key is that of a row.
pub(crate) fn is_row(key: &[u8]) -> bool {
    matches!(key, [high, low, ROWS | STAGE, ..] if (*high, *low) != (0, 0))
}

/// What starts the keys of the uses of what stands in a segment, or at one place of it.
pub(crate) fn use_prefix(segment: u64, offset: Option<u64>) -> Vec<u8> {
    let mut key = head(0, USES);
    key.extend_from_slice(&segment.to_be_bytes());
    if let Some(offset) = offset {
        key.extend_from_slice(&offset.to_be_bytes());
    }
    key
}

/// Key that says: the row with this key points to what stands there.
pub(crate) fn use_key(segment: u64, offset: u64, row: &[u8]) -> Vec<u8> {
    let mut key = use_prefix(segment, Some(offset));
    key.extend_from_slice(row);
    key
}

/// The place and the row's key of a use.
pub(crate) fn parse_use(key: &[u8]) -> Option<(u64, u64, &[u8])> {
    let rest = key.strip_prefix(&[0, 0, USES])?;
    let (segment, rest) = rest.split_first_chunk::<8>()?;
    let (offset, row) = rest.split_first_chunk::<8>()?;
    debug_assert!(key.len() - row.len() == USE_LEN);
    Some((u64::from_be_bytes(*segment), u64::from_be_bytes(*offset), row))
}

/// Key of the live bytes of a segment; without one, what starts all of them.
pub(crate) fn live_key(segment: Option<u64>) -> Vec<u8> {
    let mut key = head(0, LIVE);
    if let Some(segment) = segment {
        key.extend_from_slice(&segment.to_be_bytes());
    }
    key
}

/// The segment whose live bytes a key is for.
pub(crate) fn parse_live(key: &[u8]) -> Option<u64> {
    let rest = key.strip_prefix(&[0, 0, LIVE])?;
    Some(u64::from_be_bytes(rest.try_into().ok()?))
}

/// Key of how far a table's migration is.
pub(crate) fn migration_key(table: u16) -> Vec<u8> {
    let mut key = head(0, MIGRATIONS);
    key.extend_from_slice(&table.to_be_bytes());
    key
}

/// Key of the mark of a copy.
pub(crate) fn copy_key() -> Vec<u8> {
    head(0, COPY)
}

/// The first key after all that start with `prefix`; `None`: there is none.
pub(crate) fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

/// The first key after `key`.
pub(crate) fn after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix() {
        assert_eq!(prefix_end(&[1, 2]), Some(vec![1, 3]));
        assert_eq!(prefix_end(&[1, 255]), Some(vec![2]));
        assert_eq!(prefix_end(&[255]), None);
    }

    #[test]
    fn a_use_tells_its_place_and_row() {
        let key = use_key(7, 4096, &[0, 5, 0, 9]);
        assert_eq!(parse_use(&key), Some((7, 4096, [0, 5, 0, 9].as_slice())));
        assert!(key.starts_with(&use_prefix(7, None)) && !is_row(&key));
        assert_eq!(parse_use(&key[..18]), None);
        assert_eq!(parse_live(&live_key(Some(3))), Some(3));
    }
}
