//! The configuration: as written in TOML, and as checked.
//!
//! Invariants: whoever holds a [`Config`] holds checked values, no option left open; nothing that
//! changes at run time (domains, accounts, keys) is in it, that lives in the database.
//! Not here: the numbers and choices ([`limits`]), the page that describes every setting
//! ([`mod@reference`]).

pub mod limits;
pub mod lists;
pub mod names;
pub mod reference;

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use grace_ipc::event::Service;
use grace_queue::settings::DELAYS_MAX;

use self::limits::{
    Authenticity, AuthenticityWritten, Dns, DnsWritten, DoorRules, DoorRulesWritten, Limits,
    LimitsWritten, Outgoing, OutgoingWritten, QuotaRules, QuotaRulesWritten, Search, SearchWritten,
    Store, StoreWritten, Transport, TransportWritten,
};
use self::names::Network;

/// Where the configuration is looked for when no `--config` is given.
pub const SYSTEM_FILE: &str = "/etc/grace/graced.toml";
/// Data folder of try mode, below the current folder.
pub const TRY_DATA: &str = "grace-data";
/// Domain of try mode. `test` is reserved for this (RFC 2606 2).
pub const TRY_DOMAIN: &str = "grace.test";
/// Data folder where a configuration file names none.
const SYSTEM_DATA: &str = "/var/lib/grace";
/// Admin socket where a configuration file names none.
const SYSTEM_ADMIN: &str = "/run/grace/admin.sock";

/// The checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name this server greets with, writes into `Received` and expects in its certificate.
    pub hostname: String,
    /// Folder of everything the daemon keeps.
    pub data: PathBuf,
    /// Doors to open.
    pub listen: Vec<Door>,
    /// Proxies whose connections begin with whom they speak for (PROXY protocol, version 2).
    pub proxies: Vec<Network>,
    /// Path of the admin socket.
    pub admin: PathBuf,
    /// System group whose members may use the admin socket as operators.
    pub admin_group: Option<String>,
    /// Certificate chain and key, or none: a self-signed one is made in the data folder.
    pub tls: Option<TlsFiles>,
    /// Numeric limits.
    pub limits: Limits,
    /// Who is let in and may send.
    pub door: DoorRules,
    /// What may be kept where nobody set a limit.
    pub quota: QuotaRules,
    /// How the database is kept.
    pub store: Store,
    /// How texts are looked for.
    pub search: Search,
    /// How the names of others are looked up.
    pub dns: Dns,
    /// How senders are checked.
    pub authenticity: Authenticity,
    /// How mail goes out.
    pub queue: Outgoing,
    /// How sure other servers must be.
    pub transport: Transport,
    /// No configuration was found: loopback ports, a test domain, accounts made on first start.
    pub try_mode: bool,
}

/// One address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Door {
    /// What is spoken there.
    pub service: Service,
    /// Where; port 0 takes a free one.
    pub address: SocketAddr,
}

/// PEM files of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// Certificate chain, leaf first.
    pub certificate: PathBuf,
    /// Private key (PKCS#8, PKCS#1 or SEC 1).
    pub key: PathBuf,
    /// Authorities whose certificates people may log in with.
    #[serde(default)]
    pub client_authorities: Option<PathBuf>,
}

/// Why a configuration cannot be used: which file, what, and what to do.
#[derive(Debug)]
pub struct ConfigError {
    file: PathBuf,
    what: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.what)
    }
}

impl std::error::Error for ConfigError {}

/// The file as written; absent settings take their defaults.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    hostname: Option<String>,
    data: Option<PathBuf>,
    listen: ListenWritten,
    admin: AdminWritten,
    tls: Option<TlsFiles>,
    limits: LimitsWritten,
    door: DoorRulesWritten,
    quota: QuotaRulesWritten,
    store: StoreWritten,
    search: SearchWritten,
    dns: DnsWritten,
    authenticity: AuthenticityWritten,
    queue: OutgoingWritten,
    transport: TransportWritten,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ListenWritten {
    smtp: Option<Vec<String>>,
    submission: Option<Vec<String>>,
    submissions: Option<Vec<String>>,
    imap: Option<Vec<String>>,
    imaps: Option<Vec<String>>,
    proxy_networks: Vec<String>,
    admin: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AdminWritten {
    group: Option<String>,
}

impl Config {
    /// Finds and checks the configuration: `file` if given, else the system's file if there is one,
    /// else try mode. `data` overrides the data folder.
    ///
    /// # Errors
    /// Says which file and which setting cannot be used.
    pub fn load(file: Option<&Path>, data: Option<&Path>) -> Result<Self, ConfigError> {
        let system = Path::new(SYSTEM_FILE);
        let mut config = match file {
            Some(file) => Self::from_file(file)?,
            None if system.exists() => Self::from_file(system)?,
            None => Self::for_trying(Path::new(TRY_DATA)),
        };
        if let Some(data) = data {
            if config.admin.parent() == Some(&config.data) {
                config.admin = data.join("admin.sock");
            }
            config.data = data.to_path_buf();
        }
        Ok(config)
    }

    /// Reads and checks one file.
    fn from_file(file: &Path) -> Result<Self, ConfigError> {
        let fail = |what: String| ConfigError { file: file.to_path_buf(), what };
        let text = fs::read_to_string(file).map_err(|e| fail(format!("cannot be read: {e}")))?;
        Self::parse(&text).map_err(fail)
    }

    /// Checks a configuration's text.
    fn parse(text: &str) -> Result<Self, String> {
        let written: Written = toml::from_str(text).map_err(|e| e.to_string())?;
        let hostname = written.hostname.unwrap_or_else(system_hostname);
        check_hostname(&hostname)?;
        Ok(Self {
            hostname,
            data: written.data.unwrap_or_else(|| PathBuf::from(SYSTEM_DATA)),
            admin: written.listen.admin.clone().unwrap_or_else(|| PathBuf::from(SYSTEM_ADMIN)),
            listen: doors(&written.listen)?,
            proxies: proxies(&written.listen.proxy_networks)?,
            admin_group: written.admin.group,
            tls: written.tls,
            limits: Limits::check(&written.limits)?,
            door: DoorRules::check(&written.door)?,
            quota: QuotaRules::check(&written.quota)?,
            store: Store::check(&written.store)?,
            search: Search::check(&written.search)?,
            dns: Dns::check(&written.dns)?,
            authenticity: Authenticity::check(&written.authenticity)?,
            queue: Outgoing::check(&written.queue).and_then(fitting)?,
            transport: Transport::check(&written.transport)?,
            try_mode: false,
        })
    }

    /// What runs when there is no configuration: unprivileged ports on loopback only.
    fn for_trying(data: &Path) -> Self {
        let door =
            |service, port| Door { service, address: SocketAddr::from(([127, 0, 0, 1], port)) };
        Self {
            hostname: format!("mail.{TRY_DOMAIN}"),
            data: data.to_path_buf(),
            listen: vec![
                door(Service::Smtp, 2525),
                door(Service::Submission, 2587),
                door(Service::Submissions, 2465),
                door(Service::Imap, 2143),
                door(Service::Imaps, 2993),
            ],
            proxies: Vec::new(),
            admin: data.join("admin.sock"),
            admin_group: None,
            tls: None,
            limits: Limits::default(),
            door: DoorRules::default(),
            quota: QuotaRules::default(),
            store: Store::default(),
            search: Search::default(),
            dns: Dns::default(),
            authenticity: Authenticity::default(),
            queue: Outgoing::default(),
            transport: Transport::default(),
            try_mode: true,
        }
    }
}

/// Standard port of each service (RFC 5321, 6409, 8314, 9051).
const STANDARD_PORTS: &[(Service, u16)] = &[
    (Service::Smtp, 25),
    (Service::Submission, 587),
    (Service::Submissions, 465),
    (Service::Imap, 143),
    (Service::Imaps, 993),
];

/// The doors as written, or the standard port on every address where a service says nothing.
fn doors(listen: &ListenWritten) -> Result<Vec<Door>, String> {
    let written = |service: Service| match service {
        Service::Smtp => ("smtp", &listen.smtp),
        Service::Submission => ("submission", &listen.submission),
        Service::Submissions => ("submissions", &listen.submissions),
        Service::Imap => ("imap", &listen.imap),
        Service::Imaps | Service::Admin => ("imaps", &listen.imaps),
    };
    let mut doors = Vec::new();
    for &(service, port) in STANDARD_PORTS {
        let (name, addresses) = written(service);
        let standard = vec![format!("0.0.0.0:{port}"), format!("[::]:{port}")];
        for address in addresses.as_ref().unwrap_or(&standard) {
            let address = address.parse().map_err(|_| {
                format!(
                    "listen.{name}: {address:?} is not an address with a port, such as \
                     \"192.0.2.1:{port}\" or \"[::]:{port}\""
                )
            })?;
            doors.push(Door { service, address });
        }
    }
    Ok(doors)
}

/// The proxies as written.
fn proxies(networks: &[String]) -> Result<Vec<Network>, String> {
    let network = |text: &String| {
        text.parse::<Network>().map_err(|()| {
            format!(
                "listen.proxy_networks: {text:?} is not a network such as \"192.0.2.0/24\" or one \
                 address"
            )
        })
    };
    networks.iter().map(network).collect()
}

/// The name this machine gives itself.
fn system_hostname() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .ok()
        .filter(|name| check_hostname(name).is_ok())
        .unwrap_or_else(|| "localhost".to_owned())
}

/// Letters, digits, hyphens and dots, as RFC 1123 2.1 allows in a host name.
fn check_hostname(name: &str) -> Result<(), String> {
    let label_ok = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if name.len() <= 253 && name.split('.').all(label_ok) {
        return Ok(());
    }
    Err(format!("hostname: {name:?} is not a host name such as \"mail.example.org\""))
}

/// The settings of the queue, if they fit each other.
fn fitting(queue: Outgoing) -> Result<Outgoing, String> {
    if queue.retry_after.len() > DELAYS_MAX {
        return Err(format!("queue.retry_after: more than {DELAYS_MAX} times"));
    }
    let waits = Duration::from_secs(1)..=Duration::from_secs(24 * 3_600);
    if let Some(wait) = queue.retry_after.iter().find(|wait| !waits.contains(&wait.0)) {
        return Err(format!("queue.retry_after: {:?} is not between 1 s and 1 day", wait.0));
    }
    #[rustfmt::skip]
    let pairs = [
        ("retry_late_min_minutes", queue.retry_late_min_minutes,
         "retry_late_max_minutes", queue.retry_late_max_minutes),
        ("attempts_per_destination_start", queue.attempts_per_destination_start,
         "attempts_per_destination_max", queue.attempts_per_destination_max),
        ("back_off_first_s", queue.back_off_first_s, "back_off_max_s", queue.back_off_max_s),
    ];
    for (least, low, most, high) in pairs {
        if low > high {
            return Err(format!("queue.{least}: {low} is more than queue.{most}, {high}"));
        }
    }
    Ok(queue)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_takes_every_default() {
        let config = Config::parse("hostname = \"mail.example.org\"").expect("valid");
        assert_eq!(config.listen.len(), 2 * STANDARD_PORTS.len());
        assert_eq!(config.limits, Limits::default());
        assert_eq!(config.store, Store::default());
        assert_eq!(config.data, Path::new("/var/lib/grace"));
        assert!(!config.try_mode);
    }

    #[test]
    fn an_empty_list_closes_a_door() {
        let config = Config::parse("[listen]\nsmtp = []\nimap = [\"127.0.0.1:0\"]").expect("valid");
        assert!(!config.listen.iter().any(|door| door.service == Service::Smtp));
        let imap: Vec<_> = config.listen.iter().filter(|d| d.service == Service::Imap).collect();
        assert_eq!(imap.len(), 1);
    }

    #[test]
    fn mistakes_are_named() {
        let check = |text: &str, part: &str| {
            let error = Config::parse(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        };
        check("hostnme = \"x\"", "unknown field `hostnme`");
        check("hostname = \"mail_x\"", "is not a host name");
        check("[listen]\nsmtp = [\"25\"]", "listen.smtp: \"25\" is not an address");
        check(
            "[listen]\nproxy_networks = [\"x\"]",
            "listen.proxy_networks: \"x\" is not a network",
        );
        let open = "[door]\nrelay_networks = [\"0.0.0.0/0\"]";
        check(open, "door.relay_networks: \"0.0.0.0/0\" is not a network");
        check("[limits]\nrecipients_max = 1", "limits.recipients_max: 1 is not between");
        let moved = "limits.journal_segment_bytes is store.segment_bytes now";
        check("[limits]\njournal_segment_bytes = 33554432", moved);
        check("[store]\njournal_io = 3", "invalid type: integer");
        let many = vec!["\"1m\""; DELAYS_MAX + 1].join(",");
        check(&format!("[queue]\nretry_after = [{many}]"), "queue.retry_after: more than 32 times");
        check("[queue]\nretry_after = [\"0s\"]", "queue.retry_after: ");
        let late = "[queue]\nretry_late_min_minutes = 300";
        check(late, "queue.retry_late_min_minutes: 300 is more than queue.retry_late_max_minutes");
        let start = "[queue]\nattempts_per_destination_start = 30";
        check(start, "30 is more than queue.attempts_per_destination_max, 20");
        check("[queue]\nback_off_max_s = 59", "60 is more than queue.back_off_max_s, 59");
        check("[tls]\ncertificate = \"c.pem\"", "missing field `key`");
    }

    #[test]
    fn trying_stays_on_loopback() {
        let config = Config::for_trying(Path::new("grace-data"));
        assert!(config.listen.iter().all(|door| door.address.ip().is_loopback()));
    }
}
