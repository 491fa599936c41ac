//! Bytes on the drive for each byte of mail: letters come in, and their flags change.
//!
//! Every letter is one transaction; after each one, the flags of a letter that came before are
//! changed in another. At the end everything is waited for: merging, cleaning, dirty pages.
//! Not here: how quick it is (`commits`).

use std::thread;
use std::time::Instant;

use crate::Outcome;
use crate::commits::{Front, handles};
use crate::data::{self, BODY_BYTES, Change};
use crate::device::{self, Device};
use crate::job::{Figures, Order, figures, float};
use crate::process::{self, Watcher};

/// One writer's share of the letters: every `writers`-th from `first` on.
fn take_in(front: &Front<'_>, order: &Order, writer: u64, writers: u64) -> Outcome<()> {
    let (letters, first) = (order.set.letters, order.first + writer);
    let mut state = first;
    for turn in 0..letters / writers {
        let (message, body) = data::letter(first + turn * writers);
        front.commit(usize::try_from(writer)?, Change::Letter(message, body))?;
        // One of its own, so that no two transactions of a group change the same message.
        let chosen = data::chance(&mut state) % (turn + 1);
        let (mailbox, uid) = data::place(first + chosen * writers);
        // Higher than any before it, and given out once.
        let modseq = first + letters + turn * writers;
        front.commit(usize::try_from(writer)?, Change::Flags { mailbox, uid, modseq })?;
    }
    Ok(())
}

pub(crate) fn run(order: &Order, writers: usize, grouped: bool) -> Outcome<Figures> {
    let watcher = Watcher::start();
    let engine = order.open(handles(writers, grouped), 0)?;
    let device = Device::of(&order.dir)?;
    let (before, own) = (device.written(), process::written_bytes());
    let front = Front::new(&*engine, grouped);
    let (front, count) = (&front, writers as u64);
    let start = Instant::now();
    thread::scope(|scope| -> Outcome<()> {
        let threads: Vec<_> = (0..count)
            .map(|writer| scope.spawn(move || take_in(front, order, writer, count)))
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a writer panicked")?)
    })?;
    let seconds = start.elapsed().as_secs_f64();
    engine.settle()?;
    drop(engine);
    device::sync_files(&order.dir)?;
    let letters = order.set.letters / count * count;
    let mail_bytes = float(letters * BODY_BYTES as u64);
    let written = device.written().since(before);
    Ok(figures([
        ("device_bytes_per_byte", float(written.bytes) / mail_bytes),
        ("own_bytes_per_byte", float(process::written_bytes() - own) / mail_bytes),
        ("taken_bytes_per_byte", float(device::taken_bytes(&order.dir)) / mail_bytes),
        ("letters_s", float(letters) / seconds),
        ("peak_kib", float(process::peak_kib())),
        ("anon_kib", float(watcher.peak_kib())),
    ]))
}
