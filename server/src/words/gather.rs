//! Terms of messages in memory, until there are enough of them for a segment.
//!
//! Invariants: messages come by ascending UID; memory is what the settings say, and what one
//! message may add ([`MESSAGE_TERMS_BYTES_MAX`]). Of a message with more terms it is noted that not
//! all are known.
//! Not here: reading messages (`keeper`), the bytes that come out (`slab`).

use std::collections::HashMap;

use grace_mail::mime::Tree;
use grace_mail::terms::terms;
use grace_mail::text;

use super::slab::{SlabWriter, write_number};
use crate::store::words::Field;

/// What a term takes beside its letters: the table's entry, and where its messages are noted.
const TERM_BYTES: usize = 120;

/// So much memory the terms of one message may take: a book has less.
const MESSAGE_TERMS_BYTES_MAX: usize = 16 << 20;

/// A slab that is made.
pub(super) struct Made {
    pub(super) field: Field,
    pub(super) number: u32,
    pub(super) bytes: Vec<u8>,
}

/// Terms of some messages of a mailbox.
#[derive(Debug)]
pub(super) struct Gathered {
    /// The first UID of the segment.
    pub(super) first: u32,
    head: HashMap<Box<str>, Messages>,
    body: HashMap<Box<str>, Messages>,
    /// Memory taken.
    pub(super) bytes: usize,
    /// Messages that were added.
    pub(super) messages: u32,
    /// Those that not all terms are known of.
    pub(super) unsure: Vec<u32>,
}

/// The messages that have a term, as slabs have them.
#[derive(Debug)]
struct Messages {
    last: u32,
    bytes: Vec<u8>,
}

impl Gathered {
    /// Nothing yet, of a segment that begins with this UID.
    pub(super) fn new(first: u32) -> Self {
        let (head, body, unsure) = (HashMap::new(), HashMap::new(), Vec::new());
        Self { first, head, body, bytes: 0, messages: 0, unsure }
    }

    /// Adds a message.
    pub(super) fn add(&mut self, uid: u32, raw: &[u8]) {
        let tree = Tree::parse(raw);
        let before = self.bytes;
        let mut is_whole = true;
        if let Some(head) = text::of_head(raw, &tree) {
            is_whole &= self.take(Field::Head, uid, &head, before);
        }
        for body in text::of_body(raw, &tree) {
            is_whole &= self.take(Field::Body, uid, &body, before);
        }
        self.messages = self.messages.saturating_add(1);
        if !is_whole {
            self.unsure.push(uid);
        }
    }

    /// Adds a message that cannot be read.
    pub(super) fn add_unread(&mut self, uid: u32) {
        self.messages = self.messages.saturating_add(1);
        self.unsure.push(uid);
    }

    /// Adds the terms of one text; says whether all found room.
    fn take(&mut self, field: Field, uid: u32, text: &str, before: usize) -> bool {
        let table = match field {
            Field::Head => &mut self.head,
            Field::Body => &mut self.body,
        };
        let (first, bytes, mut is_whole) = (self.first, &mut self.bytes, true);
        terms(&text::fold(text), |term| {
            if let Some(messages) = table.get_mut(term) {
                if messages.last != uid {
                    write_number(&mut messages.bytes, uid.saturating_sub(messages.last));
                    messages.last = uid;
                    *bytes += 1;
                }
            } else if *bytes - before > MESSAGE_TERMS_BYTES_MAX {
                is_whole = false;
            } else {
                let mut messages = Messages { last: uid, bytes: Vec::new() };
                write_number(&mut messages.bytes, uid.saturating_sub(first));
                table.insert(term.into(), messages);
                *bytes += TERM_BYTES + term.len();
            }
        });
        is_whole
    }

    /// Makes slabs of all there is.
    pub(super) fn into_slabs(self) -> Vec<Made> {
        let mut made = Vec::new();
        for (field, table) in [(Field::Head, self.head), (Field::Body, self.body)] {
            let mut table: Vec<(Box<str>, Messages)> = table.into_iter().collect();
            table.sort_unstable_by(|one, other| one.0.cmp(&other.0));
            let (mut writer, mut number) = (SlabWriter::default(), 0);
            let mut end = |writer: &mut SlabWriter| {
                made.extend(writer.end().map(|bytes| Made { field, number, bytes }));
                number += 1;
            };
            for (term, messages) in table {
                writer.add(&term, &messages.bytes);
                if writer.is_full() {
                    end(&mut writer);
                }
            }
            end(&mut writer);
        }
        made
    }
}
