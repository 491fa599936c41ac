//! What the tests have in common: a checker that asks a zone, and messages as they come by SMTP.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use mail_auth::common::crypto::Ed25519Key;
use mail_auth::common::headers::HeaderWriter as _;
use mail_auth::dkim::{Canonicalization, DkimSigner};

use super::super::verdict::Verdict;
use super::super::{Authenticity, Facts};
use crate::config::limits;
pub(super) use crate::dkim::suites::{corpus, settle, with_crlf};
use crate::dns::testing::{Server, Zone};

/// Our name.
pub(super) const HOSTNAME: &str = "mx.grace.test";

/// A checker and the name server it asks.
pub(super) struct House {
    pub(super) authenticity: Authenticity,
    _server: Server,
}

impl House {
    pub(super) async fn with(zone: Zone, settings: limits::Authenticity) -> Self {
        let server = Server::start(zone).await;
        let authenticity = Authenticity::new(&settings, HOSTNAME, &server.resolver());
        Self { authenticity, _server: server }
    }

    pub(super) async fn new(zone: Zone) -> Self {
        Self::with(zone, limits::Authenticity::default()).await
    }

    /// Checks a message whose body comes in pieces.
    pub(super) async fn check(&self, facts: Facts, message: &[u8]) -> Verdict {
        let (header, body) = cut(message);
        let mut check = self.authenticity.begin(facts, header);
        body.chunks(37).for_each(|piece| check.feed(piece));
        check.finish(header).await
    }
}

/// Where messages come from.
pub(super) const PEER: &str = "192.0.2.25";

/// A domain that signs with a key of its own.
pub(super) struct Domain {
    pub(super) name: &'static str,
    key: Vec<u8>,
}

impl Domain {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, key: Ed25519Key::generate_pkcs8().expect("a key") }
    }

    pub(super) fn key(&self) -> Ed25519Key {
        Ed25519Key::from_pkcs8_maybe_unchecked_der(&self.key).expect("a key")
    }

    /// What it publishes: its key, who may send for it, what it wants of others.
    pub(super) fn publish(&self, zone: Zone, spf: &str, dmarc: &str) -> Zone {
        let public = BASE64.encode(self.key().public_key());
        let zone = zone
            .txt(
                &format!("s1._domainkey.{}", self.name),
                &format!("v=DKIM1; k=ed25519; p={public}"),
            )
            .txt(self.name, spf);
        if dmarc.is_empty() { zone } else { zone.txt(&format!("_dmarc.{}", self.name), dmarc) }
    }

    pub(super) fn signed(&self, message: &[u8], body: Canonicalization) -> Vec<u8> {
        let signer = DkimSigner::from_key(self.key())
            .domain(self.name)
            .selector("s1")
            .headers(["From", "Subject", "To"])
            .header_canonicalization(Canonicalization::Relaxed)
            .body_canonicalization(body);
        let field = signer.sign(message).expect("a signature").to_header();
        [field.as_bytes(), message].concat()
    }
}

pub(super) fn facts(peer: &str, helo: &str, sender: &str) -> Facts {
    let peer = peer.parse().expect("an address");
    Facts { peer, helo: helo.to_owned(), sender: sender.to_owned() }
}

/// The header block with its blank line, and the body.
pub(super) fn cut(message: &[u8]) -> (&[u8], &[u8]) {
    if message.starts_with(b"\r\n") {
        return message.split_at(2);
    }
    let end = message.windows(4).position(|four| four == b"\r\n\r\n");
    message.split_at(end.map_or(message.len(), |at| at + 4))
}
