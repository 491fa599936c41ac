//! The names of a message, by which it is found later: who it is from and for, and what its author
//! called it.
//!
//! Not here: who keeps them (`history`).

use grace_ipc::event::{EventKind, IDENTIFIED_RECIPIENTS_MAX, TraceId};
use grace_mail::header;
use grace_smtp::receiver::Envelope;

use crate::telemetry::bus::{Bus, claim};

/// The names of one message.
#[derive(Debug)]
pub(super) struct Names {
    queue_id: String,
    sender: String,
    recipients: Vec<String>,
    message_id: String,
}

impl Names {
    /// Those of a message with this envelope and header block; `added` are the fields that go on
    /// top of it.
    pub(super) fn of(queue_id: &str, envelope: &Envelope, header: &[u8], added: &str) -> Self {
        let recipients = envelope.recipients.iter();
        let id = message_id(header).or_else(|| message_id(added.as_bytes()));
        Self {
            queue_id: queue_id.to_owned(),
            sender: claim(envelope.sender.to_string().as_bytes()),
            recipients: recipients.map(|to| claim(to.address.to_string().as_bytes())).collect(),
            message_id: id.unwrap_or_default(),
        }
    }

    /// Tells of them.
    pub(super) fn tell(self, bus: &Bus, trace: TraceId) {
        let Self { queue_id, sender, recipients, message_id } = self;
        for some in recipients.chunks(IDENTIFIED_RECIPIENTS_MAX) {
            let identified = EventKind::MessageIdentified {
                queue_id: queue_id.clone(),
                sender: sender.clone(),
                message_id: message_id.clone(),
                recipients: some.to_vec(),
                about: String::new(),
            };
            bus.emit(trace, identified);
        }
    }
}

/// The first Message-ID (RFC 5322 3.6.4), without its brackets and what stands around them.
fn message_id(header: &[u8]) -> Option<String> {
    let value = header::value(header, b"message-id")?;
    let value = value.trim_ascii();
    let inner = value.iter().position(|&byte| byte == b'<').and_then(|start| {
        let rest = value.get(start + 1..)?;
        let end = rest.iter().position(|&byte| byte == b'>')?;
        rest.get(..end)
    });
    Some(claim(inner.unwrap_or(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_id_is_found_bare() {
        let id = |header: &str| message_id(header.as_bytes());
        assert_eq!(id("Message-ID: <a@b>\r\n").as_deref(), Some("a@b"));
        assert_eq!(id("A: b\r\nmessage-id:\r\n <a@b> (c)\r\n\r\n").as_deref(), Some("a@b"));
        assert_eq!(id("Message-ID: a@b\r\n").as_deref(), Some("a@b"), "as some write it");
        assert_eq!(id("Message-ID: <a@b\r\n").as_deref(), Some("<a@b"));
        assert_eq!(id("Subject: Message-ID\r\n\r\nMessage-ID: <a@b>\r\n"), None);
    }
}
