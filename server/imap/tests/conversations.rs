//! Conversations that a person can read: `tests/conversations/*.txt`, one file an extension.
//!
//! ```text
//!   # a remark
//!   == RFC 7162 3.2.5.1: a client comes back [selected]
//!   C: …    S: …    D: …    T: …    -- …
//! ```
//! A dialogue begins where its brackets say: `[greeting]`, `[login]` or `[selected]` (INBOX with
//! three letters, told of no more), `[both]` with a second client (`D:`, `T:`) in the same mailbox.
//! A line that ends with `\` goes on in the next one. `support` says what the lines mean.

#![allow(clippy::panic, reason = "a test that is wrong should say so")]

mod support;

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use grace_imap::command::SpecialUse;
use grace_imap::flags::Flags;
use support::{NOW, Store, check_with, settings};

/// A letter in two parts, the second a picture.
const PICTURE: &[u8] = b"Date: Mon, 7 Feb 1994 21:52:25 -0800\r\n\
    From: Fred Foobar <foobar@Blurdybloop.example>\r\n\
    Subject: afternoon meeting\r\n\
    To: mooch@owatagu.siam.edu.example\r\n\
    Message-Id: <B27397-0100000@Blurdybloop.example>\r\n\
    MIME-Version: 1.0\r\n\
    Content-Type: multipart/mixed; boundary=b\r\n\
    \r\n\
    --b\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    \r\n\
    Hello Joe, do you think we can meet at 3:30 tomorrow?\r\n\
    --b\r\n\
    Content-Type: image/gif; name=\"a b.gif\"\r\n\
    Content-Transfer-Encoding: base64\r\n\
    \r\n\
    R0lGAAE=\r\n\
    --b--\r\n";

/// INBOX holds UIDs 1 to 3 with modification sequences 2 to 4.
fn store() -> Store {
    let mut store = Store::default();
    for name in ["INBOX", "Sent", "Lists", "Lists/rust"] {
        store.make(name);
    }
    store.subscriptions = vec!["INBOX".into(), "Lists/rust".into(), "Lost".into()];
    store.mailboxes.get_mut("Sent").expect("made").special_use = Some(SpecialUse::Sent);
    store.deliver("INBOX", PICTURE, Flags::from_parts(1, []), NOW);
    store.deliver("INBOX", b"Subject: two\r\n\r\nbody two\r\n", Flags::none(), NOW);
    store.deliver("INBOX", b"Subject: three\r\n\r\nbody three\r\n", Flags::none(), NOW);
    store
}

/// What comes before the first line of a dialogue.
fn opening(stage: &str) -> String {
    const GREETING: &str = "S: * OK …\nT: * OK …\n";
    const LOGIN: &str = "C: in LOGIN ann \"secret \\\"word\\\"\"\nS: in OK …\n";
    const SELECT: &str = "C: se SELECT INBOX\n\
        S: * FLAGS …\nS: * OK [PERMANENTFLAGS …\nS: * 3 EXISTS\nS: * 0 RECENT\n\
        S: * OK [UNSEEN 2] …\nS: * OK [UIDVALIDITY 1] …\nS: * OK [UIDNEXT 4] …\n\
        S: * OK [HIGHESTMODSEQ 4] …\nS: * OK [MAILBOXID (F1)] …\nS: se OK …\n";
    let second = |lines: &str| lines.replace("C: ", "D: ").replace("S: ", "T: ");
    match stage {
        "greeting" => GREETING.to_owned(),
        "login" => format!("{GREETING}{LOGIN}"),
        "selected" => format!("{GREETING}{LOGIN}{SELECT}"),
        "both" => {
            format!("{GREETING}{LOGIN}{SELECT}{}{}", second(LOGIN), second(SELECT))
        }
        other => panic!("no such stage: {other:?}"),
    }
}

/// The dialogues of a file: titles, stages and lines.
fn dialogues(text: &str) -> Vec<(String, String, String)> {
    let mut found: Vec<(String, String, String)> = Vec::new();
    for line in text.replace("\\\n", "").lines() {
        if let Some(title) = line.strip_prefix("== ") {
            let (name, stage) = title.rsplit_once('[').expect("a stage in brackets");
            let stage = stage.strip_suffix(']').expect("a stage in brackets");
            found.push((name.trim().to_owned(), stage.to_owned(), String::new()));
        } else if !line.starts_with('#') && !line.trim().is_empty() {
            let (_, _, lines) = found.last_mut().expect("a title comes first");
            lines.push_str(line);
            lines.push('\n');
        }
    }
    found
}

#[test]
fn every_conversation_goes_as_it_is_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conversations");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let (mut count, mut failed) = (0, Vec::new());
    for file in files {
        let text = fs::read_to_string(&file).expect("text");
        for (title, stage, lines) in dialogues(&text) {
            let script = format!("{}{lines}", opening(&stage));
            let held = catch_unwind(|| check_with(&settings(), store, &script));
            if held.is_err() {
                failed.push(format!("{}: {title}", file.display()));
            }
            count += 1;
        }
    }
    assert_eq!(failed, Vec::<String>::new());
    assert!(count >= 30, "only {count} conversations were found");
}
