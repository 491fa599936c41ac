//! How fast mail goes in and a database opens, on the disk of the folder given.
//!
//! `cargo run --release -p gracedb --example measure -- FOLDER [LETTERS]`
//! Not here: a comparison with other engines.

#![expect(clippy::print_stdout, reason = "it prints its figures")]

use std::error::Error;
use std::thread;
use std::time::Instant;

use gracedb::db::{Db, Options};
use gracedb::large::Large;
use gracedb::pending::block_on;
use gracedb::schema::Schema;
use gracedb::table::Table;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Table)]
#[table(id = 1, name = "letter")]
#[index(id = 1, name = LetterByTime, fields(time))]
struct Letter {
    #[key]
    mailbox: u64,
    #[key]
    uid: u32,
    time: u64,
    subject: String,
    body: Large,
}

const SCHEMA: Schema = Schema::new(&[Letter::DEF]);
const BODY: [u8; 4096] = [b'x'; 4096];

fn deliver(db: &Db, mailbox: u64, uid: u32) -> Result<(), gracedb::error::Error> {
    let body = block_on(async {
        let mut writer = db.large_writer();
        writer.write(&BODY).await?;
        writer.finish().await
    })?;
    let subject = format!("letter {uid}");
    let row = Letter { mailbox, uid, time: u64::from(uid), subject, body };
    db.write(|tx| tx.insert(&row))?.wait()
}

/// Kilobytes of memory that the process holds, where the system tells.
fn resident_kb() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or("unknown");
    line.trim_start_matches("VmRSS:").trim().to_owned()
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().ok_or("usage: measure FOLDER [LETTERS]")?;
    let letters: u32 = arguments.next().map_or(Ok(5_000), |count| count.parse())?;
    let db = Db::open(Options::new(&dir), SCHEMA)?;
    println!("open, empty: {} resident", resident_kb());
    let mut mailbox = 0;
    for writers in [1u32, 8, 64] {
        let (start, before) = (Instant::now(), db.stats());
        let first = mailbox;
        mailbox += u64::from(writers);
        thread::scope(|scope| {
            let threads: Vec<_> = (first..mailbox)
                .map(|mailbox| {
                    let db = &db;
                    scope.spawn(move || {
                        (0..letters / writers).try_for_each(|uid| deliver(db, mailbox, uid))
                    })
                })
                .collect();
            threads.into_iter().try_for_each(|thread| match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })?;
        let (seconds, after) = (start.elapsed().as_secs_f64(), db.stats());
        let commits = after.commits - before.commits;
        println!(
            "{writers:2} writers: {:.0} letters/s, {:.1} commits per sync",
            f64::from(u32::try_from(commits)?) / seconds,
            f64::from(u32::try_from(commits)?)
                / f64::from(u32::try_from(after.syncs - before.syncs)?)
        );
    }
    println!("{:?}, {} resident", db.stats(), resident_kb());
    drop(db);
    let start = Instant::now();
    let db = Db::open(Options::new(&dir), SCHEMA)?;
    println!("opened again in {:?}: {:?}", start.elapsed(), db.opened());
    Ok(())
}
