//! The header block as the library looks at it: its fields, its signatures, within limits.
//!
//! ```text
//!   header block ─▶ fields ─▶ signatures read ─▶ looked at ─┬▶ which body hashes are needed
//!                                 │                         └▶ with those: AuthenticatedMessage
//!                                 └─▶ not taken here: a result at once
//! ```
//! Invariants: what a message can make us do grows with its header block, never with the square of
//! it: signatures, their length and the fields they name are bounded.
//! Not here: keys and their DNS (the library), who the author is for people (`grace_mail`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use mail_auth::arc::{self, ArcError};
use mail_auth::common::crypto::{Algorithm, HashAlgorithm};
use mail_auth::common::headers::Header;
use mail_auth::common::verify::VerifySignature;
use mail_auth::dkim::{self, Canonicalization};
use mail_auth::{AuthenticatedMessage, Error};

use grace_mail::header::{self, Field};
use grace_mail::mailbox_list::{self, Address};

use super::verdict::{Dkim, Found, Outcome};
use crate::dkim::body::{BodyHashes, Finished};
use crate::dkim::tags::Tags;

/// Signatures looked at. A message has two or three; lists and forwarders add one each. RFC 6376
/// 6.1 lets a verifier stop.
pub(super) const SIGNATURES_MAX: usize = 10;
/// Longest signature that is read, in bytes. With keys of 8192 bits and hundreds of signed fields
/// it has four kilobytes.
const SIGNATURE_BYTES_MAX: usize = 16 * 1_024;
/// Most names in `h=`: each is looked for among all fields.
const SIGNED_FIELDS_MAX: usize = 256;
/// RFC 8617 4.2.1: a chain has at most 50 sets.
const ARC_SETS_MAX: usize = 50;
/// Authors' addresses read. People write one.
const AUTHORS_MAX: usize = 100;

/// A signature that is looked at, or the result it has without that.
struct Signature<'x> {
    field: (&'x [u8], &'x [u8]),
    read: Result<dkim::Signature, Found>,
}

/// A message's header block, read.
pub(super) struct Examined<'x> {
    fields: Vec<(&'x [u8], &'x [u8])>,
    authors: Authors,
    signatures: Vec<Signature<'x>>,
    chain: Chain<'x>,
}

/// Whose message it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Authors {
    /// `From:` fields. RFC 5322 3.6 asks for one.
    pub(super) fields: usize,
    /// The addresses in them, lower case.
    pub(super) addresses: Vec<String>,
}

/// The fields of the chain.
#[derive(Default)]
struct Chain<'x> {
    results: Vec<Header<'x, arc::Results>>,
    signatures: Vec<Header<'x, arc::Signature>>,
    seals: Vec<Header<'x, arc::Seal>>,
    broken: Option<Header<'x, Error>>,
    too_long: bool,
}

impl<'x> Examined<'x> {
    /// Reads a header block.
    pub(super) fn new(block: &'x [u8]) -> Self {
        let mut examined = Self {
            fields: Vec::new(),
            authors: Authors { fields: 0, addresses: Vec::new() },
            signatures: Vec::new(),
            chain: Chain::default(),
        };
        for field in header::fields(block) {
            let named = name_and_value(&field);
            examined.fields.push(named);
            if field.is(b"From") {
                examined.authors.add(&field);
            } else if field.is(b"DKIM-Signature") {
                let place = examined.signatures.len();
                // Of those beyond, one stands for all.
                if place <= SIGNATURES_MAX {
                    let read = read(named.1, place);
                    examined.signatures.push(Signature { field: named, read });
                }
            } else {
                examined.chain.take(&field, named);
            }
        }
        examined.chain.sort();
        examined
    }

    pub(super) fn authors(&self) -> &Authors {
        &self.authors
    }

    /// Whether the chain has more fields than are looked at.
    pub(super) fn chain_is_too_long(&self) -> bool {
        self.chain.too_long
    }

    /// The hashes its signatures need.
    pub(super) fn body_hashes(&self) -> BodyHashes {
        let mut hashes = BodyHashes::default();
        let signatures = self.signatures.iter().filter_map(|one| one.read.as_ref().ok());
        signatures.for_each(|signature| hashes.want(signature.cb));
        // RFC 8617 5.2: only the newest one must still fit the body.
        if let Some(newest) = self.chain.signatures.last() {
            hashes.want(newest.header.cb);
        }
        hashes
    }

    /// The message for the library, and the results of the signatures that it need not look at.
    pub(super) fn with_body(self, hashes: &Finished) -> (AuthenticatedMessage<'x>, Vec<Dkim>) {
        let mut message = AuthenticatedMessage {
            headers: self.fields,
            from: self.authors.addresses,
            ..AuthenticatedMessage::default()
        };
        let mut settled = Vec::new();
        for Signature { field: (name, value), read } in self.signatures {
            let signature = match read {
                Ok(signature) => signature,
                Err(found) => {
                    settled.push(unread(value, found));
                    continue;
                }
            };
            if let Some(found) = partial(&signature, hashes) {
                settled.push(shown(&signature, found));
                continue;
            }
            add_hash(&mut message, &signature_facts(&signature), hashes);
            message.dkim_headers.push(Header::new(name, value, signature));
        }
        for signature in &self.chain.signatures {
            let signature = &signature.header;
            let facts = (signature.cb, signature.a, signature.l);
            add_hash(&mut message, &facts, hashes);
        }
        message.has_arc_errors = self.chain.broken.is_some();
        message.errors.extend(self.chain.broken);
        message.ams_headers = self.chain.signatures;
        message.as_headers = self.chain.seals;
        message.aar_headers = self.chain.results;
        (message, settled)
    }
}

impl Authors {
    /// The domain of the first.
    pub(super) fn domain(&self) -> Option<&str> {
        self.addresses.first()?.rsplit_once('@').map(|(_, domain)| domain)
    }

    fn add(&mut self, field: &Field<'_>) {
        self.fields += 1;
        for address in mailbox_list::parse(&header::unfold(field.value)) {
            let Address::Mailbox { local, host, .. } = address else { continue };
            if host.is_empty() || self.addresses.len() >= AUTHORS_MAX {
                continue;
            }
            let written = [local, b"@".to_vec(), host].concat();
            self.addresses.push(String::from_utf8_lossy(&written).to_lowercase());
        }
    }
}

impl<'x> Chain<'x> {
    fn take(&mut self, field: &Field<'x>, (name, value): (&'x [u8], &'x [u8])) {
        let kind = [&b"ARC-Authentication-Results"[..], b"ARC-Message-Signature", b"ARC-Seal"]
            .into_iter()
            .position(|known| field.is(known));
        let count = match kind {
            Some(0) => self.results.len(),
            Some(1) => self.signatures.len(),
            Some(_) => self.seals.len(),
            None => return,
        };
        if count >= ARC_SETS_MAX || value.len() > SIGNATURE_BYTES_MAX {
            self.too_long = true;
            return;
        }
        let read = match kind {
            Some(0) => arc::Results::parse(value)
                .map(|read| self.results.push(Header::new(name, value, read))),
            Some(1) => chain_signature(value)
                .map(|read| self.signatures.push(Header::new(name, value, read))),
            _ => seal(value).map(|read| self.seals.push(Header::new(name, value, read))),
        };
        if let Err(error) = read {
            self.broken.get_or_insert(Header::new(name, value, error));
        }
    }

    /// By their numbers, the oldest first.
    fn sort(&mut self) {
        self.results.sort_by_key(|one| one.header.i);
        self.signatures.sort_by_key(|one| one.header.i);
        self.seals.sort_by_key(|one| one.header.i);
    }
}

/// A field as it is signed: its value goes up to its last line end.
fn name_and_value<'x>(field: &Field<'x>) -> (&'x [u8], &'x [u8]) {
    let colon = field.raw.iter().position(|&byte| byte == b':').unwrap_or(field.raw.len());
    (field.raw.get(..colon).unwrap_or_default(), field.raw.get(colon + 1..).unwrap_or_default())
}

/// Reads a signature, or says why it is not looked at.
fn read(value: &[u8], place: usize) -> Result<dkim::Signature, Found> {
    let policy = |reason: &str| Err(Found::because(Outcome::Policy, reason));
    let wrong = |reason: &str| Err(Found::because(Outcome::PermError, reason));
    if place >= SIGNATURES_MAX {
        return policy("more signatures than are looked at");
    }
    if value.len() > SIGNATURE_BYTES_MAX {
        return policy("the signature is too long");
    }
    // RFC 6376 6.1.1, of which the library leaves some to us.
    let tags = match Tags::parse(value) {
        Ok(tags) => tags,
        Err(why) => return wrong(why),
    };
    if !tags.has(&["v", "a", "b", "bh", "d", "h", "s"]) {
        return wrong("a tag is missing");
    }
    match dkim::Signature::parse(value) {
        // RFC 8301 3.1: such a signature proves nothing any more.
        Ok(signature) if signature.a == Algorithm::RsaSha1 => policy("rsa-sha1 is not safe"),
        Ok(signature) if signature.h.len() > SIGNED_FIELDS_MAX => {
            policy("it signs too many fields")
        }
        Ok(signature) if !signs(&signature.h, "From") => wrong("it does not sign the From field"),
        Ok(signature) => Ok(signature),
        Err(error) => wrong(&error.to_string()),
    }
}

fn signs(names: &[String], name: &str) -> bool {
    names.iter().any(|signed| signed.eq_ignore_ascii_case(name))
}

/// RFC 8617 4.1.2: what a signature in a chain has to have, and must not sign.
fn chain_signature(value: &[u8]) -> Result<arc::Signature, Error> {
    let signature = arc::Signature::parse(value)?;
    let complete = has(value, &["i", "a", "b", "bh", "d", "h", "s"]);
    let is_sound = complete
        && signature.a != Algorithm::RsaSha1
        && !signs(&signature.h, "ARC-Seal")
        && signature.h.len() <= SIGNED_FIELDS_MAX;
    if is_sound { Ok(signature) } else { Err(Error::Arc(ArcError::BrokenChain)) }
}

/// RFC 8617 4.1.3: likewise a seal.
fn seal(value: &[u8]) -> Result<arc::Seal, Error> {
    let seal = arc::Seal::parse(value)?;
    let is_sound = has(value, &["i", "a", "b", "cv", "d", "s"]) && seal.a != Algorithm::RsaSha1;
    if is_sound { Ok(seal) } else { Err(Error::Arc(ArcError::BrokenChain)) }
}

fn has(value: &[u8], names: &[&str]) -> bool {
    Tags::parse(value).is_ok_and(|tags| tags.has(names))
}

/// RFC 6376 8.2: what is not signed can be anything. A signature over a part of the body is none;
/// lists that add a line break one over the whole body just as well.
fn partial(signature: &dkim::Signature, hashes: &Finished) -> Option<Found> {
    let bytes = hashes.of(signature.cb)?.bytes;
    let is_partial = signature.l != 0 && signature.l < bytes;
    is_partial.then(|| Found::because(Outcome::Policy, "it signs a part of the body only"))
}

fn signature_facts(signature: &dkim::Signature) -> (Canonicalization, Algorithm, u64) {
    (signature.cb, signature.a, signature.l)
}

/// Gives the library the hash that it will look for. It must be there for each signature; where it
/// cannot fit, it is empty.
fn add_hash(
    message: &mut AuthenticatedMessage<'_>,
    &(canonicalization, algorithm, length): &(Canonicalization, Algorithm, u64),
    hashes: &Finished,
) {
    let fits = |bytes: u64| length == 0 || length == bytes;
    let hash = match hashes.of(canonicalization) {
        Some(hash) if algorithm != Algorithm::RsaSha1 && fits(hash.bytes) => hash.sha256.clone(),
        _ => Vec::new(),
    };
    let key = (canonicalization, HashAlgorithm::from(algorithm), length);
    let known = message.body_hashes.iter().any(|(c, h, l, _)| (*c, *h, *l) == key);
    if !known {
        message.body_hashes.push((key.0, key.1, key.2, hash));
    }
}

/// How a signature is shown.
pub(super) fn shown(signature: &dkim::Signature, found: Found) -> Dkim {
    Dkim {
        found,
        domain: signature.domain().to_owned(),
        selector: signature.selector().to_owned(),
        identity: signature.identity().to_owned(),
        // Eight letters of it.
        start: BASE64.encode(signature.b.get(..6).unwrap_or_default()),
    }
}

/// How one is shown that could not be read, or was not.
fn unread(value: &[u8], found: Found) -> Dkim {
    let short = value.len() <= SIGNATURE_BYTES_MAX;
    match short.then(|| dkim::Signature::parse(value)) {
        Some(Ok(signature)) => shown(&signature, found),
        _ => Dkim {
            found,
            domain: String::new(),
            selector: String::new(),
            identity: String::new(),
            start: String::new(),
        },
    }
}
