//! The drive without an engine: synced appends into room that was written ahead.
//!
//! Each stream has a thread and a file, and begins again at its start when it is full.
//! Not here: anything that could be read back.

use std::fs::File;
use std::thread;
use std::time::Instant;

use crate::Outcome;
use crate::aligned::Aligned;
use crate::device::Device;
use crate::job::{Figures, Order, figures, float};
use crate::log::{self, Io};

/// Bytes of one stream's file.
const FILE_BYTES: u64 = 64 << 20;

/// How many a second one stream makes.
fn append(file: &File, seconds: f64, io: Io, bytes: usize) -> Outcome<f64> {
    let mut buffer = Aligned::zeros(bytes);
    buffer.first_mut(bytes).fill(0xA5);
    let (start, mut done, mut at) = (Instant::now(), 0u64, 0u64);
    loop {
        log::write(file, buffer.first(bytes), at, io)?;
        done += 1;
        at += bytes as u64;
        if at + bytes as u64 > FILE_BYTES {
            at = 0;
        }
        let elapsed = start.elapsed().as_secs_f64();
        if elapsed >= seconds {
            return Ok(float(done) / elapsed);
        }
    }
}

pub(crate) fn run(order: &Order, io: Io, bytes: usize, streams: usize) -> Outcome<Figures> {
    std::fs::create_dir_all(&order.dir)?;
    let path = |stream| order.dir.join(format!("stream-{stream}"));
    let files: Outcome<Vec<File>> =
        (0..streams).map(|stream| log::written_ahead(&path(stream), FILE_BYTES, io)).collect();
    let files = files?;
    let device = Device::of(&order.dir)?;
    let before = device.written();
    let appends_s = thread::scope(|scope| -> Outcome<f64> {
        let threads: Vec<_> = files
            .iter()
            .map(|file| scope.spawn(move || append(file, order.seconds, io, bytes)))
            .collect();
        let mut sum = 0.0;
        for thread in threads {
            sum += thread.join().map_err(|_| "a stream panicked")??;
        }
        Ok(sum)
    })?;
    let flushes = device.written().since(before).flushes;
    Ok(figures([("appends_s", appends_s), ("flushes", float(flushes))]))
}
