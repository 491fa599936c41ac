//! Opening after a kill: the one process fills until it is killed, the next one opens and looks.
//!
//! ```text
//!   fill:   open, settle, letters by 8 writers ─ so many bytes ─▶ says so, goes on ─▶ SIGKILL
//!   reopen: open ─▶ the first row ─▶ is every acknowledged letter there, and whole?
//! ```
//! The fill stops short of the bytes at which GraceDb would write its rows to disk, so that the
//! most is left to be replayed. Invariant: what is acknowledged is noted in a file before more is
//! made.
//! Not here: who kills, and who empties the page cache (`plan`).

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::commits::{Front, change, handles};
use crate::data::{self, BODY_BYTES};
use crate::job::{Figures, Order, What, figures, float};
use crate::process;

const WRITERS: usize = 8;
/// Whoever was not killed by then ends by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// The file beside an engine's folder that holds the numbers of acknowledged letters.
fn noted(dir: &Path) -> PathBuf {
    dir.with_extension("acknowledged")
}

/// Takes letters in until it is killed; says on standard output when there are enough.
pub(crate) fn fill(order: &Order) -> Outcome<Figures> {
    let grouped = order.engine.is_peer();
    let engine = order.open(handles(WRITERS, grouped), 0)?;
    engine.settle()?;
    let file = File::create(noted(&order.dir))?;
    let front = Front::new(&*engine, grouped);
    let (next, done) = (AtomicU64::new(order.first), AtomicU64::new(0));
    let wanted = order.unflushed_bytes / BODY_BYTES as u64;
    let start = Instant::now();
    let write = |writer: usize| -> Outcome<()> {
        while start.elapsed() < PATIENCE {
            let id = next.fetch_add(1, Ordering::Relaxed);
            front.commit(writer, change(What::Letter, id))?;
            // Eight bytes at the end of a file are one write, whole or not at all.
            (&file).write_all(&id.to_le_bytes())?;
            if done.fetch_add(1, Ordering::Relaxed) + 1 == wanted {
                println!("{{}}");
                std::io::stdout().flush()?;
            }
        }
        Ok(())
    };
    let write = &write;
    thread::scope(|scope| -> Outcome<()> {
        let threads: Vec<_> =
            (0..WRITERS).map(|writer| scope.spawn(move || write(writer))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a writer panicked")?)
    })?;
    Err("nobody killed it".into())
}

pub(crate) fn run(order: &Order) -> Outcome<Figures> {
    let start = Instant::now();
    let engine = order.open(1, 0)?;
    let open_ms = start.elapsed().as_secs_f64() * 1e3;
    let mut reader = engine.reader()?;
    let first = reader.row(data::account(0), 0, &mut |bytes| drop(data::touch(bytes)))?;
    let ready_ms = start.elapsed().as_secs_f64() * 1e3;
    if !first {
        return Err("the first row is gone".into());
    }
    let noted = fs::read(noted(&order.dir))?;
    let (acknowledged, _) = noted.as_chunks::<8>();
    let mut lost = 0;
    for id in acknowledged {
        let id = u64::from_le_bytes(*id);
        let mut is_whole = false;
        let found = reader.body(id, &mut |bytes| is_whole = bytes == data::body(id))?;
        lost += u64::from(!found || !is_whole);
    }
    drop(reader);
    Ok(figures([
        ("open_ms", open_ms),
        ("ready_ms", ready_ms),
        ("acknowledged", float(acknowledged.len() as u64)),
        ("lost", float(lost)),
        ("peak_kib", float(process::peak_kib())),
    ]))
}
