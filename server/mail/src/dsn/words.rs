//! The part of a notification that people read: what happened, to whom, what they can do. No word
//! here needs knowledge of mail; the other server's own words come last.
//!
//! Invariant: lines end in CRLF; what strangers wrote stands indented in lines of its own.
//! Not here: other languages. What is written here is read by whoever wrote to us.

use super::status::{Action, Status};
use super::{Recipient, Report};
use crate::encoded_word;
use crate::header;

/// Where lines of text are broken, in characters.
const COLUMNS: usize = 74;
/// Longest subject or reply that is shown, in characters.
const QUOTE_CHARS_MAX: usize = 1_000;

/// The order and the heads in which recipients are told of.
#[rustfmt::skip]
const HEADS: &[(Action, &str, &str)] = &[
    (Action::Failed, "Your message could not be delivered",
        "Your message was NOT delivered to:"),
    (Action::Delayed, "Your message is delayed",
        "Your message has not been delivered yet to:"),
    (Action::Delivered, "Your message was delivered",
        "Your message is in the mailbox of:"),
    (Action::Relayed, "Your message was passed on",
        "Your message was passed on, to a mail system that will not tell whether it arrived, for:"),
    (Action::Expanded, "Your message was passed on",
        "Your message was passed on to all those who are behind this address:"),
];

/// The subject of the notification: the worst that happened.
pub(super) fn subject(recipients: &[Recipient<'_>]) -> &'static str {
    let worst = recipients.iter().map(|recipient| recipient.action).min();
    let head = HEADS.iter().find(|(action, ..)| Some(*action) == worst);
    head.map_or("About your message", |(_, subject, _)| subject)
}

/// The text.
pub(super) fn text(report: &Report<'_>) -> String {
    let mut page = Page(String::new());
    page.line(0, &format!("This is the mail system at {}.", report.hostname));
    for (action, _, head) in HEADS {
        let mut recipients = report.recipients.iter().filter(|r| r.action == *action).peekable();
        if recipients.peek().is_some() {
            page.blank();
            page.line(0, head);
            recipients.for_each(|recipient| page.recipient(recipient));
        }
    }
    page.original(report);
    page.replies(report.recipients);
    page.0
}

struct Page(String);

impl Page {
    fn recipient(&mut self, recipient: &Recipient<'_>) {
        self.blank();
        self.line(2, &named(recipient));
        let (reason, advice) = reason(recipient.status);
        match recipient.action {
            Action::Failed => {
                self.line(4, reason);
                self.line(4, advice);
            }
            Action::Delayed => {
                self.line(4, reason);
                self.line(
                    4,
                    &match recipient.will_retry_until {
                        Some(until) => format!(
                            "You need not do anything. We keep trying until {}, and tell you if it \
                         fails.",
                            until.to_rfc5322()
                        ),
                        None => "You need not do anything. We keep trying.".to_owned(),
                    },
                );
            }
            Action::Delivered => self.line(4, "This does not mean that it was read."),
            Action::Relayed | Action::Expanded => {}
        }
    }

    /// Which message it is about: the fields that its sender remembers.
    fn original(&mut self, report: &Report<'_>) {
        let shown: Vec<(&str, String)> = ["Subject", "To", "Date"]
            .into_iter()
            .filter_map(|name| {
                let value = header::value(report.original.header, name.as_bytes())?;
                let value = one_line(&encoded_word::decode(&value));
                (!value.is_empty()).then_some((name, value))
            })
            .collect();
        if shown.is_empty() {
            return;
        }
        self.blank();
        self.line(0, "It is about this message:");
        self.blank();
        for (name, value) in shown {
            self.line(2, &format!("{name}: {value}"));
        }
    }

    fn replies(&mut self, recipients: &[Recipient<'_>]) {
        if recipients.iter().all(|recipient| recipient.reply.is_none()) {
            return;
        }
        self.blank();
        self.line(0, "For technicians:");
        for recipient in recipients {
            let Some(reply) = recipient.reply else { continue };
            let status = recipient.status.for_action(recipient.action);
            self.blank();
            self.line(2, &format!("{} ({status})", one_line(recipient.address)));
            match recipient.remote {
                Some(remote) => {
                    self.line(4, &format!("{} said: {}", one_line(remote), one_line(reply)));
                }
                None => self.line(4, &one_line(reply)),
            }
        }
    }

    fn blank(&mut self) {
        self.0.push_str("\r\n");
    }

    /// A paragraph, broken at spaces.
    fn line(&mut self, indent: usize, text: &str) {
        let mut width = 0;
        for word in text.split_ascii_whitespace() {
            let needs = word.chars().count();
            if width > 0 && width + 1 + needs > COLUMNS {
                self.0.push_str("\r\n");
                width = 0;
            }
            if width == 0 {
                self.0.extend(std::iter::repeat_n(' ', indent));
                width = indent;
            } else {
                self.0.push(' ');
                width += 1;
            }
            self.0.push_str(word);
            width += needs;
        }
        self.0.push_str("\r\n");
    }
}

/// The address, and the one the sender knows it by if that is another.
fn named(recipient: &Recipient<'_>) -> String {
    let address = one_line(recipient.address);
    match recipient.original {
        Some((_, original)) if !original.eq_ignore_ascii_case(recipient.address) => {
            format!("{address} (you wrote to {})", one_line(original))
        }
        _ => address,
    }
}

/// What strangers wrote, as text without control characters and of bearable length.
fn one_line(text: &str) -> String {
    let is_break = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let plain = text.chars().map(|c| if is_break(c) { ' ' } else { c });
    plain.take(QUOTE_CHARS_MAX).collect::<String>().trim().to_owned()
}

/// A code of RFC 3463 in plain words, and what to do about it.
#[rustfmt::skip]
fn reason(status: Status) -> (&'static str, &'static str) {
    match (status.subject, status.detail) {
        (1, 1 | 3) => (
            "There is no mailbox with this address.",
            "Look for a typing mistake in the address. If there is none, ask the person for the \
             right one in another way."),
        (1, 2) => (
            "The part of the address behind the @ does not exist.",
            "Look for a typing mistake in it."),
        (1, 6) => (
            "The mailbox has moved, and nobody left the new address.",
            "Ask the person for it in another way."),
        (1, 10) => (
            "No mail is taken for what stands behind the @ of this address.",
            "Look for a typing mistake in the address, or reach the person in another way."),
        (2, 1) => (
            "The mailbox is closed or switched off.",
            "Reach the person in another way."),
        (2, 2) => (
            "The mailbox is full.",
            "Tell the person in another way, and send your message again later."),
        (2, 3) | (3, 4) => (
            "The message is larger than the other side takes.",
            "Send it without large attachments, or share those in another way."),
        (4, 1 | 2) => (
            "The mail server of the other side could not be reached.",
            "Send your message again later. If it fails again, reach the person in another way."),
        (4, 3 | 4) => (
            "The mail server of the other side could not be found.",
            "Look for a typing mistake behind the @. If there is none, try again later."),
        (4, 6) => (
            "The message went in circles between mail servers.",
            "Tell those who look after the mail of the other side; they have to mend it."),
        (4, 7) => (
            "The mail server of the other side did not take it for too long.",
            "Send your message again later. If it fails again, reach the person in another way."),
        (6, 7..=9) => (
            "The other side cannot handle addresses with letters like these.",
            "Ask the person for an address in plain letters."),
        (6, _) => (
            "The other side cannot handle this kind of message.",
            "Send it as plain text, without attachments."),
        (7, 2) => (
            "Only certain people may write to this address.",
            "Ask the owner of the address to let you."),
        (7, 10 | 30) => (
            "The message could not be sent as safely as was asked for.",
            "Tell those who look after the mail of the other side."),
        (7, 20..=29) => (
            "The other side could not make sure that the message is really from you.",
            "Tell those who look after your own mail: they have to mend it."),
        (7, _) => (
            "The other side does not want this message: its rules forbid it.",
            "Its own words below may say why. If they do not help, reach the person in another \
             way."),
        (3, _) => (
            "The mail server of the other side has a problem.",
            "Send your message again later."),
        (5, _) => (
            "The mail servers did not understand each other.",
            "Send your message again later. If it fails again, tell those who look after your \
             mail."),
        _ => (
            "The other side did not take the message.",
            "Its own words below may say why. Send your message again later, or reach the person \
             in another way."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_words_that_fit_a_line_or_two() {
        for subject in 0..=8 {
            for detail in 0..=40 {
                let (reason, advice) = reason(Status { class: 5, subject, detail });
                assert!(reason.ends_with('.') && reason.len() <= COLUMNS, "{reason}");
                assert!(advice.ends_with('.') && advice.len() <= 2 * COLUMNS, "{advice}");
            }
        }
    }

    #[test]
    fn text_is_broken_at_spaces_and_nothing_leaves_its_line() {
        let mut page = Page(String::new());
        page.line(4, &"word ".repeat(40));
        page.line(0, &one_line("a\r\n\r\nb\u{2028}c"));
        assert!(page.0.lines().all(|line| line.len() <= COLUMNS));
        assert!(page.0.ends_with("word word\r\na b c\r\n"), "{}", page.0);
    }
}
