//! The index of texts beside a scan of every message: what it is sure of is so, what it does not
//! doubt is so, and in the end it doubts next to nothing.
//!
//! Foreign mail is looked through if it is there: the folders `mime` and `spam` in `$GRACE_CORPORA`
//! or, failing that, in `shared/corpora` beside the project's root.

#![expect(clippy::indexing_slicing, reason = "a test may panic")]
#![expect(clippy::print_stdout, reason = "what was looked through should be seen")]

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gracedb::db::Db;
use gracedb::disk::sim::{Fault, SimDisk, next_random};
use gracedb::options::Options;
use gracedb::view::View as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use zeroize::Zeroizing;

use grace_ipc::event::{Service, TraceId};
use grace_mail::mime::Tree;
use grace_mail::text::{self, Needle};

use graced::config::Config;
use graced::config::limits::{Limits, Search};
use graced::directory::{Directory, Person};
use graced::imap::session;
use graced::mailbox::Mailboxes;
use graced::mailbox::change::{FlagChange, FlagMask, FlagVerb};
use graced::net::listener;
use graced::services::Services;
use graced::store::messages::{MessageRow, flag};
use graced::store::words::{WordSegmentRow, WordSlabRow};
use graced::store::{self, seed::INBOX};
use graced::telemetry::bus::Bus;
use graced::telemetry::stop::Stop;
use graced::words::{Found, Text, Words};

const NO_TRACE: TraceId = TraceId(0);

struct House {
    db: Db,
    directory: Directory,
    mailboxes: Mailboxes,
    words: Words,
}

/// An index that waits for so many messages.
fn waiting_for(messages: u64) -> Search {
    Search { index_wait_messages: messages, index_share_percent: 100, ..Search::default() }
}

impl House {
    fn open(options: Options, search: &Search) -> Self {
        let db = Db::open(options, store::SCHEMA).expect("opens");
        let bus = Bus::new(100);
        let limits = Limits { mailboxes_per_account_max: 100, ..Limits::default() };
        let directory = Directory::new(db.clone(), bus.clone(), &limits);
        let mailboxes = Mailboxes::new(db.clone(), bus, &limits);
        let words = Words::new(db.clone(), search);
        Self { db, directory, mailboxes, words }
    }

    async fn person(&self) -> Person {
        self.directory.create_domain("example.org", "test").await.expect("made");
        let password = Zeroizing::new("correct horse".to_owned());
        self.directory.create_account("ann@example.org", password, "test").await.expect("made")
    }

    fn mailbox(&self, person: &Person, name: &str) -> u64 {
        self.mailboxes.find(person.id, name).expect("reads").expect("there").id
    }

    async fn deliver(&self, person: &Person, raw: &[u8]) {
        let mut upload = self.mailboxes.upload();
        upload.write(raw).await.expect("room");
        let message = upload.finish().await.expect("finished");
        self.mailboxes.deliver(&[person.id], message, None).await.expect("placed");
    }

    async fn expunge(&self, mailbox: u64, uids: &[u32]) {
        let (verb, keywords) = (FlagVerb::Add, Vec::new());
        let (flags, within) = (flag::DELETED, FlagMask::ALL);
        let change = FlagChange { verb, flags, keywords, unchanged_since: None, within };
        self.mailboxes.store_flags(mailbox, uids, &change).await.expect("stored");
        self.mailboxes.expunge(NO_TRACE, mailbox, None).await.expect("gone");
    }

    /// The messages of a mailbox.
    fn letters(&self, mailbox: u64) -> BTreeMap<u32, Letter> {
        let snapshot = self.db.snapshot();
        let letter = |message: Result<MessageRow, _>| {
            let message: MessageRow = message.expect("reads");
            let size = usize::try_from(message.size()).expect("small");
            let raw = snapshot.open_large(&message.body).read_all(size).expect("reads");
            (message.uid, Letter::new(raw))
        };
        snapshot.prefix::<MessageRow>(&(mailbox,)).map(letter).collect()
    }

    async fn find(&self, mailbox: u64, needles: &[String]) -> Vec<Found> {
        let both = |needle: &String| {
            let needle = Needle::new(needle);
            [true, false].map(|in_head| Text { needle: needle.clone(), in_head })
        };
        let mut found = Vec::new();
        let texts: Vec<Text> = needles.iter().flat_map(both).collect();
        for some in texts.chunks(50) {
            found.extend(self.words.find(mailbox, some.to_vec()).await.expect("reads"));
        }
        found
    }

    /// Holds what is found against every message.
    async fn check(&self, mailbox: u64, needles: &[String]) -> Tally {
        let letters = self.letters(mailbox);
        let found = self.find(mailbox, needles).await;
        let mut tally = Tally::default();
        for (needle, found) in needles.iter().zip(found.chunks(2)) {
            let folded = Needle::new(needle);
            for (found, in_head) in found.iter().zip([true, false]) {
                for (uid, letter) in &letters {
                    let has = letter.has(&folded, in_head);
                    let sure = is_in(&found.sure, *uid);
                    let doubt = !sure && is_in(&found.doubt, *uid);
                    assert!(doubt || sure == has, "{needle:?} in {uid}: {has}, {found:?}");
                    tally.sure += usize::from(sure);
                    tally.doubt += usize::from(doubt);
                    tally.idle += usize::from(doubt && !has);
                    tally.all += 1;
                }
            }
        }
        tally
    }
}

/// How often what was said of a message.
#[derive(Debug, Default)]
struct Tally {
    all: usize,
    sure: usize,
    doubt: usize,
    /// It was in doubt, and the text was not in it.
    idle: usize,
}

fn is_in(ranges: &[RangeInclusive<u32>], uid: u32) -> bool {
    ranges.iter().any(|range| range.contains(&uid))
}

/// A message, and what SEARCH looks into.
struct Letter {
    raw: Vec<u8>,
    texts: Vec<String>,
    folded: Vec<String>,
    has_head: bool,
}

impl Letter {
    fn new(raw: Vec<u8>) -> Self {
        let tree = Tree::parse(&raw);
        let head = text::of_head(&raw, &tree);
        let has_head = head.is_some();
        let texts: Vec<String> = head.into_iter().chain(text::of_body(&raw, &tree)).collect();
        let folded = texts.iter().map(|text| text::fold(text)).collect();
        Self { raw, texts, folded, has_head }
    }

    fn has(&self, needle: &Needle, in_head: bool) -> bool {
        let skipped = usize::from(self.has_head && !in_head);
        self.folded.iter().skip(skipped).any(|text| text.contains(needle.folded()))
    }

    /// The same as SEARCH finds it out.
    fn is_found(&self, needle: &Needle, in_head: bool) -> bool {
        let tree = Tree::parse(&self.raw);
        match in_head {
            true => text::message_contains(&self.raw, &tree, needle),
            false => text::body_contains(&self.raw, &tree, needle),
        }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(next_random(&mut self.0) % end as u64).expect("below")
    }

    fn of<'a, T: ?Sized>(&mut self, some: &[&'a T]) -> &'a T {
        some[self.below(some.len())]
    }

    /// Some words of many scripts, debris, and what stands between them.
    fn text(&mut self, words: usize) -> String {
        const SCRIPTS: &[&str] = &[
            "abcdefghij",
            "ABCdefÄÖÜäöüßéèêñçøåœ",
            "ıİiIşŞğĞ",
            "αβγδσςΣΑΒΩώό",
            "абвгдеёжзиЙЦУ",
            "ابتثجحخدذرز",
            "אבגדהוזחט",
            "日本語漢字検索文書",
            "ひらがなカタカナ",
            "한국어검색메일",
            "กขคงจฉชซ",
            "🎉🙂👍🏽❤",
            "0123456789",
            "aZ09+/=",
            "e\u{301}o\u{308}n\u{303}",
            "ﬁﬂŉǰ",
        ];
        const GAPS: &[&str] = &[
            " ", " ", " ", ", ", ". ", "-", "/", "\r\n", "@", "_", "...", "。", "'", "", "\u{a0}",
        ];
        let mut text = String::new();
        for _ in 0..words {
            let letters: Vec<char> = self.of(SCRIPTS).chars().collect();
            let length = if self.below(40) == 0 { 60 + self.below(400) } else { 1 + self.below(9) };
            text.extend((0..length).map(|_| letters[self.below(letters.len())]));
            text.push_str(self.of(GAPS));
        }
        text
    }

    fn letter(&mut self) -> Vec<u8> {
        let (subject, words) = (self.text(3).replace("\r\n", " "), self.below(60));
        let (text, name) = (self.text(words), self.text(1).replace(['\r', '\n'], ""));
        match self.below(3) {
            0 => format!(
                "Subject: {subject}\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
                 --b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n\
                 --b\r\nContent-Type: application/pdf\r\nContent-Description: {name}\r\n\r\n\
                 {text}\r\n--b--\r\n"
            ),
            _ => format!(
                "Subject: {subject}\r\nTo: ann_b@example.org\r\n\
                 Content-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n"
            ),
        }
        .into_bytes()
    }

    /// A piece of a text of some letter, in any case, and sometimes not quite.
    fn needle(&mut self, letters: &BTreeMap<u32, Letter>) -> String {
        let places: Vec<&Letter> = letters.values().collect();
        let letter = places[self.below(places.len())];
        let Some(text) = letter.texts.get(self.below(letter.texts.len().max(1))) else {
            return "nothing".to_owned();
        };
        let chars: Vec<char> = text.chars().collect();
        let start = self.below(chars.len().max(1));
        let most = if self.below(10) == 0 { 200 } else { 12 };
        let end = (start + 1 + self.below(most)).min(chars.len());
        let mut piece: Vec<char> = chars[start.min(end)..end].to_vec();
        if self.below(4) == 0
            && let Some(place) = (!piece.is_empty()).then(|| self.below(piece.len()))
        {
            piece[place] = if self.below(2) == 0 { 'q' } else { '語' };
        }
        let piece: String = piece.into_iter().collect();
        match self.below(3) {
            0 => piece.to_uppercase(),
            1 => piece.to_lowercase(),
            _ => piece,
        }
    }

    fn needles(&mut self, letters: &BTreeMap<u32, Letter>, count: usize) -> Vec<String> {
        let mut needles =
            vec![String::new(), "..".to_owned(), "q".to_owned(), "ann_b@ex".to_owned()];
        needles.extend((0..count).map(|_| self.needle(letters)));
        needles
    }
}

#[tokio::test]
async fn what_is_found_agrees_with_a_scan_whatever_happens_to_the_messages() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let house = House::open(Options::new(folder.path()), &waiting_for(5));
    let person = house.person().await;
    let (inbox, archive) = (house.mailbox(&person, INBOX), house.mailbox(&person, "Archive"));
    let mut random = Random(7);
    let (mut tally, mut segments) = (Tally::default(), 0);
    for round in 0..16 {
        for _ in 0..20 {
            house.deliver(&person, &random.letter()).await;
        }
        let letters = house.letters(inbox);
        let needles = random.needles(&letters, 40);
        // As it came, behind the index; then in it.
        house.check(inbox, &needles).await;
        house.words.catch_up().await.expect("made");
        let uids: Vec<u32> = letters.keys().copied().collect();
        let some: Vec<u32> = uids.iter().copied().filter(|_| random.below(10) == 0).collect();
        match round % 4 {
            0 => drop(house.mailboxes.copy(inbox, &some, archive).await.expect("copied")),
            1 => drop(house.mailboxes.move_messages(inbox, &some, archive).await.expect("moved")),
            2 => house.expunge(inbox, &some).await,
            _ => {}
        }
        let more = house.check(inbox, &needles).await;
        (tally.all, tally.sure) = (tally.all + more.all, tally.sure + more.sure);
        (tally.doubt, tally.idle) = (tally.doubt + more.doubt, tally.idle + more.idle);
        house.check(archive, &needles).await;
        segments = segments.max(house.db.snapshot().scan::<WordSegmentRow>().count());
    }
    let letters = house.letters(inbox);
    for needle in random.needles(&letters, 5) {
        let needle = Needle::new(&needle);
        for letter in letters.values().filter(|_| !needle.folded().is_empty()) {
            let found = [true, false].map(|in_head| letter.is_found(&needle, in_head));
            assert_eq!(found, [true, false].map(|in_head| letter.has(&needle, in_head)));
        }
    }
    println!("{tally:?}, {segments} segments at most");
    assert!(tally.sure * 20 > tally.all && tally.idle * 8 < tally.all, "{tally:?}");
    assert!(segments <= 12, "{segments}: they were not merged");
}

#[tokio::test]
async fn an_index_that_is_lost_with_the_power_is_missing_and_not_wrong() {
    let disk = SimDisk::new(5);
    let options = |disk: &SimDisk| {
        let disk = Arc::new(disk.clone());
        Options { disk, ..Options::new(Path::new("words")) }
    };
    let settings = waiting_for(1);
    let mut random = Random(3);
    let house = House::open(options(&disk), &settings);
    let person = house.person().await;
    let inbox = house.mailbox(&person, INBOX);
    for _ in 0..3 {
        for _ in 0..4 {
            house.deliver(&person, &random.letter()).await;
        }
        house.words.catch_up().await.expect("made");
    }
    for _ in 0..4 {
        house.deliver(&person, &random.letter()).await;
    }
    let needles = random.needles(&house.letters(inbox), 20);
    house.db.close();
    drop(house);
    let (mut kept, mut lost) = (0, 0);
    for operation in 1..60 {
        let disk = disk.fork(operation);
        disk.plan(operation, Fault::PowerCut);
        if let Ok(db) = Db::open(options(&disk), store::SCHEMA) {
            let words = Words::new(db.clone(), &settings);
            // It ends well, or with the power.
            drop(words.catch_up().await);
            db.close();
        }
        disk.cut_power();
        let house = House::open(options(&disk), &settings);
        house.check(inbox, &needles).await;
        match house.db.snapshot().scan::<WordSegmentRow>().count() {
            1 => kept += 1,
            3 | 4 => lost += 1,
            others => panic!("{others} segments"),
        }
        house.words.catch_up().await.expect("made");
        assert_eq!(house.db.snapshot().scan::<WordSegmentRow>().count(), 1);
        house.check(inbox, &needles).await;
        house.db.close();
    }
    assert!(kept > 0 && lost > 0, "{kept} kept, {lost} lost");
}

#[tokio::test]
async fn it_goes_with_its_mailbox_and_with_its_messages() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let house = House::open(Options::new(folder.path()), &waiting_for(1));
    let person = house.person().await;
    let inbox = house.mailbox(&person, INBOX);
    house.mailboxes.create(NO_TRACE, person.id, "Gone", None).await.expect("made");
    let gone = house.mailbox(&person, "Gone");
    let mut random = Random(4);
    for _ in 0..10 {
        house.deliver(&person, &random.letter()).await;
    }
    let uids: Vec<u32> = (1..=10).collect();
    house.mailboxes.copy(inbox, &uids, gone).await.expect("copied");
    house.words.catch_up().await.expect("made");
    let slabs = |mailbox: u64| house.db.snapshot().prefix::<WordSlabRow>(&(mailbox,)).count();
    let segments = |mailbox: u64| house.db.snapshot().prefix::<WordSegmentRow>(&(mailbox,)).count();
    assert!(slabs(gone) > 0 && segments(gone) == 1);
    house.mailboxes.delete(NO_TRACE, person.id, "Gone").await.expect("deleted");
    assert_eq!((slabs(gone), segments(gone)), (0, 0));

    house.expunge(inbox, &uids).await;
    assert!(slabs(inbox) > 0);
    house.words.catch_up().await.expect("made");
    assert_eq!((slabs(inbox), segments(inbox)), (0, 1));
    house.deliver(&person, b"Subject: a\r\n\r\nhello\r\n").await;
    house.words.catch_up().await.expect("made");
    let found = house.find(inbox, &["ell".to_owned()]).await;
    assert_eq!(found[1].sure, [11..=11]);
    house.directory.delete_account("ann@example.org", "test").await.expect("deleted");
    assert_eq!((slabs(inbox), segments(inbox)), (0, 0));
}

#[tokio::test]
async fn an_index_of_no_use_is_not_believed_and_made_anew() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let house = House::open(Options::new(folder.path()), &waiting_for(1));
    let person = house.person().await;
    let inbox = house.mailbox(&person, INBOX);
    house.deliver(&person, b"Subject: a\r\n\r\nhello\r\n").await;
    house.words.catch_up().await.expect("made");
    let known = Found { sure: vec![1..=1], doubt: vec![2..=u32::MAX] };
    let unknown = Found { sure: Vec::new(), doubt: vec![1..=u32::MAX] };
    let hello = ["HELLO".to_owned()];
    assert_eq!(house.find(inbox, &hello).await[1], known);
    assert_eq!(house.find(inbox, &hello).await.len(), 2);

    let segment = || house.db.snapshot().get::<WordSegmentRow>(&(inbox, 1)).unwrap().unwrap();
    let other = WordSegmentRow { format: segment().format + 1, ..segment() };
    house.db.write(|tx| tx.put(&other)).unwrap().await.unwrap();
    assert_eq!(house.find(inbox, &hello).await[1], unknown);
    house.words.catch_up().await.expect("made");
    assert_eq!(house.find(inbox, &hello).await[1], known);

    let other = WordSegmentRow { uid_validity: segment().uid_validity + 1, ..segment() };
    house.db.write(|tx| tx.put(&other)).unwrap().await.unwrap();
    assert_eq!(house.find(inbox, &hello).await[1], unknown);
    house.words.catch_up().await.expect("made");

    let mut writer = house.db.large_writer();
    writer.write(b"no slab").await.unwrap();
    let bytes = writer.finish().await.unwrap();
    let slabs: Vec<WordSlabRow> = house.db.snapshot().scan().map(Result::unwrap).collect();
    let broken = WordSlabRow { bytes, ..slabs.last().unwrap().clone() };
    house.db.write(|tx| tx.put(&broken)).unwrap().await.unwrap();
    let found = house.find(inbox, &hello).await;
    assert!(is_in(&found[1].doubt, 1) && found[1].sure.is_empty(), "{found:?}");
    house.words.catch_up().await.expect("made");
    assert_eq!(house.find(inbox, &hello).await[1], known);

    let off = Search { index: "off".to_owned(), ..Search::default() };
    let words = Words::new(house.db.clone(), &off);
    let text = Text { needle: Needle::new("hello"), in_head: false };
    assert_eq!(words.find(inbox, vec![text]).await.expect("reads"), [unknown]);
    words.keep(Stop::default()).await;
    assert_eq!(house.db.snapshot().scan::<WordSlabRow>().count(), 0);
}

#[tokio::test]
async fn the_keeper_follows_what_comes_until_it_is_stopped() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = Search { index_look_s: 1, ..waiting_for(3) };
    let house = House::open(Options::new(folder.path()), &settings);
    let person = house.person().await;
    let inbox = house.mailbox(&person, INBOX);
    let mut watch = house.db.watch::<WordSegmentRow>(&(inbox,));
    let stop = Stop::default();
    let keeping = tokio::spawn(house.words.clone().keep(stop.clone()));
    for _ in 0..2 {
        let before = house.letters(inbox).len();
        for _ in 0..3 {
            house.deliver(&person, b"Subject: a\r\n\r\nhello\r\n").await;
        }
        let mut known = 0;
        // It may look between two of them.
        while known < before + 1 {
            watch.changed().await.expect("open");
            let found = house.find(inbox, &["hello".to_owned()]).await;
            known = found[1].sure.iter().map(|range| range.clone().count()).sum();
        }
    }
    stop.say();
    keeping.await.expect("ends");
}

/// A mail program that writes several commands at once.
struct Client {
    stream: TcpStream,
    tag: u32,
}

impl Client {
    /// Logs in where nothing but IMAP is spoken.
    async fn connect(services: &Services) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = socket.local_addr().expect("a bound socket");
        let given = services.clone();
        let run = move |visit| session::run(given.clone(), visit);
        tokio::spawn(listener::serve(services.porter.clone(), Service::Imap, socket, run));
        let stream = TcpStream::connect(address).await.expect("the door is open");
        let mut client = Self { stream, tag: 0 };
        client.ask(&["LOGIN ann@example.org \"correct horse\"", "SELECT INBOX"]).await;
        client
    }

    /// What is answered to commands that are written at once; all must be done.
    async fn ask(&mut self, commands: &[&str]) -> String {
        let mut written = String::new();
        for command in commands {
            self.tag += 1;
            written.push_str(&format!("a{} {command}\r\n", self.tag));
        }
        self.stream.write_all(written.as_bytes()).await.expect("it is read");
        let (mut answer, mut piece) = (Vec::new(), vec![0; 4_096]);
        let last = format!("a{} ", self.tag);
        loop {
            let text = String::from_utf8_lossy(&answer).into_owned();
            assert!(!text.contains(" NO ") && !text.contains(" BAD "), "{commands:?}: {text}");
            if text.ends_with("\r\n") && text.lines().any(|line| line.starts_with(&last)) {
                return text;
            }
            let count = self.stream.read(&mut piece).await.expect("it goes on");
            assert!(count > 0, "{commands:?}: {text}");
            answer.extend_from_slice(&piece[..count]);
        }
    }
}

fn services(folder: &Path) -> Services {
    let text = "hostname = \"mx.grace.test\"\n[dns]\nresolvers = [\"127.0.0.1:9\"]\n\
                [search]\nindex_wait_messages = 1\n";
    let file = folder.join("c.toml");
    std::fs::write(&file, text).expect("a writable folder");
    let config = Config::load(Some(&file), Some(folder)).expect("a valid configuration");
    let db = Db::open(Options::new(folder.join("store")), store::SCHEMA).expect("opens");
    Services::new(Arc::new(config), Bus::new(1_000), db).expect("settings that fit").0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_found_at_once_with_the_index_behind_or_under_way() {
    const ROUNDS: usize = 40;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let services = services(folder.path());
    services.directory.create_domain("example.org", "test").await.expect("made");
    let password = Zeroizing::new("correct horse".to_owned());
    services.directory.create_account("ann@example.org", password, "test").await.expect("made");
    let mut client = Client::connect(&services).await;
    let (stop, mut making) = (Stop::default(), None);
    for round in 1..=2 * ROUNDS {
        if round == ROUNDS {
            // Until now there was none.
            let (words, stop) = (services.words.clone(), stop.clone());
            making = Some(tokio::spawn(async move {
                while !stop.is_said() {
                    words.catch_up().await.expect("made");
                }
            }));
        }
        let letter = format!("Subject: letter\r\n\r\nall of them, and this is no{round}x\r\n");
        let append = format!("APPEND INBOX {{{}+}}\r\n{letter}", letter.len());
        let (one, not) = (format!("SEARCH BODY no{round}X"), format!("SEARCH NOT BODY no{round}x"));
        let moved = format!("UID MOVE {round} Archive");
        let answer = client
            .ask(&[
                &append,
                &one,
                "SEARCH RETURN (COUNT) BODY \"of them\"",
                "SEARCH RETURN (COUNT) NOT TEXT \"LETT\"",
                "SORT RETURN (COUNT) (ARRIVAL) UTF-8 OR BODY of TEXT nothing",
                "COPY * Drafts",
                "ESEARCH IN (mailboxes \"Drafts\") RETURN (COUNT) TEXT letter BODY \"all of\"",
                &not,
            ])
            .await;
        let here = round - round / 4;
        for expected in [
            format!("* SEARCH {here}\r\n"),
            format!("COUNT {here}\r\n"),
            "COUNT 0\r\n".to_owned(),
            format!("COUNT {round}\r\n"),
        ] {
            assert!(answer.contains(&expected), "{expected:?} in {answer}");
        }
        let not = answer.lines().rfind(|line| line.starts_with("* SEARCH"));
        assert_eq!(not.map(|line| line.split(' ').count() - 2), Some(here - 1), "{answer}");
        if round % 4 == 3 {
            let answer = client.ask(&[&moved, &one, "NOOP"]).await;
            assert!(answer.contains("* SEARCH\r\n"), "{answer}");
        }
    }
    stop.say();
    making.expect("begun").await.expect("ends");
    services.porter.stop.say();
    services.db.close();
}

/// A folder of foreign mail.
fn corpus(name: &str) -> Option<PathBuf> {
    let corpora = match std::env::var_os("GRACE_CORPORA") {
        Some(dir) => PathBuf::from(dir),
        None => {
            let here = Path::new(env!("CARGO_MANIFEST_DIR"));
            let root = here.ancestors().find(|dir| dir.join("Cargo.lock").is_file())?;
            root.parent()?.join("shared").join("corpora")
        }
    };
    Some(corpora.join(name)).filter(|dir| dir.is_dir())
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let (mut found, mut waiting) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = waiting.pop() {
        for entry in std::fs::read_dir(&dir).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() { waiting.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// Looks for pieces of foreign letters in all of them.
async fn look_through(name: &str, each: usize) {
    let Some(dir) = corpus(name) else {
        println!("!!! NOT LOOKED THROUGH: there is no corpus {name:?}; set GRACE_CORPORA !!!");
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = Search { index_memory_bytes: 8 << 20, ..waiting_for(1) };
    let house = House::open(Options::new(folder.path()), &settings);
    let person = house.person().await;
    let inbox = house.mailbox(&person, INBOX);
    for file in files(&dir).into_iter().step_by(each) {
        let raw = std::fs::read(file).expect("a readable file");
        if !raw.is_empty() {
            house.deliver(&person, &raw).await;
        }
    }
    house.words.catch_up().await.expect("made");
    let letters = house.letters(inbox);
    let needles = Random(11).needles(&letters, 300);
    let tally = house.check(inbox, &needles).await;
    println!("{name}: {} letters, {} needles: {tally:?}", letters.len(), needles.len());
    assert!(tally.sure * 20 > tally.all && tally.idle * 6 < tally.all, "{tally:?}");
}

#[tokio::test]
async fn letters_of_many_programs_are_found_as_a_scan_finds_them() {
    look_through("mime", 1).await;
}

#[tokio::test]
async fn letters_of_many_people_are_found_as_a_scan_finds_them() {
    look_through("spam", 4).await;
}
