//! Changing: a transaction over the newest version of the rows.
//!
//! Invariants: a call that returns an error has changed nothing; rows and their index entries
//! change together.
//! Not here: when a transaction runs and becomes durable (`commit`), which large values are in use
//! (`transact`).

use std::ops::RangeBounds;

use crate::engine::{Old, Reader, Writer};
use crate::error::Error;
use crate::key::{KeyFor, PrefixFor};
use crate::row;
use crate::space;
use crate::table::{Counter, Table};
use crate::view::{self, Bounds, View};

/// Most bytes of a key, its table's head included. Long enough for any address or header field.
pub const KEY_BYTES_MAX: usize = 4 << 10;
const _: () = assert!(KEY_BYTES_MAX < space::KEY_BYTES_MAX);

/// A transaction. Reads see its own writes.
pub struct WriteTx<'tx> {
    writer: &'tx mut dyn Writer,
}

impl View for WriteTx<'_> {
    fn reader(&self) -> &dyn Reader {
        as_reader(self.writer)
    }
}

fn as_reader<'a>(writer: &'a (dyn Writer + 'a)) -> &'a dyn Reader {
    writer
}

/// What an index loses and gains by a change of one row.
struct IndexChange {
    remove: Option<Vec<u8>>,
    add: Option<(Vec<u8>, Vec<u8>)>,
}

impl<'tx> WriteTx<'tx> {
    pub(crate) fn new(writer: &'tx mut dyn Writer) -> Self {
        Self { writer }
    }

    /// Writes a row, over the one with the same key if there is one.
    pub fn put<T: Table>(&mut self, row: &T) -> Result<(), Error> {
        let key = full_key(row)?;
        if T::DEF.indexes.is_empty() {
            // The row it replaces need not be read.
            return self.write_row(row, &key, Old::Unknown, None);
        }
        let bytes = self.writer.get(&key)?;
        let old = self.decode::<T>(bytes.as_deref())?;
        self.write_row(row, &key, Old::Known(bytes.as_deref()), old.as_ref())
    }

    /// Writes a row whose key must be free.
    pub fn insert<T: Table>(&mut self, row: &T) -> Result<(), Error> {
        let key = full_key(row)?;
        if self.writer.get(&key)?.is_some() {
            return Err(Error::KeyExists { table: T::DEF.name });
        }
        self.write_row(row, &key, Old::Known(None), None)
    }

    /// Deletes the row with this key; says whether there was one.
    pub fn delete<T: Table>(
        &mut self,
        key: &(impl KeyFor<T::Key> + ?Sized),
    ) -> Result<bool, Error> {
        let key = view::row_key::<T>(key);
        let Some(bytes) = self.writer.get(&key)? else { return Ok(false) };
        let changes = if T::DEF.indexes.is_empty() {
            Vec::new()
        } else {
            let old = self.decode::<T>(Some(&bytes))?;
            self.index_changes(old.as_ref(), None, &key)?
        };
        self.writer.delete(&key, Old::Known(Some(&bytes)))?;
        let changed = self.change_indexes(changes);
        self.whole(changed).map(|()| true)
    }

    /// Deletes the rows whose keys are in a range. Without indexes this takes the same time for one
    /// row and for a million.
    pub fn delete_range<T: Table>(&mut self, range: impl RangeBounds<T::Key>) -> Result<(), Error> {
        let deleted = self.delete_between::<T>(&view::row_bounds::<T>(&range), None);
        self.whole(deleted)
    }

    /// Deletes the rows whose keys start with these parts. When every index starts with the same
    /// fields this takes the same time for one row and for a million.
    pub fn delete_prefix<T: Table, P: PrefixFor<T::Key>>(
        &mut self,
        prefix: &P,
    ) -> Result<(), Error> {
        let mut bytes = Vec::new();
        prefix.put_prefix(&mut bytes);
        let bounds = view::row_prefix_bounds::<T>(prefix);
        let deleted = self.delete_between::<T>(&bounds, Some((P::PARTS, &bytes)));
        self.whole(deleted)
    }

    /// The next number of this table's counter: 1, 2, 3, …. A transaction that fails gives its
    /// numbers back.
    pub fn next_id<T: Table>(&mut self) -> Result<u64, Error> {
        let key = space::head(T::DEF.id, space::COUNTER);
        let last = self.writer.get(&key)?;
        let last = last.and_then(|value| value.get(..8)?.try_into().ok());
        let next = last.map_or(0, u64::from_le_bytes) + 1;
        self.writer.put(&key, &next.to_le_bytes(), &[], Old::Unknown)?;
        Ok(next)
    }

    /// Adds to a counter, which begins at 0; says what it is then. It stops at the ends of `i64`.
    pub fn add<C: Counter>(
        &mut self,
        key: &(impl KeyFor<C::Key> + ?Sized),
        more: i64,
    ) -> Result<i64, Error> {
        let count = self.count::<C>(key)?.saturating_add(more);
        let mut full = space::head(C::DEF.id, space::ROWS);
        key.put_for(&mut full);
        check_key(&full)?;
        self.writer.put(&full, &row::encode_count(count), &[], Old::Unknown)?;
        Ok(count)
    }

    /// Forgets the counters whose keys start with these parts.
    pub fn forget_counts<C: Counter>(
        &mut self,
        prefix: &impl PrefixFor<C::Key>,
    ) -> Result<(), Error> {
        let (low, high) =
            view::prefix_bounds(C::DEF.id, space::ROWS, |bytes| prefix.put_prefix(bytes));
        self.writer.delete_range(&low, &high)
    }

    fn decode<T: Table>(&self, bytes: Option<&[u8]>) -> Result<Option<T>, Error> {
        bytes.map(|bytes| row::decode(T::DEF.name, bytes, self.reader())).transpose()
    }

    fn write_row<T: Table>(
        &mut self,
        row: &T,
        key: &[u8],
        bytes: Old<'_>,
        old: Option<&T>,
    ) -> Result<(), Error> {
        let encoded = row::encode(T::DEF.name, row)?;
        let changes = self.index_changes(old, Some(row), key)?;
        let (value, larges) = encoded.into_value(self.writer)?;
        self.writer.put(key, &value, &larges, bytes)?;
        let changed = self.change_indexes(changes);
        self.whole(changed)
    }

    /// Spoils the transaction when a later step of a change failed.
    fn whole(&mut self, changed: Result<(), Error>) -> Result<(), Error> {
        if let Err(error) = &changed {
            self.writer.spoil(error.clone());
        }
        changed
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
                if index.unique && self.writer.get(key)?.is_some() {
                    return Err(Error::NotUnique { table: T::DEF.name, index: index.name });
                }
            }
            changes.push(IndexChange { remove, add });
        }
        Ok(changes)
    }

    fn change_indexes(&mut self, changes: Vec<IndexChange>) -> Result<(), Error> {
        for change in changes {
            if let Some(key) = change.remove {
                self.writer.delete(&key, Old::Unknown)?;
            }
            if let Some((key, value)) = change.add {
                self.writer.put(&key, &value, &[], Old::Unknown)?;
            }
        }
        Ok(())
    }

    /// `prefix`: the parts of the key that all of the rows have in common, and their bytes.
    fn delete_between<T: Table>(
        &mut self,
        (low, high): &Bounds,
        prefix: Option<(usize, &[u8])>,
    ) -> Result<(), Error> {
        let shares = |index: &crate::schema::IndexDef| {
            prefix.filter(|(parts, _)| {
                let (key, fields) = (T::DEF.key.get(..*parts), index.fields.get(..*parts));
                key.is_some() && key == fields
            })
        };
        let (quick, slow): (Vec<_>, Vec<_>) =
            T::DEF.indexes.iter().partition(|index| shares(index).is_some());
        if !slow.is_empty() {
            self.delete_entries::<T>((low, high), &slow)?;
        }
        for index in quick {
            if let Some((_, bytes)) = shares(index) {
                let (low, high) = view::prefix_bounds(T::DEF.id, index.id, |key| {
                    key.extend_from_slice(bytes);
                });
                self.writer.delete_range(&low, &high)?;
            }
        }
        self.writer.delete_range(low, high)
    }

    /// Deletes the entries that rows of a range have in some indexes, one by one.
    fn delete_entries<T: Table>(
        &mut self,
        (low, high): (&[u8], &[u8]),
        indexes: &[&crate::schema::IndexDef],
    ) -> Result<(), Error> {
        let mut walk = self.writer.scan(low, Some(high))?;
        let reader = self.writer.share();
        while let Some((key, value)) = walk.next()? {
            let row: T = row::decode(T::DEF.name, value, reader.as_ref())?;
            for (at, index) in T::DEF.indexes.iter().enumerate() {
                if !indexes.iter().any(|slow| slow.id == index.id) {
                    continue;
                }
                let mut entry = space::head(T::DEF.id, index.id);
                row.put_index_key(at, &mut entry);
                if !index.unique {
                    entry.extend_from_slice(key.get(space::HEAD_LEN..).unwrap_or_default());
                }
                self.writer.delete(&entry, Old::Unknown)?;
            }
        }
        Ok(())
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
