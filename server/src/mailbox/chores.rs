//! Work on mailboxes that can wait: facts and conversations of mail that came without, and names
//! that lead nowhere any more.
//!
//! ```text
//!   once: every mailbox is noted ─▶ chore rows ─▶ Make: of each message what is missing, some
//!   a message too large to be held ─┘    ▲                messages a transaction, the rest noted
//!   messages of an account went ─────────┘     ─▶ Sweep: after some hours, names of conversations
//!                                                        that have no message there
//! ```
//! Work comes in steps of some milliseconds on a thread of its own, with a rest after each by the
//! settings. Invariants: what is to be done is a row, which goes in the transaction that does the
//! last of it, so that a stop or a crash loses at most a step, and where there are no rows nothing
//! is looked for, after a restart either; memory is bounded whatever there is in a mailbox; a name
//! goes only if no message of its conversation is there in the transaction that removes it.
//! Not here: what a conversation is (`threads`), what facts are (`facts`).

use std::collections::BTreeSet;
use std::time::Duration;

use gracedb::db::Db;
use gracedb::engine::Durability;
use gracedb::error::Error as StoreError;
use gracedb::view::{Rows, Snapshot, View};
use gracedb::write::WriteTx;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use grace_imap::facts::{FORMAT, Facts};
use grace_imap::keys::Keys;

use super::facts::{self, read_start};
use super::threads::{self, PLACES, keys_of};
use crate::config::limits::Store;
use crate::store::failure::Failure;
use crate::store::messages::{MailboxByName, MailboxRow, MessageRow};
use crate::store::seed;
use crate::store::threads::{Chore, ChoreRow, Thread, ThreadReferenceRow, ThreadRow};
use crate::telemetry::stop::Stop;

/// How long a step takes, but for one message: as long others may wait for the processor.
const STEP: Duration = Duration::from_millis(20);

/// Messages that a step makes something of: one transaction writes it.
const MESSAGES_MAX: usize = 250;

/// Bytes of facts that a step makes: some milliseconds of a disk's writing.
const FACTS_BYTES_MAX: usize = 1 << 20;

/// A message that is larger is not read as a whole here, for memory; its ENVELOPE and BODYSTRUCTURE
/// are made when they are asked for.
const WHOLE_BYTES_MAX: u64 = 16 << 20;

/// Mailboxes noted, and names removed, in one transaction: some milliseconds of work.
const ROWS_AT_ONCE: usize = 500;

/// Conversations that are remembered at once to see which names lead to one: some 10 MB. An account
/// that has more is walked through more than once.
const LIVING_MAX: usize = 200_000;

/// How long is waited after a failure: a full disk is not emptied in seconds.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// Looking whether something is due costs one row; without a sweep that waits nothing is due
/// before a row comes, which is told.
const LOOK: Duration = Duration::from_secs(3_600);

/// Who does the work.
#[derive(Clone)]
pub struct Chores {
    db: Db,
    share_percent: u32,
    sweep_after_s: i64,
}

/// How much of a processor the work may take, and who ends it.
struct Pace {
    percent: u32,
    stop: Stop,
}

impl Pace {
    /// Rests after work; says whether to go on.
    async fn rest(&self, begun: Instant) -> bool {
        let rest = begun.elapsed() * (100 - self.percent.min(100)) / self.percent.max(1);
        tokio::select! {
            () = self.stop.wait() => {}
            () = sleep(rest) => {}
        }
        !self.stop.is_said()
    }
}

impl Chores {
    /// Work on the mailboxes kept in `db`.
    #[must_use]
    pub fn new(db: Db, settings: &Store) -> Self {
        let share_percent = u32::try_from(settings.chores_share_percent).unwrap_or(100);
        let sweep_after_s = i64::try_from(settings.thread_sweep_hours * 3_600).unwrap_or(i64::MAX);
        Self { db, share_percent, sweep_after_s }
    }

    /// Does what there is to do until told to stop.
    pub async fn keep(self, stop: Stop) {
        let pace = Pace { percent: self.share_percent, stop };
        // Watching before looking: a row in between is looked for once too often, never too seldom.
        let mut make = self.db.watch::<ChoreRow>(&(Chore::Make as u8,));
        let mut sweep = self.db.watch::<ChoreRow>(&(Chore::Sweep as u8,));
        while !pace.stop.is_said() {
            match self.pass(&pace, self.sweep_after_s).await {
                Ok(wait) => tokio::select! {
                    () = sleep(wait) => {}
                    changed = make.changed() => if changed.is_none() { return },
                    changed = sweep.changed() => if changed.is_none() { return },
                    () = pace.stop.wait() => return,
                },
                Err(error) => {
                    tracing::warn!(target: "grace", event = "ChoresNotDone", %error);
                    tokio::select! {
                        () = sleep(AFTER_FAILURE) => {}
                        () = pace.stop.wait() => return,
                    }
                }
            }
        }
    }

    /// Does all there is to do, whether it is due or not, without a rest.
    ///
    /// # Errors
    /// The database failed.
    pub async fn catch_up(&self) -> Result<(), Failure> {
        let pace = Pace { percent: 100, stop: Stop::default() };
        self.pass(&pace, i64::MIN).await.map(drop)
    }

    /// Does what is due; says how long until something else is.
    async fn pass(&self, pace: &Pace, sweep_after_s: i64) -> Result<Duration, Failure> {
        self.note().await?;
        loop {
            let snapshot = self.db.snapshot();
            if let Some(chore) = first_of(&snapshot, Chore::Make)? {
                if !self.make(chore, pace).await? {
                    return Ok(LOOK);
                }
                continue;
            }
            self.forget_places(&snapshot).await?;
            let mut wait = LOOK;
            let mut due = None;
            for chore in snapshot.prefix::<ChoreRow>(&(Chore::Sweep as u8,)) {
                let chore = chore?;
                let due_s = chore.since_s.saturating_add(sweep_after_s);
                let left_s = due_s.saturating_sub(seed::now_s());
                if chore.first > 0 || left_s <= 0 {
                    due = Some(chore.of);
                    break;
                }
                wait = wait.min(Duration::from_secs(left_s.unsigned_abs()));
            }
            let Some(account) = due else { return Ok(wait) };
            if !self.sweep(account, pace).await? {
                return Ok(LOOK);
            }
        }
    }

    /// Notes every mailbox there is, once in the life of a database, and of a format of facts; if
    /// it is cut short, it is done again.
    async fn note(&self) -> Result<(), Failure> {
        let snapshot = self.db.snapshot();
        let noted = snapshot.get::<ChoreRow>(&(Chore::Noted as u8, 0, 0))?;
        if noted.is_some_and(|row| row.last == u32::from(FORMAT)) {
            return Ok(());
        }
        let (kind, since_s) = (Chore::Make as u8, seed::now_s());
        let mut rows = Vec::new();
        for mailbox in snapshot.scan::<MailboxRow>() {
            let MailboxRow { id, uid_next, .. } = mailbox?;
            if uid_next > 1 {
                rows.push(ChoreRow { kind, of: id, first: 1, last: uid_next - 1, since_s });
            }
        }
        let (kind, last) = (Chore::Noted as u8, u32::from(FORMAT));
        rows.push(ChoreRow { kind, of: 0, first: 0, last, since_s });
        for some in rows.chunks(ROWS_AT_ONCE) {
            let noted = |tx: &mut WriteTx<'_>| {
                for row in some {
                    // It may be gone since.
                    if row.kind == kind || tx.contains::<MailboxRow>(&row.of)? {
                        tx.put(row)?;
                    }
                }
                Ok::<_, StoreError>(())
            };
            self.db.write_with(Durability::Buffered, noted)?.await?;
        }
        Ok(())
    }

    /// Makes what is missing of the messages that a row names; says whether to go on.
    async fn make(&self, mut chore: ChoreRow, pace: &Pace) -> Result<bool, Failure> {
        loop {
            let begun = Instant::now();
            // Anew each time: what a snapshot sees gives its room back only after it.
            let making = Making::new(self.db.snapshot(), &chore);
            let Making { upto, made, .. } = run(move || making.step()).await?;
            // A conversation may be told as soon as it is there, so it must be on disk by then.
            let goes_on = self.db.write(|tx| put_made(tx, &mut chore, upto, &made))?;
            if !goes_on.await? {
                return Ok(true);
            }
            if !pace.rest(begun).await {
                return Ok(false);
            }
        }
    }

    /// Where all messages have their conversation, nobody asks any more which copies were made
    /// before.
    async fn forget_places(&self, snapshot: &Snapshot) -> Result<(), Failure> {
        let mut places = snapshot.prefix::<ThreadReferenceRow>(&(PLACES,));
        if places.next().transpose()?.is_some() {
            let forget = |tx: &mut WriteTx<'_>| match first_of(tx, Chore::Make)? {
                Some(_) => Ok(()),
                None => tx.delete_prefix::<ThreadReferenceRow, _>(&(PLACES,)),
            };
            self.db.write_with(Durability::Buffered, forget)?.await?;
        }
        Ok(())
    }

    /// Removes names of an account that lead to no message; says whether to go on.
    async fn sweep(&self, account: u64, pace: &Pace) -> Result<bool, Failure> {
        let kind = Chore::Sweep as u8;
        // What goes from now on is noted anew.
        let begun = self.db.write_with(Durability::Buffered, |tx| {
            tx.delete::<ChoreRow>(&(kind, account, 0))?;
            tx.put(&ChoreRow { kind, of: account, first: 1, last: 1, since_s: seed::now_s() })
        })?;
        begun.await?;
        let snapshot = self.db.snapshot();
        let mailboxes = snapshot.by_index_prefix::<MailboxByName>(&(account,));
        let mailboxes = mailboxes.map(|row| row.map(|row| (row.id, row.uid_next)));
        let mailboxes: Vec<(u64, u32)> = mailboxes.collect::<Result<_, _>>()?;
        let mut living = Living::default();
        loop {
            for (mailbox, _) in &mailboxes {
                let mut walk = Some((living, snapshot.prefix::<ThreadRow>(&(*mailbox,))));
                living = loop {
                    let Some((before, rows)) = walk.take() else { return Ok(true) };
                    let begun = Instant::now();
                    let (after, rows) = run(move || before.take(rows)).await?;
                    let Some(rows) = rows else { break after };
                    walk = Some((after, rows));
                    if !pace.rest(begun).await {
                        return Ok(false);
                    }
                };
            }
            if !self.sweep_names(&snapshot, (account, &mailboxes), &living, pace).await? {
                return Ok(false);
            }
            match living.next() {
                Some(next) => living = next,
                None => break,
            }
        }
        let done = |tx: &mut WriteTx<'_>| tx.delete::<ChoreRow>(&(kind, account, 1)).map(drop);
        self.db.write_with(Durability::Buffered, done)?.await?;
        Ok(true)
    }

    /// Removes the names that lead to none of the conversations looked at.
    async fn sweep_names(
        &self,
        snapshot: &Snapshot,
        (account, mailboxes): (u64, &[(u64, u32)]),
        living: &Living,
        pace: &Pace,
    ) -> Result<bool, Failure> {
        let mut names = snapshot.prefix::<ThreadReferenceRow>(&(account,));
        let mut is_over = false;
        while !is_over {
            let begun = Instant::now();
            let mut dead = Vec::new();
            while dead.len() < ROWS_AT_ONCE && begun.elapsed() < STEP {
                let Some(row) = names.next().transpose()? else {
                    is_over = true;
                    break;
                };
                if living.is_dead(&row.thread) {
                    dead.push(row);
                }
            }
            if !dead.is_empty() {
                let swept = |tx: &mut WriteTx<'_>| remove_dead(tx, account, mailboxes, &dead);
                self.db.write_with(Durability::Buffered, swept)?.await?;
            }
            if !pace.rest(begun).await {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn first_of(view: &impl View, kind: Chore) -> Result<Option<ChoreRow>, StoreError> {
    view.prefix::<ChoreRow>(&(kind as u8,)).next().transpose()
}

/// What was made of a message, for what was missing.
type Made = (MessageRow, Keys, Facts);

/// Messages of a row that are looked at.
struct Making {
    snapshot: Snapshot,
    rows: Rows<MessageRow>,
    /// The last UID to look at.
    last: u32,
    /// All messages up to this UID were looked at.
    upto: u32,
    made: Vec<Made>,
}

impl Making {
    fn new(snapshot: Snapshot, chore: &ChoreRow) -> Self {
        let ChoreRow { of, first, last, .. } = *chore;
        let rows = snapshot.range::<MessageRow>((of, first)..=(of, last));
        Self { snapshot, rows, last, upto: first.saturating_sub(1), made: Vec::new() }
    }

    /// Looks at some messages.
    fn step(mut self) -> Result<Self, Failure> {
        let (begun, mut bytes) = (Instant::now(), 0);
        while begun.elapsed() < STEP && self.made.len() < MESSAGES_MAX && bytes < FACTS_BYTES_MAX {
            let Some(message) = self.rows.next().transpose()? else {
                self.upto = self.last;
                break;
            };
            self.upto = message.uid;
            match self.look(&message) {
                Ok(None) => {}
                Ok(Some((keys, facts))) => {
                    bytes += facts::bytes_of(&facts);
                    self.made.push((message, keys, facts));
                }
                // Whoever reads it meets the damage, and tells of it.
                Err(Failure::Store(StoreError::Corrupt { .. } | StoreError::Unknown { .. })) => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(self)
    }

    /// What can be kept of a message, if some of it is not.
    fn look(&self, message: &MessageRow) -> Result<Option<(Keys, Facts)>, Failure> {
        let (snapshot, place) = (&self.snapshot, (message.mailbox, message.uid));
        if facts::is_lacking(snapshot, place)? {
            let mut reader = snapshot.open_large(&message.body);
            let facts = match usize::try_from(message.size()) {
                Ok(size) if message.size() <= WHOLE_BYTES_MAX => Facts::of(&reader.read_all(size)?),
                _ => Facts::of_start(&read_start(&mut reader)?),
            };
            let keys = facts.keys.as_deref();
            let (date_s, size) = (message.internal_date_s, message.size());
            let keys = keys.and_then(|keys| Keys::unpack(message.uid, date_s, size, keys));
            let keys = keys.map_or_else(|| keys_of(snapshot, message), Ok)?;
            return Ok(Some((keys, facts)));
        }
        match snapshot.contains::<ThreadRow>(&place)? {
            true => Ok(None),
            false => Ok(Some((keys_of(snapshot, message)?, Facts::default()))),
        }
    }
}

/// Writes what was made, and that all messages up to a UID are done; says whether there are more.
fn put_made(
    tx: &mut WriteTx<'_>,
    chore: &mut ChoreRow,
    upto: u32,
    made: &[Made],
) -> Result<bool, Failure> {
    let mailbox = tx.get::<MailboxRow>(&chore.of)?;
    // It goes with its mailbox.
    if !tx.delete::<ChoreRow>(&(chore.kind, chore.of, chore.first))? {
        return Ok(false);
    }
    let Some(mailbox) = mailbox else { return Ok(false) };
    for (message, keys, facts) in made {
        // It may be gone since.
        if tx.contains::<MessageRow>(&(message.mailbox, message.uid))? {
            facts::add(tx, message, facts)?;
            threads::make(tx, &mailbox, message, keys)?;
        }
    }
    let Some(next) = upto.checked_add(1).filter(|next| *next <= chore.last) else {
        return Ok(false);
    };
    chore.first = next;
    tx.put(chore)?;
    Ok(true)
}

/// Conversations that an account has messages of.
#[derive(Debug, Default)]
struct Living {
    threads: BTreeSet<Thread>,
    /// Older ones were looked at before.
    from: Option<Thread>,
    /// There was no room for this one and what is younger.
    below: Option<Thread>,
}

impl Living {
    /// Takes rows for some milliseconds; gives those that are left, if there are.
    fn take(
        mut self,
        mut rows: Rows<ThreadRow>,
    ) -> Result<(Self, Option<Rows<ThreadRow>>), Failure> {
        let begun = Instant::now();
        while begun.elapsed() < STEP {
            let Some(row) = rows.next().transpose()? else { return Ok((self, None)) };
            self.add(row.thread, LIVING_MAX);
        }
        Ok((self, Some(rows)))
    }

    fn add(&mut self, thread: Thread, most: usize) {
        if self.is_looked_at(&thread) {
            self.threads.insert(thread);
            if self.threads.len() > most {
                self.below = self.threads.pop_last();
            }
        }
    }

    fn is_looked_at(&self, thread: &Thread) -> bool {
        self.from.is_none_or(|from| from <= *thread)
            && self.below.is_none_or(|below| *thread < below)
    }

    /// Whether it is certain that no message is of this conversation.
    fn is_dead(&self, thread: &Thread) -> bool {
        self.is_looked_at(thread) && !self.threads.contains(thread)
    }

    /// The younger ones, if there was no room for them.
    fn next(&self) -> Option<Self> {
        self.below.map(|from| Self { from: Some(from), ..Self::default() })
    }
}

/// Removes names whose conversation had no message, if it has none now. What came since a mailbox
/// was looked at has a UID of `uid_next` then or a greater one.
fn remove_dead(
    tx: &mut WriteTx<'_>,
    account: u64,
    mailboxes: &[(u64, u32)],
    dead: &[ThreadReferenceRow],
) -> Result<(), StoreError> {
    let mut came = BTreeSet::new();
    let now = tx.by_index_prefix::<MailboxByName>(&(account,));
    for mailbox in now.collect::<Result<Vec<_>, _>>()? {
        let known = mailboxes.iter().find(|(id, _)| *id == mailbox.id);
        let from = known.map_or(1, |(_, uid_next)| *uid_next);
        if from < mailbox.uid_next {
            for row in tx.range::<ThreadRow>((mailbox.id, from)..=(mailbox.id, u32::MAX)) {
                came.insert(row?.thread);
            }
        }
    }
    for row in dead {
        let place = (account, row.name);
        let now = tx.get::<ThreadReferenceRow>(&place)?;
        if now.is_some_and(|now| now.thread == row.thread && !came.contains(&row.thread)) {
            tx.delete::<ThreadReferenceRow>(&place)?;
        }
    }
    Ok(())
}

async fn run<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    // It fails only where the runtime ends, and the database with it.
    spawn_blocking(work).await.unwrap_or_else(|_| Err(Failure::Store(StoreError::Closed)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::messages::FirstPlace;

    #[test]
    fn more_conversations_than_there_is_room_for_are_looked_at_in_turns() {
        let thread = |number: i64| Thread {
            begun_s: number,
            first: FirstPlace { mailbox: 1, uid_validity: 1, uid: 1 },
        };
        let mut living = Living::default();
        let mut dead = Vec::new();
        let mut turns = 0;
        loop {
            // Even ones live, in an order that is not theirs.
            (0..20).rev().chain(0..20).for_each(|number| living.add(thread(2 * number), 6));
            dead.extend((0..40).filter(|number| living.is_dead(&thread(*number))));
            assert!(living.threads.len() <= 6);
            turns += 1;
            match living.next() {
                Some(next) => living = next,
                None => break,
            }
        }
        assert_eq!(dead, (0..40).filter(|number| number % 2 == 1).collect::<Vec<_>>());
        assert_eq!(turns, 4);
    }
}
