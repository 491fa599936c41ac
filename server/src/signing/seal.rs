//! Sealing a message that is passed on (ARC, RFC 8617 5.1): what was found out about its sender
//! stands behind it with our signature, for those who find it changed or from another address.
//!
//! ```text
//!   ARC-Seal                     signs the sets before it, and the two below
//!   ARC-Message-Signature        signs the fields of the message and its body, as DKIM does
//!   ARC-Authentication-Results   what we found, word for word as in Authentication-Results
//! ```
//! Tags stand in the order of their names and on lines of their own, so that what is signed follows
//! from what they say, and from nothing else.
//! Invariants: a chain of more than [`SETS_MAX`] sets and one that ended in `cv=fail` gets no set
//! more; a chain that does not hold is said to fail, and nothing of it is signed.
//! Not here: whether a chain holds (`authenticity`), keys ([`super`]).

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use mail_auth::common::crypto::SigningKey as _;
use mail_auth::dkim::Canonicalization;

use grace_mail::header::{self, Field};

use super::Signing;
use super::keys::DkimKey;
use super::sign::{FIELDS_PER_NAME_MAX, Failure, Signed, name_and_value};
use crate::dkim::tags::Tags;
use crate::telemetry::bus::now_us;

/// RFC 8617 4.2.1: a chain has 50 sets at most.
pub const SETS_MAX: u32 = 50;
/// Where a list of names is broken, in bytes.
const LINE_BYTES: usize = 76;

const RESULTS: &str = "ARC-Authentication-Results";
const SIGNATURE: &str = "ARC-Message-Signature";
const SEAL: &str = "ARC-Seal";

/// What a validation of the chain came to (RFC 8617 4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validation {
    /// There is no chain.
    None,
    /// It holds.
    Pass,
    /// It does not.
    Fail,
}

impl Validation {
    /// The value of `cv=`.
    fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
        }
    }
}

/// What a set says.
#[derive(Debug, Clone, Copy)]
pub struct Statement<'a> {
    /// Our name as the one who checked (RFC 8601 2.5).
    pub hostname: &'a str,
    /// What follows it in `Authentication-Results`.
    pub results: &'a str,
    /// Whether the chain that is there holds.
    pub validation: Validation,
}

/// What the sets of a message are, or that there is to be none more.
struct Chain<'a> {
    /// The fields, the oldest set first, each set in the order it is signed (RFC 8617 5.1.1).
    fields: Vec<(&'a [u8], &'a [u8])>,
    /// The number of the next set.
    next: u32,
}

/// Signs bytes.
type Sign<'a> = &'a dyn Fn(&[u8]) -> Result<Vec<u8>, Failure>;

/// Who signs a set.
struct Sealer<'a> {
    domain: &'a str,
    selector: &'a str,
    /// Seconds since 1970 UTC.
    now_s: u64,
    sign: Sign<'a>,
}

impl Signing {
    /// The set to put on top of a message that is passed on, its three fields each with its CRLF.
    /// `header` is the block that it goes on top of, `body_hash` that of [`super::sign::Body`].
    /// Empty: the domain has no RSA key that signs (others can be checked by few), or the chain is
    /// to have no set more.
    ///
    /// # Errors
    /// The database failed, or the key does not work.
    pub fn seal(
        &self,
        domain: &str,
        statement: &Statement<'_>,
        header: &[u8],
        body_hash: &[u8],
    ) -> Result<String, Failure> {
        let signers = self.signers(domain)?;
        let rsa = signers.iter().find(|signer| matches!(signer.key, DkimKey::Rsa(_)));
        let Some(signer) = rsa else { return Ok(String::new()) };
        let sign = |input: &[u8]| {
            let signature = signer.key.sign(input);
            signature.map_err(|e| Failure::Key(format!("{} of {domain}: {e}", signer.selector)))
        };
        let now_s = now_us() / 1_000_000;
        let sealer = Sealer { domain, selector: &signer.selector, now_s, sign: &sign };
        set(&sealer, statement, header, &names(header), body_hash)
    }
}

/// What is signed of a message: what DKIM signs, and the signatures it has (RFC 8617 4.1.2).
fn names(header: &[u8]) -> Vec<String> {
    let mut names = Signed::of(header).names;
    let signatures = header::fields(header).filter(|field| field.is(b"DKIM-Signature"));
    names.extend(signatures.take(FIELDS_PER_NAME_MAX).map(|_| "DKIM-Signature".to_owned()));
    names
}

/// Makes a set (RFC 8617 5.1).
fn set(
    sealer: &Sealer<'_>,
    statement: &Statement<'_>,
    header: &[u8],
    names: &[String],
    body_hash: &[u8],
) -> Result<String, Failure> {
    let Some(chain) = Chain::of(header, statement.validation) else { return Ok(String::new()) };
    let number = chain.next.to_string();
    let results = format!("{RESULTS}: i={number}; {}{}\r\n", statement.hostname, statement.results);
    let signature = |b: &str| {
        let tags = [
            ("a", "rsa-sha256"),
            ("b", b),
            ("bh", &BASE64.encode(body_hash)),
            ("c", "relaxed/relaxed"),
            ("d", sealer.domain),
            ("h", &folded(names)),
            ("i", &number),
            ("s", sealer.selector),
            ("t", &sealer.now_s.to_string()),
        ];
        field(SIGNATURE, &tags)
    };
    let mut input = Vec::new();
    canonical(chosen(header, names).into_iter(), &mut input);
    let signature = signature(&signed(sealer, input, &signature(""))?);
    let seal = |b: &str| {
        let tags = [
            ("a", "rsa-sha256"),
            ("b", b),
            ("cv", statement.validation.word()),
            ("d", sealer.domain),
            ("i", &number),
            ("s", sealer.selector),
            ("t", &sealer.now_s.to_string()),
        ];
        field(SEAL, &tags)
    };
    let mut input = Vec::new();
    canonical(chain.fields.into_iter(), &mut input);
    canonical(parted(&results).chain(parted(&signature)), &mut input);
    let seal = seal(&signed(sealer, input, &seal(""))?);
    Ok(seal + &signature + &results)
}

/// Signs what was put together, and last the field itself without its signature and without the
/// end of its line (RFC 6376 3.7).
fn signed(sealer: &Sealer<'_>, mut input: Vec<u8>, itself: &str) -> Result<String, Failure> {
    canonical(parted(itself), &mut input);
    let input = input.strip_suffix(b"\r\n").unwrap_or(&input);
    (sealer.sign)(input).map(|signature| BASE64.encode(signature))
}

fn canonical<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>, into: &mut Vec<u8>) {
    Canonicalization::Relaxed.canonicalize_headers(fields, into);
}

/// The field as it is signed.
fn parted(field: &str) -> impl Iterator<Item = (&[u8], &[u8])> {
    header::fields(field.as_bytes()).map(|field| name_and_value(&field))
}

/// A field of these tags.
fn field(name: &str, tags: &[(&str, &str)]) -> String {
    let tags: Vec<String> = tags.iter().map(|(tag, value)| format!("{tag}={value}")).collect();
    format!("{name}: {}\r\n", tags.join(";\r\n\t"))
}

/// Names as `h=` has them, in lines.
fn folded(names: &[String]) -> String {
    let mut text = String::new();
    let mut line_bytes = 0;
    for name in names {
        if !text.is_empty() {
            text.push(':');
            line_bytes += 1;
        }
        if line_bytes + name.len() > LINE_BYTES {
            text.push_str("\r\n\t");
            line_bytes = 0;
        }
        text.push_str(&name.to_ascii_lowercase());
        line_bytes += name.len();
    }
    text
}

/// The fields that are named, in that order: of several of one name the lowest first, and nothing
/// for those that are not there (RFC 6376 5.4.2).
fn chosen<'a>(block: &'a [u8], names: &[String]) -> Vec<(&'a [u8], &'a [u8])> {
    let mut left: HashMap<String, Vec<Field<'a>>> = HashMap::new();
    let wanted = |field: &Field<'a>| names.iter().find(|name| field.is(name.as_bytes()));
    for field in header::fields(block) {
        if let Some(name) = wanted(&field) {
            left.entry(name.to_ascii_lowercase()).or_default().push(field);
        }
    }
    let take = |name: &String| left.get_mut(&name.to_ascii_lowercase())?.pop();
    names.iter().filter_map(take).map(|field| name_and_value(&field)).collect()
}

impl<'a> Chain<'a> {
    /// The sets of a message, as this validation makes them count; `None`: it is to have none
    /// more.
    fn of(block: &'a [u8], validation: Validation) -> Option<Self> {
        let mut fields = Vec::new();
        let mut last_seal = (0, false);
        for field in header::fields(block) {
            let order = [RESULTS, SIGNATURE, SEAL];
            let order = order.iter().position(|name| field.is(name.as_bytes()));
            let Some(order) = order else { continue };
            // One without a number belongs to a chain that fails, and is not signed.
            let number = number(&field).unwrap_or(0);
            if order == 2 && number >= last_seal.0 {
                last_seal = (number, says_fail(&field));
            }
            fields.push((number, order, name_and_value(&field)));
        }
        let next = fields.iter().map(|(number, ..)| *number).max().unwrap_or(0) + 1;
        if last_seal.1 || next > SETS_MAX {
            return None;
        }
        fields.sort_by_key(|&(number, order, _)| (number, order));
        // RFC 8617 5.1.2: of a chain that fails the new set alone is signed.
        let is_signed = validation == Validation::Pass;
        let fields = fields.into_iter().map(|(.., field)| field).filter(|_| is_signed).collect();
        Some(Self { fields, next })
    }
}

/// The number of the set that a field belongs to: `i=` is the first of the results (RFC 8617
/// 4.1.1), and one of the tags of the others.
fn number(field: &Field<'_>) -> Option<u32> {
    let value = if field.is(RESULTS.as_bytes()) {
        let first = field.value.split(|&byte| byte == b';').next()?;
        first.trim_ascii().strip_prefix(b"i")?.trim_ascii_start().strip_prefix(b"=")?.trim_ascii()
    } else {
        Tags::parse(field.value).ok()?.get("i")?
    };
    let number = std::str::from_utf8(value).ok()?.parse().ok()?;
    (1..=SETS_MAX).contains(&number).then_some(number)
}

fn says_fail(seal: &Field<'_>) -> bool {
    Tags::parse(seal.value).is_ok_and(|tags| tags.get("cv").is_some_and(|cv| cv == b"fail"))
}
