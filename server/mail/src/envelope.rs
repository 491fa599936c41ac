//! The fields of a header that every client shows in its list of messages: IMAP's ENVELOPE.
//!
//! RFC 9051 7.5.2. Values are the header's bytes, unfolded, not decoded. A text field that is
//! missing is `None`, one that is there and empty is `Some` of nothing; IMAP makes a difference
//! between them.
//! Invariant: `sender` and `reply_to` are never empty when `from` is not.
//! Not here: how it is written on the wire, and the envelope of SMTP, which is another thing.

use crate::date::Date;
use crate::header;
use crate::mailbox_list::{self, Address};

/// IMAP's ENVELOPE.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Envelope {
    /// Date, as written.
    pub date: Option<Vec<u8>>,
    /// Subject.
    pub subject: Option<Vec<u8>>,
    /// From.
    pub from: Vec<Address>,
    /// Sender, or From if there is none.
    pub sender: Vec<Address>,
    /// Reply-To, or From if there is none.
    pub reply_to: Vec<Address>,
    /// To.
    pub to: Vec<Address>,
    /// Cc.
    pub cc: Vec<Address>,
    /// Bcc.
    pub bcc: Vec<Address>,
    /// In-Reply-To.
    pub in_reply_to: Option<Vec<u8>>,
    /// Message-ID.
    pub message_id: Option<Vec<u8>>,
}

impl Envelope {
    /// Reads a header block.
    ///
    /// Of a field that occurs twice the first one counts, but the lists of To, Cc and Bcc are put
    /// together: RFC 5322 4.5.3.
    #[must_use]
    pub fn of_header(block: &[u8]) -> Envelope {
        let mut envelope = Envelope::default();
        for field in header::fields(block) {
            let value = header::unfold(field.value);
            match field.name.to_ascii_lowercase().as_slice() {
                b"date" => first(&mut envelope.date, &value),
                b"subject" => first(&mut envelope.subject, &value),
                b"in-reply-to" => first(&mut envelope.in_reply_to, &value),
                b"message-id" => first(&mut envelope.message_id, &value),
                b"from" => first_list(&mut envelope.from, &value),
                b"sender" => first_list(&mut envelope.sender, &value),
                b"reply-to" => first_list(&mut envelope.reply_to, &value),
                b"to" => envelope.to.extend(mailbox_list::parse(&value)),
                b"cc" => envelope.cc.extend(mailbox_list::parse(&value)),
                b"bcc" => envelope.bcc.extend(mailbox_list::parse(&value)),
                _ => {}
            }
        }
        // RFC 9051 7.5.2: if Sender or Reply-To is absent or empty, the server uses From.
        if envelope.sender.is_empty() {
            envelope.sender.clone_from(&envelope.from);
        }
        if envelope.reply_to.is_empty() {
            envelope.reply_to.clone_from(&envelope.from);
        }
        envelope
    }

    /// The moment the Date field names, if it can be read.
    #[must_use]
    pub fn sent(&self) -> Option<Date> {
        Date::parse(self.date.as_ref()?)
    }
}

fn first(slot: &mut Option<Vec<u8>>, value: &[u8]) {
    slot.get_or_insert_with(|| value.to_vec());
}

fn first_list(slot: &mut Vec<Address>, value: &[u8]) {
    if slot.is_empty() {
        *slot = mailbox_list::parse(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox(local: &str) -> Address {
        let (local, host) = (local.as_bytes().to_vec(), b"example.org".to_vec());
        Address::Mailbox { name: None, route: None, local, host }
    }

    #[test]
    fn a_whole_envelope() {
        let envelope = Envelope::of_header(
            b"Date: Mon, 23 Nov 2026 19:00:00 +0000\r\nSUBJECT: a\r\n folded one\r\n\
              From: ann@example.org\r\nSender: sam@example.org\r\nReply-To: rep@example.org\r\n\
              To: bob@example.org\r\nCc: cid@example.org\r\nBcc: dan@example.org\r\n\
              In-Reply-To: <1@example.org>\r\nMessage-ID: <2@example.org>\r\n\r\n",
        );
        assert_eq!(envelope.subject.as_deref(), Some(&b"a folded one"[..]));
        assert_eq!(envelope.from, [mailbox("ann")]);
        assert_eq!(envelope.sender, [mailbox("sam")]);
        assert_eq!(envelope.reply_to, [mailbox("rep")]);
        assert_eq!(envelope.to, [mailbox("bob")]);
        assert_eq!(envelope.cc, [mailbox("cid")]);
        assert_eq!(envelope.bcc, [mailbox("dan")]);
        assert_eq!(envelope.in_reply_to.as_deref(), Some(&b"<1@example.org>"[..]));
        assert_eq!(envelope.message_id.as_deref(), Some(&b"<2@example.org>"[..]));
        assert_eq!(envelope.sent().map(|date| date.timestamp_s()), Some(1_795_460_400));
    }

    #[test]
    fn sender_and_reply_to_default_to_from() {
        let envelope =
            Envelope::of_header(b"From: ann@example.org\r\nSender:\r\nReply-To: \r\n\r\n");
        assert_eq!(envelope.sender, [mailbox("ann")]);
        assert_eq!(envelope.reply_to, [mailbox("ann")]);
        assert_eq!(Envelope::of_header(b"\r\n"), Envelope::default());
    }

    #[test]
    fn missing_is_not_empty() {
        let envelope = Envelope::of_header(b"Subject:\r\n\r\n");
        assert_eq!(envelope.subject.as_deref(), Some(&b""[..]));
        assert_eq!(envelope.message_id, None);
    }

    #[test]
    fn fields_that_occur_twice() {
        let envelope = Envelope::of_header(
            b"Subject: one\nSubject: two\nTo: a@example.org\nTo: b@example.org\n\
              From: ann@example.org\nFrom: eve@example.org\n\n",
        );
        assert_eq!(envelope.subject.as_deref(), Some(&b"one"[..]));
        assert_eq!(envelope.to, [mailbox("a"), mailbox("b")]);
        assert_eq!(envelope.from, [mailbox("ann")]);
    }
}
