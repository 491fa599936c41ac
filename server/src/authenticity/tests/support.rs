//! What the tests have in common: a checker that asks a zone, messages as they come by SMTP, and
//! the suites beside the repository.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use mail_auth::common::crypto::Ed25519Key;
use mail_auth::common::headers::HeaderWriter as _;
use mail_auth::dkim::{Canonicalization, DkimSigner};

use super::super::verdict::Verdict;
use super::super::{Authenticity, Facts};
use crate::config::limits;
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

/// The message as it comes by SMTP.
pub(super) fn with_crlf(message: &str) -> Vec<u8> {
    message.replace("\r\n", "\n").replace('\n', "\r\n").into_bytes()
}

/// A folder of the corpora beside the repository (`GRACE_CORPORA` names another place), or none,
/// and loudly so.
pub(super) fn corpus(name: &str, test: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpora");
    let corpora = std::env::var_os("GRACE_CORPORA").map_or_else(beside, PathBuf::from);
    let folder = corpora.join("auth").join(name);
    if folder.exists() {
        return Some(folder);
    }
    // Past the capture of the test runner: what did not run must not look as if it had passed.
    writeln!(std::io::stderr(), "SKIPPED: {test}: no {}", folder.display()).expect("it is said");
    None
}

/// Compares what fails with what is known to, by name; says how many passed.
pub(super) fn settle(suite: &str, run: usize, failed: &[(String, String)], known: &[(&str, &str)]) {
    let name_of = |(name, _): &(String, String)| name.clone();
    let failing: Vec<String> = failed.iter().map(name_of).collect();
    let expected: Vec<String> = known.iter().map(|(name, _)| (*name).to_owned()).collect();
    let surprises: Vec<&(String, String)> =
        failed.iter().filter(|(name, _)| !expected.contains(name)).collect();
    let healed: Vec<&String> = expected.iter().filter(|name| !failing.contains(*name)).collect();
    let passed = run - failed.len();
    writeln!(std::io::stderr(), "{suite}: {passed} of {run} pass, {} known not to", known.len())
        .expect("it is said");
    assert!(surprises.is_empty(), "{suite}: these fail and were not known to: {surprises:#?}");
    assert!(healed.is_empty(), "{suite}: these pass now, take them off the list: {healed:#?}");
    assert!(run > 0, "{suite} has no tests");
}
