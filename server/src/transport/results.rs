//! What came of connections, counted by day, policy, server and kind, so that reports can be made
//! of it (RFC 8460).
//!
//! Invariants: nobody waits for it: what a power cut takes are counts of the last second; there are
//! at most `results_max` rows, and none older than `results_kept_days`.
//! Not here: reports.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use gracedb::db::Db;
use gracedb::engine::Durability;
use gracedb::error::Error;
use gracedb::view::View as _;
use gracedb::write::WriteTx;

use crate::config::limits;
use crate::store::transport::{PolicyType, TlsResult, TlsResultRow};
use crate::telemetry::bus::now_us;

const DAY_US: u64 = 24 * 3_600 * 1_000_000;
/// Longest reason that is kept, in characters.
const REASON_LEN_MAX: usize = 200;

/// Which policy a result is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The domain whose policy it is.
    pub domain: String,
    /// What kind it is.
    pub policy_type: PolicyType,
    /// What it says, as a report has it.
    pub lines: Vec<String>,
}

/// One result.
#[derive(Debug, Clone)]
pub struct Noted<'a> {
    /// What it is about.
    pub applied: &'a Applied,
    /// The server; empty: it did not come to one.
    pub mx_host: &'a str,
    /// What came of it.
    pub result: TlsResult,
    /// Our address and the server's, where it came to a connection.
    pub between: Option<(std::net::IpAddr, std::net::IpAddr)>,
    /// What was wrong.
    pub reason: &'a str,
}

/// Counts results. Cloning gives another handle.
#[derive(Clone)]
pub struct Results {
    db: Db,
    kept_days: u64,
    rows_max: u64,
    tidied: Arc<Mutex<Tidied>>,
}

/// What is known of the table.
#[derive(Debug, Default)]
struct Tidied {
    /// When old rows were taken out last; 0: not yet.
    day: u64,
    rows: u64,
    /// Whether it was told that there is no room.
    is_told: bool,
}

impl Results {
    /// Results kept as the settings say.
    #[must_use]
    pub fn new(db: Db, settings: &limits::Transport) -> Self {
        let (kept_days, rows_max) = (settings.results_kept_days, settings.results_max);
        Self { db, kept_days, rows_max, tidied: Arc::default() }
    }

    /// Counts one.
    pub fn note(&self, noted: &Noted<'_>) {
        let applied = noted.applied;
        if noted.result != TlsResult::Success && applied.policy_type != PolicyType::NoPolicyFound {
            tracing::info!(
                target: "grace", event = "TransportInsecure", domain = applied.domain,
                policy = applied.policy_type.name(), mx_host = noted.mx_host,
                result = noted.result.name(), reason = noted.reason,
            );
        }
        let day = now_us() / DAY_US;
        let written = self.db.write_with(Durability::Buffered, |tx| self.add(tx, day, noted));
        // It is on its way to the disk; that it gets there in time is nobody's wait.
        match written.map(drop) {
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(target: "grace", event = "TlsResultLost", error = %error);
            }
        }
    }

    fn add(&self, tx: &mut WriteTx<'_>, day: u64, noted: &Noted<'_>) -> Result<(), Error> {
        let mut tidied = self.tidied.lock().unwrap_or_else(PoisonError::into_inner);
        if tidied.day != day {
            *tidied = Tidied { day, rows: self.tidy(tx, day)?, is_told: false };
        }
        let applied = noted.applied;
        let key = (
            day,
            applied.domain.clone(),
            applied.policy_type as u8,
            hash(&applied.lines),
            noted.mx_host.to_owned(),
            noted.result as u8,
        );
        let known = tx.get::<TlsResultRow>(&key)?;
        if known.is_none() {
            if tidied.rows >= self.rows_max {
                if !std::mem::replace(&mut tidied.is_told, true) {
                    let rows_max = self.rows_max;
                    tracing::warn!(target: "grace", event = "TlsResultsFull", rows_max);
                }
                return Ok(());
            }
            tidied.rows += 1;
        }
        let address = |at: std::net::IpAddr| at.to_canonical().to_string();
        let (sending_ip, receiving_ip) = match noted.between {
            Some((ours, theirs)) => (address(ours), address(theirs)),
            None => (String::new(), String::new()),
        };
        let (day, domain, policy_type, policy_hash, mx_host, result) = key;
        tx.put(&TlsResultRow {
            day,
            domain,
            policy_type,
            policy_hash,
            mx_host,
            result,
            policy: applied.lines.clone(),
            count: known.map_or(0, |row| row.count).saturating_add(1),
            sending_ip,
            receiving_ip,
            reason: noted.reason.chars().take(REASON_LEN_MAX).collect(),
        })
    }

    /// Takes out what is old; says how many are left.
    fn tidy(&self, tx: &mut WriteTx<'_>, day: u64) -> Result<u64, Error> {
        let oldest = day.saturating_sub(self.kept_days);
        let first = (oldest, String::new(), 0, 0, String::new(), 0);
        tx.delete_range::<TlsResultRow>(..first)?;
        Ok(tx.scan::<TlsResultRow>().count() as u64)
    }
}

fn hash(lines: &[String]) -> u64 {
    let hash = digest(&SHA256, lines.join("\n").as_bytes());
    hash.as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
