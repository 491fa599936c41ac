//! Tables that change: written migrations, run when a database with the older tables is opened.
//!
//! ```text
//!   1 stage   each old row is turned into a new one, which stands apart
//!   2 clear   old rows and index entries go, as ranges
//!   3 place   each new row is put in its place, with its index entries
//!   4 done    the stored schema is the new one
//! ```
//! Each step of many rows is cut into transactions that also note how far it is, so that after a
//! crash step 3 goes on where it stopped; step 1 is begun again. Nobody sees the database
//! meanwhile.
//! Invariants: a table is changed only by a migration from exactly the definition that is stored; a
//! migration that fails leaves the database to the older program until step 2, and can be run
//! again.
//! Not here: comparing schemas (`schema`).

use std::sync::Arc;

use crate::crc;
use crate::engine::{Durability, Engine, Old, Writer};
use crate::error::Error;
use crate::row;
use crate::schema::{TableDef, table_text};
use crate::space;
use crate::table::Table;
use crate::view::{Snapshot, View};
use crate::write::WriteTx;

/// Rows changed in one transaction.
const ROWS_AT_ONCE: usize = 512;
/// Bytes of them.
const BYTES_AT_ONCE: usize = 1 << 20;

type Stage = dyn Fn(&Snapshot, &[u8], &mut dyn Writer) -> Result<(), Error> + Send + Sync;
type Place = dyn Fn(&[u8], &mut WriteTx<'_>) -> Result<(), Error> + Send + Sync;

/// How one table becomes another with the same number.
pub struct Migration {
    pub(crate) old: TableDef,
    pub(crate) new: Option<TableDef>,
    stage: Box<Stage>,
    place: Box<Place>,
}

impl Migration {
    /// Turns each row of a table into one of its newer form, or into none. `convert` also sees all
    /// tables as they were.
    ///
    /// The two types have the same table number. A change of indexes alone is a migration, too.
    #[must_use]
    pub fn rows<Old: Table, New: Table>(
        convert: impl Fn(&Snapshot, Old) -> Result<Option<New>, Error> + Send + Sync + 'static,
    ) -> Self {
        const { assert!(Old::DEF.id == New::DEF.id, "a migration keeps the table's number") };
        let stage = move |view: &Snapshot, value: &[u8], writer: &mut dyn Writer| {
            let old = row::decode::<Old>(Old::DEF.name, value, view.reader())?;
            let Some(new) = convert(view, old)? else { return Ok(()) };
            let mut key = space::head(New::DEF.id, space::STAGE);
            new.put_key(&mut key);
            let (value, larges) = row::encode(New::DEF.name, &new)?.into_value(writer)?;
            writer.put(&key, &value, &larges, crate::engine::Old::Known(None))
        };
        let place = |value: &[u8], tx: &mut WriteTx<'_>| {
            let row: New = row::decode(New::DEF.name, value, tx.reader())?;
            tx.put(&row)
        };
        Self { old: Old::DEF, new: Some(New::DEF), stage: Box::new(stage), place: Box::new(place) }
    }

    /// Gives up a table with all its rows. Its number is not used again.
    #[must_use]
    pub fn drop<Gone: Table>() -> Self {
        Self {
            old: Gone::DEF,
            new: None,
            stage: Box::new(|_, _, _| Ok(())),
            place: Box::new(|_, _| Ok(())),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Stage = 1,
    Clear = 2,
    Place = 3,
    Done = 4,
}

/// How far a migration is: its phase, a checksum of the table it began with, and the first key that
/// it has not dealt with.
struct Progress {
    phase: Phase,
    from: u32,
    next: Vec<u8>,
}

impl Progress {
    fn begin(old: &TableDef) -> Self {
        let next = space::head(old.id, space::ROWS);
        Self { phase: Phase::Stage, from: fingerprint(old), next }
    }

    fn to_bytes(&self) -> Vec<u8> {
        [&[0, self.phase as u8], self.from.to_le_bytes().as_slice(), &self.next].concat()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let [0, phase, rest @ ..] = bytes else { return None };
        let (from, next) = rest.split_first_chunk()?;
        let phase = [Phase::Stage, Phase::Clear, Phase::Place, Phase::Done]
            .into_iter()
            .find(|known| *known as u8 == *phase)?;
        Some(Self { phase, from: u32::from_le_bytes(*from), next: next.to_vec() })
    }
}

fn fingerprint(table: &TableDef) -> u32 {
    crc::of(table_text(table).as_bytes())
}

/// Runs a migration up to where the schema has to be noted.
pub(crate) fn run(engine: &Arc<dyn Engine>, migration: &Migration) -> Result<(), Error> {
    let table = migration.old.id;
    let found = progress_of(engine, table)?;
    // Only staged: another program may stage something else. Of another table: it was noted, and
    // not forgotten any more.
    let goes_on = |progress: &Progress| {
        progress.phase != Phase::Stage && progress.from == fingerprint(&migration.old)
    };
    let mut progress = match found.filter(goes_on) {
        Some(progress) => progress,
        None => {
            forget(engine, table)?;
            Progress::begin(&migration.old)
        }
    };
    while progress.phase != Phase::Done {
        progress = match step(engine, migration, &progress) {
            Err(error) if progress.phase == Phase::Stage => {
                // If this fails as well, the next open does it.
                drop(forget(engine, table));
                return Err(error);
            }
            stepped => stepped?,
        };
    }
    Ok(())
}

fn progress_of(engine: &Arc<dyn Engine>, table: u16) -> Result<Option<Progress>, Error> {
    let malformed = Error::Internal { what: "the progress of a migration is malformed" };
    let found = engine.snapshot().get(&space::migration_key(table))?;
    found.map(|bytes| Progress::read(&bytes).ok_or(malformed)).transpose()
}

/// Forgets a migration that is done and noted, or that has only staged rows.
pub(crate) fn forget(engine: &Arc<dyn Engine>, table: u16) -> Result<(), Error> {
    if progress_of(engine, table)?.is_none() {
        return Ok(());
    }
    transact(engine, &mut |writer| {
        let low = space::head(table, space::STAGE);
        let high = space::prefix_end(&low).unwrap_or_else(|| vec![u8::MAX; space::HEAD_LEN]);
        writer.delete_range(&low, &high)?;
        writer.delete(&space::migration_key(table), Old::Known(None))
    })
}

/// Forgets all migrations, for none is needed. One that is halfway is another program's to finish.
pub(crate) fn forget_all(engine: &Arc<dyn Engine>) -> Result<(), Error> {
    let low = space::migration_key(0);
    let high = space::migration_key(u16::MAX);
    let snapshot = engine.snapshot();
    let mut walk = snapshot.scan(&low, Some(&high))?;
    let mut tables = Vec::new();
    while let Some((key, _)) = walk.next()? {
        tables.extend(key.last_chunk().map(|table| u16::from_be_bytes(*table)));
    }
    for table in tables {
        let progress = progress_of(engine, table)?;
        let is_halfway = |progress: Progress| matches!(progress.phase, Phase::Clear | Phase::Place);
        if progress.is_some_and(is_halfway) {
            let what = "is being changed by a newer program, which has to finish that";
            return Err(Error::Schema { differences: vec![format!("table {table} {what}")] });
        }
        forget(engine, table)?;
    }
    Ok(())
}

fn transact(
    engine: &Arc<dyn Engine>,
    body: &mut dyn FnMut(&mut dyn Writer) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut done = Ok(());
    let ticket = engine.write(Durability::Synced, &mut |writer| {
        done = body(writer);
        done.is_ok()
    })?;
    done?;
    ticket.map_or(Ok(()), crate::pending::Ticket::wait)
}

/// Does one transaction's worth.
fn step(
    engine: &Arc<dyn Engine>,
    migration: &Migration,
    progress: &Progress,
) -> Result<Progress, Error> {
    let mut next = None;
    transact(engine, &mut |writer| {
        let stepped = step_within(writer, migration, progress)?;
        let key = space::migration_key(migration.old.id);
        writer.put(&key, &stepped.to_bytes(), &[], Old::Known(None))?;
        next = Some(stepped);
        Ok(())
    })?;
    next.ok_or(Error::Internal { what: "a migration made no step" })
}

fn step_within(
    writer: &mut dyn Writer,
    migration: &Migration,
    progress: &Progress,
) -> Result<Progress, Error> {
    let table = migration.old.id;
    // The newest rows and no older ones: what they point to may be moved by the database at any
    // time.
    let view = Snapshot::new(writer.share());
    let (phase, next) = match progress.phase {
        Phase::Stage => {
            let (after, rows) = next_rows(&view, &progress.next, table, space::ROWS)?;
            if migration.new.is_some() {
                rows.iter().try_for_each(|(_, value)| (migration.stage)(&view, value, writer))?;
            }
            after.map_or((Phase::Clear, Vec::new()), |next| (Phase::Stage, next))
        }
        Phase::Clear => {
            // Rows and every index; a counter of ids goes on if the table does.
            let low = space::head(table, space::ROWS);
            let high = match &migration.new {
                Some(_) => Some(space::head(table, space::STAGE)),
                None => space::prefix_end(&table.to_be_bytes()),
            };
            let high = high.unwrap_or_else(|| vec![u8::MAX; space::HEAD_LEN]);
            writer.delete_range(&low, &high)?;
            (Phase::Place, space::head(table, space::STAGE))
        }
        Phase::Place | Phase::Done => {
            let (after, rows) = next_rows(&view, &progress.next, table, space::STAGE)?;
            for (key, value) in &rows {
                (migration.place)(value, &mut WriteTx::new(writer))?;
                writer.delete(key, Old::Known(Some(value)))?;
            }
            after.map_or((Phase::Done, Vec::new()), |next| (Phase::Place, next))
        }
    };
    Ok(Progress { phase, from: progress.from, next })
}

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// Rows from a key on, and where the rest begins; `None`: there is no rest.
fn next_rows(
    view: &Snapshot,
    from: &[u8],
    table: u16,
    space: u8,
) -> Result<(Option<Vec<u8>>, Rows), Error> {
    let end = space::prefix_end(&space::head(table, space));
    let mut walk = view.reader().scan(from, end.as_deref())?;
    let (mut rows, mut bytes) = (Rows::new(), 0);
    while let Some((key, value)) = walk.next()? {
        if rows.len() == ROWS_AT_ONCE || bytes >= BYTES_AT_ONCE {
            return Ok((Some(key.to_vec()), rows));
        }
        bytes += key.len() + value.len();
        rows.push((key.to_vec(), value.to_vec()));
    }
    Ok((None, rows))
}
