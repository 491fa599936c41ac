//! Changing: a transaction over the newest version of the rows.
//!
//! Invariants: a call that returns an error has changed nothing; rows and their index entries
//! change together; the operations recorded are exactly those done.
//! Not here: when a transaction runs and becomes durable (`db`), what an operation is (`state`).

use std::marker::PhantomData;
use std::ops::{Bound, Deref, RangeBounds};

use crate::error::Error;
use crate::key::{KeyFor, PrefixFor};
use crate::large::Large;
use crate::row;
use crate::space;
use crate::state::{self, State};
use crate::table::Table;
use crate::tree::Bytes;
use crate::view::{self, View};

/// Most bytes of a key, its table's head included. Long enough for any address or header field.
pub const KEY_BYTES_MAX: usize = 4 << 10;

/// A transaction. Reads see its own writes.
pub struct WriteTx<'db> {
    view: View,
    operations: Vec<u8>,
    operations_bytes_max: usize,
    epoch: u64,
    alone: PhantomData<&'db mut ()>,
}

impl Deref for WriteTx<'_> {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}

/// What an index loses and gains by a change of one row.
struct IndexChange {
    remove: Option<Vec<u8>>,
    add: Option<(Vec<u8>, Vec<u8>)>,
}

impl WriteTx<'_> {
    pub(crate) fn new(state: State, operations_bytes_max: usize, epoch: u64) -> Self {
        Self {
            view: View { state },
            operations: Vec::new(),
            operations_bytes_max,
            epoch,
            alone: PhantomData,
        }
    }

    /// The state with all changes, and the operations that made them.
    pub(crate) fn into_parts(self) -> (State, Vec<u8>) {
        (self.view.state, self.operations)
    }

    /// Writes a row, over the one with the same key if there is one.
    pub fn put<T: Table>(&mut self, row: &T) -> Result<(), Error> {
        let key = full_key(row)?;
        let old = self.old_row::<T>(&key)?;
        self.write_row(row, key, old.as_ref())
    }

    /// Writes a row whose key must be free.
    pub fn insert<T: Table>(&mut self, row: &T) -> Result<(), Error> {
        let key = full_key(row)?;
        if self.state.tree.get(&key).is_some() {
            return Err(Error::KeyExists { table: T::DEF.name });
        }
        self.write_row(row, key, None)
    }

    /// Deletes the row with this key; says whether there was one.
    pub fn delete<T: Table>(
        &mut self,
        key: &(impl KeyFor<T::Key> + ?Sized),
    ) -> Result<bool, Error> {
        let key = view::row_key::<T>(key);
        if self.state.tree.get(&key).is_none() {
            return Ok(false);
        }
        let changes = match self.old_row::<T>(&key)? {
            Some(old) => self.index_changes(Some(&old), None, &key)?,
            None => Vec::new(),
        };
        self.check_room(key.len())?;
        self.change_indexes::<T>(changes)?;
        self.remove(T::DEF.name, &key)?;
        Ok(true)
    }

    /// Deletes the rows whose keys are in a range; says how many.
    pub fn delete_range<T: Table>(
        &mut self,
        range: impl RangeBounds<T::Key>,
    ) -> Result<u64, Error> {
        self.delete_between::<T>(view::row_bounds::<T>(&range))
    }

    /// Deletes the rows whose keys start with these parts; says how many.
    pub fn delete_prefix<T: Table>(
        &mut self,
        prefix: &impl PrefixFor<T::Key>,
    ) -> Result<u64, Error> {
        self.delete_between::<T>(space::prefix_bounds(view::row_prefix::<T>(prefix)))
    }

    /// The next number of this table's counter: 1, 2, 3, …. A transaction that fails gives its
    /// numbers back.
    pub fn next_id<T: Table>(&mut self) -> Result<u64, Error> {
        let key = space::head(T::DEF.id, space::COUNTER);
        let last = self.state.tree.get(&key).and_then(|value| value.get(..8)?.try_into().ok());
        let next = last.map_or(0, u64::from_le_bytes) + 1;
        self.check_room(key.len() + 8)?;
        self.store(T::DEF.name, key, next.to_le_bytes().to_vec())?;
        Ok(next)
    }

    /// The row that a change replaces, where its indexes need it.
    fn old_row<T: Table>(&self, key: &[u8]) -> Result<Option<T>, Error> {
        if T::DEF.indexes.is_empty() {
            return Ok(None);
        }
        let old = self.state.tree.get(key);
        old.map(|bytes| row::decode(T::DEF.name, bytes)).transpose()
    }

    fn write_row<T: Table>(&mut self, row: &T, key: Vec<u8>, old: Option<&T>) -> Result<(), Error> {
        let (value, larges) = row::encode(T::DEF.name, row)?;
        if larges.iter().any(|large| !self.is_kept(large)) {
            return Err(Error::LargeLost);
        }
        let changes = self.index_changes(old, Some(row), &key)?;
        self.check_room(key.len() + value.len())?;
        self.change_indexes::<T>(changes)?;
        self.store(T::DEF.name, key, value)
    }

    /// A large value written before the disk ran full is not in the journal.
    fn is_kept(&self, large: &Large) -> bool {
        large.epoch == 0 || large.epoch == self.epoch || large.extents.is_empty()
    }

    fn index_changes<T: Table>(
        &self,
        old: Option<&T>,
        new: Option<&T>,
        row_key: &[u8],
    ) -> Result<Vec<IndexChange>, Error> {
        let primary = row_key.get(space::HEAD_LEN..).unwrap_or_default();
        let mut changes = Vec::with_capacity(T::DEF.indexes.len());
        for (at, index) in T::DEF.indexes.iter().enumerate() {
            let entry = |row: &T| {
                let mut key = space::head(T::DEF.id, index.id);
                row.put_index_key(at, &mut key);
                if index.unique {
                    (key, primary.to_vec())
                } else {
                    key.extend_from_slice(primary);
                    (key, Vec::new())
                }
            };
            let (remove, add) = (old.map(entry).map(|(key, _)| key), new.map(entry));
            if remove.as_ref() == add.as_ref().map(|(key, _)| key) {
                continue;
            }
            if let Some((key, _)) = &add {
                check_key(key)?;
                if index.unique && self.state.tree.get(key).is_some() {
                    return Err(Error::NotUnique { table: T::DEF.name, index: index.name });
                }
            }
            changes.push(IndexChange { remove, add });
        }
        Ok(changes)
    }

    fn change_indexes<T: Table>(&mut self, changes: Vec<IndexChange>) -> Result<(), Error> {
        for change in changes {
            if let Some(key) = change.remove {
                self.remove(T::DEF.name, &key)?;
            }
            if let Some((key, value)) = change.add {
                self.store(T::DEF.name, key, value)?;
            }
        }
        Ok(())
    }

    fn delete_between<T: Table>(
        &mut self,
        (low, high): (Bound<Bytes>, Bound<Bytes>),
    ) -> Result<u64, Error> {
        let mut keys = self.state.tree.range(low, high).map(|(key, _)| key);
        let Some(first) = keys.next() else { return Ok(0) };
        let mut last = Bytes::clone(&first);
        let mut count = 1;
        for key in keys {
            last = key;
            count += 1;
        }
        let bounds = (Bound::Included(Bytes::clone(&first)), Bound::Included(Bytes::clone(&last)));
        if !T::DEF.indexes.is_empty() {
            let entries: Vec<_> = self.state.tree.range(bounds.0, bounds.1).collect();
            let mut changes = Vec::new();
            for (key, value) in entries {
                let old: T = row::decode(T::DEF.name, &value)?;
                changes.extend(self.index_changes(Some(&old), None, &key)?);
            }
            let bytes: usize =
                changes.iter().filter_map(|each| each.remove.as_ref()).map(Vec::len).sum();
            self.check_room(bytes + 16 * changes.len())?;
            self.change_indexes::<T>(changes)?;
        }
        // The smallest key greater than the last one.
        let end: Bytes = [&*last, &[0]].concat().into();
        state::write_delete_range(&first, &end, &mut self.operations);
        let malformed = |reason: &str| Error::Row { table: T::DEF.name, reason: reason.to_owned() };
        self.view.state.delete_range(first, end).map_err(malformed)?;
        Ok(count)
    }

    /// Refuses a change that would make the transaction too large, before anything is changed.
    fn check_room(&self, bytes: usize) -> Result<(), Error> {
        // A row has at most a few index entries of its key's size; 64 KiB is more than they take.
        const MARGIN: usize = 64 << 10;
        let bytes = self.operations.len() + bytes + MARGIN;
        if bytes > self.operations_bytes_max {
            let bytes_max = self.operations_bytes_max;
            return Err(Error::TooLarge { what: "a transaction", bytes, bytes_max });
        }
        Ok(())
    }

    fn store(&mut self, table: &'static str, key: Vec<u8>, value: Vec<u8>) -> Result<(), Error> {
        state::write_put(&key, &value, &mut self.operations);
        let stored = self.view.state.put(key.into(), value.into());
        stored.map_err(|reason| Error::Row { table, reason: reason.to_owned() })
    }

    fn remove(&mut self, table: &'static str, key: &[u8]) -> Result<(), Error> {
        state::write_delete(key, &mut self.operations);
        let removed = self.view.state.delete(key);
        removed.map_err(|reason| Error::Row { table, reason: reason.to_owned() })
    }
}

fn full_key<T: Table>(row: &T) -> Result<Vec<u8>, Error> {
    let mut key = space::head(T::DEF.id, space::ROWS);
    row.put_key(&mut key);
    check_key(&key)?;
    Ok(key)
}

fn check_key(key: &[u8]) -> Result<(), Error> {
    if key.len() > KEY_BYTES_MAX {
        return Err(Error::TooLarge { what: "a key", bytes: key.len(), bytes_max: KEY_BYTES_MAX });
    }
    Ok(())
}
