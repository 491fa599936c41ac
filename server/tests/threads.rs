//! Conversations, previews and work that can wait, over a real database in a temporary folder.

use gracedb::db::Db;
use gracedb::options::Options;
use gracedb::view::View as _;
use tempfile::TempDir;
use zeroize::Zeroizing;

use grace_imap::machine::PreviewOf;
use grace_ipc::event::TraceId;

use graced::config::limits::{Limits, Store};
use graced::directory::{Directory, Person};
use graced::mailbox::Mailboxes;
use graced::mailbox::append::{Birth, Uploaded};
use graced::mailbox::change::{FlagChange, FlagMask, FlagVerb};
use graced::mailbox::chores::Chores;
use graced::mailbox::facts::Wanted;
use graced::store::messages::{FactRow, MessageRow, flag};
use graced::store::threads::{ChoreRow, Thread, ThreadReferenceRow, ThreadRow};
use graced::store::{self, seed::INBOX};
use graced::telemetry::bus::Bus;

const NO_TRACE: TraceId = TraceId(0);

struct House {
    folder: TempDir,
    db: Db,
    directory: Directory,
    mailboxes: Mailboxes,
    chores: Chores,
}

impl House {
    fn open(folder: TempDir) -> Self {
        let db = Db::open(Options::new(folder.path()), store::SCHEMA).expect("opens");
        let (bus, limits) = (Bus::new(100), Limits::default());
        let directory = Directory::new(db.clone(), bus.clone(), &limits);
        let mailboxes = Mailboxes::new(db.clone(), bus, &limits);
        let chores = Chores::new(db.clone(), &Store::default());
        Self { folder, db, directory, mailboxes, chores }
    }

    fn reopen(self) -> Self {
        let Self { folder, db, directory, mailboxes, chores } = self;
        drop((directory, mailboxes, chores));
        db.close();
        Self::open(folder)
    }

    async fn with_people(names: &[&str]) -> (Self, Vec<Person>) {
        let house = Self::open(tempfile::tempdir().expect("a temporary folder"));
        house.directory.create_domain("example.org", "test").await.expect("made");
        let mut people = Vec::new();
        for name in names {
            let address = format!("{name}@example.org");
            let password = Zeroizing::new(format!("secret of {name}"));
            let made = house.directory.create_account(&address, password, "test").await;
            people.push(made.expect("made"));
        }
        (house, people)
    }

    fn mailbox(&self, person: &Person, name: &str) -> u64 {
        self.mailboxes.find(person.id, name).expect("reads").expect("there").id
    }

    async fn upload(&self, text: &str) -> Uploaded {
        let mut upload = self.mailboxes.upload();
        for piece in text.replace('\n', "\r\n").as_bytes().chunks(10_000) {
            upload.write(piece).await.expect("room");
        }
        upload.finish().await.expect("finished")
    }

    /// Delivers a letter of these fields; the UID it gets in each INBOX.
    async fn deliver(&self, to: &[&Person], text: &str) -> u32 {
        let message = self.upload(text).await;
        let ids: Vec<u64> = to.iter().map(|person| person.id).collect();
        let placed = self.mailboxes.deliver(&ids, message, None).await.expect("placed");
        placed.first().expect("somebody").uid
    }

    async fn append(&self, mailbox: u64, text: &str) -> u32 {
        let messages = [(Birth::default(), self.upload(text).await)];
        let placed = self.mailboxes.append(NO_TRACE, mailbox, &messages).await.expect("placed");
        placed.first().expect("one").uid
    }

    /// The conversation of each message.
    async fn threads(&self, mailbox: u64) -> Vec<Thread> {
        let snapshot = self.db.snapshot();
        let uids = snapshot.prefix::<MessageRow>(&(mailbox,)).map(|row| row.expect("reads").uid);
        let uids: Vec<u32> = uids.collect();
        let threads = self.mailboxes.threads(mailbox, &uids).await.expect("reads");
        assert!(threads.iter().map(|(uid, _)| *uid).eq(uids));
        threads.into_iter().map(|(_, thread)| thread).collect()
    }

    /// The same, by who has the same one: the number of the first message that does.
    async fn groups(&self, mailbox: u64) -> Vec<usize> {
        let all = self.threads(mailbox).await;
        let first = |one: &Thread| all.iter().position(|other| one == other).expect("itself");
        all.iter().map(first).collect()
    }

    async fn remove(&self, mailbox: u64, uids: &[u32]) {
        let change = FlagChange {
            verb: FlagVerb::Add,
            flags: flag::DELETED,
            keywords: Vec::new(),
            unchanged_since: None,
            within: FlagMask::ALL,
        };
        self.mailboxes.store_flags(mailbox, uids, &change).await.expect("changed");
        self.mailboxes.expunge(NO_TRACE, mailbox, None).await.expect("expunged");
    }

    /// How many names there are of an account, and how many messages have a conversation.
    fn counts(&self, account: u64) -> (usize, usize) {
        let snapshot = self.db.snapshot();
        let names = snapshot.prefix::<ThreadReferenceRow>(&(account,)).count();
        (names, snapshot.scan::<ThreadRow>().count())
    }

    fn previews(&self, mailbox: u64, uids: &[u32], how: PreviewOf) -> Vec<Option<String>> {
        let wanted = Wanted { preview: Some(how), ..Wanted::default() };
        let (_, known) = self.mailboxes.facts(mailbox, uids, wanted).expect("reads");
        known.into_iter().map(|known| known.preview).collect()
    }

    /// As a database looks that an earlier program made: nothing is kept of any message.
    async fn as_of_old(&self) {
        let forget = self.db.write(|tx| {
            tx.delete_range::<FactRow>(..)?;
            tx.delete_range::<ThreadRow>(..)?;
            tx.delete_range::<ThreadReferenceRow>(..)?;
            tx.delete_range::<ChoreRow>(..)
        });
        forget.expect("written").await.expect("kept");
    }

    /// What waits, but for the row that says that everything was noted.
    fn waiting(&self) -> usize {
        self.db
            .snapshot()
            .scan::<ChoreRow>()
            .filter(|row| row.as_ref().expect("").kind != 0)
            .count()
    }
}

fn letter(id: &str, refers: &str, subject: &str) -> String {
    let refers = if refers.is_empty() { String::new() } else { format!("References: {refers}\n") };
    format!("Message-ID: {id}\n{refers}Subject: {subject}\n\nWords of {id}\n")
}

#[tokio::test]
async fn a_conversation_is_one_in_whichever_order_it_comes() {
    let letters = [
        letter("<a@x>", "", "lunch"),
        letter("<b@x>", "<a@x>", "Re: lunch"),
        letter("<c@x>", "<a@x> <b@x>", "Re: lunch"),
        letter("<d@x>", "<a@x> <b@x>", "dinner"),
        letter("<e@x>", "<b@x> <d@x>", "Re: dinner"),
        letter("<f@x>", "", "lunch"),
    ];
    let alike = [0, 0, 0, 1, 1, 2];
    for order in [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [2, 4, 0, 5, 1, 3], [3, 1, 5, 0, 4, 2]] {
        let (house, people) = House::with_people(&["ann", "bob"]).await;
        let [ann, bob] = people.as_slice() else { panic!("two") };
        let (inbox, other) = (house.mailbox(ann, INBOX), house.mailbox(bob, INBOX));
        for number in order {
            house.deliver(&[ann, bob], &letters[number]).await;
        }
        let expected: Vec<usize> = order.iter().map(|number| alike[*number]).collect();
        let check = async |house: &House, mailbox: u64| {
            let groups = house.groups(mailbox).await;
            for (place, group) in groups.iter().enumerate() {
                for (place2, group2) in groups.iter().enumerate() {
                    let same = expected[place] == expected[place2];
                    assert_eq!(group == group2, same, "{order:?}: {groups:?}");
                }
            }
        };
        check(&house, inbox).await;
        check(&house, other).await;
        let before = house.threads(inbox).await;
        // Two accounts never share one.
        let theirs = house.threads(other).await;
        assert!(before.iter().all(|thread| !theirs.contains(thread)));
        let house = house.reopen();
        assert_eq!(house.threads(inbox).await, before);
        // And each stays what it was told to be, whatever comes.
        house.deliver(&[ann], &letter("<g@x>", "<a@x> <f@x>", "lunch")).await;
        let after = house.threads(inbox).await;
        assert_eq!(after[..6], before);
        // What would join two is of the older one.
        let joined =
            [0, 5].map(|letter| before[order.iter().position(|at| *at == letter).unwrap()]);
        assert_eq!(after[6], joined[0].min(joined[1]));
    }
}

#[tokio::test]
async fn a_copy_has_the_conversation_of_its_original() {
    let (house, people) = House::with_people(&["ann", "bob"]).await;
    let [ann, bob] = people.as_slice() else { panic!("two") };
    let (inbox, archive) = (house.mailbox(ann, INBOX), house.mailbox(ann, "Archive"));
    house.deliver(&[ann], &letter("<a@x>", "", "lunch")).await;
    house.deliver(&[ann], "Subject: nameless\n\nhello\n").await;
    house.mailboxes.copy(inbox, &[1, 2], archive).await.expect("copied");
    let threads = house.threads(inbox).await;
    assert_eq!(house.threads(archive).await, threads);
    // Into a mailbox of somebody else, who has a conversation of that name already.
    let theirs = house.mailbox(bob, INBOX);
    house.deliver(&[bob], &letter("<b@x>", "<a@x>", "Re: lunch")).await;
    house.mailboxes.move_messages(inbox, &[1, 2], theirs).await.expect("moved");
    assert_eq!(house.threads(theirs).await[1..], threads);
    assert_eq!(house.threads(inbox).await, []);
    // Answers there go where the first one was that had the name.
    house.deliver(&[bob], &letter("<c@x>", "<b@x>", "Re: lunch")).await;
    assert_eq!(house.groups(theirs).await, [0, 1, 2, 0]);
    // A message that takes the place of another goes by its own fields.
    let new = (Birth::default(), house.upload(&letter("<d@x>", "<a@x>", "Re: lunch")).await);
    house.mailboxes.replace(NO_TRACE, (archive, 2), archive, new).await.expect("replaced");
    assert_eq!(house.groups(archive).await, [0, 0]);
    let (house, before) = (house.reopen(), threads);
    assert_eq!(house.threads(archive).await[0], before[0]);
}

#[tokio::test]
async fn mail_of_old_gets_what_it_lacks_once() {
    let (house, people) = House::with_people(&["ann", "bob"]).await;
    let [ann, bob] = people.as_slice() else { panic!("two") };
    let (inbox, archive) = (house.mailbox(ann, INBOX), house.mailbox(ann, "Archive"));
    for number in 0..600 {
        let refers = if number % 3 == 0 { String::new() } else { format!("<{}@x>", number - 1) };
        let subject = format!("talk {}", number / 3);
        house.deliver(&[ann], &letter(&format!("<{number}@x>"), &refers, &subject)).await;
    }
    house.deliver(&[ann], "Subject: nameless\n\nhello\n").await;
    house.mailboxes.copy(inbox, &[601], archive).await.expect("copied");
    house.deliver(&[bob], "Subject: one\n\nhello\n").await;
    house.as_of_old().await;
    // Asked for before anybody made it: it is told, and stays so.
    let early = house.mailboxes.threads(inbox, &[2, 601]).await.expect("reads");
    assert_eq!(house.previews(inbox, &[5, 6], PreviewOf::Kept), [None, None]);
    let made = house.previews(inbox, &[6], PreviewOf::Any);
    assert_eq!(made, [Some("Words of <5@x>".to_owned())]);
    house.chores.catch_up().await.expect("done");
    assert_eq!(house.waiting(), 0);
    let threads = house.threads(inbox).await;
    assert_eq!(early, [(2, threads[1]), (601, threads[600])]);
    let groups: Vec<usize> = (0..600).map(|number| number / 3 * 3).chain([600]).collect();
    assert_eq!(house.groups(inbox).await, groups);
    assert_eq!(house.threads(archive).await, threads[600..]);
    // Names of places were of use until then.
    assert_eq!(house.counts(0), (0, 603));
    let kinds = |kind: u8| {
        let rows = house.db.snapshot();
        rows.prefix::<FactRow>(&(inbox, kind)).count()
    };
    assert_eq!([1, 2, 3, 4].map(kinds), [601; 4]);
    let all: Vec<u32> = (1..=601).collect();
    let previews = house.previews(inbox, &all, PreviewOf::Kept);
    assert!(previews.iter().all(Option::is_some), "{previews:?}");
    // It is known to be done.
    let house = house.reopen();
    let before = house.db.snapshot().sequence();
    house.chores.catch_up().await.expect("done");
    assert_eq!(house.db.snapshot().sequence(), before);
}

#[tokio::test]
async fn work_that_was_cut_short_goes_on_where_it_was() {
    let (house, people) = House::with_people(&["ann"]).await;
    let ann = &people[0];
    let inbox = house.mailbox(ann, INBOX);
    for number in 0..900 {
        house.deliver(&[ann], &letter(&format!("<{number}@x>"), "<a@x>", "talk")).await;
    }
    house.as_of_old().await;
    let stop = graced::telemetry::stop::Stop::default();
    let keeper = tokio::spawn(house.chores.clone().keep(stop.clone()));
    // The first step was written: what is left is less than all.
    let mut watch = house.db.watch::<ThreadRow>(&(inbox,));
    watch.changed().await.expect("open");
    stop.say();
    keeper.await.expect("ends");
    let left = |house: &House| {
        let rows = house.db.snapshot().prefix::<ChoreRow>(&(1_u8, inbox));
        rows.map(|row| row.expect("reads")).map(|row| row.last - row.first + 1).sum::<u32>()
    };
    let (_, made) = house.counts(ann.id);
    assert!(made > 0 && left(&house) as usize + made == 900, "{made} {}", left(&house));
    let house = house.reopen();
    house.chores.catch_up().await.expect("done");
    assert_eq!((left(&house), house.counts(ann.id).1), (0, 900));
    assert_eq!(house.groups(inbox).await, vec![0; 900]);
}

#[tokio::test]
async fn large_messages_have_their_conversation_at_once_and_their_preview_soon() {
    let (house, people) = House::with_people(&["ann"]).await;
    let inbox = house.mailbox(&people[0], INBOX);
    let long = "word ".repeat(100_000);
    house.append(inbox, &format!("{}{long}\n", letter("<b@x>", "<a@x>", "lunch"))).await;
    assert_eq!(house.waiting(), 1);
    let kept = house.db.snapshot().get::<ThreadRow>(&(inbox, 1_u32)).expect("reads");
    assert!(kept.is_some(), "the header was held back");
    assert_eq!(house.previews(inbox, &[1], PreviewOf::Kept), [None]);
    // A header nobody holds in memory.
    let fields: String = (0..3_000).map(|number| format!("X-{number}: {long:.60}\n")).collect();
    house.append(inbox, &format!("{fields}{}{long}\n", letter("<a@x>", "", "lunch"))).await;
    let kept = house.db.snapshot().get::<ThreadRow>(&(inbox, 2_u32)).expect("reads");
    assert_eq!((kept, house.waiting()), (None, 2));
    // It is not copied without one.
    let archive = house.mailbox(&people[0], "Archive");
    house.chores.catch_up().await.expect("done");
    house.append(inbox, &format!("{fields}{}{long}\n", letter("<c@x>", "", "tea"))).await;
    house.mailboxes.copy(inbox, &[3], archive).await.expect("copied");
    let snapshot = house.db.snapshot();
    let row = |mailbox: u64, uid: u32| snapshot.get::<ThreadRow>(&(mailbox, uid)).expect("reads");
    assert_eq!(row(inbox, 3).expect("made").thread, row(archive, 1).expect("copied").thread);
    house.chores.catch_up().await.expect("done");
    assert_eq!(house.groups(inbox).await, [0, 0, 2]);
    assert_eq!(house.waiting(), 0);
    let previews = house.previews(inbox, &[1, 2, 3], PreviewOf::Kept);
    assert!(previews.iter().flatten().all(|one| one.starts_with("Words of <")), "{previews:?}");
    assert_eq!(previews.iter().flatten().count(), 3);
}

#[tokio::test]
async fn names_go_after_the_last_message_of_their_conversation() {
    let (house, people) = House::with_people(&["ann", "bob"]).await;
    let [ann, bob] = people.as_slice() else { panic!("two") };
    let (inbox, archive) = (house.mailbox(ann, INBOX), house.mailbox(ann, "Archive"));
    house.deliver(&[ann, bob], &letter("<a@x>", "<0@x>", "lunch")).await;
    house.deliver(&[ann], &letter("<b@x>", "<a@x>", "Re: lunch")).await;
    house.deliver(&[ann], &letter("<c@x>", "", "tea")).await;
    house.chores.catch_up().await.expect("done");
    assert_eq!(house.counts(ann.id), (4, 4));
    // One of the conversation is left, in another mailbox: its names are, too.
    house.mailboxes.copy(inbox, &[2], archive).await.expect("copied");
    house.remove(inbox, &[1, 2]).await;
    assert_eq!(house.waiting(), 1);
    house.chores.catch_up().await.expect("done");
    assert_eq!((house.counts(ann.id), house.waiting()), ((4, 3), 0));
    house.remove(archive, &[1]).await;
    house.chores.catch_up().await.expect("done");
    assert_eq!(house.counts(ann.id), (1, 2));
    // Whoever answers after that begins anew.
    house.deliver(&[ann], &letter("<d@x>", "<a@x>", "Re: lunch")).await;
    assert_eq!(house.counts(ann.id), (3, 3));
    // A mailbox that goes takes them along, and an account does.
    house.mailboxes.copy(inbox, &[3, 4], archive).await.expect("copied");
    house.remove(inbox, &[3, 4]).await;
    house.mailboxes.delete(NO_TRACE, ann.id, "Archive").await.expect("deleted");
    house.chores.catch_up().await.expect("done");
    assert_eq!((house.counts(ann.id), house.counts(bob.id)), ((0, 1), (2, 1)));
    house.directory.delete_account("bob@example.org", "test").await.expect("deleted");
    assert_eq!((house.counts(bob.id), house.waiting()), ((0, 0), 0));
}

#[tokio::test]
async fn names_of_removed_messages_are_forgotten_only_when_it_is_time() {
    let (house, people) = House::with_people(&["ann"]).await;
    let inbox = house.mailbox(&people[0], INBOX);
    house.deliver(&[&people[0]], &letter("<a@x>", "", "lunch")).await;
    house.remove(inbox, &[1]).await;
    let keep = async |hours: u64| {
        let settings = Store { thread_sweep_hours: hours, ..Store::default() };
        let stop = graced::telemetry::stop::Stop::default();
        let mut noted = house.db.watch::<ChoreRow>(&(0_u8,));
        let mut swept = house.db.watch::<ThreadReferenceRow>(&(people[0].id,));
        let keeper = tokio::spawn(Chores::new(house.db.clone(), &settings).keep(stop.clone()));
        match hours {
            0 => swept.changed().await,
            _ => noted.changed().await,
        };
        stop.say();
        keeper.await.expect("ends");
        house.counts(people[0].id)
    };
    assert_eq!(keep(24).await, (1, 0));
    assert_eq!(keep(0).await, (0, 0));
}
