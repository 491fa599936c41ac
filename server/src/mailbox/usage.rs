//! What each account uses.
//!
//! Invariant: one answer comes from one snapshot, so its parts agree with each other.

use std::collections::HashMap;

use gracedb::view::View as _;

use super::Mailboxes;
use super::read::Totals;
use crate::store::failure::Failure;
use crate::store::messages::MailboxRow;

impl Mailboxes {
    /// Sums by account; reads every mailbox's row, no message's.
    ///
    /// # Errors
    /// The database failed.
    pub fn usage(&self) -> Result<HashMap<u64, Totals>, Failure> {
        let mut usage: HashMap<u64, Totals> = HashMap::new();
        for row in self.db.snapshot().scan::<MailboxRow>() {
            let row = row?;
            usage.entry(row.account).or_default().add(&row);
        }
        Ok(usage)
    }
}
