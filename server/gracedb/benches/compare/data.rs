//! The data: rows, bodies and letters, each made from its number alone, and what is done with them.
//!
//! ```text
//!   row      (account, id) -> 200 bytes of text
//!   body     id            -> 16 KiB
//!   letter   a body, and four rows: the message, and one for each of its three indexes
//! ```
//! Keys are spread over a thousand accounts, as mail is: what comes in one after the other lands in
//! a thousand places. Nothing in here can be compressed to much less.
//! Not here: these rows as bytes, for engines without tables (`pairs`).

use std::sync::OnceLock;

use gracedb::large::Large;
use gracedb::schema::Schema;
use gracedb::table::Table;
use serde::{Deserialize, Serialize};

/// Bytes of a row's value.
pub(crate) const TEXT_BYTES: usize = 200;
/// Bytes of a body.
pub(crate) const BODY_BYTES: usize = 16 << 10;
/// Bytes of a message's subject, which bring its row to some 200.
pub(crate) const SUBJECT_BYTES: usize = 160;

const ACCOUNTS: u64 = 1_000;
/// Bodies that differ; the rest are these with another number at their head.
const BODIES: u64 = 64;
/// The second of the first letter, since 1970 UTC.
const FIRST_S: u64 = 1_700_000_000;

/// A small row.
#[derive(Table, Serialize, Deserialize)]
#[table(id = 1, name = "row")]
pub(crate) struct Row {
    #[key]
    pub(crate) account: u64,
    #[key]
    pub(crate) id: u64,
    pub(crate) text: String,
}

/// A body, which stands in the journal.
#[derive(Table, Serialize, Deserialize)]
#[table(id = 2, name = "body")]
pub(crate) struct Body {
    #[key]
    pub(crate) id: u64,
    pub(crate) bytes: Large,
}

/// A message in a mailbox.
#[derive(Table, Serialize, Deserialize)]
#[table(id = 3, name = "message")]
#[index(id = 1, name = MessageByModseq, fields(mailbox, modseq))]
#[index(id = 2, name = MessageByDate, fields(mailbox, date_s))]
#[index(id = 3, name = MessageByDigest, fields(digest))]
pub(crate) struct Message {
    #[key]
    pub(crate) mailbox: u64,
    #[key]
    pub(crate) uid: u64,
    pub(crate) modseq: u64,
    pub(crate) date_s: u64,
    pub(crate) digest: [u8; 16],
    pub(crate) flags: u8,
    pub(crate) body: u64,
    pub(crate) subject: String,
}

/// The tables.
pub(crate) const SCHEMA: Schema = Schema::new(&[Row::DEF, Body::DEF, Message::DEF]);

/// One thing that a transaction does.
pub(crate) enum Change {
    /// Writes a row.
    Row(Row),
    /// Writes a body of this number.
    Body(u64, Vec<u8>),
    /// Takes a letter in.
    Letter(Message, Vec<u8>),
    /// Changes the flags of a message, which gives it another mod-sequence.
    Flags { mailbox: u64, uid: u64, modseq: u64 },
}

/// SplitMix64: the next number after `state`.
pub(crate) fn chance(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

fn text(seed: u64, len: usize) -> String {
    const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    let mut state = seed;
    let mut text = String::with_capacity(len + 10);
    while text.len() < len {
        let mut bits = chance(&mut state);
        for _ in 0..10 {
            let letter = LETTERS.get(usize::try_from(bits % 64).unwrap_or(0)).copied();
            text.push(char::from(letter.unwrap_or(b'a')));
            bits >>= 6;
        }
    }
    text.truncate(len);
    text
}

/// The account of a row of the set that is loaded first.
pub(crate) fn account(id: u64) -> u64 {
    (id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) % ACCOUNTS
}

/// A row of the set that is loaded first.
pub(crate) fn row(id: u64) -> Row {
    Row { account: account(id), id, text: text(id, TEXT_BYTES) }
}

/// A row that comes later, in accounts of its own: what is read stays the same set.
pub(crate) fn later_row(id: u64) -> Row {
    Row { account: ACCOUNTS + account(id), ..row(id) }
}

/// The body with this number.
pub(crate) fn body(id: u64) -> Vec<u8> {
    static ALL: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let all = ALL.get_or_init(|| (0..BODIES).map(random_body).collect());
    let found = all.get(usize::try_from(id % BODIES).unwrap_or(0));
    let mut bytes = found.cloned().unwrap_or_default();
    if let Some(head) = bytes.first_chunk_mut::<8>() {
        *head = id.to_le_bytes();
    }
    bytes
}

fn random_body(seed: u64) -> Vec<u8> {
    let mut state = seed ^ 0xB0D1_E500;
    (0..BODY_BYTES / 8).flat_map(|_| chance(&mut state).to_le_bytes()).collect()
}

/// The mailbox and UID of a letter.
pub(crate) fn place(id: u64) -> (u64, u64) {
    (account(id), id)
}

/// The letter with this number, newly come.
pub(crate) fn letter(id: u64) -> (Message, Vec<u8>) {
    let (mailbox, uid) = place(id);
    let mut state = id ^ 0xD16E_5700;
    let mut digest = [0; 16];
    for half in digest.as_chunks_mut::<8>().0 {
        *half = chance(&mut state).to_le_bytes();
    }
    let subject = text(state, SUBJECT_BYTES);
    let (modseq, date_s) = (id, FIRST_S + id);
    let message = Message { mailbox, uid, modseq, date_s, digest, flags: 0, body: id, subject };
    (message, body(id))
}

/// Looks at one byte of each cache line, so that an engine which only lends its bytes pays for
/// fetching them, as its user would.
pub(crate) fn touch(bytes: &[u8]) -> usize {
    let sum = bytes.iter().step_by(64).fold(0u8, |sum, byte| sum ^ byte);
    std::hint::black_box(sum);
    bytes.len()
}
