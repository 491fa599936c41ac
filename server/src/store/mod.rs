//! The tables of the daemon, opening the database they are in, and what `mailbox` and `directory`
//! do to them in common.
//!
//! ```text
//!   1 domain      2 account        8 uid_validity
//!   3 mailbox     4 subscription   5 message     7 vanished
//!   9 trace      10 trace_page    11 statistic
//!  12 outgoing   13 outgoing_recipient
//!  14 dkim_key   15 alias
//!  28 scram_key  29 app_password  36 domain_settings  37 address_settings
//!  33 traced     34 trace_word    35 trace_later
//!  25 grey_waiting  26 grey_known  27 grey_secret
//!  30 alias_target  31 forward  32 srs_key
//!  20 sts_policy 21 tls_result  23 route      24 deliver_by
//!  40 origin       42 metadata   43 fact       44 picture
//!  45 word_segment 46 word_slab
//!  48 acl          49 quota          50 public   51 url_key
//!  52 thread_reference              53 thread   54 chore
//! ```
//! Invariant: a table's id and name never change meaning; a table that is given up keeps its id:
//! 6, `body`.

pub mod accounts;
pub mod closed;
pub mod copied;
pub mod dkim;
mod earlier;
pub mod failure;
pub mod forwards;
pub mod greylist;
pub mod groups;
pub mod health;
pub mod key;
pub mod logins;
pub mod messages;
pub mod open;
pub mod outgoing;
pub mod quota;
pub mod refusal;
pub mod removal;
pub mod report;
pub mod routes;
pub mod seed;
pub mod settings;
pub mod shares;
pub mod statistics;
pub mod target;
pub mod threads;
pub mod traces;
pub mod transport;
pub mod urls;
pub mod words;

use gracedb::schema::Schema;
use gracedb::table::Table as _;

use self::accounts::{Account, Alias, Domain};
use self::dkim::DkimKeyRow;
use self::forwards::{AliasTargets, ForwardRow, SrsKeyRow};
use self::greylist::{GreyKnownRow, GreySecretRow, GreyWaitingRow};
use self::logins::{AppPasswordRow, ScramKeyRow};
use self::messages::{
    FactRow, MailboxRow, MessageRow, MetadataRow, Origin, PictureRow, Subscription, UidValidity,
    Vanished,
};
use self::outgoing::{DeliverByRow, OutgoingRecipientRow, OutgoingRow};
use self::routes::RouteRow;
use self::settings::{AddressSettings, DomainSettings};
use self::shares::{AclRow, PublicRow, QuotaRow};
use self::statistics::StatisticRow;
use self::threads::{ChoreRow, ThreadReferenceRow, ThreadRow};
use self::traces::{TraceLaterRow, TracePage, TraceRow, TraceWordRow, TracedRow};
use self::transport::{StsPolicyRow, TlsResultRow};
use self::urls::UrlKeyRow;
use self::words::{WordSegmentRow, WordSlabRow};

/// Every table of the daemon.
pub const SCHEMA: Schema = Schema::new(&[
    Domain::DEF,
    Account::DEF,
    MailboxRow::DEF,
    Subscription::DEF,
    MessageRow::DEF,
    Vanished::DEF,
    UidValidity::DEF,
    TraceRow::DEF,
    TracePage::DEF,
    StatisticRow::DEF,
    OutgoingRow::DEF,
    OutgoingRecipientRow::DEF,
    DkimKeyRow::DEF,
    Alias::DEF,
    ScramKeyRow::DEF,
    AppPasswordRow::DEF,
    DomainSettings::DEF,
    AddressSettings::DEF,
    TracedRow::DEF,
    TraceWordRow::DEF,
    TraceLaterRow::DEF,
    GreyWaitingRow::DEF,
    GreyKnownRow::DEF,
    GreySecretRow::DEF,
    AliasTargets::DEF,
    ForwardRow::DEF,
    SrsKeyRow::DEF,
    RouteRow::DEF,
    DeliverByRow::DEF,
    Origin::DEF,
    MetadataRow::DEF,
    FactRow::DEF,
    PictureRow::DEF,
    StsPolicyRow::DEF,
    TlsResultRow::DEF,
    AclRow::DEF,
    QuotaRow::DEF,
    PublicRow::DEF,
    UrlKeyRow::DEF,
    WordSegmentRow::DEF,
    WordSlabRow::DEF,
    ThreadReferenceRow::DEF,
    ThreadRow::DEF,
    ChoreRow::DEF,
]);
