//! How much is kept, by account and by domain, in the transaction that changes it.
//!
//! ```text
//!   a message comes or goes ─▶ ledger: +1, its bytes ─▶ settle: rows of ann@x and of @x
//! ```
//! Invariants: a row says exactly what its owner's mailboxes hold; what would go beyond a limit
//! fails, and with it all its transaction does; what takes away never fails.
//! Not here: setting limits (`mailbox::quota`).

use std::collections::BTreeMap;

use gracedb::db::Db;
use gracedb::view::View;
use gracedb::write::WriteTx;

use super::failure::Failure;
use super::messages::MailboxRow;
use super::shares::{QuotaRow, domain_of, owner_name};

/// The row that says that everything was counted once, in a database that is older than counting.
const COUNTED: &str = "";

/// Rows counted in one transaction: some milliseconds of work.
const ROWS_AT_ONCE: usize = 1_000;

/// Shares of a limit, in percent, that are told when they are reached: one for somebody to tidy up,
/// one for an admin to ask what is up.
const TOLD_PERCENT: [u32; 2] = [80, 95];

/// A share of a limit was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reached {
    /// Whose: an address, or `@domain`.
    pub(crate) of: String,
    /// As in [`TOLD_PERCENT`].
    pub(crate) percent: u32,
}

/// How limits are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Nothing may go beyond.
    Strictly,
    /// What is not yet full may be filled beyond its limit once: where one message goes to many,
    /// whom it does not fit must not keep it from the others.
    UnlessFull,
    /// Not at all: what we say ourselves, and what goes.
    Not,
}

/// What a transaction changes of usage.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// By owner: messages and bytes.
    changes: BTreeMap<String, (i64, i64)>,
}

impl Ledger {
    /// Messages come to an owner, by its name.
    pub(crate) fn comes(&mut self, owner: &str, messages: u64, bytes: u64) {
        let (messages, bytes) = (signed(messages), signed(bytes));
        for root in roots(owner) {
            let change = self.changes.entry(root).or_default();
            *change = (change.0.saturating_add(messages), change.1.saturating_add(bytes));
        }
    }

    /// Messages go from an owner.
    pub(crate) fn goes(&mut self, owner: &str, messages: u64, bytes: u64) {
        let (messages, bytes) = (signed(messages), signed(bytes));
        for root in roots(owner) {
            let change = self.changes.entry(root).or_default();
            *change = (change.0.saturating_sub(messages), change.1.saturating_sub(bytes));
        }
    }

    /// Writes down what changed; says who is near a limit by it.
    ///
    /// # Errors
    /// Something would go beyond its limit, or the database failed.
    pub(crate) fn settle(self, tx: &mut WriteTx<'_>, hold: Hold) -> Result<Vec<Reached>, Failure> {
        let mut reached = Vec::new();
        for (of, (messages, bytes)) in self.changes {
            if (messages, bytes) == (0, 0) {
                continue;
            }
            let before = tx.get::<QuotaRow>(of.as_str())?;
            let before = before.unwrap_or(QuotaRow { of, ..QuotaRow::default() });
            let after = QuotaRow {
                messages: before.messages.saturating_add_signed(messages),
                bytes: before.bytes.saturating_add_signed(bytes),
                ..before.clone()
            };
            if !after.is_held(&before, hold) {
                return Err(Failure::OverQuota);
            }
            reached.extend(after.reached(&before));
            tx.put(&after)?;
        }
        Ok(reached)
    }
}

impl QuotaRow {
    /// Whether there is room for nothing more.
    pub(crate) fn is_full(&self) -> bool {
        (self.bytes_max > 0 && self.bytes >= self.bytes_max)
            || (self.messages_max > 0 && self.messages >= self.messages_max)
    }

    /// How much of the nearest limit is used, in percent.
    fn percent(&self) -> u64 {
        let share = |used: u64, max: u64| match max {
            0 => 0,
            max => u128::from(used) * 100 / u128::from(max),
        };
        let nearest =
            share(self.bytes, self.bytes_max).max(share(self.messages, self.messages_max));
        u64::try_from(nearest).unwrap_or(u64::MAX)
    }

    /// What was reached since.
    fn reached(&self, before: &Self) -> Option<Reached> {
        let (was, is) = (before.percent(), self.percent());
        let passed = |percent: &&u32| was < u64::from(**percent) && u64::from(**percent) <= is;
        let percent = TOLD_PERCENT.iter().rev().find(passed)?;
        Some(Reached { of: self.of.clone(), percent: *percent })
    }

    /// Whether a limit is held by what is used now.
    fn is_held(&self, before: &Self, hold: Hold) -> bool {
        let grows = self.bytes > before.bytes || self.messages > before.messages;
        match hold {
            _ if !grows => true,
            Hold::Not => true,
            Hold::UnlessFull => !before.is_full(),
            Hold::Strictly => {
                let fits = |used: u64, max: u64| max == 0 || used <= max;
                fits(self.bytes, self.bytes_max) && fits(self.messages, self.messages_max)
            }
        }
    }
}

/// The quota roots of an owner: its own, and that of its domain (RFC 9208 3.1).
pub(crate) fn roots(owner: &str) -> Vec<String> {
    let domain = format!("@{}", domain_of(owner));
    if domain == owner { vec![domain] } else { vec![owner.to_owned(), domain] }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Takes what is in mailboxes that go as a whole from what their owner uses.
pub(super) fn forget_mailbox(tx: &mut WriteTx<'_>, row: &MailboxRow) -> Result<(), Failure> {
    let mut ledger = Ledger::default();
    if let Some(owner) = owner_name(tx, row.account)? {
        ledger.goes(&owner, u64::from(row.messages), row.bytes);
    }
    ledger.settle(tx, Hold::Not).map(drop)
}

/// Has everything counted anew at the next start.
pub(super) fn forget_counts(tx: &mut WriteTx<'_>) -> Result<(), Failure> {
    tx.delete::<QuotaRow>(COUNTED)?;
    Ok(())
}

/// Counts what everybody uses, once in the life of a database; limits stay. Done before any door
/// opens; if it is cut short, it is done again.
///
/// # Errors
/// The database failed.
pub fn count_once(db: &Db) -> Result<(), Failure> {
    let snapshot = db.snapshot();
    if snapshot.contains::<QuotaRow>(COUNTED)? {
        return Ok(());
    }
    let mut used: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for row in snapshot.scan::<QuotaRow>() {
        used.insert(row?.of, (0, 0));
    }
    for row in snapshot.scan::<MailboxRow>() {
        let row = row?;
        let Some(owner) = owner_name(&snapshot, row.account)? else { continue };
        for root in roots(&owner) {
            let (messages, bytes) = used.entry(root).or_default();
            *messages = messages.saturating_add(u64::from(row.messages));
            *bytes = bytes.saturating_add(row.bytes);
        }
    }
    let all: Vec<(String, (u64, u64))> = used.into_iter().collect();
    for some in all.chunks(ROWS_AT_ONCE) {
        let counted = db.write(|tx| {
            for (of, (messages, bytes)) in some {
                let row = tx.get::<QuotaRow>(of.as_str())?;
                let row = row.unwrap_or(QuotaRow { of: of.clone(), ..QuotaRow::default() });
                tx.put(&QuotaRow { messages: *messages, bytes: *bytes, ..row })?;
            }
            Ok::<_, Failure>(())
        })?;
        counted.wait()?;
    }
    let done = QuotaRow { of: COUNTED.to_owned(), ..QuotaRow::default() };
    db.write(|tx| tx.put(&done))?.wait()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_held_when_usage_grows() {
        let row = |bytes, messages| QuotaRow {
            bytes,
            messages,
            bytes_max: 100,
            messages_max: 3,
            ..QuotaRow::default()
        };
        let check = |before: (u64, u64), after: (u64, u64), held: [bool; 3]| {
            let (before, after) = (row(before.0, before.1), row(after.0, after.1));
            let holds = [Hold::Strictly, Hold::UnlessFull, Hold::Not];
            let found = holds.map(|hold| after.is_held(&before, hold));
            assert_eq!(found, held, "{before:?} {after:?}");
        };
        check((50, 1), (100, 2), [true, true, true]);
        check((50, 1), (101, 2), [false, true, true]);
        check((100, 2), (101, 3), [false, false, true]);
        check((50, 3), (51, 4), [false, false, true]);
        check((50, 2), (51, 3), [true, true, true]);
        // Who has more than is allowed by now may still make room.
        check((500, 9), (400, 8), [true, true, true]);
        let percent = |before, after| row(after, 1).reached(&row(before, 1)).map(|r| r.percent);
        assert_eq!(percent(79, 80), Some(80));
        assert_eq!(percent(10, 120), Some(95));
        assert_eq!((percent(80, 94), percent(96, 99), percent(90, 10)), (None, None, None));
        let free = QuotaRow { bytes: u64::MAX, messages: 9, ..QuotaRow::default() };
        assert!(free.is_held(&QuotaRow::default(), Hold::Strictly) && !free.is_full());
        assert!(row(100, 1).is_full() && row(1, 3).is_full() && !row(99, 2).is_full());
    }

    #[test]
    fn an_owner_counts_for_its_domain_too() {
        assert_eq!(roots("ann@example.org"), ["ann@example.org", "@example.org"]);
        assert_eq!(roots("@example.org"), ["@example.org"]);
        let mut ledger = Ledger::default();
        ledger.comes("ann@example.org", 2, 20);
        ledger.goes("bob@example.org", 2, 20);
        assert_eq!(ledger.changes["@example.org"], (0, 0));
        assert_eq!(ledger.changes["bob@example.org"], (-2, -20));
    }
}
