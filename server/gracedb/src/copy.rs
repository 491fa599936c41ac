//! Copies of a whole database in another folder: backups, and restored ones.
//!
//! ```text
//!   runs, segments up to their end ─▶ copied as they are, unless they are there already
//!   rows in memory, and the mark   ─▶ a run
//!   meta file                      ─▶ written last: from then on the copy is the new one
//! ```
//! A copy is a database like any other: it is opened, checked and restored from as such. Copying
//! into an earlier backup adds what is new and takes away what is gone.
//! Invariants: whenever the power goes, the folder holds the earlier copy or the new one, whole;
//! nothing but an earlier backup of the same database is ever written over. A backup that was cut
//! short is begun again where it ended; of a restored database that was, nothing is left.
//! Not here: whether what was copied is sound (`verify`).

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::closed::Closed;
use crate::disk::{Disk, DiskFile};
use crate::error::Error;
use crate::files::{self, Files};
use crate::format::{DRAFT, FILE_HEADER_LEN, FileKind, Place};
use crate::frame::Frame;
use crate::index::run::RunInfo;
use crate::index::writer::Writer;
use crate::local::Local;
use crate::manifest::{Edit, Flushed, Manifest, When};
use crate::mark;
use crate::mem::Mem;
use crate::meta::{self, Meta};
use crate::options::Options;
use crate::progress::{Count, Watcher};
use crate::scan::FIRST;
use crate::state::State;
use crate::tree::Cursor;

/// The file that says that a folder is a backup.
pub(crate) const NOTE: &str = "backup";
/// Bytes of a block of the run that rows in memory become.
const BLOCK_BYTES: usize = 4 << 10;
/// How far numbers of a backup's own files are from those of the original: no database writes so
/// many runs, or segments, between two backups.
const GAP: u64 = 1 << 20;
/// Of a random number, so many bits are left out of how much further: 36 bits are left.
const RUN_CHANCE_SHIFT: u32 = 28;
/// Bytes copied at once.
const COPY_BYTES: usize = 1 << 20;

/// A moment of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The newest there is.
    Newest,
    /// Right after the transaction with this number.
    Transaction(u64),
    /// After the last transaction made up to a time.
    Time {
        /// Milliseconds since 1970 UTC.
        ms: u64,
    },
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => f.write_str("the newest transaction"),
            Self::Transaction(number) => write!(f, "transaction {number}"),
            Self::Time { ms } => write!(f, "{} s since 1970 UTC", ms / 1000),
        }
    }
}

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// The newest transaction in the copy.
    pub sequence: u64,
    /// When that was made, in milliseconds since 1970 UTC.
    pub time_ms: u64,
    /// Files of the copy, and their bytes.
    pub files: u64,
    /// See [`Copied::files`].
    pub bytes: u64,
    /// Those of them that were not there already.
    pub new_files: u64,
    /// See [`Copied::new_files`].
    pub new_bytes: u64,
}

/// Backs an open database up while it goes on.
pub(crate) fn backup(
    local: &Local,
    to: &Arc<dyn Disk>,
    watcher: &mut Watcher<'_>,
) -> Result<Copied, Error> {
    local.commits.settle()?;
    let frame = local.frame();
    let pace = |bytes| local.pace.spend(bytes);
    Copier::new(&frame, to, Target::Backup, local.next_run()).run(watcher, &pace)
}

/// Copies an open database as it was at a moment into an empty folder.
pub(crate) fn restore(
    local: &Local,
    moment: Moment,
    to: &Arc<dyn Disk>,
    watcher: &mut Watcher<'_>,
) -> Result<Copied, Error> {
    local.commits.settle()?;
    // Held until the end: the files of earlier moments stay, too.
    let now = local.frame();
    let newest = now.view.state.sequence;
    let earlier = match moment {
        Moment::Newest => None,
        moment => Some(Frame::earlier(&now.reading, &now.manifest, moment, newest)?),
    };
    let pace = |bytes| local.pace.spend(bytes);
    let frame = earlier.as_ref().unwrap_or(&now);
    Copier::new(frame, to, Target::Database, local.next_run()).run(watcher, &pace)
}

/// Backs up a database that is not open.
pub fn backup_closed(
    from: &Options,
    to: &Arc<dyn Disk>,
    mut watcher: Watcher<'_>,
) -> Result<Copied, Error> {
    let closed = Closed::open(from)?;
    let frame = closed.frame(Moment::Newest)?;
    let number = closed.manifest.last_run() + 1;
    Copier::new(&frame, to, Target::Backup, number).run(&mut watcher, &|_| true)
}

/// Copies a database that is not open, or a backup, as it was at a moment into an empty folder.
pub fn restore_closed(
    from: &Options,
    moment: Moment,
    to: &Arc<dyn Disk>,
    mut watcher: Watcher<'_>,
) -> Result<Copied, Error> {
    let closed = Closed::open(from)?;
    let frame = closed.frame(moment)?;
    let number = closed.manifest.last_run() + 1;
    Copier::new(&frame, to, Target::Database, number).run(&mut watcher, &|_| true)
}

/// What the folder is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Backup,
    Database,
}

struct Copier<'a> {
    frame: &'a Frame,
    to: &'a Arc<dyn Disk>,
    target: Target,
    /// Number of the run that the rows in memory become, or where such numbers begin.
    run: u64,
    /// Names that are there.
    there: BTreeSet<String>,
    copied: Copied,
}

impl<'a> Copier<'a> {
    fn new(frame: &'a Frame, to: &'a Arc<dyn Disk>, target: Target, run: u64) -> Self {
        let (sequence, time_ms) = (frame.view.state.sequence, frame.time_ms);
        let copied = Copied { sequence, time_ms, ..Copied::default() };
        Self { frame, to, target, run, there: BTreeSet::new(), copied }
    }

    fn run(
        mut self,
        watcher: &mut Watcher<'_>,
        pace: &dyn Fn(u64) -> bool,
    ) -> Result<Copied, Error> {
        let label = self.to.label();
        let lock = self.to.lock().map_err(|error| Error::io("lock", &label, error))?;
        let _lock = lock.ok_or_else(|| Error::Locked { dir: label.clone() })?;
        let meta = self.look()?;
        let copied = self.copy(meta, watcher, pace);
        if copied.is_err() && self.target == Target::Database {
            self.undo();
        }
        copied
    }

    fn copy(
        &mut self,
        meta: u64,
        watcher: &mut Watcher<'_>,
        pace: &dyn Fn(u64) -> bool,
    ) -> Result<Copied, Error> {
        if self.target == Target::Backup {
            // First of all, so that what is there of it counts when it is begun again.
            self.note()?;
        }
        let files: Vec<(FileKind, u64, u64)> = {
            let runs = self.frame.view.state.base.version.runs();
            let runs = runs.map(|(_, run)| (FileKind::Index, run.info.number, run.info.len));
            let segments = self.frame.segments.iter();
            let segments = segments.map(|(number, end)| (FileKind::Journal, *number, *end));
            runs.chain(segments).collect()
        };
        let mut count = Count::new(watcher, files.iter().map(|(_, _, len)| len).sum());
        count.begin("copy")?;
        for (kind, number, len) in files {
            self.file(kind, number, len, &mut count, pace)?;
        }
        count.begin("finish")?;
        let files = self.files_there();
        let manifest = self.manifest(&files)?;
        self.sync_names()?;
        let known: BTreeSet<String> = self.names(&manifest, meta).collect();
        drop(Meta::create(files, manifest, meta)?);
        self.tidy(&known)?;
        Ok(self.copied)
    }

    /// Looks at what is there; says which number the meta file gets.
    fn look(&mut self) -> Result<u64, Error> {
        let label = self.to.label();
        let names = self.to.list().map_err(|error| Error::io("list", &label, error))?;
        let is_backup = names.iter().any(|name| name == NOTE);
        let ours = names.iter().any(|name| FileKind::parse(name).is_some());
        if ours && !(is_backup && self.target == Target::Backup) {
            return Err(Error::NotEmpty { dir: label });
        }
        let newest = meta::newest(&names);
        if let Some(number) = newest {
            let name = FileKind::Meta.name(number);
            let file = self.to.open(&name).map_err(|error| Error::io("open", &name, error))?;
            let header = files::read_header(file.as_ref(), FileKind::Meta, number)?;
            if header.database != self.frame.reading.files.database {
                return Err(Error::NotEmpty { dir: label });
            }
        }
        self.there = names.into_iter().collect();
        Ok(newest.unwrap_or(0) + 1)
    }

    /// Removes what was copied. What cannot be removed is in the way of whoever tries again, who is
    /// told.
    fn undo(&self) {
        for name in self.to.list().unwrap_or_default() {
            let whole = name.strip_suffix(DRAFT).unwrap_or(&name);
            if FileKind::parse(whole).is_some() && !self.there.contains(&name) {
                drop(self.to.remove(&name));
            }
        }
        drop(self.to.sync_dir());
    }

    /// The files of the copy, for who writes them: with the keys of the original.
    fn files_there(&self) -> Arc<Files> {
        let files = &self.frame.reading.files;
        Arc::new(Files::new(Arc::clone(self.to), self.frame.keys.clone(), files.database, 8))
    }

    /// Copies a file up to `len`, unless it is there.
    fn file(
        &mut self,
        kind: FileKind,
        number: u64,
        len: u64,
        count: &mut Count<'_, '_>,
        pace: &dyn Fn(u64) -> bool,
    ) -> Result<(), Error> {
        let name = kind.name(number);
        let open = self.frame.reading.files.get(kind, number)?;
        self.copied.files += 1;
        self.copied.bytes += len;
        if self.is_there(kind, &name, open.file.as_ref(), len)? {
            return count.add(len);
        }
        let draft = kind.draft(number);
        let failed = |doing| {
            let draft = draft.clone();
            move |error| Error::writing(doing, &draft, error)
        };
        if self.there.contains(&draft) {
            self.to.remove(&draft).map_err(failed("remove"))?;
        }
        let file = self.to.create(&draft).map_err(failed("create"))?;
        let mut buffer = vec![0; COPY_BYTES];
        let mut at = 0;
        while at < len {
            let step = usize::try_from(len - at).unwrap_or(COPY_BYTES).min(COPY_BYTES);
            let bytes = buffer.get_mut(..step).unwrap_or_default();
            let read = open.file.read_at(at, bytes);
            if read.map_err(|error| Error::io("read", &name, error))? != step {
                return Err(open.corrupt(at, "the file is shorter than it should be"));
            }
            if !pace(step as u64) {
                return Err(Error::Closed);
            }
            file.write_at(at, bytes).map_err(failed("write"))?;
            at += step as u64;
            count.add(step as u64)?;
        }
        file.sync().map_err(failed("sync"))?;
        // In place of an earlier one that was shorter, which the earlier copy can do with as well.
        self.to.rename(&draft, &name).map_err(failed("rename"))?;
        self.copied.new_files += 1;
        self.copied.new_bytes += len;
        Ok(())
    }

    /// Whether the copy has the file already: the same header says that it is the same file, and
    /// a file that has its name is whole.
    fn is_there(
        &self,
        kind: FileKind,
        name: &str,
        original: &dyn DiskFile,
        len: u64,
    ) -> Result<bool, Error> {
        if !self.there.contains(name) {
            return Ok(false);
        }
        let file = self.to.open(name).map_err(|error| Error::io("open", name, error))?;
        let found = file.len().map_err(|error| Error::io("measure", name, error))?;
        let is_long_enough = match kind {
            FileKind::Journal => found >= len,
            _ => found == len,
        };
        if !is_long_enough {
            return Ok(false);
        }
        // The header says that it is the same file, its end that it went on in the same way: an
        // original that was brought back to an earlier moment may have gone on in another.
        let header_len = FILE_HEADER_LEN as u64;
        for at in [0, len.saturating_sub(header_len)] {
            let (mut ours, mut theirs) = (vec![0; FILE_HEADER_LEN], vec![0; FILE_HEADER_LEN]);
            for (file, bytes) in [(file.as_ref(), &mut ours), (original, &mut theirs)] {
                let room = usize::try_from(len - at).unwrap_or(FILE_HEADER_LEN);
                bytes.truncate(room);
                let read = file.read_at(at, bytes).map_err(|e| Error::io("read", name, e))?;
                bytes.truncate(read);
            }
            if ours != theirs {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What the copy's meta file says.
    fn manifest(&mut self, files: &Files) -> Result<Manifest, Error> {
        let state = &self.frame.view.state;
        let mut edits = Vec::new();
        for (level, run) in state.base.version.runs() {
            edits.push(Edit::Run(level, run.info.clone()));
        }
        edits.push(Edit::Run(0, self.rows_in_memory(files)?));
        for (number, end) in &self.frame.segments {
            edits.push(Edit::Segment(*number, *end));
        }
        // The journal goes on in a segment that is not there yet.
        let next = self.frame.segments.keys().next_back().copied();
        let after = self.frame.manifest.flushed().place.segment;
        let mut segment = next.unwrap_or(0).max(after) + 1;
        if self.target == Target::Backup {
            // Nor in one that the original is yet to write: the next backup may be broken off when
            // that one is here already, and this copy must not take it for its own.
            segment += GAP;
        }
        let place = Place { segment, offset: FIRST };
        edits.push(Edit::Flushed(Flushed { sequence: state.sequence, place, life: 0 }));
        edits.push(Edit::Restorable(state.sequence));
        edits.extend(self.frame.manifest.schema.clone().map(Edit::Schema));
        let mut manifest = Manifest::default();
        let (edition, time_ms) = (self.frame.manifest.edition + 1, self.frame.time_ms);
        let applied = manifest.apply(When { edition, time_ms }, &edits);
        applied.map_err(|what| Error::Internal { what })?;
        Ok(manifest)
    }

    /// Writes the rows that are in memory as a run, and the mark of a copy with them.
    fn rows_in_memory(&mut self, files: &Files) -> Result<RunInfo, Error> {
        let state = &self.frame.view.state;
        let mut rows = in_memory(state);
        mark::put_in(&mut rows);
        let mut number = self.run;
        if self.target == Target::Backup {
            // The original knows nothing of this run and will give its number to another. The
            // next backup must not meet that one here, where the earlier copy needs this.
            number += GAP + (files.random()? >> RUN_CHANCE_SHIFT);
        }
        let mut writer = Writer::create(files, number, 0, BLOCK_BYTES)?;
        let mut cursor = Cursor::new(rows.tree.clone());
        cursor.seek(&[]);
        while cursor.is_valid() {
            writer.add(cursor.key(), cursor.value())?;
            cursor.next();
        }
        let info = writer.finish(&rows.ranges, state.sequence)?;
        self.copied.files += 1;
        self.copied.bytes += info.len;
        self.copied.new_files += 1;
        self.copied.new_bytes += info.len;
        Ok(info)
    }

    fn sync_names(&self) -> Result<(), Error> {
        let synced = self.to.sync_dir();
        synced.map_err(|error| Error::writing("sync the folder", &self.to.label(), error))
    }

    /// Says in words what the folder is.
    fn note(&self) -> Result<(), Error> {
        let failed = |doing| move |error| Error::writing(doing, NOTE, error);
        if self.there.contains(NOTE) {
            return Ok(());
        }
        let text = "This folder is a backup of a GraceDb database, as written by `gracectl db \
                    backup`. Backing up into it again adds what is new. To use it, restore it into \
                    another folder: `gracectl db restore`. Nothing in it changes by looking at \
                    it.\n";
        let file = self.to.create(NOTE).map_err(failed("create"))?;
        file.write_at(0, text.as_bytes()).map_err(failed("write"))?;
        file.sync().map_err(failed("sync"))?;
        self.sync_names()
    }

    /// The names of the copy's files.
    fn names<'b>(&'b self, manifest: &'b Manifest, meta: u64) -> impl Iterator<Item = String> + 'b {
        let runs = manifest.runs.keys().map(|number| FileKind::Index.name(*number));
        let segments = manifest.segments.keys().map(|number| FileKind::Journal.name(*number));
        let own = [FileKind::Meta, FileKind::Keys].map(|kind| kind.name(meta));
        runs.chain(segments).chain(own)
    }

    /// Removes what an earlier copy had and this one has not.
    fn tidy(&self, known: &BTreeSet<String>) -> Result<(), Error> {
        for name in &self.there {
            let ours = FileKind::parse(name).is_some() || name.ends_with(DRAFT);
            if ours && !known.contains(name) {
                let removed = self.to.remove(name);
                let gone = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
                if let Err(error) = removed
                    && !gone(&error)
                {
                    return Err(Error::writing("remove", name, error));
                }
            }
        }
        self.sync_names()
    }
}

/// The rows that are in memory only, as one layer.
fn in_memory(state: &State) -> Mem {
    let newer = state.base.frozen.iter().skip(1).map(|frozen| &frozen.mem).chain([&state.mem]);
    let Some(oldest) = state.base.frozen.first() else { return state.mem.clone() };
    let mut rows = oldest.mem.clone();
    for layer in newer {
        for range in layer.ranges.iter() {
            rows.delete_range(&range.low, &range.high);
        }
        let mut cursor = Cursor::new(layer.tree.clone());
        cursor.seek(&[]);
        while cursor.is_valid() {
            match cursor.value() {
                Some(value) => rows.put(cursor.key(), value),
                None => rows.delete(cursor.key()),
            }
            cursor.next();
        }
    }
    rows
}
