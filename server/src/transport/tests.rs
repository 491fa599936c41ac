//! What servers must show, by real handshakes on loopback and by the DNS of the test's own.
//!
//! Not here: the decision itself (`decision`), policies over HTTPS (`sts`), signed answers: those
//! are tried with a signed root by two servers, in the scenarios.

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use gracedb::options::Options;
use gracedb::view::View as _;
use rustls::RootCertStore;
use rustls_pki_types::ServerName;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::testing::{Authority, Leaf, Time, self_signed};
use super::*;
use crate::dns::testing::{Server, Zone};
use crate::store::SCHEMA;
use crate::store::transport::{StsPolicyRow, TlsResultRow};

fn tlsa(usage: u8, selector: u8, matching: u8, of: &[u8]) -> Tlsa {
    let data = match matching {
        1 => digest(&SHA256, of).as_ref().to_vec(),
        2 => digest(&SHA512, of).as_ref().to_vec(),
        _ => of.to_vec(),
    };
    Tlsa { usage, selector, matching, data }
}

/// Both sides of a handshake; what the client found.
async fn shake(leaf: &Leaf, client: &Client) -> Result<(), String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(leaf.server());
    let server = async {
        let (tcp, _) = listener.accept().await.unwrap();
        // The client may hang up.
        drop(acceptor.accept(tcp).await);
    };
    let connector = TlsConnector::from(Arc::clone(&client.config));
    let connect = async {
        let tcp = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("mx.far.test").unwrap();
        connector.connect(name, tcp).await.map(drop).map_err(|e| e.to_string())
    };
    tokio::join!(server, connect).1
}

async fn by_records(records: Vec<Tlsa>, leaf: &Leaf) -> Result<(), FaultKind> {
    let names = ["mx.far.test", "far.test"].map(str::to_owned).to_vec();
    let records = dane::usable(&records);
    assert!(!records.is_empty(), "they can be followed");
    let client = Client::new(Some(Arc::new(ByRecords { records, names })), true);
    let shaken = shake(leaf, &client).await;
    let verdict = client.witness.verdict().expect("it was asked").clone();
    assert_eq!(shaken.is_ok(), verdict.is_ok(), "it decides: {shaken:?}");
    verdict.map_err(|fault| fault.kind)
}

#[tokio::test]
async fn a_record_of_the_certificate_itself_is_all_that_counts() {
    // RFC 7672 3.1.1: no name fits, its time is over, and nobody vouches for it.
    let leaf = self_signed(&["somebody.else.test"], Time::Over);
    let other = self_signed(&["mx.far.test"], Time::Now);
    let certificate = leaf.chain[0].as_ref();
    for matching in 0..3 {
        for record in [tlsa(3, 0, matching, certificate), tlsa(3, 1, matching, &leaf.spki)] {
            assert_eq!(by_records(vec![record.clone()], &leaf).await, Ok(()), "{record:?}");
            assert_eq!(by_records(vec![record], &other).await, Err(FaultKind::Other));
        }
    }
    // RFC 7671 8: of the key to come and the key of today one is enough.
    let roll = vec![tlsa(3, 1, 1, &other.spki), tlsa(3, 1, 1, &leaf.spki)];
    assert_eq!(by_records(roll, &leaf).await, Ok(()));
}

#[tokio::test]
async fn a_record_of_an_authority_asks_for_a_chain_a_name_and_time() {
    let root = Authority::new("root");
    let middle = root.below("middle");
    let mut leaf = middle.leaf(&["mx.far.test"], Time::Now);
    let (whole, key) = (root.der(), root.spki());
    // The root is not in the chain: only what stands whole in the DNS is of use.
    assert_eq!(by_records(vec![tlsa(2, 0, 0, &whole)], &leaf).await, Ok(()));
    assert_eq!(by_records(vec![tlsa(2, 1, 0, &key)], &leaf).await, Ok(()));
    assert_eq!(by_records(vec![tlsa(2, 0, 1, &whole)], &leaf).await, Err(FaultKind::Other));
    // One in the middle is enough.
    assert_eq!(by_records(vec![tlsa(2, 1, 1, &middle.spki())], &leaf).await, Ok(()));
    leaf.chain.push(root.der());
    for matching in 0..3 {
        for record in [tlsa(2, 0, matching, &whole), tlsa(2, 1, matching, &key)] {
            assert_eq!(by_records(vec![record.clone()], &leaf).await, Ok(()), "{record:?}");
        }
    }
    let stranger = Authority::new("stranger");
    for record in [tlsa(2, 0, 0, &stranger.der()), tlsa(2, 1, 0, &stranger.spki())] {
        let found = by_records(vec![record], &leaf).await;
        assert!(found.is_err(), "{found:?}");
    }
    let ask = async |leaf: &Leaf| by_records(vec![tlsa(2, 0, 1, &middle.der())], leaf).await;
    assert_eq!(ask(&middle.leaf(&["far.test"], Time::Now)).await, Ok(()), "the domain's name");
    assert_eq!(ask(&middle.leaf(&["*.far.test"], Time::Now)).await, Ok(()));
    let wrong_name = middle.leaf(&["mx.near.test"], Time::Now);
    assert_eq!(ask(&wrong_name).await, Err(FaultKind::HostMismatch));
    assert_eq!(ask(&middle.leaf(&["mx.far.test"], Time::Over)).await, Err(FaultKind::Expired));
    // The authority itself is no server, though the record is its own.
    assert!(ask(&stranger.leaf(&["mx.far.test"], Time::Now)).await.is_err());
}

#[test]
fn records_that_nobody_can_follow_say_nothing() {
    let leaf = self_signed(&["mx.far.test"], Time::Now);
    let certificate = leaf.chain[0].as_ref();
    let mut bad = vec![
        tlsa(0, 1, 1, &leaf.spki),
        tlsa(1, 1, 1, &leaf.spki),
        tlsa(4, 1, 1, &leaf.spki),
        tlsa(3, 2, 1, &leaf.spki),
        tlsa(3, 1, 3, &leaf.spki),
        Tlsa { data: vec![1; 31], ..tlsa(3, 1, 1, &leaf.spki) },
        Tlsa { data: vec![1; 32], ..tlsa(3, 1, 2, &leaf.spki) },
        tlsa(3, 0, 0, b"no certificate"),
        tlsa(2, 1, 0, b""),
        tlsa(2, 1, 0, &[0x30, 0x82, 0xFF, 0xFF, 0]),
    ];
    assert_eq!(dane::usable(&bad), []);
    // RFC 7671 9: of two digests of one kind the stronger counts; the whole one always.
    let (weak, strong) = (tlsa(3, 1, 1, certificate), tlsa(3, 1, 2, &leaf.spki));
    bad.extend([weak, strong.clone(), tlsa(3, 0, 0, certificate), tlsa(2, 1, 1, &leaf.spki)]);
    let usable = dane::usable(&bad);
    assert_eq!(usable.len(), 3, "{usable:?}");
    assert!(usable.contains(&strong));
    assert_eq!(tlsa(3, 1, 0, &[0, 0xAB]).to_string(), "3 1 0 00ab");
}

#[tokio::test]
async fn who_only_listens_lets_everybody_through() {
    let root = Authority::new("root");
    let mut roots = RootCertStore::empty();
    roots.add(root.der()).unwrap();
    let roots = Arc::new(roots);
    let names = vec!["mx.far.test".to_owned()];
    let cases = [
        (root.leaf(&["mx.far.test"], Time::Now), None),
        (root.leaf(&["*.far.test"], Time::Now), None),
        (root.leaf(&["far.test"], Time::Now), Some(FaultKind::HostMismatch)),
        (root.leaf(&["mx.far.test"], Time::Over), Some(FaultKind::Expired)),
        (self_signed(&["mx.far.test"], Time::Now), Some(FaultKind::NotTrusted)),
        (Authority::new("other").leaf(&["mx.far.test"], Time::Now), Some(FaultKind::NotTrusted)),
    ];
    for (leaf, wanted) in cases {
        for decides in [false, true] {
            let check = ByRoots { roots: Arc::clone(&roots), names: names.clone() };
            let client = Client::new(Some(Arc::new(check)), decides);
            let shaken = shake(&leaf, &client).await;
            assert_eq!(shaken.is_ok(), wanted.is_none() || !decides, "{wanted:?}: {shaken:?}");
            let fault = client.witness.verdict().unwrap().as_ref().err().map(|f| f.kind);
            assert_eq!(fault, wanted);
            assert_eq!(client.witness.is_verified(), wanted.is_none());
        }
    }
    let anybody = Client::any_certificate();
    assert_eq!(shake(&self_signed(&["x.test"], Time::Over), &anybody).await, Ok(()));
    assert!(!anybody.witness.is_verified(), "nobody looked");
}

struct House {
    transport: Transport,
    db: Db,
    _names: Server,
    _folder: TempDir,
}

impl House {
    async fn open(zone: Zone, settings: limits::Transport) -> Self {
        let folder = TempDir::new().unwrap();
        let db = Db::open(Options::new(folder.path()), SCHEMA).unwrap();
        let names = Server::start(zone).await;
        let transport = Transport::new(db.clone(), &names.resolver(), &settings, folder.path());
        let transport = transport.unwrap();
        Self { transport, db, _names: names, _folder: folder }
    }

    async fn demand(&self, next_hop: &str, host: &str, require_tls: bool) -> Result<Demand, Unfit> {
        let destination = self.transport.destination(next_hop, false).await;
        let terms = self.transport.terms(&destination, (host, 25), require_tls, || false).await;
        terms.map(|terms| terms.demand())
    }

    async fn results(&self) -> Vec<TlsResultRow> {
        // What was written before this is there when this is.
        self.db.write(|_| Ok::<_, gracedb::error::Error>(())).unwrap().await.unwrap();
        self.db.snapshot().scan::<TlsResultRow>().map(Result::unwrap).collect()
    }
}

/// `far.test`, which says nothing of itself.
fn far() -> Zone {
    Zone::default().mx("far.test", 10, "mx.far.test").a("mx.far.test", "127.0.0.1")
}

#[tokio::test]
async fn where_nobody_signs_nothing_is_asked_for() {
    let zone = far().broken("lost.test", hickory_resolver::proto::rr::RecordType::MX);
    let house = House::open(zone, limits::Transport::default()).await;
    assert_eq!(house.demand("far.test", "mx.far.test", false).await, Ok(Demand::Nothing));
    assert_eq!(house.demand("far.test", "mx.far.test", true).await, Err(Unfit::NotSure));
    // What an admin names is surely meant.
    let required = Ok(Demand::Certificate(Basis::RequireTls));
    assert_eq!(house.demand("[mx.far.test]:25", "mx.far.test", true).await, required);
    let lost = house.demand("lost.test", "mx.lost.test", false).await;
    assert_eq!(lost, Err(Unfit::DaneUnknown), "nobody could say");
}

#[tokio::test]
async fn an_admin_s_list_asks_for_the_domain_s_own_names() {
    let settings = limits::Transport {
        required: vec!["far.test".parse().unwrap()],
        ..limits::Transport::default()
    };
    let house = House::open(far(), settings).await;
    let listed = Demand::Certificate(Basis::Listed);
    let destination = house.transport.destination("far.test", false).await;
    let (mut asked, host) = (0, ("mx.far.test", 25));
    let terms = house.transport.terms(&destination, host, false, || false).await.unwrap();
    assert_eq!(terms.demand(), listed);
    let waive = || {
        asked += 1;
        true
    };
    let waived = house.transport.terms(&destination, host, false, waive).await.unwrap();
    assert_eq!((waived.demand(), asked), (Demand::Nothing, 1));
    assert!(!terms.are_met_by(&waived, true, false) && !terms.are_met_by(&terms, false, true));
    assert!(terms.are_met_by(&terms, true, true) && waived.are_met_by(&terms, true, true));
    assert_eq!(listed_names(&destination, "mx.far.test"), ["mx.far.test", "far.test"]);
    // The list of servers is not signed: anybody may have written this name into it.
    assert_eq!(listed_names(&destination, "mx.evil.test"), ["far.test"]);
    assert_eq!(listed_names(&destination, "notfar.test"), ["far.test"]);
}

#[tokio::test]
async fn a_policy_that_is_kept_decides_and_is_counted_once() {
    let zone = far().txt("_mta-sts.far.test", "v=STSv1; id=1;");
    let house = House::open(zone, limits::Transport::default()).await;
    let keep = async |mode: Mode, mx: &str| {
        let row = StsPolicyRow {
            domain: "far.test".to_owned(),
            id: "1".to_owned(),
            mode: mode as u8,
            mx: vec![mx.to_owned()],
            max_age_s: 86_400,
            fetched_ms: crate::telemetry::bus::now_us() / 1_000,
        };
        house.db.write(|tx| tx.put(&row)).unwrap().await.unwrap();
    };
    let ask = async || house.demand("far.test", "mx.far.test", false).await;
    keep(Mode::Enforce, "*.far.test").await;
    assert_eq!(ask().await, Ok(Demand::Certificate(Basis::MtaSts)));
    assert_eq!(house.demand("far.test", "mx.evil.test", false).await, Err(Unfit::NotNamed));
    keep(Mode::None, "mx.far.test").await;
    assert_eq!(ask().await, Ok(Demand::Nothing));
    keep(Mode::Testing, "other.far.test").await;
    let destination = house.transport.destination("far.test", false).await;
    let host = ("mx.far.test", 25);
    let terms = house.transport.terms(&destination, host, false, || false).await.unwrap();
    assert_eq!(terms.demand(), Demand::Nothing);
    house.transport.note(&terms, None, Ended::Encrypted(None));
    let rows = house.results().await;
    let told: Vec<_> =
        rows.iter().map(|row| (row.mx_host.as_str(), row.result, row.count)).collect();
    let failure = TlsResult::ValidationFailure as u8;
    assert_eq!(told, [("mx.evil.test", failure, 1), ("mx.far.test", failure, 1)], "{rows:?}");
    assert!(rows.iter().all(|row| row.policy_type == PolicyType::Sts as u8));
    assert!(rows.iter().any(|row| row.policy.contains(&"mode: testing".to_owned())));
}

#[tokio::test]
async fn results_are_counted_and_bounded() {
    let settings = limits::Transport { results_max: 2, ..limits::Transport::default() };
    let house = House::open(far(), settings).await;
    let old = TlsResultRow {
        day: 1,
        domain: "old.test".to_owned(),
        policy_type: 0,
        policy_hash: 0,
        mx_host: String::new(),
        result: 0,
        policy: Vec::new(),
        count: 1,
        sending_ip: String::new(),
        receiving_ip: String::new(),
        reason: String::new(),
    };
    house.db.write(|tx| tx.put(&old)).unwrap().await.unwrap();
    let destination = house.transport.destination("far.test", false).await;
    let terms = house.transport.terms(&destination, ("mx.far.test", 25), false, || false).await;
    let terms = terms.unwrap();
    let between = Some(("192.0.2.1".parse().unwrap(), "::ffff:192.0.2.2".parse().unwrap()));
    let fault = Fault { kind: FaultKind::Expired, text: "x".repeat(1_000) };
    for _ in 0..3 {
        house.transport.note(&terms, between, Ended::Encrypted(None));
    }
    house.transport.note(&terms, between, Ended::Broken(Some(&fault), "alert"));
    // No third row has room.
    house.transport.note(&terms, between, Ended::Clear);
    house.transport.note(&Terms::none("mx.far.test", None), between, Ended::Clear);
    let rows = house.results().await;
    let told: Vec<_> = rows.iter().map(|row| (row.result, row.count)).collect();
    let wanted = [(TlsResult::Success as u8, 3), (TlsResult::CertificateExpired as u8, 1)];
    assert_eq!(told, wanted, "the old one is gone: {rows:?}");
    assert_eq!((rows[1].domain.as_str(), rows[1].mx_host.as_str()), ("far.test", "mx.far.test"));
    assert_eq!(
        (rows[1].sending_ip.as_str(), rows[1].receiving_ip.as_str()),
        ("192.0.2.1", "192.0.2.2")
    );
    assert_eq!(rows[1].reason.len(), 200);
}

#[test]
fn a_header_passes_policies_over_only_with_this_word() {
    assert!(waives(b"Subject: x\r\nTLS-Required: No\r\n\r\nbody"));
    assert!(waives(b"tls-required:\r\n  NO \r\n\r\n"));
    for header in [
        "Subject: x\r\n\r\nTLS-Required: No\r\n",
        "TLS-Required: Yes\r\n\r\n",
        "TLS-Required: No way\r\n\r\n",
        "X-TLS-Required: No\r\n\r\n",
        "",
    ] {
        assert!(!waives(header.as_bytes()), "{header:?}");
    }
}
