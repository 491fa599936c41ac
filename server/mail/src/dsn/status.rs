//! What became of a recipient, and why: actions (RFC 3464 2.3.3) and codes (RFC 3463).

use std::fmt;

/// What happened. The order is the one a reader cares for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// It could not be delivered, and we gave up.
    Failed,
    /// It is not delivered yet, and we go on.
    Delayed,
    /// It is in the mailbox.
    Delivered,
    /// It was passed to a host that does not tell what became of it.
    Relayed,
    /// It was passed on to several addresses that this one stands for.
    Expanded,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failed => "failed",
            Self::Delayed => "delayed",
            Self::Delivered => "delivered",
            Self::Relayed => "relayed",
            Self::Expanded => "expanded",
        })
    }
}

/// A code of RFC 3463, such as 5.1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// 2: success, 4: not yet, 5: never.
    pub class: u8,
    /// What it is about: 1 the address, 2 the mailbox, 3 the system …
    pub subject: u16,
    /// What exactly.
    pub detail: u16,
}

/// Largest subject and detail (RFC 3463 2: three digits).
const NUMBER_MAX: u16 = 999;

impl Status {
    /// A code as it is written, `5.1.1`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(|number| {
            let is_number =
                (1..=3).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
            number.parse().ok().filter(|_| is_number)
        });
        let (class, subject, detail) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let class = u8::try_from(class).ok().filter(|class| [2, 4, 5].contains(class))?;
        numbers.next().is_none().then_some(Self { class, subject, detail })
    }

    /// The code in the class that agrees with `action`: a recipient that was given up after many
    /// "not yet" keeps its 4, one that is late has never a 5.
    pub(super) fn for_action(self, action: Action) -> Self {
        let class = match action {
            Action::Failed if self.class == 2 => 5,
            Action::Failed => self.class,
            Action::Delayed => 4,
            Action::Delivered | Action::Relayed | Action::Expanded => 2,
        };
        Self { class, subject: self.subject.min(NUMBER_MAX), detail: self.detail.min(NUMBER_MAX) }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_and_written() {
        for text in ["5.1.1", "4.0.0", "2.999.999"] {
            assert_eq!(Status::parse(text).map(|s| s.to_string()).as_deref(), Some(text));
        }
        for text in ["", "5", "5.1", "5.1.1.1", "3.1.1", "5.1000.1", "5.+1.1", "5..1", "555.1.1"] {
            assert_eq!(Status::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_class_agrees_with_what_happened() {
        let status =
            |text: &str, action| Status::parse(text).unwrap().for_action(action).to_string();
        assert_eq!(status("4.4.7", Action::Failed), "4.4.7");
        assert_eq!(status("2.0.0", Action::Failed), "5.0.0");
        assert_eq!(status("5.4.1", Action::Delayed), "4.4.1");
        assert_eq!(status("5.0.0", Action::Relayed), "2.0.0");
    }
}
