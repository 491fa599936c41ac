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

use grace_ipc::share::ANY_NUMBER;

use super::failure::Failure;
use super::messages::MailboxRow;
use super::shares::{QuotaRow, domain_of, owner_name};

/// The row that says that everything was counted once, in a database that is older than counting.
const COUNTED: &str = "";

/// Rows counted in one transaction: some milliseconds of work.
const ROWS_AT_ONCE: usize = 1_000;

/// Shares of a limit, in percent, that are told when they are reached: one for somebody to tidy up,
/// one for an admin to ask what is up, and one that says that nothing more is let in.
const TOLD_PERCENT: [u32; 3] = [80, 95, 100];

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
pub(crate) enum Hold<'a> {
    /// Nothing may go beyond. Whoever has no limits of his own has these.
    Within(&'a Defaults),
    /// Not at all: what we say ourselves, and what goes.
    Not,
}

/// What may be kept where nobody set a limit; 0: any number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Defaults {
    /// By an account: most bytes, most messages.
    pub account: (u64, u64),
    /// In a domain as a whole.
    pub domain: (u64, u64),
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
    pub(crate) fn settle(
        self,
        tx: &mut WriteTx<'_>,
        hold: Hold<'_>,
    ) -> Result<Vec<Reached>, Failure> {
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
            if let Hold::Within(defaults) = hold {
                let limited = after.clone().limited(defaults);
                let grows = messages > 0 || bytes > 0;
                if grows && !limited.is_held() {
                    return Err(Failure::OverQuota);
                }
                reached.extend(limited.reached(&before.limited(defaults)));
            }
            tx.put(&after)?;
        }
        Ok(reached)
    }
}

impl QuotaRow {
    /// The row with the limits that hold: its own, or where it has none the default; 0: none.
    pub(crate) fn limited(self, defaults: &Defaults) -> Self {
        let (bytes, messages) =
            if self.of.starts_with('@') { defaults.domain } else { defaults.account };
        let holds = |own: u64, default: u64| match own {
            0 => default,
            ANY_NUMBER => 0,
            own => own,
        };
        let bytes_max = holds(self.bytes_max, bytes);
        let messages_max = holds(self.messages_max, messages);
        Self { bytes_max, messages_max, ..self }
    }

    /// Whether there is room for a message of so many bytes.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        let with = |bytes, messages| Self { bytes, messages, ..self.clone() };
        let is_full = self.bytes_max > 0 && self.bytes >= self.bytes_max;
        !is_full
            && with(self.bytes.saturating_add(bytes), self.messages.saturating_add(1)).is_held()
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
    pub(crate) fn reached(&self, before: &Self) -> Option<Reached> {
        let (was, is) = (before.percent(), self.percent());
        let passed = |percent: &&u32| was < u64::from(**percent) && u64::from(**percent) <= is;
        let percent = TOLD_PERCENT.iter().rev().find(passed)?;
        Some(Reached { of: self.of.clone(), percent: *percent })
    }

    /// Whether what is used is within the limits.
    fn is_held(&self) -> bool {
        let fits = |used: u64, max: u64| max == 0 || used <= max;
        fits(self.bytes, self.bytes_max) && fits(self.messages, self.messages_max)
    }
}

/// Those of some owners, by their names, that have no room for a message of so many bytes when
/// each of them that has takes it, one after the other.
pub(crate) fn without_room<'a>(
    view: &impl View,
    owners: impl IntoIterator<Item = &'a str>,
    bytes: u64,
    defaults: &Defaults,
) -> Result<Vec<&'a str>, Failure> {
    let mut rows: BTreeMap<String, QuotaRow> = BTreeMap::new();
    let mut without = Vec::new();
    for owner in owners {
        let roots = roots(owner);
        for of in &roots {
            if !rows.contains_key(of) {
                let row = view.get::<QuotaRow>(of.as_str())?;
                let row = row.unwrap_or(QuotaRow { of: of.clone(), ..QuotaRow::default() });
                rows.insert(of.clone(), row.limited(defaults));
            }
        }
        if !roots.iter().filter_map(|of| rows.get(of)).all(|row| row.has_room(bytes)) {
            without.push(owner);
            continue;
        }
        for of in &roots {
            if let Some(row) = rows.get_mut(of) {
                row.bytes = row.bytes.saturating_add(bytes);
                row.messages = row.messages.saturating_add(1);
            }
        }
    }
    Ok(without)
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

    fn row(bytes: u64, messages: u64) -> QuotaRow {
        QuotaRow { bytes, messages, bytes_max: 100, messages_max: 3, ..QuotaRow::default() }
    }

    #[test]
    fn a_limit_may_be_reached_and_not_passed() {
        let check = |bytes, messages, held| {
            let row = row(bytes, messages);
            assert_eq!(row.is_held(), held, "{row:?}");
        };
        check(100, 2, true);
        check(99, 3, true);
        check(101, 2, false);
        check(51, 4, false);
        assert!(row(60, 2).has_room(40) && !row(60, 2).has_room(41));
        assert!(!row(1, 3).has_room(0) && !row(100, 1).has_room(0));
        let free = QuotaRow { bytes: u64::MAX, messages: 9, ..QuotaRow::default() };
        assert!(free.is_held() && free.has_room(u64::MAX));
        let percent = |before, after| row(after, 1).reached(&row(before, 1)).map(|r| r.percent);
        assert_eq!((percent(79, 80), percent(10, 99)), (Some(80), Some(95)));
        assert_eq!((percent(99, 100), percent(10, 120)), (Some(100), Some(100)));
        assert_eq!((percent(80, 94), percent(96, 99), percent(90, 10)), (None, None, None));
    }

    #[test]
    fn who_has_no_limits_of_his_own_has_the_default() {
        let defaults = Defaults { account: (50, 5), domain: (500, 0) };
        let limits = |of: &str, bytes_max, messages_max| {
            let of = of.to_owned();
            let row = QuotaRow { of, bytes_max, messages_max, ..QuotaRow::default() };
            let row = row.limited(&defaults);
            (row.bytes_max, row.messages_max)
        };
        assert_eq!(limits("ann@example.org", 0, 0), (50, 5));
        assert_eq!(limits("ann@example.org", 70, 0), (70, 5));
        assert_eq!(limits("ann@example.org", ANY_NUMBER, 9), (0, 9));
        assert_eq!(limits("@example.org", 0, 0), (500, 0));
        assert_eq!(limits("@example.org", ANY_NUMBER, ANY_NUMBER), (0, 0));
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
