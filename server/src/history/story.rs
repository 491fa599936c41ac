//! Which of a connection's events belong to one message.
//!
//! ```text
//!   opened  TLS │ identified A … accepted A │ identified B … refused │ A sent  A failed
//!               │                           │                        │ notified ─▶ identified N
//!   of A: ✓ ✓   │      ✓            ✓       │                        │ ✓  ✓  ✓  ✓ (N is about A)
//! ```
//! What names no message belongs to the one the connection is at, and to all when it is at none. A
//! notification belongs to the message it is about, and tells of it.
//! Not here: where events come from ([`super::traces`]).

use std::collections::HashMap;

use grace_ipc::event::EventKind;

/// Which message a notification is about, by number.
#[derive(Debug, Default)]
pub(super) struct Notices(HashMap<String, String>);

impl Notices {
    /// Takes note of an event.
    pub(super) fn note(&mut self, kind: &EventKind) {
        if let EventKind::MessageIdentified { queue_id, about, .. } = kind
            && !about.is_empty()
        {
            self.0.insert(queue_id.clone(), about.clone());
        }
    }

    /// The message it all began with. No notification is about itself, so this ends; if the events
    /// say otherwise it ends after as many steps as there are notifications.
    fn origin<'a>(&'a self, queue_id: &'a str) -> &'a str {
        let mut of = queue_id;
        for _ in 0..=self.0.len() {
            let Some(about) = self.0.get(of) else { break };
            of = about;
        }
        of
    }
}

/// The events of one message.
#[derive(Debug)]
pub(super) struct Story {
    notices: Notices,
    message: String,
    /// Whether the message that the connection is at is this one; `None`: it is at none.
    open: Option<bool>,
}

impl Story {
    /// The story of a message, or of the one that a notification is about.
    pub(super) fn of(queue_id: &str, notices: Notices) -> Self {
        let message = notices.origin(queue_id).to_owned();
        Self { notices, message, open: None }
    }

    /// Whether the next event is part of it.
    pub(super) fn takes(&mut self, kind: &EventKind) -> bool {
        let Some(queue_id) = number(kind) else {
            let is_part = self.open.unwrap_or(true);
            if let EventKind::MessageRefused { .. } = kind {
                self.open = None;
            }
            return is_part;
        };
        let is_part = self.notices.origin(queue_id) == self.message;
        match kind {
            EventKind::MessageIdentified { about, .. } if about.is_empty() => {
                self.open = Some(is_part);
            }
            EventKind::MessageAccepted { .. } => self.open = None,
            _ => {}
        }
        is_part
    }
}

/// The message that an event names.
fn number(kind: &EventKind) -> Option<&str> {
    match kind {
        EventKind::MessageIdentified { queue_id, .. }
        | EventKind::MessageAccepted { queue_id, .. }
        | EventKind::MessageDelivered { queue_id, .. }
        | EventKind::RecipientSent { queue_id, .. }
        | EventKind::RecipientDeferred { queue_id, .. }
        | EventKind::RecipientFailed { queue_id, .. }
        | EventKind::SenderNotified { queue_id, .. } => Some(queue_id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identified(queue_id: &str, about: &str) -> EventKind {
        EventKind::MessageIdentified {
            queue_id: queue_id.to_owned(),
            sender: String::new(),
            message_id: String::new(),
            recipients: Vec::new(),
            about: about.to_owned(),
        }
    }

    fn accepted(queue_id: &str) -> EventKind {
        let queue_id = queue_id.to_owned();
        EventKind::MessageAccepted { queue_id, sender: String::new(), recipients: 1, size: 1 }
    }

    fn refused() -> EventKind {
        EventKind::MessageRefused { sender: String::new(), reply: String::new() }
    }

    fn notified(queue_id: &str) -> EventKind {
        let queue_id = queue_id.to_owned();
        EventKind::SenderNotified { queue_id, to: String::new(), about: String::new() }
    }

    #[test]
    fn each_message_has_its_own_events() {
        let stopping = EventKind::ServerStopping;
        #[rustfmt::skip]
        let rows = [
            // event                 of A   of B   of C
            (stopping.clone(),      "A      B      C"),
            (identified("a", ""),   "A"),
            (stopping.clone(),      "A"),
            (accepted("a"),         "A"),
            (stopping.clone(),      "A      B      C"),
            (identified("b", ""),   "       B"),
            (refused(),             "       B"),
            (identified("c", ""),   "              C"),
            (notified("a"),         "A"),
            (identified("n", "a"),  "A"),
            (accepted("c"),         "              C"),
            (notified("n"),         "A"),
            (identified("m", "n"),  "A"),
            (stopping,              "A      B      C"),
        ];
        for (message, letter) in [("a", 'A'), ("n", 'A'), ("m", 'A'), ("b", 'B'), ("c", 'C')] {
            let mut notices = Notices::default();
            rows.iter().for_each(|(kind, _)| notices.note(kind));
            let mut story = Story::of(message, notices);
            for (number, (kind, of)) in rows.iter().enumerate() {
                assert_eq!(story.takes(kind), of.contains(letter), "{message} {number}: {kind}");
            }
        }
    }

    #[test]
    fn events_that_go_in_circles_end() {
        let mut notices = Notices::default();
        notices.note(&identified("a", "b"));
        notices.note(&identified("b", "a"));
        assert!(["a", "b"].contains(&notices.origin("a")));
    }
}
