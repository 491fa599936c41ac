//! The machine, with a store that answers at once and now and then refuses.
//!
//! What must hold: what is said is IMAP; a session whose bytes come one by one says the same as one
//! whose bytes come at once; silence ends it.

use std::cell::RefCell;
use std::rc::Rc;

use grace_imap::flags::Flags;
use grace_imap::machine::Why;

use crate::answers;
use crate::support::{Client, NOW, Store, settings};

/// Not a byte of UTF-8: the byte after it is not the client's, but something that happens.
const ESCAPE: u8 = 0xF5;
/// How a client of the conversations begins.
const LOGIN: &[u8] = b"in LOGIN ann \"secret \\\"word\\\"\"\r\nse SELECT INBOX\r\n";
/// Where it matters when bytes came: what comes too early behind the first three is forgotten, and
/// IDLE tells news only if its end has not come yet.
const TIMED: [&[u8]; 4] = [b"starttls", b"compress", b"unauthenticate", b"idle"];

const LETTER: &[u8] = b"From: a@b.example\r\nSubject: one\r\nMIME-Version: 1.0\r\n\
    Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n\
    Content-Type: image/gif\r\nContent-Transfer-Encoding: base64\r\n\r\nR0lGAAE=\r\n--b--\r\n";

/// A session with its bytes at once, and one with each alone.
pub(crate) fn sessions(input: &[u8]) {
    let Some((&choice, input)) = input.split_first() else { return };
    let whole = session(choice, input, usize::MAX);
    let lower = input.to_ascii_lowercase();
    let is_there = |word: &&[u8]| lower.windows(word.len()).any(|window| window == *word);
    if !TIMED.iter().any(is_there) {
        let alone = session(choice, input, 1);
        let [whole, alone] = [whole, alone].map(|said| said.escape_ascii().to_string());
        assert_eq!(whole, alone, "bytes that come alone say the same");
    }
}

fn store() -> Store {
    let mut store = Store::default();
    for name in ["INBOX", "Sent", "Lists", "Lists/rust"] {
        store.make(name);
    }
    store.deliver("INBOX", LETTER, Flags::from_parts(1, []), NOW);
    store.deliver("INBOX", b"Subject: two\r\n\r\nbody two\r\n", Flags::none(), NOW);
    store.deliver("INBOX", b"Subject: three\r\n\r\nbody three\r\n", Flags::none(), NOW);
    store
}

fn session(choice: u8, input: &[u8], step: usize) -> Vec<u8> {
    let store = Rc::new(RefCell::new(store()));
    let mut client = Client::new(&store, settings());
    if choice & 1 != 0 {
        client.send(LOGIN);
    }
    let mut parts = input.split(|byte| *byte == ESCAPE);
    if let Some(first) = parts.next() {
        hear(&mut client, first, step);
    }
    for part in parts {
        let Some((event, bytes)) = part.split_first() else { continue };
        happen(&mut client, &store, *event);
        hear(&mut client, bytes, step);
    }
    let said = client.output.clone();
    client.session.timeout();
    client.run();
    assert!(client.closed, "silence does not end it");
    answers::are_sound(&client.output);
    said
}

fn hear(client: &mut Client, bytes: &[u8], step: usize) {
    for piece in bytes.chunks(step.min(bytes.len().max(1))) {
        if !client.closed {
            client.send(piece);
        }
    }
}

/// Something that is not the client's doing.
fn happen(client: &mut Client, store: &Rc<RefCell<Store>>, event: u8) {
    if client.closed {
        return;
    }
    match event % 10 {
        0 => {
            let letter = b"Subject: new\r\n\r\nx";
            store.borrow_mut().deliver("INBOX", letter, Flags::none(), NOW);
        }
        1 => store.borrow_mut().remove("INBOX", &[u32::from(event / 10) % 4]),
        2 => client.wake(),
        3 => client.refuse_next = Some(Why::Broken),
        4 => client.refuse_next = Some(Why::NoSuchMailbox),
        5 => client.refuse_next = Some(Why::OverQuota),
        6 => client.refuse_next = Some(Why::Limit("as many as there may be".to_owned())),
        7 => client.waits = i64::from(event),
        8 => {
            client.session.keep_alive();
            client.run();
        }
        _ => store.borrow_mut().refuses_flags = event & 16 != 0,
    }
}
