//! What the requests do: each one asked of its owner, the answer in the protocol's words.
//!
//! This is the only way from the protocol to a change, and it knows who asks: the audit log will be
//! written here, around [`Desk::change`].
//! Not here: who may ask what (`grace_ipc::message::RequestBody::rule`), counters
//! ([`super::figures`]).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use zeroize::Zeroizing;

use grace_ipc::dkim::{DKIM_ROWS_PER_PART_MAX, DkimAlgorithm, DkimPublished, DkimRow, DkimState};
use grace_ipc::domain_dns::DOMAIN_DNS_ROWS_PER_PART_MAX;
use grace_ipc::event::{EventKind, Service};
use grace_ipc::message::{
    AccountRow, AliasRow, AliasTargetsRow, Answer, Code, DomainRow, Door, Failure, ForwardRow,
    ROWS_PER_PART_MAX, RequestBody, Rows, ServerInfo,
};

use grace_ipc::queue::{QUEUE_ROWS_PER_PART_MAX, QueueChange, QueueFilter};

use super::database::{self, Job, Turn};
use super::directory;
use super::figures::{self, Sums};
use super::live;
use super::past;
use super::routes;
use super::shares;
use crate::domain_dns;
use crate::outgoing::{self, Changed};
use crate::services::Services;
use crate::signing::Key;
use crate::signing::record::Published;
use crate::store::dkim::{KeyAlgorithm, KeyState};
use crate::store::failure::Failure as StoreFailure;
use crate::store::refusal::Refusal;

/// Aliases in one part of a list: with a thousand accounts each it stays below a frame's limit.
const ALIASES_PER_PART_MAX: usize = 2;
/// Forwards in one part: with twenty addresses each it stays far below a frame's limit.
const FORWARDS_PER_PART_MAX: usize = 100;

/// Name and version of this program, as hellos carry it.
pub(super) const SOFTWARE: &str = concat!("graced ", env!("CARGO_PKG_VERSION"));

/// What all admin sessions share.
pub(super) struct Desk {
    services: Services,
    started: Instant,
    started_us: u64,
    doors: Vec<Door>,
    sums: Sums,
    turn: Turn,
    sessions_total: AtomicU64,
    sessions_open: AtomicU64,
}

/// What came of a request.
#[derive(Debug)]
pub(super) enum Outcome {
    /// One answer.
    Answer(Answer),
    /// A list, cut into parts that fit a frame, and what is said after it.
    Parts(Vec<Rows>, Answer),
}

/// Counts a session as long as it lives.
#[derive(Debug)]
pub(super) struct Seat<'a>(&'a AtomicU64);

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Desk {
    /// A desk that knows the doors that are open by now.
    pub(super) fn new(services: Services) -> Self {
        // The doors just told; nothing has pushed that out of the ring yet.
        let past = services.porter.bus.reader(usize::MAX).take(usize::MAX);
        let doors = past.events.iter().filter_map(|event| match &event.kind {
            EventKind::Listening { service, address } => {
                Some(Door { service: *service, address: address.clone() })
            }
            _ => None,
        });
        let mut doors: Vec<Door> = doors.collect();
        let address = services.config.admin.display().to_string();
        doors.push(Door { service: Service::Admin, address });
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            services,
            started: Instant::now(),
            started_us: u64::try_from(now.as_micros()).unwrap_or(u64::MAX),
            doors,
            sums: Sums::default(),
            turn: Turn::default(),
            sessions_total: AtomicU64::new(0),
            sessions_open: AtomicU64::new(0),
        }
    }

    pub(super) fn services(&self) -> &Services {
        &self.services
    }

    pub(super) fn sums(&self) -> &Sums {
        &self.sums
    }

    pub(super) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Admin sessions: all there were, and those open now.
    pub(super) fn sessions(&self) -> (u64, u64) {
        let open = self.sessions_open.load(Ordering::Relaxed);
        (self.sessions_total.load(Ordering::Relaxed), open)
    }

    /// Counts a session; `None` if there are too many.
    pub(super) fn seat(&self) -> Option<Seat<'_>> {
        let open = self.sessions_open.fetch_add(1, Ordering::Relaxed);
        let seat = Seat(&self.sessions_open);
        if open >= self.services.config.limits.admin_sessions_max {
            return None;
        }
        self.sessions_total.fetch_add(1, Ordering::Relaxed);
        Some(seat)
    }

    /// Does what is asked; `by` is who asks.
    pub(super) async fn handle(&self, body: RequestBody, by: &str) -> Result<Outcome, Failure> {
        let people = &self.services.directory;
        match body {
            RequestBody::ServerInfo => Ok(Outcome::Answer(Answer::ServerInfo(self.info()))),
            RequestBody::Stats => {
                let stats = figures::stats(self, true).map_err(|e| store_failed(&e))?;
                Ok(Outcome::Answer(Answer::Stats(stats)))
            }
            RequestBody::DomainList => self.domains(),
            RequestBody::AccountList { domain } => self.accounts(domain.as_deref()),
            RequestBody::DbStats => database::stats(&self.services).await,
            RequestBody::QueueList { filter, rows_max } => self.queue(&filter, rows_max),
            RequestBody::QueueChange { filter, change } => {
                self.change_queue(filter, change, by).await
            }
            RequestBody::DkimList { domain } => self.dkim(domain.as_deref()).await,
            RequestBody::AliasList { domain } => self.aliases(domain.as_deref()),
            RequestBody::AppPasswordList { account } => directory::app_passwords(people, &account),
            RequestBody::AppPasswordCreate { account, name, scope } => {
                directory::create_app_password(people, (&account, &name), scope, by).await
            }
            RequestBody::DomainSettings { name } => {
                directory::settings(people.domain_settings(&name))
            }
            RequestBody::AddressSettings { address } => {
                directory::settings(people.address_settings(&address))
            }
            RequestBody::DomainDns { domain, check } => self.domain_dns(&domain, check).await,
            RequestBody::TraceSearch { filter, rows_max, before } => {
                past::search(&self.services, filter, rows_max, before).await
            }
            RequestBody::TraceShow { id } => past::story(&self.services, id).await,
            RequestBody::AliasTargetsList { domain } => self.alias_targets(domain.as_deref()),
            RequestBody::ForwardList { account } => self.forwards(account.as_deref()),
            RequestBody::RouteList => routes::all(&self.services),
            RequestBody::QuotaList { of } => {
                shares::quotas(&self.services.mailboxes, of.as_deref())
            }
            RequestBody::QuotaDefaults => Ok(shares::quota_defaults(&self.services.mailboxes)),
            RequestBody::RightsList { owner, mailbox } => {
                shares::rights(&self.services.mailboxes, &owner, mailbox.as_deref())
            }
            RequestBody::PublicList { domain } => {
                shares::public(&self.services.mailboxes, domain.as_deref())
            }
            RequestBody::SessionList { filter } => Ok(live::sessions(&self.services, &filter)),
            RequestBody::SessionDisconnect { session } => {
                live::disconnect(&self.services, session, by)
            }
            RequestBody::MailboxList { account } => live::mailboxes(&self.services, &account),
            change => {
                self.change(change, by).await?;
                Ok(Outcome::Answer(Answer::Done))
            }
        }
    }

    /// Does long work; `job` is how it is followed and ended.
    pub(super) async fn work(
        &self,
        body: RequestBody,
        by: &str,
        job: Job,
    ) -> Result<Outcome, Failure> {
        match body {
            RequestBody::DeliveryTest { to, from } => {
                routes::test(&self.services, (&to, from.as_deref()), by, job).await
            }
            RequestBody::SessionTranscript { which, bodies } => {
                live::transcript(&self.services, which, bodies, by, job).await
            }
            body => database::work(&self.services, &self.turn, body, by, job).await,
        }
    }

    /// Every change an admin can make. The owner of what is changed tells of it in an event.
    async fn change(&self, change: RequestBody, by: &str) -> Result<(), Failure> {
        let directory = &self.services.directory;
        let change = match shares::change(&self.services, change, by).await {
            Ok(done) => return done.map_err(|e| refused(&e)),
            Err(other) => other,
        };
        let change = match self.change_ways(change, by).await {
            Ok(done) => return done.map_err(|e| refused(&e)),
            Err(other) => other,
        };
        let done = match change {
            RequestBody::DomainCreate { name } => {
                directory.create_domain(&name, by).await.map(drop)
            }
            RequestBody::DomainDelete { name } => directory.delete_domain(&name, by).await,
            RequestBody::AccountCreate { address, password } => {
                let password = Zeroizing::new(password.0);
                directory.create_account(&address, password, by).await.map(drop)
            }
            RequestBody::AccountDelete { address } => directory.delete_account(&address, by).await,
            RequestBody::AccountSetPassword { address, password } => {
                directory.set_password(&address, Zeroizing::new(password.0), by).await
            }
            RequestBody::AliasSet { address, accounts } => {
                directory.set_alias(&address, &accounts, by).await
            }
            RequestBody::AliasDelete { address } => directory.delete_alias(&address, by).await,
            RequestBody::AppPasswordDelete { account, name } => {
                directory.delete_app_password(&account, &name, by).await
            }
            RequestBody::DomainSet { name, key, value } => {
                directory.set_domain(&name, &key, &value, by).await
            }
            RequestBody::AddressSet { address, key, value } => {
                directory.set_address(&address, &key, &value, by).await
            }
            RequestBody::AliasTargetsSet { address, targets } => {
                directory.set_alias_targets(&address, &targets, by).await
            }
            RequestBody::ForwardSet { account, targets, keeps } => {
                directory.set_forward(&account, &targets, keeps, by).await
            }
            RequestBody::ForwardDelete { account } => directory.delete_forward(&account, by).await,
            // Others answer these, or did; here they would be a request nobody wrote a hand for.
            RequestBody::Ping
            | RequestBody::ServerInfo
            | RequestBody::Stats
            | RequestBody::DomainList
            | RequestBody::AccountList { .. }
            | RequestBody::SubscribeEvents { .. }
            | RequestBody::SubscribeStats { .. }
            | RequestBody::Unsubscribe { .. }
            | RequestBody::DbStats
            | RequestBody::DbVerify
            | RequestBody::DbBackup { .. }
            | RequestBody::DbCompact
            | RequestBody::DbRestore { .. }
            | RequestBody::DbChangeKey { .. }
            | RequestBody::Cancel { .. }
            | RequestBody::QueueList { .. }
            | RequestBody::DkimList { .. }
            | RequestBody::DkimCreate { .. }
            | RequestBody::DkimActivate { .. }
            | RequestBody::DkimDelete { .. }
            | RequestBody::RouteSet { .. }
            | RequestBody::RouteRemove { .. }
            | RequestBody::AliasList { .. }
            | RequestBody::AppPasswordList { .. }
            | RequestBody::AppPasswordCreate { .. }
            | RequestBody::DomainSettings { .. }
            | RequestBody::AddressSettings { .. }
            | RequestBody::DomainDns { .. }
            | RequestBody::TraceSearch { .. }
            | RequestBody::TraceShow { .. }
            | RequestBody::AliasTargetsList { .. }
            | RequestBody::ForwardList { .. }
            | RequestBody::RouteList
            | RequestBody::QuotaList { .. }
            | RequestBody::QuotaSet { .. }
            | RequestBody::QuotaDefaults
            | RequestBody::RightsList { .. }
            | RequestBody::RightsSet { .. }
            | RequestBody::PublicList { .. }
            | RequestBody::PublicCreate { .. }
            | RequestBody::PublicDelete { .. }
            | RequestBody::PublicRename { .. }
            | RequestBody::DeliveryTest { .. }
            | RequestBody::SessionList { .. }
            | RequestBody::SessionDisconnect { .. }
            | RequestBody::SessionTranscript { .. }
            | RequestBody::MailboxList { .. }
            | RequestBody::QueueChange { .. } => {
                let text = format!("{} changes nothing", change.rule().name);
                return Err(Failure::new(Code::Unsupported, text));
            }
        };
        done.map_err(|e| refused(&e))
    }

    /// Changes of keys that sign mail and of the ways it takes; a request that is none is given
    /// back.
    async fn change_ways(
        &self,
        change: RequestBody,
        by: &str,
    ) -> Result<Result<(), Refusal>, RequestBody> {
        let signing = &self.services.signing;
        Ok(match change {
            RequestBody::DkimCreate { domain } => signing.create(&domain, by).await.map(drop),
            RequestBody::DkimActivate { domain, force } => {
                signing.activate(&domain, force, by).await
            }
            RequestBody::DkimDelete { domain, selector } => {
                signing.delete(&domain, &selector, by).await
            }
            RequestBody::RouteSet { of, pattern, to, password, sources } => {
                let asked = routes::Asked { of, pattern, to, password, sources };
                routes::set(&self.services, asked, by).await
            }
            RequestBody::RouteRemove { of, pattern } => {
                routes::remove(&self.services, of, &pattern, by).await
            }
            other => return Err(other),
        })
    }

    fn aliases(&self, domain: Option<&str>) -> Result<Outcome, Failure> {
        let aliases = self.services.directory.aliases().map_err(|e| store_failed(&e))?;
        let ending = domain.map(|domain| format!("@{}", domain.to_lowercase()));
        let wanted = aliases
            .into_iter()
            .filter(|alias| ending.as_ref().is_none_or(|ending| alias.address.ends_with(ending)));
        let rows = wanted.map(|alias| AliasRow {
            address: alias.address,
            accounts: alias.accounts,
            created_us: alias.created_us,
        });
        // A thousand accounts each: few of them fit a frame.
        Ok(list(rows.collect(), ALIASES_PER_PART_MAX, Rows::Aliases))
    }

    fn alias_targets(&self, domain: Option<&str>) -> Result<Outcome, Failure> {
        let aliases = self.services.directory.alias_targets().map_err(|e| store_failed(&e))?;
        let ending = domain.map(|domain| format!("@{}", domain.to_lowercase()));
        let wanted = aliases
            .into_iter()
            .filter(|alias| ending.as_ref().is_none_or(|ending| alias.address.ends_with(ending)));
        let rows = wanted.map(|alias| AliasTargetsRow {
            address: alias.address,
            targets: alias.targets,
            created_us: alias.created_us,
        });
        Ok(list(rows.collect(), ALIASES_PER_PART_MAX, Rows::AliasTargets))
    }

    fn forwards(&self, account: Option<&str>) -> Result<Outcome, Failure> {
        let forwards = self.services.directory.forwards(account).map_err(|e| refused(&e))?;
        let rows = forwards.into_iter().map(|forward| ForwardRow {
            account: forward.account,
            targets: forward.targets,
            keeps: forward.keeps,
            created_us: forward.created_us,
        });
        Ok(list(rows.collect(), FORWARDS_PER_PART_MAX, Rows::Forwards))
    }

    fn queue(&self, filter: &QueueFilter, rows_max: u32) -> Result<Outcome, Failure> {
        let rows_max = usize::try_from(rows_max).unwrap_or(usize::MAX);
        let rows = outgoing::list::list(&self.services.db, filter, rows_max);
        let rows = rows.map_err(|e| store_failed(&e))?;
        Ok(list(rows, QUEUE_ROWS_PER_PART_MAX, Rows::Queue))
    }

    async fn dkim(&self, domain: Option<&str>) -> Result<Outcome, Failure> {
        let checked = self.services.signing.check(domain).await.map_err(|e| refused(&e))?;
        let rows = checked.into_iter().map(|(key, published)| dkim_row(key, &published));
        Ok(list(rows.collect(), DKIM_ROWS_PER_PART_MAX, Rows::Dkim))
    }

    async fn domain_dns(&self, domain: &str, check: bool) -> Result<Outcome, Failure> {
        let rows = domain_dns::of(&self.services, domain, check).await.map_err(|e| refused(&e))?;
        Ok(list(rows, DOMAIN_DNS_ROWS_PER_PART_MAX, Rows::DomainDns))
    }

    async fn change_queue(
        &self,
        filter: QueueFilter,
        change: QueueChange,
        by: &str,
    ) -> Result<Outcome, Failure> {
        if let QueueChange::Reroute { to } = &change
            && outgoing::destination(to).is_none()
        {
            let text = format!("{to:?} is neither a domain nor a server such as [mx.example.org]");
            return Err(Failure::new(Code::Invalid, text));
        }
        let done = self.services.outgoing.change(filter, change, by).await;
        let done = done.ok_or_else(|| Failure::new(Code::Stopping, "the server stops"))?;
        let Changed { recipients, underway } = done.map_err(|e| store_failed(&e))?;
        Ok(Outcome::Answer(Answer::QueueOrdered { recipients, underway }))
    }

    fn info(&self) -> ServerInfo {
        let config = &self.services.config;
        ServerInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            hostname: config.hostname.clone(),
            started_us: self.started_us,
            pid: std::process::id(),
            data_folder: config.data.display().to_string(),
            doors: self.doors.clone(),
        }
    }

    fn domains(&self) -> Result<Outcome, Failure> {
        let directory = &self.services.directory;
        let mut accounts: HashMap<String, u32> = HashMap::new();
        for account in directory.accounts().map_err(|e| store_failed(&e))? {
            if let Some((_, domain)) = account.address.rsplit_once('@') {
                *accounts.entry(domain.to_owned()).or_default() += 1;
            }
        }
        let domains = directory.domains().map_err(|e| store_failed(&e))?;
        let rows = domains.into_iter().map(|domain| DomainRow {
            accounts: accounts.get(&domain.name).copied().unwrap_or(0),
            name: domain.name,
            created_us: domain.created_us,
        });
        Ok(list(rows.collect(), ROWS_PER_PART_MAX, Rows::Domains))
    }

    fn accounts(&self, domain: Option<&str>) -> Result<Outcome, Failure> {
        let services = &self.services;
        let accounts = services.directory.accounts().map_err(|e| store_failed(&e))?;
        let mut usage = services.mailboxes.usage().map_err(|e| store_failed(&e))?;
        let ending = domain.map(|domain| format!("@{}", domain.to_lowercase()));
        let wanted = accounts.into_iter().filter(|account| {
            ending.as_ref().is_none_or(|ending| account.address.ends_with(ending))
        });
        let rows = wanted.map(|account| {
            let used = usage.remove(&account.id).unwrap_or_default();
            AccountRow {
                address: account.address,
                mailboxes: u32::try_from(used.mailboxes).unwrap_or(u32::MAX),
                messages: used.messages,
                stored_bytes: used.bytes,
                created_us: account.created_us,
            }
        });
        Ok(list(rows.collect(), ROWS_PER_PART_MAX, Rows::Accounts))
    }
}

/// A key in the protocol's words.
fn dkim_row(key: Key, published: &Published) -> DkimRow {
    DkimRow {
        domain: key.domain,
        selector: key.selector,
        algorithm: match key.algorithm {
            KeyAlgorithm::Rsa => DkimAlgorithm::Rsa,
            KeyAlgorithm::Ed25519 => DkimAlgorithm::Ed25519,
        },
        state: match key.state {
            KeyState::Waiting => DkimState::Waiting,
            KeyState::Signing => DkimState::Signing,
            KeyState::Retired => DkimState::Retired,
        },
        created_us: key.created_us,
        changed_us: key.changed_us,
        record_name: key.record.name,
        record_text: key.record.text,
        published: match published {
            Published::Found => DkimPublished::Found,
            Published::Missing(_) => DkimPublished::Missing,
            Published::Wrong(_) => DkimPublished::Wrong,
            Published::Unknown(_) => DkimPublished::Unknown,
        },
        published_why: published.why().to_owned(),
    }
}

/// A list in parts of at most so many rows.
pub(super) fn list<T>(rows: Vec<T>, part_max: usize, part: impl Fn(Vec<T>) -> Rows) -> Outcome {
    let end = Answer::ListEnd { rows: rows.len() as u64 };
    Outcome::Parts(parts(rows, part_max, part), end)
}

/// Cuts rows into parts of at most so many.
pub(super) fn parts<T>(
    mut rows: Vec<T>,
    part_max: usize,
    part: impl Fn(Vec<T>) -> Rows,
) -> Vec<Rows> {
    let mut parts = Vec::new();
    while !rows.is_empty() {
        let rest = rows.split_off(rows.len().min(part_max));
        parts.push(part(std::mem::replace(&mut rows, rest)));
    }
    parts
}

pub(super) fn store_failed(failure: &StoreFailure) -> Failure {
    Failure::new(Code::Internal, failure.to_string())
}

/// A no in the protocol's words.
pub(super) fn refused(refusal: &Refusal) -> Failure {
    let code = match refusal {
        Refusal::Exists(_) => Code::AlreadyExists,
        Refusal::Missing(_) => Code::NotFound,
        Refusal::Invalid(_) => Code::Invalid,
        Refusal::Store(_) => Code::Internal,
    };
    Failure::new(code, refusal.to_string())
}
