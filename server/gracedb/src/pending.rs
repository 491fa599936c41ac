//! Waiting for a commit, with or without an async runtime.
//!
//! Transactions that go to disk as one group share a round: one answer wakes them all. Who
//! waits on a thread of its own may be asked to write the next group, which spares a switch of
//! threads.
//! Invariants: a round is always answered: dropped without an answer it answers [`Error::Closed`],
//! so nobody waits forever for a thread that is gone.
//! Not here: when a commit is durable (`commit`).

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::error::Error;
use crate::sync::{Condvar, Mutex, PoisonError, locked, thread};

/// What transactions of one group wait for.
#[derive(Default)]
pub(crate) struct Round {
    state: Mutex<RoundState>,
    changed: Condvar,
}

#[derive(Default)]
struct RoundState {
    outcome: Option<Result<(), Error>>,
    /// One of the sleepers is to write the next group.
    lead: bool,
    sleepers: usize,
    wakers: Vec<Waker>,
}

/// Something that can bring waiting commits forward.
pub(crate) trait Lead: Send + Sync {
    /// Writes the next group on this thread, unless somebody else is at it or there is none.
    fn lead(&self) -> bool;
    /// Says that somebody waits who has no thread to write with.
    fn ring(&self);
}

impl Round {
    /// A round that is over.
    pub(crate) fn done(outcome: Result<(), Error>) -> Arc<Self> {
        let round = Self::default();
        round.answer(outcome);
        Arc::new(round)
    }

    /// Answers everybody, once.
    pub(crate) fn answer(&self, outcome: Result<(), Error>) {
        let (wakers, sleepers) = {
            let mut state = locked(&self.state);
            if state.outcome.is_some() {
                return;
            }
            state.outcome = Some(outcome);
            (std::mem::take(&mut state.wakers), state.sleepers)
        };
        if sleepers > 0 {
            self.changed.notify_all();
        }
        for waker in wakers {
            waker.wake();
        }
    }

    fn outcome(&self) -> Option<Result<(), Error>> {
        locked(&self.state).outcome.clone()
    }

    /// Asks one who sleeps to write the next group; false: nobody sleeps.
    pub(crate) fn call_leader(&self) -> bool {
        let mut state = locked(&self.state);
        if state.sleepers == 0 {
            return false;
        }
        state.lead = true;
        drop(state);
        self.changed.notify_one();
        true
    }

    /// Sleeps until there is an answer or a call for a leader.
    fn sleep(&self) -> Option<Result<(), Error>> {
        let mut state = locked(&self.state);
        state.sleepers += 1;
        while state.outcome.is_none() && !state.lead {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.sleepers -= 1;
        state.lead = false;
        state.outcome.clone()
    }

    fn poll(&self, context: &mut Context<'_>) -> Option<Result<(), Error>> {
        let mut state = locked(&self.state);
        if state.outcome.is_none() && !state.wakers.iter().any(|w| w.will_wake(context.waker())) {
            state.wakers.push(context.waker().clone());
        }
        state.outcome.clone()
    }
}

/// A transaction's claim to an answer.
pub struct Ticket {
    round: Arc<Round>,
    lead: Option<Arc<dyn Lead>>,
}

impl Ticket {
    pub(crate) fn new(round: Arc<Round>, lead: Arc<dyn Lead>) -> Self {
        Self { round, lead: Some(lead) }
    }

    /// A ticket whose answer is known.
    #[must_use]
    pub fn done(outcome: Result<(), Error>) -> Self {
        Self { round: Round::done(outcome), lead: None }
    }

    /// A ticket, and what answers it: for engines whose commits end elsewhere.
    #[must_use]
    pub fn pair() -> (Self, Promise) {
        let round = Arc::new(Round::default());
        (Self { round: Arc::clone(&round), lead: None }, Promise { round })
    }

    /// Blocks this thread until there is an answer.
    pub fn wait(mut self) -> Result<(), Error> {
        let lead = self.lead.take();
        loop {
            let led = lead.as_ref().is_some_and(|lead| lead.lead());
            let answer = if led { self.round.outcome() } else { self.round.sleep() };
            if let Some(outcome) = answer {
                return outcome;
            }
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if let Some(outcome) = self.round.poll(context) {
            self.lead = None;
            return Poll::Ready(outcome);
        }
        if let Some(lead) = self.lead.take() {
            lead.ring();
        }
        Poll::Pending
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // Nobody waits for it, and yet it is to be written.
        if let Some(lead) = self.lead.take()
            && self.round.outcome().is_none()
        {
            lead.ring();
        }
    }
}

/// What answers a [`Ticket`].
pub struct Promise {
    round: Arc<Round>,
}

impl Promise {
    /// Gives the answer.
    pub fn keep(self, outcome: Result<(), Error>) {
        self.round.answer(outcome);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.round.answer(Err(Error::Closed));
    }
}

/// A transaction on its way to the disk; resolves to the closure's value when it is there.
///
/// Await it, or call [`Pending::wait`]. Dropping it does not undo the transaction.
#[must_use = "a transaction is acknowledged only when this resolves"]
pub struct Pending<T> {
    value: Option<T>,
    ticket: Ticket,
}

// Nothing in it is ever pinned.
impl<T> Unpin for Pending<T> {}

impl<T> Pending<T> {
    /// A value that is to be had when the ticket is answered well.
    pub(crate) fn new(value: T, ticket: Ticket) -> Self {
        Self { value: Some(value), ticket }
    }

    /// Blocks this thread until the transaction is on disk or has failed.
    pub fn wait(self) -> Result<T, Error> {
        self.ticket.wait()?;
        self.value.ok_or(Error::Closed)
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.ticket
            .poll(context)
            .map(|outcome| outcome.and_then(|()| self.value.take().ok_or(Error::Closed)))
    }
}

struct Unparker(thread::Thread);

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
        let (ticket, promise) = Ticket::pair();
        drop(promise);
        assert!(matches!(Pending::new(1, ticket).wait(), Err(Error::Closed)));
    }

    #[test]
    fn both_ways_of_waiting_wake_up() {
        for blocking in [true, false] {
            let (ticket, promise) = Ticket::pair();
            let pending = Pending::new("value", ticket);
            let keeper = thread::spawn(move || promise.keep(Ok(())));
            let value = if blocking { pending.wait() } else { block_on(pending) };
            assert_eq!(value.unwrap(), "value");
            keeper.join().unwrap();
        }
    }
}
