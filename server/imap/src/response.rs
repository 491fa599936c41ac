//! Writing responses: the encoder's words and the response codes (RFC 9051 7).
//!
//! Invariants: whatever a peer or a message supplied leaves as a string that the grammar allows: a
//! quoted string only where it holds neither control characters nor 8-bit bytes, else a literal.
//! Not here: what is answered when (`session`, `view`).

use std::collections::VecDeque;

use crate::flags::Flags;
use crate::grammar::notify;
use crate::name;
use crate::set::Ranges;

/// A response code: `[…]` after OK, NO, BAD, BYE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Code {
    /// The mailbox name is taken (RFC 5530).
    AlreadyExists,
    /// Where an APPEND went (RFC 4315): UIDVALIDITY and the set of UIDs.
    AppendUid(u32, String),
    /// Login or password is wrong (RFC 5530).
    AuthenticationFailed,
    /// The charsets SEARCH knows.
    BadCharset,
    /// It can never be done (RFC 5530).
    Cannot,
    /// What the server offers now.
    Capability(String),
    /// The client broke the protocol (RFC 5530).
    ClientBug,
    /// The mailbox selected before is left (RFC 9051 7.1).
    Closed,
    /// Where a COPY or MOVE went (RFC 4315): UIDVALIDITY, source and destination set.
    CopyUid(u32, String, String),
    /// Somebody else removed messages the command names (RFC 5530).
    ExpungeIssued,
    /// The mailbox's newest modification sequence (RFC 7162).
    HighestModSeq(u64),
    /// Something is in use (RFC 5530).
    InUse,
    /// A limit of the server is reached (RFC 5530).
    Limit,
    /// Messages a conditional STORE left alone (RFC 7162).
    Modified(String),
    /// There is no such mailbox (RFC 5530).
    Nonexistent,
    /// The right to do that is missing (RFC 5530).
    NoPerm,
    /// The account is full (RFC 5530).
    OverQuota,
    /// Flags that can be changed for good.
    PermanentFlags(String),
    /// The login needs TLS (RFC 5530).
    PrivacyRequired,
    /// The mailbox may not be changed.
    ReadOnly,
    /// The mailbox may be changed.
    ReadWrite,
    /// The server has a fault (RFC 5530).
    ServerBug,
    /// The message is larger than we take (RFC 7889's cousin, RFC 4469 5).
    TooBig,
    /// A URL of CATENATE names nothing (RFC 4469 5).
    BadUrl(String),
    /// Compression is on already (RFC 4978 3).
    CompressionActive,
    /// The ways to sign URLs (RFC 4467 4).
    UrlMech,
    /// NOTIFY names an event that there is not (RFC 5465 5).
    BadEvent,
    /// There is more to tell than can be told: nothing is, any more (RFC 5465 5.8).
    NotificationOverflow,
    /// How far a long command is: its tag, messages looked at, of how many (RFC 9585 4). With as
    /// many as there are it is not known.
    InProgress(String, u64, u64),
    /// A value was left out; the longest has so many bytes (RFC 5464 4.2.1).
    MetadataLongEntries(u64),
    /// A value may have so many bytes (RFC 5464 4.3).
    MetadataMaxSize(u64),
    /// There may be no more entries (RFC 5464 4.3).
    MetadataTooMany,
    /// SEARCH names a filter that is not there (RFC 5466 3).
    UndefinedFilter(String),
    /// A search is not kept up to date: its tag (RFC 5267 4.3).
    NoUpdate(String),
    /// The mailbox's object identifier (RFC 8474 4).
    MailboxId(String),
    /// The command names messages by number, which the client gave up (RFC 9586 3).
    UidRequired,
    /// CREATE would help.
    TryCreate,
    /// The UID the next message gets.
    UidNext(u32),
    /// The mailbox's UIDVALIDITY.
    UidValidity(u32),
    /// Cannot be done right now (RFC 5530).
    Unavailable,
    /// The part's transfer encoding is not known (RFC 3516).
    UnknownCte,
    /// The special use is not supported (RFC 6154 3).
    UseAttr,
    /// Sequence number of the first unseen message.
    Unseen(u32),
}

impl Code {
    /// The code without its brackets.
    pub fn print(&self) -> String {
        let word = match self {
            Self::AlreadyExists => "ALREADYEXISTS",
            Self::AppendUid(validity, uid) => return format!("APPENDUID {validity} {uid}"),
            Self::AuthenticationFailed => "AUTHENTICATIONFAILED",
            Self::BadCharset => "BADCHARSET (US-ASCII UTF-8)",
            Self::Cannot => "CANNOT",
            Self::Capability(names) => return format!("CAPABILITY {names}"),
            Self::ClientBug => "CLIENTBUG",
            Self::Closed => "CLOSED",
            Self::CopyUid(validity, from, to) => return format!("COPYUID {validity} {from} {to}"),
            Self::ExpungeIssued => "EXPUNGEISSUED",
            Self::HighestModSeq(modseq) => return format!("HIGHESTMODSEQ {modseq}"),
            Self::InUse => "INUSE",
            Self::Limit => "LIMIT",
            Self::Modified(set) => return format!("MODIFIED {set}"),
            Self::Nonexistent => "NONEXISTENT",
            Self::NoPerm => "NOPERM",
            Self::OverQuota => "OVERQUOTA",
            Self::PermanentFlags(flags) => return format!("PERMANENTFLAGS ({flags})"),
            Self::PrivacyRequired => "PRIVACYREQUIRED",
            Self::ReadOnly => "READ-ONLY",
            Self::ReadWrite => "READ-WRITE",
            Self::ServerBug => "SERVERBUG",
            Self::TooBig => "TOOBIG",
            // The URL stands there as it came; a `]` in it must not end the code.
            Self::BadUrl(url) => return format!("BADURL \"{}\"", quotable(url)),
            Self::CompressionActive => "COMPRESSIONACTIVE",
            Self::BadEvent => return format!("BADEVENT ({})", notify::EVENTS),
            Self::UrlMech => "URLMECH INTERNAL",
            Self::NotificationOverflow => "NOTIFICATIONOVERFLOW",
            // RFC 9585 4: PROGRESS is below GOAL, which is not 0, or both are not known.
            Self::InProgress(tag, done, all) if done >= all => {
                return format!("INPROGRESS (\"{}\" NIL NIL)", quotable(tag));
            }
            Self::InProgress(tag, done, all) => {
                return format!("INPROGRESS (\"{}\" {done} {all})", quotable(tag));
            }
            Self::MetadataLongEntries(bytes) => return format!("METADATA LONGENTRIES {bytes}"),
            Self::MetadataMaxSize(bytes) => return format!("METADATA MAXSIZE {bytes}"),
            Self::MetadataTooMany => "METADATA TOOMANY",
            Self::UndefinedFilter(name) => {
                return format!("UNDEFINED-FILTER {}", quotable(name));
            }
            Self::NoUpdate(tag) => return format!("NOUPDATE \"{}\"", quotable(tag)),
            Self::MailboxId(id) => return format!("MAILBOXID ({id})"),
            Self::UidRequired => "UIDREQUIRED",
            Self::TryCreate => "TRYCREATE",
            Self::UidNext(uid) => return format!("UIDNEXT {uid}"),
            Self::UidValidity(validity) => return format!("UIDVALIDITY {validity}"),
            Self::Unavailable => "UNAVAILABLE",
            Self::UnknownCte => "UNKNOWN-CTE",
            Self::UseAttr => "USEATTR",
            Self::Unseen(sequence) => return format!("UNSEEN {sequence}"),
        };
        word.to_owned()
    }
}

/// Text that can stand between quotes in a response code as it is.
fn quotable(text: &str) -> String {
    let odd = |c: char| c.is_control() || !c.is_ascii() || matches!(c, '"' | '\\' | ']');
    text.chars().map(|c| if odd(c) { '?' } else { c }).collect()
}

/// Ranges in one VANISHED line: clients read lines into buffers of 8 KiB (RFC 7162 4).
const VANISHED_RANGES_MAX: usize = 300;

/// Longest quoted string we write, in bytes; longer ones become literals. Clients read quoted
/// strings into line buffers.
const QUOTED_BYTES_MAX: usize = 1024;

/// A piece of what goes to the client.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes.
    Bytes(Vec<u8>),
    /// Bytes of a message that the driver reads from the store.
    Message {
        /// Which message.
        uid: u32,
        /// From which byte.
        start: u64,
        /// How many.
        length: u64,
    },
}

/// So many bytes are worth a write of their own. TLS records hold 16 KiB.
const SEND_BYTES: usize = 32 * 1024;

/// Bytes on their way to the client.
#[derive(Debug, Default)]
pub struct Out {
    bytes: Vec<u8>,
    /// Whole pieces that go before `bytes`.
    pieces: VecDeque<Piece>,
    /// The client may be sent UTF-8 in quoted strings (RFC 9051 5.1, RFC 6855 3).
    pub utf8: bool,
}

impl Out {
    /// Whether so much waits that it should go before more is made.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= SEND_BYTES || !self.pieces.is_empty()
    }

    /// Takes the next piece away.
    pub fn next_piece(&mut self) -> Option<Piece> {
        if let Some(piece) = self.pieces.pop_front() {
            return Some(piece);
        }
        let bytes = std::mem::take(&mut self.bytes);
        (!bytes.is_empty()).then_some(Piece::Bytes(bytes))
    }

    /// Where the next byte goes, as long as no piece of a message was among them.
    pub(crate) fn place(&self) -> usize {
        self.bytes.len()
    }

    /// Takes the bytes that wait behind the last whole piece.
    pub(crate) fn take_bytes(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Bytes of a message, as they are.
    pub fn message(&mut self, uid: u32, start: u64, length: u64) -> &mut Self {
        let bytes = std::mem::take(&mut self.bytes);
        if !bytes.is_empty() {
            self.pieces.push_back(Piece::Bytes(bytes));
        }
        if length > 0 {
            self.pieces.push_back(Piece::Message { uid, start, length });
        }
        self
    }

    /// Text as it is. The caller knows it to be safe.
    pub fn raw(&mut self, text: &str) -> &mut Self {
        self.bytes.extend_from_slice(text.as_bytes());
        self
    }

    /// Bytes as they are.
    pub fn raw_bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// `* n FETCH (`, or in the words of RFC 9586 3.3 `* uid UIDFETCH (`.
    pub fn fetch_head(&mut self, uid_only: bool, sequence: u32, uid: u32) -> &mut Self {
        let (number, word) = if uid_only { (uid, " UIDFETCH (") } else { (sequence, " FETCH (") };
        self.raw("* ").number(u64::from(number)).raw(word)
    }

    /// `* VANISHED (EARLIER) set`, in as many lines as it takes; nothing for no UID.
    pub fn vanished(&mut self, earlier: &str, uids: &Ranges) {
        let all: Vec<(u32, u32)> = uids.iter().collect();
        for some in all.chunks(VANISHED_RANGES_MAX) {
            let some = Ranges::of(some.iter().map(|(first, last)| *first..=*last));
            self.say(&format!("* VANISHED {earlier}{some}"));
        }
    }

    /// A number.
    pub fn number(&mut self, number: u64) -> &mut Self {
        self.raw(&number.to_string())
    }

    /// The end of a response.
    pub fn line(&mut self) {
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// One whole response line.
    pub fn say(&mut self, line: &str) {
        self.raw(line).line();
    }

    /// A string: quoted where that is legal, else a literal.
    pub fn string(&mut self, text: &[u8]) -> &mut Self {
        let quotable = |byte: &u8| match byte {
            0..=31 | 127 => false,
            128.. => self.utf8,
            _ => true,
        };
        let fits = text.len() <= QUOTED_BYTES_MAX && text.iter().all(quotable);
        if !fits || (self.utf8 && std::str::from_utf8(text).is_err()) {
            return self.literal(text);
        }
        self.bytes.push(b'"');
        for byte in text {
            if matches!(byte, b'"' | b'\\') {
                self.bytes.push(b'\\');
            }
            self.bytes.push(*byte);
        }
        self.bytes.push(b'"');
        self
    }

    /// An atom where that is legal, else a string.
    pub fn astring(&mut self, text: &str) -> &mut Self {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.$".contains(&byte);
        match !text.is_empty() && text.bytes().all(plain) {
            true => self.raw(text),
            false => self.string(text.as_bytes()),
        }
    }

    /// A string or NIL.
    pub fn nstring(&mut self, text: Option<&[u8]>) -> &mut Self {
        match text {
            Some(text) => self.string(text),
            None => self.raw("NIL"),
        }
    }

    /// A literal.
    pub fn literal(&mut self, bytes: &[u8]) -> &mut Self {
        self.literal_head(bytes.len() as u64).raw_bytes(bytes)
    }

    /// The announcement of a literal whose bytes follow.
    pub fn literal_head(&mut self, size: u64) -> &mut Self {
        self.raw("{").number(size).raw("}\r\n")
    }

    /// A mailbox name.
    pub fn mailbox(&mut self, mailbox: &str) -> &mut Self {
        let wire = if self.utf8 { mailbox.to_owned() } else { name::encode_utf7(mailbox) };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.&,+".contains(&byte);
        let atom = !wire.is_empty() && wire.bytes().all(plain);
        // `NIL` bare would be a missing string to a careless client.
        if atom && !wire.eq_ignore_ascii_case("NIL") {
            self.raw(&wire)
        } else {
            self.string(wire.as_bytes())
        }
    }

    /// `(\Seen $Junk)`, with `\Recent` in front where it is so.
    pub fn flags(&mut self, flags: &Flags, recent: bool) -> &mut Self {
        self.raw("(");
        let names = recent.then_some("\\Recent").into_iter().chain(flags.names());
        for (place, name) in names.enumerate() {
            self.raw(if place == 0 { "" } else { " " }).raw(name);
        }
        self.raw(")")
    }

    /// An untagged status: `* OK [code] text`.
    pub fn status(&mut self, status: &str, code: Option<&Code>, text: &str) {
        self.tagged("*", status, code, text);
    }

    /// A tagged status: `tag OK [code] text`. The text is cleaned of line ends.
    pub fn tagged(&mut self, tag: &str, status: &str, code: Option<&Code>, text: &str) {
        self.raw(tag).raw(" ").raw(status).raw(" ");
        if let Some(code) = code {
            self.raw("[").raw(&code.print()).raw("] ");
        }
        let clean = |c: char| if c.is_control() || !c.is_ascii() { '?' } else { c };
        let text: String = text.chars().map(clean).collect();
        self.say(&text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(out: &mut Out) -> Vec<u8> {
        match out.next_piece() {
            Some(Piece::Bytes(bytes)) => bytes,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn strings_choose_their_form() {
        let check = |text: &[u8], utf8: bool, expected: &[u8]| {
            let mut out = Out { utf8, ..Out::default() };
            out.string(text);
            assert_eq!(taken(&mut out), expected);
        };
        check(b"a \"b\\", false, b"\"a \\\"b\\\\\"");
        check("ä".as_bytes(), false, "{2}\r\nä".as_bytes());
        check("ä".as_bytes(), true, "\"ä\"".as_bytes());
        check(b"\xff", true, b"{1}\r\n\xff");
        check(b"a\r\nb", true, b"{4}\r\na\r\nb");
        check(b"", false, b"\"\"");
    }

    #[test]
    fn mailbox_names() {
        let check = |mailbox: &str, utf8: bool, expected: &str| {
            let mut out = Out { utf8, ..Out::default() };
            out.mailbox(mailbox);
            assert_eq!(String::from_utf8(taken(&mut out)).expect("text"), expected);
        };
        check("INBOX", false, "INBOX");
        check("Sent Items", false, "\"Sent Items\"");
        check("Entwürfe", false, "Entw&APw-rfe");
        check("Entwürfe", true, "\"Entwürfe\"");
        check("nil", false, "\"nil\"");
    }

    #[test]
    fn status_text_cannot_break_the_line() {
        let mut out = Out::default();
        out.tagged("a", "NO", Some(&Code::Cannot), "evil\r\n* BYE");
        assert_eq!(taken(&mut out), b"a NO [CANNOT] evil??* BYE\r\n");
    }
}
