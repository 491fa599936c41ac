//! Senders of forwarded mail: an address of ours takes their place, and what comes back to it goes
//! on to them (`grace_mail::srs`).
//!
//! ```text
//!   key:  signs ── 90 days ──▶ the next one signs ── as long as an address is good ──▶ forgotten
//! ```
//! Invariants: a key is on disk before an address that it signed leaves this house; the sender of a
//! domain of ours, whose SPF knows us, is left as it is.
//! Not here: the form of such an address (`grace_mail::srs`).

use gracedb::view::View;
use gracedb::write::WriteTx;

use grace_mail::address::{Domain as DomainName, Mailbox as Address};
use grace_mail::srs::{KEY_BYTES, Srs};

use super::Directory;
use crate::store::accounts::Domain;
use crate::store::failure::Failure;
use crate::store::forwards::SrsKeyRow;
use crate::telemetry::bus::now_us;

/// How long a key signs, in days: what is known of an old one is worth nothing after a while.
const KEY_DAYS: u64 = 90;
/// One day, in microseconds.
const DAY_US: u64 = 86_400_000_000;

/// What an address that looks like a rewritten sender comes to.
pub(super) enum Origin {
    /// This sender.
    Sender(Address),
    /// None: it was not written here, or is too old.
    Nobody,
}

impl Directory {
    /// The address at `domain` to send a message of this sender on with; the sender itself where
    /// nothing is to be rewritten: its domain is ours, or the address would be too long for others
    /// to take.
    ///
    /// # Errors
    /// The database failed.
    pub async fn rewritten(
        &self,
        sender: &Address,
        domain: &DomainName,
    ) -> Result<Address, Failure> {
        let host = sender.domain();
        let is_ours = |host: &DomainName| self.db.snapshot().contains::<Domain>(host.as_str());
        if host.map(is_ours).transpose()?.unwrap_or(false) {
            return Ok(sender.clone());
        }
        let now = now_us();
        let newest = keys(&self.db.snapshot())?.into_iter().next();
        if newest.is_none_or(|row| is_old(&row, KEY_DAYS, now)) {
            let valid_days = self.srs_days;
            let pending = self.db.write(|tx| renew(tx, valid_days, now))?;
            pending.await?;
        }
        let rewritten = self.with_keys(&self.db.snapshot(), |srs| srs.rewrite(sender, domain))?;
        Ok(rewritten.unwrap_or_else(|_| sender.clone()))
    }

    /// Who stands behind a rewritten sender.
    pub(super) fn origin(&self, view: &impl View, address: &Address) -> Result<Origin, Failure> {
        let found = self.with_keys(view, |srs| srs.recover(address.local()))?;
        Ok(found.map_or(Origin::Nobody, Origin::Sender))
    }

    fn with_keys<T>(
        &self,
        view: &impl View,
        work: impl FnOnce(Srs<'_>) -> T,
    ) -> Result<T, Failure> {
        let keys = keys(view)?;
        let keys = keys.into_iter().filter_map(|row| row.key.try_into().ok());
        let keys: Vec<[u8; KEY_BYTES]> = keys.collect();
        let day = now_us() / DAY_US;
        Ok(work(Srs { keys: &keys, day, valid_days: self.srs_days }))
    }
}

/// All keys, the newest first. There are two or three.
fn keys(view: &impl View) -> Result<Vec<SrsKeyRow>, Failure> {
    let mut rows: Vec<SrsKeyRow> = view.scan::<SrsKeyRow>().collect::<Result<_, _>>()?;
    rows.reverse();
    Ok(rows)
}

fn is_old(row: &SrsKeyRow, days: u64, now: u64) -> bool {
    row.created_us.saturating_add(days.saturating_mul(DAY_US)) <= now
}

/// Makes a key if the newest one has signed for long enough, and forgets those that signed nothing
/// which is still good.
fn renew(tx: &mut WriteTx<'_>, valid_days: u64, now: u64) -> Result<(), Failure> {
    let rows = keys(tx)?;
    // Somebody else may have been quicker.
    if rows.first().is_some_and(|row| !is_old(row, KEY_DAYS, now)) {
        return Ok(());
    }
    // One that was replaced so long ago that its last address is not good any more.
    for (replacing, row) in rows.iter().zip(rows.iter().skip(1)) {
        if is_old(replacing, valid_days, now) {
            tx.delete::<SrsKeyRow>(&row.created_us)?;
        }
    }
    let mut key = vec![0; KEY_BYTES];
    getrandom::fill(&mut key)
        .map_err(|_| Failure::NotAllowed("the system gives no random numbers"))?;
    tx.put(&SrsKeyRow { created_us: now, key })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use gracedb::db::Db;
    use gracedb::options::Options;

    use super::*;
    use crate::store::SCHEMA;

    #[tokio::test]
    async fn keys_sign_are_replaced_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(Options::new(folder.path()), SCHEMA).unwrap();
        let renewed = async |day: u64| {
            db.write(|tx| renew(tx, 21, day * DAY_US)).unwrap().await.unwrap();
            let rows = keys(&db.snapshot()).unwrap();
            rows.into_iter().map(|row| row.created_us / DAY_US).collect::<Vec<_>>()
        };
        assert_eq!(renewed(1_000).await, [1_000]);
        assert_eq!(renewed(1_089).await, [1_000], "it still signs");
        assert_eq!(renewed(1_090).await, [1_090, 1_000]);
        assert_eq!(renewed(1_180).await, [1_180, 1_090], "the first one is forgotten");
        assert_eq!(renewed(5_000).await, [5_000, 1_180], "what it signed yesterday is good");
        let rows = keys(&db.snapshot()).unwrap();
        assert_ne!(rows[0].key, rows[1].key);
        assert!(!format!("{:?}", rows[0]).contains("key:"), "{:?}", rows[0]);
    }
}
