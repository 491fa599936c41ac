//! `grace-tests imap-idle`: ten thousand clients in IDLE over TLS, what each costs, and how soon
//! one of them hears of a delivery.
//!
//! ```text
//!   crowd: N - 1 sessions of some accounts ══TLS, IDLE══▶ graced ◀──SMTP── a letter for ann
//!   ann:   one session                     ◀──EXISTS─────┘  └──250──▶ the clock starts
//! ```
//! Not here: what IDLE tells (`stress`), clients of SMTP (`scenarios/idle.rs`).

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream as Plain};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use grace_tests::house::{Account, HOSTNAME, House};
use grace_tests::program;

/// What it is called with.
pub(crate) const USAGE: &str = "grace-tests imap-idle [--sessions N] [--deliveries N]";

/// Accounts the crowd belongs to.
const ACCOUNTS: usize = 20;
/// Sessions that are begun at once: a handshake is the processor's work.
const BEGINNING_MAX: usize = 32;
/// Sessions that come and go before memory is looked at: pools and caches fill once.
const WARM: usize = 200;
/// Files a process needs beside its connections.
const FILES_MORE: usize = 256;
/// How long a delivery may take to be heard of.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is to be done.
#[derive(Debug, Clone, Copy)]
struct Order {
    sessions: usize,
    deliveries: usize,
}

/// Does what the options say; `None`: they say nothing that makes sense.
pub(crate) fn run(options: &[String]) -> Option<Result<(), String>> {
    let mut order = Order { sessions: 10_000, deliveries: 200 };
    for pair in options.chunks(2) {
        let [name, value] = pair else { return None };
        match name.as_str() {
            "--sessions" => order.sessions = value.parse().ok().filter(|n| *n > 0)?,
            "--deliveries" => order.deliveries = value.parse().ok().filter(|n| *n > 0)?,
            _ => return None,
        }
    }
    more_files(order.sessions);
    let many = order.sessions + WARM + 100;
    let house = House::start_with(&format!(
        "[limits]\nconnections_max = {many}\nconnections_per_address_max = {many}\n\
         login_failure_delay_ms = 0\n"
    ));
    Some(measure(&house, order).map_err(|error| format!("{error}; {}", said(&house))))
}

/// Why the daemon ended sessions, of the last that it ended.
fn said(house: &House) -> String {
    let text = house.log().text();
    let ended: Vec<&str> = text.lines().filter(|line| line.contains("ConnectionClosed")).collect();
    let from = ended.len().saturating_sub(3);
    ended.get(from..).unwrap_or_default().join("\n")
}

fn measure(house: &House, order: Order) -> io::Result<()> {
    let Order { sessions, deliveries } = order;
    let ann = house.account("ann");
    let crowd: Vec<Account> =
        (0..ACCOUNTS).map(|number| house.account(&format!("user{number}"))).collect();
    let runtime = Runtime::new()?;
    let port = house.port("Imaps");
    drop(runtime.block_on(idle(port, &crowd, WARM))?);
    let before_kib = house.usage().resident_kib;
    let begun = Instant::now();
    let held = runtime.block_on(idle(port, &crowd, sessions - 1))?;
    let heard = hear(&runtime, port, &ann)?;
    let took = begun.elapsed();
    let with_kib = house.usage().resident_kib;
    let each_kib = with_kib.saturating_sub(before_kib) as f64 / sessions as f64;
    println!(
        "{sessions} sessions in IDLE over TLS (begun in {:.1} s): {each_kib:.1} KiB resident each, \
         {with_kib} KiB in all",
        took.as_secs_f64()
    );
    let mut times = deliver(house, &ann, deliveries, &heard)?;
    times.sort_unstable();
    let part = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    println!(
        "{deliveries} deliveries to one of them, from 250 to EXISTS: {:.2} ms at the median, {:.2} \
         ms at 99 %",
        ms(part(50)),
        ms(part(99))
    );
    drop(held);
    Ok(())
}

/// Lets this process and its children have a file for each connection.
fn more_files(sessions: usize) {
    let files = format!("--nofile={0}:{0}", sessions + WARM + FILES_MORE);
    let this = std::process::id().to_string();
    program::run_ok(Command::new("prlimit").args(["--pid", &this, &files]));
}

/// Begins so many sessions, some at once.
async fn idle(port: u16, crowd: &[Account], count: usize) -> io::Result<Vec<TlsStream<TcpStream>>> {
    let turns = Arc::new(Semaphore::new(BEGINNING_MAX));
    let mut beginning = JoinSet::new();
    for account in crowd.iter().cycle().take(count) {
        let (turns, account) = (Arc::clone(&turns), account.clone());
        beginning.spawn(async move {
            let _turn = turns.acquire().await.map_err(io::Error::other)?;
            begin(port, &account).await
        });
    }
    let mut held = Vec::with_capacity(count);
    while let Some(begun) = beginning.join_next().await {
        held.push(begun.map_err(io::Error::other)??);
    }
    Ok(held)
}

/// One session, up to its IDLE.
async fn begin(port: u16, account: &Account) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(HOSTNAME).map_err(io::Error::other)?;
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.set_nodelay(true)?;
    let mut stream = connector()?.connect(name, stream).await?;
    until(&mut stream, "* OK").await?;
    let password = account.password.replace('\\', "\\\\").replace('"', "\\\"");
    let commands = [
        (format!("a LOGIN {} \"{password}\"\r\n", account.address), "a OK"),
        ("b SELECT INBOX\r\n".to_owned(), "b OK"),
        ("c IDLE\r\n".to_owned(), "+ "),
    ];
    for (command, answer) in commands {
        stream.write_all(command.as_bytes()).await?;
        until(&mut stream, answer).await?;
    }
    Ok(stream)
}

/// Reads until a line begins with this.
async fn until(stream: &mut TlsStream<TcpStream>, begins: &str) -> io::Result<()> {
    let mut said = Vec::new();
    loop {
        let mut bytes = [0; 1024];
        let count = stream.read(&mut bytes).await?;
        said.extend_from_slice(bytes.get(..count).unwrap_or_default());
        let text = String::from_utf8_lossy(&said);
        if text.ends_with("\r\n") && text.lines().any(|line| line.starts_with(begins)) {
            return Ok(());
        }
        if count == 0 {
            return Err(io::Error::other(format!("waited for {begins:?}, heard {text:?}")));
        }
    }
}

/// A session in IDLE that tells when it hears of EXISTS.
fn hear(runtime: &Runtime, port: u16, ann: &Account) -> io::Result<Receiver<Instant>> {
    let mut stream = runtime.block_on(begin(port, ann))?;
    let (tell, heard) = mpsc::channel();
    runtime.spawn(async move {
        while until(&mut stream, "*").await.is_ok() {
            if tell.send(Instant::now()).is_err() {
                return;
            }
        }
    });
    Ok(heard)
}

/// Sends letters, one after the other; from each 250 to its EXISTS.
fn deliver(
    house: &House,
    ann: &Account,
    count: usize,
    heard: &Receiver<Instant>,
) -> io::Result<Vec<Duration>> {
    let stream = Plain::connect((Ipv4Addr::LOCALHOST, house.port("Smtp")))?;
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    reply(&mut stream)?;
    let mut times = Vec::with_capacity(count);
    say(&mut stream, "EHLO client.example.org\r\n")?;
    for number in 0..count {
        say(&mut stream, "MAIL FROM:<sender@example.org>\r\n")?;
        say(&mut stream, &format!("RCPT TO:<{}>\r\n", ann.address))?;
        say(&mut stream, "DATA\r\n")?;
        say(&mut stream, &format!("Subject: number {number}\r\n\r\nbody\r\n.\r\n"))?;
        let acknowledged = Instant::now();
        let told = heard.recv_timeout(PATIENCE).map_err(io::Error::other)?;
        times.push(told.saturating_duration_since(acknowledged));
    }
    Ok(times)
}

fn say(stream: &mut BufReader<Plain>, text: &str) -> io::Result<()> {
    stream.get_mut().write_all(text.as_bytes())?;
    reply(stream)
}

/// Reads a reply, all its lines, which must not refuse.
fn reply(stream: &mut BufReader<Plain>) -> io::Result<()> {
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        match line.as_bytes() {
            [b'2' | b'3', _, _, b'-', ..] => {}
            [b'2' | b'3', _, _, b' ', ..] => return Ok(()),
            _ => return Err(io::Error::other(format!("the server said {line:?}"))),
        }
    }
}

fn connector() -> io::Result<TlsConnector> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(Anybody(Arc::clone(&provider)));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Takes any certificate: the daemon's is its own, and tests of TLS check it.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
