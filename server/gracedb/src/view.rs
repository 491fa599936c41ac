//! Reading: one version of the rows, typed.
//!
//! A [`View`] is what a [`Snapshot`] and a write transaction have in common; a function that takes
//! `&impl View` works with both. Invariants: a snapshot never changes and never waits for a writer;
//! an iterator owns its version, so a transaction may change rows while it walks over them.
//! Not here: changing (`write`), the bytes of large values (`large`).

use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use crate::engine::{Reader, Scan};
use crate::error::Error;
use crate::key::{Key, KeyFor, PrefixFor};
use crate::large::{Large, LargeReader};
use crate::row;
use crate::space;
use crate::table::{Counter, Index, Table, UniqueIndex};

/// The acknowledged rows as of one moment. Free to make and to clone, and never waits.
#[derive(Clone)]
pub struct Snapshot {
    reader: Arc<dyn Reader>,
}

impl Snapshot {
    pub(crate) fn new(reader: Arc<dyn Reader>) -> Self {
        Self { reader }
    }
}

impl View for Snapshot {
    fn reader(&self) -> &dyn Reader {
        self.reader.as_ref()
    }
}

/// The full key of a row.
pub(crate) fn row_key<T: Table>(key: &(impl KeyFor<T::Key> + ?Sized)) -> Vec<u8> {
    let mut bytes = space::head(T::DEF.id, space::ROWS);
    key.put_for(&mut bytes);
    bytes
}

/// The full keys from the first up to, not including, the second.
pub(crate) type Bounds = (Vec<u8>, Vec<u8>);

/// The end of everything with these first bytes, which are a table's.
fn end_of(prefix: &[u8]) -> Vec<u8> {
    // Table ids stop short of the last one, so there is always an end.
    space::prefix_end(prefix).unwrap_or_default()
}

/// The full keys of a range of rows.
pub(crate) fn row_bounds<T: Table>(range: &impl RangeBounds<T::Key>) -> Bounds {
    let head = space::head(T::DEF.id, space::ROWS);
    let full = |key: &T::Key| {
        let mut bytes = head.clone();
        key.put(&mut bytes);
        bytes
    };
    let low = match range.start_bound() {
        Bound::Unbounded => head.clone(),
        Bound::Included(key) => full(key),
        Bound::Excluded(key) => space::after(&full(key)),
    };
    let high = match range.end_bound() {
        Bound::Unbounded => end_of(&head),
        Bound::Included(key) => space::after(&full(key)),
        Bound::Excluded(key) => full(key),
    };
    (low, high)
}

/// The full keys of the rows that start with some parts.
pub(crate) fn row_prefix_bounds<T: Table>(prefix: &impl PrefixFor<T::Key>) -> Bounds {
    prefix_bounds(T::DEF.id, space::ROWS, |bytes| prefix.put_prefix(bytes))
}

/// The full keys of a space that start with what `put` appends.
pub(crate) fn prefix_bounds(table: u16, space: u8, put: impl FnOnce(&mut Vec<u8>)) -> Bounds {
    let mut low = space::head(table, space);
    put(&mut low);
    let high = end_of(&low);
    (low, high)
}

/// One version of all rows.
pub trait View {
    /// The rows as bytes.
    fn reader(&self) -> &dyn Reader;

    /// Number of the newest transaction in this version; it grows by one with each.
    fn sequence(&self) -> u64 {
        self.reader().sequence()
    }

    /// The row with this key.
    fn get<T: Table>(&self, key: &(impl KeyFor<T::Key> + ?Sized)) -> Result<Option<T>, Error> {
        let found = self.reader().get(&row_key::<T>(key))?;
        found.map(|bytes| row::decode(T::DEF.name, &bytes, self.reader())).transpose()
    }

    /// Whether there is a row with this key.
    fn contains<T: Table>(&self, key: &(impl KeyFor<T::Key> + ?Sized)) -> Result<bool, Error> {
        Ok(self.reader().get(&row_key::<T>(key))?.is_some())
    }

    /// All rows, by key.
    fn scan<T: Table>(&self) -> Rows<T> {
        self.range::<T>(..)
    }

    /// The rows whose keys are in a range, by key: `range::<Message>((4, 10)..=(4, 20))`.
    fn range<T: Table>(&self, range: impl RangeBounds<T::Key>) -> Rows<T> {
        Rows { walk: Walk::new(self.reader(), &row_bounds::<T>(&range)), rows: PhantomData }
    }

    /// The rows whose keys start with these parts, by key: `prefix::<Message>(&(mailbox,))`.
    fn prefix<T: Table>(&self, prefix: &impl PrefixFor<T::Key>) -> Rows<T> {
        Rows { walk: Walk::new(self.reader(), &row_prefix_bounds::<T>(prefix)), rows: PhantomData }
    }

    /// The row with this key in a unique index.
    fn find<I: UniqueIndex>(
        &self,
        key: &(impl KeyFor<I::Key> + ?Sized),
    ) -> Result<Option<I::Row>, Error> {
        self.by_index::<I>(key).next().transpose()
    }

    /// The rows with this key in an index, by primary key.
    fn by_index<I: Index>(&self, key: &(impl KeyFor<I::Key> + ?Sized)) -> IndexRows<I> {
        self.index_rows(&prefix_bounds(I::Row::DEF.id, I::DEF.id, |bytes| key.put_for(bytes)))
    }

    /// The rows whose index keys start with these parts, by index key.
    fn by_index_prefix<I: Index>(&self, prefix: &impl PrefixFor<I::Key>) -> IndexRows<I> {
        self.index_rows(&prefix_bounds(I::Row::DEF.id, I::DEF.id, |bytes| prefix.put_prefix(bytes)))
    }

    /// The rows whose index keys are in a range, by index key.
    fn by_index_range<I: Index>(&self, range: impl RangeBounds<I::Key>) -> IndexRows<I> {
        let head = space::head(I::Row::DEF.id, I::DEF.id);
        let full = |key: &I::Key| {
            let mut bytes = head.clone();
            key.put(&mut bytes);
            bytes
        };
        // An entry's key goes on with the primary key, so "up to and including" is a prefix.
        let low = match range.start_bound() {
            Bound::Unbounded => head.clone(),
            Bound::Included(key) => full(key),
            Bound::Excluded(key) => end_of(&full(key)),
        };
        let high = match range.end_bound() {
            Bound::Unbounded => end_of(&head),
            Bound::Included(key) => end_of(&full(key)),
            Bound::Excluded(key) => full(key),
        };
        self.index_rows(&(low, high))
    }

    /// The value of a counter; 0 if it was never changed.
    fn count<C: Counter>(&self, key: &(impl KeyFor<C::Key> + ?Sized)) -> Result<i64, Error> {
        let mut bytes = space::head(C::DEF.id, space::ROWS);
        key.put_for(&mut bytes);
        let found = self.reader().get(&bytes)?;
        found.map_or(Ok(0), |value| row::decode_count(C::DEF.name, &value))
    }

    /// The counters whose keys start with these parts, with their values.
    fn counts<C: Counter>(&self, prefix: &impl PrefixFor<C::Key>) -> Counts<C> {
        let bounds = prefix_bounds(C::DEF.id, space::ROWS, |bytes| prefix.put_prefix(bytes));
        Counts { walk: Walk::new(self.reader(), &bounds), counters: PhantomData }
    }

    /// A reader of a large value's bytes.
    fn open_large(&self, large: &Large) -> LargeReader {
        LargeReader::new(self.reader().share(), large.clone())
    }

    #[doc(hidden)]
    fn index_rows<I: Index>(&self, bounds: &Bounds) -> IndexRows<I> {
        IndexRows { walk: Walk::new(self.reader(), bounds), rows: PhantomData }
    }
}

/// A walk that could not even begin says so at the first step.
struct Walk {
    scan: Result<Box<dyn Scan>, Option<Error>>,
    reader: Arc<dyn Reader>,
}

impl Walk {
    fn new(reader: &dyn Reader, (low, high): &Bounds) -> Self {
        let scan = reader.scan(low, Some(high)).map_err(Some);
        Self { scan, reader: reader.share() }
    }

    /// What comes next from one end, turned into what is wanted.
    fn next<R>(
        &mut self,
        front: bool,
        make: impl FnOnce(&dyn Reader, &[u8], &[u8]) -> Result<R, Error>,
    ) -> Option<Result<R, Error>> {
        let scan = match &mut self.scan {
            Ok(scan) => scan,
            Err(error) => return error.take().map(Err),
        };
        let entry = if front { scan.next() } else { scan.next_back() };
        match entry {
            Ok(Some((key, value))) => Some(make(self.reader.as_ref(), key, value)),
            Ok(None) => None,
            Err(error) => {
                self.scan = Err(None);
                Some(Err(error))
            }
        }
    }
}

macro_rules! double_ended {
    ($name:ident<$letter:ident: $bound:ident>, $item:ty) => {
        impl<$letter: $bound> Iterator for $name<$letter> {
            type Item = Result<$item, Error>;

            fn next(&mut self) -> Option<Self::Item> {
                self.walk.next(true, Self::make)
            }
        }

        impl<$letter: $bound> DoubleEndedIterator for $name<$letter> {
            fn next_back(&mut self) -> Option<Self::Item> {
                self.walk.next(false, Self::make)
            }
        }
    };
}

/// Rows by primary key, from both ends.
pub struct Rows<T> {
    walk: Walk,
    rows: PhantomData<fn() -> T>,
}

impl<T: Table> Rows<T> {
    fn make(reader: &dyn Reader, _key: &[u8], value: &[u8]) -> Result<T, Error> {
        row::decode(T::DEF.name, value, reader)
    }
}

double_ended!(Rows<T: Table>, T);

/// Rows by index key, then primary key, from both ends.
pub struct IndexRows<I> {
    walk: Walk,
    rows: PhantomData<fn() -> I>,
}

impl<I: Index> IndexRows<I> {
    fn make(reader: &dyn Reader, key: &[u8], value: &[u8]) -> Result<I::Row, Error> {
        let (table, index) = (I::Row::DEF.name, I::DEF.name);
        let broken = || Error::Row { table, reason: format!("an entry of {index} has no row") };
        let mut rest = key.get(space::HEAD_LEN..).unwrap_or_default();
        let primary: &[u8] = if I::DEF.unique {
            value
        } else {
            I::Key::take(&mut rest).ok_or_else(broken)?;
            rest
        };
        let mut key = space::head(I::Row::DEF.id, space::ROWS);
        key.extend_from_slice(primary);
        let value = reader.get(&key)?.ok_or_else(broken)?;
        row::decode(table, &value, reader)
    }
}

double_ended!(IndexRows<I: Index>, I::Row);

/// Counters by key, from both ends.
pub struct Counts<C> {
    walk: Walk,
    counters: PhantomData<fn() -> C>,
}

impl<C: Counter> Counts<C> {
    fn make(_reader: &dyn Reader, key: &[u8], value: &[u8]) -> Result<(C::Key, i64), Error> {
        let table = C::DEF.name;
        let malformed = || Error::Row { table, reason: "a key that is none".to_owned() };
        let mut rest = key.get(space::HEAD_LEN..).unwrap_or_default();
        let key = C::Key::take(&mut rest).ok_or_else(malformed)?;
        Ok((key, row::decode_count(table, value)?))
    }
}

double_ended!(Counts<C: Counter>, (C::Key, i64));
