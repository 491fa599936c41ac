//! Reading: one version of the rows, typed.
//!
//! A [`View`] is what a [`Snapshot`] and a write transaction have in common; a function that takes
//! `&View` works with both. Invariants: a view never changes and never waits; an iterator owns its
//! version, so a transaction may change rows while it walks over them.
//! Not here: changing (`write`), the bytes of large values (`large`).

use std::marker::PhantomData;
use std::ops::{Bound, Deref, RangeBounds};
use std::sync::Arc;

use crate::error::Error;
use crate::key::{Key, KeyFor, PrefixFor};
use crate::large::{Large, LargeReader};
use crate::row;
use crate::segments::Segments;
use crate::space;
use crate::state::State;
use crate::table::{Index, Table, UniqueIndex};
use crate::tree::{Bytes, Range, Tree};

/// One version of all rows.
#[derive(Clone)]
pub struct View {
    pub(crate) state: State,
}

/// The acknowledged rows as of one moment. Free to make and to clone, and never waits.
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) view: View,
    pub(crate) segments: Arc<Segments>,
}

impl Deref for Snapshot {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}

impl Snapshot {
    /// A reader of a large value's bytes.
    pub fn open_large(&self, large: &Large) -> Result<LargeReader, Error> {
        Ok(LargeReader::new(Arc::clone(&self.segments), large.clone()))
    }
}

/// The full key of a row.
pub(crate) fn row_key<T: Table>(key: &(impl KeyFor<T::Key> + ?Sized)) -> Vec<u8> {
    let mut bytes = space::head(T::DEF.id, space::ROWS);
    key.put_for(&mut bytes);
    bytes
}

/// The full keys of a range of rows.
pub(crate) fn row_bounds<T: Table>(
    range: &impl RangeBounds<T::Key>,
) -> (Bound<Bytes>, Bound<Bytes>) {
    let full = |key: &T::Key| {
        let mut bytes = space::head(T::DEF.id, space::ROWS);
        key.put(&mut bytes);
        bytes.into()
    };
    let (first, end) = space::prefix_bounds(space::head(T::DEF.id, space::ROWS));
    let low = match range.start_bound() {
        Bound::Unbounded => first,
        bound => bound.map(full),
    };
    let high = match range.end_bound() {
        Bound::Unbounded => end,
        bound => bound.map(full),
    };
    (low, high)
}

/// The full keys of the rows that start with some parts.
pub(crate) fn row_prefix<T: Table>(prefix: &impl PrefixFor<T::Key>) -> Vec<u8> {
    let mut bytes = space::head(T::DEF.id, space::ROWS);
    prefix.put_prefix(&mut bytes);
    bytes
}

impl View {
    /// Number of the newest transaction in this version; it grows by one with each.
    pub fn sequence(&self) -> u64 {
        self.state.sequence
    }

    /// The row with this key.
    pub fn get<T: Table>(&self, key: &(impl KeyFor<T::Key> + ?Sized)) -> Result<Option<T>, Error> {
        let found = self.state.tree.get(&row_key::<T>(key));
        found.map(|bytes| row::decode(T::DEF.name, bytes)).transpose()
    }

    /// Whether there is a row with this key.
    pub fn contains<T: Table>(&self, key: &(impl KeyFor<T::Key> + ?Sized)) -> bool {
        self.state.tree.get(&row_key::<T>(key)).is_some()
    }

    /// All rows, by key.
    pub fn scan<T: Table>(&self) -> Rows<T> {
        self.range::<T>(..)
    }

    /// The rows whose keys are in a range, by key: `range::<Message>((4, 10)..=(4, 20))`.
    pub fn range<T: Table>(&self, range: impl RangeBounds<T::Key>) -> Rows<T> {
        let (low, high) = row_bounds::<T>(&range);
        Rows { entries: self.state.tree.range(low, high), rows: PhantomData }
    }

    /// The rows whose keys start with these parts, by key: `prefix::<Message>(&(mailbox,))`.
    pub fn prefix<T: Table>(&self, prefix: &impl PrefixFor<T::Key>) -> Rows<T> {
        let (low, high) = space::prefix_bounds(row_prefix::<T>(prefix));
        Rows { entries: self.state.tree.range(low, high), rows: PhantomData }
    }

    /// The row with this key in a unique index.
    pub fn find<I: UniqueIndex>(
        &self,
        key: &(impl KeyFor<I::Key> + ?Sized),
    ) -> Result<Option<I::Row>, Error> {
        self.by_index::<I>(key).next().transpose()
    }

    /// The rows with this key in an index, by primary key.
    pub fn by_index<I: Index>(&self, key: &(impl KeyFor<I::Key> + ?Sized)) -> IndexRows<I> {
        let mut bytes = index_head::<I>();
        key.put_for(&mut bytes);
        self.index_rows(space::prefix_bounds(bytes))
    }

    /// The rows whose index keys start with these parts, by index key.
    pub fn by_index_prefix<I: Index>(&self, prefix: &impl PrefixFor<I::Key>) -> IndexRows<I> {
        let mut bytes = index_head::<I>();
        prefix.put_prefix(&mut bytes);
        self.index_rows(space::prefix_bounds(bytes))
    }

    /// The rows whose index keys are in a range, by index key.
    pub fn by_index_range<I: Index>(&self, range: impl RangeBounds<I::Key>) -> IndexRows<I> {
        let full = |key: &I::Key| {
            let mut bytes = index_head::<I>();
            key.put(&mut bytes);
            bytes
        };
        let (first, end) = space::prefix_bounds(index_head::<I>());
        // An entry's key goes on with the primary key, so "up to and including" is a prefix.
        let low = match range.start_bound() {
            Bound::Unbounded => first,
            Bound::Included(key) => Bound::Included(full(key).into()),
            Bound::Excluded(key) => match space::after_prefix(&full(key)) {
                Bound::Excluded(after) => Bound::Included(after),
                other => other,
            },
        };
        let high = match range.end_bound() {
            Bound::Unbounded => end,
            Bound::Included(key) => space::after_prefix(&full(key)),
            Bound::Excluded(key) => Bound::Excluded(full(key).into()),
        };
        self.index_rows((low, high))
    }

    fn index_rows<I: Index>(&self, (low, high): (Bound<Bytes>, Bound<Bytes>)) -> IndexRows<I> {
        IndexRows {
            entries: self.state.tree.range(low, high),
            tree: self.state.tree.clone(),
            rows: PhantomData,
        }
    }
}

fn index_head<I: Index>() -> Vec<u8> {
    space::head(I::Row::DEF.id, I::DEF.id)
}

/// Rows by primary key, from both ends.
pub struct Rows<T> {
    entries: Range,
    rows: PhantomData<fn() -> T>,
}

impl<T: Table> Iterator for Rows<T> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let (_, value) = self.entries.next()?;
        Some(row::decode(T::DEF.name, &value))
    }
}

impl<T: Table> DoubleEndedIterator for Rows<T> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let (_, value) = self.entries.next_back()?;
        Some(row::decode(T::DEF.name, &value))
    }
}

/// Rows by index key, then primary key, from both ends.
pub struct IndexRows<I> {
    entries: Range,
    tree: Tree,
    rows: PhantomData<fn() -> I>,
}

impl<I: Index> IndexRows<I> {
    fn row(&self, entry: &(Bytes, Bytes)) -> Result<I::Row, Error> {
        let (table, index) = (I::Row::DEF.name, I::DEF.name);
        let broken = || Error::Row { table, reason: format!("an entry of {index} has no row") };
        let mut rest = entry.0.get(space::HEAD_LEN..).unwrap_or_default();
        let primary: &[u8] = if I::DEF.unique {
            &entry.1
        } else {
            I::Key::take(&mut rest).ok_or_else(broken)?;
            rest
        };
        let mut key = space::head(I::Row::DEF.id, space::ROWS);
        key.extend_from_slice(primary);
        row::decode(table, self.tree.get(&key).ok_or_else(broken)?)
    }
}

impl<I: Index> Iterator for IndexRows<I> {
    type Item = Result<I::Row, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.entries.next()?;
        Some(self.row(&entry))
    }
}

impl<I: Index> DoubleEndedIterator for IndexRows<I> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let entry = self.entries.next_back()?;
        Some(self.row(&entry))
    }
}
