//! The process that writes until the power goes, and tells of every step on its standard output.
//!
//! ```text
//!   ready N          the database is open; N transactions are there
//!   + N L T K        transaction N begins: life L, thread T, turn K; told before it can be on disk
//!   = N              transactions up to N must survive from now on
//!   did F C S        flushes, merges and cleaned segments of this life
//!   ! words          something failed
//! ```
//! Invariants: what is told was true before it was told; it ends when its standard input does, so
//! it never outlives who started it.
//! Not here: what the transactions do (`workload`), whether failing was right (`rig`).

use std::io::{self, Write as _};
use std::path::Path;
use std::thread;

use gracedb::db::Db;
use gracedb::engine::Durability;
use gracedb::error::Error;
use gracedb::large::Large;
use gracedb::pending::block_on;

use super::end_with_input;
use super::workload::{Plan, SCHEMA, Step, options, tip};
use crate::seed::Seed;

/// Threads that write at once, at most.
const THREADS_MAX: u64 = 6;
/// Transactions of a thread between two looks at what background work was done.
const LOOK_EVERY: u64 = 32;

/// One line, in one piece.
fn say(line: &str) {
    // Nobody who hears it: whoever started this process is gone, and it will end.
    drop(io::stdout().write_all(format!("{line}\n").as_bytes()));
}

/// Writes until something fails, which is expected to be the disk.
///
/// # Errors
/// Always: what failed first.
pub fn run(folder: &Path, seed: u64, life: u64) -> Result<(), String> {
    end_with_input();
    std::panic::set_hook(Box::new(|panic| say(&format!("! panic: {panic}").replace('\n', " "))));
    let failed = |doing: &'static str| {
        move |error: Error| {
            say(&format!("! {doing}: {}", words(&error)));
            format!("{doing}: {error}")
        }
    };
    let db = Db::open(options(folder, seed), SCHEMA).map_err(failed("open"))?;
    let number = tip(&db.snapshot()).map_err(failed("read"))?.map_or(0, |tip| tip.number);
    say(&format!("ready {number}"));
    let threads = Seed::new(seed ^ life).between(1, THREADS_MAX);
    thread::scope(|scope| {
        for thread in 0..threads {
            let db = &db;
            scope.spawn(move || {
                let writer = Writer { db, seed, life, thread };
                if let Err(error) = (0..).try_for_each(|turn| writer.turn(turn)) {
                    say(&format!("! write: {}", words(&error)));
                }
            });
        }
    });
    Err("every thread has failed".to_owned())
}

/// An error with what is behind it.
pub(super) fn words(error: &Error) -> String {
    let mut words = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        words.push_str(": ");
        words.push_str(&error.to_string());
        source = error.source();
    }
    words
}

struct Writer<'a> {
    db: &'a Db,
    seed: u64,
    life: u64,
    thread: u64,
}

impl Writer<'_> {
    fn turn(&self, turn: u64) -> Result<(), Error> {
        let Self { db, seed, life, thread } = *self;
        let step = Step { life, thread, turn };
        let plan = Plan::of(seed, step);
        let bodies = plan.bodies().iter().map(|body| self.large(body)).collect::<Result<_, _>>()?;
        let durability = if plan.is_synced { Durability::Synced } else { Durability::Buffered };
        let pending = db.write_with(durability, |tx| {
            let number = tip(tx)?.map_or(0, |tip| tip.number) + 1;
            say(&format!("+ {number} {life} {thread} {turn}"));
            plan.make(tx, number, bodies)?;
            Ok::<_, Error>(number)
        })?;
        // Some lead the writing, some are told.
        let number = if thread.is_multiple_of(2) { pending.wait() } else { block_on(pending) }?;
        if plan.is_synced {
            say(&format!("= {number}"));
        }
        if turn.is_multiple_of(7) {
            self.orphan()?;
        }
        if turn % LOOK_EVERY == LOOK_EVERY - 1 {
            self.look()?;
        }
        Ok(())
    }

    fn large(&self, body: &[u8]) -> Result<Large, Error> {
        block_on(async {
            let mut writer = self.db.large_writer();
            writer.write(body).await?;
            writer.finish().await
        })
    }

    /// Begins a large value that nothing will point to, as who hangs up does.
    fn orphan(&self) -> Result<(), Error> {
        let mut writer = self.db.large_writer();
        block_on(writer.write(&[7; 5_000]))
    }

    /// What anybody can see and was to be synced is synced.
    fn look(&self) -> Result<(), Error> {
        if let Some(tip) = tip(&self.db.snapshot())?
            && tip.is_synced
        {
            say(&format!("= {}", tip.number));
        }
        let stats = self.db.stats()?;
        let (flushes, merges) = (stats.flushes, stats.compactions);
        say(&format!("did {flushes} {merges} {}", stats.segments_cleaned));
        Ok(())
    }
}
