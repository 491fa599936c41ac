//! What a database that was brought back needs before anybody sees it.
//!
//! ```text
//!   marked as a copy ─▶ each mailbox: counted anew, a new UIDVALIDITY ─▶ messages without a
//!                       mailbox are told of ─▶ not marked any more
//! ```
//! The original went on after the moment of the copy, and gave UIDs and mod-sequences to messages
//! that are not here; clients remember those. Under a new UIDVALIDITY they begin anew (RFC 9051
//! 2.3.1.1). After a repair, rows may be older than each other, or lost.
//! Invariants: runs before any door opens; if it is cut short, it is done again from the start; no
//! message goes. A message whose mailbox is lost is nobody's: no row says whose it was, and a guess
//! could show one person's mail to another.
//! Not here: what makes a database a copy (`gracedb`).

use gracedb::db::Db;
use gracedb::error::Error;
use gracedb::view::{Snapshot, View as _};
use gracedb::write::WriteTx;

use super::failure::Failure;
use super::messages::{MailboxRow, MessageRow, UidValidity, Vanished, flag};
use super::shares::owner_name;
use super::words::remove_all_words;
use super::{quota, seed, threads};

/// Mailboxes changed in one transaction.
const MAILBOXES_AT_ONCE: usize = 500;

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Renewed {
    /// Mailboxes that have a new UIDVALIDITY.
    pub mailboxes: u64,
    /// Those of them whose account is lost.
    pub without_account: u64,
    /// Messages in them.
    pub messages: u64,
    /// Messages whose mailbox is lost. They are kept, and nobody can read them.
    pub stray: u64,
}

/// Renews the mailboxes of a database that is marked as a copy; `None`: it is not.
///
/// # Errors
/// The database failed, or there is no UIDVALIDITY left.
pub fn renew(db: &Db) -> Result<Option<Renewed>, Failure> {
    if !db.is_copy()? {
        return Ok(None);
    }
    let snapshot = db.snapshot();
    let mut renewed = Renewed::default();
    keep_used(db, &snapshot)?;
    let mut batch = Vec::new();
    for row in snapshot.scan::<MailboxRow>() {
        let row = recounted(&snapshot, row?);
        renewed.mailboxes += 1;
        renewed.messages += u64::from(row.messages);
        if owner_name(&snapshot, row.account)?.is_none() {
            renewed.without_account += 1;
            tracing::warn!(
                target: "grace", event = "MailboxWithoutAccount",
                mailbox = row.id, account = row.account, name = %row.name, messages = row.messages,
                "its account is lost; its messages are kept, and nobody can read them"
            );
        }
        batch.push(row);
        if batch.len() >= MAILBOXES_AT_ONCE {
            write(db, std::mem::take(&mut batch))?;
        }
    }
    write(db, batch)?;
    renewed.stray = tell_strays(&snapshot)?;
    // Nobody asks for them under a new UIDVALIDITY, and a message that came back may be among them.
    db.write(|tx| tx.delete_range::<Vanished>(..))?.wait()?;
    // Counts of mailboxes are others now, and so is what everybody uses.
    db.write(quota::forget_counts)?.wait()?;
    // What was made of messages may be lost.
    db.write(threads::forget_noted)?.wait()?;
    // What came back may have had other words.
    db.write(remove_all_words)?.wait()?;
    db.settle_copy()?;
    let Renewed { mailboxes, without_account, messages, stray } = renewed;
    tracing::warn!(
        target: "grace", event = "CopyRenewed", mailboxes, messages, without_account, stray,
        "the database was restored or repaired; mail programs read all mailboxes anew"
    );
    Ok(Some(renewed))
}

/// Notes the greatest UIDVALIDITY of all mailboxes as used: the row that says so may be older than
/// they are, or lost.
fn keep_used(db: &Db, snapshot: &Snapshot) -> Result<(), Failure> {
    let mut used = 0;
    for row in snapshot.scan::<MailboxRow>() {
        used = used.max(row?.uid_validity);
    }
    let noted = db.write(|tx| {
        let last = tx.get::<UidValidity>(&0)?.map_or(0, |row| row.last);
        tx.put(&UidValidity { one: 0, last: last.max(used) })
    })?;
    Ok(noted.wait()?)
}

/// Gives each mailbox a new UIDVALIDITY, in one transaction.
fn write(db: &Db, rows: Vec<MailboxRow>) -> Result<(), Failure> {
    let written = db.write(|tx: &mut WriteTx<'_>| {
        for mut row in rows {
            row.uid_validity = seed::next_uid_validity(tx)?;
            tx.put(&row)?;
        }
        Ok::<_, Failure>(())
    })?;
    Ok(written.wait()?)
}

/// A mailbox whose numbers agree with its messages. If those cannot all be read, its counts stay as
/// they are.
fn recounted(snapshot: &Snapshot, row: MailboxRow) -> MailboxRow {
    let mut new = MailboxRow { messages: 0, unseen: 0, deleted: 0, bytes: 0, ..row.clone() };
    match count(snapshot, &mut new) {
        Ok(()) => new,
        Err(error) => {
            tracing::error!(
                target: "grace", event = "MailboxNotRecounted", mailbox = row.id, %error
            );
            let (uid_next, modseq) = (new.uid_next, new.modseq);
            MailboxRow { uid_next, modseq, ..row }
        }
    }
}

fn count(snapshot: &Snapshot, mailbox: &mut MailboxRow) -> Result<(), Error> {
    for message in snapshot.prefix::<MessageRow>(&(mailbox.id,)) {
        let message = message?;
        mailbox.messages = mailbox.messages.saturating_add(1);
        mailbox.unseen += u32::from(message.flags & flag::SEEN == 0);
        mailbox.deleted += u32::from(message.is_deleted());
        mailbox.bytes = mailbox.bytes.saturating_add(message.size());
        mailbox.uid_next = mailbox.uid_next.max(message.uid.saturating_add(1));
        mailbox.modseq = mailbox.modseq.max(message.modseq);
    }
    mailbox.modseq = mailbox.modseq.saturating_add(1);
    Ok(())
}

/// Tells of messages whose mailbox is not there; says how many.
fn tell_strays(snapshot: &Snapshot) -> Result<u64, Error> {
    let (mut stray, mut from) = (0, Some(0));
    while let Some(low) = from {
        let first = snapshot.range::<MessageRow>((low, 0)..).next().transpose()?;
        let Some(id) = first.map(|message| message.mailbox) else { break };
        if !snapshot.contains::<MailboxRow>(&id)? {
            let (mut messages, mut bytes) = (0, 0);
            for message in snapshot.prefix::<MessageRow>(&(id,)) {
                messages += 1;
                bytes += message?.size();
            }
            stray += messages;
            tracing::warn!(
                target: "grace", event = "MessagesWithoutMailbox", mailbox = id, messages, bytes,
                "their mailbox is lost; they are kept, and nobody can read them"
            );
        }
        from = id.checked_add(1);
    }
    Ok(stray)
}

#[cfg(test)]
mod tests {
    use gracedb::options::Options;
    use gracedb::pending::block_on;

    use super::super::SCHEMA;
    use super::super::accounts::Account;
    use super::super::messages::MailboxByName;
    use super::*;

    /// A database that is marked, with two mailboxes of one account.
    fn marked(folder: &std::path::Path) -> Db {
        std::fs::write(folder.join("backup"), "a backup").unwrap();
        let db = Db::open(Options::new(folder), SCHEMA).unwrap();
        let made = db.write(|tx| {
            let account = Account {
                id: 1,
                address: "ann@example.org".to_owned(),
                password_hash: String::new(),
                created_us: 1,
            };
            tx.put(&account)?;
            seed::make(tx, 1, "INBOX", None)?;
            seed::make(tx, 1, "Trash", None).map(drop)
        });
        made.unwrap().wait().unwrap();
        db
    }

    fn put(db: &Db, mailbox: u64, uid: u32, flags: u8) {
        let body = block_on(async {
            let mut writer = db.large_writer();
            writer.write(b"hello").await.unwrap();
            writer.finish().await.unwrap()
        });
        let message = MessageRow {
            mailbox,
            uid,
            modseq: 100 + u64::from(uid),
            internal_date_s: 0,
            internal_zone_min: 0,
            flags,
            keywords: Vec::new(),
            body,
        };
        db.write(|tx| tx.put(&message)).unwrap().wait().unwrap();
    }

    fn mailbox(db: &Db, name: &str) -> MailboxRow {
        db.snapshot().find::<MailboxByName>(&(1, name.to_owned())).unwrap().unwrap()
    }

    #[test]
    fn mailboxes_of_a_copy_are_counted_and_get_a_new_uid_validity() {
        let folder = tempfile::tempdir().unwrap();
        let db = marked(folder.path());
        // Beyond any clock, as after one that was wrong; and the row of the newest is older.
        let changed = db.write(|tx| {
            let inbox = tx.find::<MailboxByName>(&(1, "INBOX".to_owned()))?.unwrap();
            let wrong = MailboxRow {
                uid_validity: 4_100_000_000,
                messages: 252,
                deleted: 252,
                uid_next: 2,
                ..inbox
            };
            tx.put(&wrong)?;
            tx.put(&Vanished { mailbox: wrong.id, modseq: 7, first: 1, last: 9 })
        });
        changed.unwrap().wait().unwrap();
        let (inbox, trash) = (mailbox(&db, "INBOX"), mailbox(&db, "Trash"));
        put(&db, inbox.id, 3, flag::SEEN);
        put(&db, inbox.id, 5, flag::DELETED);
        let renewed = renew(&db).unwrap().unwrap();
        assert_eq!(renewed, Renewed { mailboxes: 2, without_account: 0, messages: 2, stray: 0 });
        let new = mailbox(&db, "INBOX");
        assert!(new.uid_validity > inbox.uid_validity, "{new:?}");
        let counts = (new.messages, new.unseen, new.deleted, new.bytes, new.uid_next, new.modseq);
        assert_eq!(counts, (2, 1, 1, 10, 6, 106));
        let other = mailbox(&db, "Trash");
        assert!(other.uid_validity > trash.uid_validity, "{other:?}");
        assert_ne!(other.uid_validity, new.uid_validity);
        assert_eq!(db.snapshot().scan::<Vanished>().count(), 0);
        // It is done once.
        assert!(!db.is_copy().unwrap());
        assert_eq!(renew(&db).unwrap(), None);
        assert_eq!(mailbox(&db, "INBOX"), new);
    }

    #[test]
    fn what_was_cut_short_is_done_again() {
        let folder = tempfile::tempdir().unwrap();
        let db = marked(folder.path());
        let inbox = mailbox(&db, "INBOX");
        put(&db, inbox.id, 1, 0);
        // All but the last step.
        write(&db, vec![recounted(&db.snapshot(), inbox.clone())]).unwrap();
        let halfway = mailbox(&db, "INBOX");
        assert!(halfway.uid_validity > inbox.uid_validity && db.is_copy().unwrap());
        db.close();
        let db = Db::open(Options::new(folder.path()), SCHEMA).unwrap();
        assert!(renew(&db).unwrap().is_some());
        let new = mailbox(&db, "INBOX");
        assert!(new.uid_validity > halfway.uid_validity);
        assert_eq!((new.messages, new.uid_next), (1, 2));
    }

    #[test]
    fn messages_without_a_mailbox_are_kept_and_nobody_gets_them() {
        let folder = tempfile::tempdir().unwrap();
        let db = marked(folder.path());
        // The numbers that the next mailboxes would get.
        put(&db, 3, 1, 0);
        put(&db, 3, 2, flag::DELETED);
        put(&db, 4, 1, 0);
        let lost = db.write(|tx| {
            let id = mailbox(&db, "Trash").id;
            let row = tx.get::<MailboxRow>(&id)?.unwrap();
            tx.put(&MailboxRow { account: 77, ..row })
        });
        lost.unwrap().wait().unwrap();
        let renewed = renew(&db).unwrap().unwrap();
        assert_eq!(renewed, Renewed { mailboxes: 2, without_account: 1, messages: 0, stray: 3 });
        assert_eq!(db.snapshot().scan::<MessageRow>().count(), 3);
        let made = db.write(|tx| seed::make(tx, 1, "New", None)).unwrap().wait().unwrap();
        assert_eq!(made.id, 5, "a mailbox begins empty");
    }
}
