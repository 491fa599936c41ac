//! What is said over the admin protocol: requests, replies, pushes.
//!
//! Invariants: the place of a variant and of a field is its number on the wire, so nothing here is
//! ever reordered, retyped or removed; a new variant goes to the end and says with which version it
//! came; a struct that is out in the world is not widened, its successor is a new variant. The
//! golden files in `tests/golden` hold this.
//! Not here: bytes ([`crate::codec`], [`crate::frame`]), who may connect ([`crate::transport`]).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::database::{
    DbCompacted, DbCopied, DbKeyChanged, DbMoment, DbProblem, DbProgress, DbSegment, DbStats,
    DbVerified,
};
use crate::directory::{AppPasswordRow, AppScope, SettingRow};
use crate::dkim::DkimRow;
use crate::domain_dns::DomainDnsRow;
use crate::event::{Event, Service, Topic, TraceId};
use crate::live::{MailboxRow, SessionChoice, SessionFilter, SessionLine, SessionRow};
use crate::queue::{QueueChange, QueueFilter, QueueRow};
use crate::role::Role;
use crate::route::{DeliveryStep, DeliveryVerdict, RouteOf, RouteRow, RouteTo};
use crate::share::{PublicRow, QuotaRow, RightsRow};
use crate::trace::{TraceFilter, TraceRow};
use crate::version::Version;

/// Rows in one part of a long list. With addresses of 320 bytes a part stays under 400 KiB.
pub const ROWS_PER_PART_MAX: usize = 1_000;

/// Most events a subscription sends from the past. The daemon may keep fewer.
pub const BACKLOG_EVENTS_MAX: u32 = 10_000;

/// Shortest time between two pushes of counters, in milliseconds: nobody reads faster.
pub const STATS_INTERVAL_MS_MIN: u32 = 100;

/// A question or an order, from the admin program to the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the asker; every reply carries it. Not to be reused while a reply or a
    /// subscription of that id is open.
    pub id: u32,
    /// What is asked.
    pub body: RequestBody,
}

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestBody {
    /// Are you there? Answered with [`Answer::Done`].
    Ping,
    /// Who are you? Answered with [`Answer::ServerInfo`].
    ServerInfo,
    /// The counters, once. Answered with [`Answer::Stats`].
    Stats,
    /// All domains. Parts of [`Rows::Domains`], then [`Answer::ListEnd`].
    DomainList,
    /// A new local domain. Answered with [`Answer::Done`].
    DomainCreate {
        /// Its name, in U-labels or A-labels.
        name: String,
    },
    /// Removes a domain that has no accounts left. Answered with [`Answer::Done`].
    DomainDelete {
        /// Its name.
        name: String,
    },
    /// All accounts, or those of one domain. Parts of [`Rows::Accounts`], then [`Answer::ListEnd`].
    AccountList {
        /// Only accounts of this domain.
        domain: Option<String>,
    },
    /// A new account with its mailboxes. Answered with [`Answer::Done`].
    AccountCreate {
        /// Its address; the domain must be local.
        address: String,
        /// Its password.
        password: Secret,
    },
    /// Removes an account and all its mail, for good. Answered with [`Answer::Done`].
    AccountDelete {
        /// Its address.
        address: String,
    },
    /// Gives an account a new password. Answered with [`Answer::Done`].
    AccountSetPassword {
        /// Its address.
        address: String,
        /// The new password.
        password: Secret,
    },
    /// From now on, push events. Answered with [`Answer::Subscribed`], then [`PushBody::Events`]
    /// until [`RequestBody::Unsubscribe`].
    SubscribeEvents {
        /// Which events.
        filter: EventFilter,
        /// How many events that already happened to send first, the newest that pass the filter.
        backlog: u32,
        /// Of those only events with a greater `seq`: a program that comes back misses nothing
        /// and sees nothing twice. 0: all.
        after_seq: u64,
    },
    /// From now on, push the counters whenever one of them has changed. Answered with
    /// [`Answer::Subscribed`], then [`PushBody::Stats`], the first at once.
    SubscribeStats {
        /// Least time between two pushes, in milliseconds.
        interval_ms: u32,
    },
    /// Ends a subscription. Answered with [`Answer::Done`]; no push of it follows that.
    Unsubscribe {
        /// The subscription's id.
        subscription: u32,
    },
    /// Figures of the database. Parts of [`Rows::DbSegments`], then [`Answer::DbStats`]. Version 2.
    DbStats,
    /// Checks every byte of the database while it goes on. Parts of [`Rows::DbProgress`] and
    /// [`Rows::DbProblems`], then [`Answer::DbVerified`]. Version 2, long work.
    DbVerify,
    /// Copies the database while it goes on; into an earlier backup only what is new. Parts of
    /// [`Rows::DbProgress`], then [`Answer::DbCopied`]. Version 2, long work.
    DbBackup {
        /// A folder of the daemon's machine, outside of its data folder, as a whole path.
        to: String,
    },
    /// Merges and gives back what there is to be given back. Parts of [`Rows::DbProgress`], then
    /// [`Answer::DbCompacted`]. Version 2, long work.
    DbCompact,
    /// Copies the database as it was at a moment into an empty folder. Parts of
    /// [`Rows::DbProgress`], then [`Answer::DbCopied`]. Version 2, long work.
    DbRestore {
        /// As that of [`RequestBody::DbBackup`].
        to: String,
        /// Which moment.
        moment: DbMoment,
    },
    /// Encrypts everything anew with a new data key. Parts of [`Rows::DbProgress`], then
    /// [`Answer::DbKeyChanged`]. Version 2, long work.
    DbChangeKey {
        /// Make a new key file, too, in the place of the one there is.
        new_key_file: bool,
    },
    /// Ends long work of this connection, without waiting for its end: that is told by the reply to
    /// the work itself. Answered with [`Answer::Done`] while it goes on. Version 2.
    Cancel {
        /// The id of the request to end.
        request: u32,
    },
    /// Recipients of outgoing mail that wait. Parts of [`Rows::Queue`], then [`Answer::ListEnd`].
    /// Version 3.
    QueueList {
        /// Which.
        filter: QueueFilter,
        /// Most rows to tell of.
        rows_max: u32,
    },
    /// Does something to recipients that wait. Answered with [`Answer::QueueChanged`]. Version 3.
    QueueChange {
        /// Which.
        filter: QueueFilter,
        /// What.
        change: QueueChange,
    },
    /// Keys that sign the mail of a domain, or of all, with what the DNS says of their records;
    /// that takes up to ten seconds. Parts of [`Rows::Dkim`], then [`Answer::ListEnd`]. Version 3.
    DkimList {
        /// Only keys of this domain.
        domain: Option<String>,
    },
    /// Makes keys for a domain, one of each algorithm; they wait. Answered with [`Answer::Done`].
    /// Version 3.
    DkimCreate {
        /// The domain; it must be local.
        domain: String,
    },
    /// Lets the keys of a domain that wait sign, and retires those that signed. Answered with
    /// [`Answer::Done`]. Version 3.
    DkimActivate {
        /// The domain.
        domain: String,
        /// Even if the DNS does not have their records.
        force: bool,
    },
    /// Removes a key, for good. Answered with [`Answer::Done`]. Version 3.
    DkimDelete {
        /// The domain.
        domain: String,
        /// The key's name there.
        selector: String,
    },
    /// Addresses that stand for accounts, all or those of one domain. Parts of [`Rows::Aliases`],
    /// then [`Answer::ListEnd`]. Version 3.
    AliasList {
        /// Only those of this domain.
        domain: Option<String>,
    },
    /// Has an address stand for these accounts alone. Answered with [`Answer::Done`]. Version 3.
    AliasSet {
        /// The address; `@domain` for whatever else the domain is sent.
        address: String,
        /// The addresses of the accounts, one at least.
        accounts: Vec<String>,
    },
    /// Removes an alias. Answered with [`Answer::Done`]. Version 3.
    AliasDelete {
        /// Its address.
        address: String,
    },
    /// The application passwords of an account, without the passwords. Parts of
    /// [`Rows::AppPasswords`], then [`Answer::ListEnd`]. Version 4.
    AppPasswordList {
        /// The account's address.
        account: String,
    },
    /// Makes an application password. Answered with [`Answer::AppPassword`], which has it this
    /// once. Version 4.
    AppPasswordCreate {
        /// The account's address.
        account: String,
        /// What its owner calls it; no two of an account are called the same.
        name: String,
        /// What it is good for.
        scope: AppScope,
    },
    /// Takes an application password back, and ends the sessions it opened. Answered with
    /// [`Answer::Done`]. Version 4.
    AppPasswordDelete {
        /// The account's address.
        account: String,
        /// What it is called.
        name: String,
    },
    /// What is set about a domain. Parts of [`Rows::Settings`], then [`Answer::ListEnd`].
    /// Version 4.
    DomainSettings {
        /// Its name.
        name: String,
    },
    /// Sets something about a domain. Answered with [`Answer::Done`]. Version 4.
    DomainSet {
        /// Its name.
        name: String,
        /// The name of the setting.
        key: String,
        /// What it is to be.
        value: String,
    },
    /// What is set about the address of an account or an alias. Parts of [`Rows::Settings`], then
    /// [`Answer::ListEnd`]. Version 4.
    AddressSettings {
        /// The address.
        address: String,
    },
    /// Sets something about the address of an account or an alias. Answered with [`Answer::Done`].
    /// Version 4.
    AddressSet {
        /// The address.
        address: String,
        /// The name of the setting.
        key: String,
        /// What it is to be.
        value: String,
    },
    /// The records a domain is to publish, each with what the DNS says of it if that is asked; that
    /// takes up to ten seconds. Parts of [`Rows::DomainDns`], then [`Answer::ListEnd`]. Version 4.
    DomainDns {
        /// The domain; it must be local.
        domain: String,
        /// Ask the DNS.
        check: bool,
    },
    /// Messages of the past, the newest first. Parts of [`Rows::Traces`], then
    /// [`Answer::TracesEnd`]. Version 4.
    TraceSearch {
        /// Which.
        filter: TraceFilter,
        /// Most rows to tell of.
        rows_max: u32,
        /// Only those before this place, as [`Answer::TracesEnd`] gave it.
        before: Option<u64>,
    },
    /// What happened to a message from its connection to the last attempt, or on a connection.
    /// Parts of [`Rows::Events`], then [`Answer::ListEnd`]. Version 4.
    TraceShow {
        /// A message's number, or the trace of a connection.
        id: String,
    },
    /// Aliases with all that they lead to, all or those of one domain. Parts of
    /// [`Rows::AliasTargets`], then [`Answer::ListEnd`]. Version 4.
    AliasTargetsList {
        /// Only those of this domain.
        domain: Option<String>,
    },
    /// Has an address stand for these alone. Answered with [`Answer::Done`]. Version 4.
    AliasTargetsSet {
        /// The address; `@domain` for whatever else the domain is sent.
        address: String,
        /// Accounts, other aliases, addresses elsewhere; one at least.
        targets: Vec<String>,
    },
    /// Accounts whose mail goes on, all or one. Parts of [`Rows::Forwards`], then
    /// [`Answer::ListEnd`]. Version 4.
    ForwardList {
        /// Only this account's.
        account: Option<String>,
    },
    /// Lets the mail of an account go on. Answered with [`Answer::Done`]. Version 4.
    ForwardSet {
        /// The account's address.
        account: String,
        /// The addresses it goes on to, here or elsewhere; one at least.
        targets: Vec<String>,
        /// A copy stays in the account.
        keeps: bool,
    },
    /// Lets the mail of an account stay. Answered with [`Answer::Done`]. Version 4.
    ForwardDelete {
        /// The account's address.
        account: String,
    },
    /// The ways mail goes out that differ from the usual one. Parts of [`Rows::Routes`], then
    /// [`Answer::ListEnd`]. Version 4.
    RouteList,
    /// Sets a route, in the place of the one of this pattern. Answered with [`Answer::Done`].
    /// Version 4.
    RouteSet {
        /// Whose mail it is for.
        of: RouteOf,
        /// As [`RouteRow::pattern`].
        pattern: String,
        /// As [`RouteRow::to`].
        to: Option<RouteTo>,
        /// The password of its login; none: the one that is known of that login there. Given anew,
        /// it is that of every route with this login there.
        password: Option<Secret>,
        /// As [`RouteRow::sources`].
        sources: Vec<String>,
    },
    /// Removes a route. Answered with [`Answer::Done`]. Version 4.
    RouteRemove {
        /// Whose mail it is for.
        of: RouteOf,
        /// Its pattern.
        pattern: String,
    },
    /// Goes the way of a message up to RCPT, and sends none. Parts of [`Rows::DeliverySteps`] as
    /// they happen and of [`Rows::DbProgress`], then [`Answer::DeliveryTested`]. Version 4, long
    /// work, of which each connection may have one.
    DeliveryTest {
        /// Whom to reach.
        to: String,
        /// From whom; none: from nobody, as notifications are.
        from: Option<String>,
    },
    /// What accounts and domains use and may use: one, or all. Parts of [`Rows::Quotas`], then
    /// [`Answer::ListEnd`]. Version 5.
    QuotaList {
        /// An account's address, or `@domain`.
        of: Option<String>,
    },
    /// Sets what an account or a domain may use. Answered with [`Answer::Done`]. Version 5.
    QuotaSet {
        /// As [`QuotaRow::of`].
        of: String,
        /// As [`QuotaRow::bytes_max`]; none: as it was.
        bytes_max: Option<u64>,
        /// As [`QuotaRow::messages_max`]; none: as it was.
        messages_max: Option<u64>,
    },
    /// Who may do what: with one mailbox, or with all of an owner that others have rights on. Parts
    /// of [`Rows::Rights`], then [`Answer::ListEnd`]. Version 5.
    RightsList {
        /// An account's address, or `@domain`.
        owner: String,
        /// Only this mailbox of theirs.
        mailbox: Option<String>,
    },
    /// Changes what somebody may do with a mailbox. Answered with [`Answer::Done`]. Version 5.
    RightsSet {
        /// As [`RightsRow::owner`].
        owner: String,
        /// As [`RightsRow::mailbox`].
        mailbox: String,
        /// As [`RightsRow::who`].
        who: String,
        /// `lrs`: these and no others; `+w`: these too; `-w`: these no more; empty: none.
        rights: String,
    },
    /// Public mailboxes, all or those of one domain. Parts of [`Rows::Public`], then
    /// [`Answer::ListEnd`]. Version 5.
    PublicList {
        /// Only those of this domain.
        domain: Option<String>,
    },
    /// Makes a public mailbox. Answered with [`Answer::Done`]. Version 5.
    PublicCreate {
        /// Its domain.
        domain: String,
        /// Its name.
        name: String,
        /// What `anyone` of the domain may do with it.
        rights: String,
    },
    /// Removes a public mailbox and all that is in it, for good. Answered with [`Answer::Done`].
    /// Version 5.
    PublicDelete {
        /// Its domain.
        domain: String,
        /// Its name.
        name: String,
    },
    /// Renames a public mailbox, and those below it. Answered with [`Answer::Done`]. Version 5.
    PublicRename {
        /// Its domain.
        domain: String,
        /// Its name.
        name: String,
        /// Its new name.
        to: String,
    },
    /// Sessions that are open, in the order they began. Parts of [`Rows::Sessions`], then
    /// [`Answer::ListEnd`]. Version 5.
    SessionList {
        /// Which.
        filter: SessionFilter,
    },
    /// Ends a session: the other end is told so in the words of its protocol. Answered with
    /// [`Answer::Done`] when that is under way. Version 5.
    SessionDisconnect {
        /// Its number.
        session: u64,
    },
    /// Tells what is spoken in a session from now on. Parts of [`Rows::SessionLines`] as it is
    /// spoken, then [`Answer::SessionEnded`]. Version 5, long work, of which each connection may
    /// have one.
    SessionTranscript {
        /// Which.
        which: SessionChoice,
        /// What messages consist of, too, and not only how long they are.
        bodies: bool,
    },
    /// The mailboxes of an account. Parts of [`Rows::Mailboxes`], then [`Answer::ListEnd`].
    /// Version 5.
    MailboxList {
        /// The account's address.
        account: String,
    },
    /// What accounts and domains may use that have no limits of their own. Parts of
    /// [`Rows::Quotas`], of nobody and of `@`, then [`Answer::ListEnd`]. Version 6.
    QuotaDefaults,
}

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Name of the variant, for texts and logs.
    pub name: &'static str,
    /// The least role that may ask it.
    pub needs: Role,
    /// The version of the protocol that brought it.
    pub since: Version,
}

impl RequestBody {
    /// The table of who may ask what, and since when.
    #[must_use]
    #[rustfmt::skip]
    pub const fn rule(&self) -> Rule {
        use Role::{Operator, Owner, Viewer};
        use Version::{V1, V2, V3, V4, V5, V6};
        let (name, needs, since) = match self {
            Self::Ping                      => ("Ping",               Viewer,   V1),
            Self::ServerInfo                => ("ServerInfo",         Viewer,   V1),
            Self::Stats                     => ("Stats",              Viewer,   V1),
            Self::DomainList                => ("DomainList",         Viewer,   V1),
            Self::DomainCreate { .. }       => ("DomainCreate",       Owner,    V1),
            Self::DomainDelete { .. }       => ("DomainDelete",       Owner,    V1),
            Self::AccountList { .. }        => ("AccountList",        Viewer,   V1),
            Self::AccountCreate { .. }      => ("AccountCreate",      Operator, V1),
            Self::AccountDelete { .. }      => ("AccountDelete",      Owner,    V1),
            Self::AccountSetPassword { .. } => ("AccountSetPassword", Operator, V1),
            Self::SubscribeEvents { .. }    => ("SubscribeEvents",    Viewer,   V1),
            Self::SubscribeStats { .. }     => ("SubscribeStats",     Viewer,   V1),
            Self::Unsubscribe { .. }        => ("Unsubscribe",        Viewer,   V1),
            Self::DbStats                   => ("DbStats",            Viewer,   V2),
            Self::DbVerify                  => ("DbVerify",           Owner,    V2),
            Self::DbBackup { .. }           => ("DbBackup",           Owner,    V2),
            Self::DbCompact                 => ("DbCompact",          Owner,    V2),
            Self::DbRestore { .. }          => ("DbRestore",          Owner,    V2),
            Self::DbChangeKey { .. }        => ("DbChangeKey",        Owner,    V2),
            Self::Cancel { .. }             => ("Cancel",             Viewer,   V2),
            Self::QueueList { .. }          => ("QueueList",          Viewer,   V3),
            Self::QueueChange { .. }        => ("QueueChange",        Operator, V3),
            Self::DkimList { .. }           => ("DkimList",           Viewer,   V3),
            Self::DkimCreate { .. }         => ("DkimCreate",         Owner,    V3),
            Self::DkimActivate { .. }       => ("DkimActivate",       Owner,    V3),
            Self::DkimDelete { .. }         => ("DkimDelete",         Owner,    V3),
            Self::AliasList { .. }          => ("AliasList",          Viewer,   V3),
            Self::AliasSet { .. }           => ("AliasSet",           Operator, V3),
            Self::AliasDelete { .. }        => ("AliasDelete",        Operator, V3),
            Self::AppPasswordList { .. }    => ("AppPasswordList",    Viewer,   V4),
            Self::AppPasswordCreate { .. }  => ("AppPasswordCreate",  Operator, V4),
            Self::AppPasswordDelete { .. }  => ("AppPasswordDelete",  Operator, V4),
            Self::DomainSettings { .. }     => ("DomainSettings",     Viewer,   V4),
            Self::DomainSet { .. }          => ("DomainSet",          Operator, V4),
            Self::AddressSettings { .. }    => ("AddressSettings",    Viewer,   V4),
            Self::AddressSet { .. }         => ("AddressSet",         Operator, V4),
            Self::DomainDns { .. }          => ("DomainDns",          Viewer,   V4),
            Self::TraceSearch { .. }        => ("TraceSearch",        Viewer,   V4),
            Self::TraceShow { .. }          => ("TraceShow",          Viewer,   V4),
            Self::AliasTargetsList { .. }   => ("AliasTargetsList",   Viewer,   V4),
            Self::AliasTargetsSet { .. }    => ("AliasTargetsSet",    Operator, V4),
            Self::ForwardList { .. }        => ("ForwardList",        Viewer,   V4),
            Self::ForwardSet { .. }         => ("ForwardSet",         Operator, V4),
            Self::ForwardDelete { .. }      => ("ForwardDelete",      Operator, V4),
            Self::RouteList                 => ("RouteList",          Viewer,   V4),
            Self::RouteSet { .. }           => ("RouteSet",           Owner,    V4),
            Self::RouteRemove { .. }        => ("RouteRemove",        Owner,    V4),
            Self::DeliveryTest { .. }       => ("DeliveryTest",       Operator, V4),
            Self::QuotaList { .. }          => ("QuotaList",          Viewer,   V5),
            Self::QuotaSet { .. }           => ("QuotaSet",           Operator, V5),
            Self::RightsList { .. }         => ("RightsList",         Viewer,   V5),
            Self::RightsSet { .. }          => ("RightsSet",          Operator, V5),
            Self::PublicList { .. }         => ("PublicList",         Viewer,   V5),
            Self::PublicCreate { .. }       => ("PublicCreate",       Operator, V5),
            Self::PublicDelete { .. }       => ("PublicDelete",       Owner,    V5),
            Self::PublicRename { .. }       => ("PublicRename",       Operator, V5),
            Self::SessionList { .. }        => ("SessionList",        Viewer,   V5),
            Self::SessionDisconnect { .. }  => ("SessionDisconnect",  Operator, V5),
            Self::SessionTranscript { .. }  => ("SessionTranscript",  Owner,    V5),
            Self::MailboxList { .. }        => ("MailboxList",        Viewer,   V5),
            Self::QuotaDefaults             => ("QuotaDefaults",      Viewer,   V6),
        };
        Rule { name, needs, since }
    }

    /// Is it long work: one that tells how far it is, that can be ended by
    /// [`RequestBody::Cancel`], and that ends when its connection does?
    #[must_use]
    pub const fn is_long(&self) -> bool {
        matches!(
            self,
            Self::DbVerify
                | Self::DbBackup { .. }
                | Self::DbCompact
                | Self::DbRestore { .. }
                | Self::DbChangeKey { .. }
                | Self::DeliveryTest { .. }
                | Self::SessionTranscript { .. }
        )
    }
}

/// Which events a subscription wants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventFilter {
    /// Only these topics; empty: all.
    pub topics: Vec<Topic>,
    /// Only what belongs to this connection or message.
    pub trace: Option<TraceId>,
}

impl EventFilter {
    /// Does this event pass?
    #[must_use]
    pub fn passes(&self, event: &Event) -> bool {
        (self.topics.is_empty() || self.topics.contains(&event.kind.topic()))
            && self.trace.is_none_or(|trace| trace == event.trace)
    }
}

/// A text that must not be seen: `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Everything the daemon says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerMessage {
    /// Belongs to a request.
    Reply(Reply),
    /// Belongs to a subscription.
    Push(Push),
    /// The last message before the daemon closes the connection.
    Goodbye(Failure),
}

/// Belongs to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The request's id.
    pub id: u32,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a request. Any number of parts, then exactly one of the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// A piece of a list; more follows.
    Part(Rows),
    /// It is done, this is the answer, nothing more follows.
    Done(Answer),
    /// It was refused or failed, nothing more follows.
    Failed(Failure),
}

/// A piece of a list, or of what is told while work goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rows {
    /// Domains, in the order of their names.
    Domains(Vec<DomainRow>),
    /// Accounts, in the order of their addresses.
    Accounts(Vec<AccountRow>),
    /// How far long work is: when that has changed, and every few seconds. Version 2.
    DbProgress(DbProgress),
    /// Problems of the database. Version 2.
    DbProblems(Vec<DbProblem>),
    /// Segments of the journal that hold mail, in the order of their numbers. Version 2.
    DbSegments(Vec<DbSegment>),
    /// Recipients of outgoing mail, by message. Version 3.
    Queue(Vec<QueueRow>),
    /// Keys that sign mail, in the order of their domains and selectors. Version 3.
    Dkim(Vec<DkimRow>),
    /// Aliases, in the order of their addresses. Version 3.
    Aliases(Vec<AliasRow>),
    /// Application passwords, in the order of their names. Version 4.
    AppPasswords(Vec<AppPasswordRow>),
    /// What can be set about something. Version 4.
    Settings(Vec<SettingRow>),
    /// Records a domain is to publish, by purpose. Version 4.
    DomainDns(Vec<DomainDnsRow>),
    /// Messages of the past, the newest first. Version 4.
    Traces(Vec<TraceRow>),
    /// Events of the past, the oldest first. Version 4.
    Events(Vec<Event>),
    /// Aliases with all that they lead to, in the order of their addresses. Version 4.
    AliasTargets(Vec<AliasTargetsRow>),
    /// Accounts whose mail goes on, in the order of their addresses. Version 4.
    Forwards(Vec<ForwardRow>),
    /// Routes, in the order of their patterns. Version 4.
    Routes(Vec<RouteRow>),
    /// Steps of a test, in their order. Version 4.
    DeliverySteps(Vec<DeliveryStep>),
    /// What accounts and domains use and may use, in the order of their names. Version 5.
    Quotas(Vec<QuotaRow>),
    /// Who may do what with mailboxes, in the order of their names. Version 5.
    Rights(Vec<RightsRow>),
    /// Public mailboxes, in the order of their domains and names. Version 5.
    Public(Vec<PublicRow>),
    /// Sessions that are open, in the order they began. Version 5.
    Sessions(Vec<SessionRow>),
    /// Lines of a session, in their order. Version 5.
    SessionLines(Vec<SessionLine>),
    /// Mailboxes of an account, in the order of their names. Version 5.
    Mailboxes(Vec<MailboxRow>),
}

/// One local domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainRow {
    /// Its name, in A-labels.
    pub name: String,
    /// Accounts in it.
    pub accounts: u32,
    /// When it was made, in microseconds since 1970-01-01 UTC.
    pub created_us: u64,
}

/// One account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRow {
    /// Its address.
    pub address: String,
    /// Its mailboxes.
    pub mailboxes: u32,
    /// Messages in all of them.
    pub messages: u64,
    /// Bytes of those messages.
    pub stored_bytes: u64,
    /// When it was made, in microseconds since 1970-01-01 UTC.
    pub created_us: u64,
}

/// An address that stands for accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasRow {
    /// Its address; `@domain` for whatever else the domain is sent.
    pub address: String,
    /// The addresses of the accounts it stands for.
    pub accounts: Vec<String>,
    /// When it was made, in microseconds since 1970-01-01 UTC.
    pub created_us: u64,
}

/// An alias and all that it leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasTargetsRow {
    /// Its address; `@domain` for whatever else the domain is sent.
    pub address: String,
    /// The accounts, other aliases and addresses elsewhere that it stands for.
    pub targets: Vec<String>,
    /// When it was made, in microseconds since 1970-01-01 UTC.
    pub created_us: u64,
}

/// An account whose mail goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardRow {
    /// Its address.
    pub account: String,
    /// The addresses it goes on to.
    pub targets: Vec<String>,
    /// A copy stays in the account.
    pub keeps: bool,
    /// When that was set, in microseconds since 1970-01-01 UTC.
    pub created_us: u64,
}

/// The last word on a request that went well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It is done; there is nothing to tell.
    Done,
    /// The daemon.
    ServerInfo(ServerInfo),
    /// The counters.
    Stats(Stats),
    /// The list is complete.
    ListEnd {
        /// Rows in all parts.
        rows: u64,
    },
    /// The subscription stands.
    Subscribed {
        /// Its id: the request's id.
        subscription: u32,
    },
    /// Figures of the database. Version 2.
    DbStats(Box<DbStats>),
    /// The database was checked. Version 2.
    DbVerified(DbVerified),
    /// A copy of the database is there. Version 2.
    DbCopied(DbCopied),
    /// The database is tidied up. Version 2.
    DbCompacted(DbCompacted),
    /// The database is encrypted anew. Version 2.
    DbKeyChanged(DbKeyChanged),
    /// It is done to as many recipients. Version 3.
    QueueChanged {
        /// How many there were.
        recipients: u64,
    },
    /// An application password is there. Version 4.
    AppPassword {
        /// The password; it is kept nowhere, and not shown again.
        password: Secret,
    },
    /// As many messages of the past as were asked for, or as can be looked through at once.
    /// Version 4.
    TracesEnd {
        /// Rows in all parts.
        rows: u64,
        /// Before which place to go on; none: these were all.
        next: Option<u64>,
    },
    /// It is done to as many recipients, as far as they wait. Version 4; before, the same is said
    /// by [`Answer::QueueChanged`].
    QueueOrdered {
        /// How many there were.
        recipients: u64,
        /// How many of them are being tried: it is done to them when their attempt ends, unless it
        /// delivers them.
        underway: u64,
    },
    /// How a test ended. Version 4.
    DeliveryTested {
        /// What it found.
        verdict: DeliveryVerdict,
        /// The same in a sentence.
        text: String,
    },
    /// A session that was listened in on has ended. Version 5.
    SessionEnded {
        /// Lines that were told.
        lines: u64,
        /// Lines that the reader was too slow for.
        lost: u64,
    },
}

impl Answer {
    /// The same in the words of an older version, where it has any.
    #[must_use]
    pub fn in_words_of(self, version: Version) -> Self {
        match self {
            Self::QueueOrdered { recipients, .. } if version < Version::V4 => {
                Self::QueueChanged { recipients }
            }
            same => same,
        }
    }
}

/// The daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerInfo {
    /// Version of the daemon.
    pub version: String,
    /// The name it calls itself in SMTP and IMAP.
    pub hostname: String,
    /// When it started, in microseconds since 1970-01-01 UTC. Another value means another life:
    /// event numbers began anew.
    pub started_us: u64,
    /// Its process id.
    pub pid: u32,
    /// Its data folder.
    pub data_folder: String,
    /// Its open doors.
    pub doors: Vec<Door>,
}

/// An open door of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Door {
    /// What is spoken there.
    pub service: Service,
    /// A socket address, or the path of the admin socket.
    pub address: String,
}

/// The counters. Totals count from the daemon's start; the rest is the state of now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Seconds since the daemon started.
    pub uptime_s: u64,
    /// Resident memory of the daemon, in bytes; 0: unknown.
    pub resident_bytes: u64,
    /// Connections by door.
    pub sessions: Vec<SessionCount>,
    /// Connections accepted.
    pub connections_total: u64,
    /// Connections turned away at the door.
    pub connections_refused: u64,
    /// Messages accepted by SMTP.
    pub messages_accepted: u64,
    /// Messages refused after their data began.
    pub messages_refused: u64,
    /// Messages put into mailboxes by delivery.
    pub messages_delivered: u64,
    /// Messages put into mailboxes by APPEND.
    pub messages_appended: u64,
    /// Good logins.
    pub logins_ok: u64,
    /// Failed logins.
    pub logins_failed: u64,
    /// Bytes of mail in the store.
    pub stored_bytes: u64,
    /// Messages in all mailboxes.
    pub messages_stored: u64,
    /// Mailboxes.
    pub mailboxes: u64,
    /// Accounts.
    pub accounts: u64,
    /// Local domains.
    pub domains: u64,
    /// Transactions committed by the database.
    pub db_commits: u64,
    /// Times the database waited for the disk.
    pub db_syncs: u64,
    /// Events by name; those that never happened may be left out.
    pub events: Vec<EventCount>,
}

impl Stats {
    /// Do all counters stand where they stood? Uptime and memory move by themselves and do not
    /// count: a quiet daemon pushes nothing.
    #[must_use]
    pub fn same_counts(&self, other: &Self) -> bool {
        let quiet =
            Self { uptime_s: other.uptime_s, resident_bytes: other.resident_bytes, ..self.clone() };
        quiet == *other
    }

    /// Connections open at all doors but the admin protocol's.
    #[must_use]
    pub fn mail_sessions_open(&self) -> u64 {
        let mail = self.sessions.iter().filter(|count| count.service != Service::Admin);
        mail.map(|count| u64::from(count.open)).sum()
    }
}

/// Connections of one door.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionCount {
    /// Which door.
    pub service: Service,
    /// Open now.
    pub open: u32,
    /// Accepted since the daemon started.
    pub total: u64,
}

/// How often one kind of event happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventCount {
    /// The name, as `EventKind::name` of [`crate::event`] has it.
    pub name: String,
    /// How often.
    pub count: u64,
}

/// Belongs to a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// The subscription's id.
    pub subscription: u32,
    /// What is new.
    pub body: PushBody,
}

/// What is new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PushBody {
    /// Events, oldest first.
    Events {
        /// How many events were dropped since the last push, because the reader was slow. They are
        /// older than the ones that follow.
        lost: u64,
        /// The events.
        events: Vec<Event>,
    },
    /// The counters, after at least one of them changed.
    Stats(Stats),
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// For programs.
    pub code: Code,
    /// For people: what, and what to do.
    pub text: String,
}

/// Why something was not done, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Code {
    /// The bytes are not a message of this version.
    Malformed,
    /// The request is understood, but this daemon cannot do it.
    Unsupported,
    /// The role does not allow it.
    Forbidden,
    /// A value in it is not acceptable.
    Invalid,
    /// The object does not exist.
    NotFound,
    /// The object exists already.
    AlreadyExists,
    /// The object still holds others.
    NotEmpty,
    /// Too much at once; later it may work.
    Busy,
    /// The daemon is stopping.
    Stopping,
    /// The daemon failed; its log says how.
    Internal,
    /// It was ended by [`RequestBody::Cancel`]. Version 2.
    Cancelled,
}

impl Failure {
    /// A failure with this code and text.
    #[must_use]
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}
