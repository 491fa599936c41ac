//! One server with mail for six others at once: a good one, one that lets strangers wait, and four
//! that behave as servers should not. The good one's mail is not held back, and everything arrives.
//!
//! ```text
//!   ann ─587─▶ graced ─┬─ far.test ───▶ graced                  takes it
//!                      ├─ grey.test ──▶ graced, greylisting     451 at first
//!                      ├─ storm.test ─▶ Postfix                 421 but to one connection
//!                      ├─ silent.test ▶ nothing is said         twice
//!                      ├─ deaf.test ──▶ no answer after DATA    twice
//!                      └─ slow.test ──▶ one byte a second       always
//! ```
//! Not here: every way in which a dialogue may break (`server/smtp/src/sender/tests`), the same by
//! itself and quicker (`server/src/outbound/tests.rs`).

#![cfg(unix)]

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use grace_tests::house::{Account, House};
use grace_tests::log::{self, Mark};
use grace_tests::postfix::{self, Postfix};
use grace_tests::submit::{self, Load};
use grace_tests::zone::Zone;
use grace_tests::{figure, skipped};
use serde_json::Value;

/// Messages for each server that takes them one after the other, and for Postfix.
const FEW: u64 = 10;
const MANY: u64 = 100;
/// How often the silent and the deaf one behave as they do, before they mend.
const BAD_TIMES: usize = 2;
/// How long a byte takes the slow one.
const BYTE_TAKES: Duration = Duration::from_secs(1);
/// How often mail is tried again soon; as many as there may be.
const RETRIES_MAX: usize = 32;
/// Bytes of a message.
const BYTES: usize = 4_096;

/// What a server does that nobody should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manners {
    /// Takes the connection and says nothing.
    Silent,
    /// Takes the message and hangs up without an answer.
    Deaf,
    /// One byte a second.
    Slow,
}

/// A server without manners; it ends with the test.
struct Peer {
    /// Messages it took whole, each copy.
    taken: Arc<AtomicUsize>,
}

impl Peer {
    fn open(last: u8, port: u16, manners: Manners) -> Self {
        let listener =
            TcpListener::bind((Ipv4Addr::new(127, 0, 0, last), port)).expect("loopback is ours");
        let taken = Arc::<AtomicUsize>::default();
        let shared = Arc::clone(&taken);
        thread::spawn(move || {
            for (count, stream) in listener.incoming().enumerate() {
                let stream = stream.expect("connections come");
                let shared = Arc::clone(&shared);
                let is_bad = manners == Manners::Slow || count < BAD_TIMES;
                let manners = is_bad.then_some(manners);
                // Whoever hangs up ends this session, and that is all.
                thread::spawn(move || drop(serve(stream, manners, &shared)));
            }
        });
        Self { taken }
    }

    fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }
}

fn serve(
    mut stream: TcpStream,
    manners: Option<Manners>,
    taken: &AtomicUsize,
) -> std::io::Result<()> {
    if manners == Some(Manners::Silent) {
        return stream.read_to_end(&mut Vec::new()).map(drop);
    }
    let mut say = stream.try_clone()?;
    let mut say = move |reply: &str| {
        if manners != Some(Manners::Slow) {
            return say.write_all(reply.as_bytes());
        }
        reply.as_bytes().iter().try_for_each(|byte| {
            // Its slowness is what is tested.
            thread::sleep(BYTE_TAKES);
            say.write_all(&[*byte])
        })
    };
    say("220 m\r\n")?;
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        if lines.read_line(&mut line)? == 0 {
            return Ok(());
        }
        match line.get(..4).unwrap_or_default() {
            "DATA" => {
                say("354 d\r\n")?;
                while line != ".\r\n" {
                    line.clear();
                    if lines.read_line(&mut line)? == 0 {
                        return Ok(());
                    }
                }
                taken.fetch_add(1, Ordering::SeqCst);
                if manners == Some(Manners::Deaf) {
                    return Ok(());
                }
                say("250 m\r\n")?;
            }
            "QUIT" => return say("221 q\r\n"),
            _ => say("250 m\r\n")?,
        }
    }
}

/// The server that sends.
struct World {
    near: House,
    ann: Account,
}

impl World {
    fn submit(&self, to: &str, messages: u64) {
        let load = Load { from: &self.ann, to, bytes: BYTES, connections: 2 };
        let acknowledged = submit::submit(self.near.port("Submission"), load, &(0..messages));
        assert_eq!(acknowledged.len() as u64, messages, "{to}");
    }

    /// Waits until all its messages are sent.
    fn wait_sent(&self, to: &str, messages: u64) {
        let count = usize::try_from(messages).expect("a few");
        self.near.log().wait_count(Mark::START, "RecipientSent", count, |event| is_to(event, to));
    }

    fn of(&self, event: &str, to: &str) -> Vec<Value> {
        let events = self.near.log().events(Mark::START, event);
        events.into_iter().filter(|event| is_to(event, to)).collect()
    }

    /// Every message was sent, each told once; what was said to those that had to wait.
    fn check(&self, to: &str, messages: u64) -> BTreeSet<String> {
        let sent = self.of("RecipientSent", to);
        let ids: BTreeSet<&str> = sent.iter().map(|event| log::text(event, "queue_id")).collect();
        assert_eq!((sent.len() as u64, ids.len() as u64), (messages, messages), "{to}");
        assert_eq!(self.of("RecipientFailed", to), [] as [Value; 0], "{to}");
        let deferred = self.of("RecipientDeferred", to);
        deferred.iter().map(|event| log::text(event, "reason").to_owned()).collect()
    }
}

fn is_to(event: &Value, to: &str) -> bool {
    log::text(event, "recipient") == to
}

/// The names of all of them, who have one port in common.
fn names() -> Zone {
    let zone = Zone::start();
    for (domain, last) in
        [("storm", 1), ("far", 2), ("grey", 3), ("silent", 4), ("deaf", 5), ("slow", 6)]
    {
        zone.mx(&format!("{domain}.test"), 10, &format!("mx.{domain}.test"));
        zone.a(&format!("mx.{domain}.test"), &format!("127.0.0.{last}"));
    }
    zone
}

/// A good server, with bob.
fn far(zone: &Zone, domain: &str, last: u8, port: u16, rules: &str) -> (House, Account) {
    let settings = format!(
        "[dns]\nresolvers = [\"{}\"]\n[authenticity]\nunchecked_networks = [\"127.0.0.0/8\"]\n\
         [door]\ntrusted_networks = []\n{rules}",
        zone.address()
    );
    let house =
        House::start_named(&format!("mx.{domain}"), ([127, 0, 0, last], port).into(), &settings);
    house.ctl_ok(&["domain", "create", domain]);
    let bob = house.account_of(&format!("bob@{domain}"), "far away");
    (house, bob)
}

/// Postfix, which has one connection for each who comes, and 421 for the next.
fn storm(port: u16) -> Postfix {
    Postfix::start_on(
        port,
        "relay_domains = storm.test\ndefault_transport = discard\nrelay_transport = discard\n\
         smtpd_client_connection_count_limit = 1\nsmtpd_client_event_limit_exceptions =\n",
    )
}

#[test]
fn bad_servers_cost_their_own_mail_time_and_nobody_elses() {
    if let Some(why) = postfix::absent() {
        return skipped(&format!("servers without manners: {why}"));
    }
    let (zone, port) = (names(), postfix::free_port());
    let postfix = storm(port);
    let (far, bob) = far(&zone, "far.test", 2, port, "");
    let rules = "greylisting = \"on\"\ngreylist_delay_s = 1\n";
    let (grey, grey_bob) = self::far(&zone, "grey.test", 3, port, rules);
    let silent = Peer::open(4, port, Manners::Silent);
    let deaf = Peer::open(5, port, Manners::Deaf);
    let slow = Peer::open(6, port, Manners::Slow);
    let near = House::start_with(&format!(
        "[dns]\nresolvers = [\"{}\"]\n\
         [queue]\nport = {port}\ngreeting_s = 10\nback_off_first_s = 1\nback_off_max_s = 1\n\
         retry_after = [{}]\n",
        zone.address(),
        ["\"1s\""; RETRIES_MAX].join(", "),
    ));
    let ann = near.account("ann");
    let world = World { near, ann };

    for bad in ["slow", "silent", "deaf"] {
        world.submit(&format!("bob@{bad}.test"), 1);
    }
    world.submit("bob@storm.test", MANY);
    world.submit("bob@grey.test", FEW);
    world.submit("bob@far.test", FEW);

    // While the slow one still says hello and the silent one nothing, good mail is through.
    world.wait_sent("bob@far.test", FEW);
    assert_eq!(world.of("RecipientSent", "bob@slow.test"), [] as [Value; 0]);
    assert_eq!(world.of("RecipientDeferred", "bob@silent.test"), [] as [Value; 0]);
    assert_eq!(world.check("bob@far.test", FEW), BTreeSet::new());
    assert_eq!(far.messages(&bob), FEW);

    world.wait_sent("bob@grey.test", FEW);
    let reasons = world.check("bob@grey.test", FEW);
    assert!(!reasons.is_empty(), "a stranger waits");
    let is_greylisting = |reason: &String| reason.starts_with("451 4.7.1 you are new here");
    assert!(reasons.iter().all(is_greylisting), "{reasons:?}");
    assert_eq!(grey.messages(&grey_bob), FEW);

    world.wait_sent("bob@storm.test", MANY);
    let reasons = world.check("bob@storm.test", MANY);
    assert!(reasons.iter().all(|reason| reason.starts_with("421 4.7.0 ")), "{reasons:?}");
    let storms = postfix.log().matches("Connection concurrency limit exceeded").count();
    assert!(storms > 0, "{}", postfix.log());
    let postfix_took = || postfix.log().matches("status=sent").count();
    postfix
        .wait_until("it handed on what it took", || (postfix_took() as u64 >= MANY).then_some(()));
    assert_eq!(postfix_took() as u64, MANY, "each once");

    world.wait_sent("bob@deaf.test", 1);
    let reasons = world.check("bob@deaf.test", 1);
    let perhaps = "no answer to the end of the message: it may have been delivered";
    assert!(reasons.iter().all(|reason| reason.contains(perhaps)), "{reasons:?}");
    assert_eq!(deaf.taken(), BAD_TIMES + 1, "once for each time that no answer came");

    world.wait_sent("bob@silent.test", 1);
    let reasons = world.check("bob@silent.test", 1);
    let timed_out = "timed out waiting for the greeting";
    assert!(reasons.iter().all(|reason| reason.contains(timed_out)), "{reasons:?}");
    assert_eq!((reasons.len(), silent.taken()), (1, 1));

    world.wait_sent("bob@slow.test", 1);
    assert_eq!(world.check("bob@slow.test", 1), BTreeSet::new(), "slow is no failure");
    assert_eq!(slow.taken(), 1);
    let waiting = world.near.ctl_json(&["queue", "list"]);
    assert_eq!(waiting.as_array().map(Vec::len), Some(0), "{waiting}");
    figure(&format!(
        "mail for six servers at once: {} sent, none lost, none twice but {BAD_TIMES} to the one \
         that did not answer; Postfix said 421 {storms} times",
        2 * FEW + MANY + 3
    ));
}
