//! Keys from their making to their end, and signatures as another server checks them: by the
//! library, over a name server on loopback.

use gracedb::db::Db;
use gracedb::large::LargeReader;
use gracedb::options::Options;
use gracedb::view::View as _;
use hickory_resolver::proto::rr::RecordType;
use mail_auth::{AuthenticatedMessage, DkimResult, MessageAuthenticator};
use tempfile::TempDir;

use grace_ipc::event::EventKind;

use super::record::{Published, Record};
use super::sign::{Body, author_domain};
use super::{KEYS_PER_DOMAIN_MAX, Key, Signing};
use crate::config::limits::Dns;
use crate::dns::Resolver;
use crate::dns::testing::{Server, Zone};
use crate::store::SCHEMA;
use crate::store::accounts::Domain;
use crate::store::dkim::{KeyAlgorithm, KeyState};
use crate::store::outgoing::OutgoingRow;
use crate::store::refusal::Refusal;
use crate::telemetry::bus::{Bus, Reader};

const DOMAIN: &str = "example.org";
const HEADER: &[u8] = b"From: Ann <ann@Example.ORG>\r\nTo: b@example.net\r\nSubject: one\r\n\r\n";

/// A domain, its keys, and the DNS as it is at the time.
struct House {
    folder: TempDir,
    db: Db,
    bus: Bus,
    told: Reader,
    names: Server,
    signing: Signing,
}

impl House {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(Options::new(folder.path()), SCHEMA).unwrap();
        let made = db.write(|tx| tx.insert(&Domain { name: DOMAIN.to_owned(), created_us: 1 }));
        made.unwrap().await.unwrap();
        let bus = Bus::new(100);
        let (told, names) = (bus.reader(0), Server::start(Zone::default()).await);
        let signing = Signing::new(db.clone(), bus.clone(), resolver(&names));
        Self { folder, db, bus, told, names, signing }
    }

    /// From now on the DNS knows these names alone.
    async fn publish(&mut self, zone: Zone) {
        self.names = Server::start(zone).await;
        self.signing.dns = resolver(&self.names);
    }

    /// A domain that signs, with its records published.
    async fn signing() -> Self {
        let mut house = Self::open().await;
        house.signing.create(DOMAIN, "test").await.unwrap();
        house.publish_all().await;
        house.signing.activate(DOMAIN, false, "test").await.unwrap();
        house
    }

    async fn publish_all(&mut self) {
        let zone = zone(&self.signing.records(DOMAIN).unwrap());
        self.publish(zone).await;
    }

    fn keys(&self) -> Vec<(String, KeyState)> {
        let keys = self.signing.list(Some(DOMAIN)).unwrap();
        keys.into_iter().map(|key| (key.selector, key.state)).collect()
    }

    /// What was told since.
    fn told(&mut self) -> Vec<(String, String)> {
        let events = self.told.take(100).events;
        let told = events.iter().map(|event| match &event.kind {
            EventKind::DirectoryChanged { what, change, by } if by == "test" => {
                (what.clone(), change.clone())
            }
            other => panic!("{other:?}"),
        });
        told.collect()
    }

    /// A message in the journal.
    async fn stored(&self, bytes: &[u8]) -> LargeReader {
        let mut writer = self.db.large_writer();
        writer.write(bytes).await.unwrap();
        let body = writer.finish().await.unwrap();
        let row = OutgoingRow {
            id: 1,
            trace: 0,
            sender: String::new(),
            account: 0,
            created_ms: 0,
            body_kind: 0,
            utf8: false,
            require_tls: false,
            envelope_id: String::new(),
            return_full: false,
            priority: 0,
            body,
        };
        self.db.write(|tx| tx.put(&row)).unwrap().await.unwrap();
        self.db.snapshot().open_large(&row.body)
    }

    /// The message with its signatures on top.
    async fn signed(&self, header: &[u8], body: &[u8]) -> Vec<u8> {
        let message = [header, body].concat();
        let reader = self.stored(&message).await;
        let begin = header.len() as u64;
        let lines = self.signing.sign(DOMAIN, header, reader, begin).await.unwrap();
        [lines.into_bytes(), message].concat()
    }

    /// Whether each of its signatures holds, as another server sees it.
    async fn verified(&self, message: &[u8]) -> Vec<bool> {
        let library = MessageAuthenticator(self.names.resolver().hickory().clone());
        let read = AuthenticatedMessage::parse(message).expect("a message");
        let outputs = library.verify_dkim(&read).await;
        outputs.iter().map(|output| *output.result() == DkimResult::Pass).collect()
    }
}

/// Asks this server, and remembers nothing.
fn resolver(names: &Server) -> Resolver {
    Resolver::new(&Dns { cache_answers: 0, ..names.settings() }).unwrap()
}

fn zone(records: &[Record]) -> Zone {
    records.iter().fold(Zone::default(), |zone, record| zone.txt(&record.name, &record.text))
}

fn selectors(keys: &[Key]) -> Vec<String> {
    keys.iter().map(|key| key.selector.clone()).collect()
}

/// The value of a tag in each signature of a message.
fn tags(message: &[u8], tag: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(message).replace("\r\n\t", "");
    let lines = text.lines().filter_map(|line| line.strip_prefix("DKIM-Signature: "));
    let value = |line: &str| {
        let tags = line.split(';').map(str::trim);
        let mut values = tags.filter_map(|one| one.strip_prefix(&format!("{tag}=")));
        values.next().unwrap_or_default().to_owned()
    };
    lines.map(value).collect()
}

#[tokio::test]
async fn keys_are_made_published_used_replaced_and_removed() {
    let mut house = House::open().await;
    let first = selectors(&house.signing.create(DOMAIN, "test").await.unwrap());
    let (rsa, ed) = (first[0].as_str(), first[1].as_str());
    assert!(rsa.len() == 10 && rsa.starts_with("g20") && rsa.ends_with('r'), "{rsa}");
    assert_eq!(ed, rsa.replace('r', "e"));
    assert!(house.keys().iter().all(|(_, state)| *state == KeyState::Waiting));
    assert_eq!(house.signed(HEADER, b"x\r\n").await, [HEADER, b"x\r\n"].concat(), "none signs yet");

    let refused = house.signing.activate(DOMAIN, false, "test").await.unwrap_err().to_string();
    assert!(refused.contains("is missing") && refused.contains("_domainkey"), "{refused}");
    house.publish_all().await;
    house.signing.activate(DOMAIN, false, "test").await.unwrap();
    let old = house.signed(HEADER, b"x\r\n").await;
    assert_eq!(house.verified(&old).await, [true, true]);

    let second = selectors(&house.signing.create(DOMAIN, "test").await.unwrap());
    assert_eq!(second, [format!("{rsa}2"), format!("{ed}2")]);
    let refused = house.signing.activate(DOMAIN, false, "test").await;
    assert!(matches!(refused, Err(Refusal::Invalid(_))), "{refused:?}");
    house.publish_all().await;
    house.signing.activate(DOMAIN, false, "test").await.unwrap();
    let new = house.signed(HEADER, b"x\r\n").await;
    let mut used = tags(&new, "s");
    used.sort_by(|a, b| b.cmp(a));
    assert_eq!(used, second);
    // Mail that is still on its way is believed, too.
    assert_eq!(house.verified(&old).await, [true, true]);
    assert_eq!(house.verified(&new).await, [true, true]);

    for selector in &first {
        house.signing.delete(DOMAIN, selector, "test").await.unwrap();
    }
    house.signing.retire(DOMAIN, &second[1], "test").await.unwrap();
    let states = [(second[1].clone(), KeyState::Retired), (second[0].clone(), KeyState::Signing)];
    assert_eq!(house.keys(), states);
    assert_eq!(tags(&house.signed(HEADER, b"x\r\n").await, "s"), [second[0].clone()]);
    let gone = house.signing.delete(DOMAIN, rsa, "test").await;
    assert!(matches!(gone, Err(Refusal::Missing(_))), "{gone:?}");

    let told = house.told();
    let of = |selector: &str| -> Vec<String> {
        let what = format!("dkim {selector} of {DOMAIN}");
        told.iter().filter(|one| one.0 == what).map(|one| one.1.clone()).collect()
    };
    assert_eq!(of(rsa), ["created", "signing", "retired", "deleted"]);
    assert_eq!(of(&second[1]), ["created", "signing", "retired"]);
    assert_eq!(told.len(), 4 + 4 + 3 + 2);
}

#[tokio::test]
async fn keys_survive_reopening() {
    let house = House::signing().await;
    let before = house.signing.list(None).unwrap();
    let House { folder, db, bus, names, signing, .. } = house;
    db.close();
    drop((db, signing));
    let db = Db::open(Options::new(folder.path()), SCHEMA).unwrap();
    let signing = Signing::new(db.clone(), bus.clone(), resolver(&names));
    assert_eq!(signing.list(None).unwrap(), before);
    let house = House { folder, db, told: bus.reader(0), bus, names, signing };
    let message = house.signed(HEADER, b"after\r\n").await;
    assert_eq!(house.verified(&message).await, [true, true]);
    assert!(house.bus.reader(100).take(100).events.len() >= 4);
}

#[tokio::test]
async fn signatures_hold_for_messages_of_all_kinds() {
    let house = House::signing().await;
    let folded = b"Received: by x\r\nfrom:ann@example.org\r\nTO: b@example.net,\r\n\tc@example.net\
                   \r\nTo: d@example.net\r\nSubject:  a \r\n  b\t c\r\nMessage-ID: <1@example.org>\
                   \r\nList-Id: <l.example.org>\r\nMIME-Version: 1.0\r\n\r\n";
    let utf8 = "From: \u{e4}nn@example.org\r\nSubject: Gr\u{fc}\u{df}e\r\n\r\n";
    let recipients = "To: b@example.net\r\n".repeat(300);
    let crowded = [b"From: a@example.org\r\n", recipients.as_bytes(), b"\r\n"].concat();
    let large: Vec<u8> =
        (0..16_384).flat_map(|n| format!("{n:06} {:<55}\r\n", "x  y").into_bytes()).collect();
    assert!(large.len() >= 1 << 20);
    let messages: [(&[u8], &[u8]); 8] = [
        (HEADER, b""),
        (HEADER, b"\r\n\r\n"),
        (HEADER, b"no line end"),
        (HEADER, b"8-bit \xe4\xff \x00 bytes \t \r\n\r\n\r\n"),
        (folded, b"text\r\n"),
        (utf8.as_bytes(), b"text\r\n"),
        (&crowded, b"text\r\n"),
        (HEADER, &large),
    ];
    for (header, body) in messages {
        let message = house.signed(header, body).await;
        let shown = String::from_utf8_lossy(message.get(..2_000).unwrap_or(&message)).into_owned();
        assert_eq!(house.verified(&message).await, [true, true], "{shown}");
        let mut algorithms = tags(&message, "a");
        algorithms.sort();
        assert_eq!(algorithms, ["ed25519-sha256", "rsa-sha256"]);

        let mut fed = Body::default();
        body.chunks(4_099).for_each(|piece| fed.feed(piece));
        let lines = house.signing.sign_fed(DOMAIN, header, fed).unwrap();
        assert!(lines.lines().all(|line| line.len() <= 100), "{lines}");
        let message = [lines.as_bytes(), header, body].concat();
        assert_eq!(house.verified(&message).await, [true, true], "{shown}");
    }
}

#[tokio::test]
async fn what_is_changed_or_added_breaks_the_signature() {
    let house = House::signing().await;
    let message = house.signed(HEADER, b"pay 10\r\n").await;
    let at = message.len() - HEADER.len() - b"pay 10\r\n".len();
    let with = |line: &[u8]| [&message[..at], line, &message[at..]].concat();
    let below = |line: &[u8]| [&message[..message.len() - 10], line, b"\r\npay 10\r\n"].concat();
    assert_eq!(house.verified(&with(b"Received: by y\r\n")).await, [true, true]);
    assert_eq!(house.verified(&below(b"List-Id: <y>\r\n")).await, [true, true]);
    for line in [
        &b"From: mallory@example.com\r\n"[..],
        b"To: x@example.com\r\n",
        b"Cc: x@example.com\r\n",
        b"Subject: two\r\n",
        b"Date: Mon, 30 Nov 2026 10:00:00 +0000\r\n",
        b"Message-ID: <2@x>\r\n",
        b"Reply-To: x@example.com\r\n",
        b"Content-Type: text/html\r\n",
    ] {
        assert_eq!(house.verified(&with(line)).await, [false, false], "on top: {line:?}");
        assert_eq!(house.verified(&below(line)).await, [false, false], "below: {line:?}");
    }
    let mut paid = message.clone();
    let amount = paid.len() - 4;
    paid[amount] = b'9';
    assert_eq!(house.verified(&paid).await, [false, false]);
}

/// RFC 6376 3.4.4: lines of white space at the end are empty lines, and those do not count. The
/// library keeps them; what we send must hold elsewhere.
#[tokio::test]
async fn white_lines_at_the_end_do_not_count() {
    let house = House::signing().await;
    let bare = tags(&house.signed(HEADER, b"x\r\n").await, "bh");
    assert_eq!(bare.len(), 2);
    assert_eq!(tags(&house.signed(HEADER, b"x \r\n \t\r\n\r\n \r\n").await, "bh"), bare);
    assert_ne!(tags(&house.signed(HEADER, b"y\r\n").await, "bh"), bare);
}

#[tokio::test]
async fn a_record_is_found_missing_wrong_or_unknown() {
    let mut house = House::open().await;
    let keys = house.signing.create(DOMAIN, "test").await.unwrap();
    let (rsa, ed) = (&keys[0].record, &keys[1].record);
    assert_eq!(keys[0].algorithm, KeyAlgorithm::Rsa);
    assert!(rsa.text.starts_with("v=DKIM1; k=rsa; p=MIIB") && rsa.text.len() > 255, "{}", rsa.text);
    assert!(ed.text.starts_with("v=DKIM1; k=ed25519; p=") && ed.text.len() == 66, "{}", ed.text);
    let found = |house: &House| {
        let signing = house.signing.clone();
        async move {
            let found = signing.check(Some(DOMAIN)).await.unwrap();
            found.into_iter().map(|(_, published)| published).collect::<Vec<_>>()
        }
    };
    // By name: Ed25519, then RSA.
    let missing = found(&house).await;
    assert!(missing.iter().all(|one| matches!(one, Published::Missing(_))), "{missing:?}");

    house.publish(zone(std::slice::from_ref(ed)).txt(&rsa.name, &ed.text)).await;
    let wrong = Published::Wrong("it does not say k=rsa".to_owned());
    assert_eq!(found(&house).await, [Published::Found, wrong]);

    let twice = zone(&[ed.clone(), rsa.clone()]).txt(&rsa.name, "v=spf1 -all");
    house.publish(twice.broken(&ed.name, RecordType::TXT)).await;
    let both = found(&house).await;
    assert!(matches!(both[0], Published::Unknown(_)), "{both:?}");
    assert_eq!(both[1], Published::Wrong("there are 2 texts, not one".to_owned()));

    let refused = house.signing.activate(DOMAIN, false, "test").await.unwrap_err().to_string();
    assert!(refused.contains("could not be looked up"), "{refused}");
    house.signing.activate(DOMAIN, true, "test").await.unwrap();
    assert!(house.keys().iter().all(|(_, state)| *state == KeyState::Signing));
    let again = house.signing.activate(DOMAIN, true, "test").await;
    assert!(matches!(again, Err(Refusal::Missing(_))), "{again:?}");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let house = House::open().await;
    let elsewhere = house.signing.create("example.net", "test").await;
    assert!(matches!(elsewhere, Err(Refusal::Missing(_))), "{elsewhere:?}");
    let unnamed = house.signing.create("no domain", "test").await;
    assert!(matches!(unnamed, Err(Refusal::Invalid(_))), "{unnamed:?}");
    for _ in 0..KEYS_PER_DOMAIN_MAX / 2 {
        house.signing.create("EXAMPLE.org", "test").await.unwrap();
        let waiting = house.signing.create(DOMAIN, "test").await;
        assert!(matches!(waiting, Err(Refusal::Exists(_))), "{waiting:?}");
        house.signing.activate(DOMAIN, true, "test").await.unwrap();
    }
    let full = house.signing.create(DOMAIN, "test").await.unwrap_err().to_string();
    assert!(full.contains("12 keys"), "{full}");
    let (retired, _) = house.keys().into_iter().find(|key| key.1 == KeyState::Retired).unwrap();
    let twice = house.signing.retire(DOMAIN, &retired, "test").await;
    assert!(matches!(twice, Err(Refusal::Invalid(_))), "{twice:?}");
}

#[tokio::test]
async fn the_author_s_domain_signs_before_the_sender_s() {
    let house = House::signing().await;
    let signer = |header: &[u8], sender: &str| house.signing.signer(header, sender).unwrap();
    assert_eq!(signer(HEADER, "x@example.net").as_deref(), Some(DOMAIN));
    let foreign = b"From: ann@example.net\r\n\r\n";
    assert_eq!(signer(foreign, "bounces@Example.org").as_deref(), Some(DOMAIN));
    assert_eq!(signer(foreign, ""), None);
    assert_eq!(signer(b"Subject: x\r\n\r\n", "ann@example.com"), None);
    for (header, domain) in [
        ("From: x <a@B.example>, c@d.example\r\n\r\n", Some("b.example")),
        ("from:\r\n \"a@b\" <a@b\u{fc}cher.example>\r\n\r\n", Some("xn--bcher-kva.example")),
        ("From: nobody\r\n\r\n", None),
        ("From: us: a@b.example;\r\n\r\n", Some("b.example")),
        ("Subject: x\r\n\r\nFrom: a@b.example\r\n", None),
    ] {
        assert_eq!(author_domain(header.as_bytes()).as_deref(), domain, "{header}");
    }
    // Nobody would believe it.
    let orphan = house.signing.sign_fed(DOMAIN, b"Subject: x\r\n\r\n", Body::default());
    assert_eq!(orphan.unwrap(), "");
}
