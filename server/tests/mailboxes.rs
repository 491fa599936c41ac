//! Mailboxes over a real database in a temporary folder.

use std::sync::Arc;

use gracedb::db::Db;
use gracedb::disk::sim::{Fault, SimDisk};
use gracedb::error::Error as StoreError;
use gracedb::options::Options;
use gracedb::view::View as _;
use tempfile::TempDir;
use zeroize::Zeroizing;

use grace_imap::facts::{Facts, header_end};
use grace_imap::keys::Keys;
use grace_imap::machine::PreviewOf;
use grace_ipc::event::{EventKind, TraceId};
use grace_mail::address::{Charset, Mailbox as Address};

use graced::config::limits::Limits;
use graced::directory::login::Login;
use graced::directory::{Destination, Directory, Person};
use graced::mailbox::Mailboxes;
use graced::mailbox::append::Birth;
use graced::mailbox::change::{FlagChange, FlagMask, FlagVerb};
use graced::mailbox::expunge::Expunged;
use graced::mailbox::facts::Wanted;
use graced::mailbox::picture;
use graced::mailbox::read::{Changes, Opened};
use graced::store::failure::Failure;
use graced::store::logins::Scope;
use graced::store::messages::{FactRow, MailboxRow, MessageRow, Origin, PictureRow, flag};
use graced::store::{self, seed::INBOX};
use graced::telemetry::bus::Bus;

const NO_TRACE: TraceId = TraceId(0);

struct House {
    folder: TempDir,
    db: Db,
    directory: Directory,
    mailboxes: Mailboxes,
}

impl House {
    fn open(folder: TempDir) -> Self {
        let options = Options::new(folder.path());
        Self::open_with(folder, options)
    }

    fn open_with(folder: TempDir, options: Options) -> Self {
        let db = Db::open(options, store::SCHEMA).expect("opens");
        let bus = Bus::new(100);
        let limits = Limits { mailboxes_per_account_max: 100, ..Limits::default() };
        let directory = Directory::new(db.clone(), bus.clone(), &Limits::default());
        let mailboxes = Mailboxes::new(db.clone(), bus, &limits);
        Self { folder, db, directory, mailboxes }
    }

    fn reopen(self) -> Self {
        let Self { folder, db, directory, mailboxes } = self;
        drop((directory, mailboxes));
        db.close();
        Self::open(folder)
    }

    async fn with_people(names: &[&str]) -> (Self, Vec<Person>) {
        let house = Self::open(tempfile::tempdir().expect("a temporary folder"));
        house.with_more_people(names).await
    }

    async fn with_more_people(self, names: &[&str]) -> (Self, Vec<Person>) {
        let house = self;
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

    async fn deliver(&self, to: &[&Person], text: &str) -> u32 {
        let mut upload = self.mailboxes.upload();
        upload.write(text.as_bytes()).await.expect("room");
        let message = upload.finish().await.expect("finished");
        let ids: Vec<u64> = to.iter().map(|person| person.id).collect();
        let placed = self.mailboxes.deliver(&ids, message, None).await.expect("placed");
        placed.first().expect("somebody").uid
    }

    async fn deliver_may_fail(&self, to: &[&Person], text: &str) -> Result<(), Failure> {
        let mut upload = self.mailboxes.upload();
        upload.write(text.as_bytes()).await?;
        let message = upload.finish().await?;
        let ids: Vec<u64> = to.iter().map(|person| person.id).collect();
        self.mailboxes.deliver(&ids, message, None).await.map(drop)
    }

    fn inbox(&self, person: &Person) -> MailboxRow {
        self.mailboxes.find(person.id, INBOX).expect("reads").expect("there")
    }

    /// A mailbox as sessions open it, which is what its rows say and what they say of each other.
    async fn open_mailbox(&self, mailbox: u64) -> Opened {
        let opened = self.mailboxes.open(mailbox, false).await.expect("opens");
        let rows: Vec<MessageRow> = self.messages(mailbox);
        assert!(opened.messages.iter().eq(rows.iter().map(picture::row)));
        self.check_facts(mailbox, &rows);
        opened
    }

    fn messages(&self, mailbox: u64) -> Vec<MessageRow> {
        let snapshot = self.db.snapshot();
        snapshot.prefix::<MessageRow>(&(mailbox,)).collect::<Result<_, _>>().expect("reads")
    }

    /// Facts of messages are what their bytes say, and there are none of others.
    fn check_facts(&self, mailbox: u64, rows: &[MessageRow]) {
        let uids: Vec<u32> = rows.iter().map(|row| row.uid).collect();
        let preview = Some(PreviewOf::Any);
        let wanted = Wanted { fields: true, shape: true, keys: true, preview };
        let (looked_at, known) = self.mailboxes.facts(mailbox, &uids, wanted).expect("reads");
        assert_eq!((looked_at, known.len()), (uids.len(), uids.len()));
        for (row, known) in rows.iter().zip(&known) {
            let (_, mut body) = self.mailboxes.message(mailbox, row.uid).expect("reads").expect("");
            let raw = body.read_all(1 << 20).expect("reads");
            let facts = Facts::of(&raw);
            assert_eq!((known.uid, known.size), (row.uid, raw.len() as u64));
            assert_eq!(known.internal_date_s, row.internal_date_s);
            assert_eq!(known.shape, facts.shape);
            assert_eq!(known.preview, facts.preview);
            let keys = Keys::of(row.uid, row.internal_date_s, row.size(), &raw);
            assert_eq!(known.keys, Some(keys));
            let header =
                raw.get(..header_end(&raw, 0).unwrap_or(raw.len())).expect("within").to_vec();
            assert_eq!(known.fields, facts.fields.unwrap_or(header));
        }
        let snapshot = self.db.snapshot();
        for fact in snapshot.prefix::<FactRow>(&(mailbox,)) {
            assert!(uids.contains(&fact.expect("reads").uid), "a fact of no message");
        }
    }

    fn changes_since(&self, mailbox: u64, modseq: u64) -> Changes<u32> {
        let uid = |_: &MailboxRow, message: &MessageRow| message.uid;
        self.mailboxes.changes_since(mailbox, modseq, uid).expect("reads")
    }

    async fn uids(&self, mailbox: u64) -> Vec<u32> {
        let opened = self.open_mailbox(mailbox).await;
        assert_eq!(opened.mailbox.messages as usize, opened.messages.len());
        let rows = self.messages(mailbox);
        let unseen = rows.iter().filter(|m| m.flags & flag::SEEN == 0).count();
        assert_eq!(opened.mailbox.unseen as usize, unseen);
        let deleted = rows.iter().filter(|m| m.flags & flag::DELETED != 0).count();
        assert_eq!(opened.mailbox.deleted as usize, deleted);
        let bytes: u64 = rows.iter().map(MessageRow::size).sum();
        assert_eq!(opened.mailbox.bytes, bytes);
        opened.messages.uids().collect()
    }

    async fn flag(&self, mailbox: u64, uids: &[u32], verb: FlagVerb, flags: u8) {
        let within = FlagMask::ALL;
        let change =
            FlagChange { verb, flags, keywords: Vec::new(), unchanged_since: None, within };
        self.mailboxes.store_flags(mailbox, uids, &change).await.expect("stored");
    }

    /// Bytes of bodies that messages point to, each counted once.
    fn body_bytes(&self) -> u64 {
        self.db.stats().expect("reads").live_bytes
    }

    fn text(&self, mailbox: u64, uid: u32) -> String {
        let found = self.mailboxes.message(mailbox, uid).expect("reads");
        let (_, mut body) = found.expect("there");
        String::from_utf8(body.read_all(1 << 20).expect("reads")).expect("text")
    }
}

#[tokio::test]
async fn one_body_serves_many_and_survives_a_restart() {
    let (house, people) = House::with_people(&["ann", "bob"]).await;
    let [ann, bob] = people.as_slice() else { panic!("two") };
    house.deliver(&[ann, bob, ann], "Subject: x\r\n\r\nhello").await;
    assert_eq!(house.body_bytes(), 19);
    let house = house.reopen();
    for person in [ann, bob] {
        let inbox = house.inbox(person);
        assert_eq!(house.uids(inbox.id).await, [1]);
        assert_eq!(house.text(inbox.id, 1), "Subject: x\r\n\r\nhello");
    }
}

#[tokio::test]
async fn a_body_goes_with_its_last_message() {
    let (house, people) = House::with_people(&["ann", "bob"]).await;
    let [ann, bob] = people.as_slice() else { panic!("two") };
    house.deliver(&[ann, bob], "hello").await;
    for (person, left) in [(ann, 5), (bob, 0)] {
        let inbox = house.inbox(person).id;
        house.flag(inbox, &[1], FlagVerb::Add, flag::DELETED).await;
        let gone = house.mailboxes.expunge(NO_TRACE, inbox, None).await.expect("expunged");
        assert_eq!(gone, Expunged { count: 1, uids: vec![1..=1] });
        assert_eq!(house.uids(inbox).await, Vec::<u32>::new());
        assert_eq!(house.body_bytes(), left);
    }
}

#[tokio::test]
async fn changes_tell_what_a_session_missed() {
    let (house, people) = House::with_people(&["ann"]).await;
    let ann = people.first().expect("one");
    let inbox = house.inbox(ann).id;
    for _ in 0..3 {
        house.deliver(&[ann], "hello").await;
    }
    let seen = house.inbox(ann).modseq;
    let mut watch = house.mailboxes.watch(inbox);
    house.flag(inbox, &[2], FlagVerb::Replace, flag::SEEN).await;
    house.flag(inbox, &[1, 3], FlagVerb::Add, flag::DELETED).await;
    let among = [1, 2];
    house.mailboxes.expunge(NO_TRACE, inbox, Some(&among)).await.expect("expunged");
    let uid = house.deliver(&[ann], "new").await;
    assert!(watch.take(), "it is told of changes");
    let changes = house.changes_since(inbox, seen);
    assert_eq!((changes.changed, changes.vanished), (vec![2, 3, uid], vec![1..=1]));
    assert_eq!(house.uids(inbox).await, [2, 3, 4]);
    let nothing = house.changes_since(inbox, changes.mailbox.modseq);
    assert!(nothing.changed.is_empty() && nothing.vanished.is_empty() && !watch.take());
}

#[tokio::test]
async fn a_move_is_in_one_place_at_every_moment() {
    let (house, people) = House::with_people(&["ann"]).await;
    let ann = people.first().expect("one");
    let inbox = house.inbox(ann).id;
    let trash = house.mailboxes.find(ann.id, "Trash").expect("reads").expect("there").id;
    for text in ["a", "b", "c"] {
        house.deliver(&[ann], text).await;
    }
    let moved = house.mailboxes.move_messages(inbox, &[1, 3, 9], trash).await.expect("moved");
    assert_eq!(moved.uids, [(1, 1), (3, 2)]);
    let copied = house.mailboxes.copy(trash, &[2], inbox).await.expect("copied");
    assert_eq!(copied.uids, [(2, 4)]);
    assert_eq!(house.uids(inbox).await, [2, 4]);
    assert_eq!(house.uids(trash).await, [1, 2]);
    let within = house.mailboxes.move_messages(inbox, &[2], inbox).await.expect("moved");
    assert_eq!(within.uids, [(2, 5)]);
    assert_eq!(house.uids(inbox).await, [4, 5]);
    // "b", and "a" and "c", the last one in two mailboxes.
    assert_eq!(house.body_bytes(), 3);
}

#[tokio::test]
async fn names_are_made_moved_and_removed() {
    let (house, people) = House::with_people(&["ann"]).await;
    let ann = people.first().expect("one");
    let m = &house.mailboxes;
    let names = || -> Vec<String> {
        m.list(ann.id).expect("reads").into_iter().map(|row| row.name).collect()
    };
    let first = ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"];
    assert_eq!(names(), first);
    m.create(NO_TRACE, ann.id, "a/b/c/", None).await.expect("made");
    assert!(matches!(m.create(NO_TRACE, ann.id, "a/b", None).await, Err(Failure::Exists)));
    m.rename(NO_TRACE, ann.id, "a/b", "z").await.expect("renamed");
    let below = m.rename(NO_TRACE, ann.id, "z", "z/y").await;
    assert!(matches!(below, Err(Failure::NotAllowed(_))));
    assert_eq!(names()[6..], ["a", "z", "z/c"]);
    m.delete(NO_TRACE, ann.id, "z").await.expect("removed");
    assert_eq!(names()[6..], ["a", "z/c"]);
    let inbox = m.delete(NO_TRACE, ann.id, "inbox").await;
    assert!(matches!(inbox, Err(Failure::NotAllowed(_))));
    house.deliver(&[ann], "hello").await;
    m.rename(NO_TRACE, ann.id, "INBOX", "Old").await.expect("moved");
    let old = m.find(ann.id, "Old").expect("reads").expect("there");
    assert_eq!(house.uids(old.id).await, [1]);
    assert_eq!(house.uids(house.inbox(ann).id).await, Vec::<u32>::new());
}

#[tokio::test]
async fn only_the_right_password_opens() {
    let (house, people) = House::with_people(&["ann"]).await;
    let login = async |who: &str, password: &str| {
        let password = Zeroizing::new(password.as_bytes().to_vec());
        house.directory.authenticate(who, &password, Scope::Imap).await
    };
    let Login::Welcome(person, ..) = login("Ann@Example.org", "secret of ann").await else {
        panic!("the right password");
    };
    assert_eq!(Some(&person), people.first());
    assert!(matches!(login("ann@example.org", "secret of bob").await, Login::Wrong(_)));
    assert!(matches!(login("nobody@example.org", "secret of ann").await, Login::Wrong(_)));
    assert!(matches!(login("", "").await, Login::Wrong(_)));
    house.directory.delete_account("ann@example.org", "test").await.expect("removed");
    assert!(matches!(login("ann@example.org", "secret of ann").await, Login::Wrong(_)));
    assert!(house.mailboxes.list(person.id).expect("reads").is_empty());
}

#[tokio::test]
async fn a_message_goes_to_all_its_accounts_or_to_none() {
    let (house, people) = House::with_people(&["ann", "bob"]).await;
    let [ann, bob] = people.as_slice() else { panic!("two people") };
    house.directory.delete_account("bob@example.org", "test").await.expect("deleted");
    let refused = house.deliver_may_fail(&[ann, bob], "hello").await;
    assert!(matches!(refused, Err(Failure::NoSuchMailbox)), "{refused:?}");
    assert_eq!(house.uids(house.inbox(ann).id).await, Vec::<u32>::new());
}

#[tokio::test]
async fn a_mailbox_of_a_failed_database_can_be_read() {
    let disk = SimDisk::new(11);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = Options { disk: Arc::new(disk.clone()), ..Options::new(folder.path()) };
    let (house, people) = House::open_with(folder, options).with_more_people(&["ann"]).await;
    let [ann] = people.as_slice() else { panic!("one person") };
    let uid = house.deliver(&[ann], "hello").await;
    let next = disk.operations();
    (next..next + 1_000).for_each(|operation| disk.plan(operation, Fault::Eio));
    let refused = house.deliver_may_fail(&[ann], "lost").await;
    assert!(matches!(refused, Err(Failure::Store(_))), "{refused:?}");
    let inbox = house.inbox(ann);
    let opened = house.mailboxes.open(inbox.id, true).await.expect("is read");
    assert_eq!(opened.messages.uids().collect::<Vec<_>>(), [uid]);
    assert_eq!(opened.mailbox.recent_from, inbox.recent_from, "nobody has claimed it");
}

#[test]
fn damage_that_readers_meet_is_told_once_for_each_place() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let db = Db::open(Options::new(folder.path()), store::SCHEMA).expect("opens");
    let bus = Bus::new(100);
    let mailboxes = Mailboxes::new(db, bus.clone(), &Limits::default());
    let at = |offset| {
        let (file, what) = ("0000000001.gj".to_owned(), "a wrong checksum".to_owned());
        StoreError::Corrupt { file, offset, what }
    };
    for error in [at(4_096), at(4_096), StoreError::Closed, at(8_192)] {
        mailboxes.tell_damage(NO_TRACE, "ann@example.org", &error);
    }
    let told = bus.reader(usize::MAX).take(usize::MAX).events;
    assert_eq!(told.len(), 2, "{told:?}");
    for (event, place) in told.iter().zip(["byte 4096", "byte 8192"]) {
        let EventKind::StoreDamaged { what } = &event.kind else { panic!("{event:?}") };
        assert!(what.contains(place) && what.ends_with("of ann@example.org"), "{what}");
    }
}

#[tokio::test]
async fn a_deleted_account_leaves_nothing_that_grows() {
    let (house, people) = House::with_people(&["ann"]).await;
    let [ann] = people.as_slice() else { panic!("one person") };
    house.directory.delete_account("ann@example.org", "test").await.expect("deleted");
    let made = house.mailboxes.create(NO_TRACE, ann.id, "Ghosts", None).await;
    assert!(matches!(made, Err(Failure::NotAllowed(_))), "{made:?}");
    let subscribed = house.mailboxes.subscribe(ann.id, "Ghosts", true).await;
    assert!(matches!(subscribed, Err(Failure::NotAllowed(_))), "{subscribed:?}");
}

#[tokio::test]
async fn subscriptions_are_limited_as_mailboxes_are() {
    let (house, people) = House::with_people(&["ann"]).await;
    let [ann] = people.as_slice() else { panic!("one person") };
    let have = house.mailboxes.subscriptions(ann.id).expect("reads").len();
    for number in have..100 {
        let name = format!("Lists/{number}");
        house.mailboxes.subscribe(ann.id, &name, true).await.expect("room");
    }
    let one_more = house.mailboxes.subscribe(ann.id, "one more", true).await;
    assert!(matches!(one_more, Err(Failure::Limit(_))), "{one_more:?}");
    house.mailboxes.subscribe(ann.id, "Lists/99", true).await.expect("it is there already");
    house.mailboxes.subscribe(ann.id, "Lists/99", false).await.expect("ended");
    house.mailboxes.subscribe(ann.id, "one more", true).await.expect("room again");
}

/// A name that moves below ever new levels leaves each of them behind.
#[tokio::test]
async fn levels_that_are_made_on_the_way_count_as_mailboxes() {
    let (house, people) = House::with_people(&["ann"]).await;
    let [ann] = people.as_slice() else { panic!("one person") };
    let count = || house.mailboxes.list(ann.id).expect("reads").len();
    house.mailboxes.create(NO_TRACE, ann.id, "0/a", None).await.expect("room");
    let mut last = 0;
    let refused = loop {
        let (from, to) = (format!("{last}/a"), format!("{}/a", last + 1));
        match house.mailboxes.rename(NO_TRACE, ann.id, &from, &to).await {
            Ok(()) => last += 1,
            Err(refused) => break refused,
        }
        assert!(last < 200, "no end of mailboxes");
    };
    assert!(matches!(refused, Failure::Limit(_)), "{refused:?}");
    assert_eq!(count(), 100);
    assert!(house.mailboxes.find(ann.id, &format!("{last}/a")).expect("reads").is_some());
    let within = (format!("{last}/a"), format!("{last}/b"));
    house.mailboxes.rename(NO_TRACE, ann.id, &within.0, &within.1).await.expect("no more");
    house.mailboxes.delete(NO_TRACE, ann.id, "0").await.expect("gone");
    let deep = house.mailboxes.create(NO_TRACE, ann.id, "x/y/z", None).await;
    assert!(matches!(deep, Err(Failure::Limit(_))), "{deep:?}");
    assert_eq!(count(), 99);
}

#[tokio::test]
async fn postmaster_of_every_domain_reaches_somebody() {
    let (house, people) = House::with_people(&["ann", "postmaster"]).await;
    let [_, postmaster] = people.as_slice() else { panic!("two people") };
    house.directory.create_domain("example.net", "test").await.expect("made");
    let resolve = |address: &str| {
        let address = Address::parse(address, Charset::Ascii).expect("an address");
        house.directory.resolve(&address).expect("reads")
    };
    let to_postmaster = Destination::Account(postmaster.clone());
    assert_eq!(resolve("PostMaster@example.net"), to_postmaster);
    assert_eq!(resolve("ann@example.net"), Destination::Nobody);
    assert_eq!(resolve("postmaster@example.com"), Destination::Elsewhere);
    let password = Zeroizing::new("another secret".to_owned());
    let address = "postmaster@example.net";
    let own = house.directory.create_account(address, password, "test").await.expect("made");
    assert_eq!(resolve(address), Destination::Account(own));
    assert_eq!(resolve("postmaster@example.org"), to_postmaster);
}

#[tokio::test]
async fn a_new_message_has_no_more_keywords_than_an_old_one_may_get() {
    let (house, people) = House::with_people(&["ann"]).await;
    let [ann] = people.as_slice() else { panic!("one person") };
    let mut upload = house.mailboxes.upload();
    upload.write(b"hello").await.expect("room");
    let message = upload.finish().await.expect("finished");
    let keywords = (0..129).map(|number| format!("k{number}")).collect();
    let birth = Birth { keywords, ..Birth::default() };
    let mailbox = house.inbox(ann).id;
    let refused = house.mailboxes.append(NO_TRACE, mailbox, &[(birth, message)]).await;
    assert!(matches!(refused, Err(Failure::Limit(_))), "{refused:?}");
}

#[tokio::test]
async fn a_message_without_deleted_stays_though_the_counts_are_wrong() {
    let (house, people) = House::with_people(&["ann"]).await;
    let ann = people.first().expect("one");
    for text in ["a", "b", "c"] {
        house.deliver(&[ann], text).await;
    }
    let inbox = house.inbox(ann);
    house.flag(inbox.id, &[2], FlagVerb::Add, flag::DELETED).await;
    let put = |wrong: MailboxRow| house.db.write(move |tx| tx.put(&wrong)).expect("written");
    put(MailboxRow { deleted: 3, ..house.inbox(ann) }).await.expect("on disk");
    let gone = house.mailboxes.expunge(NO_TRACE, inbox.id, None).await.expect("expunged");
    assert_eq!(gone, Expunged { count: 1, uids: vec![2..=2] });
    put(MailboxRow { deleted: 0, ..house.inbox(ann) }).await.expect("on disk");
    assert_eq!(house.uids(inbox.id).await, [1, 3]);

    // Where all have it, all go, those beyond the next UID, too.
    house.flag(inbox.id, &[1, 3], FlagVerb::Add, flag::DELETED).await;
    let row = house.inbox(ann);
    put(MailboxRow { messages: 7, deleted: 7, uid_next: 2, ..row }).await.expect("on disk");
    let gone = house.mailboxes.expunge(NO_TRACE, inbox.id, None).await.expect("expunged");
    assert_eq!(gone, Expunged { count: 2, uids: vec![1..=3] });
    assert_eq!(house.uids(inbox.id).await, Vec::<u32>::new());
}

#[tokio::test]
async fn messages_are_appended_together_and_replaced_in_one_step() {
    let (house, people) = House::with_people(&["ann"]).await;
    let ann = people.first().expect("one");
    let inbox = house.inbox(ann).id;
    let upload = async |text: &str| {
        let mut upload = house.mailboxes.upload();
        upload.write(text.as_bytes()).await.expect("room");
        upload.finish().await.expect("finished")
    };
    let dated = Birth { internal_date_s: Some(1_000), ..Birth::default() };
    let both = [(dated, upload("one").await), (Birth::default(), upload("two").await)];
    let placed = house.mailboxes.append(NO_TRACE, inbox, &both).await.expect("appended");
    assert_eq!(placed.iter().map(|one| one.uid).collect::<Vec<_>>(), [1, 2]);
    let trash = house.mailboxes.find(ann.id, "Trash").expect("reads").expect("there").id;
    let new = (Birth::default(), upload("three").await);
    let placed = house.mailboxes.replace(NO_TRACE, (inbox, 1), trash, new).await.expect("done");
    assert_eq!((placed.mailbox, placed.uid), (trash, 1));
    assert_eq!((house.uids(inbox).await, house.uids(trash).await), (vec![2], vec![1]));
    let gone = house.mailboxes.vanished_since(inbox, 0).expect("reads");
    assert_eq!(gone, [1..=1]);
    let again = (Birth::default(), upload("four").await);
    let refused = house.mailboxes.replace(NO_TRACE, (inbox, 1), inbox, again).await;
    assert!(matches!(refused, Err(Failure::NoSuchMessage)), "{refused:?}");
    assert_eq!(house.uids(inbox).await, [2], "nothing was appended either");
}

#[tokio::test]
async fn a_copy_says_where_it_came_from_and_when() {
    let (house, people) = House::with_people(&["ann"]).await;
    let ann = people.first().expect("one");
    let inbox = house.inbox(ann);
    house.deliver(&[ann], "hello").await;
    let mut upload = house.mailboxes.upload();
    upload.write(b"old").await.expect("room");
    let old = Birth { internal_date_s: Some(1_000), ..Birth::default() };
    let message = upload.finish().await.expect("finished");
    house.mailboxes.append(NO_TRACE, inbox.id, &[(old, message)]).await.expect("appended");
    let trash = house.mailboxes.find(ann.id, "Trash").expect("reads").expect("there").id;
    house.mailboxes.copy(inbox.id, &[1, 2], trash).await.expect("copied");
    house.mailboxes.move_messages(trash, &[2], inbox.id).await.expect("moved");
    let origin = |mailbox: u64, uid: u32| {
        let found = house.mailboxes.message(mailbox, uid).expect("reads");
        let (row, _) = found.expect("there");
        let origin = house.mailboxes.origin((mailbox, uid), row.internal_date_s);
        let (saved_s, first) = origin.expect("reads");
        (saved_s > 1_000, row.internal_date_s, first.mailbox == inbox.id, first.uid)
    };
    let delivered = origin(inbox.id, 1);
    assert_eq!((delivered.2, delivered.3), (true, 1));
    assert_eq!(origin(inbox.id, 2), (true, 1_000, true, 2));
    assert_eq!(origin(inbox.id, 3), (true, 1_000, true, 2), "copied, then moved");
    assert_eq!(origin(trash, 1).3, 1);
    let origins = || house.db.snapshot().scan::<Origin>().count();
    assert_eq!(origins(), 3);
    house.flag(trash, &[1], FlagVerb::Add, flag::DELETED).await;
    house.mailboxes.expunge(NO_TRACE, trash, None).await.expect("expunged");
    house.flag(inbox.id, &[2], FlagVerb::Add, flag::DELETED).await;
    house.mailboxes.expunge(NO_TRACE, inbox.id, None).await.expect("expunged");
    assert_eq!(origins(), 1, "they go with their messages");
}

#[tokio::test]
async fn annotations_are_set_together_and_go_with_their_mailbox() {
    let (house, people) = House::with_people(&["ann"]).await;
    let ann = people.first().expect("one").id;
    let m = &house.mailboxes;
    let made = m.create(NO_TRACE, ann, "A", None).await.expect("made").id;
    let set = |name: &str, value: Option<&str>| (name.to_owned(), value.map(|v| v.into()));
    let both = [set("/private/a", Some("1")), set("/shared/b", Some("2"))];
    m.set_metadata(ann, made, &both).await.expect("set");
    m.set_metadata(ann, 0, &[set("/private/c", Some("3"))]).await.expect("set");
    m.set_metadata(ann, made, &[set("/private/a", None), set("/private/x", None)])
        .await
        .expect("removed");
    let values = |mailbox: u64| m.metadata(ann, mailbox).expect("reads");
    assert_eq!(values(made), [("/shared/b".to_owned(), b"2".to_vec())]);
    let many: Vec<_> = (0..100).map(|n| set(&format!("/private/{n}"), Some("x"))).collect();
    let refused = m.set_metadata(ann, made, &many).await;
    assert!(matches!(refused, Err(Failure::Limit(_))), "{refused:?}");
    assert_eq!(values(made).len(), 1, "none of them was set");
    m.delete(NO_TRACE, ann, "A").await.expect("removed");
    assert_eq!((values(made).len(), values(0).len()), (0, 1));
    house.directory.delete_account("ann@example.org", "test").await.expect("deleted");
    assert_eq!(values(0), []);
    let late = m.set_metadata(ann, 0, &[set("/private/a", Some("1"))]).await;
    assert!(matches!(late, Err(Failure::NoSuchMailbox)), "{late:?}");
}

#[tokio::test]
async fn facts_that_are_not_there_are_made_when_they_are_asked_for() {
    let (house, people) = House::with_people(&["ann"]).await;
    let [ann] = people.as_slice() else { panic!("one person") };
    let inbox = house.inbox(ann).id;
    let text = "From: bob@example.org\r\nReceived: from x\r\nSubject: hi\r\n\r\nbody\r\n";
    house.deliver(&[ann], text).await;
    // Larger than what is still in memory when it ends.
    house.deliver(&[ann], &format!("{text}{}", "a line of it\r\n".repeat(20_000))).await;
    house.deliver(&[ann], "no field\r\nSubject: broken\r\n\r\nbody").await;
    let facts = |kind: u8| {
        let snapshot = house.db.snapshot();
        let rows = snapshot.prefix::<FactRow>(&(inbox, kind));
        rows.map(|row| row.expect("reads").uid).collect::<Vec<_>>()
    };
    // Of a large message the header alone was in memory.
    assert_eq!((facts(1), facts(2), facts(3)), (vec![1, 2], vec![1, 3], vec![1, 2, 3]));
    assert_eq!(facts(4), [1, 3]);
    // Those of an earlier program count no more.
    let old = house.db.write(|tx| {
        let row = tx.get::<FactRow>(&(inbox, 2, 1))?.expect("there");
        let bytes = store::messages::Bytes(b"nonsense".to_vec());
        tx.put(&FactRow { format: 0, bytes, ..row })
    });
    old.expect("written").await.expect("kept");
    assert_eq!(house.uids(inbox).await, [1, 2, 3]);
    // They are written by the way, and this waits for whatever was written before.
    house.flag(inbox, &[1], FlagVerb::Add, flag::SEEN).await;
    assert_eq!((facts(1), facts(2), facts(3)), (vec![1, 2], vec![1, 2, 3], vec![1, 2, 3]));
    assert_eq!(facts(4), [1, 2, 3]);
    assert_eq!(house.uids(inbox).await, [1, 2, 3]);
    house.flag(inbox, &[1, 2, 3], FlagVerb::Add, flag::DELETED).await;
    house.mailboxes.expunge(NO_TRACE, inbox, None).await.expect("expunged");
    assert_eq!((facts(1), facts(2), facts(3)), (vec![], vec![], vec![]));
}

#[tokio::test]
async fn a_large_mailbox_is_opened_from_what_it_held_and_what_changed_since() {
    let (mut house, people) = House::with_people(&["ann"]).await;
    let [ann] = people.as_slice() else { panic!("one person") };
    let inbox = house.inbox(ann).id;
    house.deliver(&[ann], "Subject: one of many\r\n\r\nhi").await;
    let mut there = 1;
    while there < 11_000 {
        let uids: Vec<u32> = (1..=there).collect();
        house.mailboxes.copy(inbox, &uids, inbox).await.expect("copied");
        there *= 2;
    }
    let stored = |house: &House| {
        let snapshot = house.db.snapshot();
        let rows = snapshot.prefix::<PictureRow>(&(inbox,));
        rows.map(|row| row.expect("reads").modseq).collect::<Vec<_>>()
    };
    let check = async |house: &House| {
        let opened = house.mailboxes.open(inbox, false).await.expect("opens");
        assert!(opened.messages.iter().eq(house.messages(inbox).iter().map(picture::row)));
        opened.mailbox.modseq
    };
    assert!(stored(&house).is_empty(), "nobody looked yet");
    let first = check(&house).await;
    house.flag(inbox, &[5], FlagVerb::Add, flag::SEEN).await;
    assert_eq!(stored(&house), [first; 4]);
    house = house.reopen();
    // Little changed: the stored one will do.
    let some: Vec<u32> = (3_000..3_400).collect();
    house.flag(inbox, &some, FlagVerb::Add, flag::DELETED).await;
    house.mailboxes.expunge(NO_TRACE, inbox, None).await.expect("expunged");
    house.deliver(&[ann], "Subject: a new one\r\n\r\nhi").await;
    check(&house).await;
    assert_eq!(stored(&house), [first; 4]);
    // Much changed: it is stored anew, and what is in memory is kept up with.
    for verb in [FlagVerb::Add, FlagVerb::Remove] {
        let many: Vec<u32> = (4_000..6_500).collect();
        house.flag(inbox, &many, verb, flag::FLAGGED).await;
        check(&house).await;
    }
    house.flag(inbox, &[1], FlagVerb::Add, flag::SEEN).await;
    let again = stored(&house);
    assert!(again.iter().all(|modseq| *modseq > first) && again.len() == 4, "{again:?}");
    house = house.reopen();
    check(&house).await;
    house.mailboxes.delete(NO_TRACE, ann.id, "INBOX").await.expect_err("INBOX stays");
}
