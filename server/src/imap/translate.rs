//! Between the words of `grace_imap` and those of the store.
//!
//! Invariant: both keep system flags in the same bits.

use grace_imap::command;
use grace_imap::date::DateTime;
use grace_imap::flags::{FlagOperation, Flags, SystemFlag};
use grace_imap::machine::{Hits, Message, Opened, Quota, Resource, Sought, Status, Why};
use grace_imap::rights::Rights;
use grace_imap::rows::Row;
use grace_imap::set::Ranges;
use grace_imap::view::Changes;

use crate::mailbox::change::FlagVerb;
use crate::mailbox::facts::Known;
use crate::mailbox::{metadata, read};
use crate::store::failure::Failure;
use crate::store::messages::{FirstPlace, MailboxRow, MessageRow, SpecialUse, flag};
use crate::store::shares::QuotaRow;
use crate::store::threads::Thread;
use crate::words::{Found, Text};

const _: () = assert!(
    SystemFlag::Seen.bit() == flag::SEEN
        && SystemFlag::Answered.bit() == flag::ANSWERED
        && SystemFlag::Flagged.bit() == flag::FLAGGED
        && SystemFlag::Deleted.bit() == flag::DELETED
        && SystemFlag::Draft.bit() == flag::DRAFT
);
const _: () = assert!(metadata::ENTRIES_MAX == grace_imap::metadata::ENTRIES_MAX);

pub(super) fn keywords(flags: &Flags) -> Vec<String> {
    flags.keywords().iter().map(|keyword| keyword.as_str().to_owned()).collect()
}

pub(super) fn date(message: &MessageRow) -> DateTime {
    DateTime { time_s: message.internal_date_s, zone_min: message.internal_zone_min }
}

/// What rows tell of a message; the times beyond INTERNALDATE are not among it.
pub(super) fn known(known: Known) -> Message {
    let Known { internal_date_s, internal_zone_min, size, fields, shape, preview, .. } = known;
    let date = DateTime { time_s: internal_date_s, zone_min: internal_zone_min };
    Message { shape, preview, ..message(date, size, fields) }
}

/// A message that nothing else is told of.
pub(super) fn message(date: DateTime, size: u64, bytes: Vec<u8>) -> Message {
    let (email_id, thread_id) = (String::new(), String::new());
    Message { date, saved: date, email_id, thread_id, preview: None, size, bytes, shape: None }
}

/// MAILBOXID (RFC 8474 4): the number of a mailbox is never used again.
pub(super) fn mailbox_id(mailbox: &MailboxRow) -> String {
    format!("F{}", mailbox.id)
}

/// EMAILID (RFC 8474 5.1).
pub(super) fn email_id(first: &FirstPlace) -> String {
    let FirstPlace { mailbox, uid_validity, uid } = first;
    format!("E{mailbox}-{uid_validity}-{uid}")
}

/// THREADID (RFC 8474 5.2): where its first message first stood.
pub(super) fn thread_id(thread: &Thread) -> String {
    let FirstPlace { mailbox, uid_validity, uid } = thread.first;
    format!("T{mailbox}-{uid_validity}-{uid}")
}

pub(super) fn verb(operation: FlagOperation) -> FlagVerb {
    match operation {
        FlagOperation::Replace => FlagVerb::Replace,
        FlagOperation::Add => FlagVerb::Add,
        FlagOperation::Remove => FlagVerb::Remove,
    }
}

pub(super) fn text(sought: Sought) -> Text {
    let Sought { needle, in_head } = sought;
    Text { needle, in_head }
}

pub(super) fn hits(found: Found) -> Hits {
    Hits { sure: Ranges::of(found.sure), doubt: Ranges::of(found.doubt) }
}

pub(super) fn changes(
    changes: read::Changes<Row>,
    rights: Option<Rights>,
    url_key: bool,
) -> Changes {
    let read::Changes { mailbox, changed: rows, vanished } = changes;
    let MailboxRow { modseq, recent_from, .. } = mailbox;
    Changes { modseq, rows, recent_from, vanished, rights, url_key }
}

pub(super) fn opened(opened: read::Opened, rights: Rights) -> Opened {
    Opened {
        mailbox_id: mailbox_id(&opened.mailbox),
        uid_validity: opened.mailbox.uid_validity,
        uid_next: opened.mailbox.uid_next,
        modseq: opened.mailbox.modseq,
        rights,
        recent_from: opened.mailbox.recent_from,
        rows: opened.messages,
    }
}

pub(super) fn status(mailbox: &MailboxRow) -> Status {
    // Counting them would take a walk; those that were expunged unseen make this too large at
    // worst.
    let recent = mailbox.uid_next.saturating_sub(mailbox.recent_from).min(mailbox.messages);
    Status {
        mailbox_id: mailbox_id(mailbox),
        messages: u64::from(mailbox.messages),
        recent: u64::from(recent),
        unseen: u64::from(mailbox.unseen),
        deleted: u64::from(mailbox.deleted),
        size: mailbox.bytes,
        deleted_size: 0,
        uid_next: mailbox.uid_next,
        uid_validity: mailbox.uid_validity,
        modseq: mailbox.modseq,
    }
}

pub(super) fn special_use(special: command::SpecialUse) -> SpecialUse {
    match special {
        command::SpecialUse::Archive => SpecialUse::Archive,
        command::SpecialUse::Drafts => SpecialUse::Drafts,
        command::SpecialUse::Junk => SpecialUse::Junk,
        command::SpecialUse::Sent => SpecialUse::Sent,
        command::SpecialUse::Trash => SpecialUse::Trash,
        command::SpecialUse::Flagged => SpecialUse::Flagged,
        command::SpecialUse::All => SpecialUse::All,
    }
}

pub(super) fn listed_use(number: u8) -> Option<command::SpecialUse> {
    Some(match SpecialUse::from_row(number)? {
        SpecialUse::Archive => command::SpecialUse::Archive,
        SpecialUse::Drafts => command::SpecialUse::Drafts,
        SpecialUse::Junk => command::SpecialUse::Junk,
        SpecialUse::Sent => command::SpecialUse::Sent,
        SpecialUse::Trash => command::SpecialUse::Trash,
        SpecialUse::Flagged => command::SpecialUse::Flagged,
        SpecialUse::All => command::SpecialUse::All,
    })
}

/// A quota root, in the units of RFC 9208 5.
pub(super) fn quota(row: &QuotaRow) -> Quota {
    /// STORAGE counts in units of so many bytes (RFC 9208 5.1).
    const UNIT_BYTES: u64 = 1_024;
    let storage = (row.bytes_max > 0).then(|| Resource {
        name: "STORAGE",
        usage: row.bytes.div_ceil(UNIT_BYTES),
        limit: row.bytes_max.div_ceil(UNIT_BYTES),
    });
    let messages = (row.messages_max > 0).then_some(Resource {
        name: "MESSAGE",
        usage: row.messages,
        limit: row.messages_max,
    });
    let resources = storage.into_iter().chain(messages).collect();
    Quota { root: row.of.clone(), resources }
}

/// Why the store refused, for the client.
pub(super) fn why(failure: &Failure) -> Why {
    match failure {
        Failure::NoSuchMailbox => Why::NoSuchMailbox,
        Failure::NoSuchMessage => Why::MessageGone,
        Failure::NoPermission => Why::NoPermission,
        Failure::OverQuota => Why::OverQuota,
        Failure::Exists => Why::Exists,
        Failure::NotAllowed(text) => Why::NotAllowed((*text).to_owned()),
        Failure::Limit(text) => Why::Limit((*text).to_owned()),
        Failure::Full(_) => Why::Limit("the server's disk is full; try again later".to_owned()),
        Failure::Store(_) => Why::Broken,
    }
}
