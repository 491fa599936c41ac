//! Making a sound database of what can be read of a broken one.
//!
//! ```text
//!   wreck: runs, the oldest first, then the journal ─▶ scratch: rows, the newest of each
//!   scratch ─▶ target: each row whose large values can be read, with its index entries
//! ```
//! Index entries, uses and live bytes are not taken over but made anew. Where what replaced or
//! deleted a row cannot be read, the row comes back: rather an old letter twice than a letter lost.
//! Invariants: the broken database is only read; each loss is told of; what the target holds is
//! sound.
//! Not here: reading the wreck (`salvage`).

use std::sync::Arc;

use crate::db::Db;
use crate::engine::{Durability, Engine, Old, Writer};
use crate::error::Error;
use crate::format::FileKind;
use crate::large::{Fresh, Large, Part};
use crate::local::View;
use crate::mark;
use crate::options::Options;
use crate::pending::{self, Ticket};
use crate::progress::{Count, Watcher};
use crate::row;
use crate::salvage::Wreck;
use crate::schema::{Schema, TableDef};
use crate::seal::{self, Key};
use crate::space;
use crate::state::{self, Operation, State};
use crate::transact::parts_of;
use crate::verify::Problem;
use crate::version::{Version, Yard};

/// Losses told one by one; beyond that they are only counted.
const LOSSES_MAX: usize = 10_000;
/// Bytes of rows in one transaction.
const BATCH_BYTES: usize = 1 << 20;
/// Numbers left out of a table's counter, so that one that was given out and lost is not given out
/// again.
const SKIPPED_IDS: u64 = 1_000_000;
/// Where counting begins at the least if nothing tells which numbers were given out.
const UNKNOWN_IDS: u64 = 1 << 40;
/// Of a random number, so many bits are left out of how much further: 48 bits are left.
const UNKNOWN_SHIFT: u32 = 16;
/// Tables of the scratch database: rows, and where parts of large values stand now. Neither is a
/// space of rows, so the engine looks at no value.
const ROWS: [u8; 3] = [0xFF, 0xFD, 1];
const PARTS: [u8; 3] = [0xFF, 0xFD, 2];

/// What was saved, and what was not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Rows in the new database.
    pub rows: u64,
    /// Bytes of large values in it.
    pub large_bytes: u64,
    /// What is lost or doubtful, up to ten thousand.
    pub losses: Vec<Problem>,
    /// How much is lost or doubtful in all.
    pub losses_count: u64,
}

impl Repaired {
    fn tell(&mut self, file: &str, offset: Option<u64>, what: String) {
        self.losses_count += 1;
        if self.losses.len() < LOSSES_MAX {
            self.losses.push(Problem { file: file.to_owned(), offset, what });
        }
    }
}

/// Saves what can be read of a database that is not open into another one, which must not exist.
/// `scratch` is for intermediate files: an empty folder with as much room as the rows take; it can
/// be removed afterwards.
pub fn closed(
    from: &Options,
    to: Options,
    scratch: Options,
    schema: Schema,
    mut watcher: Watcher<'_>,
) -> Result<Repaired, Error> {
    let disk = Arc::clone(&from.disk);
    let label = disk.label();
    let lock = disk.lock().map_err(|error| Error::io("lock", &label, error))?;
    let _lock = lock.ok_or(Error::Locked { dir: label })?;
    for folder in [&to, &scratch] {
        let label = folder.disk.label();
        let names = folder.disk.list().map_err(|error| Error::io("list", &label, error))?;
        if names.iter().any(|name| FileKind::parse(name).is_some()) {
            return Err(Error::NotEmpty { dir: label });
        }
    }
    let mut repaired = Repaired::default();
    let wreck = Wreck::open(&disk, from.key.as_ref(), &mut |file, offset, what| {
        repaired.tell(file, offset, what);
    })?;
    if let Some(stored) = &wreck.manifest.schema {
        // Rows of other tables would be lost one by one: they cannot be told from broken ones.
        schema.check(stored)?;
    }
    // Rows must not lie about in the clear on their way from one encrypted database to another.
    let key = Some(Key::from_bytes(seal::random()?));
    let scratch = Db::open(Options { key, retention_s: 0, ..scratch }, Schema::new(&[]))?;
    let total = wreck.runs(&mut |_, _, _| {}).iter().map(|run| run.bytes).sum::<u64>();
    let mut count = Count::new(&mut watcher, 2 * total);
    count.begin("read")?;
    Gather { wreck: &wreck, batch: Batch::new(scratch.engine()) }.run(&mut repaired, &mut count)?;
    scratch.settle()?;
    count.begin("write")?;
    let target = Db::open(to, schema)?;
    // First of all: what came back, and what did not, is for the program to see to.
    mark::set(target.engine().as_ref())?;
    Write::new(&wreck, scratch.engine(), &target).run(&mut repaired, &mut count)?;
    target.settle()?;
    target.close();
    scratch.close();
    count.begin("done")?;
    Ok(repaired)
}

/// Changes gathered for one transaction of the scratch database.
struct Batch {
    engine: Arc<dyn Engine>,
    changes: Vec<Change>,
    bytes: usize,
    last: Option<Ticket>,
}

enum Change {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    DeleteRange(Vec<u8>, Vec<u8>),
}

impl Batch {
    fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine, changes: Vec::new(), bytes: 0, last: None }
    }

    fn push(&mut self, change: Change) -> Result<(), Error> {
        self.bytes += match &change {
            Change::Put(key, value) => key.len() + value.len(),
            Change::Delete(key) => key.len(),
            Change::DeleteRange(low, high) => low.len() + high.len(),
        };
        self.changes.push(change);
        if self.bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        let changes = std::mem::take(&mut self.changes);
        self.bytes = 0;
        let mut done = Ok(());
        let ticket = self.engine.write(Durability::Buffered, &mut |writer| {
            done = changes.iter().try_for_each(|change| match change {
                Change::Put(key, value) => writer.put(key, value, &[], Old::Unknown),
                Change::Delete(key) => writer.delete(key, Old::Unknown),
                Change::DeleteRange(low, high) => writer.delete_range(low, high),
            });
            done.is_ok()
        })?;
        done?;
        // The one before has long been written when the next is ready.
        let before = std::mem::replace(&mut self.last, ticket);
        before.map_or(Ok(()), Ticket::wait)
    }

    fn finish(mut self) -> Result<(), Error> {
        self.flush()?;
        self.last.take().map_or(Ok(()), Ticket::wait)
    }
}

/// Whether a key is to be saved: rows, and counters of ids. The rest is made anew.
fn is_wanted(key: &[u8]) -> bool {
    matches!(key, [high, low, space::ROWS | space::COUNTER, ..] if (*high, *low) != (0, 0))
}

fn within(head: [u8; 3], key: &[u8]) -> Vec<u8> {
    [&head, key].concat()
}

/// Reads the wreck into the scratch database.
struct Gather<'a> {
    wreck: &'a Wreck,
    batch: Batch,
}

impl Gather<'_> {
    fn run(self, repaired: &mut Repaired, count: &mut Count<'_, '_>) -> Result<(), Error> {
        let runs = {
            let mut told = |file: &str, at, what| repaired.tell(file, at, what);
            self.wreck.runs(&mut told)
        };
        let batch = std::cell::RefCell::new(self.batch);
        for run in runs {
            self.wreck.read_run(
                run,
                &mut |file, at, what| repaired.tell(file, at, what),
                &mut |gone| {
                    gone.iter().try_for_each(|range| {
                        let (low, high) = (within(ROWS, &range.low), within(ROWS, &range.high));
                        batch.borrow_mut().push(Change::DeleteRange(low, high))
                    })
                },
                &mut |key, value| change(&mut batch.borrow_mut(), key, value),
            )?;
            count.add(run.bytes)?;
        }
        let flushed = self.wreck.flushed();
        self.wreck.read_journal(
            flushed,
            &mut |file, at, what| repaired.tell(file, at, what),
            &mut |_, mut operations| {
                let mut batch = batch.borrow_mut();
                while let Ok(Some(operation)) = state::take_operation(&mut operations) {
                    match operation {
                        Operation::Put(key, value) => change(&mut batch, key, Some(value))?,
                        Operation::Delete(key) => change(&mut batch, key, None)?,
                        Operation::DeleteRange(low, high) => {
                            let (low, high) = (within(ROWS, low), within(ROWS, high));
                            batch.push(Change::DeleteRange(low, high))?;
                        }
                    }
                }
                Ok(())
            },
        )?;
        batch.into_inner().finish()
    }
}

fn change(batch: &mut Batch, key: &[u8], value: Option<&[u8]>) -> Result<(), Error> {
    if !is_wanted(key) {
        return Ok(());
    }
    let key = within(ROWS, key);
    batch.push(match value {
        Some(value) => Change::Put(key, value.to_vec()),
        None => Change::Delete(key),
    })
}

/// Writes the rows of the scratch database into the target.
struct Write<'a> {
    wreck: &'a Wreck,
    /// For reading fields that stand apart from their rows.
    reader: View,
    scratch: Arc<dyn Engine>,
    target: Arc<dyn Engine>,
    schema: Schema,
}

impl<'a> Write<'a> {
    fn new(wreck: &'a Wreck, scratch: Arc<dyn Engine>, target: &Db) -> Self {
        let state = State::new(Version::new(Arc::new(Yard::default())));
        let reader = View::new(state, Arc::clone(&wreck.files));
        Self { wreck, reader, scratch, target: target.engine(), schema: target.schema() }
    }

    fn run(&self, repaired: &mut Repaired, count: &mut Count<'_, '_>) -> Result<(), Error> {
        let snapshot = self.scratch.snapshot();
        let end = space::prefix_end(&ROWS);
        let mut walk = snapshot.scan(&ROWS, end.as_deref())?;
        let mut last = None;
        while let Some((key, value)) = walk.next()? {
            let key = key.get(ROWS.len()..).unwrap_or_default();
            count.add((key.len() + value.len()) as u64)?;
            match self.row(key, value, repaired) {
                Ok(ticket) => {
                    let before = std::mem::replace(&mut last, ticket);
                    before.map_or(Ok(()), Ticket::wait)?;
                }
                Err(Lost::Row(what)) => {
                    let row = self.wreck.words.key(key);
                    repaired.tell(&row, None, format!("lost: {what}"));
                }
                Err(Lost::All(error)) => return Err(error),
            }
        }
        last.map_or(Ok(()), Ticket::wait)?;
        self.lost_counters()
    }

    /// Writes one row.
    fn row(
        &self,
        key: &[u8],
        value: &[u8],
        repaired: &mut Repaired,
    ) -> Result<Option<Ticket>, Lost> {
        let [high, low, space, ..] = *key else { return Ok(None) };
        let id = u16::from_be_bytes([high, low]);
        let table = self.schema.table(id);
        let table = table.ok_or_else(|| Lost::Row("this program has no such table".to_owned()))?;
        if space == space::COUNTER {
            return self.counter(key, value);
        }
        if table.is_counter {
            row::decode_count(table.name, value).map_err(Lost::row)?;
            repaired.rows += 1;
            return self.transact(&mut |writer| writer.put(key, value, &[], Old::Unknown));
        }
        self.table_row(table, key, value, repaired)
    }

    /// Goes on counting ids a good way further on.
    fn counter(&self, key: &[u8], value: &[u8]) -> Result<Option<Ticket>, Lost> {
        let known = value.try_into().map(u64::from_le_bytes);
        let known = known.map_err(|_| Lost::Row("it is not a number".to_owned()))?;
        let [high, low, ..] = *key else { return Ok(None) };
        let largest = self.largest_id(u16::from_be_bytes([high, low])).map_err(Lost::All)?;
        let next = known.max(largest.unwrap_or(0)).saturating_add(SKIPPED_IDS);
        self.transact(&mut |writer| writer.put(key, &next.to_le_bytes(), &[], Old::Unknown))
    }

    /// Makes counters anew that are lost. If the rows counted by one are lost as well, rows of
    /// other tables may still name them, and a number given out again would hand those to somebody
    /// else.
    fn lost_counters(&self) -> Result<(), Error> {
        for table in self.schema.tables() {
            let key = space::head(table.id, space::COUNTER);
            let is_known = self.target.snapshot().get(&key)?.is_some();
            let is_counted = matches!(table.key, [field] if table.fields.iter().any(|each| {
                each.name == *field && each.kind == "u64"
            }));
            if is_known || !is_counted || table.is_counter {
                continue;
            }
            let next = match self.largest_id(table.id)? {
                Some(largest) => largest.saturating_add(SKIPPED_IDS),
                None => UNKNOWN_IDS + (u64::from_le_bytes(seal::random()?) >> UNKNOWN_SHIFT),
            };
            let next = next.to_le_bytes();
            let put = self.transact(&mut |writer| writer.put(&key, &next, &[], Old::Unknown));
            let ticket = put.map_err(|lost| match lost {
                Lost::All(error) => error,
                Lost::Row(_) => Error::Internal { what: "a counter that is not taken" },
            })?;
            ticket.map_or(Ok(()), Ticket::wait)?;
        }
        Ok(())
    }

    /// The largest number that a row of a table has as its key, if that is one number.
    fn largest_id(&self, table: u16) -> Result<Option<u64>, Error> {
        let low = within(ROWS, &space::head(table, space::ROWS));
        let end = space::prefix_end(&low);
        let snapshot = self.scratch.snapshot();
        let mut walk = snapshot.scan(&low, end.as_deref())?;
        let last = walk.next_back()?;
        let id = last.and_then(|(key, _)| key.get(low.len()..)?.try_into().ok());
        Ok(id.map(u64::from_be_bytes))
    }

    fn table_row(
        &self,
        table: &TableDef,
        key: &[u8],
        value: &[u8],
        repaired: &mut Repaired,
    ) -> Result<Option<Ticket>, Lost> {
        let parts = parts_of(value).map_err(Lost::row)?;
        let mut value = value.to_vec();
        let (mut moved, mut fresh) = (Vec::new(), Vec::new());
        // First of all, so that nothing is written for a row that cannot be kept.
        let entries = (table.entries)(key, &value, &self.reader).map_err(Lost::row)?;
        for part in parts {
            let (to, guard, bytes) = self.part(&part)?;
            if let Some((changed, _)) = row::replace_part(&value, &part, &to) {
                value = changed;
            }
            moved.push((part, to));
            fresh.extend(guard);
            repaired.large_bytes += bytes;
        }
        let larges = row::larges_of(&value).unwrap_or_default();
        let fresh = fresh.into_iter().reduce(Fresh::joined).map(Arc::new);
        let larges: Vec<Large> =
            larges.into_iter().map(|large| Large { fresh: fresh.clone(), ..large }).collect();
        let mut conflict = None;
        let ticket = self.transact(&mut |writer| {
            conflict = None;
            for (entry, _) in &entries {
                if let Some(other) = writer.get(entry)?
                    && !other.is_empty()
                {
                    conflict = Some(self.wreck.words.key(entry));
                    return Ok(());
                }
            }
            writer.put(key, &value, &larges, Old::Unknown)?;
            entries
                .iter()
                .try_for_each(|(entry, value)| writer.put(entry, value, &[], Old::Unknown))
        })?;
        if let Some(entry) = conflict {
            return Err(Lost::Row(format!("another row has its place: {entry}")));
        }
        self.remember(&moved)?;
        repaired.rows += 1;
        Ok(ticket)
    }

    /// Copies a part of a large value, unless an earlier row has brought it along already; says how
    /// many bytes were copied.
    fn part(&self, part: &Part) -> Result<(Part, Option<Fresh>, u64), Lost> {
        let known = self.scratch.snapshot().get(&place_key(part)).map_err(Lost::All)?;
        if let Some(known) = known.and_then(|known| read_place(&known, part)) {
            return Ok((known, None, 0));
        }
        let mut bytes = vec![0; part.bytes()];
        self.wreck.read_part(part, &mut bytes).map_err(Lost::row)?;
        pending::block_on(std::future::poll_fn(|context| self.target.poll_room(context)))
            .map_err(Lost::All)?;
        let (to, fresh) = self.target.put_part(bytes).map_err(Lost::All)?;
        Ok((to, Some(fresh), u64::from(part.len)))
    }

    /// Notes where parts stand now.
    fn remember(&self, moved: &[(Part, Part)]) -> Result<(), Lost> {
        if moved.is_empty() {
            return Ok(());
        }
        let mut done = Ok(());
        let ticket = self.scratch.write(Durability::Buffered, &mut |writer| {
            done = moved.iter().try_for_each(|(from, to)| {
                writer.put(&place_key(from), &place_bytes(to), &[], Old::Unknown)
            });
            done.is_ok()
        });
        done.map_err(Lost::All)?;
        drop(ticket.map_err(Lost::All)?);
        Ok(())
    }

    fn transact(
        &self,
        body: &mut dyn FnMut(&mut dyn Writer) -> Result<(), Error>,
    ) -> Result<Option<Ticket>, Lost> {
        let mut done = Ok(());
        let ticket = self.target.write(Durability::Buffered, &mut |writer| {
            done = body(writer);
            done.is_ok()
        });
        match done {
            Err(error @ (Error::TooLarge { .. } | Error::LargeLost)) => Err(Lost::row(error)),
            Err(error) => Err(Lost::All(error)),
            Ok(()) => ticket.map_err(Lost::All),
        }
    }
}

/// What ends a row's way.
enum Lost {
    /// The row is lost, and why.
    Row(String),
    /// Everything is: the target or the scratch database failed.
    All(Error),
}

impl Lost {
    fn row(error: Error) -> Self {
        Self::Row(match error {
            Error::Corrupt { file, offset, what } => format!("{file} at byte {offset}: {what}"),
            error => error.to_string(),
        })
    }
}

fn place_key(part: &Part) -> Vec<u8> {
    [PARTS.as_slice(), &part.segment.to_be_bytes(), &part.offset.to_be_bytes()].concat()
}

fn place_bytes(part: &Part) -> Vec<u8> {
    [part.segment.to_le_bytes(), part.offset.to_le_bytes()].concat()
}

fn read_place(bytes: &[u8], part: &Part) -> Option<Part> {
    let (segment, offset) = bytes.split_first_chunk::<8>()?;
    let offset = u64::from_le_bytes(offset.try_into().ok()?);
    Some(Part { segment: u64::from_le_bytes(*segment), offset, ..*part })
}
