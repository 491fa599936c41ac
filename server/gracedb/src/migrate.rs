//! Tables that change: written migrations, run when a database with the older tables is opened.
//!
//! ```text
//!   1 stage   each old row is turned into a new one, which stands apart
//!   2 clear   old rows and index entries go, as ranges
//!   3 place   each new row is put in its place, with its index entries
//!   4 done    the stored schema is the new one
//! ```
//! Each step of many rows is cut into transactions that also note how far it is, so that a crash
//! goes on where it stopped. Nobody sees the database meanwhile.
//! Invariants: a table is changed only by a migration from exactly the definition that is stored; a
//! migration that fails leaves the database to the older program until step 2, and can be run
//! again.
//! Not here: comparing schemas (`schema`).

use std::sync::Arc;

use crate::engine::{Durability, Engine, Old, Writer};
use crate::error::Error;
use crate::row;
use crate::schema::TableDef;
use crate::space;
use crate::table::Table;
use crate::view::{Snapshot, View};
use crate::write::WriteTx;

/// Rows changed in one transaction.
const ROWS_AT_ONCE: usize = 512;

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

/// How far a migration is: its phase, and the first key that it has not dealt with.
struct Progress {
    phase: Phase,
    next: Vec<u8>,
}

impl Progress {
    fn to_bytes(&self) -> Vec<u8> {
        [&[0, self.phase as u8], self.next.as_slice()].concat()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let [0, phase, next @ ..] = bytes else { return None };
        let phase = [Phase::Stage, Phase::Clear, Phase::Place, Phase::Done]
            .into_iter()
            .find(|known| *known as u8 == *phase)?;
        Some(Self { phase, next: next.to_vec() })
    }
}

/// Runs a migration up to where the schema has to be noted.
pub(crate) fn run(engine: &Arc<dyn Engine>, migration: &Migration) -> Result<(), Error> {
    let table = migration.old.id;
    let found = engine.snapshot().get(&space::migration_key(table))?;
    let begin = || Progress { phase: Phase::Stage, next: space::head(table, space::ROWS) };
    let mut progress = match found {
        Some(bytes) => Progress::read(&bytes)
            .ok_or(Error::Internal { what: "the progress of a migration is malformed" })?,
        None => begin(),
    };
    while progress.phase != Phase::Done {
        progress = step(engine, migration, &progress)?;
    }
    Ok(())
}

/// Forgets a migration that is done and noted.
pub(crate) fn forget(engine: &Arc<dyn Engine>, table: u16) -> Result<(), Error> {
    transact(engine, &mut |writer| writer.delete(&space::migration_key(table), Old::Known(None)))
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
    let table = migration.old.id;
    let view = Snapshot::new(engine.snapshot());
    let (after, rows) = match progress.phase {
        Phase::Stage => next_rows(&view, &progress.next, table, space::ROWS)?,
        Phase::Place => next_rows(&view, &progress.next, table, space::STAGE)?,
        Phase::Clear | Phase::Done => (None, Vec::new()),
    };
    let next = match (progress.phase, after) {
        (Phase::Stage, Some(next)) => Progress { phase: Phase::Stage, next },
        (Phase::Stage, None) => Progress { phase: Phase::Clear, next: Vec::new() },
        (Phase::Clear, _) => {
            Progress { phase: Phase::Place, next: space::head(table, space::STAGE) }
        }
        (Phase::Place, Some(next)) => Progress { phase: Phase::Place, next },
        (Phase::Place | Phase::Done, _) => Progress { phase: Phase::Done, next: Vec::new() },
    };
    transact(engine, &mut |writer| {
        match progress.phase {
            Phase::Stage if migration.new.is_some() => {
                rows.iter().try_for_each(|(_, value)| (migration.stage)(&view, value, writer))?;
            }
            Phase::Clear => {
                // Rows and every index; a counter of ids goes on.
                let (low, high) =
                    (space::head(table, space::ROWS), space::head(table, space::STAGE));
                writer.delete_range(&low, &high)?;
            }
            Phase::Place => {
                for (key, value) in &rows {
                    (migration.place)(value, &mut WriteTx::new(writer))?;
                    writer.delete(key, Old::Known(Some(value)))?;
                }
            }
            Phase::Stage | Phase::Done => {}
        }
        let key = space::migration_key(table);
        writer.put(&key, &next.to_bytes(), &[], Old::Known(None))
    })?;
    Ok(next)
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
    let mut rows = Rows::new();
    while let Some((key, value)) = walk.next()? {
        if rows.len() == ROWS_AT_ONCE {
            return Ok((Some(key.to_vec()), rows));
        }
        rows.push((key.to_vec(), value.to_vec()));
    }
    Ok((None, rows))
}
