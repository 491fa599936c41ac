//! Waiting for a commit, with or without an async runtime.
//!
//! Invariants: a promise is always kept: dropped without an answer it answers [`Error::Closed`],
//! so nobody waits forever for a thread that is gone.
//! Not here: when a commit is durable (`committer`).

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use crate::error::Error;

#[derive(Default)]
struct Slot {
    answer: Mutex<Answer>,
    answered: Condvar,
}

#[derive(Default)]
struct Answer {
    outcome: Option<Result<(), Error>>,
    waker: Option<Waker>,
}

/// The committer's end.
pub(crate) struct Promise {
    slot: Option<Arc<Slot>>,
}

impl Promise {
    pub(crate) fn keep(mut self, outcome: Result<(), Error>) {
        self.answer(outcome);
    }

    fn answer(&mut self, outcome: Result<(), Error>) {
        let Some(slot) = self.slot.take() else { return };
        let waker = {
            let mut answer = slot.answer.lock().unwrap_or_else(PoisonError::into_inner);
            answer.outcome = Some(outcome);
            answer.waker.take()
        };
        slot.answered.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.answer(Err(Error::Closed));
    }
}

/// A transaction on its way to the disk; resolves to the closure's value when it is there.
///
/// Await it, or call [`Pending::wait`]. Dropping it does not undo the transaction.
#[must_use = "a transaction is acknowledged only when this resolves"]
pub struct Pending<T> {
    value: Option<T>,
    slot: Arc<Slot>,
}

// Nothing in it is ever pinned.
impl<T> Unpin for Pending<T> {}

/// The two ends of a commit's answer.
pub(crate) fn pending<T>(value: T) -> (Pending<T>, Promise) {
    let slot = Arc::new(Slot::default());
    (Pending { value: Some(value), slot: Arc::clone(&slot) }, Promise { slot: Some(slot) })
}

impl<T> Pending<T> {
    /// Blocks this thread until the transaction is on disk or has failed.
    pub fn wait(mut self) -> Result<T, Error> {
        let answer = self.slot.answer.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = self
            .slot
            .answered
            .wait_while(answer, |answer| answer.outcome.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        answer.outcome.clone().unwrap_or(Err(Error::Closed))?;
        drop(answer);
        self.value.take().ok_or(Error::Closed)
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = {
            let mut answer = self.slot.answer.lock().unwrap_or_else(PoisonError::into_inner);
            match &answer.outcome {
                Some(outcome) => outcome.clone(),
                None => {
                    answer.waker = Some(context.waker().clone());
                    return Poll::Pending;
                }
            }
        };
        Poll::Ready(outcome.and_then(|()| self.value.take().ok_or(Error::Closed)))
    }
}

struct Unparker(Thread);

impl Wake for Unparker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future of this crate to its end on this thread, for callers without a runtime.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unparker(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_promise_is_an_answer() {
        let (pending, promise) = pending(1);
        drop(promise);
        assert!(matches!(pending.wait(), Err(Error::Closed)));
    }

    #[test]
    fn both_ways_of_waiting_wake_up() {
        for blocking in [true, false] {
            let (pending, promise) = pending("value");
            let keeper = thread::spawn(move || promise.keep(Ok(())));
            let value = if blocking { pending.wait() } else { block_on(pending) };
            assert_eq!(value.unwrap(), "value");
            keeper.join().unwrap();
        }
    }
}
