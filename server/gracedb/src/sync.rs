//! What threads meet through: the standard library's, or that of the scheduler that tries every
//! order of events in `tests/schedules.rs`.
//!
//! Invariant: everything on the way of a commit takes its locks from here.

#[cfg(not(shuttle))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
#[cfg(not(shuttle))]
pub(crate) use std::thread;

#[cfg(shuttle)]
pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
#[cfg(shuttle)]
pub(crate) use shuttle::thread;

/// Takes a lock whose contents are never left half changed, so a panic elsewhere does not matter.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
