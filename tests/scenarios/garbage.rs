//! Ten thousand connections that are no mail: random bytes, half TLS hellos, HTTP, scanners'
//! probes, commands broken off, resets, silence. Afterwards the daemon is as it was before and
//! still serves.
//!
//! `GRACE_GARBAGE` says how many; `GRACE_SEED` replays what is sent. The connections come from many
//! loopback addresses, so that the limit per address does not turn them away at the door.

use std::collections::VecDeque;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use grace_tests::house::House;
use grace_tests::log::{self, Mark};
use grace_tests::seed::{self, Seed};
use grace_tests::wire::{self, Wire};
use grace_tests::{corpus, figure, program, script, usage};
use socket2::{Domain, Protocol, Socket, Type};

/// Connections in all.
const CONNECTIONS: u64 = 10_000;
/// Of those, before the daemon's memory is looked at: its pools and caches fill once.
const WARM_UP: u64 = 2_000;
/// Clients at once.
const LANES: u64 = 24;
/// What sessions leave behind is the question here, not what the database keeps of them on purpose.
const STORE: &str = "[store]\ntrace_hours = 0\n";
/// How much resident memory may grow from the end of the warm-up to the end, in KiB. An allocator
/// keeps what it once needed for as many sessions at once; a leak of 1 KiB a session would be 8
/// MiB.
const GROWTH_KIB_MAX: u64 = 4_096;
/// Longest that a client listens before it leaves, in milliseconds.
const LISTEN_MS: u64 = 30;
/// How long the daemon may take to be as before once all are gone.
const SETTLE: Duration = Duration::from_secs(20);

/// One way to be no mail client.
#[derive(Clone, Copy)]
enum Manner {
    /// Bytes of chance.
    Noise,
    /// A TLS hello, cut anywhere.
    HalfHello,
    /// A browser, a proxy's client.
    Http,
    /// What port scanners ask.
    Probe,
    /// Comes and goes.
    ClosedAtOnce,
    /// Comes and is reset.
    Reset,
    /// Mail, broken off anywhere.
    BrokenSmtp,
    /// The same for IMAP.
    BrokenImap,
    /// A line without an end.
    EndlessLine,
    /// STARTTLS, then noise where the hello should be.
    BrokenTls,
    /// Says nothing and stays until others come.
    Silent,
}

const MANNERS: &[Manner] = &[
    Manner::Noise,
    Manner::HalfHello,
    Manner::Http,
    Manner::Probe,
    Manner::ClosedAtOnce,
    Manner::Reset,
    Manner::BrokenSmtp,
    Manner::BrokenImap,
    Manner::EndlessLine,
    Manner::BrokenTls,
    Manner::Silent,
];

/// Silent visitors that one lane keeps at once.
const SILENT_MAX: usize = 8;

const HTTP: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\nHost: mail.grace.test\r\nUser-Agent: x\r\n\r\n",
    b"CONNECT mail.example.org:25 HTTP/1.0\r\n\r\n",
    b"POST /x HTTP/1.1\r\nContent-Length: 99\r\n\r\nHELO x\r\nMAIL FROM:<a@b>\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
];

const SMTP: &[u8] = b"EHLO x.example.org\r\nMAIL FROM:<a@example.org> BODY=8BITMIME\r\n\
    RCPT TO:<ann@grace.test>\r\nDATA\r\nSubject: never ends\r\n\r\nbody body body\r\n";
const IMAP: &[u8] = b"a1 CAPABILITY\r\na2 LOGIN {400}\r\na3 LOGIN \"ann@grace.test\" \"no\"\r\n\
    a4 AUTHENTICATE PLAIN\r\n====\r\na5 APPEND INBOX {100000000}\r\n";

/// What scanners ask; real ones' probes where their table is, the bytes in its last column.
fn probes() -> Vec<Vec<u8>> {
    let own = [
        &b"\r\n\r\n"[..],
        b"HELP\r\n",
        b"\x16\x03\0\0S\x01\0\0O\x03\0",
        b"\0\0\0\x0b\xff\xffstats",
    ];
    let mut probes: Vec<Vec<u8>> = own.iter().map(|probe| probe.to_vec()).collect();
    let shared = corpus::shared("smtp/probes", "garbage, the scanners' probes");
    let table = shared.and_then(|folder| fs::read_to_string(folder.join("nmap-probes.tsv")).ok());
    for line in table.unwrap_or_default().lines() {
        let bytes = line.rsplit('\t').next().map(wire::unescape).unwrap_or_default();
        probes.extend((!bytes.is_empty()).then_some(bytes));
    }
    probes
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()).collect()
}

/// A hello that a TLS library wrote, taken by connecting it to a listener of ours.
fn hello() -> Vec<u8> {
    let code = "import ssl\n\
                c, i, o = ssl.create_default_context(), ssl.MemoryBIO(), ssl.MemoryBIO()\n\
                s = c.wrap_bio(i, o, server_hostname='mail.grace.test')\n\
                try: s.do_handshake()\nexcept ssl.SSLWantReadError: pass\nprint(o.read().hex())";
    let text = program::run_ok(script::python().args(["-c", code]));
    hexadecimal(text.trim()).expect("a hello in hexadecimal")
}

/// What the clients share.
struct Stock {
    ports: Vec<u16>,
    probes: Vec<Vec<u8>>,
    hello: Vec<u8>,
}

/// A socket from one of many loopback addresses.
fn connect(port: u16, chance: &mut Seed) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    let host = u8::try_from(chance.between(1, 250)).unwrap_or(1);
    let from = Ipv4Addr::new(127, 0, 7, host);
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    Ok(socket)
}

/// One visit; the connection of a silent one, which stays. What fails here after the connection
/// stands fails because the daemon hung up, which it may.
fn visit(stock: &Stock, chance: &mut Seed) -> std::io::Result<Option<TcpStream>> {
    let pick = |count: usize, chance: &mut Seed| {
        usize::try_from(chance.between(0, count as u64 - 1)).unwrap_or_default()
    };
    let port = *stock.ports.get(pick(stock.ports.len(), chance)).expect("a door");
    let manner = *MANNERS.get(pick(MANNERS.len(), chance)).expect("a manner");
    let socket = connect(port, chance)?;
    if let Manner::Reset = manner {
        // No FIN: the other side sees a reset.
        socket.set_linger(Some(Duration::ZERO))?;
        return Ok(None);
    }
    let mut stream = TcpStream::from(socket);
    let cut = |bytes: &[u8], chance: &mut Seed| {
        let length = pick(bytes.len(), chance) + 1;
        bytes.get(..length).unwrap_or_default().to_vec()
    };
    match manner {
        Manner::ClosedAtOnce | Manner::Reset => return Ok(None),
        Manner::Silent => return Ok(Some(stream)),
        Manner::Noise => {
            let length = pick(4_096, chance);
            stream.write_all(&chance.bytes(length))?;
        }
        Manner::HalfHello => stream.write_all(&cut(&stock.hello, chance))?,
        Manner::Http => stream.write_all(HTTP.get(pick(HTTP.len(), chance)).expect("a request"))?,
        Manner::Probe => {
            stream
                .write_all(stock.probes.get(pick(stock.probes.len(), chance)).expect("a probe"))?;
        }
        Manner::BrokenSmtp => stream.write_all(&cut(SMTP, chance))?,
        Manner::BrokenImap => stream.write_all(&cut(IMAP, chance))?,
        Manner::EndlessLine => stream.write_all(&vec![b'A'; 70_000])?,
        Manner::BrokenTls => {
            stream.write_all(b"EHLO x.example.org\r\nSTARTTLS\r\n")?;
            stream.write_all(&chance.bytes(300))?;
        }
    }
    listen(&mut stream, chance)?;
    Ok(None)
}

/// Hears what the daemon says for a moment, and leaves in one way or another.
fn listen(stream: &mut TcpStream, chance: &mut Seed) -> std::io::Result<()> {
    if chance.number().is_multiple_of(2) {
        stream.shutdown(Shutdown::Write)?;
    }
    stream.set_read_timeout(Some(Duration::from_millis(chance.between(1, LISTEN_MS))))?;
    let mut heard = [0; 512];
    while stream.read(&mut heard)? > 0 {}
    Ok(())
}

/// Many visits at once.
fn visits(stock: &Stock, count: u64, chance: &mut Seed) {
    thread::scope(|scope| {
        for lane in 0..LANES {
            let mut chance = Seed::new(chance.number());
            let share = count / LANES + u64::from(lane < count % LANES);
            scope.spawn(move || {
                let mut silent = VecDeque::new();
                for _ in 0..share {
                    // A visit that the daemon cuts short is one of those wanted.
                    silent.extend(visit(stock, &mut chance).ok().flatten());
                    if silent.len() > SILENT_MAX {
                        silent.pop_front();
                    }
                }
            });
        }
    });
}

/// Waits until no mail session is open, by the daemon's own counters.
fn all_gone(house: &House) {
    let until = Instant::now() + SETTLE;
    while house.sessions() > 0 {
        assert!(Instant::now() < until, "{} sessions are left", house.sessions());
        // The counters tell nobody when they change.
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn ten_thousand_visitors_who_want_no_mail() {
    let count = seed::times("GRACE_GARBAGE", CONNECTIONS);
    let mut chance = Seed::of_today();
    let seed = chance.start();
    let house = House::start_with(STORE);
    let ann = house.account("ann");
    let ports = ["Smtp", "Submission", "Submissions", "Imap", "Imaps"];
    let stock = Stock {
        ports: ports.iter().map(|name| house.port(name)).collect(),
        probes: probes(),
        hello: hello(),
    };
    Wire::deliver(&house, &ann, "before");
    let files = house.usage().files;

    visits(&stock, WARM_UP.min(count / 5), &mut chance);
    all_gone(&house);
    let warm = usage::settle(house.id(), SETTLE, |usage| usage.files <= files);
    let begun = Instant::now();
    visits(&stock, count - WARM_UP.min(count / 5), &mut chance);
    let took = begun.elapsed();
    all_gone(&house);
    let after = usage::settle(house.id(), SETTLE, |usage| {
        let resident = usage.resident_kib <= warm.resident_kib + GROWTH_KIB_MAX;
        resident && usage.files <= files && usage.threads <= warm.threads
    });

    let told = format!("seed {seed}: {files} files at first, warm {warm:?}, after {after:?}");
    house.log().assert_healthy();
    let seen = log::number(&house.ctl_json(&["stats"]), "connections_total");
    assert!(seen >= count, "{seen} of {count} connections came to the daemon: {told}");
    assert_eq!(house.log().events(Mark::START, "SessionPanicked").len(), 0, "{told}");
    assert!(after.files <= files, "file descriptors are left open: {told}");
    assert!(after.threads <= warm.threads, "threads are left: {told}");
    assert!(after.resident_kib <= warm.resident_kib + GROWTH_KIB_MAX, "memory grows: {told}");
    Wire::deliver(&house, &ann, "after");
    assert_eq!(house.messages(&ann), 2, "it still serves");
    figure(&format!(
        "{count} garbage connections (seed {seed}), the last {} in {:.0} s: 0 panics, {} files (before \
         {files}), {} threads, {} KiB resident (warm {} KiB, bound +{GROWTH_KIB_MAX})",
        count - WARM_UP.min(count / 5),
        took.as_secs_f64(),
        after.files,
        after.threads,
        after.resident_kib,
        warm.resident_kib
    ));
}
