//! The words between the machine and its driver: what the driver is to do, what the store is asked,
//! what it answers.
//!
//! Invariants: after [`Action::Ask`] the machine waits for exactly one [`Answer`]; requests about
//! messages mean the mailbox of the last successful [`Request::Open`].
//! Not here: the machine (`session`), the driver (`server::imap`).

use std::ops::RangeInclusive;
use std::sync::Arc;

use grace_mail::text::Needle;

use crate::command::{Secret, Source, SpecialUse};
use crate::date::DateTime;
use crate::facts::Shape;
use crate::flags::{FlagOperation, Flags};
use crate::keys::Keys;
use crate::metadata::Entry;
use crate::name::MailboxName;
use crate::places::Places;
use crate::rights::{Rights, RightsChange};
use crate::rows::Rows;
use crate::set::Ranges;
use crate::sort::Criterion;
use crate::url::ImapUrl;
use crate::view::Changes;

/// What the driver is to do next.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// Write these bytes.
    Send(Vec<u8>),
    /// Write `length` bytes of the message last read, from `start` on. If they cannot be had, the
    /// connection must be cut: the client counts on them.
    SendMessage {
        /// Which message.
        uid: u32,
        /// From which byte.
        start: u64,
        /// How many.
        length: u64,
    },
    /// Begin TLS as the server, then call `tls_started`.
    StartTls,
    /// From here on, what is sent and what is received is compressed with DEFLATE (RFC 4978).
    StartCompression,
    /// Behind what was sent, and behind the command that was received last, nothing is compressed
    /// any more (RFC 8437 4.1).
    EndCompression,
    /// Let the client have now what was sent so far: the command goes on for long.
    Flush,
    /// Do this and call `answer`.
    Ask(Request),
    /// A command was refused; for the event bus.
    Refused {
        /// The command's name, or the beginning of what was sent.
        command: String,
        /// What was answered.
        reply: String,
    },
    /// The client says what program it is (RFC 2971): a claim.
    Introduced(String),
    /// The client said this, while somebody listens in.
    Overheard(Overheard),
    /// Everything is said: close. The words say why, for the log.
    Close(String),
}

/// What a client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Overheard {
    /// A line, or a literal of one. No password is in it.
    Line(String),
    /// A piece of a message; empty at its end.
    Message(Vec<u8>),
}

/// What the store is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Check a login; the account is the session's from then on. Done or Refused.
    Login {
        /// The claimed account.
        login: String,
        /// Its password.
        password: Secret,
        /// How it came: `LOGIN`, `PLAIN`.
        mechanism: &'static str,
    },
    /// Begin a login by one of [`Settings::sasl`](crate::session::Settings::sasl). Challenge, Done
    /// or Refused; after Done the account is the session's.
    SaslBegin {
        /// Which.
        mechanism: &'static str,
        /// The initial response (RFC 4959), as it was sent.
        initial: Option<Vec<u8>>,
    },
    /// Go on with the client's answer to a challenge, as it was sent. The same.
    SaslLine(Vec<u8>),
    /// The account is the session's no more (RFC 8437). Done.
    Logout,
    /// Every mailbox and subscription of the account. Mailboxes.
    Mailboxes,
    /// Figures of one mailbox. Status.
    Status(MailboxName),
    /// The same with [`Status::deleted_size`], which takes a walk. Status.
    StatusDeleted(MailboxName),
    /// The annotations of a mailbox, or of the account; [`Entry::special_use`] is one. Metadata.
    Metadata(Option<MailboxName>),
    /// Set annotations, or remove those without a value, all or none. Done.
    SetMetadata(Option<MailboxName>, Vec<(Entry, Option<Vec<u8>>)>),
    /// Who has which rights on a mailbox (RFC 4314). Acl.
    Acl(MailboxName),
    /// Change somebody's rights. Done.
    SetAcl(MailboxName, String, RightsChange),
    /// Take somebody's rights away. Done.
    DeleteAcl(MailboxName, String),
    /// What the account may do with a mailbox. Rights.
    MyRights(MailboxName),
    /// Which rights on a mailbox somebody cannot lose, whom this one may give all others. Rights.
    ListRights(MailboxName, String),
    /// How full a quota root is (RFC 9208). Quota, with that root.
    Quota(String),
    /// How full those roots are that a mailbox counts to. Quota.
    QuotaRoots(MailboxName),
    /// Change limits. Done.
    SetQuota(String, Vec<(String, u64)>),
    /// From now on the session is woken, too, when something changes in these mailboxes, or in the
    /// account's names and subscriptions; with no sources never more. Done.
    Watch {
        /// Which mailboxes.
        sources: Vec<Source>,
        /// When annotations change, too.
        annotations: bool,
    },
    /// What may have changed of what is watched. Figures, or Refused where it is too much.
    Figures,
    /// Sign a URL of a message of this account, so that its reader may read it. Signed.
    UrlSign(ImapUrl),
    /// What a signed URL names, of whichever account; whether it is over was looked at. UrlData.
    UrlRead(ImapUrl),
    /// What was signed for a mailbox, or for all of the account, is good no more. Done.
    UrlReset(Option<MailboxName>),
    /// Make a mailbox. Created.
    Create(MailboxName, Option<SpecialUse>),
    /// Remove a mailbox. Done.
    Delete(MailboxName),
    /// Rename a mailbox and those below it. Done.
    Rename(MailboxName, MailboxName),
    /// Subscribe or unsubscribe. Done.
    Subscribe(MailboxName, bool),
    /// Select a mailbox: its watch begins. Opened.
    Open {
        /// Which.
        mailbox: MailboxName,
        /// EXAMINE.
        read_only: bool,
    },
    /// The selected mailbox is left: its watch ends. Done.
    Leave,
    /// What changed in the selected mailbox after a modification sequence. Changes.
    Changes {
        /// After this one.
        since: u64,
    },
    /// Which messages went after a modification sequence. Vanished.
    Vanished {
        /// After this one.
        since: u64,
    },
    /// A message of the selected mailbox, as much of it as is needed. Message.
    Read {
        /// Which.
        uid: u32,
        /// How much.
        need: Need,
        /// What else.
        beside: Beside,
    },
    /// What rows tell of messages of the selected mailbox, of as many as one answer takes, at least
    /// one. Messages.
    Facts {
        /// Of these, ascending; at most [`FACTS_AT_ONCE`].
        uids: Vec<u32>,
        /// What.
        wanted: Wanted,
        /// What else.
        beside: Beside,
    },
    /// Look into a mailbox without selecting it. Opened.
    Peek(MailboxName),
    /// The same of the mailbox last looked into, but for [`Need::Held`]. Message.
    ReadPeeked {
        /// Which.
        uid: u32,
        /// How much.
        need: Need,
        /// What else.
        beside: Beside,
    },
    /// In which messages texts are, as far as that can be said without reading them. Found.
    Find {
        /// These texts.
        texts: Vec<Sought>,
        /// In the mailbox last looked into, not in the selected one.
        peeked: bool,
    },
    /// What SORT and THREAD compare of messages of the selected mailbox. Keys.
    Keys {
        /// Of these, in this order.
        uids: Vec<u32>,
        /// [`Need::Facts`]: only size and INTERNALDATE are wanted.
        need: Need,
    },
    /// The order all messages of the selected mailbox had when they were last sorted by these.
    /// Places.
    Places(Vec<Criterion>),
    /// All messages of the selected mailbox in their order: whoever sorts so next may be told.
    /// Done.
    KeepPlaces(Arc<Places>),
    /// Change flags. Flagged.
    Flags {
        /// Of these messages, ascending.
        uids: Vec<u32>,
        /// How.
        operation: FlagOperation,
        /// Which.
        flags: Flags,
        /// Only messages not changed after this (RFC 7162 3.1.3).
        unchanged_since: Option<u64>,
    },
    /// Remove messages with `\Deleted` for good: all, or those among these UIDs. Done.
    Expunge(Option<Vec<u32>>),
    /// Copy messages, or move them. Copied.
    Copy {
        /// These, ascending.
        uids: Vec<u32>,
        /// Where to.
        mailbox: MailboxName,
        /// Take them out of the selected mailbox.
        moves: bool,
    },
    /// A message is about to come for a mailbox; more may follow for the same one. Done.
    AppendBegin {
        /// Where to.
        mailbox: MailboxName,
        /// Its first flags.
        flags: Flags,
        /// Its INTERNALDATE; now, if not given.
        date: Option<DateTime>,
        /// Another message goes when it is kept, so that no room is needed yet (RFC 8508 3.4).
        replaces: bool,
    },
    /// The next bytes of the message. Done.
    AppendChunk(Vec<u8>),
    /// The next bytes of the message are those a URL names (RFC 4469). Done.
    AppendUrl(ImapUrl),
    /// The message is whole. Done.
    AppendEnd,
    /// Every message is whole: keep them, all or none. Appended.
    AppendCommit {
        /// This message of the selected mailbox goes in the same step (RFC 8508).
        replaces: Option<u32>,
    },
    /// The messages will not be whole: forget them. Done.
    AppendAbort,
}

/// A text that is looked for with SEARCH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sought {
    /// The text.
    pub needle: Needle,
    /// Also in the message's own header: TEXT, not BODY.
    pub in_head: bool,
}

/// Where a text is, by UID. Messages in neither set do not have it, whenever they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hits {
    /// These have it.
    pub sure: Ranges,
    /// These must be read to know.
    pub doubt: Ranges,
}

impl Hits {
    /// Every message must be read.
    #[must_use]
    pub fn unknown() -> Self {
        Self { sure: Ranges::default(), doubt: Ranges::of([1..=u32::MAX]) }
    }

    /// Whether a message has it; `None`: it must be read.
    #[must_use]
    pub fn of(&self, uid: u32) -> Option<bool> {
        let is_sure = self.sure.contains(uid);
        (is_sure || !self.doubt.contains(uid)).then_some(is_sure)
    }
}

/// How much of a message is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Date and size.
    Facts,
    /// The same, and the message is held for [`Action::SendMessage`], even if it is removed
    /// meanwhile. So it is with everything below.
    Held,
    /// And the header: every byte up to and with the first empty line, or all there is.
    Header,
    /// And every byte.
    Whole,
}

/// Messages that rows are asked about at once: some hundred kilobytes, and others have their turn
/// in between.
pub const FACTS_AT_ONCE: usize = 250;

/// What rows are to tell of a message, beside date and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// The header fields of [`crate::facts::FIELDS`]: `bytes` of the answer is a header block that
    /// holds them all.
    pub fields: bool,
    /// `shape` of the answer, whole.
    pub shape: bool,
}

/// What is to be told of a message that is not among its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Beside {
    /// Where it came from: `saved` and `email_id` of the answer.
    pub origin: bool,
    /// Which conversation it belongs to: `thread_id` of the answer.
    pub thread: bool,
    /// Its first words: `preview` of the answer.
    pub preview: Option<PreviewOf>,
}

/// How a preview is had (RFC 8970 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PreviewOf {
    /// Only what was made before: LAZY.
    Kept,
    /// Made where it is missing.
    Any,
}

/// What the store answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It is done, for good.
    Done,
    /// It was not done.
    Refused(Why),
    /// To [`Request::SaslBegin`] and [`Request::SaslLine`]: what the client must answer, as base64.
    Challenge(String),
    /// To [`Request::Mailboxes`], in any order.
    Mailboxes(Vec<Listed>),
    /// To [`Request::Metadata`], by ascending name.
    Metadata(Vec<(Entry, Vec<u8>)>),
    /// To [`Request::Acl`]: identifiers and their rights.
    Acl(Vec<(String, Rights)>),
    /// To [`Request::MyRights`] and [`Request::ListRights`].
    Rights(Rights),
    /// To [`Request::Quota`] and [`Request::QuotaRoots`].
    Quota(Vec<Quota>),
    /// To [`Request::Create`]: its MAILBOXID.
    Created(String),
    /// To [`Request::Status`].
    Status(Status),
    /// To [`Request::Open`].
    Opened(Opened),
    /// To [`Request::Changes`].
    Changes(Changes),
    /// To [`Request::UrlSign`]: the token, in hexadecimal digits.
    Signed(String),
    /// To [`Request::UrlRead`]; `None`: nothing, or nothing that may be read.
    UrlData(Option<Vec<u8>>),
    /// To [`Request::Figures`].
    Figures(Figures),
    /// To [`Request::Vanished`], in any order; among them may be UIDs that were never in use.
    Vanished(Vec<RangeInclusive<u32>>),
    /// To [`Request::Read`]; `None`: the message is gone.
    Message(Option<Message>),
    /// To [`Request::Facts`].
    Messages {
        /// So many of the UIDs that were asked were looked at.
        looked_at: usize,
        /// Those of them that are there, ascending.
        messages: Vec<(u32, Message)>,
    },
    /// To [`Request::Find`], in the order asked. Texts that nothing is said of are in doubt.
    Found(Vec<Hits>),
    /// To [`Request::Keys`], in the order asked; those that are gone are left out.
    Keys(Vec<Keys>),
    /// To [`Request::Places`]; `None`: it is not known.
    Places(Option<Arc<Places>>),
    /// To [`Request::Flags`]: messages that were left alone because they changed meanwhile.
    Flagged(Vec<u32>),
    /// To [`Request::Flags`], where some of the flags are not this one's to change and were left
    /// alone (RFC 4314 4): the same.
    FlaggedPartly(Vec<u32>),
    /// To [`Request::Copy`].
    Copied {
        /// UIDVALIDITY of the target.
        uid_validity: u32,
        /// UIDs here and there.
        pairs: Vec<(u32, u32)>,
    },
    /// To [`Request::AppendCommit`].
    Appended {
        /// UIDVALIDITY of the target.
        uid_validity: u32,
        /// The messages' UIDs, in the order they came.
        uids: Vec<u32>,
    },
}

/// How full something is (RFC 9208 4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// The quota root's name.
    pub root: String,
    /// Its resources that have a limit.
    pub resources: Vec<Resource>,
}

/// A resource that has a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resource {
    /// `STORAGE` (in units of 1,024 bytes), `MESSAGE`, `MAILBOX`.
    pub name: &'static str,
    /// How much is used.
    pub usage: u64,
    /// How much may be.
    pub limit: u64,
}

/// Why the store refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Login or password is wrong.
    WrongPassword,
    /// Logins are not accepted from there for now.
    LoginLimited,
    /// There is no such mailbox.
    NoSuchMailbox,
    /// The right to do that is missing (RFC 4314).
    NoPermission,
    /// The name is taken.
    Exists,
    /// It is never allowed; why.
    NotAllowed(String),
    /// A limit is reached; which.
    Limit(String),
    /// Whose mailbox it is keeps as much as may be.
    OverQuota,
    /// The URL names nothing that can be read here; the URL.
    BadUrl(String),
    /// There may be no more annotations.
    MetadataTooMany,
    /// The message is larger than may be.
    TooBig,
    /// The message that is to be replaced is gone.
    MessageGone,
    /// The store has failed; the admin must look.
    Broken,
}

/// A mailbox as LIST needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: MailboxName,
    /// It exists; a subscription may outlive its mailbox (RFC 9051 6.3.7).
    pub exists: bool,
    /// The account is subscribed to it.
    pub subscribed: bool,
    /// What it is for.
    pub special_use: Option<SpecialUse>,
}

/// What is watched, as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Figures {
    /// Every mailbox and subscription; with its figures, where the mailbox exists.
    pub mailboxes: Vec<(Listed, Option<Status>)>,
    /// Annotations of mailboxes, and of the account, that changed since the last time.
    pub annotated: Vec<(Option<MailboxName>, Entry)>,
}

/// A mailbox's figures.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// MAILBOXID: an object identifier that is the mailbox's for ever (RFC 8474 4).
    pub mailbox_id: String,
    /// How many messages.
    pub messages: u64,
    /// How many are recent.
    pub recent: u64,
    /// How many lack `\Seen`.
    pub unseen: u64,
    /// How many have `\Deleted`.
    pub deleted: u64,
    /// Sum of sizes in bytes.
    pub size: u64,
    /// The same of those that have `\Deleted`, if that was asked for.
    pub deleted_size: u64,
    /// The UID the next message gets.
    pub uid_next: u32,
    /// UIDVALIDITY.
    pub uid_validity: u32,
    /// The newest modification sequence.
    pub modseq: u64,
}

/// A mailbox just selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// MAILBOXID.
    pub mailbox_id: String,
    /// UIDVALIDITY.
    pub uid_validity: u32,
    /// The UID the next message gets.
    pub uid_next: u32,
    /// The newest modification sequence.
    pub modseq: u64,
    /// What this one may do with it.
    pub rights: Rights,
    /// Messages with this UID or a higher one are the session's to see first (RFC 3501 2.3.2).
    pub recent_from: u32,
    /// Its messages.
    pub rows: Rows,
}

/// A message's facts and as many of its bytes as were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// INTERNALDATE.
    pub date: DateTime,
    /// When it was put into this mailbox (RFC 8514), if that was asked for.
    pub saved: DateTime,
    /// EMAILID: the same for every copy of it (RFC 8474 5.1), if that was asked for.
    pub email_id: String,
    /// THREADID: the same for all of a conversation (RFC 8474 5.2), if that was asked for; empty
    /// where none can be kept.
    pub thread_id: String,
    /// PREVIEW (RFC 8970), if that was asked for and is there.
    pub preview: Option<String>,
    /// Size in bytes of the whole.
    pub size: u64,
    /// Nothing, the header, or everything.
    pub bytes: Vec<u8>,
    /// ENVELOPE and BODYSTRUCTURE, if they were asked for.
    pub shape: Option<Shape>,
}
