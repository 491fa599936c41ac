//! A transaction over the newest rows, and what the engine notes on its own beside it: which rows
//! point to which large values.
//!
//! A *use* says that a row points to a place in the journal. There is one for every row that does;
//! there may be one for a row that does not any more, if the row was replaced or deleted without
//! being read. Such a one is taken away when the old row is dropped for good (`compact`).
//! ```text
//!   segment is needed <= a use of it <= a row that points there
//! ```
//! Invariants: a transaction is applied whole or leaves no trace; the live bytes of a segment are
//! those of the places in it that have a use, each counted once.
//! Not here: when it is durable (`commit`), tables (`write`).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::commit::{Commits, Newest};
use crate::engine::{Durability, Old, Reader, Scan, Writer};
use crate::error::Error;
use crate::files::Files;
use crate::large::{Fresh, Large, Part};
use crate::local::{Limits, View, Walk, read_part};
use crate::mem::{Found, Mem};
use crate::pending::{Lead, Ticket};
use crate::row;
use crate::space;
use crate::state::{self, State, Value};
use crate::sync::locked;

/// Room kept free in a transaction for what the engine adds: the live bytes of the segments it
/// touches.
const MARGIN_BYTES: usize = 8 << 10;
/// Room that a row leaves for its index entries, so that it is refused before they are.
const ROW_MARGIN_BYTES: usize = 64 << 10;

/// A transaction in progress.
pub(crate) struct Transaction<'a> {
    commits: &'a Commits,
    files: &'a Arc<Files>,
    limits: Limits,
    /// The acknowledged rows, and what is on its way over them.
    rows: State,
    newest: &'a Newest,
    /// What it has changed itself.
    own: Mem,
    operations: Vec<u8>,
    /// Bytes that became live in a segment, or dead.
    live: BTreeMap<u64, i64>,
    /// Places, by segment and offset, that lost a use, and the bytes there: dead if it was the last
    /// one. Asked once, at the end, for a letter may have very many.
    dropped: BTreeMap<(u64, u64), i64>,
    epoch: u64,
    /// A change failed halfway: nothing of this is to be kept.
    broken: Option<Error>,
}

impl Commits {
    /// Runs a transaction.
    pub(crate) fn transact(
        self: &Arc<Self>,
        files: &Arc<Files>,
        limits: Limits,
        durability: Durability,
        body: &mut dyn FnMut(&mut Transaction<'_>) -> Result<bool, Error>,
    ) -> Result<Option<Ticket>, Error> {
        let mut newest = locked(&self.newest);
        let epoch = {
            let queue = self.queue();
            queue.check_open()?;
            queue.epoch
        };
        let mut operations = Vec::with_capacity(256);
        row::put_varint((limits.clock)(), &mut operations);
        let began_with = operations.len();
        let mut transaction = Transaction {
            commits: self,
            files,
            limits,
            rows: self.rows(),
            newest: &newest,
            own: Mem::default(),
            operations,
            live: BTreeMap::new(),
            dropped: BTreeMap::new(),
            epoch,
            broken: None,
        };
        if !body(&mut transaction)? {
            return Ok(None);
        }
        if let Some(error) = transaction.broken {
            return Err(error);
        }
        transaction.note_live()?;
        let operations = transaction.operations;
        let sync = durability == Durability::Synced;
        let mut queue = self.queue();
        queue.check_open()?;
        let round = if operations.len() > began_with {
            let applied =
                operations.get(began_with..).map(|new| state::apply(&mut newest.open, new));
            applied.unwrap_or(Ok(())).map_err(|what| Error::Internal { what })?;
            newest.sequence += 1;
            queue.push_transaction(operations, newest.sequence, sync)
        } else {
            // It may have read what is not on disk yet.
            let is_settled = !(sync && self.is_unsynced());
            if is_settled && self.sequence() == newest.sequence {
                return Ok(Some(Ticket::done(Ok(()))));
            }
            queue.join(sync)
        };
        drop(queue);
        drop(newest);
        Ok(Some(Ticket::new(round, Arc::<Self>::clone(self) as Arc<dyn Lead>)))
    }
}

impl Transaction<'_> {
    fn check_room(&self, bytes: usize) -> Result<(), Error> {
        let bytes = self.operations.len() + bytes + MARGIN_BYTES + 32 * self.live.len();
        let bytes_max = self.limits.transaction_bytes_max;
        if bytes > bytes_max {
            return Err(Error::TooLarge { what: "a transaction", bytes, bytes_max });
        }
        Ok(())
    }

    /// Bytes of its operations so far.
    pub(crate) fn bytes(&self) -> usize {
        self.operations.len()
    }

    /// What this transaction and the rows in memory say of a key.
    fn get_in_memory(&self, key: &[u8]) -> Found<Value> {
        match state::find(self.layers(), key) {
            Found::NotHere => self.rows.get_in_memory(key),
            found => found,
        }
    }

    /// The layers over the acknowledged rows, the newest first.
    fn layers(&self) -> impl Iterator<Item = &Mem> {
        std::iter::once(&self.own).chain(self.newest.layers())
    }

    pub(crate) fn value(&self, key: &[u8]) -> Result<Option<Value>, Error> {
        match state::find(self.layers(), key) {
            Found::Value(value) => Ok(Some(value)),
            Found::Gone => Ok(None),
            Found::NotHere => self.rows.get(key),
        }
    }

    fn has_prefix(&self, prefix: &[u8]) -> Result<bool, Error> {
        self.rows.has_prefix(self.layers(), prefix)
    }

    fn put_raw(&mut self, key: &[u8], value: &[u8]) {
        state::write_put(key, value, &mut self.operations);
        self.own.put(key, value);
    }

    fn delete_raw(&mut self, key: &[u8]) {
        state::write_delete(key, &mut self.operations);
        self.own.delete(key);
    }

    /// The parts that the row which is to be replaced points to, as far as that is known.
    fn old_parts(&self, key: &[u8], old: Old<'_>) -> Result<Vec<Part>, Error> {
        let known = match old {
            Old::Known(value) => return value.map_or(Ok(Vec::new()), parts_of),
            // What lies on disk is dealt with when it is dropped there.
            Old::Unknown => self.get_in_memory(key),
        };
        match known {
            Found::Value(value) => parts_of(&value),
            Found::Gone | Found::NotHere => Ok(Vec::new()),
        }
    }

    /// Puts a row that points to these parts; `fresh` are those of them that no row points to yet.
    fn put_row(
        &mut self,
        key: &[u8],
        value: &[u8],
        larges: &[Large],
        old: Old<'_>,
    ) -> Result<(), Error> {
        let before = self.old_parts(key, old)?;
        let uses = before.len() + larges.iter().map(|large| large.parts.len()).sum::<usize>();
        self.check_room(key.len() + value.len() + uses * (key.len() + 48) + ROW_MARGIN_BYTES)?;
        for large in larges {
            if large.fresh.as_ref().is_some_and(|fresh| fresh.epoch != self.epoch) {
                return Err(Error::LargeLost);
            }
        }
        self.guarded(|this| {
            for large in larges {
                for part in large.parts.iter().filter(|part| !before.contains(part)) {
                    this.add_use(part, key, large.fresh.is_some())?;
                }
            }
            let after = |part: &Part| larges.iter().any(|large| large.parts.contains(part));
            for part in before.iter().filter(|part| !after(part)) {
                this.drop_use(part, key)?;
            }
            Ok(())
        })?;
        self.put_raw(key, value);
        Ok(())
    }

    /// Marks the transaction as failed if a change did.
    fn guarded(
        &mut self,
        change: impl FnOnce(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let changed = change(self);
        if let Err(error) = &changed {
            self.broken = Some(error.clone());
        }
        changed
    }

    fn is_used(&self, part: &Part) -> Result<bool, Error> {
        let prefix = space::use_prefix(part.segment, Some(part.offset));
        self.has_prefix(&prefix)
    }

    fn add_use(&mut self, part: &Part, row: &[u8], is_fresh: bool) -> Result<(), Error> {
        if self.dropped.remove(&(part.segment, part.offset)).is_some() {
            // It was live until now, and stays so.
        } else if !self.is_used(part)? {
            if !is_fresh {
                // The last row that pointed there is gone, and the bytes may be, too.
                return Err(Error::LargeLost);
            }
            *self.live.entry(part.segment).or_default() += i64::from(part.len);
        }
        let mut len = Vec::with_capacity(5);
        row::put_varint(u64::from(part.len), &mut len);
        self.put_raw(&space::use_key(part.segment, part.offset, row), &len);
        Ok(())
    }

    /// The row does not point there any more. Does nothing when that is noted already.
    pub(crate) fn drop_use(&mut self, part: &Part, row: &[u8]) -> Result<(), Error> {
        let key = space::use_key(part.segment, part.offset, row);
        let Some(value) = self.value(&key)? else { return Ok(()) };
        let len = row::take_varint(&mut &*value).and_then(|len| i64::try_from(len).ok());
        self.check_room(key.len() + 32)?;
        self.delete_raw(&key);
        self.live.entry(part.segment).or_default();
        self.dropped.insert((part.segment, part.offset), len.unwrap_or(0));
        Ok(())
    }

    /// Whether no row points into a segment.
    pub(crate) fn is_unused(&self, segment: u64) -> Result<bool, Error> {
        let prefix = space::use_prefix(segment, None);
        self.has_prefix(&prefix).map(|has| !has)
    }

    /// Deletes every use of a segment that is to go, and what is noted of it.
    pub(crate) fn forget_segment(&mut self, segment: u64) {
        for prefix in [space::use_prefix(segment, None), space::live_key(Some(segment))] {
            let end = space::prefix_end(&prefix).unwrap_or_default();
            state::write_delete_range(&prefix, &end, &mut self.operations);
            self.own.delete_range(&prefix, &end);
        }
        self.live.remove(&segment);
        self.dropped.retain(|(of, _), _| *of != segment);
    }

    /// Writes down the live bytes of the segments it touched.
    fn note_live(&mut self) -> Result<(), Error> {
        for ((segment, offset), len) in std::mem::take(&mut self.dropped) {
            if !self.has_prefix(&space::use_prefix(segment, Some(offset)))? {
                *self.live.entry(segment).or_default() -= len;
            }
        }
        for (segment, more) in std::mem::take(&mut self.live) {
            if more == 0 {
                continue;
            }
            let key = space::live_key(Some(segment));
            let before = self.value(&key)?;
            let before = before.and_then(|value| row::take_varint(&mut &*value)).unwrap_or(0);
            let after = before.saturating_add_signed(more);
            if after == 0 {
                self.delete_raw(&key);
            } else {
                let mut bytes = Vec::with_capacity(8);
                row::put_varint(after, &mut bytes);
                self.put_raw(&key, &bytes);
            }
        }
        Ok(())
    }

    /// Rows that a range takes away from memory, where merging will never see them.
    fn forget_rows_in_memory(&mut self, low: &[u8], high: &[u8]) -> Result<(), Error> {
        let mut gone = Vec::new();
        for mem in self.layers().chain([&self.rows.mem]) {
            let mut cursor = crate::tree::Cursor::new(mem.tree.clone());
            cursor.seek(low);
            while cursor.is_valid() && cursor.key() < high {
                if space::is_row(cursor.key())
                    && let Some(value) = cursor.value()
                {
                    let parts = parts_of(value)?;
                    if !parts.is_empty() {
                        gone.push((cursor.key().to_vec(), parts));
                    }
                }
                cursor.next();
            }
        }
        for (key, parts) in gone {
            for part in parts {
                self.drop_use(&part, &key)?;
            }
        }
        Ok(())
    }

    /// Notes that a row does not point to the place of a part any more. Does nothing if it does: it
    /// may have been put again.
    pub(crate) fn drop_stale_use(&mut self, part: &Part, row: &[u8]) -> Result<(), Error> {
        let is_there = |at: &Part| (at.segment, at.offset) == (part.segment, part.offset);
        if let Some(value) = self.value(row)?
            && parts_of(&value)?.iter().any(is_there)
        {
            return Ok(());
        }
        self.drop_use(part, row)
    }

    /// Lets a row point to `to` instead of `from`, where the same bytes stand; `false`: it does not
    /// point to `from` any more.
    pub(crate) fn move_use(&mut self, row: &[u8], from: &Part, to: &Large) -> Result<bool, Error> {
        let Some(value) = self.value(row)? else { return Ok(false) };
        let Some(part) = to.parts.first() else { return Ok(false) };
        let Some((value, larges)) = row::replace_part(&value, from, part) else {
            return Ok(false);
        };
        let with_guard = |mut large: Large| {
            if large.parts.contains(part) {
                large.fresh.clone_from(&to.fresh);
            }
            large
        };
        let larges: Vec<Large> = larges.into_iter().map(with_guard).collect();
        let old = self.value(row)?;
        // Only the moved part is new to the row, so only it need be fresh.
        self.put_row(row, &value, &larges, Old::Known(old.as_deref()))?;
        Ok(true)
    }
}

/// The parts that a row points to.
pub(crate) fn parts_of(value: &[u8]) -> Result<Vec<Part>, Error> {
    if value.first() == Some(&0) {
        return Ok(Vec::new());
    }
    let larges = row::take_larges(&mut &*value)
        .ok_or(Error::Internal { what: "a row's list of large values is malformed" })?;
    Ok(larges.iter().flat_map(|large| large.parts.iter().copied()).collect())
}

impl Transaction<'_> {
    fn view(&self) -> View {
        View {
            state: State { sequence: self.newest.sequence, ..self.rows.clone() },
            over: self.layers().filter(|mem| !mem.is_empty()).cloned().collect(),
            files: Arc::clone(self.files),
            unwritten: Some(Arc::clone(&self.commits.unwritten)),
        }
    }
}

impl Reader for Transaction<'_> {
    fn sequence(&self) -> u64 {
        self.newest.sequence
    }

    fn get(&self, key: &[u8]) -> Result<Option<Value>, Error> {
        self.value(key)
    }

    fn scan(&self, low: &[u8], high: Option<&[u8]>) -> Result<Box<dyn Scan>, Error> {
        Ok(Box::new(Walk::new(self.view(), low, high)))
    }

    fn read_part(&self, part: &Part, bytes: &mut [u8]) -> Result<(), Error> {
        if self.commits.unwritten.read(part, bytes) {
            return Ok(());
        }
        read_part(self.files, part, bytes)
    }

    fn share(&self) -> Arc<dyn Reader> {
        Arc::new(self.view())
    }
}

impl Writer for Transaction<'_> {
    fn put(
        &mut self,
        key: &[u8],
        value: &[u8],
        larges: &[Large],
        old: Old<'_>,
    ) -> Result<(), Error> {
        if space::is_row(key) {
            return self.put_row(key, value, larges, old);
        }
        self.check_room(key.len() + value.len())?;
        self.put_raw(key, value);
        Ok(())
    }

    fn delete(&mut self, key: &[u8], old: Old<'_>) -> Result<(), Error> {
        if !space::is_row(key) {
            self.check_room(key.len())?;
        } else {
            self.check_room(key.len() + ROW_MARGIN_BYTES)?;
            let parts = self.old_parts(key, old)?;
            self.guarded(|this| parts.iter().try_for_each(|part| this.drop_use(part, key)))?;
        }
        self.delete_raw(key);
        Ok(())
    }

    fn delete_range(&mut self, low: &[u8], high: &[u8]) -> Result<(), Error> {
        if low >= high {
            return Ok(());
        }
        self.check_room(low.len() + high.len())?;
        self.guarded(|this| this.forget_rows_in_memory(low, high))?;
        state::write_delete_range(low, high, &mut self.operations);
        self.own.delete_range(low, high);
        Ok(())
    }

    fn put_part(&mut self, bytes: Vec<u8>) -> Result<(Part, Fresh), Error> {
        self.commits.push_chunk(bytes)
    }

    fn spoil(&mut self, error: Error) {
        self.broken = Some(error);
    }

    fn inline_bytes_max(&self) -> usize {
        self.limits.inline_bytes_max
    }
}
