//! Conversations that a person can read: `tests/conversations/*.txt`, one file an extension.
//!
//! ```text
//!   # a remark
//!   == RFC 7162 3.2.5.1: a client comes back [selected]
//!   C: …    S: …    D: …    T: …    -- …
//! ```
//! A dialogue begins where its brackets say: `[greeting]`, `[login]` or `[selected]` (INBOX with
//! three letters, told of no more), `[both]` with a second client (`D:`, `T:`) in the same mailbox;
//! `[clear]` is a greeting where passwords need TLS, `[sasl]` one where the driver knows more ways
//! to log in.
//! A line that ends with `\` goes on in the next one. `support` says what the lines mean. The
//! remarks before the first title name the capabilities that the file is about.

#![allow(clippy::panic, reason = "a test that is wrong should say so")]

mod support;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use grace_imap::command::SpecialUse;
use grace_imap::flags::Flags;
use grace_imap::session::{Session, Settings};
use support::{Client, NOW, Store, check_with, settings};

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
        "greeting" | "clear" | "sasl" => GREETING.to_owned(),
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

/// Commands that no client may give here: XLIST is not offered, and limits are an admin's.
const REFUSED: [&str; 2] = ["SETQUOTA", "XLIST"];

/// The ways to log in that the driver knows where a dialogue wants it to.
const SASL: [&str; 3] = ["EXTERNAL", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"];

/// The files, with their text.
fn files() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conversations");
    let entries = fs::read_dir(folder).expect("the folder");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let text = |file: &PathBuf| fs::read_to_string(file).expect("text");
    files.iter().map(|file| (file.clone(), text(file))).collect()
}

/// The commands that clients give in a dialogue, each with how it was answered: OK, NO, BAD.
fn answers(lines: &str) -> Vec<(String, String)> {
    let (mut given, mut found) = (BTreeMap::new(), Vec::new());
    for line in lines.lines() {
        let (kind, text) = line.split_at(2);
        let mut words = text.split_whitespace().map(str::to_ascii_uppercase);
        let (tag, word) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let is_answer = ["OK", "NO", "BAD"].contains(&word.as_str());
        match kind {
            "C:" | "D:" if word == "UID" => {
                let word = format!("UID {}", words.next().unwrap_or_default());
                given.insert((kind == "C:", tag), word);
            }
            "C:" | "D:" => {
                given.insert((kind == "C:", tag), word);
            }
            "S:" | "T:" if is_answer => {
                let command = given.get(&(kind == "S:", tag)).cloned();
                found.extend(command.map(|command| (command, word)));
            }
            _ => {}
        }
    }
    found
}

/// What the server announces: before the login, without TLS where it is needed, and after.
fn capabilities() -> Vec<String> {
    let announced = |plain_login: bool| {
        let store = Rc::new(RefCell::new(store()));
        let mut client = Client::new(&store, Settings { plain_login, ..settings() });
        client.send(b"a LOGIN ann \"secret \\\"word\\\"\"\r\n");
        String::from_utf8(client.output).expect("text")
    };
    let text = announced(true) + &announced(false);
    let lists = text.split("[CAPABILITY ").skip(1).filter_map(|rest| rest.split(']').next());
    lists.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

#[test]
fn every_command_is_given_well_and_badly() {
    let mut answered: BTreeSet<(String, String)> = BTreeSet::new();
    for (_, text) in files() {
        dialogues(&text).iter().for_each(|(_, _, lines)| answered.extend(answers(lines)));
    }
    let was = |command: &str, how: &str| answered.contains(&(command.to_owned(), how.to_owned()));
    let well = Session::commands().filter(|name| !REFUSED.contains(name) && !was(name, "OK"));
    let badly = Session::commands().filter(|name| !was(name, "NO") && !was(name, "BAD"));
    assert_eq!(well.collect::<Vec<_>>(), Vec::<&str>::new(), "no dialogue has them with OK");
    assert_eq!(badly.collect::<Vec<_>>(), Vec::<&str>::new(), "no dialogue has them refused");
    // What is done must be known by its name.
    let unknown = answered
        .iter()
        .filter(|(command, how)| how == "OK" && !Session::commands().any(|known| known == command));
    assert_eq!(unknown.collect::<Vec<_>>(), Vec::<&(String, String)>::new());
}

#[test]
fn every_capability_has_its_file() {
    let mut named: BTreeSet<String> = BTreeSet::new();
    for (_, text) in files() {
        let head = text.split("\n== ").next().unwrap_or_default();
        let words = head.split(|c: char| !(c.is_ascii_alphanumeric() || "=+-".contains(c)));
        named.extend(words.map(str::to_owned));
    }
    let announced = capabilities();
    assert!(announced.len() > 60, "{announced:?}");
    // `APPENDLIMIT=1000000` and `QUOTA=RES-STORAGE` have values; RIGHTS= is ACL's (RFC 4314 2.1).
    let family = |name: &str| match name.split_once('=') {
        Some(("RIGHTS", _)) => "ACL".to_owned(),
        Some((family, _)) if ["APPENDLIMIT", "COMPRESS", "QUOTA"].contains(&family) => {
            family.into()
        }
        _ => name.to_owned(),
    };
    let missing = announced.iter().filter(|name| !named.contains(&family(name)));
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<&String>::new(), "no file's head names them");
}

#[test]
fn every_conversation_goes_as_it_is_written() {
    let (mut count, mut failed) = (0, Vec::new());
    for (file, text) in files() {
        for (title, stage, lines) in dialogues(&text) {
            let script = format!("{}{lines}", opening(&stage));
            let sasl: &[_] = if stage == "sasl" { &SASL } else { &[] };
            let plain_login = stage != "clear";
            let settings = Settings { plain_login, sasl: sasl.to_vec(), ..settings() };
            let held = catch_unwind(|| check_with(&settings, store, &script));
            if held.is_err() {
                failed.push(format!("{}: {title}", file.display()));
            }
            count += 1;
        }
    }
    assert_eq!(failed, Vec::<String>::new());
    assert!(count >= 290, "only {count} conversations were found");
}
