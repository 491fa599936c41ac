//! An event as one plain sentence, the same in logs, on the command line and in the console.
//!
//! Invariant: what came from a peer is shown with control characters escaped, so that no event can
//! steer a terminal or break a line. Not here: the event's time and trace, which have columns.

use std::fmt;

use crate::event::EventKind;

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use EventKind as E;
        match self {
            E::ServerStarted { version } => write!(f, "server {} started", Plain(version)),
            E::ServerStopping => f.write_str("server is stopping"),
            E::Listening { service, address } => {
                write!(f, "{} listens on {}", service.name(), Plain(address))
            }
            E::ConnectionOpened { service, peer } => {
                write!(f, "{} connection from {peer}", service.name())
            }
            E::ConnectionRefused { service, peer, reason } => {
                write!(f, "{} turned {peer} away: {}", service.name(), Plain(reason))
            }
            E::ConnectionClosed { service, peer, reason, duration_ms, bytes_in, bytes_out } => {
                write!(
                    f,
                    "{} connection from {peer} closed after {duration_ms} ms, {bytes_in} bytes \
                     in, {bytes_out} out: {}",
                    service.name(),
                    Plain(reason)
                )
            }
            E::TlsEstablished { service, peer, version, cipher } => {
                let (version, cipher) = (Plain(version), Plain(cipher));
                write!(f, "{} {peer} uses {version} with {cipher}", service.name())
            }
            E::TlsFailed { service, peer, reason } => {
                write!(f, "{} TLS with {peer} failed: {}", service.name(), Plain(reason))
            }
            E::CommandRefused { service, peer, command, reply } => {
                let (command, reply) = (Plain(command), Plain(reply));
                write!(f, "{} {peer} sent \"{command}\", answered: {reply}", service.name())
            }
            E::DoorRefused { .. } | E::BlockListChanged { .. } => at_the_door(self, f),
            E::LoginSucceeded { .. } | E::LoginFailed { .. } => login(self, f),
            E::MessageAccepted { .. }
            | E::MessageRefused { .. }
            | E::MessageDelivered { .. }
            | E::MessageAppended { .. }
            | E::SenderChecked { .. }
            | E::MessageIdentified { .. }
            | E::RecipientRefused { .. }
            | E::MessageForwarded { .. } => message(self, f),
            E::RecipientSent { .. }
            | E::RecipientDeferred { .. }
            | E::RecipientFailed { .. }
            | E::SenderNotified { .. }
            | E::QueueChanged { .. }
            | E::SmartHostRefused { .. } => outgoing(self, f),
            E::MessagesExpunged { account, mailbox, count } => {
                write!(f, "{count} removed from {} of {}", Plain(mailbox), Plain(account))
            }
            E::MailboxSelected { account, mailbox, messages } => {
                let (mailbox, account) = (Plain(mailbox), Plain(account));
                write!(f, "{account} opened {mailbox} with {messages} messages")
            }
            E::MailboxChanged { account, mailbox, change } => {
                write!(f, "mailbox {} of {}: {}", Plain(mailbox), Plain(account), Plain(change))
            }
            E::QuotaReached { of, percent } => {
                write!(f, "{} keeps {percent} % of what it may", Plain(of))
            }
            E::DirectoryChanged { what, change, by } => {
                write!(f, "{} {} by {}", Plain(what), Plain(change), Plain(by))
            }
            E::CertificateReloaded { file } => {
                write!(f, "certificate read again: {}", Plain(file))
            }
            E::CertificateRejected { reason } => {
                write!(f, "certificate not taken, the old one stays: {}", Plain(reason))
            }
            E::StoreOpened { replayed, cut_bytes, took_ms } => write!(
                f,
                "store opened in {took_ms} ms: {replayed} transactions replayed, {cut_bytes} \
                 bytes of a torn tail cut"
            ),
            E::StoreFailed { reason } => write!(f, "STORE FAILED: {}", Plain(reason)),
            E::StoreDamaged { what } => write!(f, "STORE DAMAGED: {}", Plain(what)),
            E::SessionPanicked { service, peer } => {
                write!(f, "{} session of {peer} panicked and was ended", service.name())
            }
        }
    }
}

fn outgoing(kind: &EventKind, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match kind {
        EventKind::RecipientSent { queue_id, recipient, remote, tls, reply } => {
            let (queue_id, recipient, remote) = (Plain(queue_id), Plain(recipient), Plain(remote));
            let how = if tls.is_empty() { "in clear" } else { tls };
            write!(f, "{queue_id} sent to {recipient}, {remote} ({}): {}", Plain(how), Plain(reply))
        }
        EventKind::RecipientDeferred { queue_id, recipient, remote, reason, attempts, .. } => {
            let (queue_id, recipient, reason) = (Plain(queue_id), Plain(recipient), Plain(reason));
            let times = if *attempts == 1 { "once" } else { "again" };
            let at = if remote.is_empty() { String::new() } else { format!("{}: ", Plain(remote)) };
            write!(f, "{queue_id} to {recipient} put off {times}: {at}{reason}")
        }
        EventKind::RecipientFailed { queue_id, recipient, remote, reason } => {
            let (queue_id, recipient, reason) = (Plain(queue_id), Plain(recipient), Plain(reason));
            let at = if remote.is_empty() { String::new() } else { format!("{}: ", Plain(remote)) };
            write!(f, "{queue_id} to {recipient} given up: {at}{reason}")
        }
        EventKind::SenderNotified { queue_id, to, about } => {
            let to = if to.is_empty() { "nobody" } else { to };
            write!(f, "{} told {}: {}", Plain(queue_id), Plain(to), Plain(about))
        }
        EventKind::QueueChanged { what, change, recipients, by } => {
            let (what, change, by) = (Plain(what), Plain(change), Plain(by));
            write!(f, "outgoing mail, {what}: {recipients} recipients {change} by {by}")
        }
        EventKind::SmartHostRefused { host, login, reason } => {
            let (host, login, reason) = (Plain(host), Plain(login), Plain(reason));
            write!(f, "smart host {host} does not let us in as {login}: {reason}")
        }
        _ => Ok(()),
    }
}

fn at_the_door(kind: &EventKind, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match kind {
        EventKind::DoorRefused { service, peer, command, rule, reason, count } => {
            let (command, rule, reason) = (Plain(command), Plain(rule), Plain(reason));
            let service = service.name();
            write!(f, "{service} {command} of {peer} refused {count} times, {rule}: {reason}")
        }
        EventKind::BlockListChanged { list, is_asked, reason } => {
            let (list, reason) = (Plain(list), Plain(reason));
            let what = if *is_asked { "asked again" } else { "not asked for a while" };
            write!(f, "block list {list} is {what}: {reason}")
        }
        _ => Ok(()),
    }
}

fn login(kind: &EventKind, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match kind {
        EventKind::LoginSucceeded { service, peer, account, mechanism } => write!(
            f,
            "{} logged in at {} from {peer} with {}",
            Plain(account),
            service.name(),
            Plain(mechanism)
        ),
        EventKind::LoginFailed { service, peer, login, mechanism, reason } => write!(
            f,
            "login as {} at {} from {peer} with {} failed: {}",
            Plain(login),
            service.name(),
            Plain(mechanism),
            Plain(reason)
        ),
        _ => Ok(()),
    }
}

fn message(kind: &EventKind, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match kind {
        EventKind::MessageAccepted { queue_id, sender, recipients, size } => write!(
            f,
            "message {} from <{}> to {recipients} accepted, {size} bytes",
            Plain(queue_id),
            Plain(sender)
        ),
        EventKind::MessageRefused { sender, reply } => {
            write!(f, "message from <{}> refused: {}", Plain(sender), Plain(reply))
        }
        EventKind::MessageDelivered { queue_id, account, mailbox, uid, size } => write!(
            f,
            "message {} delivered to {} of {} as {uid}, {size} bytes",
            Plain(queue_id),
            Plain(mailbox),
            Plain(account)
        ),
        EventKind::MessageAppended { account, mailbox, uid, size } => write!(
            f,
            "message appended to {} of {} as {uid}, {size} bytes",
            Plain(mailbox),
            Plain(account)
        ),
        EventKind::MessageIdentified { queue_id, sender, message_id, recipients, .. } => write!(
            f,
            "message {} from <{}> to {}, Message-ID <{}>",
            Plain(queue_id),
            Plain(sender),
            Plain(&recipients.join(" ")),
            Plain(message_id)
        ),
        EventKind::RecipientRefused { peer, sender, recipient, reply } => write!(
            f,
            "recipient <{}> of <{}> by {peer} refused: {}",
            Plain(recipient),
            Plain(sender),
            Plain(reply)
        ),
        EventKind::SenderChecked {
            peer,
            sender,
            author,
            spf,
            dkim,
            arc,
            dmarc,
            consequence,
            ..
        } => {
            let (sender, author, dkim) = (Plain(sender), Plain(author), Plain(dkim));
            let (spf, arc, dmarc) = (Plain(spf), Plain(arc), Plain(dmarc));
            let consequence = Plain(consequence);
            write!(
                f,
                "message from <{sender}> by {peer}, author {author}: spf={spf} dkim={dkim} \
                 arc={arc} dmarc={dmarc}, {consequence}"
            )
        }
        EventKind::MessageForwarded { queue_id, onward_id, by, sender, recipients, sealed } => {
            let (queue_id, onward_id) = (Plain(queue_id), Plain(onward_id));
            let seal = if *sealed { ", sealed" } else { "" };
            write!(
                f,
                "message {queue_id} goes on from {} as {onward_id} from <{}> to {recipients}{seal}",
                Plain(by),
                Plain(sender)
            )
        }
        _ => Ok(()),
    }
}

/// A text that may come from anywhere, made safe to print on one line: control characters and marks
/// that turn the direction of writing are escaped.
#[derive(Debug, Clone, Copy)]
pub struct Plain<'a>(pub &'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        for letter in self.0.chars() {
            let turns = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}');
            if letter.is_control() || turns {
                write!(f, "{}", letter.escape_default())?;
            } else {
                f.write_char(letter)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_cannot_steer_the_terminal() {
        let kind = EventKind::MessageRefused {
            sender: "a\r\n\u{1b}[31mb\u{202e}c".to_owned(),
            reply: "550 große Worte".to_owned(),
        };
        let expected = "message from <a\\r\\n\\u{1b}[31mb\\u{202e}c> refused: 550 große Worte";
        assert_eq!(kind.to_string(), expected);
    }
}
