//! Waking the sessions that watch a mailbox.
//!
//! Invariant: a watcher made before a change is woken by it; a mailbox nobody watches costs
//! nothing. What is carried is only the newest mod-sequence: a watcher reads the changes from the
//! store, so a wake-up can be merged with others but never be wrong.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Who watches what.
#[derive(Debug, Default)]
pub(super) struct Wakers {
    mailboxes: Mutex<HashMap<u64, watch::Sender<u64>>>,
}

impl Wakers {
    /// A watcher of `mailbox`.
    pub(super) fn watch(&self, mailbox: u64) -> watch::Receiver<u64> {
        let mut mailboxes = self.mailboxes();
        mailboxes.entry(mailbox).or_insert_with(|| watch::Sender::new(0)).subscribe()
    }

    /// Wakes the watchers of `mailbox`.
    pub(super) fn wake(&self, mailbox: u64, modseq: u64) {
        let mut mailboxes = self.mailboxes();
        let Some(sender) = mailboxes.get(&mailbox) else { return };
        if sender.is_closed() {
            mailboxes.remove(&mailbox);
        } else {
            sender.send_modify(|newest| *newest = modseq.max(*newest));
        }
    }

    /// Wakes the watchers of a mailbox that is gone, and forgets it.
    pub(super) fn wake_last(&self, mailbox: u64) {
        // Whoever watches sees the last value even after its sender is gone.
        if let Some(sender) = self.mailboxes().remove(&mailbox) {
            sender.send_replace(u64::MAX);
        }
    }

    fn mailboxes(&self) -> MutexGuard<'_, HashMap<u64, watch::Sender<u64>>> {
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watchers_hear_of_their_mailbox_alone() {
        let wakers = Wakers::default();
        let mut one = wakers.watch(1);
        let mut two = wakers.watch(2);
        wakers.wake(1, 7);
        assert!(one.has_changed().expect("open"));
        assert_eq!(*one.borrow_and_update(), 7);
        assert!(!two.has_changed().expect("open"));
        wakers.wake(2, 1);
        assert!(two.has_changed().expect("open"));
        two.mark_unchanged();
    }

    #[test]
    fn nothing_is_kept_of_mailboxes_nobody_watches() {
        let wakers = Wakers::default();
        drop(wakers.watch(1));
        wakers.wake(1, 1);
        assert!(wakers.mailboxes().is_empty());
    }

    #[tokio::test]
    async fn a_mailbox_that_is_gone_wakes_once_more_and_is_forgotten() {
        let wakers = Wakers::default();
        let mut watcher = wakers.watch(1);
        wakers.wake_last(1);
        watcher.changed().await.expect("woken");
        assert!(wakers.mailboxes().is_empty());
    }
}
