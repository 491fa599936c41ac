//! Logins that are in use, so that they can be ended when they are not good any more.
//!
//! ```text
//!   login ─▶ Ticket ─▶ (session waits for more to do, or for `revoked`)
//!               ▲
//!   password changed, application password removed, account or domain disabled or deleted
//! ```
//! Invariants: a ticket is counted until it is dropped; once revoked it stays revoked.
//! Not here: how a session ends (`inbound`, `imap`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::telemetry::stop::Stop;

/// What somebody logged in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Means {
    /// The account's own password.
    Password,
    /// The application password of this name.
    App(String),
    /// A certificate.
    Certificate,
}

/// The right to be logged in.
#[derive(Debug)]
pub struct Ticket {
    tickets: Tickets,
    account: u64,
    end: Stop,
}

/// All tickets. Cloning gives another handle.
#[derive(Debug, Clone, Default)]
pub(super) struct Tickets {
    open: Arc<Mutex<Open>>,
}

/// By account: what each was given for, and how its session hears of its end.
type Open = HashMap<u64, Vec<(Means, Stop)>>;

impl Ticket {
    /// Whether the login is not good any more.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.end.is_said()
    }
}

/// Waits until a login is not good any more; forever, if there is none. Cancel safe.
pub fn revoked(ticket: Option<&Ticket>) -> impl Future<Output = ()> + use<> {
    let end = ticket.map(|ticket| ticket.end.clone());
    async move {
        match end {
            Some(end) => end.wait().await,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut open = self.tickets.open();
        let Some(all) = open.get_mut(&self.account) else { return };
        all.retain(|(_, end)| !end.is_same(&self.end));
        if all.is_empty() {
            open.remove(&self.account);
        }
    }
}

impl Tickets {
    /// Gives a ticket.
    pub(super) fn give(&self, account: u64, means: Means) -> Ticket {
        let end = Stop::default();
        self.open().entry(account).or_default().push((means, end.clone()));
        Ticket { tickets: self.clone(), account, end }
    }

    /// Ends the logins of an account that these means gave.
    pub(super) fn revoke(&self, account: u64, which: impl Fn(&Means) -> bool) {
        for (means, end) in self.open().get(&account).into_iter().flatten() {
            if which(means) {
                end.say();
            }
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_are_revoked_that_are_meant() {
        let tickets = Tickets::default();
        let own = tickets.give(1, Means::Password);
        let phone = tickets.give(1, Means::App("phone".to_owned()));
        let other = tickets.give(2, Means::App("phone".to_owned()));
        tickets.revoke(1, |means| *means == Means::App("phone".to_owned()));
        assert!(phone.is_revoked() && !own.is_revoked() && !other.is_revoked());
        tickets.revoke(1, |_| true);
        assert!(own.is_revoked() && !other.is_revoked());
        drop((own, phone));
        assert_eq!(tickets.open().len(), 1, "nothing is kept of those who left");
        drop(other);
        assert!(tickets.open().is_empty());
    }
}
