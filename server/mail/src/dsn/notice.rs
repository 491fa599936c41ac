//! Who hears of what: the decision whether there is a notification.
//!
//! RFC 3461 4.1 and 5.2. Invariant: nothing is ever said to an empty reverse path, and what fails
//! on its way to the postmaster is said to nobody, so that notifications cannot go in circles.
//! Not here: sub-addressing, lists and groups; whoever expands an address says so with its event.

use super::status::Action;

/// What the sender wants to hear of (NOTIFY). All false: never anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wants {
    /// That it was delivered.
    pub success: bool,
    /// That it could not be.
    pub failure: bool,
    /// That it takes long.
    pub delay: bool,
}

/// What happened to one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It was given up, or refused for good (5.2.6).
    Failed,
    /// It is late (5.2.5).
    Late,
    /// It is in a mailbox of ours, or a list of ours took it over (5.2.3, 5.2.7.3).
    Delivered,
    /// A host took it that promised to send the notifications itself (5.2.1).
    HandedOver,
    /// A host took it that knows nothing of notifications (5.2.2).
    Relayed,
    /// It goes on to more than one address (5.2.7.2). To a single one nothing is to be said: what
    /// the sender wants goes along (5.2.7.1).
    Expanded,
}

/// Whom a message came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// There is a reverse path.
    Known,
    /// The reverse path is empty: it is a notification itself.
    Null,
    /// It is our notification to the postmaster.
    Postmaster,
}

/// What is to be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Nothing.
    None,
    /// This, to the reverse path.
    ToSender(Action),
    /// This, to our postmaster: a notification that could not be delivered either.
    ToPostmaster(Action),
}

/// What an event calls for.
#[must_use]
pub fn notice(event: Event, wants: Wants, sender: Sender) -> Notice {
    match (sender, event) {
        (Sender::Null, Event::Failed) => Notice::ToPostmaster(Action::Failed),
        (Sender::Null | Sender::Postmaster, _) => Notice::None,
        (Sender::Known, Event::Failed) if wants.failure => Notice::ToSender(Action::Failed),
        (Sender::Known, Event::Late) if wants.delay => Notice::ToSender(Action::Delayed),
        (Sender::Known, Event::Delivered) if wants.success => Notice::ToSender(Action::Delivered),
        (Sender::Known, Event::Relayed) if wants.success => Notice::ToSender(Action::Relayed),
        (Sender::Known, Event::Expanded) if wants.success => Notice::ToSender(Action::Expanded),
        (Sender::Known, _) => Notice::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said for each event and each wish alone; everything that is not here is not said.
    #[rustfmt::skip]
    const SAID: &[(Event, [Option<Action>; 3])] = &[
        //                  SUCCESS                  FAILURE               DELAY
        (Event::Failed,     [None,                    Some(Action::Failed), None]),
        (Event::Late,       [None,                    None,                 Some(Action::Delayed)]),
        (Event::Delivered,  [Some(Action::Delivered), None,                 None]),
        (Event::HandedOver, [None,                    None,                 None]),
        (Event::Relayed,    [Some(Action::Relayed),   None,                 None]),
        (Event::Expanded,   [Some(Action::Expanded),  None,                 None]),
    ];

    const NEVER: Wants = Wants { success: false, failure: false, delay: false };
    const WISHES: [Wants; 3] = [
        Wants { success: true, ..NEVER },
        Wants { failure: true, ..NEVER },
        Wants { delay: true, ..NEVER },
    ];

    #[test]
    fn the_sender_hears_what_it_wants_to() {
        for (event, said) in SAID {
            for (wants, said) in WISHES.iter().zip(said) {
                let expected = said.map_or(Notice::None, Notice::ToSender);
                let found = notice(*event, *wants, Sender::Known);
                assert_eq!(found, expected, "{event:?} {wants:?}");
            }
            assert_eq!(notice(*event, NEVER, Sender::Known), Notice::None);
        }
    }

    #[test]
    fn nobody_answers_a_notification_and_the_postmaster_hears_of_its_failure_once() {
        for (event, _) in SAID {
            for wants in WISHES.iter().chain([&NEVER]) {
                let expected = match event {
                    Event::Failed => Notice::ToPostmaster(Action::Failed),
                    _ => Notice::None,
                };
                assert_eq!(notice(*event, *wants, Sender::Null), expected);
                assert_eq!(notice(*event, *wants, Sender::Postmaster), Notice::None);
            }
        }
    }
}
