//! What is asked about a stranger at the door for other servers, and how much anybody may send.
//!
//! ```text
//!   EHLO ─▶ inquire ─▶ block lists, allow lists, names ─▶ Findings ─┐ while the peer talks
//!   MAIL ─▶ may_send     so many an hour                            │
//!   RCPT ─▶ may_reach    likewise      Findings::refusal ◀──────────┘
//!                                      greylist: come again
//! ```
//! Invariants: whoever is trusted is asked nothing; each refusal names its rule; memory is bounded
//! by settings. Everything is off or generous unless it is set otherwise.
//! Not here: connections (`net::gate`), who sits behind which network name (`config`), the dialogue
//! (`inbound::session`).

pub mod greylist;
pub mod lists;
mod misfits;
pub mod names;

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gracedb::db::Db;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use grace_smtp::reply::Reply;

use self::greylist::Greylist;
use self::lists::{Listing, Lists};
use self::misfits::Misfits;
use self::names::Fit;
use crate::config::limits::DoorRules;
use crate::config::names::Network;
use crate::dns::Resolver;
use crate::net::prefixes::Prefixes;
use crate::net::rates::Rates;
use crate::telemetry::bus::{Bus, now_us};
use crate::telemetry::stop::Stop;

/// What messages and recipients are counted in.
const HOUR: Duration = Duration::from_secs(3_600);
/// How often old rows of the greylist are looked for.
const TIDY_PAUSE: Duration = HOUR;

/// Looks after the door. Cloning gives another handle.
#[derive(Clone)]
pub struct Guard(Arc<Inner>);

struct Inner {
    rules: DoorRules,
    prefixes: Prefixes,
    resolver: Resolver,
    block_lists: Lists,
    allow_lists: Lists,
    greylist: Option<Greylist>,
    sent: Mutex<Sent>,
    misfits: Mutex<Misfits>,
}

/// What was sent of late.
struct Sent {
    messages_of_addresses: Rates<IpAddr>,
    recipients_of_addresses: Rates<IpAddr>,
    messages_of_accounts: Rates<u64>,
    recipients_of_accounts: Rates<u64>,
}

/// Whose sending is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted<'a> {
    /// A peer without a login.
    Address(IpAddr),
    /// Somebody who logged in: number and address.
    Account(u64, &'a str),
}

/// Why something is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The setting or the block list.
    pub rule: String,
    /// Why, in words for the admin; the same each time.
    pub reason: String,
    /// What the peer is told.
    pub reply: Reply,
}

/// What was found out about a peer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Block lists that have it.
    pub listed: Vec<Listing>,
    /// An allow list that has it.
    pub allowed: Option<Listing>,
    /// Whether its name in EHLO has its address.
    pub helo: Fit,
    /// Whether its address has a name that has the address; asked only where that decides.
    pub iprev: Fit,
}

impl Guard {
    /// A guard by these settings.
    ///
    /// # Errors
    /// The greylist cannot be opened.
    pub fn new(rules: &DoorRules, resolver: &Resolver, db: Db, bus: &Bus) -> Result<Self, String> {
        let greylist = match rules.greylisting.as_str() {
            "on" => Some(Greylist::open(db, rules)?),
            _ => None,
        };
        let (addresses, accounts) = (|count| rates(rules, count), |count| rates(rules, count));
        let sent = Sent {
            messages_of_addresses: addresses(rules.messages_per_hour_address),
            recipients_of_addresses: addresses(rules.recipients_per_hour_address),
            messages_of_accounts: accounts(rules.messages_per_hour_account),
            recipients_of_accounts: accounts(rules.recipients_per_hour_account),
        };
        Ok(Self(Arc::new(Inner {
            prefixes: Prefixes::new(rules),
            resolver: resolver.clone(),
            block_lists: Lists::new(&rules.block_lists, rules, resolver, bus),
            allow_lists: Lists::new(&rules.allow_lists, rules, resolver, bus),
            greylist,
            sent: Mutex::new(sent),
            misfits: Mutex::default(),
            rules: rules.clone(),
        })))
    }

    /// The settings.
    #[must_use]
    pub fn rules(&self) -> &DoorRules {
        &self.0.rules
    }

    /// Whether a peer is neither limited nor checked.
    #[must_use]
    pub fn is_trusted(&self, peer: IpAddr) -> bool {
        is_in(&self.0.rules.trusted_networks, peer)
    }

    /// Whether a peer may send to anywhere without a login.
    #[must_use]
    pub fn may_relay(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.0.rules.relay_networks.iter().any(|network| network.0.contains(peer))
    }

    /// Whether block lists and greylisting do not matter.
    #[must_use]
    pub fn is_allowed(&self, peer: IpAddr) -> bool {
        is_in(&self.0.rules.allow_networks, peer)
    }

    /// The network that a peer belongs to.
    #[must_use]
    pub fn network(&self, peer: IpAddr) -> IpAddr {
        self.0.prefixes.network(peer)
    }

    /// The greylist, where there is one.
    #[must_use]
    pub fn greylist(&self) -> Option<&Greylist> {
        self.0.greylist.as_ref()
    }

    /// Finds out about a peer that introduced itself.
    pub async fn inquire(self, peer: IpAddr, helo: String) -> Findings {
        let Inner { rules, resolver, block_lists, allow_lists, .. } = &*self.0;
        let peer = peer.to_canonical();
        let (asks_lists, asks_helo) = (!self.is_allowed(peer), rules.helo_mismatch != "ignore");
        let asks_iprev = rules.iprev_missing == "refuse";
        let time_max = Duration::from_millis(rules.list_time_max_ms);
        let (listed, allowed, helo, iprev) = tokio::join!(
            async { if asks_lists { block_lists.ask(peer).await } else { Vec::new() } },
            async { if asks_lists { allow_lists.ask(peer).await } else { Vec::new() } },
            names::in_time(time_max, asks_helo, names::helo(resolver, peer, &helo)),
            names::in_time(time_max, asks_iprev, names::iprev(resolver, peer)),
        );
        Findings { listed, allowed: allowed.into_iter().next(), helo, iprev }
    }

    /// Counts a message.
    ///
    /// # Errors
    /// It is one too many for now.
    pub fn may_send(&self, now: Instant, who: Counted<'_>) -> Result<(), Refusal> {
        let mut sent = self.0.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let (taken, rule) = match who {
            Counted::Address(peer) => {
                let one = self.0.prefixes.address(peer);
                (sent.messages_of_addresses.take(now, one), "door.messages_per_hour_address")
            }
            Counted::Account(id, _) => {
                (sent.messages_of_accounts.take(now, id), "door.messages_per_hour_account")
            }
        };
        taken.map_err(|wait| too_much(who, rule, "messages", 451, wait))
    }

    /// Counts a recipient.
    ///
    /// # Errors
    /// It is one too many for now.
    pub fn may_reach(&self, now: Instant, who: Counted<'_>) -> Result<(), Refusal> {
        let mut sent = self.0.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let (taken, rule) = match who {
            Counted::Address(peer) => {
                let one = self.0.prefixes.address(peer);
                (sent.recipients_of_addresses.take(now, one), "door.recipients_per_hour_address")
            }
            Counted::Account(id, _) => {
                (sent.recipients_of_accounts.take(now, id), "door.recipients_per_hour_account")
            }
        };
        taken.map_err(|wait| too_much(who, rule, "recipients", 452, wait))
    }

    /// Notes whom a message to several did not fit, so that it comes to the others next time.
    pub fn did_not_fit(&self, now: Instant, accounts: &[u64], sender: &str) {
        let mut misfits = self.0.misfits.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.iter().for_each(|&account| misfits.note(now, account, sender));
    }

    /// Whether a message of a sender is to leave out an account this time, for the others' sake.
    pub fn leaves_out(&self, now: Instant, account: u64, sender: &str) -> bool {
        let mut misfits = self.0.misfits.lock().unwrap_or_else(PoisonError::into_inner);
        misfits.strike_out(now, account, sender)
    }

    /// Lets go of old rows now and then, until the server stops.
    pub async fn keep(self, stop: Stop) {
        let Some(greylist) = self.greylist().cloned() else { return };
        loop {
            let greylist = greylist.clone();
            let tidied = spawn_blocking(move || greylist.tidy(now_us() / 1_000_000)).await;
            if let Ok(Err(e)) = tidied {
                // Tried again in an hour; until then there is more than there should be.
                tracing::warn!(target: "grace", event = "GreylistNotCut", error = %e);
            }
            tokio::select! {
                () = sleep(TIDY_PAUSE) => {}
                () = stop.wait() => return,
            }
        }
    }
}

impl Findings {
    /// Nobody was asked.
    pub const NOTHING: Self =
        Self { listed: Vec::new(), allowed: None, helo: Fit::Unknown, iprev: Fit::Unknown };

    /// Why a recipient is refused for it, if it is.
    #[must_use]
    pub fn refusal(&self, rules: &DoorRules, peer: IpAddr) -> Option<Refusal> {
        let peer = peer.to_canonical();
        if let Some(Listing { zone, answer, text }) = self.listed.first()
            && rules.listed == "refuse"
            && self.allowed.is_none()
        {
            let why = if text.is_empty() { String::new() } else { format!(": {text}") };
            let words = format!("{peer} is listed in {zone}{why}");
            return Some(Refusal {
                rule: zone.clone(),
                reason: format!("listed in {zone} ({answer})"),
                reply: Reply::new(554, (5, 7, 1), &words),
            });
        }
        if self.helo == Fit::Differs && rules.helo_mismatch == "refuse" {
            let words = "in EHLO you said a name that does not have your address";
            return Some(Refusal {
                rule: "door.helo_mismatch".to_owned(),
                reason: "the name in EHLO does not have the address".to_owned(),
                reply: Reply::new(550, (5, 7, 1), words),
            });
        }
        if self.iprev == Fit::Differs && rules.iprev_missing == "refuse" {
            // RFC 7372 3.3 has the code.
            let words = format!("{peer} has no name that has this address");
            return Some(Refusal {
                rule: "door.iprev_missing".to_owned(),
                reason: "the address has no name that has it".to_owned(),
                reply: Reply::new(550, (5, 7, 25), &words),
            });
        }
        None
    }
}

/// So many an hour.
fn rates<K: Eq + Hash>(rules: &DoorRules, count: u64) -> Rates<K> {
    Rates::new(count, HOUR, rules.counted_max)
}

fn is_in(networks: &[Network], peer: IpAddr) -> bool {
    let peer = peer.to_canonical();
    networks.iter().any(|network| network.contains(peer))
}

fn too_much(who: Counted<'_>, rule: &str, what: &str, code: u16, wait: Duration) -> Refusal {
    let (of, who) = match who {
        Counted::Address(_) => ("your address", "the address".to_owned()),
        Counted::Account(_, address) => (address, address.to_owned()),
    };
    let wait_s = wait.as_secs().max(1);
    let words = format!("too many {what} from {of} in an hour, come again in {wait_s} s");
    Refusal {
        rule: rule.to_owned(),
        reason: format!("too many {what} of {who} in an hour ({rule})"),
        reply: Reply::new(code, (4, 7, 1), &words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(zone: &str) -> Listing {
        let text = "seen, see https://bl.example/".to_owned();
        Listing { zone: zone.to_owned(), answer: [127, 0, 0, 2].into(), text }
    }

    #[test]
    fn what_was_found_decides_by_the_settings() {
        let peer = "192.0.2.1".parse().expect("an address");
        let check = |findings: &Findings, rules: &DoorRules, expected: Option<&str>| {
            let found = findings.refusal(rules, peer).map(|refusal| refusal.reply.to_string());
            assert_eq!(found.as_deref(), expected, "{findings:?}");
        };
        let usual = DoorRules::default();
        let listed = Findings { listed: vec![listing("bl.example")], ..Findings::default() };
        let words = "554 5.7.1 192.0.2.1 is listed in bl.example: seen, see https://bl.example/";
        check(&listed, &usual, Some(words));
        let allowed = Findings { allowed: Some(listing("wl.example")), ..listed.clone() };
        check(&allowed, &usual, None);
        check(&listed, &DoorRules { listed: "tag".to_owned(), ..usual.clone() }, None);
        let odd = Findings { helo: Fit::Differs, iprev: Fit::Differs, ..Findings::default() };
        check(&odd, &usual, None);
        let strict = DoorRules { helo_mismatch: "refuse".to_owned(), ..usual.clone() };
        let words = "550 5.7.1 in EHLO you said a name that does not have your address";
        check(&odd, &strict, Some(words));
        let strict = DoorRules { iprev_missing: "refuse".to_owned(), ..usual };
        check(&odd, &strict, Some("550 5.7.25 192.0.2.1 has no name that has this address"));
        check(&Findings::default(), &strict, None);
    }
}
