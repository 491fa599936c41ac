//! What SORT and THREAD compare of a message (RFC 5256 2, RFC 5957 3).
//!
//! ```text
//!   Re: [list] Fwd: lunch (fwd)  ─base subject─▶  lunch, a reply
//!   "Ann" <ann@example.org>      ─addr-mailbox─▶  ann      ─display─▶  Ann
//! ```
//! Invariants: pure; every message has keys, however broken it is; bytes of texts compare as
//! letters do without case (RFC 5051); identifiers are 64 bits each, so that a mailbox of a million
//! letters is threaded in little memory; keys that were packed are the same when they are unpacked.
//! Not here: comparing (`sort`), threads (`thread`), keeping keys (`facts`).

use grace_mail::date::Date;
use grace_mail::encoded_word;
use grace_mail::envelope::Envelope;
use grace_mail::header;
use grace_mail::mailbox_list::Address;
use grace_mail::text::collated;

/// References looked at in one message. Clients cut long chains to some dozens.
const REFERENCES_MAX: usize = 200;

/// Longest text kept of a field, in bytes; what lies beyond decides no order anybody sees.
const TEXT_BYTES_MAX: usize = 256;

/// The keys of one message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Keys {
    /// Its UID.
    pub uid: u32,
    /// INTERNALDATE, in seconds since 1970 UTC.
    pub arrival_s: i64,
    /// The Date field, or where there is none that can be read, INTERNALDATE (RFC 5256 2.2).
    pub sent_s: i64,
    /// Its size in bytes.
    pub size: u64,
    /// addr-mailbox of the first From address, folded.
    pub from: Box<str>,
    /// The same of To.
    pub to: Box<str>,
    /// The same of Cc.
    pub cc: Box<str>,
    /// How From is shown: the name, or else the address (RFC 5957 3).
    pub display_from: Box<str>,
    /// How To is shown.
    pub display_to: Box<str>,
    /// The base subject, folded.
    pub subject: Box<str>,
    /// Something was taken off the subject that marks replies and forwarded mail.
    pub is_reply: bool,
    /// Message-ID; `None` if there is none.
    pub message_id: Option<MessageId>,
    /// References, or else In-Reply-To, the oldest first.
    pub references: Vec<MessageId>,
}

/// A message identifier, as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub u64);

impl Keys {
    /// The keys of a message with this header block, which may be missing where only what does not
    /// stand in it is compared.
    pub fn of(uid: u32, arrival_s: i64, size: u64, block: &[u8]) -> Self {
        let envelope = Envelope::of_header(block);
        let sent = envelope.date.as_deref().and_then(Date::parse);
        let subject = envelope.subject.as_deref().map(encoded_word::decode).unwrap_or_default();
        let (subject, is_reply) = base_subject(&subject);
        let ids = |value: &[u8]| ids(value).take(REFERENCES_MAX).collect::<Vec<_>>();
        let mut references = header::value(block, b"References").map(|value| ids(&value));
        if references.as_ref().is_none_or(Vec::is_empty) {
            // RFC 5256 3: the first of In-Reply-To, where References says nothing.
            let first = envelope.in_reply_to.as_deref().map(ids);
            references = first.map(|ids| ids.into_iter().take(1).collect());
        }
        Self {
            uid,
            arrival_s,
            sent_s: sent.map_or(arrival_s, |date| date.timestamp_s()),
            size,
            from: mailbox_of(&envelope.from),
            to: mailbox_of(&envelope.to),
            cc: mailbox_of(&envelope.cc),
            display_from: shown(&envelope.from),
            display_to: shown(&envelope.to),
            subject: cut(collated(&subject)),
            is_reply,
            message_id: envelope.message_id.as_deref().and_then(|value| self::ids(value).next()),
            references: references.unwrap_or_default(),
        }
    }
}

/// Bits of the first byte of packed keys.
mod bit {
    pub(super) const IS_REPLY: u8 = 1;
    pub(super) const HAS_DATE: u8 = 2;
    pub(super) const HAS_ID: u8 = 4;
}

impl Keys {
    /// What a header block says of the keys, to be kept: bits, the Date field's moment, Message-ID,
    /// how many references and those, then the texts, each behind its length.
    pub fn pack(block: &[u8]) -> Vec<u8> {
        // No Date field names this moment, so it stands for there being none.
        const NO_DATE: i64 = i64::MIN;
        let keys = Self::of(0, NO_DATE, 0, block);
        let has = |is: bool, bit: u8| if is { bit } else { 0 };
        let has_date = keys.sent_s != NO_DATE;
        let mut bytes = vec![
            has(keys.is_reply, bit::IS_REPLY)
                | has(has_date, bit::HAS_DATE)
                | has(keys.message_id.is_some(), bit::HAS_ID),
        ];
        if has_date {
            bytes.extend_from_slice(&keys.sent_s.to_le_bytes());
        }
        bytes.extend(keys.message_id.iter().flat_map(|id| id.0.to_le_bytes()));
        bytes.push(u8::try_from(keys.references.len()).unwrap_or(u8::MAX));
        bytes.extend(keys.references.iter().flat_map(|id| id.0.to_le_bytes()));
        let texts = [keys.from, keys.to, keys.cc, keys.display_from, keys.display_to, keys.subject];
        for text in texts {
            bytes.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes
    }

    /// The keys of a message that were kept so. `None`: these are not the bytes of any.
    pub fn unpack(uid: u32, arrival_s: i64, size: u64, mut bytes: &[u8]) -> Option<Self> {
        let rest = &mut bytes;
        let [bits] = take(rest)?;
        let has = |bit: u8| bits & bit != 0;
        let sent_s = if has(bit::HAS_DATE) { i64::from_le_bytes(take(rest)?) } else { arrival_s };
        let id = |rest: &mut &[u8]| Some(MessageId(u64::from_le_bytes(take(rest)?)));
        let message_id = if has(bit::HAS_ID) { Some(id(rest)?) } else { None };
        let [count] = take(rest)?;
        let references = (0..count).map(|_| id(rest)).collect::<Option<_>>()?;
        let text = |rest: &mut &[u8]| -> Option<Box<str>> {
            let length = usize::from(u16::from_le_bytes(take(rest)?));
            let (text, after) = rest.split_at_checked(length)?;
            *rest = after;
            Some(std::str::from_utf8(text).ok()?.into())
        };
        let (from, to, cc) = (text(rest)?, text(rest)?, text(rest)?);
        let (display_from, display_to, subject) = (text(rest)?, text(rest)?, text(rest)?);
        let is_reply = has(bit::IS_REPLY);
        let keys = Self {
            uid,
            arrival_s,
            sent_s,
            size,
            from,
            to,
            cc,
            display_from,
            display_to,
            subject,
            is_reply,
            message_id,
            references,
        };
        rest.is_empty().then_some(keys)
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*first)
}

fn cut(mut text: String) -> Box<str> {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text.into()
}

/// addr-mailbox of the first address (RFC 5256 3: FROM).
fn mailbox_of(list: &[Address]) -> Box<str> {
    let local = match list.first() {
        Some(Address::Mailbox { local, .. }) => local.as_slice(),
        Some(Address::GroupStart { name }) => name,
        Some(Address::GroupEnd) | None => &[],
    };
    cut(collated(&String::from_utf8_lossy(local)))
}

/// The name of the first address, or the address itself (RFC 5957 3).
fn shown(list: &[Address]) -> Box<str> {
    let text = match list.first() {
        Some(Address::Mailbox { name: Some(name), .. }) | Some(Address::GroupStart { name }) => {
            encoded_word::decode(name)
        }
        Some(Address::Mailbox { local, host, .. }) => {
            let (local, host) = (String::from_utf8_lossy(local), String::from_utf8_lossy(host));
            format!("{local}@{host}")
        }
        Some(Address::GroupEnd) | None => String::new(),
    };
    cut(collated(&text))
}

/// The identifiers in a field: what stands between `<` and `>`, quotes taken off (RFC 5256 3:
/// "normalized").
fn ids(value: &[u8]) -> impl Iterator<Item = MessageId> + '_ {
    let after = value.split(|byte| *byte == b'<').skip(1);
    after.filter_map(|rest| {
        let end = rest.iter().position(|byte| *byte == b'>')?;
        let id = rest.get(..end)?;
        let plain = id.iter().filter(|byte| !byte.is_ascii_whitespace() && !b"\"\\".contains(byte));
        // FNV-1a: what is kept must mean the same to the next program.
        let (mut hash, mut length) = (0xcbf2_9ce4_8422_2325_u64, 0);
        for byte in plain {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            length += 1;
        }
        (length > 0).then_some(MessageId(hash))
    })
}

/// The subject without what replies and forwarding add, and whether there was any of that (RFC 5256
/// 2.1). `subject` is decoded.
pub fn base_subject(subject: &str) -> (String, bool) {
    // (1) White space is one space.
    let words: Vec<&str> = subject.split([' ', '\t', '\r', '\n']).collect();
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    let text = words.join(" ");
    let mut base = text.as_str();
    let mut is_reply = false;
    loop {
        // (2) Trailers go.
        loop {
            base = base.trim_end_matches(' ');
            let Some(rest) = strip_end(base, "(fwd)") else { break };
            (base, is_reply) = (rest, true);
        }
        // (5) Leaders and blobs go, as long as there are any.
        loop {
            // (3)
            if let Some(rest) = base.strip_prefix(' ') {
                base = rest;
            } else if let Some(rest) = leader(base) {
                (base, is_reply) = (rest, true);
            } else if let Some(rest) = blob(base).filter(|rest| !rest.is_empty()) {
                // (4)
                base = rest;
            } else {
                break;
            }
        }
        // (6) `[fwd: … ]` goes, and then everything begins anew.
        let inside = strip_start(base, "[fwd:").and_then(|rest| rest.strip_suffix(']'));
        match inside {
            Some(inside) => (base, is_reply) = (inside, true),
            None => return (base.to_owned(), is_reply),
        }
    }
}

/// What follows `text`, in any case.
fn strip_start<'a>(subject: &'a str, text: &str) -> Option<&'a str> {
    let start = subject.get(..text.len())?;
    start.eq_ignore_ascii_case(text).then(|| subject.get(text.len()..))?
}

/// What stands before `text` at the end, in any case.
fn strip_end<'a>(subject: &'a str, text: &str) -> Option<&'a str> {
    let at = subject.len().checked_sub(text.len())?;
    let end = subject.get(at..)?;
    end.eq_ignore_ascii_case(text).then(|| subject.get(..at))?
}

/// What follows a subj-blob: `[list] `.
fn blob(subject: &str) -> Option<&str> {
    let inside = subject.strip_prefix('[')?;
    let end = inside.find(['[', ']'])?;
    let rest = inside.get(end..)?.strip_prefix(']')?;
    Some(rest.trim_start_matches(' '))
}

/// What follows a subj-leader with a subj-refwd: `[list] Re [2]: `.
fn leader(subject: &str) -> Option<&str> {
    let mut rest = subject;
    while let Some(after) = blob(rest) {
        rest = after;
    }
    let word = ["fwd", "fw", "re"].iter().find_map(|word| strip_start(rest, word))?;
    let word = word.trim_start_matches(' ');
    let word = blob(word).unwrap_or(word);
    word.strip_prefix(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_subjects() {
        let check = |subject: &str, base: &str, is_reply: bool| {
            assert_eq!(base_subject(subject), (base.to_owned(), is_reply), "{subject}");
        };
        check("lunch", "lunch", false);
        check("Re: lunch", "lunch", true);
        check("RE:lunch", "lunch", true);
        check("re [2]: lunch", "lunch", true);
        check("Re  :  lunch", "lunch", true);
        check("Fw: Fwd: re: lunch", "lunch", true);
        check("[list] Re: [list] lunch", "lunch", true);
        check("[list] lunch", "lunch", false);
        check("[list][other] lunch", "lunch", false);
        check("[list]", "[list]", false);
        check("[list] [other]", "[other]", false);
        check("lunch (fwd) (FWD) ", "lunch", true);
        check("[Fwd: lunch]", "lunch", true);
        check("[fwd: [fwd: Re: lunch (fwd)]]", "lunch", true);
        check("Re: [fwd: lunch]", "lunch", true);
        check("a\t b\r\n  c", "a b c", false);
        check("Reply: x", "Reply: x", false);
        check("Re", "Re", false);
        check("Re:", "", true);
        check("", "", false);
        check("[a[b] Re: x", "[a[b] Re: x", false);
        check("Ré: x", "Ré: x", false);
        check("é", "é", false);
    }

    #[test]
    fn keys_of_a_header() {
        let block = b"From: =?utf-8?Q?J=C3=BCrgen?= <J.User@Example.org>, b@x\r\n\
            To: undisclosed: ;\r\n\
            Cc: Bob@example.net\r\n\
            Subject: Re: =?utf-8?Q?=C3=84?=\r\n\
            Date: Thu, 1 Jan 1970 01:00:05 +0100\r\n\
            Message-ID: <a@\"b\"c>\r\n\
            References: <1@x> junk <2@x>\r\n\
            In-Reply-To: <9@x>\r\n\r\n";
        let keys = Keys::of(7, 99, 1_000, block);
        assert_eq!((keys.uid, keys.sent_s, keys.arrival_s, keys.size), (7, 5, 99, 1_000));
        assert_eq!((&*keys.from, &*keys.display_from), ("j.user", "ju\u{308}rgen"));
        assert_eq!((&*keys.to, &*keys.cc), ("undisclosed", "bob"));
        assert_eq!((&*keys.subject, keys.is_reply), ("a\u{308}", true));
        assert_eq!(keys.message_id, ids(b"<a@bc>").next());
        assert_eq!(keys.references, ids(b"<1@x><2@x>").collect::<Vec<_>>());
        let keys = Keys::of(1, 99, 0, b"In-Reply-To: <9@x> <8@x>\r\nFrom: z@y\r\n\r\n");
        assert_eq!(keys.references, ids(b"<9@x>").collect::<Vec<_>>());
        assert_eq!((keys.sent_s, &*keys.display_from, keys.message_id), (99, "z@y", None));
        assert_eq!(Keys::of(1, 0, 0, b""), Keys { uid: 1, ..Keys::default() });
        for block in [block.as_slice(), b"", b"Subject: x\r\nFrom: z@y\r\n\r\n"] {
            let packed = Keys::pack(block);
            assert_eq!(Keys::unpack(7, 99, 1_000, &packed), Some(Keys::of(7, 99, 1_000, block)));
            assert!((0..packed.len()).all(|end| Keys::unpack(7, 99, 0, &packed[..end]).is_none()));
        }
    }
}
