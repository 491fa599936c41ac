//! Which way a message goes: the routes that admins set, in memory, and what follows from them.
//!
//! ```text
//!                    recipient's domain            sender's domain          everybody
//!   asked in order   example.org, .org          ─▶ example.com, .com     ─▶ *  ─▶ queue.smart_host
//!                                                                               └▶ MX
//! ```
//! Where mail goes and what it is sent from are two questions: each is answered by the first route
//! that says something about it.
//! Invariants: pure; ways with the same hop go to the same servers, from the same addresses, as the
//! same login.
//! Not here: the table of the routes (`store::routes`), how they change (`change`).

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use grace_mail::address::{Charset, Mailbox};
use grace_smtp::login::Secret;
use grace_smtp::sender::settings::Login;

use super::Host;
use super::order::mixed;
use crate::config::names::Source;
use crate::store::routes::{Of, RouteRow, Tls, To};

/// The pattern that fits everybody.
pub(super) const EVERYBODY: &str = "*";

/// A server that takes mail for others.
#[derive(Debug, Clone)]
pub struct SmartHost {
    /// Where.
    pub host: Host,
    /// How it is spoken to.
    pub tls: Tls,
    /// Who we are there.
    pub login: Option<Login>,
}

impl SmartHost {
    /// One without more to say.
    pub(super) fn plain(host: Host) -> Self {
        Self { host, tls: Tls::Opportunistic, login: None }
    }
}

/// `relay.example.org:587`, for people to read.
impl fmt::Display for SmartHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host.name, self.host.port)
    }
}

/// The way a message goes.
#[derive(Debug, Clone)]
pub struct Way {
    /// What all mail that goes this way has in common; the same text for no other.
    pub hop: String,
    /// The domain whose servers take it, or a server in brackets.
    pub to: String,
    /// The smart host, if it is one.
    pub smart_host: Option<Arc<SmartHost>>,
    /// Addresses to send from that a route names.
    own: Arc<[Source]>,
    /// Those of the settings.
    usual: Arc<[Source]>,
}

impl Way {
    /// Whether it leads to a smart host that must prove who it is.
    #[must_use]
    pub fn is_proved(&self) -> bool {
        self.smart_host.as_ref().is_some_and(|smart| smart.tls != Tls::Opportunistic)
    }

    /// Where a connection to `peer` comes from; `None`: from where the system likes. By turns, and
    /// always from the same for one hop.
    #[must_use]
    pub fn source(&self, peer: IpAddr) -> Option<&Source> {
        let fits = |source: &&Source| source.address.is_ipv4() == peer.is_ipv4();
        [&self.own, &self.usual].into_iter().find_map(|sources| {
            let count = sources.iter().filter(fits).count() as u64;
            let turn = mixed(&self.hop, 0).checked_rem(count)?;
            sources.iter().filter(fits).nth(usize::try_from(turn).unwrap_or_default())
        })
    }

    /// The same addresses, first those that can be reached from an address we are to send from.
    #[must_use]
    pub fn sorted(&self, mut peers: Vec<SocketAddr>) -> Vec<SocketAddr> {
        peers.sort_by_key(|peer| match self.source(peer.ip()) {
            Some(source) if self.own.contains(source) => 0,
            Some(_) if self.own.is_empty() => 0,
            Some(_) => 1,
            None => 2,
        });
        peers
    }
}

/// What one route says.
#[derive(Debug, Default)]
struct Rule {
    to: Option<Target>,
    sources: Arc<[Source]>,
}

#[derive(Debug, Clone)]
enum Target {
    Direct,
    SmartHost(Arc<SmartHost>),
}

/// All routes.
#[derive(Debug, Default)]
pub(super) struct Rules {
    recipients: HashMap<String, Rule>,
    senders: HashMap<String, Rule>,
    /// What the settings say.
    smart_host: Option<Arc<SmartHost>>,
    usual: Arc<[Source]>,
}

impl Rules {
    pub(super) fn new(
        rows: impl IntoIterator<Item = RouteRow>,
        smart_host: Option<Arc<SmartHost>>,
        usual: Arc<[Source]>,
    ) -> Self {
        let mut rules = Self { smart_host, usual, ..Self::default() };
        for row in rows {
            let target = match To::from_row(row.to) {
                To::Unsaid => None,
                To::Direct => Some(Target::Direct),
                To::SmartHost => Some(Target::SmartHost(Arc::new(smart_host_of(&row)))),
            };
            let sources = row.sources.iter().flat_map(|source| source.parse()).collect();
            let known = match Of::from_row(row.of) {
                Of::Recipient => &mut rules.recipients,
                Of::Sender => &mut rules.senders,
            };
            known.insert(row.pattern.clone(), Rule { to: target, sources });
        }
        rules
    }

    /// The way to a destination for mail of this sender: empty for nobody's.
    pub(super) fn way(&self, destination: &str, sender: &str) -> Way {
        // A server that an admin or an address names is meant; what it is sent from may be said.
        let is_server = destination.starts_with('[');
        let chosen = match self.first(destination, sender, |rule| rule.to.clone()) {
            _ if is_server => None,
            Some(Target::Direct) => None,
            Some(Target::SmartHost(host)) => Some(host),
            None => self.smart_host.clone(),
        };
        let to = match &chosen {
            Some(smart) => format!("[{}]:{}", smart.host.name, smart.host.port),
            None => destination.to_owned(),
        };
        let named = |rule: &Rule| (!rule.sources.is_empty()).then(|| Arc::clone(&rule.sources));
        let own = self.first(destination, sender, named).unwrap_or_default();
        let hop = hop(&to, chosen.as_deref(), &own);
        Way { hop, to, smart_host: chosen, own, usual: Arc::clone(&self.usual) }
    }

    /// What the first route says that says something.
    fn first<T>(
        &self,
        recipient: &str,
        sender: &str,
        said: impl Fn(&Rule) -> Option<T>,
    ) -> Option<T> {
        if self.recipients.is_empty() && self.senders.is_empty() {
            return None;
        }
        let find = |known: &HashMap<String, Rule>, patterns: Vec<&str>| {
            patterns.into_iter().find_map(|pattern| said(known.get(pattern)?))
        };
        let sender = domain_of(sender);
        find(&self.recipients, patterns(recipient))
            .or_else(|| find(&self.senders, patterns(&sender)))
            .or_else(|| find(&self.recipients, vec![EVERYBODY]))
    }
}

/// Names a way so that no other has the name. What may hold anything stands last.
fn hop(to: &str, smart: Option<&SmartHost>, own: &[Source]) -> String {
    let mut hop = to.to_owned();
    if !own.is_empty() {
        let own: Vec<String> = own.iter().map(ToString::to_string).collect();
        hop.push_str(&format!(";from={}", own.join(",")));
    }
    if let Some(smart) = smart {
        match smart.tls {
            Tls::Opportunistic => {}
            Tls::StartTls => hop.push_str(";starttls"),
            Tls::Immediate => hop.push_str(";tls"),
        }
        if let Some(login) = &smart.login {
            hop.push_str(&format!(";as={}", login.name));
        }
    }
    hop
}

/// The patterns that fit a domain, the closest first: itself, then what it stands below.
fn patterns(domain: &str) -> Vec<&str> {
    let above = domain.match_indices('.').filter_map(|(at, _)| domain.get(at..));
    std::iter::once(domain).chain(above).collect()
}

/// The domain of a sender, as patterns have it; empty: there is none.
fn domain_of(sender: &str) -> String {
    let address = Mailbox::parse(sender, Charset::Utf8).ok();
    let domain = address.as_ref().and_then(Mailbox::domain);
    domain.map(|domain| domain.as_str().to_owned()).unwrap_or_default()
}

fn smart_host_of(row: &RouteRow) -> SmartHost {
    let password = || Secret::new(row.password.clone());
    SmartHost {
        host: Host { name: row.host.clone(), port: row.port },
        tls: Tls::from_row(row.tls),
        login: (!row.login.is_empty())
            .then(|| Login { name: row.login.clone(), password: password() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(of: Of, pattern: &str, to: To, host: &str) -> RouteRow {
        RouteRow {
            of: of as u8,
            pattern: pattern.to_owned(),
            to: to as u8,
            host: host.to_owned(),
            port: 587,
            tls: Tls::StartTls as u8,
            login: String::new(),
            password: String::new(),
            sources: Vec::new(),
            changed_us: 1,
        }
    }

    fn from(mut row: RouteRow, sources: &[&str]) -> RouteRow {
        row.sources = sources.iter().map(|source| (*source).to_owned()).collect();
        row
    }

    fn rules(rows: Vec<RouteRow>, usual: &[&str]) -> Rules {
        let smart_host = SmartHost::plain(Host { name: "usual".to_owned(), port: 25 });
        let usual = usual.iter().map(|source| source.parse().unwrap()).collect();
        Rules::new(rows, Some(Arc::new(smart_host)), usual)
    }

    #[test]
    fn the_closest_route_is_taken() {
        let rules = rules(
            vec![
                row(Of::Recipient, "far.test", To::SmartHost, "exact"),
                row(Of::Recipient, ".far.test", To::SmartHost, "below"),
                row(Of::Recipient, ".a.far.test", To::Direct, ""),
                row(Of::Sender, "grace.test", To::SmartHost, "sender"),
                row(Of::Sender, ".grace.test", To::SmartHost, "senders"),
                row(Of::Recipient, "*", To::SmartHost, "all"),
            ],
            &[],
        );
        #[rustfmt::skip]
        let table = [
            ("far.test",     "x@grace.test",   "[exact]:587;starttls"),
            ("b.far.test",   "x@grace.test",   "[below]:587;starttls"),
            ("c.b.far.test", "",               "[below]:587;starttls"),
            ("b.a.far.test", "x@grace.test",   "b.a.far.test"),
            ("a.far.test",   "x@grace.test",   "[below]:587;starttls"),
            ("other.test",   "x@Grace.test",   "[sender]:587;starttls"),
            ("other.test",   "x@y.grace.test", "[senders]:587;starttls"),
            ("other.test",   "",               "[all]:587;starttls"),
            ("xfar.test",    "x@xgrace.test",  "[all]:587;starttls"),
            ("[mx.test]:26", "x@grace.test",   "[mx.test]:26"),
        ];
        for (destination, sender, hop) in table {
            assert_eq!(rules.way(destination, sender).hop, hop, "{destination} {sender}");
        }
        let none = rules_of_settings().way("other.test", "x@grace.test");
        assert_eq!((none.hop.as_str(), none.to.as_str()), ("[usual]:25", "[usual]:25"));
    }

    fn rules_of_settings() -> Rules {
        rules(Vec::new(), &[])
    }

    fn rules_from(usual: &[&str]) -> Rules {
        rules(Vec::new(), usual)
    }

    #[test]
    fn mail_of_one_smart_host_goes_together_and_that_of_another_login_does_not() {
        let with_login = |pattern, login: &str| {
            let mut row = row(Of::Recipient, pattern, To::SmartHost, "relay");
            row.login = login.to_owned();
            row
        };
        let rows = vec![
            with_login("a.test", "anna"),
            with_login("b.test", "anna"),
            with_login("c.test", "bob"),
            from(with_login("d.test", "anna"), &["192.0.2.1"]),
        ];
        let rules = rules(rows, &[]);
        let hop = |domain: &str| rules.way(domain, "").hop;
        assert_eq!(hop("a.test"), "[relay]:587;starttls;as=anna");
        assert_eq!(hop("b.test"), hop("a.test"));
        assert_eq!(hop("c.test"), "[relay]:587;starttls;as=bob");
        assert_eq!(hop("d.test"), "[relay]:587;from=192.0.2.1;starttls;as=anna");
    }

    #[test]
    fn sources_take_turns_and_stay_with_their_destination() {
        let rows = vec![from(
            row(Of::Sender, "grace.test", To::Unsaid, ""),
            &["192.0.2.9=out.grace.test"],
        )];
        let rules = rules(rows, &["192.0.2.1", "192.0.2.2", "2001:db8::1"]);
        let four: IpAddr = "198.51.100.1".parse().unwrap();
        let six: IpAddr = "2001:db8:ff::1".parse().unwrap();
        let source = |destination: &str, sender: &str, peer| {
            let way = rules.way(destination, sender);
            way.source(peer).map(ToString::to_string)
        };
        let mut counts = HashMap::new();
        for number in 0..1_000 {
            let destination = format!("[d{number}.test]");
            let chosen = source(&destination, "", four).unwrap();
            assert_eq!(source(&destination, "x@other.test", four).unwrap(), chosen, "stable");
            *counts.entry(chosen).or_insert(0) += 1;
        }
        assert!(counts.len() == 2 && counts.values().all(|count| *count > 400), "{counts:?}");
        let own = Some("192.0.2.9=out.grace.test".to_owned());
        assert_eq!(source("[d.test]", "x@grace.test", four), own);
        assert_eq!(source("[d.test]", "x@grace.test", six), Some("2001:db8::1".to_owned()));
        // Where mail may come from first.
        let peers: Vec<SocketAddr> =
            [six, four].into_iter().map(|ip| SocketAddr::new(ip, 25)).collect();
        let sorted = |rules: &Rules, sender| {
            let way = rules.way("[d.test]", sender);
            way.sorted(peers.clone()).into_iter().map(|peer| peer.ip()).collect::<Vec<_>>()
        };
        assert_eq!(sorted(&rules, "x@grace.test"), [four, six]);
        assert_eq!(sorted(&rules, "x@other.test"), [six, four], "both are as good");
        assert_eq!(sorted(&rules_of_settings(), ""), [six, four]);
        let without_six = rules_from(&["192.0.2.1"]);
        assert_eq!(sorted(&without_six, ""), [four, six]);
        assert_eq!(without_six.way("[d.test]", "").source(six), None, "the system's choice");
    }
}
