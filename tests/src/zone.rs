//! A name server on loopback for daemons under test: a zone of their own, over UDP.
//!
//! ```text
//!   Zone: name, kind ─▶ records, those of what it is an alias of, too
//!         nothing of that name ─▶ NXDOMAIN; another kind only ─▶ none
//! ```
//! Invariants: it ends with its handle; a question that is no question is not answered.
//! Not here: anything that a real one does beyond that: recursion, TCP, DNSSEC.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

const A: u16 = 1;
const CNAME: u16 = 5;
const PTR: u16 = 12;
const MX: u16 = 15;
const TXT: u16 = 16;
const SRV: u16 = 33;
const TLSA: u16 = 52;
const IN: u16 = 1;
/// How long answers may be kept, in seconds: not at all, for tests change them.
const TTL_S: u32 = 0;

type Records = BTreeMap<(String, u16), Vec<Vec<u8>>>;

/// A running name server.
#[derive(Debug)]
pub struct Zone {
    address: SocketAddr,
    records: Arc<Mutex<Records>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Zone {
    /// Starts one that knows nothing.
    ///
    /// # Panics
    /// When loopback has no free port.
    #[must_use]
    pub fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = socket.local_addr().expect("a bound socket");
        let (records, stop) = (Arc::<Mutex<Records>>::default(), Arc::<AtomicBool>::default());
        let (shared, told) = (Arc::clone(&records), Arc::clone(&stop));
        let thread = thread::spawn(move || serve(&socket, &shared, &told));
        Self { address, records, stop, thread: Some(thread) }
    }

    /// Where it listens, for `[dns] resolvers`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds an address of a name.
    ///
    /// # Panics
    /// When the address is none.
    pub fn a(&self, name: &str, address: &str) {
        let address: Ipv4Addr = address.parse().expect("an IPv4 address");
        self.add(name, A, address.octets().to_vec());
    }

    /// Adds a server for a domain's mail; an empty name takes none (RFC 7505).
    pub fn mx(&self, name: &str, preference: u16, host: &str) {
        let mut data = preference.to_be_bytes().to_vec();
        data.extend(encoded(host));
        self.add(name, MX, data);
    }

    /// Adds a text.
    pub fn txt(&self, name: &str, text: &str) {
        let strings = text.as_bytes().chunks(255).flat_map(|part| {
            let length = u8::try_from(part.len()).unwrap_or(u8::MAX);
            std::iter::once(length).chain(part.iter().copied())
        });
        self.add(name, TXT, strings.collect());
    }

    /// Makes a name another one of a host.
    pub fn cname(&self, alias: &str, host: &str) {
        self.add(alias, CNAME, encoded(host));
    }

    /// Adds the name of an address, by the name below `arpa` that the address has.
    pub fn ptr(&self, address: &str, host: &str) {
        self.add(address, PTR, encoded(host));
    }

    /// Adds where a service is (RFC 2782): priority, weight, port, host.
    pub fn srv(&self, name: &str, (priority, weight, port): (u16, u16, u16), host: &str) {
        let mut data: Vec<u8> =
            [priority, weight, port].iter().flat_map(|n| n.to_be_bytes()).collect();
        data.extend(encoded(host));
        self.add(name, SRV, data);
    }

    /// Adds a record of a server's certificate (RFC 6698): usage, selector, matching type, data.
    pub fn tlsa(&self, name: &str, (usage, selector, matching): (u8, u8, u8), data: &[u8]) {
        self.add(name, TLSA, [&[usage, selector, matching], data].concat());
    }

    /// Forgets everything about a name.
    pub fn forget(&self, name: &str) {
        self.records().retain(|(known, _), _| !known.eq_ignore_ascii_case(name));
    }

    fn add(&self, name: &str, kind: u16, data: Vec<u8>) {
        self.records().entry((name.to_ascii_lowercase(), kind)).or_default().push(data);
    }

    fn records(&self) -> std::sync::MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Zone {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread, which reads one datagram more.
        if let Ok(socket) = UdpSocket::bind("127.0.0.1:0") {
            drop(socket.send_to(&[0], self.address));
        }
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn serve(socket: &UdpSocket, records: &Mutex<Records>, stop: &AtomicBool) {
    let mut buffer = [0; 4_096];
    while let Ok((count, peer)) = socket.recv_from(&mut buffer) {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let records = records.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reply) = buffer.get(..count).and_then(|question| reply(question, &records)) {
            // Who asked may be gone.
            drop(socket.send_to(&reply, peer));
        }
    }
}

/// The answer to a question (RFC 1035 4.1).
fn reply(question: &[u8], records: &Records) -> Option<Vec<u8>> {
    let (name, rest) = name(question.get(12..)?)?;
    let kind = u16::from_be_bytes([*rest.first()?, *rest.get(1)?]);
    let asked_bytes = question.len() - rest.len() + 4;
    let found = found(records, &name, kind);
    let below = format!(".{name}");
    let exists = records.keys().any(|(known, _)| *known == name || known.ends_with(&below));
    let mut reply = question.get(..2)?.to_vec();
    // A response, authoritative, recursion asked for and had; NXDOMAIN is 3.
    reply.extend([0x85, if exists { 0x80 } else { 0x83 }]);
    reply.extend(1u16.to_be_bytes());
    reply.extend(u16::try_from(found.len()).ok()?.to_be_bytes());
    reply.extend([0; 4]);
    reply.extend(question.get(12..asked_bytes)?);
    for (name, kind, data) in found {
        reply.extend(encoded(&name));
        reply.extend(kind.to_be_bytes());
        reply.extend(IN.to_be_bytes());
        reply.extend(TTL_S.to_be_bytes());
        reply.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
        reply.extend(data);
    }
    Some(reply)
}

/// The records of a name, or those of what it is an alias of behind that it is one: name, kind and
/// data.
fn found(records: &Records, name: &str, kind: u16) -> Vec<(String, u16, Vec<u8>)> {
    let of = |name: &str, kind: u16| {
        let data = records.get(&(name.to_owned(), kind)).cloned().unwrap_or_default();
        data.into_iter().map(|data| (name.to_owned(), kind, data)).collect::<Vec<_>>()
    };
    let mut found = of(name, kind);
    if found.is_empty() {
        found = of(name, CNAME);
        let host = found.first().and_then(|(_, _, data)| self::name(data));
        found.extend(host.map(|(host, _)| of(&host, kind)).unwrap_or_default());
    }
    found
}

/// The name at the start of some bytes, lower case, and what follows it.
fn name(mut bytes: &[u8]) -> Option<(String, &[u8])> {
    let mut labels = Vec::new();
    loop {
        let (&length, rest) = bytes.split_first()?;
        if length == 0 {
            return Some((labels.join("."), rest));
        }
        let (label, rest) = rest.split_at_checked(usize::from(length))?;
        labels.push(std::str::from_utf8(label).ok()?.to_ascii_lowercase());
        bytes = rest;
    }
}

fn encoded(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_answered() {
        let zone = Zone::start();
        zone.mx("example.test", 10, "mx.example.test");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let ask = |name: &str, kind: u16| {
            let mut question = vec![1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            question.extend(encoded(name));
            question.extend(kind.to_be_bytes());
            question.extend(IN.to_be_bytes());
            socket.send_to(&question, zone.address()).expect("sent");
            let mut reply = vec![0; 512];
            let count = socket.recv(&mut reply).expect("answered");
            reply.truncate(count);
            (reply[3] & 15, reply[7])
        };
        assert_eq!(ask("Example.test", MX), (0, 1));
        assert_eq!(ask("example.test", A), (0, 0));
        assert_eq!(ask("test", A), (0, 0), "there is something below it");
        assert_eq!(ask("other.test", MX), (3, 0));
    }
}
