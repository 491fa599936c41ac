//! A name server on loopback with a zone of the test's own, for tests that look names up.
//!
//! ```text
//!   Zone: name, kind ─▶ records | SERVFAIL | silence      ┌─ UDP, cut off when it does not fit
//!         nothing of the name ─▶ NXDOMAIN                 Server
//!         another kind only   ─▶ no such record           └─ TCP, whole
//! ```

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, MX, PTR, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

use super::Resolver;
use crate::config::limits::Dns;
use crate::config::names::Nameserver;

/// How long the zone's answers may be kept, in seconds.
const TTL_S: u32 = 60;
/// Longest chain of aliases that is followed.
const ALIASES_MAX: usize = 8;

/// What is answered about a name.
#[derive(Debug, Clone)]
enum Answer {
    Records(Vec<RData>),
    Broken,
    Silence,
}

/// The names of a test.
#[derive(Debug, Clone, Default)]
pub(crate) struct Zone {
    answers: BTreeMap<(Name, RecordType), Answer>,
}

impl Zone {
    /// Adds a record; several make one answer.
    pub(crate) fn with(mut self, name: &str, data: RData) -> Self {
        let answer = self
            .answers
            .entry((named(name), data.record_type()))
            .or_insert_with(|| Answer::Records(Vec::new()));
        match answer {
            Answer::Records(records) => records.push(data),
            other => *other = Answer::Records(vec![data]),
        }
        self
    }

    pub(crate) fn a(self, name: &str, address: &str) -> Self {
        self.with(name, RData::A(A(address.parse().expect("an IPv4 address"))))
    }

    pub(crate) fn aaaa(self, name: &str, address: &str) -> Self {
        self.with(name, RData::AAAA(AAAA(address.parse().expect("an IPv6 address"))))
    }

    pub(crate) fn mx(self, name: &str, preference: u16, host: &str) -> Self {
        self.with(name, RData::MX(MX::new(preference, named(host))))
    }

    /// A text in strings of 255 bytes at most.
    pub(crate) fn txt(self, name: &str, text: &str) -> Self {
        let strings: Vec<&[u8]> = text.as_bytes().chunks(255).collect();
        self.txt_strings(name, &strings)
    }

    pub(crate) fn txt_strings<S: AsRef<[u8]>>(self, name: &str, strings: &[S]) -> Self {
        let strings = strings.iter().map(AsRef::as_ref).collect();
        self.with(name, RData::TXT(TXT::from_bytes(strings)))
    }

    /// The name of an address, written as such or as a name below `arpa`.
    pub(crate) fn ptr(self, address: &str, name: &str) -> Self {
        let at = address.parse::<std::net::IpAddr>().map_or_else(|_| named(address), Name::from);
        self.with(&at.to_string(), RData::PTR(PTR(named(name))))
    }

    pub(crate) fn cname(self, name: &str, target: &str) -> Self {
        self.with(name, RData::CNAME(CNAME(named(target))))
    }

    /// Questions of this kind about the name are answered SERVFAIL.
    pub(crate) fn broken(mut self, name: &str, kind: RecordType) -> Self {
        self.answers.insert((named(name), kind), Answer::Broken);
        self
    }

    /// Questions of this kind about the name are not answered.
    pub(crate) fn silent(mut self, name: &str, kind: RecordType) -> Self {
        self.answers.insert((named(name), kind), Answer::Silence);
        self
    }

    /// Questions of this kind about the name are not answered, unless there is something to say.
    pub(crate) fn silent_where_empty(mut self, name: &str, kind: RecordType) -> Self {
        self.answers.entry((named(name), kind)).or_insert(Answer::Silence);
        self
    }

    /// The answer to a question; none: silence.
    fn answer(&self, question: &Message) -> Option<Message> {
        let query = question.queries.first()?;
        let mut reply = Message::response(question.metadata.id, question.metadata.op_code);
        reply.metadata.recursion_desired = question.metadata.recursion_desired;
        reply.metadata.recursion_available = true;
        reply.add_query(query.clone());
        let mut name = query.name.to_lowercase();
        for _ in 0..ALIASES_MAX {
            match self.answers.get(&(name.clone(), query.query_type)) {
                Some(Answer::Records(records)) => {
                    let record =
                        |data: &RData| Record::from_rdata(name.clone(), TTL_S, data.clone());
                    reply.add_answers(records.iter().map(record));
                    return Some(reply);
                }
                Some(Answer::Broken) => {
                    reply.metadata.response_code = ResponseCode::ServFail;
                    return Some(reply);
                }
                Some(Answer::Silence) => return None,
                None => {}
            }
            let Some(Answer::Records(alias)) = self.answers.get(&(name.clone(), RecordType::CNAME))
            else {
                break;
            };
            let Some(RData::CNAME(target)) = alias.first() else { break };
            reply.add_answer(Record::from_rdata(name, TTL_S, RData::CNAME(target.clone())));
            name = target.0.to_lowercase();
        }
        if !self.answers.keys().any(|(known, _)| name.zone_of(known)) {
            reply.metadata.response_code = ResponseCode::NXDomain;
        }
        Some(reply)
    }
}

fn named(name: &str) -> Name {
    if name == "." {
        return Name::root();
    }
    super::name_of(name).expect("a domain name").to_lowercase()
}

/// How often the server was asked.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) udp: AtomicUsize,
    pub(crate) tcp: AtomicUsize,
}

/// A running name server; it ends with its handle.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) asked: Arc<Asked>,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(crate) async fn start(zone: Zone) -> Self {
        let (udp, tcp) = sockets().await;
        let address = udp.local_addr().expect("a bound socket");
        let (zone, asked) = (Arc::new(zone), Arc::new(Asked::default()));
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(udp, Arc::clone(&zone), Arc::clone(&asked)));
        tasks.spawn(serve_tcp(tcp, zone, Arc::clone(&asked)));
        Self { address, asked, _tasks: tasks }
    }

    /// Settings that ask this server, and do not wait long for it.
    pub(crate) fn settings(&self) -> Dns {
        Dns { resolvers: vec![Nameserver(self.address)], timeout_ms: 500, ..Dns::default() }
    }

    pub(crate) fn resolver(&self) -> Resolver {
        Resolver::new(&self.settings()).expect("settings with a server")
    }
}

/// The same port, for both.
async fn sockets() -> (UdpSocket, TcpListener) {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let at = tcp.local_addr().expect("a bound socket");
        if let Ok(udp) = UdpSocket::bind(at).await {
            return (udp, tcp);
        }
    }
}

async fn serve_udp(socket: UdpSocket, zone: Arc<Zone>, asked: Arc<Asked>) {
    let mut buffer = vec![0; 4_096];
    while let Ok((count, peer)) = socket.recv_from(&mut buffer).await {
        asked.udp.fetch_add(1, Ordering::SeqCst);
        let question = Message::from_vec(&buffer[..count]).expect("a question");
        let Some(reply) = zone.answer(&question) else { continue };
        let mut bytes = reply.to_vec().expect("an answer");
        if bytes.len() > usize::from(question.max_payload()) {
            bytes = reply.truncate().to_vec().expect("an answer cut off");
        }
        socket.send_to(&bytes, peer).await.expect("loopback takes it");
    }
}

async fn serve_tcp(listener: TcpListener, zone: Arc<Zone>, asked: Arc<Asked>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve_stream(stream, Arc::clone(&zone), Arc::clone(&asked)));
    }
}

async fn serve_stream(mut stream: TcpStream, zone: Arc<Zone>, asked: Arc<Asked>) {
    while let Ok(length) = stream.read_u16().await {
        asked.tcp.fetch_add(1, Ordering::SeqCst);
        let mut bytes = vec![0; usize::from(length)];
        stream.read_exact(&mut bytes).await.expect("a whole question");
        let question = Message::from_vec(&bytes).expect("a question");
        let Some(reply) = zone.answer(&question) else { continue };
        let bytes = reply.to_vec().expect("an answer");
        let length = u16::try_from(bytes.len()).expect("an answer fits");
        stream.write_u16(length).await.expect("loopback takes it");
        stream.write_all(&bytes).await.expect("loopback takes it");
    }
}
