//! One version of all rows, and the operations that make the next one.
//!
//! ```text
//!   operation: code u8 | key length varint, key | for a put: value length varint, value
//!   1 put   2 delete   3 delete every key from the first up to, not including, a second
//! ```
//! Invariants: the same operations over the same state give the same state, now and at replay;
//! every large value that a row points to has a use count, and no other has one.
//! Not here: who sees which version (`db`), where operations are kept (`format`).

use std::ops::Bound;

use crate::large::Large;
use crate::row;
use crate::space;
use crate::tree::{Bytes, Tree};

const PUT: u8 = 1;
const DELETE: u8 = 2;
const DELETE_RANGE: u8 = 3;

/// A version. A clone is free.
#[derive(Clone, Default)]
pub(crate) struct State {
    pub(crate) tree: Tree,
    /// Number of the transaction that made it.
    pub(crate) sequence: u64,
    pub(crate) rows: u64,
    /// Bytes of large values that rows point to, each counted once.
    pub(crate) large_bytes: u64,
}

impl State {
    pub(crate) fn put(&mut self, key: Bytes, value: Bytes) -> Result<(), &'static str> {
        if !space::is_row(&key) {
            self.tree.insert(key, value);
            return Ok(());
        }
        let new = larges(&value)?;
        let old = self.tree.insert(key, value);
        for large in &new {
            self.count_use(large, true);
        }
        match old {
            None => self.rows += 1,
            Some(old) => self.forget_larges(&old)?,
        }
        Ok(())
    }

    pub(crate) fn delete(&mut self, key: &[u8]) -> Result<(), &'static str> {
        let Some(old) = self.tree.remove(key) else { return Ok(()) };
        if space::is_row(key) {
            self.rows = self.rows.saturating_sub(1);
            self.forget_larges(&old)?;
        }
        Ok(())
    }

    pub(crate) fn delete_range(&mut self, low: Bytes, high: Bytes) -> Result<(), &'static str> {
        for (key, _) in self.tree.range(Bound::Included(low), Bound::Excluded(high)) {
            self.delete(&key)?;
        }
        Ok(())
    }

    fn forget_larges(&mut self, value: &[u8]) -> Result<(), &'static str> {
        for large in larges(value)? {
            self.count_use(&large, false);
        }
        Ok(())
    }

    fn count_use(&mut self, large: &Large, more: bool) {
        let Some(first) = large.extents.first() else { return };
        let key = space::large_key(first.segment, first.offset);
        let uses = self.tree.get(&key).and_then(|value| value.get(..4)?.try_into().ok());
        let uses = uses.map_or(0, u32::from_le_bytes);
        let uses_then = if more { uses.saturating_add(1) } else { uses.saturating_sub(1) };
        match (uses, uses_then) {
            (0, 1) => self.large_bytes += large.bytes,
            (1, 0) => self.large_bytes = self.large_bytes.saturating_sub(large.bytes),
            _ => {}
        }
        if uses_then == 0 {
            self.tree.remove(&key);
        } else {
            let mut value = uses_then.to_le_bytes().to_vec();
            value.extend_from_slice(&large.bytes.to_le_bytes());
            self.tree.insert(key, value.into());
        }
    }

    /// Does what a transaction's operations say.
    pub(crate) fn apply(&mut self, mut operations: &[u8]) -> Result<(), &'static str> {
        const CUT: &str = "an operation is cut short";
        while let Some((&code, rest)) = operations.split_first() {
            operations = rest;
            let key = take_bytes(&mut operations).ok_or(CUT)?;
            if key.len() < space::HEAD_LEN || key.starts_with(&[0, 0]) {
                return Err("an operation has a key that no table has");
            }
            match code {
                PUT => {
                    let value = take_bytes(&mut operations).ok_or(CUT)?;
                    self.put(key.into(), value.into())?;
                }
                DELETE => self.delete(key)?,
                DELETE_RANGE => {
                    let high = take_bytes(&mut operations).ok_or(CUT)?;
                    self.delete_range(key.into(), high.into())?;
                }
                _ => return Err("an operation has an unknown code"),
            }
        }
        Ok(())
    }
}

fn larges(value: &[u8]) -> Result<Vec<Large>, &'static str> {
    row::take_larges(&mut &*value).ok_or("a row's list of large values is malformed")
}

fn take_bytes<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(row::take_varint(from)?).ok()?;
    let (taken, rest) = from.split_at_checked(len)?;
    *from = rest;
    Some(taken)
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    row::put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

pub(crate) fn write_put(key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.push(PUT);
    put_bytes(key, out);
    put_bytes(value, out);
}

pub(crate) fn write_delete(key: &[u8], out: &mut Vec<u8>) {
    out.push(DELETE);
    put_bytes(key, out);
}

pub(crate) fn write_delete_range(low: &[u8], high: &[u8], out: &mut Vec<u8>) {
    out.push(DELETE_RANGE);
    put_bytes(low, out);
    put_bytes(high, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_frozen() {
        let mut bytes = Vec::new();
        write_put(&[0, 7, 0, 9], &[0, 1], &mut bytes);
        write_delete(&[0, 7, 0, 8], &mut bytes);
        write_delete_range(&[0, 7, 0, 1], &[0, 7, 0, 3], &mut bytes);
        #[rustfmt::skip]
        assert_eq!(bytes, [
            1, 4, 0, 7, 0, 9, 2, 0, 1,
            2, 4, 0, 7, 0, 8,
            3, 4, 0, 7, 0, 1, 4, 0, 7, 0, 3,
        ]);
    }

    #[test]
    fn replay_refuses_what_no_transaction_writes() {
        for bad in
            [&[1u8][..], &[9, 3, 0, 1, 0], &[1, 3, 0, 0, 1, 0], &[1, 3, 0, 1, 0, 5], &[2, 255]]
        {
            assert!(State::default().apply(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_shared_large_value_is_counted_once_and_until_its_last_row_goes() {
        let row = [1, 5, 1, 3, 9, 5, 0, 0, 0, 0];
        let mut state = State::default();
        state.put([0, 1, 0, 1].as_slice().into(), row.as_slice().into()).unwrap();
        state.put([0, 1, 0, 2].as_slice().into(), row.as_slice().into()).unwrap();
        assert_eq!((state.rows, state.large_bytes), (2, 5));
        state.put([0, 1, 0, 1].as_slice().into(), [0].as_slice().into()).unwrap();
        assert_eq!(state.large_bytes, 5);
        state.delete(&[0, 1, 0, 2]).unwrap();
        assert_eq!((state.rows, state.large_bytes), (1, 0));
        assert_eq!(state.tree.range(Bound::Unbounded, Bound::Unbounded).count(), 1);
    }
}
