//! Many IMAP sessions do random things to shared mailboxes; what each is told must add up to the
//! truth.
//!
//! ```text
//!   seed ─▶ step step step …   of each session ──▶ graced      a round; then all are quiet,
//!                                 │  ▲ told       │             and agree with each other, with a
//!                                 ▼  │            ▼             fresh session, and with the log
//!                               picture ◀─check─ truth (log)
//! ```
//! Invariants: a session's picture is made of what it was told alone ([`crate::imap::picture`]);
//! every command that tells all news is followed by a check against the log of what was
//! acknowledged (`truth`); one seed draws the same steps for each session (`step`).
//! Not here: the protocol of one session by itself (`server/imap/tests`).

mod content;
mod session;
mod step;
mod truth;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::{Duration, Instant};

use session::Session;
use truth::Truth;

use crate::house::{Account, House};
use crate::imap::client::Client;
use crate::imap::picture::{ANY, Dialect, Moment, Picture};
use crate::imap::syntax::Response;
use crate::seed::Seed;

/// The mailboxes that the sessions of an account share.
const MAILBOXES: [&str; 2] = ["INBOX", "Work"];
/// The flags they set.
const FLAGS: &[&str] = &["\\Answered", "\\Deleted", "\\Draft", "\\Flagged", "\\Seen", "$One"];
/// Accounts whose sessions run side by side.
const ACCOUNTS: usize = 2;
/// Steps of each session in a round.
const ROUND_STEPS: u64 = 60;

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// What chance begins with.
    pub seed: u64,
    /// Sessions, shared evenly by the accounts.
    pub sessions: usize,
    /// For how long; rounds are not cut short.
    pub time: Duration,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// What chance began with.
    pub seed: u64,
    /// Sessions.
    pub sessions: usize,
    /// Steps of all of them.
    pub steps: u64,
    /// How often all were quiet and agreed.
    pub rounds: u64,
    /// Messages that were made.
    pub messages: u64,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, sessions, steps, rounds, messages } = self;
        write!(
            f,
            "{sessions} sessions, {steps} steps, {messages} messages made (seed {seed}): every \
             answer was possible, and all agreed {rounds} times"
        )
    }
}

/// An account and who is in it.
struct Shared {
    account: Account,
    truth: Arc<Truth>,
    sessions: Vec<Session>,
}

/// Runs sessions against a daemon of their own.
///
/// # Errors
/// Something was told that cannot be; with the seed, the session and what it heard.
pub fn run(order: Order) -> Result<Outcome, String> {
    let many = order.sessions + 10;
    let house = House::start_with(&format!(
        "[limits]\nlogin_failure_delay_ms = 0\nconnections_max = {many}\n\
         connections_per_address_max = {many}\n"
    ));
    let seeded = |why: String| format!("seed {}: {why}", order.seed);
    let outcome = run_in(&house, order).map_err(seeded)?;
    Ok(outcome)
}

fn run_in(house: &House, order: Order) -> Result<Outcome, String> {
    let contents = Arc::new(AtomicU64::new(1));
    let mut shared = Vec::new();
    for number in 0..ACCOUNTS.min(order.sessions) {
        let account = house.account(&format!("user{number}"));
        let mut maker = Client::connect(house.port("Imap"))?;
        maker.login(&account)?;
        for name in MAILBOXES.iter().filter(|name| **name != "INBOX") {
            maker.ok(&format!("CREATE {name}"))?;
        }
        shared.push(Shared { account, truth: Arc::default(), sessions: Vec::new() });
    }
    for number in 0..order.sessions {
        let place = number % shared.len();
        let Some(group) = shared.get_mut(place) else { continue };
        // The same whatever others do.
        let seed = Seed::new(order.seed.wrapping_mul(1_000_003).wrapping_add(number as u64));
        let dialect = session::dialect(group.sessions.len());
        let common = (Arc::clone(&group.truth), Arc::clone(&contents));
        let name = format!("session {number} ({dialect:?})");
        let port = house.port("Imap");
        group.sessions.push(Session::begin(port, &group.account, common, (name, dialect, seed))?);
    }
    let until = Instant::now() + order.time;
    let mut rounds = 0;
    while rounds == 0 || Instant::now() < until {
        round(&mut shared)?;
        for group in &mut shared {
            agree(house, group)?;
        }
        rounds += 1;
    }
    let steps = shared.iter().flat_map(|group| &group.sessions).map(|it| it.steps).sum();
    let messages = contents.load(std::sync::atomic::Ordering::Relaxed) - 1;
    Ok(Outcome { seed: order.seed, sessions: order.sessions, steps, rounds, messages })
}

/// Every session does its steps, all at once.
fn round(shared: &mut [Shared]) -> Result<(), String> {
    let sessions = shared.iter_mut().flat_map(|group| &mut group.sessions);
    let outcomes: Vec<Result<(), String>> = thread::scope(|scope| {
        let running: Vec<_> =
            sessions.map(|session| scope.spawn(move || session.run(ROUND_STEPS))).collect();
        let ended = running.into_iter().map(|one| one.join());
        ended.map(|end| end.unwrap_or_else(|_| Err("a session panicked".to_owned()))).collect()
    });
    let broken: Vec<String> = outcomes.into_iter().filter_map(Result::err).collect();
    if broken.is_empty() { Ok(()) } else { Err(broken.join("\n\n")) }
}

/// All are quiet: a fresh session's picture is the truth, and everybody's.
fn agree(house: &House, group: &mut Shared) -> Result<(), String> {
    for mailbox in MAILBOXES {
        let (fresh, contents) = fresh(house, &group.account, mailbox)?;
        group
            .truth
            .settle(mailbox, &fresh, &contents)
            .map_err(|why| format!("{mailbox}: {why}"))?;
        for session in group.sessions.iter_mut().filter(|it| it.mailbox == mailbox) {
            session.look()?;
            differs(&session.picture, &fresh)
                .map_err(|why| format!("{mailbox}: {why}\nin {session:?}"))?;
        }
    }
    Ok(())
}

/// What a session sees that was not there before: messages, and the numbers of their contents.
fn fresh(
    house: &House,
    account: &Account,
    mailbox: &str,
) -> Result<(Picture, BTreeMap<u32, u64>), String> {
    let mut client = Client::connect(house.port("Imap"))?;
    client.login(account)?;
    let mut picture = Picture::new(Dialect { condstore: true, ..Dialect::default() });
    let selected = client.ok(&format!("EXAMINE {mailbox} (CONDSTORE)"))?;
    for response in &selected.untagged {
        picture.hear(response, ANY)?;
    }
    let mut contents = BTreeMap::new();
    if !picture.mails.is_empty() {
        let reply = client.ok("FETCH 1:* (UID FLAGS MODSEQ BODY.PEEK[])")?;
        for response in &reply.untagged {
            picture.hear(response, Moment { expunges: false, news: false })?;
            let Response::Fetch(_, fetched) = response else { continue };
            let number = content::number(fetched.body.as_deref().unwrap_or_default());
            let (Some(uid), Some(number)) = (fetched.uid, number) else {
                return Err(format!("a message is broken: {fetched:?}"));
            };
            contents.insert(uid, number);
        }
    }
    Ok((picture, contents))
}

/// Where two pictures differ.
fn differs(picture: &Picture, fresh: &Picture) -> Result<(), String> {
    if picture.uids() != fresh.uids() {
        return Err(format!("messages {:?}, not {:?}", picture.uids(), fresh.uids()));
    }
    for (known, is) in picture.mails.iter().zip(&fresh.mails) {
        // Who wants mod-sequences only since a while knows some of them.
        let modseq = [0, is.modseq].contains(&known.modseq) || !picture.dialect.condstore;
        if known.flags != is.flags || !modseq {
            return Err(format!("{known:?} is {is:?}"));
        }
    }
    Ok(())
}
