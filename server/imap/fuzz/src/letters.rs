//! A message of any bytes, asked for in every way.
//!
//! What must hold: the answers are IMAP; header and text together are the message; what a search
//! finds, its opposite does not, and a text found in the body is found in the whole.

use std::cell::RefCell;
use std::rc::Rc;

use grace_imap::flags::Flags;

use crate::answers;
use crate::support::{Client, NOW, Store, settings};

/// Between the text that is looked for and the message.
const BORDER: u8 = 0xFF;

fn client(letter: &[u8]) -> Client {
    let mut store = Store::default();
    store.make("INBOX");
    store.deliver("INBOX", letter, Flags::none(), NOW);
    let mut client = Client::new(&Rc::new(RefCell::new(store)), settings());
    client.send(b"a LOGIN ann \"secret \\\"word\\\"\"\r\nb SELECT INBOX\r\n");
    client.output.clear();
    client
}

/// What is said to a command.
fn ask(client: &mut Client, command: &[u8]) -> Vec<u8> {
    client.output.clear();
    client.send(&[b"t ", command, b"\r\n"].concat());
    answers::are_sound(&client.output);
    client.output.clone()
}

/// The literal or string that is the only thing a FETCH told of.
fn literal(said: &[u8]) -> Vec<u8> {
    let open = said.iter().position(|byte| *byte == b'{').map(|at| at + 1);
    let Some(open) = open.filter(|_| !said.contains(&b'"')) else { return Vec::new() };
    let rest = &said[open..];
    let close = rest.iter().position(|byte| *byte == b'}').expect("a literal");
    let length: usize = std::str::from_utf8(&rest[..close]).expect("digits").parse().expect("one");
    rest[close + 3..][..length].to_vec()
}

/// Feeds a message to everything that takes it apart.
pub(crate) fn structure(letter: &[u8]) {
    let mut client = client(letter);
    let [header, text] =
        ["HEADER", "TEXT"].map(|part| literal(&ask(&mut client, peek(part).as_bytes())));
    if !header.is_empty() && !text.is_empty() {
        assert!([header, text].concat() == letter, "header and text are not the message");
    }
    ask(&mut client, b"FETCH 1 (ENVELOPE BODYSTRUCTURE BODY RFC822.SIZE PREVIEW)");
    for part in ["1", "1.MIME", "1.HEADER", "1.TEXT", "1.1", "2", "2.1.HEADER", "2.MIME", "3.1.2"] {
        ask(&mut client, peek(part).as_bytes());
    }
    ask(&mut client, peek("HEADER.FIELDS (Subject To X)").as_bytes());
    ask(&mut client, peek("HEADER.FIELDS.NOT (Subject)").as_bytes());
    for part in ["1", "2", "1.1"] {
        ask(&mut client, format!("FETCH 1 (BINARY.PEEK[{part}] BINARY.SIZE[{part}])").as_bytes());
        ask(&mut client, format!("FETCH 1 BINARY.PEEK[{part}]<3.10>").as_bytes());
    }
    ask(&mut client, b"SORT (SUBJECT FROM DATE TO SIZE DISPLAYFROM) UTF-8 ALL");
    for way in ["ORDEREDSUBJECT", "REFERENCES", "REFS"] {
        ask(&mut client, format!("THREAD {way} UTF-8 ALL").as_bytes());
    }
}

fn peek(part: &str) -> String {
    format!("FETCH 1 BODY.PEEK[{part}]")
}

/// Feeds a text and a message to searches.
pub(crate) fn search(input: &[u8]) {
    let border = input.iter().position(|byte| *byte == BORDER).unwrap_or(0);
    let (text, letter) = input.split_at(border);
    let letter = letter.strip_prefix(&[BORDER]).unwrap_or(letter);
    let Ok(text) = std::str::from_utf8(text) else { return };
    if text.contains('\0') {
        return;
    }
    let mut client = client(letter);
    let mut finds = |key: &str| {
        let command = format!("SEARCH CHARSET UTF-8 {key} {{{}+}}\r\n{text}", text.len());
        let said = ask(&mut client, command.as_bytes());
        said.starts_with(b"* SEARCH 1\r\n")
    };
    let keys = ["TEXT", "BODY", "SUBJECT", "FROM", "HEADER X"];
    let found = keys.map(|key| {
        let is_there = finds(key);
        assert_ne!(is_there, finds(&format!("NOT {key}")), "{key} and its opposite");
        is_there
    });
    let [whole, body, ..] = found;
    assert!(whole || !body, "found in the body, not in the whole");
    finds("FUZZY TEXT");
    finds("FUZZY SUBJECT");
}
