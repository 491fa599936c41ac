//! One version of all rows, and the operations that make the next one.
//!
//! ```text
//!   mem      the newest rows, changed by each group of transactions
//!   frozen   rows on their way to level 0, the newest last
//!   version  the runs on disk
//!
//!   operation: code u8 │ key length varint, key │ for a put: value length varint, value
//!   1 put   2 delete   3 delete every key from the first up to, not including, a second
//! ```
//! Invariants: the same operations over the same state give the same state, now and at replay; a
//! state never changes for who holds a copy.
//! Not here: who sees which state (`commit`), how frozen rows get to disk (`flush`).

use std::ops::Deref;
use std::sync::Arc;

use crate::error::Error;
use crate::format::Place;
use crate::index::merge::{Layer, Merge};
use crate::index::run::BlockValue;
use crate::mem::{Found, Mem};
use crate::row;
use crate::space;
use crate::tree::{self, Page};
use crate::version::Version;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const DELETE_RANGE: u8 = 3;

/// Rows on their way to disk.
#[derive(Clone)]
pub(crate) struct Frozen {
    pub(crate) mem: Mem,
    /// The newest transaction in it.
    pub(crate) sequence: u64,
    /// Where the journal goes on after it, and in which life.
    pub(crate) place: Place,
    pub(crate) life: u64,
}

/// What lies below the newest rows.
pub(crate) struct Base {
    /// The oldest first.
    pub(crate) frozen: Vec<Frozen>,
    pub(crate) version: Version,
}

/// A version of all rows. A clone is free.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) mem: Mem,
    pub(crate) base: Arc<Base>,
    /// Number of the transaction that made it.
    pub(crate) sequence: u64,
}

/// The bytes of a value, wherever they are kept.
pub struct Value(Kept);

enum Kept {
    Page(Arc<Page>, usize),
    Block(BlockValue),
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Kept::Page(page, at) => {
                page.leaf().and_then(|leaf| leaf.value(*at)).unwrap_or_default()
            }
            Kept::Block(value) => value,
        }
    }
}

impl Value {
    pub(crate) fn of((page, at): (&Arc<Page>, usize)) -> Self {
        Self(Kept::Page(Arc::clone(page), at))
    }
}

impl State {
    pub(crate) fn new(version: Version) -> Self {
        let base = Arc::new(Base { frozen: Vec::new(), version });
        Self { mem: Mem::default(), base, sequence: 0 }
    }

    /// What the rows in memory say of a key.
    pub(crate) fn get_in_memory(&self, key: &[u8]) -> Found<Value> {
        let frozen = self.base.frozen.iter().rev().map(|frozen| &frozen.mem);
        find(std::iter::once(&self.mem).chain(frozen), key)
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Value>, Error> {
        match self.get_in_memory(key) {
            Found::Value(value) => return Ok(Some(value)),
            Found::Gone => return Ok(None),
            Found::NotHere => {}
        }
        Ok(match self.base.version.get(key)? {
            Found::Value(value) => Some(Value(Kept::Block(value))),
            Found::Gone | Found::NotHere => None,
        })
    }

    /// A walk over keys from `low` up to, not including, `high`, with newer rows over them, the
    /// newest first.
    pub(crate) fn merge<'a>(
        &'a self,
        over: impl IntoIterator<Item = &'a Mem>,
        low: &[u8],
        high: Option<&[u8]>,
    ) -> Result<Merge, Error> {
        let frozen = self.base.frozen.iter().rev().map(|frozen| &frozen.mem);
        let mems = over.into_iter().chain([&self.mem]).chain(frozen);
        let mut layers: Vec<Layer> = mems
            .filter(|mem| !mem.is_empty())
            .map(|mem| {
                let ranges = Some(&mem.ranges).filter(|ranges| ranges.touches(low, high));
                let ranges = ranges.cloned().unwrap_or_default();
                Layer::Mem(tree::Cursor::new(mem.tree.clone()), ranges)
            })
            .collect();
        self.base.version.layers(low, high, &mut layers)?;
        Ok(Merge::new(layers))
    }

    /// Whether any key starts with `prefix`.
    pub(crate) fn has_prefix<'a>(
        &'a self,
        over: impl IntoIterator<Item = &'a Mem>,
        prefix: &[u8],
    ) -> Result<bool, Error> {
        let end = space::prefix_end(prefix);
        let mut merge = self.merge(over, prefix, end.as_deref())?;
        merge.seek(prefix)?;
        Ok(merge.is_valid() && merge.key().starts_with(prefix))
    }

    /// Makes the rows in memory frozen, the journal going on at `place` in `life`.
    pub(crate) fn freeze(&mut self, place: Place, life: u64) {
        let mem = std::mem::take(&mut self.mem);
        let mut frozen = self.base.frozen.clone();
        frozen.push(Frozen { mem, sequence: self.sequence, place, life });
        self.base = Arc::new(Base { frozen, version: self.base.version.clone() });
    }

    /// Lies over these runs from now on, of which the oldest `flushed` of the frozen rows are a
    /// part.
    pub(crate) fn rebase(&mut self, version: Version, flushed: usize) {
        let frozen = self.base.frozen.iter().skip(flushed).cloned().collect();
        self.base = Arc::new(Base { frozen, version });
    }

    /// Does what a transaction's operations say.
    pub(crate) fn apply(&mut self, operations: &[u8]) -> Result<(), &'static str> {
        apply(&mut self.mem, operations)
    }
}

/// What layers in memory, the newest first, say of a key.
pub(crate) fn find<'a>(mems: impl Iterator<Item = &'a Mem>, key: &[u8]) -> Found<Value> {
    for mem in mems {
        match mem.get(key) {
            Found::Value(found) => return Found::Value(Value::of(found)),
            Found::Gone => return Found::Gone,
            Found::NotHere => {}
        }
    }
    Found::NotHere
}

/// Does what operations say, to rows in memory.
pub(crate) fn apply(mem: &mut Mem, operations: &[u8]) -> Result<(), &'static str> {
    let mut rest = operations;
    while let Some(operation) = take_operation(&mut rest)? {
        match operation {
            Operation::Put(key, value) => mem.put(key, value),
            Operation::Delete(key) => mem.delete(key),
            Operation::DeleteRange(low, high) => mem.delete_range(low, high),
        }
    }
    Ok(())
}

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation<'a> {
    Put(&'a [u8], &'a [u8]),
    Delete(&'a [u8]),
    DeleteRange(&'a [u8], &'a [u8]),
}

/// Takes the first operation off.
pub(crate) fn take_operation<'a>(
    operations: &mut &'a [u8],
) -> Result<Option<Operation<'a>>, &'static str> {
    const CUT: &str = "an operation is cut short";
    let Some((&code, rest)) = operations.split_first() else { return Ok(None) };
    *operations = rest;
    let key = take_bytes(operations).ok_or(CUT)?;
    if key.len() < space::HEAD_LEN || key.len() > space::KEY_BYTES_MAX {
        return Err("an operation has a key that no table has");
    }
    Ok(Some(match code {
        PUT => {
            let value = take_bytes(operations).ok_or(CUT)?;
            if value.len() > row::ROW_BYTES_MAX {
                return Err("an operation has a value that is too large");
            }
            Operation::Put(key, value)
        }
        DELETE => Operation::Delete(key),
        DELETE_RANGE => Operation::DeleteRange(key, take_bytes(operations).ok_or(CUT)?),
        _ => return Err("an operation has an unknown code"),
    }))
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
    use crate::version::Yard;

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
        for bad in [&[1u8][..], &[9, 3, 0, 1, 0], &[1, 2, 0, 0], &[1, 3, 0, 1, 0, 5], &[2, 255]] {
            assert!(apply(&mut Mem::default(), bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn frozen_rows_are_there_until_they_are_flushed() {
        let mut state = State::new(Version::new(Arc::new(Yard::default())));
        let get = |state: &State, key: &[u8]| state.get(key).unwrap().map(|value| value.to_vec());
        state.mem.put(b"row 1", b"one");
        state.mem.put(b"row 2", b"two");
        let before = state.clone();
        state.freeze(Place::default(), 1);
        state.mem.delete(b"row 1");
        state.mem.delete_range(b"row 2", b"row 3");
        assert_eq!((get(&state, b"row 1"), get(&state, b"row 2")), (None, None));
        assert_eq!(get(&before, b"row 1"), Some(b"one".to_vec()));
        assert!(!state.has_prefix([], b"row").unwrap());
        assert!(before.has_prefix([], b"row").unwrap());
        let mut over = Mem::default();
        over.put(b"row 3", b"three");
        assert!(state.has_prefix([&over], b"row").unwrap());
        state.rebase(state.base.version.clone(), 1);
        assert!(state.base.frozen.is_empty() && !state.mem.is_empty());
    }
}
