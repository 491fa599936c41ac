//! Mail on its way to servers that behave in every way there is: real sockets on loopback, names
//! from a zone of the test's own, a real store.
//!
//! Smart hosts, sources, tests of a delivery and orders for mail under way: `routes`.
//! Not here: the rules of SMTP (`grace_smtp::sender`), when what is tried (`grace_queue`).

mod forwarded;
mod routes;

use std::path::Path;
use std::sync::{Arc, Mutex};

use gracedb::db::Db;
use gracedb::options::Options;
use gracedb::view::View as _;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use grace_ipc::event::EventKind;
use grace_ipc::queue::{QueueChange, QueueFilter};
use grace_mail::address::{Charset, Mailbox};
use grace_queue::schedule::Life;

use super::*;
use crate::config::Config;
use crate::config::limits::{self, Limits, Store};
use crate::dns::testing::{Server, Zone};
use crate::net::stream::Stream;
use crate::net::tls::{Current, Tls};
use crate::outgoing::{self, Changed, list, new_number};
use crate::store;
use crate::store::outgoing::{Onward, OutgoingRow, notify};
use crate::store::transport::{TlsResult, TlsResultRow};
use crate::telemetry::bus::Bus;
use crate::transport::testing::{Authority, Time as Validity};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server whose only work is to send, and anna and a postmaster living there.
struct House {
    services: Services,
    sending: Option<JoinHandle<Result<(), String>>>,
    orders: Option<mpsc::Receiver<Order>>,
    _names: Server,
    _folder: TempDir,
}

impl House {
    /// A house that knows these names; other servers listen at `port`.
    async fn open(zone: Zone, port: u16, change: impl FnOnce(&mut limits::Outgoing)) -> Self {
        Self::open_with(zone, |config| {
            config.queue.port = u64::from(port);
            change(&mut config.queue);
        })
        .await
    }

    /// The same with anything of its settings changed.
    async fn open_with(zone: Zone, change: impl FnOnce(&mut Config)) -> Self {
        let folder = TempDir::new().unwrap();
        let names = Server::start(zone).await;
        let (services, orders) = services(folder.path(), &names, change);
        services.directory.create_domain("grace.test", "test").await.unwrap();
        for name in ["anna", "postmaster"] {
            let password = Zeroizing::new("correct horse".to_owned());
            let address = format!("{name}@grace.test");
            services.directory.create_account(&address, password, "test").await.unwrap();
        }
        Self { services, sending: None, orders: Some(orders), _names: names, _folder: folder }
    }

    /// Begins to send.
    fn send(&mut self) {
        let stop = self.services.porter.stop.clone();
        let orders = self.orders.take().expect("it does not send yet");
        self.sending = Some(tokio::spawn(run(self.services.clone(), orders, stop)));
    }

    /// Takes a message in; gives its number.
    async fn take(&self, sender: &str, recipients: &[&str], text: &str) -> u64 {
        self.take_with(sender, recipients, text, |_| {}).await
    }

    async fn take_with(
        &self,
        sender: &str,
        recipients: &[&str],
        text: &str,
        change: impl Fn(&mut Onward),
    ) -> u64 {
        let mut upload = self.services.mailboxes.upload();
        upload.write(text.as_bytes()).await.unwrap();
        let body = upload.finish().await.unwrap();
        let id = new_number();
        let schedule = &self.services.outgoing.settings().schedule;
        let life = Life::new(schedule, now(), None, None);
        let message = OutgoingRow {
            id,
            trace: id,
            sender: sender.to_owned(),
            account: 1,
            created_ms: now().millis(),
            body_kind: 0,
            utf8: false,
            require_tls: false,
            envelope_id: String::new(),
            return_full: false,
            priority: 0,
            body: body.bytes(),
        };
        let recipients = (0..).zip(recipients).map(|(number, address)| {
            let address = Mailbox::parse(address, Charset::Utf8).unwrap();
            outgoing::recipient(id, number, &address, &life)
        });
        let recipients = recipients.collect();
        let mut onward = Onward { message, recipients, deliver_by: None };
        change(&mut onward);
        let mailboxes = &self.services.mailboxes;
        mailboxes.deliver(&[], body, Some(&onward)).await.unwrap();
        self.services.outgoing.submitted(id).await;
        id
    }

    /// Waits for as many events.
    async fn events(&self, count: usize, wanted: impl Fn(&EventKind) -> bool) -> Vec<EventKind> {
        let mut reader = self.services.porter.bus.reader(usize::MAX);
        let mut seen = Vec::new();
        let search = async {
            while seen.len() < count {
                let batch = reader.next(usize::MAX).await;
                let kinds = batch.events.into_iter().map(|event| event.kind.clone());
                seen.extend(kinds.filter(|kind| wanted(kind)));
            }
        };
        let found = timeout(PATIENCE, search).await;
        assert!(found.is_ok(), "the events come: {seen:?}");
        seen
    }

    async fn sent(&self, count: usize) -> Vec<EventKind> {
        self.events(count, |kind| matches!(kind, EventKind::RecipientSent { .. })).await
    }

    async fn deferred(&self, count: usize) -> Vec<EventKind> {
        self.events(count, |kind| matches!(kind, EventKind::RecipientDeferred { .. })).await
    }

    /// What waits.
    fn waiting(&self) -> Vec<grace_ipc::queue::QueueRow> {
        list::list(&self.services.db, &QueueFilter::default(), 1_000).unwrap()
    }

    /// The newest message in a mailbox of somebody here, when it is there.
    async fn letter(&self, account: &str) -> String {
        let delivered = |kind: &EventKind| match kind {
            EventKind::MessageDelivered { account: to, .. } => to == account,
            _ => false,
        };
        self.events(1, delivered).await;
        let snapshot = self.services.db.snapshot();
        let letters = snapshot.scan::<store::messages::MessageRow>().map(Result::unwrap);
        let letters: Vec<_> = letters
            .map(|row| snapshot.open_large(&row.body).read_all(10_000_000).unwrap())
            .collect();
        String::from_utf8(letters.last().unwrap().clone()).unwrap()
    }

    async fn change(&self, change: QueueChange) -> u64 {
        let Changed { recipients, underway } =
            self.change_some(QueueFilter::default(), change).await;
        assert_eq!(underway, 0, "nobody is being tried");
        recipients
    }

    async fn change_some(&self, some: QueueFilter, change: QueueChange) -> Changed {
        self.services.outgoing.change(some, change, "test").await.unwrap().unwrap()
    }

    /// Stops, and waits until nothing of it is left.
    async fn close(mut self) {
        self.services.porter.stop.say();
        if let Some(sending) = self.sending.take() {
            timeout(PATIENCE, sending).await.expect("it ends").unwrap().unwrap();
        }
    }
}

fn services(
    folder: &Path,
    names: &Server,
    change: impl FnOnce(&mut Config),
) -> (Services, mpsc::Receiver<Order>) {
    let limits = Limits { shutdown_s: 1, ..Limits::default() };
    let mut config = Config {
        hostname: "mail.grace.test".to_owned(),
        data: folder.to_path_buf(),
        listen: Vec::new(),
        proxies: Vec::new(),
        admin: folder.join("admin.sock"),
        admin_group: None,
        tls: None,
        limits,
        door: limits::DoorRules::default(),
        quota: limits::QuotaRules::default(),
        store: Store::default(),
        search: limits::Search::default(),
        queue: limits::Outgoing::default(),
        dns: names.settings(),
        authenticity: limits::Authenticity::default(),
        transport: limits::Transport::default(),
        try_mode: false,
    };
    change(&mut config);
    let bus = Bus::new(100_000);
    let db = Db::open(Options::new(folder.join("store")), store::SCHEMA).unwrap();
    Services::new(Arc::new(config), bus, db).unwrap()
}

/// How a server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manners {
    /// As it should. A recipient with `no` in its name is refused, with `later` put off.
    Good,
    /// Offers TLS and does it.
    Encrypted,
    /// Offers TLS and breaks the handshake.
    BrokenTls,
    /// Accepts the connection and says nothing.
    Silent,
    /// One byte a second.
    Slow,
    /// Too many connections, to whoever comes.
    Storm,
    /// Takes the message and hangs up without an answer.
    Forgetful,
    /// Hangs up where a new message begins, when it waited.
    Impatient,
    /// Is no server of mail.
    Garbage,
}

/// What a server took, and how.
#[derive(Debug, Default, Clone)]
struct Taken {
    /// Envelope and message as they came, one text for each.
    letters: Vec<String>,
    connections: usize,
    encrypted: usize,
}

/// Another server.
struct Peer {
    taken: Arc<Mutex<Taken>>,
    listening: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Peer {
    /// Listens at an address of loopback; gives the port it took, where 0 was asked for.
    async fn open(address: &str, port: u16, manners: Manners) -> (Self, u16) {
        let folder = TempDir::new().unwrap();
        Self::open_as(address, port, manners, certificate(folder.path())).await
    }

    /// The same, with this certificate.
    async fn open_as(address: &str, port: u16, manners: Manners, tls: Current) -> (Self, u16) {
        let listener = TcpListener::bind((address, port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let taken = Arc::<Mutex<Taken>>::default();
        let shared = Arc::clone(&taken);
        let listening = tokio::spawn(async move {
            let mut sessions = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                shared.lock().unwrap().connections += 1;
                let (shared, tls) = (Arc::clone(&shared), tls.clone());
                sessions.spawn(async move {
                    // The other side may hang up whenever it likes.
                    drop(serve(stream, manners, &shared, &tls).await);
                });
            }
        });
        (Self { taken, listening }, port)
    }

    fn taken(&self) -> Taken {
        self.taken.lock().unwrap().clone()
    }
}

fn certificate(folder: &Path) -> Current {
    let names = Config {
        hostname: "mx.far.test".to_owned(),
        data: folder.to_path_buf(),
        listen: Vec::new(),
        proxies: Vec::new(),
        admin: folder.join("admin.sock"),
        admin_group: None,
        tls: None,
        limits: Limits::default(),
        door: limits::DoorRules::default(),
        quota: limits::QuotaRules::default(),
        store: Store::default(),
        search: limits::Search::default(),
        queue: limits::Outgoing::default(),
        dns: limits::Dns::default(),
        authenticity: limits::Authenticity::default(),
        transport: limits::Transport::default(),
        try_mode: false,
    };
    Tls::open(&names).unwrap().current(grace_ipc::event::Service::Smtp)
}

async fn serve(
    mut stream: TcpStream,
    manners: Manners,
    taken: &Mutex<Taken>,
    tls: &Current,
) -> std::io::Result<()> {
    match manners {
        Manners::Silent => {
            let mut nothing = Vec::new();
            stream.read_to_end(&mut nothing).await?;
            return Ok(());
        }
        Manners::Slow => {
            for byte in b"220 mx.far.test is here, and it takes its time to say so\r\n" {
                stream.write_all(&[*byte]).await?;
                sleep(Duration::from_secs(1)).await;
            }
            return Ok(());
        }
        Manners::Storm => {
            stream.write_all(b"421 4.7.0 too many connections\r\n").await?;
            return stream.shutdown().await;
        }
        Manners::Garbage => {
            stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await?;
            return stream.shutdown().await;
        }
        _ => {}
    }
    stream.write_all(b"220 mx.far.test ESMTP\r\n").await?;
    let mut stream = BufReader::new(Stream::clear(stream));
    let (mut letter, mut count) = (String::new(), 0);
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        let reply: &[u8] = match verb.as_str() {
            "EHLO" if !stream.get_ref().is_tls() && offers_tls(manners) => {
                b"250-mx.far.test\r\n250-PIPELINING\r\n250-SIZE 0\r\n250 STARTTLS\r\n"
            }
            "EHLO" => b"250-mx.far.test\r\n250-PIPELINING\r\n250 SIZE 0\r\n",
            "STAR" if manners == Manners::BrokenTls => {
                stream.write_all(b"220 go ahead\r\n").await?;
                stream.flush().await?;
                stream.read_u8().await?;
                stream.write_all(b"this is no TLS\r\n").await?;
                stream.flush().await?;
                return Ok(());
            }
            "STAR" => {
                stream.write_all(b"220 go ahead\r\n").await?;
                stream.flush().await?;
                let secured = stream.into_inner().start_tls(tls.clone()).await?;
                taken.lock().unwrap().encrypted += 1;
                stream = BufReader::new(secured);
                continue;
            }
            "MAIL" if manners == Manners::Impatient && count > 0 => {
                stream.write_all(b"421 4.4.2 I waited long enough\r\n").await?;
                stream.flush().await?;
                return Ok(());
            }
            "MAIL" => {
                letter = line.clone();
                b"250 2.1.0 fine\r\n"
            }
            "RCPT" if line.contains("no@") => b"550 5.1.1 nobody of that name\r\n",
            "RCPT" if line.contains("later@") => b"450 4.2.1 not now\r\n",
            "RCPT" => {
                letter.push_str(&line);
                b"250 2.1.5 fine\r\n"
            }
            "DATA" if !letter.contains("RCPT TO:") => b"554 5.5.1 for whom?\r\n",
            "DATA" => {
                stream.write_all(b"354 go ahead\r\n").await?;
                stream.flush().await?;
                read_body(&mut stream, &mut letter).await?;
                taken.lock().unwrap().letters.push(std::mem::take(&mut letter));
                count += 1;
                if manners == Manners::Forgetful {
                    return Ok(());
                }
                b"250 2.0.0 queued\r\n"
            }
            "QUIT" => {
                stream.write_all(b"221 2.0.0 bye\r\n").await?;
                return stream.shutdown().await;
            }
            _ => b"250 2.0.0 fine\r\n",
        };
        stream.write_all(reply).await?;
        stream.flush().await?;
    }
}

fn offers_tls(manners: Manners) -> bool {
    matches!(manners, Manners::Encrypted | Manners::BrokenTls)
}

async fn read_body(stream: &mut BufReader<Stream>, into: &mut String) -> std::io::Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 || line == ".\r\n" {
            return Ok(());
        }
        into.push_str(line.strip_prefix('.').unwrap_or(&line));
    }
}

/// `far.test` with one server, at 127.0.0.1.
fn far() -> Zone {
    Zone::default().mx("far.test", 10, "mx.far.test").a("mx.far.test", "127.0.0.1")
}

const LETTER: &str = "Subject: hello\r\n\r\n.one dot\r\n..two dots\r\nend\r\n";

#[tokio::test]
async fn mail_goes_where_the_names_say() {
    let (peer, port) = Peer::open("127.0.0.1", 0, Manners::Good).await;
    let mut house = House::open(far(), port, |_| {}).await;
    house.send();
    house.take("anna@grace.test", &["bob@far.test", "carl@far.test"], LETTER).await;
    let sent = house.sent(2).await;
    let EventKind::RecipientSent { remote, tls, reply, .. } = &sent[0] else { unreachable!() };
    let told = (remote.as_str(), tls.as_str(), reply.as_str());
    assert_eq!(told, ("mx.far.test", "", "250 2.0.0 queued"));
    let taken = peer.taken();
    let envelope = "MAIL FROM:<anna@grace.test> SIZE=45\r\nRCPT TO:<bob@far.test>\r\n\
                    RCPT TO:<carl@far.test>\r\n";
    assert_eq!(taken.letters, [format!("{envelope}{LETTER}")]);
    assert!(house.waiting().is_empty());
    assert!(house.services.db.snapshot().scan::<OutgoingRow>().next().is_none());
    house.close().await;
}

#[tokio::test]
async fn what_waited_on_disk_goes_out_at_the_start() {
    let (peer, port) = Peer::open("127.0.0.1", 0, Manners::Good).await;
    let mut house = House::open(far(), port, |_| {}).await;
    house.take("anna@grace.test", &["bob@far.test"], LETTER).await;
    assert_eq!(house.waiting().len(), 1);
    house.send();
    house.sent(1).await;
    assert_eq!(peer.taken().letters.len(), 1, "once, though it was both found and told of");
    house.close().await;
}

#[tokio::test]
async fn who_is_refused_is_told_of() {
    let (peer, port) = Peer::open("127.0.0.1", 0, Manners::Good).await;
    let mut house = House::open(far(), port, |_| {}).await;
    house.send();
    let to = ["bob@far.test", "no@far.test", "later@far.test"];
    house.take("anna@grace.test", &to, LETTER).await;
    let letter = house.letter("anna@grace.test").await;
    for part in [
        "Return-Path: <>\r\n",
        "Final-Recipient: rfc822; no@far.test\r\n",
        "Status: 5.1.1\r\n",
        "Remote-MTA: dns; mx.far.test\r\n",
        "nobody of that name",
        "Subject: hello\r\n",
    ] {
        assert!(letter.contains(part), "{part:?} in {letter}");
    }
    assert!(!letter.contains("bob@far.test") && !letter.contains("end\r\n"), "{letter}");
    let waiting = house.waiting();
    let left: Vec<_> = waiting.iter().map(|row| (row.recipient.as_str(), row.attempts)).collect();
    assert_eq!(left, [("later@far.test", 1)]);
    assert_eq!(waiting[0].reason, "450 4.2.1 not now");
    assert_eq!(peer.taken().letters.len(), 1);
    house.close().await;
}

#[tokio::test]
async fn a_dead_server_does_not_stop_the_next() {
    let (peer, port) = Peer::open("127.0.0.3", 0, Manners::Good).await;
    let zone = Zone::default()
        .mx("far.test", 10, "dead.far.test")
        .mx("far.test", 20, "gone.far.test")
        .mx("far.test", 30, "mx.far.test")
        .a("dead.far.test", "127.0.0.2")
        .a("mx.far.test", "127.0.0.3");
    let mut house = House::open(zone, port, |_| {}).await;
    house.send();
    house.take("anna@grace.test", &["bob@far.test"], LETTER).await;
    house.sent(1).await;
    assert_eq!(peer.taken().letters.len(), 1);
    house.close().await;
}

#[tokio::test]
async fn servers_without_manners_cost_nothing_but_time() {
    let cases = [
        (Manners::Silent, "127.0.0.1", "timed out waiting for the greeting"),
        (Manners::Slow, "127.0.0.1", "timed out waiting for the greeting"),
        (Manners::Storm, "127.0.0.1", "421 4.7.0 too many connections"),
        (Manners::Garbage, "127.0.0.1", "not a reply of SMTP: SSH-2.0-OpenSSH_9.2"),
        (Manners::Forgetful, "127.0.0.1", "it may have been delivered"),
    ];
    for (manners, address, reason) in cases {
        let (_peer, port) = Peer::open(address, 0, manners).await;
        let mut house = House::open(far(), port, |queue| queue.greeting_s = 1).await;
        house.send();
        house.take("anna@grace.test", &["bob@far.test"], LETTER).await;
        let deferred = house.deferred(1).await;
        let EventKind::RecipientDeferred { reason: told, attempts, .. } = &deferred[0] else {
            unreachable!()
        };
        assert!(told.contains(reason), "{manners:?}: {told}");
        assert_eq!((*attempts, house.waiting().len()), (1, 1), "{manners:?}");
        house.close().await;
    }
}

#[tokio::test]
async fn mail_is_encrypted_where_that_works_and_goes_in_clear_where_not() {
    for (manners, encrypted, connections) in
        [(Manners::Encrypted, 1, 1), (Manners::BrokenTls, 0, 2)]
    {
        let (peer, port) = Peer::open("127.0.0.1", 0, manners).await;
        let mut house = House::open(far(), port, |_| {}).await;
        house.send();
        house.take("anna@grace.test", &["bob@far.test"], LETTER).await;
        let sent = house.sent(1).await;
        let EventKind::RecipientSent { tls, .. } = &sent[0] else { unreachable!() };
        assert_eq!(tls.starts_with("TLSv1.3 TLS_"), encrypted == 1, "{manners:?}: {tls}");
        let taken = peer.taken();
        assert_eq!((taken.encrypted, taken.connections), (encrypted, connections), "{manners:?}");
        assert!(taken.letters[0].ends_with(LETTER), "{manners:?}: {taken:?}");
        house.close().await;
    }
}

#[tokio::test]
async fn what_must_be_encrypted_never_goes_in_clear() {
    // Whom an admin named is surely meant; of the others nobody says so.
    let (found, named) = ("far.test", "[mx.far.test]");
    let cases = [
        (Manners::Encrypted, found, Some("neither DNSSEC nor MTA-STS")),
        (Manners::Good, named, Some("asked for by the message (REQUIRETLS)")),
        (Manners::BrokenTls, named, None),
        (Manners::Encrypted, named, None),
    ];
    for (manners, destination, refused) in cases {
        let change = |onward: &mut Onward| {
            onward.message.require_tls = true;
            for row in &mut onward.recipients {
                row.destination = destination.to_owned();
            }
        };
        let (peer, port) = Peer::open("127.0.0.1", 0, manners).await;
        let mut house = House::open(far(), port, |_| {}).await;
        house.send();
        house.take_with("anna@grace.test", &["bob@far.test"], LETTER, change).await;
        match refused {
            Some(reason) => {
                let letter = house.letter("anna@grace.test").await;
                assert!(letter.contains("Status: 5.7.10\r\n"), "{manners:?}: {letter}");
                let letter = letter.replace("\r\n", " ").replace("  ", " ");
                assert!(letter.contains(reason), "{manners:?}: {letter}");
            }
            None => {
                house.deferred(1).await;
            }
        }
        assert!(peer.taken().letters.is_empty(), "{manners:?}");
        house.close().await;
    }
}

#[tokio::test]
async fn who_does_not_promise_to_keep_it_encrypted_gets_nothing() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new("root");
    let roots = authority.write(folder.path());
    let transport = limits::Transport { roots, ..limits::Transport::default() };
    let config = authority.leaf(&["mx.far.test"], Validity::Now).server();
    let leaf = Current { config, end_point: None };
    let (peer, port) = Peer::open_as("127.0.0.1", 0, Manners::Encrypted, leaf).await;
    let mut house = House::open_with(far(), |config| {
        config.queue.port = u64::from(port);
        config.transport = transport;
    })
    .await;
    house.send();
    let named = |onward: &mut Onward| {
        onward.recipients.iter_mut().for_each(|row| row.destination = "[mx.far.test]".to_owned());
    };
    let need_tls = |onward: &mut Onward| {
        named(onward);
        (onward.message.require_tls, onward.message.return_full) = (true, true);
    };
    house.take_with("anna@grace.test", &["bob@far.test"], LETTER, need_tls).await;
    let letter = house.letter("anna@grace.test").await;
    assert!(letter.contains("Status: 5.7.30\r\n"), "{letter}");
    assert!(!letter.contains("end\r\n"), "it is not given back whole: {letter}");
    assert!(peer.taken().letters.is_empty());
    // Nobody else waits for that.
    house.take_with("anna@grace.test", &["bob@far.test"], LETTER, named).await;
    house.sent(1).await;
    house.close().await;
}

#[tokio::test]
async fn a_connection_is_used_again_only_for_what_it_is_good_for() {
    let (peer, port) = Peer::open("127.0.0.1", 0, Manners::Encrypted).await;
    let transport = limits::Transport {
        required: vec!["far.test".parse().unwrap()],
        ..limits::Transport::default()
    };
    let mut house = House::open_with(far(), |config| {
        config.queue.port = u64::from(port);
        config.transport = transport;
    })
    .await;
    house.send();
    let waived = format!("TLS-Required: No\r\n{LETTER}");
    for count in 1..=2 {
        house.take("anna@grace.test", &["bob@far.test"], &waived).await;
        house.sent(count).await;
    }
    assert_eq!(peer.taken().connections, 1);
    // Nobody vouches for the server's certificate.
    house.take("anna@grace.test", &["bob@far.test"], LETTER).await;
    let deferred = house.deferred(1).await;
    let EventKind::RecipientDeferred { reason, .. } = &deferred[0] else { unreachable!() };
    assert!(reason.contains("transport.required"), "{reason}");
    let taken = peer.taken();
    assert_eq!((taken.letters.len(), taken.connections), (2, 2));
    let db = &house.services.db;
    // What was written before this is there when this is.
    db.write(|_| Ok::<_, gracedb::error::Error>(())).unwrap().await.unwrap();
    let rows = db.snapshot();
    let results = rows.scan::<TlsResultRow>().map(|row| row.unwrap());
    let results: Vec<_> = results.map(|row| (row.domain, row.result, row.count)).collect();
    let fault = TlsResult::CertificateNotTrusted as u8;
    assert_eq!(results, [("far.test".to_owned(), fault, 1)], "what was waived is not counted");
    house.close().await;
}

#[tokio::test]
async fn domains_that_take_no_mail_are_told_at_once() {
    let zone = far().mx("null.test", 0, ".").a("other.test", "127.0.0.1");
    let mut house = House::open(zone, 1, |_| {}).await;
    house.send();
    house.take("anna@grace.test", &["bob@null.test"], LETTER).await;
    let letter = house.letter("anna@grace.test").await;
    assert!(letter.contains("Status: 5.1.10\r\n"), "{letter}");
    house.take("anna@grace.test", &["bob@nowhere.test"], LETTER).await;
    let failed = |kind: &EventKind| matches!(kind, EventKind::RecipientFailed { .. });
    let failed = house.events(2, failed).await;
    let EventKind::RecipientFailed { reason, .. } = &failed[1] else { unreachable!() };
    assert_eq!(reason, "nowhere.test does not exist");
    house.close().await;
}

#[tokio::test]
async fn one_connection_takes_one_message_after_the_other() {
    for (manners, connections) in [(Manners::Good, 1), (Manners::Impatient, 3)] {
        let (peer, port) = Peer::open("127.0.0.1", 0, manners).await;
        let mut house = House::open(far(), port, |_| {}).await;
        house.send();
        for count in 1..=3 {
            house.take("anna@grace.test", &["bob@far.test"], LETTER).await;
            house.sent(count).await;
        }
        let taken = peer.taken();
        assert_eq!((taken.letters.len(), taken.connections), (3, connections), "{manners:?}");
        house.close().await;
    }
}

#[tokio::test]
async fn very_many_recipients_go_in_several_transactions() {
    let (peer, port) = Peer::open("127.0.0.1", 0, Manners::Good).await;
    let mut house = House::open(far(), port, |_| {}).await;
    house.send();
    let addresses: Vec<String> = (0..250).map(|n| format!("person{n}@far.test")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    house.take("anna@grace.test", &addresses, LETTER).await;
    house.sent(250).await;
    let letters = peer.taken().letters;
    let mut counts: Vec<usize> =
        letters.iter().map(|letter| letter.matches("RCPT TO:").count()).collect();
    counts.sort_unstable();
    assert_eq!(counts, [50, 100, 100]);
    house.close().await;
}

#[tokio::test]
async fn an_admin_holds_releases_reroutes_and_gives_up() {
    let (peer, port) = Peer::open("127.0.0.1", 0, Manners::Good).await;
    let (other, other_port) = Peer::open("127.0.0.4", 0, Manners::Good).await;
    let mut house = House::open(far(), port, |_| {}).await;
    let hold = |onward: &mut Onward| onward.recipients.iter_mut().for_each(|row| row.held = true);
    let take = async |house: &House| {
        house.take_with("anna@grace.test", &["bob@far.test"], LETTER, hold).await;
    };
    take(&house).await;
    house.send();
    assert_eq!(house.change(QueueChange::Retry).await, 1);
    assert!(house.waiting()[0].held, "what is held is not tried");
    assert_eq!(house.change(QueueChange::Release).await, 1);
    house.sent(1).await;
    assert_eq!(peer.taken().letters.len(), 1);

    take(&house).await;
    let to = format!("[127.0.0.4]:{other_port}");
    assert_eq!(house.change(QueueChange::Reroute { to }).await, 1);
    house.change(QueueChange::Release).await;
    house.sent(2).await;
    assert_eq!(other.taken().letters.len(), 1);

    take(&house).await;
    assert_eq!(house.change(QueueChange::Delete).await, 1);
    assert!(house.waiting().is_empty());

    take(&house).await;
    assert_eq!(house.change(QueueChange::Bounce).await, 1);
    let letter = house.letter("anna@grace.test").await;
    assert!(letter.contains("the administrator of this server gave it up"), "{letter}");
    assert!(house.waiting().is_empty());
    house.close().await;
}

#[tokio::test]
async fn what_is_late_and_what_expires_is_told() {
    let (_peer, port) = Peer::open("127.0.0.1", 0, Manners::Storm).await;
    let mut house = House::open(far(), port, |queue| queue.last_call_s = 1).await;
    let late = |onward: &mut Onward| {
        for row in &mut onward.recipients {
            (row.notice_ms, row.due_ms) = (now().millis(), now().millis() + 3_600_000);
            row.reason = "450 4.2.1 not now".to_owned();
            row.remote = "mx.far.test".to_owned();
        }
    };
    house.take_with("anna@grace.test", &["late@far.test"], LETTER, late).await;
    house.send();
    let letter = house.letter("anna@grace.test").await;
    assert!(letter.contains("Action: delayed\r\n"), "{letter}");
    assert_eq!(house.waiting().len(), 1, "it goes on");
    house.change(QueueChange::Delete).await;

    let over = |onward: &mut Onward| {
        late(onward);
        for row in &mut onward.recipients {
            (row.expires_ms, row.is_strict) = (now().millis(), true);
        }
    };
    house.take_with("anna@grace.test", &["over@far.test"], LETTER, over).await;
    let failed = |kind: &EventKind| match kind {
        EventKind::RecipientFailed { recipient, .. } => recipient == "over@far.test",
        _ => false,
    };
    let failed = house.events(1, failed).await;
    let EventKind::RecipientFailed { reason, .. } = &failed[0] else { unreachable!() };
    assert!(reason.ends_with("the last attempt: mx.far.test said 450 4.2.1 not now"), "{reason}");
    house.close().await;
}

#[tokio::test]
async fn a_lost_notification_goes_to_the_postmaster_and_no_further() {
    let (_peer, port) = Peer::open("127.0.0.1", 0, Manners::Good).await;
    let mut house = House::open(far(), port, |_| {}).await;
    house.send();
    house.take("", &["no@far.test"], LETTER).await;
    let letter = house.letter("postmaster@grace.test").await;
    assert!(letter.contains("Final-Recipient: rfc822; no@far.test\r\n"), "{letter}");
    assert!(house.waiting().is_empty());
    house.close().await;
}

#[tokio::test]
async fn who_sent_from_elsewhere_is_told_there() {
    let (peer, port) = Peer::open("127.0.0.1", 0, Manners::Good).await;
    let mut house = House::open(far(), port, |_| {}).await;
    house.send();
    house.take("carl@far.test", &["no@far.test"], LETTER).await;
    house.sent(1).await;
    let letters = peer.taken().letters;
    assert!(letters[0].starts_with("MAIL FROM:<> SIZE="), "{letters:?}");
    assert!(letters[0].contains("RCPT TO:<carl@far.test>\r\n"), "{letters:?}");
    assert!(!letters[0].contains("Return-Path:"), "{letters:?}");
    house.close().await;
}

#[tokio::test]
async fn success_is_told_to_who_asks() {
    let (_peer, port) = Peer::open("127.0.0.1", 0, Manners::Good).await;
    let mut house = House::open(far(), port, |_| {}).await;
    house.send();
    let ask = |onward: &mut Onward| {
        onward.recipients.iter_mut().for_each(|row| row.notify = notify::SUCCESS);
    };
    house.take_with("anna@grace.test", &["bob@far.test"], LETTER, ask).await;
    let letter = house.letter("anna@grace.test").await;
    assert!(letter.contains("Action: relayed\r\n"), "{letter}");
    house.close().await;
}

#[tokio::test]
async fn a_stop_in_the_middle_loses_nothing() {
    let (peer, port) = Peer::open("127.0.0.1", 0, Manners::Silent).await;
    let mut house = House::open(far(), port, |_| {}).await;
    house.send();
    house.take("anna@grace.test", &["bob@far.test"], LETTER).await;
    let connected = async {
        while peer.taken().connections == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, connected).await.expect("it is tried");
    let db = house.services.db.clone();
    house.close().await;
    let rows = list::list(&db, &QueueFilter::default(), 10).unwrap();
    assert_eq!(rows.len(), 1);
}
