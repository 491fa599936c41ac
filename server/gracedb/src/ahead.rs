//! Room ahead of the journal's end, made while nobody waits.
//!
//! A synced write into bytes that were written before touches no metadata of the file system. So
//! zeros go ahead of the records, and the next segment is there before it is needed. Where commits
//! are large, room is only reserved: then the wait is short against the write, and no byte is
//! written twice.
//! ```text
//!   │ … records … │ ready            │ being filled │
//!               written            ready           busy
//! ```
//! Invariants: nothing is ever filled that a record was written to, or is about to be; all of this
//! may fail or be late without harm.
//! Not here: the records (`journal`).

use std::sync::Arc;

use crate::disk::{Buffer, DiskFile, JournalIo};
use crate::files::Files;
use crate::journal::Segment;
use crate::options::Ahead;
use crate::scan::FIRST;
use crate::sync::{Condvar, Mutex, locked};

/// Groups of at least so many bytes do without zeros: a reserved block costs one more wait for the
/// file system's journal, which is then a small part of the whole.
const LARGE_GROUP_BYTES: u64 = 24 << 10;
/// The least room made at once, which grows while it is used up.
const STEP_BYTES_MIN: u64 = 256 << 10;
/// Zeros of one write.
const ZEROS_BYTES: usize = 256 << 10;

/// The room, shared by the one who writes the journal and the one who makes room.
pub(crate) struct Room {
    state: Mutex<State>,
    filled: Condvar,
    how: Ahead,
    segment_bytes: u64,
    step_bytes_max: u64,
}

#[derive(Default)]
struct State {
    segment: u64,
    file: Option<Arc<dyn DiskFile>>,
    written: u64,
    ready: u64,
    /// Up to where it is being filled right now, from `ready` on.
    busy: Option<u64>,
    step: u64,
    /// Bytes of a group, as a mean in which the last sixteen weigh most.
    mean: u64,
    spare: Option<Segment>,
    making_spare: bool,
    /// A segment that nobody needs any more, to be made the next one.
    offered: Option<u64>,
    /// Complete segments whose room is to be given back.
    retired: Vec<(Arc<dyn DiskFile>, u64)>,
    /// It failed; nothing is tried again in this segment.
    failed: bool,
    stopped: bool,
}

/// Something to be done.
enum Work {
    Trim(Arc<dyn DiskFile>, u64),
    Fill(Arc<dyn DiskFile>, u64, u64),
    Spare(u64, Option<u64>),
}

impl Room {
    pub(crate) fn new(how: Ahead, segment_bytes: u64, step_bytes_max: u64) -> Self {
        let state = State { step: STEP_BYTES_MIN.min(step_bytes_max), ..State::default() };
        let state = Mutex::new(state);
        Self { state, filled: Condvar::new(), how, segment_bytes, step_bytes_max }
    }

    /// The journal goes on in this segment, whose records end at `end`.
    /// Up to `ready` it was written before.
    pub(crate) fn begin(&self, segment: u64, file: Arc<dyn DiskFile>, end: u64, ready: u64) {
        let mut state = self.settled();
        state.segment = segment;
        state.file = Some(file);
        (state.written, state.ready, state.failed) = (end, ready.max(end), false);
    }

    /// Offers a segment that nobody needs any more; false: it is not taken.
    pub(crate) fn offer(&self, number: u64) -> bool {
        let mut state = locked(&self.state);
        let is_welcome = matches!(self.how, Ahead::Auto | Ahead::Zeros)
            && !state.stopped
            && state.spare.is_none()
            && state.offered.is_none();
        if is_welcome {
            state.offered = Some(number);
        }
        is_welcome
    }

    /// The state, with nothing being filled.
    fn settled(&self) -> crate::sync::MutexGuard<'_, State> {
        let mut state = locked(&self.state);
        while state.busy.is_some() {
            state = self.filled.wait(state).unwrap_or_else(crate::sync::PoisonError::into_inner);
        }
        state
    }

    /// Records are about to be written up to `end`; nothing before it is filled from now on.
    pub(crate) fn claim(&self, end: u64) {
        let mut state = locked(&self.state);
        // Waits only for a fill that begins before `end`.
        while state.busy.is_some() && state.ready < end {
            state = self.filled.wait(state).unwrap_or_else(crate::sync::PoisonError::into_inner);
        }
        state.ready = state.ready.max(end);
    }

    /// Records were written up to `end`.
    pub(crate) fn written(&self, end: u64) {
        let mut state = locked(&self.state);
        let bytes = end.saturating_sub(state.written);
        state.mean = (state.mean * 15 + bytes) / 16;
        state.written = end;
    }

    /// Whether there is something to do.
    pub(crate) fn is_wanted(&self) -> bool {
        self.pick(&mut locked(&self.state), true).is_some()
    }

    /// The journal is about to go on in this segment: gives it if it was made ahead.
    pub(crate) fn take_spare(&self, number: u64) -> Option<Segment> {
        let mut state = locked(&self.state);
        while state.making_spare {
            state = self.filled.wait(state).unwrap_or_else(crate::sync::PoisonError::into_inner);
        }
        // From here on this one is not made ahead any more.
        (state.segment, state.file) = (number, None);
        state.spare.take().filter(|spare| spare.header.number == number)
    }

    /// A segment is complete at `end`; the room after it is given back.
    pub(crate) fn retire(&self, file: Arc<dyn DiskFile>, end: u64) {
        locked(&self.state).retired.push((file, end));
    }

    /// Makes no more room; gives back the segment that was offered and not used.
    pub(crate) fn stop(&self) -> Option<u64> {
        let mut state = self.settled();
        state.stopped = true;
        state.file = None;
        state.offered.take()
    }

    fn pick(&self, state: &mut State, only_looking: bool) -> Option<Work> {
        if state.stopped {
            return None;
        }
        if let Some((file, end)) = state.retired.last() {
            let work = Work::Trim(Arc::clone(file), *end);
            if !only_looking {
                state.retired.pop();
            }
            return Some(work);
        }
        if state.failed || self.how == Ahead::Nothing {
            return None;
        }
        let left = state.ready.saturating_sub(state.written);
        let goal = (state.ready + state.step).min(self.segment_bytes);
        if let Some(file) = &state.file
            && left < state.step / 2
            && goal > state.ready
        {
            return Some(Work::Fill(Arc::clone(file), state.ready, goal));
        }
        let wants_spare =
            state.spare.is_none() && state.file.is_some() && state.written > self.segment_bytes / 2;
        if !wants_spare {
            return None;
        }
        let offered = if only_looking { state.offered } else { state.offered.take() };
        Some(Work::Spare(state.segment + 1, offered))
    }

    /// Does one piece of work; false: there is none.
    pub(crate) fn step(&self, files: &Files, io: JournalIo) -> bool {
        let mut state = self.settled();
        let Some(work) = self.pick(&mut state, false) else { return false };
        let zeros = match self.how {
            Ahead::Zeros => true,
            Ahead::Auto => state.mean < LARGE_GROUP_BYTES,
            Ahead::Reserve | Ahead::Nothing => false,
        };
        match work {
            Work::Trim(file, end) => {
                drop(state);
                // Room that stays taken is no harm.
                drop(file.set_len(end));
            }
            Work::Fill(file, from, to) => {
                state.busy = Some(to);
                drop(state);
                let filled = fill(file.as_ref(), from, to, zeros);
                let mut state = locked(&self.state);
                state.busy = None;
                match filled {
                    Ok(()) => state.ready = to,
                    Err(_) => state.failed = true,
                }
                state.step = (state.step * 2).min(self.step_bytes_max);
                drop(state);
                self.filled.notify_all();
            }
            Work::Spare(number, offered) => {
                state.making_spare = true;
                drop(state);
                let made = match offered {
                    Some(old) => Segment::recycle(files, old, number, io),
                    None => Segment::create(files, number, io),
                };
                let mut state = locked(&self.state);
                state.making_spare = false;
                state.failed |= made.is_err();
                state.spare = made.ok();
                drop(state);
                self.filled.notify_all();
            }
        }
        true
    }
}

fn fill(file: &dyn DiskFile, from: u64, to: u64, zeros: bool) -> std::io::Result<()> {
    file.reserve(to)?;
    if !zeros {
        return Ok(());
    }
    let mut buffer = Buffer::default();
    buffer.pad(1);
    buffer.reserve(ZEROS_BYTES);
    buffer.extend(&vec![0; ZEROS_BYTES]);
    let mut at = from;
    while at < to {
        let len = usize::try_from(to - at).unwrap_or(ZEROS_BYTES).min(ZEROS_BYTES);
        file.write_durable_at(at, buffer.bytes().get(..len).unwrap_or_default())?;
        at += len as u64;
    }
    Ok(())
}

const _: () = assert!(FIRST.is_multiple_of(512), "room begins at a whole sector");
