//! Who lives here: domains, accounts, and whether a password is right.
//!
//! Invariants: an account's address is lower case and unique; its domain exists; a password is kept
//! as hashes only, of Argon2id and for SCRAM; a failed check takes as long for an unknown login as
//! for a wrong password.
//! Not here: mailboxes (`mailbox`), who may change this (`admin`).

pub mod aliases;
pub mod app_passwords;
mod cache;
pub mod expansion;
pub mod forwards;
pub mod guest;
pub mod login;
pub mod password;
pub mod removal;
mod scram;
mod senders;
pub mod settings;
pub mod tickets;

use std::sync::Arc;

use gracedb::db::Db;
use gracedb::view::View;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use grace_ipc::event::{EventKind, TraceId};
use grace_mail::address::{Charset, Mailbox as Address};
use grace_mail::srs;
use grace_smtp::scram::{ITERATIONS, KeyPair, derive};

use self::cache::Cache;
use self::expansion::Step;
use self::password::{PASSWORD_BYTES_MAX, PASSWORD_BYTES_MIN};
use self::scram::put_keys;
use self::senders::Origin;
use self::tickets::{Means, Tickets};
use crate::config::limits::Limits;
use crate::store::accounts::{Account, AccountByAddress, Alias, Domain, domain_name};
use crate::store::failure::Failure;
use crate::store::forwards::copies_max;
pub use crate::store::refusal::Refusal;
use crate::store::seed;
use crate::telemetry::bus::{Bus, now_us};

/// The local part every domain must take mail for (RFC 5321 4.5.1).
const POSTMASTER: &str = "postmaster";

/// Domains and accounts. Cloning gives another handle.
#[derive(Clone)]
pub struct Directory {
    db: Db,
    bus: Bus,
    /// Bounds the memory and cores that checking passwords may take.
    checks: Arc<Semaphore>,
    cache: Arc<Cache>,
    tickets: Tickets,
    app_passwords_max: u64,
    /// How long the address of a rewritten sender is good, in days.
    srs_days: u64,
    /// How many people one message may go to.
    copies_max: u64,
}

/// An account, as sessions know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The account's number.
    pub id: u64,
    /// Its address.
    pub address: String,
}

/// Where mail for an address goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// To an account here.
    Account(Person),
    /// To whom the address stands for: these accounts here, and maybe people elsewhere; see
    /// [`Directory::expand`].
    Alias(Vec<Person>),
    /// On to this sender, whom the address stands for in one message that was forwarded; it takes
    /// notifications of that alone.
    Rewritten(Address),
    /// The domain is ours, the address is nobody's.
    Nobody,
    /// The domain is not ours.
    Elsewhere,
}

/// What is kept of a password.
struct Hashes {
    password_hash: String,
    salt: Vec<u8>,
    /// `None`: SCRAM cannot use it.
    pair: Option<KeyPair>,
}

impl Directory {
    /// The directory kept in `db`.
    #[must_use]
    pub fn new(db: Db, bus: Bus, limits: &Limits) -> Self {
        let permits = usize::try_from(limits.password_checks_max).unwrap_or(1);
        Self {
            db,
            bus,
            checks: Arc::new(Semaphore::new(permits.clamp(1, Semaphore::MAX_PERMITS))),
            cache: Arc::new(Cache::new(limits.login_cache_s)),
            tickets: Tickets::default(),
            app_passwords_max: limits.app_passwords_max,
            srs_days: limits.srs_days,
            copies_max: copies_max(limits.recipients_max),
        }
    }

    /// Where mail for `address` goes.
    ///
    /// # Errors
    /// The database failed.
    pub fn resolve(&self, address: &Address) -> Result<Destination, Failure> {
        Ok(match self.step(&self.db.snapshot(), address)? {
            Step::Account(account) => {
                Destination::Account(Person { id: account.id, address: account.address })
            }
            Step::Alias(_) => Destination::Alias(self.people(address)?),
            Step::Rewritten(sender) => Destination::Rewritten(sender),
            Step::Nobody => Destination::Nobody,
            Step::Elsewhere => Destination::Elsewhere,
        })
    }

    /// What `address` leads to, one step of it.
    fn step(&self, view: &impl View, address: &Address) -> Result<Step, Failure> {
        let Some(domain) = address.domain() else { return Ok(Step::Elsewhere) };
        if view.get::<Domain>(domain.as_str())?.is_none() {
            return Ok(Step::Elsewhere);
        }
        if srs::is_rewritten(address.local()) {
            return Ok(match self.origin(view, address)? {
                Origin::Sender(sender) => Step::Rewritten(sender),
                Origin::Nobody => Step::Nobody,
            });
        }
        let key = key(address);
        let separator = settings::of_domain(view, domain.as_str())?.separator;
        // What is called so comes first; then who stands before a detail.
        let plain = without_detail(&key, &separator);
        for address in [Some(key.clone()), plain].into_iter().flatten() {
            if let Some(account) = view.find::<AccountByAddress>(&address)? {
                return Ok(Step::Account(account));
            }
            if let Some(meant) = aliases::meant(view, &address)? {
                return Ok(Step::Alias(meant));
            }
        }
        // RFC 5321 4.5.1: every domain here has a postmaster. One without its own shares that of
        // `<Postmaster>`.
        if key.split('@').next() == Some(POSTMASTER) {
            return Ok(match postmaster(view)? {
                Some(account) => Step::Account(account),
                None => Step::Nobody,
            });
        }
        let rest = aliases::meant(view, &format!("@{}", domain.as_str()))?;
        Ok(rest.map_or(Step::Nobody, Step::Alias))
    }

    /// Where mail for `<Postmaster>` without a domain goes (RFC 5321 4.5.1): to the postmaster of
    /// the first domain that has one.
    ///
    /// # Errors
    /// The database failed.
    pub fn resolve_postmaster(&self) -> Result<Destination, Failure> {
        Ok(match postmaster(&self.db.snapshot())? {
            Some(Account { id, address, .. }) => Destination::Account(Person { id, address }),
            None => Destination::Nobody,
        })
    }

    /// The account of an address.
    ///
    /// # Errors
    /// The database failed.
    pub fn account(&self, address: &str) -> Result<Option<Account>, Failure> {
        let Ok(address) = Address::parse(address, Charset::Utf8) else { return Ok(None) };
        Ok(self.db.snapshot().find::<AccountByAddress>(&key(&address))?)
    }

    /// Whether there is any domain.
    ///
    /// # Errors
    /// The database failed.
    pub fn has_domains(&self) -> Result<bool, Failure> {
        Ok(self.db.snapshot().scan::<Domain>().next().transpose()?.is_some())
    }

    /// All domains, by name.
    ///
    /// # Errors
    /// The database failed.
    pub fn domains(&self) -> Result<Vec<Domain>, Failure> {
        Ok(self.db.snapshot().scan::<Domain>().collect::<Result<_, _>>()?)
    }

    /// All accounts, by address.
    ///
    /// # Errors
    /// The database failed.
    pub fn accounts(&self) -> Result<Vec<Account>, Failure> {
        let snapshot = self.db.snapshot();
        Ok(snapshot.by_index_range::<AccountByAddress>(..).collect::<Result<_, _>>()?)
    }

    /// Makes a domain. `by` is who asked, for the event.
    ///
    /// # Errors
    /// It exists, the name is none, or the database failed.
    pub async fn create_domain(&self, name: &str, by: &str) -> Result<Domain, Refusal> {
        let domain = Domain { name: domain_name(name)?, created_us: now_us() };
        let row = domain.clone();
        self.db
            .write(|tx| {
                if tx.get::<Domain>(&row.name)?.is_some() {
                    return Err(Refusal::Exists(format!("the domain {}", row.name)));
                }
                tx.insert(&row)?;
                Ok(())
            })?
            .await?;
        self.tell(format!("domain {}", domain.name), "created", by);
        Ok(domain)
    }

    /// Makes an account with its first mailboxes.
    ///
    /// # Errors
    /// It exists, its domain does not, address or password cannot be used, or the database failed.
    pub async fn create_account(
        &self,
        address: &str,
        password: Zeroizing<String>,
        by: &str,
    ) -> Result<Person, Refusal> {
        let parsed = Address::parse(address, Charset::Utf8)
            .map_err(|e| Refusal::Invalid(format!("{address:?} is not an address: {e}")))?;
        let domain = parsed.domain().map(|domain| domain.as_str().to_owned()).ok_or_else(|| {
            Refusal::Invalid(format!("{address:?}: an account needs a domain, not an IP address"))
        })?;
        let address = key(&parsed);
        let Hashes { password_hash, salt, pair } = self.hash(password, &address).await?;
        let person = self
            .db
            .write(|tx| {
                if tx.get::<Domain>(&domain)?.is_none() {
                    return Err(Refusal::Missing(format!(
                        "domain {domain}; make it first: gracectl domain create {domain}"
                    )));
                }
                if tx.find::<AccountByAddress>(&address)?.is_some() {
                    return Err(Refusal::Exists(format!("the account {address}")));
                }
                if tx.get::<Alias>(&address)?.is_some() {
                    return Err(Refusal::Exists(format!("the alias {address}")));
                }
                let id = seed::account_id(tx)?;
                let created_us = now_us();
                tx.insert(&Account { id, address: address.clone(), password_hash, created_us })?;
                put_keys(tx, id, &salt, pair.as_ref())?;
                seed::first_mailboxes(tx, id)?;
                Ok(Person { id, address })
            })?
            .await?;
        self.tell(format!("account {}", person.address), "created", by);
        Ok(person)
    }

    /// Gives an account another password; who logged in with the old one is logged out.
    ///
    /// # Errors
    /// There is no such account, the password cannot be used, or the database failed.
    pub async fn set_password(
        &self,
        address: &str,
        password: Zeroizing<String>,
        by: &str,
    ) -> Result<(), Refusal> {
        let account = self.require(address)?;
        let Hashes { password_hash, salt, pair } = self.hash(password, &account.address).await?;
        self.db
            .write(|tx| {
                let row = tx
                    .get::<Account>(&account.id)?
                    .ok_or_else(|| Refusal::Missing(format!("account {address}")))?;
                tx.put(&Account { password_hash, ..row })?;
                put_keys(tx, account.id, &salt, pair.as_ref())?;
                Ok::<_, Refusal>(())
            })?
            .await?;
        self.cache.forget(account.id);
        self.tickets.revoke(account.id, |means| *means == Means::Password);
        self.tell(format!("account {}", account.address), "password changed", by);
        Ok(())
    }

    /// The account of an address, which must be there.
    fn require(&self, address: &str) -> Result<Account, Refusal> {
        self.account(address)?.ok_or_else(|| Refusal::Missing(format!("account {address}")))
    }

    /// Checks and hashes a new password of an address.
    async fn hash(&self, password: Zeroizing<String>, address: &str) -> Result<Hashes, Refusal> {
        if !(PASSWORD_BYTES_MIN..=PASSWORD_BYTES_MAX).contains(&password.len()) {
            return Err(Refusal::Invalid(format!(
                "a password has {PASSWORD_BYTES_MIN} to {PASSWORD_BYTES_MAX} bytes"
            )));
        }
        let salt = self.scram_salt(address).await?;
        let Ok(_permit) = Arc::clone(&self.checks).acquire_owned().await else {
            return Err(Refusal::Invalid("the server stops".to_owned()));
        };
        let made = spawn_blocking(move || {
            let password_hash = password::hash(&password)?;
            // What SCRAM cannot use still goes by PLAIN.
            let pair = derive(&password, &salt, ITERATIONS).ok();
            Ok(Hashes { password_hash, salt, pair })
        });
        made.await.map_err(|e| Refusal::Invalid(e.to_string()))?.map_err(Refusal::Invalid)
    }

    /// Tells of a change.
    fn tell(&self, what: String, change: &str, by: &str) {
        let (change, by) = (change.to_owned(), by.to_owned());
        self.bus.emit(TraceId(0), EventKind::DirectoryChanged { what, change, by });
    }
}

/// The account of the first postmaster.
fn postmaster(view: &impl View) -> Result<Option<Account>, Failure> {
    for domain in view.scan::<Domain>() {
        let address = format!("{POSTMASTER}@{}", domain?.name);
        if let Some(account) = view.find::<AccountByAddress>(&address)? {
            return Ok(Some(account));
        }
    }
    Ok(None)
}

/// The form an address is looked up by. Local parts are compared without case here: RFC 5321 2.4
/// leaves that to the receiving host, and people type capitals.
fn key(address: &Address) -> String {
    address.to_string().to_lowercase()
}

/// `anna@x` of `anna+shop@x`, where `+` is the separator; `None`: there is no detail, or nobody
/// before it.
fn without_detail(key: &str, separator: &str) -> Option<String> {
    let (local, domain) = key.rsplit_once('@')?;
    let (plain, _) = local.split_once(separator.chars().next()?)?;
    (!plain.is_empty()).then(|| format!("{plain}@{domain}"))
}

#[cfg(test)]
mod tests {
    use super::without_detail;

    #[test]
    fn a_detail_is_left_out() {
        let plain = |key| without_detail(key, "+");
        assert_eq!(plain("anna+shop@x.example").as_deref(), Some("anna@x.example"));
        assert_eq!(plain("anna+a+b@x.example").as_deref(), Some("anna@x.example"));
        for key in ["anna@x.example", "+shop@x.example", "anna"] {
            assert_eq!(plain(key), None, "{key}");
        }
        assert_eq!(without_detail("anna+shop@x.example", ""), None);
        assert_eq!(without_detail("a-b@x-y.example", "-").as_deref(), Some("a@x-y.example"));
    }
}
