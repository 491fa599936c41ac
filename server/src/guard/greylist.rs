//! Greylisting (RFC 6647): a stranger's first attempt is put off, and who comes again is known.
//!
//! ```text
//!   triple (client, sender, recipient)
//!     new ──▶ waiting ── again, not too soon, in time ──▶ known ── the client learns: so many
//!      451      │ 451                                               triples, and it never waits
//!               └── the window is over: new again
//! ```
//! A client is a network, or where SPF lets the peer speak for a domain, that domain: large
//! providers come again from another address. Invariants: whoever one of our people wrote to does
//! not wait; tables are bounded by `greylist_rows_max`, and while there is no room nobody waits;
//! what is known survives a restart.
//! Not here: SPF (`authenticity`), the tables (`store::greylist`), the clock (time is passed in).

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::hmac;
use gracedb::db::Db;
use gracedb::engine::Durability;
use gracedb::view::View;
use gracedb::write::WriteTx;

use crate::config::limits::DoorRules;
use crate::store::failure::Failure;
use crate::store::greylist::{GreyKnownRow, GreySecretRow, GreyWaitingRow, KnownKind};

/// A row that is used moves to today's generation after this part of its life, so that what is used
/// often is written seldom.
const MOVES_PER_LIFE: u64 = 8;
/// Bytes of the secret: as many as the hash has.
const SECRET_BYTES: usize = 32;

/// Who has a mail client's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Client {
    /// Addresses that begin alike.
    Network(IpAddr),
    /// A domain that the peer may speak for.
    Domain(String),
}

/// What is done about a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Nothing.
    Pass,
    /// It is to come again; in how many seconds.
    Wait(u64),
}

/// The greylist. Cloning gives another handle.
#[derive(Clone)]
pub struct Greylist {
    db: Db,
    secret: hmac::Key,
    delay_s: u64,
    window_s: u64,
    life_s: u64,
    learn_after: u32,
    rows_max: u64,
    rows: Arc<Mutex<Rows>>,
}

/// How many rows there are, and of which generations.
#[derive(Debug, Default)]
struct Rows {
    waiting: u64,
    known: u64,
    counted: Option<(u64, u64)>,
}

impl Greylist {
    /// A greylist by these settings, over a database that is open; makes its secret if there is
    /// none.
    ///
    /// # Errors
    /// The database failed, or the system has no random bytes.
    pub fn open(db: Db, rules: &DoorRules) -> Result<Self, String> {
        let failed = |e| format!("the greylist cannot be opened: {e}");
        let secret = match db.snapshot().get::<GreySecretRow>(&0_u8).map_err(failed)? {
            Some(row) => row.secret,
            None => make_secret(&db)?,
        };
        Ok(Self {
            db,
            secret: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            delay_s: rules.greylist_delay_s,
            window_s: rules.greylist_window_hours * 3_600,
            life_s: rules.greylist_days * 86_400,
            learn_after: u32::try_from(rules.greylist_learn_after).unwrap_or(u32::MAX),
            rows_max: rules.greylist_rows_max,
            rows: Arc::default(),
        })
    }

    /// Whether nothing from a client waits any more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn knows(&self, now_s: u64, client: &Client) -> Result<bool, Failure> {
        let who = self.client(client);
        let found = self.find(&self.db.snapshot(), now_s, KnownKind::Client, who)?;
        let Some(row) = found.filter(|row| row.count >= self.learn_after) else {
            return Ok(false);
        };
        self.touch(now_s, row).await.map(|()| true)
    }

    /// What is done about a recipient. An empty sender is one as any other
    /// (RFC 6647 2.4).
    ///
    /// # Errors
    /// The database failed.
    pub async fn judge(
        &self,
        now_s: u64,
        client: &Client,
        sender: &str,
        recipient: &str,
    ) -> Result<Judgement, Failure> {
        if self.knows(now_s, client).await? {
            return Ok(Judgement::Pass);
        }
        let who = self.client(client);
        let (sender, recipient) = (sender.to_lowercase(), recipient.to_lowercase());
        let triple = self.hash(&[&who.to_be_bytes(), sender.as_bytes(), recipient.as_bytes()]);
        let writer = self.hash(&[sender.as_bytes()]);
        let snapshot = self.db.snapshot();
        let found = match self.find(&snapshot, now_s, KnownKind::Triple, triple)? {
            None if sender.is_empty() => None,
            None => self.find(&snapshot, now_s, KnownKind::Correspondent, writer)?,
            found => found,
        };
        drop(snapshot);
        if let Some(row) = found {
            return self.touch(now_s, row).await.map(|()| Judgement::Pass);
        }
        let judged = self.db.write_with(Durability::Buffered, |tx| -> Result<_, Failure> {
            self.meet(tx, now_s, triple, who)
        })?;
        Ok(judged.await?)
    }

    /// One of our people wrote to these: they do not wait.
    ///
    /// # Errors
    /// The database failed.
    pub async fn wrote_to(&self, now_s: u64, addresses: &[String]) -> Result<(), Failure> {
        let snapshot = self.db.snapshot();
        let mut rows = Vec::new();
        for address in addresses {
            let who = self.hash(&[address.to_lowercase().as_bytes()]);
            match self.find(&snapshot, now_s, KnownKind::Correspondent, who)? {
                Some(row) if !self.is_worn(now_s, &row) => {}
                found => rows.push((who, found)),
            }
        }
        drop(snapshot);
        if rows.is_empty() {
            return Ok(());
        }
        let written = self.db.write_with(Durability::Buffered, |tx| -> Result<_, Failure> {
            for (who, old) in rows {
                self.know(tx, now_s, KnownKind::Correspondent, who, old, 1)?;
            }
            Ok(())
        })?;
        Ok(written.await?)
    }

    /// Lets go of what is old, and counts what is left if that was much. Takes its time.
    ///
    /// # Errors
    /// The database failed.
    pub fn tidy(&self, now_s: u64) -> Result<(), Failure> {
        let [waiting, _] = generations(now_s, self.window_s);
        let [known, _] = generations(now_s, self.life_s);
        if self.rows().counted == Some((waiting, known)) {
            return Ok(());
        }
        let (waiting_from, known_from) =
            (waiting.saturating_sub(self.window_s), known.saturating_sub(self.life_s));
        let gone = self.db.write_with(Durability::Buffered, |tx| -> Result<_, Failure> {
            tx.delete_range::<GreyWaitingRow>(..(waiting_from, 0))?;
            tx.delete_range::<GreyKnownRow>(..(known_from, 0, 0))?;
            Ok(())
        })?;
        gone.wait()?;
        let snapshot = self.db.snapshot();
        let left = snapshot.scan::<GreyWaitingRow>().count() as u64;
        let left_known = snapshot.scan::<GreyKnownRow>().count() as u64;
        *self.rows() = Rows { waiting: left, known: left_known, counted: Some((waiting, known)) };
        Ok(())
    }

    /// A triple that is not known comes.
    fn meet(
        &self,
        tx: &mut WriteTx<'_>,
        now_s: u64,
        triple: u128,
        client: u128,
    ) -> Result<Judgement, Failure> {
        let found = generations(now_s, self.window_s)
            .into_iter()
            .find_map(|generation| tx.get::<GreyWaitingRow>(&(generation, triple)).transpose())
            .transpose()?;
        match found {
            Some(row) if now_s < row.first_s.saturating_add(self.delay_s) => {
                let left_s = row.first_s.saturating_add(self.delay_s).saturating_sub(now_s);
                Ok(Judgement::Wait(left_s.min(self.delay_s)))
            }
            Some(row) if now_s <= row.first_s.saturating_add(self.window_s) => {
                tx.delete::<GreyWaitingRow>(&(row.generation_s, triple))?;
                self.rows().waiting_less();
                self.know(tx, now_s, KnownKind::Triple, triple, None, 1)?;
                let old = self.find(tx, now_s, KnownKind::Client, client)?;
                let count = old.as_ref().map_or(0, |row| row.count).saturating_add(1);
                self.know(tx, now_s, KnownKind::Client, client, old, count)?;
                Ok(Judgement::Pass)
            }
            late => {
                if let Some(row) = late {
                    tx.delete::<GreyWaitingRow>(&(row.generation_s, triple))?;
                    self.rows().waiting_less();
                }
                if !self.rows().waits_one_more(self.rows_max) {
                    return Ok(Judgement::Pass);
                }
                let [generation_s, _] = generations(now_s, self.window_s);
                tx.put(&GreyWaitingRow { generation_s, triple, first_s: now_s })?;
                Ok(Judgement::Wait(self.delay_s))
            }
        }
    }

    /// Writes down what is known now, in place of the row there was.
    fn know(
        &self,
        tx: &mut WriteTx<'_>,
        now_s: u64,
        kind: KnownKind,
        who: u128,
        old: Option<GreyKnownRow>,
        count: u32,
    ) -> Result<(), Failure> {
        match old {
            Some(row) => {
                tx.delete::<GreyKnownRow>(&(row.generation_s, row.kind, row.who))?;
            }
            None if !self.rows().knows_one_more(self.rows_max) => return Ok(()),
            None => {}
        }
        let [generation_s, _] = generations(now_s, self.life_s);
        let row = GreyKnownRow { generation_s, kind: kind as u8, who, count, seen_s: now_s };
        Ok(tx.put(&row)?)
    }

    /// What is known, unless it is too old.
    fn find(
        &self,
        view: &impl View,
        now_s: u64,
        kind: KnownKind,
        who: u128,
    ) -> Result<Option<GreyKnownRow>, Failure> {
        for generation in generations(now_s, self.life_s) {
            if let Some(row) = view.get::<GreyKnownRow>(&(generation, kind as u8, who))? {
                let is_young = now_s <= row.seen_s.saturating_add(self.life_s);
                return Ok(is_young.then_some(row));
            }
        }
        Ok(None)
    }

    /// It was used: it lives on.
    async fn touch(&self, now_s: u64, row: GreyKnownRow) -> Result<(), Failure> {
        if !self.is_worn(now_s, &row) {
            return Ok(());
        }
        let written = self.db.write_with(Durability::Buffered, |tx| -> Result<_, Failure> {
            // Another session may have moved it meanwhile.
            let Some(row) = tx.get::<GreyKnownRow>(&(row.generation_s, row.kind, row.who))? else {
                return Ok(());
            };
            let [generation_s, _] = generations(now_s, self.life_s);
            tx.delete::<GreyKnownRow>(&(row.generation_s, row.kind, row.who))?;
            Ok(tx.put(&GreyKnownRow { generation_s, seen_s: now_s, ..row })?)
        })?;
        Ok(written.await?)
    }

    fn is_worn(&self, now_s: u64, row: &GreyKnownRow) -> bool {
        now_s >= row.seen_s.saturating_add(self.life_s / MOVES_PER_LIFE)
    }

    fn client(&self, client: &Client) -> u128 {
        match client {
            Client::Network(IpAddr::V4(address)) => self.hash(&[b"4", &address.octets()]),
            Client::Network(IpAddr::V6(address)) => self.hash(&[b"6", &address.octets()]),
            Client::Domain(domain) => self.hash(&[b"d", domain.to_lowercase().as_bytes()]),
        }
    }

    /// Keyed, so that nobody can make two things that have one hash, nor try names on the tables.
    fn hash(&self, parts: &[&[u8]]) -> u128 {
        let mut context = hmac::Context::with_key(&self.secret);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let tag = context.sign();
        tag.as_ref().first_chunk::<16>().map_or(0, |half| u128::from_be_bytes(*half))
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows {
    fn waiting_less(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }

    fn waits_one_more(&mut self, rows_max: u64) -> bool {
        // Without room for what is known, who came again would wait the next time as well.
        let has_room = self.waiting < rows_max && self.known < rows_max;
        self.waiting += u64::from(has_room);
        has_room
    }

    fn knows_one_more(&mut self, rows_max: u64) -> bool {
        let has_room = self.known < rows_max;
        self.known += u64::from(has_room);
        has_room
    }
}

/// This generation and the one before it.
fn generations(now_s: u64, length_s: u64) -> [u64; 2] {
    let this = now_s - now_s % length_s.max(1);
    [this, this.saturating_sub(length_s)]
}

fn make_secret(db: &Db) -> Result<Vec<u8>, String> {
    let mut secret = vec![0; SECRET_BYTES];
    getrandom::fill(&mut secret).map_err(|e| format!("the system gives no random bytes: {e}"))?;
    let row = GreySecretRow { id: 0, secret: secret.clone() };
    let written = db.write(|tx| tx.put(&row)).and_then(gracedb::pending::Pending::wait);
    written.map_err(|e| format!("the greylist cannot be opened: {e}"))?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use gracedb::options::Options;
    use tempfile::TempDir;

    use super::*;
    use crate::store::SCHEMA;

    /// Midday of some day.
    const NOON_S: u64 = 1_800_000_000;
    const DAY_S: u64 = 86_400;

    struct Place {
        folder: TempDir,
        list: Greylist,
        rules: DoorRules,
    }

    fn open(folder: &TempDir, rules: &DoorRules) -> Greylist {
        let db = Db::open(Options::new(folder.path()), SCHEMA).unwrap();
        Greylist::open(db, rules).unwrap()
    }

    fn place(rules: DoorRules) -> Place {
        let folder = TempDir::new().unwrap();
        let list = open(&folder, &rules);
        Place { folder, list, rules }
    }

    fn usual() -> Place {
        place(DoorRules::default())
    }

    fn network(address: &str) -> Client {
        Client::Network(address.parse().unwrap())
    }

    impl Place {
        async fn judge(&self, at_s: u64, client: &str, sender: &str) -> Judgement {
            self.judge_client(at_s, &network(client), sender).await
        }

        async fn judge_client(&self, at_s: u64, client: &Client, sender: &str) -> Judgement {
            self.list.judge(NOON_S + at_s, client, sender, "anna@grace.test").await.unwrap()
        }

        fn rows(&self) -> (usize, usize) {
            let snapshot = self.list.db.snapshot();
            let waiting = snapshot.scan::<GreyWaitingRow>().count();
            (waiting, snapshot.scan::<GreyKnownRow>().count())
        }
    }

    use Judgement::{Pass, Wait};

    #[tokio::test]
    async fn who_comes_again_in_time_is_known() {
        let place = usual();
        assert_eq!(place.judge(0, "192.0.2.0", "c@x.example").await, Wait(60));
        assert_eq!(place.judge(20, "192.0.2.0", "C@X.example").await, Wait(40), "too soon");
        assert_eq!(place.judge(30, "192.0.2.0", "d@x.example").await, Wait(60), "another sender");
        assert_eq!(place.judge(30, "198.51.100.0", "c@x.example").await, Wait(60), "another place");
        assert_eq!(place.judge(60, "192.0.2.0", "c@x.example").await, Pass);
        assert_eq!(place.judge(61, "192.0.2.0", "c@x.example").await, Pass);
        assert_eq!(place.judge(35 * DAY_S, "192.0.2.0", "c@x.example").await, Pass);
        assert_eq!(place.judge(70 * DAY_S, "192.0.2.0", "c@x.example").await, Pass, "it is used");
        assert_eq!(place.judge(107 * DAY_S, "192.0.2.0", "c@x.example").await, Wait(60));
    }

    #[tokio::test]
    async fn who_comes_too_late_is_new() {
        let place = usual();
        assert_eq!(place.judge(0, "192.0.2.0", "").await, Wait(60), "nobody is a sender, too");
        assert_eq!(place.judge(DAY_S + 1, "192.0.2.0", "").await, Wait(60));
        assert_eq!(place.judge(2 * DAY_S, "192.0.2.0", "").await, Pass);
    }

    #[tokio::test]
    async fn a_client_that_came_again_often_enough_never_waits() {
        let place = usual();
        for number in 0..5 {
            let sender = format!("{number}@x.example");
            assert_eq!(place.judge(number, "192.0.2.0", &sender).await, Wait(60), "{number}");
            assert_eq!(place.judge(number + 60, "192.0.2.0", &sender).await, Pass);
        }
        assert_eq!(place.judge(100, "192.0.2.0", "new@x.example").await, Pass);
        assert_eq!(place.judge(100, "192.0.3.0", "new@x.example").await, Wait(60));
        assert!(place.list.knows(NOON_S + 100, &network("192.0.2.0")).await.unwrap());
    }

    #[tokio::test]
    async fn a_domain_is_one_client_wherever_it_sends_from() {
        let place = usual();
        let domain = |name: &str| Client::Domain(name.to_owned());
        let sender = "c@big.example";
        assert_eq!(place.judge_client(0, &domain("big.example"), sender).await, Wait(60));
        assert_eq!(place.judge_client(60, &domain("Big.Example"), sender).await, Pass);
        assert_eq!(place.judge_client(60, &domain("other.example"), sender).await, Wait(60));
    }

    #[tokio::test]
    async fn whoever_we_wrote_to_does_not_wait() {
        let place = usual();
        place.list.wrote_to(NOON_S, &["Carl@X.example".to_owned()]).await.unwrap();
        assert_eq!(place.judge(1, "192.0.2.0", "carl@x.example").await, Pass);
        assert_eq!(place.judge(1, "192.0.2.0", "dora@x.example").await, Wait(60));
        assert_eq!(place.judge(1, "192.0.2.0", "").await, Wait(60));
        place.list.wrote_to(NOON_S, &["Carl@X.example".to_owned()]).await.unwrap();
        assert_eq!(place.rows().1, 1);
    }

    #[tokio::test]
    async fn it_survives_a_restart() {
        let place = usual();
        assert_eq!(place.judge(0, "192.0.2.0", "c@x.example").await, Wait(60));
        place.list.db.close();
        let Place { folder, rules, .. } = place;
        let place = Place { list: open(&folder, &rules), folder, rules };
        assert_eq!(place.judge(60, "192.0.2.0", "c@x.example").await, Pass);
    }

    #[tokio::test]
    async fn what_is_old_goes_and_what_is_left_is_counted() {
        let place = usual();
        for number in 0..20 {
            place.judge(0, "192.0.2.0", &format!("{number}@x.example")).await;
        }
        for number in 0..3 {
            place.judge(60, "192.0.2.0", &format!("{number}@x.example")).await;
        }
        assert_eq!(place.rows(), (17, 4));
        place.list.tidy(NOON_S + 60).unwrap();
        assert_eq!(place.rows(), (17, 4), "nothing is old yet");
        place.list.tidy(NOON_S + 3 * DAY_S).unwrap();
        assert_eq!(place.rows(), (0, 4));
        let counts = |rows: &Rows| (rows.waiting, rows.known);
        assert_eq!(counts(&place.list.rows()), (0, 4));
        place.list.tidy(NOON_S + 200 * DAY_S).unwrap();
        assert_eq!(place.rows(), (0, 0));
    }

    #[tokio::test]
    async fn the_tables_are_bounded_and_then_nobody_waits() {
        let rules = DoorRules { greylist_rows_max: 10, ..DoorRules::default() };
        let place = place(rules);
        let mut passed = 0;
        for number in 0..50 {
            let judgement = place.judge(0, "192.0.2.0", &format!("{number}@x.example")).await;
            passed += u32::from(judgement == Pass);
        }
        assert_eq!((passed, place.rows()), (40, (10, 0)));
        let all: Vec<String> = (0..50).map(|number| format!("{number}@y.example")).collect();
        place.list.wrote_to(NOON_S, &all).await.unwrap();
        assert_eq!(place.rows(), (10, 10));
    }

    #[test]
    fn a_row_is_found_in_its_generation_or_the_next() {
        for now in [0, 1, 59, 60, 61, 119, 120, 1_000] {
            let [this, last] = generations(now, 60);
            assert!(this <= now && now < this + 60 && this % 60 == 0, "{now}");
            assert!(last == this.saturating_sub(60), "{now}");
        }
    }
}
