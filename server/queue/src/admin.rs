//! What an admin may do to mail that waits: hold it, let it go, try it now, send it another way,
//! take it out.
//!
//! What is being tried at that moment cannot be called back: a hold or another way counts from its
//! next attempt on, and what is taken out leaves the queue whatever its attempt brings.
//! Not here: who may ask for it, and bounces for what is taken out.

use std::ops::Bound::Included;
use std::sync::Arc;

use crate::queue::Queue;
use crate::time::Time;
use crate::transaction::{Recipients, State, Transaction};

/// Which mail is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which<'a> {
    /// One recipient of a message.
    Recipient(u64, u32),
    /// A message, for all its recipients.
    Message(u64),
    /// All that goes to a destination.
    Destination(&'a str),
    /// Everything.
    All,
}

impl Queue {
    /// Keeps mail back until [`Queue::release`]; it does not expire meanwhile. How many recipients.
    pub fn hold(&mut self, now: Time, which: Which<'_>) -> usize {
        let mut count = 0;
        for slot in self.single_out(now, which) {
            let Some(transaction) = self.transactions.get(slot) else { continue };
            let meant = meant(which, transaction);
            match transaction.state {
                State::Held => {}
                State::Running => {
                    count += meant.len();
                    if let Some(running) = self.running_of(slot) {
                        running.hold.extend(meant);
                    }
                }
                State::Sleeping | State::Ready => {
                    count += meant.len();
                    self.change(slot, now, |transaction| transaction.state = State::Held);
                }
            }
        }
        count
    }

    /// Lets held mail go: it is tried at once. How many recipients.
    pub fn release(&mut self, now: Time, which: Which<'_>) -> usize {
        let mut count = 0;
        for slot in self.single_out(now, which) {
            let Some(transaction) = self.transactions.get(slot) else { continue };
            let meant = meant(which, transaction);
            match transaction.state {
                State::Sleeping | State::Ready => {}
                State::Running => {
                    let Some(running) = self.running_of(slot) else { continue };
                    count += meant.iter().filter(|number| running.hold.remove(number)).count();
                }
                State::Held => {
                    count += meant.len();
                    let life = self.with_a_last_chance(now, transaction.life);
                    self.change(slot, now, |transaction| {
                        transaction.state = State::Sleeping;
                        (transaction.due, transaction.life) = (now, life);
                    });
                }
            }
        }
        count
    }

    /// Has mail tried now, also where its destination is left alone because of failures. How many
    /// recipients.
    pub fn retry_now(&mut self, now: Time, which: Which<'_>) -> usize {
        let mut count = 0;
        for slot in self.single_out(now, which) {
            let Some(transaction) = self.transactions.get(slot) else { continue };
            let (to, recipients) = (transaction.to, transaction.recipients.len());
            match transaction.state {
                State::Held | State::Running => continue,
                State::Ready => {}
                State::Sleeping => self.change(slot, now, |transaction| transaction.due = now),
            }
            count += recipients;
            if let Some(destination) = self.destinations.get_mut(to) {
                destination.capacity.reopen();
            }
            self.destinations.changed(to, now, &self.settings.limits);
        }
        count
    }

    /// Sends mail another way: it goes to `destination`, at once unless it is held. How many
    /// recipients. One that is being tried goes there when its attempt ends.
    pub fn reroute(&mut self, now: Time, which: Which<'_>, destination: &str) -> usize {
        let slots = self.single_out(now, which);
        let limits = &self.settings.limits;
        let Some(to) = self.destinations.enter(destination, limits) else { return 0 };
        let name: Arc<str> = destination.into();
        let mut count = 0;
        for slot in slots {
            let Some(transaction) = self.transactions.get(slot) else { continue };
            let (from, meant) = (transaction.to, meant(which, transaction));
            if transaction.state == State::Running {
                count += meant.len();
                if let Some(running) = self.running_of(slot) {
                    running.reroute.extend(meant.into_iter().map(|number| (number, name.clone())));
                }
            } else if from != to {
                count += meant.len();
                self.move_to(slot, now, to);
            }
        }
        self.destinations.changed(to, now, &self.settings.limits);
        count
    }

    /// Forgets that a destination could not be reached: something was done about it.
    pub fn reopen(&mut self, now: Time, destination: &str) {
        let Some(to) = self.destinations.find(destination) else { return };
        if let Some(destination) = self.destinations.get_mut(to) {
            destination.capacity.reopen();
        }
        self.destinations.changed(to, now, &self.settings.limits);
    }

    /// Whether a recipient is being tried: what is done to it counts when its attempt ends.
    #[must_use]
    pub fn is_tried(&self, message: u64, number: u32) -> bool {
        let slots = self.by_message.range((message, 0)..=(message, u32::MAX));
        let mut running = slots.filter_map(|&(_, slot)| self.transactions.get(slot));
        running.any(|transaction| {
            transaction.state == State::Running
                && transaction.recipients.as_slice().contains(&number)
        })
    }

    /// Where a recipient is to go, if it is in the queue.
    #[must_use]
    pub fn destination_of(&self, message: u64, number: u32) -> Option<&str> {
        let slots = self.by_message.range((message, 0)..=(message, u32::MAX));
        let mut transactions = slots.filter_map(|&(_, slot)| self.transactions.get(slot));
        let found = transactions.find(|found| found.recipients.as_slice().contains(&number))?.to;
        self.destinations.get(found).map(|destination| &*destination.name)
    }

    /// Takes mail out of the queue: those that were in it.
    pub fn remove(&mut self, now: Time, which: Which<'_>) -> Vec<(u64, u32)> {
        let mut removed = Vec::new();
        for slot in self.single_out(now, which) {
            let Some(transaction) = self.transactions.get(slot) else { continue };
            let (message, to) = (transaction.message, transaction.to);
            let meant = meant(which, transaction);
            if transaction.state == State::Running {
                self.forget(slot, &meant);
            } else {
                self.unpark(slot);
                self.take(slot);
            }
            removed.extend(meant.into_iter().map(|number| (message, number)));
            self.destinations.changed(to, now, &self.settings.limits);
        }
        removed
    }

    /// The transactions that are meant; one recipient is parted from the others unless they are
    /// being tried.
    fn single_out(&mut self, now: Time, which: Which<'_>) -> Vec<u32> {
        let of_message = |message| (Included((message, 0)), Included((message, u32::MAX)));
        match which {
            Which::All => self.transactions.iter().map(|(slot, _)| slot).collect(),
            Which::Destination(name) => {
                let Some(to) = self.destinations.find(name) else { return Vec::new() };
                let all = self.transactions.iter();
                all.filter(|(_, transaction)| transaction.to == to).map(|(slot, _)| slot).collect()
            }
            Which::Message(message) => {
                self.by_message.range(of_message(message)).map(|&(_, slot)| slot).collect()
            }
            Which::Recipient(message, number) => {
                let mut slots = self.by_message.range(of_message(message)).map(|&(_, slot)| slot);
                let slot = slots.find(|&slot| {
                    let transaction = self.transactions.get(slot);
                    transaction.is_some_and(|t| t.recipients.as_slice().contains(&number))
                });
                slot.and_then(|slot| self.part(slot, now, number)).into_iter().collect()
            }
        }
    }

    /// The transaction of this one recipient; or the one it is in, if that is being tried.
    fn part(&mut self, slot: u32, now: Time, number: u32) -> Option<u32> {
        let transaction = self.transactions.get(slot)?;
        if transaction.state == State::Running || transaction.recipients.len() == 1 {
            return Some(slot);
        }
        let single = Transaction { recipients: Recipients::One(number), ..transaction.clone() };
        self.unpark(slot);
        self.forget(slot, &[number]);
        self.park(slot, now);
        let single = self.insert_again(single)?;
        self.park(single, now);
        Some(single)
    }

    /// Changes a transaction that waits, and gives it the place that then is its.
    fn change(&mut self, slot: u32, now: Time, change: impl Fn(&mut Transaction)) {
        self.unpark(slot);
        if let Some(transaction) = self.transactions.get_mut(slot) {
            change(transaction);
            let to = transaction.to;
            self.park(slot, now);
            self.destinations.changed(to, now, &self.settings.limits);
        }
    }
}

/// The recipients of a transaction that are meant.
fn meant(which: Which<'_>, transaction: &Transaction) -> Vec<u32> {
    match which {
        Which::Recipient(_, number) => vec![number],
        Which::Message(_) | Which::Destination(_) | Which::All => {
            transaction.recipients.as_slice().to_vec()
        }
    }
}
