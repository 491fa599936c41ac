//! What is written beside the events so that messages are found: a row for each on each page, and
//! its words.
//!
//! ```text
//!   events of a page ─▶ of which message? ─▶ what they say of it ─┬─▶ traced, merged with what
//!                       by number, else by the message            │   stands there
//!                       that their connection is at               └─▶ trace_word, trace_later
//! ```
//! Invariants: an event changes the rows of its own page only; memory is one entry for a connection
//! that is in the middle of a message, and no more than [`OPEN_MAX`] of them.
//! Not here: the events themselves ([`super::traces`]), looking for them ([`super::search`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use gracedb::error::Error as StoreError;
use gracedb::view::View as _;
use gracedb::write::WriteTx;

use grace_ipc::event::{Event, EventKind};
use grace_ipc::trace::TRACE_RECIPIENTS_MAX;

use crate::store::outgoing::from_base32;
use crate::store::traces::{StoryId, TraceLaterRow, TraceWordRow, TracedRow, WordKind};

/// Connections in the middle of a message that are remembered. More than may be open means that
/// their ends fell out of the bus, and then it begins anew.
const OPEN_MAX: usize = 100_000;
/// Longest word, in bytes: any address (RFC 5321 4.5.3.1) and nearly any Message-ID. Longer ones
/// are found by their beginning.
const WORD_BYTES_MAX: usize = 320;
/// The mailbox for doubtful mail, as new accounts have it.
const JUNK: &str = "Junk";
/// How a command begins that names a sender (RFC 5321 4.1.1.2).
const MAIL_FROM: &str = "MAIL FROM:<";

/// What is known beyond one page.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// The message that a connection is at, by trace.
    open: HashMap<u64, Open>,
}

#[derive(Debug)]
struct Open {
    story: StoryId,
    /// It goes to where doubtful mail is kept.
    aside: bool,
    /// It was taken; what is refused from now on is another one.
    taken: bool,
}

/// What is to be written.
#[derive(Debug, Default)]
pub(super) struct Draft {
    rows: BTreeMap<(u64, StoryId), TracedRow>,
    words: BTreeSet<TraceWordRow>,
}

impl Index {
    /// Takes note of an event on a page.
    pub(super) fn note(&mut self, draft: &mut Draft, page: u64, event: &Event) {
        if let EventKind::ConnectionClosed { .. } = event.kind {
            self.open.remove(&event.trace.0);
        } else if let Some(story) = self.subject(event) {
            let open = self.open.get(&event.trace.0);
            let aside = open.is_some_and(|open| open.story == story && open.aside);
            draft.add(page, story, event, aside);
        }
    }

    /// What an event is of; `None`: of no message and no refusal.
    fn subject(&mut self, event: &Event) -> Option<StoryId> {
        let trace = event.trace.0;
        let message = |queue_id: &str| from_base32(queue_id).map(StoryId::message);
        match &event.kind {
            EventKind::MessageIdentified { queue_id, about, .. } => {
                let story = message(queue_id)?;
                if about.is_empty() {
                    if self.open.len() >= OPEN_MAX {
                        self.open.clear();
                    }
                    self.open.insert(trace, Open { story, aside: false, taken: false });
                }
                Some(story)
            }
            EventKind::SenderChecked { consequence, .. } => {
                let open = self.open.get_mut(&trace).filter(|open| !open.taken)?;
                open.aside = consequence == "quarantined";
                Some(open.story)
            }
            EventKind::MessageRefused { .. } => {
                let open = self.open.remove(&trace).filter(|open| !open.taken);
                Some(open.map_or(StoryId::connection(trace), |open| open.story))
            }
            EventKind::RecipientRefused { .. } => Some(StoryId::connection(trace)),
            EventKind::CommandRefused { command, .. } => {
                command.starts_with(MAIL_FROM).then(|| StoryId::connection(trace))
            }
            EventKind::MessageAccepted { queue_id, .. } => {
                let story = message(queue_id)?;
                if let Some(open) = self.open.get_mut(&trace) {
                    open.taken = true;
                }
                Some(story)
            }
            EventKind::MessageDelivered { queue_id, .. }
            | EventKind::RecipientSent { queue_id, .. }
            | EventKind::RecipientDeferred { queue_id, .. }
            | EventKind::RecipientFailed { queue_id, .. }
            | EventKind::SenderNotified { queue_id, .. } => message(queue_id),
            _ => None,
        }
    }
}

impl Draft {
    fn add(&mut self, page: u64, story: StoryId, event: &Event, aside: bool) {
        let empty = || TracedRow { page, story: story.number(), ..TracedRow::default() };
        let row = self.rows.entry((page, story)).or_insert_with(empty);
        row.trace = event.trace.0;
        row.last_us = row.last_us.max(event.time_us);
        say(row, &event.kind, aside);
        for (kind, word) in words(&event.kind) {
            let story = story.number();
            self.words.insert(TraceWordRow { page, kind: kind as u8, word, story });
        }
    }

    /// Writes what was noted.
    pub(super) fn write(self, tx: &mut WriteTx<'_>) -> Result<(), StoreError> {
        for ((page, story), row) in self.rows {
            let row = match tx.get::<TracedRow>(&(page, story.number()))? {
                Some(there) => merged(there, row),
                None => row,
            };
            tx.put(&row)?;
            if page > story.began_us() {
                tx.put(&TraceLaterRow { story: story.number(), page })?;
            }
        }
        self.words.iter().try_for_each(|word| tx.put(word))
    }
}

/// Adds to a row what an event says.
fn say(row: &mut TracedRow, kind: &EventKind, aside: bool) {
    match kind {
        EventKind::MessageIdentified { sender, message_id, recipients, .. } => {
            row.sender = Some(sender.clone());
            row.message_id.clone_from(message_id);
            recipients.iter().for_each(|recipient| name(row, recipient));
            row.recipients_count += count(recipients.len());
        }
        EventKind::MessageAccepted { sender, size, .. } => {
            row.sender = Some(sender.clone());
            row.size = *size;
        }
        EventKind::MessageRefused { sender, reply } => {
            row.sender = Some(sender.clone());
            row.refused += 1;
            row.reason.clone_from(reply);
        }
        EventKind::RecipientRefused { sender, recipient, reply, .. } => {
            row.sender = Some(sender.clone());
            name(row, recipient);
            row.recipients_count += 1;
            row.refused += 1;
            row.reason.clone_from(reply);
        }
        EventKind::CommandRefused { command, reply, .. } => {
            row.sender = refused_sender(command).map(str::to_owned);
            row.refused += 1;
            row.reason.clone_from(reply);
        }
        EventKind::MessageDelivered { mailbox, size, .. } => {
            row.size = *size;
            if aside || mailbox.eq_ignore_ascii_case(JUNK) {
                row.junk += 1;
            } else {
                row.delivered += 1;
            }
        }
        EventKind::RecipientSent { recipient, .. } => {
            name(row, recipient);
            row.delivered += 1;
        }
        EventKind::RecipientDeferred { recipient, reason, .. } => {
            name(row, recipient);
            row.deferred += 1;
            row.reason.clone_from(reason);
        }
        EventKind::RecipientFailed { recipient, reason, .. } => {
            name(row, recipient);
            row.failed += 1;
            row.reason.clone_from(reason);
        }
        _ => {}
    }
}

/// Names a recipient, if there is room and it does not stand there yet.
fn name(row: &mut TracedRow, recipient: &str) {
    if row.recipients.len() < TRACE_RECIPIENTS_MAX && !row.recipients.iter().any(|r| r == recipient)
    {
        row.recipients.push(recipient.to_owned());
    }
}

/// What two rows say of one message, the earlier one first.
pub(super) fn merged(mut row: TracedRow, later: TracedRow) -> TracedRow {
    row.page = later.page;
    row.trace = later.trace;
    row.last_us = row.last_us.max(later.last_us);
    row.sender = later.sender.or(row.sender);
    later.recipients.iter().for_each(|recipient| name(&mut row, recipient));
    row.recipients_count = row.recipients_count.saturating_add(later.recipients_count);
    if !later.message_id.is_empty() {
        row.message_id = later.message_id;
    }
    row.size = row.size.max(later.size);
    row.delivered = row.delivered.saturating_add(later.delivered);
    row.junk = row.junk.saturating_add(later.junk);
    row.deferred = row.deferred.saturating_add(later.deferred);
    row.failed = row.failed.saturating_add(later.failed);
    row.refused = row.refused.saturating_add(later.refused);
    if !later.reason.is_empty() {
        row.reason = later.reason;
    }
    row
}

/// The words of an event.
fn words(kind: &EventKind) -> Vec<(WordKind, String)> {
    let mut words = Vec::new();
    let mut sender = |text: &str| words.push((WordKind::Sender, address_word(text)));
    match kind {
        EventKind::MessageIdentified { sender: from, .. }
        | EventKind::MessageRefused { sender: from, .. }
        | EventKind::RecipientRefused { sender: from, .. } => sender(from),
        EventKind::CommandRefused { command, .. } => {
            if let Some(from) = refused_sender(command) {
                sender(from);
            }
        }
        _ => {}
    }
    let mut recipient = |text: &str| words.push((WordKind::Recipient, address_word(text)));
    match kind {
        EventKind::MessageIdentified { recipients, .. } => {
            recipients.iter().for_each(|to| recipient(to));
        }
        EventKind::MessageDelivered { account: to, .. }
        | EventKind::RecipientRefused { recipient: to, .. }
        | EventKind::RecipientSent { recipient: to, .. }
        | EventKind::RecipientDeferred { recipient: to, .. }
        | EventKind::RecipientFailed { recipient: to, .. } => recipient(to),
        _ => {}
    }
    if let EventKind::MessageIdentified { message_id, .. } = kind
        && !message_id.is_empty()
    {
        words.push((WordKind::MessageId, folded(message_id)));
    }
    words
}

/// An address as a word: the domain first, so that those of one domain stand together.
pub(super) fn address_word(address: &str) -> String {
    let (local, domain) = address.rsplit_once('@').unwrap_or((address, ""));
    folded(&format!("{domain}@{local}"))
}

/// A word as it is compared: in small letters, and not too long.
pub(super) fn folded(word: &str) -> String {
    let mut word = word.to_lowercase();
    word.truncate(word.floor_char_boundary(WORD_BYTES_MAX));
    word
}

/// The sender that a refused command names.
fn refused_sender(command: &str) -> Option<&str> {
    command.strip_prefix(MAIL_FROM)?.split('>').next()
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
