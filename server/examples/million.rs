//! A million small messages in one mailbox: how long commands over all of them take, how long
//! others wait meanwhile, and what is left on disk.
//!
//! ```text
//!   cargo run --release -p graced --example million [FOLDER [MESSAGES]]
//! ```
//! Not here: tests; nothing in this is right or wrong.

#![expect(clippy::print_stdout, reason = "it says what it measured")]
#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made ends")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use gracedb::db::Db;
use gracedb::options::Options;
use gracedb::seal::Key;
use zeroize::Zeroizing;

use grace_ipc::event::TraceId;

use graced::config::limits::Limits;
use graced::directory::{Directory, Person};
use graced::mailbox::Mailboxes;
use graced::mailbox::change::{FlagChange, FlagMask, FlagVerb};
use graced::store::messages::{MailboxRow, MessageRow, flag};
use graced::store::{self, seed::INBOX};
use graced::telemetry::bus::Bus;

/// Messages put in by one transaction.
const AT_ONCE: u32 = 5_000;
/// Bytes of one message.
const MESSAGE_BYTES: usize = 2_000;

struct House {
    db: Db,
    directory: Directory,
    mailboxes: Mailboxes,
}

impl House {
    fn open(folder: &Path, restore_s: u64) -> Self {
        let mut options = Options::new(folder.join("store"));
        options.key = Some(Key::from_bytes([7; 32]));
        options.retention_s = restore_s;
        options.transaction_bytes_max = 48 << 20;
        let db = Db::open(options, store::SCHEMA).unwrap();
        let bus = Bus::new(100);
        let directory = Directory::new(db.clone(), bus.clone(), &Limits::default());
        let mailboxes = Mailboxes::new(db.clone(), bus, &Limits::default());
        Self { db, directory, mailboxes }
    }

    async fn account(&self, name: &str) -> Person {
        let password = Zeroizing::new("correct horse".to_owned());
        let address = format!("{name}@example.org");
        self.directory.create_account(&address, password, "a measurement").await.unwrap()
    }

    fn inbox(&self, person: &Person) -> MailboxRow {
        self.mailboxes.find(person.id, INBOX).unwrap().unwrap()
    }

    /// Puts messages in, each with a body of its own.
    async fn fill(&self, person: &Person, messages: u32) {
        let inbox = self.inbox(person).id;
        let text = vec![b'x'; MESSAGE_BYTES];
        let mut done = 0;
        while done < messages {
            let mut bodies = Vec::new();
            for _ in 0..AT_ONCE.min(messages - done) {
                let mut writer = self.db.large_writer();
                writer.write(&text).await.unwrap();
                bodies.push(writer.finish().await.unwrap());
            }
            done += u32::try_from(bodies.len()).unwrap();
            let put = self.db.write(|tx| {
                use gracedb::view::View as _;
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
                    row.bytes += MESSAGE_BYTES as u64;
                }
                tx.put(&row)
            });
            put.unwrap().await.unwrap();
        }
    }

    async fn uids(&self, mailbox: u64) -> Vec<u32> {
        let opened = self.mailboxes.open(mailbox, false).await.unwrap();
        opened.messages.uids().collect()
    }

    async fn flag(&self, mailbox: u64, uids: &[u32], flags: u8) {
        let (verb, keywords) = (FlagVerb::Add, Vec::new());
        let within = FlagMask::ALL;
        let change = FlagChange { verb, flags, keywords, unchanged_since: None, within };
        self.mailboxes.store_flags(mailbox, uids, &change).await.unwrap();
    }

    /// Runs `work` while another account gets one message after the other; says how long both took.
    async fn beside<T>(&self, what: &str, other: &Person, work: impl Future<Output = T>) -> T {
        let over = Arc::new(AtomicBool::new(false));
        let (mailboxes, ends, id) = (self.mailboxes.clone(), Arc::clone(&over), other.id);
        let delivering = tokio::spawn(async move {
            let mut waits = Vec::new();
            while !ends.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let mut upload = mailboxes.upload();
                upload.write(&[b'y'; MESSAGE_BYTES]).await.unwrap();
                let message = upload.finish().await.unwrap();
                mailboxes.deliver(&[id], message, None).await.unwrap();
                waits.push(begun.elapsed());
            }
            waits
        });
        let begun = Instant::now();
        let value = work.await;
        let took = begun.elapsed();
        over.store(true, Ordering::Relaxed);
        let mut waits = delivering.await.unwrap();
        waits.sort_unstable();
        let worst = waits.last().copied().unwrap_or_default();
        let median = waits.get(waits.len() / 2).copied().unwrap_or_default();
        println!(
            "{what}: {took:.2?}; meanwhile {} deliveries, median {median:.2?}, slowest {worst:.2?}",
            waits.len()
        );
        value
    }

    fn size(&self, what: &str, folder: &Path) {
        let stats = self.db.stats().unwrap();
        let files = std::fs::read_dir(folder.join("store")).unwrap();
        let bytes: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
        println!(
            "{what}: {} MB in files (journal {} MB, runs {:?}), {} MB live, {:.2} bytes for each",
            bytes / 1_000_000,
            stats.journal_bytes / 1_000_000,
            stats.levels,
            stats.live_bytes / 1_000_000,
            stats.amplification()
        );
    }

    fn settle(&self, what: &str, folder: &Path) {
        let begun = Instant::now();
        self.db.settle().unwrap();
        println!("settling: {:.2?}", begun.elapsed());
        self.size(what, folder);
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let own;
    let folder = match arguments.first() {
        Some(folder) => Path::new(folder),
        None => {
            own = tempfile::tempdir().unwrap();
            own.path()
        }
    };
    let messages = arguments.get(1).map_or(1_000_000, |count| count.parse().unwrap());
    tokio::runtime::Runtime::new().unwrap().block_on(measure(folder, messages));
}

async fn measure(folder: &Path, messages: u32) {
    let house = House::open(folder, 0);
    house.directory.create_domain("example.org", "a measurement").await.unwrap();
    let (ann, bob) = (house.account("ann").await, house.account("bob").await);
    let begun = Instant::now();
    house.fill(&ann, messages).await;
    println!("putting {messages} messages of {MESSAGE_BYTES} bytes in: {:.2?}", begun.elapsed());
    house.settle("full", folder);

    let inbox = house.inbox(&ann).id;
    let begun = Instant::now();
    let uids = house.uids(inbox).await;
    println!("reading {} rows: {:.2?}", uids.len(), begun.elapsed());
    let seen = house.flag(inbox, &uids, flag::SEEN);
    house.beside("UID STORE 1:* +FLAGS (\\Seen)", &bob, seen).await;
    let archive = house.mailboxes.find(ann.id, "Archive").unwrap().unwrap().id;
    let copy = house.mailboxes.copy(inbox, &uids, archive);
    let copied = house.beside("UID COPY 1:* Archive", &bob, copy).await.unwrap();
    println!("copied {}", copied.uids.len());
    let trash = house.mailboxes.find(ann.id, "Trash").unwrap().unwrap().id;
    let archived = house.uids(archive).await;
    let moving = house.mailboxes.move_messages(archive, &archived, trash);
    let moved = house.beside("UID MOVE 1:* Trash", &bob, moving).await.unwrap();
    println!("moved {}", moved.uids.len());
    house.settle("with a copy of each", folder);

    let half: Vec<u32> = uids.iter().copied().filter(|uid| uid % 2 == 0).collect();
    house.flag(inbox, &half, flag::DELETED).await;
    let expunge = house.mailboxes.expunge(TraceId(0), inbox, None);
    let gone = house.beside("EXPUNGE of every second one", &bob, expunge).await.unwrap();
    println!("gone {} in {} runs", gone.count, gone.uids.len());
    let rest = house.uids(inbox).await;
    let delete = house.flag(inbox, &rest, flag::DELETED);
    house.beside("UID STORE 1:* +FLAGS (\\Deleted) of the rest", &bob, delete).await;
    let expunge = house.mailboxes.expunge(TraceId(0), inbox, None);
    let gone = house.beside("EXPUNGE of all that is left", &bob, expunge).await.unwrap();
    println!("gone {} in {} runs", gone.count, gone.uids.len());
    house.settle("with the copies alone", folder);

    let delete = house.directory.delete_account("ann@example.org", "a measurement");
    house.beside("deleting the account", &bob, delete).await.unwrap();
    house.settle("nearly empty", folder);
    let begun = Instant::now();
    house.db.close();
    println!("closing: {:.2?}", begun.elapsed());
}
