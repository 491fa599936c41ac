//! Being told of changes.
//!
//! A watch is for the keys that start with some bytes; it says that something there changed, not
//! what, and several changes are one. Invariants: a change that was acknowledged after the watch
//! was made is told; telling never waits.
//! Not here: what changed (ask a snapshot).

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use crate::format::Kind;
use crate::journal::Record;
use crate::row;
use crate::state::{Operation, take_operation};
use crate::sync::{Mutex, locked};

#[derive(Default)]
struct Bell {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Number of the newest transaction that touched the keys.
    newest: u64,
    told: u64,
    waker: Option<Waker>,
    closed: bool,
}

/// Tells of changes of some keys.
pub struct Watch {
    bell: Arc<Bell>,
}

impl Watch {
    /// Waits until one of the keys changed since the last time this was told; says with which
    /// transaction last. `None`: the database is closed. Cancel safe.
    pub async fn changed(&mut self) -> Option<u64> {
        poll_fn(|context| self.poll(context)).await
    }

    /// Whether one of the keys changed since the last time this was told. Tells it.
    pub fn take(&mut self) -> bool {
        let mut state = locked(&self.bell.state);
        let is_new = state.newest > state.told;
        state.told = state.newest;
        is_new
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<u64>> {
        let mut state = locked(&self.bell.state);
        if state.newest > state.told {
            state.told = state.newest;
            return Poll::Ready(Some(state.newest));
        }
        if state.closed {
            return Poll::Ready(None);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Bell {
    fn ring(&self, sequence: u64) {
        let waker = {
            let mut state = locked(&self.state);
            state.newest = state.newest.max(sequence);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn close(&self) {
        let waker = {
            let mut state = locked(&self.state);
            state.closed = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// All watches of a database.
#[derive(Default)]
pub(crate) struct Watches {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    by_prefix: HashMap<Box<[u8]>, Vec<Weak<Bell>>>,
    /// How many prefixes have each length, by length.
    lengths: Vec<(usize, usize)>,
    closed: bool,
}

impl Watches {
    pub(crate) fn add(&self, prefix: &[u8]) -> Watch {
        let bell = Arc::new(Bell::default());
        let mut inner = locked(&self.inner);
        if inner.closed {
            bell.close();
        }
        inner.forget_dropped();
        let Inner { by_prefix, lengths, .. } = &mut *inner;
        let watches = by_prefix.entry(prefix.into()).or_default();
        if watches.is_empty() {
            match lengths.iter_mut().find(|(len, _)| *len == prefix.len()) {
                Some((_, count)) => *count += 1,
                None => lengths.push((prefix.len(), 1)),
            }
        }
        watches.push(Arc::downgrade(&bell));
        Watch { bell }
    }

    /// Tells of transactions that were just acknowledged.
    pub(crate) fn tell(&self, records: &[Record]) {
        let inner = locked(&self.inner);
        if inner.by_prefix.is_empty() {
            return;
        }
        for record in records.iter().filter(|record| record.kind == Kind::Transaction) {
            inner.tell_one(&record.payload, record.sequence);
        }
    }

    /// Tells of one transaction's operations.
    pub(crate) fn tell_operations(&self, payload: &[u8], sequence: u64) {
        locked(&self.inner).tell_one(payload, sequence);
    }

    /// Tells everybody that nothing more will come.
    pub(crate) fn close(&self) {
        let mut inner = locked(&self.inner);
        inner.closed = true;
        let all = inner.by_prefix.values().flatten().filter_map(Weak::upgrade);
        all.for_each(|bell| bell.close());
    }
}

impl Inner {
    fn tell_one(&self, mut payload: &[u8], sequence: u64) {
        // The time of the commit stands before its operations.
        if row::take_varint(&mut payload).is_none() {
            return;
        }
        while let Ok(Some(operation)) = take_operation(&mut payload) {
            match operation {
                Operation::Put(key, _) | Operation::Delete(key) => self.tell_key(key, sequence),
                Operation::DeleteRange(low, high) => self.tell_range(low, high, sequence),
            }
        }
    }

    fn tell_key(&self, key: &[u8], sequence: u64) {
        for (len, _) in &self.lengths {
            if let Some(watches) = key.get(..*len).and_then(|prefix| self.by_prefix.get(prefix)) {
                watches.iter().filter_map(Weak::upgrade).for_each(|bell| bell.ring(sequence));
            }
        }
    }

    fn tell_range(&self, low: &[u8], high: &[u8], sequence: u64) {
        for (prefix, watches) in &self.by_prefix {
            if **prefix < *high && (low.starts_with(prefix) || **prefix >= *low) {
                watches.iter().filter_map(Weak::upgrade).for_each(|bell| bell.ring(sequence));
            }
        }
    }

    fn forget_dropped(&mut self) {
        let Self { by_prefix, lengths, .. } = self;
        by_prefix.retain(|prefix, watches| {
            watches.retain(|bell| bell.strong_count() > 0);
            if watches.is_empty()
                && let Some((_, count)) = lengths.iter_mut().find(|(len, _)| *len == prefix.len())
            {
                *count -= 1;
            }
            !watches.is_empty()
        });
        lengths.retain(|(_, count)| *count > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state;

    fn payload(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut payload = vec![0];
        write(&mut payload);
        payload
    }

    #[test]
    fn a_watch_hears_of_its_keys_and_no_others() {
        let watches = Watches::default();
        let mut of_mailbox = watches.add(b"\0\x05\0\0\x07");
        let mut of_table = watches.add(b"\0\x05\0");
        let mut of_other = watches.add(b"\0\x06\0");
        let put = payload(|out| state::write_put(b"\0\x05\0\0\x07\x01", b"x", out));
        watches.tell_operations(&put, 4);
        assert!(of_mailbox.take() && of_table.take() && !of_other.take());
        assert!(!of_mailbox.take());
        let delete = payload(|out| state::write_delete(b"\0\x05\0\0\x08\x01", out));
        watches.tell_operations(&delete, 5);
        assert!(!of_mailbox.take() && of_table.take());
        let range =
            payload(|out| state::write_delete_range(b"\0\x05\0\0\x07", b"\0\x05\0\0\x08", out));
        watches.tell_operations(&range, 6);
        assert!(of_mailbox.take() && of_table.take() && !of_other.take());
        drop((of_mailbox, of_table));
        drop(watches.add(b"\0"));
        assert_eq!(locked(&watches.inner).lengths, [(3, 1), (1, 1)]);
    }

    #[test]
    fn it_waits_and_it_ends() {
        let watches = Watches::default();
        let mut watch = watches.add(b"\0\x05");
        let put = payload(|out| state::write_put(b"\0\x05\0a", b"x", out));
        let teller = std::thread::spawn(move || {
            watches.tell_operations(&put, 9);
            watches
        });
        assert_eq!(crate::pending::block_on(watch.changed()), Some(9));
        teller.join().unwrap().close();
        assert_eq!(crate::pending::block_on(watch.changed()), None);
    }
}
