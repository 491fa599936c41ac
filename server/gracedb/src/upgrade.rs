//! Databases of format 1, which were a journal and nothing else.
//!
//! ```text
//!   note "upgrade" ─▶ rows of the old journal, written into new files beside it
//!                  ─▶ note removed: from now on the new files count ─▶ old ones removed
//! ```
//! The new journal goes on with the number after the old one's last, so no two files have one name.
//! Invariants: until the note is gone the old files are as they were, and what is new is begun
//! afresh; after that the new ones are whole and on disk.
//! Not here: reading the old journal ([`first`]); tables that change (`migrate`).

mod first;

use std::collections::HashMap;
use std::sync::Arc;

use crate::disk::{Disk, DiskLock};
use crate::engine::{Durability, Engine, Old, Writer};
use crate::error::Error;
use crate::format::{FileKind, Place};
use crate::large::{Fresh, Large, Part};
use crate::manifest::Manifest;
use crate::options::Options;
use crate::recover;
use crate::row;
use crate::scan::FIRST;
use crate::space;
use crate::workers::Stepper;

use first::{Extent, Old as OldJournal};

/// The file that says that what is new does not count yet.
const NOTE: &str = "upgrade";
/// Bytes of rows and large values written in one transaction.
const BATCH_BYTES: usize = 1 << 20;

/// Whether a folder holds a database of format 1, or one that is half rewritten.
pub(crate) fn is_needed(disk: &dyn Disk) -> Result<bool, Error> {
    let names = names(disk)?;
    if names.iter().any(|name| name == NOTE) {
        return Ok(true);
    }
    let has_meta = names.iter().any(|name| is_kind(name, FileKind::Meta));
    Ok(!has_meta && first::is_there(disk, &names)?)
}

/// Rewrites the database.
pub(crate) fn run(options: &Options) -> Result<(), Error> {
    let disk = options.disk.as_ref();
    let label = disk.label();
    let sync = || disk.sync_dir().map_err(|error| Error::io("sync the folder", &label, error));
    if !names(disk)?.iter().any(|name| name == NOTE) {
        disk.create(NOTE).map_err(|error| Error::io("create", NOTE, error))?;
    }
    sync()?;
    discard(disk)?;
    let old = OldJournal::read(disk)?;
    write(options, &old)?;
    disk.remove(NOTE).map_err(|error| Error::io("remove", NOTE, error))?;
    // The old files go when the database is opened next, which is now.
    sync()
}

fn names(disk: &dyn Disk) -> Result<Vec<String>, Error> {
    disk.list().map_err(|error| Error::io("list", &disk.label(), error))
}

fn is_kind(name: &str, wanted: FileKind) -> bool {
    FileKind::parse(name).is_some_and(|(kind, _)| kind == wanted)
}

/// Removes new files of an earlier attempt.
fn discard(disk: &dyn Disk) -> Result<(), Error> {
    for name in names(disk)? {
        let is_new = match FileKind::parse(&name) {
            Some((FileKind::Journal, _)) => !first::is_of_format(disk, &name)?,
            Some(_) => true,
            None => false,
        };
        if is_new {
            disk.remove(&name).map_err(|error| Error::io("remove", &name, error))?;
        }
    }
    Ok(())
}

/// The lock is held by who opens the database.
struct Held;

impl DiskLock for Held {}

/// Writes the new database and closes it.
fn write(options: &Options, old: &OldJournal) -> Result<(), Error> {
    let mut manifest = Manifest::empty((options.clock)());
    manifest.begin_at(Place { segment: old.segments() + 1, offset: FIRST });
    let local = recover::create(options.clone(), manifest, Box::new(Held))?;
    let local = Arc::new(local);
    if let Some(schema) = &old.schema {
        local.meta().commit(local.now_ms(), &[recover::schema_edit(schema)])?;
    }
    let stepper = Stepper::new(Arc::clone(&local));
    let mut copy = Copy { old, engine: local.as_ref(), moved: HashMap::new() };
    let mut rows = old.rows.iter().peekable();
    while rows.peek().is_some() {
        copy.batch(&mut rows)?;
        stepper.commit();
        while stepper.flush()? || stepper.compact()? {}
    }
    stepper.sync();
    stepper.freeze();
    while stepper.flush()? || stepper.compact()? {}
    local.check()?;
    stepper.finish();
    Ok(())
}

/// Copies rows and what they point to.
struct Copy<'a> {
    old: &'a OldJournal,
    engine: &'a dyn Engine,
    /// Where parts that several rows share stand now.
    moved: HashMap<(u64, u64), Part>,
}

impl Copy<'_> {
    fn batch<'b>(
        &mut self,
        rows: &mut dyn Iterator<Item = (&'b Vec<u8>, &'b Vec<u8>)>,
    ) -> Result<(), Error> {
        let mut done = Ok(());
        self.engine.write(Durability::Buffered, &mut |writer| {
            done = self.rows(rows, writer);
            done.is_ok()
        })?;
        done
    }

    fn rows<'b>(
        &mut self,
        rows: &mut dyn Iterator<Item = (&'b Vec<u8>, &'b Vec<u8>)>,
        writer: &mut dyn Writer,
    ) -> Result<(), Error> {
        let mut bytes = 0;
        while bytes < BATCH_BYTES
            && let Some((key, value)) = rows.next()
        {
            bytes += key.len() + value.len();
            if !space::is_row(key) {
                writer.put(key, value, &[], Old::Unknown)?;
                continue;
            }
            let (extents, fields) = first::take_larges(value).ok_or_else(|| Error::Corrupt {
                file: crate::format::segment_name(1),
                offset: 0,
                what: format!("the row with the key {key:02x?} is malformed"),
            })?;
            let mut larges = Vec::with_capacity(extents.len());
            for extents in extents {
                let (large, copied) = self.large(&extents, writer)?;
                larges.push(large);
                bytes += copied;
            }
            let encoded = row::Encoded { fields: fields.to_vec(), larges };
            let (value, larges) = encoded.into_value(writer)?;
            writer.put(key, &value, &larges, Old::Unknown)?;
        }
        Ok(())
    }

    fn large(
        &mut self,
        extents: &[Extent],
        writer: &mut dyn Writer,
    ) -> Result<(Large, usize), Error> {
        let (mut parts, mut fresh, mut copied) = (Vec::new(), None::<Fresh>, 0);
        for extent in extents {
            let place = (extent.segment, extent.offset);
            let part = match self.moved.get(&place) {
                Some(part) => *part,
                None => {
                    let bytes = self.old.chunk(extent)?;
                    copied += bytes.len();
                    let (part, guard) = writer.put_part(bytes)?;
                    fresh = Some(match fresh {
                        Some(other) => other.joined(guard),
                        None => guard,
                    });
                    self.moved.insert(place, part);
                    part
                }
            };
            parts.push(part);
        }
        let large = Large { fresh: fresh.map(Arc::new), ..Large::kept(parts) };
        Ok((large, copied))
    }
}
