//! Name servers on loopback for daemons under test: a root of their own, signed, over UDP and TCP.
//!
//! ```text
//!   .        all names but those below `plain`, signed (DNSSEC) by a key of its own
//!   plain.   delegated without a DS record: whatever stands below it is not signed
//! ```
//! Invariants: it ends with its handle; what is added is answered, and signed, when the call
//! returns.
//! Not here: what a daemon makes of the answers.

use std::fs;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hickory_server::Server;
use hickory_server::dnssec::NxProofKind;
use hickory_server::net::runtime::{Time, TokioRuntimeProvider};
use hickory_server::proto::dnssec::crypto::EcdsaSigningKey;
use hickory_server::proto::dnssec::rdata::DNSKEY;
use hickory_server::proto::dnssec::{Algorithm, DnssecSigner, SigningKey as _};
use hickory_server::proto::rr::rdata::tlsa::{CertUsage, Matching, Selector};
use hickory_server::proto::rr::rdata::{A, CNAME, MX, NS, PTR, SOA, SRV, TLSA, TXT};
use hickory_server::proto::rr::{LowerName, Name, RData, Record, RecordType};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, DnssecZoneHandler as _, ZoneType};
use tokio::net::{TcpListener, UdpSocket};
use tokio::runtime::Runtime;

/// The domain that is not signed, with all below it.
pub const PLAIN: &str = "plain";
/// How long answers may be kept, in seconds: not at all, for tests change them.
const TTL_S: u32 = 0;
/// How long a connection over TCP may say nothing.
const TCP_WAIT: Duration = Duration::from_secs(10);
/// Memory for answers over TCP, in bytes.
const TCP_BYTES: usize = 64 * 1_024;
/// How long signatures hold; longer than any test.
const SIGNED_FOR: Duration = Duration::from_secs(24 * 3_600);

type Names = Arc<InMemoryZoneHandler<TokioRuntimeProvider>>;

/// Running name servers.
pub struct Zone {
    address: SocketAddr,
    root: Names,
    plain: Names,
    anchor: String,
    runtime: Runtime,
}

impl Zone {
    /// Starts some that know nothing.
    ///
    /// # Panics
    /// When loopback has no free port.
    #[must_use]
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a thread");
        let (root, plain) = (names(&Name::root(), true), names(&name(PLAIN), false));
        let (signer, anchor) = key();
        let (address, server) = runtime.block_on(async {
            root.add_zone_signing_key(signer).await.expect("a key of the right kind");
            let above = Catalog::new();
            let mut served = Served { all: Catalog::new(), above };
            for catalog in [&mut served.all, &mut served.above] {
                catalog.upsert(LowerName::from(Name::root()), vec![Arc::clone(&root) as _]);
            }
            served.all.upsert(LowerName::from(name(PLAIN)), vec![Arc::clone(&plain) as _]);
            let (udp, tcp) = sockets().await;
            let address = udp.local_addr().expect("a bound socket");
            let mut server = Server::new(served);
            server.register_socket(udp);
            server.register_listener(tcp, TCP_WAIT, TCP_BYTES);
            (address, server)
        });
        // It runs in tasks of the runtime, and ends with that.
        runtime.spawn(async move {
            let mut server = server;
            drop(server.block_until_done().await);
        });
        let zone = Self { address, root, plain, anchor, runtime };
        zone.add_to(&zone.root, PLAIN, RData::NS(NS(name("ns.plain"))));
        zone
    }

    /// Where they listen, for `[dns] resolvers`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Writes the key of the root into a file of a folder, for `[dns] trust_anchor`.
    ///
    /// # Panics
    /// When the folder cannot be written to.
    #[must_use]
    pub fn anchor(&self, folder: &Path) -> PathBuf {
        let file = folder.join("root.key");
        fs::write(&file, &self.anchor).expect("the folder is writable");
        file
    }

    /// Adds an address of a name.
    ///
    /// # Panics
    /// When the address is none.
    pub fn a(&self, name: &str, address: &str) {
        self.add(name, RData::A(A(address.parse().expect("an IPv4 address"))));
    }

    /// Adds a server for a domain's mail; an empty name takes none (RFC 7505).
    pub fn mx(&self, domain: &str, preference: u16, host: &str) {
        self.add(domain, RData::MX(MX::new(preference, name(host))));
    }

    /// Adds a text.
    pub fn txt(&self, name: &str, text: &str) {
        let strings = text.as_bytes().chunks(255).collect();
        self.add(name, RData::TXT(TXT::from_bytes(strings)));
    }

    /// Makes a name another one of a host.
    pub fn cname(&self, alias: &str, host: &str) {
        self.add(alias, RData::CNAME(CNAME(name(host))));
    }

    /// Adds the name of an address, by the name below `arpa` that the address has.
    pub fn ptr(&self, address: &str, host: &str) {
        self.add(address, RData::PTR(PTR(name(host))));
    }

    /// Adds where a service is (RFC 2782): priority, weight, port, host.
    pub fn srv(&self, at: &str, (priority, weight, port): (u16, u16, u16), host: &str) {
        self.add(at, RData::SRV(SRV::new(priority, weight, port, name(host))));
    }

    /// Adds a record of a server's certificate (RFC 6698): usage, selector, matching type, data.
    pub fn tlsa(&self, name: &str, (usage, selector, matching): (u8, u8, u8), data: &[u8]) {
        let usage = CertUsage::from(usage);
        let (selector, matching) = (Selector::from(selector), Matching::from(matching));
        self.add(name, RData::TLSA(TLSA::new(usage, selector, matching, data.to_vec())));
    }

    /// Takes the signatures off the records of a name, as who forges them would have to.
    pub fn unsign(&self, name_of: &str) {
        let name = LowerName::from(name(name_of));
        self.runtime.block_on(async {
            for (key, records) in self.root.records_mut().await.iter_mut() {
                if key.name == name {
                    Arc::make_mut(records).clear_rrsigs();
                }
            }
        });
    }

    /// Forgets everything about a name.
    pub fn forget(&self, name_of: &str) {
        let name = LowerName::from(name(name_of));
        let names = self.names_of(name_of);
        self.runtime.block_on(async {
            names.records_mut().await.retain(|key, _| key.name != name);
        });
        self.sign();
    }

    fn add(&self, at: &str, data: RData) {
        self.add_to(self.names_of(at), at, data);
    }

    fn add_to(&self, names: &Names, at: &str, data: RData) {
        let record = Record::from_rdata(name(at), TTL_S, data);
        self.runtime.block_on(async {
            let serial = names.serial().await;
            names.upsert(record, serial).await;
        });
        self.sign();
    }

    fn sign(&self) {
        let signed = self.runtime.block_on(self.root.secure_zone());
        signed.expect("the zone has a key");
    }

    fn names_of(&self, at: &str) -> &Names {
        if name(PLAIN).zone_of(&name(at)) { &self.plain } else { &self.root }
    }
}

/// What the root says, and what stands below it.
struct Served {
    all: Catalog,
    /// The root alone: whether a domain is signed is said above it (RFC 4035 3.1.4.1).
    above: Catalog,
}

impl RequestHandler for Served {
    fn handle_request<'a, 'b, 'c, R, T>(
        &'a self,
        request: &'b Request,
        response_handle: R,
    ) -> Pin<Box<dyn Future<Output = ResponseInfo> + Send + 'c>>
    where
        'a: 'c,
        'b: 'c,
        R: ResponseHandler + 'c,
        T: Time + 'c,
        Self: 'c,
    {
        let query = request.request_info().map(|info| info.query.query_type());
        let catalog =
            if query.is_ok_and(|kind| kind == RecordType::DS) { &self.above } else { &self.all };
        catalog.handle_request::<R, T>(request, response_handle)
    }
}

/// An empty zone.
fn names(origin: &Name, is_signed: bool) -> Names {
    let proof = is_signed.then_some(NxProofKind::Nsec);
    let mut names =
        InMemoryZoneHandler::empty(origin.clone(), ZoneType::Primary, AxfrPolicy::Deny, proof);
    let server = name("ns.plain");
    let soa = SOA::new(server.clone(), name("admin.plain"), 1, 3_600, 600, 86_400, TTL_S);
    for data in [RData::SOA(soa), RData::NS(NS(server))] {
        names.upsert_mut(Record::from_rdata(origin.clone(), TTL_S, data), 1);
    }
    Arc::new(names)
}

/// A key of the root, and the record that tells others of it.
fn key() -> (DnssecSigner, String) {
    let key = EcdsaSigningKey::generate_pkcs8(Algorithm::ECDSAP256SHA256).expect("chance");
    let key = EcdsaSigningKey::from_pkcs8(&key, Algorithm::ECDSAP256SHA256).expect("just made");
    let record = DNSKEY::from_key(&key.to_public_key().expect("it has one"));
    let anchor = format!(". {TTL_S} IN DNSKEY {record}\n");
    (DnssecSigner::new(record, Box::new(key), Name::root(), SIGNED_FOR), anchor)
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

fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).expect("a domain name");
    name.set_fqdn(true);
    name
}

#[cfg(test)]
mod tests {
    use hickory_server::proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};

    use super::*;

    #[test]
    fn questions_are_answered_and_answers_signed() {
        let zone = Zone::start();
        zone.mx("example.test", 10, "mx.example.test");
        zone.mx("example.plain", 10, "mx.example.plain");
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        let ask = |of: &str, kind: RecordType| {
            let mut question = Message::new(1, MessageType::Query, OpCode::Query);
            question.add_query(Query::query(name(of), kind));
            question.edns.get_or_insert_with(Edns::new).enable_dnssec();
            let question = question.to_vec().expect("a question");
            socket.send_to(&question, zone.address()).expect("sent");
            let mut reply = vec![0; 4_096];
            let count = socket.recv(&mut reply).expect("answered");
            let reply = Message::from_vec(&reply[..count]).expect("an answer");
            let is = |kind| reply.answers.iter().filter(|r| r.record_type() == kind).count();
            (reply.response_code, is(kind), is(RecordType::RRSIG))
        };
        assert_eq!(ask("Example.test", RecordType::MX), (ResponseCode::NoError, 1, 1));
        assert_eq!(ask("example.plain", RecordType::MX), (ResponseCode::NoError, 1, 0));
        assert_eq!(ask("example.test", RecordType::A), (ResponseCode::NoError, 0, 0));
        assert_eq!(ask("other.test", RecordType::MX), (ResponseCode::NXDomain, 0, 0));
        zone.unsign("example.test");
        assert_eq!(ask("example.test", RecordType::MX), (ResponseCode::NoError, 1, 0));
        zone.forget("example.test");
        assert_eq!(ask("example.test", RecordType::MX), (ResponseCode::NXDomain, 0, 0));
    }
}
