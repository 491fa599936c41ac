//! One plain sentence for everything that happens.
//!
//! Invariants: every kind of event has a state word, a shape and a sentence; the answer code of a
//! protocol stays visible. Strings from peers are claims: they are quoted, never trusted. Not here:
//! colors and columns (`screen`).

use std::net::SocketAddr;
use std::time::Duration;

use grace_ipc::event::{EventKind, Service};

use crate::units;

/// How much an event matters; decides its shape and color.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Weight {
    /// Merely happened.
    Note,
    /// Something was done.
    Done,
    /// Somebody changed something.
    Change,
    /// Refused, or worth a look.
    Caution,
    /// Failed.
    Fault,
}

/// What a row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) weight: Weight,
    /// The state in one or two words.
    pub(crate) state: &'static str,
    /// What happened.
    pub(crate) sentence: String,
    /// The technical side of it: ids, ciphers, sizes.
    pub(crate) detail: String,
    pub(crate) service: Option<Service>,
    pub(crate) peer: Option<SocketAddr>,
}

impl Line {
    fn new(weight: Weight, state: &'static str, sentence: impl Into<String>) -> Self {
        let sentence = sentence.into();
        Self { weight, state, sentence, detail: String::new(), service: None, peer: None }
    }

    fn at(self, service: Service, peer: SocketAddr) -> Self {
        Self { service: Some(service), peer: Some(peer), ..self }
    }

    fn detail(self, detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), ..self }
    }
}

/// The row of an event.
pub(crate) fn line(kind: &EventKind) -> Line {
    match kind {
        EventKind::ServerStarted { .. }
        | EventKind::ServerStopping
        | EventKind::Listening { .. }
        | EventKind::CertificateReloaded { .. }
        | EventKind::CertificateRejected { .. }
        | EventKind::StoreOpened { .. }
        | EventKind::StoreFailed { .. }
        | EventKind::StoreDamaged { .. }
        | EventKind::BlockListChanged { .. } => server_line(kind),
        EventKind::ConnectionOpened { .. }
        | EventKind::ConnectionRefused { .. }
        | EventKind::ConnectionClosed { .. }
        | EventKind::TlsEstablished { .. }
        | EventKind::TlsFailed { .. }
        | EventKind::CommandRefused { .. }
        | EventKind::LoginSucceeded { .. }
        | EventKind::LoginFailed { .. }
        | EventKind::DoorRefused { .. }
        | EventKind::SessionPanicked { .. } => connection_line(kind),
        EventKind::MessageAccepted { .. }
        | EventKind::MessageRefused { .. }
        | EventKind::SenderChecked { .. }
        | EventKind::MessageIdentified { .. }
        | EventKind::RecipientRefused { .. }
        | EventKind::MessageForwarded { .. }
        | EventKind::MessageDelivered { .. }
        | EventKind::MessageAppended { .. }
        | EventKind::MessagesExpunged { .. }
        | EventKind::MailboxSelected { .. }
        | EventKind::MailboxChanged { .. }
        | EventKind::QuotaReached { .. }
        | EventKind::DirectoryChanged { .. } => mail_line(kind),
        EventKind::RecipientSent { .. }
        | EventKind::RecipientDeferred { .. }
        | EventKind::RecipientFailed { .. }
        | EventKind::SenderNotified { .. }
        | EventKind::QueueChanged { .. }
        | EventKind::SmartHostRefused { .. } => outgoing_line(kind),
    }
}

/// The row that stands for events that were dropped on the way.
pub(crate) fn gap(lost: u64) -> Line {
    let events = units::of(lost, "event", "events");
    let sentence =
        format!("{events} came faster than the console could take them and are missing here");
    Line::new(Weight::Caution, "gap", sentence)
}

fn server_line(kind: &EventKind) -> Line {
    match kind {
        EventKind::ServerStarted { version } => {
            Line::new(Weight::Done, "started", format!("The server is up (version {version})"))
        }
        EventKind::Listening { service, address } => {
            let sentence = format!("Open for {} at {address}", door(*service));
            Line { service: Some(*service), ..Line::new(Weight::Note, "listening", sentence) }
        }
        EventKind::CertificateReloaded { file } => {
            let sentence = format!("The certificate was read again: {file}");
            Line::new(Weight::Change, "certificate", sentence)
        }
        EventKind::CertificateRejected { reason } => {
            let sentence =
                format!("The new certificate is not usable, the old one stays: {reason}");
            Line::new(Weight::Fault, "certificate", sentence)
        }
        EventKind::StoreOpened { replayed, cut_bytes, took_ms } => {
            let took = units::span(Duration::from_millis(*took_ms));
            let cut = if *cut_bytes > 0 {
                format!("; {} of an unfinished write were cut off", units::bytes(*cut_bytes))
            } else {
                String::new()
            };
            let from = units::of(*replayed, "change", "changes");
            let sentence = format!("The database is open: {from} read from the journal{cut}");
            Line::new(Weight::Done, "store open", sentence).detail(took)
        }
        EventKind::StoreFailed { reason } => {
            let sentence = format!("The database failed, no mail is taken any more: {reason}");
            Line::new(Weight::Fault, "store failed", sentence)
        }
        EventKind::StoreDamaged { what } => {
            let sentence = format!("The database found damage in its files: {what}");
            Line::new(Weight::Fault, "damage", sentence)
        }
        EventKind::BlockListChanged { list, is_asked, reason } => {
            let what = if *is_asked { "is asked again" } else { "is left alone for a while" };
            let sentence = format!("Block list {list} {what}: {reason}");
            Line::new(
                if *is_asked { Weight::Note } else { Weight::Caution },
                "block list",
                sentence,
            )
        }
        _ => Line::new(
            Weight::Caution,
            "stopping",
            "The server was told to stop; it finishes what it promised",
        ),
    }
}

fn outgoing_line(kind: &EventKind) -> Line {
    match kind {
        EventKind::RecipientSent { queue_id, recipient, remote, tls, reply } => {
            let how = if tls.is_empty() { "unencrypted" } else { tls };
            let sentence = format!("Message {queue_id} was handed to {remote} for {recipient}");
            Line::new(Weight::Done, "sent", sentence).detail(format!("{how}, {reply}"))
        }
        EventKind::RecipientDeferred { queue_id, recipient, remote, reason, attempts, .. } => {
            let by = if remote.is_empty() { String::new() } else { format!("{remote} said ") };
            let sentence = format!("Message {queue_id} for {recipient} waits: {by}{reason}");
            let tried = units::of(u64::from(*attempts), "attempt", "attempts");
            Line::new(Weight::Caution, "put off", sentence).detail(tried)
        }
        EventKind::RecipientFailed { queue_id, recipient, reason, .. } => {
            let sentence = format!("Message {queue_id} will not reach {recipient}: {reason}");
            Line::new(Weight::Fault, "not sent", sentence)
        }
        EventKind::SenderNotified { queue_id, to, about } => {
            let to = if to.is_empty() { "Nobody" } else { to };
            let sentence = format!("{to} was told about message {queue_id}: {about}");
            Line::new(Weight::Note, "notified", sentence)
        }
        EventKind::QueueChanged { what, change, recipients, by } => {
            let count = units::of(*recipients, "recipient", "recipients");
            let sentence = format!("Outgoing mail, {what}: {count} {change} by {by}");
            Line::new(Weight::Change, "queue", sentence)
        }
        EventKind::SmartHostRefused { host, login, reason } => {
            let sentence = format!("{host} does not let us in as {login}: {reason}");
            Line::new(Weight::Fault, "smart host", sentence).detail("mail through it waits")
        }
        _ => Line::new(Weight::Note, "mail", "Something happened to outgoing mail"),
    }
}

fn connection_line(kind: &EventKind) -> Line {
    match kind {
        EventKind::ConnectionOpened { service, peer } => {
            let sentence = format!("{} connected for {}", peer.ip(), door(*service));
            Line::new(Weight::Note, "connected", sentence).at(*service, *peer)
        }
        EventKind::ConnectionRefused { service, peer, reason } => {
            let sentence = format!("{} was turned away at the door: {reason}", peer.ip());
            Line::new(Weight::Caution, "turned away", sentence).at(*service, *peer)
        }
        EventKind::DoorRefused { service, peer, command, rule, reason, count } => {
            let times = units::of(*count, "time", "times");
            let sentence = format!("{command} of {} was refused {times}: {reason}", peer.ip());
            Line::new(Weight::Caution, "refused", sentence)
                .at(*service, *peer)
                .detail(rule.as_str())
        }
        EventKind::ConnectionClosed { service, peer, reason, duration_ms, bytes_in, bytes_out } => {
            let after = units::span(Duration::from_millis(*duration_ms));
            let sentence = format!("{} left after {after}: {reason}", peer.ip());
            let (got, sent) = (units::bytes(*bytes_in), units::bytes(*bytes_out));
            Line::new(Weight::Note, "closed", sentence)
                .detail(format!("in {got}, out {sent}"))
                .at(*service, *peer)
        }
        EventKind::TlsEstablished { service, peer, version, cipher } => {
            let sentence = format!("{} talks encrypted now, with {version}", peer.ip());
            Line::new(Weight::Note, "encrypted", sentence)
                .detail(cipher.as_str())
                .at(*service, *peer)
        }
        EventKind::TlsFailed { service, peer, reason } => {
            let sentence = format!("{} and we found no encryption: {reason}", peer.ip());
            Line::new(Weight::Caution, "TLS failed", sentence).at(*service, *peer)
        }
        EventKind::CommandRefused { service, peer, command, reply } => {
            let sentence = format!("“{command}” was answered with “{reply}”");
            Line::new(Weight::Caution, "refused", sentence).at(*service, *peer)
        }
        EventKind::LoginSucceeded { service, peer, account, mechanism } => {
            let sentence = format!("{account} logged in");
            Line::new(Weight::Done, "logged in", sentence)
                .detail(mechanism.as_str())
                .at(*service, *peer)
        }
        EventKind::LoginFailed { service, peer, login, mechanism, reason } => {
            let sentence = format!("Somebody failed to log in as “{login}”: {reason}");
            Line::new(Weight::Fault, "login failed", sentence)
                .detail(mechanism.as_str())
                .at(*service, *peer)
        }
        EventKind::SessionPanicked { service, peer } => {
            let sentence = format!("The connection of {} broke through a fault of ours", peer.ip());
            Line::new(Weight::Fault, "our fault", sentence).at(*service, *peer)
        }
        _ => server_line(kind),
    }
}

fn mail_line(kind: &EventKind) -> Line {
    match kind {
        EventKind::MessageAccepted { queue_id, sender, recipients, size } => {
            let to = units::of(u64::from(*recipients), "recipient", "recipients");
            let size = units::bytes(*size);
            let sentence = format!("{} → {to}, {size}, safely on disk", from(sender));
            Line::new(Weight::Done, "accepted", sentence).detail(queue_id.as_str())
        }
        EventKind::MessageRefused { sender, reply } => {
            let sentence = format!("{} was refused: “{reply}”", from(sender));
            Line::new(Weight::Caution, "refused", sentence)
        }
        EventKind::SenderChecked { sender, author, spf, dkim, dmarc, consequence, .. } => {
            let weight = if consequence == "accepted" { Weight::Note } else { Weight::Caution };
            let author = if author.is_empty() { "nobody" } else { author };
            let sentence = format!("{} speaks for {author}: {consequence}", from(sender));
            Line::new(weight, "sender", sentence)
                .detail(format!("SPF {spf} · DKIM {dkim} · DMARC {dmarc}"))
        }
        EventKind::MessageIdentified { queue_id, sender, message_id, recipients, .. } => {
            let sentence = format!("{} → {}", from(sender), recipients.join(", "));
            let named = match message_id.as_str() {
                "" => queue_id.clone(),
                id => format!("{queue_id} · {id}"),
            };
            Line::new(Weight::Note, "named", sentence).detail(named)
        }
        EventKind::RecipientRefused { sender, recipient, reply, .. } => {
            let sentence = format!("{} may not write to {recipient}: “{reply}”", from(sender));
            Line::new(Weight::Caution, "no recipient", sentence)
        }
        EventKind::MessageForwarded { queue_id, onward_id, by, recipients, .. } => {
            let people = units::of(u64::from(*recipients), "person", "people");
            let sentence = format!("Goes on from {by} to {people} elsewhere");
            Line::new(Weight::Done, "forwarded", sentence)
                .detail(format!("{queue_id} as {onward_id}"))
        }
        EventKind::MessageDelivered { queue_id, account, mailbox, uid, size } => {
            let sentence = format!("Filed in {mailbox} of {account}, {}", units::bytes(*size));
            Line::new(Weight::Done, "delivered", sentence).detail(format!("{queue_id} · uid {uid}"))
        }
        EventKind::MessageAppended { account, mailbox, uid, size } => {
            let sentence =
                format!("{account} put a message into {mailbox}, {}", units::bytes(*size));
            Line::new(Weight::Done, "stored", sentence).detail(format!("uid {uid}"))
        }
        EventKind::MessagesExpunged { account, mailbox, count } => {
            let removed = units::of(u64::from(*count), "message", "messages");
            let sentence = format!("{removed} removed for good from {mailbox} of {account}");
            Line::new(Weight::Change, "removed", sentence)
        }
        EventKind::MailboxSelected { account, mailbox, messages } => {
            let inside = units::of(u64::from(*messages), "message", "messages");
            let sentence = format!("{account} opened {mailbox} ({inside})");
            Line::new(Weight::Note, "opened", sentence)
        }
        EventKind::MailboxChanged { account, mailbox, change } => {
            let sentence = format!("Mailbox {mailbox} of {account}: {change}");
            Line::new(Weight::Change, "mailbox", sentence)
        }
        EventKind::QuotaReached { of, percent } => {
            let sentence = format!("{of} keeps {percent} % of what it may");
            Line::new(Weight::Caution, "quota", sentence)
        }
        EventKind::DirectoryChanged { what, change, by } => {
            let sentence = format!("{what}: {change} by {by}");
            Line::new(Weight::Change, "directory", sentence)
        }
        _ => server_line(kind),
    }
}

/// RFC 5321 4.5.5: a message about a message has no sender.
fn from(sender: &str) -> String {
    if sender.is_empty() { "A bounce".to_owned() } else { sender.to_owned() }
}

fn door(service: Service) -> &'static str {
    match service {
        Service::Smtp => "mail from other servers",
        Service::Submission | Service::Submissions => "sending mail",
        Service::Imap | Service::Imaps => "reading mail",
        Service::Admin => "administration",
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// One event of every kind.
    pub(crate) fn all() -> Vec<EventKind> {
        incoming().into_iter().chain(outgoing()).collect()
    }

    fn incoming() -> Vec<EventKind> {
        let service = Service::Smtp;
        let peer: SocketAddr = "203.0.113.7:40112".parse().expect("an address");
        let text = |text: &str| text.to_owned();
        let mut kinds = vec![
            EventKind::ServerStarted { version: text("0.1.0") },
            EventKind::ServerStopping,
            EventKind::Listening { service, address: text("127.0.0.1:2525") },
            EventKind::ConnectionOpened { service, peer },
            EventKind::ConnectionRefused { service, peer, reason: text("too many connections") },
            EventKind::DoorRefused {
                service,
                peer,
                command: text("RCPT"),
                rule: text("zen.example.net"),
                reason: text("listed in zen.example.net"),
                count: 3,
            },
            EventKind::ConnectionClosed {
                service,
                peer,
                reason: text("QUIT"),
                duration_ms: 1_250,
                bytes_in: 4_190,
                bytes_out: 312,
            },
            EventKind::TlsEstablished {
                service,
                peer,
                version: text("TLS 1.3"),
                cipher: text("TLS13_AES_256_GCM_SHA384"),
            },
            EventKind::TlsFailed { service, peer, reason: text("no shared version") },
            EventKind::CommandRefused {
                service,
                peer,
                command: text("RCPT TO:<nobody@grace.test>"),
                reply: text("550 5.1.1 no such mailbox"),
            },
            EventKind::LoginSucceeded {
                service: Service::Imaps,
                peer,
                account: text("otto@grace.test"),
                mechanism: text("PLAIN"),
            },
            EventKind::LoginFailed {
                service: Service::Imap,
                peer,
                login: text("root"),
                mechanism: text("LOGIN"),
                reason: text("wrong name or password"),
            },
        ];
        kinds.extend(of_mail());
        kinds
    }

    /// Those of messages, mailboxes, the directory and the store.
    fn of_mail() -> Vec<EventKind> {
        let peer: SocketAddr = "203.0.113.7:40112".parse().expect("an address");
        let text = |text: &str| text.to_owned();
        vec![
            EventKind::MessageAccepted {
                queue_id: text("4f2a91c0"),
                sender: text("anna@partner.example"),
                recipients: 2,
                size: 4_190,
            },
            EventKind::SenderChecked {
                peer,
                sender: text("promo@cheap.example"),
                author: text("bank.example"),
                iprev: text("pass"),
                spf: text("pass"),
                dkim: text("none"),
                arc: text("none"),
                dmarc: text("fail"),
                consequence: text("refused"),
                reason: text("550 5.7.1 bank.example does not allow this mail"),
            },
            EventKind::MessageIdentified {
                queue_id: text("4f2a91c0"),
                sender: text("anna@partner.example"),
                message_id: text("1@partner.example"),
                recipients: vec![text("otto@grace.test")],
                about: text(""),
            },
            EventKind::RecipientRefused {
                peer,
                sender: text("anna@partner.example"),
                recipient: text("nobody@grace.test"),
                reply: text("550 5.1.1 no mailbox <nobody@grace.test> here"),
            },
            EventKind::MessageForwarded {
                queue_id: text("4f2a91c0"),
                onward_id: text("4f2a91c1"),
                by: text("sales@grace.test"),
                sender: text("SRS0=x3=W4=partner.example=anna@grace.test"),
                recipients: 1,
                sealed: true,
            },
            EventKind::MessageRefused {
                sender: text("promo@cheap.example"),
                reply: text("552 5.3.4 too large"),
            },
            EventKind::MessageDelivered {
                queue_id: text("4f2a91c0"),
                account: text("otto@grace.test"),
                mailbox: text("INBOX"),
                uid: 12,
                size: 4_190,
            },
            EventKind::MessageAppended {
                account: text("otto@grace.test"),
                mailbox: text("Sent"),
                uid: 3,
                size: 900,
            },
            EventKind::MessagesExpunged {
                account: text("otto@grace.test"),
                mailbox: text("Trash"),
                count: 1,
            },
            EventKind::MailboxSelected {
                account: text("otto@grace.test"),
                mailbox: text("INBOX"),
                messages: 1_204,
            },
            EventKind::MailboxChanged {
                account: text("otto@grace.test"),
                mailbox: text("Vendors"),
                change: text("created"),
            },
            EventKind::QuotaReached { of: text("otto@grace.test"), percent: 80 },
            EventKind::DirectoryChanged {
                what: text("info@grace.test"),
                change: text("created"),
                by: text("owner"),
            },
            EventKind::CertificateReloaded { file: text("/etc/grace/mail.pem") },
            EventKind::CertificateRejected { reason: text("the key does not fit") },
            EventKind::StoreOpened { replayed: 12, cut_bytes: 40, took_ms: 85 },
            EventKind::StoreFailed { reason: text("no space left on device") },
            EventKind::SessionPanicked { service: Service::Smtp, peer },
            EventKind::StoreDamaged { what: text("0000000007.gj: corrupt at byte 4096") },
            EventKind::BlockListChanged {
                list: text("zen.example.net"),
                is_asked: false,
                reason: text("no name server answered in time"),
            },
        ]
    }

    fn outgoing() -> Vec<EventKind> {
        let text = |text: &str| text.to_owned();
        vec![
            EventKind::RecipientSent {
                queue_id: text("4f2a91c0"),
                recipient: text("anna@partner.example"),
                remote: text("mx.partner.example"),
                tls: text("TLSv1.3"),
                reply: text("250 2.0.0 queued"),
            },
            EventKind::RecipientDeferred {
                queue_id: text("4f2a91c0"),
                recipient: text("anna@partner.example"),
                remote: text("mx.partner.example"),
                reason: text("451 4.7.1 later"),
                attempts: 2,
                next_us: 1_790_000_000_000_000,
            },
            EventKind::RecipientFailed {
                queue_id: text("4f2a91c0"),
                recipient: text("anna@partner.example"),
                remote: text(""),
                reason: text("the domain does not exist"),
            },
            EventKind::SenderNotified {
                queue_id: text("4f2a91c0"),
                to: text("otto@grace.test"),
                about: text("1 recipient failed"),
            },
            EventKind::QueueChanged {
                what: text("partner.example"),
                change: text("held"),
                recipients: 3,
                by: text("owner"),
            },
        ]
    }

    #[test]
    fn every_kind_has_its_words() {
        let mut states = Vec::new();
        for kind in all() {
            let line = line(&kind);
            assert!(!line.state.is_empty() && line.state.len() <= 12, "{kind:?}: {}", line.state);
            assert!(line.sentence.len() >= 8, "{kind:?}: {}", line.sentence);
            assert!(!line.sentence.ends_with('.'), "{kind:?}: {}", line.sentence);
            states.push(format!("{:?} {}: {}", line.weight, line.state, line.sentence));
        }
        let stopping = states.iter().filter(|line| line.contains("told to stop")).count();
        assert_eq!(stopping, 1, "a kind fell through to another one's words: {states:#?}");
    }

    #[test]
    fn some_sentences() {
        let kinds = all();
        let said: Vec<String> = kinds.iter().map(|kind| line(kind).sentence).collect();
        for sentence in [
            "203.0.113.7 left after 1.2 s: QUIT",
            "“RCPT TO:<nobody@grace.test>” was answered with “550 5.1.1 no such mailbox”",
            "anna@partner.example → 2 recipients, 4.1 KB, safely on disk",
            "Filed in INBOX of otto@grace.test, 4.1 KB",
            "1 message removed for good from Trash of otto@grace.test",
        ] {
            assert!(said.iter().any(|said| said == sentence), "{sentence}: {said:#?}");
        }
        let bounce = EventKind::MessageAccepted {
            queue_id: "1".to_owned(),
            sender: String::new(),
            recipients: 1,
            size: 10,
        };
        assert_eq!(line(&bounce).sentence, "A bounce → 1 recipient, 10 B, safely on disk");
    }
}
