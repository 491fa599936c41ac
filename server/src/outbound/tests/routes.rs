//! Smart hosts with logins, source addresses, tests of a delivery, orders for mail that is being
//! tried, deadlines, and what a stop waits for.

use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::sync::Notify;

use grace_ipc::event::Service;
use grace_ipc::route::{DeliveryStep, DeliveryVerdict, StepKind, StepResult};

use super::*;
use crate::config::Door;
use crate::outgoing::Tested;
use crate::route::change::{Change, Target};
use crate::store::outgoing::DeliverByRow;
use crate::store::routes::{Of, Tls as Demand};
use crate::store::transport::{Mode, StsPolicyRow};

/// Where a relay waits until it may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    Never,
    BeforeGreeting,
    BeforeRcpt,
    BeforeVerdict,
}

/// How a relay is.
#[derive(Clone)]
struct Ways {
    name: &'static str,
    password: Option<&'static str>,
    tls_at_once: bool,
    offers: &'static [&'static str],
    waits: Waits,
    /// What it says to RCPT.
    rcpt: &'static str,
}

const PLAIN: Ways = Ways {
    name: "mx.far.test",
    password: None,
    tls_at_once: false,
    offers: &[],
    waits: Waits::Never,
    rcpt: "250 2.1.5 fine",
};

/// What a relay saw.
#[derive(Debug, Default, Clone)]
struct Saw {
    from: Vec<IpAddr>,
    commands: Vec<String>,
    logins: Vec<String>,
    letters: usize,
    waiting: usize,
}

/// A server that other servers send through, with a certificate of its own.
struct Relay {
    address: SocketAddr,
    saw: Arc<Mutex<Saw>>,
    go: Arc<Notify>,
    certificate: TempDir,
    listening: JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Relay {
    async fn open(ways: Ways) -> Self {
        Self::open_at("127.0.0.1:0", ways).await
    }

    async fn open_at(address: &str, ways: Ways) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (saw, go) = (Arc::<Mutex<Saw>>::default(), Arc::<Notify>::default());
        let certificate = TempDir::new().unwrap();
        let tls = certificate_of(certificate.path());
        let (shared, gone) = (Arc::clone(&saw), Arc::clone(&go));
        let listening = tokio::spawn(async move {
            let mut sessions = JoinSet::new();
            while let Ok((stream, from)) = listener.accept().await {
                shared.lock().unwrap().from.push(from.ip());
                let (ways, tls) = (ways.clone(), tls.clone());
                let (saw, go) = (Arc::clone(&shared), Arc::clone(&gone));
                sessions.spawn(async move {
                    // The other side may hang up whenever it likes.
                    drop(relay(stream, ways, tls, &saw, &go).await);
                });
            }
        });
        Self { address, saw, go, certificate, listening }
    }

    fn saw(&self) -> Saw {
        self.saw.lock().unwrap().clone()
    }

    /// The file of its certificate.
    fn roots(&self) -> String {
        self.certificate.path().join("tls/certificate.pem").display().to_string()
    }

    /// Until it waits.
    async fn waits(&self) {
        let waiting = async {
            while self.saw().waiting == 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("it comes to that");
    }
}

/// For the name `mx.far.test` and for loopback.
fn certificate_of(folder: &Path) -> Current {
    certificate(folder)
}

async fn pause(at: Waits, ways: &Ways, saw: &Mutex<Saw>, go: &Notify) {
    if ways.waits == at {
        saw.lock().unwrap().waiting += 1;
        go.notified().await;
    }
}

async fn relay(
    stream: TcpStream,
    ways: Ways,
    tls: Current,
    saw: &Mutex<Saw>,
    go: &Notify,
) -> std::io::Result<()> {
    let mut stream = Stream::clear(stream);
    if ways.tls_at_once {
        stream = stream.start_tls(tls.clone()).await?;
    }
    let mut stream = BufReader::new(stream);
    pause(Waits::BeforeGreeting, &ways, saw, go).await;
    stream.write_all(format!("220 {} ESMTP\r\n", ways.name).as_bytes()).await?;
    stream.flush().await?;
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let command = line.trim_end().to_owned();
        let is_encrypted = stream.get_ref().is_tls();
        let reply = match command.get(..4).unwrap_or_default() {
            "EHLO" => {
                let mut lines = vec![ways.name.to_owned()];
                if !is_encrypted && ways.offers.contains(&"STARTTLS") {
                    lines.push("STARTTLS".to_owned());
                }
                if ways.password.is_some() {
                    lines.push("AUTH PLAIN".to_owned());
                }
                let rest = ways.offers.iter().filter(|offer| **offer != "STARTTLS");
                lines.extend(rest.map(|offer| (*offer).to_owned()));
                let lines: Vec<String> = lines.iter().map(|line| format!("250-{line}")).collect();
                format!("{}\r\n250 HELP", lines.join("\r\n"))
            }
            "STAR" => {
                stream.write_all(b"220 go ahead\r\n").await?;
                stream.flush().await?;
                saw.lock().unwrap().commands.push(command);
                stream = BufReader::new(stream.into_inner().start_tls(tls.clone()).await?);
                continue;
            }
            "AUTH" => {
                let said = command.rsplit(' ').next().unwrap_or_default();
                let said = BASE64.decode(said).unwrap_or_default();
                let said = String::from_utf8_lossy(&said).replace('\0', "|");
                let fits = ways.password == said.rsplit('|').next();
                let how = if is_encrypted { "over TLS" } else { "in clear" };
                saw.lock().unwrap().logins.push(format!("{said} {how}"));
                if fits { "235 2.7.0 welcome" } else { "535 5.7.8 wrong" }.to_owned()
            }
            "RCPT" => {
                pause(Waits::BeforeRcpt, &ways, saw, go).await;
                ways.rcpt.to_owned()
            }
            "DATA" => {
                stream.write_all(b"354 go ahead\r\n").await?;
                stream.flush().await?;
                read_body(&mut stream, &mut String::new()).await?;
                pause(Waits::BeforeVerdict, &ways, saw, go).await;
                saw.lock().unwrap().letters += 1;
                "250 2.0.0 queued".to_owned()
            }
            "QUIT" => "221 2.0.0 bye".to_owned(),
            _ => "250 2.0.0 fine".to_owned(),
        };
        saw.lock().unwrap().commands.push(command);
        stream.write_all(format!("{reply}\r\n").as_bytes()).await?;
        stream.flush().await?;
    }
}

/// Through this relay.
fn through(relay: &Relay, tls: Demand, login: Option<(&str, &str)>) -> Target {
    Target::SmartHost {
        // The name its certificate has beside `mx.far.test`.
        host: "relay.test".to_owned(),
        port: relay.address.port(),
        tls,
        login: login.map(|(name, _)| name.to_owned()),
        password: login.map(|(_, password)| Zeroizing::new(password.to_owned())),
    }
}

fn everybody(to: Target) -> Change {
    Change { of: Of::Recipient, pattern: "*".to_owned(), to, sources: Vec::new() }
}

/// Names of the relay, and two domains that know nothing of it.
fn zone() -> Zone {
    Zone::default().a("relay.test", "127.0.0.1").a("mx.far.test", "127.0.0.1")
}

impl House {
    async fn set(&self, change: Change) {
        self.services.router.set_route(change, "test").await.unwrap();
        self.services.outgoing.routes_changed().await;
    }

    /// Tries a delivery; its steps and what came of it.
    async fn probe(&self, to: &str) -> (Vec<DeliveryStep>, Tested) {
        let to = Mailbox::parse(to, Charset::Utf8).unwrap();
        let from = Mailbox::parse("anna@grace.test", Charset::Utf8).unwrap();
        let (mut steps, answer) = self.services.outgoing.test(to, Some(from)).await;
        let mut told = Vec::new();
        let all = async {
            while let Some(step) = steps.recv().await {
                told.push(step);
            }
            answer.await.unwrap()
        };
        let tested = timeout(PATIENCE, all).await.expect("it ends");
        (told, tested)
    }
}

fn reasons(events: &[EventKind]) -> Vec<String> {
    let reason = |event: &EventKind| match event {
        EventKind::RecipientDeferred { reason, .. } | EventKind::RecipientFailed { reason, .. } => {
            reason.clone()
        }
        other => panic!("{other:?}"),
    };
    events.iter().map(reason).collect()
}

/// With TLS, and without anything to ask of who comes.
const PROVING: Ways = Ways { offers: &["STARTTLS", "PIPELINING"], ..PLAIN };

const RELAYING: Ways = Ways {
    name: "mx.far.test",
    password: Some("correct horse"),
    offers: &["STARTTLS", "PIPELINING"],
    ..PLAIN
};

/// The certificate names `mx.far.test`; a route names the server so.
fn verified(relay: &Relay, tls: Demand, password: &str) -> Change {
    let Target::SmartHost { port, tls, login, password, .. } =
        through(relay, tls, Some(("anna", password)))
    else {
        unreachable!()
    };
    let host = "mx.far.test".to_owned();
    everybody(Target::SmartHost { host, port, tls, login, password })
}

#[tokio::test]
async fn a_smart_host_is_proved_logged_in_to_and_kept_for_all_its_mail() {
    for (tls, tls_at_once) in [(Demand::StartTls, false), (Demand::Immediate, true)] {
        let relay = Relay::open(Ways { tls_at_once, ..RELAYING }).await;
        let roots = relay.roots();
        let mut house = House::open_with(zone(), |config| config.transport.roots = roots).await;
        house.set(verified(&relay, tls, "correct horse")).await;
        house.send();
        house.take("anna@grace.test", &["bob@one.test"], LETTER).await;
        let sent = house.sent(1).await;
        let EventKind::RecipientSent { remote, tls, .. } = &sent[0] else { unreachable!() };
        assert_eq!(remote, "mx.far.test");
        assert!(tls.starts_with("TLSv1.3"), "{tls}");
        // Another domain, the same connection.
        house.take("anna@grace.test", &["carl@two.test"], LETTER).await;
        house.sent(2).await;
        let saw = relay.saw();
        assert_eq!(saw.logins, ["|anna|correct horse over TLS"]);
        assert_eq!((saw.letters, saw.from.len()), (2, 1), "{saw:?}");
        house.close().await;
    }
}

#[tokio::test]
async fn a_refused_login_waits_until_it_is_mended() {
    let relay = Relay::open(RELAYING).await;
    let roots = relay.roots();
    let mut house = House::open_with(zone(), |config| config.transport.roots = roots).await;
    house.set(verified(&relay, Demand::StartTls, "incorrect")).await;
    house.send();
    house.take("anna@grace.test", &["bob@one.test"], LETTER).await;
    let deferred = house.deferred(1).await;
    assert_eq!(reasons(&deferred), ["mx.far.test: login refused: 535 5.7.8 wrong"]);
    let refused = |kind: &EventKind| matches!(kind, EventKind::SmartHostRefused { .. });
    let refused = house.events(1, refused).await;
    let expected = EventKind::SmartHostRefused {
        host: format!("mx.far.test:{}", relay.address.port()),
        login: "anna".to_owned(),
        reason: "535 5.7.8 wrong".to_owned(),
    };
    assert_eq!(refused[0], expected);
    assert_eq!((house.waiting().len(), relay.saw().letters), (1, 0), "it does not come back");
    // The right one lets what waits go at once, minutes before its time.
    house.set(verified(&relay, Demand::StartTls, "correct horse")).await;
    house.sent(1).await;
    assert_eq!(relay.saw().letters, 1);
    house.close().await;
}

#[tokio::test]
async fn who_cannot_prove_itself_gets_neither_password_nor_mail() {
    let relay = Relay::open(RELAYING).await;
    let other = Relay::open(RELAYING).await;
    let clear = Relay::open(Ways { offers: &[], ..RELAYING }).await;
    let roots = other.roots();
    let mut house = House::open_with(zone(), |config| config.transport.roots = roots).await;
    house.send();
    let cases = [
        (verified(&relay, Demand::StartTls, "x"), "TLS handshake failed: invalid peer certificate"),
        (verified(&relay, Demand::Immediate, "x"), "TLS with 127.0.0.1"),
        (
            verified(&clear, Demand::StartTls, "x"),
            "TLS is required, and the host does not offer it",
        ),
        // Proved, but by another name than the route has.
        (everybody(through(&other, Demand::StartTls, None)), "TLS handshake failed: invalid peer"),
    ];
    for (count, (change, expected)) in (1..).zip(cases) {
        house.set(change).await;
        house.take("anna@grace.test", &["bob@one.test"], LETTER).await;
        let all = reasons(&house.deferred(count).await);
        let last = all.last().unwrap();
        assert!(last.contains(expected), "{expected}: {last}");
        house.change(QueueChange::Delete).await;
    }
    for relay in [&relay, &other, &clear] {
        let saw = relay.saw();
        assert!(saw.logins.is_empty() && saw.letters == 0, "{saw:?}");
    }
    house.close().await;
}

#[tokio::test]
async fn a_route_leads_mail_that_waits_and_its_end_leads_it_back() {
    let relay = Relay::open(PLAIN).await;
    let (peer, port) = Peer::open("127.0.0.5", 0, Manners::Storm).await;
    let zone = zone().mx("one.test", 10, "mx.one.test").a("mx.one.test", "127.0.0.5");
    let mut house = House::open(zone, port, |_| {}).await;
    house.send();
    house.take("anna@grace.test", &["bob@one.test", "carl@one.test"], LETTER).await;
    house.deferred(2).await;
    assert_eq!(peer.taken().connections, 1);
    house.set(everybody(through(&relay, Demand::Opportunistic, None))).await;
    house.sent(2).await;
    assert_eq!((relay.saw().letters, house.waiting().len()), (1, 0), "together");
    let of = ("one.test", Of::Recipient);
    let direct = Change { of: of.1, pattern: of.0.into(), to: Target::Direct, sources: vec![] };
    house.set(direct).await;
    house.take("anna@grace.test", &["bob@one.test"], LETTER).await;
    house.deferred(3).await;
    assert_eq!(peer.taken().connections, 2, "an exception goes its own way");
    house.close().await;
}

#[tokio::test]
async fn mail_comes_from_where_it_is_to_come_from() {
    let relay = Relay::open(PLAIN).await;
    let zone = zone()
        .mx("one.test", 10, "mx.far.test")
        .aaaa("mx.far.test", "::1")
        .a("four.test", "127.0.0.1");
    let port = relay.address.port();
    let mut house = House::open(zone, port, |queue| {
        queue.source_ipv4 = vec!["127.0.0.2=out.grace.test".parse().unwrap()];
    })
    .await;
    let own = |source: &str| Change {
        of: Of::Sender,
        pattern: "own.test".to_owned(),
        to: Target::Unsaid,
        sources: vec![source.to_owned()],
    };
    house.set(own("127.0.0.3")).await;
    house.send();
    house.take("anna@grace.test", &["bob@one.test"], LETTER).await;
    house.sent(1).await;
    house.take("eve@own.test", &["bob@one.test"], LETTER).await;
    house.sent(2).await;
    let saw = relay.saw();
    let from: Vec<String> = saw.from.iter().map(ToString::to_string).collect();
    assert_eq!(from, ["127.0.0.2", "127.0.0.3"], "IPv4 first, and no connection is shared");
    let hello = |name: &str| saw.commands.iter().any(|line| *line == format!("EHLO {name}"));
    assert!(hello("out.grace.test") && hello("mail.grace.test"), "{saw:?}");
    house.set(own("192.0.2.1")).await;
    house.take("eve@own.test", &["bob@four.test"], LETTER).await;
    let reason = reasons(&house.deferred(1).await);
    assert!(reason[0].contains("it cannot come from 192.0.2.1"), "{reason:?}");
    house.close().await;
}

#[tokio::test]
async fn mail_does_not_come_back_to_us() {
    // By its address: the door is ours, whatever name the other domain gives it.
    let relay = Relay::open(PLAIN).await;
    let port = relay.address.port();
    let door = |address| Door { service: Service::Smtp, address };
    let mx = zone().mx("one.test", 10, "mx.far.test");
    let ours = [relay.address, SocketAddr::from(([0, 0, 0, 0], port))];
    for address in ours {
        let mut house = House::open_with(mx.clone(), |config| {
            config.queue.port = u64::from(port);
            config.listen = vec![door(address)];
        })
        .await;
        house.send();
        house.take("anna@grace.test", &["bob@one.test"], LETTER).await;
        let letter = house.letter("anna@grace.test").await;
        assert!(letter.contains("Status: 5.4.6\r\n"), "{letter}");
        // Where a route leads to ourselves, nothing is lost until that is mended.
        house.set(everybody(through(&relay, Demand::Opportunistic, None))).await;
        house.take("anna@grace.test", &["carl@two.test"], LETTER).await;
        let reason = reasons(&house.deferred(1).await);
        assert_eq!(reason, ["the smart host relay.test is this server itself"]);
        house.close().await;
    }
    // By its name: another address, as behind a router that leads the world's connections here.
    let named = Relay::open(Ways { name: "mail.grace.test", ..PLAIN }).await;
    let port = named.address.port();
    let elsewhere = SocketAddr::from(([127, 0, 0, 7], port));
    let mut house = House::open_with(mx.clone(), |config| {
        config.queue.port = u64::from(port);
        config.listen = vec![door(elsewhere)];
    })
    .await;
    house.send();
    house.take("anna@grace.test", &["bob@one.test"], LETTER).await;
    let letter = house.letter("anna@grace.test").await;
    assert!(letter.contains("Status: 5.4.6\r\n"), "{letter}");
    assert_eq!((relay.saw().letters, named.saw().letters), (0, 0));
    house.close().await;
}

fn kinds(steps: &[DeliveryStep]) -> Vec<&'static str> {
    steps.iter().map(|step| step.kind.name()).collect()
}

#[tokio::test]
async fn a_test_tells_the_whole_way_and_sends_nothing() {
    let relay = Relay::open(RELAYING).await;
    let zone = zone().mx("one.test", 10, "dead.test").mx("one.test", 20, "mx.far.test");
    let (port, roots) = (relay.address.port(), relay.roots());
    let mut house = House::open_with(zone.a("dead.test", "127.0.0.9"), |config| {
        config.queue.port = u64::from(port);
        config.transport.roots = roots;
    })
    .await;
    house.send();
    let (steps, tested) = house.probe("bob@one.test").await;
    assert_eq!(tested.verdict, DeliveryVerdict::Accepted);
    assert_eq!(tested.text, "mx.far.test would take a message for bob@one.test");
    #[rustfmt::skip]
    let expected = [
        "recipient", "route", "mx", "addresses", "connect", "addresses", "connect", "greeting",
        "ehlo", "starttls", "starttls", "certificate", "ehlo", "mail", "rcpt", "rset", "quit",
    ];
    assert_eq!(kinds(&steps), expected, "{steps:#?}");
    let of = |kind| steps.iter().filter(|step| step.kind == kind).collect::<Vec<_>>();
    assert_eq!(of(StepKind::Mx)[0].text, "dead.test, mx.far.test");
    assert_eq!(of(StepKind::Connect)[0].result, StepResult::Failed);
    let certificate = of(StepKind::Certificate)[0];
    assert_eq!(certificate.result, StepResult::Good);
    for part in ["for mx.far.test, localhost, 127.0.0.1", "it proves that this is mx.far.test"] {
        assert!(certificate.text.contains(part), "{certificate:?}");
    }
    assert!(of(StepKind::Rcpt)[0].text.ends_with("RCPT TO:<bob@one.test> → 250 2.1.5 fine"));
    assert!(steps.windows(2).all(|pair| pair[0].at_us <= pair[1].at_us), "in their order");
    let saw = relay.saw();
    assert!(saw.letters == 0 && !saw.commands.iter().any(|line| line == "DATA"), "{saw:?}");
    assert_eq!(saw.commands.last().unwrap(), "QUIT");

    // Through a smart host, whose password nobody is told.
    house.set(verified(&relay, Demand::StartTls, "correct horse")).await;
    let (steps, tested) = house.probe("bob@two.test").await;
    assert_eq!(tested.verdict, DeliveryVerdict::Accepted);
    assert_eq!(kinds(&steps)[..3], ["recipient", "route", "policy"]);
    assert!(steps[1].text.ends_with(", as anna"), "{steps:?}");
    let login = steps.iter().find(|step| step.kind == StepKind::Login).unwrap();
    assert_eq!(login.text, "AUTH PLAIN (not shown) → 235 2.7.0 welcome");
    house.close().await;
}

#[tokio::test]
async fn a_test_says_why_not() {
    let zone = far().mx("null.test", 0, ".");
    let (_peer, port) = Peer::open("127.0.0.1", 0, Manners::BrokenTls).await;
    let mut house = House::open(zone, port, |_| {}).await;
    house.send();
    use DeliveryVerdict::{Accepted, Later, Local, Never};
    let cases = [
        ("anna@grace.test", Local, "anna@grace.test is the account anna@grace.test here"),
        ("nobody@grace.test", Never, "nobody@grace.test is nobody, and its domain is ours"),
        ("bob@null.test", Never, "the domain takes no mail (null MX)"),
        ("bob@nowhere.test", Never, "nowhere.test does not exist"),
        ("no@far.test", Never, "mx.far.test: 550 5.1.1 nobody of that name"),
        ("later@far.test", Later, "mx.far.test: 450 4.2.1 not now"),
        // In the clear, where the handshake fails.
        ("bob@far.test", Accepted, "mx.far.test would take a message for bob@far.test"),
    ];
    for (to, verdict, text) in cases {
        let (steps, tested) = house.probe(to).await;
        assert_eq!((tested.verdict, tested.text.as_str()), (verdict, text), "{steps:#?}");
        let last = &steps.last().unwrap();
        let is_over = steps.iter().any(|step| step.result == StepResult::Failed);
        assert_eq!(is_over, verdict != Accepted && verdict != Local || to == "bob@far.test");
        assert!(!last.text.is_empty());
    }
    house.close().await;
}

#[tokio::test]
async fn a_test_tells_what_a_server_must_show_and_fails_as_mail_would() {
    let relay = Relay::open(PROVING).await;
    let (port, roots) = (relay.address.port(), relay.roots());
    let zone = zone()
        .mx("one.test", 10, "mx.far.test")
        .mx("two.test", 10, "mx.far.test")
        .mx("three.test", 10, "mx.far.test")
        .txt("_mta-sts.one.test", "v=STSv1; id=1;")
        .txt("_mta-sts.two.test", "v=STSv1; id=1;");
    let mut house = House::open_with(zone, |config| {
        config.queue.port = u64::from(port);
        config.transport.roots = roots;
        config.transport.required = vec!["three.test".parse().unwrap()];
    })
    .await;
    for (domain, mx) in [("one.test", "mx.far.test"), ("two.test", "mx.two.test")] {
        let policy = StsPolicyRow {
            domain: domain.to_owned(),
            id: "1".to_owned(),
            mode: Mode::Enforce as u8,
            mx: vec![mx.to_owned()],
            max_age_s: 86_400,
            fetched_ms: crate::telemetry::bus::now_us() / 1_000,
        };
        house.services.db.write(|tx| tx.put(&policy)).unwrap().await.unwrap();
    }
    house.send();
    use DeliveryVerdict::{Accepted, Later};
    let cases = [
        (
            "bob@one.test",
            Accepted,
            "MTA-STS enforce: mx.far.test is listed, and must prove who it is",
            "would take a message for bob@one.test",
            "; it proves that this is mx.far.test; verified by MTA-STS",
        ),
        (
            "bob@two.test",
            Later,
            "the domain's policy does not name it (MTA-STS, enforce)",
            "mx.far.test: the domain's policy does not name it (MTA-STS, enforce)",
            "",
        ),
        // Nobody vouches for the server's name, and it is none of the domain's.
        (
            "bob@three.test",
            Later,
            "transport.required: mx.far.test must prove who it is",
            "; asked for by this server's settings (transport.required)",
            "",
        ),
    ];
    for (count, (to, verdict, policy, text, certificate)) in (0..).zip(cases) {
        let (steps, tested) = house.probe(to).await;
        assert_eq!(tested.verdict, verdict, "{tested:?} {steps:#?}");
        assert!(tested.text.contains(text), "{tested:?}");
        let of = |kind| steps.iter().find(|step| step.kind == kind);
        assert_eq!(of(StepKind::Policy).unwrap().text, policy);
        let shown = of(StepKind::Certificate).map_or("", |step| step.text.as_str());
        assert!(shown.ends_with(certificate), "{shown}");
        // A letter fares likewise.
        house.take("anna@grace.test", &[to], LETTER).await;
        match verdict {
            Accepted => {
                let sent = house.sent(1).await;
                let EventKind::RecipientSent { tls, .. } = &sent[0] else { unreachable!() };
                assert!(tls.ends_with(", verified by MTA-STS"), "{tls}");
            }
            _ => {
                let reasons = reasons(&house.deferred(count).await);
                assert!(reasons.iter().any(|reason| reason.contains(text)), "{reasons:?}");
            }
        }
    }
    // What a test shows is not counted.
    let db = &house.services.db;
    db.write(|_| Ok::<_, gracedb::error::Error>(())).unwrap().await.unwrap();
    let rows = db.snapshot();
    let results = rows.scan::<TlsResultRow>().map(|row| row.unwrap());
    let counts: Vec<_> = results.map(|row| (row.domain, row.count)).collect();
    let once = ["one.test", "three.test", "two.test"].map(|domain| (domain.to_owned(), 1));
    assert_eq!(counts, once);
    house.close().await;
}

#[tokio::test]
async fn a_smart_host_keeps_mail_encrypted_or_it_comes_back() {
    let relay = Relay::open(RELAYING).await;
    let roots = relay.roots();
    let mut house = House::open_with(zone(), |config| config.transport.roots = roots).await;
    house.set(verified(&relay, Demand::StartTls, "correct horse")).await;
    house.send();
    let need_tls = |onward: &mut Onward| onward.message.require_tls = true;
    house.take_with("anna@grace.test", &["bob@one.test"], LETTER, need_tls).await;
    let letter = house.letter("anna@grace.test").await;
    assert!(letter.contains("Status: 5.7.30\r\n"), "{letter}");
    // What a route asks for no message waives.
    let other = Relay::open(RELAYING).await;
    house.set(verified(&other, Demand::StartTls, "x")).await;
    let waived = format!("TLS-Required: No\r\n{LETTER}");
    house.take("anna@grace.test", &["carl@one.test"], &waived).await;
    let reasons = reasons(&house.deferred(1).await);
    assert!(reasons[0].ends_with("; asked for by the route"), "{reasons:?}");
    assert!(other.saw().logins.is_empty());
    house.close().await;
}

#[tokio::test]
async fn a_test_ends_when_nobody_listens() {
    let relay = Relay::open(Ways { waits: Waits::BeforeGreeting, ..PLAIN }).await;
    let zone = zone().mx("one.test", 10, "mx.far.test");
    let mut house = House::open(zone, relay.address.port(), |_| {}).await;
    house.send();
    let to = Mailbox::parse("bob@one.test", Charset::Utf8).unwrap();
    let (mut steps, answer) = house.services.outgoing.test(to, None).await;
    relay.waits().await;
    drop(answer);
    let rest = async { while steps.recv().await.is_some() {} };
    timeout(PATIENCE, rest).await.expect("nobody tells steps any more");
    house.close().await;
}

#[tokio::test]
async fn orders_for_mail_under_way_are_done_when_its_attempt_ends() {
    let relay =
        Relay::open(Ways { waits: Waits::BeforeRcpt, rcpt: "450 4.2.1 not now", ..PLAIN }).await;
    let other = Relay::open_at("127.0.0.4:0", PLAIN).await;
    let zone = zone().mx("one.test", 10, "mx.far.test");
    let mut house = House::open(zone, relay.address.port(), |_| {}).await;
    house.send();
    let people = ["away@one.test", "held@one.test", "gone@one.test", "back@one.test", "x@one.test"];
    house.take("anna@grace.test", &people, LETTER).await;
    relay.waits().await;
    let to = format!("[127.0.0.4]:{}", other.address.port());
    let orders = [
        ("away@one.test", QueueChange::Reroute { to }),
        ("held@one.test", QueueChange::Hold),
        ("gone@one.test", QueueChange::Delete),
        ("back@one.test", QueueChange::Bounce),
    ];
    for (recipient, change) in orders {
        let some = QueueFilter { recipient: Some(recipient.to_owned()), ..QueueFilter::default() };
        let changed = house.change_some(some, change).await;
        assert_eq!(changed, Changed { recipients: 1, underway: 1 }, "{recipient}");
    }
    let told = |kind: &EventKind| match kind {
        EventKind::QueueChanged { change, .. } => {
            change.ends_with("(1 of them when their attempt ends)")
        }
        _ => false,
    };
    house.events(4, told).await;
    assert_eq!(house.waiting().len(), 5, "not yet");
    // Once for each of them.
    let mut seen = 1;
    while seen < people.len() {
        relay.go.notify_one();
        seen = relay.saw().waiting.max(seen);
        tokio::task::yield_now().await;
    }
    relay.go.notify_one();
    house.sent(1).await;
    assert_eq!(other.saw().letters, 1);
    let letter = house.letter("anna@grace.test").await;
    assert!(letter.contains("Final-Recipient: rfc822; back@one.test\r\n"), "{letter}");
    assert!(!letter.contains("gone@one.test"), "{letter}");
    let waiting = house.waiting();
    let left: Vec<_> = waiting.iter().map(|row| (row.recipient.as_str(), row.held)).collect();
    assert_eq!(left, [("held@one.test", true), ("x@one.test", false)]);
    house.close().await;
}

#[tokio::test]
async fn a_stop_waits_for_the_answer_to_a_whole_message_and_for_nothing_else() {
    let zone = zone().mx("one.test", 10, "mx.far.test");
    for waits in [Waits::BeforeGreeting, Waits::BeforeRcpt] {
        let relay = Relay::open(Ways { waits, ..PLAIN }).await;
        let port = u64::from(relay.address.port());
        let mut house = House::open_with(zone.clone(), |config| {
            config.queue.port = port;
            // Longer than the test has patience.
            config.limits.shutdown_s = 600;
        })
        .await;
        house.send();
        house.take("anna@grace.test", &["bob@one.test"], LETTER).await;
        relay.waits().await;
        let db = house.services.db.clone();
        house.close().await;
        let rows = list::list(&db, &QueueFilter::default(), 10).unwrap();
        assert_eq!((rows.len(), rows[0].attempts), (1, 0), "{waits:?}: it did not count");
    }
    let relay = Relay::open(Ways { waits: Waits::BeforeVerdict, ..PLAIN }).await;
    let port = u64::from(relay.address.port());
    let mut house = House::open_with(zone, |config| {
        config.queue.port = port;
        config.limits.shutdown_s = 600;
    })
    .await;
    house.send();
    house.take("anna@grace.test", &["bob@one.test"], LETTER).await;
    relay.waits().await;
    let db = house.services.db.clone();
    house.services.porter.stop.say();
    relay.go.notify_one();
    house.close().await;
    assert_eq!(relay.saw().letters, 1);
    let rows = list::list(&db, &QueueFilter::default(), 10).unwrap();
    assert!(rows.is_empty(), "what was answered is written down: {rows:?}");
}

fn by(returns: bool, is_traced: bool, left_s: i64) -> impl Fn(&mut Onward) {
    move |onward| {
        let deadline_ms = now().millis().saturating_add_signed(left_s * 1_000);
        let message = onward.message.id;
        onward.deliver_by = Some(DeliverByRow { message, deadline_ms, returns, is_traced });
    }
}

#[tokio::test]
async fn a_deadline_travels_with_its_message() {
    let relay = Relay::open(Ways { offers: &["DELIVERBY 60"], ..PLAIN }).await;
    let zone = zone().mx("one.test", 10, "mx.far.test");
    let mut house = House::open(zone, relay.address.port(), |_| {}).await;
    house.send();
    let take = async |house: &House, change: &dyn Fn(&mut Onward)| {
        house.take_with("anna@grace.test", &["bob@one.test"], LETTER, change).await;
    };
    take(&house, &by(true, false, 3_600)).await;
    house.sent(1).await;
    take(&house, &by(false, true, -30)).await;
    house.sent(2).await;
    // The sender who asked to follow it hears where it went.
    let letter = house.letter("anna@grace.test").await;
    assert!(letter.contains("Action: relayed\r\n"), "{letter}");
    let mails: Vec<String> =
        relay.saw().commands.into_iter().filter(|line| line.starts_with("MAIL")).collect();
    assert!(mails[0].contains(" BY=3600;R") || mails[0].contains(" BY=3599;R"), "{mails:?}");
    assert!(mails[1].contains(" BY=-3") && mails[1].ends_with(";NT"), "{mails:?}");
    assert!(house.services.db.snapshot().scan::<DeliverByRow>().next().is_none(), "gone with it");
    // Too little time for that server.
    take(&house, &by(true, false, 30)).await;
    let failed = |kind: &EventKind| matches!(kind, EventKind::RecipientFailed { .. });
    let reason = reasons(&house.events(1, failed).await);
    assert_eq!(reason, ["mx.far.test: the host needs 60 s, and less is left"]);
    house.close().await;
}

#[tokio::test]
async fn what_is_to_come_back_in_time_does() {
    let relay = Relay::open(PLAIN).await;
    let zone = zone().mx("one.test", 10, "mx.far.test");
    let mut house = House::open(zone, relay.address.port(), |_| {}).await;
    house.send();
    let take = async |house: &House, change: &dyn Fn(&mut Onward)| {
        house.take_with("anna@grace.test", &["bob@one.test"], LETTER, change).await;
    };
    // A server that promises nothing does not get it.
    take(&house, &by(true, false, 3_600)).await;
    let letter = house.letter("anna@grace.test").await;
    assert!(letter.contains("Status: 5.4.7\r\n"), "{letter}");
    // What is only to be told of goes on, and its sender hears that nobody minds the time there.
    take(&house, &by(false, false, 3_600)).await;
    house.sent(1).await;
    assert_eq!(relay.saw().letters, 1);
    // Time is over while it waits.
    let over = |onward: &mut Onward| {
        by(true, false, 0)(onward);
        for row in &mut onward.recipients {
            (row.expires_ms, row.is_strict) = (now().millis(), true);
        }
    };
    take(&house, &over).await;
    let failed = |kind: &EventKind| matches!(kind, EventKind::RecipientFailed { .. });
    house.events(2, failed).await;
    let snapshot = house.services.db.snapshot();
    let letters = snapshot.scan::<store::messages::MessageRow>().map(Result::unwrap);
    let texts: Vec<String> = letters
        .map(|row| snapshot.open_large(&row.body).read_all(10_000_000).unwrap())
        .map(|bytes| String::from_utf8(bytes).unwrap())
        .collect();
    let count = |part: &str| texts.iter().filter(|text| text.contains(part)).count();
    assert_eq!((count("Status: 5.4.7\r\n"), count("Action: relayed\r\n")), (2, 1), "{texts:#?}");
    house.close().await;
}
