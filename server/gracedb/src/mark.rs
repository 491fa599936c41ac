//! The mark of a copy: what a program must know of a database that was brought back.
//!
//! ```text
//!   restored, a backup that is opened, repaired ─▶ marked ─▶ the program settles it ─▶ not marked
//! ```
//! What the original went on to do after the moment of the copy, the copy knows nothing of: numbers
//! that the program gave to others there will be given once more.
//! Invariant: the mark is on disk before anything that tells of the copy's kind is gone, and stays
//! until the program takes it away.
//! Not here: what the program has to do about it.

use crate::copy::NOTE;
use crate::disk::Disk;
use crate::engine::{Durability, Engine, Old, Writer};
use crate::error::Error;
use crate::mem::Mem;
use crate::pending::Ticket;
use crate::space;

/// Whether a database is marked.
pub(crate) fn is_set(engine: &dyn Engine) -> Result<bool, Error> {
    Ok(engine.snapshot().get(&space::copy_key())?.is_some())
}

/// Marks a database.
pub(crate) fn set(engine: &dyn Engine) -> Result<(), Error> {
    transact(engine, &mut |writer| writer.put(&space::copy_key(), &[], &[], Old::Unknown))
}

/// Takes the mark away.
pub(crate) fn clear(engine: &dyn Engine) -> Result<(), Error> {
    transact(engine, &mut |writer| writer.delete(&space::copy_key(), Old::Unknown))
}

/// Marks rows that a copy is made of.
pub(crate) fn put_in(rows: &mut Mem) {
    rows.put(&space::copy_key(), &[]);
}

/// A backup that is opened is a database from now on. Backups of earlier programs have no mark.
pub(crate) fn of_backup(engine: &dyn Engine, disk: &dyn Disk) -> Result<(), Error> {
    let names = disk.list().map_err(|error| Error::io("list", &disk.label(), error))?;
    if !names.iter().any(|name| name == NOTE) {
        return Ok(());
    }
    if !is_set(engine)? {
        set(engine)?;
    }
    drop(disk.remove(NOTE));
    Ok(())
}

fn transact(
    engine: &dyn Engine,
    body: &mut dyn FnMut(&mut dyn Writer) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut done = Ok(());
    let ticket = engine.write(Durability::Synced, &mut |writer| {
        done = body(writer);
        done.is_ok()
    })?;
    done?;
    ticket.map_or(Ok(()), Ticket::wait)
}
