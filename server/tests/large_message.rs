//! A message of 50 MiB passes, with its sender checked, and the server does not grow with it.
#![cfg(target_os = "linux")]
#![expect(clippy::indexing_slicing, reason = "a test may panic")]

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::timeout;
use zeroize::Zeroizing;

use grace_ipc::event::{EventKind, Service};
use gracedb::db::Db;
use gracedb::options::Options;

use graced::config::Config;
use graced::inbound::session;
use graced::net::listener::{self};
use graced::services::Services;
use graced::store;
use graced::telemetry::bus::Bus;

/// The largest message there may be, less some room for its header.
const BODY_BYTES: usize = (50 << 20) - 4_096;
/// How much the server may grow meanwhile, in KiB.
const GROWTH_KIB_MAX: u64 = 8 * 1_024;
/// Messages sent, one after the other.
const ROUNDS: usize = 5;
/// The first ones make the database's buffers, which all others use.
const WARM_UP: usize = 2;
/// Longer than it takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// A name server that knows of nothing.
async fn empty_dns() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = socket.local_addr().expect("a bound socket");
    tokio::spawn(async move {
        let mut bytes = [0; 1_024];
        while let Ok((count, peer)) = socket.recv_from(&mut bytes).await {
            // RFC 1035 4.1.1: a response (0x80), NXDOMAIN (3); the question stays as it was.
            bytes[2] |= 0x80;
            bytes[3] = 0x83;
            socket.send_to(&bytes[..count], peer).await.expect("loopback takes it");
        }
    });
    address
}

fn services(folder: &Path, dns: SocketAddr) -> Services {
    let text = format!(
        "hostname = \"mx.grace.test\"\n[dns]\nresolvers = [\"{dns}\"]\n\
         [authenticity]\nunchecked_networks = []\n[limits]\nmessage_bytes_max = 60000000\n"
    );
    let file = folder.join("c.toml");
    fs::write(&file, text).expect("a writable folder");
    let config = Config::load(Some(&file), Some(folder)).expect("a valid configuration");
    let bus = Bus::new(1_000);
    let db = Db::open(Options::new(folder.join("store")), store::SCHEMA).expect("a database");
    Services::new(Arc::new(config), bus, db).expect("settings that fit").0
}

/// A field of `/proc/self/status`, in KiB.
fn memory_kib(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the field");
    let number = line.trim_start_matches(':').trim().trim_end_matches(" kB");
    number.parse().expect("a number")
}

/// Sends one message and returns the last answer.
async fn send(address: SocketAddr) -> String {
    let mut peer = TcpStream::connect(address).await.expect("the door is open");
    let head = "EHLO x.example\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<anna@grace.test>\r\nDATA\r\n\
                DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=x.example;\r\n \
                s=s; h=From; bh=AAAA; b=AAAA\r\n\
                DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=x.example;\r\n \
                s=s; h=From; bh=AAAA; b=AAAA\r\n\
                From: a@x.example\r\n\r\n";
    peer.write_all(head.as_bytes()).await.expect("it is read");
    let line = [&[b'x'; 998][..], b"\r\n"].concat();
    for _ in 0..BODY_BYTES / line.len() {
        peer.write_all(&line).await.expect("it is read");
    }
    peer.write_all(b".\r\nQUIT\r\n").await.expect("it is read");
    let mut answers = String::new();
    peer.read_to_string(&mut answers).await.expect("it ends");
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_does_not_grow_with_a_message() {
    let folder = TempDir::new().expect("a folder");
    let services = services(folder.path(), empty_dns().await);
    services.directory.create_domain("grace.test", "test").await.expect("a domain");
    let password = Zeroizing::new("correct horse".to_owned());
    let anna = "anna@grace.test";
    services.directory.create_account(anna, password, "test").await.expect("an account");
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = socket.local_addr().expect("a bound socket");
    let given = services.clone();
    let run = move |visit| session::run(given.clone(), visit);
    let porter = services.porter.clone();
    let listening = tokio::spawn(listener::serve(porter, Service::Smtp, socket, run));
    let mut growth = Vec::new();
    for round in 0..ROUNDS {
        fs::write("/proc/self/clear_refs", "5").expect("the peak is forgotten");
        let before = memory_kib("VmRSS");
        let answers = timeout(PATIENCE, send(address)).await.expect("it ends in time");
        assert!(answers.contains("250 2.0.0 ok, queued as"), "{answers}");
        growth.push(memory_kib("VmHWM").saturating_sub(before));
        println!("message {round}: from {before} KiB, {} KiB more at the peak", growth[round]);
    }
    let mut reader = services.porter.bus.reader(usize::MAX);
    let events = reader.take(usize::MAX).events;
    let checked = events.iter().filter(|e| matches!(e.kind, EventKind::SenderChecked { .. }));
    assert_eq!(checked.count(), ROUNDS);
    services.porter.stop.say();
    timeout(PATIENCE, listening).await.expect("it stops").expect("sessions end");
    services.db.close();
    assert!(
        growth[WARM_UP..].iter().all(|&kib| kib < GROWTH_KIB_MAX),
        "KiB per message: {growth:?}"
    );
}
