//! What a client may ask for: commands, parsed and checked, without any wire spelling left in them.
//!
//! Invariants: whatever stands in a [`Command`] is legal by the grammar; whether it is legal *now*
//! is for `session` to say.
//! Not here: the grammar (`grammar`), APPEND's message, which streams past the parser (`framer`).

use std::fmt;

use grace_mail::section::Section;

use crate::date::{DateTime, Day};
use crate::flags::{FlagOperation, Flags, Keyword, SystemFlag};
use crate::metadata::{Depth, Entry};
use crate::name::MailboxName;
use crate::rights::RightsChange;
use crate::set::{Point, SequenceSet};
use crate::sort::Criterion;
use crate::thread::Algorithm;

/// One command: its tag and what it asks.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// The client's tag, repeated in the answer.
    pub tag: String,
    /// What is asked.
    pub verb: Verb,
}

/// A password on its way to the check. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Verb {
    /// CAPABILITY
    Capability,
    /// NOOP
    Noop,
    /// LOGOUT
    Logout,
    /// ID: what the client says about itself (RFC 2971).
    Id(Vec<(String, Option<String>)>),
    /// STARTTLS
    StartTls,
    /// LOGIN
    Login {
        /// The claimed account.
        login: String,
        /// Its password.
        password: Secret,
    },
    /// AUTHENTICATE
    Authenticate {
        /// The SASL mechanism, in upper case.
        mechanism: String,
        /// The initial response, still in base64 (RFC 4959).
        initial: Option<Vec<u8>>,
    },
    /// ENABLE: capability names in upper case.
    Enable(Vec<String>),
    /// LIST
    List(List),
    /// LSUB: reference and pattern.
    Lsub(String, String),
    /// CREATE, with the special use it asks for (RFC 6154 3).
    Create(MailboxName, Option<SpecialUse>),
    /// DELETE
    Delete(MailboxName),
    /// RENAME: from, to.
    Rename(MailboxName, MailboxName),
    /// SUBSCRIBE
    Subscribe(MailboxName),
    /// UNSUBSCRIBE
    Unsubscribe(MailboxName),
    /// STATUS
    Status(MailboxName, Vec<StatusItem>),
    /// SELECT and EXAMINE
    Select {
        /// Which mailbox.
        mailbox: MailboxName,
        /// How the client spelled it, if otherwise than it is called.
        spelled: Option<String>,
        /// EXAMINE: nothing may be changed.
        read_only: bool,
        /// `(CONDSTORE)` was given (RFC 7162 3.1.8).
        condstore: bool,
        /// `(QRESYNC (…))` was given (RFC 7162 3.2.5).
        resync: Option<Resync>,
    },
    /// CHECK
    Check,
    /// CLOSE
    Close,
    /// UNSELECT
    Unselect,
    /// EXPUNGE, or UID EXPUNGE with a set.
    Expunge(Option<SequenceSet>),
    /// SEARCH, SORT and THREAD and their UID forms
    Search(Search),
    /// FETCH and UID FETCH
    Fetch(Fetch),
    /// STORE and UID STORE
    Store(Store),
    /// COPY and MOVE and their UID forms
    Copy(Copy),
    /// IDLE
    Idle,
    /// NAMESPACE
    Namespace,
    /// APPEND and REPLACE without a literal: what they are made of stands elsewhere.
    Append(Append),
    /// GETMETADATA (RFC 5464)
    GetMetadata(GetMetadata),
    /// SETMETADATA (RFC 5464): entries and their new values; none removes one.
    SetMetadata(Option<MailboxName>, Vec<(Entry, Option<Vec<u8>>)>),
    /// CANCELUPDATE (RFC 5267): tags of searches.
    CancelUpdate(Vec<String>),
    /// GETACL (RFC 4314)
    GetAcl(MailboxName),
    /// SETACL: whose rights, and how they change.
    SetAcl(MailboxName, String, RightsChange),
    /// DELETEACL: whose rights.
    DeleteAcl(MailboxName, String),
    /// LISTRIGHTS: which rights somebody can be given.
    ListRights(MailboxName, String),
    /// MYRIGHTS
    MyRights(MailboxName),
    /// GETQUOTA: of which root (RFC 9208)
    GetQuota(String),
    /// GETQUOTAROOT
    GetQuotaRoot(MailboxName),
    /// SETQUOTA: root, resources and their limits.
    SetQuota(String, Vec<(String, u64)>),
    /// GENURLAUTH (RFC 4467): URLs and the mechanisms to sign them with, in upper case.
    GenUrlAuth(Vec<(String, String)>),
    /// URLFETCH (RFC 4467): signed URLs.
    UrlFetch(Vec<String>),
    /// RESETKEY (RFC 4467): of which mailbox; none: of all. Mechanisms, in upper case.
    ResetKey(Option<MailboxName>, Vec<String>),
    /// NOTIFY (RFC 5465)
    Notify(Notify),
    /// COMPRESS (RFC 4978): the mechanism, in upper case.
    Compress(String),
    /// UNAUTHENTICATE (RFC 8437)
    Unauthenticate,
    /// A command of an extension that we do not offer. Known, so it is refused and not `BAD`.
    NotOffered(String),
}

/// NOTIFY: what a client wants to be told of unasked (RFC 5465 3).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Notify {
    /// Tell the figures of the mailboxes at once.
    pub status: bool,
    /// What it wants; of a mailbox all groups speak that cover it. None: nothing.
    pub groups: Vec<EventGroup>,
}

/// Mailboxes, and what is told of them (RFC 5465 8).
#[derive(Debug, Clone, PartialEq)]
pub struct EventGroup {
    /// Which mailboxes.
    pub whose: Whose,
    /// What.
    pub events: Events,
}

/// Mailboxes of NOTIFY (RFC 5465 6).
#[derive(Debug, Clone, PartialEq)]
pub enum Whose {
    /// The selected one; what goes from it is told at once.
    Selected,
    /// The selected one; what goes from it is told when sequence numbers may shift.
    SelectedDelayed,
    /// Others.
    Others(Source),
}

/// Events of NOTIFY (RFC 5465 5).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Events {
    /// MessageNew and MessageExpunge, which go together.
    pub messages: bool,
    /// What is fetched of new messages.
    pub items: Vec<FetchItem>,
    /// FlagChange
    pub flags: bool,
    /// MailboxName
    pub names: bool,
    /// SubscriptionChange
    pub subscriptions: bool,
    /// MailboxMetadataChange
    pub metadata: bool,
    /// ServerMetadataChange
    pub server_metadata: bool,
}

/// What a client knows of a mailbox from before (RFC 7162 3.2.5).
#[derive(Debug, Clone, PartialEq)]
pub struct Resync {
    /// The UIDVALIDITY it knows.
    pub uid_validity: u32,
    /// The modification sequence up to which it knows everything.
    pub modseq: u64,
    /// The UIDs it knows; every one, if not given.
    pub known: Option<SequenceSet>,
    /// Some sequence numbers and the UIDs they stood for, ascending (RFC 7162 3.2.5.2).
    pub matches: Vec<(u32, u32)>,
}

/// LIST (RFC 9051 6.3.9, RFC 5258).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct List {
    /// Put before every pattern.
    pub reference: String,
    /// One pattern, or several in parentheses.
    pub patterns: Vec<String>,
    /// Only subscribed names.
    pub only_subscribed: bool,
    /// Only mailboxes with a special use (RFC 6154 5.1).
    pub only_special_use: bool,
    /// Also name parents whose children fit (`RECURSIVEMATCH`).
    pub recursive_match: bool,
    /// Say `\Subscribed`.
    pub return_subscribed: bool,
    /// Say `\HasChildren` and `\HasNoChildren`.
    pub return_children: bool,
    /// Say the special use even when not asked; it is always said.
    pub return_special_use: bool,
    /// Append a STATUS response for each mailbox (RFC 5819).
    pub return_status: Option<Vec<StatusItem>>,
    /// Append a METADATA response for each mailbox (RFC 9590).
    pub return_metadata: Vec<Entry>,
    /// Append a MYRIGHTS response for each mailbox (RFC 8440).
    pub return_my_rights: bool,
    /// The command was written in RFC 5258's extended form.
    pub extended: bool,
}

/// GETMETADATA (RFC 5464 4.2).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GetMetadata {
    /// Which mailbox; `None`: the account itself.
    pub mailbox: Option<MailboxName>,
    /// These entries.
    pub entries: Vec<Entry>,
    /// And so far below them.
    pub depth: Depth,
    /// Values up to so many bytes alone.
    pub bytes_max: Option<u64>,
}

/// What STATUS tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusItem {
    /// MESSAGES
    Messages,
    /// RECENT
    Recent,
    /// UIDNEXT
    UidNext,
    /// UIDVALIDITY
    UidValidity,
    /// UNSEEN
    Unseen,
    /// DELETED
    Deleted,
    /// DELETED-STORAGE (RFC 9208)
    DeletedStorage,
    /// SIZE (RFC 8438)
    Size,
    /// HIGHESTMODSEQ (RFC 7162)
    HighestModSeq,
    /// APPENDLIMIT (RFC 7889)
    AppendLimit,
    /// MAILBOXID (RFC 8474)
    MailboxId,
}

impl StatusItem {
    /// Every item with its wire spelling.
    pub const NAMES: [(Self, &str); 11] = [
        (Self::Messages, "MESSAGES"),
        (Self::Recent, "RECENT"),
        (Self::UidNext, "UIDNEXT"),
        (Self::UidValidity, "UIDVALIDITY"),
        (Self::Unseen, "UNSEEN"),
        (Self::Deleted, "DELETED"),
        (Self::DeletedStorage, "DELETED-STORAGE"),
        (Self::Size, "SIZE"),
        (Self::HighestModSeq, "HIGHESTMODSEQ"),
        (Self::AppendLimit, "APPENDLIMIT"),
        (Self::MailboxId, "MAILBOXID"),
    ];
}

/// What a mailbox is for (RFC 6154 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpecialUse {
    /// `\Archive`
    Archive,
    /// `\Drafts`
    Drafts,
    /// `\Junk`
    Junk,
    /// `\Sent`
    Sent,
    /// `\Trash`
    Trash,
    /// `\Flagged`
    Flagged,
    /// `\All`
    All,
}

impl SpecialUse {
    /// Every use with its attribute.
    pub const NAMES: [(Self, &str); 7] = [
        (Self::Archive, "\\Archive"),
        (Self::Drafts, "\\Drafts"),
        (Self::Junk, "\\Junk"),
        (Self::Sent, "\\Sent"),
        (Self::Trash, "\\Trash"),
        (Self::Flagged, "\\Flagged"),
        (Self::All, "\\All"),
    ];

    /// The attribute LIST shows.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(special, _)| *special == self).map_or("", |(_, name)| name)
    }

    /// The use of an attribute, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        let found = Self::NAMES.iter().find(|(_, name)| name.eq_ignore_ascii_case(text));
        found.map(|(special, _)| *special)
    }
}

/// SEARCH, SORT and THREAD.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    /// UID SEARCH: answer in UIDs.
    pub uid: bool,
    /// What becomes of what is found.
    pub order: Order,
    /// ESEARCH: which mailboxes are searched (RFC 7377); `None`: the selected one.
    pub sources: Option<Vec<Source>>,
    /// `RETURN (…)`; `None` where it was not written.
    pub returns: Option<SearchReturn>,
    /// `UPDATE (…)`: what is fetched of messages that come into the results later (RFC 5465 7).
    pub fetch: Vec<FetchItem>,
    /// What to look for; all must hold.
    pub key: SearchKey,
}

/// Mailboxes to search (RFC 7377 2.2, RFC 5465 6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The selected mailbox.
    Selected,
    /// INBOX, and where junk is put: no other gets new mail by itself.
    Inboxes,
    /// Every mailbox of the account.
    Personal,
    /// Those the account is subscribed to.
    Subscribed,
    /// These and all below.
    Subtree(Vec<MailboxName>),
    /// These and those directly below.
    SubtreeOne(Vec<MailboxName>),
    /// These.
    Mailboxes(Vec<MailboxName>),
}

/// What becomes of what is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// SEARCH: the order of the mailbox.
    Mailbox,
    /// SORT (RFC 5256)
    Sort(Vec<Criterion>),
    /// THREAD (RFC 5256)
    Thread(Algorithm),
}

/// RFC 9051 6.4.4: which results SEARCH gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SearchReturn {
    /// The smallest number.
    pub min: bool,
    /// The largest.
    pub max: bool,
    /// Every number.
    pub all: bool,
    /// How many.
    pub count: bool,
    /// Keep the result for `$` (RFC 5182).
    pub save: bool,
    /// A window of the results (RFC 9394 3.1).
    pub partial: Option<Window>,
    /// How well each fits (RFC 6203 4).
    pub relevancy: bool,
    /// Tell what changes in the results from then on (RFC 5267 4.3).
    pub update: bool,
}

/// A window of results: the places `first` to `last`, both counted from 1, from the front or from
/// the end (RFC 9394 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The place nearer to where counting begins.
    pub first: u32,
    /// The place farther from there.
    pub last: u32,
    /// Counted from the end: `-1:-100`.
    pub from_end: bool,
}

impl Window {
    /// The items in the window, in their order.
    pub fn of<'a, T>(&self, all: &'a [T]) -> &'a [T] {
        let place = |number: u32| usize::try_from(number).unwrap_or(usize::MAX).min(all.len());
        let (skipped, end) = (place(self.first.saturating_sub(1)), place(self.last));
        let range = match self.from_end {
            false => skipped..end,
            true => all.len() - end..all.len() - skipped,
        };
        all.get(range).unwrap_or_default()
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.from_end { "-" } else { "" };
        write!(f, "{sign}{}:{sign}{}", self.first, self.last)
    }
}

/// One condition of a SEARCH.
#[derive(Debug, Clone, PartialEq)]
pub enum SearchKey {
    /// Every message.
    All,
    /// Sequence numbers.
    Sequence(SequenceSet),
    /// UIDs.
    Uid(SequenceSet),
    /// A system flag is set.
    Flag(SystemFlag),
    /// A keyword is set.
    Keyword(Keyword),
    /// `\Recent`. NEW and OLD are written with it.
    Recent,
    /// INTERNALDATE, by day.
    Internal(When, Day),
    /// The Date header field, by day.
    Sent(When, Day),
    /// The day it was put into this mailbox (RFC 8514 4.3).
    Saved(When, Day),
    /// INTERNALDATE is at most so many seconds ago (RFC 5032).
    Younger(u32),
    /// INTERNALDATE is at least so many seconds ago (RFC 5032).
    Older(u32),
    /// The message has this EMAILID (RFC 8474 6).
    EmailId(String),
    /// The message has this THREADID (RFC 8474 6).
    ThreadId(String),
    /// Larger than so many bytes.
    Larger(u64),
    /// Smaller than so many bytes.
    Smaller(u64),
    /// A header field contains a text; an empty text asks only whether the field is there.
    Header(String, String),
    /// The body contains a text.
    Body(String),
    /// Header or body contains a text.
    Text(String),
    /// Changed at or after a modification sequence (RFC 7162 3.1.5).
    ModSeq(u64),
    /// What a filter of this name stands for (RFC 5466).
    Filter(String),
    /// It nearly holds, where texts are compared (RFC 6203).
    Fuzzy(Box<Self>),
    /// The condition does not hold.
    Not(Box<Self>),
    /// One of the two holds.
    Or(Box<Self>, Box<Self>),
    /// All hold.
    And(Vec<Self>),
}

impl SearchKey {
    /// Whether this key, or one inside it, is true of `found`.
    pub fn any(&self, found: &dyn Fn(&Self) -> bool) -> bool {
        found(self)
            || match self {
                Self::Not(key) | Self::Fuzzy(key) => key.any(found),
                Self::Or(one, other) => one.any(found) || other.any(found),
                Self::And(keys) => keys.iter().any(|key| key.any(found)),
                _ => false,
            }
    }

    /// How many keys look for a text in whole messages, and how many look for one that is near.
    pub fn texts(&self) -> (usize, usize) {
        self.texts_within(false)
    }

    fn texts_within(&self, fuzzy: bool) -> (usize, usize) {
        let sum = |one: (usize, usize), other: (usize, usize)| (one.0 + other.0, one.1 + other.1);
        match self {
            Self::Fuzzy(key) => key.texts_within(true),
            Self::Not(key) => key.texts_within(fuzzy),
            Self::Or(one, other) => sum(one.texts_within(fuzzy), other.texts_within(fuzzy)),
            Self::And(keys) => keys.iter().map(|key| key.texts_within(fuzzy)).fold((0, 0), sum),
            Self::Body(_) | Self::Text(_) | Self::Header(..) if fuzzy => (0, 1),
            Self::Body(_) | Self::Text(_) => (1, 0),
            _ => (0, 0),
        }
    }

    /// Whether it names messages by sequence number.
    pub fn names_sequences(&self) -> bool {
        self.any(&|key| matches!(key, Self::Sequence(SequenceSet::Ranges(_))))
    }

    /// Whether it names messages as the selected mailbox alone can: by sequence number or `$`.
    pub fn names_selected(&self) -> bool {
        self.any(&|key| matches!(key, Self::Sequence(_) | Self::Uid(SequenceSet::Saved)))
    }

    /// Whether it is FILTER.
    pub fn is_filter(&self) -> bool {
        matches!(self, Self::Filter(_))
    }
}

/// How a day is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Before that day.
    Before,
    /// On that day.
    On,
    /// On that day or after it.
    Since,
}

/// FETCH.
#[derive(Debug, Clone, PartialEq)]
pub struct Fetch {
    /// UID FETCH: the set names UIDs.
    pub uid: bool,
    /// Which messages.
    pub set: SequenceSet,
    /// What of each, in the order asked.
    pub items: Vec<FetchItem>,
    /// Only messages changed after this (RFC 7162 3.1.4.1).
    pub changed_since: Option<u64>,
    /// Also say which of the set are gone since then (RFC 7162 3.2.6).
    pub vanished: bool,
    /// Only so many of them (RFC 9394 3.2).
    pub partial: Option<Window>,
}

/// One thing FETCH gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchItem {
    /// FLAGS
    Flags,
    /// UID
    Uid,
    /// INTERNALDATE
    InternalDate,
    /// RFC822.SIZE
    Size,
    /// MODSEQ
    ModSeq,
    /// ENVELOPE
    Envelope,
    /// BODY: BODYSTRUCTURE without extension data
    Body,
    /// BODYSTRUCTURE
    BodyStructure,
    /// `BODY[…]`, and RFC822 and its parts under their old names
    Section {
        /// Which bytes.
        section: Section,
        /// What the answer calls them.
        spelling: SectionSpelling,
        /// Leave `\Seen` alone.
        peek: bool,
        /// Offset and length.
        partial: Option<(u64, u64)>,
    },
    /// `BINARY[…]`: a part with its transfer encoding taken off (RFC 3516)
    Binary {
        /// Which part.
        part: Vec<u32>,
        /// Leave `\Seen` alone.
        peek: bool,
        /// Offset and length.
        partial: Option<(u64, u64)>,
    },
    /// `BINARY.SIZE[…]`
    BinarySize(Vec<u32>),
    /// SAVEDATE (RFC 8514)
    SaveDate,
    /// EMAILID (RFC 8474)
    EmailId,
    /// THREADID (RFC 8474)
    ThreadId,
    /// PREVIEW, and with LAZY only if it was made before (RFC 8970)
    Preview {
        /// `(LAZY)` was given.
        lazy: bool,
    },
}

impl FetchItem {
    /// Whether giving this item sets `\Seen` (RFC 9051 6.4.5).
    pub fn sets_seen(&self) -> bool {
        matches!(self, Self::Section { peek: false, .. } | Self::Binary { peek: false, .. })
    }
}

/// Which name a section has in the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SectionSpelling {
    /// `BODY[…]`
    Body,
    /// `RFC822`
    Rfc822,
    /// `RFC822.HEADER`
    Rfc822Header,
    /// `RFC822.TEXT`
    Rfc822Text,
}

/// STORE.
#[derive(Debug, Clone, PartialEq)]
pub struct Store {
    /// UID STORE: the set names UIDs.
    pub uid: bool,
    /// Which messages.
    pub set: SequenceSet,
    /// What to do.
    pub operation: FlagOperation,
    /// Do not answer with the new flags.
    pub silent: bool,
    /// With these flags.
    pub flags: Flags,
    /// Only messages not changed after this (RFC 7162 3.1.3).
    pub unchanged_since: Option<u64>,
}

/// COPY or MOVE.
#[derive(Debug, Clone, PartialEq)]
pub struct Copy {
    /// The set names UIDs.
    pub uid: bool,
    /// Which messages.
    pub set: SequenceSet,
    /// Where to.
    pub mailbox: MailboxName,
    /// MOVE: take them out of this mailbox (RFC 6851).
    pub moves: bool,
}

/// APPEND or REPLACE, as far as it was read: up to a literal that streams, or to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Append {
    /// Where to.
    pub mailbox: MailboxName,
    /// The message of the selected mailbox that goes (RFC 8508).
    pub replaces: Option<Replaced>,
    /// What was read.
    pub pieces: Vec<AppendPiece>,
}

/// The message REPLACE names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replaced {
    /// UID REPLACE: the number is a UID.
    pub uid: bool,
    /// Which one.
    pub number: Point,
}

/// A piece of what APPEND says (RFC 9051 9, RFC 3502, RFC 4469).
#[derive(Debug, Clone, PartialEq)]
pub enum AppendPiece {
    /// A message begins, with its first flags and its INTERNALDATE, if that was given.
    Begin(Flags, Option<DateTime>),
    /// Bytes of it come as a literal.
    Literal {
        /// The message is made of several pieces (CATENATE): this one may be empty.
        part: bool,
    },
    /// A piece of it stands elsewhere (RFC 4469).
    Url(String),
    /// The message ends.
    End,
    /// The command ends.
    Done,
}
