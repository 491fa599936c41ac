//! The database's tools as its keeper uses them: figures, checks, backups and restores of a running
//! daemon and of one that is stopped, damage and repair, keys.
//!
//! Invariant asked for: what a tool says is true of the files, and mail that it saved is read by
//! IMAP. Not here: power cuts (`powercut`), the engine's own tests (`server/gracedb/tests`).

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

use grace_tests::house::{Account, House};
use grace_tests::log::{number, text};
use grace_tests::wire::Wire;
use grace_tests::{figure, program};
use serde_json::Value;

/// Lines of a letter's body; with the subject in each it is some 100 KB.
const LINES: usize = 1_500;

/// Delivers a letter whose lines all say its subject.
fn deliver(house: &House, to: &Account, subject: &str) {
    let mut smtp = Wire::connect(house.port("Smtp"));
    smtp.check(&format!(
        "S: 220 *
         C: EHLO client.example
         S: 250 *
         C: MAIL FROM:<sender@example.org>
         S: 250 *
         C: RCPT TO:<{}>
         S: 250 *
         C: DATA
         S: 354 *",
        to.address
    ));
    smtp.send(letter(subject).as_bytes());
    smtp.send(b".\r\n");
    smtp.check("S: 250 *\nC: QUIT\nS: 221 *");
}

fn letter(subject: &str) -> String {
    let line = format!("{subject} {}\r\n", "and so on ".repeat(6));
    format!("Subject: {subject}\r\n\r\n{}", line.repeat(LINES))
}

/// Asks IMAP something about the inbox, or for a message of it.
fn imap(house: &House, account: &Account, path: &str, command: &[&str]) -> String {
    let url = format!("imaps://127.0.0.1:{}/INBOX{path}", house.port("Imaps"));
    let login = format!("{}:{}", account.address, account.password);
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--insecure", "--user", &login, &url]).args(command);
    program::run_ok(&mut curl)
}

/// Reads the letter with this number in the inbox, which must be the one with this subject.
fn read(house: &House, account: &Account, uid: u32, subject: &str) {
    let read = imap(house, account, &format!(";UID={uid}"), &[]);
    assert!(read.ends_with(&letter(subject)), "letter {uid} is {} bytes", read.len());
}

/// UIDVALIDITY of the INBOX.
fn uid_validity(house: &House, account: &Account) -> u64 {
    let status = imap(house, account, "", &["-X", "STATUS INBOX (UIDVALIDITY)"]);
    let value = status.split("UIDVALIDITY ").nth(1).and_then(|rest| rest.split(')').next());
    let value = value.and_then(|value| value.parse().ok());
    assert!(value.is_some(), "{status}");
    value.unwrap_or_default()
}

fn expunge(house: &House, account: &Account, set: &str) {
    let store = format!("STORE {set} +FLAGS (\\Deleted)");
    let _flags = imap(house, account, "", &["-X", &store]);
    let _gone = imap(house, account, "", &["-X", "EXPUNGE"]);
}

/// `gracectl db …` on files that no daemon has open, and what it ended with.
fn closed(arguments: &[&str]) -> (i32, String) {
    ended(&program::run(Command::new(program::ours("gracectl")).arg("db").args(arguments)))
}

fn live(house: &House, arguments: &[&str]) -> (i32, String) {
    ended(&program::run(house.ctl_command().arg("db").args(arguments)))
}

fn ended(output: &Output) -> (i32, String) {
    (output.status.code().unwrap_or(-1), program::both(output))
}

/// The same, ending with 0 and saying JSON.
fn closed_json(arguments: &[&str]) -> Value {
    let mut command = Command::new(program::ours("gracectl"));
    let said = program::run_ok(command.args(["--json", "db"]).args(arguments));
    serde_json::from_str(&said).expect("JSON")
}

fn live_json(house: &House, arguments: &[&str]) -> Value {
    house.ctl_json(&[&["db"], arguments].concat())
}

fn shown(path: &Path) -> &str {
    path.to_str().expect("a temporary folder is UTF-8")
}

/// Puts a folder in the place of the database of a stopped daemon, and starts it.
fn start_on(house: &mut House, folder: &Path) {
    let store = house.data().join("store");
    let mut aside = 1..;
    let aside = aside.find_map(|number: u32| {
        let aside = house.folder().join(format!("store.{number}"));
        (!aside.exists()).then_some(aside)
    });
    fs::rename(&store, aside.expect("some number is free")).expect("the folder is writable");
    fs::rename(folder, &store).expect("the folder is writable");
    house.start_again();
}

struct Scene {
    house: House,
    ann: Account,
    store: PathBuf,
    key: PathBuf,
}

impl Scene {
    fn new(letters: u32) -> Self {
        // Small segments: there are some, and some are given back.
        let house = House::start_with("[store]\nsegment_bytes = 1048576\n");
        let ann = house.account("ann");
        for uid in 1..=letters {
            deliver(&house, &ann, &subject(uid));
        }
        let (store, key) = (house.data().join("store"), house.data().join("store.key"));
        Self { house, ann, store, key }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.house.folder().join(name)
    }
}

fn subject(uid: u32) -> String {
    format!("letter {uid}")
}

#[test]
fn a_running_daemon_is_looked_at_checked_backed_up_and_tidied() {
    let mut scene = Scene::new(25);
    let (house, ann) = (&scene.house, &scene.ann);
    let stats = live_json(house, &["stats"]);
    assert_eq!(text(&stats, "folder"), shown(&scene.store));
    assert_eq!(stats["lock"], "KeyFile");
    let segments = stats["segments"].as_array().expect("a list");
    let held: u64 = segments.iter().map(|segment| number(segment, "live_bytes")).sum();
    assert!(segments.len() >= 2 && held > 25 * 90_000, "{stats:#}");
    let (code, said) = live(house, &["stats"]);
    assert_eq!(code, 0);
    for part in ["opened by a key file", "AMPLIFICATION", "LIVE SHARE", "restorable from"] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    let (code, said) = live(house, &["verify"]);
    assert!(code == 0 && said.starts_with("sound\n"), "{said}");

    let backup = scene.path("backup");
    let first = live_json(house, &["backup", shown(&backup)]);
    assert_eq!(number(&first, "bytes"), number(&first, "new_bytes"));
    let stop = AtomicBool::new(false);
    let (before, second, after) = std::thread::scope(|scope| {
        let delivering = scope.spawn(|| {
            let mut uid = 25;
            while !stop.load(Ordering::Relaxed) || uid < 30 {
                uid += 1;
                deliver(house, ann, &subject(uid));
            }
            uid
        });
        while house.messages(ann) < 28 {}
        let before = house.messages(ann);
        let second = live_json(house, &["backup", shown(&backup)]);
        stop.store(true, Ordering::Relaxed);
        let after = delivering.join().expect("mail is taken while a backup is made");
        (before, second, u64::from(after))
    });
    assert!(number(&second, "new_bytes") < number(&second, "bytes"), "{second}");

    expunge(house, ann, "1:10");
    let compacted = live_json(house, &["compact"]);
    assert!(number(&compacted, "kept_bytes") > 0, "what is gone can be brought back: {compacted}");
    let verified = live_json(house, &["verify"]);
    assert_eq!(number(&verified["verified"], "problems"), 0, "{verified}");

    scene.house.stop();
    let (code, said) = closed(&["verify", "--dir", shown(&scene.house.data())]);
    assert!(code == 0 && said.starts_with("sound\n"), "{said}");
    let (code, said) =
        closed(&["verify", "--dir", shown(&backup), "--key-file", shown(&scene.key)]);
    assert!(code == 0 && said.starts_with("sound\n"), "{said}");
    let back = scene.path("back");
    let dir = ["--dir", shown(&backup), "--key-file", shown(&scene.key)];
    let restored = closed_json(&[&["restore", shown(&back)], &dir[..]].concat());
    assert_eq!(restored["transaction"], second["transaction"]);
    start_on(&mut scene.house, &back);
    let there = scene.house.messages(&scene.ann);
    assert!((before..=after).contains(&there), "{before} to {after}, but {there}");
    read(&scene.house, &scene.ann, 1, &subject(1));
    read(
        &scene.house,
        &scene.ann,
        u32::try_from(there).expect("few"),
        &subject(u32::try_from(there).expect("few")),
    );
    scene.house.stop();
    figure(&format!(
        "a backup of {} bytes; again with some more mail: {} new bytes of {}",
        first["bytes"], second["new_bytes"], second["bytes"]
    ));
}

#[test]
fn a_moment_comes_back_running_or_stopped() {
    let mut scene = Scene::new(3);
    let transaction = number(&live_json(&scene.house, &["stats"]), "transaction").to_string();
    expunge(&scene.house, &scene.ann, "1:2");
    assert_eq!(scene.house.messages(&scene.ann), 1);
    let original = uid_validity(&scene.house, &scene.ann);
    let (first, second) = (scene.path("first"), scene.path("second"));
    let moment = ["--transaction", &transaction];
    let restored = live_json(&scene.house, &[&["restore", shown(&first)], &moment[..]].concat());
    assert_eq!(restored["transaction"].to_string(), transaction);
    let (code, said) = live(&scene.house, &["restore", shown(&second), "--ago", "30d"]);
    assert!(code == 1 && said.contains("is not a time that"), "{said}");
    scene.house.stop();
    let dir = ["--dir", shown(&scene.store)];
    let restored = closed_json(&[&["restore", shown(&second)], &moment[..], &dir[..]].concat());
    assert_eq!(restored["transaction"].to_string(), transaction);
    for folder in [&first, &second] {
        start_on(&mut scene.house, folder);
        assert_eq!(scene.house.messages(&scene.ann), 3);
        (1..=3).for_each(|uid| read(&scene.house, &scene.ann, uid, &subject(uid)));
        // What clients remember is of mail that may never have come here; but only once.
        let renewed = uid_validity(&scene.house, &scene.ann);
        assert!(renewed > original, "{renewed} is not after {original}");
        scene.house.stop();
        scene.house.start_again();
        assert_eq!(uid_validity(&scene.house, &scene.ann), renewed);
        scene.house.stop();
    }
}

/// Changes one byte of a segment so that it hits a letter and nothing else; says where, and what
/// the check then says. Between two letters there are rows, and which byte is whose is the
/// engine's.
fn hit_a_letter(store: &Path, name: &str, from: u64) -> (u64, String) {
    let file = fs::OpenOptions::new().read(true).write(true).open(store.join(name));
    let file = file.expect("the segment is there");
    for at in (from..).step_by(10_000).take(20) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).expect("it is that long");
        file.write_all_at(&[byte[0] ^ 1], at).expect("it is writable");
        let (code, said) = closed(&["verify", "--dir", shown(store)]);
        if said.contains("it is part of message mailbox=") {
            assert_eq!(code, 1, "{said}");
            return (at, said);
        }
        file.write_all_at(&byte, at).expect("it is writable");
    }
    unreachable!("most of a segment are letters")
}

#[test]
fn damage_is_found_and_what_can_be_read_is_saved() {
    const LETTERS: u32 = 20;
    let mut scene = Scene::new(LETTERS);
    scene.house.stop();
    let stats = closed_json(&["stats", "--dir", shown(&scene.store)]);
    let segment = &stats["segments"][0];
    let (name, bytes) = (format!("{:010}.gj", number(segment, "number")), number(segment, "bytes"));
    let (hit, said) = hit_a_letter(&scene.store, &name, bytes / 2);
    let found = said.lines().find(|line| line.contains(&format!("{name} at byte ")));
    let offset = found.and_then(|line| line.split("at byte ").nth(1)?.split(':').next());
    let offset: u64 = offset.and_then(|offset| offset.parse().ok()).expect(&said);
    assert!((hit.saturating_sub(200_000)..=hit).contains(&offset), "byte {hit} was hit: {said}");

    let fixed = scene.path("fixed");
    let (code, said) = closed(&["repair", shown(&fixed), "--dir", shown(&scene.store)]);
    assert!(code == 1 && said.contains("1 lost or doubtful"), "{said}");
    assert!(!scene.path("fixed.scratch").exists());
    let (code, said) = closed(&["verify", "--dir", shown(&fixed), "--key-file", shown(&scene.key)]);
    assert!(code == 0 && said.starts_with("sound\n"), "{said}");
    start_on(&mut scene.house, &fixed);
    let lost = |uid: &u32| {
        let found = imap(&scene.house, &scene.ann, "", &["-X", &format!("UID SEARCH UID {uid}")]);
        found.trim() == "* SEARCH"
    };
    let lost: Vec<u32> = (1..=LETTERS).filter(lost).collect();
    assert_eq!(lost.len(), 1, "one letter is lost: {lost:?}");
    for uid in (1..=LETTERS).filter(|uid| !lost.contains(uid)) {
        read(&scene.house, &scene.ann, uid, &subject(uid));
    }
    deliver(&scene.house, &scene.ann, "after that");
    scene.house.stop();
}

#[test]
fn keys_are_changed_and_mail_is_not_readable_without() {
    let mut scene = Scene::new(3);
    let first = fs::read(&scene.key).expect("the daemon made a key");
    let changed = live_json(&scene.house, &["change-key", "--new-key"]);
    assert_eq!(text(&changed, "key_file"), shown(&scene.key));
    let earlier = PathBuf::from(text(&changed, "earlier_key_file"));
    assert_eq!(fs::read(&earlier).expect("it is kept"), first);
    assert_ne!(fs::read(&scene.key).expect("there is a new one"), first);
    scene.house.stop();
    for file in fs::read_dir(&scene.store).expect("the store is there") {
        let path = file.expect("an entry").path();
        let bytes = fs::read(&path).expect("readable");
        assert!(!bytes.windows(9).any(|some| some == b"and so on"), "in {}", path.display());
    }
    let dir = ["--dir", shown(&scene.store)];
    let (code, said) = closed(&[&["verify"], &dir[..], &["--key-file", shown(&earlier)]].concat());
    assert!(code == 1 && said.contains("does not open the database"), "{said}");
    let second = scene.path("second.key");
    let (code, said) =
        closed(&[&["change-key"], &dir[..], &["--new-key-file", shown(&second)]].concat());
    assert!(code == 0 && said.contains("encrypted anew"), "{said}");
    fs::copy(&second, &scene.key).expect("the folder is writable");
    scene.house.start_again();
    (1..=3).for_each(|uid| read(&scene.house, &scene.ann, uid, &subject(uid)));
    scene.house.stop();
}

#[test]
fn mistakes_are_told_with_what_to_do() {
    let mut scene = Scene::new(1);
    let inside = scene.house.data().join("copy");
    let nowhere = scene.path("none/copy");
    let store = shown(&scene.store).to_owned();
    for (arguments, code, part) in [
        (vec!["verify", "--dir", &store], 1, "leave --dir out"),
        (vec!["backup", "copy"], 2, "not a whole path"),
        (vec!["backup", shown(&inside)], 1, "lie within each other"),
        (vec!["backup", shown(&nowhere)], 1, "make it first"),
        (vec!["restore", shown(&scene.path("x")), "--at", "noon"], 2, "is not a time"),
        (vec!["restore", "/x", "--ago", "1h", "--transaction", "1"], 2, "cannot be used with"),
        (vec!["verify", "--key-file", "x"], 2, "--dir"),
        (vec!["repair", "/x"], 2, "--dir"),
        (vec!["change-key", "--new-passphrase"], 2, "--dir"),
    ] {
        let (ended, said) = live(&scene.house, &arguments);
        assert!(ended == code && said.contains(part), "{arguments:?} ended {ended}: {said}");
    }
    scene.house.stop();
    let wrong = scene.path("wrong.key");
    fs::write(&wrong, format!("{:064}\n", 1)).expect("the folder is writable");
    let folder = shown(scene.house.folder()).to_owned();
    for (arguments, code, part) in [
        (vec!["verify", "--dir", &store, "--key-file", shown(&wrong)], 1, "does not open"),
        (vec!["verify", "--dir", &folder], 1, "there is no database in"),
        (vec!["backup", &store, "--dir", &store], 1, "lie within each other"),
        (vec!["stats"], 1, "no daemon found"),
    ] {
        let (ended, said) = closed(&arguments);
        assert!(ended == code && said.contains(part), "{arguments:?} ended {ended}: {said}");
    }
}
