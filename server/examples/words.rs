//! SEARCH over IMAP in a mailbox of many letters, with the index of texts and without: how long it
//! takes, and what the index takes to make and to keep.
//!
//! ```text
//!   cargo run --release -p graced --example words [MESSAGES [FOLDER_OF_LETTERS]]
//! ```
//! Without a folder letters are made up: of sixty thousand words, some of them in every letter and
//! most in few, below a header as long as those of today, with its debris.
//! Not here: tests; nothing in this is right or wrong.

#![expect(clippy::print_stdout, reason = "it says what it measured")]
#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made ends")]
#![expect(clippy::indexing_slicing, reason = "a measurement that cannot be made ends")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gracedb::db::Db;
use gracedb::disk::sim::next_random;
use gracedb::options::Options;
use gracedb::seal::Key;
use gracedb::view::View as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use zeroize::Zeroizing;

use grace_ipc::event::Service;

use graced::config::Config;
use graced::imap::session;
use graced::net::listener;
use graced::services::Services;
use graced::store::messages::{MailboxRow, MessageRow};
use graced::store::words::{WordSegmentRow, WordSlabRow};
use graced::store::{self, seed::INBOX};
use graced::telemetry::bus::Bus;

/// Messages put in by one transaction.
const AT_ONCE: u32 = 2_000;
/// How often each search is made, and without the index.
const TIMES: usize = 21;
const TIMES_WITHOUT: usize = 3;
/// With more messages nothing is measured without the index: it takes minutes.
const WITHOUT_MAX: u32 = 20_000;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let messages = arguments.next().map_or(8_000, |count| count.parse().unwrap());
    let letters = arguments.next().map(|folder| letters(Path::new(&folder))).unwrap_or_default();
    tokio::runtime::Runtime::new().unwrap().block_on(measure(messages, &letters));
}

/// The letters of a folder.
fn letters(folder: &Path) -> Vec<Vec<u8>> {
    let (mut letters, mut waiting) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = waiting.pop() {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            match path.is_dir() {
                true => waiting.push(path),
                false => letters.push(std::fs::read(path).unwrap()),
            }
        }
    }
    letters.retain(|letter| !letter.is_empty());
    letters
}

/// A word: the first ones are in many letters.
fn word(number: u64) -> String {
    let syllables = ["ba", "tor", "ni", "le", "sch", "mun", "da", "ri", "ko", "ent", "wa", "gel"];
    let (mut word, mut left) = (String::new(), number.wrapping_mul(0x9e37_79b9) % 248_832 + 20);
    while left > 0 {
        word.push_str(syllables[usize::try_from(left % 12).unwrap()]);
        left /= 12;
    }
    word
}

/// A letter of its own.
fn made(number: u64) -> Vec<u8> {
    let mut seed = number.wrapping_mul(77) + 1;
    let mut random = |end: u64| next_random(&mut seed) % end;
    let debris: String = (0..344)
        .map(|place| match (place % 70, random(62)) {
            (69, _) => "\r\n\t".to_owned(),
            (_, digit) => char::from_u32(match digit {
                0..10 => 48 + u32::try_from(digit).unwrap(),
                10..36 => 55 + u32::try_from(digit).unwrap(),
                _ => 61 + u32::try_from(digit).unwrap(),
            })
            .unwrap()
            .to_string(),
        })
        .collect();
    let mut text = String::new();
    for place in 1..=200 + random(300) {
        // About as often as words are in letters of people: each twice as rare as its half.
        let bits = random(16);
        text.push_str(&word((1 << bits) + random(1 << bits)));
        text.push_str(if place % 12 == 0 { ".\r\n" } else { " " });
    }
    format!(
        "Received: from mx{number}.example.net (mx{number}.example.net [192.0.2.7])\r\n\
         \tby mail.example.org with ESMTPS id {id:x} for <ann@example.org>;\r\n\
         \tMon, 30 Nov 2026 10:00:00 +0000\r\n\
         DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.net; s=s1;\r\n\
         \th=from:to:subject:date:message-id; b={debris}\r\n\
         Message-ID: <{id:x}.{number}@example.net>\r\nDate: Mon, 30 Nov 2026 10:00:00 +0000\r\n\
         From: Person {number} <person{number}@example.net>\r\nTo: ann@example.org\r\n\
         Subject: {subject}\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
         {text}\r\nrarely{number} said\r\n",
        id = number.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        subject = text.lines().next().unwrap_or_default(),
    )
    .into_bytes()
}

fn services(folder: &Path, index: &str, db: &Db) -> Services {
    let text = format!(
        "hostname = \"mx.grace.test\"\n[dns]\nresolvers = [\"127.0.0.1:9\"]\n[search]\n\
         index = \"{index}\"\n"
    );
    let file = folder.join(format!("{index}.toml"));
    std::fs::write(&file, text).unwrap();
    let config = Config::load(Some(&file), Some(folder)).unwrap();
    Services::new(Arc::new(config), Bus::new(1_000), db.clone()).unwrap().0
}

/// Puts letters in.
async fn fill(db: &Db, inbox: u64, messages: u32, letters: &[Vec<u8>]) -> u64 {
    let (mut done, mut size) = (0, 0);
    while done < messages {
        let mut bodies = Vec::new();
        for number in done..messages.min(done + AT_ONCE) {
            let letter = match letters.get(number as usize % letters.len().max(1)) {
                Some(letter) => letter.clone(),
                None => made(u64::from(number)),
            };
            size += letter.len() as u64;
            let mut writer = db.large_writer();
            writer.write(&letter).await.unwrap();
            bodies.push(writer.finish().await.unwrap());
        }
        done += u32::try_from(bodies.len()).unwrap();
        let put = db.write(|tx| {
            let mut row = tx.get::<MailboxRow>(&inbox)?.unwrap();
            for body in bodies {
                row.modseq += 1;
                tx.insert(&MessageRow {
                    mailbox: inbox,
                    uid: row.uid_next,
                    modseq: row.modseq,
                    internal_date_s: 1_790_000_000,
                    internal_zone_min: 0,
                    flags: 0,
                    keywords: Vec::new(),
                    body,
                })?;
                row.uid_next += 1;
                row.messages += 1;
                row.unseen += 1;
            }
            tx.put(&row)
        });
        put.unwrap().await.unwrap();
    }
    size
}

/// A client that has the mailbox open.
struct Client {
    stream: TcpStream,
}

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let mut client = Self { stream: TcpStream::connect(address).await.unwrap() };
        client.stream.set_nodelay(true).unwrap();
        client.until("* OK").await;
        client.ask("LOGIN ann@example.org \"correct horse\"").await;
        client.ask("SELECT INBOX").await;
        client
    }

    async fn ask(&mut self, command: &str) -> String {
        self.stream.write_all(format!("a {command}\r\n").as_bytes()).await.unwrap();
        self.until("a OK").await
    }

    /// Reads up to a line that begins so.
    async fn until(&mut self, begin: &str) -> String {
        let mut bytes = Vec::new();
        let mut piece = vec![0; 64 * 1_024];
        loop {
            let count = self.stream.read(&mut piece).await.unwrap();
            assert!(count > 0, "the connection ended");
            bytes.extend_from_slice(&piece[..count]);
            let text = String::from_utf8_lossy(&bytes);
            let last = text.trim_end().rsplit("\r\n").next().unwrap_or_default();
            assert!(!last.starts_with("a NO") && !last.starts_with("a BAD"), "{text}");
            let whole = text.ends_with("\r\n") && last.starts_with(begin);
            if whole {
                return text.into_owned();
            }
        }
    }

    /// The median of some searches, and how many messages were found.
    async fn search(&mut self, what: &str, times: usize) -> (Duration, String) {
        let mut took = Vec::new();
        let mut answer = String::new();
        for _ in 0..times {
            let begun = Instant::now();
            answer = self.ask(&format!("SEARCH RETURN (COUNT) {what}")).await;
            took.push(begun.elapsed());
        }
        took.sort_unstable();
        let count = answer.split("COUNT ").nth(1).and_then(|rest| rest.split('\r').next());
        (took[took.len() / 2], count.unwrap_or_default().to_owned())
    }
}

async fn serve(services: &Services) -> Client {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let given = services.clone();
    let run = move |visit| session::run(given.clone(), visit);
    tokio::spawn(listener::serve(services.porter.clone(), Service::Imap, socket, run));
    Client::connect(address).await
}

async fn measure(messages: u32, letters: &[Vec<u8>]) {
    let folder = tempfile::tempdir().unwrap();
    let mut options = Options::new(folder.path().join("store"));
    options.key = Some(Key::from_bytes([7; 32]));
    options.transaction_bytes_max = 48 << 20;
    options.retention_s = 0;
    let db = Db::open(options, store::SCHEMA).unwrap();
    let (on, off) = (services(folder.path(), "on", &db), services(folder.path(), "off", &db));
    on.directory.create_domain("example.org", "a measurement").await.unwrap();
    let password = Zeroizing::new("correct horse".to_owned());
    let ann =
        on.directory.create_account("ann@example.org", password, "a measurement").await.unwrap();
    let inbox = on.mailboxes.find(ann.id, INBOX).unwrap().unwrap().id;
    let size = fill(&db, inbox, messages, letters).await;
    db.settle().unwrap();
    println!("{messages} messages, {} bytes each", size / u64::from(messages));

    let begun = Instant::now();
    on.words.catch_up().await.unwrap();
    let took = begun.elapsed();
    let slabs: u64 =
        db.snapshot().scan::<WordSlabRow>().map(|slab| slab.unwrap().bytes.len()).sum();
    println!(
        "index made in {took:.2?}, {:.2?} a message; {slabs} bytes, {} a message, {:.1} % of the mail; \
         {} segments of {} slabs",
        took / messages,
        slabs / u64::from(messages),
        100.0 * slabs as f64 / size as f64,
        db.snapshot().scan::<WordSegmentRow>().count(),
        db.snapshot().scan::<WordSlabRow>().count(),
    );
    db.settle().unwrap();
    let mut client = serve(&on).await;
    let mut without = if messages <= WITHOUT_MAX { Some(serve(&off).await) } else { None };
    let (often, seldom) = (word(7), word(40_000));
    for what in [
        format!("BODY {often}"),
        format!("BODY {seldom}"),
        "BODY rarely77".to_owned(),
        "BODY \"y77 said\"".to_owned(),
        "BODY nowherever".to_owned(),
        "BODY meeting".to_owned(),
        "TEXT person77@example.net".to_owned(),
        "TEXT gel".to_owned(),
        "TEXT x".to_owned(),
        format!("NOT BODY {often} OR BODY {seldom} TEXT rarely5"),
    ] {
        let (median, count) = client.search(&what, TIMES).await;
        let beside = match &mut without {
            None => String::new(),
            Some(without) => {
                let (median, same) = without.search(&what, TIMES_WITHOUT).await;
                assert_eq!(same, count, "{what}");
                format!(", without the index {median:.2?}")
            }
        };
        println!("SEARCH {what}: {count} found, median {median:.2?}{beside}");
    }
    db.close();
}
