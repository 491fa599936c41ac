//! Signing a message (RFC 6376 5): which fields, which body, one signature for each key.
//!
//! ```text
//!   body, piece by piece ─▶ Body: one hash for all keys ─┐
//!   header block ─▶ fields that say who, what and when ──┴─▶ DKIM-Signature: lines, to go on top
//! ```
//! Invariants: what is signed is what goes out: sign when nothing below the signatures changes any
//! more. No body is held, whatever its size; the fields named in a signature are bounded.
//! Not here: which keys sign ([`super`]).

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError};

use gracedb::large::LargeReader;
use gracedb::view::View as _;
use mail_auth::common::crypto::SigningKey as _;
use mail_auth::common::headers::{Writable, Writer};
use mail_auth::dkim::canonicalize::CanonicalHeaders;
use mail_auth::dkim::{Canonicalization, Signature};
use tokio::task::spawn_blocking;

use grace_mail::address::{Charset, Domain as DomainName};
use grace_mail::header::{self, Field};
use grace_mail::mailbox_list::{self, Address};

use super::keys::Signer;
use super::{Signing, is};
use crate::dkim::body::BodyHashes;
use crate::store::accounts::Domain;
use crate::store::dkim::{DkimKeyRow, KeyState};
use crate::store::failure::Failure as StoreFailure;
use crate::telemetry::bus::now_us;

/// Fields that a message has once (RFC 5322 3.6). Each is named once more than it occurs, so that
/// one added on the way breaks the signature (RFC 6376 8.15).
const ONCE: [&str; 8] =
    ["From", "To", "Cc", "Subject", "Date", "Message-ID", "Reply-To", "Content-Type"];
/// Fields signed where they are there. That one is added does no harm.
const OTHERS: [&str; 12] = [
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Transfer-Encoding",
    "List-Id",
    "List-Help",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-Subscribe",
    "List-Post",
    "List-Owner",
    "List-Archive",
];
/// Most fields of one name that are signed, the lowest ones. Mail of people has one; and no
/// signature names more fields than checkers look for.
pub(super) const FIELDS_PER_NAME_MAX: usize = 10;
/// Bytes of a body read at once.
const PIECE_BYTES: usize = 64 * 1_024;
/// A body larger than this is read on a thread that may wait for the disk.
const INLINE_BYTES_MAX: u64 = 64 * 1_024;

/// Why there is no signature.
#[derive(Debug)]
pub enum Failure {
    /// The database failed.
    Store(StoreFailure),
    /// A key does not work; which, and why.
    Key(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(failure) => failure.fmt(f),
            Self::Key(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(failure) => Some(failure),
            Self::Key(_) => None,
        }
    }
}

impl<E: Into<StoreFailure>> From<E> for Failure {
    fn from(e: E) -> Self {
        Self::Store(e.into())
    }
}

/// A body on its way, to be signed: all that follows the blank line of the header.
pub struct Body(BodyHashes);

impl Default for Body {
    fn default() -> Self {
        let mut hashes = BodyHashes::default();
        hashes.want(Canonicalization::Relaxed);
        Self(hashes)
    }
}

impl Body {
    /// The next piece.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.0.feed(bytes);
    }

    /// Reads one that is stored, from `begin` on.
    fn read(mut body: LargeReader, begin: u64) -> Result<Self, StoreFailure> {
        let mut whole = Self::default();
        let mut buffer = vec![0; PIECE_BYTES];
        let mut offset = begin;
        loop {
            let count = body.read_at(offset, &mut buffer)?;
            whole.feed(buffer.get(..count).unwrap_or_default());
            offset += count as u64;
            if count < buffer.len() {
                return Ok(whole);
            }
        }
    }

    /// Its hash, when all of it was fed.
    #[must_use]
    pub fn hash(self) -> Vec<u8> {
        let hashes = self.0.finish();
        hashes.of(Canonicalization::Relaxed).map(|hash| hash.sha256.clone()).unwrap_or_default()
    }
}

impl Signing {
    /// The domain that signs a message: the author's if it has keys that sign, for that is the one
    /// readers see and DMARC asks about, else the envelope sender's if that one has; else none.
    ///
    /// # Errors
    /// The database failed.
    pub fn signer(&self, header: &[u8], sender: &str) -> Result<Option<String>, StoreFailure> {
        let envelope = sender.rsplit_once('@').and_then(|(_, domain)| canonical(domain.as_bytes()));
        for domain in [author_domain(header), envelope].into_iter().flatten() {
            if !self.signing_rows(&domain)?.is_empty() {
                return Ok(Some(domain));
            }
        }
        Ok(None)
    }

    /// Signs a message that is stored: `body` from `begin` on is all that follows the blank line of
    /// `header`. Gives the lines to put on top of the header, each with its CRLF; empty: the
    /// domain, as [`Signing::signer`] gave it, has no keys that sign.
    ///
    /// # Errors
    /// The database failed, or a key does not work.
    pub async fn sign(
        &self,
        domain: &str,
        header: &[u8],
        body: LargeReader,
        begin: u64,
    ) -> Result<String, Failure> {
        let signers = self.signers(domain)?;
        if signers.is_empty() {
            return Ok(String::new());
        }
        let (domain, header) = (domain.to_owned(), header.to_vec());
        let is_small = body.len().saturating_sub(begin) <= INLINE_BYTES_MAX;
        let work = move || lines(&signers, &domain, &header, &Body::read(body, begin)?.hash());
        if is_small {
            return work();
        }
        spawn_blocking(work).await.map_err(|e| Failure::Key(format!("not signed: {e}")))?
    }

    /// Signs a message whose body was fed while it came in, as [`Signing::sign`] does.
    ///
    /// # Errors
    /// As there.
    pub fn sign_fed(&self, domain: &str, header: &[u8], body: Body) -> Result<String, Failure> {
        lines(&self.signers(domain)?, domain, header, &body.hash())
    }

    /// The keys of a domain that sign, ready to.
    pub(super) fn signers(&self, domain: &str) -> Result<Arc<[Signer]>, Failure> {
        let rows = self.signing_rows(domain)?;
        let lock = || self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if rows.is_empty() {
            lock().remove(domain);
            return Ok(Arc::from([]));
        }
        let known = lock().get(domain).cloned();
        let is_of_rows = |known: &Arc<[Signer]>| {
            known.len() == rows.len() && known.iter().zip(&rows).all(|(key, row)| key.is_of(row))
        };
        if let Some(known) = known.filter(is_of_rows) {
            return Ok(known);
        }
        let read: Result<Arc<[Signer]>, String> = rows.into_iter().map(Signer::new).collect();
        let read = read.map_err(Failure::Key)?;
        let snapshot = self.db.snapshot();
        let mut ready = lock();
        // Keys of domains that are gone are forgotten at the latest now.
        ready.retain(|domain, _| snapshot.contains::<Domain>(domain).unwrap_or(false));
        ready.insert(domain.to_owned(), Arc::clone(&read));
        Ok(read)
    }

    fn signing_rows(&self, domain: &str) -> Result<Vec<DkimKeyRow>, StoreFailure> {
        let rows = self.db.snapshot().prefix::<DkimKeyRow>(&(domain,));
        let mut rows: Vec<DkimKeyRow> = rows.collect::<Result<_, _>>()?;
        rows.retain(|row| is(row, KeyState::Signing));
        Ok(rows)
    }
}

/// The domain of the first author (RFC 5322 3.6.2), as A-labels, lower case.
#[must_use]
pub fn author_domain(header: &[u8]) -> Option<String> {
    let from = header::value(header, b"From")?;
    mailbox_list::parse(&from).into_iter().find_map(|address| match address {
        Address::Mailbox { host, .. } => canonical(&host),
        Address::GroupStart { .. } | Address::GroupEnd => None,
    })
}

fn canonical(domain: &[u8]) -> Option<String> {
    let domain = DomainName::parse(std::str::from_utf8(domain).ok()?, Charset::Utf8).ok()?;
    Some(domain.as_str().to_owned())
}

/// The fields that are signed, in their order, and what the signatures name.
pub(super) struct Signed<'a> {
    fields: Vec<(&'a [u8], &'a [u8])>,
    pub(super) names: Vec<String>,
}

impl<'a> Signed<'a> {
    pub(super) fn of(block: &'a [u8]) -> Self {
        let known = |field: Field<'a>| {
            let mut names = ONCE.iter().chain(&OTHERS).copied();
            Some((names.find(|name| field.is(name.as_bytes()))?, field))
        };
        let all: Vec<(&str, Field<'a>)> = header::fields(block).filter_map(known).collect();
        let mut counts: HashMap<&str, usize> = HashMap::new();
        let (mut fields, mut names) = (Vec::new(), Vec::new());
        // RFC 6376 5.4.2: of several fields of a name the lowest is named first.
        for (name, field) in all.into_iter().rev() {
            let count = counts.entry(name).or_default();
            *count += 1;
            if *count <= FIELDS_PER_NAME_MAX {
                fields.push(name_and_value(&field));
                names.push(name.to_owned());
            }
        }
        fields.reverse();
        // Where not all of a name are named, the next one is there, and says something.
        let is_whole = |name: &&str| counts.get(name).is_none_or(|&n| n <= FIELDS_PER_NAME_MAX);
        names.extend(ONCE.into_iter().filter(is_whole).map(str::to_owned));
        Self { fields, names }
    }

    fn has_author(&self) -> bool {
        self.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"From"))
    }
}

/// A field as it is signed: its value goes up to its last line end.
pub(super) fn name_and_value<'a>(field: &Field<'a>) -> (&'a [u8], &'a [u8]) {
    let colon = field.raw.iter().position(|&byte| byte == b':').unwrap_or(field.raw.len());
    (field.name, field.raw.get(colon + 1..).unwrap_or_default())
}

/// What a key signs (RFC 6376 3.7): the fields, then the signature without itself.
struct Input<'a> {
    fields: CanonicalHeaders<'a>,
    signature: &'a Signature,
}

impl Writable for Input<'_> {
    fn write(self, writer: &mut impl Writer) {
        self.fields.write(writer);
        self.signature.write(writer, false);
    }
}

/// A signature for each key. A message without an author has none: nobody would believe it.
fn lines(
    signers: &[Signer],
    domain: &str,
    header: &[u8],
    body_hash: &[u8],
) -> Result<String, Failure> {
    let signed = Signed::of(header);
    if !signed.has_author() {
        return Ok(String::new());
    }
    let mut lines = Vec::new();
    for signer in signers {
        let mut signature = Signature {
            v: 1,
            a: signer.key.algorithm(),
            d: domain.to_owned(),
            s: signer.selector.clone(),
            bh: body_hash.to_vec(),
            h: signed.names.clone(),
            t: now_us() / 1_000_000,
            ch: Canonicalization::Relaxed,
            cb: Canonicalization::Relaxed,
            ..Signature::default()
        };
        let fields = signature.ch.canonical_headers(signed.fields.clone());
        signature.b = signer
            .key
            .sign(Input { fields, signature: &signature })
            .map_err(|e| Failure::Key(format!("{} of {domain}: {e}", signer.selector)))?;
        signature.write(&mut lines, true);
    }
    Ok(String::from_utf8_lossy(&lines).into_owned())
}
