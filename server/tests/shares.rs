//! Shared mailboxes and quota over a real database in a temporary folder.

use std::collections::BTreeMap;
use std::sync::Arc;

use gracedb::db::Db;
use gracedb::options::Options;
use gracedb::view::View as _;
use tempfile::TempDir;
use zeroize::Zeroizing;

use grace_imap::rights::{Rights, RightsChange};
use grace_ipc::event::{EventKind, TraceId};
use grace_ipc::share::ANY_NUMBER;

use graced::config::limits::{Limits, QuotaRules};
use graced::directory::{Directory, Person};
use graced::mailbox::Mailboxes;
use graced::mailbox::append::Birth;
use graced::mailbox::change::{FlagChange, FlagMask, FlagVerb, Target};
use graced::mailbox::rights::Who;
use graced::store::accounts::Account;
use graced::store::failure::Failure;
use graced::store::messages::{MailboxRow, MessageRow, flag};
use graced::store::quota::count_once;
use graced::store::shares::{AclRow, PublicRow, QuotaRow};
use graced::store::{self, seed::INBOX};
use graced::telemetry::bus::Bus;

const NO_TRACE: TraceId = TraceId(0);

struct House {
    folder: TempDir,
    db: Db,
    bus: Bus,
    directory: Directory,
    mailboxes: Mailboxes,
}

impl House {
    fn open(folder: TempDir) -> Self {
        let db = Db::open(Options::new(folder.path()), store::SCHEMA).expect("opens");
        count_once(&db).expect("counted");
        let bus = Bus::new(100);
        let limits = Limits { mailboxes_per_account_max: 100, ..Limits::default() };
        let directory = Directory::new(db.clone(), bus.clone(), &limits);
        let mailboxes = Mailboxes::new(db.clone(), bus.clone(), &limits);
        Self { folder, db, bus, directory, mailboxes }
    }

    fn reopen(self) -> Self {
        let Self { folder, db, bus, directory, mailboxes } = self;
        drop((directory, mailboxes, bus));
        db.close();
        Self::open(folder)
    }

    /// Ann and Bob of one domain, Eve of another.
    async fn new() -> (Self, Who, Who, Who) {
        let house = Self::open(tempfile::tempdir().expect("a temporary folder"));
        for domain in ["example.org", "example.net"] {
            house.directory.create_domain(domain, "test").await.expect("made");
        }
        let ann = house.account("ann@example.org").await;
        let bob = house.account("bob@example.org").await;
        let eve = house.account("eve@example.net").await;
        (house, ann, bob, eve)
    }

    async fn account(&self, address: &str) -> Who {
        let password = Zeroizing::new("a good password".to_owned());
        let made = self.directory.create_account(address, password, "test").await;
        let Person { id, address } = made.expect("made");
        Who { account: id, address }
    }

    async fn try_append(&self, mailbox: u64, size: usize) -> Result<u32, Failure> {
        let mut upload = self.mailboxes.upload();
        upload.write(&vec![b'x'; size]).await.expect("room");
        let message = upload.finish().await.expect("finished");
        let messages = [(Birth::default(), message)];
        let placed = self.mailboxes.append(NO_TRACE, mailbox, &messages).await?;
        Ok(placed.first().expect("one").uid)
    }

    async fn append(&self, mailbox: u64, size: usize) -> u32 {
        self.try_append(mailbox, size).await.expect("appended")
    }

    async fn deliver(&self, to: &[&Who], size: usize) -> Result<(), Failure> {
        let mut upload = self.mailboxes.upload();
        upload.write(&vec![b'x'; size]).await.expect("room");
        let message = upload.finish().await.expect("finished");
        let ids: Vec<u64> = to.iter().map(|who| who.account).collect();
        self.mailboxes.deliver(&ids, message, None).await.map(drop)
    }

    fn id(&self, who: &Who, name: &str) -> u64 {
        self.mailboxes.find(who.account, name).expect("reads").expect("there").id
    }

    async fn give(&self, owner: &Who, name: &str, who: &str, rights: &str) {
        let change = RightsChange::parse(rights).expect("rights");
        let set = self.mailboxes.set_rights(NO_TRACE, owner, name, (who, change)).await;
        set.expect("set");
    }

    /// The rights somebody has by a name; `None`: it is not there for him.
    fn rights(&self, who: &Who, name: &str) -> Option<String> {
        match self.mailboxes.known(who, name) {
            Ok(known) => Some(known.rights.to_string()),
            Err(Failure::NoSuchMailbox) => None,
            Err(other) => Some(format!("failed: {other}")),
        }
    }

    fn listed(&self, who: &Who) -> Vec<String> {
        let shared = self.mailboxes.shared(who).expect("reads");
        shared.into_iter().map(|(name, _)| name).collect()
    }

    fn used(&self, of: &str) -> (u64, u64) {
        let row = self.db.snapshot().get::<QuotaRow>(of).expect("reads").unwrap_or_default();
        (row.messages, row.bytes)
    }

    async fn limit(&self, of: &str, bytes: u64, messages: u64) {
        let limits = (Some(bytes), Some(messages));
        self.mailboxes.set_quota(of, limits, "test").await.expect("set");
    }

    /// Rows of usage say what the messages say.
    fn assert_exact(&self) {
        let snapshot = self.db.snapshot();
        let mut owners: BTreeMap<u64, String> = BTreeMap::new();
        for account in snapshot.scan::<Account>() {
            let Account { id, address, .. } = account.expect("reads");
            owners.insert(id, address);
        }
        for public in snapshot.scan::<PublicRow>() {
            let PublicRow { domain, owner } = public.expect("reads");
            owners.insert(owner, format!("@{domain}"));
        }
        let mut counted: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for message in snapshot.scan::<MessageRow>() {
            let message = message.expect("reads");
            let mailbox = snapshot.get::<MailboxRow>(&message.mailbox).expect("reads");
            let owner = owners.get(&mailbox.expect("there").account).expect("there");
            let domain = format!("@{}", owner.rsplit_once('@').expect("an @").1);
            let mut roots = vec![domain, owner.clone()];
            roots.dedup();
            for root in roots {
                let (messages, bytes) = counted.entry(root).or_default();
                (*messages, *bytes) = (*messages + 1, *bytes + message.size());
            }
        }
        let rows = snapshot.scan::<QuotaRow>().map(|row| row.expect("reads"));
        let rows = rows.filter(|row| row.messages > 0 || row.bytes > 0);
        let told: BTreeMap<String, (u64, u64)> =
            rows.map(|row| (row.of, (row.messages, row.bytes))).collect();
        assert_eq!(told, counted);
    }
}

#[tokio::test]
async fn usage_is_exact_whatever_is_done() {
    let (house, ann, bob, _) = House::new().await;
    let m = &house.mailboxes;
    let (inbox, trash) = (house.id(&ann, INBOX), house.id(&ann, "Trash"));
    house.deliver(&[&ann, &bob], 100).await.expect("delivered");
    house.append(inbox, 30).await;
    house.append(inbox, 7).await;
    assert_eq!(house.used("ann@example.org"), (3, 137));
    assert_eq!(house.used("@example.org"), (4, 237));
    m.copy(inbox, &[1, 2], trash).await.expect("copied");
    house.assert_exact();
    m.move_messages(inbox, &[3], trash).await.expect("moved");
    assert_eq!(house.used("ann@example.org"), (5, 267));
    // To another owner.
    m.move_messages(trash, &[1], house.id(&bob, INBOX)).await.expect("moved");
    assert_eq!(
        (house.used("ann@example.org"), house.used("bob@example.org")),
        ((4, 167), (2, 200))
    );
    house.assert_exact();
    let change = FlagChange {
        verb: FlagVerb::Add,
        flags: flag::DELETED,
        keywords: Vec::new(),
        unchanged_since: None,
        within: FlagMask::ALL,
    };
    // Some, and then all of a mailbox.
    m.store_flags(inbox, &[2], &change).await.expect("stored");
    m.expunge(NO_TRACE, inbox, None).await.expect("expunged");
    house.assert_exact();
    m.store_flags(inbox, &[1], &change).await.expect("stored");
    m.expunge(NO_TRACE, inbox, None).await.expect("expunged");
    house.assert_exact();
    let uid = house.append(inbox, 50).await;
    let mut upload = m.upload();
    upload.write(b"shorter").await.expect("room");
    let message = (Birth::default(), upload.finish().await.expect("finished"));
    m.replace(NO_TRACE, (inbox, uid), trash, message).await.expect("replaced");
    house.assert_exact();
    m.rename(NO_TRACE, ann.account, "Trash", "Bin").await.expect("renamed");
    house.assert_exact();
    m.delete(NO_TRACE, ann.account, "Bin").await.expect("removed");
    assert_eq!(house.used("ann@example.org"), (0, 0));
    house.assert_exact();
    let house = house.reopen();
    house.assert_exact();
    house.directory.delete_account("bob@example.org", "test").await.expect("removed");
    house.assert_exact();
    assert_eq!(house.used("@example.org"), (0, 0));
}

#[tokio::test]
async fn a_database_that_never_counted_is_counted_once() {
    let (house, ann, _, _) = House::new().await;
    house.append(house.id(&ann, INBOX), 30).await;
    house.limit("ann@example.org", 1_000, 0).await;
    let forget = |tx: &mut gracedb::write::WriteTx<'_>| {
        for row in tx.scan::<QuotaRow>().collect::<Result<Vec<_>, _>>()? {
            tx.delete::<QuotaRow>(row.of.as_str())?;
        }
        let of = "ann@example.org".to_owned();
        tx.put(&QuotaRow { of, bytes: 9, bytes_max: 1_000, ..QuotaRow::default() })
    };
    house.db.write(forget).expect("written").await.expect("on disk");
    let house = house.reopen();
    house.assert_exact();
    let row = house.mailboxes.quotas(Some("Ann@Example.org")).expect("reads").remove(0);
    assert_eq!((row.bytes, row.messages, row.bytes_max), (30, 1, 1_000));
}

#[tokio::test]
async fn what_goes_beyond_a_limit_is_not_done() {
    let (house, ann, bob, _) = House::new().await;
    let m = &house.mailboxes;
    let (inbox, trash) = (house.id(&ann, INBOX), house.id(&ann, "Trash"));
    house.limit("ann@example.org", 100, 0).await;
    house.append(inbox, 60).await;
    let full = |done: Result<u32, Failure>| matches!(done, Err(Failure::OverQuota));
    assert!(full(house.try_append(inbox, 41).await));
    assert!(matches!(m.copy(inbox, &[1], trash).await, Err(Failure::OverQuota)));
    assert!(matches!(house.deliver(&[&ann], 41).await, Err(Failure::OverQuota)));
    assert!(m.has_room(ann.account, 40).expect("reads"));
    assert!(!m.has_room(ann.account, 41).expect("reads"));
    // What one of several has no room for nobody gets, and it is known who that is.
    assert!(matches!(house.deliver(&[&ann, &bob], 41).await, Err(Failure::OverQuota)));
    let both = [ann.account, bob.account];
    assert_eq!(m.without_room(&both, 41).expect("reads"), [ann.account]);
    assert_eq!((house.used("ann@example.org"), house.used("bob@example.org")), ((1, 60), (0, 0)));
    house.deliver(&[&ann, &bob], 40).await.expect("delivered");
    assert_eq!(house.used("ann@example.org"), (2, 100));
    assert_eq!(house.used("bob@example.org"), (1, 40));
    // Who is full may put things away, and make room.
    m.move_messages(inbox, &[1, 2], trash).await.expect("moved");
    m.delete(NO_TRACE, ann.account, "Trash").await.expect("removed");
    house.append(inbox, 100).await;
    house.assert_exact();
    // A limit for all of a domain; and messages are counted, too.
    house.limit("@example.org", 145, 0).await;
    // Each of the two would fit, and both do not.
    house.limit("ann@example.org", 0, 0).await;
    assert!(matches!(house.deliver(&[&ann, &bob], 3).await, Err(Failure::OverQuota)));
    assert_eq!(m.without_room(&both, 3).expect("reads"), [bob.account]);
    assert!(full(house.try_append(house.id(&bob, INBOX), 10).await));
    let from_ann = m.move_messages(inbox, &[3], house.id(&bob, INBOX)).await;
    from_ann.expect("it stays in the domain");
    house.limit("@example.org", 0, 3).await;
    house.append(house.id(&bob, INBOX), 1_000).await;
    assert!(full(house.try_append(house.id(&bob, INBOX), 1).await));
    house.assert_exact();
    let told = told(&house);
    assert!(told.contains(&("ann@example.org".to_owned(), 100)), "{told:?}");
}

/// Many messages at once to several of whom some have little room: whoever is told that a message
/// was taken finds it in all its mailboxes, and no limit is passed by a single byte.
#[tokio::test(flavor = "multi_thread")]
async fn deliveries_at_once_keep_every_limit() {
    const TASKS: usize = 8;
    const EACH: usize = 30;
    let (house, ann, bob, eve) = House::new().await;
    let house = Arc::new(house);
    house.limit("ann@example.org", 5_000, 0).await;
    house.limit("bob@example.org", 0, 120).await;
    house.limit("@example.net", 20_000, 0).await;
    let tasks = (0..TASKS).map(|task| {
        let (house, people) = (house.clone(), [ann.clone(), bob.clone(), eve.clone()]);
        tokio::spawn(async move {
            let mut taken = [0_u64; 3];
            for turn in 0..EACH {
                // Each choice of one, two or all three of them, and sizes that leave a rest.
                let which = (task + turn) % 7 + 1;
                let named = |at: &usize| which & (1 << at) != 0;
                let to: Vec<usize> = (0..people.len()).filter(named).collect();
                let who: Vec<&Who> = to.iter().map(|&at| &people[at]).collect();
                match house.deliver(&who, 90 + 7 * turn).await {
                    Ok(()) => to.iter().for_each(|&at| taken[at] += 1),
                    Err(Failure::OverQuota) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            taken
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let mut taken = [0; 3];
    for task in tasks {
        let some = task.await.expect("ended");
        taken.iter_mut().zip(some).for_each(|(sum, some)| *sum += some);
    }
    house.assert_exact();
    let used = ["ann@example.org", "bob@example.org", "eve@example.net"].map(|of| house.used(of));
    assert_eq!(used.map(|(messages, _)| messages), taken);
    let rest = 5_000_u64.checked_sub(used[0].1).expect("within the limit");
    assert!(rest < 90 + 7 * EACH as u64, "it was filled: {rest} bytes are left");
    assert!(used[1].0 <= 120 && used[2].1 <= 20_000, "{used:?}");
}

/// Shares of limits that were told so far.
fn told(house: &House) -> Vec<(String, u32)> {
    let told = house.bus.reader(usize::MAX).take(usize::MAX).events;
    let reached = told.iter().filter_map(|event| match &event.kind {
        EventKind::QuotaReached { of, percent } => Some((of.clone(), *percent)),
        _ => None,
    });
    reached.collect()
}

#[tokio::test]
async fn who_is_nearly_full_is_told_of_however_he_came_there() {
    let (house, ann, bob, _) = House::new().await;
    let m = &house.mailboxes;
    let (inbox, trash) = (house.id(&ann, INBOX), house.id(&ann, "Trash"));
    house.limit("ann@example.org", 100, 0).await;
    house.limit("bob@example.org", 0, 1).await;
    house.append(inbox, 40).await;
    assert_eq!(told(&house), []);
    let ann_at = |percent| ("ann@example.org".to_owned(), percent);
    m.copy(inbox, &[1], trash).await.expect("copied");
    let mut expected = vec![ann_at(80)];
    assert_eq!(told(&house), expected);
    // Within one owner nothing is reached.
    m.move_messages(inbox, &[1], trash).await.expect("moved");
    assert_eq!(told(&house), expected);
    let mut upload = m.upload();
    upload.write(&[b'x'; 55]).await.expect("room");
    let message = (Birth::default(), upload.finish().await.expect("finished"));
    m.replace(NO_TRACE, (trash, 1), inbox, message).await.expect("replaced");
    expected.push(ann_at(95));
    assert_eq!(told(&house), expected);
    house.append(inbox, 5).await;
    expected.push(ann_at(100));
    assert_eq!(told(&house), expected);
    m.move_messages(inbox, &[2], house.id(&bob, INBOX)).await.expect("moved");
    expected.push(("bob@example.org".to_owned(), 100));
    assert_eq!(told(&house), expected);
    // A lower limit is reached, too; what is refused reaches nothing.
    house.limit("ann@example.org", 45, 0).await;
    expected.push(ann_at(100));
    assert_eq!(told(&house), expected);
    assert!(matches!(m.copy(inbox, &[3], trash).await, Err(Failure::OverQuota)));
    assert_eq!(told(&house), expected);
}

#[tokio::test]
async fn who_has_no_limit_of_his_own_has_the_default() {
    let (mut house, ann, bob, _) = House::new().await;
    let rules = QuotaRules { account_bytes: 100, domain_messages: 4, ..QuotaRules::default() };
    house.mailboxes = house.mailboxes.with_quota(&rules);
    let (anns, bobs) = (house.id(&ann, INBOX), house.id(&bob, INBOX));
    let full = |done: Result<u32, Failure>| matches!(done, Err(Failure::OverQuota));
    assert!(full(house.try_append(anns, 101).await));
    house.append(anns, 100).await;
    assert!(full(house.try_append(anns, 1).await));
    assert_eq!(told(&house), [("ann@example.org".to_owned(), 100)]);
    let roots = house.mailboxes.quota_roots(ann.account).expect("reads");
    let roots: Vec<(&str, u64, u64)> =
        roots.iter().map(|row| (row.of.as_str(), row.bytes_max, row.messages_max)).collect();
    assert_eq!(roots, [("ann@example.org", 100, 0), ("@example.org", 0, 4)]);
    // His own limit, or none at all, comes first; 0 is the default again.
    house.limit("ann@example.org", 150, 0).await;
    house.append(anns, 50).await;
    house.limit("ann@example.org", ANY_NUMBER, 0).await;
    house.append(anns, 500).await;
    house.limit("ann@example.org", 0, 0).await;
    assert!(full(house.try_append(anns, 1).await));
    assert!(!house.mailboxes.has_room(ann.account, 0).expect("reads"));
    house.append(bobs, 1).await;
    assert!(full(house.try_append(bobs, 1).await), "the domain has its four messages");
    assert_eq!(house.mailboxes.without_room(&[bob.account], 0).expect("reads"), [bob.account]);
    house.limit("@example.org", 0, ANY_NUMBER).await;
    house.append(bobs, 1).await;
    assert_eq!(house.mailboxes.quotas(Some("@example.org")).expect("reads")[0].bytes_max, 0);
}

#[tokio::test]
async fn rights_are_given_to_people_and_taken_away() {
    let (house, ann, bob, eve) = House::new().await;
    house.mailboxes.create(NO_TRACE, ann.account, "Lists/rust", None).await.expect("made");
    let name = "Other Users/ann@example.org/Lists";
    let below = "Other Users/ann@example.org/Lists/rust";
    let validity = |name: &str| {
        let found = house.mailboxes.find(ann.account, name).expect("reads").expect("there");
        found.uid_validity
    };
    let before = (validity("Lists"), validity("Lists/rust"));
    assert_eq!((house.rights(&bob, name), house.listed(&bob)), (None, Vec::new()));
    house.give(&ann, "Lists", "Bob@Example.org", "lr").await;
    assert_eq!(house.rights(&bob, name).as_deref(), Some("lr"));
    assert_eq!(house.listed(&bob), [name]);
    assert_eq!(house.rights(&bob, below), None);
    house.give(&ann, "Lists", "bob@example.org", "+sk").await;
    assert_eq!(house.rights(&bob, name).as_deref(), Some("lrskc"));
    house.give(&ann, "Lists", "-bob@example.org", "k").await;
    assert_eq!(house.rights(&bob, name).as_deref(), Some("lrs"));
    // Everybody is everybody of the house's own domain.
    house.give(&ann, "Lists/rust", "anyone", "lri").await;
    assert_eq!(house.rights(&bob, below).as_deref(), Some("lri"));
    assert_eq!((house.rights(&eve, below), house.listed(&eve)), (None, Vec::new()));
    house.give(&ann, "Lists/rust", "eve@example.net", "r").await;
    assert_eq!(house.rights(&eve, below).as_deref(), Some("r"));
    assert_eq!(house.listed(&eve), Vec::<String>::new(), "without l it is not listed");
    // Who gave them is no matter of the mailbox's messages.
    assert_eq!((validity("Lists"), validity("Lists/rust")), before);
    let acl = house.mailboxes.acl(&ann, "Lists").expect("reads");
    let acl: Vec<(&str, String)> =
        acl.iter().map(|(who, rights)| (who.as_str(), rights.to_string())).collect();
    let all = Rights::ALL.to_string();
    assert_eq!(acl[0], ("ann@example.org", all));
    assert_eq!(acl[1..], [("-bob@example.org", "kc".into()), ("bob@example.org", "lrskc".into())]);
    assert!(matches!(house.mailboxes.acl(&bob, name), Err(Failure::NoPermission)));
    house.give(&ann, "Lists", "bob@example.org", "").await;
    assert_eq!(house.rights(&bob, name), None);
    let nobody = RightsChange::parse("lr").expect("rights");
    for identifier in ["ghost@example.org", "bob", "$group"] {
        let set = house.mailboxes.set_rights(NO_TRACE, &ann, "Lists", (identifier, nobody)).await;
        assert!(matches!(set, Err(Failure::NotAllowed(_))), "{identifier}");
    }
}

#[tokio::test]
async fn rights_are_given_to_groups_and_follow_who_is_in_them() {
    let (house, ann, bob, eve) = House::new().await;
    let directory = &house.directory;
    let group = |address: &str, accounts: &[&str]| {
        let (address, accounts) = (address.to_owned(), accounts.iter().map(|a| (*a).to_owned()));
        let accounts: Vec<String> = accounts.collect();
        async move { directory.set_alias(&address, &accounts, "test").await.expect("set") }
    };
    group("staff@example.org", &["bob@example.org"]).await;
    group("staff@example.net", &["bob@example.org"]).await;
    house.mailboxes.create(NO_TRACE, ann.account, "Plans", None).await.expect("made");
    let name = "Other Users/ann@example.org/Plans";
    house.give(&ann, "Plans", "$Staff@Example.org", "lrs").await;
    assert_eq!(house.rights(&bob, name).as_deref(), Some("lrs"));
    assert_eq!(house.listed(&bob), [name]);
    assert_eq!((house.rights(&eve, name), house.listed(&eve)), (None, Vec::new()));
    // With what is his own, and without what is taken from the group, or from him.
    house.give(&ann, "Plans", "bob@example.org", "w").await;
    house.give(&ann, "Plans", "-$staff@example.org", "s").await;
    assert_eq!(house.rights(&bob, name).as_deref(), Some("lrw"));
    house.give(&ann, "Plans", "-bob@example.org", "w").await;
    assert_eq!(house.rights(&bob, name).as_deref(), Some("lr"));
    let acl = house.mailboxes.acl(&ann, "Plans").expect("reads");
    let names: Vec<&str> = acl.iter().map(|(who, _)| who.as_str()).collect();
    let all = ["$staff@example.org", "-$staff@example.org", "-bob@example.org", "bob@example.org"];
    assert_eq!(names[1..], all);
    let lasting = house.mailboxes.lasting(&ann, "Plans", "$staff@example.org").expect("reads");
    assert_eq!(lasting.to_string(), "");
    // Groups of another domain are another house's.
    let lr = RightsChange::parse("lr").expect("rights");
    for wrong in ["$staff@example.net", "$nobody@example.org", "$staff", "$bob@example.org"] {
        let set = house.mailboxes.set_rights(NO_TRACE, &ann, "Plans", (wrong, lr)).await;
        assert!(matches!(set, Err(Failure::NotAllowed(_))), "{wrong}");
    }
    // Who is in it is asked each time; a group may hold others, and itself.
    group("staff@example.org", &["eve@example.net"]).await;
    assert_eq!(house.rights(&bob, name), None);
    assert_eq!(house.rights(&eve, name).as_deref(), Some("lr"));
    assert_eq!(house.listed(&eve), [name]);
    group("team@example.org", &["bob@example.org"]).await;
    let targets = ["team@example.org".to_owned()];
    directory.set_alias_targets("staff@example.org", &targets, "test").await.expect("set");
    assert_eq!(house.rights(&bob, name).as_deref(), Some("lr"));
    assert_eq!(house.rights(&eve, name), None);
    // An owner is not bound by what he gives or takes as one of many.
    group("team@example.org", &["ann@example.org"]).await;
    assert_eq!(house.rights(&ann, "Plans"), Some(Rights::ALL.to_string()));
    // Who gets its address later is another group.
    directory.delete_alias("staff@example.org", "test").await.expect("removed");
    group("staff@example.org", &["eve@example.net"]).await;
    assert_eq!(house.rights(&eve, name), None);
    let left = house.mailboxes.acl(&ann, "Plans").expect("reads").len();
    assert_eq!(left, 3, "ann, and what is bob's alone");
}

#[tokio::test]
async fn who_watches_a_mailbox_hears_of_who_comes_into_a_group() {
    let (house, ann, bob, _) = House::new().await;
    let inbox = house.mailboxes.find(ann.account, INBOX).expect("reads").expect("there");
    let mut of_bob = house.mailboxes.watch_rights(&bob, &inbox);
    let mut of_ann = house.mailboxes.watch_rights(&ann, &inbox);
    let members = ["bob@example.org".to_owned()];
    house.directory.set_alias("staff@example.org", &members, "test").await.expect("set");
    assert!(of_bob.iter_mut().any(|watch| watch.take()));
    assert!(!of_ann.iter_mut().any(|watch| watch.take()), "her own are hers");
    house.give(&ann, INBOX, "$staff@example.org", "lr").await;
    assert!(of_bob.iter_mut().any(|watch| watch.take()));
    assert!(of_ann.iter_mut().any(|watch| watch.take()));
}

#[tokio::test]
async fn an_owner_keeps_the_right_to_give_himself_rights() {
    let (house, ann, _, _) = House::new().await;
    assert_eq!(house.rights(&ann, INBOX), Some(Rights::ALL.to_string()));
    house.give(&ann, INBOX, "ann@example.org", "r").await;
    assert_eq!(house.rights(&ann, INBOX).as_deref(), Some("lra"));
    house.give(&ann, INBOX, "ann@example.org", "").await;
    assert_eq!(house.rights(&ann, INBOX).as_deref(), Some("la"));
    let lasting = |who: &str| house.mailboxes.lasting(&ann, INBOX, who).expect("reads").to_string();
    assert_eq!((lasting("ann@example.org"), lasting("anyone")), ("la".into(), String::new()));
    house.give(&ann, INBOX, "ann@example.org", "lrswipkxtea").await;
    assert_eq!(house.rights(&ann, INBOX), Some(Rights::ALL.to_string()));
    assert_eq!(house.db.snapshot().scan::<AclRow>().count(), 0);
}

#[tokio::test]
async fn rights_go_with_what_they_are_about() {
    let (house, ann, bob, _) = House::new().await;
    let m = &house.mailboxes;
    let name = |rest: &str| format!("Other Users/ann@example.org/{rest}");
    m.create(NO_TRACE, ann.account, "Lists", None).await.expect("made");
    house.give(&ann, "Lists", "bob@example.org", "lrk").await;
    // RFC 4314 4: a new mailbox has the rights of the one above.
    assert_eq!(
        m.creatable(&bob, &name("Lists/a/b")).expect("may"),
        (ann.account, "Lists/a/b".into())
    );
    m.create(NO_TRACE, ann.account, "Lists/a/b", None).await.expect("made");
    for made in ["Lists/a", "Lists/a/b"] {
        assert_eq!(house.rights(&bob, &name(made)).as_deref(), Some("lrkc"), "{made}");
    }
    m.rename(NO_TRACE, ann.account, "Lists", "Old/Lists").await.expect("renamed");
    assert_eq!(house.listed(&bob), [name("Old/Lists"), name("Old/Lists/a"), name("Old/Lists/a/b")]);
    m.delete(NO_TRACE, ann.account, "Old/Lists/a/b").await.expect("removed");
    m.create(NO_TRACE, ann.account, "Elsewhere", None).await.expect("made");
    assert_eq!(house.db.snapshot().scan::<AclRow>().count(), 2);
    for forbidden in ["Elsewhere/x", "x", "Old/x"] {
        let may = m.creatable(&bob, &name(forbidden));
        assert!(matches!(may, Err(Failure::NoPermission)), "{forbidden}");
    }
    // An owner who is not there is no other answer.
    let ghost = m.creatable(&bob, "Other Users/ghost@example.org/x");
    assert!(matches!(ghost, Err(Failure::NoPermission)));
    let house = house.reopen();
    assert_eq!(house.listed(&bob).len(), 2);
    // Who gets the address later is somebody else.
    house.directory.delete_account("bob@example.org", "test").await.expect("removed");
    let bob = house.account("bob@example.org").await;
    assert_eq!(house.listed(&bob), Vec::<String>::new());
    assert_eq!(house.db.snapshot().scan::<AclRow>().count(), 0);
}

#[tokio::test]
async fn a_name_of_ones_own_stays_ones_own() {
    let (house, ann, bob, _) = House::new().await;
    house.mailboxes.create(NO_TRACE, bob.account, "Public/mine", None).await.expect("as before");
    house.mailboxes.create_public("example.org", "mine", "lr").await.expect("made");
    house.mailboxes.create_public("example.org", "News", "lr").await.expect("made");
    assert_eq!(house.rights(&bob, "Public/mine"), Some(Rights::ALL.to_string()));
    assert_eq!(house.listed(&bob), ["Public/News"]);
    assert_eq!(house.listed(&ann), ["Public/News", "Public/mine"]);
}

#[tokio::test]
async fn public_mailboxes_are_a_domain_s() {
    let (house, ann, bob, eve) = House::new().await;
    let m = &house.mailboxes;
    m.create_public("example.org", "News/2026", "lr").await.expect("made");
    assert!(m.create_public("example.org", "News/2026", "lr").await.is_err());
    assert!(m.create_public("example.org", "INBOX", "lr").await.is_err());
    assert!(m.create_public("nowhere.example", "News", "lr").await.is_err());
    assert_eq!(house.listed(&ann), ["Public/News/2026"]);
    assert_eq!(house.listed(&eve), Vec::<String>::new());
    let writes = ("ann@example.org", "+lrswi");
    m.set_rights_as_admin("@example.org", "News/2026", writes).await.expect("set");
    let known = m.permitted(&ann, "Public/News/2026", "i").expect("may");
    assert!(matches!(m.permitted(&bob, "Public/News/2026", "i"), Err(Failure::NoPermission)));
    house.append(known.mailbox.id, 40).await;
    assert_eq!((house.used("@example.org"), house.used("ann@example.org")), ((1, 40), (0, 0)));
    house.assert_exact();
    m.rename_public("example.org", "News", "Old").await.expect("renamed");
    assert_eq!(house.listed(&bob), ["Public/Old/2026"]);
    let acl = m.shares("@example.org", Some("Old/2026")).expect("reads").remove(0).acl;
    let acl: Vec<String> = acl.into_iter().map(|(who, rights)| format!("{who} {rights}")).collect();
    assert_eq!(acl, ["ann@example.org lrswi", "anyone lr"]);
    // The domain goes with nobody and nothing in it alone.
    for address in ["ann@example.org", "bob@example.org"] {
        house.directory.delete_account(address, "test").await.expect("removed");
    }
    let refused = house.directory.delete_domain("example.org", "test").await.unwrap_err();
    assert!(refused.to_string().contains("has public mailboxes, such as Old"), "{refused}");
    for name in ["Old/2026", "Old"] {
        m.delete_public("example.org", name).await.expect("removed");
    }
    house.directory.delete_domain("example.org", "test").await.expect("removed");
    assert_eq!(house.db.snapshot().scan::<PublicRow>().count(), 0);
    house.assert_exact();
}

#[tokio::test]
async fn a_copy_takes_along_the_flags_that_may_be_set() {
    let (house, ann, _, _) = House::new().await;
    let (inbox, trash) = (house.id(&ann, INBOX), house.id(&ann, "Trash"));
    house.append(inbox, 1).await;
    let mut change = FlagChange {
        verb: FlagVerb::Replace,
        flags: flag::SEEN | flag::DELETED | flag::FLAGGED,
        keywords: vec!["$Work".to_owned()],
        unchanged_since: None,
        within: FlagMask::ALL,
    };
    let m = &house.mailboxes;
    m.store_flags(inbox, &[1], &change).await.expect("stored");
    let keeps = FlagMask { flags: flag::SEEN, keywords: false };
    m.copy(inbox, &[1], Target { mailbox: trash, keeps }).await.expect("copied");
    let flags = |mailbox| {
        let (row, _) = m.message(mailbox, 1).expect("reads").expect("there");
        (row.flags, row.keywords)
    };
    assert_eq!(flags(trash), (flag::SEEN, Vec::new()));
    // FLAGS changes what may be changed, and leaves the rest.
    (change.flags, change.keywords, change.within) = (0, Vec::new(), keeps);
    m.store_flags(inbox, &[1], &change).await.expect("stored");
    assert_eq!(flags(inbox), (flag::DELETED | flag::FLAGGED, vec!["$Work".to_owned()]));
}
