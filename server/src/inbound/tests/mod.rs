//! SMTP on the wire: real sockets, a real store in a folder of its own, a peer that writes bytes.
//!
//! Not here: the rules of SMTP (`grace_smtp`), clients that others wrote (`tests/`).

mod aliases;
mod door;
mod forwards;
mod logins;
mod names;
mod senders;
mod settings;
mod submissions;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gracedb::db::Db;
use gracedb::options::Options;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use zeroize::Zeroizing;

use grace_ipc::event::{EventKind, Service};

use super::*;
use crate::authenticity::Authenticity;
use crate::config::Config;
use crate::config::limits::{self, Dns, Limits, Store};
use crate::net::listener::{self};
use crate::outgoing::Order;
use crate::store;
use crate::telemetry::bus::Bus;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server with one door, and anna, bob and a postmaster living in it.
struct House {
    services: Services,
    address: SocketAddr,
    listening: JoinHandle<()>,
    _folder: TempDir,
}

impl House {
    async fn open(service: Service) -> Self {
        Self::empty(service).await.with_people().await
    }

    async fn with_people(self) -> Self {
        let house = self;
        let services = &house.services;
        services.directory.create_domain("grace.test", "test").await.unwrap();
        for name in ["anna", "bob", "postmaster"] {
            let password = Zeroizing::new("correct horse".to_owned());
            let address = format!("{name}@grace.test");
            services.directory.create_account(&address, password, "test").await.unwrap();
        }
        house
    }

    /// Nobody lives there yet.
    async fn empty(service: Service) -> Self {
        let folder = TempDir::new().unwrap();
        let services = services(folder.path());
        Self::of(service, folder, services).await
    }

    async fn of(service: Service, folder: TempDir, services: Services) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let given = services.clone();
        let run = move |visit| session::run(given.clone(), visit);
        let porter = services.porter.clone();
        let listening = tokio::spawn(listener::serve(porter, service, socket, run));
        Self { services, address, listening, _folder: folder }
    }

    /// Sends all of `bytes`, and returns everything we answer until the connection ends.
    async fn say(&self, bytes: &[u8]) -> String {
        let mut peer = TcpStream::connect(self.address).await.unwrap();
        peer.write_all(bytes).await.unwrap();
        peer.shutdown().await.unwrap();
        hear(&mut peer).await
    }

    /// Waits for an event.
    async fn event(&self, wanted: impl Fn(&EventKind) -> bool) -> EventKind {
        let mut reader = self.services.porter.bus.reader(usize::MAX);
        let found = async {
            loop {
                let batch = reader.next(usize::MAX).await;
                if let Some(event) = batch.events.iter().find(|event| wanted(&event.kind)) {
                    return event.kind.clone();
                }
            }
        };
        timeout(PATIENCE, found).await.expect("the event comes")
    }

    /// Stops, and waits until every session is gone.
    async fn close(self) {
        self.services.porter.stop.say();
        timeout(PATIENCE, self.listening).await.expect("sessions end").unwrap();
    }
}

async fn hear(peer: &mut TcpStream) -> String {
    let mut answers = String::new();
    timeout(PATIENCE, peer.read_to_string(&mut answers)).await.expect("it ends").unwrap();
    answers
}

/// Reads until `end` was said.
async fn hear_until(peer: &mut TcpStream, end: &str) -> String {
    let mut answers = Vec::new();
    let heard = async {
        while !String::from_utf8_lossy(&answers).contains(end) {
            answers.push(peer.read_u8().await.unwrap());
        }
    };
    timeout(PATIENCE, heard).await.expect("it is said");
    String::from_utf8(answers).unwrap()
}

fn services(folder: &Path) -> Services {
    services_of(config(folder))
}

fn services_of(config: Config) -> Services {
    with_orders_of(config).0
}

/// The same, and what is told to who sends mail to other servers.
fn with_orders(folder: &Path) -> (Services, Receiver<Order>) {
    with_orders_of(config(folder))
}

fn with_orders_of(config: Config) -> (Services, Receiver<Order>) {
    let bus = Bus::new(1_000);
    let db = Db::open(Options::new(config.data.join("store")), store::SCHEMA).unwrap();
    Services::new(Arc::new(config), bus, db).unwrap()
}

fn config(folder: &Path) -> Config {
    let limits = Limits { login_failure_delay_ms: 0, ..Limits::default() };
    Config {
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
        dns: Dns { resolvers: vec!["127.0.0.1".parse().unwrap()], ..Dns::default() },
        authenticity: limits::Authenticity::default(),
        transport: limits::Transport::default(),
        try_mode: false,
    }
}

fn is_delivered(event: &EventKind) -> bool {
    matches!(event, EventKind::MessageDelivered { .. })
}

#[tokio::test]
async fn an_address_may_have_a_detail() {
    let house = House::open(Service::Smtp).await;
    let answers = house
        .say(
            b"EHLO x\r\nMAIL FROM:<c@x.example>\r\nRCPT TO:<anna+shop@grace.test>\r\n\
              RCPT TO:<nobody+shop@grace.test>\r\nRCPT TO:<+shop@grace.test>\r\n\
              DATA\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n",
        )
        .await;
    assert_eq!(answers.matches("550 5.1.1 no mailbox").count(), 2, "{answers}");
    let delivered = house.event(is_delivered).await;
    let EventKind::MessageDelivered { account, .. } = delivered else { unreachable!() };
    assert_eq!(account, "anna@grace.test");
    house.close().await;
}

#[tokio::test]
async fn a_message_is_kept_and_told_of() {
    let house = House::open(Service::Smtp).await;
    let answers = house
        .say(
            b"EHLO client.example\r\nMAIL FROM:<carl@x.example>\r\nRCPT TO:<Anna@grace.test>\r\n\
              RCPT TO:<nobody@grace.test>\r\nRCPT TO:<a@other.example>\r\n\
              RCPT TO:<postmaster>\r\nDATA\r\nSubject: hi\r\n\r\n..dot\r\n.\r\nQUIT\r\n",
        )
        .await;
    for expected in [
        "550 5.1.1 no mailbox <nobody@grace.test> here\r\n",
        "550 5.7.1 <a@other.example>: relaying denied\r\n",
        "250 2.0.0 ok, queued as ",
    ] {
        assert!(answers.contains(expected), "{expected:?} is missing in {answers}");
    }
    assert!(answers.ends_with("221 2.0.0 goodbye\r\n"), "{answers}");
    let accepted = house.event(|e| matches!(e, EventKind::MessageAccepted { .. })).await;
    let EventKind::MessageAccepted { queue_id, sender, recipients, size } = accepted else {
        unreachable!("it was just matched")
    };
    assert!(answers.contains(&queue_id));
    assert_eq!((sender.as_str(), recipients), ("carl@x.example", 2));
    let body = b"Subject: hi\r\n\r\n.dot\r\n".len() as u64;
    assert!(size > body + 100, "our own lines are counted: {size}");
    assert!(is_delivered(&house.event(is_delivered).await));
    house.close().await;
}

#[tokio::test]
async fn what_is_not_finished_is_not_kept() {
    let house = House::open(Service::Smtp).await;
    let begun = b"HELO x\r\nMAIL FROM:<>\r\nRCPT TO:<anna@grace.test>\r\nDATA\r\nhalf a mess";
    let answers = house.say(begun).await;
    assert!(answers.ends_with("354 send the message, end with CRLF.CRLF\r\n"), "{answers}");
    let closed = house.event(|e| matches!(e, EventKind::ConnectionClosed { .. })).await;
    let EventKind::ConnectionClosed { reason, bytes_in, .. } = closed else {
        unreachable!("it was just matched")
    };
    assert_eq!((reason.as_str(), bytes_in), ("the peer went away", begun.len() as u64));
    let mut reader = house.services.porter.bus.reader(usize::MAX);
    assert!(!reader.take(usize::MAX).events.iter().any(|event| is_delivered(&event.kind)));
    house.close().await;
}

#[tokio::test]
async fn submission_is_for_people_who_logged_in() {
    let house = House::open(Service::Submission).await;
    // "\0anna@grace.test\0correct horse", and the same with "wrong horse!!".
    let answers = house
        .say(
            b"EHLO x\r\nMAIL FROM:<anna@grace.test>\r\n\
              AUTH PLAIN AGFubmFAZ3JhY2UudGVzdAB3cm9uZyBob3JzZSEh\r\n\
              AUTH PLAIN AGFubmFAZ3JhY2UudGVzdABjb3JyZWN0IGhvcnNl\r\n\
              MAIL FROM:<bob@grace.test>\r\nMAIL FROM:<anna@grace.test>\r\n\
              RCPT TO:<a@other.example>\r\nQUIT\r\n",
        )
        .await;
    let lines: Vec<&str> = answers.lines().skip_while(|line| line.starts_with('2')).collect();
    assert_eq!(
        lines,
        [
            "530 5.7.0 log in first",
            "535 5.7.8 wrong login or password",
            "235 2.7.0 you are logged in",
            "553 5.7.1 anna@grace.test may not send as <bob@grace.test>",
            "250 2.1.0 sender ok",
            "250 2.1.5 recipient ok",
            "221 2.0.0 goodbye",
        ]
    );
    house.event(|e| matches!(e, EventKind::LoginFailed { .. })).await;
    house.event(|e| matches!(e, EventKind::LoginSucceeded { .. })).await;
    house.close().await;
}

#[tokio::test]
async fn a_stop_says_goodbye_and_leaves_nothing() {
    let house = House::open(Service::Smtp).await;
    let mut idle = TcpStream::connect(house.address).await.unwrap();
    hear_until(&mut idle, "220 mail.grace.test ESMTP Grace\r\n").await;
    let mut busy = TcpStream::connect(house.address).await.unwrap();
    busy.write_all(b"HELO x\r\nMAIL FROM:<>\r\nRCPT TO:<bob@grace.test>\r\nDATA\r\nhalf")
        .await
        .unwrap();
    hear_until(&mut busy, "CRLF.CRLF\r\n").await;
    house.services.porter.stop.say();
    let goodbye = "421 4.3.2 shutting down, please come back soon\r\n";
    assert_eq!(hear(&mut idle).await, goodbye);
    assert_eq!(hear(&mut busy).await, goodbye);
    house.close().await;
}

#[tokio::test]
async fn last_words_are_heard() {
    let house = House::open(Service::Smtp).await;
    let mut peer = TcpStream::connect(house.address).await.unwrap();
    peer.write_all(&[b"GET / HTTP/1.1\r\n".to_vec(), vec![b'x'; 100_000]].concat()).await.unwrap();
    let end = "500 5.5.1 this is a mail server speaking SMTP, closing\r\n";
    assert!(hear_until(&mut peer, end).await.ends_with(end));
    house.close().await;
}

#[test]
fn numbers_are_unique_and_grow() {
    let ids: Vec<String> = (0..1_000).map(|_| new_queue_id()).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(
        (base32(0).as_str(), base32(31).as_str(), base32(1_024).as_str()),
        ("0", "z", "100")
    );
}

#[tokio::test]
async fn a_server_without_domains_refuses_nobody_for_good() {
    let house = House::empty(Service::Smtp).await;
    let answers = house
        .say(b"EHLO peer.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nQUIT\r\n")
        .await;
    assert!(answers.contains("451 4.3.0 this server has no domain yet"), "{answers}");
    house.services.directory.create_domain("grace.test", "test").await.unwrap();
    let answers = house
        .say(b"EHLO peer.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nQUIT\r\n")
        .await;
    assert!(answers.contains("550 5.7.1"), "{answers}");
    house.close().await;
}
