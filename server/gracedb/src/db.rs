//! A database: opening it, writing to it, looking at it.
//!
//! ```text
//!   write(closure): alone over the newest rows -> queued -> written -> synced -> its Pending
//!                                                                               resolves
//!   snapshot(): the acknowledged rows
//! ```
//! Invariants: transactions run one after the other, in the order of their numbers; a snapshot
//! shows nothing that a killed process could take back, and nothing that a power cut could unless
//! it was written as [`Durability::Buffered`].
//! Not here: what is behind it (`engine`, `local`).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::copy::{self, Copied, Moment};
use crate::disk::Disk;
use crate::engine::{Durability, Engine};
use crate::error::Error;
use crate::flush;
use crate::inventory::{self, Inventory};
use crate::key::PrefixFor;
use crate::large::LargeWriter;
use crate::local::Local;
use crate::mark;
use crate::migrate::{self, Migration};
use crate::options::Options;
use crate::pending::Pending;
use crate::progress::Watcher;
use crate::recover::{self, Opened};
use crate::schema::Schema;
use crate::seal::Key;
use crate::space;
use crate::table::{Counter, Index, Table};
use crate::upkeep::{self, Compacted};
use crate::verify::{self, Report};
use crate::view::{Snapshot, prefix_bounds};
use crate::watch::Watch;
use crate::workers::{self, Stepper};
use crate::write::WriteTx;

/// A handle of an open database. Cheap to clone; the last one dropped closes it.
#[derive(Clone)]
pub struct Db {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Arc<dyn Engine>,
    /// The same, if it is our own files.
    local: Option<Arc<Local>>,
    schema: Schema,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.engine.close();
    }
}

/// Figures of an open database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Number of the newest acknowledged transaction.
    pub sequence: u64,
    /// Transactions acknowledged since the database was opened.
    pub commits: u64,
    /// Groups of them that were synced.
    pub syncs: u64,
    /// Bytes of rows in memory.
    pub mem_bytes: u64,
    /// Index segments on each level, from level 0 on: how many, and their bytes.
    pub levels: Vec<(u64, u64)>,
    /// Values and tombstones in them, hidden ones counted, too.
    pub entries: u64,
    /// Journal segments that are complete.
    pub segments: u64,
    /// Bytes of all journal segments.
    pub journal_bytes: u64,
    /// Bytes of large values that rows point to.
    pub live_bytes: u64,
    /// Bytes of all files.
    pub disk_bytes: u64,
    /// Bytes of blocks in the cache.
    pub cache_bytes: u64,
    /// How often a block was found in the cache, and how often not.
    pub cache_hits: u64,
    /// See [`Stats::cache_hits`].
    pub cache_misses: u64,
    /// Row sets written to disk since the database was opened, and their bytes.
    pub flushes: u64,
    /// See [`Stats::flushes`].
    pub flushed_bytes: u64,
    /// Merges since then, and the bytes they wrote.
    pub compactions: u64,
    /// See [`Stats::compactions`].
    pub compacted_bytes: u64,
    /// Segments given back since then, and bytes moved for that.
    pub segments_cleaned: u64,
    /// See [`Stats::segments_cleaned`].
    pub moved_bytes: u64,
    /// Damage that was met while merging and cleaning, in words.
    pub damage: Vec<String>,
}

impl Stats {
    /// Bytes on disk for each byte that counts: of large values, and of rows as they stand in the
    /// runs.
    #[must_use]
    pub fn amplification(&self) -> f64 {
        let rows: u64 = self.levels.iter().map(|(_, bytes)| bytes).sum();
        let live = self.live_bytes + rows;
        if live == 0 { 1.0 } else { as_float(self.disk_bytes) / as_float(live) }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn as_float(bytes: u64) -> f64 {
    bytes as f64
}

impl Db {
    /// Opens the database, or creates it.
    pub fn open(options: Options, schema: Schema) -> Result<Self, Error> {
        Self::open_with(options, schema, &[])
    }

    /// Opens the database, or creates it; runs those of the migrations that lead from its tables to
    /// these.
    pub fn open_with(
        options: Options,
        schema: Schema,
        migrations: &[Migration],
    ) -> Result<Self, Error> {
        let (local, stored) = recover::open(options)?;
        let local = Arc::new(local);
        let db =
            Self::over(Arc::clone(&local) as Arc<dyn Engine>, Some(Arc::clone(&local)), schema);
        // From here on dropping it closes the files.
        workers::start(&local)?;
        db.adopt(&local, stored, migrations)?;
        Ok(db)
    }

    /// As [`Db::open_with`], but nothing is done in the background unless the caller says so: for
    /// simulations that are to run the same way every time.
    pub fn open_stepped(
        options: Options,
        schema: Schema,
        migrations: &[Migration],
    ) -> Result<(Self, Stepper), Error> {
        let (local, stored) = recover::open(options)?;
        let local = Arc::new(local);
        // Not ours to close: a stepper that is dropped is a crash.
        let engine = Arc::new(Unclosed(Arc::clone(&local)));
        let db = Self::over(engine, Some(Arc::clone(&local)), schema);
        db.adopt(&local, stored, migrations)?;
        Ok((db, Stepper::new(local)))
    }

    /// Typed tables over another store.
    #[must_use]
    pub fn with_engine(engine: Arc<dyn Engine>, schema: Schema) -> Self {
        Self::over(engine, None, schema)
    }

    fn over(engine: Arc<dyn Engine>, local: Option<Arc<Local>>, schema: Schema) -> Self {
        Self { inner: Arc::new(Inner { engine, local, schema }) }
    }

    /// Compares the tables of the program with those of the database, and migrates.
    fn adopt(
        &self,
        local: &Local,
        stored: Option<String>,
        migrations: &[Migration],
    ) -> Result<(), Error> {
        mark::of_backup(self.inner.engine.as_ref(), local.reading.files.disk.as_ref())?;
        let schema = &self.inner.schema;
        let mut stored = stored.unwrap_or_default();
        while let Some(migration) = schema.next_migration(&stored, migrations) {
            migrate::run(&self.inner.engine, migration)?;
            stored = Schema::migrated(&stored, migration);
            self.note_schema(local, &stored)?;
            migrate::forget(&self.inner.engine, migration.old.id)?;
        }
        if schema.check(&stored)? {
            self.note_schema(local, &schema.text())?;
        }
        migrate::forget_all(&self.inner.engine)
    }

    fn note_schema(&self, local: &Local, text: &str) -> Result<(), Error> {
        let time_ms = local.now_ms();
        local.meta().commit(time_ms, &[recover::schema_edit(text)])
    }

    /// What opening found.
    #[must_use]
    pub fn opened(&self) -> Opened {
        self.inner.local.as_ref().map_or_else(Opened::default, |local| local.opened.clone())
    }

    /// Whether the database came about as a copy of another one as that was at some moment:
    /// restored, as a backup that was opened, or repaired; and nobody has said
    /// [`Db::settle_copy`] since.
    ///
    /// The original may have gone on after that moment. Numbers that a program keeps in rows and
    /// gives to others would be given once more; now is the time to begin new ones.
    pub fn is_copy(&self) -> Result<bool, Error> {
        mark::is_set(self.inner.engine.as_ref())
    }

    /// Says that what [`Db::is_copy`] tells has been dealt with. Waits until that is on disk, and
    /// with it every transaction before.
    pub fn settle_copy(&self) -> Result<(), Error> {
        mark::clear(self.inner.engine.as_ref())
    }

    /// The tables.
    #[must_use]
    pub fn schema(&self) -> Schema {
        self.inner.schema
    }

    /// The acknowledged state as of now. Never waits for a writer.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.inner.engine.snapshot())
    }

    /// Runs a transaction, now and alone, over the newest state; what other transactions have done
    /// is there even if it is still on its way to the disk.
    ///
    /// An error of the closure means that nothing happened. Else the transaction is on its way, and
    /// the returned [`Pending`] says when it is on disk. The closure holds up every other writer:
    /// it does nothing but read and change rows.
    pub fn write<T, E: From<Error>>(
        &self,
        transaction: impl FnOnce(&mut WriteTx<'_>) -> Result<T, E>,
    ) -> Result<Pending<T>, E> {
        self.write_with(Durability::Synced, transaction)
    }

    /// As [`Db::write`], surviving what `durability` says.
    pub fn write_with<T, E: From<Error>>(
        &self,
        durability: Durability,
        transaction: impl FnOnce(&mut WriteTx<'_>) -> Result<T, E>,
    ) -> Result<Pending<T>, E> {
        let mut transaction = Some(transaction);
        let mut outcome = None;
        let ticket = self.inner.engine.write(durability, &mut |writer| {
            let Some(transaction) = transaction.take() else { return false };
            let made = transaction(&mut WriteTx::new(writer));
            let is_kept = made.is_ok();
            outcome = Some(made);
            is_kept
        })?;
        let value = outcome.unwrap_or(Err(Error::Closed.into()))?;
        match ticket {
            Some(ticket) => Ok(Pending::new(value, ticket)),
            None => Err(Error::Internal { what: "a transaction without a ticket" }.into()),
        }
    }

    /// Starts a large value.
    #[must_use]
    pub fn large_writer(&self) -> LargeWriter {
        LargeWriter::new(Arc::clone(&self.inner.engine))
    }

    /// Tells of changes of the rows whose keys start with these parts.
    #[must_use]
    pub fn watch<T: Table>(&self, prefix: &impl PrefixFor<T::Key>) -> Watch {
        let put = |bytes: &mut Vec<u8>| prefix.put_prefix(bytes);
        self.inner.engine.watch(&prefix_bounds(T::DEF.id, space::ROWS, put).0)
    }

    /// Tells of changes of any row of a table.
    #[must_use]
    pub fn watch_table<T: Table>(&self) -> Watch {
        self.inner.engine.watch(&space::head(T::DEF.id, space::ROWS))
    }

    /// Tells of changes of the rows whose keys in an index start with these parts: of those keys,
    /// and of rows that come or go.
    #[must_use]
    pub fn watch_index<I: Index>(&self, prefix: &impl PrefixFor<I::Key>) -> Watch {
        let put = |bytes: &mut Vec<u8>| prefix.put_prefix(bytes);
        self.inner.engine.watch(&prefix_bounds(I::Row::DEF.id, I::DEF.id, put).0)
    }

    /// Tells of changes of counters.
    #[must_use]
    pub fn watch_counts<C: Counter>(&self, prefix: &impl PrefixFor<C::Key>) -> Watch {
        let put = |bytes: &mut Vec<u8>| prefix.put_prefix(bytes);
        self.inner.engine.watch(&prefix_bounds(C::DEF.id, space::ROWS, put).0)
    }

    /// Why the database takes no more writes, if so.
    pub fn check(&self) -> Result<(), Error> {
        self.inner.engine.check()
    }

    /// Writes what is on its way, closes the files and waits for the threads. Handles left over
    /// answer [`Error::Closed`]; snapshots stay readable.
    pub fn close(&self) {
        self.inner.engine.close();
    }

    /// Checks every byte on disk and everything that belongs together, while the database goes on.
    /// `watcher` hears how far it is and may end it.
    pub fn verify(&self, mut watcher: Watcher<'_>) -> Result<Report, Error> {
        verify::open(self, &mut watcher)
    }

    /// Merges everything there is to merge and gives back all room that can be given back, while
    /// the database goes on. Files that are not encrypted with the newest key are written anew.
    pub fn compact(&self, mut watcher: Watcher<'_>) -> Result<Compacted, Error> {
        let local = self.local()?;
        let bytes_before = self.stats()?.disk_bytes;
        upkeep::compact(local, &mut watcher)?;
        Ok(Compacted { bytes_before, bytes_after: self.stats()?.disk_bytes })
    }

    /// Encrypts everything anew, with a new data key, while the database goes on. With `key`, that
    /// one and no other opens the database from now on: from before this returns, so the new one
    /// must be kept safe already.
    pub fn change_key(&self, key: Option<&Key>, mut watcher: Watcher<'_>) -> Result<(), Error> {
        upkeep::change_key(self.local()?, key, &mut watcher)
    }

    /// Copies all of it into a folder, while the database goes on: the newest transaction
    /// acknowledged by now, and everything before it. If the folder holds an earlier backup, only
    /// what is new is copied.
    pub fn backup(&self, to: &Arc<dyn Disk>, mut watcher: Watcher<'_>) -> Result<Copied, Error> {
        copy::backup(self.local()?, to, &mut watcher)
    }

    /// Copies the database as it was at a moment within [`Options::retention_s`] into an empty
    /// folder, while it goes on. The copy is opened like any database.
    pub fn restore_to(
        &self,
        moment: Moment,
        to: &Arc<dyn Disk>,
        mut watcher: Watcher<'_>,
    ) -> Result<Copied, Error> {
        copy::restore(self.local()?, moment, to, &mut watcher)
    }

    /// The store behind the tables.
    #[must_use]
    pub fn engine(&self) -> Arc<dyn Engine> {
        Arc::clone(&self.inner.engine)
    }

    /// Waits until background work has nothing to do: what is in memory is on disk, runs are
    /// merged, garbage is given back.
    pub fn settle(&self) -> Result<(), Error> {
        let local = self.local()?;
        flush::all(local)?;
        workers::finish_tidying(local)
    }

    pub(crate) fn local(&self) -> Result<&Arc<Local>, Error> {
        self.inner.local.as_ref().ok_or(Error::Settings { what: "this store is not one of files" })
    }

    /// What there is on disk, and what of it counts. Looks at every file's length.
    pub fn inventory(&self) -> Result<Inventory, Error> {
        inventory::open(self)
    }

    /// Figures as of now. Reads some rows of the engine's own.
    pub fn stats(&self) -> Result<Stats, Error> {
        self.inner.local.as_ref().map_or_else(|| Ok(Stats::default()), |local| stats(local))
    }
}

fn stats(local: &Local) -> Result<Stats, Error> {
    let view = local.view();
    let version = &view.state.base.version;
    let mut levels = vec![(0, 0); 1 + crate::version::LEVELS];
    let mut entries = 0;
    for (level, run) in version.runs() {
        if let Some((count, bytes)) = levels.get_mut(level) {
            *count += 1;
            *bytes += run.info.len;
        }
        entries += run.info.entries;
    }
    let live_bytes = crate::local::live_bytes(&view)?.iter().map(|(_, bytes)| bytes).sum();
    let frozen = view.state.base.frozen.iter().map(|frozen| frozen.mem.bytes());
    let mem_bytes = view.state.mem.bytes() + frozen.sum::<usize>();
    let (segments, kept_bytes) = {
        let meta = local.meta();
        let all = meta.manifest.segments.values();
        let lives = meta.manifest.segments.values().filter(|segment| segment.gone.is_none());
        (lives.count() as u64, all.map(|segment| segment.end).sum::<u64>())
    };
    let (commits, figures) = (&local.commits, &local.figures);
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let complete: u64 = crate::sync::locked(&commits.complete).values().sum();
    let journal_bytes = kept_bytes + complete + commits.queue().cursor().offset;
    let rows: u64 = levels.iter().map(|(_, bytes)| bytes).sum();
    let (cache_hits, cache_misses) = local.reading.cache.counts();
    Ok(Stats {
        sequence: view.state.sequence,
        commits: load(&commits.counters.commits),
        syncs: load(&commits.counters.syncs),
        mem_bytes: mem_bytes as u64,
        levels,
        entries,
        segments,
        journal_bytes,
        live_bytes,
        disk_bytes: journal_bytes + rows,
        cache_bytes: local.reading.cache.bytes() as u64,
        cache_hits,
        cache_misses,
        flushes: load(&figures.flushes),
        flushed_bytes: load(&figures.flushed_bytes),
        compactions: load(&figures.compactions),
        compacted_bytes: load(&figures.compacted_bytes),
        segments_cleaned: load(&figures.segments_cleaned),
        moved_bytes: load(&figures.moved_bytes),
        damage: local.damage().iter().map(ToString::to_string).collect(),
    })
}

/// A store whose last handle does not close it.
struct Unclosed(Arc<Local>);

impl Engine for Unclosed {
    fn snapshot(&self) -> Arc<dyn crate::engine::Reader> {
        self.0.snapshot()
    }
    fn write(
        &self,
        durability: Durability,
        body: &mut dyn FnMut(&mut dyn crate::engine::Writer) -> bool,
    ) -> Result<Option<crate::pending::Ticket>, Error> {
        Engine::write(self.0.as_ref(), durability, body)
    }
    fn part_bytes(&self) -> usize {
        self.0.part_bytes()
    }
    fn poll_room(
        &self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Error>> {
        self.0.poll_room(context)
    }
    fn put_part(&self, bytes: Vec<u8>) -> Result<(crate::large::Part, crate::large::Fresh), Error> {
        self.0.put_part(bytes)
    }
    fn watch(&self, prefix: &[u8]) -> Watch {
        Engine::watch(self.0.as_ref(), prefix)
    }
    fn check(&self) -> Result<(), Error> {
        Engine::check(self.0.as_ref())
    }
    fn close(&self) {}
}
