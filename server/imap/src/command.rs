//! What a client may ask for: commands, parsed and checked, without any wire spelling left in them.
//!
//! Invariants: whatever stands in a [`Command`] is legal by the grammar; whether it is legal *now*
//! is for `session` to say.
//! Not here: the grammar (`grammar`), APPEND's message, which streams past the parser (`framer`).

use std::fmt;

use grace_mail::section::Section;

use crate::date::{DateTime, Day};
use crate::flags::{FlagOperation, Flags, Keyword, SystemFlag};
use crate::name::MailboxName;
use crate::set::SequenceSet;

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
        /// EXAMINE: nothing may be changed.
        read_only: bool,
        /// `(CONDSTORE)` was given (RFC 7162 3.1.8).
        condstore: bool,
    },
    /// CHECK
    Check,
    /// CLOSE
    Close,
    /// UNSELECT
    Unselect,
    /// EXPUNGE, or UID EXPUNGE with a set.
    Expunge(Option<SequenceSet>),
    /// SEARCH and UID SEARCH
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
    /// A command of an extension that we do not offer. Known, so it is refused and not `BAD`.
    NotOffered(String),
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
    /// The command was written in RFC 5258's extended form.
    pub extended: bool,
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
    /// SIZE (RFC 8438)
    Size,
    /// HIGHESTMODSEQ (RFC 7162)
    HighestModSeq,
}

impl StatusItem {
    /// Every item with its wire spelling.
    pub const NAMES: [(Self, &str); 8] = [
        (Self::Messages, "MESSAGES"),
        (Self::Recent, "RECENT"),
        (Self::UidNext, "UIDNEXT"),
        (Self::UidValidity, "UIDVALIDITY"),
        (Self::Unseen, "UNSEEN"),
        (Self::Deleted, "DELETED"),
        (Self::Size, "SIZE"),
        (Self::HighestModSeq, "HIGHESTMODSEQ"),
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

/// SEARCH.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    /// UID SEARCH: answer in UIDs.
    pub uid: bool,
    /// `RETURN (…)`; `None` where it was not written.
    pub returns: Option<SearchReturn>,
    /// What to look for; all must hold.
    pub key: SearchKey,
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
    /// The condition does not hold.
    Not(Box<Self>),
    /// One of the two holds.
    Or(Box<Self>, Box<Self>),
    /// All hold.
    And(Vec<Self>),
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

/// What APPEND says before its message.
#[derive(Debug, Clone, PartialEq)]
pub struct AppendHead {
    /// The client's tag.
    pub tag: String,
    /// Where to.
    pub mailbox: MailboxName,
    /// The message's first flags.
    pub flags: Flags,
    /// INTERNALDATE, if it was given.
    pub date: Option<DateTime>,
    /// The message stands in `UTF8 (…)` (RFC 6855 4).
    pub utf8: bool,
}
