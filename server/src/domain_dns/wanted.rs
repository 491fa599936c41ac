//! The records a domain is to publish, from what is known of its server.
//!
//! Invariant: pure; the same facts give the same records, in the order in which they matter.
//! Not here: asking whether they are there ([`super::check`]).

use std::fmt::Write as _;
use std::net::IpAddr;

use aws_lc_rs::digest::{SHA256, digest};

use grace_ipc::domain_dns::{DnsImportance, DnsPurpose, DnsVerdict, DomainDnsRow};
use grace_ipc::event::Service;

use super::facts::{Addresses, Facts, is_reachable, standard_port};
use crate::store::dkim::KeyState;

/// How long others may remember a record, in seconds: who corrects a mistake is heard in an hour.
const TTL_S: u32 = 3_600;
/// How long others hold on to the policy, in seconds: RFC 8461 3.2 wants weeks, and a mistake of
/// ours should not last so long.
const POLICY_AGE_S: u32 = 604_800;
/// Bytes of the policy's hash that tell one policy from another; in digits as many as RFC 8461 3.1
/// allows.
const POLICY_ID_BYTES: usize = 16;

use DnsImportance::{Optional, Recommended, Required};

/// A record, and how it is looked for.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) row: DomainDnsRow,
    pub(super) look: Look,
}

/// How a record is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Look {
    /// MX names us.
    Mx,
    /// Our name has this address; the settings know it or they do not.
    Address(IpAddr, bool),
    /// Our name has any address.
    AnyAddress,
    /// SPF of this name lets these send.
    Spf(Vec<IpAddr>),
    /// The DNS has the key with this selector.
    Dkim(String),
    /// There is nothing to be published yet, and that is wrong.
    Absent,
    /// A policy for mail that is not the domain's own.
    Dmarc,
    /// A policy for the way to it is announced.
    PolicyText,
    /// There is a host that could serve it.
    PolicyHost,
    /// Reports have an address.
    TlsReports,
    /// Our key is expected.
    Tlsa([u8; 32]),
    /// A service is at this port of ours.
    Offered(u16),
    /// A service is said not to be there.
    NotOffered,
    /// A host with the settings of mail programs.
    Settings,
    /// The address has our name.
    Reverse(IpAddr),
    /// The policy itself, over HTTPS.
    PolicyFile,
}

/// All records.
pub(super) fn records(facts: &Facts) -> Vec<Wanted> {
    let mut all = vec![mx(facts)];
    addresses(facts, &mut all);
    all.extend(sender_policies(facts));
    keys(facts, &mut all);
    all.push(dmarc(facts));
    all.extend(reverse(facts));
    all.extend(services(facts));
    all.extend(transport_policy(facts));
    all.push(tls_reports(facts));
    all.extend(tlsa(facts));
    all.extend(settings(facts));
    all
}

/// A record of a type at a name; the rest is said with the others' words.
fn record(
    (purpose, importance): (DnsPurpose, DnsImportance),
    (record_type, name, value): (&str, String, String),
    look: Look,
    why: &str,
) -> Wanted {
    let row = DomainDnsRow {
        purpose,
        record_type: record_type.to_owned(),
        name,
        value,
        ttl_s: TTL_S,
        importance,
        why: why.to_owned(),
        verdict: DnsVerdict::Unchecked,
        found: Vec::new(),
        advice: String::new(),
    };
    Wanted { row, look }
}

impl Wanted {
    fn advised(mut self, advice: impl Into<String>) -> Self {
        self.row.advice = advice.into();
        self
    }
}

/// RFC 5321 5.1.
fn mx(facts: &Facts) -> Wanted {
    let value = format!("10 {}.", facts.hostname);
    record(
        (DnsPurpose::Mx, Required),
        ("MX", facts.domain.clone(), value),
        Look::Mx,
        "Other servers ask it where mail for the domain goes; without it none comes",
    )
}

/// RFC 1035 3.4.1, RFC 3596.
fn addresses(facts: &Facts, all: &mut Vec<Wanted>) {
    const WHY: &str = "Other servers and mail programs reach this server by it";
    let of_purpose = (DnsPurpose::Address, Required);
    let is_known = matches!(facts.addresses, Addresses::Known(_));
    for &ip in facts.addresses.list() {
        let kind = if ip.is_ipv4() { "A" } else { "AAAA" };
        let at = (kind, facts.hostname.clone(), ip.to_string());
        all.push(record(of_purpose, at, Look::Address(ip, is_known), WHY));
    }
    if facts.addresses.list().is_empty() {
        let at = ("A", facts.hostname.clone(), String::new());
        let row = record(of_purpose, at, Look::AnyAddress, WHY);
        all.push(row.advised("the address by which others reach this server"));
    }
}

/// RFC 7208; 2.3 has it of the name a server greets with, too.
fn sender_policies(facts: &Facts) -> Vec<Wanted> {
    let mut value = "v=spf1 mx".to_owned();
    if let Some(relay) = &facts.relay {
        let term = if relay.parse::<IpAddr>().is_ok() { "ip4" } else { "a" };
        let _ = write!(value, " {term}:{relay}");
    }
    value.push_str(" ~all");
    let of_domain = record(
        (DnsPurpose::Spf, Required),
        ("TXT", facts.domain.clone(), value),
        Look::Spf(facts.sending.clone()),
        "It says which servers send for the domain; big providers take no mail of one without it",
    );
    if facts.hostname == facts.domain {
        return vec![of_domain];
    }
    let own: Vec<IpAddr> = facts.addresses.list().to_vec();
    let of_host = record(
        (DnsPurpose::Spf, Recommended),
        ("TXT", facts.hostname.clone(), "v=spf1 a -all".to_owned()),
        Look::Spf(own),
        "Notifications have no sender; of those the name that this server greets with is checked",
    );
    vec![of_domain, of_host]
}

/// RFC 6376 3.6.1.
fn keys(facts: &Facts, all: &mut Vec<Wanted>) {
    for key in &facts.keys {
        let (importance, why) = match key.state {
            KeyState::Retired => (
                Recommended,
                "Mail that it signed is still on its way; keep it until the key is deleted",
            ),
            KeyState::Waiting | KeyState::Signing => (
                Required,
                "With it others check that mail is the domain's own and was not changed; big \
                 providers ask for it",
            ),
        };
        let at = ("TXT", key.record.name.clone(), key.record.text.clone());
        let look = Look::Dkim(key.selector.clone());
        all.push(record((DnsPurpose::Dkim, importance), at, look, why));
    }
    if facts.keys.is_empty() {
        let at = ("TXT", format!("_domainkey.{}", facts.domain), String::new());
        let row = record(
            (DnsPurpose::Dkim, Required),
            at,
            Look::Absent,
            "Mail of the domain is not signed; big providers ask for that",
        );
        all.push(row.advised(format!("make keys: gracectl dkim create {}", facts.domain)));
    }
}

/// RFC 9989 4.
fn dmarc(facts: &Facts) -> Wanted {
    let domain = &facts.domain;
    let value = format!("v=DMARC1; p=quarantine; rua=mailto:postmaster@{domain}");
    record(
        (DnsPurpose::Dmarc, Recommended),
        ("TXT", format!("_dmarc.{domain}"), value),
        Look::Dmarc,
        "It tells others to put aside what only pretends to be from the domain, and to report it",
    )
}

/// RFC 8601 3; RFC 1035 3.5, RFC 3596 2.5.
fn reverse(facts: &Facts) -> Vec<Wanted> {
    let reachable = facts.addresses.list().iter().filter(|ip| is_reachable(**ip));
    let rows = reachable.map(|&ip| {
        let row = record(
            (DnsPurpose::Reverse, Required),
            ("PTR", reverse_name(ip), format!("{}.", facts.hostname)),
            Look::Reverse(ip),
            "Many servers take no mail from an address without a name that leads back to it",
        );
        row.advised("whoever gave you the address publishes this: ask there")
    });
    rows.collect()
}

/// The name under which an address's name stands.
fn reverse_name(ip: IpAddr) -> String {
    let mut name = String::new();
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            for byte in ip.octets().iter().rev() {
                let _ = write!(name, "{byte}.");
            }
            name + "in-addr.arpa"
        }
        IpAddr::V6(ip) => {
            for byte in ip.octets().iter().rev() {
                let _ = write!(name, "{:x}.{:x}.", byte & 15, byte >> 4);
            }
            name + "ip6.arpa"
        }
    }
}

/// RFC 6186 3, RFC 8314 5.1.
fn services(facts: &Facts) -> Vec<Wanted> {
    let known = [
        ("submissions", Some(Service::Submissions)),
        ("submission", Some(Service::Submission)),
        ("imaps", Some(Service::Imaps)),
        ("imap", Some(Service::Imap)),
        ("pop3s", None),
        ("pop3", None),
    ];
    let rows = known.into_iter().map(|(label, service)| {
        let name = format!("_{label}._tcp.{}", facts.domain);
        let offered = facts.offered.iter().find(|(known, _)| Some(*known) == service);
        match offered {
            Some(&(service, port)) => {
                let is_usual = port == standard_port(service);
                let importance = if is_usual { Recommended } else { Required };
                record(
                    (DnsPurpose::Service, importance),
                    ("SRV", name, format!("0 1 {port} {}.", facts.hostname)),
                    Look::Offered(port),
                    "Mail programs find this server by it, with nothing but an address typed in",
                )
            }
            None => record(
                (DnsPurpose::Service, Optional),
                ("SRV", name, "0 0 0 .".to_owned()),
                Look::NotOffered,
                "It spares mail programs looking for a service that is not offered",
            ),
        }
    });
    rows.collect()
}

/// RFC 8461 3.
fn transport_policy(facts: &Facts) -> [Wanted; 3] {
    let domain = &facts.domain;
    // A server that trusts nobody unknown would deliver nothing.
    let mode = if facts.is_self_signed { "testing" } else { "enforce" };
    let policy =
        format!("version: STSv1\nmode: {mode}\nmx: {}\nmax_age: {POLICY_AGE_S}\n", facts.hostname);
    let hash = digest(&SHA256, policy.as_bytes());
    let id: String =
        hash.as_ref().iter().take(POLICY_ID_BYTES).map(|byte| format!("{byte:02x}")).collect();
    let of_purpose = (DnsPurpose::MtaSts, Optional);
    let host = format!("mta-sts.{domain}");
    let file = format!("https://{host}/.well-known/mta-sts.txt");
    [
        record(
            of_purpose,
            ("TXT", format!("_mta-sts.{domain}"), format!("v=STSv1; id={id}")),
            Look::PolicyText,
            "It announces the policy that mail for the domain comes encrypted to known servers \
             only; its id changes with the policy",
        ),
        record(
            of_purpose,
            ("CNAME", host, format!("{}.", facts.hostname)),
            Look::PolicyHost,
            "Other servers fetch the policy from there",
        ),
        record(
            of_purpose,
            ("file", file, policy),
            Look::PolicyFile,
            "It is the policy: nobody on the way can switch encryption off or take the mail",
        ),
    ]
}

/// RFC 8460 3.
fn tls_reports(facts: &Facts) -> Wanted {
    let domain = &facts.domain;
    record(
        (DnsPurpose::TlsReports, Recommended),
        (
            "TXT",
            format!("_smtp._tls.{domain}"),
            format!("v=TLSRPTv1; rua=mailto:postmaster@{domain}"),
        ),
        Look::TlsReports,
        "Other servers report there when mail for the domain could not come encrypted",
    )
}

/// RFC 7672 3.1.1: DANE-EE, SPKI, SHA-256.
fn tlsa(facts: &Facts) -> Option<Wanted> {
    let key = facts.key_sha256?;
    let hash: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(record(
        (DnsPurpose::Tlsa, Optional),
        ("TLSA", format!("_25._tcp.{}", facts.hostname), format!("3 1 1 {hash}")),
        Look::Tlsa(key),
        "It tells which key this server has, and that it is encrypted; it counts only in a domain \
         signed with DNSSEC",
    ))
}

fn settings(facts: &Facts) -> Vec<Wanted> {
    let rows = ["autoconfig", "autodiscover"].into_iter().map(|label| {
        record(
            (DnsPurpose::Autoconfig, Optional),
            ("CNAME", format!("{label}.{}", facts.domain), format!("{}.", facts.hostname)),
            Look::Settings,
            "Mail programs that know no SRV records fetch their settings there, where they are \
             served",
        )
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing::Key;
    use crate::signing::record::Record;
    use crate::store::dkim::KeyAlgorithm;

    #[test]
    fn the_zone_of_a_domain() {
        let key = Key {
            domain: "example.org".to_owned(),
            selector: "g1".to_owned(),
            algorithm: KeyAlgorithm::Ed25519,
            state: KeyState::Signing,
            created_us: 0,
            changed_us: 0,
            record: Record {
                name: "g1._domainkey.example.org".to_owned(),
                text: "v=DKIM1; k=ed25519; p=AA==".to_owned(),
            },
        };
        let facts = Facts {
            domain: "example.org".to_owned(),
            hostname: "mail.example.net".to_owned(),
            addresses: Addresses::Known(vec![
                "192.0.2.25".parse().unwrap(),
                "2001:db8::25".parse().unwrap(),
            ]),
            sending: Vec::new(),
            relay: Some("192.0.2.99".to_owned()),
            keys: vec![key],
            key_sha256: Some([0xAB; 32]),
            is_self_signed: false,
            offered: vec![(Service::Submissions, 465), (Service::Imaps, 9_930)],
        };
        let zone = records(&facts).into_iter().map(|wanted| wanted.row.zone_line());
        let zone: Vec<String> = zone.collect();
        let hash = "ab".repeat(32);
        let nibbles = "5.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2";
        let policy = "; a file at https://mta-sts.example.org/.well-known/mta-sts.txt:\n\
                      ;   version: STSv1\n;   mode: enforce\n;   mx: mail.example.net\n\
                      ;   max_age: 604800";
        let expected = format!(
            r#"example.org. 3600 IN MX 10 mail.example.net.
mail.example.net. 3600 IN A 192.0.2.25
mail.example.net. 3600 IN AAAA 2001:db8::25
example.org. 3600 IN TXT "v=spf1 mx ip4:192.0.2.99 ~all"
mail.example.net. 3600 IN TXT "v=spf1 a -all"
g1._domainkey.example.org. 3600 IN TXT "v=DKIM1; k=ed25519; p=AA=="
_dmarc.example.org. 3600 IN TXT "v=DMARC1; p=quarantine; rua=mailto:postmaster@example.org"
25.2.0.192.in-addr.arpa. 3600 IN PTR mail.example.net.
{nibbles}.ip6.arpa. 3600 IN PTR mail.example.net.
_submissions._tcp.example.org. 3600 IN SRV 0 1 465 mail.example.net.
_submission._tcp.example.org. 3600 IN SRV 0 0 0 .
_imaps._tcp.example.org. 3600 IN SRV 0 1 9930 mail.example.net.
_imap._tcp.example.org. 3600 IN SRV 0 0 0 .
_pop3s._tcp.example.org. 3600 IN SRV 0 0 0 .
_pop3._tcp.example.org. 3600 IN SRV 0 0 0 .
_mta-sts.example.org. 3600 IN TXT "v=STSv1; id=POLICY"
mta-sts.example.org. 3600 IN CNAME mail.example.net.
{policy}
_smtp._tls.example.org. 3600 IN TXT "v=TLSRPTv1; rua=mailto:postmaster@example.org"
_25._tcp.mail.example.net. 3600 IN TLSA 3 1 1 {hash}
autoconfig.example.org. 3600 IN CNAME mail.example.net.
autodiscover.example.org. 3600 IN CNAME mail.example.net."#
        );
        let id = id_of(&zone);
        assert_eq!(zone.join("\n"), expected.replace("POLICY", &id));
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
        let other = records(&Facts { is_self_signed: true, ..facts.clone() });
        let other: Vec<String> = other.into_iter().map(|wanted| wanted.row.zone_line()).collect();
        assert!(other.iter().any(|line| line.contains("mode: testing")));
        assert_ne!(id_of(&other), id, "another policy");

        let unknown = Facts { addresses: Addresses::Unknown, keys: Vec::new(), ..facts };
        let comments = records(&unknown).into_iter().map(|wanted| wanted.row.zone_line());
        let comments: Vec<String> =
            comments.filter(|line| line.starts_with("; ") && !line.contains('\n')).collect();
        let expected = [
            "; mail.example.net. A: the address by which others reach this server",
            "; _domainkey.example.org. TXT: make keys: gracectl dkim create example.org",
        ];
        assert_eq!(comments, expected);
    }

    fn id_of(zone: &[String]) -> String {
        let line = zone.iter().find(|line| line.starts_with("_mta-sts.")).unwrap();
        line.split("id=").nth(1).unwrap().trim_end_matches('"').to_owned()
    }
}
