//! Two stores behind the same tables: rows in memory, which are simple, and files. Whatever is done
//! to both, they give the same answers, errors and news.
//!
//! Not here: what is kept when the process ends, which only files do.

use std::sync::Arc;

use gracedb::db::Db;
use gracedb::disk::sim::next_random;
use gracedb::error::Error;
use gracedb::memory::MemoryEngine;
use gracedb::options::Options;
use gracedb::view::{Snapshot, View};
use gracedb::watch::Watch;
use gracedb::write::WriteTx;

use crate::tables::*;

/// Chance, the same for both.
struct Chance(u64);

impl Chance {
    fn below(&mut self, below: u64) -> u64 {
        next_random(&mut self.0) % below
    }

    fn small(&mut self, below: u32) -> u32 {
        u32::try_from(self.below(u64::from(below))).unwrap()
    }
}

/// One store, and who watches it.
struct Side {
    db: Db,
    watches: Vec<Watch>,
    /// Looked at again when much has changed.
    kept: Option<(Snapshot, String)>,
}

impl Side {
    fn new(db: Db) -> Self {
        let watches = vec![
            db.watch::<Message>(&(0,)),
            db.watch::<Message>(&(1,)),
            db.watch::<Message>(&(2, 5)),
            db.watch_index::<AccountByAddress>(&("a.test",)),
            db.watch_index::<MessageByFlag>(&(0, true)),
            db.watch_counts::<Delivered>(&(1,)),
        ];
        Self { db, watches, kept: None }
    }

    fn told(&mut self) -> Vec<bool> {
        self.watches.iter_mut().map(Watch::take).collect()
    }

    /// Runs a transaction of some changes; gives what each of them said.
    fn transaction(&self, seed: u64) -> String {
        let mut chance = Chance(seed);
        let is_large = chance.below(3) == 0;
        let large = is_large.then(|| body(&self.db, &pattern(5_000, chance.small(99) as usize)));
        let mut said = String::new();
        let written = self.db.write(|tx| {
            for _ in 0..=chance.below(5) {
                let one = change(tx, &mut chance, large.as_ref());
                said += &format!("{one:?}; ");
            }
            if chance.below(10) == 0 { Err(Error::Closed) } else { Ok(()) }
        });
        let done = written.and_then(gracedb::pending::Pending::wait);
        format!("{said}{done:?}")
    }
}

fn change(
    tx: &mut WriteTx<'_>,
    chance: &mut Chance,
    large: Option<&gracedb::large::Large>,
) -> Result<String, Error> {
    let domain = if chance.below(2) == 0 { "a.test" } else { "b.test" };
    let row = |chance: &mut Chance| Account {
        domain: domain.into(),
        quota: i64::from(chance.small(5)) - 2,
        ..account(chance.below(12), &format!("u{}", chance.small(9)), 0)
    };
    let message = |chance: &mut Chance| Message {
        mailbox: chance.below(3),
        uid: chance.small(12),
        seen: chance.below(2) == 0,
        body: large.cloned().unwrap_or_default(),
    };
    let said = match chance.below(14) {
        0..=2 => format!("{:?}", tx.put(&row(chance))?),
        3 => format!("{:?}", tx.insert(&row(chance))?),
        4 => format!("{:?}", tx.delete::<Account>(&chance.below(12))?),
        5 | 6 => format!("{:?}", tx.put(&message(chance))?),
        7 => format!("{:?}", tx.delete::<Message>(&(chance.below(3), chance.small(12)))?),
        8 => format!("{:?}", tx.delete_prefix::<Message, _>(&(chance.below(3),))?),
        9 => {
            let (mailbox, from) = (chance.below(3), chance.small(12));
            format!("{:?}", tx.delete_range::<Message>((mailbox, from)..(mailbox + 1, 3))?)
        }
        10 => format!("{:?}", tx.next_id::<Account>()?),
        11 => {
            let key = (chance.small(3), chance.below(3));
            format!("{:?}", tx.add::<Delivered>(&key, i64::from(chance.small(9)) - 4)?)
        }
        12 => format!("{:?}", tx.forget_counts::<Delivered>(&(chance.small(3),))?),
        _ => {
            let long = "x".repeat(chance.below(9_000) as usize);
            format!("{:?}", tx.put(&Domain { name: long })?)
        }
    };
    // A transaction sees its own changes.
    Ok(format!("{said}, {}", contents(tx)))
}

/// Everything there is, in every way it can be asked for.
fn contents(view: &impl View) -> String {
    let mut all = String::new();
    let mut say = |what: &dyn std::fmt::Debug| all += &format!("{what:?}\n");
    let key =
        |row: Result<Message, Error>| row.map(|row| (row.mailbox, row.uid, row.seen)).unwrap();
    let id = |row: Result<Account, Error>| row.unwrap().id;
    say(&view.scan::<Account>().collect::<Result<Vec<_>, _>>().unwrap());
    say(&view.scan::<Account>().rev().map(id).collect::<Vec<_>>());
    say(&view.scan::<Message>().map(key).collect::<Vec<_>>());
    say(&view.prefix::<Message>(&(1,)).rev().map(key).collect::<Vec<_>>());
    say(&view.range::<Message>((0, 4)..=(2, 2)).map(key).collect::<Vec<_>>());
    say(&view.by_index_range::<AccountByQuota>(-1..2).map(id).collect::<Vec<_>>());
    say(&view.by_index::<AccountByQuota>(&0).rev().map(id).collect::<Vec<_>>());
    say(&view.by_index_prefix::<AccountByAddress>(&("a.test",)).map(id).collect::<Vec<_>>());
    say(&view.by_index_prefix::<MessageByFlag>(&(1,)).map(key).collect::<Vec<_>>());
    say(&view.find::<AccountByAddress>(&("b.test", "u3")).unwrap());
    say(&view.scan::<Domain>().map(|row| row.unwrap().name.len()).collect::<Vec<_>>());
    for day in 0..3 {
        for account in 0..3 {
            say(&view.count::<Delivered>(&(day, account)).unwrap());
        }
    }
    let bodies = view.scan::<Message>().map(|row| {
        let bytes = view.open_large(&row.unwrap().body).read_all(1 << 20).unwrap();
        (bytes.len(), bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>())
    });
    say(&bodies.collect::<Vec<_>>());
    all
}

#[test]
fn files_and_memory_give_the_same_answers() {
    for seed in 0..8 {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            mem_bytes: 4 << 10,
            level_bytes: 8 << 10,
            run_bytes: 2 << 10,
            block_bytes: 512,
            cache_bytes: 16 << 10,
            ..Options::new(dir.path())
        };
        let memory = Db::with_engine(Arc::new(MemoryEngine::new()), SCHEMA);
        let mut sides = [Side::new(open(&options)), Side::new(memory)];
        for step in 0..250u64 {
            let at = format!("seed {seed}, step {step}");
            let chance = (seed << 32) ^ step;
            let said = sides.each_ref().map(|side| side.transaction(chance));
            assert_eq!(said[0], said[1], "{at}: what the transaction said");
            let told = sides.each_mut().map(Side::told);
            assert_eq!(told[0], told[1], "{at}: what was told to who watches");
            let found = sides.each_ref().map(|side| contents(&side.db.snapshot()));
            assert_eq!(found[0], found[1], "{at}");
            for (side, found) in sides.iter_mut().zip(found) {
                if step % 50 == 20 {
                    side.kept = Some((side.db.snapshot(), found));
                } else if step % 50 == 45
                    && let Some((snapshot, before)) = side.kept.take()
                {
                    assert_eq!(contents(&snapshot), before, "{at}: a snapshot changed");
                }
            }
        }
        sides[0].db.settle().unwrap();
        let found = sides.each_ref().map(|side| contents(&side.db.snapshot()));
        assert_eq!(found[0], found[1], "seed {seed}: when all is on disk");
        check(&sides[0].db);
    }
}

#[test]
fn counters_stop_at_their_ends_and_begin_anew() {
    let dir = tempfile::tempdir().unwrap();
    for db in
        [open(&Options::new(dir.path())), Db::with_engine(Arc::new(MemoryEngine::new()), SCHEMA)]
    {
        let key = (7, 1);
        let add = |more| db.write(|tx| tx.add::<Delivered>(&key, more)).unwrap().wait().unwrap();
        assert_eq!(db.snapshot().count::<Delivered>(&key).unwrap(), 0);
        assert_eq!((add(i64::MAX), add(1), add(-3)), (i64::MAX, i64::MAX, i64::MAX - 3));
        let lost = db.write(|tx| {
            tx.add::<Delivered>(&key, -5)?;
            Err::<(), _>(Error::Closed)
        });
        assert!(lost.is_err());
        assert_eq!(db.snapshot().count::<Delivered>(&key).unwrap(), i64::MAX - 3);
        let forgotten = db.write(|tx| tx.forget_counts::<Delivered>(&(7,)));
        forgotten.unwrap().wait().unwrap();
        assert_eq!(add(-4), -4);
        // A number that was given back is given out again, one that was kept is not.
        let next = |kept: bool| {
            let mut number = 0;
            let written = db.write(|tx| {
                number = tx.next_id::<Account>()?;
                if kept { Ok(()) } else { Err(Error::Closed) }
            });
            drop(written.map(|pending| pending.wait().unwrap()));
            number
        };
        assert_eq!([next(true), next(false), next(true), next(true)], [1, 2, 2, 3]);
    }
}

#[test]
fn who_watches_is_told_of_every_acknowledged_change_and_of_the_end() {
    let dir = tempfile::tempdir().unwrap();
    for db in
        [open(&Options::new(dir.path())), Db::with_engine(Arc::new(MemoryEngine::new()), SCHEMA)]
    {
        let mut watch = db.watch::<Message>(&(4,));
        let mut other = db.watch::<Message>(&(5,));
        let writer = std::thread::scope(|scope| {
            let db = &db;
            let writing = scope.spawn(move || {
                for uid in 0..20 {
                    put_message(db, 4, uid, b"x");
                }
            });
            // Each time it is told, what it was told of is to be seen.
            let mut seen = 0;
            while seen < 20 {
                let sequence = gracedb::pending::block_on(watch.changed()).unwrap();
                let snapshot = db.snapshot();
                assert!(snapshot.sequence() >= sequence);
                seen = snapshot.prefix::<Message>(&(4,)).count();
            }
            writing.join()
        });
        writer.unwrap();
        assert!(!other.take());
        let failed = db.write(|tx| {
            tx.delete_prefix::<Message, _>(&(5,))?;
            Err::<(), _>(Error::Closed)
        });
        assert!(failed.is_err() && !other.take(), "told of what never was");
        db.write(|tx| tx.delete_range::<Message>(..)).unwrap().wait().unwrap();
        assert!(other.take());
        watch.take();
        let told = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| gracedb::pending::block_on(watch.changed()));
            db.close();
            waiting.join()
        });
        assert_eq!(told.unwrap(), None);
    }
}
